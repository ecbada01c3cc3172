//! What the masked sum costs by brands and cells: bytes and seconds of one brand, without reading.

use privacy::contract::{RawColumn, RawTable, RawValue};
use privacy::{Collector, Contract, QuerySpec, RawContract};
use serde::Serialize;

use super::super::super::CliError;
use super::super::{input, rooms};

/// One size.
#[derive(Debug, Serialize)]
pub struct MaskedFigures {
    /// Brands that answer together.
    pub brands: usize,
    /// Noised integers in a brand's vector.
    pub coordinates: usize,
    /// What a brand sends to all others together, in bytes.
    pub bytes_sent_by_each: u64,
    /// Drawing a brand's exact noise.
    pub noise_seconds: f64,
    /// Masking its vector.
    pub masking_seconds: f64,
    /// Checking and adding up the others' openings.
    pub opening_seconds: f64,
}

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// Group keys and aggregates: 10 to 10,000 cells, then the most that the protocol takes.
const SHAPES: [(usize, usize); 5] = [(1, 1), (2, 1), (3, 1), (4, 1), (4, 4)];

/// Measures every size.
pub fn measure(brands: &[usize]) -> Result<Vec<MaskedFigures>, CliError> {
    let mut figures = Vec::new();
    for brands in brands.iter().copied() {
        let contract = contract(brands)?;
        for (keys, aggregates) in SHAPES {
            figures.push(one(&contract, brands, keys, aggregates)?);
        }
    }
    Ok(figures)
}

fn one(
    contract: &Contract,
    brands: usize,
    keys: usize,
    aggregates: usize,
) -> Result<MaskedFigures, CliError> {
    let keys = KEYS.get(..keys).unwrap_or(&KEYS).join(", ");
    let counts = ["count(*)", "count(distinct member)", "sum(x)", "sum(x + 1)"];
    let counts = counts.get(..aggregates).unwrap_or(&counts).join(", ");
    let spec = QuerySpec {
        sql: format!("SELECT {keys}, {counts} FROM rows GROUP BY {keys}"),
        purpose: "joint_analytics".parse().map_err(input)?,
        analyst: "desk".parse().map_err(input)?,
        participants: contract.participants().to_vec(),
        // a failure has to fit the local account too, which is smaller the more brands there are
        rho: contract.rho_per_question_at_most(),
    };
    let mut coordinates = 0;
    let (_, spent) = rooms::ask(contract, &spec, &mut |_, plan| {
        coordinates = plan.coordinates();
        Collector::new(plan).finish().map_err(input)
    })?;
    let each = |all: std::time::Duration| all.as_secs_f64() / brands as f64;
    Ok(MaskedFigures {
        brands,
        coordinates,
        bytes_sent_by_each: spent.opening_bytes / brands as u64,
        noise_seconds: each(spent.noise),
        masking_seconds: each(spent.masking),
        opening_seconds: each(spent.opening),
    })
}

fn contract(brands: usize) -> Result<Contract, CliError> {
    let values =
        || (0..9).map(|value| RawValue { value: format!("v{value}"), carriers: None }).collect();
    let mut columns: Vec<RawColumn> = KEYS
        .iter()
        // nine values and OTHER
        .map(|name| RawColumn::Text {
            name: (*name).into(),
            values: values(),
            other_carriers: None,
        })
        .collect();
    columns.push(RawColumn::Integer {
        name: "x".into(),
        unit: "fen".into(),
        minimum: 0,
        maximum: 1_000,
        bound: Some(1_000),
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
            columns,
        }],
    };
    raw.try_into().map_err(input)
}
