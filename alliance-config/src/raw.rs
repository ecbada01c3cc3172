//! The files as they are written, before any of it is believed.
//!
//! Names the keys; refuses unknown ones; parses single values, so that an error stands at its own
//! line. What spans several values is checked in [`crate::constitution`].

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use privacy::contract::{BudgetProfile, RawPublicTable, RawTable};
use protocol::amount::Value;
use protocol::constitution::{Access, BrandKeys};
use protocol::crypto::PublicKey;
use protocol::crypto::sealed::{Cipher, SealingKey};
use protocol::ids::{ConstitutionHash, Epoch};
use protocol::time::{Milliseconds, Timestamp};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::cut_offs::Period;
use crate::text::{Address, Id, Ratio, ed25519, name_part, x25519};

/// Micro-fen in a fen.
const MICRO_FEN: u64 = 1_000_000;
/// A year, in hours.
const RETURN_WINDOW_MAX_HOURS: u64 = 8_760;
/// Two years, where nothing else is agreed.
const PAYLOAD_RETENTION_DEFAULT_MONTHS: u16 = 24;
/// As long as anything is kept.
const PAYLOAD_RETENTION_MAX_MONTHS: u16 = 600;
/// Longest notice, in days. None at all is for alliances that say that they are a trial.
const NOTICE_MAX_DAYS: u64 = 366;
/// Rows of so many years can be asked about, where nothing else is agreed.
const RETENTION_DEFAULT_YEARS: u8 = 3;
/// More than any law asks for.
const RETENTION_MAX_YEARS: u8 = 50;

pub(crate) type Rates = BTreeMap<Id, BTreeMap<Id, Ratio>>;

/// `constitution.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawConstitution {
    #[allow(dead_code)] // read before everything else, by `Source::read`
    pub format: u64,
    pub alliance: RawAlliance,
    pub clearing: RawClearing,
    pub ledger: RawLedger,
    pub limits: RawLimits,
    pub brands: BTreeMap<Id, RawBrand>,
    pub rates: Rates,
    #[serde(default)]
    pub auditors: Vec<RawAuditor>,
    pub clean_room: Option<RawCleanRoom>,
}

/// What a constitution is drafted from: the same without the brands, and rates only if they are not
/// to follow from the points' values.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSettings {
    #[allow(dead_code)] // read before everything else, by `Source::read`
    pub format: u64,
    pub alliance: RawAlliance,
    #[allow(dead_code)] // checked here, read again from the draft
    pub clearing: RawClearing,
    #[allow(dead_code)]
    pub ledger: RawLedger,
    #[allow(dead_code)]
    pub limits: RawLimits,
    pub rates: Option<Rates>,
    #[serde(default)]
    #[allow(dead_code)]
    pub auditors: Vec<RawAuditor>,
    #[allow(dead_code)]
    pub clean_room: Option<RawCleanRoom>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAlliance {
    pub id: Id,
    #[serde(deserialize_with = "epoch")]
    pub epoch: Epoch,
    #[serde(default)]
    pub protocol_version: u16,
    /// Hash of the constitution before; in every one after the first.
    #[serde(default, deserialize_with = "constitution_hash")]
    pub previous: Option<ConstitutionHash>,
    /// Not in effect before this time; without it, as soon as it may be.
    #[serde(default, deserialize_with = "instant")]
    pub effective: Option<Timestamp>,
    /// How long members are told of changes that touch them.
    #[serde(default, deserialize_with = "notice")]
    pub notice_days: Option<Milliseconds>,
    /// Whether it is an alliance without real members, which may go without notice.
    #[serde(default)]
    pub trial: bool,
    /// Brands whose logs are closed although they still are brands.
    #[serde(default)]
    pub frozen: BTreeSet<Id>,
    #[serde(deserialize_with = "name_part")]
    pub name_zh: String,
    #[serde(deserialize_with = "name_part")]
    pub name_en: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawClearing {
    #[serde(deserialize_with = "zone")]
    pub zone: TimeZone,
    /// How often brands open what they owe each other; without it, when their operators say so.
    #[serde(default, deserialize_with = "period")]
    pub cut_offs: Option<Period>,
    /// At which time of the day.
    #[serde(default, deserialize_with = "time_of_day")]
    pub cut_off_time: Option<Time>,
    /// Debts of and to brands that write no more, settled by this constitution.
    #[serde(default)]
    pub written_off: Vec<RawWrittenOff>,
}

/// A debt that is written off: paid outside, or the creditor's loss.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawWrittenOff {
    pub debtor: Id,
    pub creditor: Id,
    #[serde(deserialize_with = "micro_fen")]
    pub micro_fen: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLedger {
    pub total_step_fen: Fen,
    pub payload_bytes: usize,
    #[serde(deserialize_with = "return_window")]
    pub return_window_hours: Milliseconds,
    #[serde(default, deserialize_with = "cipher")]
    pub cipher: Cipher,
    #[serde(default = "default_payload_retention", deserialize_with = "payload_retention")]
    pub payload_retention_months: u16,
}

/// What every brand may owe, but for those named.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLimits {
    pub pair_limit_fen: Fen,
    pub total_limit_fen: Fen,
    #[serde(default)]
    pub brands: BTreeMap<Id, RawBrandLimits>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawBrandLimits {
    pub pair_limit_fen: Fen,
    pub total_limit_fen: Fen,
}

/// A brand, in a constitution and in its introduction.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawBrand {
    #[serde(deserialize_with = "name_part")]
    pub name_zh: String,
    #[serde(deserialize_with = "name_part")]
    pub name_en: String,
    pub libp2p_address: Address,
    pub https_address: Address,
    pub point_value_micro_fen: Ratio,
    #[serde(with = "RawKeys")]
    pub keys: BrandKeys,
}

