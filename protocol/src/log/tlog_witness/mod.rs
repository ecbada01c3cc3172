//! add-checkpoint, both ways (C2SP tlog-witness): what a log sends a witness and what it hears, when
//! a witness of foreign logs cosigns, and ([`OutsideWitness`]) how the own log asks a foreign one.
//!
//! Does no HTTP and stores nothing: a [`Cosigned`] is to be on disk before its line is told, and what
//! is told and what is stored change in one step, because one owner does both. Knows nothing of the
//! alliance's own logs, of which certificates decide: see [`crate::ledger::Ledger::add_checkpoint`].
//!
//! Not here: sign-subtree, ML-DSA-44 cosignatures, a bastion.

mod outside;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minicbor::{Decode, Encode};

pub use outside::{Answer, OutsideError, OutsideWitness};

use super::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint, parse_decimal, parse_hash};
use super::merkle::NodeHash;
use super::note::{NoteError, NoteSignature, VerifierKey};
use super::proof::ConsistencyProof;
use crate::crypto::sha256;
use crate::ids::{Incarnation, RootHash, TreeSize, write_hex};
use crate::time::Timestamp;

/// Most lines of a consistency proof in a request.
pub const PROOF_LINES_MAX: usize = 63;
/// Longest request that is read, in bytes. A note of this project with every signature it may have
/// is a tenth of it.
pub const ADD_CHECKPOINT_MAX: usize = 64 * 1024;
/// How often one foreign log is cosigned at once; after that once a second.
pub const BURST: u64 = 64;
/// Content type of the body that tells a size.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// Why a witness does not cosign; each has its HTTP status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not in the form of a request (400).
    #[error(
        "not an add-checkpoint request: old size, proof lines (at most {PROOF_LINES_MAX}), empty line, checkpoint"
    )]
    Malformed,
    /// The old size is above the checkpoint's (400).
    #[error("the old size is above the checkpoint's")]
    OldAboveNew,
    /// No signature by a key of that log, or one that is not valid (403).
    #[error("invalid signature: the checkpoint is not signed by a key known for its log")]
    NotSigned,
    /// No such log is witnessed here (404).
    #[error("unknown log: this origin is not witnessed here")]
    UnknownOrigin,
    /// The old size is not that of the last checkpoint cosigned (409).
    #[error("the last size cosigned here is {}", .latest.get())]
    Conflict {
        /// The size that is.
        latest: TreeSize,
    },
    /// The proof does not join the two trees (422).
    #[error("the consistency proof does not lead from the old tree to the checkpoint's")]
    Inconsistent,
    /// This log has been cosigned more often than is kept up with (429).
    #[error(
        "this log has been cosigned too often of late: at most {BURST} times at once, then once a second"
    )]
    TooOften,
    /// A log of the alliance, and this node does not hold that size's certificate yet (503).
    #[error("the certificate of this size has not arrived here yet")]
    NotCertifiedYet,
    /// This node may have signed a later size in a life that its disk does not know of (503).
    #[error("this witness has just started, and does not know yet what it has signed before")]
    NotStarted,
    /// A foreign log, and this node's disk was put back: what it cosigned since is forgotten (503).
    #[error(
        "this witness was restored from an older state: it cosigns no foreign log until its operator has made sure of what it had cosigned"
    )]
    Restored {
        /// The incarnation that was restored, by which the operator confirms.
        incarnation: Incarnation,
    },
}

impl Refusal {
    /// The HTTP status with which it is told.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed | Self::OldAboveNew => 400,
            Self::NotSigned => 403,
            Self::UnknownOrigin => 404,
            Self::Conflict { .. } => 409,
            Self::Inconsistent => 422,
            Self::TooOften => 429,
            Self::NotCertifiedYet | Self::NotStarted | Self::Restored { .. } => 503,
        }
    }
}

/// A request: this log now has this checkpoint, which continues the tree of `old` leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    old: TreeSize,
    proof: ConsistencyProof,
    checkpoint: Checkpoint,
    // its text is that of the checkpoint; its signature lines are not read yet
    note: String,
}

impl AddCheckpoint {
    /// A request for a checkpoint of the own log.
    #[must_use]
    pub fn new(old: TreeSize, proof: ConsistencyProof, signed: &SignedCheckpoint) -> Self {
        Self { old, proof, checkpoint: signed.unverified().clone(), note: signed.to_string() }
    }

