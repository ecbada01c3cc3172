//! What changes from one constitution to the next, in the words of people: Chinese and English, with what it was
//! and what it becomes.
//!
//! Which changes there are, and whom they touch, is found elsewhere (`succession`); here nothing is decided. Figures
//! are told exactly: no float stands between the file and who reads it.

use std::collections::BTreeSet;
use std::fmt;

use privacy::contract::{BrandBound, Column, Contract, Domain, PublicTable, Table, TextValue};
use privacy::{ParticipantId, PicoRho};
use protocol::amount::Value;
use protocol::constitution::{Access, Auditor};
use protocol::epochs::Change;
use protocol::time::Milliseconds;

use crate::constitution::{BrandProfile, CleanRoom, Constitution};

const DAY_MS: u64 = 86_400_000;
const HOUR_MS: u64 = 3_600_000;
/// Most names that one sentence lists.
const NAMED_MAX: usize = 12;

/// A sentence in both languages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentence {
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

impl Sentence {
    pub(crate) fn new(zh: impl Into<String>, en: impl Into<String>) -> Self {
        Self { zh: zh.into(), en: en.into() }
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}", self.en, self.zh)
    }
}

/// What a change is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Who is in the alliance, who is frozen, what is written off.
    Brands,
    /// Keys.
    Keys,
    /// Rates of exchange, and what a point is worth.
    Rates,
    /// How much a brand may owe.
    Limits,
    /// The privacy budget.
    Budget,
    /// The contract of the clean room.
    Contract,
    /// When members are told, and until when an exchange may be returned.
    Notice,
    /// Who may open sealed entries, and for how long they can be opened.
    Auditors,
    /// Names, addresses, the calendar of clearing.
    Names,
    /// How the logs are written.
    Ledger,
}

impl Topic {
    /// Every topic, in the order in which they are told.
    pub const ALL: [Self; 10] = [
        Self::Brands,
        Self::Keys,
        Self::Rates,
        Self::Limits,
        Self::Budget,
        Self::Contract,
        Self::Notice,
        Self::Auditors,
        Self::Names,
        Self::Ledger,
    ];

    /// Its name for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brands => "brands",
            Self::Keys => "keys",
            Self::Rates => "rates",
            Self::Limits => "limits",
            Self::Budget => "budget",
            Self::Contract => "contract",
            Self::Notice => "notice",
            Self::Auditors => "auditors",
            Self::Names => "names",
            Self::Ledger => "ledger",
        }
    }
}

/// One change, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Of what.
    pub topic: Topic,
    /// The change.
    pub words: Sentence,
}

impl Line {
    pub(crate) fn new(topic: Topic, zh: impl Into<String>, en: impl Into<String>) -> Self {
        Self { topic, words: Sentence::new(zh, en) }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.words.fmt(f)
    }
}

/// A change that the ledger sees.
pub(crate) fn change(change: &Change, present: &Constitution, next: &Constitution) -> Vec<Line> {
    match change {
        Change::Key { .. }
        | Change::Freeze(_)
        | Change::WrittenOff(_)
        | Change::Join(_)
        | Change::Leave(_) => vec![of_brands(change, next)],
        Change::RateAdded { .. } | Change::Rate { .. } | Change::PointValue(_) => {
            vec![of_rates(change, present, next)]
        }
        Change::Auditors => auditors(present.ledger().auditors(), next.ledger().auditors()),
        // by name: a new kind of change does not compile before it has words
        Change::PairLimit { .. }
        | Change::TotalLimit { .. }
        | Change::ReturnWindow { .. }
        | Change::Notice { .. }
        | Change::Terms
        | Change::TotalStep
        | Change::PayloadSize
        | Change::ProtocolVersion { .. }
        | Change::Cipher { .. } => vec![of_rules(change, present, next)],
    }
}

