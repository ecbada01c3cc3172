//! A node whose disk is put back to an older state while a joint question is under way: nothing is read or charged a
//! second time, nothing that was charged is forgotten, and the brand takes part again.

use std::path::{Path, PathBuf};

use node::backup;
use node::cleanroom::QueryTimes;
use node::service::{BackupRequest, ErrorKind};
use protocol::time::Milliseconds;

use super::alliance::{Alliance, eventually};
use super::attacks::ended;

const ASKER: &str = "grocer_one";
const OTHER: &str = "grocer_two";
/// Its disk is put back.
const RESTORED: &str = "fuel_stop";
/// Is away for a while, so that questions stand still.
const AWAY: &str = "health_home";

fn counting(number: u32) -> String {
    format!("SELECT count(distinct member) AS members FROM purchases WHERE amount_fen > -{number}")
}

const fn lasting(seconds: u64) -> QueryTimes {
    QueryTimes {
        reservation: Milliseconds::from_seconds(seconds),
        opening: Milliseconds::from_seconds(60),
    }
}

/// Plans and asks; the question's id and cost.
async fn ask(alliance: &Alliance, brand: &str, sql: &str) -> (String, u64) {
    let node = alliance.node(brand);
    let plan = node.plan(sql.into()).await.unwrap();
    assert_eq!(plan.participants.len(), 5);
    (node.query(sql.into(), plan.plan).await.unwrap().id, plan.cost_pico_rho)
}

/// Whether so many entries of the clean room are in the published logs.
fn has_published(alliance: &Alliance, entries: u64) -> bool {
    let report = alliance.audit(Vec::new()).ok().and_then(|report| report.budget);
    report.is_some_and(|budget| budget.entries >= entries)
}

async fn published(alliance: &Alliance, entries: u64) {
    let what = "the entries are published";
    eventually(what, async || has_published(alliance, entries)).await;
}

async fn back_up(alliance: &Alliance, name: &str) -> PathBuf {
    let folder = alliance.folder.path().join(name);
    let node = alliance.node(RESTORED);
    node.back_up(BackupRequest { folder: folder.display().to_string() }).await.unwrap();
    eventually("the backup is complete", async || {
        let view = node.backup_progress().await.unwrap();
        assert_eq!(view.failed, None);
        view.done
    })
    .await;
    folder
}

/// The disk goes, and a backup comes in its place; the node starts as restored.
async fn put_back(alliance: &mut Alliance, backup: &Path, old: &str) {
    alliance.stop(RESTORED).await;
    let brand = alliance.brands.iter().find(|it| it.as_str() == RESTORED).copied().unwrap();
    let (data, old) = (alliance.data(brand), alliance.folder.path().join(old));
    std::fs::rename(data.path(), &old).unwrap();
    backup::restore(backup, &data, &old).unwrap();
    alliance.start_restored(RESTORED).await;
}

/// The same answer at all brands.
async fn is_answered(alliance: &Alliance, id: &str) {
    let release = ended(alliance, ASKER, id).await.release.expect("a release");
    for brand in &alliance.brands {
        let theirs = ended(alliance, brand.as_str(), id).await;
        assert_eq!(theirs.release.as_ref(), Some(&release), "{brand}");
    }
}

