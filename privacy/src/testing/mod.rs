//! What the unit tests of this crate share: the contract of the sample alliance, random questions
//! and databases, and a reference evaluator.

pub(crate) mod alone;
pub(crate) mod evaluate;
pub(crate) mod questions;

use std::collections::BTreeMap;

use crate::accounting::{CertifiedLocalCharge, Ledger};
use crate::contract::{
    BudgetProfile, Contract, RawColumn, RawContract, RawPublicTable, RawTable, RawValue,
};
use crate::exact::Rational;
use crate::ids::{Attempt, ParticipantId, QueryId, SnapshotId};
use crate::mechanism::{NoiseError, NoiseSource};
use crate::plan::{DpPlan, LocalQuestion, QuerySpec};
use crate::steps::{AttemptId, CertifiedEntry, CleanRoomEntry, LocalCharge};
use crate::units::{CalendarYear, PicoRho, UtcMillis};

pub(crate) const BRANDS: [&str; 5] =
    ["fresh_counter", "fuel_stop", "grocer_one", "grocer_two", "health_home"];

pub(crate) fn brand(index: usize) -> ParticipantId {
    BRANDS[index].parse().unwrap()
}

pub(crate) fn value(text: &str, carriers: Option<&[&str]>) -> RawValue {
    RawValue {
        value: text.into(),
        carriers: carriers.map(|names| names.iter().map(|n| (*n).to_owned()).collect()),
    }
}

pub(crate) fn raw_contract() -> RawContract {
    RawContract {
        dataset: "purchases_2017".into(),
        purposes: vec!["joint_statistics".into()],
        participants: BRANDS.iter().map(|n| (*n).to_owned()).collect(),
        minimum_participants: 3,
        profile: "trial".into(),
        members_at_most: 5_000_000,
        public_tables: vec![RawPublicTable {
            name: "aisles".into(),
            key: "department".into(),
            columns: vec!["kind".into(), "floor".into()],
            rows: [["GROCERY", "dry", "ground"], ["PRODUCE", "fresh", "ground"]]
                .map(|row| row.map(String::from).to_vec())
                .to_vec(),
        }],
        tables: vec![
            RawTable {
                name: "purchases".into(),
                owner: "member".into(),
                rows_bound: 2_000,
                rows_bound_by_brand: BTreeMap::new(),
                columns: vec![
                    RawColumn::Date {
                        name: "purchased_on".into(),
                        first: "2017-01-01".into(),
                        last: "2017-12-31".into(),
                    },
                    RawColumn::Text {
                        name: "department".into(),
                        values: vec![
                            value("GROCERY", None),
                            value("PRODUCE", Some(&["grocer_one", "grocer_two", "fresh_counter"])),
                            value("FUEL", Some(&["fuel_stop"])),
                        ],
                        other_carriers: None,
                    },
                    RawColumn::Integer {
                        name: "quantity".into(),
                        unit: "pieces".into(),
                        minimum: -1_000,
                        maximum: 1_000,
                        bound: None,
                        carriers: None,
                        bound_by_brand: BTreeMap::new(),
                    },
                    RawColumn::Integer {
                        name: "amount_fen".into(),
                        unit: "fen".into(),
                        minimum: -1_000_000,
                        maximum: 1_000_000,
                        bound: Some(500_000),
                        carriers: None,
                        bound_by_brand: BTreeMap::new(),
                    },
                ],
            },
            RawTable {
                name: "visits".into(),
                owner: "member".into(),
                rows_bound: 500,
                rows_bound_by_brand: BTreeMap::new(),
                columns: vec![
                    RawColumn::Text {
                        name: "channel".into(),
                        values: vec![value("STORE", None), value("APP", None)],
                        other_carriers: None,
                    },
                    RawColumn::Integer {
                        name: "minutes".into(),
                        unit: "minutes".into(),
                        minimum: 0,
                        maximum: 600,
                        bound: Some(5_000),
                        carriers: None,
                        bound_by_brand: BTreeMap::new(),
                    },
                ],
            },
        ],
    }
}

pub(crate) fn sample_contract() -> Contract {
    raw_contract().try_into().unwrap()
}

/// The same with a column of shops, whose names are not public: four a member, fifty at a brand.
pub(crate) fn private_contract() -> Contract {
    let mut raw = raw_contract();
    raw.tables[0].columns.push(RawColumn::Private {
        name: "shop".into(),
        column: Some("store_name".into()),
        member_groups: 4,
        groups_at_most: 50,
    });
    raw.try_into().unwrap()
}

pub(crate) fn local_question(sql: &str, pico_rho: u64) -> LocalQuestion {
    LocalQuestion {
        sql: sql.into(),
        purpose: "joint_statistics".parse().unwrap(),
        analyst: "desk".parse().unwrap(),
        rho: PicoRho::new(pico_rho),
    }
}

/// An entry in the log of the brand that wrote it.
pub(crate) struct Logged {
    bytes: Vec<u8>,
    index: u64,
    writer: ParticipantId,
}

impl Logged {
    pub(crate) fn of(entry: &CleanRoomEntry, index: u64, writer: ParticipantId) -> Self {
        Self { bytes: entry.to_bytes(), index, writer }
    }
}

impl CertifiedEntry for Logged {
    fn writer(&self) -> ParticipantId {
        self.writer
    }
    fn index(&self) -> u64 {
        self.index
    }
    fn time(&self) -> UtcMillis {
        UtcMillis(self.index)
    }
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a brand is charged in 2026 for a plan of its own.
pub(crate) fn local_charge(plan: &DpPlan, of: ParticipantId, query: u8) -> LocalCharge {
    let query = QueryId([query; 16]);
    LocalCharge {
        id: AttemptId { proposer: of, query, attempt: Attempt::FIRST },
        plan: plan.hash(),
        sql: plan.sql_hash(),
        contract: plan.contract_hash(),
        rho: plan.rho(),
        delta: plan.delta(),
        year: CalendarYear(2026),
        analyst: "desk".parse().unwrap(),
        snapshot: SnapshotId([9; 32]),
    }
}

/// The same, certified.
pub(crate) fn certified_local(charge: LocalCharge) -> CertifiedLocalCharge {
    let mut ledger = Ledger::new();
    let entry = CleanRoomEntry::LocalCharge(charge);
    let id = ledger.enter(&Logged::of(&entry, 4, charge.id.proposer)).unwrap();
    ledger.facts(&id).unwrap().local_charge().unwrap()
}

/// No noise at all.
pub(crate) struct Silent;

impl NoiseSource for Silent {
    fn discrete_gaussian(&mut self, _: &Rational) -> Result<i64, NoiseError> {
        Ok(0)
    }
}

pub(crate) fn spec(sql: &str, participants: usize) -> QuerySpec {
    QuerySpec {
        sql: sql.to_owned(),
        purpose: "joint_statistics".parse().unwrap(),
        analyst: "marketing_desk".parse().unwrap(),
        participants: (0..participants).map(brand).collect(),
        rho: BudgetProfile::Trial.rho_per_query(),
    }
}
