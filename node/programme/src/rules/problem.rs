//! What can be wrong with a field of the rules, in both languages.

use std::fmt;

use super::reading::{FILE_MAX, TEXT_MAX};
use super::{CHANNELS, FORMAT, Words};
use crate::ids::NAME_MAX;

fn both(zh: impl Into<String>, en: impl Into<String>) -> Words {
    Words { zh: zh.into(), en: en.into() }
}

/// What rules name once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once {
    /// A department, in whatever letters.
    Department,
    /// An activity.
    Activity,
    /// A tier.
    Tier,
    /// A kind of coupon.
    Coupon,
    /// A reward.
    Reward,
    /// A segment.
    Segment,
    /// A trigger.
    Trigger,
    /// A group of a test.
    Group,
    /// A test.
    Experiment,
}

impl Once {
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Department => ("部门", "department"),
            Self::Activity => ("行为", "activity"),
            Self::Tier => ("等级", "tier"),
            Self::Coupon => ("优惠券", "coupon"),
            Self::Reward => ("礼品", "reward"),
            Self::Segment => ("人群", "segment"),
            Self::Trigger => ("触发规则", "trigger"),
            Self::Group => ("组", "group"),
            Self::Experiment => ("试验", "experiment"),
        }
    }
}

/// What would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Right {
    /// A file that is short enough.
    FileSize,
    /// The format of this version.
    Format,
    /// A whole number, both ends included.
    WholeNumber {
        /// From.
        least: u64,
        /// To.
        most: u64,
    },
    /// A list.
    List {
        /// Of so many.
        most: usize,
    },
    /// A table of names.
    Names {
        /// Of so many.
        most: usize,
    },
    /// A table of texts.
    Entries {
        /// Of so many.
        most: usize,
    },
    /// A ratio of two numbers.
    Ratio,
    /// A text as a key.
    TextBefore,
    /// A text.
    Text,
    /// The letters of a name.
    Name,
    /// A name where something else stands.
    NameInQuotes,
    /// A name where nothing stands.
    SomeName,
    /// One of these words.
    OneOf(String),
    /// True or false.
    Flag,
    /// A text for members.
    ForMembers,
    /// A section of this path.
    Section(String),
    /// Sections of a list of this path.
    Sections(String),
    /// Ratios that add up exactly.
    CommonDenominator,
    /// Each of them once.
    Each(Once),
    /// Points of the days of a streak.
    Streak,
    /// More points than the tier before.
    AboveTier {
        /// What that needs.
        before: u64,
    },
    /// A part of a basket.
    PartOfBasket,
    /// A basket that a coupon does not exceed.
    CoversCoupon,
    /// The segment that a trigger waits for.
    SegmentOfTrigger,
    /// What a trigger gives.
    Given,
    /// One thing that is given.
    OneGift,
    /// Two groups of a test at least.
    TwoGroups,
}

