use super::super::statement::{Instead, Meaning, Parsed, parse};
use super::*;
use crate::service::{Bilingual, ColumnView, TableView, ValueView};

fn datasets() -> Vec<DatasetView> {
    let column = |name: &str, kind: &str| ColumnView {
        name: name.into(),
        kind: kind.into(),
        words: Bilingual { zh: "列".into(), en: format!("the {kind}") },
        values: match kind {
            "text" => vec![ValueView { value: "GROCERY".into(), ..ValueView::default() }],
            _ => Vec::new(),
        },
        ..ColumnView::default()
    };
    let columns = vec![
        column("member", "member"),
        column("purchased_on", "date"),
        column("quantity", "integer"),
        column("department", "text"),
    ];
    let purchases = TableView { name: "purchases".into(), columns, ..TableView::default() };
    let shops = TableView {
        name: "shops".into(),
        public: true,
        columns: vec![column("shop", "text")],
        ..TableView::default()
    };
    vec![DatasetView {
        dataset: "sales".into(),
        tables: vec![purchases, shops],
        ..DatasetView::default()
    }]
}

fn asker() -> Asker {
    Asker { user: "lin".into(), version: "PostgreSQL 15.0".into(), settings: Settings::default() }
}

fn query(sql: &str) -> Query {
    let Parsed::Ask(asked) = parse(sql).unwrap().remove(0) else { panic!("{sql}") };
    match asked.meaning(Some(&[])).unwrap() {
        Meaning::Catalogue(query) => *query,
        other => panic!("{sql}: {other:?}"),
    }
}

async fn asked(sql: &str) -> Table {
    match answer(query(sql), &datasets(), &asker()).await {
        Ok(table) => table,
        Err(refused) => panic!("{sql}: {refused:?}"),
    }
}

async fn texts(sql: &str) -> Vec<Vec<String>> {
    let rows = asked(sql).await.rows.into_iter();
    let text = |datum: Datum| match datum {
        Datum::Null => "-".to_owned(),
        Datum::Is(is) => is.to_string(),
        Datum::Whole(number) => number.to_string(),
        Datum::Float(number) => number.to_string(),
        Datum::Text(text) => text,
    };
    rows.map(|row| row.into_iter().map(text).collect()).collect()
}

#[tokio::test]
async fn tables_and_columns_are_listed_in_both_catalogues() {
    let listed = texts(
        "SELECT n.nspname AS \"Schema\", c.relname, CASE c.relkind WHEN 'v' THEN 'view' END AS kind, \
         pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n \
         ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'v', '') AND n.nspname !~ '^pg_toast' AND \
         pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1, 2",
    )
    .await;
    assert_eq!(
        listed,
        [["public", "purchases", "view", "coalition"], ["public", "shops", "view", "coalition"]]
    );
    let columns = texts(
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), (SELECT d.adbin FROM \
         pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND a.atthasdef), a.attnotnull FROM \
         pg_catalog.pg_attribute a WHERE a.attrelid = '16384' AND a.attnum > 0 AND NOT a.attisdropped \
         ORDER BY a.attnum",
    )
    .await;
    assert_eq!(columns[1], ["purchased_on", "date", "-", "false"]);
    assert_eq!(columns[2][1], "bigint");
    let named = texts(
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = \
         'public' AND table_name = 'purchases' ORDER BY ordinal_position",
    )
    .await;
    assert_eq!(named[3], ["purchases", "department", "text"]);
    let words = texts("SELECT col_description('purchases'::regclass, 4)").await;
    assert!(words[0][0].contains("one of GROCERY"), "{words:?}");
}

