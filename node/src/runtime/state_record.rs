//! What the node's own records come to, in parts of bounded size: the node's part of a snapshot.
//!
//! The ledger's part is `protocol::witness::snapshot`. A part is taken up by a core that has nothing yet,
//! in the order in which [`super::core::Core::snapshot`] gives them; afterwards records of the journal follow.

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use protocol::amount::Points;
use protocol::clearing::Absent;
use protocol::exchange::{OutgoingLeg, Return};
use protocol::ids::{BrandId, LeafIndex};
use protocol::log::resolution::DisputeResolved;
use protocol::time::Timestamp;

use super::clearing::Cycle;
use super::disputes::Disputes;
use crate::cleanroom::CertifiedApplication;
use crate::exchange::book::{BookState, BookedExchange};
use crate::exchange::points::{Balance, Control};
use crate::exchange::received::Received;
use crate::exchange::record::SendBack;
use crate::vault::MemberId;

/// Most items of one part.
pub const ITEMS_MAX: usize = 2048;

/// One part.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(array)]
pub enum StateRecord {
    /// Members' points, in the order of their ids.
    #[n(0)]
    Balances(#[n(0)] Vec<(MemberId, Balance)>),
    /// Control accounts.
    #[n(1)]
    Controls(#[n(0)] Vec<(Control, u64)>),
    /// Keys of what has earned since the last snapshot, 20 bytes each, ascending.
    #[n(2)]
    EarnedKeys(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// Exchanges in memory, in the order in which they came.
    #[n(3)]
    Exchanges(#[n(0)] Vec<BookedExchange>),
    /// Leaves of the own log of which something may come back, in its order.
    #[n(4)]
    Legs(#[n(0)] Vec<(LeafIndex, OutgoingLeg)>),
    /// Exchanges that came in, those in memory, in the order in which they were credited.
    #[n(5)]
    Received(#[n(0)] Vec<(BrandId, LeafIndex, Received)>),
    /// What was sent back of them, and whether that is in a final block.
    #[n(6)]
    SentBack(#[n(0)] Vec<(SendBack, bool)>),
    /// What the book knows beside.
    #[n(7)]
    Book(#[n(0)] Box<BookState>),
    /// The latest headers of a log, in order: their leaves.
    #[n(8)]
    Headers(#[n(0)] BrandId, #[n(1)] Vec<minicbor::bytes::ByteVec>),
    /// What is known of a cut-off.
    #[n(9)]
    Cycle(#[n(0)] Timestamp, #[n(1)] Box<Cycle>),
    /// Disputes of one log by one brand; what this node has found itself.
    #[n(10)]
    Disputes(#[n(0)] Box<Disputes>),
    /// How many certified entries of the clean room are in the store.
    #[n(22)]
    StoredApplications(#[n(0)] u64),
    /// A certified entry of the clean room, of those that come after them.
    #[n(11)]
    Application(#[n(0)] Box<CertifiedApplication>),
    /// What members gave away before this node was rebuilt, beyond what is known of what they had.
    #[n(12)]
    Beyond(#[n(0)] Vec<(MemberId, Points)>),
    /// Members who were erased, of whom something may still come back, and when.
    #[n(23)]
    Erased(#[n(0)] Vec<(MemberId, Timestamp)>),
    /// What this brand has offered as the end of a dispute, and to whom.
    #[n(13)]
    Offered(#[n(0)] BrandId, #[n(1)] Box<DisputeResolved>),
    /// After a rebuild: what the own log sends back of exchanges that are still to come in again.
    #[n(14)]
    FormerReturns(#[n(0)] Vec<(BrandId, LeafIndex, Vec<Return>)>),
    /// A piece of the programme's state, and whether it is the last.
    #[n(16)]
    Programme(#[n(0)] minicbor::bytes::ByteVec, #[n(1)] bool),
    /// Brands whose logs have ended, with what is closed out with them.
    #[n(15)]
    Absent(#[n(0)] Box<Absent>),
    /// How many entries of the operation log the own log vouches for, or is to.
    #[n(20)]
    Operations(#[n(0)] u64),
    /// Hashes of certificates that members were given, ascending, and where in the own log they are.
    #[n(21)]
    Answered(#[n(0)] Vec<(ByteArray<32>, LeafIndex)>),
}
