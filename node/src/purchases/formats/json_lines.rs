//! JSON lines: an object a line; a broken one is told, and costs no other.

use serde_json::{Map, Value};

use super::text::{Found, Lines, TextBatch};
use super::{BATCH_ROWS, Batch, Counted, OpenSource, RowProblem};
use crate::purchases::columns::FileProblem;

pub(super) fn open(lines: Lines, wanted: &[&str]) -> Result<OpenSource, FileProblem> {
    let mut names: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    names.sort();
    names.dedup();
    let named = names.iter().cloned().collect();
    let batch = TextBatch::new(names.clone());
    let batches = JsonBatches { lines, names, batch, line: Vec::new(), rows_done: 0, ended: false };
    Ok(OpenSource { names: named, batches: Box::new(batches), counted: Counted::Lines })
}

struct JsonBatches {
    lines: Lines,
    names: Vec<String>,
    batch: TextBatch,
    line: Vec<u8>,
    rows_done: u64,
    ended: bool,
}

impl JsonBatches {
    fn read(&mut self) -> Result<Option<Batch>, FileProblem> {
        while !self.ended && self.batch.rows() < BATCH_ROWS {
            self.line.clear();
            match self.lines.next(&mut self.line)? {
                Found::End => {
                    self.ended = true;
                    continue;
                }
                Found::TooLong => self.batch.broken(self.lines.number, RowProblem::TooLong),
                Found::Undecodable => {
                    self.batch.broken(self.lines.number, RowProblem::NotGb18030);
                }
                Found::Line if self.line.iter().all(u8::is_ascii_whitespace) => continue,
                Found::Line => {
                    let number = self.lines.number;
                    match serde_json::from_slice::<Map<String, Value>>(&self.line) {
                        Ok(object) => {
                            let cells: Vec<Option<String>> =
                                self.names.iter().map(|name| cell(object.get(name))).collect();
                            self.batch.row(number, cells.iter().map(Option::as_deref));
                        }
                        Err(_) if std::str::from_utf8(&self.line).is_err() => {
                            self.batch.broken(number, RowProblem::NotUtf8);
                        }
                        Err(_) => self.batch.broken(number, RowProblem::NotAnObject),
                    }
                }
            }
            self.rows_done += 1;
        }
        if self.batch.rows() == 0 {
            return Ok(None);
        }
        let progress = self.lines.progress(self.rows_done);
        self.batch.finish(&self.lines.file, progress).map(Some)
    }
}

/// A cell as text. A number is the shortest decimal that reads back the same, as whoever wrote it meant
/// it; what is nested is passed on as JSON, which no column takes for a value of its own.
fn cell(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (None, None, Some(float)) => Some(float.to_string()),
            _ => Some(number.to_string()),
        },
        other => Some(other.to_string()),
    }
}

impl Iterator for JsonBatches {
    type Item = Result<Batch, FileProblem>;
    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
