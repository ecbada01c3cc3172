//! The columnar engine reading a file by itself: what an import is measured beside.

use std::path::Path;

use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionConfig, SessionContext};

use super::FactsError;

/// Lets the engine read every cell of a Parquet or CSV file, on one thread, and gives the number of rows.
///
/// # Errors
/// When it cannot.
pub async fn rows_read_by_engine(file: &Path) -> Result<u64, FactsError> {
    let wrong = |error| FactsError::Engine(Box::new(error));
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let name = file.display().to_string();
    let rows = if name.ends_with(".parquet") {
        session.read_parquet(name, ParquetReadOptions::default()).await
    } else {
        session.read_csv(name, CsvReadOptions::new()).await
    };
    // every column is decoded: the batches are collected one by one and dropped
    let mut batches = rows.map_err(wrong)?.execute_stream().await.map_err(wrong)?;
    let mut rows = 0;
    while let Some(batch) = futures::StreamExt::next(&mut batches).await {
        rows += u64::try_from(batch.map_err(wrong)?.num_rows()).unwrap_or(u64::MAX);
    }
    Ok(rows)
}
