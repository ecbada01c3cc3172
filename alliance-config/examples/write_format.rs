//! Writes an example of every file of the present format, of the sample alliance with keys from fixed
//! seeds, into a folder: how the files under `formats/` were made.
//!
//! `cargo run -p alliance-config --example write_format -- alliance-config/formats/v0`
//!
//! Run it only for a new format: what is committed there has to keep loading as it is.

use std::error::Error;
use std::path::Path;

use alliance_config::{
    BrandProfile, Introduction, Settings, collect, draft, sample, sample_alliance, sign,
};
use protocol::constitution::BrandKeys;
use protocol::crypto::SigningKey;
use protocol::crypto::sealed::SealingSecret;
use protocol::ids::BrandId;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("say into which folder")?;
    let folder = Path::new(&folder);
    let mut introductions = Vec::new();
    let mut governance = Vec::new();
    for (number, brand) in (1..).zip(sample::BRANDS) {
        let host = format!("{}.example.com", brand.id.replace('_', "-"));
        let (libp2p, https) = (format!("{host}:7001").parse()?, format!("{host}:7002").parse()?);
        let (keys, key) = keys(number)?;
        let id = BrandId::new(brand.id)?;
        let described = sample_alliance::describe(id).ok_or("the sample has no such brand")?;
        let profile = BrandProfile { name: described.name, libp2p, https };
        introductions.push(Introduction::new(id, profile, described.point_value, keys));
        governance.push(key);
    }
    let constitution =
        draft(&introductions, &Settings::parse(sample_alliance::SETTINGS.as_bytes())?)?;
    let parts: Result<Vec<_>, _> =
        governance.iter().map(|key| sign(constitution.as_bytes(), key)).collect();
    let signatures = collect(constitution.as_bytes(), &parts?)?.signatures.to_text();
    let first = introductions.iter().zip(&governance).next().ok_or("no brand")?;
    for (file, text) in [
        ("introduction.toml", first.0.to_text(first.1)?),
        ("alliance.toml", sample_alliance::SETTINGS.to_owned()),
        ("constitution.toml", constitution),
        ("constitution.signatures", signatures),
    ] {
        std::fs::write(folder.join(file), text)?;
    }
    Ok(())
}

fn keys(brand: u8) -> Result<(BrandKeys, SigningKey), Box<dyn Error>> {
    let seed = |role: u8| {
        let mut seed = [role; 32];
        seed[0] = brand;
        seed
    };
    let sign = |role| SigningKey::from_seed(&seed(role));
    let seal = |role| SealingSecret::derive(&seed(role)).1;
    let keys = BrandKeys {
        log: sign(0)?.public(),
        vote: sign(1)?.public(),
        checkpoint: sign(2)?.public(),
        witness: sign(3)?.public(),
        governance: sign(4)?.public(),
        network: sign(5)?.public(),
        sealing: seal(6),
        recovery: seal(7),
    };
    Ok((keys, sign(4)?))
}
