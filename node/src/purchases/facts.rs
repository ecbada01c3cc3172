//! Facts as files: encrypted Parquet, and the view of it that a query sees.
//!
//! Encryption is Parquet's own (modular encryption, AES-256-GCM), every column and the footer under
//! the brand's key for facts, so that statistics and row counts are closed too. The Parquet library
//! takes copies of the key that it does not wipe.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array as _, ArrayRef, Date32Array, Int64Array, StringArray, StringBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{JoinType, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use datafusion::parquet::basic::Compression;
use datafusion::parquet::encryption::decrypt::FileDecryptionProperties;
use datafusion::parquet::encryption::encrypt::FileEncryptionProperties;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::prelude::{ParquetReadOptions, SessionContext, col, lit};
use ring::digest::{SHA256, digest};

use super::catalogue::Snapshot;
use super::details::Details;
use super::netting::{Refunds, netted};
use super::readable::ReadableTable;
use crate::vault::{Consenting, DataKey};

/// Receipts of one member are told apart by this many numbers: within what a contract's whole numbers may be.
const RECEIPTS: i64 = 1_000_000_000_000_000;

/// Why facts could not be written or shown.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The disk.
    #[error("a file of facts could not be written")]
    Disk(#[from] std::io::Error),
    /// The format.
    #[error("a file of facts could not be encoded")]
    Encoding(#[from] ParquetError),
    /// The engine.
    #[error("the facts could not be opened for a query")]
    Engine(#[from] Box<DataFusionError>),
    /// Consent to something else.
    #[error("facts are shown for a purpose that their members allow, and for no other")]
    OtherPurpose,
    /// A name under which nothing is kept: rows of one table are never shown as another's.
    #[error("no table of this name is kept here")]
    OtherTable,
    /// Members are asked about, and the snapshot is of purchases alone.
    #[error("the snapshot is of purchases, without what is known of members")]
    NoMembers,
    /// Campaigns are asked about, and the snapshot is without them.
    #[error("the snapshot is without who is in which campaign")]
    NoCampaigns,
}

/// Rows of one file.
#[derive(Default)]
pub(super) struct Rows {
    members: Vec<Option<i64>>,
    days: Vec<i32>,
    departments: StringBuilder,
    baskets: Vec<i64>,
    quantities: Vec<i64>,
    amounts: Vec<i64>,
    channels: StringBuilder,
    facts: Vec<Option<i64>>,
    coupons: Vec<Option<i64>>,
    electronic_cards: Vec<Option<i64>>,
    stores: StringBuilder,
    regions: StringBuilder,
    labels: StringBuilder,
    hours: Vec<Option<i64>>,
}

/// One fact.
pub(super) struct Row<'a> {
    pub(super) member: Option<i64>,
    pub(super) day: i32,
    pub(super) department: &'a str,
    pub(super) basket: i64,
    pub(super) quantity: i64,
    pub(super) amount_fen: i64,
    /// None in what version 0.1 wrote, as the next.
    pub(super) channel: Option<&'a str>,
    /// Which fact it is; never another's.
    pub(super) fact: Option<i64>,
    /// What coupons took off it. None where the mapping did not say, and in what earlier versions wrote, as the
    /// next.
    pub(super) coupon_fen: Option<i64>,
    /// Whether the member showed an electronic card.
    pub(super) electronic_card: Option<bool>,
    /// The store and the like.
    pub(super) details: Details<&'a str>,
    /// The hour of the day.
    pub(super) hour: Option<i64>,
}

/// One purchase line of a member's, for the member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurchaseLine {
    /// Days since 1970-01-01.
    pub day: i32,
    /// The department.
    pub department: String,
    /// Which lines were bought together.
    pub basket: i64,
    /// How many; below zero for what was given back.
    pub quantity: i64,
    /// For how much, in fen; below zero for what was given back.
    pub amount_fen: i64,
    /// By which channel; none for what version 0.1 imported.
    pub channel: Option<String>,
    /// What coupons took off it, in fen, if that is known.
    pub coupon_fen: Option<i64>,
    /// Whether an electronic card was shown, if that is known.
    pub electronic_card: Option<bool>,
    /// At which store, if that is kept.
    pub store: Option<String>,
    /// In which region, if that is kept.
    pub region: Option<String>,
    /// Of which label, if that is kept.
    pub label: Option<String>,
    /// In which hour of the day, if that is kept.
    pub hour: Option<i64>,
}

