//! Campaigns made by hand, for segments of the rules and for those that staff keeps.

use super::*;
use crate::campaigns::{CampaignGroup, CampaignTerms, Offer};
use crate::rules::Words;
use crate::segments::SegmentTerms;

const RULES: &str = r#"
[spending]
minimum_points = 1
[[tier]]
name = "gold"
zh = "金卡"
en = "Gold"
from_points = 1000
[[coupon]]
name = "ten"
zh = "十元券"
en = "Ten off"
worth_fen = 1000
valid_days = 30
[[segment]]
name = "gold"
zh = "金卡会员"
en = "Gold members"
tier_at_least = "gold"
[[experiment]]
name = "test"
zh = "测试"
en = "Test"
[[experiment.group]]
name = "a"
share = 1
[[experiment.group]]
name = "b"
share = 1
points = 1
"#;

fn words() -> Words {
    Words { zh: "春季".to_owned(), en: "Spring".to_owned() }
}

fn group(group: &str, share: u32, offer: Offer) -> CampaignGroup {
    CampaignGroup { name: name(group), share, offer }
}

fn terms(world: &World, segment: &str, groups: Vec<CampaignGroup>) -> CampaignTerms {
    CampaignTerms {
        words: words(),
        segment: name(segment),
        groups,
        from: Timestamp::from_unix_ms(world.now + DAY_MS),
        until: Timestamp::from_unix_ms(world.now + 8 * DAY_MS),
        count_days: 10,
    }
}

fn make(world: &mut World, campaign: &str, terms: CampaignTerms) -> Outcome {
    let by = "mia".to_owned();
    world.handle(Event::MakeCampaign { name: name(campaign), terms, by })
}

fn result(world: &World, campaign: &str, group: u8) -> GroupResult {
    let mut all = world.programme.results();
    let found = all.find(|(test, place, _)| test.as_str() == campaign && *place == group);
    found.map(|(.., result)| result).unwrap_or_default()
}

#[test]
fn members_of_the_segment_come_into_a_campaign_from_its_first_moment_to_its_last() {
    let mut world = World::new(RULES);
    let quiet = SegmentTerms { words: words(), quiet_days: Some(3), ..SegmentTerms::default() };
    world.handle(Event::KeepSegment { name: name("away"), terms: quiet }).unwrap();
    world.buy(member(1), 10_000);
    let groups = vec![group("ten", 1, Offer::Coupon(name("ten")))];
    let asked = terms(&world, "away", groups);
    make(&mut world, "back", asked.clone()).unwrap();
    assert_eq!(make(&mut world, "back", asked.clone()), Ok(Answer::Repeated));
    let other = CampaignTerms { count_days: 11, ..asked };
    assert!(matches!(make(&mut world, "back", other), Err(Refusal::NameTaken { .. })));
    // it has begun, and nobody has been away for long enough
    world.days(2);
    assert_eq!(result(&world, "back", 0).members, 0);
    // what becomes of the segment changes nothing of who is meant
    world.handle(Event::DropSegment { name: name("away") }).unwrap();
    world.buy(member(2), 10_000);
    world.days(1);
    assert_eq!(result(&world, "back", 0).members, 1);
    let code = world.programme.coupons().of(member(1)).next().unwrap().0;
    let redeem =
        Event::RedeemCoupon { key: key(1), code, basket: fen(9_000), place: name("north") };
    world.handle(redeem).unwrap();
    world.buy(member(1), 9_000);
    world.days(2);
    // the other is away by now; nobody comes in twice
    let found = result(&world, "back", 0);
    assert_eq!((found.members, found.buyers, found.purchases, found.fen), (2, 1, 1, 9_000));
    assert_eq!((found.coupons_given, found.coupons_redeemed), (2, 1));
    world.handle(Event::ReopenCoupon { key: key(1), code }).unwrap();
    assert_eq!(result(&world, "back", 0).coupons_redeemed, 0);
    world.survives();
    world.days(10);
    world.buy(member(3), 100);
    world.days(30);
    assert_eq!(result(&world, "back", 0).members, 2);
    world.survives();
}

