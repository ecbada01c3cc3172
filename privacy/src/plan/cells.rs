//! The cells of a question, from public domains alone.
//!
//! Which cells exist, in what order and with what labels never depends on data: a cell exists when
//! public facts do not rule out that a row lands in it and passes the filter, and some participant
//! may carry such rows. A cell that one or two participants could carry is refused, because the
//! members' noise does not hide a brand's total.
//!
//! Carriers are counted for every combination of text values the question reads, not for their
//! union: `FUEL or (GROCERY and an impossible amount)` must not pass as a question about grocers.
//! What this cannot prevent is one released total less another: brands accept that with the
//! contract, and members are protected by the noise in either case.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::Encode;

use crate::civil::{Bucket, CivilDate};
use crate::contract::{CARRIERS_MIN, Domain, OTHER, Table};
use crate::ids::ParticipantId;
use crate::sql::{BoundQuery, Fact, Refusal, RefusalCode, World};

/// Most cells of a question.
pub const CELLS_MAX: usize = 10_000;
/// Most combinations of public values looked at while cells are enumerated.
const COMBINATIONS_MAX: usize = 100_000;

/// One cell: an index into each key's points and the labels to show.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct Cell {
    #[n(0)]
    pub(crate) code: u64,
    #[n(1)]
    pub(crate) labels: Vec<String>,
}

impl Cell {
    /// Labels, one per group key, in the order of the question's keys.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }
}

/// One public point of a key or of a text column the filter reads.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) fact: Fact,
    pub(crate) label: String,
}

/// The points of one group key, in order.
pub(crate) fn key_points(table: &Table, column: u16, bucket: Option<Bucket>) -> Vec<Point> {
    match (table.columns().get(usize::from(column)).map(|c| c.domain()), bucket) {
        (Some(Domain::Text { .. }), None) => text_points(table, column),
        (Some(Domain::Date { first, last }), Some(bucket)) => date_points(*first, *last, bucket),
        _ => Vec::new(),
    }
}

fn text_points(table: &Table, column: u16) -> Vec<Point> {
    let Some(Domain::Text { values, .. }) =
        table.columns().get(usize::from(column)).map(|c| c.domain())
    else {
        return Vec::new();
    };
    let labels = values.iter().map(|value| value.text().to_owned());
    (0u16..)
        .zip(labels.chain(core::iter::once(OTHER.to_owned())))
        .map(|(index, label)| Point { fact: Fact::Text(index), label })
        .collect()
}

fn date_points(first: CivilDate, last: CivilDate, bucket: Bucket) -> Vec<Point> {
    let mut points = Vec::new();
    let mut start = first.bucket_start(bucket);
    while start <= last && points.len() <= CELLS_MAX {
        let (Some(end), Some(next)) = (start.bucket_end(bucket), start.next_bucket_start(bucket))
        else {
            break;
        };
        let fact = Fact::Days(start.max(first), end.min(last));
        points.push(Point { fact, label: start.bucket_label(bucket) });
        start = next;
    }
    points
}

/// Brands that may carry a text value (the index past the values is `OTHER`).
pub(crate) fn carriers(table: &Table, column: u16, value: u16) -> BTreeSet<ParticipantId> {
    match table.columns().get(usize::from(column)).map(|c| c.domain()) {
        Some(Domain::Text { values, other_carriers }) => values
            .get(usize::from(value))
            .map_or_else(|| other_carriers.clone(), |value| value.carriers().clone()),
        _ => BTreeSet::new(),
    }
}

