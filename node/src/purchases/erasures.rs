//! Tests of compaction: that nothing of an erased member stays, and that what imports go by does. And of backups beside
//! what takes files away: compactions, and imports that are given up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use protocol::time::Timestamp;

use super::tests::{Failing, Line, Shop, sample, terms};
use super::*;
use crate::config::DataDirectory;
use crate::store::watched::{Watch, Watched};
use crate::store::{Keyspace, RecordingStore, copy};
use crate::vault::{CardNumber, MemberId, NewMember, sample_rule};

const SUM: &str = "select count(*), sum(amount_fen) from purchases";

fn day(days: u64) -> Timestamp {
    Timestamp::from_unix_ms(1_700_000_000_000 + days * 86_400_000)
}

fn member(shop: &Shop, card: &str) -> MemberId {
    shop.vault.by_card(&CardNumber::new(card).unwrap()).unwrap().unwrap()
}

/// The number in facts that a member had, who is erased.
fn erase(shop: &Shop, card: &str) -> i64 {
    let gone = member(shop, card);
    let subject = shop.vault.subject(gone).unwrap().get();
    shop.vault.erase(gone, day(0)).unwrap();
    subject
}

fn rows_in(shop: &Shop, path: &Path) -> Vec<(Option<i64>, Option<i64>)> {
    let key = shop.vault.file_key("facts").unwrap();
    let mut rows = Vec::new();
    for batch in facts::read(path, &key).unwrap() {
        let batch = batch.unwrap();
        let columns = facts::FactColumns::of(&batch).unwrap();
        rows.extend((0..batch.num_rows()).map(|at| columns.row(at)).map(|it| (it.member, it.fact)));
    }
    rows
}

fn files(shop: &Shop) -> Vec<PathBuf> {
    let folder = shop.folder.path().join("facts");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Whether any file on the disk, or any basket, is still of a member.
fn is_on_disk(shop: &Shop, (member, subject): (MemberId, i64)) -> bool {
    let mut found = false;
    let owners = shop.facts.catalogue().each_owner(|owners| {
        found |= owners.iter().any(|(_, owner)| *owner == member);
        Ok(())
    });
    owners.unwrap();
    let of = |path: &PathBuf| rows_in(shop, path).iter().any(|(it, _)| *it == Some(subject));
    found || files(shop).iter().any(of)
}

fn line(basket: i32, card: &'static str, amount: &'static str) -> Line<'static> {
    (basket, 1, Some(card), Some("MEAT"), 1, amount)
}

#[test]
fn compaction_removes_the_rows_of_erased_members_and_nothing_else() {
    let shop = Shop::open();
    shop.enrol(&["C1", "C2", "C3"]);
    let guest = (3, 1, None, Some("MEAT"), 1, "3.00");
    let lines = [line(1, "C1", "1.00"), line(2, "C2", "2.00"), guest, line(4, "C3", "4.00")];
    shop.import(&shop.lines("one.parquet", &lines));
    shop.import(&shop.lines("two.parquet", &[line(5, "C2", "5.00")]));
    assert_eq!(shop.facts.compact(&shop.vault, day(0)).unwrap(), Compacted::default());

    let (gone, stays) = (member(&shop, "C2"), member(&shop, "C1"));
    assert_eq!(shop.facts.lines_of(&shop.vault.subjects(gone).unwrap()).unwrap().len(), 2);
    let before = shop.facts.snapshot().unwrap();
    let gone = (gone, erase(&shop, "C2"));
    // out of every answer at once
    assert_eq!(shop.ask(&before, SUM), ["|2|500|"]);

    let done = shop.facts.compact(&shop.vault, day(1)).unwrap();
    assert_eq!((done.members, done.files, done.rows, done.deleted), (1, 2, 2, 0));
    let after = shop.facts.snapshot().unwrap();
    assert_ne!(before.id(), after.id());
    assert_eq!(shop.ask(&after, SUM), ["|2|500|"]);
    assert_eq!(shop.facts.rows().unwrap(), 3);
    // a question that began before still reads what it was bound to, until a day later
    assert_eq!(shop.ask(&before, SUM), ["|2|500|"]);
    assert_eq!(files(&shop).len(), 4);
    assert_eq!(shop.facts.compact(&shop.vault, day(2)).unwrap().deleted, 2);
    assert_eq!(files(&shop).len(), 2);
    assert!(!is_on_disk(&shop, gone));
    // a fact keeps its number, a guest's too
    let facts: Vec<Option<i64>> =
        rows_in(&shop, &files(&shop)[0]).into_iter().map(|(_, fact)| fact).collect();
    assert_eq!(facts, [Some(0), Some(2), Some(3)]);

    let lines = &shop.facts.lines_of(&shop.vault.subjects(stays).unwrap()).unwrap()[..];
    let [line_of_c1] = lines else { panic!("{lines:?}") };
    assert_eq!((line_of_c1.amount_fen, line_of_c1.channel.as_deref()), (100, Some("store")));
    assert_eq!(shop.facts.counted_baskets().unwrap().len(), 2);
    // numbers of files are not used again, though a file has no row left
    shop.import(&shop.lines("three.parquet", &[line(9, "C1", "9.00")]));
    assert_eq!(shop.ask(&shop.facts.snapshot().unwrap(), SUM), ["|3|1400|"]);
    assert_eq!(rows_in(&shop, files(&shop).last().unwrap())[0].1, Some(2 << 20));
}

