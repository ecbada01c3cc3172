//! One attempt at one participant: which step comes next.
//!
//! [`Step::advance`] is called after every input. It looks at certified facts and at what is on
//! disk and emits what is due; it emits nothing twice in the life of a process, and what a crash
//! swallowed is due again after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::entry::{
    AttemptId, CleanRoomEntry, Commit, FailedAfterReading, MissingOpening, Participate,
    ReleaseLogged, Reserve,
};
use super::message::{Message, Opening, Proposal};
use super::record::{Begun, Record};
use super::{Clock, Effect, Progress, RESENT_BYTES_A_MILLI, VOID_GRACE_MILLIS, WANT_AFTER_MILLIS};
use crate::accounting::{CertifiedCharge, Facts};
use crate::ids::{ParticipantId, SetHash, SnapshotId, VectorHash};
use crate::masked_sum::{MaskedVector, MaskingSecret};
use crate::plan::{DpPlan, QuerySpec, tolerated_colluders};
use crate::release::Release;
use crate::units::UtcMillis;

/// What this participant has done in one attempt, all of it on its disk.
pub(super) struct Local {
    pub(super) spec: QuerySpec,
    pub(super) plan: Arc<DpPlan>,
    pub(super) secret: MaskingSecret,
    snapshot: SnapshotId,
    /// At the proposer: what to certify.
    pub(super) reserve: Option<Reserve>,
    pub(super) read_started: bool,
    pub(super) drawn: Option<Vector>,
    pub(super) opened: bool,
    pub(super) not_opened: bool,
    pub(super) failed: bool,
    pub(super) openings: BTreeMap<ParticipantId, (MaskedVector, [u8; 32])>,
    pub(super) release: Option<Release>,
    /// Since when openings are due here, or the own one is asked back, in this process.
    waits_since: Option<UtcMillis>,
    /// How often others were asked for openings that did not come.
    asked: usize,
    /// When an opening (second) was last given to one who lacks it (first).
    pub(super) attached: BTreeMap<(ParticipantId, ParticipantId), UtcMillis>,
    /// The opening is not sent again before: what is long is still on its way.
    opening_again: UtcMillis,
    /// Emitted in this process.
    emitted: BTreeSet<Emitted>,
}

/// The own masked vector.
pub(super) struct Vector {
    pub(super) set: SetHash,
    pub(super) vector: MaskedVector,
    pub(super) nonce: [u8; 32],
    pub(super) hash: VectorHash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Emitted {
    Reserve,
    Proposal,
    Participate,
    Read,
    Commit,
    NotOpened,
    Returned,
    Failed,
    Opening,
    Accusation(ParticipantId),
    Release,
    Void,
    Forget,
}

impl Local {
    pub(super) fn new(begun: Begun, plan: DpPlan) -> Self {
        Self {
            spec: begun.spec,
            plan: Arc::new(plan),
            secret: MaskingSecret::from_bytes(begun.secret),
            snapshot: begun.snapshot,
            reserve: begun.reserve,
            read_started: false,
            drawn: None,
            opened: false,
            not_opened: false,
            failed: false,
            openings: BTreeMap::new(),
            release: None,
            waits_since: None,
            asked: 0,
            attached: BTreeMap::new(),
            opening_again: UtcMillis(0),
            emitted: BTreeSet::new(),
        }
    }

    /// Applies a record read back from disk.
    pub(super) fn restore(&mut self, me: ParticipantId, record: Record) {
        match record {
            Record::Begun(_) => {}
            Record::ReadStarted(_) => self.read_started = true,
            Record::Drawn(drawn) => {
                if let Some(vector) = MaskedVector::from_bytes(&drawn.vector) {
                    self.hold(me, drawn.set, vector, drawn.nonce);
                }
            }
            Record::Opened(_) => self.opened = true,
            Record::NotOpened(_) => self.not_opened = true,
            Record::Failed(_) => self.failed = true,
        }
        if self.not_opened || self.failed {
            self.let_go();
        }
    }

    /// Whether no answer will be made of it here: it has ended, or this participant never opens; `expired` says that no
    /// hash counts any more.
    pub(super) fn is_over(&self, expired: bool) -> bool {
        self.is_forgotten() || self.not_opened || self.failed || (expired && self.drawn.is_none())
    }

