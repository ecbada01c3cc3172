//! Refunds taken off the sales that they take back: `net_fen`, what is left of each sale.
//!
//! A refund is a basket of its own, on a day of its own, below zero. Shown as a row it would be an
//! activity, a basket and a member of its month, and a basket's average would go down for another's return.
//! So no refund is shown; it lowers sales of the same member in the same department, the latest before
//! it first, each to zero at the least. Sales of the refund's own day are before it. What is more than
//! all of them is lost: it gives back what was bought as a guest, or before the days that may be read.
//!
//! What a row says is computed from rows of its own member alone, so that one member added or removed
//! changes no row of another's, and a member's figures are clipped as ever. Nothing is below zero, and
//! nothing above the sale's amount.
//!
//! How: the lines are read three times in the order in which they lie, for what refunds there are, for the
//! sales that they reach, and to be shown. In memory are refunds and the sales that they reach ([`Book`]),
//! never the lines. Where these are more than may be kept at a time, one half of the members is forgotten,
//! and read again when the other is done, and so on: what is left of a sale is the same in however many parts.

mod book;

use std::sync::Arc;

use datafusion::arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Date32Array, Int64Array, StringArray,
};
use datafusion::arrow::compute::{cast, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Date32Type, Field, Int64Type, Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::TableProvider;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{Expr, col, lit};
use futures::StreamExt as _;
use futures::stream::try_unfold;

use super::streamed::{Rows, Streamed};
use book::{Book, Bucket, Line};

/// The column's name.
const NET: &str = "net_fen";
/// The other columns of sales.
const COLUMNS: [&str; 10] = [
    "member",
    "purchased_on",
    "department",
    "basket",
    "receipt",
    "quantity",
    "amount_fen",
    "channel",
    "coupon_fen",
    "electronic_card",
];
/// Those that not all facts have been written with: they are sales' columns where the lines have them.
const OPTIONAL: [&str; 4] = ["store", "region", "label", "hour"];
/// Columns that say which sale a line is.
const TELLING: [&str; 7] =
    ["member", "department", "purchased_on", "basket", "fact", "amount_fen", "quantity"];
/// Most memory for refunds and the sales that they reach, of that which the engine has: the other half is the
/// question's.
const MEMORY_MAX: usize = 512 << 20;

/// Whether a view of the facts says what refunds left of each sale. That is looked up where it is asked for:
/// lines have to be read three times for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refunds {
    /// Refunds are left out.
    Apart,
    /// They are left out, and `net_fen` says what they left.
    Netted,
}

impl Refunds {
    /// What a query needs.
    #[must_use]
    pub fn for_query(sql: &str) -> Self {
        if sql.to_ascii_lowercase().contains(NET) { Self::Netted } else { Self::Apart }
    }
}

/// The sales among the lines, each with what refunds left of it. The lines are read anew wherever the table is
/// read, with the engine's own limits of memory and time.
///
/// Lines that version 0.1 imported have no number, coupon, card or channel: basket, amount and quantity put apart
/// those of them that differ in anything, so that no order in which the engine happens to read them, which is of
/// others' lines too, decides what is left of which.
///
/// # Errors
/// When a column is not there.
pub fn netted(lines: DataFrame) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    netted_within(lines, MEMORY_MAX)
}

fn netted_within(lines: DataFrame, most: usize) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let mut fields = Vec::with_capacity(COLUMNS.len() + OPTIONAL.len() + 1);
    for name in COLUMNS {
        fields.push(lines.schema().as_arrow().field_with_name(name)?.clone());
    }
    let has = |name: &str| lines.schema().as_arrow().field_with_name(name).ok().cloned();
    fields.extend(OPTIONAL.into_iter().filter_map(has));
    fields.push(Field::new(NET, DataType::Int64, false));
    Ok(Streamed::table(Sales { lines, most }, Arc::new(Schema::new(fields))))
}

/// The lines that sales are among.
#[derive(Clone)]
struct Sales {
    lines: DataFrame,
    most: usize,
}

