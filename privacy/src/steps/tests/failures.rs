//! Failures one by one: at every effect of every brand, from every old state of a disk; and what a
//! missing opening leads to.

use super::alliance::{Alliance, Cut, Fault, HALVES, LIFETIME};
use super::*;
use crate::ids::SnapshotId;

/// How many effects each brand carries out when nothing fails.
fn effects(n: usize, seed: u64) -> Vec<usize> {
    let mut alliance = Alliance::new(n, seed);
    let id = alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_until(|a| a.released_by(id) == n);
    alliance.settle();
    alliance.carried
}

/// A crash before each effect of each brand in turn, between a record and what follows it too. The
/// attempt goes on after the restart and all release alike, or it is void and nobody does.
#[test]
fn a_crash_at_each_point_of_each_brand_goes_on_or_voids() {
    let (n, mut released) = (3, 0);
    for (brand, effects) in effects(n, 21).into_iter().enumerate() {
        assert!(effects >= 8, "{effects}");
        for before in 0..effects {
            let mut alliance = Alliance::new(n, 21);
            alliance.cut = Some((brand, before, Cut::Restarts));
            let id = alliance.propose(0, 1, HALVES).unwrap();
            alliance.run_for(4 * LIFETIME);
            assert!(alliance.cut.is_none(), "brand {brand} has no effect {before}");
            alliance.check_invariants();
            let by = alliance.released_by(id);
            assert!(by == 0 || by == n, "brand {brand}, effect {before}: {by} of {n}");
            assert!(alliance.reads.iter().all(|reads| *reads <= 1), "read twice");
            assert_eq!(alliance.audit(), [], "brand {brand}, effect {before}");
            let spent = alliance.joint_spent(0);
            assert_eq!(spent, if by == n { RHO } else { PicoRho::ZERO });
            released += by / n;
        }
    }
    // only a reading that was cut off is lost: the noise in it may have been drawn
    assert!(released >= 20, "{released}");
}

/// A brand that is gone for good from each of its effects on: no answer without it, unless its opening
/// has come to one; then all others have one. What was not opened is opened by nobody after it is void.
#[test]
fn a_brand_that_dies_at_any_point_leaves_all_others_alike() {
    let n = 4;
    for (brand, effects) in effects(n, 22).into_iter().enumerate() {
        for before in 0..effects {
            let mut alliance = Alliance::new(n, 22);
            alliance.cut = Some((brand, before, Cut::IsGone));
            let id = alliance.propose(0, 1, HALVES).unwrap();
            alliance.run_for(5 * LIFETIME + VOID_GRACE_MILLIS);
            alliance.check_invariants();
            let honest = (0..n).filter(|other| *other != brand);
            let with: Vec<usize> =
                honest.filter(|other| alliance.releases[*other].contains_key(&id)).collect();
            // its opening goes to one after the other, and may be cut off between two of them
            let opened =
                alliance.kept.openings.iter().any(|(from, _)| *from == super::brand(brand));
            assert!(opened || with.is_empty(), "brand {brand}, effect {before}: {with:?}");
            // who has it gives it to those it did not reach
            let alike = with.is_empty() || with.len() == n - 1;
            assert!(alike, "brand {brand}, effect {before}: {with:?}");
            let facts = alliance.rooms[(brand + 1) % n].ledger().facts(&id);
            if let Some(facts) = facts.filter(|facts| facts.charge().is_none()) {
                assert!(alliance.kept.openings.is_empty());
                assert!(facts.commits.keys().all(|writer| {
                    facts.not_opened.contains_key(writer) || *writer == super::brand(brand)
                }));
            }
        }
    }
}

/// A brand that opens to one alone keeps nobody from the answer: the others have its opening from that one, by the hash
/// that its log names it by, from its memory or, when it has started anew since, from what it has kept. Nobody is
/// accused.
#[test]
fn an_opening_that_reaches_one_is_had_by_all() {
    let n = 4;
    for restarts in [false, true] {
        let mut alliance = Alliance::new(n, 40);
        alliance.fault = Some((2, Fault::OpensToFirst));
        let id = alliance.propose(0, 1, HALVES).unwrap();
        alliance.run_until(|a| a.releases[0].contains_key(&id));
        assert!(!alliance.releases[1].contains_key(&id) && !alliance.releases[3].contains_key(&id));
        if restarts {
            alliance.restart(0);
        }
        alliance.run_until(|a| a.released_by(id) == n);
        alliance.run_for(3 * LIFETIME);
        let release = alliance.releases[0][&id].hash();
        assert!((1..n).all(|who| alliance.releases[who][&id].hash() == release));
        assert!(alliance.rooms[1].ledger().facts(&id).unwrap().accusations.is_empty());
        assert_eq!(alliance.audit(), []);
        alliance.check_invariants();
    }
}

