//! A log in dispute, on the side of the brand that disputes it: what it withholds, what the accused
//! offers, and how it ends.
//!
//! From the first block that said what cannot stand nothing of the log is credited. What such blocks say
//! that could stand by itself is kept until both sides have agreed ([`DisputeResolved`]); from the block
//! with the accused's offer on the column is checked again, so that whoever agrees goes on from there.
//! Bounded: a log that says too much in dispute can be resolved by its totals alone.

use minicbor::{Decode, Encode};

use super::snapshot::{DisputeState, StateError, Withheld};
use super::state::FinalBlock;
use super::statement::Certificate;
use crate::amount::Value;
use crate::codec::DecodeError;
use crate::exchange::Payload;
use crate::ids::{BrandId, Commitment, Height, LeafIndex};
use crate::log::block::{ColumnContent, Header};
use crate::log::merkle::leaf_hash;
use crate::log::resolution::DisputeResolved;

/// Most blocks with something for this brand that are kept in dispute.
const BLOCKS_KEPT: usize = 1024;
/// Most leaves in them.
const LEAVES_KEPT: usize = 65_536;

/// Why this brand cannot agree to what the accused offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AgreeError {
    /// The log is not in dispute here.
    #[error("this brand does not dispute that log")]
    NoDispute,
    /// Nothing is offered, or what was is void since the log said again what cannot stand.
    #[error("the accused brand's log has no offer that can be agreed to; ask its operator for one")]
    NoOffer,
    /// The log has ended: what it sent is closed out as it stood before the dispute.
    #[error(
        "the accused brand's log has ended; it is closed out, and nothing is agreed to any more"
    )]
    Ended,
    /// It begins elsewhere.
    #[error("the offer is about other blocks, or begins from other totals than were agreed before")]
    OtherDispute,
    /// A leaf counts that does not open here to an entry that could stand.
    #[error("leaf {0} is to count, and does not open to an entry that could stand")]
    Leaf(LeafIndex),
    /// It says that they are worth something else.
    #[error("the leaves that are to count are worth {found}, and not {stated}")]
    Value {
        /// By their payloads.
        found: Value,
        /// By the offer.
        stated: Value,
    },
    /// More was withheld than is kept.
    #[error("the log said more in dispute than this node keeps; it can only be resolved as void")]
    TooMuch,
}

/// What the accused offers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Offer {
    /// The terms.
    #[n(0)]
    pub resolution: DisputeResolved,
    /// The block with them.
    #[n(1)]
    pub height: Height,
    // where the column stands by them
    #[n(2)]
    content: ColumnContent,
}

/// A log in dispute.
#[derive(Clone, Debug)]
pub struct Dispute {
    log: BrandId,
    began: Height,
    rule: u16,
    // the column in the block before and its salt; none when that block could not be read here
    before: Option<(ColumnContent, [u8; 32])>,
    // what that block commits to as the column's content; none when it has no such column
    committed: Option<Commitment>,
    // blocks with something for this brand, each with what could stand of it
    withheld: Vec<FinalBlock>,
    leaves: usize,
    is_full: bool,
    offer: Option<Offer>,
}

/// What comes of an agreement.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// The terms.
    pub resolution: DisputeResolved,
    /// What this brand now credits or returns, block after block.
    pub blocks: Vec<FinalBlock>,
    // where the column stands
    pub(super) content: ColumnContent,
}

impl Dispute {
    /// A dispute that begins with this block; `before` and its salt are those of the block before, which
    /// commits to them.
    pub(super) fn new(
        header: &Header,
        rule: u16,
        before: Option<(ColumnContent, [u8; 32])>,
        committed: Option<Commitment>,
    ) -> Self {
        let (log, began) = (header.log, header.height);
        let (withheld, leaves, is_full) = (Vec::new(), 0, false);
        Self { log, began, rule, before, committed, withheld, leaves, is_full, offer: None }
    }

    /// The first block in dispute.
    #[must_use]
    pub const fn began(&self) -> Height {
        self.began
    }
    /// The rule that it breaks.
    #[must_use]
    pub const fn rule(&self) -> u16 {
        self.rule
    }
    /// The column before it, with the salt it was committed with; none when it could not be read here.
    #[must_use]
    pub const fn before(&self) -> Option<&(ColumnContent, [u8; 32])> {
        self.before.as_ref()
    }

    /// Whether terms begin from what the block before commits to. Who could not read that block is
    /// shown by them what it says.
    fn continues(&self, terms: &DisputeResolved) -> bool {
        match (&self.before, &self.committed) {
            (Some((before, salt)), _) => (&terms.before, &terms.salt) == (before, salt),
            (None, Some(committed)) => terms.before.commitment(&terms.salt) == *committed,
            (None, None) => (terms.before, terms.salt) == (ColumnContent::nothing(), [0; 32]),
        }
    }
    /// What the accused offers, if it does.
    #[must_use]
    pub const fn offer(&self) -> Option<&Offer> {
        self.offer.as_ref()
    }
    /// Leaves that could stand.
    pub fn withheld(&self) -> impl Iterator<Item = &(LeafIndex, Payload)> {
        self.withheld.iter().flat_map(|block| block.payloads.iter().flatten())
    }

    /// From what the log's next block is checked: what is offered, or what stood before, where that is
    /// known.
    pub(super) fn content(&self) -> Option<ColumnContent> {
        let offered = self.offer.as_ref().map(|offer| offer.content);
        offered.or(self.before.map(|(content, _)| content))
    }

