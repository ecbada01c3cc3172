//! The constitutions of an alliance, one an epoch, and how one follows another.
//!
//! [`Constitutions`] is the chain: each constitution after the first names the hash of the one before.
//! Being in the chain says that a constitution may be what a log is under; which one a log is under at
//! a height, its own chain of blocks says. Does not know files and signatures.

use std::collections::BTreeSet;

use crate::constitution::Constitution;
use crate::ids::{BrandId, ConstitutionHash, Epoch};

/// Constitutions by epoch, without a gap; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constitutions {
    first: Constitution,
    later: Vec<Constitution>,
}

/// Why a constitution does not follow another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuccessionError {
    /// Not the next number.
    #[error("epoch {found} does not follow epoch {newest}")]
    Epoch {
        /// As stated.
        found: Epoch,
        /// The newest there is.
        newest: Epoch,
    },
    /// It names another constitution than the one before it.
    #[error("it must name {expected} as the hash of the constitution before it")]
    Previous {
        /// The hash of the one before.
        expected: ConstitutionHash,
    },
}

impl From<Constitution> for Constitutions {
    fn from(first: Constitution) -> Self {
        Self { first, later: Vec::new() }
    }
}

impl Constitutions {
    /// The alliance's first.
    #[must_use]
    pub const fn first(&self) -> &Constitution {
        &self.first
    }
    /// The last of the chain.
    #[must_use]
    pub fn newest(&self) -> &Constitution {
        self.later.last().unwrap_or(&self.first)
    }
    /// All of them, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Constitution> {
        std::iter::once(&self.first).chain(&self.later)
    }
    /// The constitution of an epoch, if it is known.
    #[must_use]
    pub fn of(&self, epoch: Epoch) -> Option<&Constitution> {
        let after = epoch.get().checked_sub(self.first.epoch().get())?;
        match after.checked_sub(1) {
            None => Some(&self.first),
            Some(place) => self.later.get(usize::try_from(place).ok()?),
        }
    }
    /// The first constitution that has this brand.
    #[must_use]
    pub fn first_with(&self, brand: BrandId) -> Option<&Constitution> {
        self.iter().find(|constitution| constitution.brand(brand).is_some())
    }
    /// The last constitution that has this brand.
    #[must_use]
    pub fn last_with(&self, brand: BrandId) -> Option<&Constitution> {
        self.iter().rev().find(|constitution| constitution.brand(brand).is_some())
    }
    /// Every brand that is or was a member.
    #[must_use]
    pub fn brands(&self) -> BTreeSet<BrandId> {
        self.iter().flat_map(|constitution| constitution.committee().brands()).copied().collect()
    }
    /// Whether a brand is or was a member.
    #[must_use]
    pub fn have(&self, brand: BrandId) -> bool {
        self.first_with(brand).is_some()
    }

    /// Adds the constitution that follows the newest.
    ///
    /// # Errors
    /// When it does not follow it.
    pub fn follow(&mut self, next: Constitution) -> Result<(), SuccessionError> {
        let newest = self.newest();
        if Some(next.epoch()) != newest.epoch().next() {
            let (found, newest) = (next.epoch(), newest.epoch());
            return Err(SuccessionError::Epoch { found, newest });
        }
        let expected = newest.hash();
        if next.succession().previous != Some(expected) {
            return Err(SuccessionError::Previous { expected });
        }
        self.later.push(next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constitution::tests::draft;

    #[test]
    fn each_constitution_names_the_one_before() {
        let first = Constitution::new(draft(3)).unwrap();
        let mut chain = Constitutions::from(first.clone());
        let mut next = draft(4);
        next.epoch = Epoch::new(2);
        next.hash = ConstitutionHash::from_bytes([2; 32]);
        let mut follow = |draft: &_| chain.follow(Constitution::new(Clone::clone(draft)).unwrap());
        let expected = first.hash();
        assert_eq!(follow(&next), Err(SuccessionError::Previous { expected }));
        next.succession.previous = Some(expected);
        assert_eq!(follow(&next), Ok(()));
        let (found, newest) = (Epoch::new(2), Epoch::new(2));
        assert_eq!(follow(&next), Err(SuccessionError::Epoch { found, newest }));
        let epochs: Vec<u32> = chain.iter().map(|of| of.epoch().get()).collect();
        assert_eq!(epochs, [1, 2]);
        assert_eq!(chain.of(Epoch::new(2)), Some(chain.newest()));
        assert_eq!(chain.of(Epoch::new(1)), Some(&first));
        assert_eq!((chain.of(Epoch::new(0)), chain.of(Epoch::new(3))), (None, None));
        let newcomer = BrandId::new("d").unwrap();
        assert_eq!(chain.first_with(newcomer), Some(chain.newest()));
    }
}
