//! `coalition bench identity`: how often the vault's rules find whose a purchase is.
//!
//! Over the real people of the sample, or of a file that says which members of which brands are one
//! person, with identifiers made up from a seed: the data has cards and match keys and no other
//! identifier. What is made up and what is wrong with it is in [`Noise`], and nobody knows how much of it
//! a brand has: so it is measured over a range that was fixed before, from none to four times what is taken
//! for usual, with several seeds each, and all of it is printed with the worst. Cards and accounts are bound
//! to a phone number when they are first used, as a shop's are, but for those that are not; after that
//! they come alone. Nothing of the truth enters the vault. Counted are sightings that show a card, an account or a
//! phone number; the others are counted apart. The same sightings are played in two ways. In the one halves of one person
//! are merged by rule: that is what the rules know. The other is what a node does: who was never enrolled (no card, nothing
//! decided) is merged into the holder of the card that is shown; other halves are proposed for review, for points that move
//! with a merge stay where they went when it is undone.
//! A sighting is right when the member it ends at is for the
//! most part that person's, and is the member at whom most of the person's sightings end. Precision and
//! recall are those of pairs: of sightings at one member, how many are one person's; of one person's,
//! how many are at one member.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alliance_config::sample;
use protocol::ids::BrandId;
use protocol::time::Timestamp;
use ring::rand::SystemRandom;
use serde::Serialize;

use super::super::{CliError, Io};
use super::input;
use crate::purchases::{ImportTerms, Mapping, Pace, Source, import_members};
use crate::store::SledStore;
use crate::vault::{
    CardNumber, Enrolment, HeldBrandKey, Identifier, IdentifierKind, KEY_BYTES, MatchKey, MemberId,
    NewMember, Strength, Vault,
};

/// How it is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct IdentityArguments {
    /// CSV with the columns person_id, brand, member_id and match_key, as the data's ground truth has
    /// them; the shipped sample's members if not given.
    #[arg(long)]
    pub people: Option<PathBuf>,
    /// Sightings of each person.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub sightings: u32,
    /// Seeds of everything that is made up: each level of noise is measured with all of them.
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    pub seeds: Vec<u64>,
    /// Levels of noise, in per cent of what is taken for usual.
    #[arg(long, value_delimiter = ',', default_value = "0,50,100,200,300,400",
          value_parser = clap::value_parser!(u32).range(..=1000))]
    pub levels: Vec<u32>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What is wrong with the identifiers, each in thousandths.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Noise {
    /// Phones, cards and addresses typed by hand that have one wrong character.
    pub typos: u32,
    /// People who are in a household of two or three with others of the data.
    pub in_households: u32,
    /// Of those, people who give another's phone number as theirs, and have none.
    pub shared_phones: u32,
    /// Of those, people who use another's device.
    pub shared_devices: u32,
    /// Of those, people who pay by another's card.
    pub shared_payments: u32,
    /// Of those, people who write under another's address.
    pub shared_addresses: u32,
    /// People whose card is changed half-way.
    pub changed_cards: u32,
    /// People whose phone number is changed half-way.
    pub changed_phones: u32,
    /// Sightings that show a device and perhaps a way of paying and nothing else.
    pub anonymous: u32,
    /// First uses of a card or an account without the phone number that binds it.
    pub unbound: u32,
}

impl Noise {
    /// What is taken for usual: a guess, as nobody has published such figures.
    pub const USUAL: Self = Self {
        typos: 10,
        in_households: 400,
        shared_phones: 40,
        shared_devices: 150,
        shared_payments: 400,
        shared_addresses: 150,
        changed_cards: 50,
        changed_phones: 30,
        anonymous: 100,
        unbound: 50,
    };

    /// So many per cent of the usual.
    #[must_use]
    pub const fn level(percent: u32) -> Self {
        const fn of(thousandths: u32, percent: u32) -> u32 {
            let scaled = thousandths * percent / 100;
            if scaled > 1000 { 1000 } else { scaled }
        }
        let usual = Self::USUAL;
        Self {
            typos: of(usual.typos, percent),
            in_households: of(usual.in_households, percent),
            shared_phones: of(usual.shared_phones, percent),
            shared_devices: of(usual.shared_devices, percent),
            shared_payments: of(usual.shared_payments, percent),
            shared_addresses: of(usual.shared_addresses, percent),
            changed_cards: of(usual.changed_cards, percent),
            changed_phones: of(usual.changed_phones, percent),
            anonymous: of(usual.anonymous, percent),
            unbound: of(usual.unbound, percent),
        }
    }
}

