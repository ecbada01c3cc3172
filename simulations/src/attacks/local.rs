//! Attacks on what one brand answers about its own members: counts until the account is empty, quantiles, and
//! groups whose names are private.
//!
//! The steps are those of [`privacy::alone`], with a log that certifies at once. A question with private groups
//! also takes a delta, which is too small to be seen here: the bound is that of rho alone.

use privacy::ids::{QueryId, SnapshotId};
use privacy::plan::LocalQuestion;
use privacy::{
    BoundedVector, CleanRoomEntry, Clock, Collector, DpPlan, Ledger, LocalEffect, LocalRelease,
    LocalRequest, LocalRoom, NoiseShare, PicoRho, UtcMillis,
};

use super::alliance::{Entry, Kept, Mutant, YEAR, brand, contract};
use super::statistics::Attack;
use super::{REPETITIONS_MAX, Run, campaign, part};
use crate::prng::Prng;

pub(super) const ATTACKS: [Run; 6] = [
    own_averaging,
    own_quantiles,
    a_shop_with_one_too_few,
    a_shop_of_ones_own,
    a_shop_too_many,
    a_member_too_many,
];

/// As many shops, and as many members, as the contract allows.
const SHOPS_MAX: i64 = super::alliance::SHOPS_MAX as i64;
const MEMBERS_MAX: i64 = super::alliance::MEMBERS_MAX as i64;
/// The bin in the middle.
const MIDDLE: i64 = 256;
/// Rows that a member may have.
const ROWS: i64 = 100;

/// A brand that answers alone, with its log.
pub(super) struct Brand {
    who: usize,
    pub(super) room: LocalRoom,
    pub(super) ledger: Ledger,
    entries: u64,
    pub(super) mutant: Mutant,
}

impl Brand {
    /// The brand of this number, without a past.
    pub(super) fn new(who: usize, mutant: Mutant) -> Self {
        let room = LocalRoom::new(brand(who), contract());
        Self { who, room, ledger: Ledger::new(), entries: 0, mutant }
    }

    /// What its log says was charged to its local account.
    pub(super) fn charged(&self) -> PicoRho {
        self.ledger.local_spent(brand(self.who), YEAR)
    }

