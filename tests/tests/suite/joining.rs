//! A brand joins after another has left, among running nodes: it was never shown what was closed out with who has gone,
//! and clears with the others all the same.

use std::time::{SystemTime, UNIX_EPOCH};

use alliance_config::SETTINGS_TEMPLATE;
use node::service::{PaymentRequest, StatementView};
use node::setup;
use protocol::ids::BrandId;

use super::alliance::{Alliance, eventually};
use super::succession::{Files, exchange, link, next, taken_up};

const FOUNDERS: [&str; 4] = ["fresh_counter", "fuel_stop", "grocer_one", "grocer_two"];
const LEAVES: &str = "grocer_two";
const NEWCOMER: &str = "health_home";

/// Has a cut-off of this moment closed; gives it when these nodes have agreed on one statement, with what each has.
async fn cleared(alliance: &Alliance, brands: &[&str]) -> (u64, Vec<StatementView>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let cut_off = u64::try_from(now.as_millis()).unwrap() - 1;
    // each by its own operator: nobody follows another twice a day
    for brand in brands {
        alliance.node(brand).close(cut_off).await.unwrap();
    }
    let mut views = Vec::new();
    eventually("the statement is agreed", async || {
        views.clear();
        for brand in brands {
            if let Ok(view) = alliance.node(brand).statement(cut_off).await {
                views.push(view);
            }
        }
        let is_agreed = |view: &StatementView| ["agreed", "discharged"].contains(&&*view.state);
        views.len() == brands.len() && views.iter().all(is_agreed)
    })
    .await;
    assert!(views.iter().all(|view| view.hash.is_some() && view.hash == views[0].hash));
    (cut_off, views)
}

/// Pays what a statement asks for, until it is discharged at every one of these nodes.
async fn paid(alliance: &Alliance, brands: &[&str], cut_off: u64, statement: &StatementView) {
    for payment in &statement.payments {
        let request =
            |brand: &str| PaymentRequest { brand: brand.into(), reference: "E2E-1".into() };
        let (payer, payee) = (&payment.payer, &payment.payee);
        alliance.node(payer).settled(cut_off, request(payee)).await.unwrap();
        alliance.node(payee).confirm(cut_off, request(payer)).await.unwrap();
    }
    eventually("the statement is discharged", async || {
        for brand in brands {
            let view = alliance.node(brand).statement(cut_off).await;
            if !view.is_ok_and(|view| view.state == "discharged") {
                return false;
            }
        }
        true
    })
    .await;
}

/// Fails when closings do not say again what was closed out, when who joined does not take it, and when who was there
/// holds it for a lie: no statement would be agreed by all.
#[tokio::test(flavor = "multi_thread")]
async fn a_brand_that_joins_after_another_has_left_clears_with_the_others() {
    let settings = SETTINGS_TEMPLATE.replace("# notice_days = 30", "notice_days = 0\ntrial = true");
    let mut alliance = Alliance::of(&FOUNDERS, &settings).await;
    let mut files = Files::of(&alliance);
    let [a, b, c, d] = FOUNDERS;
    for brand in [a, b, LEAVES] {
        alliance.import(brand).await;
    }
    let card = link(&alliance, a, b).await;
    let gone = link(&alliance, d, a).await;
    exchange(&alliance, a, b, &card).await;
    exchange(&alliance, d, a, &gone).await;

    // what there is so far is paid; what comes afterwards stays open when the brand leaves
    let (cut_off, views) = cleared(&alliance, &FOUNDERS).await;
    assert!(!views[0].payments.is_empty(), "{views:?}");
    paid(&alliance, &FOUNDERS, cut_off, &views[0]).await;
    exchange(&alliance, d, a, &gone).await;

    next(&alliance, &mut files, &[], &[LEAVES], &FOUNDERS).await;
    let rest = [a, b, c];
    taken_up(&alliance, 2, &rest, &FOUNDERS).await;
    for brand in rest {
        eventually(&format!("{brand} has closed {LEAVES} out"), async || {
            let partners = alliance.node(brand).partners().await.unwrap();
            partners.iter().any(|it| it.brand == LEAVES && it.state == "closed_out")
        })
        .await;
    }
    alliance.stop(LEAVES).await;
    exchange(&alliance, a, b, &card).await;

    let introduction = alliance.make(NEWCOMER);
    let (path, signatures) = next(&alliance, &mut files, &[introduction], &[], &rest).await;
    let data = alliance.data(BrandId::new(NEWCOMER).unwrap());
    let first = |name: &str| alliance.folder.path().join(name);
    setup::take(&data, &first("c.toml"), Some(&first("c.signatures")), None).unwrap();
    setup::take(&data, &files.later[0], None, None).unwrap();
    setup::take(&data, &path, Some(&signatures), None).unwrap();
    alliance.start(NEWCOMER).await;
    let four = [a, b, c, NEWCOMER];
    taken_up(&alliance, 3, &four, &rest).await;
    eventually("four nodes know each other", async || {
        four.iter().all(|brand| {
            let status = alliance.node(brand).status();
            let connected = status.heads.iter().filter(|head| head.connected);
            status.epoch == 3 && connected.count() == four.len()
        })
    })
    .await;
    alliance.import(NEWCOMER).await;
    let back = link(&alliance, NEWCOMER, b).await;
    exchange(&alliance, NEWCOMER, b, &back).await;
    exchange(&alliance, a, b, &card).await;

    // the newcomer too has what the brand that has gone still owes, which no log has told it but in closings
    let (_, views) = cleared(&alliance, &four).await;
    for view in &views {
        let net = |brand: &str| {
            let position = view.positions.iter().find(|position| position.brand == brand);
            position.map_or(0, |position| position.net_micro_fen)
        };
        assert!(net(LEAVES) < 0 && net(NEWCOMER) < 0, "{view:?}");
        assert_eq!(view.positions, views[0].positions);
    }

    let report = alliance.audited(files.later).await;
    assert!(report.is_clean(), "{}", serde_json::to_string_pretty(&report).unwrap());
    let counts = &report.ledger.counts;
    assert_eq!(counts.closed_out, 3, "{:?}", report.ledger.not_checked);
    // of both cut-offs one of each brand
    assert!(counts.statements >= 8, "{counts:?}");
}
