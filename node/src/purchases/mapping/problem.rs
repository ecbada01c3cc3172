//! What can be wrong in a mapping, in both languages.

use std::fmt;

use super::{Channel, MAPPING_MAX};
use crate::vault::IdentifierKind;

/// The format that this version reads.
pub(super) const FORMAT: &str = "coalition import 1";
/// Most names and values of any one list.
pub(super) const LIST_MAX: usize = 256;

/// What is wrong with a field, or with the mapping as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// The text has too many bytes.
    TooLong,
    /// No TOML, or not these fields, in the words of its reader.
    NotRead(String),
    /// Another format.
    NotFormat(String),
    /// Neither members nor purchases.
    NoPart,
    /// No field of a member.
    NoMemberField,
    /// Members without a card.
    NoCard,
    /// Nobody who decides on consents.
    NotASource(String),
    /// Receivers of an exchange that is not stated.
    ReceiversAlone,
    /// Consent to every brand that rests on nothing.
    EveryBrandUnfounded,
    /// No brand's id.
    NotABrand(String),
    /// Values of no guardian.
    GuardianUnsaid,
    /// A value that means two guardians.
    TwoMeanings,
    /// No default of a decision.
    NotADefault(String),
    /// Consent of all that rests on nothing.
    ConsentUnfounded,
    /// A decision without column and default.
    NoDecision,
    /// Values of no yes.
    YesUnsaid,
    /// A value that means both.
    YesAndNo,
    /// No time zone.
    NoTimeZone,
    /// No format of times.
    NotATimeFormat,
    /// Nothing that says who bought.
    NoMember,
    /// Nothing that numbers lines.
    NoLine,
    /// Too many characters of a department, or none.
    DepartmentCharacters,
    /// Nothing that says the department.
    NoDepartment,
    /// No currency.
    NotACurrency,
    /// No unit of amounts.
    NotAUnit(u32),
    /// The column of cards is named elsewhere.
    CardElsewhere(String),
    /// The column of match keys is named elsewhere.
    MatchKeyElsewhere,
    /// No kind of identifier.
    NotAnIdentifier,
    /// Values of no electronic card.
    ElectronicCardUnsaid,
    /// Refunds by half.
    RefundsByHalf,
    /// No day.
    NotADay,
    /// Fewer pieces than one.
    NoPieces,
    /// More seconds than a day has.
    TooManySeconds,
    /// No channel.
    NotAChannel(String),
    /// Nothing that says the channel.
    NoChannel,
    /// Too many values.
    TooManyValues,
    /// No name of a column.
    NotAName,
    /// No files, or too many.
    NotFiles,
    /// No name of a file.
    NotAFileName(String),
    /// Nothing that stands between cells.
    NotADelimiter,
    /// No encoding that is read.
    NotAnEncoding,
}

fn both(zh: impl Into<String>, en: impl Into<String>) -> (String, String) {
    (zh.into(), en.into())
}

