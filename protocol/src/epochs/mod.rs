//! The constitutions of an alliance, one an epoch, and how one follows another.
//!
//! [`Constitutions`] is the chain: each constitution after the first names the hash of the one before.
//! Being in the chain says that a constitution may be what a log is under; which one a log is under at
//! a height, its own chain of blocks says: a block that carries q certified adoptions ([`adoption`])
//! ends an epoch of its log. What a change asks for is told in [`change`], what entries of a block may
//! say is judged in [`entries`]. Does not know files and signatures.

pub mod adoption;
pub mod certified;
pub mod change;
pub mod entries;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::amount::Value;
use crate::constitution::Constitution;
use crate::ids::{BrandId, ConstitutionHash, Epoch};

pub use adoption::{Adoption, DraftReference};
pub use certified::{CertifiedEntry, LogHead};
pub use change::{Change, Changes, Reach};

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
    /// Another alliance's.
    #[error("it must be a constitution of alliance {expected}")]
    Alliance {
        /// The one it must be.
        expected: BrandId,
    },
    /// More brands leave at once than a quorum can do without.
    #[error("{found} brands leave; one constitution may remove {most}, the others the next")]
    Removed {
        /// How many leave.
        found: usize,
        /// How many may.
        most: usize,
    },
    /// Public totals would fall.
    #[error("total_step must be {before} or a multiple of it, or public totals would fall")]
    TotalStep {
        /// The step so far.
        before: Value,
    },
    /// A log that was closed for good.
    #[error("{0} was frozen; its log is closed, so it stays frozen until it leaves")]
    Thawed(BrandId),
    /// A brand that left.
    #[error("{0} was a brand before and left; it joins again under another id")]
    Returned(BrandId),
    /// A key that was another's, or was given up.
    #[error("brand {brand}: key {role} was in an earlier constitution; make a new one")]
    KeyUsedBefore {
        /// The brand.
        brand: BrandId,
        /// The role.
        role: &'static str,
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
    /// The constitution before that of an epoch, if it is known.
    #[must_use]
    pub fn before(&self, epoch: Epoch) -> Option<&Constitution> {
        self.of(Epoch::new(epoch.get().checked_sub(1)?))
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

    /// What changes with a constitution that would follow the newest.
    ///
    /// # Errors
    /// When it may not follow it.
    pub fn changes(&self, next: &Constitution) -> Result<Changes, SuccessionError> {
        let newest = self.newest();
        let changes = Changes::between(newest, next)?;
        for (id, brand) in next.brands() {
            let now = newest.brand(id);
            if now.is_none() && self.have(id) {
                return Err(SuccessionError::Returned(id));
            }
            let kept = now.map(|now| now.keys.roles());
            for (place, (role, key)) in brand.keys.roles().into_iter().enumerate() {
                let stays = kept.is_some_and(|kept| kept.get(place) == Some(&(role, key)));
                if !stays && self.had_key(key) {
                    return Err(SuccessionError::KeyUsedBefore { brand: id, role });
                }
            }
        }
        Ok(changes)
    }

    fn had_key(&self, key: &[u8; 32]) -> bool {
        let brands = self.iter().flat_map(Constitution::brands);
        brands.flat_map(|(_, brand)| brand.keys.roles()).any(|(_, known)| known == key)
    }

    /// Adds the constitution that follows the newest.
    ///
    /// # Errors
    /// When it may not follow it.
    pub fn follow(&mut self, next: Constitution) -> Result<(), SuccessionError> {
        self.changes(&next)?;
        self.later.push(next);
        Ok(())
    }
}
