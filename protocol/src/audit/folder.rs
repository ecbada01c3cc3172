//! The folder in which a log is published, and what can be said of its small files alone:
//! certificates and the checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use super::cores::Cores;
use super::report::{Place, Reason, Recorder, Rule, count};
use crate::codec;
use crate::constitution::Constitution;
use crate::epochs::Constitutions;
use crate::ids::{BrandId, Epoch, HeaderHash, Height, LeafIndex, RootHash, Round, TreeSize};
use crate::ledger::{log_verifier, witness_verifier};
use crate::log::checkpoint::SignedCheckpoint;
use crate::log::merkle::{NodeHash, leaf_hash};
use crate::log::note::VerifierKey;
use crate::log::tiles::{TILE_WIDTH, TileKind, TilePath, TileSource, parse_bundle};
use crate::witness::closing;
use crate::witness::statement::{Certificate, QuorumError, UnverifiedCertificate};

/// Name of the file with the newest checkpoint (C2SP tlog-tiles).
pub const CHECKPOINT_FILE: &str = "checkpoint";
/// Name of the file with all certificates: a CBOR sequence (RFC 8742) in the order of heights, to
/// which a node appends `codec::encode(certificate.as_unverified())`.
pub const CERTIFICATES_FILE: &str = "certificates";
/// The newest checkpoint that an outside witness has signed; the audit reads [`CHECKPOINT_FILE`].
pub const WITNESSED_FILE: &str = "checkpoint.witnessed";
/// How many entries, from the first, the log's owner has put elsewhere after their retention: a number
/// and a newline. Those in a folder without this file are all there.
pub const ARCHIVED_FILE: &str = "archived";
/// Most bytes of one certificate; one of 21 brands has less than half of it.
pub const CERTIFICATE_MAX: usize = 4_096;

/// Entries of a full bundle and hashes of a full tile.
pub(super) const WIDTH: u64 = TILE_WIDTH as u64;

/// Bytes of the certificates file that are asked for at once.
const CHUNK: usize = 64 * 1_024;
/// Certificates that are verified at once.
const CERTIFICATES_AT_ONCE: usize = 256;

/// Reads [`ARCHIVED_FILE`]; none when it is not in its one form.
#[must_use]
pub fn parse_archived(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let entries: u64 = text.parse().ok()?;
    (entries.to_string() == text).then_some(entries)
}

/// One log's folder. Reading is the caller's: a directory, an archive, memory. What cannot be read is
/// treated as not there.
///
/// A node writes tiles, then the certificate, then the checkpoint. Logs that are still growing are
/// copied the other way: first the checkpoints of all logs, then each log's certificates, then its
/// tiles. Everything that a block under a checkpoint refers to is then in the copy; of later blocks,
/// what they refer to beyond it is counted as not checked.
pub trait LogFolder: TileSource + Sync {
    /// The checkpoint file.
    fn checkpoint(&self) -> Option<Vec<u8>>;
    /// At most `most` bytes of the certificates file from `offset` on; none or nothing at its end.
    fn certificates(&self, offset: u64, most: usize) -> Option<Vec<u8>>;
    /// The names of all files, relative to the folder, with `/` between parts.
    fn files(&self) -> Vec<String>;
    /// How many entries, from the first, the folder says are elsewhere.
    fn archived(&self) -> u64 {
        0
    }
}

/// Why the rest of a certificates file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificatesError {
    /// Not a certificate of at most [`CERTIFICATE_MAX`] bytes, or not all of one.
    #[error("at byte {offset} is no certificate of at most {CERTIFICATE_MAX} bytes")]
    Malformed {
        /// Where in the file.
        offset: u64,
    },
}

/// Reads certificates one after another, in bounded memory. Ends after an error: nothing tells where
/// the next certificate would begin.
#[derive(Debug)]
pub struct CertificateReader<'a, F> {
    folder: &'a F,
    offset: u64,
    buffer: Vec<u8>,
    at_end: bool,
}

