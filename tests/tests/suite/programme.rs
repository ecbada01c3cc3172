//! The points programme of a running node: purchases at the counter, goods that come back, payments,
//! corrections, rules tried and announced; and all of it after a restart.

use alliance_config::sample::PROGRAMME_TEMPLATE;
use node::auth::Role;
use node::service::{
    AdjustmentRequest, Asker, CampaignGroupRequest, CampaignGroupView, CampaignRequest, ErrorKind,
    ManagerAction, MemberAction, MergeRequest, Node, PurchaseLine, PurchaseRequest, RulesFile,
    RulesRequest, SegmentRequest,
};

use super::alliance::{Alliance, eventually};

const BRAND: &str = "fuel_stop";
const CARD: &str = "FS0SE5S4Z7EN";

fn line(amount_fen: i64) -> PurchaseLine {
    PurchaseLine { department: "SNACKS".to_owned(), pieces: amount_fen.signum(), amount_fen }
}

fn bought(receipt: &str, returns: Option<&str>, lines: &[i64]) -> PurchaseRequest {
    PurchaseRequest {
        card: CARD.to_owned(),
        receipt: receipt.to_owned(),
        purchased_at: "2026-11-20T12:00:00+08:00".to_owned(),
        channel: "store".to_owned(),
        returns: returns.map(str::to_owned),
        lines: lines.iter().map(|fen| line(*fen)).collect(),
    }
}

