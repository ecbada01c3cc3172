//! A made-up alliance whose keys come from numbers, so that every run has the same one, and the
//! constitutions that may follow its first.

use std::collections::BTreeMap;

use protocol::amount::{Rate, Value};
use protocol::constitution::{Access, Auditor, Brand, BrandKeys, Constitution, Draft, Succession};
use protocol::crypto::SigningKey;
use protocol::crypto::sealed::{Cipher, KeyRing, SealingSecret};
use protocol::ids::{BrandId, ConstitutionHash, Epoch};
use protocol::ledger::{LedgerKeys, SigningKeys};
use protocol::time::Milliseconds;
use protocol::witness::statement::VotingKeys;

/// The most one brand may owe another, in micro-fen.
pub const PAIR_LIMIT: u64 = 400_000_000;
/// The most one brand may owe all others.
pub const TOTAL_LIMIT: u64 = 600_000_000;
/// The step of public totals.
pub const TOTAL_STEP: u64 = 10_000_000;
/// How long members can send back what they were credited.
pub const RETURN_WINDOW: Milliseconds = Milliseconds::from_seconds(86_400);
/// How long members are told of a change before it takes effect.
pub const NOTICE: Milliseconds = Milliseconds::from_seconds(30);

/// The brands, what they agreed on, and their private keys.
#[derive(Clone, Debug)]
pub struct Alliance {
    draft: Draft,
    constitution: Constitution,
}

/// What the constitution that follows changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amendment {
    /// The rate between two brands: members are told before.
    Rate(BrandId, BrandId),
    /// Every brand may owe a fifth more.
    Limits,
    /// Every brand may owe half as much, whatever it owes.
    HalfLimits,
    /// Public totals go in steps twice as large.
    Step,
    /// The size of sealed payloads.
    PayloadSize(usize),
    /// A brand's keys: those of this generation from now on.
    Keys(BrandId, usize),
    /// A brand joins.
    Join(BrandId),
    /// A brand leaves: members are told before.
    Leave(BrandId),
    /// A brand's log is closed.
    Freeze(BrandId),
}

impl Alliance {
    /// `brands` brands (2 to 21) named `b00`, `b01`, ..., and one standing auditor if there is an odd
    /// number of them.
    ///
    /// # Panics
    /// Outside that range: the scenario is wrong.
    #[must_use]
    pub fn new(brands: usize) -> Self {
        let ids: Vec<BrandId> = (0..brands).map(brand_of).collect();
        let members = ids.iter().map(|id| (*id, brand(*id))).collect();
        let auditor = Auditor {
            name: "auditor".to_owned(),
            access: Access::Standing,
            sealing: SealingSecret::derive(&[7; 32]).1,
            later: Vec::new(),
        };
        let mut draft = Draft {
            alliance: BrandId::new("simulated").expect("a valid id"),
            epoch: Epoch::new(1),
            hash: ConstitutionHash::from_bytes([1; 32]),
            brands: members,
            rates: BTreeMap::new(),
            total_step: Value::new(TOTAL_STEP).expect("in range"),
            payload_size: 160,
            return_window: RETURN_WINDOW,
            protocol_version: 0,
            // both ciphers are simulated
            cipher: if brands % 2 == 1 { Cipher::Sm4Gcm } else { Cipher::Aes256Gcm },
            auditors: if brands % 2 == 1 { vec![auditor] } else { Vec::new() },
            succession: Succession { notice: NOTICE, ..Succession::default() },
        };
        add_rates(&mut draft);
        let constitution = Constitution::new(draft.clone()).expect("a sound constitution");
        Self { draft, constitution }
    }

    /// What the brands agreed on first.
    #[must_use]
    pub const fn constitution(&self) -> &Constitution {
        &self.constitution
    }

    /// The first constitution as a draft that others follow.
    #[must_use]
    pub const fn draft(&self) -> &Draft {
        &self.draft
    }

    /// The same constitution as a brand would have it that grants itself a thousandfold credit.
    ///
    /// # Panics
    /// When it is no brand of the alliance.
    #[must_use]
    pub fn constitution_of_a_spendthrift(&self, brand: BrandId) -> Constitution {
        let mut draft = self.draft.clone();
        let member = draft.brands.get_mut(&brand).expect("a member");
        member.pair_limit = Value::new(PAIR_LIMIT * 1000).expect("in range");
        member.total_limit = Value::new(TOTAL_LIMIT * 1000).expect("in range");
        Constitution::new(draft).expect("a sound constitution")
    }
}

/// The brand with this number.
///
/// # Panics
/// Never: numbers are small.
#[must_use]
pub fn brand_of(number: usize) -> BrandId {
    BrandId::new(&format!("b{number:02}")).expect("a valid id")
}

/// A brand's private keys, of its first generation or a later one.
///
/// # Panics
/// When it is none of [`brand_of`]'s.
#[must_use]
pub fn keys(brand: BrandId, generation: usize) -> LedgerKeys {
    LedgerKeys {
        voting: voting_keys(brand, generation),
        checkpoint: signing(brand, generation, 2),
        witness: signing(brand, generation, 3),
        sealing: KeyRing::new(SealingSecret::derive(&seed(brand, generation, 6)).0).expect("a key"),
    }
}