impl Rows for Sales {
    fn read(&self, columns: &SchemaRef, context: &TaskContext) -> SendableRecordBatchStream {
        let netting = Netting {
            lines: self.lines.clone(),
            schema: Arc::clone(columns),
            most: self.most,
            reserved: MemoryConsumer::new(NET).register(context.memory_pool()),
            buckets: vec![Bucket::ALL],
            shown: None,
        };
        let batches = try_unfold(netting, Netting::next);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(columns), batches))
    }
}

/// One reading of the table: bucket by bucket.
struct Netting {
    lines: DataFrame,
    schema: SchemaRef,
    most: usize,
    /// Of the engine's memory, for the book.
    reserved: MemoryReservation,
    /// Those to be done.
    buckets: Vec<Bucket>,
    /// The one that is being shown.
    shown: Option<Shown>,
}

impl Netting {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>, DataFusionError> {
        loop {
            let mut shown = match self.shown.take() {
                Some(shown) => shown,
                None => {
                    let Some(bucket) = self.buckets.pop() else { return Ok(None) };
                    self.begin(bucket).await?
                }
            };
            match shown.sales.next().await {
                Some(batch) => {
                    let batch = shown.columns(&batch?, &self.schema)?;
                    self.shown = Some(shown);
                    if batch.num_rows() > 0 {
                        return Ok(Some((batch, self)));
                    }
                }
                None => {
                    drop(shown);
                    self.reserved.free();
                }
            }
        }
    }

    /// Looks what refunds leave of the sales of a bucket, or of as much of it as may be kept, and begins to read
    /// them.
    async fn begin(&mut self, mut bucket: Bucket) -> Result<Shown, DataFusionError> {
        let asked = self.schema.field_with_name(NET).is_ok();
        let mut book = Book::default();
        if asked {
            bucket = self.take_refunds(bucket, &mut book).await?;
            book.begin_sales();
            if book.members() > 0 {
                bucket = self.take_sales(bucket, &mut book).await?;
            }
            book.settle();
        }
        let mut columns: Vec<&str> = if asked { TELLING.to_vec() } else { vec!["member"] };
        for field in self.schema.fields() {
            let name = field.name().as_str();
            if name != NET && !columns.contains(&name) {
                columns.push(name);
            }
        }
        let sales = self.lines.clone().filter(is_sale())?.select_columns(&columns)?;
        let sales = sales.execute_stream().await?;
        Ok(Shown { bucket, book: asked.then_some(book), sales })
    }

    async fn take_refunds(
        &mut self,
        mut bucket: Bucket,
        book: &mut Book,
    ) -> Result<Bucket, DataFusionError> {
        let refunds = self.lines.clone().filter(col("amount_fen").lt(lit(0_i64)))?;
        let columns = ["member", "department", "purchased_on", "amount_fen"];
        let mut batches = refunds.select_columns(&columns)?.execute_stream().await?;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            let (members, days) = (whole(&batch, "member")?, days(&batch)?);
            let (departments, fen) = (departments(&batch)?, whole(&batch, "amount_fen")?);
            for row in (0..batch.num_rows()).filter(|row| members.is_valid(*row)) {
                let member = members.value(row);
                if bucket.has(member) {
                    let back = fen.value(row).saturating_neg();
                    book.refund(member, departments.value(row), days.value(row), back);
                }
            }
            bucket = self.fit(bucket, book)?;
        }
        Ok(bucket)
    }

    async fn take_sales(
        &mut self,
        mut bucket: Bucket,
        book: &mut Book,
    ) -> Result<Bucket, DataFusionError> {
        let sales = self.lines.clone().filter(is_sale().and(col("amount_fen").gt(lit(0_i64))))?;
        let mut batches = sales.select_columns(&TELLING)?.execute_stream().await?;
        while let Some(batch) = batches.next().await {
            // members of another bucket are not in the book
            each_line(&batch?, |line| {
                if let Some(line) = line {
                    book.sale(&line);
                }
            })?;
            bucket = self.fit(bucket, book)?;
        }
        Ok(bucket)
    }

    /// Halves the bucket until the book is no larger than it may be; the other halves are done later.
    fn fit(&mut self, mut bucket: Bucket, book: &mut Book) -> Result<Bucket, DataFusionError> {
        if self.fits(book) {
            return Ok(bucket);
        }
        book.settle();
        // what is almost full would soon be settled again, for next to nothing
        let mut full = book.bytes() > self.most / 4 * 3;
        while full || !self.fits(book) {
            match bucket.halves().filter(|_| book.members() > 1) {
                Some([now, later]) => {
                    book.keep(now);
                    self.buckets.push(later);
                    bucket = now;
                }
                None if self.fits(book) => break,
                None => {
                    let why = "one member's refunds take more memory than there is";
                    return Err(DataFusionError::ResourcesExhausted(why.to_owned()));
                }
            }
            full = false;
        }
        Ok(bucket)
    }

    fn fits(&self, book: &Book) -> bool {
        book.bytes() <= self.most && self.reserved.try_resize(book.bytes()).is_ok()
    }
}

