//! What looks like fraud: stopped, reviewed, or asked for a second step.

use super::*;
use crate::fraud::{Sign, Trace};

fn open(world: &mut World, who: u8, device: Option<u8>, address: Option<u8>) {
    let trace = |number: u8| Trace::from_bytes([number; 16]);
    world
        .handle(Event::Joined {
            account: member(who),
            birthday: None,
            referrer: None,
            device: device.map(trace),
            address: address.map(trace),
        })
        .unwrap();
}

#[test]
fn many_accounts_on_a_device_stop_at_once_until_a_person_clears_them() {
    let mut world = World::new("[spending]\nminimum_points = 1\n[fraud]\naccounts_per_device = 3");
    for who in 1..=3 {
        open(&mut world, who, Some(9), None);
    }
    assert_eq!(world.programme.watch().cases().count(), 0);
    world.buy(member(1), 10_000);
    open(&mut world, 4, Some(9), None);
    open(&mut world, 5, Some(8), None);
    let (number, case) = world.programme.watch().cases().next().unwrap();
    assert_eq!((case.sign, case.accounts.len()), (Sign::Device, 4));
    let pay =
        || Event::Pay { key: key(1), account: member(1), points: points(5), basket: fen(100) };
    assert_eq!(world.handle(pay()), Err(Refusal::Stopped));
    assert_eq!(world.handle(Event::SignedIn { account: member(4) }), Err(Refusal::Stopped));
    world.survives();
    world.handle(review(number, Verdict::Cleared, None)).unwrap();
    assert!(world.handle(pay()).is_ok());
    let again = review(number, Verdict::Stopped, Some("too many"));
    assert_eq!(world.handle(again), Err(Refusal::NotOpen { what: "case", number }));
    world.survives();
}

#[test]
fn a_burst_from_an_address_is_reviewed_within_a_day_or_told_as_late() {
    let mut world =
        World::new("[fraud]\naccounts_per_address = 2\naddress_minutes = 60\nreview_hours = 24");
    open(&mut world, 1, None, Some(7));
    world.now += 61 * 60_000;
    open(&mut world, 2, None, Some(7));
    open(&mut world, 3, None, Some(7));
    assert_eq!(world.programme.watch().cases().count(), 0);
    open(&mut world, 4, None, Some(7));
    let case = world.programme.watch().cases().next().unwrap().1.clone();
    assert_eq!((case.sign, case.accounts.len()), (Sign::Address, 3));
    assert_eq!(case.due.since(case.opened).get(), DAY_MS);
    assert!(world.programme.accounts().iter().next().is_none());
    world.days(1);
    let late = Notice::Late { request: None, case: Some(1) };
    assert!(world.programme.notices(0).any(|told| told.notice == late));
    assert_eq!(
        world.handle(review(1, Verdict::Stopped, None)).unwrap_err(),
        Refusal::ReasonMissing
    );
    world.handle(review(1, Verdict::Stopped, Some("one phone, six people"))).unwrap();
    let closed = world.programme.watch().case(1).unwrap();
    assert_eq!(closed.reviewer.as_deref(), Some("eva"));
    assert_eq!(closed.reason.as_deref(), Some("one phone, six people"));
    assert!(
        world.programme.profile(member(4)).stopped && !world.programme.profile(member(1)).stopped
    );
    world.survives();
}

#[test]
fn rapid_virtual_rewards_need_a_second_step_and_are_reviewed() {
    let mut world = World::new(
        "[fraud]\nvirtual_rewards = 2\nvirtual_minutes = 10\n[[reward]]\nname = \"code\"\nzh = \"兑换码\"\nen = \"Code\"\nprice_points = 1\nvirtual = true",
    );
    world.buy(member(1), 10_000);
    world.handle(Event::Stock { reward: name("code"), total: 100 }).unwrap();
    let hold = |world: &mut World, number, second_step| {
        world
            .handle(Event::HoldReward {
                key: key(number),
                account: member(1),
                reward: name("code"),
                second_step,
            })
            .unwrap()
    };
    assert!(matches!(hold(&mut world, 1, false), Answer::SetAside { .. }));
    assert!(matches!(hold(&mut world, 2, false), Answer::SetAside { .. }));
    assert_eq!(hold(&mut world, 3, false), Answer::SecondStepNeeded { case: 1 });
    assert_eq!(hold(&mut world, 3, false), Answer::SecondStepNeeded { case: 1 });
    assert_eq!(world.programme.watch().cases().count(), 1);
    assert!(matches!(hold(&mut world, 3, true), Answer::SetAside { .. }));
    world.now += 11 * 60_000;
    assert!(matches!(hold(&mut world, 4, false), Answer::SetAside { .. }));
    world.survives();
}

