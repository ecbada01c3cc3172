//! Evidence: looked for in all that is heard, kept, passed on, entered in the own log (rule 14).

use super::Ledger;
use crate::ids::BrandId;
use crate::log::block::PublicEntry;
use crate::log::checkpoint::SignedCheckpoint;
use crate::log::note::VerifierKey;
use crate::witness::build::OwnBlock;
use crate::witness::cases::{Cases, Kept};
use crate::witness::evidence::Evidence;
use crate::witness::guards::Guards;
use crate::witness::message::Message;
use crate::witness::record::Record;
use crate::witness::state::Outbox;

impl<G: Guards> Ledger<G> {
    /// Evidence that this node holds.
    #[must_use]
    pub const fn cases(&self) -> &Cases {
        &self.cases
    }

    /// Whether this node votes on a log no more, since its writer is proved to have lied.
    #[must_use]
    pub fn is_frozen(&self, log: BrandId) -> bool {
        self.cases.is_frozen(log)
    }

    /// Evidence has come, from a peer or in a certified block.
    pub(super) fn on_evidence(&mut self, evidence: Evidence, out: &mut Outbox) {
        self.take_up(evidence, false, out);
    }

    /// After each call: what was noticed in it, and what final blocks have brought.
    pub(super) fn look_for_evidence(&mut self, finals: usize, written: usize, out: &mut Outbox) {
        for evidence in std::mem::take(&mut out.found) {
            self.take_up(evidence, true, out);
        }
        self.note_entered(out.written.get(written..).unwrap_or_default());
        let entries = out.finals.get(finals..).unwrap_or_default().iter();
        // a case a brand and log: more in one block is not looked at
        let brands = self.constitutions.newest().committee().size();
        let most = brands.saturating_mul(brands);
        let told: Vec<Evidence> = entries
            .flat_map(|block| {
                let evidence = block.public.iter().filter_map(|(_, entry)| match entry {
                    PublicEntry::Evidence(evidence) => Some((**evidence).clone()),
                    _ => None,
                });
                evidence.take(most)
            })
            .collect();
        for evidence in told {
            self.take_up(evidence, false, out);
        }
    }

    fn take_up(&mut self, evidence: Evidence, found: bool, out: &mut Outbox) {
        let Some(claim) = evidence.claim(&self.constitutions) else { return };
        // what is said of this node itself is for the others to judge; what is known is not proved again
        if claim.accused == self.me || !self.cases.would_open(claim) {
            return;
        }
        let Ok(proven) = evidence.prove(&self.constitutions) else { return };
        if !self.cases.open(proven.clone(), found) {
            return;
        }
        let evidence = proven.evidence().clone();
        out.records.push(Record::Kept(Box::new(Kept::Evidence(evidence.clone(), found))));
        let others: Vec<BrandId> = self.constitution().committee().witnesses(self.me).collect();
        for to in others.into_iter().filter(|to| *to != proven.accused()) {
            out.messages.push((to, Message::Evidence(Box::new(evidence.clone()))));
        }
    }

    /// Brings the cases to where a record left them.
    pub(super) fn replay_kept(&mut self, kept: &Kept, out: &mut Outbox) {
        match kept {
            Kept::Evidence(evidence, found) => {
                if let Ok(proven) = evidence.clone().prove(&self.constitutions) {
                    self.cases.open(proven, *found);
                }
            }
            Kept::Entered(evidence, found) => {
                if let Ok(proven) = evidence.clone().prove(&self.constitutions) {
                    self.cases.open(proven, *found);
                    self.cases.entered(evidence);
                }
            }
            Kept::Closes(log) => drop(self.closes.insert(*log)),
            Kept::Agreed(log) => {
                let agreed = self.agree_with(*log);
                out.finals.extend(agreed.into_iter().flat_map(|it| it.blocks));
                self.forget_settled();
            }
        }
    }

    /// Takes note of what is in own blocks.
    pub(super) fn note_entered(&mut self, written: &[OwnBlock]) {
        for block in written {
            for entry in block.public() {
                if let PublicEntry::Evidence(evidence) = entry {
                    self.cases.entered(&evidence);
                }
            }
        }
    }

    /// Before a block is built: what this node found goes into it.
    pub(super) fn enter_evidence(&mut self) {
        // what an open block has already is not entered twice
        if let Some(open) = self.writer.open_block() {
            for entry in open.public() {
                if let PublicEntry::Evidence(evidence) = entry {
                    self.cases.submitted(&evidence);
                }
            }
        }
        // what is too large for an entry is kept and was passed on
        for evidence in self.cases.to_enter().filter(Evidence::is_an_entry) {
            // a full queue is emptied in time, and a restart enters it again
            let _ = self.writer.submit_public(PublicEntry::Evidence(Box::new(evidence)));
        }
    }

    /// A log's signed checkpoint: does it contradict another, or what was certified?
    pub(super) fn compare_checkpoint(
        &mut self,
        log: BrandId,
        key: &VerifierKey,
        signed: &SignedCheckpoint,
        out: &mut Outbox,
    ) {
        let Ok(checkpoint) = signed.verify(key) else { return };
        let (size, root) = (checkpoint.size(), checkpoint.root());
        // the log's own line alone: what others signed is no part of it
        let Some(note) = signed.clone().with_lines(|line| line.is_by(key)) else { return };
        let note = note.to_string().into_bytes();
        let certificate = self.witnesses.get(&log).and_then(|witness| witness.certificate());
        if let Some(certificate) = certificate
            && certificate.block().size == size
            && certificate.block().root != root
        {
            let certificate = Box::new(certificate.as_unverified().clone());
            out.found.push(Evidence::Uncertified(note.clone(), certificate));
        }
        if let Some(other) = self.cases.compare(log, size, &note) {
            out.found.push(Evidence::Checkpoints(other, note));
        }
    }
}
