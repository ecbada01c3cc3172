//! This brand's clean room: [`privacy::CleanRoom`] with what a brand adds to it.
//!
//! Knows the brand's facts by their snapshots, its policy, the answers it was given and the questions
//! it asked. Everything that has to be done comes out as [`Action`]s, in order; the time and random
//! bytes come in.

mod accounts;
mod bound;
mod effects;
mod ended;
mod gate;
mod history;
mod kept;
mod local;
mod packs;
mod plans;
mod reasons;
mod sets;
mod standing;
mod suspension;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use minicbor::{Decode, Encode};
use privacy::accounting::InForce;
use privacy::alone::LocalRecord;
use privacy::ids::{Attempt, PlanHash};
use privacy::steps::{DeclineReason, MessageError};
use privacy::{
    AttemptId, CalendarYear, CleanRoom, Clock, LocalRoom, MaskingSecret, ParticipantId, PicoRho,
    Progress, ProposeRequest, QueryId, SnapshotId, UtcMillis,
};
use protocol::codec;
use protocol::ids::BrandId;
use protocol::time::{Milliseconds, Timestamp};
use protocol::witness::writer::Entropy;

pub use self::gate::Gated;
use self::packs::{PackRecord, Packs};
use self::sets::Sets;
use super::answers::{Answer, Answers, AskedText};
use super::policy::{Policy, PolicyError, PolicyFile};
use super::views::{Rows, internal};
use super::{Action, Certified, CertifiedApplication, Names, ReadResult, views};
use crate::journal::RECORD_MAX;
use crate::purchases::{
    CAMPAIGNS_TABLE, CampaignMembers, Facts, ImportError, MEMBERS_TABLE, NoCampaigns, Snapshot,
    Unreadable,
};
use crate::service::{BudgetView, PlanView, QueryView, Question, ReleaseView, Scope, ServiceError};

/// How often what may have been lost is sent again.
const RESEND_EVERY: Milliseconds = Milliseconds::new(2_000);
/// Most openings kept that came before the certificates they wait for, and their bytes: a few questions' of the largest.
const EARLY_MAX: usize = 64;
const EARLY_MAX_BYTES: usize = 64 << 20;
/// So many bytes of answers within a tick, and the other openings that came early wait for the next: a turn's records,
/// with an answer more and the blocks of the turn, are to fit one append of the journal.
const ANSWERED_MAX_BYTES: usize = 4 << 20;

/// How long the steps of a question may take.
#[derive(Debug, Clone, Copy)]
pub struct QueryTimes {
    /// From the question to the last hash: reservations, reading and hashes.
    pub reservation: Milliseconds,
    /// From then until an opening counts as missing.
    pub opening: Milliseconds,
}

/// What a node's operator sets.
#[derive(Debug, Clone, Default)]
pub struct RoomSettings {
    /// The brand's policy; none for the contract's.
    pub policy: Option<PolicyFile>,
    /// Times of the steps.
    pub times: QueryTimes,
}

impl Default for QueryTimes {
    fn default() -> Self {
        Self {
            reservation: Milliseconds::from_seconds(120),
            opening: Milliseconds::from_seconds(120),
        }
    }
}

/// A contract that the alliance was under before.
#[derive(Debug, Clone)]
pub struct FormerContract {
    /// The contract.
    pub contract: privacy::Contract,
    /// The calendar year in which it came into force, in the alliance's zone.
    pub from: CalendarYear,
    /// The last year in which it was.
    pub until: CalendarYear,
    /// The brands that were under it: what one was charged that has left since counts on.
    pub brands: Vec<BrandId>,
}

impl FormerContract {
    const fn in_force(&self) -> InForce<'_> {
        InForce { contract: &self.contract, from: self.from, until: self.until }
    }
}

