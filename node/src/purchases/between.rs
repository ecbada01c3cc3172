//! Tests of small imports that come between the chunks of a long one: what both come to, what a small one keeps off,
//! and what a crash leaves of them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use protocol::time::Timestamp;

use super::apart::{HEAD, TERMS, Told, people, stored, told};
use super::cases::{sent, till};
use super::catalogue::{Import, Place, Stage, put_import};
use super::import::import_digest;
use super::tests::{Failing, Shop, now, terms};
use super::*;
use crate::store::Keyspace;
use crate::store::watched::{Watch, Watched};
use crate::vault::{CardNumber, MemberId, Vault};

const MEMBERS: &str = "card,key,points,sums\nC1,person-one,yes,yes\nC2,person-two,yes,yes\n";

/// What happens in each turn that a long import gives, by the turn's number.
struct Then<F>(Cell<u32>, F);

fn then<F: Fn(u32)>(what: F) -> Then<F> {
    Then(Cell::new(0), what)
}

impl<F: Fn(u32)> Between for Then<F> {
    fn is_wanted(&self) -> bool {
        true
    }

    fn give(&self) {
        let number = self.0.get();
        self.0.set(number + 1);
        (self.1)(number);
    }
}

/// What was told: the parts of a basket in their order, and told again the same.
#[derive(Default)]
struct Heard(RefCell<BTreeMap<(BasketKey, u32), BasketChange>>);

impl Heard {
    fn take(&self, changes: &[BasketChange]) -> Result<(), SinkError> {
        let mut heard = self.0.borrow_mut();
        for change in changes {
            let before = change.part.checked_sub(1);
            let in_order = before.is_none_or(|part| heard.contains_key(&(change.basket, part)));
            assert!(in_order, "part {} is told before its former", change.part);
            let before = heard.insert((change.basket, change.part), change.clone());
            assert!(before.is_none_or(|before| before == *change));
        }
        Ok(())
    }

    /// What members' baskets have come to by all of it.
    fn fen(&self) -> i64 {
        let heard = self.0.borrow();
        let of_members = heard.values().filter(|change| change.member.is_some());
        of_members.map(|change| change.after.get() - change.before.get()).sum()
    }
}

/// Imports in a turn.
fn take(
    (facts, vault): (&Facts, &Vault),
    mapping: &Mapping,
    source: &Source,
    turn: Turn<'_>,
    heard: &Heard,
) -> Result<ImportReport, ImportError> {
    let mut sink = |changes: &[BasketChange]| heard.take(changes);
    facts.import_in_turn(vault, source, terms(mapping), turn, &mut sink, &mut |_| {})
}

fn rows(lines: &[&str]) -> Source {
    sent("p.csv", &format!("{HEAD}\n{}\n", lines.join("\n")))
}

fn member(shop: &Shop, card: &str) -> MemberId {
    shop.vault.by_card(&CardNumber::new(card).unwrap()).unwrap().unwrap()
}

/// What all baskets of members that count come to.
fn counted(facts: &Facts) -> i64 {
    facts.counted_baskets().unwrap().iter().map(|basket| basket.after.get()).sum()
}

fn is_nothing_open(facts: &Facts) -> bool {
    let catalogue = facts.catalogue();
    [Place::Long, Place::Small].into_iter().all(|place| catalogue.open(place).unwrap().is_none())
}

