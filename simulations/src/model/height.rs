//! One height of one log: rounds, promises, votes, locks, commits.
//!
//! Every message that was ever signed stays with the adversary, who decides what reaches whom and when,
//! and whose liars sign whatever can be verified. So a state is only what each honest witness has
//! signed and remembers; everything else follows. Honest witnesses are alike: states that differ in
//! who is who, or in which of the two blocks is called X, are one state.

use std::cmp::Reverse;

use super::search::Model;

/// Most rounds of a model.
pub const ROUNDS_MAX: usize = 4;
/// Most honest witnesses of a model.
const HONEST_MAX: usize = 6;

/// How the witnesses' rules differ from the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Not at all.
    AsImplemented,
    /// Rule 3: rounds below the highest one joined are joined.
    JoinBelow,
    /// Rule 4: one promise fewer than a quorum is enough.
    FewPromises,
    /// Rule 5: any lock the promises tell of may be proposed again, not the highest alone.
    AnyLock,
    /// Rule 5: a lock is believed without its votes.
    UnprovenLock,
    /// Rule 5: votes are given whatever the promises tell.
    NoChoice,
    /// Rule 6: votes are given below the highest round joined.
    VoteBelow,
    /// Rule 6: both of two blocks get a vote in a round.
    TwoVotes,
    /// Rule 7: commits are given below the highest round joined.
    CommitBelow,
    /// Rules 7 and 8: one signature fewer than a quorum is enough.
    SmallQuorum,
    /// Rule 8: commits of different rounds add up to a certificate.
    MixedRounds,
    /// No locks: a quorum of votes makes a block final, and promises tell of the last vote.
    OnePhase,
    /// A witness that voted for a block votes for no other at that height.
    VoteForEver,
    /// A witness that holds a lock votes for no other block, whatever the promises tell.
    LockForEver,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::AsImplemented,
        Self::JoinBelow,
        Self::FewPromises,
        Self::AnyLock,
        Self::UnprovenLock,
        Self::NoChoice,
        Self::VoteBelow,
        Self::TwoVotes,
        Self::CommitBelow,
        Self::SmallQuorum,
        Self::MixedRounds,
        Self::OnePhase,
        Self::VoteForEver,
        Self::LockForEver,
    ];
}

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// One of the liars.
    Liar,
    /// An honest brand that opens rounds whenever it likes.
    Impatient,
}

/// How large a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Brands.
    pub members: usize,
    /// Those that lie.
    pub liars: usize,
    /// Rounds, 0 counted.
    pub rounds: usize,
    /// Who writes.
    pub writer: Writer,
}

impl Bounds {
    const fn faults(&self) -> usize {
        (self.members - 1) / 3
    }
    const fn quorum(&self) -> usize {
        (self.members + self.faults() + 1).div_ceil(2)
    }
    const fn honest(&self) -> usize {
        self.members - self.liars
    }
}

/// One of the two blocks, as a bit.
type Block = u8;
const BLOCKS: [Block; 2] = [1, 2];

/// A lock: 0 for none, else 1 + 2 x round + (0 for X, 1 for Y).
type LockCode = u8;

const fn lock_code(round: usize, block: Block) -> LockCode {
    1 + 2 * round as u8 + (block - 1)
}
const fn lock_of(code: LockCode) -> Option<(usize, Block)> {
    if code == 0 { None } else { Some(((code as usize - 1) / 2, (code - 1) % 2 + 1)) }
}
const fn swapped(code: LockCode) -> LockCode {
    match lock_of(code) {
        None => 0,
        Some((round, block)) => lock_code(round, 3 - block),
    }
}

/// What one honest witness has signed and remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Local {
    joined: u8,
    lock: LockCode,
    // by round: 0 for no promise, else 1 + the lock it tells of
    promised: [u8; ROUNDS_MAX],
    // by round: the blocks, as bits
    voted: [u8; ROUNDS_MAX],
    committed: [u8; ROUNDS_MAX],
}

/// What a witness may be brought to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Promise(usize),
    Vote(usize, Block),
    Commit(usize, Block),
}

impl Local {
    fn swapped(&self) -> Self {
        let swap = |bits: u8| (bits & 1) << 1 | bits >> 1;
        Self {
            joined: self.joined,
            lock: swapped(self.lock),
            promised: self.promised.map(|told| if told == 0 { 0 } else { 1 + swapped(told - 1) }),
            voted: self.voted.map(swap),
            committed: self.committed.map(swap),
        }
    }

