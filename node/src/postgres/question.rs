//! A question on its way: what it costs in words, whether it is confirmed, and its answer as a table.

use std::cmp::Ordering;

use super::answer::{Column, Datum, Kind, Table};
use super::errors::{INTERNAL, MISSING, REFUSED, Refused, UNCONFIRMED};
use super::settings::{BUDGET, INTERVALS, RHO, SCOPE, Settings, in_rho};
use super::statement::{Arranged, AskedQuestion, Explain, Ordered, ShownOf};
use crate::service::{PlanView, QueryView, Question, ReleaseRow, ReleaseView};

/// As the node's operations take it.
#[must_use]
pub fn question(asked: &AskedQuestion, settings: &Settings, user: &str) -> Question {
    Question {
        sql: asked.sql.clone(),
        scope: settings.scope,
        pico_rho: settings.rho,
        user: Some(user.to_owned()),
        ..Question::default()
    }
}

/// Whether the budget covers what a plan costs.
///
/// # Errors
/// When it does not; says what it costs and what would confirm it.
pub fn confirmed(plan: &PlanView, settings: &Settings) -> Result<(), Refused> {
    let cost = plan.cost_pico_rho;
    let budget = settings.budget();
    if cost <= budget.unwrap_or(0) {
        return Ok(());
    }
    let rho = in_rho(cost);
    let message = match budget {
        None => format!("the question costs rho {rho}, and {BUDGET} is not set: nothing was asked"),
        Some(left) => format!(
            "the question costs rho {rho}, and {BUDGET} has {} left: nothing was asked",
            in_rho(left)
        ),
    };
    let hint = format!(
        "EXPLAIN shows how exact it will be. To confirm: SET {BUDGET} = '{rho}'; it is the most that the next \
         questions of this connection may spend in all. It would be spent from the account {} and leave rho {} \
         there for this year; {RHO} asks for less or more",
        plan.analyst,
        in_rho(plan.left_after_pico_rho),
    );
    Err(Refused::new(UNCONFIRMED, message, hint))
}

/// A plan in words, or as JSON.
///
/// # Errors
/// When it cannot be written.
pub fn explained(plan: &PlanView, form: Explain) -> Result<Table, Refused> {
    let lines = match form {
        Explain::Json => {
            let text = serde_json::to_string_pretty(&[plan]);
            vec![text.map_err(|_| Refused::new(INTERNAL, "the plan cannot be written", ""))?]
        }
        Explain::Text => lines(plan),
    };
    let rows = lines.into_iter().map(|line| vec![Datum::Text(line)]).collect();
    Ok(Table { columns: vec![Column::text("QUERY PLAN")], rows })
}

fn lines(plan: &PlanView) -> Vec<String> {
    let who = match plan.scope.as_str() {
        "local" => "this brand alone, about its own members",
        "pack" => "each brand that agrees, about its own members",
        _ => "all brands together: one noised sum",
    };
    let cost = in_rho(plan.cost_pico_rho);
    let mut lines = vec![
        // the end is for tools that look for a cost where PostgreSQL writes its own
        format!(
            "Answered by: {who} ({}; {SCOPE} chooses)  (cost=0..{cost} rows={} width=0)",
            plan.participants.join(", "),
            plan.cells
        ),
        match plan.cost_pico_rho {
            0 => "Cost: nothing; it was answered before, and the same answer is given again"
                .to_owned(),
            _ => format!("Cost: rho {cost} (epsilon {:.4} at delta 1e-6)", plan.epsilon),
        },
        format!(
            "Paid by: account {}, which has rho {} left for this year after it",
            plan.analyst,
            in_rho(plan.left_after_pico_rho)
        ),
        format!("Cells: {}", plan.cells),
    ];
    if plan.cost_pico_delta > 0 {
        lines.push(format!("Beside: a delta of {}e-12", plan.cost_pico_delta));
    }
    for column in &plan.sigma {
        lines.push(format!(
            "{}: expected error {:.2} {unit} a cell; 95 % of answers within {:.2}; one member moves it by at \
             most {}; cells of {:.0} {unit} and more have a median error of 5 % at most",
            column.column,
            column.expected_error,
            column.half_width_95,
            column.bound,
            column.smallest_cell_5_percent.ceil(),
            unit = column.unit,
        ));
        lines.extend(column.bounds_by_brand.iter().map(|own| {
            format!(
                "{}: at {} one member moves it by at most {} (expected error {:.2})",
                column.column, own.brand, own.bound, own.expected_error
            )
        }));
    }
    lines.extend(
        plan.warnings.iter().map(|warning| format!("Warning: {} / {}", warning.en, warning.zh)),
    );
    if plan.cost_pico_rho > 0 {
        lines.push(format!("To ask it: SET {BUDGET} = '{cost}'; then the SELECT alone"));
    }
    lines.push(format!("Plan: {}", plan.plan));
    lines
}

