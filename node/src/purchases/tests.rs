use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use datafusion::arrow::array::{
    ArrayRef, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use protocol::ids::BrandId;
use protocol::time::Timestamp;
use ring::rand::SystemRandom;

use super::*;
use crate::store::watched::{Watch, Watched};
use crate::store::{Keyspace, MemoryStore, Store, StoreError, Write};
use crate::vault::{Consent, Consenting, HeldBrandKey, KEY_BYTES, Purpose, Vault, sample_rule};

/// The shipped mapping, without the attributes that these tests' lists do not have.
pub(super) fn sample() -> Mapping {
    let text = alliance_config::sample::mapping("complete-journey").unwrap();
    let absent = [
        "product",
        "first_purchase_date",
        "age_band",
        "income_band",
        "home_ownership",
        "marital_status",
        "household_size",
        "household_comp",
        "coupon",
    ];
    let kept = text.lines().filter(|line| !absent.iter().any(|name| line.starts_with(name)));
    Mapping::from_toml(&kept.collect::<Vec<_>>().join("\n")).unwrap()
}

pub(super) fn terms(mapping: &Mapping) -> ImportTerms<'_> {
    ImportTerms { mapping, brands: &[], today: 20_400, pace: Pace::FULL }
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_unix_ms(1)
}

/// Every keyspace that a vault and facts write to.
pub(super) const SPACES: [Keyspace; 3] = ["vault_brand_key", "vault_member", "facts_chunk"];

/// A line as a test writes it: basket, line, card, department, quantity, amount.
pub(super) type Line<'a> = (i32, i32, Option<&'a str>, Option<&'a str>, i32, &'a str);

const MORNING: i64 = 1_483_255_980_000_000; // 2017-01-01 07:33:00

pub(super) struct Shop {
    pub(super) folder: tempfile::TempDir,
    pub(super) store: Arc<dyn Store>,
    pub(super) vault: Vault,
    pub(super) facts: Facts,
}

impl Shop {
    pub(super) fn open() -> Self {
        Self::with(Arc::new(MemoryStore::new()))
    }

