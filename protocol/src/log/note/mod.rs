//! Signed notes: text with Ed25519 signature lines (C2SP signed-note).
//!
//! Reads strictly and within limits, writes the one form that it reads. Knows key names and key
//! ids, not who is trusted: a note says nothing until it is verified with a key that is. What kind
//! of text is signed is the business of [`super::checkpoint`].

mod key;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minicbor::{Decode, Encode};

pub use key::{KEY_NAME_MAX, KeyId, KeyName, SignatureType, VerifierKey};

use crate::crypto::{Signature, SigningKey};

/// Longest note, in bytes.
pub const NOTE_MAX: usize = 1024 * 1024;
/// Most signatures on a note: as many as every verifier must accept.
pub const SIGNATURES_MAX: usize = 16;

/// What opens a signature line.
const SIGNATURE_MARK: &str = "\u{2014} ";

/// Why bytes are not a note, or a note says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More bytes than a note may have.
    #[error("a note of {found} bytes; the most is {NOTE_MAX}")]
    TooLong {
        /// How many there were.
        found: usize,
    },
    /// Not UTF-8, or with control characters other than newline.
    #[error("a note is UTF-8 without control characters other than newline")]
    NotText,
    /// No text that ends in an empty line, or a text that does not end in a newline.
    #[error("a note is text ending in a newline, an empty line, and signature lines")]
    NoParts,
    /// A line after the text that is no signature.
    #[error("not a signature line: em dash, key name, base64 of key id and signature")]
    NotASignature,
    /// None, or too many.
    #[error("{found} signatures on a note; at least 1, at most {SIGNATURES_MAX}")]
    SignatureCount {
        /// How many there were.
        found: usize,
    },
    /// Not the name of a key.
    #[error("a key name has 1 to {KEY_NAME_MAX} bytes without spaces, plus signs and controls")]
    InvalidKeyName,
    /// Not a verifier key of a supported type.
    #[error("not a verifier key: name, plus, key id in hex, plus, base64 of type (1 or 4) and key")]
    InvalidKey,
    /// The key's type is not that of this kind of signature.
    #[error("the key {0} is for another type of signature")]
    WrongType(KeyName),
    /// No line is by this key.
    #[error("the note is not signed by {0}")]
    NotSignedBy(KeyName),
    /// A line claims to be by this key, and is not.
    #[error("a signature by {0} on the note is not valid")]
    InvalidSignature(KeyName),
}

/// One signature line of a note, not verified.
#[derive(Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: KeyName,
    id: KeyId,
    signature: Vec<u8>,
}

impl NoteSignature {
    pub(super) fn new(key: &VerifierKey, signature: Vec<u8>) -> Self {
        Self { name: key.name.clone(), id: key.id(), signature }
    }
    /// Name of the key that is said to have signed.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }
    /// Id of that key.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }
    /// Whether the line names this key.
    #[must_use]
    pub fn is_by(&self, key: &VerifierKey) -> bool {
        self.name == key.name && self.id == key.id()
    }
    /// The bytes after the key id.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.signature
    }
}

/// The line, without its newline.
impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id.0, self.signature.as_slice()].concat();
        write!(f, "{SIGNATURE_MARK}{} {}", self.name, STANDARD.encode(bytes))
    }
}

impl fmt::Debug for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteSignature({} {})", self.name, self.id)
    }
}

impl FromStr for NoteSignature {
    type Err = NoteError;

    fn from_str(line: &str) -> Result<Self, NoteError> {
        if line.len() > NOTE_MAX {
            return Err(NoteError::TooLong { found: line.len() });
        }
        let parts = line.strip_prefix(SIGNATURE_MARK).and_then(|line| line.split_once(' '));
        let (name, base64) = parts.ok_or(NoteError::NotASignature)?;
        let bytes = STANDARD.decode(base64).map_err(|_| NoteError::NotASignature)?;
        match bytes.split_first_chunk() {
            Some((id, signature)) if !signature.is_empty() => Ok(Self {
                name: KeyName::new(name)?,
                id: KeyId(*id),
                signature: signature.to_vec(),
            }),
            _ => Err(NoteError::NotASignature),
        }
    }
}

/// Travels between nodes as the text of its line.
impl<C> Encode<C> for NoteSignature {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.to_string())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for NoteSignature {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let position = d.position();
        d.str()?
            .parse()
            .map_err(|error: NoteError| minicbor::decode::Error::message(error).at(position))
    }
}

