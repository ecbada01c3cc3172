//! Signatures under a constitution: made one by one, collected, and required of every brand.
//!
//! A signature is Ed25519 over [`SIGNED_DOMAIN`], a zero byte and the very bytes of
//! `constitution.toml`, by the brand's governance key; they are kept beside it in
//! `constitution.signatures`. One brand's part of that file is such a file with one entry. Does not
//! know where keys are stored.

use std::collections::BTreeMap;
use std::fmt;

use protocol::crypto::{PublicKey, Signature, SigningKey};
use protocol::ids::BrandId;
use serde::{Deserialize, Serialize};

use crate::constitution::Constitution;
use crate::document::{Document, FileError, Source};
use crate::problem::{FORMAT, Problem};
use crate::text::{Id, ed25519, signature};

/// What the signed bytes begin with, before a zero byte.
pub const SIGNED_DOMAIN: &str = "coalition/0/constitution";

const HEADER: &str = "\
# Signatures of the brands under constitution.toml, over its very bytes.
# 各品牌对 constitution.toml 原文字节的签名。

";

/// Signatures as they came, none of them checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signatures(BTreeMap<BrandId, SignatureEntry>);

/// One brand's signature, as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureEntry {
    /// The governance key it is said to be of.
    pub governance: PublicKey,
    /// The signature.
    pub signature: Signature,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawSignatures {
    format: u64,
    #[serde(default)]
    signatures: Vec<RawSignature>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawSignature {
    brand: Id,
    #[serde(with = "ed25519")]
    governance: PublicKey,
    #[serde(with = "signature")]
    signature: Signature,
}

impl Signatures {
    /// Reads a signatures file, or one brand's part of it.
    ///
    /// # Errors
    /// Where the file is not of its form, or names a brand twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, FileError> {
        let source = Source::new(Document::Signatures, bytes)?;
        let raw: RawSignatures = source.read()?;
        let mut entries = BTreeMap::new();
        for RawSignature { brand: Id(brand), governance, signature } in raw.signatures {
            if entries.insert(brand, SignatureEntry { governance, signature }).is_some() {
                let path = ["signatures", brand.as_str()];
                return Err(source.error_at(&path, Problem::SignatureTwice { brand }));
            }
        }
        Ok(Self(entries))
    }

    /// The text of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let signatures = self
            .0
            .iter()
            .map(|(brand, entry)| RawSignature {
                brand: Id(*brand),
                governance: entry.governance,
                signature: entry.signature,
            })
            .collect();
        let raw = RawSignatures { format: FORMAT, signatures };
        // strings and a number in tables: nothing here that TOML could not say
        format!("{HEADER}{}", toml::to_string(&raw).unwrap_or_default())
    }

    /// Whose signatures there are.
    pub fn brands(&self) -> impl Iterator<Item = BrandId> + '_ {
        self.0.keys().copied()
    }
}

/// What is wrong with one brand's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureProblem {
    /// There is none.
    #[error(
        "the signature of brand {brand} is missing; ask {brand} to run `coalition constitution \
         sign` and send what it writes"
    )]
    Missing {
        /// The brand.
        brand: BrandId,
    },
    /// It does not verify.
    #[error(
        "the signature of brand {brand} does not match: the file was changed after {brand} signed, \
         or signed with another key; ask {brand} to run `coalition constitution sign` again"
    )]
    Mismatch {
        /// The brand.
        brand: BrandId,
    },
    /// It is of a key that the constitution does not give the brand.
    #[error(
        "brand {brand} signed with another key than the constitution names as its governance key; \
         ask {brand} to sign with that key, or draft again from its present introduction"
    )]
    OtherKey {
        /// The brand.
        brand: BrandId,
    },
    /// Not a member.
    #[error("{brand} signed but is no brand of this constitution; remove its entry")]
    NotABrand {
        /// As given.
        brand: BrandId,
    },
}

/// Everything that is wrong with a constitution's signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureProblems(pub Vec<SignatureProblem>);

impl fmt::Display for SignatureProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(number, problem)| {
            if number > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)
        })
    }
}

impl std::error::Error for SignatureProblems {}

/// Why a constitution is not in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// One of the two files is wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// The signatures are not those of all brands.
    #[error(transparent)]
    Signatures(#[from] SignatureProblems),
}

/// A constitution that every one of its brands has signed; made by [`load`] alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Ratified(Constitution);

impl Ratified {
    /// The constitution.
    #[must_use]
    pub const fn constitution(&self) -> &Constitution {
        &self.0
    }
    /// The constitution, without the proof that it was signed.
    #[must_use]
    pub fn into_constitution(self) -> Constitution {
        self.0
    }
}

