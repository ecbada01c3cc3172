//! Cut-offs: who closes which, how long after, and what one brand's entries can do to the others'.

use alliance_config::{CutOffs, Period};
use jiff::civil::Time;
use jiff::tz::TimeZone;
use protocol::ids::StatementHash;
use protocol::log::block::StatementEntry;
use protocol::log::settlement::{Payment, PaymentReference};

use super::*;
use crate::fragments::FragmentArchive;
use crate::runtime::clearing::Change;

const CEDAR: usize = 2;
const HOUR: Milliseconds = Milliseconds::from_seconds(60 * 60);

impl World {
    fn with_calendar(period: Period) -> Self {
        let mut world = Self::new(&[]);
        for site in &mut world.sites {
            site.core.calendar = Some(CutOffs::new(period, Time::midnight(), TimeZone::UTC));
        }
        world
    }

    /// Somebody owes somebody something.
    fn trade(&mut self, key: &str) {
        if self.sites[AMBER].core.vault.links(self.member(AMBER, 1)).unwrap().outgoing.is_empty() {
            self.earn(AMBER, 1, 1000);
            self.link(AMBER, BIRCH, 1);
            self.run_until_quiet();
        }
        self.exchange(AMBER, BIRCH, 1, 10, key);
        self.run_until_quiet();
    }

    fn member(&self, who: usize, person: u32) -> MemberId {
        self.sites[who].core.member(&card(person)).unwrap()
    }

    /// Whatever is due happens.
    fn rest(&mut self) {
        for _ in 0..6 {
            self.run_until_quiet();
            self.now = self.now.plus(LONG);
            for who in 0..3 {
                self.turn(who, |core, now, turn| core.tick(now, turn));
            }
        }
        self.run_until_quiet();
    }

    /// A cut-off of this very moment, which one brand's operator asks for.
    fn close_now(&mut self, who: usize) -> Timestamp {
        let cut_off = self.now;
        self.ask(who, |core, now, turn| core.close(cut_off, now, turn));
        self.rest();
        cut_off
    }

    fn closed(&self, cut_off: Timestamp) -> Vec<usize> {
        let has = |who: &usize| self.sites[*who].core.clearing.has_closed(cut_off);
        (0..3).filter(has).collect()
    }

    fn state(&self, who: usize, cut_off: Timestamp) -> Option<String> {
        self.sites[who].core.clearing.view(cut_off).map(|view| view.state)
    }
}

impl World {
    fn due(&self) -> [(u32, u32); 3] {
        [AMBER, BIRCH, CEDAR].map(|who| {
            let due = self.sites[who].core.clearing.payments_due();
            (due.to_pay, due.to_confirm)
        })
    }

    /// What somebody says of the payment of amber to birch.
    fn says(&mut self, who: usize, step: PaymentStep, cut_off: Timestamp) {
        let other = if who == AMBER { BIRCH } else { AMBER };
        let request =
            PaymentRequest { brand: BRANDS[other].to_owned(), reference: "E2E-1".to_owned() };
        self.ask(who, |core, _, turn| core.enter_payment(step, cut_off, &request, turn));
    }
}

/// The end of a day of January 2027.
fn midnight(day: u64) -> Timestamp {
    Timestamp::from_unix_ms(1_798_761_600_000 + day * 24 * HOUR.get() - 1)
}

#[test]
fn the_calendars_cut_offs_are_closed_by_the_tick_once_each() {
    let mut world = World::with_calendar(Period::Daily);
    world.trade("one");
    world.rest();
    // the day before there was no log
    assert_eq!(world.closed(midnight(14)), [0; 0]);
    for day in [15, 16, 20] {
        world.now = midnight(day).plus(Milliseconds::new(3_000));
        world.rest();
        for who in 0..3 {
            assert_eq!(world.state(who, midnight(day)).as_deref(), Some("agreed"), "{day} {who}");
        }
        world.trade(&format!("on-{day}"));
        let heights = |world: &World| {
            let tip = |site: &Site| site.core.ledger.witness(site.core.me()).unwrap().tip().height;
            world.sites.iter().map(tip).collect::<Vec<_>>()
        };
        let before = heights(&world);
        world.rest();
        assert_eq!(heights(&world), before, "nothing more is closed");
    }
    // of the days that nobody was there, the last was closed
    let cycles = |site: &Site| site.core.clearing.cycles().map(|(at, _)| at).collect::<Vec<_>>();
    let expected = [15, 16, 20].map(midnight);
    assert!(world.sites.iter().all(|site| cycles(site) == expected));
    assert!(world.sites.iter().all(|site| site.core.alerts.is_empty()));
    for who in 0..3 {
        world.snapshot(who);
    }
}

