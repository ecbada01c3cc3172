//! What lets a brand run its node twice with the same keys although nodes acknowledge each other's
//! starts.
//!
//! A liar believes what it wants to: its machines hear acknowledgements that nobody sent, so that none of
//! them learns of the other. The honest brands hear of every start.

use protocol::constitution::Committee;
use protocol::crypto::Signed;
use protocol::ids::BrandId;
use protocol::witness::message::Message;
use protocol::witness::start::{Acknowledgement, LogAnswer, Start};

use crate::alliance::voting_keys;

/// What a machine of the liar hears instead of the answers to its start.
#[must_use]
pub fn forged_answers(
    committee: &Committee,
    liar: BrandId,
    start: &Signed<Start>,
) -> Vec<(BrandId, Message)> {
    let logs = committee.brands().iter().map(|log| LogAnswer {
        log: *log,
        certificate: None,
        vouches: true,
        open: None,
    });
    let answer = Acknowledgement {
        brand: liar,
        start: start.body,
        started: None,
        said: Vec::new(),
        logs: logs.collect(),
    };
    let forge = |by: BrandId| {
        let signed = Signed::sign(by, answer.clone(), &voting_keys(by, 0).vote);
        (by, Message::Acknowledgement(Box::new(signed)))
    };
    committee.witnesses(liar).map(forge).collect()
}
