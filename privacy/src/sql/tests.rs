use std::collections::BTreeSet;

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
    assert_eq!(query.keys[0].labels, ["2017-H1", "2017-H2"]);
    assert_eq!(query.measures, [Measure::One(Amount::Members)]);
    let outputs: Vec<_> = query.outputs.iter().map(|o| (o.name.as_str(), o.of)).collect();
    assert_eq!(outputs, [("half", OutputOf::Key(0)), ("active", OutputOf::Measure(0))]);
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
        ("SELECT sum(amount_fen) OVER () FROM purchases", Unsupported),
        ("SELECT sum(amount_fen) FILTER (WHERE quantity > 1) FROM purchases", Unsupported),
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
        ("SELECT count(*) FROM purchases WHERE quantity IS NULL", Unsupported),
        ("SELECT count(*) FROM purchases WHERE purchased_on >= '2018-01-01'", OutsideDomain),
        ("SELECT count(*) FROM purchases WHERE purchased_on > now()", OutsideDomain),
        ("SELECT count(*) FROM purchases WHERE cast(quantity as text) = '1'", Unsupported),
        ("SELECT count(*) FROM purchases WHERE true", Unsupported),
        ("SELECT count(*) FROM purchases UNION SELECT count(*) FROM purchases", Unsupported),
        ("SELECT count(*) FROM purchases FOR UPDATE", Unsupported),
        ("SELECT count(*) a, sum(amount_fen) a FROM purchases", Unsupported),
        (
            "SELECT date_trunc('hour', purchased_on), count(*) FROM purchases GROUP BY 1",
            Unsupported,
        ),
        ("SELECT half_year(department), count(*) FROM purchases GROUP BY 1", OutsideDomain),
        ("SELECT department, department d, count(*) FROM purchases GROUP BY 1, 2", Unsupported),
        ("SELECT department, count(*) FROM purchases GROUP BY ROLLUP (department)", Unsupported),
        // what looks across members
        ("SELECT count(*) FROM (SELECT * FROM purchases) x", Unsupported),
        (
            "SELECT count(*) FROM (SELECT department, count(*) n FROM purchases GROUP BY 1) x",
            Unsupported,
        ),
        (
            "SELECT sum(n) FROM (SELECT member, count(*) n FROM purchases GROUP BY 1 ORDER BY 2 LIMIT 1) x",
            Unsupported,
        ),
        ("SELECT count(*) FROM purchases WHERE quantity = (SELECT 1)", Unsupported),
        (
            "SELECT count(*) FROM purchases WHERE quantity > (SELECT avg(quantity) FROM purchases)",
            Unsupported,
        ),
        ("SELECT count(*) FROM purchases WHERE member IN (SELECT member FROM visits)", Unsupported),
        ("SELECT count(*) FROM purchases p JOIN visits v ON p.department = v.channel", Unsupported),
        (
            "SELECT count(*) FROM purchases p JOIN visits v ON p.member = v.member AND v.minutes > 1",
            Unsupported,
        ),
        ("SELECT count(*) FROM purchases p LEFT JOIN visits v ON p.member = v.member", Unsupported),
        ("SELECT count(*) FROM purchases p CROSS JOIN visits v", Unsupported),
        ("SELECT count(*) FROM purchases p JOIN visits p ON p.member = p.member", Unsupported),
        ("SELECT count(*) FROM aisles", Unsupported),
        ("SELECT count(*) FROM purchases p JOIN aisles a ON a.kind = p.department", Unsupported),
        ("WITH RECURSIVE x AS (SELECT member FROM purchases) SELECT count(*) FROM x", Unsupported),
        ("WITH x AS (SELECT member FROM x) SELECT count(*) FROM x", Unknown),
        ("SELECT max(amount_fen) FROM purchases", Unsupported),
        // what can fail, or has no public range
        ("SELECT sum(amount_fen % 2) FROM purchases", Unsupported),
        ("SELECT sum(cast(amount_fen as int)) FROM purchases", Unsupported),
        ("SELECT sum(case when quantity > 1 then amount_fen end) FROM purchases", Unsupported),
        (
            "SELECT case when quantity > 1 then 'a' else 2 end, count(*) FROM purchases GROUP BY 1",
            Unsupported,
        ),
        ("SELECT sum(amount_fen * amount_fen * amount_fen * amount_fen) FROM purchases", Overflow),
        ("SELECT sum(least(quantity, 3)) FROM purchases", Unbounded),
        ("SELECT amount_fen * 2, count(*) FROM purchases GROUP BY 1", Unsupported),
        ("SELECT sum(amount_fen) FROM purchases HAVING department = 'FUEL'", Unsupported),
        ("SELECT sum(amount_fen) FROM purchases HAVING sum(amount_fen) > quantity", OutsideDomain),
        ("SELECT sum(amount_fen) + count(*) FROM purchases", Unsupported),
        ("SELECT avg(amount_fen) / 2 FROM purchases", Unsupported),
        ("SELECT quantile(amount_fen, 1.5) FROM purchases", OutsideDomain),
        ("SELECT median(amount_fen), median(amount_fen + 1) FROM purchases", Unsupported),
        ("SELECT count(*) FROM purchases ORDER BY random()", Unknown),
        ("SELECT count(*) FROM purchases ORDER BY amount_fen", Unsupported),
        ("SELECT count(*) FROM purchases LIMIT 1 OFFSET 2", Unsupported),
        ("SELECT count(*) FROM purchases LIMIT 0", Unsupported),
        ("SELECT p.count FROM purchases p", Unknown),
        (
            "SELECT row_number() OVER (ORDER BY amount_fen), count(*) FROM purchases GROUP BY 1",
            Unsupported,
        ),
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
    let mut columns = BTreeSet::new();
    query.columns(&mut |column| {
        columns.insert(column);
    });
    assert_eq!(columns.into_iter().collect::<Vec<u16>>(), [0, 1, 2, 3]);
}

