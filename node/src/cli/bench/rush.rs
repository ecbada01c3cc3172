//! `coalition bench rush`: everybody wants the same thing at once, and a shop sells meanwhile.
//!
//! A node of an alliance of two runs as a process and is asked over HTTPS by many clients. There is a reward of which so many
//! pieces are in stock, and a coupon of which as many can be claimed; each member asks for one of each, and whoever gets
//! one has it handed over or redeemed at a till. Every fourth step is left after a few milliseconds without waiting for the
//! answer and asked again under its idempotency key, as by a till on a bad line. What counts: who was served of those for
//! whom there was something, that no more went out than there was, that the node's counts and books say what the clients
//! were told.
//!
//! Meanwhile one till enters purchases and one shop on the web sends batches, and each is looked for in the member's export, which is
//! read from the very files of facts that questions read: how long that took, and whether each line is what was sent.

mod sales;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use self::sales::Sales;
use super::super::operations::sign_in;
use super::super::process::{NodeProcess, Program};
use super::super::{CliError, Io};
use super::alliance::{Alliance, Plan, card};
use super::input;
use super::kills::patient;
use crate::client::{Client, ClientError, Method, StatusCode};
use crate::config::SNAPSHOT_MIB;
use crate::service::{
    CampaignsView, ConsentRequest, DoneView, ManagerAction, MemberAction, ProgrammeReportView,
    RulesRequest, RulesView, TillAction,
};
use crate::tls;

/// The rules: one reward and one coupon that are soon gone.
const RULES: &str = r#"
format = "coalition programme 1"
version = 1
[[coupon]]
name = "ten"
zh = "十元券"
en = "Ten off"
worth_fen = 1000
valid_days = 9
claimable = true
most = STOCK
[[reward]]
name = "hot"
zh = "限量礼品"
en = "Hot reward"
price_points = 100
hold_minutes = 60
"#;
/// Connections of one client of the library, which share its session: a user has few of these.
const CONNECTIONS: u32 = 8;
/// Every so many steps are left and asked again.
const LEFT_EVERY: u64 = 4;
/// After at most so many milliseconds.
const LEFT_AFTER_MS: u64 = 20;
/// How long somebody stands at a till: who has no answer by then was not served.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// How it is done.
#[derive(Debug, Clone, clap::Args)]
pub struct RushArguments {
    /// Connections at once, each with one request under way.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub clients: u32,
    /// Members, each of whom wants one of each.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub members: u32,
    /// Pieces of the reward, and coupons.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub stock: u32,
    /// Purchases that the till enters, and batches that the shop on the web sends, meanwhile.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub purchases: u32,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct RushFigures {
    /// Connections at once.
    pub clients: u32,
    /// Members who wanted one of each.
    pub members: u32,
    /// Pieces, and coupons.
    pub stock: u32,
    /// From the first request to the last answer, but for purchases.
    pub seconds: f64,
    /// Members to whom a reward was handed over.
    pub rewards: u64,
    /// Members whose coupon was redeemed.
    pub coupons: u64,
    /// Both over all for whom there was something; asked for is 0.997.
    pub success_share: f64,
    /// Pieces and coupons beyond the stock, and coupons that were redeemed twice.
    pub oversold: u64,
    /// Pieces and coupons of which the node counts more or fewer than members were told of.
    pub miscounted: u64,
    /// Steps that were left without waiting for the answer, and asked again.
    pub left: u64,
    /// Steps without an answer within 10 s.
    pub unanswered: u64,
    /// Milliseconds from asking for a reward to the answer, repetitions among them, 99 of 100 in less.
    pub ask_p99_ms: f64,
    /// The same of handing over.
    pub hand_over_p99_ms: f64,
    /// The same of claiming a coupon.
    pub claim_p99_ms: f64,
    /// The same of redeeming it.
    pub redeem_p99_ms: f64,
    /// How far the node's books are from balancing.
    pub trial_balance: i64,
    /// Members whose lots are not what their balance is.
    pub differences: u64,
    /// Lines of purchases that were entered at the till and sent in batches.
    pub lines: u64,
    /// Seconds from sending a purchase or a batch until it was read from the facts, half of them in less.
    pub visible_p50_seconds: f64,
    /// The longest of them; asked for are 900.
    pub visible_most_seconds: f64,
    /// Lines that were missing, other than sent, or sent by nobody.
    pub lines_wrong: u64,
    /// Those over all; asked for is less than 0.005.
    pub wrong_share: f64,
}

