//! The clean room's place in the loop: certified entries, messages, ticks and readings go in, and what
//! it wants done is done in the turn's order (records, then log and messages, then readings).
//!
//! A node whose disk was put back to an older state has its own log back before its clean room acts on anything
//! ([`Gated`]). Until then certified entries are taken note of alone, messages are dropped (they come again), and what
//! is being read waits. Nothing new is asked: a question waits until it is heard whether entries are missing
//! ([`early_questions`](super::early_questions)), and is refused when they are.

use privacy::AttemptId;
use privacy::accounting::Evidence;
use privacy::ids::VectorHash;
use protocol::ids::BrandId;
use protocol::log::block::{ApplicationEntry, PublicEntry};
use protocol::witness::message::{ApplicationMessage, Message};

use super::campaign_members::Assigned;
use super::core::Turn;
use super::early_questions::EarlyQuestion;
use super::{Internal, Runtime, answer, now};
use crate::cleanroom::{self, APPLICATION, Action, Gated, PACKS, ReadJob, ReadResult, Room, views};
use crate::exchange::record::{NodeRecord, Submission};
use crate::service::{PartnerView, QueryView, Question, ServiceError};

impl Runtime {
    /// The clean room.
    ///
    /// # Errors
    /// When the constitution has none.
    pub(super) fn clean_room(&self) -> Result<&Room, ServiceError> {
        self.room.as_ref().map(Gated::shown).ok_or_else(views::no_clean_room)
    }

    /// The clean room, if it may act: the own log is known.
    fn acting_room(&mut self) -> Option<&mut Room> {
        let knows_own_log = self.core.knows_own_log();
        self.room.as_mut()?.acting(knows_own_log)
    }

    /// Has the clean room see who is in which campaign by now, where its contract lets that be asked about.
    fn show_campaigns(&mut self) {
        let asks = |room: &&mut Gated| room.shown().asks_of_campaigns();
        let Some(room) = self.room.as_mut().filter(asks) else { return };
        if let Some(members) = Assigned::of(&self.core.programme) {
            room.see_campaigns(std::sync::Arc::new(members));
        }
    }

    /// Settles ledger and clean room until neither has anything for the other.
    pub(super) fn settle(&mut self, turn: &mut Turn) {
        loop {
            self.core.settle(now(), turn);
            let entries = std::mem::take(&mut turn.applications);
            if !entries.is_empty() {
                self.show_campaigns();
            }
            let knows_own_log = self.core.knows_own_log();
            let Some(room) = &mut self.room else { return };
            let actions = room.settle(&entries, self.core.log_times(), knows_own_log, now());
            if actions.is_empty() {
                return;
            }
            self.carry_out(actions, turn);
        }
    }

    /// After the restart: the clean room goes on where it was, as soon as the own log is known.
    pub(super) fn resume_joint(&mut self, turn: &mut Turn) {
        self.show_campaigns();
        self.settle(turn);
    }

    pub(super) fn joint_message(
        &mut self,
        from: BrandId,
        message: ApplicationMessage,
        turn: &mut Turn,
    ) {
        self.show_campaigns();
        let Some(room) = self.acting_room() else { return };
        let actions = match message.application {
            APPLICATION => room.message(from, message.body, now()),
            PACKS => room.pack_message(from, &message.body, now()),
            _ => return,
        };
        self.carry_out(actions, turn);
    }

    pub(super) fn joint_tick(&mut self, turn: &mut Turn) {
        self.show_campaigns();
        if let Some(room) = self.acting_room() {
            let actions = room.tick(now());
            self.carry_out(actions, turn);
        }
        self.ask_what_waits(turn);
    }

    pub(super) fn joint_read(&mut self, result: ReadResult, turn: &mut Turn) {
        let knows_own_log = self.core.knows_own_log();
        if let Some(room) = &mut self.room {
            let actions = room.read(result, knows_own_log, now());
            self.carry_out(actions, turn);
        }
    }

    /// Asks the questions that wait no longer for what the own log has charged.
    pub(super) fn ask_what_waits(&mut self, turn: &mut Turn) {
        let heard =
            self.room.is_none() || self.core.lacks_own_log() || self.acting_room().is_some();
        for EarlyQuestion { question, plan, reply, .. } in self.early.due(heard, now()) {
            // nothing is spent for who has gone
            if reply.is_closed() {
                continue;
            }
            let asked = self.ask(&question, &plan, turn);
            asked.iter().for_each(|view| self.events.follow(view));
            answer(turn, reply, asked);
        }
    }

