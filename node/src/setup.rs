//! Making a node: keys, settings, an introduction to the other brands; and taking up a constitution.
//!
//! What `coalition init` and `coalition constitution` do, without the command line.

use std::fs;
use std::path::Path;

use alliance_config::{Address, BrandProfile, Introduction, Name};
use protocol::amount::Rate;
use protocol::ids::BrandId;
use ring::rand::SystemRandom;

use crate::config::{ConfigError, DataDirectory, Settings};
use crate::keys::{self, KeysError};
use crate::runtime::check_membership;
use crate::sealing_keys::SealingKeys;
use crate::vault::{HeldBrandKey, KeyError};

/// File name of a brand's introduction in its data directory.
pub const INTRODUCTION: &str = "introduction.toml";

/// What a new node is told.
#[derive(Debug, Clone)]
pub struct NewNode {
    /// The brand.
    pub brand: BrandId,
    /// Its name.
    pub name: Name,
    /// Settlement value of one of its points, in micro-fen.
    pub point_value: Rate,
    /// Where its node can be reached by the others.
    pub libp2p: Address,
    /// Where its HTTPS surface can be reached.
    pub https: Address,
    /// Where the node listens, if not at those addresses.
    pub settings: Settings,
}

/// Why a node could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The data directory.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The vault's key.
    #[error(transparent)]
    VaultKey(#[from] KeyError),
    /// The introduction.
    #[error("the introduction cannot be made: {0}")]
    Introduction(String),
    /// The constitution.
    #[error("{0}")]
    Constitution(String),
}

/// Makes keys, settings and the introduction in a new data directory; gives the introduction's text.
///
/// # Errors
/// When there is a node already, or something cannot be written.
pub fn create(data: &DataDirectory, new: &NewNode) -> Result<String, SetupError> {
    data.create(&new.settings)?;
    let made = keys::create(&data.keys())?;
    HeldBrandKey::create(&keys::vault_key_path(&data.keys()), &SystemRandom::new())?;
    let profile = BrandProfile {
        name: new.name.clone(),
        libp2p: new.libp2p.clone(),
        https: new.https.clone(),
    };
    let public = made.secrets.public(made.sealing, made.recovery)?;
    let introduction = Introduction::new(new.brand, profile, new.point_value, public);
    let text = introduction
        .to_text(&made.secrets.governance()?)
        .map_err(|error| SetupError::Introduction(error.to_string()))?;
    data.write(&data.path().join(INTRODUCTION), text.as_bytes())?;
    Ok(text)
}

/// Takes up a constitution: checks that every brand has signed it and that this node is one of them,
/// then copies it into the data directory.
///
/// # Errors
/// When it is not valid or not signed by all, when this brand is not in it under this node's keys, or
/// when the node has run under another; nothing was then copied.
pub fn adopt(data: &DataDirectory, toml: &Path, signatures: &Path) -> Result<(), SetupError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|source| ConfigError::Io {
            action: "read",
            path: path.into(),
            source,
        })
    };
    let (toml, signatures) = (read(toml)?, read(signatures)?);
    let constitution = alliance_config::load(&toml, &signatures)
        .map_err(|error| SetupError::Constitution(error.to_string()))?
        .into_constitution();
    let (_, brand) = data.settings()?;
    let secrets = keys::read(&data.keys())?;
    check_membership(&constitution, brand, &secrets, &SealingKeys::read(&data.keys())?)
        .map_err(|error| SetupError::Constitution(error.to_string()))?;
    // blocks and votes were made under the one that is there: another would make them wrong
    let held = fs::read(data.constitution()).ok();
    if data.journal().exists() && held.is_some_and(|held| held != toml) {
        return Err(SetupError::Constitution(format!(
            "{} has run under another constitution; one that follows it is taken with `coalition constitution take`",
            data.path().display()
        )));
    }
    data.write(&data.constitution(), &toml)?;
    data.write(&data.signatures(), &signatures)?;
    Ok(())
}
