//! A question on its way: what it costs in words, whether it is confirmed, and its answer as a table.

use super::answer::{Column, Datum, Kind, Table};
use super::errors::{INTERNAL, MISSING, REFUSED, Refused, UNCONFIRMED};
use super::settings::{BUDGET, INTERVALS, RHO, SCOPE, Settings, in_rho};
use super::statement::{AskedQuestion, Explain, ShownOf};
use crate::service::{PlanView, QueryView, Question, ReleaseView};

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
        format!("Answered by: {who} ({}; {SCOPE} chooses)", plan.participants.join(", ")),
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
    let offset = usize::try_from(asked.offset).unwrap_or(usize::MAX);
    let limit =
        asked.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut rows = Vec::new();
    for released in release.rows.iter().skip(offset).take(limit) {
        let mut row = Vec::new();
        for shown in &asked.shown {
            match shown.of {
                ShownOf::Key { place, beside_brand, is_brand } => {
                    let place = match (release.scope.as_str(), is_brand) {
                        ("pack", true) => Some(0),
                        ("pack", false) => Some(beside_brand + 1),
                        _ if release.keys.len() == asked.keys => Some(place),
                        (_, true) => None,
                        (_, false) => Some(beside_brand),
                    };
                    let label = match place {
                        Some(place) => released.keys.get(place).cloned().ok_or_else(differs)?,
                        None => release.participants.join(", "),
                    };
                    row.push(Datum::Text(label));
                }
                ShownOf::Value(place) => {
                    let at = |of: &[f64]| of.get(place).copied().ok_or_else(differs);
                    row.push(float(at(&released.values)?));
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
    use crate::service::{NoiseView, ReleaseRow};

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
            cells: 2,
            sigma: vec![NoiseView {
                column: "n".into(),
                unit: "rows".into(),
                ..NoiseView::default()
            }],
            ..PlanView::default()
        };
        let table = explained(&plan, Explain::Text).unwrap();
        let text: Vec<String> = table.rows.iter().map(|row| format!("{:?}", row[0])).collect();
        let text = text.join("\n");
        for expected in
            ["Cost: rho 0.005", "Cells: 2", "n: expected error", "SET coalition.budget = '0.005'"]
        {
            assert!(text.contains(expected), "{expected} is not in {text}");
        }
        let json = explained(&plan, Explain::Json).unwrap();
        assert!(format!("{:?}", json.rows).contains("cost_pico_rho"));
    }
}
