//! Answers as tables, CSV, JSON, Parquet and charts, each with the whole privacy statement.
//!
//! The statement must not part from the figures: in CSV it stands in lines that begin with `#` before the
//! header (most readers take a comment character), in Parquet in the file's key-value metadata, in SVG in
//! `desc`, `metadata` and below the chart, in a table below it.

use std::str::FromStr;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::metadata::KeyValue;
use datafusion::parquet::file::properties::WriterProperties;

use crate::charts::{self, Interval, escaped};
use crate::service::{ReleaseRow, ReleaseView};

/// A form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Columns of text for people.
    Table,
    /// RFC 4180, after lines of comment.
    Csv,
    /// The answer as the API has it.
    Json,
    /// Apache Parquet.
    Parquet,
    /// A chart with error bars.
    Svg,
}

impl FromStr for Format {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "table" => Self::Table,
            "csv" => Self::Csv,
            "json" => Self::Json,
            "parquet" => Self::Parquet,
            "svg" => Self::Svg,
            _ => return Err("a format is table, csv, json, parquet or svg"),
        })
    }
}

/// An answer cannot be put into a form; the library's words, which quote no figure.
#[derive(Debug, thiserror::Error)]
#[error("the answer cannot be put into this form: {0}")]
pub struct Unrepresentable(String);

/// An answer in a form.
///
/// # Errors
/// When it cannot be represented.
pub fn bytes(release: &ReleaseView, format: Format) -> Result<Vec<u8>, Unrepresentable> {
    Ok(match format {
        Format::Table => table(release).into_bytes(),
        Format::Csv => csv(release).into_bytes(),
        Format::Json => {
            let text = serde_json::to_string(release).map_err(unrepresentable)?;
            (text + "\n").into_bytes()
        }
        Format::Parquet => parquet(release).map_err(unrepresentable)?,
        Format::Svg => svg(release).into_bytes(),
    })
}

fn unrepresentable(error: impl std::fmt::Display) -> Unrepresentable {
    Unrepresentable(error.to_string())
}

