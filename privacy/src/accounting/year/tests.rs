use proptest::prelude::*;

use super::*;
use crate::accounting::{AuditEntry, Kept, OverBudget, Rule, audit};
use crate::ids::{Attempt, PlanHash, QueryId, SnapshotId, SqlHash};
use crate::steps::{AttemptId, CleanRoomEntry, LocalCharge, Reserve};
use crate::testing::{BRANDS, Logged, brand, raw_contract};

const YEAR: CalendarYear = CalendarYear(2026);
const PROFILES: [&str; 3] = ["large", "standard", "trial"];

/// A contract of some of the five brands.
fn contract(brands: &[usize], profile: &str) -> Contract {
    let mut raw = raw_contract();
    raw.profile = profile.into();
    raw.participants = brands.iter().map(|of| BRANDS[*of].to_owned()).collect();
    // carriers have to be among the participants
    raw.tables.remove(0);
    raw.public_tables.clear();
    raw.try_into().unwrap()
}

fn id(of: usize, query: u16) -> AttemptId {
    let mut name = [0; 16];
    name[..2].copy_from_slice(&query.to_be_bytes());
    AttemptId { proposer: brand(of), query: QueryId(name), attempt: Attempt::FIRST }
}

fn joint(contract: &Contract, of: usize, query: u16, rho: u64) -> Reserve {
    Reserve {
        id: id(of, query),
        plan: PlanHash([1; 32]),
        sql: SqlHash([1; 32]),
        contract: contract.hash(),
        participants: contract.participants().to_vec(),
        rho: PicoRho::new(rho),
        year: YEAR,
        analyst: "desk".parse().unwrap(),
        expires_at: UtcMillis(0),
        open_by: UtcMillis(0),
    }
}

fn local(contract: &Contract, of: usize, query: u16, rho: u64) -> LocalCharge {
    LocalCharge {
        id: id(of, query),
        plan: PlanHash([1; 32]),
        sql: SqlHash([1; 32]),
        contract: contract.hash(),
        rho: PicoRho::new(rho),
        delta: PicoDelta::new(rho.min(60_000)),
        year: YEAR,
        analyst: "desk".parse().unwrap(),
        snapshot: SnapshotId([1; 32]),
    }
}

/// Five brands, each with what it knows: its own log at once, others' up to some entry.
struct World {
    ledgers: Vec<Ledger>,
    logs: Vec<Vec<Logged>>,
    /// How far each (first) knows each log (second).
    known: Vec<Vec<usize>>,
    all: Ledger,
    queries: u16,
}

impl World {
    fn new() -> Self {
        Self {
            ledgers: vec![Ledger::new(); 5],
            logs: (0..5).map(|_| Vec::new()).collect(),
            known: vec![vec![0; 5]; 5],
            all: Ledger::new(),
            queries: 0,
        }
    }

    fn learn(&mut self, who: usize, of: usize, entries: usize) {
        let end = self.logs[of].len().min(self.known[who][of].saturating_add(entries));
        for entry in &self.logs[of][self.known[who][of]..end] {
            self.ledgers[who].enter(entry).unwrap();
        }
        self.known[who][of] = end;
    }

    /// Charges a brand by what it knows, if its accounts cover it.
    fn charge(
        &mut self,
        contract: &Contract,
        who: usize,
        is_joint: bool,
        rho: u64,
    ) -> Result<(), OverBudget> {
        self.queries += 1;
        let (all, now) = (PicoRho::new(u64::MAX), UtcMillis(1));
        let (id, entry) = if is_joint {
            let reserve = joint(contract, who, self.queries, rho);
            self.ledgers[who].admit(contract, &reserve, all, &[], now)?;
            (reserve.id, CleanRoomEntry::Reserve(reserve))
        } else {
            let charge = local(contract, who, self.queries, rho);
            self.ledgers[who].admit_local(contract, &charge, all, &[])?;
            (charge.id, CleanRoomEntry::LocalCharge(charge))
        };
        // one count for all logs, which is the time too
        let index = u64::from(self.queries);
        let logged = Logged::of(&entry, index, brand(who));
        self.all.enter(&logged).unwrap();
        self.logs[who].push(logged);
        self.learn(who, who, 1);
        // and so do those who see all of it
        let covered = match is_joint {
            true => self.all.is_covered(contract, &id),
            false => self.all.is_covered_locally(contract, &id),
        };
        assert!(covered, "{who} was admitted and is not covered");
        Ok(())
    }

