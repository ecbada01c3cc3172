//! From the brands' introductions and the alliance's settings to the text of a constitution.
//!
//! The settings are the constitution without its brands: their text, comments and all, becomes the
//! beginning of the constitution, and the brands are written behind it. Whoever signs reads what the
//! drafter wrote. Does not decide anything but rates that the settings leave out, which then follow
//! from the value of the points.

use std::collections::BTreeMap;

use protocol::amount::Rate;
use protocol::ids::BrandId;
use serde::Serialize;

use crate::constitution::Constitution;
use crate::document::{Document, FileError, Source};
use crate::introduction::Introduction;
use crate::raw::{Rates, RawBrand, RawSettings};
use crate::text::{Id, Ratio};

/// Settings to begin with: any number of brands, no clean room, every key explained.
pub const SETTINGS_TEMPLATE: &str = include_str!("../templates/alliance.toml");

pub(crate) const HEADER: &str = "\
# Constitution of an alliance. Its very bytes are hashed and signed: a change of any character asks
# every brand to sign again.
# 联盟章程。章程按原文字节计算哈希并由各品牌签名；改动任何一个字符，所有品牌都须重新签名。

";

pub(crate) const BRANDS_HEADER: &str = "
# The brands, as they introduced themselves. Each should find its own keys here before it signs.
# 各品牌（按其自我介绍）。签名前请核对自己的公钥。

";

const RATES_HEADER: &str = "
# Points of the brand on the left for one point of the brand in brackets, from the values of the
# points, so that going round in a circle gains nothing.
# 兑换比率：方括号内品牌的一个积分可换左侧品牌的积分数，由积分价值推算，循环兑换不会获利。

";

/// Settings of an alliance that have been read.
#[derive(Clone, Debug)]
pub struct Settings {
    text: String,
    alliance: BrandId,
    has_rates: bool,
}

impl Settings {
    /// Reads a settings file.
    ///
    /// # Errors
    /// Where it is not of its form. What spans several keys is checked in the draft.
    pub fn parse(bytes: &[u8]) -> Result<Self, FileError> {
        let source = Source::new(Document::Settings, bytes)?;
        let raw: RawSettings = source.read()?;
        Ok(Self {
            text: source.text().to_owned(),
            alliance: raw.alliance.id.0,
            has_rates: raw.rates.is_some(),
        })
    }
    /// The alliance's id.
    #[must_use]
    pub const fn alliance(&self) -> BrandId {
        self.alliance
    }
}

/// Why no constitution came of introductions and settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// One brand twice.
    #[error("there are two introductions of brand {brand}; keep the one it sent last")]
    Twice {
        /// The brand.
        brand: BrandId,
    },
    /// The exact ratio has no room in a rate.
    #[error(
        "the values of the points of {from} and {to} have a ratio that no rate can hold; write \
         [rates] into the settings, or agree on rounder values"
    )]
    Ratio {
        /// From.
        from: BrandId,
        /// To.
        to: BrandId,
    },
    /// The draft breaks a rule; the place is that in the draft.
    #[error("the draft would not be accepted: {0}")]
    Refused(#[from] FileError),
}

#[derive(Serialize)]
struct Brands {
    brands: BTreeMap<Id, RawBrand>,
}

#[derive(Serialize)]
struct RatesSection {
    rates: Rates,
}

/// Writes the text of a constitution, which every brand then checks and signs. The same
/// introductions, in any order, and settings give the same text.
///
/// # Errors
/// When a brand is there twice or the result breaks a rule of constitutions.
pub fn draft(introductions: &[Introduction], settings: &Settings) -> Result<String, DraftError> {
    let mut brands = BTreeMap::new();
    for introduction in introductions {
        if brands.insert(Id(introduction.id()), introduction.to_raw()).is_some() {
            return Err(DraftError::Twice { brand: introduction.id() });
        }
    }
    let rates = if settings.has_rates { None } else { Some(rates_of_values(&brands)?) };
    write_draft(brands, settings, rates)
}

/// The text of a constitution of these brands after one of others: between brands whose points are worth
/// what they were, rates stay as that one has them, also where somebody changed them by hand.
pub(crate) fn write_next(
    brands: BTreeMap<Id, RawBrand>,
    settings: &Settings,
    before: &BTreeMap<Id, RawBrand>,
    rates_before: &Rates,
) -> Result<String, DraftError> {
    if settings.has_rates {
        return write_draft(brands, settings, None);
    }
    let value = |raw: &RawBrand| raw.point_value_micro_fen.0;
    let stays = |id: &Id| brands.get(id).map(value) == before.get(id).map(value);
    let mut rates = rates_of_values(&brands)?;
    for (from, row) in rates.iter_mut().filter(|(from, _)| stays(from)) {
        let as_before = |to: &Id| rates_before.get(from).and_then(|row| row.get(to)).cloned();
        row.retain(|to, rate| {
            if !stays(to) {
                return true;
            }
            as_before(to).is_some_and(|known| {
                *rate = known;
                true
            })
        });
    }
    write_draft(brands, settings, Some(rates))
}

