//! Nodes that speak other ranges of wire versions than their peers, as while brands are updated one after another.
//!
//! Messages have one form as yet, whatever version they go under: what is tried here is that running nodes find the
//! version that both speak, say nothing in any other, and tell their operators when there is none.

use node::service::Status;
use protocol::wire::Versions;

use super::alliance::{Alliance, eventually};
use super::succession::{exchange, link};

const SENDER: &str = "fresh_counter";
const RECEIVER: &str = "fuel_stop";
/// Whose node speaks other versions than the rest.
const OTHER: &str = "grocer_one";
/// Of five brands four are a quorum: without this one, everybody's vote is needed.
const AWAY: &str = "health_home";

fn versions(least: u16, most: u16) -> Versions {
    Versions::new(least, most).unwrap()
}

/// What a node tells its operator of a peer's versions.
fn told(status: &Status, peer: &str) -> Option<String> {
    let begins = format!("{peer} speaks versions ");
    status.alerts.iter().find(|alert| alert.starts_with(&begins)).cloned()
}

fn is_connected(status: &Status, peer: &str) -> bool {
    status.heads.iter().any(|head| head.brand == peer && head.connected)
}

fn heights(status: &Status) -> Vec<u64> {
    status.heads.iter().map(|head| head.height).collect()
}

async fn restart_speaking(alliance: &mut Alliance, brand: &str, speaks: Versions) {
    alliance.stop(brand).await;
    alliance.start_speaking(brand, speaks).await;
}

/// Five nodes, and the card of a member of one brand that is linked to another.
async fn linked() -> (Alliance, String) {
    let alliance = Alliance::of_the_sample().await;
    for brand in [SENDER, RECEIVER] {
        alliance.import(brand).await;
    }
    let card = link(&alliance, SENDER, RECEIVER).await;
    (alliance, card)
}

#[tokio::test(flavor = "multi_thread")]
async fn brands_are_updated_one_after_another_and_go_on_meanwhile() {
    let (mut alliance, card) = linked().await;
    alliance.stop(AWAY).await;
    // the first that are updated speak version 1 with each other and 0 with the others, whose votes they need
    for brand in [SENDER, RECEIVER] {
        restart_speaking(&mut alliance, brand, versions(0, 1)).await;
        exchange(&alliance, SENDER, RECEIVER, &card).await;
    }
    // when all have been, one may leave version 0 behind: its vote comes in version 1 or not at all
    for brand in [OTHER, "grocer_two"] {
        restart_speaking(&mut alliance, brand, versions(0, 1)).await;
    }
    restart_speaking(&mut alliance, OTHER, versions(1, 2)).await;
    exchange(&alliance, SENDER, RECEIVER, &card).await;
    for brand in [SENDER, RECEIVER, OTHER, "grocer_two"] {
        let status = alliance.node(brand).status();
        let peers = alliance.brands.iter().filter_map(|peer| told(&status, peer.as_str()));
        assert_eq!(peers.collect::<Vec<_>>(), Vec::<String>::new(), "{brand}");
    }
    let report = alliance.audited(Vec::new()).await;
    assert!(report.is_clean(), "{:?}", report.ledger.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_common_version_is_told_of_and_the_others_go_on() {
    let (mut alliance, card) = linked().await;
    let rest = [SENDER, RECEIVER, "grocer_two", AWAY];
    restart_speaking(&mut alliance, OTHER, versions(1, 2)).await;
    eventually("both sides are told", async || {
        let alone = alliance.node(OTHER).status();
        rest.iter().all(|brand| {
            let status = alliance.node(brand).status();
            told(&status, OTHER).is_some() && told(&alone, brand).is_some()
        })
    })
    .await;

    // which versions, and what to do, in both languages; and the brand counts as not connected
    let status = alliance.node(SENDER).status();
    let words = told(&status, OTHER).unwrap();
    for part in [
        "grocer_one speaks versions 1 to 2 of the wire, this node 0 to 0",
        "until one of the two is updated",
        "grocer_one 使用的通信协议版本为 1 至 2，本节点为 0 至 0",
    ] {
        assert!(words.contains(part), "{words}");
    }
    assert!(!is_connected(&status, OTHER) && is_connected(&status, RECEIVER));

    // four of five go on; the fifth is acknowledged by nobody, signs nothing and learns nothing
    let before = heights(&alliance.node(OTHER).status());
    exchange(&alliance, SENDER, RECEIVER, &card).await;
    let alone = alliance.node(OTHER).status();
    assert!(alone.alerts.iter().any(|alert| alert.starts_with("starting: ")), "{:?}", alone.alerts);
    assert!(rest.iter().all(|brand| !is_connected(&alone, brand)));
    assert_eq!(heights(&alone), before);
    assert_ne!(heights(&alliance.node(SENDER).status()), before);

    // updated to what the others speak too, it has all of it, and nobody is told of anything any more
    restart_speaking(&mut alliance, OTHER, versions(0, 1)).await;
    eventually("it has what it missed", async || {
        let (one, other) = (alliance.node(SENDER).status(), alliance.node(OTHER).status());
        heights(&one) == heights(&other) && told(&one, OTHER).is_none() && other.alerts.is_empty()
    })
    .await;
    let report = alliance.audited(Vec::new()).await;
    assert!(report.is_clean(), "{:?}", report.ledger.findings);
}