fn of_brands(change: &Change, next: &Constitution) -> Line {
    match change {
        Change::Key { brand, role } => Line::new(
            Topic::Keys,
            format!("{brand}：更换 {role} 密钥"),
            format!("{brand}: new {role} key"),
        ),
        Change::Freeze(brand) => Line::new(
            Topic::Brands,
            format!("{brand}：冻结，其日志再写一个区块后关闭"),
            format!("{brand}: frozen, its log closes after one more block"),
        ),
        Change::WrittenOff(it) => {
            let (debtor, creditor, value) = (it.debtor, it.creditor, it.value.get());
            Line::new(
                Topic::Brands,
                format!("{debtor} 欠 {creditor} {value} 微分：核销，未付部分为债权方损失"),
                format!(
                    "{debtor} owed {creditor} {value} micro-fen: written off, the creditor's loss where it was \
                     not paid"
                ),
            )
        }
        Change::Join(brand) => {
            let name = next.profile(*brand).map(|profile| &profile.name);
            let (zh, en) = name.map(|name| (name.zh(), name.en())).unwrap_or_default();
            Line::new(
                Topic::Brands,
                format!("{brand}：加入联盟（{zh}）"),
                format!("{brand}: joins ({en})"),
            )
        }
        Change::Leave(brand) => Line::new(
            Topic::Brands,
            format!("{brand}：退出，其会员不再能兑换，其日志关闭"),
            format!("{brand}: leaves; its members can exchange no more and its log closes"),
        ),
        // the caller gives no other
        _ => Line::new(Topic::Brands, "品牌变更", "brands change"),
    }
}

fn of_rates(change: &Change, present: &Constitution, next: &Constitution) -> Line {
    match change {
        Change::RateAdded { from, to, rate } => Line::new(
            Topic::Rates,
            format!("{from} -> {to}：新增兑换，比率 {rate}"),
            format!("{from} -> {to}: exchange at {rate}"),
        ),
        Change::Rate { from, to, before, after: Some(after) } => Line::new(
            Topic::Rates,
            format!("{from} -> {to}：兑换比率由 {before} 改为 {after}"),
            format!("{from} -> {to}: rate {before} becomes {after}"),
        ),
        Change::Rate { from, to, before, after: None } => Line::new(
            Topic::Rates,
            format!("{from} -> {to}：停止兑换（原比率 {before}）"),
            format!("{from} -> {to}: no more exchange, rate was {before}"),
        ),
        Change::PointValue(brand) => {
            let value = |of: &Constitution| {
                of.ledger().brand(*brand).map(|it| it.point_value.to_string()).unwrap_or_default()
            };
            let (was, is) = (value(present), value(next));
            Line::new(
                Topic::Rates,
                format!("{brand}：每积分结算价值 {is} 微分，原 {was} 微分"),
                format!("{brand}: a point settles at {is} micro-fen, so far {was}"),
            )
        }
        // the caller gives no other
        _ => Line::new(Topic::Rates, "兑换变更", "exchanges change"),
    }
}

fn of_rules(change: &Change, present: &Constitution, next: &Constitution) -> Line {
    let hours = |time: &Milliseconds| time.get() / HOUR_MS;
    let days = |time: &Milliseconds| time.get() / DAY_MS;
    // micro-fen in a fen
    let fen = |value: &Value| value.get() / 1_000_000;
    let (before, after) = (present.ledger(), next.ledger());
    match change {
        Change::PairLimit { brand, before, after } => {
            let (was, is) = (fen(before), fen(after));
            Line::new(
                Topic::Limits,
                format!("{brand}：对单一品牌欠款上限 {is} 分，原 {was} 分"),
                format!("{brand}: may owe one brand {is} fen, so far {was}"),
            )
        }
        Change::TotalLimit { brand, before, after } => {
            let (was, is) = (fen(before), fen(after));
            Line::new(
                Topic::Limits,
                format!("{brand}：对全体品牌欠款上限 {is} 分，原 {was} 分"),
                format!("{brand}: may owe all brands {is} fen, so far {was}"),
            )
        }
        Change::ReturnWindow { before, after } => {
            let (was, is) = (hours(before), hours(after));
            Line::new(
                Topic::Notice,
                format!("兑换退回时限 {is} 小时，原 {was} 小时"),
                format!("an exchange may be returned for {is} hours, so far {was}"),
            )
        }
        Change::Notice { before, after } => {
            let (was, is) = (days(before), days(after));
            Line::new(
                Topic::Notice,
                format!("提前告知会员 {is} 日，原 {was} 日"),
                format!("members are told {is} days before, so far {was}"),
            )
        }
        Change::Terms => Line::new(
            Topic::Contract,
            "数据合约变更：会员数据的使用方式",
            "the clean room's contract changes: what is asked of members' data",
        ),
        Change::TotalStep => {
            let (was, is) = (fen(&before.total_step()), fen(&after.total_step()));
            Line::new(
                Topic::Ledger,
                format!("公开累计金额步长 {is} 分，原 {was} 分"),
                format!("public totals go in steps of {is} fen, so far {was}"),
            )
        }
        Change::PayloadSize => {
            let (was, is) = (before.payload_size(), after.payload_size());
            Line::new(
                Topic::Ledger,
                format!("密文载荷 {is} 字节，原 {was} 字节"),
                format!("sealed payloads have {is} bytes, so far {was}"),
            )
        }
        Change::ProtocolVersion { before, after } => Line::new(
            Topic::Ledger,
            format!("区块协议版本 {after}，原 {before}：请先升级节点"),
            format!("blocks of protocol version {after}, so far {before}: update the nodes first"),
        ),
        Change::Cipher { before, after } => Line::new(
            Topic::Ledger,
            format!("密文算法改为 {}，原为 {}", after.name(), before.name()),
            format!("entries are sealed with {}, so far {}", after.name(), before.name()),
        ),
        // the caller gives no other
        _ => Line::new(Topic::Ledger, "规则变更", "rules change"),
    }
}