#[test]
fn unusual_growth_of_points_is_told() {
    let mut world = World::new("[fraud]\npoints_per_day = 150");
    world.buy(member(1), 10_000);
    world.days(1);
    world.buy(member(1), 10_000);
    assert_eq!(world.programme.watch().cases().count(), 0);
    world.buy(member(1), 10_000);
    world.buy(member(1), 10_000);
    let cases: Vec<_> = world.programme.watch().cases().map(|(_, case)| case.sign).collect();
    assert_eq!(cases, [Sign::Growth]);
    assert!(world.programme.notices(0).any(|told| told.notice == Notice::Review { case: 1 }));
    world.survives();
}

/// Points that nobody bought are points too. Fails when only purchases are looked at.
#[test]
fn growth_is_told_by_whatever_way_points_come() {
    let mut world = World::new(
        "[fraud]\npoints_per_day = 150\n[adjustments]\nalone_points_a_day = 100\n\
         [earning.sign_in]\npoints = [100]\nbonus_points = 0\n\
         [[earning.activity]]\nname = \"survey\"\npoints = 60\n",
    );
    let grown = |world: &World| -> Vec<Account> {
        let cases = world.programme.watch().cases();
        cases
            .filter(|(_, it)| it.sign == Sign::Growth)
            .flat_map(|(_, it)| it.accounts.clone())
            .collect()
    };
    let adjust = |number: u64, who: u8, (amount, gives): (u64, bool), by: &str| Event::Adjust {
        key: key(number),
        account: member(who),
        points: points(amount),
        gives,
        reason: "a till was offline".to_owned(),
        by: by.to_owned(),
    };
    let decide = |number| Event::DecideAdjustment { number, agrees: true, by: "wang".to_owned() };
    // signs in, and tells its opinion
    world.handle(Event::SignedIn { account: member(1) }).unwrap();
    assert!(grown(&world).is_empty());
    world.handle(Event::Did { account: member(1), activity: name("survey") }).unwrap();
    assert_eq!(grown(&world), [member(1)]);
    // a correction of somebody of whom nothing is remembered: what waits is no gain yet
    world.handle(adjust(1, 2, (151, true), "li")).unwrap();
    assert_eq!(grown(&world), [member(1)]);
    world.handle(decide(1)).unwrap();
    assert_eq!(grown(&world), [member(1), member(2)]);
    // what is taken is none
    world.handle(adjust(2, 2, (151, false), "li")).unwrap();
    world.handle(decide(2)).unwrap();
    // corrections add to what was bought on the day, and lift no tier
    world.buy(member(3), 10_000);
    world.handle(adjust(3, 3, (60, true), "zhou")).unwrap();
    assert_eq!(grown(&world), [member(1), member(2), member(3)]);
    assert_eq!(world.programme.profile(member(3)).accumulated, 100);
    // and are forgotten by the next
    world.days(1);
    world.buy(member(4), 10_000);
    world.days(1);
    world.handle(adjust(4, 4, (60, true), "zhou")).unwrap();
    assert_eq!(grown(&world).len(), 3);
    world.survives();
}

fn stopped(world: &World, who: u8) -> bool {
    world.programme.is_stopped(member(who))
}