    /// Asks a question whose plan was shown.
    fn ask(
        &mut self,
        question: &Question,
        plan: &str,
        turn: &mut Turn,
    ) -> Result<QueryView, ServiceError> {
        self.show_campaigns();
        self.clean_room()?;
        // what it was charged is in the own log
        let room = self.acting_room().ok_or_else(views::own_log_unknown)?;
        let (view, actions) = room.query(question, plan, now())?;
        self.carry_out(actions, turn);
        Ok(view)
    }

    /// Every other brand, with what joint questions say of it.
    pub(super) fn partner_views(&self) -> Vec<PartnerView> {
        let mut views = self.core.partner_views(now());
        if let Some(room) = self.room.as_ref().map(Gated::shown) {
            views.iter_mut().for_each(|view| room.tell_suspension(view));
        }
        views
    }

    /// Agrees to readmit a brand that is suspended from joint questions.
    pub(super) fn readmit(
        &mut self,
        brand: &str,
        turn: &mut Turn,
    ) -> Result<PartnerView, ServiceError> {
        // the same entry whenever it is said: one that is in the own log already changes nothing
        let actions = self.clean_room()?.readmit(brand)?;
        self.carry_out(actions, turn);
        let view = self.partner_views().into_iter().find(|view| view.brand == brand);
        view.ok_or_else(views::internal)
    }

    fn carry_out(&mut self, actions: Vec<Action>, turn: &mut Turn) {
        for action in actions {
            match action {
                Action::Record(bytes) => turn.record(NodeRecord::CleanRoom(bytes)),
                Action::Append(body) => self.append(body, turn),
                Action::Send(to, body) => send(APPLICATION, to, body, turn),
                Action::SendPack(to, body) => send(PACKS, to, body, turn),
                Action::Read(job) => turn.reads.push(*job),
                Action::Keep(evidence) => self.keep(evidence),
                Action::Give { to, id, vector } => self.give(to, id, vector),
            }
        }
    }

    /// Openings are kept beside the records: when the folder cannot be written, the answer stands, and the
    /// other participants have them.
    fn keep(&self, evidence: Box<Evidence>) {
        let folder = self.following.data.openings();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = cleanroom::evidence::keep(&folder, &evidence, now()) {
                tracing::error!(folder = %folder.display(), error = %error, "openings are not kept");
            }
        });
    }

    /// An opening that this node has kept goes to a participant who lacks it, once it has been read.
    fn give(&self, to: BrandId, id: AttemptId, vector: VectorHash) {
        let (folder, back) = (self.following.data.openings(), self.back.clone());
        tokio::task::spawn_blocking(move || {
            match cleanroom::evidence::attached(&folder, &id, vector) {
                Ok(Some(message)) => {
                    // the node may be stopping: another is asked, or this one again
                    let _ = back.blocking_send(Internal::Attached(to, message.to_bytes()));
                }
                Ok(None) => {}
                Err(error) => tracing::error!(error = %error, "kept openings cannot be read"),
            }
        });
    }

    /// What was read for another participant is sent.
    pub(super) fn attach(to: BrandId, body: Vec<u8>, turn: &mut Turn) {
        send(APPLICATION, to, body, turn);
    }

    /// Into the own log; not again after a restart when it is on its way there.
    fn append(&mut self, body: Vec<u8>, turn: &mut Turn) {
        let entry = PublicEntry::Application(ApplicationEntry { application: APPLICATION, body });
        if self.core.is_on_its_way(&entry) {
            return;
        }
        if let Err(error) = self.core.submit(Submission::Public(entry), turn) {
            self.core.alert(format!(
                "an entry of the clean room is not taken into the log: {error} / \
                 联合统计的一条记录未能写入账本：{error}"
            ));
        }
    }

    /// Starts the readings of a turn whose records are durable.
    pub(super) fn start_reads(&self, jobs: Vec<ReadJob>) {
        for job in jobs {
            let facts = std::sync::Arc::clone(&self.facts);
            let vault = std::sync::Arc::clone(&self.core.vault);
            let back = self.back.clone();
            tokio::spawn(async move {
                let result = cleanroom::read::run(job, facts, vault).await;
                // the node may be stopping; it books the cost when it starts again
                let _ = back.send(Internal::Read(Box::new(result))).await;
            });
        }
    }
}

fn send(application: u16, to: BrandId, body: Vec<u8>, turn: &mut Turn) {
    let message = ApplicationMessage { application, body };
    turn.out.messages.push((to, Message::Application(message)));
}
