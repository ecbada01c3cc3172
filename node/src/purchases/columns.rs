//! Columns of a batch brought to one type each, and what can be wrong with a file or a cell.
//!
//! A cell that is there but cannot be brought to the type is told apart from a missing one, so that
//! the report can say which it is.

use datafusion::arrow::array::{
    Array, ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::parquet::errors::ParquetError;

use super::fen::{Fen, InvalidAmount};

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
        column: &'static str,
        /// What it should hold.
        accepted: &'static str,
    },
    /// A column is of a type that does not say what is meant.
    #[error("{file}, column {column}: is {found}, should be {accepted}")]
    WrongType {
        /// Its name.
        file: String,
        /// Which.
        column: &'static str,
        /// Its type.
        found: DataType,
        /// What it should hold.
        accepted: &'static str,
    },
}

/// What is wrong with one cell. The cell itself is not repeated: it may be a member's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum CellProblem {
    /// Empty.
    #[error("is empty")]
    Missing,
    /// Not a text.
    #[error("is not a text")]
    NotText,
    /// Not a whole number, or too large.
    #[error("is not a whole number in range")]
    NotWhole,
    /// Not a day.
    #[error("is not a date from 1970 to 2199, as in 2017-03-31 or 2017-03-31 18:05:00")]
    NotADate,
    /// Not an amount.
    #[error("is not an amount in yuan with at most two decimal places, up to 10 million")]
    NotAnAmount,
    /// Too long or with characters that do not belong.
    #[error("is too long, or has characters that do not belong in it")]
    NotAnIdentifier,
}

/// What a column should hold, as errors say it.
pub(super) const TEXT: &str = "text or whole numbers";
pub(super) const WHOLE: &str = "whole numbers";
pub(super) const DATE: &str = "dates or timestamps";
pub(super) const AMOUNT: &str = "decimal numbers of yuan";

fn column<'a>(
    file: &str,
    batch: &'a RecordBatch,
    name: &'static str,
    accepted: &'static str,
    fits: impl Fn(&DataType) -> bool,
) -> Result<&'a ArrayRef, FileProblem> {
    let found = batch.column_by_name(name).ok_or_else(|| FileProblem::MissingColumn {
        file: file.to_owned(),
        column: name,
        accepted,
    })?;
    let value_type = match found.data_type() {
        DataType::Dictionary(_, values) => values,
        other => other,
    };
    if fits(value_type) { Ok(found) } else { Err(wrong_type(file, name, found, accepted)) }
}

fn wrong_type(
    file: &str,
    column: &'static str,
    found: &ArrayRef,
    accepted: &'static str,
) -> FileProblem {
    FileProblem::WrongType {
        file: file.to_owned(),
        column,
        found: found.data_type().clone(),
        accepted,
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
        name: &'static str,
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

/// Text, or whole numbers as text.
pub(super) type Text = Column<StringArray>;
/// Whole numbers.
pub(super) type Whole = Column<Int64Array>;
/// Days since 1970-01-01.
pub(super) type Day = Column<Date32Array>;

impl Text {
    pub(super) fn of(
        file: &str,
        batch: &RecordBatch,
        name: &'static str,
    ) -> Result<Self, FileProblem> {
        let fits = |of: &DataType| is_text(of) || of.is_integer() || is_date(of);
        let found = column(file, batch, name, TEXT, fits)?;
        Self::cast(file, name, found, &DataType::Utf8, TEXT, CellProblem::NotText)
    }

    /// The cell without surrounding blanks; none when nothing is left.
    pub(super) fn at(&self, row: usize) -> Result<Option<&str>, CellProblem> {
        let there = self.is_there(row)?;
        Ok(there.then(|| self.values.value(row).trim()).filter(|text| !text.is_empty()))
    }
}

impl Whole {
    pub(super) fn of(
        file: &str,
        batch: &RecordBatch,
        name: &'static str,
    ) -> Result<Self, FileProblem> {
        // a float would be cut to a whole number in silence
        let fits = |of: &DataType| is_text(of) || of.is_integer();
        let found = column(file, batch, name, WHOLE, fits)?;
        Self::cast(file, name, found, &DataType::Int64, WHOLE, CellProblem::NotWhole)
    }

    pub(super) fn at(&self, row: usize) -> Result<i64, CellProblem> {
        if self.is_there(row)? { Ok(self.values.value(row)) } else { Err(CellProblem::Missing) }
    }
}

impl Day {
    /// Days from 1970-01-01 to 2199-12-31.
    const MAX: i32 = 84_005;

    pub(super) fn of(
        file: &str,
        batch: &RecordBatch,
        name: &'static str,
    ) -> Result<Self, FileProblem> {
        let found = column(file, batch, name, DATE, |of| is_text(of) || is_date(of))?;
        Self::cast(file, name, found, &DataType::Date32, DATE, CellProblem::NotADate)
    }

    pub(super) fn at(&self, row: usize) -> Result<i32, CellProblem> {
        if !self.is_there(row)? {
            return Err(CellProblem::Missing);
        }
        let day = self.values.value(row);
        if (0..=Self::MAX).contains(&day) { Ok(day) } else { Err(CellProblem::NotADate) }
    }
}

/// Amounts of money in whatever form the file has them.
pub(super) enum Money {
    Decimal(Column<Decimal128Array>, i8),
    Whole(Whole),
    Float(Column<Float64Array>),
    Text(Text),
}

impl Money {
    pub(super) fn of(
        file: &str,
        batch: &RecordBatch,
        name: &'static str,
    ) -> Result<Self, FileProblem> {
        let fits =
            |of: &DataType| is_text(of) || of.is_integer() || of.is_floating() || of.is_decimal();
        let found = column(file, batch, name, AMOUNT, fits)?;
        let problem = CellProblem::NotAnAmount;
        match found.data_type() {
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
            of if of.is_integer() => Whole::of(file, batch, name).map(Self::Whole),
            _ => Text::of(file, batch, name).map(Self::Text),
        }
    }

    pub(super) fn at(&self, row: usize) -> Result<Fen, CellProblem> {
        let there = match self {
            Self::Decimal(column, _) => column.is_there(row)?,
            Self::Whole(column) => column.is_there(row)?,
            Self::Float(column) => column.is_there(row)?,
            Self::Text(column) => column.at(row)?.is_some(),
        };
        if !there {
            return Err(CellProblem::Missing);
        }
        let amount = match self {
            Self::Decimal(column, scale) => Fen::from_decimal(column.values.value(row), *scale),
            Self::Whole(column) => Fen::from_decimal(i128::from(column.values.value(row)), 0),
            Self::Float(column) => Fen::from_float(column.values.value(row)),
            Self::Text(column) => Fen::from_text(column.values.value(row).trim()),
        };
        amount.map_err(|_: InvalidAmount| CellProblem::NotAnAmount)
    }
}

/// Whether a column is in a schema.
pub(super) fn has(schema: &Schema, name: &str) -> bool {
    schema.column_with_name(name).is_some()
}
