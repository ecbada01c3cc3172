//! Files that were changed after they were published.

use proptest::prelude::*;

use super::fixture::{Alliance, Content, Folder, brand, checkpoint};
use super::places;
use crate::audit::{CERTIFICATES_FILE, CHECKPOINT_FILE, CertificateReader, Reason};
use crate::ids::{HeaderHash, Height, RootHash, TreeSize};
use crate::log::block::BlockReference;
use crate::log::merkle::leaf_hash;

/// Where an entry begins in a bundle.
fn offset(bundle: &[u8], index: usize) -> usize {
    (0..index)
        .fold(0, |at, _| at + 2 + usize::from(u16::from_be_bytes([bundle[at], bundle[at + 1]])))
}

fn sound() -> (Alliance, String, String) {
    let alliance = Alliance::sound(8);
    let size = alliance.audit(&[]).heads[0].size;
    (alliance, format!("tile/entries/000.p/{size}"), format!("tile/0/000.p/{size}"))
}

#[test]
pub(super) fn an_altered_entry_is_named_by_its_index() {
    let (mut alliance, entries, _) = sound();
    let bundle = alliance.file("a", &entries);
    // block 1 has the leaves 0 to 7, block 2 those up to 23
    let at = offset(bundle, 12) + 40;
    bundle[at] ^= 1;
    let report = alliance.audit(&[]);
    assert_eq!(places(&report), ["a 2 12 entry/altered"]);
    let said = report.findings[0].to_string();
    assert!(said.starts_with("log a, block 2, entry 12: entry/altered: "), "{said}");
    // whoever could open it is told that the rest of the block no longer adds up to anything
    let report = alliance.audit(&[Alliance::auditor_key()]);
    assert_eq!(places(&report), ["a 2 12 entry/altered"]);
    assert!(!report.not_checked.is_empty());
}

#[test]
pub(super) fn an_altered_length_and_an_altered_header_are_named_too() {
    let (alliance, entries, _) = sound();
    let mut length = alliance.clone();
    let bundle = length.file("a", &entries);
    let at = offset(bundle, 12) + 1;
    bundle[at] ^= 4;
    assert_eq!(places(&length.audit(&[])), ["a - 12 entry/altered"]);

    let mut header = alliance.clone();
    let bundle = header.file("a", &entries);
    let at = offset(bundle, 7) + 100;
    bundle[at] ^= 1;
    assert_eq!(places(&header.audit(&[])), ["a 1 7 entry/altered"]);

    let mut longer = alliance;
    longer.file("a", &entries).push(0);
    assert_eq!(places(&longer.audit(&[])), ["a - - tile/malformed"]);
}

#[test]
fn an_altered_tile_is_told_from_an_altered_entry() {
    let (mut alliance, _, tile) = sound();
    alliance.file("a", &tile)[12 * 32] ^= 1;
    assert_eq!(places(&alliance.audit(&[])), ["a 2 12 tile/disagrees"]);

    let mut tall = Alliance::sound(300);
    tall.file("a", "tile/1/000.p/2")[40] ^= 1;
    assert_eq!(places(&tall.audit(&[])), ["a - - tile/disagrees"]);
    // a full tile of level 0: the leaf and the level above are both the entries'
    tall.file("a", "tile/1/000.p/2")[40] ^= 1;
    tall.file("a", "tile/0/000")[32 * 200 + 5] ^= 1;
    assert_eq!(places(&tall.audit(&[])), ["a 2 200 tile/disagrees"]);
}

/// Entry and tile altered together: no hash is left that tells which entry it was, the certified root
/// still tells which block, and nothing after it is called wrong.
#[test]
pub(super) fn an_entry_altered_with_its_tile_is_found_by_the_root() {
    let (mut alliance, entries, tile) = sound();
    let bundle = alliance.file("a", &entries);
    let (at, end) = (offset(bundle, 12), offset(bundle, 13));
    bundle[at + 40] ^= 1;
    let hash = leaf_hash(&bundle[at + 2..end]);
    alliance.file("a", &tile)[12 * 32..13 * 32].copy_from_slice(hash.as_bytes());
    let report = alliance.audit(&[Alliance::auditor_key()]);
    assert_eq!(places(&report), ["a 2 - tree/root"]);
    assert!(report.not_checked.iter().any(|it| it.log == brand("a")));
}

