//! Contracts that name more than is kept, at a brand alone with a log that certifies at once.

use alliance_config::Constitution;
use privacy::plan::QuerySpec;
use privacy::steps::{DeclineReason, Proposal};
use privacy::{
    Attempt, AttemptId, CalendarYear, CleanRoom, Clock, Effect, MaskingSecret, Message,
    ParticipantId, ProposeRequest, QueryId, SnapshotId, UtcMillis,
};
use protocol::codec;
use protocol::ids::{BrandId, LeafIndex};
use protocol::log::block::ApplicationEntry;

use super::super::super::{APPLICATION, Action, CertifiedApplication, views};
use super::super::ended::tests::{Brand, CONSTITUTION};
use crate::service::{Question, Scope};

const OTHER: &str = "grocer_two";

/// The sample's constitution with this before its last column but one.
fn with_column(column: &str) -> String {
    let before = "[[clean_room.tables.columns]]\nkind = \"integer\"\nname = \"quantity\"";
    assert_eq!(CONSTITUTION.matches(before).count(), 1);
    CONSTITUTION.replace(before, &format!("[[clean_room.tables.columns]]\n{column}\n\n{before}"))
}

fn with_province() -> String {
    let values = "values = [{ value = \"NORTH\" }, { value = \"SOUTH\" }]";
    with_column(&format!("kind = \"text\"\nname = \"province\"\n{values}"))
}

fn with_two_tables() -> String {
    let after = "# The brands, as they introduced themselves.";
    assert_eq!(CONSTITUTION.matches(after).count(), 1);
    let table = "[[clean_room.tables]]\nname = \"baskets\"\nowner = \"member\"\nrows_bound = 100\n\n\
                 [[clean_room.tables.columns]]\nkind = \"date\"\nname = \"purchased_on\"\n\
                 first = \"2017-01-01\"\nlast = \"2017-12-31\"\n\n";
    CONSTITUTION.replace(after, &format!("{table}{after}"))
}

fn with_another_owner() -> String {
    assert_eq!(CONSTITUTION.matches("owner = \"member\"").count(), 1);
    CONSTITUTION.replace("owner = \"member\"", "owner = \"customer\"")
}

fn question(sql: &str, scope: Scope) -> Question {
    Question { sql: sql.to_owned(), scope: Some(scope), ..Question::default() }
}

/// Asks jointly and locally: neither is planned nor asked, and nothing is charged or written down.
fn refused(brand: &mut Brand, sql: &str, place: &str) {
    for scope in [Scope::Joint, Scope::Local] {
        let question = question(sql, scope);
        let planned = brand.room.plan(&question, brand.now).unwrap_err();
        assert_eq!(planned.code, "not_kept_here", "{sql}");
        assert!(planned.message.contains(place), "{}", planned.message);
        let asked = brand.room.query(&question, "any", brand.now).map(drop).unwrap_err();
        assert_eq!(asked, planned, "{sql}");
    }
    assert_eq!((brand.log.len(), brand.records()), (0, 0));
    assert_eq!(brand.room.budget(brand.now).spent_pico_rho, 0);
}

#[test]
fn a_column_that_is_not_kept_is_refused_before_any_charge() {
    let mut brand = Brand::under(&with_province());
    let by_province = "SELECT province, count(*) AS n FROM purchases GROUP BY province";
    refused(&mut brand, by_province, "tables.purchases.province");
    let within = "SELECT count(*) AS n FROM purchases WHERE province = 'NORTH'";
    refused(&mut brand, within, "tables.purchases.province");
    let by_member = "SELECT count(*) AS n FROM (SELECT member, max(CASE WHEN province = 'NORTH' THEN 1 ELSE 0 END) AS \
                     north FROM purchases GROUP BY member) AS m WHERE north = 1";
    refused(&mut brand, by_member, "tables.purchases.province");
    // packs are refused alike
    let pack = "SELECT brand, province, count(*) AS n FROM purchases GROUP BY brand, province";
    let pack = brand.room.plan(&question(pack, Scope::Pack), brand.now).unwrap_err();
    assert_eq!(pack.code, "not_kept_here");
    // whoever does not ask for it is answered
    for scope in [Scope::Joint, Scope::Local] {
        let question = question("SELECT count(*) AS n FROM purchases WHERE quantity > 1", scope);
        let plan = brand.room.plan(&question, brand.now).unwrap();
        let (_, actions) = brand.room.query(&question, &plan.plan, brand.now).unwrap();
        brand.carry_out(actions);
    }
    assert!(!brand.log.is_empty());
}

