//! That the bench measures what it says, on few sightings.

use super::*;

#[test]
fn whose_a_purchase_is_is_found_over_a_range_of_noise() {
    let (seeds, levels) = (vec![7], vec![0, 100, 400]);
    let arguments = IdentityArguments { people: None, sightings: 6, seeds, levels, json: false };
    let figures = measure(&arguments, &Io::new(true)).unwrap();
    figures.tell(&Io::new(true));
    assert_eq!((figures.brands, figures.people), (5, 1_253));
    let [clean, usual, heavy] = &figures.levels[..] else { panic!("{figures:?}") };
    assert!(clean.by_rules.accuracy_percent >= 99.9, "{clean:?}");
    assert!(usual.by_rules.accuracy_percent >= 96.0, "{usual:?}");
    assert!(heavy.by_rules.accuracy_percent < usual.by_rules.accuracy_percent, "{heavy:?}");
    for level in [clean, usual, heavy] {
        assert!(level.after_review.accuracy_percent >= level.by_rules.accuracy_percent);
        let node = (&level.as_a_node, &level.as_a_node_after_review);
        assert!(node.1.accuracy_percent >= node.0.accuracy_percent, "{level:?}");
        assert_eq!(level.target_met, level.worst_seed_percent >= TARGET_PERCENT);
    }
    // changed cards of whoever has one already are left to a person
    assert!(heavy.as_a_node_reviewed > heavy.reviewed, "{heavy:?}");
    // who is not found becomes two members rather than another
    assert!(usual.by_rules.precision_percent >= 97.0, "{usual:?}");
    assert!(usual.as_a_node.precision_percent >= 97.0, "{usual:?}");
}

#[test]
fn match_keys_agree_with_the_ground_truth_of_the_real_data() {
    let Some(shared) = std::env::var_os("COALITION_SHARED") else {
        eprintln!("skipped: COALITION_SHARED does not say where the real data is");
        return;
    };
    let path = Path::new(&shared).join("data/complete-journey/ground_truth/person_map.csv");
    assert!(path.exists(), "COALITION_SHARED is set, and there is no {}", path.display());
    let figures = match_keys(&read(&path).unwrap()).unwrap();
    assert!(figures.right > 10_000, "{figures:?}");
    assert_eq!((figures.wrong, figures.missed, figures.not_found), (0, 0, 0));
}

#[test]
fn a_tally_counts_what_is_right() {
    let member = |number: u8| MemberId::from_bytes([number; 16]);
    // person 0 is split in two, person 1 has one of person 0's
    let sightings =
        [(0, member(1)), (0, member(1)), (0, member(2)), (1, member(2)), (1, member(2))];
    let tally = Tally::of(&sightings);
    assert_eq!((tally.sightings, tally.right), (5, 4));
    assert_eq!((tally.pairs_both, tally.pairs_member, tally.pairs_person), (2, 4, 4));
}
