//! The node's certificate: made once at `init`, served with, pinned by clients; and the certificates of its clients.
//!
//! Self-signed unless it is replaced by one of an authority: the node's own clients trust what is in `cert.pem`; a
//! browser asks once. TLS 1.2 and 1.3 with rustls and ring's algorithms, HTTP/1.1 alone.
//!
//! [`server`] is what a running node serves with, and reads anew; [`clients`] are the certificates that programs come
//! with; [`outgoing`] is how the node calls others' servers.

mod clients;
mod outgoing;
mod server;

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

pub use clients::{
    CERTIFICATE_NAME_MAX, CertificateRequired, ClientCertificate, ClientCertificateSettings,
    is_name as is_certificate_name, names_in,
};
#[cfg(test)]
pub(crate) use outgoing::testing;
pub use outgoing::{OutgoingCertificate, OutgoingTls};
pub use server::{Current, ServerTls};

/// The certificate's file in the node's directory.
pub const CERTIFICATE_FILE: &str = "cert.pem";
/// The private key's file.
pub const KEY_FILE: &str = "key.pem";
/// The certificate with which commands come to a node that wants one of its clients, beside the node's.
pub const CLIENT_CERTIFICATE_FILE: &str = "client-cert.pem";
/// Its private key.
pub const CLIENT_KEY_FILE: &str = "client-key.pem";
/// The name every certificate made here has; clients that pin it ask for this one.
pub const PINNED_NAME: &str = "localhost";

/// What to do about a certificate that ends.
pub const RENEWAL: &str = "make a new one with `coalition keys certificate`, which a running node takes \
    up by itself, and give the new tls/cert.pem to whoever pins the old one";

/// How long a certificate holds: under the 825 days that browsers accept.
const VALIDITY: Duration = Duration::from_secs(800 * 24 * 3600);
/// Clocks of clients may be behind by so much.
const CLOCK_SLACK: Duration = Duration::from_secs(24 * 3600);

/// Why there is no certificate, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The operating system refused.
    #[error(
        "{} cannot be {action}: check the disk and the rights on its directory; \
         `coalition init` makes it, and never over an old one", .path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// Read or written.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Not PEM, or not what it should hold.
    #[error(
        "{what} is not one in PEM: restore it from a backup, or remove both files and make new ones"
    )]
    Malformed {
        /// Certificate or key.
        what: &'static str,
    },
    /// The name cannot be in a certificate.
    #[error("the host is neither a DNS name nor an IP address")]
    Host,
    /// The two do not belong together, or the library refuses them.
    #[error("the certificate and its key cannot be used")]
    Unusable {
        /// Why.
        source: rustls::Error,
    },
    /// The authorities of clients, or their lists of revoked certificates.
    #[error("{} cannot be used for the certificates of clients: {reason}", .path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Others on the machine may read a private key.
    #[error(
        "others may read {} (mode {mode:o}): chmod 600, and have a certificate made for a new key", .path.display()
    )]
    KeyOpen {
        /// The key's file.
        path: PathBuf,
        /// Its rights.
        mode: u32,
    },
    /// `node.toml` says what cannot be done.
    #[error("{0}")]
    Settings(String),
    /// Making the certificate failed.
    #[error("the certificate cannot be made")]
    Make {
        /// Why.
        source: rcgen::Error,
    },
}

