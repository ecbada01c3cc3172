//! Groups whose names are private: which of them are shown, and how those are written down.
//!
//! A group is shown when its noised count of members reaches the plan's threshold
//! ([`threshold`](crate::mechanism::threshold)), and only then is anything of it in a release: its name, its
//! place, its values. Every group there is has noise of its own, also beyond the contract's cap on groups: that cap
//! is for the release alone. Of more groups that reach the threshold, those with the largest noised counts
//! are shown, of equals those of the lesser names. That is decided from what would have been shown without a
//! cap, so it is post-processing and costs nothing; to leave groups out before the noise, or to fail, would let
//! one member's own group put another one out, or be seen, with certainty.

use minicbor::{Decode, Encode};

use super::ReleaseError;
use super::local::Noised;
use crate::bounded::BoundedVector;
use crate::mechanism::NoiseShare;
use crate::plan::{DpPlan, PrivateGroups};
use crate::steps::{MESSAGE_MAX_BYTES, decoded, encoded};

/// What is stored and sent of the groups that are shown.
#[derive(Encode, Decode)]
#[cbor(array)]
struct Written {
    #[n(0)]
    groups: Vec<String>,
    #[n(1)]
    values: Vec<i64>,
}

/// Adds the noise, and leaves out every group whose noised count of members is below the threshold.
pub(super) fn noised(
    plan: &DpPlan,
    private: &PrivateGroups,
    vector: &BoundedVector,
    noise: &NoiseShare,
) -> Result<Noised, ReleaseError> {
    let names = vector.groups();
    let most = plan.cells_at_most();
    let more = names.len().saturating_sub(most);
    let summed = Figures { plan, cells: names.len(), values: vector.values() };
    let drawn = Figures { plan, cells: most, values: noise.values() };
    let beyond = Figures { plan, cells: more, values: noise.beyond() };
    let sum = |column: usize, group: usize, within: usize| {
        let noise = match group.checked_sub(most) {
            None => drawn.at(column, group, within),
            Some(group) => beyond.at(column, group, within),
        };
        let noise = noise.ok_or(ReleaseError::Plan)?;
        let value = summed.at(column, group, within).ok_or(ReleaseError::Plan)?;
        value.checked_add(noise).ok_or(ReleaseError::Plan)
    };
    let mut reached = Vec::new();
    for group in 0..names.len() {
        let count = sum(usize::from(private.column), group, 0)?;
        if reaches(private, count) {
            reached.push((group, count));
        }
    }
    // names are in order
    reached.sort_by_key(|(group, count)| (core::cmp::Reverse(*count), *group));
    let mut shown: Vec<usize> = reached.into_iter().take(most).map(|(group, _)| group).collect();
    shown.sort_unstable();
    let mut values = Vec::new();
    for (column, planned) in plan.columns().iter().enumerate() {
        for group in &shown {
            for within in 0..planned.fill().shown() {
                values.push(sum(column, *group, within)?);
            }
        }
    }
    let labels = shown.into_iter().filter_map(|group| Some(vec![names.get(group)?.clone()]));
    Ok(Noised { labels: labels.collect(), values })
}

/// A column's cells together, a cell's coordinates together.
struct Figures<'a> {
    plan: &'a DpPlan,
    cells: usize,
    values: &'a [i64],
}

impl Figures<'_> {
    fn at(&self, column: usize, cell: usize, within: usize) -> Option<i64> {
        let width = self.plan.columns().get(column)?.fill().width();
        let at = cell.checked_mul(width)?.checked_add(within)?;
        self.values.get(self.plan.column_start(column, self.cells).checked_add(at)?).copied()
    }
}

fn reaches(private: &PrivateGroups, count: i64) -> bool {
    u64::try_from(count).is_ok_and(|count| count >= private.threshold)
}

pub(super) fn written(labels: &[Vec<String>], values: &[i64]) -> Vec<u8> {
    let groups = labels.iter().filter_map(|labels| labels.first().cloned()).collect();
    encoded(&Written { groups, values: values.to_vec() })
}

/// What was written: groups in order, each of which reaches the threshold.
pub(super) fn read(
    plan: &DpPlan,
    private: &PrivateGroups,
    bytes: &[u8],
) -> Result<Noised, ReleaseError> {
    let written: Written =
        decoded(bytes, MESSAGE_MAX_BYTES, "private groups").map_err(|_| ReleaseError::Plan)?;
    let Written { groups, values } = written;
    let figures = Figures { plan, cells: groups.len(), values: &values };
    let column = usize::from(private.column);
    let counted = (0..groups.len())
        .all(|group| figures.at(column, group, 0).is_some_and(|count| reaches(private, count)));
    let ordered = groups.is_sorted_by(|one, two| one < two);
    if !counted || !ordered || groups.len() > plan.cells_at_most() {
        return Err(ReleaseError::Plan);
    }
    let labels = groups.into_iter().map(|group| vec![group]).collect();
    Ok(Noised { labels, values })
}

#[cfg(test)]
mod tests;
