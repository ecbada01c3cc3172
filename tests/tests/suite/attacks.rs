//! Attacks on running nodes' clean rooms, over their own operations: what an analyst, a colluding brand or an
//! operator with a power switch could try. What answers tell of a member is measured in `membership`, what is seen
//! beside them in `probes`. Attacks by the thousand are in `simulations`.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use node::cleanroom::QueryTimes;
use node::runtime;
use node::service::QueryView;
use privacy::accounting::{Evidence, Rule};
use protocol::time::Milliseconds;

use super::alliance::{Alliance, eventually};

const ASKER: &str = "grocer_one";
const MEMBERS: &str = "SELECT count(distinct member) AS members FROM purchases";

/// Times that let a question fail while a test waits.
const fn hasty(reservation_seconds: u64) -> QueryTimes {
    QueryTimes {
        reservation: Milliseconds::from_seconds(reservation_seconds),
        opening: Milliseconds::from_seconds(2),
    }
}

async fn with_data() -> Alliance {
    let alliance = Alliance::of_the_sample().await;
    for brand in alliance.brands.clone() {
        alliance.import(brand.as_str()).await;
    }
    alliance
}

async fn restart_with(alliance: &mut Alliance, brand: &str, times: QueryTimes) {
    alliance.stop(brand).await;
    alliance.start_with(brand, times).await;
}

/// Waits for the end of a question, as a brand sees it.
pub async fn ended(alliance: &Alliance, brand: &str, id: &str) -> QueryView {
    let mut view = QueryView::default();
    eventually("the question ends", async || {
        let found = alliance.node(brand).query_by_id(id.to_owned()).await;
        view = found.unwrap_or_default();
        ["released", "void"].contains(&view.step.as_str())
    })
    .await;
    view
}

/// Plans and asks, and waits for the end.
async fn ask(alliance: &Alliance, brand: &str, sql: &str) -> Result<QueryView, String> {
    let node = alliance.node(brand);
    let plan = node.plan(sql.into()).await.map_err(|error| error.to_string())?;
    let asked = node.query(sql.into(), plan.plan).await.map_err(|error| error.code.to_owned())?;
    Ok(ended(alliance, brand, &asked.id).await)
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Errors, hints, plans, costs and expected errors are functions of the question and the contract: all brands
/// answer the same before there is any data as after. Nothing is written or spent by any of it.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_plans_are_the_same_with_and_without_data() {
    let deep =
        format!("SELECT count(*) FROM purchases WHERE {}1 = 1{}", "(".repeat(300), ")".repeat(300));
    let nested = (0..60).fold("SELECT member FROM purchases".to_owned(), |inner, at| {
        format!("SELECT member FROM ({inner}) AS t{at}")
    });
    let list: Vec<String> = (0..2_000).map(|at| format!("'D{at}'")).collect();
    let long_list =
        format!("SELECT count(*) FROM purchases WHERE department IN ({})", list.join(", "));
    let questions = [
        MEMBERS,
        "SELECT department, sum(amount_fen) FROM purchases GROUP BY department",
        "SELECT extract(month FROM purchased_on) AS m, avg(amount_fen) FROM purchases GROUP BY 1",
        "SELECT count(*) FROM purchases WHERE member = 'FS0SE5S4Z7EN'",
        "SELECT member FROM purchases",
        "SELECT * FROM purchases",
        "SELECT count(*) FROM purchases a, purchases b",
        "SELECT count(*) FROM purchases WHERE amount_fen / 0 > 1",
        "SELECT count(*) FROM purchases WHERE cast(department AS bigint) > 1",
        "SELECT count(*) FROM purchases WHERE department ~ 'G.*'",
        "SELECT count(*) FROM purchases WHERE purchased_on > now()",
        "SELECT sum(amount_fen) OVER () FROM purchases",
        "SELECT count(*) FROM purchases WHERE amount_fen > (SELECT avg(amount_fen) FROM purchases)",
        "SELECT sum(9223372036854775807 * amount_fen) FROM purchases",
        "SELECT count(*) FROM purchases WHERE amount_fen > 1e400",
        "SELECT count(*) FROM purchases LIMIT 1",
        "SELECT count(*) FROM purchases; DROP TABLE purchases",
        "COPY purchases TO '/tmp/out'",
        "",
        "\u{0}",
        deep.as_str(),
        nested.as_str(),
        long_list.as_str(),
    ];
    let alliance = Alliance::of_the_sample().await;
    let mut told = Vec::new();
    for phase in ["empty", "full"] {
        if phase == "full" {
            for brand in alliance.brands.clone() {
                alliance.import(brand.as_str()).await;
            }
        }
        let node = alliance.node(ASKER);
        let height = |node: &node::service::Node| -> u64 {
            node.status().heads.iter().map(|head| head.height).sum()
        };
        let before = (node.status().budget, height(&node));
        let mut all = Vec::new();
        for sql in questions {
            let answer = node.plan(sql.into()).await;
            all.push(
                answer
                    .map(|plan| serde_json::to_value(plan).unwrap())
                    .map_err(|error| (error.kind, error.code, error.message, error.remedy)),
            );
            // asking with a plan that was not shown is refused as well
            let refused = node.query(sql.into(), "0".repeat(64)).await.unwrap_err();
            assert!(!refused.code.is_empty());
        }
        assert_eq!((node.status().budget, height(&node)), before, "{phase}");
        told.push(all);
    }
    assert_eq!(told[0], told[1]);
    assert!(told[0][0].is_ok() && told[0][2].is_ok());
    let refused = told[0].iter().filter(|answer| answer.is_err()).count();
    assert!(refused >= 18, "{refused} of {}: {:?}", questions.len(), told[0]);
}