impl RushFigures {
    /// Whether no more went out than there was, counts and books are right, and so is every line.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        let wrong = self.oversold + self.miscounted + self.differences + self.lines_wrong;
        wrong == 0 && self.trial_balance == 0
    }

    /// Says it to a person.
    pub fn tell(&self, io: &Io) {
        let line = |what: &str, value: String| io.say(&format!("  {what:<56} {value:>14}"));
        line(
            "rewards handed over, coupons redeemed",
            format!("{}, {}", self.rewards, self.coupons),
        );
        line("share of those for whom there was one (0.997)", format!("{:.4}", self.success_share));
        line("oversold", self.oversold.to_string());
        line("counted otherwise by the node", self.miscounted.to_string());
        line("steps left and asked again", self.left.to_string());
        line("steps without an answer", self.unanswered.to_string());
        line("asking for a reward p99, ms", format!("{:.1}", self.ask_p99_ms));
        line("handing it over p99, ms", format!("{:.1}", self.hand_over_p99_ms));
        line("claiming a coupon p99, ms", format!("{:.1}", self.claim_p99_ms));
        line("redeeming it p99, ms", format!("{:.1}", self.redeem_p99_ms));
        line(
            "a purchase is in the facts within, s (900)",
            format!("{:.3}", self.visible_most_seconds),
        );
        line("share of wrong lines (0.005)", format!("{:.4}", self.wrong_share));
    }
}

/// What came of one step.
enum Came {
    Done(Box<DoneView>),
    NoneLeft,
    Unanswered,
}

/// What one client has seen.
#[derive(Default)]
struct Seen {
    rewards: u64,
    coupons: u64,
    twice: u64,
    unanswered: u64,
    // milliseconds
    asked: Vec<f64>,
    handed_over: Vec<f64>,
    claimed: Vec<f64>,
    redeemed: Vec<f64>,
}

impl Seen {
    fn and(mut self, other: Self) -> Self {
        self.rewards += other.rewards;
        self.coupons += other.coupons;
        self.twice += other.twice;
        self.unanswered += other.unanswered;
        self.asked.extend(other.asked);
        self.handed_over.extend(other.handed_over);
        self.claimed.extend(other.claimed);
        self.redeemed.extend(other.redeemed);
        self
    }
}

/// Measures. The nodes run as this program says.
///
/// # Errors
/// When a node does not start, or refuses what it should not.
pub async fn measure(
    arguments: &RushArguments,
    program: &Program,
    io: &Io,
) -> Result<RushFigures, CliError> {
    let (members, stock) = (arguments.members, arguments.stock);
    io.say(&format!("two nodes with {members} members each start"));
    let plan = Plan { brands: 2, members, snapshot_mib: SNAPSHOT_MIB, served: true };
    // rules hold at once while nobody has points
    let alliance = Alliance::make_without_points(plan)?;
    let mut nodes = alliance.processes(program);
    for node in &mut nodes {
        sales::write_mapping(node.data())?;
        node.start()?;
    }
    for node in &mut nodes {
        node.answers().await?;
    }
    let node = nodes.first().ok_or_else(|| input("there is no node"))?;
    let first = node.client()?;
    let rules = RULES.replace("STOCK", &stock.to_string());
    let request = RulesRequest { rules, effective_ms: None };
    let _: RulesView = first.post("/api/v1/programme/rules", &[], &request).await?;
    let put_in = ManagerAction::Stock { reward: "hot".to_owned(), total: stock };
    let _: DoneView = first.post("/api/v1/programme/actions", &[], &put_in).await?;
    let clients = clients(node, arguments.clients).await?;
    agree(&clients, members).await?;
    let before = Sales::first(&first, members).await?;

    io.say(&format!("{} clients want {stock} of each for {members} members", arguments.clients));
    let left = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut rush = JoinSet::new();
    for (from, client) in (0_u32..).zip(&clients) {
        let buyers = (from..members).step_by(clients.len());
        let shopper = Shopper { client: client.clone(), left: Arc::clone(&left) };
        rush.spawn(async move { shopper.shop(buyers).await });
    }
    let selling = tokio::spawn(Sales::enter(first.clone(), members, arguments.purchases));
    let mut seen = Seen::default();
    while let Some(ended) = rush.join_next().await {
        seen = seen.and(ended.map_err(input)??);
    }
    let seconds = began.elapsed().as_secs_f64();
    let sales = selling.await.map_err(input)??.after(before);

    io.say("counts, books and lines are compared");
    let lines_wrong = sales.wrong(&first).await?;
    let counts: CampaignsView = first.get("/api/v1/programme/campaigns").await?;
    let report: ProgrammeReportView = first.get("/api/v1/programme/report").await?;
    for node in &mut nodes {
        node.tell_to_stop();
    }
    for node in &mut nodes {
        node.stopped().await;
    }
    figures(arguments, &counts, &report, (seen, left.load(Ordering::Relaxed)), |made| RushFigures {
        seconds,
        lines: sales.lines(),
        visible_p50_seconds: sales.visible(50),
        visible_most_seconds: sales.visible(100),
        lines_wrong,
        wrong_share: lines_wrong as f64 / sales.lines().max(1) as f64,
        ..made
    })
}