/// Reads `constitution.toml` and `constitution.signatures`. The first constitution of an alliance
/// needs the signature of every brand.
///
/// # Errors
/// What is wrong with either file, or every signature that is missing, wrong or too many.
pub fn load(constitution: &[u8], signatures: &[u8]) -> Result<Ratified, LoadError> {
    let checked = Constitution::parse(constitution)?;
    let signatures = Signatures::parse(signatures)?;
    let mut problems: Vec<_> = signatures
        .0
        .iter()
        .filter_map(|(brand, entry)| verify(&checked, constitution, *brand, entry).err())
        .collect();
    problems
        .extend(missing(&checked, &signatures).map(|brand| SignatureProblem::Missing { brand }));
    if problems.is_empty() {
        Ok(Ratified(checked))
    } else {
        Err(SignatureProblems(problems).into())
    }
}

/// Why a key does not sign a constitution.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The file is wrong; nobody should sign it.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key is not in it.
    #[error(
        "no brand of this constitution has this governance key; it was drafted from another \
         introduction than this node's, so it has to be drafted again"
    )]
    NotNamed,
}

/// Signs a constitution, after checking it, for the brand that has this governance key in it.
///
/// # Errors
/// When the file is wrong, or the key is no brand's governance key in it.
pub fn sign(constitution: &[u8], governance: &SigningKey) -> Result<Signatures, SignError> {
    let checked = Constitution::parse(constitution)?;
    let (brand, _) = checked
        .ledger()
        .brands()
        .find(|(_, brand)| brand.keys.governance == governance.public())
        .ok_or(SignError::NotNamed)?;
    let signature = governance.sign_bytes(&signed_bytes(constitution));
    let entry = SignatureEntry { governance: governance.public(), signature };
    Ok(Signatures(BTreeMap::from([(brand, entry)])))
}

/// What came of collecting signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    /// Those that hold, to be kept beside the constitution.
    pub signatures: Signatures,
    /// Brands of which none holds yet.
    pub missing: Vec<BrandId>,
    /// Why others were left out.
    pub refused: Vec<SignatureProblem>,
}

/// Puts together the signatures that hold, and says who is missing and what was left out. Nothing is
/// lost by collecting again with what was collected before.
///
/// # Errors
/// When the constitution itself is wrong.
pub fn collect(constitution: &[u8], parts: &[Signatures]) -> Result<Collected, FileError> {
    let checked = Constitution::parse(constitution)?;
    let (mut signatures, mut refused) = (Signatures::default(), Vec::new());
    for (brand, entry) in parts.iter().flat_map(|part| &part.0) {
        match verify(&checked, constitution, *brand, entry) {
            Ok(()) => drop(signatures.0.insert(*brand, *entry)),
            Err(problem) => refused.push(problem),
        }
    }
    let missing = missing(&checked, &signatures).collect();
    Ok(Collected { signatures, missing, refused })
}

/// What is wrong with the signatures under a constitution after the first: those of brands that join
/// with it are needed, any others must hold.
pub(crate) fn problems_of_joining(
    checked: &Constitution,
    bytes: &[u8],
    signatures: &Signatures,
    joining: &[BrandId],
) -> Vec<SignatureProblem> {
    let wrong = signatures
        .0
        .iter()
        .filter_map(|(brand, entry)| verify(checked, bytes, *brand, entry).err());
    let missing = joining.iter().filter(|brand| !signatures.0.contains_key(brand));
    wrong.chain(missing.map(|brand| SignatureProblem::Missing { brand: *brand })).collect()
}

fn missing(constitution: &Constitution, signatures: &Signatures) -> impl Iterator<Item = BrandId> {
    constitution.profiles().map(|(id, _)| id).filter(|id| !signatures.0.contains_key(id))
}

fn verify(
    checked: &Constitution,
    bytes: &[u8],
    brand: BrandId,
    entry: &SignatureEntry,
) -> Result<(), SignatureProblem> {
    let member = checked.ledger().brand(brand).ok_or(SignatureProblem::NotABrand { brand })?;
    if member.keys.governance != entry.governance {
        return Err(SignatureProblem::OtherKey { brand });
    }
    // the key is the constitution's, never one the entry brought along
    let key = member.keys.governance;
    key.verify(&signed_bytes(bytes), &entry.signature)
        .map_err(|_| SignatureProblem::Mismatch { brand })
}

