//! Whole alliances in memory: random orders, losses, silence, crashes.

mod alliance;
mod failures;
mod largest;

use std::collections::BTreeMap;

use alliance::{Alliance, Fault, HALVES, LIFETIME};
use proptest::prelude::*;

use super::*;
use crate::accounting::{Finding, OverBudget, Rule};
use crate::contract::{BudgetProfile, Contract};
use crate::ids::{Attempt, QueryId};
use crate::masked_sum::MaskedVector;
use crate::release::ReleaseError;
use crate::testing::{brand, raw_contract, sample_contract, spec};
use crate::units::PicoRho;

const RHO: PicoRho = BudgetProfile::Trial.rho_per_query();

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// The good path: whatever the order of entries and messages, and whatever is lost once,
    /// everybody releases the same bytes: the exact sum plus everybody's noise.
    #[test]
    fn everybody_releases_the_same_answer(n in 3usize..=5, seed in any::<u64>(), loss in 0u8..60) {
        let mut alliance = Alliance::new(n, seed);
        alliance.loss_percent = loss;
        let id = alliance.propose(0, 1, HALVES).unwrap();
        alliance.run_until(|a| a.released_by(id) == n);
        alliance.settle();
        let release = alliance.releases[0][&id].clone();
        for brand in 1..n {
            prop_assert_eq!(alliance.releases[brand][&id].stable_bytes(), release.stable_bytes());
        }
        let values: Vec<f64> = release.cells().iter().map(|cell| cell.values[0].value).collect();
        prop_assert_eq!(values, alliance.truth_plus_noise());
        prop_assert_eq!(alliance.joint_spent(0), RHO);
        prop_assert_eq!(alliance.audit(), Vec::<Finding>::new());
        alliance.check_invariants();
        // Who logged another release than the openings add up to is found.
        let wrong = alliance.forge_release(n - 1, id);
        prop_assert!(alliance.audit_with(wrong).contains(&Rule::ReleaseMismatch));
    }

    /// Crashes at any point, between a record and the effect after it too: every attempt ends
    /// released alike by all, or void; nobody ever makes a second vector or opens what it renounced.
    #[test]
    fn crashes_never_make_a_second_vector(n in 3usize..=4, seed in any::<u64>()) {
        let mut alliance = Alliance::new(n, seed);
        alliance.crash_percent = 4;
        let id = alliance.propose(0, 1, HALVES).unwrap();
        alliance.run_for(3 * LIFETIME);
        alliance.crash_percent = 0;
        alliance.run_for(LIFETIME);
        alliance.check_invariants();
        let released = alliance.released_by(id);
        prop_assert!(released == 0 || released == n, "{released} of {n}");
        let spent = alliance.joint_spent(0);
        prop_assert!(released == 0 || spent == RHO);
        prop_assert_eq!(alliance.audit(), Vec::<Finding>::new());
    }

    /// Step 5: one hash is missing. Nothing is opened, everyone who committed renounces, and the
    /// quota comes back.
    #[test]
    fn a_missing_hash_voids_the_attempt_and_returns_the_quota(n in 3usize..=5, seed in any::<u64>()) {
        let mut alliance = Alliance::new(n, seed);
        alliance.fault = Some((n - 1, Fault::NoHash));
        let id = alliance.propose(0, 1, HALVES).unwrap();
        alliance.run_for(3 * LIFETIME);
        prop_assert_eq!(alliance.released_by(id), 0);
        prop_assert_eq!(alliance.kept.openings.len(), 0);
        prop_assert_eq!(alliance.joint_spent(0), PicoRho::ZERO);
        let facts = alliance.rooms[0].ledger().facts(&id).unwrap();
        prop_assert!(facts.is_returned());
        prop_assert!(facts.commits.keys().eq(facts.not_opened.keys()));
        // The brand that read and did not commit books the cost on its own account.
        let local = alliance.rooms[0].ledger().local_spent(brand(n - 1), alliance.year());
        prop_assert_eq!(local, RHO);
        prop_assert_eq!(alliance.audit(), Vec::<Finding>::new());
        // The next attempt is charged by itself and answers, for what one brand's failures may still cost.
        alliance.fault = None;
        let rho = PicoRho::new(1_000_000_000);
        alliance.rho = Some(rho);
        let next = alliance.propose_attempt(0, 1, 2, HALVES).unwrap();
        alliance.run_until(|a| a.released_by(next) == n);
        alliance.settle();
        prop_assert_eq!(alliance.joint_spent(0), rho);
        alliance.check_invariants();
    }

    /// Step 6: one opening does not come. The charge stands and the silent brand is named.
    #[test]
    fn a_missing_opening_is_evidence_and_the_charge_stands(n in 3usize..=5, seed in any::<u64>()) {
        let mut alliance = Alliance::new(n, seed);
        let silent = n - 1;
        alliance.fault = Some((silent, Fault::NoOpening));
        let id = alliance.propose(0, 1, HALVES).unwrap();
        alliance.run_for(4 * LIFETIME);
        let honest: Vec<usize> = (0..silent).filter(|b| alliance.releases[*b].contains_key(&id)).collect();
        prop_assert_eq!(honest, Vec::<usize>::new());
        prop_assert_eq!(alliance.joint_spent(0), RHO);
        let facts = alliance.rooms[0].ledger().facts(&id).unwrap();
        prop_assert!((0..silent).all(|b| facts.accusations.contains_key(&(brand(b), brand(silent)))));
        prop_assert!(facts.returned.is_none() && facts.not_opened.is_empty());
        let finding = Finding { log: brand(silent), index: None, rule: Rule::MissingOpening };
        prop_assert_eq!(alliance.audit(), vec![finding]);
        // A late opening still gives the answer that was paid for.
        alliance.fault = None;
        alliance.run_until(|a| a.released_by(id) == n);
        alliance.settle();
        prop_assert_eq!(alliance.audit(), Vec::<Finding>::new());
        alliance.check_invariants();
    }
}

