//! Disputes and failed partners at the nodes: points are where they belong before, during and after.

use protocol::exchange::Link;
use protocol::ids::MemberHandle;
use protocol::ledger::CLOSE_AFTER;

use super::*;
use crate::service::{ExchangeCounts, ProposalRequest};

const CEDAR: usize = 2;

impl World {
    /// Messages and ticks for a while; a dispute keeps an alliance from coming to rest.
    fn rounds(&mut self, nodes: &[usize]) {
        for _ in 0..30 {
            while let Some((from, to, bytes)) = self.mail.pop_front() {
                if nodes.contains(&to) {
                    self.turn(to, |core, now, turn| {
                        core.message(brand(from), Message::from_bytes(&bytes).unwrap(), now, turn);
                    });
                }
            }
            self.now = self.now.plus(LONG);
            for who in nodes {
                self.turn(*who, |core, now, turn| core.tick(now, turn));
            }
        }
    }

    fn available(&self, who: usize, person: u32) -> u64 {
        let core = &self.sites[who].core;
        core.points.balance(core.member(&card(person)).unwrap()).available.get()
    }

    fn same_again(&self, who: usize) {
        let (core, again) = (&self.sites[who].core, self.again(who));
        for person in 1..=3 {
            let balance = |core: &Core| core.points.balance(core.member(&card(person)).unwrap());
            assert_eq!(balance(&again), balance(core), "{who} {person}");
        }
        // refusals leave no trace
        let counts = |core: &Core| ExchangeCounts { refused: 0, ..*core.book.counts() };
        assert_eq!(counts(&again), counts(core));
        assert_eq!(again.disputed(), core.disputed());
        assert_eq!(again.dispute_views(), core.dispute_views());
    }
}

/// What the other side cannot let stand, beside an exchange.
fn dispute(world: &mut World) {
    world.turn(AMBER, |core, now, turn| {
        let link = Link { code: String::new(), handle: MemberHandle::from_bytes([9; 16]) };
        core.submit(Submission::Sealed(brand(BIRCH), Payload::Link(link)), turn).unwrap();
        let request = ExchangeRequest { card: card(1), to: BRANDS[BIRCH].to_owned(), points: 40 };
        core.exchange("two", &request, now, turn).unwrap();
    });
    world.rounds(&[AMBER, BIRCH, CEDAR]);
}

#[test]
fn a_dispute_is_resolved_by_both_operators_and_every_point_is_somewhere() {
    for (void_all, every) in [(false, None), (true, None), (false, Some(1)), (true, Some(3))] {
        let mut world = World::new(&[]);
        (world.snapshots, world.leaves) = (every, every == Some(3));
        world.earn(AMBER, 1, 1000);
        world.link(AMBER, BIRCH, 1);
        world.run_until_quiet();
        world.exchange(AMBER, BIRCH, 1, 100, "one");
        world.run_until_quiet();
        dispute(&mut world);
        // certified, not credited, and on record at both
        assert_eq!((world.available(AMBER, 1), world.available(BIRCH, 1)), (860, 50));
        for who in [AMBER, BIRCH] {
            let views = world.sites[who].core.dispute_views();
            assert_eq!((views.len(), views[0].state.as_str()), (1, "open"));
        }
        let request = ExchangeRequest { card: card(1), to: BRANDS[BIRCH].to_owned(), points: 10 };
        let refused = world.turn(AMBER, |core, now, turn| core.exchange("no", &request, now, turn));
        assert_eq!(refused.unwrap().unwrap_err().code, "log_disputed");
        let early = world.turn(BIRCH, |core, now, turn| core.agree(BRANDS[AMBER], now, turn));
        assert_eq!(early.unwrap().unwrap_err().code, "dispute_not_agreed");
        let other = world.turn(BIRCH, |core, _, turn| {
            core.propose(BRANDS[AMBER], &ProposalRequest::default(), turn)
        });
        assert_eq!(other.unwrap().unwrap_err().code, "dispute_unknown");

        world.ask(AMBER, |core, _, turn| {
            core.propose(BRANDS[BIRCH], &ProposalRequest { void_all }, turn)
        });
        world.rounds(&[AMBER, BIRCH, CEDAR]);
        let offered = world.sites[BIRCH].core.dispute_views().remove(0);
        assert_eq!(offered.state, "offered");
        assert_eq!(offered.leaves_counted, Some(u64::from(!void_all)));
        world.same_again(BIRCH);
        assert_eq!(world.available(BIRCH, 1), 50);
        world.ask(BIRCH, |core, now, turn| core.agree(BRANDS[AMBER], now, turn));
        world.same_again(BIRCH);
        world.run_until_quiet();
        let (amber, birch) = if void_all { (900, 50) } else { (860, 70) };
        assert_eq!((world.available(AMBER, 1), world.available(BIRCH, 1)), (amber, birch));
        for who in [AMBER, BIRCH, CEDAR] {
            let core = &world.sites[who].core;
            assert_eq!(core.dispute_views()[0].state, "resolved");
            assert!(core.standing_alerts(world.now).is_empty());
            world.same_again(who);
        }
        let counts = *world.sites[AMBER].core.book.counts();
        assert_eq!((counts.void, counts.acknowledged), if void_all { (1, 1) } else { (0, 2) });
        // and on it goes
        world.exchange(AMBER, BIRCH, 1, 10, "three");
        world.run_until_quiet();
        assert_eq!(world.available(BIRCH, 1), birch + 5);
        let owed = |who: usize| world.sites[who].core.exposures()[0].owed_micro_fen;
        let credited = if void_all { 110 } else { 150 };
        assert_eq!((owed(AMBER), owed(BIRCH)), (credited * 1_000_000, 0));
        world.audit();
    }
}

