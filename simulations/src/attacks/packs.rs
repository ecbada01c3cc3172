//! Attacks on packs: `GROUP BY brand`, one release of each brand that agrees, beside each other and beside the joint
//! answer to the same question.
//!
//! A person is at every honest brand at most once, so that what all releases cost together is what all of them may show.

use privacy::{BrandPack, Collector, DpPlan, PicoRho};

use super::alliance::{Alliance, BRANDS, Mutant, contract, question};
use super::local::{self, Brand};
use super::statistics::Attack;
use super::{
    ALL, COLLUDER, HONEST, MEMBERS, ONE, ROW, Run, ask, campaign, honest, largest, part, sum,
};
use crate::prng::Prng;

pub(super) const ATTACKS: [Run; 3] =
    [all_of_a_pack, a_pack_beside_the_joint_answer, the_joint_answer_less_a_pack];

const BY_BRAND: &str = "SELECT brand, count(distinct member) AS n FROM purchases GROUP BY brand";

/// The releases of these brands, each of which has so many members, and what they cost together. Nothing where one
/// refuses.
fn pack(mutant: Mutant, rho: PicoRho, brands: &[(usize, usize)]) -> (Option<BrandPack>, PicoRho) {
    let mut charged = PicoRho::ZERO;
    let mut releases = Vec::new();
    for (who, members) in brands {
        let mut brand = Brand::new(*who, mutant);
        let lines = |plan: &DpPlan| {
            let mut collector = Collector::new(plan, *plan.participants().first()?);
            for member in 0..*members {
                let name = format!("member{member}");
                collector.push(Some(name.as_bytes()), 0, &[Some(1)]).ok()?;
            }
            collector.finish().ok()
        };
        releases.extend(brand.ask(local::question(BY_BRAND, rho), lines));
        charged = sum([charged, brand.charged()]);
    }
    let pack = BrandPack::new(releases).ok();
    (pack.filter(|pack| pack.releases().len() == brands.len()), charged)
}

/// All that a pack's brands say, added up.
fn total(pack: Option<&BrandPack>) -> f64 {
    pack.into_iter().flat_map(BrandPack::cells).map(|(_, cell)| cell.values[0].value).sum()
}

/// The honest brands, each with the member or with nobody.
fn with_or_without(is_in: bool) -> Vec<(usize, usize)> {
    ALL.into_iter().filter(|who| *who != COLLUDER).map(|who| (who, usize::from(is_in))).collect()
}

/// The member is at every honest brand, and each answers for all its local quota.
fn all_of_a_pack(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    campaign("all releases of a pack", trials, random, |is_in, _| {
        let (pack, charged) = pack(mutant, contract().local_quota(), &with_or_without(is_in));
        (total(pack.as_ref()) / HONEST, charged)
    })
}

/// What a brand's local account has beside what the joint question may make fail at it.
fn beside_a_joint_question() -> PicoRho {
    part(contract().local_quota(), 2)
}

/// The member is at every honest brand: their releases and the joint answer, each by its weight.
fn a_pack_beside_the_joint_answer(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    let (own, joint) = (beside_a_joint_question(), largest());
    // noise has a variance of 1 / (2 rho) at one brand, and of n^2 / (2 rho) in the joint answer, of which the honest
    // add all
    let spread = (BRANDS * BRANDS) as f64;
    let (own_weight, joint_weight) = (own.to_rho(), joint.to_rho() * HONEST / spread);
    let expected = HONEST * own_weight + HONEST * joint_weight;
    campaign("a pack beside the joint answer", trials, random, |is_in, _| {
        let mut alliance = Alliance::new(mutant);
        let spec = question(MEMBERS, "desk", &ALL, joint);
        let values = ask(&mut alliance, 0, &spec, &honest(is_in, ONE), &[COLLUDER]);
        let (pack, charged) = pack(mutant, own, &with_or_without(is_in));
        let joint = values.map_or(0.0, |values| values[0]);
        let score = own_weight * total(pack.as_ref()) + joint_weight * joint;
        (score / expected, sum([charged, alliance.charged(0)]))
    })
}

/// The member is at one brand alone, which keeps out of the pack; how many the others have only they know. Their
/// releases are taken off the joint answer.
fn the_joint_answer_less_a_pack(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    let names: Vec<String> = (0..40).map(|number| format!("member{number}")).collect();
    campaign("the joint answer less a pack", trials, random, |is_in, random| {
        let others = [1, 2].map(|who| (who, random.below(names.len())));
        let mut lines = honest(false, ONE);
        if is_in {
            lines[0] = ONE.to_vec();
        }
        for (who, members) in others {
            lines[who] = names.iter().take(members).map(|name| (name.as_str(), 0, ROW)).collect();
        }
        let mut alliance = Alliance::new(mutant);
        let spec = question(MEMBERS, "desk", &ALL, largest());
        let values = ask(&mut alliance, 0, &spec, &lines, &[COLLUDER]);
        let (pack, charged) = pack(mutant, beside_a_joint_question(), &others);
        let left = values.map_or(0.0, |values| values[0]) - total(pack.as_ref());
        (left, sum([charged, alliance.charged(0)]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without noise the differences are what is sought, so that the attacks attack: exactly the member.
    #[test]
    fn without_noise_every_pack_tells_the_member() {
        for attack in ATTACKS {
            let attack = attack(Mutant::WithoutNoise, 20, &mut Prng::new(1));
            assert!((attack.advantage - 1.0).abs() < 1e-9, "{attack:?}");
            assert!(attack.rho > 0.0, "{attack:?}");
        }
    }
}