/// A brand that is gone for good: its log never passes the expiry, so nobody can know that it
/// holds no hash. Others renounce after the grace, and the charge stands.
#[test]
fn a_dead_brand_voids_the_attempt_but_returns_nothing() {
    let mut alliance = Alliance::new(4, 7);
    alliance.fault = Some((3, Fault::Dead));
    let id = alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_for(3 * LIFETIME + 2 * VOID_GRACE_MILLIS);
    assert_eq!(alliance.released_by(id), 0);
    assert_eq!(alliance.joint_spent(0), RHO);
    assert_eq!(alliance.rooms[0].progress(&id, alliance.now()), Some(Progress::Void));
    assert_eq!(alliance.audit(), []);
}

/// A constitution changes the contract while an attempt is under way: it cannot go on, nobody opens
/// anything, what it was charged stands, and the next question is planned under the new one.
#[test]
fn another_contract_ends_what_is_under_way_and_keeps_the_accounts() {
    let mut alliance = Alliance::new(3, 11);
    let first = alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_until(|a| a.released_by(first) == 3);
    let second = alliance.propose(0, 2, HALVES).unwrap();
    alliance.run_until(|a| a.reads.iter().sum::<usize>() > 3);
    let mut raw = raw_contract();
    raw.members_at_most -= 1;
    let contract = Contract::try_from(raw).unwrap();
    for room in &mut alliance.rooms {
        room.follow(contract.clone());
        // the same again changes nothing
        room.follow(contract.clone());
    }
    alliance.run_for(4 * LIFETIME);
    assert_eq!((alliance.released_by(first), alliance.released_by(second)), (3, 0));
    let spent = alliance.joint_spent(0);
    assert!(spent >= RHO && spent <= RHO.checked_add(RHO).unwrap(), "{spent:?}");
    let third = alliance.propose(0, 3, HALVES).unwrap();
    let facts =
        |a: &Alliance| a.rooms[0].ledger().facts(&third).and_then(|it| it.reserve()).cloned();
    alliance.run_until(|a| facts(a).is_some());
    assert_eq!(facts(&alliance).unwrap().contract, contract.hash());
    alliance.run_until(|a| a.released_by(third) == 3);
    // who restarts under the new contract has the same accounts
    assert!(alliance.joint_spent(0) >= spent);
}

