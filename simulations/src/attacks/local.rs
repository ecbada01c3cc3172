//! Attacks on what one brand answers about its own members: quantiles, and groups whose names are private.
//!
//! The steps are those of [`privacy::alone`], with a log that certifies at once. A question with private groups
//! also takes a delta, which is too small to be seen here: the bound is that of rho alone.

use privacy::ids::{QueryId, SnapshotId};
use privacy::plan::LocalQuestion;
use privacy::{
    BoundedVector, CleanRoomEntry, Clock, Collector, DpPlan, Ledger, LocalEffect, LocalRelease,
    LocalRequest, LocalRoom, NoiseShare, PicoRho, UtcMillis,
};

use super::alliance::{Entry, Kept, Mutant, SPENDING_BOUND, YEAR, brand, contract};
use super::statistics::Attack;
use super::{Run, campaign};
use crate::prng::Prng;

pub(super) const ATTACKS: [Run; 3] =
    [own_quantiles, a_shop_with_one_too_few, a_shop_of_ones_own];

/// A brand that answers alone, with its log.
struct Brand {
    room: LocalRoom,
    ledger: Ledger,
    entries: u64,
    mutant: Mutant,
}

impl Brand {
    fn new(mutant: Mutant) -> Self {
        let room = LocalRoom::new(brand(0), contract());
        Self { room, ledger: Ledger::new(), entries: 0, mutant }
    }

    fn charged(&self) -> PicoRho {
        self.ledger.local_spent(brand(0), YEAR)
    }

    /// Charges, reads what `lines` gives for the plan, and shows.
    fn ask(
        &mut self,
        question: LocalQuestion,
        lines: impl Fn(&DpPlan) -> Option<BoundedVector>,
    ) -> Option<LocalRelease> {
        let mut query = [0; 16];
        query[..8].copy_from_slice(&self.entries.to_be_bytes());
        let request = LocalRequest {
            query: QueryId(query),
            question,
            snapshot: SnapshotId([1; 32]),
            analyst_quota: contract().local_quota(),
            at_risk: PicoRho::ZERO,
            stands: false,
        };
        let clock = Clock { now: UtcMillis(self.entries), year: YEAR };
        let mut effects = self.room.ask(request, &self.ledger, clock).ok()?;
        while !effects.is_empty() {
            let mut next = Vec::new();
            for effect in effects {
                match effect {
                    LocalEffect::Append(entry) => next.extend(self.certify(&entry)?),
                    LocalEffect::Read { id, plan, .. } => {
                        let noise = self.noise(&plan)?;
                        let vector = lines(&plan)?;
                        let answered = self.room.answered(id, noise, vector, &self.ledger);
                        next.extend(answered.ok()?);
                    }
                    LocalEffect::Released(release) => return Some(*release),
                    _ => {}
                }
            }
            effects = next;
        }
        None
    }

    fn certify(&mut self, entry: &CleanRoomEntry) -> Option<Vec<LocalEffect>> {
        let index = self.entries;
        self.entries += 1;
        let time = UtcMillis(index);
        let id = self.ledger.enter(&Entry { writer: brand(0), index, time, bytes: entry.to_bytes() });
        Some(self.room.certified(id.ok()?, &self.ledger))
    }

    fn noise(&self, plan: &DpPlan) -> Option<NoiseShare> {
        let mut source = Lifted { kept: Kept::new(self.mutant), by: 0 };
        if self.mutant == Mutant::WithoutThreshold {
            source.by = threshold(plan)? - 1;
        }
        NoiseShare::draw(plan, &mut source).ok()
    }
}

/// Noise with so much added: as if a threshold were so much less.
struct Lifted {
    kept: Kept,
    by: i64,
}

impl privacy::mechanism::NoiseSource for Lifted {
    fn discrete_gaussian(
        &mut self,
        deviation: &privacy::exact::Rational,
    ) -> Result<i64, privacy::mechanism::NoiseError> {
        Ok(self.kept.discrete_gaussian(deviation)? + self.by)
    }

    fn bits(&mut self) -> Result<[u8; 32], privacy::mechanism::NoiseError> {
        self.kept.bits()
    }
}

/// The least noised count of a shop that is shown.
fn threshold(plan: &DpPlan) -> Option<i64> {
    plan.summary().private.map(|private| private.threshold as i64)
}

fn question(sql: &str, rho: PicoRho) -> LocalQuestion {
    LocalQuestion {
        sql: sql.into(),
        purpose: "joint_analytics".parse().expect("a name"),
        analyst: "desk".parse().expect("a name"),
        rho,
    }
}

/// The median of members of whom as many spend nothing as spend a lot, and of one who spends a lot as often as it
/// counts: until the account is empty.
pub(super) fn own_quantiles(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    let questions = 3;
    campaign("a brand's own quantiles", trials, random, |is_in, _| {
        let mut brand = Brand::new(mutant);
        let rho = contract().local_quota().divided(questions).unwrap_or(PicoRho::ZERO);
        let mut score = 0.0;
        for number in 0..questions {
            // other words, or the answer would be the same
            let sql = format!(
                "SELECT quantile(amount_fen, 0.5) AS m FROM purchases WHERE amount_fen > -{}",
                number + 1
            );
            let lines = |plan: &DpPlan| {
                let mut collector = Collector::new(plan);
                for (member, bin, rows) in [("poor", 0, 100), ("rich", 511, 100), ("target", 511, 100)] {
                    if is_in || member != "target" {
                        collector.push(Some(member.as_bytes()), bin, &[Some(rows)]).ok()?;
                    }
                }
                collector.finish().ok()
            };
            let release = brand.ask(question(&sql, rho), lines);
            let value = release.map_or(0.0, |release| release.cells()[0].values[0].value);
            score += value / SPENDING_BOUND as f64 / questions as f64;
        }
        (score, brand.charged())
    })
}

fn shops(
    name: &'static str,
    mutant: Mutant,
    trials: u32,
    random: &mut Prng,
    others: impl Fn(i64) -> i64,
) -> Attack {
    let sql = "SELECT shop, count(distinct member) AS n FROM purchases GROUP BY shop";
    campaign(name, trials, random, |is_in, _| {
        let mut brand = Brand::new(mutant);
        let lines = |plan: &DpPlan| {
            let mut collector = Collector::new(plan);
            for member in i64::from(!is_in)..=others(threshold(plan)?) {
                let name = member.to_be_bytes();
                collector.push_group(Some(&name), Some("theirs"), &[Some(1)]).ok()?;
            }
            collector.finish().ok()
        };
        let release = brand.ask(question(sql, contract().local_quota()), lines);
        let shown = release.is_some_and(|release| !release.cells().is_empty());
        (f64::from(u8::from(shown)), brand.charged())
    })
}

/// A shop with one member less than it takes to be shown, or with the target.
fn a_shop_with_one_too_few(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    shops("a shop with one too few", mutant, trials, random, |threshold| threshold - 1)
}

/// A shop in which nobody but the target has ever been.
pub(super) fn a_shop_of_ones_own(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    shops("a shop of one's own", mutant, trials, random, |_| 0)
}
