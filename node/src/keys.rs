//! The brand's private keys in files of the data directory, one seed a role.
//!
//! Knows how keys are made, kept (mode 0600, in a directory of mode 0700) and handed to the parts that
//! use them. The recovery key is written to a file of its own, to be taken offline: a running node
//! never reads it. Sealing keys, which change every month, are in files of their own ([`crate::sealing_keys`]), and
//! so are the later sets of the keys that a constitution names ([`crate::signing_keys`]). Not here yet: a
//! key-management service, another network identity.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use protocol::constitution::BrandKeys;
use protocol::crypto::sealed::{KeyRing, SealError, SealingKey, SealingSecret};
use protocol::crypto::{PublicKey, SigningKey};
use protocol::ledger::{LedgerKeys, SigningKeys};
use protocol::witness::statement::VotingKeys;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::sealing_keys::SealingKeys;
use crate::signing_keys::SigningSets;

const SECRETS: &str = "secrets";
const RECOVERY: &str = "recovery-key";
const VAULT: &str = "vault-key";

/// Why keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}; check that the node's user owns it", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not one that this program wrote.
    #[error("{} is not a file of keys: line {line} should read `<role> = <44 base64 characters>`", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// A role is missing.
    #[error("{} has no key for the role `{role}`", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Which role.
        role: &'static str,
    },
    /// A sealing key is none.
    #[error(transparent)]
    Sealing(#[from] SealError),
    /// No randomness.
    #[error("the system's random generator failed")]
    Random,
}

pub(crate) type Seed = Zeroizing<[u8; 32]>;

