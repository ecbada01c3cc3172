//! Walk 2: from a member's request to the other brand's acknowledgement, and what goes wrong on the way.

use node::service::{ErrorKind, ExchangeRequest};

use super::alliance::{Alliance, eventually};

fn request(card: &str, points: u64) -> ExchangeRequest {
    ExchangeRequest { card: card.into(), to: "fuel_stop".into(), points }
}

#[tokio::test(flavor = "multi_thread")]
async fn points_cross_brands_once_and_come_back_when_they_cannot_be_credited() {
    let mut alliance = Alliance::of_the_sample().await;
    alliance.import("fresh_counter").await;
    alliance.import("fuel_stop").await;
    let (sender, receiver) = (alliance.node("fresh_counter"), alliance.node("fuel_stop"));
    let card = sender.cards(100, None, 1).await.unwrap().remove(0);
    let there = receiver.cards(0, None, 1).await.unwrap().remove(0);
    let before = receiver.member(there.clone()).await.unwrap().available;

    // not linked: the own brand refuses
    let refused = sender.exchange("k0".into(), request(&card, 40)).await.unwrap_err();
    assert_eq!((refused.kind, refused.code), (ErrorKind::Refused, "not_linked"));

    // a wrong code comes back, the right one links
    let link = async |code: String| {
        sender.link(card.clone(), "fuel_stop".into(), code).await.unwrap();
        let mut state = String::new();
        eventually("the link is answered", async || {
            let view = sender.member(card.clone()).await.unwrap();
            state.clone_from(&view.links[0].state);
            state != "requested"
        })
        .await;
        state
    };
    assert_eq!(link("00000-00000".into()).await, "returned");
    let code = receiver.link_code(there.clone(), "fresh_counter".into()).await.unwrap().code;
    assert_eq!(link(code).await, "linked");

    let first = sender.exchange("k1".into(), request(&card, 40)).await.unwrap();
    // the same key again is the same exchange; with another request it is a conflict
    let again = sender.exchange("k1".into(), request(&card, 40)).await.unwrap();
    assert_eq!(again.id, first.id);
    let reused = sender.exchange("k1".into(), request(&card, 41)).await.unwrap_err();
    assert_eq!(reused.code, "idempotency_key_reused");
    let poor = sender.exchange("k2".into(), request(&card, 1_000_000)).await.unwrap_err();
    assert_eq!(poor.code, "balance_too_low");
    eventually("the exchange is acknowledged", async || {
        sender.exchange_by_id(first.id.clone()).await.unwrap().state == "acknowledged"
    })
    .await;
    let after = receiver.member(there.clone()).await.unwrap().available;
    assert_eq!(after, before + first.points_received);

    // nothing is lost or applied twice by restarting either side
    let left = sender.member(card.clone()).await.unwrap();
    alliance.restart("fresh_counter").await;
    alliance.restart("fuel_stop").await;
    let (sender, receiver) = (alliance.node("fresh_counter"), alliance.node("fuel_stop"));
    assert_eq!(sender.member(card.clone()).await.unwrap(), left);
    assert_eq!(receiver.member(there.clone()).await.unwrap().available, after);
    let second = sender.exchange("k3".into(), request(&card, 8)).await.unwrap();
    eventually("a block is certified after the restarts", async || {
        sender.exchange_by_id(second.id.clone()).await.unwrap().state == "acknowledged"
    })
    .await;

    // every node arrives at the same statement
    let cut_off = sender.status().now_ms - 1;
    sender.close(cut_off).await.unwrap();
    for brand in alliance.brands.clone() {
        let node = alliance.node(brand.as_str());
        eventually("the statement is agreed", async || {
            let view = node.statement(cut_off).await;
            view.is_ok_and(|view| view.state == "agreed")
        })
        .await;
        let view = node.statement(cut_off).await.unwrap();
        assert_eq!(view.positions.iter().map(|position| position.net_micro_fen).sum::<i64>(), 0);
        assert!(view.positions.iter().any(|position| position.net_micro_fen != 0));
    }
    // it is the newest of the list, and the payment is all that needs an operator's eye
    let listed = sender.clearings(None, 1).await.unwrap().remove(0);
    assert_eq!((listed.cut_off_ms, listed.state.as_str()), (cut_off, "agreed"));
    assert_eq!((listed.to_pay, listed.to_confirm), (1, 0));
    eventually("only the payment needs an operator's eye", async || {
        let alerts = sender.status().alerts;
        matches!(alerts.as_slice(), [alert] if alert.contains("payments to make: 1, to confirm: 0"))
    })
    .await;
}
