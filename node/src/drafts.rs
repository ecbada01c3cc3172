//! Drafts of the next constitution: their files, what each changes, whose signatures are under it.
//!
//! A draft was uploaded, or lies in the folder of constitutions, where `coalition constitution take` puts one. What
//! was uploaded binds nobody: the node holds a draft to its ledger only when it is taken ([`crate::setup::take`]), for
//! which every brand that joins has signed it. Signatures are verified before they are kept. Does not know the ledger,
//! nor who asks.

use std::fs;
use std::path::{Path, PathBuf};

use alliance_config::{
    Comparison, Constitution, FileError, SignError, SignatureProblem, SignatureProblems,
    Signatures, collect, compare,
};
use protocol::epochs::SuccessionError;
use protocol::ids::{BrandId, ConstitutionHash};

use crate::config::{ConfigError, DataDirectory};
use crate::constitutions::{Known, KnownError, toml_files};
use crate::keys::{KeysError, OwnKeys};

/// Most drafts that are kept beside those that were taken.
pub const DRAFTS_MAX: usize = 16;

/// Why something is not done with a draft.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// This brand's keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The constitutions that are here cannot be read.
    #[error(transparent)]
    Known(#[from] KnownError),
    /// The constitution or the signatures are not files of that kind.
    #[error(transparent)]
    Malformed(#[from] FileError),
    /// The constitution that it follows is not here.
    #[error(
        "it names as the one before a constitution that this node does not have / 所指的上一份章程不在本节点"
    )]
    Orphan,
    /// It may not follow.
    #[error(transparent)]
    Succession(#[from] SuccessionError),
    /// Signatures are missing or do not hold.
    #[error(transparent)]
    Signatures(#[from] SignatureProblems),
    /// This brand's key does not sign it.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// There is no room for another.
    #[error("there are {DRAFTS_MAX} drafts already / 草案已有 {DRAFTS_MAX} 份")]
    TooMany,
    /// None of this hash.
    #[error("there is no draft of this hash / 没有此哈希的草案")]
    Unknown,
    /// It was taken, and stays.
    #[error(
        "this node has taken the draft, and keeps it for the logs that speak of it / 本节点已接收该草案，须为引用它的日志保留"
    )]
    Taken,
}

/// A draft and what is known of it.
#[derive(Debug)]
pub struct Draft {
    /// What it says.
    pub constitution: Constitution,
    /// What it changes in the one that it follows.
    pub comparison: Comparison,
    /// Brands that join with it: they have to sign.
    pub joining: Vec<BrandId>,
    /// Brands that leave with it.
    pub leaving: Vec<BrandId>,
    /// Whether the node holds it to its ledger.
    pub is_taken: bool,
    bytes: Vec<u8>,
    signatures: Signatures,
}

impl Draft {
    /// Reads one, with the signatures of a file that may be empty. Those that do not hold are left out.
    fn read(
        known: &Known,
        bytes: Vec<u8>,
        signatures: &[u8],
        is_taken: bool,
    ) -> Result<Self, DraftError> {
        let constitution = Constitution::parse(&bytes)?;
        let previous = constitution.ledger().succession().previous;
        let before = previous.and_then(|hash| known.get(&hash)).ok_or(DraftError::Orphan)?;
        let comparison = compare(before, &constitution)?;
        let missing_in = |of: &Constitution, all: &Constitution| {
            let brands = all.ledger().brands().map(|(brand, _)| brand);
            brands.filter(|brand| of.ledger().brand(*brand).is_none()).collect::<Vec<BrandId>>()
        };
        let (joining, leaving) =
            (missing_in(before, &constitution), missing_in(&constitution, before));
        let signatures = collect(&bytes, &[parsed(signatures)?])?.signatures;
        Ok(Self { constitution, comparison, joining, leaving, is_taken, bytes, signatures })
    }

    /// What it is known by.
    #[must_use]
    pub const fn hash(&self) -> ConstitutionHash {
        self.constitution.hash()
    }