impl Right {
    fn words(&self) -> Words {
        match self {
            Self::FileSize => {
                both(format!("最多 {FILE_MAX} 字节"), format!("at most {FILE_MAX} bytes"))
            }
            Self::Format => both(
                format!("本版本读取 format = {FORMAT:?}"),
                format!("format = {FORMAT:?} is what this version reads"),
            ),
            Self::WholeNumber { least, most } => both(
                format!("须为 {least} 至 {most} 的整数"),
                format!("a whole number from {least} to {most}"),
            ),
            Self::List { most } => {
                both(format!("须为列表，最多 {most} 项"), format!("a list of at most {most}"))
            }
            Self::Names { most } => {
                both(format!("最多 {most} 个名称"), format!("at most {most} names"))
            }
            Self::Entries { most } => {
                both(format!("最多 {most} 项"), format!("at most {most} entries"))
            }
            Self::Ratio => both(
                "须为两个 1 至 100000 的整数之比，例如 [3, 2]",
                "a ratio of two whole numbers from 1 to 100000, as in [3, 2]",
            ),
            Self::TextBefore => both(
                format!("= 前须为带引号的文本，1 至 {TEXT_MAX} 字"),
                format!("a text of 1 to {TEXT_MAX} characters in quotes before the ="),
            ),
            Self::Text => both(
                format!("须为带引号的文本，1 至 {TEXT_MAX} 字"),
                format!("a text of 1 to {TEXT_MAX} characters in quotes"),
            ),
            Self::Name => both(
                format!("名称须为 1 至 {NAME_MAX} 个字符：a-z、0-9、_、-"),
                format!("a name is 1 to {NAME_MAX} of a-z, 0-9, _ and -"),
            ),
            Self::NameInQuotes => {
                both("须为带引号的名称，例如 \"fresh\"", "a name in quotes, as in \"fresh\"")
            }
            Self::SomeName => both("须有名称，例如 \"gold\"", "a name such as \"gold\""),
            Self::OneOf(words) => both(format!("须为以下之一：{words}"), format!("one of {words}")),
            Self::Flag => both("须为 true 或 false", "true or false"),
            Self::ForMembers => both(
                "会员所读的文字，中文（zh）与英文（en）",
                "what members read, in Chinese (zh) and English (en)",
            ),
            Self::Section(path) => {
                both(format!("须为一节 [{path}]"), format!("a section [{path}]"))
            }
            Self::Sections(path) => {
                both(format!("须为若干节 [[{path}]]"), format!("sections [[{path}]]"))
            }
            Self::CommonDenominator => both(
                "各比率分母的最小公倍数不得大于 100000",
                "ratios over denominators whose least common multiple is at most 100000",
            ),
            Self::Each(what) => {
                let (zh, en) = what.words();
                both(format!("每个{zh}只能写一次"), format!("each {en} once"))
            }
            Self::Streak => both(
                "须写连续签到各日的积分，例如 [5, 5, 10, 20]",
                "points by the day of a streak, as in [5, 5, 10, 20]",
            ),
            Self::AboveTier { before } => both(
                format!("须高于前一等级的 {before}：等级由低到高排列"),
                format!("above the {before} of the tier before: lowest tier first"),
            ),
            Self::PartOfBasket => both(
                "须为一单的一部分，不大于一，例如 [1, 2] 为一半",
                "a part of the basket, as in [1, 2] for half of it: not above one",
            ),
            Self::CoversCoupon => both(
                "不少于 worth_fen，或不写：优惠券不能超过一单的金额",
                "at least worth_fen, or left out: a coupon takes no more than the basket",
            ),
            Self::SegmentOfTrigger => {
                both("须写明所等待的人群的名称", "the name of the segment it waits for")
            }
            Self::Given => both(
                "须写明给什么：coupon、points 或 experiment",
                "what is given: coupon, points or experiment",
            ),
            Self::OneGift => both(
                "coupon、points、experiment 只能写其一",
                "one of coupon, points and experiment, not several",
            ),
            Self::TwoGroups => {
                both("须有至少两个 [[experiment.group]]", "at least two [[experiment.group]]")
            }
        }
    }
}

/// What was found instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A value of another kind, by TOML's name of it.
    Kind(&'static str),
    /// A number.
    Number(String),
    /// A text.
    Text(String),
}

impl Found {
    fn words(&self) -> Words {
        match self {
            Self::Kind(kind) => both(kind_in_chinese(kind), *kind),
            Self::Number(number) => both(format!(" {number}"), number),
            Self::Text(text) => both(format!(" {text:?}"), format!("{text:?}")),
        }
    }
}

/// TOML's kinds of values.
fn kind_in_chinese(kind: &str) -> &str {
    match kind {
        "string" => "文本",
        "integer" => "整数",
        "float" => "小数",
        "boolean" => "布尔值",
        "datetime" => "日期时间",
        "array" => "列表",
        "table" => "节",
        other => other,
    }
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is not right.
    Not(Right),
    /// It is not right, and this stands there.
    Instead(Right, Found),
    /// It is not there.
    Missing(Right),
    /// The file is no TOML, in the words of its reader.
    NotToml(String),
    /// There is no such field; these there are.
    NoSuchField(String),
    /// No purchase comes by this channel.
    NoSuchChannel,
    /// Something that the rules do not have is named.
    NotThere {
        /// Its section.
        section: &'static str,
        /// Its name.
        name: String,
    },
}

impl From<Right> for Problem {
    fn from(right: Right) -> Self {
        Self::Not(right)
    }
}

impl Right {
    /// Something else was found.
    pub(super) fn found(self, found: Found) -> Problem {
        Problem::Instead(self, found)
    }

    /// A text was found that is something else.
    pub(super) fn found_text(self, text: &str) -> Problem {
        self.found(Found::Text(text.to_owned()))
    }
}