fn signed_bytes(constitution: &[u8]) -> Vec<u8> {
    [SIGNED_DOMAIN.as_bytes(), &[0], constitution].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{constitution, governance};

    fn signed_by(text: &str, brands: impl IntoIterator<Item = u8>) -> Vec<Signatures> {
        brands.into_iter().map(|brand| sign(text.as_bytes(), &governance(brand)).unwrap()).collect()
    }

    fn refused(text: &str, signatures: &Signatures) -> Vec<SignatureProblem> {
        match load(text.as_bytes(), signatures.to_text().as_bytes()).unwrap_err() {
            LoadError::Signatures(SignatureProblems(problems)) => problems,
            LoadError::File(error) => panic!("{error}"),
        }
    }

    fn id(text: &str) -> BrandId {
        BrandId::new(text).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        /// Draft, sign, collect in any order and in two goes, load.
        #[test]
        fn every_alliance_comes_into_force(n in 2..=21u8, order in any::<u64>(), first in 0..21u8) {
            let text = constitution(n);
            let mut parts = signed_by(&text, 0..n);
            parts.rotate_left((order % u64::from(n)) as usize);
            let (early, late) = parts.split_at(usize::from(first.min(n)));
            let collected = collect(text.as_bytes(), early).unwrap();
            prop_assert_eq!(collected.missing.len(), late.len());
            prop_assert_eq!(refused_or_none(&text, &collected.signatures), collected.missing.len());

            let file = Signatures::parse(collected.signatures.to_text().as_bytes()).unwrap();
            let all = collect(text.as_bytes(), &[late, &[file]].concat()).unwrap();
            prop_assert!(all.missing.is_empty() && all.refused.is_empty());
            let ratified = load(text.as_bytes(), all.signatures.to_text().as_bytes()).unwrap();
            prop_assert_eq!(ratified.constitution().ledger().committee().size(), usize::from(n));
        }

        /// No byte can change without every signature being lost, or the file being refused.
        #[test]
        fn any_changed_byte_is_noticed(at in any::<prop::sample::Index>(), with in 1..=255u8) {
            let text = constitution(2);
            let before = Constitution::parse(text.as_bytes()).unwrap().hash();
            let signatures = collect(text.as_bytes(), &signed_by(&text, 0..2)).unwrap().signatures;
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= with;
            if let Ok(changed) = Constitution::parse(&bytes) {
                prop_assert_ne!(changed.hash(), before);
            }
            prop_assert!(load(&bytes, signatures.to_text().as_bytes()).is_err());
        }
    }

    fn refused_or_none(text: &str, signatures: &Signatures) -> usize {
        match load(text.as_bytes(), signatures.to_text().as_bytes()) {
            Ok(_) => 0,
            Err(_) => refused(text, signatures).len(),
        }
    }

    #[test]
    fn each_wrong_signature_is_named_with_its_remedy() {
        let text = constitution(4);
        let mut signatures = collect(text.as_bytes(), &signed_by(&text, 0..3)).unwrap().signatures;
        // a signed another text, b with another key, d not at all, and a stranger too
        let other = text.replace("My Alliance", "Your Alliance");
        signatures.0.extend(signed_by(&other, [0])[0].0.clone());
        let stranger = SignatureEntry {
            governance: governance(9).public(),
            signature: governance(9).sign_bytes(&signed_bytes(text.as_bytes())),
        };
        signatures.0.insert(id("b"), stranger);
        signatures.0.insert(id("z"), stranger);
        let problems = refused(&text, &signatures);
        assert_eq!(
            problems,
            [
                SignatureProblem::Mismatch { brand: id("a") },
                SignatureProblem::OtherKey { brand: id("b") },
                SignatureProblem::NotABrand { brand: id("z") },
                SignatureProblem::Missing { brand: id("d") },
            ]
        );
        let lines = SignatureProblems(problems).to_string();
        for part in [
            "brand a does not match: the file was changed after a signed",
            "ask a to run `coalition constitution sign` again",
            "brand b signed with another key",
            "z signed but is no brand",
            "signature of brand d is missing; ask d to run",
        ] {
            assert!(lines.contains(part), "{part:?} in {lines}");
        }
        let left = collect(text.as_bytes(), &[signatures]).unwrap();
        assert_eq!(left.signatures.brands().collect::<Vec<_>>(), [id("c")]);
        assert_eq!((left.missing, left.refused.len()), (vec![id("a"), id("b"), id("d")], 3));
    }

    /// The signed bytes of one purpose are never those of another.
    #[test]
    fn a_signature_over_the_bare_file_is_none() {
        let text = constitution(2);
        let mut signatures = collect(text.as_bytes(), &signed_by(&text, 0..2)).unwrap().signatures;
        let bare = governance(0).sign_bytes(text.as_bytes());
        signatures.0.get_mut(&id("a")).unwrap().signature = bare;
        assert_eq!(refused(&text, &signatures), [SignatureProblem::Mismatch { brand: id("a") }]);
    }

    #[test]
    fn a_key_that_is_not_named_signs_nothing() {
        let text = constitution(2);
        assert_eq!(sign(text.as_bytes(), &governance(7)).unwrap_err(), SignError::NotNamed);
        assert!(matches!(sign(b"x", &governance(0)), Err(SignError::File(_))));
    }

    #[test]
    fn the_file_of_signatures_is_strict() {
        let text = constitution(2);
        let one = signed_by(&text, [0])[0].to_text();
        let parse = |text: &str| Signatures::parse(text.as_bytes()).unwrap_err().to_string();
        let entry = one.split_once("[[").map(|(_, entry)| format!("[[{entry}")).unwrap();
        assert!(parse(&format!("{one}\n{entry}")).contains("a is there twice"));
        assert!(parse(&one.replace("signature = \"", "signature = \"A")).contains("64 bytes"));
        assert!(parse(&one.replace("brand = ", "brands = ")).contains("unknown field `brands`"));
        assert!(parse(&one.replace("format = 0", "format = 1")).contains("format 1 is unknown"));
        let large = format!("{one}#{}", "x".repeat(64 * 1024));
        assert!(parse(&large).contains("more than 65536 bytes"));
    }
}
