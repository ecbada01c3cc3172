use super::*;
use crate::testing::sample_contract;

fn bound(sql: &str) -> BoundQuery {
    bind(&sample_contract(), sql).unwrap()
}

fn refused(sql: &str) -> Refusal {
    bind(&sample_contract(), sql).unwrap_err()
}

const HALVES: &str = "SELECT half_year(purchased_on) AS half, count(distinct member) AS active \
                      FROM purchases GROUP BY half_year(purchased_on)";

#[test]
fn the_sample_question_binds() {
    let query = bound(HALVES);
    assert_eq!(query.keys.len(), 1);
    assert_eq!(query.aggregates[0].of, Measure::Members);
    assert_eq!(query.output, [Output::Key(0), Output::Aggregate(0)]);
}

#[test]
fn texts_that_mean_the_same_have_one_hash() {
    let same = [
        "select Half_Year( p.purchased_on ) half, COUNT(DISTINCT p.member) as active from purchases p group by half",
        "SELECT half_year(purchased_on) AS half, count(distinct member) AS active FROM purchases GROUP BY 1;",
    ];
    for sql in same {
        assert_eq!(bound(sql).hash(), bound(HALVES).hash(), "{sql}");
    }
    let a = bound("SELECT count(*) FROM purchases WHERE department IN ('FUEL', 'GROCERY')");
    let b = bound("SELECT count(*) FROM purchases WHERE department IN ('GROCERY','FUEL','FUEL')");
    assert_eq!(a.hash(), b.hash());
    let c = bound("SELECT count(*) FROM purchases WHERE department IN ('GROCERY')");
    assert_ne!(a.hash(), c.hash());
}

