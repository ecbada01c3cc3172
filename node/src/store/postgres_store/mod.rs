//! The store on PostgreSQL (14 or later): one table, one process at a time.
//!
//! A thread of its own speaks to the server ([`session`]), so that a call blocks its caller and no
//! runtime. All writes go over one connection, which holds an advisory lock for as long as the store is
//! open: a second process is refused. Transactions that wait together are checked one after the other
//! and committed in one transaction of the server's: they share its sync. Reads have connections of
//! their own and see what is committed.
//!
//! The server must keep what it says: fsync on, and no session here turns synchronous_commit off. When a
//! write's outcome is unknown, or the writing connection (and with it the lock) is lost, the store is
//! closed for good, as one on a disk that failed: the node stops, and starts again from what is there.
//!
//! Over TCP the connection is TLS with the server's certificate checked, except to this machine itself.

mod session;

use std::fmt;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::mpsc::UnboundedSender;
use tokio_postgres::config::{Host, SslMode};

use self::session::{Job, Opening};
use super::{Keyspace, Pair, Store, StoreError, Write, check_lengths, next_key};

/// How to reach a database, as PostgreSQL's clients write it: `postgresql://user@host/database`, or
/// `host=/run/postgresql user=coalition dbname=coalition`. `search_path` may be given in `options`.
#[derive(Clone)]
pub struct PostgresAddress(tokio_postgres::Config);

impl PostgresAddress {
    /// Parses an address. The text is repeated in no error: it may hold a password.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        // the certificate and its name are checked in any case, so that each of these asks for the same
        let mut text = text.to_owned();
        for mode in ["verify-full", "verify-ca"] {
            text = text.replace(&format!("sslmode={mode}"), "sslmode=require");
        }
        let mut config: tokio_postgres::Config = text.parse().map_err(|_| InvalidAddress)?;
        if config.get_hosts().is_empty() || config.get_dbname().is_none() {
            return Err(InvalidAddress);
        }
        // over a network it is TLS, whatever the address says; on this machine where it says so
        let sockets = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        let asked = config.get_ssl_mode() == SslMode::Require && !sockets;
        if asked || config.get_hosts().iter().any(is_elsewhere) {
            config.ssl_mode(SslMode::Require);
        } else {
            config.ssl_mode(SslMode::Disable);
        }
        config.application_name("coalition");
        Ok(Self(config))
    }

    /// Whether a password stands in it.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.0.get_password().is_some()
    }

    /// The same, to be reached with this password.
    #[must_use]
    pub fn with_password(&self, password: &str) -> Self {
        let mut config = self.0.clone();
        config.password(password);
        Self(config)
    }

    /// Where it is, without who and how.
    fn place(&self) -> String {
        format!("the database {}", self.0.get_dbname().unwrap_or_default())
    }
}

fn is_elsewhere(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name != "localhost"
                && name.parse::<std::net::IpAddr>().map_or(true, |address| !address.is_loopback())
        }
        Host::Unix(_) => false,
    }
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // it may hold a password
        f.write_str("PostgresAddress(..)")
    }
}

/// Why a text is no address of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the address of a PostgreSQL database: postgresql://USER@HOST/DATABASE, or \
     host=/run/postgresql user=USER dbname=DATABASE"
)]
pub struct InvalidAddress;

/// A store in a PostgreSQL database.
pub struct PostgresStore {
    // none once it is being dropped
    jobs: Option<UnboundedSender<Job>>,
    poisoned: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("poisoned", &self.poisoned).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Opens the store of a database, making its table (and the schema that the address names) if they
    /// are not there. `trusted` is a PEM file of the authorities that the server's certificate may come
    /// from; without it, those the system trusts.
    ///
    /// # Errors
    /// When the server does not answer or does not keep what it says, another process has the store
    /// open, or it is of another format version.
    pub fn open(address: &PostgresAddress, trusted: Option<&Path>) -> Result<Self, StoreError> {
        let place = address.place();
        let tls = match address.0.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(crate::tls::trusting(trusted).map_err(backend("read what it trusts"))?),
        };
        let poisoned = Arc::new(AtomicBool::new(false));
        let (jobs, received) = tokio::sync::mpsc::unbounded_channel();
        let (opened, answer) = sync_channel(1);
        let opening =
            Opening { config: address.0.clone(), place, tls, poisoned: Arc::clone(&poisoned) };
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || session::run(opening, received, &opened))
            .map_err(backend("start its thread"))?;
        let store = Self { jobs: Some(jobs), poisoned, thread: Some(thread) };
        answer.recv().map_err(backend("start its thread"))??;
        Ok(store)
    }

    fn ask<T>(
        &self,
        job: impl FnOnce(SyncSender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(StoreError::Poisoned { earlier: None });
        }
        let (reply, answer) = sync_channel(1);
        let jobs = self.jobs.as_ref().ok_or(StoreError::Poisoned { earlier: None })?;
        jobs.send(job(reply)).map_err(|_| StoreError::Poisoned { earlier: None })?;
        answer.recv().map_err(|_| StoreError::Poisoned { earlier: None })?
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // it lets go of the lock before it ends; a panic of it has closed the store already
            let _ = thread.join();
        }
    }
}

