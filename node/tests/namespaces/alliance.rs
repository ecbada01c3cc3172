//! An alliance whose nodes are processes of the real binary, each in a network namespace of its own, with books
//! of what was asked of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use node::cli::CliError;
use node::cli::bench::{Alliance, POINTS, Places, Plan, SETTINGS, card};
use node::cli::process::{NodeProcess, Program};
use node::client::{Client, ClientError};
use node::config::DataDirectory;
use node::http::Readiness;
use node::service::{ExchangeRequest, ExchangeView, MemberView, Status};
use protocol::ids::BrandId;
use tempfile::TempDir;

use super::network;
use super::relay::Relay;

/// Members of each brand.
const MEMBERS: u32 = 4;
/// How long something may take that nothing stands in the way of; a busy machine takes its time.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// One exchange that a node has taken.
#[derive(Debug, Clone)]
pub struct Asked {
    pub from: u8,
    pub key: String,
    pub request: ExchangeRequest,
    pub view: ExchangeView,
}

pub struct Separated {
    alliance: Alliance,
    pub folder: TempDir,
    pub relay: Relay,
    pub nodes: BTreeMap<u8, NodeProcess>,
    ids: BTreeMap<u8, BrandId>,
    data: BTreeMap<u8, DataDirectory>,
    asked: Vec<Asked>,
}

impl Separated {
    /// Brands 1 to `brands`, made and not started.
    pub async fn make(brands: u8) -> Self {
        let plan = Plan { brands, members: MEMBERS, snapshot_mib: 0, served: true };
        let places = |number| {
            Ok(Places {
                listen: network::own(number, network::PORT),
                found: network::found(number),
                https: network::own(number, network::HTTPS_PORT),
            })
        };
        let alliance = Alliance::make_at(plan, SETTINGS, places).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (mut nodes, mut ids, mut data) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut listeners = Vec::new();
        for (number, (id, directory)) in (1..).zip(alliance.data()) {
            network::add_node(number);
            let program = network::program(folder.path(), number, super::super::BINARY);
            nodes.insert(number, NodeProcess::new(id, directory.clone(), Program::at(program)));
            ids.insert(number, id);
            data.insert(number, directory);
            let own = network::own(number, network::PORT);
            listeners.push((number, network::found(number), own));
        }
        let relay = Relay::start(&listeners, network::node_of).await;
        Self { alliance, folder, relay, nodes, ids, data, asked: Vec::new() }
    }

    /// The same, all running and connected.
    pub async fn running(brands: u8) -> Self {
        let mut made = Self::make(brands).await;
        made.start_all().await;
        made
    }

    /// Stops a node and starts it with a clock that is so many seconds off.
    pub async fn restart_with_clock(&mut self, number: u8, seconds: i64) {
        self.stop(number).await;
        network::set_clock(self.folder.path(), number, seconds);
        self.start(number).await;
        let all = self.numbers();
        self.connected(&all).await;
    }

    pub async fn start_all(&mut self) {
        for node in self.nodes.values_mut() {
            node.start().unwrap();
        }
        for number in self.numbers() {
            self.answers(number).await;
        }
        let all: Vec<u8> = self.numbers();
        self.connected(&all).await;
    }

    pub fn numbers(&self) -> Vec<u8> {
        self.nodes.keys().copied().collect()
    }

    pub fn data(&self, number: u8) -> &DataDirectory {
        &self.data[&number]
    }

    pub fn brand(&self, number: u8) -> String {
        self.ids[&number].to_string()
    }

    pub fn client(&self, number: u8) -> Client {
        self.nodes[&number].client().unwrap()
    }

    pub async fn answers(&mut self, number: u8) {
        let log = self.data[&number].path().join("node.log");
        let node = self.nodes.get_mut(&number).unwrap();
        if let Err(error) = node.answers().await {
            panic!("{number}: {error}\n{}", std::fs::read_to_string(log).unwrap_or_default());
        }
    }

    /// Makes another client of a node, whose certificate is another now.
    pub async fn connect_anew(&mut self, number: u8) -> Result<(), CliError> {
        self.nodes.get_mut(&number).unwrap().connect_anew().await
    }

    /// Starts a node that does not run, and waits until it answers.
    pub async fn start(&mut self, number: u8) {
        self.nodes.get_mut(&number).unwrap().start().unwrap();
        self.answers(number).await;
    }

    /// Starts a node that cannot; gives what it says.
    pub async fn start_fails(&mut self, number: u8) -> String {
        let node = self.nodes.get_mut(&number).unwrap();
        node.start().unwrap();
        node.answers().await.unwrap_err().to_string()
    }

    pub fn has_ended(&mut self, number: u8) -> bool {
        self.nodes.get_mut(&number).unwrap().ended().is_some()
    }

