//! The noised columns of a plan: what bounds each, how much noise it gets, what it costs.
//!
//! A measure becomes one or two noised columns. Each column has its own L2 bound on a member's
//! vector, its own noise and its own part of the cost. Columns of one measure are clipped
//! *together*, by the factor that the tightest of them needs, so that a quotient of two is not
//! moved by clipping one member's numerator alone.

use minicbor::Encode;

use super::{overflow, too_costly};
use crate::exact::{self, Rational};
use crate::ids::ParticipantId;
use crate::mechanism::choice::{CHOSEN, Choice};
use crate::sql::expr::Expr;
use crate::sql::relation::{BoundsAt, Tables};
use crate::sql::{Amount, BoundQuery, Measure, OutputOf, Refusal};
use crate::units::{GridBound, PicoRho};

/// Least standard deviation of one participant's noise, in scaled units.
const SHARE_DEVIATION_MIN: u128 = 3;
/// A clipped vector is cut to whole scaled units: with this many to C the cut is invisible.
const CLIP_RESOLUTION: u128 = 4_096;
/// Largest scale factor.
const SCALE_MAX: u64 = 1 << 32;
/// Tail of the noise that the overflow proof allows for, in standard deviations.
const TAIL_DEVIATIONS: u128 = 12;

/// What the engine adds up over the rows of a member and cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// Rows.
    Count,
    /// An expression.
    Sum(Expr),
}

/// How a member's vector of a column is made of what the engine added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub(crate) enum Fill {
    /// The number itself.
    #[n(0)]
    #[cbor(array)]
    Value(#[n(0)] u16),
    /// 1 where the number is positive.
    #[n(1)]
    #[cbor(array)]
    Presence(#[n(0)] u16),
    /// Two coordinates a cell: rows that say yes, and the others.
    #[n(2)]
    #[cbor(array)]
    YesNo {
        /// Rows that say yes.
        #[n(0)]
        yes: u16,
        /// All rows.
        #[n(1)]
        rows: u16,
    },
    /// The nodes of a binary tree over 2^depth bins, without its root, level by level.
    #[n(3)]
    #[cbor(array)]
    Tree {
        /// Rows of a bin.
        #[n(0)]
        rows: u16,
        /// Levels.
        #[n(1)]
        depth: u8,
    },
    /// 2^depth bins, of which three are chosen for every quantile.
    #[n(4)]
    #[cbor(array)]
    Bins {
        /// Rows of a bin.
        #[n(0)]
        rows: u16,
        /// Levels.
        #[n(1)]
        depth: u8,
        /// How many quantiles.
        #[n(2)]
        quantiles: u8,
    },
}

impl Fill {
    /// Coordinates a cell of what is gathered.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::Value(_) | Self::Presence(_) => 1,
            Self::YesNo { .. } => 2,
            Self::Tree { depth, .. } => leaves(depth).saturating_mul(2).saturating_sub(2),
            Self::Bins { depth, .. } => leaves(depth),
        }
    }

    /// Coordinates a cell of what is shown: as many, but of chosen bins their numbers.
    pub(crate) fn shown(self) -> usize {
        match self {
            Self::Bins { quantiles, .. } => usize::from(quantiles).saturating_mul(CHOSEN),
            other => other.width(),
        }
    }
}

fn leaves(depth: u8) -> usize {
    1usize.checked_shl(u32::from(depth)).unwrap_or(1)
}

/// One noised column of a plan.
#[derive(Clone, Debug)]
pub struct NoisedColumn {
    name: String,
    unit: String,
    measure: u16,
    fill: Fill,
    /// C^2 of each brand asked, in their order.
    squared_bounds: Vec<u128>,
    /// The square of the sum of all C.
    squared_sensitivity: u128,
    scale: u64,
    rho: PicoRho,
    /// The same in scaled units.
    scaled_squared_bounds: Vec<u128>,
    share_deviation: Rational,
    choices: Vec<Choice>,
}

/// A column before noise is chosen for it.
struct Column {
    name: String,
    measure: u16,
    fill: Fill,
    bound: MemberBound,
    /// Thousandths of quantiles that are chosen.
    quantiles: Vec<u16>,
}

/// What bounds one member's vector of a column.
struct MemberBound {
    /// C^2 at each brand asked, in their order.
    squared: Vec<u128>,
    unit: String,
    /// Whether a member's vector can exceed C at all, or be shrunk along with one that does.
    clips: bool,
}

