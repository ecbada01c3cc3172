//! The programme at a node that is killed at any moment: no point and no coupon is lost or there twice.

use ::programme::accounts::Side;
use ::programme::calendar::DayOfYear;
use ::programme::earn::Basket;
use ::programme::fraud::Verdict;
use ::programme::state::{Event, Purchase};
use ::programme::{BasketPart, Fen, Name};

use super::*;
use crate::exchange::points::account;
use crate::exchange::record::EarnedPoints;
use crate::service::{AdjustmentRequest, DoneView, Happened, MemberAction, TillAction};
use crate::vault::Attribute;

mod books;
mod openings;

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
                hour: None,
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
        let hold = || MemberAction::HoldReward {
            reward: "cup".to_owned(),
            code: None,
            second_step: false,
        };
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

/// What nobody bought is noticed as what was bought: corrections, and what other brands' exchanges bring. Fails when only
/// purchases are watched.
#[test]
fn many_points_by_corrections_open_a_case_and_are_told_to_the_desk() {
    let mut world = World::with_rules(&[], RULES);
    let member = world.sites[AMBER].core.member(&card(1)).unwrap();
    let cases = |world: &World| world.sites[AMBER].core.programme.watch().cases().count();
    let few = world.adjust("few", 400);
    assert_eq!((few.state.as_str(), cases(&world)), ("done", 0));
    let many = world.adjust("many", 30_000);
    assert_eq!((many.state.as_str(), cases(&world)), ("waiting", 0));
    let number = many.number.unwrap();
    let gained = world.ask(AMBER, |core, now, turn| {
        let event = Event::DecideAdjustment { number, agrees: true, by: "wang".to_owned() };
        core.happen(event, now, turn)?;
        Ok(turn.gained.clone())
    });
    assert_eq!(gained, [(member, 30_000)]);
    assert_eq!(cases(&world), 1);
    let again = world.again(AMBER);
    assert!(again.programme.snapshot() == world.sites[AMBER].core.programme.snapshot());
    world.balances(AMBER);
}

/// What is held for review exchanges nothing, and both books stay as they are.
#[test]
fn an_account_that_is_held_for_review_exchanges_nothing_until_it_is_cleared() {
    let rules = "format = \"coalition programme 1\"\nversion = 1\n\
        [fraud]\npoints_per_day = 400\ngrowth_action = \"hold\"\n";
    let mut world = World::with_rules(&[], rules);
    world.earn(BIRCH, 1, 300);
    world.link(AMBER, BIRCH, 1);
    world.link(BIRCH, AMBER, 1);
    world.run_until_quiet();
    world.exchange(BIRCH, AMBER, 1, 30, "in");
    world.run_until_quiet();
    world.earn(AMBER, 1, 500);
    let ask = |world: &mut World, key: &str| {
        let request = ExchangeRequest { card: card(1), to: BRANDS[BIRCH].to_owned(), points: 20 };
        world.try_to(AMBER, |core, now, turn| core.exchange(key, &request, now, turn))
    };
    let refused = ask(&mut world, "one").unwrap_err();
    assert_eq!((refused.kind, refused.code), (ErrorKind::Refused, "held_for_review"));
    // nor does what came in go back
    let came = world.sites[AMBER].core.book.received().latest(9, None).unwrap();
    let back = SendBackRequest {
        card: card(1),
        from: BRANDS[BIRCH].to_owned(),
        leaf: came[0].leaf,
        points: came[0].points_received,
    };
    let send_back = |world: &mut World, key: &str| {
        world.try_to(AMBER, |core, now, turn| core.send_back(key, &back, now, turn))
    };
    assert_eq!(send_back(&mut world, "back").unwrap_err().code, "held_for_review");
    world.balances(AMBER);
    let member = account(world.sites[AMBER].core.member(&card(1)).unwrap());
    assert_eq!(world.again(AMBER).programme.held_for_review(member), Some(1));
    world.ask(AMBER, |core, now, turn| {
        let (verdict, by) = (Verdict::Cleared, "eva".to_owned());
        core.happen(Event::Review { case: 1, verdict, by, reason: None }, now, turn)
    });
    ask(&mut world, "two").unwrap();
    send_back(&mut world, "back").unwrap();
    world.run_until_quiet();
    world.balances(AMBER);
}

