//! Whatever happens at a shop, in whatever order, refused or not, killed in between or not: both books of a
//! node balance after every step, say the same of every member, and add up to what a plain count says.

use proptest::prelude::*;

use super::openings::brought;
use super::*;

const RULES: &str = r#"
format = "coalition programme 1"
version = 1
[expiry]
valid_days = 5
notice_days = 1
[adjustments]
alone_points_a_day = 20
[[coupon]]
name = "off"
zh = "减"
en = "Off"
worth_fen = 100
valid_days = 3
claimable = true
price_points = 4
[[reward]]
name = "cup"
zh = "杯"
en = "Cup"
price_points = 7
hold_minutes = 2880
"#;

#[derive(Clone, Copy, Debug)]
enum Act {
    Buy(u32, u64),
    Return(u32, u64),
    Pay(u32, u64),
    ReverseLastPayment(u32),
    Adjust(u32, i64),
    DecideLast(bool),
    Claim(u32),
    Hold(u32),
    CloseHold(u32, bool),
    Send(u32, u64),
    Receive(u32, u64),
    Deliver(usize),
    Open(u32, u64),
    Merge(u32, u32),
    Part(u32),
    Quiet,
    Hours(u64),
    Kill,
    Snapshot,
}

fn acts() -> impl Strategy<Value = Act> {
    let who = || 1..3_u32;
    prop_oneof![
        4 => (who(), 1..9_000_u64).prop_map(|(who, fen)| Act::Buy(who, fen)),
        2 => (who(), 1..9_000_u64).prop_map(|(who, fen)| Act::Return(who, fen)),
        2 => (who(), 1..40_u64).prop_map(|(who, points)| Act::Pay(who, points)),
        1 => who().prop_map(Act::ReverseLastPayment),
        2 => (who(), -30..30_i64).prop_map(|(who, points)| Act::Adjust(who, points)),
        1 => any::<bool>().prop_map(Act::DecideLast),
        1 => who().prop_map(Act::Claim),
        1 => who().prop_map(Act::Hold),
        1 => (who(), any::<bool>()).prop_map(|(who, fetched)| Act::CloseHold(who, fetched)),
        2 => (who(), 1..40_u64).prop_map(|(who, points)| Act::Send(who, points)),
        1 => (who(), 1..20_u64).prop_map(|(who, points)| Act::Receive(who, points)),
        3 => (1..6_usize).prop_map(Act::Deliver),
        1 => (who(), 1..40_u64).prop_map(|(who, points)| Act::Open(who, points)),
        1 => (who(), who()).prop_map(|(from, into)| Act::Merge(from, into)),
        1 => who().prop_map(Act::Part),
        1 => Just(Act::Quiet),
        2 => (1..40_u64).prop_map(Act::Hours),
        2 => Just(Act::Kill),
        1 => Just(Act::Snapshot),
    ]
}

/// Every point that came to a member's balance or left it, counted from what the node answered.
#[derive(Debug, Default)]
struct Count {
    net: BTreeMap<u32, i128>,
}

struct Shop {
    world: World,
    count: Count,
    // each person's basket: its total and its next part
    baskets: BTreeMap<u32, (u64, u32)>,
    payments: BTreeMap<u32, (String, i128)>,
    holds: BTreeMap<u32, String>,
    waiting: Option<(u64, u32, i128)>,
    keys: u32,
}

impl Shop {
    fn new() -> Self {
        let mut world = World::with_rules(&[], RULES);
        for person in [1, 2] {
            world.earn(BIRCH, person, 500);
            world.link(AMBER, BIRCH, person);
            world.link(BIRCH, AMBER, person);
        }
        world.run_until_quiet();
        world.ask(AMBER, |core, now, turn| {
            let reward = Name::new("cup").unwrap();
            core.happen(::programme::state::Event::Stock { reward, total: 100 }, now, turn)
        });
        Self {
            world,
            count: Count::default(),
            baskets: BTreeMap::new(),
            payments: BTreeMap::new(),
            holds: BTreeMap::new(),
            waiting: None,
            keys: 0,
        }
    }

