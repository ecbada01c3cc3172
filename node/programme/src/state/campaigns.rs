//! Events of campaigns and of the segments that staff keeps for them, and how members come into a campaign.

use std::collections::BTreeMap;

use protocol::shared_map::SharedMap;
use protocol::time::Timestamp;

use super::{Answer, Change, Outcome, Programme, ProgrammeCopy, Random, Refusal};
use crate::calendar::{Day, Zone};
use crate::campaigns::{self, Campaign, CampaignTerms, Stage};
use crate::coupons::Origin;
use crate::experiments::GroupResult;
use crate::ids::{Account, Name};
use crate::marketing::{Consents, Offering};
use crate::profile::Profile;
use crate::rules::{Experiment, Rules};
use crate::segments::{self, SegmentCounts, SegmentTerms};

/// Who is in which campaign at a moment: what grows with members is shared with the programme, not copied.
#[derive(Clone, Debug)]
pub struct CampaignMembers {
    profiles: SharedMap<Account, Profile>,
    campaigns: BTreeMap<Name, Campaign>,
    counts: Vec<(Name, u8, u64)>,
    zone: Zone,
}

/// A member's place in a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InCampaign<'a> {
    /// The campaign.
    pub campaign: &'a Name,
    /// The group that the member is in, control groups too.
    pub group: &'a Name,
    /// The day on which the member came into it.
    pub first: Day,
    /// The last day of which purchases count.
    pub last: Day,
}

impl CampaignMembers {
    /// The campaigns that a member is in, those that have ended too.
    pub fn of(&self, account: Account) -> impl Iterator<Item = InCampaign<'_>> {
        let profile = self.profiles.get(&account);
        let tests = profile.map(|profile| profile.tests.as_slice()).unwrap_or_default();
        tests.iter().filter_map(move |(name, group, at)| {
            // of who has left it is known alone that the offer was had
            if at.unix_ms() == 0 {
                return None;
            }
            // tests of the rules are there too
            let (campaign, terms) = self.campaigns.get_key_value(name)?;
            let group = &terms.groups.get(usize::from(*group))?.name;
            let first = self.zone.day(*at);
            Some(InCampaign { campaign, group, first, last: first.plus(terms.count_days) })
        })
    }
    /// How many members have come into each group of each campaign: never fewer, so that two moments with the same
    /// counts have the same members but for those who are erased or merged.
    #[must_use]
    pub fn counts(&self) -> &[(Name, u8, u64)] {
        &self.counts
    }
    /// Where days begin and end.
    #[must_use]
    pub const fn zone(&self) -> Zone {
        self.zone
    }
}

impl Programme {
    /// A segment by its name: that of the rules, else the one that staff keeps.
    fn segment_terms(&self, name: &Name) -> Outcome<SegmentTerms> {
        let rules = self.rules_now()?;
        let of_rules = rules.segments.get(name).map(|segment| SegmentTerms::of(segment, rules));
        let found = of_rules.or_else(|| self.state.segments.get(name).cloned());
        found.ok_or_else(|| Refusal::Unknown { what: "segment", name: name.to_string() })
    }

    /// Rules in force, and those announced.
    fn all_rules(&self) -> impl Iterator<Item = &Rules> {
        self.rules.iter().chain(self.announced.as_ref().map(|it| &it.rules))
    }

    pub(super) fn keep_segment(
        &mut self,
        name: Name,
        terms: SegmentTerms,
        out: &mut Vec<Change>,
    ) -> Outcome {
        terms.check(self.rules_now()?)?;
        if self.all_rules().any(|rules| rules.segments.contains_key(&name)) {
            return Err(Refusal::NameTaken {
                what: "segment of the rules",
                name: name.to_string(),
            });
        }
        let known = self.state.segments.get(&name);
        if known == Some(&terms) {
            return Ok(Answer::Repeated);
        }
        if known.is_none() && self.state.segments.len() >= segments::KEPT_MAX {
            return Err(Refusal::TooMany { what: "segments", most: segments::KEPT_MAX });
        }
        self.enter(Change::SegmentKept { name, terms }, out)?;
        Ok(Answer::Done)
    }

