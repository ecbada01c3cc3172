//! Sensitivity by brute force: random questions, small random alliances, one person added.
//!
//! Rows are evaluated by the reference of [`crate::testing::evaluate`], far from the emitted SQL and
//! the planner, so that the claimed bound is tested from outside. The lines go through the real
//! collector, a row at a time in no order, as the worst engine would return them.

use std::collections::BTreeMap;

use super::{BoundedVector, CollectError, Collector};
use crate::contract::{Contract, RawColumn};
use crate::exact;
use crate::ids::ParticipantId;
use crate::plan::DpPlan;
use crate::plan::Fill;
use crate::testing::evaluate::{Database, Raw, RawRow, evaluate};
use crate::testing::questions::{
    Dice, account, database, open_contract, question, raw_open_contract, together,
};
use crate::testing::{brand, local_question, sample_contract, spec};

fn brand_sum(plan: &DpPlan, participant: ParticipantId, rows: &Database) -> BoundedVector {
    let mut collector = Collector::new(plan, participant);
    for ((member, cell), added) in evaluate(plan, participant, rows) {
        let added: Vec<Option<i64>> = added.into_iter().map(Some).collect();
        collector.push(Some(member.as_bytes()), cell, &added).unwrap();
    }
    collector.finish().unwrap()
}

/// How far one person with an account at each brand moves the alliance's sum, by coordinate.
fn moved(plan: &DpPlan, dice: &mut Dice, accounts: u64) -> Vec<i128> {
    moved_as_seen(plan, dice, accounts, Database::clone)
}

/// The same where a question sees rows that each brand has computed from its own.
fn moved_as_seen(
    plan: &DpPlan,
    dice: &mut Dice,
    accounts: u64,
    seen: fn(&Database) -> Database,
) -> Vec<i128> {
    let mut moved = vec![0i128; plan.gathered_start(plan.columns().len(), plan.cells().len())];
    for (participant, brand) in plan.participants().iter().enumerate() {
        let others = database(dice, 3);
        let mut all = others.clone();
        for number in 0..accounts {
            // the person is another member at each brand
            let name = format!("person{participant}_{number}");
            all = together(all, &account(dice, Some(&name), 12));
        }
        let without = brand_sum(plan, *brand, &seen(&others));
        let with = brand_sum(plan, *brand, &seen(&all));
        for (total, (a, b)) in moved.iter_mut().zip(with.values().iter().zip(without.values())) {
            *total += i128::from(*a) - i128::from(*b);
        }
    }
    moved
}

/// The largest part of a column's planned bound that was used, in percent; fails above it.
fn within_bounds(plan: &DpPlan, moved: &[i128], accounts: u64, what: &str) -> u64 {
    let accounts = u128::from(accounts);
    let mut used = 0;
    for (index, column) in plan.columns().iter().enumerate() {
        let at = |column| plan.gathered_start(column, plan.cells().len());
        let part = &moved[at(index)..at(index + 1)];
        let scale = u128::from(column.scale());
        let planned = accounts * accounts * column.squared_sensitivity() * scale * scale;
        // bins of which something is chosen count by the sum of their magnitudes in a cell
        let found = match column.fill() {
            Fill::Bins { .. } => {
                let cells = part.chunks(column.fill().width());
                let sums = cells.map(|cell| cell.iter().map(|moved| moved.abs()).sum());
                exact::squared_norm(&sums.collect::<Vec<i128>>())
            }
            _ => exact::squared_norm(part),
        };
        assert!(found <= planned.into(), "{what}: {} moved {found} of {planned}", column.name());
        let percent = u128::try_from(found * 100u8 / dashu::integer::UBig::from(planned));
        used = used.max(u64::try_from(percent.unwrap()).unwrap());
    }
    used
}

fn planned(contract: &Contract, sql: &str) -> Option<DpPlan> {
    DpPlan::new(contract, &spec(sql, 3)).ok()
}

/// Random questions of the supported SQL over random databases: one person with an account at each
/// of n brands, added or removed, moves each noised column by at most n C in L2, which is what the
/// planner adds noise for.
#[test]
fn one_person_never_moves_the_alliance_by_more_than_planned() {
    let contract = open_contract();
    let (mut asked, mut moving, mut tight) = (0, 0, 0);
    for seed in 0..3_000 {
        let mut dice = Dice(seed);
        let sql = question(&mut dice);
        let Some(plan) = planned(&contract, &sql) else { continue };
        asked += 1;
        let moved = moved(&plan, &mut dice, 1);
        let used = within_bounds(&plan, &moved, 1, &format!("seed {seed}: {sql}"));
        moving += u32::from(used > 0);
        tight += u32::from(used >= 50);
    }
    // the generator asks what is answered, the person moves it, and bounds are near what is reached
    assert!(asked > 2_000 && moving > asked / 2 && tight > 100, "{asked} {moving} {tight}");
}

