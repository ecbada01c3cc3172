use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use std::ops::Bound;

use datafusion::arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use protocol::ids::BrandId;
use protocol::time::Timestamp;
use ring::rand::SystemRandom;

use super::*;
use crate::store::{Keyspace, MemoryStore, Pair, Store, StoreError, Write};
use crate::vault::{
    Consent, Consenting, HeldBrandKey, KEY_BYTES, MemberId, Purpose, Vault, sample_rule,
};

/// A line as a test writes it: basket, line, card, department, quantity, amount.
type Line<'a> = (i32, i32, Option<&'a str>, Option<&'a str>, i32, &'a str);

const MORNING: i64 = 1_483_255_980_000_000; // 2017-01-01 07:33:00

struct Shop {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    vault: Vault,
    facts: Facts,
}

impl Shop {
    fn open() -> Self {
        Self::with(Arc::new(MemoryStore::new()))
    }

    fn with(store: Arc<dyn Store>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = Arc::new(HeldBrandKey::from_bytes(&mut [7; KEY_BYTES]));
        let brand = BrandId::new("corner_shop").unwrap();
        let vault = Vault::new(brand, store.clone(), key, Arc::new(SystemRandom::new()));
        let facts = Facts::open(folder.path().join("facts"), store.clone(), &vault).unwrap();
        Self { folder, store, vault, facts }
    }

    fn file(&self, name: &str, columns: Vec<(&str, ArrayRef)>) -> Source {
        let path = self.folder.path().join(name);
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        )
        .unwrap();
        let mut writer =
            ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        Source::File(path)
    }

    fn enrol(&self, cards: &[&str]) -> MembersReport {
        let keys: Vec<String> =
            cards.iter().map(|card| format!("key of {card}").replace(' ', "-")).collect();
        let source = self.file(
            "members.parquet",
            vec![
                ("member_id", Arc::new(StringArray::from(cards.to_vec()))),
                ("match_key", Arc::new(StringArray::from(keys))),
                ("kids_count", Arc::new(Int32Array::from(vec![2; cards.len()]))),
            ],
        );
        let consents = sample_rule(Timestamp::from_unix_ms(1));
        import_members(&self.vault, &source, &consents, &mut |_| {}).unwrap()
    }

    fn lines(&self, name: &str, lines: &[Line<'_>]) -> Source {
        let amounts: StringArray = lines.iter().map(|line| Some(line.5)).collect();
        self.lines_with(name, lines, Arc::new(amounts))
    }

    fn lines_with(&self, name: &str, lines: &[Line<'_>], amounts: ArrayRef) -> Source {
        let whole = |of: fn(&Line<'_>) -> i32| -> ArrayRef {
            Arc::new(lines.iter().map(|line| Some(of(line))).collect::<Int32Array>())
        };
        let text = |of: for<'a> fn(&Line<'a>) -> Option<&'a str>| -> ArrayRef {
            Arc::new(lines.iter().map(of).collect::<StringArray>())
        };
        let minutes = TimestampMicrosecondArray::from(vec![MORNING; lines.len()]);
        self.file(
            name,
            vec![
                ("basket_id", whole(|line| line.0)),
                ("line_no", whole(|line| line.1)),
                ("member_id", text(|line| line.2)),
                ("store_id", whole(|_| 330)),
                ("purchased_at", Arc::new(minutes)),
                ("department", text(|line| line.3)),
                ("quantity", whole(|line| line.4)),
                ("amount", amounts),
            ],
        )
    }

    fn import(&self, source: &Source) -> (ImportReport, Vec<BasketChange>) {
        let mut changes = Vec::new();
        let mut sink = |batch: &[BasketChange]| {
            changes.extend_from_slice(batch);
            Ok(())
        };
        let cleaning = Cleaning::of_sample();
        let report =
            self.facts.import(&self.vault, source, &cleaning, &mut sink, &mut |_| {}).unwrap();
        (report, changes)
    }

    fn consenting(&self) -> Consenting {
        self.vault.consenting(Purpose::JointAnalytics).unwrap()
    }

    /// The answer of a query over the consenting members' rows of a snapshot, a row a text.
    fn ask(&self, snapshot: &Snapshot, sql: &str) -> Vec<String> {
        self.ask_since(0, snapshot, sql)
    }

    fn ask_since(&self, not_before: i32, snapshot: &Snapshot, sql: &str) -> Vec<String> {
        let consenting = self.consenting();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(
            async {
                let session = SessionContext::new();
                self.facts
                    .register(&session, "purchases", snapshot, &consenting, not_before)
                    .await
                    .unwrap();
                let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
                let table =
                    datafusion::arrow::util::pretty::pretty_format_batches(&batches).unwrap();
                let table = table.to_string();
                let rows = table.lines().filter(|line| line.starts_with('|')).skip(1);
                rows.map(|row| row.split_whitespace().collect::<String>()).collect()
            },
        )
    }
}

