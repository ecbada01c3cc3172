//! The rules a block may break, each with its number and what to say of it. Judges nothing.

use super::super::readers::SEALING_KEY_AGE_MAX;
use super::CLOCK_TOLERANCE;
use crate::amount::AmountError;
use crate::codec::DecodeError;
use crate::crypto::sealed::SealError;
use crate::epochs::SuccessionError;
use crate::epochs::certified::EntryError;
use crate::exchange::PayloadError;
use crate::ids::{BrandId, ConstitutionHash, Epoch, Height, LeafIndex};
use crate::log::block::{BLOCK_LEAVES_MAX, BLOCK_LEAVES_MIN, BODY_MAX};
use crate::log::fragments::FragmentError;
use crate::log::proof::ProofError;
use crate::time::Timestamp;

/// Which rule a block breaks. Numbers are on the wire and in audit reports, and stay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// 1.
    #[error("the header cannot be read: {0}")]
    Unreadable(#[from] DecodeError),
    /// 2.
    #[error("version {found}, which is not the constitution's")]
    Version {
        /// As stated.
        found: u16,
    },
    /// 3.
    #[error("under epoch {found}, expected {expected}")]
    Epoch {
        /// As stated.
        found: Epoch,
        /// As it should be.
        expected: Epoch,
    },
    /// 4.
    #[error("height {found} does not follow height {tip}")]
    Height {
        /// As stated.
        found: Height,
        /// The last certified.
        tip: Height,
    },
    /// 5.
    #[error("it does not name the last certified block as its predecessor")]
    Previous,
    /// 6.
    #[error("its leaves do not begin where the last certified tree ends")]
    FirstLeaf,
    /// 7.
    #[error(
        "{found} leaves; a block has a power of two of them, {BLOCK_LEAVES_MIN} to {BLOCK_LEAVES_MAX}, with a body of at most {BODY_MAX} bytes"
    )]
    Leaves {
        /// As stated.
        found: u64,
    },
    /// 8.
    #[error("its time is before the last block's")]
    TimeBackwards,
    /// 9.
    #[error(
        "its time is {off_ms} ms off this witness's clock, more than {CLOCK_TOLERANCE_MS}; check both clocks", CLOCK_TOLERANCE_MS = CLOCK_TOLERANCE.get()
    )]
    Clock {
        /// How far.
        off_ms: u64,
    },
    /// 10.
    #[error(
        "it must have one column for each counterparty, in order, and one wrapped secret for each reader"
    )]
    Columns,
    /// 11.
    #[error(
        "the public total for {counterparty} falls, or is no multiple of the constitution's step"
    )]
    PublicTotal {
        /// Which column.
        counterparty: BrandId,
    },
    /// 12.
    #[error(
        "what it recognises of {counterparty} is not that log's certified total at that height"
    )]
    Recognised {
        /// Which column.
        counterparty: BrandId,
    },
    /// 13.
    #[error("it owes {counterparty} more than its limit for one brand")]
    PairLimit {
        /// Which column.
        counterparty: BrandId,
    },
    /// 14.
    #[error("it owes all brands together more than its limit")]
    TotalLimit,
    /// 15.
    #[error("the tree does not extend the last certified one: {0}")]
    Tree(#[from] ProofError),
    /// 16.
    #[error("fragment: {0}")]
    Fragment(#[from] FragmentError),
    /// 17.
    #[error("the public leaves are not those the header counts, or no public entries")]
    PublicLeaves,
    /// 18.
    #[error("column of {counterparty}: it does not open to what was committed: {error}")]
    Opening {
        /// Which column.
        counterparty: BrandId,
        /// What is wrong.
        error: SealError,
    },
    /// 19.
    #[error("column of {counterparty}: its leaves are not the ones committed to")]
    ColumnLeaves {
        /// Which column.
        counterparty: BrandId,
    },
    /// 20.
    #[error("column of {counterparty}, leaf {index}: {error}")]
    Payload {
        /// Which column.
        counterparty: BrandId,
        /// Which leaf.
        index: LeafIndex,
        /// What is wrong.
        error: PayloadError,
    },
    /// 21.
    #[error(
        "column of {counterparty}: entries or value do not add up to the exact totals, or those to the public one"
    )]
    ExactTotals {
        /// Which column.
        counterparty: BrandId,
    },
    /// 22.
    #[error("an amount is out of range")]
    Amount(#[from] AmountError),
    /// 23.
    #[error(
        "column of {counterparty}: the leaves brought are not the block's at that place; the block itself may be sound"
    )]
    Delivered {
        /// Which column.
        counterparty: BrandId,
    },
    /// 24.
    #[error("this height has brought {most} different blocks already")]
    TooManyBlocks {
        /// How many a witness takes.
        most: usize,
    },
    /// 25.
    #[error(
        "it brings {found} blocks of other logs: more than there are other logs, or two of one; the block itself may be sound"
    )]
    Brought {
        /// How many.
        found: usize,
    },
    /// 45.
    #[error(
        "payments confirmed of {counterparty} are not those before and the ones this block enters"
    )]
    Confirmed {
        /// Which column.
        counterparty: BrandId,
    },
    /// 46.
    #[error(
        "what is discharged between it and {counterparty} goes back, or exceeds what was ever sent"
    )]
    Discharged {
        /// Which column.
        counterparty: BrandId,
    },
    /// 47.
    #[error(
        "entry {index} is no payment of this log: the payer states it, the payee confirms it, both are brands, in whole fen"
    )]
    Payment {
        /// Which leaf.
        index: LeafIndex,
    },
    /// 30.
    #[error("it speaks of a constitution of epoch {found}, which is not the next of this log")]
    DraftEpoch {
        /// As stated.
        found: Epoch,
    },
    /// 31.
    #[error("constitution {draft}: a log says once whether it adopts a draft, and takes up one")]
    StatedTwice {
        /// Which draft.
        draft: ConstitutionHash,
    },
    /// 32.
    #[error("{found} statements on constitutions, more than anything here needs")]
    BallotCount {
        /// How many.
        found: usize,
    },
    /// 33.
    #[error("what it shows of another log's statement does not stand: {0}")]
    Ballot(EntryError),
    /// 34.
    #[error(
        "it adopted constitution {draft} before: another one needs {needed} certified refusals of that, and has {found}"
    )]
    EarlierDraft {
        /// Which one it adopted.
        draft: ConstitutionHash,
        /// How many refusals it shows.
        found: usize,
        /// How many it needs.
        needed: usize,
    },
    /// 35.
    #[error("it takes up a constitution with {found} certified adoptions; {needed} are needed")]
    TooFewAdoptions {
        /// How many it shows.
        found: usize,
        /// How many it needs.
        needed: usize,
    },
    /// 36.
    #[error(
        "it is under or takes up a constitution before that takes effect, {} ms after 1970",
        .effect.unix_ms()
    )]
    TooEarly {
        /// When it does.
        effect: Timestamp,
    },
    /// 37.
    #[error("constitution {draft} is not known here; give this node its file")]
    UnknownConstitution {
        /// Which one.
        draft: ConstitutionHash,
    },
    /// 37 as well.
    #[error(
        "what it recognises of {counterparty} is certified under the constitution of epoch {epoch}, which is not known here; give this node its file"
    )]
    UnknownEpoch {
        /// Of whom.
        counterparty: BrandId,
        /// Which epoch's.
        epoch: Epoch,
    },
    /// 38.
    #[error("the constitution that it takes up may not follow: {0}")]
    Succession(SuccessionError),
    /// 39.
    #[error("constitution {draft} is adopted and in effect; the log's next block must take it up")]
    SwitchDue {
        /// Which one.
        draft: ConstitutionHash,
    },
    /// 65.
    #[error("what it enters as the resolution of a dispute cannot stand: {why}")]
    Resolution {
        /// Why.
        why: &'static str,
    },
    /// 66.
    #[error("what it closes out of its dealings with another brand cannot stand: {why}")]
    ClosedOut {
        /// Why.
        why: &'static str,
    },
    /// 55.
    #[error("it is sealed with {found}, which is not the constitution's cipher")]
    Cipher {
        /// As stated.
        found: &'static str,
    },
    /// 56.
    #[error(
        "the sealing key it states is older than {} days, or it states another time for it than that of the first block with it; let the node turn its keys", SEALING_KEY_AGE_MAX.get() / 86_400_000
    )]
    SealingKey,
    /// 57.
    #[error("what is for {reader} is sealed to another key than {reader} has at this block")]
    ReaderKey {
        /// A brand, an auditor, or the recovery key.
        reader: String,
    },
    /// 58.
    #[error(
        "it discloses blocks to someone who is no auditor of the constitution, to another key than that auditor's, or blocks that are not before it"
    )]
    Disclosure,
    /// 59.
    #[error("public entry {index}: {why}")]
    Kinds {
        /// The first leaf that is too much.
        index: LeafIndex,
        /// Of which kind there are too many, or what is said twice.
        why: &'static str,
    },
}