#[test]
fn a_small_import_between_chunks_is_seen_at_once_and_the_long_one_at_its_end() {
    let mapping = till(TERMS);
    let mut shop = super::cases::shop(&mapping);
    shop.facts.chunk_rows = 2;
    let file = rows(&[
        "L1,1,C1,2025-03-01,DELI,1,1.00,",
        "L2,1,C1,2025-03-01,DELI,1,2.00,",
        "L3,1,C1,2025-03-01,DELI,1,3.00,",
        "L4,1,C1,2025-03-01,DELI,1,4.00,",
        // one that the till brings first, one that it brings otherwise, and goods of it that came back
        "S1,1,C1,2025-03-01,DELI,1,10.00,",
        "S2,1,C1,2025-03-01,DELI,1,20.00,",
        "B1,1,C1,2025-03-02,DELI,-1,-5.00,S1",
    ]);
    let small = [
        rows(&["S1,1,C1,2025-03-01,DELI,1,10.00,"]),
        rows(&["S2,1,C1,2025-03-01,DELI,1,21.00,"]),
        rows(&["S3,1,C1,2025-03-01,DELI,1,30.00,"]),
    ];
    let (heard, seen) = (Heard::default(), RefCell::new(Vec::new()));
    let between = then(|turn| {
        let source = &small[usize::try_from(turn).unwrap()];
        let facts = (&shop.facts, &shop.vault);
        let report = take(facts, &mapping, source, Turn::Small, &heard).unwrap();
        assert_eq!((report.rows_kept, report.gave_up), (1, None));
        let snapshot = shop.facts.snapshot().unwrap();
        let sum = shop.ask(&snapshot, "SELECT count(*), sum(amount_fen) FROM purchases");
        seen.borrow_mut().push((sum[0].clone(), heard.fen(), counted(&shop.facts)));
    });
    let facts = (&shop.facts, &shop.vault);
    let report = take(facts, &mapping, &file, Turn::Giving(&between), &heard).unwrap();
    let expected =
        [("|1|1000|", 1_000, 1_000), ("|2|3100|", 3_100, 3_100), ("|3|6100|", 6_100, 6_100)];
    let expected = expected.map(|(sum, told, counted)| (sum.to_owned(), told, counted));
    assert_eq!(seen.into_inner(), expected);

    assert_eq!((report.rows_kept, report.dropped[&DropReason::Duplicate]), (6, 1));
    assert_eq!((report.dropped.len(), report.adjusted[&Adjustment::Corrected]), (1, 1));
    assert!(!report.adjusted.contains_key(&Adjustment::RefundAlone), "{report:?}");
    let snapshot = shop.facts.snapshot().unwrap();
    let sum = shop.ask(&snapshot, "SELECT count(*), sum(amount_fen) FROM purchases");
    assert_eq!(sum, ["|7|7000|"]);
    assert_eq!((shop.facts.rows().unwrap(), counted(&shop.facts), heard.fen()), (8, 6_500, 6_500));
    assert!(is_nothing_open(&shop.facts));
}

#[test]
fn a_small_import_keeps_off_what_the_long_one_has_changed_until_that_is_done() {
    let mapping = till(TERMS);
    let mut shop = super::cases::shop(&mapping);
    shop.facts.chunk_rows = 1;
    let heard = Heard::default();
    let before = rows(&["A1,1,C1,2025-03-01,DELI,1,5.00,"]);
    take((&shop.facts, &shop.vault), &mapping, &before, Turn::Small, &heard).unwrap();
    let file = rows(&[
        "L1,1,C1,2025-03-01 12:00:00,DELI,1,1.00,",
        "A1,2,C1,2025-03-01 13:00:00,WINE,1,2.00,",
        "L3,1,C2,2025-03-01 14:00:00,DELI,1,3.00,",
    ]);
    let off: [&[&str]; 7] = [
        &["L1,2,C1,2025-03-01 12:00:00,WINE,1,1.00,"],
        &["L1,1,C1,2025-03-01 12:00:00,DELI,1,1.00,"],
        &["A1,1,C1,2025-03-01,DELI,1,4.00,"],
        &["B1,1,C1,2025-03-02,DELI,-1,-0.50,L1"],
        &["B2,1,C1,2025-03-02,DELI,-1,-0.50,A1"],
        // the same order, half a minute later
        &["M1,1,C1,2025-03-01 12:00:30,DELI,1,1.00,"],
        // all of it or nothing
        &["N1,1,C2,2025-03-01,DELI,1,9.00,", "L1,3,C1,2025-03-01,WINE,1,7.00,"],
    ];
    let off = off.map(rows);
    // another member's basket of that number, and one that the file comes to later
    let free =
        rows(&["L1,1,C2,2025-03-01,DELI,1,8.00,", "L3,1,C2,2025-03-01 14:00:00,DELI,1,3.00,"]);
    let between = then(|turn| {
        if turn != 1 {
            return;
        }
        let facts = (&shop.facts, &shop.vault);
        for source in off.iter().chain([&file]) {
            let found = take(facts, &mapping, source, Turn::Small, &heard);
            assert!(matches!(found, Err(ImportError::Held { .. })), "{found:?}");
            assert_eq!((shop.facts.rows().unwrap(), counted(&shop.facts)), (1, 500));
        }
        assert_eq!(take(facts, &mapping, &free, Turn::Small, &heard).unwrap().rows_kept, 2);
        assert_eq!((shop.facts.rows().unwrap(), counted(&shop.facts)), (3, 1_600));
    });
    let facts = (&shop.facts, &shop.vault);
    let report = take(facts, &mapping, &file, Turn::Giving(&between), &heard).unwrap();
    assert_eq!((report.rows_kept, report.dropped[&DropReason::Duplicate]), (2, 1));
    assert_eq!((shop.facts.rows().unwrap(), counted(&shop.facts)), (5, 1_900));
    assert!(is_nothing_open(&shop.facts));

    // sent again, they go through, and are what they had been after it
    let again = off.each_ref().map(|it| take(facts, &mapping, it, Turn::Small, &heard).unwrap());
    assert_eq!(again.each_ref().map(|report| report.rows_kept), [1, 0, 1, 1, 1, 0, 2]);
    assert_eq!(again[1].dropped[&DropReason::Duplicate], 1);
    assert_eq!(again[2].adjusted[&Adjustment::Corrected], 1);
    assert!(again.iter().all(|it| !it.adjusted.contains_key(&Adjustment::RefundAlone)));
    assert_eq!(again[5].dropped[&DropReason::SameOrderTwice], 1);
    assert_eq!(counted(&shop.facts), 1_900 + 100 - 100 - 50 - 50 + 900 + 700);
    assert_eq!(heard.fen(), counted(&shop.facts));
}

