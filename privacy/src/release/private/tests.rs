//! Questions with private groups, from their text to what is shown.

use std::collections::BTreeMap;

use crate::accounting::Ledger;
use crate::bounded::{BoundedVector, CollectError, Collector, GROUPS_FAR, member_sql};
use crate::exact;
use crate::mechanism::NoiseShare;
use crate::plan::DpPlan;
use crate::release::{LocalRelease, ReleaseError};
use crate::sql::RefusalCode;
use crate::steps::CleanRoomEntry;
use crate::testing::questions::Dice;
use crate::testing::{
    Logged, Silent, brand, certified_local, local_charge, local_question, private_contract, spec,
};
use crate::units::{CalendarYear, PicoDelta};

const COST: u64 = 4_000_000_000;
const SHOPS: &str = "SELECT shop, count(distinct member) AS m, sum(amount_fen) AS s FROM purchases \
                     GROUP BY shop";

fn plan(sql: &str) -> DpPlan {
    DpPlan::local(&private_contract(), brand(2), &local_question(sql, COST)).unwrap()
}

fn refused(sql: &str) -> RefusalCode {
    let question = local_question(sql, COST);
    DpPlan::local(&private_contract(), brand(2), &question).unwrap_err().code()
}

/// Lines of member, shop, rows and spending.
type Lines = Vec<(u32, &'static str, i64, i64)>;

fn bounded(plan: &DpPlan, lines: &Lines) -> Result<BoundedVector, CollectError> {
    let mut collector = Collector::new(plan, plan.participants()[0]);
    for (member, shop, rows, spent) in lines {
        let added = [Some(*rows), Some(*spent)];
        collector.push_group(
            Some(&member.to_be_bytes()),
            Some(shop),
            &added[..plan.added().len()],
        )?;
    }
    collector.finish()
}

fn release(plan: &DpPlan, lines: &Lines) -> LocalRelease {
    let mut noise = NoiseShare::draw(plan, &mut Silent).unwrap();
    let vector = bounded(plan, lines).unwrap();
    noise.cover(plan, &vector, &mut Silent).unwrap();
    let charge = certified_local(local_charge(plan, brand(2), 1));
    LocalRelease::new(&charge, plan, vector, noise).unwrap()
}

/// So many members of their own in a shop, who have spent an amount each.
fn members(from: u32, number: u64, shop: &'static str, spent: i64) -> Lines {
    (from..).take(usize::try_from(number).unwrap()).map(|member| (member, shop, 1, spent)).collect()
}

fn threshold(plan: &DpPlan) -> u64 {
    plan.summary().private.unwrap().threshold as u64
}

#[test]
fn a_private_group_is_shown_when_enough_members_are_in_it_and_not_before() {
    let plan = plan(SHOPS);
    let least = threshold(&plan);
    let lines = [
        members(0, least, "north", 10),
        members(10_000, least - 1, "hidden", 1_000),
        members(20_000, 3 * least, "east", 20),
    ];
    let release = release(&plan, &lines.concat());
    let shown: Vec<(&str, f64)> =
        release.cells().iter().map(|cell| (cell.keys[0].as_str(), cell.values[0].value)).collect();
    assert_eq!(shown, [("east", (3 * least) as f64), ("north", least as f64)]);
    assert_eq!(release.columns(), ["shop", "m", "s"]);
    // nothing of the hidden one is in what is stored, sent or hashed
    let bytes = release.noised();
    assert!(!bytes.windows(6).any(|window| window == b"hidden"));
    let json = serde_json::to_string(&release).unwrap();
    assert!(!json.contains("hidden") && json.contains("\"pico_delta\":20000"), "{json}");
}

#[test]
fn what_is_shown_is_ordered_and_left_out_by_noised_values() {
    let sql = "SELECT shop, sum(amount_fen) AS s FROM purchases GROUP BY shop \
               HAVING sum(amount_fen) < 100000 ORDER BY s DESC LIMIT 1";
    let plan = plan(sql);
    let least = threshold(&plan);
    let lines = [
        members(0, least, "few", 10),
        members(10_000, 2 * least, "many", 10),
        members(20_000, least, "dear", 10_000),
    ];
    let release = release(&plan, &lines.concat());
    // the count of members was charged and is not shown
    assert_eq!(release.columns(), ["shop", "s"]);
    assert!(plan.summary().outputs.iter().any(|output| output.unshown));
    let keys: Vec<&str> = release.cells().iter().map(|cell| cell.keys[0].as_str()).collect();
    assert_eq!(keys, ["many"]);
}

#[test]
fn a_release_of_private_groups_comes_again_from_what_is_stored() {
    let plan = plan(SHOPS);
    let release = release(&plan, &members(0, 500, "east", 20));
    let charge = certified_local(local_charge(&plan, brand(2), 1));
    let again = LocalRelease::again(&charge, &plan, &release.noised(), release.hash()).unwrap();
    assert_eq!(again, release);
    let written =
        |groups: &[&str], values: &[i64]| minicbor::to_vec((0u8, (groups, values))).unwrap();
    for bytes in [
        // below the threshold, out of order, twice, too few values, no encoding of it
        written(&["east"], &[10, 20]),
        written(&["west", "east"], &[500, 500, 1, 1]),
        written(&["east", "east"], &[500, 500, 1, 1]),
        written(&["east"], &[500]),
        release.noised()[1..].to_vec(),
    ] {
        let refused = LocalRelease::unlogged(&charge, &plan, &bytes);
        assert_eq!(refused, Err(ReleaseError::Plan), "{bytes:?}");
    }
    assert!(LocalRelease::unlogged(&charge, &plan, &written(&[], &[])).unwrap().cells().is_empty());
}

/// Brute force: one member added to a random database moves each column, over the groups of both, by no more
/// than it was planned for, and is alone in no more groups than it counts in; in whatever order the engine
/// returns lines, and also where the member's groups tie.
#[test]
fn one_member_moves_private_groups_by_no_more_than_planned() {
    let plan = plan(SHOPS);
    let private = *plan.private().unwrap();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let mut dice = Dice(5);
    let (mut alone, mut tight) = (0, 0);
    for _ in 0..600 {
        let mut lines = Lines::new();
        for member in 0..dice.below(6) {
            for _ in 0..dice.below(12) {
                let shop = names[usize::try_from(dice.below(names.len() as u64)).unwrap()];
                let spent = i64::try_from(dice.below(400_000)).unwrap() - 100_000;
                let rows = 1 + i64::try_from(dice.below(3)).unwrap();
                lines.push((u32::try_from(member).unwrap(), shop, rows, spent));
            }
        }
        let others: Lines = lines.iter().copied().filter(|line| line.0 != 0).collect();
        let mut shuffled = |mut lines: Lines| -> Vec<BTreeMap<String, i128>> {
            for at in (1..lines.len()).rev() {
                lines.swap(at, usize::try_from(dice.below(at as u64 + 1)).unwrap());
            }
            let vector = bounded(&plan, &lines).unwrap();
            let groups = vector.groups();
            let columns = (0..plan.columns().len()).map(|column| {
                let start = plan.column_start(column, groups.len());
                let values = vector.values()[start..].iter().map(|value| i128::from(*value));
                groups.iter().cloned().zip(values).collect()
            });
            columns.collect()
        };
        let (with, without) = (shuffled(lines.clone()), shuffled(others));
        for ((column, with), without) in plan.columns().iter().zip(&with).zip(&without) {
            let moved = with.keys().chain(without.keys()).map(|name| {
                let of = |all: &BTreeMap<String, i128>| all.get(name).copied().unwrap_or(0);
                (name.clone(), of(with) - of(without))
            });
            let moved: Vec<i128> = moved.collect::<BTreeMap<_, _>>().into_values().collect();
            let norm = exact::squared_norm(&moved);
            assert!(norm <= column.scaled_squared_bound().into(), "{}", column.name());
            tight += u32::from(norm == column.scaled_squared_bound().into());
        }
        let only = with[0].keys().filter(|name| !without[0].contains_key(*name)).count();
        assert!(only <= usize::from(private.member_groups), "{only}");
        assert!(without[0].keys().all(|name| with[0].contains_key(name)));
        alone += u32::from(only == usize::from(private.member_groups));
    }
    assert!(alone > 10 && tight > 50, "{alone} {tight}");
}

#[test]
fn what_is_no_name_counts_under_other() {
    let plan = plan("SELECT shop, count(*) AS n FROM purchases GROUP BY shop");
    let mut collector = Collector::new(&plan, plan.participants()[0]);
    let long = "x".repeat(129);
    for (member, group) in
        (0u32..).zip([None, Some(""), Some(long.as_str()), Some("a\nb"), Some("OTHER"), Some("東")])
    {
        collector.push_group(Some(&member.to_be_bytes()), group, &[Some(1)]).unwrap();
    }
    // guests are nobody's
    collector.push_group(None, Some("guests"), &[Some(1)]).unwrap();
    assert_eq!(collector.push(Some(b"x"), 0, &[Some(1)]), Err(CollectError::Shape));
    let vector = collector.finish().unwrap();
    assert_eq!(vector.groups(), ["OTHER", "東"]);
}

/// So many groups with so many members each, of whom each is in one.
fn groups(plan: &DpPlan, groups: u32, members: u64) -> Result<BoundedVector, CollectError> {
    let mut collector = Collector::new(plan, plan.participants()[0]);
    for group in 0..groups {
        let name = format!("{group:06}");
        for member in 0..members + u64::from(group % 3) {
            let member = format!("{group} {member}");
            let added = [Some(1), Some(10)];
            let added = &added[..plan.added().len()];
            collector.push_group(Some(member.as_bytes()), Some(&name), added)?;
        }
    }
    collector.finish()
}

/// One group more than the contract allows, of one member of its own, makes no failure, which everybody would
/// see; nor does it put another group out, before or after the noise.
#[test]
fn a_group_beyond_the_cap_is_no_failure_and_puts_no_other_out() {
    let plan = plan(SHOPS);
    let cap = 50;
    let least = threshold(&plan);
    let shown = |vector: BoundedVector| {
        let mut noise = NoiseShare::draw(&plan, &mut Silent).unwrap();
        noise.cover(&plan, &vector, &mut Silent).unwrap();
        let charge = certified_local(local_charge(&plan, brand(2), 1));
        let release = LocalRelease::new(&charge, &plan, vector, noise).unwrap();
        // what is stored is read back
        let again = LocalRelease::unlogged(&charge, &plan, &release.noised()).unwrap();
        assert_eq!(again, release);
        let cells = release.cells().iter();
        cells.map(|cell| (cell.keys[0].clone(), cell.values[0].value)).collect::<Vec<_>>()
    };
    let full = shown(groups(&plan, cap, least).unwrap());
    assert_eq!(full.len(), 50);
    let mut collector = Collector::new(&plan, plan.participants()[0]);
    for group in 0..cap {
        for member in 0..least + u64::from(group % 3) {
            let name = format!("{group:06}");
            let member = format!("{group} {member}");
            let added = [Some(1), Some(10)];
            collector.push_group(Some(member.as_bytes()), Some(&name), &added).unwrap();
        }
    }
    // before all others by its name
    collector.push_group(Some(b"alone"), Some("!"), &[Some(1), Some(10)]).unwrap();
    let vector = collector.finish().unwrap();
    assert_eq!(vector.groups().len(), 51);
    assert_eq!(shown(vector), full);
    // of more that reach the threshold those with most are shown, in the order of their names
    let most = shown(groups(&plan, 90, least).unwrap());
    assert_eq!(most.len(), 50);
    assert!(most.is_sorted_by(|one, two| one.0 < two.0));
    let of = |more: u64| most.iter().filter(|(_, count)| *count == (least + more) as f64).count();
    assert_eq!((of(2), of(1), of(0)), (30, 20, 0));
    // without noise of their own nothing is shown
    let noise = NoiseShare::draw(&plan, &mut Silent).unwrap();
    let charge = certified_local(local_charge(&plan, brand(2), 1));
    let bare = LocalRelease::new(&charge, &plan, groups(&plan, 90, 1).unwrap(), noise);
    assert_eq!(bare, Err(ReleaseError::Plan));
    // far beyond any contract
    let scattered = |groups: usize| {
        let mut collector = Collector::new(&plan, plan.participants()[0]);
        for group in 0..groups {
            let (member, name) = ((group / 4).to_be_bytes(), format!("{group:06}"));
            collector.push_group(Some(&member), Some(&name), &[Some(1), Some(10)]).unwrap();
        }
        collector.finish()
    };
    assert!(scattered(GROUPS_FAR).is_ok());
    assert_eq!(scattered(GROUPS_FAR + 1).unwrap_err(), CollectError::Groups);
}

/// A member with more groups than a brand may have counts in those of the least names, among which those with most
/// rows are chosen, in whatever order its lines come.
#[test]
fn a_member_with_absurdly_many_groups_is_cut_by_its_own_rows_alone() {
    let plan = plan(SHOPS);
    let gathered = |backwards: bool| {
        let mut collector = Collector::new(&plan, plan.participants()[0]);
        for at in 0..5_000u32 {
            let number = if backwards { 4_999 - at } else { at };
            // later names have more rows
            let added = [Some(1 + i64::from(number)), Some(1)];
            collector.push_group(Some(b"a"), Some(&format!("{number:06}")), &added).unwrap();
        }
        let vector = collector.finish().unwrap();
        (vector.groups().to_vec(), vector.values().to_vec())
    };
    let (groups, values) = gathered(false);
    assert_eq!(groups, ["000046", "000047", "000048", "000049"]);
    assert_eq!(gathered(true), (groups, values));
}

#[test]
fn private_columns_are_grouped_by_locally_and_nothing_else() {
    use RefusalCode::Unsupported;
    for sql in [
        "SELECT shop, department, count(*) FROM purchases GROUP BY shop, department",
        "SELECT department, shop, count(*) FROM purchases GROUP BY department, shop",
        "SELECT count(*) FROM purchases WHERE shop = 'north'",
        "SELECT sum(case when shop in ('north') then 1 else 0 end) FROM purchases",
        "SELECT shop, median(amount_fen) FROM purchases GROUP BY shop",
        "SELECT shop, count(*) FROM (SELECT member, shop FROM purchases) x GROUP BY shop",
        "SELECT count(*) FROM (SELECT member, count(distinct shop) n FROM purchases GROUP BY member) x \
         WHERE n > 3",
    ] {
        assert_eq!(refused(sql), Unsupported, "{sql}");
    }
    assert_eq!(DpPlan::new(&private_contract(), &spec(SHOPS, 5)).unwrap_err().code(), Unsupported);
    // beside brand, through a join, under an alias and by its number
    for sql in [
        "SELECT brand, shop, count(*) FROM purchases GROUP BY brand, shop",
        "SELECT p.shop, count(*) FROM purchases p JOIN visits v ON v.member = p.member \
         WHERE v.channel = 'APP' GROUP BY p.shop",
        "SELECT shop AS place, count(*) FROM purchases GROUP BY place ORDER BY place",
        "SELECT shop, count(*) FROM purchases GROUP BY 1",
    ] {
        let bounded = member_sql(&plan(sql), brand(2));
        assert!(
            bounded.has_private_groups() && bounded.as_str().contains("\"store_name\""),
            "{sql}"
        );
    }
    // what it is not asked for stays as it was
    let public =
        "SELECT department, count(*) FROM purchases WHERE department = 'GROCERY' GROUP BY 1";
    assert!(plan(public).private().is_none() && plan(public).delta() == PicoDelta::ZERO);
}

#[test]
fn private_groups_are_charged_delta_and_the_year_has_ten_of_them() {
    let contract = private_contract();
    let plan = plan("SELECT shop, count(*) FROM purchases GROUP BY shop");
    assert_eq!((contract.delta_quota().get(), plan.delta().get()), (200_000, 20_000));
    // a charge without the delta pays for nothing
    let vector = || bounded(&plan, &members(0, 9, "a", 1)).unwrap();
    let noise = || NoiseShare::draw(&plan, &mut Silent).unwrap();
    let mut charge = local_charge(&plan, brand(2), 1);
    charge.delta = PicoDelta::ZERO;
    let unpaid = LocalRelease::new(&certified_local(charge), &plan, vector(), noise());
    assert_eq!(unpaid, Err(ReleaseError::Unpaid));
    // cheap in rho, so that delta is what ends
    let question = local_question("SELECT shop, count(*) FROM purchases GROUP BY shop", 5_000_000);
    let cheap = DpPlan::local(&contract, brand(2), &question).unwrap();
    let mut ledger = Ledger::new();
    for query in 1..=11u8 {
        let charge = local_charge(&cheap, brand(2), query);
        let admitted = ledger.admit_local(&contract, &charge, contract.local_quota(), &[]);
        assert_eq!(admitted.is_ok(), query <= 10, "{query}");
        let entry = CleanRoomEntry::LocalCharge(charge);
        let id = ledger.enter(&Logged::of(&entry, u64::from(query), brand(2))).unwrap();
        assert_eq!(ledger.was_within_local_quota(&contract, &id), query <= 10);
    }
    assert_eq!(ledger.delta_spent(brand(2), CalendarYear(2026)).get(), 220_000);
}