#[test]
fn a_participant_may_decline_before_anything_is_read() {
    let mut alliance = Alliance::new(3, 1);
    alliance.fault = Some((2, Fault::Declines));
    let id = alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_for(3 * LIFETIME);
    assert_eq!(alliance.declined, [(id, brand(2), DeclineReason::Policy)]);
    assert_eq!(alliance.reads, [0, 0, 0]);
    assert_eq!(alliance.joint_spent(0), PicoRho::ZERO);
    alliance.check_invariants();
}

/// Trap 2: an account has one writer and one order, so concurrent charges cannot overdraw it.
#[test]
fn trap_2_concurrent_charges_cannot_overdraw_an_account() {
    let mut alliance = Alliance::new(3, 2);
    // 18e9 of quota: three questions of 5e9. Two at a time, certified or not.
    alliance.propose(0, 1, HALVES).unwrap();
    alliance.propose(0, 2, HALVES).unwrap();
    let third = alliance.propose(0, 3, HALVES).unwrap_err();
    assert!(matches!(third, ProposeError::Budget(OverBudget::OpenReservations { .. })), "{third}");
    alliance.run_until(|a| a.releases[0].len() == 2);
    alliance.settle();
    alliance.propose(0, 3, HALVES).unwrap();
    alliance.run_until(|a| a.releases[0].len() == 3);
    alliance.settle();
    let fourth = alliance.propose(0, 4, HALVES).unwrap_err();
    assert!(matches!(fourth, ProposeError::Budget(OverBudget::Brand { .. })), "{fourth}");
    // Another brand's account is its own.
    alliance.propose(1, 5, HALVES).unwrap();
    assert_eq!(alliance.audit(), []);
}

/// Trap 2, from the participants' side: a proposer that certifies a reservation its quota does not
/// cover finds nobody to take part, and the audit names the entry.
#[test]
fn trap_2_an_overdrawing_reservation_is_declined_and_found() {
    let mut alliance = Alliance::new(3, 3);
    for query in 1..=3 {
        let id = alliance.propose(0, query, HALVES).unwrap();
        alliance.run_until(|a| a.released_by(id) == 3);
        alliance.settle();
    }
    let spec = spec(HALVES, 3);
    let id = alliance.forge_reserve(0, 9, &spec, alliance.year());
    alliance.run_for(LIFETIME / 2);
    let reasons: Vec<DeclineReason> = alliance.declines_sent(id);
    assert_eq!(reasons, [DeclineReason::Budget, DeclineReason::Budget]);
    assert_eq!(alliance.audit().iter().map(|f| f.rule).collect::<Vec<_>>(), [Rule::OverQuota]);
}

/// Trap 3: accounts run by the year of the query, and questions about different months add up.
#[test]
fn trap_3_no_discount_for_months_that_do_not_overlap() {
    let mut alliance = Alliance::new(3, 4);
    let part = |half: &str| {
        format!(
            "SELECT count(distinct member) AS m FROM purchases WHERE purchased_on {half} '2017-07-01'"
        )
    };
    let first = alliance.propose(0, 1, &part("<")).unwrap();
    alliance.run_until(|a| a.released_by(first) == 3);
    let second = alliance.propose(0, 2, &part(">=")).unwrap();
    alliance.run_until(|a| a.released_by(second) == 3);
    alliance.settle();
    assert_eq!(alliance.joint_spent(0), RHO.checked_add(RHO).unwrap());
    // A reservation booked to another year is declined, and found.
    let wrong = crate::units::CalendarYear(alliance.year().0 + 1);
    let id = alliance.forge_reserve(0, 3, &spec(HALVES, 3), wrong);
    alliance.run_for(LIFETIME / 2);
    assert_eq!(alliance.declines_sent(id), [DeclineReason::Expiry, DeclineReason::Expiry]);
    assert_eq!(alliance.audit().iter().map(|f| f.rule).collect::<Vec<_>>(), [Rule::WrongYear]);
}

