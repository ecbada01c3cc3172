//! A node's data directory: what is where, and the node's own settings.
//!
//! Nothing here is the alliance's business; that is in the constitution.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::crypto::sealed::Cipher;
use protocol::ids::BrandId;
use protocol::log::note::{NoteError, SignatureType, VerifierKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::desk::DeskSettings;
use crate::http::RateLimits;
use crate::store::{InvalidAddress, PostgresAddress, PostgresStore, SledStore, Store, StoreError};
use crate::tls::{ClientCertificateSettings, OutgoingCertificate, ServerTls, TlsError};
use crate::vault::{BrandKey, HeldBrandKey};
use crate::webhooks::WebhookSettings;

/// The node's own settings, in `node.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// This brand.
    pub brand: String,
    /// Where other nodes are listened for.
    pub listen: SocketAddr,
    /// Where people and programs are listened for, over TLS.
    pub https: SocketAddr,
    /// Where `/metrics` is served, in the clear: an address that only the collector reaches. Without
    /// it, nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
    /// Where BI and SQL clients are listened for over the PostgreSQL protocol, over TLS: the clean room as
    /// a database. Without it, nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<SocketAddr>,
    /// Address of the PostgreSQL database that keeps members, consent, links and the index of
    /// purchases. Without it they are in the data directory, in sled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreAddress>,
    /// PEM file of the authorities that the database's certificate may come from; without it, those
    /// the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_trusted: Option<PathBuf>,
    /// MiB by which the journal grows at least before a snapshot of it is written.
    #[serde(default = "snapshot_mib", skip_serializing_if = "is_snapshot_mib")]
    pub snapshot_mib: u32,
    /// Days after which the last whole backup is too old, which is an alert then; 0 for never.
    #[serde(default = "backup_alert_days", skip_serializing_if = "is_backup_alert_days")]
    pub backup_alert_days: u32,
    /// Witnessing beyond the alliance.
    #[serde(default, skip_serializing_if = "Witnessing::is_empty")]
    pub witnessing: Witnessing,
    /// How members' fields are kept.
    #[serde(default, skip_serializing_if = "VaultSettings::is_default")]
    pub vault: VaultSettings,
    /// What the brand answers its members for.
    #[serde(default, skip_serializing_if = "DeskSettings::is_default")]
    pub desk: DeskSettings,
    /// How many requests each caller may make over HTTPS.
    #[serde(default, skip_serializing_if = "RateLimits::is_default")]
    pub rate_limits: RateLimits,
    /// How what happens is sent to who asked for it.
    #[serde(default, skip_serializing_if = "WebhookSettings::is_default")]
    pub webhooks: WebhookSettings,
    /// Which certificates of clients are taken over HTTPS, and who has to come with one.
    #[serde(default, skip_serializing_if = "ClientCertificateSettings::is_default")]
    pub client_certificates: ClientCertificateSettings,
    /// How the node audits all brands' logs by itself.
    #[serde(default, skip_serializing_if = "AuditSettings::is_default")]
    pub audit: AuditSettings,
}

/// How the node audits all brands' logs by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// Hours from one audit to the next; 0 for none but those that are asked for.
    pub every_hours: u32,
    /// PEM file of what the other brands' nodes are known by over HTTPS, from the data directory unless absolute: their
    /// certificates, or their authorities'. Without it, the authorities that the system trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted: Option<PathBuf>,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self { every_hours: 24, trusted: None }
    }
}

impl AuditSettings {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How members' fields are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VaultSettings {
    /// `aes-256-gcm`, which is the default, or `sm4-gcm`. What was sealed with the other still opens, and
    /// is sealed anew when the key is rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cipher: Option<String>,
    /// The environment variable that holds the brand key, in place of the key file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_variable: Option<String>,
}

impl VaultSettings {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The brand key, from where the settings say: the one place where a node chooses among what implements
    /// [`BrandKey`].
    ///
    /// # Errors
    /// A sentence that says what is wrong: the cipher's name, the file, the variable.
    pub fn brand_key(&self, file: &Path) -> Result<Arc<dyn BrandKey>, String> {
        let cipher = match &self.cipher {
            None => Cipher::default(),
            Some(name) => Cipher::from_name(name).ok_or_else(|| {
                format!("vault.cipher: {name:?} is neither aes-256-gcm nor sm4-gcm")
            })?,
        };
        let key = match &self.key_variable {
            None => HeldBrandKey::read(file),
            Some(name) => HeldBrandKey::from_environment(name),
        };
        Ok(Arc::new(key.map_err(|error| error.to_string())?.sealing_with(cipher)))
    }
}

/// MiB of the journal between two snapshots, unless the settings say otherwise.
pub const SNAPSHOT_MIB: u32 = 64;