const fn access(auditor: &Auditor) -> (&'static str, &'static str) {
    match auditor.access {
        Access::Standing => ("常任，可解密全部区块", "standing: opens every block"),
        Access::OnRequest => {
            ("按需，仅可解密向其披露的区块", "on request: opens what is disclosed to it")
        }
    }
}

fn auditors(before: &[Auditor], after: &[Auditor]) -> Vec<Line> {
    let mut lines = Vec::new();
    for auditor in after {
        let name = &auditor.name;
        let (zh, en) = access(auditor);
        match before.iter().find(|it| it.name == *name) {
            None => lines.push(Line::new(
                Topic::Auditors,
                format!("新增审计方 {name}（{zh}）"),
                format!("{name} becomes an auditor ({en})"),
            )),
            Some(was) if was.access != auditor.access => lines.push(Line::new(
                Topic::Auditors,
                format!("审计方 {name} 改为{zh}"),
                format!("the auditor {name} becomes {en}"),
            )),
            Some(was) if was != auditor => lines.push(Line::new(
                Topic::Auditors,
                format!("审计方 {name} 更换密钥"),
                format!("the auditor {name} has other keys"),
            )),
            Some(_) => {}
        }
    }
    for was in before.iter().filter(|was| !after.iter().any(|it| it.name == was.name)) {
        lines.push(Line::new(
            Topic::Auditors,
            format!("{} 不再是审计方", was.name),
            format!("{} is no auditor any more", was.name),
        ));
    }
    if lines.is_empty() {
        // the same ones in another order: nothing that anybody notices, and told all the same
        lines.push(Line::new(
            Topic::Auditors,
            "审计方次序变更",
            "the auditors are listed in another order",
        ));
    }
    lines
}

/// How a brand that stays is called and reached.
pub(crate) fn profile(brand: &str, before: &BrandProfile, after: &BrandProfile) -> Vec<Line> {
    let mut lines = Vec::new();
    if before.name != after.name {
        let (was, is) = (&before.name, &after.name);
        lines.push(Line::new(
            Topic::Names,
            format!("{brand}：更名为{}，原{}", is.zh(), was.zh()),
            format!("{brand}: its name becomes {}, so far {}", is.en(), was.en()),
        ));
    }
    if before.libp2p != after.libp2p {
        let (was, is) = (&before.libp2p, &after.libp2p);
        lines.push(Line::new(
            Topic::Names,
            format!("{brand}：节点互联地址 {is}，原 {was}"),
            format!("{brand}: other nodes reach it at the address {is}, so far {was}"),
        ));
    }
    if before.https != after.https {
        let (was, is) = (&before.https, &after.https);
        lines.push(Line::new(
            Topic::Names,
            format!("{brand}：HTTPS 地址 {is}，原 {was}"),
            format!("{brand}: people and programs reach it at the address {is}, so far {was}"),
        ));
    }
    lines
}

