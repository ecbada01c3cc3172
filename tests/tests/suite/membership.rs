//! Membership inference and differencing against running nodes, by questions that any analyst may ask.
//!
//! A question of many cells is as many attacks at once: each cell has a person of its own, who by a coin is among the
//! members of every brand or of none, so that one answer is over a thousand trials at the cost of one. The attacker
//! knows everything else, or takes it off by a second answer. The same judge as in `simulations` compares how often it
//! is right with the bound of what the certified logs say was charged.
//!
//! An attack that nobody could win shows nothing. So each test also has the judge see what the nodes would have said
//! without a guard, their own noise for the rest, and it must object; and the noise, which theory needs, is measured.

use std::collections::BTreeMap;
use std::path::PathBuf;

use node::service::{Question, ReleaseView};
use simulations::attacks::statistics::{Attack, Guesses};
use simulations::prng::Prng;

use super::alliance::{Alliance, eventually};
use super::attacks::ended;
use super::made_up::{self, BOUND_FEN, DEPARTMENTS, Line, MONTHS};
use super::succession::{Files, next, taken_up};

const SPENDING: &str = "SELECT department, date_trunc('month', purchased_on) AS m, \
     sum(amount_fen) AS spent FROM purchases GROUP BY 1, 2";
/// The same without those of whom it is known what they have spent.
const WITHOUT_THE_RARE: &str = "SELECT department, date_trunc('month', purchased_on) AS m, \
     sum(amount_fen) AS spent FROM purchases WHERE amount_fen <> 7770 GROUP BY 1, 2";
/// What a target has spent at once: many times the bound, and nobody else as much.
const RARE_FEN: i64 = 7_770;
const OTHERS_FEN: i64 = 50;
/// So many have spent the bound, at one brand, in each of the first months in the first department: they are seen
/// through any noise, so that an answer in which nobody is does not pass.
const CROWD: usize = 550;
const CROWDED_MONTHS: usize = 3;
/// Colluders that the noise of a joint question allows for, among three or four brands.
const TOLERATED: f64 = 1.0;
/// How many standard errors a measured deviation may be off: chance is farther off once in some thousand million.
const ERRORS: f64 = 6.2;

/// A person with a cell of its own.
#[derive(Debug, Clone, Copy)]
struct Target {
    department: usize,
    month: usize,
    is_in: bool,
    /// Whether somebody else has bought there, at one brand.
    other: bool,
}

impl Target {
    /// What there is of an amount: all of it when the target is in.
    fn if_in(self, amount: f64) -> f64 {
        if self.is_in { amount } else { 0.0 }
    }

    fn others(self) -> f64 {
        if self.other { OTHERS_FEN as f64 } else { 0.0 }
    }
}

/// One in each cell but the first department's, by coins.
fn targets(seed: u64) -> Vec<Target> {
    let mut random = Prng::new(seed);
    let mut coin = || random.bits().is_multiple_of(2);
    let mut targets = Vec::new();
    for department in 1..DEPARTMENTS {
        for month in 0..MONTHS {
            targets.push(Target { department, month, is_in: coin(), other: coin() });
        }
    }
    targets
}

/// The purchases of the brand in this place: of all targets that are in; at the first also the crowd's, at the second
/// the others'.
fn purchases(targets: &[Target], place: usize) -> Vec<Line> {
    let line = |card: String, department: usize, month: usize, fen: i64| Line {
        card,
        department: made_up::department(department),
        month,
        fen,
    };
    let mut lines = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        if target.is_in {
            lines.push(line(format!("T{number}"), target.department, target.month, RARE_FEN));
        }
        if target.other && place == 1 {
            lines.push(line(format!("O{number}"), target.department, target.month, OTHERS_FEN));
        }
    }
    if place == 0 {
        for month in 0..CROWDED_MONTHS {
            for number in 0..CROWD {
                lines.push(line(format!("C{month}X{number}"), 0, month, BOUND_FEN));
            }
        }
    }
    lines
}

async fn alliance_of(brands: &[&str], settings: &str, targets: &[Target]) -> Alliance {
    let alliance = Alliance::of(brands, settings).await;
    for (place, brand) in brands.iter().enumerate() {
        made_up::import(&alliance, brand, &purchases(targets, place)).await;
    }
    alliance
}