    fn last_vote(&self) -> LockCode {
        let voted = (0..ROUNDS_MAX).rev().find(|round| self.voted[*round] != 0);
        voted.map_or(0, |round| lock_code(round, if self.voted[round] & 1 == 1 { 1 } else { 2 }))
    }

    /// The witness's own rules: what it does if the messages that call for it exist.
    fn acts(&self, rounds: usize, variant: Variant) -> Vec<(Act, Self)> {
        let mut acts = Vec::new();
        let joined = usize::from(self.joined);
        for round in 0..rounds {
            let fresh = round > joined || variant == Variant::JoinBelow;
            if round > 0 && fresh && self.promised[round] == 0 {
                let mut next = *self;
                let told = if variant == Variant::OnePhase { self.last_vote() } else { self.lock };
                next.promised[round] = 1 + told;
                next.joined = round as u8;
                acts.push((Act::Promise(round), next));
            }
            for block in BLOCKS {
                let above = round >= joined || variant == Variant::VoteBelow;
                let once = self.voted[round] == 0
                    || (variant == Variant::TwoVotes && self.voted[round] & block == 0);
                if above && once && self.is_willing(block, variant) {
                    let mut next = *self;
                    next.voted[round] |= block;
                    next.joined = next.joined.max(round as u8);
                    acts.push((Act::Vote(round, block), next));
                }
                let above = round >= joined || variant == Variant::CommitBelow;
                let new = self.committed[round] & block == 0 && variant != Variant::OnePhase;
                if above && new {
                    let mut next = *self;
                    next.committed[round] |= block;
                    next.lock = lock_code(round, block);
                    next.joined = next.joined.max(round as u8);
                    acts.push((Act::Commit(round, block), next));
                }
            }
        }
        acts
    }

    fn is_willing(&self, block: Block, variant: Variant) -> bool {
        match variant {
            Variant::VoteForEver => self.voted.iter().all(|voted| voted & !block == 0),
            Variant::LockForEver => lock_of(self.lock).is_none_or(|(_, locked)| locked == block),
            _ => true,
        }
    }
}

/// All honest witnesses' places in the table of locals, sorted, 16 bits each; above them what an
/// honest writer proposed, two bits a round.
type State = u128;
const PROPOSED_AT: u32 = 16 * HONEST_MAX as u32;

/// One height under one variant of the rules.
pub struct Height {
    bounds: Bounds,
    variant: Variant,
    locals: Vec<Local>,
    acts: Vec<Vec<(Act, u16)>>,
    swapped: Vec<u16>,
}

/// What everybody's signatures come to.
struct Seen {
    votes: [[usize; 2]; ROUNDS_MAX],
    commits: [[usize; 2]; ROUNDS_MAX],
    // by round of the promise: those that tell of no lock, and of each lock
    free: [usize; ROUNDS_MAX],
    told: [[[usize; 2]; ROUNDS_MAX]; ROUNDS_MAX],
}

impl Height {
    /// The model.
    ///
    /// # Panics
    /// Beyond [`ROUNDS_MAX`] rounds, or for an alliance with more honest brands than six.
    #[must_use]
    pub fn new(bounds: Bounds, variant: Variant) -> Self {
        assert!(bounds.rounds <= ROUNDS_MAX && bounds.honest() <= HONEST_MAX, "{bounds:?}");
        let mut places = std::collections::BTreeMap::from([(Local::default(), 0_u16)]);
        let mut locals = vec![Local::default()];
        let mut acts = Vec::new();
        let mut at = 0;
        while let Some(local) = locals.get(at).copied() {
            let mut place = |next: Local, locals: &mut Vec<Local>| {
                *places.entry(next).or_insert_with(|| {
                    locals.push(next);
                    u16::try_from(locals.len() - 1).expect("few enough rounds")
                })
            };
            let own = local.acts(bounds.rounds, variant).into_iter();
            acts.push(own.map(|(act, next)| (act, place(next, &mut locals))).collect());
            at += 1;
        }
        let swapped = locals.iter().map(|local| places[&local.swapped()]).collect();
        Self { bounds, variant, locals, acts, swapped }
    }

