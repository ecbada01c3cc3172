//! CSV (RFC 4180), a record at a time: a broken one is told, and reading goes on at the next line.

use std::collections::VecDeque;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::text::{Found, Lines, TextBatch};
use super::{BATCH_ROWS, Batch, Counted, OpenSource, ROW_MAX, RowProblem};
use crate::purchases::columns::FileProblem;

/// Most cells of a row.
const CELLS_MAX: usize = 1_024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

struct Records {
    lines: Lines,
    // built once: its tables cost more than many records
    reader: Reader,
    record: Vec<u8>,
    // lines after the first of a record that was never closed, with their numbers, to be read as rows of
    // their own; what was found where there is no line
    put_back: VecDeque<(u64, Result<Vec<u8>, Found>)>,
    cells: Vec<u8>,
    ends: Vec<usize>,
}

/// What a record is.
enum Record {
    Cells(usize),
    Broken(RowProblem),
    End,
}

pub(super) fn open(
    lines: Lines,
    wanted: &[&str],
    delimiter: u8,
) -> Result<OpenSource, FileProblem> {
    let mut records = Records {
        lines,
        reader: ReaderBuilder::new().delimiter(delimiter).build(),
        record: Vec::new(),
        put_back: VecDeque::new(),
        cells: vec![0; ROW_MAX + 2],
        ends: vec![0; CELLS_MAX],
    };
    let file = records.lines.file.clone();
    let header = match records.next()?.1 {
        Record::Cells(cells) => {
            (0..cells).map(|cell| records.cell(cell).map(|name| name.trim().to_owned())).collect()
        }
        Record::Broken(_) | Record::End => None,
    };
    let header: Vec<String> = header.ok_or_else(|| FileProblem::NoHeader { file: file.clone() })?;
    let mut places = Vec::new();
    let mut names = Vec::new();
    for name in wanted {
        let mut found = header.iter().enumerate().filter(|(_, named)| named == name);
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => {
                let column = (*name).to_owned();
                return Err(FileProblem::TwiceNamed { file, column });
            }
            (Some((place, _)), None) if !names.iter().any(|taken| taken == name) => {
                places.push(place);
                names.push((*name).to_owned());
            }
            _ => {}
        }
    }
    let named = names.iter().cloned().collect();
    let expected = header.len();
    let batches = DelimitedBatches {
        batch: TextBatch::new(names),
        records,
        places,
        expected,
        rows_done: 0,
        ended: false,
    };
    Ok(OpenSource { names: named, batches: Box::new(batches), counted: Counted::Lines })
}

impl Records {
    /// The next record, and the line it begins at.
    fn next(&mut self) -> Result<(u64, Record), FileProblem> {
        loop {
            self.record.clear();
            let began = match self.line()? {
                (number, Found::End) => return Ok((number, Record::End)),
                (number, Found::TooLong) => {
                    return Ok((number, Record::Broken(RowProblem::TooLong)));
                }
                (number, Found::Undecodable) => {
                    return Ok((number, Record::Broken(RowProblem::NotGb18030)));
                }
                (number, Found::Line) => number,
            };
            if began == 1 && self.record.starts_with(BYTE_ORDER_MARK) {
                self.record.drain(..BYTE_ORDER_MARK.len());
            }
            if self.record.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let mut after = Vec::new();
            let mut open = self.is_open(0);
            // an odd number of quotation marks: the record goes on in the next line
            while open {
                let start = self.record.len();
                let (number, found) = self.line()?;
                let whole = found == Found::Line && self.record.len() <= ROW_MAX;
                match found {
                    Found::End => {}
                    Found::Line => after.push((number, Ok(start))),
                    found => after.push((number, Err(found))),
                }
                if !whole {
                    self.put_back_after(after);
                    return Ok((began, Record::Broken(RowProblem::TooLong)));
                }
                open ^= self.is_open(start);
            }
            return Ok((began, self.split()));
        }
    }

    /// Whether the quotation marks from there on are odd.
    fn is_open(&self, start: usize) -> bool {
        let from = self.record.get(start..).unwrap_or_default();
        from.iter().filter(|byte| **byte == b'"').count() % 2 == 1
    }

