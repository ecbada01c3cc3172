//! Mappings: what the columns of a brand's files mean, stated in a file that is checked before a row is
//! read.
//!
//! Knows names, units, time zones, how refunds and guests are told, and which column says that a member
//! consents. What is not stated is not assumed: without `[members.consent]` nobody consents, without
//! `[purchases.guests]` a purchase without a member is a mistake, without `[purchases.refunds]` so is a
//! negative amount. Errors name the line and the field. `docs/import.md` describes the format.

mod problem;
mod raw;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::tz::TimeZone;
use ring::digest::{SHA256, digest};

use self::problem::Problem;

use super::details::Details;
use super::fen::Unit;
use super::formats::TextTerms;
use super::times::TimeFormat;
use protocol::ids::BrandId;

use crate::vault::{Attribute, ConsentSource, IdentifierKind, Purpose};

/// Most bytes of a mapping.
pub const MAPPING_MAX: usize = 64 * 1024;

/// Why a mapping is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingError {
    line: Option<usize>,
    field: String,
    problem: Problem,
}

impl MappingError {
    /// The same in Chinese.
    #[must_use]
    pub fn zh(&self) -> String {
        let problem = self.problem.words().0;
        match (self.line, self.field.as_str()) {
            (None, "") => problem,
            (Some(line), "") => format!("第 {line} 行：{problem}"),
            (None, field) => format!("{field}：{problem}"),
            (Some(line), field) => format!("第 {line} 行，{field}：{problem}"),
        }
    }
}

impl std::error::Error for MappingError {}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.field.as_str()) {
            (None, "") => {}
            (Some(line), "") => write!(f, "line {line}: ")?,
            (None, field) => write!(f, "{field}: ")?,
            (Some(line), field) => write!(f, "line {line}, {field}: ")?,
        }
        fmt::Display::fmt(&self.problem, f)
    }
}

/// A checked mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    pub(super) digest: [u8; 32],
    /// What it is called in reports.
    pub name: String,
    /// How a list of members is read, if it says.
    pub members: Option<MembersMapping>,
    /// How purchase lines are read, if it says.
    pub purchases: Option<PurchasesMapping>,
    /// What it assumes, in Chinese and English, for whoever reads the report.
    pub rules: Vec<(String, String)>,
}

/// How a list of members is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembersMapping {
    /// Names under which the file may lie in a folder; the first that is there counts.
    pub files: Vec<String>,
    pub(super) text: TextTerms,
    pub(super) card: String,
    pub(super) match_key: Option<String>,
    pub(super) attributes: Vec<(Attribute, String)>,
    /// Columns of whatever else members are known by.
    pub(super) identifiers: Vec<(IdentifierKind, String)>,
    /// Whether what a list says otherwise of members who are known is taken over.
    pub(super) update: bool,
    pub(super) consent: Option<ConsentMapping>,
}

/// How consent is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentMapping {
    pub(super) source: ConsentSource,
    pub(super) notice_version: u32,
    pub(super) decisions: Vec<(Purpose, Decision)>,
    /// To whom `exchange` was consented by name; none recorded where the mapping states none.
    pub(super) receivers: Receivers,
    /// Who decided for a child, if a column tells it.
    pub(super) guardian: Option<GuardianColumn>,
}

/// The column that tells who decided for a child, and what its values mean. An empty cell means nobody did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GuardianColumn {
    pub(super) column: String,
    pub(super) parent: BTreeSet<String>,
    pub(super) other: BTreeSet<String>,
    pub(super) none: BTreeSet<String>,
}

/// Brands that a consent names as receivers of the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Receivers {
    /// These.
    Named(Vec<BrandId>),
    /// Every brand that the alliance has at the time of the import.
    All,
}

impl Receivers {
    /// They, but for the brand itself: nobody receives from itself.
    pub(super) fn of(&self, own: BrandId, alliance: &[BrandId]) -> Vec<BrandId> {
        let brands = match self {
            Self::Named(brands) => brands,
            Self::All => alliance,
        };
        brands.iter().copied().filter(|brand| *brand != own).collect()
    }
}

/// How consent to one purpose is told: by a column whose values are stated, or the same for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) column: Option<String>,
    pub(super) granted: BTreeSet<String>,
    pub(super) refused: BTreeSet<String>,
    /// For a cell that is empty, or without a column; none records nothing.
    pub(super) default: Option<bool>,
}