/// Who adds noise: all participants, so that those who do not collude suffice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adders<'a> {
    pub(super) participants: &'a [ParticipantId],
    pub(super) honest: u128,
    pub(super) members_at_most: u64,
}

/// Everything the engine adds up, and the noised columns made of it.
pub(super) fn columns(
    query: &BoundQuery,
    tables: Tables<'_>,
    cells: usize,
    adders: Adders<'_>,
    rho: PicoRho,
) -> Result<(Vec<Added>, Vec<NoisedColumn>), Refusal> {
    let mut added = Vec::new();
    let mut columns = Vec::new();
    for (index, measure) in (0u16..).zip(&query.measures) {
        let name = measure_name(query, index);
        let of = Bounds { query, tables, cells, participants: adders.participants };
        for column in of.columns(&mut added, index, name, measure)? {
            columns.push(column);
        }
    }
    let rho = rho.divided(columns.len()).filter(|part| *part > PicoRho::ZERO);
    let rho = rho.ok_or_else(too_costly)?;
    let noised: Result<Vec<NoisedColumn>, Refusal> = columns
        .into_iter()
        .map(|column| {
            let noised = NoisedColumn::new(column, adders, rho)?;
            noised.prove_no_overflow(adders)?;
            Ok(noised)
        })
        .collect();
    Ok((added, noised?))
}

/// The name under which a measure is shown first.
fn measure_name(query: &BoundQuery, index: u16) -> String {
    let shows = |of: OutputOf| match of {
        OutputOf::Measure(measure) | OutputOf::Quantile { measure, .. } => measure == index,
        OutputOf::Key(_) => false,
    };
    let shown = query.outputs.iter().find(|output| shows(output.of) && output.shown);
    shown.map_or_else(|| format!("unshown_{index}"), |output| output.name.clone())
}

/// The quantiles that are asked of a histogram, each once.
pub(super) fn quantiles_of(query: &BoundQuery, of: u16) -> Vec<u16> {
    let mut all = Vec::new();
    for output in &query.outputs {
        match output.of {
            OutputOf::Quantile { measure, permille }
                if measure == of && !all.contains(&permille) =>
            {
                all.push(permille);
            }
            _ => {}
        }
    }
    all
}

struct Bounds<'a> {
    query: &'a BoundQuery,
    tables: Tables<'a>,
    cells: usize,
    participants: &'a [ParticipantId],
}

/// C^2 at one brand, and whether a member's vector can exceed C there.
type SquaredBound = (u128, bool);