/// What is asked of the rules, in per cent of sightings.
pub const TARGET_PERCENT: f64 = 98.0;

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct IdentityFigures {
    /// Where the people are from.
    pub people_from: String,
    /// Brands, each with a vault of its own.
    pub brands: usize,
    /// People, counted once a brand.
    pub people: u64,
    /// Kinds of identifiers.
    pub kinds: usize,
    /// What is asked, in per cent.
    pub target_percent: f64,
    /// What was measured, by level of noise.
    pub levels: Vec<LevelFigures>,
    /// Match keys against the truth, when the file says who is one person.
    pub match_keys: Option<MatchKeyFigures>,
}

/// What was measured at one level of noise, with all seeds together.
#[derive(Debug, Clone, Serialize)]
pub struct LevelFigures {
    /// In per cent of the usual.
    pub level: u32,
    /// What was wrong, in thousandths.
    pub noise: Noise,
    /// Sightings that show a card, an account or a phone number.
    pub sightings: u64,
    /// Sightings that show a device, a car or a way of paying alone, which are in no figure below.
    pub anonymous_sightings: u64,
    /// By the rules alone.
    pub by_rules: Accuracy,
    /// The least accuracy by the rules alone of any seed, in per cent.
    pub worst_seed_percent: f64,
    /// Whether the rules alone reach the target with every seed.
    pub target_met: bool,
    /// After a person, who knows, has reviewed the pairs that the rules proposed.
    pub after_review: Accuracy,
    /// Pairs that were reviewed.
    pub reviewed: u64,
    /// By the rules alone, as a node goes by them: halves of one person are proposed for review.
    pub as_a_node: Accuracy,
    /// The same after the review of what was proposed so.
    pub as_a_node_after_review: Accuracy,
    /// Pairs of that review.
    pub as_a_node_reviewed: u64,
}

/// What becomes of two members who turn out to be halves of one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// They are merged by rule.
    JoinsHalves,
    /// A person reviews them, but for who was never enrolled where a card is shown.
    AsANode,
}

/// How right it is.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Accuracy {
    /// Sightings that are right.
    pub right: u64,
    /// Of all, in per cent.
    pub accuracy_percent: f64,
    /// Precision over pairs, in per cent.
    pub precision_percent: f64,
    /// Recall over pairs, in per cent.
    pub recall_percent: f64,
}

/// Match keys across brands against who is one person.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct MatchKeyFigures {
    /// Pairs of members of two brands with equal match keys who are one person.
    pub right: u64,
    /// Pairs with equal match keys who are not.
    pub wrong: u64,
    /// Pairs who are one person and have different match keys.
    pub missed: u64,
    /// Members whom the vault did not find again by their match key.
    pub not_found: u64,
}

impl IdentityFigures {
    /// Says it on stderr.
    pub fn tell(&self, io: &Io) {
        io.say(&format!(
            "{} people at {} brands ({}), {} kinds of identifiers; the usual noise in thousandths: {:?}",
            self.people,
            self.brands,
            self.people_from,
            self.kinds,
            Noise::USUAL
        ));
        let line = |name: &str, it: &Accuracy| {
            io.say(&format!(
                "  {name}: accuracy {:.2} %, precision {:.2} %, recall {:.2} %",
                it.accuracy_percent, it.precision_percent, it.recall_percent
            ));
        };
        for level in &self.levels {
            let target = if level.target_met { "met" } else { "not met" };
            io.say(&format!(
                "noise at {} % of the usual, {} sightings: {} % {target} (worst seed {:.2} %)",
                level.level, level.sightings, self.target_percent, level.worst_seed_percent
            ));
            line("by the rules alone", &level.by_rules);
            line(&format!("after review of {} pairs", level.reviewed), &level.after_review);
            line("as a node, by the rules alone", &level.as_a_node);
            let reviewed = format!("as a node, after review of {} pairs", level.as_a_node_reviewed);
            line(&reviewed, &level.as_a_node_after_review);
        }
        if let Some(keys) = &self.match_keys {
            io.say(&format!(
                "match keys across brands: {} pairs right, {} wrong, {} missed, {} members not found",
                keys.right, keys.wrong, keys.missed, keys.not_found
            ));
        }
    }
}

