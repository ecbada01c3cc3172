//! Rules 8, 10 and 12: what is certified, caught up with, and replayed.

use super::blocks::How;
use super::{FinalBlock, Outbox, Received, Surroundings, Witness};
use crate::constitution::Constitution;
use crate::epochs::LogHead;
use crate::epochs::adoption;
use crate::ids::{BrandId, HeaderHash, LeafIndex, Round};
use crate::log::block::{ColumnContent, ColumnOpening, Header, Recognised};
use crate::log::dispute::{DisputeEvidence, DisputeOpened};
use crate::recovery::held::HeldBlock;
use crate::witness::closing;
use crate::witness::dispute::Dispute;
use crate::witness::guards::{Guard, Guards};
use crate::witness::message::CertifiedBlock;
use crate::witness::record::Record;
use crate::witness::rules::{Tip, Violation};
use crate::witness::statement::Certificate;

impl<G: Guards> Witness<G> {
    /// Takes the block with which a log begins for a brand that joined with it.
    pub fn headed(&mut self, before: &Constitution, head: LogHead, out: &mut Outbox) {
        let Ok((checked, tip)) = head.verify(before) else { return };
        let switched = adoption::switch([checked.entry()]).map(|draft| draft.epoch);
        if !self.awaiting || tip.height.get() == 0 || checked.header().log != self.log {
            return;
        }
        if switched == Some(self.epoch) {
            self.awaiting = false;
            self.tip = tip;
            self.certificate = Some(checked.certificate().clone());
            self.header_leaf = Some(head.entry.header.clone());
            out.records.push(Record::Headed(Box::new(head)));
        }
    }

    /// Rule 8: a certificate is accepted in any state; the block it names must be at hand.
    pub fn certified(&mut self, certificate: Certificate, out: &mut Outbox) {
        let block = certificate.block();
        if block.log != self.log || block.height <= self.tip.height {
            return;
        }
        if self.awaiting {
            return self.ask_for_blocks(out);
        }
        if Some(block.height) != self.tip.height.next()
            || block.header != HeaderHash::NOTHING && !self.received.contains_key(&block.header)
        {
            return self.ask_for_blocks(out);
        }
        out.records.push(Record::Final(certificate.as_unverified().clone()));
        self.conclude(certificate, out);
    }

    /// A block is final, or the log is closed without one.
    pub(super) fn conclude(&mut self, certificate: Certificate, out: &mut Outbox) {
        if closing::is_last(certificate.pledge().round) {
            self.closing = Some(certificate.clone());
        }
        if certificate.block().header != HeaderHash::NOTHING {
            self.finish(certificate, out);
        }
    }

    /// Rule 10: takes a final block that was missed.
    pub fn caught_up(
        &mut self,
        at: &Surroundings<'_>,
        block: CertifiedBlock,
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        let reference = block.certificate.pledge.block;
        let follows = Some(reference.height) == self.tip.height.next();
        if reference.log != self.log || !follows || self.awaiting {
            return Ok(());
        }
        let certificate = block.certificate.clone().verify_under::<G>(at.constitution);
        let Ok(certificate) = certificate else {
            return Ok(());
        };
        // what was received before was checked; this delivery of it would not be
        if self.received.contains_key(&reference.header) {
            out.records.push(Record::Final(certificate.as_unverified().clone()));
        } else {
            self.receive(at, &reference, &block.delivery, How::Late)?;
            self.record_opening(reference.header, out);
            out.records.push(Record::CaughtUp(Box::new(block)));
        }
        self.conclude(certificate, out);
        Ok(())
    }

    fn finish(&mut self, certificate: Certificate, out: &mut Outbox) {
        let block = certificate.block();
        let Some(received) = self.received.remove(&block.header) else { return };
        let Received { header, frontier, public, proven, column, opening, salvaged, .. } = received;
        let (offered, unsound) = (received.offered, received.unsound);
        let committed = received.committed;
        // it was read as an offer, and this brand has agreed to another since: what is not in dispute is not
        // restated
        let (column, salvaged) = match column {
            Ok((payloads, _)) if offered.is_some() && self.dispute.is_none() => {
                (Err(Violation::ExactTotals { counterparty: self.log }), payloads)
            }
            column => (column, salvaged),
        };
        let (fragment, unread) = (received.fragment, received.unread);
        self.stances.certified(&header, &certificate, proven);
        if let Some(draft) = adoption::switch(public.iter().map(|(_, entry)| entry)) {
            self.epoch = draft.epoch;
        }
        self.tip = Tip::after(&header, block.header, frontier);
        self.certificate = Some(certificate.clone());
        let leaf = header.to_leaf().0;
        if let Some(fragment) = fragment {
            let certificate = Some(certificate.as_unverified().clone());
            out.held.push(HeldBlock { header: leaf.clone(), certificate, fragment });
        }
        self.header_leaf = Some(leaf);
        self.joined = Round::new(0);
        self.nonce = None;
        self.votes.clear();
        self.lock = None;
        self.received.clear();
        self.opened.clear();
        let before = self.opened();
        if let Some(opening) = &opening {
            self.salt = header.context().totals_salt(&opening.key);
        }
        self.taken = 0;
        self.watch.forget_below(block.height);
        self.note_all(certificate.as_unverified().said(), out);
        let mut last = FinalBlock {
            block,
            header,
            certificate,
            public,
            payloads: Ok(Vec::new()),
            dispute: None,
            unsound,
        };
        last.payloads = match (&mut self.dispute, column) {
            (None, Ok((payloads, content))) => {
                self.content = content;
                self.unread = unread;
                Ok(payloads)
            }
            (None, Err(violation)) => {
                let rule = violation.number();
                let opened = opening.as_ref();
                last.dispute =
                    Some(self.opened_dispute(&last.header, block.header, rule, opened, before));
                let mut dispute = Box::new(Dispute::new(&last.header, rule, before, committed));
                dispute.take(&last, None, Err(()), salvaged);
                self.dispute = Some(dispute);
                Err(violation)
            }
            (Some(_), Ok((payloads, content))) if G::allow(Guard::DisputeStands, false) => {
                self.content = content;
                self.unread = unread;
                Ok(payloads)
            }
            // it credits only a chain that continues what it verified, or what both sides agreed on
            (Some(dispute), column) => {
                let offered = offered.map(|offered| *offered);
                let failed = column.as_ref().err().cloned();
                match column {
                    Ok((payloads, content)) if !unread => {
                        dispute.take(&last, offered, Ok(content), payloads)
                    }
                    // what could not be read is not what continues it
                    _ => dispute.take(&last, offered, Err(()), salvaged),
                }
                Err(failed.unwrap_or(Violation::ExactTotals { counterparty: self.log }))
            }
        };
        out.finals.push(last);
    }