    fn places(&self, state: State) -> impl Iterator<Item = u16> + '_ {
        (0..self.bounds.honest()).map(move |place| (state >> (16 * place)) as u16)
    }

    fn proposed(state: State, round: usize) -> Block {
        (state >> (PROPOSED_AT + 2 * round as u32)) as u8 & 3
    }

    /// One of all states that are the same but for names.
    fn canonical(&self, places: &[u16], proposals: u128) -> State {
        let pack = |mut places: [u16; HONEST_MAX], proposals: u128| {
            let honest = &mut places[..self.bounds.honest()];
            honest.sort_unstable_by_key(|place| Reverse(*place));
            let packed = honest.iter().fold(0, |packed, place| packed << 16 | u128::from(*place));
            packed | proposals << PROPOSED_AT
        };
        let mut same = [0; HONEST_MAX];
        let mut other = [0; HONEST_MAX];
        for (at, place) in places.iter().enumerate() {
            same[at] = *place;
            other[at] = self.swapped[usize::from(*place)];
        }
        let odd = 0x5555_u128;
        let exchanged = (proposals & odd) << 1 | (proposals >> 1) & odd;
        pack(same, proposals).min(pack(other, exchanged))
    }

    fn seen(&self, state: State) -> Seen {
        let none = [[0; 2]; ROUNDS_MAX];
        let mut seen =
            Seen { votes: none, commits: none, free: [0; ROUNDS_MAX], told: [none; ROUNDS_MAX] };
        for place in self.places(state) {
            let local = &self.locals[usize::from(place)];
            for round in 0..self.bounds.rounds {
                for (number, block) in BLOCKS.into_iter().enumerate() {
                    seen.votes[round][number] += usize::from(local.voted[round] & block != 0);
                    seen.commits[round][number] += usize::from(local.committed[round] & block != 0);
                }
                match local.promised[round] {
                    0 => {}
                    told => match lock_of(told - 1) {
                        None => seen.free[round] += 1,
                        Some((of, block)) => seen.told[round][of][usize::from(block) - 1] += 1,
                    },
                }
            }
        }
        seen
    }

    fn signatures_needed(&self) -> usize {
        self.bounds.quorum() - usize::from(self.variant == Variant::SmallQuorum)
    }

    fn is_locked(&self, seen: &Seen, round: usize, block: usize) -> bool {
        seen.votes[round][block] + self.bounds.liars >= self.signatures_needed()
    }

    fn is_certified(&self, seen: &Seen, block: usize) -> bool {
        let liars = self.bounds.liars;
        let signed = if self.variant == Variant::OnePhase { &seen.votes } else { &seen.commits };
        let enough = |honest: usize| honest + liars >= self.signatures_needed();
        if self.variant == Variant::MixedRounds {
            return enough(signed.iter().map(|round| round[block]).sum());
        }
        signed.iter().any(|round| enough(round[block]))
    }

    /// Whether a proposal of this block in this round can be shown with promises that call for it.
    fn is_justified(&self, seen: &Seen, round: usize, block: usize) -> bool {
        if round == 0 {
            return true;
        }
        let Bounds { liars, .. } = self.bounds;
        let needed = self.bounds.quorum() - usize::from(self.variant == Variant::FewPromises);
        let (free, told) = (seen.free[round], &seen.told[round]);
        let all = free + told.iter().flatten().sum::<usize>();
        if free + liars >= needed || (self.variant == Variant::NoChoice && all + liars >= needed) {
            return true;
        }
        let mut below = free;
        (0..round).any(|of| {
            let same = told[of][0] + told[of][1];
            let liar_tells = liars > 0
                && match self.variant {
                    Variant::UnprovenLock | Variant::OnePhase => true,
                    _ => self.is_locked(seen, of, block),
                };
            let highest = below + same;
            below += same;
            let promises = if self.variant == Variant::AnyLock { all } else { highest };
            (told[of][block] > 0 || liar_tells) && promises + liars >= needed
        })
    }

    /// Whether the honest witnesses alone, led by an honest writer in a round above all, would decide.
    fn can_decide(&self, state: State, seen: &Seen) -> bool {
        if self.is_certified(seen, 0) || self.is_certified(seen, 1) {
            return true;
        }
        let locals: Vec<&Local> =
            self.places(state).map(|place| &self.locals[usize::from(place)]).collect();
        let told = |local: &Local| match self.variant {
            Variant::OnePhase => local.last_vote(),
            _ => local.lock,
        };
        let highest = locals.iter().filter_map(|local| lock_of(told(local))).max();
        let chosen = highest.map_or(BLOCKS.to_vec(), |(_, block)| vec![block]);
        chosen.into_iter().any(|block| {
            let votes = locals.iter().filter(|local| local.is_willing(block, self.variant)).count();
            votes >= self.bounds.quorum()
        })
    }
}

