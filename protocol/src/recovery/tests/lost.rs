//! Nodes that lost their disks have their logs again from the others, in an alliance carried by hand.

use std::collections::VecDeque;

use super::*;
use crate::amount::Value;
use crate::epochs::adoption::{DraftReference, Stance};
use crate::ledger::{Archive, Context, Ledger, LedgerKeys, PeerFault};
use crate::log::block::{ColumnContent, PublicEntry};
use crate::witness::message::Message;
use crate::witness::record::Record;
use crate::witness::state::Outbox;
use crate::witness::statement::{Certificate, VotingKeys};
use crate::witness::writer::Entropy;
use crate::world::following;

struct Numbers(u64);

impl Entropy for Numbers {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (self.0 >> 33) as u8;
        }
    }
}

#[derive(Default)]
struct Kept {
    own: BTreeMap<Height, (OwnBlock, Certificate)>,
    held: BTreeMap<(BrandId, Height), HeldBlock>,
}

impl Archive for Kept {
    fn block(&self, height: Height) -> Option<(OwnBlock, UnverifiedCertificate)> {
        let (block, certificate) = self.own.get(&height)?;
        Some((block.clone(), certificate.as_unverified().clone()))
    }
    fn held(&self, log: BrandId, from: Height) -> Option<HeldBlock> {
        let range = (log, from)..=(log, Height::new(u64::MAX));
        self.held.range(range).next().map(|(_, held)| held.clone())
    }
}

struct Site {
    ledger: Ledger,
    kept: Kept,
    records: Vec<Record>,
    finals: Vec<(BrandId, Height)>,
    rejected: Vec<(BrandId, Payload)>,
    outdated: Vec<PublicEntry>,
    runs: bool,
}

struct World {
    of: Constitution,
    sites: Vec<Site>,
    mail: VecDeque<(usize, usize, Message)>,
    now: Timestamp,
    numbers: Numbers,
    // what is lost on its way
    loses: fn(&Message) -> bool,
    faults: Vec<PeerFault>,
}

impl World {
    fn new(n: u8) -> Self {
        let of = Constitution::new(draft(n)).unwrap();
        let mut world = Self {
            of,
            sites: Vec::new(),
            mail: VecDeque::new(),
            now: NOW,
            numbers: Numbers(1),
            loses: |_| false,
            faults: Vec::new(),
        };
        for brand in 0..usize::from(n) {
            let ledger = world.ledger(brand);
            let (kept, records) = (Kept::default(), Vec::new());
            let (finals, rejected, outdated) = (Vec::new(), Vec::new(), Vec::new());
            world.sites.push(Site {
                ledger,
                kept,
                records,
                finals,
                rejected,
                outdated,
                runs: true,
            });
        }
        (0..usize::from(n)).for_each(|brand| world.start(brand));
        world.run(30);
        world
    }

    fn ledger(&self, brand: usize) -> Ledger {
        self.ledger_with(brand, ring(brand, 6))
    }

    fn ledger_with(&self, brand: usize, sealing: KeyRing) -> Ledger {
        let keys = LedgerKeys {
            voting: VotingKeys { log: key(brand, 0), vote: key(brand, 1) },
            checkpoint: key(brand, 2),
            witness: key(brand, 3),
            sealing,
        };
        Ledger::new(id(&self.of, brand), self.of.clone(), keys)
    }

    fn start(&mut self, brand: usize) {
        self.call(brand, |ledger, context, out| ledger.resume(context, out));
    }