    /// The file: its very bytes, over which signatures are.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The signatures that hold.
    #[must_use]
    pub const fn signatures(&self) -> &Signatures {
        &self.signatures
    }

    /// Whether a brand has signed it.
    #[must_use]
    pub fn is_signed_by(&self, brand: BrandId) -> bool {
        self.signatures.brands().any(|signed| signed == brand)
    }

    /// Brands that join and have not signed.
    pub fn missing(&self) -> impl Iterator<Item = BrandId> + '_ {
        self.joining.iter().copied().filter(|brand| !self.is_signed_by(*brand))
    }

    /// Puts signatures under it; all or, when one does not hold, none.
    fn add(&mut self, given: Signatures) -> Result<(), DraftError> {
        let collected = collect(&self.bytes, &[self.signatures.clone(), given])?;
        if !collected.refused.is_empty() {
            return Err(SignatureProblems(collected.refused).into());
        }
        self.signatures = collected.signatures;
        Ok(())
    }

    /// Where its file is; the signatures are beside it.
    fn path(&self, data: &DataDirectory) -> PathBuf {
        let folder = if self.is_taken { data.constitutions() } else { data.drafts() };
        folder.join(self.hash().to_string()).with_extension("toml")
    }

    fn write_signatures(&self, data: &DataDirectory) -> Result<(), DraftError> {
        let path = self.path(data).with_extension("signatures");
        Ok(data.write(&path, self.signatures.to_text().as_bytes())?)
    }

    /// Its files, for who takes it: the constitution's and the signatures'.
    ///
    /// # Errors
    /// When a brand that joins has not signed.
    pub fn to_take(&self, data: &DataDirectory) -> Result<(PathBuf, PathBuf), DraftError> {
        let missing: Vec<SignatureProblem> =
            self.missing().map(|brand| SignatureProblem::Missing { brand }).collect();
        if !missing.is_empty() {
            return Err(SignatureProblems(missing).into());
        }
        let path = self.path(data);
        let signatures = path.with_extension("signatures");
        Ok((path, signatures))
    }
}

fn parsed(signatures: &[u8]) -> Result<Signatures, FileError> {
    match signatures {
        [] => Ok(Signatures::default()),
        bytes => Signatures::parse(bytes),
    }
}

fn read_at(known: &Known, path: &Path, is_taken: bool) -> Result<Draft, DraftError> {
    let failed =
        |path: &Path, source| ConfigError::Io { action: "read", path: path.into(), source };
    let bytes = fs::read(path).map_err(|source| failed(path, source))?;
    let beside = path.with_extension("signatures");
    let signatures = match fs::read(&beside) {
        Ok(signatures) => signatures,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        // those that are there would be written over with the next
        Err(source) => return Err(failed(&beside, source).into()),
    };
    Draft::read(known, bytes, &signatures, is_taken)
}

/// All that are here, those that were taken and later became constitutions among them, in the order of their numbers.
///
/// # Errors
/// When a folder or a file that was taken cannot be read. What was uploaded and is no draft any more is passed over.
pub fn all(data: &DataDirectory, known: &Known) -> Result<Vec<Draft>, DraftError> {
    let mut drafts: Vec<Draft> = Vec::new();
    for (folder, is_taken) in [(data.constitutions(), true), (data.drafts(), false)] {
        for path in toml_files(&folder)? {
            let draft = match read_at(known, &path, is_taken) {
                Ok(draft) => draft,
                // the constitutions that the node goes by are sound, or it would not run
                Err(error) if is_taken => return Err(error),
                Err(error) => {
                    tracing::warn!(path = %path.display(), error = %error, "a file among the drafts is none");
                    continue;
                }
            };
            // a draft that was taken between two writes lies in both
            if !drafts.iter().any(|held| held.hash() == draft.hash()) {
                drafts.push(draft);
            }
        }
    }
    drafts.sort_by_key(|draft| (draft.constitution.ledger().epoch(), draft.hash()));
    Ok(drafts)
}