    /// Charges, reads what `lines` gives for the plan, and shows.
    pub(super) fn ask(
        &mut self,
        question: LocalQuestion,
        lines: impl Fn(&DpPlan) -> Option<BoundedVector>,
    ) -> Option<LocalRelease> {
        let mut effects = self.begin(question, false)?;
        while !effects.is_empty() {
            let mut next = Vec::new();
            for effect in effects {
                match effect {
                    LocalEffect::Append(entry) => next.extend(self.certify(&entry)?),
                    LocalEffect::Read { id, plan, .. } => {
                        let (mut noise, mut source) = self.noise(&plan)?;
                        let vector = lines(&plan)?;
                        noise.cover(&plan, &vector, &mut source).ok()?;
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

    /// Asks, for one answer or one for each period; nothing when the planner or the account refuses.
    pub(super) fn begin(
        &mut self,
        question: LocalQuestion,
        stands: bool,
    ) -> Option<Vec<LocalEffect>> {
        if self.mutant == Mutant::WithoutLocalCharges {
            let entries = self.entries;
            *self = Self { entries, ..Self::new(self.who, self.mutant) };
        }
        let mut query = [0; 16];
        query[..8].copy_from_slice(&self.entries.to_be_bytes());
        let request = LocalRequest {
            query: QueryId(query),
            question,
            snapshot: SnapshotId([1; 32]),
            analyst_quota: contract().local_quota(),
            at_risk: PicoRho::ZERO,
            stands,
        };
        let clock = Clock { now: UtcMillis(self.entries), year: YEAR };
        self.room.ask(request, &self.ledger, clock).ok()
    }

    /// The own log takes an entry.
    pub(super) fn certify(&mut self, entry: &CleanRoomEntry) -> Option<Vec<LocalEffect>> {
        let index = self.entries;
        self.entries += 1;
        let (writer, time) = (brand(self.who), UtcMillis(index));
        let id = self.ledger.enter(&Entry { writer, index, time, bytes: entry.to_bytes() });
        Some(self.room.certified(id.ok()?, &self.ledger))
    }

    pub(super) fn noise(&self, plan: &DpPlan) -> Option<(NoiseShare, Lifted)> {
        let mut source = Lifted { kept: Kept::new(self.mutant), by: 0 };
        if self.mutant == Mutant::WithoutThreshold {
            source.by = threshold(plan)? - 1;
        }
        Some((NoiseShare::draw(plan, &mut source).ok()?, source))
    }
}

/// Noise with so much added: as if a threshold were so much less.
pub(super) struct Lifted {
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

pub(super) fn question(sql: &str, rho: PicoRho) -> LocalQuestion {
    LocalQuestion {
        sql: sql.into(),
        purpose: "joint_analytics".parse().expect("a name"),
        analyst: "desk".parse().expect("a name"),
        rho,
    }
}

/// Whether the member is among the brand's own: a third of the local quota a question, until it is empty.
fn own_averaging(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    own_repetition("averaging of a brand's own count", 3, mutant, trials, random)
}

/// The same for the whole local quota: once.
pub(super) fn own_averaging_at_once(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    own_repetition("a brand's own count for all it has", 1, mutant, trials, random)
}

fn own_repetition(
    name: &'static str,
    parts: usize,
    mutant: Mutant,
    trials: u32,
    random: &mut Prng,
) -> Attack {
    campaign(name, trials, random, |is_in, _| {
        let (answers, charged, _) = own_counts(parts, REPETITIONS_MAX, mutant, is_in);
        (answers.iter().sum::<f64>() / answers.len().max(1) as f64, charged)
    })
}

/// The same count again and again, each for such a part of the local quota, until the account refuses: what was
/// answered, what the log says was charged, and what the answers cost.
fn own_counts(
    parts: usize,
    most: usize,
    mutant: Mutant,
    is_in: bool,
) -> (Vec<f64>, PicoRho, PicoRho) {
    let mut brand = Brand::new(0, mutant);
    let rho = part(contract().local_quota(), parts);
    let lines = |plan: &DpPlan| {
        let mut collector = Collector::new(plan, *plan.participants().first()?);
        if is_in {
            collector.push(Some(b"target"), 0, &[Some(1)]).ok()?;
        }
        collector.finish().ok()
    };
    let releases: Vec<LocalRelease> = (0..most)
        .map_while(|_| {
            brand.ask(question("SELECT count(distinct member) FROM purchases", rho), lines)
        })
        .collect();
    let cost = super::sum(releases.iter().map(LocalRelease::rho));
    let answers = releases.iter().map(|release| release.cells()[0].values[0].value).collect();
    (answers, brand.charged(), cost)
}

/// The median where as many rows lie in the middle as at the top, and one whose rows at the bottom, thirty times
/// what it may have, would bring it from the middle to below: until the account is empty.
pub(super) fn own_quantiles(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    let (questions, many) = (3, 30);
    let own = |number: i64| match mutant {
        Mutant::WithoutClipping => format!("target{number}"),
        _ => "target".to_owned(),
    };
    campaign("a brand's own quantiles", trials, random, |is_in, _| {
        let mut brand = Brand::new(0, mutant);
        let rho = contract().local_quota().divided(questions).unwrap_or(PicoRho::ZERO);
        let lines = |plan: &DpPlan| {
            let mut collector = Collector::new(plan, *plan.participants().first()?);
            for number in 0..many {
                for (name, bin) in [("middle", MIDDLE), ("top", 511)] {
                    let name = format!("{name}{number}");
                    collector.push(Some(name.as_bytes()), bin, &[Some(ROWS)]).ok()?;
                }
                if is_in {
                    collector.push(Some(own(number).as_bytes()), 0, &[Some(ROWS)]).ok()?;
                }
            }
            collector.finish().ok()
        };
        let mut below = 0.0;
        for number in 0..questions {
            // other words, or the answer would be the same
            let sql = format!(
                "SELECT quantile(amount_fen, 0.5) AS m FROM purchases WHERE amount_fen <> {}",
                number + 1
            );
            let release = brand.ask(question(&sql, rho), lines);
            let value = release.map_or(f64::MAX, |release| release.cells()[0].values[0].value);
            // bins of two fen
            below += f64::from(u8::from(value < 2.0 * MIDDLE as f64)) / questions as f64;
        }
        (below, brand.charged())
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
        let mut brand = Brand::new(0, mutant);
        let lines = |plan: &DpPlan| {
            let mut collector = Collector::new(plan, *plan.participants().first()?);
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

/// Whether there is an answer at all, which everybody sees: as many shops as the contract allows, and one of the
/// target's own.
fn a_shop_too_many(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    let sql = "SELECT shop, count(distinct member) AS n FROM purchases GROUP BY shop";
    told_by_failing(
        "a shop more than there may be",
        sql,
        mutant,
        trials,
        random,
        |collector, is_in| {
            for shop in 0..SHOPS_MAX + i64::from(is_in) {
                let (member, shop) = (shop.to_be_bytes(), format!("shop {shop}"));
                collector.push_group(Some(&member), Some(&shop), &[Some(1)]).ok()?;
            }
            Some(())
        },
    )
}

/// The same with as many members as the contract allows, and the target.
fn a_member_too_many(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    let sql = "SELECT count(distinct member) AS n FROM purchases";
    told_by_failing(
        "a member more than there may be",
        sql,
        mutant,
        trials,
        random,
        |collector, is_in| {
            for member in 0..MEMBERS_MAX + i64::from(is_in) {
                collector.push(Some(&member.to_be_bytes()), 0, &[Some(1)]).ok()?;
            }
            Some(())
        },
    )
}

fn told_by_failing(
    name: &'static str,
    sql: &str,
    mutant: Mutant,
    trials: u32,
    random: &mut Prng,
    push: impl Fn(&mut Collector<'_>, bool) -> Option<()>,
) -> Attack {
    campaign(name, trials.min(20), random, |is_in, _| {
        let mut brand = Brand::new(0, mutant);
        let lines = |plan: &DpPlan| {
            let mut collector = Collector::new(plan, *plan.participants().first()?);
            push(&mut collector, is_in)?;
            collector.finish().ok()
        };
        let release = brand.ask(question(sql, contract().local_quota()), lines);
        (f64::from(u8::from(release.is_none())), PicoRho::ZERO)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_asks_and_is_charged() {
        for attack in ATTACKS {
            let attack = attack(Mutant::None, 1, &mut Prng::new(1));
            // what is told by failing is not paid for, and has to be nothing
            assert!(attack.rho > 0.0 || attack.bound == 0.0, "{attack:?}");
        }
    }

    /// Local accounts that forget show in the sums, whatever the noise was.
    #[test]
    fn what_a_brand_answered_alone_is_no_more_than_its_local_account_holds() {
        let quota = contract().local_quota();
        let (answers, charged, cost) = own_counts(1, 10, Mutant::None, true);
        assert_eq!((answers.len(), charged, cost), (1, quota, quota));
        let (answers, charged, cost) = own_counts(3, 10, Mutant::None, true);
        assert_eq!((answers.len(), charged), (3, cost));
        assert!(cost <= quota);
        let (answers, charged, cost) = own_counts(1, 10, Mutant::WithoutLocalCharges, true);
        assert_eq!((answers.len(), charged), (10, quota));
        assert!(cost > quota, "{cost}");
    }
}