/// A stop belongs to its case: what clears another sign of the same account leaves it.
#[test]
fn clearing_a_case_of_growth_leaves_a_stop_for_the_device() {
    let mut world = World::new("[fraud]\naccounts_per_device = 1\npoints_per_day = 50");
    open(&mut world, 1, Some(9), None);
    open(&mut world, 2, Some(9), None);
    world.buy(member(1), 10_000);
    let signs: Vec<_> = world.programme.watch().cases().map(|(_, case)| case.sign).collect();
    assert_eq!(signs, [Sign::Device, Sign::Growth]);
    world.handle(review(2, Verdict::Cleared, None)).unwrap();
    assert!(stopped(&world, 1) && stopped(&world, 2));
    world.handle(review(1, Verdict::Cleared, None)).unwrap();
    assert!(!stopped(&world, 1) && !stopped(&world, 2));
    // and what was found once is not undone by what is cleared later
    world.buy(member(1), 10_000);
    world.handle(review(3, Verdict::Stopped, Some("a stolen till"))).unwrap();
    world.buy(member(1), 10_000);
    world.handle(review(4, Verdict::Cleared, None)).unwrap();
    assert!(stopped(&world, 1));
    world.survives();
}

#[test]
fn who_comes_to_a_device_whose_case_is_open_is_of_that_case() {
    let mut world = World::new("[fraud]\naccounts_per_device = 1");
    for who in 1..=3 {
        open(&mut world, who, Some(9), None);
    }
    let cases: Vec<_> = world.programme.watch().cases().collect();
    assert_eq!((cases.len(), cases[0].1.accounts.clone()), (1, [1, 2, 3].map(member).to_vec()));
    assert!((1..=3).all(|who| stopped(&world, who)));
    let told = |world: &World| {
        let stops = world.programme.notices(0).filter(|told| told.notice == Notice::Stopped);
        stops.filter_map(|told| told.account).collect::<Vec<_>>()
    };
    assert_eq!(told(&world), [1, 2, 3].map(member));
    world.handle(review(1, Verdict::Cleared, None)).unwrap();
    assert!((1..=3).all(|who| !stopped(&world, who)));
    // who was erased meanwhile stays without anything
    open(&mut world, 4, Some(9), None);
    world.handle(Event::Forget { account: member(4) }).unwrap();
    world.handle(review(2, Verdict::Cleared, None)).unwrap();
    assert!(stopped(&world, 4) && !stopped(&world, 3));
    world.survives();
}

/// A journal of a version that stopped who came later and left it out of the case.
#[test]
fn who_an_earlier_version_left_stopped_without_a_case_goes_on_with_the_others() {
    let mut world = World::new("[fraud]\naccounts_per_device = 1");
    let at = world.at();
    let joined = |who| Change::Joined {
        account: member(who),
        at,
        birthday: None,
        referrer: None,
        device: Some(Trace::from_bytes([9; 16])),
        address: None,
    };
    let stop = |who| Change::Stopped { account: member(who), stopped: true };
    let case = crate::fraud::Case {
        sign: Sign::Device,
        accounts: vec![member(1), member(2)],
        opened: at,
        due: at,
        closed: None,
        reviewer: None,
        reason: None,
        action: None,
    };
    let opened = Change::CaseOpened { number: 1, case };
    for change in [joined(1), joined(2), stop(1), stop(2), opened, joined(3), stop(3)] {
        world.programme.replay(&change).unwrap();
        world.journal.push(change);
    }
    assert_eq!(world.programme.watch().case(1).unwrap().accounts.len(), 2);
    world.handle(review(1, Verdict::Cleared, None)).unwrap();
    assert!((1..=3).all(|who| !stopped(&world, who)));
    world.survives();
}

const SHOP: &str = r#"
[spending]
minimum_points = 1
[[coupon]]
name = "five"
zh = "五元"
en = "Five"
worth_fen = 500
valid_days = 30
claimable = true
[[reward]]
name = "cup"
zh = "杯"
en = "Cup"
price_points = 1
[fraud]
points_per_day = 150
"#;

/// What a member may do who has points, a coupon and a reward set aside.
fn spends(world: &mut World, number: u64) -> [Outcome; 4] {
    let account = member(1);
    let reward = name("cup");
    [
        Event::Pay { key: key(number), account, points: points(1), basket: fen(100) },
        Event::ClaimCoupon { key: key(number + 1), account, kind: name("five") },
        Event::HoldReward { key: key(number + 2), account, reward, second_step: false },
        Event::HandOver { key: key(1) },
    ]
    .map(|event| world.handle(event))
}

fn shop(action: &str) -> World {
    let mut world = World::new(&format!("{SHOP}{action}"));
    world.handle(Event::Stock { reward: name("cup"), total: 10 }).unwrap();
    world.buy(member(1), 10_000);
    let account = member(1);
    let reward = name("cup");
    let ask = Event::HoldReward { key: key(1), account, reward, second_step: false };
    world.handle(ask).unwrap();
    world
}