/// As many decimals as the interval is worth.
fn number(value: f64, row: &ReleaseRow, place: usize) -> String {
    if !value.is_finite() {
        return String::new();
    }
    let end = |ends: &[f64]| ends.get(place).copied().unwrap_or(value);
    let width = end(&row.high) - end(&row.low);
    let decimals = match width {
        wide if !wide.is_finite() || wide >= 20.0 => 0,
        wide if wide >= 2.0 => 1,
        wide if wide >= 0.2 => 2,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

/// The header, then a line a row: keys, then of each value itself, both ends, and of what use it is.
fn cells(release: &ReleaseView) -> Vec<Vec<String>> {
    let mut head = release.keys.clone();
    for value in &release.values {
        head.extend([
            value.clone(),
            format!("{value}_low"),
            format!("{value}_high"),
            format!("{value}_quality"),
        ]);
    }
    let rows = release.rows.iter().map(|row| {
        let mut cells = row.keys.clone();
        for (place, value) in row.values.iter().enumerate() {
            let end =
                |ends: &[f64]| ends.get(place).map_or(String::new(), |e| number(*e, row, place));
            cells.push(number(*value, row, place));
            cells.extend([end(&row.low), end(&row.high)]);
            cells.push(row.quality.get(place).cloned().unwrap_or_default());
        }
        cells
    });
    std::iter::once(head).chain(rows).collect()
}

fn table(release: &ReleaseView) -> String {
    let cells = cells(release);
    // looked for once: there may be a hundred thousand rows
    let mut widths: Vec<usize> = Vec::new();
    for row in &cells {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let width = |place: usize| widths.get(place).copied();
    let mut text = String::new();
    for row in &cells {
        let padded = row.iter().enumerate().map(|(place, cell)| {
            let missing = width(place).unwrap_or(0).saturating_sub(cell.chars().count());
            // keys to the left, figures to the right
            if place < release.keys.len() {
                format!("{cell}{}", " ".repeat(missing))
            } else {
                format!("{}{cell}", " ".repeat(missing))
            }
        });
        text += padded.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    let unusable = release.rows.iter().flat_map(|row| &row.quality).filter(|q| *q != "usable");
    let unusable = unusable.count();
    if unusable > 0 {
        text += &format!(
            "# {unusable} figures are noisy or insufficient: do not rely on them / {unusable} 个数值噪声过大，请勿依赖\n"
        );
    }
    for line in statement(release) {
        text += &format!("# {line}\n");
    }
    text
}

/// The statement, line by line: words, then the whole of it as JSON.
fn statement(release: &ReleaseView) -> Vec<String> {
    let mut lines = vec![
        format!(
            "release {} of {} ({})",
            release.hash,
            release.participants.join(", "),
            release.scope
        ),
        release.statement.en.clone(),
        release.statement.zh.clone(),
    ];
    lines.extend(release.privacy.iter().map(ToString::to_string));
    // one line each, whatever is in them
    lines.iter().map(|line| line.replace(['\r', '\n'], " ")).collect()
}

fn csv(release: &ReleaseView) -> String {
    let mut text = String::new();
    for line in statement(release) {
        text += &format!("# {line}\r\n");
    }
    let quoted = |cell: &String| {
        if cell.contains([',', '"', '\r', '\n']) || cell.starts_with(['#', ' ']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.clone()
        }
    };
    for row in cells(release) {
        text += &row.iter().map(quoted).collect::<Vec<_>>().join(",");
        text += "\r\n";
    }
    text
}

fn parquet(release: &ReleaseView) -> Result<Vec<u8>, datafusion::parquet::errors::ParquetError> {
    let (mut fields, mut arrays): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (place, key) in release.keys.iter().enumerate() {
        let texts = release.rows.iter().map(|row| row.keys.get(place).cloned());
        fields.push(Field::new(key, DataType::Utf8, true));
        arrays.push(Arc::new(texts.collect::<StringArray>()));
    }
    for (place, value) in release.values.iter().enumerate() {
        let of = |ends: fn(&ReleaseRow) -> &Vec<f64>| {
            let figures = release
                .rows
                .iter()
                .map(|row| ends(row).get(place).copied().filter(|figure| figure.is_finite()));
            Arc::new(figures.collect::<Float64Array>()) as ArrayRef
        };
        for (name, array) in [
            (value.clone(), of(|row| &row.values)),
            (format!("{value}_low"), of(|row| &row.low)),
            (format!("{value}_high"), of(|row| &row.high)),
        ] {
            fields.push(Field::new(name, DataType::Float64, true));
            arrays.push(array);
        }
        let quality = release.rows.iter().map(|row| row.quality.get(place).cloned());
        fields.push(Field::new(format!("{value}_quality"), DataType::Utf8, true));
        arrays.push(Arc::new(quality.collect::<StringArray>()));
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
    let privacy = serde_json::Value::Array(release.privacy.clone()).to_string();
    let entry = |key: &str, value: String| KeyValue::new(format!("coalition.{key}"), Some(value));
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![
        entry("release", release.hash.clone()),
        entry("query", release.query.clone()),
        entry("participants", release.participants.join(", ")),
        entry("statement.en", release.statement.en.clone()),
        entry("statement.zh", release.statement.zh.clone()),
        entry("privacy", privacy),
    ]));
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties.build()))?;
    writer.write(&batch)?;
    writer.into_inner()
}

/// Columns of a line of the statement, as wide as the charts.
const STATEMENT_COLUMNS: usize = 108;

/// One chart for each column under one another: a dot for the value, a bar for its interval.
fn svg(release: &ReleaseView) -> String {
    let mut body = String::new();
    let mut top: u32 = 0;
    for (place, value) in release.values.iter().enumerate() {
        let intervals = release.rows.iter().filter_map(|row| {
            let label = if row.keys.is_empty() { value.clone() } else { row.keys.join(" · ") };
            let middle = *row.values.get(place)?;
            Some(Interval {
                label,
                shown: number(middle, row, place),
                low: *row.low.get(place)?,
                value: middle,
                high: *row.high.get(place)?,
                faint: row.quality.get(place).is_some_and(|quality| quality != "usable"),
            })
        });
        let intervals: Vec<Interval> = intervals.collect();
        top += 30;
        body +=
            &format!("<text x=\"8\" y=\"{top}\" font-weight=\"bold\">{}</text>\n", escaped(value));
        top += 10;
        if let Some(chart) = charts::intervals(&intervals, &charts::plain) {
            body += &format!("<g transform=\"translate(0 {top})\">\n{}</g>\n", chart.body());
            top += chart.height();
        }
    }
    top += 10;
    for line in [&release.statement.en, &release.statement.zh] {
        for part in wrapped(line, STATEMENT_COLUMNS) {
            top += 15;
            body += &format!(
                "<text x=\"8\" y=\"{top}\" font-size=\"10\" fill=\"#4b5563\">{}</text>\n",
                escaped(&part)
            );
        }
    }
    let whole = statement(release).join("\n");
    let (width, height) = (charts::WIDTH, top + 14);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<title>{}</title>\n<desc>{}</desc>\n<metadata>{}</metadata>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n",
        escaped(&release.values.join(", ")),
        escaped(&format!(
            "Dots are noised values, bars their 95 % intervals; brown ones are not to be relied on. {}",
            release.statement.en
        )),
        escaped(&whole),
    )
}