    /// A further block is final. `column` is what it comes to where it continues from
    /// [`Dispute::content`], `salvaged` what of it could stand by itself.
    pub(super) fn take(
        &mut self,
        block: &FinalBlock,
        resolution: Option<DisputeResolved>,
        column: Result<ColumnContent, ()>,
        salvaged: Vec<(LeafIndex, Payload)>,
    ) {
        if let Some(resolution) = resolution {
            // below it becomes what the column comes to, or there is no offer
            let (height, content) = (block.header.height, ColumnContent::nothing());
            self.offer = Some(Offer { resolution, height, content });
        }
        match (&mut self.offer, column) {
            (Some(offer), Ok(content)) => offer.content = content,
            // it says again what cannot stand: what was offered before is no end of it
            (offer, _) => *offer = None,
        }
        if salvaged.is_empty() {
            return;
        }
        let leaves = self.leaves.saturating_add(salvaged.len());
        if leaves > LEAVES_KEPT || self.withheld.len() >= BLOCKS_KEPT {
            self.is_full = true;
            return;
        }
        let (header, certificate) = (block.header.clone(), block.certificate.clone());
        self.withhold(header, certificate, salvaged);
    }

    fn withhold(
        &mut self,
        header: Header,
        certificate: Certificate,
        stands: Vec<(LeafIndex, Payload)>,
    ) {
        self.leaves = self.leaves.saturating_add(stands.len());
        self.withheld.push(FinalBlock {
            block: certificate.block(),
            header,
            certificate,
            // what it said in public, and what else was wrong with it, was told when it became final
            public: Vec::new(),
            payloads: Ok(stands),
            dispute: None,
            unsound: None,
        });
    }

    /// What is to be taken up again after a restart, beside what is withheld.
    pub(super) fn state(&self) -> DisputeState {
        let (began, rule, is_full) = (self.began, self.rule, self.is_full);
        let before = self.before.map(|(content, salt)| (content, salt.into()));
        let (committed, offer) = (self.committed, self.offer.clone());
        DisputeState { began, rule, before, committed, is_full, offer }
    }

    /// What is withheld, block after block.
    pub(super) fn withheld_blocks(&self) -> impl Iterator<Item = Withheld> + '_ {
        self.withheld.iter().map(|block| Withheld {
            header: block.header.to_leaf().0,
            certificate: block.certificate.as_unverified().clone(),
            payloads: block.payloads.clone().unwrap_or_default(),
        })
    }

    /// The dispute of a state; what is withheld is added to it ([`Dispute::take_up`]).
    pub(super) fn of_state(log: BrandId, state: &DisputeState) -> Self {
        let DisputeState { began, rule, before, committed, is_full, offer } = state.clone();
        let before = before.map(|(content, salt)| (content, *salt));
        let (withheld, leaves) = (Vec::new(), 0);
        Self { log, began, rule, before, committed, withheld, leaves, is_full, offer }
    }

    /// Takes up a block that is withheld, in order.
    pub(super) fn take_up(
        &mut self,
        it: &Withheld,
        certificate: Certificate,
    ) -> Result<(), StateError> {
        let log = self.log;
        let header = Header::from_bytes(&it.header);
        let header = header.map_err(|error: DecodeError| StateError::Header { log, error })?;
        let is_its = leaf_hash(&it.header).of_header() == certificate.block().header;
        if !is_its || certificate.block().log != log {
            return Err(StateError::LastBlock(log));
        }
        self.withhold(header, certificate, it.payloads.clone());
        Ok(())
    }

    /// What would come of agreeing to the offer.
    ///
    /// # Errors
    /// When it cannot be agreed to.
    pub fn agree(&self) -> Result<Agreed, AgreeError> {
        let Offer { resolution, content, .. } = self.offer.as_ref().ok_or(AgreeError::NoOffer)?;
        let same = (resolution.accused, resolution.began) == (self.log, self.began);
        if !same || !self.continues(resolution) {
            return Err(AgreeError::OtherDispute);
        }
        // what was said after the offer, and is not kept, would never be credited
        if self.is_full {
            return Err(AgreeError::TooMuch);
        }
        let mut worth = Value::ZERO;
        let mut counted = 0_u64;
        let mut blocks = Vec::new();
        for block in &self.withheld {
            let considered = block.header.height <= resolution.last;
            let stands = block.payloads.iter().flatten();
            let stands = stands.filter(|(leaf, _)| !considered || resolution.counts(*leaf));
            let stands: Vec<(LeafIndex, Payload)> = stands.cloned().collect();
            if considered {
                counted = counted.saturating_add(u64::try_from(stands.len()).unwrap_or(u64::MAX));
                for (_, payload) in &stands {
                    worth = worth.plus(payload.value()).unwrap_or(Value::MAX);
                }
            }
            if !stands.is_empty() {
                blocks.push(FinalBlock { payloads: Ok(stands), ..block.clone() });
            }
        }
        if counted != resolution.leaves() {
            let known = |leaf: LeafIndex| self.withheld().any(|(known, _)| *known == leaf);
            let named = resolution.stands.iter().flat_map(|run| {
                (run.first.get()..)
                    .map(LeafIndex::new)
                    .take(usize::try_from(run.count).unwrap_or(0))
            });
            let unknown = named.take(LEAVES_KEPT).find(|leaf| !known(*leaf));
            return Err(unknown.map_or(AgreeError::TooMuch, AgreeError::Leaf));
        }
        if worth != resolution.counted {
            return Err(AgreeError::Value { found: worth, stated: resolution.counted });
        }
        Ok(Agreed { resolution: resolution.clone(), blocks, content: *content })
    }
}