/// Trap 4: a column that compares members would let one member move all others. Windows, global
/// subqueries and joins across members are refused; what remains is computed from own rows.
#[test]
fn trap_4_what_compares_members_is_refused() {
    for sql in [
        "SELECT ntile(10) OVER (ORDER BY amount_fen) d, sum(amount_fen) FROM purchases GROUP BY 1",
        "SELECT sum(amount_fen) FROM (SELECT member, amount_fen, rank() OVER (ORDER BY amount_fen) r \
         FROM purchases) x WHERE r <= 10",
        "SELECT count(*) FROM purchases WHERE amount_fen > (SELECT max(amount_fen) FROM purchases)",
        "SELECT count(*) FROM purchases a JOIN purchases b ON a.amount_fen = b.amount_fen",
        "SELECT sum(amount_fen) FROM (SELECT member, amount_fen FROM purchases LIMIT 10) x",
    ] {
        assert_eq!(refused(sql).code(), RefusalCode::Unsupported, "{sql}");
    }
}

/// A window over the rows of one member compares nobody with anybody: it is refused as what is not supported.
#[test]
fn a_window_over_one_members_rows_is_refused_in_words_that_are_so() {
    for sql in [
        "SELECT count(*) FROM (SELECT member, row_number() OVER (PARTITION BY member ORDER BY purchased_on) AS n \
         FROM purchases) x WHERE n = 1",
        "SELECT count(*) FROM purchases WINDOW w AS (PARTITION BY member)",
    ] {
        let refusal = refused(sql);
        let (said, hint) = (refusal.message(), refusal.hint());
        assert_eq!(refusal.code(), RefusalCode::Unsupported, "{sql}");
        assert!(
            hint.en.contains("windows are not supported") && hint.zh.contains("不支持窗口函数")
        );
        assert!(hint.en.contains("group by the member in a subquery"), "{}", hint.en);
        let says = format!("{} {}", said.en, hint.en);
        assert!(!says.contains("compare"), "{says}");
    }
}

