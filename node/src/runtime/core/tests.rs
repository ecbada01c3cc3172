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

use std::path::{Path, PathBuf};

use ::programme::Rules;
use privacy::ids::Attempt;
use privacy::{AttemptId, CleanRoomEntry, QueryId};
use protocol::amount::{Points, Rate, Value};
use protocol::audit::{Auditor, KeyHolder, OpeningKey, Rule};
use protocol::codec;
use protocol::constitution::{Access, Brand, BrandKeys, Constitution, Draft, Succession};
use protocol::crypto::SigningKey;
use protocol::crypto::sealed::{Cipher, KeyRing, SealingSecret};
use protocol::ids::{ConstitutionHash, Epoch, Round, TreeSize};
use protocol::ledger::LedgerKeys;
use protocol::log::block::{ApplicationEntry, Entry};
use protocol::witness::rules::exact_exposure;
use protocol::witness::statement::VotingKeys;

use super::*;
use crate::audit::Directory;
use crate::cleanroom::APPLICATION;
use crate::exchange::book::BookedExchange;
use crate::exchange::cold::{Cold, Leaving};
use crate::exchange::points::Control;
use crate::journal;
use crate::runtime::applications;
use crate::runtime::own_blocks::OwnBlocks;
use crate::runtime::sealed_journal::RecordCipher;
use crate::runtime::snapshot::{StateCopy, keep_earned};
use crate::runtime::state_record::StateRecord;
use crate::service::{DisclosureRequest, ExchangeRequest, PaymentRequest, SendBackRequest};
use crate::store::MemoryStore;
use crate::vault::{
    CardNumber, Consent, Enrolment, HeldBrandKey, KEY_BYTES, LinkState, NewMember, Purpose,
    sample_rule, sample_rule_to,
};
use protocol::time::Milliseconds;

const BRANDS: [&str; 3] = ["amber", "birch", "cedar"];
const AMBER: usize = 0;
const BIRCH: usize = 1;
/// Longer than a writer waits before it repeats itself.
const LONG: Milliseconds = Milliseconds::new(600);
/// More turns than a run has.
const NEVER: usize = 10_000;

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

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let from = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
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

impl World {
    fn new(kills: &[Kill]) -> Self {
        Self::with_rules(kills, alliance_config::sample::FIRST_RULES)
    }

    fn with_rules(kills: &[Kill], rules: &str) -> Self {
        Self::under(constitution(), kills, rules)
    }

    fn under(constitution: Constitution, kills: &[Kill], rules: &str) -> Self {
        let rules = Rules::from_toml(rules).unwrap();
        // in memory where the system has such a place: a killed process loses nothing of it
        let folders = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let now = Timestamp::from_unix_ms(1_800_000_000_000);
        let sites = (0..3).map(|number| {
            let key = HeldBrandKey::from_bytes(&mut [7; KEY_BYTES]);
            let random = Arc::new(SystemRandom::new());
            let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
            let kept = Arc::clone(&store);
            let vault = Arc::new(Vault::new(brand(number), kept, Arc::new(key), random));
            let people: Vec<NewMember> = (1..=3)
                .map(|person| NewMember {
                    card: CardNumber::new(&card(person)).unwrap(),
                    match_key: None,
                    attributes: BTreeMap::new(),
                })
                .collect();
            let mut consents = sample_rule(now).to_vec();
            consents.extend((0..3).map(|other| sample_rule_to(brand(other), now)));
            let enrolled = vault.enrol(&people, &consents).unwrap();
            assert!(enrolled.iter().all(|one| matches!(one, Enrolment::Created(_))));
            let folder = folders.path().join(BRANDS[number]);
            let at = (&vault, &store);
            let mut core = start(&constitution, number, at, folder, 0, &[]);
            core.first_rules = rules.clone();
            let (journal, history, waiting) = (Vec::new(), Vec::new(), VecDeque::new());
            Site { core, vault, store, journal, history, waiting, turns: 0, starts: 1 }
        });
        let sites = sites.collect();
        let mut world = Self {
            constitution,
            folders,
            sites,
            mail: VecDeque::new(),
            now,
            kills: kills.to_vec(),
            batched: false,
            lag: 0,
            apart: false,
            snapshots: None,
            compares: true,
            drafts: Vec::new(),
            leaves: false,
            left: 0,
            said: Said::new(),
            answered: Vec::new(),
            cut_off: None,
            settled: false,
            restarts: 0,
            rules: rules.clone(),
        };
        for who in 0..3 {
            world.turn(who, |core, now, turn| core.resume(now, turn));
        }
        world.shake_hands();
        world
    }

