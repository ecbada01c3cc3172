//! What becomes final: own blocks go to the log's tiles and into the book, those of others are noted,
//! credited, and sent back where they credit nobody.

use std::collections::{BTreeMap, BTreeSet};

use protocol::exchange::{Payload, Return, ReturnReason};
use protocol::ids::{BrandId, LeafIndex};
use protocol::log::block::PublicEntry;
use protocol::log::dispute::DisputeOpened;
use protocol::time::Timestamp;
use protocol::witness::state::FinalBlock;

use super::super::clearing::PaymentStep;
use super::{Core, HEADERS_KEPT, Headers, NotCredited, Turn, TurnError, is_exchange};
use crate::cleanroom::CertifiedApplication;
use crate::exchange::book::{BookError, FormerExchange, LinkAnswer};
use crate::exchange::record::{Applied, Credit, NodeRecord, Owned, Submission};
use crate::vault::{LinkCode, LinkError, VaultError};

impl Core {
    /// Own final blocks go to the log's tiles and into the book. Gives the exchanges of a former life.
    pub(super) fn write_own(&mut self, turn: &mut Turn) -> Result<Vec<FormerExchange>, TurnError> {
        let mut all_former = Vec::new();
        for block in std::mem::take(&mut turn.out.written) {
            let certified = turn
                .out
                .finals
                .iter()
                .find(|known| known.block == block.reference())
                .map(|known| (known.certificate.clone(), known.header.time));
            let reference = block.reference();
            let uncertified = || TurnError::Uncertified(reference.height);
            let (certificate, time) = certified.ok_or_else(uncertified)?;
            self.published.append(&block, &certificate)?;
            let exchanges =
                block.payloads().iter().filter(|sent| is_exchange(&sent.payload)).count();
            self.stood += u64::try_from(exchanges).unwrap_or(0);
            let until = self.terms(&reference, time).until;
            let (former, entered) = self.book.written(&block, (time, until), &mut self.points);
            match entered {
                Ok(()) => {}
                // a replay does not ask again
                Err(error @ BookError::Cold(_)) => return Err(error.into()),
                Err(error) => self.alert_error(&error),
            }
            all_former.extend(former);
        }
        Ok(all_former)
    }

    /// Whose exchanges of a former life were, as far as the vault knows.
    pub(super) fn enter_owners(&mut self, former: &[FormerExchange], turn: &mut Turn) {
        let mut owned = Vec::new();
        for exchange in former {
            match self.vault.outgoing_member(exchange.to, exchange.handle) {
                Ok(Some(member)) => owned.push(Owned { leaf: exchange.leaf, member }),
                Ok(None) => {}
                Err(error) => self.failure = Some(error.into()),
            }
        }
        if !owned.is_empty() {
            self.enter(NodeRecord::Owned(owned), turn);
        }
    }

    /// Final blocks of others that came before it was known what this node itself had made of them.
    pub(super) fn apply_what_waited(&mut self, now: Timestamp, turn: &mut Turn) {
        if !self.unapplied.is_empty() && self.ledger.may_apply() {
            for (_, block) in std::mem::take(&mut self.unapplied) {
                self.apply(block, now, turn);
            }
        }
    }

