//! What a counterfeiter says of disputes and of partners that are gone: terms that its accusers can agree to,
//! terms that nobody can, partners closed out that live.

use protocol::amount::Value;
use protocol::exchange::Payload;
use protocol::ids::{BrandId, Height, LeafIndex};
use protocol::ledger::Ledger;
use protocol::log::block::{ColumnContent, Header, PublicEntry};
use protocol::log::closed_out::{ClosedOut, OpenedColumn};
use protocol::log::resolution::{DisputeResolved, runs};
use protocol::witness::ending::LogEnd;
use protocol::witness::guards::Guards;
use protocol::witness::message::CertifiedHeader;

use super::counterfeiter::Counterfeiter;

impl Counterfeiter {
    /// Terms for someone who takes nothing of this log any more: mostly such that they can be agreed to.
    pub(super) fn offer<G: Guards>(&mut self, ledger: &Ledger<G>) -> Option<PublicEntry> {
        // who has recognised the log beyond it has agreed; at times that is forgotten
        let forgets = self.prng.below(8) == 0;
        let me = self.me;
        self.disputes.retain(|accuser, began| {
            let of = ledger.witness(*accuser).map(|it| it.tip().recognised(me).height);
            forgets || of < Some(*began)
        });
        let pick = self.prng.below(self.disputes.len());
        let (accuser, began) = self.disputes.iter().nth(pick).map(|(who, at)| (*who, *at))?;
        let (before, salt) = self.before(ledger, accuser, began)?;
        let void_all = self.prng.below(3) == 0;
        let mut stands: Vec<LeafIndex> = Vec::new();
        let (mut counted, mut entries) = (Value::ZERO, before.entries);
        let skipped = usize::try_from(began.get().saturating_sub(1)).ok()?;
        for (block, _, constitution) in self.finals.iter().skip(skipped) {
            for sent in block.payloads().iter().filter(|sent| sent.to == accuser) {
                entries += 1;
                let Payload::Exchange(exchange) = &sent.payload else { continue };
                if !void_all && exchange.check(constitution, (self.me, accuser)).is_ok() {
                    stands.push(sent.index);
                    counted = counted.plus(exchange.owed).ok()?;
                }
            }
        }
        let content = self.contents.get(&accuser).map_or(Value::ZERO, |content| content.sent);
        let shown = self.tip.column(accuser).map_or(Value::ZERO, |column| column.sent);
        let void = content.max(shown).saturating_minus(before.sent).saturating_minus(counted);
        let mut terms = DisputeResolved {
            accused: self.me,
            accuser,
            began,
            last: self.tip.height,
            block: self.tip.header,
            before,
            salt,
            stands: runs(stands),
            counted,
            void,
            entries,
        };
        // one micro-fen more than the leaves are worth, or from another total, or as if what the block with
        // them says, or the last one did, were not counted beside them
        match self.prng.below(8) {
            0 => {
                let one = Value::new(1).ok()?;
                terms.counted = counted.plus(one).ok()?;
                terms.void = void.saturating_minus(one);
            }
            1 => terms.salt[0] ^= 1,
            2 => terms.last = terms.last.next()?,
            3 => terms.last = Height::new(terms.last.get().checked_sub(1)?).max(began),
            _ => {}
        }
        Some(PublicEntry::DisputeResolved(Box::new(terms)))
    }

    /// This log's column for a brand before a height, opened.
    fn before<G: Guards>(
        &self,
        ledger: &Ledger<G>,
        to: BrandId,
        height: Height,
    ) -> Option<(ColumnContent, [u8; 32])> {
        let Some(place) = height.get().checked_sub(2) else {
            return Some((ColumnContent::nothing(), [0; 32]));
        };
        let (block, ..) = self.finals.get(usize::try_from(place).ok()?)?;
        let header = Header::from_bytes(block.header_leaf()).ok()?;
        let last = Some((&header, block.reference().header));
        let opened = ledger.close(header.time, last, block.contents()).ok()?;
        let mut columns = opened.columns.into_iter();
        let column = columns.find(|column| column.counterparty == to)?;
        Some((column.content, column.salt))
    }

    /// Terms for a dispute of its own that nobody offered, once more what was agreed to, or an offer to
    /// someone who disputes nothing.
    pub(super) fn false_terms(&mut self, other: BrandId) -> Option<PublicEntry> {
        let again = self.agreed.get(self.prng.below(self.agreed.len())).cloned();
        let mut terms = DisputeResolved {
            accused: other,
            accuser: self.me,
            began: self.tip.recognised(other).height.next()?,
            last: self.tip.recognised(other).height.next()?,
            block: self.tip.header,
            before: ColumnContent::nothing(),
            salt: [0; 32],
            stands: Vec::new(),
            counted: Value::ZERO,
            void: Value::new(1_000).ok()?,
            entries: 0,
        };
        match self.prng.below(3) {
            0 => terms = again?,
            1 => {
                let sent =
                    self.contents.get(&other).copied().unwrap_or_else(ColumnContent::nothing);
                terms.accused = self.me;
                terms.accuser = other;
                (terms.before, terms.entries) = (sent, sent.entries);
                (terms.began, terms.last) = (self.tip.height, self.tip.height);
            }
            _ => {}
        }
        Some(PublicEntry::DisputeResolved(Box::new(terms)))
    }

    /// Takes back what it sent to a brand as if that one's log had ended with its last block.
    pub(super) fn false_end<G: Guards>(
        &self,
        ledger: &Ledger<G>,
        other: BrandId,
    ) -> Option<PublicEntry> {
        let theirs = ledger.witness(other)?;
        let certificate = theirs.certificate()?.as_unverified().clone();
        let header = theirs.header_leaf()?.to_vec();
        let last = CertifiedHeader { header, certificate: certificate.clone() };
        let end = LogEnd::LastRound(Some(Box::new(last)), Box::new(certificate));
        let sent = self.contents.get(&other)?.sent;
        let void = Value::new(sent.get() % 1_000 + 1).ok()?.min(sent);
        let total = sent.saturating_minus(void);
        let (content, salt) = theirs.opened()?;
        let received = OpenedColumn { height: theirs.tip().height, content, salt };
        let sent = OpenedColumn::nothing();
        let closed = ClosedOut { log: other, end: Box::new(end), received, sent, void, total };
        Some(PublicEntry::ClosedOut(Box::new(closed)))
    }
}