#[test]
fn a_bad_row_is_told_and_stops_no_good_one() {
    let shop = Shop::open();
    assert_eq!(shop.enrol(&["C1", "C2"]).enrolled, 2);
    let long = "x".repeat(65);
    let source = shop.lines(
        "day.parquet",
        &[
            (1, 1, Some("C1"), Some("DELI"), 2, "1.50"),
            (1, 2, Some("C1"), Some("FUEL"), 8_725, "20.06"),
            (1, 1, Some("C1"), Some("DELI"), 2, "1.50"),
            (2, 1, Some("C9"), Some("DELI"), 1, "3"),
            (3, 1, None, None, 1, "4.2"),
            (4, 1, Some("C2"), Some("DELI"), 1, "12,50"),
            (4, 2, Some("C2"), Some("DELI"), 0, "0.00"),
            (4, 3, Some("C2"), Some("DELI"), 0, "0.75"),
            (4, 4, Some("C2"), Some("DELI"), 1, "-3"),
            (1, 5, Some("C2"), Some("DELI"), 1, "3"),
            (5, -1, Some("C2"), Some("DELI"), 1, "3"),
            (5, 1, Some("C2"), Some(&long), 1, "3"),
            (5, 2, Some("C 2"), Some("DELI"), 1, "3"),
            (4, 5, Some("C2"), Some("MISCELLANEOUS"), 12_000, "25.00"),
        ],
    );
    let (report, changes) = shop.import(&source);
    assert_eq!((report.rows_read, report.rows_kept, report.guest_rows), (14, 5, 1));
    assert_eq!(report.amount_fen, 150 + 2_006 + 420 + 75 + 2_500);
    assert_eq!(
        report.dropped,
        BTreeMap::from([
            (DropReason::Malformed, 4),
            (DropReason::NothingSold, 1),
            (DropReason::Negative, 1),
            (DropReason::UnknownMember, 1),
            (DropReason::Duplicate, 1),
            (DropReason::OthersBasket, 1),
        ])
    );
    assert_eq!(
        report.adjusted,
        BTreeMap::from([(Adjustment::Measured, 2), (Adjustment::NoDepartment, 1)])
    );
    let told: Vec<String> = report.issues.iter().map(ToString::to_string).collect();
    assert_eq!(
        told[2],
        "row 6, column amount: is not an amount in yuan with at most two decimal places, \
         up to 10 million; correct the cell and import the corrected file"
    );
    assert_eq!(told[1], "row 4: no member has this card; import the member, then this file again");
    assert!(told[6].starts_with("row 11, column line_no: is not a whole number"), "{}", told[6]);
    assert!(told[7].starts_with("row 12, column department: is too long"), "{}", told[7]);
    assert!(told[8].starts_with("row 13, column member_id"), "{}", told[8]);

    let mut totals: Vec<i64> = changes.iter().map(|change| change.after.get()).collect();
    totals.sort_unstable();
    assert_eq!(totals, [420, 2_156, 2_575]);
    assert!(changes.iter().all(|change| change.part == 0 && change.before == Fen::ZERO));
    assert_eq!(changes.iter().filter(|change| change.member.is_none()).count(), 1);

    let snapshot = shop.facts.snapshot().unwrap();
    let rows = shop.ask(
        &snapshot,
        "SELECT department, purchased_on, sum(quantity), sum(amount_fen) FROM purchases
         GROUP BY 1, 2 ORDER BY 1",
    );
    // the guest's row is not there, a volume counts as one piece, and the minute is gone
    assert_eq!(
        rows,
        [
            "|DELI|2017-01-01|2|225|",
            "|FUEL|2017-01-01|1|2006|",
            "|MISCELLANEOUS|2017-01-01|1|2500|"
        ]
    );
}