    fn folder(&self, number: usize) -> PathBuf {
        self.folders.path().join(BRANDS[number])
    }

    /// One turn; none when the node was killed in it.
    fn turn<R>(
        &mut self,
        who: usize,
        act: impl FnOnce(&mut Core, Timestamp, &mut Turn) -> R,
    ) -> Option<R> {
        self.now = self.now.plus(Milliseconds::new(1));
        let mut turn = Turn::default();
        let core = &mut self.sites[who].core;
        core.builds_apart = self.apart;
        let result = act(core, self.now, &mut turn);
        (self.settle_turn(who, turn) && self.build(who)).then_some(result)
    }

    /// The turn in which a block is built that was put off; false when the node was killed in it.
    fn build(&mut self, who: usize) -> bool {
        !self.sites[who].core.has_to_build() || self.settle_turn(who, Turn::default())
    }

    /// What comes after all that a turn was given; false when the node was killed.
    fn settle_turn(&mut self, who: usize, mut turn: Turn) -> bool {
        let core = &mut self.sites[who].core;
        core.settle(self.now, &mut turn);
        if core.take_failure().is_some() {
            self.clear_the_way(who);
            return false;
        }
        self.conclude(who, turn)
    }

    /// What kept a node from publishing is taken away, and it is started again.
    fn clear_the_way(&mut self, who: usize) {
        std::fs::remove_file(self.folder(who).join("tile")).unwrap();
        self.restart(who);
    }

    /// Persists, then publishes, then sends; false when the node was killed before it had.
    fn conclude(&mut self, who: usize, mut turn: Turn) -> bool {
        let cipher = cipher(who);
        let records = turn.take_records();
        self.sites[who].core.note_recorded(&records);
        let records: Vec<_> = records.iter().map(|record| cipher.seal(record).unwrap()).collect();
        let moment = self.sites[who].turns;
        self.sites[who].turns += usize::from(!records.is_empty());
        let killed = |kill: &&Kill| (kill.who, kill.turn) == (who, moment);
        let kill = self.kills.iter().find(killed).copied().filter(|_| !records.is_empty());
        let site = &mut self.sites[who];
        let checkpoint = site.core.new_checkpoint();
        let (messages, is_final) = (turn.out.messages, !turn.final_after.is_empty());
        site.waiting.push_back(Waiting { records, checkpoint, messages, is_final });
        if let Some(kill) = kill {
            if kill.appended {
                let waiting = site.waiting.drain(..);
                let written: Vec<_> = waiting.flat_map(|waiting| waiting.records).collect();
                site.journal.extend_from_slice(&written);
                site.history.extend(written);
            } else {
                // what a turn has published that never was
                self.audit();
            }
            self.restart(who);
            return false;
        }
        let most = self.lag;
        self.release(who, most)
    }

    /// Turns reach the disk, the oldest first, until so many are left; false when the node had to be started
    /// again.
    fn release(&mut self, who: usize, most: usize) -> bool {
        while self.sites[who].waiting.len() > most
            && let Some(oldest) = self.sites[who].waiting.pop_front()
        {
            let site = &mut self.sites[who];
            let has_records = !oldest.records.is_empty();
            site.journal.extend_from_slice(&oldest.records);
            site.history.extend(oldest.records);
            if let Some(checkpoint) = oldest.checkpoint
                && site.core.show_checkpoint(checkpoint).is_err()
            {
                self.clear_the_way(who);
                return false;
            }
            if oldest.is_final {
                site.core.final_is_said();
            }
            for (to, message) in oldest.messages {
                self.hear(who, &message);
                let to = BRANDS.iter().position(|name| *name == to.as_str()).unwrap();
                self.mail.push_back((who, to, message.into_bytes()));
            }
            let (turns, waits) = (self.sites[who].turns, !self.sites[who].waiting.is_empty());
            let is_due = self.snapshots.is_some_and(|every| turns.is_multiple_of(every));
            if has_records && is_due && !waits {
                self.snapshot(who);
            }
        }
        true
    }