/// A bucket whose sales are being read to be shown.
struct Shown {
    bucket: Bucket,
    /// What refunds take off them; none where nobody asks.
    book: Option<Book>,
    sales: SendableRecordBatchStream,
}

impl Shown {
    /// The columns that are asked for, of the bucket's members.
    fn columns(
        &mut self,
        batch: &RecordBatch,
        schema: &SchemaRef,
    ) -> Result<RecordBatch, DataFusionError> {
        let mine = if self.bucket.is_all() {
            batch.clone()
        } else {
            let members = whole(batch, "member")?.iter();
            // who has no number is in one bucket too
            let mine = members.map(|member| Some(self.bucket.has(member.unwrap_or(0))));
            filter_record_batch(batch, &mine.collect::<BooleanArray>())?
        };
        let net = self.book.as_mut().map(|book| net(book, &mine)).transpose()?;
        let mut columns = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let name = field.name().as_str();
            let column = if name == NET { net.clone() } else { mine.column_by_name(name).cloned() };
            columns.push(column.ok_or_else(|| unlike(name))?);
        }
        // a question may ask for no column at all
        let rows = RecordBatchOptions::new().with_row_count(Some(mine.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &rows)?)
    }
}

/// What is left of the sales of a batch.
fn net(book: &mut Book, batch: &RecordBatch) -> Result<ArrayRef, DataFusionError> {
    let fen = whole(batch, "amount_fen")?;
    let mut left = Vec::with_capacity(batch.num_rows());
    each_line(batch, |line| {
        let of_it = match line {
            Some(line) => book.left(&line),
            None => fen.value(left.len()),
        };
        left.push(of_it);
    })?;
    Ok(Arc::new(Int64Array::from(left)))
}

fn is_sale() -> Expr {
    col("amount_fen").gt_eq(lit(0_i64)).and(col("quantity").gt_eq(lit(0_i64)))
}

