//! Bounded queries for whoever runs them: texts, rows, and the lines a right engine returns.
//!
//! `vectors/bounded-sql.json` holds two small databases and questions over them: random ones over
//! rows as dirty as an engine may hold them, and written ones over clean rows, where the analyst's
//! own text has an exact answer that any SQL engine can be asked for. Expected lines come from the
//! reference of [`crate::testing::evaluate`]. The node's tests run all of it on its engine.
//!
//! After a change that is meant, `COALITION_WRITE_VECTORS=1 cargo test -p privacy bounded::vectors`
//! writes the file again.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::member_sql;
use crate::contract::{Contract, Domain};
use crate::plan::DpPlan;
use crate::testing::evaluate::{Database, Raw, evaluate};
use crate::testing::questions::{Dice, clean_database, database, open_contract, question};
use crate::testing::{brand, spec};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/bounded-sql.json");

/// Questions whose text every engine answers alike: no bounds are reached in the clean database.
const WRITTEN: [&str; 12] = [
    "SELECT department, count(*) n, sum(amount_fen) s FROM purchases GROUP BY department",
    "SELECT extract(month from purchased_on) m, sum(amount_fen) s FROM purchases \
     WHERE quantity > 1 AND NOT department = 'FUEL' GROUP BY 1",
    "SELECT count(distinct member) m FROM purchases WHERE purchased_on BETWEEN DATE '2017-03-01' AND DATE '2017-08-31'",
    "SELECT case when amount_fen < 20 then 'small' when amount_fen < 40 then 'middle' else 'large' end c, \
     count(*) n FROM purchases GROUP BY 1",
    "SELECT count(*) n, sum(s) s FROM (SELECT member, sum(amount_fen) s, count(*) c FROM purchases \
     GROUP BY member HAVING count(*) >= 3) x WHERE s > 50",
    "SELECT least(n, 3) k, count(*) c FROM (SELECT member, count(distinct department) n FROM purchases \
     GROUP BY member) x GROUP BY 1",
    "WITH p AS (SELECT member, sum(amount_fen) s, max(quantity) q FROM purchases GROUP BY member), \
     v AS (SELECT member, sum(minutes) t, min(minutes) l FROM visits WHERE channel <> 'APP' GROUP BY member) \
     SELECT q, sum(s - l) d, sum(least(t, 900)) t FROM p JOIN v ON p.member = v.member GROUP BY q",
    "SELECT v.channel, sum(p.quantity * 2 - 1) s FROM purchases p JOIN visits v ON v.member = p.member GROUP BY 1",
    "SELECT sum(case when quantity >= 2 and department in ('GROCERY', 'FUEL') then amount_fen else -1 end) s FROM purchases",
    "SELECT count(*) n FROM (SELECT DISTINCT member, department FROM purchases) x",
    "SELECT c, count(*) n FROM (SELECT member, case when d < DATE '2017-04-01' then 'early' else 'late' end c \
     FROM (SELECT member, min(purchased_on) d FROM purchases GROUP BY member) y) x GROUP BY c",
    "SELECT greatest(quantity - 2, 2 - quantity) a, sum(greatest(amount_fen, quantity, 7)) s FROM purchases GROUP BY 1",
];

fn tables(contract: &Contract, database: &Database) -> Value {
    let tables = contract.tables().iter().map(|table| {
        let columns = table.columns().iter().map(|column| {
            let kind = match column.domain() {
                Domain::Text { .. } | Domain::Private { .. } => "text",
                Domain::Date { .. } => "date",
                Domain::Integer { .. } => "integer",
            };
            json!([column.name(), kind])
        });
        let columns: Vec<Value> =
            [json!([table.owner(), "text"])].into_iter().chain(columns).collect();
        let rows: Vec<Value> = database[table.name()]
            .iter()
            .map(|row| {
                let values = row.values.iter().map(|value| match value {
                    Raw::Text(text) => json!(text),
                    Raw::Day(day) => json!(day),
                    Raw::Number(number) => json!(number),
                });
                [json!(row.member)].into_iter().chain(values).collect()
            })
            .collect();
        (table.name().to_owned(), json!({ "columns": columns, "rows": rows }))
    });
    tables.collect::<serde_json::Map<String, Value>>().into()
}

fn lines(plan: &DpPlan, database: &Database) -> Vec<Value> {
    let lines = evaluate(plan, brand(0), database);
    lines.into_iter().map(|((member, cell), added)| json!([member, cell, added])).collect()
}

/// Totals by the labels of a cell: what the analyst's own text answers.
fn totals(plan: &DpPlan, database: &Database) -> Vec<Value> {
    let mut totals: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for ((_, cell), added) in evaluate(plan, brand(0), database) {
        let sums = totals.entry(cell).or_insert_with(|| vec![0; added.len()]);
        sums.iter_mut().zip(added).for_each(|(sum, value)| *sum += value);
    }
    let labels = |code: i64| {
        plan.cells().iter().find(|cell| i64::try_from(cell.code) == Ok(code)).unwrap().labels()
    };
    totals.into_iter().map(|(code, sums)| json!([labels(code), sums])).collect()
}

fn vectors() -> Value {
    let contract = open_contract();
    let planned = |sql: &str| DpPlan::new(&contract, &spec(sql, 3));
    let bounded = |plan: &DpPlan| member_sql(plan, brand(0)).as_str().to_owned();
    let dirty = database(&mut Dice(7), 8);
    let random: Vec<Value> = (0..)
        .filter_map(|seed| {
            let sql = question(&mut Dice(seed));
            let plan = planned(&sql).ok()?;
            Some(json!({ "sql": sql, "bounded": bounded(&plan), "lines": lines(&plan, &dirty) }))
        })
        .take(120)
        .collect();
    let clean = clean_database(&mut Dice(8), 12);
    let written: Vec<Value> = WRITTEN
        .into_iter()
        .map(|sql| {
            let plan = planned(sql).unwrap();
            let lines = lines(&plan, &clean);
            // where members are counted, each has one line a cell and counts once
            let members = sql.contains("count(distinct member)");
            let totals =
                if members { vec![json!([[], [lines.len()]])] } else { totals(&plan, &clean) };
            json!({ "sql": sql, "bounded": bounded(&plan), "lines": lines, "totals": totals })
        })
        .collect();
    json!({
        "dirty": { "tables": tables(&contract, &dirty), "questions": random },
        "clean": { "tables": tables(&contract, &clean), "questions": written },
    })
}

#[test]
fn the_bounded_queries_of_the_vectors_are_written_so() {
    let made = vectors();
    if std::env::var_os("COALITION_WRITE_VECTORS").is_some() {
        // one question a line, so that a change shows which
        let text = made.to_string().replace("{\"bounded\"", "\n{\"bounded\"");
        std::fs::write(VECTORS, text + "\n").unwrap();
    }
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(VECTORS).unwrap()).unwrap();
    for part in ["dirty", "clean"] {
        assert_eq!(kept[part]["tables"], made[part]["tables"], "{part}");
        let (kept, made) = (&kept[part]["questions"], &made[part]["questions"]);
        let (kept, made) = (kept.as_array().unwrap(), made.as_array().unwrap());
        assert_eq!(kept.len(), made.len());
        for (kept, made) in kept.iter().zip(made) {
            assert_eq!(kept, made);
        }
    }
}
