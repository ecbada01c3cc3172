//! Quantiles chosen by the exponential mechanism (McSherry and Talwar 2007) from a brand's own histogram.
//!
//! Let T(x) = (1-q) L(x) - q R(x), with L the rows below x and R the others: it grows from -q N to (1-q) N and
//! crosses 0 at the quantile. A bin between two edges is as far from a target t as its interval [T(left), T(right)]
//! is; the outermost edges count as -infinity and infinity, so that some bin has distance 0 whatever t is. A bin is
//! chosen with probability proportional to e^(-epsilon distance / (2 Delta)).
//!
//! **Cost.** A member with w rows moves every T, hence every distance, by at most max(q, 1-q) w, so that the
//! choice is `epsilon w / C`-bounded range for Delta = max(q, 1-q) C, which is (epsilon w / C)^2 / 8-zCDP (Cesar and
//! Rogers 2021, lemma 3.2 with proposition 3). Members are clipped so that the squares of their rows in all cells
//! together are at most C^2, so that all cells together cost epsilon^2 / 8.
//!
//! **Interval.** Three bins are chosen, for t = -M, 0 and M with M = 10 (2 Delta / epsilon). A chosen bin is farther
//! than M from its target with probability at most 512 e^-10 < 2.4 %, since a bin at distance 0 is among at most 512.
//! So with that probability at least T at the left end of the first is at most 0, and at the right end of the last at
//! least 0: they enclose the quantile of the clipped rows in more than 95 % of cases.

use crate::exact::{self, Powers, Rational};
use crate::units::PicoRho;

/// Bins that are chosen for one quantile: one below it, its own, and one above.
pub(crate) const CHOSEN: usize = 3;
/// M in units of 2 Delta / epsilon.
const MARGIN: u128 = 10;
/// T counts rows in thousandths.
const PER_ROW: u128 = 1_000;

/// How the three bins of one quantile are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    permille: u16,
    /// epsilon / (2 Delta), by thousandths of a scaled row.
    rate: Rational,
    /// M, in thousandths of a scaled row.
    margin: i128,
}

impl Choice {
    /// At this cost for all three, with rows clipped to `bound` in scaled units. `None` when the cost is too
    /// small for any.
    pub(crate) fn new(permille: u16, bound: u128, rho: PicoRho) -> Option<Self> {
        let epsilon = exact::epsilon_of_choice(rho.divided(CHOSEN)?)?;
        let p = u128::from(permille);
        let most = p.max(PER_ROW.checked_sub(p)?);
        let twice = bound.checked_mul(most)?.checked_mul(2)?;
        let rate = exact::divided(&epsilon, twice)?;
        let error = exact::quotient(&exact::integer(twice), &epsilon)?;
        let margin = exact::ceiling(&exact::times(&error, MARGIN))?;
        // a rate the weights are computed for
        Powers::of(&rate)?;
        Some(Self { permille, rate, margin: i128::try_from(margin).ok()? })
    }

    pub(crate) const fn permille(&self) -> u16 {
        self.permille
    }

    /// The exponent by which a bin farther from its target by a thousandth of a scaled row is less likely.
    #[cfg(test)]
    pub(crate) const fn rate(&self) -> &Rational {
        &self.rate
    }

    /// How many scaled rows a chosen bin's rank is off on average, as if rows lay evenly: 2 Delta / epsilon.
    pub(crate) fn rank_error(&self) -> Option<Rational> {
        let margin = exact::integer(u128::try_from(self.margin).ok()?);
        exact::divided(&margin, MARGIN.checked_mul(PER_ROW)?)
    }

    /// Chooses from a histogram. `None` when its sums do not fit, or the bits do not decide.
    pub(crate) fn of(&self, rows: &[i64], bits: &[[u8; 32]]) -> Option<[i64; CHOSEN]> {
        let edges = self.edges(rows)?;
        let powers = Powers::of(&self.rate)?;
        let targets = [self.margin.checked_neg()?, 0, self.margin];
        let mut bins = [0; CHOSEN];
        for ((bin, target), bits) in bins.iter_mut().zip(targets).zip(bits) {
            let chosen = exact::weighted_choice(&powers, &distances(&edges, target)?, bits)?;
            *bin = i64::try_from(chosen).ok()?;
        }
        (bits.len() == CHOSEN).then_some(bins)
    }

    /// T at every edge between two bins.
    fn edges(&self, rows: &[i64]) -> Option<Vec<i128>> {
        let total = rows.iter().try_fold(0i128, |sum, rows| sum.checked_add(i128::from(*rows)))?;
        let p = i128::from(self.permille);
        let mut below = 0i128;
        let inner = rows.len().checked_sub(1)?;
        let edges = rows.iter().take(inner).map(|rows| {
            below = below.checked_add(i128::from(*rows))?;
            // (1000 - p) L - p R = 1000 L - p N
            below.checked_mul(1_000)?.checked_sub(p.checked_mul(total)?)
        });
        edges.collect()
    }
}

/// How far each bin is from a target, given T at the edges between them.
fn distances(edges: &[i128], target: i128) -> Option<Vec<u128>> {
    let left = [None].into_iter().chain(edges.iter().copied().map(Some));
    let right = edges.iter().copied().map(Some).chain([None]);
    let distance = |(left, right): (Option<i128>, Option<i128>)| {
        let above = left.map_or(0, |left| left.saturating_sub(target));
        let below = right.map_or(0, |right| target.saturating_sub(right));
        u128::try_from(above.max(below).max(0)).ok()
    };
    left.zip(right).map(distance).collect()
}

#[cfg(test)]
mod tests;