/// Who has not acknowledged for a day is shown where partners are, and no longer than that.
#[test]
fn a_brand_that_is_silent_for_a_day_is_shown_as_such() {
    let mut world = World::new(&[]);
    world.earn(AMBER, 1, 1000);
    world.link(AMBER, BIRCH, 1);
    world.run_until_quiet();
    let birch = |world: &World| {
        let views = world.sites[AMBER].core.partner_views(world.now);
        views.into_iter().find(|view| view.brand == BRANDS[BIRCH]).unwrap()
    };
    assert_eq!((birch(&world).silent, birch(&world).unacknowledged_since_ms), (false, None));
    world.exchange(AMBER, BIRCH, 1, 10, "one");
    world.rounds(&[AMBER, CEDAR]);
    let since = birch(&world).unacknowledged_since_ms.unwrap();
    assert!(!birch(&world).silent && since <= world.now.unix_ms());
    world.now = world.now.plus(Milliseconds::from_seconds(24 * 60 * 60 + 60));
    let view = birch(&world);
    assert_eq!((view.state.as_str(), view.silent), ("running", true));
    assert_eq!(view.unacknowledged_since_ms, Some(since));
    assert!(view.next.en.contains("more than 24 h") && view.next.zh.contains("超过24小时"));
    assert_eq!(world.sites[AMBER].core.standing_alerts(world.now).len(), 1);
    // what it says when it is back counts
    for (who, other) in [(BIRCH, AMBER), (AMBER, BIRCH), (BIRCH, CEDAR)] {
        world.turn(who, |core, _, turn| core.ledger.ask(brand(other), &mut turn.out));
    }
    world.rounds(&[AMBER, BIRCH, CEDAR]);
    assert_eq!((birch(&world).silent, birch(&world).unacknowledged_since_ms), (false, None));
    assert_eq!(birch(&world).next.en, "nothing is to be done");
}

/// The window of a leaf ends while a block that sends it back is in dispute: it was sent back in time.
#[test]
fn what_was_sent_back_in_time_comes_back_however_long_a_dispute_takes() {
    [None, Some(3)].into_iter().for_each(send_back_in_a_dispute);
}

fn send_back_in_a_dispute(every: Option<usize>) {
    let all = [AMBER, BIRCH, CEDAR];
    let mut world = World::new(&[]);
    (world.snapshots, world.leaves) = (every, every.is_some());
    world.earn(AMBER, 1, 1000);
    world.earn(BIRCH, 1, 300);
    world.link(AMBER, BIRCH, 1);
    world.link(BIRCH, AMBER, 1);
    world.run_until_quiet();
    for (points, key) in [(30, "kept"), (20, "back")] {
        world.exchange(BIRCH, AMBER, 1, points, key);
        world.run_until_quiet();
    }
    dispute(&mut world);
    let received = world.sites[AMBER].core.book.received().latest(9, None).unwrap();
    let back = received.iter().min_by_key(|it| it.points_received).unwrap();
    let request = SendBackRequest {
        card: card(1),
        from: BRANDS[BIRCH].to_owned(),
        leaf: back.leaf,
        points: back.points_received,
    };
    world.ask(AMBER, |core, now, turn| core.send_back("back", &request, now, turn));
    world.rounds(&all);
    world.now = world.now.plus(Milliseconds::from_seconds(2 * 86_400));
    world.ask(AMBER, |core, _, turn| {
        let said = ApplicationEntry { application: 9, body: vec![1] };
        core.submit(Submission::Public(PublicEntry::Application(said)), turn).map_err(submit_error)
    });
    world.rounds(&all);
    assert_eq!(world.available(BIRCH, 1), 250);
    world
        .ask(AMBER, |core, _, turn| core.propose(BRANDS[BIRCH], &ProposalRequest::default(), turn));
    world.rounds(&all);
    world.ask(BIRCH, |core, now, turn| core.agree(BRANDS[AMBER], now, turn));
    world.run_until_quiet();
    // and forty more of amber's points, which are twenty here
    assert_eq!(world.available(BIRCH, 1), 290);
    assert!(world.sites[BIRCH].core.alerts.iter().all(|alert| !alert.contains("return")));
    world.same_again(BIRCH);
    world.audit();
}

