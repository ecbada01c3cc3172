//! Lines of a text file, and batches of text made from them.

use std::io::{BufRead, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::{ArrayRef, RecordBatchOptions, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use encoding_rs::GB18030;

use super::{Batch, Encoding, Progress, ROW_MAX, RowProblem};
use crate::purchases::columns::FileProblem;

/// Text that is read, and how.
pub(super) struct Text {
    pub(super) reader: Box<dyn BufRead>,
    pub(super) encoding: Encoding,
    /// Bytes of the file.
    pub(super) total: u64,
    /// Of them, read by who unpacks it; none where the reader reads the file itself.
    pub(super) unpacked: Option<Arc<AtomicU64>>,
}

/// A file's lines, one at a time, in UTF-8.
pub(super) struct Lines {
    pub(super) file: String,
    text: Text,
    read: u64,
    /// The line that was read last; the first is 1.
    pub(super) number: u64,
}

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Line,
    TooLong,
    /// Not in the encoding that the mapping says.
    Undecodable,
    End,
}

impl Lines {
    pub(super) fn new(file: String, text: Text) -> Self {
        Self { file, text, read: 0, number: 0 }
    }

    /// Appends the next line to `buffer`, with its end. Of a line that is too long, or is not in its encoding,
    /// nothing is kept.
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Found, FileProblem> {
        let began = buffer.len();
        let limit = u64::try_from(ROW_MAX).unwrap_or(u64::MAX).saturating_add(1);
        let read = self.text.reader.by_ref().take(limit).read_until(b'\n', buffer);
        let read = read.map_err(|source| self.unreadable(source))?;
        self.read += u64::try_from(read).unwrap_or(u64::MAX);
        if read == 0 {
            return Ok(Found::End);
        }
        self.number += 1;
        if read <= ROW_MAX {
            return Ok(self.decode(buffer, began));
        }
        if buffer.last() != Some(&b'\n') {
            self.skip_line()?;
        }
        buffer.truncate(began);
        Ok(Found::TooLong)
    }

    /// The line from there on in UTF-8. No byte of a longer sequence of GB18030 is an end of line, so that lines
    /// are found before they are decoded, and one that is wrong costs no other.
    fn decode(&self, buffer: &mut Vec<u8>, began: usize) -> Found {
        if self.text.encoding == Encoding::Utf8 {
            return Found::Line;
        }
        let line = buffer.get(began..).unwrap_or_default();
        if line.is_ascii() {
            return Found::Line;
        }
        let decoded = GB18030.decode_without_bom_handling_and_without_replacement(line);
        let decoded = decoded.map(|text| text.into_owned().into_bytes());
        buffer.truncate(began);
        match decoded {
            None => Found::Undecodable,
            Some(text) => {
                buffer.extend(text);
                Found::Line
            }
        }
    }

    fn skip_line(&mut self) -> Result<(), FileProblem> {
        loop {
            let available = self.text.reader.fill_buf();
            let available = match available {
                Ok(available) => available,
                Err(source) => {
                    return Err(FileProblem::Unreadable { file: self.file.clone(), source });
                }
            };
            if available.is_empty() {
                return Ok(());
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(available.len(), |end| end + 1);
            self.text.reader.consume(used);
            self.read += u64::try_from(used).unwrap_or(u64::MAX);
            if end.is_some() {
                return Ok(());
            }
        }
    }

    fn unreadable(&self, source: std::io::Error) -> FileProblem {
        FileProblem::Unreadable { file: self.file.clone(), source }
    }

    pub(super) fn progress(&self, rows_done: u64) -> Progress {
        let unpacked = self.text.unpacked.as_ref().map(|read| read.load(Ordering::Relaxed));
        let read = unpacked.unwrap_or(self.read);
        let permille = u128::from(read) * 1000 / u128::from(self.text.total.max(1));
        let permille = u16::try_from(permille.min(1000)).unwrap_or(1000);
        Progress { rows_done, rows: None, permille }
    }
}

/// A batch of text being made.
pub(super) struct TextBatch {
    names: Vec<String>,
    columns: Vec<StringBuilder>,
    places: Vec<u64>,
    broken: Vec<(u64, RowProblem)>,
}

impl TextBatch {
    pub(super) fn new(names: Vec<String>) -> Self {
        let columns = names.iter().map(|_| StringBuilder::new()).collect();
        Self { names, columns, places: Vec::new(), broken: Vec::new() }
    }

    /// Adds a row: a cell for each column, none where there is nothing.
    pub(super) fn row<'a>(&mut self, place: u64, cells: impl Iterator<Item = Option<&'a str>>) {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.append_option(cell);
        }
        self.places.push(place);
    }

    pub(super) fn broken(&mut self, place: u64, problem: RowProblem) {
        self.broken.push((place, problem));
    }

    pub(super) fn rows(&self) -> usize {
        self.places.len() + self.broken.len()
    }

    pub(super) fn finish(&mut self, file: &str, progress: Progress) -> Result<Batch, FileProblem> {
        let fields: Vec<Field> =
            self.names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
        let columns: Vec<ArrayRef> =
            self.columns.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.places.len()));
        let schema = Arc::new(Schema::new(fields));
        let columns =
            RecordBatch::try_new_with_options(schema, columns, &options).map_err(|source| {
                FileProblem::Damaged {
                    file: file.to_owned(),
                    after_row: progress.rows_done,
                    source,
                }
            })?;
        let places = std::mem::take(&mut self.places);
        Ok(Batch { columns, places, broken: std::mem::take(&mut self.broken), progress })
    }
}
