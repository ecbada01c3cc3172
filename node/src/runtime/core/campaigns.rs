//! Segments and campaigns in words of requests and views, and back.

use ::programme::Rules;
use ::programme::calendar::{Day, Zone};
use ::programme::campaigns::{Campaign, CampaignGroup, CampaignTerms, Offer};
use ::programme::marketing::is_marketing;
use ::programme::rules::{Hours, Lifecycle, Trigger, Words};
use ::programme::segments::SegmentTerms;
use ::programme::state::{Event, ProgrammeCopy, Refusal};
use protocol::time::Timestamp;

use super::Core;
use super::programme::refused;
use super::programme_service::{fen, name, points, words};
use crate::service::*;

fn invalid(code: &'static str, message: String, remedy: String) -> ServiceError {
    ServiceError::new(ErrorKind::Invalid, code, message, remedy)
}

/// One of some named things.
fn one_of<T: Copy>(
    text: Option<String>,
    field: &str,
    all: &[T],
    named: impl Fn(T) -> &'static str,
) -> Result<Option<T>, ServiceError> {
    let Some(text) = text else { return Ok(None) };
    let found = all.iter().copied().find(|it| named(*it) == text);
    let known = || all.iter().map(|it| named(*it)).collect::<Vec<_>>().join(", ");
    found.map(Some).ok_or_else(|| {
        let message = format!("{field}: there is no such value");
        invalid("value_unknown", message, format!("one of {}", known()))
            .in_chinese(format!("{field}：没有这样的值"), format!("可选：{}", known()))
    })
}

/// What a request says of who is in a segment.
pub(in crate::runtime) fn segment_terms(
    request: SegmentRequest,
) -> Result<SegmentTerms, ServiceError> {
    let named = |text: Option<String>, field| text.map(|text| name(&text, field)).transpose();
    Ok(SegmentTerms {
        words: Words { zh: request.zh, en: request.en },
        tier_at_least: named(request.tier_at_least, "tier_at_least")?,
        quiet_days: request.quiet_days,
        spent_at_least: request
            .spent_at_least_fen
            .map(|spent| fen(spent, "spent_at_least_fen"))
            .transpose()?,
        category: named(request.category, "category")?,
        channel: named(request.channel, "channel")?,
        hours: one_of(request.hours, "hours", &Hours::ALL, Hours::name)?,
        lifecycle: one_of(request.lifecycle, "lifecycle", &Lifecycle::ALL, Lifecycle::name)?,
    })
}

fn segment_request(terms: &SegmentTerms) -> SegmentRequest {
    let text = |name: &Option<::programme::Name>| name.as_ref().map(ToString::to_string);
    SegmentRequest {
        zh: terms.words.zh.clone(),
        en: terms.words.en.clone(),
        tier_at_least: text(&terms.tier_at_least),
        quiet_days: terms.quiet_days,
        spent_at_least_fen: terms.spent_at_least.map(::programme::Fen::get),
        category: text(&terms.category),
        channel: text(&terms.channel),
        hours: terms.hours.map(|hours| hours.name().to_owned()),
        lifecycle: terms.lifecycle.map(|lifecycle| lifecycle.name().to_owned()),
    }
}

/// All segments with how many members each has, and how many the one that is asked about would have: from a
/// copy of the programme, since it looks at every member.
pub(in crate::runtime) fn segments_view(
    programme: &ProgrammeCopy,
    rules: &Rules,
    kept: &[(String, SegmentTerms)],
    asked: Option<&SegmentTerms>,
    now: Timestamp,
) -> Result<SegmentsView, ServiceError> {
    if let Some(terms) = asked {
        terms.check(rules).map_err(|wrong| refused(&Refusal::Terms(wrong)))?;
    }
    let counts = programme.count_segments(asked, now).unwrap_or_default();
    let of_rules = rules.segments.iter();
    let of_rules =
        of_rules.map(|(name, segment)| (name.to_string(), SegmentTerms::of(segment, rules), true));
    let kept = kept.iter().map(|(name, terms)| (name.clone(), terms.clone(), false));
    let view = |(name, terms, in_rules): (String, SegmentTerms, bool)| SegmentView {
        members: counts.inside.get(name.as_str()).copied().unwrap_or_default(),
        terms: segment_request(&terms),
        in_rules,
        name,
    };
    Ok(SegmentsView {
        members: counts.members,
        segments: of_rules.chain(kept).map(view).collect(),
        asked: asked.map(|_| counts.asked),
        tiers: rules.tiers.list.iter().map(|tier| tier.name.to_string()).collect(),
    })
}

fn day(text: &str, field: &str) -> Result<Day, ServiceError> {
    let date = text.trim().parse::<jiff::civil::Date>().ok();
    let epoch = jiff::civil::date(1970, 1, 1);
    let days = date.and_then(|date| (date - epoch).get_days().try_into().ok());
    let days = days.ok_or_else(|| {
        invalid(
            "date_malformed",
            format!("{field}: this is no day"),
            "write it as in 2026-12-01".to_owned(),
        )
        .in_chinese(format!("{field}：不是日期"), "写作 2026-12-01")
    })?;
    Ok(Day::new(days))
}

fn campaign_group(request: CampaignGroupRequest) -> Result<CampaignGroup, ServiceError> {
    let offer = match (request.coupon, request.points) {
        (None, None) => Offer::Nothing,
        (Some(kind), None) => Offer::Coupon(name(&kind, "coupon")?),
        (None, Some(number)) => Offer::Points(points(number)?),
        (Some(_), Some(_)) => {
            return Err(invalid(
                "offer_twofold",
                format!("the group \"{}\" has a coupon and points", request.name),
                "give one of them".to_owned(),
            )
            .in_chinese(format!("组「{}」既有优惠券又有积分", request.name), "二者取一"));
        }
    };
    Ok(CampaignGroup { name: name(&request.name, "group")?, share: request.share, offer })
}

