//! That nothing will be appended to a log any more, shown to somebody who may not have followed it.
//!
//! A log ends in one of two ways: a last round is certified ([`super::closing`]), or it takes up a
//! constitution under which it is not written. Either is certified by the log's own committee, so that
//! who holds the constitutions can check it.

use minicbor::{Decode, Encode};

use super::closing;
use super::message::CertifiedHeader;
use super::statement::{QuorumError, UnverifiedCertificate};
use crate::codec::DecodeError;
use crate::epochs::adoption::switch;
use crate::epochs::certified::EntryError;
use crate::epochs::{CertifiedEntry, Constitutions};
use crate::ids::{BrandId, ConstitutionHash, HeaderHash, Height, TreeSize};
use crate::log::block::{Column, Header};
use crate::log::merkle::leaf_hash;
use crate::time::Timestamp;

/// How a log ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum LogEnd {
    /// A last round was certified: the last block, none for an empty log; and what was certified after
    /// it, which is the same when the last round decided on that block.
    #[n(0)]
    LastRound(#[n(0)] Option<Box<CertifiedHeader>>, #[n(1)] Box<UnverifiedCertificate>),
    /// It took up a constitution under which it is not written.
    #[n(1)]
    Switched(#[n(0)] Box<CertifiedEntry>),
}

/// A log that has ended; made by [`LogEnd::verify`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedLog {
    log: BrandId,
    height: Height,
    block: HeaderHash,
    time: Timestamp,
    columns: Vec<Column>,
}

/// Why a log is not shown to have ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndError {
    /// The last header cannot be read.
    #[error(transparent)]
    Unreadable(#[from] DecodeError),
    /// A certificate does not stand.
    #[error(transparent)]
    Certificate(#[from] QuorumError),
    /// The entry that ends it does not stand.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// Certified, and not in a last round.
    #[error("its certificate is of a round after which others follow")]
    NotLast,
    /// What was certified last does not follow the block that is shown.
    #[error("what closed it does not follow the block that is shown as its last")]
    OtherBlock,
    /// It goes on under the constitution that it took up.
    #[error("it is written under the constitution that it took up")]
    GoesOn,
    /// A constitution that is not known here.
    #[error("of a constitution that is not known here")]
    UnknownConstitution,
}

impl LogEnd {
    /// Whose log it is about, before anything is checked.
    #[must_use]
    pub fn log(&self) -> BrandId {
        match self {
            Self::LastRound(_, closing) => closing.pledge.block.log,
            Self::Switched(entry) => entry.certificate.pledge.block.log,
        }
    }

    /// The constitution by which it is said to have ended, if by one; before anything is checked.
    #[must_use]
    pub fn taken_up(&self) -> Option<ConstitutionHash> {
        match self {
            Self::LastRound(..) => None,
            Self::Switched(entry) => Some(switch([&entry.unverified().ok()?])?.constitution),
        }
    }

    /// Checks it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self, constitutions: &Constitutions) -> Result<EndedLog, EndError> {
        let of = |epoch| constitutions.of(epoch).ok_or(EndError::UnknownConstitution);
        match self {
            Self::Switched(entry) => {
                let checked = entry.verify(of(entry.certificate.pledge.block.epoch)?)?;
                let draft = switch([checked.entry()]).ok_or(EndError::GoesOn)?;
                let next = of(draft.epoch)?;
                let header = checked.header();
                if next.hash() != draft.constitution {
                    return Err(EndError::UnknownConstitution);
                }
                if next.writes(header.log) {
                    return Err(EndError::GoesOn);
                }
                Ok(EndedLog::after(header, checked.certificate().block().header))
            }
            Self::LastRound(last, closing) => {
                let block = closing.pledge.block;
                if !closing::is_last(closing.pledge.round) {
                    return Err(EndError::NotLast);
                }
                (**closing).clone().verify(of(block.epoch)?)?;
                let Some(last) = last else {
                    let empty = block.header == HeaderHash::NOTHING
                        && (block.height, block.size) == (Height::new(1), TreeSize::new(0));
                    let (log, columns) = (block.log, Vec::new());
                    let (height, time) = (Height::new(0), Timestamp::default());
                    let ended = EndedLog { log, height, block: HeaderHash::GENESIS, time, columns };
                    return if empty { Ok(ended) } else { Err(EndError::OtherBlock) };
                };
                let header = Header::from_bytes(&last.header)?;
                let id = leaf_hash(&last.header).of_header();
                let shown = last.certificate.pledge.block;
                last.certificate.clone().verify(of(shown.epoch)?)?;
                let is_it = (shown.log, shown.header) == (block.log, id) && header.log == block.log;
                let is_closed = block == shown
                    || block.header == HeaderHash::NOTHING
                        && Some(block.height) == shown.height.next()
                        && (block.size, block.root) == (shown.size, shown.root);
                if !is_it || !is_closed {
                    return Err(EndError::OtherBlock);
                }
                Ok(EndedLog::after(&header, id))
            }
        }
    }
}

impl EndedLog {
    fn after(header: &Header, block: HeaderHash) -> Self {
        let (log, height, time) = (header.log, header.height, header.time);
        Self { log, height, block, time, columns: header.columns.clone() }
    }

    /// Whose log.
    #[must_use]
    pub const fn log(&self) -> BrandId {
        self.log
    }
    /// Its last block; 0 when it never had one.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }
    /// That block's id.
    #[must_use]
    pub const fn block(&self) -> HeaderHash {
        self.block
    }
    /// That block's time.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }
    /// What that block says of each counterparty, for good.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }
    /// The same of one counterparty.
    #[must_use]
    pub fn column(&self, counterparty: BrandId) -> Option<&Column> {
        self.columns.iter().find(|column| column.counterparty == counterparty)
    }
}