    pub(super) fn drop_segment(&mut self, name: Name, out: &mut Vec<Change>) -> Outcome {
        if !self.state.segments.contains_key(&name) {
            return Err(Refusal::Unknown { what: "kept segment", name: name.to_string() });
        }
        self.enter(Change::SegmentDropped { name }, out)?;
        Ok(Answer::Done)
    }

    pub(super) fn make_campaign(
        &mut self,
        name: Name,
        terms: CampaignTerms,
        by: String,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome {
        if let Some(known) = self.state.campaigns.get(&name) {
            let what = "campaign";
            return if known.is(&terms) {
                Ok(Answer::Repeated)
            } else {
                Err(Refusal::NameTaken { what, name: name.to_string() })
            };
        }
        terms.check(self.rules_now()?, now)?;
        // results are counted under the name
        if self.all_rules().any(|rules| rules.experiments.contains_key(&name))
            || self.state.results.keys().any(|(known, _)| *known == name)
        {
            return Err(Refusal::NameTaken { what: "test of the rules", name: name.to_string() });
        }
        let all = self.state.campaigns.values();
        let open = all.filter(|campaign| campaign.stage(now) != Stage::Ended).count();
        if open >= campaigns::OPEN_MAX {
            return Err(Refusal::TooMany { what: "open campaigns", most: campaigns::OPEN_MAX });
        }
        if self.state.campaigns.len() >= campaigns::KEPT_MAX {
            return Err(Refusal::TooMany { what: "campaigns", most: campaigns::KEPT_MAX });
        }
        let members = self.segment_terms(&terms.segment)?;
        let CampaignTerms { words, segment, groups, from, until, count_days } = terms;
        let (made, ended) = (now, None);
        let campaign =
            Campaign { words, segment, members, groups, from, until, count_days, made, by, ended };
        self.enter(Change::CampaignMade { name, campaign }, out)?;
        Ok(Answer::Done)
    }

    pub(super) fn end_campaign(
        &mut self,
        name: Name,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome {
        let known = self.state.campaigns.get(&name);
        let known =
            known.ok_or_else(|| Refusal::Unknown { what: "campaign", name: name.to_string() })?;
        if known.stage(now) == Stage::Ended {
            return Ok(Answer::Repeated);
        }
        self.enter(Change::CampaignEnded { name, at: now }, out)?;
        Ok(Answer::Done)
    }

    /// A campaign's first moment has come: all members are looked at, a bounded number at a time.
    pub(super) fn start_campaign(
        &mut self,
        name: Name,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome<()> {
        let running = self.state.campaigns.get(&name).is_some_and(|it| it.is_running(now));
        if running {
            self.enter(Change::CampaignStarted { name, at: now }, out)?;
        }
        Ok(())
    }

    /// A member who is in the segment of a running campaign, and not in the campaign yet, comes into it; who
    /// has not consented to marketing does not, whichever group it would have been: a control group without
    /// them beside an offer to those who consent would compare unlike members.
    pub(super) fn join_campaigns(
        &mut self,
        account: Account,
        now: Timestamp,
        random: Random<'_>,
        consents: Consents<'_>,
        out: &mut Vec<Change>,
    ) -> Outcome<()> {
        // nothing is asked of the member while none runs: purchases come this way
        if !self.state.campaigns.values().any(|campaign| campaign.is_running(now)) {
            return Ok(());
        }
        let rules = self.rules_now()?;
        let Some(profile) = self.state.profiles.get(&account) else { return Ok(()) };
        let comes_in = |name: &Name, campaign: &Campaign| {
            campaign.is_running(now)
                && profile.tests.iter().all(|(test, ..)| test != name)
                && campaign.members.under(rules).is_some_and(|segment| {
                    segments::contains(&segment, rules, profile, &self.state.names, now)
                })
        };
        let joins = self.state.campaigns.iter().filter(|(name, it)| comes_in(name, it));
        let joins: Vec<(Name, Experiment)> =
            joins.map(|(name, campaign)| (name.clone(), campaign.experiment())).collect();
        for (experiment, groups) in joins {
            let campaign = Offering::Campaign(experiment.clone());
            if !self.may_offer(campaign, account, now, consents, out)? {
                continue;
            }
            let Some((group, terms)) = self.key.group(&experiment, &groups, account) else {
                continue;
            };
            let assigned =
                Change::Assigned { account, experiment: experiment.clone(), group, at: now };
            self.enter(assigned, out)?;
            if let Some(gift) = &terms.gift {
                let origin = Origin::Campaign(experiment, group);
                self.gift(account, gift, &origin, now, random, out)?;
            }
        }
        Ok(())
    }

    /// A campaign's coupon was given, redeemed, or reopened: its group's counts follow.
    pub(super) fn count_coupon(&mut self, origin: &Origin, given: u64, redeemed: i64) {
        let Origin::Campaign(name, group) = origin else { return };
        let result = self.state.results.entry((name.clone(), *group)).or_default();
        result.coupons_given = result.coupons_given.saturating_add(given);
        result.coupons_redeemed = result.coupons_redeemed.saturating_add_signed(redeemed);
    }

    // --- what can be seen

    /// Segments that staff keeps beside those of the rules.
    pub fn kept_segments(&self) -> impl Iterator<Item = (&Name, &SegmentTerms)> {
        self.state.segments.iter()
    }
    /// Whether a name is a campaign's, rather than that of a test of the rules.
    #[must_use]
    pub fn is_campaign(&self, name: &Name) -> bool {
        self.state.campaigns.contains_key(name)
    }
    /// How the group in a place of a campaign or a test does.
    #[must_use]
    pub fn result(&self, name: &Name, group: u8) -> GroupResult {
        self.state.results.get(&(name.clone(), group)).copied().unwrap_or_default()
    }
    /// Who is in which campaign as of now; none without rules.
    #[must_use]
    pub fn campaign_members(&self) -> Option<CampaignMembers> {
        let zone = self.rules.as_ref()?.zone;
        let (profiles, campaigns) = (self.state.profiles.clone(), self.state.campaigns.clone());
        let results = self.results().filter(|(name, ..)| campaigns.contains_key(*name));
        let counts = results.map(|(name, group, result)| (name.clone(), group, result.members));
        let counts = counts.collect();
        Some(CampaignMembers { profiles, campaigns, counts, zone })
    }
    /// Campaigns, those that have ended too.
    pub fn campaigns(&self) -> impl Iterator<Item = (&Name, &Campaign)> {
        self.state.campaigns.iter()
    }
}

impl ProgrammeCopy {
    /// How many members are in each segment at a moment, and in one that is asked about; none without rules.
    ///
    /// Looks at every member: not for where the node decides things.
    #[must_use]
    pub fn count_segments(
        &self,
        asked: Option<&SegmentTerms>,
        now: Timestamp,
    ) -> Option<SegmentCounts> {
        let rules = Rules::kept(self.rules.as_deref()?).ok()?;
        let kept = self.state.segments.iter();
        let kept = kept.filter_map(|(name, terms)| Some((name.clone(), terms.under(&rules)?)));
        let of_rules = rules.segments.iter();
        let all: Vec<_> =
            of_rules.map(|(name, it)| (name.clone(), it.clone())).chain(kept).collect();
        let asked = asked.and_then(|terms| terms.under(&rules));
        let mut counts = SegmentCounts {
            inside: all.iter().map(|(name, _)| (name.clone(), 0)).collect(),
            ..SegmentCounts::default()
        };
        for profile in self.state.profiles.values().filter(|profile| !profile.outside) {
            let inside =
                |segment| segments::contains(segment, &rules, profile, &self.state.names, now);
            counts.members = counts.members.saturating_add(1);
            for (name, _) in all.iter().filter(|(_, segment)| inside(segment)) {
                let count = counts.inside.get_mut(name);
                count.into_iter().for_each(|count| *count = count.saturating_add(1));
            }
            counts.asked =
                counts.asked.saturating_add(u64::from(asked.as_ref().is_some_and(inside)));
        }
        Some(counts)
    }
}