/// Reads the rows of one file, in batches.
pub(super) fn read(path: &Path, key: &DataKey) -> Result<ParquetRecordBatchReader, FactsError> {
    let decryption = FileDecryptionProperties::builder(key.expose().to_vec()).build()?;
    let options = ArrowReaderOptions::new().with_file_decryption_properties(decryption);
    let file = File::open(path)?;
    Ok(ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)?.build()?)
}

/// The columns of a batch of facts.
pub(super) struct FactColumns<'a> {
    members: &'a Int64Array,
    days: &'a Date32Array,
    departments: &'a StringArray,
    baskets: &'a Int64Array,
    quantities: &'a Int64Array,
    amounts: &'a Int64Array,
    // absent in what version 0.1 wrote
    channels: Option<&'a StringArray>,
    facts: Option<&'a Int64Array>,
    // absent in what was written before they were read
    coupons: Option<&'a Int64Array>,
    electronic_cards: Option<&'a Int64Array>,
    details: Details<&'a StringArray>,
    hours: Option<&'a Int64Array>,
}

impl<'a> FactColumns<'a> {
    /// The columns of a batch that [`Rows::write`] wrote, in this version or an earlier one.
    pub(super) fn of(batch: &'a RecordBatch) -> Option<Self> {
        let whole = |at: usize| batch.columns().get(at)?.as_any().downcast_ref::<Int64Array>();
        let (channels, facts) = match batch.num_columns() {
            6 => (None, None),
            8 | 10 | 14 => {
                let channels = batch.columns().get(6)?.as_any().downcast_ref::<StringArray>()?;
                (Some(channels), Some(whole(7)?))
            }
            _ => return None,
        };
        let (coupons, electronic_cards) = match batch.num_columns() {
            10 | 14 => (Some(whole(8)?), Some(whole(9)?)),
            _ => (None, None),
        };
        let text = |at: usize| batch.columns().get(at)?.as_any().downcast_ref::<StringArray>();
        let (details, hours) = match batch.num_columns() {
            14 => {
                let (store, region, label) = (Some(text(10)?), Some(text(11)?), Some(text(12)?));
                (Details { store, region, label }, Some(whole(13)?))
            }
            _ => (Details { store: None, region: None, label: None }, None),
        };
        Some(Self {
            members: whole(0)?,
            days: batch.columns().get(1)?.as_any().downcast_ref()?,
            departments: batch.columns().get(2)?.as_any().downcast_ref()?,
            baskets: whole(3)?,
            quantities: whole(4)?,
            amounts: whole(5)?,
            channels,
            facts,
            coupons,
            electronic_cards,
            details,
            hours,
        })
    }

    pub(super) fn row(&self, at: usize) -> Row<'a> {
        let maybe = |column: Option<&'a Int64Array>| {
            column.filter(|all| !all.is_null(at)).map(|all| all.value(at))
        };
        let text = |column: Option<&'a StringArray>| {
            column.filter(|all| !all.is_null(at)).map(|all| all.value(at))
        };
        let Details { store, region, label } = self.details;
        Row {
            member: (!self.members.is_null(at)).then(|| self.members.value(at)),
            day: self.days.value(at),
            department: self.departments.value(at),
            basket: self.baskets.value(at),
            quantity: self.quantities.value(at),
            amount_fen: self.amounts.value(at),
            channel: text(self.channels),
            fact: maybe(self.facts),
            coupon_fen: maybe(self.coupons),
            electronic_card: maybe(self.electronic_cards).map(|shown| shown == 1),
            details: Details { store: text(store), region: text(region), label: text(label) },
            hour: maybe(self.hours),
        }
    }
}

/// Columns of a file; which of them questions name is in [`super::readable`]. Those from `channel` on are null in what version 0.1 wrote,
/// and those from `coupon_fen` on where a mapping does not say; a file that was written before there were the last ones has fewer.
pub(super) fn schema() -> SchemaRef {
    let field = Field::new;
    Arc::new(Schema::new(vec![
        field("member", DataType::Int64, true),
        field("purchased_on", DataType::Date32, false),
        field("department", DataType::Utf8, false),
        field("basket", DataType::Int64, false),
        field("quantity", DataType::Int64, false),
        field("amount_fen", DataType::Int64, false),
        field("channel", DataType::Utf8, true),
        field("fact", DataType::Int64, true),
        field("coupon_fen", DataType::Int64, true),
        field("electronic_card", DataType::Int64, true),
        field("store", DataType::Utf8, true),
        field("region", DataType::Utf8, true),
        field("label", DataType::Utf8, true),
        field("hour", DataType::Int64, true),
    ]))
}

