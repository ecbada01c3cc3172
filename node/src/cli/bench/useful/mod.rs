//! `coalition bench useful`: what the clean room makes of a real workload.
//!
//! The 28 questions of the data set The Complete Journey, in the full set that is not shipped: which are
//! answered, which are refused or have to wait and why, and how far the answers are from the exact ones. A
//! repetition is a fresh alliance: planner, clipping, noise, masks, accounts and steps are the real ones, in
//! this process. Errors are against the exact figures, so that what clipping takes away is in them; intervals
//! are judged against the mean of all repetitions, which has the same clipping, as they cover the noise alone.
//!
//! Beside each answer stands that of one trusted party at the same cost: central differential privacy, drawn as often by
//! the same exact sampler over the clipped sums of all, at the bounds of the busiest brand. It protects a person's accounts
//! at all brands too: C_b at each, so that of a joint question it has sigma^2 = (sum of C_b)^2 / (2 rho), and asks as one
//! brand with the bound C does for rho C^2 / (sum of C_b)^2. Of a pack each brand is such a party already, and what is
//! drawn beside it is the same once more.
//!
//! For two million people each brand's bounded figures are multiplied, as if each member were there so many
//! times: exactly what that many people with the same rows would add up to. `--full-rows` asks one question
//! over the rows of that many people themselves.

mod data;
mod questions;
mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use privacy::plan::{NoisedColumn, OutputKind};
use privacy::release::{NoisedValue, ReleasedCell};
use privacy::sql::RefusalCode;
use privacy::{BoundedVector, Contract, DpPlan, LocalQuestion, ParticipantId, PicoRho, QuerySpec};
use serde::Serialize;

use super::super::{CliError, Io};
use super::{input, rooms};
use data::{BRANDS, BUSIEST, Brand, Exact, Lines};
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
    /// Read the rows of all these people for this question too, such as Q03.
    #[arg(long)]
    pub full_rows: Option<String>,
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
    /// The question whose rows were read in full.
    pub full_rows: Option<FullRowsFigures>,
}

/// One question over the rows of all people.
#[derive(Debug, Serialize)]
pub struct FullRowsFigures {
    /// Its number.
    pub id: &'static str,
    /// People.
    pub people: u32,
    /// Rows of the question's tables, of all brands.
    pub rows: u64,
    /// Reading, clipping and adding up, all brands one after the other.
    pub seconds: f64,
    /// The answers.
    pub answer: AnswerFigures,
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
    /// Counts and sums whose exact value is above the smallest cell that the plan calls of use
    /// (`smallest_cell_5_percent`).
    pub above_smallest: usize,
    /// The same of those: median error at most 5 %. What clipping takes away is in the error and not in the plan's word.
    pub above_smallest_usable: usize,
    /// Of the figures' median relative errors, the median.
    pub median_relative_error: f64,
    /// Of the relative difference between the mean answer and the exact figure, the median: what clipping
    /// takes away, and what is left of the noise in the mean.
    pub median_relative_bias: f64,
    /// Share of intervals that cover, stated as 0.95.
    pub coverage: f64,
    /// The median relative error of one trusted party's answers, with the same clip and cost.
    pub central_median_relative_error: f64,
    /// Deviation of the answers from their mean over that of the trusted party's answers from theirs, over all figures;
    /// absent where there is no noise.
    pub noise_to_central: Option<f64>,
    /// What it comes to of so many brands, some of them colluding: sqrt(n / (n - t)), and 1 of one brand alone.
    pub noise_to_central_by_plan: f64,
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
    let full_rows = match &arguments.full_rows {
        Some(id) => Some(full_rows(id, copies, &brands, arguments.repetitions, io).await?),
        None => None,
    };
    Ok(UsefulFigures { repetitions: arguments.repetitions, profiles, full_rows })
}