/// One member of the data.
struct Row {
    person: Option<String>,
    card: String,
    match_key: Option<String>,
}

/// Measures.
///
/// # Errors
/// When the file cannot be read or a vault fails.
pub fn measure(arguments: &IdentityArguments, io: &Io) -> Result<IdentityFigures, CliError> {
    let (people_from, brands) = match &arguments.people {
        Some(path) => (
            path.file_name().map_or_else(String::new, |it| it.to_string_lossy().into()),
            read(path)?,
        ),
        None => ("the shipped sample".to_owned(), sample_rows()?),
    };
    let mut levels = Vec::new();
    for level in &arguments.levels {
        io.say(&format!("noise at {level} % of the usual"));
        levels.push(at_level(&brands, *level, arguments)?);
    }
    let known = arguments.people.is_some();
    Ok(IdentityFigures {
        people_from,
        brands: brands.len(),
        people: brands.values().map(|rows| rows.len() as u64).sum(),
        kinds: IdentifierKind::ALL.len(),
        target_percent: TARGET_PERCENT,
        levels,
        match_keys: known.then(|| match_keys(&brands)).transpose()?,
    })
}

fn at_level(
    brands: &Brands,
    level: u32,
    arguments: &IdentityArguments,
) -> Result<LevelFigures, CliError> {
    let noise = Noise::level(level);
    let (mut sum, mut of_node) = ([Tally::default(); 2], [Tally::default(); 2]);
    let (mut sightings, mut anonymous_sightings) = (0, 0);
    let (mut reviewed, mut as_a_node_reviewed) = (0, 0);
    let mut worst_seed_percent = 100.0_f64;
    for seed in &arguments.seeds {
        let mut of_seed = Tally::default();
        for (number, (brand, rows)) in brands.iter().enumerate() {
            for way in [Way::JoinsHalves, Way::AsANode] {
                // of one seed: the same people, and what they show, both times
                let mut random = Random(seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
                let run = Run::new(*brand, rows, noise, &mut random)?;
                let done = run.play(arguments.sightings, way, &mut random)?;
                let sums = match way {
                    Way::JoinsHalves => {
                        sightings += done.events;
                        anonymous_sightings += done.anonymous;
                        reviewed += done.reviewed;
                        of_seed.add(done.tally[0]);
                        &mut sum
                    }
                    Way::AsANode => {
                        as_a_node_reviewed += done.reviewed;
                        &mut of_node
                    }
                };
                for (all, part) in sums.iter_mut().zip(done.tally) {
                    all.add(part);
                }
            }
        }
        worst_seed_percent = worst_seed_percent.min(of_seed.accuracy().accuracy_percent);
    }
    let [by_rules, after_review] = sum.map(Tally::accuracy);
    let [as_a_node, as_a_node_after_review] = of_node.map(Tally::accuracy);
    Ok(LevelFigures {
        level,
        noise,
        sightings,
        anonymous_sightings,
        by_rules,
        worst_seed_percent,
        target_met: worst_seed_percent >= TARGET_PERCENT,
        after_review,
        reviewed,
        as_a_node,
        as_a_node_after_review,
        as_a_node_reviewed,
    })
}

type Brands = BTreeMap<BrandId, Vec<Row>>;

fn read(path: &Path) -> Result<Brands, CliError> {
    let file = |source| CliError::File { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(file)?;
    let mut lines = text.lines().enumerate();
    let header: Vec<&str> =
        lines.next().map_or_else(Vec::new, |(_, line)| line.split(',').collect());
    let place = |name: &str| {
        header.iter().position(|it| *it == name).ok_or_else(|| {
            CliError::Input(format!("{}: the column {name} is missing", path.display()))
        })
    };
    let places = [place("person_id")?, place("brand")?, place("member_id")?, place("match_key")?];
    let mut brands = Brands::new();
    for (number, line) in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let wrong = || {
            CliError::Input(format!(
                "{}, line {}: expected a person, a brand, a member and a match key",
                path.display(),
                number + 1
            ))
        };
        let [person, brand, card, key] = places.map(|place| cells.get(place).copied());
        let (Some(person), Some(brand), Some(card)) = (person, brand, card) else {
            return Err(wrong());
        };
        brands.entry(BrandId::new(brand).map_err(|_| wrong())?).or_default().push(Row {
            person: Some(person.to_owned()),
            card: card.to_owned(),
            match_key: key.filter(|key| !key.is_empty()).map(str::to_owned),
        });
    }
    Ok(brands)
}

fn sample_rows() -> Result<Brands, CliError> {
    let mut brands = Brands::new();
    for brand in &sample::BRANDS {
        let id = BrandId::new(brand.id).map_err(input)?;
        let (_folder, vault) = vault(id)?;
        let source = Source::Embedded { name: "members.parquet", bytes: brand.members };
        let mapping = Mapping::shipped("complete-journey").ok_or_else(|| input("no mapping"))?;
        let at = Timestamp::from_unix_ms(1);
        let terms = ImportTerms { mapping: &mapping, brands: &[], today: 0, pace: Pace::FULL };
        import_members(&vault, &source, terms, at, &mut |_| {}).map_err(input)?;
        let members = vault.members(None, usize::MAX).map_err(input)?;
        let mut rows = Vec::new();
        for member in members {
            let profile = vault.profile(member).map_err(input)?;
            let card = profile.card.expose().to_owned();
            rows.push(Row { person: None, card, match_key: None });
        }
        // the vault's order is random
        rows.sort_by(|a, b| a.card.cmp(&b.card));
        brands.insert(id, rows);
    }
    Ok(brands)
}

fn vault(brand: BrandId) -> Result<(tempfile::TempDir, Vault), CliError> {
    // in memory where the system has such a place: it is not the disk that is measured
    let folder =
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).map_err(input)?;
    let store = Arc::new(SledStore::open(folder.path()).map_err(input)?);
    let key = Arc::new(HeldBrandKey::from_bytes(&mut [7; KEY_BYTES]));
    Ok((folder, Vault::new(brand, store, key, Arc::new(SystemRandom::new()))))
}

