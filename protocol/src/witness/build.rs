//! Makes a block of the own log. What is made of it afterwards is [`super::own_block`]'s.

use std::collections::BTreeMap;

use super::allowed::Adjusted;
use super::message::CertifiedHeader;
pub use super::own_block::{Deliveries, OwnBlock, SentPayload};
use super::own_block::{Derived, Parts};
pub use super::readers::RECOVERY;
use super::readers::{column_key, sealing_after, secret_readers};
use super::rules::{Tip, confirmed_after};
use crate::amount::{AmountError, Value};
use crate::codec;
use crate::constitution::Constitution;
use crate::crypto::sealed::{
    BlockSecret, SealError, SealingContext, SealingKey, sealed_leaf_bytes,
};
use crate::exchange::Payload;
use crate::ids::{BlockNonce, BrandId, LeafHash, LeafIndex, TreeSize};
use crate::log::block::{
    BLOCK_LEAVES_MAX, BLOCK_LEAVES_MIN, BODY_MAX, Column, ColumnContent, ColumnOpening, Entry,
    Header, PublicEntry, Recognised, hash_of_leaves,
};
use crate::log::entries::Entries;
use crate::log::fragments::{FragmentError, Shape};
use crate::log::merkle::{EntryTooLong, FrontierError, MissingHash};
use crate::log::proof::ProveError;
use crate::log::settlement::Discharge;
use crate::time::Timestamp;

/// What goes into a block.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In clear, for everyone.
    pub public: Vec<PublicEntry>,
    /// Sealed, by counterparty, in order.
    pub sealed: BTreeMap<BrandId, Vec<Payload>>,
    /// Blocks of other logs that are recognised from now on.
    pub recognised: BTreeMap<BrandId, (Recognised, CertifiedHeader)>,
    /// What is granted as discharged from now on, where that is more than before.
    pub discharged: BTreeMap<BrandId, Discharge>,
    /// The key that others are to seal to the writer with, once they recognise this block.
    pub sealing: SealingKey,
    /// When it is built.
    pub time: Timestamp,
    /// Fresh random.
    pub secret: BlockSecret,
    /// Fresh random.
    pub nonce: BlockNonce,
}