/// A text and at least one signature line, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    // ends in a newline
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// Signs a text with an Ed25519 key under a name.
    ///
    /// # Errors
    /// When the text is not one that a note can have.
    pub fn sign(text: String, name: KeyName, key: &SigningKey) -> Result<Self, NoteError> {
        check_text(&text)?;
        let signature = sign_text(&text, name, key);
        Ok(Self { text, signatures: vec![signature] })
    }

    /// Reads a note.
    ///
    /// # Errors
    /// When it is too long, not text, or not in the form of a note.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_MAX {
            return Err(NoteError::TooLong { found: bytes.len() });
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::NotText)?;
        // the text may have empty lines: the last one is the one that ends it
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::NoParts)?;
        let text = format!("{text}\n");
        check_text(&text)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::NoParts)?;
        let found = lines.split('\n').count();
        if found > SIGNATURES_MAX {
            return Err(NoteError::SignatureCount { found });
        }
        let signatures = lines.split('\n').map(str::parse).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { text, signatures })
    }

    /// The text, to its final newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
    /// The signature lines, in order.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature line; one by the same key is replaced.
    ///
    /// # Errors
    /// [`NoteError::SignatureCount`] when there are [`SIGNATURES_MAX`] already.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        let same = |other: &NoteSignature| other.name == signature.name && other.id == signature.id;
        let kept = self.signatures.iter().filter(|other| !same(other)).count();
        if kept >= SIGNATURES_MAX {
            return Err(NoteError::SignatureCount { found: kept.saturating_add(1) });
        }
        self.signatures.retain(|other| !same(other));
        self.signatures.push(signature);
        Ok(())
    }

    /// Keeps the lines that `keep` picks; false, and all are kept, when it picks none.
    pub(super) fn retain(&mut self, keep: impl Fn(&NoteSignature) -> bool) -> bool {
        let has_one = self.signatures.iter().any(&keep);
        if has_one {
            self.signatures.retain(keep);
        }
        has_one
    }

    /// Adds an Ed25519 signature over the text.
    ///
    /// # Errors
    /// [`NoteError::SignatureCount`].
    pub fn sign_also(&mut self, name: KeyName, key: &SigningKey) -> Result<(), NoteError> {
        self.add(sign_text(&self.text, name, key))
    }

    /// Checks that this Ed25519 key has signed the text.
    ///
    /// # Errors
    /// When no line is by it, or one is that is not valid.
    pub fn verify(&self, key: &VerifierKey) -> Result<(), NoteError> {
        if key.signature_type != SignatureType::Ed25519 {
            return Err(NoteError::WrongType(key.name.clone()));
        }
        let invalid = || NoteError::InvalidSignature(key.name.clone());
        let mut found = false;
        for signature in self.signatures.iter().filter(|signature| signature.is_by(key)) {
            let bytes = signature.bytes().try_into().map_err(|_| invalid())?;
            let valid = key.key.verify(self.text.as_bytes(), &Signature::from_bytes(bytes));
            valid.map_err(|_| invalid())?;
            found = true;
        }
        if found { Ok(()) } else { Err(NoteError::NotSignedBy(key.name.clone())) }
    }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    if text.len() > NOTE_MAX {
        return Err(NoteError::TooLong { found: text.len() });
    }
    if text.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        return Err(NoteError::NotText);
    }
    if text.ends_with('\n') { Ok(()) } else { Err(NoteError::NoParts) }
}