impl<'a, F: LogFolder> CertificateReader<'a, F> {
    /// From the first certificate on.
    pub const fn new(folder: &'a F) -> Self {
        Self { folder, offset: 0, buffer: Vec::new(), at_end: false }
    }

    fn fill(&mut self) {
        while !self.at_end && self.buffer.len() < CERTIFICATE_MAX {
            let buffered = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
            let from = self.offset.saturating_add(buffered);
            let more = self.folder.certificates(from, CHUNK).unwrap_or_default();
            self.at_end = more.is_empty();
            self.buffer.extend(more.into_iter().take(CHUNK));
        }
    }

    fn first(&self) -> Option<(UnverifiedCertificate, usize)> {
        let most = self.buffer.len().min(CERTIFICATE_MAX);
        let mut decoder = minicbor::Decoder::new(self.buffer.get(..most)?);
        decoder.skip().ok()?;
        let length = decoder.position();
        let bytes = self.buffer.get(..length)?;
        Some((codec::decode("a certificate", bytes, CERTIFICATE_MAX).ok()?, length))
    }
}

impl<F: LogFolder> Iterator for CertificateReader<'_, F> {
    type Item = Result<UnverifiedCertificate, CertificatesError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.fill();
        if self.buffer.is_empty() {
            return None;
        }
        let Some((certificate, length)) = self.first() else {
            self.buffer.clear();
            self.at_end = true;
            return Some(Err(CertificatesError::Malformed { offset: self.offset }));
        };
        self.buffer.drain(..length);
        self.offset = self.offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        Some(Ok(certificate))
    }
}

/// What a certificate that stands says of its block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fact {
    pub(super) epoch: Epoch,
    pub(super) header: HeaderHash,
    pub(super) size: TreeSize,
    pub(super) root: RootHash,
}

impl Fact {
    pub(super) fn header_index(&self) -> LeafIndex {
        LeafIndex::new(self.size.get().saturating_sub(1))
    }
}

/// One log's certificates, checked: for each height from 1 on what is certified, or none where the
/// certificate does not stand. 72 bytes a block are kept in memory.
#[derive(Debug, Default)]
pub(super) struct Facts {
    of: Vec<Option<Fact>>,
    // the block that a last round certified
    closed: Option<Height>,
}

impl Facts {
    pub(super) fn read<F: LogFolder>(
        constitutions: &Constitutions,
        log: BrandId,
        folder: &F,
        cores: &impl Cores,
        recorder: &mut Recorder,
    ) -> Self {
        let mut facts = Self::default();
        let mut size = TreeSize::new(0);
        let mut certificates = CertificateReader::new(folder);
        loop {
            let some: Vec<_> = certificates.by_ref().take(CERTIFICATES_AT_ONCE).collect();
            if some.is_empty() {
                return facts;
            }
            let checked = cores.each(&some, |certificate| {
                let certificate = certificate.as_ref().ok()?;
                Some(verify(constitutions, certificate.clone()).map(|_| ()))
            });
            for (certificate, checked) in some.iter().zip(checked) {
                let place = Place::block(log, facts.next_height());
                let certificate = match certificate {
                    Ok(certificate) => certificate,
                    Err(error) => {
                        // the last one that there is
                        recorder.find(place, Rule::CertificateUnreadable, error);
                        return facts;
                    }
                };
                let block = certificate.pledge.block;
                let signatures = certificate.commits.len().saturating_add(1);
                let stands = if let Some(Err(error)) = checked {
                    recorder.find(place, Rule::CertificateSignature, error);
                    false
                } else if block.log != log
                    || Some(block.height) != place.height
                    || block.size <= size
                {
                    let message = format_args!(
                        "the certificate here is of block {} of log {} with {} entries",
                        block.height, block.log, block.size
                    );
                    recorder.find(place, Rule::CertificateOrder, message);
                    false
                } else {
                    size = block.size;
                    facts.ends(place, certificate.pledge.round, recorder);
                    count(&mut recorder.counts.signatures, signatures);
                    count(&mut recorder.counts.certificates, 1);
                    true
                };
                let (epoch, header) = (block.epoch, block.header);
                let fact = Fact { epoch, header, size: block.size, root: block.root };
                facts.of.push(stands.then_some(fact));
            }
        }
    }