#[test]
fn the_same_line_counts_once_and_a_late_line_adds() {
    let shop = Shop::open();
    shop.enrol(&["C1"]);
    let monday =
        [(1, 1, Some("C1"), Some("DELI"), 1, "1.99"), (1, 2, Some("C1"), Some("DELI"), 1, "1.99")];
    let source = shop.lines("monday.parquet", &monday);
    assert_eq!(shop.import(&source).1.len(), 1);
    let (again, changes) = shop.import(&source);
    assert!(again.already_imported && changes.is_empty());
    let before = shop.facts.snapshot().unwrap();

    let late = [monday[0], monday[1], (1, 3, Some("C1"), Some("DELI"), 1, "0.02")];
    let (report, changes) = shop.import(&shop.lines("late.parquet", &late));
    assert_eq!((report.rows_kept, report.dropped[&DropReason::Duplicate]), (1, 2));
    let [change] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((change.part, change.before.get(), change.after.get()), (1, 398, 400));

    // a snapshot taken before stays what it was
    let after = shop.facts.snapshot().unwrap();
    assert_ne!(before.id(), after.id());
    let count = "SELECT count(*), count(DISTINCT basket) FROM purchases";
    assert_eq!(shop.ask(&before, count), ["|2|1|"]);
    assert_eq!(shop.ask(&after, count), ["|3|1|"]);
    assert_eq!(shop.facts.rows().unwrap(), 3);
}

#[test]
fn rows_of_unknown_members_are_taken_when_the_members_are_there() {
    let shop = Shop::open();
    shop.enrol(&["C1"]);
    let source = shop.lines(
        "day.parquet",
        &[(1, 1, Some("C1"), Some("DELI"), 1, "1"), (2, 1, Some("C2"), Some("DELI"), 1, "2")],
    );
    assert_eq!(shop.import(&source).0.rows_kept, 1);
    shop.enrol(&["C1", "C2"]);
    let (report, changes) = shop.import(&source);
    assert_eq!((report.rows_kept, report.dropped[&DropReason::Duplicate]), (1, 1));
    assert_eq!(changes.len(), 1);
    let snapshot = shop.facts.snapshot().unwrap();
    assert_eq!(shop.ask(&snapshot, "SELECT sum(amount_fen) FROM purchases"), ["|300|"]);
    assert!(shop.import(&source).0.already_imported);
}

#[test]
fn amounts_read_the_same_from_every_column_type() {
    let line = |basket| (basket, 1, Some("C1"), Some("DELI"), 1, "0.07");
    let lines: Vec<Line<'_>> = (1..=3).map(line).collect();
    let types: [ArrayRef; 4] = [
        Arc::new(StringArray::from(vec!["0.07", "0.29", "1000000"])),
        Arc::new(Float64Array::from(vec![0.07, 0.29, 1_000_000.0])),
        Arc::new(
            Decimal128Array::from(vec![7, 29, 100_000_000]).with_precision_and_scale(9, 2).unwrap(),
        ),
        Arc::new(
            Decimal128Array::from(vec![7_000, 29_000, 100_000_000_000])
                .with_precision_and_scale(18, 5)
                .unwrap(),
        ),
    ];
    for amounts in types {
        let shop = Shop::open();
        shop.enrol(&["C1"]);
        let (report, _) = shop.import(&shop.lines_with("day.parquet", &lines, amounts));
        assert_eq!((report.rows_kept, report.amount_fen), (3, 100_000_036));
    }
    let shop = Shop::open();
    shop.enrol(&["C1"]);
    let finer: ArrayRef = Arc::new(Float64Array::from(vec![0.075, f64::NAN, 1e30]));
    let (report, _) = shop.import(&shop.lines_with("day.parquet", &lines, finer));
    assert_eq!((report.rows_kept, report.dropped[&DropReason::Malformed]), (0, 3));
}

