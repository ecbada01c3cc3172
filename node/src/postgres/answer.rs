//! A table as it is sent: columns with their types, rows of values.

use std::sync::Arc;

use futures::stream;
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse};
use pgwire::error::PgWireResult;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Yes or no.
    Is,
    /// A whole number.
    Whole,
    /// A number.
    Float,
    /// A text.
    Text,
}

impl Kind {
    const fn of(self) -> (Type, i16) {
        match self {
            Self::Is => (Type::BOOL, 1),
            Self::Whole => (Type::INT8, 8),
            Self::Float => (Type::FLOAT8, 8),
            Self::Text => (Type::TEXT, -1),
        }
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

impl Column {
    /// A column of texts.
    pub fn text(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: Kind::Text }
    }
}

/// A value.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Datum {
    /// None.
    #[default]
    Null,
    /// Yes or no.
    Is(bool),
    /// A whole number.
    Whole(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, each with as many values.
    pub rows: Vec<Vec<Datum>>,
}

/// The columns as they are described, in the formats that are asked for.
#[must_use]
pub fn fields(columns: &[Column], format: &Format) -> Vec<FieldInfo> {
    columns
        .iter()
        .enumerate()
        .map(|(place, column)| {
            let (of, size) = column.kind.of();
            // a client may name fewer formats than there are columns
            let format = match format {
                Format::UnifiedText => FieldFormat::Text,
                Format::UnifiedBinary => FieldFormat::Binary,
                Format::Individual(codes) => {
                    FieldFormat::from(codes.get(place).copied().unwrap_or(0))
                }
            };
            FieldInfo::new(column.name.clone(), None, None, of, format).with_type_size(size)
        })
        .collect()
}

impl Table {
    /// As it is sent.
    ///
    /// # Errors
    /// When a value cannot be written.
    pub fn response(self, format: &Format) -> PgWireResult<QueryResponse> {
        let fields = Arc::new(fields(&self.columns, format));
        let mut encoder = DataRowEncoder::new(Arc::clone(&fields));
        let mut rows = Vec::with_capacity(self.rows.len());
        for row in self.rows {
            for (field, (column, datum)) in fields.iter().zip(self.columns.iter().zip(row)) {
                match (column.kind, datum) {
                    (Kind::Is, Datum::Is(is)) => encoder.encode_field(&Some(is))?,
                    (Kind::Whole, Datum::Whole(number)) => encoder.encode_field(&Some(number))?,
                    (Kind::Float, Datum::Float(number)) => float(&mut encoder, number, field)?,
                    (Kind::Text, Datum::Text(text)) => encoder.encode_field(&Some(text))?,
                    (Kind::Is, _) => encoder.encode_field(&None::<bool>)?,
                    (Kind::Whole, _) => encoder.encode_field(&None::<i64>)?,
                    (Kind::Float, _) => encoder.encode_field(&None::<f64>)?,
                    (Kind::Text, _) => encoder.encode_field(&None::<String>)?,
                }
            }
            rows.push(Ok(encoder.take_row()));
        }
        Ok(QueryResponse::new(fields, stream::iter(rows)))
    }
}

/// A number as PostgreSQL writes it: 11, where the library writes 11.0.
fn float(encoder: &mut DataRowEncoder, number: f64, field: &FieldInfo) -> PgWireResult<()> {
    if field.format() == FieldFormat::Binary {
        return encoder.encode_field(&Some(number));
    }
    let options = field.format_options();
    let (text, of) = (number.to_string(), Type::TEXT);
    encoder.encode_field_with_type_and_format(&text, &of, FieldFormat::Text, options)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    fn table() -> Table {
        let column = |name: &str, kind| Column { name: name.into(), kind };
        Table {
            columns: vec![
                column("a", Kind::Is),
                column("b", Kind::Whole),
                column("c", Kind::Float),
                column("d", Kind::Text),
            ],
            rows: vec![
                vec![
                    Datum::Is(true),
                    Datum::Whole(-2),
                    Datum::Float(11.0),
                    Datum::Text("x".into()),
                ],
                vec![Datum::Null, Datum::Null, Datum::Null, Datum::Null],
            ],
        }
    }

    async fn sent(format: &Format) -> Vec<Vec<u8>> {
        let mut response = table().response(format).unwrap();
        let rows: Vec<_> = response.data_rows().collect().await;
        rows.into_iter().map(|row| row.unwrap().data.to_vec()).collect()
    }

    #[tokio::test]
    async fn values_are_written_in_the_format_that_was_asked_for() {
        let field = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
        let nulls = [0xff_u8; 16].to_vec();
        let text = [field(b"t"), field(b"-2"), field(b"11"), field(b"x")].concat();
        assert_eq!(sent(&Format::UnifiedText).await, [text, nulls.clone()]);
        let (whole, number) = ((-2_i64).to_be_bytes(), 11_f64.to_be_bytes());
        let binary = [field(&[1]), field(&whole), field(&number), field(b"x")].concat();
        assert_eq!(sent(&Format::UnifiedBinary).await, [binary, nulls.clone()]);
        // a client may name fewer formats than there are columns
        let mixed = [field(b"t"), field(&whole), field(b"11"), field(b"x")].concat();
        assert_eq!(sent(&Format::Individual(vec![0, 1])).await, [mixed, nulls]);
    }
}