impl Problem {
    /// What is wrong and what would be right, in Chinese and English.
    pub(super) fn words(&self) -> (String, String) {
        match self {
            Self::TooLong => both(
                format!("映射最多 {MAPPING_MAX} 字节"),
                format!("a mapping has at most {MAPPING_MAX} bytes"),
            ),
            Self::NotRead(message) => {
                both(format!("不符合映射的格式（读取程序的说明：{message}）"), message)
            }
            Self::NotFormat(found) => both(
                format!("现为 {found:?}，须为 {FORMAT:?}"),
                format!("is {found:?}, should be {FORMAT:?}"),
            ),
            Self::NoPart => {
                both("既没有 [members] 也没有 [purchases]", "has neither [members] nor [purchases]")
            }
            Self::NoMemberField => both(
                "不是会员的字段：须为 card、match_key 或某项属性",
                "is not a field of a member: card, match_key or an attribute",
            ),
            Self::NoCard => both(
                "缺少 card：品牌自己的会员号所在的列",
                "needs card: the column of the brand's own number of a member",
            ),
            Self::NotASource(found) => both(
                format!("现为 {found:?}，须为 member、staff 或 sample_rule"),
                format!("is {found:?}, should be member, staff or sample_rule"),
            ),
            Self::ReceiversAlone => both(
                "写明了兑换信息的接收方，因此也须写明 exchange",
                "names who receives what an exchange tells, so exchange must be stated too",
            ),
            Self::EveryBrandUnfounded => both(
                "同意联盟的所有品牌时，[members.consent] 须有 `because`：依据的文字，每份报告都会写明",
                "consent to every brand of the alliance needs `because` under [members.consent]: the \
                 words in which every report says on what it rests",
            ),
            Self::NotABrand(found) => both(
                format!("{found:?} 不是品牌的编号；单写 \"*\" 表示所有品牌"),
                format!("{found:?} is no brand's id; \"*\" alone means every brand"),
            ),
            Self::GuardianUnsaid => both(
                "须写明该列的哪些值表示由父母（parent = [\"1\"]）或其他监护人（other = [\"2\"]）决定",
                "say which values of the column mean that a parent (parent = [\"1\"]) or another guardian \
                 (other = [\"2\"]) decided",
            ),
            Self::TwoMeanings => both("一个值只能有一种含义", "a value has one meaning"),
            Self::NotADefault(found) => both(
                format!("default 现为 {found:?}，须为 granted 或 refused"),
                format!("default is {found:?}, should be granted or refused"),
            ),
            Self::ConsentUnfounded => both(
                "默认所有人同意时，[members.consent] 须有 `because`：依据的文字，每份报告都会写明",
                "consent of all by default needs `because` under [members.consent]: the words in which \
                 every report says on what it rests",
            ),
            Self::NoDecision => both("须有列或默认值", "needs a column or a default"),
            Self::YesUnsaid => both(
                "须写明该列的哪些值表示同意：granted = [\"1\"]",
                "say which values of the column mean yes: granted = [\"1\"]",
            ),
            Self::YesAndNo => {
                both("一个值不能既表示同意又表示拒绝", "a value cannot mean both yes and no")
            }
            Self::NoTimeZone => both(
                "没有此名称的时区，例如 Asia/Shanghai",
                "no time zone of that name, such as Asia/Shanghai",
            ),
            Self::NotATimeFormat => both(
                "不能得出日期；可用 %Y、%m、%d、%H、%M、%S 及其间的字符，例如 %d/%m/%Y %H:%M",
                "gives no day; %Y, %m, %d, %H, %M, %S and what stands between them, as in \
                 %d/%m/%Y %H:%M",
            ),
            Self::NoMember => both(
                "须写明会员卡所在的列，或在 [purchases.identifiers] 中写明识别会员的列",
                "name the column of the member's card, or columns by which members are known under \
                 [purchases.identifiers]",
            ),
            Self::NoLine => both(
                "须写明行号所在的列，或写 line_is_place_in_basket = true",
                "name the column of the line's number, or else say line_is_place_in_basket = true",
            ),
            Self::DepartmentCharacters => both("须为 1 至 64", "is 1 to 64"),
            Self::NoDepartment => both(
                "须写明部门所在的列，或写 department_always = \"NAME\"",
                "name the column of the department, or else say department_always = \"NAME\"",
            ),
            Self::NotACurrency => both(
                "须为三个大写字母（ISO 4217），例如 CNY",
                "is three capital letters (ISO 4217), such as CNY",
            ),
            Self::NotAUnit(found) => both(
                format!("现为 {found}，须为 1 至 1000000：元为 100，分为 1"),
                format!("is {found}, should be 1 to 1000000: 100 for yuan, 1 for fen"),
            ),
            Self::CardElsewhere(field) => both(
                format!("卡号所在的列写在 {field}"),
                format!("the column of cards is named as {field}"),
            ),
            Self::MatchKeyElsewhere => both(
                "匹配键所在的列写在 members.columns.match_key",
                "the column of match keys is named as members.columns.match_key",
            ),
            Self::NotAnIdentifier => {
                let kinds: Vec<&str> = IdentifierKind::ALL
                    .into_iter()
                    .filter(|kind| *kind != IdentifierKind::Card)
                    .map(IdentifierKind::name)
                    .collect();
                let kinds = kinds.join(", ");
                both(
                    format!("不是标识的种类：须为以下之一：{kinds}"),
                    format!("is no kind of identifier: one of {kinds}"),
                )
            }
            Self::ElectronicCardUnsaid => both(
                "须写明该列的哪些值表示电子卡：values = [\"app\"]",
                "say which values of the column mean an electronic card: values = [\"app\"]",
            ),
            Self::RefundsByHalf => both(
                "column 与 values 须同时写；都不写时，负的金额表示退货",
                "column and values belong together; with neither, a negative amount tells a refund",
            ),
            Self::NotADay => both(
                "不是 1970 至 2199 年的日期，例如 2017-03-31",
                "is not a day from 1970 to 2199, as in 2017-03-31",
            ),
            Self::NoPieces => both("至少为 1", "is at least 1"),
            Self::TooManySeconds => both("最多为 86400", "is at most 86400"),
            Self::NotAChannel(found) => {
                let names = Channel::ALL.map(Channel::name).join(", ");
                both(
                    format!("现为 {found:?}，须为以下之一：{names}"),
                    format!("is {found:?}, should be one of {names}"),
                )
            }
            Self::NoChannel => both(
                "须写明渠道：channel = \"store\"，或 [purchases.channels]",
                "say by which channel: channel = \"store\", or [purchases.channels]",
            ),
            Self::TooManyValues => {
                both(format!("超过 {LIST_MAX} 个值"), format!("has more than {LIST_MAX} values"))
            }
            Self::NotAName => both(
                "名称为 1 至 128 字节，不含控制字符",
                "a name has 1 to 128 bytes and no control characters",
            ),
            Self::NotFiles => both(
                "须写 1 至 16 个文件，以其中第一个存在的为准",
                "names 1 to 16 files, of which the first that is there counts",
            ),
            Self::NotAFileName(found) => both(
                format!("{found:?} 不是单纯的文件名"),
                format!("{found:?} is no plain file name"),
            ),
            Self::NotADelimiter => both("须为 , ; | 或制表符", "is one of , ; | or a tab"),
            Self::NotAnEncoding => {
                both("须为 utf-8、gb18030 或 gbk", "is one of utf-8, gb18030 or gbk")
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes after one; whoever adds a kind puts it into the row.
    fn next(problem: &Problem) -> Option<Problem> {
        let found = || "found".to_owned();
        Some(match problem {
            Problem::TooLong => Problem::NotRead(found()),
            Problem::NotRead(_) => Problem::NotFormat(found()),
            Problem::NotFormat(_) => Problem::NoPart,
            Problem::NoPart => Problem::NoMemberField,
            Problem::NoMemberField => Problem::NoCard,
            Problem::NoCard => Problem::NotASource(found()),
            Problem::NotASource(_) => Problem::ReceiversAlone,
            Problem::ReceiversAlone => Problem::EveryBrandUnfounded,
            Problem::EveryBrandUnfounded => Problem::NotABrand(found()),
            Problem::NotABrand(_) => Problem::GuardianUnsaid,
            Problem::GuardianUnsaid => Problem::TwoMeanings,
            Problem::TwoMeanings => Problem::NotADefault(found()),
            Problem::NotADefault(_) => Problem::ConsentUnfounded,
            Problem::ConsentUnfounded => Problem::NoDecision,
            Problem::NoDecision => Problem::YesUnsaid,
            Problem::YesUnsaid => Problem::YesAndNo,
            Problem::YesAndNo => Problem::NoTimeZone,
            Problem::NoTimeZone => Problem::NotATimeFormat,
            Problem::NotATimeFormat => Problem::NoMember,
            Problem::NoMember => Problem::NoLine,
            Problem::NoLine => Problem::DepartmentCharacters,
            Problem::DepartmentCharacters => Problem::NoDepartment,
            Problem::NoDepartment => Problem::NotACurrency,
            Problem::NotACurrency => Problem::NotAUnit(4_711),
            Problem::NotAUnit(_) => Problem::CardElsewhere(found()),
            Problem::CardElsewhere(_) => Problem::MatchKeyElsewhere,
            Problem::MatchKeyElsewhere => Problem::NotAnIdentifier,
            Problem::NotAnIdentifier => Problem::ElectronicCardUnsaid,
            Problem::ElectronicCardUnsaid => Problem::RefundsByHalf,
            Problem::RefundsByHalf => Problem::NotADay,
            Problem::NotADay => Problem::NoPieces,
            Problem::NoPieces => Problem::TooManySeconds,
            Problem::TooManySeconds => Problem::NotAChannel(found()),
            Problem::NotAChannel(_) => Problem::NoChannel,
            Problem::NoChannel => Problem::TooManyValues,
            Problem::TooManyValues => Problem::NotAName,
            Problem::NotAName => Problem::NotFiles,
            Problem::NotFiles => Problem::NotAFileName(found()),
            Problem::NotAFileName(_) => Problem::NotADelimiter,
            Problem::NotADelimiter => Problem::NotAnEncoding,
            Problem::NotAnEncoding => return None,
        })
    }

    #[test]
    fn each_problem_is_told_in_both_languages_with_what_was_found() {
        let is_chinese = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
        let mut told = std::collections::BTreeSet::new();
        for problem in std::iter::successors(Some(Problem::TooLong), next) {
            let (zh, en) = problem.words();
            assert!(zh.contains(is_chinese) && en.is_ascii() && !en.is_empty(), "{zh} / {en}");
            for named in ["found", "4711", "[members", "[purchases", "granted", "because"] {
                assert_eq!(zh.contains(named), en.contains(named), "{zh} / {en}: {named}");
            }
            assert_eq!(problem.to_string(), en);
            assert!(told.insert(zh.clone()), "{zh}: of two problems");
        }
        assert_eq!(told.len(), 41, "as many as there are kinds");
    }
}
