//! Rules on segments, triggers, tests of offers and signs of fraud.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use protocol::amount::Points;

use super::reading::Section;
use super::{CouponKind, GIFT_MAX, LIST_MAX, Naming, Once, Problem, Right, Tiers, Words, Wrong};
use crate::fraud::{Action, Sign};
use crate::ids::{Fen, Name};

/// A part of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Hours {
    /// 6 to 11.
    #[n(0)]
    Morning,
    /// 12 to 17.
    #[n(1)]
    Afternoon,
    /// 18 to 23.
    #[n(2)]
    Evening,
    /// 0 to 5.
    #[n(3)]
    Night,
}

impl Hours {
    /// Every part of the day.
    pub const ALL: [Self; 4] = [Self::Morning, Self::Afternoon, Self::Evening, Self::Night];

    /// Its name in rules and requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Morning => "morning",
            Self::Afternoon => "afternoon",
            Self::Evening => "evening",
            Self::Night => "night",
        }
    }

    /// The part of the day of an hour.
    #[must_use]
    pub const fn of(hour: u8) -> Self {
        match hour {
            6..=11 => Self::Morning,
            12..=17 => Self::Afternoon,
            18..=23 => Self::Evening,
            _ => Self::Night,
        }
    }
}

/// Where a member is in the time with the brand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Lifecycle {
    /// Never bought.
    #[n(0)]
    New,
    /// One purchase, in the last 90 days.
    #[n(1)]
    First,
    /// More than one purchase, the last in the last 90 days.
    #[n(2)]
    Active,
    /// Last purchase 91 to 180 days ago.
    #[n(3)]
    Quiet,
    /// Last purchase longer ago.
    #[n(4)]
    Lost,
}

impl Lifecycle {
    /// Every one of them.
    pub const ALL: [Self; 5] = [Self::New, Self::First, Self::Active, Self::Quiet, Self::Lost];

    /// Its name in rules and requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::First => "first",
            Self::Active => "active",
            Self::Quiet => "quiet",
            Self::Lost => "lost",
        }
    }
}

/// A group of members: who fulfils all that it states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What staff read.
    pub words: Words,
    /// This tier or above, by rank.
    pub tier_at_least: Option<u8>,
    /// No purchase for at least so many days, and one before.
    pub quiet_days: Option<u32>,
    /// Spent at least so much in the last twelve months.
    pub spent_at_least: Option<Fen>,
    /// The category most was spent on.
    pub category: Option<Name>,
    /// The channel most purchases came by.
    pub channel: Option<Name>,
    /// The part of the day most purchases are in.
    pub hours: Option<Hours>,
    /// Where in the time with the brand.
    pub lifecycle: Option<Lifecycle>,
}

/// What a trigger waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// The member has come into the segment; quiet days count as they pass.
    Segment,
    /// The member joined.
    Joined,
    /// The member's birthday.
    Birthday,
    /// A purchase.
    Purchase,
    /// A higher tier.
    TierReached,
}

/// What is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gift {
    /// A coupon.
    Coupon(Name),
    /// Points.
    Points(Points),
    /// What the member's group of a test gets.
    Experiment(Name),
}

/// A rule that gives something when something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// When.
    pub when: When,
    /// Only to members of this segment.
    pub segment: Option<Name>,
    /// What.
    pub gift: Gift,
    /// To one member at most once in so many days.
    pub again_after_days: u32,
}

/// One group of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Name,
    /// How many of the shares of all groups are its.
    pub share: u32,
    /// What it gets; the control group gets nothing.
    pub gift: Option<Gift>,
}

/// A test of offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// What staff read.
    pub words: Words,
    /// Its groups, at least two.
    pub groups: Vec<Group>,
    /// Purchases of so many days after the assignment are counted.
    pub count_days: u32,
}

/// What looks like fraud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraud {
    /// More accounts on one device.
    pub accounts_per_device: u32,
    /// More accounts from one address in the minutes.
    pub accounts_per_address: u32,
    /// In so many minutes.
    pub address_minutes: u32,
    /// A review is due within so many hours.
    pub review_hours: u32,
    /// More virtual rewards in the minutes.
    pub virtual_rewards: u32,
    /// In so many minutes.
    pub virtual_minutes: u32,
    /// More points earned on one day.
    pub points_per_day: Points,
    /// What is done about many accounts on one device.
    pub device_action: Action,
    /// What is done about many accounts from one address.
    pub address_action: Action,
    /// What is done about many virtual rewards.
    pub virtual_action: Action,
    /// What is done about many points on one day.
    pub growth_action: Action,
}

