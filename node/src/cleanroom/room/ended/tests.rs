//! A brand's clean room alone, with a log that certifies at once, whose ended questions leave.

use std::collections::VecDeque;
use std::sync::Arc;

use privacy::plan::OutputKind;
use privacy::{BoundedVector, Collector, DpPlan, NoiseShare, OpendpNoise};
use protocol::codec;
use protocol::ids::{BrandId, LeafIndex};
use protocol::log::block::ApplicationEntry;
use protocol::time::{Milliseconds, Timestamp};
use protocol::witness::writer::Entropy;
use ring::rand::SystemRandom;

use super::super::super::{
    APPLICATION, Action, CertifiedApplication, Kept, ReadResult, Room, RoomSettings,
};
use crate::purchases::Facts;
use crate::service::{QueryView, Question, Scope};
use crate::store::MemoryStore;
use crate::vault::{HeldBrandKey, KEY_BYTES, Vault};

pub(in crate::cleanroom::room) const CONSTITUTION: &str =
    include_str!("../../../../../alliance-config/formats/v0/constitution.toml");
const BRAND: &str = "grocer_one";
/// The bin of 512 in which members lie.
const BIN: i64 = 300;

struct Counter(u8);
impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0 += 1;
        bytes.fill(self.0);
    }
}

pub(in crate::cleanroom::room) struct Brand {
    _folder: tempfile::TempDir,
    constitution: String,
    facts: Arc<Facts>,
    pub(in crate::cleanroom::room) room: Room,
    records: Vec<Vec<u8>>,
    pub(in crate::cleanroom::room) log: Vec<CertifiedApplication>,
    pub(in crate::cleanroom::room) fails: bool,
    pub(in crate::cleanroom::room) now: Timestamp,
    /// So many members with a row each, all in one bin of a histogram and in the first cell of what has none.
    pub(in crate::cleanroom::room) members: u32,
    /// The first day whose rows each reading was to see.
    pub(in crate::cleanroom::room) read_from: Vec<i32>,
}

fn brand() -> BrandId {
    BrandId::new(BRAND).unwrap()
}

fn room(constitution: &str, facts: &Arc<Facts>, drawn: u8, records: &[Vec<u8>]) -> Room {
    let constitution = alliance_config::Constitution::parse(constitution.as_bytes()).unwrap();
    let clean_room = constitution.clean_room().unwrap();
    let (facts, entropy) = (Arc::clone(facts), Box::new(Counter(drawn)));
    let settings = RoomSettings::default();
    let kept = Kept { records, former: &[] };
    Room::restore(brand(), &constitution, clean_room, facts, settings, entropy, kept).unwrap()
}

/// What so many members add up to.
fn gathered(plan: &DpPlan, members: u32) -> BoundedVector {
    let mut collector = Collector::new(plan, plan.participants()[0]);
    let is_quantile = plan.summary().outputs[0].kind == OutputKind::Quantile;
    let cell = if is_quantile { BIN } else { 0 };
    for member in 0..members {
        collector.push(Some(&member.to_be_bytes()), cell, &[Some(1)]).unwrap();
    }
    collector.finish().unwrap()
}

/// A reading of so many members.
pub(in crate::cleanroom::room) fn drawn(
    plan: &DpPlan,
    members: u32,
) -> (NoiseShare, BoundedVector) {
    let mut source = OpendpNoise::from_system_entropy();
    (NoiseShare::draw(plan, &mut source).unwrap(), gathered(plan, members))
}

impl Brand {
    pub(in crate::cleanroom::room) fn new() -> Self {
        Self::under(CONSTITUTION)
    }

