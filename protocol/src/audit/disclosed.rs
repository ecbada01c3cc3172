//! What brands disclosed to an auditor whose key is at hand, read before a log is walked: the entry
//! that opens a block comes after it.
//!
//! Reads entries as they are in the folder. That is enough: what they give is checked against the
//! certified header it is said to open. Whether the entries may stand is judged when the walk comes
//! to them.

use std::collections::BTreeMap;

use super::KeyHolder;
use super::OpeningKey;
use super::folder::{Facts, LogFolder, WIDTH, read_file, read_header_leaf};
use super::sealed::ring_of;
use crate::constitution::Access;
use crate::crypto::sealed::KeyRing;
use crate::disclosure::{DisclosedBlock, Disclosure};
use crate::epochs::Constitutions;
use crate::ids::{Height, TreeSize};
use crate::log::block::{Entry, Header, PublicEntry};
use crate::log::tiles::{TileKind, parse_bundle};

/// What one log gave the auditor, by height.
#[derive(Debug, Default)]
pub(super) struct Disclosed {
    blocks: BTreeMap<Height, DisclosedBlock>,
}

impl Disclosed {
    /// Reads a log's disclosures to the first auditor on request whose key is given. Looks at nothing
    /// when there is none.
    pub(super) fn read<F: LogFolder>(
        constitutions: &Constitutions,
        (folder, facts, size): (&F, &Facts, TreeSize),
        keys: &[OpeningKey],
    ) -> Self {
        let mut disclosed = Self::default();
        let holder = keys.iter().map(|key| &key.holder).find(|holder| match holder {
            KeyHolder::Auditor(name) => constitutions.iter().any(|known| {
                known.auditor(name).is_some_and(|auditor| auditor.access == Access::OnRequest)
            }),
            KeyHolder::Recovery(_) => false,
        });
        if let Some(KeyHolder::Auditor(name)) = holder
            && let Some(ring) = holder.and_then(|holder| ring_of(holder, keys))
        {
            for disclosure in entries(folder, size).filter(|entry| entry.auditor == *name) {
                disclosed.take((folder, facts, size), &disclosure, &ring);
            }
        }
        disclosed
    }

    fn take<F: LogFolder>(
        &mut self,
        (folder, facts, size): (&F, &Facts, TreeSize),
        disclosure: &Disclosure,
        ring: &KeyRing,
    ) {
        for (height, wrapped) in disclosure.blocks() {
            let Some(fact) = facts.at(height) else { continue };
            let leaf = read_header_leaf(folder, size, &fact);
            let Some(header) = leaf.and_then(|leaf| Header::from_bytes(&leaf).ok()) else {
                continue;
            };
            let Ok(given) = DisclosedBlock::open(&header, &disclosure.auditor, ring, wrapped)
            else {
                continue;
            };
            let known = self.blocks.entry(height).or_insert_with(|| given.clone());
            known.before = known.before.take().or(given.before);
        }
    }

    pub(super) fn at(&self, height: Height) -> Option<&DisclosedBlock> {
        self.blocks.get(&height)
    }
}

/// Every disclosure in a log's entries.
fn entries<F: LogFolder>(folder: &F, size: TreeSize) -> impl Iterator<Item = Disclosure> + '_ {
    let bundles = size.get().div_ceil(WIDTH);
    (0..bundles).flat_map(move |index| {
        let mut found = Vec::new();
        if let Ok((_, path, bytes)) = read_file(folder, TileKind::Entries, index, size) {
            let entries = parse_bundle(&bytes, path.width()).unwrap_or_default();
            // most entries are sealed: only public ones are read whole
            for entry in entries.into_iter().filter(|entry| entry.starts_with(PUBLIC)) {
                if let Ok(Entry::Public(PublicEntry::Disclosure(disclosure))) =
                    Entry::from_bytes(entry)
                {
                    found.push(disclosure);
                }
            }
        }
        found
    })
}

/// How a public entry begins: a choice of two elements, number 1.
const PUBLIC: &[u8] = &[0x82, 0x01];
