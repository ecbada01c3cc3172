//! Entries that were archived after their retention: not there, not a finding, never sound.

use super::*;
use crate::log::tiles::{TileKind, TilePath};

const FIRST: &str = "tile/entries/000";

/// Takes the first bundle of `a` off, and says so.
fn archived(says: Option<&str>) -> Alliance {
    let mut alliance = Alliance::sound(600);
    alliance.remove("a", FIRST);
    if let Some(text) = says {
        alliance.add("a", ARCHIVED_FILE, text.as_bytes());
    }
    alliance
}

fn count_of(report: &Report, reason: Reason) -> u64 {
    let of = report.not_checked.iter().filter(|it| it.reason == reason);
    of.map(|it| it.count).sum()
}

#[test]
pub(super) fn archived_entries_are_not_checked_and_never_sound() {
    let keys = [Alliance::auditor_key()];
    let whole = Alliance::sound(600).audit(&keys);
    assert!(whole.is_clean() && whole.not_checked.is_empty());

    let report = archived(Some("256\n")).audit(&keys);
    assert_eq!(report.findings, []);
    assert_eq!(count_of(&report, Reason::Archived), 256);
    // what must be judged by them is not passed over in silence either
    assert!(count_of(&report, Reason::JudgedByMissing) > 0);
    assert!(report.counts.payloads < whole.counts.payloads);
    // every hash is still compared
    assert_eq!(report.counts.entries, whole.counts.entries);
    assert_eq!(report.counts.signatures, whole.counts.signatures);

    // what is not said to be archived is missing, and so is what is not in its one form
    for says in [None, Some("0\n"), Some("255\n"), Some("0256\n"), Some("256")] {
        let report = archived(says).audit(&keys);
        assert_eq!(places(&report)[0], "a - - tile/missing", "{says:?}");
    }
}

#[test]
pub(super) fn the_tree_is_checked_over_the_hashes_of_archived_entries() {
    let mut alliance = archived(Some("256\n"));
    let path = TilePath::in_tree(TileKind::Hashes { level: 0 }, 0, TreeSize::new(1000)).unwrap();
    alliance.file("a", &path.to_string())[40] ^= 1;
    let report = alliance.audit(&[]);
    assert!(places(&report).iter().any(|it| it.ends_with("tree/root")), "{:?}", places(&report));
}