/// What a constitution says, to be changed.
fn draft_of(constitution: &Constitution) -> Draft {
    let brands = constitution.brands().map(|(id, brand)| (id, brand.clone())).collect();
    let rates = constitution.rates().map(|(from, to, rate)| ((from, to), rate)).collect();
    Draft {
        alliance: constitution.alliance(),
        epoch: constitution.epoch(),
        hash: constitution.hash(),
        brands,
        rates,
        total_step: constitution.total_step(),
        payload_size: constitution.payload_size(),
        return_window: constitution.return_window(),
        protocol_version: 0,
        cipher: constitution.cipher(),
        auditors: constitution.auditors().to_vec(),
        succession: constitution.succession().clone(),
    }
}

/// What may follow a first constitution.
fn second(first: &Constitution) -> Draft {
    let mut next = draft_of(first);
    (next.epoch, next.hash) = (Epoch::new(2), ConstitutionHash::from_bytes([2; 32]));
    next.succession.previous = Some(first.hash());
    next
}

/// The constitution that freezes cedar.
fn frozen() -> Constitution {
    let mut next = second(&constitution());
    next.succession.frozen.insert(brand(CEDAR));
    Constitution::new(next).unwrap()
}

/// Brands adopt a constitution; their operators have seen the file.
fn adopt(world: &mut World, next: &Constitution, by: &[usize]) {
    world.drafts.push(next.clone());
    for who in by {
        world.turn(*who, |core, _, turn| {
            core.ledger.offer(next.clone()).unwrap();
            core.to_state.push((next.hash(), Stance::Adopted));
            assert!(core.state_constitutions(turn).is_empty());
        });
    }
    world.rounds(by);
}

/// Cedar leaves by a constitution, and its node is off by then: until both others have closed it out there
/// is no statement, at neither of them and for no cut-off before; then it is counted.
#[test]
fn a_brand_that_left_is_in_the_statements_of_those_who_had_closed_it_out() {
    const MINUTE: Milliseconds = Milliseconds::from_seconds(60);
    let mut first = draft_of(&constitution());
    first.succession.notice = MINUTE;
    let first = Constitution::new(first).unwrap();
    let mut world = World::under(first.clone(), &[], alliance_config::sample::FIRST_RULES);
    world.earn(AMBER, 1, 1000);
    world.link(AMBER, BIRCH, 1);
    world.link(AMBER, CEDAR, 1);
    world.run_until_quiet();
    world.exchange(AMBER, CEDAR, 1, 90, "to-cedar");
    world.run_until_quiet();

    let both = [AMBER, BIRCH];
    let mut next = second(&first);
    next.brands.remove(&brand(CEDAR));
    next.rates.retain(|(from, to), _| ![*from, *to].contains(&brand(CEDAR)));
    adopt(&mut world, &Constitution::new(next).unwrap(), &both);
    world.now = world.now.plus(MINUTE);
    world.rounds(&both);
    for who in both {
        let core = &world.sites[who].core;
        assert_eq!(core.ledger.witness(core.me()).unwrap().epoch(), Epoch::new(2), "{who}");
    }
    // both have a block under it, and nobody can have closed cedar out
    world.exchange(AMBER, BIRCH, 1, 10, "to-birch");
    world.rounds(&both);
    let close = |world: &mut World| {
        let cut_off = world.now;
        for who in both {
            world.ask(who, |core, now, turn| core.close(cut_off, now, turn));
        }
        world.rounds(&both);
        cut_off
    };
    let view = |world: &World, who: usize, at| world.sites[who].core.clearing.view(at).unwrap();
    let early = close(&mut world);
    let waits = |world: &World| {
        for who in both {
            let view = view(world, who, early);
            assert_eq!((view.state.as_str(), view.closed.len()), ("waiting", 2), "{who}");
        }
    };
    waits(&world);
    world.now = world.now.plus(CLOSE_AFTER);
    world.rounds(&both);
    for who in both {
        let core = &world.sites[who].core;
        assert!(core.clearing.absent().has_closed_out(core.me(), brand(CEDAR)), "{who}");
    }
    // it was closed out after the blocks of that cut-off
    waits(&world);

    let cut_off = close(&mut world);
    let hashes = both.map(|who| {
        let view = view(&world, who, cut_off);
        assert_eq!(view.state, "agreed", "{:?}", world.sites[who].core.alerts);
        let nets = view.positions.iter().map(|it| (it.brand.as_str(), it.net_micro_fen));
        let expected = [("amber", -100_000_000), ("birch", 10_000_000), ("cedar", 90_000_000)];
        assert_eq!(nets.collect::<Vec<_>>(), expected);
        view.hash
    });
    assert_eq!(hashes[0], hashes[1]);
    waits(&world);
    for who in both {
        world.same_again(who);
        world.compare(who);
    }
}

