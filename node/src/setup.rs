//! Making a node: keys, settings, an introduction to the other brands; taking up a constitution, and
//! keys to rotate to.
//!
//! What `coalition init`, `coalition constitution` and `coalition keys next` do, without the command line.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use alliance_config::{Address, BrandProfile, Constitution, Introduction, Name};
use protocol::amount::Rate;
use protocol::epochs::adoption::Stance;
use protocol::ids::BrandId;
use ring::rand::SystemRandom;

use crate::config::{ConfigError, DataDirectory, Settings};
use crate::constitutions::{Known, KnownError};
use crate::keys::{self, KeysError, OwnKeys, SigningSecrets};
use crate::runtime::check_membership;
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
    /// The constitutions that are there.
    #[error(transparent)]
    Known(#[from] KnownError),
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
    check_membership(&constitution, brand, &OwnKeys::read(&data.keys())?)
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

/// Takes a later constitution, or a draft of one, into the data directory, with what this brand says of
/// it; the node reads it when it starts, or when it is told to.
///
/// # Errors
/// When it cannot be used, or names this brand with keys that are not here; nothing was then written.
pub fn take(
    data: &DataDirectory,
    toml: &Path,
    signatures: Option<&Path>,
    stance: Option<Stance>,
) -> Result<Constitution, SetupError> {
    let (_, brand) = data.settings()?;
    let parsed = Constitution::parse(&data.read(toml)?)
        .map_err(|error| SetupError::Constitution(format!("{}: {error}", toml.display())))?;
    if let Some(member) = parsed.ledger().brand(brand) {
        let own = OwnKeys::read(&data.keys())?;
        if !own.are(&member.keys) {
            return Err(SetupError::Constitution(format!(
                "{}: it has other keys for {brand} than this data directory; draft it again from what `coalition keys next` prints",
                toml.display()
            )));
        }
        // a log that begins with it seals to that key first
        if stance == Some(Stance::Adopted) && !own.sealing.holds(&member.keys.sealing) {
            return Err(SetupError::Constitution(format!(
                "{}: the sealing key that it has for {brand} is destroyed, and a brand that joins would seal to it; draft it again from what `coalition keys next --keep-signing` prints",
                toml.display()
            )));
        }
    }
    let taken = Known::take(data, toml, signatures)?;
    if let Some(stance) = stance {
        Known::say(data, &taken, stance)?;
    }
    Ok(taken)
}

/// The introduction that brings this brand's next keys into a constitution after `present`.
#[derive(Debug, Clone)]
pub struct NextKeys {
    /// Its text.
    pub introduction: String,
    /// Whether signing keys were made for it; else they had been made before and no constitution here
    /// names them yet, or were to be kept.
    pub made: bool,
}

/// Makes a set of signing keys to rotate to, unless one waits already, and the introduction that names
/// it, with this brand's newest sealing key. With `keep_signing` the signing keys stay.
///
/// # Errors
/// When `present` does not name this brand by keys that are here, or a file cannot be written.
pub fn next_keys(
    data: &DataDirectory,
    present: &Constitution,
    keep_signing: bool,
) -> Result<NextKeys, SetupError> {
    let (_, brand) = data.settings()?;
    let mut own = OwnKeys::read(&data.keys())?;
    check_membership(present, brand, &own)
        .map_err(|error| SetupError::Constitution(error.to_string()))?;
    let member = present.ledger().brand(brand);
    let (Some(member), Some(profile)) = (member, present.profile(brand)) else {
        return Err(SetupError::Constitution(format!("{brand} is no brand of the constitution")));
    };
    let known = &member.keys;
    let public = |set: &SigningSecrets, sealing| set.public(known.network, sealing, known.recovery);
    let here = if data.constitution().exists() { Some(Known::read(data)?) } else { None };
    let named = here.iter().flat_map(Known::iter).chain([present]);
    let mut named = named.filter_map(|it| Some(it.ledger().brand(brand)?.keys.log));
    let newest = public(own.signing.newest(), known.sealing)?.log;
    let made = !keep_signing && named.any(|log| log == newest);
    if made {
        own.signing.make()?;
    }
    let kept = own.signing.of(known).filter(|_| keep_signing);
    let set = kept.unwrap_or(own.signing.newest());
    let sealing = own.sealing.current();
    let introduction =
        Introduction::new(brand, profile.clone(), member.point_value, public(set, sealing)?);
    let introduction = introduction
        .to_text(&set.governance()?)
        .map_err(|error| SetupError::Introduction(error.to_string()))?;
    Ok(NextKeys { introduction, made })
}

/// A loopback address nobody listens at, for alliances of one machine (demonstration, benches, tests).
///
/// Its port is below those that systems give to outgoing connections (32768 upwards; RFC 6335 reserves
/// 49152 upwards for it), so that none of these takes it before, or between two lives of, a node; and no
/// two calls of a process give the same.
///
/// # Errors
/// When no port can be bound.
pub fn free_loopback_address() -> io::Result<SocketAddr> {
    const FIRST: u16 = 10_240;
    const PORTS: u16 = 22_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // processes that run at the same time begin at different places
    let begin = u16::try_from(std::process::id().wrapping_mul(977) % u32::from(PORTS)).unwrap_or(0);
    let mut refused = None;
    for _ in 0..PORTS {
        let place = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, FIRST + place)) {
            Ok(listener) => return listener.local_addr(),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}