/// The columns of an answer as its text tells them; none where it does not.
#[must_use]
pub fn columns(asked: &AskedQuestion, settings: &Settings) -> Vec<Column> {
    let mut columns = Vec::new();
    for shown in &asked.shown {
        match shown.of {
            ShownOf::Key { .. } => columns.push(Column::text(shown.name.clone())),
            ShownOf::Value(_) => {
                let value = |name: String| Column { name, kind: Kind::Float };
                columns.push(value(shown.name.clone()));
                if settings.intervals {
                    columns.push(value(format!("{}_low", shown.name)));
                    columns.push(value(format!("{}_high", shown.name)));
                }
            }
        }
    }
    columns
}

/// Where a question stands: its answer when it has one; none while it is under way.
///
/// # Errors
/// When it came to nothing, and why.
pub fn outcome(
    view: &QueryView,
    asked: &AskedQuestion,
    settings: &Settings,
) -> Result<Option<Table>, Refused> {
    if view.step == "void" {
        let reason = view.reason.clone().unwrap_or_else(|| "it came to nothing".to_owned());
        let hint = "ask again later; what was spent is in the accounts (`coalition budget`, GET /api/v1/budgets)";
        return Err(Refused::new(
            MISSING,
            format!("the question was not answered: {reason}"),
            hint,
        ));
    }
    if view.step != "released" {
        return Ok(None);
    }
    let Some(release) = &view.release else {
        // of a pack that nobody answered
        let reasons = view
            .brands
            .iter()
            .filter_map(|brand| Some(format!("{}: {}", brand.brand, brand.reason.as_ref()?.en)));
        let reasons: Vec<String> = reasons.collect();
        let message = format!("no brand gave an answer ({})", reasons.join("; "));
        return Err(Refused::new(
            REFUSED,
            message,
            "a brand's policy decides whether it answers packs",
        ));
    };
    table(release, asked, settings).map(Some)
}

fn table(
    release: &ReleaseView,
    asked: &AskedQuestion,
    settings: &Settings,
) -> Result<Table, Refused> {
    let mut asked = asked.clone();
    if asked.shown.is_empty() {
        asked.shown = as_released(release);
        asked.keys = release.keys.len();
    }
    let mut rows = Vec::new();
    for released in arranged(release, &asked) {
        let mut row = Vec::new();
        for shown in &asked.shown {
            match shown.of {
                ShownOf::Key { .. } => {
                    let label = label(release, released, asked.keys, shown.of);
                    row.push(Datum::Text(label.ok_or_else(differs)?));
                }
                ShownOf::Value(place) => {
                    let at = |of: &[f64]| of.get(place).copied().ok_or_else(differs);
                    at(&released.values)?;
                    // of what is noise alone the number would be taken for one
                    row.push(said(released, place).map_or(Datum::Null, Datum::Float));
                    if settings.intervals {
                        row.push(float(at(&released.low)?));
                        row.push(float(at(&released.high)?));
                    }
                }
            }
        }
        rows.push(row);
    }
    Ok(Table { columns: columns(&asked, settings), rows })
}

/// A row's label of a group key.
fn label(release: &ReleaseView, row: &ReleaseRow, keys: usize, of: ShownOf) -> Option<String> {
    let ShownOf::Key { place, beside_brand, is_brand } = of else { return None };
    let place = match (release.scope.as_str(), is_brand) {
        ("pack", true) => 0,
        ("pack", false) => beside_brand + 1,
        _ if release.keys.len() == keys => place,
        (_, true) => return Some(release.participants.join(", ")),
        (_, false) => beside_brand,
    };
    row.keys.get(place).cloned()
}

/// The rows that are shown, in their order.
fn arranged<'a>(release: &'a ReleaseView, asked: &AskedQuestion) -> Vec<&'a ReleaseRow> {
    let number = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
    let mut rows: Vec<&ReleaseRow> = release.rows.iter().collect();
    for Arranged { order, limit, offset } in &asked.arranged {
        let labelled = |row: &ReleaseRow, of| label(release, row, asked.keys, of);
        // rows that are equal stay as they came
        rows.sort_by(|one, two| compared(one, two, order, &labelled));
        let kept = rows.into_iter().skip(number(*offset)).take(limit.map_or(usize::MAX, number));
        rows = kept.collect();
    }
    rows
}

