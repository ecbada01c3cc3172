//! What a participant keeps of an answered attempt for those who audit it: the question, and every opening.
//!
//! The logs have hashes of both. Nobody learns more from it than from the release: each opening is masked by
//! secrets shared with every other participant, and their sum is the noised figures.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};

use super::{Facts, Kept};
use crate::ids::{ParticipantId, VectorHash};
use crate::masked_sum::MaskedVector;
use crate::plan::QuerySpec;
use crate::steps::{AttemptId, CodecError, MESSAGE_MAX_BYTES, Message, Opening, decoded, encoded};

/// Most participants whose openings are read: more than a constitution may have brands.
const PARTICIPANTS_MAX: usize = 32;

/// Of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Evidence {
    /// The attempt.
    #[n(0)]
    pub id: AttemptId,
    /// The question; the logs have its plan's hash.
    #[n(1)]
    pub spec: QuerySpec,
    /// Openings with their senders, ascending.
    #[n(2)]
    pub openings: Vec<(ParticipantId, Opening)>,
}

impl Evidence {
    /// Most bytes of one.
    pub const MAX_BYTES: usize = MESSAGE_MAX_BYTES * PARTICIPANTS_MAX;

    /// Its one encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        encoded(self)
    }

    /// The message that gives one of the openings by its certified hash; none when it is not among them.
    pub fn attached(&self, name: VectorHash) -> Option<Message> {
        let found = self.openings.iter().find(|(of, opening)| {
            let vector = MaskedVector::from_bytes(&opening.vector);
            vector.is_some_and(|it| it.commitment(*of, opening.set, &opening.nonce) == name)
        });
        found.map(|(of, opening)| Message::Attached(*of, opening.clone()))
    }

    /// Reads one; only its one encoding is accepted. Whether it is true is for [`audit`](super::audit) to say.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let read: Self = decoded(bytes, Self::MAX_BYTES, "evidence of an attempt")?;
        let of_it = read.openings.iter().all(|(_, opening)| opening.id == read.id);
        let ascend = read.openings.is_sorted_by(|(one, _), (two, _)| one < two);
        if of_it && ascend {
            Ok(read)
        } else {
            Err(CodecError::Malformed("evidence of an attempt"))
        }
    }
}

impl Kept {
    /// Whether an attempt's answer can be added up again: its question is there, and an opening for each hash.
    pub fn is_whole(&self, id: &AttemptId, facts: &Facts) -> bool {
        let there: BTreeSet<ParticipantId> =
            self.openings.iter().filter(|(_, it)| it.id == *id).map(|(from, _)| *from).collect();
        self.questions.contains_key(id)
            && facts.charge().is_some_and(|charge| charge.commits().keys().copied().eq(there))
    }

    /// Adds what a participant kept. What several kept of one attempt is the same or contradicts itself, which
    /// the audit finds: openings are compared with their hashes one by one.
    pub fn add(&mut self, evidence: Evidence) {
        let Evidence { id, spec, openings } = evidence;
        self.questions.insert(id, spec);
        for (from, opening) in openings {
            if !self.openings.iter().any(|(known, other)| *known == from && *other == opening) {
                self.openings.push((from, opening));
            }
        }
    }
}
