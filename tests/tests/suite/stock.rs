//! A published log read by tools that know nothing of this project: the crates `signed_note` and
//! `tlog_tiles`, ports of Go's x/mod. Only paths and leaves' framing are spelled out here, as C2SP
//! tlog-tiles has them.

use std::collections::BTreeMap;
use std::path::Path;

use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{
    Checkpoint, Error, Hash, HashReader as _, Tile, TileHashReader, TileReader, prove_record,
    prove_tree, record_hash, stored_hash_index, tree_hash,
};

use super::alliance::eventually;

const HEIGHT: u8 = 8;

/// The files of a log, by their names.
pub type Files = BTreeMap<String, Vec<u8>>;

struct Tiles<'a>(&'a Files);

/// The crate names tiles as x/mod does: with their height, and bundles of entries apart.
fn file_name(tile: &Tile) -> String {
    tile.path().replacen("tile/8/", "tile/", 1)
}

impl TileReader for Tiles<'_> {
    fn height(&self) -> u8 {
        HEIGHT
    }
    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let read = tiles.iter().map(|tile| {
            let name = file_name(tile);
            let file = self.0.get(&name).cloned();
            file.ok_or_else(|| Error::InvalidInput(format!("{name} is not there")))
        });
        read.collect()
    }
    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// Every file under the folder of a log, once two readings of it are the same: its node may write meanwhile, and take
/// files away.
pub async fn read_folder(folder: &Path) -> Files {
    let mut before = None;
    eventually("the log rests while it is read", async || {
        let found = files_of(folder).ok();
        let rests = found.is_some() && found == before;
        before = found;
        rests
    })
    .await;
    before.unwrap()
}

fn files_of(folder: &Path) -> std::io::Result<Files> {
    let mut files = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in std::fs::read_dir(inner)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(&path)?);
            }
        }
    }
    Ok(files)
}

/// Checks the log's signature on a checkpoint.
pub fn check_note(note: &[u8], verifier_key: &str) -> Checkpoint {
    let note = Note::from_bytes(note).unwrap();
    let log = StandardVerifier::new(verifier_key).unwrap();
    let (verified, _) = note.verify(&VerifierList::new(vec![Box::new(log)])).unwrap();
    assert_eq!(verified.len(), 1);
    Checkpoint::from_bytes(note.text()).unwrap()
}

/// The entries of a log of `size` entries, from its bundles.
pub fn entries(files: &Files, size: u64) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    for bundle in 0..size.div_ceil(256) {
        let width = (size - bundle * 256).min(256);
        let name = Tile::new(HEIGHT, 0, bundle, u32::try_from(width).unwrap(), false);
        let name = file_name(&name).replacen("tile/0/", "tile/entries/", 1);
        let mut bytes = files[&name].as_slice();
        while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
            let (entry, rest) = rest.split_at(u16::from_be_bytes(*length).into());
            entries.push(entry.to_vec());
            bytes = rest;
        }
    }
    assert_eq!(entries.len() as u64, size);
    entries
}

/// Everything a stock client can check of a log: the note, every tile against the root, every entry
/// against its tile, inclusion and consistency. Returns the size.
pub fn check_log(files: &Files, verifier_key: &str) -> u64 {
    let checkpoint = check_note(&files["checkpoint"], verifier_key);
    assert_eq!(checkpoint.origin(), verifier_key.split('+').next().unwrap());
    assert_eq!(checkpoint.extension(), "");
    check_tiles(files, &checkpoint);
    let (size, root) = (checkpoint.size(), *checkpoint.hash());
    let tiles = Tiles(files);
    let reader = TileHashReader::new(size, root, &tiles);
    for (index, entry) in (0..).zip(entries(files, size)) {
        let stored = reader.read_hashes(&[stored_hash_index(0, index)]).unwrap();
        assert_eq!(stored[0], record_hash(&entry), "entry {index}");
    }
    size
}

/// The tree of a checkpoint, from its tiles: some leaves' inclusion, some sizes' consistency.
pub fn check_tiles(files: &Files, checkpoint: &Checkpoint) {
    let (size, root) = (checkpoint.size(), *checkpoint.hash());
    let tiles = Tiles(files);
    let reader = TileHashReader::new(size, root, &tiles);
    assert_eq!(tree_hash(size, &reader).unwrap(), root);
    for index in [0, size / 2, size - 1] {
        let proof = prove_record(size, index, &reader).unwrap();
        let leaf = reader.read_hashes(&[stored_hash_index(0, index)]).unwrap()[0];
        tlog_tiles::check_record(&proof, size, root, index, leaf).unwrap();
    }
    for old in [1, size / 2, size - 1].into_iter().filter(|old| *old > 0) {
        let proof = prove_tree(size, old, &reader).unwrap();
        let old_root = tree_hash(old, &reader).unwrap();
        tlog_tiles::check_tree(&proof, size, root, old, old_root).unwrap();
    }
}

/// Checks a C2SP tlog-proof of this entry; returns its index.
pub fn check_receipt(receipt: &str, verifier_key: &str, entries: &[Vec<u8>]) -> u64 {
    let (head, note) = receipt.split_once("\n\n").unwrap();
    let checkpoint = check_note(note.as_bytes(), verifier_key);
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
    let index: u64 = lines.next().unwrap().strip_prefix("index ").unwrap().parse().unwrap();
    let proof: Vec<Hash> = lines.map(|line| Hash::parse_hash(line).unwrap()).collect();
    let leaf = record_hash(&entries[usize::try_from(index).unwrap()]);
    let (size, root) = (checkpoint.size(), *checkpoint.hash());
    tlog_tiles::check_record(&proof, size, root, index, leaf).unwrap();
    index
}
