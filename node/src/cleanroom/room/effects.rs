//! What the steps of joint questions want done: turned into actions, and decided where this brand has the say.

use std::collections::VecDeque;

use jiff::civil::Date;
use privacy::plan::QuerySpec;
use privacy::{AttemptId, DpPlan, Effect, MaskingSecret, SnapshotId};
use protocol::codec;
use protocol::time::Timestamp;

use super::super::answers::Answer;
use super::super::{Action, ReadJob};
use super::{Room, RoomRecord, record, utc};
use crate::purchases::Snapshot;

impl Room {
    pub(super) fn carry_out(&mut self, effects: Vec<Effect>, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut effects: VecDeque<Effect> = effects.into();
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Persist(step) => {
                    actions.push(record(&RoomRecord::Step(step.to_bytes())));
                }
                Effect::Append(entry) => actions.push(Action::Append(entry.to_bytes())),
                Effect::Send { to, message } => {
                    if let Some(brand) = self.names.brand(to) {
                        actions.push(Action::Send(brand, message.to_bytes()));
                    }
                }
                Effect::Give { to, id, vector } => {
                    let brand = self.names.brand(to);
                    actions.extend(brand.map(|to| Action::Give { to, id, vector }));
                }
                Effect::Decide { id, spec, plan } => {
                    effects.extend(self.decide(id, &spec, &plan, now));
                }
                Effect::Read { id, plan } => match self.bound_snapshot(&id) {
                    Some(snapshot) => actions.push(Action::Read(Box::new(ReadJob {
                        id,
                        plan,
                        participant: self.me,
                        snapshot,
                        not_before: self.not_before(now),
                        period: None,
                    }))),
                    None => effects.extend(self.inner.fail(id, self.clock(now))),
                },
                Effect::Released(release) => {
                    let set = self.inner.ledger().facts(&release.id()).and_then(|f| f.set());
                    let members = set.iter().flat_map(|set| set.members());
                    let snapshots =
                        members.map(|(brand, member)| (*brand, member.snapshot)).collect();
                    let answer = Answer::of(&release, snapshots).given(utc(now));
                    let answered = codec::encode(&RoomRecord::Answered(answer.clone()));
                    self.answered = self.answered.saturating_add(answered.len());
                    actions.push(Action::Record(answered));
                    actions.extend(
                        self.inner.evidence(&release.id()).map(|it| Action::Keep(Box::new(it))),
                    );
                    self.answers.add(answer);
                }
                Effect::Declined { id, by, reason } => drop(self.declined.insert(id, (by, reason))),
                Effect::Void(id) | Effect::Forget(id) => {
                    self.snapshots.remove(&id);
                    self.early.retain(|(_, early), _| *early != id);
                }
            }
        }
        actions
    }

    fn decide(
        &mut self,
        id: AttemptId,
        spec: &QuerySpec,
        plan: &DpPlan,
        now: Timestamp,
    ) -> Vec<Effect> {
        if self.not_kept(plan).is_some() {
            return self.inner.decline_unreadable(id);
        }
        let by = Some(id.proposer);
        let accepted = self.policy.accepts(self.inner.contract(), by, spec, plan)
            && self.takes_set(plan, Some(id), now)
            && self.bears_failure(plan.rho(), now);
        // a brand that cannot name its facts takes no part
        let snapshot = self.snapshot().ok().filter(|_| accepted);
        let Some(snapshot) = snapshot else { return self.inner.decline(id) };
        let mut secret = [0; 32];
        self.entropy.fill(&mut secret);
        let named = SnapshotId(*snapshot.id());
        let secret = MaskingSecret::from_bytes(secret);
        self.snapshots.insert(id, snapshot);
        self.inner.accept(id, secret, named, self.clock(now)).unwrap_or_default()
    }

    /// The facts that this brand certified for an attempt. After a restart they must still be the
    /// facts there are.
    fn bound_snapshot(&self, id: &AttemptId) -> Option<Snapshot> {
        if let Some(snapshot) = self.snapshots.get(id) {
            return Some(snapshot.clone());
        }
        let set = self.inner.ledger().facts(id)?.set()?;
        let bound = set.members().get(&self.me)?.snapshot;
        self.snapshot().ok().filter(|snapshot| snapshot.id() == bound.as_bytes())
    }

    /// First day that retention leaves readable, in days since 1970-01-01.
    pub(super) fn not_before(&self, now: Timestamp) -> i32 {
        let today = self.today(now);
        let kept = jiff::Span::new().years(i64::from(self.retention_years));
        let first = today.checked_sub(kept).unwrap_or(Date::MIN);
        let epoch = Date::constant(1970, 1, 1);
        first.since((jiff::Unit::Day, epoch)).map_or(i32::MIN, |span| span.get_days())
    }
}