#[test]
fn what_was_an_erased_members_is_neither_corrected_nor_brought_back() {
    let shop = Shop::open();
    shop.enrol(&["C1", "C2"]);
    let lines = [line(1, "C1", "1.00"), line(2, "C2", "2.00"), line(3, "C2", "3.00")];
    let first = shop.lines("one.parquet", &lines);
    shop.import(&first);
    // corrected before the erasure: the former row is counted as replaced
    shop.import(&shop.lines("two.parquet", &[line(2, "C2", "2.50"), line(1, "C1", "1.50")]));
    assert_eq!(shop.facts.rows().unwrap(), 3);
    let gone = (member(&shop, "C2"), erase(&shop, "C2"));
    shop.facts.compact(&shop.vault, day(1)).unwrap();
    assert_eq!(shop.facts.rows().unwrap(), 1, "a replaced row that is gone is subtracted no more");
    let catalogue = shop.facts.catalogue();
    let removed = catalogue.removed(catalogue.incomplete().unwrap()).unwrap();
    let left: Vec<i64> = removed.into_iter().collect();
    // a basket's lines are numbered when it has ended: the first of C2's ended before C1's
    assert_eq!(left, [1], "the one that C1's correction replaced");
    assert_eq!(shop.ask(&shop.facts.snapshot().unwrap(), SUM), ["|1|150|"]);
    shop.facts.compact(&shop.vault, day(2)).unwrap();
    assert!(!is_on_disk(&shop, gone));

    // a correction, a late line and a refund of an erased member's baskets change nothing
    let late = [
        line(2, "C2", "9.00"),
        (3, 2, Some("C2"), Some("MEAT"), 1, "9.00"),
        (1, 2, Some("C1"), Some("MEAT"), 1, "0.50"),
    ];
    let (report, changes) = shop.import(&shop.lines("late.parquet", &late));
    assert_eq!((report.rows_kept, report.dropped[&DropReason::UnknownMember]), (1, 2));
    let [change] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((change.before.get(), change.after.get()), (150, 200));
    // the same file again brings nothing of it back
    assert!(shop.import(&first).0.already_imported);
    // a list of the past makes nobody a member again
    let listed = shop.enrol(&["C1", "C2"]);
    assert_eq!((listed.enrolled, listed.known), (0, 1));
    assert_eq!(listed.dropped, [(DropReason::Erased, 1)].into());
    // whoever enrols in person, with that card, is another
    let card = CardNumber::new("C2").unwrap();
    let person = NewMember { card, match_key: None, attributes: BTreeMap::new() };
    shop.vault.enrol(&[person], &sample_rule(day(3))).unwrap();
    let (report, changes) = shop.import(&shop.lines("new.parquet", &[line(2, "C2", "7.00")]));
    assert_eq!((report.rows_kept, changes[0].part, changes[0].before.get()), (1, 0, 0));
    assert_eq!(shop.ask(&shop.facts.snapshot().unwrap(), SUM), ["|3|900|"]);
}