/// What changes for joint questions: from one clean room, or none, to another, or none.
pub(crate) fn clean_room(before: Option<&CleanRoom>, after: Option<&CleanRoom>) -> Vec<Line> {
    match (before, after) {
        (None, None) => Vec::new(),
        (None, Some(after)) => {
            let contract = after.contract();
            let (dataset, profile) = (contract.dataset(), contract.profile().name());
            let year = rho(contract.profile().rho_per_year());
            vec![
                Line::new(
                    Topic::Contract,
                    format!("设立联合统计：数据集 {dataset}"),
                    format!("joint questions are asked from now on, of the dataset {dataset}"),
                ),
                Line::new(
                    Topic::Budget,
                    format!("全联盟每年隐私预算 rho {year}（档位 {profile}）"),
                    format!(
                        "the privacy budget of a year is rho {year} for all (profile {profile})"
                    ),
                ),
            ]
        }
        (Some(_), None) => {
            vec![Line::new(Topic::Contract, "取消联合统计", "joint questions are asked no more")]
        }
        (Some(before), Some(after)) => {
            let mut lines = budget(before.contract(), after.contract());
            let (was, is) = (before.retention_years(), after.retention_years());
            if was != is {
                lines.push(Line::new(
                    Topic::Contract,
                    format!("联合统计读取 {is} 年内的数据，原 {was} 年"),
                    format!("rows of {is} years are read in the clean room, so far of {was}"),
                ));
            }
            contract(before.contract(), after.contract(), &mut lines);
            lines
        }
    }
}

fn budget(before: &Contract, after: &Contract) -> Vec<Line> {
    let mut lines = Vec::new();
    let year = |of: &Contract| rho(of.profile().rho_per_year());
    if before.profile() != after.profile() {
        let (was, is) = (before.profile().name(), after.profile().name());
        lines.push(Line::new(
            Topic::Budget,
            format!(
                "全联盟每年隐私预算 rho {}（档位 {is}），原 {}（{was}）",
                year(after),
                year(before)
            ),
            format!(
                "the privacy budget of a year is rho {} for all (profile {is}), so far {} ({was})",
                year(after),
                year(before)
            ),
        ));
    }
    // they change with the number of brands, too
    let quotas = [
        ("联合查询", "joint", before.joint_quota(), after.joint_quota()),
        ("本地查询", "local", before.local_quota(), after.local_quota()),
    ];
    for (zh, en, was, is) in quotas {
        if was != is {
            let (was, is) = (rho(was), rho(is));
            lines.push(Line::new(
                Topic::Budget,
                format!("每品牌每年{zh}预算 rho {is}，原 {was}"),
                format!(
                    "each brand's budget of a year for {en} questions is rho {is}, so far {was}"
                ),
            ));
        }
    }
    let (was, is) = (before.rho_per_question(), after.rho_per_question());
    if was != is {
        let (was, is) = (rho(was), rho(is));
        lines.push(Line::new(
            Topic::Budget,
            format!("每次查询通常花费 rho {is}，原 {was}"),
            format!("a question usually costs rho {is}, so far {was}"),
        ));
    }
    lines
}

/// Who takes the sentences of a contract: Chinese, then English.
type Say<'a> = &'a mut dyn FnMut(String, String);

fn contract(before: &Contract, after: &Contract, lines: &mut Vec<Line>) {
    let mut enter = |zh: String, en: String| lines.push(Line::new(Topic::Contract, zh, en));
    let say: Say<'_> = &mut enter;
    if before.dataset() != after.dataset() {
        let (was, is) = (before.dataset(), after.dataset());
        say(format!("数据集 {is}，原 {was}"), format!("the dataset is {is}, so far {was}"));
    }
    let purposes = |of: &Contract| {
        let names = of.purposes().iter().map(|purpose| purpose.as_str().to_owned());
        names.collect::<BTreeSet<String>>()
    };
    if purposes(before) != purposes(after) {
        let (was, is) = (listed(&purposes(before)), listed(&purposes(after)));
        say(format!("用途 {is}，原 {was}"), format!("the purposes are {is}, so far {was}"));
    }
    let (was, is) = (before.minimum_participants(), after.minimum_participants());
    if was != is {
        say(
            format!("联合查询至少 {is} 个品牌参与，原 {was} 个"),
            format!("a joint question needs at least {is} brands, so far {was}"),
        );
    }
    let (was, is) = (before.members_at_most(), after.members_at_most());
    if was != is {
        say(
            format!("每品牌会员数上限 {is}，原 {was}"),
            format!("a brand has at most {is} members, so far {was}"),
        );
    }
    tables(before.tables(), after.tables(), say);
    public_tables(before.public_tables(), after.public_tables(), say);
}

