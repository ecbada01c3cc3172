//! Files as batches of columns, whatever their format: Parquet, CSV, JSON lines.
//!
//! Knows where rows are and how far a file is read. Does not know what a column means. A row that cannot
//! be taken apart is told beside the batch and costs no other row; memory is bounded by one batch and
//! one row of [`ROW_MAX`] bytes.

mod delimited;
mod json_lines;
mod parquet;
mod text;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use datafusion::arrow::record_batch::RecordBatch;
use flate2::bufread::MultiGzDecoder;
use ring::digest::{Context, SHA256};

use self::text::{Lines, Text};

use super::columns::FileProblem;

/// Rows read at a time.
pub(super) const BATCH_ROWS: usize = 8_192;
/// Longest row of a text file, in bytes.
pub(super) const ROW_MAX: usize = 1 << 20;

/// How names of files end that are compressed with gzip.
const GZIP: &str = ".gz";

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet, uncompressed or with Snappy.
    Parquet,
    /// Comma-separated values with a row of names first (RFC 4180).
    Csv,
    /// One JSON object a line.
    JsonLines,
}

impl Format {
    /// The format of a file by the end of its name; text may be compressed with gzip and end in `.gz`.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let (name, packed) = match name.strip_suffix(GZIP) {
            Some(name) => (name, true),
            None => (name, false),
        };
        match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
            // Parquet is compressed inside
            "parquet" if !packed => Some(Self::Parquet),
            "csv" | "tsv" | "txt" => Some(Self::Csv),
            "jsonl" | "ndjson" | "json" => Some(Self::JsonLines),
            _ => None,
        }
    }
}

/// How text is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, with a mark at the beginning or without.
    #[default]
    Utf8,
    /// GB18030, of which GBK and GB2312 are parts.
    Gb18030,
}

impl Encoding {
    /// The encoding of a name, whatever its case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => Some(Self::Utf8),
            "gb18030" | "gbk" | "gb2312" => Some(Self::Gb18030),
            _ => None,
        }
    }
}

/// How a mapping says that text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextTerms {
    pub(super) delimiter: u8,
    pub(super) encoding: Encoding,
}

/// Something to import.
#[derive(Clone)]
pub enum Source {
    /// A file on this machine; its name tells its format.
    File(PathBuf),
    /// A Parquet file that is part of the binary.
    Embedded {
        /// What to call it in a report.
        name: &'static str,
        /// Its bytes.
        bytes: &'static [u8],
    },
    /// What was sent.
    Sent {
        /// What to call it in a report.
        name: String,
        /// What it is.
        format: Format,
        /// The bytes.
        bytes: Bytes,
    },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // what was sent is members' data
        f.debug_tuple("Source").field(&self.name()).finish()
    }
}

/// How far a file is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows read, those of an earlier, interrupted run counted.
    pub rows_done: u64,
    /// Rows of the file, if it says.
    pub rows: Option<u64>,
    /// Thousandths of the file that are read.
    pub permille: u16,
}

/// Rows of a file, read together.
pub(super) struct Batch {
    pub(super) columns: RecordBatch,
    /// Where each row of `columns` is: its row, or the line it begins at.
    pub(super) places: Vec<u64>,
    /// Rows that could not be taken apart, and what is wrong with them.
    pub(super) broken: Vec<(u64, RowProblem)>,
    /// Rows of the file that are done with this batch.
    pub(super) progress: Progress,
}

/// Why a row cannot be taken apart.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    thiserror::Error,
    minicbor::Encode,
    minicbor::Decode,
)]
pub enum RowProblem {
    /// Other cells than the first row has names.
    #[error("has {found} cells where the first row names {expected}")]
    #[n(0)]
    Cells {
        /// How many there are.
        #[n(0)]
        found: u32,
        /// How many there should be.
        #[n(1)]
        expected: u32,
    },
    /// A quotation mark that is not closed, or a row beyond all measure.
    #[error("is longer than a mebibyte, or has a quotation mark that is never closed")]
    #[n(1)]
    TooLong,
    /// Not JSON, or no object.
    #[error("is no JSON object")]
    #[n(2)]
    NotAnObject,
    /// Not UTF-8.
    #[error("is not in UTF-8: where the file is in GBK, the mapping says encoding = \"gb18030\"")]
    #[n(3)]
    NotUtf8,
    /// Not what the mapping says.
    #[error(
        "has a sequence of bytes that is none in GB18030 (GBK), as which the mapping has the file read"
    )]
    #[n(4)]
    NotGb18030,
}

