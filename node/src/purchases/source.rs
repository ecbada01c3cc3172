//! Where rows come from: a file, or bytes embedded in the binary.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::reader::ChunkReader;
use ring::digest::{Context, SHA256};

use super::columns::FileProblem;

/// Rows read at a time.
pub(super) const BATCH_ROWS: usize = 8_192;

/// A Parquet file to import.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file on this machine.
    File(PathBuf),
    /// A file that is part of the binary.
    Embedded {
        /// What to call it in a report.
        name: &'static str,
        /// Its bytes.
        bytes: &'static [u8],
    },
}

/// A source whose schema has been read.
pub(super) struct OpenSource {
    pub(super) schema: SchemaRef,
    pub(super) rows: u64,
    pub(super) batches: ParquetRecordBatchReader,
}

impl Source {
    /// What to call it in a report: the file's name without its folders.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path
                .file_name()
                .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into()),
            Self::Embedded { name, .. } => (*name).to_owned(),
        }
    }

    /// SHA-256 of the bytes, by which the same file is recognised under any name.
    pub(super) fn digest(&self) -> Result<[u8; 32], FileProblem> {
        let mut context = Context::new(&SHA256);
        match self {
            Self::Embedded { bytes, .. } => context.update(bytes),
            Self::File(path) => {
                let unreadable = |source| FileProblem::Unreadable { file: self.name(), source };
                let mut file = File::open(path).map_err(unreadable)?;
                let mut buffer = vec![0; 1 << 16];
                loop {
                    let read = file.read(&mut buffer).map_err(unreadable)?;
                    let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else {
                        break;
                    };
                    context.update(part);
                }
            }
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Ok(digest)
    }

    /// Opens the columns named, of those that are there.
    pub(super) fn open(&self, columns: &[&str]) -> Result<OpenSource, FileProblem> {
        let damaged = |source| FileProblem::NotParquet { file: self.name(), source };
        match self {
            Self::Embedded { bytes, .. } => {
                read(Bytes::from_static(bytes), columns).map_err(damaged)
            }
            Self::File(path) => {
                let file = File::open(path)
                    .map_err(|source| FileProblem::Unreadable { file: self.name(), source })?;
                read(file, columns).map_err(damaged)
            }
        }
    }
}

fn read(reader: impl ChunkReader + 'static, columns: &[&str]) -> Result<OpenSource, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(reader)?.with_batch_size(BATCH_ROWS);
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let batches = builder.with_projection(mask).build()?;
    let schema = datafusion::arrow::record_batch::RecordBatchReader::schema(&batches);
    Ok(OpenSource { schema, rows, batches })
}
