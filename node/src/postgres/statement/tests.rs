use sqlparser::ast::visit_expressions;

use super::super::errors::SYNTAX;
use super::*;

fn one(text: &str) -> Parsed {
    let mut parsed = parse(text).unwrap();
    assert_eq!(parsed.len(), 1, "{text}");
    parsed.remove(0)
}

fn refused(text: &str) -> Refused {
    match parse(text) {
        Err(refused) => refused,
        Ok(parsed) => match &parsed[0] {
            Parsed::Ask(asked) => asked.meaning(None).unwrap_err(),
            other => panic!("{text}: {other:?}"),
        },
    }
}

fn question(text: &str) -> AskedQuestion {
    match one(text) {
        Parsed::Ask(asked) => match asked.meaning(None).unwrap() {
            Meaning::Question(question) => question,
            other => panic!("{text}: {other:?}"),
        },
        other => panic!("{text}: {other:?}"),
    }
}

fn is_of_the_catalogue(text: &str) -> bool {
    match one(text) {
        Parsed::Ask(asked) => matches!(asked.meaning(None), Ok(Meaning::Catalogue(_))),
        _ => false,
    }
}

#[test]
fn what_clients_set_and_ask_for_by_habit_is_understood() {
    let set = |name: &str, value: Option<&str>, local| Parsed::Set {
        name: name.into(),
        value: value.map(Into::into),
        local,
    };
    for (text, expected) in [
        ("SET coalition.budget = '0.05'", set("coalition.budget", Some("0.05"), false)),
        ("set session coalition.budget to 0.05;", set("coalition.budget", Some("0.05"), false)),
        ("SET LOCAL coalition.scope TO local", set("coalition.scope", Some("local"), true)),
        ("SET extra_float_digits = 3", set("extra_float_digits", Some("3"), false)),
        ("SET DateStyle = ISO, MDY", set("DateStyle", Some("ISO, MDY"), false)),
        ("SET TIME ZONE 'UTC'", set("timezone", Some("UTC"), false)),
        ("SET NAMES 'utf8'", set("client_encoding", Some("utf8"), false)),
        ("SET coalition.rho TO DEFAULT", set("coalition.rho", None, false)),
        ("SHOW coalition.budget", Parsed::Show(Some("coalition.budget".into()))),
        ("show transaction isolation level", Parsed::Show(Some("transaction_isolation".into()))),
        ("SHOW ALL", Parsed::Show(None)),
        ("RESET coalition.budget", Parsed::Reset(Some("coalition.budget".into()))),
        ("RESET ALL", Parsed::Reset(None)),
        ("BEGIN", Parsed::Begin),
        ("BEGIN TRANSACTION READ ONLY", Parsed::Begin),
        ("START TRANSACTION ISOLATION LEVEL REPEATABLE READ", Parsed::Begin),
        ("END", Parsed::End("COMMIT")),
        ("ROLLBACK", Parsed::End("ROLLBACK")),
        ("ROLLBACK TO SAVEPOINT a", Parsed::Savepoint("ROLLBACK")),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Parsed::Nothing("SET")),
        ("DISCARD ALL", Parsed::Discard("DISCARD ALL")),
        ("DEALLOCATE ALL", Parsed::Deallocate(None)),
        ("DEALLOCATE PREPARE \"_pg3_0\"", Parsed::Deallocate(Some("_pg3_0".into()))),
        (" ; -- nothing\n ;", Parsed::Empty),
    ] {
        assert_eq!(one(text), expected, "{text}");
    }
    let several = parse("BEGIN; SET coalition.rho = '0.1'; SELECT ';' ; COMMIT").unwrap();
    assert_eq!(several.len(), 4);
    let Parsed::Ask(asked) = &several[2] else { panic!("{several:?}") };
    assert_eq!(asked.text, "SELECT ';'");
}

#[test]
fn what_is_not_done_here_is_refused_with_what_is() {
    for (text, state) in [
        ("INSERT INTO purchases VALUES (1)", UNSUPPORTED),
        ("DROP TABLE purchases", UNSUPPORTED),
        ("COPY purchases TO STDOUT", UNSUPPORTED),
        ("SELECT * INTO t FROM purchases", UNSUPPORTED),
        ("SELECT count(*) FROM purchases FOR UPDATE", UNSUPPORTED),
        ("WITH x AS (DELETE FROM purchases RETURNING 1) SELECT 1", UNSUPPORTED),
        ("EXPLAIN ANALYZE SELECT count(*) FROM purchases", UNSUPPORTED),
        ("EXPLAIN (ANALYZE, FORMAT JSON) SELECT count(*) FROM purchases", UNSUPPORTED),
        ("DECLARE c CURSOR FOR SELECT count(*) FROM purchases", UNSUPPORTED),
        ("SET ROLE root", UNSUPPORTED),
        ("SET SESSION AUTHORIZATION root", UNSUPPORTED),
        ("SELECT count(*) FROM purchases, pg_class", UNSUPPORTED),
        ("SELECT count( FROM purchases", SYNTAX),
        ("SELECT 'a", SYNTAX),
        ("SET coalition.budget", SYNTAX),
        ("1", SYNTAX),
    ] {
        let refused = refused(text);
        assert_eq!(refused.state, state, "{text}: {}", refused.message);
        assert!(!refused.hint.is_empty(), "{text}");
    }
    assert_eq!(parse(&" ".repeat(TEXT_MAX + 1)).unwrap_err().state, TOO_COMPLEX);
    assert_eq!(parse(&"BEGIN;".repeat(STATEMENTS_MAX + 1)).unwrap_err().state, TOO_COMPLEX);
    assert_eq!(parse(&";".repeat(TEXT_MAX)).unwrap_err().state, TOO_COMPLEX);
    let deep = format!("SELECT {}1{}", "(".repeat(2_000), ")".repeat(2_000));
    assert_eq!(parse(&deep).unwrap_err().state, TOO_COMPLEX);
}