/// The vault is asked when an offer would be made: what was withdrawn until then counts. A journal that is read
/// again decides nothing again, whatever was agreed to since.
#[test]
fn an_offer_takes_the_consent_that_the_vault_has_at_that_moment() {
    let rules = "format = \"coalition programme 1\"\nversion = 1\n\
        [[segment]]\nname = \"quiet\"\nzh = \"沉默\"\nen = \"Quiet\"\nquiet_days = 3\n\
        [[trigger]]\nname = \"win_back\"\nwhen = \"segment\"\nsegment = \"quiet\"\npoints = 7\n";
    let mut world = World::with_rules(&[], rules);
    let decide = |world: &mut World, person: u32, granted: bool| {
        world.ask(AMBER, |core, now, _| {
            let decision = Consent::new(Purpose::Marketing, granted, 1, now);
            core.vault.decide(core.member(&card(person))?, decision).map_err(vault_error)
        });
    };
    for (person, basket) in [(1, 1), (2, 2)] {
        decide(&mut world, person, true);
        world.buy(AMBER, person, (basket, 0), (0, 8_000));
    }
    decide(&mut world, 2, false);
    world.passes(4 * 24 * 60 * 60);
    decide(&mut world, 2, true);
    decide(&mut world, 1, false);
    let has = |core: &Core, person| {
        let account = account(core.member(&card(person)).unwrap());
        core.programme.accounts().balance(account).available().get()
    };
    let again = world.again(AMBER);
    let core = &world.sites[AMBER].core;
    assert!(again.programme.snapshot() == core.programme.snapshot());
    for core in [core, &again] {
        assert_eq!((has(core, 1), has(core, 2)), (80 + 7, 80));
        let left_out = core.programme.left_out_of_trigger(&Name::new("win_back").unwrap());
        assert_eq!(left_out, 1);
    }
}

/// A brand's file of rules may say three days; the constitution's thirty hold.
#[test]
fn a_change_of_rules_waits_for_the_constitutions_notice() {
    let rules = |version: u32, days: u32| {
        format!(
            "format = \"coalition programme 1\"\nversion = {version}\nchange_notice_days = 3\n[expiry]\nvalid_days = {days}\n"
        )
    };
    let mut world = World::with_rules(&[], &rules(1, 365));
    world.buy(AMBER, 1, (1, 0), (0, 8_000));
    let propose = |world: &mut World, days: u64| {
        world.try_to(AMBER, |core, now, turn| {
            let effective = now.plus(Milliseconds::from_seconds(days * 24 * 60 * 60));
            core.take_rules(&rules(2, 90), effective, now, turn)
        })
    };
    let refused = propose(&mut world, 29).unwrap_err();
    assert_eq!(refused.code, "rules_refused");
    assert!(refused.message.contains("30 days before, by the alliance's constitution"));
    let (core, now) = (&world.sites[AMBER].core, world.now);
    let check = core.check_view(&rules(2, 90), now).unwrap();
    assert_eq!(check.earliest_ms - now.unix_ms(), 30 * 24 * 60 * 60 * 1_000);
    assert_eq!(check.refused, None);
    let file = core.rules_file_view();
    assert_eq!((file.notice_days, file.notice_by.as_str()), (30, "constitution"));
    propose(&mut world, 30).unwrap();
    // a journal is read again whatever the constitution says by then
    let again = world.again(AMBER);
    let core = &world.sites[AMBER].core;
    assert_eq!(again.programme.announced(), core.programme.announced());
    assert!(core.programme.announced().is_some());
    assert_eq!(core.programme.rules().unwrap().version, 1);
    world.passes(31 * 24 * 60 * 60);
    assert_eq!(world.sites[AMBER].core.programme.rules().unwrap().version, 2);
}

