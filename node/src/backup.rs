//! Backups: a node's data directory without its secrets, made while it serves, verified, and restored.
//!
//! A backup is a folder: `manifest.json`, `store.pairs` (every pair of the store, whatever its backend) and
//! the files of the data directory under `files/`. It is the state at one moment: the store's last write and
//! the journal's end are taken between two transactions of the store. What grows beside (facts, fragments,
//! the published log) may be some moments older or newer, as after a crash; the journal's replay brings it
//! level. Members' fields, facts and the journal are ciphertexts under keys that are not in a backup.
//!
//! Never in it: `keys/`, `tls/`, users and passwords. Whoever restores brings those, and the node starts as
//! restored: its journal is older than what it has signed, which only the other brands can tell it.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use protocol::ids::BrandId;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, DataDirectory};
use crate::store::copy::{self, CopyError};
use crate::store::{RecordingStore, StoreError};

const FORMAT: &str = "coalition backup 1";
const MANIFEST: &str = "manifest.json";
const PAIRS: &str = "store.pairs";
const SCAN: &str = "store.scan";
const FILES: &str = "files";
/// Folders and files that are copied, in an order in which nothing is ahead of what follows it.
const COPIED: [&str; 11] = [
    "archive",
    "facts",
    "constitution.toml",
    "constitution.signatures",
    "constitutions",
    "drafts",
    "mappings",
    "policy.toml",
    "templates",
    "introduction.toml",
    "node.toml",
];
/// What a snapshot in the journal stands for is in these already: they are copied after it, and may be newer.
const BESIDE_THE_JOURNAL: [&str; 3] = ["own-blocks", "fragments", "log"];
/// What whoever restores brings.
const SECRETS: [&str; 4] = ["keys", "tls", "users.json", "operator-password"];
/// How the folder of a tile's partial forms is named after it (C2SP tlog-tiles).
const PARTIAL: &str = ".p";
/// Largest manifest, in bytes.
const MANIFEST_MAX: u64 = 256 << 20;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format.
    pub format: String,
    /// Whose node.
    pub brand: String,
    /// When it was made, Unix milliseconds.
    pub made_ms: u64,
    /// Pairs of the store.
    pub pairs: u64,
    /// Digest of the store's contents, hex.
    pub store_digest: String,
    /// SHA-256 of the file of pairs, hex.
    pub pairs_sha256: String,
    /// Files, by their path in the data directory.
    pub files: Vec<BackupFile>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupFile {
    /// Its path in the data directory.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, hex.
    pub sha256: String,
}

/// Why a backup could not be made, verified or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something is there already.
    #[error("{} is there already: choose a new folder", .path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// Another backup is being made.
    #[error("a backup is being made: wait for it to end")]
    UnderWay,
    /// No backup, or one that was not made to its end.
    #[error("{}: no whole backup: {problem}", .path.display())]
    NoBackup {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A file is not what the manifest says.
    #[error("{path} of the backup is damaged or missing: use another backup")]
    Damaged {
        /// Its path.
        path: String,
    },
    /// The keys are not there.
    #[error("{}: has no folder keys: give what you keep apart of the node: keys, tls, users.json", .path.display())]
    NoKeys {
        /// Where they were sought.
        path: PathBuf,
    },
    /// The store.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The store that is restored into.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data directory.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File { action, path, source }
}

/// Makes a backup of a node's data into a new folder, while the node serves. Blocks.
///
/// # Errors
/// When the folder is there already, a file fails, or too much is written meanwhile; what was made of the
/// folder then has no manifest.
pub fn create(
    data: &DataDirectory,
    brand: BrandId,
    store: &RecordingStore,
    folder: &Path,
    made_ms: u64,
) -> Result<Manifest, BackupError> {
    if folder.exists() {
        return Err(BackupError::Taken { path: folder.to_owned() });
    }
    make_folder(folder)?;
    let mut files = Vec::new();
    for name in COPIED {
        copy_tree(data, name, folder, None, &mut files)?;
    }
    let scan = folder.join(SCAN);
    if !store.begin() {
        return Err(BackupError::UnderWay);
    }
    let scanned = write_scan(store, &scan);
    // between two transactions: what the journal had by then belongs to what the store had
    let (recorded, journal) = store.end(|| sizes(&data.journal()));
    scanned?;
    let recorded = recorded.ok_or(CopyError::Busy)?;
    let pairs = folder.join(PAIRS);
    let mut scanned = BufReader::new(File::open(&scan).map_err(failed("read", &scan))?);
    let mut out = BufWriter::new(new_file(&pairs)?);
    let contents = copy::settle(&mut scanned, recorded, &mut out)?;
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .map_err(failed("write", &pairs))?;
    fs::remove_file(&scan).map_err(failed("delete", &scan))?;
    // facts that the store lists were on the disk before it did: those that came since the first copy
    copy_tree(data, "facts", folder, None, &mut files)?;
    for (path, bytes) in journal.map_err(failed("list", &data.journal()))? {
        copy_file(data, &path, folder, Some(bytes), &mut files)?;
    }
    for name in BESIDE_THE_JOURNAL {
        copy_tree(data, name, folder, None, &mut files)?;
    }
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        brand: brand.to_string(),
        made_ms,
        pairs: contents.pairs,
        store_digest: hex(&contents.digest),
        pairs_sha256: hash_file(&pairs)?.1,
        files,
    };
    let path = folder.join(MANIFEST);
    let text = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| failed("write", &path)(io::Error::other(error)))?;
    let part = folder.join("manifest.part");
    let mut file = new_file(&part)?;
    file.write_all(&text)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&part, &path))
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(failed("write", &path))?;
    Ok(manifest)
}

