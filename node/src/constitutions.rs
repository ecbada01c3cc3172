//! The constitutions whose files a node has: the first, and in a folder those after it, drafts too.
//!
//! A file is put there by `coalition constitution take`, which checks it against the one before; it is
//! read when the node starts, or when a running node is told that one came. Whether a draft follows is
//! for the logs to say ([`protocol::epochs`]). Does not know the ledger.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use alliance_config::{Constitution, load, load_next};
use protocol::epochs::Constitutions;
use protocol::epochs::adoption::Stance;
use protocol::ids::{BrandId, ConstitutionHash};

use crate::config::{ConfigError, DataDirectory};

/// Why the files are not those of one alliance.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// One of them cannot be used.
    #[error("{}: {problem}", .path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The one before it is missing.
    #[error(
        "{}: the constitution of epoch {epoch} that it names as the one before is not here; take that one first",
        .path.display()
    )]
    Orphan {
        /// Which file.
        path: PathBuf,
        /// The epoch of the missing one.
        epoch: u32,
    },
    /// None of them names this brand.
    #[error(
        "{0} is no brand of any constitution here; copy the constitution that was collected for this alliance"
    )]
    NotMember(BrandId),
}

/// Constitutions by hash.
#[derive(Debug)]
pub struct Known {
    first: Constitution,
    later: BTreeMap<ConstitutionHash, Constitution>,
}

impl Known {
    /// Reads and checks all that are in a data directory.
    ///
    /// # Errors
    /// When one of them cannot be read, may not follow, or follows one that is not there.
    pub fn read(data: &DataDirectory) -> Result<Self, KnownError> {
        let path = data.constitution();
        let (toml, signatures) = (data.read(&path)?, data.read(&data.signatures())?);
        let first = load(&toml, &signatures)
            .map_err(|error| KnownError::Unusable { path, problem: error.to_string() })?
            .into_constitution();
        let mut known = Self { first, later: BTreeMap::new() };
        let mut files = Vec::new();
        for path in toml_files(&data.constitutions())? {
            let toml = data.read(&path)?;
            let parsed = Constitution::parse(&toml).map_err(|error| KnownError::Unusable {
                path: path.clone(),
                problem: error.to_string(),
            })?;
            files.push((parsed.ledger().epoch(), path, toml));
        }
        files.sort();
        for (_, path, toml) in files {
            let signatures = fs::read(path.with_extension("signatures")).unwrap_or_default();
            let checked = known.check(&path, &toml, &signatures)?;
            known.later.insert(checked.hash(), checked);
        }
        Ok(known)
    }

    /// Checks a file against the constitution that it names as the one before.
    fn check(
        &self,
        path: &Path,
        toml: &[u8],
        signatures: &[u8],
    ) -> Result<Constitution, KnownError> {
        let unusable = |problem| KnownError::Unusable { path: path.into(), problem };
        let parsed = Constitution::parse(toml).map_err(|error| unusable(error.to_string()))?;
        let epoch = parsed.ledger().epoch().get().saturating_sub(1);
        let before = parsed.ledger().succession().previous.and_then(|hash| self.get(&hash));
        let before = before.ok_or_else(|| KnownError::Orphan { path: path.into(), epoch })?;
        load_next(before.ledger(), toml, signatures).map_err(|error| unusable(error.to_string()))
    }

    /// Takes a file into a data directory, where the node finds it. The first constitution of an alliance
    /// that this brand joins later is taken the same way.
    ///
    /// # Errors
    /// When it cannot be used; nothing was then written.
    pub fn take(
        data: &DataDirectory,
        toml: &Path,
        signatures: Option<&Path>,
    ) -> Result<Constitution, KnownError> {
        let bytes = data.read(toml)?;
        let signed = signatures.map(|path| data.read(path)).transpose()?.unwrap_or_default();
        if !data.constitution().exists() {
            let first = load(&bytes, &signed)
                .map_err(|error| KnownError::Unusable {
                    path: toml.into(),
                    problem: error.to_string(),
                })?
                .into_constitution();
            data.write(&data.constitution(), &bytes)?;
            data.write(&data.signatures(), &signed)?;
            return Ok(first);
        }
        let checked = Self::read(data)?.check(toml, &bytes, &signed)?;
        let folder = data.constitutions();
        fs::create_dir_all(&folder).map_err(|source| ConfigError::Io {
            action: "make",
            path: folder.clone(),
            source,
        })?;
        let name = folder.join(checked.hash().to_string());
        data.write(&name.with_extension("signatures"), &signed)?;
        data.write(&name.with_extension("toml"), &bytes)?;
        Ok(checked)
    }