/// Makes a key and a certificate for 127.0.0.1, localhost and, if given, a host; writes both (the key
/// readable by its owner alone).
///
/// # Errors
/// See [`TlsError`]; also when there is one already.
pub fn create(directory: &Path, host: Option<&str>) -> Result<(), TlsError> {
    let mut names = vec![PINNED_NAME.to_owned(), "127.0.0.1".to_owned()];
    names.extend(host.filter(|host| !names.iter().any(|name| name == host)).map(str::to_owned));
    let mut params = CertificateParams::new(names).map_err(|_| TlsError::Host)?;
    params.distinguished_name.push(DnType::CommonName, host.unwrap_or(PINNED_NAME));
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SLACK).into();
    params.not_after = (now + VALIDITY).into();

    let make = |source| TlsError::Make { source };
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(make)?;
    let certificate = params.self_signed(&key).map_err(make)?;
    let key_pem = Zeroizing::new(key.serialize_pem());
    std::fs::create_dir_all(directory).map_err(|source| TlsError::File {
        path: directory.to_owned(),
        action: "written",
        source,
    })?;
    write(&directory.join(KEY_FILE), key_pem.as_bytes(), 0o600)?;
    write(&directory.join(CERTIFICATE_FILE), certificate.pem().as_bytes(), 0o644)
}

/// Puts a new key and certificate in the place of the old ones, which stay beside them under other names.
///
/// # Errors
/// See [`TlsError`]; the old ones are then still in place, or both are under their other names.
pub fn renew(directory: &Path, host: Option<&str>) -> Result<(), TlsError> {
    let fresh = directory.join("new");
    let _ = std::fs::remove_dir_all(&fresh); // what an earlier try left
    create(&fresh, host)?;
    for file in [CERTIFICATE_FILE, KEY_FILE] {
        let (path, old) = (directory.join(file), directory.join(format!("{file}.old")));
        let moved = match std::fs::rename(&path, old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => std::fs::rename(fresh.join(file), &path),
        };
        moved.map_err(|source| TlsError::File { path, action: "written", source })?;
    }
    let _ = std::fs::remove_dir(&fresh);
    Ok(())
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TlsError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|source| TlsError::File { path: path.to_owned(), action: "written", source })
}

/// Whether the node's certificate will still hold in a while.
///
/// # Errors
/// When the file cannot be read, or the certificate will have ended, or does not hold yet.
pub fn holds_in(directory: &Path, time: Duration) -> Result<(), TlsError> {
    let unusable = |source| TlsError::Unusable { source };
    let certificates = parse_certificates(&read(directory.join(CERTIFICATE_FILE))?)?;
    let certificate =
        certificates.first().ok_or(TlsError::Malformed { what: "the certificate" })?;
    let mut roots = RootCertStore::empty();
    for one in &certificates {
        roots.add(one.clone()).map_err(unusable)?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|_| TlsError::Malformed { what: "the certificate" })?;
    let name = ServerName::try_from(PINNED_NAME).map_err(|_| TlsError::Host)?;
    let then = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + time;
    let then = UnixTime::since_unix_epoch(then);
    verifier.verify_server_cert(certificate, &[], &name, &[], then).map(|_| ()).map_err(unusable)
}

fn read(path: PathBuf) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(source) => Err(TlsError::File { path, action: "read", source }),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What the node serves with, clients' certificates apart.
///
/// # Errors
/// When a file is missing, damaged, or belongs to another.
pub fn load(directory: &Path) -> Result<ServerTls, TlsError> {
    ServerTls::open(directory, &ClientCertificateSettings::default())
}

/// What a client trusts: what is in this file and nothing else, under the name [`PINNED_NAME`].
///
/// # Errors
/// When it is not a certificate in PEM.
pub fn pinned(certificate_pem: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
    pinned_with(certificate_pem, None)
}

/// The same for a client that shows a certificate of its own.
///
/// # Errors
/// When one is not a certificate in PEM, or the key is not its key.
pub fn pinned_with(
    certificate_pem: &[u8],
    own: Option<&ClientIdentity>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let unusable = |source| TlsError::Unusable { source };
    let mut roots = RootCertStore::empty();
    for certificate in parse_certificates(certificate_pem)? {
        roots.add(certificate).map_err(unusable)?;
    }
    client(roots, own)
}

/// A client's certificate and its key, in PEM.
pub struct ClientIdentity {
    /// The certificate, then those between it and its authority.
    pub certificate: Vec<u8>,
    /// The private key.
    pub key: Zeroizing<Vec<u8>>,
}