    fn call(
        &mut self,
        brand: usize,
        action: impl FnOnce(&mut Ledger, &mut Context<'_>, &mut Outbox),
    ) {
        let site = &mut self.sites[brand];
        let mut out = Outbox::default();
        let (now, entropy) = (self.now, &mut self.numbers);
        let mut context = Context { now, entropy, archive: &site.kept };
        action(&mut site.ledger, &mut context, &mut out);
        site.records.append(&mut out.records);
        site.rejected.append(&mut out.rejected);
        site.outdated.append(&mut out.outdated);
        for held in out.held {
            site.kept.held.insert(held.place().unwrap(), held);
        }
        let mut written = out.written.into_iter();
        for done in out.finals {
            let (log, height) = (done.block.log, done.block.height);
            site.finals.push((log, height));
            if log == site.ledger.me() {
                let block = written.next().unwrap();
                assert_eq!(block.reference(), done.block);
                site.kept.own.insert(height, (block, done.certificate));
            } else {
                let said = !done.payloads.expect("no dispute").is_empty();
                site.ledger.applied(log, Vec::new(), said).unwrap();
            }
        }
        let brands = self.of.committee().brands();
        for (to, message) in out.messages {
            let to = brands.iter().position(|brand| *brand == to).unwrap();
            if !(self.loses)(&message) {
                self.mail.push_back((brand, to, message));
            }
        }
    }

    /// Steps of 100 ms.
    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.now = self.now.plus(Milliseconds::new(100));
            for brand in 0..self.sites.len() {
                if self.sites[brand].runs {
                    self.call(brand, |ledger, context, out| {
                        ledger.tick(context, out);
                        ledger.poll(context, out);
                    });
                }
            }
            for _ in 0..self.mail.len() * 4 {
                let Some((from, to, message)) = self.mail.pop_front() else { break };
                if !self.sites[to].runs {
                    continue;
                }
                let from = id(&self.of, from);
                let mut fault = None;
                // through its bytes
                let message = Message::from_bytes(&message.into_bytes()).unwrap();
                self.call(to, |ledger, context, out| {
                    fault = ledger.handle(from, message, context, out).err();
                    ledger.poll(context, out);
                });
                self.faults.extend(fault);
            }
        }
    }

    fn send(&mut self, pair: (usize, usize), points: u64) {
        let (to, payload) = (id(&self.of, pair.1), exchange(&self.of, pair, points));
        self.sites[pair.0].ledger.submit_sealed(to, payload).unwrap();
    }

    fn height(&self, brand: usize, log: usize) -> u64 {
        let log = id(&self.of, log);
        self.sites[brand].ledger.witness(log).unwrap().tip().height.get()
    }

    fn contents(&self, brand: usize) -> BTreeMap<BrandId, ColumnContent> {
        self.sites[brand].ledger.writer().contents().clone()
    }

    /// Its disk is gone; the recovery key is not.
    fn lose(&mut self, brand: usize) -> Kept {
        let mut ledger = self.ledger(brand);
        ledger.hold_recovery_key(ring(brand, 7));
        let site = &mut self.sites[brand];
        site.ledger = ledger;
        site.records.clear();
        site.finals.clear();
        std::mem::take(&mut site.kept)
    }

    /// What `coalition rebuild` does: asks for its own log and for nothing else.
    fn rebuild(&mut self, brand: usize) {
        let me = id(&self.of, brand);
        let runs: Vec<bool> = self.sites.iter().map(|site| site.runs).collect();
        self.sites[brand].runs = false;
        for _ in 0..20 {
            self.call(brand, |ledger, context, out| ledger.seek(me, context.now, out));
            // the others answer, and it hears holdings only
            self.sites[brand].runs = false;
            let mail: Vec<_> = self.mail.drain(..).collect();
            for (from, to, message) in mail {
                let hears = to != brand || matches!(message, Message::Holdings(_));
                if runs[to] && hears {
                    let from = id(&self.of, from);
                    self.call(to, |ledger, context, out| {
                        ledger.handle(from, message, context, out).unwrap();
                        if to != brand {
                            ledger.poll(context, out);
                        }
                    });
                }
            }
            self.now = self.now.plus(Milliseconds::from_seconds(1));
        }
        self.sites[brand].runs = true;
    }

    fn declare(&mut self, brand: usize) {
        self.call(brand, |ledger, _, out| ledger.declare_restored(out));
        self.start(brand);
    }
}

#[test]
fn a_lost_writer_has_its_log_again_and_goes_on() {
    for n in [2, 3, 4, 7] {
        let mut world = World::new(n);
        for points in 1..6 {
            world.send((0, 1), points);
            world.send((1, 0), points);
            world.run(10);
        }
        assert!(world.height(0, 0) >= 5, "n={n}");
        let (height, contents) = (world.height(0, 0), world.contents(0));
        let before = world.lose(0);
        assert_eq!(world.height(0, 0), 0);
        world.rebuild(0);
        assert_eq!((world.height(0, 0), world.contents(0)), (height, contents), "n={n}");
        for (height, (block, certificate)) in &before.own {
            let (again, certified) = &world.sites[0].kept.own[height];
            assert!(again.leaves().eq(block.leaves()), "n={n}: byte for byte");
            assert_eq!((again.payloads(), certified), (block.payloads(), certificate));
        }
        let sought = world.sites[0].ledger.sought(id(&world.of, 0)).unwrap();
        assert_eq!(sought.exhausted.len(), usize::from(n) - 1);
        // its journal gives the same state again
        let mut replayed = world.ledger(0);
        for record in &world.sites[0].records {
            let record = Record::from_bytes(&record.to_bytes()).unwrap();
            replayed.replay(&record, &mut Outbox::default()).unwrap();
        }
        assert_eq!(replayed.writer().contents(), world.sites[0].ledger.writer().contents());
        world.sites[0].ledger = replayed;
        world.declare(0);
        world.run(100);
        // two blocks decide what its former life may have begun; then it writes as ever
        assert!(world.sites[0].ledger.may_apply(), "n={n}");
        let height = world.height(0, 0);
        world.send((0, 1), 9);
        world.run(50);
        assert!(world.height(0, 0) > height, "n={n}");
        assert!((1..usize::from(n)).all(|brand| world.height(brand, 0) == world.height(0, 0)));
        assert!(world.faults.is_empty(), "{:?}", world.faults);
    }
}