/// One figure of one kept opening, or the words of one kept question, altered.
fn altered_openings_are_found(alliance: &Alliance) {
    let folders = alliance.openings();
    assert_eq!(folders.len(), alliance.brands.len());
    for folder in &folders[1..] {
        fs::remove_dir_all(folder).unwrap();
    }
    let kept = files(&folders[0]);
    assert_eq!(kept.len(), 3, "{kept:?}");
    let honest = Evidence::from_bytes(&fs::read(&kept[0]).unwrap()).unwrap();
    let mut figure = honest.clone();
    figure.openings[1].1.vector[0] ^= 1;
    let mut words = honest.clone();
    words.spec.sql = words.spec.sql.replace("purchases", "purchases WHERE amount_fen > 5");
    for (altered, found) in [
        (honest, &[][..]),
        (figure, &[Rule::OpeningMismatch, Rule::ReleaseMismatch][..]),
        (words, &[Rule::QuestionMismatch][..]),
    ] {
        fs::write(&kept[0], altered.to_bytes()).unwrap();
        let report = alliance.audit(Vec::new()).unwrap().budget.unwrap();
        let rules: BTreeSet<Rule> = report.findings.iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, found.iter().copied().collect::<BTreeSet<Rule>>());
    }
    fs::write(&kept[0], b"no openings").unwrap();
    let damaged = alliance.audit(Vec::new()).unwrap_err().to_string();
    assert!(damaged.contains("not the openings of an attempt"), "{damaged}");
}

/// Averaging: the same question is one answer, at every brand; other words for it cost again, until the quota
/// refuses, and everything is on the record.
#[tokio::test(flavor = "multi_thread")]
async fn averaging_over_running_nodes_is_one_answer_and_then_a_refusal() {
    let mut alliance = with_data().await;
    let first = ask(&alliance, ASKER, MEMBERS).await.unwrap().release.unwrap();
    for brand in [ASKER, "fuel_stop", "health_home"] {
        let again = ask(&alliance, brand, MEMBERS).await.unwrap().release.unwrap();
        assert_eq!(again, first);
    }
    let mut answers = vec![first.rows[0].values[0]];
    let refused = loop {
        let least = answers.len();
        let sql = format!("{MEMBERS} WHERE amount_fen > -{least}");
        match ask(&alliance, ASKER, &sql).await {
            Ok(view) => answers.push(view.release.unwrap().rows[0].values[0]),
            Err(code) => break code,
        }
        assert!(answers.len() < 10, "nothing is refused");
    };
    assert_eq!(refused, "over_budget");
    assert_eq!(answers.len(), 3, "{answers:?}");
    assert!(answers.windows(2).any(|pair| (pair[0] - pair[1]).abs() > 1e-9), "the same noise");
    let budget = alliance.node(ASKER).status().budget.unwrap();
    assert!(budget.spent_pico_rho <= budget.quota_pico_rho);
    assert_eq!(budget.spent_pico_rho, 3 * first.cost_pico_rho);
    eventually("the logs are published", async || {
        alliance
            .audit(Vec::new())
            .is_ok_and(|report| report.budget.is_some_and(|budget| budget.attempts == 3))
    })
    .await;
    let report = alliance.audited(Vec::new()).await.budget.unwrap();
    assert_eq!(report.findings, []);
    // each answer adds up from the openings that any one brand has kept, and no other does
    assert_eq!((report.attempts, report.added_up), (3, 3));
    altered_openings_are_found(&alliance);
    // the logs have the hash of a question, never its words
    let words = b"count(distinct member)";
    let logs = alliance.brands.iter().flat_map(|brand| files(&alliance.data(*brand).log()));
    for file in logs {
        let bytes = fs::read(&file).unwrap();
        assert!(bytes.windows(words.len()).all(|part| part != words), "{}", file.display());
    }
    let charged: Vec<_> = report.accounts.iter().map(|it| format!("{it:?}")).collect();
    assert_eq!(charged.len(), 1, "{charged:?}");
}