/// Reads the rows of all people for one joint question.
async fn full_rows(
    id: &str,
    copies: u32,
    brands: &[(ParticipantId, Brand)],
    repetitions: u32,
    io: &Io,
) -> Result<FullRowsFigures, CliError> {
    let joint = |form: Form| match form {
        Form::Joint { sql, exact }
        | Form::Waits { part: Some(&Form::Joint { sql, exact }), .. } => Some((sql, exact)),
        _ => None,
    };
    let question = QUESTIONS.iter().find(|it| it.id == id);
    let found = question.and_then(|it| Some((it, joint(it.form)?)));
    let (question, (sql, exact)) = found.ok_or_else(|| {
        CliError::Input(format!("--full-rows {id}: name a question of all brands, such as Q03"))
    })?;
    let people = PEOPLE.saturating_mul(copies);
    io.say(&format!("the rows of {people} people: {id} {}", question.title));
    let contract = data::contract("large", u64::from(people))?;
    let plan = DpPlan::new(&contract, &spec(&contract, sql)?).map_err(input)?;
    let mut full = Vec::new();
    for (brand, once) in brands {
        full.push((*brand, once.copied(copies).await?));
    }
    let mut rows = 0;
    for table in plan.tables() {
        for (_, brand) in &full {
            rows += brand.rows(table.name()).await?;
        }
    }
    let began = Instant::now();
    for (brand, all) in &full {
        all.lines(&plan, *brand).await?.bounded(&plan, 1)?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let workload = Workload { contract, copies: 1, brands: &full, repetitions };
    let answer = workload.joint(sql, exact).await?.map_err(input)?;
    Ok(FullRowsFigures { id: question.id, people, rows, seconds, answer })
}

/// A joint question of all brands, at the usual cost.
fn spec(contract: &Contract, sql: &str) -> Result<QuerySpec, CliError> {
    Ok(QuerySpec {
        sql: sql.to_owned(),
        purpose: "joint_analytics".parse().map_err(input)?,
        analyst: "desk".parse().map_err(input)?,
        participants: contract.participants().to_vec(),
        rho: contract.profile().rho_per_query(),
    })
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
        let spec = spec(&self.contract, sql)?;
        let plan = match DpPlan::new(&self.contract, &spec) {
            Ok(plan) => plan,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut lines: BTreeMap<ParticipantId, Lines> = BTreeMap::new();
        let mut figures = Figures::new("joint");
        let (holder, central) = trusted(&self.contract, &spec, &plan)?;
        figures.add_plan(None, &plan);
        let brands = self.brands.len() as f64;
        figures.by_plan = (brands / (brands - plan.tolerated_colluders() as f64)).sqrt();
        for (brand, rows) in self.brands {
            lines.insert(*brand, rows.lines(&plan, *brand).await?);
        }
        for _ in 0..self.repetitions {
            let (release, _) = rooms::ask(&self.contract, &spec, &mut |brand, plan| {
                let lines = lines.get(&brand).ok_or_else(|| input("a brand without rows"))?;
                lines.bounded(plan, self.copies)
            })?;
            figures.add(None, release.cells());
            let all = added_up(
                lines.values().map(|lines| lines.bounded_at(&central, holder, self.copies)),
            )?;
            let release = rooms::ask_locally(&central, holder, spec.analyst, all)?;
            figures.add_central(None, release.cells());
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
            figures.add_plan(Some(*brand), &plan);
            let lines = rows.lines(&plan, *brand).await?;
            let without_brand = sql
                .replace("SELECT brand, ", "SELECT ")
                .replace("GROUP BY brand, ", "GROUP BY ")
                .replace(" GROUP BY brand", "");
            for _ in 0..self.repetitions {
                let vector = lines.bounded(&plan, self.copies)?;
                let release = rooms::ask_locally(&plan, *brand, question.analyst, vector)?;
                figures.add(Some(*brand), release.cells());
                // a trusted party's answer is no other than the brand's own
                let vector = lines.bounded(&plan, self.copies)?;
                let release = rooms::ask_locally(&plan, *brand, question.analyst, vector)?;
                figures.add_central(Some(*brand), release.cells());
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
    /// Of one trusted party.
    central: BTreeMap<Place, Vec<f64>>,
    /// The smallest cell of use by each plan, of counts and sums by their place among the values.
    smallest: BTreeMap<(Option<ParticipantId>, usize), f64>,
    by_plan: f64,
}

/// What one party that holds the accounts of all brands would ask itself in place of a joint question, and under which
/// name: see the head of this module. It has the same cells, or there is nothing to compare.
fn trusted(
    contract: &Contract,
    spec: &QuerySpec,
    joint: &DpPlan,
) -> Result<(ParticipantId, DpPlan), CliError> {
    let mut participants = spec.participants.iter().copied();
    let holder = participants.find(|brand| brand.as_str() == BUSIEST);
    let holder = holder.ok_or_else(|| input("the busiest brand is not asked"))?;
    // what one account moves its sums by, as a part of what one person with an account at each brand does
    let part = |it: &NoisedColumn| it.squared_bound() as f64 / it.squared_sensitivity() as f64;
    let mut parts = joint.columns().iter().map(part);
    let first = parts.next().ok_or_else(|| input("nothing is asked"))?;
    if parts.any(|part| (part / first - 1.0).abs() > 1e-6) {
        return Err(input(
            "its columns have other bounds at other brands: no one cost is the same",
        ));
    }
    let question = LocalQuestion {
        sql: spec.sql.clone(),
        purpose: spec.purpose,
        analyst: spec.analyst,
        rho: PicoRho::new((spec.rho.get() as f64 * first) as u64),
    };
    let plan = DpPlan::local(contract, holder, &question).map_err(input)?;
    if plan.cells() != joint.cells() || plan.columns().len() != joint.columns().len() {
        return Err(input("one party alone would answer another question"));
    }
    Ok((holder, plan))
}

/// All brands' clipped sums together.
fn added_up(
    mut vectors: impl Iterator<Item = Result<BoundedVector, CliError>>,
) -> Result<BoundedVector, CliError> {
    let first = vectors.next().ok_or_else(|| input("no brand is asked"))??;
    vectors.try_fold(first, |sum, vector| sum.plus(&vector?).map_err(input))
}

/// The sample variance; none of fewer than two values, or where it is not finite.
fn variance(values: &[f64]) -> Option<f64> {
    let degrees = values.len().checked_sub(1).filter(|degrees| *degrees > 0)?;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some(squares / degrees as f64).filter(|variance| variance.is_finite())
}

impl Figures {
    const fn new(asked: &'static str) -> Self {
        Self {
            asked,
            exact: BTreeMap::new(),
            answers: BTreeMap::new(),
            central: BTreeMap::new(),
            smallest: BTreeMap::new(),
            by_plan: 1.0,
        }
    }

    /// Takes from a plan from which size on it calls a count or a sum of use; of rates, quotients and quantiles it does
    /// not say so in their own unit.
    fn add_plan(&mut self, brand: Option<ParticipantId>, plan: &DpPlan) {
        let summary = plan.summary();
        for (index, output) in summary.outputs.iter().filter(|it| !it.unshown).enumerate() {
            let aggregate = output.aggregates.first().and_then(|it| summary.aggregates.get(*it));
            if let (OutputKind::Amount, Some(aggregate)) = (output.kind, aggregate) {
                self.smallest.insert((brand, index), aggregate.smallest_cell);
            }
        }
    }

    /// How the answers lie about their mean, against how the trusted party's do. Each figure counts by the part that
    /// either has of both variances, so that neither the large figures nor the quotients that the noise throws far
    /// decide it.
    fn noise_to_central(&self) -> Option<f64> {
        let (mut ours, mut theirs) = (0.0, 0.0);
        for (place, answers) in &self.answers {
            let answers: Vec<f64> = answers.iter().map(|it| it.value).collect();
            let central = self.central.get(place).and_then(|central| variance(central));
            let Some((own, central)) = variance(&answers).zip(central) else { continue };
            let both = own + central;
            if both > 0.0 {
                ours += own / both;
                theirs += central / both;
            }
        }
        (theirs > 0.0).then(|| (ours / theirs).sqrt())
    }

    fn add_central(&mut self, brand: Option<ParticipantId>, cells: &[ReleasedCell]) {
        for cell in cells {
            for (index, value) in cell.values.iter().enumerate() {
                let place = (brand, cell.keys.clone(), index);
                self.central.entry(place).or_default().push(value.value);
            }
        }
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
        let noise_to_central = self.noise_to_central();
        let (mut errors, mut biases, mut centrals) = (Vec::new(), Vec::new(), Vec::new());
        let (mut covered, mut intervals) = (0u32, 0u32);
        let (mut above_smallest, mut above_smallest_usable) = (0usize, 0usize);
        for (place, answers) in &self.answers {
            let mean = answers.iter().map(|it| it.value).sum::<f64>() / answers.len() as f64;
            for answer in answers {
                intervals += 1;
                covered += u32::from(answer.low <= mean && mean <= answer.high);
            }
            let exact = self.exact.get(place).copied().unwrap_or(0.0);
            if exact != 0.0 {
                let relative = |it: f64| ((it - exact) / exact).abs();
                let error = median(answers.iter().map(|it| relative(it.value)).collect());
                errors.push(error);
                let (brand, _, index) = place;
                let smallest = self.smallest.get(&(*brand, *index));
                if smallest.is_some_and(|smallest| exact.abs() > *smallest) {
                    above_smallest += 1;
                    above_smallest_usable += usize::from(error <= USABLE);
                }
                biases.push(relative(mean));
                let central = self.central.get(place).into_iter().flatten();
                centrals.push(median(central.map(|it| relative(*it)).collect()));
            }
        }
        AnswerFigures {
            asked: self.asked,
            values: errors.len(),
            usable_values: errors.iter().filter(|error| **error <= USABLE).count(),
            above_smallest,
            above_smallest_usable,
            median_relative_error: median(errors),
            median_relative_bias: median(biases),
            coverage: f64::from(covered) / f64::from(intervals.max(1)),
            central_median_relative_error: median(centrals),
            noise_to_central,
            noise_to_central_by_plan: self.by_plan,
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    values.get(middle).copied().unwrap_or(0.0)
}

impl UsefulFigures {
    /// As the tables of `docs/usefulness.md`.
    pub fn tell(&self, io: &Io) {
        for line in tables::lines(self) {
            io.say(&line);
        }
        for profile in &self.profiles {
            let ProfileFigures { profile, answered, usable, .. } = profile;
            io.say(&format!("{profile}: {answered} answered, {usable} usable"));
        }
        if let Some(it) = &self.full_rows {
            io.say(&format!(
                "{}: {} rows of {} people read in {:.1} s; {} of {} figures within 5 %, median error {:.1} %",
                it.id,
                it.rows,
                it.people,
                it.seconds,
                it.answer.usable_values,
                it.answer.values,
                100.0 * it.answer.median_relative_error
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use privacy::Collector;
    use privacy::release::Quality;

    use super::*;

    /// The answers of five brands without rows, of which one may collude, are sqrt(5 / 4) times as noisy as those of
    /// one trusted party: by the very mechanisms of both, over all cells of a question and many repetitions.
    #[test]
    fn a_joint_answer_is_as_noisy_against_a_trusted_partys_as_planned() {
        let contract = data::contract("trial", 2_469).unwrap();
        let sql = "SELECT hour_no, count(*) AS baskets FROM baskets GROUP BY hour_no";
        let spec = spec(&contract, sql).unwrap();
        let joint = DpPlan::new(&contract, &spec).unwrap();
        let (holder, central) = trusted(&contract, &spec, &joint).unwrap();
        let none = |plan: &DpPlan, brand| Collector::new(plan, brand).finish().map_err(input);
        let mut figures = Figures::new("joint");
        for _ in 0..40 {
            let (release, _) =
                rooms::ask(&contract, &spec, &mut |brand, plan| none(plan, brand)).unwrap();
            figures.add(None, release.cells());
            let all = added_up((0..5).map(|_| none(&central, holder))).unwrap();
            let release = rooms::ask_locally(&central, holder, spec.analyst, all).unwrap();
            figures.add_central(None, release.cells());
        }
        // 24 cells of 39 degrees each on both sides: four hundredths by chance, five times that is out of reach
        let ratio = figures.noise_to_central().unwrap();
        assert!((ratio - 1.118).abs() < 0.2, "{ratio}");
    }

    /// By hand: twice the deviation in every figure, whatever its size, is twice the noise; what has no noise, or was
    /// answered once, says nothing.
    #[test]
    fn deviations_are_compared_figure_by_figure() {
        let cell = |key: &str, value: f64| ReleasedCell {
            keys: vec![key.to_owned()],
            values: vec![NoisedValue {
                value,
                low: value - 1.0,
                high: value + 1.0,
                quality: Quality::Usable,
            }],
        };
        let mut figures = Figures::new("joint");
        for sign in [-1.0, 1.0] {
            figures.add(None, &[cell("small", 10.0 + 2.0 * sign), cell("large", 1e6 + 2e3 * sign)]);
            figures
                .add_central(None, &[cell("small", 10.0 + sign), cell("large", 1e6 + 1e3 * sign)]);
        }
        assert!((figures.noise_to_central().unwrap() - 2.0).abs() < 1e-9);
        let mut still = Figures::new("joint");
        still.add(None, &[cell("once", 1.0)]);
        still.add_central(None, &[cell("once", 1.0)]);
        assert_eq!(still.noise_to_central(), None);
    }

    /// By hand: of three counts two are above the plan's smallest cell, and one of those is answered within 5 %.
    #[test]
    fn counts_above_the_plans_smallest_cell_are_told_apart() {
        let contract = data::contract("trial", 2_469).unwrap();
        let sql = "SELECT hour_no, count(*) AS n, sum(amount_fen) / count(*) AS mean FROM baskets \
                   GROUP BY hour_no";
        let plan = DpPlan::new(&contract, &spec(&contract, sql).unwrap()).unwrap();
        let mut figures = Figures::new("joint");
        figures.add_plan(None, &plan);
        // the mean has none
        let places: Vec<_> = figures.smallest.keys().copied().collect();
        assert_eq!(places, [(None, 0)]);
        let smallest = figures.smallest[&(None, 0)];
        let counts =
            [("A", 0.9 * smallest, 1.0), ("B", 1.1 * smallest, 1.04), ("C", 2.0 * smallest, 1.06)];
        for (key, exact, off) in counts {
            let value = exact * off;
            let value = NoisedValue { value, low: value, high: value, quality: Quality::Usable };
            let mean = NoisedValue { value: 2.0 * smallest, ..value };
            let (keys, values) = (vec![key.to_owned()], vec![value, mean]);
            figures.add(None, &[ReleasedCell { keys, values }]);
            let exact = Exact::from([(vec![key.to_owned()], vec![exact, 2.0 * smallest])]);
            figures.add_exact(None, &exact, 1, false);
        }
        let judged = figures.judged();
        assert_eq!((judged.values, judged.usable_values), (6, 5));
        assert_eq!((judged.above_smallest, judged.above_smallest_usable), (2, 1));
    }

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
