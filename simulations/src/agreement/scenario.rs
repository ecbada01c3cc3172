//! What a run is made of: drawn from its seed, or asked for.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ids::BrandId;

use crate::alliance::Alliance;
use crate::liars::Liar;
use crate::liars::forgery::Lie;
use crate::network::Weather;
use crate::node::Habit;
use crate::prng::Prng;

/// In a thousand steps of a machine, where machines are ambushed.
const AMBUSHED_CRASHES: usize = 20;

/// Tells the draw of a topic from the run's other draws.
const CREDIT: u64 = 0x6372_6564_6974;
/// The same of another topic.
const PARTNERS: u64 = 0x7061_7274_6e65_7273;

/// What happens in a run beside exchanges, crashes and bad weather.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Topic {
    /// Disks are put back to older states.
    Restores,
    /// Constitutions follow one another.
    Constitutions,
    /// Cut-offs, statements, payments.
    Clearing,
    /// Brands agree to close the logs of liars.
    Closing,
    /// Who has just shown something that binds loses power, its messages, or time.
    Ambushes,
    /// Members send back what they were credited; where constitutions follow one another, some lower limits
    /// or make steps larger, whatever is owed.
    Credit,
    /// Brands join and leave, and are closed out, while cut-offs pass: when all is over, whoever is there
    /// derives the same statement.
    Partners,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Restores,
        Self::Constitutions,
        Self::Clearing,
        Self::Closing,
        Self::Ambushes,
        Self::Credit,
        Self::Partners,
    ];

    /// Those that are drawn with all the others, one by one.
    const fn is_drawn(self) -> bool {
        !matches!(self, Self::Credit | Self::Partners)
    }
}

/// What a run is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Everything follows from it.
    pub seed: u64,
    /// How many brands; by the seed if not given.
    pub brands: Option<usize>,
    /// How a brand lies; by the seed if not given. Given, it lies alone, and even where a fork can only
    /// be detected.
    pub liar: Option<Liar>,
    /// What is false about every other block of a counterfeiter; in turns if not given.
    pub lie: Option<Lie>,
    /// What happens; by the seed if not given. Given, no brand lies unless that is asked for as well.
    pub topic: Option<Topic>,
    /// How many events the storm has.
    pub events: usize,
    /// What all machines do with their disks.
    pub habit: Habit,
    /// Held to what comes of it alone, not to what each brand signs on the way: of a mutant this shows
    /// that what it signs wrongly does harm.
    pub outcomes_alone: bool,
}

impl Scenario {
    /// The usual scenario of a seed.
    #[must_use]
    pub const fn of_seed(seed: u64) -> Self {
        let (brands, liar, lie, topic) = (None, None, None, None);
        let (events, habit, outcomes_alone) = (700, Habit::Sound, false);
        Self { seed, brands, liar, lie, topic, events, habit, outcomes_alone }
    }
}

/// What was drawn for a run.
pub(super) struct Drawn {
    pub alliance: Alliance,
    pub liars: BTreeMap<BrandId, Liar>,
    /// Honest brands whose disks may be put back: with the liars at most as many as are tolerated.
    pub restorable: BTreeSet<BrandId>,
    pub topics: BTreeSet<Topic>,
    /// In a thousand steps of a machine.
    pub crashes: usize,
    pub weather: Weather,
}

impl Drawn {
    pub(super) fn new(scenario: &Scenario, prng: &mut Prng) -> Self {
        let brands = scenario.brands.unwrap_or_else(|| match prng.below(24) {
            0 => 8 + prng.below(14),
            // where two, three and four may lie together
            1 => [7, 10, 13].get(prng.below(3)).copied().unwrap_or(7),
            _ => 2 + prng.below(6),
        });
        let alliance = Alliance::new(brands);
        let committee = alliance.constitution().committee();
        let (ids, faults) = (committee.brands().to_vec(), committee.faults());
        let mut topics = topics(scenario, prng);
        let liars = liars(scenario, &ids, faults, prng);
        let mut restorable = BTreeSet::new();
        if topics.contains(&Topic::Restores) || topics.contains(&Topic::Ambushes) {
            // of two brands both are needed: there a restored one goes on where the other says
            let most = if ids.len() == 2 { 1 } else { faults };
            let mut honest = ids.clone();
            honest.retain(|id| !liars.contains_key(id));
            let spare = most.saturating_sub(liars.len());
            for _ in 0..spare.min(1 + prng.below(spare)) {
                restorable.insert(honest.swap_remove(prng.below(honest.len())));
            }
        }
        if restorable.is_empty() {
            topics.remove(&Topic::Restores);
        }
        if liars.is_empty() {
            topics.remove(&Topic::Closing);
        }
        let mut crashes = [0, 2, 10].get(prng.below(3)).copied().unwrap_or_default();
        if topics.contains(&Topic::Ambushes) {
            crashes += AMBUSHED_CRASHES;
        }
        let weather = Weather {
            loss: [0, 50, 250].get(prng.below(3)).copied().unwrap_or_default(),
            duplication: [0, 100, 300].get(prng.below(3)).copied().unwrap_or_default(),
        };
        Self { alliance, liars, restorable, topics, crashes, weather }
    }
}

/// What there is where brands join and leave and clear.
const PARTINGS: [Topic; 3] = [Topic::Constitutions, Topic::Clearing, Topic::Partners];

fn topics(scenario: &Scenario, prng: &mut Prng) -> BTreeSet<Topic> {
    match scenario.topic {
        Some(Topic::Credit) => return BTreeSet::from([Topic::Credit, Topic::Constitutions]),
        Some(Topic::Partners) => return PARTINGS.into(),
        Some(topic) => return BTreeSet::from([topic]),
        None => {}
    }
    // drawn by itself: runs without it are what they were before it was there
    let credit = Prng::new(scenario.seed ^ CREDIT).below(4) == 0;
    let partners = Prng::new(scenario.seed ^ PARTNERS).below(6) == 0;
    let others = Topic::ALL.into_iter().filter(|topic| topic.is_drawn());
    let mut topics: BTreeSet<Topic> = others.filter(|_| prng.below(4) == 0).collect();
    if credit {
        topics.insert(Topic::Credit);
    }
    if partners {
        topics.extend(PARTINGS);
    }
    if topics.contains(&Topic::Credit) && !topics.contains(&Topic::Clearing) {
        topics.insert(Topic::Constitutions);
    }
    topics
}

/// As many liars as are tolerated at most; where none is, one that cannot fork a log.
fn liars(
    scenario: &Scenario,
    ids: &[BrandId],
    faults: usize,
    prng: &mut Prng,
) -> BTreeMap<BrandId, Liar> {
    let some = |of: &[Liar], prng: &mut Prng| of.get(prng.below(of.len())).copied();
    let first = match (scenario.liar, scenario.topic) {
        (Some(liar), _) => Some(liar),
        (None, Some(_)) => None,
        (None, None) if prng.below(10) < 3 => None,
        (None, None) if faults == 0 => some(&Liar::HARMLESS, prng),
        (None, None) => some(&Liar::ALL, prng),
    };
    let count = match (first, scenario.liar) {
        (None, _) => 0,
        (Some(_), Some(_)) => 1,
        (Some(_), None) => 1 + prng.below(faults),
    };
    let mut places = ids.to_vec();
    let mut liars = BTreeMap::new();
    let mut next = first;
    for _ in 0..count {
        let place = places.swap_remove(prng.below(places.len()));
        liars.extend(next.map(|liar| (place, liar)));
        next = some(&Liar::ALL, prng);
    }
    liars
}
