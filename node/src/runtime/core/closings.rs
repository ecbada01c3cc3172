//! Closings of cut-offs: when this brand can make one, those that are due, and the statements that follow.

use protocol::ids::Height;
use protocol::log::block::PublicEntry;
use protocol::time::Timestamp;
use protocol::witness::state::FinalBlock;

use super::super::clearing::Clearing;
use super::operations::submit_error;
use super::{Core, Turn};
use crate::exchange::record::{NodeRecord, Submission};
use crate::service::{ErrorKind, ServiceError};

impl Core {
    /// Enters this brand's closing for a cut-off.
    ///
    /// # Errors
    /// When the cut-off has not passed.
    pub fn close(
        &mut self,
        cut_off: Timestamp,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), ServiceError> {
        if cut_off >= now {
            return Err(ServiceError::new(
                ErrorKind::Invalid,
                "cut_off_in_future",
                "the cut-off has not passed yet",
                "close after the cut-off; blocks may still be written before it",
            ));
        }
        if self.clearing.has_closed(cut_off) {
            return Ok(());
        }
        if let Some(last) = self.clearing.last_closed().filter(|last| cut_off < *last) {
            return Err(ServiceError::new(
                ErrorKind::Refused,
                "cut_off_superseded",
                format!("this brand has closed the later cut-off {}", last.unix_ms()),
                "the later statement counts everything before it as well: pay by that one",
            ));
        }
        if self.clearing.has_many_requests() {
            return Err(ServiceError::new(
                ErrorKind::Unavailable,
                "cut_offs_waiting",
                "many cut-offs wait to be closed already",
                "repeat it when blocks are certified again",
            ));
        }
        let new = self.clearing.request(cut_off);
        if !self.may_close(cut_off, turn) {
            if new {
                self.enter(NodeRecord::CloseRequested(cut_off), turn);
            }
            return Ok(());
        }
        let closed = self.enter_closing(cut_off, turn);
        if closed.is_err() {
            self.clearing.cannot_close(cut_off);
        }
        closed
    }

    /// Whether the own closing of a cut-off can be made now.
    fn may_close(&self, cut_off: Timestamp, turn: &Turn) -> bool {
        // a block that became final in this turn is open no more and not among the headers yet
        let own = |block: &FinalBlock| block.block.log == self.me();
        if !turn.out.written.is_empty() || turn.out.finals.iter().any(own) {
            return false;
        }
        let is_closing = |entry: &PublicEntry| matches!(entry, PublicEntry::Closing(_));
        let waits = |it: &Submission| matches!(it, Submission::Public(entry) if is_closing(entry));
        let open = self.ledger.writer().open_block();
        // a block that is open now may still count before the cut-off: it must be decided first; and a
        // restored node may not have its last blocks back yet. Of two closings the first is to be final first
        self.ledger.may_apply()
            && !self.ledger.writer().has_open_block_until(cut_off)
            && !self.book.waiting().any(waits)
            && !open.is_some_and(|block| block.public().iter().any(is_closing))
    }

    /// Enters this brand's closing for a cut-off.
    fn enter_closing(&mut self, cut_off: Timestamp, turn: &mut Turn) -> Result<(), ServiceError> {
        let too_old = || {
            ServiceError::new(
                ErrorKind::Refused,
                "cut_off_too_old",
                "the blocks around this cut-off are not at hand any more, or their sealing key was destroyed",
                "choose a later cut-off",
            )
        };
        let own = self.headers.get(&self.me());
        let earlier = |height| self.published.header(height).map(|it| (it.to_leaf().1, it));
        let last = Clearing::last_block(cut_off, own, earlier).map_err(|_| too_old())?;
        let contents = match &last {
            Some((_, header)) => self.published.contents(header.height).ok_or_else(too_old)?,
            None => Vec::new(),
        };
        let last = last.as_ref().map(|(id, header)| (header, *id));
        let mut closing = self.ledger.close(cut_off, last, &contents).map_err(|_| too_old())?;
        let closed = last.map(|(header, _)| header);
        let (me, constitutions) = (self.me(), self.ledger.constitutions());
        let absent = self.clearing.absent();
        let is_too_much = absent.is_too_much_to_say(me, closed, constitutions);
        closing.closed_out = absent.say_again(me, closed, constitutions);
        if is_too_much {
            self.alert(
                "more logs have ended than a closing says again: brands that joined since have no statement / \
                 已结束的账本超过结算声明可重述的数量：此后加入的品牌得不到结算单"
                    .to_owned(),
            );
        }
        let submission = Submission::Public(PublicEntry::Closing(closing));
        self.submit(submission, turn).map_err(submit_error)
    }

    /// Closes what is due: see [`Clearing::due`].
    pub(super) fn close_due(&mut self, now: Timestamp, turn: &mut Turn) {
        if self.ledger.is_closed(self.me()) || self.ledger.is_frozen(self.me()) {
            return;
        }
        if self.begun.is_none() && self.calendar.is_some() {
            self.begun = self.published.header(Height::new(1)).map(|header| header.time);
        }
        let due = self.clearing.due(now, self.calendar.as_ref(), self.begun);
        if let Some(cut_off) = due.filter(|cut_off| self.may_close(*cut_off, turn))
            && let Err(error) = self.enter_closing(cut_off, turn)
        {
            self.clearing.cannot_close(cut_off);
            let at = cut_off.unix_ms();
            self.alert(format!(
                "cut-off {at} cannot be closed: {error} / 清算截止 {at} 未能登记：{error}"
            ));
        }
    }

    pub(super) fn derive_statements(&mut self, turn: &mut Turn) {
        let Some(entries) = self.clearing.derive(self.ledger.constitutions()) else { return };
        for entry in entries {
            let submission = Submission::Public(PublicEntry::Statement(entry));
            if let Err(error) = self.submit(submission, turn) {
                self.alert_error(&error);
            }
        }
        self.clearing.note_change();
        // told again it changes nothing
        self.ledger.discharge(self.clearing.discharges());
        for fault in self.clearing.faults() {
            self.alert(fault);
        }
    }
}
