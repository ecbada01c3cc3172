//! Adds up all accounts again from log entries, and names what is wrong.
//!
//! Needs nothing but certified entries, the contracts and, as far as they were kept, openings and
//! questions. Checks: every entry reads and stands where it may; a charge was made under the contract that its log
//! was under, and within that contract's quota; all brands' charges of a year together stay within the least that
//! a contract of the year promised; charges precede hashes; nobody certified two hashes for an attempt; no quota was taken
//! back that had to stand; openings match their hashes and, where the question was kept too, add
//! up to the release that was logged. True inputs and honest noise cannot be shown by any of this.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::year::Terms;
use super::{Booking, EntryError, Facts, InForce, Ledger, total};
use crate::contract::Contract;
use crate::ids::{ContractHash, ParticipantId};
use crate::masked_sum::MaskedVector;
use crate::plan::{DpPlan, QuerySpec};
use crate::release::Release;
use crate::steps::{AttemptId, CertifiedEntry, CleanRoomEntry, Opening};
use crate::units::{CalendarYear, PicoDelta, PicoRho, UtcMillis};

/// How far two brands' block times may disagree about what came first: each is within 60 s of its
/// witnesses' clocks. Beside the times, a hash names the keys of all reservations it follows.
const CLOCK_SKEW_MILLIS: u64 = 120_000;

/// A certified entry with the calendar year of its block, in the alliance's zone, and the contract that its log
/// was under there.
#[derive(Clone, Copy, Debug)]
pub struct AuditEntry<'a, E> {
    /// The entry.
    pub entry: &'a E,
    /// Year of its block.
    pub year: CalendarYear,
    /// The contract; none where the constitution had no clean room.
    pub under: Option<ContractHash>,
}

/// What was kept beside the logs, within the audit window.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Openings with their senders.
    pub openings: Vec<(ParticipantId, Opening)>,
    /// Questions; the logs hold only their hashes.
    pub questions: BTreeMap<AttemptId, QuerySpec>,
}

/// What was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Bytes that are no entry.
    Unreadable,
    /// An entry in a log that may not hold it, or a second one of its kind.
    Contradiction,
    /// A second, different hash for one attempt.
    SecondVector,
    /// A year's charges above the brand's quota.
    OverQuota,
    /// Failures after reading and local charges above the brand's local quota of a year.
    OverLocalQuota,
    /// All brands' charges of a year together above what was promised for it.
    OverYear,
    /// A charge booked to another year than its block's. A reservation on its way into the log at
    /// New Year shows this too; nobody takes part in it.
    WrongYear,
    /// A charge under another contract than its log's.
    WrongContract,
    /// A hash before the reservations it needs, or by one who was not asked.
    CommitBeforeCharge,
    /// A quota taken back although a hash stands without `NotOpened`, or before the expiry.
    ReturnTooEarly,
    /// A release without all hashes, or a local one without its charge.
    ReleaseWithoutCharge,
    /// Participants logged different releases.
    ReleasesDiffer,
    /// A logged release that is not what the openings add up to.
    ReleaseMismatch,
    /// An opening that does not match its hash.
    OpeningMismatch,
    /// A question that was kept and is not the one that was reserved: nothing was added up.
    QuestionMismatch,
    /// Someone opened, or logged an answer, although it had certified that it never would. Of an opening only where no
    /// charge stands: one that was sent before a disk was put back pays for itself where it does.
    OpenedAfterNotOpened,
    /// Someone committed, and another who never got to a release reports its opening missing.
    MissingOpening,
    /// A question answered with a brand that was suspended.
    SuspendedTookPart,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Whose log.
    pub log: ParticipantId,
    /// Index of the entry, when it is one entry.
    pub index: Option<u64>,
    /// The rule.
    pub rule: Rule,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log {}", self.log)?;
        if let Some(index) = self.index {
            write!(f, ", entry {index}")?;
        }
        write!(f, ": {:?}", self.rule)
    }
}