    fn charged(&self) -> (u64, u64) {
        let rho = (0..5).map(|of| {
            let of = brand(of);
            self.all.joint_spent(of, YEAR).get() + self.all.local_spent(of, YEAR).get()
        });
        (rho.sum(), (0..5).map(|of| self.all.delta_spent(brand(of), YEAR).get()).sum())
    }

    /// The next contract: all logs are known to all.
    fn follow(&mut self, former: &Contract) {
        for who in 0..5 {
            (0..5).for_each(|of| self.learn(who, of, usize::MAX));
            self.ledgers[who].was_under(InForce { contract: former, from: YEAR, until: YEAR });
        }
        self.all.was_under(InForce { contract: former, from: YEAR, until: YEAR });
    }

    fn findings(&self, contracts: &[&Contract]) -> Vec<Rule> {
        let in_force: Vec<InForce<'_>> = contracts
            .iter()
            .map(|contract| InForce { contract, from: YEAR, until: YEAR })
            .collect();
        let entries = self.logs.iter().flatten().map(|entry| {
            let under = match CleanRoomEntry::from_bytes(crate::steps::CertifiedEntry::bytes(entry))
            {
                Ok(CleanRoomEntry::Reserve(reserve)) => Some(reserve.contract),
                Ok(CleanRoomEntry::LocalCharge(charge)) => Some(charge.contract),
                _ => None,
            };
            AuditEntry { entry, year: YEAR, under }
        });
        let (_, findings) = audit(&in_force, entries, &Kept::default());
        findings.into_iter().map(|finding| finding.rule).collect()
    }
}

/// Everything a brand has left, on both accounts.
fn spend_all(world: &mut World, contract: &Contract, who: usize) {
    for is_joint in [true, false] {
        let left = |world: &World| match is_joint {
            true => world.ledgers[who].joint_left(contract, brand(who), YEAR),
            false => world.ledgers[who].local_left(contract, brand(who), YEAR),
        };
        let rho = left(world).get();
        if rho > 0 {
            world.charge(contract, who, is_joint, rho).unwrap();
        }
        assert_eq!(left(world), PicoRho::ZERO);
    }
}

#[test]
fn three_brands_spend_their_thirds_and_a_fourth_that_joins_finds_nothing_left() {
    let (three, four) = (contract(&[0, 1, 2], "trial"), contract(&[0, 1, 2, 3], "trial"));
    let mut world = World::new();
    (0..3).for_each(|who| spend_all(&mut world, &three, who));
    let year = three.profile().rho_per_year();
    assert_eq!(world.charged().0, year.get());
    world.follow(&three);
    let refused = world.charge(&four, 3, true, 1_000_000).unwrap_err();
    assert_eq!(
        refused,
        OverBudget::Year {
            brand: brand(3),
            year: YEAR,
            promise: year,
            left: PicoRho::ZERO,
            asked: PicoRho::new(1_000_000)
        }
    );
    assert!(refused.to_string().contains("wait for the new year"), "{refused}");
    assert!(world.charge(&four, 3, false, 1).is_err());
    assert_eq!(world.findings(&[&three, &four]), []);
    // one that charges nevertheless is found, where it does
    let entry = CleanRoomEntry::Reserve(joint(&four, 3, 99, 7));
    world.logs[3].push(Logged::of(&entry, 1_000, brand(3)));
    assert_eq!(world.findings(&[&three, &four]), [Rule::OverYear]);
}

/// A constitution that changes no contract leaves it in the list twice: the years of either are judged.
#[test]
fn a_year_under_a_contract_of_before_is_judged_too() {
    let three = contract(&[0, 1, 2], "trial");
    let mut world = World::new();
    for who in 0..3 {
        world.queries += 1;
        // a half each, as no honest brand would be charged
        let half = three.profile().rho_per_year().get() / 2;
        let entry = CleanRoomEntry::Reserve(joint(&three, who, world.queries, half));
        world.logs[who].push(Logged::of(&entry, u64::from(world.queries), brand(who)));
    }
    let last_year = CalendarYear(2025);
    let twice = [
        InForce { contract: &three, from: last_year, until: last_year },
        InForce { contract: &three, from: YEAR, until: YEAR },
    ];
    let terms = super::Terms::until(&twice, YEAR, Some(three.hash())).unwrap();
    assert_eq!(terms.rho, three.profile().rho_per_year());
    assert!(super::Terms::until(&twice, CalendarYear(2024), Some(three.hash())).is_none());
    // each is above its brand's quota, and a finding of its own
    assert_eq!(world.findings(&[&three, &three]), [Rule::OverQuota; 3]);
}

