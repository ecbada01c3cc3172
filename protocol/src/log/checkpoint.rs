//! Checkpoints and their cosignatures (C2SP tlog-checkpoint, tlog-cosignature).
//!
//! A checkpoint is a signed note that says: this log, at this size, has this root. Does not know
//! which sizes may be signed (certified ones only: the runtime signs nothing else), nor how many
//! cosignatures are enough. Writes no extension lines; reads them, since other logs may have them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::merkle::EMPTY_ROOT;
use super::note::{
    KeyName, NoteError, NoteSignature, SIGNATURES_MAX, SignatureType, SignedNote, VerifierKey,
};
use crate::crypto::{Signature, SigningKey};
use crate::ids::{RootHash, TreeSize};
use crate::time::Timestamp;

/// Most extension lines of a checkpoint that is read.
pub const EXTENSIONS_MAX: usize = 16;

/// Why a note is no checkpoint, or one that is not vouched for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a note, or not signed as asked.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The first three lines are not those of a checkpoint.
    #[error("a checkpoint is an origin, a size in decimal, a root in base64 of 32 bytes")]
    NotACheckpoint,
    /// Size 0 with the root of something.
    #[error("a checkpoint of size 0 has the root of the empty tree")]
    NotTheEmptyRoot,
    /// More extension lines than are read, an empty one, or one on a checkpoint to be signed.
    #[error("extension lines: at most {EXTENSIONS_MAX} are read, none is empty, none is signed")]
    Extensions,
    /// The log's key is named differently from the log.
    #[error("the checkpoint of another log than {0}")]
    OtherOrigin(KeyName),
    /// A cosignature's time that is no time.
    #[error("a cosignature by {0} has a time out of range")]
    InvalidTime(KeyName),
}

/// That a log of a size has a root; nobody vouches for it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: TreeSize,
    root: RootHash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint of the log that has this name (which is also that of its key).
    #[must_use]
    pub fn new(origin: &KeyName, size: TreeSize, root: RootHash) -> Self {
        Self { origin: origin.as_str().to_owned(), size, root, extensions: Vec::new() }
    }
    /// Name of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }
    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        self.size
    }
    /// Root of the tree of that size.
    #[must_use]
    pub const fn root(&self) -> RootHash {
        self.root
    }
    /// Lines after the root. They say nothing that anybody vouches for.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// Reads the text of a checkpoint.
    ///
    /// # Errors
    /// When it is not in the one form.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let body = text.strip_suffix('\n').ok_or(CheckpointError::NotACheckpoint)?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::NotACheckpoint);
        };
        let size = parse_decimal(size).map(TreeSize::new).ok_or(CheckpointError::NotACheckpoint)?;
        let root = parse_hash(root).ok_or(CheckpointError::NotACheckpoint)?;
        let root = RootHash::from_bytes(root);
        if origin.is_empty() {
            return Err(CheckpointError::NotACheckpoint);
        }
        if size.get() == 0 && root != EMPTY_ROOT {
            return Err(CheckpointError::NotTheEmptyRoot);
        }
        let extensions = lines.take(EXTENSIONS_MAX.saturating_add(1)).map(str::to_owned);
        let extensions = extensions.collect::<Vec<_>>();
        if extensions.len() > EXTENSIONS_MAX || extensions.iter().any(String::is_empty) {
            return Err(CheckpointError::Extensions);
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions })
    }
}

/// The text that is signed.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}", self.origin, self.size)?;
        writeln!(f, "{}", STANDARD.encode(self.root.as_bytes()))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A number as the formats of C2SP write it: no sign, no leading zero.