    /// Lets go of all that is as large as the answer: of one that is over.
    pub(super) fn let_go(&mut self) {
        self.openings.clear();
        self.release = None;
        if self.plan.bytes_held() > 0 {
            Arc::make_mut(&mut self.plan).forget_cells();
        }
    }

    /// Keeps the one vector of this attempt.
    pub(super) fn hold(
        &mut self,
        me: ParticipantId,
        set: SetHash,
        vector: MaskedVector,
        nonce: [u8; 32],
    ) {
        let hash = vector.commitment(me, set, &nonce);
        self.drawn = Some(Vector { set, vector, nonce, hash });
    }

    /// How long an opening of this attempt may be on its way, in milliseconds.
    fn arrives_in(&self) -> u64 {
        let bytes = self.plan.coordinates().saturating_mul(8);
        let millis = bytes.checked_div(RESENT_BYTES_A_MILLI).unwrap_or(0);
        u64::try_from(millis).unwrap_or(u64::MAX)
    }

    /// Whether nothing more is expected of this attempt and its records may be gone.
    pub(super) fn is_forgotten(&self) -> bool {
        self.emitted.contains(&Emitted::Forget)
    }

    pub(super) fn progress(&self, facts: Option<&Facts>, now: UtcMillis) -> Progress {
        let Some((facts, reserve)) = facts.and_then(|f| Some((f, f.reserve()?))) else {
            return Progress::Proposed;
        };
        if self.release.is_some() || facts.releases.len() == reserve.participants.len() {
            Progress::Released
        } else if facts.is_returned() {
            Progress::Returned
        } else if self.not_opened
            || self.failed
            || !facts.not_opened.is_empty()
            || (now > reserve.expires_at && facts.charge().is_none())
        {
            Progress::Void
        } else if facts.charge().is_some() {
            Progress::Opening
        } else if facts.set().is_some() {
            Progress::Committing
        } else {
            Progress::Reserving
        }
    }
}

/// One look at one attempt.
pub(super) struct Step<'a> {
    pub(super) me: ParticipantId,
    pub(super) id: AttemptId,
    pub(super) local: &'a mut Local,
    pub(super) facts: &'a Facts,
    /// How far each log is known to be certified.
    pub(super) heads: &'a BTreeMap<ParticipantId, UtcMillis>,
    pub(super) clock: Clock,
    /// Whether messages already sent are due again.
    pub(super) resend: bool,
    pub(super) effects: Vec<Effect>,
}

