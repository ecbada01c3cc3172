//! A node that is killed at any moment goes on as if it had not been.
//!
//! Three brands in one thread, messages carried by hand as bytes. Sender and receiver are killed,
//! either just before a turn's records are on the disk (what the vault and the published log hold of
//! the turn stays) or just after (nothing was said of it yet), and started again from their journals.
//! Every turn is tried, also with turns before it that are on their way to the disk and are lost with it. Each time the alliance must come to the state it comes to undisturbed, what is
//! published must stand before an auditor, and nobody may have signed two things. The ledger's
//! randomness is fixed; the vault's (handles, codes) is not, and nothing depends on it.

mod clearing;
mod key_service;
mod partners;
mod programme;
mod world;

use std::path::PathBuf;

use ::programme::Rules;
use protocol::amount::{Points, Rate, Value};
use protocol::audit::{Auditor, KeyHolder, OpeningKey};
use protocol::codec;
use protocol::constitution::{Access, Brand, BrandKeys, Constitution, Draft, Succession};
use protocol::crypto::SigningKey;
use protocol::crypto::sealed::{Cipher, KeyRing, SealingSecret};
use protocol::ids::{ConstitutionHash, Epoch, LeafIndex, Round};
use protocol::ledger::LedgerKeys;
use protocol::log::block::ApplicationEntry;
use protocol::witness::statement::VotingKeys;

use super::*;
use crate::audit::Directory;
use crate::exchange::cold::{Cold, Leaving};
use crate::exchange::points::Control;
use crate::journal;
use crate::runtime::clearing::PaymentStep;
use crate::runtime::own_blocks::OwnBlocks;
use crate::runtime::sealed_journal::RecordCipher;
use crate::runtime::snapshot::StateCopy;
use crate::runtime::state_record::StateRecord;
use crate::service::{
    DisclosureRequest, ErrorKind, ExchangeRequest, PaymentRequest, SendBackRequest,
};
use crate::vault::{Consent, LinkState, Purpose};
use protocol::time::Milliseconds;

const BRANDS: [&str; 3] = ["amber", "birch", "cedar"];
const AMBER: usize = 0;
const BIRCH: usize = 1;
/// Longer than a writer waits before it repeats itself.
const LONG: Milliseconds = Milliseconds::new(600);
fn brand(number: usize) -> BrandId {
    BrandId::new(BRANDS[number]).unwrap()
}

fn signing(number: usize, role: u8) -> SigningKey {
    SigningKey::from_seed(&[10 * number as u8 + role; 32]).unwrap()
}

fn sealing(number: usize, role: u8) -> (SealingSecret, protocol::crypto::sealed::SealingKey) {
    SealingSecret::derive(&[10 * number as u8 + role; 32])
}

/// A point of amber is worth one million micro-fen, of birch two, of cedar three.
fn constitution() -> Constitution {
    let worth = |number: usize| 1 + number as u32;
    let value = |value| Value::new(value).unwrap();
    let member = |number: usize| Brand {
        keys: BrandKeys {
            log: signing(number, 1).public(),
            vote: signing(number, 2).public(),
            checkpoint: signing(number, 3).public(),
            witness: signing(number, 4).public(),
            governance: signing(number, 5).public(),
            network: signing(number, 6).public(),
            sealing: sealing(number, 7).1,
            recovery: sealing(number, 8).1,
        },
        point_value: Rate::new(1_000_000 * worth(number), 1).unwrap(),
        pair_limit: value(400_000_000),
        total_limit: value(600_000_000),
    };
    let pairs = (0..3).flat_map(|from| (0..3).map(move |to| (from, to)));
    let rate = |(from, to)| ((brand(from), brand(to)), Rate::new(worth(from), worth(to)).unwrap());
    Constitution::new(Draft {
        alliance: BrandId::new("tried").unwrap(),
        epoch: Epoch::new(1),
        hash: ConstitutionHash::from_bytes([1; 32]),
        brands: (0..3).map(|number| (brand(number), member(number))).collect(),
        rates: pairs.filter(|(from, to)| from != to).map(rate).collect(),
        total_step: value(10_000_000),
        payload_size: 160,
        return_window: Milliseconds::from_seconds(86_400),
        protocol_version: 0,
        cipher: Cipher::default(),
        auditors: vec![protocol::constitution::Auditor {
            name: "tax_office".to_owned(),
            access: Access::OnRequest,
            sealing: sealing(9, 9).1,
            later: Vec::new(),
        }],
        succession: Succession::default(),
    })
    .unwrap()
}