#[test]
fn what_is_held_for_review_earns_and_spends_nothing_until_it_is_cleared() {
    let mut world = shop("growth_action = \"hold\"");
    let claim = Event::ClaimCoupon { key: key(2), account: member(1), kind: name("five") };
    let Ok(Answer::Coupon { code, .. }) = world.handle(claim) else { panic!("no coupon") };
    world.buy(member(1), 10_000);
    assert_eq!(world.programme.held_for_review(member(1)), Some(1));
    assert!(!stopped(&world, 1));
    let held = Err(Refusal::HeldForReview { case: 1 });
    assert!(spends(&mut world, 10).iter().all(|outcome| *outcome == held));
    let redeem =
        || Event::RedeemCoupon { key: key(20), code, basket: fen(900), place: name("shop") };
    assert_eq!(world.handle(redeem()), held);
    // points are earned, and are there when it is cleared
    assert_eq!(earned(&world.buy(member(1), 5_000)), (50, 0));
    let notices = |world: &World, notice: Notice| {
        world.programme.notices(0).filter(|told| told.notice == notice).count()
    };
    assert_eq!(notices(&world, Notice::HeldForReview), 1);
    world.survives();
    world.handle(review(1, Verdict::Cleared, None)).unwrap();
    assert_eq!(world.programme.held_for_review(member(1)), None);
    assert!(world.handle(redeem()).is_ok());
    assert!(spends(&mut world, 10).iter().all(Result::is_ok));
    // and are void where fraud was found: the account is stopped
    world.buy(member(1), 10_000);
    world.handle(review(2, Verdict::Stopped, Some("a stolen till"))).unwrap();
    assert_eq!(world.programme.held_for_review(member(1)), None);
    assert_eq!(spends(&mut world, 30)[0], Err(Refusal::Stopped));
    world.survives();
}

#[test]
fn rules_say_what_is_done_about_each_sign() {
    // only reviewed, as without a word
    for action in ["", "growth_action = \"watch\""] {
        let mut world = shop(action);
        world.buy(member(1), 10_000);
        assert_eq!(world.programme.watch().cases().count(), 1);
        assert!(spends(&mut world, 10).iter().all(Result::is_ok));
    }
    let mut world = shop("growth_action = \"stop\"");
    world.buy(member(1), 10_000);
    assert!(stopped(&world, 1));
    assert_eq!(spends(&mut world, 10)[0], Err(Refusal::Stopped));
    world.survives();
    let mut world = shop("growth_action = \"second_step\"");
    world.buy(member(1), 10_000);
    let [paid, claimed, asked, _] = spends(&mut world, 10);
    assert!(paid.is_ok() && claimed.is_ok());
    assert_eq!(asked, Ok(Answer::SecondStepNeeded { case: 1 }));
    let (account, reward) = (member(1), name("cup"));
    let again = Event::HoldReward { key: key(20), account, reward, second_step: true };
    assert!(matches!(world.handle(again), Ok(Answer::SetAside { .. })));
    world.survives();
    // a device whose accounts go on, and an address that stops them
    let rules = "[fraud]\naccounts_per_device = 1\naccounts_per_address = 1\ndevice_action = \"watch\"\naddress_action = \"stop\"";
    let mut world = World::new(rules);
    open(&mut world, 1, Some(9), None);
    open(&mut world, 2, Some(9), None);
    assert!(!stopped(&world, 1) && !stopped(&world, 2));
    open(&mut world, 3, None, Some(9));
    open(&mut world, 4, None, Some(9));
    assert!(stopped(&world, 3) && stopped(&world, 4));
    world.survives();
    let text = "format = \"coalition programme 1\"\nversion = 1\n[fraud]\ngrowth_action = \"jail\"";
    let wrong = Rules::from_toml(text).unwrap_err().to_string();
    assert!(
        wrong.starts_with("line 4: fraud.growth_action: one of stop, hold, second_step, watch")
    );
}