/// A release, and what it says of each cell, in fen.
struct Answer {
    release: ReleaseView,
    values: BTreeMap<Vec<String>, f64>,
}

impl Answer {
    fn at(&self, department: usize, month: usize) -> f64 {
        let names = [made_up::department(department), made_up::month(month)];
        self.values[&names[..]]
    }

    fn of(&self, target: &Target) -> f64 {
        self.at(target.department, target.month)
    }

    fn rho(&self) -> f64 {
        self.release.cost_pico_rho as f64 / 1e12
    }

    /// Whether it is about the data: the crowd is where it was put and nowhere else.
    fn assert_sees_the_crowd(&self) {
        let half = (CROWD as i64 * BOUND_FEN / 2) as f64;
        for month in 0..MONTHS {
            let value = self.at(0, month);
            assert_eq!(value > half, month < CROWDED_MONTHS, "month {month}: {value}");
        }
    }
}

/// Asks at what one question may cost at most: a third of what the brand may spend on joint questions in a year.
async fn ask(alliance: &Alliance, brand: &str, sql: &str) -> Answer {
    ask_as(alliance, brand, None, sql).await.unwrap()
}

/// The same as one of the brand's analysts; or the code by which it is refused.
async fn ask_as(
    alliance: &Alliance,
    brand: &str,
    user: Option<&str>,
    sql: &str,
) -> Result<Answer, &'static str> {
    let node = alliance.node(brand);
    let third = node.status().budget.unwrap().quota_pico_rho / 3;
    let user = user.map(str::to_owned);
    let question =
        Question { sql: sql.to_owned(), pico_rho: Some(third), user, ..Question::default() };
    let plan = node.plan(question.clone()).await.unwrap();
    assert_eq!(plan.cost_pico_rho, third);
    let asked = node.query(question, plan.plan).await.map_err(|refused| refused.code)?;
    let view = ended(alliance, brand, &asked.id).await;
    let Some(release) = view.release else { panic!("{:?}", view.reason) };
    let values = release.rows.iter().map(|row| (row.keys.clone(), row.values[0])).collect();
    Ok(Answer { release, values })
}

/// A guess for each target, by a score that is near 1 when it is in and near 0 when it is not.
fn judged(
    name: &'static str,
    rho: f64,
    targets: &[Target],
    score: impl Fn(&Target) -> f64,
) -> Attack {
    let mut guesses = Guesses::default();
    for target in targets {
        guesses.add(target.is_in, score(target) > 0.5);
    }
    Attack::new(name, guesses, rho)
}

/// The deviation that an answer of so many brands needs at this cost. One person moves each brand's sum by the bound; and
/// those who do not collude must suffice.
fn needed_deviation(brands: f64, rho: f64) -> f64 {
    let sensitivity = brands * BOUND_FEN as f64;
    sensitivity / (2.0 * rho).sqrt() * (brands / (brands - TOLERATED)).sqrt()
}

/// Noise that is less than theory needs protects less than is charged for; noise that is more is of no use to anyone.
fn assert_noise(noise: impl ExactSizeIterator<Item = f64>, needed: f64) {
    let number = noise.len() as f64;
    let found = (noise.map(|it| it * it).sum::<f64>() / number).sqrt();
    let error = ERRORS / (2.0 * number).sqrt();
    assert!(
        (found / needed - 1.0).abs() < error,
        "noise of {found}, where {needed} is needed, at {number} draws"
    );
}

/// What the audit adds up from the certified logs of all brands for so many questions, pico-rho.
async fn charged(mut alliance: Alliance, later: Vec<PathBuf>, questions: u64) -> u64 {
    eventually("the logs are published", async || {
        let report = alliance.audit(later.clone());
        report.is_ok_and(|report| report.budget.is_some_and(|it| it.attempts == questions))
    })
    .await;
    let report = alliance.audited(later).await.budget.unwrap();
    assert_eq!(report.findings, []);
    report.years.iter().map(|year| year.charged_pico_rho).sum()
}

