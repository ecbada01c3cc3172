//! What the masked sum costs by brands and cells: bytes and seconds of one brand, without reading.

use std::collections::BTreeMap;

use privacy::contract::{RawColumn, RawTable, RawValue};
use privacy::plan::CELLS_MAX;
use privacy::{Collector, Contract, QuerySpec, RawContract};
use serde::Serialize;

use super::super::super::CliError;
use super::super::{input, rooms};

/// One size.
#[derive(Debug, Serialize)]
pub struct MaskedFigures {
    /// Brands that answer together.
    pub brands: usize,
    /// Cells of the question.
    pub cells: usize,
    /// Noised integers in a brand's vector.
    pub coordinates: usize,
    /// What a brand sends to all others together, in bytes.
    pub bytes_sent_by_each: u64,
    /// What the question holds at a brand until it is over, in bytes, as its node counts it.
    pub bytes_held_by_each: u64,
    /// Drawing a brand's exact noise.
    pub noise_seconds: f64,
    /// Masking its vector.
    pub masking_seconds: f64,
    /// Checking and adding up the others' openings.
    pub opening_seconds: f64,
}

/// Group keys with their values.
const KEYS: [(&str, usize); 4] = [("a", 10), ("b", 10), ("c", 10), ("d", 100)];

/// Cells, and the keys that make so many.
const SHAPES: [(usize, &str); 4] =
    [(10, "a"), (1_000, "a, b, c"), (10_000, "a, b, d"), (CELLS_MAX, "a, b, c, d")];

/// Measures every size: a figure in each cell, and of as many cells as there may be two, the most that the protocol
/// takes.
pub fn measure(brands: &[usize], cells: &[usize]) -> Result<Vec<MaskedFigures>, CliError> {
    let mut figures = Vec::new();
    for brands in brands.iter().copied() {
        let contract = contract(brands)?;
        for cells in cells.iter().copied() {
            let keys = SHAPES.iter().find(|(number, _)| *number == cells);
            let (_, keys) = keys.ok_or_else(|| {
                input(format!("--masked-cells {cells}: 10, 1000, 10000 or {CELLS_MAX}"))
            })?;
            figures.push(one(&contract, brands, keys, "count(*)")?);
            if cells == CELLS_MAX {
                figures.push(one(&contract, brands, keys, "count(*), count(distinct member)")?);
            }
        }
    }
    Ok(figures)
}

fn one(
    contract: &Contract,
    brands: usize,
    keys: &str,
    counts: &str,
) -> Result<MaskedFigures, CliError> {
    let spec = QuerySpec {
        sql: format!("SELECT {keys}, {counts} FROM rows GROUP BY {keys}"),
        purpose: "joint_analytics".parse().map_err(input)?,
        analyst: "desk".parse().map_err(input)?,
        participants: contract.participants().to_vec(),
        // a failure has to fit the local account too, which is smaller the more brands there are
        rho: contract.rho_per_question_at_most(),
    };
    let (mut cells, mut coordinates, mut held) = (0, 0, 0);
    let (_, spent) = rooms::ask(contract, &spec, &mut |brand, plan| {
        (cells, coordinates, held) = (plan.cells().len(), plan.coordinates(), plan.bytes_held());
        Collector::new(plan, brand).finish().map_err(input)
    })?;
    let each = |all: std::time::Duration| all.as_secs_f64() / brands as f64;
    Ok(MaskedFigures {
        brands,
        cells,
        coordinates,
        bytes_sent_by_each: spent.opening_bytes / brands as u64,
        bytes_held_by_each: held as u64,
        noise_seconds: each(spent.noise),
        masking_seconds: each(spent.masking),
        opening_seconds: each(spent.opening),
    })
}

fn contract(brands: usize) -> Result<Contract, CliError> {
    let value = |value: usize| RawValue { value: format!("v{value}"), carriers: None };
    let columns = KEYS.iter().map(|(name, values)| RawColumn::Text {
        name: (*name).into(),
        // OTHER is one more
        values: (1..*values).map(value).collect(),
        other_carriers: None,
    });
    let raw = RawContract {
        dataset: "bench".into(),
        purposes: vec!["joint_analytics".into()],
        participants: (1..=brands).map(|brand| format!("brand-{brand:02}")).collect(),
        minimum_participants: 3,
        profile: "trial".into(),
        members_at_most: 1_000_000,
        public_tables: Vec::new(),
        tables: vec![RawTable {
            name: "rows".into(),
            owner: "member".into(),
            rows_bound: 20,
            rows_bound_by_brand: BTreeMap::new(),
            columns: columns.collect(),
        }],
    };
    raw.try_into().map_err(input)
}
