//! The workload's data as the clean room would see it: a contract of public facts, and each brand's rows
//! under its names.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use privacy::contract::{RawColumn, RawPublicTable, RawTable, RawValue};
use privacy::{BoundedVector, Collector, Contract, DpPlan, ParticipantId, RawContract, member_sql};

use super::super::super::CliError;
use super::super::input;
use crate::cleanroom::read::collect;

/// The brands of the workload, ascending.
pub const BRANDS: [&str; 5] =
    ["fresh_counter", "fuel_stop", "grocer_one", "grocer_two", "health_home"];
/// One whose bounds are those of all.
pub const BUSIEST: &str = "grocer_one";
/// Columns of the files that are read.
const FILES: [&str; 3] = ["members", "purchases", "redemptions"];

/// Departments with the brands that sell from them.
const DEPARTMENTS: [(&str, &[&str]); 31] = [
    ("AUTOMOTIVE", &["health_home"]),
    ("CHEF SHOPPE", &["fresh_counter"]),
    ("CNTRL/STORE SUP", &["grocer_two"]),
    ("COSMETICS", &["health_home"]),
    ("COUPON", &["grocer_one", "grocer_two"]),
    ("DELI", &["fresh_counter"]),
    ("DRUG GM", &["health_home"]),
    ("ELECT &PLUMBING", &["health_home"]),
    ("FLORAL", &["fresh_counter"]),
    ("FROZEN GROCERY", &["grocer_one", "grocer_two"]),
    ("FUEL", &["fuel_stop"]),
    ("GARDEN CENTER", &["health_home"]),
    ("GM MERCH EXP", &["health_home"]),
    ("GROCERY", &["grocer_one", "grocer_two"]),
    ("MEAT", &["grocer_one", "grocer_two"]),
    ("MEAT-PCKGD", &["grocer_one", "grocer_two"]),
    ("MISCELLANEOUS", &["fuel_stop", "grocer_one", "grocer_two"]),
    ("NUTRITION", &["health_home"]),
    ("PASTRY", &["fresh_counter"]),
    ("PHOTO & VIDEO", &["health_home"]),
    ("POSTAL CENTER", &["health_home"]),
    ("PROD-WHS SALES", &["grocer_one", "grocer_two"]),
    ("PRODUCE", &["grocer_one", "grocer_two"]),
    ("RESTAURANT", &["fresh_counter"]),
    ("SALAD BAR", &["fresh_counter"]),
    ("SEAFOOD", &["fresh_counter"]),
    ("SEAFOOD-PCKGD", &["grocer_one", "grocer_two"]),
    ("SPIRITS", &["fresh_counter"]),
    ("TOYS", &["health_home"]),
    ("TRAVEL & LEISURE", &["health_home"]),
    ("UNASSIGNED", &["grocer_one", "grocer_two"]),
];

const AGES: [&str; 7] = ["19-24", "25-34", "35-44", "45-54", "55-64", "65+", "unknown"];
const INCOMES: [&str; 13] = [
    "Under 15K",
    "15-24K",
    "25-34K",
    "35-49K",
    "50-74K",
    "75-99K",
    "100-124K",
    "125-149K",
    "150-174K",
    "175-199K",
    "200-249K",
    "250K+",
    "unknown",
];
const CAMPAIGNS: [&str; 3] = ["Type A", "Type B", "Type C"];

