//! What an analyst of running nodes sees beside an answer: plans, costs, refusals, steps, how long a reading takes, and
//! everything of an answer but its noised figures. Asked about what a member has bought, and in the same words about
//! what nobody has, none of it may tell which is which.

use std::time::{Duration, Instant};

use node::service::{ErrorKind, Node, PlanView, Question, Scope, ServiceError};
use serde_json::Value;

use super::alliance::Alliance;
use super::attacks::ended;
use super::made_up::{self, Line};

const BRANDS: [&str; 3] = ["grocer_one", "fresh_counter", "fuel_stop"];
/// What the targets' purchases cost: so much, and one fen more each time. Nobody else has spent as much at once.
const HELD_FEN: i64 = 5_001;
/// What nobody has spent.
const ABSENT_FEN: i64 = 6_001;
/// Questions of either kind.
const PAIRS: i64 = 18;
/// How many of them one member has made: a contract counts ten lines of a member at most.
const LINES_OF_ONE: i64 = 6;
/// What each costs, pico-rho: little enough for all of them, at one brand.
const COST: u64 = 100_000_000;

/// A reading is told of at this time after its begin, or at twice, four times … this time: `node::cleanroom::read`.
const FIRST_BUCKET: Duration = Duration::from_millis(250);
/// Between a bucket and what is seen of it, on a machine that answers at once.
const MOMENT: Duration = Duration::from_millis(50);

/// How long one question may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Steps by their scope: the second is that in which the data are read.
const LOCAL_STEPS: [&str; 4] = ["charging", "reading", "releasing", "released"];
const JOINT_STEPS: [&str; 4] = ["reserving", "committing", "opening", "released"];

fn about(fen: i64) -> String {
    format!(
        "SELECT department, count(*) AS lines FROM purchases WHERE amount_fen = {fen} GROUP BY department"
    )
}

/// The targets have bought eighteen times at the first brand, once what no contract names; others have bought everywhere.
async fn with_a_target() -> Alliance {
    let alliance = Alliance::of(&BRANDS, &made_up::settings()).await;
    for (place, brand) in BRANDS.iter().enumerate() {
        let others = (0..40).map(|number: usize| Line {
            card: format!("M{number}"),
            department: made_up::department(number % 7),
            month: number % made_up::MONTHS,
            fen: 100,
        });
        let target = (0..PAIRS).map(|number| Line {
            card: match number / LINES_OF_ONE {
                0 => "TARGET".to_owned(),
                another => format!("TARGET{another}"),
            },
            department: if number == 0 { "ELIXIR".to_owned() } else { made_up::department(0) },
            month: 0,
            fen: HELD_FEN + number,
        });
        let lines: Vec<Line> = others.chain(target.filter(|_| place == 0)).collect();
        made_up::import(&alliance, brand, &lines).await;
    }
    alliance
}

/// What an analyst sees of one question.
struct Seen {
    id: String,
    plan: PlanView,
    /// The whole view of the ended question, without what is noised and what is this question's alone.
    shape: Value,
    /// The reading took longer than the first and less than the second.
    least: Duration,
    most: Duration,
    /// The longest that the node took to say how far the question is: so late may anything have been seen.
    slowest: Duration,
}

impl Seen {
    /// Whether the reading can have ended on a bucket, and have been seen to soon after.
    fn is_on_a_bucket(&self) -> bool {
        let soon = MOMENT + self.slowest * 4;
        let mut buckets = (0..10_u32).map(|doubled| FIRST_BUCKET * (1_u32 << doubled));
        buckets.any(|bucket| bucket <= self.most && self.least <= bucket + soon)
    }
}