pub(super) fn parse_decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A hash of 32 bytes in standard base64 with padding.
pub(super) fn parse_hash(text: &str) -> Option<[u8; 32]> {
    // 44 characters: checked first, so that a long line is not decoded for nothing
    if text.len() != 44 {
        return None;
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// A checkpoint with signature lines, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    // its text is that of the checkpoint
    note: SignedNote,
}

impl SignedCheckpoint {
    /// Signs a checkpoint as its log. The caller vouches that the size is final: a log never signs
    /// what it may have to take back.
    ///
    /// # Errors
    /// When the checkpoint has extension lines, or an origin that is no key name.
    pub fn sign(checkpoint: Checkpoint, key: &SigningKey) -> Result<Self, CheckpointError> {
        if !checkpoint.extensions.is_empty() {
            return Err(CheckpointError::Extensions);
        }
        let name = KeyName::new(&checkpoint.origin)?;
        let note = SignedNote::sign(checkpoint.to_string(), name, key)?;
        Ok(Self { checkpoint, note })
    }

    /// Signs as the log with one more key, for as long as an old and a new key are both current.
    ///
    /// # Errors
    /// When the note is full, or has an origin that is no key name.
    pub fn sign_also(&mut self, key: &SigningKey) -> Result<(), CheckpointError> {
        let name = KeyName::new(&self.checkpoint.origin)?;
        Ok(self.note.sign_also(name, key)?)
    }

    /// Reads a checkpoint with its signatures.
    ///
    /// # Errors
    /// When it is not a note, or its text no checkpoint.
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let note = SignedNote::parse(bytes)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        Ok(Self { checkpoint, note })
    }

    /// What is said, whether or not anybody vouches for it.
    #[must_use]
    pub const fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }
    /// The signature lines, in order.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        self.note.signatures()
    }

    /// Checks the log's own signature, and that the log is the one that the key names.
    ///
    /// # Errors
    /// When it is another log, or not signed by this key.
    pub fn verify(&self, log: &VerifierKey) -> Result<&Checkpoint, CheckpointError> {
        if self.checkpoint.origin != log.name().as_str() {
            return Err(CheckpointError::OtherOrigin(log.name().clone()));
        }
        self.note.verify(log)?;
        Ok(&self.checkpoint)
    }

    /// The line by which a witness says that, at this time, this is the largest tree of the log
    /// that it has seen, and consistent with all before. Witnesses cosign certified sizes only.
    #[must_use]
    pub fn cosign(&self, name: KeyName, key: &SigningKey, at: Timestamp) -> NoteSignature {
        let seconds = at.unix_ms() / 1000;
        let signature = key.sign_bytes(cosigned_message(seconds, self.note.text()).as_bytes());
        let key = VerifierKey::new(name, SignatureType::CosignatureV1, key.public());
        let bytes = [&seconds.to_be_bytes(), signature.as_bytes().as_slice()].concat();
        NoteSignature::new(&key, bytes)
    }

    /// Adds a witness's line after checking it, and gives its time. An older line by the same
    /// witness is replaced.
    ///
    /// # Errors
    /// When the line is not a valid one by this key, or the note is full.
    pub fn add_cosignature(
        &mut self,
        witness: &VerifierKey,
        line: NoteSignature,
    ) -> Result<Timestamp, CheckpointError> {
        let at = self.check_cosignature(witness, &line)?;
        self.note.add(line)?;
        Ok(at)
    }

    /// The same checkpoint with only the signature lines that `keep` picks; none when it picks none.
    #[must_use]
    pub fn with_lines(mut self, keep: impl Fn(&NoteSignature) -> bool) -> Option<Self> {
        self.note.retain(keep).then_some(self)
    }

    /// Checks that this witness has cosigned, and says when (whole seconds). Of several lines all
    /// must be valid; the last time counts.
    ///
    /// # Errors
    /// When no line is by it, or one is that is not valid.
    pub fn verify_cosignature(&self, witness: &VerifierKey) -> Result<Timestamp, CheckpointError> {
        let lines = self.signatures().iter().filter(|line| line.is_by(witness));
        let times = lines.map(|line| self.check_cosignature(witness, line));
        let times = times.collect::<Result<Vec<_>, _>>()?;
        let last = times.into_iter().max();
        last.ok_or_else(|| NoteError::NotSignedBy(witness.name().clone()).into())
    }

    /// Checks that a line is this witness's over this checkpoint, and says when (whole seconds).
    ///
    /// # Errors
    /// When it is not.
    pub fn check_cosignature(
        &self,
        witness: &VerifierKey,
        line: &NoteSignature,
    ) -> Result<Timestamp, CheckpointError> {
        let name = || witness.name().clone();
        if witness.signature_type() != SignatureType::CosignatureV1 {
            return Err(NoteError::WrongType(name()).into());
        }
        if !line.is_by(witness) {
            return Err(NoteError::NotSignedBy(name()).into());
        }
        let invalid = || NoteError::InvalidSignature(name());
        let (seconds, signature) = line.bytes().split_first_chunk::<8>().ok_or_else(invalid)?;
        let signature = Signature::from_bytes(signature.try_into().map_err(|_| invalid())?);
        let seconds = u64::from_be_bytes(*seconds);
        let at = seconds.checked_mul(1000).ok_or_else(|| CheckpointError::InvalidTime(name()))?;
        let message = cosigned_message(seconds, self.note.text());
        witness.key().verify(message.as_bytes(), &signature).map_err(|_| invalid())?;
        Ok(Timestamp::from_unix_ms(at))
    }
}