impl Problem {
    /// What was found and what would be right, in both languages.
    #[must_use]
    pub fn words(&self) -> Words {
        match self {
            Self::Not(right) => right.words(),
            Self::Instead(right, found) => {
                let (right, found) = (right.words(), found.words());
                both(
                    format!("{}（现为{}）", right.zh, found.zh),
                    format!("{} (found {})", right.en, found.en),
                )
            }
            Self::Missing(right) => {
                let right = right.words();
                both(format!("缺少此项；{}", right.zh), format!("it is missing; {}", right.en))
            }
            Self::NotToml(message) => both(
                format!("须为 TOML 格式（读取程序的说明：{message}）"),
                format!("TOML is expected: {message}"),
            ),
            Self::NoSuchField(fields) => both(
                format!("没有此字段；可用的字段：{fields}"),
                format!("there is no such field; there are {fields}"),
            ),
            Self::NoSuchChannel => {
                let channels = CHANNELS.join(", ");
                both(
                    format!("没有消费来自此渠道；可用的渠道：{channels}"),
                    format!("no purchase comes by this channel; there are {channels}"),
                )
            }
            Self::NotThere { section, name } => both(
                format!("没有名为 \"{name}\" 的 [[{section}]]"),
                format!("there is no [[{section}]] named \"{name}\""),
            ),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().en)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes after one; whoever adds a kind puts it into the row.
    fn next(right: &Right) -> Option<Right> {
        let path = || "earning.sign_in".to_owned();
        Some(match right {
            Right::FileSize => Right::Format,
            Right::Format => Right::WholeNumber { least: 7, most: 41 },
            Right::WholeNumber { .. } => Right::List { most: 41 },
            Right::List { .. } => Right::Names { most: 41 },
            Right::Names { .. } => Right::Entries { most: 41 },
            Right::Entries { .. } => Right::Ratio,
            Right::Ratio => Right::TextBefore,
            Right::TextBefore => Right::Text,
            Right::Text => Right::Name,
            Right::Name => Right::NameInQuotes,
            Right::NameInQuotes => Right::SomeName,
            Right::SomeName => Right::OneOf("a, b".to_owned()),
            Right::OneOf(_) => Right::Flag,
            Right::Flag => Right::ForMembers,
            Right::ForMembers => Right::Section(path()),
            Right::Section(_) => Right::Sections(path()),
            Right::Sections(_) => Right::CommonDenominator,
            Right::CommonDenominator => Right::Each(Once::Department),
            Right::Each(Once::Department) => Right::Each(Once::Activity),
            Right::Each(Once::Activity) => Right::Each(Once::Tier),
            Right::Each(Once::Tier) => Right::Each(Once::Coupon),
            Right::Each(Once::Coupon) => Right::Each(Once::Reward),
            Right::Each(Once::Reward) => Right::Each(Once::Segment),
            Right::Each(Once::Segment) => Right::Each(Once::Trigger),
            Right::Each(Once::Trigger) => Right::Each(Once::Group),
            Right::Each(Once::Group) => Right::Each(Once::Experiment),
            Right::Each(Once::Experiment) => Right::Streak,
            Right::Streak => Right::AboveTier { before: 41 },
            Right::AboveTier { .. } => Right::PartOfBasket,
            Right::PartOfBasket => Right::CoversCoupon,
            Right::CoversCoupon => Right::SegmentOfTrigger,
            Right::SegmentOfTrigger => Right::Given,
            Right::Given => Right::OneGift,
            Right::OneGift => Right::TwoGroups,
            Right::TwoGroups => return None,
        })
    }

    /// The same of problems, without what would be right by itself.
    fn next_problem(problem: &Problem) -> Option<Problem> {
        let name = "win_back".to_owned();
        Some(match problem {
            Problem::Not(_) => Right::Flag.found_text("win_back"),
            Problem::Instead(_, Found::Text(_)) => Right::Flag.found(Found::Kind("float")),
            Problem::Instead(_, Found::Kind(_)) => Right::Flag.found(Found::Number("41".into())),
            Problem::Instead(_, Found::Number(_)) => Problem::Missing(Right::Flag),
            Problem::Missing(_) => Problem::NotToml("key with no value".to_owned()),
            Problem::NotToml(_) => Problem::NoSuchField("zh, en".to_owned()),
            Problem::NoSuchField(_) => Problem::NoSuchChannel,
            Problem::NoSuchChannel => Problem::NotThere { section: "coupon", name },
            Problem::NotThere { .. } => return None,
        })
    }

    #[test]
    fn each_problem_is_told_in_both_languages_with_its_figures_and_names() {
        let is_chinese = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
        let rights = std::iter::successors(Some(Right::FileSize), next).map(Problem::Not);
        let problems = std::iter::successors(Some(Right::Flag.into()), next_problem);
        let mut told = std::collections::BTreeSet::new();
        for problem in rights.chain(problems.skip(1)) {
            let Words { zh, en } = problem.words();
            assert!(zh.contains(is_chinese) && en.is_ascii() && !en.is_empty(), "{zh} / {en}");
            for named in ["41", "earning.sign_in", "win_back"] {
                assert_eq!(zh.contains(named), en.contains(named), "{zh} / {en}: {named}");
            }
            assert_eq!(problem.to_string(), en);
            assert!(told.insert(zh.clone()), "{zh}: of two problems");
        }
        assert_eq!(told.len(), 43, "as many as there are kinds");
        for kind in ["string", "integer", "float", "boolean", "datetime", "array", "table"] {
            assert!(kind_in_chinese(kind).contains(is_chinese), "{kind}");
        }
    }
}
