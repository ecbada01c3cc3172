//! Identifiers of people: thirteen kinds, each brought into one form before it is hashed, so that what
//! a person typed at the till and what the mini-program sent meet in one look-up.
//!
//! Knows what each kind looks like and how much it says. Keeps nothing: [`identity`](super::identity)
//! does. Errors say what a kind looks like and never repeat what was given.

use std::fmt;

use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use super::keys::BlindIndex;
use super::mask::masked;

/// How much an identifier says of who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// A device: it may be a family's, and is never enough by itself to join two people.
    Hint,
    /// Two people may have it: an address, a car, a way of paying.
    Shared,
    /// One member at a time, and it may pass on: a phone number.
    Phone,
    /// One member for good, by whoever issued it.
    Proof,
}

/// What an identifier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum IdentifierKind {
    /// A telephone number, kept as `+8613812345678`.
    #[n(0)]
    Phone,
    /// A card number of the brand's.
    #[n(1)]
    Card,
    /// What is equal for one person at several brands; kept as a keyed hash alone.
    #[n(2)]
    MatchKey,
    /// A WeChat OpenID: one person at one mini-program or official account.
    #[n(3)]
    WechatOpenId,
    /// A WeChat UnionID: one person at all of the brand's mini-programs.
    #[n(4)]
    WechatUnionId,
    /// An Alipay user id.
    #[n(5)]
    AlipayUserId,
    /// An account of the brand's own app.
    #[n(6)]
    AppUserId,
    /// An electronic mail address.
    #[n(7)]
    Email,
    /// A device; kept as a keyed hash alone.
    #[n(8)]
    Device,
    /// A face recognition service's token, never an image; kept as a keyed hash alone (PIPL art. 28).
    #[n(9)]
    FaceToken,
    /// An account at an e-commerce platform, as `platform:account`.
    #[n(10)]
    EcommerceAccount,
    /// A mainland licence plate.
    #[n(11)]
    LicencePlate,
    /// A payment provider's token for a card or account, never a bank card's number; kept as a keyed
    /// hash alone.
    #[n(12)]
    PaymentToken,
}

impl IdentifierKind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Phone,
        Self::Card,
        Self::MatchKey,
        Self::WechatOpenId,
        Self::WechatUnionId,
        Self::AlipayUserId,
        Self::AppUserId,
        Self::Email,
        Self::Device,
        Self::FaceToken,
        Self::EcommerceAccount,
        Self::LicencePlate,
        Self::PaymentToken,
    ];

    /// Its name in requests, files and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Card => "card",
            Self::MatchKey => "match_key",
            Self::WechatOpenId => "wechat_open_id",
            Self::WechatUnionId => "wechat_union_id",
            Self::AlipayUserId => "alipay_user_id",
            Self::AppUserId => "app_user_id",
            Self::Email => "email",
            Self::Device => "device",
            Self::FaceToken => "face_token",
            Self::EcommerceAccount => "ecommerce_account",
            Self::LicencePlate => "licence_plate",
            Self::PaymentToken => "payment_token",
        }
    }

    /// The kind of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// How much it says.
    #[must_use]
    pub const fn strength(self) -> Strength {
        match self {
            Self::Card
            | Self::MatchKey
            | Self::WechatOpenId
            | Self::WechatUnionId
            | Self::AlipayUserId
            | Self::AppUserId
            | Self::FaceToken
            | Self::EcommerceAccount => Strength::Proof,
            Self::Phone => Strength::Phone,
            Self::Email | Self::LicencePlate | Self::PaymentToken => Strength::Shared,
            Self::Device => Strength::Hint,
        }
    }

    /// Whether somebody who has one of these is a person the brand can name: to write to, or to whom it
    /// gave a card.
    #[must_use]
    pub const fn is_name(self) -> bool {
        matches!(self, Self::Phone | Self::Card)
    }

    /// Whether the value itself is kept, encrypted, because the brand needs it to reach the person or to
    /// show its ends. Of the others only the keyed hash is.
    #[must_use]
    pub const fn keeps_value(self) -> bool {
        !matches!(self, Self::MatchKey | Self::Device | Self::FaceToken | Self::PaymentToken)
    }

    /// Whether it is sensitive personal information (PIPL art. 28).
    #[must_use]
    pub const fn is_sensitive(self) -> bool {
        matches!(self, Self::FaceToken | Self::PaymentToken)
    }

    /// How it is looked up.
    #[must_use]
    pub const fn index(self) -> BlindIndex {
        match self {
            Self::Card => BlindIndex::Card,
            Self::MatchKey => BlindIndex::MatchKey,
            other => BlindIndex::Identifier(other),
        }
    }

    /// What one looks like, for whoever got it wrong.
    #[must_use]
    pub const fn looks_like(self) -> &'static str {
        match self {
            Self::Phone => {
                "a phone number has 11 digits and begins with 13 to 19, or + and 8 to 15 digits of \
                 another country"
            }
            Self::Card => "a card number has 1 to 64 visible ASCII characters and no space",
            Self::MatchKey => "a match key has 8 to 128 visible ASCII characters and no space",
            Self::WechatOpenId => "an OpenID has 20 to 64 letters, digits, - and _",
            Self::WechatUnionId => "a UnionID has 20 to 64 letters, digits, - and _",
            Self::AlipayUserId => {
                "an Alipay user id has 16 digits and begins with 2088, or 20 to 64 letters, digits, \
                 - and _"
            }
            Self::AppUserId => "an app user id has 1 to 64 letters, digits, '.', - and _",
            Self::Email => {
                "an e-mail address has a name, @ and a domain with a dot, at most 254 bytes"
            }
            Self::Device => {
                "a device id has 8 to 128 letters, digits, - : and _, and is not all zeros"
            }
            Self::FaceToken => "a face token has 16 to 128 letters, digits and + / = - _",
            Self::EcommerceAccount => {
                "an e-commerce account is platform:account, such as tmall:someone, the platform of 2 \
                 to 16 letters and digits, the account of 1 to 64 characters without spaces"
            }
            Self::LicencePlate => {
                "a licence plate is a province's character, a letter, and 5 or 6 letters and digits \
                 without I and O"
            }
            Self::PaymentToken => {
                "a payment token has 8 to 64 letters, digits, - and _, as the payment provider gave \
                 it; a bank card's own number is not taken"
            }
        }
    }

    /// Whether a person has one of these at a time, so that another one is another person's. Cards are
    /// changed, and there is an OpenID for every mini-program.
    #[must_use]
    pub const fn is_single(self) -> bool {
        matches!(self, Self::MatchKey | Self::WechatUnionId | Self::AlipayUserId)
    }
}