#[test]
fn the_catalogue_and_questions_are_told_apart_by_what_they_name() {
    for text in [
        "SELECT 1",
        "SELECT version()",
        "SELECT * FROM pg_catalog.pg_class",
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace",
        "SELECT table_name FROM information_schema.tables",
        "WITH t AS (SELECT oid FROM pg_class) SELECT * FROM t",
        "VALUES (1), (2)",
    ] {
        assert!(is_of_the_catalogue(text), "{text}");
    }
    for text in [
        "SELECT count(*) FROM purchases",
        "SELECT count(*) FROM nothing_of_the_kind",
        "WITH m AS (SELECT member FROM purchases GROUP BY member) SELECT count(*) FROM m",
    ] {
        assert_eq!(question(text).sql, text, "as it was written");
    }
}

#[test]
fn tools_names_and_wrappings_are_taken_off_and_no_more_than_that() {
    let inner = "SELECT department, count(*) AS n FROM purchases GROUP BY department";
    let wrapped = question(&format!("SELECT * FROM ({inner}) AS \"t\" LIMIT 1000"));
    assert_eq!((wrapped.sql.as_str(), wrapped.arranged[0].limit), (inner, Some(1000)));
    assert_eq!(wrapped.shown.len(), 2);
    let qualified = question(
        "SELECT count(*) FROM coalition.public.purchases WHERE public.purchases.quantity > 1",
    );
    assert_eq!(qualified.sql, "SELECT count(*) FROM purchases WHERE purchases.quantity > 1");
    // this is no wrapping but a question over members
    let members = "SELECT count(*) FROM (SELECT member FROM purchases GROUP BY member) AS m";
    assert_eq!(question(members).sql, members);
    for text in [
        format!("SELECT nothing FROM ({inner}) AS t"),
        format!("SELECT * FROM ({inner}) AS t LIMIT 1 + 1"),
    ] {
        assert!([super::super::errors::NO_COLUMN, UNSUPPORTED].contains(&refused(&text).state));
    }
}

#[test]
fn days_as_tools_write_them_are_literals() {
    let sql = "SELECT count(*) FROM purchases WHERE purchased_on >= TO_DATE('2017-01-01', 'YYYY-MM-DD') AND \
               purchased_on < TO_DATE('2018-01-01', 'YYYY-MM-DD') AND purchased_on <= to_date('2018-01-01', 'yyyy-mm-dd')";
    assert_eq!(
        question(sql).sql,
        "SELECT count(*) FROM purchases WHERE purchased_on >= DATE '2017-01-01' AND purchased_on <= DATE \
         '2017-12-31' AND purchased_on <= DATE '2018-01-01'"
    );
    // what is no day in this form is left to be refused; what a person wrote stays as it was
    for sql in [
        "SELECT count(*) FROM purchases WHERE purchased_on < TO_DATE('2017-02-30', 'YYYY-MM-DD')",
        "SELECT count(*) FROM purchases WHERE purchased_on < TO_DATE('01.02.2017', 'DD.MM.YYYY')",
        "SELECT count(*) FROM purchases WHERE purchased_on < TO_DATE(department, 'YYYY-MM-DD')",
        "SELECT count(*) FROM purchases WHERE purchased_on < DATE '2017-07-01'",
    ] {
        assert_eq!(question(sql).sql, sql);
    }
}