#[test]
fn a_refund_that_names_an_erased_members_basket_lowers_nobodys() {
    let mapping = super::cases::till(
        "channel = \"store\"\n[purchases.refunds]\ncolumn = \"kind\"\nvalues = [\"back\"]\noriginal = \"of\"\n",
    );
    let shop = super::cases::shop(&mapping);
    let head = "receipt,no,card,at,dept,pieces,yuan,kind,of\n";
    let sent = |text: String| super::cases::sent("p.csv", &text);
    let sales = "R1,1,C1,2025-03-31,DELI,2,10.00,sale,\nR2,1,C2,2025-03-31,DELI,2,20.00,sale,\n";
    super::cases::import(&shop, &mapping, &sent(format!("{head}{sales}")));
    let back = "B2,1,C2,2025-04-01,DELI,-1,-4.00,back,R2\n";
    super::cases::import(&shop, &mapping, &sent(format!("{head}{back}")));
    let gone = (member(&shop, "C2"), erase(&shop, "C2"));
    shop.facts.compact(&shop.vault, day(1)).unwrap();
    shop.facts.compact(&shop.vault, day(2)).unwrap();
    assert!(!is_on_disk(&shop, gone), "sale and refund");
    assert_eq!(shop.facts.counted_baskets().unwrap().len(), 1);

    let later = "B3,1,C2,2025-04-02,DELI,-1,-1.00,back,R2\nB4,1,,2025-04-02,DELI,-1,-2.00,back,R2\n\
         B5,1,C1,2025-04-02,DELI,-1,-3.00,back,R1\n";
    let (report, changes) = super::cases::import(&shop, &mapping, &sent(format!("{head}{later}")));
    assert_eq!(report.dropped[&DropReason::UnknownMember], 1);
    // a refund without a card stands by itself; C1's lowers C1's
    let of_members: Vec<_> = changes.iter().filter(|change| change.member.is_some()).collect();
    let [lowered] = of_members[..] else { panic!("{changes:?}") };
    assert_eq!((lowered.before.get(), lowered.after.get()), (1_000, 700));
    assert!(changes.iter().filter(|change| change.member.is_none()).all(|it| it.refund.is_none()));
}