    pub(super) fn with(store: Arc<dyn Store>) -> Self {
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

    pub(super) fn enrol(&self, cards: &[&str]) -> MembersReport {
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
        import_members(&self.vault, &source, terms(&sample()), now(), &mut |_| {}).unwrap()
    }

    pub(super) fn lines(&self, name: &str, lines: &[Line<'_>]) -> Source {
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

    pub(super) fn import(&self, source: &Source) -> (ImportReport, Vec<BasketChange>) {
        let mut changes = Vec::new();
        let mut sink = |batch: &[BasketChange]| {
            changes.extend_from_slice(batch);
            Ok(())
        };
        let report = self
            .facts
            .import(&self.vault, source, terms(&sample()), &mut sink, &mut |_| {})
            .unwrap();
        (report, changes)
    }

    fn consenting(&self) -> Consenting {
        self.vault.consenting(Purpose::JointAnalytics).unwrap()
    }

    /// The answer of a query over the consenting members' rows of a snapshot, a row a text.
    pub(super) fn ask(&self, snapshot: &Snapshot, sql: &str) -> Vec<String> {
        self.ask_since(0, snapshot, sql)
    }

    fn ask_since(&self, not_before: i32, snapshot: &Snapshot, sql: &str) -> Vec<String> {
        let consenting = self.consenting();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(
            async {
                let session = SessionContext::new();
                self.facts
                    .register(
                        &session,
                        "purchases",
                        snapshot,
                        &consenting,
                        not_before,
                        Refunds::for_query(sql),
                    )
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
    // the other line of basket 1 is another member's: a basket of that member's own
    assert_eq!((report.rows_read, report.rows_kept, report.guest_rows), (14, 6, 1));
    assert_eq!(report.amount_fen, 150 + 2_006 + 420 + 75 + 300 + 2_500);
    assert_eq!(
        report.dropped,
        BTreeMap::from([
            (DropReason::Malformed, 4),
            (DropReason::NothingSold, 1),
            (DropReason::Negative, 1),
            (DropReason::UnknownMember, 1),
            (DropReason::Duplicate, 1),
        ])
    );
    assert_eq!(
        report.adjusted,
        BTreeMap::from([(Adjustment::Measured, 2), (Adjustment::NoDepartment, 1)])
    );
    let told: Vec<String> = report.issues.iter().map(ToString::to_string).collect();
    assert_eq!(
        told[2],
        "row 6, amount: is not an amount to the fen in the unit that the mapping states, up to 10 \
         million yuan; correct the cell and import the corrected file"
    );
    assert_eq!(told[1], "row 4: no member has this card; import the member, then this file again");
    assert!(told[5].starts_with("row 11, line: is not a whole number"), "{}", told[5]);
    assert!(told[6].starts_with("row 12, department: is too long"), "{}", told[6]);
    assert!(told[7].starts_with("row 13, member"), "{}", told[7]);

    let mut totals: Vec<i64> = changes.iter().map(|change| change.after.get()).collect();
    totals.sort_unstable();
    assert_eq!(totals, [300, 420, 2_156, 2_575]);
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
            "|DELI|2017-01-01|3|525|",
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

/// What is no finite number is a bad row, in a column of floats and in one of texts, and no sum has anything of it.
#[test]
fn what_is_no_finite_number_is_a_bad_row_and_in_no_sum() {
    let line = |basket| (basket, 1, Some("C1"), Some("DELI"), 1, "0.07");
    let lines: Vec<Line<'_>> = (1..=4).map(line).collect();
    let floats = [f64::NAN, 0.07, f64::INFINITY, f64::NEG_INFINITY];
    let single = [f32::NAN, 0.5, f32::INFINITY, f32::NEG_INFINITY];
    let columns: [(i64, ArrayRef); 4] = [
        (7, Arc::new(Float64Array::from(floats.to_vec()))),
        (50, Arc::new(Float32Array::from(single.to_vec()))),
        (7, Arc::new(StringArray::from(vec!["NaN", "0.07", "inf", "-Infinity"]))),
        (7, Arc::new(StringArray::from(vec!["nan", "0.07", "+inf", "1e400"]))),
    ];
    for (fen, amounts) in columns {
        let shop = Shop::open();
        shop.enrol(&["C1"]);
        let (report, changes) = shop.import(&shop.lines_with("day.parquet", &lines, amounts));
        assert_eq!((report.rows_kept, report.amount_fen, changes.len()), (1, fen, 1));
        assert_eq!(report.dropped, BTreeMap::from([(DropReason::Malformed, 3)]));
        let snapshot = shop.facts.snapshot().unwrap();
        let sum = "SELECT count(*), sum(amount_fen), sum(quantity) FROM purchases";
        assert_eq!(shop.ask(&snapshot, sum), [format!("|1|{fen}|1|")]);
    }
}

#[test]
fn a_wrong_file_is_refused_whole_and_says_why() {
    let shop = Shop::open();
    let refused = |source: &Source| {
        let mut sink = |_: &[BasketChange]| Ok(());
        let sample = sample();
        let facts = &shop.facts;
        let error =
            facts.import(&shop.vault, source, terms(&sample), &mut sink, &mut |_| {}).unwrap_err();
        error.to_string()
    };
    let one = [(1, 1, None, None, 1, "1")];
    let path = |source: &Source| match source {
        Source::File(path) => path.clone(),
        _ => PathBuf::new(),
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
            ("kids_count", Arc::new(Int32Array::from(vec![0; 5]))),
        ],
    );
    let report =
        import_members(&shop.vault, &source, terms(&sample()), now(), &mut |_| {}).unwrap();
    assert_eq!((report.rows_read, report.enrolled, report.known), (5, 1, 1));
    let told: Vec<String> = report.issues.iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("row 2, card: is empty"), "{told:?}");
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
    let register =
        shop.facts.register(&session, "purchases", &snapshot, &exchange, 0, Refunds::Apart);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(matches!(runtime.block_on(register), Err(FactsError::OtherPurpose)));
}

/// What is said to be readable is what a session shows, with and without refunds taken off, and purchases are shown
/// under no other name.
#[test]
fn what_is_listed_as_readable_is_what_a_session_shows() {
    let shop = Shop::open();
    shop.enrol(&["C1"]);
    shop.import(&shop.lines("day.parquet", &[(1, 1, Some("C1"), Some("DELI"), 1, "1")]));
    let snapshot = shop.facts.snapshot().unwrap();
    let members = shop.consenting();
    let kind = |of: &DataType| match of {
        DataType::Utf8 | DataType::Utf8View => CellKind::Text,
        DataType::Date32 => CellKind::Day,
        DataType::Int64 => CellKind::Number,
        other => panic!("{other}"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // the other two are of the vault, and are tried where they are made
    for table in [ReadableTable::Purchases] {
        for (refunds, without) in [(Refunds::Netted, ""), (Refunds::Apart, "net_fen")] {
            let session = SessionContext::new();
            let register =
                shop.facts.register(&session, table.name(), &snapshot, &members, 0, refunds);
            runtime.block_on(register).unwrap();
            let shown = runtime.block_on(session.table(table.name())).unwrap();
            let fields = shown.schema().fields().iter();
            let mut shown: Vec<_> =
                fields.map(|field| (field.name().clone(), kind(field.data_type()))).collect();
            let columns = table.columns().iter().filter(|column| column.name != without);
            let mut listed: Vec<_> =
                columns.map(|column| (column.name.to_owned(), column.kind)).collect();
            listed.push((table.owner().to_owned(), CellKind::Number));
            shown.sort_by(|one, two| one.0.cmp(&two.0));
            listed.sort_by(|one, two| one.0.cmp(&two.0));
            assert_eq!(shown, listed, "{refunds:?}");
        }
    }
    for other in ["baskets", "facts", "Purchases", "members", "campaigns"] {
        let session = SessionContext::new();
        let register = shop.facts.register(&session, other, &snapshot, &members, 0, Refunds::Apart);
        assert!(matches!(runtime.block_on(register), Err(FactsError::OtherTable)), "{other}");
    }
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
pub(super) struct Failing {
    pub(super) left: AtomicU32,
}

impl Failing {
    pub(super) fn after(transactions: u32) -> Arc<Watched<Self>> {
        Arc::new(Watched::by(Self { left: AtomicU32::new(transactions) }))
    }
}

impl Watch for Failing {
    fn writes(&self, _: &[Write]) -> Result<(), StoreError> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(StoreError::Poisoned { earlier: None });
        }
        self.left.store(left - 1, Ordering::Relaxed);
        Ok(())
    }
}

/// Three chunks and a basket with a line in every one; crashes after every possible transaction.
#[test]
fn an_interrupted_import_goes_on_and_tells_the_same_changes() {
    let shop = Shop::open();
    let mut lines: Vec<Line<'_>> = (0..2_000)
        .map(|number| (number / 4 + 100, number % 4, Some("C1"), Some("DELI"), 1, "0.55"))
        .collect();
    for (line, at) in (1..).zip([10, 900, 1_800]) {
        lines[at] = (7, line, Some("C1"), Some("DELI"), 1, "1.00");
    }
    let source = shop.lines("long.parquet", &lines);
    let total = 1_997 * 55 + 300;

    let (mut good, mut half_done, mut half_told) = (0, 0, 0);
    loop {
        let failing = Failing::after(99);
        let mut shop = Shop::with(failing.clone());
        shop.enrol(&["C1"]);
        shop.facts.chunk_rows = 600;
        let mut told: BTreeMap<(BasketKey, u32), BasketChange> = BTreeMap::new();
        let mut run = |shop: &Shop, sinks: u32| {
            let mut left = sinks;
            let mut sink = |batch: &[BasketChange]| -> Result<(), SinkError> {
                left = left.checked_sub(1).ok_or("the sink is full")?;
                for change in batch {
                    let before = told.insert((change.basket, change.part), change.clone());
                    // told again, it is the same
                    assert!(before.is_none_or(|before| before == *change));
                }
                Ok(())
            };
            shop.facts.import(&shop.vault, &source, terms(&sample()), &mut sink, &mut |_| {})
        };
        failing.watch.left.store(good, Ordering::Relaxed);
        let finished = run(&shop, 99);
        failing.watch.left.store(99, Ordering::Relaxed);
        if finished.is_err() {
            assert!(matches!(finished, Err(ImportError::Store(_))));
            // all of it is to be seen, or nothing
            let seen = shop.facts.rows().unwrap();
            assert!(seen == 0 || seen == 2_000, "{seen}");
            let counted = shop.facts.counted_baskets().unwrap().len();
            assert_eq!(counted, if seen == 0 { 0 } else { 501 });
            half_done += u32::from(seen == 0);
            half_told += u32::from(seen > 0);
            // the process is another, and the sink fails it once more
            shop.facts =
                Facts::open(shop.folder.path().join("facts"), shop.store.clone(), &shop.vault)
                    .unwrap();
            shop.facts.chunk_rows = 600;
            let again = run(&shop, 0);
            assert!(matches!(again, Err(ImportError::Sink(_))) || seen > 0, "{again:?}");
            run(&shop, 99).unwrap();
        }
        let snapshot = shop.facts.snapshot().unwrap();
        let rows = shop.ask(&snapshot, "SELECT count(*), sum(amount_fen) FROM purchases");
        assert_eq!(rows, [format!("|2000|{total}|")], "after {good} transactions");
        let gained: i64 =
            told.values().map(|change| change.after.get() - change.before.get()).sum();
        assert_eq!(gained, total);
        let parts: Vec<u32> = told.keys().map(|(_, part)| *part).collect();
        assert_eq!(parts.iter().filter(|part| **part == 2).count(), 1);
        assert!(told.values().all(|change| change.member.is_some()));
        assert!(shop.store.scan_prefix("purchases_change", b"", None, 1).unwrap().is_empty());
        if finished.is_ok() {
            break;
        }
        good += 1;
    }
    assert!(half_done >= 4 && half_told >= 1, "{half_done} {half_told}");
}

#[test]
fn a_half_done_import_is_given_up_for_another_and_leaves_nothing() {
    let failing = Failing::after(99);
    let mut shop = Shop::with(failing.clone());
    shop.enrol(&["C1"]);
    shop.facts.chunk_rows = 1;
    let monday = shop.lines("monday.parquet", &[(1, 1, Some("C1"), Some("DELI"), 1, "1.00")]);
    shop.import(&monday);
    let before = shop.facts.snapshot().unwrap();

    let half = [
        (1, 2, Some("C1"), Some("DELI"), 1, "2.00"),
        (2, 1, Some("C1"), Some("DELI"), 1, "3.00"),
        (3, 1, Some("C1"), Some("DELI"), 1, "4.00"),
    ];
    let half = shop.lines("half.parquet", &half);
    failing.watch.left.store(3, Ordering::Relaxed);
    let sample = sample();
    let mut none = |_: &[BasketChange]| Ok(());
    assert!(shop.facts.import(&shop.vault, &half, terms(&sample), &mut none, &mut |_| {}).is_err());
    failing.watch.left.store(99, Ordering::Relaxed);
    assert!(std::fs::read_dir(shop.folder.path().join("facts")).unwrap().count() > 1);

    // the same lines come in another file, and are no duplicates
    let whole = shop.lines(
        "whole.parquet",
        &[(2, 1, Some("C1"), Some("DELI"), 1, "3.00"), (4, 1, Some("C1"), Some("DELI"), 1, "5.00")],
    );
    let (report, changes) = shop.import(&whole);
    assert_eq!(report.gave_up.as_deref(), Some("half.parquet"));
    assert_eq!((report.rows_kept, report.dropped.len(), changes.len()), (2, 0, 2));
    let after = shop.facts.snapshot().unwrap();
    assert_ne!(before.id(), after.id());
    assert_eq!(shop.ask(&after, "SELECT count(*), sum(amount_fen) FROM purchases"), ["|3|900|"]);
    assert_eq!(shop.facts.counted_baskets().unwrap().len(), 3);
    // and the first file can be imported whole
    assert_eq!(shop.import(&half).0.rows_kept, 2);
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
        CASE \"department\" WHEN 'DELI' THEN 0 ELSE 2 END AS c1, \
        CASE WHEN \"amount_fen\" > 300 THEN 300 WHEN \"amount_fen\" < 0 THEN 0 \
        ELSE COALESCE(\"amount_fen\", 0) END AS c3 FROM \"purchases\" \
        WHERE \"member\" IS NOT NULL AND \"purchased_on\" >= DATE '2017-01-01' \
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