    fn moved(&mut self, who: u32, points: i128) {
        *self.count.net.entry(who).or_default() += points;
    }

    fn change_basket(&mut self, who: u32, change: impl Fn(u64) -> u64) {
        let (before, part) = self.baskets.get(&who).copied().unwrap_or_default();
        let after = change(before);
        self.baskets.insert(who, (after, part + 1));
        // twice: what comes again counts once
        for _ in 0..2 {
            self.world.buy(AMBER, who, (100 + who as u8, part), (before, after));
        }
        self.moved(who, i128::from(after / 100) - i128::from(before / 100));
    }

    fn does(&mut self, who: u32, action: &MemberAction) -> (String, Option<DoneView>) {
        let key = format!("key {}", self.keys);
        let did = self.world.try_to(AMBER, |core, now, turn| {
            core.for_member(&key, &card(who), action.clone(), now, turn)
        });
        (key, did.ok())
    }

    fn exchange(&mut self, (from, to): (usize, usize), who: u32, points: u64) -> bool {
        let request = ExchangeRequest { card: card(who), to: BRANDS[to].to_owned(), points };
        let key = format!("key {}", self.keys);
        let asked =
            self.world.try_to(from, |core, now, turn| core.exchange(&key, &request, now, turn));
        if asked.is_ok() {
            self.world.answered.push((from, key));
        }
        asked.is_ok()
    }

    fn has_brought(&self, who: u32) -> bool {
        let core = &self.world.sites[AMBER].core;
        let whose = account(core.member(&card(who)).unwrap());
        core.programme.opening(whose).is_some_and(|opening| opening.is_given())
    }

    /// Two people bring what a member had in a programme of before; who has brought something brings nothing again.
    fn open(&mut self, who: u32, points: u64) {
        let before = self.has_brought(who);
        for by in ["li", "wang"] {
            let brought = self.world.brings(&[brought(who, &[(points, None)], 0)], by);
            assert_eq!(
                brought.given + brought.waiting + brought.already_there,
                u64::from(brought.refused.is_empty())
            );
        }
        assert!(self.has_brought(who));
        if !before {
            self.moved(who, points.into());
        }
    }

    /// Points move between members; none is made or lost by it.
    fn merged(&mut self, from: u32, into: Option<u32>) {
        let moved = self.world.ask(AMBER, |core, now, turn| {
            let from = core.member(&card(from)).unwrap();
            let into = into.map(|into| core.member(&card(into)).unwrap());
            core.move_member(from, into, now, turn)
        });
        if moved && into.is_some_and(|into| into != from) {
            // whoever stays has paid
            self.payments.remove(&from);
        }
    }