#[test]
fn the_supported_surface_binds() {
    for sql in [
        "SELECT case when amount_fen < 100 then 'small' else 'large' end size, count(*) FROM purchases GROUP BY 1",
        "SELECT extract(month from purchased_on) m, avg(amount_fen) FROM purchases GROUP BY 1 ORDER BY 2 DESC LIMIT 3",
        "SELECT department, sum(amount_fen) / count(distinct member) FROM purchases GROUP BY 1 HAVING count(*) >= 10",
        "SELECT sum(case when quantity > 1 then 1 else 0 end) / nullif(count(*), 0) FROM purchases",
        "SELECT 1.0 * sum(amount_fen) / cast(count(*) as double precision) FROM purchases",
        "SELECT median(spent), quantile(spent, 0.9), percentile_cont(0.25) WITHIN GROUP (ORDER BY spent) \
         FROM (SELECT member, sum(amount_fen) spent FROM purchases GROUP BY member) x",
        "WITH m AS (SELECT member, count(*) n, max(purchased_on) last FROM purchases GROUP BY member \
         HAVING count(distinct department) >= 2), v AS (SELECT member, sum(minutes) t FROM visits GROUP BY 1) \
         SELECT least(n, 10) n, count(*), sum(t) FROM m JOIN v USING (member) WHERE last >= '2017-06-01' GROUP BY 1",
        "SELECT a.kind, count(*) FROM purchases p JOIN aisles a ON a.department = p.department GROUP BY a.kind",
        "SELECT a.floor, count(*) FROM purchases p LEFT JOIN aisles a ON p.department = a.department GROUP BY 1",
        "SELECT count(*) FROM (SELECT DISTINCT member, department FROM purchases) d WHERE department <> 'FUEL'",
        "SELECT sum(amount_fen * 2 - abs(amount_fen)) FROM purchases WHERE quantity > amount_fen",
        "SELECT case department when 'FUEL' then 'fuel' else 'shop' end, count(*) FROM purchases GROUP BY 1",
    ] {
        let query = bound(sql);
        // the same text binds to the same question
        assert_eq!(query.hash(), bound(sql).hash(), "{sql}");
    }
}

/// Whoever wants a few rows of each member is told what to write instead, and that is taken.
#[test]
fn rows_of_each_member_are_kept_by_groups() {
    let places = "SELECT sum(amount_fen) FROM (SELECT member, amount_fen, row_number() OVER \
                  (PARTITION BY member ORDER BY amount_fen DESC) AS place FROM purchases) x WHERE place <= 3";
    let limited = "WITH few AS (SELECT member, amount_fen FROM purchases ORDER BY amount_fen DESC LIMIT 3) \
                   SELECT sum(amount_fen) FROM few";
    for sql in [places, limited] {
        let refusal = refused(sql);
        assert_eq!(refusal.code(), RefusalCode::Unsupported, "{sql}");
        for written in ["max(amount_fen)", "sum_within(amount_fen, 20000)"] {
            let hint = refusal.hint();
            assert!(hint.en.contains(written) && hint.zh.contains(written), "{}", hint.en);
        }
    }
    bound("SELECT sum_within(amount_fen, 20000) FROM purchases");
    bound(
        "WITH own AS (SELECT member, max(amount_fen) AS largest, min(purchased_on) AS begun FROM purchases GROUP BY member) \
         SELECT date_trunc('week', begun), sum(least(largest, 500)) FROM own GROUP BY 1",
    );
}

