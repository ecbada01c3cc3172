//! Several heights of one log whose writer lies, with a witness that comes back from an old backup.
//!
//! A restored witness asks the others, liars among them, for the highest certified height they know,
//! and signs nothing up to so many heights above the highest answer: the margin, which rules 12 and 13
//! set to 2. What it has forgotten it did sign, and the adversary still has it. The others are asked
//! while they are not restoring themselves; here min(q, n-1) of them answer, as when an operator
//! declares the restore.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::search::Model;

/// Most heights of a model.
const HEIGHTS_MAX: usize = 3;
/// Most rounds of a model.
const ROUNDS_MAX: usize = 2;
/// Most honest witnesses of a model.
const HONEST_MAX: usize = 4;

/// How large a model is, and what a restored witness abstains from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Brands; one of them, the writer, lies.
    pub members: usize,
    /// Heights.
    pub heights: usize,
    /// Rounds, 0 counted.
    pub rounds: usize,
    /// How often some witness is restored.
    pub restores: u8,
    /// Heights above the highest answer at which a restored witness signs nothing; without one it
    /// asks nobody and signs at once.
    pub margin: Option<u8>,
}

impl Bounds {
    const fn quorum(&self) -> usize {
        (self.members + (self.members - 1) / 3 + 1).div_ceil(2)
    }
    const fn honest(&self) -> usize {
        self.members - 1
    }
}

type Block = u8;
const BLOCKS: [Block; 2] = [1, 2];

/// What one honest witness remembers, and what it has ever signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Local {
    tip: u8,
    silent_to: u8,
    joined: u8,
    // at the open height: by round
    votes: [Block; ROUNDS_MAX],
    // 0 for none, else 1 + 2 x round + (0 for X, 1 for Y)
    lock: u8,
    // ever: by height and round; promises as bits of what they told: none, or a block locked in round 0
    promised: [u8; HEIGHTS_MAX],
    voted: [[u8; ROUNDS_MAX]; HEIGHTS_MAX],
    committed: [[u8; ROUNDS_MAX]; HEIGHTS_MAX],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Learns the certificate of the next height.
    Advance,
    Promise,
    Vote(usize, Block),
    Commit(usize, Block),
    /// Comes back from a backup; the highest answer is this height.
    Restore(u8),
}

impl Local {
    fn open(&self, bounds: &Bounds) -> Option<usize> {
        let height = usize::from(self.tip);
        (height < bounds.heights && self.tip >= self.silent_to).then_some(height)
    }

    fn at(self, tip: u8) -> Self {
        Self { tip, joined: 0, votes: [0; ROUNDS_MAX], lock: 0, ..self }
    }

    fn is_restoring(&self) -> bool {
        self.tip < self.silent_to
    }

    fn acts(&self, bounds: &Bounds) -> Vec<(Act, Self)> {
        let mut acts = Vec::new();
        if usize::from(self.tip) < bounds.heights {
            acts.push((Act::Advance, self.at(self.tip + 1)));
        }
        match bounds.margin {
            None => acts.push((Act::Restore(0), Self { silent_to: 0, ..self.at(0) })),
            Some(margin) => acts.extend((0..=bounds.heights as u8).map(|highest| {
                (Act::Restore(highest), Self { silent_to: highest + margin, ..self.at(highest) })
            })),
        }
        let Some(height) = self.open(bounds) else { return acts };
        if bounds.rounds > 1 && self.joined == 0 {
            let mut next = *self;
            next.joined = 1;
            // a lock of round 0, if there is one
            next.promised[height] |= 1 << self.lock;
            acts.push((Act::Promise, next));
        }
        for round in usize::from(self.joined)..bounds.rounds {
            for block in BLOCKS {
                let mut next = *self;
                next.joined = round as u8;
                if self.votes[round] == 0 {
                    next.votes[round] = block;
                    next.voted[height][round] |= block;
                    acts.push((Act::Vote(round, block), next));
                    next.votes[round] = 0;
                    next.voted = self.voted;
                }
                let lock = 1 + 2 * round as u8 + (block - 1);
                if self.lock != lock {
                    next.lock = lock;
                    next.committed[height][round] |= block;
                    acts.push((Act::Commit(round, block), next));
                }
            }
        }
        acts
    }
}

/// Witnesses' places in the table of locals, sorted, 24 bits each; above them how often one was
/// restored.
type State = u128;
const RESTORED_AT: u32 = 24 * HONEST_MAX as u32;

/// The model.
pub struct Restores {
    bounds: Bounds,
    locals: Vec<Local>,
    acts: Vec<Vec<(Act, u32)>>,
}