impl fmt::Display for IdentifierKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text is not an identifier of its kind. The text is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} (found {found} bytes)", .kind.looks_like())]
pub struct NotAnIdentifier {
    /// The kind it was given as.
    pub kind: IdentifierKind,
    /// How long it was.
    pub found: usize,
}

/// An identifier in its kind's one form.
#[derive(Clone, PartialEq, Eq)]
pub struct Identifier {
    kind: IdentifierKind,
    value: Zeroizing<String>,
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identifier({}, ..)", self.kind)
    }
}

impl Identifier {
    /// Brings a text into the form of its kind.
    ///
    /// # Errors
    /// When it cannot be one, with what one looks like.
    pub fn parse(kind: IdentifierKind, text: &str) -> Result<Self, NotAnIdentifier> {
        let wrong = NotAnIdentifier { kind, found: text.len() };
        if text.len() > 512 {
            return Err(wrong);
        }
        let text = Zeroizing::new(half_width(text.trim()));
        let value = match kind {
            IdentifierKind::Phone => phone(&text),
            IdentifierKind::Card => token(&text, 1, 64, |b| b.is_ascii_graphic()),
            IdentifierKind::MatchKey => token(&text, 8, 128, |b| b.is_ascii_graphic()),
            IdentifierKind::WechatOpenId | IdentifierKind::WechatUnionId => {
                token(&text, 20, 64, is_word)
            }
            IdentifierKind::AlipayUserId => alipay(&text),
            IdentifierKind::AppUserId => token(&text, 1, 64, |b| is_word(b) || b == b'.'),
            IdentifierKind::Email => email(&text),
            IdentifierKind::Device => device(&text),
            IdentifierKind::FaceToken => {
                token(&text, 16, 128, |b| is_word(b) || matches!(b, b'+' | b'/' | b'='))
            }
            IdentifierKind::EcommerceAccount => ecommerce(&text),
            IdentifierKind::LicencePlate => plate(&text),
            IdentifierKind::PaymentToken => {
                token(&text, 8, 64, is_word).filter(|it| !is_bank_card(it))
            }
        };
        value.map(|value| Self { kind, value: Zeroizing::new(value) }).ok_or(wrong)
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> IdentifierKind {
        self.kind
    }

    /// The value in clear, in its one form.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// As people may see it.
    #[must_use]
    pub fn masked(&self) -> String {
        masked_value(self.kind, &self.value)
    }
}

/// A value of a kind as people may see it: a phone as `138****5678`, whatever its country's prefix.
#[must_use]
pub fn masked_value(kind: IdentifierKind, value: &str) -> String {
    match kind {
        IdentifierKind::Phone => masked(value.strip_prefix("+86").unwrap_or(value)),
        IdentifierKind::Email => match value.split_once('@') {
            Some((name, domain)) => {
                format!("{}****@{domain}", name.chars().next().unwrap_or('*'))
            }
            None => masked(value),
        },
        IdentifierKind::EcommerceAccount => match value.split_once(':') {
            Some((platform, account)) => format!("{platform}:{}", masked(account)),
            None => masked(value),
        },
        IdentifierKind::LicencePlate => {
            let shown: String = value.chars().take(2).collect();
            format!("{shown}****")
        }
        _ => masked(value),
    }
}

/// Full-width letters, digits and signs, as Chinese input methods give them, become ASCII.
fn half_width(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\u{ff01}'..='\u{ff5e}' => {
                char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character)
            }
            '\u{3000}' => ' ',
            other => other,
        })
        .collect()
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn token(text: &str, least: usize, most: usize, may: impl Fn(u8) -> bool) -> Option<String> {
    let fits = (least..=most).contains(&text.len()) && text.bytes().all(may);
    fits.then(|| text.to_owned())
}