    /// What a node starts from is a snapshot, from now on.
    fn snapshot(&mut self, who: usize) {
        // live and replayed are the same
        self.compare(who);
        let site = &mut self.sites[who];
        // all that can leave memory does
        let copy = site.core.copy().expect("between two turns nothing waits");
        let mut leaving =
            if self.leaves { copy.leaving(site.core.book.marks()) } else { Leaving::default() };
        let cipher = Arc::new(cipher(who));
        Cold::new(Arc::clone(&site.store), Arc::clone(&cipher) as _).take(&leaving).unwrap();
        site.journal =
            records(copy, &leaving).iter().map(|record| cipher.seal(record).unwrap()).collect();
        let entries = &mut site.core.applications;
        applications::keep(&*site.store, entries.stored(), entries.latest()).unwrap();
        entries.are_stored(entries.latest().len());
        let earned = site.core.points.earned();
        keep_earned(&*site.store, &earned, 1).unwrap();
        site.core.points.forget_earned(&earned);
        self.left += leaving.exchanges.len() + leaving.received.len();
        site.core.book.leaves(&leaving);
        while !site.core.book.leave(&mut leaving, 2) {}
        // and so is what the snapshot gives
        self.compare(who);
    }

    fn compare(&self, who: usize) {
        let site = &self.sites[who];
        if self.compares {
            assert_eq!(
                digest(&site.core),
                digest(&self.again(who)),
                "{who} in turn {}",
                site.turns
            );
        }
    }

    /// A node that starts from what this one has on disk.
    fn again(&self, who: usize) -> Core {
        self.again_from(who, &self.sites[who].journal)
    }

    fn again_from(&self, who: usize, journal: &[journal::Record]) -> Core {
        // what is published is another process's
        self.sites[who].core.published.wait().unwrap();
        let folder = self.folders.path().join("again");
        let _ = std::fs::remove_dir_all(&folder);
        copy_folder(&self.folder(who), &folder);
        let own = |folder: &Path| folder.with_extension("own");
        let _ = std::fs::remove_dir_all(own(&folder));
        copy_folder(&own(&self.folder(who)), &own(&folder));
        let site = &self.sites[who];
        let ring = KeyRing::new(sealing(who, 7).0).unwrap();
        let kept = (&site.vault, &site.store);
        let mut core = start_with(&self.constitution, who, kept, (folder, ring), 0, &[]);
        self.drafts.iter().for_each(|draft| core.ledger.hold(draft.clone()));
        replay(&mut core, who, journal);
        core
    }

    fn hear(&mut self, who: usize, message: &Message) {
        let (kind, pledge) = match message {
            Message::Proposal(message) => ("proposal", message.proposal.body.0),
            Message::Vote(vote) => ("vote", vote.body.0),
            _ => return,
        };
        let place = (who, kind, pledge.block.log, pledge.block.height, pledge.round);
        let before = *self.said.entry(place).or_insert(pledge.block.header);
        assert_eq!(before, pledge.block.header, "said two things: {place:?}");
    }

    /// The process is gone, with what was on its way to it; it starts again from what it has on disk.
    fn restart(&mut self, who: usize) {
        assert_eq!(self.sites[who].core.alerts, [""; 0], "{who}");
        self.mail.retain(|(_, to, _)| *to != who);
        self.restarts += 1;
        let folder = self.folder(who);
        let site = &mut self.sites[who];
        site.waiting.clear();
        // one that could not publish is started again as well
        let _ = site.core.published.wait();
        let seed = site.starts;
        site.starts += 1;
        let at = (&site.vault, &site.store);
        site.core = start(&self.constitution, who, at, folder, seed, &site.journal);
        site.core.first_rules = self.rules.clone();
        for (_, key) in self.answered.iter().filter(|(whose, _)| *whose == who) {
            assert!(site.core.exchange_by_id(&exchange_id(key)).is_ok(), "{key} is forgotten");
        }
        let mut turn = Turn::default();
        site.core.resume(self.now, &mut turn);
        if !self.conclude(who, turn) || !self.release(who, 0) {
            return;
        }
        for other in (0..3).filter(|other| *other != who) {
            self.turn(who, |core, _, turn| core.ledger.ask(brand(other), &mut turn.out));
            self.turn(other, |core, _, turn| core.ledger.ask(brand(who), &mut turn.out));
            let _ = self.release(other, 0) && self.release(who, 0);
        }
        self.shake_hands();
    }