impl Bounds<'_> {
    fn columns(
        &self,
        added: &mut Vec<Added>,
        measure: u16,
        name: String,
        of: &Measure,
    ) -> Result<Vec<Column>, Refusal> {
        Ok(match of {
            Measure::One(amount) => {
                let (fill, bound) = self.amount(added, amount)?;
                vec![Column { name, measure, fill, bound, quantiles: Vec::new() }]
            }
            Measure::Rate(expr) => {
                let yes = number_of(added, Added::Sum(expr.clone()));
                let rows = number_of(added, Added::Count);
                let bound = self.rows()?;
                vec![Column {
                    name,
                    measure,
                    fill: Fill::YesNo { yes, rows },
                    bound,
                    quantiles: Vec::new(),
                }]
            }
            Measure::Ratio { numerator, denominator, .. } => {
                let (top, mut over) = self.amount(added, numerator)?;
                let (bottom, mut under) = self.amount(added, denominator)?;
                // one factor for both: what shrinks one shrinks the other
                let clips = over.clips || under.clips;
                (over.clips, under.clips) = (clips, clips);
                let column = |part: &str, fill, bound| Column {
                    name: format!("{name} ({part})"),
                    measure,
                    fill,
                    bound,
                    quantiles: Vec::new(),
                };
                vec![column("numerator", top, over), column("denominator", bottom, under)]
            }
            Measure::Histogram(bins) => {
                let rows = number_of(added, Added::Count);
                // one brand answers alone
                if self.participants.len() == 1 {
                    let quantiles = quantiles_of(self.query, measure);
                    let number = u8::try_from(quantiles.len()).map_err(|_| overflow())?;
                    let fill = Fill::Bins { rows, depth: bins.depth, quantiles: number };
                    let bound = self.rows()?;
                    return Ok(vec![Column { name, measure, fill, bound, quantiles }]);
                }
                let fill = Fill::Tree { rows, depth: bins.depth };
                // A row is counted once on each level; rows in one bin add up on all of them.
                let MemberBound { squared, unit, clips } = self.rows()?;
                let levels = u128::from(bins.depth);
                let squared = squared.into_iter().map(|square| square.checked_mul(levels));
                let squared = squared.collect::<Option<Vec<u128>>>().ok_or_else(overflow)?;
                let bound = MemberBound { squared, unit, clips };
                vec![Column { name, measure, fill, bound, quantiles: Vec::new() }]
            }
        })
    }

    fn amount(
        &self,
        added: &mut Vec<Added>,
        amount: &Amount,
    ) -> Result<(Fill, MemberBound), Refusal> {
        Ok(match amount {
            Amount::Rows => (Fill::Value(number_of(added, Added::Count)), self.rows()?),
            Amount::Members => {
                // One 0 or 1 a cell; a member with k rows is in k cells at most.
                let (squared, _) = self.at_each(&|bounds| {
                    let rows = self.query.from.rows(bounds);
                    let cells = self.cells as u128;
                    let most = u128::from(rows.most);
                    Ok((if rows.certain { most.min(cells) } else { cells }, false))
                })?;
                let unit = "memberships".to_owned();
                let bound = MemberBound { squared, unit, clips: false };
                (Fill::Presence(number_of(added, Added::Count)), bound)
            }
            Amount::Sum(expr) => self.sum(added, expr, None)?,
            Amount::SumWithin(expr, within) => self.sum(added, expr, Some(*within))?,
        })
    }

    /// A sum, by the contract's bound or by a lesser one that the question names.
    fn sum(
        &self,
        added: &mut Vec<Added>,
        expr: &Expr,
        within: Option<GridBound>,
    ) -> Result<(Fill, MemberBound), Refusal> {
        let (squared, clips) = self.at_each(&|bounds| {
            let bound = self.query.from.sum_bound(expr, bounds).ok_or_else(overflow)?;
            let within = within.map(|within| u128::from(within.get()));
            let most = within.map_or(bound.most, |within| bound.most.min(within));
            let squared = most.checked_mul(most).ok_or_else(overflow)?;
            // A sum that no member moves costs nothing to bound by 1, and noise needs some.
            Ok((squared.max(1), !bound.certain || most < bound.most))
        })?;
        let unit = self.query.from.unit(expr, self.tables).ok_or_else(overflow)?;
        let unit = unit.unwrap_or_else(|| self.unit_of_rows().to_owned());
        let fill = Fill::Value(number_of(added, Added::Sum(expr.clone())));
        Ok((fill, MemberBound { squared, unit, clips }))
    }

    fn rows(&self) -> Result<MemberBound, Refusal> {
        let (squared, clips) = self.at_each(&|bounds| {
            let rows = self.query.from.rows(bounds);
            let most = u128::from(rows.most);
            Ok((most.saturating_mul(most).max(1), !rows.certain))
        })?;
        Ok(MemberBound { squared, unit: self.unit_of_rows().to_owned(), clips })
    }

    /// What a member's rows are called. One row a member is so by the question alone, at every brand.
    fn unit_of_rows(&self) -> &'static str {
        let rows = self.query.from.rows(BoundsAt::others(self.tables));
        if rows.certain && rows.most == 1 { "memberships" } else { "rows" }
    }

    /// A bound at each brand asked, in their order, and whether a member's vector can exceed it at any. It is worked
    /// out once for all brands that have no bound of their own.
    fn at_each(
        &self,
        of: &dyn Fn(BoundsAt<'_>) -> Result<SquaredBound, Refusal>,
    ) -> Result<(Vec<u128>, bool), Refusal> {
        let mut others: Option<SquaredBound> = None;
        let (mut squares, mut clips) = (Vec::with_capacity(self.participants.len()), false);
        for brand in self.participants {
            let own = self.tables.iter().any(|table| table.has_own_bounds(*brand));
            let (square, exceeds) = match others {
                _ if own => of(BoundsAt::brand(self.tables, *brand))?,
                Some(known) => known,
                None => *others.insert(of(BoundsAt::others(self.tables))?),
            };
            squares.push(square);
            clips |= exceeds;
        }
        Ok((squares, clips))
    }
}

