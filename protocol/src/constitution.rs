//! What the alliance's constitution means to the ledger.
//!
//! The types, and the one place where their rules are checked ([`Constitution::new`]). The file they
//! come from, its signatures and the clean room's part are `alliance-config`'s; how one follows
//! another is [`crate::epochs`]'.

use std::collections::{BTreeMap, BTreeSet};

use dashu::rational::RBig;

use crate::amount::{Rate, Value};
use crate::codec::ENTRY_MAX;
use crate::crypto::PublicKey;
use crate::crypto::sealed::{Cipher, SEALED_OVERHEAD, SealingKey};
use crate::ids::{BrandId, ConstitutionHash, Epoch};
use crate::time::{Milliseconds, Timestamp};
use crate::wire::Versions;

/// Most brands: log and q-1 witnesses leave one of a note's 16 signatures for a regulator, also
/// while an old and a new log key both sign.
pub const BRANDS_MAX: usize = 21;

/// Most auditors who hold every block's secret.
pub const STANDING_AUDITORS_MAX: usize = 4;
/// Most auditors, those on request included.
pub const AUDITORS_MAX: usize = 16;
/// Most keys of one auditor in one constitution: five years of months.
pub const AUDITOR_KEYS_MAX: usize = 60;

/// The public keys of one brand, one a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrandKeys {
    /// Signs the brand's proposals and rounds.
    pub log: PublicKey,
    /// Signs its promises, votes and commits.
    pub vote: PublicKey,
    /// Signs its checkpoints.
    pub checkpoint: PublicKey,
    /// Signs its cosignatures on others' checkpoints.
    pub witness: PublicKey,
    /// Signs constitutions for it.
    pub governance: PublicKey,
    /// Identifies its node on the network.
    pub network: PublicKey,
    /// Others seal to it until its log states another.
    pub sealing: SealingKey,
    /// Its own blocks' secrets are also wrapped to this; the private half stays offline.
    pub recovery: SealingKey,
}

impl BrandKeys {
    /// Every key with the name of its role.
    #[must_use]
    pub const fn roles(&self) -> [(&'static str, &[u8; 32]); 8] {
        let Self { log, vote, checkpoint, witness, governance, network, sealing, recovery } = self;
        [
            ("log", log.as_bytes()),
            ("vote", vote.as_bytes()),
            ("checkpoint", checkpoint.as_bytes()),
            ("witness", witness.as_bytes()),
            ("governance", governance.as_bytes()),
            ("network", network.as_bytes()),
            ("sealing", sealing.as_bytes()),
            ("recovery", recovery.as_bytes()),
        ]
    }
}

/// A brand as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brand {
    /// Its keys.
    pub keys: BrandKeys,
    /// Settlement value of one of its points, in micro-fen.
    pub point_value: Rate,
    /// The most it may owe any one brand, as far as third parties can tell.
    pub pair_limit: Value,
    /// The most it may owe all brands together.
    pub total_limit: Value,
}

/// Which blocks an auditor may open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Every block: its secret is in the header.
    #[default]
    Standing,
    /// Those whose writer discloses them, by an entry of its log.
    OnRequest,
}

/// Someone outside the alliance who may open sealed entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auditor {
    /// Its name, as recipient of wrapped secrets.
    pub name: String,
    /// Which blocks.
    pub access: Access,
    /// What is wrapped to it is wrapped to this key, from the beginning.
    pub sealing: SealingKey,
    /// Its later keys, each from a time on, in order. An auditor has no log to announce a key in: it
    /// makes its keys ahead, a month's at a time, and the constitution states them.
    pub later: Vec<(Timestamp, SealingKey)>,
}

impl Auditor {
    /// The key that a block of this time is wrapped to.
    #[must_use]
    pub fn key_at(&self, time: Timestamp) -> SealingKey {
        let begun = self.later.iter().take_while(|(from, _)| *from <= time);
        begun.last().map_or(self.sealing, |(_, key)| *key)
    }

    /// All its keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = SealingKey> + '_ {
        [self.sealing].into_iter().chain(self.later.iter().map(|(_, key)| *key))
    }
}

