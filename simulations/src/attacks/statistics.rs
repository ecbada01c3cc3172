//! Advantages, measured and allowed.

use serde::Serialize;

/// Two-sided 99.9 % quantile of the normal distribution.
const QUANTILE: f64 = 3.290_526_731_491_926;
/// Standard errors that chance does not bridge: once in ten thousand million campaigns.
const BEYOND_CHANCE: f64 = 6.4;

/// What an attack achieved beside what theory lets any attack achieve.
#[derive(Clone, Debug, Serialize)]
pub struct Attack {
    /// Its name.
    pub name: &'static str,
    /// True less false positives.
    pub advantage: f64,
    /// Lower end of the 99.9 % interval for it.
    pub advantage_lower: f64,
    /// Upper end.
    pub advantage_upper: f64,
    /// What no attack exceeds at the cost that was charged.
    pub bound: f64,
    /// Rho that the logs say was charged for what the attacker saw.
    pub rho: f64,
}

impl Attack {
    /// Of guesses "the target is in": how often when it was, and when it was not.
    #[must_use]
    pub fn new(name: &'static str, guesses: Guesses, rho: f64) -> Self {
        let (advantage, half) = guesses.advantage();
        let (advantage_lower, advantage_upper) = (advantage - half, advantage + half);
        Self { name, advantage, advantage_lower, advantage_upper, bound: bound(rho), rho }
    }

    /// Whether the measurement contradicts the theory: even the lower end lies above the bound.
    #[must_use]
    pub fn exceeds(&self) -> bool {
        self.advantage_lower > self.bound
    }

    /// The same where a campaign cannot be repeated with more trials: whether the advantage lies farther above the
    /// bound than chance ever brings an attack that is at it.
    #[must_use]
    pub fn exceeds_beyond_chance(&self) -> bool {
        let error = (self.advantage - self.advantage_lower) / QUANTILE;
        self.advantage - BEYOND_CHANCE * error > self.bound
    }
}

/// Counts of guesses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guesses {
    hits: u32,
    with: u32,
    alarms: u32,
    without: u32,
}

impl Guesses {
    /// One guess that the target is in, right or wrong.
    pub fn add(&mut self, is_in: bool, guessed_in: bool) {
        let (all, positive) = if is_in {
            (&mut self.with, &mut self.hits)
        } else {
            (&mut self.without, &mut self.alarms)
        };
        *all += 1;
        *positive += u32::from(guessed_in);
    }

    /// The advantage and half the width of its interval, never below what one guess more could move.
    fn advantage(self) -> (f64, f64) {
        let rate = |positive: u32, all: u32| f64::from(positive) / f64::from(all.max(1));
        let (hits, alarms) = (rate(self.hits, self.with), rate(self.alarms, self.without));
        let variance = |p: f64, all: u32| {
            let all = f64::from(all.max(1));
            (p * (1.0 - p)).max(1.0 / all) / all
        };
        let variance = variance(hits, self.with) + variance(alarms, self.without);
        (hits - alarms, QUANTILE * variance.sqrt())
    }
}

/// The largest advantage at a zCDP cost of Gaussian noise: 2 Phi(sqrt(rho / 2)) - 1 = erf(sqrt(rho) / 2).
#[must_use]
pub fn bound(rho: f64) -> f64 {
    erf(rho.sqrt() / 2.0)
}

/// By its Taylor series: exact to the last digits for arguments below 3, and 1 beyond.
fn erf(x: f64) -> f64 {
    if x > 3.0 {
        return 1.0;
    }
    let mut term = x;
    let mut sum = x;
    for k in 1..60 {
        let k = f64::from(k);
        term *= -x * x / k;
        sum += term / (2.0 * k + 1.0);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_published_table() {
        for (rho, published) in [(2.8e-5, 0.0030), (0.01, 0.056), (0.15, 0.216)] {
            assert!((bound(rho) - published).abs() < 0.0005, "{rho}: {}", bound(rho));
        }
    }

    #[test]
    fn advantages_have_intervals() {
        let mut guesses = Guesses::default();
        for trial in 0..1_000 {
            guesses.add(true, trial < 600);
            guesses.add(false, trial < 500);
        }
        let attack = Attack::new("test", guesses, 0.01);
        assert!((attack.advantage - 0.1).abs() < 1e-9);
        assert!(attack.advantage_lower > 0.02 && attack.advantage_upper < 0.18);
        assert!(!attack.exceeds());
        // a tenth more hits than alarms is four and a half standard errors
        let free = Attack::new("test", guesses, 1e-6);
        assert!(free.exceeds() && !free.exceeds_beyond_chance());
        let mut all = Guesses::default();
        for _ in 0..1_000 {
            all.add(true, true);
            all.add(false, false);
        }
        assert!(Attack::new("test", all, 0.01).exceeds_beyond_chance());
    }
}