/// The place of a sum among what the engine adds up; each is there once.
fn number_of(added: &mut Vec<Added>, wanted: Added) -> u16 {
    let at = added.iter().position(|known| *known == wanted).unwrap_or_else(|| {
        added.push(wanted);
        added.len().saturating_sub(1)
    });
    u16::try_from(at).unwrap_or(u16::MAX)
}

impl NoisedColumn {
    fn new(column: Column, adders: Adders<'_>, rho: PicoRho) -> Result<Self, Refusal> {
        let Column { name, measure, fill, bound, quantiles } = column;
        let MemberBound { squared: squared_bounds, unit, clips } = bound;
        let squared_sensitivity =
            exact::squared_sum_of_roots(&squared_bounds).ok_or_else(overflow)?;
        // vectors are cut finely enough where they are cut most
        let least = squared_bounds.iter().copied().min().unwrap_or(0);
        let share = exact::gaussian_variance(squared_sensitivity, rho)
            .and_then(|variance| exact::divided(&variance, adders.honest))
            .ok_or_else(too_costly)?;
        let enough = |scale: u64| {
            let square = u128::from(scale).saturating_mul(u128::from(scale));
            let wide = !quantiles.is_empty()
                || exact::times(&share, square)
                    >= exact::integer(SHARE_DEVIATION_MIN.saturating_mul(SHARE_DEVIATION_MIN));
            let resolution = CLIP_RESOLUTION.saturating_mul(CLIP_RESOLUTION);
            wide && (!clips || least.saturating_mul(square) >= resolution)
        };
        let mut scale = 1u64;
        while !enough(scale) {
            scale = scale.checked_mul(2).filter(|s| *s <= SCALE_MAX).ok_or_else(too_costly)?;
        }
        let square = u128::from(scale).saturating_mul(u128::from(scale));
        let scaled = squared_bounds.iter().map(|bound| bound.checked_mul(square));
        let scaled_squared_bounds: Vec<u128> =
            scaled.collect::<Option<_>>().ok_or_else(overflow)?;
        let mut share_deviation = exact::square_root_rounded_up(&exact::times(&share, square));
        let mut choices = Vec::with_capacity(quantiles.len());
        let part = rho.divided(quantiles.len()).unwrap_or(PicoRho::ZERO);
        for permille in quantiles {
            let bound = ceiling_root(largest(&scaled_squared_bounds));
            let choice = Choice::new(permille, bound, part).ok_or_else(too_costly)?;
            // what is chosen has no such noise: this is the mean error of a rank, the last quantile's
            share_deviation = choice.rank_error().ok_or_else(overflow)?;
            choices.push(choice);
        }
        Ok(Self {
            name,
            unit,
            measure,
            fill,
            squared_bounds,
            squared_sensitivity,
            scale,
            rho,
            scaled_squared_bounds,
            share_deviation,
            choices,
        })
    }

    /// M scale (the sum of all C) + 12 standard deviations of each of n shares < 2^63, from public caps alone.
    fn prove_no_overflow(&self, adders: Adders<'_>) -> Result<(), Refusal> {
        let n = adders.participants.len() as u128;
        let mut norms = self.scaled_squared_bounds.iter().map(|bound| ceiling_root(*bound));
        let members = u128::from(adders.members_at_most);
        let norm = norms.try_fold(0u128, u128::checked_add);
        let values = norm.and_then(|norm| norm.checked_mul(members));
        let noise = exact::ceiling(&self.share_deviation)
            .and_then(|s| s.checked_mul(TAIL_DEVIATIONS))
            .and_then(|s| s.checked_mul(n));
        let most = values.zip(noise).and_then(|(v, e)| v.checked_add(e));
        match most {
            Some(most) if most < 1 << 63 => Ok(()),
            _ => Err(overflow()),
        }
    }

    /// Its name: that of the answer's column, with the part it is of a quotient.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a joint value counts: `memberships` (never people: one person may have an account at
    /// each brand), `rows`, or the unit of the summed column.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// Index of the measure it belongs to; columns of one measure are clipped together.
    pub(crate) const fn measure(&self) -> u16 {
        self.measure
    }

    pub(crate) const fn fill(&self) -> Fill {
        self.fill
    }