    /// Under another constitution of the same brands.
    pub(in crate::cleanroom::room) fn under(constitution: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryStore::default());
        let key = Arc::new(HeldBrandKey::from_bytes(&mut [7; KEY_BYTES]));
        let vault = Vault::new(brand(), store.clone(), key, Arc::new(SystemRandom::new()));
        let facts = Arc::new(Facts::open(folder.path().join("facts"), store, &vault).unwrap());
        let room = room(constitution, &facts, 0, &[]);
        let now = Timestamp::from_unix_ms(1_790_000_000_000);
        let (records, log) = (Vec::new(), Vec::new());
        let (constitution, fails, members) = (constitution.to_owned(), false, 0);
        let read_from = Vec::new();
        Self {
            _folder: folder,
            constitution,
            facts,
            room,
            records,
            log,
            fails,
            now,
            members,
            read_from,
        }
    }

    /// How many records the journal would hold.
    pub(in crate::cleanroom::room) fn records(&self) -> usize {
        self.records.len()
    }

    /// The room as it starts on a disk that was put back: with the first so many records, and nothing of the log.
    pub(in crate::cleanroom::room) fn put_back(&self, records: usize) -> Room {
        room(&self.constitution, &self.facts, 100, &self.records[..records])
    }

    pub(in crate::cleanroom::room) fn restart(&mut self) {
        self.room = room(&self.constitution, &self.facts, 100, &self.records);
        self.log.iter().for_each(|entry| self.room.replay(entry));
        let actions = self.room.resume(self.now);
        self.carry_out(actions);
    }

    pub(in crate::cleanroom::room) fn carry_out(&mut self, actions: Vec<Action>) {
        let mut actions: VecDeque<Action> = actions.into();
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Record(bytes) => self.records.push(bytes),
                Action::Append(body) => {
                    let index = LeafIndex::new(self.log.len() as u64);
                    let entry = ApplicationEntry { application: APPLICATION, body };
                    let entry = codec::encode(&(brand(), index, self.now, entry));
                    let entry: CertifiedApplication =
                        codec::decode("entry", &entry, usize::MAX).unwrap();
                    self.log.push(entry.clone());
                    actions.extend(self.room.certified(&entry, self.now));
                }
                Action::Read(job) => {
                    self.read_from.push(job.not_before);
                    let drawn = (!self.fails).then(|| drawn(&job.plan, self.members));
                    let result = ReadResult { id: job.id, period: None, drawn };
                    actions.extend(self.room.read(result, self.now));
                }
                Action::Send(..) | Action::SendPack(..) | Action::Keep(_) | Action::Give { .. } => {
                }
            }
        }
    }

    fn question(number: u32, scope: Scope) -> Question {
        let key = if scope == Scope::Pack { "brand, " } else { "" };
        let group = if scope == Scope::Pack { " GROUP BY brand" } else { "" };
        Question {
            sql: format!(
                "SELECT {key}count(*) AS n FROM purchases WHERE quantity > {number}{group}"
            ),
            scope: Some(scope),
            pico_rho: Some(5_000_000),
            ..Question::default()
        }
    }

    fn ask(&mut self, number: u32, scope: Scope) -> QueryView {
        let question = Self::question(number, scope);
        let plan = self.room.plan(&question, self.now).unwrap();
        let (view, actions) = self.room.query(&question, &plan.plan, self.now).unwrap();
        self.carry_out(actions);
        self.room.query_by_id(&view.id, self.now).unwrap()
    }

    pub(in crate::cleanroom::room) fn leave(&mut self, kept: usize) {
        let records = std::mem::take(&mut self.records);
        self.records = self.room.let_leave(records, kept, self.now);
    }

    pub(in crate::cleanroom::room) fn later(&mut self) {
        self.now = self.now.plus(Milliseconds::from_seconds(1_000));
        let actions = self.room.tick(self.now);
        self.carry_out(actions);
    }
}