/// How long before a change that touches members takes effect they are told, unless the alliance says
/// otherwise.
pub const NOTICE_DEFAULT: Milliseconds = Milliseconds::from_seconds(30 * 86_400);

/// A debt of or to a brand that writes no more, taken as settled by the constitution that states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WrittenOff {
    /// Who owed.
    pub debtor: BrandId,
    /// Whom: what was not paid is its loss.
    pub creditor: BrandId,
    /// How much.
    pub value: Value,
}

/// What a constitution says of its place among the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succession {
    /// Hash of the constitution of the epoch before; none in the first.
    pub previous: Option<ConstitutionHash>,
    /// It does not take effect before this time.
    pub effective: Timestamp,
    /// How long members are told of a change before it takes effect.
    pub notice: Milliseconds,
    /// Brands that write nothing under it, because they failed or cheated. They still are brands.
    pub frozen: BTreeSet<BrandId>,
    /// What brands owed each other, one of the two frozen or gone, and what this constitution says is
    /// settled: paid outside, or the creditor's loss. Counts as paid in every statement from it on.
    pub written_off: Vec<WrittenOff>,
    /// Hash of what else was agreed on that touches members and the ledger does not read (the clean
    /// room's contract, how long payloads can be read): when it changes, they are told.
    pub terms: [u8; 32],
}

impl Default for Succession {
    /// A first constitution's, in effect at once.
    fn default() -> Self {
        Self {
            previous: None,
            effective: Timestamp::from_unix_ms(0),
            notice: NOTICE_DEFAULT,
            frozen: BTreeSet::new(),
            written_off: Vec::new(),
            terms: [0; 32],
        }
    }
}

/// Everything the ledger reads from a constitution, before it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The alliance's name, as it appears in checkpoint origins.
    pub alliance: BrandId,
    /// Version number.
    pub epoch: Epoch,
    /// Hash of the file.
    pub hash: ConstitutionHash,
    /// The brands.
    pub brands: BTreeMap<BrandId, Brand>,
    /// Points of the second brand for one point of the first. A pair without a rate does not
    /// exchange.
    pub rates: BTreeMap<(BrandId, BrandId), Rate>,
    /// Public totals are multiples of this.
    pub total_step: Value,
    /// The one size of sealed payloads, in bytes.
    pub payload_size: usize,
    /// How long after certification an exchange may be returned.
    pub return_window: Milliseconds,
    /// The version of every block under it.
    pub protocol_version: u16,
    /// What seals entries.
    pub cipher: Cipher,
    /// Auditors.
    pub auditors: Vec<Auditor>,
    /// Its place among the alliance's constitutions.
    pub succession: Succession,
}

/// A checked constitution, immutable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constitution {
    draft: Draft,
    committee: Committee,
}

/// Who votes on every log, and how many are enough.
///
/// With f = floor((n-1)/3) and q = ceil((n+f+1)/2), two quorums share an honest brand as long as at
/// most f lie. With n <= 3, f = 0: a fork is detected, not prevented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committee {
    brands: Vec<BrandId>,
}

impl Committee {
    /// All brands, in the order of their ids.
    #[must_use]
    pub fn brands(&self) -> &[BrandId] {
        &self.brands
    }
    /// The witnesses of one log: all but its writer, in order; a fragment's number is its
    /// witness's position here.
    pub fn witnesses(&self, log: BrandId) -> impl Iterator<Item = BrandId> + '_ {
        self.brands.iter().copied().filter(move |brand| *brand != log)
    }
    /// Whether the brand votes.
    #[must_use]
    pub fn contains(&self, brand: BrandId) -> bool {
        self.brands.binary_search(&brand).is_ok()
    }
    /// n.
    #[must_use]
    pub fn size(&self) -> usize {
        self.brands.len()
    }
    /// f, the most faulty brands that are tolerated.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.brands.len().saturating_sub(1) / 3
    }
    /// q, the writer counted.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.size().saturating_add(self.faults()).saturating_add(1).div_ceil(2)
    }
    /// How many fragments rebuild a block: q - f, or 1 when f = 0.
    #[must_use]
    pub fn fragments_needed(&self) -> usize {
        match self.faults() {
            0 => 1,
            faults => self.quorum().saturating_sub(faults).max(1),
        }
    }
}