    /// Takes note of what a final block says in public; gives the entries of applications.
    pub(super) fn note_final(&mut self, block: &FinalBlock) -> Vec<CertifiedApplication> {
        let log = block.block.log;
        self.clearing.header(&block.header);
        if let Some(violation) = &block.unsound {
            let words = format!(
                "log {log}, block {} is certified and breaks rule {}: more brands than may have failed or lied; audit the logs ({violation}) / {log} 的区块 {} 已认证但违反规则 {}：出错或作恶的品牌可能超过可容忍数，请审计账本",
                block.block.height,
                violation.number(),
                block.block.height,
                violation.number()
            );
            self.alert(words);
        }
        let known = self.headers.entry(log).or_default();
        known.insert(block.block.height, (block.block.header, block.header.clone()));
        while known.len() > HEADERS_KEPT {
            known.pop_first();
        }
        let mut closings = block.public.iter().filter_map(|(_, public)| match public {
            PublicEntry::Closing(closing) => Some(closing),
            _ => None,
        });
        // one a block counts: looking its block up may take a read of the disk
        if let Some(closing) = closings.next() {
            let past = Headers {
                latest: &self.headers,
                published: &self.published,
                fragments: self.fragments.as_ref(),
                me: self.ledger.me(),
            };
            let known = self.ledger.constitutions();
            let at = |height| past.at(log, height);
            if let Err(error) = self.clearing.closing(log, closing, known, at) {
                let at = closing.cut_off.unix_ms();
                self.alert(format!(
                    "cut-off {at}: the closing of {log} does not stand ({error}) / {log} 在 {at} 的清算登记不成立"
                ));
            }
        }
        let mut ended = BTreeSet::new();
        for (index, public) in &block.public {
            if log == self.ledger.me() {
                self.kept.written(*index, public);
            }
            match public {
                PublicEntry::Statement(statement) => self.clearing.statement(log, statement),
                PublicEntry::Settled(payment) => {
                    self.clearing.payment(log, PaymentStep::Settled, payment);
                }
                PublicEntry::SettlementConfirmed(payment) => {
                    self.clearing.payment(log, PaymentStep::Confirmed, payment);
                }
                PublicEntry::DisputeOpened(dispute) => self.dispute_opened(log, dispute),
                PublicEntry::DisputeResolved(resolution) => {
                    self.disputes.resolution(log, resolution);
                }
                // who joined later has no state of a log that had ended, and counts what is closed out
                PublicEntry::ClosedOut(entry)
                    if self.ledger.constitutions().have(entry.log) && ended.insert(entry.log) =>
                {
                    let by = (log, block.block.height);
                    self.clearing.closed_out(by, entry, self.ledger.constitutions());
                }
                _ => {}
            }
        }
        if let Some(dispute) = &block.dispute {
            self.disputes.found(dispute);
        }
        let applications = CertifiedApplication::of(block).filter(CertifiedApplication::reads);
        let applications: Vec<_> = applications.collect();
        applications.iter().cloned().for_each(|entry| self.applications.push(entry));
        applications
    }

    /// A certified dispute counts when it is about a block of another brand that there is, as far as is known
    /// here: a log may be ahead of what has come of it.
    fn dispute_opened(&mut self, accuser: BrandId, dispute: &DisputeOpened) {
        let log = dispute.log;
        let Some(witness) = self.ledger.witness(log).filter(|_| log != accuser) else { return };
        let is_ahead = log == self.me() && dispute.height > witness.tip().height;
        let known = self.headers.get(&log).and_then(|known| known.get(&dispute.height));
        let is_another = known.is_some_and(|(id, _)| *id != dispute.block);
        if dispute.height.get() > 0 && !is_ahead && !is_another {
            self.disputes.certified(accuser, dispute);
        }
    }

    /// A final block of another log: credits what it sends, sends back what cannot be credited.
    pub(super) fn apply(&mut self, block: FinalBlock, now: Timestamp, turn: &mut Turn) {
        let (log, height) = (block.block.log, block.block.height);
        if !self.ledger.may_apply() {
            self.unapplied.insert((log, height), block);
            return;
        }
        let own = self.ledger.witness(self.me());
        let recognised = own.map(|own| own.tip().recognised(log).height).unwrap_or_default();
        if height <= recognised {
            return self.apply_again(block, now, turn);
        }
        let payloads = match &block.payloads {
            Ok(payloads) => payloads.as_slice(),
            Err(violation) => {
                self.alert(format!(
                    "log {log} is in dispute since block {height}: {violation} / \
                     账本 {log} 自区块 {height} 起有争议：{violation}"
                ));
                &[]
            }
        };
        let (mut credits, mut returns) = (Vec::with_capacity(payloads.len()), Vec::new());
        let mut taken = BTreeMap::new();
        for (leaf, payload) in payloads {
            let received = self.receive(log, *leaf, payload, now).and_then(|credit| match credit {
                Some(it) if !self.points.takes(&mut taken, it.member, it.points) => {
                    Err(NotCredited::Back(ReturnReason::ReceiverLimit))
                }
                credit => Ok(credit),
            });
            match received {
                Ok(Some(credit)) => credits.push(credit),
                Ok(None) => {}
                Err(NotCredited::Failed(error)) => {
                    self.failure = Some(error.into());
                    return;
                }
                Err(NotCredited::Back(reason)) => {
                    returns.extend(Return::whole(*leaf, reason, payload));
                }
            }
        }
        let former = None;
        let applied = Applied { log, height, credits, returns: returns.clone(), at: now, former };
        let terms = self.terms(&block.block, block.header.time);
        match self.book.apply(self.me(), &block, &applied, terms, &mut self.points) {
            Ok(answers) => self.answer_links(&answers, now),
            Err(error @ BookError::Cold(_)) => {
                self.failure = Some(error.into());
                return;
            }
            Err(error) => self.alert_error(&error),
        }
        turn.record(NodeRecord::Applied(applied));
        for back in &returns {
            let submission = Submission::Sealed(log, Payload::Return(back.clone()));
            self.enter(NodeRecord::Submitted(submission), turn);
        }
        if let Err(error) = self.ledger.applied(log, returns, !payloads.is_empty()) {
            self.alert_error(&error);
        }
    }