#[test]
fn a_wrong_file_is_refused_whole_and_says_why() {
    let shop = Shop::open();
    let refused = |source: &Source| {
        let mut sink = |_: &[BasketChange]| Ok(());
        let cleaning = Cleaning::of_sample();
        let error =
            shop.facts.import(&shop.vault, source, &cleaning, &mut sink, &mut |_| {}).unwrap_err();
        error.to_string()
    };
    let one = [(1, 1, None, None, 1, "1")];
    let path = |source: &Source| match source {
        Source::File(path) => path.clone(),
        Source::Embedded { .. } => PathBuf::new(),
    };
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.5]));
    let whole: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let told = refused(&shop.file("few.parquet", vec![("basket_id", whole.clone())]));
    assert_eq!(told, "few.parquet: has no column line_no (whole numbers)");
    let mut columns: Vec<(&str, ArrayRef)> =
        ["basket_id", "line_no", "member_id", "department", "amount"]
            .map(|name| (name, whole.clone()))
            .into();
    columns.push(("purchased_at", Arc::new(TimestampMicrosecondArray::from(vec![MORNING]))));
    columns.push(("quantity", floats));
    let told = refused(&shop.file("floats.parquet", columns));
    assert_eq!(told, "floats.parquet, column quantity: is Float64, should be whole numbers");

    let good = path(&shop.lines("good.parquet", &one));
    let bytes = std::fs::read(&good).unwrap();
    let cut = shop.folder.path().join("cut.parquet");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let told = refused(&Source::File(cut));
    assert_eq!(told, "cut.parquet: not a whole Parquet file (Snappy or no compression)");
    let told = refused(&Source::File(shop.folder.path().join("absent.parquet")));
    assert_eq!(told, "absent.parquet: cannot be read");
    assert!(shop.facts.snapshot().unwrap().files().is_empty());
    assert_eq!(
        shop.ask(&shop.facts.snapshot().unwrap(), "SELECT count(*) FROM purchases"),
        ["|0|"]
    );
}

#[test]
fn a_member_list_with_bad_rows_enrols_the_good_ones() {
    let shop = Shop::open();
    let source = shop.file(
        "members.parquet",
        vec![
            (
                "member_id",
                Arc::new(StringArray::from(vec![
                    Some("C1"),
                    None,
                    Some("C3"),
                    Some("C 4"),
                    Some("C1"),
                ])),
            ),
            (
                "match_key",
                Arc::new(StringArray::from(vec![
                    "person-one",
                    "person-two",
                    "person-one",
                    "person-4",
                    "person-one",
                ])),
            ),
        ],
    );
    let report = import_members(&shop.vault, &source, &[], &mut |_| {}).unwrap();
    assert_eq!((report.rows_read, report.enrolled, report.known), (5, 1, 1));
    let told: Vec<String> = report.issues.iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("row 2, column member_id: is empty"), "{told:?}");
    assert!(told.iter().any(|told| told.starts_with("row 3: the card or match key belongs")));
    assert_eq!(report.dropped[&DropReason::Malformed], 2);
}

#[test]
fn only_who_consents_is_seen_and_an_erased_member_is_not() {
    let shop = Shop::open();
    shop.enrol(&["C1", "C2", "C3"]);
    let lines: Vec<Line<'_>> = vec![
        (1, 1, Some("C1"), Some("DELI"), 1, "1"),
        (2, 1, Some("C2"), Some("DELI"), 1, "10"),
        (3, 1, Some("C3"), Some("DELI"), 1, "100"),
        (4, 1, None, Some("DELI"), 1, "1000"),
    ];
    shop.import(&shop.lines("day.parquet", &lines));
    let snapshot = shop.facts.snapshot().unwrap();
    let id = |card: &str| {
        shop.vault.by_card(&crate::vault::CardNumber::new(card).unwrap()).unwrap().unwrap()
    };
    let sum = "SELECT sum(amount_fen) FROM purchases";
    assert_eq!(shop.ask(&snapshot, sum), ["|11100|"]);
    let no = Consent { granted: false, ..sample_rule(Timestamp::from_unix_ms(2))[2] };
    shop.vault.decide(id("C2"), no).unwrap();
    assert_eq!(shop.ask(&snapshot, sum), ["|10100|"]);
    shop.vault.erase(id("C3"), Timestamp::from_unix_ms(3)).unwrap();
    assert_eq!(shop.ask(&snapshot, sum), ["|100|"]);

    // consent to exchange is not consent to analytics
    let exchange = shop.vault.consenting(Purpose::Exchange).unwrap();
    let session = SessionContext::new();
    let register = shop.facts.register(&session, "purchases", &snapshot, &exchange, 0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(matches!(runtime.block_on(register), Err(FactsError::OtherPurpose)));
}

