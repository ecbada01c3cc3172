//! A node whose disk is lost: rebuilt from what the others hold, with a backup of its vault and without.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use node::cli::rebuild::{RebuildArguments, run};
use node::service::{ExchangeRequest, Node, Status};

use super::alliance::{Alliance, eventually};

fn request(card: &str, to: &str, points: u64) -> ExchangeRequest {
    ExchangeRequest { card: card.into(), to: to.into(), points }
}

/// Links a member of one brand to one of another, and gives both cards.
async fn link(alliance: &Alliance, from: &str, to: &str) -> (String, String) {
    let (sender, receiver) = (alliance.node(from), alliance.node(to));
    let card = sender.cards(100, None, 1).await.unwrap().remove(0);
    let there = receiver.cards(0, None, 1).await.unwrap().remove(0);
    let code = receiver.link_code(there.clone(), from.into()).await.unwrap().code;
    sender.link(card.clone(), to.into(), code).await.unwrap();
    eventually("the link is accepted", async || {
        let links = sender.member(card.clone()).await.unwrap().links;
        links.iter().any(|link| link.brand == to && link.state == "linked")
    })
    .await;
    (card, there)
}

async fn exchange(node: &Node, key: &str, request: ExchangeRequest) {
    let made = node.exchange(key.into(), request).await.unwrap();
    eventually("the exchange is acknowledged", async || {
        node.exchange_by_id(made.id.clone()).await.unwrap().state == "acknowledged"
    })
    .await;
}