/// Three files, one of two erased members alone; goes down after every possible transaction.
#[test]
fn a_compaction_that_a_crash_cut_short_is_done_by_the_next() {
    let (mut good, mut cut_short) = (0, 0);
    loop {
        let failing = Failing::after(999);
        let mut shop = Shop::with(failing.clone());
        shop.enrol(&["C1", "C2", "C3"]);
        for (name, lines) in [
            ("one", vec![line(1, "C1", "1.00"), line(2, "C2", "2.00"), line(3, "C3", "3.00")]),
            ("two", vec![line(4, "C2", "4.00")]),
            ("three", vec![line(2, "C2", "2.20"), line(1, "C1", "1.10"), line(5, "C3", "5.00")]),
        ] {
            shop.import(&shop.lines(&format!("{name}.parquet"), &lines));
        }
        let gone = ["C2", "C3"].map(|card| (member(&shop, card), erase(&shop, card)));
        failing.watch.left.store(good, Ordering::Relaxed);
        let first = shop.facts.compact(&shop.vault, day(1));
        failing.watch.left.store(999, Ordering::Relaxed);
        cut_short += u32::from(first.is_err());
        // at every moment what counts is C1's, and the list and the disk agree
        assert_eq!(shop.ask(&shop.facts.snapshot().unwrap(), SUM), ["|1|110|"]);
        let done = first.is_ok();
        // the process is another
        shop.facts =
            Facts::open(shop.folder.path().join("facts"), shop.store.clone(), &shop.vault).unwrap();
        shop.facts.compact(&shop.vault, day(1)).unwrap();
        assert_eq!(shop.facts.rows().unwrap(), 1, "after {good} transactions");
        shop.facts.compact(&shop.vault, day(3)).unwrap();
        assert!(gone.iter().all(|gone| !is_on_disk(&shop, *gone)), "after {good} transactions");
        assert_eq!(files(&shop).len(), 3, "no former file stays");
        assert!(shop.vault.erased_subjects(None, 9).unwrap().is_empty());
        let catalogue = shop.facts.catalogue();
        assert!(catalogue.retired().unwrap().is_empty());
        assert_eq!(catalogue.all_removed().unwrap().len(), 1, "C1's");
        // and imports go on: the same line is known, a corrected one replaces it
        let (report, _) = shop.import(&shop.lines("four.parquet", &[line(1, "C1", "1.10")]));
        assert_eq!(report.dropped[&DropReason::Duplicate], 1);
        let (report, _) = shop.import(&shop.lines("five.parquet", &[line(1, "C1", "1.20")]));
        assert_eq!(report.adjusted[&Adjustment::Corrected], 1);
        assert_eq!(shop.ask(&shop.facts.snapshot().unwrap(), SUM), ["|1|120|"]);
        if done {
            break;
        }
        good += 1;
    }
    assert!(cut_short >= 4, "{cut_short}");
}

/// An import of several files is interrupted at every transaction, a member of it erased and the facts
/// compacted before it goes on, or before another takes its place.
#[test]
fn an_erasure_between_the_runs_of_a_staged_import_is_kept() {
    let (mut good, mut half_done, mut untold) = (0, 0, 0);
    loop {
        let mut ended = false;
        for goes_on in [true, false] {
            let failing = Failing::after(999);
            let mut shop = Shop::with(failing.clone());
            shop.enrol(&["C1", "C2"]);
            shop.facts.chunk_rows = 2;
            shop.import(
                &shop.lines("old.parquet", &[line(1, "C1", "1.00"), line(2, "C2", "2.00")]),
            );
            // corrections of both, and baskets of both on either side of a file's end
            let lines = [
                line(1, "C1", "1.10"),
                line(2, "C2", "2.20"),
                line(3, "C2", "3.00"),
                line(4, "C1", "4.00"),
                line(5, "C2", "5.00"),
                line(6, "C1", "6.00"),
            ];
            let staged = shop.lines("staged.parquet", &lines);
            let mut told: BTreeMap<(MemberId, BasketKey, u32), i64> = BTreeMap::new();
            let mapping = sample();
            let mut run = |shop: &Shop, source: &Source, erased: Option<MemberId>| {
                let mut sink = |batch: &[BasketChange]| {
                    for change in batch {
                        let member = change.member.unwrap();
                        assert_ne!(Some(member), erased, "the erased earn nothing");
                        let moved = change.after.get() - change.before.get();
                        // told again after a crash, it is the same
                        told.insert((member, change.basket, change.part), moved);
                    }
                    Ok(())
                };
                shop.facts.import(&shop.vault, source, terms(&mapping), &mut sink, &mut |_| {})
            };
            failing.watch.left.store(good, Ordering::Relaxed);
            ended = run(&shop, &staged, None).is_ok();
            failing.watch.left.store(999, Ordering::Relaxed);
            let counts = shop.facts.rows().unwrap() == 6;
            half_done += u32::from(!ended && !counts);
            untold += u32::from(!ended && counts);

            let (gone, stays) = (member(&shop, "C2"), member(&shop, "C1"));
            let gone = (gone, erase(&shop, "C2"));
            let before = if counts { ["|3|1110|"] } else { ["|1|100|"] };
            assert_eq!(shop.ask(&shop.facts.snapshot().unwrap(), SUM), before);
            shop.facts.compact(&shop.vault, day(1)).unwrap();
            shop.facts.compact(&shop.vault, day(2)).unwrap();
            assert!(!is_on_disk(&shop, gone), "nor of what does not count yet");
            assert_eq!(shop.ask(&shop.facts.snapshot().unwrap(), SUM), before, "{good}");
            shop.facts =
                Facts::open(shop.folder.path().join("facts"), shop.store.clone(), &shop.vault)
                    .unwrap();
            shop.facts.chunk_rows = 2;
            if goes_on {
                run(&shop, &staged, Some(gone.0)).unwrap();
            } else {
                // another file: the half done one is given up, if it does not count
                run(&shop, &shop.lines("other.parquet", &[line(9, "C1", "9.00")]), Some(gone.0))
                    .unwrap();
            }
            let expected = match (goes_on, counts) {
                (true, _) => ("|3|1110|", 3),
                (false, true) => ("|4|2010|", 4),
                (false, false) => ("|2|1000|", 2),
            };
            let snapshot = shop.facts.snapshot().unwrap();
            assert_eq!(shop.ask(&snapshot, SUM), [expected.0], "after {good} transactions");
            assert_eq!(shop.facts.rows().unwrap(), expected.1);
            assert!(!is_on_disk(&shop, gone));
            // C1's baskets are told as they are
            let all = shop.facts.counted_baskets().unwrap();
            let counted: i64 = all.iter().map(|basket| basket.after.get()).sum();
            let earned = told.iter().filter(|((member, ..), _)| *member == stays);
            assert_eq!(earned.map(|(_, fen)| fen).sum::<i64>() + 100, counted);
            // nothing is left over: neither a number of a file nor one of a fact is used twice
            shop.facts.compact(&shop.vault, day(4)).unwrap();
            let mut numbers: Vec<i64> = files(&shop)
                .iter()
                .flat_map(|path| rows_in(&shop, path))
                .filter_map(|(_, fact)| fact)
                .collect();
            let all = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), all);
        }
        if ended {
            break;
        }
        good += 1;
    }
    assert!(half_done >= 6 && untold >= 2, "{half_done} {untold}");
}