/// The same by weeks and by days, in place of quarters.
#[test]
fn one_person_never_moves_weeks_and_days_by_more_than_planned() {
    let contract = open_contract();
    let (mut asked, mut moving) = (0, 0);
    for seed in 40_000..46_000 {
        let mut dice = Dice(seed);
        let sql = question(&mut dice);
        let unit = ["week", "day"][usize::try_from(seed % 2).unwrap()];
        let other = sql.replace("date_trunc('quarter'", &format!("date_trunc('{unit}'"));
        if other == sql {
            continue;
        }
        let Some(plan) = planned(&contract, &other) else { continue };
        asked += 1;
        let moved = moved(&plan, &mut dice, 1);
        moving += u32::from(within_bounds(&plan, &moved, 1, &format!("seed {seed}: {other}")) > 0);
    }
    assert!(asked > 60 && moving > asked / 2, "{asked} {moving}");
}

/// The open contract with a discounter, whose members come often for little, and a jeweller.
fn contract_of_unlike_brands() -> Contract {
    let mut raw = raw_open_contract();
    let own = |all: &mut BTreeMap<String, u64>, discounter: u64, jeweller: u64| {
        all.insert(brand(0).to_string(), discounter);
        all.insert(brand(2).to_string(), jeweller);
    };
    own(&mut raw.tables[0].rows_bound_by_brand, 10, 2);
    own(&mut raw.tables[1].rows_bound_by_brand, 5, 1);
    for column in &mut raw.tables[0].columns {
        let RawColumn::Integer { name, bound_by_brand, .. } = column else { continue };
        match name.as_str() {
            "quantity" => own(bound_by_brand, 50, 2),
            _ => own(bound_by_brand, 100, 2_000),
        }
    }
    raw.try_into().unwrap()
}

