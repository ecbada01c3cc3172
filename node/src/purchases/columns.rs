//! Columns of a batch brought to one type each, and what can be wrong with a file or a cell.
//!
//! A cell that is there but cannot be brought to the type is told apart from a missing one, so that
//! the report can say which it is.

use datafusion::arrow::array::{
    Array, ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::parquet::errors::ParquetError;

use jiff::tz::TimeZone;
use minicbor::{Decode, Encode};

use super::fen::{Fen, InvalidAmount, Unit};
use super::times::{Moment, TimeFormat};

/// Why a file as a whole cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// The system does not give it.
    #[error("{file}: cannot be read")]
    Unreadable {
        /// Its name.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The end of its name tells no format.
    #[error("{file}: is .parquet, .csv, .csv.gz, .jsonl or .jsonl.gz by the end of its name")]
    UnknownFormat {
        /// Its name.
        file: String,
    },
    /// CSV without names.
    #[error(
        "{file}: has no first row of names, or it is not in the encoding that the mapping says"
    )]
    NoHeader {
        /// Its name.
        file: String,
    },
    /// CSV that names a column twice.
    #[error("{file}: names column {column} twice")]
    TwiceNamed {
        /// Its name.
        file: String,
        /// Which.
        column: String,
    },
    /// None of the names that the mapping has.
    #[error("{folder}: has none of the files {names} that the mapping names")]
    NoFile {
        /// The folder.
        folder: String,
        /// Names, between commas.
        names: String,
    },
    /// The mapping does not say how such a file is read.
    #[error("the mapping {mapping} has no [{part}]: add it, as docs/import.md describes")]
    NotMapped {
        /// Its name.
        mapping: String,
        /// `members` or `purchases`.
        part: &'static str,
    },
    /// Not Parquet, cut short, or compressed in a way that is not built in.
    #[error("{file}: not a whole Parquet file (Snappy or no compression)")]
    NotParquet {
        /// Its name.
        file: String,
        /// Where the reader stopped.
        source: ParquetError,
    },
    /// A part of it cannot be decoded.
    #[error("{file}: damaged after row {after_row}; write the file anew")]
    Damaged {
        /// Its name.
        file: String,
        /// Rows read before.
        after_row: u64,
        /// Where the reader stopped.
        source: ArrowError,
    },
    /// A column is not there.
    #[error("{file}: has no column {column} ({accepted})")]
    MissingColumn {
        /// Its name.
        file: String,
        /// Which.
        column: String,
        /// What it should hold.
        accepted: &'static str,
    },
    /// A column is of a type that does not say what is meant.
    #[error("{file}, column {column}: is {found}, should be {accepted}")]
    WrongType {
        /// Its name.
        file: String,
        /// Which.
        column: String,
        /// Its type.
        found: DataType,
        /// What it should hold.
        accepted: &'static str,
    },
}

/// What is wrong with one cell. The cell itself is not repeated: it may be a member's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error, Encode, Decode)]
#[cbor(index_only)]
pub enum CellProblem {
    /// Empty.
    #[error("is empty")]
    #[n(0)]
    Missing,
    /// Not a text.
    #[error("is not a text")]
    #[n(1)]
    NotText,
    /// Not a whole number, or too large.
    #[error("is not a whole number in range")]
    #[n(2)]
    NotWhole,
    /// Not a day.
    #[error("is not a date from 1970 to 2199, as in 2017-03-31 or 2017-03-31 18:05:00")]
    #[n(3)]
    NotADate,
    /// Not an amount.
    #[error(
        "is not an amount to the fen in the unit that the mapping states, up to 10 million yuan"
    )]
    #[n(4)]
    NotAnAmount,
    /// Before or after what can be.
    #[error("is a day before or after the days that the mapping allows, or later than tomorrow")]
    #[n(5)]
    ImpossibleDate,
    /// A value that the mapping does not explain.
    #[error("is none of the values that the mapping states")]
    #[n(6)]
    NotStated,
    /// Too long or with characters that do not belong.
    #[error("is too long, or has characters that do not belong in it")]
    #[n(7)]
    NotAnIdentifier,
    /// Not a date of birth.
    #[error("is not a date of birth, written as 2012-06-01 and not in the future")]
    #[n(20)]
    NotABirthDate,
}