#[test]
fn a_former_file_is_not_deleted_from_under_an_import_that_takes_its_number() {
    let failing = Failing::after(999);
    let mut shop = Shop::with(failing.clone());
    shop.enrol(&["C1", "C2"]);
    shop.facts.chunk_rows = 1;
    let half = [line(1, "C2", "1.00"), line(2, "C1", "2.00"), line(3, "C1", "3.00")];
    let half = shop.lines("half.parquet", &half);
    failing.watch.left.store(3, Ordering::Relaxed);
    let mapping = sample();
    let mut none = |_: &[BasketChange]| Ok(());
    let cut = shop.facts.import(&shop.vault, &half, terms(&mapping), &mut none, &mut |_| {});
    assert!(cut.is_err());
    failing.watch.left.store(999, Ordering::Relaxed);
    erase(&shop, "C2");
    assert_eq!(shop.facts.compact(&shop.vault, day(1)).unwrap().files, 1);
    // the half done import is given up, and of its files' numbers none is taken, the former file's least of all
    shop.import(&shop.lines("other.parquet", &[line(7, "C1", "7.00")]));
    assert_eq!(shop.facts.compact(&shop.vault, day(3)).unwrap().deleted, 1);
    assert_eq!(shop.ask(&shop.facts.snapshot().unwrap(), SUM), ["|1|700|"]);
}