#[test]
fn a_table_that_is_not_kept_is_no_other_name_for_purchases() {
    let mut brand = Brand::under(&with_two_tables());
    refused(&mut brand, "SELECT count(*) AS n FROM baskets", "tables.baskets");
    let joined = "SELECT count(*) AS n FROM (SELECT member, count(*) AS lines FROM purchases GROUP BY member) AS p \
                  JOIN (SELECT member, count(*) AS baskets FROM baskets GROUP BY member) AS b ON p.member = b.member";
    refused(&mut brand, joined, "tables.baskets");
    let plain = question("SELECT count(*) AS n FROM purchases", Scope::Joint);
    assert!(brand.room.plan(&plain, brand.now).is_ok());
}

#[test]
fn an_owner_by_another_name_is_refused() {
    let mut brand = Brand::under(&with_another_owner());
    refused(&mut brand, "SELECT count(*) AS n FROM purchases", "tables.purchases.owner");
}

#[test]
fn another_kind_of_column_is_refused() {
    let kind = "kind = \"date\"\nname = \"receipt\"\nfirst = \"2017-01-01\"\nlast = \"2017-12-31\"";
    let mut brand = Brand::under(&with_column(kind));
    let sql = "SELECT count(*) AS n FROM purchases WHERE receipt >= DATE '2017-02-01'";
    refused(&mut brand, sql, "tables.purchases.receipt");
}

/// Rows from so many years before today on are read, and none of before: of a question that is noised, and of figures
/// that a brand's own staff has exactly.
#[test]
fn rows_past_retention_are_read_by_no_question() {
    const SAMPLES: &str = "retention_years = 20";
    assert_eq!(CONSTITUTION.matches(SAMPLES).count(), 1);
    // 21 September 2006 and 2023, in days since 1970
    for (years, first) in [(SAMPLES, 13_412), ("retention_years = 3", 19_621)] {
        let mut brand = Brand::under(&CONSTITUTION.replace(SAMPLES, years));
        let question = question("SELECT count(*) AS n FROM purchases", Scope::Local);
        let plan = brand.room.plan(&question, brand.now).unwrap();
        let (_, actions) = brand.room.query(&question, &plan.plan, brand.now).unwrap();
        brand.carry_out(actions);
        assert_eq!(brand.read_from, [first]);
        assert_eq!(brand.room.readable(brand.now).unwrap().1, first);
    }
}

#[test]
fn a_contract_that_comes_later_is_told_of_and_refused_alike() {
    let mut brand = Brand::new();
    assert_eq!(brand.room.unreadable_alerts(), [""; 0]);
    let next = Constitution::parse(with_province().as_bytes()).unwrap();
    brand.room.follow(&next, next.clean_room().unwrap(), &[]).unwrap();
    let alerts = brand.room.unreadable_alerts();
    assert_eq!(alerts.len(), 1);
    assert!(alerts[0].starts_with("tables.purchases.province: this node keeps no such column"));
    assert!(alerts[0].contains("本节点没有该列"), "{}", alerts[0]);
    let sql = "SELECT province, count(*) AS n FROM purchases GROUP BY province";
    refused(&mut brand, sql, "tables.purchases.province");
}