/// Hands out the lines of a batch in order; none where a line has no member.
fn each_line(
    batch: &RecordBatch,
    mut take: impl FnMut(Option<Line<'_>>),
) -> Result<(), DataFusionError> {
    let (members, departments) = (whole(batch, "member")?, departments(batch)?);
    let (days, baskets) = (days(batch)?, whole(batch, "basket")?);
    let (facts, fen) = (whole(batch, "fact")?, whole(batch, "amount_fen")?);
    let quantities = whole(batch, "quantity")?;
    for row in 0..batch.num_rows() {
        take(members.is_valid(row).then(|| Line {
            member: members.value(row),
            department: departments.value(row),
            day: days.value(row),
            basket: baskets.value(row),
            fact: facts.is_valid(row).then(|| facts.value(row)),
            fen: fen.value(row),
            quantity: quantities.value(row),
        }));
    }
    Ok(())
}

fn whole<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Int64Array, DataFusionError> {
    let column = batch.column_by_name(name);
    column.and_then(|it| it.as_primitive_opt::<Int64Type>()).ok_or_else(|| unlike(name))
}

fn days(batch: &RecordBatch) -> Result<&Date32Array, DataFusionError> {
    let (name, column) = ("purchased_on", batch.column_by_name("purchased_on"));
    column.and_then(|it| it.as_primitive_opt::<Date32Type>()).ok_or_else(|| unlike(name))
}

fn departments(batch: &RecordBatch) -> Result<StringArray, DataFusionError> {
    let name = "department";
    let column = batch.column_by_name(name).ok_or_else(|| unlike(name))?;
    // the engine may have texts in another form
    let texts = cast(column, &DataType::Utf8)?;
    texts.as_string_opt::<i32>().cloned().ok_or_else(|| unlike(name))
}

fn unlike(column: &str) -> DataFusionError {
    DataFusionError::Execution(format!(
        "the lines' column {column} is not there, or not of its kind"
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::common::TableReference;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::prelude::{SessionConfig, SessionContext};
    use proptest::prelude::*;

    use crate::purchases::cases::{import, sent, shop, till};

    use super::*;

    /// Under this name the model has the lines; no table of a contract can have it, since those have no blanks.
    const LINES: &str = "lines of the snapshot";

    /// The model: with all lines in order, refunds are taken from a stack of sales. With the running sum of sales
    /// and refunds, held at zero from below, as the stack's height, what is left of a sale is how far the least
    /// height from it on lies above the height before it.
    const MODEL: &str = "\
SELECT member, purchased_on, department, basket, receipt, quantity, amount_fen, channel, coupon_fen, electronic_card, \
CASE WHEN lowest > height - amount_fen THEN lowest - (height - amount_fen) ELSE 0 END AS net_fen \
FROM (SELECT *, MIN(height) OVER (PARTITION BY member, department ORDER BY place DESC \
ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS lowest \
FROM (SELECT *, CASE WHEN deepest < 0 THEN running - deepest ELSE running END AS height \
FROM (SELECT *, MIN(running) OVER (PARTITION BY member, department ORDER BY place \
ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS deepest \
FROM (SELECT *, SUM(moved) OVER (PARTITION BY member, department ORDER BY place \
ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS running \
FROM (SELECT *, CASE WHEN refund = 1 AND amount_fen > 0 THEN 0 ELSE amount_fen END AS moved, \
ROW_NUMBER() OVER (PARTITION BY member, department \
ORDER BY purchased_on, refund, basket, fact, amount_fen, quantity) AS place \
FROM (SELECT *, CASE WHEN amount_fen < 0 OR quantity < 0 THEN 1 ELSE 0 END AS refund \
FROM \"lines of the snapshot\") AS told) AS placed) AS summed) AS held) AS stacked) AS left_over \
WHERE refund = 0";

    async fn model(session: &SessionContext, lines: DataFrame) -> DataFrame {
        session.register_table(TableReference::bare(LINES), lines.into_view()).unwrap();
        session.sql(MODEL).await.unwrap()
    }

    fn engine() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// A line as it lies in the facts.
    #[derive(Clone, Copy, Debug)]
    struct Told {
        member: i64,
        department: &'static str,
        day: i32,
        basket: i64,
        fact: Option<i64>,
        fen: i64,
        quantity: i64,
    }

    /// Lines in batches of so many.
    fn batches(told: &[Told], rows: usize) -> Vec<RecordBatch> {
        let whole = |column: Vec<Option<i64>>| Arc::new(Int64Array::from(column)) as ArrayRef;
        let batch = |told: &[Told]| {
            let of =
                |value: fn(&Told) -> i64| whole(told.iter().map(|it| Some(value(it))).collect());
            // what came with a number has a channel, a coupon and a card
            let newer = |value: fn(&Told) -> i64| {
                whole(told.iter().map(|it| it.fact.map(|_| value(it))).collect())
            };
            let days: Date32Array = told.iter().map(|it| Some(it.day)).collect();
            let departments: StringArray = told.iter().map(|it| Some(it.department)).collect();
            let channels: StringArray = told.iter().map(|it| it.fact.map(|_| "store")).collect();
            RecordBatch::try_from_iter_with_nullable([
                ("member", of(|it| it.member), true),
                ("purchased_on", Arc::new(days) as ArrayRef, true),
                ("department", Arc::new(departments) as ArrayRef, true),
                ("basket", of(|it| it.basket), true),
                ("receipt", of(|it| it.basket % 100), true),
                ("quantity", of(|it| it.quantity), true),
                ("amount_fen", of(|it| it.fen), true),
                ("channel", Arc::new(channels) as ArrayRef, true),
                ("fact", whole(told.iter().map(|it| it.fact).collect()), true),
                ("coupon_fen", newer(|it| it.fen / 2), true),
                ("electronic_card", newer(|it| it.member % 2), true),
            ])
            .unwrap()
        };
        told.chunks(rows).map(batch).collect()
    }

    /// All rows, in an order of their own.
    async fn rows(frame: DataFrame) -> Vec<String> {
        let batches = frame.collect().await.unwrap();
        let mut rows: Vec<String> = batches
            .iter()
            .flat_map(|batch| {
                let shown = pretty_format_batches(std::slice::from_ref(batch)).unwrap().to_string();
                shown.lines().skip(3).map(str::to_owned).collect::<Vec<String>>()
            })
            .filter(|line| line.starts_with('|'))
            .map(|line| line.split_whitespace().collect())
            .collect();
        rows.sort();
        rows
    }

    fn told() -> impl Strategy<Value = Vec<Told>> {
        let line = (
            0_i64..16,
            prop::sample::select(vec!["DELI", "WINE", "酒"]),
            0_i32..6,
            0_i64..3,
            any::<bool>(),
            // refunds that take nothing, sales of nothing, pieces given back for nothing
            prop_oneof![3 => 0_i64..9, 1 => -12_i64..0],
            prop_oneof![9 => 0_i64..2, 1 => Just(-1_i64)],
        );
        prop::collection::vec(line, 1..160).prop_map(|lines| {
            let numbered = lines.into_iter().enumerate();
            let told =
                numbered.map(|(at, (member, department, day, basket, new, fen, quantity))| {
                    let fact = new.then(|| i64::try_from(at).unwrap() * 7 % 163);
                    Told { member, department, day, basket, fact, fen, quantity }
                });
            told.collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever lines there are, with numbers and without, whichever are alike, in whatever order and batches
        /// they are read, and in however many parts the members: every column of every sale is what the model
        /// says.
        #[test]
        fn what_is_left_is_what_all_lines_in_order_say(
            told in told(),
            rows_at_once in 1_usize..40,
            most in prop::sample::select(vec![usize::MAX, 12_000]),
            turned in any::<bool>(),
        ) {
            let (expected, found, counted) = engine().block_on(async {
                let session = SessionContext::new();
                let lines = session.read_batches(batches(&told, 1_000)).unwrap();
                let expected = rows(model(&session, lines).await).await;
                let mut other = told.clone();
                if turned {
                    other.reverse();
                }
                let lines = session.read_batches(batches(&other, rows_at_once)).unwrap();
                session.register_table("sales", netted_within(lines, most).unwrap()).unwrap();
                let found = rows(session.sql("SELECT * FROM sales").await.unwrap()).await;
                let counted = session.sql("SELECT count(*) FROM sales").await.unwrap();
                (expected, found, rows(counted).await)
            });
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(counted, vec![format!("|{}|", expected.len())]);
        }
    }

    /// Members by the thousand, each with some refunds.
    fn many(members: i64, lines: i64) -> Vec<Told> {
        let told = (0..lines).map(|number| Told {
            member: (number * 7_919 + number / 40) % members,
            department: ["DELI", "WINE"][usize::from(number % 3 == 0)],
            day: i32::try_from((number * 31) % 365).unwrap(),
            basket: number / 2,
            fact: Some(number),
            fen: if number % 40 == 7 { -300 } else { 1 + number % 500 },
            quantity: if number % 40 == 7 { -1 } else { 1 },
        });
        told.collect()
    }

    #[test]
    fn members_are_done_in_parts_where_not_all_of_them_may_be_kept() {
        let told = many(500, 20_000);
        engine().block_on(async {
            let session = SessionContext::new();
            let lines = session.read_batches(batches(&told, 1_000)).unwrap();
            let schema = netted(lines.clone()).unwrap().schema();
            let begin = async |most: usize| {
                let context = session.task_ctx();
                let mut netting = Netting {
                    lines: lines.clone(),
                    schema: Arc::clone(&schema),
                    most,
                    reserved: MemoryConsumer::new(NET).register(context.memory_pool()),
                    buckets: Vec::new(),
                    shown: None,
                };
                let shown = netting.begin(Bucket::ALL).await.unwrap();
                let kept = shown.book.as_ref().map(Book::bytes).unwrap();
                assert!(kept > 0 && kept <= most && netting.reserved.size() <= most, "{kept}");
                (shown.bucket, netting.buckets)
            };
            let (all, none) = begin(MEMORY_MAX).await;
            assert!(all.is_all() && none.is_empty());
            let (first, others) = begin(60_000).await;
            assert!(!first.is_all() && others.len() > 1, "{others:?}");
            // each member is in one of them
            for member in 0..500 {
                let of = others.iter().chain([&first]).filter(|it| it.has(member)).count();
                assert_eq!(of, 1, "{member}");
            }
            let rows_of = async |most: usize| {
                let table = netted_within(lines.clone(), most).unwrap();
                rows(session.read_table(table).unwrap()).await
            };
            assert_eq!(rows_of(60_000).await, rows_of(MEMORY_MAX).await);
            // no part is small enough for one member who takes more than all that there is
            let table = netted_within(lines.clone(), 100).unwrap();
            assert!(session.read_table(table).unwrap().collect().await.is_err());
        });
    }

    /// In an engine with so little memory that the lines cannot be put in order in it.
    #[test]
    fn lines_need_not_fit_into_the_engines_memory() {
        let told = many(1_000, 100_000);
        let asked = "SELECT count(*), sum(net_fen), min(net_fen) FROM sales";
        engine().block_on(async {
            let roomy = SessionContext::new();
            let lines = roomy.read_batches(batches(&told, 8_192)).unwrap();
            roomy.register_table("sales", model(&roomy, lines).await.into_view()).unwrap();
            let expected = rows(roomy.sql(asked).await.unwrap()).await;
            let environment =
                RuntimeEnvBuilder::new().with_memory_limit(4 << 20, 1.0).with_disk_manager_builder(
                    datafusion::execution::disk_manager::DiskManagerBuilder::default()
                        .with_mode(datafusion::execution::disk_manager::DiskManagerMode::Disabled),
                );
            let narrow = SessionContext::new_with_config_rt(
                SessionConfig::new().with_target_partitions(1),
                environment.build_arc().unwrap(),
            );
            let lines = narrow.read_batches(batches(&told, 8_192)).unwrap();
            let in_order = model(&narrow, lines.clone()).await;
            assert!(in_order.collect().await.is_err(), "all lines fit into the memory");
            narrow.register_table("sales", netted(lines).unwrap()).unwrap();
            assert_eq!(rows(narrow.sql(asked).await.unwrap()).await, expected);
        });
    }

    #[test]
    fn refunds_are_looked_up_where_a_query_names_what_they_leave() {
        let query = "SELECT \"member\", SUM(\"net_fen\") FROM \"purchases\"";
        assert_eq!(Refunds::for_query(query), Refunds::Netted);
        assert_eq!(Refunds::for_query("SELECT NET_FEN FROM purchases"), Refunds::Netted);
        assert_eq!(Refunds::for_query("SELECT amount_fen FROM purchases"), Refunds::Apart);
    }

    /// Without a number of their own, in whatever order the engine has them.
    #[test]
    fn lines_without_a_number_are_told_apart_by_what_they_say() {
        let line = |day: u8, basket: u8, quantity: i8, fen: i16| {
            format!(
                "(1, DATE '2025-01-{day:02}', 'DELI', {basket}, {basket}, {quantity}, {fen}, \
                 CAST(NULL AS VARCHAR), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT))"
            )
        };
        let (one, two, back) = (line(1, 7, 1, 500), line(1, 7, 2, 500), line(2, 8, -1, -500));
        let left = |lines: [&String; 3]| {
            let [first, second, third] = lines;
            let sql = format!(
                "SELECT * FROM (VALUES {first}, {second}, {third}) AS told(member, purchased_on, \
                 department, basket, receipt, quantity, amount_fen, channel, coupon_fen, \
                 electronic_card, fact)"
            );
            engine().block_on(async {
                let session = SessionContext::new();
                let lines = session.sql(&sql).await.unwrap();
                session.register_table("sales", netted(lines).unwrap()).unwrap();
                let sales = session.sql("SELECT quantity, net_fen FROM sales ORDER BY quantity");
                let batches = sales.await.unwrap().collect().await.unwrap();
                pretty_format_batches(&batches).unwrap().to_string()
            })
        };
        let found = left([&one, &two, &back]);
        assert!(found.contains("| 1        | 500     |"), "{found}");
        assert!(found.contains("| 2        | 0       |"), "{found}");
        assert_eq!(left([&two, &back, &one]), found);
        assert_eq!(left([&back, &two, &one]), found);
    }

    const HEAD: &str = "receipt,no,card,at,dept,pieces,yuan\n";

    #[test]
    fn a_refund_lowers_the_latest_sales_before_it_and_nothing_below_zero() {
        let mapping = till("channel = \"store\"\n[purchases.refunds]\n");
        let shop = shop(&mapping);
        let lines = format!(
            "{HEAD}R1,1,C1,2025-01-10,DELI,1,10.00\nR2,1,C1,2025-02-10,DELI,1,5.00\n\
             R3,1,C1,2025-03-10,DELI,1,7.00\nR4,1,C1,2025-03-10,WINE,1,20.00\n\
             B1,1,C1,2025-02-11,DELI,-1,-6.00\nB2,1,C1,2025-03-10,DELI,-1,-2.00\n\
             B3,1,C1,2025-04-01,MEAT,-1,-9.00\nB4,1,C1,2025-01-01,WINE,-1,-3.00\n"
        );
        import(&shop, &mapping, &sent("p.csv", &lines));
        let snapshot = shop.facts.snapshot().unwrap();
        let seen =
            "SELECT purchased_on, department, amount_fen, net_fen FROM purchases ORDER BY 1, 2";
        assert_eq!(
            shop.ask(&snapshot, seen),
            [
                // what was given back on 11 February is all of R2 and a yuan of R1; never of what came later
                "|2025-01-10|DELI|1000|900|",
                "|2025-02-10|DELI|500|0|",
                // on the same day
                "|2025-03-10|DELI|700|500|",
                // a refund from before the sale is not its own
                "|2025-03-10|WINE|2000|2000|",
            ]
        );
        // rows and members are those of sales; a refund of what was never bought here is lost
        let counted = "SELECT count(*), count(DISTINCT department), sum(net_fen) FROM purchases";
        assert_eq!(shop.ask(&snapshot, counted), ["|4|2|3400|"]);
        // without the column nothing is different from before
        let gross = "SELECT count(*), sum(amount_fen) FROM purchases";
        assert_eq!(shop.ask(&snapshot, gross), ["|4|4200|"]);
        // and nothing but the sales can be named: no table of lines with their refunds
        engine().block_on(async {
            let session = SessionContext::new();
            let members = shop.vault.consenting(crate::vault::Purpose::JointAnalytics).unwrap();
            let registered =
                shop.facts.register(&session, "purchases", &snapshot, &members, 0, Refunds::Netted);
            registered.await.unwrap();
            let catalogue = session.catalog("datafusion").unwrap();
            assert_eq!(catalogue.schema("public").unwrap().table_names(), ["purchases"]);
            assert!(session.sql("SELECT fact FROM purchases").await.is_err());
        });
    }

    /// What is left of each sale by a stack: day, then sales before refunds.
    fn by_hand(lines: &[(i64, bool, i64)]) -> BTreeMap<i64, i64> {
        let mut lines = lines.to_vec();
        lines.sort_unstable();
        let mut stack: Vec<(i64, i64)> = Vec::new();
        for (day, refund, fen) in lines {
            if !refund {
                stack.push((day, fen));
                continue;
            }
            let mut back = fen;
            while back > 0
                && let Some((_, left)) = stack.last_mut()
            {
                let taken = back.min(*left);
                *left -= taken;
                back -= taken;
                if *left == 0 {
                    stack.pop();
                }
            }
        }
        let mut left = BTreeMap::new();
        for (day, fen) in stack {
            *left.entry(day).or_insert(0) += fen;
        }
        left
    }

    /// The day, whether it is a refund, and fen.
    type Moved = (i64, bool, i64);

    /// Some thousand random lines of two members in two departments, against the stack; and one of them
    /// withdrawn changes no row of the other's.
    #[test]
    fn what_is_left_is_what_a_stack_of_sales_leaves_and_is_each_members_own() {
        let mapping = till("channel = \"store\"\n[purchases.refunds]\n");
        let mut seed = 7_u64;
        let mut below = |most: u64| {
            // Knuth's generator: the same lines in every run
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            i64::try_from((seed >> 33) % most).unwrap()
        };
        let shop = shop(&mapping);
        let mut lines = HEAD.to_owned();
        let mut told = BTreeMap::<(i64, &str), Vec<Moved>>::new();
        for number in 0..1_500 {
            let (person, department) =
                (1 + 2 * below(2), ["DELI", "WINE"][usize::from(below(2) == 1)]);
            let (day, refund, fen) = (1 + below(28), below(3) == 0, 1 + below(900));
            let signed = if refund { -fen } else { fen };
            let (pieces, yuan) = (signed.signum(), signed.abs());
            let sign = if refund { "-" } else { "" };
            lines += &format!(
                "R{number},1,C{person},2025-01-{day:02},{department},{pieces},{sign}{}.{:02}\n",
                yuan / 100,
                yuan % 100
            );
            told.entry((person, department)).or_default().push((day, refund, fen));
        }
        let (report, _) = import(&shop, &mapping, &sent("p.csv", &lines));
        assert_eq!(report.rows_kept, 1_500);
        // C3 said nothing in the list; both are asked
        let card = |number: i64| crate::vault::CardNumber::new(&format!("C{number}")).unwrap();
        let member = |number| shop.vault.by_card(&card(number)).unwrap().unwrap();
        let rule = crate::vault::sample_rule(protocol::time::Timestamp::from_unix_ms(5))[2];
        shop.vault.decide(member(3), rule).unwrap();

        let snapshot = shop.facts.snapshot().unwrap();
        let out = "SELECT count(*) FROM purchases WHERE net_fen < 0 OR net_fen > amount_fen";
        assert_eq!(shop.ask(&snapshot, out), ["|0|"]);
        let by_day = "SELECT member, department, purchased_on, sum(net_fen) FROM purchases \
                      GROUP BY 1, 2, 3 HAVING sum(net_fen) > 0 ORDER BY 1, 2, 3";
        let mut found = shop.ask(&snapshot, by_day);
        let mut expected = Vec::new();
        for person in [1, 3] {
            let subjects = shop.vault.subjects(member(person)).unwrap();
            let [subject] = &subjects[..] else { panic!("{}", subjects.len()) };
            for department in ["DELI", "WINE"] {
                for (day, fen) in by_hand(&told[&(person, department)]) {
                    expected
                        .push(format!("|{}|{department}|2025-01-{day:02}|{fen}|", subject.get()));
                }
            }
        }
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        assert!(expected.len() > 20, "{}", expected.len());

        let rows =
            "SELECT member, department, purchased_on, basket, amount_fen, net_fen FROM purchases";
        let whole = shop.ask(&snapshot, &format!("{rows} ORDER BY 1, 2, 3, 4"));
        let at = protocol::time::Timestamp::from_unix_ms(6);
        shop.vault.decide(member(3), crate::vault::Consent { granted: false, at, ..rule }).unwrap();
        let alone = shop.ask(&snapshot, &format!("{rows} ORDER BY 1, 2, 3, 4"));
        assert!(!alone.is_empty() && alone.len() < whole.len());
        assert!(alone.iter().all(|row| whole.contains(row)));
    }
}
