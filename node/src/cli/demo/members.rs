//! Which accounts are one household's: the demonstration plays the members, who know that themselves.
//!
//! Read from the shipped sample's files, never from a node: no node can tell.

use std::collections::BTreeMap;

use alliance_config::sample::BRANDS;
use datafusion::arrow::array::{Array, AsArray as _};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::super::CliError;

/// A household's card at each brand where it has one, by the brand's place in the sample.
pub type Household = BTreeMap<usize, String>;

/// Every household of the sample, in a fixed order.
pub fn households() -> Result<Vec<Household>, CliError> {
    let mut by_key: BTreeMap<String, Household> = BTreeMap::new();
    for (place, brand) in BRANDS.iter().enumerate() {
        let unreadable = |error: &dyn std::fmt::Display| {
            CliError::Input(format!("the sample of {} cannot be read: {error}", brand.id))
        };
        let bytes = bytes::Bytes::from_static(brand.members);
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .map_err(|error| unreadable(&error))?;
        for batch in reader {
            let batch = batch.map_err(|error| unreadable(&error))?;
            let text = |name: &str| -> Result<Vec<String>, CliError> {
                let column =
                    batch.column_by_name(name).ok_or_else(|| unreadable(&"a column is missing"))?;
                let column = datafusion::arrow::compute::cast(
                    column,
                    &datafusion::arrow::datatypes::DataType::Utf8,
                )
                .map_err(|error| unreadable(&error))?;
                let column = column.as_string::<i32>();
                Ok((0..column.len()).map(|row| column.value(row).to_owned()).collect())
            };
            for (card, key) in text("member_id")?.into_iter().zip(text("match_key")?) {
                by_key.entry(key).or_default().insert(place, card);
            }
        }
    }
    Ok(by_key.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_has_three_hundred_households_at_several_brands() {
        let households = households().unwrap();
        assert_eq!(households.len(), 300);
        let accounts: usize = households.iter().map(Household::len).sum();
        assert_eq!(accounts, 249 + 257 + 294 + 160 + 293);
    }
}
