//! The own log before a foreign witness: when to ask, with what proof, what its answer means.
//!
//! An outside witness decides nothing here: what it does not answer is asked again later and less
//! often, and nothing waits for it.

use super::{AddCheckpoint, Refusal};
use crate::ids::TreeSize;
use crate::log::checkpoint::{CheckpointError, SignedCheckpoint, parse_decimal};
use crate::log::merkle::HashReader;
use crate::log::note::{NoteSignature, VerifierKey};
use crate::log::proof::{ConsistencyProof, ProveError};
use crate::time::{Milliseconds, Timestamp};

/// Least time between two requests to one witness, and the first pause after a failure.
const PAUSE_LEAST: Milliseconds = Milliseconds::from_seconds(1);
/// Longest pause: a witness that is back is found within it.
const PAUSE_MOST: Milliseconds = Milliseconds::from_seconds(60);
/// Longest answer that is read: as many lines as a note has.
const ANSWER_MAX: usize = 64 * 1024;

/// An HTTP answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: &'a [u8],
}

/// Why an outside witness's answer is no cosignature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutsideError {
    /// It says that it has cosigned a larger tree of this log than there is.
    #[error("it has cosigned size {}, above this log's {}: was this log restored from a backup?", .theirs.get(), .ours.get())]
    AheadOfUs {
        /// What it says.
        theirs: TreeSize,
        /// What there is.
        ours: TreeSize,
    },
    /// A status other than 200 and 409.
    #[error("it answered with status {status}")]
    Status {
        /// Which.
        status: u16,
    },
    /// Neither signature lines nor a size.
    #[error("its answer is not understood")]
    NotUnderstood,
    /// A line that is not by its key, or not over this checkpoint.
    #[error("its cosignature does not hold: {0}")]
    Cosignature(#[from] CheckpointError),
}

/// One foreign witness, as the own log sees it.
#[derive(Clone, Debug)]
pub struct OutsideWitness {
    key: VerifierKey,
    // the size it has last cosigned, as far as is known
    known: TreeSize,
    // whether it was asked with another size already since it told one
    corrected: bool,
    pause: Milliseconds,
    not_before: Timestamp,
}

impl OutsideWitness {
    /// A witness of which nothing is known but its key.
    #[must_use]
    pub const fn new(key: VerifierKey) -> Self {
        Self {
            key,
            known: TreeSize::new(0),
            corrected: false,
            pause: PAUSE_LEAST,
            not_before: Timestamp::from_unix_ms(0),
        }
    }

    /// Its key.
    #[must_use]
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Whether it is to be asked now for a cosignature of this checkpoint.
    #[must_use]
    pub fn is_due(&self, checkpoint: &SignedCheckpoint, now: Timestamp) -> bool {
        let has_line = checkpoint.signatures().iter().any(|line| line.is_by(&self.key));
        now >= self.not_before && !has_line
    }

    /// The request; until it is answered, or given up, none other is made.
    ///
    /// # Errors
    /// When the tiles for the proof are not at hand.
    pub fn request(
        &self,
        checkpoint: &SignedCheckpoint,
        hashes: &impl HashReader,
    ) -> Result<AddCheckpoint, ProveError> {
        let size = checkpoint.unverified().size();
        let proof = match self.known.get() {
            // no proof is needed from the empty tree, and from a larger one there is none: the
            // witness then says which size it has
            0 => ConsistencyProof::none(),
            _ if self.known > size => ConsistencyProof::none(),
            _ => ConsistencyProof::prove(hashes, self.known, size)?,
        };
        let old = self.known.min(size);
        Ok(AddCheckpoint::new(old, proof, checkpoint))
    }

    /// Takes an answer to a request for this checkpoint: a valid line to be added to it, or none when
    /// the witness is to be asked once more with the size it has told.
    ///
    /// # Errors
    /// See [`OutsideError`]; it is asked again after a pause.
    pub fn answered(
        &mut self,
        checkpoint: &SignedCheckpoint,
        answer: Answer<'_>,
        now: Timestamp,
    ) -> Result<Option<NoteSignature>, OutsideError> {
        let result = self.read(checkpoint, answer);
        match &result {
            Ok(Some(_)) => {
                self.known = checkpoint.unverified().size();
                self.corrected = false;
                self.pause = PAUSE_LEAST;
                self.not_before = now.plus(PAUSE_LEAST);
            }
            Ok(None) if !self.corrected => {
                self.corrected = true;
                self.not_before = now;
            }
            Ok(None) | Err(_) => self.failed(now),
        }
        result
    }

    /// There was no answer: it is asked again after a pause, and a longer one each time.
    pub fn failed(&mut self, now: Timestamp) {
        self.corrected = false;
        self.not_before = now.plus(self.pause);
        self.pause = self.pause.doubled().min(PAUSE_MOST);
    }

    fn read(
        &mut self,
        checkpoint: &SignedCheckpoint,
        answer: Answer<'_>,
    ) -> Result<Option<NoteSignature>, OutsideError> {
        if answer.body.len() > ANSWER_MAX {
            return Err(OutsideError::NotUnderstood);
        }
        let text = std::str::from_utf8(answer.body).map_err(|_| OutsideError::NotUnderstood)?;
        const CONFLICT: u16 = Refusal::Conflict { latest: TreeSize::new(0) }.status();
        match answer.status {
            200 => self.own_line(checkpoint, text).map(Some),
            CONFLICT => {
                let size = text.strip_suffix('\n').and_then(parse_decimal);
                let theirs = size.map(TreeSize::new).ok_or(OutsideError::NotUnderstood)?;
                let ours = checkpoint.unverified().size();
                if theirs > ours {
                    return Err(OutsideError::AheadOfUs { theirs, ours });
                }
                self.known = theirs;
                Ok(None)
            }
            status => Err(OutsideError::Status { status }),
        }
    }

    fn own_line(
        &self,
        checkpoint: &SignedCheckpoint,
        text: &str,
    ) -> Result<NoteSignature, OutsideError> {
        // lines by unknown keys are ignored, in whatever form they are
        let lines = text.lines().filter_map(|line| line.parse::<NoteSignature>().ok());
        let line = lines.into_iter().find(|line| line.is_by(&self.key));
        let line = line.ok_or(OutsideError::NotUnderstood)?;
        checkpoint.check_cosignature(&self.key, &line)?;
        Ok(line)
    }
}