/// The keys with which a brand signs, of one generation.
#[must_use]
pub fn signing_keys(brand: BrandId, generation: usize) -> SigningKeys {
    SigningKeys {
        voting: voting_keys(brand, generation),
        checkpoint: signing(brand, generation, 2),
        witness: signing(brand, generation, 3),
    }
}

/// A brand's keys for agreement alone.
#[must_use]
pub fn voting_keys(brand: BrandId, generation: usize) -> VotingKeys {
    VotingKeys { log: signing(brand, generation, 0), vote: signing(brand, generation, 1) }
}

/// The draft that follows another with an amendment; `number` tells drafts of one epoch apart.
#[must_use]
pub fn amended(before: &Draft, amendment: Amendment, number: u8) -> Draft {
    let mut next = before.clone();
    next.epoch = before.epoch.next().unwrap_or(before.epoch);
    let mut hash = [number; 32];
    hash[0] = u8::try_from(next.epoch.get()).unwrap_or(u8::MAX);
    next.hash = ConstitutionHash::from_bytes(hash);
    next.succession.previous = Some(before.hash);
    match amendment {
        Amendment::Rate(from, to) => {
            // lower: no circle of rates gains by it
            let rate = Rate::new(1, 5).unwrap_or_else(|_| unreachable!("a positive rate"));
            next.rates.insert((from, to), rate);
        }
        Amendment::Limits => {
            for brand in next.brands.values_mut() {
                let more = |limit: Value| Value::new(limit.get() + PAIR_LIMIT / 5);
                brand.pair_limit = more(brand.pair_limit).unwrap_or(brand.pair_limit);
                brand.total_limit = more(brand.total_limit).unwrap_or(brand.total_limit);
            }
        }
        Amendment::HalfLimits => {
            for brand in next.brands.values_mut() {
                let half = |limit: Value| {
                    Value::new(limit.get() / 2).and_then(|half| half.ceiling_to(before.total_step))
                };
                brand.pair_limit = half(brand.pair_limit).unwrap_or(brand.pair_limit);
                brand.total_limit = half(brand.total_limit).unwrap_or(brand.total_limit);
            }
        }
        Amendment::Step => {
            let step = before.total_step;
            next.total_step = step.plus(step).unwrap_or(step);
            for brand in next.brands.values_mut() {
                let stepped = |limit: Value| limit.ceiling_to(next.total_step).unwrap_or(limit);
                brand.pair_limit = stepped(brand.pair_limit);
                brand.total_limit = stepped(brand.total_limit);
            }
        }
        Amendment::PayloadSize(bytes) => next.payload_size = bytes,
        Amendment::Keys(id, generation) => {
            if let Some(brand) = next.brands.get_mut(&id) {
                let fresh = public_keys(id, generation);
                let (network, recovery) = (brand.keys.network, brand.keys.recovery);
                brand.keys = BrandKeys { network, recovery, ..fresh };
            }
        }
        Amendment::Join(id) => {
            next.brands.insert(id, brand(id));
            add_rates(&mut next);
        }
        Amendment::Leave(id) => {
            next.brands.remove(&id);
            next.rates.retain(|(from, to), _| *from != id && *to != id);
            next.succession.frozen.remove(&id);
        }
        Amendment::Freeze(id) => drop(next.succession.frozen.insert(id)),
    }
    next
}

/// A point's value differs by brand, and rates follow values: no circle of rates gains.
fn worth(id: BrandId) -> u32 {
    1 + number_of(id) % 3
}

fn number_of(id: BrandId) -> u32 {
    id.as_str().get(1..).and_then(|digits| digits.parse().ok()).expect("a brand of this alliance")
}

fn brand(id: BrandId) -> Brand {
    Brand {
        keys: public_keys(id, 0),
        point_value: Rate::new(1_000_000 * worth(id), 1).expect("positive"),
        pair_limit: Value::new(PAIR_LIMIT).expect("in range"),
        total_limit: Value::new(TOTAL_LIMIT).expect("in range"),
    }
}

/// A rate for every pair that has none.
fn add_rates(draft: &mut Draft) {
    let ids: Vec<BrandId> = draft.brands.keys().copied().collect();
    for from in &ids {
        for to in ids.iter().filter(|to| *to != from) {
            let rate = Rate::new(worth(*from), worth(*to)).expect("positive");
            draft.rates.entry((*from, *to)).or_insert(rate);
        }
    }
}

fn seed(id: BrandId, generation: usize, role: u8) -> [u8; 32] {
    let mut seed = [role; 32];
    seed[0] = u8::try_from(number_of(id)).unwrap_or(u8::MAX) + 1;
    seed[1] = u8::try_from(generation).unwrap_or(u8::MAX);
    seed
}

fn signing(id: BrandId, generation: usize, role: u8) -> SigningKey {
    SigningKey::from_seed(&seed(id, generation, role)).expect("any seed is a key")
}

fn public_keys(id: BrandId, generation: usize) -> BrandKeys {
    let sign = |role| signing(id, generation, role).public();
    // these have a ring of their own, which turns by the month and not with a constitution
    let seal = |role| SealingSecret::derive(&seed(id, 0, role)).1;
    BrandKeys {
        log: sign(0),
        vote: sign(1),
        checkpoint: sign(2),
        witness: sign(3),
        governance: sign(4),
        network: sign(5),
        sealing: seal(6),
        recovery: seal(7),
    }
}
