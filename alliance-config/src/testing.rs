//! What the unit tests of this crate share: brands with keys from fixed seeds.

use protocol::constitution::BrandKeys;
use protocol::crypto::SigningKey;
use protocol::crypto::sealed::SealingSecret;
use protocol::ids::BrandId;

use crate::*;

/// A key from a seed that says whose it is and for what.
pub(crate) fn signing_key(brand: u8, role: u8) -> SigningKey {
    SigningKey::from_seed(&seed(brand, role)).unwrap()
}

fn seed(brand: u8, role: u8) -> [u8; 32] {
    let mut seed = [role; 32];
    seed[0] = brand;
    seed
}

pub(crate) fn governance(brand: u8) -> SigningKey {
    signing_key(brand, 4)
}

pub(crate) fn keys(brand: u8) -> BrandKeys {
    let sign = |role| signing_key(brand, role).public();
    let seal = |role| SealingSecret::derive(&seed(brand, role)).1;
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

pub(crate) fn address(brand: u8, port: u16) -> Address {
    format!("node-{brand}.example.com:{port}").parse().unwrap()
}

/// Brands `a`, `b`, ..., their points worth 1, 2, ... fen.
pub(crate) fn introductions(n: u8) -> Vec<Introduction> {
    let one = |brand: u8| {
        let name = Name::new(&format!("品牌{brand}"), &format!("Brand \"{brand}\"")).unwrap();
        let profile =
            BrandProfile { name, libp2p: address(brand, 7001), https: address(brand, 7002) };
        let value = protocol::amount::Rate::new(1_000_000 * (u32::from(brand) + 1), 1).unwrap();
        let id = BrandId::new(&char::from(b'a' + brand).to_string()).unwrap();
        Introduction::new(id, profile, value, keys(brand))
    };
    (0..n).map(one).collect()
}

/// A constitution of `n` brands, from the settings a newcomer begins with.
pub(crate) fn constitution(n: u8) -> String {
    draft(&introductions(n), &Settings::parse(SETTINGS_TEMPLATE.as_bytes()).unwrap()).unwrap()
}

/// The sample alliance's constitution, its brands in the order of their ids.
pub(crate) fn sample_constitution() -> String {
    constitution_of(sample_alliance::SETTINGS)
}

/// A constitution of the sample's brands by other settings.
pub(crate) fn constitution_of(settings: &str) -> String {
    let brands: Vec<_> = (0..)
        .zip(sample::BRANDS)
        .map(|(brand, sample)| {
            let id = BrandId::new(sample.id).unwrap();
            let (libp2p, https) = (address(brand, 7001), address(brand, 7002));
            let described = sample_alliance::describe(id).unwrap();
            let profile = BrandProfile { name: described.name, libp2p, https };
            Introduction::new(id, profile, described.point_value, keys(brand))
        })
        .collect();
    draft(&brands, &Settings::parse(settings.as_bytes()).unwrap()).unwrap()
}