    /// C^2, the squared L2 bound of one member's contribution at one brand, in `unit`: the largest of those asked.
    pub fn squared_bound(&self) -> u128 {
        largest(&self.squared_bounds)
    }

    /// C^2 at each brand asked, in the order of the plan's participants.
    pub fn squared_bounds(&self) -> &[u128] {
        &self.squared_bounds
    }

    /// The square of how far one person, with an account at each brand asked, moves the sum of all: of the sum
    /// of all C, rounded up to a whole number.
    pub const fn squared_sensitivity(&self) -> u128 {
        self.squared_sensitivity
    }

    /// Whether all brands asked have the same bound.
    pub(crate) fn one_bound_for_all(&self) -> bool {
        self.squared_bounds.iter().all(|bound| Some(bound) == self.squared_bounds.first())
    }

    /// Values are multiplied by this before they are clipped, noised and added.
    pub const fn scale(&self) -> u64 {
        self.scale
    }

    /// Its part of the cost.
    pub const fn rho(&self) -> PicoRho {
        self.rho
    }

    /// C^2 in scaled units: the largest of the brands asked.
    pub fn scaled_squared_bound(&self) -> u128 {
        largest(&self.scaled_squared_bounds)
    }

    /// The same of the brand at this place among those asked; of a brand that is not asked 0, so that nothing counts.
    pub(crate) fn scaled_squared_bound_at(&self, place: usize) -> u128 {
        self.scaled_squared_bounds.get(place).copied().unwrap_or(0)
    }

    /// What so many members of the brand at this place, each within the bound, can make a coordinate of at most, in
    /// scaled units. Of the contract's cap on members it fits: that is proved.
    pub(crate) fn most_of(&self, place: usize, members: u64) -> i64 {
        let norm = ceiling_root(self.scaled_squared_bound_at(place));
        let most = norm.saturating_mul(u128::from(members));
        i64::try_from(most).unwrap_or(i64::MAX)
    }

    /// The quantiles that are chosen from it; none for a column of sums.
    pub(crate) fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// Standard deviation of one participant's noise in a cell, in scaled units; where quantiles are chosen, the
    /// mean error of a chosen rank.
    pub const fn share_deviation(&self) -> &Rational {
        &self.share_deviation
    }

    pub(super) fn hashed(&self) -> HashedColumn<'_> {
        let (deviation_numerator, deviation_denominator) =
            exact::canonical_parts(&self.share_deviation);
        HashedColumn {
            name: &self.name,
            measure: self.measure,
            fill: self.fill,
            squared_bound: self.squared_bound().to_be_bytes(),
            scale: self.scale,
            rho: self.rho,
            deviation_numerator,
            deviation_denominator,
            bounds: (!self.one_bound_for_all())
                .then(|| self.squared_bounds.iter().map(|bound| halves(*bound)).collect()),
        }
    }
}

/// The upper and the lower 64 bits.
fn halves(number: u128) -> [u64; 2] {
    [number.checked_shr(u64::BITS).unwrap_or(0) as u64, number as u64]
}

fn largest(bounds: &[u128]) -> u128 {
    bounds.iter().copied().max().unwrap_or(0)
}

#[derive(Encode)]
#[cbor(array)]
pub(super) struct HashedColumn<'a> {
    #[n(0)]
    name: &'a str,
    #[n(1)]
    measure: u16,
    #[n(2)]
    fill: Fill,
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    squared_bound: [u8; 16],
    #[n(4)]
    scale: u64,
    #[n(5)]
    rho: PicoRho,
    #[n(6)]
    #[cbor(with = "minicbor::bytes")]
    deviation_numerator: Vec<u8>,
    #[n(7)]
    #[cbor(with = "minicbor::bytes")]
    deviation_denominator: Vec<u8>,
    /// C^2 of each brand asked, by its halves, where they are not all the same: else the encoding is as ever.
    #[n(8)]
    bounds: Option<Vec<[u64; 2]>>,
}

#[cfg(test)]
impl HashedColumn<'_> {
    /// The brands' bounds as they are hashed.
    pub(super) fn bounds(&self) -> Option<Vec<[u64; 2]>> {
        self.bounds.clone()
    }
}

fn ceiling_root(square: u128) -> u128 {
    let floor = square.isqrt();
    if floor.checked_mul(floor) == Some(square) { floor } else { floor.saturating_add(1) }
}