fn tables(before: &[Table], after: &[Table], say: Say<'_>) {
    for table in after {
        let name = table.name();
        let Some(was) = before.iter().find(|it| it.name() == name) else {
            let names = table.columns().iter().map(|column| column.name().to_owned());
            let columns = listed(&names.collect());
            say(
                format!("新增数据表 {name}，列：{columns}"),
                format!("the table {name} is there from now on, with the columns {columns}"),
            );
            continue;
        };
        if was.owner() != table.owner() {
            let (was, is) = (was.owner(), table.owner());
            say(
                format!("数据表 {name} 的会员列为 {is}，原 {was}"),
                format!("the table {name} names its member in the column {is}, so far in {was}"),
            );
        }
        if was.rows_bound() != table.rows_bound() {
            let (was, is) = (was.rows_bound().get(), table.rows_bound().get());
            say(
                format!("数据表 {name} 每会员行数上限 {is}，原 {was}"),
                format!("a member counts in {name} with at most {is} rows, so far {was}"),
            );
        }
        own_bounds(
            [&format!("数据表 {name} 每会员行数上限"), &format!("a member's rows in {name}")],
            was.own_rows_bounds(),
            table.own_rows_bounds(),
            say,
        );
        columns(name, was.columns(), table.columns(), say);
    }
    for name in before.iter().map(Table::name) {
        if !after.iter().any(|it| it.name() == name) {
            say(format!("取消数据表 {name}"), format!("the table {name} is there no more"));
        }
    }
}

fn columns(table: &str, before: &[Column], after: &[Column], say: Say<'_>) {
    for column in after {
        let name = column.name();
        match before.iter().find(|it| it.name() == name) {
            None => say(
                format!("数据表 {table} 新增列 {name}"),
                format!("the table {table} has the column {name} from now on"),
            ),
            Some(was) if was.domain() != column.domain() => {
                domain(&format!("{table}.{name}"), was.domain(), column.domain(), say);
            }
            Some(_) => {}
        }
    }
    for name in before.iter().map(Column::name) {
        if !after.iter().any(|it| it.name() == name) {
            say(
                format!("数据表 {table} 取消列 {name}"),
                format!("the table {table} has no column {name} any more"),
            );
        }
    }
}

/// Bounds of brands' own that are others, or there no more.
fn own_bounds(of: [&str; 2], before: &[BrandBound], after: &[BrandBound], say: Say<'_>) {
    let at = |bounds: &[BrandBound], brand: ParticipantId| {
        let own = bounds.iter().find(|own| own.brand() == brand);
        own.map(|own| own.bound().get())
    };
    let words = |bound: Option<u64>| match bound {
        Some(bound) => [bound.to_string(), bound.to_string()],
        None => ["与各品牌同".to_owned(), "that of all brands".to_owned()],
    };
    let brands = before.iter().chain(after).map(BrandBound::brand);
    for brand in brands.collect::<BTreeSet<_>>() {
        let (was, is) = (at(before, brand), at(after, brand));
        if was == is {
            continue;
        }
        let ([zh, en], [was_zh, was_en], [is_zh, is_en]) = (of, words(was), words(is));
        say(
            format!("{zh}，在 {brand}：{is_zh}，原 {was_zh}"),
            format!("{en} count at {brand} up to {is_en}, so far {was_en}"),
        );
    }
}

/// A column whose domain is another.
fn domain(at: &str, before: &Domain, after: &Domain, say: Say<'_>) {
    match (before, after) {
        (Domain::Text { values: was, .. }, Domain::Text { values: is, .. }) => {
            let (was, is) = (texts(was), texts(is));
            let added: BTreeSet<String> = is.difference(&was).cloned().collect();
            let gone: BTreeSet<String> = was.difference(&is).cloned().collect();
            if !added.is_empty() {
                let names = listed(&added);
                say(
                    format!("{at} 新增取值：{names}"),
                    format!("{at} may have the values {names}, too"),
                );
            }
            if !gone.is_empty() {
                let names = listed(&gone);
                say(
                    format!("{at} 取消取值：{names}（计入 OTHER）"),
                    format!("{at} has the values {names} no more: they count as OTHER"),
                );
            }
            if added.is_empty() && gone.is_empty() {
                say(
                    format!("{at}：可持有各取值的品牌或取值次序变更"),
                    format!(
                        "{at}: which brands may hold which value changes, or the values' order"
                    ),
                );
            }
        }
        (
            Domain::Date { first: from, last: until },
            Domain::Date { first: new_from, last: new_until },
        ) => say(
            format!("{at} 日期 {new_from} 至 {new_until}，原 {from} 至 {until}"),
            format!("{at} has days from {new_from} to {new_until}, so far {from} to {until}"),
        ),
        (
            Domain::Integer { own_bounds: was_own, .. },
            Domain::Integer { own_bounds: is_own, .. },
        ) => {
            let (was, is) = (integer(before), integer(after));
            if was != is {
                say(
                    format!("{at} 数值 {}，原 {}", is.zh, was.zh),
                    format!("{at} has {}, so far {}", is.en, was.en),
                );
            }
            own_bounds(
                [&format!("{at} 每会员合计界"), &format!("a member's sums of {at}")],
                was_own.as_deref().unwrap_or_default(),
                is_own.as_deref().unwrap_or_default(),
                say,
            );
        }
        (
            Domain::Private { column: from, member_groups: was, groups_at_most: all },
            Domain::Private { column: to, member_groups: is, groups_at_most: new_all },
        ) => say(
            format!(
                "{at} 不公开取值（列 {to}）：每会员至多 {is} 组、每品牌至多 {new_all} 组，原 {was}、{all}（列 {from}）"
            ),
            format!(
                "{at} has values that are not public (of the column {to}): at most {is} groups a member and \
                 {new_all} a brand, so far {was} and {all} (of {from})"
            ),
        ),
        _ => say(format!("{at}：列的种类变更"), format!("{at} becomes a column of another kind")),
    }
}

