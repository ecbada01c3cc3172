//! The TLS of a running node: its certificate, and those that vouch for clients, read anew when their files change.
//!
//! A change holds for new connections; those that are open go on under the certificate they began with. A client's
//! certificate is looked at again when the authorities have changed, once a minute, and when it ends, so that who is
//! vouched for no more is let in no more on an open connection either. Files that cannot be used change nothing: what
//! was read before holds, and the log says so.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use super::clients::{Authorities, ClientCertificate, ends};
use super::{
    CERTIFICATE_FILE, CertificateRequired, ClientCertificateSettings, KEY_FILE,
    OutgoingCertificate, TlsError, parse_certificates, provider, read,
};
use crate::metrics::Metrics;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// One in how many looks is also at the certificates that are shown to others: they are read for it.
const SHOWN_LOOKS: u32 = 60;
/// For how long a client's certificate counts after it was looked at, in seconds.
const RECHECK_SECONDS: u64 = 60;

/// What tells that a file is another than the one that was read.
type Version = Option<(SystemTime, u64, u64)>;

/// What is served with.
pub struct Current {
    /// For HTTPS: clients are asked for a certificate where authorities are set.
    pub https: Arc<ServerConfig>,
    /// For the PostgreSQL protocol: they are not.
    pub postgres: Arc<ServerConfig>,
    /// SHA-256 of the node's certificate: what a sign-in of an SQL client is bound to.
    pub certificate_hash: Arc<[u8]>,
    /// When the node's certificate ends, Unix seconds.
    pub ends: u64,
    authorities: Option<Authorities>,
    generation: u64,
}

/// The TLS of a node. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls(Arc<Shared>, Arc<[OutgoingCertificate]>);

struct Shared {
    directory: PathBuf,
    clients: ClientCertificateSettings,
    current: watch::Sender<Arc<Current>>,
    seen: Mutex<Vec<Version>>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServerTls({})", self.0.directory.display())
    }
}

impl ServerTls {
    /// Reads certificate, key and authorities.
    ///
    /// # Errors
    /// When a file is missing, damaged, or belongs to another, or the settings could check nobody.
    pub fn open(directory: &Path, clients: &ClientCertificateSettings) -> Result<Self, TlsError> {
        clients.check().map_err(TlsError::Settings)?;
        let seen = versions(directory, clients);
        let current = Arc::new(Current::read(directory, clients, 0)?);
        let shared = Shared {
            directory: directory.to_owned(),
            clients: clients.clone(),
            current: watch::Sender::new(current),
            seen: Mutex::new(seen),
        };
        Ok(Self(Arc::new(shared), Arc::default()))
    }

    /// The same with the certificates that the node shows to others' servers, of which it tells when they end.
    #[must_use]
    pub fn showing(self, shown: Vec<OutgoingCertificate>) -> Self {
        Self(self.0, shown.into())
    }

    /// When the first of the certificates ends that are shown to others' servers, Unix seconds; of files that can be read.
    #[must_use]
    pub fn first_shown_end(&self) -> Option<u64> {
        self.1.iter().filter_map(OutgoingCertificate::ends).min()
    }

    /// What is served with now.
    #[must_use]
    pub fn current(&self) -> Arc<Current> {
        Arc::clone(&self.0.current.borrow())
    }