impl Store for PostgresStore {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.get_many(keyspace, &[key.to_vec()])?.pop().flatten())
    }

    fn get_many(
        &self,
        keyspace: Keyspace,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let keys = keys.to_vec();
        self.ask(|reply| Job::Get { keyspace, keys, reply })
    }

    fn scan(
        &self,
        keyspace: Keyspace,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let from = match from {
            Bound::Included(key) => key.to_vec(),
            Bound::Excluded(key) => next_key(key.to_vec()),
            Bound::Unbounded => Vec::new(),
        };
        let before = match to {
            Bound::Included(key) => Some(next_key(key.to_vec())),
            Bound::Excluded(key) => Some(key.to_vec()),
            Bound::Unbounded => None,
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.ask(|reply| Job::Scan { keyspace, from, before, limit, reply })
    }

    fn keyspaces(&self) -> Result<Vec<String>, StoreError> {
        self.ask(|reply| Job::Keyspaces { reply })
    }

    fn transaction(&self, writes: &[Write]) -> Result<(), StoreError> {
        check_lengths(writes)?;
        let writes = writes.to_vec();
        self.ask(|reply| Job::Write { writes, reply })
    }

    fn flush(&self) -> Result<(), StoreError> {
        // what a reader sees is committed, and a commit is on the server's disk before anyone sees it
        if self.poisoned.load(Ordering::Acquire) {
            Err(StoreError::Poisoned { earlier: None })
        } else {
            Ok(())
        }
    }
}