#[test]
fn virtual_rewards_that_are_held_set_nothing_aside_from_the_one_too_many_on() {
    let mut world = World::new(
        "[fraud]\nvirtual_rewards = 1\nvirtual_minutes = 10\nvirtual_action = \"hold\"\n[[reward]]\nname = \"code\"\nzh = \"兑换码\"\nen = \"Code\"\nprice_points = 1\nvirtual = true",
    );
    world.buy(member(1), 10_000);
    world.handle(Event::Stock { reward: name("code"), total: 9 }).unwrap();
    let ask = |number| {
        let (account, reward) = (member(1), name("code"));
        Event::HoldReward { key: key(number), account, reward, second_step: true }
    };
    assert!(matches!(world.handle(ask(1)), Ok(Answer::SetAside { .. })));
    assert_eq!(world.handle(ask(2)), Ok(Answer::UnderReview { case: 1 }));
    assert_eq!(world.handle(ask(2)), Err(Refusal::HeldForReview { case: 1 }));
    assert_eq!(world.programme.accounts().balance(member(1)).held().get(), 1);
    world.handle(review(1, Verdict::Cleared, None)).unwrap();
    world.now += 11 * 60_000;
    assert!(matches!(world.handle(ask(2)), Ok(Answer::SetAside { .. })));
    world.survives();
}