/// Checks a backup: every file, and that the store's pairs are the ones it was made of.
///
/// # Errors
/// When something is missing or damaged.
pub fn verify(folder: &Path) -> Result<Manifest, BackupError> {
    let manifest = read_manifest(folder)?;
    for file in &manifest.files {
        let damaged = || BackupError::Damaged { path: file.path.clone() };
        let path = inside(&file.path).ok_or_else(damaged)?;
        let (bytes, sha256) = hash_file(&folder.join(FILES).join(path)).map_err(|_| damaged())?;
        if (bytes, &sha256) != (file.bytes, &file.sha256) {
            return Err(damaged());
        }
    }
    let damaged = || BackupError::Damaged { path: PAIRS.to_owned() };
    let pairs = folder.join(PAIRS);
    let (_, sha256) = hash_file(&pairs).map_err(|_| damaged())?;
    let file = File::open(&pairs).map_err(failed("read", &pairs))?;
    let contents = copy::contents_of(&mut BufReader::new(file))?;
    let found = (sha256, contents.pairs, hex(&contents.digest));
    if found != (manifest.pairs_sha256.clone(), manifest.pairs, manifest.store_digest.clone()) {
        return Err(damaged());
    }
    Ok(manifest)
}

/// Restores a verified backup into a new data directory, with the secrets that are kept apart. The node then
/// starts as restored.
///
/// # Errors
/// When the directory is there already, the backup is not whole, or the store is not empty or differs
/// afterwards.
pub fn restore(
    folder: &Path,
    data: &DataDirectory,
    secrets: &Path,
) -> Result<Manifest, BackupError> {
    let manifest = verify(folder)?;
    if data.path().exists() {
        return Err(BackupError::Taken { path: data.path().to_owned() });
    }
    if !secrets.join("keys").is_dir() {
        return Err(BackupError::NoKeys { path: secrets.to_owned() });
    }
    make_folder(data.path())?;
    // first of all: a directory that is half restored starts as nothing else
    data.write(&data.restored(), b"")?;
    for file in &manifest.files {
        let damaged = || BackupError::Damaged { path: file.path.clone() };
        let path = inside(&file.path).ok_or_else(damaged)?;
        let to = data.path().join(&path);
        put(&folder.join(FILES).join(&path), &to)?;
        if hash_file(&to)? != (file.bytes, file.sha256.clone()) {
            return Err(damaged());
        }
    }
    for name in SECRETS {
        put_tree(&secrets.join(name), &data.path().join(name))?;
    }
    let (settings, _) = data.settings()?;
    let store = settings.open_store(data)?;
    let pairs = folder.join(PAIRS);
    if !store.keyspaces()?.is_empty() {
        return Err(BackupError::NoBackup {
            path: data.path().to_owned(),
            problem: "the database that node.toml names is not empty: give it an empty one"
                .to_owned(),
        });
    }
    let file = File::open(&pairs).map_err(failed("read", &pairs))?;
    let loaded = copy::load(&mut BufReader::new(file), &*store)?;
    if (loaded.pairs, hex(&loaded.digest)) != (manifest.pairs, manifest.store_digest.clone()) {
        return Err(BackupError::Damaged { path: PAIRS.to_owned() });
    }
    Ok(manifest)
}

fn write_scan(store: &RecordingStore, path: &Path) -> Result<(), BackupError> {
    let mut out = BufWriter::new(new_file(path)?);
    copy::scan_into(store, &mut out)?;
    out.flush().map_err(failed("write", path))
}

fn read_manifest(folder: &Path) -> Result<Manifest, BackupError> {
    let none = |problem: &str| BackupError::NoBackup {
        path: folder.to_owned(),
        problem: problem.to_owned(),
    };
    let mut text = Vec::new();
    File::open(folder.join(MANIFEST))
        .and_then(|file| file.take(MANIFEST_MAX).read_to_end(&mut text))
        .map_err(|_| none("it has no manifest.json; a backup is complete when it has one"))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|_| none("its manifest cannot be read"))?;
    if manifest.format == FORMAT { Ok(manifest) } else { Err(none("it is of another format")) }
}

/// A path that leads nowhere but down.
fn inside(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(path);
    path.components().all(|part| matches!(part, Component::Normal(_))).then_some(path)
}

/// Files of a folder with their lengths, in order of their names.
fn sizes(folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(files) };
    for entry in entries {
        let entry = entry?;
        if entry.file_name() != "lock" && entry.file_type()?.is_file() {
            let within = folder.file_name().map(PathBuf::from).unwrap_or_default();
            files.push((within.join(entry.file_name()), entry.metadata()?.len()));
        }
    }
    files.sort();
    Ok(files)
}

