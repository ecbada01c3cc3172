//! One exchange of a member of this brand, and how far it has come.

use minicbor::{Decode, Encode};
use protocol::amount::Points;
use protocol::exchange::ReturnReason;
use protocol::ids::{Height, LeafIndex};
use protocol::time::Timestamp;

use crate::exchange::record::Requested;
use crate::service::{ExchangeKey, ExchangeView};

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum ExchangeState {
    /// Points held, not in a final block.
    #[n(0)]
    Held,
    /// In a final block: it stands.
    #[n(1)]
    Final,
    /// The other side has recognised it.
    #[n(2)]
    Acknowledged,
    /// The other side has sent it back.
    #[n(3)]
    Returned(#[n(0)] ReturnReason),
    /// It never was in a block: the rate changed before, or the brand left. Its points are free again.
    #[n(4)]
    Withdrawn,
    /// It was in a block and never counts: both brands agreed so after a dispute, or the other's log ended
    /// without recognising it. Its points are the member's again.
    #[n(5)]
    Void,
}

impl ExchangeState {
    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Final => "final",
            Self::Acknowledged => "acknowledged",
            Self::Returned(_) => "returned",
            Self::Withdrawn => "withdrawn",
            Self::Void => "void",
        }
    }
}

/// One exchange.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(array)]
pub struct BookedExchange {
    /// What was asked for.
    #[n(0)]
    pub requested: Requested,
    /// How far it has come.
    #[n(1)]
    pub state: ExchangeState,
    // how much of it has come back
    #[n(2)]
    pub(super) points_back: Points,
    #[n(3)]
    pub(super) leaf: Option<LeafIndex>,
    #[n(4)]
    pub(super) height: Option<Height>,
    #[n(5)]
    pub(super) final_at: Option<Timestamp>,
    #[n(6)]
    pub(super) answered_at: Option<Timestamp>,
}

impl BookedExchange {
    /// One that is in no block yet.
    pub(in crate::exchange) const fn held(requested: Requested) -> Self {
        Self {
            requested,
            state: ExchangeState::Held,
            points_back: Points::ZERO,
            leaf: None,
            height: None,
            final_at: None,
            answered_at: None,
        }
    }

    /// Its place in the order of time.
    #[must_use]
    pub const fn key(&self) -> ExchangeKey {
        (self.requested.at, self.requested.id)
    }

    /// The own block it is in, once that is final.
    #[must_use]
    pub const fn height(&self) -> Option<Height> {
        self.height
    }
    /// Its leaf in the own log, once it is in a final block.
    #[must_use]
    pub const fn leaf(&self) -> Option<LeafIndex> {
        self.leaf
    }

    /// What people see of it.
    #[must_use]
    pub fn view(&self) -> ExchangeView {
        let reason = match self.state {
            ExchangeState::Returned(reason) => Some(reason_code(reason)),
            _ => None,
        };
        let requested = &self.requested;
        ExchangeView {
            id: requested.id.to_string(),
            to: requested.to.to_string(),
            state: self.state.name().to_owned(),
            points_sent: requested.sent.get(),
            points_received: requested.received.get(),
            points_back: self.points_back.get(),
            owed_micro_fen: requested.owed.get(),
            leaf: self.leaf.map(LeafIndex::get),
            height: self.height.map(Height::get),
            requested_ms: requested.at.unix_ms(),
            final_ms: self.final_at.map(Timestamp::unix_ms),
            answered_ms: self.answered_at.map(Timestamp::unix_ms),
            return_reason: reason.map(str::to_owned),
        }
    }
}
/// The stable code of a reason, as in the API.
#[must_use]
pub const fn reason_code(reason: ReturnReason) -> &'static str {
    match reason {
        ReturnReason::LinkCode => "link_code",
        ReturnReason::NotLinked => "not_linked",
        ReturnReason::AccountClosed => "account_closed",
        ReturnReason::ReceiverLimit => "receiver_limit",
        ReturnReason::Member => "member",
    }
}