fn match_keys(brands: &Brands) -> Result<MatchKeyFigures, CliError> {
    let mut figures = MatchKeyFigures::default();
    for (brand, rows) in brands {
        let (_folder, vault) = vault(*brand)?;
        for rows in rows.chunks(1_024) {
            let new = |row: &Row| {
                Ok::<_, CliError>(NewMember {
                    card: CardNumber::new(&row.card).map_err(input)?,
                    match_key: row
                        .match_key
                        .as_deref()
                        .map(MatchKey::new)
                        .transpose()
                        .map_err(input)?,
                    attributes: BTreeMap::new(),
                })
            };
            let people = rows.iter().map(new).collect::<Result<Vec<_>, _>>()?;
            let enrolled = vault.enrol(&people, &[]).map_err(input)?;
            for (person, enrolment) in people.iter().zip(enrolled) {
                let Some(key) = &person.match_key else { continue };
                let found = vault.by_match_key(key).map_err(input)?;
                let same = matches!(enrolment, Enrolment::Created(id) if found == Some(id));
                figures.not_found += u64::from(!same);
            }
        }
    }
    let all: Vec<(&BrandId, &Row)> =
        brands.iter().flat_map(|(brand, rows)| rows.iter().map(move |row| (brand, row))).collect();
    let pairs = |by: &dyn Fn(&Row) -> Option<String>| {
        let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (place, (_, row)) in all.iter().enumerate() {
            if let Some(key) = by(row) {
                groups.entry(key).or_default().push(place);
            }
        }
        let mut pairs = BTreeSet::new();
        for group in groups.values() {
            for (at, one) in group.iter().enumerate() {
                for other in group.iter().skip(at + 1) {
                    if all[*one].0 != all[*other].0 {
                        pairs.insert((*one, *other));
                    }
                }
            }
        }
        pairs
    };
    let by_key = pairs(&|row| row.match_key.clone());
    let by_person = pairs(&|row| row.person.clone());
    figures.right = by_key.intersection(&by_person).count() as u64;
    figures.wrong = by_key.difference(&by_person).count() as u64;
    figures.missed = by_person.difference(&by_key).count() as u64;
    Ok(figures)
}