/// What a column of whole numbers may hold.
fn integer(domain: &Domain) -> Sentence {
    let Domain::Integer { unit, minimum, maximum, bound, carriers, .. } = domain else {
        return Sentence::default();
    };
    let (told_zh, told_en) = match carriers {
        None => (String::new(), String::new()),
        Some(brands) => {
            let brands: Vec<String> = brands.iter().map(ToString::to_string).collect();
            let brands = brands.join(", ");
            (format!("，由 {brands} 提供"), format!(", told by {brands}"))
        }
    };
    let (zh, en) = match bound {
        None => ("不可求和".to_owned(), "cannot be summed".to_owned()),
        Some(bound) => {
            let bound = bound.get();
            (format!("每会员合计界 {bound}"), format!("a member's sums bounded by {bound}"))
        }
    };
    Sentence::new(
        format!("{minimum} 至 {maximum} {unit}（{zh}{told_zh}）"),
        format!("{minimum} to {maximum} {unit} ({en}{told_en})"),
    )
}

fn texts(values: &[TextValue]) -> BTreeSet<String> {
    values.iter().map(|value| value.text().to_owned()).collect()
}

fn public_tables(before: &[PublicTable], after: &[PublicTable], say: Say<'_>) {
    for table in after {
        let name = table.name();
        match before.iter().find(|it| it.name() == name) {
            None => say(
                format!("新增公开表 {name}（{} 行）", table.rows().len()),
                format!(
                    "the public table {name} is there from now on ({} rows)",
                    table.rows().len()
                ),
            ),
            Some(was) if was != table => say(
                format!(
                    "公开表 {name} 变更（{} 行，原 {} 行）",
                    table.rows().len(),
                    was.rows().len()
                ),
                format!(
                    "the public table {name} changes ({} rows, so far {})",
                    table.rows().len(),
                    was.rows().len()
                ),
            ),
            Some(_) => {}
        }
    }
    for name in before.iter().map(PublicTable::name) {
        if !after.iter().any(|it| it.name() == name) {
            say(format!("取消公开表 {name}"), format!("the public table {name} is there no more"));
        }
    }
}

/// The first of them, and how many more there are.
fn listed(names: &BTreeSet<String>) -> String {
    let more = format!("… ({})", names.len());
    let mut text: Vec<&str> = names.iter().take(NAMED_MAX).map(String::as_str).collect();
    if names.len() > NAMED_MAX {
        text.push(&more);
    }
    text.join(", ")
}

/// A cost in rho, exactly.
fn rho(cost: PicoRho) -> String {
    let (whole, rest) = (cost.get() / PicoRho::PER_RHO, cost.get() % PicoRho::PER_RHO);
    let decimals = format!("{rest:012}");
    match decimals.trim_end_matches('0') {
        "" => whole.to_string(),
        decimals => format!("{whole}.{decimals}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_told_exactly() {
        let told = |pico| rho(PicoRho::new(pico));
        assert_eq!(told(0), "0");
        assert_eq!(told(150_000_000_000), "0.15");
        assert_eq!(told(28_000_000), "0.000028");
        assert_eq!(told(2_000_000_000_001), "2.000000000001");
    }

    #[test]
    fn long_lists_are_cut_and_say_so() {
        let names = |count: usize| (0..count).map(|it| format!("{it:02}")).collect();
        assert_eq!(listed(&names(2)), "00, 01");
        assert!(listed(&names(30)).ends_with("11, … (30)"), "{}", listed(&names(30)));
    }
}
