//! Packs: a question with `brand` among its group keys, which every brand that agrees answers for itself.
//!
//! The asking brand names a pack, answers for itself as for any local question, and asks each other brand
//! until it has an answer or the time is over. The answering brand decides by its own policy and charges
//! its own account; it knows the asking brand as one analyst, however many people ask there. An answer
//! counts when it is what its brand's log certifies, so that messages need no authority.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minicbor::{Decode, Encode};
use privacy::alone::{LocalProgress, PackDecline, PackMessage, PackQuestion};
use privacy::ids::PlanHash;
use privacy::plan::LocalQuestion;
use privacy::release::LocalRelease;
use privacy::{AnalystId, AttemptId, DpPlan, ParticipantId, PicoRho, Purpose, QueryId, UtcMillis};
use protocol::ids::BrandId;
use protocol::time::Timestamp;

use super::super::Action;
use super::super::answers::{Answer, AskedText};
use super::super::policy::Account;
use super::super::views::{self, Rows};
use super::{Room, RoomRecord, history, record, utc};
use crate::service::{BrandAnswerView, QueryView, Scope, ServiceError};

/// Packs of one other brand that are answered at a time.
const ANSWERING_MAX: usize = 2;
/// Answers kept that came before what their brand's log certifies.
const ARRIVED_MAX: usize = 64;

