//! The rules of the agreement as small models, every reachable state of which is looked at.
//!
//! Beside the simulator, which runs the real state machines on some of the paths there are, these
//! models take every path of far simpler machines: [`height`] for the rounds of one height, [`restore`]
//! for a witness that comes back from an old backup. The rules as implemented must hold; naive
//! variants of them must break, or the models would show nothing. Rounds and heights are bounded;
//! signatures, hashes and blocks' contents are left out: a liar signs whatever can be verified.

pub mod height;
pub mod restore;
pub mod search;

use serde::Serialize;

use height::{Height, Variant, Writer};
use restore::Restores;
use search::{Found, search};

/// What came of one model.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The rules.
    pub variant: String,
    /// How large it was.
    pub bounds: String,
    /// What is expected: "holds", or "breaks" for a naive variant.
    pub expected: &'static str,
    /// What was found: "holds", "breaks", or "not finished" when there were too many states.
    pub verdict: &'static str,
    /// The guarantee that breaks.
    pub guarantee: Option<&'static str>,
    /// States seen.
    pub states: usize,
    /// The states that lead to where it breaks.
    pub path: Vec<String>,
}

impl Verdict {
    fn new(variant: String, bounds: String, breaks: bool, found: Found) -> Self {
        let (guarantee, path) = found.broken.unzip();
        let verdict = match guarantee {
            Some(_) => "breaks",
            None if found.complete => "holds",
            None => "not finished",
        };
        let expected = if breaks { "breaks" } else { "holds" };
        let (states, path) = (found.states, path.unwrap_or_default());
        Self { variant, bounds, expected, verdict, guarantee, states, path }
    }

    /// Whether it is as it should be.
    #[must_use]
    pub fn is_expected(&self) -> bool {
        self.expected == self.verdict
    }
}

/// One height.
#[must_use]
pub fn of_height(bounds: height::Bounds, variant: Variant, breaks: bool, most: usize) -> Verdict {
    let height::Bounds { members, liars, rounds, writer } = bounds;
    let writer = match writer {
        Writer::Liar => "one of them the writer",
        Writer::Impatient => "the writer honest and impatient",
    };
    let words = format!("{members} brands, {liars} liars, {writer}, {rounds} rounds");
    let found = search(&Height::new(bounds, variant), most);
    Verdict::new(format!("{variant:?}"), words, breaks, found)
}

/// Several heights with a witness that is restored.
#[must_use]
pub fn of_restores(bounds: restore::Bounds, breaks: bool, most: usize) -> Verdict {
    let restore::Bounds { members, heights, rounds, restores, margin } = bounds;
    let words = format!(
        "{members} brands, the writer a liar, {heights} heights, {rounds} rounds, {restores} restores"
    );
    let margin = margin.map_or_else(|| "at once".to_owned(), |margin| format!("margin {margin}"));
    let found = search(&Restores::new(bounds), most);
    Verdict::new(format!("Restored, {margin}"), words, breaks, found)
}

/// How far the models go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Rounds of one height for four brands; one fewer for five.
    pub rounds: usize,
    /// How often a witness is restored.
    pub restores: u8,
    /// Most states of one model.
    pub most: usize,
}

impl Size {
    /// What is looked at at every build.
    pub const USUAL: Self = Self { rounds: 3, restores: 1, most: 20_000_000 };
}

/// Every model, the rules as implemented first and then what breaks.
pub fn all(size: Size) -> impl Iterator<Item = Verdict> {
    one_height(size).chain(restored(size))
}

fn one_height(size: Size) -> impl Iterator<Item = Verdict> {
    let Size { rounds, most, .. } = size;
    let bounds = |members, liars, rounds, writer| height::Bounds { members, liars, rounds, writer };
    let (four, five) = (rounds, rounds.saturating_sub(1).max(1));
    let mut runs: Vec<(height::Bounds, Variant, bool)> = Vec::new();
    // votes below the round joined do no harm while there are no commits below it
    let harmless = [Variant::AsImplemented, Variant::VoteBelow];
    for variant in Variant::ALL {
        let breaks = !harmless.contains(&variant);
        runs.push((bounds(4, 1, four, Writer::Liar), variant, breaks));
        // an honest writer never proposes twice in a round, so that nobody is asked for two votes
        let breaks = breaks && variant != Variant::TwoVotes;
        runs.push((bounds(4, 1, four, Writer::Impatient), variant, breaks));
    }
    for variant in [Variant::NoChoice, Variant::UnprovenLock, Variant::CommitBelow] {
        runs.push((bounds(5, 1, five, Writer::Liar), variant, true));
    }
    let implemented = [
        (bounds(5, 1, five, Writer::Liar), false),
        (bounds(5, 1, five, Writer::Impatient), false),
        (bounds(3, 0, four, Writer::Impatient), false),
        // three brands tolerate no liar: a fork is detected there, not prevented
        (bounds(3, 1, four, Writer::Liar), true),
    ];
    runs.extend(implemented.map(|(bounds, breaks)| (bounds, Variant::AsImplemented, breaks)));
    runs.into_iter().map(move |(bounds, variant, breaks)| of_height(bounds, variant, breaks, most))
}

fn restored(size: Size) -> impl Iterator<Item = Verdict> {
    let Size { restores, most, .. } = size;
    // with a margin of 1 two heights are enough to fork, so that 2 is tried with three
    let margins = [(None, 2, true), (Some(0), 2, true), (Some(1), 2, true), (Some(2), 3, false)];
    margins.into_iter().map(move |(margin, heights, breaks)| {
        let bounds = restore::Bounds { members: 4, heights, rounds: 1, restores, margin };
        of_restores(bounds, breaks, most)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_hold_in_every_state_and_naive_variants_break() {
        for verdict in all(Size::USUAL) {
            let Verdict { variant, bounds, verdict: found, .. } = &verdict;
            assert!(verdict.is_expected(), "{variant} with {bounds}: {found} {:#?}", verdict.path);
        }
    }

    #[test]
    fn a_search_that_is_cut_off_says_so() {
        let bounds = height::Bounds { members: 4, liars: 1, rounds: 2, writer: Writer::Liar };
        let verdict = of_height(bounds, Variant::AsImplemented, false, 100);
        assert_eq!((verdict.verdict, verdict.is_expected()), ("not finished", false));
    }
}