fn backend<E: std::error::Error + Send + Sync + 'static>(
    action: &'static str,
) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Backend { action, source: Arc::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres_cluster::PostgresCluster;

    #[test]
    fn an_address_is_checked_and_never_repeated() {
        for wrong in ["", "postgresql://", "host=", "sled", "mysql://a@b/c", "host=h user=u"] {
            assert!(PostgresAddress::parse(wrong).is_err(), "{wrong}");
        }
        let text = "postgresql://shop:hunter2@db.example/coalition";
        let address = PostgresAddress::parse(text).unwrap();
        assert!(!format!("{address:?}").contains("hunter2"));
        // elsewhere is over TLS, whatever the address says; this machine is not
        assert_eq!(address.0.get_ssl_mode(), SslMode::Require);
        let plain = PostgresAddress::parse(&format!("{text}?sslmode=disable")).unwrap();
        assert_eq!(plain.0.get_ssl_mode(), SslMode::Require);
        let mode = |text: &str| PostgresAddress::parse(text).unwrap().0.get_ssl_mode();
        assert_eq!(mode("host=/run/postgresql user=a dbname=b"), SslMode::Disable);
        assert_eq!(mode("host=localhost user=a dbname=b"), SslMode::Disable);
        // unless it is asked for
        for asked in ["require", "verify-ca", "verify-full"] {
            assert_eq!(
                mode(&format!("host=localhost user=a dbname=b sslmode={asked}")),
                SslMode::Require
            );
            let url = format!("postgresql://a@127.0.0.1/b?sslmode={asked}");
            assert_eq!(mode(&url), SslMode::Require);
        }
        let socket = "host=/run/postgresql user=a dbname=b sslmode=require";
        assert_eq!(mode(socket), SslMode::Disable, "nobody listens in on a socket");
    }

    #[test]
    fn a_server_that_is_not_there_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("host={} user=a dbname=b", folder.path().display());
        let opened = PostgresStore::open(&PostgresAddress::parse(&address).unwrap(), None);
        assert!(matches!(opened, Err(StoreError::Backend { action: "reach its server", .. })));
    }

    /// An authority, and a server's certificate and key from it for a name, in PEM.
    fn certificates(name: &str) -> (String, String, String) {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let key = || KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (authority_key, server_key) = (key(), key());
        let trusted = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(authority, authority_key);
        let server = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = server.signed_by(&server_key, &issuer).unwrap().pem();
        (trusted, certificate, server_key.serialize_pem())
    }

    /// A real server that takes nobody without TLS: its certificate has to come from an authority that is
    /// trusted, and to be that of the host that was asked for.
    #[test]
    fn over_tls_the_server_is_who_it_says_and_nobody_else() {
        let (trusted, certificate, key) = certificates("localhost");
        let Some(cluster) = PostgresCluster::start_over_tls(&certificate, &key).unwrap() else {
            assert!(std::env::var_os("COALITION_SHARED").is_none(), "nothing may be skipped here");
            eprintln!("skipped: no PostgreSQL is installed");
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, pem: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, pem).unwrap();
            path
        };
        let trusted = file("authority.pem", &trusted);
        let address = |host: &str, mode: &str| {
            let text = cluster.address_over_tls(host, "over_tls");
            PostgresAddress::parse(&format!("{text} sslmode={mode}")).unwrap()
        };
        let store =
            PostgresStore::open(&address("localhost", "verify-full"), Some(&trusted)).unwrap();
        store.transaction(&[Write::put("a", "k", vec![7; 60_000])]).unwrap();
        assert_eq!(store.get("a", b"k").unwrap().map(|value| value.len()), Some(60_000));
        // as the server sees it, every one of the store's connections
        let asked = "SELECT count(*) || ' ' || bool_and(ssl) FROM pg_stat_ssl \
                     JOIN pg_stat_activity USING (pid) WHERE application_name = 'coalition'";
        let seen = cluster.client("psql", &["-At", "-d", "postgres", "-c", asked]).unwrap();
        let seen = String::from_utf8(seen.stdout).unwrap();
        let (connections, all) = seen.trim().split_once(' ').unwrap();
        assert!(connections.parse::<u32>().unwrap() >= 1 && all == "true", "{seen}");
        drop(store);

        let refused = |address: &PostgresAddress, trusted: Option<&Path>| {
            let error = PostgresStore::open(address, trusted).unwrap_err();
            let StoreError::Backend { action: "reach its server", source } = error else {
                panic!("{error}")
            };
            let (mut told, mut cause) = (source.to_string(), source.source());
            while let Some(deeper) = cause {
                told += &format!(": {deeper}");
                cause = deeper.source();
            }
            told
        };
        // another authority, none of this system's, another name, and no TLS at all
        let other = file("other.pem", &certificates("localhost").0);
        let told = refused(&address("localhost", "verify-full"), Some(&other));
        assert!(told.contains("invalid peer certificate"), "{told}");
        let told = refused(&address("127.0.0.1", "require"), Some(&trusted));
        assert!(told.contains("not valid for name"), "{told}");
        let told = refused(&address("localhost", "disable"), Some(&trusted));
        assert!(told.contains("no encryption"), "{told}");
    }

    /// The server goes away: what was acknowledged is there afterwards, and nothing is taken until the
    /// store is opened anew.
    #[test]
    fn a_lost_server_closes_the_store() {
        let Some(cluster) = PostgresCluster::start().unwrap() else {
            assert!(std::env::var_os("COALITION_SHARED").is_none(), "nothing may be skipped here");
            eprintln!("skipped: no PostgreSQL is installed");
            return;
        };
        let address = PostgresAddress::parse(&cluster.address("lost")).unwrap();
        let store = PostgresStore::open(&address, None).unwrap();
        store.transaction(&[Write::put("a", "k", "v")]).unwrap();
        let second = PostgresStore::open(&address, None);
        assert!(matches!(second, Err(StoreError::InUse { .. })));

        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name = 'coalition'";
        cluster.client("psql", &["-q", "-d", "postgres", "-c", kill]).unwrap();
        let lost = store.transaction(&[Write::put("a", "k", "other")]);
        assert!(lost.is_err());
        assert!(matches!(
            store.transaction(&[Write::put("a", "k", "w")]),
            Err(StoreError::Poisoned { .. })
        ));
        assert!(matches!(store.flush(), Err(StoreError::Poisoned { .. })));
        drop(store);
        let store = PostgresStore::open(&address, None).unwrap();
        assert_eq!(store.get("a", b"k").unwrap().as_deref(), Some(&b"v"[..]));
    }
}