/// What packs write into the journal.
#[derive(Debug, Clone, Encode, Decode)]
pub(super) enum PackRecord {
    /// This brand asked.
    #[n(0)]
    #[cbor(array)]
    Asked(#[n(0)] PackAsked),
    /// What came of one brand.
    #[n(1)]
    #[cbor(array)]
    Part(#[n(0)] QueryId, #[n(1)] ParticipantId, #[n(2)] Outcome),
    /// Another brand's pack (its name there) is answered by this question.
    #[n(2)]
    #[cbor(array)]
    Answering(#[n(0)] ParticipantId, #[n(1)] QueryId, #[n(2)] AttemptId),
}

/// A pack that this brand asked for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct PackAsked {
    #[n(0)]
    query: QueryId,
    #[n(1)]
    sql: String,
    #[n(2)]
    purpose: Purpose,
    #[n(3)]
    rho: PicoRho,
    /// This brand's plan.
    #[n(4)]
    plan: PlanHash,
    /// This brand's own question.
    #[n(5)]
    own: AttemptId,
    /// The others that are asked.
    #[n(6)]
    others: Vec<ParticipantId>,
    /// Who has not answered by then does not.
    #[n(7)]
    until: UtcMillis,
    /// Questions with the same text that were charged before; not there in records of before they were kept.
    #[n(8)]
    before: Option<BTreeSet<AttemptId>>,
    /// Who asked, and when; not there in records of before it was kept.
    #[n(9)]
    text: Option<AskedText>,
}

/// What came of one brand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(super) enum Outcome {
    #[n(0)]
    #[cbor(array)]
    Answered(#[n(0)] AttemptId),
    #[n(1)]
    #[cbor(array)]
    Declined(#[n(0)] PackDecline),
    /// It did not answer in time.
    #[n(2)]
    Silent,
}

/// A pack with what came of it so far.
#[derive(Debug, Encode, Decode)]
#[cbor(array)]
pub(super) struct Pack {
    #[n(0)]
    asked: PackAsked,
    #[n(1)]
    outcomes: BTreeMap<ParticipantId, Outcome>,
}

impl PackAsked {
    /// When it was asked; of one of before that was kept, when its time was over.
    fn at(&self) -> UtcMillis {
        self.text.as_ref().map_or(self.until, |text| text.at)
    }
}

impl Pack {
    /// Whether a question was charged for this pack, as far as is known.
    fn is_new(&self, id: &AttemptId) -> bool {
        self.asked.before.as_ref().is_none_or(|before| !before.contains(id))
    }

    fn waiting(&self) -> impl Iterator<Item = ParticipantId> {
        self.asked.others.iter().copied().filter(|brand| !self.outcomes.contains_key(brand))
    }
}

impl PackRecord {
    /// The pack of this brand's that it is about, or the question that answers another's.
    pub(super) const fn about(&self) -> Result<QueryId, AttemptId> {
        match self {
            Self::Asked(asked) => Ok(asked.query),
            Self::Part(query, ..) => Ok(*query),
            Self::Answering(_, _, id) => Err(*id),
        }
    }
}

/// Packs asked for and answered.
#[derive(Debug, Default)]
pub(super) struct Packs {
    asked: BTreeMap<QueryId, Pack>,
    answering: BTreeMap<(ParticipantId, QueryId), AttemptId>,
    arrived: BTreeMap<(ParticipantId, QueryId), (AttemptId, Vec<u8>)>,
}

impl Packs {
    /// Packs of which nothing more comes, but for the newest `kept`, each with this brand's own question.
    pub(super) fn ended(&self, kept: usize) -> Vec<(QueryId, AttemptId)> {
        let over = self.asked.values().filter(|pack| pack.waiting().next().is_none());
        let mut over: Vec<&PackAsked> = over.map(|pack| &pack.asked).collect();
        over.sort_by_key(|asked| core::cmp::Reverse(asked.until));
        over.into_iter().skip(kept).map(|asked| (asked.query, asked.own)).collect()
    }

    /// Whether a pack under way is answered with this question of this brand's.
    pub(super) fn awaits(&self, id: &AttemptId) -> bool {
        let open = |pack: &Pack| pack.waiting().next().is_some() && pack.asked.own == *id;
        self.asked.values().any(open)
    }

    /// Every pack in memory, with when it was asked.
    pub(super) fn by_time(&self) -> impl Iterator<Item = (UtcMillis, QueryId)> {
        self.asked.values().map(|Pack { asked, .. }| (asked.at(), asked.query))
    }

    pub(super) fn get(&self, query: &QueryId) -> Option<&Pack> {
        self.asked.get(query)
    }

    pub(super) fn forget(&mut self, query: &QueryId) {
        self.asked.remove(query);
    }

    /// Forgets for whom a question is answered.
    pub(super) fn forget_answering(&mut self, id: &AttemptId) {
        self.answering.retain(|_, answering| answering != id);
    }

    /// Applies a record of the journal.
    pub(super) fn restore(&mut self, record: PackRecord) {
        match record {
            PackRecord::Asked(asked) => {
                self.asked.insert(asked.query, Pack { asked, outcomes: BTreeMap::new() });
            }
            PackRecord::Part(query, brand, outcome) => {
                if let Some(pack) = self.asked.get_mut(&query) {
                    pack.outcomes.insert(brand, outcome);
                }
            }
            PackRecord::Answering(brand, query, id) => {
                self.answering.insert((brand, query), id);
            }
        }
    }
}

impl Room {
    /// Asks every brand for its own answer.
    pub(super) fn query_pack(
        &mut self,
        question: LocalQuestion,
        plan: &DpPlan,
        account: &Account,
        text: AskedText,
        now: Timestamp,
    ) -> Result<(QueryView, Vec<Action>), ServiceError> {
        if let Some(query) = self.pack_under_way(plan.hash()) {
            let view = self.pack_view(query, Rows::ALL).ok_or_else(views::internal)?;
            return Ok((view, Vec::new()));
        }
        let LocalQuestion { sql, purpose, rho, .. } = question.clone();
        let sql_hash = plan.sql_hash();
        let charged = |ledger: &privacy::Ledger| -> BTreeSet<AttemptId> {
            let all =
                ledger.attempts().filter_map(|(id, facts)| Some((*id, facts.local_charge()?)));
            all.filter(|(_, charge)| charge.entry().sql == sql_hash).map(|(id, _)| id).collect()
        };
        let mut before = charged(self.inner.ledger());
        let (own, mut actions) =
            self.ask_alone(question, plan, account.local, Some(text.clone()), now)?;
        if actions.is_empty() {
            // it is under way, and not certified yet perhaps
            before.insert(own);
        }
        let mut query = [0; 16];
        self.entropy.fill(&mut query);
        let query = QueryId(query);
        let others = self.inner.contract().participants().iter().copied();
        let asked = PackAsked {
            query,
            sql,
            purpose,
            rho,
            plan: plan.hash(),
            own,
            others: others.filter(|brand| *brand != self.me).collect(),
            until: utc(now.plus(self.times.reservation)),
            before: Some(before),
            text: Some(text),
        };
        self.apply(PackRecord::Asked(asked), &mut actions);
        actions.extend(self.asks(query));
        let view = self.pack_view(query, Rows::ALL).ok_or_else(views::internal)?;
        Ok((QueryView { newly_asked: true, ..view }, actions))
    }

    fn pack_under_way(&self, plan: PlanHash) -> Option<QueryId> {
        let same = |pack: &&Pack| pack.asked.plan == plan && pack.waiting().next().is_some();
        self.packs.asked.values().find(same).map(|pack| pack.asked.query)
    }

    /// Applies a record, and has it written.
    fn apply(&mut self, step: PackRecord, actions: &mut Vec<Action>) {
        actions.push(record(&RoomRecord::Pack(step.clone())));
        self.packs.restore(step);
    }

    /// The question to everyone who has not answered.
    fn asks(&self, query: QueryId) -> Vec<Action> {
        let Some(pack) = self.packs.asked.get(&query) else { return Vec::new() };
        let PackAsked { sql, purpose, rho, .. } = &pack.asked;
        let question = PackQuestion { sql: sql.clone(), purpose: *purpose, rho: *rho };
        let bytes = PackMessage::Ask(query, question).to_bytes();
        let brands = pack.waiting().filter_map(|brand| self.names.brand(brand));
        brands.map(|brand| Action::SendPack(brand, bytes.clone())).collect()
    }

    /// Time has passed: what may have been lost is asked again, and who is too late is left out.
    pub(super) fn ask_packs_again(&mut self, now: Timestamp) -> Vec<Action> {
        let open: Vec<(QueryId, bool)> = self
            .packs
            .asked
            .values()
            .filter(|pack| pack.waiting().next().is_some())
            .map(|pack| (pack.asked.query, utc(now) > pack.asked.until))
            .collect();
        let mut actions = Vec::new();
        for (query, over) in open {
            if !over {
                actions.extend(self.asks(query));
                continue;
            }
            let silent: Vec<ParticipantId> = self
                .packs
                .asked
                .get(&query)
                .map(|pack| pack.waiting().collect())
                .unwrap_or_default();
            for brand in silent {
                self.apply(PackRecord::Part(query, brand, Outcome::Silent), &mut actions);
            }
        }
        actions
    }

    /// A message about a pack, from a brand that the network has authenticated.
    pub fn pack_message(&mut self, from: BrandId, body: &[u8], now: Timestamp) -> Vec<Action> {
        let Some(from) = self.names.participant(from) else { return Vec::new() };
        match PackMessage::from_bytes(body) {
            Ok(PackMessage::Ask(query, question)) => self.answer_pack(from, query, question, now),
            Ok(PackMessage::Declined(query, reason)) => {
                let mut actions = Vec::new();
                if self.waits_for(query, from) {
                    let outcome = Outcome::Declined(reason);
                    self.apply(PackRecord::Part(query, from, outcome), &mut actions);
                }
                actions
            }
            Ok(PackMessage::Answer(query, id, noised)) => {
                let kept = self.packs.arrived.len() < ARRIVED_MAX;
                if self.waits_for(query, from) && id.proposer == from && kept {
                    self.packs.arrived.insert((from, query), (id, noised));
                }
                self.look_at_arrived()
            }
            Err(error) => {
                tracing::warn!(brand = %from, error = %error, "a message about a pack was dropped");
                Vec::new()
            }
        }
    }

    fn waits_for(&self, query: QueryId, brand: ParticipantId) -> bool {
        let pack = self.packs.asked.get(&query);
        pack.is_some_and(|pack| pack.waiting().any(|waiting| waiting == brand))
    }

    /// Takes the answers whose brands' logs certify them by now.
    pub(super) fn look_at_arrived(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        for ((brand, query), (id, noised)) in std::mem::take(&mut self.packs.arrived) {
            let Some(pack) = self.packs.asked.get(&query) else { continue };
            let facts = self.inner.ledger().facts(&id);
            let certified =
                facts.and_then(|facts| Some((facts.local_charge()?, facts.local_release()?)));
            let Some((charge, logged)) = certified else {
                self.packs.arrived.insert((brand, query), (id, noised));
                continue;
            };
            let (PackAsked { sql, purpose, rho, .. }, at) = (&pack.asked, pack.asked.at());
            let analyst = charge.entry().analyst;
            let question =
                LocalQuestion { sql: sql.clone(), purpose: *purpose, analyst, rho: *rho };
            let release = DpPlan::local(self.inner.contract(), brand, &question)
                .ok()
                .and_then(|plan| LocalRelease::again(&charge, &plan, &noised, logged).ok());
            let Some(release) = release else {
                tracing::warn!(brand = %brand, "an answer is not what its brand's log certifies");
                continue;
            };
            if self.answers.of(&id).is_none() {
                // told beside its pack
                let answer = Answer::of_local(&release).given(at);
                actions.push(record(&RoomRecord::Answered(answer.clone())));
                self.answers.add(answer);
            }
            self.apply(PackRecord::Part(query, brand, Outcome::Answered(id)), &mut actions);
        }
        actions
    }

    // --- answering

    /// Another brand asks for this brand's own answer.
    fn answer_pack(
        &mut self,
        from: ParticipantId,
        query: QueryId,
        question: PackQuestion,
        now: Timestamp,
    ) -> Vec<Action> {
        if let Some(id) = self.packs.answering.get(&(from, query)).copied() {
            return self.told(from, query, id).into_iter().collect();
        }
        match self.taken(from, question, now) {
            Ok((id, mut actions)) => {
                // an answer that is there needs no record, or asking again would fill the journal
                if self.local_progress(&id) != Some(LocalProgress::Released) {
                    self.apply(PackRecord::Answering(from, query, id), &mut actions);
                }
                actions.extend(self.told(from, query, id));
                actions
            }
            Err(reason) => {
                self.to(from, &PackMessage::Declined(query, reason)).into_iter().collect()
            }
        }
    }

    fn taken(
        &mut self,
        from: ParticipantId,
        question: PackQuestion,
        now: Timestamp,
    ) -> Result<(AttemptId, Vec<Action>), PackDecline> {
        let quota = *self.policy.packs().get(&from).ok_or(PackDecline::Policy)?;
        // a brand is one analyst here, under its own name
        let analyst: AnalystId = from.as_str().parse().map_err(|_| PackDecline::Policy)?;
        let PackQuestion { sql, purpose, rho } = question;
        let asked = LocalQuestion { sql, purpose, analyst, rho };
        let plan = DpPlan::local(self.inner.contract(), self.me, &asked);
        let answerable =
            |plan: &DpPlan| plan.query().is_by_brand() && self.not_kept(plan).is_none();
        let plan = plan.ok().filter(answerable).ok_or(PackDecline::Plan)?;
        let ledger = self.inner.ledger();
        let busy = self.packs.answering.iter().filter(|((asker, _), id)| {
            let progress = self.local.progress(id, ledger);
            *asker == from
                && matches!(progress, Some(LocalProgress::Charging | LocalProgress::Reading))
        });
        if busy.count() >= ANSWERING_MAX {
            return Err(PackDecline::Busy);
        }
        self.ask_alone(asked, &plan, quota, None, now).map_err(|error| match error.code {
            "over_budget" => PackDecline::Budget,
            "too_many_open" => PackDecline::Busy,
            "against_policy" => PackDecline::Policy,
            _ => PackDecline::Plan,
        })
    }

    /// What another brand is told of its pack now; nothing while the question is under way.
    fn told(&self, from: ParticipantId, query: QueryId, id: AttemptId) -> Option<Action> {
        let message = match self.local_progress(&id)? {
            LocalProgress::Charging | LocalProgress::Reading | LocalProgress::Releasing => {
                return None;
            }
            LocalProgress::Released => PackMessage::Answer(query, id, self.noised(&id)?),
            // packs do not stand
            LocalProgress::Failed | LocalProgress::Dropped | LocalProgress::Standing => {
                PackMessage::Declined(query, PackDecline::Failed)
            }
        };
        self.to(from, &message)
    }

    /// A question has ended: whoever asked for it is told.
    pub(super) fn tell_askers(&self, id: AttemptId) -> Vec<Action> {
        let asked = self.packs.answering.iter().filter(|(_, answering)| **answering == id);
        asked.filter_map(|((from, query), id)| self.told(*from, *query, *id)).collect()
    }

    fn to(&self, brand: ParticipantId, message: &PackMessage) -> Option<Action> {
        let brand = self.names.brand(brand)?;
        Some(Action::SendPack(brand, message.to_bytes()))
    }

    // --- views

    /// A pack, its brands in order, with some rows of their answers.
    pub(super) fn pack_view(&self, query: QueryId, rows: Rows) -> Option<QueryView> {
        let ended;
        let pack = match self.packs.asked.get(&query) {
            Some(pack) => pack,
            None => {
                ended = self.ended_pack(query)?;
                &ended
            }
        };
        let own = self.local_view(pack.asked.own, Rows::NONE);
        let mut brands: BTreeMap<ParticipantId, (BrandAnswerView, Option<Arc<Answer>>)> =
            BTreeMap::new();
        let part = |brand: ParticipantId, state: &str| BrandAnswerView {
            brand: brand.to_string(),
            state: state.to_owned(),
            ..BrandAnswerView::default()
        };
        let answered = |brand, id: &AttemptId| {
            let answer = self.answers.of(id);
            let view = BrandAnswerView {
                hash: answer.as_ref().map(|answer| answer.hash.to_string()),
                cost_pico_rho: answer.as_ref().map_or(0, |answer| answer.rho.get()),
                ..part(brand, "answered")
            };
            (view, answer)
        };
        let declined = |brand, reason| {
            (BrandAnswerView { reason: Some(reason), ..part(brand, "declined") }, None)
        };
        let mine = match own.as_ref().map(|own| own.step.as_str()) {
            Some("released") => answered(self.me, &pack.asked.own),
            Some("void") | None => declined(self.me, views::pack_decline(PackDecline::Failed)),
            Some(_) => (part(self.me, "waiting"), None),
        };
        brands.insert(self.me, mine);
        for brand in &pack.asked.others {
            let view = match pack.outcomes.get(brand) {
                Some(Outcome::Answered(id)) => answered(*brand, id),
                Some(Outcome::Declined(reason)) => declined(*brand, views::pack_decline(*reason)),
                Some(Outcome::Silent) => declined(*brand, views::pack_silent()),
                None => (part(*brand, "waiting"), None),
            };
            brands.insert(*brand, view);
        }
        let waiting = brands.values().any(|(view, _)| view.state == "waiting");
        let answers: Vec<&Answer> =
            brands.values().filter_map(|(_, answer)| answer.as_deref()).collect();
        let step = match (waiting, answers.is_empty()) {
            (true, _) => "asking",
            (false, false) => "released",
            (false, true) => "void",
        };
        let release = (step == "released").then(|| views::pack_release(query, &answers, rows));
        // a brand that failed after its charge says no more than that
        let own_new = own.as_ref().is_some_and(|own| own.charged_pico_rho > 0)
            && pack.is_new(&pack.asked.own);
        let charged = own_new
            || pack.outcomes.values().any(|outcome| match outcome {
                Outcome::Answered(id) => pack.is_new(id),
                Outcome::Declined(reason) => *reason == PackDecline::Failed,
                Outcome::Silent => false,
            });
        let view = QueryView {
            id: query.to_string(),
            plan: pack.asked.plan.to_string(),
            scope: Scope::Pack.name().to_owned(),
            step: step.to_owned(),
            reason: (step == "void").then(|| "no brand answered / 没有品牌作答".to_owned()),
            release,
            brands: brands.into_values().map(|(view, _)| view).collect(),
            charged_pico_rho: if charged { pack.asked.rho.get() } else { 0 },
            ..QueryView::default()
        };
        Some(history::with_text(view, pack.asked.text.clone()))
    }
}