/// How purchase lines are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurchasesMapping {
    /// Names under which the file may lie in a folder; the first that is there counts.
    pub files: Vec<String>,
    pub(super) text: TextTerms,
    pub(super) zone: TimeZone,
    pub(super) time_format: TimeFormat,
    pub(super) basket: String,
    pub(super) line: LineNumber,
    /// The column of the member's card; there are identifiers where there is none.
    pub(super) member: Option<String>,
    /// Columns of whatever else members are known by.
    pub(super) identifiers: Vec<(IdentifierKind, String)>,
    pub(super) purchased_at: String,
    /// Tells lines apart when they are compared; never kept.
    pub(super) product: Option<String>,
    pub(super) department: Department,
    pub(super) quantity: String,
    pub(super) amount: String,
    pub(super) unit: Unit,
    pub(super) cost: Option<String>,
    /// What coupons took off a line; none: no line is known to have had one.
    pub(super) coupon: Option<String>,
    pub(super) electronic_card: Option<ElectronicCard>,
    /// Columns of the store and the like.
    pub(super) details: Details<String>,
    /// Whether the hour of the day is kept, where a time is known.
    pub(super) keeps_hour: bool,
    pub(super) channel: ChannelMapping,
    pub(super) guests: Option<BTreeSet<String>>,
    pub(super) refunds: Option<Refunds>,
    pub(super) cleaning: Cleaning,
}

/// What tells the lines of a basket apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LineNumber {
    /// A column of whole numbers.
    Column(String),
    /// The line's place in its basket in this file: the first is 1.
    Place,
}

/// Where the department of a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Department {
    /// In a column, or in the first characters of one.
    Column { name: String, first: Option<usize> },
    /// The same for all lines.
    Always(String),
}

/// How a refund or cancellation is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refunds {
    /// Column and values that mark one; none: a negative amount does.
    pub(super) marked: Option<(String, BTreeSet<String>)>,
    /// Column with the number of the basket that is given back.
    pub(super) original: Option<String>,
}

/// How it is told that the member showed an electronic card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ElectronicCard {
    pub(super) column: String,
    /// Values that mean one; whatever else there is means a card of another kind.
    pub(super) values: BTreeSet<String>,
}

/// By which channel a purchase came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChannelMapping {
    pub(super) column: Option<(String, BTreeMap<String, Channel>)>,
    pub(super) default: Option<Channel>,
}

/// A channel of sale.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, minicbor::Encode, minicbor::Decode,
)]
#[cbor(index_only)]
pub enum Channel {
    /// At a till.
    #[n(0)]
    Store,
    /// In the brand's app.
    #[n(1)]
    App,
    /// In a mini-program.
    #[n(2)]
    MiniProgram,
    /// At an e-commerce platform or web shop.
    #[n(3)]
    Ecommerce,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 4] = [Self::Store, Self::App, Self::MiniProgram, Self::Ecommerce];

    /// Its name in mappings and facts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::App => "app",
            Self::MiniProgram => "mini_program",
            Self::Ecommerce => "ecommerce",
        }
    }

    /// Whether it is online.
    #[must_use]
    pub const fn is_online(self) -> bool {
        !matches!(self, Self::Store)
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }
}

/// What is dropped or adjusted besides what can never be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaning {
    /// Departments whose quantity is a volume or weight: such a line counts as one piece.
    pub measured_departments: BTreeSet<String>,
    /// Above this a quantity is taken for a volume in any department.
    pub most_pieces: i64,
    /// The same order of the same member again within so many seconds is dropped; 0 keeps it.
    pub same_order_within_seconds: u32,
    /// First possible day, in days since 1970-01-01.
    pub earliest: i32,
    /// Last possible day; without it, the day after the import.
    pub latest: Option<i32>,
    /// Whether a line sold for less than its cost is kept; it is told either way.
    pub keep_under_cost: bool,
}

impl Default for Cleaning {
    fn default() -> Self {
        Self {
            measured_departments: BTreeSet::new(),
            most_pieces: i64::MAX,
            same_order_within_seconds: 60,
            earliest: 0,
            latest: None,
            keep_under_cost: false,
        }
    }
}

