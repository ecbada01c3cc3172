//! The rules as data: one validated, versioned file.
//!
//! Whoever holds [`Rules`] knows that they were read whole, that every name in them that refers to
//! another is there, and that every number is in its range. A file has a `version`, which every
//! change raises; [`change`] says what differs and what members must be told in advance.

pub mod change;
mod earning;
mod offers;
mod problem;
mod reading;
mod targets;

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use protocol::amount::Points;
use protocol::time::Timestamp;

pub use change::{Difference, NoticeBy, NoticePeriod, RuleChange, RuleChangeError};
pub(crate) use earning::common_denominator;
pub use earning::{Earning, Expiry, Referral, SignIn, Spending, Tier, TierBasis, Tiers};
pub use offers::{CouponKind, Reward};
pub use problem::{Found, Once, Problem, Right};
pub use reading::Wrong;
pub use targets::{Experiment, Fraud, Gift, Group, Hours, Lifecycle, Segment, Trigger, When};

use crate::calendar::{Day, Zone};
use crate::ids::Name;
use reading::Document;

/// What the first line of a file of this kind says.
pub const FORMAT: &str = "coalition programme 1";
/// Most sections of one kind.
const LIST_MAX: usize = 200;

/// A text for members, in both languages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Words {
    /// Chinese.
    #[n(0)]
    pub zh: String,
    /// English.
    #[n(1)]
    pub en: String,
}

/// All rules of a brand's programme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Raised by every change; 0 is for what a node begins with.
    pub version: u32,
    /// What the programme is called.
    pub title: Words,
    /// Where the brand's midnight is.
    pub zone: Zone,
    /// How many days members are told before a change that touches them; the constitution may say more.
    pub change_notice_days: u32,
    /// How points are earned.
    pub earning: Earning,
    /// Tiers, lowest first; may be none.
    pub tiers: Tiers,
    /// How points are spent at the till.
    pub spending: Spending,
    /// How long points are valid.
    pub expiry: Expiry,
    /// Coupons, by name.
    pub coupons: BTreeMap<Name, CouponKind>,
    /// Rewards for points, by name.
    pub rewards: BTreeMap<Name, Reward>,
    /// Groups of members, by name.
    pub segments: BTreeMap<Name, Segment>,
    /// What is given when, by name.
    pub triggers: BTreeMap<Name, Trigger>,
    /// Tests of offers, by name.
    pub experiments: BTreeMap<Name, Experiment>,
    /// What looks like fraud.
    pub fraud: Fraud,
    /// Points that one person of the staff corrects alone on a day; more is for two.
    pub alone_points_a_day: Points,
    text: String,
}

impl Rules {
    /// Reads a file of rules; `templates/programme.toml` of the node's configuration is one, with
    /// every field explained.
    ///
    /// # Errors
    /// [`Wrong`] says where and what would be right.
    pub fn from_toml(text: &str) -> Result<Self, Wrong> {
        Self::read(text, Naming::Known)
    }

    /// Rules that a programme has taken up already: an earlier version let them name channels that nothing comes by.
    ///
    /// # Errors
    /// As of [`Self::from_toml`].
    pub(crate) fn kept(text: &str) -> Result<Self, Wrong> {
        Self::read(text, Naming::Any)
    }

    fn read(text: &str, naming: Naming) -> Result<Self, Wrong> {
        let document = Document::parse(text)?;
        let root = document.root();
        if root.maybe_text("format")? != Some(FORMAT) {
            return Err(root.wrong("format", Right::Format));
        }
        let version = root.small("version", 0..=1_000_000)?;
        let title = match root.section("title")? {
            Some(section) => {
                let words = section.words()?;
                section.finish()?;
                words
            }
            None => {
                Words { zh: "会员积分计划".to_owned(), en: "Points programme".to_owned() }
            }
        };
        let minutes = root.small_or("zone_offset_minutes", 0..=840, 480)?;
        let zone = Zone::new(minutes).unwrap_or_default();
        let change_notice_days = root.small_or("change_notice_days", 1..=365, 30)?;
        let earning = Earning::read(&root, naming)?;
        let tiers = Tiers::read(&root)?;
        let spending = Spending::read(&root)?;
        let expiry = Expiry::read(&root)?;
        let coupons = offers::coupons(&root)?;
        let rewards = offers::rewards(&root)?;
        let experiments = targets::experiments(&root, &coupons)?;
        let segments = targets::segments(&root, &tiers, naming)?;
        let triggers = targets::triggers(&root, &segments, &coupons, &experiments)?;
        let fraud = Fraud::read(&root)?;
        let alone_points_a_day = match root.section("adjustments")? {
            Some(section) => {
                let alone = section.points_or("alone_points_a_day", 0, GIFT_MAX, ALONE_POINTS)?;
                section.finish()?;
                alone
            }
            None => points(ALONE_POINTS),
        };
        root.finish()?;
        let text = text.to_owned();
        Ok(Self {
            version,
            title,
            zone,
            change_notice_days,
            earning,
            tiers,
            spending,
            expiry,
            coupons,
            rewards,
            segments,
            triggers,
            experiments,
            fraud,
            alone_points_a_day,
            text,
        })
    }