/// SplitMix64: the same seed, the same people, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % (most.max(1) as u64)).unwrap_or_default()
    }
    fn happens(&mut self, thousandths: u32) -> bool {
        self.next() % 1000 < u64::from(thousandths)
    }
    fn word(&mut self, characters: usize) -> String {
        const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";
        (0..characters).map(|_| char::from(LETTERS[self.below(LETTERS.len())])).collect()
    }
    fn phone(&mut self) -> String {
        format!("1{}{:09}", 3 + self.below(7), self.next() % 1_000_000_000)
    }
}

type Identifiers = BTreeMap<IdentifierKind, String>;

struct Run {
    _folder: tempfile::TempDir,
    vault: Vault,
    noise: Noise,
    people: Vec<Identifiers>,
    // what is theirs from half-way on
    changed: Vec<Identifiers>,
}

struct Done {
    events: u64,
    anonymous: u64,
    reviewed: u64,
    tally: [Tally; 2],
}

impl Run {
    fn new(
        brand: BrandId,
        rows: &[Row],
        noise: Noise,
        random: &mut Random,
    ) -> Result<Self, CliError> {
        use IdentifierKind::*;
        let (folder, vault) = vault(brand)?;
        let mut people: Vec<Identifiers> = Vec::new();
        let mut household = 0;
        for row in rows {
            let mut own = Identifiers::from([
                (Card, row.card.clone()),
                (Phone, random.phone()),
                (WechatUnionId, format!("u{}", random.word(27))),
                (WechatOpenId, format!("o{}", random.word(27))),
                (Device, random.word(16)),
            ]);
            for (kind, thousandths, value) in [
                (AppUserId, 500, random.word(10)),
                (Email, 400, format!("{}@example.com", random.word(9))),
                (PaymentToken, 700, random.word(20)),
                (EcommerceAccount, 300, format!("tmall:{}", random.word(8))),
                (AlipayUserId, 300, format!("2088{:012}", random.next() % 1_000_000_000_000)),
                (LicencePlate, 250, format!("粤B{:05}", random.next() % 100_000)),
                (FaceToken, 50, random.word(32)),
            ] {
                if random.happens(thousandths) {
                    own.insert(kind, value);
                }
            }
            // whoever lives with the one before
            let with = people.last().filter(|_| household > 0).cloned();
            if let Some(with) = with {
                household -= 1;
                for (kind, thousandths) in [
                    (Phone, noise.shared_phones),
                    (Device, noise.shared_devices),
                    (PaymentToken, noise.shared_payments),
                    (Email, noise.shared_addresses),
                    (LicencePlate, 1000),
                ] {
                    if let (true, Some(theirs)) = (random.happens(thousandths), with.get(&kind)) {
                        own.insert(kind, theirs.clone());
                    }
                }
            } else if random.happens(noise.in_households * 2 / 5) {
                household = 1 + random.below(2);
            }
            people.push(own);
        }
        let changed = people
            .iter()
            .map(|_| {
                let mut changed = Identifiers::new();
                if random.happens(noise.changed_cards) {
                    changed.insert(Card, format!("NEW{}", random.word(9)));
                }
                if random.happens(noise.changed_phones) {
                    changed.insert(Phone, random.phone());
                }
                changed
            })
            .collect();
        Ok(Self { _folder: folder, vault, noise, people, changed })
    }

