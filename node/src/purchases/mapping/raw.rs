//! A mapping as its file has it, and the check.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use protocol::ids::BrandId;
use serde::Deserialize;

use super::problem::{FORMAT, LIST_MAX, Problem};
use super::{
    Channel, ChannelMapping, Cleaning, ConsentMapping, Decision, Department, ElectronicCard,
    GuardianColumn, LineNumber, MembersMapping, PurchasesMapping, Receivers, Refunds, attribute,
};
use crate::purchases::details::Details;
use crate::purchases::fen::{Rounding, Unit};
use crate::purchases::formats::{Encoding, TextTerms};
use crate::purchases::times::{TimeFormat, day_of};
use crate::vault::{ConsentSource, IdentifierKind, Purpose};

/// What is wrong with which field.
pub(super) struct Wrong {
    pub(super) field: String,
    pub(super) problem: Problem,
}

type Checked<T> = Result<T, Wrong>;

fn wrong<T>(field: impl Into<String>, problem: Problem) -> Checked<T> {
    Err(Wrong { field: field.into(), problem })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mapping {
    format: String,
    name: String,
    #[serde(default)]
    rules: Vec<Rule>,
    members: Option<Members>,
    purchases: Option<Purchases>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    zh: String,
    en: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    files: Vec<String>,
    delimiter: Option<String>,
    encoding: Option<String>,
    columns: BTreeMap<String, String>,
    /// Columns by kind of identifier.
    #[serde(default)]
    identifiers: BTreeMap<String, String>,
    /// Whether what differs of known members is taken over.
    #[serde(default)]
    update: bool,
    consent: Option<Consent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Consent {
    source: String,
    notice_version: u32,
    because: Option<String>,
    /// Of what an exchange tells: ids of brands, or `*` alone.
    #[serde(default)]
    receivers: Vec<String>,
    programme: Option<RawDecision>,
    exchange: Option<RawDecision>,
    joint_analytics: Option<RawDecision>,
    marketing: Option<RawDecision>,
    guardian: Option<RawGuardian>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGuardian {
    column: String,
    #[serde(default)]
    parent: Vec<String>,
    #[serde(default)]
    other: Vec<String>,
    /// For nobody, as an empty cell.
    #[serde(default)]
    none: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDecision {
    column: Option<String>,
    #[serde(default)]
    granted: Vec<String>,
    #[serde(default)]
    refused: Vec<String>,
    default: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purchases {
    files: Vec<String>,
    delimiter: Option<String>,
    encoding: Option<String>,
    time_zone: String,
    time_format: Option<String>,
    basket: String,
    line: Option<String>,
    #[serde(default)]
    line_is_place_in_basket: bool,
    member: Option<String>,
    #[serde(default)]
    identifiers: BTreeMap<String, String>,
    purchased_at: String,
    product: Option<String>,
    department: Option<String>,
    department_first_characters: Option<usize>,
    department_always: Option<String>,
    quantity: String,
    amount: String,
    currency: String,
    fen_per_unit: u32,
    #[serde(default)]
    round_half_even: bool,
    cost: Option<String>,
    coupon: Option<String>,
    electronic_card: Option<RawElectronicCard>,
    store: Option<String>,
    region: Option<String>,
    label: Option<String>,
    #[serde(default)]
    hour: bool,
    channel: Option<String>,
    channels: Option<Channels>,
    guests: Option<Guests>,
    refunds: Option<RawRefunds>,
    #[serde(default)]
    cleaning: RawCleaning,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Channels {
    column: String,
    values: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Guests {
    /// Values of the member's column that mean a guest, besides an empty cell.
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawElectronicCard {
    column: String,
    values: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRefunds {
    column: Option<String>,
    #[serde(default)]
    values: Vec<String>,
    original: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawCleaning {
    #[serde(default)]
    measured_departments: Vec<String>,
    most_pieces: Option<i64>,
    same_order_within_seconds: Option<u32>,
    earliest: Option<String>,
    latest: Option<String>,
    #[serde(default)]
    keep_under_cost: bool,
}

impl Mapping {
    pub(super) fn check(self, digest: [u8; 32]) -> Checked<super::Mapping> {
        if self.format != FORMAT {
            return wrong("format", Problem::NotFormat(self.format));
        }
        named("name", &self.name)?;
        if self.members.is_none() && self.purchases.is_none() {
            return wrong("", Problem::NoPart);
        }
        let because = self.members.as_ref().and_then(|members| members.consent.as_ref());
        let mut rules: Vec<(String, String)> =
            self.rules.into_iter().map(|rule| (rule.zh, rule.en)).collect();
        if let Some(because) = because.and_then(|consent| consent.because.clone()) {
            rules.push((because.clone(), because));
        }
        Ok(super::Mapping {
            digest,
            name: self.name,
            members: self.members.map(Members::check).transpose()?,
            purchases: self.purchases.map(Purchases::check).transpose()?,
            rules,
        })
    }
}

impl Members {
    fn check(self) -> Checked<MembersMapping> {
        let files = files("members.files", self.files)?;
        let text = text_terms("members", self.delimiter.as_deref(), self.encoding.as_deref())?;
        let (mut card, mut match_key, mut attributes) = (None, None, Vec::new());
        for (field, column) in self.columns {
            let place = format!("members.columns.{field}");
            named(&place, &column)?;
            match field.as_str() {
                "card" => card = Some(column),
                "match_key" => match_key = Some(column),
                name => match attribute(name) {
                    Some(attribute) => attributes.push((attribute, column)),
                    None => {
                        return wrong(place, Problem::NoMemberField);
                    }
                },
            }
        }
        let Some(card) = card else {
            return wrong("members.columns", Problem::NoCard);
        };
        let identifiers = identifiers("members", self.identifiers)?;
        let consent = self.consent.map(Consent::check).transpose()?;
        let update = self.update;
        Ok(MembersMapping {
            files,
            text,
            card,
            match_key,
            attributes,
            identifiers,
            update,
            consent,
        })
    }
}

impl Consent {
    fn check(self) -> Checked<ConsentMapping> {
        let source = match self.source.as_str() {
            "member" => ConsentSource::Member,
            "staff" => ConsentSource::Staff,
            "sample_rule" => ConsentSource::SampleRule,
            other => {
                return wrong("members.consent.source", Problem::NotASource(other.to_owned()));
            }
        };
        let mut decisions = Vec::new();
        for (purpose, raw) in [
            (Purpose::Programme, self.programme),
            (Purpose::Exchange, self.exchange),
            (Purpose::JointAnalytics, self.joint_analytics),
            (Purpose::Marketing, self.marketing),
        ] {
            let Some(raw) = raw else { continue };
            let field = format!("members.consent.{}", purpose.name());
            decisions.push((purpose, raw.check(&field, self.because.as_deref())?));
        }
        let named_exchange = decisions.iter().any(|(purpose, _)| *purpose == Purpose::Exchange);
        let receivers = receivers(self.receivers, named_exchange, self.because.as_deref())?;
        let guardian = self.guardian.map(RawGuardian::check).transpose()?;
        let notice_version = self.notice_version;
        Ok(ConsentMapping { source, notice_version, decisions, receivers, guardian })
    }
}

fn receivers(named: Vec<String>, has_exchange: bool, because: Option<&str>) -> Checked<Receivers> {
    let field = "members.consent.receivers";
    if named.is_empty() {
        return Ok(Receivers::Named(Vec::new()));
    }
    if !has_exchange {
        return wrong(field, Problem::ReceiversAlone);
    }
    if named == ["*"] {
        if because.is_none_or(|because| because.trim().is_empty()) {
            return wrong(field, Problem::EveryBrandUnfounded);
        }
        return Ok(Receivers::All);
    }
    let mut brands = Vec::new();
    for name in values(field, named)? {
        let Ok(brand) = BrandId::new(&name) else {
            return wrong(field, Problem::NotABrand(name));
        };
        brands.push(brand);
    }
    Ok(Receivers::Named(brands))
}

impl RawGuardian {
    fn check(self) -> Checked<GuardianColumn> {
        let field = "members.consent.guardian";
        named(field, &self.column)?;
        if self.parent.is_empty() && self.other.is_empty() {
            return wrong(field, Problem::GuardianUnsaid);
        }
        let [parent, other, none] =
            [self.parent, self.other, self.none].map(|listed| values(field, listed));
        let (parent, other, none) = (parent?, other?, none?);
        let is_twice = |value: &String| {
            let lists = [&parent, &other, &none];
            lists.iter().filter(|list| list.contains(value)).count() > 1
        };
        if parent.iter().chain(&other).any(is_twice) {
            return wrong(field, Problem::TwoMeanings);
        }
        Ok(GuardianColumn { column: self.column, parent, other, none })
    }
}

impl RawDecision {
    fn check(self, field: &str, because: Option<&str>) -> Checked<Decision> {
        let default = match self.default.as_deref() {
            None => None,
            Some("granted") => Some(true),
            Some("refused") => Some(false),
            Some(other) => {
                return wrong(field, Problem::NotADefault(other.to_owned()));
            }
        };
        if default == Some(true) && because.is_none_or(|because| because.trim().is_empty()) {
            return wrong(field, Problem::ConsentUnfounded);
        }
        match &self.column {
            Some(column) => named(field, column)?,
            None if default.is_none() => return wrong(field, Problem::NoDecision),
            None => {}
        }
        if self.column.is_some() && self.granted.is_empty() {
            return wrong(field, Problem::YesUnsaid);
        }
        let (granted, refused) = (values(field, self.granted)?, values(field, self.refused)?);
        if granted.iter().any(|value| refused.contains(value)) {
            return wrong(field, Problem::YesAndNo);
        }
        Ok(Decision { column: self.column, granted, refused, default })
    }
}

impl Purchases {
    fn check(self) -> Checked<PurchasesMapping> {
        let at = |field: &str| format!("purchases.{field}");
        let files = files("purchases.files", self.files)?;
        let text = text_terms("purchases", self.delimiter.as_deref(), self.encoding.as_deref())?;
        let Ok(zone) = TimeZone::get(&self.time_zone) else {
            return wrong(at("time_zone"), Problem::NoTimeZone);
        };
        let time_format = match self.time_format {
            None => TimeFormat::Iso,
            Some(text) => match TimeFormat::stated(&text) {
                Some(format) => format,
                None => {
                    return wrong(at("time_format"), Problem::NotATimeFormat);
                }
            },
        };
        for (field, column) in [
            ("basket", Some(&self.basket)),
            ("line", self.line.as_ref()),
            ("member", self.member.as_ref()),
            ("purchased_at", Some(&self.purchased_at)),
            ("product", self.product.as_ref()),
            ("department", self.department.as_ref()),
            ("department_always", self.department_always.as_ref()),
            ("quantity", Some(&self.quantity)),
            ("amount", Some(&self.amount)),
            ("cost", self.cost.as_ref()),
            ("coupon", self.coupon.as_ref()),
            ("store", self.store.as_ref()),
            ("region", self.region.as_ref()),
            ("label", self.label.as_ref()),
        ] {
            if let Some(column) = column {
                named(&at(field), column)?;
            }
        }
        let identifiers = identifiers("purchases", self.identifiers)?;
        if self.member.is_none() && identifiers.is_empty() {
            return wrong(at("member"), Problem::NoMember);
        }
        let line = match (self.line, self.line_is_place_in_basket) {
            (Some(column), false) => LineNumber::Column(column),
            (None, true) => LineNumber::Place,
            _ => return wrong(at("line"), Problem::NoLine),
        };
        let department = match (self.department, self.department_always) {
            (Some(name), None) => {
                let first = self.department_first_characters;
                if first.is_some_and(|first| first == 0 || first > 64) {
                    return wrong(at("department_first_characters"), Problem::DepartmentCharacters);
                }
                Department::Column { name, first }
            }
            (None, Some(name)) if name.len() <= super::super::line::DEPARTMENT_MAX => {
                Department::Always(name)
            }
            _ => return wrong(at("department"), Problem::NoDepartment),
        };
        if self.currency.len() != 3 || !self.currency.bytes().all(|byte| byte.is_ascii_uppercase())
        {
            return wrong(at("currency"), Problem::NotACurrency);
        }
        let rounding = if self.round_half_even { Rounding::HalfEven } else { Rounding::Refuse };
        let Some(unit) = Unit::new(self.fen_per_unit, rounding) else {
            return wrong(at("fen_per_unit"), Problem::NotAUnit(self.fen_per_unit));
        };
        let channel = channel(self.channel, self.channels)?;
        let guests = match self.guests {
            None => None,
            Some(guests) => Some(values(&at("guests"), guests.values)?),
        };
        let electronic_card = self.electronic_card.map(RawElectronicCard::check).transpose()?;
        let refunds = self.refunds.map(RawRefunds::check).transpose()?;
        let cleaning = self.cleaning.check()?;
        Ok(PurchasesMapping {
            files,
            text,
            zone,
            time_format,
            basket: self.basket,
            line,
            member: self.member,
            identifiers,
            purchased_at: self.purchased_at,
            product: self.product,
            department,
            quantity: self.quantity,
            amount: self.amount,
            unit,
            cost: self.cost,
            coupon: self.coupon,
            electronic_card,
            details: Details { store: self.store, region: self.region, label: self.label },
            keeps_hour: self.hour,
            channel,
            guests,
            refunds,
            cleaning,
        })
    }
}

/// Columns of `[members.identifiers]` or `[purchases.identifiers]`, by kind.
fn identifiers(
    part: &str,
    columns: BTreeMap<String, String>,
) -> Checked<Vec<(IdentifierKind, String)>> {
    let mut found = Vec::new();
    for (name, column) in columns {
        let place = format!("{part}.identifiers.{name}");
        named(&place, &column)?;
        match IdentifierKind::from_name(&name) {
            Some(IdentifierKind::Card) => {
                let field = if part == "members" { "columns.card" } else { "member" };
                return wrong(place, Problem::CardElsewhere(format!("{part}.{field}")));
            }
            Some(IdentifierKind::MatchKey) if part == "members" => {
                return wrong(place, Problem::MatchKeyElsewhere);
            }
            Some(kind) => found.push((kind, column)),
            None => return wrong(place, Problem::NotAnIdentifier),
        }
    }
    Ok(found)
}

impl RawElectronicCard {
    fn check(self) -> Checked<ElectronicCard> {
        named("purchases.electronic_card.column", &self.column)?;
        let field = "purchases.electronic_card.values";
        if self.values.is_empty() {
            return wrong(field, Problem::ElectronicCardUnsaid);
        }
        Ok(ElectronicCard { column: self.column, values: values(field, self.values)? })
    }
}

impl RawRefunds {
    fn check(self) -> Checked<Refunds> {
        let field = "purchases.refunds";
        let marked = match self.column {
            None if self.values.is_empty() => None,
            Some(column) if !self.values.is_empty() => {
                named(field, &column)?;
                Some((column, values(field, self.values)?))
            }
            _ => return wrong(field, Problem::RefundsByHalf),
        };
        if let Some(original) = &self.original {
            named("purchases.refunds.original", original)?;
        }
        Ok(Refunds { marked, original: self.original })
    }
}

impl RawCleaning {
    fn check(self) -> Checked<Cleaning> {
        let at = |field: &str| format!("purchases.cleaning.{field}");
        let day = |field: &str, text: Option<String>| match text {
            None => Ok(None),
            Some(text) => match day_of(&text) {
                Some(day) => Ok(Some(day)),
                None => wrong(at(field), Problem::NotADay),
            },
        };
        let standard = Cleaning::default();
        let most_pieces = self.most_pieces.unwrap_or(standard.most_pieces);
        if most_pieces < 1 {
            return wrong(at("most_pieces"), Problem::NoPieces);
        }
        let seconds = self.same_order_within_seconds.unwrap_or(standard.same_order_within_seconds);
        if seconds > 86_400 {
            return wrong(at("same_order_within_seconds"), Problem::TooManySeconds);
        }
        let measured = values(&at("measured_departments"), self.measured_departments)?;
        Ok(Cleaning {
            measured_departments: measured,
            most_pieces,
            same_order_within_seconds: seconds,
            earliest: day("earliest", self.earliest)?.unwrap_or(standard.earliest),
            latest: day("latest", self.latest)?,
            keep_under_cost: self.keep_under_cost,
        })
    }
}

fn channel(one: Option<String>, many: Option<Channels>) -> Checked<ChannelMapping> {
    let of = |field: &str, name: &str| match Channel::from_name(name) {
        Some(channel) => Ok(channel),
        None => wrong(field, Problem::NotAChannel(name.to_owned())),
    };
    let default = one.map(|name| of("purchases.channel", &name)).transpose()?;
    let column = match many {
        None => None,
        Some(many) => {
            named("purchases.channels.column", &many.column)?;
            if many.values.len() > LIST_MAX {
                return wrong("purchases.channels.values", Problem::TooManyValues);
            }
            let mut values = BTreeMap::new();
            for (value, name) in many.values {
                values.insert(value, of("purchases.channels.values", &name)?);
            }
            Some((many.column, values))
        }
    };
    if column.is_none() && default.is_none() {
        return wrong("purchases.channel", Problem::NoChannel);
    }
    Ok(ChannelMapping { column, default })
}

fn named(field: &str, name: &str) -> Checked<()> {
    let fits = (1..=128).contains(&name.len()) && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { wrong(field, Problem::NotAName) }
}

fn files(field: &str, names: Vec<String>) -> Checked<Vec<String>> {
    if names.is_empty() || names.len() > 16 {
        return wrong(field, Problem::NotFiles);
    }
    match names
        .iter()
        .find(|name| name.is_empty() || name.contains(['/', '\\', '\0']) || name.starts_with('.'))
    {
        Some(name) => wrong(field, Problem::NotAFileName(name.clone())),
        None => Ok(names),
    }
}

fn text_terms(part: &str, delimiter: Option<&str>, encoding: Option<&str>) -> Checked<TextTerms> {
    let delimiter = match delimiter.unwrap_or(",").as_bytes() {
        [byte @ (b',' | b';' | b'\t' | b'|')] => *byte,
        _ => return wrong(format!("{part}.delimiter"), Problem::NotADelimiter),
    };
    let Some(encoding) = encoding.map_or(Some(Encoding::Utf8), Encoding::from_name) else {
        return wrong(format!("{part}.encoding"), Problem::NotAnEncoding);
    };
    Ok(TextTerms { delimiter, encoding })
}

fn values(field: &str, values: Vec<String>) -> Checked<BTreeSet<String>> {
    if values.len() > LIST_MAX {
        return wrong(field, Problem::TooManyValues);
    }
    Ok(values.into_iter().collect())
}