/// An opening goes by its certified hash to who has a part in the attempt, once in a while, and never the own one; what
/// comes under another's name is dropped, and told of who brought it.
#[test]
fn an_opening_is_given_by_its_hash_to_participants_alone() {
    let mut alliance = Alliance::new(4, 41);
    alliance.fault = Some((2, Fault::NoOpening));
    let id = alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_for(LIFETIME);
    let clock = alliance.clock();
    let charge = alliance.rooms[0].ledger().facts(&id).unwrap().charge().unwrap();
    let wanted = |of: usize| Message::Wanted(id, charge.commits()[&brand(of)].vector).to_bytes();
    let room = &mut alliance.rooms[0];
    let given = room.message(brand(3), &wanted(1), clock).unwrap();
    let [Effect::Send { to, message: Message::Attached(of, opening) }] = &given[..] else {
        panic!("{given:?}");
    };
    assert_eq!((*to, *of, opening.id), (brand(3), brand(1), id));
    // not again at once, not to one of no part, not the own one, and not what is not here
    assert!(room.message(brand(3), &wanted(1), clock).unwrap().is_empty());
    let stranger = room.message(brand(4), &wanted(1), clock).unwrap_err();
    assert_eq!(stranger, MessageError::Stranger(brand(4)));
    assert!(room.message(brand(3), &wanted(0), clock).unwrap().is_empty());
    assert!(room.message(brand(3), &wanted(2), clock).unwrap().is_empty());

    let attached = |of: usize| Message::Attached(brand(of), opening.clone()).to_bytes();
    let lacking = &mut alliance.rooms[3];
    let forged = lacking.message(brand(1), &attached(2), clock).unwrap_err();
    assert_eq!(forged, MessageError::Mismatch(brand(1)));
    let stranger = lacking.message(brand(4), &attached(2), clock).unwrap_err();
    assert_eq!(stranger, MessageError::Stranger(brand(4)));
    // what it has, and what is its own, changes nothing
    assert!(lacking.message(brand(0), &attached(1), clock).unwrap().is_empty());
    assert!(lacking.message(brand(0), &attached(3), clock).unwrap().is_empty());
    // who keeps its own opening back has all of them, and nobody else has
    assert!((0..4).filter(|who| alliance.releases[*who].contains_key(&id)).eq([2]));
}

/// A disk put back to each of its former states, while the logs have gone on: nothing is read a second
/// time once its hash stands, and nothing but the certified vector is ever opened.
#[test]
fn a_disk_from_any_former_state_makes_no_second_vector() {
    let n = 3;
    let hashed = |a: &Alliance, id: &AttemptId| {
        a.rooms[1].ledger().facts(id).is_some_and(|f| f.commits.contains_key(&brand(1)))
    };
    for stop in ["hashed", "released"] {
        for kept in 0..4 {
            let mut alliance = Alliance::new(n, 23);
            if stop == "hashed" {
                alliance.fault = Some((2, Fault::NoHash));
            }
            let id = alliance.propose(0, 1, HALVES).unwrap();
            alliance.run_until(|a| hashed(a, &id) && (stop == "hashed" || a.released_by(id) == n));
            assert!(alliance.disks[1].len() >= 3, "{}", alliance.disks[1].len());
            let openings = alliance.kept.openings.len();
            alliance.restore(1, kept.min(alliance.disks[1].len()));
            alliance.run_for(4 * LIFETIME);
            assert_eq!(alliance.reads[1], 1, "{stop}, {kept} records kept");
            let own = |(from, _): &&(ParticipantId, Opening)| *from == brand(1);
            assert!(alliance.kept.openings.iter().filter(own).count() <= 1);
            assert!(stop == "released" || alliance.kept.openings.len() == openings);
            assert_eq!(alliance.released_by(id), if stop == "released" { n } else { 0 });
            // nothing is booked for a reading whose hash stands, and nobody says that it never opened what it opened
            let ledger = alliance.rooms[0].ledger();
            let facts = ledger.facts(&id).unwrap();
            assert!(!facts.failed.contains_key(&brand(1)), "{stop}, {kept} records kept");
            assert_eq!(ledger.local_spent(brand(1), alliance.year()), PicoRho::ZERO);
            assert!(stop == "hashed" || facts.not_opened.is_empty(), "{kept} records kept");
            assert_eq!(alliance.audit(), [], "{stop}, {kept} records kept");
            // the name of the attempt is taken for ever
            let again = alliance.propose(0, 1, HALVES).unwrap_err();
            assert!(matches!(again, ProposeError::Taken), "{again}");
        }
    }
}