/// Why a block cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// An amount left its range.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// The fragments cannot be made.
    #[error(transparent)]
    Fragments(#[from] FragmentError),
    /// The tree is full.
    #[error(transparent)]
    Tree(#[from] FrontierError),
    /// A proof cannot be made.
    #[error(transparent)]
    Proof(#[from] ProveError),
    /// A hash is not at hand.
    #[error(transparent)]
    Hash(#[from] MissingHash),
    /// An entry is longer than a leaf may be.
    #[error(transparent)]
    Entry(#[from] EntryTooLong),
    /// More entries or bytes than one block takes.
    #[error("more entries than one block takes")]
    TooLarge,
    /// The writer or a receiver is no brand of the constitution, or not one of the block.
    #[error("{0} is no party to the block")]
    Stranger(BrandId),
}

impl OwnBlock {
    /// Builds the block after `tip`; `contents` are the exact contents of the last block's columns.
    ///
    /// # Errors
    /// When there is too much for one block or an amount leaves its range.
    pub fn build(
        constitution: &Constitution,
        log: BrandId,
        tip: &Tip,
        contents: &BTreeMap<BrandId, ColumnContent>,
        plan: Plan,
    ) -> Result<Self, BuildError> {
        let time = plan.time.max(tip.time);
        let sealing = sealing_after(constitution, tip, plan.sealing, time);
        let context = SealingContext { log, nonce: plan.nonce, cipher: sealing.cipher };
        let size = constitution.payload_size();
        let mut body = Body::new(tip, &plan, size)?;
        let mut payloads = Vec::with_capacity(plan.sealed.values().map(Vec::len).sum());
        let mut columns = Vec::new();
        let mut new_contents = Vec::new();
        for counterparty in constitution.committee().witnesses(log) {
            let recognised = plan.recognised.get(&counterparty);
            let stated = recognised.and_then(|(_, known)| Header::from_bytes(&known.header).ok());
            let stated = stated.map(|header| header.sealing.key);
            let theirs = column_key(constitution, tip, counterparty, stated)
                .ok_or(BuildError::Stranger(counterparty))?;
            let key = context.column_key(&plan.secret, counterparty);
            let before = contents.get(&counterparty).copied();
            let mut content = Adjusted::by(log, counterparty, &plan.public)
                .base(&before.unwrap_or_else(ColumnContent::nothing))?;
            let start = body.leaves.len();
            content.first = body.offset()?;
            if let Some(sealed) = plan.sealed.get(&counterparty) {
                let mut column = context.column(&key);
                let mut bytes = Vec::new();
                for payload in sealed {
                    let index = body.next_index()?;
                    bytes.clear();
                    codec::encode_into(payload, &mut bytes);
                    let mut sealed = Ok(());
                    body.push_with(|leaf| {
                        sealed = column.seal_leaf(index, &bytes, size, leaf);
                    })?;
                    sealed?;
                    content.sent = content.sent.plus(payload.value())?;
                    let payload = payload.clone();
                    payloads.push(SentPayload { index, to: counterparty, payload });
                }
            }
            let leaves = body.leaves.get(start..).unwrap_or_default();
            content.count = u32::try_from(leaves.len()).map_err(|_| BuildError::TooLarge)?;
            content.leaves = hash_of_leaves(leaves);
            content.entries = content
                .entries
                .checked_add(u64::from(content.count))
                .ok_or(BuildError::TooLarge)?;
            let opening = ColumnOpening { key, content };
            let salt = context.totals_salt(&opening.key);
            columns.push(Column {
                counterparty,
                opening: context.wrap(
                    counterparty.as_str(),
                    &theirs,
                    plan.secret.expose(),
                    &opening.to_bytes(),
                )?,
                key: context.column_commitment(&opening.key, counterparty),
                content: content.commitment(&salt),
                sent: content.sent.ceiling_to(constitution.total_step())?,
                recognised: recognised
                    .map_or_else(|| tip.recognised(counterparty), |(recognised, _)| *recognised),
                confirmed: confirmed_after(
                    tip.column(counterparty).map_or(Value::ZERO, |column| column.confirmed),
                    counterparty,
                    plan.public.iter(),
                )?,
                discharged: plan
                    .discharged
                    .get(&counterparty)
                    .copied()
                    .or_else(|| tip.column(counterparty).map(|column| column.discharged))
                    .unwrap_or_default(),
            });
            new_contents.push(content);
        }
        body.pad(constitution, &context, &plan.secret)?;
        let shape = Shape::of(constitution.committee());
        let (fragments_root, fragments) = shape.cut(body.entries.as_bytes())?;
        let secrets = secret_readers(constitution, &log, sealing.key, time)
            .ok_or(BuildError::Stranger(log))?
            .into_iter()
            .map(|(name, key)| context.wrap(name, &key, plan.secret.expose(), plan.secret.expose()))
            .collect::<Result<_, _>>()?;
        let body_size = TreeSize::new(body.next_index()?.get());
        let derived = Derived::new(&tip.frontier, &body.leaves, body_size, fragments)?;
        let header = Header {
            version: constitution.protocol_version(),
            log,
            height: tip.height.next().ok_or(BuildError::TooLarge)?,
            epoch: constitution.epoch(),
            time,
            first: body.first,
            body_leaves: body.offset()?,
            public_leaves: u32::try_from(plan.public.len()).map_err(|_| BuildError::TooLarge)?,
            body_bytes: u32::try_from(body.entries.as_bytes().len())
                .map_err(|_| BuildError::TooLarge)?,
            previous: tip.header,
            previous_root: tip.frontier.root(),
            body_root: derived.body_root(),
            nonce: plan.nonce,
            fragments: fragments_root,
            secrets,
            columns,
            sealing,
        };
        let (bytes, id) = header.to_leaf();
        let reference = derived.reference(&header, id)?;
        let recognised = plan.recognised.into_values().map(|(_, header)| header).collect();
        let parts = Parts {
            header: bytes,
            body: body.entries,
            secret: Some(plan.secret),
            payloads,
            contents: new_contents,
            before: tip.frontier.clone(),
            recognised,
            reference,
        };
        Ok(Self::from_parts(parts, Some(derived)))
    }
}

struct Body {
    first: LeafIndex,
    entries: Entries,
    leaves: Vec<LeafHash>,
}

impl Body {
    fn new(tip: &Tip, plan: &Plan, payload_size: usize) -> Result<Self, BuildError> {
        let first = LeafIndex::new(tip.frontier.size().get());
        let sealed: usize = plan.sealed.values().map(Vec::len).sum();
        let leaf =
            sealed_leaf_bytes(payload_size).saturating_add(crate::log::entries::LENGTH_BYTES);
        let mut body = Self {
            first,
            entries: Entries::with_capacity(sealed.saturating_mul(leaf)),
            leaves: Vec::with_capacity(sealed),
        };
        for entry in &plan.public {
            let bytes = Entry::Public(entry.clone()).to_bytes();
            body.push_with(|leaf| leaf.extend_from_slice(&bytes))?;
        }
        Ok(body)
    }

    fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), BuildError> {
        let hash = self.entries.push_with(write)?;
        self.leaves.push(hash);
        Ok(())
    }

    fn offset(&self) -> Result<u32, BuildError> {
        u32::try_from(self.entries.len()).map_err(|_| BuildError::TooLarge)
    }

    fn next_index(&self) -> Result<LeafIndex, BuildError> {
        let index = self.first.get().checked_add(u64::from(self.offset()?));
        index.map(LeafIndex::new).ok_or(BuildError::TooLarge)
    }

    fn pad(
        &mut self,
        constitution: &Constitution,
        context: &SealingContext,
        secret: &BlockSecret,
    ) -> Result<(), BuildError> {
        let with_header = u64::from(self.offset()?).saturating_add(1);
        let leaves = with_header.next_power_of_two().max(BLOCK_LEAVES_MIN);
        if leaves > BLOCK_LEAVES_MAX {
            return Err(BuildError::TooLarge);
        }
        for _ in with_header..leaves {
            let index = self.next_index()?;
            let padding =
                Entry::Sealed(context.padding(secret, index, constitution.payload_size()));
            self.push_with(|leaf| codec::encode_into(&padding, leaf))?;
        }
        if self.entries.as_bytes().len() > BODY_MAX { Err(BuildError::TooLarge) } else { Ok(()) }
    }
}

/// A body as it is cut into fragments: each leaf with its length before it, as in an entry bundle
/// of C2SP tlog-tiles.
///
/// # Errors
/// [`BuildError::TooLarge`] when a leaf is longer than an entry may be.
pub fn body_bytes<'a>(entries: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, BuildError> {
    let mut bytes = Vec::new();
    for entry in entries {
        let length = u16::try_from(entry.len()).map_err(|_| BuildError::TooLarge)?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}
