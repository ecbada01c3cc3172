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
use privacy::ids::VectorHash;
use privacy::{AttemptId, Message};
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

/// The message that gives one opening of an attempt by its certified hash; none when it is not kept here.
///
/// # Errors
/// When the folder or a file of the attempt does not read.
pub fn attached(
    folder: &Path,
    id: &AttemptId,
    name: VectorHash,
) -> Result<Option<Message>, EvidenceError> {
    let entries = match fs::read_dir(folder) {
        // nothing was ever kept
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(wrong(folder))?,
    };
    let end = format!("-{}-{}.{EXTENSION}", id.query, id.attempt);
    for entry in entries {
        let path = entry.map_err(wrong(folder))?.path();
        let of_it = path.file_name().and_then(|name| name.to_str());
        if !of_it.is_some_and(|file| file.ends_with(&end)) {
            continue;
        }
        let kept = read_file(&path)?;
        let message = kept.attached(name).filter(|_| kept.id == *id);
        if message.is_some() {
            return Ok(message);
        }
    }
    Ok(None)
}

/// Reads all of a folder.
///
/// # Errors
/// When a file does not read.
pub fn read(folder: &Path, kept: &mut Kept) -> Result<usize, EvidenceError> {
    let paths = files(folder)?;
    for path in &paths {
        kept.add(read_file(path)?);
    }
    Ok(paths.len())
}

/// Reads what reads of a folder that its node goes on with, and gives how many files do not: one that is damaged is to
/// keep nobody from auditing the rest. What was forgotten meanwhile is not there.
///
/// # Errors
/// When the folder does not read.
pub fn read_sound(folder: &Path, kept: &mut Kept) -> Result<u64, EvidenceError> {
    let mut unreadable = 0_u64;
    for path in files(folder)? {
        match read_file(&path) {
            Ok(evidence) => kept.add(evidence),
            Err(EvidenceError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(error = %error, "kept openings are passed over");
                unreadable = unreadable.saturating_add(1);
            }
        }
    }
    Ok(unreadable)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, EvidenceError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong(folder))? {
        let path = entry.map_err(wrong(folder))?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_file(path: &Path) -> Result<Evidence, EvidenceError> {
    let damaged = || EvidenceError::Damaged { path: path.to_path_buf() };
    let length = fs::metadata(path).map_err(wrong(path))?.len();
    if length > Evidence::MAX_BYTES as u64 {
        return Err(damaged());
    }
    let bytes = fs::read(path).map_err(wrong(path))?;
    Evidence::from_bytes(&bytes).map_err(|_| damaged())
}

fn wrong(path: &Path) -> impl FnOnce(io::Error) -> EvidenceError {
    let path = path.to_path_buf();
    move |source| EvidenceError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use privacy::ids::SetHash;
    use privacy::masked_sum::MaskedVector;
    use privacy::steps::Opening;
    use privacy::{Attempt, PicoRho, QueryId, QuerySpec};

    use super::*;

    #[test]
    fn what_is_kept_is_given_by_its_hash_and_by_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = ("one".parse().unwrap(), "other".parse().unwrap());
        let id = AttemptId { proposer: one, query: QueryId([1; 16]), attempt: Attempt(1) };
        let (set, nonce) = (SetHash([2; 32]), [3; 32]);
        let vector = |value: u8| MaskedVector::from_bytes(&[0, 0, 0, 0, 0, 0, 0, value]).unwrap();
        let opening = |value| Opening { id, set, vector: vector(value).to_bytes(), nonce };
        let spec = QuerySpec {
            sql: "SELECT count(*) FROM purchases".to_owned(),
            purpose: "joint_analytics".parse().unwrap(),
            analyst: "desk".parse().unwrap(),
            participants: vec![one, other],
            rho: PicoRho::new(1),
        };
        let evidence =
            Evidence { id, spec, openings: vec![(one, opening(4)), (other, opening(5))] };
        keep(folder.path(), &evidence, Timestamp::from_unix_ms(6)).unwrap();

        let given = |id: &AttemptId, name| attached(folder.path(), id, name).unwrap();
        let name = vector(5).commitment(other, set, &nonce);
        assert_eq!(given(&id, name), Some(Message::Attached(other, opening(5))));
        // another's, another attempt's, and where nothing was kept
        assert_eq!(given(&id, vector(5).commitment(one, set, &nonce)), None);
        assert_eq!(given(&AttemptId { attempt: Attempt(2), ..id }, name), None);
        assert_eq!(attached(&folder.path().join("none"), &id, name).unwrap(), None);
        // a file that is not whole is told of
        let file = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        fs::write(&file, b"\x83").unwrap();
        assert!(attached(folder.path(), &id, name).is_err());

        // and keeps nobody from the others
        let second = AttemptId { attempt: Attempt(2), ..id };
        let openings = evidence.openings.iter();
        let openings = openings.map(|(of, it)| (*of, Opening { id: second, ..it.clone() }));
        let later = Evidence { id: second, openings: openings.collect(), ..evidence };
        keep(folder.path(), &later, Timestamp::from_unix_ms(7)).unwrap();
        assert!(read(folder.path(), &mut Kept::default()).is_err());
        let mut kept = Kept::default();
        assert_eq!(read_sound(folder.path(), &mut kept).unwrap(), 1);
        assert!(kept.questions.contains_key(&later.id) && !kept.questions.contains_key(&id));
    }
}