/// The disk of brand 1 is put back to after its reservation: its secret is there, its vector is gone.
fn lose_vector(alliance: &mut Alliance) {
    alliance.disks[1]
        .retain(|bytes| matches!(Record::from_bytes(bytes).unwrap(), Record::Begun(_)));
    alliance.restart(1);
}

/// One that lies cannot have a brand suspended whose disk was put back before it opened: that it has logged an answer,
/// which there cannot be, does not keep the brand from saying in time that it does not open.
#[test]
fn a_false_release_keeps_no_restored_brand_from_saying_that_it_does_not_open() {
    let n = 4;
    let mut alliance = Alliance::new(n, 44);
    let id = alliance.propose(0, 1, HALVES).unwrap();
    let facts = |a: &Alliance, who: usize| a.rooms[who].ledger().facts(&id).cloned();
    // it hashes, and does not see that brand 2 does, which comes after that brand's reservation in its log
    alliance.hidden = [(1, 2)].into();
    alliance.settle();
    alliance.hidden.clear();
    alliance.run_until(|a| facts(a, 1).is_some_and(|it| it.set().is_some()));
    alliance.hidden = [(1, 2)].into();
    alliance.run_until(|a| facts(a, 1).is_some_and(|it| it.commits.contains_key(&brand(1))));
    alliance.settle();
    assert!(alliance.kept.openings.iter().all(|(from, _)| *from != brand(1)));
    lose_vector(&mut alliance);
    alliance.hidden.clear();
    let set = facts(&alliance, 0).unwrap().set().unwrap().hash();
    let release = crate::ids::ReleaseHash([9; 32]);
    alliance.append(3, CleanRoomEntry::Release(ReleaseLogged { id, set, release }));
    alliance.run_for(4 * LIFETIME);

    let facts = facts(&alliance, 0).unwrap();
    assert!(facts.charge().is_some() && facts.releases.contains_key(&brand(3)));
    let open_by = facts.reserve().unwrap().open_by;
    let said = facts.not_opened.get(&brand(1)).expect("it says that it does not open");
    assert!(said.time < open_by, "{said:?} {open_by:?}");
    let room = &alliance.rooms[0];
    assert_eq!(room.ledger().suspended(room.contract(), brand(1)), None);
    assert!(facts.accusations.is_empty(), "{:?}", facts.accusations);
    assert_eq!((alliance.reads[1], alliance.released_by(id)), (1, 0));
    assert!(alliance.audit().iter().all(|finding| finding.log != brand(1)));
    alliance.check_invariants();
}

/// A brand that opened, and whose disk was put back since, asks the others for its opening, finds that it was made, and
/// does not say that it never was: also where nobody has logged the answer yet that it knows of.
#[test]
fn a_restored_brand_hears_that_it_has_opened() {
    let n = 4;
    let mut alliance = Alliance::new(n, 45);
    // it has everybody's opening, and logs an answer that the restored brand does not see
    alliance.fault = Some((2, Fault::NoOpening));
    let id = alliance.propose(0, 1, HALVES).unwrap();
    let facts = |a: &Alliance, who: usize| a.rooms[who].ledger().facts(&id).cloned();
    alliance.run_until(|a| facts(a, 1).is_some_and(|it| it.charge().is_some()));
    alliance.hidden = [(1, 2)].into();
    // what came before its hashes is sent again
    alliance.run_for(3_000);
    assert!(alliance.kept.openings.iter().any(|(from, _)| *from == brand(1)));
    lose_vector(&mut alliance);
    assert!(facts(&alliance, 1).is_some_and(|it| it.charge().is_some() && it.releases.is_empty()));
    // past the time at which it would say it
    alliance.run_for(LIFETIME + 5 * LIFETIME / 8);
    let opened = |bytes: &Vec<u8>| Record::from_bytes(bytes).unwrap() == Record::Opened(id);
    assert!(alliance.disks[1].iter().any(opened));
    assert!(facts(&alliance, 1).unwrap().not_opened.is_empty());
    // the others have the answer, and nothing is said against it
    alliance.fault = None;
    alliance.hidden.clear();
    alliance.run_for(3 * LIFETIME);
    assert!((0..n).filter(|who| alliance.releases[*who].contains_key(&id)).eq([0, 2, 3]));
    let facts = facts(&alliance, 0).unwrap();
    assert!(facts.not_opened.is_empty() && facts.accusations.is_empty());
    assert_eq!((alliance.reads[1], alliance.audit()), (1, vec![]));
    alliance.check_invariants();
}