const fn snapshot_mib() -> u32 {
    SNAPSHOT_MIB
}
// as serde asks for it
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_snapshot_mib(found: &u32) -> bool {
    *found == SNAPSHOT_MIB
}

/// Days after which a backup is too old, unless the settings say otherwise.
pub const BACKUP_ALERT_DAYS: u32 = 7;

const fn backup_alert_days() -> u32 {
    BACKUP_ALERT_DAYS
}
// as serde asks for it
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_backup_alert_days(found: &u32) -> bool {
    *found == BACKUP_ALERT_DAYS
}

impl Settings {
    /// Settings of a brand's node without anything optional.
    #[must_use]
    pub fn new(brand: BrandId, listen: SocketAddr, https: SocketAddr) -> Self {
        let witnessing = Witnessing::default();
        Self {
            brand: brand.to_string(),
            listen,
            https,
            metrics: None,
            postgres: None,
            store: None,
            store_trusted: None,
            snapshot_mib: SNAPSHOT_MIB,
            backup_alert_days: BACKUP_ALERT_DAYS,
            witnessing,
            vault: VaultSettings::default(),
            desk: DeskSettings::default(),
            rate_limits: RateLimits::default(),
            webhooks: WebhookSettings::default(),
            client_certificates: ClientCertificateSettings::default(),
            audit: AuditSettings::default(),
        }
    }

    /// Reads what the node serves TLS with.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the settings could check nobody.
    pub fn open_tls(&self, data: &DataDirectory) -> Result<ServerTls, TlsError> {
        let tls = ServerTls::open(&data.tls(), &self.client_certificates.under(data.path()))?;
        Ok(tls.showing(self.shown(data.path())))
    }

    /// The certificates that the node shows to others' servers, with paths from a directory.
    fn shown(&self, directory: &Path) -> Vec<OutgoingCertificate> {
        let witnesses = self.witnessing.ask.iter().filter_map(|asked| asked.own_under(directory));
        let receivers = self.webhooks.under(directory).client_certificate;
        witnesses.chain(receivers).collect()
    }

    /// Opens the store that these settings choose.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_store(&self, data: &DataDirectory) -> Result<Arc<dyn Store>, StoreError> {
        Ok(match &self.store {
            None => Arc::new(SledStore::open(data.store())?),
            Some(store) => Arc::new(store.open(data, self.store_trusted.as_deref())?),
        })
    }
}

/// Address of a PostgreSQL database.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreAddress {
    text: String,
    address: PostgresAddress,
}

impl StoreAddress {
    /// The address.
    #[must_use]
    pub const fn address(&self) -> &PostgresAddress {
        &self.address
    }

    /// Opens the store there, with the password that the directory keeps beside its keys, if it keeps one. `trusted`
    /// is as for [`PostgresStore::open`].
    ///
    /// # Errors
    /// When it cannot be opened, or others may read the password.
    pub fn open(
        &self,
        data: &DataDirectory,
        trusted: Option<&Path>,
    ) -> Result<PostgresStore, StoreError> {
        let unread = |source: std::io::Error| StoreError::Backend {
            action: "read its password",
            source: Arc::new(source),
        };
        match first_line(&data.store_password()).map_err(unread)? {
            Some(password) => PostgresStore::open(&self.address.with_password(&password), trusted),
            None => PostgresStore::open(&self.address, trusted),
        }
    }
}

/// The first line of a file that its owner alone may read; none where there is no such file.
fn first_line(path: &Path) -> std::io::Result<Option<Zeroizing<String>>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let words = format!("others may read {} (mode {mode:o}): chmod 600", path.display());
        return Err(std::io::Error::other(words));
    }
    Ok(Some(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())))
}

impl TryFrom<String> for StoreAddress {
    type Error = InvalidAddress;
    fn try_from(text: String) -> Result<Self, InvalidAddress> {
        Ok(Self { address: PostgresAddress::parse(&text)?, text })
    }
}

impl From<StoreAddress> for String {
    fn from(store: StoreAddress) -> Self {
        store.text
    }
}

impl PartialEq for StoreAddress {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for StoreAddress {}

impl std::fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // it may hold a password
        f.write_str("StoreAddress(..)")
    }
}

/// Which foreign logs this node witnesses, and which foreign witnesses it asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witnessing {
    /// Verifier keys of foreign logs; a log's origin is its key's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foreign_logs: Vec<LogKey>,
    /// After this node was put back to an older state: the number that its alert tells, by which the operator
    /// says that nothing was cosigned of foreign logs beyond what the node knows of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_restore: Option<u64>,
    /// Witnesses that are asked to cosign the own log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ask: Vec<AskedWitness>,
}

