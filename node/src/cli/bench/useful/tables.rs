//! The tables of `docs/usefulness.md`, as the command prints them.

use super::{AnswerFigures, ProfileFigures, QuestionFigures, UsefulFigures};

/// What a table says of an answer, for each profile.
struct Table {
    /// Whether questions without an answer are there too, and for what they wait.
    waits: bool,
    /// Whether it says how noisy the answer is by plan.
    by_plan: bool,
    /// Heads of a profile's columns.
    head: fn(&ProfileFigures) -> Vec<String>,
    /// What is in them.
    cells: fn(&AnswerFigures) -> Vec<String>,
}

/// How far the answers are from the exact ones.
const ANSWERS: Table = Table {
    waits: true,
    by_plan: false,
    head: |it| {
        let people = thousands(it.people);
        let within = format!("`{}`, {people} people: within 5 %", it.profile);
        vec![within, "median error".to_owned(), "coverage".to_owned()]
    },
    cells: |it| {
        let within = format!("{} of {}", it.usable_values, it.values);
        let coverage = format!("{:.0} %", 100.0 * it.coverage);
        vec![within, percent(it.median_relative_error), coverage]
    },
};

/// The same against one trusted party.
const CENTRAL: Table = Table {
    waits: false,
    by_plan: true,
    head: |it| vec![format!("`{}`: trusted party's error", it.profile), "noise".to_owned()],
    cells: |it| {
        let noise = it.noise_to_central.map_or_else(|| "none".to_owned(), ratio);
        vec![percent(it.central_median_relative_error), noise]
    },
};

/// Counts and sums above the plan's smallest cell, and what clipping takes away.
const ABOVE_SMALLEST: Table = Table {
    waits: false,
    by_plan: false,
    head: |it| {
        let within = format!("`{}`: within 5 % above the smallest cell", it.profile);
        vec![within, "clipping".to_owned()]
    },
    cells: |it| {
        let within = format!("{} of {}", it.above_smallest_usable, it.above_smallest);
        vec![within, percent(it.median_relative_bias)]
    },
};

/// The tables, line by line, an empty line after each.
pub(super) fn lines(figures: &UsefulFigures) -> Vec<String> {
    let mut lines = Vec::new();
    for table in [ANSWERS, CENTRAL, ABOVE_SMALLEST] {
        let is_last = !table.waits && !table.by_plan;
        lines.extend(table.lines(figures));
        lines.extend(is_last.then(|| line(&all_above_smallest(figures))));
        lines.push(String::new());
    }
    lines
}

impl Table {
    fn lines(&self, figures: &UsefulFigures) -> Vec<String> {
        let mut head = vec!["question".to_owned(), "asked".to_owned()];
        head.extend(self.by_plan.then(|| "by plan".to_owned()));
        head.extend(figures.profiles.iter().flat_map(self.head));
        head.extend(self.waits.then(|| "waits for".to_owned()));
        let mut lines = vec![line(&head), format!("{}|", "|---".repeat(head.len()))];
        for row in rows(figures) {
            let answer = row.iter().find_map(|it| it.answer.as_ref());
            let Some(first) = row.first().filter(|_| self.waits || answer.is_some()) else {
                continue;
            };
            let mut cells = vec![format!("{} {}", first.id, first.title), asked(first)];
            if self.by_plan {
                cells.extend(answer.map(|it| ratio(it.noise_to_central_by_plan)));
            }
            for (profile, question) in figures.profiles.iter().zip(&row) {
                match &question.answer {
                    Some(answer) => cells.extend((self.cells)(answer)),
                    None => cells.extend((self.head)(profile).iter().map(|_| String::new())),
                }
            }
            cells.extend(self.waits.then(|| first.why.clone().unwrap_or_default()));
            lines.push(line(&cells));
        }
        lines
    }
}

/// A question of all profiles together; those with an answer first.
fn rows(figures: &UsefulFigures) -> Vec<Vec<&QuestionFigures>> {
    let many = figures.profiles.iter().map(|it| it.questions.len()).max().unwrap_or(0);
    let mut rows: Vec<Vec<&QuestionFigures>> = (0..many)
        .map(|at| figures.profiles.iter().filter_map(|it| it.questions.get(at)).collect())
        .collect();
    // stable: in their order otherwise
    rows.sort_by_key(|row| row.iter().all(|it| it.answer.is_none()));
    rows
}

fn asked(question: &QuestionFigures) -> String {
    match (&question.answer, &question.why) {
        (Some(answer), Some(_)) => format!("in part: {}", answer.asked),
        (Some(answer), None) => answer.asked.to_owned(),
        (None, _) => question.asked.to_owned(),
    }
}

