//! The privacy budget, added up again from the logs alone: the other half of an audit, beside the
//! ledger's.
//!
//! `protocol::audit` hands over every certified entry of the clean room; `privacy::accounting` judges
//! them. What was answered is not in the logs, so that true inputs and honest noise cannot be checked
//! here. Where a brand's kept openings are given, each answer is added up from them again, and compared with the
//! hash that every participant logged; without them only what the entries say of each other is checked.

use std::collections::{BTreeMap, BTreeSet};

use alliance_config::Constitution;
use jiff::tz::TimeZone;
use privacy::accounting::{AuditEntry, Finding, InForce, Kept, audit};
use privacy::{
    CalendarYear, CertifiedEntry, CleanRoomEntry, Contract, ParticipantId, PicoRho, UtcMillis,
};
use protocol::audit::EntryPlace;
use protocol::ids::{BrandId, Epoch};
use protocol::log::block::ApplicationEntry;
use protocol::time::Timestamp;
use serde::Serialize;

use crate::cleanroom::APPLICATION;

/// For how long after a constitution is first taken up the one before it may still head blocks of others.
const GRACE_MS: u64 = 24 * 60 * 60 * 1_000;

/// Clean-room entries found by the audit of the logs, in the order of each log, and when logs were under which
/// constitution.
#[derive(Debug, Default)]
pub struct BudgetEntries {
    entries: Vec<AuditedEntry>,
    /// Times of the first and the last block under each.
    blocks: BTreeMap<Epoch, (Timestamp, Timestamp)>,
}

/// An entry of a log that the audit found certified; made by [`BudgetEntries::take`] alone, which only
/// the audit's observer calls.
#[derive(Debug)]
struct AuditedEntry {
    writer: ParticipantId,
    index: u64,
    time: Timestamp,
    epoch: Epoch,
    body: Vec<u8>,
}

impl AuditedEntry {
    fn is_charge(&self) -> bool {
        matches!(
            CleanRoomEntry::from_bytes(&self.body),
            Ok(CleanRoomEntry::Reserve(_) | CleanRoomEntry::LocalCharge(_))
        )
    }
}

impl CertifiedEntry for AuditedEntry {
    fn writer(&self) -> ParticipantId {
        self.writer
    }
    fn index(&self) -> u64 {
        self.index
    }
    fn time(&self) -> UtcMillis {
        UtcMillis(self.time.unix_ms())
    }
    fn bytes(&self) -> &[u8] {
        &self.body
    }
}

/// Openings that nodes have kept, as an audit has read them.
#[derive(Debug, Default)]
pub struct Openings {
    /// Those that read, with their questions.
    pub kept: Kept,
    /// Files that do not.
    pub unreadable: u64,
}

/// What one brand has been charged in one year.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Whose: the brand that proposed, or that answered about its own members.
    pub brand: String,
    /// `joint` or `local`.
    pub account: &'static str,
    /// Calendar year, in the alliance's zone.
    pub year: u16,
    /// Charged, pico-rho.
    pub charged_pico_rho: u64,
    /// Its quota of a year, pico-rho: by the contract of its last charge.
    pub quota_pico_rho: u64,
}