/// Trap 10: a disk put back to before the vector was drawn, while the log has its hash. Fresh
/// noise under the same attempt would leak the difference: nothing is drawn, the attempt is void.
#[test]
fn trap_10_a_restored_disk_never_draws_again() {
    let mut alliance = Alliance::new(3, 5);
    alliance.fault = Some((2, Fault::NoHash));
    let id = alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_until(|a| {
        a.rooms[1].ledger().facts(&id).is_some_and(|f| f.commits.contains_key(&brand(1)))
    });
    let full = alliance.disks[1].len();
    alliance.disks[1].retain(|bytes| {
        !matches!(Record::from_bytes(bytes).unwrap(), Record::Drawn(_) | Record::ReadStarted(_))
    });
    assert!(alliance.disks[1].len() < full);
    alliance.restart(1);
    alliance.run_for(3 * LIFETIME);
    assert_eq!(alliance.reads[1], 1);
    let facts = alliance.rooms[0].ledger().facts(&id).unwrap();
    assert!(facts.not_opened.contains_key(&brand(1)));
    alliance.check_invariants();
}

/// Brand 1 does not see brand 2's hash in time and renounces. When the hash turns up it must not
/// open all the same, nor must one that finds hash and renouncement together after a restart.
#[test]
fn who_has_renounced_never_opens() {
    let mut alliance = Alliance::new(3, 12);
    let id = alliance.propose(0, 1, HALVES).unwrap();
    let set = |a: &Alliance| {
        a.rooms.iter().all(|r| r.ledger().facts(&id).is_some_and(|f| f.set().is_some()))
    };
    alliance.run_until(set);
    alliance.hidden = [(1, 2), (0, 2), (0, 1)].into();
    alliance.run_until(|a| a.rooms[2].ledger().facts(&id).is_some_and(|f| f.charge().is_some()));
    // Brand 0 is down from here on; brand 1 waits for a log that does not come.
    let before = alliance.disks[0].len();
    alliance.run_for(LIFETIME + VOID_GRACE_MILLIS);
    alliance.disks[0].truncate(before);
    alliance.hidden.clear();
    alliance.restart_with_all_logs(0);
    alliance.run_for(LIFETIME);
    let facts = alliance.rooms[1].ledger().facts(&id).unwrap();
    assert!(facts.charge().is_some() && facts.not_opened.contains_key(&brand(1)));
    assert!(
        alliance.kept.openings.iter().all(|(from, _)| *from == brand(2)),
        "{:?}",
        alliance.kept.openings
    );
    assert_eq!(alliance.released_by(id), 0);
    // Brand 2 had opened, so the charge stands.
    assert_eq!(alliance.joint_spent(0), RHO);
    alliance.check_invariants();
}

/// A renouncement binds from the disk on, before it is certified.
#[test]
fn a_renouncement_on_disk_binds() {
    let mut alliance = Alliance::new(3, 14);
    let id = alliance.propose(0, 1, HALVES).unwrap();
    let set = |a: &Alliance| {
        a.rooms.iter().all(|r| r.ledger().facts(&id).is_some_and(|f| f.set().is_some()))
    };
    alliance.run_until(set);
    alliance.hidden = [(1, 2)].into();
    alliance.run_until(|a| {
        a.rooms[1].ledger().facts(&id).is_some_and(|f| f.commits.contains_key(&brand(1)))
    });
    alliance.hidden = [(1, 2), (1, 1), (0, 1), (2, 1)].into();
    alliance.run_for(LIFETIME + VOID_GRACE_MILLIS);
    alliance.hidden = [(1, 1), (0, 1), (2, 1)].into();
    alliance.settle();
    let facts = alliance.rooms[1].ledger().facts(&id).unwrap();
    assert!(facts.charge().is_some() && facts.not_opened.is_empty());
    assert!(alliance.kept.openings.iter().all(|(from, _)| *from != brand(1)));
    alliance.check_invariants();
}