#[test]
fn what_is_not_served_is_a_warning_before_a_contract_is_signed() {
    let purposes = "purposes = [\"joint_analytics\"]";
    assert_eq!(CONSTITUTION.matches(purposes).count(), 1);
    let more = "purposes = [\"joint_analytics\", \"research\"]";
    let warned = |text: &str| {
        let constitution = Constitution::parse(text.as_bytes()).unwrap();
        views::contract_warnings(constitution.clean_room().unwrap().contract())
    };
    let warnings = warned(&with_province().replace(purposes, more));
    let [province, purpose] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(province.en.starts_with("tables.purchases.province: "), "{}", province.en);
    assert!(province.zh.contains("本节点没有该列"), "{}", province.zh);
    assert!(purpose.en.contains("keeps no consent to research"), "{}", purpose.en);
    assert!(purpose.zh.contains("research"), "{}", purpose.zh);
    assert_eq!(warned(CONSTITUTION), []);
}

/// What this brand does with a question to some brands that another brand has reserved the cost of, its so-manieth.
pub(in crate::cleanroom::room) fn proposed(
    brand: &mut Brand,
    number: u8,
    participants: &[ParticipantId],
    sql: &str,
) -> (AttemptId, Vec<Action>) {
    let contract = brand.room.contract().clone();
    let other: ParticipantId = OTHER.parse().unwrap();
    let spec = QuerySpec {
        sql: sql.to_owned(),
        purpose: "joint_analytics".parse().unwrap(),
        analyst: "analyst".parse().unwrap(),
        participants: participants.to_vec(),
        rho: contract.rho_per_question_at_least(),
    };
    let (query, attempt) = (QueryId([number; 16]), Attempt::FIRST);
    let request = ProposeRequest {
        query,
        attempt,
        spec: spec.clone(),
        secret: MaskingSecret::from_bytes([1; 32]),
        snapshot: SnapshotId([2; 32]),
        analyst_quota: contract.joint_quota(),
        lifetime_millis: 120_000,
        opening_millis: 120_000,
    };
    let clock = Clock { now: UtcMillis(brand.now.unix_ms()), year: CalendarYear(2026) };
    let effects = CleanRoom::new(other, contract).propose(request, clock).unwrap();
    let id = AttemptId { proposer: other, query, attempt };
    let log = BrandId::new(OTHER).unwrap();
    let proposal = Message::Proposal(Proposal { id, spec });
    let mut actions = brand.room.message(log, proposal.to_bytes(), brand.now);
    for effect in effects {
        let Effect::Append(entry) = effect else { continue };
        let entry = ApplicationEntry { application: APPLICATION, body: entry.to_bytes() };
        let entry = codec::encode(&(log, LeafIndex::new(number.into()), brand.now, entry));
        let entry: CertifiedApplication = codec::decode("entry", &entry, usize::MAX).unwrap();
        actions.extend(brand.room.certified(&entry, brand.now));
    }
    (id, actions)
}

#[test]
fn what_another_brand_proposes_is_declined_before_anything_is_reserved() {
    let mut brand = Brand::under(&with_province());
    let all = brand.room.contract().participants().to_vec();
    let by_province = "SELECT province, count(*) AS n FROM purchases GROUP BY province";
    let (id, actions) = proposed(&mut brand, 0, &all, by_province);
    let [Action::Send(to, message)] = actions.as_slice() else { panic!("{actions:?}") };
    let declined = Message::Declined(id, DeclineReason::Plan);
    assert_eq!(*to, BrandId::new(OTHER).unwrap());
    assert_eq!(Message::from_bytes(message).unwrap(), declined);
    // what does not read it is taken part in
    let plain = "SELECT count(*) AS n FROM purchases WHERE quantity > 1";
    let (_, actions) = proposed(&mut brand, 1, &all, plain);
    assert!(actions.iter().any(|action| matches!(action, Action::Append(_))), "{actions:?}");
    assert!(actions.iter().any(|action| matches!(action, Action::Record(_))), "{actions:?}");
}
