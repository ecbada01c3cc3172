//! What all records about one log come to, and taking that up again ([`crate::witness::snapshot`]).

use super::Witness;
use crate::epochs::Constitutions;
use crate::ids::Epoch;
use crate::log::block::Header;
use crate::log::merkle::leaf_hash;
use crate::witness::dispute::Dispute;
use crate::witness::guards::Guards;
use crate::witness::record::{Opened, Record};
use crate::witness::rules::Tip;
use crate::witness::snapshot::{Delivered, LastBlock, LogState, StateError, Withheld};
use crate::witness::statement::{Certificate, Lock, UnverifiedCertificate};

impl<G: Guards> Witness<G> {
    /// What all records about this log come to, but for what is withheld in dispute and the blocks of the
    /// open height.
    #[must_use]
    pub fn state(&self) -> LogState {
        let last = match (&self.header_leaf, &self.certificate) {
            (Some(header), Some(certificate)) => Some(LastBlock {
                header: header.clone(),
                certificate: certificate.as_unverified().clone(),
                frontier: self.tip.frontier.clone(),
            }),
            _ => None,
        };
        LogState {
            log: self.log,
            epoch: self.epoch,
            awaiting: self.awaiting,
            stances: self.stances.clone(),
            last,
            content: self.content,
            salt: self.salt,
            dispute: self.dispute.as_ref().map(|dispute| Box::new(dispute.state())),
            closing: self.closing.as_ref().map(Certificate::as_unverified).cloned(),
            joined: self.joined,
            nonce: self.nonce,
            votes: self.votes.clone(),
            lock: self.lock.as_ref().map(Lock::as_unverified).cloned(),
            taken: u64::try_from(self.taken).unwrap_or(u64::MAX),
            said: self.watch.iter().cloned().collect(),
            unread: self.unread,
        }
    }

    /// What is withheld in dispute.
    pub fn withheld(&self) -> impl Iterator<Item = Record> + '_ {
        let blocks = self.dispute.iter().flat_map(|dispute| dispute.withheld_blocks());
        blocks.map(|withheld| Record::Withheld(Box::new(withheld)))
    }

    /// Blocks of the open height that came in and were voted for, and before each what opened its
    /// column here.
    pub fn deliveries(&self) -> impl Iterator<Item = Record> + '_ {
        self.received.iter().flat_map(|(id, received)| {
            let delivery = received.delivery.as_ref();
            let opening = received.opening.as_ref().filter(|_| delivery.is_some());
            let opened = opening.map(|opening| {
                let (log, opening) = (self.log, opening.to_bytes().to_vec());
                Record::Opened(Opened { log, block: *id, opening })
            });
            let delivered = delivery.map(|delivery| {
                let block = received.reference(self.log, *id);
                let (delivery, restored) = (delivery.clone(), received.restored);
                let offered = received.offered.is_some();
                Record::Delivered(Delivered { block, delivery, restored, offered })
            });
            opened.into_iter().chain(delivered)
        })
    }

    /// Takes a state up again. It comes from this node's own disk; what is signed in it is verified all
    /// the same, since nothing else makes a certificate or a lock.
    ///
    /// # Errors
    /// When its parts do not fit together, or a constitution is not known.
    pub fn take_up(
        &mut self,
        state: &LogState,
        constitutions: &Constitutions,
    ) -> Result<(), StateError> {
        let log = self.log;
        if let Some(LastBlock { header: leaf, certificate, frontier }) = &state.last {
            let certificate = self.verified(certificate, constitutions)?;
            let header = Header::from_bytes(leaf);
            let header = header.map_err(|error| StateError::Header { log, error })?;
            let (block, id) = (certificate.block(), leaf_hash(leaf).of_header());
            let tree = (frontier.size(), frontier.root());
            if (block.log, block.header) != (log, id) || (block.size, block.root) != tree {
                return Err(StateError::LastBlock(log));
            }
            self.tip = Tip::after(&header, id, frontier.clone());
            self.header_leaf = Some(leaf.clone());
            self.certificate = Some(certificate);
        }
        let closing = state.closing.as_ref();
        self.closing = closing.map(|it| self.verified(it, constitutions)).transpose()?;
        self.lock = match &state.lock {
            None => None,
            Some(lock) => {
                let lock = lock.clone().verify(known(constitutions, state.epoch)?);
                Some(lock.map_err(|error| StateError::Quorum { log, error })?)
            }
        };
        self.epoch = state.epoch;
        self.awaiting = state.awaiting;
        self.stances = state.stances.clone();
        self.content = state.content;
        self.salt = state.salt;
        self.unread = state.unread;
        let dispute = state.dispute.as_ref();
        self.dispute = dispute.map(|dispute| Box::new(Dispute::of_state(log, dispute)));
        self.joined = state.joined;
        self.nonce = state.nonce;
        self.votes = state.votes.clone();
        self.taken = usize::try_from(state.taken).unwrap_or(usize::MAX);
        for said in &state.said {
            // what contradicts is evidence already
            let _ = self.watch.note(said.clone());
        }
        Ok(())
    }

    /// Takes up a block that is withheld, after the state it belongs to.
    ///
    /// # Errors
    /// When nothing is in dispute, or it is no certified block of this log.
    pub fn take_up_withheld(
        &mut self,
        withheld: &Withheld,
        constitutions: &Constitutions,
    ) -> Result<(), StateError> {
        let certificate = self.verified(&withheld.certificate, constitutions)?;
        match &mut self.dispute {
            Some(dispute) => dispute.take_up(withheld, certificate),
            None => Err(StateError::NoDispute(self.log)),
        }
    }

    fn verified(
        &self,
        certificate: &UnverifiedCertificate,
        constitutions: &Constitutions,
    ) -> Result<Certificate, StateError> {
        let constitution = known(constitutions, certificate.pledge.block.epoch)?;
        let verified = certificate.clone().verify_under::<G>(constitution);
        verified.map_err(|error| StateError::Quorum { log: self.log, error })
    }
}

fn known(
    constitutions: &Constitutions,
    epoch: Epoch,
) -> Result<&crate::constitution::Constitution, StateError> {
    constitutions.of(epoch).ok_or(StateError::NoEpoch(epoch))
}
