//! Logs that end: a frozen one that brands agree to close, one that a constitution removes, and what a
//! brand that goes on closes of its dealings with it.
//!
//! Whoever takes part in closing a log knows that its writer lied and was told by its own operator, or
//! knows a constitution, adopted and in effect, under which the log is not written: that is agreement
//! enough, after the writer has had [`CLOSE_AFTER`] to end its log itself.

use super::{ASK_AFTER, Context, Ledger};
use crate::amount::Value;
use crate::clearing;
use crate::ids::{BrandId, HeaderHash};
use crate::log::block::{ColumnContent, Header, PublicEntry};
use crate::log::closed_out::{ClosedOut, OpenedColumn};
use crate::time::{Milliseconds, Timestamp};
use crate::witness::cases::Kept;
use crate::witness::ending::LogEnd;
use crate::witness::guards::Guards;
use crate::witness::message::{CatchUp, CertifiedHeader, Message};
use crate::witness::record::Record;
use crate::witness::state::Outbox;

/// How long a brand that is removed or frozen by a constitution has to end its log itself.
pub const CLOSE_AFTER: Milliseconds = Milliseconds::from_seconds(3_600);

/// Why an ended log cannot be closed out now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseOutError {
    /// It has not ended, as far as this node knows.
    #[error("that log has not ended")]
    NotEnded,
    /// Something to that brand waits for a block or is in one that is not final.
    #[error("something to that brand is on its way into a block")]
    OnItsWay,
    /// What is to be opened of the ended log could not be read.
    #[error("the ended log's last block was sealed to a key of this brand that is gone")]
    NotRead,
    /// What is to be opened does not open.
    #[error("the own block that was last recognised there does not open any more")]
    NotOpened,
    /// What was recognised, what came back and what is void is not what was ever sent.
    #[error("what was recognised there, what went back and what is void is not what was ever sent")]
    Amount,
}

impl<G: Guards> Ledger<G> {
    /// The brand agrees that a log be closed: its open height is decided in a last round, then
    /// nothing is appended to it for good. Once q brands agree it happens; none can take it back. False
    /// when its writer is not proved to have lied, and no adopted constitution ends it.
    pub fn agree_to_close(&mut self, log: BrandId, out: &mut Outbox) -> bool {
        if log == self.me || !self.is_frozen(log) && self.removed_from(log).is_none() {
            return false;
        }
        if self.closes.insert(log) {
            out.records.push(Record::Kept(Box::new(Kept::Closes(log))));
        }
        true
    }

    /// Whether this brand has agreed that a log be closed.
    #[must_use]
    pub fn agrees_to_close(&self, log: BrandId) -> bool {
        self.closes.contains(&log)
    }

    /// From when on an adopted constitution says that a log is not written, which has not taken it up.
    #[must_use]
    pub fn removed_from(&self, log: BrandId) -> Option<Timestamp> {
        let epoch = self.witnesses.get(&log)?.epoch();
        let later = self.adoptions.iter().filter(|(of, _)| **of > epoch);
        later
            .filter(|(of, _)| self.constitutions.of(**of).is_some_and(|it| !it.writes(log)))
            .map(|(_, adoption)| adoption.effect())
            .min()
    }

    /// Whether this node takes part in the last rounds of a log at this time.
    pub(super) fn closes(&self, log: BrandId, now: Timestamp) -> bool {
        let removed = self.removed_from(log);
        let of_itself = removed.is_some_and(|from| from.plus(CLOSE_AFTER) <= now);
        let agreed = self.closes.contains(&log)
            && (self.is_frozen(log) || removed.is_some_and(|from| from <= now));
        log != self.me && (of_itself || agreed)
    }

    /// Whether nothing will be appended to a log any more: it was closed, or has taken up a constitution
    /// under which it is not written.
    #[must_use]
    pub fn is_closed(&self, log: BrandId) -> bool {
        let Some(witness) = self.witnesses.get(&log) else { return false };
        let written = self.constitutions.of(witness.epoch()).is_none_or(|it| it.writes(log));
        !witness.is_awaiting() && (witness.closing().is_some() || !written)
    }

    /// What shows that a log has ended.
    #[must_use]
    pub fn end_of(&self, log: BrandId) -> Option<LogEnd> {
        let witness = self.witnesses.get(&log).filter(|_| self.is_closed(log))?;
        if let Some(closing) = witness.closing() {
            let last = witness.header_leaf().zip(witness.certificate());
            let last = last.map(|(header, certificate)| CertifiedHeader {
                header: header.to_vec(),
                certificate: certificate.as_unverified().clone(),
            });
            let closing = Box::new(closing.as_unverified().clone());
            return Some(LogEnd::LastRound(last.map(Box::new), closing));
        }
        let (_, entry) = witness.stances().switched(witness.epoch())?;
        Some(LogEnd::Switched(Box::new(entry.clone())))
    }