/// What is wrong with a constitution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConstitutionError {
    /// Too few or too many brands.
    #[error("{found} brands; an alliance has 2 to {BRANDS_MAX}")]
    Brands {
        /// How many there are.
        found: usize,
    },
    /// A rate names a brand twice or one that is no member.
    #[error("rate {from} -> {to}: both must be brands of the alliance, and differ")]
    RateBrands {
        /// From.
        from: BrandId,
        /// To.
        to: BrandId,
    },
    /// Points could be multiplied by going in a circle.
    #[error(
        "the rates make points out of nothing: exchanging round a circle through {through} gives back more than was put in; lower one of its rates"
    )]
    RateCycle {
        /// A brand on the circle.
        through: BrandId,
    },
    /// One key in two roles or of two brands.
    #[error("brand {brand}: key {role} is used twice; every role of every brand has its own key")]
    KeyReused {
        /// The brand at which the second use was found.
        brand: BrandId,
        /// Its role there.
        role: &'static str,
    },
    /// Payloads of this size don't fit an entry, or hold no payload.
    #[error("payload_size is {found}; it must be {least} to {most} bytes")]
    PayloadSize {
        /// As given.
        found: usize,
        /// The least.
        least: usize,
        /// The most.
        most: usize,
    },
    /// Limits that can never be used.
    #[error("brand {brand}: {field} must be a multiple of total_step and not zero")]
    Limit {
        /// The brand.
        brand: BrandId,
        /// The field.
        field: &'static str,
    },
    /// Blocks of a version that this program neither writes nor reads.
    #[error(
        "protocol version {found}, and this program speaks {} to {}; update it, or agree on another", Versions::SPOKEN.least(), Versions::SPOKEN.most()
    )]
    ProtocolVersion {
        /// As given.
        found: u16,
    },
    /// A brand is frozen that is none.
    #[error("{0} is frozen and no brand of the alliance; one that left needs no freezing")]
    Frozen(BrandId),
    /// A debt is written off that still can be paid through the ledger, or that is none.
    #[error(
        "written off: {debtor} to {creditor}; one of the two must be frozen or gone, both differ, and the value is not zero"
    )]
    WrittenOff {
        /// Who owed.
        debtor: BrandId,
        /// Whom.
        creditor: BrandId,
    },
    /// Too many auditors.
    #[error(
        "{found} standing auditors; there may be {STANDING_AUDITORS_MAX}, and {AUDITORS_MAX} with those on request"
    )]
    Auditors {
        /// How many there are.
        found: usize,
    },
    /// An auditor's keys are in no order, one is used twice, or there are too many.
    #[error(
        "auditor {name}: its keys must differ, from everyone's, and begin one after another; at most {AUDITOR_KEYS_MAX}"
    )]
    AuditorKeys {
        /// Whose.
        name: String,
    },
}

/// The least payload size: the largest payload of `exchange` fits.
pub const PAYLOAD_MIN: usize = 128;
/// The most payload size.
pub const PAYLOAD_MAX: usize = ENTRY_MAX - SEALED_OVERHEAD - 64;

impl Constitution {
    /// Whether a log has blocks under it: its brand is one and is not frozen.
    #[must_use]
    pub fn writes(&self, log: BrandId) -> bool {
        self.brand(log).is_some() && !self.succession().frozen.contains(&log)
    }