/// Audits the clean-room entries of all logs, each log in its order, and what was kept. Returns the rebuilt accounts and what is wrong, in a stable order.
///
/// `contracts` are all that there were, in their order. A charge is judged by its own.
pub fn audit<'a, E: CertifiedEntry + 'a>(
    contracts: &[InForce<'_>],
    entries: impl IntoIterator<Item = AuditEntry<'a, E>>,
    kept: &Kept,
) -> (Ledger, Vec<Finding>) {
    let mut ledger = Ledger::new();
    let mut findings = Vec::new();
    for AuditEntry { entry, year, under: at } in entries {
        let found = |rule| Finding { log: entry.writer(), index: Some(entry.index()), rule };
        match ledger.enter(entry) {
            Ok(_) => {}
            Err(EntryError::Codec(_)) => findings.push(found(Rule::Unreadable)),
            Err(EntryError::Contradiction(_)) => {
                let commit = CleanRoomEntry::from_bytes(entry.bytes())
                    .is_ok_and(|read| matches!(read, CleanRoomEntry::Commit(_)));
                let rule = if commit { Rule::SecondVector } else { Rule::Contradiction };
                findings.push(found(rule));
            }
        }
        let booked = match CleanRoomEntry::from_bytes(entry.bytes()) {
            Ok(CleanRoomEntry::Reserve(reserve)) => Some((reserve.year, reserve.contract)),
            Ok(CleanRoomEntry::LocalCharge(charge)) => Some((charge.year, charge.contract)),
            _ => None,
        };
        if let Some((booked, under)) = booked {
            if booked != year {
                findings.push(found(Rule::WrongYear));
            }
            if at != Some(under) {
                findings.push(found(Rule::WrongContract));
            }
        }
    }
    let mut opened: BTreeMap<AttemptId, Vec<(ParticipantId, &Opening)>> = BTreeMap::new();
    for (from, opening) in &kept.openings {
        opened.entry(opening.id).or_default().push((*from, opening));
    }
    let by_hash: BTreeMap<ContractHash, &Contract> =
        contracts.iter().map(|it| (it.contract.hash(), it.contract)).collect();
    for (id, facts) in ledger.attempts() {
        // of one that nobody knows, the newest: the charge is a finding already
        let under = contract_hash(facts).and_then(|hash| by_hash.get(&hash).copied());
        let Some(contract) = under.or(contracts.last().map(|it| it.contract)) else { break };
        let opened = opened.get(id).map_or(&[][..], Vec::as_slice);
        judge_charge(contract, &ledger, id, facts, &mut findings);
        judge_local(contract, &ledger, id, facts, &mut findings);
        judge_release(facts, &mut findings);
        judge_openings(facts, opened, &mut findings);
        if let Some(spec) = kept.questions.get(id) {
            judge_sum(contract, facts, spec, opened, &mut findings);
        }
    }
    judge_years(contracts, &ledger, &mut findings);
    findings.sort();
    findings.dedup();
    (ledger, findings)
}

/// The contract that an attempt was charged under.
fn contract_hash(facts: &Facts) -> Option<ContractHash> {
    let joint = facts.reserve().map(|reserve| reserve.contract);
    joint.or(facts.local.as_ref().map(|placed| placed.entry.contract))
}

/// Finds, of all brands' charges of each year in the order of their blocks' times, those that lie above what was
/// promised for it up to then: the least of the contract they were made under and those of the year before it. Charges that are findings of their own are left out: nobody answers them, and they must not
/// make findings of others'.
fn judge_years(contracts: &[InForce<'_>], ledger: &Ledger, findings: &mut Vec<Finding>) {
    let over: BTreeSet<(ParticipantId, u64)> = findings
        .iter()
        .filter(|it| matches!(it.rule, Rule::OverQuota | Rule::OverLocalQuota))
        .filter_map(|it| Some((it.log, it.index?)))
        .collect();
    let mut years: BTreeMap<CalendarYear, Vec<Booking>> = BTreeMap::new();
    for booking in ledger.bookings() {
        if !over.contains(&(booking.brand, booking.index)) {
            years.entry(booking.year).or_default().push(booking);
        }
    }
    for (year, mut bookings) in years {
        let mut terms: Option<Terms> = None;
        bookings.sort_by_key(|it| (it.time, it.brand, it.index));
        let (mut rho, mut delta) = (PicoRho::ZERO, PicoDelta::ZERO);
        for booking in bookings {
            rho = total([rho, booking.rho].into_iter());
            delta = delta.checked_add(booking.delta).unwrap_or(PicoDelta::new(u64::MAX));
            let here = Terms::until(contracts, year, booking.contract);
            terms = terms.into_iter().chain(here).reduce(Terms::and);
            if terms.is_some_and(|terms| rho > terms.rho || delta > terms.delta) {
                let (log, index) = (booking.brand, Some(booking.index));
                findings.push(Finding { log, index, rule: Rule::OverYear });
            }
        }
    }
}

fn judge_charge(
    contract: &Contract,
    ledger: &Ledger,
    id: &AttemptId,
    facts: &Facts,
    findings: &mut Vec<Finding>,
) {
    if let Some(placed) = &facts.reserve
        && !ledger.was_within_quota(contract, id)
    {
        let index = Some(placed.index);
        findings.push(Finding { log: id.proposer, index, rule: Rule::OverQuota });
    }
    let set = facts.set();
    for (writer, commit) in &facts.commits {
        let not_after = |charged: UtcMillis| charged <= commit.time.plus(CLOCK_SKEW_MILLIS);
        let charged = facts.reserve.as_ref().is_some_and(|reserve| not_after(reserve.time))
            && facts.participations.values().all(|placed| not_after(placed.time))
            && set.as_ref().is_some_and(|set| {
                set.members().contains_key(writer) && set.hash() == commit.entry.set
            });
        if !charged {
            let index = Some(commit.index);
            findings.push(Finding { log: *writer, index, rule: Rule::CommitBeforeCharge });
        }
    }
    if let Some(returned) = &facts.returned
        && !facts.is_returned()
    {
        let index = Some(returned.index);
        findings.push(Finding { log: id.proposer, index, rule: Rule::ReturnTooEarly });
    }
    judge_suspended(contract, ledger, facts, findings);
    for (accuser, accused) in facts.accusations.keys() {
        let stands = facts.commits.contains_key(accused)
            && !facts.not_opened.contains_key(accused)
            && !facts.releases.contains_key(accuser);
        if stands {
            findings.push(Finding { log: *accused, index: None, rule: Rule::MissingOpening });
        }
    }
}

/// A set that was fixed with a suspended brand in it. Who reserves may not have seen the accusations yet:
/// only what differs by more than clocks may is found.
fn judge_suspended(
    contract: &Contract,
    ledger: &Ledger,
    facts: &Facts,
    findings: &mut Vec<Finding>,
) {
    let Some(placed) = facts.reserve.as_ref().filter(|_| facts.set().is_some()) else { return };
    let suspended = placed.entry.participants.iter().any(|brand| {
        ledger.suspensions(contract, *brand).any(|it| {
            it.id != placed.entry.id
                && placed.time > it.since.plus(CLOCK_SKEW_MILLIS)
                && it.until.is_none_or(|until| placed.time.plus(CLOCK_SKEW_MILLIS) < until)
        })
    });
    if suspended {
        let (log, index) = (placed.entry.id.proposer, Some(placed.index));
        findings.push(Finding { log, index, rule: Rule::SuspendedTookPart });
    }
}

fn judge_local(
    contract: &Contract,
    ledger: &Ledger,
    id: &AttemptId,
    facts: &Facts,
    findings: &mut Vec<Finding>,
) {
    let log = id.proposer;
    if let Some(placed) = &facts.local
        && !ledger.was_within_local_quota(contract, id)
    {
        findings.push(Finding { log, index: Some(placed.index), rule: Rule::OverLocalQuota });
    }
    if let Some(placed) = &facts.local_release {
        let paid = facts.local.as_ref().is_some_and(|charge| charge.index < placed.index);
        if !paid {
            let rule = Rule::ReleaseWithoutCharge;
            findings.push(Finding { log, index: Some(placed.index), rule });
        }
    }
    for placed in facts.periods.values() {
        let paid = facts.local.as_ref().is_some_and(|charge| charge.index < placed.index);
        if !paid {
            let rule = Rule::ReleaseWithoutCharge;
            findings.push(Finding { log, index: Some(placed.index), rule });
        }
    }
    for (writer, placed) in &facts.failed {
        let (booked, _) = ledger.local_until(*writer, placed.entry.year, placed.index);
        if booked > contract.local_quota() {
            let index = Some(placed.index);
            findings.push(Finding { log: *writer, index, rule: Rule::OverLocalQuota });
        }
    }
}

/// Adds the openings up again, when all of them and the question were kept.
fn judge_sum(
    contract: &Contract,
    facts: &Facts,
    spec: &QuerySpec,
    openings: &[(ParticipantId, &Opening)],
    findings: &mut Vec<Finding>,
) {
    let vectors: BTreeMap<ParticipantId, (MaskedVector, [u8; 32])> = openings
        .iter()
        .filter_map(|(from, opening)| {
            Some((*from, (MaskedVector::from_bytes(&opening.vector)?, opening.nonce)))
        })
        .collect();
    let Some(charge) = facts.charge() else { return };
    if vectors.len() != charge.commits().len() {
        return;
    }
    let plan = DpPlan::new(contract, spec).ok().filter(|plan| charge.pays_for(plan));
    let Some(plan) = plan else {
        let asked = facts.reserve().map(|reserve| reserve.id.proposer);
        let rule = Rule::QuestionMismatch;
        findings.extend(asked.map(|log| Finding { log, index: None, rule }));
        return;
    };
    let made = Release::from_openings(&charge, &plan, &vectors).ok().map(|release| release.hash());
    for (writer, placed) in &facts.releases {
        if made != Some(placed.entry.release) {
            let index = Some(placed.index);
            findings.push(Finding { log: *writer, index, rule: Rule::ReleaseMismatch });
        }
    }
}

fn judge_release(facts: &Facts, findings: &mut Vec<Finding>) {
    let charge = facts.charge();
    let first = facts.releases.values().next().map(|placed| placed.entry);
    for (writer, placed) in &facts.releases {
        let index = Some(placed.index);
        let paid = charge.as_ref().is_some_and(|charge| charge.set().hash() == placed.entry.set);
        if !paid {
            findings.push(Finding { log: *writer, index, rule: Rule::ReleaseWithoutCharge });
        }
        if first.is_some_and(|first| first.release != placed.entry.release) {
            findings.push(Finding { log: *writer, index, rule: Rule::ReleasesDiffer });
        }
        if let Some(not_opened) = facts.not_opened.get(writer) {
            let index = Some(not_opened.index);
            findings.push(Finding { log: *writer, index, rule: Rule::OpenedAfterNotOpened });
        }
    }
}

fn judge_openings(
    facts: &Facts,
    openings: &[(ParticipantId, &Opening)],
    findings: &mut Vec<Finding>,
) {
    let is_paid = facts.charge().is_some() && !facts.is_returned();
    for (from, opening) in openings {
        let vector = MaskedVector::from_bytes(&opening.vector);
        let matches = facts.commits.get(from).zip(vector).is_some_and(|(commit, vector)| {
            vector.commitment(*from, commit.entry.set, &opening.nonce) == commit.entry.vector
        });
        if !matches {
            findings.push(Finding { log: *from, index: None, rule: Rule::OpeningMismatch });
        }
        if facts.not_opened.contains_key(from) && !is_paid {
            findings.push(Finding { log: *from, index: None, rule: Rule::OpenedAfterNotOpened });
        }
    }
}