#[derive(Deserialize, Serialize)]
#[serde(remote = "BrandKeys", deny_unknown_fields)]
struct RawKeys {
    #[serde(with = "ed25519")]
    log: PublicKey,
    #[serde(with = "ed25519")]
    vote: PublicKey,
    #[serde(with = "ed25519")]
    checkpoint: PublicKey,
    #[serde(with = "ed25519")]
    witness: PublicKey,
    #[serde(with = "ed25519")]
    governance: PublicKey,
    #[serde(with = "ed25519")]
    network: PublicKey,
    #[serde(with = "x25519")]
    sealing: SealingKey,
    #[serde(with = "x25519")]
    recovery: SealingKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAuditor {
    pub name: Id,
    #[serde(default, deserialize_with = "access")]
    pub access: Access,
    #[serde(with = "x25519")]
    pub sealing: SealingKey,
    #[serde(default)]
    pub later: Vec<RawAuditorKey>,
}

/// An auditor's key from the beginning of a day on, in the zone of clearing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAuditorKey {
    #[serde(deserialize_with = "date")]
    pub from: Date,
    #[serde(with = "x25519")]
    pub sealing: SealingKey,
}

/// The dataset contract without its participants, who are the alliance's brands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCleanRoom {
    pub dataset: String,
    pub purposes: Vec<String>,
    pub minimum_participants: u8,
    #[serde(default = "default_profile")]
    pub profile: String,
    pub members_at_most: u64,
    #[serde(default = "default_retention", deserialize_with = "retention")]
    pub retention_years: u8,
    pub tables: Vec<RawTable>,
    #[serde(default)]
    pub public_tables: Vec<RawPublicTable>,
}

/// An amount written in whole fen, more than none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fen(pub Value);

impl<'de> Deserialize<'de> for Fen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fen = u64::deserialize(deserializer)?;
        fen.checked_mul(MICRO_FEN)
            .and_then(|micro_fen| Value::new(micro_fen).ok())
            .filter(|value| !value.is_zero())
            .map(Self)
            .ok_or_else(|| {
                let most = Value::MAX.get() / MICRO_FEN;
                D::Error::custom(format!("an amount here is 1 to {most} fen"))
            })
    }
}

fn epoch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Epoch, D::Error> {
    match u32::deserialize(deserializer)? {
        0 => {
            Err(D::Error::custom("an alliance's first constitution has epoch 1, the next epoch 2"))
        }
        number => Ok(Epoch::new(number)),
    }
}

fn constitution_hash<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ConstitutionHash>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    let bytes: Option<Vec<u8>> = digits.collect();
    bytes
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .map(|bytes| Some(ConstitutionHash::from_bytes(bytes)))
        .ok_or_else(|| {
            D::Error::custom(
                "the hash of the constitution before, 64 hexadecimal digits, as `coalition \
                 constitution check` shows it",
            )
        })
}

fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let instant: Option<jiff::Timestamp> = text.parse().ok();
    instant
        .and_then(|instant| u64::try_from(instant.as_millisecond()).ok())
        .map(|ms| Some(Timestamp::from_unix_ms(ms)))
        .ok_or_else(|| {
            D::Error::custom("a time with its offset, such as \"2027-01-01T00:00:00+08:00\"")
        })
}

fn notice<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Milliseconds>, D::Error> {
    match u64::deserialize(deserializer)? {
        days @ 0..=NOTICE_MAX_DAYS => Ok(Some(Milliseconds::from_seconds(days * 86_400))),
        _ => Err(D::Error::custom(format!("a notice is 0 to {NOTICE_MAX_DAYS} days"))),
    }
}

fn micro_fen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Value::new(u64::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeZone, D::Error> {
    let name = String::deserialize(deserializer)?;
    TimeZone::get(&name).ok().filter(|zone| zone.iana_name() == Some(name.as_str())).ok_or_else(
        || D::Error::custom("no zone of the IANA database; write one such as \"Asia/Shanghai\""),
    )
}

fn period<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Period>, D::Error> {
    let name = String::deserialize(deserializer)?;
    let known = Period::ALL.into_iter().find(|period| period.name() == name);
    known.map(Some).ok_or_else(|| {
        D::Error::custom(
            "cut-offs are \"daily\", \"weekly\" (Mondays) or \"monthly\" (the first day)",
        )
    })
}

fn time_of_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
    let text = String::deserialize(deserializer)?;
    // the one form: jiff would take others too
    let time = Time::strptime("%H:%M", &text).ok();
    let exact = time.filter(|time| time.strftime("%H:%M").to_string() == text);
    exact
        .map(Some)
        .ok_or_else(|| D::Error::custom("a time of the day is written \"00:00\" to \"23:59\""))
}

fn return_window<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Milliseconds, D::Error> {
    match u64::deserialize(deserializer)? {
        hours @ 1..=RETURN_WINDOW_MAX_HOURS => Ok(Milliseconds::from_seconds(hours * 3_600)),
        _ => Err(D::Error::custom(format!(
            "a return window is 1 to {RETURN_WINDOW_MAX_HOURS} hours"
        ))),
    }
}

const fn default_payload_retention() -> u16 {
    PAYLOAD_RETENTION_DEFAULT_MONTHS
}

fn payload_retention<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    match u16::deserialize(deserializer)? {
        months @ 1..=PAYLOAD_RETENTION_MAX_MONTHS => Ok(months),
        _ => Err(D::Error::custom(format!(
            "sealed payloads stay readable for 1 to {PAYLOAD_RETENTION_MAX_MONTHS} months"
        ))),
    }
}

fn cipher<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cipher, D::Error> {
    let name = String::deserialize(deserializer)?;
    Cipher::from_name(&name).ok_or_else(|| {
        let known = Cipher::ALL.map(|cipher| format!("{:?}", cipher.name())).join(" or ");
        D::Error::custom(format!("entries are sealed with {known}"))
    })
}

fn access<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Access, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "standing" => Ok(Access::Standing),
        "on_request" => Ok(Access::OnRequest),
        _ => Err(D::Error::custom(
            "an auditor's access is \"standing\" (every block) or \"on_request\" (what a brand discloses)",
        )),
    }
}

fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
    let text = String::deserialize(deserializer)?;
    // the one form: jiff would take others too
    text.parse().ok().filter(|date: &Date| date.to_string() == text).ok_or_else(|| {
        D::Error::custom("a day is written \"2027-01-01\"; the key counts from its beginning")
    })
}

/// The one that protects most: whoever wants more answers says so.
fn default_profile() -> String {
    BudgetProfile::Large.name().to_owned()
}

const fn default_retention() -> u8 {
    RETENTION_DEFAULT_YEARS
}

fn retention<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    match u8::deserialize(deserializer)? {
        years @ 1..=RETENTION_MAX_YEARS => Ok(years),
        _ => Err(D::Error::custom(format!("retention is 1 to {RETENTION_MAX_YEARS} years"))),
    }
}
