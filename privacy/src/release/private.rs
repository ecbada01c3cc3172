//! Groups whose names are private: which of them are shown, and how those are written down.
//!
//! A group is shown when its noised count of members reaches the plan's threshold
//! ([`threshold`](crate::mechanism::threshold)), and only then is anything of it in a release: its name, its
//! place, its values. Noise was drawn for as many groups as there can be before the data was read.

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
    let summed = Figures { plan, cells: names.len(), values: vector.values() };
    let drawn = Figures { plan, cells: plan.cells_at_most(), values: noise.values() };
    let sum = |column: usize, group: usize, within: usize| {
        let noise = drawn.at(column, group, within).ok_or(ReleaseError::Plan)?;
        let value = summed.at(column, group, within).ok_or(ReleaseError::Plan)?;
        value.checked_add(noise).ok_or(ReleaseError::Plan)
    };
    let mut shown = Vec::new();
    for group in 0..names.len() {
        if reaches(private, sum(usize::from(private.column), group, 0)?) {
            shown.push(group);
        }
    }
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
