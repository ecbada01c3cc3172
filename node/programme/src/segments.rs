//! Who is in a segment: decided from a member's profile, when it changes or when time passes.
//!
//! Segments are in the rules, or staff keeps them beside the rules ([`SegmentTerms`]): for campaigns, which
//! come and go faster than rules do.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use protocol::time::Timestamp;

use crate::campaigns::{WrongTerms, ranged, titled, wrong};
use crate::ids::{Fen, Name};
use crate::profile::{Names, Profile};
use crate::rules::{CHANNELS, Hours, Lifecycle, Rules, Segment, Words, is_channel};

/// Months whose spending a segment looks at.
const MONTHS: u32 = 12;
/// Most days without a purchase that a segment may ask for.
const QUIET_DAYS_MAX: u32 = 3_650;
/// Most segments that staff keeps.
pub const KEPT_MAX: usize = 200;

/// A segment as staff keeps it: a tier by its name, since rules change and ranks with them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SegmentTerms {
    /// What staff read.
    #[n(0)]
    pub words: Words,
    /// This tier or above.
    #[n(1)]
    pub tier_at_least: Option<Name>,
    /// No purchase for at least so many days, and one before.
    #[n(2)]
    pub quiet_days: Option<u32>,
    /// Spent at least so much in the last twelve months.
    #[n(3)]
    pub spent_at_least: Option<Fen>,
    /// The category most was spent on.
    #[n(4)]
    pub category: Option<Name>,
    /// The channel most purchases came by.
    #[n(5)]
    pub channel: Option<Name>,
    /// The part of the day most purchases are in.
    #[n(6)]
    pub hours: Option<Hours>,
    /// Where in the time with the brand.
    #[n(7)]
    pub lifecycle: Option<Lifecycle>,
}

impl SegmentTerms {
    /// Those of a segment of the rules.
    #[must_use]
    pub fn of(segment: &Segment, rules: &Rules) -> Self {
        let tier = segment.tier_at_least.and_then(|rank| rules.tiers.of_rank(rank));
        Self {
            words: segment.words.clone(),
            tier_at_least: tier.map(|tier| tier.name.clone()),
            quiet_days: segment.quiet_days,
            spent_at_least: segment.spent_at_least,
            category: segment.category.clone(),
            channel: segment.channel.clone(),
            hours: segment.hours,
            lifecycle: segment.lifecycle,
        }
    }

    /// The segment under these rules; none when they do not have its tier any more: nobody is in it then.
    #[must_use]
    pub fn under(&self, rules: &Rules) -> Option<Segment> {
        let tier_at_least = match &self.tier_at_least {
            Some(tier) => Some(rules.tiers.rank(tier)?),
            None => None,
        };
        Some(Segment {
            words: self.words.clone(),
            tier_at_least,
            quiet_days: self.quiet_days,
            spent_at_least: self.spent_at_least,
            category: self.category.clone(),
            channel: self.channel.clone(),
            hours: self.hours,
            lifecycle: self.lifecycle,
        })
    }

    /// Whether the rules have its tier, and its numbers are in their range.
    ///
    /// # Errors
    /// [`WrongTerms`] says which field, and what would be right.
    pub fn check(&self, rules: &Rules) -> Result<(), WrongTerms> {
        titled(&self.words)?;
        if let Some(tier) = self.tier_at_least.as_ref().filter(|it| rules.tiers.rank(it).is_none())
        {
            let zh = format!("规则中没有等级「{tier}」");
            return Err(wrong("tier_at_least", zh, format!("the rules have no tier \"{tier}\"")));
        }
        if let Some(channel) = self.channel.as_ref().filter(|it| !is_channel(it)) {
            let all = CHANNELS.join(", ");
            let zh = format!("没有渠道「{channel}」；可用：{all}");
            let en = format!("there is no channel \"{channel}\"; there are {all}");
            return Err(wrong("channel", zh, en));
        }
        if let Some(days) = self.quiet_days.filter(|days| !(1..=QUIET_DAYS_MAX).contains(days)) {
            return Err(ranged("quiet_days", QUIET_DAYS_MAX.into(), days.into()));
        }
        Ok(())
    }
}

/// How many members are in each segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentCounts {
    /// Members in all.
    pub members: u64,
    /// By segment, those of the rules and those that staff keeps.
    pub inside: BTreeMap<Name, u64>,
    /// In the segment that was asked about beside them.
    pub asked: u64,
}

/// Whether a member fulfils all that a segment states.
#[must_use]
pub fn contains(
    segment: &Segment,
    rules: &Rules,
    profile: &Profile,
    names: &Names,
    now: Timestamp,
) -> bool {
    let zone = rules.zone;
    !profile.outside
        && segment.tier_at_least.is_none_or(|rank| profile.rank >= rank)
        && segment
            .quiet_days
            .is_none_or(|least| profile.quiet_days(now, zone).is_some_and(|days| days >= least))
        && segment
            .spent_at_least
            .is_none_or(|least| profile.recent(zone.day(now), MONTHS).1 >= least.get())
        && segment.category.as_ref().is_none_or(|it| profile.category(names) == Some(it))
        && segment.channel.as_ref().is_none_or(|it| profile.is_mostly_by(it, names))
        && segment.hours.is_none_or(|it| profile.hours() == Some(it))
        && segment.lifecycle.is_none_or(|it| profile.lifecycle(now, zone) == it)
}

/// The segments a member is in.
#[must_use]
pub fn of<'r>(rules: &'r Rules, profile: &Profile, names: &Names, now: Timestamp) -> Vec<&'r Name> {
    let inside = rules.segments.iter().filter(|(_, it)| contains(it, rules, profile, names, now));
    inside.map(|(name, _)| name).collect()
}

/// Days without a purchase after which some segment of the rules, or of a campaign, may be entered: when to
/// look again.
#[must_use]
pub fn looks_after<'s>(
    rules: &Rules,
    campaigns: impl Iterator<Item = &'s SegmentTerms>,
) -> Vec<u32> {
    let of_rules = rules.segments.values().map(|it| (it.quiet_days, it.lifecycle));
    let all = of_rules.chain(campaigns.map(|it| (it.quiet_days, it.lifecycle)));
    let mut days = Vec::new();
    for (quiet_days, lifecycle) in all {
        days.extend(quiet_days);
        // lifecycle's own borders
        if lifecycle.is_some() {
            days.extend([91, 181]);
        }
    }
    days.sort_unstable();
    days.dedup();
    days
}