impl Rows {
    pub(super) fn push(&mut self, row: &Row<'_>) {
        self.members.push(row.member);
        self.days.push(row.day);
        self.departments.append_value(row.department);
        self.baskets.push(row.basket);
        self.quantities.push(row.quantity);
        self.amounts.push(row.amount_fen);
        self.channels.append_option(row.channel);
        self.facts.push(row.fact);
        self.coupons.push(row.coupon_fen);
        self.electronic_cards.push(row.electronic_card.map(i64::from));
        self.stores.append_option(row.details.store);
        self.regions.append_option(row.details.region);
        self.labels.append_option(row.details.label);
        self.hours.push(row.hour);
    }

    pub(super) fn len(&self) -> usize {
        self.days.len()
    }

    /// Writes the rows, brings them to the disk, and gives the file's SHA-256.
    pub(super) fn write(mut self, path: &Path, key: &DataKey) -> Result<[u8; 32], FactsError> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(self.members)),
            Arc::new(Date32Array::from(self.days)),
            Arc::new(self.departments.finish()),
            Arc::new(Int64Array::from(self.baskets)),
            Arc::new(Int64Array::from(self.quantities)),
            Arc::new(Int64Array::from(self.amounts)),
            Arc::new(self.channels.finish()),
            Arc::new(Int64Array::from(self.facts)),
            Arc::new(Int64Array::from(self.coupons)),
            Arc::new(Int64Array::from(self.electronic_cards)),
            Arc::new(self.stores.finish()),
            Arc::new(self.regions.finish()),
            Arc::new(self.labels.finish()),
            Arc::new(Int64Array::from(self.hours)),
        ];
        let batch = RecordBatch::try_new(schema(), columns).map_err(ParquetError::from)?;
        // no column has a key of its own: all are under the footer's
        let encryption = FileEncryptionProperties::builder(key.expose().to_vec()).build()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .with_file_encryption_properties(encryption)
            .build();
        // under its name it is whole, for whoever copies the folder meanwhile
        let part = path.with_extension("part");
        let file = File::create(&part)?;
        let mut writer = ArrowWriter::try_new(file, schema(), Some(properties))?;
        writer.write(&batch)?;
        writer.into_inner()?.sync_all()?;
        std::fs::rename(&part, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &std::fs::read(path)?).as_ref());
        Ok(hash)
    }
}

/// Registers `table`, for the purpose that its caller has checked, as what is kept under that name, of a snapshot from
/// a day on, whose members are among the consenting; nothing else of the facts can be named in the session.
pub(super) async fn register(
    session: &SessionContext,
    table: &str,
    key: &DataKey,
    snapshot: &Snapshot,
    members: &Consenting,
    not_before: i32,
    refunds: Refunds,
) -> Result<(), FactsError> {
    // the lines that campaigns are told from have a name of their own, which no contract can have
    let is_purchases = ReadableTable::named(table) == Some(ReadableTable::Purchases);
    if !is_purchases && table != super::campaigns::LINES {
        return Err(FactsError::OtherTable);
    }
    let built = build(session, table, key, snapshot, members, not_before, refunds).await;
    built.map_err(|error| FactsError::Engine(Box::new(error)))
}