/// One, by its hash in hex.
///
/// # Errors
/// When there is none, or a file cannot be read.
pub fn one(data: &DataDirectory, known: &Known, hash: &str) -> Result<Draft, DraftError> {
    let mut held = all(data, known)?.into_iter();
    held.find(|draft| draft.hash().to_string() == hash).ok_or(DraftError::Unknown)
}

/// Keeps a draft, with signatures or none; one that is here already takes up the signatures.
///
/// # Errors
/// When a file is malformed, it may not follow, a signature does not hold, or there are too many; nothing was then kept.
pub fn keep(
    data: &DataDirectory,
    known: &Known,
    constitution: &[u8],
    signatures: &[u8],
) -> Result<Draft, DraftError> {
    let given = parsed(signatures)?;
    let mut draft = Draft::read(known, constitution.to_vec(), &[], false)?;
    let held = all(data, known)?;
    let others = held.iter().filter(|it| !it.is_taken).count();
    if let Some(held) = held.into_iter().find(|it| it.hash() == draft.hash()) {
        return with_signatures(data, held, given);
    }
    if others >= DRAFTS_MAX {
        return Err(DraftError::TooMany);
    }
    draft.add(given)?;
    let folder = data.drafts();
    fs::create_dir_all(&folder).map_err(|source| ConfigError::Io {
        action: "make",
        path: folder.clone(),
        source,
    })?;
    // a draft without its signatures would be one without any
    draft.write_signatures(data)?;
    data.write(&draft.path(data), &draft.bytes)?;
    Ok(draft)
}

/// Puts the signatures of a file under a draft.
///
/// # Errors
/// When the file is malformed or a signature does not hold; nothing was then kept.
pub fn sign_with(
    data: &DataDirectory,
    draft: Draft,
    signatures: &[u8],
) -> Result<Draft, DraftError> {
    let given = Signatures::parse(signatures)?;
    with_signatures(data, draft, given)
}

fn with_signatures(
    data: &DataDirectory,
    mut draft: Draft,
    given: Signatures,
) -> Result<Draft, DraftError> {
    draft.add(given)?;
    draft.write_signatures(data)?;
    Ok(draft)
}

/// Signs a draft with this brand's governance key: the one that the draft has.
///
/// # Errors
/// When the draft has another for this brand, or the keys cannot be read.
pub fn sign(data: &DataDirectory, draft: Draft, brand: BrandId) -> Result<Draft, DraftError> {
    let own = OwnKeys::read(&data.keys())?;
    let member = draft.constitution.ledger().brand(brand);
    let set = member.and_then(|member| own.signing.of(&member.keys));
    let governance = set.ok_or(SignError::NotNamed)?.governance()?;
    let signed = alliance_config::sign(&draft.bytes, &governance)?;
    with_signatures(data, draft, signed)
}

/// Whether a draft has this brand under keys that are here; a brand that leaves has none in it.
///
/// # Errors
/// When the keys cannot be read.
pub fn names_own_keys(
    data: &DataDirectory,
    draft: &Draft,
    brand: BrandId,
) -> Result<bool, DraftError> {
    let own = OwnKeys::read(&data.keys())?;
    let member = draft.constitution.ledger().brand(brand);
    Ok(member.is_some_and(|member| own.are(&member.keys)))
}

/// Forgets a draft that was not taken.
///
/// # Errors
/// When it was taken, or its files cannot be removed.
pub fn remove(data: &DataDirectory, draft: &Draft) -> Result<(), DraftError> {
    if draft.is_taken {
        return Err(DraftError::Taken);
    }
    forget(data, &draft.hash())
}

