//! The cells of a question, from public domains alone.
//!
//! Which cells exist, in what order and with what labels never depends on data: a cell exists when
//! public facts do not rule out that a row lands in it and passes the filters, and some participant
//! may carry such rows. A cell that one or two participants could carry is refused, because the
//! members' noise does not hide a brand's total.
//!
//! Carriers are counted for every combination of values of the text columns that the question reads
//! anywhere (keys, filters, CASE, subqueries), not for their union: `FUEL or (GROCERY and an
//! impossible amount)` must not pass as a question about grocers, nor `sum(case when FUEL ..)`.
//! What this cannot prevent is one released total less another: brands accept that with the
//! contract, and members are protected by the noise in either case.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::Encode;

use crate::civil::{Bucket, CivilDate};
use crate::contract::{CARRIERS_MIN, Domain, OTHER, Table};
use crate::ids::ParticipantId;
use crate::sql::expr::Range;
use crate::sql::relation::{Base, Tables, World, weight_in};
use crate::sql::{BoundQuery, Key, Refusal, RefusalCode};

/// Most cells of a question.
pub const CELLS_MAX: usize = 10_000;
/// Most combinations of public values looked at while cells are enumerated.
const COMBINATIONS_MAX: usize = 100_000;
/// Most steps over all combinations: what is looked at of each, times how many there are. A node plans between two
/// messages, so that this is a small part of a second.
const WORK_MAX: u64 = 5_000_000;
/// Most cells found, repeats counted, while combinations are looked at.
const FOUND_MAX: usize = 1_000_000;

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

/// Brands that may carry a text value (the index past the values is `OTHER`).
pub(crate) fn carriers(table: &Table, column: u16, value: u16) -> BTreeSet<ParticipantId> {
    match table.columns().get(usize::from(column)).map(|c| c.domain()) {
        Some(Domain::Text { values, other_carriers }) => values
            .get(usize::from(value))
            .map_or_else(|| other_carriers.clone(), |value| value.carriers().clone()),
        _ => BTreeSet::new(),
    }
}

/// Enumerates the cells of a question for these participants, each of which `least` of them may
/// carry.
pub(crate) fn enumerate(
    query: &BoundQuery,
    tables: Tables<'_>,
    participants: &[ParticipantId],
    least: usize,
) -> Result<Vec<Cell>, Refusal> {
    let axes = axes(query, tables);
    let combinations = axes
        .values()
        .try_fold(1usize, |product, axis| product.checked_mul(axis.points.len()))
        .filter(|product| *product <= COMBINATIONS_MAX)
        .ok_or_else(too_many)?;
    // the carriers of each text, of all who are asked
    let carried = axes.values().filter(|axis| axis.texts).count();
    let carried = carried.saturating_mul(participants.len());
    check_work(query, tables, axes.len().saturating_add(carried), combinations)?;
    let mut codes = BTreeSet::new();
    let mut found = 0usize;
    for number in 0..combinations {
        let world = choose(&axes, number);
        let passes = query
            .filter
            .as_ref()
            .and_then(|filter| query.from.passes(filter, tables, &world))
            .unwrap_or(true);
        if !passes || !query.from.possible(tables, &world) {
            continue;
        }
        let mut able: BTreeSet<ParticipantId> = participants.iter().copied().collect();
        for (base, axis) in &axes {
            if let (Some(value), Some(table)) = (axis.text(world.get(base)), axis.table(tables)) {
                able = able.intersection(&carriers(table, base.1, value)).copied().collect();
            }
        }
        if able.is_empty() {
            continue;
        }
        if able.len() < least {
            return Err(too_few(tables, &axes, &world, able.len()));
        }
        let here = cell_codes(query, tables, &world)?;
        found = found.saturating_add(here.len());
        codes.extend(here);
        if codes.len() > CELLS_MAX || found > FOUND_MAX {
            return Err(too_many());
        }
    }
    if codes.is_empty() {
        return Err(Refusal::new(
            RefusalCode::OutsideDomain,
            ["no row can pass this condition", "没有任何数据行可能满足该条件"],
            ["widen the WHERE condition", "请放宽 WHERE 条件"],
        ));
    }
    Ok(codes.into_iter().map(|code| Cell { code, labels: labels(&query.keys, code) }).collect())
}

fn check_work(
    query: &BoundQuery,
    tables: Tables<'_>,
    beside: usize,
    combinations: usize,
) -> Result<(), Refusal> {
    let weights = query.from.weights(tables);
    let of = |column| weight_in(&weights, column);
    let filter = query.filter.as_ref().map_or(0, |filter| filter.weight(&of));
    let keys = query.keys.iter().map(|key| key.expr.weight(&of)).fold(0, u64::saturating_add);
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let each = [query.from.work(tables), filter, keys, wide(beside)].into_iter();
    let work = each.fold(0, u64::saturating_add).saturating_mul(wide(combinations));
    if work <= WORK_MAX {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::TooComplex,
        [
            format!(
                "to plan this, {combinations} combinations of public values are looked at in {work} steps; at most {WORK_MAX}"
            ),
            format!(
                "规划该问题需以 {work} 步检查 {combinations} 种公开取值组合；上限为 {WORK_MAX} 步"
            ),
        ],
        [
            "use fewer conditions, or fewer columns with many values",
            "请减少条件，或减少取值很多的列",
        ],
    ))
}