#[test]
fn rows_of_merged_members_are_one_persons() {
    let shop = Shop::open();
    shop.enrol(&["C1", "C2", "C3"]);
    let lines = [line(1, "C1", "1.00"), line(2, "C2", "2.00"), line(4, "C3", "4.00")];
    shop.import(&shop.lines("one.parquet", &lines));
    let [one, other] = ["C1", "C2"].map(|card| member(&shop, card));
    let snapshot = shop.facts.snapshot().unwrap();
    let sql = "select count(distinct member), sum(amount_fen) from purchases";
    assert_eq!(shop.ask(&snapshot, sql), ["|3|700|"]);
    shop.vault.merge(one, other, "ann", day(0)).unwrap();
    assert_eq!(shop.ask(&snapshot, sql), ["|2|700|"]);
    assert_eq!(shop.facts.lines_of(&shop.vault.subjects(one).unwrap()).unwrap().len(), 2);
    // a correction and a late line of a basket from before go with it
    let later = [line(2, "C2", "2.50"), (2, 2, Some("C2"), Some("MEAT"), 1, "0.50")];
    let (report, changes) = shop.import(&shop.lines("two.parquet", &later));
    assert_eq!((report.rows_kept, report.dropped.len()), (2, 0));
    assert_eq!(changes[0].member, Some(other));
    let snapshot = shop.facts.snapshot().unwrap();
    assert_eq!(shop.ask(&snapshot, sql), ["|2|800|"]);
    shop.vault.part(one, other, "ann", day(0)).unwrap();
    assert_eq!(shop.ask(&snapshot, sql), ["|3|800|"]);
    let own = shop.facts.lines_of(&shop.vault.subjects(other).unwrap()).unwrap();
    assert_eq!(own.iter().map(|line| line.amount_fen).sum::<i64>(), 300);
    // merged again and erased, both are gone
    shop.vault.merge(one, other, "ann", day(0)).unwrap();
    erase(&shop, "C1");
    assert_eq!(shop.facts.compact(&shop.vault, day(1)).unwrap().members, 2);
    assert_eq!(shop.facts.rows().unwrap(), 1);
    assert_eq!(shop.facts.counted_baskets().unwrap().len(), 1);
}

#[test]
fn a_file_of_version_0_1_is_read_and_written_anew() {
    use datafusion::arrow::array::{ArrayRef, Date32Array, Int64Array, StringArray};
    use datafusion::arrow::record_batch::RecordBatch;
    let column = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let batch = RecordBatch::try_from_iter([
        ("member", column(vec![7, 8])),
        ("purchased_on", Arc::new(Date32Array::from(vec![1, 2])) as ArrayRef),
        ("department", Arc::new(StringArray::from(vec!["A", "B"])) as ArrayRef),
        ("basket", column(vec![1, 2])),
        ("quantity", column(vec![1, 1])),
        ("amount_fen", column(vec![100, 200])),
    ])
    .unwrap();
    let columns = facts::FactColumns::of(&batch).unwrap();
    let row = columns.row(1);
    assert_eq!((row.member, row.amount_fen, row.channel, row.fact), (Some(8), 200, None, None));
    let shop = Shop::open();
    let mut rows = facts::Rows::default();
    rows.push(&row);
    let path = shop.folder.path().join("anew.parquet");
    rows.write(&path, &shop.vault.file_key("facts").unwrap()).unwrap();
    assert_eq!(rows_in(&shop, &path), [(Some(8), None)]);
}