fn cosigned_message(seconds: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

/// The whole note, as it is published.
impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

// the formats reckon with 15 signatures of the alliance and one of a regulator
const _: () = assert!(SIGNATURES_MAX == 16);

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn log_key() -> (SigningKey, VerifierKey) {
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let name = KeyName::new("example.com/log").unwrap();
        let verifier = VerifierKey::new(name, SignatureType::Ed25519, key.public());
        (key, verifier)
    }

    fn witness() -> (SigningKey, VerifierKey) {
        let key = SigningKey::from_seed(&[2; 32]).unwrap();
        let name = KeyName::new("example.com/witness").unwrap();
        let verifier = VerifierKey::new(name, SignatureType::CosignatureV1, key.public());
        (key, verifier)
    }

    pub(crate) fn signed(size: u64, root: RootHash) -> SignedCheckpoint {
        let (key, verifier) = log_key();
        let checkpoint = Checkpoint::new(verifier.name(), TreeSize::new(size), root);
        SignedCheckpoint::sign(checkpoint, &key).unwrap()
    }

    fn example() -> SignedCheckpoint {
        signed(20_852_163, RootHash::from_bytes([9; 32]))
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written() {
        let parsed = SignedCheckpoint::parse(example().to_string().as_bytes()).unwrap();
        let (_, verifier) = log_key();
        let checkpoint = parsed.verify(&verifier).unwrap();
        assert_eq!(checkpoint.size().get(), 20_852_163);
        assert_eq!(checkpoint.root(), RootHash::from_bytes([9; 32]));
        let text = "example.com/log\n20852163\nCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n";
        assert_eq!(checkpoint.to_string(), text);
    }

    #[test]
    fn a_checkpoint_of_another_log_is_not_ours() {
        let (key, ours) = log_key();
        let other =
            Checkpoint { origin: "example.com/other".to_owned(), ..example().unverified().clone() };
        // signed with our key, under our name, but about another log
        let note = SignedNote::sign(other.to_string(), ours.name().clone(), &key).unwrap();
        let other = SignedCheckpoint::parse(note.to_string().as_bytes()).unwrap();
        let refused = other.verify(&ours).unwrap_err();
        assert_eq!(refused, CheckpointError::OtherOrigin(ours.name().clone()));
    }

    #[test]
    fn a_text_in_another_form_is_refused() {
        let good = example().unverified().to_string();
        for bad in [
            String::new(),
            good.trim_end().to_owned(),
            format!("\n{good}"),
            good.replace("20852163", "020852163"),
            good.replace("20852163", "+20852163"),
            good.replace("20852163", "20852163 "),
            good.replace("20852163", "99999999999999999999"),
            good.replace("20852163", "0"),
            // not 32 bytes; not padded; bits set behind the end
            good.replace("CQkJC", "C"),
            good.replace('=', ""),
            good.replace("CQk=", "CQl="),
            format!("{good}\n"),
            format!("{good}{}", "line\n".repeat(EXTENSIONS_MAX + 1)),
        ] {
            assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
        }
        let extended = format!("{good}extension\n");
        let extended = Checkpoint::parse(&extended).unwrap();
        assert_eq!(extended.extensions(), ["extension"]);
        let refused = SignedCheckpoint::sign(extended, &log_key().0);
        assert_eq!(refused, Err(CheckpointError::Extensions));
    }

    #[test]
    fn a_cosignature_is_by_this_witness_at_this_time_over_this_checkpoint() {
        let (key, witness) = witness();
        let at = Timestamp::from_unix_ms(1_679_315_147_999);
        let mut checkpoint = example();
        let line = checkpoint.cosign(witness.name().clone(), &key, at);
        let second = Timestamp::from_unix_ms(1_679_315_147_000);
        assert_eq!(checkpoint.add_cosignature(&witness, line.clone()), Ok(second));
        let parsed = SignedCheckpoint::parse(checkpoint.to_string().as_bytes()).unwrap();
        assert_eq!(parsed.verify_cosignature(&witness), Ok(second));
        assert!(parsed.verify(&log_key().1).is_ok());

        let invalid = Err(NoteError::InvalidSignature(witness.name().clone()).into());
        let mut other = signed(20_852_164, RootHash::from_bytes([9; 32]));
        assert_eq!(other.add_cosignature(&witness, line.clone()), invalid);
        // the time is signed: bytes 0..8 after the key id
        let later = line.bytes().iter().enumerate();
        let later = later.map(|(place, byte)| if place == 7 { byte ^ 1 } else { *byte }).collect();
        let later = NoteSignature::new(&witness, later);
        assert_eq!(checkpoint.add_cosignature(&witness, later), invalid);
        let short = NoteSignature::new(&witness, vec![0; 7]);
        assert_eq!(checkpoint.add_cosignature(&witness, short), invalid);
        let never = NoteSignature::new(&witness, vec![0xff; 72]);
        let refused = checkpoint.add_cosignature(&witness, never);
        assert_eq!(refused, Err(CheckpointError::InvalidTime(witness.name().clone())));
    }

    #[test]
    fn a_cosignature_is_not_passed_off_as_another_key_s() {
        let (key, witness) = witness();
        let at = Timestamp::from_unix_ms(1000);
        let mut checkpoint = example();
        // the name is not in the signed message: the line must carry it
        let line = checkpoint.cosign(KeyName::new("example.com/other").unwrap(), &key, at);
        let absent = Err(NoteError::NotSignedBy(witness.name().clone()).into());
        assert_eq!(checkpoint.add_cosignature(&witness, line), absent);
        assert_eq!(checkpoint.verify_cosignature(&witness), absent);
        let (_, log) = log_key();
        let refused = Err(NoteError::WrongType(log.name().clone()).into());
        assert_eq!(checkpoint.verify_cosignature(&log), refused);
    }

    /// The message, spelled out as in C2SP tlog-cosignature.
    #[test]
    fn the_cosigned_message_is_that_of_the_specification() {
        let (key, witness) = witness();
        let at = Timestamp::from_unix_ms(1_679_315_147_000);
        let line = example().cosign(witness.name().clone(), &key, at);
        let message = "cosignature/v1\ntime 1679315147\nexample.com/log\n20852163\n\
                       CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n";
        let (time, signature) = line.bytes().split_at(8);
        assert_eq!(time, [0, 0, 0, 0, 0x64, 0x18, 0x50, 0xcb]);
        let signature = Signature::from_bytes(signature.try_into().unwrap());
        assert!(witness.key().verify(message.as_bytes(), &signature).is_ok());
    }

    #[test]
    fn a_log_signs_with_its_old_and_its_new_key() {
        let new = SigningKey::from_seed(&[3; 32]).unwrap();
        let (_, old) = log_key();
        let mut checkpoint = example();
        checkpoint.sign_also(&new).unwrap();
        let new = VerifierKey::new(old.name().clone(), SignatureType::Ed25519, new.public());
        assert!(checkpoint.verify(&old).is_ok() && checkpoint.verify(&new).is_ok());
    }
}