/// What the rush alone says; the rest is added.
fn figures(
    arguments: &RushArguments,
    counts: &CampaignsView,
    report: &ProgrammeReportView,
    (mut seen, left): (Seen, u64),
    add: impl FnOnce(RushFigures) -> RushFigures,
) -> Result<RushFigures, CliError> {
    let stock = u64::from(arguments.stock);
    let reward = counts.stock.iter().find(|it| it.reward == "hot");
    let reward = reward.ok_or_else(|| input("the node has no stock of the reward"))?;
    let coupon = counts.coupons.iter().find(|it| it.kind == "ten");
    let coupon = coupon.ok_or_else(|| input("the node has not the coupon"))?;
    let beyond = |count: u64| count.saturating_sub(stock);
    let out = u64::from(reward.handed_over) + u64::from(reward.held);
    let oversold = beyond(seen.rewards).max(beyond(out))
        + beyond(seen.coupons).max(beyond(u64::from(coupon.given)))
        + seen.twice;
    let differ = u64::from(reward.handed_over).abs_diff(seen.rewards)
        + u64::from(coupon.redeemed).abs_diff(seen.coupons);
    let there_was = 2 * stock.min(u64::from(arguments.members));
    let of = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        let place = (times.len() * 99 / 100).min(times.len().saturating_sub(1));
        times.get(place).copied().unwrap_or_default()
    };
    Ok(add(RushFigures {
        clients: arguments.clients,
        members: arguments.members,
        stock: arguments.stock,
        seconds: 0.0,
        rewards: seen.rewards,
        coupons: seen.coupons,
        success_share: (seen.rewards + seen.coupons) as f64 / there_was as f64,
        oversold,
        // what was done and never heard of is nobody's miscount
        miscounted: differ.saturating_sub(seen.unanswered),
        left,
        unanswered: seen.unanswered,
        ask_p99_ms: of(&mut seen.asked),
        hand_over_p99_ms: of(&mut seen.handed_over),
        claim_p99_ms: of(&mut seen.claimed),
        redeem_p99_ms: of(&mut seen.redeemed),
        trial_balance: report.trial_balance,
        differences: report.differences,
        lines: 0,
        visible_p50_seconds: 0.0,
        visible_most_seconds: 0.0,
        lines_wrong: 0,
        wrong_share: 0.0,
    }))
}

/// So many connections; some share a session.
async fn clients(node: &NodeProcess, count: u32) -> Result<Vec<Client>, CliError> {
    let path = node.data().tls().join(tls::CERTIFICATE_FILE);
    let certificate = std::fs::read(&path).map_err(|source| CliError::File { path, source })?;
    let address = node.client()?.address();
    let mut all = Vec::new();
    let mut latest = None;
    for number in 0..count {
        if number.is_multiple_of(CONNECTIONS) {
            let client = Client::connect(address, &certificate)?;
            sign_in(&client, node.data(), None).await?;
            latest = Some(client);
        }
        all.extend(latest.clone());
    }
    Ok(all)
}

/// Has every member agree to take part: who does not may claim no coupon.
async fn agree(clients: &[Client], members: u32) -> Result<(), CliError> {
    let consent = ConsentRequest {
        purpose: "programme".to_owned(),
        granted: true,
        notice_version: 1,
        ..ConsentRequest::default()
    };
    let body = bytes::Bytes::from(serde_json::to_vec(&consent).map_err(input)?);
    let mut all = JoinSet::new();
    for (from, client) in (0_u32..).zip(clients) {
        let (client, body) = (client.clone(), body.clone());
        let step = clients.len();
        all.spawn(async move {
            for number in (from..members).step_by(step) {
                let path = format!("/api/v1/members/{}/consents", card(number));
                let answer = client.send(Method::POST, &path, &[], Some(body.clone())).await?;
                if answer.status != StatusCode::NO_CONTENT {
                    return Err(input(String::from_utf8_lossy(&answer.body)));
                }
            }
            Ok(())
        });
    }
    while let Some(ended) = all.join_next().await {
        ended.map_err(input)??;
    }
    Ok(())
}