impl Core {
    fn zone(&self) -> Zone {
        self.programme.rules().map(|rules| rules.zone).unwrap_or_default()
    }

    /// What a request makes of a campaign.
    pub(super) fn campaign_event(
        &self,
        campaign: &str,
        request: CampaignRequest,
        by: String,
    ) -> Result<Event, ServiceError> {
        let zone = self.zone();
        let (first, last) = (day(&request.from, "from")?, day(&request.to, "to")?);
        // what begins today begins at the last midnight: asked for again, it is the same campaign
        let from = zone.start(first);
        let groups = request.groups.into_iter().map(campaign_group).collect::<Result<_, _>>()?;
        let terms = CampaignTerms {
            words: Words { zh: request.zh, en: request.en },
            segment: name(&request.segment, "segment")?,
            groups,
            from,
            until: zone.start(last.plus(1)),
            count_days: request.count_days,
        };
        Ok(Event::MakeCampaign { name: name(campaign, "name")?, terms, by })
    }

    /// Segments that staff keeps, for who counts members on a thread of its own.
    pub fn kept_segments(&self) -> Vec<(String, SegmentTerms)> {
        let kept = self.programme.kept_segments();
        kept.map(|(name, terms)| (name.to_string(), terms.clone())).collect()
    }

    pub(super) fn campaign_list(&self, now: Timestamp) -> Vec<CampaignView> {
        let mut all: Vec<_> = self.programme.campaigns().collect();
        // the latest to begin first
        all.sort_by_key(|(name, campaign)| (std::cmp::Reverse(campaign.from), *name));
        all.into_iter().map(|(name, it)| self.campaign_view(name, it, now)).collect()
    }

    fn campaign_view(
        &self,
        name: &::programme::Name,
        campaign: &Campaign,
        now: Timestamp,
    ) -> CampaignView {
        let zone = self.zone();
        let last = Timestamp::from_unix_ms(campaign.until.unix_ms().saturating_sub(1));
        let group = |(place, group): (u8, &CampaignGroup)| {
            let result = self.programme.result(name, place);
            let (coupon, points) = match &group.offer {
                Offer::Nothing => (None, None),
                Offer::Coupon(kind) => (Some(kind.to_string()), None),
                Offer::Points(points) => (None, Some(points.get())),
            };
            CampaignGroupView {
                name: group.name.to_string(),
                share: group.share,
                coupon,
                points,
                members: result.members,
                buyers: result.buyers,
                purchases: result.purchases,
                fen: result.fen,
                coupons_given: result.coupons_given,
                coupons_redeemed: result.coupons_redeemed,
            }
        };
        CampaignView {
            name: name.to_string(),
            words: words(&campaign.words),
            segment: campaign.segment.to_string(),
            stage: campaign.stage(now).name().to_owned(),
            from: zone.day(campaign.from).date().to_string(),
            to: zone.day(last).date().to_string(),
            ended_ms: campaign.ended.map(Timestamp::unix_ms),
            count_days: campaign.count_days,
            by: campaign.by.clone(),
            made_ms: campaign.made.unix_ms(),
            left_out: self.programme.left_out_of_campaign(name),
            groups: (0_u8..).zip(&campaign.groups).map(group).collect(),
        }
    }

    /// Triggers of the rules whose offers take a consent.
    pub(super) fn trigger_views(&self, rules: &Rules) -> Vec<TriggerView> {
        let marketing = rules.triggers.iter().filter(|(_, trigger)| is_marketing(trigger));
        let view = |(name, _): (&::programme::Name, &Trigger)| TriggerView {
            trigger: name.to_string(),
            left_out: self.programme.left_out_of_trigger(name),
        };
        marketing.map(view).collect()
    }

    pub(super) fn rules_file_view(&self) -> RulesFileView {
        let rules = self.rules();
        let (announced, notice) = (self.programme.announced(), self.notice_period());
        RulesFileView {
            version: rules.version,
            rules: rules.text().to_owned(),
            announced: announced.map(|(rules, _)| rules.text().to_owned()),
            announced_from_ms: announced.map(|(_, change)| change.effective.unix_ms()),
            notice_days: notice.days,
            notice_by: notice.by.name().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_read_and_what_is_none_is_told() {
        assert_eq!(day("1970-01-02", "from").unwrap(), Day::new(1));
        assert_eq!(day(" 2026-11-29 ", "from").unwrap().date().to_string(), "2026-11-29");
        for wrong in ["", "2026-02-30", "29.11.2026", "1969-12-31"] {
            let error = day(wrong, "to").unwrap_err();
            assert_eq!(
                (error.code, error.message.as_str()),
                ("date_malformed", "to: this is no day")
            );
        }
    }

    #[test]
    fn a_segment_reads_back_as_it_was_asked_for() {
        let request = SegmentRequest {
            zh: "流失".to_owned(),
            en: "Lost".to_owned(),
            tier_at_least: Some("gold".to_owned()),
            quiet_days: Some(30),
            spent_at_least_fen: Some(10_000),
            category: Some("dairy".to_owned()),
            channel: Some("offline".to_owned()),
            hours: Some("evening".to_owned()),
            lifecycle: Some("quiet".to_owned()),
        };
        assert_eq!(segment_request(&segment_terms(request.clone()).unwrap()), request);
        let wrong = SegmentRequest { hours: Some("noon".to_owned()), ..request };
        let error = segment_terms(wrong).unwrap_err();
        assert_eq!(error.remedy, "one of morning, afternoon, evening, night");
    }
}