    /// Checks a draft.
    ///
    /// # Errors
    /// The first rule that is broken; see [`ConstitutionError`].
    pub fn new(draft: Draft) -> Result<Self, ConstitutionError> {
        if !(2..=BRANDS_MAX).contains(&draft.brands.len()) {
            return Err(ConstitutionError::Brands { found: draft.brands.len() });
        }
        if !(PAYLOAD_MIN..=PAYLOAD_MAX).contains(&draft.payload_size) {
            return Err(ConstitutionError::PayloadSize {
                found: draft.payload_size,
                least: PAYLOAD_MIN,
                most: PAYLOAD_MAX,
            });
        }
        if !Versions::SPOKEN.include(draft.protocol_version) {
            return Err(ConstitutionError::ProtocolVersion { found: draft.protocol_version });
        }
        let standing = draft.auditors.iter().filter(|auditor| auditor.access == Access::Standing);
        let standing = standing.count();
        if standing > STANDING_AUDITORS_MAX || draft.auditors.len() > AUDITORS_MAX {
            return Err(ConstitutionError::Auditors { found: standing });
        }
        let mut seen = BTreeSet::new();
        for (id, brand) in &draft.brands {
            check_keys(*id, &brand.keys, &mut seen)?;
            for (field, limit) in
                [("pair_limit", brand.pair_limit), ("total_limit", brand.total_limit)]
            {
                if limit.is_zero() || limit.ceiling_to(draft.total_step) != Ok(limit) {
                    return Err(ConstitutionError::Limit { brand: *id, field });
                }
            }
        }
        for (from, to) in draft.rates.keys() {
            if from == to || !draft.brands.contains_key(from) || !draft.brands.contains_key(to) {
                return Err(ConstitutionError::RateBrands { from: *from, to: *to });
            }
        }
        check_auditor_keys(&draft.auditors, &mut seen)?;
        let mut frozen = draft.succession.frozen.iter();
        if let Some(stranger) = frozen.find(|brand| !draft.brands.contains_key(brand)) {
            return Err(ConstitutionError::Frozen(*stranger));
        }
        for WrittenOff { debtor, creditor, value } in &draft.succession.written_off {
            let ends = |brand: &BrandId| {
                !draft.brands.contains_key(brand) || draft.succession.frozen.contains(brand)
            };
            if debtor == creditor || value.is_zero() || !(ends(debtor) || ends(creditor)) {
                let (debtor, creditor) = (*debtor, *creditor);
                return Err(ConstitutionError::WrittenOff { debtor, creditor });
            }
        }
        check_cycles(&draft)?;
        let committee = Committee { brands: draft.brands.keys().copied().collect() };
        Ok(Self { draft, committee })
    }

    /// All of it as it was read: what compares two of them must decide on every field.
    pub(crate) const fn draft(&self) -> &Draft {
        &self.draft
    }
    /// The alliance's name.
    #[must_use]
    pub const fn alliance(&self) -> BrandId {
        self.draft.alliance
    }
    /// Its version.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.draft.epoch
    }
    /// Hash of the file it was read from.
    #[must_use]
    pub const fn hash(&self) -> ConstitutionHash {
        self.draft.hash
    }
    /// Who votes.
    #[must_use]
    pub const fn committee(&self) -> &Committee {
        &self.committee
    }
    /// A brand, if it is a member.
    #[must_use]
    pub fn brand(&self, id: BrandId) -> Option<&Brand> {
        self.draft.brands.get(&id)
    }
    /// The brands with their ids, in order.
    pub fn brands(&self) -> impl Iterator<Item = (BrandId, &Brand)> {
        self.draft.brands.iter().map(|(id, brand)| (*id, brand))
    }
    /// Points of `to` for one of `from`, if they exchange.
    #[must_use]
    pub fn rate(&self, from: BrandId, to: BrandId) -> Option<Rate> {
        self.draft.rates.get(&(from, to)).copied()
    }
    /// Every rate: from, to, points of the second for one of the first.
    pub fn rates(&self) -> impl Iterator<Item = (BrandId, BrandId, Rate)> + '_ {
        self.draft.rates.iter().map(|((from, to), rate)| (*from, *to, *rate))
    }
    /// The step of public totals.
    #[must_use]
    pub const fn total_step(&self) -> Value {
        self.draft.total_step
    }
    /// The one size of sealed payloads.
    #[must_use]
    pub const fn payload_size(&self) -> usize {
        self.draft.payload_size
    }
    /// How long an exchange may be returned.
    #[must_use]
    pub const fn return_window(&self) -> Milliseconds {
        self.draft.return_window
    }
    /// The version of every block under it.
    #[must_use]
    pub const fn protocol_version(&self) -> u16 {
        self.draft.protocol_version
    }
    /// What seals entries.
    #[must_use]
    pub const fn cipher(&self) -> Cipher {
        self.draft.cipher
    }
    /// All auditors.
    #[must_use]
    pub fn auditors(&self) -> &[Auditor] {
        &self.draft.auditors
    }
    /// An auditor by its name.
    #[must_use]
    pub fn auditor(&self, name: &str) -> Option<&Auditor> {
        self.draft.auditors.iter().find(|auditor| auditor.name == name)
    }
    /// Its place among the alliance's constitutions.
    #[must_use]
    pub const fn succession(&self) -> &Succession {
        &self.draft.succession
    }
    /// The origin line of a brand's checkpoints.
    #[must_use]
    pub fn origin(&self, log: BrandId) -> String {
        format!("coalition.example/{}/{}", self.draft.alliance, log)
    }
}

