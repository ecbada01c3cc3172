//! The programme at work, event by event; [`model`] compares it with another implementation.

mod birthdays;
mod campaigns;
mod fraud;
mod held;
mod marketing;
mod merge;
mod model;
mod offers;
mod openings;
mod staff;
mod taking_part;

use std::collections::BTreeSet;

use super::*;
use crate::accounts::{MoveError, Side};
use crate::calendar::DAY_MS;
use crate::earn::Basket;
use crate::fraud::Verdict;

pub(super) const START: u64 = 20_000 * DAY_MS;

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}
pub(super) fn points(number: u64) -> Points {
    Points::new(number).unwrap()
}
pub(super) fn fen(number: u64) -> Fen {
    Fen::new(number).unwrap()
}
pub(super) fn member(number: u8) -> Account {
    Account::from_bytes([number; 16])
}
pub(super) fn key(number: u64) -> Key {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Key::from_bytes(bytes)
}

pub(super) fn review(case: u64, verdict: Verdict, reason: Option<&str>) -> Event {
    Event::Review { case, verdict, by: "eva".to_owned(), reason: reason.map(str::to_owned) }
}

/// A programme with a clock, a generator and everything that became durable.
pub(super) struct World {
    pub programme: Programme,
    pub journal: Vec<Change>,
    pub now: u64,
    /// Who has not consented to marketing; all others have.
    pub refusing: BTreeSet<Account>,
    drawn: u64,
    baskets: u64,
}

impl World {
    pub fn new(rules: &str) -> Self {
        let text = format!("format = \"coalition programme 1\"\nversion = 1\n{rules}");
        let rules = Rules::from_toml(&text).unwrap();
        let mut world = Self {
            programme: Programme::new(&[3; 32]),
            journal: Vec::new(),
            now: START,
            refusing: BTreeSet::new(),
            drawn: 0,
            baskets: 0,
        };
        world.programme.open(&rules, world.at(), &mut world.journal).unwrap();
        world
    }

    pub fn at(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.now)
    }

    pub fn handle(&mut self, event: Event) -> Outcome {
        let at = self.at();
        let drawn = &mut self.drawn;
        let mut random = |bytes: &mut [u8]| {
            *drawn += 1;
            bytes[..8].copy_from_slice(&drawn.to_be_bytes());
        };
        let refusing = &self.refusing;
        let consents = |account: Account| !refusing.contains(&account);
        let before = (self.journal.len(), self.programme.snapshot());
        let outcome = self.programme.handle(event, at, &mut random, &consents, &mut self.journal);
        if outcome.is_err() {
            assert!(
                before == (self.journal.len(), self.programme.snapshot()),
                "a refusal changed something"
            );
        }
        assert_eq!(self.programme.accounts().trial_balance(), 0);
        outcome
    }

    pub fn days(&mut self, days: u64) {
        self.now += days * DAY_MS;
        self.tick();
    }

    pub fn tick(&mut self) {
        let at = self.at();
        let drawn = &mut self.drawn;
        let mut random = |bytes: &mut [u8]| {
            *drawn += 1;
            bytes[..8].copy_from_slice(&drawn.to_be_bytes());
        };
        let refusing = &self.refusing;
        let consents = |account: Account| !refusing.contains(&account);
        while self.programme.tick(at, 3, &mut random, &consents, &mut self.journal).unwrap() {}
        assert_eq!(self.programme.accounts().trial_balance(), 0);
    }

    pub fn buy(&mut self, account: Account, total: u64) -> Answer {
        self.baskets += 1;
        let number = self.baskets;
        self.change_basket(account, number, 0, 0, total)
    }

    pub fn change_basket(
        &mut self,
        account: Account,
        basket: u64,
        part: u32,
        before: u64,
        after: u64,
    ) -> Answer {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&basket.to_be_bytes());
        bytes[16..].copy_from_slice(&part.to_be_bytes());
        self.handle(Event::Purchased(Purchase {
            account,
            part: BasketPart::from_bytes(bytes),
            at: self.at(),
            hour: Some(12),
            channel: name("offline"),
            first_part: part == 0,
            before: Basket::of(fen(before)),
            after: Basket::of(fen(after)),
        }))
        .unwrap()
    }

    pub fn available(&self, account: Account) -> u64 {
        self.programme.accounts().balance(account).available().get()
    }

    /// What replaying the journal gives is what is there, and so is what a snapshot gives.
    pub fn survives(&self) {
        let mut again = Programme::new(&[3; 32]);
        for change in &self.journal {
            let bytes = minicbor::to_vec(change).unwrap();
            let read: Change = minicbor::decode(&bytes).unwrap();
            assert_eq!(read, *change);
            again.replay(&read).unwrap();
        }
        assert!(again.snapshot() == self.programme.snapshot(), "a replay gives another state");
        let restored = Programme::restore(&[3; 32], &self.programme.snapshot()).unwrap();
        assert!(restored.snapshot() == self.programme.snapshot());
        assert_eq!(restored.announced(), self.programme.announced());
    }
}