#[test]
fn facts_encrypted_at_rest() {
    let shop = Shop::open();
    shop.enrol(&["C1"]);
    let source = shop.lines("day.parquet", &[(1, 1, Some("C1"), Some("SPIRITS AND WINE"), 1, "1")]);
    shop.import(&source);
    let contains = |path: &Path, needle: &[u8]| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    };
    let Source::File(plain) = &source else { panic!("a file") };
    // the search finds the word in the file that was imported
    assert!(contains(plain, b"SPIRITS AND WINE"));
    let snapshot = shop.facts.snapshot().unwrap();
    let [file] = snapshot.files() else { panic!("one file") };
    for word in ["SPIRITS", "department", "amount_fen"] {
        assert!(!contains(file, word.as_bytes()), "{word} in clear");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let session = SessionContext::new();
    let name = file.display().to_string();
    let without_key = session.read_parquet(name, ParquetReadOptions::default());
    assert!(runtime.block_on(without_key).is_err());
}

/// A store that fails at its n-th transaction, as a machine that goes down would.
struct Failing {
    store: Arc<MemoryStore>,
    left: AtomicU32,
}

impl Store for Failing {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(keyspace, key)
    }
    fn scan(
        &self,
        keyspace: Keyspace,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        self.store.scan(keyspace, from, to, limit)
    }
    fn transaction(&self, writes: &[Write]) -> Result<(), StoreError> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(StoreError::Poisoned);
        }
        self.left.store(left - 1, Ordering::Relaxed);
        self.store.transaction(writes)
    }
    fn flush(&self) -> Result<(), StoreError> {
        self.store.flush()
    }
}

#[test]
fn an_interrupted_import_goes_on_and_tells_the_same_changes() {
    // three batches, each a file of its own; basket 7 has a line in every one
    let shop = Shop::open();
    shop.enrol(&["C1"]);
    let mut lines: Vec<Line<'_>> = (0..20_000)
        .map(|number| (number / 4 + 100, number % 4, Some("C1"), Some("DELI"), 1, "0.55"))
        .collect();
    for (line, at) in (1..).zip([10, 9_000, 18_000]) {
        lines[at] = (7, line, Some("C1"), Some("DELI"), 1, "1.00");
    }
    let source = shop.lines("long.parquet", &lines);

    for good in 0..3 {
        let failing = Failing { store: Arc::new(MemoryStore::new()), left: AtomicU32::new(9) };
        let failing = Arc::new(failing);
        let mut shop = Shop::with(failing.clone());
        shop.enrol(&["C1"]);
        shop.facts.chunk_rows = 1;
        let mut told: BTreeMap<(BasketKey, u32), BasketChange> = BTreeMap::new();
        let mut run = |sinks: u32| {
            let mut left = sinks;
            let mut sink = |batch: &[BasketChange]| -> Result<(), SinkError> {
                left = left.checked_sub(1).ok_or("the sink is full")?;
                for change in batch {
                    let before = told.insert((change.basket, change.part), *change);
                    // told again, it is the same
                    assert!(before.is_none_or(|before| before == *change));
                }
                Ok(())
            };
            let cleaning = Cleaning::of_sample();
            shop.facts.import(&shop.vault, &source, &cleaning, &mut sink, &mut |_| {})
        };
        // goes down after the sink took a chunk that the store then did not
        failing.left.store(good, Ordering::Relaxed);
        assert!(matches!(run(9), Err(ImportError::Store(_))));
        failing.left.store(9, Ordering::Relaxed);
        // a half-done import is not to be seen
        assert!(shop.facts.snapshot().unwrap().files().is_empty());
        // goes on, and stops once more before the end
        assert!(matches!(run(0), Err(ImportError::Sink(_))));
        let report = run(9).unwrap();
        assert_eq!(report.resumed_after, u64::from(good) * 8_192);
        assert_eq!(report.resumed_after + report.rows_read, 20_000);

        assert!(shop.store.get("facts_chunk", &3u32.to_be_bytes()).unwrap().is_none());
        let snapshot = shop.facts.snapshot().unwrap();
        let rows = shop.ask(&snapshot, "SELECT count(*), sum(amount_fen) FROM purchases");
        assert_eq!(rows, [format!("|20000|{}|", 19_997 * 55 + 300)]);
        let gained: i64 =
            told.values().map(|change| change.after.get() - change.before.get()).sum();
        assert_eq!(gained, 19_997 * 55 + 300);
        let parts: Vec<u32> = told.keys().map(|(_, part)| *part).collect();
        assert_eq!(parts.iter().filter(|part| **part == 2).count(), 1);
        let owner: Option<MemberId> = told.values().next().unwrap().member;
        assert!(owner.is_some());
    }
}