fn phone(text: &str) -> Option<String> {
    let digits: String =
        text.chars().filter(|it| !matches!(it, ' ' | '-' | '(' | ')' | '.' | '·')).collect();
    let (international, digits) = match digits.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => match digits.strip_prefix("00") {
            Some(rest) => (true, rest),
            None => (false, digits.as_str()),
        },
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mainland = |it: &str| {
        it.len() == 11 && it.starts_with('1') && it.as_bytes().get(1).is_some_and(|b| *b >= b'3')
    };
    if let Some(national) = digits.strip_prefix("86")
        && mainland(national)
    {
        return Some(format!("+86{national}"));
    }
    match international {
        false => mainland(digits).then(|| format!("+86{digits}")),
        true if digits.starts_with("86") => None,
        true => {
            let fits = (8..=15).contains(&digits.len()) && !digits.starts_with('0');
            fits.then(|| format!("+{digits}"))
        }
    }
}

fn alipay(text: &str) -> Option<String> {
    if text.len() == 16 {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        return (digits && text.starts_with("2088")).then(|| text.to_owned());
    }
    token(text, 20, 64, is_word)
}

fn email(text: &str) -> Option<String> {
    let (name, domain) = text.split_once('@')?;
    let may =
        |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'@' | b',' | b';' | b'<' | b'>');
    let labels = domain.split('.');
    let good_domain = labels.clone().count() >= 2
        && labels.clone().all(|label| !label.is_empty())
        && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    let good =
        text.len() <= 254 && (1..=64).contains(&name.len()) && name.bytes().all(may) && good_domain;
    // providers tell apart by case in theory and none of the large ones does
    good.then(|| text.to_ascii_lowercase())
}

fn device(text: &str) -> Option<String> {
    if !(8..=128).contains(&text.len()) {
        return None;
    }
    let plain: String = text
        .chars()
        .filter(|character| !matches!(character, '-' | ':' | '_'))
        .map(|character| character.to_ascii_lowercase())
        .collect();
    let fits = plain.len() >= 8 && plain.bytes().all(|byte| byte.is_ascii_alphanumeric());
    // what a telephone gives that does not give its id
    (fits && plain.bytes().any(|byte| byte != b'0')).then_some(plain)
}

fn ecommerce(text: &str) -> Option<String> {
    let (platform, account) = text.split_once(':')?;
    let platform = platform.trim().to_ascii_lowercase();
    let account = account.trim();
    let fits = (2..=16).contains(&platform.len())
        && platform.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && (1..=64).contains(&account.chars().count())
        && !account.chars().any(|it| it.is_whitespace() || it.is_control());
    fits.then(|| format!("{platform}:{account}"))
}

fn plate(text: &str) -> Option<String> {
    const PROVINCES: &str = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使";
    let plain: String = text
        .chars()
        .filter(|character| !matches!(character, ' ' | '-' | '·' | '•' | '.'))
        .map(|character| character.to_ascii_uppercase())
        .collect();
    let mut rest = plain.chars();
    let province = rest.next().is_some_and(|first| PROVINCES.contains(first));
    let office = rest.next().is_some_and(|second| second.is_ascii_uppercase());
    let rest: Vec<char> = rest.collect();
    let (last, serial) = rest.split_last()?;
    let plain_character =
        |it: &char| it.is_ascii_digit() || it.is_ascii_uppercase() && !matches!(it, 'I' | 'O');
    let fits = matches!(rest.len(), 5 | 6)
        && serial.iter().all(plain_character)
        && (plain_character(last) || "学警港澳挂领使".contains(*last));
    (province && office && fits).then_some(plain)
}