async fn build(
    session: &SessionContext,
    table: &str,
    key: &DataKey,
    snapshot: &Snapshot,
    members: &Consenting,
    not_before: i32,
    refunds: Refunds,
) -> Result<(), DataFusionError> {
    let schema = schema();
    let rows = if snapshot.files().is_empty() {
        session.read_batch(RecordBatch::new_empty(schema))?
    } else {
        let decryption = FileDecryptionProperties::builder(key.expose().to_vec()).build()?;
        let options = ParquetReadOptions::default()
            .schema(&schema)
            .file_decryption_properties((&decryption).try_into()?);
        let files: Vec<String> =
            snapshot.files().iter().map(|file| file.display().to_string()).collect();
        session.read_parquet(files, options).await?
    };
    // a number of its own and those of merged members: all of it is one person's
    let own = members.subjects().iter().map(|subject| (*subject, *subject));
    let numbers = own.chain(members.aliases().iter().copied());
    let (under, person): (Vec<i64>, Vec<i64>) =
        numbers.map(|(under, person)| (under.get(), person.get())).unzip();
    let consenting = Schema::new(vec![
        Field::new("consenting", DataType::Int64, true),
        Field::new("person", DataType::Int64, true),
    ]);
    let consenting = RecordBatch::try_new(
        Arc::new(consenting),
        vec![Arc::new(Int64Array::from(under)), Arc::new(Int64Array::from(person))],
    )?;
    let lines =
        rows.filter(col("purchased_on").gt_eq(lit(ScalarValue::Date32(Some(not_before)))))?;
    let lines = match refunds {
        Refunds::Apart => lines
            .filter(col("amount_fen").gt_eq(lit(0_i64)).and(col("quantity").gt_eq(lit(0_i64))))?,
        Refunds::Netted => lines,
    };
    let lines = if snapshot.removed().is_empty() {
        lines
    } else {
        let replaced: Int64Array = snapshot.removed().iter().map(|fact| Some(*fact)).collect();
        let schema = Schema::new(vec![Field::new("replaced", DataType::Int64, true)]);
        let replaced = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(replaced)])?;
        let replaced = session.read_batch(replaced)?;
        // what has no number equals nothing, and stays
        lines.join(replaced, JoinType::LeftAnti, &["fact"], &["replaced"], None)?
    };
    // no number is in it twice, so that the join keeps each row at most once, and a guest's never: NULL
    // equals nothing
    let visible = lines
        .join(session.read_batch(consenting)?, JoinType::Inner, &["member"], &["consenting"], None)?
        // whole numbers are short to store, quick to join and to group by
        .with_column("member", col("person"))?
        .with_column("receipt", col("basket") % lit(RECEIPTS))?
        .drop_columns(&["consenting", "person"])?;
    let visible = match refunds {
        Refunds::Apart => visible.drop_columns(&["fact"])?.into_view(),
        // by whose they are now: what a merged member gave back, the one has given back
        Refunds::Netted => netted(visible)?,
    };
    session.register_table(table, visible)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purchases::cases::{import, sent, shop, till};

    #[test]
    fn a_file_of_before_there_were_stores_and_hours_is_read_without_them() {
        let mapping = till("channel = \"store\"\nstore = \"shop\"\nhour = true\n");
        let shop = shop(&mapping);
        let text = "receipt,no,card,at,dept,pieces,yuan,shop\n\
                    R1,1,C1,2025-03-31 18:05,DELI,1,9.00,S7\n";
        import(&shop, &mapping, &sent("p.csv", text));
        let snapshot = shop.facts.snapshot().unwrap();
        let seen = "SELECT amount_fen, store, region, label, hour FROM purchases";
        assert_eq!(shop.ask(&snapshot, seen), ["|900|S7|||18|"]);
        let net = "SELECT net_fen, store, hour FROM purchases";
        assert_eq!(shop.ask(&snapshot, net), ["|900|S7|18|"]);

        // the same file as the version before wrote it
        let [file] = snapshot.files() else { panic!("{} files", snapshot.files().len()) };
        let batch = read(file, &shop.facts.key).unwrap().next().unwrap().unwrap();
        assert_eq!(batch.num_columns(), schema().fields().len());
        let former: Vec<usize> = (0..10).collect();
        let former = batch.project(&former).unwrap();
        let key = shop.facts.key.expose().to_vec();
        let encryption = FileEncryptionProperties::builder(key).build().unwrap();
        let properties =
            WriterProperties::builder().with_file_encryption_properties(encryption).build();
        let written = File::create(file).unwrap();
        let mut writer = ArrowWriter::try_new(written, former.schema(), Some(properties)).unwrap();
        writer.write(&former).unwrap();
        writer.close().unwrap();
        assert_eq!(shop.ask(&snapshot, seen), ["|900|||||"]);
        assert_eq!(shop.ask(&snapshot, net), ["|900|||"]);
        let columns = FactColumns::of(&former).unwrap();
        let row = columns.row(0);
        assert_eq!((row.amount_fen, row.details, row.hour), (900, Details::default(), None));
    }
}
