//! `coalition bench useful`: what the clean room makes of a real workload.
//!
//! The 28 questions of the data set The Complete Journey, in the full set that is not shipped: which are
//! answered, which are refused or have to wait and why, and how far the answers are from the exact ones. A
//! repetition is a fresh alliance: planner, clipping, noise, masks, accounts and steps are the real ones, in
//! this process. Errors are against the exact figures, so that what clipping takes away is in them; intervals
//! are judged against the mean of all repetitions, which has the same clipping, as they cover the noise alone.
//!
//! For two million people each brand's bounded figures are multiplied, as if each member were there so many
//! times: exactly what that many people with the same rows would add up to.

mod data;
mod questions;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use privacy::release::{NoisedValue, ReleasedCell};
use privacy::sql::RefusalCode;
use privacy::{Contract, DpPlan, LocalQuestion, ParticipantId, PicoRho, QuerySpec};
use serde::Serialize;

use super::super::{CliError, Io};
use super::{input, rooms};
use data::{BRANDS, Brand, Exact, Lines};
use questions::{Form, QUESTIONS, Question};

/// People of the full data set.
const PEOPLE: u32 = 2_469;
/// A cell is usable when the median error is at most this.
const USABLE: f64 = 0.05;

/// How it is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct UsefulArguments {
    /// The data set's folder, with `full/`; by default that of COALITION_SHARED.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Fresh alliances for each question and profile.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub repetitions: u32,
    /// People that the profile `large` is measured with.
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u32).range(2_469..=100_000_000))]
    pub people: u32,
    /// Only this question, such as Q05.
    #[arg(long)]
    pub only: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct UsefulFigures {
    /// Fresh alliances for each question and profile.
    pub repetitions: u32,
    /// By profile, then question.
    pub profiles: Vec<ProfileFigures>,
}

/// One profile.
#[derive(Debug, Serialize)]
pub struct ProfileFigures {
    /// Its name.
    pub profile: &'static str,
    /// People.
    pub people: u32,
    /// Questions answered as they are asked.
    pub answered: usize,
    /// Those of them, of which half the cells or more have a median error of at most 5 %.
    pub usable: usize,
    /// Each question.
    pub questions: Vec<QuestionFigures>,
}

/// One question.
#[derive(Debug, Serialize)]
pub struct QuestionFigures {
    /// Its number.
    pub id: &'static str,
    /// What it asks.
    pub title: &'static str,
    /// `joint`, `pack`, `waits` or `refused`.
    pub asked: &'static str,
    /// Why it is not answered as it stands.
    pub why: Option<String>,
    /// The answer, or that to the part that can be asked.
    pub answer: Option<AnswerFigures>,
}

/// How far the answers are from the exact ones.
#[derive(Debug, Serialize)]
pub struct AnswerFigures {
    /// `joint` or `pack`.
    pub asked: &'static str,
    /// Figures in one answer, those that are exactly 0 left out.
    pub values: usize,
    /// The same of those: median error at most 5 %.
    pub usable_values: usize,
    /// Of the figures' median relative errors, the median.
    pub median_relative_error: f64,
    /// Of the relative difference between the mean answer and the exact figure, the median: what clipping
    /// takes away, and what is left of the noise in the mean.
    pub median_relative_bias: f64,
    /// Share of intervals that cover, stated as 0.95.
    pub coverage: f64,
}

/// Measures.
///
/// # Errors
/// When the data set is not there, or an answer does not come.
pub async fn measure(arguments: &UsefulArguments, io: &Io) -> Result<UsefulFigures, CliError> {
    let folder = folder(arguments)?.join("full");
    let mut brands = Vec::new();
    for brand in BRANDS {
        brands.push((brand.parse().map_err(input)?, Brand::open(&folder, brand).await?));
    }
    let copies = arguments.people.div_ceil(PEOPLE);
    let mut profiles = Vec::new();
    for (profile, copies) in [("trial", 1), ("large", copies)] {
        let people = PEOPLE.saturating_mul(copies);
        let contract = data::contract(profile, u64::from(people))?;
        let workload =
            Workload { contract, copies, brands: &brands, repetitions: arguments.repetitions };
        let mut questions = Vec::new();
        for question in &QUESTIONS {
            if arguments.only.as_ref().is_none_or(|only| only == question.id) {
                io.say(&format!("{profile}: {} {}", question.id, question.title));
                questions.push(workload.question(question).await?);
            }
        }
        let answered =
            questions.iter().filter(|it| it.why.is_none()).filter_map(|it| it.answer.as_ref());
        let usable = answered.clone().filter(|it| 2 * it.usable_values >= it.values).count();
        let answered = answered.count();
        profiles.push(ProfileFigures { profile, people, answered, usable, questions });
    }
    Ok(UsefulFigures { repetitions: arguments.repetitions, profiles })
}

fn folder(arguments: &UsefulArguments) -> Result<PathBuf, CliError> {
    let shared = || {
        let shared = std::env::var_os("COALITION_SHARED")?;
        Some(Path::new(&shared).join("data/complete-journey"))
    };
    let folder = arguments.data.clone().or_else(shared);
    folder.filter(|folder| folder.join("full").is_dir()).ok_or_else(|| {
        CliError::Input(
            "the full data set is not part of the project: name its folder with --data, or set COALITION_SHARED"
                .to_owned(),
        )
    })
}