    /// Stops a node as its operator would.
    pub async fn stop(&mut self, number: u8) {
        let node = self.nodes.get_mut(&number).unwrap();
        node.tell_to_stop();
        node.stopped().await;
    }

    pub async fn status(&self, number: u8) -> Status {
        self.client(number).get("/api/v1/status").await.unwrap()
    }

    pub async fn readiness(&self, number: u8) -> Readiness {
        let answer = self
            .client(number)
            .send(node::client::Method::GET, "/readyz", &[], None)
            .await
            .unwrap();
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Waits until these nodes are all connected to each other.
    pub async fn connected(&self, group: &[u8]) {
        eventually("the nodes find each other", async || {
            for number in group {
                let heads = self.status(*number).await.heads;
                let there = |other: &u8| {
                    heads.iter().any(|it| it.brand == self.brand(*other) && it.connected)
                };
                if !group.iter().all(there) {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// Asks a node for an exchange by the member of a number; the node takes it.
    pub async fn exchange(&mut self, from: u8, to: u8, member: u32, points: u64) -> usize {
        match self.try_exchange(from, to, member, points).await {
            Ok(place) => place,
            Err(error) => panic!("{from} does not take an exchange: {error}"),
        }
    }

    /// The same, where the node may refuse.
    pub async fn try_exchange(
        &mut self,
        from: u8,
        to: u8,
        member: u32,
        points: u64,
    ) -> Result<usize, ClientError> {
        let request = ExchangeRequest { card: card(member), to: self.brand(to), points };
        let key = self.next_key();
        let view = self.ask(from, &key, &request).await?;
        self.asked.push(Asked { from, key, request, view });
        Ok(self.asked.len() - 1)
    }

    /// The key under which the next exchange is asked for, also after one that was not taken.
    pub fn next_key(&self) -> String {
        format!("asked-{}", self.asked.len())
    }

    pub async fn ask(
        &self,
        from: u8,
        key: &str,
        request: &ExchangeRequest,
    ) -> Result<ExchangeView, ClientError> {
        let key = [("idempotency-key", key)];
        self.client(from).post("/api/v1/exchanges", &key, request).await
    }

    /// Enters one that the node has taken without saying so: by asking again with the same key.
    pub async fn insist(&mut self, from: u8, key: &str, request: ExchangeRequest) -> usize {
        let view = self.ask(from, key, &request).await.unwrap();
        self.asked.push(Asked { from, key: key.to_owned(), request, view });
        self.asked.len() - 1
    }

    pub async fn state(&self, place: usize) -> String {
        let asked = &self.asked[place];
        let path = format!("/api/v1/exchanges/{}", asked.view.id);
        let view: ExchangeView = self.client(asked.from).get(&path).await.unwrap();
        view.state
    }

    /// Waits until these exchanges are acknowledged; gives how long that took.
    pub async fn acknowledged(&self, places: &[usize]) -> Duration {
        let began = Instant::now();
        for place in places {
            eventually("the exchange is acknowledged", async || {
                self.state(*place).await == "acknowledged"
            })
            .await;
        }
        began.elapsed()
    }

    /// Waits until every exchange is acknowledged, asks a last time with every key, and holds every account
    /// against what was asked.
    pub async fn nothing_is_lost_or_there_twice(&self) {
        let all: Vec<usize> = (0..self.asked.len()).collect();
        self.acknowledged(&all).await;
        let mut expected = BTreeMap::new();
        for number in self.numbers() {
            expected.extend((0..MEMBERS).map(|member| ((number, card(member)), POINTS)));
        }
        for asked in &self.asked {
            let again = self.ask(asked.from, &asked.key, &asked.request).await.unwrap();
            assert_eq!(again.id, asked.view.id, "the key stands for what it stood for");
            let ExchangeRequest { card, to, points } = &asked.request;
            let to = self.numbers().into_iter().find(|number| self.brand(*number) == *to).unwrap();
            *expected.get_mut(&(asked.from, card.clone())).unwrap() -= points;
            *expected.get_mut(&(to, card.clone())).unwrap() += asked.view.points_received;
        }
        for ((number, card), points) in expected {
            let path = format!("/api/v1/members/{card}");
            let member: MemberView = self.client(number).get(&path).await.unwrap();
            assert_eq!(member.available + member.held, points, "{card} at {number}");
        }
    }

    /// Stops every node; the offline audit finds every exchange and nothing else.
    pub async fn end(mut self) {
        self.nothing_is_lost_or_there_twice().await;
        for number in self.numbers() {
            self.stop(number).await;
        }
        let (logs, alliance): (PathBuf, Alliance) = self.alliance.stop().await.unwrap();
        let (findings, payloads) = alliance.audit(logs).unwrap();
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!(payloads, self.asked.len() as u64);
    }
}

/// Waits until something is so.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
