//! What a block must be in order to follow the last certified one.
//!
//! The one place where these rules are upheld: a witness runs them before it votes, the offline audit
//! runs the same functions over a folder. Everything is judged from the block, the certificates it
//! carries and the epoch; [`Violation`] says which rule failed. Does not know rounds, votes or locks.

use crate::amount::{AmountError, Value};
use crate::codec::{self, DecodeError};
use crate::constitution::{Brand, Constitution};
use crate::crypto::sealed::{SEALED_OVERHEAD, SealError, SealedLeaf, Sealing};
use crate::epochs::SuccessionError;
use crate::epochs::certified::EntryError;
use crate::exchange::{Payload, PayloadError};
use crate::ids::{BrandId, ConstitutionHash, Epoch, HeaderHash, Height, LeafIndex, TreeSize};
use crate::log::block::{
    BLOCK_LEAVES_MAX, BLOCK_LEAVES_MIN, BODY_MAX, BlockReference, Column, ColumnContent,
    ColumnOpening, Entry, Header, PublicEntry, Recognised, hash_of_leaves,
};
use crate::log::fragments::FragmentError;
use crate::log::merkle::Frontier;
use crate::log::proof::ProofError;
use crate::log::settlement::Discharge;
use crate::time::{Milliseconds, Timestamp};

use super::allowed::Allowed;
use super::guards::Guards;
use super::message::{Extension, LeafRun};
use super::readers::{SEALING_KEY_AGE_MAX, Stated, check_sealing, secret_readers};

/// How far a block's time may be from its witness's clock.
pub const CLOCK_TOLERANCE: Milliseconds = Milliseconds::from_seconds(60);

/// The last certified block of a log, as far as the next one is judged by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Height, 0 for the empty log.
    pub height: Height,
    /// Its id.
    pub header: HeaderHash,
    /// Its time.
    pub time: Timestamp,
    /// The tree's right edge.
    pub frontier: Frontier,
    /// Its columns; none for the empty log.
    pub columns: Vec<Column>,
    /// How it was sealed; none for the empty log.
    pub sealing: Option<Sealing>,
}

impl Tip {
    /// The empty log.
    #[must_use]
    pub const fn genesis() -> Self {
        Self {
            height: Height::new(0),
            header: HeaderHash::GENESIS,
            time: Timestamp::from_unix_ms(0),
            frontier: Frontier::empty(),
            columns: Vec::new(),
            sealing: None,
        }
    }

    /// The tip after a block.
    #[must_use]
    pub fn after(header: &Header, id: HeaderHash, frontier: Frontier) -> Self {
        Self {
            height: header.height,
            header: id,
            time: header.time,
            frontier,
            columns: header.columns.clone(),
            sealing: Some(header.sealing),
        }
    }

    /// The column of one counterparty; none for the empty log.
    #[must_use]
    pub fn column(&self, counterparty: BrandId) -> Option<&Column> {
        self.columns.iter().find(|column| column.counterparty == counterparty)
    }

    /// How far the log has recognised another.
    #[must_use]
    pub fn recognised(&self, counterparty: BrandId) -> Recognised {
        self.column(counterparty).map_or(Recognised::NOTHING, |column| column.recognised)
    }
}

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
}

/// What public entries must be, where that is for every witness to judge.
///
/// # Errors
/// [`Violation::Disclosure`].
pub fn check_entries<'a, G: Guards>(
    constitution: &Constitution,
    header: &Header,
    entries: impl Iterator<Item = &'a PublicEntry>,
) -> Result<(), Violation> {
    for entry in entries {
        if let PublicEntry::Disclosure(disclosure) = entry
            && !disclosure.may_stand(constitution, header.height)
        {
            G::found(Violation::Disclosure)?;
        }
    }
    Ok(())
}

