//! The exact answer to the demonstration's question, from the shipped sample.
//!
//! Only the demonstration can know it: it holds all brands' files. No node calls this.

use std::collections::{BTreeMap, BTreeSet};

use alliance_config::sample::BRANDS;
use datafusion::arrow::array::{Array as _, AsArray as _};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::super::CliError;

/// Memberships with at least one purchase, by half-year, all brands together.
pub async fn active_memberships_by_half() -> Result<BTreeMap<String, u64>, CliError> {
    tokio::task::block_in_place(count)
}

fn count() -> Result<BTreeMap<String, u64>, CliError> {
    let mut active: BTreeMap<String, BTreeSet<(&str, String)>> = BTreeMap::new();
    for brand in &BRANDS {
        let unreadable = |error: &dyn std::fmt::Display| {
            CliError::Input(format!("the sample of {} cannot be read: {error}", brand.id))
        };
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from_static(brand.purchases))
                .and_then(ParquetRecordBatchReaderBuilder::build)
                .map_err(|error| unreadable(&error))?;
        for batch in reader {
            let batch = batch.map_err(|error| unreadable(&error))?;
            let column = |name: &str, kind: &DataType| {
                let column = batch.column_by_name(name).ok_or_else(|| unreadable(&name))?;
                cast(column, kind).map_err(|error| unreadable(&error))
            };
            let members = column("member_id", &DataType::Utf8)?;
            let days = column("purchased_at", &DataType::Utf8)?;
            let quantities = column("quantity", &DataType::Int64)?;
            let amounts = column("amount", &DataType::Float64)?;
            let (members, days) = (members.as_string::<i32>(), days.as_string::<i32>());
            let quantities = quantities.as_primitive::<Int64Type>();
            let amounts = amounts.as_primitive::<Float64Type>();
            for row in 0..batch.num_rows() {
                // a line without a sale is no purchase, as in every brand's own cleaning
                let sold = quantities.value(row) != 0 || amounts.value(row) != 0.0;
                if members.is_null(row) || !sold {
                    continue;
                }
                let day = days.value(row);
                let (year, month) = (day.get(..4), day.get(5..7));
                let (Some(year), Some(month)) = (year, month) else { continue };
                let half = if month <= "06" { "H1" } else { "H2" };
                let member = (brand.id, members.value(row).to_owned());
                active.entry(format!("{year}-{half}")).or_default().insert(member);
            }
        }
    }
    Ok(active.into_iter().map(|(half, members)| (half, members.len() as u64)).collect())
}