/// ORDER BY on noised values: what cannot be said comes last, whichever way, unless it is wanted first.
fn compared(
    one: &ReleaseRow,
    two: &ReleaseRow,
    order: &[Ordered],
    label: &dyn Fn(&ReleaseRow, ShownOf) -> Option<String>,
) -> Ordering {
    for by in order {
        let found = match by.of {
            ShownOf::Key { .. } => {
                by_label(label(one, by.of).as_deref(), label(two, by.of).as_deref())
            }
            ShownOf::Value(place) => match (said(one, place), said(two, place)) {
                (Some(one), Some(two)) => one.total_cmp(&two),
                (None, None) => Ordering::Equal,
                (one, _) => {
                    let last = if one.is_none() { Ordering::Greater } else { Ordering::Less };
                    return if by.nulls_first { last.reverse() } else { last };
                }
            },
        };
        if found.is_ne() {
            return if by.descending { found.reverse() } else { found };
        }
    }
    Ordering::Equal
}

/// A value of which something can be said.
fn said(row: &ReleaseRow, place: usize) -> Option<f64> {
    let insufficient = row.quality.get(place).is_some_and(|quality| quality == "insufficient");
    row.values.get(place).copied().filter(|value| value.is_finite() && !insufficient)
}

/// Whole numbers by their value and before texts, which are in the order of their characters.
fn by_label(one: Option<&str>, two: Option<&str>) -> Ordering {
    let number = |label: Option<&str>| label?.parse::<i64>().ok();
    let numbers = match (number(one), number(two)) {
        (Some(one), Some(two)) => one.cmp(&two),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    };
    numbers.then_with(|| one.cmp(&two))
}

/// The columns as the release has them: keys first.
fn as_released(release: &ReleaseView) -> Vec<super::statement::Shown> {
    let keys = release.keys.iter().enumerate().map(|(place, name)| super::statement::Shown {
        name: name.clone(),
        of: ShownOf::Key {
            place,
            beside_brand: place.saturating_sub(1),
            is_brand: place == 0 && name == "brand",
        },
    });
    let values = release.values.iter().enumerate().map(|(place, name)| super::statement::Shown {
        name: name.clone(),
        of: ShownOf::Value(place),
    });
    keys.chain(values).collect()
}

fn float(value: f64) -> Datum {
    if value.is_finite() { Datum::Float(value) } else { Datum::Null }
}

fn differs() -> Refused {
    Refused::new(
        INTERNAL,
        "the answer has other columns than its question",
        format!(
            "it is kept: look at it over HTTPS, and tell the node's operator ({INTERVALS} is not why)"
        ),
    )
}

/// What a step of the protocol is, for who waits.
#[must_use]
pub fn step_words(step: &str) -> &'static str {
    match step {
        "reserving" => "every brand reserves its part",
        "committing" => "every brand reads and certifies a hash",
        "opening" => "every brand opens its masked sums",
        "charging" => "the cost is being certified",
        "reading" => "this brand reads",
        "releasing" => "the answer is being certified",
        "asking" => "the other brands are asked",
        _ => "it is under way",
    }
}

#[cfg(test)]
mod tests {
    use super::super::statement::{Meaning, Parsed, parse};
    use super::*;
    use crate::service::{BoundAtView, NoiseView, ReleaseRow};

    fn asked(sql: &str) -> AskedQuestion {
        let Parsed::Ask(asked) = parse(sql).unwrap().remove(0) else { panic!("{sql}") };
        let Meaning::Question(asked) = asked.meaning(None).unwrap() else { panic!("{sql}") };
        asked
    }

    fn released(scope: &str, keys: &[&str], rows: &[(&[&str], &[f64])]) -> QueryView {
        let rows = rows.iter().map(|(keys, values)| ReleaseRow {
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            values: values.to_vec(),
            low: values.iter().map(|value| value - 1.0).collect(),
            high: vec![f64::INFINITY; values.len()],
            quality: Vec::new(),
        });
        QueryView {
            step: "released".into(),
            release: Some(ReleaseView {
                scope: scope.into(),
                keys: keys.iter().map(|key| (*key).to_owned()).collect(),
                values: vec!["n".into(); 2],
                rows: rows.collect(),
                participants: vec!["kids".into()],
                ..ReleaseView::default()
            }),
            ..QueryView::default()
        }
    }