    /// Tells of every change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Current>> {
        self.0.current.subscribe()
    }

    /// Who has to come with a certificate.
    #[must_use]
    pub fn required(&self) -> CertificateRequired {
        self.0.clients.required
    }

    /// Reads the files again if one is another than the one that was read; says whether it was so.
    ///
    /// # Errors
    /// When they cannot be used: what was read before holds, and they are tried again the next time.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = versions(&self.0.directory, &self.0.clients);
        if *seen == now {
            return Ok(false);
        }
        let generation = self.current().generation + 1;
        let read = Current::read(&self.0.directory, &self.0.clients, generation)?;
        *seen = now;
        self.0.current.send_replace(Arc::new(read));
        Ok(true)
    }

    /// Looks after the files until the task is dropped.
    pub async fn follow(self, metrics: Metrics) {
        let mut failures = 0_u32;
        for looks in (0..SHOWN_LOOKS).cycle() {
            self.measure(&metrics);
            if looks == 0 {
                self.measure_shown(&metrics);
            }
            tokio::time::sleep(LOOK_EVERY).await;
            match self.refresh() {
                Ok(changed) => {
                    failures = 0;
                    metrics.set("tls_files_unusable", "", "", 0);
                    if changed {
                        tracing::info!("certificate, key and authorities of TLS were read anew");
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    // not at the first: certificate and key are two files, and one is put there before the other
                    if failures == 2 {
                        metrics.set("tls_files_unusable", "", "", 1);
                        tracing::error!(error = %error, "changed TLS files cannot be used: those before hold");
                    }
                }
            }
        }
    }

    pub(super) fn measure_shown(&self, metrics: &Metrics) {
        if let Some(ends) = self.first_shown_end() {
            metrics.set("certificate_expiry_timestamp_seconds", "certificate", "client", ends);
        }
    }

    fn measure(&self, metrics: &Metrics) {
        let current = self.current();
        let name = "certificate_expiry_timestamp_seconds";
        metrics.set(name, "certificate", "server", current.ends);
        if let Some(authorities) = &current.authorities {
            metrics.set(name, "certificate", "client_authority", authorities.first_end);
        }
    }

    /// What a connection's handshake has let through: none without a certificate, or without a name in it.
    #[must_use]
    pub fn client(&self, chain: Option<&[CertificateDer<'_>]>) -> Option<Arc<ClientCertificate>> {
        // under the authorities of an earlier moment perhaps: it is looked at again with the first request then
        let found = ClientCertificate::new(chain?, self.current().generation, 0)?;
        Some(Arc::new(found))
    }

    /// Whether an authority vouches for a connection's certificate now.
    #[must_use]
    pub fn vouches_for(&self, certificate: &ClientCertificate) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if now > certificate.ends {
            return false;
        }
        let current = self.current();
        let Some(authorities) = &current.authorities else { return false };
        let mut checked = certificate.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let (generation, at) = *checked;
        if generation == current.generation && now.saturating_sub(at) < RECHECK_SECONDS {
            return true;
        }
        let vouched = authorities.vouch_for(&certificate.chain);
        if vouched {
            *checked = (current.generation, now);
        }
        vouched
    }
}

/// The versions of all files, in one order.
fn versions(directory: &Path, clients: &ClientCertificateSettings) -> Vec<Version> {
    let own = [directory.join(CERTIFICATE_FILE), directory.join(KEY_FILE)];
    let of_clients = [&clients.authorities, &clients.revoked].into_iter().flatten().cloned();
    let files = own.into_iter().chain(of_clients);
    files
        .map(|file| {
            let found = fs::metadata(file).ok()?;
            Some((found.modified().ok()?, found.len(), found.ino()))
        })
        .collect()
}

impl Current {
    fn read(
        directory: &Path,
        clients: &ClientCertificateSettings,
        generation: u64,
    ) -> Result<Self, TlsError> {
        let chain = parse_certificates(&read(directory.join(CERTIFICATE_FILE))?)?;
        let first = chain.first().ok_or(TlsError::Malformed { what: "the certificate" })?;
        let ends = ends(first).ok_or(TlsError::Malformed { what: "the certificate" })?;
        let certificate_hash =
            ring::digest::digest(&ring::digest::SHA256, first).as_ref().to_vec().into();
        let key = PrivateKeyDer::from_pem_slice(&read(directory.join(KEY_FILE))?)
            .map_err(|_| TlsError::Malformed { what: "the key" })?;
        let authorities = clients
            .authorities
            .as_deref()
            .map(|file| Authorities::read(file, clients.revoked.as_deref(), clients.required))
            .transpose()?;
        let unusable = |source| TlsError::Unusable { source };
        let config = |authorities: Option<&Authorities>, protocol: &[u8]| {
            let builder = ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .map_err(unusable)?;
            let builder = match authorities {
                None => builder.with_no_client_auth(),
                Some(of) => builder.with_client_cert_verifier(Arc::clone(&of.verifier)),
            };
            let mut config =
                builder.with_single_cert(chain.clone(), key.clone_key()).map_err(unusable)?;
            config.alpn_protocols = vec![protocol.to_vec()];
            Ok::<_, TlsError>(Arc::new(config))
        };
        Ok(Self {
            https: config(authorities.as_ref(), b"http/1.1")?,
            postgres: config(None, b"postgresql")?,
            certificate_hash,
            ends,
            authorities,
            generation,
        })
    }

    /// How many authorities vouch for clients, and when the first of them ends, Unix seconds.
    #[must_use]
    pub fn client_authorities(&self) -> Option<(usize, u64)> {
        self.authorities.as_ref().map(|authorities| (authorities.count, authorities.first_end))
    }
}