#[test]
fn what_has_no_bound_is_refused_with_its_code() {
    use RefusalCode::*;
    for (sql, code) in [
        ("SELEC 1", Syntax),
        ("SELECT count(*) FROM purchases; SELECT 1", Syntax),
        ("DELETE FROM purchases", Syntax),
        ("SELECT count(*) FROM secrets", Unknown),
        ("SELECT count(*) FROM purchases, purchases q", Unsupported),
        ("SELECT count(*) FROM purchases JOIN purchases q ON true", Unsupported),
        ("SELECT count(*) FROM (SELECT * FROM purchases) x", Unsupported),
        ("SELECT count(*) FROM purchases TABLESAMPLE BERNOULLI (1)", Unsupported),
        ("SELECT * FROM purchases", Unsupported),
        ("SELECT member, count(*) FROM purchases GROUP BY member", Unsupported),
        ("SELECT department FROM purchases GROUP BY department", Unsupported),
        ("SELECT department, count(*) FROM purchases", Unsupported),
        ("SELECT count(*) FROM purchases GROUP BY department", Unsupported),
        ("SELECT quantity, count(*) FROM purchases GROUP BY quantity", Unsupported),
        ("SELECT sum(quantity) FROM purchases", Unbounded),
        ("SELECT sum(department) FROM purchases", Unbounded),
        ("SELECT sum(amount_fen / 2) FROM purchases", Unsupported),
        ("SELECT sum(amount_fen) / count(*) FROM purchases", Unsupported),
        ("SELECT sum(amount_fen) OVER () FROM purchases", Unsupported),
        ("SELECT sum(amount_fen) FILTER (WHERE quantity > 1) FROM purchases", Unsupported),
        ("SELECT avg(amount_fen) FROM purchases", Unknown),
        ("SELECT random() FROM purchases", Unknown),
        ("SELECT now(), count(*) FROM purchases GROUP BY 1", Unknown),
        ("SELECT count(distinct department) FROM purchases", Unsupported),
        ("SELECT DISTINCT count(*) FROM purchases", Unsupported),
        ("SELECT count(*) FROM purchases WHERE department LIKE 'G%'", Unsupported),
        ("SELECT count(*) FROM purchases WHERE department ~ 'G.*'", Unsupported),
        ("SELECT count(*) FROM purchases WHERE department = 'SECRET'", OutsideDomain),
        ("SELECT count(*) FROM purchases WHERE department < 'GROCERY'", Unsupported),
        ("SELECT count(*) FROM purchases WHERE member = 'G100'", Unsupported),
        ("SELECT count(*) FROM purchases WHERE quantity > 1001", OutsideDomain),
        ("SELECT count(*) FROM purchases WHERE quantity > 1.5", OutsideDomain),
        ("SELECT count(*) FROM purchases WHERE quantity > amount_fen", OutsideDomain),
        ("SELECT count(*) FROM purchases WHERE quantity IS NULL", Unsupported),
        ("SELECT count(*) FROM purchases WHERE purchased_on >= '2018-01-01'", OutsideDomain),
        ("SELECT count(*) FROM purchases WHERE purchased_on > now()", OutsideDomain),
        ("SELECT count(*) FROM purchases WHERE cast(quantity as text) = '1'", Unsupported),
        ("SELECT count(*) FROM purchases WHERE quantity = (SELECT 1)", OutsideDomain),
        ("SELECT count(*) FROM purchases WHERE true", Unsupported),
        ("SELECT count(*) FROM purchases ORDER BY 1", Unsupported),
        ("SELECT count(*) FROM purchases LIMIT 1", Unsupported),
        ("SELECT count(*) FROM purchases HAVING count(*) > 3", Unsupported),
        ("WITH x AS (SELECT 1) SELECT count(*) FROM purchases", Unsupported),
        ("SELECT count(*) FROM purchases UNION SELECT count(*) FROM purchases", Unsupported),
        ("SELECT count(*) FROM purchases FOR UPDATE", Unsupported),
        ("SELECT count(*) a, sum(amount_fen) a FROM purchases", Unsupported),
        ("SELECT date_trunc('day', purchased_on), count(*) FROM purchases GROUP BY 1", Unsupported),
        ("SELECT half_year(department), count(*) FROM purchases GROUP BY 1", OutsideDomain),
        ("SELECT department, department d, count(*) FROM purchases GROUP BY 1, 2", Unsupported),
        ("SELECT department, count(*) FROM purchases GROUP BY ROLLUP (department)", Unsupported),
    ] {
        let refusal = refused(sql);
        assert_eq!(refusal.code(), code, "{sql}: {refusal}");
        assert!(!refusal.hint().zh.is_empty() && !refusal.message().zh.is_empty(), "{sql}");
    }
}

#[test]
fn a_refusal_names_the_place() {
    let refusal = refused("SELECT count(*) FROM purchases\nWHERE department = 'SECRET'");
    assert_eq!(refusal.position(), Some(Position { line: 2, column: 20 }));
}

#[test]
fn size_is_limited_before_work() {
    let long = format!("SELECT count(*) FROM purchases{}", " ".repeat(SQL_MAX_BYTES));
    assert_eq!(refused(&long).code(), RefusalCode::TooComplex);
    let deep = format!(
        "SELECT count(*) FROM purchases WHERE {}quantity = 1{}",
        "(".repeat(200),
        ")".repeat(200)
    );
    assert_eq!(refused(&deep).code(), RefusalCode::TooComplex);
    let list = vec!["1"; COMPARISONS_MAX + 1].join(",");
    let wide = format!("SELECT count(*) FROM purchases WHERE quantity IN ({list})");
    assert_eq!(refused(&wide).code(), RefusalCode::TooComplex);
}

#[test]
fn conditions_bind_to_domains() {
    let query = bound(
        "SELECT sum(amount_fen) AS spent FROM purchases WHERE purchased_on BETWEEN \
         DATE '2017-02-01' AND '2017-03-31' AND NOT (department NOT IN ('GROCERY', 'OTHER') OR 3 < quantity)",
    );
    let columns: Vec<u16> = query.columns().into_iter().collect();
    assert_eq!(columns, [0, 1, 2, 3]);
}