fn check_keys(
    brand: BrandId,
    keys: &BrandKeys,
    seen: &mut BTreeSet<[u8; 32]>,
) -> Result<(), ConstitutionError> {
    match keys.roles().into_iter().find(|(_, key)| !seen.insert(**key)) {
        Some((role, _)) => Err(ConstitutionError::KeyReused { brand, role }),
        None => Ok(()),
    }
}

fn check_auditor_keys(
    auditors: &[Auditor],
    seen: &mut BTreeSet<[u8; 32]>,
) -> Result<(), ConstitutionError> {
    for auditor in auditors {
        let in_order = auditor.later.iter().map(|(from, _)| from).is_sorted_by(|a, b| a < b);
        let fresh = auditor.keys().all(|key| seen.insert(*key.as_bytes()));
        if !in_order || !fresh || auditor.later.len() >= AUDITOR_KEYS_MAX {
            return Err(ConstitutionError::AuditorKeys { name: auditor.name.clone() });
        }
    }
    Ok(())
}

/// Floyd-Warshall over exact products of rates: no way round a circle may give more than it took.
/// As soon as one does, it is refused, so that no product runs through a circle twice and the numbers
/// stay small.
fn check_cycles(draft: &Draft) -> Result<(), ConstitutionError> {
    let mut best: BTreeMap<(BrandId, BrandId), RBig> = draft
        .rates
        .iter()
        .map(|(pair, rate)| {
            (*pair, RBig::from_parts(rate.numerator().into(), rate.denominator().into()))
        })
        .collect();
    for through in draft.brands.keys() {
        for from in draft.brands.keys() {
            let Some(first) = best.get(&(*from, *through)).cloned() else { continue };
            for to in draft.brands.keys() {
                let Some(second) = best.get(&(*through, *to)) else { continue };
                #[allow(clippy::arithmetic_side_effects)] // rationals of any size
                let product = &first * second;
                if from == to && product > RBig::ONE {
                    return Err(ConstitutionError::RateCycle { through: *through });
                }
                match best.get(&(*from, *to)) {
                    Some(known) if *known >= product => {}
                    _ => drop(best.insert((*from, *to), product)),
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::crypto::SigningKey;
    use crate::crypto::sealed::SealingSecret;

    /// An alliance of `n` brands `a`, `b`, ... with keys made from seeds [`seed`].
    pub(crate) fn draft(n: u8) -> Draft {
        let ids: Vec<BrandId> =
            (0..n).map(|i| BrandId::new(&char::from(b'a' + i).to_string()).unwrap()).collect();
        let value = |number| Value::new(number).unwrap();
        let brands = ids
            .iter()
            .enumerate()
            .map(|(i, id)| {
                let sign = |role| SigningKey::from_seed(&seed(i, role)).unwrap().public();
                let seal = |role| SealingSecret::derive(&seed(i, role)).1;
                let keys = BrandKeys {
                    log: sign(0),
                    vote: sign(1),
                    checkpoint: sign(2),
                    witness: sign(3),
                    governance: sign(4),
                    network: sign(5),
                    sealing: seal(6),
                    recovery: seal(7),
                };
                let point_value = Rate::new(1_000_000, 1).unwrap();
                let brand = Brand {
                    keys,
                    point_value,
                    pair_limit: value(1_000_000_000),
                    total_limit: value(2_000_000_000),
                };
                (*id, brand)
            })
            .collect();
        let rates = ids
            .iter()
            .flat_map(|from| ids.iter().map(move |to| (*from, *to)))
            .filter(|(from, to)| from != to)
            .map(|pair| (pair, Rate::new(1, 1).unwrap()))
            .collect();
        Draft {
            alliance: BrandId::new("test").unwrap(),
            epoch: Epoch::new(1),
            hash: ConstitutionHash::from_bytes([1; 32]),
            brands,
            rates,
            total_step: value(10_000_000),
            payload_size: 160,
            return_window: Milliseconds::from_seconds(86_400),
            protocol_version: 0,
            cipher: Cipher::default(),
            auditors: Vec::new(),
            succession: Succession::default(),
        }
    }

    pub(crate) fn seed(brand: usize, role: u8) -> [u8; 32] {
        let mut seed = [role; 32];
        seed[0] = u8::try_from(brand).unwrap() + 1;
        seed
    }

    #[test]
    fn quorums_share_an_honest_brand_at_every_size() {
        for n in 2..=21u8 {
            let committee = Constitution::new(draft(n)).unwrap().committee;
            let (n, f, q) = (committee.size(), committee.faults(), committee.quorum());
            assert!(2 * q - n > f, "n={n}: two quorums share more than the liars");
            assert!(q <= n - f || n <= 3, "n={n}: the honest alone are a quorum");
        }
    }

    #[test]
    fn a_circle_that_multiplies_points_is_refused() {
        let mut draft = draft(4);
        let id = |text| BrandId::new(text).unwrap();
        // only a -> b -> c -> a is above one, by a hundredth; no pair is
        draft.rates.retain(|(from, to), _| from < to);
        draft.rates.insert((id("c"), id("a")), Rate::new(101, 100).unwrap());
        assert!(matches!(
            Constitution::new(draft.clone()),
            Err(ConstitutionError::RateCycle { .. })
        ));
        draft.rates.insert((id("a"), id("b")), Rate::new(100, 101).unwrap());
        draft.rates.remove(&(id("a"), id("c")));
        assert!(Constitution::new(draft).is_ok());
    }

    #[test]
    fn a_key_has_one_role() {
        let mut draft = draft(3);
        let shared = draft.brands.values().next().unwrap().keys.vote;
        draft.brands.values_mut().last().unwrap().keys.log = shared;
        assert!(matches!(
            Constitution::new(draft),
            Err(ConstitutionError::KeyReused { role: "log", .. })
        ));
    }

    #[test]
    fn blocks_are_of_a_version_that_is_spoken() {
        let made = |version| Constitution::new(Draft { protocol_version: version, ..draft(3) });
        let (least, most) = (Versions::SPOKEN.least(), Versions::SPOKEN.most());
        assert!((least..=most).all(|version| made(version).is_ok()));
        let refused = made(most + 1).unwrap_err().to_string();
        assert!(refused.contains("update it"), "{refused}");
    }

    #[test]
    fn an_auditors_keys_begin_one_after_another_and_differ() {
        let key = |number| SealingSecret::derive(&[number; 32]).1;
        let auditor = |later: &[(u64, u8)]| Auditor {
            name: "regulator".to_owned(),
            access: Access::Standing,
            sealing: key(100),
            later: later
                .iter()
                .map(|(from, number)| (Timestamp::from_unix_ms(*from), key(*number)))
                .collect(),
        };
        let made = |auditor| Constitution::new(Draft { auditors: vec![auditor], ..draft(3) });
        let sound = made(auditor(&[(10, 101), (20, 102)])).unwrap();
        let at = |time| sound.auditors()[0].key_at(Timestamp::from_unix_ms(time));
        assert_eq!([0, 9, 10, 19, 20, 99].map(at), [100, 100, 101, 101, 102, 102].map(key));
        for wrong in [&[(10, 101), (10, 102)][..], &[(20, 101), (10, 102)], &[(10, 100)]] {
            let refused = made(auditor(wrong));
            assert!(matches!(refused, Err(ConstitutionError::AuditorKeys { .. })), "{wrong:?}");
        }
        let months: Vec<(u64, u8)> = (1..=60).map(|month| (month, 100 + month as u8)).collect();
        assert!(made(auditor(&months)).is_err() && made(auditor(&months[1..])).is_ok());
    }
}