/// The questions' world under one profile.
struct Workload<'a> {
    contract: Contract,
    copies: u32,
    brands: &'a [(ParticipantId, Brand)],
    repetitions: u32,
}

/// A figure: brand (or none, of all together), labels, place among the values.
type Place = (Option<ParticipantId>, Vec<String>, usize);

impl Workload<'_> {
    async fn question(&self, question: &Question) -> Result<QuestionFigures, CliError> {
        let Question { id, title, form } = *question;
        let (form, waits) = match form {
            Form::Waits { why, part } => (part.copied(), Some(why.to_owned())),
            form => (Some(form), None),
        };
        let mut figures = QuestionFigures { id, title, asked: "waits", why: waits, answer: None };
        let answered = match form {
            Some(Form::Joint { sql, exact }) => self.joint(sql, exact).await?,
            Some(Form::Pack { sql, exact }) => self.pack(sql, exact).await?,
            _ => return Ok(figures),
        };
        match &answered {
            Ok(answer) if figures.why.is_none() => figures.asked = answer.asked,
            Ok(_) => {}
            Err(refused) => {
                figures.asked = "refused";
                figures.why = Some(refused.message().en.clone());
            }
        }
        figures.answer = answered.ok();
        Ok(figures)
    }

    async fn joint(
        &self,
        sql: &str,
        exact: Option<&str>,
    ) -> Result<Result<AnswerFigures, privacy::Refusal>, CliError> {
        let spec = QuerySpec {
            sql: sql.to_owned(),
            purpose: "joint_analytics".parse().map_err(input)?,
            analyst: "desk".parse().map_err(input)?,
            participants: self.brands.iter().map(|(brand, _)| *brand).collect(),
            rho: self.contract.profile().rho_per_query(),
        };
        let plan = match DpPlan::new(&self.contract, &spec) {
            Ok(plan) => plan,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut lines: BTreeMap<ParticipantId, Lines> = BTreeMap::new();
        let mut figures = Figures::new("joint");
        for (brand, rows) in self.brands {
            lines.insert(*brand, rows.lines(&plan, *brand).await?);
        }
        for _ in 0..self.repetitions {
            let (release, _) = rooms::ask(&self.contract, &spec, &mut |brand, plan| {
                let lines = lines.get(&brand).ok_or_else(|| input("a brand without rows"))?;
                lines.bounded(plan, self.copies)
            })?;
            figures.add(None, release.cells());
        }
        for (_, rows) in self.brands {
            let exact_figures = rows.exact(exact.unwrap_or(sql), figures.width()).await?;
            figures.add_exact(None, &exact_figures, self.copies, false);
        }
        Ok(Ok(figures.judged()))
    }

    /// Each brand answers for itself, and is charged its part: one who is at all brands costs the whole.
    async fn pack(
        &self,
        sql: &str,
        exact: Option<&str>,
    ) -> Result<Result<AnswerFigures, privacy::Refusal>, CliError> {
        let whole = self.contract.profile().rho_per_query();
        let question = LocalQuestion {
            sql: sql.to_owned(),
            purpose: "joint_analytics".parse().map_err(input)?,
            analyst: "desk".parse().map_err(input)?,
            rho: whole.divided(self.brands.len()).unwrap_or(PicoRho::ZERO),
        };
        let mut figures = Figures::new("pack");
        let mut none = None;
        for (brand, rows) in self.brands {
            let plan = match DpPlan::local(&self.contract, *brand, &question) {
                Ok(plan) => plan,
                // a brand that carries none of what is asked for has no part in the pack
                Err(refused) if refused.code() == RefusalCode::OutsideDomain => {
                    none = Some(refused);
                    continue;
                }
                Err(refused) => return Ok(Err(refused)),
            };
            let lines = rows.lines(&plan, *brand).await?;
            let without_brand = sql
                .replace("SELECT brand, ", "SELECT ")
                .replace("GROUP BY brand, ", "GROUP BY ")
                .replace(" GROUP BY brand", "");
            for _ in 0..self.repetitions {
                let vector = lines.bounded(&plan, self.copies)?;
                let release = rooms::ask_locally(&plan, *brand, question.analyst, vector)?;
                figures.add(Some(*brand), release.cells());
            }
            let exact_figures =
                rows.exact(exact.unwrap_or(&without_brand), figures.width()).await?;
            figures.add_exact(Some(*brand), &exact_figures, self.copies, exact.is_some());
        }
        match none {
            Some(refused) if figures.answers.is_empty() => Ok(Err(refused)),
            _ => Ok(Ok(figures.judged())),
        }
    }
}

/// All answers to one question beside the exact one.
struct Figures {
    asked: &'static str,
    exact: BTreeMap<Place, f64>,
    answers: BTreeMap<Place, Vec<NoisedValue>>,
}

impl Figures {
    const fn new(asked: &'static str) -> Self {
        Self { asked, exact: BTreeMap::new(), answers: BTreeMap::new() }
    }