    /// The checkpoint, for which nobody vouches yet.
    #[must_use]
    pub const fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }
    /// The size of the tree that the proof starts from.
    #[must_use]
    pub const fn old(&self) -> TreeSize {
        self.old
    }

    /// Reads a request. Signature lines are left for [`Self::signed`]: one that cannot be read is a
    /// signature that does not hold (403), not a request in another form (400).
    ///
    /// # Errors
    /// [`Refusal::Malformed`]; [`Refusal::Inconsistent`] for an empty tree with a root of something.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > ADD_CHECKPOINT_MAX {
            return Err(Refusal::Malformed);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Refusal::Malformed)?;
        let (head, note) = text.split_once("\n\n").ok_or(Refusal::Malformed)?;
        let (old, hashes) = parse_head(head).ok_or(Refusal::Malformed)?;
        let proof = ConsistencyProof::from_hashes(hashes).map_err(|_| Refusal::Malformed)?;
        let (checkpoint, _) = note.rsplit_once("\n\n").ok_or(Refusal::Malformed)?;
        let checkpoint =
            Checkpoint::parse(&format!("{checkpoint}\n")).map_err(|error| match error {
                CheckpointError::NotTheEmptyRoot => Refusal::Inconsistent,
                _ => Refusal::Malformed,
            })?;
        Ok(Self { old, proof, checkpoint, note: note.to_owned() })
    }

    /// The checkpoint with its signatures, once one by a known key is found valid and none by a known
    /// key invalid. Lines by others do not matter.
    ///
    /// # Errors
    /// [`Refusal::NotSigned`].
    pub fn signed<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<SignedCheckpoint, Refusal> {
        let refused = |_| Refusal::NotSigned;
        let signed = SignedCheckpoint::parse(self.note.as_bytes()).map_err(refused)?;
        let mut is_signed = false;
        for key in keys {
            match signed.verify(key) {
                Ok(_) => is_signed = true,
                // a log may have a key that did not sign
                Err(CheckpointError::Note(NoteError::NotSignedBy(_))) => {}
                Err(_) => return Err(Refusal::NotSigned),
            }
        }
        if is_signed { Ok(signed) } else { Err(Refusal::NotSigned) }
    }

    /// Whether the checkpoint continues the last tree that was cosigned, of which `latest` is the size
    /// and the root.
    ///
    /// # Errors
    /// [`Refusal::OldAboveNew`], [`Refusal::Conflict`], [`Refusal::Inconsistent`].
    pub fn continues(&self, latest: Option<(TreeSize, RootHash)>) -> Result<(), Refusal> {
        if self.old > self.checkpoint.size() {
            return Err(Refusal::OldAboveNew);
        }
        let size = latest.map_or(TreeSize::new(0), |(size, _)| size);
        if size != self.old {
            return Err(Refusal::Conflict { latest: size });
        }
        match latest {
            // everything continues the empty tree: there is nothing to prove
            Some((size, root)) if size.get() > 0 => self
                .proof
                .verify(size, &root, self.checkpoint.size(), &self.checkpoint.root())
                .map_err(|_| Refusal::Inconsistent),
            _ if self.proof.hashes().is_empty() => Ok(()),
            _ => Err(Refusal::Inconsistent),
        }
    }
}

fn parse_head(head: &str) -> Option<(TreeSize, Vec<NodeHash>)> {
    let mut lines = head.split('\n');
    let old = TreeSize::new(parse_decimal(lines.next()?.strip_prefix("old ")?)?);
    // one more than there may be, so that too many are noticed and not all read
    let hashes = lines
        .take(PROOF_LINES_MAX.saturating_add(1))
        .map(|line| parse_hash(line).map(NodeHash::from_bytes))
        .collect::<Option<Vec<_>>>()?;
    (hashes.len() <= PROOF_LINES_MAX).then_some((old, hashes))
}

/// The body of the request.
impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old.get())?;
        for hash in self.proof.hashes() {
            writeln!(f, "{}", STANDARD.encode(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.note)
    }
}

/// That a checkpoint is signed by its log and continues what was cosigned of it; made by
/// [`ForeignLogs::consider`] alone. Only such a one is cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuing {
    checkpoint: SignedCheckpoint,
    is_news: bool,
}

impl Continuing {
    pub(crate) const fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }
    /// Whether the tree has grown since it was last cosigned: only then is there something to keep.
    pub(crate) const fn is_news(&self) -> bool {
        self.is_news
    }
}

/// The last checkpoint of a foreign log that was cosigned, with the log's and the witness's lines.
/// On disk before anyone is told.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Cosigned {
    #[n(0)]
    note: String,
}