impl Step<'_> {
    /// Everything that is due, in the order of the steps.
    pub(super) fn advance(mut self) -> Vec<Effect> {
        let Some(reserve) = self.facts.reserve().cloned() else {
            if let Some(reserve) = self.local.reserve.clone()
                && self.clock.now <= reserve.expires_at
            {
                self.append_once(Emitted::Reserve, CleanRoomEntry::Reserve(reserve));
            }
            return self.effects;
        };
        self.participate(&reserve);
        self.read(&reserve);
        self.hash();
        match self.facts.charge() {
            Some(charge) if self.may_open(&charge) => self.open(&reserve, &charge),
            _ => self.void(&reserve),
        }
        self.take_back(&reserve);
        if self.facts.is_settled() && (self.has_released() || self.facts.is_returned()) {
            self.once(Emitted::Forget, Effect::Forget(self.id));
        }
        self.effects
    }

    /// Step 2. The proposer also tells the others what is asked.
    fn participate(&mut self, reserve: &Reserve) {
        if self.clock.now > reserve.expires_at {
            return;
        }
        if !self.facts.participations.contains_key(&self.me) {
            let entry = Participate {
                id: self.id,
                plan: self.local.plan.hash(),
                key: self.local.secret.public_key(),
                snapshot: self.local.snapshot,
            };
            self.append_once(Emitted::Participate, CleanRoomEntry::Participate(entry));
        }
        if self.me == self.id.proposer
            && (self.local.emitted.insert(Emitted::Proposal) || self.resend)
        {
            let proposal = Proposal { id: self.id, spec: self.local.spec.clone() };
            let waiting = reserve.participants.iter().filter(|participant| {
                **participant != self.me && !self.facts.participations.contains_key(participant)
            });
            self.effects.extend(
                waiting.map(|to| Effect::Send {
                    to: *to,
                    message: Message::Proposal(proposal.clone()),
                }),
            );
        }
    }

    /// Step 3, first half: once, and only if no vector of this attempt can exist yet. A hash of
    /// ours in the log without its vector on disk means the disk was restored: never read again.
    fn read(&mut self, reserve: &Reserve) {
        let fresh = !self.local.read_started
            && self.local.drawn.is_none()
            && !self.local.failed
            && !self.local.not_opened
            && !self.facts.commits.contains_key(&self.me)
            && self.facts.not_opened.is_empty()
            // not even by a clock that was put back
            && self.local.plan.bytes_held() > 0;
        if fresh
            && self.clock.now <= reserve.expires_at
            && self.clock.year == reserve.year
            && self.facts.set().is_some_and(|set| self.is_mine(&set))
        {
            self.local.read_started = true;
            self.local.emitted.insert(Emitted::Read);
            self.effects.push(Effect::Persist(Record::ReadStarted(self.id)));
            let plan = Arc::clone(&self.local.plan);
            self.effects.push(Effect::Read { id: self.id, plan });
        }
        // Reading began in an earlier process, or ran over the expiry: it has failed. Where our hash is in the log it
        // has not: the disk was put back to before the vector, and the charge pays for it.
        let interrupted = self.local.read_started
            && self.local.drawn.is_none()
            && !self.facts.commits.contains_key(&self.me)
            && (!self.local.emitted.contains(&Emitted::Read)
                || self.clock.now > reserve.expires_at);
        if interrupted && !self.local.failed {
            self.local.failed = true;
            self.effects.push(Effect::Persist(Record::Failed(self.id)));
        }
        if self.local.failed && !self.facts.failed.contains_key(&self.me) {
            let (rho, year) = (reserve.rho, reserve.year);
            let entry = FailedAfterReading { id: self.id, rho, year };
            self.append_once(Emitted::Failed, CleanRoomEntry::FailedAfterReading(entry));
        }
    }

    fn is_mine(&self, set: &crate::masked_sum::ParticipantSet) -> bool {
        set.plan() == self.local.plan.hash()
            && set.members().get(&self.me).is_some_and(|member| {
                member.key == self.local.secret.public_key()
                    && member.snapshot == self.local.snapshot
            })
    }

    /// Step 3, second half: certify the hash of the vector that is on disk.
    fn hash(&mut self) {
        if self.local.not_opened || self.facts.commits.contains_key(&self.me) {
            return;
        }
        if let Some(drawn) = &self.local.drawn {
            let commit = Commit { id: self.id, set: drawn.set, vector: drawn.hash };
            self.append_once(Emitted::Commit, CleanRoomEntry::Commit(commit));
        }
    }

    /// All hashes are certified, ours is the one on disk, and nobody has renounced.
    fn may_open(&self, charge: &CertifiedCharge) -> bool {
        let ours = charge.commits().get(&self.me).map(|commit| commit.vector);
        !self.local.not_opened
            && (self.local.opened || self.facts.not_opened.is_empty())
            && charge.pays_for(&self.local.plan)
            && self.local.drawn.as_ref().is_some_and(|drawn| Some(drawn.hash) == ours)
    }

    /// Step 4, and 6 and 7 after it.
    fn open(&mut self, reserve: &Reserve, charge: &CertifiedCharge) {
        // nothing is due any more, and it was let go of
        if self.local.is_forgotten() {
            return;
        }
        let Some(drawn) = &self.local.drawn else { return };
        let openings = &mut self.local.openings;
        openings.entry(self.me).or_insert_with(|| (drawn.vector.clone(), drawn.nonce));
        if !self.local.opened {
            self.local.opened = true;
            self.effects.push(Effect::Persist(Record::Opened(self.id)));
        }
        let first = self.local.emitted.insert(Emitted::Opening);
        if first || (self.resend && self.clock.now >= self.local.opening_again) {
            self.send_opening(reserve);
        }
        self.release(charge);
        self.want(reserve, charge);
        if !self.has_released() && self.clock.now > reserve.open_by {
            self.accuse(reserve);
        }
    }

    /// Sends the own vector to everyone who has not logged the answer, and lets it arrive before it is sent again.
    fn send_opening(&mut self, reserve: &Reserve) {
        let Some(drawn) = &self.local.drawn else { return };
        let opening = Opening {
            id: self.id,
            set: drawn.set,
            vector: drawn.vector.to_bytes(),
            nonce: drawn.nonce,
        };
        self.local.opening_again = self.clock.now.plus(self.local.arrives_in());
        let waiting = reserve.participants.iter().filter(|participant| {
            **participant != self.me && !self.facts.releases.contains_key(participant)
        });
        self.effects.extend(
            waiting.map(|to| Effect::Send { to: *to, message: Message::Opening(opening.clone()) }),
        );
    }

    /// Step 4, where an opening does not come from whose it is: it is asked of the others, of one after the other,
    /// by the hash that its maker's log names it by. Who has it was sent it, and so is everybody to have it.
    fn want(&mut self, reserve: &Reserve, charge: &CertifiedCharge) {
        let since = *self.local.waits_since.get_or_insert(self.clock.now);
        let patience = WANT_AFTER_MILLIS.saturating_add(self.local.arrives_in());
        let waited = self.clock.now >= since.plus(patience);
        if self.has_released() || !self.resend || !waited {
            return;
        }
        self.local.asked = self.local.asked.wrapping_add(1);
        for (of, commit) in charge.commits() {
            if self.local.openings.contains_key(of) {
                continue;
            }
            let others = reserve.participants.iter().copied();
            let others: Vec<ParticipantId> =
                others.filter(|other| other != of && *other != self.me).collect();
            let number = self.local.asked.checked_rem(others.len());
            let Some(to) = number.and_then(|number| others.get(number)).copied() else { continue };
            let message = Message::Wanted(self.id, commit.vector);
            self.effects.push(Effect::Send { to, message });
        }
    }

    fn release(&mut self, charge: &CertifiedCharge) {
        if self.local.release.is_none() {
            // Openings were checked against their hashes as they came; too few give no release.
            let made = Release::from_openings(charge, &self.local.plan, &self.local.openings);
            let Ok(release) = made else { return };
            self.effects.push(Effect::Released(Box::new(release.clone())));
            self.local.release = Some(release);
        }
        if let Some(release) = &self.local.release
            && !self.facts.releases.contains_key(&self.me)
        {
            let entry = ReleaseLogged { id: self.id, set: release.set(), release: release.hash() };
            self.append_once(Emitted::Release, CleanRoomEntry::Release(entry));
        }
    }

    /// Whether all openings were here once: in this process, or before a restart, which forgets the
    /// others' openings and would else take them for missing.
    fn has_released(&self) -> bool {
        self.local.release.is_some() || self.facts.releases.contains_key(&self.me)
    }

    /// Step 6.
    fn accuse(&mut self, reserve: &Reserve) {
        for accused in &reserve.participants {
            let silent = !self.local.openings.contains_key(accused)
                && !self.facts.not_opened.contains_key(accused)
                && !self.facts.accusations.contains_key(&(self.me, *accused));
            if silent {
                let entry = MissingOpening { id: self.id, accused: *accused };
                let entry = CleanRoomEntry::MissingOpening(entry);
                self.append_once(Emitted::Accusation(*accused), entry);
            }
        }
    }

    /// Step 5: an attempt that cannot be completed. Whoever has a hash in its log, or on its way
    /// there, and has not opened, renounces for good.
    fn void(&mut self, reserve: &Reserve) {
        if self.has_surely_opened(reserve) {
            return;
        }
        let renounced = !self.facts.not_opened.is_empty() || self.local.not_opened;
        let late = self.clock.now > reserve.expires_at
            && self.facts.charge().is_none()
            && (self.clock.now > reserve.expires_at.plus(VOID_GRACE_MILLIS)
                || self.missing_logs_are_past(reserve));
        // All hashes stand, but ours is not the one on disk: the disk was restored.
        let unable = self.facts.charge().is_some() && !self.local.opened;
        if !(renounced || late || unable) {
            return;
        }
        let is_said = self.local.not_opened || self.facts.not_opened.contains_key(&self.me);
        if self.has_lost_vector() && !is_said && self.asks_back(reserve) {
            return;
        }
        self.once(Emitted::Void, Effect::Void(self.id));
        let hashed = self.local.drawn.is_some() || self.facts.commits.contains_key(&self.me);
        if !hashed || self.local.opened {
            return;
        }
        if !self.local.not_opened {
            self.local.not_opened = true;
            self.effects.push(Effect::Persist(Record::NotOpened(self.id)));
        }
        if !self.facts.not_opened.contains_key(&self.me) {
            self.append_once(Emitted::NotOpened, CleanRoomEntry::NotOpened(self.id));
        }
    }

    /// Whether the own opening was sent, whatever the disk says: there is no answer without it, and this participant has
    /// logged one, or so many that one of them tells the truth. A single one may lie, to keep this participant from
    /// saying that it does not open, so that it is suspended.
    fn has_surely_opened(&self, reserve: &Reserve) -> bool {
        let logged = self.facts.releases.keys();
        let logged = logged.filter(|writer| reserve.participants.contains(writer)).count();
        self.facts.releases.contains_key(&self.me)
            || logged > tolerated_colluders(reserve.participants.len())
    }

    /// Whether the own hash stands and its vector is not on the disk: that was put back, and says nothing of whether it
    /// was opened.
    fn has_lost_vector(&self) -> bool {
        let lost = |hash: VectorHash| self.local.drawn.as_ref().is_none_or(|it| it.hash != hash);
        let own = self.facts.commits.get(&self.me);
        !self.local.opened && own.is_some_and(|placed| lost(placed.entry.vector))
    }

    /// Step 5, of a disk that was put back: asks all others for the own opening, by its certified hash, before it is said
    /// that there was none. Whether to wait on: until they had time to answer and, where all hashes stand, until half of
    /// the time for openings is over, so that what is said then comes before anybody is accused.
    fn asks_back(&mut self, reserve: &Reserve) -> bool {
        let since = *self.local.waits_since.get_or_insert(self.clock.now);
        if self.resend
            && let Some(own) = self.facts.commits.get(&self.me)
        {
            let message = Message::Wanted(self.id, own.entry.vector);
            let others = reserve.participants.iter().filter(|other| **other != self.me);
            self.effects
                .extend(others.map(|to| Effect::Send { to: *to, message: message.clone() }));
        }
        let patience = WANT_AFTER_MILLIS.saturating_add(self.local.arrives_in());
        let half = UtcMillis(reserve.expires_at.0.midpoint(reserve.open_by.0));
        let is_early = self.facts.charge().is_some() && self.clock.now < half;
        is_early || self.clock.now < since.plus(patience)
    }

    /// Every log without a hash in time is certified past the expiry: no hash can still appear.
    fn missing_logs_are_past(&self, reserve: &Reserve) -> bool {
        reserve
            .participants
            .iter()
            .filter(|participant| !self.facts.commits.contains_key(participant))
            .all(|participant| self.is_past(*participant, reserve.expires_at))
    }

    fn is_past(&self, participant: ParticipantId, instant: UtcMillis) -> bool {
        self.heads.get(&participant).is_some_and(|head| *head > instant)
    }

    /// Step 5, at the proposer: the quota comes back once each participant has certified that it
    /// has not opened, or its log has passed the expiry without a hash.
    fn take_back(&mut self, reserve: &Reserve) {
        if self.me != self.id.proposer || self.facts.returned.is_some() || self.local.opened {
            return;
        }
        let nobody_can_open = reserve.participants.iter().all(|participant| {
            self.facts.not_opened.contains_key(participant)
                || (!self.facts.commits.contains_key(participant)
                    && self.is_past(*participant, reserve.expires_at))
        });
        if nobody_can_open && self.clock.now > reserve.expires_at {
            self.append_once(Emitted::Returned, CleanRoomEntry::Returned(self.id));
        }
    }

    fn append_once(&mut self, kind: Emitted, entry: CleanRoomEntry) {
        self.once(kind, Effect::Append(entry));
    }

    fn once(&mut self, kind: Emitted, effect: Effect) {
        if self.local.emitted.insert(kind) {
            self.effects.push(effect);
        }
    }
}