/// The contract: bounds from the published profile of contributions (about nine in ten members of each brand
/// are below its own), never from the answers.
pub fn contract(profile: &str, members_at_most: u64) -> Result<Contract, CliError> {
    let value = |value: &str| RawValue { value: value.into(), carriers: None };
    let text = |name: &str, values: Vec<RawValue>| RawColumn::Text {
        name: name.into(),
        values,
        // every value is declared
        other_carriers: Some(Vec::new()),
    };
    let date = || RawColumn::Date {
        name: "purchased_on".into(),
        first: "2017-01-01".into(),
        last: "2017-12-31".into(),
    };
    let by_brand = |own: &[(&str, u64)]| -> BTreeMap<String, u64> {
        own.iter().map(|(brand, bound)| ((*brand).to_owned(), *bound)).collect()
    };
    let integer = |name: &str, unit: &str, (minimum, maximum), bound, own: &[(&str, u64)]| {
        RawColumn::Integer {
            name: name.into(),
            unit: unit.into(),
            minimum,
            maximum,
            bound,
            carriers: None,
            bound_by_brand: by_brand(own),
        }
    };
    // in fen a year; the grocers are the busiest, and the bound of all is theirs
    let spend = [("fresh_counter", 50_000), ("fuel_stop", 100_000), ("health_home", 100_000)];
    let departments = DEPARTMENTS
        .iter()
        .map(|(name, carriers)| RawValue {
            value: (*name).into(),
            carriers: Some(carriers.iter().map(ToString::to_string).collect()),
        })
        .collect();
    let table = |name: &str, rows_bound, own: &[(&str, u64)], columns| RawTable {
        name: name.into(),
        owner: "member".into(),
        rows_bound,
        rows_bound_by_brand: by_brand(own),
        columns,
    };
    let raw = RawContract {
        dataset: "complete_journey".into(),
        purposes: vec!["joint_analytics".into()],
        participants: BRANDS.iter().map(ToString::to_string).collect(),
        minimum_participants: 3,
        profile: profile.into(),
        members_at_most,
        public_tables: Vec::<RawPublicTable>::new(),
        tables: vec![
            table(
                "members",
                1,
                &[],
                vec![
                    text("age_band", AGES.iter().map(|it| value(it)).collect()),
                    text("income_band", INCOMES.iter().map(|it| value(it)).collect()),
                ],
            ),
            table(
                "purchases",
                1_000,
                &[("fresh_counter", 100), ("fuel_stop", 50), ("health_home", 200)],
                vec![
                    date(),
                    text("department", departments),
                    text("label", ["National", "Private", "unknown"].map(value).to_vec()),
                    integer("amount_fen", "fen", (0, 100_000), Some(200_000), &spend),
                ],
            ),
            table(
                "baskets",
                100,
                &[("fresh_counter", 50), ("fuel_stop", 50)],
                vec![
                    date(),
                    integer("hour_no", "hours", (0, 23), None, &[]),
                    integer("amount_fen", "fen", (0, 100_000), Some(200_000), &spend),
                    integer("loyalty_fen", "fen", (0, 50_000), Some(20_000), &[]),
                    integer("coupon_fen", "fen", (0, 50_000), Some(1_000), &[]),
                ],
            ),
            table(
                "redemptions",
                5,
                &[],
                vec![text("campaign_type", CAMPAIGNS.iter().map(|it| value(it)).collect())],
            ),
        ],
    };
    raw.try_into().map_err(input)
}

/// One brand's rows, ready to be asked.
pub struct Brand {
    session: SessionContext,
}

impl Brand {
    /// Opens a brand's files of a folder like `full/` of the data set.
    pub async fn open(folder: &Path, brand: &str) -> Result<Self, CliError> {
        let session =
            SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let shared = ["campaigns", "products"].map(|name| ("shared", name));
        let own = FILES.map(|name| (brand, name));
        for (place, name) in shared.into_iter().chain(own) {
            let path = folder.join(place).join(format!("{name}.parquet"));
            let path = path.to_string_lossy().into_owned();
            let files = format!("{name}_file");
            session
                .register_parquet(&files, &path, ParquetReadOptions::default())
                .await
                .map_err(input)?;
        }
        for (name, sql) in VIEWS {
            // read once, so that each question reads memory
            let batches = session.sql(sql).await.map_err(input)?.cache().await.map_err(input)?;
            session.register_table(name, batches.into_view()).map_err(input)?;
        }
        Ok(Self { session })
    }

    /// The same rows so many times over, each time of members of their own: made as they are read.
    pub async fn copied(&self, copies: u32) -> Result<Self, CliError> {
        let session =
            SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let copy: ArrayRef = Arc::new(Int64Array::from_iter_values(0..i64::from(copies)));
        let batch = RecordBatch::try_from_iter([("nth", copy)]).map_err(input)?;
        session.register_batch("copies", batch).map_err(input)?;
        for (name, _) in VIEWS {
            let table = self.session.table_provider(name).await.map_err(input)?;
            let columns: Vec<String> = table
                .schema()
                .fields()
                .iter()
                .filter(|field| field.name() != "member")
                .map(|field| format!("o.{}", field.name()))
                .collect();
            let once = format!("{name}_once");
            session.register_table(&once, table).map_err(input)?;
            let sql = format!(
                "SELECT cast(o.member AS varchar) || '~' || cast(c.nth AS varchar) AS member, {} \
                 FROM {once} AS o CROSS JOIN copies AS c",
                columns.join(", ")
            );
            let view = session.sql(&sql).await.map_err(input)?.into_view();
            session.register_table(name, view).map_err(input)?;
        }
        Ok(Self { session })
    }

