//! The programme at a node that is killed at any moment: no point and no coupon is lost or there twice.

use ::programme::accounts::Side;
use ::programme::earn::Basket;
use ::programme::state::Purchase;
use ::programme::{BasketPart, Fen, Name};

use super::*;
use crate::exchange::points::account;
use crate::exchange::record::EarnedPoints;
use crate::service::{AdjustmentRequest, DoneView, MemberAction, TillAction};

mod books;

const RULES: &str = r#"
format = "coalition programme 1"
version = 1
[expiry]
valid_days = 2
notice_days = 1
[[coupon]]
name = "ten_off"
zh = "减十元"
en = "Ten off"
worth_fen = 1000
minimum_basket_fen = 5000
valid_days = 7
claimable = true
price_points = 20
[[reward]]
name = "cup"
zh = "杯"
en = "Cup"
price_points = 30
hold_minutes = 15
[[trigger]]
name = "thanks"
when = "purchase"
points = 5
"#;

impl World {
    /// A basket as it was and as it is, by its number and part.
    pub(super) fn buy(
        &mut self,
        who: usize,
        person: u32,
        (basket, part): (u8, u32),
        (before, after): (u64, u64),
    ) {
        let money = |fen| Basket::of(Fen::new(fen).unwrap());
        self.ask(who, |core, now, turn| {
            let mut bytes = [basket; 20];
            bytes[16..].copy_from_slice(&part.to_be_bytes());
            let purchase = Purchase {
                account: account(core.member(&card(person))?),
                part: BasketPart::from_bytes(bytes),
                at: now,
                channel: Name::new("offline").unwrap(),
                first_part: part == 0,
                before: money(before),
                after: money(after),
            };
            core.purchases(vec![purchase], now, turn);
            Ok(())
        });
    }

    fn does(&mut self, key: &str, person: u32, action: MemberAction) -> DoneView {
        self.ask(AMBER, |core, now, turn| {
            core.for_member(key, &card(person), action.clone(), now, turn)
        })
    }

    fn till(&mut self, key: &str, action: TillAction) -> DoneView {
        self.ask(AMBER, |core, now, turn| core.at_till(key, action.clone(), now, turn))
    }

    fn adjust(&mut self, key: &str, points: i64) -> DoneView {
        let request = AdjustmentRequest { points, reason: "counted wrongly".to_owned() };
        self.ask(AMBER, |core, now, turn| {
            core.adjust_points((key, "li".to_owned()), &card(1), request.clone(), now, turn)
        })
    }

    fn decide(&mut self, number: u64, agrees: bool) {
        let event =
            ::programme::state::Event::DecideAdjustment { number, agrees, by: "wang".to_owned() };
        self.ask(AMBER, |core, now, turn| core.happen(event.clone(), now, turn));
    }

    /// A programme, and all that moves points at a shop.
    fn shop(&mut self) {
        self.earn(AMBER, 1, 1000);
        self.link(AMBER, BIRCH, 1);
        self.link(BIRCH, AMBER, 1);
        self.run_until_quiet();
        self.exchange(AMBER, BIRCH, 1, 100, "one");
        self.buy(AMBER, 2, (9, 0), (0, 8_000));
        self.buy(AMBER, 2, (9, 1), (8_000, 3_000));
        let claim = || MemberAction::ClaimCoupon { kind: "ten_off".to_owned() };
        let code = self.does("claim", 2, claim()).code.unwrap();
        assert_eq!(self.does("claim", 2, claim()).code.unwrap(), code);
        let redeem = |code: &str| TillAction::RedeemCoupon {
            code: code.to_owned(),
            basket_fen: 6_000,
            place: "shop_1".to_owned(),
        };
        for _ in 0..2 {
            assert_eq!(self.till("redeem", redeem(&code)).takes_off_fen, Some(1_000));
        }
        let redemption = "redeem".to_owned();
        self.till("", TillAction::ReopenCoupon { code: code.clone(), redemption });
        assert_eq!(self.till("again", redeem(&code)).takes_off_fen, Some(1_000));
        self.ask(AMBER, |core, now, turn| {
            let stock =
                ::programme::state::Event::Stock { reward: Name::new("cup").unwrap(), total: 2 };
            core.happen(stock, now, turn)
        });
        let hold = || MemberAction::HoldReward { reward: "cup".to_owned(), second_step: false };
        let first = self.does("cup", 1, hold()).hold.unwrap();
        self.does("another cup", 1, hold());
        self.exchange(AMBER, BIRCH, 1, 40, "two");
        self.deliver(2);
        let pay = MemberAction::Pay { points: 50, basket_fen: 90 };
        assert_eq!(self.does("pay", 1, pay.clone()).takes_off_fen, Some(50));
        self.till("fetch", TillAction::HandOver { hold: first });
        assert_eq!(self.does("pay", 1, pay.clone()).takes_off_fen, Some(50));
        self.does("", 1, MemberAction::ReversePayment { payment: "pay".to_owned() });
        self.does("", 1, MemberAction::ReversePayment { payment: "pay".to_owned() });
        assert_eq!(self.does("pay anew", 1, pay).takes_off_fen, Some(50));
        // one person alone, then two: refused, agreed
        assert_eq!(self.adjust("small", 7).state, "done");
        assert_eq!(self.adjust("small", 7).number, Some(1));
        assert_eq!(self.adjust("taken", -500).state, "waiting");
        assert_eq!(self.adjust("large", 600).state, "waiting");
        self.decide(2, false);
        self.decide(3, true);
        self.earn(BIRCH, 1, 300);
        self.exchange(BIRCH, AMBER, 1, 30, "three");
        self.run_until_quiet();
        // all goods of 30 yuan come back: 15 points are there, the others are owed
        self.buy(AMBER, 2, (9, 2), (3_000, 0));
        // the second cup is not fetched; then what is left expires
        self.passes(16 * 60);
        self.passes(3 * 24 * 60 * 60);
        self.check_shop();
    }

