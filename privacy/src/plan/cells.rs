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
//! A whole number that not every brand tells is counted too, wherever a question reads it: as a condition it says as
//! much as in a sum. Rows of brands that do not tell it are there, with 0, so that no cell is left out for it.
//! What this cannot prevent is one released total less another: brands accept that with the
//! contract, and members are protected by the noise in either case.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::Encode;

use crate::civil::{Bucket, CivilDate};
use crate::contract::{CARRIERS_MIN, Domain, OTHER, Table, VALUE_MAX_BYTES};
use crate::ids::ParticipantId;
use crate::sql::expr::Range;
use crate::sql::relation::{Base, Tables, World, weight_in};
use crate::sql::{BoundQuery, Key, Refusal, RefusalCode};

/// Most cells of a joint question.
pub const CELLS_MAX: usize = 100_000;
/// Most cells of a question that a brand answers alone: a pack brings back as many of every brand.
pub const CELLS_ALONE_MAX: usize = 10_000;
/// Most bytes of an answer as it is kept, which is one record: of its labels, and of each value with its interval.
pub const ANSWER_MAX_BYTES: usize = 12 * 1024 * 1024;
/// What a cell of a kept answer takes beside its labels and values, in bytes, at most.
const CELL_BYTES: usize = 8;
/// What a label takes beside its text.
const LABEL_BYTES: usize = 3;
/// What a value takes with both ends of its interval.
const VALUE_BYTES: usize = 28;
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

/// A whole number that not every brand tells.
struct Told<'t> {
    name: &'t str,
    carriers: &'t BTreeSet<ParticipantId>,
}

/// Those that a question reads anywhere, in a subquery too.
fn told<'t>(query: &BoundQuery, tables: Tables<'t>) -> BTreeMap<(u16, u16), Told<'t>> {
    let mut all = BTreeMap::new();
    let mut add = |table: u16, base: Base| {
        let of = tables.get(usize::from(table));
        let Some(column) = of.and_then(|of| of.columns().get(usize::from(base.1))) else { return };
        if let Domain::Integer { carriers: Some(carriers), .. } = column.domain() {
            all.insert((table, base.1), Told { name: column.name(), carriers });
        }
    };
    query.columns(&mut |column| query.from.bases_of(column, tables, &mut add));
    query.from.inner_bases(tables, &mut add);
    all
}

/// Most cells of a question of so many brands.
const fn most_cells(participants: usize) -> usize {
    if participants == 1 { CELLS_ALONE_MAX } else { CELLS_MAX }
}

/// Enumerates the cells of a question for these participants, each of which `least` of them may
/// carry, telling every whole number that is read.
pub(crate) fn enumerate(
    query: &BoundQuery,
    tables: Tables<'_>,
    participants: &[ParticipantId],
    least: usize,
) -> Result<Vec<Cell>, Refusal> {
    let most = most_cells(participants.len());
    let axes = axes(query, tables, participants);
    let combinations = axes
        .values()
        .try_fold(1usize, |product, axis| product.checked_mul(axis.points.len()))
        .filter(|product| *product <= COMBINATIONS_MAX)
        .ok_or_else(|| too_many(most))?;
    check_work(query, tables, axes.len(), combinations)?;
    let everybody = bits(participants, |_| true);
    let told = told(query, tables);
    let tell_all = bits(participants, |brand| told.values().all(|it| it.carriers.contains(brand)));
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
        let able =
            axes.iter().fold(everybody, |able, (base, axis)| able & axis.able(world.get(base)));
        if able == 0 {
            continue;
        }
        let number = number_of(able);
        if number < least {
            return Err(too_few(&named(tables, &axes, &world), number));
        }
        let telling = number_of(able & tell_all);
        if telling < least {
            return Err(too_few_tell(&named(tables, &axes, &world), &told, telling, least));
        }
        let here = cell_codes(query, tables, &world, most)?;
        found = found.saturating_add(here.len());
        codes.extend(here);
        if codes.len() > most || found > FOUND_MAX {
            return Err(too_many(most));
        }
    }
    if codes.is_empty() {
        return Err(Refusal::new(
            RefusalCode::OutsideDomain,
            ["no row can pass this condition", "没有任何数据行可能满足该条件"],
            ["widen the WHERE condition", "请放宽 WHERE 条件"],
        ));
    }
    check_answer(query, &codes)?;
    Ok(codes.into_iter().map(|code| Cell { code, labels: labels(&query.keys, code) }).collect())
}