/// Whether a refusal's rule number is one of a block's rules, rather than of rounds and votes.
#[must_use]
pub const fn is_about_the_block(rule: u16) -> bool {
    matches!(rule, 1..=99)
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

    /// The rule's number.
    #[must_use]
    pub const fn number(&self) -> u16 {
        match self {
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
            Self::DraftEpoch { .. } => 30,
            Self::StatedTwice { .. } => 31,
            Self::BallotCount { .. } => 32,
            Self::Ballot(_) => 33,
            Self::EarlierDraft { .. } => 34,
            Self::TooFewAdoptions { .. } => 35,
            Self::TooEarly { .. } => 36,
            Self::UnknownConstitution { .. } => 37,
            Self::Succession(_) => 38,
            Self::SwitchDue { .. } => 39,
            Self::Confirmed { .. } => 45,
            Self::Discharged { .. } => 46,
            Self::Payment { .. } => 47,
            Self::Cipher { .. } => 55,
            Self::SealingKey => 56,
            Self::ReaderKey { .. } => 57,
            Self::Disclosure => 58,
            Self::Resolution { .. } => 65,
            Self::ClosedOut { .. } => 66,
        }
    }
}

/// A block that was certified elsewhere, as what is recognised of it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertifiedTotals<'a> {
    /// Its id.
    pub header: HeaderHash,
    /// The header.
    pub content: &'a Header,
}

/// What the judge of a block knows of a block of another log that it recognises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<'a> {
    /// That it is certified: the block carries it, or it is at hand.
    Certified(CertifiedTotals<'a>),
    /// Nothing, though the block should have brought it.
    Missing,
    /// Nothing: a final block comes without what was judged before it became final.
    NotBrought,
}

/// Everything a header says by itself and against the block before. `certified` gives the block of
/// another log at a height; `allowed` is what the block's own entries let its header say.
///
/// # Errors
/// The first rule that is broken.
pub fn check_header<'a, G: Guards>(
    constitution: &Constitution,
    tip: &Tip,
    header: &Header,
    allowed: &Allowed,
    certified: impl Fn(BrandId, Height) -> Known<'a>,
) -> Result<(), Violation> {
    if header.version != constitution.protocol_version() {
        G::found(Violation::Version { found: header.version })?;
    }
    let (found, expected) = (header.epoch, constitution.epoch());
    if found != expected {
        G::found(Violation::Epoch { found, expected })?;
    }
    if tip.height.next() != Some(header.height) {
        G::found(Violation::Height { found: header.height, tip: tip.height })?;
    }
    if header.previous != tip.header || header.previous_root != tip.frontier.root() {
        G::found(Violation::Previous)?;
    }
    if header.first.get() != tip.frontier.size().get() {
        G::found(Violation::FirstLeaf)?;
    }
    check_sizes::<G>(header)?;
    if header.time < tip.time {
        G::found(Violation::TimeBackwards)?;
    }
    check_columns::<G>(constitution, header)?;
    check_totals::<G>(constitution, tip, header, allowed, &certified)?;
    check_sealing::<G>(constitution, tip, header, |counterparty| {
        let recognised = header.column(counterparty)?.recognised;
        let anew = recognised != tip.recognised(counterparty);
        match certified(counterparty, recognised.height) {
            Known::Certified(block) if anew => Some(Stated::Key(block.content.sealing.key)),
            Known::NotBrought if anew => Some(Stated::NotBrought),
            _ => None,
        }
    })
}

fn check_sizes<G: Guards>(header: &Header) -> Result<(), Violation> {
    let leaves = u64::from(header.body_leaves).saturating_add(1);
    let body = usize::try_from(header.body_bytes).unwrap_or(usize::MAX);
    let in_range = (BLOCK_LEAVES_MIN..=BLOCK_LEAVES_MAX).contains(&leaves);
    if !in_range
        || !leaves.is_power_of_two()
        || header.public_leaves > header.body_leaves
        || body > BODY_MAX
    {
        G::found(Violation::Leaves { found: leaves })?;
    }
    Ok(())
}

fn check_columns<G: Guards>(constitution: &Constitution, header: &Header) -> Result<(), Violation> {
    let expected = constitution.committee().witnesses(header.log);
    let found = header.columns.iter().map(|column| column.counterparty);
    // recovery key, own sealing key, standing auditors
    let readers = secret_readers(constitution, &header.log, header.sealing.key, header.time);
    if !expected.eq(found) || Some(header.secrets.len()) != readers.map(|readers| readers.len()) {
        G::found(Violation::Columns)?;
    }
    Ok(())
}