    /// The first line of the record is to blame; those that begin at these places are read again.
    fn put_back_after(&mut self, lines: Vec<(u64, Result<usize, Found>)>) {
        for (number, start) in lines.into_iter().rev() {
            let line = start.map(|start| self.record.split_off(start.min(self.record.len())));
            self.put_back.push_front((number, line));
        }
    }

    /// Appends the next line to the record, and tells its number.
    fn line(&mut self) -> Result<(u64, Found), FileProblem> {
        match self.put_back.pop_front() {
            Some((number, Ok(line))) => {
                self.record.extend(line);
                Ok((number, Found::Line))
            }
            Some((number, Err(found))) => Ok((number, found)),
            None => {
                let found = self.lines.next(&mut self.record)?;
                Ok((self.lines.number, found))
            }
        }
    }

    fn split(&mut self) -> Record {
        self.reader.reset();
        let (mut input, mut filled, mut ended) = (self.record.as_slice(), 0, 0);
        loop {
            let cells = self.cells.get_mut(filled..).unwrap_or_default();
            let ends = self.ends.get_mut(ended..).unwrap_or_default();
            let (result, read, wrote, made) = self.reader.read_record(input, cells, ends);
            let read_all = read == input.len();
            filled += wrote;
            ended += made;
            match result {
                ReadRecordResult::Record => return Record::Cells(ended),
                // nothing is left: told that it is the end, the reader gives the record
                ReadRecordResult::InputEmpty if read_all => input = &[],
                ReadRecordResult::InputEmpty => return Record::Broken(RowProblem::TooLong),
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    return Record::Broken(RowProblem::TooLong);
                }
                ReadRecordResult::End => return Record::Cells(ended),
            }
        }
    }

    /// A cell of the record; none when it is not UTF-8.
    fn cell(&self, place: usize) -> Option<&str> {
        let from = match place.checked_sub(1) {
            None => 0,
            Some(before) => *self.ends.get(before)?,
        };
        std::str::from_utf8(self.cells.get(from..*self.ends.get(place)?)?).ok()
    }
}

struct DelimitedBatches {
    records: Records,
    places: Vec<usize>,
    expected: usize,
    batch: TextBatch,
    rows_done: u64,
    ended: bool,
}

impl DelimitedBatches {
    fn read(&mut self) -> Result<Option<Batch>, FileProblem> {
        while !self.ended && self.batch.rows() < BATCH_ROWS {
            let (place, record) = self.records.next()?;
            match record {
                Record::End => {
                    self.ended = true;
                    continue;
                }
                Record::Broken(problem) => self.batch.broken(place, problem),
                Record::Cells(found) if found != self.expected => {
                    let count = |cells| u32::try_from(cells).unwrap_or(u32::MAX);
                    let (found, expected) = (count(found), count(self.expected));
                    self.batch.broken(place, RowProblem::Cells { found, expected });
                }
                Record::Cells(_) => {
                    let cells = || self.places.iter().map(|place| self.records.cell(*place));
                    if cells().any(|cell| cell.is_none()) {
                        self.batch.broken(place, RowProblem::NotUtf8);
                    } else {
                        self.batch.row(place, cells());
                    }
                }
            }
            self.rows_done += 1;
        }
        if self.batch.rows() == 0 {
            return Ok(None);
        }
        let progress = self.records.lines.progress(self.rows_done);
        self.batch.finish(&self.records.lines.file, progress).map(Some)
    }
}

impl Iterator for DelimitedBatches {
    type Item = Result<Batch, FileProblem>;
    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray as _;

    use super::super::Encoding;
    use super::super::text::Text;
    use super::*;

    type Read = (Vec<(u64, String)>, Vec<(u64, RowProblem)>);

    /// Rows of columns `a` and `c` with their lines, and broken rows.
    fn read(text: &[u8]) -> Read {
        read_as(text, Encoding::Utf8)
    }

    fn lines(text: &[u8], encoding: Encoding) -> Lines {
        let reader = Box::new(std::io::Cursor::new(text.to_vec()));
        let total = text.len() as u64;
        Lines::new("t.csv".into(), Text { reader, encoding, total, unpacked: None })
    }