/// Who reads notices too late is told from which on they are kept, and the node counts each that was lost once.
#[test]
fn notices_that_were_lost_are_told_and_counted_once() {
    let mut world = World::with_rules(&[], RULES);
    world.buy(AMBER, 1, (1, 0), (0, 8_000));
    let before = world.sites[AMBER].core.programme.notices(0).count();
    let core = &mut world.sites[AMBER].core;
    let notice = ::programme::state::Notice::Review { case: 1 };
    let told = ::programme::state::Change::Told { account: None, at: world.now, notice };
    for _ in before..10_009 {
        core.programme.replay(&told).unwrap();
    }
    let view = |core: &mut Core, after| {
        let view = core.notice_views(after);
        (view.lost_before, view.notices.first().map(|it| it.number))
    };
    assert_eq!(view(core, 9), (None, Some(10)));
    assert_eq!(core.notices_lost(), 0);
    assert_eq!(view(core, 4), (Some(10), Some(10)));
    assert_eq!(core.notices_lost(), 5);
    // the same again, and one who comes with an even lower number
    assert_eq!(view(core, 4), (Some(10), Some(10)));
    assert_eq!(view(core, 0), (Some(10), Some(10)));
    assert_eq!(core.notices_lost(), 5);
    core.programme.replay(&told).unwrap();
    assert_eq!(view(core, 4), (Some(11), Some(11)));
    assert_eq!(core.notices_lost(), 6);
}

/// Whoever follows what happens hears of each notice once: of a kind all of a turn together.
#[test]
fn notices_are_told_by_number_and_kind() {
    let mut world = World::with_rules(&[], RULES);
    world.buy(AMBER, 1, (1, 0), (0, 8_000));
    let core = &mut world.sites[AMBER].core;
    let before = core.last_notice();
    let member = ::programme::Account::from_bytes([7; 16]);
    let notices = [
        (None, ::programme::state::Notice::Review { case: 1 }),
        (Some(member), ::programme::state::Notice::Stopped),
        (None, ::programme::state::Notice::Review { case: 2 }),
    ];
    for (account, notice) in notices {
        let told = ::programme::state::Change::Told { account, at: world.now, notice };
        core.programme.replay(&told).unwrap();
    }
    let told = |first, count, kind| Happened::Notices { first, count, kind };
    let two = told(before + 1, 2, "review");
    assert_eq!(core.notices_after(before), [two, told(before + 2, 1, "stopped")]);
    assert_eq!(core.notices_after(before + 1)[1], told(before + 3, 1, "review"));
    assert_eq!(core.last_notice(), before + 3);
    assert!(core.notices_after(core.last_notice()).is_empty());
}

/// What is held of a member takes a look at everything: it is answered beside the turns, from the state of the one that
/// it was asked in, and not before that is durable.
#[tokio::test]
async fn what_is_held_of_a_member_is_looked_up_beside_the_turns() {
    let mut world = World::with_rules(&[], RULES);
    world.buy(AMBER, 1, (1, 0), (0, 8_000));
    let claim = || MemberAction::ClaimCoupon { kind: "ten_off".to_owned() };
    world.does("one", 1, claim());
    let core = &mut world.sites[AMBER].core;
    let member = core.member(&card(1)).unwrap();
    let (reply, mut history) = tokio::sync::oneshot::channel();
    let mut turn = Turn::default();
    let asked = crate::service::ProgrammeCommand::History { member, reply };
    core.programme_command(asked, world.now, &mut turn);
    assert!(history.try_recv().is_err(), "before the turn is durable");
    // what comes then is in another answer
    let account = account(member);
    let notice = ::programme::state::Notice::Stopped;
    let told = ::programme::state::Change::Told { account: Some(account), at: world.now, notice };
    core.programme.replay(&told).unwrap();
    turn.answers.drain(..).for_each(|answer| answer());
    let history = history.await.unwrap().unwrap();
    assert_eq!((history.coupons.len(), history.coupons[0].kind.as_str()), (1, "ten_off"));
    assert!(history.notices.iter().all(|it| !it.words.en.contains("stopped")));
}