    /// Starts and their acknowledgements arrive before all else: what follows is to be about nodes that
    /// write.
    fn shake_hands(&mut self) {
        let is_start = |bytes: &[u8]| {
            let message = Message::from_bytes(bytes).unwrap();
            matches!(message, Message::Start(_) | Message::Acknowledgement(_))
        };
        while let Some(place) = self.mail.iter().position(|(_, _, bytes)| is_start(bytes)) {
            let (from, to, bytes) = self.mail.remove(place).unwrap();
            self.turn(to, |core, now, turn| {
                core.message(brand(from), Message::from_bytes(&bytes).unwrap(), now, turn);
            });
            self.release(to, 0);
        }
    }

    fn deliver(&mut self, most: usize) -> bool {
        for _ in 0..most {
            if self.mail.is_empty() {
                for who in 0..3 {
                    self.release(who, 0);
                }
            }
            let Some(first) = self.mail.pop_front() else { return true };
            let to = first.1;
            let mut taken = vec![first];
            if self.batched {
                let (more, rest): (VecDeque<_>, _) =
                    self.mail.drain(..).partition(|(_, other, _)| *other == to);
                self.mail = rest;
                taken.extend(more);
            }
            self.turn(to, |core, now, turn| {
                for (from, _, bytes) in taken {
                    let message = Message::from_bytes(&bytes).unwrap();
                    core.message(brand(from), message, now, turn);
                }
            });
        }
        false
    }

    fn run_until_quiet(&mut self) {
        for _ in 0..100 {
            assert!(self.deliver(NEVER), "messages without end");
            if self.is_quiet() {
                return;
            }
            self.now = self.now.plus(LONG);
            for who in 0..3 {
                self.turn(who, |core, now, turn| core.tick(now, turn));
            }
        }
        for site in &self.sites {
            let core = &site.core;
            let waiting = core.book.waiting().count();
            let stalled = core.ledger.writer().stalled();
            eprintln!("{:?} {waiting} {stalled:?} {:?}", core.book.counts(), core.alerts);
        }
        panic!("the alliance does not come to rest");
    }

