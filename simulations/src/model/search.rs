//! Looks at every state a model can reach, breadth first, so that what breaks it is shortest.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A system of states. What is symmetric is to be made equal before a state is handed out.
pub trait Model {
    /// One state of everything.
    type State: Copy + Eq + Hash;

    /// Where it begins.
    fn initial(&self) -> Self::State;
    /// Every state that one step leads to.
    fn successors(&self, state: Self::State, next: &mut Vec<Self::State>);
    /// The guarantee that does not hold here, if one does not.
    fn broken(&self, state: Self::State) -> Option<&'static str>;
    /// The state in words.
    fn describe(&self, state: Self::State) -> String;
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// States that were seen.
    pub states: usize,
    /// Whether these were all there are.
    pub complete: bool,
    /// The guarantee that does not hold, with the states that lead there.
    pub broken: Option<(&'static str, Vec<String>)>,
}

/// Searches until a guarantee breaks, every state was seen, or `most` states were.
pub fn search<M: Model>(model: &M, most: usize) -> Found {
    let initial = model.initial();
    // in the order they were found, each with the place of the one before it
    let mut found = vec![(initial, 0_usize)];
    let mut places: HashMap<M::State, (), BuildHasherDefault<Mixer>> = HashMap::default();
    places.insert(initial, ());
    let mut next = Vec::new();
    let mut at = 0;
    while let Some((state, _)) = found.get(at).copied() {
        if let Some(guarantee) = model.broken(state) {
            let path = path(model, &found, at);
            return Found { states: found.len(), complete: false, broken: Some((guarantee, path)) };
        }
        if found.len() >= most {
            return Found { states: found.len(), complete: false, broken: None };
        }
        next.clear();
        model.successors(state, &mut next);
        for state in &next {
            if places.insert(*state, ()).is_none() {
                found.push((*state, at));
            }
        }
        at += 1;
    }
    Found { states: found.len(), complete: true, broken: None }
}

fn path<M: Model>(model: &M, found: &[(M::State, usize)], mut at: usize) -> Vec<String> {
    let mut path = Vec::new();
    loop {
        let (state, before) = found[at];
        path.push(model.describe(state));
        if at == 0 {
            path.reverse();
            return path;
        }
        at = before;
    }
}

/// States are small numbers: one multiplication spreads them well enough, and is the same every time.
#[derive(Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    fn write_u128(&mut self, word: u128) {
        self.write_u64(word as u64);
        self.write_u64((word >> 64) as u64);
    }
}