type Batches = Box<dyn Iterator<Item = Result<Batch, FileProblem>>>;

/// A source whose names of columns are known.
pub(super) struct OpenSource {
    /// Names of the columns that are there and were asked for. JSON lines name theirs in every row, so
    /// that all are there.
    pub(super) names: BTreeSet<String>,
    pub(super) batches: Batches,
    /// How a row is counted in this format.
    pub(super) counted: Counted,
}

/// How places in a file are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Counted {
    /// In rows; the first is 1.
    #[default]
    #[n(0)]
    Rows,
    /// In lines of text; the first is 1.
    #[n(1)]
    Lines,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rows => "row",
            Self::Lines => "line",
        })
    }
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
            Self::Sent { name, .. } => name.clone(),
        }
    }

    /// SHA-256 of the bytes, by which the same file is recognised under any name. A file may be long: pauses between
    /// parts of it, each much longer than what comes between.
    pub(super) fn digest(&self, pause: &dyn Fn()) -> Result<[u8; 32], FileProblem> {
        /// Bytes of a part, about: half a second at the most.
        const PART: usize = 64 << 20;
        let mut context = Context::new(&SHA256);
        match self {
            Self::Embedded { bytes, .. } => context.update(bytes),
            Self::Sent { bytes, .. } => context.update(bytes),
            Self::File(path) => {
                let unreadable = |source| FileProblem::Unreadable { file: self.name(), source };
                let mut file = File::open(path).map_err(unreadable)?;
                let (mut buffer, mut since) = (vec![0; 1 << 16], 0_usize);
                loop {
                    let read = file.read(&mut buffer).map_err(unreadable)?;
                    let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else {
                        break;
                    };
                    context.update(part);
                    since += part.len();
                    // whoever is kept off comes again at every turn
                    if since >= PART {
                        since = 0;
                        pause();
                    }
                }
            }
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Ok(digest)
    }

    /// Opens the columns named, of those that are there.
    pub(super) fn open(
        &self,
        wanted: &[&str],
        terms: TextTerms,
    ) -> Result<OpenSource, FileProblem> {
        let encoding = terms.encoding;
        let name = self.name();
        match self {
            Self::Embedded { bytes, .. } => parquet::open(name, Bytes::from_static(bytes), wanted),
            Self::Sent { bytes, format, .. } => {
                let total = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                match format {
                    Format::Parquet => parquet::open(name, bytes.clone(), wanted),
                    format => {
                        let reader = Box::new(std::io::Cursor::new(bytes.clone()));
                        let text = Text { reader, encoding, total, unpacked: None };
                        open_text(*format, name, text, wanted, terms.delimiter)
                    }
                }
            }
            Self::File(path) => {
                let format = Format::of_name(&name)
                    .ok_or_else(|| FileProblem::UnknownFormat { file: name.clone() })?;
                let unreadable = |source| FileProblem::Unreadable { file: name.clone(), source };
                let file = File::open(path).map_err(unreadable)?;
                if format == Format::Parquet {
                    return parquet::open(name, file, wanted);
                }
                let total = file.metadata().map_err(unreadable)?.len();
                let text = if name.ends_with(GZIP) {
                    let read = Arc::new(AtomicU64::new(0));
                    let counted = Counting { inner: file, read: Arc::clone(&read) };
                    // what several files were joined to is read to its end
                    let unpacking = MultiGzDecoder::new(BufReader::new(counted));
                    let reader = Box::new(BufReader::with_capacity(1 << 18, unpacking));
                    Text { reader, encoding, total, unpacked: Some(read) }
                } else {
                    let reader = Box::new(BufReader::with_capacity(1 << 18, file));
                    Text { reader, encoding, total, unpacked: None }
                };
                open_text(format, name, text, wanted, terms.delimiter)
            }
        }
    }
}

/// A reader that tells how much was read of it.
struct Counting<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read.fetch_add(u64::try_from(read).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(read)
    }
}

fn open_text(
    format: Format,
    file: String,
    text: Text,
    wanted: &[&str],
    delimiter: u8,
) -> Result<OpenSource, FileProblem> {
    let lines = Lines::new(file, text);
    match format {
        Format::JsonLines => json_lines::open(lines, wanted),
        Format::Parquet | Format::Csv => delimited::open(lines, wanted, delimiter),
    }
}