impl Restores {
    /// The model.
    ///
    /// # Panics
    /// Beyond three heights, two rounds or five brands.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let fits = bounds.heights <= HEIGHTS_MAX
            && bounds.rounds <= ROUNDS_MAX
            && bounds.honest() <= HONEST_MAX;
        assert!(fits, "{bounds:?}");
        let mut places = BTreeMap::from([(Local::default(), 0_u32)]);
        let mut locals = vec![Local::default()];
        let mut acts = Vec::new();
        let mut at = 0;
        while let Some(local) = locals.get(at).copied() {
            let mut place = |next: Local| {
                *places.entry(next).or_insert_with(|| {
                    locals.push(next);
                    locals.len() as u32 - 1
                })
            };
            let own = local.acts(&bounds).into_iter();
            acts.push(own.map(|(act, next)| (act, place(next))).collect());
            at += 1;
        }
        Self { bounds, locals, acts }
    }

    fn places(&self, state: State) -> [u32; HONEST_MAX] {
        std::array::from_fn(|place| (state >> (24 * place)) as u32 & 0xff_ffff)
    }

    fn honest(&self, state: State) -> Vec<&Local> {
        let places = self.places(state).into_iter().take(self.bounds.honest());
        places.map(|place| &self.locals[place as usize]).collect()
    }

    /// One liar signs all that is needed.
    fn enough(&self, signed: impl Iterator<Item = bool>) -> bool {
        signed.filter(|signed| *signed).count() + 1 >= self.bounds.quorum()
    }

    fn is_locked(&self, honest: &[&Local], height: usize, round: usize, block: Block) -> bool {
        self.enough(honest.iter().map(|local| local.voted[height][round] & block != 0))
    }

    fn is_certified(&self, honest: &[&Local], height: usize, block: Block) -> bool {
        (0..self.bounds.rounds).any(|round| {
            self.enough(honest.iter().map(|local| local.committed[height][round] & block != 0))
        })
    }

    fn is_justified(&self, honest: &[&Local], height: usize, round: usize, block: Block) -> bool {
        if round == 0 {
            return true;
        }
        let free = self.enough(honest.iter().map(|local| local.promised[height] & 1 != 0));
        // a promise with either lock of round 0 goes with the block whose lock is told first
        let any = self.enough(honest.iter().map(|local| local.promised[height] != 0));
        free || (any && self.is_locked(honest, height, 0, block))
    }

    /// Which highest answers a witness at `place` may get: liars answer 0.
    fn answers(&self, honest: &[&Local], place: usize) -> Vec<u8> {
        let Some(_) = self.bounds.margin else { return vec![0] };
        let asked = self.bounds.quorum().min(self.bounds.members - 1) - 1;
        let mut tips: Vec<u8> = honest
            .iter()
            .enumerate()
            .filter(|(other, local)| *other != place && !local.is_restoring())
            .map(|(_, local)| local.tip)
            .collect();
        tips.sort_unstable();
        tips.split_off(asked.saturating_sub(1).min(tips.len()))
    }
}

impl Model for Restores {
    type State = State;

    fn initial(&self) -> State {
        0
    }

    fn successors(&self, state: State, next: &mut Vec<State>) {
        let honest = self.honest(state);
        let places = self.places(state);
        let restored = (state >> RESTORED_AT) as u8;
        for (at, place) in places.into_iter().enumerate().take(honest.len()) {
            if at > 0 && places[at - 1] == place {
                continue;
            }
            let local = honest[at];
            let height = usize::from(local.tip);
            for (act, after) in &self.acts[place as usize] {
                let called_for = match *act {
                    Act::Advance => {
                        BLOCKS.iter().any(|block| self.is_certified(&honest, height, *block))
                    }
                    Act::Promise => true,
                    Act::Vote(round, block) => self.is_justified(&honest, height, round, block),
                    Act::Commit(round, block) => self.is_locked(&honest, height, round, block),
                    Act::Restore(highest) => {
                        restored < self.bounds.restores
                            && self.answers(&honest, at).contains(&highest)
                    }
                };
                if called_for {
                    let mut changed = places;
                    changed[at] = *after;
                    changed[..honest.len()].sort_unstable_by_key(|place| Reverse(*place));
                    let packed = changed[..honest.len()]
                        .iter()
                        .enumerate()
                        .fold(0, |packed, (at, place)| packed | u128::from(*place) << (24 * at));
                    let restored = restored + u8::from(matches!(act, Act::Restore(_)));
                    next.push(packed | u128::from(restored) << RESTORED_AT);
                }
            }
        }
    }

    fn broken(&self, state: State) -> Option<&'static str> {
        let honest = self.honest(state);
        let forked = (0..self.bounds.heights)
            .any(|height| BLOCKS.iter().all(|block| self.is_certified(&honest, height, *block)));
        forked.then_some("agreement")
    }

    fn describe(&self, state: State) -> String {
        let name = |blocks: u8| ["-", "X", "Y", "XY"][usize::from(blocks & 3)];
        let words = self.honest(state).into_iter().map(|local| {
            let heights = (0..self.bounds.heights).map(|height| {
                let rounds = (0..self.bounds.rounds).map(|round| {
                    let (voted, committed) =
                        (local.voted[height][round], local.committed[height][round]);
                    format!("r{round} vote {}, commit {}", name(voted), name(committed))
                });
                format!("h{} {}", height + 1, rounds.collect::<Vec<_>>().join("; "))
            });
            let heights = heights.collect::<Vec<_>>().join(" | ");
            format!("[tip {}, silent to {}: {heights}]", local.tip, local.silent_to)
        });
        words.collect::<Vec<_>>().join(" ")
    }
}
