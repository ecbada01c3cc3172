//! `coalition report`: the compliance report of a moment as a file, and what an officer's signature on it says.
//!
//! A report is one HTML file. It is signed beside it, in a signed note (C2SP signed-note, Ed25519) that names the file's
//! SHA-256 and size: the officer's own key, kept where the officer keeps it, and as many more as have to sign. Whoever has
//! both files and the officer's verifier key verifies them, with this command or any tool that reads notes; no node is
//! asked. What the report says of logs is checked by `coalition audit`, not here.
//!
//! Keys are in the form of Go's `sumdb/note`: `PRIVATE+KEY+name+id+key` and `name+id+key`.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::crypto::SigningKey;
use protocol::log::note::{KeyName, NoteError, SignatureType, SignedNote, VerifierKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Serialize;
use zeroize::Zeroizing;

use super::operations::{NodeArguments, client};
use super::{CliError, Io, write_private};

/// What opens a private key.
const PRIVATE: &str = "PRIVATE+KEY+";
/// What opens the text that is signed.
const TITLE: &str = "coalition report 1";
/// Type byte of an Ed25519 key.
const ED25519: u8 = 0x01;

/// What to do with a report.
#[derive(Debug, clap::Subcommand)]
pub enum ReportCommand {
    /// Fetch the compliance report of this moment from a running node, as one HTML file.
    Create {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// `zh` or `en`.
        #[arg(long, default_value = "en", value_parser = ["zh", "en"])]
        lang: String,
        /// The file, which is not there yet.
        #[arg(long)]
        output: PathBuf,
    },
    /// Make an officer's signing key; prints the verifier key, which whoever verifies reports is given.
    Key {
        /// Whose key it is, without spaces and plus signs: alpha.example/officer/olga.
        #[arg(long)]
        name: String,
        /// Where the private key goes; the file is not there yet.
        #[arg(long)]
        output: PathBuf,
    },
    /// Sign a report beside it, in FILE.note; a note that is there already gets another signature.
    Sign {
        /// The report.
        file: PathBuf,
        /// The officer's private key.
        #[arg(long)]
        key: PathBuf,
    },
    /// Verify that a report is the one that was signed, and by everyone named; ends with 2 when it is not.
    Verify {
        /// The report.
        file: PathBuf,
        /// Its note, if not FILE.note.
        #[arg(long)]
        note: Option<PathBuf>,
        /// The verifier key of an officer who must have signed; give it again for more of them.
        #[arg(long = "signed-by", required = true)]
        signed_by: Vec<String>,
    },
}

#[derive(Debug, Serialize)]
struct KeyView {
    verifier_key: String,
    private_key: PathBuf,
}

#[derive(Debug, Serialize)]
struct SignedView<'a> {
    file: &'a Path,
    note: &'a Path,
    sha256: String,
    signed_by: Vec<String>,
}

fn input(error: impl std::fmt::Display) -> CliError {
    CliError::Input(error.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|source| CliError::File { path: path.to_owned(), source })
}

/// Does it.
///
/// # Errors
/// When the node refuses, a file cannot be read or written, or a signature is not what it should be.
pub async fn run(command: &ReportCommand) -> Result<(), CliError> {
    let mut io = Io::new(true);
    match command {
        ReportCommand::Create { node, lang, output } => {
            let path = format!("/api/v1/report?lang={lang}");
            let report = client(node).await?.get_bytes(&path).await?;
            write_new(output, &report)?;
            io.json(&serde_json::json!({ "file": output, "sha256": sha256(&report) }))
        }
        ReportCommand::Key { name, output } => {
            let name = KeyName::new(name).map_err(input)?;
            let mut seed = Zeroizing::new([0; 32]);
            SystemRandom::new()
                .fill(&mut *seed)
                .map_err(|_| input("the system's random generator failed"))?;
            let key = OfficerKey::new(name, &seed)?;
            write_private(output, key.to_text(&seed).as_bytes())?;
            io.say("keep the private key where nobody else can sign with it, and give the verifier key to whoever verifies");
            let verifier_key = key.verifier().to_string();
            io.json(&KeyView { verifier_key, private_key: output.clone() })
        }
        ReportCommand::Sign { file, key } => {
            let report = read(file)?;
            let key = OfficerKey::read(key)?;
            let note = note_path(file);
            let text = text_of(&report);
            let signed = if note.exists() {
                let mut there = SignedNote::parse(&read(&note)?)
                    .map_err(|error| input(format!("{}: {error}", note.display())))?;
                if there.text() != text {
                    return Err(input(format!(
                        "{} is of another report than {}: move one of them away",
                        note.display(),
                        file.display()
                    )));
                }
                there.sign_also(key.name.clone(), &key.key).map_err(input)?;
                there
            } else {
                SignedNote::sign(text, key.name.clone(), &key.key).map_err(input)?
            };
            replace(&note, signed.to_string().as_bytes())?;
            io.json(&SignedView {
                file,
                note: &note,
                sha256: sha256(&report),
                signed_by: signed.signatures().iter().map(|by| by.name().to_string()).collect(),
            })
        }
        ReportCommand::Verify { file, note, signed_by } => {
            let report = read(file)?;
            let note = note.clone().unwrap_or_else(|| note_path(file));
            let keys: Result<Vec<VerifierKey>, NoteError> =
                signed_by.iter().map(|text| text.trim().parse()).collect();
            let by = verify(&report, &read(&note)?, &keys.map_err(input)?)
                .map_err(|error| input(format!("{}: {error}", note.display())))?;
            let view = SignedView { file, note: &note, sha256: sha256(&report), signed_by: by };
            io.json(&view)
        }
    }
}

