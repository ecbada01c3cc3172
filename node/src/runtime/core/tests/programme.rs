//! The programme at a node that is killed at any moment: no point and no coupon is lost or there twice.

use ::programme::accounts::Side;
use ::programme::earn::Basket;
use ::programme::state::Purchase;
use ::programme::{BasketPart, Fen, Name};

use super::*;
use crate::exchange::points::account;
use crate::service::{DoneView, MemberAction, TillAction};

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
    fn take_rules(&mut self) {
        self.ask(AMBER, |core, now, turn| {
            if core.programme.rules().is_some() {
                return Ok(());
            }
            core.take_rules(RULES, now, now, turn)
        });
    }

    fn buy(&mut self, person: u32, basket: u8, (before, after): (u64, u64), part: u8) {
        let money = |fen| Basket::of(Fen::new(fen).unwrap());
        self.ask(AMBER, |core, now, turn| {
            let mut bytes = [basket; 20];
            bytes[19] = part;
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

    /// A programme that begins with points of before, and all that moves them.
    fn shop(&mut self) {
        self.earn(AMBER, 1, 1000);
        self.link(AMBER, BIRCH, 1);
        self.link(BIRCH, AMBER, 1);
        self.run_until_quiet();
        self.exchange(AMBER, BIRCH, 1, 100, "one");
        // some points are held when it begins
        self.take_rules();
        self.run_until_quiet();
        self.buy(2, 9, (0, 8_000), 0);
        self.buy(2, 9, (8_000, 3_000), 1);
        let claim = || MemberAction::ClaimCoupon { kind: "ten_off".to_owned() };
        let code = self.does("claim", 2, claim()).code.unwrap();
        assert_eq!(self.does("claim", 2, claim()).code.unwrap(), code);
        for _ in 0..2 {
            let (code, place) = (code.clone(), "shop_1".to_owned());
            let redeem = TillAction::RedeemCoupon { code, basket_fen: 6_000, place };
            assert_eq!(self.till("redeem", redeem).takes_off_fen, Some(1_000));
        }
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
        assert_eq!(self.does("pay", 1, pay).takes_off_fen, Some(50));
        self.earn(BIRCH, 1, 300);
        self.exchange(BIRCH, AMBER, 1, 30, "three");
        self.run_until_quiet();
        // all goods of 30 yuan come back: 15 points are there, the others are owed
        self.buy(2, 9, (3_000, 0), 2);
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

    fn check_shop(&self) {
        let core = &self.sites[AMBER].core;
        assert_eq!(core.alerts, [""; 0]);
        assert_eq!(
            (core.points.trial_balance(), core.programme.accounts().trial_balance()),
            (0, 0)
        );
        assert_eq!(core.points.differences(&core.programme), 0);
        let of = |person| {
            let balance =
                core.programme.accounts().balance(account(core.member(&card(person)).unwrap()));
            (balance.available().get(), balance.held().get(), balance.owed().get())
        };
        assert_eq!(of(1), (0, 0, 0));
        // 80 and 5 were given, 50 and 30 taken back, 20 paid for the coupon
        assert_eq!(of(2), (0, 0, 15));
        let side = |side| core.programme.accounts().side(side);
        assert_eq!(side(Side::Purchases), -80);
        assert_eq!(side(Side::Campaigns), -5);
        assert_eq!(side(Side::Returned), 80);
        // the first exchange may have become final before the programme began
        assert_eq!(side(Side::CameIn) + side(Side::Exchanged), -(1000 + 60 - 140));
        assert_eq!(side(Side::Redeemed), 20 + 50 + 30);
        assert_eq!(side(Side::Expired), 1000 + 60 - 140 - 50 - 30);
        let coupons = core.programme.coupons().count(&Name::new("ten_off").unwrap());
        assert_eq!((coupons.given, coupons.redeemed), (1, 1));
        let stock = core.programme.rewards().stock(&Name::new("cup").unwrap());
        assert_eq!((stock.left(), stock.held, stock.handed_over), (1, 0, 1));
        assert!(core.programme.rewards().is_honest());
    }
}

#[test]
fn trial_balance_is_zero_and_nothing_is_redeemed_twice_when_a_node_is_killed_at_any_turn() {
    let mut undisturbed = World::new(&[]);
    undisturbed.shop();
    let site = &undisturbed.sites[AMBER];
    let again = start(
        &undisturbed.constitution,
        AMBER,
        &site.vault,
        undisturbed.folder(AMBER),
        0,
        &site.journal,
    );
    assert!(again.programme.snapshot() == site.core.programme.snapshot());
    assert_eq!(again.points.differences(&again.programme), 0);
    let turns = site.turns;
    let run = |first: usize, appended: bool| {
        let kills = (first..turns).step_by(PERIOD);
        let kills: Vec<Kill> = kills.map(|turn| Kill { who: AMBER, turn, appended }).collect();
        let killed = std::panic::catch_unwind(|| {
            let mut world = World::new(&kills);
            world.shop();
            world.restarts
        });
        assert!(matches!(killed, Ok(1..)), "{killed:?} at {kills:?}");
    };
    std::thread::scope(|scope| {
        for appended in [true, false] {
            scope.spawn(move || (0..PERIOD).for_each(|first| run(first, appended)));
        }
    });
}