/// Something else that happens once, in a scan.
struct Meanwhile(std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Watch for Meanwhile {
    fn scanned(&self, keyspace: Keyspace) {
        if keyspace != "facts_chunk" {
            return;
        }
        // it may scan again
        let then = self.0.lock().unwrap().take();
        if let Some(then) = then {
            then();
        }
    }
}

/// The erasure and the compaction fall between the copy of the files and the end of the store's copy.
#[test]
fn a_backup_beside_a_compaction_has_the_files_that_its_store_lists() {
    let beneath = Arc::new(Watched::by(Meanwhile(std::sync::Mutex::new(None))));
    let recording = Arc::new(RecordingStore::new(beneath.clone()));
    let shop = Arc::new(Shop::with(recording.clone()));
    shop.enrol(&["C1", "C2"]);
    shop.import(&shop.lines("one.parquet", &[line(1, "C1", "1.00"), line(2, "C2", "2.00")]));
    shop.import(&shop.lines("two.parquet", &[line(2, "C2", "2.50"), line(3, "C1", "3.00")]));
    let gone = member(&shop, "C2");
    let subject = shop.vault.subject(gone).unwrap().get();
    let compacting = shop.clone();
    *beneath.watch.0.lock().unwrap() = Some(Box::new(move || {
        compacting.vault.erase(gone, day(0)).unwrap();
        assert_eq!(compacting.facts.compact(&compacting.vault, day(1)).unwrap().files, 2);
    }));
    let data = DataDirectory::new(shop.folder.path());
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("backup");
    crate::backup::create(&data, shop.vault.brand(), &recording, &copy, 0).unwrap();
    assert!(beneath.watch.0.lock().unwrap().is_none());
    crate::backup::verify(&copy).unwrap();

    let (restored, listed) = restored(&copy);
    let snapshot = restored.facts.snapshot().unwrap();
    assert_eq!(restored.ask(&snapshot, SUM), ["|2|400|"]);
    // the former ones go as they would have here
    for path in listed {
        assert!(rows_in(&restored, &path).iter().all(|(it, _)| *it != Some(subject)));
    }
    assert_eq!(restored.facts.compact(&restored.vault, day(3)).unwrap().deleted, 2);
}

/// A shop as it is in a backup, and its files that are listed, each of which is there as it was listed.
fn restored(copy: &Path) -> (Shop, Vec<PathBuf>) {
    let mut shop = Shop::open();
    let pairs = std::fs::File::open(copy.join("store.pairs")).unwrap();
    copy::load(&mut std::io::BufReader::new(pairs), &*shop.store).unwrap();
    let folder = copy.join("files").join("facts");
    shop.facts = Facts::open(folder.clone(), shop.store.clone(), &shop.vault).unwrap();
    let mut listed = Vec::new();
    for (sequence, chunk) in shop.facts.catalogue().all_files().unwrap() {
        let path = folder.join(chunk.file(sequence).name());
        let digest = ring::digest::digest(&ring::digest::SHA256, &std::fs::read(&path).unwrap());
        assert_eq!(digest.as_ref(), chunk.digest, "{sequence}");
        listed.push(path);
    }
    (shop, listed)
}

/// An import that was half done is given up for another between the copy of the files and the end of the store's copy:
/// by the process that began it, and by the next.
#[test]
fn a_backup_beside_an_import_that_is_given_up_has_the_files_that_its_store_lists() {
    for is_next_process in [false, true] {
        let failing = Failing { left: AtomicU32::new(999) };
        let meanwhile = Meanwhile(std::sync::Mutex::new(None));
        let beneath = Arc::new(Watched::by((failing, meanwhile)));
        let (left, meanwhile) = (&beneath.watch.0.left, &beneath.watch.1.0);
        let recording = Arc::new(RecordingStore::new(beneath.clone()));
        let mut shop = Shop::with(recording.clone());
        shop.enrol(&["C1"]);
        shop.facts.chunk_rows = 1;
        let half = [line(1, "C1", "1.00"), line(2, "C1", "2.00"), line(3, "C1", "3.00")];
        let half = shop.lines("half.parquet", &half);
        let other = [line(7, "C1", "7.00"), line(8, "C1", "8.00"), line(9, "C1", "9.00")];
        let other = shop.lines("other.parquet", &other);
        let mapping = sample();
        let mut none = |_: &[BasketChange]| Ok(());
        left.store(3, Ordering::Relaxed);
        let cut = shop.facts.import(&shop.vault, &half, terms(&mapping), &mut none, &mut |_| {});
        assert!(cut.is_err());
        left.store(999, Ordering::Relaxed);
        // the last is on the disk, and was never listed
        assert_eq!(shop.facts.catalogue().all_files().unwrap().len(), 2);
        assert_eq!(files(&shop).len(), 3);
        if is_next_process {
            let folder = shop.folder.path().join("facts");
            shop.facts = Facts::open(folder, shop.store.clone(), &shop.vault).unwrap();
            shop.facts.chunk_rows = 1;
        }
        let shop = Arc::new(shop);
        let importing = shop.clone();
        *meanwhile.lock().unwrap() = Some(Box::new(move || {
            let (report, _) = importing.import(&other);
            assert_eq!((report.gave_up.as_deref(), report.rows_kept), (Some("half.parquet"), 3));
        }));
        let data = DataDirectory::new(shop.folder.path());
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("backup");
        crate::backup::create(&data, shop.vault.brand(), &recording, &copy, 0).unwrap();
        assert!(meanwhile.lock().unwrap().is_none());

        let (restored, listed) = restored(&copy);
        assert_eq!(listed.len(), 3);
        let snapshot = restored.facts.snapshot().unwrap();
        assert_eq!(restored.ask(&snapshot, SUM), ["|3|2400|"]);
        // what was never listed goes, though nobody was erased
        assert_eq!(files(&shop).len(), 4);
        assert_eq!(shop.facts.compact(&shop.vault, day(0)).unwrap(), Compacted::default());
        assert_eq!(files(&shop).len(), 3);
        assert_eq!(shop.ask(&shop.facts.snapshot().unwrap(), SUM), ["|3|2400|"]);
    }
}

/// As a backup brings it back whose copy of the files came after a listed one was given up.
#[test]
fn a_half_done_import_of_which_a_file_is_gone_begins_anew() {
    let failing = Failing::after(999);
    let mut shop = Shop::with(failing.clone());
    shop.enrol(&["C1", "C2"]);
    shop.import(&shop.lines("old.parquet", &[line(7, "C1", "7.00")]));
    shop.facts.chunk_rows = 1;
    let half = [line(1, "C1", "1.00"), line(2, "C2", "2.00"), line(3, "C1", "3.00")];
    let half = shop.lines("half.parquet", &half);
    failing.watch.left.store(3, Ordering::Relaxed);
    let mapping = sample();
    let mut none = |_: &[BasketChange]| Ok(());
    let cut = shop.facts.import(&shop.vault, &half, terms(&mapping), &mut none, &mut |_| {});
    assert!(cut.is_err());
    failing.watch.left.store(999, Ordering::Relaxed);
    let listed = shop.facts.catalogue().all_files().unwrap();
    assert_eq!(listed.len(), 3);
    let folder = shop.folder.path().join("facts");
    let (at, chunk) = &listed[2];
    std::fs::remove_file(folder.join(chunk.file(*at).name())).unwrap();
    shop.facts = Facts::open(folder, shop.store.clone(), &shop.vault).unwrap();

    shop.facts.finish(&shop.vault, Turn::Long, &mut none).unwrap();
    assert_eq!(shop.facts.catalogue().all_files().unwrap().len(), 1);
    // who is erased before it is read again is in no file that would have to be read
    erase(&shop, "C2");
    assert_eq!(shop.facts.compact(&shop.vault, day(1)).unwrap().members, 1);
    let (report, _) = shop.import(&half);
    assert_eq!((report.rows_kept, report.resumed_after, report.gave_up), (2, 0, None));
    assert_eq!(shop.ask(&shop.facts.snapshot().unwrap(), SUM), ["|3|1100|"]);
}

#[test]
fn what_standing_questions_know_of_an_erased_member_goes_with_its_rows() {
    let shop = Shop::open();
    shop.enrol(&["C1", "C2"]);
    shop.import(&shop.lines("one.parquet", &[line(1, "C1", "1.00"), line(2, "C2", "2.00")]));
    let stays = shop.vault.subject(member(&shop, "C2")).unwrap().get();
    let gone = erase(&shop, "C1");
    let (query, of) = ([1; 16], super::standing::tests::spent);
    shop.facts
        .put_spent(
            &shop.facts.begin_reading(),
            &query,
            &of(&[(gone, &[(0, 5)]), (stays, &[(0, 6)])]),
            0,
        )
        .unwrap();
    assert_eq!(shop.facts.compact(&shop.vault, day(0)).unwrap().members, 1);
    assert_eq!(shop.facts.spent(&query, &[0]).unwrap(), of(&[(stays, &[(0, 6)])]));
}
