//! The last rounds of a frozen log: its open height is decided, and then nothing is appended (rule 14).
//!
//! Rounds from [`FIRST`] on are led by the witnesses in turn, since the writer is the accused. They are
//! rounds like the others, above all of them: whoever joins one joins none of the writer's any more, and the
//! highest lock binds. Where there is none among q promises, no block of the height can have become final,
//! and what is certified is that nothing is appended. Does not know who may ask for it: that the log's
//! witness holds evidence and its brand has agreed is asked of [`super::state::Witness`].

use minicbor::{Decode, Encode};

use super::message::PromiseMessage;
use super::rules::Tip;
use super::statement::Proposal;
use crate::constitution::Committee;
use crate::crypto::Signed;
use crate::ids::{BrandId, Epoch, HeaderHash, Height, Round};
use crate::log::block::BlockReference;

/// The first of the last rounds.
pub const FIRST: Round = Round::new(1 << 31);

/// Whether it is one of the last rounds.
#[must_use]
pub const fn is_last(round: Round) -> bool {
    round.get() >= FIRST.get()
}

/// Who leads a round of a log: its writer, and in the last rounds the witnesses in their order.
#[must_use]
pub fn leader(committee: &Committee, log: BrandId, round: Round) -> BrandId {
    let Some(turn) = round.get().checked_sub(FIRST.get()) else { return log };
    let witnesses: Vec<BrandId> = committee.witnesses(log).collect();
    let turn = usize::try_from(turn).unwrap_or(0).checked_rem(witnesses.len()).unwrap_or(0);
    witnesses.get(turn).copied().unwrap_or(log)
}

/// The next round above `joined` that this brand leads.
#[must_use]
pub fn next_round(
    committee: &Committee,
    log: BrandId,
    me: BrandId,
    joined: Round,
) -> Option<Round> {
    let above = joined.next()?.max(FIRST);
    let rounds = (above.get()..=u32::MAX).take(committee.size()).map(Round::new);
    rounds.into_iter().find(|round| leader(committee, log, *round) == me)
}

/// What is certified when no block is: the tree stays as it is.
#[must_use]
pub fn nothing(epoch: Epoch, log: BrandId, tip: &Tip) -> BlockReference {
    BlockReference {
        log,
        epoch,
        height: tip.height.next().unwrap_or(Height::new(u64::MAX)),
        header: HeaderHash::NOTHING,
        size: tip.frontier.size(),
        root: tip.frontier.root(),
    }
}

/// A leader's proposal in a last round. The block itself, if it is one, is with those who voted for it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct LastProposal {
    /// The signed proposal.
    #[n(0)]
    pub proposal: Signed<Proposal>,
    /// q promises of this opening.
    #[n(1)]
    pub promises: Vec<PromiseMessage>,
}