/// What a column should hold, as errors say it.
pub(super) const TEXT: &str = "text, whole numbers or truth values";
pub(super) const WHOLE: &str = "whole numbers";
pub(super) const DATE: &str = "dates or timestamps";
pub(super) const AMOUNT: &str = "decimal numbers";

/// The column of a name.
pub(super) fn required<'a>(
    file: &str,
    batch: &'a RecordBatch,
    name: &str,
    accepted: &'static str,
) -> Result<&'a ArrayRef, FileProblem> {
    batch.column_by_name(name).ok_or_else(|| missing(file, name, accepted))
}

pub(super) fn missing(file: &str, name: &str, accepted: &'static str) -> FileProblem {
    FileProblem::MissingColumn { file: file.to_owned(), column: name.to_owned(), accepted }
}

fn wrong_type(file: &str, column: &str, found: &ArrayRef, accepted: &'static str) -> FileProblem {
    FileProblem::WrongType {
        file: file.to_owned(),
        column: column.to_owned(),
        found: found.data_type().clone(),
        accepted,
    }
}

/// The type of a column's values, also where they are in a dictionary.
fn value_type(of: &ArrayRef) -> &DataType {
    match of.data_type() {
        DataType::Dictionary(_, values) => values,
        other => other,
    }
}

const fn is_text(of: &DataType) -> bool {
    matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

const fn is_date(of: &DataType) -> bool {
    matches!(of, DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _))
}

/// A column of one type, beside the cells as they were.
pub(super) struct Column<T> {
    original: ArrayRef,
    values: T,
    problem: CellProblem,
}

impl<T: Array + Clone + 'static> Column<T> {
    fn cast(
        file: &str,
        name: &str,
        original: &ArrayRef,
        to: &DataType,
        accepted: &'static str,
        problem: CellProblem,
    ) -> Result<Self, FileProblem> {
        // cells that do not fit become null here and are told apart in `at`
        let wrong = || wrong_type(file, name, original, accepted);
        let values = cast(original, to).map_err(|_| wrong())?;
        let values = values.as_any().downcast_ref::<T>().ok_or_else(wrong)?.clone();
        Ok(Self { original: original.clone(), values, problem })
    }

    fn is_there(&self, row: usize) -> Result<bool, CellProblem> {
        match (self.original.is_null(row), self.values.is_null(row)) {
            (true, _) => Ok(false),
            (false, true) => Err(self.problem),
            (false, false) => Ok(true),
        }
    }
}

/// Text, or whole numbers and truth values as text.
pub(super) type Text = Column<StringArray>;

impl Text {
    pub(super) fn of(file: &str, name: &str, found: &ArrayRef) -> Result<Self, FileProblem> {
        let of = value_type(found);
        if !(is_text(of) || of.is_integer() || is_date(of) || *of == DataType::Boolean) {
            return Err(wrong_type(file, name, found, TEXT));
        }
        Self::cast(file, name, found, &DataType::Utf8, TEXT, CellProblem::NotText)
    }

    /// The cell without surrounding blanks; none when nothing is left.
    pub(super) fn at(&self, row: usize) -> Result<Option<&str>, CellProblem> {
        let there = self.is_there(row)?;
        Ok(there.then(|| self.values.value(row).trim()).filter(|text| !text.is_empty()))
    }
}

/// Whole numbers.
pub(super) enum Whole {
    Number(Column<Int64Array>),
    Text(Text),
}

impl Whole {
    pub(super) fn of(file: &str, name: &str, found: &ArrayRef) -> Result<Self, FileProblem> {
        match value_type(found) {
            of if is_text(of) => Text::of(file, name, found).map(Self::Text),
            // a float would be cut to a whole number in silence
            of if of.is_integer() => {
                let problem = CellProblem::NotWhole;
                Column::cast(file, name, found, &DataType::Int64, WHOLE, problem).map(Self::Number)
            }
            _ => Err(wrong_type(file, name, found, WHOLE)),
        }
    }

    pub(super) fn at(&self, row: usize) -> Result<i64, CellProblem> {
        match self {
            Self::Number(column) if column.is_there(row)? => Ok(column.values.value(row)),
            Self::Number(_) => Err(CellProblem::Missing),
            Self::Text(column) => {
                let text = column.at(row)?.ok_or(CellProblem::Missing)?;
                // an exporter's 2.0 is 2
                let text = match text.split_once('.') {
                    Some((whole, zeros)) if zeros.bytes().all(|digit| digit == b'0') => whole,
                    _ => text,
                };
                text.parse().map_err(|_| CellProblem::NotWhole)
            }
        }
    }
}