impl ClientIdentity {
    /// The one beside the node's certificate, if there is one.
    ///
    /// # Errors
    /// When only one of its files can be read, or others may read the key.
    pub fn beside(directory: &Path) -> Result<Option<Self>, TlsError> {
        let path = directory.join(CLIENT_CERTIFICATE_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let certificate = read(path)?.to_vec();
        let key = outgoing::private_key(&directory.join(CLIENT_KEY_FILE))?;
        Ok(Some(Self { certificate, key }))
    }
}

impl std::fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientIdentity(..)")
    }
}

/// What a client trusts that goes elsewhere than to the own node: certificates of the authorities in a
/// PEM file, or in the one where this system keeps those it trusts.
///
/// # Errors
/// When there is no such file, or no certificate in it.
pub fn trusting(file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    trusting_as(file, None)
}

/// The same for a client that shows a certificate of its own.
fn trusting_as(
    file: Option<&Path>,
    own: Option<&ClientIdentity>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let of_system = || SYSTEM_FILES.iter().map(Path::new).find(|path| path.exists());
    let path = file.or_else(of_system).unwrap_or(Path::new(SYSTEM_FILES[0]));
    let pem = read(path.to_owned())?;
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
    // a system's list may have some that are not understood
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(TlsError::Malformed { what: "the certificate" });
    }
    client(roots, own)
}

/// Where systems keep the authorities they trust.
const SYSTEM_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

fn client(
    roots: RootCertStore,
    own: Option<&ClientIdentity>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let unusable = |source| TlsError::Unusable { source };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(ClientIdentity { certificate, key }) => {
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|_| TlsError::Malformed { what: "the client's key" })?;
            builder
                .with_client_auth_cert(parse_certificates(certificate)?, key)
                .map_err(unusable)?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn parse_certificate(pem: &[u8]) -> Result<CertificateDer<'static>, TlsError> {
    CertificateDer::from_pem_slice(pem).map_err(|_| TlsError::Malformed { what: "the certificate" })
}

/// Every certificate of a file, at least one.
fn parse_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let malformed = TlsError::Malformed { what: "the certificate" };
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or(malformed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_loads() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("tls");
        create(&directory, Some("node.example")).unwrap();
        let key = directory.join(KEY_FILE);
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        load(&directory).unwrap();
        pinned(&std::fs::read(directory.join(CERTIFICATE_FILE)).unwrap()).unwrap();
        holds_in(&directory, Duration::ZERO).unwrap();
        holds_in(&directory, VALIDITY - CLOCK_SLACK).unwrap();
        assert!(holds_in(&directory, VALIDITY + CLOCK_SLACK).is_err());

        let before = std::fs::read(&key).unwrap();
        renew(&directory, Some("node.example")).unwrap();
        renew(&directory, None).unwrap();
        load(&directory).unwrap();
        assert_ne!(std::fs::read(&key).unwrap(), before);

        let before = std::fs::read(&key).unwrap();
        assert!(matches!(create(&directory, None), Err(TlsError::File { .. })));
        assert_eq!(std::fs::read(&key).unwrap(), before, "an old key is never written over");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert!(matches!(load(a.path()), Err(TlsError::File { .. })));
        assert!(matches!(create(a.path(), Some("käse")), Err(TlsError::Host)));
        create(a.path(), None).unwrap();
        create(b.path(), None).unwrap();
        std::fs::copy(a.path().join(KEY_FILE), b.path().join(KEY_FILE)).unwrap();
        assert!(matches!(load(b.path()), Err(TlsError::Unusable { .. })), "another's key");
        std::fs::write(a.path().join(KEY_FILE), "nonsense").unwrap();
        assert!(matches!(load(a.path()), Err(TlsError::Malformed { what: "the key" })));
        assert!(pinned(b"nonsense").is_err());
    }
}
