//! A brand fails for good: the others freeze it by a constitution, close its log, and give their members
//! back what it never saw. Real nodes over real sockets.

use alliance_config::draft_next;
use node::constitutions::Known;
use node::service::{ExchangeRequest, PartnerView};
use protocol::epochs::adoption::Stance;
use protocol::ids::BrandId;

use super::alliance::{Alliance, eventually};

const FAILED: &str = "fuel_stop";

async fn partner(alliance: &Alliance, brand: &str) -> PartnerView {
    let views = alliance.node(brand).partners().await.unwrap();
    views.into_iter().find(|view| view.brand == FAILED).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_brand_is_frozen_closed_and_closed_out() {
    let mut alliance = Alliance::of_the_sample().await;
    alliance.import("fresh_counter").await;
    alliance.import(FAILED).await;
    let (sender, failed) = (alliance.node("fresh_counter"), alliance.node(FAILED));
    let card = sender.cards(100, None, 1).await.unwrap().remove(0);
    let there = failed.cards(0, None, 1).await.unwrap().remove(0);
    let code = failed.link_code(there, "fresh_counter".into()).await.unwrap().code;
    sender.link(card.clone(), FAILED.into(), code).await.unwrap();
    eventually("the link is answered", async || {
        sender.member(card.clone()).await.unwrap().links[0].state == "linked"
    })
    .await;
    let request = |points| ExchangeRequest { card: card.clone(), to: FAILED.into(), points };
    let arrived = sender.exchange("k1".into(), request(40)).await.unwrap();
    eventually("the exchange is acknowledged", async || {
        sender.exchange_by_id(arrived.id.clone()).await.unwrap().state == "acknowledged"
    })
    .await;

    alliance.stop(FAILED).await;
    let before = sender.member(card.clone()).await.unwrap().available;
    let lost = sender.exchange("k2".into(), request(8)).await.unwrap();
    eventually("it is certified without the brand", async || {
        sender.exchange_by_id(lost.id.clone()).await.unwrap().state == "final"
    })
    .await;
    let refused = sender.close_partner(FAILED.into()).await.unwrap_err();
    assert_eq!(refused.code, "log_not_frozen");

    // the others freeze it
    let present = std::fs::read(alliance.folder.path().join("c.toml")).unwrap();
    let next = draft_next(&present, &[], &[]).unwrap();
    let next = next.replacen("epoch = 2", &format!("epoch = 2\nfrozen = [\"{FAILED}\"]"), 1);
    let path = alliance.folder.path().join("next.toml");
    std::fs::write(&path, next).unwrap();
    let others: Vec<String> =
        alliance.brands.iter().map(ToString::to_string).filter(|brand| brand != FAILED).collect();
    for brand in &others {
        let data = alliance.data(BrandId::new(brand).unwrap());
        let taken = Known::take(&data, &path, None).unwrap();
        Known::say(&data, &taken, Stance::Adopted).unwrap();
        alliance.restart(brand).await;
    }
    for brand in &others {
        eventually("the constitution is adopted", async || {
            partner(&alliance, brand).await.state == "removed"
        })
        .await;
    }
    // who waits an hour need not say it; here the operators do
    for brand in &others {
        alliance.node(brand).close_partner(FAILED.into()).await.unwrap();
    }
    for brand in &others {
        eventually("it is closed out", async || {
            partner(&alliance, brand).await.state == "closed_out"
        })
        .await;
        let head = alliance.node(brand).status().heads;
        assert!(head.iter().any(|head| head.brand == FAILED && head.closed));
    }
    let sender = alliance.node("fresh_counter");
    let lost = sender.exchange_by_id(lost.id).await.unwrap();
    assert_eq!((lost.state.as_str(), lost.points_back), ("void", 8));
    let member = sender.member(card.clone()).await.unwrap();
    assert_eq!((member.available, member.links[0].state.as_str()), (before, "ended"));
    let view = partner(&alliance, "fresh_counter").await;
    assert_eq!(view.sent_micro_fen, arrived.owed_micro_fen);
    assert_eq!(view.void_micro_fen, lost.owed_micro_fen);
    let refused = sender.exchange("k3".into(), request(8)).await.unwrap_err();
    assert_eq!(refused.code, "brand_ended");

    // the rest goes on, and clears without it
    let cut_off = sender.status().now_ms - 1;
    sender.close(cut_off).await.unwrap();
    eventually("the statement is agreed", async || {
        sender.statement(cut_off).await.is_ok_and(|view| view.state == "agreed")
    })
    .await;
    let statement = sender.statement(cut_off).await.unwrap();
    let net = |brand: &str| {
        let mut positions = statement.positions.iter();
        positions.find(|position| position.brand == brand).unwrap().net_micro_fen
    };
    assert_eq!(net(FAILED), i64::try_from(arrived.owed_micro_fen).unwrap());
    assert_eq!(net("fresh_counter"), -net(FAILED));
}
