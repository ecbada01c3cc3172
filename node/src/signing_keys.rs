//! The sets of keys with which the brand signs: the first, among its other secrets, and those made to
//! rotate to, one file a set.
//!
//! A set is made before a constitution names it; which of them signs, the ledger says: that of the
//! constitution a log is under. Sets that were replaced stay, because what is in the journal is read
//! again with them when the node starts. Does not know constitutions' files.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use protocol::constitution::BrandKeys;
use protocol::ledger::SigningKeys;
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

use crate::keys::{KeysError, Secrets, SigningSecrets, io, write_secret};

const FOLDER: &str = "signing";

/// The brand's sets of signing keys, oldest first; at least one.
#[derive(Debug)]
pub struct SigningSets {
    folder: PathBuf,
    first: SigningSecrets,
    later: Vec<(u32, SigningSecrets)>,
}

impl SigningSets {
    /// Reads all sets.
    ///
    /// # Errors
    /// When a file cannot be read, or is not one that [`Self::make`] wrote.
    pub fn read(keys: &Path, secrets: &Secrets) -> Result<Self, KeysError> {
        let folder = keys.join(FOLDER);
        let mut later = Vec::new();
        let there = folder.exists().then(|| fs::read_dir(&folder)).transpose();
        for entry in there.map_err(io("list", &folder))?.into_iter().flatten() {
            let name = entry.map_err(io("list", &folder))?.file_name();
            let path = folder.join(&name);
            // what a crash left half written is no set
            if path.extension().is_some_and(|extension| extension == PART) {
                continue;
            }
            let number = name.to_str().and_then(|name| name.parse::<u32>().ok());
            let number =
                number.ok_or_else(|| KeysError::Malformed { path: path.clone(), line: 1 })?;
            let text = Zeroizing::new(fs::read_to_string(&path).map_err(io("read", &path))?);
            later.push((number, SigningSecrets::from_text(&path, &text)?));
        }
        later.sort_by_key(|(number, _)| *number);
        Ok(Self { folder, first: secrets.signing(), later })
    }

    /// Makes another set. It is on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn make(&mut self) -> Result<&SigningSecrets, KeysError> {
        if !self.folder.exists() {
            let made = fs::DirBuilder::new().mode(0o700).create(&self.folder);
            made.map_err(io("create", &self.folder))?;
        }
        let number = self.later.last().map_or(1, |(last, _)| last.saturating_add(1));
        let path = self.folder.join(format!("{number:06}"));
        let part = path.with_extension(PART);
        if part.exists() {
            fs::remove_file(&part).map_err(io("remove", &part))?;
        }
        let set = SigningSecrets::generate(&SystemRandom::new())?;
        write_secret(&part, set.to_text().as_bytes())?;
        fs::rename(&part, &path).map_err(io("rename", &part))?;
        let synced = fs::File::open(&self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(io("sync", &self.folder))?;
        self.later.push((number, set));
        Ok(self.newest())
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &SigningSecrets> {
        std::iter::once(&self.first).chain(self.later.iter().map(|(_, set)| set))
    }

    /// The last that was made.
    #[must_use]
    pub fn newest(&self) -> &SigningSecrets {
        self.later.last().map_or(&self.first, |(_, set)| set)
    }

    /// The set whose public halves these are, all of them.
    #[must_use]
    pub fn of(&self, known: &BrandKeys) -> Option<&SigningSecrets> {
        self.iter().find(|set| {
            let public = set.public(known.network, known.sealing, known.recovery);
            public.is_ok_and(|public| public == *known)
        })
    }

    /// The sets after the first, for the ledger.
    ///
    /// # Errors
    /// When a seed is no key.
    pub fn later(&self) -> Result<Vec<SigningKeys>, KeysError> {
        self.later.iter().map(|(_, set)| set.ledger()).collect()
    }
}

/// Extension of a file that is being written.
const PART: &str = "part";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::keys;

    #[test]
    fn sets_are_made_read_again_and_found_by_their_public_halves() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("keys");
        let made = keys::create(&folder).unwrap();
        let public = |set: &SigningSecrets| {
            set.public(made.secrets.network_key().unwrap(), made.sealing, made.recovery).unwrap()
        };
        let mut sets = SigningSets::read(&folder, &made.secrets).unwrap();
        assert_eq!(sets.iter().count(), 1);
        let first = public(sets.newest());
        assert_eq!(first, made.secrets.public(made.sealing, made.recovery).unwrap());
        let second = public(sets.make().unwrap());
        let third = public(sets.make().unwrap());
        assert_ne!(second, third);

        let path = folder.join(FOLDER).join("000002");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // half of a file, as a crash leaves it
        fs::write(folder.join(FOLDER).join("000003.part"), "log = ").unwrap();
        let mut again = SigningSets::read(&folder, &keys::read(&folder).unwrap()).unwrap();
        assert_eq!(again.iter().map(public).collect::<Vec<_>>(), [first, second, third.clone()]);
        assert_eq!(public(again.of(&third).unwrap()), third);
        // a constitution that mixes two sets names no set of this node
        let mut mixed = third.clone();
        mixed.witness = public(again.iter().next().unwrap()).witness;
        assert!(again.of(&mixed).is_none());
        again.make().unwrap();
        assert!(!format!("{again:?}").contains("log ="));

        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("governance = ", "governing = ")).unwrap();
        let wrong = SigningSets::read(&folder, &keys::read(&folder).unwrap()).unwrap_err();
        assert!(matches!(wrong, KeysError::Malformed { line: 6, .. }), "{wrong}");
    }
}