fn check_totals<'a, G: Guards>(
    constitution: &Constitution,
    tip: &Tip,
    header: &Header,
    allowed: &Allowed,
    certified: &impl Fn(BrandId, Height) -> Known<'a>,
) -> Result<(), Violation> {
    let step = constitution.total_step();
    let brand = constitution.brand(header.log).ok_or(Violation::Columns)?;
    let mut owed = Value::ZERO;
    for column in &header.columns {
        let counterparty = column.counterparty;
        let before = tip.column(counterparty);
        let least = before.map_or(Value::ZERO, |column| column.sent);
        let least = allowed.least(counterparty, least);
        if column.sent < least || column.sent.ceiling_to(step) != Ok(column.sent) {
            G::found(Violation::PublicTotal { counterparty })?;
        }
        let known = before.map_or(Recognised::NOTHING, |column| column.recognised);
        if column.recognised != known {
            let recognised = column.recognised;
            let right = recognised.height > known.height
                && match certified(counterparty, recognised.height) {
                    Known::Certified(block) => {
                        block.header == recognised.block
                            && block.content.column(header.log).is_some_and(|column| {
                                column.sent == recognised.sent
                                    && column.discharged == recognised.discharged
                            })
                    }
                    Known::Missing => false,
                    Known::NotBrought => true,
                };
            if !right {
                G::found(Violation::Recognised { counterparty })?;
            }
        }
        let settled = before.map_or(Discharge::NOTHING, |column| column.discharged);
        let granted = column.discharged;
        if !granted.may_follow(&settled)
            || granted.sent > column.sent
            || granted.received > column.recognised.sent
        {
            G::found(Violation::Discharged { counterparty })?;
        }
        let exposure = public_exposure(step, column.sent, &column.recognised);
        if exposure > brand.pair_limit {
            G::found(Violation::PairLimit { counterparty })?;
        }
        owed = owed.plus(exposure)?;
    }
    if owed > brand.total_limit { G::found(Violation::TotalLimit) } else { Ok(()) }
}

/// Payments: every one that the block enters is the writer's own to state or to confirm, and the
/// header adds up just those that it confirms. `public` is what [`check_public`] gave.
///
/// # Errors
/// The first rule that is broken.
pub fn check_payments<G: Guards>(
    constitution: &Constitution,
    tip: &Tip,
    header: &Header,
    public: &[(LeafIndex, PublicEntry)],
) -> Result<(), Violation> {
    for (index, entry) in public {
        let (own, payment) = match entry {
            PublicEntry::Settled(payment) => (payment.payer, payment),
            PublicEntry::SettlementConfirmed(payment) => (payment.payee, payment),
            _ => continue,
        };
        let brands = constitution.committee();
        let parties = payment.payer != payment.payee
            && brands.contains(payment.payer)
            && brands.contains(payment.payee);
        if own != header.log || !parties || !payment.value.is_payable() {
            G::found(Violation::Payment { index: *index })?;
        }
    }
    for column in &header.columns {
        let counterparty = column.counterparty;
        let before = tip.column(counterparty).map_or(Value::ZERO, |column| column.confirmed);
        if confirmed_after(before, counterparty, public.iter().map(|(_, entry)| entry))?
            != column.confirmed
        {
            G::found(Violation::Confirmed { counterparty })?;
        }
    }
    Ok(())
}

/// What a payee has ever confirmed of a payer's payments after these entries.
///
/// # Errors
/// When the sum leaves its range.
pub fn confirmed_after<'a>(
    before: Value,
    payer: BrandId,
    entries: impl Iterator<Item = &'a PublicEntry>,
) -> Result<Value, AmountError> {
    entries
        .filter_map(|entry| match entry {
            PublicEntry::SettlementConfirmed(payment) if payment.payer == payer => {
                Some(payment.value)
            }
            _ => None,
        })
        .try_fold(before, Value::plus)
}

/// The most a writer can owe a counterparty, as far as third parties can tell: the ceiling of what it
/// sent less what of it the counterparty has discharged, less the floor of what it recognised of the
/// counterparty's less what of that was discharged with it. Discharges are exact and the payee's word:
/// what the writer itself grants counts in the counterparty's exposure, not in its own.
#[must_use]
pub fn public_exposure(step: Value, sent: Value, recognised: &Recognised) -> Value {
    let Recognised { sent: recognised, discharged, .. } = *recognised;
    let owed = sent.saturating_minus(discharged.received);
    let claim = recognised.saturating_minus(step).saturating_minus(discharged.sent);
    owed.saturating_minus(claim)
}