/// Fails when whom the rows of a batch have merged is told neither when they are kept off nor when they go through.
#[test]
fn a_batch_that_is_kept_off_says_whom_its_rows_have_merged() {
    let mapping = till(&format!("{TERMS}[purchases.identifiers]\nwechat_open_id = \"openid\"\n"));
    let mut shop = super::cases::shop(&mapping);
    shop.facts.chunk_rows = 1;
    let heard = Heard::default();
    let file = |rows: &str| sent("p.csv", &format!("{HEAD},openid\n{rows}"));
    let nameless = file("G1,1,,2025-03-01,DELI,1,5.00,,oABCDEFGHIJKLMNOPQRST\n");
    let first = take((&shop.facts, &shop.vault), &mapping, &nameless, Turn::Small, &heard);
    assert_eq!(first.unwrap().sightings, Some(Sightings { new: 1, ..Sightings::default() }));
    let long = file("L1,1,C1,2025-03-01,DELI,1,1.00,,\nL2,1,C1,2025-03-01,DELI,1,2.00,,\n");
    let batch = file("L1,2,C1,2025-03-01,WINE,1,7.00,,oABCDEFGHIJKLMNOPQRST\n");
    let facts = (&shop.facts, &shop.vault);
    let merged = Sightings { merged: 1, ..Sightings::default() };
    let between = then(|turn| {
        let expected = if turn == 0 { merged } else { Sightings::default() };
        match take(facts, &mapping, &batch, Turn::Small, &heard) {
            Err(ImportError::Held { said }) => assert_eq!(said, expected),
            other => panic!("{other:?}"),
        }
    });
    take(facts, &mapping, &long, Turn::Giving(&between), &heard).unwrap();
    let report = take(facts, &mapping, &batch, Turn::Small, &heard).unwrap();
    assert_eq!((report.rows_kept, report.sightings.unwrap_or_default().merged), (1, 0));
}