/// What is given back as the own opening and is not, shows nothing; and what has been renounced stays so.
#[test]
fn only_the_certified_opening_shows_a_restored_brand_that_it_has_opened() {
    let mut alliance = Alliance::new(4, 46);
    alliance.fault = Some((2, Fault::NoOpening));
    let id = alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_until(|a| a.rooms[1].ledger().facts(&id).is_some_and(|f| f.charge().is_some()));
    alliance.settle();
    let opening = alliance.kept.openings.iter().find(|(from, _)| *from == brand(1));
    let opening = opening.unwrap().1.clone();
    let mut forged = opening.clone();
    forged.vector[0] ^= 1;
    let attached = |opening| Message::Attached(brand(1), opening).to_bytes();
    let clock = alliance.clock();
    // it has it
    let room = &mut alliance.rooms[1];
    assert!(room.message(brand(3), &attached(forged.clone()), clock).unwrap().is_empty());
    lose_vector(&mut alliance);
    let room = &mut alliance.rooms[1];
    let wrong = room.message(brand(3), &attached(forged), clock).unwrap_err();
    assert_eq!(wrong, MessageError::Mismatch(brand(3)));
    let effects = room.message(brand(3), &attached(opening.clone()), clock).unwrap();
    assert!(
        matches!(&effects[..], [Effect::Persist(Record::Opened(it))] if *it == id),
        "{effects:?}"
    );
    assert!(room.message(brand(3), &attached(opening.clone()), clock).unwrap().is_empty());
    alliance.disks[1].push(Record::NotOpened(id).to_bytes());
    alliance.restart(1);
    let room = &mut alliance.rooms[1];
    assert!(room.message(brand(3), &attached(opening), clock).unwrap().is_empty());
}

/// A brand that reads, and finds out that its log has a hash of it already: its disk was put back. Nothing is booked.
#[test]
fn a_reading_that_fails_once_the_own_hash_is_back_books_nothing() {
    let mut alliance = Alliance::new(3, 43);
    alliance.fault = Some((2, Fault::Slow));
    let id = alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_until(|a| a.reads[2] == 1);
    let set = alliance.rooms[2].ledger().facts(&id).unwrap().set().unwrap().hash();
    let commit = Commit { id, set, vector: crate::ids::VectorHash([7; 32]) };
    alliance.append(2, CleanRoomEntry::Commit(commit));
    alliance.settle();
    let clock = alliance.clock();
    assert!(alliance.rooms[2].fail(id, clock).is_empty());
    alliance.run_for(3 * LIFETIME);
    let ledger = alliance.rooms[0].ledger();
    assert!(ledger.facts(&id).unwrap().failed.is_empty());
    assert_eq!(ledger.local_spent(brand(2), alliance.year()), PicoRho::ZERO);
}

/// A reading that comes back after the expiry is not masked: its cost is booked.
#[test]
fn a_reading_that_takes_too_long_is_a_failure_of_step_5() {
    let mut alliance = Alliance::new(3, 24);
    alliance.fault = Some((2, Fault::Slow));
    let id = alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_for(3 * LIFETIME);
    let (noise, vector) = alliance.input(2);
    let clock = alliance.clock();
    let late = alliance.rooms[2].commit(id, noise, vector, [3; 32], clock);
    assert_eq!(late.unwrap_err(), StepError::NotWaiting);
    assert_eq!(alliance.released_by(id), 0);
    let local = alliance.rooms[0].ledger().local_spent(brand(2), alliance.year());
    assert_eq!((local, alliance.joint_spent(0)), (RHO, PicoRho::ZERO));
    assert_eq!(alliance.audit(), []);
}

