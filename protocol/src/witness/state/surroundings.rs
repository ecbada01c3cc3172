//! What every handler of a witness or writer may look at.

use std::collections::BTreeMap;

use crate::constitution::Constitution;
use crate::crypto::sealed::KeyRing;
use crate::epochs::{Adoption, Constitutions};
use crate::ids::{BrandId, ConstitutionHash};
use crate::time::Timestamp;
use crate::witness::certified::CertifiedHeaders;
use crate::witness::guards::{Guard, Guards};
use crate::witness::standing::Standing;
use crate::witness::statement::VotingKeys;

/// What every handler may look at.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Whose node this is.
    pub me: BrandId,
    /// The constitution of the log at hand at its open height.
    pub constitution: &'a Constitution,
    /// All there are: what another log certified is judged by the one of its own epoch.
    pub constitutions: &'a Constitutions,
    /// What comes after it.
    pub next: Next<'a>,
    /// Headers of other logs whose certificates were verified here before.
    pub certified: &'a CertifiedHeaders,
    /// Signing keys.
    pub keys: &'a VotingKeys,
    /// Opens this node's columns.
    pub sealing: &'a KeyRing,
    /// What this node may sign.
    pub standing: &'a Standing,
    /// Whether the log's writer is proved to have lied (rule 14).
    pub frozen: bool,
    /// Whether this brand has agreed that the log be closed, and it is to be now.
    pub closes: bool,
    /// The time now.
    pub now: Timestamp,
}

/// What is known of the constitution after that of the log at hand.
#[derive(Clone, Copy, Default)]
pub struct Next<'a> {
    /// Drafts by hash; none are known without.
    pub drafts: Option<&'a BTreeMap<ConstitutionHash, Constitution>>,
    /// The one that a quorum has adopted.
    pub adoption: Option<&'a Adoption>,
    /// When that of the log at hand took effect; 0 when it is the first, or not known.
    pub in_effect: Timestamp,
}

impl<'a> Next<'a> {
    /// What a block of this time must take up.
    #[must_use]
    pub fn due<G: Guards>(&self, time: Timestamp) -> Option<&'a Adoption> {
        let in_effect = |adoption: &&Adoption| adoption.effect() <= time;
        self.adoption.filter(|adoption| G::allow(Guard::SwitchInEffect, in_effect(adoption)))
    }
}