#[test]
fn a_bounded_query_reads_the_view_and_nothing_past_retention() {
    let shop = Shop::open();
    shop.enrol(&["C1", "C2"]);
    let lines = [
        (1, 1, Some("C1"), Some("DELI"), 1, "1.00"),
        (1, 2, Some("C1"), Some("PASTRY"), 2, "2.00"),
        (2, 1, Some("C2"), Some("DELI"), 1, "4.00"),
        (3, 1, None, Some("DELI"), 1, "8.00"),
    ];
    shop.import(&shop.lines("day.parquet", &lines));
    let snapshot = shop.facts.snapshot().unwrap();
    // the form in which the privacy crate writes its queries
    let sql = "SELECT member, cell, COUNT(*) AS a0, SUM(c3) AS a1 FROM (SELECT member, \
        CAST((0) * 3 + (c1) AS BIGINT) AS cell, c3 FROM (SELECT \"member\" AS member, \
        CASE WHEN \"department\" = 'DELI' THEN 0 WHEN 1 = 0 THEN 0 ELSE 2 END AS c1, \
        CASE WHEN \"amount_fen\" > 300 THEN 300 WHEN \"amount_fen\" < 0 THEN 0 \
        ELSE COALESCE(\"amount_fen\", 0) END AS c3 FROM \"purchases\" \
        WHERE \"member\" IS NOT NULL AND \"member\" <> '' AND \"purchased_on\" >= DATE '2017-01-01' \
        AND \"purchased_on\" <= DATE '2017-12-31') AS mapped) AS coded GROUP BY member, cell";
    let cells = format!("SELECT cell, a0, a1 FROM ({sql}) AS x ORDER BY 1, 3");
    assert_eq!(shop.ask(&snapshot, &cells), ["|0|1|100|", "|0|1|300|", "|2|1|200|"]);
    let people = format!("SELECT count(DISTINCT member) FROM ({sql}) AS x");
    assert_eq!(shop.ask(&snapshot, &people), ["|2|"]);
    // 2017-01-01 is day 17,167
    let count = "SELECT count(*) FROM purchases";
    assert_eq!(shop.ask_since(17_167, &snapshot, count), ["|3|"]);
    assert_eq!(shop.ask_since(17_168, &snapshot, count), ["|0|"]);
}

/// Of a file of facts on the disk: the numbers of its members.
fn members_in(shop: &Shop, path: &Path) -> Vec<Option<i64>> {
    let key = shop.vault.file_key("facts").unwrap();
    let mut members = Vec::new();
    for batch in facts::read(path, &key).unwrap() {
        let batch = batch.unwrap();
        let columns = facts::FactColumns::of(&batch).unwrap();
        members.extend((0..batch.num_rows()).map(|at| columns.row(at).member));
    }
    members
}

