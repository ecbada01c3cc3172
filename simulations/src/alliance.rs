//! A made-up alliance whose keys come from numbers, so that every run has the same one.

use std::collections::BTreeMap;

use protocol::amount::{Rate, Value};
use protocol::constitution::{Access, Auditor, Brand, BrandKeys, Constitution, Draft, Succession};
use protocol::crypto::SigningKey;
use protocol::crypto::sealed::{Cipher, KeyRing, SealingSecret};
use protocol::ids::{BrandId, ConstitutionHash, Epoch};
use protocol::ledger::LedgerKeys;
use protocol::time::Milliseconds;
use protocol::witness::statement::VotingKeys;

/// The most one brand may owe another, in micro-fen.
pub const PAIR_LIMIT: u64 = 400_000_000;
/// The most one brand may owe all others.
pub const TOTAL_LIMIT: u64 = 600_000_000;
/// The step of public totals.
pub const TOTAL_STEP: u64 = 10_000_000;

/// The brands, what they agreed on, and their private keys.
#[derive(Clone, Debug)]
pub struct Alliance {
    draft: Draft,
    constitution: Constitution,
}

impl Alliance {
    /// `brands` brands (2 to 21) named `b00`, `b01`, ..., and one standing auditor if there is an odd
    /// number of them.
    ///
    /// # Panics
    /// Outside that range: the scenario is wrong.
    #[must_use]
    pub fn new(brands: usize) -> Self {
        let ids: Vec<BrandId> = (0..brands)
            .map(|number| BrandId::new(&format!("b{number:02}")).expect("a valid id"))
            .collect();
        // a point's value differs by brand, and rates follow values: no circle of rates gains
        let worth = |number: usize| 1 + (number as u32) % 3;
        let members = ids
            .iter()
            .enumerate()
            .map(|(number, id)| {
                let brand = Brand {
                    keys: public_keys(number),
                    point_value: Rate::new(1_000_000 * worth(number), 1).expect("positive"),
                    pair_limit: Value::new(PAIR_LIMIT).expect("in range"),
                    total_limit: Value::new(TOTAL_LIMIT).expect("in range"),
                };
                (*id, brand)
            })
            .collect();
        let mut rates = BTreeMap::new();
        for (from, a) in ids.iter().enumerate() {
            for (to, b) in ids.iter().enumerate().filter(|(to, _)| *to != from) {
                rates.insert((*a, *b), Rate::new(worth(from), worth(to)).expect("positive"));
            }
        }
        let auditor = Auditor {
            name: "auditor".to_owned(),
            access: Access::Standing,
            sealing: SealingSecret::derive(&seed(usize::from(u8::MAX) - 1, 7)).1,
            later: Vec::new(),
        };
        let draft = Draft {
            alliance: BrandId::new("simulated").expect("a valid id"),
            epoch: Epoch::new(1),
            hash: ConstitutionHash::from_bytes([1; 32]),
            brands: members,
            rates,
            total_step: Value::new(TOTAL_STEP).expect("in range"),
            payload_size: 160,
            return_window: Milliseconds::from_seconds(86_400),
            protocol_version: 0,
            // both ciphers are simulated
            cipher: if brands % 2 == 1 { Cipher::Sm4Gcm } else { Cipher::Aes256Gcm },
            auditors: if brands % 2 == 1 { vec![auditor] } else { Vec::new() },
            succession: Succession::default(),
        };
        let constitution = Constitution::new(draft.clone()).expect("a sound constitution");
        Self { draft, constitution }
    }

    /// What the brands agreed on.
    #[must_use]
    pub const fn constitution(&self) -> &Constitution {
        &self.constitution
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

    /// The brand's private keys.
    ///
    /// # Panics
    /// When it is no brand of the alliance.
    #[must_use]
    pub fn keys(&self, brand: BrandId) -> LedgerKeys {
        let brands = self.constitution.committee().brands();
        let number = brands.iter().position(|id| *id == brand).expect("a member");
        LedgerKeys {
            voting: VotingKeys { log: signing(number, 0), vote: signing(number, 1) },
            checkpoint: signing(number, 2),
            witness: signing(number, 3),
            sealing: KeyRing::new(SealingSecret::derive(&seed(number, 6)).0).expect("a key"),
        }
    }
}

fn seed(number: usize, role: u8) -> [u8; 32] {
    let mut seed = [role; 32];
    seed[0] = u8::try_from(number).expect("at most 21 brands") + 1;
    seed
}

fn signing(number: usize, role: u8) -> SigningKey {
    SigningKey::from_seed(&seed(number, role)).expect("any seed is a key")
}

fn public_keys(number: usize) -> BrandKeys {
    let sign = |role| signing(number, role).public();
    BrandKeys {
        log: sign(0),
        vote: sign(1),
        checkpoint: sign(2),
        witness: sign(3),
        governance: sign(4),
        network: sign(5),
        sealing: SealingSecret::derive(&seed(number, 6)).1,
        recovery: SealingSecret::derive(&seed(number, 7)).1,
    }
}