/// What is kept of the answer must fit one record, whatever it is: cells, names of groups and values are counted before
/// anything is made of them.
fn check_answer(query: &BoundQuery, codes: &BTreeSet<u64>) -> Result<(), Refusal> {
    let values = query.shown_values().count().saturating_mul(VALUE_BYTES);
    let each = values.saturating_add(CELL_BYTES);
    let bytes = match query.private {
        Some(key) => {
            let name = VALUE_MAX_BYTES.saturating_add(LABEL_BYTES);
            usize::from(key.groups_at_most).saturating_mul(each.saturating_add(name))
        }
        None => codes.iter().fold(0usize, |sum, code| {
            let labels = labels_from_last(&query.keys, *code);
            labels.fold(sum.saturating_add(each), |sum, label| {
                sum.saturating_add(label.len()).saturating_add(LABEL_BYTES)
            })
        }),
    };
    if bytes <= ANSWER_MAX_BYTES {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::TooManyCells,
        [
            format!("the answer would have {bytes} bytes; at most {ANSWER_MAX_BYTES} are kept"),
            format!("答案将有 {bytes} 字节；上限为 {ANSWER_MAX_BYTES} 字节"),
        ],
        [
            "use fewer cells, fewer columns or shorter names of groups",
            "请减少单元格或列，或使用更短的分组名称",
        ],
    ))
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
fn cell_codes(
    query: &BoundQuery,
    tables: Tables<'_>,
    world: &World,
    most: usize,
) -> Result<Vec<u64>, Refusal> {
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
                next.push(code.ok_or_else(|| too_many(most))?);
            }
            if next.len() > most {
                return Err(too_many(most));
            }
        }
        codes = next;
    }
    Ok(codes)
}

fn labels(keys: &[Key], code: u64) -> Vec<String> {
    let mut labels: Vec<String> = labels_from_last(keys, code).map(str::to_owned).collect();
    labels.reverse();
    labels
}

/// The label of each key in a cell, that of the last key first.
fn labels_from_last(keys: &[Key], code: u64) -> impl Iterator<Item = &str> {
    let mut rest = code;
    keys.iter().rev().map(move |key| {
        let radix = u64::try_from(key.labels.len()).unwrap_or(u64::MAX);
        let digit = rest.checked_rem(radix).unwrap_or(0);
        rest = rest.checked_div(radix).unwrap_or(0);
        let label = usize::try_from(digit).ok().and_then(|digit| key.labels.get(digit));
        label.map_or("", String::as_str)
    })
}

/// A bit for each of those asked of whom something holds; there are no more of them than bits.
fn bits(participants: &[ParticipantId], holds: impl Fn(&ParticipantId) -> bool) -> u64 {
    let those = (0u32..).zip(participants).filter(|(_, participant)| holds(participant));
    those.fold(0, |bits, (at, _)| bits | 1u64.checked_shl(at).unwrap_or(0))
}

fn number_of(bits: u64) -> usize {
    usize::try_from(bits.count_ones()).unwrap_or(usize::MAX)
}

/// The public values of one base column.
struct Axis {
    table: u16,
    points: Vec<Range>,
    /// Where its points are texts: who of those asked may carry each, as [`bits`].
    carried: Option<Vec<u64>>,
}