/// Asks, and looks at the question as often as it can until it is answered.
async fn watched(node: &Node, question: Question, steps: [&str; 4]) -> Seen {
    let plan = node.plan(question.clone()).await.unwrap();
    // the reading began after the first and before the second, and ended likewise
    let began = Instant::now();
    let (mut begun_after, mut begun_by) = (began, None);
    let (mut ended_after, mut ended_by) = (None, None);
    let asked = node.query(question, plan.plan.clone()).await.unwrap();
    let (mut slowest, mut last) = (Duration::ZERO, 0);
    let view = loop {
        let sent = Instant::now();
        let view = node.query_by_id(asked.id.clone()).await.unwrap();
        let received = Instant::now();
        slowest = slowest.max(received - sent);
        let step = steps.iter().position(|step| *step == view.step);
        let step = step.unwrap_or_else(|| panic!("{}: {:?}", view.step, view.reason));
        assert!(step >= last, "{} after {}", view.step, steps[last]);
        last = step;
        match step {
            0 => begun_after = sent,
            1 => {
                begun_by = begun_by.or(Some(received));
                ended_after = Some(sent);
            }
            _ => ended_by = ended_by.or(Some(received)),
        }
        if step == steps.len() - 1 {
            break view;
        }
        assert!(began.elapsed() < PATIENCE, "still at {}", view.step);
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let least = ended_after.zip(begun_by);
    let least =
        least.map(|(ended, begun): (Instant, Instant)| ended.saturating_duration_since(begun));
    let most = ended_by.map(|ended: Instant| ended - begun_after);
    Seen {
        id: asked.id,
        plan,
        shape: shape(&view),
        least: least.unwrap_or_default(),
        most: most.unwrap_or_default(),
        slowest,
    }
}

/// A plan without the question's own words and hash, and without what is left, which falls with every question.
fn same_for_all(plan: PlanView) -> PlanView {
    PlanView { plan: String::new(), sql: String::new(), left_after_pico_rho: 0, ..plan }
}

/// What is left of a view when noised figures, what is judged by them, ids and hashes are taken out: all that could tell,
/// and how long it is.
fn shape(view: &impl serde::Serialize) -> Value {
    let mut value = serde_json::to_value(view).unwrap();
    // the question's own words, and when it was asked
    for asked in ["sql", "asked_ms"] {
        if let Some(said) = value.get_mut(asked) {
            *said = Value::Null;
        }
    }
    take_out(&mut value, "");
    value
}

fn take_out(value: &mut Value, field: &str) {
    let is_noised = ["values", "low", "high"].contains(&field);
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(name, it)| take_out(it, name)),
        Value::Array(all) => all.iter_mut().for_each(|it| take_out(it, field)),
        Value::Number(_) if is_noised => *value = Value::Null,
        Value::String(text) if field == "quality" || is_hash(text) => text.clear(),
        _ => {}
    }
}

fn is_hash(text: &str) -> bool {
    text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// In how many pairs, one of each, the one of the one kind took longer than that of the other; of the kind for which
/// they are fewer. It is 0 when a time between them tells all from one another.
fn mingled(held: &[Seen], absent: &[Seen]) -> usize {
    let pairs = held.iter().flat_map(|one| absent.iter().map(move |other| (one, other)));
    let longer = pairs.filter(|(one, other)| one.most > other.most).count();
    longer.min(held.len() * absent.len() - longer)
}

/// Fails when a reading is told of as soon as it is done (`read::run` without its last sleep): it takes less than the first
/// bucket then, or on a slow machine any time, most of which are off the buckets. Fails when a question about what is
/// there is answered later than one about what is not, whatever for: by chance they lie so far apart once in two
/// thousand million runs. And fails when rows, cells, statement, warnings or cost of an answer depend on the data.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_seen_beside_an_answer_does_not_tell_whether_a_value_is_there() {
    let alliance = with_a_target().await;
    let node = alliance.node(BRANDS[0]);
    let (mut held, mut absent) = (Vec::new(), Vec::new());
    let mut left = Vec::new();
    for pair in 0..PAIRS {
        // the first of two is now the one and now the other
        for is_held in [pair % 2 == 0, pair % 2 != 0] {
            let first = if is_held { HELD_FEN } else { ABSENT_FEN };
            let question = Question {
                sql: about(first + pair),
                scope: Some(Scope::Local),
                pico_rho: Some(COST),
                ..Question::default()
            };
            let seen = watched(&node, question, LOCAL_STEPS).await;
            left.push(seen.plan.left_after_pico_rho);
            if is_held { held.push(seen) } else { absent.push(seen) }
        }
    }
    // each costs the same, and nothing else does
    assert!(left.windows(2).all(|two| two[0] - two[1] == COST), "{left:?}");
    for seen in held.iter().chain(&absent) {
        let first = &held[0];
        assert_eq!(same_for_all(seen.plan.clone()), same_for_all(first.plan.clone()));
        assert_eq!(seen.shape, first.shape);
        assert_eq!(seen.plan.cost_pico_rho, COST);
    }
    let rows = held[0].shape["release"]["rows"].as_array().unwrap().len();
    // of those that the contract does not name together one
    assert_eq!(rows, made_up::DEPARTMENTS + 1);

    let all: Vec<&Seen> = held.iter().chain(&absent).collect();
    for seen in &all {
        println!("{:?} to {:?}, polls of {:?} at most", seen.least, seen.most, seen.slowest);
        assert!(seen.most >= FIRST_BUCKET, "told before its bucket: {:?}", seen.most);
    }
    let on_buckets = all.iter().filter(|seen| seen.is_on_a_bucket()).count();
    assert!(on_buckets * 2 >= all.len(), "{on_buckets} of {} are on a bucket", all.len());
    let mingled = mingled(&held, &absent);
    assert!(mingled > 1, "their times tell them from one another: {mingled}");

    // all brands together likewise, as each of them sees it
    let joint = async |fen: i64| {
        let seen = watched(&node, about(fen).into(), JOINT_STEPS).await;
        assert!(seen.most >= FIRST_BUCKET, "told before its bucket: {:?}", seen.most);
        let mut shapes = vec![seen.shape];
        for brand in &BRANDS[1..] {
            shapes.push(shape(&ended(&alliance, brand, &seen.id).await));
        }
        (same_for_all(seen.plan), shapes)
    };
    assert_eq!(joint(HELD_FEN).await, joint(ABSENT_FEN).await);
}

