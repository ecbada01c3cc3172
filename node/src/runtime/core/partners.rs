//! Partners whose logs are frozen, closed or ended, and what this node does about it: it takes part in
//! closing them when its operator or a constitution says so, gives its members back what can never arrive,
//! and enters what the pair's totals are for good.

use protocol::amount::Value;
use protocol::ids::{BrandId, Height};
use protocol::log::block::PublicEntry;
use protocol::time::Timestamp;
use protocol::witness::rules::exact_exposure;

use super::{ANSWER_WITHIN, Core, NodeRecord, Submission, Turn};
use crate::exchange::record::Ended;
use crate::service::{Bilingual, ErrorKind, PartnerView, ServiceError};

impl Core {
    /// Whether a brand's log has ended: nothing can be sent there any more.
    #[must_use]
    pub fn has_ended(&self, brand: BrandId) -> bool {
        self.book.ended(brand).is_some()
    }

    /// That something can still be sent to a brand.
    ///
    /// # Errors
    /// When its log has ended.
    pub(super) fn require_running(&self, brand: BrandId) -> Result<(), ServiceError> {
        if !self.has_ended(brand) {
            return Ok(());
        }
        Err(ServiceError::new(
            ErrorKind::Refused,
            "brand_ended",
            format!("the log of {brand} has ended: nothing can be sent there any more"),
            "links to it have ended; other brands still exchange",
        ))
    }