    /// What a last round has certified is the end of the log.
    fn ends(&mut self, place: Place, round: Round, recorder: &mut Recorder) {
        if let Some(closed) = self.closed {
            let message = format_args!(
                "it comes after block {closed}, which was certified in a last round: that closed the log"
            );
            recorder.goes_on(place, message);
        } else if closing::is_last(round) {
            self.closed = place.height;
        }
    }

    pub(super) fn next_height(&self) -> Height {
        Height::new(u64::try_from(self.of.len()).unwrap_or(u64::MAX).saturating_add(1))
    }

    /// The highest height with a certificate in the file, whether or not it stands.
    pub(super) fn last_height(&self) -> Height {
        Height::new(u64::try_from(self.of.len()).unwrap_or(u64::MAX))
    }

    pub(super) fn at(&self, height: Height) -> Option<Fact> {
        let place = usize::try_from(height.get().checked_sub(1)?).ok()?;
        self.of.get(place).copied().flatten()
    }

    pub(super) fn last(&self) -> Option<(Height, Fact)> {
        let numbered = (1..).zip(&self.of);
        let standing = numbered.filter_map(|(height, fact)| Some((Height::new(height), (*fact)?)));
        standing.last()
    }

    /// The block that holds a leaf.
    pub(super) fn of_leaf(&self, index: LeafIndex) -> Option<(Height, Fact)> {
        // sizes of those that stand grow with the height; the few that do not stand are passed over
        let mut start = 0;
        let mut end = self.of.len();
        while start < end {
            let middle = start.saturating_add(end.saturating_sub(start) / 2);
            let known = self.of.get(middle..end)?.iter().flatten().next();
            match known {
                Some(fact) if fact.size.get() <= index.get() => start = middle.saturating_add(1),
                _ => end = middle,
            }
        }
        let height = u64::try_from(start).ok()?.checked_add(1)?;
        Some((Height::new(height), self.of.get(start).copied().flatten()?))
    }

    fn of_size(&self, size: TreeSize) -> Option<(Height, Fact)> {
        // sizes grow with the height
        let numbered = (1..).zip(&self.of);
        let mut standing =
            numbered.filter_map(|(height, fact)| Some((Height::new(height), (*fact)?)));
        standing.find(|(_, fact)| fact.size == size)
    }
}

/// By the constitution of the certificate's own epoch.
fn verify(
    constitutions: &Constitutions,
    certificate: UnverifiedCertificate,
) -> Result<Certificate, QuorumError> {
    let found = certificate.pledge.block.epoch;
    let unknown = QuorumError::Epoch { found, expected: constitutions.newest().epoch() };
    certificate.verify(constitutions.of(found).ok_or(unknown)?)
}

/// What a checkpoint says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Named {
    /// Its size, whether or not anybody vouches for it.
    pub(super) size: Option<TreeSize>,
    /// The certified block that it is of.
    pub(super) block: Option<Height>,
}

