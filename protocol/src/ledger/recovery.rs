//! Blocks from others than their writer: asking for them, answering, and taking what comes.
//!
//! A log that is known to be certified further than it is here, and does not move, is asked for from
//! everyone: another's when its writer is away, the own when this node was restored. What is decoded is taken
//! as any other final block is. See [`crate::recovery`].

use std::collections::BTreeMap;

use super::{ASK_AFTER, Context, Ledger, PeerFault};
use crate::crypto::sealed::{BlockSecret, KeyRing};
use crate::epochs::adoption;
use crate::ids::{BrandId, Epoch, Height};
use crate::log::block::{ColumnContent, Header, PublicEntry};
use crate::recovery::collector::{Collector, Progress, Spoiled, WholeBlock};
use crate::recovery::held::{HELD_BLOCKS_MAX, HELD_BYTES_MAX, Holdings, Recall};
use crate::time::Timestamp;
use crate::witness::build::{OwnBlock, RECOVERY};
use crate::witness::evidence::Evidence;
use crate::witness::guards::Guards;
use crate::witness::message::{CertifiedBlock, Delivery, Message};
use crate::witness::record::{Rebuilt, Record};
use crate::witness::standing;
use crate::witness::state::{FinalBlock, Outbox, Surroundings};

/// Why a block of the own log that others hold is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReopenError {
    /// None of the keys at hand opens its secret.
    #[error(
        "block {0} of the own log does not open with the keys at hand; give the recovery key that the constitution named then"
    )]
    NoKey(Height),
    /// What is sealed in it is not what its header commits to.
    #[error("block {0} of the own log opens to something else than its header commits to")]
    Damaged(Height),
    /// It is not the log's next block.
    #[error("block {0} of the own log does not continue it")]
    NotNext(Height),
}

/// What this ledger collects from others.
#[derive(Default)]
pub(super) struct Recovery {
    collectors: BTreeMap<BrandId, Collector>,
    // how far each log is known to be certified
    certified: BTreeMap<BrandId, Height>,
    // since when a log that lags has not moved, and how far it was
    lags: BTreeMap<BrandId, (Height, Timestamp)>,
    // opens what was wrapped to the recovery key; only while a lost node is rebuilt
    key: Option<KeyRing>,
}

impl<G: Guards> Ledger<G> {
    /// Gives the recovery key, so that own blocks open that were sealed to keys that are gone. A running
    /// node has none.
    pub fn hold_recovery_key(&mut self, key: KeyRing) {
        self.recovery.key = Some(key);
    }

    /// Whether what others say may be acted upon. A restored node first finds out what its own log has
    /// recognised and returned, up to the heights at which it may have signed: it would decide the same
    /// things again, and otherwise. A brand whose log ends credits nothing that its last block does not
    /// recognise: whoever sent it takes it back. And a log that has more than one constitution to take up
    /// takes up the first before anything else: brands that leave with it are its witnesses until then, and
    /// cannot judge what is certified under the one after it.
    #[must_use]
    pub fn may_apply(&self) -> bool {
        if self.is_ending() {
            return false;
        }
        let Some(own) = self.witnesses.get(&self.me) else { return false };
        if own.epoch().next().is_some_and(|next| next < self.constitutions.newest().epoch()) {
            return false;
        }
        self.knows_own_log()
    }

    /// Whether this node was restored and does not have all of its own log back yet, up to the heights at which it may
    /// have signed: what it has certified in its former life it would certify again, and otherwise.
    #[must_use]
    pub fn lacks_own_log(&self) -> bool {
        let Some(own) = self.witnesses.get(&self.me) else { return false };
        let next = own.tip().height.next().unwrap_or_default();
        let fence = self.standing.fence(self.me);
        self.standing.undecided().contains(&self.me)
            || fence.is_some_and(|fence| standing::is_fenced(fence.certified, next))
    }

    /// Whether this node knows what its own log has certified of it: it has heard whether it had a former life, and
    /// has all of that back.
    #[must_use]
    pub fn knows_own_log(&self) -> bool {
        self.standing.has_started() && !self.lacks_own_log()
    }

    /// Whether the own log has ended, or its open block ends it.
    fn is_ending(&self) -> bool {
        let open = || {
            let open = self.writer.open_block()?;
            let draft = adoption::switch(&open.public())?;
            self.constitutions.of(draft.epoch).map(|next| !next.writes(self.me))
        };
        self.is_closed(self.me) || self.removed_from(self.me).is_some() && open() == Some(true)
    }

