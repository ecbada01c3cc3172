//! One brand floods the others; what the others do among themselves goes on.

use std::time::{Duration, Instant};

use alliance_config::{Constitution, Host};
use node::net::{Inbox, Limits, Network, NetworkConfig, NetworkHandle, Peer};
use node::service::{ExchangeRequest, Node};
use node::telemetry::Counters;
use protocol::crypto::Signed;
use protocol::crypto::sealed::{KeyRing, SealingSecret};
use protocol::ids::{BrandId, Height, StatementHash};
use protocol::ledger::{Archive, Context, Ledger, LedgerKeys};
use protocol::log::block::{PublicEntry, StatementEntry};
use protocol::recovery::held::Recall;
use protocol::time::Timestamp;
use protocol::witness::build::OwnBlock;
use protocol::witness::message::{CatchUp, Message};
use protocol::witness::start::Acknowledgement;
use protocol::witness::state::Outbox;
use protocol::witness::statement::UnverifiedCertificate;
use protocol::witness::writer::Entropy;

use super::alliance::{Alliance, eventually};

const EVIL: &str = "health_home";

/// How long an exchange takes until the other brand has answered it.
async fn exchange(sender: &Node, key: &str, card: &str) -> Duration {
    let request = ExchangeRequest { card: card.into(), to: "fuel_stop".into(), points: 4 };
    let begun = Instant::now();
    let mut id = String::new();
    eventually("an exchange is taken", async || {
        let taken = sender.exchange(key.into(), request.clone()).await;
        taken.map(|view| id = view.id).is_ok()
    })
    .await;
    eventually("it is acknowledged", async || {
        sender.exchange_by_id(id.clone()).await.unwrap().state == "acknowledged"
    })
    .await;
    begun.elapsed()
}

/// A network under a brand's own key, at its own address, for a peer made by hand in the place of its node.
pub async fn network_of(
    alliance: &Alliance,
    constitution: &Constitution,
    brand: BrandId,
) -> (NetworkHandle, Inbox) {
    let data = alliance.data(brand);
    let (settings, _) = data.settings().unwrap();
    let others = constitution.profiles().filter(|(other, _)| *other != brand);
    let peers = others.map(|(brand, profile)| {
        let Host::Ip(ip) = profile.libp2p.host() else { panic!("the sample is on loopback") };
        let keys = &constitution.ledger().brand(brand).unwrap().keys;
        let address = (*ip, profile.libp2p.port()).into();
        Peer { brand, public_key: *keys.network.as_bytes(), address }
    });
    let config = NetworkConfig {
        identity_seed: node::keys::read(&data.keys()).unwrap().network(),
        listen: settings.listen,
        peers: peers.collect(),
        limits: Limits::default(),
        counters: Counters::default(),
    };
    Network::start(config).await.unwrap()
}

/// The network of the hostile brand, once its node has stopped.
async fn hostile(alliance: &mut Alliance, constitution: &Constitution) -> NetworkHandle {
    let evil = BrandId::new(EVIL).unwrap();
    let place = alliance.brands.iter().position(|brand| *brand == evil).unwrap();
    let running = alliance.nodes[place].take().unwrap();
    running.node.stop().await.unwrap();
    drop(running.network);
    running.runtime.await.unwrap().unwrap();
    let (handle, mut inbox) = network_of(alliance, constitution, evil).await;
    // it reads, so that nobody is held up by it
    tokio::spawn(async move { while inbox.recv().await.is_some() {} });
    handle
}

/// What it seals need not be secret.
struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

struct NoArchive;

impl Archive for NoArchive {
    fn block(&self, _: Height) -> Option<(OwnBlock, UnverifiedCertificate)> {
        None
    }
}

fn keys_of(alliance: &Alliance, brand: BrandId) -> LedgerKeys {
    // nothing is sealed to it
    let sealing = KeyRing::new(SealingSecret::derive(&[1; 32]).0).unwrap();
    node::keys::read(&alliance.data(brand).keys()).unwrap().ledger(sealing).unwrap()
}

