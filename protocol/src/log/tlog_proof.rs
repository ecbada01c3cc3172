//! Receipts that anybody can check offline (C2SP tlog-proof): a checkpoint, and the proof that a
//! leaf is in its tree.
//!
//! Does not carry the leaf, and does not know what it says. The extra data is for the reader's
//! convenience and authenticated by nothing.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint, parse_decimal, parse_hash};
use super::merkle::NodeHash;
use super::note::{NOTE_MAX, VerifierKey};
use super::proof::{INCLUSION_MAX, InclusionProof, ProofError};
use crate::ids::{LeafHash, LeafIndex};

/// Most bytes of extra data.
pub const EXTRA_MAX: usize = 256 * 1024;
/// Longest receipt, in bytes: a note, the extra data in base64, and some lines.
pub const TLOG_PROOF_MAX: usize = NOTE_MAX + 2 * EXTRA_MAX;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1\n";

/// Why a receipt shows nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// More bytes than a receipt, or its extra data, may have.
    #[error("{found} bytes where there may be at most {most}")]
    TooLong {
        /// How many there were.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// Not in the form of the specification.
    #[error("not a c2sp.org/tlog-proof@v1: extra, index, hashes, empty line, checkpoint")]
    NotAProof,
    /// The checkpoint is none, or not signed as asked.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The leaf is not in the tree, or not at this index.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// A receipt, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    extra: Option<Vec<u8>>,
    index: LeafIndex,
    inclusion: InclusionProof,
    checkpoint: SignedCheckpoint,
}

impl TlogProof {
    /// Puts a receipt together.
    #[must_use]
    pub const fn new(
        index: LeafIndex,
        inclusion: InclusionProof,
        checkpoint: SignedCheckpoint,
    ) -> Self {
        Self { extra: None, index, inclusion, checkpoint }
    }

    /// The same receipt with extra data, such as the entry itself.
    ///
    /// # Errors
    /// [`TlogProofError::TooLong`] above [`EXTRA_MAX`] bytes.
    pub fn with_extra(self, extra: Vec<u8>) -> Result<Self, TlogProofError> {
        if extra.len() > EXTRA_MAX {
            return Err(TlogProofError::TooLong { found: extra.len(), most: EXTRA_MAX });
        }
        Ok(Self { extra: Some(extra), ..self })
    }

    /// Extra data, which nothing authenticates.
    #[must_use]
    pub fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }
    /// Index of the leaf.
    #[must_use]
    pub const fn index(&self) -> LeafIndex {
        self.index
    }
    /// The checkpoint with its signatures, for checking cosignatures.
    #[must_use]
    pub const fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Checks that the log vouches for a tree in which `leaf` is at the receipt's index. Whether
    /// enough witnesses cosigned is for the caller to ask of [`Self::checkpoint`].
    ///
    /// # Errors
    /// When it does not.
    pub fn verify(&self, leaf: LeafHash, log: &VerifierKey) -> Result<&Checkpoint, TlogProofError> {
        let checkpoint = self.checkpoint.verify(log)?;
        self.inclusion.verify(self.index, leaf, checkpoint.size(), &checkpoint.root())?;
        Ok(checkpoint)
    }

    /// Reads a receipt.
    ///
    /// # Errors
    /// When it is too long or not in the one form.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        if bytes.len() > TLOG_PROOF_MAX {
            return Err(TlogProofError::TooLong { found: bytes.len(), most: TLOG_PROOF_MAX });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| TlogProofError::NotAProof)?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(TlogProofError::NotAProof)?;
        let checkpoint = SignedCheckpoint::parse(checkpoint.as_bytes())?;
        let (extra, index, hashes) = parse_head(head).ok_or(TlogProofError::NotAProof)?;
        let inclusion = InclusionProof::from_hashes(hashes)?;
        let receipt = Self::new(index, inclusion, checkpoint);
        match extra {
            Some(extra) => receipt.with_extra(extra),
            None => Ok(receipt),
        }
    }
}

type Head = (Option<Vec<u8>>, LeafIndex, Vec<NodeHash>);

