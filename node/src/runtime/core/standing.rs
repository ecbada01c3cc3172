//! How things stand: what this brand owes the others, and what an operator has to look at.

use std::collections::BTreeSet;

use protocol::amount::Value;
use protocol::ids::{BrandId, Height};
use protocol::time::{Milliseconds, Timestamp};
use protocol::witness::rules::{exact_exposure, public_exposure};

use super::{ANSWER_WITHIN, Core};
use crate::service::{ExposureView, ResidueView};

impl Core {
    /// What this brand owes each other.
    #[must_use]
    pub fn exposures(&self) -> Vec<ExposureView> {
        let constitution = self.ledger.constitution();
        let (Some(own), Some(brand)) =
            (self.ledger.witness(self.me()), constitution.brand(self.me()))
        else {
            return Vec::new();
        };
        let others = constitution.committee().witnesses(self.me());
        let view = others.map(|other| {
            let recognised = own.tip().recognised(other);
            let sent =
                self.ledger.writer().contents().get(&other).map_or(Value::ZERO, |it| it.sent);
            let received = self.ledger.witness(other).map_or(Value::ZERO, |it| it.content().sent);
            let public = own.tip().column(other).map_or(Value::ZERO, |column| {
                public_exposure(constitution.total_step(), column.sent, &recognised)
            });
            ExposureView {
                brand: other.to_string(),
                owed_micro_fen: exact_exposure(sent, received, &recognised).get(),
                public_micro_fen: public.get(),
                limit_micro_fen: brand.pair_limit.get(),
            }
        });
        view.collect()
    }

    /// What this brand keeps of others' debts because points are whole.
    #[must_use]
    pub fn residues(&self) -> Vec<ResidueView> {
        let residues = self.book.received().residues().iter();
        let view = residues.map(|(brand, micro_fen)| ResidueView {
            brand: brand.to_string(),
            micro_fen: u64::try_from(*micro_fen).unwrap_or(u64::MAX),
        });
        view.collect()
    }

    /// What an operator has to look at as long as it is so: disputes on record, payments of an agreed
    /// statement, brands that do not acknowledge what was said to them a day ago.
    #[must_use]
    pub fn standing_alerts(&self, now: Timestamp) -> Vec<String> {
        let mut alerts = self.disputes.alerts(self.me());
        alerts.extend(self.partner_alerts(now));
        alerts.extend(self.clearing.payment_alerts());
        for (other, since) in self.unacknowledged(now) {
            if self.has_ended(other) {
                continue;
            }
            let Some((height, _)) = since.filter(|(_, since)| *since > ANSWER_WITHIN) else {
                continue;
            };
            alerts.push(format!(
                "{other} has not acknowledged block {height} for more than 24 h: ask its operator / {other} \
                 超过24小时未确认区块 {height}：请联系其运营方"
            ));
        }
        alerts
    }

    /// Notes an error that an operator can do nothing about alone.
    pub fn alert_error(&mut self, error: &dyn std::fmt::Display) {
        self.alert(format!(
            "{error}: keep the node's log, and ask who supports it / \
             请保留节点的运行日志并联系技术支持：{error}"
        ));
    }

    /// Of each other brand: the first own block that said something to it and that it has not
    /// acknowledged, and for how long.
    pub fn unacknowledged(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = (BrandId, Option<(Height, Milliseconds)>)> {
        let own = self.headers.get(&self.me());
        self.ledger.constitution().committee().witnesses(self.me()).map(move |other| {
            let since = self.book.unanswered(other).map(|height| {
                // a header that is not at hand any more is older than all that are
                let at = own.and_then(|own| own.get(&height)).map(|(_, header)| header.time);
                (height, now.since(at.unwrap_or_default()))
            });
            (other, since)
        })
    }

    /// Brands whose logs said something to this node that cannot stand.
    #[must_use]
    pub fn disputed(&self) -> BTreeSet<BrandId> {
        self.ledger
            .witnesses()
            .filter(|(_, witness)| witness.is_disputed())
            .map(|(log, _)| log)
            .collect()
    }
}