/// What a writer owes a counterparty, to the micro-fen, from the exact totals that only the two of
/// them know: `sent` by the writer and `received` from the counterparty.
#[must_use]
pub fn exact_exposure(sent: Value, received: Value, recognised: &Recognised) -> Value {
    let discharged = recognised.discharged;
    let owed = sent.saturating_minus(discharged.received);
    owed.saturating_minus(received.saturating_minus(discharged.sent))
}

/// Whether sending this much more would still be within the limits: what a writer asks before it
/// takes an exchange into a block, by the very rules its witnesses apply.
#[must_use]
pub fn within_limits(brand: &Brand, exposures: &[Value]) -> bool {
    let total = exposures.iter().try_fold(Value::ZERO, |sum, exposure| sum.plus(*exposure));
    exposures.iter().all(|exposure| *exposure <= brand.pair_limit)
        && total.is_ok_and(|total| total <= brand.total_limit)
}

/// Whether the block's time is near enough to the judge's clock. Not asked of a final block.
///
/// # Errors
/// [`Violation::Clock`].
pub fn check_clock<G: Guards>(header: &Header, now: Timestamp) -> Result<(), Violation> {
    let off = header.time.distance(now);
    if off > CLOCK_TOLERANCE { G::found(Violation::Clock { off_ms: off.get() }) } else { Ok(()) }
}

/// That the tree named by `block` is the last certified tree, the body, and this header; gives its
/// right edge.
///
/// # Errors
/// [`Violation::Tree`].
pub fn check_tree<G: Guards>(
    tip: &Tip,
    header: &Header,
    block: &BlockReference,
    extension: &Extension,
) -> Result<Frontier, Violation> {
    let body = header.body_size();
    match &extension.consistency {
        None if tip.frontier.size() == TreeSize::new(0) => {}
        None => return Err(ProofError::OutOfRange.into()),
        Some(proof) => {
            let old = &tip.frontier;
            let extends = proof.verify(old.size(), &old.root(), body, &header.body_root);
            extends.or_else(|error| G::found(error.into()))?;
        }
    }
    if block.size != header.size() || extension.header.body_size() != body {
        return Err(ProofError::OutOfRange.into());
    }
    Ok(extension.header.verify(
        &header.body_root,
        block.header.as_leaf(),
        block.size,
        &block.root,
    )?)
}

/// The public entries, all of them: the header counts them and the body begins with them.
///
/// # Errors
/// [`Violation::PublicLeaves`] or [`Violation::Tree`].
pub fn check_public(
    header: &Header,
    run: Option<&LeafRun>,
) -> Result<Vec<(LeafIndex, PublicEntry)>, Violation> {
    let (Some(run), 1..) = (run, header.public_leaves) else {
        let nothing = run.is_none() && header.public_leaves == 0;
        return if nothing { Ok(Vec::new()) } else { Err(Violation::PublicLeaves) };
    };
    if run.first != header.first || u32::try_from(run.entries.len()) != Ok(header.public_leaves) {
        return Err(Violation::PublicLeaves);
    }
    run.proof.verify(run.first, &run.entries.hashes(), header.body_size(), &header.body_root)?;
    indexed(run)
        .map(|(index, entry)| match Entry::from_bytes(entry) {
            Ok(Entry::Public(public)) => Ok((index, public)),
            _ => Err(Violation::PublicLeaves),
        })
        .collect()
}