/// Moments.
pub(super) enum When {
    Day(Column<Date32Array>),
    /// By the brand's own clock.
    Local(Column<TimestampMicrosecondArray>),
    /// By the world's.
    Instant(Column<TimestampMicrosecondArray>),
    Text(Text),
}

impl When {
    pub(super) fn of(file: &str, name: &str, found: &ArrayRef) -> Result<Self, FileProblem> {
        let problem = CellProblem::NotADate;
        let microseconds = |zone| DataType::Timestamp(TimeUnit::Microsecond, zone);
        match value_type(found) {
            of if is_text(of) => Text::of(file, name, found).map(Self::Text),
            DataType::Date32 | DataType::Date64 => {
                Column::cast(file, name, found, &DataType::Date32, DATE, problem).map(Self::Day)
            }
            DataType::Timestamp(_, None) => {
                Column::cast(file, name, found, &microseconds(None), DATE, problem).map(Self::Local)
            }
            DataType::Timestamp(_, Some(zone)) => {
                let to = microseconds(Some(zone.clone()));
                Column::cast(file, name, found, &to, DATE, problem).map(Self::Instant)
            }
            _ => Err(wrong_type(file, name, found, DATE)),
        }
    }

    pub(super) fn at(
        &self,
        row: usize,
        format: &TimeFormat,
        zone: &TimeZone,
    ) -> Result<Moment, CellProblem> {
        let there = match self {
            Self::Day(column) => column.is_there(row)?,
            Self::Local(column) | Self::Instant(column) => column.is_there(row)?,
            Self::Text(column) => column.at(row)?.is_some(),
        };
        if !there {
            return Err(CellProblem::Missing);
        }
        let second = |column: &Column<TimestampMicrosecondArray>| {
            column.values.value(row).div_euclid(1_000_000)
        };
        let moment = match self {
            Self::Day(column) => Moment::of_day(column.values.value(row)),
            Self::Local(column) => Moment::of_local(second(column)),
            Self::Instant(column) => Moment::of_instant(second(column), zone),
            Self::Text(column) => Moment::of_text(column.values.value(row).trim(), format, zone),
        };
        moment.ok_or(CellProblem::NotADate)
    }
}

/// Amounts of money, however they are written.
pub(super) enum Money {
    Decimal(Column<Decimal128Array>, i8),
    Whole(Column<Int64Array>),
    Float(Column<Float64Array>),
    Text(Text),
}

impl Money {
    pub(super) fn of(file: &str, name: &str, found: &ArrayRef) -> Result<Self, FileProblem> {
        let problem = CellProblem::NotAnAmount;
        match value_type(found) {
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale)
            | DataType::Decimal256(_, scale) => {
                let to = DataType::Decimal128(38, *scale);
                Column::cast(file, name, found, &to, AMOUNT, problem)
                    .map(|column| Self::Decimal(column, *scale))
            }
            of if of.is_floating() => {
                Column::cast(file, name, found, &DataType::Float64, AMOUNT, problem)
                    .map(Self::Float)
            }
            of if of.is_integer() => {
                Column::cast(file, name, found, &DataType::Int64, AMOUNT, problem).map(Self::Whole)
            }
            of if is_text(of) => Text::of(file, name, found).map(Self::Text),
            _ => Err(wrong_type(file, name, found, AMOUNT)),
        }
    }

    pub(super) fn at(&self, row: usize, unit: Unit) -> Result<Option<Fen>, CellProblem> {
        let there = match self {
            Self::Decimal(column, _) => column.is_there(row)?,
            Self::Whole(column) => column.is_there(row)?,
            Self::Float(column) => column.is_there(row)?,
            Self::Text(column) => column.at(row)?.is_some(),
        };
        if !there {
            return Ok(None);
        }
        let amount = match self {
            Self::Decimal(column, scale) => {
                Fen::from_decimal(column.values.value(row), *scale, unit)
            }
            Self::Whole(column) => Fen::from_decimal(i128::from(column.values.value(row)), 0, unit),
            Self::Float(column) => Fen::from_float(column.values.value(row), unit),
            Self::Text(column) => Fen::from_text(column.values.value(row).trim(), unit),
        };
        amount.map(Some).map_err(|_: InvalidAmount| CellProblem::NotAnAmount)
    }
}
