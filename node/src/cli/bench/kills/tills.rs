//! A till at each node while it is killed: it sells and takes the goods back, takes points for goods and gives them back,
//! each step asked for under its key until it is answered. What that leaves on the books is known to the point: all that
//! was sold is issued once and taken back once, and whoever bought has what was there before.

use std::sync::atomic::Ordering;
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::super::CliError;
use super::super::input;
use super::{Load, PATIENCE, POLL, card, patient};
use crate::client::{Client, ClientError, Method, StatusCode};
use crate::service::{
    ConsentRequest, DoneView, MemberAction, ProgrammeReportView, PurchaseLine, PurchaseRequest,
    PurchaseView,
};

/// The rounds that the till of one node went through, each from its first step to its last.
pub(super) struct Rounds {
    at: usize,
    pub(super) rounds: u64,
}

/// What one round sells for, in yuan: as many points.
const fn points_of(round: u64) -> u64 {
    1 + round % 40
}

impl Load {
    /// The till of one node: one round after the other until the load ends.
    pub(super) async fn sell(&self, at: usize) -> Result<Rounds, CliError> {
        let mut sold = Rounds { at, rounds: 0 };
        let Some(client) = self.clients.get(at) else { return Ok(sold) };
        // a member who exchanges meanwhile
        let card = card(0);
        agree(client, &card).await?;
        while !self.ends.load(Ordering::Relaxed) {
            round(client, &card, sold.rounds).await?;
            sold.rounds += 1;
        }
        Ok(sold)
    }

    /// By how many points the books differ from what the tills have done.
    pub(super) async fn till_differences(&self, tills: &[Rounds]) -> Result<u64, CliError> {
        let mut differences = 0_u64;
        for till in tills {
            let Some(client) = self.clients.get(till.at) else { continue };
            let report: ProgrammeReportView = client.get("/api/v1/programme/report").await?;
            let sold: u64 = (0..till.rounds).map(points_of).sum();
            let sold = i64::try_from(sold).map_err(input)?;
            // what issues points is below zero; what was paid with has come back
            for (account, expected) in
                [("issued_purchases", -sold), ("returned", sold), ("redeemed", 0)]
            {
                let found = report.accounts.iter().find(|it| it.account == account);
                differences += found.map_or(0, |it| it.points).abs_diff(expected);
            }
        }
        Ok(differences)
    }
}

/// Sells, takes points for a part of it, gives the points back, takes the goods back.
async fn round(client: &Client, card: &str, number: u64) -> Result<(), CliError> {
    let points = points_of(number);
    let fen = i64::try_from(points * 100).map_err(input)?;
    let (sold, back) = (format!("K-{number}"), format!("B-{number}"));
    let goods = |receipt: &str, returns: Option<&str>, pieces: i64| PurchaseRequest {
        card: card.to_owned(),
        receipt: receipt.to_owned(),
        purchased_at: "2025-06-01T12:00:00+08:00".to_owned(),
        channel: "store".to_owned(),
        returns: returns.map(str::to_owned),
        lines: vec![PurchaseLine {
            department: "FRESH".to_owned(),
            pieces,
            amount_fen: pieces * fen,
        }],
        ..PurchaseRequest::default()
    };
    let (payment, reversal) = (format!("pay-{number}"), format!("unpay-{number}"));
    let actions = format!("/api/v1/programme/members/{card}/actions");
    let purchases = "/api/v1/purchases";
    let _: PurchaseView = insist(client, purchases, &sold, &goods(&sold, None, 1)).await?;
    let pay = MemberAction::Pay { points, basket_fen: 100_000 };
    let _: DoneView = insist(client, &actions, &payment, &pay).await?;
    let unpay = MemberAction::ReversePayment { payment };
    let _: DoneView = insist(client, &actions, &reversal, &unpay).await?;
    let _: PurchaseView = insist(client, purchases, &back, &goods(&back, Some(&sold), -1)).await?;
    Ok(())
}

/// Asks until the node has done it: it may be away, and the key makes asking again safe.
async fn insist<B: Serialize, T: DeserializeOwned>(
    client: &Client,
    path: &str,
    key: &str,
    body: &B,
) -> Result<T, CliError> {
    let began = Instant::now();
    loop {
        let asked: Result<T, ClientError> =
            client.post(path, &[("idempotency-key", key)], body).await;
        let done = match asked {
            // what a kill has left half done is ended first
            Err(ClientError::Refused { problem, .. }) if problem.code == "import_running" => None,
            asked => patient(asked)?,
        };
        if let Some(view) = done {
            return Ok(view);
        }
        if began.elapsed() > PATIENCE {
            return Err(input("a node does not take what a till asks for"));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Has a member agree to take part: who does not earns nothing.
async fn agree(client: &Client, card: &str) -> Result<(), CliError> {
    let consent = ConsentRequest {
        purpose: "programme".to_owned(),
        granted: true,
        notice_version: 1,
        ..ConsentRequest::default()
    };
    let body = serde_json::to_vec(&consent).map_err(input)?;
    let path = format!("/api/v1/members/{card}/consents");
    let began = Instant::now();
    while began.elapsed() <= PATIENCE {
        let asked = client.send(Method::POST, &path, &[], Some(body.clone().into())).await;
        let answer = patient(asked)?;
        if answer.is_some_and(|answer| answer.status == StatusCode::NO_CONTENT) {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
    Err(input("a node does not take a member's consent"))
}