/// Whether a text is what a bank card has on it: 13 to 19 digits with the check digit of ISO/IEC 7812-1.
fn is_bank_card(text: &str) -> bool {
    if !(13..=19).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let sum: u32 = text
        .bytes()
        .rev()
        .zip([false, true].into_iter().cycle())
        .map(|(byte, double)| {
            let digit = u32::from(byte - b'0');
            match double {
                true if digit > 4 => 2 * digit - 9,
                true => 2 * digit,
                false => digit,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(kind: IdentifierKind, text: &str) -> Option<String> {
        Identifier::parse(kind, text).ok().map(|it| it.expose().to_owned())
    }

    #[test]
    fn there_are_ten_kinds_or_more_and_each_has_a_name_of_its_own() {
        assert!(IdentifierKind::ALL.len() >= 10);
        for (position, kind) in IdentifierKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, position);
            assert_eq!(IdentifierKind::from_name(kind.name()), Some(kind));
        }
    }

    #[test]
    fn what_people_write_comes_into_one_form() {
        use IdentifierKind::*;
        for (kind, form_of, texts) in [
            (
                Phone,
                "+8613812345678",
                &[
                    "13812345678",
                    " 138-1234-5678",
                    "+86 138 1234 5678",
                    "008613812345678",
                    "8613812345678",
                    "１３８１２３４５６７８",
                ][..],
            ),
            (Phone, "+85291234567", &["+852 9123 4567", "0085291234567"]),
            (Card, "FS002WFNZ0DA", &["FS002WFNZ0DA", " FS002WFNZ0DA "]),
            (Email, "li.lei@example.com", &["Li.Lei@Example.COM", " li.lei@example.com"]),
            (Device, "8c1a2b3c4d5e", &["8C:1A:2B:3C:4D:5E", "8c1a2b3c4d5e", "8c-1a-2b-3c-4d-5e"]),
            (LicencePlate, "粤B12345", &["粤B·12345", "粤b 12345", "粤Ｂ12345"]),
            (LicencePlate, "沪AD12345", &["沪AD12345"]),
            (EcommerceAccount, "tmall:某人123", &["Tmall:某人123", "tmall: 某人123"]),
            (AlipayUserId, "2088123456789012", &["2088123456789012"]),
        ] {
            for text in texts {
                assert_eq!(form(kind, text).as_deref(), Some(form_of), "{text}");
            }
        }
    }

    #[test]
    fn what_is_none_is_refused_with_what_one_looks_like() {
        use IdentifierKind::*;
        for (kind, texts) in [
            (
                Phone,
                &[
                    "12345678901",
                    "1381234567",
                    "138123456789",
                    "1381234567a",
                    "",
                    "+86 12345678",
                    "+1234567",
                    "+012345678",
                ][..],
            ),
            (Card, &["", "has a space", "汉字"]),
            (MatchKey, &["short"]),
            (WechatOpenId, &["o6_bmjrPTlm6_2sgVt", "o6_bmjrPTlm6_2sgVt7 MLpQx"]),
            (AlipayUserId, &["1088123456789012", "20881234567890123"]),
            (
                Email,
                &["a@b", "a b@example.com", "@example.com", "a@example..com", "a@@example.com"],
            ),
            (Device, &["0000", "00000000-0000-0000-0000-000000000000", "a b c d e f g h"]),
            (FaceToken, &["short", "has a space in the middle"]),
            (EcommerceAccount, &["nobody", "t:x", "jdcom:", "tmall:a b"]),
            (LicencePlate, &["B12345", "粤B1234", "粤BI2345", "美B12345", "粤"]),
            (PaymentToken, &["4111111111111111", "6222020000000000000000x y", "1234567"]),
        ] {
            for text in texts {
                let error = Identifier::parse(kind, text).unwrap_err();
                let words = error.to_string();
                assert!(words.starts_with(kind.looks_like()), "{kind}: {words}");
                assert!(text.len() < 6 || !words.contains(text), "{words}");
            }
        }
        assert!(Identifier::parse(Phone, &"1".repeat(10_000)).is_err());
    }

    #[test]
    fn people_see_the_ends_of_it() {
        use IdentifierKind::*;
        for (kind, text, seen) in [
            (Phone, "13812345678", "138****5678"),
            (Email, "li.lei@example.com", "l****@example.com"),
            (EcommerceAccount, "tmall:someone123", "tmall:som****e123"),
            (LicencePlate, "粤B12345", "粤B****"),
            (Card, "FS002WFNZ0DA", "FS0****Z0DA"),
        ] {
            let identifier = Identifier::parse(kind, text).unwrap();
            assert_eq!(identifier.masked(), seen);
            assert!(!format!("{identifier:?}").contains(&text[3..]));
        }
    }
}
