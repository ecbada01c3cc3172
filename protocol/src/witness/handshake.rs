//! One start of a node: its announcement, and what the answers to it say together (rules 11 and 12).
//!
//! Judges answers; what follows from them is [`super::standing`]'s. No answer is believed that does not
//! prove what it says: what this node signed by its own signature, heights by certificates.

use std::collections::{BTreeMap, BTreeSet};

use super::said::{Position, Said};
use super::standing::{self, Fence, Standing};
use super::start::{self, Acknowledgement, OpenRound, Start};
use crate::constitution::{BRANDS_MAX, Constitution};
use crate::crypto::{Signed, Verified};
use crate::epochs::Constitutions;
use crate::ids::{BrandId, Height, Incarnation};
use crate::time::Timestamp;

/// Most logs that an answer is about: all there are, and some that have ended.
const LOGS_MAX: usize = 4 * BRANDS_MAX;

/// A start, and the answers to it so far.
pub struct Handshake {
    start: Signed<Start>,
    // how far this node had gone in every log when it started
    replayed: BTreeMap<BrandId, Position>,
    answers: BTreeMap<BrandId, Answer>,
    /// When it was last announced.
    pub announced: Timestamp,
}

/// All that one brand has answered to the start. Its answers may come in another order than they were
/// given: the most that any of them proved counts.
#[derive(Default)]
struct Answer {
    // certified heights, of the logs that the signer vouches for
    certified: BTreeMap<BrandId, Height>,
    // those that it showed, whether or not it vouches
    shown: BTreeMap<BrandId, Height>,
    // of the height after this one
    open: Option<(Height, OpenRound)>,
}

impl Answer {
    fn take(&mut self, log: BrandId, height: Height, vouches: bool) {
        raise(&mut self.shown, log, height);
        if vouches {
            raise(&mut self.certified, log, height);
        }
    }

    fn take_open(&mut self, height: Height, open: &OpenRound) {
        let far = |height: Height, open: &OpenRound| {
            (height, open.round, open.lock.as_ref().map(|lock| lock.pledge.round))
        };
        if self.open.as_ref().is_none_or(|(at, known)| far(*at, known) < far(height, open)) {
            self.open = Some((height, open.clone()));
        }
    }
}

/// No log twice, and no more than there can be.
fn are_different(logs: impl Iterator<Item = BrandId>) -> bool {
    let mut seen = BTreeSet::new();
    logs.take(LOGS_MAX + 1).all(|log| seen.insert(log)) && seen.len() <= LOGS_MAX
}

fn raise(heights: &mut BTreeMap<BrandId, Height>, log: BrandId, height: Height) {
    let known = heights.entry(log).or_insert(height);
    *known = height.max(*known);
}

/// What an answer shows, beside that it is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The highest other start of this node, if it is of another life than this one.
    pub another_life: Option<Incarnation>,
    /// It has signed what is not on its disk.
    pub beyond: bool,
}

impl Handshake {
    /// A start that is about to be announced.
    #[must_use]
    pub const fn new(start: Signed<Start>, replayed: BTreeMap<BrandId, Position>) -> Self {
        let announced = Timestamp::from_unix_ms(0);
        Self { start, replayed, answers: BTreeMap::new(), announced }
    }