/// A closing opens the exact totals of a block: nobody has another brand open them as it pleases.
#[test]
fn others_cut_offs_are_followed_by_the_calendar_or_once_a_day() {
    let mut world = World::with_calendar(Period::Monthly);
    world.trade("one");
    let odd = world.close_now(CEDAR);
    assert_eq!(world.closed(odd), [CEDAR]);
    // their operators may, and then it is a statement like any
    for who in [AMBER, BIRCH] {
        world.ask(who, |core, now, turn| core.close(odd, now, turn));
    }
    world.rest();
    assert_eq!(world.state(CEDAR, odd).as_deref(), Some("agreed"));

    let mut world = World::new(&[]);
    world.trade("one");
    let first = world.close_now(CEDAR);
    assert_eq!(world.closed(first), [AMBER, BIRCH, CEDAR]);
    for hours in [0, 1, 22] {
        world.now = world.now.plus(Milliseconds::new(hours * HOUR.get()));
        let soon = world.close_now(CEDAR);
        assert_eq!(world.closed(soon), [CEDAR], "{hours}");
    }
    world.now = world.now.plus(HOUR);
    let next = world.close_now(CEDAR);
    assert_eq!(world.closed(next), [AMBER, BIRCH, CEDAR]);
    // one that is before what was closed is nobody's to open any more
    let earlier = Timestamp::from_unix_ms(next.unix_ms() - 10);
    let refused = world.try_to(AMBER, |core, now, turn| core.close(earlier, now, turn));
    assert_eq!(refused.unwrap_err().code, "cut_off_superseded");
    let future = world.now.plus(HOUR);
    let refused = world.try_to(AMBER, |core, now, turn| core.close(future, now, turn));
    assert_eq!(refused.unwrap_err().code, "cut_off_in_future");
}

/// From the closing to the discharge: the list, whom the payments wait for, the alerts, and what is told, once.
#[test]
fn a_statement_is_found_by_whoever_has_to_pay_or_to_confirm() {
    let mut world = World::new(&[]);
    world.trade("one");
    for site in &mut world.sites {
        // who has not listened is told nothing of the past
        assert!(site.core.clearing.take_changed().is_empty());
        assert!(site.core.clearing.list(None, 9).is_empty());
    }
    let first = world.close_now(CEDAR);
    assert_eq!(world.due(), [(1, 0), (0, 1), (0, 0)]);
    for site in &mut world.sites {
        let agreed = Change::Statement { cut_off: first, state: "agreed" };
        assert_eq!(site.core.clearing.take_changed(), [agreed]);
        assert!(site.core.clearing.take_changed().is_empty());
    }
    for (who, words) in [(AMBER, "待付款 1 笔"), (BIRCH, "to confirm: 1")] {
        let alerts = world.sites[who].core.standing_alerts(world.now);
        let number = first.unix_ms().to_string();
        assert!(
            matches!(&*alerts, [it] if it.contains(words) && it.contains(&number)),
            "{alerts:?}"
        );
    }
    assert_eq!(world.sites[CEDAR].core.standing_alerts(world.now), [""; 0]);

    // the next statement asks for it all, and only for that there is to be paid
    world.now = world.now.plus(Milliseconds::new(24 * HOUR.get()));
    world.trade("two");
    let second = world.close_now(CEDAR);
    assert_eq!(world.due(), [(1, 0), (0, 1), (0, 0)]);
    let list = |world: &World, before, limit| world.sites[AMBER].core.clearing.list(before, limit);
    let listed = list(&world, None, 9);
    let told: Vec<_> = listed
        .iter()
        .map(|it| (it.cut_off_ms, it.superseded, it.net_micro_fen, it.payments, it.to_pay))
        .collect();
    let (newer, older) = (second.unix_ms(), first.unix_ms());
    let expected =
        [(newer, false, Some(-20_000_000), 1, 1), (older, true, Some(-10_000_000), 1, 0)];
    assert_eq!(told, expected);
    assert!(listed.iter().all(|it| (it.closed, it.agreed, &*it.state) == (3, 3, "agreed")));
    assert_eq!(list(&world, None, 1), listed[..1]);
    assert_eq!(list(&world, Some(second), 9), listed[1..]);

    // said, and not waited for any more; of the other side only when that has said it too
    world.sites[CEDAR].core.clearing.take_changed();
    world.says(AMBER, PaymentStep::Settled, second);
    assert_eq!(world.due(), [(0, 0), (0, 1), (0, 0)]);
    world.rest();
    let (payer, payee) = (brand(AMBER), brand(BIRCH));
    let payment = |state| Change::Payment { cut_off: second, payer, payee, state };
    assert_eq!(world.sites[CEDAR].core.clearing.take_changed(), [payment("settled")]);
    world.says(BIRCH, PaymentStep::Confirmed, second);
    world.rest();
    assert_eq!(world.due(), [(0, 0); 3]);
    let discharged = Change::Statement { cut_off: second, state: "discharged" };
    let told = world.sites[CEDAR].core.clearing.take_changed();
    assert_eq!(told, [payment("confirmed"), discharged]);
    assert_eq!(list(&world, None, 1)[0].state, "discharged");
    for site in &world.sites {
        assert_eq!(site.core.standing_alerts(world.now), [""; 0]);
    }
}

