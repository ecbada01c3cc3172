//! The programme against another implementation of its bookkeeping, in which every point is an object
//! of its own: slow, plain, and made without looking at lots or sides.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::calendar::Day;
use crate::openings::{OpeningBalance, OpeningLot};

const RULES: &str = r#"
[expiry]
valid_days = 10
notice_days = 3
[spending]
minimum_points = 5
step_points = 5
[[reward]]
name = "cup"
zh = "杯"
en = "Cup"
price_points = 7
hold_minutes = 2880
[[coupon]]
name = "off"
zh = "减"
en = "Off"
valid_days = 5
claimable = true
price_points = 4
"#;

/// One member: the last valid day of every single point.
#[derive(Clone, Debug, Default, PartialEq)]
struct Purse {
    points: Vec<u64>,
    promised: usize,
    debt: usize,
}

#[derive(Debug, Default)]
struct Model {
    purses: BTreeMap<u8, Purse>,
    // how many points ever came, and how many ever went, by why
    flows: BTreeMap<&'static str, usize>,
}

impl Model {
    fn purse(&mut self, who: u8) -> &mut Purse {
        self.purses.entry(who).or_default()
    }
    fn flow(&mut self, why: &'static str, number: usize) {
        *self.flows.entry(why).or_default() += number;
    }
    fn come(&mut self, who: u8, number: usize, last_day: u64, why: &'static str) {
        let purse = self.purse(who);
        for _ in 0..number {
            if purse.debt > 0 {
                purse.debt -= 1;
            } else {
                purse.points.push(last_day);
            }
        }
        purse.points.sort_unstable();
        self.flow(why, number);
    }
    fn free(&mut self, who: u8) -> usize {
        let purse = self.purse(who);
        purse.points.len() - purse.promised
    }
    fn go(&mut self, who: u8, number: usize, why: &'static str) {
        self.purse(who).points.drain(..number);
        self.flow(why, number);
    }
    fn unpromise(&mut self, who: u8, number: usize) {
        let purse = self.purse(who);
        purse.promised -= number;
        for _ in 0..number {
            if purse.debt > 0 {
                purse.debt -= 1;
                purse.points.remove(0);
            }
        }
    }
    fn merge(&mut self, from: u8, into: u8) {
        let Purse { points, debt, .. } = std::mem::take(self.purse(from));
        let there = debt.min(self.free(into));
        let purse = self.purse(into);
        purse.points.drain(..there);
        purse.debt += debt - there;
        for point in points {
            if purse.debt > 0 {
                purse.debt -= 1;
            } else {
                purse.points.push(point);
            }
        }
        purse.points.sort_unstable();
    }
    fn midnight(&mut self, today: u64) {
        let whose: Vec<u8> = self.purses.keys().copied().collect();
        for who in whose {
            let purse = self.purse(who);
            let over = purse.points.iter().filter(|last| **last < today).count();
            let gone = over.saturating_sub(purse.promised);
            self.go(who, gone, "expired");
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Buy(u8, u64),
    Return(u8, u64),
    Pay(u8, u64),
    Claim(u8),
    Hold(u8),
    HandOver(u8),
    GiveUp(u8),
    Send(u8, u64),
    Receive(u8, u64),
    Open(u8, u64, u64),
    Merge(u8, u8),
    Days(u64),
}

fn acts() -> impl Strategy<Value = Act> {
    let who = || 0..3_u8;
    prop_oneof![
        4 => (who(), 1..6_000_u64).prop_map(|(who, fen)| Act::Buy(who, fen)),
        2 => (who(), 0..6_000_u64).prop_map(|(who, fen)| Act::Return(who, fen)),
        2 => (who(), 1..6_u64).prop_map(|(who, fives)| Act::Pay(who, fives * 5)),
        1 => who().prop_map(Act::Claim),
        3 => who().prop_map(Act::Hold),
        1 => who().prop_map(Act::HandOver),
        1 => who().prop_map(Act::GiveUp),
        1 => (who(), 1..30_u64).prop_map(|(who, points)| Act::Send(who, points)),
        1 => (who(), 1..30_u64).prop_map(|(who, points)| Act::Receive(who, points)),
        1 => (who(), 1..30_u64, 0..20_u64)
            .prop_map(|(who, points, days)| Act::Open(who, points, days)),
        1 => (who(), who()).prop_map(|(from, into)| Act::Merge(from, into)),
        3 => (1..6_u64).prop_map(Act::Days),
    ]
}

struct Both {
    world: World,
    model: Model,
    // total of each member's one basket, and its parts so far
    baskets: BTreeMap<u8, (u64, u32)>,
    holds: BTreeMap<u8, Vec<(u64, u64)>>,
    // who has been given an opening balance
    opened: BTreeSet<u8>,
    keys: u64,
}

impl Both {
    fn today(&self) -> u64 {
        u64::from(self.world.programme.zone().day(self.world.at()).get())
    }

    fn act(&mut self, act: Act) {
        let last_day = self.today() + 10;
        self.keys += 1;
        let this = key(self.keys);
        match act {
            Act::Buy(who, more) => {
                let (total, parts) = self.baskets.get(&who).copied().unwrap_or_default();
                let answer =
                    self.world.change_basket(member(who), who.into(), parts, total, total + more);
                let expected = (total + more) / 100 - total / 100;
                assert_eq!(super::earned(&answer), (expected, 0));
                self.model.come(who, usize::try_from(expected).unwrap(), last_day, "bought");
                self.baskets.insert(who, (total + more, parts + 1));
            }
            Act::Return(who, less) => {
                let (total, parts) = self.baskets.get(&who).copied().unwrap_or_default();
                let left = total.saturating_sub(less);
                self.world.change_basket(member(who), who.into(), parts, total, left);
                let back = usize::try_from(total / 100 - left / 100).unwrap();
                let there = back.min(self.model.free(who));
                self.model.go(who, there, "returned");
                self.model.flow("returned", back - there);
                self.model.purse(who).debt += back - there;
                self.baskets.insert(who, (left, parts + 1));
            }
            Act::Pay(who, number) => {
                let basket = fen(number);
                let event =
                    Event::Pay { key: this, account: member(who), points: points(number), basket };
                let paid = self.world.handle(event).is_ok();
                let number = usize::try_from(number).unwrap();
                assert_eq!(paid, self.model.free(who) >= number);
                if paid {
                    self.model.go(who, number, "redeemed");
                }
            }
            Act::Claim(who) => {
                let event =
                    Event::ClaimCoupon { key: this, account: member(who), kind: name("off") };
                let claimed = self.world.handle(event).is_ok();
                assert_eq!(claimed, self.model.free(who) >= 4);
                if claimed {
                    self.model.go(who, 4, "redeemed");
                }
            }
            Act::Hold(who) => {
                let reward = name("cup");
                let event = Event::HoldReward {
                    key: this,
                    account: member(who),
                    reward,
                    second_step: false,
                };
                let held = self.world.handle(event).is_ok();
                assert_eq!(held, self.model.free(who) >= 7);
                if held {
                    self.model.purse(who).promised += 7;
                    let until = self.world.now + 2 * DAY_MS;
                    self.holds.entry(who).or_default().push((self.keys, until));
                }
            }
            Act::HandOver(who) => {
                if let Some((number, _)) = self.holds.entry(who).or_default().pop() {
                    self.world.handle(Event::HandOver { key: key(number) }).unwrap();
                    self.model.purse(who).promised -= 7;
                    self.model.go(who, 7, "redeemed");
                }
            }
            Act::GiveUp(who) => {
                if let Some((number, _)) = self.holds.entry(who).or_default().pop() {
                    self.world.handle(Event::GiveUp { key: key(number) }).unwrap();
                    self.model.unpromise(who, 7);
                }
            }
            Act::Send(who, number) => self.send(who, number),
            Act::Receive(who, number) => {
                let at = self.world.at();
                let way = Way::Give(Side::CameIn);
                self.world
                    .programme
                    .follow(member(who), points(number), way, at, &mut self.world.journal)
                    .unwrap();
                self.model.come(who, usize::try_from(number).unwrap(), last_day, "came in");
            }
            Act::Open(who, number, days) => self.open(who, number, self.today() + days),
            Act::Merge(from, into) => {
                let event = Event::Merge { from: member(from), into: member(into) };
                let waits = from != into && self.model.purse(from).promised > 0;
                let expected = if waits { Answer::Waits } else { Answer::Done };
                assert_eq!(self.world.handle(event), Ok(expected));
                if from != into && !waits {
                    self.model.merge(from, into);
                }
            }
            Act::Days(days) => {
                for _ in 0..days {
                    self.world.now += DAY_MS;
                    self.world.tick();
                    for (who, holds) in &mut self.holds {
                        let now = self.world.now;
                        holds.retain(|(_, until)| {
                            let over = *until <= now;
                            if over {
                                self.model.unpromise(*who, 7);
                            }
                            !over
                        });
                    }
                    let today = self.today();
                    self.model.midnight(today);
                }
            }
        }
        self.world.tick();
        let today = self.today();
        self.model.midnight(today);
    }

    /// Two people bring what a member had before: once for each member, whoever was merged meanwhile.
    fn open(&mut self, who: u8, number: u64, last_day: u64) {
        let day = Day::new(u32::try_from(last_day).unwrap());
        let lot = OpeningLot { last_day: Some(day), points: points(number) };
        let balance = OpeningBalance::new([lot], Points::ZERO);
        let bring = |by: &str| Event::BringOpening {
            account: member(who),
            balance: balance.clone(),
            by: by.to_owned(),
            enters: true,
            replaces: false,
        };
        let known = self.world.programme.opening(member(who)).is_some_and(Opening::is_given);
        assert!(known || !self.opened.contains(&who), "forgotten of member {who}");
        let (entered, given) = (self.world.handle(bring("li")), self.world.handle(bring("wang")));
        if known {
            assert_eq!(entered, given);
            assert!([Ok(Answer::Repeated), Err(Refusal::OpeningTaken)].contains(&given));
            return;
        }
        assert_eq!((entered, given), (Ok(Answer::Entered), Ok(Answer::Done)));
        self.opened.insert(who);
        self.model.come(who, usize::try_from(number).unwrap(), last_day, "opening");
    }

    /// An exchange with another brand: held, then gone.
    fn send(&mut self, who: u8, number: u64) {
        let at = self.world.at();
        let (account, sent) = (member(who), points(number));
        let World { programme, journal, .. } = &mut self.world;
        let held = programme.follow(account, sent, Way::Hold, at, journal);
        let number = usize::try_from(number).unwrap();
        assert_eq!(held.is_ok(), self.model.free(who) >= number);
        if held.is_ok() {
            let way = Way::Settle(Side::Exchanged);
            programme.follow(account, sent, way, at, journal).unwrap();
            self.model.go(who, number, "exchanged");
        }
    }

    fn agree(&self) {
        let accounts = self.world.programme.accounts();
        for (who, purse) in &self.model.purses {
            let balance = accounts.balance(member(*who));
            let zone = self.world.programme.zone();
            let lots = balance.lots().as_slice().iter().flat_map(|lot| {
                let last = u64::from(zone.day(lot.expires.unwrap()).get()) - 1;
                std::iter::repeat_n(last, usize::try_from(lot.left.get()).unwrap())
            });
            let found = Purse {
                points: lots.collect(),
                promised: usize::try_from(balance.held().get()).unwrap(),
                debt: usize::try_from(balance.owed().get()).unwrap(),
            };
            assert_eq!(&found, purse, "member {who}");
        }
        for (why, side) in [
            ("bought", Side::Purchases),
            ("came in", Side::CameIn),
            ("redeemed", Side::Redeemed),
            ("exchanged", Side::Exchanged),
            ("expired", Side::Expired),
            ("returned", Side::Returned),
            ("merged", Side::Merged),
            ("opening", Side::Opening),
        ] {
            let expected = self.model.flows.get(why).copied().unwrap_or_default();
            assert_eq!(
                accounts.side(side).unsigned_abs(),
                u64::try_from(expected).unwrap(),
                "{why}"
            );
        }
        assert_eq!(accounts.trial_balance(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn trial_balance_is_zero_and_every_point_is_where_the_reference_model_has_it(
        acts in prop::collection::vec(acts(), 1..60),
    ) {
        let mut world = World::new(RULES);
        world.handle(Event::Stock { reward: name("cup"), total: 1_000 }).unwrap();
        let mut both = Both {
            world,
            model: Model::default(),
            baskets: BTreeMap::new(),
            holds: BTreeMap::new(),
            opened: BTreeSet::new(),
            keys: 0,
        };
        for act in acts {
            both.act(act);
            both.agree();
        }
        prop_assert!(both.world.programme.rewards().is_honest());
        both.world.survives();
    }

    /// Whatever is durable when the power goes gives, replayed, the same books; and they balance.
    #[test]
    fn trial_balance_is_zero_after_a_replay_of_any_beginning(
        buys in prop::collection::vec((0..3_u8, 1..9_000_u64), 1..30), cut in 0..1_000_usize,
    ) {
        let mut world = World::new(RULES);
        for (who, total) in buys {
            world.buy(member(who), total);
            let pay = Event::Pay { key: key(total), account: member(who), points: points(5), basket: fen(5) };
            let _ = world.handle(pay);
            world.days(total % 3);
        }
        world.survives();
        let mut again = Programme::new(&[3; 32]);
        for change in world.journal.iter().take(cut % world.journal.len() + 1) {
            again.replay(change).unwrap();
            prop_assert_eq!(again.accounts().trial_balance(), 0);
        }
    }
}