/// One witness has heard that the block is certified: the others have voted for it, and hold it when they hear
/// of that.
#[test]
fn a_certified_block_that_one_witness_knows_of_is_had_from_those_who_voted_for_it() {
    let mut world = World::new(4);
    world.send((0, 1), 1);
    world.run(10);
    let before = world.height(0, 0);
    world.loses = |message| matches!(message, Message::Certified(_));
    world.send((0, 1), 2);
    world.run(3);
    let heights: Vec<u64> = (0..4).map(|brand| world.height(brand, 0)).collect();
    assert_eq!(heights, [before + 1, before, before, before]);
    let (_, certificate) = world.sites[0].kept.own[&Height::new(before + 1)].clone();
    let (writer, certificate) = (id(&world.of, 0), certificate.as_unverified().clone());
    world.call(1, |ledger, context, out| {
        ledger.handle(writer, Message::Certified(certificate), context, out).unwrap();
    });
    assert_eq!(world.height(1, 0), before + 1);
    world.lose(0);
    world.loses = |_| false;
    world.declare(0);
    world.run(200);
    assert!(world.sites[0].ledger.may_apply());
    assert!((0..4).all(|brand| world.height(brand, 0) > before));
    assert!(world.faults.is_empty(), "{:?}", world.faults);
}

/// What it takes before it knows its own log may be more than its limits leave room for: that goes back, and
/// the log goes on.
#[test]
fn a_lost_writer_gives_back_what_its_former_life_leaves_no_room_for() {
    let mut world = World::new(4);
    world.send((0, 1), 600);
    world.run(20);
    world.lose(0);
    world.declare(0);
    // of 1,000 points that it may owe
    world.send((0, 1), 300);
    world.send((0, 1), 500);
    world.run(200);
    let ledger = &world.sites[0].ledger;
    assert!(ledger.may_apply() && ledger.writer().stalled().is_none());
    let gone = (id(&world.of, 1), exchange(&world.of, (0, 1), 500));
    assert_eq!(world.sites[0].rejected, [gone]);
    let sent = [600, 300].map(|points| exchange(&world.of, (0, 1), points).value());
    let sent = sent.into_iter().fold(Value::ZERO, |sum, value| sum.plus(value).unwrap());
    assert_eq!(world.contents(0)[&id(&world.of, 1)].sent, sent);
    assert!((1..4).all(|brand| world.height(brand, 0) == world.height(0, 0)));
}

/// What it wants to say of a draft before it knows its own log may come after what its former life said of it:
/// that goes back, and the log goes on.
#[test]
fn a_lost_writer_does_not_contradict_what_its_former_life_said_of_a_draft() {
    let mut world = World::new(4);
    let draft = following(&draft(4), |it| it.payload_size = 200);
    let offered = Constitution::new(draft.clone()).unwrap();
    let state = |world: &mut World, stance| {
        let offered = offered.clone();
        world.call(0, |ledger, _, _| {
            drop(ledger.offer(offered).unwrap());
            ledger.state(draft.hash, stance).unwrap();
        });
    };
    state(&mut world, Stance::Adopted);
    world.run(30);
    let said = |world: &World| {
        let own = world.sites[0].ledger.witness(id(&world.of, 0)).unwrap();
        own.stances().on(&draft.hash)
    };
    assert_eq!(said(&world), Some(Stance::Adopted));
    world.lose(0);
    world.declare(0);
    state(&mut world, Stance::Declined);
    world.run(200);
    let ledger = &world.sites[0].ledger;
    assert!(ledger.may_apply() && ledger.writer().stalled().is_none());
    assert_eq!(said(&world), Some(Stance::Adopted));
    assert_eq!(world.sites[0].outdated, [PublicEntry::Declined(DraftReference::to(&offered))]);
    let height = world.height(0, 0);
    world.send((0, 1), 9);
    world.run(50);
    assert!(world.height(0, 0) > height);
    assert!((1..4).all(|brand| world.height(brand, 0) == world.height(0, 0)));
}