    /// A block that the own log has recognised before this node was rebuilt or restored: what was made of
    /// it stands in the own log, and only whom it credited is asked.
    fn apply_again(&mut self, block: FinalBlock, now: Timestamp, turn: &mut Turn) {
        let (log, height) = (block.block.log, block.block.height);
        let mut credits = Vec::new();
        for (leaf, payload) in block.payloads.as_deref().unwrap_or_default() {
            let Payload::Exchange(exchange) = payload else { continue };
            match self.vault.standing_by_handle(log, exchange.handle) {
                Ok(Some(standing)) => {
                    let (leaf, member) = (*leaf, standing.member);
                    credits.push(Credit { leaf, member, points: exchange.received });
                }
                Err(error) if error.is_outage() => {
                    self.failure = Some(error.into());
                    return;
                }
                // not linked here, or no member any more
                Ok(None) | Err(_) => {}
            }
        }
        let (returns, former) = (Vec::new(), Some(true));
        let applied = Applied { log, height, credits, returns, at: now, former };
        let terms = self.terms(&block.block, block.header.time);
        match self.book.apply(self.me(), &block, &applied, terms, &mut self.points) {
            Ok(answers) => self.answer_links(&answers, now),
            Err(error @ BookError::Cold(_)) => {
                self.failure = Some(error.into());
                return;
            }
            Err(error) => self.alert_error(&error),
        }
        turn.record(NodeRecord::Applied(applied));
    }

    /// One payload of another brand's: whom it credits, or why it goes back.
    pub(super) fn receive(
        &self,
        from: BrandId,
        leaf: LeafIndex,
        payload: &Payload,
        now: Timestamp,
    ) -> Result<Option<Credit>, NotCredited> {
        use NotCredited::{Back, Failed};
        let closed = |error: VaultError| match error.is_outage() {
            true => Failed(error),
            false => Back(ReturnReason::AccountClosed),
        };
        match payload {
            Payload::Link(link) => {
                let code: LinkCode = link.code.parse().map_err(|_| Back(ReturnReason::LinkCode))?;
                self.vault.accept_link(&code, from, link.handle, now).map(|_| None).map_err(
                    |error| match error {
                        LinkError::Vault(error) if error.is_outage() => Failed(error),
                        _ => Back(ReturnReason::LinkCode),
                    },
                )
            }
            Payload::Exchange(exchange) => {
                let standing = self
                    .vault
                    .standing_by_handle(from, exchange.handle)
                    .map_err(closed)?
                    .ok_or(Back(ReturnReason::NotLinked))?;
                if !standing.may_exchange {
                    return Err(Back(ReturnReason::AccountClosed));
                }
                let member = standing.member;
                Ok(Some(Credit { leaf, member, points: exchange.received }))
            }
            Payload::Return(_) => Ok(None),
            // a link that is not there any more is dropped already
            Payload::Unlink(unlink) => match self.vault.drop_incoming(from, unlink.handle) {
                Ok(_) => Ok(None),
                Err(error) => Err(Failed(error)),
            },
        }
    }

    pub(super) fn answer_links(&mut self, answers: &[LinkAnswer], now: Timestamp) {
        for answer in answers {
            let member = self.vault.outgoing_member(answer.brand, answer.handle);
            let done = match member {
                Ok(None) => Ok(()),
                Ok(Some(member)) if answer.accepted => {
                    self.vault.confirm_link(member, answer.brand, now)
                }
                Ok(Some(member)) => self.vault.return_link(member, answer.brand, now),
                Err(error) => Err(error),
            };
            match done {
                // a replay does not answer again: without this the answer would be lost
                Err(error) if error.is_outage() => self.failure = Some(error.into()),
                Err(error) => self.alert(format!(
                    "a link's answer could not be entered: {error} / 关联会员的答复未能录入：{error}"
                )),
                Ok(()) => {}
            }
        }
    }
}
