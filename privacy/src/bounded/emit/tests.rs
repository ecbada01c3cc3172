use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

use super::member_sql;
use crate::contract::{Contract, RawColumn};
use crate::plan::DpPlan;
use crate::testing::evaluate::evaluate;
use crate::testing::questions::{Dice, database};
use crate::testing::{brand, raw_contract, sample_contract, spec};

fn emitted(sql: &str, participant: usize) -> String {
    let plan = DpPlan::new(&sample_contract(), &spec(sql, 5)).unwrap();
    let text = member_sql(&plan, brand(participant)).as_str().to_owned();
    Parser::parse_sql(&GenericDialect {}, &text).unwrap();
    text
}

/// Whatever the brand's own rows hold: the contract, by which others plan, says that it is 0.
#[test]
fn a_number_that_a_brand_may_not_tell_is_read_as_nothing() {
    let mut raw = raw_contract();
    let RawColumn::Integer { carriers, .. } = &mut raw.tables[0].columns[3] else { panic!() };
    *carriers = Some([1, 2, 3].map(|index| brand(index).to_string()).to_vec());
    let contract = Contract::try_from(raw).unwrap();
    let sql = "SELECT sum(amount_fen) AS s FROM purchases WHERE amount_fen < 900000";
    let plan = DpPlan::new(&contract, &spec(sql, 5)).unwrap();
    let text = |index| member_sql(&plan, brand(index)).as_str().to_owned();
    assert!(text(1).contains("COALESCE(\"amount_fen\", 0) END AS c3"), "{}", text(1));
    assert!(text(0).contains("0 AS c3") && !text(0).contains("amount_fen"), "{}", text(0));
    Parser::parse_sql(&GenericDialect {}, &text(0)).unwrap();
    let rows = database(&mut Dice(7), 8);
    let sums = |index| -> i64 {
        evaluate(&plan, brand(index), &rows).values().map(|added| added[0]).sum()
    };
    assert!(sums(1) != 0 && sums(0) == 0, "{} {}", sums(1), sums(0));
}

/// Trap 9: SQL puts all rows without a member into one group, as if they were one member.
#[test]
fn trap_9_rows_without_an_owner_are_not_read() {
    let text = emitted("SELECT count(distinct member) FROM purchases", 0);
    assert!(
        text.ends_with("WHERE \"member\" IS NOT NULL) AS f) AS coded GROUP BY member, cell"),
        "{text}"
    );
}

#[test]
fn the_sample_question_is_written_so() {
    let text = emitted(
        "SELECT half_year(purchased_on) AS half, count(distinct member) AS active \
         FROM purchases GROUP BY half_year(purchased_on)",
        0,
    );
    assert_eq!(
        text,
        "SELECT member, cell, COUNT(*) AS a0 FROM (SELECT member, CAST((0) * 2 + (CASE WHEN \
         c0 <= DATE '2017-06-30' THEN 0 WHEN c0 <= DATE '2017-12-31' THEN 1 ELSE 1 END) AS \
         BIGINT) AS cell FROM (SELECT \"member\" AS member, \"purchased_on\" AS c0 FROM \
         \"purchases\" WHERE \"member\" IS NOT NULL AND \"purchased_on\" \
         >= DATE '2017-01-01' AND \"purchased_on\" <= DATE '2017-12-31') AS f) AS coded \
         GROUP BY member, cell"
    );
}

#[test]
fn a_value_a_brand_may_not_carry_counts_as_other() {
    let sql = "SELECT department, sum(amount_fen) FROM purchases \
               WHERE department IN ('GROCERY', 'PRODUCE') AND quantity > 0 GROUP BY 1";
    let grocer = emitted(sql, 2);
    let fuel = emitted(sql, 1);
    assert!(
        grocer.contains("CASE \"department\" WHEN 'GROCERY' THEN 0 WHEN 'PRODUCE' THEN 1 ELSE"),
        "{grocer}"
    );
    assert!(!fuel.contains("PRODUCE"), "{fuel}");
    assert!(!grocer.contains("'FUEL'"), "{grocer}");
    assert!(grocer.contains("WHERE (c1 IN (0, 1) AND c2 > 0)"), "{grocer}");
}