macro_rules! seeds {
    ($(#[$of:meta])* $name:ident $title:literal $($(#[$doc:meta])* $role:ident),* $(,)?) => {
        $(#[$of])*
        pub struct $name {$(
            $(#[$doc])*
            $role: Seed,
        )*}

        impl $name {
            pub(crate) fn generate(random: &dyn SecureRandom) -> Result<Self, KeysError> {
                Ok(Self {$( $role: new_seed(random)?, )*})
            }
            pub(crate) fn to_text(&self) -> Zeroizing<String> {
                let mut text = Zeroizing::new(String::from($title));
                $(
                    text.push_str(concat!(stringify!($role), " = "));
                    text.push_str(&BASE64_STANDARD.encode(*self.$role));
                    text.push('\n');
                )*
                text
            }
            pub(crate) fn from_text(path: &Path, text: &str) -> Result<Self, KeysError> {
                $( let mut $role: Option<Seed> = None; )*
                for (number, line) in text.lines().enumerate() {
                    if line.trim().is_empty() || line.starts_with('#') {
                        continue;
                    }
                    let malformed = || KeysError::Malformed { path: path.into(), line: number + 1 };
                    let (role, seed) = line.split_once(" = ").ok_or_else(malformed)?;
                    let bytes = Zeroizing::new(BASE64_STANDARD.decode(seed.trim()).map_err(|_| malformed())?);
                    let seed = <[u8; 32]>::try_from(&bytes[..]).map_err(|_| malformed())?;
                    match role {
                        $( stringify!($role) => $role = Some(Zeroizing::new(seed)), )*
                        _ => return Err(malformed()),
                    }
                }
                Ok(Self {$(
                    $role: $role.ok_or(KeysError::Missing { path: path.into(), role: stringify!($role) })?,
                )*})
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

seeds! {
    /// Seeds of the private keys a running node uses.
    Secrets "# Private keys of this brand's node, one seed a role. Keep secret, keep a copy offline.\n"
    log,
    vote,
    checkpoint,
    witness,
    governance,
    network,
    /// Encrypts the journal at rest.
    journal,
    /// Encrypts the clean room's session keys at rest.
    clean_room,
}

seeds! {
    /// Seeds of the keys with which a brand signs under a constitution that names them.
    SigningSecrets "# A later set of this brand's signing keys, one seed a role. Keep secret, keep a copy offline.\n"
    log,
    vote,
    checkpoint,
    witness,
    governance,
}

pub(crate) fn new_seed(random: &dyn SecureRandom) -> Result<Seed, KeysError> {
    let mut seed = Zeroizing::new([0; 32]);
    random.fill(&mut *seed).map_err(|_| KeysError::Random)?;
    Ok(seed)
}

pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> KeysError {
    let path = path.to_path_buf();
    move |source| KeysError::Io { action, path, source }
}

pub(crate) fn write_secret(path: &Path, text: &[u8]) -> Result<(), KeysError> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io("create", path))?;
    file.write_all(text).and_then(|()| file.sync_all()).map_err(io("write", path))
}

/// The public halves that go into a brand's introduction.
pub struct NewKeys {
    /// What a running node uses.
    pub secrets: Secrets,
    /// The public half of the first sealing key.
    pub sealing: SealingKey,
    /// The public half of the recovery key, whose private half is in a file of its own.
    pub recovery: SealingKey,
}

/// Where the vault's brand key is.
#[must_use]
pub fn vault_key_path(folder: &Path) -> PathBuf {
    folder.join(VAULT)
}

/// Where the recovery key is written, once.
#[must_use]
pub fn recovery_key_path(folder: &Path) -> PathBuf {
    folder.join(RECOVERY)
}

/// Makes new keys in a folder that has none.
///
/// # Errors
/// When the folder has keys already, or cannot be written.
pub fn create(folder: &Path) -> Result<NewKeys, KeysError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(io("create", folder))?;
    let random = SystemRandom::new();
    let secrets = Secrets::generate(&random)?;
    let recovery_seed = new_seed(&random)?;
    let (_, recovery) = SealingSecret::derive(&recovery_seed);
    write_secret(&folder.join(SECRETS), secrets.to_text().as_bytes())?;
    let sealing = SealingKeys::create(folder, crate::runtime::now())?.current();
    let text = Zeroizing::new(format!("recovery = {}\n", BASE64_STANDARD.encode(*recovery_seed)));
    write_secret(&recovery_key_path(folder), text.as_bytes())?;
    Ok(NewKeys { secrets, sealing, recovery })
}

/// All the keys of a brand's node.
#[derive(Debug)]
pub struct OwnKeys {
    /// Those that do not change, and the first signing keys.
    pub secrets: Secrets,
    /// Signing keys, the first and later ones.
    pub signing: SigningSets,
    /// Sealing keys.
    pub sealing: SealingKeys,
}

impl OwnKeys {
    /// Reads all of them.
    ///
    /// # Errors
    /// When a file is missing or malformed.
    pub fn read(folder: &Path) -> Result<Self, KeysError> {
        let secrets = read(folder)?;
        let signing = SigningSets::read(folder, &secrets)?;
        Ok(Self { signing, sealing: SealingKeys::read(folder)?, secrets })
    }

    /// Whether a constitution that has these public keys of this brand can be run under. The private
    /// half of the recovery key is offline, that of an old sealing key may be destroyed.
    #[must_use]
    pub fn are(&self, known: &BrandKeys) -> bool {
        let network = self.secrets.network_key().ok();
        network == Some(known.network)
            && self.sealing.may_have_had(&known.sealing)
            && self.signing.of(known).is_some()
    }
}

/// Reads the keys that [`create`] wrote.
///
/// # Errors
/// When the file is missing or not one that [`create`] wrote.
pub fn read(folder: &Path) -> Result<Secrets, KeysError> {
    let path = folder.join(SECRETS);
    let text = Zeroizing::new(fs::read_to_string(&path).map_err(io("read", &path))?);
    Secrets::from_text(&path, &text)
}

/// Reads sealing secrets (a brand's recovery key, an auditor's keys) from a file of one seed a line.
///
/// # Errors
/// When the file is missing or holds no seed.
pub fn read_sealing_secrets(path: &Path) -> Result<Vec<SealingSecret>, KeysError> {
    let text = Zeroizing::new(fs::read_to_string(path).map_err(io("read", path))?);
    let one = |(number, line): (usize, &str)| -> Result<SealingSecret, KeysError> {
        let malformed = || KeysError::Malformed { path: path.into(), line: number + 1 };
        let (_, seed) = line.split_once(" = ").ok_or_else(malformed)?;
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(seed.trim()).map_err(|_| malformed())?);
        let seed = Zeroizing::new(<[u8; 32]>::try_from(&bytes[..]).map_err(|_| malformed())?);
        Ok(SealingSecret::derive(&seed).0)
    };
    let secrets = text.lines().enumerate().map(one).collect::<Result<Vec<_>, _>>()?;
    let malformed = KeysError::Malformed { path: path.into(), line: 1 };
    if secrets.is_empty() { Err(malformed) } else { Ok(secrets) }
}

/// Makes sealing key pairs for an auditor, one a month it will use, in a file of their own; gives the
/// public halves in order.
///
/// # Errors
/// When the file is there already or cannot be written.
pub fn create_auditor_keys(path: &Path, count: u8) -> Result<Vec<SealingKey>, KeysError> {
    let random = SystemRandom::new();
    let mut text = Zeroizing::new(String::new());
    let mut public = Vec::new();
    for _ in 0..count {
        let seed = new_seed(&random)?;
        let line = Zeroizing::new(format!("auditor = {}\n", BASE64_STANDARD.encode(*seed)));
        text.push_str(&line);
        public.push(SealingSecret::derive(&seed).1);
    }
    write_secret(path, text.as_bytes())?;
    Ok(public)
}

fn signing(seed: &Seed) -> Result<SigningKey, KeysError> {
    SigningKey::from_seed(seed).map_err(|_| KeysError::Random)
}

impl SigningSecrets {
    /// The public keys of a brand that signs with these, beside the others that it has.
    ///
    /// # Errors
    /// When a seed is no key.
    pub fn public(
        &self,
        network: PublicKey,
        sealing: SealingKey,
        recovery: SealingKey,
    ) -> Result<BrandKeys, KeysError> {
        let public = |seed| Ok::<PublicKey, KeysError>(signing(seed)?.public());
        Ok(BrandKeys {
            log: public(&self.log)?,
            vote: public(&self.vote)?,
            checkpoint: public(&self.checkpoint)?,
            witness: public(&self.witness)?,
            governance: public(&self.governance)?,
            network,
            sealing,
            recovery,
        })
    }

    /// The keys the ledger signs with.
    ///
    /// # Errors
    /// When a seed is no key.
    pub fn ledger(&self) -> Result<SigningKeys, KeysError> {
        Ok(SigningKeys {
            voting: VotingKeys { log: signing(&self.log)?, vote: signing(&self.vote)? },
            checkpoint: signing(&self.checkpoint)?,
            witness: signing(&self.witness)?,
        })
    }

    /// Signs constitutions and introductions.
    ///
    /// # Errors
    /// When the seed is no key.
    pub fn governance(&self) -> Result<SigningKey, KeysError> {
        signing(&self.governance)
    }
}

impl Secrets {
    /// The first set of signing keys.
    #[must_use]
    pub fn signing(&self) -> SigningSecrets {
        let Self { log, vote, checkpoint, witness, governance, .. } = self;
        SigningSecrets {
            log: log.clone(),
            vote: vote.clone(),
            checkpoint: checkpoint.clone(),
            witness: witness.clone(),
            governance: governance.clone(),
        }
    }

    /// The public keys at the beginning, with those that are not in this file.
    ///
    /// # Errors
    /// When a seed is no key.
    pub fn public(
        &self,
        sealing: SealingKey,
        recovery: SealingKey,
    ) -> Result<BrandKeys, KeysError> {
        self.signing().public(self.network_key()?, sealing, recovery)
    }

    /// The public half of the network identity.
    ///
    /// # Errors
    /// When the seed is no key.
    pub fn network_key(&self) -> Result<PublicKey, KeysError> {
        Ok(signing(&self.network)?.public())
    }

    /// The keys the ledger begins with.
    ///
    /// # Errors
    /// When a seed is no key.
    pub fn ledger(&self, sealing: KeyRing) -> Result<LedgerKeys, KeysError> {
        let SigningKeys { voting, checkpoint, witness } = self.signing().ledger()?;
        Ok(LedgerKeys { voting, checkpoint, witness, sealing })
    }

    /// Signs constitutions at the beginning.
    ///
    /// # Errors
    /// When the seed is no key.
    pub fn governance(&self) -> Result<SigningKey, KeysError> {
        signing(&self.governance)
    }

    /// Seed of the network identity.
    #[must_use]
    pub fn network(&self) -> [u8; 32] {
        *self.network
    }

    /// Key of the journal's encryption.
    #[must_use]
    pub fn journal(&self) -> &[u8; 32] {
        &self.journal
    }

    /// Key of the clean room's stored session keys.
    #[must_use]
    pub fn clean_room(&self) -> &[u8; 32] {
        &self.clean_room
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_made_once_and_read_by_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let made = create(&keys).unwrap();
        let mode = fs::metadata(keys.join(SECRETS)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read = read(&keys).unwrap();
        let public = |secrets: &Secrets| secrets.public(made.sealing, made.recovery).unwrap();
        assert_eq!(public(&made.secrets), public(&read));
        assert!(matches!(create(&keys), Err(KeysError::Io { action: "create", .. })));
        assert!(!format!("{read:?}").contains(&BASE64_STANDARD.encode(*read.vote)));
    }

    #[test]
    fn a_damaged_file_names_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        create(&keys).unwrap();
        let path = keys.join(SECRETS);
        let text = fs::read_to_string(&path).unwrap().replace("vote = ", "vote: ");
        fs::write(&path, text).unwrap();
        assert!(matches!(read(&keys), Err(KeysError::Malformed { line: 3, .. })));
    }
}