/// Why a note does not vouch for a report.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unsound {
    /// Not a note, or not signed by who should have.
    #[error("{0}")]
    Note(#[from] NoteError),
    /// The note is of another file.
    #[error(
        "it was made of another file: the report was changed after it was signed, or is another one"
    )]
    OtherFile,
}

/// Checks a report against a note that all these keys must have signed; gives their names.
fn verify(report: &[u8], note: &[u8], keys: &[VerifierKey]) -> Result<Vec<String>, Unsound> {
    let note = SignedNote::parse(note)?;
    // first who speaks, then what is said
    let by = keys.iter().map(|key| note.verify(key).map(|()| key.name().to_string()));
    let by = by.collect::<Result<Vec<_>, _>>()?;
    if note.text() == text_of(report) { Ok(by) } else { Err(Unsound::OtherFile) }
}

/// The text that is signed: nothing in it depends on where the file is.
fn text_of(report: &[u8]) -> String {
    format!("{TITLE}\nsha256 {}\nbytes {}\n", sha256(report), report.len())
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn note_path(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".note");
    name.into()
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    use std::io::Write as _;
    let wrong = |source| CliError::File { path: path.to_owned(), source };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(wrong)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(wrong)
}

/// All of it or nothing: a note that has signatures is not lost to a full disk.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let _ = fs::remove_file(&part); // what an earlier try left
    write_new(&part, bytes)?;
    fs::rename(&part, path).map_err(|source| CliError::File { path: path.to_owned(), source })
}

/// An officer's signing key.
struct OfficerKey {
    name: KeyName,
    key: SigningKey,
}

impl OfficerKey {
    fn new(name: KeyName, seed: &[u8; 32]) -> Result<Self, CliError> {
        Ok(Self { name, key: SigningKey::from_seed(seed).map_err(input)? })
    }

    fn verifier(&self) -> VerifierKey {
        VerifierKey::new(self.name.clone(), SignatureType::Ed25519, self.key.public())
    }

    fn to_text(&self, seed: &[u8; 32]) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(vec![ED25519]);
        bytes.extend_from_slice(seed);
        let key = Zeroizing::new(STANDARD.encode(&*bytes));
        Zeroizing::new(format!("{PRIVATE}{}+{}+{}\n", self.name, self.verifier().id(), &*key))
    }

    fn read(path: &Path) -> Result<Self, CliError> {
        let text = Zeroizing::new(read(path)?);
        let text = std::str::from_utf8(&text).unwrap_or_default();
        text.parse().map_err(|reason: String| input(format!("{}: {reason}", path.display())))
    }
}

