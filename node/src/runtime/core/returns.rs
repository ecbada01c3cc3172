//! A member sends back points that came from another brand: all of an exchange or a part of it.

use protocol::amount::Points;
use protocol::crypto::sha256;
use protocol::exchange::{Payload, SendBackError};
use protocol::ids::{LeafIndex, RequestHash};
use protocol::time::Timestamp;

use super::operations::{cold_error, internal, request_id, submit_error};
use super::{Core, Submission, Turn};
use crate::exchange::received;
use crate::exchange::record::{NodeRecord, SendBack};
use crate::service::{ErrorKind, ReceivedView, SendBackRequest, ServiceError};

impl Core {
    /// Takes a member's request to send points back: holds them and puts the return into the next
    /// block. The same key with the same request gives the same answer.
    ///
    /// # Errors
    /// When a rule refuses it: then nothing was held.
    pub fn send_back(
        &mut self,
        key: &str,
        request: &SendBackRequest,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<ReceivedView, ServiceError> {
        let id = request_id(key)?;
        let hash = hash_of(request);
        let unknown = || {
            ServiceError::new(
                ErrorKind::NotFound,
                "exchange_unknown",
                "no such exchange was credited to this member",
                "the list of received exchanges has brand and leaf of each",
            )
        };
        let from = self.counterparty(&request.from)?;
        self.require_running(from)?;
        let leaf = LeafIndex::new(request.leaf);
        let place = (from, leaf);
        if let Some(known) = self.book.received().sent_back(id).map_err(cold_error)? {
            if known.request != hash {
                return Err(ServiceError::new(
                    ErrorKind::Conflict,
                    "idempotency_key_reused",
                    "this idempotency key was used with another request",
                    "use a new key for a new request",
                ));
            }
            let known = self.book.received().at(place).map_err(cold_error)?.ok_or_else(internal)?;
            return Ok(received::view(from, leaf, &known.leg));
        }
        let member = self.member(&request.card)?;
        self.require_free(member)?;
        let known = self.book.received().at(place).map_err(cold_error)?;
        let known = known.filter(|known| known.member == Some(member));
        let mut leg = known.ok_or_else(unknown)?.leg;
        let points = Points::new(request.points).unwrap_or(Points::MAX);
        let back = leg.send_back(leaf, points, now).map_err(refused)?;
        if self.points.balance(member).available < points {
            return Err(ServiceError::new(
                ErrorKind::Refused,
                "balance_too_low",
                "the member has fewer points than are to go back",
                "send back at most what the member's page shows as available",
            ));
        }
        let submission = Submission::Sealed(from, Payload::Return(back));
        self.submit_to_ledger(submission.clone()).map_err(submit_error)?;
        let asked = SendBack { id, request: hash, from, leaf, member, points, at: now };
        self.enter(NodeRecord::SendBack(asked), turn);
        self.enter(NodeRecord::Submitted(submission), turn);
        Ok(received::view(from, leaf, &leg))
    }
}

fn refused(error: SendBackError) -> ServiceError {
    let (code, remedy) = match error {
        SendBackError::Left { .. } => ("not_so_much_left", "send back at most what is left"),
        SendBackError::TooFew => ("too_few_points", "send back more points at once"),
        SendBackError::Late => ("return_too_late", "the exchange stands"),
    };
    ServiceError::new(ErrorKind::Refused, code, error.to_string(), remedy)
}

fn hash_of(request: &SendBackRequest) -> RequestHash {
    RequestHash::from_bytes(sha256(&[
        b"coalition/0/send-back-request",
        request.card.as_bytes(),
        &[0],
        request.from.as_bytes(),
        &[0],
        &request.leaf.to_be_bytes(),
        &request.points.to_be_bytes(),
    ]))
}