impl Witnessing {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A witness that is asked to cosign the own log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedWitness {
    /// Its submission prefix, `http://` or `https://`.
    pub url: String,
    /// Its verifier key.
    pub key: WitnessKey,
    /// PEM file of the certificates it may be known by; without it, those the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted: Option<PathBuf>,
    /// What is shown to it if it asks for a client's certificate; without it, nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<OutgoingCertificate>,
}

impl AskedWitness {
    /// The certificate that is shown to it, with paths from a directory.
    #[must_use]
    pub fn own_under(&self, directory: &Path) -> Option<OutgoingCertificate> {
        self.client_certificate.as_ref().map(|own| own.under(directory))
    }
}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident $type:ident $words:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub VerifierKey);

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                let key: VerifierKey = text.parse().map_err(|error: NoteError| error.to_string())?;
                if key.signature_type() == SignatureType::$type {
                    Ok(Self(key))
                } else {
                    Err($words.to_owned())
                }
            }
        }

        impl From<$name> for String {
            fn from(key: $name) -> Self {
                key.0.to_string()
            }
        }
    )*};
}

keys! {
    /// Key of a log: name, id and key as in C2SP signed-note.
    LogKey Ed25519 "the key of a log has type 1 (Ed25519), this is a witness's";
    /// Key of a witness: name, id and key as in C2SP signed-note.
    WitnessKey CosignatureV1 "the key of a witness has type 4 (cosignature/v1), this is a log's";
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// `node.toml` is not right.
    #[error("{}: {problem}", .path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// The parser's words, with line and column.
        problem: String,
    },
    /// There is a node here already.
    #[error("{} holds a node already; choose another directory with --data", .path.display())]
    Taken {
        /// The directory.
        path: PathBuf,
    },
}

/// A data directory.
#[derive(Debug, Clone)]
pub struct DataDirectory(PathBuf);

impl DataDirectory {
    /// The directory at a path; it need not exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// Private keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }
    /// The password of the database that holds the store, on one line, where it asks for one.
    #[must_use]
    pub fn store_password(&self) -> PathBuf {
        self.keys().join("store-password")
    }
    /// Certificate and key of the HTTPS surface.
    #[must_use]
    pub fn tls(&self) -> PathBuf {
        self.0.join("tls")
    }
    /// The journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }
    /// Certificates and exact contents of the own final blocks.
    #[must_use]
    pub fn own_blocks(&self) -> PathBuf {
        self.0.join("own-blocks")
    }
    /// Questions and openings of answered joint questions.
    #[must_use]
    pub fn openings(&self) -> PathBuf {
        self.0.join("openings")
    }
    /// The key-value store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }
    /// Encrypted purchase facts.
    #[must_use]
    pub fn facts(&self) -> PathBuf {
        self.0.join("facts")
    }
    /// A mark that the directory was restored from a backup: the node starts as restored.
    #[must_use]
    pub fn restored(&self) -> PathBuf {
        self.0.join("restored")
    }
    /// Mappings for imports, by name.
    #[must_use]
    pub fn mappings(&self) -> PathBuf {
        self.0.join("mappings")
    }
    /// Copies of all brands' logs, for the node's own audit.
    #[must_use]
    pub fn audited_logs(&self) -> PathBuf {
        self.0.join("audit").join("logs")
    }
    /// What the last of the node's own audits found.
    #[must_use]
    pub fn audit_report(&self) -> PathBuf {
        self.0.join("audit").join("report.json")
    }
    /// When that was, and how it went.
    #[must_use]
    pub fn last_audit(&self) -> PathBuf {
        self.0.join("audit").join("last.json")
    }
    /// What this node holds of the other brands' logs.
    #[must_use]
    pub fn fragments(&self) -> PathBuf {
        self.0.join("fragments")
    }
    /// Entries of the own log that are published no more, unless they were put elsewhere.
    #[must_use]
    pub fn archive(&self) -> PathBuf {
        self.0.join("archive")
    }
    /// The published log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }
    /// Who may sign in.
    #[must_use]
    pub fn users(&self) -> PathBuf {
        self.0.join("users.json")
    }
    /// The constitution.
    #[must_use]
    pub fn constitution(&self) -> PathBuf {
        self.0.join("constitution.toml")
    }
    /// The constitutions after the first, and drafts of such.
    #[must_use]
    pub fn constitutions(&self) -> PathBuf {
        self.0.join("constitutions")
    }
    /// The first constitution's signatures.
    #[must_use]
    pub fn signatures(&self) -> PathBuf {
        self.0.join("constitution.signatures")
    }
    /// Drafts of the next constitution that this brand looks at, and has not taken.
    #[must_use]
    pub fn drafts(&self) -> PathBuf {
        self.0.join("drafts")
    }
    /// Where a running node writes the addresses it listens on.
    #[must_use]
    pub fn addresses(&self) -> PathBuf {
        self.0.join("addresses.json")
    }
    /// What this brand takes part in and answers.
    #[must_use]
    pub fn policy(&self) -> PathBuf {
        self.0.join("policy.toml")
    }
    /// Saved questions of this brand's own.
    #[must_use]
    pub fn templates(&self) -> PathBuf {
        self.0.join("templates")
    }
    /// Who is sent what happens, and what waits to be sent.
    #[must_use]
    pub fn webhooks(&self) -> PathBuf {
        self.0.join("webhooks.json")
    }
    /// What is known of the last backup.
    #[must_use]
    pub fn last_backup(&self) -> PathBuf {
        self.0.join("last-backup.json")
    }
    /// The node's own settings.
    #[must_use]
    pub fn settings_path(&self) -> PathBuf {
        self.0.join("node.toml")
    }

