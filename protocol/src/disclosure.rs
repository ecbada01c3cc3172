//! A brand lets an auditor open blocks of its log: an entry of that log, so that everyone sees who was
//! given what, and nobody what is in it.
//!
//! What is given is each block's secret, wrapped to the auditor as to any other reader. Exact totals
//! run through a whole log: so that those of the first disclosed block can be checked too, its secret is
//! followed by the contents of the columns before it. The auditor checks what it was given against
//! the certified header, and whoever holds the block secret otherwise can run the wrapping again.
//! Whether to disclose is up to the brand's people; no rule makes them.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::constitution::{Auditor, Constitution};
use crate::crypto::sealed::{BlockSecret, KeyRing, SealError, Wrapped};
use crate::ids::{BrandId, Height};
use crate::log::block::{CONTENT_BYTES, ColumnContent, Header};
use crate::time::Timestamp;

/// Most blocks of one entry: it has to fit a leaf, at the largest committee too.
pub const DISCLOSED_BLOCKS_MAX: usize = 100;

/// Blocks of the log it is in, for one auditor.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Disclosure {
    /// Its name in the constitution.
    #[n(0)]
    pub auditor: String,
    /// The first block.
    #[n(1)]
    pub first: Height,
    /// One a block from there on: its secret, wrapped to the auditor.
    #[n(2)]
    pub secrets: Vec<Wrapped>,
}

/// Why nothing could be disclosed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DiscloseError {
    /// No block, too many, or some that do not follow one another.
    #[error("one entry discloses 1 to {DISCLOSED_BLOCKS_MAX} blocks that follow one another")]
    Range,
    /// The key that the secret was wrapped to was destroyed.
    #[error("block {height} cannot be opened here any more: {error}")]
    Secret {
        /// Which block.
        height: Height,
        /// What is wrong.
        error: SealError,
    },
}

/// Makes the entry. `headers` are certified blocks of the own log, one after another; `before` what the
/// columns held before the first of them.
///
/// # Errors
/// See [`DiscloseError`].
pub fn disclose(
    auditor: &Auditor,
    now: Timestamp,
    keys: &KeyRing,
    before: &BTreeMap<BrandId, ColumnContent>,
    headers: &[Header],
) -> Result<Disclosure, DiscloseError> {
    let first = headers.first().ok_or(DiscloseError::Range)?;
    let follow = headers.windows(2).all(|pair| match pair {
        [one, next] => one.height.next() == Some(next.height),
        _ => false,
    });
    if !follow || headers.len() > DISCLOSED_BLOCKS_MAX {
        return Err(DiscloseError::Range);
    }
    let key = auditor.key_at(now);
    let one = |header: &Header| {
        let context = header.context();
        // the second secret is the writer's own, after the one for its recovery key
        let own = header.secrets.get(1).ok_or(SealError::NotOpened)?;
        let mut plaintext = context.unwrap(header.log.as_str(), keys, own)?;
        let secret: [u8; 32] = plaintext.as_slice().try_into().map_err(|_| SealError::NotOpened)?;
        if header.height == first.height {
            for column in &header.columns {
                let content = before.get(&column.counterparty).copied();
                let content = content.unwrap_or_else(ColumnContent::nothing);
                plaintext.extend_from_slice(&content.to_bytes());
            }
        }
        context.wrap(&auditor.name, &key, &secret, &plaintext)
    };
    let secrets = headers.iter().map(|header| {
        one(header).map_err(|error| DiscloseError::Secret { height: header.height, error })
    });
    let secrets = secrets.collect::<Result<_, _>>()?;
    Ok(Disclosure { auditor: auditor.name.clone(), first: first.height, secrets })
}

impl Disclosure {
    /// The blocks, each with what is wrapped.
    pub fn blocks(&self) -> impl Iterator<Item = (Height, &Wrapped)> {
        (self.first.get()..).map(Height::new).zip(&self.secrets)
    }

    /// The last block.
    #[must_use]
    pub fn last(&self) -> Height {
        self.blocks().last().map_or(self.first, |(height, _)| height)
    }

    /// Whether it may stand in a block at this height: of a known auditor, wrapped to one of its keys,
    /// about blocks before this one.
    #[must_use]
    pub fn may_stand(&self, constitution: &Constitution, height: Height) -> bool {
        let Some(auditor) = constitution.auditor(&self.auditor) else { return false };
        let of_auditor = |wrapped: &Wrapped| auditor.keys().any(|key| key == wrapped.key());
        (1..=DISCLOSED_BLOCKS_MAX).contains(&self.secrets.len())
            && self.first >= Height::new(1)
            && self.last() < height
            && self.secrets.iter().all(of_auditor)
    }
}

/// What an auditor was given of one block.
#[derive(Clone, Debug)]
pub struct DisclosedBlock {
    /// Opens the block.
    pub secret: BlockSecret,
    /// What the columns held before it, in the order of its columns; with the first block of an entry.
    pub before: Option<Vec<ColumnContent>>,
}

impl DisclosedBlock {
    /// Opens what was wrapped to an auditor, and checks that it is this block's secret.
    ///
    /// # Errors
    /// [`SealError::KeyNotHeld`], [`SealError::NotOpened`], [`SealError::WrongKey`] when it is the secret
    /// of no such block.
    pub fn open(
        header: &Header,
        auditor: &str,
        keys: &KeyRing,
        wrapped: &Wrapped,
    ) -> Result<Self, SealError> {
        Self::read(header, &header.context().unwrap(auditor, keys, wrapped)?)
    }

    /// For whoever holds the block secret: whether just this secret was wrapped, and as it follows from
    /// it.
    #[must_use]
    pub fn is_of(header: &Header, secret: &BlockSecret, auditor: &str, wrapped: &Wrapped) -> bool {
        let plaintext = header.context().run_again(auditor, secret.expose(), wrapped);
        plaintext
            .and_then(|plaintext| Self::read(header, &plaintext).ok())
            .is_some_and(|given| given.secret == *secret)
    }

    fn read(header: &Header, plaintext: &[u8]) -> Result<Self, SealError> {
        let (secret, rest) = plaintext.split_first_chunk().ok_or(SealError::NotOpened)?;
        let secret = BlockSecret::from_bytes(*secret);
        if !header.is_sealed_with(&secret) {
            return Err(SealError::WrongKey);
        }
        let (contents, stray) = rest.as_chunks::<CONTENT_BYTES>();
        let before: Option<Vec<_>> =
            contents.iter().map(|bytes| ColumnContent::from_bytes(bytes)).collect();
        let before = before.filter(|before| stray.is_empty() && !before.is_empty());
        match before {
            None if rest.is_empty() => Ok(Self { secret, before: None }),
            Some(before) if before.len() == header.columns.len() => {
                Ok(Self { secret, before: Some(before) })
            }
            None | Some(_) => Err(SealError::NotOpened),
        }
    }
}