    /// The announcement.
    #[must_use]
    pub const fn start(&self) -> &Signed<Start> {
        &self.start
    }
    /// How far this node had gone in every log when it started.
    #[must_use]
    pub const fn replayed(&self) -> &BTreeMap<BrandId, Position> {
        &self.replayed
    }
    /// How many others have answered.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.answers.len()
    }

    /// How far each log was certified as this brand has shown.
    #[must_use]
    pub fn certified_by(&self, brand: BrandId) -> Vec<(BrandId, Height)> {
        let answer = self.answers.get(&brand);
        answer.map_or_else(Vec::new, |it| it.shown.iter().map(|(log, at)| (*log, *at)).collect())
    }

    /// Whether this brand has still to answer, or to answer better.
    #[must_use]
    pub fn waits_for(&self, brand: BrandId, standing: &Standing) -> bool {
        self.answers.get(&brand).is_none_or(|answer| {
            standing.undecided().iter().any(|log| !answer.certified.contains_key(log))
        })
    }

    /// Takes an answer, beside others of the same brand. None if it is to another start, or does not prove what it says. `own` is how
    /// far this node can have gone: until it has started, what it found on its disk.
    pub fn take(
        &mut self,
        answer: &Verified<Acknowledgement>,
        own: &BTreeMap<BrandId, Position>,
        standing: &Standing,
        constitutions: &Constitutions,
    ) -> Option<Shown> {
        let me = self.start.signer;
        let body = answer.body();
        if (body.brand, body.start) != (me, self.start.body) || answer.signer() == me {
            return None;
        }
        // at most one of each log: what says more is not looked at
        let said = body.said.iter().map(Said::log);
        if !are_different(said) || !are_different(body.logs.iter().map(|log| log.log)) {
            return None;
        }
        let shown = self.shown(body, own, standing, constitutions)?;
        let mut proved = Vec::new();
        // of logs that this node does not know, and under constitutions that it lacks, nothing is believed
        for log in body.logs.iter().filter(|log| own.contains_key(&log.log)) {
            let height = match &log.certificate {
                None => Height::default(),
                Some(certificate) if certificate.pledge.block.log != log.log => return None,
                // what this node knows to be final needs no proof
                Some(certificate) if self.knows(log.log, certificate.pledge.block.height) => {
                    certificate.pledge.block.height
                }
                Some(certificate) => {
                    let Some(constitution) = constitutions.of(certificate.pledge.block.epoch)
                    else {
                        continue;
                    };
                    certificate.clone().verify(constitution).ok()?.block().height
                }
            };
            proved.push((log, height));
        }
        let signer = answer.signer();
        let known = self.answers.entry(signer).or_default();
        for (log, height) in proved {
            known.take(log.log, height, log.vouches);
            if let Some(open) = log.open.as_ref().filter(|_| log.log == signer) {
                known.take_open(height, open);
            }
        }
        Some(shown)
    }

    fn knows(&self, log: BrandId, height: Height) -> bool {
        self.replayed.get(&log).is_some_and(|position| height < position.height)
    }

    fn shown(
        &self,
        answer: &Acknowledgement,
        own: &BTreeMap<BrandId, Position>,
        standing: &Standing,
        constitutions: &Constitutions,
    ) -> Option<Shown> {
        let me = self.start.signer;
        let mut shown = Shown::default();
        if let Some(started) = &answer.started {
            let started = start::verify(started, constitutions)?;
            if started.signer() != me {
                return None;
            }
            let (this, seen) = (self.start.body, *started.body());
            let other =
                seen != this && standing::is_another_life(this.incarnation, seen.incarnation);
            shown.another_life = other.then_some(seen.incarnation);
        }
        for said in answer.said.iter().filter(|said| constitutions.of(said.epoch()).is_some()) {
            if said.signer() != me || !said.is_genuine(constitutions) {
                return None;
            }
            let nothing = Position::after(Height::default());
            let own = own.get(&said.log()).copied().unwrap_or(nothing);
            let position = said.position();
            // at fenced heights that is known already
            let fenced = standing
                .fence(said.log())
                .is_some_and(|fence| standing::is_fenced(fence.certified, position.height));
            shown.beyond |= standing::is_beyond(position, own) && !fenced;
        }
        Some(shown)
    }

    /// Rule 12: how far a log was certified, when enough of those who vouch have said so.
    #[must_use]
    pub fn decided(
        &self,
        log: BrandId,
        tip: Height,
        declared: bool,
        constitution: &Constitution,
    ) -> Option<Fence> {
        let committee = constitution.committee();
        let heights: Vec<Height> = self
            .answers
            .values()
            .filter_map(|answer| answer.certified.get(&log).copied())
            .collect();
        if heights.len() < standing::answers_needed(committee, declared) {
            return None;
        }
        let certified = heights.into_iter().max().unwrap_or_default().max(tip);
        let writer = self.answers.get(&log).and_then(|answer| answer.open.clone());
        let writer = writer.map(|(_, open)| open);
        let resume = writer.filter(|_| committee.size() == 2 && log != self.start.signer);
        Some(Fence { log, certified, resume })
    }
}
