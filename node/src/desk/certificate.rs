//! The certificate of an erasure: what the member keeps, and can show to anyone.
//!
//! A text of JSON whose SHA-256 the brand enters into its own certified log (`Answered`); a receipt of
//! that entry proves to anyone who has the alliance's constitution that the brand said so, and when. It
//! names the member by a salted hash of the card number: whoever has card and certificate can tell that
//! they belong together, nobody else can.

use protocol::ids::BrandId;
use protocol::time::Timestamp;
use ring::digest::{Context, SHA256, digest};
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};

use crate::vault::KeyError;

/// What a certificate's field `certificate` says.
const VERSION: &str = "coalition erasure v0";

/// What a database leaves of a record that was deleted: SECURITY.md, boundary 4, says the same.
const FREED: &str = "the key that was erased, wrapped, in freed space of the database's files (in PostgreSQL, of dead rows and \
    of the log written ahead): until that space is used again or the brand's key of that time, which alone opens it, is \
    destroyed after its rotation, whichever is first · 已删除的密钥在数据库文件已释放的空间中的密文（PostgreSQL为失效行与预写日志）：\
    至该空间被重新使用，或品牌轮换密钥后销毁当时的品牌密钥为止（唯有该密钥可解开），以先到者为准";
/// What was copied before.
const BACKUPS: &str = "backups made before, encrypted, without their keys: until each is deleted or the brand's key of its \
    time is destroyed, whichever is first · 此前所做的备份（已加密，不含密钥）：至备份被删除或当时的品牌密钥被销毁为止，以先到者为准";

/// A certificate, in the order in which its fields are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Which form this is.
    pub certificate: String,
    /// The brand that erased.
    pub brand: String,
    /// The request, 32 hexadecimal digits.
    pub request: String,
    /// When it was entered, Unix milliseconds.
    pub opened_ms: u64,
    /// When the member was erased, Unix milliseconds.
    pub erased_ms: u64,
    /// Random, hexadecimal: what is hashed before the card number.
    pub salt: String,
    /// SHA-256 of `coalition erasure v0`, a zero byte, the salt and the card number, hexadecimal.
    pub subject: String,
    /// What is gone at once.
    pub erased: Vec<String>,
    /// By when purchase lines are out of every file, Unix milliseconds; out of every answer they are at
    /// once.
    pub facts_removed_by_ms: u64,
    /// Brands that are told to drop the link to the member.
    pub told: Vec<String>,
    /// What stays, and why, or until when.
    pub kept: Vec<String>,
}

impl Certificate {
    pub(super) fn new(
        brand: BrandId,
        card: &str,
        request: String,
        (opened, erased, removed_by): (Timestamp, Timestamp, Timestamp),
        told: &[BrandId],
        known_days: u64,
        random: &dyn SecureRandom,
    ) -> Result<Self, KeyError> {
        let mut salt = [0; 16];
        random.fill(&mut salt).map_err(|_| KeyError::Random)?;
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        let hashes = format!(
            "for at most {known_days} days keyed hashes of card, keys, telephone number and accounts, so that an old \
             list makes nobody a member again · 卡号、标识、手机号与账号的带密钥散列值，至多保留{known_days}天，使旧名单不会\
             再次将其登记为会员"
        );
        Ok(Self {
            certificate: VERSION.to_owned(),
            brand: brand.to_string(),
            request,
            opened_ms: opened.unix_ms(),
            erased_ms: erased.unix_ms(),
            salt: hex(&salt),
            subject: subject(&salt, card),
            erased: words(&[
                "identifiers · 身份标识",
                "attributes · 会员资料",
                "consents · 同意记录",
                "links to other brands · 与其他品牌的关联",
                "pseudonyms · 假名",
                "the key under which all of it was kept · 以上内容的加密密钥",
            ]),
            facts_removed_by_ms: removed_by.unix_ms(),
            told: told.iter().map(ToString::to_string).collect(),
            kept: words(&[
                "points under a number that stands for nobody any more · 已不对应任何人的编号下的积分",
                "sealed entries of the published log under handles that lead to nobody here · \
                 公开日志中的密封条目，其标识在本品牌已不对应任何人",
                "the operation log, masked · 掩码后的操作日志",
                &hashes,
                FREED,
                BACKUPS,
            ]),
        })
    }

    /// The text, whose bytes are hashed.
    ///
    /// # Errors
    /// Never for what [`Self::new`] made.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// Whether it is about the holder of a card.
    #[must_use]
    pub fn is_about(&self, card: &str) -> bool {
        from_hex(&self.salt).is_some_and(|salt| subject(&salt, card) == self.subject)
    }
}

/// SHA-256 of a certificate's text.
#[must_use]
pub fn certificate_hash(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

fn subject(salt: &[u8], card: &str) -> String {
    let mut context = Context::new(&SHA256);
    context.update(VERSION.as_bytes());
    context.update(&[0]);
    context.update(salt);
    context.update(card.as_bytes());
    hex(context.finish().as_ref())
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads hexadecimal.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;

    #[test]
    fn a_certificate_is_about_one_card_and_shows_none() {
        let at = Timestamp::from_unix_ms;
        let brand = BrandId::new("grocer").unwrap();
        let made = Certificate::new(
            brand,
            "CARD-1",
            "00".repeat(16),
            (at(1), at(2), at(3)),
            &[BrandId::new("kids").unwrap()],
            210,
            &SystemRandom::new(),
        )
        .unwrap();
        assert!(made.is_about("CARD-1") && !made.is_about("CARD-2"));
        let text = made.to_text().unwrap();
        assert!(!text.contains("CARD-1"));
        assert!(made.kept.iter().any(|it| it.starts_with("for at most 210 days")), "{made:?}");
        // what can be recovered for a time is not told as gone: what it is, and until when
        for (remainder, until, chinese) in [
            ("the key that was erased, wrapped, in freed space", "used again", "预写日志"),
            ("backups made before", "is deleted", "备份被删除"),
        ] {
            let told = made.kept.iter().find(|it| it.starts_with(remainder)).unwrap();
            assert!(told.contains(": until ") && told.contains(until), "{told}");
            assert!(told.contains(chinese) && told.contains("为止"), "{told}");
        }
        // every word in both languages
        for word in made.erased.iter().chain(&made.kept) {
            let (english, chinese) = word.split_once(" · ").unwrap();
            assert!(!english.is_empty() && chinese.chars().any(|it| it > '\u{2fff}'), "{word}");
        }
        let read: Certificate = serde_json::from_str(&text).unwrap();
        assert_eq!(read, made);
        assert_eq!(certificate_hash(&text), certificate_hash(&read.to_text().unwrap()));
        let odd = Certificate { salt: "zz".into(), ..read };
        assert!(!odd.is_about("CARD-1"));
    }
}