impl Model for Height {
    type State = State;

    fn initial(&self) -> State {
        0
    }

    fn successors(&self, state: State, next: &mut Vec<State>) {
        let seen = self.seen(state);
        let (rounds, honest) = (self.bounds.rounds, self.bounds.writer == Writer::Impatient);
        let mut justified = [[false; 2]; ROUNDS_MAX];
        for (round, blocks) in justified.iter_mut().enumerate().take(rounds) {
            for (number, block) in blocks.iter_mut().enumerate() {
                let proposed = Self::proposed(state, round) & BLOCKS[number] != 0;
                *block = if honest { proposed } else { self.is_justified(&seen, round, number) };
            }
        }
        let mut places = [0; HONEST_MAX];
        let places = &mut places[..self.bounds.honest()];
        places.iter_mut().zip(self.places(state)).for_each(|(to, from)| *to = from);
        let proposals = state >> PROPOSED_AT;
        for at in 0..places.len() {
            let place = places[at];
            // sorted: equal witnesses stand side by side
            if at > 0 && places[at - 1] == place {
                continue;
            }
            for (act, after) in &self.acts[usize::from(place)] {
                let called_for = match *act {
                    Act::Promise(_) => true,
                    Act::Vote(round, block) => justified[round][usize::from(block) - 1],
                    Act::Commit(round, block) => {
                        self.is_locked(&seen, round, usize::from(block) - 1)
                    }
                };
                if called_for {
                    let mut changed = [0; HONEST_MAX];
                    changed[..places.len()].copy_from_slice(places);
                    changed[at] = *after;
                    next.push(self.canonical(&changed[..places.len()], proposals));
                }
            }
        }
        if honest {
            self.proposals(state, &seen, places, next);
        }
    }

    fn broken(&self, state: State) -> Option<&'static str> {
        let seen = self.seen(state);
        if self.is_certified(&seen, 0) && self.is_certified(&seen, 1) {
            return Some("agreement");
        }
        let quorum = self.bounds.honest() >= self.bounds.quorum();
        (quorum && !self.can_decide(state, &seen)).then_some("a decision can be reached")
    }

    fn describe(&self, state: State) -> String {
        let name = |blocks: u8| ["-", "X", "Y", "XY"][usize::from(blocks & 3)];
        let lock = |code| match lock_of(code) {
            None => "none".to_owned(),
            Some((round, block)) => format!("{}@{round}", name(block)),
        };
        let mut words = Vec::new();
        for place in self.places(state) {
            let local = &self.locals[usize::from(place)];
            let rounds = (0..self.bounds.rounds).map(|round| {
                let promise = match local.promised[round] {
                    0 => String::new(),
                    told => format!("promise {}, ", lock(told - 1)),
                };
                let (vote, commit) = (name(local.voted[round]), name(local.committed[round]));
                format!("r{round} {promise}vote {vote}, commit {commit}")
            });
            words.push(format!("[{}]", rounds.collect::<Vec<_>>().join("; ")));
        }
        words.join(" ")
    }
}

impl Height {
    /// What an honest writer may do: one proposal a round, the highest it has opened.
    fn proposals(&self, state: State, seen: &Seen, places: &[u16], next: &mut Vec<State>) {
        let promised =
            |round: usize| seen.free[round] > 0 || seen.told[round] != [[0; 2]; ROUNDS_MAX];
        for round in 0..self.bounds.rounds {
            let current = Self::proposed(state, round) == 0
                && (round + 1..self.bounds.rounds)
                    .all(|later| Self::proposed(state, later) == 0 && !promised(later));
            for (number, block) in BLOCKS.into_iter().enumerate() {
                if current && self.is_justified(seen, round, number) {
                    let proposals = state >> PROPOSED_AT | u128::from(block) << (2 * round);
                    next.push(self.canonical(places, proposals));
                }
            }
        }
    }
}
