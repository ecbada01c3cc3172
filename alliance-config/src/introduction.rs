//! A brand's introduction: what it tells the others before there is a constitution.
//!
//! Its id, names, addresses, the value of its point and its public keys, signed by its governance
//! key, so that nobody on the way can exchange a key or an address. Whether the file came from the
//! brand it names is not in the file: compare the governance key by another way (a call, a visit).
//!
//! The signed bytes are [`INTRODUCTION_DOMAIN`], a zero byte and the file up to its last line
//! `[signature]`; only those bytes are read as the introduction.

use protocol::amount::Rate;
use protocol::constitution::BrandKeys;
use protocol::crypto::{Signature, SigningKey};
use protocol::ids::BrandId;
use serde::{Deserialize, Serialize};

use crate::constitution::{BrandProfile, profile};
use crate::document::{Document, FileError, Source};
use crate::problem::{FORMAT, Problem};
use crate::raw::RawBrand;
use crate::text::{Id, Ratio, signature};

/// What the signed bytes begin with, before a zero byte.
pub const INTRODUCTION_DOMAIN: &str = "coalition/0/introduction";

const SIGNATURE_TABLE: &str = "[signature]\n";

/// A brand as it introduces itself, its signature checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    id: BrandId,
    profile: BrandProfile,
    point_value: Rate,
    keys: BrandKeys,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawIntroduction {
    format: u64,
    id: Id,
    brand: RawBrand,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawGovernanceSignature {
    #[serde(with = "signature")]
    governance: Signature,
}

/// The private key is not the one the introduction names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the governance key that signs is not the one among the brand's public keys")]
pub struct OtherGovernanceKey;

impl Introduction {
    /// What a brand says of itself. `point_value` is the settlement value of one of its points, in
    /// micro-fen.
    #[must_use]
    pub const fn new(
        id: BrandId,
        profile: BrandProfile,
        point_value: Rate,
        keys: BrandKeys,
    ) -> Self {
        Self { id, profile, point_value, keys }
    }

    /// The signed text of the file.
    ///
    /// # Errors
    /// When `governance` is not the private half of the key it names.
    pub fn to_text(&self, governance: &SigningKey) -> Result<String, OtherGovernanceKey> {
        if governance.public() != self.keys.governance {
            return Err(OtherGovernanceKey);
        }
        let raw = RawIntroduction { format: FORMAT, id: Id(self.id), brand: self.to_raw() };
        // strings and numbers in tables: nothing here that TOML could not say
        let body = format!(
            "# A brand introduces itself to an alliance; send this file to whoever drafts.\n\
             # 品牌向联盟介绍自己；请把此文件发给起草人。\n\n{}\n",
            toml::to_string(&raw).unwrap_or_default()
        );
        let signature = governance.sign_bytes(&signed_bytes(&body));
        let tail = toml::to_string(&RawGovernanceSignature { governance: signature });
        Ok(format!("{body}{SIGNATURE_TABLE}{}", tail.unwrap_or_default()))
    }

    /// Reads an introduction and checks its signature.
    ///
    /// # Errors
    /// Where the file is not of its form, or that its governance key has not signed it.
    pub fn parse(bytes: &[u8]) -> Result<Self, FileError> {
        let source = Source::new(Document::Introduction, bytes)?;
        let Some((body, tail)) = source.split_at_last_line(SIGNATURE_TABLE) else {
            return Err(source.error_at(&[], Problem::IntroductionUnsigned));
        };
        let raw: RawIntroduction = body.read()?;
        let RawGovernanceSignature { governance } = tail.read_part()?;
        raw.brand
            .keys
            .governance
            .verify(&signed_bytes(body.text()), &governance)
            .map_err(|_| source.error_at(&["signature"], Problem::IntroductionSignature))?;
        let profile = profile(&raw.brand);
        let point_value = raw.brand.point_value_micro_fen.0;
        Ok(Self { id: raw.id.0, profile, point_value, keys: raw.brand.keys })
    }

    /// The brand's id.
    #[must_use]
    pub const fn id(&self) -> BrandId {
        self.id
    }
    /// Its name and addresses.
    #[must_use]
    pub const fn profile(&self) -> &BrandProfile {
        &self.profile
    }
    /// Settlement value of one of its points, in micro-fen.
    #[must_use]
    pub const fn point_value(&self) -> Rate {
        self.point_value
    }
    /// Its public keys.
    #[must_use]
    pub const fn keys(&self) -> &BrandKeys {
        &self.keys
    }

    pub(crate) fn to_raw(&self) -> RawBrand {
        RawBrand {
            name_zh: self.profile.name.zh().to_owned(),
            name_en: self.profile.name.en().to_owned(),
            libp2p_address: self.profile.libp2p.clone(),
            https_address: self.profile.https.clone(),
            point_value_micro_fen: Ratio(self.point_value),
            keys: self.keys.clone(),
        }
    }
}

fn signed_bytes(body: &str) -> Vec<u8> {
    [INTRODUCTION_DOMAIN.as_bytes(), &[0], body.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{governance, introductions};

    fn text() -> String {
        introductions(1)[0].to_text(&governance(0)).unwrap()
    }

    fn refused(text: &str) -> String {
        Introduction::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_introduction_survives_the_way() {
        let introduction = introductions(1).remove(0);
        assert_eq!(Introduction::parse(text().as_bytes()).unwrap(), introduction);
        assert_eq!(introduction.to_text(&governance(1)), Err(OtherGovernanceKey));
    }

    #[test]
    fn nobody_on_the_way_can_change_it() {
        let moved = text().replace("node-0.example.com:7001", "node-0.example.org:7001");
        assert!(refused(&moved).contains("has not signed this introduction"));
        // what is not signed is not read: a second body after the signature has no place
        let appended = format!("{}\n[brand]\nname_en = \"Other\"\n", text());
        assert!(refused(&appended).contains("unknown field `brand`"), "{}", refused(&appended));
        let (body, tail) =
            text().split_once(SIGNATURE_TABLE).map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert!(refused(&body).contains("there is no line [signature]"));
        assert!(refused(&text().replace('\n', "\r\n")).contains("line ends"));
        let other = introductions(2)[1].to_text(&governance(1)).unwrap();
        let (other_body, _) = other.split_once(SIGNATURE_TABLE).unwrap();
        let swapped = format!("{other_body}{SIGNATURE_TABLE}{tail}");
        assert!(refused(&swapped).contains("has not signed"));
        // a line inside a text is not where the signature begins
        let inner =
            text().replace("[signature]\n", "[signature]\nx = \"\"\"\n[signature]\n\"\"\"\n");
        assert!(Introduction::parse(inner.as_bytes()).is_err());
    }

    #[test]
    fn places_after_the_signature_line_are_those_of_the_whole_file() {
        let broken =
            text().replace("[signature]\ngovernance = \"", "[signature]\ngovernance = \"?");
        let error = Introduction::parse(broken.as_bytes()).unwrap_err();
        assert_eq!(error.place.line, broken.lines().count(), "{error}");
        assert_eq!(error.place.key, "governance");
    }
}