/// Entries about cut-offs that nobody closed, and closings by one brand alone, are nothing to anybody else.
#[test]
fn one_brands_entries_take_no_cut_off_of_the_others_away() {
    let mut world = World::new(&[]);
    world.trade("one");
    let cut_off = world.close_now(AMBER);
    assert_eq!(world.state(BIRCH, cut_off).as_deref(), Some("agreed"));
    for number in 0..1_500_u64 {
        let at = Timestamp::from_unix_ms(number.wrapping_mul(u64::MAX / 1_499));
        let statement = StatementHash::from_bytes([7; 32]);
        let payment = Payment {
            cut_off: at,
            statement,
            payer: brand(CEDAR),
            payee: brand(AMBER),
            value: Value::new(1_000_000).unwrap(),
            reference: PaymentReference::new("E2E-1").unwrap(),
        };
        for entry in [
            PublicEntry::Statement(StatementEntry { cut_off: at, statement }),
            PublicEntry::Settled(payment),
        ] {
            let entry = Submission::Public(entry);
            world
                .ask(CEDAR, |core, _, turn| core.submit(entry.clone(), turn).map_err(submit_error));
        }
    }
    world.rest();
    for _ in 0..20 {
        world.close_now(CEDAR);
    }
    for who in [AMBER, BIRCH] {
        let core = &world.sites[who].core;
        // what this brand closed, and the last few of the other's own
        assert_eq!(core.clearing.cycles().count(), 1 + 8, "{who}");
        assert_eq!(world.state(who, cut_off).as_deref(), Some("agreed"));
        assert_eq!(core.alerts, [""; 0], "{who}");
        world.compare(who);
    }
}

/// However many blocks have followed, and whoever has to look the old ones up.
#[test]
fn an_old_cut_off_is_closed_from_what_is_on_the_disk() {
    let mut world = World::new(&[]);
    for who in 0..3 {
        let folder = world.folders.path().join(format!("fragments-{who}"));
        world.sites[who].core.fragments = Some(FragmentArchive::open(folder).unwrap());
    }
    world.trade("one");
    let cut_off = world.now;
    for number in 0..12 {
        world.trade(&format!("more-{number}"));
    }
    // as after thousands of blocks
    let mut times = Vec::new();
    for site in &mut world.sites {
        let me = site.core.me();
        for (log, known) in &mut site.core.headers {
            if (me, *log) == (brand(AMBER), brand(AMBER)) {
                times = known.values().cloned().collect();
            }
            while known.iter().count() > 2 {
                known.pop_first();
            }
        }
    }
    let core = &world.sites[AMBER].core;
    let latest = core.headers.get(&core.me());
    let earlier = |height| core.published.header(height).map(|it| (it.to_leaf().1, it));
    for known in &times {
        let found = Clearing::last_block(known.1.time, latest, earlier);
        assert_eq!(found.as_ref(), Ok(&Some(known.clone())));
    }
    let begun = times[0].1.time.unix_ms();
    let before = Timestamp::from_unix_ms(begun - 1);
    assert_eq!(Clearing::last_block(before, latest, earlier), Ok(None));
    assert!(Clearing::last_block(cut_off, latest, |_| None).is_err());

    world.cut_off = Some(cut_off);
    world.ask(AMBER, |core, now, turn| core.close(cut_off, now, turn));
    world.run_until_quiet();
    for who in 0..3 {
        assert_eq!(world.state(who, cut_off).as_deref(), Some("agreed"), "{who}");
    }
    // what is not there any more is said
    let later = times[times.len() / 2].1.time;
    assert!(later > cut_off);
    // what is not on the disk yet is in memory until a later block comes
    world.sites[AMBER].core.published.wait().unwrap();
    world.trade("last");
    world.sites[AMBER].core.published.wait().unwrap();
    std::fs::remove_dir_all(world.folder(AMBER).join("tile")).unwrap();
    let refused = world.try_to(AMBER, |core, now, turn| core.close(later, now, turn));
    assert_eq!(refused.unwrap_err().code, "cut_off_too_old");
    assert!(!world.sites[AMBER].core.clearing.has_closed(later));
}

/// A closing is asked for in the very turn in which the own block becomes final. Fails when it closes the block before:
/// nobody counts that, and it is not made again.
#[test]
fn a_closing_waits_for_what_became_final_in_its_turn() {
    let mut world = World::new(&[]);
    world.trade("first");
    world.exchange(AMBER, BIRCH, 1, 10, "second");
    let mut asked = None;
    while asked.is_none() {
        if world.mail.is_empty() {
            for who in 0..3 {
                world.release(who, 0);
            }
        }
        let (from, to, bytes) = world.mail.pop_front().unwrap();
        let closed = world.turn(to, |core, now, turn| {
            core.message(brand(from), Message::from_bytes(&bytes).unwrap(), now, turn);
            let cut_off = Timestamp::from_unix_ms(now.unix_ms() - 1);
            let is_final = to == AMBER && !turn.out.written.is_empty();
            is_final.then(|| core.close(cut_off, now, turn).map(|()| cut_off))
        });
        asked = closed.flatten().transpose().unwrap();
    }
    let cut_off = asked.unwrap();
    for who in [BIRCH, CEDAR] {
        world.ask(who, |core, now, turn| core.close(cut_off, now, turn));
    }
    world.rest();
    for who in 0..3 {
        assert_eq!(world.state(who, cut_off).as_deref(), Some("agreed"), "{who}");
    }
}