    #[test]
    fn a_question_is_asked_only_within_its_budget() {
        let plan = PlanView {
            cost_pico_rho: 5_000_000_000,
            analyst: "desk".into(),
            ..PlanView::default()
        };
        let mut settings = Settings::default();
        let refused = confirmed(&plan, &settings).unwrap_err();
        assert_eq!(refused.state, "PB001");
        assert!(refused.hint.contains("SET coalition.budget = '0.005'"), "{}", refused.hint);
        settings.set(BUDGET, Some("0.004")).unwrap();
        assert!(confirmed(&plan, &settings).unwrap_err().message.contains("0.004 left"));
        settings.set(BUDGET, Some("0.005")).unwrap();
        assert_eq!(confirmed(&plan, &settings), Ok(()));
        // what was answered costs nothing and needs nothing
        let answered = PlanView { cost_pico_rho: 0, ..plan };
        assert_eq!(confirmed(&answered, &Settings::default()), Ok(()));
    }

    #[test]
    fn columns_stand_as_they_were_selected_whatever_the_release_has_first() {
        let mut settings = Settings::default();
        let sql = "SELECT count(*) AS n, half_year(d) AS half, sum(fen), department FROM purchases \
                   GROUP BY half_year(d), department";
        let view = released("joint", &["half", "department"], &[(&["1", "A"], &[5.0, 7.0])]);
        let shown = outcome(&view, &asked(sql), &settings).unwrap().unwrap();
        let names: Vec<&str> = shown.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["n", "half", "sum", "department"]);
        let text = |text: &str| Datum::Text(text.to_owned());
        assert_eq!(shown.rows, [[Datum::Float(5.0), text("1"), Datum::Float(7.0), text("A")]]);
        assert_eq!(
            columns(&asked(sql), &settings),
            shown.columns,
            "as described before it is asked"
        );