    /// A log is certified up to a height, as was verified.
    pub(super) fn note_certified(&mut self, log: BrandId, height: Height) {
        let known = self.recovery.certified.entry(log).or_default();
        *known = height.max(*known);
    }

    /// What final blocks tell of other logs: what one recognises is certified.
    pub(super) fn note_recognised(&mut self, finals: &[FinalBlock]) {
        for column in finals.iter().flat_map(|block| &block.header.columns) {
            self.note_certified(column.counterparty, column.recognised.height);
        }
    }

    /// How far a log is known to be certified, here or elsewhere.
    #[must_use]
    pub fn known_height(&self, log: BrandId) -> Height {
        let here = self.witnesses.get(&log).map(|witness| witness.tip().height);
        let told = self.recovery.certified.get(&log).copied();
        let shown = self.recovery.collectors.get(&log).map(Collector::certified);
        here.max(told).max(shown).unwrap_or_default()
    }

    /// Asks others for what is missing of a log, whether or not anything is known to be: for a node that
    /// lost its own. Called again and again, it asks each for one thing at a time.
    pub fn seek(&mut self, log: BrandId, now: Timestamp, out: &mut Outbox) {
        let Some(witness) = self.witnesses.get(&log) else { return };
        let tip = witness.tip().height;
        let constitution = self.constitutions.of(witness.epoch());
        let constitution = constitution.unwrap_or(self.constitutions.newest());
        let me = self.me;
        let others = constitution.committee().witnesses(log).filter(|to| *to != me);
        let others: Vec<BrandId> = others.collect();
        let collector = self.recovery.collectors.entry(log).or_insert_with(|| Collector::new(log));
        let wanted = self.writer.missing().filter(|block| block.log == log);
        collector.want(wanted);
        for (to, recall) in collector.requests(tip, others.into_iter(), now) {
            out.messages.push((to, Message::Recall(recall)));
        }
    }

    /// Where the collection of a log stands, if there is one.
    #[must_use]
    pub fn sought(&self, log: BrandId) -> Option<Progress> {
        let tip = self.witnesses.get(&log)?.tip().height;
        Some(self.recovery.collectors.get(&log)?.progress(tip))
    }

    /// Lets time pass: what lags and does not move is sought.
    pub(super) fn seek_what_lags(&mut self, now: Timestamp, out: &mut Outbox) {
        let me = self.me;
        let lags: Vec<(BrandId, Height)> = self
            .witnesses
            .iter()
            .filter(|(_, witness)| !witness.is_awaiting() && witness.closing().is_none())
            .map(|(log, witness)| (*log, witness.tip().height))
            .filter(|(log, tip)| {
                self.known_height(*log) > *tip || *log == me && self.writer.missing().is_some()
            })
            .collect();
        self.recovery.lags.retain(|log, _| lags.iter().any(|(lagging, _)| lagging == log));
        self.recovery.collectors.retain(|log, _| lags.iter().any(|(lagging, _)| lagging == log));
        for (log, tip) in lags {
            let (seen, since) = self.recovery.lags.entry(log).or_insert((tip, now));
            if *seen != tip {
                (*seen, *since) = (tip, now);
            }
            // the writer of another log is asked first, and its answer may be on its way
            let is_being_sought = self.recovery.collectors.contains_key(&log);
            if log == me || is_being_sought || now.distance(*since) >= ASK_AFTER {
                // what does not stand was told when it came
                let _ = self.take_collected(log, now, out);
                self.seek(log, now, out);
            }
        }
    }

    /// Answers what this node holds of another's log.
    pub(super) fn holdings(&self, asked: Recall, context: &Context<'_>) -> Holdings {
        let mut held = Vec::new();
        if let Some(block) = asked.block {
            let open = self.witnesses.get(&asked.log);
            let open = open.and_then(|witness| witness.held_open(asked.from, block));
            let kept = || context.archive.held(asked.log, asked.from);
            let is_it = |held: &crate::recovery::held::HeldBlock| {
                crate::log::merkle::leaf_hash(&held.header).of_header() == block
            };
            held.extend(open.or_else(kept).filter(is_it));
            return Holdings { asked, held };
        }
        let (mut from, mut bytes) = (asked.from, 0_usize);
        while held.len() < HELD_BLOCKS_MAX && bytes < HELD_BYTES_MAX {
            let Some(block) = context.archive.held(asked.log, from) else { break };
            let Some((_, height)) = block.place() else { break };
            bytes = bytes.saturating_add(block.about_bytes());
            held.push(block);
            match height.next() {
                Some(next) => from = next,
                None => break,
            }
        }
        Holdings { asked, held }
    }