#[test]
fn groups_are_shared_out_and_the_control_group_gets_nothing() {
    let mut world = World::new(RULES);
    for who in 0..200 {
        world.buy(member(who), 100_000);
    }
    let groups =
        vec![group("gift", 1, Offer::Points(points(7))), group("control", 1, Offer::Nothing)];
    let asked = terms(&world, "gold", groups);
    make(&mut world, "spring", asked).unwrap();
    world.days(1);
    let (gift, control) = (result(&world, "spring", 0), result(&world, "spring", 1));
    assert_eq!(gift.members + control.members, 200);
    // 100 expected; five standard deviations are 35
    assert!(gift.members.abs_diff(100) < 36, "{gift:?}");
    let given: u64 = (0..200).map(|who| world.available(member(who)) - 1_000).sum();
    assert_eq!(given, 7 * gift.members);
    // each is in one group, the control group too, with the days of which purchases count
    let copied = world.programme.campaign_members().unwrap();
    let in_groups = |group: &str| {
        let all = (0..200).flat_map(|who| copied.of(member(who)).collect::<Vec<_>>());
        u64::try_from(all.filter(|it| it.group.as_str() == group).count()).unwrap()
    };
    assert_eq!((in_groups("gift"), in_groups("control")), (gift.members, control.members));
    let place = copied.of(member(7)).next().unwrap();
    assert_eq!((place.campaign.as_str(), place.last.since(place.first)), ("spring", 10));
    assert_eq!(copied.counts().iter().map(|(.., members)| members).sum::<u64>(), 200);
    // what comes later is not in what was copied
    world.buy(member(202), 100_000);
    world.days(1);
    let later = world.programme.campaign_members().unwrap();
    assert_eq!((later.of(member(202)).count(), copied.of(member(202)).count()), (1, 0));
    assert_ne!(later.counts(), copied.counts());
    // who is ended early stops; what was given stays
    world.handle(Event::EndCampaign { name: name("spring") }).unwrap();
    assert_eq!(world.handle(Event::EndCampaign { name: name("spring") }), Ok(Answer::Repeated));
    world.buy(member(201), 100_000);
    assert_eq!(world.available(member(201)), 1_000);
    assert_eq!(world.programme.campaign_members().unwrap().of(member(201)).count(), 0);
    world.survives();
}

#[test]
fn a_stopped_member_comes_into_no_campaign() {
    let mut world = World::new(&format!("{RULES}\n[fraud]\npoints_per_day = 10"));
    world.buy(member(1), 100_000);
    world.handle(review(1, Verdict::Stopped, Some("a till that was tampered with"))).unwrap();
    let groups = vec![group("gift", 1, Offer::Points(points(7)))];
    let asked = terms(&world, "gold", groups);
    make(&mut world, "spring", asked).unwrap();
    world.days(1);
    assert_eq!(result(&world, "spring", 0).members, 0);
    world.survives();
}

#[test]
fn segments_are_counted_those_of_the_rules_and_those_that_staff_keeps() {
    let mut world = World::new(RULES);
    world.buy(member(1), 100_000);
    world.buy(member(2), 10_000);
    let big = SegmentTerms {
        words: words(),
        spent_at_least: Some(fen(5_000)),
        ..SegmentTerms::default()
    };
    world.handle(Event::KeepSegment { name: name("big"), terms: big.clone() }).unwrap();
    let asked = SegmentTerms { spent_at_least: Some(fen(50_000)), ..big };
    let counts = world.programme.copy().count_segments(Some(&asked), world.at()).unwrap();
    assert_eq!((counts.members, counts.asked), (2, 1));
    let inside: Vec<(&str, u64)> =
        counts.inside.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(inside, [("big", 2), ("gold", 1)]);
}