        // in a pack brand comes first, wherever it was selected
        let sql =
            "SELECT department, count(*) AS n, brand FROM purchases GROUP BY department, brand";
        let view = released("pack", &["brand", "department"], &[(&["kids", "A"], &[5.0, 0.0])]);
        settings.set(INTERVALS, Some("on")).unwrap();
        let shown = outcome(&view, &asked(sql), &settings).unwrap().unwrap();
        assert_eq!(
            shown.rows,
            [[text("A"), Datum::Float(5.0), Datum::Float(4.0), Datum::Null, text("kids")]]
        );
        // what a tool puts around it: a part of the columns, a part of the rows
        let sql = "SELECT t.n AS many, t.department FROM (SELECT department, count(*) AS n FROM \
                   public.purchases GROUP BY department) AS t LIMIT 1 OFFSET 1";
        let rows: &[(&[&str], &[f64])] = &[(&["A"], &[1.0]), (&["B"], &[2.0]), (&["C"], &[3.0])];
        let view = released("joint", &["department"], rows);
        let settings = Settings::default();
        let shown = outcome(&view, &asked(sql), &settings).unwrap().unwrap();
        assert_eq!(shown.rows, [[Datum::Float(2.0), text("B")]]);
        assert_eq!(shown.columns[0].name, "many");
    }

    #[test]
    fn order_and_limit_choose_among_the_rows_of_one_answer() {
        let sql = "SELECT department AS department, COUNT(*) AS count, sum(fen) AS \"SUM(fen)\" FROM \
                   public.purchases GROUP BY department";
        let rows: &[(&[&str], &[f64])] = &[
            (&["10"], &[1.0, 9.0]),
            (&["9"], &[3.0, 8.0]),
            (&["B"], &[f64::NAN, 7.0]),
            (&["A"], &[2.0, 6.0]),
        ];
        let view = released("local", &["department"], rows);
        let settings = Settings::default();
        for (end, expected) in [
            ("ORDER BY count DESC LIMIT 1001", ["9", "A", "10", "B"].as_slice()),
            ("ORDER BY count", &["10", "A", "9", "B"]),
            ("ORDER BY count DESC NULLS FIRST", &["B", "9", "A", "10"]),
            ("ORDER BY COUNT(*) DESC LIMIT 2 OFFSET 1", &["A", "10"]),
            ("ORDER BY \"SUM(fen)\" LIMIT 1", &["A"]),
            ("ORDER BY department", &["9", "10", "A", "B"]),
            ("ORDER BY 1 DESC, 2", &["B", "A", "10", "9"]),
            ("LIMIT 2", &["10", "9"]),
            ("LIMIT 0", &[]),
        ] {
            let question = asked(&format!("{sql} {end}"));
            assert_eq!(question.sql, asked(sql).sql, "{end}: one question");
            assert_eq!(question.wants_no_row(), end == "LIMIT 0");
            let shown = outcome(&view, &question, &settings).unwrap().unwrap();
            let labels = shown.rows.iter().map(|row| match &row[0] {
                Datum::Text(label) => label.as_str(),
                other => panic!("{other:?}"),
            });
            assert_eq!(labels.collect::<Vec<_>>(), expected, "{end}");
        }
        // a part of the part that the question itself shows
        let sql = format!(
            "SELECT department AS d FROM ({sql} ORDER BY 2 DESC LIMIT 3) AS virtual_table ORDER BY \
             virtual_table.department LIMIT 2"
        );
        let shown = outcome(&view, &asked(&sql), &settings).unwrap().unwrap();
        let text = |text: &str| Datum::Text(text.to_owned());
        assert_eq!(shown.rows, [[text("9")], [text("10")]]);
        // what is not shown is the planner's: it is noised to be ordered by
        let hidden = "SELECT department, count(*) AS n FROM purchases GROUP BY department ORDER BY \
                      sum(fen) LIMIT 5";
        assert_eq!(asked(hidden).sql, hidden);
    }

    #[test]
    fn a_value_of_which_nothing_can_be_said_is_null_and_comes_last() {
        let sql =
            "SELECT department, count(*) AS n, avg(fen) AS mean FROM purchases GROUP BY department";
        let rows: &[(&[&str], &[f64])] = &[(&["A"], &[5.0, 9.0]), (&["B"], &[6.0, 7.0])];
        let mut view = released("local", &["department"], rows);
        if let Some(release) = &mut view.release {
            release.rows[0].quality = vec!["usable".into(), "insufficient".into()];
        }
        let question = asked(&format!("{sql} ORDER BY mean DESC"));
        let shown = outcome(&view, &question, &Settings::default()).unwrap().unwrap();
        let text = |text: &str| Datum::Text(text.to_owned());
        assert_eq!(
            shown.rows,
            [
                [text("B"), Datum::Float(6.0), Datum::Float(7.0)],
                [text("A"), Datum::Float(5.0), Datum::Null]
            ]
        );
    }

    #[test]
    fn what_came_to_nothing_is_an_error_and_what_is_under_way_is_neither() {
        let (question, settings) = (asked("SELECT count(*) FROM purchases"), Settings::default());
        let view = |step: &str| QueryView { step: step.into(), ..QueryView::default() };
        assert_eq!(outcome(&view("reserving"), &question, &settings), Ok(None));
        assert_eq!(outcome(&view("void"), &question, &settings).unwrap_err().state, "PB004");
        assert_eq!(outcome(&view("released"), &question, &settings).unwrap_err().state, "PB003");
    }

    #[test]
    fn an_explanation_has_cost_error_and_the_statement_that_confirms() {
        let plan = PlanView {
            scope: "joint".into(),
            cost_pico_rho: 5_000_000_000,
            epsilon: 0.3141,
            cells: 2,
            sigma: vec![NoiseView {
                column: "n".into(),
                unit: "rows".into(),
                bounds_by_brand: vec![BoundAtView {
                    brand: "jewel".into(),
                    bound: "20.000 rows".into(),
                    expected_error: 7.25,
                }],
                ..NoiseView::default()
            }],
            ..PlanView::default()
        };
        let table = explained(&plan, Explain::Text).unwrap();
        let text: Vec<String> = table.rows.iter().map(|row| format!("{:?}", row[0])).collect();
        let text = text.join("\n");
        for expected in [
            "Cost: rho 0.005 (epsilon 0.3141 at delta 1e-6)",
            "Cells: 2",
            "n: expected error",
            "n: at jewel one member moves it by at most 20.000 rows (expected error 7.25)",
            "SET coalition.budget = '0.005'",
        ] {
            assert!(text.contains(expected), "{expected} is not in {text}");
        }
        let json = explained(&plan, Explain::Json).unwrap();
        assert!(format!("{:?}", json.rows).contains("cost_pico_rho"));
        // where tools look for it
        assert!(text.contains("(cost=0..0.005 rows=2 width=0)"), "{text}");
    }
}