#[tokio::test]
async fn what_postgresql_writes_and_the_engine_has_not_is_answered() {
    for (sql, expected) in [
        (
            "SELECT c.oid, c.relname FROM pg_catalog.pg_class c WHERE c.relname OPERATOR(pg_catalog.~) \
          '^(shops)$' COLLATE pg_catalog.default",
            vec![vec!["16385", "shops"]],
        ),
        (
            "SELECT relname FROM pg_class WHERE relkind = ANY (ARRAY['v'::varchar, 'm']) AND relname != \
          'shops'",
            vec![vec!["purchases"]],
        ),
        (
            "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg/_' || '%' ESCAPE '/' ORDER BY 1",
            vec![vec!["information_schema"], vec!["public"]],
        ),
        ("SELECT 'pg_class'::regclass::oid, 'pg_class'::regclass", vec![vec!["1259", "1259"]]),
        ("SELECT c.oid::regclass FROM pg_class c WHERE relname = 'shops'", vec![vec!["shops"]]),
        (
            "SELECT relname, (SELECT typcollation FROM pg_type WHERE pg_type.oid = attribute.atttypid) FROM \
          pg_class JOIN pg_attribute attribute ON attrelid = pg_class.oid WHERE attname = 'shop'",
            vec![vec!["shops", "0"]],
        ),
        (
            "SELECT ARRAY(SELECT b.rolname FROM pg_auth_members m JOIN pg_roles b ON m.roleid = b.oid) AS of",
            vec![vec!["{}"]],
        ),
        (
            "SELECT EXISTS (SELECT 1 FROM pg_index), NOT EXISTS (SELECT 1 FROM pg_index)",
            vec![vec!["false", "true"]],
        ),
        ("SELECT '', '', NULL, NULL", vec![vec!["", "", "-", "-"]]),
        (
            "SELECT current_user, current_database(), current_schema(), current_setting('timezone')",
            vec![vec!["lin", "coalition", "public", "UTC"]],
        ),
        (
            "SELECT c.relname, i.cols FROM pg_class c LEFT JOIN (SELECT indrelid, array_agg(indkey ORDER BY \
          indexrelid) AS cols FROM pg_index GROUP BY indrelid) AS i ON i.indrelid = c.oid ORDER BY 1 LIMIT 1",
            vec![vec!["purchases", "-"]],
        ),
        ("SELECT count(*) FROM pg_index", vec![vec!["0"]]),
        ("SELECT con.conname, unnest(indkey) FROM pg_constraint con JOIN pg_index ON true", vec![]),
        (
            "SELECT pubname, NULL, NULL FROM pg_publication UNION SELECT conname, NULL, NULL FROM pg_constraint \
          ORDER BY 1",
            vec![],
        ),
    ] {
        assert_eq!(texts(sql).await, expected, "{sql}");
    }
    let named = asked("SELECT version(), 1, 'a' AS b, pg_table_is_visible(1)").await.columns;
    let named: Vec<&str> = named.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(named, ["version", "?column?", "b", "pg_table_is_visible"]);
}

/// An answer to the question in a text, and what the text asks of it.
async fn of_an_answer(sql: &str) -> (Result<Table, Refused>, Vec<Column>) {
    let Parsed::Ask(asked) = parse(sql).unwrap().remove(0) else { panic!("{sql}") };
    let Meaning::Question(asked) = asked.meaning(None).unwrap() else { panic!("{sql}") };
    let query = match *asked.instead.unwrap() {
        Instead::Of { query, .. } | Instead::Values { query, .. } => query,
    };
    let columns = vec![Column::text("department"), Column { name: "n".into(), kind: Kind::Float }];
    let row = |label: &str, n: Datum| vec![Datum::Text(label.into()), n];
    let rows =
        vec![row("A", Datum::Float(2.0)), row("B", Datum::Float(-3.5)), row("C", Datum::Null)];
    let given = Table { columns, rows };
    let none = Table { rows: Vec::new(), ..given.clone() };
    let described = describe_of(query.clone(), none, &asker()).await.unwrap_or_default();
    (answer_of(query, given, &asker()).await, described)
}