/// What the clean room writes into the journal.
#[derive(Debug, Encode, Decode)]
#[cbor(array)]
enum RoomRecord {
    /// A step, in the encoding of `privacy`.
    #[n(0)]
    Step(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// This brand asked.
    #[n(1)]
    Asked(#[n(0)] Asked),
    /// A question was answered.
    #[n(2)]
    Answered(#[n(0)] Answer),
    /// A step of a local question, in the encoding of `privacy`; with the first one what was asked, where it was
    /// asked here. That is not there in records of before it was kept.
    #[n(3)]
    Local(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>, #[n(1)] Option<AskedText>),
    /// A step of a pack.
    #[n(4)]
    Pack(#[n(0)] PackRecord),
    /// A period of a standing question was answered.
    #[n(5)]
    Period(#[n(0)] Answer),
}

/// A question of this brand's, until its reservation is certified.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(array)]
struct Asked {
    #[n(0)]
    id: AttemptId,
    #[n(1)]
    plan: PlanHash,
    #[n(2)]
    rho: PicoRho,
    #[n(3)]
    expires_at: UtcMillis,
    /// Not there in records of before it was kept.
    #[n(4)]
    text: Option<AskedText>,
}

/// This brand's clean room.
pub struct Room {
    me: ParticipantId,
    names: Names,
    // with those that have left, whose charges of the year count
    everyone: Names,
    inner: CleanRoom,
    // questions about the own members alone
    local: LocalRoom,
    packs: Packs,
    zone: TimeZone,
    retention_years: u8,
    times: QueryTimes,
    policy_file: Option<PolicyFile>,
    policy: Policy,
    // what the contract names and nothing is kept of here
    unreadable: Vec<Unreadable>,
    facts: Arc<Facts>,
    // who is in which campaign, as it was told last
    campaigns: Option<Arc<dyn CampaignMembers>>,
    entropy: Box<dyn Entropy + Send>,
    // whom answered questions were put to
    sets: Sets,
    // the facts that attempts under way are bound to
    snapshots: BTreeMap<AttemptId, Snapshot>,
    asked: BTreeMap<AttemptId, Asked>,
    // what was asked in local questions that are in memory
    texts: BTreeMap<AttemptId, AskedText>,
    declined: BTreeMap<AttemptId, (ParticipantId, DeclineReason)>,
    answers: Answers,
    early: BTreeMap<(ParticipantId, AttemptId), Vec<u8>>,
    // bytes of answers since the last tick, and whether openings wait for the next
    answered: usize,
    held_back: bool,
    heads: BTreeMap<BrandId, Timestamp>,
    resent: Timestamp,
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// Why the clean room cannot go on where it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A record of the journal.
    #[error(transparent)]
    Record(#[from] codec::DecodeError),
    /// A step's record.
    #[error(transparent)]
    Step(#[from] privacy::steps::RestoreError),
    /// A step's record of a local question.
    #[error(transparent)]
    Local(#[from] privacy::steps::CodecError),
    /// This brand is not in the contract.
    #[error("the contract of the clean room does not name this brand")]
    NotNamed,
    /// This brand's policy.
    #[error("policy.toml: {0}")]
    Policy(#[from] PolicyError),
}

/// What is kept of a room from before a start.
#[derive(Clone, Copy, Default)]
pub struct Kept<'a> {
    /// Its records of the journal, in order.
    pub records: &'a [Vec<u8>],
    /// The contracts of before.
    pub former: &'a [FormerContract],
}

impl Room {
    /// As it was. [`Self::replay`] the certified entries next, then [`Self::resume`].
    ///
    /// # Errors
    /// When a record does not read.
    pub fn restore(
        me: BrandId,
        constitution: &alliance_config::Constitution,
        clean_room: &alliance_config::CleanRoom,
        facts: Arc<Facts>,
        settings: RoomSettings,
        entropy: Box<dyn Entropy + Send>,
        kept: Kept<'_>,
    ) -> Result<Self, RestoreError> {
        let Kept { records, former } = kept;
        let brands: Vec<BrandId> = constitution.profiles().map(|(brand, _)| brand).collect();
        let names = Names::of(&brands);
        let me = names.participant(me).ok_or(RestoreError::NotNamed)?;
        let mut answers = Answers::new(Arc::clone(&facts));
        let (mut steps, mut asked) = (Vec::new(), BTreeMap::new());
        let (mut local, mut packs) = (Vec::new(), Packs::default());
        let mut texts = BTreeMap::new();
        for bytes in records {
            match codec::decode("a record of the clean room", bytes, RECORD_MAX)? {
                RoomRecord::Step(step) => steps.push(step),
                RoomRecord::Asked(question) => drop(asked.insert(question.id, question)),
                RoomRecord::Answered(answer) => answers.add(answer),
                RoomRecord::Period(answer) => answers.add_period(answer),
                RoomRecord::Local(step, text) => {
                    if let Some(text) = text {
                        texts.insert(LocalRecord::from_bytes(&step)?.id(), text);
                    }
                    local.push(step);
                }
                RoomRecord::Pack(step) => packs.restore(step),
            }
        }
        let contract = clean_room.contract().clone();
        let RoomSettings { policy: policy_file, times } = settings;
        let mut inner = CleanRoom::restore(me, contract.clone(), steps)?;
        former.iter().for_each(|former| inner.was_under(former.in_force()));
        Ok(Self {
            policy: policy(policy_file.as_ref(), &contract, me)?,
            policy_file,
            unreadable: kept::unreadable_of(&contract),
            local: LocalRoom::restore(me, contract, local)?,
            packs,
            inner,
            me,
            everyone: everyone(brands, former),
            names,
            zone: constitution.clearing_zone().clone(),
            retention_years: clean_room.retention_years(),
            times,
            facts,
            campaigns: None,
            entropy,
            sets: Sets::default(),
            snapshots: BTreeMap::new(),
            asked,
            texts,
            declined: BTreeMap::new(),
            answers,
            early: BTreeMap::new(),
            answered: 0,
            held_back: false,
            heads: BTreeMap::new(),
            resent: Timestamp::default(),
        })
    }

    /// Goes by the contract of another constitution. Questions under way end here; their charges stand, and what
    /// the contract of before promised for the year holds on.
    ///
    /// # Errors
    /// When it does not name this brand.
    pub fn follow(
        &mut self,
        constitution: &alliance_config::Constitution,
        clean_room: &alliance_config::CleanRoom,
        former: &[FormerContract],
    ) -> Result<(), RestoreError> {
        let brands: Vec<BrandId> = constitution.profiles().map(|(brand, _)| brand).collect();
        let names = Names::of(&brands);
        names.brand(self.me).ok_or(RestoreError::NotNamed)?;
        let contract = clean_room.contract().clone();
        self.policy = policy(self.policy_file.as_ref(), &contract, self.me).unwrap_or_else(|error| {
            tracing::error!(error = %error, "the policy does not fit the new contract: nothing is answered");
            Policy::none()
        });
        self.unreadable = kept::unreadable_of(&contract);
        self.local.follow(contract.clone());
        self.inner.follow(contract);
        former.iter().for_each(|former| self.inner.was_under(former.in_force()));
        self.everyone = everyone(brands, former);
        self.names = names;
        self.zone = constitution.clearing_zone().clone();
        self.retention_years = clean_room.retention_years();
        self.snapshots.clear();
        self.early.clear();
        Ok(())
    }

    /// Takes a certified entry of before the start, without acting on it.
    pub fn replay(&mut self, entry: &CertifiedApplication) {
        let Some(certified) = Certified::of(entry, &self.everyone) else { return };
        if let Err(error) = self.inner.replay(&certified) {
            tracing::warn!(log = %entry.log(), error = %error, "an entry of the clean room is void");
        }
        self.note_set(&certified);
    }

    /// Acts on all that was replayed.
    pub fn resume(&mut self, now: Timestamp) -> Vec<Action> {
        let effects = self.inner.resume(self.clock(now));
        let mut actions = self.carry_out(effects, now);
        actions.extend(self.resume_local(now));
        actions.extend(self.look_at_arrived());
        actions
    }

    /// A certified entry of any log, in the log's order.
    pub fn certified(&mut self, entry: &CertifiedApplication, now: Timestamp) -> Vec<Action> {
        let Some(certified) = Certified::of(entry, &self.everyone) else { return Vec::new() };
        let effects = self.inner.certified(&certified, self.clock(now)).unwrap_or_else(|error| {
            tracing::warn!(log = %entry.log(), error = %error, "an entry of the clean room is void");
            Vec::new()
        });
        self.note_set(&certified);
        let mut actions = self.carry_out(effects, now);
        actions.extend(self.certified_local(&certified, now));
        actions.extend(self.take_early(now));
        actions
    }

    /// Openings that came before the certificates they waited for, of questions whose certificates are all there now.
    fn take_early(&mut self, now: Timestamp) -> Vec<Action> {
        let ledger = self.inner.ledger();
        let charged = |id: &AttemptId| ledger.facts(id).is_some_and(|it| it.charge().is_some());
        let due: Vec<(ParticipantId, AttemptId)> =
            self.early.keys().filter(|(_, id)| charged(id)).copied().collect();
        let mut actions = Vec::new();
        for place in due {
            if self.answered > ANSWERED_MAX_BYTES {
                self.held_back = true;
                break;
            }
            if let Some(bytes) = self.early.remove(&place) {
                actions.extend(self.handle(place.0, bytes, now));
            }
        }
        actions
    }

    /// A log is certified up to a block of this time, and all its entries up to there were passed in.
    pub fn head(&mut self, log: BrandId, time: Timestamp, now: Timestamp) -> Vec<Action> {
        let Some(participant) = self.names.participant(log) else { return Vec::new() };
        if self.heads.insert(log, time) == Some(time) {
            return Vec::new();
        }
        let effects = self.inner.head(participant, utc(time), self.clock(now));
        self.carry_out(effects, now)
    }

    /// A message of another brand, whom the network has authenticated.
    pub fn message(&mut self, from: BrandId, body: Vec<u8>, now: Timestamp) -> Vec<Action> {
        let from = self.names.participant(from);
        from.map_or_else(Vec::new, |from| self.handle(from, body, now))
    }

    fn handle(&mut self, from: ParticipantId, body: Vec<u8>, now: Timestamp) -> Vec<Action> {
        match self.inner.message(from, &body, self.clock(now)) {
            Ok(effects) => self.carry_out(effects, now),
            Err(MessageError::Early) => {
                self.keep_early(from, body);
                Vec::new()
            }
            Err(error) => {
                tracing::warn!(brand = %from, error = %error, "a message of the clean room was dropped");
                Vec::new()
            }
        }
    }

    /// Only of attempts that this brand takes part in: strangers' openings cannot fill the room.
    fn keep_early(&mut self, from: ParticipantId, body: Vec<u8>) {
        let Ok(message) = privacy::Message::from_bytes(&body) else { return };
        let id = message.id();
        let known = self.inner.progress(&id, UtcMillis(0)).is_some();
        let bytes: usize = self.early.values().map(Vec::len).sum();
        let fits = self.early.len() < EARLY_MAX && bytes + body.len() <= EARLY_MAX_BYTES;
        // it is sent again to who has none
        if known && (fits || self.early.contains_key(&(from, id))) {
            self.early.insert((from, id), body);
        }
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Action> {
        self.answered = 0;
        let mut actions = match std::mem::take(&mut self.held_back) {
            true => self.take_early(now),
            false => Vec::new(),
        };
        if now.since(self.resent) < RESEND_EVERY {
            return actions;
        }
        self.resent = now;
        let effects = self.inner.tick(self.clock(now));
        actions.extend(self.carry_out(effects, now));
        actions.extend(self.ask_packs_again(now));
        actions.extend(self.close_periods(now));
        actions
    }

    /// What came of a reading.
    pub fn read(&mut self, result: ReadResult, now: Timestamp) -> Vec<Action> {
        if self.local.knows(&result.id) {
            return self.read_local(result, now);
        }
        let (id, clock) = (result.id, self.clock(now));
        let effects = match result.drawn {
            Some((noise, vector)) => {
                let mut nonce = [0; 32];
                self.entropy.fill(&mut nonce);
                self.inner.commit(id, noise, vector, nonce, clock).unwrap_or_else(|error| {
                    tracing::warn!(error = %error, "a reading came to nothing");
                    self.inner.fail(id, clock)
                })
            }
            None => {
                tracing::warn!("a joint question could not be read here; its cost is booked");
                self.inner.fail(id, clock)
            }
        };
        self.carry_out(effects, now)
    }

    // --- operations

    /// Plans a question. Nothing is spent.
    ///
    /// # Errors
    /// The refusal, which depends on the question and public facts alone.
    pub fn plan(&self, question: &Question, now: Timestamp) -> Result<PlanView, ServiceError> {
        if question.chooses_bound {
            return self.plan_choosing(question, now);
        }
        let account = self.account(question)?;
        self.check_stands(question)?;
        self.check_named(question)?;
        if self.scope_of(question)? != Scope::Joint {
            return self.plan_alone(question, account, now);
        }
        let spec = self.spec(question, account)?;
        let plan = self.planned(&spec)?;
        let answered = self.answer_to(&plan).is_some();
        if !answered {
            self.check_set(&plan, now)?;
            self.check_policy(&spec, &plan)?;
        }
        let cost = if answered { PicoRho::ZERO } else { plan.rho() };
        let left = self.left(account, now).checked_sub(cost).unwrap_or(PicoRho::ZERO);
        let mut view = views::plan_view(&plan, &question.sql, Scope::Joint, account, cost, left);
        view.warnings.extend(self.left_out_words(&plan));
        Ok(view)
    }

    /// Asks a question whose plan was shown. The same question under way, or answered from facts that
    /// are not known to have changed, is not asked again.
    ///
    /// # Errors
    /// When it is refused, the plan is another, or the accounts do not cover it: nothing was spent.
    pub fn query(
        &mut self,
        question: &Question,
        shown: &str,
        now: Timestamp,
    ) -> Result<(QueryView, Vec<Action>), ServiceError> {
        if question.chooses_bound {
            return self.query_choosing(question, shown, now);
        }
        let account = self.account(question)?.clone();
        self.check_stands(question)?;
        self.check_named(question)?;
        if let Some(most) = question.most_pico_rho {
            // an answer may have gone since the plan was seen, with facts that came
            let cost = self.plan(question, now)?.cost_pico_rho;
            if cost > most {
                return Err(views::cost_unconfirmed(cost, most));
            }
        }
        if self.scope_of(question)? != Scope::Joint {
            return self.query_alone(question, &account, shown, now);
        }
        let spec = self.spec(question, &account)?;
        let plan = self.planned(&spec)?;
        if plan.hash().to_string() != shown {
            return Err(views::plan_changed());
        }
        if let Some(answer) = self.answer_to(&plan) {
            return Ok((self.view(answer.id, now), Vec::new()));
        }
        if let Some(id) = self.under_way(plan.hash(), now) {
            return Ok((self.view(id, now), Vec::new()));
        }
        self.check_set(&plan, now)?;
        self.check_policy(&spec, &plan)?;
        let snapshot = self.snapshot().map_err(|_| internal())?;
        let (mut query, mut secret) = ([0; 16], [0; 32]);
        self.entropy.fill(&mut query);
        self.entropy.fill(&mut secret);
        let request = ProposeRequest {
            query: QueryId(query),
            attempt: Attempt::FIRST,
            spec,
            secret: MaskingSecret::from_bytes(secret),
            snapshot: SnapshotId(*snapshot.id()),
            analyst_quota: account.joint,
            lifetime_millis: self.times.reservation.get(),
            opening_millis: self.times.opening.get(),
        };
        let effects = self
            .inner
            .propose(request, self.clock(now))
            .map_err(|error| views::propose_error(&error))?;
        let id = AttemptId { proposer: self.me, query: QueryId(query), attempt: Attempt::FIRST };
        let expires_at = utc(now.plus(self.times.reservation));
        let text = Some(AskedText::of(question, now));
        let asked = Asked { id, plan: plan.hash(), rho: plan.rho(), expires_at, text };
        self.snapshots.insert(id, snapshot);
        self.asked.insert(id, asked.clone());
        let mut actions = vec![record(&RoomRecord::Asked(asked))];
        actions.extend(self.carry_out(effects, now));
        Ok((QueryView { newly_asked: true, ..self.view(id, now) }, actions))
    }

    /// A question of any brand's, by its id.
    ///
    /// # Errors
    /// When none is known.
    pub fn query_by_id(&self, id: &str, now: Timestamp) -> Result<QueryView, ServiceError> {
        self.query_rows(id, Rows::ALL, now)
    }

    /// The same with some rows of its answer.
    ///
    /// # Errors
    /// When none is known.
    pub fn query_rows(
        &self,
        id: &str,
        rows: Rows,
        now: Timestamp,
    ) -> Result<QueryView, ServiceError> {
        let query: QueryId = id.parse().map_err(|_| views::unknown_query())?;
        if let Some(view) = self.alone_by_id(query, rows) {
            return Ok(view);
        }
        let mine = AttemptId { proposer: self.me, query, attempt: Attempt::FIRST };
        if self.asked.contains_key(&mine) || self.inner.ledger().facts(&mine).is_some() {
            return Ok(self.view_of(mine, rows, now));
        }
        let attempts = self.inner.ledger().attempts().map(|(id, _)| *id);
        let found = attempts.filter(|id| id.query == query).max_by_key(|id| id.attempt);
        found.map(|id| self.view_of(id, rows, now)).ok_or_else(views::unknown_query)
    }

    /// This brand's account of the year.
    #[must_use]
    pub fn budget(&self, now: Timestamp) -> BudgetView {
        let (ledger, contract) = (self.inner.ledger(), self.inner.contract());
        let year = self.clock(now).year;
        let booked = ledger.joint_spent(self.me, year).get();
        let open = self.reserved(now).get();
        let everyone = ledger.brands(year).map(|brand| {
            let (joint, local) = (ledger.joint_spent(brand, year), ledger.local_spent(brand, year));
            joint.get().saturating_add(local.get())
        });
        BudgetView {
            year: year.0,
            profile: contract.profile().name().to_owned(),
            quota_pico_rho: self.joint_quota(self.me, year).get(),
            spent_pico_rho: booked.saturating_sub(open),
            reserved_pico_rho: open.saturating_add(self.uncertified(now).get()),
            alliance_spent_pico_rho: everyone.fold(0, u64::saturating_add),
        }
    }

    /// The first rows of the latest answer.
    #[must_use]
    pub fn latest_release(&self) -> Option<ReleaseView> {
        self.answers.latest().map(|answer| views::release_view(&answer, Rows::FIRST))
    }

    /// How many answers were given since the start.
    #[must_use]
    pub const fn answers(&self) -> usize {
        self.answers.added()
    }

    /// The facts there are now, and the first day of them that retention leaves readable.
    ///
    /// # Errors
    /// When they cannot be named.
    pub fn readable(&self, now: Timestamp) -> Result<(Snapshot, i32), ServiceError> {
        Ok((self.snapshot().map_err(|_| internal())?, self.not_before(now)))
    }

    /// The facts there are now, with what is known of members and with who is in campaigns, where the contract lets
    /// them be asked about: who came, was corrected or came into a campaign since an answer makes another snapshot.
    fn snapshot(&self) -> Result<Snapshot, ImportError> {
        let snapshot = if self.has_table(MEMBERS_TABLE) {
            self.facts.snapshot_with_members()?
        } else {
            self.facts.snapshot()?
        };
        if !self.asks_of_campaigns() {
            return Ok(snapshot);
        }
        let campaigns = self.campaigns.clone().unwrap_or_else(|| Arc::new(NoCampaigns));
        Ok(snapshot.with_campaigns(campaigns))
    }

    /// Whether the contract lets campaigns be asked about.
    #[must_use]
    pub fn asks_of_campaigns(&self) -> bool {
        self.has_table(CAMPAIGNS_TABLE)
    }

    /// Goes by these members of campaigns from the next snapshot on.
    pub fn see_campaigns(&mut self, members: Arc<dyn CampaignMembers>) {
        self.campaigns = Some(members);
    }

    fn has_table(&self, name: &str) -> bool {
        self.inner.contract().tables().iter().any(|table| table.name() == name)
    }

    fn clock(&self, now: Timestamp) -> Clock {
        let year = u16::try_from(self.today(now).year()).unwrap_or_default();
        Clock { now: utc(now), year: CalendarYear(year) }
    }

    /// The day in the zone in which the alliance counts years.
    fn today(&self, now: Timestamp) -> Date {
        let ms = i64::try_from(now.unix_ms()).unwrap_or(i64::MAX);
        let instant = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
        instant.to_zoned(self.zone.clone()).date()
    }

    // --- views

    fn step(&self, id: &AttemptId, now: Timestamp) -> &'static str {
        if self.answers.of(id).is_some() {
            return "released";
        }
        let overdue = |expires_at: UtcMillis| utc(now) > expires_at;
        match self.inner.progress(id, utc(now)) {
            Some(Progress::Proposed) => match self.asked.get(id) {
                Some(asked) if overdue(asked.expires_at) => "void",
                _ => "reserving",
            },
            Some(Progress::Reserving) => "reserving",
            Some(Progress::Committing) => "committing",
            // the others have it; what this brand lacks is on its way
            Some(Progress::Opening | Progress::Released) => "opening",
            Some(Progress::Void | Progress::Returned) => "void",
            // of others, without this brand; or over long since
            None => {
                let facts = self.inner.ledger().facts(id);
                let charged = facts.is_some_and(|facts| facts.charge().is_some());
                let reserve = facts.and_then(|facts| facts.reserve());
                match reserve {
                    _ if charged => "opening",
                    Some(reserve) if !overdue(reserve.expires_at) => "reserving",
                    _ => "void",
                }
            }
        }
    }

    fn view(&self, id: AttemptId, now: Timestamp) -> QueryView {
        self.view_of(id, Rows::ALL, now)
    }

    fn view_of(&self, id: AttemptId, rows: Rows, now: Timestamp) -> QueryView {
        let answer = self.answers.of(&id);
        let reserved = self.inner.ledger().facts(&id).and_then(|facts| facts.reserve());
        let plan = reserved
            .map(|reserve| reserve.plan)
            .or_else(|| self.asked.get(&id).map(|asked| asked.plan))
            .or_else(|| answer.as_ref().map(|answer| answer.plan));
        let step = self.step(&id, now);
        let view = QueryView {
            id: id.query.to_string(),
            plan: plan.map(|plan| plan.to_string()).unwrap_or_default(),
            scope: Scope::Joint.name().to_owned(),
            step: step.to_owned(),
            reason: self.reason_at(&id, step, now),
            release: answer.as_deref().map(|answer| views::release_view(answer, rows)),
            charged_pico_rho: self.charged_joint(&id, now).get(),
            ..QueryView::default()
        };
        history::with_text(view, self.text_of(&id))
    }

    /// What stands on this brand's account for a joint question, or is on its way there.
    fn charged_joint(&self, id: &AttemptId, now: Timestamp) -> PicoRho {
        let facts = self.inner.ledger().facts(id).filter(|_| id.proposer == self.me);
        match (facts.and_then(|facts| Some((facts, facts.reserve()?))), self.asked.get(id)) {
            (Some((facts, reserve)), _) if !facts.is_returned() => reserve.rho,
            (None, Some(asked)) if utc(now) <= asked.expires_at => asked.rho,
            _ => PicoRho::ZERO,
        }
    }
}

/// The names of these brands and of those under contracts of before.
fn everyone(mut brands: Vec<BrandId>, former: &[FormerContract]) -> Names {
    brands.extend(former.iter().flat_map(|former| &former.brands));
    Names::of(&brands)
}

/// The policy of a file, or without one the contract's.
fn policy(
    file: Option<&PolicyFile>,
    contract: &privacy::Contract,
    me: ParticipantId,
) -> Result<Policy, PolicyError> {
    file.map_or_else(|| Ok(Policy::of_contract(contract)), |file| Policy::new(file, contract, me))
}

fn record(record: &RoomRecord) -> Action {
    Action::Record(codec::encode(record))
}

const fn utc(time: Timestamp) -> UtcMillis {
    UtcMillis(time.unix_ms())
}

/// A sum that does not fit counts as everything.
fn sum(mut costs: impl Iterator<Item = PicoRho>) -> PicoRho {
    costs.try_fold(PicoRho::ZERO, PicoRho::checked_add).unwrap_or(PicoRho::new(u64::MAX))
}