/// Broken into lines of so many columns; a Chinese character takes two.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let (mut lines, mut line, mut width) = (Vec::new(), String::new(), 0);
    for character in text.chars() {
        let wide = if character.is_ascii() { 1 } else { 2 };
        if width + wide > columns && (character == ' ' || !character.is_ascii()) {
            lines.push(std::mem::take(&mut line));
            width = 0;
            if character == ' ' {
                continue;
            }
        }
        line.push(character);
        width += wide;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use datafusion::parquet::file::reader::{FileReader as _, SerializedFileReader};

    use super::*;
    use crate::service::Bilingual;

    fn release() -> ReleaseView {
        ReleaseView {
            query: "07".repeat(16),
            scope: "local".to_owned(),
            hash: "ab".repeat(32),
            keys: vec!["department".to_owned()],
            values: vec!["m".to_owned(), "share".to_owned()],
            rows: vec![
                ReleaseRow {
                    keys: vec!["CNTRL/STORE, \"SUP\" <&>".to_owned()],
                    values: vec![120.4, 0.515],
                    low: vec![100.0, 0.45],
                    high: vec![140.8, 0.58],
                    quality: vec!["usable".to_owned(), "usable".to_owned()],
                },
                ReleaseRow {
                    keys: vec!["OTHER".to_owned()],
                    values: vec![-3.0, 0.0],
                    low: vec![-23.0, f64::NEG_INFINITY],
                    high: vec![17.0, f64::INFINITY],
                    quality: vec!["noisy".to_owned(), "insufficient".to_owned()],
                },
            ],
            rows_in_all: 2,
            cost_pico_rho: 5,
            epsilon: 0.1,
            participants: vec!["grocer_one".to_owned()],
            statement: Bilingual {
                zh: "保护单位".to_owned(), en: "Unit of privacy".to_owned()
            },
            privacy: vec![serde_json::json!({ "unit": "one account", "rho": 5e-12 })],
        }
    }

    #[test]
    fn a_csv_begins_with_its_statement_and_quotes_what_needs_it() {
        let text = csv(&release());
        let lines: Vec<&str> = text.split("\r\n").collect();
        let comments = lines.iter().take_while(|line| line.starts_with("# ")).count();
        assert_eq!(comments, 4);
        assert!(text.contains("# Unit of privacy") && text.contains("\"unit\":\"one account\""));
        assert_eq!(
            lines[4],
            "department,m,m_low,m_high,m_quality,share,share_low,share_high,share_quality"
        );
        assert_eq!(
            lines[5],
            "\"CNTRL/STORE, \"\"SUP\"\" <&>\",120,100,141,usable,0.5150,0.4500,0.5800,usable"
        );
        // an interval without ends has none
        assert_eq!(lines[6], "OTHER,-3,-23,17,noisy,0,,,insufficient");
    }

    #[test]
    fn a_table_warns_of_what_is_not_to_be_relied_on() {
        let text = table(&release());
        assert!(text.contains("# 2 figures are noisy or insufficient"), "{text}");
        assert!(text.ends_with("}\n") && text.contains("# 保护单位"), "{text}");
    }

    #[test]
    fn parquet_holds_the_statement_in_its_metadata() {
        let bytes = parquet(&release()).unwrap();
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        let metadata = reader.metadata().file_metadata();
        let value = |key: &str| {
            let entries = metadata.key_value_metadata().unwrap().iter();
            entries.filter(|entry| entry.key == key).find_map(|entry| entry.value.clone())
        };
        assert_eq!(value("coalition.statement.zh").as_deref(), Some("保护单位"));
        assert!(value("coalition.privacy").unwrap().contains("one account"));
        assert_eq!((metadata.num_rows(), metadata.schema_descr().num_columns()), (2, 9));
    }

    #[test]
    fn a_chart_is_well_formed_and_has_a_bar_for_every_interval() {
        let text = svg(&release());
        assert_eq!(text.matches("<circle").count(), 3);
        assert!(text.contains("CNTRL/STORE, &quot;SUP&quot; &lt;&amp;&gt;"));
        assert!(text.contains("<metadata>") && text.contains("&quot;rho&quot;"));
        assert!(!text.contains("inf") && !text.contains("NaN"), "{text}");
        for tag in ["svg", "title", "desc", "metadata", "text"] {
            let opened = text.matches(&format!("<{tag}")).count();
            assert_eq!(opened, text.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        // nothing at all is drawn, and no panic, for an answer without rows
        let none = ReleaseView { rows: Vec::new(), ..release() };
        assert!(svg(&none).contains("</svg>") && csv(&none).contains("department,m"));
    }

    #[test]
    fn json_survives_ends_that_are_none() {
        let bytes = bytes(&release(), Format::Json).unwrap();
        let read: ReleaseView = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read, release());
    }
}