    /// What goes on record when a final block fails this node's own checks: with the column as it was
    /// opened and the totals before it, everyone can run them again. Who could not read the block before
    /// has no totals to show.
    fn opened_dispute(
        &self,
        header: &Header,
        block: HeaderHash,
        rule: u16,
        opening: Option<&ColumnOpening>,
        before: Option<(ColumnContent, [u8; 32])>,
    ) -> Box<DisputeOpened> {
        let content = opening.map(|opening| opening.content);
        let offset = content.map_or(0, |content| u64::from(content.first));
        Box::new(DisputeOpened {
            log: self.log,
            height: header.height,
            block,
            first: LeafIndex::new(header.first.get().saturating_add(offset)),
            count: content.map_or(0, |content| content.count),
            rule,
            evidence: opening.zip(before).map(|(opening, (before, salt))| DisputeEvidence {
                opening: opening.to_bytes(),
                before,
                salt,
            }),
        })
    }

    /// What the own node recognises when it has applied everything up to the tip.
    #[must_use]
    pub fn recognisable(&self, me: BrandId) -> Option<Recognised> {
        let column = self.tip.columns.iter().find(|column| column.counterparty == me)?;
        Some(Recognised {
            height: self.tip.height,
            block: self.tip.header,
            sent: column.sent,
            discharged: column.discharged,
        })
    }

    /// Brings the state to where a record of this log left it. Records come from this node's own
    /// journal, in order; what does not fit is a fault of the journal, told as a violation.
    ///
    /// # Errors
    /// When a recorded block cannot be read again.
    pub fn replay(
        &mut self,
        at: &Surroundings<'_>,
        record: &Record,
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        match record {
            Record::Joined(joined) if Some(joined.height) == self.tip.height.next() => {
                self.joined = joined.round;
                self.nonce = Some(joined.nonce);
            }
            Record::Voted(voted) if self.is_open(&voted.pledge) => {
                if let Some(delivery) = &voted.delivery {
                    self.receive(at, &voted.pledge.block, delivery, How::Late)?;
                    self.keep_delivery(voted.pledge.block.header, delivery);
                    self.taken = self.taken.saturating_add(1);
                }
                self.vote(voted.pledge, voted.nonce);
            }
            Record::Locked(lock) if self.is_open(&lock.pledge) => {
                if let Ok(lock) = lock.clone().verify(at.constitution) {
                    self.hold(lock, &mut Outbox::default());
                }
            }
            Record::Final(certificate) if self.is_open(&certificate.pledge) => {
                if let Ok(certificate) = certificate.clone().verify_under::<G>(at.constitution) {
                    self.conclude(certificate, out);
                }
            }
            Record::CaughtUp(block) => {
                let mut replayed = Outbox::default();
                self.caught_up(at, (**block).clone(), &mut replayed)?;
                out.finals.append(&mut replayed.finals);
                out.held.append(&mut replayed.held);
            }
            Record::Opened(opened) => {
                if let Some(opening) = ColumnOpening::from_bytes(&opened.opening) {
                    self.opened.insert(opened.block, opening);
                }
            }
            Record::Built(block) => self.receive_own(at, block)?,
            Record::Rebuilt(rebuilt) => {
                let certificate = rebuilt.certificate.clone();
                let certificate = certificate.map(|it| it.verify(at.constitution)).transpose();
                let certificate = certificate.map_err(|_| Violation::Previous)?;
                self.rebuilt(at, &rebuilt.block, certificate, out)?;
            }
            Record::Proposed(pledge) if self.is_open(pledge) => self.vote(*pledge, self.nonce),
            Record::Headed(head) => {
                let before = at.constitutions.before(self.epoch);
                if let Some(before) = before {
                    self.headed(before, (**head).clone(), &mut Outbox::default());
                }
            }
            Record::Delivered(delivered) => {
                let (restored, offered) = (delivered.restored, delivered.offered);
                let how = How::Again { restored, offered };
                self.receive(at, &delivered.block, &delivered.delivery, how)?;
                self.keep_delivery(delivered.block.header, &delivered.delivery);
            }
            // of a height that is final by now
            Record::Joined(_)
            | Record::Voted(_)
            | Record::Locked(_)
            | Record::Final(_)
            | Record::Proposed(_) => {}
            // about this node as a whole, its writer, or taken up by the ledger
            Record::NodeState(_)
            | Record::LogState(_)
            | Record::WriterState(_)
            | Record::Withheld(_)
            | Record::Started(_)
            | Record::Heard(_)
            | Record::Restored(_)
            | Record::Fenced(_)
            | Record::Kept(_) => {}
        }
        Ok(())
    }
}