    fn play(&self, sightings: u32, way: Way, random: &mut Random) -> Result<Done, CliError> {
        let mut order: Vec<usize> =
            (0..self.people.len()).flat_map(|it| (0..sightings).map(move |_| it)).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last + 1));
        }
        let (half, mut anonymous) = (order.len() / 2, 0);
        let mut used: BTreeSet<(usize, IdentifierKind, String)> = BTreeSet::new();
        let mut ended_at: Vec<(usize, MemberId)> = Vec::with_capacity(order.len());
        let mut merged: BTreeMap<MemberId, MemberId> = BTreeMap::new();
        for (time, person) in order.into_iter().enumerate() {
            let shown = self.shown(person, time > half, &mut used, random);
            let mut identifiers = Vec::new();
            for (kind, text) in shown {
                // a mistyped one may be none any more: the till refuses it
                identifiers.extend(Identifier::parse(kind, &text).ok());
            }
            if identifiers.is_empty() {
                continue;
            }
            let at = Timestamp::from_unix_ms(1_700_000_000_000 + time as u64);
            let with_card = identifiers.iter().any(|it| it.kind() == IdentifierKind::Card);
            let sighting = match way {
                Way::JoinsHalves => self.vault.sight(&identifiers, &[], true, at),
                Way::AsANode if with_card => self.vault.sight_card(&identifiers, at),
                Way::AsANode => self.vault.sight(&identifiers, &[], false, at),
            };
            let sighting = sighting.map_err(input)?;
            for absorbed in sighting.absorbed {
                merged.insert(absorbed, sighting.member);
            }
            let says = identifiers.iter().any(|it| it.kind().strength() >= Strength::Phone);
            anonymous += u64::from(!says);
            if says {
                ended_at.push((person, sighting.member));
            }
        }
        let by_rules = Tally::of(&resolved(&ended_at, &merged));
        let mut reviewed = 0;
        loop {
            let pairs = self.vault.pairs_to_review(None, 1_000).map_err(input)?;
            if pairs.is_empty() {
                break;
            }
            for pair in pairs {
                reviewed += 1;
                let owner = owners(&resolved(&ended_at, &merged));
                let (one, other) = (last(pair.one, &merged), last(pair.other, &merged));
                let same = one != other && owner.get(&one) == owner.get(&other);
                let at = Timestamp::from_unix_ms(1_800_000_000_000);
                if same && (one, other) != (pair.one, pair.other) {
                    self.vault.merge(one, other, "bench", at).map_err(input)?;
                }
                let simple = same && (one, other) == (pair.one, pair.other);
                self.vault.judge((pair.one, pair.other), simple, "bench", at).map_err(input)?;
                if same {
                    merged.insert(other, one);
                }
            }
        }
        let after_review = Tally::of(&resolved(&ended_at, &merged));
        let events = ended_at.len() as u64;
        Ok(Done { events, anonymous, reviewed, tally: [by_rules, after_review] })
    }

    /// What of a person's identifiers a purchase or visit shows, with what is wrong in it.
    fn shown(
        &self,
        person: usize,
        later: bool,
        used: &mut BTreeSet<(usize, IdentifierKind, String)>,
        random: &mut Random,
    ) -> Vec<(IdentifierKind, String)> {
        use IdentifierKind::*;
        let channel: &[(IdentifierKind, u32)] = if random.happens(self.noise.anonymous) {
            &[(Device, 1000), (PaymentToken, 300)]
        } else {
            match random.below(6) {
                0 | 1 => &[(Card, 700), (Phone, 500), (PaymentToken, 500)],
                2 => &[(WechatOpenId, 1000), (WechatUnionId, 900), (Phone, 500), (Device, 800)],
                3 => &[(AppUserId, 1000), (Phone, 700), (Device, 1000), (Card, 300)],
                4 => &[(EcommerceAccount, 1000), (Phone, 800), (Email, 700), (AlipayUserId, 500)],
                _ => &[(LicencePlate, 1000), (Card, 600), (Phone, 400), (FaceToken, 500)],
            }
        };
        let own = &self.people[person];
        let value = |kind: IdentifierKind| {
            let changed = self.changed[person].get(&kind).filter(|_| later);
            changed.or_else(|| own.get(&kind)).cloned()
        };
        let mut shown: Vec<(IdentifierKind, String)> = channel
            .iter()
            .filter(|(_, thousandths)| random.happens(*thousandths))
            .filter_map(|(kind, _)| Some((*kind, value(*kind)?)))
            .collect();
        if shown.is_empty() {
            shown.extend(value(Card).map(|card| (Card, card)));
        }
        let proofs: Vec<(usize, IdentifierKind, String)> = shown
            .iter()
            .filter(|(kind, _)| kind.strength() == Strength::Proof)
            .map(|(kind, text)| (person, *kind, text.clone()))
            .collect();
        let first = proofs.iter().any(|it| !used.contains(it));
        let bound = first && !random.happens(self.noise.unbound);
        if bound && !shown.iter().any(|(kind, _)| *kind == Phone) {
            shown.extend(value(Phone).map(|phone| (Phone, phone)));
        }
        used.extend(proofs);
        for (kind, text) in &mut shown {
            if matches!(kind, Phone | Card | Email) && random.happens(self.noise.typos) {
                *text = mistyped(text, random);
            }
        }
        shown
    }
}