    fn passes(&mut self, seconds: u64) {
        self.now = self.now.plus(Milliseconds::from_seconds(seconds));
        let now = self.now;
        while self.turn(AMBER, |core, _, turn| core.tick_programme(now, turn)).is_none() {}
    }

    /// Both books of a node balance, and say the same.
    fn balances(&self, who: usize) {
        let core = &self.sites[who].core;
        let books = core.programme.accounts();
        assert_eq!((core.points.trial_balance(), books.trial_balance()), (0, 0));
        assert_eq!(core.points.differences(&core.programme), 0);
    }

    fn check_shop(&self) {
        let core = &self.sites[AMBER].core;
        assert_eq!(core.alerts, [""; 0]);
        (0..3).for_each(|who| self.balances(who));
        let of = |person| {
            let balance =
                core.programme.accounts().balance(account(core.member(&card(person)).unwrap()));
            (balance.available().get(), balance.held().get(), balance.owed().get())
        };
        assert_eq!(of(1), (0, 0, 0));
        // 80 and 5 were given, 50 and 30 taken back, 20 paid for the coupon
        assert_eq!(of(2), (0, 0, 15));
        let side = |side| core.programme.accounts().side(side);
        assert_eq!(side(Side::Purchases), -1000 - 80);
        assert_eq!((side(Side::Campaigns), side(Side::Returned)), (-10, 80));
        assert_eq!((side(Side::Corrections), side(Side::Withdrawn)), (-607, 0));
        assert_eq!((side(Side::CameIn), side(Side::Exchanged)), (-60, 140));
        assert_eq!(side(Side::Redeemed), 20 + 50 + 30);
        assert_eq!(side(Side::Expired), 1005 + 607 + 60 - 140 - 50 - 30);
        let coupons = core.programme.coupons().count(&Name::new("ten_off").unwrap());
        assert_eq!((coupons.given, coupons.redeemed), (1, 1));
        let stock = core.programme.rewards().stock(&Name::new("cup").unwrap());
        assert_eq!((stock.left(), stock.held, stock.handed_over), (1, 0, 1));
        assert!(core.programme.rewards().is_honest());
    }
}

#[test]
fn trial_balance_is_zero_and_nothing_is_redeemed_twice_when_a_node_is_killed_at_any_turn() {
    let mut undisturbed = World::with_rules(&[], RULES);
    undisturbed.shop();
    let site = &undisturbed.sites[AMBER];
    let folder = undisturbed.folder(AMBER);
    let at = (&site.vault, &site.store);
    let again = start(&undisturbed.constitution, AMBER, at, folder, 0, &site.journal);
    assert!(again.programme.snapshot() == site.core.programme.snapshot());
    assert_eq!(again.points.differences(&again.programme), 0);
    let turns = site.turns;
    assert!(turns > 2 * PERIOD, "{turns}");
    let run = |first: usize, appended: bool, lag: usize| {
        let kills = (first..turns).step_by(PERIOD);
        let kills: Vec<Kill> = kills.map(|turn| Kill { who: AMBER, turn, appended }).collect();
        let killed = std::panic::catch_unwind(|| {
            let mut world = World::with_rules(&kills, RULES);
            (world.lag, world.snapshots) = (lag, (lag == 0).then_some(4));
            world.shop();
            world.restarts
        });
        assert!(matches!(killed, Ok(2..)), "{killed:?} at {kills:?}");
    };
    std::thread::scope(|scope| {
        for (appended, lag) in [(true, 0), (false, 0), (false, 3)] {
            scope.spawn(move || (0..PERIOD).for_each(|first| run(first, appended, lag)));
        }
    });
}