/// One answer, whose every cell is to tell of one person; and it less the answer to the same question without what is
/// known to be that person's.
///
/// Fails when nodes add no noise or too little of it (a share of sigma^2/n in place of sigma^2/(n-t) as well), when
/// they do not clip (a target has spent 77 times the bound), when a charge is less than what was answered for, and
/// when the second answer has the noise of the first: the difference would have none.
#[tokio::test(flavor = "multi_thread")]
async fn membership_and_differencing_by_predicates_tell_no_more_than_was_charged() {
    let brands = ["fresh_counter", "fuel_stop", "grocer_one"];
    let targets = targets(1);
    let alliance = alliance_of(&brands, &made_up::settings(), &targets).await;
    let all = ask(&alliance, brands[0], SPENDING).await;
    let rest = ask(&alliance, brands[0], WITHOUT_THE_RARE).await;
    let asked_for = all.release.cost_pico_rho + rest.release.cost_pico_rho;
    assert_eq!(charged(alliance, Vec::new(), 2).await, asked_for);
    all.assert_sees_the_crowd();
    rest.assert_sees_the_crowd();

    let moved = (brands.len() as i64 * BOUND_FEN) as f64;
    let alone = |target: &Target| (all.of(target) - target.others()) / moved;
    let attack = judged("membership inference", all.rho(), &targets, alone);
    println!("{attack:?}");
    assert!(!attack.exceeds_beyond_chance(), "{attack:?}");
    let both = all.rho() + rest.rho();
    let difference = |target: &Target| (all.of(target) - rest.of(target)) / moved;
    let attack = judged("differencing by predicates", both, &targets, difference);
    println!("{attack:?}");
    assert!(!attack.exceeds_beyond_chance(), "{attack:?}");

    // what bounds them is there: each answer's noise, and in the difference that of both
    let count = brands.len() as f64;
    let needed = needed_deviation(count, all.rho());
    let in_all = |target: &Target| all.of(target) - target.others() - target.if_in(moved);
    assert_noise(targets.iter().map(in_all), needed);
    let in_rest = |target: &Target| rest.of(target) - target.others();
    assert_noise(targets.iter().map(in_rest), needed_deviation(count, rest.rho()));
    let in_both = |target: &Target| in_all(target) - in_rest(target);
    let needed = needed.hypot(needed_deviation(count, rest.rho()));
    assert_noise(targets.iter().map(in_both), needed);

    // the judge objects to these nodes without their noise, or with the first answer's in the second
    let bare = |target: &Target| (all.of(target) - in_all(target) - target.others()) / moved;
    assert!(judged("without noise", all.rho(), &targets, bare).exceeds());
    let again = |target: &Target| (all.of(target) - (target.others() + in_all(target))) / moved;
    assert!(judged("the same noise again", both, &targets, again).exceeds());
    // and with their noise, where they would not clip
    let unclipped = (brands.len() as i64 * (RARE_FEN - BOUND_FEN)) as f64;
    let outlier = |target: &Target| alone(target) + target.if_in(unclipped) / moved;
    assert!(judged("without clipping", all.rho(), &targets, outlier).exceeds());
}

/// The same question before and after a brand leaves the alliance: what one brand had is the difference. An analyst
/// can choose who takes part, but in a year and under a contract no two sets that differ by fewer than three brands, and a
/// brand that is away voids a question (`query::a_brand_that_is_down_voids_the_question_and_the_cost_comes_back`), so that
/// another constitution is the way to two sets one brand apart.
///
/// Fails when the second answer has noise of the first: what would be left is the share of the brand that has gone, less
/// than half of what is needed.
#[tokio::test(flavor = "multi_thread")]
async fn differencing_by_participant_sets_tells_no_more_than_was_charged() {
    let brands = ["fresh_counter", "fuel_stop", "grocer_one", "grocer_two"];
    let (left, gone) = (&brands[..3], brands[3]);
    let targets = targets(2);
    let at_once = made_up::settings().replacen(
        "epoch = 1\n",
        "epoch = 1\nnotice_days = 0\ntrial = true\n",
        1,
    );
    let alliance = alliance_of(&brands, &at_once, &targets).await;
    let all = ask(&alliance, brands[0], SPENDING).await;

    let mut files = Files::of(&alliance);
    next(&alliance, &mut files, &[], &[gone], &brands).await;
    taken_up(&alliance, 2, left, &brands).await;
    let rest = ask(&alliance, brands[0], SPENDING).await;
    assert_eq!((all.release.participants.len(), rest.release.participants.len()), (4, 3));
    let asked_for = all.release.cost_pico_rho + rest.release.cost_pico_rho;
    assert_eq!(charged(alliance, files.later, 2).await, asked_for);
    all.assert_sees_the_crowd();
    rest.assert_sees_the_crowd();

    // who is in at all is in at the brand that has gone
    let moved = BOUND_FEN as f64;
    let both = all.rho() + rest.rho();
    let difference = |target: &Target| (all.of(target) - rest.of(target)) / moved;
    let attack = judged("differencing by participant sets", both, &targets, difference);
    println!("{attack:?}");
    assert!(!attack.exceeds_beyond_chance(), "{attack:?}");

    let needed = needed_deviation(4.0, all.rho()).hypot(needed_deviation(3.0, rest.rho()));
    let noise = |target: &Target| all.of(target) - rest.of(target) - target.if_in(moved);
    assert_noise(targets.iter().map(noise), needed);
    // the judge objects to the difference without it
    let bare = |target: &Target| difference(target) - noise(target) / moved;
    assert!(judged("without noise", both, &targets, bare).exceeds());
}

