//! The log against public test vectors made by others (see `vectors/README.md` of the shared data).
//!
//! They are not part of the project: the environment variable `COALITION_SHARED` names the
//! directory they are in. Without it these tests say that they are skipped; with it, a missing or
//! unreadable vector is a failure.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::checkpoint::SignedCheckpoint;
use super::merkle::{Frontier, Leaf, NodeHash};
use super::note::VerifierKey;
use super::proof::{ConsistencyProof, InclusionProof};
use super::tiles::{TilePath, TileReader, TileWriter, parse_bundle, rebuild};
use super::tlog_proof::TlogProof;
use crate::ids::{LeafHash, LeafIndex, RootHash, TreeSize};

pub(crate) fn vectors(name: &str) -> Option<PathBuf> {
    let Some(shared) = std::env::var_os("COALITION_SHARED") else {
        eprintln!("skipped: vectors/{name} (COALITION_SHARED is not set)");
        return None;
    };
    let path = Path::new(&shared).join("vectors").join(name);
    // who says where they are wants them used
    assert!(path.is_dir(), "COALITION_SHARED is set, and there is no folder {}", path.display());
    Some(path)
}

fn files_under(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_under(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn number(case: &Value, key: &str) -> u64 {
    case[key].as_u64().unwrap()
}

/// None when it is not 32 bytes: such a hash cannot even be said in our types.
fn hash(text: &Value) -> Option<[u8; 32]> {
    STANDARD.decode(text.as_str().unwrap()).unwrap().try_into().ok()
}

fn hashes(list: &Value) -> Option<Vec<NodeHash>> {
    let empty = Vec::new();
    let list = if list.is_null() { &empty } else { list.as_array().unwrap() };
    list.iter().map(|text| hash(text).map(NodeHash::from_bytes)).collect()
}

fn inclusion_holds(case: &Value) -> Option<()> {
    let proof = InclusionProof::from_hashes(hashes(&case["proof"])?).ok()?;
    let leaf = LeafHash::from_bytes(hash(&case["leafHash"])?);
    let root = RootHash::from_bytes(hash(&case["root"])?);
    let index = LeafIndex::new(number(case, "leafIdx"));
    proof.verify(index, leaf, TreeSize::new(number(case, "treeSize")), &root).ok()
}

fn consistency_holds(case: &Value) -> Option<()> {
    let proof = ConsistencyProof::from_hashes(hashes(&case["proof"])?).ok()?;
    let old_root = RootHash::from_bytes(hash(&case["root1"])?);
    let new_root = RootHash::from_bytes(hash(&case["root2"])?);
    let (old, new) = (number(case, "size1"), number(case, "size2"));
    proof.verify(TreeSize::new(old), &old_root, TreeSize::new(new), &new_root).ok()
}

/// The one vector that others accept and we do not: its roots are 12 bytes of text.
const NOT_32_BYTES: &str = "sizes-are-equal-one-and-proof-is-empty.json";

#[test]
fn proofs_are_accepted_and_refused_as_in_rfc_6962_vectors() {
    let Some(directory) = vectors("rfc6962") else { return };
    type Holds = fn(&Value) -> Option<()>;
    let holds: [(&str, Holds); 2] =
        [("inclusion", inclusion_holds), ("consistency", consistency_holds)];
    for (kind, holds) in holds {
        let (mut accepted, mut refused) = (0, 0);
        for path in files_under(&directory.join(kind)) {
            let case: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let is_wanted = !case["wantErr"].as_bool().unwrap() && !path.ends_with(NOT_32_BYTES);
            assert_eq!(holds(&case).is_some(), is_wanted, "{}", path.display());
            *if is_wanted { &mut accepted } else { &mut refused } += 1;
        }
        assert!(accepted >= 5 && refused >= 50, "{kind}: {accepted} accepted, {refused} refused");
    }
}

const LOG_KEY: &str =
    "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";
const LOG_SIZE: u64 = 15;

/// The files of the log, by name.
fn published(directory: &Path) -> BTreeMap<TilePath, Vec<u8>> {
    let files = files_under(&directory.join("tile")).into_iter().map(|path| {
        let name = path.strip_prefix(directory).unwrap().to_str().unwrap();
        (name.parse().unwrap(), fs::read(&path).unwrap())
    });
    files.collect()
}

fn published_checkpoint(directory: &Path, size: u64, key: &VerifierKey) -> SignedCheckpoint {
    let bytes = fs::read(directory.join(format!("checkpoint.{size}"))).unwrap();
    let signed = SignedCheckpoint::parse(&bytes).unwrap();
    assert_eq!(signed.to_string().into_bytes(), bytes);
    assert_eq!(signed.verify(key).unwrap().size().get(), size);
    signed
}

#[test]
fn every_size_of_a_log_by_tessera_is_rebuilt_byte_for_byte() {
    let Some(directory) = vectors("tlog-tiles") else { return };
    let store = published(&directory);
    let key: VerifierKey = LOG_KEY.parse().unwrap();
    let last: TilePath = format!("tile/entries/000.p/{LOG_SIZE}").parse().unwrap();
    let entries = parse_bundle(&store[&last], last.width()).unwrap();
    let leaves = entries.iter().map(|entry| Leaf::new(entry.to_vec()).unwrap());
    let leaves = leaves.collect::<Vec<_>>();

    let mut writer = TileWriter::empty();
    let mut written = BTreeMap::new();
    for size in 0..=LOG_SIZE {
        if let Some(next) = size.checked_sub(1) {
            let leaf = &leaves[usize::try_from(next).unwrap()..][..1];
            let files = writer.append(leaf).unwrap().files;
            written.extend(files.into_iter().map(|file| (file.path, file.bytes)));
        }
        let signed = published_checkpoint(&directory, size, &key);
        assert_eq!(writer.frontier().root(), signed.unverified().root());
        let rebuilt = rebuild(&store, TreeSize::new(size), |_, _| {}).unwrap();
        assert_eq!(rebuilt, writer.frontier());
    }
    assert_eq!(written, store, "no file more, none less, none other");
    let latest = SignedCheckpoint::parse(&fs::read(directory.join("checkpoint")).unwrap());
    assert_eq!(latest, Ok(published_checkpoint(&directory, LOG_SIZE, &key)));
}

#[test]
fn proofs_from_a_log_by_tessera_join_its_checkpoints() {
    let Some(directory) = vectors("tlog-tiles") else { return };
    let store = published(&directory);
    let key: VerifierKey = LOG_KEY.parse().unwrap();
    for size in 1..=LOG_SIZE {
        let at = TreeSize::new(size);
        let reader = TileReader::new(&store, at);
        let signed = published_checkpoint(&directory, size, &key);
        let root = signed.unverified().root();
        assert_eq!(Frontier::read(&reader, at).unwrap().root(), root);
        for index in (0..size).map(LeafIndex::new) {
            let proof = InclusionProof::prove(&reader, index, at).unwrap();
            let receipt = TlogProof::new(index, proof, signed.clone()).to_string();
            let receipt = TlogProof::parse(receipt.as_bytes()).unwrap();
            assert!(receipt.verify(reader.leaf(index).unwrap().hash(), &key).is_ok());
        }
        for old in 1..=size {
            let old_root = published_checkpoint(&directory, old, &key).unverified().root();
            let old = TreeSize::new(old);
            let proof = ConsistencyProof::prove(&reader, old, at).unwrap();
            assert_eq!(proof.verify(old, &old_root, at, &root), Ok(()));
        }
    }
}