    /// The file they were read from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// When points earned on a day expire: the first moment after their last valid day.
    #[must_use]
    pub fn expires(&self, earned: Day) -> Option<Timestamp> {
        let days = self.expiry.valid_days?;
        Some(self.zone.start(earned.plus(days).plus(1)))
    }
}

/// The channels that rules may name: shops, all that is not a shop, and what of that imports tell apart.
pub const CHANNELS: [&str; 5] = ["offline", ONLINE, "app", "mini_program", "ecommerce"];
/// All channels but the shops'.
const ONLINE: &str = "online";

/// Whether purchases come by a channel of this name.
#[must_use]
pub fn is_channel(name: &Name) -> bool {
    CHANNELS.contains(&name.as_str())
}

/// Whether it is a channel other than the shops'.
pub(crate) fn is_online(channel: &Name) -> bool {
    is_channel(channel) && channel.as_str() != "offline"
}

/// Which names of channels are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    /// Those by which purchases come.
    Known,
    /// Any.
    Any,
}

impl Naming {
    fn takes(self, channel: &Name) -> bool {
        self == Self::Any || is_channel(channel)
    }
}

/// Points that one person corrects alone on a day, where the rules do not say.
const ALONE_POINTS: u64 = 500;
/// Points that a rule gives, at most.
pub(crate) const GIFT_MAX: u64 = 1_000_000;