/// Failures after reading cannot overdraw the local account: neither one after another, nor at once, nor at
/// the proposer itself.
#[test]
fn failures_after_reading_never_overdraw_the_local_account() {
    let mut alliance = Alliance::new(3, 29);
    // 12e9 of local quota hold two failures of 5e9
    alliance.fault = Some((0, Fault::NoHash));
    for query in 1..=2 {
        alliance.propose(0, query, HALVES).unwrap();
        alliance.run_for(3 * LIFETIME);
    }
    let local = |a: &Alliance, who| a.rooms[1].ledger().local_spent(brand(who), a.year()).get();
    assert_eq!(local(&alliance, 0), 10_000_000_000);
    let third = alliance.propose(0, 3, HALVES).unwrap_err();
    assert!(matches!(third, ProposeError::Budget(OverBudget::Failure { .. })), "{third}");
    // nor does it take part any more
    let asked = alliance.propose(1, 4, HALVES).unwrap();
    alliance.run_for(LIFETIME);
    assert_eq!(alliance.declines_sent(asked), [DeclineReason::Budget]);
    assert_eq!(alliance.audit(), []);

    // three at once, all of which will fail at one brand: it takes part in two
    let mut alliance = Alliance::new(4, 30);
    alliance.fault = Some((3, Fault::NoHash));
    for (who, query) in [(0, 1), (1, 2), (2, 3)] {
        alliance.propose(who, query, HALVES).unwrap();
    }
    alliance.run_for(4 * LIFETIME);
    assert!(alliance.reads[3] <= 2, "{}", alliance.reads[3]);
    assert_eq!(local(&alliance, 3), 5_000_000_000 * alliance.reads[3] as u64);
    assert_eq!(alliance.audit(), []);
}

/// One whose questions make readings fail gets its quota back each time: what it may have booked on another's local
/// account is bounded, and others' questions and the brand's own are left the rest.
#[test]
fn one_brands_failing_questions_take_no_more_than_their_share() {
    let mut alliance = Alliance::new(3, 31);
    alliance.fault = Some((1, Fault::NoHash));
    let local = |a: &Alliance| a.rooms[0].ledger().local_spent(brand(1), a.year());
    let share = sample_contract().failure_quota();
    assert_eq!(share, PicoRho::new(6_000_000_000));
    for query in 1..=4 {
        let asked = alliance.propose(0, query, HALVES).unwrap();
        alliance.run_for(3 * LIFETIME);
        let declined = alliance.declines_sent(asked);
        // one failure of 5e9 is within it, two are not
        let expected = if query == 1 { vec![] } else { vec![DeclineReason::Budget] };
        assert_eq!(declined, expected, "{query}");
        assert_eq!(alliance.joint_spent(0), PicoRho::ZERO, "the quota comes back");
        assert!(local(&alliance) <= share);
    }
    assert_eq!(alliance.rooms[0].ledger().failed_for(brand(1), brand(0), alliance.year()), RHO);
    // another's question finds the rest
    let asked = alliance.propose(2, 9, HALVES).unwrap();
    alliance.run_for(3 * LIFETIME);
    assert_eq!(alliance.declines_sent(asked), []);
    assert_eq!((alliance.reads[1], local(&alliance).get()), (2, 10_000_000_000));
    assert_eq!(alliance.audit(), []);
}

/// What was declined is remembered until it is too late for it, and is declined then without being planned again.
#[test]
fn what_was_declined_is_forgotten_once_it_is_too_late_for_it() {
    let mut alliance = Alliance::new(3, 32);
    alliance.fault = Some((2, Fault::Declines));
    for query in 1..=6 {
        alliance.propose(0, query, HALVES).unwrap();
        alliance.run_for(LIFETIME / 2);
        assert_eq!(alliance.rooms[2].declined(), 1, "{query}");
        alliance.run_for(3 * LIFETIME);
        assert_eq!(alliance.rooms[2].declined(), 0, "{query}");
    }
    assert_eq!(alliance.audit(), []);
}

/// Nobody answers a reservation before its expiry: nothing was read, and the quota comes back.
#[test]
fn a_reservation_that_expires_returns_its_quota() {
    let mut alliance = Alliance::new(3, 25);
    alliance.fault = Some((2, Fault::Declines));
    let id = alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_for(LIFETIME / 2);
    assert_eq!(alliance.joint_spent(0), RHO);
    alliance.run_for(2 * LIFETIME);
    assert_eq!((alliance.joint_spent(0), alliance.reads.clone()), (PicoRho::ZERO, vec![0; 3]));
    assert!(alliance.rooms[0].ledger().facts(&id).unwrap().is_returned());
}