impl Cosigned {
    /// What is kept of a checkpoint, with its lines.
    #[must_use]
    pub fn new(signed: &SignedCheckpoint) -> Self {
        Self { note: signed.to_string() }
    }

    /// The note, as it is served to monitors.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }
}

struct ForeignLog {
    keys: Vec<VerifierKey>,
    latest: Option<SignedCheckpoint>,
    // how many more may be cosigned, and when one was last added to that
    left: u64,
    refilled: Timestamp,
}

impl ForeignLog {
    /// Every new size is written to the disk for ever: a log must not have it written at its pace.
    fn may_grow(&mut self, now: Timestamp) -> bool {
        let earned = now.since(self.refilled).get() / 1000;
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(BURST);
            self.refilled = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

/// The foreign logs that this node witnesses: their keys, and what was last cosigned of each.
#[derive(Default)]
pub struct ForeignLogs {
    logs: BTreeMap<String, ForeignLog>,
    confirmed: Option<Incarnation>,
}

impl ForeignLogs {
    /// Nothing cosigned yet. A log's origin is the name of its keys; keys of one name are one log's.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = VerifierKey>) -> Self {
        let mut logs = BTreeMap::new();
        for key in keys {
            let origin = key.name().as_str().to_owned();
            let new = || ForeignLog {
                keys: Vec::new(),
                latest: None,
                left: BURST,
                refilled: Timestamp::default(),
            };
            logs.entry(origin).or_insert_with(new).keys.push(key);
        }
        Self { logs, confirmed: None }
    }

    /// The operator has made sure that what is known here of every log is what was last cosigned of it, although
    /// this incarnation ran on a disk that was put back.
    #[must_use]
    pub fn confirmed(self, incarnation: Option<Incarnation>) -> Self {
        Self { confirmed: incarnation, ..self }
    }

    /// Whether that was said of this incarnation or a later one.
    #[must_use]
    pub fn is_confirmed(&self, restored: Incarnation) -> bool {
        self.confirmed.is_some_and(|confirmed| confirmed >= restored)
    }

    /// Whether there is such a log.
    #[must_use]
    pub fn has(&self, origin: &str) -> bool {
        self.logs.contains_key(origin)
    }

    /// Checks a request. What was cosigned last has not changed: that is for [`Self::enter`].
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn consider(
        &mut self,
        request: &AddCheckpoint,
        now: Timestamp,
    ) -> Result<Continuing, Refusal> {
        let log = self.logs.get_mut(request.checkpoint.origin()).ok_or(Refusal::UnknownOrigin)?;
        let signed = request.signed(&log.keys)?;
        let latest = log.latest.as_ref().map(SignedCheckpoint::unverified);
        let is_news = latest != Some(&request.checkpoint);
        request.continues(latest.map(|latest| (latest.size(), latest.root())))?;
        let is_known = |line: &NoteSignature| log.keys.iter().any(|key| line.is_by(key));
        let checkpoint = signed.with_lines(is_known).ok_or(Refusal::NotSigned)?;
        if is_news && !log.may_grow(now) {
            return Err(Refusal::TooOften);
        }
        Ok(Continuing { checkpoint, is_news })
    }

    /// Takes what was cosigned, now or before a restart. A log that is configured no more is passed
    /// over.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is no checkpoint: the journal is damaged.
    pub fn enter(&mut self, cosigned: &Cosigned) -> Result<(), CheckpointError> {
        let signed = SignedCheckpoint::parse(cosigned.note.as_bytes())?;
        if let Some(log) = self.logs.get_mut(signed.unverified().origin()) {
            log.latest = Some(signed);
        }
        Ok(())
    }

    /// The last checkpoint cosigned of every log, as its record.
    pub fn cosigned(&self) -> impl Iterator<Item = Cosigned> + '_ {
        self.logs.values().filter_map(|log| log.latest.as_ref()).map(Cosigned::new)
    }

    /// The last checkpoint cosigned of the log of which `origin_hash` is the SHA-256 of the origin,
    /// in lower-case hex.
    #[must_use]
    pub fn latest(&self, origin_hash: &str) -> Option<String> {
        let found = self.logs.iter().find(|(origin, _)| hash_of(origin) == origin_hash);
        found.and_then(|(_, log)| log.latest.as_ref()).map(SignedCheckpoint::to_string)
    }
}

/// SHA-256 of an origin in hex, under which monitors ask for a witness's view of it.
fn hash_of(origin: &str) -> String {
    struct Hex([u8; 32]);
    impl fmt::Display for Hex {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_hex(&self.0, f)
        }
    }
    Hex(sha256(&[origin.as_bytes()])).to_string()
}