    /// Nobody has anything left to say.
    fn is_quiet(&self) -> bool {
        let cores = || self.sites.iter().map(|site| &site.core);
        cores().all(|core| {
            let own = core.ledger.witness(core.me()).unwrap().tip();
            let known = |other: &Core| other.ledger.witness(core.me()).unwrap().tip().height;
            let answered = |other: &Core| {
                own.recognised(other.me()).height >= core.book.answerable(other.me())
            };
            let others = || cores().filter(|other| other.me() != core.me());
            let closed = self.cut_off.is_none_or(|cut_off| {
                let state = core.clearing.view(cut_off).map(|view| view.state);
                if !self.settled {
                    return state.as_deref() == Some("agreed");
                }
                // granted by all, and recognised by all
                let granted = |other: &Core| own.recognised(other.me()).discharged.cut_off;
                state.as_deref() == Some("discharged")
                    && others().all(|other| granted(other) == cut_off)
            });
            core.ledger.writer().is_idle()
                && core.book.waiting().next().is_none()
                && (core.book.counts().held, core.book.counts().r#final) == (0, 0)
                && others().all(|other| known(other) == own.height && answered(other))
                && closed
        })
    }

    /// As a client asks: again with the same request, until there is an answer.
    fn ask<R>(
        &mut self,
        who: usize,
        act: impl Fn(&mut Core, Timestamp, &mut Turn) -> Result<R, ServiceError>,
    ) -> R {
        self.try_to(who, act).unwrap()
    }

    /// The same, when it may be refused.
    fn try_to<R>(
        &mut self,
        who: usize,
        act: impl Fn(&mut Core, Timestamp, &mut Turn) -> Result<R, ServiceError>,
    ) -> Result<R, ServiceError> {
        loop {
            if let Some(answer) = self.turn(who, &act)
                && self.release(who, 0)
            {
                return answer;
            }
        }
    }

    /// One basket, at a point a yuan.
    fn earn(&mut self, who: usize, person: u32, points: u64) {
        self.buy(who, person, (person as u8, 0), (0, points * 100));
    }

    fn link(&mut self, from: usize, to: usize, person: u32) {
        let (code, _) =
            self.ask(to, |core, now, _| core.link_code(&card(person), BRANDS[from], now));
        self.ask(from, |core, now, turn| core.link(&card(person), BRANDS[to], &code, now, turn));
    }

    fn exchange(&mut self, from: usize, to: usize, person: u32, points: u64, key: &str) {
        let request = ExchangeRequest { card: card(person), to: BRANDS[to].to_owned(), points };
        self.ask(from, |core, now, turn| core.exchange(key, &request, now, turn));
        self.answered.push((from, key.to_owned()));
    }

    /// Links, a link that comes back, exchanges both ways, one that comes back, a closing.
    fn work(&mut self) {
        self.earn(AMBER, 1, 1000);
        self.earn(AMBER, 2, 500);
        self.earn(BIRCH, 1, 300);
        self.link(AMBER, BIRCH, 1);
        self.deliver(2);
        self.link(AMBER, BIRCH, 2);
        self.link(BIRCH, AMBER, 1);
        let wrong = "00000-00000";
        self.ask(AMBER, |core, now, turn| core.link(&card(3), BRANDS[BIRCH], wrong, now, turn));
        self.run_until_quiet();

        self.ask(BIRCH, |core, now, _| {
            let withdrawn = Consent::new(Purpose::Exchange, false, 1, now);
            core.vault.decide(core.member(&card(2))?, withdrawn).map_err(vault_error)
        });
        self.exchange(AMBER, BIRCH, 1, 100, "one");
        self.exchange(AMBER, BIRCH, 2, 40, "two");
        self.deliver(2);
        self.exchange(BIRCH, AMBER, 1, 30, "three");
        self.deliver(2);
        self.exchange(AMBER, BIRCH, 1, 7, "four");
        let cut_off = self.now;
        self.ask(AMBER, |core, now, turn| core.close(cut_off, now, turn));
        self.cut_off = Some(cut_off);
        self.run_until_quiet();
        self.note_question(1);
        self.settle(cut_off);
        self.send_back();
        self.note_question(2);
        self.run_until_quiet();
        self.check();
    }

    /// What a question leaves behind: records of the clean room's, and entries that everyone keeps for it.
    fn note_question(&mut self, number: u8) {
        for who in [AMBER, BIRCH] {
            self.ask(who, |core, _, turn| {
                turn.record(NodeRecord::CleanRoom(vec![number, who as u8]));
                let participant = BRANDS[who].parse().unwrap();
                let (query, attempt) = (QueryId([number; 16]), Attempt::FIRST);
                let id = AttemptId { proposer: participant, query, attempt };
                let body = CleanRoomEntry::NotOpened(id).to_bytes();
                let junk = [(9, body.clone()), (APPLICATION, vec![number])];
                for (application, body) in junk.into_iter().chain([(APPLICATION, body)]) {
                    let said = ApplicationEntry { application, body };
                    let entry = Submission::Public(PublicEntry::Application(said));
                    core.submit(entry, turn).map_err(submit_error)?;
                }
                Ok(())
            });
        }
    }

    /// A member sends 20 of 50 points back, and asks again as one who had no answer.
    fn send_back(&mut self) {
        let received = self.sites[BIRCH].core.book.received().latest(9, None).unwrap();
        let whole = received.iter().find(|it| it.points_received == 50).unwrap();
        let request = |points| SendBackRequest {
            card: card(1),
            from: BRANDS[AMBER].to_owned(),
            leaf: whole.leaf,
            points,
        };
        for _ in 0..2 {
            let view =
                self.ask(BIRCH, |core, now, turn| core.send_back("back", &request(20), now, turn));
            assert_eq!((view.points_back, view.residue_micro_fen), (20, 0));
            self.deliver(2);
        }
        let refusals = [("back", 19, "idempotency_key_reused"), ("more", 31, "not_so_much_left")];
        for (key, points, code) in refusals {
            let refused = self
                .turn(BIRCH, |core, now, turn| core.send_back(key, &request(points), now, turn));
            assert!(refused.is_none_or(|result| result.unwrap_err().code == code));
        }
        self.run_until_quiet();
    }

    /// Every payment is made, stated and confirmed, twice: a client repeats what it has no answer to.
    fn settle(&mut self, cut_off: Timestamp) {
        let number = |name: &str| BRANDS.iter().position(|known| *known == name).unwrap();
        let asked = self.sites[AMBER].core.clearing.view(cut_off).unwrap().payments;
        let asked: Vec<_> = asked.iter().map(|it| (number(&it.payer), number(&it.payee))).collect();
        assert_eq!(asked, [(AMBER, BIRCH)]);
        for (payer, payee) in asked {
            for (who, step, other) in [
                (payer, PaymentStep::Settled, payee),
                (payee, PaymentStep::Confirmed, payer),
                (payee, PaymentStep::Confirmed, payer),
            ] {
                let request = |reference: &str| PaymentRequest {
                    brand: BRANDS[other].to_owned(),
                    reference: reference.to_owned(),
                };
                self.ask(who, |core, _, turn| {
                    core.enter_payment(step, cut_off, &request("HVPS-1"), turn)
                });
                let other = self.turn(who, |core, _, turn| {
                    core.enter_payment(step, cut_off, &request("HVPS-2"), turn)
                });
                assert!(other.is_none_or(|result| result.unwrap_err().code == "payment_entered"));
                self.deliver(3);
            }
        }
        self.settled = true;
        self.run_until_quiet();
        for (who, other) in [(AMBER, BIRCH), (BIRCH, AMBER)] {
            let own = self.sites[who].core.ledger.witness(brand(who)).unwrap().tip();
            let column = own.column(brand(other)).unwrap();
            let (sent, received) = (column.discharged.sent, column.discharged.received);
            assert_eq!(exact_exposure(sent, received, &column.recognised), Value::ZERO);
        }
    }

    /// What must be so in the end, whatever happened on the way.
    fn check(&self) {
        let points = |who: usize, person| {
            let core = &self.sites[who].core;
            let balance = core.points.balance(core.member(&card(person)).unwrap());
            assert_eq!(balance.held, Points::default());
            balance.available.get()
        };
        assert_eq!(points(AMBER, 1), 1000 - 100 - 7 + 60 + 40);
        assert_eq!(points(AMBER, 2), 500);
        assert_eq!(points(BIRCH, 1), 300 + 50 + 3 - 30 - 20);
        assert_eq!(points(BIRCH, 2), 0);
        for (who, came, went) in [(AMBER, 60, 107 - 40), (BIRCH, 53 - 20, 30), (2, 0, 0)] {
            let core = &self.sites[who].core;
            assert_eq!(core.points.trial_balance(), 0);
            assert_eq!(core.points.control(Control::CameIn), came);
            assert_eq!(core.points.control(Control::SentAway), went);
            assert_eq!(core.alerts, [""; 0], "{who}");
        }
        let counts = |who: usize| {
            let counts = self.sites[who].core.book.counts();
            (counts.acknowledged, counts.returned, counts.credited, counts.sent_back)
        };
        assert_eq!(counts(AMBER), (2, 1, 1, 0));
        assert_eq!(counts(BIRCH), (1, 0, 2, 1));
        // what is owed, before flooring, and what went back: nothing is twice in a log
        let sent = |from: usize, to| {
            self.sites[from].core.ledger.writer().contents()[&brand(to)].sent.get()
        };
        assert_eq!(
            (sent(AMBER, BIRCH), sent(BIRCH, AMBER)),
            (147_000_000, 60_000_000 + 40_000_000 + 40_000_000)
        );
        let links = |who: usize, person, to: usize| {
            let core = &self.sites[who].core;
            core.vault.outgoing(core.member(&card(person)).unwrap(), brand(to)).unwrap()
        };
        assert_eq!(links(AMBER, 1, BIRCH), Some(LinkState::Accepted));
        assert_eq!(links(AMBER, 3, BIRCH), Some(LinkState::Returned));
        assert_eq!(links(BIRCH, 1, AMBER), Some(LinkState::Accepted));
        for who in 0..3 {
            assert_eq!(self.clearing_entries(who), (1, 1), "closings and statements of {who}");
        }
        self.audit();
    }

    /// What a start finds is what all records there ever were give.
    fn check_history(&self) {
        for who in 0..3 {
            let from_start = self.again_from(who, &self.sites[who].history);
            let again = self.again(who);
            assert_eq!(digest(&again), digest(&self.sites[who].core), "{who}");
            if !self.leaves {
                assert_eq!(digest(&again), digest(&from_start), "{who}");
            }
            // wherever an exchange is by now, it is the same
            let all = |core: &Core| core.book.latest(99).unwrap();
            let mut views: Vec<_> = all(&again).iter().map(BookedExchange::view).collect();
            let mut expected: Vec<_> = all(&from_start).iter().map(BookedExchange::view).collect();
            views.sort_by(|one, other| one.id.cmp(&other.id));
            expected.sort_by(|one, other| one.id.cmp(&other.id));
            assert_eq!(views, expected, "{who}");
            let came_in = |core: &Core| {
                let mut views = core.book.received().latest(99, None).unwrap();
                views.sort_by_key(|view| (view.from.clone(), view.leaf));
                views
            };
            assert_eq!(came_in(&again), came_in(&from_start), "{who}");
            assert_eq!(again.book.counts(), from_start.book.counts(), "{who}");
            for (member, balance) in from_start.points.balances().iter() {
                assert_eq!(again.points.balance(*member), *balance, "{who}");
            }
        }
    }

    /// All of it again from the journals alone.
    fn check_journals(&self) {
        for (who, site) in self.sites.iter().enumerate() {
            let mut again = start(
                &self.constitution,
                who,
                (&site.vault, &site.store),
                self.folder(who),
                0,
                &site.journal,
            );
            for person in 1..=3 {
                let member = again.member(&card(person)).unwrap();
                assert_eq!(again.points.balance(member), site.core.points.balance(member));
            }
            assert_eq!(again.book.counts(), site.core.book.counts());
            assert_eq!(again.book.waiting().count(), 0);
            assert_eq!(again.book.received().residues(), site.core.book.received().residues());
            match who {
                AMBER => self.check_exchange_key(&mut again),
                BIRCH => self.check_return_key(&mut again),
                _ => {}
            }
        }
    }

    /// A key stands for the request it was first used with, after a restart too.
    fn check_exchange_key(&self, core: &mut Core) {
        let mut ask = |points| {
            let to = BRANDS[BIRCH].to_owned();
            let request = ExchangeRequest { card: card(1), to, points };
            core.exchange("one", &request, self.now, &mut Turn::default())
        };
        assert_eq!(ask(100).unwrap().id, exchange_id("one"));
        assert_eq!(ask(99).unwrap_err().code, "idempotency_key_reused");
    }

    fn check_return_key(&self, core: &mut Core) {
        let received = core.book.received().latest(9, None).unwrap();
        let leaf = received.iter().find(|it| it.points_received == 50).unwrap().leaf;
        let mut ask = |points| {
            let from = BRANDS[AMBER].to_owned();
            let request = SendBackRequest { card: card(1), from, leaf, points };
            core.send_back("back", &request, self.now, &mut Turn::default())
        };
        assert_eq!(ask(20).unwrap().points_back, 20);
        assert_eq!(ask(19).unwrap_err().code, "idempotency_key_reused");
    }

    fn clearing_entries(&self, who: usize) -> (usize, usize) {
        let core = &self.sites[who].core;
        let size = core.ledger.checkpoint().map_or(TreeSize::new(0), |c| c.unverified().size());
        let reader = core.published.reader(size);
        let (mut closings, mut statements) = (0, 0);
        for index in 0..size.get() {
            match Entry::from_bytes(reader.leaf(LeafIndex::new(index)).unwrap().entry()) {
                Ok(Entry::Public(PublicEntry::Closing(_))) => closings += 1,
                Ok(Entry::Public(PublicEntry::Statement(_))) => statements += 1,
                _ => {}
            }
        }
        (closings, statements)
    }

    fn wait_until_published(&self) {
        self.sites.iter().for_each(|site| site.core.published.wait().unwrap());
    }

    /// What is published stands before an auditor with every key, at any moment.
    fn audit(&self) {
        self.wait_until_published();
        let folders = (0..3).map(|who| (brand(who), Directory(self.folder(who)))).collect();
        let keys: Vec<OpeningKey> = (0..3)
            .map(|who| OpeningKey {
                holder: KeyHolder::Recovery(brand(who)),
                secret: sealing(who, 8).0,
            })
            .collect();
        let constitutions = self.constitution.clone().into();
        let auditor = Auditor {
            constitutions: &constitutions,
            keys: &keys,
            outside_witnesses: &[],
            payload_retention: None,
        };
        let report = auditor.audit(&folders, &mut ());
        // before the first checkpoint there is none
        let mut findings =
            report.findings.iter().filter(|found| found.rule != Rule::CheckpointMissing);
        assert!(findings.next().is_none(), "{:?}", report.findings);
    }
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