/// One wrong character, or two that have changed places.
fn mistyped(text: &str, random: &mut Random) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let place = random.below(characters.len());
    let next = (place + 1) % characters.len();
    if random.happens(300) && characters[place] != characters[next] {
        characters.swap(place, next);
    } else {
        let digit = char::from(b'0' + u8::try_from(random.below(10)).unwrap_or(0));
        characters[place] = if characters[place] == digit { '7' } else { digit };
    }
    characters.into_iter().collect()
}

fn last(mut member: MemberId, merged: &BTreeMap<MemberId, MemberId>) -> MemberId {
    while let Some(into) = merged.get(&member) {
        member = *into;
    }
    member
}

fn resolved(
    ended_at: &[(usize, MemberId)],
    merged: &BTreeMap<MemberId, MemberId>,
) -> Vec<(usize, MemberId)> {
    ended_at.iter().map(|(person, member)| (*person, last(*member, merged))).collect()
}

/// The person to whom most sightings of a member belong.
fn owners(sightings: &[(usize, MemberId)]) -> BTreeMap<MemberId, usize> {
    let mut counts: BTreeMap<MemberId, BTreeMap<usize, u64>> = BTreeMap::new();
    for (person, member) in sightings {
        *counts.entry(*member).or_default().entry(*person).or_default() += 1;
    }
    let most =
        |counts: &BTreeMap<usize, u64>| counts.iter().max_by_key(|(_, n)| **n).map(|(p, _)| *p);
    counts.iter().filter_map(|(member, counts)| Some((*member, most(counts)?))).collect()
}

/// Sums over which accuracy is a quotient.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    sightings: u64,
    right: u64,
    pairs_both: u64,
    pairs_member: u64,
    pairs_person: u64,
}

impl Tally {
    fn of(sightings: &[(usize, MemberId)]) -> Self {
        let owner = owners(sightings);
        let mut both: BTreeMap<(usize, MemberId), u64> = BTreeMap::new();
        let mut members: BTreeMap<MemberId, u64> = BTreeMap::new();
        let mut people: BTreeMap<usize, u64> = BTreeMap::new();
        for (person, member) in sightings {
            *both.entry((*person, *member)).or_default() += 1;
            *members.entry(*member).or_default() += 1;
            *people.entry(*person).or_default() += 1;
        }
        let mut main: BTreeMap<usize, (u64, MemberId)> = BTreeMap::new();
        for ((person, member), count) in &both {
            let best = main.entry(*person).or_insert((*count, *member));
            if *count > best.0 {
                *best = (*count, *member);
            }
        }
        let right = |(person, member): &&(usize, MemberId)| {
            owner.get(member) == Some(person) && main.get(person).is_some_and(|it| it.1 == *member)
        };
        let pairs = |count: &u64| count * (count - 1) / 2;
        Self {
            sightings: sightings.len() as u64,
            right: sightings.iter().filter(right).count() as u64,
            pairs_both: both.values().map(pairs).sum(),
            pairs_member: members.values().map(pairs).sum(),
            pairs_person: people.values().map(pairs).sum(),
        }
    }

    const fn add(&mut self, other: Self) {
        self.sightings += other.sightings;
        self.right += other.right;
        self.pairs_both += other.pairs_both;
        self.pairs_member += other.pairs_member;
        self.pairs_person += other.pairs_person;
    }

    fn accuracy(self) -> Accuracy {
        let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
        Accuracy {
            right: self.right,
            accuracy_percent: percent(self.right, self.sightings),
            precision_percent: percent(self.pairs_both, self.pairs_member),
            recall_percent: percent(self.pairs_both, self.pairs_person),
        }
    }
}

#[cfg(test)]
mod tests;