    /// The lines of a plan's bounded query.
    pub async fn lines(&self, plan: &DpPlan, brand: ParticipantId) -> Result<Lines, CliError> {
        let sql = member_sql(plan, brand);
        let frame = self.session.sql(sql.as_str()).await.map_err(input)?;
        let batches = frame.collect().await.map_err(input)?;
        Ok(Lines { brand, batches, aggregates: sql.aggregates() })
    }

    /// How many rows a table has.
    pub async fn rows(&self, table: &str) -> Result<u64, CliError> {
        let frame = self.session.table(table).await.map_err(input)?;
        Ok(frame.count().await.map_err(input)? as u64)
    }

    /// The exact answer: the labels of each cell with its `values` figures.
    pub async fn exact(&self, sql: &str, values: usize) -> Result<Exact, CliError> {
        let frame = self.session.sql(sql).await.map_err(input)?;
        let mut exact = Exact::new();
        for batch in frame.collect().await.map_err(input)? {
            let keys = batch.num_columns().saturating_sub(values);
            let (keys, figures) = batch.columns().split_at(keys);
            let texts = keys
                .iter()
                .map(|column| cast(column, &DataType::Utf8).map_err(input))
                .collect::<Result<Vec<_>, _>>()?;
            let figures = figures
                .iter()
                .map(|column| cast(column, &DataType::Float64).map_err(input))
                .collect::<Result<Vec<_>, _>>()?;
            for row in 0..batch.num_rows() {
                let labels = texts.iter().map(|it| it.as_string::<i32>().value(row).to_owned());
                let figures = figures.iter().map(|it| {
                    let it = it.as_primitive::<Float64Type>();
                    if it.is_null(row) { 0.0 } else { it.value(row) }
                });
                exact.insert(labels.collect(), figures.collect());
            }
        }
        Ok(exact)
    }
}

/// Figures by the labels of their cell.
pub type Exact = BTreeMap<Vec<String>, Vec<f64>>;

/// The lines of one bounded query.
pub struct Lines {
    brand: ParticipantId,
    batches: Vec<RecordBatch>,
    aggregates: usize,
}

impl Lines {
    /// Clipped and added up, as if each member were there so many times.
    pub fn bounded(&self, plan: &DpPlan, copies: u32) -> Result<BoundedVector, CliError> {
        self.bounded_at(plan, self.brand, copies)
    }

    /// The same at whoever holds them: a trusted party has those of all brands.
    pub fn bounded_at(
        &self,
        plan: &DpPlan,
        holder: ParticipantId,
        copies: u32,
    ) -> Result<BoundedVector, CliError> {
        let mut collector = Collector::new(plan, holder);
        for batch in &self.batches {
            collect(&mut collector, batch.columns(), self.aggregates).map_err(input)?;
        }
        collector.finish().and_then(|vector| vector.of_copies(copies)).map_err(input)
    }
}

/// What a brand registers: one row for each of a member's rows, whole numbers, declared texts.
const VIEWS: [(&str, &str); 4] = [
    (
        "members",
        "SELECT member_id AS member, coalesce(age_band, 'unknown') AS age_band, \
         coalesce(income_band, 'unknown') AS income_band FROM members_file",
    ),
    (
        "purchases",
        "SELECT member_id AS member, cast(purchased_at AS date) AS purchased_on, p.department AS department, \
         coalesce(label_type, 'unknown') AS label, \
         cast(round(amount * 100) AS bigint) AS amount_fen \
         FROM purchases_file AS p LEFT JOIN products_file AS c ON c.product_id = p.product_id",
    ),
    (
        "baskets",
        "SELECT member_id AS member, cast(min(purchased_at) AS date) AS purchased_on, \
         cast(extract(hour FROM min(purchased_at)) AS bigint) AS hour_no, \
         cast(round(sum(amount) * 100) AS bigint) AS amount_fen, \
         cast(round(sum(loyalty_discount) * 100) AS bigint) AS loyalty_fen, \
         cast(round(sum(coupon_discount) * 100) AS bigint) AS coupon_fen \
         FROM purchases_file GROUP BY member_id, basket_id",
    ),
    (
        "redemptions",
        "SELECT member_id AS member, campaign_type \
         FROM redemptions_file AS r JOIN campaigns_file AS c ON c.campaign_id = r.campaign_id",
    ),
];