/// Every file under a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            let inner = files(&path).into_iter();
            found.extend(inner.map(|(rest, bytes)| (format!("{name}/{rest}"), bytes)));
        } else {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

/// What the logs determine of a brand's books.
#[derive(Debug, PartialEq)]
struct Determined {
    owed: Vec<(String, u64)>,
    residues: Vec<(String, u64)>,
    acknowledged: u64,
    returned: u64,
    credited: u64,
    sent_back: u64,
}

fn determined(status: &Status) -> Determined {
    let owed = status.exposures.iter().map(|it| (it.brand.clone(), it.owed_micro_fen));
    let residues = status.residues.iter().map(|it| (it.brand.clone(), it.micro_fen));
    let counts = &status.exchanges;
    Determined {
        owed: owed.collect(),
        residues: residues.filter(|(_, micro_fen)| *micro_fen > 0).collect(),
        acknowledged: counts.acknowledged,
        returned: counts.returned,
        credited: counts.credited,
        sent_back: counts.sent_back,
    }
}

/// Waits until every node has the same statement of a cut-off; says what each has when that takes too long.
async fn agreed(alliance: &Alliance, cut_off: u64) {
    for _ in 0..1_800 {
        let mut states = Vec::new();
        for brand in &alliance.brands {
            let view = alliance.node(brand.as_str()).statement(cut_off).await;
            states.push(view.map(|view| view.state).unwrap_or_default());
        }
        // where nothing is to be paid, it is discharged at once
        if states.iter().all(|state| state == "agreed" || state == "discharged") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    for brand in &alliance.brands {
        let node = alliance.node(brand.as_str());
        let view = node.statement(cut_off).await;
        let status = node.status();
        let heads: Vec<_> = status.heads.iter().map(|it| (&it.brand, it.height)).collect();
        eprintln!("{brand}: {view:?} {heads:?} {:?}", status.alerts);
    }
    panic!("not agreed within three minutes");
}

/// Loses a brand's disk but for what is named, rebuilds it and starts it.
async fn lose_and_rebuild(alliance: &mut Alliance, brand: &str, keeps: &[&str]) {
    // a block whose certificate nobody else has is brought back by its lock, but only once the node runs;
    // the desk says within some seconds of the last operation how far its log has come
    let mut quiet = (0, std::time::Instant::now());
    eventually("everybody has the last block, and no other comes", async || {
        let running = alliance.nodes.iter().flatten();
        let heights = running.filter_map(|running| {
            let heads = running.node.status().heads;
            heads.into_iter().find(|head| head.brand == brand).map(|head| head.height)
        });
        let heights: std::collections::BTreeSet<u64> = heights.collect();
        let height = heights.first().copied().unwrap_or_default();
        if heights.len() != 1 || height != quiet.0 {
            quiet = (height, std::time::Instant::now());
        }
        heights.len() == 1 && quiet.1.elapsed() >= std::time::Duration::from_secs(8)
    })
    .await;
    let before = alliance.node(brand).status();
    alliance.stop(brand).await;
    let place = alliance.brands.iter().position(|known| known.as_str() == brand).unwrap();
    let data = alliance.data(alliance.brands[place]);
    let log = files(&data.log());
    for entry in fs::read_dir(data.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let kept = name == "keys" || name.starts_with("constitution");
        match (kept || keeps.contains(&name.as_str()), path.is_dir()) {
            (true, _) => {}
            (false, true) => fs::remove_dir_all(path).unwrap(),
            (false, false) => fs::remove_file(path).unwrap(),
        }
    }
    // the recovery key was taken offline, and is brought
    let offline = alliance.folder.path().join(format!("{brand}.recovery"));
    fs::rename(data.keys().join("recovery-key"), &offline).unwrap();
    let arguments = RebuildArguments {
        data: data.path().to_path_buf(),
        recovery_keys: vec![offline],
        copies: Vec::new(),
        archive: None,
        listen_libp2p: None,
        listen_https: None,
        patience: 180,
    };
    run(&arguments).await.unwrap();
    // again it is refused: the node is to be started
    let again = run(&arguments).await.unwrap_err().to_string();
    assert!(again.contains("coalition run"), "{again}");

    let rebuilt = files(&data.log());
    let tiles = |log: &BTreeMap<String, Vec<u8>>, partial_too: bool| {
        let is_tile = |name: &str| name.starts_with("tile/") || name == "certificates";
        let full =
            log.iter().filter(|(name, _)| is_tile(name) && (partial_too || !name.contains(".p/")));
        full.map(|(name, bytes)| (name.clone(), bytes.clone())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(tiles(&rebuilt, false), tiles(&log, false), "byte for byte");
    // partial tiles are those of the sizes that were shown: fewer when all of it is published at once
    for (name, bytes) in tiles(&rebuilt, true) {
        assert_eq!(log.get(&name), Some(&bytes), "{name}");
    }
    // the checkpoint's text too; cosignatures are asked for again
    let text = |log: &BTreeMap<String, Vec<u8>>| {
        let note = String::from_utf8(log["checkpoint"].clone()).unwrap();
        note.split("\n\n").next().unwrap().to_owned()
    };
    assert_eq!(text(&rebuilt), text(&log));

    alliance.start(brand).await;
    let node = alliance.node(brand);
    let wanted = determined(&before);
    eventually("the node knows again what the logs determine", async || {
        determined(&node.status()) == wanted
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_node_is_rebuilt_from_fragments_and_goes_on() {
    let mut alliance = Alliance::of_the_sample().await;
    for brand in ["fresh_counter", "fuel_stop"] {
        alliance.import(brand).await;
    }
    let (card, there) = link(&alliance, "fresh_counter", "fuel_stop").await;
    let (back, _) = link(&alliance, "fuel_stop", "fresh_counter").await;
    for round in 0..3 {
        let (one, other) = (alliance.node("fresh_counter"), alliance.node("fuel_stop"));
        exchange(&one, &format!("a{round}"), request(&card, "fuel_stop", 10 + round)).await;
        exchange(&other, &format!("b{round}"), request(&back, "fresh_counter", 20 + round)).await;
    }
    let node = alliance.node("fresh_counter");
    let member = node.member(card.clone()).await.unwrap();
    let received = alliance.node("fuel_stop").member(there.clone()).await.unwrap();

    // its vault comes back from a backup: every account is as it was
    lose_and_rebuild(&mut alliance, "fresh_counter", &["store", "facts"]).await;
    let node = alliance.node("fresh_counter");
    eventually("the member's points are back", async || {
        node.member(card.clone()).await.unwrap() == member
    })
    .await;
    assert_eq!(alliance.node("fuel_stop").member(there.clone()).await.unwrap(), received);
    // what was asked for before is not done twice
    let known = node.exchange("a0".into(), request(&card, "fuel_stop", 10)).await.unwrap();
    assert_eq!(known.state, "acknowledged");
    exchange(&node, "a9", request(&card, "fuel_stop", 7)).await;

    // of five brands one may fail: the first is through when every log has gone on by two blocks
    for _ in 0..2 {
        let cut_off = node.status().now_ms - 1;
        // each by its own operator: nobody follows another twice a day
        for brand in &alliance.brands {
            alliance.node(brand.as_str()).close(cut_off).await.unwrap();
        }
        agreed(&alliance, cut_off).await;
    }
    eventually("the first is restored", async || node.status().alerts.is_empty()).await;

    // and one without a backup: the log is whole, the members are not known, and new ones exchange
    lose_and_rebuild(&mut alliance, "fuel_stop", &[]).await;
    alliance.import("fuel_stop").await;
    let (back, _) = link(&alliance, "fuel_stop", "fresh_counter").await;
    exchange(&alliance.node("fuel_stop"), "b9", request(&back, "fresh_counter", 5)).await;

    // nobody finds anything: no fork, no loss, nothing twice
    let node = alliance.node("fuel_stop");
    eventually("it is told of nothing but that it was restored", async || {
        node.status().alerts.iter().all(|alert| alert.contains("was restored"))
    })
    .await;
    drop(node);
    let report = alliance.audited(Vec::new()).await;
    assert!(report.is_clean(), "{:?}", report.ledger.findings);
    assert!(report.ledger.counts.payloads >= 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_says_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = RebuildArguments {
        data: folder.path().join("nothing"),
        recovery_keys: Vec::new(),
        copies: Vec::new(),
        archive: None,
        listen_libp2p: None,
        listen_https: None,
        patience: 1,
    };
    let missing = run(&arguments).await.unwrap_err().to_string();
    assert!(missing.contains("keys"), "{missing}");
    fs::create_dir_all(arguments.data.join("keys")).unwrap();
    let missing = run(&arguments).await.unwrap_err().to_string();
    assert!(missing.contains("coalition constitution take"), "{missing}");
}
