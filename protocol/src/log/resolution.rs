//! What accused and accuser agree that a dispute comes to.
//!
//! Both enter the same resolution in their logs. The accused first, in the block after the last one that
//! is considered: from there its column for the accuser continues from the agreed totals. Then the
//! accuser, in a block that recognises the accused's log beyond it and gives back what is void. Shapes and
//! the arithmetic inside a resolution; what a block with one may say is `witness::allowed`'s.

use std::fmt;

use minicbor::{Decode, Encode};

use super::block::{ColumnContent, hash_of_leaves};
use crate::amount::{AmountError, Value};
use crate::ids::{BrandId, HeaderHash, Height, LeafIndex};

/// Most runs of leaves that stand. Who needs more agrees on fewer, and the members ask again.
pub const RUNS_MAX: usize = 1024;

/// Consecutive leaves of the accused's log that are for the accuser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Run {
    /// The first.
    #[n(0)]
    pub first: LeafIndex,
    /// How many, at least one.
    #[n(1)]
    pub count: u32,
}

impl Run {
    fn end(self) -> Option<u64> {
        self.first.get().checked_add(u64::from(self.count))
    }
}

/// A dispute's resolution.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct DisputeResolved {
    /// Whose log is in dispute.
    #[n(0)]
    pub accused: BrandId,
    /// Who credits nothing of it.
    #[n(1)]
    pub accuser: BrandId,
    /// The first block in dispute.
    #[n(2)]
    pub began: Height,
    /// The last block that is considered; the accused's entry is in the next.
    #[n(3)]
    pub last: Height,
    /// Its id.
    #[n(4)]
    pub block: HeaderHash,
    /// The accuser's column in the block before the dispute: what both agree on.
    #[n(5)]
    pub before: ColumnContent,
    /// The salt it was committed with; zeros when there is no such block.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub salt: [u8; 32],
    /// Leaves in dispute that count, in order. All others are void.
    #[n(7)]
    pub stands: Vec<Run>,
    /// What those are worth.
    #[n(8)]
    pub counted: Value,
    /// What else the accused's totals claim: the accuser gives it back.
    #[n(9)]
    pub void: Value,
    /// Leaves that were ever addressed to the accuser, void ones included.
    #[n(10)]
    pub entries: u64,
}

impl fmt::Debug for DisputeResolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accused, accuser, began, last, counted, void, .. } = self;
        write!(
            f,
            "DisputeResolved({accuser} of {accused}, blocks {began} to {last}: {counted} count, {void} void)"
        )
    }
}

/// What is wrong with a resolution by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResolutionError {
    /// One brand on both sides.
    #[error("accused and accuser are one brand")]
    Sides,
    /// No such blocks.
    #[error("the last block considered is before the first in dispute")]
    Heights,
    /// Runs that are empty, too many, or in no order.
    #[error("the leaves that stand are in no order, or more than {RUNS_MAX} runs")]
    Runs,
    /// Fewer entries than count.
    #[error("fewer leaves were ever sent than those before the dispute and those that stand")]
    Entries,
    /// Too much.
    #[error(transparent)]
    Amount(#[from] AmountError),
}

impl DisputeResolved {
    /// Checks it by itself.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ResolutionError> {
        if self.accused == self.accuser {
            return Err(ResolutionError::Sides);
        }
        if self.began.get() == 0 || self.last < self.began {
            return Err(ResolutionError::Heights);
        }
        let mut free_from = 0;
        for run in &self.stands {
            let end = run.end().filter(|_| run.count > 0 && run.first.get() >= free_from);
            free_from = end.ok_or(ResolutionError::Runs)?;
        }
        if self.stands.len() > RUNS_MAX {
            return Err(ResolutionError::Runs);
        }
        let least = self.before.entries.checked_add(self.leaves()).ok_or(ResolutionError::Runs)?;
        if self.entries < least {
            return Err(ResolutionError::Entries);
        }
        self.total()?;
        Ok(())
    }

    /// Accused and accuser.
    #[must_use]
    pub const fn sides(&self) -> (BrandId, BrandId) {
        (self.accused, self.accuser)
    }

    /// What the accused has ever sent the accuser by it.
    ///
    /// # Errors
    /// When it leaves its range.
    pub fn total(&self) -> Result<Value, AmountError> {
        self.before.sent.plus(self.counted)?.plus(self.void)
    }

    /// The content from which the accused's column continues.
    ///
    /// # Errors
    /// When the total leaves its range.
    pub fn content(&self) -> Result<ColumnContent, AmountError> {
        let (entries, sent) = (self.entries, self.total()?);
        Ok(ColumnContent { entries, sent, first: 0, count: 0, leaves: hash_of_leaves(&[]) })
    }

    /// How many leaves count.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.stands.iter().fold(0, |sum, run| sum.saturating_add(u64::from(run.count)))
    }

    /// Whether a leaf of the accused's log counts.
    #[must_use]
    pub fn counts(&self, index: LeafIndex) -> bool {
        let before = self.stands.partition_point(|run| run.first <= index);
        let run = before.checked_sub(1).and_then(|place| self.stands.get(place));
        run.and_then(|run| run.end()).is_some_and(|end| index.get() < end)
    }
}

/// Leaves, in order, as runs.
#[must_use]
pub fn runs(leaves: impl IntoIterator<Item = LeafIndex>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for first in leaves {
        match runs.last_mut() {
            Some(run) if run.end() == Some(first.get()) => run.count = run.count.saturating_add(1),
            _ => runs.push(Run { first, count: 1 }),
        }
    }
    runs
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn resolution() -> DisputeResolved {
        let value = |of| Value::new(of).unwrap();
        DisputeResolved {
            accused: BrandId::new("a").unwrap(),
            accuser: BrandId::new("b").unwrap(),
            began: Height::new(3),
            last: Height::new(4),
            block: HeaderHash::GENESIS,
            before: ColumnContent { entries: 5, sent: value(100), ..ColumnContent::nothing() },
            salt: [7; 32],
            stands: runs([20, 21, 22, 30].map(LeafIndex::new)),
            counted: value(40),
            void: value(10),
            entries: 11,
        }
    }

    #[test]
    fn a_resolution_adds_up_and_names_its_leaves_in_order() {
        let sound = resolution();
        assert_eq!(sound.check(), Ok(()));
        assert_eq!(sound.stands.len(), 2);
        assert_eq!(sound.content().unwrap().sent, Value::new(150).unwrap());
        let counted: Vec<u64> =
            (0..40).filter(|index| sound.counts(LeafIndex::new(*index))).collect();
        assert_eq!(counted, [20, 21, 22, 30]);
        let wrong = |change: fn(&mut DisputeResolved)| {
            let mut it = resolution();
            change(&mut it);
            it.check().unwrap_err()
        };
        assert_eq!(wrong(|it| it.accuser = it.accused), ResolutionError::Sides);
        assert_eq!(wrong(|it| it.last = Height::new(2)), ResolutionError::Heights);
        assert_eq!(wrong(|it| it.began = Height::new(0)), ResolutionError::Heights);
        assert_eq!(wrong(|it| it.stands.reverse()), ResolutionError::Runs);
        assert_eq!(wrong(|it| it.stands[0].count = 0), ResolutionError::Runs);
        assert_eq!(wrong(|it| it.stands[0].count = 11), ResolutionError::Runs);
        assert_eq!(wrong(|it| it.entries = 8), ResolutionError::Entries);
        let beyond = wrong(|it| it.void = Value::MAX);
        assert!(matches!(beyond, ResolutionError::Amount(_)));
    }
}