#[test]
fn what_cannot_be_is_refused_with_the_field_and_what_would_be_right() {
    let mut world = World::new(RULES);
    let gift = || vec![group("gift", 1, Offer::Points(points(7)))];
    let good = terms(&world, "gold", gift());
    let coupon = vec![group("a", 1, Offer::Coupon(name("nine")))];
    let twice = vec![group("a", 1, Offer::Points(points(1))), group("a", 1, Offer::Nothing)];
    let at = Timestamp::from_unix_ms;
    for (wrong, told) in [
        (CampaignTerms { groups: coupon, ..good.clone() }, "coupon: the rules have no coupon"),
        (CampaignTerms { groups: twice, ..good.clone() }, "groups: each group once"),
        (CampaignTerms { groups: Vec::new(), ..good.clone() }, "groups: 1 to 10 groups"),
        (
            CampaignTerms { groups: vec![group("a", 1, Offer::Nothing)], ..good.clone() },
            "groups: at least one that gets something",
        ),
        (
            CampaignTerms { groups: vec![group("a", 0, Offer::Nothing)], ..good.clone() },
            "share: 1 to 10000",
        ),
        (CampaignTerms { from: at(world.now - DAY_MS), ..good.clone() }, "from: "),
        (CampaignTerms { until: good.from, ..good.clone() }, "until: after from"),
        (CampaignTerms { count_days: 0, ..good.clone() }, "count_days: 1 to 365"),
        (CampaignTerms { words: Words::default(), ..good.clone() }, "zh: 1 to 100 characters"),
        (CampaignTerms { segment: name("nobody"), ..good.clone() }, "no segment named \"nobody\""),
    ] {
        let found = make(&mut world, "spring", wrong).unwrap_err().to_string();
        assert!(found.contains(told), "{found}: {told}");
    }
    // results are counted under the name: one test or campaign of each
    assert!(matches!(make(&mut world, "test", good), Err(Refusal::NameTaken { .. })));
    let asked = terms(&world, "gold", gift());
    make(&mut world, "spring", asked).unwrap();
    let keep = |segment: &str, terms| Event::KeepSegment { name: name(segment), terms };
    let plain = SegmentTerms { words: words(), ..SegmentTerms::default() };
    let tier = SegmentTerms { tier_at_least: Some(name("platinum")), ..plain.clone() };
    let found = world.handle(keep("vip", tier)).unwrap_err().to_string();
    assert!(found.starts_with("tier_at_least: the rules have no tier"), "{found}");
    let days = SegmentTerms { quiet_days: Some(0), ..plain.clone() };
    let found = world.handle(keep("vip", days)).unwrap_err().to_string();
    assert!(found.starts_with("quiet_days: 1 to 3650"), "{found}");
    assert!(matches!(world.handle(keep("gold", plain.clone())), Err(Refusal::NameTaken { .. })));
    world.handle(keep("vip", plain)).unwrap();
    // and rules do not take the names that are in use
    for (section, told) in [
        ("[[segment]]\nname = \"vip\"\nzh = \"贵宾\"\nen = \"VIP\"", "segment.name: a segment"),
        (
            "[[experiment]]\nname = \"spring\"\nzh = \"春\"\nen = \"S\"\n[[experiment.group]]\nname = \"a\"\nshare = 1\n[[experiment.group]]\nname = \"b\"\nshare = 1",
            "experiment.name: a campaign",
        ),
    ] {
        let rules = format!("format = \"coalition programme 1\"\nversion = 2\n{RULES}\n{section}");
        let effective = at(world.now + 40 * DAY_MS);
        let found = world
            .handle(Event::ProposeRules { rules, effective, notice: Milliseconds::new(0) })
            .unwrap_err();
        assert!(found.to_string().contains(told), "{found}");
    }
    world.survives();
}
