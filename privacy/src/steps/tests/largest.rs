//! The largest question there may be: what it takes, and that no more of its kind are taken than there is memory for.

use super::alliance::{Alliance, HALVES, LARGEST, LIFETIME};
use super::*;
use crate::plan::{CELLS_MAX, COORDINATES_MAX};

/// As many cells and figures as a plan may have are answered, alike by all, each opening in one message; what is
/// under way meanwhile leaves no memory for a second one of its size, but for a small one.
#[test]
fn the_largest_question_is_answered_and_bounds_what_is_beside_it() {
    let mut alliance = Alliance::new(3, 5);
    let id = alliance.propose(0, 1, LARGEST).unwrap();
    let busy = alliance.propose(0, 2, LARGEST).unwrap_err();
    assert!(matches!(busy, ProposeError::Busy { .. }), "{busy}");
    alliance.propose(0, 3, HALVES).unwrap();
    alliance.run_until(|a| !a.openings_under_way().is_empty());
    let longest = alliance.openings_under_way().into_iter().max().unwrap();
    assert!(longest <= MESSAGE_MAX_BYTES, "{longest}");
    alliance.run_until(|a| a.released_by(id) == 3);
    alliance.settle();
    let releases: Vec<&Release> = (0..3).map(|who| &alliance.releases[who][&id]).collect();
    assert!(releases.iter().all(|it| it.hash() == releases[0].hash()));
    let cells = releases[0].cells();
    assert_eq!((cells.len(), cells[0].values.len()), (CELLS_MAX, COORDINATES_MAX / CELLS_MAX));
    assert_eq!((cells[1_001].keys[0].as_str(), cells[1_001].keys[1].as_str()), ("1", "1"));
    // memberships of the first two cells, and the noise alone of the others
    let shown: Vec<f64> = [0, 1].map(|cell: usize| cells[cell].values[1].value).to_vec();
    assert_eq!(shown, alliance.truth_plus_noise());
    assert!(cells.iter().skip(2).all(|cell| cell.values[1] == cells[2].values[1]));
    let openings = alliance.kept.openings.iter().filter(|(_, opening)| opening.id == id);
    assert!(openings.clone().all(|(_, opening)| opening.vector.len() == 8 * COORDINATES_MAX));
    assert_eq!((openings.count(), alliance.audit()), (3, Vec::new()));
    alliance.check_invariants();
    // once it is over it holds nothing
    alliance.run_for(2_000);
    assert!(alliance.rooms.iter().all(|room| room.release(&id).is_none()));
    alliance.rho = Some(PicoRho::new(1_000_000_000));
    assert!(alliance.propose(0, 4, LARGEST).is_ok());
}

/// Who has one under way turns down another's, and says why; when both have come to nothing there is memory again.
#[test]
fn a_busy_brand_turns_down_what_it_has_no_memory_for() {
    let mut alliance = Alliance::new(3, 6);
    let first = alliance.propose(0, 1, LARGEST).unwrap();
    let second = alliance.propose(1, 2, LARGEST).unwrap();
    alliance.run_for(3 * LIFETIME);
    for (id, by) in [(first, brand(1)), (second, brand(0))] {
        assert!(
            alliance.declined.contains(&(id, by, DeclineReason::Busy)),
            "{:?}",
            alliance.declined
        );
    }
    assert_eq!((alliance.released_by(first), alliance.released_by(second)), (0, 0));
    assert_eq!(
        (alliance.reads.as_slice(), alliance.joint_spent(0)),
        (&[0, 0, 0][..], PicoRho::ZERO)
    );
    let third = alliance.propose(2, 3, LARGEST).unwrap();
    alliance.run_until(|a| a.released_by(third) == 3);
    assert_eq!(alliance.audit(), []);
}

/// An opening that was lost is sent again, but a long one no sooner than it can have arrived.
#[test]
fn a_long_opening_is_not_sent_again_while_it_is_on_its_way() {
    let mut alliance = Alliance::new(3, 8);
    let id = alliance.propose(0, 1, LARGEST).unwrap();
    alliance.run_until(|a| !a.openings_under_way().is_empty());
    // everything that is sent from now on is lost
    alliance.loss_percent = 100;
    alliance.settle();
    let pause = (8 * COORDINATES_MAX / RESENT_BYTES_A_MILLI) as u64;
    let room = |a: &mut Alliance, after: u64| {
        let clock = Clock { now: a.now().plus(after), ..a.clock() };
        let effects = a.rooms[0].tick(clock);
        let openings = effects.iter().filter(|effect| {
            matches!(effect, Effect::Send { message: Message::Opening(opening), .. } if opening.id == id)
        });
        openings.count()
    };
    assert_eq!(room(&mut alliance, 0), 0);
    assert_eq!(room(&mut alliance, pause / 2), 0);
    assert_eq!(room(&mut alliance, pause), 2);
    assert_eq!(room(&mut alliance, pause + pause / 2), 0);
    assert_eq!(room(&mut alliance, 2 * pause), 2);
    alliance.loss_percent = 0;
    alliance.run_until(|a| a.released_by(id) == 3);
}