pub(super) fn segments(
    root: &Section<'_>,
    tiers: &Tiers,
    naming: Naming,
) -> Result<BTreeMap<Name, Segment>, Wrong> {
    let mut all = BTreeMap::new();
    for item in root.list("segment", LIST_MAX)? {
        let name = item.name("name")?;
        let tier = item.maybe_name("tier_at_least")?;
        let rank = tier.as_ref().map(|tier| {
            let missing = || item.wrong("tier_at_least", not_there("tier", tier));
            tiers.rank(tier).ok_or_else(missing)
        });
        let channel = item.maybe_name("channel")?;
        if channel.as_ref().is_some_and(|it| !naming.takes(it)) {
            return Err(item.wrong("channel", Problem::NoSuchChannel));
        }
        let segment = Segment {
            words: item.words()?,
            tier_at_least: rank.transpose()?,
            quiet_days: small(&item, "quiet_days", 3_650)?,
            spent_at_least: match item.has("spent_at_least_fen") {
                true => Some(item.fen_or("spent_at_least_fen", 0)?),
                false => None,
            },
            category: item.maybe_name("category")?,
            channel,
            hours: item.one_of("hours", &Hours::ALL.map(|it| (it.name(), it)))?,
            lifecycle: item.one_of("lifecycle", &Lifecycle::ALL.map(|it| (it.name(), it)))?,
        };
        item.finish()?;
        if all.insert(name, segment).is_some() {
            return Err(item.wrong("name", Right::Each(Once::Segment)));
        }
    }
    Ok(all)
}

/// The rules have no section of this name.
fn not_there(section: &'static str, name: &Name) -> Problem {
    Problem::NotThere { section, name: name.to_string() }
}

fn small(item: &Section<'_>, field: &'static str, most: u64) -> Result<Option<u32>, Wrong> {
    Ok(item.maybe_integer(field, 1..=most)?.and_then(|number| u32::try_from(number).ok()))
}

fn gift(
    item: &Section<'_>,
    coupons: &BTreeMap<Name, CouponKind>,
    experiments: &BTreeMap<Name, Experiment>,
) -> Result<Option<Gift>, Wrong> {
    let mut gifts = Vec::new();
    if let Some(name) = item.maybe_name("coupon")? {
        if !coupons.contains_key(&name) {
            return Err(item.wrong("coupon", not_there("coupon", &name)));
        }
        gifts.push(Gift::Coupon(name));
    }
    if item.has("points") {
        gifts.push(Gift::Points(item.points("points", 1, GIFT_MAX)?));
    }
    if let Some(name) = item.maybe_name("experiment")? {
        if !experiments.contains_key(&name) {
            return Err(item.wrong("experiment", not_there("experiment", &name)));
        }
        gifts.push(Gift::Experiment(name));
    }
    let several = gifts.len() > 1;
    let gift = gifts.pop();
    if several {
        return Err(item.wrong("points", Right::OneGift));
    }
    Ok(gift)
}

pub(super) fn triggers(
    root: &Section<'_>,
    segments: &BTreeMap<Name, Segment>,
    coupons: &BTreeMap<Name, CouponKind>,
    experiments: &BTreeMap<Name, Experiment>,
) -> Result<BTreeMap<Name, Trigger>, Wrong> {
    let mut all = BTreeMap::new();
    for item in root.list("trigger", LIST_MAX)? {
        let name = item.name("name")?;
        let choices = [
            ("segment", When::Segment),
            ("joined", When::Joined),
            ("birthday", When::Birthday),
            ("purchase", When::Purchase),
            ("tier_reached", When::TierReached),
        ];
        let right = || Right::OneOf(choices.map(|(word, _)| word).join(", "));
        let when = item.one_of("when", &choices)?.ok_or_else(|| item.missing("when", right()))?;
        let segment = item.maybe_name("segment")?;
        if let Some(name) = &segment
            && !segments.contains_key(name)
        {
            return Err(item.wrong("segment", not_there("segment", name)));
        }
        if when == When::Segment && segment.is_none() {
            return Err(item.wrong("segment", Right::SegmentOfTrigger));
        }
        let gift =
            gift(&item, coupons, experiments)?.ok_or_else(|| item.wrong("coupon", Right::Given))?;
        let again_after_days = item.small_or("again_after_days", 1..=36_500, 365)?;
        item.finish()?;
        let trigger = Trigger { when, segment, gift, again_after_days };
        if all.insert(name, trigger).is_some() {
            return Err(item.wrong("name", Right::Each(Once::Trigger)));
        }
    }
    Ok(all)
}

