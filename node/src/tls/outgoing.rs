//! The TLS of the node's own calls to others' servers: whom it trusts there, and the certificate that it shows to a
//! server that asks for one.
//!
//! The files are looked at before each connection, so that a certificate that was renewed is shown without a restart.
//! Files that cannot be used change nothing: what was read before holds, and the log says so. Calls of the commands to
//! their own node are not here: those have their certificate beside the node's ([`super::ClientIdentity::beside`]).

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::clients::ends;
use super::{ClientIdentity, TlsError, parse_certificate, read, trusting_as};

/// A certificate that the node shows to another's server, as `node.toml` has it: two PEM files, from the data
/// directory unless absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutgoingCertificate {
    /// The certificate, then those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key, which nobody but the node's user may read.
    pub key: PathBuf,
}

impl OutgoingCertificate {
    /// The same with paths from a directory.
    #[must_use]
    pub fn under(&self, directory: &Path) -> Self {
        Self { certificate: directory.join(&self.certificate), key: directory.join(&self.key) }
    }

    /// When it ends, Unix seconds; nothing where the file has no certificate.
    pub(super) fn ends(&self) -> Option<u64> {
        let pem = fs::read(&self.certificate).ok()?;
        ends(&parse_certificate(&pem).ok()?)
    }

    /// Reads both files.
    ///
    /// # Errors
    /// When one cannot be read, or others may read the key.
    fn read(&self) -> Result<ClientIdentity, TlsError> {
        let certificate = read(self.certificate.clone())?.to_vec();
        Ok(ClientIdentity { certificate, key: private_key(&self.key)? })
    }
}

/// The file of a private key, if nobody but its owner may read it.
pub(super) fn private_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let bytes = read(path.to_owned())?;
    let mode = fs::metadata(path).map(|found| found.permissions().mode() & 0o777);
    match mode {
        Ok(mode) if mode & 0o077 != 0 => Err(TlsError::KeyOpen { path: path.to_owned(), mode }),
        Ok(_) => Ok(bytes),
        Err(source) => Err(TlsError::File { path: path.to_owned(), action: "read", source }),
    }
}

/// What tells that a file is another than the one that was read, its rights included.
type Version = Option<(u64, u64, i64, i64)>;

fn version(path: &Path) -> Version {
    let found = fs::metadata(path).ok()?;
    Some((found.ino(), found.len(), found.ctime(), found.ctime_nsec()))
}

/// How calls to others' servers leave.
pub struct OutgoingTls {
    trusted: Option<PathBuf>,
    own: Option<OutgoingCertificate>,
    current: Mutex<(Vec<Version>, Arc<ClientConfig>)>,
}

impl std::fmt::Debug for OutgoingTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OutgoingTls(..)")
    }
}

impl OutgoingTls {
    /// Servers are known by certificates of the authorities in the file `trusted`, or of those the system trusts; the
    /// node is known by `own`, or not at all.
    ///
    /// # Errors
    /// When a file is missing or damaged, the key is another's, or others may read it.
    pub fn open(
        trusted: Option<&Path>,
        own: Option<&OutgoingCertificate>,
    ) -> Result<Self, TlsError> {
        let (trusted, own) = (trusted.map(Path::to_owned), own.cloned());
        let seen = versions(trusted.as_deref(), own.as_ref());
        let config = config(trusted.as_deref(), own.as_ref())?;
        Ok(Self { trusted, own, current: Mutex::new((seen, config)) })
    }

    /// What the next connection is made with.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = versions(self.trusted.as_deref(), self.own.as_ref());
        if current.0 != seen {
            match config(self.trusted.as_deref(), self.own.as_ref()) {
                Ok(config) => current.1 = config,
                Err(error) => {
                    tracing::error!(error = %error, "the files of outgoing calls cannot be used");
                }
            }
            // once for each change: the next one is tried again
            current.0 = seen;
        }
        Arc::clone(&current.1)
    }
}

fn versions(trusted: Option<&Path>, own: Option<&OutgoingCertificate>) -> Vec<Version> {
    let own = own.into_iter().flat_map(|own| [own.certificate.as_path(), own.key.as_path()]);
    trusted.into_iter().chain(own).map(version).collect()
}

fn config(
    trusted: Option<&Path>,
    own: Option<&OutgoingCertificate>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let own = own.map(OutgoingCertificate::read).transpose()?;
    trusting_as(trusted, own.as_ref())
}