/// One column, as its counterparty or an auditor may check it: the opening is the committed one,
/// the leaves are the committed ones and in the tree, every payload has the constitution's price,
/// and all adds up from `before`, with what the block's entries change of it, if that is known. Gives the
/// payloads.
///
/// # Errors
/// The first rule that is broken.
pub fn check_column<'b, G: Guards>(
    constitution: &Constitution,
    header: &Header,
    counterparty: BrandId,
    opening: &ColumnOpening,
    before: impl Into<Option<&'b ColumnContent>>,
    run: Option<&LeafRun>,
) -> Result<Vec<(LeafIndex, Payload)>, Violation> {
    let wrong_leaves = Violation::ColumnLeaves { counterparty };
    let column = header.column(counterparty).ok_or(Violation::Columns)?;
    let context = header.context();
    opening.check(&context, column).map_err(|error| Violation::Opening { counterparty, error })?;
    let content = &opening.content;
    let end = content.first.checked_add(content.count);
    let inside = end.is_some_and(|end| end <= header.body_leaves);
    if content.count > 0 && (content.first < header.public_leaves || !inside) {
        return Err(wrong_leaves);
    }
    // first that these are the tree's leaves at the column's place: if not, it is who brought them
    let hashes = run.map_or_else(Vec::new, |run| run.entries.hashes());
    if u32::try_from(hashes.len()) != Ok(content.count)
        || !are_in_place(header, content, run, &hashes)
    {
        return Err(Violation::Delivered { counterparty });
    }
    // then that they are what the writer committed to
    if hash_of_leaves(&hashes) != content.leaves {
        return Err(wrong_leaves);
    }
    let mut payloads = Vec::with_capacity(hashes.len());
    if let Some(run) = run {
        let size = constitution.payload_size().saturating_add(SEALED_OVERHEAD);
        let mut cipher = context.column(&opening.key);
        let pair = (header.log, counterparty);
        for (index, entry) in indexed(run) {
            let Ok(SealedLeaf::Sealed(sealed)) =
                codec::decode("a sealed entry", entry, codec::ENTRY_MAX)
            else {
                return Err(wrong_leaves);
            };
            if sealed.ciphertext.len() != size {
                return Err(wrong_leaves);
            }
            let bytes = cipher
                .open(index, sealed)
                .map_err(|error| Violation::Opening { counterparty, error })?;
            let payload = Payload::read(bytes, constitution, pair)
                .map_err(|error| Violation::Payload { counterparty, index, error })?;
            payloads.push((index, payload));
        }
    }
    let values = payloads.iter().map(|(_, payload)| payload.value());
    // what the totals continue is not known to who has lost the key to the block before
    if let Some(before) = before.into()
        && let Err(violation) = check_column_totals(constitution, column, content, before, values)
    {
        G::found(violation)?;
    }
    Ok(payloads)
}

/// What of a column in dispute could stand by itself: leaves at the column's place that open to an entry
/// of the constitution's price. Nothing of a column that is not what was committed to.
#[must_use]
pub fn salvage(
    constitution: &Constitution,
    header: &Header,
    counterparty: BrandId,
    opening: &ColumnOpening,
    run: Option<&LeafRun>,
) -> Vec<(LeafIndex, Payload)> {
    let context = header.context();
    let committed = header.column(counterparty).map(|column| opening.check(&context, column));
    let (Some(run), Some(Ok(()))) = (run, committed) else { return Vec::new() };
    if !are_in_place(header, &opening.content, Some(run), &run.entries.hashes()) {
        return Vec::new();
    }
    let mut cipher = context.column(&opening.key);
    let mut stands = Vec::new();
    for (index, entry) in indexed(run) {
        let sealed = codec::decode("a sealed entry", entry, codec::ENTRY_MAX);
        if let Ok(SealedLeaf::Sealed(sealed)) = sealed
            && let Ok(bytes) = cipher.open(index, sealed)
            && let Ok(payload) = Payload::read(bytes, constitution, (header.log, counterparty))
        {
            stands.push((index, payload));
        }
    }
    stands
}

fn are_in_place(
    header: &Header,
    content: &ColumnContent,
    run: Option<&LeafRun>,
    hashes: &[crate::ids::LeafHash],
) -> bool {
    let Some(run) = run else { return true };
    let offset = run.first.get().checked_sub(header.first.get());
    let proof = run.proof.verify(run.first, hashes, header.body_size(), &header.body_root);
    offset == Some(u64::from(content.first)) && proof.is_ok()
}

/// That a column's exact totals are those before and what its payloads are worth, and the public total
/// their ceiling.
///
/// # Errors
/// [`Violation::ExactTotals`], or [`Violation::Amount`] when they leave their range.
pub fn check_column_totals(
    constitution: &Constitution,
    column: &Column,
    content: &ColumnContent,
    before: &ColumnContent,
    mut values: impl Iterator<Item = Value>,
) -> Result<(), Violation> {
    let sent = values.try_fold(before.sent, Value::plus)?;
    let count = before.entries.checked_add(u64::from(content.count));
    let right = content.sent == sent
        && Some(content.entries) == count
        && sent.ceiling_to(constitution.total_step())? == column.sent;
    let counterparty = column.counterparty;
    if right { Ok(()) } else { Err(Violation::ExactTotals { counterparty }) }
}

fn indexed(run: &LeafRun) -> impl Iterator<Item = (LeafIndex, &[u8])> {
    (run.first.get()..).map(LeafIndex::new).zip(&run.entries)
}
