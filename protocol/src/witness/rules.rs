//! What a block must be in order to follow the last certified one.
//!
//! The one place where these rules are upheld: a witness runs them before it votes, the offline audit
//! runs the same functions over a folder. Everything is judged from the block, the certificates it
//! carries and the epoch; [`Violation`] says which rule failed. Does not know rounds, votes or locks.

mod column;
mod kinds;
mod violation;

use std::collections::BTreeMap;

use self::column::indexed;
pub use self::column::{check_column, check_column_totals, salvage};
pub use self::kinds::{Kinds, check_kinds};
pub use self::violation::{Violation, is_about_the_block};
use super::allowed::Allowed;
use super::guards::Guards;
use super::message::{Extension, LeafRun};
use super::readers::{Stated, check_sealing, secret_readers};
use crate::amount::{AmountError, Value};
use crate::constitution::{Brand, Constitution};
use crate::crypto::sealed::Sealing;
use crate::ids::{BrandId, Epoch, HeaderHash, Height, LeafIndex, TreeSize};
use crate::log::block::{
    BLOCK_LEAVES_MAX, BLOCK_LEAVES_MIN, BODY_MAX, BlockReference, Column, Entry, Header,
    PublicEntry, Recognised,
};
use crate::log::merkle::Frontier;
use crate::log::proof::ProofError;
use crate::log::settlement::Discharge;
use crate::time::{Milliseconds, Timestamp};

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
    /// What the block brought is certified under a constitution that the judge does not know.
    Unjudged(Epoch),
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
    check_place::<G>(constitution, tip, header)?;
    check_statement::<G>(constitution, tip, header, allowed, certified)
}

/// That it is the header of the next block, under the right constitution.
fn check_place<G: Guards>(
    constitution: &Constitution,
    tip: &Tip,
    header: &Header,
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
    Ok(())
}

/// What it says, for who knows of the tip all but its tree; see [`check_header`].
///
/// # Errors
/// The first rule that is broken.
pub fn check_statement<'a, G: Guards>(
    constitution: &Constitution,
    tip: &Tip,
    header: &Header,
    allowed: &Allowed,
    certified: impl Fn(BrandId, Height) -> Known<'a>,
) -> Result<(), Violation> {
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
    let most = MostOwed::after(constitution, brand, header.log, tip);
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
                    // that says nothing about the block
                    Known::Unjudged(epoch) => {
                        return Err(Violation::UnknownEpoch { counterparty, epoch });
                    }
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
        if exposure > most.pair(counterparty) {
            G::found(Violation::PairLimit { counterparty })?;
        }
        owed = owed.plus(exposure)?;
    }
    if owed > most.total() { G::found(Violation::TotalLimit) } else { Ok(()) }
}

/// The most that the block after `tip` may owe (rules 13 and 14): the brand's limits, or, where a
/// constitution has lowered these or made the step larger, what `tip` owes already. Such a debt need
/// not fall at once, which no writer could bring about: it does not rise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MostOwed {
    pair_limit: Value,
    // where the last block owes more than that
    pairs: BTreeMap<BrandId, Value>,
    total: Value,
}

impl MostOwed {
    /// By the limits of a brand and the last certified block of its log, in the steps of this constitution.
    #[must_use]
    pub fn after(constitution: &Constitution, brand: &Brand, log: BrandId, tip: &Tip) -> Self {
        let step = constitution.total_step();
        let mut total = Value::ZERO;
        let mut pairs = BTreeMap::new();
        for counterparty in constitution.committee().witnesses(log) {
            let Some(column) = tip.column(counterparty) else { continue };
            // a larger step is a multiple of the one before
            let sent = column.sent.ceiling_to(step).unwrap_or(column.sent);
            let owed = public_exposure(step, sent, &column.recognised);
            total = total.plus(owed).unwrap_or(Value::MAX);
            if owed > brand.pair_limit {
                pairs.insert(counterparty, owed);
            }
        }
        let total = total.max(brand.total_limit);
        Self { pair_limit: brand.pair_limit, pairs, total }
    }

    /// To one counterparty.
    #[must_use]
    pub fn pair(&self, counterparty: BrandId) -> Value {
        self.pairs.get(&counterparty).copied().unwrap_or(self.pair_limit)
    }
    /// To all together.
    #[must_use]
    pub const fn total(&self) -> Value {
        self.total
    }
    /// Whether so much may be owed to each.
    #[must_use]
    pub fn allows(&self, exposures: &BTreeMap<BrandId, Value>) -> bool {
        exposures.iter().all(|(counterparty, owed)| *owed <= self.pair(*counterparty))
            && self.allows_in_all(exposures)
    }
    /// Whether so much may be owed to all together.
    #[must_use]
    pub fn allows_in_all(&self, exposures: &BTreeMap<BrandId, Value>) -> bool {
        sum(exposures).is_some_and(|owed| owed <= self.total)
    }
}

/// What is owed to all together; none when it leaves its range.
#[must_use]
pub fn sum(exposures: &BTreeMap<BrandId, Value>) -> Option<Value> {
    exposures.values().try_fold(Value::ZERO, |sum, owed| sum.plus(*owed)).ok()
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
