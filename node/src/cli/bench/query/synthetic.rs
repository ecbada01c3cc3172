//! Made-up purchases: every member as likely as another, from a seed.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::WriterProperties;

use super::super::super::CliError;
use super::super::input;

/// Departments, all at every brand.
pub const GROUPS: u64 = 20;
/// Most that a line costs, in fen.
pub const AMOUNT_MAX: u64 = 50_000;
/// First day of the year that all purchases are in, in days since 1970-01-01: 2025-01-01.
const FIRST_DAY: i32 = 20_089;
const ROWS_AT_ONCE: u64 = 100_000;

/// What is made.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Purchase lines.
    pub rows: u64,
    /// Members they may belong to.
    pub members: u64,
    /// What else is drawn with.
    pub seed: u64,
}

/// SplitMix64.
struct Draw(u64);

impl Draw {
    const fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

struct Batch {
    first: u64,
    members: Vec<i64>,
    days: Vec<i32>,
    departments: Vec<String>,
    amounts: Vec<i64>,
}

fn batches(size: Size) -> impl Iterator<Item = Batch> {
    let mut draw = Draw(size.seed);
    (0..size.rows).step_by(ROWS_AT_ONCE as usize).map(move |first| {
        let count = ROWS_AT_ONCE.min(size.rows - first);
        let mut batch = Batch {
            first,
            members: Vec::new(),
            days: Vec::new(),
            departments: Vec::new(),
            amounts: Vec::new(),
        };
        for _ in 0..count {
            batch.members.push(draw.below(size.members) as i64);
            batch.days.push(FIRST_DAY + draw.below(365) as i32);
            batch.departments.push(department(draw.below(GROUPS)));
            batch.amounts.push(1 + draw.below(AMOUNT_MAX) as i64);
        }
        batch
    })
}

/// A department's name, from 0.
pub fn department(index: u64) -> String {
    format!("D{:02}", index + 1)
}

/// `members.parquet` and `purchases.parquet` of a brand, as an import takes them; one basket a line.
pub fn import_files(folder: &Path, size: Size) -> Result<(), CliError> {
    std::fs::create_dir_all(folder).map_err(input)?;
    let field = |name: &str, kind| Field::new(name, kind, false);
    let members = Arc::new(Schema::new(vec![field("member_id", DataType::Utf8)]));
    let mut file = writer(&folder.join("members.parquet"), &members)?;
    let cards: StringArray = (0..size.members as i64).map(|it| Some(card(it))).collect();
    write(&mut file, &members, vec![Arc::new(cards)])?;
    file.close().map_err(input)?;

    let purchases = Arc::new(Schema::new(vec![
        field("basket_id", DataType::Utf8),
        field("line_no", DataType::Int32),
        field("member_id", DataType::Utf8),
        field("purchased_at", DataType::Timestamp(TimeUnit::Microsecond, None)),
        field("department", DataType::Utf8),
        field("quantity", DataType::Int32),
        field("amount", DataType::Decimal128(9, 2)),
    ]));
    let mut file = writer(&folder.join("purchases.parquet"), &purchases)?;
    for batch in batches(size) {
        let count = batch.members.len();
        let baskets: StringArray =
            (batch.first..).take(count).map(|it| Some(it.to_string())).collect();
        let cards: StringArray = batch.members.iter().map(|it| Some(card(*it))).collect();
        let noon = |day: &i32| (i64::from(*day) * 24 + 12) * 3_600_000_000;
        let noons: Vec<i64> = batch.days.iter().map(noon).collect();
        let amounts = batch.amounts.iter().map(|it| i128::from(*it));
        let amounts = Decimal128Array::from_iter_values(amounts);
        write(
            &mut file,
            &purchases,
            vec![
                Arc::new(baskets),
                Arc::new(Int32Array::from(vec![1; count])),
                Arc::new(cards),
                Arc::new(TimestampMicrosecondArray::from(noons)),
                Arc::new(StringArray::from(batch.departments)),
                Arc::new(Int32Array::from(vec![1; count])),
                Arc::new(amounts.with_precision_and_scale(9, 2).map_err(input)?),
            ],
        )?;
    }
    file.close().map(drop).map_err(input)
}

/// The same lines as plain facts, for engines that know no brand: of brands after one another.
pub fn plain_file(path: &Path, brands: &[Size]) -> Result<(), CliError> {
    let field = |name: &str, kind| Field::new(name, kind, false);
    let schema = Arc::new(Schema::new(vec![
        field("member", DataType::Int64),
        field("purchased_on", DataType::Date32),
        field("department", DataType::Utf8),
        field("amount_fen", DataType::Int64),
    ]));
    let mut file = writer(path, &schema)?;
    let mut first_member = 0;
    for size in brands {
        for batch in batches(*size) {
            let members = batch.members.iter().map(|it| it + first_member);
            write(
                &mut file,
                &schema,
                vec![
                    Arc::new(Int64Array::from_iter_values(members)),
                    Arc::new(Date32Array::from(batch.days)),
                    Arc::new(StringArray::from(batch.departments)),
                    Arc::new(Int64Array::from(batch.amounts)),
                ],
            )?;
        }
        first_member += size.members as i64;
    }
    file.close().map(drop).map_err(input)
}

/// The same lines as a brand's facts, with one in so many given back.
pub fn facts_file(path: &Path, size: Size) -> Result<(), CliError> {
    const GIVEN_BACK: usize = 20;
    let field = |name: &str, kind| Field::new(name, kind, true);
    let schema = Arc::new(Schema::new(vec![
        field("member", DataType::Int64),
        field("purchased_on", DataType::Date32),
        field("department", DataType::Utf8),
        field("basket", DataType::Int64),
        field("receipt", DataType::Int64),
        field("quantity", DataType::Int64),
        field("amount_fen", DataType::Int64),
        field("channel", DataType::Utf8),
        field("fact", DataType::Int64),
        field("coupon_fen", DataType::Int64),
        field("electronic_card", DataType::Int64),
    ]));
    let mut file = writer(path, &schema)?;
    for batch in batches(size) {
        let count = batch.members.len();
        let numbers = || {
            let numbers = (batch.first..).take(count).map(|it| it as i64);
            Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef
        };
        let sign = |row: usize| -> i64 { if row % GIVEN_BACK == GIVEN_BACK - 1 { -1 } else { 1 } };
        let amounts = batch.amounts.iter().enumerate().map(|(row, fen)| sign(row) * fen);
        write(
            &mut file,
            &schema,
            vec![
                Arc::new(Int64Array::from(batch.members)),
                Arc::new(Date32Array::from(batch.days)),
                Arc::new(StringArray::from(batch.departments)),
                numbers(),
                numbers(),
                Arc::new(Int64Array::from_iter_values((0..count).map(sign))),
                Arc::new(Int64Array::from_iter_values(amounts)),
                Arc::new(StringArray::new_null(count)),
                numbers(),
                Arc::new(Int64Array::new_null(count)),
                Arc::new(Int64Array::new_null(count)),
            ],
        )?;
    }
    file.close().map(drop).map_err(input)
}

fn card(member: i64) -> String {
    format!("BENCH-{member:08}")
}

fn writer(path: &Path, schema: &SchemaRef) -> Result<ArrowWriter<File>, CliError> {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let file = File::create(path).map_err(input)?;
    ArrowWriter::try_new(file, Arc::clone(schema), Some(properties)).map_err(input)
}

fn write(
    file: &mut ArrowWriter<File>,
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
) -> Result<(), CliError> {
    let batch = RecordBatch::try_new(Arc::clone(schema), columns).map_err(input)?;
    file.write(&batch).map_err(input)
}
