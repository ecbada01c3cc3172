//! Who is suspended for an opening that did not come, and who agreed to readmit it.
//!
//! Step 6 leaves signed evidence: each participant that opened and did not get an opening in time
//! certifies `MissingOpening` against its sender. One of them may lie, t of them may; so a brand is
//! *suspended* when more than t participants of a complete charge accuse it, each in a block after
//! the last instant for openings: at least one of them tells the truth. From then on no question is
//! asked of it, nor taken part in with it, at any brand. It is *readmitted* for that attempt when a
//! quorum of the other brands has certified `Readmit`. An opening that comes late still gives the
//! answer that was paid for, and readmits nobody.
//!
//! A brand that certifies `NotOpened` although all hashes stand is not suspended: that it was late, was
//! restored, or lies cannot be told apart. The charge stands, and its entry names it.

use super::{Facts, Ledger};
use crate::contract::Contract;
use crate::ids::ParticipantId;
use crate::plan::tolerated_colluders;
use crate::steps::AttemptId;
use crate::units::UtcMillis;

/// Since when, and until when if it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// The attempt that it did not open in.
    pub id: AttemptId,
    /// Time of the block with the accusation that was enough.
    pub since: UtcMillis,
    /// Time of the block with the agreement that was enough.
    pub until: Option<UtcMillis>,
}

impl Ledger {
    /// All suspensions of a brand, those that are over too.
    pub fn suspensions(
        &self,
        contract: &Contract,
        brand: ParticipantId,
    ) -> impl Iterator<Item = Suspension> {
        among(contract, brand, self.attempts())
    }

    /// The attempt for which a brand is suspended now, if it is.
    pub fn suspended(&self, contract: &Contract, brand: ParticipantId) -> Option<AttemptId> {
        let disputed = self.sums.disputed().filter_map(|id| Some((id, self.facts(id)?)));
        among(contract, brand, disputed).find(|it| it.until.is_none()).map(|it| it.id)
    }
}

/// A brand's suspensions among some attempts.
fn among<'a>(
    contract: &Contract,
    brand: ParticipantId,
    attempts: impl Iterator<Item = (&'a AttemptId, &'a Facts)>,
) -> impl Iterator<Item = Suspension> {
    let others: Vec<ParticipantId> =
        contract.participants().iter().copied().filter(|other| *other != brand).collect();
    let quorum = readmission_quorum(contract);
    attempts.filter_map(move |(id, facts)| {
        let since = facts.suspended_at(brand)?;
        let until = facts.readmitted_at(brand, &others, quorum);
        Some(Suspension { id: *id, since, until })
    })
}

/// How many other brands must agree to a readmission: more than two thirds of them.
pub fn readmission_quorum(contract: &Contract) -> usize {
    let others = contract.participants().len().saturating_sub(1);
    others.saturating_sub(others.saturating_sub(1) / 3)
}

impl Facts {
    /// When the accusations against a brand were enough.
    fn suspended_at(&self, brand: ParticipantId) -> Option<UtcMillis> {
        if self.accusations.is_empty() {
            return None;
        }
        let charge = self.charge()?;
        let reserve = charge.reserve();
        if !charge.commits().contains_key(&brand) {
            return None;
        }
        let mut times: Vec<UtcMillis> = self
            .accusations
            .iter()
            .filter(|((accuser, accused), placed)| {
                *accused == brand
                    && reserve.participants.contains(accuser)
                    && placed.time > reserve.open_by
            })
            .map(|(_, placed)| placed.time)
            .collect();
        times.sort_unstable();
        times.get(tolerated_colluders(reserve.participants.len())).copied()
    }

    /// When the agreements to readmit a brand were enough.
    fn readmitted_at(
        &self,
        brand: ParticipantId,
        others: &[ParticipantId],
        quorum: usize,
    ) -> Option<UtcMillis> {
        let mut times: Vec<UtcMillis> = self
            .readmissions
            .iter()
            .filter(|((writer, of), _)| *of == brand && others.contains(writer))
            .map(|(_, placed)| placed.time)
            .collect();
        times.sort_unstable();
        times.get(quorum.checked_sub(1)?).copied()
    }

    /// Who agreed to readmit a brand that did not open here.
    pub fn readmitted_by(&self, brand: ParticipantId) -> impl Iterator<Item = ParticipantId> {
        let all = self.readmissions.keys();
        all.filter(move |(_, of)| *of == brand).map(|(writer, _)| *writer)
    }
}
