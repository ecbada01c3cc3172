//! Campaigns: made by hand for members of a segment, between two moments, with offers shared out by chance.
//!
//! A campaign carries the segment's terms as they were when it was made: what becomes of the segment or of
//! the rules afterwards changes nothing of who is meant. Its groups are assigned and counted as those of a
//! test of offers ([`crate::experiments`]), under the campaign's name.

use minicbor::{Decode, Encode};
use protocol::amount::Points;
use protocol::time::Timestamp;

use crate::ids::Name;
use crate::rules::{Experiment, GIFT_MAX, Gift, Group, Rules, Words};
use crate::segments::SegmentTerms;

/// Most campaigns that are planned or run at one time: each is looked at on every event of a member.
pub const OPEN_MAX: usize = 50;
/// Most campaigns that are kept, those that have ended too.
pub const KEPT_MAX: usize = 1_000;
/// Most groups of one campaign.
pub const GROUPS_MAX: usize = 10;
/// Longest time of a campaign, in days.
pub const DAYS_MAX: u32 = 366;
/// Most days after the offer of which purchases are counted.
const COUNT_DAYS_MAX: u32 = 365;
/// Most shares of one group.
const SHARE_MAX: u32 = 10_000;
/// Longest title, in characters.
const TITLE_MAX: usize = 100;

/// What the members of a group get.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum Offer {
    /// Nothing: a control group, against which the others are held.
    #[n(0)]
    Nothing,
    /// A coupon of a kind of the rules.
    #[n(1)]
    Coupon(#[n(0)] Name),
    /// Points.
    #[n(2)]
    Points(#[n(0)] Points),
}

/// One group of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct CampaignGroup {
    /// Its name.
    #[n(0)]
    pub name: Name,
    /// How many of the shares of all groups are its.
    #[n(1)]
    pub share: u32,
    /// What its members get.
    #[n(2)]
    pub offer: Offer,
}

/// What a campaign is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignTerms {
    /// What staff read.
    pub words: Words,
    /// For which members: a segment of the rules or one that staff keeps.
    pub segment: Name,
    /// Who of them gets what.
    pub groups: Vec<CampaignGroup>,
    /// From when.
    pub from: Timestamp,
    /// The first moment at which it no longer runs.
    pub until: Timestamp,
    /// Purchases of so many days after the assignment are counted.
    pub count_days: u32,
}

/// A campaign.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Campaign {
    /// What staff read.
    #[n(0)]
    pub words: Words,
    /// The segment's name.
    #[n(1)]
    pub segment: Name,
    /// The segment as it was when the campaign was made.
    #[n(2)]
    pub members: SegmentTerms,
    /// Who gets what.
    #[n(3)]
    pub groups: Vec<CampaignGroup>,
    /// From when.
    #[n(4)]
    pub from: Timestamp,
    /// The first moment at which it no longer runs.
    #[n(5)]
    pub until: Timestamp,
    /// Purchases of so many days after the assignment are counted.
    #[n(6)]
    pub count_days: u32,
    /// When it was made.
    #[n(7)]
    pub made: Timestamp,
    /// Who made it.
    #[n(8)]
    pub by: String,
    /// When somebody ended it before its time.
    #[n(9)]
    pub ended: Option<Timestamp>,
}

/// Where a campaign is in its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has not begun.
    Planned,
    /// Members who are or come into the segment are assigned.
    Running,
    /// Nobody is assigned any more.
    Ended,
}

impl Stage {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Running => "running",
            Self::Ended => "ended",
        }
    }
}

/// What of a campaign's terms cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {}", .problem.en)]
pub struct WrongTerms {
    /// Which field.
    pub field: &'static str,
    /// What would be right.
    pub problem: Words,
}

pub(crate) fn wrong(
    field: &'static str,
    zh: impl Into<String>,
    en: impl Into<String>,
) -> WrongTerms {
    WrongTerms { field, problem: Words { zh: zh.into(), en: en.into() } }
}

/// A number from 1 on that is out of its range.
pub(crate) fn ranged(field: &'static str, most: u64, found: u64) -> WrongTerms {
    let zh = format!("1 至 {most}（现为 {found}）");
    wrong(field, zh, format!("1 to {most} (found {found})"))
}