impl Mapping {
    /// Reads and checks a mapping.
    ///
    /// # Errors
    /// [`MappingError`] names the line and the field, and what would be right.
    pub fn from_toml(text: &str) -> Result<Self, MappingError> {
        if text.len() > MAPPING_MAX {
            let problem = Problem::TooLong;
            return Err(MappingError { line: None, field: String::new(), problem });
        }
        let raw: raw::Mapping = toml::from_str(text).map_err(|error| MappingError {
            line: error.span().map(|span| line_at(text, span.start)),
            field: String::new(),
            problem: Problem::NotRead(error.message().to_owned()),
        })?;
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        raw.check(hash).map_err(|wrong| MappingError {
            line: line_of(text, &wrong.field),
            field: wrong.field,
            problem: wrong.problem,
        })
    }

    /// The mapping that the project ships under a name.
    #[must_use]
    pub fn shipped(name: &str) -> Option<Self> {
        let text = alliance_config::sample::mapping(name)?;
        // a test reads every shipped mapping
        Self::from_toml(text).ok()
    }
}

/// The attributes a list of members may have, by the names a mapping gives them.
fn attribute(name: &str) -> Option<Attribute> {
    Attribute::ALL.into_iter().find(|attribute| attribute.column() == name)
}

/// How an error names the column of a kind of identifier.
pub(super) const fn identifier_field(kind: IdentifierKind) -> &'static str {
    match kind {
        IdentifierKind::Phone => "identifiers.phone",
        IdentifierKind::Card => "identifiers.card",
        IdentifierKind::MatchKey => "identifiers.match_key",
        IdentifierKind::WechatOpenId => "identifiers.wechat_open_id",
        IdentifierKind::WechatUnionId => "identifiers.wechat_union_id",
        IdentifierKind::AlipayUserId => "identifiers.alipay_user_id",
        IdentifierKind::AppUserId => "identifiers.app_user_id",
        IdentifierKind::Email => "identifiers.email",
        IdentifierKind::Device => "identifiers.device",
        IdentifierKind::FaceToken => "identifiers.face_token",
        IdentifierKind::EcommerceAccount => "identifiers.ecommerce_account",
        IdentifierKind::LicencePlate => "identifiers.licence_plate",
        IdentifierKind::PaymentToken => "identifiers.payment_token",
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// The line of a dotted field: of its own `key =`, or of the nearest part above it.
fn line_of(text: &str, field: &str) -> Option<usize> {
    let (mut table, mut best): (String, Option<(usize, usize)>) = (String::new(), None);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        let place = if let Some(header) = line.strip_prefix('[') {
            table = header.trim_matches(['[', ']', ' ']).split(']').next()?.to_owned();
            table.clone()
        } else {
            let Some((key, _)) = line.split_once('=') else { continue };
            let key = key.trim();
            if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
        };
        let fits =
            field == place || field.strip_prefix(&place).is_some_and(|rest| rest.starts_with('.'));
        if fits && best.is_none_or(|(length, _)| place.len() > length) {
            best = Some((place.len(), number));
        }
    }
    best.map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "format = \"coalition import 1\"\nname = \"till\"\n[purchases]\n\
        files = [\"p.csv\"]\ntime_zone = \"Asia/Shanghai\"\nchannel = \"store\"\n\
        basket = \"receipt\"\nline = \"no\"\nmember = \"card\"\npurchased_at = \"at\"\n\
        department = \"dept\"\nquantity = \"pieces\"\namount = \"yuan\"\ncurrency = \"CNY\"\nfen_per_unit = 100\n";

    #[test]
    fn what_is_not_stated_is_not_assumed() {
        let mapping = Mapping::from_toml(LEAST).unwrap();
        assert!(mapping.members.is_none());
        let purchases = mapping.purchases.unwrap();
        assert!(purchases.guests.is_none() && purchases.refunds.is_none());
        let members =
            format!("{LEAST}[members]\nfiles = [\"m.csv\"]\n[members.columns]\ncard = \"no\"\n");
        assert!(Mapping::from_toml(&members).unwrap().members.unwrap().consent.is_none());
    }

    #[test]
    fn shipped_mappings_are_right() {
        for name in alliance_config::sample::MAPPINGS {
            let text = alliance_config::sample::mapping(name).unwrap();
            let mapping =
                Mapping::from_toml(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(mapping.name, name);
            assert!(mapping.members.is_some() && mapping.purchases.is_some());
            assert!(!mapping.rules.is_empty(), "{name} assumes something and says so");
        }
        assert!(Mapping::shipped("absent").is_none());
    }

    #[test]
    fn a_wrong_mapping_is_told_with_line_and_field() {
        let told = |from: &str, to: &str| {
            let text = LEAST.replace(from, to);
            assert_ne!(text, LEAST, "{from}");
            Mapping::from_toml(&text).unwrap_err().to_string()
        };
        for (from, to, expected) in [
            ("coalition import 1", "import 2", "line 1, format: is \"import 2\", should be"),
            (
                "Asia/Shanghai",
                "Asia/Peking",
                "line 5, purchases.time_zone: no time zone of that name",
            ),
            (
                "channel = \"store\"",
                "channel = \"shop\"",
                "line 6, purchases.channel: is \"shop\", should be one of store, app",
            ),
            ("fen_per_unit = 100", "fen_per_unit = 0", "line 15, purchases.fen_per_unit: is 0"),
            ("line = \"no\"", "lines = \"no\"", "line 8: unknown field `lines`"),
            ("quantity = \"pieces\"\n", "", "line 3: missing field `quantity`"),
            ("basket = \"receipt\"", "basket = 7", "line 7: invalid type: integer `7`"),
            ("currency = \"CNY\"", "currency = \"yuan\"", "line 14, purchases.currency"),
            (
                "currency = \"CNY\"",
                "currency = \"CNY\"\ntime_format = \"%Q\"",
                "line 15, purchases.time_format",
            ),
            (
                "[\"p.csv\"]",
                "[\"../p.csv\"]",
                "line 4, purchases.files: \"../p.csv\" is no plain file name",
            ),
        ] {
            let told = told(from, to);
            assert!(told.starts_with(expected), "{told}");
        }
        let unit = LEAST.replace("fen_per_unit = 100", "fen_per_unit = 0");
        let zh = Mapping::from_toml(&unit).unwrap_err().zh();
        let said = "第 15 行，purchases.fen_per_unit：现为 0，须为 1 至 1000000：元为 100，分为 1";
        assert_eq!(zh, said);
        let zh = Mapping::from_toml("format = 1").unwrap_err().zh();
        assert!(zh.starts_with("第 1 行：不符合映射的格式"), "{zh}");
        let told = Mapping::from_toml(&format!(
            "{LEAST}[purchases.electronic_card]\ncolumn = \"kind\"\nvalues = []\n"
        ));
        let told = told.unwrap_err().to_string();
        assert!(
            told.starts_with("line 18, purchases.electronic_card.values: say which values"),
            "{told}"
        );
        let consent = |rest: &str| {
            let text = format!(
                "{LEAST}[members]\nfiles = [\"m\"]\n[members.columns]\ncard = \"c\"\n[members.consent]\n{rest}"
            );
            Mapping::from_toml(&text).unwrap_err().to_string()
        };
        let told = consent(
            "source = \"member\"\nnotice_version = 1\nexchange = { default = \"granted\" }\n",
        );
        assert!(told.starts_with("line 23, members.consent.exchange: consent of all"), "{told}");
        let told = consent(
            "source = \"member\"\nnotice_version = 1\nselling = { default = \"granted\" }\n",
        );
        assert!(told.starts_with("line 23: unknown field `selling`"), "{told}");
        let told =
            consent("source = \"member\"\nnotice_version = 1\nexchange = { column = \"x\" }\n");
        assert!(told.starts_with("line 23, members.consent.exchange: say which values"), "{told}");
        let exchange = "exchange = { column = \"x\", granted = [\"1\"] }\n";
        let by_member = "source = \"member\"\nnotice_version = 1\n";
        let told = consent(&format!("{by_member}receivers = [\"grocer\"]\n"));
        assert!(told.contains("members.consent.receivers: names who receives"), "{told}");
        let told = consent(&format!("{by_member}{exchange}receivers = [\"*\"]\n"));
        assert!(told.contains("receivers: consent to every brand of the alliance needs"), "{told}");
        let told = consent(&format!("{by_member}{exchange}receivers = [\"*\", \"grocer\"]\n"));
        assert!(told.contains("receivers: \"*\" is no brand's id"), "{told}");
    }
}