/// A journal of a version that had no programme.
/// What was earned by fraud does not leave for another brand while its case waits for review.
#[test]
fn a_stopped_account_exchanges_nothing_until_it_is_cleared() {
    let mut world = World::with_rules(&[], RULES);
    world.earn(AMBER, 1, 500);
    world.link(AMBER, BIRCH, 1);
    world.run_until_quiet();
    let stop = |world: &mut World, stopped| {
        let core = &mut world.sites[AMBER].core;
        let account = account(core.member(&card(1)).unwrap());
        let change = ::programme::state::Change::Stopped { account, stopped };
        core.programme.replay(&change).unwrap();
    };
    let ask = |world: &mut World, key: &str| {
        let request = ExchangeRequest { card: card(1), to: BRANDS[BIRCH].to_owned(), points: 20 };
        world.try_to(AMBER, |core, now, turn| core.exchange(key, &request, now, turn))
    };
    stop(&mut world, true);
    assert_eq!(ask(&mut world, "one").unwrap_err().code, "account_stopped");
    world.balances(AMBER);
    stop(&mut world, false);
    ask(&mut world, "two").unwrap();
}

#[test]
fn points_of_before_there_was_a_programme_are_taken_over_whole() {
    let mut world = World::new(&[]);
    for (person, points) in [(1, 1000), (2, 40)] {
        world.ask(AMBER, |core, _, turn| {
            let (member, key) = (core.member(&card(person))?, [person as u8; 20]);
            let points = Points::new(points).unwrap();
            core.enter(NodeRecord::Earned(vec![EarnedPoints { key, member, points }]), turn);
            Ok(())
        });
    }
    world.link(AMBER, BIRCH, 1);
    world.run_until_quiet();
    // its points are held
    world.exchange(AMBER, BIRCH, 1, 100, "one");
    let cipher = cipher(AMBER);
    let site = &world.sites[AMBER];
    let is_old = |record: &&journal::Record| {
        let opened = cipher.open((*record).clone()).unwrap();
        !matches!(opened, Recorded::Node(NodeRecord::Programme(_)))
    };
    let old: Vec<journal::Record> = site.journal.iter().filter(is_old).cloned().collect();
    assert!(old.len() < site.journal.len());
    world.sites[AMBER].journal = old;
    world.restart(AMBER);
    world.balances(AMBER);
    let core = &world.sites[AMBER].core;
    let of = |person| {
        let balance =
            core.programme.accounts().balance(account(core.member(&card(person)).unwrap()));
        (balance.available().get(), balance.held().get())
    };
    assert_eq!((of(1), of(2)), ((900, 100), (40, 0)));
    // a basket that earned then earns no second time
    let mut purchase = Purchase {
        account: account(core.member(&card(1)).unwrap()),
        part: BasketPart::from_bytes([1; 20]),
        at: world.now,
        channel: Name::new("offline").unwrap(),
        first_part: true,
        before: Basket::default(),
        after: Basket::of(Fen::new(100_000).unwrap()),
    };
    let now = world.now;
    let buy = |world: &mut World, purchase: Purchase| {
        world.ask(AMBER, |core, _, turn| Ok(core.purchases(vec![purchase.clone()], now, turn)))
    };
    assert_eq!(buy(&mut world, purchase.clone()), (0, 0));
    // and goods of it that come back take what it had given
    purchase.part = BasketPart::from_bytes(
        [[1; 4], [2; 4], [1; 4], [1; 4], [9; 4]].concat().try_into().unwrap(),
    );
    (purchase.first_part, purchase.before) = (false, purchase.after.clone());
    purchase.after = Basket::of(Fen::new(40_000).unwrap());
    buy(&mut world, purchase);
    world.run_until_quiet();
    world.balances(AMBER);
    let side = |side| world.sites[AMBER].core.programme.accounts().side(side);
    assert_eq!((side(Side::CameIn), side(Side::Returned)), (-1040, 600));
    assert_eq!(side(Side::Exchanged), 100);
}

#[test]
fn what_comes_back_for_an_erased_member_is_in_suspense() {
    let mut world = World::new(&[]);
    world.earn(AMBER, 2, 500);
    world.link(AMBER, BIRCH, 2);
    world.run_until_quiet();
    world.ask(BIRCH, |core, now, _| {
        let withdrawn = Consent::new(Purpose::Exchange, false, 1, now);
        core.vault.decide(core.member(&card(2))?, withdrawn).map_err(vault_error)
    });
    world.exchange(AMBER, BIRCH, 2, 40, "late");
    world.ask(AMBER, |core, now, turn| core.forget_member(core.member(&card(2))?, now, turn));
    world.run_until_quiet();
    world.snapshot(AMBER);
    let core = &world.sites[AMBER].core;
    assert_eq!(core.book.counts().returned, 1);
    assert_eq!(core.points.control(Control::Suspense), 40);
    assert_eq!(core.points.control(Control::SentAway), 0);
    assert_eq!(core.points.balance(core.member(&card(2)).unwrap()).available.get(), 460);
    assert_eq!((core.points.trial_balance(), core.points.differences(&core.programme)), (0, 0));
    let again = world.again(AMBER);
    assert_eq!(again.points.control(Control::Suspense), 40);
    assert_eq!(again.points.erased().count(), 1);
}