#[test]
pub(super) fn files_that_are_gone_or_left_over() {
    let (alliance, entries, tile) = sound();
    let without = |name: &str| {
        let mut alliance = alliance.clone();
        alliance.folders.get_mut(&brand("a")).unwrap().0.remove(name).unwrap();
        alliance.audit(&[])
    };
    assert_eq!(places(&without(&tile)), ["a - - tile/missing"]);
    assert_eq!(places(&without(CHECKPOINT_FILE)), ["a - - checkpoint/missing"]);
    let no_entries = places(&without(&entries));
    assert!(!no_entries.is_empty());
    let no_certificates = places(&without(CERTIFICATES_FILE));
    assert!(no_certificates.contains(&"a - - checkpoint/uncertified".to_owned()));
    assert!(no_certificates.contains(&"a 1 0 certificate/missing".to_owned()));

    // the partial tile of an earlier size is still served and still has to be right
    let mut early = alliance.clone();
    early.file("a", "tile/0/000.p/8")[3] ^= 1;
    assert_eq!(places(&early.audit(&[])), ["a - - tile/disagrees"]);

    let mut stray = alliance.clone();
    let folder = &mut stray.folders.get_mut(&brand("a")).unwrap().0;
    folder.insert("tile/0/001.p/9".to_owned(), vec![0; 9 * 32]);
    folder.insert("notes.txt".to_owned(), Vec::new());
    let report = stray.audit(&[]);
    assert!(report.is_clean());
    assert!(report.not_checked.iter().any(|it| it.reason == Reason::FileNotOfLog && it.count == 2));

    let mut one_more = alliance.clone();
    let folder = one_more.folders[&brand("d")].clone();
    one_more.folders.insert(brand("z"), folder);
    assert_eq!(places(&one_more.audit(&[])), ["z - - folder/stranger"]);

    // what the others say of it, and what they say with it, cannot be judged: no finding against them
    let mut fewer = alliance.clone();
    fewer.folders.remove(&brand("d")).unwrap();
    assert_eq!(places(&fewer.audit(&[])), ["d - - folder/missing"]);

    let mut brands = alliance;
    let folder = brands.folders.remove(&brand("d")).unwrap();
    brands.folders.insert(brand("z"), folder);
    let found = places(&brands.audit(&[]));
    assert!(found.contains(&"d - - folder/missing".to_owned()));
    assert!(found.contains(&"z - - folder/stranger".to_owned()));
}

/// Bundles are read some at once, and a walk over many that are gone ends: each is named once, and none
/// that the walk did not come to.
#[test]
fn a_walk_over_bundles_that_are_gone_ends() {
    let mut alliance = Alliance::sound(8_000);
    let folder = &mut alliance.folders.get_mut(&brand("a")).unwrap().0;
    (3..30).for_each(|number| drop(folder.remove(&format!("tile/entries/{number:03}")).unwrap()));
    let report = alliance.audit(&[Alliance::auditor_key()]);
    let gone: Vec<&str> = report
        .findings
        .iter()
        .filter(|it| it.message.starts_with("tile/entries"))
        .map(|it| it.message.as_str())
        .collect();
    let expected: Vec<String> =
        (3..19).map(|number| format!("tile/entries/{number:03} cannot be read")).collect();
    assert_eq!(gone, expected);
    assert_eq!(places(&report).last().unwrap(), "a 2 - tree/root");
}