/// A text that staff reads, in both languages.
pub(crate) fn titled(words: &Words) -> Result<(), WrongTerms> {
    for (field, text) in [("zh", &words.zh), ("en", &words.en)] {
        let found = text.chars().count();
        if text.trim().is_empty() || found > TITLE_MAX || text.chars().any(char::is_control) {
            let zh = format!("一行 1 至 {TITLE_MAX} 字（现为 {found} 字）");
            let en = format!("1 to {TITLE_MAX} characters on one line (found {found})");
            return Err(wrong(field, zh, en));
        }
    }
    Ok(())
}

impl CampaignTerms {
    /// Whether the rules have all it gives, and its numbers are in their range.
    ///
    /// # Errors
    /// [`WrongTerms`] says which field, and what would be right.
    pub fn check(&self, rules: &Rules, now: Timestamp) -> Result<(), WrongTerms> {
        titled(&self.words)?;
        let today = rules.zone.day(now);
        let (first, last) = (rules.zone.day(self.from), rules.zone.day(self.until));
        if first < today {
            let day = today.date();
            return Err(wrong("from", format!("不早于 {day}"), format!("{day} or later")));
        }
        if self.until <= self.from || last.since(first) > DAYS_MAX {
            let zh = format!("须在首日之后，最长 {DAYS_MAX} 天");
            return Err(wrong("until", zh, format!("after from, by at most {DAYS_MAX} days")));
        }
        if !(1..=COUNT_DAYS_MAX).contains(&self.count_days) {
            return Err(ranged("count_days", COUNT_DAYS_MAX.into(), self.count_days.into()));
        }
        let many = self.groups.len();
        if !(1..=GROUPS_MAX).contains(&many) {
            let zh = format!("1 至 {GROUPS_MAX} 个组（现为 {many} 个）");
            return Err(wrong("groups", zh, format!("1 to {GROUPS_MAX} groups (found {many})")));
        }
        for (place, group) in self.groups.iter().enumerate() {
            if !(1..=SHARE_MAX).contains(&group.share) {
                return Err(ranged("share", SHARE_MAX.into(), group.share.into()));
            }
            if self.groups.iter().take(place).any(|other| other.name == group.name) {
                let name = &group.name;
                let zh = format!("每个组只能有一次（「{name}」）");
                return Err(wrong("groups", zh, format!("each group once (\"{name}\")")));
            }
            match &group.offer {
                Offer::Nothing => {}
                Offer::Coupon(kind) if rules.coupons.contains_key(kind) => {}
                Offer::Coupon(kind) => {
                    let zh = format!("规则中没有优惠券「{kind}」");
                    let en = format!("the rules have no coupon \"{kind}\"");
                    return Err(wrong("coupon", zh, en));
                }
                Offer::Points(points) => {
                    let found = points.get();
                    if !(1..=GIFT_MAX).contains(&found) {
                        return Err(ranged("points", GIFT_MAX, found));
                    }
                }
            }
        }
        if self.groups.iter().all(|group| group.offer == Offer::Nothing) {
            let zh = "至少一个组有优惠";
            return Err(wrong("groups", zh, "at least one that gets something"));
        }
        Ok(())
    }
}

impl Campaign {
    /// Where it is in its time.
    #[must_use]
    pub fn stage(&self, now: Timestamp) -> Stage {
        if self.ended.is_some() || now >= self.until {
            Stage::Ended
        } else if now < self.from {
            Stage::Planned
        } else {
            Stage::Running
        }
    }

    /// Whether members are assigned at a moment.
    #[must_use]
    pub fn is_running(&self, now: Timestamp) -> bool {
        self.stage(now) == Stage::Running
    }

    /// Whether it is what these terms ask for.
    #[must_use]
    pub fn is(&self, terms: &CampaignTerms) -> bool {
        let CampaignTerms { words, segment, groups, from, until, count_days } = terms;
        self.words == *words
            && self.segment == *segment
            && self.groups == *groups
            && (self.from, self.until, self.count_days) == (*from, *until, *count_days)
    }

    /// The same as a test of offers, by which members are assigned.
    #[must_use]
    pub fn experiment(&self) -> Experiment {
        let group = |group: &CampaignGroup| Group {
            name: group.name.clone(),
            share: group.share,
            gift: match &group.offer {
                Offer::Nothing => None,
                Offer::Coupon(kind) => Some(Gift::Coupon(kind.clone())),
                Offer::Points(points) => Some(Gift::Points(*points)),
            },
        };
        Experiment {
            words: self.words.clone(),
            groups: self.groups.iter().map(group).collect(),
            count_days: self.count_days,
        }
    }
}