/// One client, at the counter for one member after the other.
struct Shopper {
    client: Client,
    left: Arc<AtomicU64>,
}

impl Shopper {
    async fn shop(&self, buyers: impl Iterator<Item = u32>) -> Result<Seen, CliError> {
        let mut seen = Seen::default();
        for number in buyers {
            self.reward(number, &mut seen).await?;
            self.coupon(number, &mut seen).await?;
        }
        Ok(seen)
    }

    async fn reward(&self, number: u32, seen: &mut Seen) -> Result<(), CliError> {
        let path = format!("/api/v1/programme/members/{}/actions", card(number));
        let (reward, code, second_step) = ("hot".to_owned(), None, false);
        let ask = MemberAction::HoldReward { reward, code, second_step };
        let came = self.step(&path, ("ask", number), &ask, &mut seen.asked).await?;
        let Some(view) = seen.got(came) else { return Ok(()) };
        let hold = view.hold.ok_or_else(|| input("a reward was set aside without a code"))?;
        let over = TillAction::HandOver { hold };
        let came = self.step(TILL, ("over", number), &over, &mut seen.handed_over).await?;
        seen.rewards += u64::from(seen.got(came).is_some());
        Ok(())
    }

    async fn coupon(&self, number: u32, seen: &mut Seen) -> Result<(), CliError> {
        let path = format!("/api/v1/programme/members/{}/actions", card(number));
        let claim = MemberAction::ClaimCoupon { kind: "ten".to_owned() };
        let came = self.step(&path, ("claim", number), &claim, &mut seen.claimed).await?;
        let Some(view) = seen.got(came) else { return Ok(()) };
        let code = view.code.ok_or_else(|| input("a coupon was given without a code"))?;
        let redeem = TillAction::RedeemCoupon { code, basket_fen: 5_000, place: "shop".to_owned() };
        let came = self.step(TILL, ("redeem", number), &redeem, &mut seen.redeemed).await?;
        if seen.got(came).is_none() {
            return Ok(());
        }
        seen.coupons += 1;
        // at another till, under another key
        let key = format!("again-{number}");
        let again: Result<DoneView, ClientError> =
            self.client.post(TILL, &[("idempotency-key", &key)], &redeem).await;
        match again {
            Err(ClientError::Refused { problem, .. }) if problem.code == "coupon_redeemed" => {}
            again => seen.twice += u64::from(patient(again)?.is_some()),
        }
        Ok(())
    }

    /// Asks for one step until it is answered, and takes the time.
    async fn step<B: Serialize + Sync>(
        &self,
        path: &str,
        (step, number): (&str, u32),
        body: &B,
        times: &mut Vec<f64>,
    ) -> Result<Came, CliError> {
        let key = format!("{step}-{number}");
        let headers = [("idempotency-key", key.as_str())];
        let mixed = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ step.len() as u64;
        let began = Instant::now();
        if mixed.is_multiple_of(LEFT_EVERY) {
            let wait = Duration::from_millis((mixed >> 32) % LEFT_AFTER_MS);
            let asked = self.client.post::<B, DoneView>(path, &headers, body);
            // whoever asks again hears what would have been heard
            let _ = tokio::time::timeout(wait, asked).await;
            self.left.fetch_add(1, Ordering::Relaxed);
        }
        loop {
            let asked = self.client.post::<B, DoneView>(path, &headers, body).await;
            let done = match asked {
                Err(ClientError::Refused { problem, .. }) if problem.code == "none_left" => {
                    Some(Came::NoneLeft)
                }
                asked => patient(asked)?.map(|view| Came::Done(Box::new(view))),
            };
            if let Some(came) = done {
                times.push(began.elapsed().as_secs_f64() * 1e3);
                return Ok(came);
            }
            if began.elapsed() > PATIENCE {
                return Ok(Came::Unanswered);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Seen {
    /// What a step gave, if it gave something.
    fn got(&mut self, came: Came) -> Option<DoneView> {
        match came {
            Came::Done(view) => Some(*view),
            Came::NoneLeft => None,
            Came::Unanswered => {
                self.unanswered += 1;
                None
            }
        }
    }
}

/// Where tills ask.
const TILL: &str = "/api/v1/programme/till";

/// Gets something from a node that may be busy.
async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, CliError> {
    let began = Instant::now();
    loop {
        if let Some(found) = patient(client.get(path).await)? {
            return Ok(found);
        }
        if began.elapsed() > PATIENCE {
            return Err(input(format!("{path}: no answer")));
        }
        tokio::time::sleep(POLL).await;
    }
}