#[tokio::test]
async fn a_tool_may_ask_more_of_an_answer() {
    let inner = "SELECT department, count(*) AS n FROM purchases GROUP BY department";
    let text = |text: &str| Datum::Text(text.to_owned());
    for (outer, names, expected) in [
        (
            "SELECT department AS department, SUM(n) AS \"SUM(n)\" FROM (INNER) AS virtual_table WHERE department \
             IN ('A', 'B') GROUP BY department ORDER BY \"SUM(n)\" DESC LIMIT 1000",
            ["department", "SUM(n)"].as_slice(),
            vec![vec![text("A"), Datum::Float(2.0)], vec![text("B"), Datum::Float(-3.5)]],
        ),
        (
            "SELECT MAX(n) AS \"MAX(n)\", COUNT(*) FROM (INNER) AS virtual_table LIMIT 1000",
            &["MAX(n)", "count"],
            vec![vec![Datum::Float(2.0), Datum::Whole(3)]],
        ),
        (
            "SELECT DISTINCT department AS column_values FROM (INNER) AS virtual_table ORDER BY 1 DESC LIMIT 2",
            &["column_values"],
            vec![vec![text("C")], vec![text("B")]],
        ),
    ] {
        let (answered, described) = of_an_answer(&outer.replace("INNER", inner)).await;
        let answered = answered.unwrap_or_else(|refused| panic!("{outer}: {refused:?}"));
        let named: Vec<&str> = answered.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!((named.as_slice(), &answered.rows), (names, &expected), "{outer}");
        assert_eq!(described, answered.columns, "{outer}: as described before it is asked");
    }
    let (listed, _) = of_an_answer(
        "SELECT DISTINCT department AS column_values FROM public.purchases WHERE department LIKE 'B%' LIMIT 10000",
    )
    .await;
    assert_eq!(listed.unwrap().rows, [[text("B")]]);
    for (outer, state) in [
        ("SELECT SUM(nothing) FROM (INNER) AS t", NO_COLUMN),
        (
            "SELECT repeat(department, 1000000) AS d, n FROM (INNER) AS t",
            super::super::errors::NO_FUNCTION,
        ),
        (
            "SELECT department FROM (INNER) AS t WHERE department IN (SELECT department FROM purchases)",
            NO_TABLE,
        ),
    ] {
        let sql = outer.replace("INNER", inner);
        let (refused, _) = of_an_answer(&sql).await;
        assert_eq!(refused.unwrap_err().state, state, "{sql}");
    }
}

#[tokio::test]
async fn what_is_not_there_or_too_much_is_refused() {
    for (sql, state) in [
        ("SELECT nothing FROM pg_class", NO_COLUMN),
        ("SELECT 1 FROM pg_nothing", NO_TABLE),
        ("SELECT pg_read_file('/etc/passwd')", super::super::errors::NO_FUNCTION),
        ("SELECT repeat('x', 1000000000)", super::super::errors::NO_FUNCTION),
        ("SELECT lpad('x', 1000000000, 'y')", super::super::errors::NO_FUNCTION),
        ("SELECT string_agg(relname, ',') FROM pg_class", super::super::errors::NO_FUNCTION),
        (
            "SELECT 1 FROM pg_catalog.generate_series(1, 1000000000)",
            super::super::errors::NO_FUNCTION,
        ),
        ("SELECT count(*) FROM generate_series(1, 1000000000)", super::super::errors::NO_FUNCTION),
        (
            "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n FROM t) SELECT count(*) FROM t",
            UNSUPPORTED,
        ),
    ] {
        let refused = answer(query(sql), &datasets(), &asker()).await.unwrap_err();
        assert_eq!(refused.state, state, "{sql}: {refused:?}");
        assert!(!refused.hint.is_empty());
    }
    let doubled = format!("SELECT {}", vec!["'x'"; CONCATENATIONS + 2].join(" || "));
    let refused = answer(query(&doubled), &datasets(), &asker()).await.unwrap_err();
    assert_eq!(refused.state, TOO_COMPLEX);
    let many = "SELECT a.oid FROM pg_type a, pg_type b, pg_type c";
    let refused = answer(query(many), &datasets(), &asker()).await.unwrap_err();
    assert_eq!(refused.state, TOO_COMPLEX);
}

const CONCATENATIONS: usize = 16;

/// The tables that are there are those of the contract, and no figure of theirs is.
#[tokio::test]
async fn there_is_no_row_of_a_member_to_be_had() {
    let counted = texts("SELECT relname, reltuples, relpages FROM pg_class ORDER BY 1").await;
    assert_eq!(counted, [["purchases", "-1", "0"], ["shops", "-1", "0"]]);
}