fn points(number: u64) -> Points {
    Points::new(number).unwrap_or(Points::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "format = \"coalition programme 1\"\nversion = 1\n";

    fn wrong(text: &str) -> String {
        Rules::from_toml(&format!("{LEAST}{text}")).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_rule_is_told_with_its_line_its_field_and_what_would_be_right() {
        for (text, told) in [
            (
                "[earning]\npoints_per_yuan = [1, 0]",
                "line 4: earning.points_per_yuan: a whole number from 1 to 100000 (found 0)",
            ),
            (
                "[earning]\npoints_per_yuan = 1.5",
                "line 4: earning.points_per_yuan: a ratio of two whole numbers",
            ),
            (
                "[earning]\npoint_per_yuan = [1, 1]",
                "line 4: earning.point_per_yuan: there is no such field; there are activity",
            ),
            ("[earning.channels]\noffline = [0, 1]", "line 4: earning.channels.offline: "),
            (
                "[earning.channels]\napp = [3, 1]\nkiosk = [2, 1]",
                "line 5: earning.channels.kiosk: no purchase comes by this channel; there are offline, online, app, mini_program, ecommerce",
            ),
            (
                "[[segment]]\nname = \"a\"\nzh = \"甲\"\nen = \"A\"\nchannel = \"store\"",
                "line 7: segment.channel: no purchase comes by this channel; there are offline, online, ",
            ),
            (
                "[earning.departments]\n\"蔬菜\" = \"Fresh\"",
                "line 4: earning.departments.蔬菜: a name is 1 to 40 of a-z",
            ),
            (
                "[earning.departments]\n\"蔬菜\" = 2",
                "line 4: earning.departments.蔬菜: a name in quotes, as in \"fresh\" (found integer)",
            ),
            (
                "[earning.departments]\n\"蔬菜\" = \"fresh\"\n\" 蔬菜\" = \"fruit\"",
                "earning.departments: each department once",
            ),
            ("[[tier]]\nname = \"Gold\"", "line 4: tier.name: a name is 1 to 40 of a-z"),
            ("[[tier]]\nname = \"gold\"\nzh = \"金\"", "tier.en: it is missing; what members read"),
            (
                "[[tier]]\nname = \"gold\"\nzh = \"金\"\nen = \"Gold\"\nfrom_points = 10\n[[tier]]\nname = \"silver\"\nzh = \"银\"\nen = \"Silver\"\nfrom_points = 10",
                "line 12: tier.from_points: above the 10 of the tier before",
            ),
            (
                "[expiry]\nvalid_days = 10\nnotice_days = 20",
                "line 5: expiry.notice_days: a whole number from 1 to 9",
            ),
            ("[[trigger]]\nname = \"a\"\nwhen = \"noon\"", "line 5: trigger.when: one of "),
            (
                "[[trigger]]\nname = \"a\"\nwhen = \"birthday\"\ncoupon = \"b\"",
                "line 6: trigger.coupon: there is no [[coupon]] named \"b\"",
            ),
            ("version = 2", "line 3: the file: TOML is expected"),
        ] {
            let found = wrong(text);
            assert!(found.contains(told), "{text}\nfound: {found}\nwanted: {told}");
        }
        let in_chinese = |text: &str| {
            let wrong = Rules::from_toml(&format!("{LEAST}{text}")).unwrap_err();
            assert_eq!(wrong.words().en, wrong.to_string());
            wrong.words().zh
        };
        assert_eq!(
            in_chinese("[earning]\npoints_per_yuan = [1, 0]"),
            "第 4 行，earning.points_per_yuan：须为 1 至 100000 的整数（现为 0）"
        );
        assert_eq!(
            in_chinese("[earning]\npoints_per_yuan = [1, 1.5]"),
            "第 4 行，earning.points_per_yuan：须为 1 至 100000 的整数（现为小数）"
        );
        assert!(in_chinese("version = 2").starts_with("第 3 行，文件：须为 TOML 格式"));
        let other = Rules::from_toml("format = \"other\"").unwrap_err();
        assert_eq!((other.line, other.field.as_str()), (1, "format"));
    }

    /// Rules that are in force stay so, whatever this version would refuse.
    #[test]
    fn rules_that_were_taken_up_with_a_channel_that_nothing_comes_by_are_still_read() {
        let text = format!("{LEAST}[earning.channels]\nkiosk = [2, 1]");
        assert!(Rules::from_toml(&text).is_err());
        assert_eq!(Rules::kept(&text).unwrap().earning.channels.len(), 1);
    }

    #[test]
    fn the_template_is_a_programme() {
        let text = include_str!("../../../../alliance-config/templates/programme.toml");
        let rules = Rules::from_toml(text).unwrap();
        assert_eq!((rules.tiers.list.len(), rules.coupons.len(), rules.triggers.len()), (2, 3, 2));
        let words = crate::plain::statements(&rules);
        let has = |text: &str| words.iter().any(|it| it.words.en.contains(text));
        assert!(has("In the shops: 3 points for every 2 yuan."));
        assert!(has(
            "Silver: from 3000 points collected in all. Purchases earn 110% of the usual points."
        ));
        assert!(words.iter().all(|it| !it.words.zh.is_empty() && !it.words.en.is_empty()));
    }

    #[test]
    fn members_read_which_departments_a_category_is_and_staff_the_others() {
        let rules = Rules::from_toml(&format!(
            "{LEAST}[earning.categories]\nfresh = [2, 1]\n[earning.departments]\n\"蔬菜\" = \"fresh\"\n\"水果\" = \"fresh\"\n\"酒\" = \"wine\""
        ))
        .unwrap();
        let words = crate::plain::statements(&rules);
        let of = |key: &str| words.iter().find(|it| it.key == key).unwrap();
        let fresh = of("earning/department/fresh");
        assert_eq!(fresh.concern, crate::plain::Concern::Terms);
        assert_eq!(fresh.words.en, "Category fresh is: 水果, 蔬菜.");
        assert_eq!(of("earning/department/wine").concern, crate::plain::Concern::Internal);
    }

    #[test]
    fn points_are_valid_to_the_end_of_their_last_day() {
        let rules = Rules::from_toml(&format!("{LEAST}[expiry]\nvalid_days = 1\nnotice_days = 1"))
            .unwrap_err();
        assert_eq!(rules.field, "expiry.valid_days");
        let rules =
            Rules::from_toml(&format!("{LEAST}[expiry]\nvalid_days = 2\nnotice_days = 1")).unwrap();
        let expires = rules.expires(Day::new(10)).unwrap();
        assert_eq!(rules.zone.day(expires), Day::new(13));
        assert_eq!(rules.zone.day(Timestamp::from_unix_ms(expires.unix_ms() - 1)), Day::new(12));
    }
}
