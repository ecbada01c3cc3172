//! Which sets of brands may be asked beside one another, so that no answers add up to fewer than three brands' own.
//!
//! Noise hides members, not a brand's totals: these are hidden by being added to others'. An answer of all brands less
//! one of all but one is that one's own, noise aside, in whatever words the two were asked. Brands that are in the same
//! sets are a *group*: whatever is added up and taken off of the answers counts a group as a whole. As long as
//! every group has [`CARRIERS_MIN`] brands, nothing that answers add up to is of fewer.

use std::collections::{BTreeMap, BTreeSet};

use crate::contract::CARRIERS_MIN;
use crate::ids::ParticipantId;

/// The smallest group that these sets tell apart from all others and that has too few brands, if there is one. A set by
/// itself tells none apart: how many brands it needs is the plan's rule.
pub fn told_apart(sets: &BTreeSet<BTreeSet<ParticipantId>>) -> Option<Vec<ParticipantId>> {
    if sets.len() < 2 {
        return None;
    }
    let brands: BTreeSet<ParticipantId> = sets.iter().flatten().copied().collect();
    let mut groups: BTreeMap<Vec<bool>, Vec<ParticipantId>> = BTreeMap::new();
    for brand in brands {
        let places: Vec<bool> = sets.iter().map(|set| set.contains(&brand)).collect();
        groups.entry(places).or_default().push(brand);
    }
    groups.into_values().filter(|group| group.len() < CARRIERS_MIN).min_by_key(Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(sets: &[&str]) -> Option<String> {
        let brand = |letter: char| format!("b{letter}").parse::<ParticipantId>().unwrap();
        let sets = sets.iter().map(|set| set.chars().map(brand).collect()).collect();
        let group = told_apart(&sets)?;
        Some(group.iter().map(|brand| brand.as_str().replace('b', "")).collect())
    }

    #[test]
    fn answers_of_sets_never_add_up_to_fewer_than_three_brands() {
        // the same, and with nothing in common
        assert_eq!(apart(&["12345"]), None);
        assert_eq!(apart(&["12345", "12345"]), None);
        assert_eq!(apart(&["123", "456"]), None);
        assert_eq!(apart(&["123", "123456"]), None);
        // one less, and two less, whose difference either of the two could take its own off
        assert_eq!(apart(&["12345", "1234"]).as_deref(), Some("5"));
        assert_eq!(apart(&["12345", "123"]).as_deref(), Some("45"));
        // one in another's place
        assert_eq!(apart(&["1234", "1235"]).as_deref(), Some("5"));
        // no two of these differ by fewer than three, and all three together tell three groups of two apart
        assert_eq!(apart(&["1234", "3456", "1256"]).map(|group| group.len()), Some(2));
        assert_eq!(apart(&["123456", "456789", "123789"]), None);
    }
}