impl FromStr for OfficerKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "not a signing key; it reads {PRIVATE}name+id+key, as `coalition report key` writes it"
            )
        };
        let rest = text.trim().strip_prefix(PRIVATE).ok_or_else(wrong)?;
        let (name, rest) = rest.split_once('+').ok_or_else(wrong)?;
        let (id, key) = rest.split_once('+').ok_or_else(wrong)?;
        let bytes = Zeroizing::new(STANDARD.decode(key).map_err(|_| wrong())?);
        let seed = bytes.strip_prefix(&[ED25519]).and_then(|seed| seed.try_into().ok());
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(seed.ok_or_else(wrong)?);
        let name = KeyName::new(name).map_err(|error| error.to_string())?;
        let key = Self::new(name, &seed).map_err(|_| wrong())?;
        if key.verifier().id().to_string() == id { Ok(key) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, seed: u8) -> OfficerKey {
        OfficerKey::new(KeyName::new(name).unwrap(), &[seed; 32]).unwrap()
    }

    fn note(report: &[u8], by: &[&OfficerKey]) -> String {
        let (first, more) = by.split_first().unwrap();
        let mut note = SignedNote::sign(text_of(report), first.name.clone(), &first.key).unwrap();
        for key in more {
            note.sign_also(key.name.clone(), &key.key).unwrap();
        }
        note.to_string()
    }

    #[test]
    fn a_report_is_the_one_that_was_signed_by_all_who_had_to() {
        let (olga, director) = (key("alpha/officer/olga", 1), key("alpha/director", 2));
        let report = "<!doctype html>\u{62a5}\u{544a}".as_bytes();
        let both = note(report, &[&olga, &director]);
        let verified = |report: &[u8], note: &str, keys: &[&OfficerKey]| {
            let keys: Vec<VerifierKey> = keys.iter().map(|key| key.verifier()).collect();
            verify(report, note.as_bytes(), &keys)
        };
        let by = verified(report, &both, &[&olga, &director]).unwrap();
        assert_eq!(by, ["alpha/officer/olga", "alpha/director"]);
        // one byte of the report, of the text, or of a signature
        let mut changed = report.to_vec();
        changed[3] ^= 1;
        assert_eq!(verified(&changed, &both, &[&olga]), Err(Unsound::OtherFile));
        let longer = both.replace("bytes 21", "bytes 22");
        assert_ne!(longer, both);
        assert!(matches!(verified(report, &longer, &[&olga]), Err(Unsound::Note(_))));
        // another key under the same name, and one who has not signed
        let forger = key("alpha/officer/olga", 3);
        let forged = note(report, &[&forger]);
        assert!(matches!(verified(report, &forged, &[&olga]), Err(Unsound::Note(_))));
        let alone = note(report, &[&olga]);
        let missing = verified(report, &alone, &[&olga, &director]);
        assert_eq!(missing, Err(Unsound::Note(NoteError::NotSignedBy(director.name.clone()))));
        // a note about something else is none of a report
        let other = SignedNote::sign("hello\n".into(), olga.name.clone(), &olga.key).unwrap();
        assert_eq!(verified(report, &other.to_string(), &[&olga]), Err(Unsound::OtherFile));
    }

    #[test]
    fn a_key_is_read_as_it_was_written_and_what_is_damaged_is_not() {
        let olga = key("alpha/officer/olga", 7);
        let text = olga.to_text(&[7; 32]);
        let read: OfficerKey = text.parse().unwrap();
        assert_eq!(read.verifier(), olga.verifier());
        for damaged in [
            text.replace("PRIVATE+KEY+", ""),
            text.replace("olga", "bert"),
            text[..text.len() - 6].to_owned(),
            olga.verifier().to_string(),
            String::new(),
        ] {
            assert!(damaged.parse::<OfficerKey>().is_err(), "{damaged}");
        }
    }

    #[tokio::test]
    async fn a_second_signature_is_added_and_another_report_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("report.html"), "one").unwrap();
        let mut keys = Vec::new();
        for name in ["olga", "director"] {
            let make = ReportCommand::Key { name: name.to_owned(), output: path(name) };
            run(&make).await.unwrap();
            assert!(run(&make).await.is_err(), "a key is never written over");
            keys.push(OfficerKey::read(&path(name)).unwrap().verifier().to_string());
            let sign = ReportCommand::Sign { file: path("report.html"), key: path(name) };
            run(&sign).await.unwrap();
            run(&sign).await.unwrap();
        }
        let verify = ReportCommand::Verify {
            file: path("report.html"),
            note: None,
            signed_by: keys.clone(),
        };
        run(&verify).await.unwrap();
        let text = fs::read_to_string(path("report.html.note")).unwrap();
        assert_eq!(text.matches('\u{2014}').count(), 2, "{text}");
        fs::write(path("report.html"), "two").unwrap();
        let refused = run(&verify).await.unwrap_err().to_string();
        assert!(refused.contains("another file"), "{refused}");
        let sign = ReportCommand::Sign { file: path("report.html"), key: path("olga") };
        let refused = run(&sign).await.unwrap_err().to_string();
        assert!(refused.contains("another report"), "{refused}");
    }
}