/// Checks the checkpoint against the certificates.
pub(super) fn check_checkpoint<F: LogFolder>(
    constitutions: &Constitutions,
    outside: &[VerifierKey],
    (log, folder): (BrandId, &F),
    facts: &Facts,
    recorder: &mut Recorder,
) -> Named {
    let place = Place::log(log);
    let Some(bytes) = folder.checkpoint() else {
        if facts.last_height().get() > 0 {
            recorder.find(place, Rule::CheckpointMissing, "certified blocks and no checkpoint");
        }
        return Named::default();
    };
    let signed = match SignedCheckpoint::parse(&bytes) {
        Ok(signed) => signed,
        Err(error) => {
            recorder.find(place, Rule::CheckpointUnreadable, error);
            return Named::default();
        }
    };
    let (size, root) = (signed.unverified().size(), signed.unverified().root());
    let block = facts.of_size(size);
    // by the keys of the block that it is of, which need not be the last
    let epoch = block.or(facts.last()).map(|(_, fact)| fact.epoch);
    let constitution = epoch.and_then(|epoch| constitutions.of(epoch));
    let constitution = constitution.unwrap_or(constitutions.first());
    check_signatures((constitutions, constitution), outside, log, &signed, recorder);
    match block {
        Some((height, fact)) if fact.root == root => {
            let behind = facts.last_height().get().saturating_sub(height.get());
            recorder.not_checked(log, Reason::NotInCheckpoint, behind);
        }
        Some((height, _)) => {
            let message = "its root is not that of the certified block of its size";
            recorder.find(Place::block(log, height), Rule::CheckpointRoot, message);
        }
        None => {
            let message = format_args!("its size {size} is not that of a certified block");
            recorder.find(place, Rule::CheckpointUncertified, message);
        }
    }
    Named { size: Some(size), block: block.map(|(height, _)| height) }
}

fn check_signatures(
    (constitutions, constitution): (&Constitutions, &Constitution),
    outside: &[VerifierKey],
    log: BrandId,
    signed: &SignedCheckpoint,
    recorder: &mut Recorder,
) {
    let place = Place::log(log);
    let log_key = log_verifier(constitution, log);
    match log_key.as_ref().map(|key| signed.verify(key)) {
        Some(Ok(_)) => count(&mut recorder.counts.signatures, 1),
        Some(Err(error)) => recorder.find(place, Rule::CheckpointSignature, error),
        None => recorder.find(place, Rule::CheckpointSignature, "no key for this log"),
    }
    // the key that this constitution replaced signs as well, for who has not heard of the new one
    let before = constitutions.before(constitution.epoch());
    let retiring = before.and_then(|before| log_verifier(before, log));
    let retiring = retiring.filter(|key| Some(key) != log_key.as_ref());
    if let Some(key) = &retiring
        && signed.signatures().iter().any(|line| line.is_by(key))
    {
        match signed.verify(key) {
            Ok(_) => count(&mut recorder.counts.signatures, 1),
            Err(error) => recorder.find(place, Rule::CheckpointSignature, error),
        }
    }
    let witnesses = constitution.committee().witnesses(log);
    let mut witnesses: Vec<VerifierKey> =
        witnesses.filter_map(|brand| witness_verifier(constitution, brand)).collect();
    witnesses.extend(outside.iter().cloned());
    for witness in &witnesses {
        if signed.signatures().iter().any(|line| line.is_by(witness)) {
            match signed.verify_cosignature(witness) {
                Ok(_) => count(&mut recorder.counts.signatures, 1),
                Err(error) => recorder.find(place, Rule::CheckpointCosignature, error),
            }
        }
    }
    for line in signed.signatures() {
        if !log_key.iter().chain(&retiring).chain(&witnesses).any(|key| line.is_by(key)) {
            let message = format_args!("a signature {} by a key nobody is known by", line.id());
            recorder.find(place, Rule::CheckpointStranger, message);
        }
    }
}

/// A file of a tree of `size` leaves; a partial one that has been replaced since is read from the
/// full one. Gives the path that was found.
pub(super) fn read_file(
    source: &impl TileSource,
    kind: TileKind,
    index: u64,
    size: TreeSize,
) -> Result<(TilePath, TilePath, Vec<u8>), Option<TilePath>> {
    let path = TilePath::in_tree(kind, index, size).ok_or(None)?;
    if let Some(bytes) = source.read(&path) {
        return Ok((path, path, bytes));
    }
    let full = path.full();
    source.read(&full).map(|bytes| (path, full, bytes)).ok_or(Some(path))
}

/// The bundle with the last entry of a tree of `size` leaves, if its file is there.
pub(super) fn has_last_bundle(source: &impl TileSource, size: TreeSize) -> bool {
    size.get()
        .checked_sub(1)
        .is_some_and(|last| read_file(source, TileKind::Entries, last / WIDTH, size).is_ok())
}

