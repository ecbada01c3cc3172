//! One constitution after another among running nodes: a brand rotates its keys, one joins, one leaves.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use alliance_config::{Constitution, Introduction, SETTINGS_TEMPLATE, Signatures, draft_next};
use node::auth::Role;
use node::service::{Asker, ConsentRequest, DraftRequest, ExchangeRequest};
use node::setup;
use protocol::epochs::adoption::Stance;
use protocol::ids::{BrandId, Epoch};

use super::alliance::{Alliance, eventually};

const FOUNDERS: [&str; 4] = ["fresh_counter", "fuel_stop", "grocer_one", "grocer_two"];
const NEWCOMER: &str = "health_home";
const LEAVES: &str = "grocer_two";

/// Idempotency keys.
static KEYS: AtomicU64 = AtomicU64::new(0);

/// The constitutions so far, as files.
pub struct Files {
    first: (PathBuf, PathBuf),
    pub later: Vec<PathBuf>,
}

impl Files {
    /// Those of an alliance under its first constitution.
    pub fn of(alliance: &Alliance) -> Self {
        let path = |name: &str| alliance.folder.path().join(name);
        Self { first: (path("c.toml"), path("c.signatures")), later: Vec::new() }
    }

    fn newest(&self) -> String {
        fs::read_to_string(self.later.last().unwrap_or(&self.first.0)).unwrap()
    }
}

/// Drafts the next constitution; these running brands take its file, and all but the first adopt it: a
/// quorum of four as of five.
pub async fn next(
    alliance: &Alliance,
    files: &mut Files,
    introductions: &[Introduction],
    leaving: &[&str],
    running: &[&str],
) -> (PathBuf, PathBuf) {
    let leaving: Vec<BrandId> = leaving.iter().map(|id| BrandId::new(id).unwrap()).collect();
    let toml = draft_next(files.newest().as_bytes(), introductions, &leaving).unwrap();
    let epoch = files.later.len() + 2;
    let joining: Vec<BrandId> = introductions
        .iter()
        .map(Introduction::id)
        .filter(|id| !running.contains(&id.as_str()))
        .collect();
    let (path, signatures) = alliance.signed(&format!("c{epoch}"), &toml, &joining);
    for (place, brand) in running.iter().enumerate() {
        let data = alliance.data(BrandId::new(brand).unwrap());
        let stance = (place > 0).then_some(Stance::Adopted);
        setup::take(&data, &path, Some(&signatures), stance).unwrap();
        alliance.node(brand).read_constitutions().await.unwrap();
    }
    files.later.push(path.clone());
    (path, signatures)
}

/// Until each of these nodes sees each of these logs under the constitution of this epoch.
pub async fn taken_up(alliance: &Alliance, epoch: u32, nodes: &[&str], logs: &[&str]) {
    eventually(&format!("all at {epoch}"), async || {
        for node in nodes {
            let views = alliance.node(node).constitutions().await.unwrap();
            let view = views.iter().find(|view| view.epoch == epoch);
            let all = |of: &Vec<String>| logs.iter().all(|log| of.iter().any(|it| it == log));
            if !view.is_some_and(|view| all(&view.taken_up)) {
                return false;
            }
        }
        true
    })
    .await;
}

/// Links a member of one brand to one of another; gives the card of the first.
pub async fn link(alliance: &Alliance, from: &str, to: &str) -> String {
    let (sender, receiver) = (alliance.node(from), alliance.node(to));
    let card = sender.cards(100, None, 1).await.unwrap().remove(0);
    let there = receiver.cards(0, None, 1).await.unwrap().remove(0);
    let code = receiver.link_code(there, from.into()).await.unwrap().code;
    sender.link(card.clone(), to.into(), code).await.unwrap();
    eventually("the link is accepted", async || {
        let links = sender.member(card.clone()).await.unwrap().links;
        links.iter().any(|link| link.brand == to && link.state == "linked")
    })
    .await;
    card
}

