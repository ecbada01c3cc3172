//! What the node itself writes into the journal, beside the ledger's records: movements of points and
//! what it has promised to enter into its log.

use minicbor::{Decode, Encode};
use protocol::amount::{Points, Value};
use protocol::exchange::{Exchange, Payload, Return};
use protocol::ids::{BrandId, Height, LeafIndex, MemberHandle, RequestHash, RequestId};
use protocol::log::block::PublicEntry;
use protocol::log::tlog_witness::Cosigned;
use protocol::time::Timestamp;

use crate::vault::MemberId;

/// One record. All that belongs to one decision is in one append of the journal.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(array)]
pub enum NodeRecord {
    /// Purchases have earned.
    #[n(0)]
    Earned(#[n(0)] Vec<EarnedPoints>),
    /// Members asked for exchanges: their points are held, and the exchanges are to go into the own
    /// log in this order.
    #[n(1)]
    Requested(#[n(0)] Vec<Requested>),
    /// Something is to go into the own log. What is in no block when the node starts is submitted
    /// again.
    #[n(2)]
    Submitted(#[n(0)] Submission),
    /// A final block of another log has been dealt with.
    #[n(3)]
    Applied(#[n(0)] Applied),
    /// Something of the clean room's, in its own encoding.
    #[n(4)]
    CleanRoom(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// An own block became final at this time; for the figures people see.
    #[n(5)]
    FinalAt(#[n(0)] Height, #[n(1)] Timestamp),
    /// This brand is to close a cut-off as soon as its open block is decided.
    #[n(6)]
    CloseRequested(#[n(0)] Timestamp),
    /// A member sends back points that came from another brand: they are held.
    #[n(20)]
    SendBack(#[n(0)] SendBack),
    /// A foreign log's checkpoint was cosigned.
    #[n(30)]
    Cosigned(#[n(0)] Cosigned),
    /// Another brand's log has ended: what it never recognised is void.
    #[n(40)]
    Ended(#[n(0)] Ended),
    /// What was to go into the own log does not: it was priced by a constitution that is no longer
    /// the log's, or was for a brand that has left.
    #[n(12)]
    Withdrawn(#[n(0)] Submission),
    /// Changes of the programme's state, in its own encoding.
    #[n(50)]
    Programme(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// A member was erased: what still comes back for it is in suspense.
    #[n(22)]
    Erased(#[n(0)] MemberId, #[n(1)] Timestamp),
    /// Whose exchanges of a former life these are, which came back with a rebuilt block.
    #[n(21)]
    Owned(#[n(0)] Vec<Owned>),
}

/// An exchange of the own log whose member the vault knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Owned {
    /// Its leaf in the own log.
    #[n(0)]
    pub leaf: LeafIndex,
    /// Whose points were sent.
    #[n(1)]
    pub member: MemberId,
}

/// A log that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Ended {
    /// Whose.
    #[n(0)]
    pub log: BrandId,
    /// The last own block that it recognised, for good.
    #[n(1)]
    pub read: Height,
    /// When this node took note of it.
    #[n(2)]
    pub at: Timestamp,
}

/// Points that purchases earned, once a key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct EarnedPoints {
    /// Of what: a part of a basket.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub key: [u8; 20],
    /// Whose.
    #[n(1)]
    pub member: MemberId,
    /// How many.
    #[n(2)]
    pub points: Points,
}

/// An exchange that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Requested {
    /// Its id, made from the idempotency key.
    #[n(0)]
    pub id: RequestId,
    /// Hash of the request: the same key must come with the same request. None when the exchange came
    /// back with a rebuilt log, which does not have it.
    #[n(1)]
    pub request: Option<RequestHash>,
    /// Whose points. None when the exchange came back with a rebuilt log and the vault does not know.
    #[n(2)]
    pub member: Option<MemberId>,
    /// The brand whose points are wanted.
    #[n(3)]
    pub to: BrandId,
    /// Points given.
    #[n(4)]
    pub sent: Points,
    /// Points to be received.
    #[n(5)]
    pub received: Points,
    /// Value owed for it.
    #[n(6)]
    pub owed: Value,
    /// When.
    #[n(7)]
    pub at: Timestamp,
    /// By what the other brand knows the member.
    #[n(8)]
    pub handle: MemberHandle,
}

impl Requested {
    /// What goes into the own log for it.
    #[must_use]
    pub const fn payload(&self) -> Payload {
        Payload::Exchange(Exchange {
            handle: self.handle,
            request: self.id,
            sent: self.sent,
            received: self.received,
            owed: self.owed,
        })
    }
}

/// Points that are to go back to the brand they came from.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SendBack {
    /// Its id, made from the idempotency key.
    #[n(0)]
    pub id: RequestId,
    /// Hash of the request: the same key must come with the same request.
    #[n(1)]
    pub request: RequestHash,
    /// The brand they came from.
    #[n(2)]
    pub from: BrandId,
    /// The exchange, in that brand's log.
    #[n(3)]
    pub leaf: LeafIndex,
    /// Whose points.
    #[n(4)]
    pub member: MemberId,
    /// How many of this brand's points.
    #[n(5)]
    pub points: Points,
    /// When.
    #[n(6)]
    pub at: Timestamp,
}

/// Something for the own log.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(array)]
pub enum Submission {
    /// In clear.
    #[n(0)]
    Public(#[n(0)] PublicEntry),
    /// Sealed to a brand.
    #[n(1)]
    Sealed(#[n(0)] BrandId, #[n(1)] Payload),
}

/// What was done with a final block of another log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Applied {
    /// Whose log.
    #[n(0)]
    pub log: BrandId,
    /// Which block.
    #[n(1)]
    pub height: Height,
    /// Points credited here, by leaf.
    #[n(2)]
    pub credits: Vec<Credit>,
    /// What goes back.
    #[n(3)]
    pub returns: Vec<Return>,
    /// When.
    #[n(4)]
    pub at: Timestamp,
    /// Whether it was decided in a former life of this node, as the own log says; then what is not
    /// returned there was credited, and the credits are those whose member is known.
    #[n(5)]
    pub former: Option<bool>,
}

/// One exchange credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Credit {
    /// Its leaf in the other log.
    #[n(0)]
    pub leaf: LeafIndex,
    /// Whose account.
    #[n(1)]
    pub member: MemberId,
    /// How many points.
    #[n(2)]
    pub points: Points,
}
