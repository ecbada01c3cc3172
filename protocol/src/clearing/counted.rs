//! Who is counted in a statement, and under which constitution: a function of the closed blocks alone.
//!
//! The rule stands in `protocol/spec/clearing.md` under "Who is counted". Every node and the audit ask it
//! here, with whatever closings they have. They may have them in any order, and other entries after them:
//! as soon as there is an answer, no further closing and no further entry changes it.

use std::collections::{BTreeMap, BTreeSet};

use super::absent::Absent;
use super::closing::CheckedClosing;
use super::statement::ClearingError;
use crate::constitution::Constitution;
use crate::epochs::Constitutions;
use crate::ids::{BrandId, Epoch};

/// Every brand that a statement counts, each in one of two ways.
pub(super) struct Counted<'c, 'a> {
    /// The newest constitution that one of the closings' blocks is under.
    pub constitution: &'c Constitution,
    /// Counted by their own closings.
    pub closings: BTreeMap<BrandId, &'a CheckedClosing>,
    /// Counted by what the others have closed out with them.
    pub taken: BTreeSet<BrandId>,
}

impl<'c, 'a> Counted<'c, 'a> {
    /// Counts everyone, or names somebody without whom there is no statement.
    ///
    /// Begins with the first constitution and takes in the brands of later ones only when a block of
    /// somebody who is counted already is under them. What is looked at grows from step to step, so that
    /// who is missing in one is missing in all that follow, and each step needs the closings of all
    /// whom it looks at: what has not come yet cannot have changed it.
    pub(super) fn of(
        constitutions: &'c Constitutions,
        closings: &BTreeMap<BrandId, &'a CheckedClosing>,
        absent: &Absent,
    ) -> Result<Self, ClearingError> {
        if let Some(stranger) = closings.keys().find(|debtor| !constitutions.have(**debtor)) {
            return Err(ClearingError::Stranger(*stranger));
        }
        let mut constitution = constitutions.first();
        loop {
            let until = constitution.epoch();
            let everyone = brands_until(constitutions, until);
            let taken = absent.taken(&everyone, closings);
            let there = |brand: &BrandId| taken.contains(brand) || closings.contains_key(brand);
            if let Some(missing) = everyone.iter().find(|brand| !there(brand)) {
                return Err(ClearingError::Missing(*missing));
            }
            let counts = |brand: &BrandId| everyone.contains(brand) && !taken.contains(brand);
            let own: BTreeMap<BrandId, &CheckedClosing> = closings
                .iter()
                .filter(|(brand, _)| counts(brand))
                .map(|(brand, closing)| (*brand, *closing))
                .collect();
            let newest = own.values().max_by_key(|closing| closing.epoch());
            if let Some(newer) = newest.filter(|closing| closing.epoch() > until) {
                let unknown = ClearingError::Constitution(newer.debtor());
                constitution = constitutions.of(newer.epoch()).ok_or(unknown)?;
                continue;
            }
            // who has left has no column any more in blocks under this constitution: what those brands
            // ever sent to it only their closing out says
            let left = own.keys().copied().find(|brand| constitution.brand(*brand).is_none());
            return match left {
                Some(left) => Err(ClearingError::Missing(left)),
                None => Ok(Self { constitution, closings: own, taken }),
            };
        }
    }
}

/// Every brand of a constitution up to an epoch: who has left is among them.
fn brands_until(constitutions: &Constitutions, until: Epoch) -> BTreeSet<BrandId> {
    let known = constitutions.iter().take_while(|constitution| constitution.epoch() <= until);
    known.flat_map(|constitution| constitution.committee().brands()).copied().collect()
}
