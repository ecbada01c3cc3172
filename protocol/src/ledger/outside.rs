//! The ledger before those outside the alliance (C2SP tlog-witness): cosigning on request, and
//! foreign cosignatures on the own checkpoint.
//!
//! Of a log of the alliance only the certified tip is ever cosigned, so here too no size is signed
//! that may have to be taken back, and none below one signed before: a tip does not fall, and one that fell
//! because a disk was put back is not signed until it is as far as others know it to be certified.

use super::{Ledger, log_verifier, witness_name, witness_verifier};
use crate::ids::TreeSize;
use crate::log::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::log::note::{NoteSignature, VerifierKey};
use crate::log::tlog_witness::{AddCheckpoint, Cosigned, ForeignLogs, Refusal};
use crate::time::Timestamp;
use crate::witness::guards::{Guard, Guards};
use crate::witness::statement::Certificate;

/// A request that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The line that answers it.
    pub line: NoteSignature,
    /// What is to be on disk, and in [`ForeignLogs`], before it is told: for a foreign log that has
    /// grown. What is known of a log of the alliance is in its certificates already.
    pub record: Option<Cosigned>,
}

impl<G: Guards> Ledger<G> {
    /// Answers an add-checkpoint request about a foreign log or another brand's.
    ///
    /// # Errors
    /// See [`Refusal`]. The own log is unknown here: a log is no witness of itself.
    pub fn add_checkpoint(
        &self,
        request: &AddCheckpoint,
        foreign: &mut ForeignLogs,
        now: Timestamp,
    ) -> Result<Granted, Refusal> {
        let origin = request.unverified().origin();
        let mut brands = self.constitution().committee().brands().iter().copied();
        let log = brands.find(|brand| self.constitution().origin(*brand) == origin);
        let Some(log) = log.filter(|log| *log != self.me) else {
            if foreign.has(origin) {
                self.remembers(foreign)?;
            }
            let continuing = foreign.consider(request, now)?;
            // one line more than the log's keys: the note has room for it
            let mut signed = continuing.checkpoint().clone();
            let (key, line) = self.line(&signed, now).ok_or(Refusal::Malformed)?;
            signed.add_cosignature(&key, line.clone()).map_err(|_| Refusal::Malformed)?;
            let record = continuing.is_news().then(|| Cosigned::new(&signed));
            return Ok(Granted { line, record });
        };
        let constitution = self.constitution_of_tip(log).ok_or(Refusal::UnknownOrigin)?;
        let key = log_verifier(constitution, log).ok_or(Refusal::UnknownOrigin)?;
        let signed = request.signed([&key])?;
        let tip = self.witnesses.get(&log).and_then(|witness| witness.certificate());
        let tip = tip.map(Certificate::block).map(|block| (block.size, block.root));
        request.continues(tip)?;
        let size = tip.map_or(TreeSize::new(0), |(size, _)| size);
        // rule 9, as for a message: not before the start, nor below what a former life may have signed
        let height = self.witnesses.get(&log).map(|witness| witness.tip().height);
        if !self.standing.may_cosign::<G>(log, height.unwrap_or_default()) {
            return Err(Refusal::NotStarted);
        }
        if signed.unverified().size() != size || size.get() == 0 {
            return Err(Refusal::NotCertifiedYet);
        }
        let (_, line) = self.line(&signed, now).ok_or(Refusal::Malformed)?;
        Ok(Granted { line, record: None })
    }

    /// Whether what is known of foreign logs is what was last cosigned of them: no certificate tells it, so that
    /// after a restore only the operator can.
    fn remembers(&self, foreign: &ForeignLogs) -> Result<(), Refusal> {
        if !G::allow(Guard::AwaitAcknowledgements, self.standing.has_started()) {
            return Err(Refusal::NotStarted);
        }
        let restored = self.standing.restored().filter(|it| !foreign.is_confirmed(*it));
        match restored {
            Some(incarnation) if !G::allow(Guard::RestoredWitness, false) => {
                Err(Refusal::Restored { incarnation })
            }
            _ => Ok(()),
        }
    }

    /// This brand's cosignature, and the key that verifies it.
    fn line(
        &self,
        signed: &SignedCheckpoint,
        now: Timestamp,
    ) -> Option<(VerifierKey, NoteSignature)> {
        let key = witness_verifier(self.constitution(), self.me)?;
        let private = &self.keys_of(self.constitution())?.witness;
        let line = signed.cosign(key.name().clone(), private, now);
        Some((key, line))
    }

    /// Adds the line of a witness outside the alliance to the own checkpoint, if it is still that of
    /// which the line speaks, and gives that checkpoint with all its lines.
    ///
    /// # Errors
    /// When the line does not hold, or the note has no room.
    pub fn add_outside_cosignature(
        &mut self,
        cosigned: &SignedCheckpoint,
        witness: &VerifierKey,
        line: NoteSignature,
    ) -> Result<SignedCheckpoint, CheckpointError> {
        match &mut self.checkpoint {
            Some(current) if current.unverified() == cosigned.unverified() => {
                current.add_cosignature(witness, line)?;
                Ok(current.clone())
            }
            _ => {
                let mut cosigned = cosigned.clone();
                cosigned.add_cosignature(witness, line)?;
                Ok(cosigned)
            }
        }
    }

    /// After a restart: takes over the lines of the checkpoint that was published before it, by the
    /// alliance's witnesses and by these others, if it still is the last one.
    pub fn keep_cosignatures(&mut self, published: &SignedCheckpoint, outside: &[VerifierKey]) {
        let constitution = self.constitution();
        let brands = constitution.committee().brands().iter();
        let mut keys: Vec<VerifierKey> =
            brands.filter_map(|brand| witness_verifier(constitution, *brand)).collect();
        keys.extend_from_slice(outside);
        let Some(current) = &mut self.checkpoint else { return };
        if current.unverified() != published.unverified() {
            return;
        }
        for line in published.signatures() {
            if let Some(key) = keys.iter().find(|key| line.is_by(key)) {
                // one that does not hold, or has no room, is asked for again
                let _ = current.add_cosignature(key, line.clone());
            }
        }
    }

    /// Whether the alliance's witnesses have signed a checkpoint as often as they ever do: with the
    /// log itself, a quorum. One more would take an outside witness's place on the note.
    pub(super) fn is_cosigned_by_quorum(&self, checkpoint: &SignedCheckpoint) -> bool {
        let committee = self.constitution().committee();
        let names: Vec<String> = committee
            .brands()
            .iter()
            .map(|brand| witness_name(self.constitution(), *brand))
            .collect();
        let is_ours = |line: &&NoteSignature| names.iter().any(|name| name == line.name().as_str());
        let cosigned = checkpoint.signatures().iter().filter(is_ours).count();
        cosigned >= committee.quorum().saturating_sub(1)
    }
}