/// Sybils: at every brand, under two accounts each, everybody asks for the same in other words until all are refused,
/// and all answers are taken together.
///
/// Fails when an account lets through more than its share of its brand's quota, when a charge is less than what was
/// answered for, and when answers have noise in common: their mean would have more of it than is measured.
#[tokio::test(flavor = "multi_thread")]
async fn sybil_analysts_at_every_brand_tell_no_more_than_was_charged() {
    const POLICY: &str = "format = 0\n\
        [[analysts]]\naccount = \"desk\"\nusers = [\"ann\"]\njoint_percent = 50\nlocal_percent = 50\n\
        [[analysts]]\naccount = \"lab\"\nusers = [\"bo\"]\njoint_percent = 50\nlocal_percent = 50\n";
    let brands = ["fresh_counter", "fuel_stop", "grocer_one"];
    let targets = targets(3);
    let alliance = alliance_of(&brands, &made_up::settings(), &targets).await;
    let quota = alliance.node(brands[0]).status().budget.unwrap().quota_pico_rho;
    // a third of the quota goes once into half of it
    let once_each = brands.len() * 2;
    let mut answers = Vec::new();
    for brand in alliance.brands.clone() {
        std::fs::write(alliance.data(brand).policy(), POLICY).unwrap();
        assert!(alliance.node(brand.as_str()).read_policy().await.unwrap().file);
        for user in ["ann", "bo"] {
            let refused = loop {
                // everybody has spent more than that
                let sql = SPENDING.replace(
                    " GROUP BY",
                    &format!(" WHERE amount_fen > -{} GROUP BY", answers.len() + 1),
                );
                match ask_as(&alliance, brand.as_str(), Some(user), &sql).await {
                    Ok(answer) => answers.push(answer),
                    Err(code) => break code,
                }
                assert!(answers.len() <= once_each, "nothing is refused");
            };
            assert_eq!(refused, "over_budget");
        }
    }
    assert_eq!(answers.len(), once_each);
    let asked_for: u64 = answers.iter().map(|answer| answer.release.cost_pico_rho).sum();
    assert!(asked_for <= brands.len() as u64 * quota);
    assert_eq!(charged(alliance, Vec::new(), once_each as u64).await, asked_for);
    answers.iter().for_each(Answer::assert_sees_the_crowd);

    let (count, moved) = (answers.len() as f64, (brands.len() as i64 * BOUND_FEN) as f64);
    let rho: f64 = answers.iter().map(Answer::rho).sum();
    let mean = |target: &Target| answers.iter().map(|it| it.of(target)).sum::<f64>() / count;
    let score = |target: &Target| (mean(target) - target.others()) / moved;
    let attack = judged("Sybil analysts at every brand", rho, &targets, score);
    println!("{attack:?}");
    assert!(!attack.exceeds_beyond_chance(), "{attack:?}");

    let noise = |target: &Target| mean(target) - target.others() - target.if_in(moved);
    let needed = needed_deviation(brands.len() as f64, rho / count) / count.sqrt();
    assert_noise(targets.iter().map(noise), needed);
    // the judge objects to their mean without it
    let bare = |target: &Target| score(target) - noise(target) / moved;
    assert!(judged("without noise", rho, &targets, bare).exceeds());
}