    /// Leads last rounds where it is this node's turn, and asks the others whether a log that is to be
    /// closed is by now.
    pub(super) fn lead_last_rounds(&mut self, context: &mut Context<'_>, out: &mut Outbox) {
        let logs: Vec<BrandId> = self.witnesses.keys().copied().collect();
        for log in logs {
            if self.is_closed(log) || !self.closes(log, context.now) {
                self.closers.remove(&log);
                continue;
            }
            let (mut closer, asked) = self.closers.remove(&log).unwrap_or_default();
            let due = context.now.distance(asked) >= ASK_AFTER;
            if let Some((at, _, witness)) = self.parts(log, context.now) {
                closer.tick(&at, witness, context.entropy, out);
                if let (true, Some(from)) = (due, witness.tip().height.next()) {
                    for to in at.constitution.committee().witnesses(at.me) {
                        out.messages.push((to, Message::CatchUp(CatchUp { log, from })));
                    }
                }
            }
            let asked = if due { context.now } else { asked };
            self.closers.insert(log, (closer, asked));
        }
    }

    /// Handles an answer to a last round that this node leads.
    pub(super) fn on_last_round(
        &mut self,
        log: BrandId,
        message: Message,
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        let Some((mut closer, asked)) = self.closers.remove(&log) else { return };
        if let Some((at, _, witness)) = self.parts(log, context.now) {
            match message {
                Message::Promise(message) => closer.promised(&at, witness, *message, out),
                Message::Vote(vote) => closer.vote(&at, witness, vote, out),
                Message::Commit(commit) => closer.commit(&at, witness, commit, out),
                _ => {}
            }
        }
        self.closers.insert(log, (closer, asked));
    }

    /// What closed a log, for a brand that asks for its blocks.
    pub(super) fn closing_for(&self, request: &CatchUp) -> Option<Message> {
        let closing = self.witnesses.get(&request.log)?.closing()?;
        let certificate = closing.as_unverified().clone();
        (certificate.pledge.block.height >= request.from).then_some(Message::Certified(certificate))
    }

    /// Before a block is built: what waits for a log that has ended does not go into it.
    pub(super) fn end_ended(&mut self, out: &mut Outbox) {
        let logs: Vec<BrandId> = self.witnesses.keys().copied().collect();
        for log in logs.into_iter().filter(|log| *log != self.me) {
            if self.is_closed(log) {
                self.writer.end(log, out);
            }
        }
    }

    /// Up to which own block an ended log has recognised this brand, for good.
    #[must_use]
    pub fn recognised_at_end(&self, log: BrandId) -> Option<crate::ids::Height> {
        let witness = self.witnesses.get(&log).filter(|_| self.is_closed(log))?;
        Some(witness.tip().recognised(self.me).height)
    }

    /// What this brand closes of its dealings with a log that has ended. `read` is the own block that was
    /// last recognised there (none for none) with the contents of its columns; `void` is what exchanges in
    /// later blocks were worth, `back` what returns in them were.
    ///
    /// # Errors
    /// See [`CloseOutError`].
    pub fn close_out(
        &self,
        log: BrandId,
        read: Option<(&Header, HeaderHash, &[ColumnContent])>,
        (void, back): (Value, Value),
    ) -> Result<PublicEntry, CloseOutError> {
        let end = self.end_of(log).ok_or(CloseOutError::NotEnded)?;
        let witness = self.witnesses.get(&log).ok_or(CloseOutError::NotEnded)?;
        if !self.writer.is_clear_of(log) {
            return Err(CloseOutError::OnItsWay);
        }
        let opened = match witness.dispute() {
            Some(dispute) => dispute.before().copied(),
            None => witness.opened(),
        };
        let (content, salt) = opened.ok_or(CloseOutError::NotRead)?;
        let height = match witness.dispute() {
            Some(dispute) => crate::ids::Height::new(dispute.began().get().saturating_sub(1)),
            None => witness.tip().height,
        };
        let received = OpenedColumn { height, content, salt };
        let sent = match read {
            None => OpenedColumn::nothing(),
            Some((header, id, contents)) => {
                let last = Some((header, id));
                let keys = &self.sealing;
                let opened = clearing::close(header.time, last, keys, contents)
                    .map_err(|_| CloseOutError::NotOpened)?;
                let mut columns = opened.columns.into_iter();
                let column = columns.find(|column| column.counterparty == log);
                let column = column.ok_or(CloseOutError::NotOpened)?;
                let (height, content, salt) = (header.height, column.content, column.salt);
                OpenedColumn { height, content, salt }
            }
        };
        // what was given back by a resolution stands, as a return does
        let given = self.given_above(log, sent.height);
        let total = sent.content.sent.plus(back).and_then(|total| total.plus(given?));
        let total = total.map_err(|_| CloseOutError::Amount)?;
        // who has left the alliance has no column any more to compare with
        let ever = self.writer.contents().get(&log).map(|content| content.sent);
        if ever.is_some_and(|ever| total.plus(void) != Ok(ever)) {
            return Err(CloseOutError::Amount);
        }
        let end = Box::new(end);
        let closed = ClosedOut { log, end, received, sent, void, total };
        Ok(PublicEntry::ClosedOut(Box::new(closed)))
    }
}