#[test]
fn what_is_around_a_question_is_asked_of_its_answer() {
    let inner = "SELECT department, count(*) AS n FROM purchases GROUP BY department";
    for outer in [
        "SELECT department AS department, SUM(n) AS \"SUM(n)\" FROM (INNER) AS virtual_table GROUP BY department \
         ORDER BY \"SUM(n)\" DESC LIMIT 1000",
        "SELECT DISTINCT department AS column_values FROM (INNER) AS virtual_table LIMIT 10000",
        "SELECT department FROM (INNER ORDER BY n LIMIT 5) AS t ORDER BY lower(department)",
    ] {
        let asked = question(&outer.replace("INNER", inner));
        match asked.instead.as_deref() {
            Some(Instead::Of { question, keys, query }) => {
                assert_eq!(
                    (question.sql.as_str(), keys.as_slice()),
                    (inner, ["department".to_owned()].as_slice())
                );
                let query = query.to_string();
                assert!(query.contains(ANSWER) && !query.contains("purchases"), "{query}");
            }
            other => panic!("{outer}: {other:?}"),
        }
    }
    // over members it is a question itself, if the node says so: its member column is among what is said of it
    let members = question(
        "SELECT avg(n) AS n FROM (SELECT member, count(*) AS n FROM purchases GROUP BY member) AS m LIMIT 10",
    );
    let Some(Instead::Of { keys, .. }) = members.instead.as_deref() else { panic!("{members:?}") };
    assert_eq!(*keys, ["member"]);
    assert!(
        members.sql.starts_with("SELECT avg(n)") && !members.sql.contains("LIMIT"),
        "{}",
        members.sql
    );
    // there is nothing in it to be asked
    let plain =
        question("SELECT count(*) FROM (SELECT member FROM purchases GROUP BY member) AS m");
    assert_eq!(plain.instead, None);
}

#[test]
fn lists_of_values_are_told_from_questions() {
    for text in [
        "SELECT DISTINCT department AS column_values FROM public.purchases LIMIT 10000",
        "SELECT department AS department FROM public.purchases GROUP BY department ORDER BY department ASC LIMIT 1000",
        "SELECT DISTINCT purchases.department FROM purchases WHERE department LIKE 'G%'",
    ] {
        match question(text).instead.as_deref() {
            Some(Instead::Values { table, column, query }) => {
                assert_eq!((table.as_str(), column.as_str()), ("purchases", "department"));
                assert!(query.to_string().contains("AS \"purchases\""), "{query}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    for text in [
        "SELECT department FROM purchases",
        "SELECT DISTINCT department, quantity FROM purchases",
        "SELECT department FROM purchases GROUP BY department HAVING count(*) > 1",
        "SELECT department FROM purchases JOIN other USING (member) GROUP BY department",
        "SELECT department, count(*) FROM purchases GROUP BY department",
    ] {
        assert_eq!(question(text).instead, None, "{text}");
    }
}

#[test]
fn parameters_are_literals_whatever_is_in_them() {
    let text = "SELECT count(*) FROM purchases WHERE department = $1::VARCHAR AND quantity > $2 AND \
                purchased_on >= $3::date";
    let Parsed::Ask(asked) = one(text) else { panic!() };
    assert_eq!(asked.parameters, 3);
    let fill = |department: &str| {
        let text = |text: &str| Value::SingleQuotedString(text.to_owned());
        let values = [text(department), Value::Number("2".into(), false), text("2017-01-01")];
        asked.meaning(Some(&values))
    };
    let Ok(Meaning::Question(question)) = fill("GROCERY") else { panic!() };
    assert_eq!(
        question.sql,
        "SELECT count(*) FROM purchases WHERE department = 'GROCERY' AND quantity > 2 AND purchased_on >= \
         DATE '2017-01-01'"
    );
    for hostile in ["' OR 1 = 1 --", "\\' OR 1 = 1 --", "''", "\\", "a''b", "\\\\'", "'\\''"] {
        match fill(hostile) {
            Ok(Meaning::Question(question)) => {
                let Parsed::Ask(again) = one(&question.sql) else { panic!("{hostile}") };
                let mut literals = Vec::new();
                let _ = visit_expressions(&again.query, |expr| {
                    if let Expr::Value(value) = expr {
                        literals.push(value.value.clone());
                    }
                    ControlFlow::<()>::Continue(())
                });
                assert_eq!(literals[0], Value::SingleQuotedString(hostile.to_owned()), "{hostile}");
            }
            Ok(other) => panic!("{hostile}: {other:?}"),
            Err(refused) => assert_eq!(refused.state, super::super::errors::INVALID_VALUE),
        }
    }
    for text in ["SELECT $0", "SELECT $129", "SELECT $x"] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn an_explanation_is_of_the_question_after_it() {
    for (text, form) in [
        ("EXPLAIN SELECT count(*) FROM purchases", Explain::Text),
        ("explain verbose SELECT count(*) FROM purchases", Explain::Text),
        ("EXPLAIN (FORMAT JSON) SELECT count(*) FROM purchases", Explain::Json),
        ("EXPLAIN (COSTS OFF) SELECT count(*) FROM purchases", Explain::Text),
        ("/* explain é\n) */ EXPLAIN -- it\n  SELECT count(*) FROM purchases ;", Explain::Text),
    ] {
        let Parsed::Ask(asked) = one(text) else { panic!("{text}") };
        assert_eq!(asked.explain, Some(form), "{text}");
        assert_eq!(asked.text, "SELECT count(*) FROM purchases", "{text}");
    }
}
