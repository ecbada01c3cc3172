//! What an attacker gains who does not keep to the steps, and from what is seen beside the answers.
//!
//! At each step a colluder, who also asks and pays, drops out or lies, again and again until its account
//! is empty. It keeps every opening that it gets, published or not; when they are all there it has the
//! sum. What the certified logs say was charged is the bound, as for an honest asker.

use privacy::PicoRho;

use super::alliance::{Alliance, Deviation, Line, Mutant, question};
use super::statistics::Attack;
use super::{ALL, COLLUDER, HONEST, MEMBERS, ONE, Run, campaign, honest, largest, part, quota};
use crate::prng::Prng;

/// Attempts of one who gets its quota back each time.
const ATTEMPTS_MAX: usize = 4;

pub(super) const ATTACKS: [Run; 12] = [
    |mutant, trials, random| deviation(Deviation::NoReservation, mutant, trials, random),
    |mutant, trials, random| deviation(Deviation::OtherPlan, mutant, trials, random),
    |mutant, trials, random| deviation(Deviation::TwoViews, mutant, trials, random),
    |mutant, trials, random| deviation(Deviation::NoHash, mutant, trials, random),
    |mutant, trials, random| deviation(Deviation::OtherSet, mutant, trials, random),
    |mutant, trials, random| deviation(Deviation::OtherVector, mutant, trials, random),
    |mutant, trials, random| deviation(Deviation::NoOpening, mutant, trials, random),
    |mutant, trials, random| deviation(Deviation::OtherOpening, mutant, trials, random),
    |mutant, trials, random| deviation(Deviation::FalseRenouncement, mutant, trials, random),
    openings_of_two_sets,
    traffic,
    rows_that_fail,
];

const fn name(deviation: Deviation) -> &'static str {
    match deviation {
        Deviation::NoReservation => "a liar who does not reserve",
        Deviation::OtherPlan => "a liar who reserves for another plan",
        Deviation::TwoViews => "a liar who shows two views of the set",
        Deviation::NoHash => "a liar who drops out before its hash",
        Deviation::OtherSet => "a liar whose hash is for another set",
        Deviation::OtherVector => "a liar whose hash is of another vector",
        Deviation::NoOpening => "a liar who keeps its opening",
        Deviation::OtherOpening => "a liar whose opening does not match",
        Deviation::FalseRenouncement => "a liar who renounces what it has seen",
    }
}

fn deviation(deviation: Deviation, mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    // at most steps nothing is opened, and fewer trials show as much
    let trials = trials.min(200);
    campaign(name(deviation), trials, random, |is_in, random| {
        let mut alliance = Alliance::new(mutant).with_liar(COLLUDER, deviation);
        alliance.lead(random.below(1 << 40) as u64);
        let spec = question(MEMBERS, "desk", &ALL, part(quota(), 4));
        let scale = alliance.plan(&spec).map_or(1, |plan| plan.columns()[0].scale());
        let mut scores = Vec::new();
        for _ in 0..ATTEMPTS_MAX {
            let Ok(seen) = alliance.ask(COLLUDER, &spec, &honest(is_in, ONE)) else { break };
            let own = seen.noise.get(&COLLUDER).and_then(|noise| noise.first()).copied();
            let own = own.unwrap_or(0);
            if let Some(sum) = seen.sum() {
                let sum = sum.first().copied().unwrap_or(0).wrapping_sub(own);
                scores.push(sum as f64 / scale as f64 / HONEST);
            } else {
                // what openings there are, added up
                let parts = seen.openings.values().filter_map(|vector| vector.first_chunk::<8>());
                let sum = parts.fold(0i64, |sum, part| sum.wrapping_add(i64::from_be_bytes(*part)));
                scores.push(f64::from(u8::from(sum > 0)));
            }
        }
        let score = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
        (score, alliance.charged(COLLUDER))
    })
}

/// All brands, then all but one: the openings of those who answered both times, subtracted.
fn openings_of_two_sets(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    let name = "openings of two sets subtracted";
    campaign(name, trials.min(200), random, |is_in, random| {
        let mut alliance = Alliance::new(mutant);
        alliance.lead(random.below(1 << 40) as u64);
        let mut lines = honest(false, ONE);
        if is_in {
            lines[1] = ONE.to_vec();
        }
        let mut of = |participants: &[usize]| {
            let spec = question(MEMBERS, "desk", participants, largest());
            let seen = alliance.ask(0, &spec, &lines).unwrap_or_default();
            let of = |who| {
                let opening: Option<&Vec<u8>> = seen.openings.get(&who);
                opening.and_then(|vector| vector.first_chunk::<8>()).copied().unwrap_or_default()
            };
            [0, 2, COLLUDER]
                .iter()
                .map(|who| i64::from_be_bytes(of(*who)))
                .fold(0, i64::wrapping_add)
        };
        let difference = of(&ALL).wrapping_sub(of(&[0, 2, COLLUDER]));
        (f64::from(u8::from(difference > 0)), PicoRho::ZERO)
    })
}

/// Who sends and certifies how many bytes in which order, beside the same without the member.
fn traffic(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    let name = "order and length of all that is sent";
    campaign(name, trials.min(100), random, |is_in, _| {
        let seen = |is_in| {
            let spec = question(
                "SELECT department, count(distinct member), sum(amount_fen) FROM purchases \
                 GROUP BY department HAVING count(distinct member) > 5 LIMIT 3",
                "desk",
                &ALL,
                largest(),
            );
            let lines: Vec<Line<'_>> = vec![("target", 0, &[1, 100_000]), ("target", 3, &[7, -4])];
            let seen = Alliance::new(mutant).ask(0, &spec, &honest(is_in, &lines));
            seen.unwrap_or_default().traffic
        };
        (f64::from(u8::from(seen(is_in) != seen(false))), PicoRho::ZERO)
    })
}

/// A member whose rows are made to overflow, so that a brand that fails on them would tell.
fn rows_that_fail(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    let name = "rows made to fail the reading";
    let hostile: [&[i64]; 4] = [&[i64::MAX], &[i64::MAX], &[i64::MIN], &[-1]];
    // more of them than are gathered without being netted
    let hostile = hostile.iter().cycle().take(100);
    let lines: Vec<Line<'_>> = hostile.map(|sums| ("target", 0, *sums)).collect();
    campaign(name, trials.min(100), random, |is_in, _| {
        let mut alliance = Alliance::new(mutant);
        let sql = "SELECT sum(amount_fen) FROM purchases";
        let spec = question(sql, "desk", &ALL, largest());
        let seen = alliance.ask(0, &spec, &honest(is_in, &lines)).unwrap_or_default();
        let told = seen.failed > 0 || seen.release.is_none();
        (f64::from(u8::from(told)), PicoRho::ZERO)
    })
}
