//! What a handler leaves to do: records to sync, then messages to send, and what has happened.

use crate::exchange::Payload;
use crate::ids::{BrandId, LeafIndex};
use crate::log::block::{BlockReference, Header, PublicEntry};
use crate::log::dispute::DisputeOpened;
use crate::recovery::held::HeldBlock;
use crate::witness::build::OwnBlock;
use crate::witness::evidence::Evidence;
use crate::witness::message::Message;
use crate::witness::record::Record;
use crate::witness::rules::Violation;
use crate::witness::statement::Certificate;

/// What must be on disk, what may then be said, what has happened.
#[derive(Debug, Default)]
pub struct Outbox {
    /// To be synced before anything else.
    pub records: Vec<Record>,
    /// To be sent after that.
    pub messages: Vec<(BrandId, Message)>,
    /// Payloads that were submitted under a constitution that is no longer the log's, at a price that
    /// is no longer right or to a brand that has left: they are in no block and will be in none.
    pub rejected: Vec<(BrandId, Payload)>,
    /// Public entries that were submitted and are out of date: they are in no block and will be in none.
    pub outdated: Vec<PublicEntry>,
    /// What has become final, for the rest of the node.
    pub finals: Vec<FinalBlock>,
    /// Own blocks that have become final, in order, with all that their writer knows: to be written
    /// to the log's tiles.
    pub written: Vec<OwnBlock>,
    /// Statements that no honest brand makes together; the ledger takes them up.
    pub found: Vec<Evidence>,
    /// What this node holds, as witness, of blocks that have become final: to be kept as long as the
    /// alliance's retention says. The records have it too.
    pub held: Vec<HeldBlock>,
    /// Bytes of bodies that were decoded from others' fragments: what is recorded of them must fit one
    /// append together with all else.
    pub decoded: usize,
}

impl Outbox {
    pub(super) fn send(&mut self, to: BrandId, message: Message) {
        self.messages.push((to, message));
    }
}

/// A final block of some log, as far as this node may see it.
#[derive(Clone, Debug)]
pub struct FinalBlock {
    /// What was certified.
    pub block: BlockReference,
    /// Its header.
    pub header: Header,
    /// Its certificate.
    pub certificate: Certificate,
    /// Its public entries.
    pub public: Vec<(LeafIndex, PublicEntry)>,
    /// What it says to this node, or why what it says cannot stand: then nothing of it is credited
    /// and the dispute is on record. Empty for the own log.
    pub payloads: Result<Vec<(LeafIndex, Payload)>, Violation>,
    /// For the first block of the log that says what cannot stand: what is to go on record.
    pub dispute: Option<Box<DisputeOpened>>,
    /// The rule that it is found to break although it is final: it was missed, or a lock forced it, so that
    /// this node did not judge it before. It stands all the same; more brands than may have lied.
    pub unsound: Option<Violation>,
}