/// Whether a refusal's rule number is one of a block's rules, rather than of rounds and votes.
#[must_use]
pub const fn is_about_the_block(rule: u16) -> bool {
    matches!(rule, 1..=99)
}

/// Writes the numbers down once: of every rule, and as the list of all of them.
macro_rules! numbers {
    ($($rule:pat => $number:literal,)*) => {
        /// The rule's number.
        #[must_use]
        pub const fn number(&self) -> u16 {
            match self {
                $($rule => $number,)*
            }
        }

        /// All numbers that there are.
        pub const NUMBERS: &'static [u16] = &[$($number),*];
    };
}

impl Violation {
    /// Whose column it is about, if one's.
    #[must_use]
    pub const fn counterparty(&self) -> Option<BrandId> {
        match self {
            Self::PublicTotal { counterparty }
            | Self::Recognised { counterparty }
            | Self::PairLimit { counterparty }
            | Self::Opening { counterparty, .. }
            | Self::ColumnLeaves { counterparty }
            | Self::Payload { counterparty, .. }
            | Self::ExactTotals { counterparty }
            | Self::Delivered { counterparty }
            | Self::Confirmed { counterparty }
            | Self::Discharged { counterparty } => Some(*counterparty),
            _ => None,
        }
    }

    numbers! {
        Self::Unreadable(_) => 1,
        Self::Version { .. } => 2,
        Self::Epoch { .. } => 3,
        Self::Height { .. } => 4,
        Self::Previous => 5,
        Self::FirstLeaf => 6,
        Self::Leaves { .. } => 7,
        Self::TimeBackwards => 8,
        Self::Clock { .. } => 9,
        Self::Columns => 10,
        Self::PublicTotal { .. } => 11,
        Self::Recognised { .. } => 12,
        Self::PairLimit { .. } => 13,
        Self::TotalLimit => 14,
        Self::Tree(_) => 15,
        Self::Fragment(_) => 16,
        Self::PublicLeaves => 17,
        Self::Opening { .. } => 18,
        Self::ColumnLeaves { .. } => 19,
        Self::Payload { .. } => 20,
        Self::ExactTotals { .. } => 21,
        Self::Amount(_) => 22,
        Self::Delivered { .. } => 23,
        Self::TooManyBlocks { .. } => 24,
        Self::Brought { .. } => 25,
        Self::DraftEpoch { .. } => 30,
        Self::StatedTwice { .. } => 31,
        Self::BallotCount { .. } => 32,
        Self::Ballot(_) => 33,
        Self::EarlierDraft { .. } => 34,
        Self::TooFewAdoptions { .. } => 35,
        Self::TooEarly { .. } => 36,
        Self::UnknownConstitution { .. } | Self::UnknownEpoch { .. } => 37,
        Self::Succession(_) => 38,
        Self::SwitchDue { .. } => 39,
        Self::Confirmed { .. } => 45,
        Self::Discharged { .. } => 46,
        Self::Payment { .. } => 47,
        Self::Cipher { .. } => 55,
        Self::SealingKey => 56,
        Self::ReaderKey { .. } => 57,
        Self::Disclosure => 58,
        Self::Kinds { .. } => 59,
        Self::Resolution { .. } => 65,
        Self::ClosedOut { .. } => 66,
    }
}