fn parse_head(head: &str) -> Option<Head> {
    let mut lines = head.strip_prefix(FIRST_LINE)?.split('\n');
    let mut line = lines.next()?;
    let mut extra = None;
    if let Some(base64) = line.strip_prefix("extra ") {
        extra = Some(STANDARD.decode(base64).ok()?);
        line = lines.next()?;
    }
    let index = LeafIndex::new(parse_decimal(line.strip_prefix("index ")?)?);
    // one more than any proof has, so that too many are noticed and not all read
    let hashes = lines
        .take(INCLUSION_MAX.saturating_add(1))
        .map(|line| parse_hash(line).map(NodeHash::from_bytes))
        .collect::<Option<Vec<_>>>()?;
    Some((extra, index, hashes))
}

/// The file, by convention named `*.tlog-proof`.
impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FIRST_LINE)?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in self.inclusion.hashes() {
            writeln!(f, "{}", STANDARD.encode(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::tests::{log_key, signed};
    use super::super::merkle::tests::Naive;
    use super::*;
    use crate::ids::TreeSize;

    fn receipt(index: u64, size: u64) -> (TlogProof, LeafHash) {
        let tree = Naive::of_size(size);
        let at = LeafIndex::new(index);
        let inclusion = InclusionProof::prove(&tree, at, TreeSize::new(size)).unwrap();
        let leaf = tree.0[usize::try_from(index).unwrap()];
        (TlogProof::new(at, inclusion, signed(size, tree.root(size))), leaf)
    }

    #[test]
    fn a_receipt_is_read_as_it_was_written_and_verified() {
        let (_, key) = log_key();
        for (index, size) in [(0, 1), (3, 5), (4, 5), (70, 100)] {
            let (plain, leaf) = receipt(index, size);
            let extra = plain.clone().with_extra(vec![1, 2, 3, 4]).unwrap();
            for receipt in [plain, extra] {
                let parsed = TlogProof::parse(receipt.to_string().as_bytes()).unwrap();
                assert_eq!(parsed, receipt);
                assert_eq!(parsed.verify(leaf, &key).unwrap().size().get(), size);
            }
        }
    }

    #[test]
    fn another_leaf_index_or_log_is_not_shown() {
        let (_, key) = log_key();
        let (receipt, leaf) = receipt(3, 5);
        let other = LeafHash::from_bytes([7; 32]);
        assert_eq!(
            receipt.verify(other, &key),
            Err(TlogProofError::Proof(ProofError::RootMismatch))
        );
        let moved = receipt.to_string().replace("index 3", "index 2");
        let moved = TlogProof::parse(moved.as_bytes()).unwrap();
        assert!(matches!(moved.verify(leaf, &key), Err(TlogProofError::Proof(_))));
        let larger = receipt.to_string().replace("\n5\n", "\n6\n");
        let larger = TlogProof::parse(larger.as_bytes()).unwrap();
        assert!(matches!(larger.verify(leaf, &key), Err(TlogProofError::Checkpoint(_))));
    }

    #[test]
    fn another_form_is_refused() {
        let good = receipt(3, 5).0.with_extra(vec![1]).unwrap().to_string();
        let hash = good.lines().nth(3).unwrap().to_owned();
        for bad in [
            good.replace("@v1", "@v2"),
            good.replace("extra AQ==", "extra AQ"),
            good.replace("extra AQ==", "extra AQ==\nextra AQ=="),
            good.replace("index 3", "index 03"),
            good.replace("index 3\n", ""),
            good.replace(&hash, "AAAA"),
            good.replace(&hash, &vec![hash.as_str(); INCLUSION_MAX + 1].join("\n")),
            good.replacen("\n\n", "\n", 1),
            good.replace('\n', "\r\n"),
        ] {
            assert!(TlogProof::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let refused = receipt(3, 5).0.with_extra(vec![0; EXTRA_MAX + 1]);
        assert_eq!(refused, Err(TlogProofError::TooLong { found: EXTRA_MAX + 1, most: EXTRA_MAX }));
    }
}