/// One leaf as its bundle has it.
pub(super) fn read_leaf(
    source: &impl TileSource,
    size: TreeSize,
    index: LeafIndex,
) -> Option<Vec<u8>> {
    let (_, found, bytes) = read_file(source, TileKind::Entries, index.get() / WIDTH, size).ok()?;
    let place = usize::try_from(index.get() % WIDTH).ok()?;
    Some(parse_bundle(&bytes, found.width())?.into_iter().nth(place)?.to_vec())
}

/// Reads leaves of any log; keeps the last bundle, since what is asked for comes in runs.
#[derive(Debug)]
pub(super) struct Leaves {
    bundle: Option<(BrandId, u64, TilePath, Vec<u8>)>,
}

impl Leaves {
    pub(super) const fn new() -> Self {
        Self { bundle: None }
    }

    /// As [`read_leaf`].
    pub(super) fn read(
        &mut self,
        (log, source): (BrandId, &impl TileSource),
        size: TreeSize,
        index: LeafIndex,
    ) -> Option<&[u8]> {
        let number = index.get() / WIDTH;
        if self.bundle.as_ref().is_none_or(|(of, at, ..)| (*of, *at) != (log, number)) {
            let (_, found, bytes) = read_file(source, TileKind::Entries, number, size).ok()?;
            self.bundle = Some((log, number, found, bytes));
        }
        let (.., found, bytes) = self.bundle.as_ref()?;
        let place = usize::try_from(index.get() % WIDTH).ok()?;
        parse_bundle(bytes, found.width())?.into_iter().nth(place)
    }
}

/// The certified header leaf of a block, if the entry there still is the certified one.
pub(super) fn read_header_leaf(
    source: &impl TileSource,
    size: TreeSize,
    fact: &Fact,
) -> Option<Vec<u8>> {
    let leaf = read_leaf(source, size, fact.header_index())?;
    (leaf_hash(&leaf) == fact.header.as_leaf()).then_some(leaf)
}

/// Partial tiles of earlier sizes that are still there, by what is there now. The walk over the tree
/// reads them when it knows what they must hold.
pub(super) type Partials = BTreeMap<(TileKind, u64), Vec<TilePath>>;

/// Sorts out the files besides those of a tree of `size` leaves; others are no part of the log.
pub(super) fn other_files<F: LogFolder>(
    log: BrandId,
    folder: &F,
    size: TreeSize,
    recorder: &mut Recorder,
) -> Partials {
    let known = [CHECKPOINT_FILE, CERTIFICATES_FILE, WITNESSED_FILE, ARCHIVED_FILE];
    let names: BTreeSet<String> = folder.files().into_iter().collect();
    let mut partials = Partials::new();
    for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
        let path: Option<TilePath> = name.parse().ok();
        let now = path.and_then(|path| TilePath::in_tree(path.kind(), path.index(), size));
        match path.zip(now) {
            Some((path, now)) if path == now => {}
            Some((path, now)) if path.width() < now.width() => {
                partials.entry((path.kind(), path.index())).or_default().push(path);
            }
            _ => recorder.not_checked(log, Reason::FileNotOfLog, 1),
        }
    }
    partials
}

/// Whether a partial tile or bundle holds the beginning of these hashes, or entries that have them.
pub(super) fn is_beginning(path: TilePath, bytes: &[u8], hashes: &[NodeHash]) -> bool {
    let Some(hashes) = hashes.get(..usize::from(path.width())) else { return false };
    match path.kind() {
        TileKind::Hashes { .. } => hashes.iter().flat_map(NodeHash::as_bytes).eq(bytes),
        TileKind::Entries => parse_bundle(bytes, path.width()).is_some_and(|entries| {
            entries
                .into_iter()
                .map(|entry| NodeHash::from(leaf_hash(entry)))
                .eq(hashes.iter().copied())
        }),
    }
}
