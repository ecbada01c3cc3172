//! A table that is there already, as the engine reads it.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::error::ArrowError;

use super::super::answer::{Datum, Kind, Table};

/// The rows of a table.
///
/// # Errors
/// When it has no columns.
pub fn batch(table: &Table) -> Result<RecordBatch, ArrowError> {
    let fields = table.columns.iter().map(|column| {
        let of = match column.kind {
            Kind::Is => DataType::Boolean,
            Kind::Whole => DataType::Int64,
            Kind::Float => DataType::Float64,
            Kind::Text => DataType::Utf8,
        };
        Field::new(column.name.clone(), of, true)
    });
    let columns = table.columns.iter().enumerate().map(|(place, column)| {
        let cells = table.rows.iter().map(|row| row.get(place));
        let array: ArrayRef = match column.kind {
            Kind::Is => Arc::new(BooleanArray::from_iter(cells.map(|cell| match cell {
                Some(Datum::Is(is)) => Some(*is),
                _ => None,
            }))),
            Kind::Whole => Arc::new(Int64Array::from_iter(cells.map(|cell| match cell {
                Some(Datum::Whole(number)) => Some(*number),
                _ => None,
            }))),
            Kind::Float => Arc::new(Float64Array::from_iter(cells.map(|cell| match cell {
                Some(Datum::Float(number)) => Some(*number),
                _ => None,
            }))),
            Kind::Text => Arc::new(StringArray::from_iter(cells.map(|cell| match cell {
                Some(Datum::Text(text)) => Some(text.as_str()),
                _ => None,
            }))),
        };
        array
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.collect())
}
