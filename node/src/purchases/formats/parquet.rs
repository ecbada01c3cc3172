//! Parquet. A file is trusted as far as its reader is: it comes from the brand's own systems.

use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::file::reader::ChunkReader;

use super::{BATCH_ROWS, Batch, Counted, OpenSource, Progress};
use crate::purchases::columns::FileProblem;

pub(super) fn open(
    file: String,
    reader: impl ChunkReader + 'static,
    wanted: &[&str],
) -> Result<OpenSource, FileProblem> {
    let damaged = |source| FileProblem::NotParquet { file: file.clone(), source };
    let builder = ParquetRecordBatchReaderBuilder::try_new(reader)
        .map_err(damaged)?
        .with_batch_size(BATCH_ROWS);
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    let mask = ProjectionMask::columns(builder.parquet_schema(), wanted.iter().copied());
    let batches = builder.with_projection(mask).build().map_err(damaged)?;
    let schema = datafusion::arrow::record_batch::RecordBatchReader::schema(&batches);
    let names = schema.fields().iter().map(|field| field.name().clone()).collect();
    let mut rows_done = 0_u64;
    let batches = batches.map(move |batch| {
        let columns = batch.map_err(|source| FileProblem::Damaged {
            file: file.clone(),
            after_row: rows_done,
            source,
        })?;
        let before = rows_done;
        rows_done += u64::try_from(columns.num_rows()).unwrap_or(u64::MAX);
        let permille = u128::from(rows_done) * 1000 / u128::from(rows.max(1));
        let permille = u16::try_from(permille.min(1000)).unwrap_or(1000);
        Ok(Batch {
            columns,
            places: (before + 1..=rows_done).collect(),
            broken: Vec::new(),
            progress: Progress { rows_done, rows: Some(rows), permille },
        })
    });
    Ok(OpenSource { names, batches: Box::new(batches), counted: Counted::Rows })
}