mod stops {
    //! Stops and holds against a plain list of cases.

    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const MEMBERS: u8 = 7;

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Join(u8, Option<u8>, Option<u8>),
        Buy(u8),
        Review(usize, bool),
        Merge(u8, u8),
        Part(u8),
    }

    fn acts() -> impl Strategy<Value = Act> {
        let who = || 0..MEMBERS;
        let trace = || prop::option::of(0..2_u8);
        prop_oneof![
            5 => (who(), trace(), trace()).prop_map(|(who, one, two)| Act::Join(who, one, two)),
            2 => who().prop_map(Act::Buy),
            3 => (0..8_usize, any::<bool>()).prop_map(|(which, stop)| Act::Review(which, stop)),
            1 => (who(), who()).prop_map(|(from, into)| Act::Merge(from, into)),
            1 => who().prop_map(Act::Part),
        ]
    }

    #[derive(Clone, Debug)]
    struct Plain {
        sign: Sign,
        accounts: BTreeSet<u8>,
        verdict: Option<Verdict>,
    }

    #[derive(Debug, Default)]
    struct Model {
        joined: BTreeSet<u8>,
        devices: BTreeMap<u8, Vec<u8>>,
        addresses: BTreeMap<u8, Vec<u8>>,
        points: BTreeMap<u8, u64>,
        merged: BTreeMap<u8, u8>,
        cases: Vec<Plain>,
    }

    impl Model {
        fn case(&mut self, sign: Sign, accounts: &[u8]) {
            let open = self.cases.iter_mut().find(|case| {
                case.sign == sign
                    && case.verdict.is_none()
                    && accounts.iter().any(|who| case.accounts.contains(who))
            });
            match open {
                Some(case) => case.accounts.extend(accounts),
                None => {
                    let accounts = accounts.iter().copied().collect();
                    self.cases.push(Plain { sign, accounts, verdict: None });
                }
            }
        }

        fn part(&mut self, who: u8) {
            let Some(into) = self.merged.remove(&who) else { return };
            for case in &mut self.cases {
                if case.verdict != Some(Verdict::Cleared) && case.accounts.contains(&into) {
                    case.accounts.insert(who);
                }
            }
        }

        fn merge(&mut self, from: u8, into: u8) {
            if from == into {
                return;
            }
            self.part(into);
            if self.merged.get(&from) == Some(&into) {
                return;
            }
            for target in self.merged.values_mut().filter(|target| **target == from) {
                *target = into;
            }
            self.merged.insert(from, into);
            if self.joined.remove(&from) {
                self.joined.insert(into);
            }
            let points = self.points.remove(&from).unwrap_or_default();
            *self.points.entry(into).or_default() += points;
            for case in &mut self.cases {
                if case.accounts.remove(&from) {
                    case.accounts.insert(into);
                }
            }
            for accounts in self.devices.values_mut() {
                let both = accounts.contains(&into);
                accounts.retain(|who| *who != from || !both);
                accounts.iter_mut().filter(|who| **who == from).for_each(|who| *who = into);
            }
            let burst = self.addresses.values_mut().flatten();
            burst.filter(|who| **who == from).for_each(|who| *who = into);
        }

        fn stopped(&self, who: u8) -> bool {
            self.cases.iter().any(|case| {
                let stops = match case.verdict {
                    None => case.sign == Sign::Device,
                    Some(verdict) => verdict == Verdict::Stopped,
                };
                stops && case.accounts.contains(&who)
            })
        }

        fn held(&self, who: u8) -> bool {
            let mut open = self.cases.iter().filter(|case| case.verdict.is_none());
            open.any(|case| case.sign == Sign::Address && case.accounts.contains(&who))
        }
    }

    fn act(world: &mut World, model: &mut Model, act: Act) {
        match act {
            Act::Join(who, device, address) => {
                let trace = |number: u8| Trace::from_bytes([number; 16]);
                let joined = world.handle(Event::Joined {
                    account: member(who),
                    birthday: None,
                    referrer: None,
                    device: device.map(trace),
                    address: address.map(trace),
                });
                if !model.joined.insert(who) {
                    assert_eq!(joined, Err(Refusal::Joined));
                    return;
                }
                joined.unwrap();
                if let Some(device) = device {
                    let all = model.devices.entry(device).or_default();
                    if !all.contains(&who) {
                        all.push(who);
                    }
                    let all = all.clone();
                    if all.len() > 2 {
                        model.case(Sign::Device, &all);
                    }
                }
                if let Some(address) = address {
                    let all = model.addresses.entry(address).or_default();
                    all.push(who);
                    let all = all.clone();
                    if all.len() > 3 {
                        model.case(Sign::Address, &all);
                    }
                }
            }
            Act::Buy(who) => {
                world.buy(member(who), 10_000);
                let points = model.points.entry(who).or_default();
                *points += 100;
                if *points > 150 {
                    model.case(Sign::Growth, &[who]);
                }
            }
            Act::Review(which, stop) => {
                let verdict = if stop { Verdict::Stopped } else { Verdict::Cleared };
                let number = u64::try_from(which).unwrap() + 1;
                let done = world.handle(review(number, verdict, Some("seen")));
                match model.cases.get_mut(which).filter(|case| case.verdict.is_none()) {
                    Some(case) => {
                        done.unwrap();
                        case.verdict = Some(verdict);
                    }
                    None => assert_eq!(done, Err(Refusal::NotOpen { what: "case", number })),
                }
            }
            Act::Merge(from, into) => {
                let event = Event::Merge { from: member(from), into: member(into) };
                world.handle(event).unwrap();
                model.merge(from, into);
            }
            Act::Part(who) => {
                world.handle(Event::Part { account: member(who) }).unwrap();
                model.part(who);
            }
        }
    }

    fn numbers(accounts: &[Account]) -> BTreeSet<u8> {
        (0..MEMBERS).filter(|who| accounts.contains(&member(*who))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        /// Whatever happens in whatever order, an account is stopped exactly while a case stops it, and held exactly
        /// while one holds it.
        #[test]
        fn an_account_is_stopped_while_a_case_of_its_stops(
            acts in prop::collection::vec(acts(), 1..60),
        ) {
            let rules = "[fraud]\naccounts_per_device = 2\naccounts_per_address = 3\npoints_per_day = 150\naddress_action = \"hold\"";
            let mut world = World::new(rules);
            let mut model = Model::default();
            for it in acts {
                act(&mut world, &mut model, it);
                for who in 0..MEMBERS {
                    prop_assert_eq!(stopped(&world, who), model.stopped(who), "member {}", who);
                    let held = world.programme.held_for_review(member(who)).is_some();
                    prop_assert_eq!(held, model.held(who), "member {}", who);
                    // what is remembered of the account says the same
                    prop_assert_eq!(world.programme.profile(member(who)).held, held);
                }
                let cases: Vec<_> = world.programme.watch().cases().collect();
                prop_assert_eq!(cases.len(), model.cases.len());
                for ((number, case), plain) in cases.into_iter().zip(&model.cases) {
                    prop_assert_eq!(case.sign, plain.sign, "case {}", number);
                    prop_assert_eq!(&numbers(&case.accounts), &plain.accounts, "case {}", number);
                }
            }
            world.survives();
        }
    }
}