/// As it is told, with the literal that differs taken out.
fn told<T>(
    answer: Result<T, ServiceError>,
    literal: &str,
) -> Result<T, (ErrorKind, &'static str, String, String)> {
    // names of columns may be told in small letters
    let small = literal.to_lowercase();
    let without = |text: &str| text.replace(literal, "@").replace(&small, "@");
    answer.map_err(|it| (it.kind, it.code, without(&it.message), without(&it.remedy)))
}

/// Questions that name what is in the data, and the same with what is in nobody's. Fails when a refusal, a plan or a cost
/// looks at data: at a member's card, at what departments or amounts there are, at what an account has bought.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_do_not_tell_whether_a_value_or_a_member_is_there() {
    let alliance = with_a_target().await;
    let node = alliance.node(BRANDS[0]);
    let (held, absent) = (HELD_FEN.to_string(), ABSENT_FEN.to_string());
    let amounts = (held.as_str(), absent.as_str());
    let cases = [
        // a member by its card
        ("SELECT count(*) FROM purchases WHERE member = '@'", ("TARGET", "NOBODY")),
        ("SELECT count(*) FROM purchases WHERE member IN ('@')", ("TARGET", "NOBODY")),
        ("SELECT department AS @, count(*) FROM purchases GROUP BY 1", ("TARGET", "NOBODY")),
        // what no contract names, and one member has bought
        ("SELECT count(*) FROM purchases WHERE department = '@'", ("ELIXIR", "POTION")),
        ("SELECT count(*) FROM purchases WHERE department LIKE '@%'", ("ELIXIR", "POTION")),
        ("SELECT sum(@) FROM purchases", ("ELIXIR", "POTION")),
        // an amount that one member alone has spent
        ("SELECT member FROM purchases WHERE amount_fen = @", amounts),
        ("SELECT count(*) FROM purchases WHERE @ / amount_fen = 1", amounts),
        (
            "SELECT count(*) FROM purchases WHERE amount_fen = \
             (SELECT max(amount_fen) FROM purchases WHERE amount_fen <= @)",
            amounts,
        ),
        ("SELECT sum(amount_fen) OVER () FROM purchases WHERE amount_fen = @", amounts),
        ("SELECT count(*) FROM purchases WHERE amount_fen = @ LIMIT 1", amounts),
        // and what is answered
        ("SELECT count(*) FROM purchases WHERE amount_fen = @", amounts),
        ("SELECT count(distinct member) FROM purchases WHERE amount_fen > @", amounts),
    ];
    let mut refused = 0;
    for (sql, (held, absent)) in cases {
        for scope in [Scope::Joint, Scope::Local] {
            let question = |literal: &str, pico_rho: Option<u64>| Question {
                sql: sql.replace("@", literal),
                scope: Some(scope),
                pico_rho,
                ..Question::default()
            };
            let planned = async |literal: &str, pico_rho: Option<u64>| {
                let plan = node.plan(question(literal, pico_rho)).await.map(same_for_all);
                told(plan, literal)
            };
            let plan = planned(held, None).await;
            assert_eq!(plan, planned(absent, None).await, "{sql}");
            refused += usize::from(plan.is_err());
            // at too little, and at more than there is
            for pico_rho in [1, 1_000_000_000_000] {
                let plan = planned(held, Some(pico_rho)).await;
                assert!(plan.is_err(), "{sql}");
                assert_eq!(plan, planned(absent, Some(pico_rho)).await, "{sql}");
            }
            // with a plan that was not shown
            let unseen = async |literal: &str| {
                told(node.query(question(literal, None), "0".repeat(64)).await, literal)
            };
            let answer = unseen(held).await;
            assert!(answer.is_err(), "{sql}");
            assert_eq!(answer, unseen(absent).await, "{sql}");
        }
    }
    assert!(refused >= 14 && refused + 4 <= 2 * cases.len(), "{refused} are refused");

    // the account empty: the same words again
    let quota = node.plan(at_all_of_it(HELD_FEN, 1_000_000_000)).await.unwrap();
    let quota = quota.left_after_pico_rho + quota.cost_pico_rho;
    let spent = at_all_of_it(1, quota);
    let seen = watched(&node, spent, LOCAL_STEPS).await;
    assert_eq!(seen.plan.left_after_pico_rho, 0);
    let over = async |fen: i64| {
        let plan = node.plan(at_all_of_it(fen, quota)).await.unwrap();
        told(node.query(at_all_of_it(fen, quota), plan.plan).await, &fen.to_string())
    };
    let answer = over(HELD_FEN).await;
    assert_eq!(answer.as_ref().unwrap_err().1, "over_budget");
    assert_eq!(answer, over(ABSENT_FEN).await);
}

/// A local question at so much.
fn at_all_of_it(fen: i64, pico_rho: u64) -> Question {
    Question {
        sql: about(fen),
        scope: Some(Scope::Local),
        pico_rho: Some(pico_rho),
        ..Question::default()
    }
}