    /// Notes what this brand says of a draft that was taken; the node enters it in its log when it reads
    /// it.
    ///
    /// # Errors
    /// When the draft is not here.
    pub fn say(
        data: &DataDirectory,
        draft: &Constitution,
        stance: Stance,
    ) -> Result<(), KnownError> {
        let path = data.constitutions().join(draft.hash().to_string()).with_extension("stance");
        let word: &[u8] = match stance {
            Stance::Adopted => b"adopted\n",
            Stance::Declined => b"declined\n",
        };
        Ok(data.write(&path, word)?)
    }

    /// What this brand says of the drafts that are here.
    ///
    /// # Errors
    /// When a note is not one that [`Known::say`] wrote.
    pub fn stances(
        &self,
        data: &DataDirectory,
    ) -> Result<Vec<(ConstitutionHash, Stance)>, KnownError> {
        let mut stances = Vec::new();
        for hash in self.later.keys() {
            let path = data.constitutions().join(hash.to_string()).with_extension("stance");
            if !path.exists() {
                continue;
            }
            let stance = match data.read(&path)?.as_slice() {
                b"adopted\n" => Stance::Adopted,
                b"declined\n" => Stance::Declined,
                _ => {
                    let problem = "it says neither adopted nor declined".to_owned();
                    return Err(KnownError::Unusable { path, problem });
                }
            };
            stances.push((*hash, stance));
        }
        Ok(stances)
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, hash: &ConstitutionHash) -> Option<&Constitution> {
        if self.first.hash() == *hash { Some(&self.first) } else { self.later.get(hash) }
    }

    /// All of them, the first before the others.
    pub fn iter(&self) -> impl Iterator<Item = &Constitution> {
        std::iter::once(&self.first).chain(self.later.values())
    }

    /// Those after the first.
    pub fn later(&self) -> impl Iterator<Item = &Constitution> {
        self.later.values()
    }

    /// The constitutions up to the first that names a brand: what it starts from, whatever came after.
    ///
    /// # Errors
    /// When none names it.
    pub fn chain(&self, brand: BrandId) -> Result<Constitutions, KnownError> {
        let all = std::iter::once(&self.first).chain(self.later.values());
        let joined = all
            .filter(|it| it.ledger().brand(brand).is_some())
            .min_by_key(|it| it.ledger().epoch())
            .ok_or(KnownError::NotMember(brand))?;
        let mut back = vec![joined];
        while let Some(before) = back
            .last()
            .and_then(|last| last.ledger().succession().previous)
            .and_then(|hash| self.get(&hash))
        {
            back.push(before);
        }
        let mut chain = Constitutions::from(self.first.ledger().clone());
        for next in back.into_iter().rev().skip(1) {
            chain.follow(next.ledger().clone()).map_err(|error| KnownError::Unusable {
                path: PathBuf::from(next.hash().to_string()),
                problem: error.to_string(),
            })?;
        }
        Ok(chain)
    }

    /// Those of a chain whose files are here, the newest first.
    pub fn of_chain<'a>(
        &'a self,
        chain: &'a Constitutions,
    ) -> impl Iterator<Item = &'a Constitution> {
        chain.iter().rev().filter_map(|it| self.get(&it.hash()))
    }
}

/// The TOML files of a folder; none when it is not there.
pub(crate) fn toml_files(folder: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let failed = |source| ConfigError::Io { action: "read", path: folder.into(), source };
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).map_err(failed)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths = paths.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|it| it == "toml")).collect())
}