/// Where pages of coupons begin is told without their codes, and without asking a key service.
#[test]
fn coupons_are_listed_page_by_page_while_the_key_service_is_away() {
    let mut world = World::with_rules(&[], RULES);
    for person in [1, 2] {
        world.ask(AMBER, |core, now, turn| {
            core.give_coupon("kindness", &card(person), "ten_off", now, turn)
        });
    }
    let core = &mut world.sites[AMBER].core;
    let (store, random) = (Arc::clone(&core.store), Arc::new(SystemRandom::new()));
    core.vault = Arc::new(Vault::new(brand(AMBER), store, Arc::new(key_service::Away), random));
    let (all, none) = core.coupon_views(None, None, 9).unwrap();
    assert_eq!((all.len(), none), (2, None));
    let (first, next) = core.coupon_views(None, None, 1).unwrap();
    assert!(first.len() == 1 && next.is_some());
    let (last, none) = core.coupon_views(None, next, 1).unwrap();
    assert_eq!((last.len(), none), (1, None));
}

/// A birth date that was imported is a birthday of the programme from the first purchase on, and one that is corrected
/// from then on; what a member tells goes after it.
#[test]
fn a_birth_date_in_the_vault_is_a_birthday_of_the_programme() {
    let rules =
        "format = \"coalition programme 1\"\nversion = 1\n[earning]\nbirthday_factor = [2, 1]\n";
    // the 15th of January 2027
    let mut world = World::with_rules(&[], rules);
    let born = |world: &mut World, person: u32, date: &str| {
        world.ask(AMBER, |core, now, turn| {
            let member = core.member(&card(person))?;
            let values = BTreeMap::from([(Attribute::BirthDate, Some(date.to_owned()))]);
            core.vault.correct(member, &values, now).unwrap();
            core.follow_birthday(member, now, turn)
        });
    };
    let has = |core: &Core, person| {
        let account = account(core.member(&card(person)).unwrap());
        core.programme.accounts().balance(account).available().get()
    };
    born(&mut world, 1, "1990-01-15");
    world.buy(AMBER, 1, (1, 0), (0, 8_000));
    world.buy(AMBER, 2, (2, 0), (0, 8_000));
    let core = &world.sites[AMBER].core;
    assert_eq!((has(core, 1), has(core, 2)), (160, 80));
    born(&mut world, 1, "1990-01-16");
    born(&mut world, 2, "1992-01-15");
    world.buy(AMBER, 1, (3, 0), (0, 8_000));
    world.buy(AMBER, 2, (4, 0), (0, 8_000));
    born(&mut world, 3, "1990-03-04");
    let join = MemberAction::Join {
        birthday: Some("01-15".to_owned()),
        referrer: None,
        device: None,
        address: None,
    };
    world.does("join", 3, join);
    let again = world.again(AMBER);
    let core = &world.sites[AMBER].core;
    assert!(again.programme.snapshot() == core.programme.snapshot());
    assert_eq!((has(core, 1), has(core, 2)), (160 + 80, 80 + 160));
    let joined = core.programme.profile(account(core.member(&card(3)).unwrap()));
    assert_eq!(joined.birthday, DayOfYear::new(3, 4));
}