#[test]
pub(super) fn certificates_that_do_not_stand() {
    let (alliance, _, _) = sound();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut alliance = alliance.clone();
        change(alliance.file("d", CERTIFICATES_FILE));
        places(&alliance.audit(&[]))
    };
    // the last byte is the end of the last signature
    let flipped = with(&|bytes| *bytes.last_mut().unwrap() ^= 1);
    assert_eq!(flipped, ["d 3 - certificate/signature", "d - - checkpoint/uncertified"]);
    let cut = with(&|bytes| bytes.truncate(bytes.len() - 1));
    assert_eq!(cut[0], "d 3 - certificate/unreadable");
    assert!(cut.contains(&"d 3 16 certificate/missing".to_owned()), "{cut:?}");
    let twice = with(&|bytes| bytes.extend(bytes.clone()));
    assert_eq!(twice, [4, 5, 6].map(|height| format!("d {height} - certificate/order")));

    let folder: Folder = alliance.folders[&brand("d")].clone();
    let all: Vec<_> = CertificateReader::new(&folder).map(Result::unwrap).collect();
    assert_eq!(all.len(), 3);
    // with one signature less where it is asked for: n = 4 takes 3
    let short = |is_short: fn(usize) -> bool| {
        let mut commits = alliance.clone();
        let file = commits.file("d", CERTIFICATES_FILE);
        file.clear();
        for (number, mut certificate) in all.iter().cloned().enumerate() {
            if is_short(number) {
                certificate.commits.pop();
            }
            file.extend(crate::codec::encode(&certificate));
        }
        commits.audit(&[])
    };
    // of a block amid others: its own header tells where it ends, and what comes after it stands
    assert_eq!(places(&short(|number| number == 1)), ["d 2 - certificate/signature"]);
    let found = short(|_| true);
    assert_eq!(
        places(&found)[..3],
        [1, 2, 3].map(|height| format!("d {height} - certificate/signature"))
    );
    assert!(found.findings[0].message.contains("2 signatures where a quorum has 3"));
}

#[test]
pub(super) fn checkpoints_that_do_not_stand() {
    let (alliance, _, _) = sound();
    let head = alliance.audit(&[]).heads[3];
    let with = |change: &dyn Fn(&mut String)| {
        let mut alliance = alliance.clone();
        let file = alliance.file("d", CHECKPOINT_FILE);
        let mut text = String::from_utf8(file.clone()).unwrap();
        change(&mut text);
        *file = text.into_bytes();
        places(&alliance.audit(&[]))
    };
    let signed = |size, root| {
        let (size, root) = (TreeSize::new(size), RootHash::from_bytes(root));
        let header = HeaderHash::GENESIS;
        let (log, epoch) = (brand("d"), alliance.constitution.epoch());
        let block = BlockReference { log, epoch, height: Height::new(1), header, size, root };
        checkpoint(&alliance.constitution, block).to_string()
    };
    // what the log signs must be what was certified
    let other_root = with(&|text| *text = signed(head.size.get(), [9; 32]));
    assert_eq!(other_root, ["d 3 - checkpoint/root"]);
    let other_size = with(&|text| *text = signed(head.size.get() - 1, [9; 32]));
    assert_eq!(other_size, ["d - - checkpoint/uncertified"]);
    assert_eq!(with(&|text| text.truncate(20)), ["d - - checkpoint/unreadable"]);

    let line = |number: usize, text: &str| text.lines().nth(4 + number).unwrap().to_owned();
    // the log's own line with the signature of a witness, and a witness's of the log
    let swapped = with(&|text| {
        let (own, witness) = (line(0, text), line(1, text));
        let renamed = witness.replace("/a/witness", "/b/witness");
        *text = text.replace(&own, "").replace(&witness, &renamed).replace("\n\n\n", "\n\n");
    });
    assert_eq!(swapped, ["d - - checkpoint/signature", "d - - checkpoint/stranger"]);
    let altered = with(&|text| {
        let witness = line(1, text);
        let mut bytes = witness.clone().into_bytes();
        let middle = bytes.len() - 30;
        bytes[middle] = if bytes[middle] == b'A' { b'B' } else { b'A' };
        *text = text.replace(&witness, &String::from_utf8(bytes).unwrap());
    });
    assert_eq!(altered, ["d - - checkpoint/cosignature"]);
}