/// The last row of the last table.
fn all_above_smallest(figures: &UsefulFigures) -> Vec<String> {
    let mut cells = vec!["all".to_owned(), String::new()];
    for profile in &figures.profiles {
        let answers = || profile.questions.iter().filter_map(|it| it.answer.as_ref());
        let usable: usize = answers().map(|it| it.above_smallest_usable).sum();
        let above: usize = answers().map(|it| it.above_smallest).sum();
        cells.extend([format!("{usable} of {above}"), String::new()]);
    }
    cells
}

fn line(cells: &[String]) -> String {
    let cells =
        cells.iter().map(|it| if it.is_empty() { "| ".to_owned() } else { format!("| {it} ") });
    cells.chain(["|".to_owned()]).collect()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// 1 where two are the same.
fn ratio(it: f64) -> String {
    if (it - 1.0).abs() < 1e-9 { "1".to_owned() } else { format!("{it:.2}") }
}

fn thousands(number: u32) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::questions::{Form, QUESTIONS};
    use super::*;

    fn answer(asked: &'static str) -> AnswerFigures {
        AnswerFigures {
            asked,
            values: 7,
            usable_values: 1,
            above_smallest: 3,
            above_smallest_usable: 2,
            median_relative_error: 0.1634,
            median_relative_bias: 0.013,
            coverage: 0.951,
            central_median_relative_error: 0.1512,
            noise_to_central: Some(1.134),
            noise_to_central_by_plan: if asked == "joint" { 1.25f64.sqrt() } else { 1.0 },
        }
    }

    /// All questions, as the command would have them, with made-up answers.
    fn figures() -> UsefulFigures {
        let question = |it: &super::super::Question| {
            let (form, why) = match it.form {
                Form::Waits { why, part } => (part.copied(), Some(why.to_owned())),
                form => (Some(form), None),
            };
            let answer = match form {
                Some(Form::Joint { .. }) => Some(answer("joint")),
                Some(Form::Pack { .. }) => Some(answer("pack")),
                _ => None,
            };
            let asked = answer.as_ref().filter(|_| why.is_none()).map_or("waits", |it| it.asked);
            QuestionFigures { id: it.id, title: it.title, asked, why, answer }
        };
        let profile = |profile, people| ProfileFigures {
            profile,
            people,
            answered: 12,
            usable: 3,
            questions: QUESTIONS.iter().map(question).collect(),
        };
        let profiles = vec![profile("trial", 2_469), profile("large", 2_002_359)];
        UsefulFigures { repetitions: 20, profiles, full_rows: None }
    }

    /// The document has the tables that the command prints: the same heads, and the same questions, asked alike, in the
    /// same order. What is in them is measured.
    #[test]
    fn the_document_has_the_tables_that_are_printed() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/usefulness.md");
        let document = std::fs::read_to_string(document).unwrap();
        let there: Vec<&str> = document.lines().filter(|line| line.starts_with('|')).collect();
        let printed = lines(&figures());
        let printed: Vec<&String> = printed.iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(there.len(), printed.len());
        let first = |line: &str| line.split('|').take(3).collect::<Vec<_>>().join("|");
        for (there, printed) in there.iter().zip(printed) {
            if there.starts_with("| question") || there.starts_with("|---") {
                assert_eq!(there, printed);
            }
            assert_eq!(first(there), first(printed));
            assert_eq!(there.matches('|').count(), printed.matches('|').count(), "{there}");
        }
    }

    #[test]
    fn what_is_in_them_is_what_was_measured() {
        let printed = lines(&figures());
        for line in [
            "| Q01 members of each brand | pack | 1 of 7 | 16.3 % | 95 % | 1 of 7 | 16.3 % | 95 % | |",
            "| Q27 baskets by hour of the day | joint | 1.12 | 15.1 % | 1.13 | 15.1 % | 1.13 |",
            "| Q27 baskets by hour of the day | joint | 2 of 3 | 1.3 % | 2 of 3 | 1.3 % |",
            "| all | | 30 of 45 | | 30 of 45 | |",
        ] {
            assert!(printed.iter().any(|it| it == line), "{line}: {printed:#?}");
        }
        let waits = printed.iter().find(|it| it.starts_with("| Q02")).unwrap();
        assert!(waits.contains("| waits | | | | | | | counts people"), "{waits}");
        let part = printed.iter().find(|it| it.starts_with("| Q03")).unwrap();
        assert!(part.contains("| in part: joint | 1 of 7"), "{part}");
    }
}