    /// Another brand tells what it holds.
    pub(super) fn on_holdings(
        &mut self,
        from: BrandId,
        answer: Holdings,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), PeerFault> {
        let log = answer.asked.log;
        let Some(witness) = self.witnesses.get(&log) else { return Ok(()) };
        let tip = witness.tip().height;
        let Some(collector) = self.recovery.collectors.get_mut(&log) else { return Ok(()) };
        // who holds nothing may have voted for the block and not heard that it is certified
        if answer.held.is_empty()
            && let Some(certificate) = collector.certificate(answer.asked.from)
        {
            out.messages.push((from, Message::Certified(certificate.as_unverified().clone())));
        }
        let taken = collector.take(from, answer, tip, &self.constitutions);
        let whole = self.take_collected(log, now, out);
        // what came has made room for more
        if self.recovery.collectors.contains_key(&log) {
            self.seek(log, now, out);
        }
        whole?;
        taken.map_err(|error| PeerFault::Holdings { from, log, error })
    }

    /// Takes blocks of a log that can be decoded by now; none that would bring what this outbox has of all
    /// logs above [`HELD_BYTES_MAX`] bytes, but for the first: so that what is to be recorded fits one append.
    /// Called again with another outbox, it goes on.
    ///
    /// # Errors
    /// When what was collected gives no block, or one that cannot be taken.
    pub fn take_collected(
        &mut self,
        log: BrandId,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), PeerFault> {
        loop {
            let Some(mut collector) = self.recovery.collectors.remove(&log) else { return Ok(()) };
            let tip = self.witnesses.get(&log).map(|witness| witness.tip().height);
            let more = tip.map_or(0, |tip| collector.next_bytes(tip));
            if out.decoded > 0 && out.decoded.saturating_add(more) > HELD_BYTES_MAX {
                self.recovery.collectors.insert(log, collector);
                return Ok(());
            }
            let next = match self.parts(log, now) {
                Some((at, _, witness)) => collector.next(witness.tip(), at.constitution),
                None => Ok(None),
            };
            self.recovery.collectors.insert(log, collector);
            if let Ok(Some(whole)) = &next {
                out.decoded = out.decoded.saturating_add(whole.body.as_bytes().len());
            }
            match next {
                Ok(None) => return Ok(()),
                Ok(Some(whole)) => {
                    let taken = match log == self.me {
                        true => self.take_own(whole, now, out),
                        false => self.take_others(log, whole, now, out),
                    };
                    if taken.is_err() {
                        // it is gone from what was collected: begin again
                        self.recovery.collectors.remove(&log);
                        return taken;
                    }
                }
                Err(Spoiled::Contradiction(proof)) => {
                    if let Some(proof) = proof {
                        out.found.push(Evidence::Fragments(proof));
                    }
                    return Err(PeerFault::Contradiction { log });
                }
                Err(Spoiled::NotContinuing) => return Err(PeerFault::NotContinuing { log }),
            }
        }
    }

    /// A block of another log that this node lacked: as its writer would have delivered it.
    fn take_others(
        &mut self,
        log: BrandId,
        whole: WholeBlock,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), PeerFault> {
        let not_taken = PeerFault::NotContinuing { log };
        let Some((at, _, witness)) = self.parts(log, now) else { return Err(not_taken) };
        let certificate = whole.certificate.as_ref().map(|known| known.as_unverified().clone());
        let delivery = delivery(&at, witness.tip().frontier.clone(), whole);
        let (Some(certificate), Some(delivery)) = (certificate, delivery) else {
            return Err(not_taken);
        };
        let before = witness.tip().height;
        witness
            .caught_up(&at, CertifiedBlock { certificate, delivery }, out)
            .map_err(|violation| PeerFault::CatchUp { log, violation })?;
        // a block that is not taken would be decoded again and again
        let moved = witness.tip().height > before;
        if moved { Ok(()) } else { Err(not_taken) }
    }