fn earned(answer: &Answer) -> (u64, u64) {
    match answer {
        Answer::Earned { earned, taken_back } => (earned.get(), taken_back.get()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refund_after_the_points_have_left_is_owed_and_filled_by_what_comes_next() {
    let mut world = World::new("[spending]\nminimum_points = 10");
    let one = member(1);
    assert_eq!(earned(&world.buy(one, 10_000)), (100, 0));
    let pay = |points| Event::Pay { key: key(1), account: member(1), points, basket: fen(90) };
    assert_eq!(world.handle(pay(points(80))), Ok(Answer::TakesOff { worth: fen(80) }));
    // goods of 70 yuan come back: 20 points are there, 50 are owed
    assert_eq!(earned(&world.change_basket(one, 1, 1, 10_000, 3_000)), (0, 70));
    let balance = world.programme.accounts().balance(one);
    assert_eq!((balance.available().get(), balance.owed().get()), (0, 50));
    assert_eq!(earned(&world.buy(one, 3_000)), (30, 0));
    assert_eq!(world.programme.accounts().balance(one).owed().get(), 20);
    world.buy(one, 3_000);
    assert_eq!(world.available(one), 10);
    assert_eq!(world.programme.accounts().side(Side::Returned), 70);
    world.survives();
}

#[test]
fn a_part_of_a_basket_counts_once() {
    let mut world = World::new("");
    world.change_basket(member(1), 5, 0, 0, 5_050);
    assert_eq!(world.change_basket(member(1), 5, 0, 0, 5_050), Answer::Repeated);
    // rounded once a basket: 50 + 1, not 50 + 0
    assert_eq!(earned(&world.change_basket(member(1), 5, 1, 5_050, 5_100)), (1, 0));
    assert_eq!(world.available(member(1)), 51);
    assert_eq!(world.programme.profile(member(1)).purchases, 1);
}

#[test]
fn sign_ins_running_earn_more_and_a_day_left_out_begins_anew() {
    let mut world = World::new(
        "[earning.sign_in]\npoints = [5, 6, 8]\nbonus_after_days = 4\nbonus_points = 20\n[[earning.activity]]\nname = \"survey\"\npoints = 9",
    );
    let mut got = Vec::new();
    for _ in 0..5 {
        got.push(earned(&world.handle(Event::SignedIn { account: member(1) }).unwrap()).0);
        let again = world.handle(Event::SignedIn { account: member(1) });
        assert_eq!(again, Err(Refusal::Today));
        world.days(1);
    }
    assert_eq!(got, [5, 6, 8, 28, 8]);
    world.days(1);
    assert_eq!(earned(&world.handle(Event::SignedIn { account: member(1) }).unwrap()).0, 5);
    let survey = || Event::Did { account: member(1), activity: name("survey") };
    assert_eq!(earned(&world.handle(survey()).unwrap()).0, 9);
    assert_eq!(world.handle(survey()), Err(Refusal::Today));
    world.survives();
}

fn join(world: &mut World, number: u8, referrer: Option<u8>) -> Outcome {
    let referrer = referrer.map(member);
    let account = member(number);
    world.handle(Event::Joined { account, birthday: None, referrer, device: None, address: None })
}

#[test]
fn who_brings_a_member_is_rewarded_at_the_first_purchase_and_so_often_at_most() {
    let mut world = World::new("[earning.referral]\npoints = 30\nmost_per_member = 2");
    assert_eq!(join(&mut world, 1, Some(1)), Err(Refusal::OwnReferrer));
    for number in 2..6 {
        join(&mut world, number, Some(1)).unwrap();
    }
    assert_eq!(join(&mut world, 2, None), Err(Refusal::Joined));
    assert_eq!(world.available(member(1)), 0);
    for (number, expected) in [(2, 30), (2, 30), (3, 60), (4, 60), (5, 60)] {
        world.buy(member(number), 100);
        assert_eq!(world.available(member(1)), expected);
    }
    world.survives();
}

#[test]
fn a_tier_is_reached_by_points_and_the_distance_to_the_next_is_shown() {
    use crate::tiers::{Distance, standing};
    let mut world = World::new(
        "[[tier]]\nname = \"silver\"\nzh = \"银\"\nen = \"Silver\"\nfrom_points = 100\nearning_factor = [11, 10]\n[[tier]]\nname = \"gold\"\nzh = \"金\"\nen = \"Gold\"\nfrom_points = 300",
    );
    world.buy(member(1), 9_000);
    let shown = |world: &World| {
        let profile = world.programme.profile(member(1));
        let standing = standing(world.programme.rules().unwrap(), &profile, world.at());
        (
            standing.tier.map(|tier| tier.name.to_string()),
            standing.next.map(|(tier, distance)| (tier.name.to_string(), distance)),
        )
    };
    assert_eq!(shown(&world), (None, Some(("silver".into(), Distance::Points(10)))));
    world.buy(member(1), 1_000);
    assert_eq!(
        shown(&world),
        (Some("silver".into()), Some(("gold".into(), Distance::Points(200))))
    );
    assert_eq!(earned(&world.buy(member(1), 10_000)).0, 110);
    world.buy(member(1), 10_000);
    assert_eq!(shown(&world), (Some("gold".into()), None));
    let notices: Vec<_> = world.programme.notices(0).map(|told| told.notice.clone()).collect();
    let reached = |tier| Notice::TierReached { tier: name(tier) };
    assert_eq!(notices, [reached("silver"), reached("gold")]);
    world.survives();
}

#[test]
fn a_tier_by_recency_frequency_and_money_is_lost_by_staying_away() {
    let mut world = World::new(
        "[tiers]\nby = \"rfm\"\nrfm_months = 3\n[[tier]]\nname = \"gold\"\nzh = \"金\"\nen = \"Gold\"\nwithin_days = 40\npurchases = 2\nspent_fen = 10000",
    );
    world.buy(member(1), 9_000);
    assert_eq!(world.programme.profile(member(1)).rank, 0);
    world.buy(member(1), 1_000);
    assert_eq!(world.programme.profile(member(1)).rank, 1);
    world.days(40);
    assert_eq!(world.programme.profile(member(1)).rank, 1);
    world.days(1);
    assert_eq!(world.programme.profile(member(1)).rank, 0);
    world.survives();
}

#[test]
fn points_expire_after_their_last_day_and_the_member_was_told_once() {
    let mut world = World::new("[expiry]\nvalid_days = 100\nnotice_days = 30");
    world.buy(member(1), 5_000);
    world.days(10);
    world.buy(member(1), 2_000);
    world.days(60);
    let told = |world: &World| {
        let notices = world.programme.notices(0);
        let soon = notices.filter_map(|told| match told.notice {
            Notice::PointsExpire { points, .. } => Some(points.get()),
            _ => None,
        });
        soon.collect::<Vec<_>>()
    };
    assert_eq!(told(&world), Vec::<u64>::new());
    world.days(1);
    assert_eq!(told(&world), [50]);
    world.days(12);
    assert_eq!(told(&world), [50, 20]);
    world.days(17);
    assert_eq!(world.available(member(1)), 70);
    world.days(1);
    assert_eq!(world.available(member(1)), 20);
    world.days(10);
    assert_eq!(world.available(member(1)), 0);
    assert_eq!(world.programme.accounts().side(Side::Expired), 70);
    assert_eq!(told(&world), [50, 20]);
    world.survives();
    let report = crate::report::report(&world.programme, world.at());
    assert_eq!((report.trial_balance, report.liability_points), (0, 0));
    assert_eq!(report.breakage_per_mille(), Some(1_000));
}

#[test]
fn announced_rules_hold_from_their_moment_on_and_points_keep_their_time() {
    let mut world = World::new("[expiry]\nvalid_days = 365");
    world.buy(member(1), 5_000);
    let rules = |version: u32, days: u32| {
        format!(
            "format = \"coalition programme 1\"\nversion = {version}\n[expiry]\nvalid_days = {days}"
        )
    };
    let propose = |world: &mut World, days_ahead: u64| {
        let effective = Timestamp::from_unix_ms(world.now + days_ahead * DAY_MS);
        let notice = Milliseconds::new(20 * DAY_MS);
        world.handle(Event::ProposeRules { rules: rules(2, 90), effective, notice })
    };
    assert!(matches!(propose(&mut world, 29), Err(Refusal::Change(_))));
    propose(&mut world, 30).unwrap();
    assert!(matches!(
        propose(&mut world, 30),
        Err(Refusal::Change(crate::rules::RuleChangeError::Pending { version: 2 }))
    ));
    world.survives();
    world.handle(Event::WithdrawRules).unwrap();
    assert_eq!(world.handle(Event::WithdrawRules), Err(Refusal::NothingAnnounced));
    propose(&mut world, 30).unwrap();
    let words = crate::plain::notice(
        world.programme.rules().unwrap(),
        world.programme.announced().unwrap().1,
    );
    assert!(words[0].en.contains("change on") && words[1].zh.contains("90 天有效"), "{words:?}");
    world.days(29);
    assert_eq!(world.programme.rules().unwrap().version, 1);
    world.days(1);
    assert_eq!(world.programme.rules().unwrap().version, 2);
    world.buy(member(1), 1_000);
    let balance = world.programme.accounts().balance(member(1));
    let days: Vec<u64> = balance
        .lots()
        .as_slice()
        .iter()
        .map(|lot| (lot.expires.unwrap().unix_ms() - START) / DAY_MS)
        .collect();
    assert_eq!(days, [30 + 90, 365]);
    world.survives();
}

/// Who asks too late is told from where on notices are kept, and who does not is told of no gap.
#[test]
fn notices_that_are_kept_no_longer_are_told_as_lost() {
    let mut world = World::new("[fraud]\npoints_per_day = 1");
    assert_eq!(world.programme.notices_lost_before(0), None);
    let at = world.at();
    let told = |case| Change::Told { account: None, at, notice: Notice::Review { case } };
    for case in 1..=u64::try_from(NOTICES_MAX).unwrap() {
        world.programme.replay(&told(case)).unwrap();
    }
    assert_eq!(world.programme.notices_lost_before(0), None);
    assert_eq!(world.programme.notices(0).count(), NOTICES_MAX);
    for case in 1..=7 {
        world.programme.replay(&told(case)).unwrap();
    }
    assert_eq!(world.programme.notices(0).next().unwrap().number, 8);
    for after in [0, 1, 6] {
        assert_eq!(world.programme.notices_lost_before(after), Some(8), "{after}");
    }
    for after in [7, 8, u64::MAX] {
        assert_eq!(world.programme.notices_lost_before(after), None, "{after}");
    }
}

/// An hour that is not known is in no part of the day, and all that is not a shop's is online.
#[test]
fn segments_go_by_the_hours_that_are_known_and_by_channels() {
    let segment = |name: &str, what: &str| {
        format!("[[segment]]\nname = \"{name}\"\nzh = \"甲\"\nen = \"A\"\n{what}\n")
    };
    let mut world = World::new(&format!(
        "{}{}{}{}{}",
        segment("owls", "hours = \"night\""),
        segment("noon", "hours = \"afternoon\""),
        segment("apps", "channel = \"app\""),
        segment("online", "channel = \"online\""),
        segment("shops", "channel = \"offline\""),
    ));
    let bought: [(u8, Option<u8>, &str); 8] = [
        (1, Some(2), "app"),
        (2, None, "app"),
        (3, Some(12), "offline"),
        (4, None, "offline"),
        (4, None, "offline"),
        (4, None, "app"),
        (4, None, "mini_program"),
        (4, None, "ecommerce"),
    ];
    for (number, (who, hour, channel)) in (1_u8..).zip(bought) {
        let mut part = [number; 20];
        part[16..].fill(0);
        let purchase = Purchase {
            account: member(who),
            part: BasketPart::from_bytes(part),
            at: world.at(),
            hour,
            channel: name(channel),
            first_part: true,
            before: Basket::default(),
            after: Basket::of(fen(1_000)),
        };
        world.handle(Event::Purchased(purchase)).unwrap();
    }
    let counts = world.programme.copy().count_segments(None, world.at()).unwrap();
    let inside: Vec<(&str, u64)> =
        counts.inside.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(inside, [("apps", 2), ("noon", 1), ("online", 3), ("owls", 1), ("shops", 1)]);
    world.survives();
}

#[test]
fn a_request_has_seven_days_and_a_late_one_is_told() {
    let mut world = World::new("");
    let ask = || Event::Ask {
        account: member(1),
        about: name("complaint"),
        text: "too few points".into(),
    };
    assert_eq!(world.handle(ask()), Ok(Answer::Number(1)));
    assert_eq!(world.handle(ask()), Ok(Answer::Number(2)));
    let answer = |request| Event::Answer { request, text: "entered".into() };
    world.handle(answer(1)).unwrap();
    assert_eq!(world.handle(answer(1)), Err(Refusal::NotOpen { what: "request", number: 1 }));
    let late = |world: &World| {
        let notices = world.programme.notices(0);
        notices.filter(|told| matches!(told.notice, Notice::Late { .. })).count()
    };
    world.days(6);
    assert_eq!(late(&world), 0);
    world.days(1);
    assert_eq!(late(&world), 1);
    assert!(!format!("{:?}", world.programme).contains("too few points"));
    world.survives();
}

#[test]
fn who_was_erased_leaves_the_books_and_nothing_else() {
    let mut world = World::new(
        "[[coupon]]\nname = \"a\"\nzh = \"券\"\nen = \"A\"\nvalid_days = 3\nclaimable = true",
    );
    world.buy(member(1), 5_000);
    world.handle(Event::ClaimCoupon { key: key(1), account: member(1), kind: name("a") }).unwrap();
    world
        .handle(Event::Ask { account: member(1), about: name("other"), text: "hello".into() })
        .unwrap();
    world.handle(Event::Forget { account: member(1) }).unwrap();
    assert_eq!(world.programme.coupons().of(member(1)).count(), 0);
    assert_eq!(world.programme.requests().iter().count(), 0);
    assert_eq!(world.programme.profile(member(1)).purchases, 0);
    assert_eq!(world.handle(Event::SignedIn { account: member(1) }), Err(Refusal::Stopped));
    world.survives();
}

#[test]
fn without_rules_nothing_is_done() {
    let mut programme = Programme::new(&[1; 32]);
    let mut out = Vec::new();
    let now = Timestamp::from_unix_ms(1);
    let event = Event::SignedIn { account: member(1) };
    assert_eq!(
        programme.handle(event, now, &mut |_| {}, &|_| true, &mut out),
        Err(Refusal::NoRules)
    );
    programme.follow(member(1), points(5), Way::Give(Side::CameIn), now, &mut out).unwrap();
    assert_eq!(programme.accounts().iter().count(), 0);
    assert_eq!(MoveError::Range.to_string(), "the balance would leave the range of an amount");
}