fn fact_files(shop: &Shop) -> Vec<PathBuf> {
    let folder = shop.folder.path().join("facts");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn compaction_removes_the_rows_of_erased_members_and_nothing_else() {
    let shop = Shop::open();
    shop.enrol(&["C1", "C2", "C3"]);
    let lines = [
        (1, 1, Some("C1"), Some("MEAT"), 1, "1.00"),
        (2, 1, Some("C2"), Some("MEAT"), 1, "2.00"),
        (3, 1, None, Some("MEAT"), 1, "3.00"),
        (4, 1, Some("C3"), Some("MEAT"), 1, "4.00"),
    ];
    shop.import(&shop.lines("one", &lines));
    shop.import(&shop.lines("two", &[(5, 1, Some("C2"), Some("MEAT"), 1, "5.00")]));
    let day = |days: u64| Timestamp::from_unix_ms(1_700_000_000_000 + days * 86_400_000);
    let nothing = shop.facts.compact(&shop.vault, day(0)).unwrap();
    assert_eq!(nothing, Compacted::default());

    let card = |text: &str| crate::vault::CardNumber::new(text).unwrap();
    let gone = shop.vault.by_card(&card("C2")).unwrap().unwrap();
    let stays = shop.vault.by_card(&card("C1")).unwrap().unwrap();
    let gone_as = shop.vault.subject(gone).unwrap().get();
    let before = shop.facts.snapshot().unwrap();
    assert_eq!(shop.facts.lines_of(&shop.vault.subjects(gone).unwrap()).unwrap().len(), 2);
    shop.vault.erase(gone, day(0)).unwrap();
    // out of every answer at once
    let sum = "select sum(amount_fen) from purchases";
    assert_eq!(shop.ask(&before, sum), ["|500|"]);

    let done = shop.facts.compact(&shop.vault, day(1)).unwrap();
    assert_eq!((done.members, done.files, done.rows, done.deleted), (1, 2, 2, 0));
    let after = shop.facts.snapshot().unwrap();
    assert_ne!(before.id(), after.id());
    assert_eq!(shop.ask(&after, sum), ["|500|"]);
    assert_eq!(shop.facts.rows().unwrap(), 3);
    // a question that began before still reads what it was bound to, until a day later
    assert_eq!(shop.ask(&before, sum), ["|500|"]);
    assert_eq!(fact_files(&shop).len(), 3);
    assert_eq!(shop.facts.compact(&shop.vault, day(2)).unwrap().deleted, 2);
    let files = fact_files(&shop);
    assert_eq!(files.len(), 1);
    let members = members_in(&shop, &files[0]);
    assert!(members.len() == 3 && !members.contains(&Some(gone_as)) && members.contains(&None));

    let line = &shop.facts.lines_of(&shop.vault.subjects(stays).unwrap()).unwrap()[..];
    assert!(matches!(line, [it] if it.amount_fen == 100 && it.department == "MEAT"));
    assert_eq!(counted_baskets(&*shop.store).unwrap().len(), 2);
    // numbers of files are not used again
    shop.import(&shop.lines("three", &[(9, 1, Some("C1"), Some("MEAT"), 1, "9.00")]));
    assert_eq!(fact_files(&shop).len(), 2);
    assert_eq!(shop.facts.rows().unwrap(), 4);
}

#[test]
fn rows_of_merged_members_are_one_persons() {
    let shop = Shop::open();
    shop.enrol(&["C1", "C2", "C3"]);
    let lines = [
        (1, 1, Some("C1"), Some("MEAT"), 1, "1.00"),
        (2, 1, Some("C2"), Some("MEAT"), 1, "2.00"),
        (4, 1, Some("C3"), Some("MEAT"), 1, "4.00"),
    ];
    shop.import(&shop.lines("one", &lines));
    let [one, other] = ["C1", "C2"].map(|text| {
        let card = crate::vault::CardNumber::new(text).unwrap();
        shop.vault.by_card(&card).unwrap().unwrap()
    });
    let snapshot = shop.facts.snapshot().unwrap();
    let sql = "select count(distinct member), sum(amount_fen) from purchases";
    assert_eq!(shop.ask(&snapshot, sql), ["|3|700|"]);
    let at = Timestamp::from_unix_ms(1);
    shop.vault.merge(one, other, "ann", at).unwrap();
    assert_eq!(shop.ask(&snapshot, sql), ["|2|700|"]);
    assert_eq!(shop.facts.lines_of(&shop.vault.subjects(one).unwrap()).unwrap().len(), 2);
    shop.vault.part(one, other, "ann", at).unwrap();
    assert_eq!(shop.ask(&snapshot, sql), ["|3|700|"]);
}