    /// Makes the directory, for its owner only, and writes the settings.
    ///
    /// # Errors
    /// When there is a node here already, or the directory cannot be written.
    pub fn create(&self, settings: &Settings) -> Result<(), ConfigError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = self.settings_path();
        if path.exists() {
            return Err(ConfigError::Taken { path: self.0.clone() });
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(|source| ConfigError::Io { action: "create", path: self.0.clone(), source })?;
        let text = toml::to_string(settings).map_err(|error| ConfigError::Settings {
            path: path.clone(),
            problem: error.to_string(),
        })?;
        self.write(&path, text.as_bytes())
    }

    /// Writes a file of the directory: all of it or nothing, also when the machine stops meanwhile, and
    /// on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), ConfigError> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let written = fs::File::create(&part).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&part, path)?;
            path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
        });
        let failed = |source| ConfigError::Io { action: "write", path: path.into(), source };
        written.map_err(failed)
    }

    /// Reads a file of the directory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, ConfigError> {
        fs::read(path).map_err(|source| ConfigError::Io {
            action: "read",
            path: path.into(),
            source,
        })
    }

    /// Lets the settings name another store (none: sled in this directory), and leaves every other line
    /// of theirs as it is.
    ///
    /// # Errors
    /// When they cannot be read or written, or would not be settings any more.
    pub fn set_store(&self, store: Option<&StoreAddress>) -> Result<(), ConfigError> {
        let path = self.settings_path();
        let wrong = |problem: String| ConfigError::Settings { path: path.clone(), problem };
        let text = String::from_utf8(self.read(&path)?)
            .map_err(|_| wrong("it is not UTF-8".to_owned()))?;
        let names_it = |line: &str| {
            line.trim_start()
                .strip_prefix("store")
                .is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        // keys of no table stand before the first table
        let tables = text.lines().position(|line| line.trim_start().starts_with('['));
        let head = text.lines().take(tables.unwrap_or(usize::MAX)).filter(|line| !names_it(line));
        let mut lines: Vec<String> = head.map(str::to_owned).collect();
        if let Some(store) = store {
            lines.push(format!("store = {}", toml::Value::from(store.text.as_str())));
        }
        lines.extend(text.lines().skip(tables.unwrap_or(usize::MAX)).map(str::to_owned));
        let text = lines.join("\n") + "\n";
        let settings: Settings = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if settings.store.as_ref() != store {
            return Err(wrong(
                "its line `store` could not be changed: change it by hand".to_owned(),
            ));
        }
        self.write(&path, text.as_bytes())
    }

    /// Reads the settings.
    ///
    /// # Errors
    /// When the file is missing, not TOML, or has a field this version does not know.
    pub fn settings(&self) -> Result<(Settings, BrandId), ConfigError> {
        let path = self.settings_path();
        let bytes = self.read(&path)?;
        let wrong = |problem: String| ConfigError::Settings { path: path.clone(), problem };
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".into()))?;
        let settings: Settings = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        settings.rate_limits.check().map_err(&wrong)?;
        settings.webhooks.check().map_err(&wrong)?;
        settings.client_certificates.check().map_err(&wrong)?;
        let brand = BrandId::new(&settings.brand).map_err(|error| wrong(error.to_string()))?;
        Ok((settings, brand))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_databases_password_is_the_first_line_of_a_file_that_nobody_else_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDirectory::new(folder.path());
        let path = data.store_password();
        assert_eq!(first_line(&path).unwrap(), None, "a database need not ask for one");
        fs::create_dir(data.keys()).unwrap();
        fs::write(&path, "of its own\nand no more\n").unwrap();
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o640);
        let refused = first_line(&path).unwrap_err().to_string();
        assert!(refused.contains("chmod 600") && !refused.contains("of its own"), "{refused}");
        mode(0o600);
        assert_eq!(first_line(&path).unwrap().unwrap().as_str(), "of its own");
        let address = PostgresAddress::parse("postgresql://coalition@localhost/coalition").unwrap();
        assert!(!address.has_password());
        let address = address.with_password("of its own");
        assert!(address.has_password() && !format!("{address:?}").contains("own"));
    }
}