/// A disk whose vector is not the one the log has the hash of opens nothing.
#[test]
fn a_vector_that_is_not_the_certified_one_is_not_opened() {
    let mut alliance = Alliance::new(3, 13);
    let id = alliance.propose(0, 1, HALVES).unwrap();
    // it hashes, and does not see that brand 2 does: it has not opened
    alliance.hidden = [(1, 2)].into();
    alliance.settle();
    alliance.hidden.clear();
    alliance.run_until(|a| a.rooms[1].ledger().facts(&id).is_some_and(|f| f.set().is_some()));
    alliance.hidden = [(1, 2)].into();
    alliance.run_until(|a| {
        a.rooms[1].ledger().facts(&id).is_some_and(|f| f.commits.contains_key(&brand(1)))
    });
    alliance.settle();
    assert!(alliance.kept.openings.iter().all(|(from, _)| *from != brand(1)));
    for bytes in &mut alliance.disks[1] {
        if let Record::Drawn(mut drawn) = Record::from_bytes(bytes).unwrap() {
            drawn.nonce = [77; 32];
            *bytes = Record::Drawn(drawn).to_bytes();
        }
    }
    alliance.disks[1]
        .retain(|bytes| !matches!(Record::from_bytes(bytes).unwrap(), Record::Opened(_)));
    alliance.restart(1);
    alliance.hidden.clear();
    alliance.run_for(3 * LIFETIME);
    assert!(alliance.kept.openings.iter().all(|(from, _)| *from != brand(1)));
    let facts = alliance.rooms[0].ledger().facts(&id).unwrap();
    assert!(facts.not_opened.contains_key(&brand(1)));
    assert_eq!(alliance.released_by(id), 0);
}

#[test]
fn a_second_vector_is_refused_in_process_too() {
    let mut alliance = Alliance::new(3, 6);
    let id = alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_until(|a| a.released_by(id) == 3);
    let (noise, vector) = alliance.input(0);
    let clock = alliance.clock();
    let again = alliance.rooms[0].commit(id, noise, vector, [9; 32], clock);
    assert_eq!(again.unwrap_err(), StepError::NotWaiting);
    let taken = alliance.propose(0, 1, HALVES).unwrap_err();
    assert!(matches!(taken, ProposeError::Taken));
}

/// Trap 1 at the session: a hash for another view of the set does not count as a hash.
#[test]
fn trap_1_a_hash_for_another_set_opens_nothing() {
    let mut alliance = Alliance::new(3, 8);
    alliance.fault = Some((2, Fault::OtherSet));
    let id = alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_for(3 * LIFETIME);
    assert_eq!(alliance.released_by(id), 0);
    assert!(alliance.kept.openings.is_empty());
    let rules: Vec<Rule> = alliance.audit().iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, [Rule::CommitBeforeCharge]);
}

#[test]
fn openings_that_do_not_match_and_strangers_are_dropped() {
    let mut alliance = Alliance::new(3, 9);
    alliance.fault = Some((2, Fault::NoOpening));
    let id = alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_until(|a| a.kept.openings.iter().any(|(from, _)| *from == brand(1)));
    alliance.settle();
    let opening =
        alliance.kept.openings.iter().find(|(from, _)| *from == brand(1)).unwrap().1.clone();
    let clock = alliance.clock();
    let mut forged = opening.clone();
    forged.vector[0] ^= 1;
    let bytes = Message::Opening(forged).to_bytes();
    let room = &mut alliance.rooms[0];
    assert_eq!(
        room.message(brand(1), &bytes, clock).unwrap_err(),
        MessageError::Mismatch(brand(1))
    );
    let bytes = Message::Opening(opening).to_bytes();
    assert_eq!(
        room.message(brand(2), &bytes, clock).unwrap_err(),
        MessageError::Mismatch(brand(2))
    );
    assert_eq!(
        room.message(brand(4), &bytes, clock).unwrap_err(),
        MessageError::Stranger(brand(4))
    );
    assert!(matches!(room.message(brand(1), b"garbage", clock), Err(MessageError::Codec(_))));
    let unknown =
        AttemptId { proposer: brand(1), query: QueryId([1; 16]), attempt: Attempt::FIRST };
    let proposal = Proposal { id: unknown, spec: spec(HALVES, 3) };
    let bytes = Message::Proposal(proposal).to_bytes();
    assert_eq!(
        room.message(brand(2), &bytes, clock).unwrap_err(),
        MessageError::Stranger(brand(2))
    );
    assert_eq!(alliance.released_by(id), 0);
}

