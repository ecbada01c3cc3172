//! Several tills at once, over HTTP: a coupon, and the last piece of a reward, are one till's; also when the node is
//! killed under them and they ask again. And a till sells while files are imported.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use node::auth::Role;
use node::cleanroom::QueryTimes;
use node::client::{Client, ClientError};
use node::service::{
    DoneView, ImportSource, ManagerAction, MemberAction, Node, PurchaseLine, PurchaseRequest,
    PurchaseView, RulesRequest, TillAction,
};
use node::{http, runtime};
use tokio::task::JoinHandle;

use super::alliance::{Alliance, eventually};

const BRAND: &str = "fuel_stop";
const CARD: &str = "FS0SE5S4Z7EN";
const PASSWORD: &str = "correct horse battery staple";
const TILLS: usize = 4;
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
[[reward]]
name = "cup"
zh = "杯"
en = "Cup"
price_points = 1
hold_minutes = 60
"#;

type Asked = JoinHandle<Result<DoneView, ClientError>>;

/// A brand with members, points, a coupon and a reward.
async fn shop() -> Alliance {
    let alliance = Alliance::of_the_sample().await;
    let request = RulesRequest { rules: RULES.to_owned(), effective_ms: None };
    alliance.node(BRAND).take_programme_rules(request).await.unwrap();
    alliance.import(BRAND).await;
    alliance
}

/// The node served as `coalition run` does, and tills that are signed in each by itself.
async fn open(alliance: &Alliance, is_first: bool) -> (Vec<Client>, http::Served) {
    let (auth, certificate, served) = alliance.serve(BRAND);
    if is_first {
        auth.add_user("sam", &[Role::Store], PASSWORD).unwrap();
    }
    let mut tills = Vec::new();
    for _ in 0..TILLS {
        let till = Client::connect(served.address, &certificate).unwrap();
        till.login("sam", PASSWORD).await.unwrap();
        tills.push(till);
    }
    (tills, served)
}

async fn for_member(
    till: &Client,
    key: &str,
    card: &str,
    action: MemberAction,
) -> Result<DoneView, ClientError> {
    let path = format!("/api/v1/programme/members/{card}/actions");
    till.post(&path, &[("idempotency-key", key)], &action).await
}

async fn claim(till: &Client, key: &str) -> String {
    let action = MemberAction::ClaimCoupon { kind: "ten".to_owned() };
    for_member(till, key, CARD, action).await.unwrap().code.unwrap()
}

async fn at_till(till: &Client, key: &str, action: TillAction) -> Result<DoneView, ClientError> {
    till.post("/api/v1/programme/till", &[("idempotency-key", key)], &action).await
}

/// Every till asks for the same coupon, each under a key of its own.
fn redeem(tills: &[Client], round: usize, code: &str) -> Vec<Asked> {
    let one = |(number, till): (usize, &Client)| {
        let (till, key) = (till.clone(), format!("redeem-{round}-{number}"));
        let action = TillAction::RedeemCoupon {
            code: code.to_owned(),
            basket_fen: 5_000,
            place: format!("shop_{number}"),
        };
        tokio::spawn(async move { at_till(&till, &key, action).await })
    };
    tills.iter().enumerate().map(one).collect()
}

async fn answers(asked: Vec<Asked>) -> Vec<Result<DoneView, ClientError>> {
    let mut all = Vec::new();
    for one in asked {
        all.push(one.await.unwrap());
    }
    all
}

/// The one till that got something; all others were refused for this reason.
fn winner(answers: &[Result<DoneView, ClientError>], refused: &str) -> usize {
    let mut won = Vec::new();
    for (number, answer) in answers.iter().enumerate() {
        match answer {
            Ok(_) => won.push(number),
            Err(ClientError::Refused { problem, .. }) => assert_eq!(problem.code, refused),
            Err(other) => panic!("till {number}: {other}"),
        }
    }
    assert_eq!(won.len(), 1, "{answers:?}");
    won[0]
}