fn write_draft(
    brands: BTreeMap<Id, RawBrand>,
    settings: &Settings,
    rates: Option<Rates>,
) -> Result<String, DraftError> {
    let mut text = [HEADER, &settings.text, "\n", BRANDS_HEADER].concat();
    // strings and numbers in tables: nothing here that TOML could not say
    text.push_str(&toml::to_string(&Brands { brands }).unwrap_or_default());
    if let Some(rates) = rates {
        text.push_str(RATES_HEADER);
        text.push_str(&toml::to_string(&RatesSection { rates }).unwrap_or_default());
    }
    Constitution::parse(text.as_bytes())?;
    Ok(text)
}

/// Points of `to` for one of `from`: the value of one by the value of the other, in lowest terms.
fn rates_of_values(brands: &BTreeMap<Id, RawBrand>) -> Result<Rates, DraftError> {
    let row = |from: &Id, raw: &RawBrand| -> Result<BTreeMap<Id, Ratio>, DraftError> {
        let value = raw.point_value_micro_fen.0;
        let others = brands.iter().filter(|(to, _)| *to != from);
        others
            .map(|(to, other)| {
                let rate = quotient(value, other.point_value_micro_fen.0)
                    .ok_or(DraftError::Ratio { from: from.0, to: to.0 })?;
                Ok((*to, Ratio(rate)))
            })
            .collect()
    };
    brands.iter().map(|(from, raw)| Ok((*from, row(from, raw)?))).collect()
}

fn quotient(value: Rate, by: Rate) -> Option<Rate> {
    // each factor is below 2^32
    let above = u64::from(value.numerator()) * u64::from(by.denominator());
    let below = u64::from(value.denominator()) * u64::from(by.numerator());
    let divisor = greatest_common_divisor(above, below);
    let part = |number: u64| u32::try_from(number / divisor).ok();
    Rate::new(part(above)?, part(below)?).ok()
}

/// Euclid's; of two positive numbers.
const fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{constitution, introductions};

    fn refused(introductions: &[Introduction], settings: &str) -> String {
        let settings = Settings::parse(settings.as_bytes()).unwrap();
        draft(introductions, &settings).unwrap_err().to_string()
    }

    #[test]
    fn a_draft_keeps_the_settings_words_and_the_introductions_order_does_not_matter() {
        let text = constitution(3);
        assert!(text.contains(SETTINGS_TEMPLATE));
        let mut reversed = introductions(3);
        reversed.reverse();
        let settings = Settings::parse(SETTINGS_TEMPLATE.as_bytes()).unwrap();
        assert_eq!(draft(&reversed, &settings).unwrap(), text);
    }

    #[test]
    fn rates_follow_from_values_unless_they_are_written() {
        let id = |text| BrandId::new(text).unwrap();
        // a point of c is worth 3 fen, one of b 2 fen
        let ledger = Constitution::parse(constitution(3).as_bytes()).unwrap().ledger().clone();
        assert_eq!(ledger.rate(id("c"), id("b")), Rate::new(3, 2).ok());
        let settings = format!("{SETTINGS_TEMPLATE}\n[rates.a]\nb = \"1/2\"\n");
        let settings = Settings::parse(settings.as_bytes()).unwrap();
        let text = draft(&introductions(3), &settings).unwrap();
        let ledger = Constitution::parse(text.as_bytes()).unwrap().ledger().clone();
        assert_eq!(ledger.rate(id("a"), id("b")), Rate::new(1, 2).ok());
        assert_eq!(ledger.rate(id("c"), id("b")), None);
    }

    #[test]
    fn what_cannot_be_drafted_is_said() {
        let twice = [introductions(2), introductions(1)].concat();
        assert!(refused(&twice, SETTINGS_TEMPLATE).contains("two introductions of brand a"));
        let alone = refused(&introductions(1), SETTINGS_TEMPLATE);
        assert!(alone.contains("1 brands; an alliance has 2 to 21"), "{alone}");
        let joint = refused(&introductions(2), crate::sample_alliance::SETTINGS);
        assert!(joint.contains("remove [clean_room] or bring in another brand"), "{joint}");

        let odd = |brand: usize, value| {
            let given = &introductions(2)[brand];
            Introduction::new(given.id(), given.profile().clone(), value, given.keys().clone())
        };
        let primes = [
            odd(0, Rate::new(4_294_967_291, 4_294_967_279).unwrap()),
            odd(1, Rate::new(4_294_967_231, 4_294_967_197).unwrap()),
        ];
        assert!(refused(&primes, SETTINGS_TEMPLATE).contains("points of a and b have a ratio"));

        let brands = Settings::parse(constitution(2).as_bytes()).unwrap_err().to_string();
        assert!(brands.contains("unknown field `brands`"), "{brands}");
    }
}