/// Every day and every week that the contract's days lie in is public, and there are not too many.
#[test]
fn days_and_weeks_are_those_of_the_contract() {
    let keys = |unit: &str| {
        let sql = format!(
            "SELECT date_trunc('{unit}', purchased_on), count(*) FROM purchases GROUP BY 1"
        );
        bound(&sql).keys[0].labels.clone()
    };
    let days = keys("day");
    assert_eq!((days.len(), &*days[0], &*days[364]), (365, "2017-01-01", "2017-12-31"));
    // 2017 begins and ends with a Sunday
    let weeks = keys("WEEK");
    assert_eq!((weeks.len(), &*weeks[0], &*weeks[52]), (53, "2016-12-26", "2017-12-25"));
    bound("SELECT count(*) FROM purchases WHERE date_trunc('week', purchased_on) = '2017-03-27'");

    let mut raw = crate::testing::raw_contract();
    for column in &mut raw.tables[0].columns {
        if let crate::contract::RawColumn::Date { last, .. } = column {
            *last = "2028-01-02".into();
        }
    }
    let long: Contract = raw.try_into().unwrap();
    let of = |unit: &str| {
        let sql = format!(
            "SELECT date_trunc('{unit}', purchased_on), count(*) FROM purchases GROUP BY 1"
        );
        bind(&long, &sql)
    };
    assert!(of("week").is_ok());
    let refusal = of("day").unwrap_err();
    assert_eq!(refusal.code(), RefusalCode::Unsupported);
    assert!(refusal.hint().en.contains("at most 4018"), "{}", refusal.hint().en);
}

#[test]
fn subqueries_nest_as_deep_as_the_limits_allow() {
    let mut inner = "SELECT member, amount_fen a FROM purchases".to_owned();
    for level in 0..RELATIONS_MAX {
        inner = format!("SELECT member, a FROM ({inner}) l{level}");
    }
    let refusal = refused(&format!("SELECT count(*) FROM ({inner}) x"));
    assert_eq!(refusal.code(), RefusalCode::TooComplex);
    // a WITH part counts as often as it is used
    let twice = "WITH a AS (SELECT member FROM purchases), \
                 b AS (SELECT x.member FROM a x JOIN a y ON x.member = y.member), \
                 c AS (SELECT x.member FROM b x JOIN b y ON x.member = y.member) \
                 SELECT count(*) FROM c x JOIN c y ON x.member = y.member";
    assert_eq!(refused(twice).code(), RefusalCode::TooComplex);
}

/// The parser's time doubles with each function call inside another: they are counted before it sees them.
#[test]
fn calls_inside_one_another_are_counted_before_the_text_is_parsed() {
    let nested = |open: &str, close: &str, levels: usize| {
        format!(
            "SELECT sum({}amount_fen{}) FROM purchases",
            open.repeat(levels),
            close.repeat(levels)
        )
    };
    for (open, close) in
        [("abs(", ")"), ("least(1, ", ")"), ("abs /* ( */ (", ")"), ("\"abs\"((", "))")]
    {
        let refusal = refused(&nested(open, close, 23));
        assert_eq!(refusal.code(), RefusalCode::TooComplex, "{refusal}");
        assert!(refusal.to_string().contains("calls inside one another"), "{refusal}");
        assert_eq!(calls_nested(&nested(open, close, 23)), 24);
    }
    assert!(bind(&sample_contract(), &nested("abs(", ")", CALLS_MAX - 1)).is_ok());
    // brackets alone, conditions and subqueries are no calls, and texts have none
    for (sql, calls) in [
        ("SELECT count(*) FROM ((((((((((p)))))))))) WHERE a IN (((1))) AND (NOT (b OR (c)))", 1),
        ("SELECT sum(a) FROM (SELECT b FROM (SELECT least(c, abs(d)) b FROM e) f) g", 2),
        ("SELECT 'abs(abs(abs(' || abs(1), abs(2)", 1),
        ("abs(abs(", 2),
        ("'", 0),
    ] {
        assert_eq!(calls_nested(sql), calls, "{sql}");
    }
}