async fn available(node: &Node) -> u64 {
    let (member, books) = (
        node.member(CARD.into()).await.unwrap(),
        node.programme_member(CARD.into()).await.unwrap(),
    );
    // what an exchange may spend, and what the programme's lots come to
    assert_eq!((member.available, member.held), (books.available, books.held));
    assert_eq!(books.lots.iter().map(|lot| lot.points).sum::<u64>(), books.available + books.held);
    let report = node.programme_report().await.unwrap();
    assert_eq!((report.trial_balance, report.differences), (0, 0));
    member.available
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_sells_takes_back_and_corrects_and_every_point_is_there_after_a_restart() {
    let mut alliance = Alliance::of_the_sample().await;
    // while nobody has anything, rules are taken at once, and others in their place
    let node = alliance.node(BRAND);
    let first = "format = \"coalition programme 1\"\nversion = 1\n[expiry]\nvalid_days = 365\n\
        [[coupon]]\nname = \"sorry\"\nzh = \"致歉\"\nen = \"Sorry\"\nvalid_days = 9\n";
    for text in [first.replace("365", "30"), first.to_owned()] {
        let request = RulesRequest { rules: text, effective_ms: None };
        assert_eq!(node.take_programme_rules(request).await.unwrap().version, 1);
    }
    alliance.import(BRAND).await;
    let base = available(&node).await;
    assert!(base > 0);

    let sale = bought("T1", None, &[1_000, 550]);
    let first_time = node.enter_purchase("k1".into(), sale.clone()).await.unwrap();
    assert_eq!((first_time.state.as_str(), first_time.points_earned), ("counted", 15));
    for key in ["k1", "k2"] {
        let again = node.enter_purchase(key.into(), sale.clone()).await.unwrap();
        assert_eq!((again.state.as_str(), again.points_earned), ("known", 0), "{key}");
    }
    assert_eq!(available(&node).await, base + 15);
    let other = node.enter_purchase("k1".into(), bought("T9", None, &[5])).await.unwrap_err();
    assert_eq!(other.code, "idempotency_key_reused");
    let mut nobody = bought("T8", None, &[500]);
    nobody.card = "NOBODY".to_owned();
    let refused = node.enter_purchase("k3".into(), nobody).await.unwrap_err();
    assert_eq!((refused.kind, refused.code), (ErrorKind::Invalid, "purchase_refused"));
    assert!(!refused.message.contains("NOBODY"), "{}", refused.message);

    // all of it comes back; then something is added to the same receipt: it has earned for that alone
    node.enter_purchase("k4".into(), bought("T2", Some("T1"), &[-1_550])).await.unwrap();
    assert_eq!(available(&node).await, base);
    let more = node.enter_purchase("k5".into(), bought("T1", None, &[1_000, 550, 1_000])).await;
    assert_eq!(more.unwrap().points_earned, 10);
    assert_eq!(available(&node).await, base + 10);

    let pay = MemberAction::Pay { points: 8, basket_fen: 500 };
    let act = async |node: &Node, key: &str, action: MemberAction| {
        node.programme_for_member(key.into(), CARD.into(), action).await
    };
    assert_eq!(act(&node, "p1", pay.clone()).await.unwrap().takes_off_fen, Some(8));
    let reverse = MemberAction::ReversePayment { payment: "p1".to_owned() };
    assert_eq!(act(&node, "r", reverse.clone()).await.unwrap().state, "done");
    assert_eq!(act(&node, "r", reverse).await.unwrap().state, "repeated");
    act(&node, "p2", pay).await.unwrap();
    assert_eq!(available(&node).await, base + 2);

    let adjust = async |key: &str, points: i64| {
        let request = AdjustmentRequest { points, reason: "a till was offline".to_owned() };
        node.adjust_points(key.into(), CARD.into(), "li".into(), request).await.unwrap()
    };
    assert_eq!(adjust("a1", 100).await.state, "done");
    let waiting = adjust("a2", 401).await;
    assert_eq!(waiting.state, "waiting");
    let number = waiting.number.unwrap();
    let own = node.decide_adjustment(number, true, "li".into()).await.unwrap_err();
    assert_eq!(own.code, "four_eyes");
    node.decide_adjustment(number, true, "wang".into()).await.unwrap();
    assert_eq!(available(&node).await, base + 503);
    let given = node.give_coupon("g".into(), CARD.into(), "sorry".into()).await.unwrap();
    assert!(given.code.is_some());

    // rules tried on the past: the same purchases, and twice the points
    let text = format!(
        "{}\n[earning]\npoints_per_yuan = [2, 1]\n",
        first.replace("version = 1", "version = 2")
    );
    let file = RulesFile { rules: text.clone() };
    let tried = node.simulate_programme_rules(file.clone()).await.unwrap();
    assert_eq!(tried.purchases, 2_093);
    let (old, new) = (&tried.in_force, &tried.proposed);
    assert!(new.earned_points >= 2 * old.earned_points && new.earned_points > 100_000);
    assert_eq!(old.earned_points, old.expired_points + old.left_points);
    // tiers within reach of who buys petrol
    let rules = PROGRAMME_TEMPLATE.replace("from_points = 3000", "from_points = 300");
    let all = node.simulate_programme_rules(RulesFile { rules }).await.unwrap().proposed;
    assert!(all.tiers.iter().any(|it| it.tier.as_deref() == Some("silver")), "{:?}", all.tiers);
    let checked = node.check_programme_rules(file).await.unwrap();
    assert!(checked.refused.is_none() && checked.differences.iter().any(|it| it.needs_notice));
    let now = RulesRequest { rules: text.clone(), effective_ms: Some(1) };
    let refused = node.take_programme_rules(now).await.unwrap_err();
    assert_eq!(refused.code, "rules_refused");
    let request = RulesRequest { rules: text, effective_ms: None };
    let view = node.take_programme_rules(request).await.unwrap();
    assert_eq!((view.version, view.announced.is_empty()), (1, false));

    let before = node.programme_member(CARD.into()).await.unwrap();
    assert_eq!(before.coupons.len(), 1);
    let report = node.programme_report().await.unwrap();
    alliance.stop(BRAND).await;
    alliance.start(BRAND).await;
    let node = alliance.node(BRAND);
    assert_eq!(available(&node).await, base + 503);
    assert_eq!(node.programme_member(CARD.into()).await.unwrap(), before);
    let after = node.programme_report().await.unwrap();
    assert_eq!((after.accounts, after.expiring), (report.accounts, report.expiring));
    assert_eq!(node.adjustments().await.unwrap().len(), 2);
    assert_eq!(node.issued_coupons(Some("sorry".into())).await.unwrap().len(), 1);
}

/// Two members are merged: what the one had is the other's, found by either card, and stays there when they
/// are parted again; purchases are each one's own then.
#[tokio::test(flavor = "multi_thread")]
async fn points_of_merged_members_are_the_ones_who_stays() {
    let mut alliance = Alliance::of_the_sample().await;
    alliance.import(BRAND).await;
    let node = alliance.node(BRAND);
    let cards = node.cards(1, None, 100).await.unwrap();
    let other = cards.into_iter().find(|card| card != CARD).unwrap();
    let of = async |node: &Node, card: &str| node.member(card.to_owned()).await.unwrap().available;
    let (mine, theirs) = (available(&node).await, of(&node, &other).await);
    assert!(mine > 0 && theirs > 0);
    let asker = Asker { user: "ann".to_owned(), roles: Role::ALL.to_vec() };
    let merge = MergeRequest { absorbed: other.clone() };
    node.merge_members(&asker, CARD.into(), merge).await.unwrap();
    eventually("the points have moved", async || of(&node, CARD).await == mine + theirs).await;
    assert_eq!(available(&node).await, mine + theirs);
    // the merged member's card is the other's now
    assert_eq!(of(&node, &other).await, mine + theirs);
    let record = node.member_record(&asker, CARD.into()).await.unwrap();
    let absorbed = record.merges.unwrap()[0].absorbed.clone();
    drop(node);

    alliance.restart(BRAND).await;
    let node = alliance.node(BRAND);
    assert_eq!(available(&node).await, mine + theirs);
    let part = MergeRequest { absorbed };
    node.part_members(&asker, CARD.into(), part).await.unwrap();
    assert_eq!(of(&node, &other).await, 0);
    assert_eq!(available(&node).await, mine + theirs);
    let sale = PurchaseRequest { card: other.clone(), ..bought("T9", None, &[900]) };
    let done = node.enter_purchase("k9".into(), sale).await.unwrap();
    assert_eq!(done.state, "counted");
    assert_eq!(of(&node, &other).await, done.points_earned);
    assert_eq!(available(&node).await, mine + theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_made_by_hand_counts_its_groups_and_is_there_after_a_restart() {
    let mut alliance = Alliance::of_the_sample().await;
    let node = alliance.node(BRAND);
    let rules = "format = \"coalition programme 1\"\nversion = 1\n\
        [[coupon]]\nname = \"ten\"\nzh = \"十元券\"\nen = \"Ten off\"\nworth_fen = 1000\nvalid_days = 9\n";
    let request = RulesRequest { rules: rules.to_owned(), effective_ms: None };
    node.take_programme_rules(request).await.unwrap();
    alliance.import(BRAND).await;
    let manage = async |node: &Node, action: ManagerAction| {
        node.manage_programme(action, "mia".to_owned()).await
    };
    let terms = SegmentRequest {
        zh: "消费过的会员".to_owned(),
        en: "Who has bought".to_owned(),
        quiet_days: Some(1),
        ..SegmentRequest::default()
    };
    let counted = node.programme_segments(Some(terms.clone())).await.unwrap();
    assert!(counted.segments.is_empty() && counted.asked.unwrap() > 100, "{counted:?}");
    let keep = |terms| ManagerAction::KeepSegment { name: "bought".to_owned(), terms };
    manage(&node, keep(terms.clone())).await.unwrap();
    let wrong = SegmentRequest { hours: Some("noon".to_owned()), ..terms };
    let refused = manage(&node, keep(wrong)).await.unwrap_err();
    assert_eq!((refused.kind, refused.code), (ErrorKind::Invalid, "value_unknown"));
    let kept = node.programme_segments(None).await.unwrap();
    assert_eq!(kept.segments[0].members, counted.asked.unwrap());

    let now_ms = i64::try_from(node.status().now_ms).unwrap();
    let now = jiff::Timestamp::from_millisecond(now_ms).unwrap();
    let today = jiff::tz::offset(8).to_datetime(now).date().to_string();
    let group = |name: &str, coupon: Option<&str>| CampaignGroupRequest {
        name: name.to_owned(),
        share: 1,
        coupon: coupon.map(str::to_owned),
        points: None,
    };
    let terms = CampaignRequest {
        zh: "春季".to_owned(),
        en: "Spring".to_owned(),
        segment: "bought".to_owned(),
        groups: vec![group("ten", Some("ten")), group("control", None)],
        from: today.clone(),
        to: today,
        count_days: 30,
    };
    let make = |terms| ManagerAction::MakeCampaign { name: "spring".to_owned(), terms };
    let wrong = CampaignRequest { groups: vec![group("nine", Some("nine"))], ..terms.clone() };
    let refused = manage(&node, make(wrong)).await.unwrap_err();
    assert_eq!((refused.kind, refused.code), (ErrorKind::Invalid, "terms_invalid"));
    assert!(refused.message.starts_with("coupon: "), "{}", refused.message);
    manage(&node, make(terms.clone())).await.unwrap();
    assert_eq!(manage(&node, make(terms.clone())).await.unwrap().state, "repeated");
    let members = counted.asked.unwrap();
    let groups = async |node: &Node| {
        let view = node.programme_campaigns().await.unwrap();
        assert!(view.experiments.is_empty(), "a campaign is no test of the rules");
        let campaign = view.campaigns.into_iter().next().unwrap();
        let of = |it: &CampaignGroupView| (it.members, it.coupons_given);
        (campaign.stage, of(&campaign.groups[0]), of(&campaign.groups[1]))
    };
    eventually("all members are in a group", async || {
        let (_, one, other) = groups(&node).await;
        one.0 + other.0 == members
    })
    .await;
    let found = groups(&node).await;
    let (stage, (offered, given), (control, nothing)) = found.clone();
    assert_eq!((stage.as_str(), given, nothing), ("running", offered, 0));
    // half expected; five standard deviations of the difference of 160 are 63
    assert!(offered.abs_diff(control) < 64, "{found:?}");
    let issued = node.issued_coupons(Some("ten".to_owned())).await.unwrap();
    assert!(issued.iter().all(|coupon| coupon.origin == "spring"));

    alliance.restart(BRAND).await;
    let node = alliance.node(BRAND);
    assert_eq!(groups(&node).await, found);
    manage(&node, ManagerAction::EndCampaign { name: "spring".to_owned() }).await.unwrap();
    assert_eq!(groups(&node).await.0, "ended");
    manage(&node, ManagerAction::DropSegment { name: "bought".to_owned() }).await.unwrap();
    assert!(node.programme_segments(None).await.unwrap().segments.is_empty());
}