#[test]
fn ended_questions_leave_memory_and_are_answered_as_before() {
    let mut brand = Brand::new();
    let mut views: Vec<QueryView> = Vec::new();
    for number in 0..6 {
        views.push(brand.ask(number, Scope::Local));
        assert_eq!(views.last().unwrap().step, "released");
        brand.later();
    }
    // three records a question: asked, answered, shown
    assert_eq!(brand.records.len(), 18);
    brand.leave(4);
    assert_eq!(brand.records.len(), 12);
    brand.later();
    brand.leave(2);
    assert_eq!(brand.records.len(), 6);
    for restarted in [false, true] {
        if restarted {
            brand.restart();
        }
        let records = brand.records.len();
        for (number, view) in (0..).zip(&views) {
            let question = Brand::question(number, Scope::Local);
            assert_eq!(brand.room.plan(&question, brand.now).unwrap().cost_pico_rho, 0);
            assert_eq!(brand.ask(number, Scope::Local), *view, "{number} {restarted}");
            assert_eq!(brand.room.query_by_id(&view.id, brand.now).unwrap(), *view);
        }
        // the newest first, wherever they are
        let ids =
            |views: &[QueryView]| views.iter().map(|view| view.id.clone()).collect::<Vec<_>>();
        let mut newest = ids(&brand.room.queries_page(None, 10, brand.now).unwrap().0);
        newest.reverse();
        assert_eq!(newest, ids(&views));
        assert_eq!(brand.room.queries_page(None, 3, brand.now).unwrap().0.len(), 3);
        newest.reverse();
        for limit in [1, 2, 9] {
            let (mut walked, mut behind) = (Vec::new(), None);
            loop {
                let (page, next) =
                    brand.room.queries_page(behind.as_ref(), limit, brand.now).unwrap();
                assert!(page.len() <= limit);
                walked.extend(ids(&page));
                let Some(next) = next else { break };
                behind = Some(next);
            }
            assert_eq!(walked, newest, "{limit}");
        }
        assert_eq!((brand.records.len(), brand.log.len()), (records, 12), "{restarted}");
    }
    // another question is another charge
    assert_eq!(brand.ask(6, Scope::Local).step, "released");
    assert_eq!(brand.log.len(), 14);
}

#[test]
fn a_failed_question_and_a_pack_leave_and_say_the_same() {
    let mut brand = Brand::new();
    brand.fails = true;
    let failed = brand.ask(0, Scope::Local);
    assert_eq!(failed.step, "void");
    brand.fails = false;
    let pack = brand.ask(1, Scope::Pack);
    assert_eq!(pack.step, "asking");
    // while others may answer, nothing of the pack leaves
    brand.leave(0);
    assert_eq!(brand.room.query_by_id(&pack.id, brand.now).unwrap(), pack);
    brand.later();
    let over = brand.room.query_by_id(&pack.id, brand.now).unwrap();
    assert_eq!(over.step, "released");
    brand.leave(0);
    assert_eq!(brand.records, Vec::<Vec<u8>>::new());
    brand.restart();
    assert_eq!(brand.room.query_by_id(&pack.id, brand.now).unwrap(), over);
    assert_eq!(brand.room.query_by_id(&failed.id, brand.now).unwrap(), failed);
    // a failed one is read again at another charge only
    assert_ne!(brand.ask(0, Scope::Local).id, failed.id);
    // who asks for the pack's question again is answered from the store
    let (own, entries) = (brand.room.queries_page(None, 9, brand.now).unwrap().0, brand.log.len());
    brand.ask(1, Scope::Pack);
    assert_eq!((brand.log.len(), own.len()), (entries, 2));
}

/// Void joint questions whose cost came back leave too, but for the newest; what is certified still tells of them.
#[test]
fn void_joint_questions_leave_once_their_cost_is_back() {
    let mut brand = Brand::new();
    let mut views = Vec::new();
    for number in 0..6 {
        let asked = brand.ask(number, Scope::Joint);
        assert_eq!((asked.step.as_str(), asked.charged_pico_rho), ("reserving", 5_000_000));
        brand.later();
        // all other logs are certified past the expiry without a hash
        for other in alliance_config::sample::BRANDS.map(|other| other.id) {
            let (log, now) = (BrandId::new(other).unwrap(), brand.now);
            let actions = brand.room.head(log, now, now);
            brand.carry_out(actions);
        }
        brand.later();
        views.push(brand.room.query_by_id(&asked.id, brand.now).unwrap());
    }
    for view in &views {
        assert_eq!((view.step.as_str(), view.charged_pico_rho), ("void", 0), "{view:?}");
    }
    assert_eq!(brand.room.asked.len(), 6);
    let records = brand.records.len();
    brand.leave(2);
    assert_eq!((brand.room.asked.len(), brand.records.len()), (2, records / 3));
    for restarted in [false, true] {
        if restarted {
            brand.restart();
        }
        // what was asked among it
        for view in &views {
            assert!(view.sql.is_some() && view.asked_ms.is_some());
            let shown = brand.room.query_by_id(&view.id, brand.now).unwrap();
            assert_eq!(shown, *view, "{restarted}");
        }
    }
    brand.later();
    brand.leave(0);
    assert!(brand.room.asked.is_empty() && brand.room.declined.is_empty());
    assert_eq!(brand.records, Vec::<Vec<u8>>::new());
}