/// A node that hears of nobody cannot know whether its disk was put back: what it certified of a question might stand
/// beyond a quota that is spent. It asks when it has heard.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_before_the_node_has_heard_what_its_log_has_charged() {
    let mut alliance = Alliance::of_the_sample().await;
    let brands: Vec<String> = alliance.brands.iter().map(ToString::to_string).collect();
    for brand in &brands {
        alliance.stop(brand).await;
    }
    alliance.start(ASKER).await;
    let node = alliance.node(ASKER);
    let sql = counting(5);
    let plan = node.plan(sql.as_str().into()).await.unwrap();
    let refused = node.query(sql.as_str().into(), plan.plan.clone()).await.unwrap_err();
    assert_eq!((refused.kind, refused.code), (ErrorKind::Unavailable, "own_log_unknown"));
    let budget = node.status().budget.unwrap();
    assert_eq!((budget.spent_pico_rho, budget.reserved_pico_rho), (0, 0));
    for brand in brands.iter().filter(|brand| *brand != ASKER) {
        alliance.start(brand).await;
    }
    let mut asked = String::new();
    eventually("it is asked", async || {
        let view = node.query(sql.as_str().into(), plan.plan.clone()).await;
        asked = view.map_or_else(|_| String::new(), |view| view.id);
        !asked.is_empty()
    })
    .await;
    is_answered(&alliance, &asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_put_back_amid_a_joint_question_reads_and_charges_nothing_twice() {
    let mut alliance = Alliance::of_the_sample().await;
    let before = back_up(&alliance, "before").await;
    alliance.stop(ASKER).await;
    alliance.start_with(ASKER, lasting(300)).await;

    // a backup amid the question: the brand has reserved, with the secret of its masks, and read nothing
    alliance.stop(AWAY).await;
    let (first, cost) = ask(&alliance, ASKER, &counting(1)).await;
    published(&alliance, 5).await;
    let amid = back_up(&alliance, "amid").await;
    alliance.start(AWAY).await;
    is_answered(&alliance, &first).await;
    // a reservation; five of the participants, as many hashes and as many releases
    published(&alliance, 16).await;
    put_back(&mut alliance, &amid, "old0").await;
    eventually("it knows what became of the question", async || {
        let view = alliance.node(RESTORED).query_by_id(first.clone()).await.unwrap_or_default();
        let reason = view.reason.unwrap_or_default();
        view.release.is_none() && reason.starts_with("it was answered, and the answer is lost here")
    })
    .await;
    let (second, _) = ask(&alliance, ASKER, &counting(2)).await;
    is_answered(&alliance, &second).await;
    published(&alliance, 32).await;
    eventually("it votes again", async || {
        let alerts = alliance.node(RESTORED).status().alerts;
        !alerts.iter().any(|alert| alert.contains("was restored"))
    })
    .await;
    let budget = alliance.node(ASKER).status().budget.unwrap();
    assert_eq!((budget.spent_pico_rho, budget.alliance_spent_pico_rho), (2 * cost, 2 * cost));

    // put back to before the question was asked: its secret is gone, and with it its part in the question
    alliance.stop(ASKER).await;
    // so long that nobody begins to read when it is nearly over: what is read too late is booked
    alliance.start_with(ASKER, lasting(75)).await;
    alliance.stop(AWAY).await;
    let (third, _) = ask(&alliance, ASKER, &counting(3)).await;
    eventually("it takes part, or it is too late for that", async || {
        let view = alliance.node(ASKER).query_by_id(third.clone()).await.unwrap();
        view.step == "void" || has_published(&alliance, 37)
    })
    .await;
    put_back(&mut alliance, &before, "old1").await;
    // as long as it cannot know what it has spent, it spends nothing
    let node = alliance.node(RESTORED);
    let sql = counting(4);
    let plan = node.plan(sql.as_str().into()).await.unwrap();
    let refused = node.query(sql.as_str().into(), plan.plan).await.unwrap_err();
    assert_eq!((refused.kind, refused.code), (ErrorKind::Unavailable, "own_log_unknown"));
    drop(node);
    alliance.start(AWAY).await;

    let void = ended(&alliance, ASKER, &third).await;
    assert_eq!((void.step.as_str(), &void.release), ("void", &None));
    assert!(void.reason.as_deref().is_some_and(|it| it.contains("in time")), "{:?}", void.reason);
    eventually("it knows of the question again, and that it is void", async || {
        let view = alliance.node(RESTORED).query_by_id(third.clone()).await;
        view.is_ok_and(|view| view.step == "void" && view.release.is_none())
    })
    .await;
    // a closing has every brand write a block after the expiry
    let asker = alliance.node(ASKER);
    asker.close(asker.status().now_ms - 1).await.unwrap();
    eventually("the cost is back, and no other", async || {
        asker.status().budget.unwrap().spent_pico_rho == 2 * cost
    })
    .await;
    drop(asker);

    // and it takes part again
    let (fourth, _) = ask(&alliance, OTHER, &sql).await;
    is_answered(&alliance, &fourth).await;
    let report = alliance.audited(Vec::new()).await;
    assert!(report.is_clean(), "{:?} {:?}", report.ledger.findings, report.budget);
    let budget = report.budget.unwrap();
    assert_eq!((budget.attempts, budget.added_up), (4, 3));
    // each question on its asker's account, and nothing anywhere for a reading that failed
    let charged: Vec<(&str, &str, u64)> = budget
        .accounts
        .iter()
        .map(|it| (it.brand.as_str(), it.account, it.charged_pico_rho))
        .collect();
    assert_eq!(charged, [(ASKER, "joint", 2 * cost), (OTHER, "joint", cost)]);
}