/// What all brands were charged in one year together, under whatever contracts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct YearTotal {
    /// Calendar year, in the alliance's zone.
    pub year: u16,
    /// Charged, pico-rho.
    pub charged_pico_rho: u64,
    /// The least that a contract of the year promised, pico-rho.
    pub promised_pico_rho: u64,
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BudgetReport {
    /// Clean-room entries read.
    pub entries: u64,
    /// Attempts they tell of.
    pub attempts: u64,
    /// Joint questions that were answered: whole charges of which somebody has logged a release, or of which all openings
    /// are there (a running node may have those before the release is in its copies of the logs).
    pub answers: u64,
    /// Answers that were added up again from openings that a brand has kept.
    pub added_up: u64,
    /// Files of openings that do not read: what they have is added up from none of them.
    pub openings_unreadable: u64,
    /// Every account with a charge.
    pub accounts: Vec<Account>,
    /// Every year with a charge.
    pub years: Vec<YearTotal>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl BudgetEntries {
    /// Takes an entry that the audit passes on; entries of other applications are not the clean room's.
    pub fn take(&mut self, at: &EntryPlace, entry: &ApplicationEntry) {
        if entry.application != APPLICATION {
            return;
        }
        // a brand's id is always a participant's name: its alphabet is the smaller one
        let Ok(writer) = at.log.as_str().parse() else { return };
        let (index, time, epoch) = (at.index.get(), at.time, at.epoch);
        self.entries.push(AuditedEntry { writer, index, time, epoch, body: entry.body.clone() });
    }

    /// Notes under which constitution a block is.
    pub fn block(&mut self, epoch: Epoch, time: Timestamp) {
        let (first, last) = self.blocks.entry(epoch).or_insert((time, time));
        (*first, *last) = (time.min(*first), time.max(*last));
    }

    /// All logs' entries, log after log.
    #[must_use]
    pub fn gathered(of: BTreeMap<BrandId, Self>) -> Self {
        let mut all = Self::default();
        for Self { entries, blocks } in of.into_values() {
            all.entries.extend(entries);
            for (epoch, (first, last)) in blocks {
                all.block(epoch, first);
                all.block(epoch, last);
            }
        }
        all
    }

    /// Adds all accounts up, each charge by the contract of its log at that place; none when no constitution
    /// has a clean room.
    #[must_use]
    pub fn report(
        &self,
        constitutions: &[Constitution],
        openings: &Openings,
    ) -> Option<BudgetReport> {
        let kept = &openings.kept;
        let of_epoch: BTreeMap<Epoch, (&TimeZone, Option<&Contract>)> = constitutions
            .iter()
            .map(|it| {
                let contract = it.clean_room().map(alliance_config::CleanRoom::contract);
                (it.ledger().epoch(), (it.clearing_zone(), contract))
            })
            .collect();
        let newest = of_epoch.values().rev().find_map(|(_, contract)| *contract)?;
        let zone = of_epoch.values().next_back().map(|(zone, _)| *zone)?;
        let contracts: Vec<InForce<'_>> = of_epoch
            .iter()
            .filter_map(|(epoch, (zone, contract))| {
                let (first, last) = *self.blocks.get(epoch)?;
                // one that follows with a new year leaves the year before to this one, whose logs do not all
                // take it up in the first moment; who charges under this one nevertheless is under it
                let next = self.blocks.range(epoch.next()?..).next();
                let end = next.map_or(last, |(_, (next, _))| last.min(back(*next)));
                let charges = self.entries.iter().filter(|it| it.epoch == *epoch);
                let charged = charges.filter(|it| it.is_charge()).map(|it| it.time).max();
                Some(InForce {
                    contract: (*contract)?,
                    from: year(first, zone),
                    until: year(end.max(first).max(charged.unwrap_or(first)), zone),
                })
            })
            .collect();
        let entries = self.entries.iter().map(|entry| {
            let (zone, contract) = of_epoch.get(&entry.epoch).copied().unwrap_or((zone, None));
            let under = contract.map(Contract::hash);
            AuditEntry { entry, year: year(entry.time, zone), under }
        });
        let (ledger, findings) = audit(&contracts, entries, kept);
        let by_hash: BTreeMap<_, &Contract> =
            contracts.iter().map(|it| (it.contract.hash(), it.contract)).collect();
        // the contract of the last charge of each account
        let mut joint: BTreeMap<(ParticipantId, CalendarYear), (UtcMillis, &Contract)> =
            BTreeMap::new();
        let mut local = joint.clone();
        let mut years: BTreeSet<CalendarYear> = BTreeSet::new();
        // added up here from what was booked, not by the sums that a node keeps
        let mut charged: BTreeMap<(ParticipantId, CalendarYear), [u64; 2]> = BTreeMap::new();
        for charge in ledger.bookings() {
            years.insert(charge.year);
            let [on_joint, on_local] = charged.entry((charge.brand, charge.year)).or_default();
            let sum = if charge.joint { on_joint } else { on_local };
            *sum = sum.saturating_add(charge.rho.get());
            let contract = charge.contract.and_then(|hash| by_hash.get(&hash).copied());
            let contract = contract.unwrap_or(newest);
            let of = if charge.joint { &mut joint } else { &mut local };
            let last = of.entry((charge.brand, charge.year)).or_insert((charge.time, contract));
            if charge.time >= last.0 {
                *last = (charge.time, contract);
            }
        }
        let on = |brand: ParticipantId, year: CalendarYear| {
            charged.get(&(brand, year)).copied().unwrap_or_default().map(PicoRho::new)
        };
        let totals = years.into_iter().map(|year| {
            let of_year = charged.iter().filter(|((_, of), _)| *of == year);
            let charged = of_year.fold(0u64, |sum, (_, [joint, local])| {
                sum.saturating_add(*joint).saturating_add(*local)
            });
            let promised = contracts.iter().filter(|it| it.covers(year));
            let promised = promised.map(|it| it.contract.profile().rho_per_year().get()).min();
            YearTotal {
                year: year.0,
                charged_pico_rho: charged,
                promised_pico_rho: promised.unwrap_or_default(),
            }
        });
        let totals = totals.collect();
        let joint = joint.iter().map(|((brand, year), (_, contract))| {
            let [charged, _] = on(*brand, *year);
            account("joint", *brand, *year, charged, contract.joint_quota())
        });
        let local = local.iter().map(|((brand, year), (_, contract))| {
            let [_, charged] = on(*brand, *year);
            account("local", *brand, *year, charged, contract.local_quota())
        });
        // whoever was added up is one of them, or it would stand for an answer that was not
        let answered = ledger.attempts().filter(|(id, facts)| {
            kept.is_whole(id, facts)
                || facts.charge().is_some() && facts.released_by().next().is_some()
        });
        Some(BudgetReport {
            answers: answered.count() as u64,
            openings_unreadable: openings.unreadable,
            entries: self.entries.len() as u64,
            attempts: ledger.attempts().count() as u64,
            added_up: ledger.attempts().filter(|(id, facts)| kept.is_whole(id, facts)).count()
                as u64,
            accounts: joint.chain(local).collect(),
            years: totals,
            findings,
        })
    }
}

fn account(
    account: &'static str,
    brand: ParticipantId,
    year: CalendarYear,
    charged: PicoRho,
    quota: PicoRho,
) -> Account {
    Account {
        brand: brand.to_string(),
        account,
        year: year.0,
        charged_pico_rho: charged.get(),
        quota_pico_rho: quota.get(),
    }
}

const fn back(time: Timestamp) -> Timestamp {
    Timestamp::from_unix_ms(time.unix_ms().saturating_sub(GRACE_MS))
}

fn year(time: Timestamp, zone: &TimeZone) -> CalendarYear {
    let ms = i64::try_from(time.unix_ms()).unwrap_or(i64::MAX);
    let year = jiff::Timestamp::from_millisecond(ms)
        .map(|timestamp| timestamp.to_zoned(zone.clone()).year())
        .unwrap_or_default();
    CalendarYear(u16::try_from(year).unwrap_or_default())
}