/// PIPL art. 13: without the consent to take part a purchase earns nothing and is not remembered. What is there stays the
/// member's; a consent that comes later counts from then on; a journal that is read again decides nothing again.
#[test]
fn a_member_who_does_not_take_part_earns_nothing_and_spends_what_is_there() {
    let mut world = World::with_rules(&[], RULES);
    let decide = |world: &mut World, person: u32, granted: bool| {
        world.ask(AMBER, |core, now, _| {
            let decision = Consent::new(Purpose::Programme, granted, 1, now);
            core.vault.decide(core.member(&card(person))?, decision).map_err(vault_error)
        });
    };
    let follow = |world: &mut World, person: u32| {
        world.ask(AMBER, |core, now, turn| {
            core.follow_consent(core.member(&card(person))?, now, turn)
        });
    };
    let of = |core: &Core, person: u32| {
        let account = account(core.member(&card(person)).unwrap());
        let available = core.programme.accounts().balance(account).available().get();
        let profile = core.programme.profile(account);
        (available, profile.purchases, profile.outside)
    };
    // 80 a purchase, and 5 from the trigger
    world.buy(AMBER, 1, (1, 0), (0, 8_000));
    world.buy(AMBER, 2, (2, 0), (0, 8_000));
    decide(&mut world, 1, false);
    follow(&mut world, 1);
    // of the second nobody tells the programme: it looks by itself
    decide(&mut world, 2, false);
    world.passes(60);
    for person in [1, 2] {
        assert_eq!(of(&world.sites[AMBER].core, person), (85, 0, true), "{person}");
    }
    let unpaid = world.ask(AMBER, |core, now, turn| {
        let purchase = Purchase {
            account: account(core.member(&card(1))?),
            part: BasketPart::from_bytes([3; 20]),
            at: now,
            hour: None,
            channel: Name::new("offline").unwrap(),
            first_part: true,
            before: Basket::default(),
            after: Basket::of(Fen::new(4_000).unwrap()),
        };
        Ok(core.purchases(vec![purchase], now, turn))
    });
    let expected = crate::programme::Earned { without_consent: 1, ..Default::default() };
    assert_eq!(unpaid, expected);
    let pay = MemberAction::Pay { points: 50, basket_fen: 90 };
    assert_eq!(world.does("pay", 1, pay).takes_off_fen, Some(50));
    let claim = MemberAction::ClaimCoupon { kind: "ten_off".to_owned() };
    let refused = world.try_to(AMBER, |core, now, turn| {
        core.for_member("claim", &card(1), claim.clone(), now, turn)
    });
    assert_eq!(refused.unwrap_err().code, "consent_missing");
    assert_eq!(of(&world.sites[AMBER].core, 1), (35, 0, true));
    decide(&mut world, 1, true);
    follow(&mut world, 1);
    world.buy(AMBER, 1, (4, 0), (0, 2_000));
    let again = world.again(AMBER);
    let core = &world.sites[AMBER].core;
    assert!(again.programme.snapshot() == core.programme.snapshot());
    // the trigger gave its points once and does not again for a year, whoever left in between
    assert_eq!((of(core, 1), of(&again, 1)), ((55, 1, false), (55, 1, false)));
    world.balances(AMBER);
}

/// The vault has merged two members, and nobody has told the programme yet: whether a purchase of the one who was absorbed
/// earns is for the one who stays to decide. Fails when of whom the vault has merged nothing is known.
#[test]
fn a_merge_that_the_vault_knows_decides_before_the_programme_hears_of_it() {
    for granted in [true, false] {
        let mut world = World::with_rules(&[], RULES);
        let absorbed = world.ask(AMBER, |core, now, _| {
            let (stays, absorbed) = (core.member(&card(1))?, core.member(&card(2))?);
            core.vault.merge(stays, absorbed, "ann", now).unwrap();
            let decision = Consent::new(Purpose::Programme, granted, 1, now);
            core.vault.decide(stays, decision).map_err(vault_error)?;
            Ok(account(absorbed))
        });
        let earned = world.ask(AMBER, |core, now, turn| {
            let purchase = Purchase {
                account: absorbed,
                part: BasketPart::from_bytes([3; 20]),
                at: now,
                hour: None,
                channel: Name::new("offline").unwrap(),
                first_part: true,
                before: Basket::default(),
                after: Basket::of(Fen::new(8_000).unwrap()),
            };
            Ok(core.purchases(vec![purchase], now, turn))
        });
        assert_eq!(earned.without_consent, u64::from(!granted));
        // 80, and 5 from the trigger
        let accounts = world.sites[AMBER].core.programme.accounts();
        let available = accounts.balance(absorbed).available().get();
        assert_eq!(available, if granted { 85 } else { 0 });
    }
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
        hour: None,
        channel: Name::new("offline").unwrap(),
        first_part: true,
        before: Basket::default(),
        after: Basket::of(Fen::new(100_000).unwrap()),
    };
    let now = world.now;
    let buy = |world: &mut World, purchase: Purchase| {
        world.ask(AMBER, |core, _, turn| Ok(core.purchases(vec![purchase.clone()], now, turn)))
    };
    assert_eq!(buy(&mut world, purchase.clone()), crate::programme::Earned::default());
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