#[test]
fn a_long_import_that_tells_what_it_came_to_gives_turns_too() {
    let mapping = till(TERMS);
    let mut shop = super::cases::shop(&mapping);
    shop.facts.chunk_rows = 1;
    // a record of changes each, of which 64 are told together
    let lines: Vec<String> =
        (0..70).map(|number| format!("T{number},1,C1,2025-03-01,DELI,1,1.00,")).collect();
    let file = rows(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let more = rows(&["T69,2,C1,2025-03-01,WINE,1,1.00,"]);
    let free = rows(&["X1,1,C1,2025-03-01,DELI,1,5.00,"]);
    let (heard, told) = (Heard::default(), Cell::new(false));
    let between = then(|turn| {
        let facts = (&shop.facts, &shop.vault);
        let open = shop.facts.catalogue().open(Place::Long).unwrap().unwrap().1;
        if open.stage == Stage::Reading {
            assert!(turn < 69 && heard.fen() == 0);
            return;
        }
        assert!(open.stage == Stage::Telling && open.told == 64);
        assert_eq!((shop.facts.rows().unwrap(), heard.fen()), (70, 6_400));
        // what is not told yet is told before any change of it
        let found = take(facts, &mapping, &more, Turn::Small, &heard);
        assert!(matches!(found, Err(ImportError::Held { .. })), "{found:?}");
        take(facts, &mapping, &free, Turn::Small, &heard).unwrap();
        assert_eq!((shop.facts.rows().unwrap(), heard.fen()), (71, 6_900));
        told.set(true);
    });
    let facts = (&shop.facts, &shop.vault);
    take(facts, &mapping, &file, Turn::Giving(&between), &heard).unwrap();
    assert!(told.get());
    take(facts, &mapping, &more, Turn::Small, &heard).unwrap();
    assert_eq!((shop.facts.rows().unwrap(), heard.fen()), (72, 7_600));
    assert_eq!(counted(&shop.facts), 7_600);
}

/// Rows that are nobody's, or there already, make no chunk of facts: whoever waits does not wait for all of them.
#[test]
fn turns_are_given_by_rows_whatever_becomes_of_them() {
    let mapping = till(TERMS);
    let mut shop = super::cases::shop(&mapping);
    let sold: Vec<String> =
        (0..40).map(|number| format!("D{number},1,C1,2025-03-01,DELI,1,1.00,")).collect();
    let sold: Vec<&str> = sold.iter().map(String::as_str).collect();
    let heard = Heard::default();
    take((&shop.facts, &shop.vault), &mapping, &rows(&sold), Turn::Long, &heard).unwrap();
    shop.facts.chunk_rows = 10;
    let unknown: Vec<String> =
        (0..1_000).map(|number| format!("U{number},1,C9,2025-03-01,DELI,1,1.00,")).collect();
    let unknown: Vec<&str> = unknown.iter().map(String::as_str).collect();
    for (lines, turns) in [([&sold[..], &sold[..1]].concat(), 4), (unknown, 1)] {
        let given = Cell::new(0);
        let between = then(|_| given.set(given.get() + 1));
        let facts = (&shop.facts, &shop.vault);
        let source = rows(&lines);
        let report = take(facts, &mapping, &source, Turn::Giving(&between), &heard).unwrap();
        assert_eq!((report.rows_kept, given.get()), (0, turns));
        assert_eq!(report.rows_read, lines.len() as u64);
    }
}

/// Fails when who somebody is, or what compaction may remove, is what it was before the turn.
#[test]
fn who_is_erased_in_a_turn_is_nobody_in_the_rows_after_it_and_no_compaction_comes_between() {
    let mapping = till(TERMS);
    let mut shop = super::cases::shop(&mapping);
    shop.facts.chunk_rows = 1;
    let at = Timestamp::from_unix_ms(1_700_000_000_000);
    let file = rows(&[
        "L1,1,C1,2025-03-01,DELI,1,1.00,",
        "L2,1,C2,2025-03-01,DELI,1,2.00,",
        "L3,1,C2,2025-03-01,DELI,1,3.00,",
        "L4,1,C1,2025-03-01,DELI,1,4.00,",
    ]);
    let between = then(|turn| {
        if turn == 1 {
            shop.vault.erase(member(&shop, "C2"), at).unwrap();
        }
        assert!(shop.facts.compact(&shop.vault, at).unwrap().busy);
    });
    let (facts, heard) = ((&shop.facts, &shop.vault), Heard::default());
    let report = take(facts, &mapping, &file, Turn::Giving(&between), &heard).unwrap();
    assert_eq!((report.rows_kept, report.dropped[&DropReason::UnknownMember]), (3, 1));
    let done = shop.facts.compact(&shop.vault, at).unwrap();
    assert_eq!((done.members, done.rows, done.busy), (1, 1, false));
    assert_eq!((shop.facts.rows().unwrap(), counted(&shop.facts)), (2, 500));
    assert_eq!(heard.fen(), 500);
}

type Deed = Box<dyn FnOnce() + Send>;

/// Does something once, after the next scan of a keyspace.
struct Once(Mutex<Option<(Keyspace, Deed)>>);

impl Watch for Once {
    fn scanned(&self, keyspace: Keyspace) {
        let found = self.0.lock().unwrap().take_if(|(at, _)| *at == keyspace);
        if let Some((_, deed)) = found {
            deed();
        }
    }
}

/// Fails when files and replaced facts are read as of two moments: a correction that comes between is then in neither,
/// or in both.
#[test]
fn whoever_reads_sees_a_correction_that_comes_meanwhile_whole_or_not_at_all() {
    for keyspace in ["facts_chunk", "facts_removed"] {
        let store = Arc::new(Watched::by(Once(Mutex::new(None))));
        let shop = Arc::new(Shop::with(store.clone()));
        let people = sent("m.csv", MEMBERS);
        import_members(&shop.vault, &people, terms(&till(TERMS)), now(), &mut |_| {}).unwrap();
        let sell = |shop: &Shop, yuan: u32| {
            let line = format!("R1,1,C1,2025-03-01,DELI,1,{yuan}.00,");
            let (mapping, source) = (till(TERMS), rows(&[line.as_str()]));
            let mut sink = |_: &[BasketChange]| Ok(());
            let (facts, terms) = (&shop.facts, terms(&mapping));
            let sold = facts.import_in_turn(
                &shop.vault,
                &source,
                terms,
                Turn::Small,
                &mut sink,
                &mut |_| {},
            );
            assert_eq!(sold.unwrap().rows_kept, 1);
        };
        let then_sell = |yuan: u32| {
            let shop = Arc::clone(&shop);
            let deed: Deed = Box::new(move || sell(&shop, yuan));
            *store.watch.0.lock().unwrap() = Some((keyspace, deed));
        };
        sell(&shop, 5);
        then_sell(4);
        assert_eq!(shop.facts.rows().unwrap(), 1);
        then_sell(3);
        let snapshot = shop.facts.snapshot().unwrap();
        let seen = shop.ask(&snapshot, "SELECT count(*), sum(amount_fen) FROM purchases");
        assert_eq!(seen, ["|1|400|"]);
        then_sell(2);
        let subjects = shop.vault.subjects(member(&shop, "C1")).unwrap();
        let lines = shop.facts.lines_of(&subjects).unwrap();
        assert_eq!(lines.iter().map(|line| line.amount_fen).collect::<Vec<_>>(), [300]);
        assert!(store.watch.0.lock().unwrap().is_none());
        assert_eq!((shop.facts.rows().unwrap(), counted(&shop.facts)), (1, 200));
    }
}

/// Read once more for a member who was unknown, and kept off then, a batch is still one that is read once more.
#[test]
fn a_batch_that_is_read_again_and_kept_off_corrects_nothing_when_it_goes_through() {
    let mapping = till(TERMS);
    let mut shop = super::cases::shop(&mapping);
    shop.facts.chunk_rows = 1;
    let heard = Heard::default();
    let batch = rows(&["R1,1,C1,2025-03-01,DELI,1,5.00,", "R2,1,C9,2025-03-01,DELI,1,6.00,"]);
    let corrected = rows(&["R1,1,C1,2025-03-01,DELI,1,4.00,"]);
    for source in [&batch, &corrected] {
        take((&shop.facts, &shop.vault), &mapping, source, Turn::Small, &heard).unwrap();
    }
    let people = sent("m.csv", "card,key,points,sums\nC9,person-nine,yes,yes\n");
    import_members(&shop.vault, &people, terms(&mapping), now(), &mut |_| {}).unwrap();
    let file = rows(&["R1,2,C1,2025-03-01,WINE,1,1.00,", "L2,1,C2,2025-03-01,DELI,1,2.00,"]);
    let facts = (&shop.facts, &shop.vault);
    let digest = import_digest(&batch.digest(&|| ()).unwrap(), &mapping.digest);
    let record = || shop.facts.catalogue().import(&digest).unwrap().unwrap();
    let between = then(|_| {
        let found = take(facts, &mapping, &batch, Turn::Small, &heard);
        assert!(matches!(found, Err(ImportError::Held { .. })), "{found:?}");
    });
    take(facts, &mapping, &file, Turn::Giving(&between), &heard).unwrap();
    // of a reading that is given up nothing is said, true or not
    let Import { stage, report, .. } = record();
    let name = report.file.clone();
    assert_eq!(stage, Stage::ToReadAgain);
    assert_eq!(report, ImportReport { file: name, ..ImportReport::default() });
    let report = take(facts, &mapping, &batch, Turn::Small, &heard).unwrap();
    assert_eq!((report.rows_kept, report.dropped[&DropReason::Duplicate]), (1, 1));
    assert!(report.adjusted.is_empty(), "{report:?}");
    assert_eq!((counted(&shop.facts), heard.fen()), (1_300, 1_300));
    assert_eq!(record().stage, Stage::Done);
    assert!(take(facts, &mapping, &batch, Turn::Small, &heard).unwrap().already_imported);
}

/// As versions before this stage wrote of one whose second reading was given up: done, but for a member whom nobody
/// knew.
#[test]
fn a_record_of_before_is_read_again_as_well() {
    let mapping = till(TERMS);
    let shop = super::cases::shop(&mapping);
    let heard = Heard::default();
    let facts = (&shop.facts, &shop.vault);
    let batch = rows(&["R1,1,C1,2025-03-01,DELI,1,5.00,"]);
    take(facts, &mapping, &batch, Turn::Small, &heard).unwrap();
    let digest = import_digest(&batch.digest(&|| ()).unwrap(), &mapping.digest);
    let mut record = shop.facts.catalogue().import(&digest).unwrap().unwrap();
    assert!(record.is_whole());
    record.again = Some(true);
    record.report.dropped.insert(DropReason::UnknownMember, 1);
    shop.store.transaction(&[put_import(&digest, &record)]).unwrap();
    let corrected = rows(&["R1,1,C1,2025-03-01,DELI,1,4.00,"]);
    take(facts, &mapping, &corrected, Turn::Small, &heard).unwrap();
    let report = take(facts, &mapping, &batch, Turn::Small, &heard).unwrap();
    assert_eq!((report.already_imported, report.dropped[&DropReason::Duplicate]), (false, 1));
    assert_eq!(counted(&shop.facts), 400);
    assert!(take(facts, &mapping, &batch, Turn::Small, &heard).unwrap().already_imported);
}

/// Half done in the place that earlier versions know alone: it was a batch's as well.
#[test]
fn a_batch_that_was_half_done_before_small_ones_had_a_place_goes_on() {
    let mapping = till(TERMS);
    let failing = Failing::after(999);
    let mut shop = Shop::with(failing.clone());
    let people = sent("m.csv", MEMBERS);
    import_members(&shop.vault, &people, terms(&mapping), now(), &mut |_| {}).unwrap();
    shop.facts.chunk_rows = 1;
    let lines = ["R1,1,C1,2025-03-01,DELI,1,1.00,", "R2,1,C1,2025-03-01,DELI,1,2.00,"];
    let (batch, heard) = (rows(&lines), Heard::default());
    failing.watch.left.store(2, Ordering::Relaxed);
    take((&shop.facts, &shop.vault), &mapping, &batch, Turn::Long, &heard).unwrap_err();
    failing.watch.left.store(999, Ordering::Relaxed);
    let facts = (&shop.facts, &shop.vault);
    let found = take(facts, &mapping, &rows(&lines[..1]), Turn::Small, &heard);
    assert!(matches!(found, Err(ImportError::Held { .. })), "{found:?}");
    let report = take(facts, &mapping, &batch, Turn::Small, &heard).unwrap();
    assert!(report.resumed_after > 0, "{report:?}");
    assert_eq!((report.rows_kept, counted(&shop.facts), heard.fen()), (2, 300, 300));
    assert!(is_nothing_open(&shop.facts));
}

/// What it removes of another is free at once, and what it has not come to is kept off still.
#[test]
fn a_long_import_that_gives_up_another_gives_turns_meanwhile() {
    let mapping = till(TERMS);
    let failing = Failing::after(999);
    let mut shop = Shop::with(failing.clone());
    let people = sent("m.csv", MEMBERS);
    import_members(&shop.vault, &people, terms(&mapping), now(), &mut |_| {}).unwrap();
    shop.facts.chunk_rows = 1;
    let half = rows(&[
        "R1,1,C1,2025-03-01,DELI,1,1.00,",
        "R2,1,C1,2025-03-01,DELI,1,2.00,",
        "R3,1,C1,2025-03-01,DELI,1,3.00,",
    ]);
    let heard = Heard::default();
    failing.watch.left.store(3, Ordering::Relaxed);
    take((&shop.facts, &shop.vault), &mapping, &half, Turn::Long, &heard).unwrap_err();
    failing.watch.left.store(999, Ordering::Relaxed);
    let small = rows(&["R1,1,C1,2025-03-01,DELI,1,1.00,", "R1,2,C1,2025-03-01,WINE,1,4.00,"]);
    let other = rows(&["R1,1,C1,2025-03-01,DELI,1,1.00,", "O1,1,C2,2025-03-01,DELI,1,8.00,"]);
    let facts = (&shop.facts, &shop.vault);
    let found = take(facts, &mapping, &small, Turn::Small, &heard);
    assert!(matches!(found, Err(ImportError::Held { .. })), "{found:?}");
    let between = then(|turn| {
        if turn == 0 {
            let (_, open) = shop.facts.catalogue().open(Place::Long).unwrap().unwrap();
            assert_eq!((open.stage, shop.facts.rows().unwrap()), (Stage::GivenUp, 0));
            assert_eq!(take(facts, &mapping, &small, Turn::Small, &heard).unwrap().rows_kept, 2);
        }
        assert_eq!((shop.facts.rows().unwrap(), counted(&shop.facts)), (2, 500));
    });
    let report = take(facts, &mapping, &other, Turn::Giving(&between), &heard).unwrap();
    assert_eq!(report.gave_up.as_deref(), Some("p.csv"));
    assert_eq!((report.rows_kept, report.dropped[&DropReason::Duplicate]), (1, 1));
    assert_eq!((shop.facts.rows().unwrap(), counted(&shop.facts), heard.fen()), (3, 1_300, 1_300));
    // and the first can be imported whole
    assert_eq!(take(facts, &mapping, &half, Turn::Long, &heard).unwrap().rows_kept, 2);
}

/// A long import and small ones between its chunks; goes down after every possible transaction. Then what was not
/// answered is sent again, and the long one goes on, or is given up for another and read anew.
#[test]
fn a_crash_with_both_open_loses_and_doubles_nothing() {
    let mapping = till(TERMS);
    let file: Vec<String> =
        (1..8).map(|number| format!("L{number},1,C2,2025-03-01,DELI,1,1.00,")).collect();
    let file = rows(&file.iter().map(String::as_str).collect::<Vec<_>>());
    let first = rows(&["S1,1,C1,2025-03-01,DELI,1,10.00,", "S1,2,C1,2025-03-01,WINE,1,10.00,"]);
    let off = rows(&["L1,2,C2,2025-03-01,DELI,1,5.00,", "N1,1,C1,2025-03-01,DELI,1,5.00,"]);
    // with a row of the file's
    let last = rows(&["S2,1,C2,2025-03-01,DELI,1,20.00,", "L6,1,C2,2025-03-01,DELI,1,1.00,"]);
    let other = rows(&["O1,1,C1,2025-03-01,DELI,1,7.00,"]);
    let by_turn: [&[&Source]; 3] = [&[&first, &off], &[&last], &[]];
    let (mut good, mut both, mut untold) = (0, 0, 0);
    loop {
        let mut ended = false;
        for goes_on in [true, false] {
            let failing = Failing::after(9_999);
            let mut shop = Shop::with(failing.clone());
            let people = sent("m.csv", MEMBERS);
            import_members(&shop.vault, &people, terms(&mapping), now(), &mut |_| {}).unwrap();
            shop.facts.chunk_rows = 2;
            let (heard, answered) = (Heard::default(), Cell::new(0));
            failing.watch.left.store(good, Ordering::Relaxed);
            let between = then(|turn| {
                let facts = (&shop.facts, &shop.vault);
                for source in by_turn[usize::try_from(turn).unwrap()] {
                    let found = take(facts, &mapping, source, Turn::Small, &heard);
                    answered.set(answered.get() + u64::from(found.is_ok()));
                }
            });
            let facts = (&shop.facts, &shop.vault);
            ended = take(facts, &mapping, &file, Turn::Giving(&between), &heard).is_ok();
            failing.watch.left.store(9_999, Ordering::Relaxed);
            // whoever was answered is seen; of the others all or nothing
            let seen = shop.facts.rows().unwrap();
            assert!([0, 2, 4, 10].contains(&seen), "{seen} after {good} transactions");
            assert!(seen >= 2 * answered.get(), "{seen} after {good} transactions");
            let catalogue = shop.facts.catalogue();
            let open = [Place::Long, Place::Small].map(|place| catalogue.open(place).unwrap());
            both += u32::from(open.iter().all(Option::is_some));
            let small = open[1].as_ref().map(|(_, import)| import.stage);
            untold += u32::from(small == Some(Stage::Telling));
            let was_half = open[0].as_ref().is_some_and(|(_, it)| it.stage == Stage::Reading);

            // the process is another
            shop.facts =
                Facts::open(shop.folder.path().join("facts"), shop.store.clone(), &shop.vault)
                    .unwrap();
            shop.facts.chunk_rows = 2;
            let facts = (&shop.facts, &shop.vault);
            let resent = |all: &[&Source]| {
                for source in all {
                    let found = take(facts, &mapping, source, Turn::Small, &heard);
                    assert!(matches!(found, Ok(_) | Err(ImportError::Held { .. })), "{found:?}");
                }
            };
            let mut total = (12, 5_700);
            if goes_on {
                let mut sink = |changes: &[BasketChange]| heard.take(changes);
                shop.facts.finish(&shop.vault, Turn::Long, &mut sink).unwrap();
                let small = shop.facts.catalogue().open(Place::Small).unwrap();
                assert!(small.is_none(), "after {good} transactions");
            } else {
                let report = take(facts, &mapping, &other, Turn::Long, &heard).unwrap();
                assert_eq!(report.gave_up.is_some(), was_half, "after {good} transactions");
                total = (13, 6_400);
            }
            // none of these gives up the long one
            resent(&[&first, &last]);
            let report = take(facts, &mapping, &file, Turn::Long, &heard).unwrap();
            assert_eq!(report.gave_up, None, "after {good} transactions");
            resent(&[&first, &off, &last]);
            let found = (shop.facts.rows().unwrap(), counted(&shop.facts));
            assert_eq!(found, total, "after {good} transactions, goes on: {goes_on}");
            assert_eq!(heard.fen(), total.1, "after {good} transactions");
            // and the files have it so
            let mut in_files = 0;
            for card in ["C1", "C2"] {
                let subjects = shop.vault.subjects(member(&shop, card)).unwrap();
                let lines = shop.facts.lines_of(&subjects).unwrap();
                in_files += lines.iter().map(|line| line.amount_fen).sum::<i64>();
            }
            assert_eq!(in_files, total.1, "after {good} transactions");
            assert!(is_nothing_open(&shop.facts));
            assert!(shop.store.scan_prefix("purchases_change", b"", None, 1).unwrap().is_empty());
        }
        if ended {
            break;
        }
        good += 1;
    }
    assert!(both >= 6 && untold >= 2, "{both} {untold}");
}

/// Each basket's line once: within one import the first of two counts, and between two the last.
fn once(rows: Vec<Told>) -> Vec<Told> {
    let mut seen = BTreeSet::new();
    rows.into_iter().filter(|row| seen.insert((row.who, row.receipt, row.line))).collect()
}

/// Under a name that makes it another file than one with the same rows.
fn file(name: &str, rows: &[Told]) -> Source {
    let rows: String = rows.iter().map(Told::text).collect();
    sent("p.csv", &format!("{HEAD},{name}\n{rows}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Numbers are shared, lines are sent twice, corrected, taken back, and the same order within moments, by the file
    /// and by small imports at any of its turns: what is stored is to the byte what it is of the file's rows before
    /// each turn, the small import, and the rows after it, one after the other. Who was kept off comes at the end.
    #[test]
    fn it_comes_to_the_rows_before_a_turn_the_small_import_and_the_rows_after_it(
        before in prop::collection::vec(told(), 0..12),
        long in prop::collection::vec(told(), 1..40),
        small in prop::collection::vec((0..8_u32, prop::collection::vec(told(), 1..4)), 1..6),
        chunk_rows in 1..6_u64,
    ) {
        let mapping = till(TERMS);
        let shop = super::cases::shop(&mapping);
        let people = people(&shop);
        let (before, long) = (file("before", &once(before)), once(long));
        let small = small.into_iter().enumerate().map(|(number, (turn, rows))| {
            (turn, file(&format!("small{number}"), &once(rows)))
        });
        let small: Vec<(u32, Source)> = small.collect();

        let (folder, heard) = (tempfile::tempdir().unwrap(), Heard::default());
        let (vault, mut facts) = shop.facts.aside(&shop.vault, folder.path()).unwrap();
        facts.chunk_rows = chunk_rows;
        let aside = (&facts, &vault);
        take(aside, &mapping, &before, Turn::Long, &heard).unwrap();
        // after how many rows of the file which small ones came
        let came: RefCell<Vec<(usize, usize)>> = RefCell::default();
        let between = then(|turn| {
            let (_, open) = facts.catalogue().open(Place::Long).unwrap().unwrap();
            assert_eq!(open.stage, Stage::Reading);
            // the first row is the names'
            let done = usize::try_from(open.place_done).unwrap() - 1;
            for (number, (at, source)) in small.iter().enumerate() {
                if *at != turn {
                    continue;
                }
                match take(aside, &mapping, source, Turn::Small, &heard) {
                    Ok(_) => came.borrow_mut().push((done, number)),
                    Err(ImportError::Held { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
        let whole = file("long", &long);
        let report = take(aside, &mapping, &whole, Turn::Giving(&between), &heard).unwrap();
        let came = came.into_inner();
        let has_come = |number: usize| came.iter().any(|(_, it)| *it == number);
        for (number, (_, source)) in small.iter().enumerate() {
            if !has_come(number) {
                take(aside, &mapping, source, Turn::Small, &heard).unwrap();
            }
        }
        let found = stored(&facts, &vault, &people);
        prop_assert_eq!(heard.fen(), counted(&facts));

        let (folder, heard) = (tempfile::tempdir().unwrap(), Heard::default());
        let (vault, mut facts) = shop.facts.aside(&shop.vault, folder.path()).unwrap();
        facts.chunk_rows = chunk_rows;
        let aside = (&facts, &vault);
        take(aside, &mapping, &before, Turn::Long, &heard).unwrap();
        let (mut from, mut kept) = (0, 0);
        let cuts = came.iter().map(|(done, number)| (*done, Some(*number)));
        for (until, number) in cuts.chain([(long.len(), None)]) {
            if from < until {
                let piece = file(&format!("piece{from}"), &long[from..until]);
                kept += take(aside, &mapping, &piece, Turn::Long, &heard).unwrap().rows_kept;
                from = until;
            }
            if let Some(number) = number {
                take(aside, &mapping, &small[number].1, Turn::Small, &heard).unwrap();
            }
        }
        for (number, (_, source)) in small.iter().enumerate() {
            if !has_come(number) {
                take(aside, &mapping, source, Turn::Small, &heard).unwrap();
            }
        }
        prop_assert_eq!(stored(&facts, &vault, &people), found);
        prop_assert_eq!(heard.fen(), counted(&facts));
        prop_assert_eq!(report.rows_kept, kept);
    }
}
