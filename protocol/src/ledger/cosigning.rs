//! Checkpoints of the logs (rule 9): the own one is signed once its size is certified, and witnesses of the alliance
//! cosign it.

use super::Ledger;
use crate::constitution::Constitution;
use crate::ids::BrandId;
use crate::log::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use crate::log::note::{KeyName, SignatureType, VerifierKey};
use crate::time::Timestamp;
use crate::witness::guards::{Guard, Guards};
use crate::witness::message::Message;
use crate::witness::state::Outbox;
use crate::witness::statement::Certificate;

/// The name under which a brand cosigns.
#[must_use]
pub fn witness_name(constitution: &Constitution, brand: BrandId) -> String {
    format!("{}/witness", constitution.origin(brand))
}

/// The verifier key of a brand's log, as stock tools take it.
#[must_use]
pub fn log_verifier(constitution: &Constitution, brand: BrandId) -> Option<VerifierKey> {
    let name = KeyName::new(&constitution.origin(brand)).ok()?;
    let key = constitution.brand(brand)?.keys.checkpoint;
    Some(VerifierKey::new(name, SignatureType::Ed25519, key))
}

/// The verifier key of a brand's cosignatures.
#[must_use]
pub fn witness_verifier(constitution: &Constitution, brand: BrandId) -> Option<VerifierKey> {
    let name = KeyName::new(&witness_name(constitution, brand)).ok()?;
    let key = constitution.brand(brand)?.keys.witness;
    Some(VerifierKey::new(name, SignatureType::CosignatureV1, key))
}

impl<G: Guards> Ledger<G> {
    /// Rule 9: only now that the size is certified does the log sign its checkpoint.
    pub(super) fn sign_checkpoint(&mut self) {
        let Some(own) = self.witnesses.get(&self.me) else { return };
        let Some(certificate) = own.certificate() else { return };
        let block = certificate.block();
        let Some(constitution) = self.constitutions.of(block.epoch) else { return };
        let Some(keys) = self.keys_of(constitution) else { return };
        let Ok(origin) = KeyName::new(&constitution.origin(self.me)) else { return };
        let checkpoint = Checkpoint::new(&origin, block.size, block.root);
        let mut signed = SignedCheckpoint::sign(checkpoint, &keys.checkpoint).ok();
        if let (Some(signed), Some(retiring)) =
            (&mut signed, self.retiring_checkpoint_key(constitution))
        {
            // who has not heard of the new key can still verify the log
            let _ = signed.sign_also(retiring);
        }
        self.checkpoint = signed;
    }

    /// A writer asks for a cosignature, or a witness brings one.
    pub(super) fn on_checkpoint(
        &mut self,
        from: BrandId,
        note: &[u8],
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let Ok(signed) = SignedCheckpoint::parse(note) else { return };
        let own_name = self.constitution().origin(self.me);
        let result = if signed.unverified().origin() == own_name {
            self.take_cosignature(from, &signed)
        } else {
            self.cosign(from, signed, now, out)
        };
        // a note that does not fit is dropped; the writer asks again
        drop(result);
    }

    fn take_cosignature(
        &mut self,
        from: BrandId,
        signed: &SignedCheckpoint,
    ) -> Result<(), CheckpointError> {
        let has_enough =
            self.checkpoint.as_ref().is_some_and(|known| self.is_cosigned_by_quorum(known));
        let constitution = self.constitution_of_tip(self.me);
        let key = constitution.and_then(|it| witness_verifier(it, from));
        let (Some(checkpoint), Some(key)) = (&mut self.checkpoint, key) else { return Ok(()) };
        if has_enough || signed.unverified() != checkpoint.unverified() {
            return Ok(());
        }
        if let Some(line) = signed.signatures().iter().find(|line| line.is_by(&key)) {
            checkpoint.add_cosignature(&key, line.clone())?;
        }
        Ok(())
    }

    fn cosign(
        &mut self,
        log: BrandId,
        mut signed: SignedCheckpoint,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), CheckpointError> {
        // the keys of the constitution that the certified tree is under signed it, not those of the next
        let Some(constitution) = self.constitution_of_tip(log) else { return Ok(()) };
        let Some(key) = log_verifier(constitution, log) else { return Ok(()) };
        let checkpoint = signed.verify(&key)?.clone();
        self.compare_checkpoint(log, &key, &signed, out);
        let (Some(witness), Some(constitution)) =
            (self.witnesses.get(&log), self.constitution_of_tip(log))
        else {
            return Ok(());
        };
        let Some(keys) = self.keys_of(constitution) else { return Ok(()) };
        // only the certified size this witness itself has last verified, which never falls: not even
        // when its disk was put back
        if !self.standing.may_cosign::<G>(log, witness.tip().height) {
            return Ok(());
        }
        let certified = witness.certificate().map(Certificate::block);
        let is_certified = certified.map(|block| (block.size, block.root))
            == Some((checkpoint.size(), checkpoint.root()));
        if !G::allow(Guard::CosignCertified, is_certified) {
            return Ok(());
        }
        let name = KeyName::new(&witness_name(constitution, self.me))?;
        let key =
            VerifierKey::new(name.clone(), SignatureType::CosignatureV1, keys.witness.public());
        let line = signed.cosign(name, &keys.witness, now);
        signed.add_cosignature(&key, line)?;
        out.messages.push((log, Message::Checkpoint(signed.to_string().into_bytes())));
        Ok(())
    }
}