/// Step 6 to its end: evidence of more than t suspends; nobody asks the brand, takes part with it or
/// is asked by it; a quorum of the others readmits it.
#[test]
fn who_does_not_open_is_suspended_until_a_quorum_readmits_it() {
    let n = 4;
    let mut alliance = Alliance::new(n, 26);
    let silent = 3;
    alliance.fault = Some((silent, Fault::NoOpening));
    let id = alliance.propose(0, 1, HALVES).unwrap();
    let suspended = |a: &Alliance, who: usize| {
        let room = &a.rooms[who];
        room.ledger().suspended(room.contract(), brand(silent))
    };
    alliance.run_for(LIFETIME);
    assert_eq!(suspended(&alliance, 0), None);
    alliance.run_for(3 * LIFETIME);
    assert!((0..n).all(|who| suspended(&alliance, who) == Some(id)));
    alliance.fault = None;

    // nobody asks it, and it asks nobody
    for who in 0..n {
        let refused = alliance.propose(who, 2, HALVES).unwrap_err();
        assert!(matches!(refused, ProposeError::Suspended(it) if it == brand(silent)), "{refused}");
    }
    // one who asks all the same finds nobody to take part
    let forged = alliance.forge_reserve(silent, 3, &spec(HALVES, n), alliance.year());
    alliance.run_for(LIFETIME / 2);
    assert_eq!(alliance.declines_sent(forged), [DeclineReason::Suspended; 3]);
    // the rest go on without it
    let without = alliance.propose_to(0, 4, 3, HALVES).unwrap();
    alliance.run_until(|a| a.released_by(without) == 3);

    // it does not readmit itself, and two of three are too few
    assert_eq!(alliance.readmit(silent, silent).unwrap_err(), ReadmitError::Itself);
    let honest = ReadmitError::NotSuspended(brand(1));
    assert_eq!(alliance.readmit(0, 1).unwrap_err(), honest);
    alliance.readmit(0, silent).unwrap();
    alliance.readmit(1, silent).unwrap();
    alliance.settle();
    assert_eq!(alliance.readmit(0, silent).unwrap_err(), ReadmitError::Agreed);
    assert_eq!(suspended(&alliance, 2), Some(id));
    // what a restart reads from the logs is the same
    alliance.restart(2);
    assert_eq!(suspended(&alliance, 2), Some(id));
    alliance.readmit(2, silent).unwrap();
    alliance.settle();
    assert!((0..n).all(|who| suspended(&alliance, who).is_none()));
    let again = alliance.propose(silent, 5, HALVES).unwrap();
    alliance.run_until(|a| a.released_by(again) == n);
    alliance.check_invariants();
}

/// As few accusers as may lie suspend nobody, nor does anyone before the last instant for openings.
#[test]
fn a_few_accusers_or_early_ones_suspend_nobody() {
    let n = 4;
    let mut alliance = Alliance::new(n, 27);
    let id = alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_until(|a| a.released_by(id) == n);
    let accuse =
        |accused| CleanRoomEntry::MissingOpening(MissingOpening { id, accused: brand(accused) });
    // two, but in time for an opening
    alliance.append(1, accuse(3));
    alliance.append(2, accuse(3));
    alliance.run_for(3 * LIFETIME);
    let suspended =
        |a: &Alliance, who: usize| a.rooms[0].ledger().suspended(a.rooms[0].contract(), brand(who));
    assert_eq!(suspended(&alliance, 3), None);
    // one who lies, late
    alliance.append(1, accuse(2));
    alliance.settle();
    assert_eq!(suspended(&alliance, 2), None);
}

/// An auditor finds who answers with a suspended brand all the same.
#[test]
fn an_answer_with_a_suspended_brand_is_found() {
    let n = 4;
    let mut alliance = Alliance::new(n, 28);
    alliance.fault = Some((3, Fault::NoOpening));
    alliance.propose(0, 1, HALVES).unwrap();
    alliance.run_for(4 * LIFETIME);
    alliance.fault = None;
    alliance.run_for(5 * LIFETIME);
    let found = |a: &Alliance| a.audit().iter().any(|f| f.rule == Rule::SuspendedTookPart);
    let id = alliance.forge_reserve(0, 2, &spec(HALVES, n), alliance.year());
    alliance.settle();
    // a reservation alone harms nobody
    assert!(!found(&alliance));
    let plan = DpPlan::new(&sample_contract(), &spec(HALVES, n)).unwrap();
    for who in 0..n {
        let key = crate::masked_sum::MaskingSecret::from_bytes([who as u8 + 1; 32]).public_key();
        let snapshot = SnapshotId([who as u8; 32]);
        let entry = Participate { id, plan: plan.hash(), key, snapshot };
        alliance.append(who, CleanRoomEntry::Participate(entry));
    }
    alliance.settle();
    assert!(found(&alliance));
}