async fn coupons(node: &Node) -> (u32, u32) {
    let view = node.programme_campaigns().await.unwrap();
    let report = node.programme_report().await.unwrap();
    assert_eq!((report.trial_balance, report.differences), (0, 0));
    view.coupons.iter().find(|it| it.kind == "ten").map(|it| (it.given, it.redeemed)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_and_the_last_of_a_reward_are_one_tills_when_all_ask_at_once() {
    let alliance = shop().await;
    let (tills, served) = open(&alliance, true).await;
    let node = alliance.node(BRAND);
    for round in 0..8 {
        let code = claim(&tills[0], &format!("claim-{round}")).await;
        let first = answers(redeem(&tills, round, &code)).await;
        let won = winner(&first, "coupon_redeemed");
        assert_eq!(first[won].as_ref().unwrap().takes_off_fen, Some(1_000));
        // told again, each hears what it heard
        let again = answers(redeem(&tills, round, &code)).await;
        assert_eq!(winner(&again, "coupon_redeemed"), won);
    }
    assert_eq!(coupons(&node).await, (8, 8));

    // one more piece a round, for four members at four tills
    let cards = node.cards(20, None, u32::try_from(TILLS).unwrap()).await.unwrap();
    assert_eq!(cards.len(), TILLS);
    for round in 0..4_u32 {
        let stock = ManagerAction::Stock { reward: "cup".to_owned(), total: round + 1 };
        node.manage_programme(stock, "mia".to_owned()).await.unwrap();
        let ask = |(till, card): (&Client, &String)| {
            let (till, card) = (till.clone(), card.clone());
            let action = MemberAction::HoldReward {
                reward: "cup".to_owned(),
                code: None,
                second_step: false,
            };
            let key = format!("hold-{round}");
            tokio::spawn(async move { for_member(&till, &key, &card, action).await })
        };
        let asked = answers(tills.iter().zip(&cards).map(ask).collect()).await;
        let won = winner(&asked, "none_left");
        let hold = asked[won].as_ref().unwrap().hold.clone().unwrap();
        let member = node.programme_member(cards[won].clone()).await.unwrap();
        assert_eq!((member.holds.len(), member.holds[0].words.zh.as_str()), (1, "杯"));
        // and it is handed over once
        let fetch = |(number, till): (usize, &Client)| {
            let (till, key) = (till.clone(), format!("fetch-{round}-{number}"));
            let action = TillAction::HandOver { hold: hold.clone() };
            tokio::spawn(async move { at_till(&till, &key, action).await })
        };
        let fetched = answers(tills.iter().enumerate().map(fetch).collect()).await;
        let mut states: Vec<String> = fetched.into_iter().map(|it| it.unwrap().state).collect();
        states.sort();
        assert_eq!(states, ["done", "repeated", "repeated", "repeated"]);
        let view = node.programme_campaigns().await.unwrap();
        let cup = &view.stock[0];
        assert_eq!((cup.total, cup.held, cup.handed_over, cup.left), (round + 1, 0, round + 1, 0));
    }
    assert_eq!(coupons(&node).await, (8, 8));
    served.shutdown.begin();
}

/// A till that was not answered asks again under its key: whoever was told that the coupon is taken off is still told
/// so, and nobody else is.
#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_is_one_tills_also_when_the_node_is_killed_under_them() {
    let mut alliance = shop().await;
    let place = alliance.brands.iter().position(|brand| brand.as_str() == BRAND).unwrap();
    for (round, after) in [0, 2, 6, 30].into_iter().enumerate() {
        let (tills, served) = open(&alliance, round == 0).await;
        let code = claim(&tills[0], &format!("claim-{round}")).await;
        let asked = redeem(&tills, round, &code);
        tokio::time::sleep(Duration::from_millis(after)).await;
        // the node's loop is dropped where it is
        let running = alliance.nodes[place].take().unwrap();
        running.runtime.abort();
        let _ = running.runtime.await;
        drop(running.network);
        drop(running.node);
        let first = answers(asked).await;
        served.shutdown.begin();
        let data = alliance.data(alliance.brands[place]);
        let mut started = None;
        eventually("the killed node starts again", async || {
            started = runtime::start_with(&data, QueryTimes::default()).await.ok();
            started.is_some()
        })
        .await;
        alliance.nodes[place] = started;
        let (tills, served) = open(&alliance, false).await;
        let second = answers(redeem(&tills, round, &code)).await;
        let won = winner(&second, "coupon_redeemed");
        for (number, answer) in first.iter().enumerate() {
            assert!(answer.is_err() || number == won, "round {round}: {first:?}, then {second:?}");
        }
        let all = u32::try_from(round).unwrap() + 1;
        assert_eq!(coupons(&alliance.node(BRAND)).await, (all, all));
        served.shutdown.begin();
    }
}

/// What a till's export of the past means.
const PAST: &str = r#"
format = "coalition import 1"
name = "past"
[purchases]
files = ["p.csv"]
time_zone = "Asia/Shanghai"
channel = "store"
basket = "receipt"
line = "no"
member = "card"
purchased_at = "at"
department = "dept"
quantity = "pieces"
amount = "fen"
currency = "CNY"
fen_per_unit = 1
[purchases.cleaning]
same_order_within_seconds = 0
"#;
/// More than twice what is written at a time (65,536); and more for a machine that is through before a till is
/// answered.
const PAST_ROWS: [u32; 2] = [140_000, 840_000];
const PATIENCE: Duration = Duration::from_secs(600);

async fn sells(till: &Client, key: &str, receipt: &str) -> Result<PurchaseView, ClientError> {
    let request = PurchaseRequest {
        card: CARD.to_owned(),
        receipt: receipt.to_owned(),
        purchased_at: "2025-11-20T12:00:00+08:00".to_owned(),
        channel: "store".to_owned(),
        lines: vec![PurchaseLine { department: "DAIRY".to_owned(), pieces: 1, amount_fen: 700 }],
        ..PurchaseRequest::default()
    };
    till.post("/api/v1/purchases", &[("idempotency-key", key)], &request).await
}

/// How many purchases counted while files with so many rows were being imported, and how many in all.
async fn sold_meanwhile(alliance: &Alliance, till: &Client, rows: u32) -> (u32, u32) {
    let node = alliance.node(BRAND);
    let folder = alliance.folder.path().join(format!("past{rows}"));
    std::fs::create_dir(&folder).unwrap();
    let cards = node.cards(0, None, 20).await.unwrap();
    let mut text = "receipt,no,card,at,dept,pieces,fen\n".to_owned();
    for row in 0..rows {
        let (receipt, line) = (row / 4, row % 4 + 1);
        let card = &cards[receipt as usize % cards.len()];
        writeln!(text, "P{rows}-{receipt},{line},{card},2025-03-01 10:00:00,DAIRY,1,100").unwrap();
    }
    std::fs::write(folder.join("p.csv"), text).unwrap();
    let path = folder.to_str().unwrap().to_owned();
    node.import(ImportSource::Folder { path, mapping: PAST.to_owned() }).await.unwrap();
    let (mut meanwhile, mut all) = (0, 0);
    let began = Instant::now();
    loop {
        let receipt = format!("T{rows}-{all}");
        // one that came before the files had their turn waited for nobody
        let is_reading = node.import_progress().await.unwrap().rows_read > 0;
        let sold = sells(till, &receipt, &receipt).await;
        let view = node.import_progress().await.unwrap();
        assert_eq!(view.failed, None);
        match sold {
            Ok(sold) => {
                assert_eq!((sold.state.as_str(), sold.amount_fen), ("counted", 700));
                all += 1;
                meanwhile += u32::from(is_reading && view.running);
            }
            // a slow machine's turn did not come in time: the same again
            Err(ClientError::Refused { problem, .. }) if problem.code == "import_running" => {}
            Err(other) => panic!("{other}"),
        }
        if view.done {
            assert_eq!((view.rows_kept, view.rows_read), (u64::from(rows), u64::from(rows)));
            return (meanwhile, all);
        }
        assert!(began.elapsed() < PATIENCE, "{view:?}");
    }
}

/// Fails when a purchase at the counter waits for the end of an import of files, or is refused because of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_till_sells_while_files_are_imported() {
    let alliance = shop().await;
    let (tills, served) = open(&alliance, true).await;
    let node = alliance.node(BRAND);
    // the sample's
    let mut expected = 2_094;
    for rows in PAST_ROWS {
        let (meanwhile, all) = sold_meanwhile(&alliance, &tills[0], rows).await;
        // each is known, and counts once
        let (key, first) = (format!("again{rows}"), format!("T{rows}-0"));
        assert_eq!(sells(&tills[0], &key, &first).await.unwrap().state, "known");
        expected += u64::from(rows) + u64::from(all);
        eventually("all of them count", async || node.status().purchases == Some(expected)).await;
        if meanwhile > 0 {
            return served.shutdown.begin();
        }
    }
    panic!("{} rows are imported before a till is answered", PAST_ROWS[1]);
}
