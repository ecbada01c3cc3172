//! What a node says when it starts, and what the others answer (rule 11).
//!
//! An answer carries what the starting node itself has signed, and certificates: a liar can neither
//! make a node believe that its disk was put back, nor keep it from signing with a height that nobody
//! certified. Knows shapes and signatures; what follows is [`super::standing`]'s.

use minicbor::{Decode, Encode};

use super::said::Said;
use super::statement::{Pledge, Statement, UnverifiedCertificate, UnverifiedLock};
use crate::constitution::BrandKeys;
use crate::crypto::{PublicKey, Signable, Signed, Verified};
use crate::epochs::Constitutions;
use crate::ids::{BrandId, Incarnation, Round, StartNonce};

/// A node has started. Signed with its log key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Start {
    /// One more than the highest that is on its disk.
    #[n(0)]
    pub incarnation: Incarnation,
    /// Fresh for this start; an answer answers this start and no other.
    #[n(1)]
    pub nonce: StartNonce,
}

/// Which incarnation of a writer presents a block, signed beside the proposal: a certificate needs
/// the proposal only, which reads the same whenever it is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Presented {
    /// What is proposed.
    #[n(0)]
    pub pledge: Pledge,
    /// By which incarnation.
    #[n(1)]
    pub incarnation: Incarnation,
}

/// What another brand knows of the one that starts. Signed with its vote key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Acknowledgement {
    /// Who starts.
    #[n(0)]
    pub brand: BrandId,
    /// The start that is answered.
    #[n(1)]
    pub start: Start,
    /// The highest other start of that brand which the signer has verified, if any.
    #[n(2)]
    pub started: Option<Signed<Start>>,
    /// The furthest that the signer has seen of what that brand signed, at most one a log.
    #[n(3)]
    pub said: Vec<Said>,
    /// At most one a log.
    #[n(4)]
    pub logs: Vec<LogAnswer>,
}

/// How far the signer of an answer knows one log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct LogAnswer {
    /// Whose log.
    #[n(0)]
    pub log: BrandId,
    /// The certificate of the last final block; none for the empty log.
    #[n(1)]
    pub certificate: Option<UnverifiedCertificate>,
    /// Whether the signer speaks for this log: it has started, and is not restored there itself.
    #[n(2)]
    pub vouches: bool,
    /// Of the signer's own log: where its open height stands.
    #[n(3)]
    pub open: Option<OpenRound>,
}

/// The open height of a log as its writer knows it: what a witness of an alliance of two goes on from.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct OpenRound {
    /// The highest round opened.
    #[n(0)]
    pub round: Round,
    /// The highest lock.
    #[n(1)]
    pub lock: Option<UnverifiedLock>,
}

impl Signable for Start {
    const DOMAIN: &'static str = "coalition/0/start";
}
impl Signable for Presented {
    const DOMAIN: &'static str = "coalition/0/presented";
}
impl Signable for Acknowledgement {
    const DOMAIN: &'static str = "coalition/0/acknowledgement";
}

impl Statement for Start {
    fn key(keys: &BrandKeys) -> &PublicKey {
        &keys.log
    }
}
impl Statement for Presented {
    fn key(keys: &BrandKeys) -> &PublicKey {
        &keys.log
    }
}
impl Statement for Acknowledgement {
    fn key(keys: &BrandKeys) -> &PublicKey {
        &keys.vote
    }
}

/// Checks a statement about a node as a whole, which is under no epoch: signed with a key that its
/// signer has or had.
#[must_use]
pub fn verify<T: Statement + Clone>(
    signed: &Signed<T>,
    constitutions: &Constitutions,
) -> Option<Verified<T>> {
    let mut newest_first = constitutions.iter().rev();
    newest_first.find_map(|constitution| T::verify(signed.clone(), constitution).ok())
}
