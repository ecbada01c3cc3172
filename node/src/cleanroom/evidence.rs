//! Questions and openings of answered joint questions, kept for whoever audits them (`coalition audit
//! --openings`): a file for each attempt, for the audit window. The logs keep their hashes for ever.
//!
//! Not encrypted: all openings of an attempt add up to figures that were noised before anybody saw them, and one
//! alone is masked by secrets shared with each other participant. The question's text is in it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use privacy::accounting::{Evidence, Kept};
use protocol::time::{Milliseconds, Timestamp};

/// How long they are kept: a budget year, and a month to audit it in.
const KEPT: Milliseconds = Milliseconds::from_seconds(397 * 24 * 60 * 60);
const EXTENSION: &str = "opening";

/// Why what was kept cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The folder or a file.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that a node did not write so.
    #[error("{}: not the openings of an attempt; take the files as a node has written them", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
}

/// Keeps those of one attempt, and forgets what is older than the audit window.
///
/// # Errors
/// When the folder cannot be written.
pub fn keep(folder: &Path, evidence: &Evidence, now: Timestamp) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // names sort by time; an attempt that is kept again after a restart has the same bytes
    let name = format!("{:013}-{}-{}", now.unix_ms(), evidence.id.query, evidence.id.attempt);
    let part = folder.join(format!("{name}.part"));
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(&evidence.to_bytes())?;
    file.sync_all()?;
    fs::rename(&part, folder.join(format!("{name}.{EXTENSION}")))?;
    forget_before(folder, now.unix_ms().saturating_sub(KEPT.get()))
}

fn forget_before(folder: &Path, unix_ms: u64) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let time = name.split('-').next().and_then(|time| time.parse::<u64>().ok());
        if time.is_some_and(|time| time < unix_ms) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Reads all of a folder.
///
/// # Errors
/// When a file does not read.
pub fn read(folder: &Path, kept: &mut Kept) -> Result<usize, EvidenceError> {
    let wrong = |path: &Path| {
        let path = path.to_path_buf();
        move |source| EvidenceError::Io { path, source }
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong(folder))? {
        let path = entry.map_err(wrong(folder))?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            paths.push(path);
        }
    }
    paths.sort();
    for path in &paths {
        let damaged = || EvidenceError::Damaged { path: path.clone() };
        let length = fs::metadata(path).map_err(wrong(path))?.len();
        if length > Evidence::MAX_BYTES as u64 {
            return Err(damaged());
        }
        let bytes = fs::read(path).map_err(wrong(path))?;
        kept.add(Evidence::from_bytes(&bytes).map_err(|_| damaged())?);
    }
    Ok(paths.len())
}