fn copy_tree(
    data: &DataDirectory,
    name: &str,
    folder: &Path,
    most: Option<u64>,
    files: &mut Vec<BackupFile>,
) -> Result<(), BackupError> {
    let from = data.path().join(name);
    if from.is_file() {
        return copy_file(data, Path::new(name), folder, most, files);
    }
    let mut names = Vec::new();
    // what was listed may be gone by now
    for entry in fs::read_dir(&from).into_iter().flatten() {
        let entry = entry.map_err(failed("list", &from))?;
        names.push(entry.file_name());
    }
    // a checkpoint says how much there is: it is never newer than what it speaks of
    names.sort();
    for inner in names {
        let inner = inner.to_string_lossy();
        if inner != "lock" && !inner.ends_with(".part") {
            copy_tree(data, &format!("{name}/{inner}"), folder, most, files)?;
        }
    }
    // of a partial tile that a copied checkpoint names and that is gone the full one is there, which may have been
    // made after its folder was listed
    match name.strip_suffix(PARTIAL) {
        Some(full) => copy_file(data, Path::new(full), folder, most, files),
        None => Ok(()),
    }
}

fn copy_file(
    data: &DataDirectory,
    path: &Path,
    folder: &Path,
    most: Option<u64>,
    files: &mut Vec<BackupFile>,
) -> Result<(), BackupError> {
    let name = path.to_string_lossy().into_owned();
    if files.iter().any(|file| file.path == name) {
        return Ok(());
    }
    let (from, to) = (data.path().join(path), folder.join(FILES).join(path));
    let opened = match File::open(&from) {
        // facts of an import that was given up; of the journal nothing may be gone
        Err(error) if error.kind() == io::ErrorKind::NotFound && most.is_none() => return Ok(()),
        opened => opened.map_err(failed("read", &from))?,
    };
    if let Some(parent) = to.parent() {
        make_folder(parent)?;
    }
    let mut file = new_file(&to)?;
    let (mut context, mut bytes) = (Context::new(&SHA256), 0_u64);
    let mut reader = opened.take(most.unwrap_or(u64::MAX));
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = reader.read(&mut buffer).map_err(failed("read", &from))?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
        context.update(part);
        bytes += part.len() as u64;
        file.write_all(part).map_err(failed("write", &to))?;
    }
    file.sync_all().map_err(failed("write", &to))?;
    files.push(BackupFile { path: name, bytes, sha256: hex(context.finish().as_ref()) });
    Ok(())
}

fn put(from: &Path, to: &Path) -> Result<(), BackupError> {
    if let Some(parent) = to.parent() {
        make_folder(parent)?;
    }
    let mut reader = File::open(from).map_err(failed("read", from))?;
    let mut file = new_file(to)?;
    io::copy(&mut reader, &mut file).and_then(|_| file.sync_all()).map_err(failed("write", to))
}

fn put_tree(from: &Path, to: &Path) -> Result<(), BackupError> {
    if from.is_file() {
        return put(from, to);
    }
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    make_folder(to)?;
    for entry in entries {
        let name = entry.map_err(failed("list", from))?.file_name();
        put_tree(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}

fn make_folder(path: &Path) -> Result<(), BackupError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(failed("create", path))
}

fn new_file(path: &Path) -> Result<File, BackupError> {
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.map_err(failed("create", path))
}

fn hash_file(path: &Path) -> Result<(u64, String), BackupError> {
    let mut file = File::open(path).map_err(failed("read", path))?;
    let (mut context, mut bytes) = (Context::new(&SHA256), 0);
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = file.read(&mut buffer).map_err(failed("read", path))?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
        context.update(part);
        bytes += part.len() as u64;
    }
    Ok((bytes, hex(context.finish().as_ref())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// The log is published while it is copied: between the look into a folder and the reading of what is in it a
    /// tile becomes full, and its partial forms go.
    #[test]
    fn a_partial_tile_that_goes_while_it_is_copied_leaves_the_full_one() {
        let here = tempfile::tempdir().unwrap();
        let data = DataDirectory::new(here.path().join("data"));
        let tiles = data.log().join("tile/entries");
        fs::create_dir_all(tiles.join("007.p")).unwrap();
        fs::write(tiles.join("007"), b"full").unwrap();
        fs::write(tiles.join("008"), b"full as well").unwrap();
        // listed, and not there any more
        symlink("gone", tiles.join("007.p/96")).unwrap();
        let (folder, mut files) = (here.path().join("backup"), Vec::new());
        for name in ["log/tile/entries/007.p", "log/tile/entries/008.p", "log/tile/entries/009.p"] {
            copy_tree(&data, name, &folder, None, &mut files).unwrap();
        }
        copy_tree(&data, "log", &folder, None, &mut files).unwrap();
        let names: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names, ["log/tile/entries/007", "log/tile/entries/008"], "each once");
        let copied = folder.join(FILES).join("log/tile/entries/007");
        assert_eq!(fs::read(copied).unwrap(), b"full");
    }
}