    /// Adds what one brand's rows come to. The last figure of a cell is a quotient, if said so: it is the
    /// same however often all members are there.
    fn add_exact(
        &mut self,
        brand: Option<ParticipantId>,
        exact: &Exact,
        copies: u32,
        quotient: bool,
    ) {
        for (labels, figures) in exact {
            for (index, figure) in figures.iter().enumerate() {
                let is_quotient = quotient && index + 1 == figures.len();
                let times = if is_quotient { 1.0 } else { f64::from(copies) };
                *self.exact.entry((brand, labels.clone(), index)).or_default() += figure * times;
            }
        }
    }

    fn add(&mut self, brand: Option<ParticipantId>, cells: &[ReleasedCell]) {
        for cell in cells {
            for (index, value) in cell.values.iter().enumerate() {
                let place = (brand, cell.keys.clone(), index);
                self.answers.entry(place).or_default().push(*value);
            }
        }
    }

    /// How many figures a cell has.
    fn width(&self) -> usize {
        self.answers.keys().map(|(_, _, index)| index + 1).max().unwrap_or(0)
    }

    fn judged(self) -> AnswerFigures {
        let (mut errors, mut biases) = (Vec::new(), Vec::new());
        let (mut covered, mut intervals) = (0u32, 0u32);
        for (place, answers) in &self.answers {
            let mean = answers.iter().map(|it| it.value).sum::<f64>() / answers.len() as f64;
            for answer in answers {
                intervals += 1;
                covered += u32::from(answer.low <= mean && mean <= answer.high);
            }
            let exact = self.exact.get(place).copied().unwrap_or(0.0);
            if exact != 0.0 {
                let relative = |it: f64| ((it - exact) / exact).abs();
                errors.push(median(answers.iter().map(|it| relative(it.value)).collect()));
                biases.push(relative(mean));
            }
        }
        AnswerFigures {
            asked: self.asked,
            values: errors.len(),
            usable_values: errors.iter().filter(|error| **error <= USABLE).count(),
            median_relative_error: median(errors),
            median_relative_bias: median(biases),
            coverage: f64::from(covered) / f64::from(intervals.max(1)),
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    values.get(middle).copied().unwrap_or(0.0)
}

impl UsefulFigures {
    /// As a table, in words.
    pub fn tell(&self, io: &Io) {
        for profile in &self.profiles {
            io.say(&format!(
                "| {} people, {} | asked | figures | within 5 % | median error | of it clipping | coverage | waits for |",
                profile.people, profile.profile
            ));
            for question in &profile.questions {
                let why = question.why.as_deref().unwrap_or("");
                let figures = question.answer.as_ref().map_or_else(
                    || " | | | | ".to_owned(),
                    |it| {
                        format!(
                            "{} | {} | {:.1} % | {:.1} % | {:.1} %",
                            it.values,
                            it.usable_values,
                            100.0 * it.median_relative_error,
                            100.0 * it.median_relative_bias,
                            100.0 * it.coverage
                        )
                    },
                );
                let asked = question.answer.as_ref().map_or(question.asked, |it| it.asked);
                io.say(&format!(
                    "| {} {} | {asked} | {figures} | {why} |",
                    question.id, question.title
                ));
            }
            io.say(&format!("{} answered, {} usable", profile.answered, profile.usable));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every question that is said to be answerable is planned under the contract, every refusal has its
    /// reason, and there are as many as the workload has.
    #[test]
    fn what_is_said_to_be_answered_is_planned() {
        for profile in ["trial", "large"] {
            let contract = data::contract(profile, 2_000_000).unwrap();
            let brands = contract.participants().to_vec();
            for question in QUESTIONS {
                let form = match question.form {
                    Form::Waits { part, .. } => part.copied(),
                    form => Some(form),
                };
                match form {
                    Some(Form::Joint { sql, .. }) => {
                        let spec = QuerySpec {
                            sql: sql.to_owned(),
                            purpose: "joint_analytics".parse().unwrap(),
                            analyst: "desk".parse().unwrap(),
                            participants: brands.clone(),
                            rho: contract.profile().rho_per_query(),
                        };
                        let plan = DpPlan::new(&contract, &spec);
                        assert!(plan.is_ok(), "{}: {:?}", question.id, plan.unwrap_err());
                    }
                    Some(Form::Pack { sql, .. }) => {
                        let local = LocalQuestion {
                            sql: sql.to_owned(),
                            purpose: "joint_analytics".parse().unwrap(),
                            analyst: "desk".parse().unwrap(),
                            rho: PicoRho::new(contract.profile().rho_per_query().get() / 5),
                        };
                        let plan = |brand| DpPlan::local(&contract, brand, &local);
                        let planned = brands.iter().filter(|brand| plan(**brand).is_ok()).count();
                        let least = if question.id == "Q06" { 4 } else { brands.len() };
                        assert_eq!(planned, least, "{}: {:?}", question.id, plan(brands[0]));
                    }
                    _ => {}
                }
            }
        }
        assert!(QUESTIONS.is_sorted_by(|a, b| a.id < b.id));
    }
}