/// SplitMix64.
struct Numbers(u64);

impl Entropy for Numbers {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *byte = (mixed >> 32) as u8;
        }
    }
}

/// When a node is killed: in which of its turns that have records, and on which side of the append.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Kill {
    who: usize,
    turn: usize,
    appended: bool,
}

/// A turn whose records are on their way to the disk.
struct Waiting {
    records: Vec<journal::Record>,
    checkpoint: Option<SignedCheckpoint>,
    messages: Vec<(BrandId, Message)>,
    // whether an own block became final in it
    is_final: bool,
}

struct Site {
    core: Core,
    vault: Arc<Vault>,
    store: Arc<dyn Store>,
    // what a restart reads: all records, or the last snapshot and those after it
    journal: Vec<journal::Record>,
    waiting: VecDeque<Waiting>,
    // all records there ever were
    history: Vec<journal::Record>,
    turns: usize,
    starts: u64,
}

/// What a node has signed, to find it contradicting itself after a restart.
type Said = BTreeMap<(usize, &'static str, BrandId, Height, Round), HeaderHash>;

struct World {
    constitution: Constitution,
    folders: tempfile::TempDir,
    sites: Vec<Site>,
    mail: VecDeque<(usize, usize, Vec<u8>)>,
    now: Timestamp,
    kills: Vec<Kill>,
    // whether a turn takes all that has come
    batched: bool,
    // how many turns of a node may be on their way to the disk
    lag: usize,
    // whether it is said that a block is final before the next one is built
    apart: bool,
    // every so many turns with records a node's journal becomes a snapshot
    snapshots: Option<usize>,
    // whether it is compared with what a replay gives
    compares: bool,
    // files that may become the next constitution
    drafts: Vec<Constitution>,
    // whether exchanges leave memory with it, and how many have
    leaves: bool,
    left: usize,
    said: Said,
    // exchanges that somebody was told of
    answered: Vec<(usize, String)>,
    cut_off: Option<Timestamp>,
    // whether the statement's payments are to be confirmed by all
    settled: bool,
    restarts: usize,
    // of the programme of every brand
    rules: Rules,
}

/// What a core's records come to, as bytes: but for what others have signed and no record has, and for
/// the keys of what has earned, which the store has after a snapshot. Statements of the clearing are
/// derived first, since a node that starts does so before it does anything else.
fn digest(core: &Core) -> Vec<String> {
    let mut clearing = Clearing::new(core.me());
    for (cut_off, cycle) in core.clearing.cycles() {
        clearing.take_up(cut_off, cycle);
    }
    clearing.take_up_absent(core.clearing.absent().clone());
    clearing.derive(core.ledger.constitutions());
    let cycles = clearing
        .cycles()
        .map(|(cut_off, cycle)| codec::encode(&StateRecord::Cycle(cut_off, Box::new(cycle))));
    let records = records(core.copy().unwrap(), &Leaving::default()).into_iter();
    let bytes = records.filter_map(|record| match record {
        Recorded::Ledger(mut record) => {
            if let protocol::witness::record::Record::LogState(state) = &mut *record {
                state.said.clear();
            }
            Some(record.to_bytes())
        }
        Recorded::State(part) => match *part {
            StateRecord::EarnedKeys(_) | StateRecord::Cycle(..) => None,
            // wherever they are
            StateRecord::StoredApplications(_) | StateRecord::Application(_) => None,
            part => Some(codec::encode(&part)),
        },
        Recorded::Node(record) => Some(codec::encode(&record)),
    });
    let short = |bytes: Vec<u8>| {
        let hash = protocol::crypto::sha256(&[&bytes]);
        format!("{:02x?} {} bytes {:02x?}", &bytes[..4.min(bytes.len())], bytes.len(), &hash[..6])
    };
    let mut entries = Vec::new();
    let visited = core.applications.visit(&*core.store, |entry| entries.push(entry.clone()));
    visited.unwrap();
    bytes.chain(cycles).chain([codec::encode(&entries)]).map(short).collect()
}

fn records(copy: StateCopy, leaving: &Leaving) -> Vec<Recorded> {
    let mut records = Vec::new();
    let taken = copy.records(leaving, |record| {
        records.push(record);
        Ok::<(), std::convert::Infallible>(())
    });
    taken.unwrap();
    records
}

fn cipher(number: usize) -> RecordCipher {
    RecordCipher::new(&[number as u8; 32]).unwrap()
}

fn card(number: u32) -> String {
    format!("CARD-{number:07}")
}

fn start(
    constitution: &Constitution,
    number: usize,
    kept: (&Arc<Vault>, &Arc<dyn Store>),
    folder: PathBuf,
    seed: u64,
    journal: &[journal::Record],
) -> Core {
    let ring = KeyRing::new(sealing(number, 7).0).unwrap();
    start_with(constitution, number, kept, (folder, ring), seed, journal)
}

fn start_with(
    constitution: &Constitution,
    number: usize,
    (vault, store): (&Arc<Vault>, &Arc<dyn Store>),
    (folder, ring): (PathBuf, KeyRing),
    seed: u64,
    journal: &[journal::Record],
) -> Core {
    let keys = LedgerKeys {
        voting: VotingKeys { log: signing(number, 1), vote: signing(number, 2) },
        checkpoint: signing(number, 3),
        witness: signing(number, 4),
        sealing: ring,
    };
    let ledger = Ledger::new(brand(number), constitution.clone(), keys);
    let cipher = Arc::new(cipher(number));
    let own_blocks = OwnBlocks::open(&folder.with_extension("own"), Arc::clone(&cipher)).unwrap();
    let published = PublishedLog::open(&folder, own_blocks).unwrap();
    let cold = Cold::new(Arc::clone(store), Arc::clone(&cipher) as _);
    let core = Core::new(ledger, Arc::clone(vault), (Arc::clone(store), cold), published);
    let mut core = core.unwrap();
    core.entropy = Box::new(Numbers(1000 * number as u64 + seed));
    replay(&mut core, number, journal);
    core
}

fn replay(core: &mut Core, number: usize, journal: &[journal::Record]) {
    let cipher = cipher(number);
    for record in journal {
        core.replay(cipher.open(record.clone()).unwrap()).unwrap();
    }
}

/// Every so many turns a node is killed in one run.
const PERIOD: usize = 15;

#[test]
fn nodes_killed_at_any_turn_lose_nothing_and_do_nothing_twice() {
    let mut undisturbed = World::new(&[]);
    undisturbed.work();
    undisturbed.check_journals();
    let turns = [AMBER, BIRCH].map(|who| undisturbed.sites[who].turns);
    assert!(turns.iter().all(|turns| *turns > PERIOD), "{turns:?}");
    // the receiver of what the sender says is killed too, half a period later
    let run = |first: usize, appended: bool, batched: bool, lag: usize, apart: bool| {
        let of = |who, first| {
            (first..4 * PERIOD).step_by(PERIOD).map(move |turn| Kill { who, turn, appended })
        };
        let kills: Vec<Kill> =
            of(AMBER, first).chain(of(BIRCH, (first + PERIOD / 2) % PERIOD)).collect();
        let killed = std::panic::catch_unwind(|| {
            let mut world = World::new(&kills);
            (world.batched, world.lag, world.apart) = (batched, lag, apart);
            world.work();
            world.restarts
        });
        assert!(matches!(killed, Ok(2..)), "{killed:?} at {kills:?}");
    };
    std::thread::scope(|scope| {
        for (appended, batched, lag, apart) in [
            (true, false, 0, false),
            (false, false, 0, false),
            (false, true, 0, false),
            (false, false, 3, false),
            (true, false, 0, true),
            (false, true, 3, true),
        ] {
            scope.spawn(move || {
                (0..PERIOD).for_each(|first| run(first, appended, batched, lag, apart));
            });
        }
    });
}

#[test]
fn a_snapshot_and_what_came_after_it_give_the_state_that_all_records_give() {
    // after every turn, and at longer intervals so that tails are long as well
    for every in [1, 5, 40] {
        let mut world = World::new(&[]);
        world.snapshots = Some(every);
        world.work();
        world.check_journals();
        world.check_history();
        let core = &world.again(BIRCH);
        assert_eq!(core.joint, [[1, BIRCH as u8], [2, BIRCH as u8]]);
        // what is none of the clean room's is nowhere
        let mut entries = 0;
        core.applications.visit(&*core.store, |_| entries += 1).unwrap();
        assert_eq!(entries, 4);
        assert!(every > 1 || core.applications.stored() >= 2);
    }
}

#[test]
fn what_the_desk_has_entered_is_known_after_a_snapshot() {
    use protocol::log::kept::{Answered, OperationLogHead};
    let head = |entries| PublicEntry::OperationLogHead(OperationLogHead { entries, head: [4; 32] });
    let answered = || PublicEntry::Answered(Answered { certificate: [5; 32] });
    let mut world = World::new(&[]);
    world.work();
    world.ask(AMBER, |core, _, turn| core.keep(answered(), turn));
    world.run_until_quiet();
    world.ask(AMBER, |core, _, turn| core.keep(head(7), turn));
    // one is in a final block, the other on its way
    world.snapshot(AMBER);
    let mut again = world.again(AMBER);
    assert_eq!(again.kept, world.sites[AMBER].core.kept);
    assert_ne!(again.kept, super::desk::Kept::default());
    for known in [answered(), head(7), head(6)] {
        let mut turn = Turn::default();
        again.keep(known, &mut turn).unwrap();
        assert!(turn.records.is_empty());
    }
    let mut turn = Turn::default();
    again.keep(head(8), &mut turn).unwrap();
    assert_eq!(turn.records.len(), 1);
    world.run_until_quiet();
    world.snapshot(AMBER);
    assert_eq!(world.again(AMBER).kept, world.sites[AMBER].core.kept);
}

/// The thread that writes a snapshot may be as late as it likes: it is of the moment at which it was begun.
#[test]
fn a_snapshot_is_of_its_moment_however_late_it_is_written() {
    for leaves in [false, true] {
        let mut world = World::new(&[]);
        world.work();
        let begun: Vec<_> = [AMBER, BIRCH]
            .into_iter()
            .map(|who| {
                let site = &world.sites[who];
                let copy = site.core.copy().unwrap();
                (who, copy, digest(&site.core), site.core.book.marks(), site.journal.len())
            })
            .collect();
        // exchanges both ways, some of which goes back
        for number in 0..40 {
            world.exchange(AMBER, BIRCH, 1, 2 + number % 5, &format!("late-{number}"));
            world.earn(BIRCH, 1, 3);
        }
        world.run_until_quiet();
        for (who, copy, before, marks, length) in begun {
            let mut leaving = if leaves { copy.leaving(marks) } else { Leaving::default() };
            assert_eq!(leaves, !leaving.exchanges.is_empty() || !leaving.received.is_empty());
            let cipher = Arc::new(cipher(who));
            let store = Arc::clone(&world.sites[who].store);
            Cold::new(store, Arc::clone(&cipher) as _).take(&leaving).unwrap();
            let written = records(copy, &leaving);
            let written: Vec<_> =
                written.iter().map(|record| cipher.seal(record).unwrap()).collect();
            if !leaves {
                assert_eq!(digest(&world.again_from(who, &written)), before, "{who}");
            }
            let since = world.sites[who].journal[length..].to_vec();
            let all = [written, since].concat();
            let site = &mut world.sites[who];
            site.core.book.leaves(&leaving);
            while !site.core.book.leave(&mut leaving, 1) {}
            let again = world.again_from(who, &all);
            assert_eq!(digest(&again), digest(&world.sites[who].core), "{who}");
        }
    }
}

#[test]
fn exchanges_that_have_left_memory_are_found_and_come_back() {
    for every in [1, 3] {
        let mut world = World::new(&[]);
        (world.snapshots, world.leaves) = (Some(every), true);
        world.work();
        world.check_journals();
        world.check_history();
        assert!(world.left > 5, "{}", world.left);
        // but for the one of which some has come back, none is in memory
        let book = &world.sites[AMBER].core.book;
        let hot = book.exchanges().count();
        assert!(hot <= 3, "{hot}");
        // page by page there are all of them, in memory or not, the newest first
        let (mut walked, mut before) = (Vec::new(), None);
        while let (page, Some(next)) = book.page(before, 2, |_| true).unwrap() {
            walked.extend(page);
            before = Some(next);
        }
        walked.extend(book.page(before, 2, |_| true).unwrap().0);
        let mut all = book.latest(99).unwrap();
        all.sort_by_key(|booked| std::cmp::Reverse(booked.key()));
        assert_eq!(walked, all);
    }
}

/// Secrets of own blocks and what opened columns of others' are in these.
fn has_secrets(record: &journal::Record, who: usize) -> bool {
    use protocol::witness::record::Record;
    let Recorded::Ledger(record) = cipher(who).open(record.clone()).unwrap() else { return false };
    matches!(*record, Record::Built(_) | Record::Rebuilt(_) | Record::Opened(_))
}

#[test]
fn a_snapshot_has_no_block_secret_and_no_column_key_of_a_final_block() {
    let mut world = World::new(&[]);
    world.work();
    for who in [AMBER, BIRCH] {
        let secrets = |world: &World| {
            world.sites[who].journal.iter().filter(|it| has_secrets(it, who)).count()
        };
        assert!(secrets(&world) > 5);
        world.snapshot(who);
        assert_eq!(secrets(&world), 0);
    }
    // of an open block there are, for it must be proposed again, and opened again
    world.exchange(AMBER, BIRCH, 1, 5, "open");
    world.deliver(1);
    for who in [AMBER, BIRCH] {
        world.snapshot(who);
    }
    assert!(world.sites[AMBER].journal.iter().any(|record| has_secrets(record, AMBER)));
    assert!(world.sites[BIRCH].journal.iter().any(|record| has_secrets(record, BIRCH)));
}

#[test]
fn nodes_that_start_from_snapshots_lose_nothing_and_do_nothing_twice() {
    let run = |first: usize, appended: bool, every: usize| {
        let of = |who, first| {
            (first..4 * PERIOD).step_by(PERIOD).map(move |turn| Kill { who, turn, appended })
        };
        let kills: Vec<Kill> =
            of(AMBER, first).chain(of(BIRCH, (first + PERIOD / 2) % PERIOD)).collect();
        let mut world = World::new(&kills);
        (world.snapshots, world.leaves, world.compares) = (Some(every), appended, false);
        world.work();
        world.check_history();
        assert!(world.restarts > 1, "{kills:?}");
    };
    std::thread::scope(|scope| {
        for (appended, every) in [(true, 1), (false, 1), (true, 3)] {
            scope.spawn(move || (0..PERIOD).for_each(|first| run(first, appended, every)));
        }
    });
}

#[test]
fn a_node_without_its_old_sealing_keys_is_the_same_after_a_restart() {
    let mut world = World::new(&[]);
    world.work();
    for who in 0..3 {
        let secret = || sealing(who, 9).0;
        world.turn(who, |core, _, _| core.ledger.turn_sealing_key(secret()).unwrap());
    }
    let said = ApplicationEntry { application: 9, body: vec![1] };
    let old = sealing(BIRCH, 7).1;
    // twice: every node states its new key, then recognises the others'
    for round in 0..2 {
        let core = &mut world.sites[BIRCH].core;
        assert!(!core.ledger.forget_sealing_key(&old), "in use in round {round}");
        for who in 0..3 {
            let entry = || Submission::Public(PublicEntry::Application(said.clone()));
            world.ask(who, |core, _, turn| core.submit(entry(), turn).map_err(submit_error));
        }
        world.run_until_quiet();
    }
    world.exchange(AMBER, BIRCH, 1, 6, "five");
    world.run_until_quiet();
    assert!(world.sites[BIRCH].core.ledger.forget_sealing_key(&old));

    let ring = KeyRing::new(sealing(BIRCH, 9).0).unwrap();
    let folder = world.folder(BIRCH);
    let site = &world.sites[BIRCH];
    let (kept, at) = ((&site.vault, &site.store), (folder, ring));
    let again = start_with(&world.constitution, BIRCH, kept, at, 0, &site.journal);
    for person in 1..=3 {
        let member = again.member(&card(person)).unwrap();
        assert_eq!(again.points.balance(member), site.core.points.balance(member));
    }
    assert_eq!(again.book.counts(), site.core.book.counts());
    assert_eq!((again.disputed(), again.alerts.len()), (BTreeSet::new(), 0));
    for log in [AMBER, 2].map(brand) {
        let content = |core: &Core| *core.ledger.witness(log).unwrap().content();
        assert_eq!(content(&again), content(&site.core));
    }
    world.audit();
}

#[test]
fn what_is_disclosed_is_what_an_auditor_opens_and_a_receipt_opens_its_entry() {
    let mut world = World::new(&[]);
    world.work();
    let last = world.sites[AMBER].core.ledger.witness(brand(AMBER)).unwrap().tip().height.get();
    let request =
        |auditor: &str, from, to| DisclosureRequest { auditor: auditor.to_owned(), from, to };
    for (wrong, code) in [
        (request("a_friend", 1, 2), "auditor_unknown"),
        (request("tax_office", 0, 2), "blocks_out_of_range"),
        (request("tax_office", 2, 1), "blocks_out_of_range"),
        (request("tax_office", 1, last + 1), "blocks_out_of_range"),
    ] {
        let refused =
            world.turn(AMBER, |core, now, turn| core.disclose(&wrong, now, turn)).unwrap();
        assert_eq!(refused.unwrap_err().code, code);
    }
    let sound = request("tax_office", 2, last);
    let view = world.ask(AMBER, |core, now, turn| core.disclose(&sound, now, turn));
    assert_eq!((view.from, view.to, view.entries), (2, last, 1));
    world.run_until_quiet();

    world.wait_until_published();
    let folders = (0..3).map(|who| (brand(who), Directory(world.folder(who)))).collect();
    let holder = KeyHolder::Auditor("tax_office".to_owned());
    let keys = [OpeningKey { holder, secret: sealing(9, 9).0 }];
    let constitutions = world.constitution.clone().into();
    let auditor = Auditor {
        constitutions: &constitutions,
        keys: &keys,
        outside_witnesses: &[],
        payload_retention: None,
    };
    let report = auditor.audit(&folders, &mut ());
    assert!(report.is_clean(), "{:?}", report.findings);
    assert!(report.counts.payloads > 0);
    assert_eq!((report.disclosures[0].log, report.disclosures.len()), (brand(AMBER), 1));

    let core = &world.sites[AMBER].core;
    let opened = core.opened_receipt(&exchange_id("one")).unwrap();
    let shown = protocol::receipt::verify(opened.as_bytes(), &constitutions).unwrap();
    assert!(matches!(shown.payload, Payload::Exchange(sent) if sent.sent.get() == 100));
    let plain = core.receipt(&exchange_id("one")).unwrap();
    assert!(protocol::receipt::verify(plain.as_bytes(), &constitutions).is_err());
}

#[test]
fn a_block_that_cannot_be_published_stops_the_node_and_is_published_after_it() {
    let mut world = World::new(&[]);
    // where tiles are to be, a file
    std::fs::write(world.folder(AMBER).join("tile"), "in the way").unwrap();
    world.work();
    assert_eq!(world.restarts, 1);
}