/// A server that wants a certificate of its clients, for the tests of those who call others.
#[cfg(test)]
pub(crate) mod testing {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
        KeyPair, KeyUsagePurpose,
    };
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::super::{
        CERTIFICATE_FILE, CertificateRequired, ClientCertificateSettings, ServerTls, create,
    };
    use super::*;

    pub(crate) struct Demanding {
        directory: tempfile::TempDir,
        pub(crate) port: u16,
        authority: Issuer<'static, KeyPair>,
    }

    impl Demanding {
        /// Answers 200 to whoever has come with a certificate of its authority. Must be called within a runtime.
        pub(crate) async fn start() -> Self {
            let directory = tempfile::tempdir().unwrap();
            create(directory.path(), None).unwrap();
            let (authority, pem) = authority();
            fs::write(directory.path().join("clients.pem"), pem).unwrap();
            let settings = ClientCertificateSettings {
                authorities: Some("clients.pem".into()),
                revoked: None,
                required: CertificateRequired::Everyone,
            };
            let tls = ServerTls::open(directory.path(), &settings.under(directory.path())).unwrap();
            let acceptor = TlsAcceptor::from(Arc::clone(&tls.current().https));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            tokio::spawn(async move {
                while let Ok((tcp, _)) = listener.accept().await {
                    let acceptor = acceptor.clone();
                    tokio::spawn(async move {
                        let Ok(mut stream) = acceptor.accept(tcp).await else { return };
                        let Ok(1..) = stream.read(&mut [0; 4096]).await else { return };
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        let _ = stream.write_all(answer).await;
                        let _ = stream.shutdown().await;
                    });
                }
            });
            let demanding = Self { directory, port, authority };
            demanding.certify(&demanding.authority);
            demanding
        }

        /// What the server is known by.
        pub(crate) fn trusted(&self) -> PathBuf {
            self.directory.path().join(CERTIFICATE_FILE)
        }

        /// The files of a client that it lets in.
        pub(crate) fn own(&self) -> OutgoingCertificate {
            let files =
                OutgoingCertificate { certificate: "own.pem".into(), key: "own-key.pem".into() };
            files.under(self.directory.path())
        }

        /// Writes the client's files anew, of this authority.
        pub(crate) fn certify(&self, authority: &Issuer<'static, KeyPair>) {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, "alpha");
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, authority).unwrap().pem();
            let own = self.own();
            fs::write(&own.certificate, certificate).unwrap();
            fs::write(&own.key, key.serialize_pem()).unwrap();
            fs::set_permissions(&own.key, fs::Permissions::from_mode(0o600)).unwrap();
        }

        /// The same of its own.
        pub(crate) fn certify_again(&self) {
            self.certify(&self.authority);
        }
    }

    pub(crate) fn authority() -> (Issuer<'static, KeyPair>, String) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (Issuer::new(params, key), pem)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CERTIFICATE_FILE, ClientCertificateSettings, ServerTls};
    use super::testing::Demanding;
    use super::*;
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn a_key_that_others_may_read_and_a_key_of_another_are_refused() {
        let server = Demanding::start().await;
        let (trusted, own) = (server.trusted(), server.own());
        let open = || OutgoingTls::open(Some(&trusted), Some(&own));
        open().unwrap();
        fs::set_permissions(&own.key, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = open().unwrap_err();
        assert!(matches!(refused, TlsError::KeyOpen { mode: 0o640, .. }));
        let said = refused.to_string();
        assert!(said.contains("own-key.pem") && said.contains("mode 640"), "{said}");
        assert!(said.contains("chmod 600"), "{said}");
        let certificate = fs::read(&own.certificate).unwrap();
        server.certify_again();
        fs::write(&own.certificate, certificate).unwrap();
        assert!(matches!(open(), Err(TlsError::Unusable { .. })), "another's key");
        fs::write(&own.key, "nonsense").unwrap();
        assert!(matches!(open(), Err(TlsError::Malformed { .. })));
        fs::remove_file(&own.key).unwrap();
        assert!(matches!(open(), Err(TlsError::File { .. })));
    }

    /// A certificate of another's that a node shows is among those whose end is told of, also when it is renewed.
    #[tokio::test]
    async fn the_end_of_a_certificate_that_is_shown_is_told_of() {
        let server = Demanding::start().await;
        let (metrics, own) = (Metrics::default(), server.own());
        let directory = own.certificate.parent().unwrap();
        let tls = ServerTls::open(directory, &ClientCertificateSettings::default()).unwrap();
        let tells = |tls: &ServerTls| {
            tls.measure_shown(&metrics);
            metrics.render()
        };
        assert!(!tells(&tls).contains("certificate=\"client\""), "none is shown");
        let files = |name: &str| OutgoingCertificate {
            certificate: directory.join(name),
            key: own.key.clone(),
        };
        // the node's own ends sooner than one of rcgen's
        let shown = vec![own.clone(), files("nowhere.pem"), files(CERTIFICATE_FILE)];
        let tls = tls.showing(shown);
        let first = tls.current().ends;
        assert!(first < own.ends().unwrap());
        assert_eq!(tls.first_shown_end(), Some(first));
        let name = "coalition_certificate_expiry_timestamp_seconds";
        let line = format!("{name}{{certificate=\"client\"}} {first}");
        let text = tells(&tls);
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    }

    #[tokio::test]
    async fn files_that_change_hold_for_the_next_connection_and_damaged_ones_change_nothing() {
        let server = Demanding::start().await;
        let tls = OutgoingTls::open(Some(&server.trusted()), Some(&server.own())).unwrap();
        let first = tls.config();
        assert!(Arc::ptr_eq(&first, &tls.config()), "nothing has changed");
        fs::write(server.own().certificate, "nonsense").unwrap();
        assert!(Arc::ptr_eq(&first, &tls.config()));
        server.certify_again();
        assert!(!Arc::ptr_eq(&first, &tls.config()));
        let without = OutgoingTls::open(Some(&server.trusted()), None).unwrap();
        assert!(Arc::ptr_eq(&without.config(), &without.config()));
    }
}