#[test]
fn a_log_that_was_cut_short_is_given_away_by_the_others() {
    let mut alliance = Alliance::sound(8);
    let earlier = alliance.folders[&brand("b")].clone();
    let more = vec![alliance.exchange("b", "a", 9)];
    alliance.block("b", Content { sealed: more, ..Content::default() });
    alliance.block("a", Content { recognised: vec![brand("b")], ..Content::default() });
    assert!(alliance.audit(&[]).is_clean());
    *alliance.folders.get_mut(&brand("b")).unwrap() = earlier;
    assert_eq!(places(&alliance.audit(&[])), ["a 5 - recognised/beyond"]);
}

/// Checkpoints first, then each log: `b` before, `a` after they went on.
#[test]
fn a_copy_of_growing_logs_is_no_reason_for_findings() {
    let mut alliance = Alliance::sound(8);
    let checkpoints: Vec<_> =
        alliance.folders.values().map(|folder| folder.0[CHECKPOINT_FILE].clone()).collect();
    let copied = alliance.folders[&brand("b")].clone();
    let sealed = vec![alliance.exchange("a", "b", 9), alliance.exchange("a", "b", 1)];
    alliance.block("a", Content { sealed, ..Content::default() });
    let sealed = vec![alliance.exchange("b", "a", 9)];
    let recognised = vec![brand("a")];
    alliance.block("b", Content { sealed, recognised, ..Content::default() });
    alliance.block("a", Content { recognised: vec![brand("b")], ..Content::default() });
    *alliance.folders.get_mut(&brand("b")).unwrap() = copied;
    for (folder, checkpoint) in alliance.folders.values_mut().zip(checkpoints) {
        folder.0.insert(CHECKPOINT_FILE.to_owned(), checkpoint);
    }
    let report = alliance.audit(&[Alliance::auditor_key()]);
    assert_eq!(report.findings, []);
    let later = report.not_checked.iter().find(|it| it.log == brand("a")).unwrap();
    assert_eq!((later.reason, later.count), (Reason::NotInCheckpoint, 3));
}

/// A flip in any file of any log.
fn flip(alliance: &mut Alliance, (file, byte, bit): (usize, prop::sample::Index, u8)) -> String {
    let files: Vec<_> = alliance
        .folders
        .iter()
        .flat_map(|(log, folder)| folder.0.keys().map(|name| (*log, name.clone())))
        .collect();
    let (log, name) = files[file % files.len()].clone();
    let bytes = alliance.file(log.as_str(), &name);
    let at = byte.index(bytes.len());
    bytes[at] ^= 1 << bit;
    format!("{log}/{name} byte {at} bit {bit}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// There is no byte that does not matter.
    #[test]
    fn any_flipped_bit_is_found(change in (any::<usize>(), any::<prop::sample::Index>(), 0..8_u8)) {
        let mut alliance = SOUND.with(Clone::clone);
        let what = flip(&mut alliance, change);
        prop_assert!(!alliance.audit(&[]).is_clean(), "{}", what);
    }

    /// Whatever is in the files, the audit ends with findings.
    #[test]
    fn damage_never_stops_the_audit(
        changes in prop::collection::vec((any::<usize>(), any::<prop::sample::Index>(), 0..8_u8), 2..40),
        cut in prop::option::of((any::<usize>(), any::<prop::sample::Index>())),
    ) {
        let mut alliance = SOUND.with(Clone::clone);
        let before = alliance.folders.clone();
        for change in changes {
            flip(&mut alliance, change);
        }
        if let Some((file, at)) = cut {
            let folder = &mut alliance.folders.get_mut(&brand("a")).unwrap().0;
            let name = folder.keys().nth(file % folder.len()).unwrap().clone();
            let bytes = folder.get_mut(&name).unwrap();
            bytes.truncate(at.index(bytes.len()));
        }
        let report = alliance.audit(&[Alliance::auditor_key()]);
        prop_assert_eq!(report.is_clean(), before == alliance.folders);
    }
}

thread_local! {
    static SOUND: Alliance = Alliance::sound(8);
}