    /// Takes back a block of the own log, from wherever it was kept: it must be the next one.
    ///
    /// # Errors
    /// [`ReopenError`], or when it is another log's or does not fit its header.
    pub fn take_back(
        &mut self,
        whole: WholeBlock,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), PeerFault> {
        let log = whole.reference.log;
        if log != self.me || whole.certificate.is_none() {
            return Err(PeerFault::NotContinuing { log });
        }
        self.take_own(whole, now, out)
    }

    /// Signs the checkpoint of the own log's last certified block, if there is one.
    pub fn sign_own_checkpoint(&mut self) {
        self.sign_checkpoint();
    }

    /// A block of the own log that this node made in a former life.
    fn take_own(
        &mut self,
        whole: WholeBlock,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), PeerFault> {
        let height = whole.reference.height;
        let secret = self.own_secret(&whole.header).ok_or(ReopenError::NoKey(height))?;
        let me = self.me;
        let parts = self.parts(me, now);
        let (at, writer, own) = parts.ok_or(PeerFault::NotContinuing { log: me })?;
        let before = own.tip().frontier.clone();
        let parts = (whole.leaf, whole.body);
        let block = OwnBlock::reopen(whole.reference, parts, before, secret, writer.contents())
            .ok_or(ReopenError::Damaged(height))?;
        let certificate = whole.certificate;
        let is_final = certificate.is_some();
        let rebuilt = Rebuilt {
            block: block.clone(),
            certificate: certificate.as_ref().map(|known| known.as_unverified().clone()),
        };
        own.rebuilt(&at, &block, certificate, out).map_err(|_| ReopenError::NotNext(height))?;
        out.records.push(Record::Rebuilt(Box::new(rebuilt)));
        writer.rebuilt(&at, &block, is_final, out);
        if is_final {
            self.follow_switch(&block);
        }
        Ok(())
    }

    fn own_secret(&self, header: &Header) -> Option<BlockSecret> {
        let own = (self.me.to_string(), 1, &self.sealing);
        let recovery = self.recovery.key.iter().map(|ring| (RECOVERY.to_owned(), 0, ring));
        recovery.chain([own]).find_map(|(name, place, ring)| {
            let wrapped = header.secrets.get(place)?;
            let bytes = header.context().unwrap(&name, ring, wrapped).ok()?;
            let secret = BlockSecret::from_bytes(bytes.try_into().ok()?);
            header.is_sealed_with(&secret).then_some(secret)
        })
    }

    /// A certified block that takes up a constitution shows it to be adopted: q brands certified that it is.
    pub(super) fn follow_switch(&mut self, block: &OwnBlock) {
        let public: Vec<PublicEntry> = block.public();
        let Some(draft) = adoption::switch(&public) else { return };
        if self.constitutions.of(draft.epoch).is_some() {
            return;
        }
        if let Some(known) = self.drafts.get(&draft.constitution).cloned()
            && self.constitutions.follow(known).is_ok()
        {
            self.drafts.retain(|_, other| other.epoch() > draft.epoch);
            for (log, witness) in super::epochs::witnesses(self.me, &self.constitutions) {
                self.witnesses.entry(log).or_insert(witness);
            }
        }
    }

    /// The constitution that the own log goes on under, if its file is not here.
    #[must_use]
    pub fn lacks_constitution(&self) -> Option<Epoch> {
        let epoch = self.witnesses.get(&self.me)?.epoch();
        self.constitutions.of(epoch).is_none().then_some(epoch)
    }
}

/// A whole block as its writer would deliver it to this node.
fn delivery(
    at: &Surroundings<'_>,
    before: crate::log::merkle::Frontier,
    whole: WholeBlock,
) -> Option<Delivery> {
    let log = whole.reference.log;
    let opening = whole.header.open_column(at.me, at.sealing).ok();
    let own = opening.map_or_else(ColumnContent::nothing, |opening| opening.content);
    let contents = |own: ColumnContent| {
        let of = |witness| if witness == at.me { own } else { ColumnContent::nothing() };
        at.constitution.committee().witnesses(log).map(of).collect::<Vec<_>>()
    };
    let make = |own: ColumnContent| {
        let parts = (whole.leaf.clone(), whole.body.clone());
        let block = OwnBlock::of_body(whole.reference, parts, contents(own), before.clone());
        block.deliveries(at.constitution).ok()?.to(at.me, false).ok()
    };
    // a column that says it is where the body has no leaves is a fault of the block: judged without them
    make(own).or_else(|| make(ColumnContent::nothing()))
}