/// Removes what lies among the drafts of this hash: nothing more of it is needed there when it was taken.
///
/// # Errors
/// When the files cannot be removed.
pub fn forget(data: &DataDirectory, hash: &ConstitutionHash) -> Result<(), DraftError> {
    let path = data.drafts().join(hash.to_string()).with_extension("toml");
    let signatures = path.with_extension("signatures");
    for path in [path, signatures] {
        match fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(ConfigError::Io { action: "remove", path, source }.into());
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alliance_config::{
        Introduction, Name, SETTINGS_TEMPLATE, Settings, draft as first_draft, draft_next,
    };
    use protocol::amount::Rate;
    use protocol::epochs::adoption::Stance;

    use super::*;
    use crate::setup::{self, NewNode};

    struct World {
        folder: tempfile::TempDir,
        first: String,
    }

    fn id(brand: &str) -> BrandId {
        BrandId::new(brand).unwrap()
    }

    impl World {
        /// Three brands under a constitution that each has signed, and a fourth that would join.
        fn new() -> (Self, Introduction) {
            let folder = tempfile::tempdir().unwrap();
            let mut world = Self { folder, first: String::new() };
            let introductions = ["a", "b", "c"].map(|brand| world.make(brand));
            let settings = Settings::parse(SETTINGS_TEMPLATE.as_bytes()).unwrap();
            world.first = first_draft(&introductions, &settings).unwrap();
            let parts = ["a", "b", "c"].map(|brand| world.signature(brand, &world.first));
            let signed = collect(world.first.as_bytes(), &parts).unwrap().signatures;
            let path = |name: &str| world.folder.path().join(name);
            fs::write(path("c.toml"), &world.first).unwrap();
            fs::write(path("c.signatures"), signed.to_text()).unwrap();
            setup::adopt(&world.data("a"), &path("c.toml"), &path("c.signatures")).unwrap();
            let newcomer = world.make("d");
            (world, newcomer)
        }

        fn data(&self, brand: &str) -> DataDirectory {
            DataDirectory::new(self.folder.path().join(brand))
        }

        fn make(&self, brand: &str) -> Introduction {
            let address = |port: u16| -> alliance_config::Address {
                format!("{brand}.example.com:{port}").parse().unwrap()
            };
            let listen = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
            let new = NewNode {
                brand: id(brand),
                name: Name::new("品牌", "Brand").unwrap(),
                point_value: Rate::new(1_000_000, 1).unwrap(),
                libp2p: address(7001),
                https: address(7002),
                settings: crate::config::Settings::new(id(brand), listen(7001), listen(7002)),
            };
            let text = setup::create(&self.data(brand), &new).unwrap();
            Introduction::parse(text.as_bytes()).unwrap()
        }

        fn signature(&self, brand: &str, text: &str) -> Signatures {
            let keys = crate::keys::read(&self.data(brand).keys()).unwrap();
            alliance_config::sign(text.as_bytes(), &keys.governance().unwrap()).unwrap()
        }
    }

    #[test]
    fn a_draft_is_kept_signed_by_who_has_the_keys_and_taken_when_who_joins_has_signed() {
        let (world, newcomer) = World::new();
        let (data, first) = (world.data("a"), world.first.clone());
        let known = Known::read(&data).unwrap();
        let text = draft_next(first.as_bytes(), &[newcomer], &[]).unwrap();
        let draft = keep(&data, &known, text.as_bytes(), &[]).unwrap();
        assert_eq!((draft.joining.clone(), draft.leaving.len()), (vec![id("d")], 0));
        assert!(draft.comparison.lines.iter().any(|line| line.words.en == "d: joins (Brand)"));
        let Err(DraftError::Signatures(missing)) = draft.to_take(&data) else { panic!("not yet") };
        assert_eq!(missing.0, [SignatureProblem::Missing { brand: id("d") }]);

        // with the keys that are here, for the brand whose they are
        assert!(names_own_keys(&data, &draft, id("a")).unwrap());
        assert!(!names_own_keys(&data, &draft, id("b")).unwrap());
        let hash = draft.hash().to_string();
        let again = || one(&data, &known, &hash).unwrap();
        let others = sign(&data, again(), id("b"));
        assert!(matches!(others, Err(DraftError::Sign(SignError::NotNamed))));
        let signed = sign(&data, again(), id("a")).unwrap();
        assert!(signed.is_signed_by(id("a")) && again().is_signed_by(id("a")));
        let handed_on = Signatures::parse(again().signatures().to_text().as_bytes()).unwrap();
        assert_eq!(handed_on, world.signature("a", &text));

        // a signature over another file is refused, and nothing of what came with it is kept
        let wrong = world.signature("b", &first).to_text();
        let refused = sign_with(&data, again(), wrong.as_bytes());
        let Err(DraftError::Signatures(problems)) = refused else { panic!("it was taken") };
        assert_eq!(problems.0, [SignatureProblem::Mismatch { brand: id("b") }]);
        assert!(!again().is_signed_by(id("b")));
        assert!(matches!(sign_with(&data, again(), b"x"), Err(DraftError::Malformed(_))));
        let right = world.signature("d", &text).to_text();
        // as who uploads the file once more does
        let kept = keep(&data, &known, text.as_bytes(), right.as_bytes()).unwrap();
        assert!(kept.is_signed_by(id("d")) && kept.is_signed_by(id("a")));
        assert_eq!(all(&data, &known).unwrap().len(), 1);

        let (toml, signatures) = again().to_take(&data).unwrap();
        let taken = setup::take(&data, &toml, Some(&signatures), Some(Stance::Adopted)).unwrap();
        assert_eq!(taken.hash().to_string(), hash);
        forget(&data, &taken.hash()).unwrap();
        let known = Known::read(&data).unwrap();
        let held = one(&data, &known, &hash).unwrap();
        assert!(held.is_taken && held.is_signed_by(id("a")) && held.is_signed_by(id("d")));
        assert!(matches!(remove(&data, &held), Err(DraftError::Taken)));
        // signatures that cannot be read are not taken for none, and written over
        let beside = data.constitutions().join(&hash).with_extension("signatures");
        let kept = fs::read(&beside).unwrap();
        fs::remove_file(&beside).unwrap();
        fs::create_dir(&beside).unwrap();
        assert!(matches!(one(&data, &known, &hash), Err(DraftError::File(_))));
        fs::remove_dir(&beside).unwrap();
        fs::write(&beside, kept).unwrap();
        // the others' signatures may still come
        let late = world.signature("c", &text).to_text();
        assert!(sign_with(&data, held, late.as_bytes()).unwrap().is_signed_by(id("c")));
        Known::read(&data).unwrap();
    }

    #[test]
    fn what_cannot_follow_is_not_kept_and_there_is_an_end_to_what_is() {
        let (world, newcomer) = World::new();
        let (data, first) = (world.data("a"), world.first.clone());
        let known = Known::read(&data).unwrap();
        let keep = |text: &str| keep(&data, &known, text.as_bytes(), &[]);
        assert!(matches!(keep(&first), Err(DraftError::Orphan)));
        assert!(matches!(keep("format = 0"), Err(DraftError::Malformed(_))));
        let text = draft_next(first.as_bytes(), &[newcomer], &[]).unwrap();
        let skipped = text.replacen("epoch = 2", "epoch = 3", 1);
        assert!(matches!(keep(&skipped), Err(DraftError::Succession(_))));
        assert!(all(&data, &known).unwrap().is_empty());
        let drafts: Vec<Draft> =
            (0..DRAFTS_MAX).map(|number| keep(&format!("{text}# {number}\n")).unwrap()).collect();
        assert!(matches!(keep(&text), Err(DraftError::TooMany)));
        remove(&data, &drafts[3]).unwrap();
        keep(&text).unwrap();
        assert!(matches!(one(&data, &known, "00"), Err(DraftError::Unknown)));
        // what somebody has spoilt by hand hides nothing else
        fs::write(data.drafts().join("spoilt.toml"), "format = 0").unwrap();
        assert_eq!(all(&data, &known).unwrap().len(), DRAFTS_MAX);
    }
}