/// The same where brands have bounds of their own: one person moves the sum of all by no more than the sum of the
/// brands' bounds, and each brand's part by no more than its own.
#[test]
fn one_person_moves_brands_with_bounds_of_their_own_by_no_more_than_planned() {
    let contract = contract_of_unlike_brands();
    let (mut asked, mut unlike, mut moving, mut tight) = (0, 0, 0, 0);
    for seed in 30_000..33_000 {
        let mut dice = Dice(seed);
        let sql = question(&mut dice);
        let Some(plan) = planned(&contract, &sql) else { continue };
        asked += 1;
        unlike += u32::from(plan.columns().iter().any(|column| !column.one_bound_for_all()));
        let mut all = vec![0i128; plan.gathered_start(plan.columns().len(), plan.cells().len())];
        for (place, brand) in plan.participants().iter().enumerate() {
            let others = database(&mut dice, 3);
            let with = together(others.clone(), &account(&mut dice, Some("person"), 12));
            let without = brand_sum(&plan, *brand, &others);
            let with = brand_sum(&plan, *brand, &with);
            let pairs = with.values().iter().zip(without.values());
            let part: Vec<i128> = pairs.map(|(a, b)| i128::from(*a) - i128::from(*b)).collect();
            for (index, column) in plan.columns().iter().enumerate() {
                let at = |column| plan.gathered_start(column, plan.cells().len());
                let found = exact::squared_norm(&part[at(index)..at(index + 1)]);
                let own = column.scaled_squared_bound_at(place);
                assert!(found <= own.into(), "seed {seed}: {brand} {sql}");
            }
            all.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
        let used = within_bounds(&plan, &all, 1, &format!("seed {seed}: {sql}"));
        moving += u32::from(used > 0);
        tight += u32::from(used >= 50);
    }
    let enough = asked > 2_000 && unlike > asked / 4 && moving > asked / 2 && tight > 20;
    assert!(enough, "{asked} {unlike} {moving} {tight}");
}

/// And it is reached: a person whose rows are far beyond what counts at any of three unlike brands moves a sum by
/// all of their bounds together.
#[test]
fn the_sensitivity_of_unlike_brands_is_the_sum_of_their_bounds() {
    let plan = planned(&contract_of_unlike_brands(), "SELECT sum(amount_fen) FROM purchases");
    let plan = plan.unwrap();
    let column = &plan.columns()[0];
    assert_eq!(column.squared_bounds(), [100 * 100, 1_000 * 1_000, 2_000 * 2_000]);
    assert_eq!(column.squared_sensitivity(), 3_100 * 3_100);
    let moved = plan.participants().iter().fold(0i128, |sum, brand| {
        let mut collector = Collector::new(&plan, *brand);
        collector.push(Some(b"person"), 0, &[Some(1_000_000)]).unwrap();
        sum + i128::from(collector.finish().unwrap().values()[0])
    });
    assert_eq!(moved, 3_100 * i128::from(column.scale()));
    // nobody else's bounds count for what one brand answers alone, nor those of who is not asked
    let question = local_question("SELECT sum(amount_fen) FROM purchases", 5_000_000_000);
    let local = DpPlan::local(&contract_of_unlike_brands(), brand(2), &question).unwrap();
    assert_eq!(local.columns()[0].squared_sensitivity(), 2_000 * 2_000);
    let stranger = Collector::new(&local, brand(0)).finish();
    assert_eq!(stranger.unwrap_err(), CollectError::Participant);
}

/// Sales alone, each with what refunds (rows below zero) left of it: of the same member in the same department,
/// the latest before it first, none below zero. Rows without an amount are sales of nothing.
fn netted(rows: &Database) -> Database {
    let mut seen = rows.clone();
    let Some(purchases) = seen.remove("purchases") else { return seen };
    let parts = |row: &RawRow| match &row.values[..] {
        [Raw::Day(day), Raw::Text(department), _, Raw::Number(amount)] => {
            (*day, department.clone(), amount.unwrap_or(0))
        }
        other => panic!("{other:?}"),
    };
    let mut ordered: Vec<&RawRow> = purchases.iter().collect();
    ordered.sort_by_key(|row| (parts(row).0, parts(row).2 < 0));
    // by member and department: places among the sales of what may still be taken back
    let mut stacks: BTreeMap<(Option<String>, Option<String>), Vec<usize>> = BTreeMap::new();
    let mut sales: Vec<(RawRow, i64)> = Vec::new();
    for row in ordered {
        let (_, department, amount) = parts(row);
        let stack = stacks.entry((row.member.clone(), department)).or_default();
        if amount >= 0 {
            stack.push(sales.len());
            sales.push((row.clone(), amount));
            continue;
        }
        let mut back = -amount;
        while let Some(latest) = stack.last() {
            let left = &mut sales[*latest].1;
            let taken = back.min(*left);
            *left -= taken;
            back -= taken;
            if *left > 0 {
                break;
            }
            stack.pop();
        }
    }
    let sales = sales.into_iter().map(|(mut row, left)| {
        row.values.push(Raw::Number(Some(left)));
        row
    });
    seen.insert("purchases".to_owned(), sales.collect());
    seen
}

/// Refunds reach questions as a column that each brand computes from the member's own rows: random questions of
/// what they left, over random sales and refunds, stay within what is planned too. Signed amounts are in the
/// questions above.
#[test]
fn what_refunds_leave_of_sales_moves_an_answer_by_no_more_than_planned() {
    let mut raw = raw_open_contract();
    raw.tables[0].columns.push(RawColumn::Integer {
        name: "net_fen".into(),
        unit: "fen".into(),
        minimum: 0,
        maximum: 1_000,
        bound: Some(100),
        carriers: None,
        bound_by_brand: BTreeMap::new(),
    });
    let contract: Contract = raw.try_into().unwrap();
    let (mut asked, mut moving, mut tight) = (0, 0, 0);
    for seed in 20_000..22_000 {
        let mut dice = Dice(seed);
        let sql = question(&mut dice);
        if !sql.contains("amount_fen") {
            continue;
        }
        let sql = sql.replace("amount_fen", "net_fen");
        let Some(plan) = planned(&contract, &sql) else { continue };
        asked += 1;
        let moved = moved_as_seen(&plan, &mut dice, 1, netted);
        let used = within_bounds(&plan, &moved, 1, &format!("seed {seed}: {sql}"));
        moving += u32::from(used > 0);
        tight += u32::from(used >= 50);
    }
    assert!(asked > 200 && moving > asked / 3 && tight > 10, "{asked} {moving} {tight}");
    // and refunds do lower sales there
    let all = (0..20).map(|seed| account(&mut Dice(seed), Some("person"), 30));
    let all = all.fold(Database::new(), |all, more| together(all, &more));
    let sums = |rows: &Database, at: usize| -> i64 {
        let of = rows["purchases"].iter().filter_map(|row| match row.values[at] {
            Raw::Number(number) => number,
            _ => None,
        });
        of.filter(|number| *number > 0).sum()
    };
    let (gross, net) = (sums(&all, 3), sums(&netted(&all), 4));
    assert!(0 < net && net < gross, "{net} of {gross}");
}

/// The question with its first sum within a bound; `None` where it has none.
fn within(sql: &str, bound: u128) -> Option<String> {
    let (items, rest) = sql.split_once(" FROM ")?;
    let (before, from) = items.split_once("sum(")?;
    let mut depth = 1u32;
    let (end, _) = from.char_indices().find(|(_, letter)| {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth == 0
    })?;
    let (summed, after) = from.split_at(end);
    Some(format!("{before}sum_within({summed}, {bound}{after} FROM {rest}"))
}

/// The same of sums within a bound that the question names, and of what HAVING alone names: both are noised by what is
/// planned for them, and a lesser bound has less noise.
#[test]
fn sums_within_a_bound_of_the_questions_own_move_by_no_more_than_it() {
    let contract = open_contract();
    let (mut asked, mut unshown, mut moving, mut tight) = (0, 0, 0, 0);
    for seed in 50_000..53_000 {
        let mut dice = Dice(seed);
        let sql = question(&mut dice);
        let bound = [1u128, 5, 20, 100][usize::try_from(dice.below(4)).unwrap()];
        let Some(sql) = within(&sql, bound) else { continue };
        let sql = format!("{sql} HAVING count(*) > 1");
        let Some(plan) = planned(&contract, &sql) else { continue };
        asked += 1;
        unshown += u32::from(plan.summary().outputs.iter().any(|output| output.unshown));
        let least = plan.columns().iter().map(|column| column.squared_sensitivity()).min();
        assert!(least.unwrap() <= 9 * bound * bound, "seed {seed}: {sql}");
        let moved = moved(&plan, &mut dice, 1);
        let used = within_bounds(&plan, &moved, 1, &format!("seed {seed}: {sql}"));
        moving += u32::from(used > 0);
        tight += u32::from(used >= 50);
    }
    let enough = asked > 200 && unshown > asked / 2 && moving > asked / 3 && tight > 20;
    assert!(enough, "{asked} {unshown} {moving} {tight}");
}

/// The same of what one brand answers alone, quantiles of its own members too: one account moves each column by at most C.
#[test]
fn one_account_never_moves_a_brands_own_answer_by_more_than_planned() {
    let contract = open_contract();
    let (mut asked, mut moving, mut tight, mut chosen) = (0, 0, 0, 0);
    for seed in 10_000..12_000 {
        let mut dice = Dice(seed);
        let sql = question(&mut dice);
        let asker = usize::try_from(dice.below(3)).unwrap();
        let question = local_question(&sql, 5_000_000_000);
        let Ok(plan) = DpPlan::local(&contract, brand(asker), &question) else { continue };
        asked += 1;
        chosen += u32::from(plan.columns().iter().any(|column| !column.choices().is_empty()));
        let moved = moved(&plan, &mut dice, 1);
        let used = within_bounds(&plan, &moved, 1, &format!("seed {seed}: {sql}"));
        moving += u32::from(used > 0);
        tight += u32::from(used >= 50);
    }
    let all = asked > 1_000 && moving > asked / 2 && tight > 100 && chosen > 50;
    assert!(all, "{asked} {moving} {tight} {chosen}");
}

/// Trap 5: two accounts of one person at one brand move twice as far, so they cost four times as
/// much: the unit is an account, and the published guarantee says one a brand.
#[test]
fn trap_5_a_second_account_at_a_brand_doubles_the_sensitivity() {
    let sql = "SELECT count(distinct member) FROM purchases";
    let plan = planned(&sample_contract(), sql).unwrap();
    let mut used = 0;
    for seed in 0..20 {
        let moved = moved(&plan, &mut Dice(seed), 2);
        within_bounds(&plan, &moved, 2, sql);
        let column = &plan.columns()[0];
        let once = 9 * column.scaled_squared_bound();
        used = used.max(u64::from(exact::squared_norm(&moved) == (4 * once).into()));
    }
    assert_eq!(used, 1, "two accounts never reached twice the bound of one");
}

/// The planned bound is reached, so it cannot be made smaller.
#[test]
fn the_planned_sensitivity_is_tight() {
    let contract = open_contract();
    for sql in [
        "SELECT count(*) FROM purchases",
        "SELECT sum(amount_fen) FROM purchases",
        "SELECT count(*) FROM (SELECT member, count(*) n FROM purchases GROUP BY member) x",
    ] {
        let plan = planned(&contract, sql).unwrap();
        let reached = (0..40).any(|seed| {
            let moved = moved(&plan, &mut Dice(seed), 1);
            within_bounds(&plan, &moved, 1, sql) >= 99
        });
        assert!(reached, "{sql}");
    }
}
