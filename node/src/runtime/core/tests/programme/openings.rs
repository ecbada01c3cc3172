//! Balances from a programme of before at a node: once whatever is killed, and whoever cannot bring one is told.

use super::*;
use crate::service::{OpeningLotRequest, OpeningRequest, OpeningsRequest, OpeningsView};

/// What a person brings: points with their last day, and what counts towards a tier.
pub(super) fn brought(who: u32, lots: &[(u64, Option<&str>)], tier_points: u64) -> OpeningRequest {
    let lot = |(points, expires_on): &(u64, Option<&str>)| OpeningLotRequest {
        points: *points,
        expires_on: expires_on.map(str::to_owned),
    };
    OpeningRequest { card: card(who), lots: lots.iter().map(lot).collect(), tier_points }
}

impl World {
    /// As somebody who may enter them.
    pub(super) fn brings(&mut self, members: &[OpeningRequest], by: &str) -> OpeningsView {
        let request = OpeningsRequest { members: members.to_vec(), ..OpeningsRequest::default() };
        self.ask(AMBER, |core, now, turn| core.bring_openings(&request, (by, true), now, turn))
    }

    /// A file in two requests, by two people; the second begins anew after the first half.
    fn move_over(&mut self) {
        let one = brought(1, &[(100, None), (50, Some("2030-12-31"))], 700);
        let (two, nobody) =
            (brought(2, &[(30, Some("2027-01-20"))], 0), brought(9, &[(5, None)], 0));
        let first = [one, nobody];
        let entered = self.brings(&first, "li");
        assert_eq!((entered.waiting, entered.points_waiting, entered.given), (1, 150, 0));
        assert_eq!(entered.refused.len(), 1);
        assert_eq!(
            (entered.refused[0].place, entered.refused[0].code.as_str()),
            (2, "member_unknown")
        );
        self.brings(std::slice::from_ref(&two), "li");
        // an answer that was not heard is asked for again: it may say that they were given before
        let given = self.brings(&first, "wang");
        assert_eq!(given.given + given.already_there, 1);
        let again = self.brings(&first, "wang");
        assert_eq!((again.given, again.already_there, again.waiting), (0, 1, 0));
        self.brings(std::slice::from_ref(&two), "wang");
        self.balances(AMBER);
    }

    fn points_of(&self, person: u32) -> u64 {
        let core = &self.sites[AMBER].core;
        core.points.balance(core.member(&card(person)).unwrap()).available.get()
    }

    fn has_moved_over(&self) {
        self.balances(AMBER);
        let core = &self.sites[AMBER].core;
        assert_eq!((self.points_of(1), self.points_of(2)), (150, 30));
        assert_eq!(core.programme.accounts().side(Side::Opening), -180);
        let account = account(core.member(&card(1)).unwrap());
        assert_eq!(core.programme.profile(account).accumulated, 700);
    }
}

#[test]
fn trial_balance_is_zero_and_an_opening_is_given_once_when_a_node_is_killed_at_any_turn() {
    let mut undisturbed = World::with_rules(&[], RULES);
    undisturbed.move_over();
    undisturbed.has_moved_over();
    let turns = undisturbed.sites[AMBER].turns;
    assert!(turns >= 4, "{turns}");
    for appended in [true, false] {
        for turn in 0..turns {
            let kills = [Kill { who: AMBER, turn, appended }];
            let mut world = World::with_rules(&kills, RULES);
            world.move_over();
            world.has_moved_over();
        }
    }
    // from the journal and from a snapshot
    undisturbed.snapshot(AMBER);
    undisturbed.restart(AMBER);
    undisturbed.has_moved_over();
    let one = brought(1, &[(50, Some("2030-12-31")), (100, None)], 700);
    assert_eq!(undisturbed.brings(&[one], "zhao").already_there, 1);
    // they expire as others: what has no day after the rules' two, the other on its own
    undisturbed.passes(3 * 24 * 60 * 60);
    assert_eq!((undisturbed.points_of(1), undisturbed.points_of(2)), (50, 30));
    undisturbed.passes(7 * 24 * 60 * 60);
    assert_eq!((undisturbed.points_of(1), undisturbed.points_of(2)), (50, 0));
    undisturbed.balances(AMBER);
}

#[test]
fn who_cannot_bring_an_opening_is_told_why_and_keeps_no_other_back() {
    let mut world = World::with_rules(&[], RULES);
    let (given, member) = {
        let core = &world.sites[AMBER].core;
        (core.vault.clone(), core.member(&card(3)).unwrap())
    };
    let at = Timestamp::from_unix_ms(1_800_000_000_001);
    given.decide(member, Consent::new(Purpose::Programme, false, 1, at)).unwrap();
    let members = [
        brought(1, &[(5, Some("2026-02-30"))], 0),
        brought(2, &[(5, None)], 0),
        brought(2, &[(6, None)], 0),
        brought(3, &[(5, None)], 0),
        brought(1, &[(u64::MAX, None)], 0),
        brought(1, &[(5, Some("2020-01-01"))], 0),
    ];
    let codes = |view: &OpeningsView| -> Vec<(u64, String)> {
        view.refused.iter().map(|it| (it.place, it.code.clone())).collect()
    };
    let told: Vec<(u64, String)> = [
        (1, "date_malformed"),
        (3, "opening_twice"),
        (4, "consent_missing"),
        (5, "points_range"),
        (6, "opening_expired"),
    ]
    .map(|(place, code)| (place, code.to_owned()))
    .into();
    let entered = world.brings(&members, "li");
    assert_eq!((codes(&entered), entered.waiting), (told.clone(), 1));
    assert!(entered.refused.iter().all(|it| !it.reason.zh.is_ascii() && it.reason.en.is_ascii()));
    assert!(entered.refused.iter().all(|it| !it.reason.en.contains("CARD-")));

    // a dry run says the same and keeps nothing
    let dry = |world: &mut World, by: &str, enters: bool| {
        let request = OpeningsRequest { members: members.to_vec(), dry_run: true, replace: false };
        world.ask(AMBER, |core, now, turn| core.bring_openings(&request, (by, enters), now, turn))
    };
    for _ in 0..2 {
        let would = dry(&mut world, "olga", false);
        assert_eq!((codes(&would), would.given, would.points_given), (told.clone(), 1, 5));
    }
    assert_eq!(world.points_of(2), 0);
    let officer =
        OpeningsRequest { members: vec![members[1].clone()], ..OpeningsRequest::default() };
    let agreed = world
        .ask(AMBER, |core, now, turn| core.bring_openings(&officer, ("olga", false), now, turn));
    assert_eq!((agreed.given, world.points_of(2)), (1, 5));

    // nobody's gain: neither the programme nor the desk is told of many points
    let one = brought(1, &[(900_000_000, None)], 900_000_000);
    world.brings(std::slice::from_ref(&one), "li");
    let request = OpeningsRequest { members: vec![one], ..OpeningsRequest::default() };
    let (now, mut turn) = (world.now, Turn::default());
    let core = &mut world.sites[AMBER].core;
    let view = core.bring_openings(&request, ("wang", true), now, &mut turn).unwrap();
    assert_eq!((view.given, turn.gained.len()), (1, 0));
    assert_eq!(core.programme.watch().cases().count(), 0);

    for members in [Vec::new(), vec![members[1].clone(); 501]] {
        let request = OpeningsRequest { members, ..OpeningsRequest::default() };
        let refused = world.try_to(AMBER, |core, now, turn| {
            core.bring_openings(&request, ("li", true), now, turn)
        });
        assert_eq!(refused.unwrap_err().code, "openings_count");
    }
}