    fn act(&mut self, act: Act) {
        self.keys += 1;
        match act {
            Act::Buy(who, fen) => self.change_basket(who, |total| total + fen),
            Act::Return(who, fen) => self.change_basket(who, |total| total.saturating_sub(fen)),
            Act::Pay(who, points) => {
                let pay = MemberAction::Pay { points, basket_fen: points };
                if let (key, Some(_)) = self.does(who, &pay) {
                    self.moved(who, -i128::from(points));
                    self.payments.insert(who, (key, points.into()));
                }
            }
            Act::ReverseLastPayment(who) => {
                let Some((payment, points)) = self.payments.remove(&who) else { return };
                let reverse = MemberAction::ReversePayment { payment };
                assert!(self.does(who, &reverse).1.is_some());
                assert_eq!(self.does(who, &reverse).1.unwrap().state, "repeated");
                self.moved(who, points);
            }
            Act::Adjust(who, points) => {
                let request = AdjustmentRequest { points, reason: "why".to_owned() };
                let key = format!("key {}", self.keys);
                let did = self.world.try_to(AMBER, |core, now, turn| {
                    let by = (&*key, "li".to_owned());
                    core.adjust_points(by, &card(who), request.clone(), now, turn)
                });
                match did {
                    Ok(done) if done.state == "done" => self.moved(who, points.into()),
                    Ok(done) => self.waiting = Some((done.number.unwrap(), who, points.into())),
                    Err(_) => {}
                }
            }
            Act::DecideLast(agrees) => {
                let Some((number, who, points)) = self.waiting.take() else { return };
                let by = "wang".to_owned();
                let event = ::programme::state::Event::DecideAdjustment { number, agrees, by };
                let did = self
                    .world
                    .try_to(AMBER, |core, now, turn| core.happen(event.clone(), now, turn));
                if agrees && did.is_ok() {
                    self.moved(who, points);
                }
            }
            Act::Claim(who) => {
                let claim = MemberAction::ClaimCoupon { kind: "off".to_owned() };
                if self.does(who, &claim).1.is_some() {
                    self.moved(who, -4);
                }
            }
            Act::Hold(who) => {
                let hold = MemberAction::HoldReward {
                    reward: "cup".to_owned(),
                    code: None,
                    second_step: false,
                };
                if let Some(done) = self.does(who, &hold).1 {
                    self.holds.insert(who, done.hold.unwrap());
                }
            }
            Act::CloseHold(who, fetched) => {
                let Some(hold) = self.holds.remove(&who) else { return };
                let action = if fetched {
                    TillAction::HandOver { hold }
                } else {
                    TillAction::GiveUp { hold }
                };
                let did = self
                    .world
                    .try_to(AMBER, |core, now, turn| core.at_till("", action.clone(), now, turn));
                if fetched && did.is_ok() {
                    self.moved(who, -7);
                }
            }
            Act::Send(who, points) => {
                if self.exchange((AMBER, BIRCH), who, points) {
                    self.moved(who, -i128::from(points));
                }
            }
            Act::Receive(who, points) => {
                if self.exchange((BIRCH, AMBER), who, points) {
                    // two of amber for one of birch
                    self.moved(who, i128::from(2 * points));
                }
            }
            Act::Deliver(messages) => drop(self.world.deliver(messages)),
            Act::Open(who, points) => self.open(who, points),
            Act::Merge(from, into) => self.merged(from, Some(into)),
            Act::Part(who) => self.merged(who, None),
            Act::Quiet => self.world.run_until_quiet(),
            Act::Hours(hours) => self.world.passes(hours * 60 * 60),
            Act::Kill => self.world.restart(AMBER),
            // what it takes up is compared with what is there
            Act::Snapshot => self.world.snapshot(AMBER),
        }
        (0..3).for_each(|who| self.world.balances(who));
    }

    /// After the last message: what members have is what came to them less what left and what expired.
    fn agree(&mut self) {
        self.world.run_until_quiet();
        let all = |world: &World| -> i128 {
            let core = &world.sites[AMBER].core;
            let books = core.programme.accounts();
            let net = |person| {
                let balance = books.balance(account(core.member(&card(person)).unwrap()));
                i128::from(balance.available().get()) + i128::from(balance.held().get())
                    - i128::from(balance.owed().get())
            };
            net(1) + net(2) + i128::from(books.side(Side::Expired))
        };
        let counted: i128 = self.count.net.values().sum();
        assert_eq!(all(&self.world), counted);
        // what nobody spends expires, whatever was set aside for a reward included
        self.world.passes(3 * 24 * 60 * 60);
        self.world.passes(7 * 24 * 60 * 60);
        assert_eq!(all(&self.world), counted);
        (0..3).for_each(|who| self.world.balances(who));
        let core = &self.world.sites[AMBER].core;
        let left = core.programme.accounts().iter().map(|(_, it)| it.lots().total().get());
        assert_eq!(left.sum::<u64>(), 0);
        assert!(core.programme.rewards().is_honest());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn trial_balance_is_zero_at_a_node_after_every_step_and_every_point_is_accounted_for(
        acts in proptest::collection::vec(acts(), 1..40),
    ) {
        let mut shop = Shop::new();
        for act in acts {
            shop.act(act);
        }
        shop.agree();
    }
}