#[test]
fn a_failed_partner_is_closed_out_and_members_have_their_points_back() {
    for (every, leaves) in [(None, false), (Some(1), false), (Some(2), true)] {
        fail_a_partner(every, leaves);
    }
}

fn fail_a_partner(every: Option<usize>, leaves: bool) {
    let mut world = World::new(&[]);
    (world.snapshots, world.leaves) = (every, leaves);
    world.earn(AMBER, 1, 1000);
    world.earn(AMBER, 2, 1000);
    world.link(AMBER, CEDAR, 1);
    world.run_until_quiet();
    world.exchange(AMBER, CEDAR, 1, 90, "arrives");
    world.run_until_quiet();
    assert_eq!(world.available(CEDAR, 1), 30);
    // cedar is gone; what goes there now it never sees
    let both = [AMBER, BIRCH];
    world.exchange(AMBER, CEDAR, 1, 60, "lost");
    world
        .ask(AMBER, |core, now, turn| core.link(&card(2), BRANDS[CEDAR], "11111-11111", now, turn));
    world.rounds(&both);
    assert_eq!(world.available(AMBER, 1), 850);
    let refused =
        world.turn(AMBER, |core, now, turn| core.agree_to_close(BRANDS[CEDAR], now, turn));
    assert_eq!(refused.unwrap().unwrap_err().code, "log_not_frozen");

    adopt(&mut world, &frozen(), &both);
    let state = |world: &World, who: usize| {
        let views = world.sites[who].core.partner_views(world.now);
        views.into_iter().find(|view| view.brand == BRANDS[CEDAR]).unwrap()
    };
    assert_eq!(state(&world, AMBER).state, "removed");
    assert_eq!(world.available(AMBER, 1), 850, "it may still recognise them");
    // amber's operator agrees at once, birch's node an hour later by itself
    world.ask(AMBER, |core, now, turn| core.agree_to_close(BRANDS[CEDAR], now, turn));
    world.rounds(&both);
    assert_eq!(state(&world, AMBER).state, "closing");
    world.now = world.now.plus(CLOSE_AFTER);
    world.rounds(&both);
    for who in both {
        assert_eq!(state(&world, who).state, "closed_out", "{:?}", world.sites[who].core.alerts);
        world.same_again(who);
    }
    assert_eq!(world.available(AMBER, 1), 910);
    let view = state(&world, AMBER);
    assert_eq!((view.sent_micro_fen, view.void_micro_fen), (90_000_000, 60_000_000));
    assert_eq!((view.we_owe_micro_fen, view.they_owe_micro_fen), (90_000_000, 0));
    let core = &world.sites[AMBER].core;
    let lost = core.exchange_by_id(&exchange_id("lost")).unwrap().view();
    assert_eq!((lost.state.as_str(), lost.points_back), ("void", 60));
    let arrived = core.exchange_by_id(&exchange_id("arrives")).unwrap().view();
    assert_eq!(arrived.state, "acknowledged");
    // nothing goes there any more, and links to it have ended
    let links = core.vault.links(core.member(&card(2)).unwrap()).unwrap();
    assert_eq!(links.outgoing, [(brand(CEDAR), LinkState::Returned)]);
    let request = ExchangeRequest { card: card(1), to: BRANDS[CEDAR].to_owned(), points: 6 };
    let refused = world.turn(AMBER, |core, now, turn| core.exchange("no", &request, now, turn));
    assert_eq!(refused.unwrap().unwrap_err().code, "brand_ended");
}