/// An exchange of ten points; waits until the other brand has acknowledged it.
pub async fn exchange(alliance: &Alliance, from: &str, to: &str, card: &str) {
    let sender = alliance.node(from);
    let request = ExchangeRequest { card: card.into(), to: to.into(), points: 10 };
    let key = KEYS.fetch_add(1, Ordering::Relaxed).to_string();
    let taken = sender.exchange(key, request).await.unwrap();
    eventually(&format!("{from} -> {to} is acknowledged"), async || {
        sender.exchange_by_id(taken.id.clone()).await.unwrap().state == "acknowledged"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brands_rotate_keys_join_and_leave_while_the_nodes_run() {
    let settings = SETTINGS_TEMPLATE.replace("# notice_days = 30", "notice_days = 0\ntrial = true");
    let mut alliance = Alliance::of(&FOUNDERS, &settings).await;
    let mut files = Files::of(&alliance);
    for brand in ["fresh_counter", "fuel_stop", LEAVES] {
        alliance.import(brand).await;
    }
    let [a, b, _, d] = FOUNDERS;
    let card = link(&alliance, a, b).await;
    exchange(&alliance, a, b, &card).await;
    let gone = link(&alliance, d, a).await;
    exchange(&alliance, d, a, &gone).await;

    // fuel_stop rotates its signing keys; they are made once, however often one asks
    let present = Constitution::parse(files.newest().as_bytes()).unwrap();
    let data = alliance.data(BrandId::new(b).unwrap());
    let made = setup::next_keys(&data, &present, false).unwrap();
    let again = setup::next_keys(&data, &present, false).unwrap();
    assert!(made.made && !again.made && made.introduction == again.introduction);
    let rotated = Introduction::parse(made.introduction.as_bytes()).unwrap();
    let before = present.ledger().brand(rotated.id()).unwrap().keys.clone();
    assert!(rotated.keys().log != before.log && rotated.keys().network == before.network);
    next(&alliance, &mut files, &[rotated], &[], &FOUNDERS).await;
    taken_up(&alliance, 2, &FOUNDERS, &FOUNDERS).await;
    exchange(&alliance, a, b, &card).await;

    // health_home joins: it has all constitutions, and starts before the others have let it in
    let introduction = alliance.make(NEWCOMER);
    let (path, signatures) = next(&alliance, &mut files, &[introduction], &[], &FOUNDERS).await;
    let data = alliance.data(BrandId::new(NEWCOMER).unwrap());
    setup::take(&data, &files.first.0, Some(&files.first.1), None).unwrap();
    setup::take(&data, &files.later[0], None, None).unwrap();
    setup::take(&data, &path, Some(&signatures), None).unwrap();
    alliance.start(NEWCOMER).await;
    let five = [&FOUNDERS[..], &[NEWCOMER]].concat();
    taken_up(&alliance, 3, &five, &FOUNDERS).await;
    eventually("five nodes know each other", async || {
        five.iter().all(|brand| {
            let status = alliance.node(brand).status();
            status.epoch == 3 && status.heads.iter().filter(|head| head.connected).count() == 5
        })
    })
    .await;
    alliance.import(NEWCOMER).await;
    // who consented to the founders has not to a brand that came later, until asked
    let there = alliance.node(a).cards(100, None, 1).await.unwrap().remove(0);
    let code = {
        let newcomer = alliance.node(NEWCOMER);
        let card = newcomer.cards(0, None, 1).await.unwrap().remove(0);
        newcomer.link_code(card, a.into()).await.unwrap().code
    };
    let refused = alliance.node(a).link(there.clone(), NEWCOMER.into(), code).await.unwrap_err();
    assert_eq!(refused.code, "consent_missing");
    let consent = ConsentRequest {
        purpose: "exchange".into(),
        granted: true,
        notice_version: 1,
        receiver: Some(NEWCOMER.into()),
        ..ConsentRequest::default()
    };
    alliance.node(a).decide("ann", there, consent).await.unwrap();
    let there = link(&alliance, a, NEWCOMER).await;
    exchange(&alliance, a, NEWCOMER, &there).await;
    let back = link(&alliance, NEWCOMER, b).await;
    exchange(&alliance, NEWCOMER, b, &back).await;
    // it knows the logs from where they took up the constitution that it joined with
    let heads = |brand: &str| {
        let heads = alliance.node(brand).status().heads;
        heads.into_iter().map(|head| (head.brand, head.size, head.root)).collect::<Vec<_>>()
    };
    eventually("the newcomer is where the others are", async || heads(NEWCOMER) == heads(a)).await;

    // grocer_two leaves: its log is closed, and what it owed or was owed stays on record
    next(&alliance, &mut files, &[], &[LEAVES], &five).await;
    let rest: Vec<&str> = five.iter().copied().filter(|brand| *brand != LEAVES).collect();
    taken_up(&alliance, 4, &rest, &five).await;
    let refused = alliance
        .node(a)
        .exchange(
            "too late".into(),
            ExchangeRequest { card: card.clone(), to: LEAVES.into(), points: 10 },
        )
        .await;
    assert!(refused.is_err(), "{refused:?}");
    alliance.stop(LEAVES).await;
    exchange(&alliance, a, NEWCOMER, &there).await;

    // what is on disk is enough to go on, with rotated keys and for who joined
    for brand in [b, NEWCOMER] {
        alliance.restart(brand).await;
    }
    exchange(&alliance, NEWCOMER, b, &back).await;
    exchange(&alliance, a, b, &card).await;

    let report = alliance.audited(files.later).await;
    assert!(report.is_clean(), "{}", serde_json::to_string_pretty(&report).unwrap());
    assert_eq!(report.ledger.epoch, Epoch::new(4));
}

/// The way of the console's page: a draft is uploaded at running nodes, read, signed, adopted by a quorum, taken up.
#[tokio::test(flavor = "multi_thread")]
async fn a_draft_that_was_uploaded_is_signed_and_adopted_on_running_nodes() {
    let settings = SETTINGS_TEMPLATE.replace("# notice_days = 30", "notice_days = 0\ntrial = true");
    let mut alliance = Alliance::of(&FOUNDERS, &settings).await;
    let first = fs::read_to_string(alliance.folder.path().join("c.toml")).unwrap();
    let newcomer = alliance.make(NEWCOMER);
    let id = newcomer.id();
    let constitution = draft_next(first.as_bytes(), &[newcomer], &[]).unwrap();
    let (_, signature) = alliance.signed("newcomer", &constitution, &[id]);
    let signature = fs::read_to_string(signature).unwrap();
    let ops = Asker { user: "ops".to_owned(), roles: vec![Role::Administrator] };
    let upload = DraftRequest { constitution, signatures: None };
    let mut hash = String::new();
    for brand in FOUNDERS {
        let node = alliance.node(brand);
        let draft = node.keep_draft(upload.clone()).await.unwrap();
        assert_eq!((draft.state.as_str(), draft.needed, draft.has_own_keys), ("unsigned", 3, true));
        let joins = draft.changes.iter().find(|it| it.topic == "brands").unwrap();
        assert!(joins.words.en.starts_with("health_home: joins"), "{joins:?}");
        assert!(joins.words.zh.starts_with("health_home：加入联盟"), "{joins:?}");
        hash = draft.hash;
        // not before who joins has signed
        let early = node.decide_draft(&ops, hash.clone(), true).await.unwrap_err();
        assert_eq!(early.code, "draft_signatures");
        let signed = node.add_draft_signatures(hash.clone(), signature.clone()).await.unwrap();
        assert_eq!(signed.state, "ready");
        let signed = node.sign_draft(&ops, hash.clone()).await.unwrap();
        assert!(signed.brand(brand).unwrap().signed && signed.signed() == 2);
    }
    // each hands its signature on, and the files give all of them
    let collector = alliance.node(FOUNDERS[0]);
    for brand in &FOUNDERS[1..] {
        let files = alliance.node(brand).draft_files(hash.clone()).await.unwrap();
        collector.add_draft_signatures(hash.clone(), files.signatures).await.unwrap();
    }
    let files = collector.draft_files(hash.clone()).await.unwrap();
    let all = Signatures::parse(files.signatures.as_bytes()).unwrap();
    assert_eq!(all.brands().count(), 5);
    assert_eq!(files.constitution, upload.constitution, "its very bytes");

    for brand in &FOUNDERS[1..] {
        let decided = alliance.node(brand).decide_draft(&ops, hash.clone(), true).await.unwrap();
        assert_eq!(decided.brand(brand).unwrap().stance.as_deref(), Some("adopted"));
        if *brand == FOUNDERS[1] {
            // as long as there is no quorum: afterwards it is over
            let again = alliance.node(brand).decide_draft(&ops, hash.clone(), false).await;
            assert_eq!(again.unwrap_err().code, "draft_decided");
        }
    }
    // the first brand has not decided, and holds the file all the same once it takes it
    let data = alliance.data(BrandId::new(FOUNDERS[0]).unwrap());
    let path = |extension: &str| data.drafts().join(&hash).with_extension(extension);
    setup::take(&data, &path("toml"), Some(&path("signatures")), None).unwrap();
    collector.read_constitutions().await.unwrap();
    taken_up(&alliance, 2, &FOUNDERS, &FOUNDERS).await;
    let log = collector.operations(0, 1000).await.unwrap();
    let done: Vec<&str> =
        log.iter().filter(|it| it.deed == "constitution").map(|it| it.what.as_str()).collect();
    assert_eq!(done, [format!("draft {hash} of constitution 2 signed")]);
    let passed = collector.decide_draft(&ops, hash, true).await.unwrap_err();
    assert_eq!(passed.code, "draft_passed");
}

/// Another contract is taken up by running nodes: the next question is planned under it, is answered, and
/// what was spent before stays spent.
#[tokio::test(flavor = "multi_thread")]
async fn a_joint_question_goes_by_the_contract_that_running_nodes_have_taken_up() {
    const ACTIVE: &str = "SELECT count(distinct member) AS active FROM purchases";
    let settings = alliance_config::sample_alliance::SETTINGS;
    let settings =
        settings.replacen("epoch = 1\n", "epoch = 1\nnotice_days = 0\ntrial = true\n", 1);
    let ids = alliance_config::sample::BRANDS.map(|brand| brand.id);
    let mut alliance = Alliance::of(&ids, &settings).await;
    for brand in ids {
        alliance.import(brand).await;
    }
    let asker = alliance.node(ids[0]);
    let ask = async || {
        let plan = asker.plan(ACTIVE.into()).await.unwrap();
        let asked = asker.query(ACTIVE.into(), plan.plan.clone()).await.unwrap();
        let mut step = String::new();
        eventually("the question ends", async || {
            step = asker.query_by_id(asked.id.clone()).await.unwrap().step;
            ["released", "void"].contains(&step.as_str())
        })
        .await;
        assert_eq!(step, "released");
        (plan.plan, asker.status().budget.unwrap().spent_pico_rho)
    };
    let (first, spent) = ask().await;

    let path = |name: &str| alliance.folder.path().join(name);
    let toml = fs::read_to_string(path("c.toml")).unwrap();
    let toml = draft_next(toml.as_bytes(), &[], &[]).unwrap();
    let changed = toml.replacen("members_at_most = 1000000", "members_at_most = 900000", 1);
    assert_ne!(changed, toml);
    let (next, _) = alliance.signed("c2", &changed, &[]);
    for brand in &alliance.brands {
        let adopted = Some(Stance::Adopted);
        setup::take(&alliance.data(*brand), &next, None, adopted).unwrap();
        alliance.node(brand.as_str()).read_constitutions().await.unwrap();
    }
    taken_up(&alliance, 2, &ids, &ids).await;
    let (second, after) = ask().await;
    assert_ne!(first, second);
    assert!(after >= 2 * spent && spent > 0, "{spent} {after}");

    // each charge is judged by the contract that its log was under, and the year by both
    drop(asker);
    let report = alliance.audited(vec![next]).await;
    assert!(report.is_clean(), "{}", serde_json::to_string_pretty(&report).unwrap());
    let budget = report.budget.unwrap();
    let charged: Vec<u64> = budget.years.iter().map(|year| year.charged_pico_rho).collect();
    assert_eq!(charged.iter().sum::<u64>(), after);
    assert!(budget.years.iter().all(|year| year.promised_pico_rho == 150_000_000_000));
    // without the second, what was charged under it is found
    let alone = alliance.audit(Vec::new()).unwrap().budget.unwrap();
    assert!(!alone.findings.is_empty());
}