impl Axis {
    fn table<'t>(&self, tables: Tables<'t>) -> Option<&'t Table> {
        tables.get(usize::from(self.table))
    }

    fn text(&self, range: Option<&Range>) -> Option<u16> {
        match range {
            Some(Range::Integers(value, _)) if self.carried.is_some() => u16::try_from(*value).ok(),
            _ => None,
        }
    }

    /// Who of those asked may carry a point; of what is no text, everybody.
    fn able(&self, range: Option<&Range>) -> u64 {
        let (Some(carried), Some(value)) = (&self.carried, self.text(range)) else {
            return u64::MAX;
        };
        carried.get(usize::from(value)).copied().unwrap_or(0)
    }
}

/// Every text column that is read anywhere, and every day column a key is made of, in months.
fn axes(
    query: &BoundQuery,
    tables: Tables<'_>,
    participants: &[ParticipantId],
) -> BTreeMap<Base, Axis> {
    let mut axes: BTreeMap<Base, Axis> = BTreeMap::new();
    let mut add = |table: u16, base: Base, days: bool| {
        if axes.contains_key(&base) {
            return;
        }
        let Some(read) = tables.get(usize::from(table)) else { return };
        let domain = read.columns().get(usize::from(base.1)).map(|column| column.domain());
        let (points, carried) = match domain {
            Some(Domain::Text { values, .. }) => {
                let last = u16::try_from(values.len()).unwrap_or(u16::MAX);
                let carried = (0..=last).map(|value| {
                    let carriers = carriers(read, base.1, value);
                    bits(participants, |participant| carriers.contains(participant))
                });
                let points = (0..=i128::from(last)).map(Range::only).collect();
                (points, Some(carried.collect()))
            }
            Some(Domain::Date { first, last }) if days => (months(*first, *last), None),
            _ => return,
        };
        axes.insert(base, Axis { table, points, carried });
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
    // one more is refused with what is too many
    while start <= last && months.len() <= COMBINATIONS_MAX {
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

fn too_many(most: usize) -> Refusal {
    Refusal::new(
        RefusalCode::TooManyCells,
        ["the question has too many cells", "问题的单元格过多"],
        [
            format!("group by fewer or coarser keys: at most {most} cells"),
            format!("请减少分组键或使用更粗的粒度：最多 {most} 个单元格"),
        ],
    )
}

/// The texts of a world, as conditions.
fn named(tables: Tables<'_>, axes: &BTreeMap<Base, Axis>, world: &World) -> String {
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
    named.join(" AND ")
}

fn too_few(named: &str, able: usize) -> Refusal {
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

fn too_few_tell(
    named: &str,
    told: &BTreeMap<(u16, u16), Told<'_>>,
    telling: usize,
    least: usize,
) -> Refusal {
    let names: Vec<&str> = told.values().map(|it| it.name).collect();
    let (zh, en) = (names.join("、"), names.join(", "));
    if least < CARRIERS_MIN {
        return Refusal::new(
            RefusalCode::TooFewCarriers,
            [
                format!("by the contract this brand does not tell {en}"),
                format!("按契约，该品牌不提供 {zh}"),
            ],
            [
                format!("leave it out, or ask a brand that tells {en}"),
                format!("请去掉该列，或向提供 {zh} 的品牌提问"),
            ],
        );
    }
    let (zh_rows, en_rows) = match named {
        "" => (String::new(), String::new()),
        named => (format!("在 {named} 的数据中"), format!(" in rows with {named}")),
    };
    Refusal::new(
        RefusalCode::TooFewCarriers,
        [
            format!("only {telling} participant(s) tell {en}{en_rows}"),
            format!("{zh_rows}仅有 {telling} 个参与方提供 {zh}"),
        ],
        [
            format!(
                "a joint question needs {CARRIERS_MIN} that tell every number it reads, in a condition too: leave {en} out, or ask a brand that tells it locally"
            ),
            format!(
                "联合问题读取的每个数值列（包括条件中的列）至少需由 {CARRIERS_MIN} 个参与方提供：请去掉 {zh}，或向提供它的品牌单独提问"
            ),
        ],
    )
}
