//! Entry bundles: each entry after its length as a big-endian u16.

use crate::codec::ENTRY_MAX;
use crate::log::merkle::LeafRef;

/// Adds one entry to a bundle.
pub(super) fn push_entry(bundle: &mut Vec<u8>, leaf: LeafRef<'_>) {
    // a leaf is at most ENTRY_MAX bytes, which is u16::MAX
    const { assert!(ENTRY_MAX == u16::MAX as usize) };
    let length = u16::try_from(leaf.entry().len()).unwrap_or(u16::MAX);
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(leaf.entry());
}

/// The entries of a bundle of `width` entries, or none when there are fewer, more, or bytes that
/// belong to no entry.
#[must_use]
pub fn parse_bundle(bytes: &[u8], width: u16) -> Option<Vec<&[u8]>> {
    let mut rest = bytes;
    let mut entries = Vec::with_capacity(usize::from(width));
    for _ in 0..width {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (entry, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        rest = after;
    }
    rest.is_empty().then_some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::merkle::Leaf;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bundle_gives_its_entries_and_no_part_of_it_does(
            entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20),
            cut: prop::sample::Index,
        ) {
            let mut bundle = Vec::new();
            for entry in &entries {
                let leaf = Leaf::new(entry.clone()).unwrap();
                push_entry(&mut bundle, (&leaf).into());
            }
            let width = u16::try_from(entries.len()).unwrap();
            prop_assert_eq!(parse_bundle(&bundle, width).unwrap(), entries);
            prop_assert_eq!(parse_bundle(&bundle, width - 1), None);
            prop_assert_eq!(parse_bundle(&bundle, width + 1), None);
            prop_assert_eq!(parse_bundle(&bundle[..cut.index(bundle.len())], width), None);
        }
    }

    #[test]
    fn the_longest_entry_fits() {
        let leaf = Leaf::new(vec![5; ENTRY_MAX]).unwrap();
        let mut bundle = Vec::new();
        push_entry(&mut bundle, (&leaf).into());
        assert_eq!(parse_bundle(&bundle, 1).unwrap(), [leaf.entry()]);
    }
}