    /// This brand agrees that a log be closed for good.
    ///
    /// # Errors
    /// When its writer is not proved to have lied, and no constitution ends it.
    pub fn agree_to_close(
        &mut self,
        brand: &str,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<PartnerView, ServiceError> {
        let log = self.partner(brand)?;
        if self.ledger.constitution().committee().size() == 2 {
            return Err(ServiceError::new(
                ErrorKind::Refused,
                "nobody_to_close",
                "of two brands neither can close the other's log: a quorum is both",
                "what was sent stays bound; agree with the other brand outside, or give members points \
                 at this brand's own cost",
            ));
        }
        if !self.ledger.agree_to_close(log, &mut turn.out) {
            return Err(ServiceError::new(
                ErrorKind::Refused,
                "log_not_frozen",
                format!(
                    "{log} is not proved to have lied, and no adopted constitution ends its log"
                ),
                "a brand that failed is frozen by a constitution that a quorum adopts",
            ));
        }
        self.partner_view(log, now).ok_or_else(super::internal)
    }

    /// Another brand whose log this node follows, also when it has left the alliance.
    fn partner(&self, brand: &str) -> Result<BrandId, ServiceError> {
        let known = BrandId::new(brand).ok().filter(|log| *log != self.me());
        match known.filter(|log| self.ledger.witness(*log).is_some()) {
            Some(log) => Ok(log),
            None => self.counterparty(brand),
        }
    }

    /// After every turn: what follows from logs that have ended.
    pub(super) fn end_partners(&mut self, now: Timestamp, turn: &mut Turn) {
        // a restored node closes nothing out before its own log says what it has closed out already
        if !self.ledger.may_apply() {
            return;
        }
        let me = self.me();
        let others = self.ledger.witnesses().map(|(log, _)| log).filter(|log| *log != me);
        let ended = others.filter_map(|log| Some((log, self.ledger.recognised_at_end(log)?)));
        for (log, read) in ended.collect::<Vec<(BrandId, Height)>>() {
            if self.book.ended(log).is_none() {
                let ended = Ended { log, read, at: now };
                let answers = self.book.links_void_by(&ended);
                self.enter(NodeRecord::Ended(ended), turn);
                self.answer_links(&answers, now);
            }
            if !self.clearing.absent().has_closed_out(me, log)
                && !self.not_closed_out.contains(&log)
                && !self.is_closing_out(log)
            {
                self.close_out(log, read, turn);
            }
        }
    }

    fn is_closing_out(&self, log: BrandId) -> bool {
        let closes =
            |entry: &PublicEntry| matches!(entry, PublicEntry::ClosedOut(it) if it.log == log);
        let waits =
            |known: &Submission| matches!(known, Submission::Public(entry) if closes(entry));
        let open = self.ledger.writer().open_block();
        self.book.waiting().any(waits)
            || open.is_some_and(|block| block.public().iter().any(closes))
    }

    fn close_out(&mut self, log: BrandId, read: Height, turn: &mut Turn) {
        let header = self.published.header(read);
        let contents = self.published.contents(read);
        let opened = match (read.get(), &header, &contents) {
            (0, ..) => None,
            (_, Some(header), Some(contents)) => {
                Some((header, header.to_leaf().1, contents.as_slice()))
            }
            _ => {
                let words = format!(
                    "block {read}, the last that {log} recognised, cannot be read: {log} cannot be closed out / \
                     {log} 最后确认的区块 {read} 无法读取，无法了结"
                );
                return self.alert(words);
            }
        };
        let after = (self.book.void_to(log), self.book.returned_late_to(log));
        match self.ledger.close_out(log, opened, after) {
            Ok(entry) => {
                if let Err(error) = self.submit(Submission::Public(entry), turn) {
                    self.alert_error(&error);
                }
            }
            // what is on its way is final soon
            Err(protocol::ledger::CloseOutError::OnItsWay) => {}
            Err(error) => {
                self.alert(format!(
                    "{log} cannot be closed out: {error} / 无法了结 {log}：{error}"
                ));
            }
        }
    }

    /// Every other brand, as this one deals with it.
    #[must_use]
    pub fn partner_views(&self, now: Timestamp) -> Vec<PartnerView> {
        let logs = self.ledger.witnesses().map(|(log, _)| log);
        let others = logs.filter(|log| *log != self.me());
        others.filter_map(|log| self.partner_view(log, now)).collect()
    }

    fn partner_view(&self, log: BrandId, now: Timestamp) -> Option<PartnerView> {
        let witness = self.ledger.witness(log)?;
        let me = self.me();
        let offence = self.ledger.cases().iter().find(|case| case.proven.accused() == log);
        let offence = offence.map(|case| case.proven.offence().name().to_owned());
        let absent = self.clearing.absent();
        let removed = self.ledger.removed_from(log);
        let closing = self.ledger.agrees_to_close(log)
            || removed.is_some_and(|from| from.plus(protocol::ledger::CLOSE_AFTER) <= now);
        let state = if absent.has_closed_out(me, log) {
            "closed_out"
        } else if self.ledger.is_closed(log) {
            "closed"
        } else if closing {
            "closing"
        } else if removed.is_some() {
            "removed"
        } else if self.ledger.is_frozen(log) {
            "frozen"
        } else if witness.is_disputed() {
            "disputed"
        } else {
            "running"
        };
        let recognised = self.ledger.witness(me)?.tip().recognised(log);
        let sent = self.ledger.writer().contents().get(&log).map_or(Value::ZERO, |it| it.sent);
        let (sent, received) = absent.pair(me, log).unwrap_or((sent, witness.content().sent));
        let own = self.ledger.witness(me)?.tip().column(log).map(|column| column.discharged);
        let theirs = witness.tip().recognised(me);
        let mirrored =
            protocol::log::block::Recognised { discharged: own.unwrap_or_default(), ..theirs };
        let mut next = partner_step(state, log);
        let unacknowledged = self.unacknowledged(now).find(|(other, _)| *other == log);
        let unacknowledged = unacknowledged.and_then(|(_, since)| since);
        let silent =
            !self.has_ended(log) && unacknowledged.is_some_and(|(_, since)| since > ANSWER_WITHIN);
        if let Some((height, _)) = unacknowledged.filter(|_| silent && state == "running") {
            next = silent_step(height);
        }
        Some(PartnerView {
            brand: log.to_string(),
            state: state.to_owned(),
            evidence: offence,
            removed_from_ms: removed.map(Timestamp::unix_ms),
            height: witness.tip().height.get(),
            recognised_there: theirs.height.get(),
            sent_micro_fen: sent.get(),
            received_micro_fen: received.get(),
            void_micro_fen: self.book.void_to(log).get(),
            we_owe_micro_fen: exact_exposure(sent, received, &recognised).get(),
            they_owe_micro_fen: exact_exposure(received, sent, &mirrored).get(),
            paid_to_them_micro_fen: absent.paid(me, log).get(),
            paid_by_them_micro_fen: absent.paid(log, me).get(),
            unacknowledged_since_ms: unacknowledged
                .map(|(_, since)| now.unix_ms().saturating_sub(since.get())),
            silent,
            suspended_for: None,
            readmission_agreed_by: Vec::new(),
            next,
        })
    }

    /// What an operator has to look at about partners.
    pub(super) fn partner_alerts(&self, now: Timestamp) -> Vec<String> {
        let quiet = ["running", "disputed", "closed_out"];
        let views = self.partner_views(now).into_iter();
        let open = views.filter(|view| !quiet.contains(&view.state.as_str()));
        let words = open.map(|view| {
            let PartnerView { brand, next, .. } = view;
            format!("{brand}: {} / {brand}：{}", next.en, next.zh)
        });
        words.collect()
    }
}

/// The same about one that acknowledges nothing any more.
fn silent_step(height: Height) -> Bilingual {
    Bilingual {
        zh: format!("超过24小时未确认区块 {height}：请联系其运营方"),
        en: format!("it has not acknowledged block {height} for more than 24 h: ask its operator"),
    }
}

/// What the operator of this brand can do next about a partner.
fn partner_step(state: &str, log: BrandId) -> Bilingual {
    let (en, zh) = match state {
        "frozen" => (
            format!(
                "its log is proved to contradict itself and gets no vote of this node; compare with the other operators, then `coalition partner close --brand {log}`"
            ),
            format!(
                "其账本被证明自相矛盾，本节点不再投票；请与其他运营方核对后执行 coalition partner close --brand {log}"
            ),
        ),
        "removed" => (
            format!(
                "a constitution ends its log; the others close it an hour after that takes effect, or at once by `coalition partner close --brand {log}`"
            ),
            format!(
                "章程规定其账本终止；生效一小时后由其他品牌关闭，或立即执行 coalition partner close --brand {log}"
            ),
        ),
        "closing" => (
            "this brand agrees that its log be closed; it is when a quorum does".to_owned(),
            "本品牌同意关闭其账本；达到法定数量的品牌同意后关闭".to_owned(),
        ),
        "closed" => (
            "its log has ended; this brand enters what the totals are for good".to_owned(),
            "其账本已终止；本品牌正在登记最终总额".to_owned(),
        ),
        "closed_out" => (
            "what is owed stays in every statement until it is paid or a constitution writes it off".to_owned(),
            "所欠金额保留在每期清算单中，直至付清或由章程核销".to_owned(),
        ),
        "disputed" => (
            "its log is in dispute: see `coalition dispute list`".to_owned(),
            "其账本有争议：见 coalition dispute list".to_owned(),
        ),
        _ => ("nothing is to be done".to_owned(), "无需处理".to_owned()),
    };
    Bilingual { zh, en }
}