fn sign_text(text: &str, name: KeyName, key: &SigningKey) -> NoteSignature {
    let signature = key.sign_bytes(text.as_bytes());
    let key = VerifierKey::new(name, SignatureType::Ed25519, key.public());
    NoteSignature::new(&key, signature.as_bytes().to_vec())
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};
    use proptest::prelude::*;

    fn signer(seed: u8) -> (SigningKey, VerifierKey) {
        let key = SigningKey::from_seed(&[seed; 32]).unwrap();
        let name = KeyName::new("example.com/log").unwrap();
        let verifier = VerifierKey::new(name, SignatureType::Ed25519, key.public());
        (key, verifier)
    }

    fn note() -> (SignedNote, VerifierKey) {
        let (key, verifier) = signer(1);
        let text = "first\n\nthird\n".to_owned();
        (SignedNote::sign(text, verifier.name.clone(), &key).unwrap(), verifier)
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let (note, key) = note();
        let text = note.to_string();
        assert!(text.starts_with("first\n\nthird\n\n\u{2014} example.com/log "));
        let parsed = SignedNote::parse(text.as_bytes()).unwrap();
        assert_eq!((&parsed, parsed.verify(&key)), (&note, Ok(())));
    }

    #[test]
    fn another_text_key_name_or_type_is_not_what_was_signed() {
        let (note, key) = note();
        let changed = note.to_string().replace("third", "fourth");
        let changed = SignedNote::parse(changed.as_bytes()).unwrap();
        assert_eq!(changed.verify(&key), Err(NoteError::InvalidSignature(key.name.clone())));
        let (_, other) = signer(2);
        assert_eq!(note.verify(&other), Err(NoteError::NotSignedBy(key.name.clone())));
        let renamed = VerifierKey { name: KeyName::new("b").unwrap(), ..key.clone() };
        assert_eq!(note.verify(&renamed), Err(NoteError::NotSignedBy(renamed.name.clone())));
        let cosigner = VerifierKey { signature_type: SignatureType::CosignatureV1, ..key.clone() };
        assert_eq!(note.verify(&cosigner), Err(NoteError::WrongType(key.name)));
    }

    /// A valid signature does not make up for one by the same key that is not.
    #[test]
    fn every_signature_by_a_known_key_must_be_valid() {
        let (note, key) = note();
        let mut forged = note.signatures[0].clone();
        forged.signature[5] ^= 1;
        let text = format!("{note}{forged}\n");
        let both = SignedNote::parse(text.as_bytes()).unwrap();
        assert_eq!(both.verify(&key), Err(NoteError::InvalidSignature(key.name)));
    }

    #[test]
    fn a_note_has_at_most_sixteen_signatures() {
        let (mut note, _) = note();
        for seed in 2..=16 {
            let (key, verifier) = signer(seed);
            note.sign_also(verifier.name, &key).unwrap();
        }
        assert_eq!(SignedNote::parse(note.to_string().as_bytes()).unwrap(), note);
        let (key, verifier) = signer(16);
        note.sign_also(verifier.name, &key).unwrap();
        let (key, verifier) = signer(17);
        let refused = note.sign_also(verifier.name, &key);
        assert_eq!(refused, Err(NoteError::SignatureCount { found: 17 }));
        let text = format!("{note}{}\n", note.signatures[0]);
        let refused = SignedNote::parse(text.as_bytes());
        assert_eq!(refused, Err(NoteError::SignatureCount { found: 17 }));
    }

    #[test]
    fn what_is_not_quite_a_note_is_refused() {
        let good = note().0.to_string();
        for bad in [
            String::new(),
            good.trim_end().to_owned(),
            good.replace('\u{2014}', "-"),
            good.replace("third", "th\tird"),
            good.replace("third", "th\rird"),
            good.replace("example.com/log", "example.com+log"),
            good.replace("example.com/log", "example\u{a0}log"),
            good.replace("/log ", "/log  "),
            good.replace("=\n", "\n"),
            good.replace("=\n", "= \n"),
            format!("{good}\n"),
            format!("{good}more\n"),
            "text\n\n\u{2014} name AAAAAA==\n".to_owned(),
        ] {
            assert!(SignedNote::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(SignedNote::parse(b"a\xff\n\n").is_err());
        let long = format!("{}{good}", "a\n".repeat(NOTE_MAX / 2));
        assert!(matches!(SignedNote::parse(long.as_bytes()), Err(NoteError::TooLong { .. })));
    }

    #[test]
    fn a_signature_line_travels_between_nodes() {
        let line = note().0.signatures[0].clone();
        let bytes = encode(&line);
        assert_eq!(decode::<NoteSignature>("a signature line", &bytes, 512), Ok(line));
    }

    proptest! {
        #[test]
        fn nothing_read_is_written_differently(tail in "[a-zA-Z0-9=+/ \n\u{2014}.]{0,60}") {
            let text = format!("text\n\n\u{2014} n {tail}");
            if let Ok(note) = SignedNote::parse(text.as_bytes()) {
                prop_assert_eq!(note.to_string(), text);
            }
        }
    }
}