/// Proposals as an honest writer would sign them, and its start.
fn proposals(
    alliance: &Alliance,
    constitution: &Constitution,
) -> (Vec<(BrandId, Vec<u8>)>, Message) {
    let evil = BrandId::new(EVIL).unwrap();
    let keys = keys_of(alliance, evil);
    let mut ledger = Ledger::new(evil, constitution.ledger().clone(), keys);
    let statement = StatementHash::from_bytes([1; 32]);
    let cut_off = Timestamp::from_unix_ms(1);
    ledger.submit_public(PublicEntry::Statement(StatementEntry { cut_off, statement })).unwrap();
    let mut out = Outbox::default();
    let mut entropy = NoEntropy;
    let now = Timestamp::from_unix_ms(alliance.node("fuel_stop").status().now_ms);
    let mut context = Context { now, entropy: &mut entropy, archive: &NoArchive };
    ledger.resume(&mut context, &mut out);
    let start = out.messages.iter().find_map(|(_, message)| match message {
        Message::Start(start) => Some(start.clone()),
        _ => None,
    });
    let start = start.unwrap();
    // a liar's own node believes what it is told
    for other in constitution.ledger().committee().witnesses(evil) {
        let answer = Acknowledgement {
            brand: evil,
            start: start.body,
            started: None,
            said: Vec::new(),
            logs: Vec::new(),
        };
        let signed = Signed::sign(other, answer, &keys_of(alliance, other).voting.vote);
        let message = Message::Acknowledgement(Box::new(signed));
        ledger.handle(other, message, &mut context, &mut out).unwrap();
    }
    let proposals =
        out.messages.into_iter().filter(|(_, message)| matches!(message, Message::Proposal(_)));
    let messages: Vec<_> = proposals.map(|(to, message)| (to, message.into_bytes())).collect();
    assert!(!messages.is_empty());
    (messages, Message::Start(start))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brand_that_floods_does_not_stop_the_others() {
    let mut alliance = Alliance::of_the_sample().await;
    alliance.import("fresh_counter").await;
    alliance.import("fuel_stop").await;
    let toml = std::fs::read(alliance.folder.path().join("c.toml")).unwrap();
    let constitution = Constitution::parse(&toml).unwrap();
    let (sender, receiver) = (alliance.node("fresh_counter"), alliance.node("fuel_stop"));
    let card = sender.cards(100, None, 1).await.unwrap().remove(0);
    let there = receiver.cards(0, None, 1).await.unwrap().remove(0);
    let code = receiver.link_code(there, "fresh_counter".into()).await.unwrap().code;
    sender.link(card.clone(), "fuel_stop".into(), code).await.unwrap();
    exchange(&sender, "first", &card).await;
    let mut quiet = Duration::ZERO;
    for number in 0..3 {
        quiet = quiet.max(exchange(&sender, &format!("quiet{number}"), &card).await);
    }

    let network = hostile(&mut alliance, &constitution).await;
    eventually("the hostile node is let in", async || network.connected().len() == 4).await;
    let (proposals, start) = proposals(&alliance, &constitution);
    let each = |make: &dyn Fn(BrandId) -> Vec<u8>| -> Vec<(BrandId, Vec<u8>)> {
        network.connected().into_iter().map(|to| (to, make(to))).collect()
    };
    let asking = |to| Message::CatchUp(CatchUp { log: to, from: Height::new(1) }).into_bytes();
    let start = start.into_bytes();
    // what they hold of a log that has blocks, of which they keep fragments
    let log = BrandId::new("fresh_counter").unwrap();
    let recall = Message::Recall(Recall { log, from: Height::new(1), block: None }).into_bytes();
    // the flood's sender takes a share of the same two cores
    let most = 10 * quiet + Duration::from_secs(10);
    // whatever else runs on the machine may hold an exchange up once, or twice: a flood that does, does each time
    let mut again = 2;
    for (kind, messages) in [
        ("small garbage", each(&|_| vec![0xa5; 200])),
        ("large garbage", each(&|_| vec![0xa5; 4 << 20])),
        ("proposals", proposals),
        ("requests for the past", each(&asking)),
        ("requests for what is held of others", each(&|_| recall.clone())),
        // each is answered with a signature, and with what is known of every log
        ("starts", each(&|_| start.clone())),
    ] {
        let floods: Vec<_> = messages
            .into_iter()
            .map(|(to, bytes)| {
                let network = network.clone();
                tokio::spawn(async move {
                    let bytes = node::net::Bytes::from(bytes);
                    let mut sent = 0_u64;
                    loop {
                        match network.send_when_possible(to, bytes.clone()).await {
                            Ok(()) => sent += 1,
                            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                        }
                        if sent.is_multiple_of(64) {
                            tokio::task::yield_now().await;
                        }
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let slowest = loop {
            let mut slowest = Duration::ZERO;
            for number in 0..3 {
                let key = format!("{}{again}-{number}", kind.replace(' ', "-"));
                slowest = slowest.max(exchange(&sender, &key, &card).await);
            }
            if slowest < most || again == 0 {
                break slowest;
            }
            again -= 1;
        };
        floods.iter().for_each(tokio::task::JoinHandle::abort);
        println!("{kind}: {slowest:?} instead of {quiet:?}");
        assert!(slowest < most, "{kind}: {slowest:?} after {quiet:?}");
        // what is still on its way is done with before the next kind begins
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    network.shut_down().await;
}