/// One brand cannot read what it certified it would: its facts are gone. Nobody learns why; nobody opens;
/// the quota comes back and the brand books the cost itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_fails_tells_nobody_why_and_is_booked() {
    let mut alliance = with_data().await;
    // the others' hashes come in time on a busy machine as well
    restart_with(&mut alliance, ASKER, hasty(40)).await;
    let broken = alliance.brands.iter().find(|it| it.as_str() == "health_home").copied().unwrap();
    for file in fs::read_dir(alliance.data(broken).facts()).unwrap() {
        let file = file.unwrap().path();
        if file.is_file() {
            fs::write(file, b"not Parquet any more").unwrap();
        }
    }
    let view = ask(&alliance, ASKER, MEMBERS).await.unwrap();
    assert_eq!((view.step.as_str(), &view.release), ("void", &None));
    let reason = view.reason.unwrap();
    assert!(reason.starts_with("no hash in time from: health_home"), "{reason}");
    for word in ["Parquet", "file", "facts", "row"] {
        assert!(!reason.contains(word), "{reason}");
    }
    eventually("the brand has booked the failure", async || {
        let budget = alliance.node(broken.as_str()).status().budget.unwrap();
        budget.alliance_spent_pico_rho >= budget.quota_pico_rho / 4
    })
    .await;
}

/// A node that takes part, or asks, is killed while a question is under way, and started again: one answer at
/// all brands, or none at any; no finding in the logs; what is charged is at most what was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_brand_killed_at_any_time_leaves_one_answer_or_none() {
    let mut alliance = with_data().await;
    let mut released = 0;
    let cases = [
        ("fuel_stop", "grocer_two", 0),
        ("fuel_stop", "grocer_two", 120),
        ("grocer_two", "health_home", 350),
        ("grocer_two", "health_home", 700),
        ("health_home", "health_home", 200),
        ("health_home", "health_home", 1_500),
    ];
    for brand in ["fuel_stop", "grocer_two", "health_home"] {
        restart_with(&mut alliance, brand, hasty(6)).await;
    }
    for (number, (asker, killed, after)) in cases.into_iter().enumerate() {
        let sql = format!("{MEMBERS} WHERE amount_fen > -{}", number + 1);
        let node = alliance.node(asker);
        let plan = node.plan(sql.clone().into()).await.unwrap();
        let cost = plan.cost_pico_rho;
        let asked = match node.query(sql.into(), plan.plan).await {
            Ok(asked) => asked,
            // who has failed too often has nothing left that another failure could cost
            Err(refused) => {
                assert_eq!(refused.code, "over_budget", "{refused}");
                eventually("its failures are booked", async || {
                    let budgets = node.budgets(None, None).await.unwrap();
                    let own = budgets.brands.iter().find(|of| of.brand == asker).unwrap();
                    own.local.left_pico_rho.is_some_and(|left| left < cost)
                })
                .await;
                continue;
            }
        };
        drop(node);
        tokio::time::sleep(Duration::from_millis(after)).await;
        kill(&mut alliance, killed).await;
        let view = ended(&alliance, asker, &asked.id).await;
        let brands: Vec<String> = alliance.brands.iter().map(ToString::to_string).collect();
        if view.step == "released" {
            released += 1;
            for brand in &brands {
                let theirs = ended(&alliance, brand, &asked.id).await;
                assert_eq!(theirs.release, view.release, "{brand}, case {number}");
            }
        } else {
            for brand in &brands {
                let node = alliance.node(brand);
                let theirs = node.query_by_id(asked.id.clone()).await.unwrap_or_default();
                assert_eq!(theirs.release, None, "{brand}, case {number}");
            }
        }
    }
    println!("{released} of {} questions were answered", cases.len());
    let report = alliance.audited(Vec::new()).await.budget.unwrap();
    assert_eq!(report.findings, []);
}

/// The node's loop is dropped where it is, without a word to anyone, and started from its disk.
async fn kill(alliance: &mut Alliance, brand: &str) {
    let place = alliance.brands.iter().position(|known| known.as_str() == brand).unwrap();
    let running = alliance.nodes[place].take().unwrap();
    running.runtime.abort();
    let _ = running.runtime.await;
    drop(running.network);
    drop(running.node);
    let data = alliance.data(alliance.brands[place]);
    // a reading that is under way holds the store for a moment, and the aborted network its address
    let mut started = None;
    eventually("the killed node starts again", async || {
        started = runtime::start_with(&data, hasty(6)).await.ok();
        started.is_some()
    })
    .await;
    alliance.nodes[place] = started;
}