/// Traps 5 and 7: what the unit of privacy is, and that joint counts are of memberships, is said
/// in the release itself.
#[test]
fn traps_5_and_7_the_release_says_what_it_counts_and_whom_it_protects() {
    let mut alliance = Alliance::new(3, 10);
    let id = alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_until(|a| a.released_by(id) == 3);
    let release = &alliance.releases[0][&id];
    let statement = release.statement();
    assert_eq!(statement.plan.aggregates[0].unit, "memberships");
    assert!(statement.unit.contains("at most one account at each participating brand"));
    assert_eq!(release.columns(), ["half", "active_memberships"]);
    assert_eq!(release.cells()[1].keys, ["2017-H2"]);
    let cell = release.cells()[0].values[0];
    assert!(cell.low < cell.value && cell.value < cell.high);
    assert_eq!(release.rho(), RHO);
}

/// There is no release without its own complete charge and exactly the openings it names.
#[test]
fn a_release_needs_its_own_charge_and_all_openings() {
    let mut alliance = Alliance::new(3, 15);
    let id = alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_until(|a| a.released_by(id) == 3);
    let charge = alliance.rooms[0].ledger().facts(&id).unwrap().charge().unwrap();
    let plan = |rho: u64| {
        let mut spec = spec(HALVES, 3);
        spec.rho = PicoRho::new(rho);
        DpPlan::new(&sample_contract(), &spec).unwrap()
    };
    let openings: BTreeMap<_, _> = alliance
        .kept
        .openings
        .iter()
        .map(|(from, o)| (*from, (MaskedVector::from_bytes(&o.vector).unwrap(), o.nonce)))
        .collect();
    let made =
        |rho, openings: &BTreeMap<_, _>| Release::from_openings(&charge, &plan(rho), openings);
    let release = made(RHO.get(), &openings).unwrap();
    assert_eq!(release.hash(), alliance.releases[0][&id].hash());
    // The same openings under a plan that claims to have cost less.
    assert_eq!(made(RHO.get() - 1, &openings), Err(ReleaseError::Unpaid));
    let mut fewer = openings.clone();
    fewer.remove(&brand(1));
    assert!(matches!(made(RHO.get(), &fewer), Err(ReleaseError::Sum(_))));
    let mut altered = openings;
    altered.get_mut(&brand(1)).unwrap().1 = [0xff; 32];
    assert_eq!(made(RHO.get(), &altered), Err(ReleaseError::Opening(brand(1))));
}

#[test]
fn a_clean_room_moves_between_threads() {
    const fn send<T: Send>() {}
    send::<CleanRoom>();
    send::<Effect>();
}

#[test]
fn a_wrong_contract_is_another_plan() {
    let mut alliance = Alliance::new(3, 11);
    let mut raw = crate::testing::raw_contract();
    raw.tables[0].rows_bound = 1_000;
    alliance.rooms[1] = CleanRoom::new(brand(1), raw.try_into().unwrap());
    let id = alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_for(LIFETIME / 2);
    assert_eq!(alliance.declined, [(id, brand(1), DeclineReason::Plan)]);
    assert_eq!(sample_contract().hash(), alliance.rooms[0].contract().hash());
}

/// Bounds of brands' own are part of what all plan, and who has the logs plans it again under the charge's contract.
#[test]
fn brands_with_bounds_of_their_own_answer_and_are_audited_under_them() {
    let mut raw = raw_contract();
    raw.tables[0].rows_bound_by_brand.insert(brand(1).to_string(), 1);
    let mut alliance = Alliance::under(raw.try_into().unwrap(), 3, 17);
    let rows = "SELECT half_year(purchased_on) AS half, count(*) AS n FROM purchases GROUP BY 1";
    let id = alliance.propose(0, 1, rows).unwrap();
    alliance.run_until(|a| a.released_by(id) == 3);
    alliance.settle();
    assert_eq!(alliance.audit(), []);
    assert_eq!(alliance.joint_spent(0), RHO);
    // one that has all brands count alike plans another question
    alliance.contract = sample_contract();
    let rules: Vec<Rule> = alliance.audit().into_iter().map(|finding| finding.rule).collect();
    assert!(rules.contains(&Rule::QuestionMismatch), "{rules:?}");
}