pub(super) fn experiments(
    root: &Section<'_>,
    coupons: &BTreeMap<Name, CouponKind>,
) -> Result<BTreeMap<Name, Experiment>, Wrong> {
    let mut all = BTreeMap::new();
    for item in root.list("experiment", LIST_MAX)? {
        let (name, words) = (item.name("name")?, item.words()?);
        let count_days = item.small_or("count_days", 1..=365, 30)?;
        let mut groups: Vec<Group> = Vec::new();
        for part in item.list("group", 20)? {
            let group = Group {
                name: part.name("name")?,
                share: part.small("share", 1..=10_000)?,
                gift: gift(&part, coupons, &BTreeMap::new())?,
            };
            part.finish()?;
            if groups.iter().any(|other| other.name == group.name) {
                return Err(part.wrong("name", Right::Each(Once::Group)));
            }
            groups.push(group);
        }
        if groups.len() < 2 {
            return Err(item.wrong("group", Right::TwoGroups));
        }
        item.finish()?;
        if all.insert(name, Experiment { words, groups, count_days }).is_some() {
            return Err(item.wrong("name", Right::Each(Once::Experiment)));
        }
    }
    Ok(all)
}

impl Fraud {
    pub(super) fn read(root: &Section<'_>) -> Result<Self, Wrong> {
        let mut fraud = Self {
            accounts_per_device: 5,
            accounts_per_address: 20,
            address_minutes: 60,
            review_hours: 24,
            virtual_rewards: 3,
            virtual_minutes: 10,
            points_per_day: super::points(20_000),
            device_action: Sign::Device.usual(),
            address_action: Sign::Address.usual(),
            virtual_action: Sign::VirtualRewards.usual(),
            growth_action: Sign::Growth.usual(),
        };
        let Some(section) = root.section("fraud")? else { return Ok(fraud) };
        let many = 1..=1_000_000;
        fraud.accounts_per_device = section.small_or("accounts_per_device", many.clone(), 5)?;
        fraud.accounts_per_address = section.small_or("accounts_per_address", many.clone(), 20)?;
        fraud.address_minutes = section.small_or("address_minutes", 1..=1_440, 60)?;
        fraud.review_hours = section.small_or("review_hours", 1..=24, 24)?;
        fraud.virtual_rewards = section.small_or("virtual_rewards", many, 3)?;
        fraud.virtual_minutes = section.small_or("virtual_minutes", 1..=1_440, 10)?;
        fraud.points_per_day = section.points_or("points_per_day", 1, Points::MAX.get(), 20_000)?;
        let choices = Action::ALL.map(|it| (it.name(), it));
        let action = |field: &'static str, usual: Action| -> Result<Action, Wrong> {
            Ok(section.one_of(field, &choices)?.unwrap_or(usual))
        };
        fraud.device_action = action("device_action", fraud.device_action)?;
        fraud.address_action = action("address_action", fraud.address_action)?;
        fraud.virtual_action = action("virtual_action", fraud.virtual_action)?;
        fraud.growth_action = action("growth_action", fraud.growth_action)?;
        section.finish()?;
        Ok(fraud)
    }

    /// What is done about a sign while its case is open.
    #[must_use]
    pub const fn action(&self, sign: Sign) -> Action {
        match sign {
            Sign::Device => self.device_action,
            Sign::Address => self.address_action,
            Sign::VirtualRewards => self.virtual_action,
            Sign::Growth => self.growth_action,
        }
    }
}