#[test]
fn what_others_have_not_spent_is_theirs_and_one_contract_leaves_every_quota_whole() {
    let (three, four) = (contract(&[0, 1, 2], "trial"), contract(&[0, 1, 2, 3], "trial"));
    let quota = |of: &Contract| of.joint_quota().get() + of.local_quota().get();
    let mut world = World::new();
    spend_all(&mut world, &three, 0);
    world.follow(&three);
    // the first has spent a twelfth more than its quarter: each of the others has that less
    let excess = quota(&three) - quota(&four);
    for who in 1..4 {
        let left = world.ledgers[who].together_left(&four, brand(who), YEAR);
        assert_eq!(left.get(), quota(&four) - excess, "{who}");
        spend_all(&mut world, &four, who);
    }
    assert!(world.charged().0 <= four.profile().rho_per_year().get());
    assert_eq!(world.findings(&[&three, &four]), []);

    let mut world = World::new();
    (0..4).for_each(|who| spend_all(&mut world, &four, who));
    assert_eq!(world.charged().0, 4 * quota(&four));
}

#[test]
fn a_larger_promise_waits_for_the_new_year_and_a_liar_closes_nobodys_account() {
    let (small, large) = (contract(&[0, 1, 2], "large"), contract(&[0, 1, 2], "trial"));
    let mut world = World::new();
    world.follow(&small);
    for who in 0..3 {
        assert!(world.charge(&large, who, true, large.joint_quota().get()).is_err());
        spend_all(&mut world, &large, who);
    }
    assert_eq!(world.charged().0, 3 * small.joint_quota().get() + 3 * small.local_quota().get());
    assert_eq!(world.findings(&[&small, &large]), []);
    let next = CalendarYear(2027);
    assert_eq!(world.ledgers[0].joint_left(&large, brand(0), next), large.joint_quota());
    assert_eq!(world.ledgers[0].promise(&large, YEAR), small.profile().rho_per_year());

    let mut world = World::new();
    let absurd = CleanRoomEntry::LocalCharge(local(&large, 1, 1, u64::MAX));
    world.logs[1].push(Logged::of(&absurd, 0, brand(1)));
    world.learn(0, 1, 1);
    spend_all(&mut world, &large, 0);
    assert_eq!(world.findings(&[&large]), [Rule::OverLocalQuota]);
}

proptest! {
    /// Whatever contracts follow each other, whoever joins and leaves in a year, whoever charges what on which
    /// account while it knows others' logs up to anywhere since the last change: all brands together are charged
    /// no more than the least that was promised.
    #[test]
    fn no_succession_of_contracts_overspends_a_year(
        epochs in prop::collection::vec(
            (
                prop::sample::subsequence(vec![0usize, 1, 2, 3, 4], 3..=5),
                prop::sample::select(PROFILES[1..].to_vec()),
                prop::collection::vec(
                    (0usize..5, any::<bool>(), 1u64..20, 0usize..5, 0usize..3),
                    0..40,
                ),
            ),
            1..5,
        ),
    ) {
        let mut world = World::new();
        let mut promised = u64::MAX;
        let mut former: Option<Contract> = None;
        let mut contracts = Vec::new();
        for (brands, profile, charges) in epochs {
            let present = contract(&brands, profile);
            if let Some(former) = &former {
                world.follow(former);
            }
            let (before, _) = world.charged();
            promised = promised.min(present.profile().rho_per_year().get());
            for (who, is_joint, twentieths, of, entries) in charges {
                if !brands.contains(&who) {
                    continue;
                }
                world.learn(who, of, entries);
                let quota = if is_joint { present.joint_quota() } else { present.local_quota() };
                let rho = quota.get() / 20 * twentieths;
                let _ = world.charge(&present, who, is_joint, rho);
                let (rho, delta) = world.charged();
                // a promise that falls below what was charged cannot take it back, and lets nobody add to it
                prop_assert!(rho <= promised.max(before), "{rho} of {promised}");
                prop_assert!(delta <= present.profile().delta_per_year().get());
            }
            contracts.push(present.clone());
            former = Some(present);
        }
        let all: Vec<&Contract> = contracts.iter().collect();
        prop_assert_eq!(world.findings(&all), Vec::<Rule>::new());
    }
}