/// Enumerates the cells of a question for these participants.
pub(crate) fn enumerate(
    query: &BoundQuery,
    table: &Table,
    participants: &[ParticipantId],
) -> Result<Vec<Cell>, Refusal> {
    let axes = axes(query, table);
    let combinations = axes
        .iter()
        .try_fold(1usize, |product, axis| product.checked_mul(axis.points.len()))
        .filter(|product| *product <= COMBINATIONS_MAX)
        .ok_or_else(too_many)?;
    let mut cells = BTreeMap::new();
    for number in 0..combinations {
        let chosen = choose(&axes, number);
        let world: World =
            axes.iter().zip(&chosen).map(|(axis, point)| (axis.column, point.fact)).collect();
        if query.filter.as_ref().and_then(|filter| filter.decided(&world)) == Some(false) {
            continue;
        }
        let mut able: BTreeSet<ParticipantId> = participants.iter().copied().collect();
        for (column, fact) in &world {
            if let Fact::Text(value) = fact {
                able = able.intersection(&carriers(table, *column, *value)).copied().collect();
            }
        }
        if able.is_empty() {
            continue;
        }
        if able.len() < CARRIERS_MIN {
            return Err(too_few(table, &axes, &chosen, able.len()));
        }
        let keys = query.keys.len();
        let code = axes.iter().zip(&chosen).take(keys).try_fold(0u64, |code, (axis, point)| {
            let radix = u64::try_from(axis.points.len()).ok()?;
            let at = axis.points.iter().position(|p| p.fact == point.fact)?;
            code.checked_mul(radix)?.checked_add(u64::try_from(at).ok()?)
        });
        let labels = chosen.iter().take(keys).map(|point| point.label.clone()).collect();
        cells.insert(code.ok_or_else(too_many)?, labels);
        if cells.len() > CELLS_MAX {
            return Err(too_many());
        }
    }
    if cells.is_empty() {
        return Err(Refusal::new(
            RefusalCode::OutsideDomain,
            ["no row can pass this condition", "没有任何数据行可能满足该条件"],
            ["widen the WHERE condition", "请放宽 WHERE 条件"],
        ));
    }
    Ok(cells.into_iter().map(|(code, labels)| Cell { code, labels }).collect())
}

struct Axis {
    column: u16,
    points: Vec<Point>,
}

/// The keys in order, then every other text column the filter reads.
fn axes(query: &BoundQuery, table: &Table) -> Vec<Axis> {
    let mut axes: Vec<Axis> = query
        .keys
        .iter()
        .map(|key| Axis { column: key.column, points: key_points(table, key.column, key.bucket) })
        .collect();
    let mut seen: BTreeSet<u16> = query.keys.iter().map(|key| key.column).collect();
    if let Some(filter) = &query.filter {
        filter.columns(&mut |column| {
            let points = text_points(table, column);
            if !points.is_empty() && seen.insert(column) {
                axes.push(Axis { column, points });
            }
        });
    }
    axes
}

/// The `number`-th combination: the last axis turns fastest.
fn choose(axes: &[Axis], number: usize) -> Vec<Point> {
    let mut rest = number;
    let mut chosen: Vec<Point> = Vec::with_capacity(axes.len());
    for axis in axes.iter().rev() {
        let at = rest.checked_rem(axis.points.len()).unwrap_or(0);
        rest = rest.checked_div(axis.points.len()).unwrap_or(0);
        chosen.extend(axis.points.get(at).cloned());
    }
    chosen.reverse();
    chosen
}

fn too_many() -> Refusal {
    Refusal::new(
        RefusalCode::TooManyCells,
        ["the question has too many cells", "问题的单元格过多"],
        [
            format!("group by fewer or coarser keys: at most {CELLS_MAX} cells"),
            format!("请减少分组键或使用更粗的粒度：最多 {CELLS_MAX} 个单元格"),
        ],
    )
}

fn too_few(table: &Table, axes: &[Axis], chosen: &[Point], able: usize) -> Refusal {
    let named: Vec<String> = axes
        .iter()
        .zip(chosen)
        .filter(|(_, point)| matches!(point.fact, Fact::Text(_)))
        .filter_map(|(axis, point)| {
            let column = table.columns().get(usize::from(axis.column))?;
            Some(format!("{} = '{}'", column.name(), point.label))
        })
        .collect();
    let named = named.join(" AND ");
    Refusal::new(
        RefusalCode::TooFewCarriers,
        [
            format!("only {able} participant(s) may carry rows with {named}"),
            format!("仅有 {able} 个参与方可能持有 {named} 的数据"),
        ],
        [
            format!(
                "a joint cell needs {CARRIERS_MIN}: leave the value out with WHERE, or ask that brand locally"
            ),
            format!(
                "联合单元格至少需要 {CARRIERS_MIN} 方：请用 WHERE 排除该值，或向该品牌单独提问"
            ),
        ],
    )
}
