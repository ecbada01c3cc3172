//! The privacy budget, added up again from the logs alone: the other half of `coalition audit`.
//!
//! `protocol::audit` hands over every certified entry of the clean room; `privacy::accounting` judges
//! them. What was answered is not in the logs, so that true inputs and honest noise cannot be checked
//! here, and no opening or question is at hand offline: only what the entries say of each other.

use std::collections::{BTreeMap, BTreeSet};

use alliance_config::CleanRoom;
use privacy::accounting::{AuditEntry, Finding, Kept, audit};
use privacy::{CalendarYear, CertifiedEntry, ParticipantId, PicoRho, UtcMillis};
use protocol::audit::EntryPlace;
use protocol::ids::BrandId;
use protocol::log::block::ApplicationEntry;
use protocol::time::Timestamp;
use serde::Serialize;

use crate::cleanroom::APPLICATION;

/// Clean-room entries found by the audit of the logs, in the order of each log.
#[derive(Debug, Default)]
pub struct BudgetEntries(Vec<AuditedEntry>);

/// An entry of a log that the audit found certified; made by [`BudgetEntries::take`] alone, which only
/// the audit's observer calls.
#[derive(Debug)]
struct AuditedEntry {
    writer: ParticipantId,
    index: u64,
    time: Timestamp,
    body: Vec<u8>,
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
    /// Its quota of a year, pico-rho.
    pub quota_pico_rho: u64,
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BudgetReport {
    /// Clean-room entries read.
    pub entries: u64,
    /// Attempts they tell of.
    pub attempts: u64,
    /// Every account with a charge.
    pub accounts: Vec<Account>,
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
        let (index, time) = (at.index.get(), at.time);
        self.0.push(AuditedEntry { writer, index, time, body: entry.body.clone() });
    }

    /// All logs' entries, log after log.
    #[must_use]
    pub fn gathered(of: BTreeMap<BrandId, Self>) -> Self {
        Self(of.into_values().flat_map(|entries| entries.0).collect())
    }

    /// Adds all accounts up.
    #[must_use]
    pub fn report(&self, room: &CleanRoom, zone: &jiff::tz::TimeZone) -> BudgetReport {
        let entries = self.0.iter().map(|entry| AuditEntry { entry, year: year(entry.time, zone) });
        let (ledger, findings) = audit(room.contract(), entries, &Kept::default());
        let contract = room.contract();
        let (mut joint, mut local) = (BTreeSet::new(), BTreeSet::new());
        for (id, facts) in ledger.attempts() {
            joint.extend(facts.reserve().map(|reserve| (id.proposer, reserve.year)));
            local.extend(facts.local_charge().map(|charge| (id.proposer, charge.entry().year)));
            // failures after reading are on the local account too
            local.extend(facts.failures());
        }
        let joint = joint.into_iter().map(|(brand, year): (ParticipantId, CalendarYear)| {
            let charged = ledger.joint_spent(brand, year);
            account("joint", brand, year, charged, contract.joint_quota())
        });
        let local = local.into_iter().map(|(brand, year)| {
            let charged = ledger.local_spent(brand, year);
            account("local", brand, year, charged, contract.local_quota())
        });
        let accounts = joint.chain(local).collect();
        BudgetReport {
            entries: self.0.len() as u64,
            attempts: ledger.attempts().count() as u64,
            accounts,
            findings,
        }
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

fn year(time: Timestamp, zone: &jiff::tz::TimeZone) -> CalendarYear {
    let ms = i64::try_from(time.unix_ms()).unwrap_or(i64::MAX);
    let year = jiff::Timestamp::from_millisecond(ms)
        .map(|timestamp| timestamp.to_zoned(zone.clone()).year())
        .unwrap_or_default();
    CalendarYear(u16::try_from(year).unwrap_or_default())
}
