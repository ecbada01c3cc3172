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

/// The constitution that freezes cedar.
fn frozen() -> Constitution {
    let first = constitution();
    let brands = first.brands().map(|(id, brand)| (id, brand.clone())).collect();
    let rates = first.rates().map(|(from, to, rate)| ((from, to), rate)).collect();
    Constitution::new(Draft {
        alliance: first.alliance(),
        epoch: Epoch::new(2),
        hash: ConstitutionHash::from_bytes([2; 32]),
        brands,
        rates,
        total_step: first.total_step(),
        payload_size: first.payload_size(),
        return_window: first.return_window(),
        protocol_version: 0,
        cipher: first.cipher(),
        auditors: first.auditors().to_vec(),
        succession: Succession {
            previous: Some(first.hash()),
            frozen: std::iter::once(brand(CEDAR)).collect(),
            ..Succession::default()
        },
    })
    .unwrap()
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

    let next = frozen();
    world.drafts.push(next.clone());
    for who in both {
        world.turn(who, |core, _, turn| {
            core.ledger.offer(next.clone()).unwrap();
            core.to_state.push((next.hash(), Stance::Adopted));
            assert!(core.state_constitutions(turn).is_empty());
        });
    }
    world.rounds(&both);
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