    fn read_as(text: &[u8], encoding: Encoding) -> Read {
        let opened = open(lines(text, encoding), &["a", "c", "x"], b',').unwrap();
        assert_eq!(opened.names.len(), 2);
        let (mut rows, mut broken) = (Vec::new(), Vec::new());
        for batch in opened.batches {
            let batch = batch.unwrap();
            for (row, place) in batch.places.iter().enumerate() {
                let cell = |name| {
                    batch.columns.column_by_name(name).unwrap().as_string::<i32>().value(row)
                };
                rows.push((*place, format!("{}|{}", cell("a"), cell("c"))));
            }
            broken.extend(batch.broken);
        }
        (rows, broken)
    }

    fn row(line: u64, text: &str) -> (u64, String) {
        (line, text.to_owned())
    }

    #[test]
    fn quoted_cells_may_hold_anything_and_lines_are_counted() {
        let text = b"\xef\xbb\xbfa,b,c\r\n1,,\"x, \"\"y\"\"\nz\"\r\n\n2,\"\",\xe7\xb1\xb3\n3,,end";
        let (rows, broken) = read(text);
        assert_eq!(rows, [row(2, "1|x, \"y\"\nz"), row(5, "2|米"), row(6, "3|end")]);
        assert!(broken.is_empty());
    }

    #[test]
    fn a_broken_row_costs_no_other() {
        let text = b"a,b,c\n1,2\n1,\"never closed,3\n4,5,6\n7,8,9,10\n\xff,1,2\n11,12,13\n";
        let (rows, broken) = read(text);
        assert_eq!(rows, [row(4, "4|6"), row(7, "11|13")]);
        let cells = |found| RowProblem::Cells { found, expected: 3 };
        let told =
            [(2, cells(2)), (3, RowProblem::TooLong), (5, cells(4)), (6, RowProblem::NotUtf8)];
        assert_eq!(broken, told);
    }

    #[test]
    fn gb18030_is_read_by_line_and_a_wrong_sequence_costs_one_row() {
        // 蔬菜 in GBK; 𠮷 takes four bytes of GB18030, one of them a digit; 亅 ends in the byte of |
        let text = b"a,b,c\n1,2,\xca\xdf\xb2\xcb\n2,,\x95\x34\xb2\x35\n3,\xff\xff,x\n4,,\x81\x7c\n5,,\"\xca\xdf\n\xb2\xcb\"\n6,,\xca\n7,,end\n";
        let (rows, broken) = read_as(text, Encoding::Gb18030);
        assert_eq!(
            rows,
            [row(2, "1|蔬菜"), row(3, "2|𠮷"), row(5, "4|亅"), row(6, "5|蔬\n菜"), row(9, "7|end")]
        );
        assert_eq!(broken, [(4, RowProblem::NotGb18030), (8, RowProblem::NotGb18030)]);
        // the same bytes are no UTF-8, and the row says what to do
        let (_, broken) = read(text);
        assert_eq!(broken[0], (2, RowProblem::NotUtf8));
        assert!(broken[0].1.to_string().contains("encoding = \"gb18030\""));
    }

    #[test]
    fn a_line_beyond_all_measure_is_told_and_memory_stays_bounded() {
        let mut text = b"a,b,c\n1,\"open,3\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3 * ROW_MAX));
        text.extend_from_slice(b"\n4,5,6\n");
        let (rows, broken) = read(&text);
        assert_eq!(rows, [row(4, "4|6")]);
        assert_eq!(broken, [(2, RowProblem::TooLong), (3, RowProblem::TooLong)]);
    }

    #[test]
    fn a_file_without_names_or_with_one_twice_is_refused() {
        let open_text = |text: &'static [u8]| {
            open(lines(text, Encoding::Utf8), &["a"], b',').err().unwrap().to_string()
        };
        assert!(open_text(b"").starts_with("t.csv: has no first row of names"));
        assert_eq!(open_text(b"a,b,a\n"), "t.csv: names column a twice");
    }
}