#[test]
fn a_block_that_a_lock_forces_is_had_from_those_who_voted_for_it() {
    let mut world = World::new(4);
    world.send((0, 1), 1);
    world.run(10);
    let height = world.height(0, 0);
    // two witnesses take a lock; nobody hears that they have
    world.loses = |message| matches!(message, Message::Commit(_));
    world.send((0, 1), 2);
    world.run(3);
    assert_eq!(world.height(0, 0), height);
    let open = world.sites[0].ledger.writer().open_block().unwrap().clone();
    world.sites[0].runs = false;
    world.mail.clear();
    world.loses = |_| false;
    world.lose(0);
    world.sites[0].runs = true;
    world.rebuild(0);
    assert_eq!(world.height(0, 0), height);
    world.declare(0);
    world.run(150);
    // what it had proposed is final, byte for byte, although it had forgotten it
    let (block, _) = &world.sites[0].kept.own[&Height::new(height + 1)];
    assert_eq!(block.reference(), open.reference());
    assert_eq!(block.payloads(), open.payloads());
    assert!(world.sites[0].ledger.may_apply());
}

#[test]
fn a_witness_has_what_it_missed_from_others_while_the_writer_is_away() {
    let mut world = World::new(4);
    world.sites[3].runs = false;
    for points in 1..4 {
        world.send((0, 1), points);
        world.run(10);
    }
    // the writer dies; who was away comes back, and hears of the height in another's log
    world.sites[0].runs = false;
    world.sites[3].runs = true;
    let height = world.height(1, 0);
    assert!(height >= 3 && world.height(3, 0) == 0);
    world.run(120);
    assert_eq!(world.height(3, 0), height);
    assert!(world.faults.is_empty(), "{:?}", world.faults);
    // and holds its own fragment of each now
    let log = id(&world.of, 0);
    for at in 1..=height {
        let held = world.sites[3].kept.held(log, Height::new(at)).unwrap();
        assert_eq!(held.place(), Some((log, Height::new(at))));
        assert_eq!(held.fragment.number(), 2);
    }
}

#[test]
fn a_rebuilt_node_that_lost_old_sealing_keys_accuses_nobody() {
    let mut world = World::new(4);
    for points in 1..4 {
        world.send((0, 1), points);
        world.run(10);
    }
    world.send((1, 0), 1);
    world.run(20);
    let height = world.height(1, 1);
    world.lose(1);
    // what was sealed to its first key opens no more; its own blocks open with the recovery key
    let mut ledger = world.ledger_with(1, ring(1, 9));
    ledger.hold_recovery_key(ring(1, 7));
    world.sites[1].ledger = ledger;
    world.rebuild(1);
    assert_eq!(world.height(1, 1), height);
    world.declare(1);
    world.run(150);
    let (a, b) = (id(&world.of, 0), id(&world.of, 1));
    assert!(world.sites[1].ledger.may_apply());
    assert_eq!(world.height(1, 0), world.height(0, 0));
    // with its new key announced it reads again, and knows the totals
    world.send((0, 1), 9);
    world.run(60);
    let witness = world.sites[1].ledger.witness(a).unwrap();
    assert!(!witness.is_disputed());
    assert_eq!(witness.content().entries, world.contents(0)[&b].entries);
    assert_eq!(witness.content().entries, 4);
    assert!(world.faults.is_empty(), "{:?}", world.faults);
}

#[test]
fn a_witness_that_finds_fragments_of_another_body_freezes_the_log_and_tells() {
    let mut world = World::new(4);
    let other = block(&world.of, None, 4).body().as_bytes().to_vec();
    let of = world.of.clone();
    let (held, _) = spoilt(&of, &other, false);
    let log = id(&of, 0);
    world.sites[0].runs = false;
    for brand in [1, 2] {
        world.sites[brand].kept.held.insert((log, Height::new(1)), held[brand - 1].clone());
    }
    // who hears that the block is final, and has it not, asks for it
    let certificate = held[0].certificate.clone().unwrap();
    world.mail.push_back((1, 3, Message::Certified(certificate)));
    world.run(150);
    assert!((1..4).all(|brand| world.sites[brand].ledger.is_frozen(log)));
    let case = world.sites[1].ledger.cases().iter().next().unwrap();
    assert_eq!(case.proven.offence(), Offence::WrongFragments);
    assert!(world.faults.iter().any(|fault| matches!(fault, PeerFault::Contradiction { .. })));
    // small enough to be an entry: it is in the finder's log, and the others' cases come from there too
    let entered = world.sites[3].kept.own.values().any(|(block, _)| !block.public().is_empty());
    assert!(entered && case.proven.evidence().is_an_entry());
}