/// The codes of all cells in which a row of this world may land: the keys' indices as digits, the
/// last key turning fastest.
fn cell_codes(query: &BoundQuery, tables: Tables<'_>, world: &World) -> Result<Vec<u64>, Refusal> {
    let mut codes = vec![0u64];
    for key in &query.keys {
        let last = i128::try_from(key.labels.len()).unwrap_or(0).saturating_sub(1);
        let base = i128::from(key.base);
        let (from, to) =
            query.from.range(&key.expr, tables, world).integers().unwrap_or((base, base));
        let from = from.saturating_sub(base).clamp(0, last);
        let to = to.saturating_sub(base).clamp(0, last);
        let radix = u64::try_from(key.labels.len()).unwrap_or(u64::MAX);
        let mut next = Vec::new();
        for code in &codes {
            for digit in from..=to {
                let digit = u64::try_from(digit).ok();
                let code = code.checked_mul(radix).zip(digit).and_then(|(c, d)| c.checked_add(d));
                next.push(code.ok_or_else(too_many)?);
            }
            if next.len() > CELLS_MAX {
                return Err(too_many());
            }
        }
        codes = next;
    }
    Ok(codes)
}

fn labels(keys: &[Key], code: u64) -> Vec<String> {
    let mut rest = code;
    let mut labels: Vec<String> = keys
        .iter()
        .rev()
        .map(|key| {
            let radix = u64::try_from(key.labels.len()).unwrap_or(u64::MAX);
            let digit = rest.checked_rem(radix).unwrap_or(0);
            rest = rest.checked_div(radix).unwrap_or(0);
            let label = usize::try_from(digit).ok().and_then(|digit| key.labels.get(digit));
            label.cloned().unwrap_or_default()
        })
        .collect();
    labels.reverse();
    labels
}

/// The public values of one base column.
struct Axis {
    table: u16,
    points: Vec<Range>,
    /// Whether its points are texts, which have carriers.
    texts: bool,
}

impl Axis {
    fn table<'t>(&self, tables: Tables<'t>) -> Option<&'t Table> {
        tables.get(usize::from(self.table))
    }

    fn text(&self, range: Option<&Range>) -> Option<u16> {
        match range {
            Some(Range::Integers(value, _)) if self.texts => u16::try_from(*value).ok(),
            _ => None,
        }
    }
}

/// Every text column that is read anywhere, and every day column a key is made of, in months.
fn axes(query: &BoundQuery, tables: Tables<'_>) -> BTreeMap<Base, Axis> {
    let mut axes = BTreeMap::new();
    let mut add = |table: u16, base: Base, days: bool| {
        let column = tables.get(usize::from(table));
        let domain = column.and_then(|table| table.columns().get(usize::from(base.1)));
        let (points, texts) = match domain.map(|column| column.domain()) {
            Some(Domain::Text { values, .. }) => {
                let indices = 0..=i128::try_from(values.len()).unwrap_or(0);
                (indices.map(Range::only).collect(), true)
            }
            Some(Domain::Date { first, last }) if days => (months(*first, *last), false),
            _ => return,
        };
        axes.entry(base).or_insert(Axis { table, points, texts });
    };
    query.columns(&mut |column| {
        query.from.bases_of(column, tables, &mut |table, base| add(table, base, false));
    });
    query.from.inner_bases(tables, &mut |table, base| add(table, base, false));
    for key in &query.keys {
        key.expr.columns(&mut |column| {
            query.from.bases_of(column, tables, &mut |table, base| add(table, base, true));
        });
    }
    axes
}

fn months(first: CivilDate, last: CivilDate) -> Vec<Range> {
    let mut months = Vec::new();
    let mut start = first.bucket_start(Bucket::Month);
    while start <= last && months.len() <= CELLS_MAX {
        let (Some(end), Some(next)) =
            (start.bucket_end(Bucket::Month), start.next_bucket_start(Bucket::Month))
        else {
            break;
        };
        months.push(Range::Days(start.max(first), end.min(last)));
        start = next;
    }
    months
}

/// The `number`-th combination: the last axis turns fastest.
fn choose(axes: &BTreeMap<Base, Axis>, number: usize) -> World {
    let mut rest = number;
    let mut world = World::new();
    for (base, axis) in axes.iter().rev() {
        let at = rest.checked_rem(axis.points.len()).unwrap_or(0);
        rest = rest.checked_div(axis.points.len()).unwrap_or(0);
        if let Some(point) = axis.points.get(at) {
            world.insert(*base, *point);
        }
    }
    world
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

fn too_few(tables: Tables<'_>, axes: &BTreeMap<Base, Axis>, world: &World, able: usize) -> Refusal {
    let named: Vec<String> = axes
        .iter()
        .filter_map(|(base, axis)| {
            let value = axis.text(world.get(base))?;
            let column = axis.table(tables)?.columns().get(usize::from(base.1))?;
            let Domain::Text { values, .. } = column.domain() else { return None };
            let text = values.get(usize::from(value)).map_or(OTHER, |value| value.text());
            Some(format!("{} = '{text}'", column.name()))
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
