//! The thread that speaks to the server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::{Client, Config, Error, NoTls, Statement};

use super::super::{Keyspace, Pair, StoreError, TRANSACTION_MAX, Write};
use super::backend;

/// Connections for reading.
const READERS: usize = 3;
/// Most transactions that are committed together.
const TOGETHER_MAX: usize = 256;
/// How long a process that has just ended may take to let go of the lock.
const RELEASE_PATIENCE: Duration = Duration::from_secs(5);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// The format that this version writes. Its row has the empty keyspace, which is no keyspace's.
const FORMAT_VERSION: &[u8] = &[0, 0];

// values are ciphertexts: trying to compress them is lost time
const SCHEMA: &str = "\
CREATE TABLE IF NOT EXISTS coalition_store (
  keyspace text COLLATE \"C\" NOT NULL, key bytea NOT NULL, value bytea NOT NULL,
  PRIMARY KEY (keyspace, key));
ALTER TABLE coalition_store ALTER COLUMN value SET STORAGE EXTERNAL";
const GET: &str = "\
SELECT wanted.place, held.value FROM unnest($2::bytea[]) WITH ORDINALITY AS wanted (key, place)
JOIN coalition_store held ON held.keyspace = $1 AND held.key = wanted.key";
const SCAN: &str = "\
SELECT key, value FROM coalition_store WHERE keyspace = $1 AND key >= $2
ORDER BY key LIMIT $3";
const SCAN_BEFORE: &str = "\
SELECT key, value FROM coalition_store WHERE keyspace = $1 AND key >= $2 AND key < $4
ORDER BY key LIMIT $3";
// from one keyspace to the next by the index
const KEYSPACES: &str = "\
WITH RECURSIVE spaces AS (
  SELECT min(keyspace) AS name FROM coalition_store WHERE keyspace > ''
  UNION ALL
  SELECT (SELECT min(keyspace) FROM coalition_store WHERE keyspace > spaces.name)
  FROM spaces WHERE spaces.name IS NOT NULL)
SELECT name FROM spaces WHERE name IS NOT NULL";
const HELD: &str = "\
SELECT wanted.place, held.value
FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS wanted (keyspace, key, place)
JOIN coalition_store held ON held.keyspace = wanted.keyspace AND held.key = wanted.key";
const PUT: &str = "\
INSERT INTO coalition_store SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[])
ON CONFLICT (keyspace, key) DO UPDATE SET value = excluded.value";
const DELETE: &str = "\
DELETE FROM coalition_store held USING unnest($1::text[], $2::bytea[]) AS gone (keyspace, key)
WHERE held.keyspace = gone.keyspace AND held.key = gone.key";

type Reply<T> = SyncSender<Result<T, StoreError>>;

/// What the store asks of its thread.
pub(super) enum Job {
    Get {
        keyspace: Keyspace,
        keys: Vec<Vec<u8>>,
        reply: Reply<Vec<Option<Vec<u8>>>>,
    },
    Scan {
        keyspace: Keyspace,
        from: Vec<u8>,
        before: Option<Vec<u8>>,
        limit: i64,
        reply: Reply<Vec<Pair>>,
    },
    Keyspaces {
        reply: Reply<Vec<String>>,
    },
    Write {
        writes: Vec<Write>,
        reply: Reply<()>,
    },
}

/// What the thread begins with.
pub(super) struct Opening {
    pub(super) config: Config,
    pub(super) place: String,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) poisoned: Arc<AtomicBool>,
}

/// Serves jobs until the store is dropped.
pub(super) fn run(
    opening: Opening,
    jobs: UnboundedReceiver<Job>,
    opened: &SyncSender<Result<(), StoreError>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = opened.send(Err(backend("start its thread")(error)));
            return;
        }
    };
    runtime.block_on(async {
        let poisoned = Arc::clone(&opening.poisoned);
        match Session::open(&opening).await {
            Ok(session) => {
                // whoever opens the store waits for this, or is gone
                let _ = opened.send(Ok(()));
                session.serve(jobs, poisoned).await;
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        }
    });
}

struct Session {
    writer: Writer,
    readers: Vec<Arc<Reader>>,
}

impl Session {
    async fn open(opening: &Opening) -> Result<Self, StoreError> {
        let client = connect(opening).await?;
        let failed = || backend::<Error>("make its table");
        for (setting, action) in [("fsync", "fsync"), ("full_page_writes", "full_page_writes")] {
            let row = client.query_one(&format!("SHOW {setting}"), &[]).await;
            if row.map_err(failed())?.try_get::<_, &str>(0).map_err(failed())? != "on" {
                let told =
                    format!("the server runs with {action} off: it loses what it acknowledged");
                let source = std::io::Error::other(told);
                return Err(backend("rely on its server")(source));
            }
        }
        // a schema that the address names is made; public is there
        let named = client.query_one("SHOW search_path", &[]).await.map_err(failed())?;
        let named: &str = named.try_get(0).map_err(failed())?;
        if !named.contains(',') && !named.contains('"') {
            let make = format!("CREATE SCHEMA IF NOT EXISTS \"{}\"", named.trim());
            client.batch_execute(&make).await.map_err(failed())?;
        }
        take_lock(&client, &opening.place).await?;
        client.batch_execute(SCHEMA).await.map_err(failed())?;
        let format = client
            .query_opt("SELECT value FROM coalition_store WHERE keyspace = ''", &[])
            .await
            .map_err(failed())?;
        match format {
            Some(row) if row.try_get::<_, &[u8]>(0).map_err(failed())? == FORMAT_VERSION => {}
            Some(_) => return Err(StoreError::OtherVersion { place: opening.place.clone() }),
            None => {
                let write = "INSERT INTO coalition_store SELECT '', 'format', $1 \
                     WHERE NOT EXISTS (SELECT FROM coalition_store)";
                if client.execute(write, &[&FORMAT_VERSION]).await.map_err(failed())? != 1 {
                    return Err(StoreError::OtherVersion { place: opening.place.clone() });
                }
            }
        }
        let writer = Writer::of(client).await.map_err(failed())?;
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let reader = Reader::of(connect(opening).await?).await.map_err(failed())?;
            readers.push(Arc::new(reader));
        }
        Ok(Self { writer, readers })
    }

    async fn serve(self, mut jobs: UnboundedReceiver<Job>, poisoned: Arc<AtomicBool>) {
        let (writes, to_write) = tokio::sync::mpsc::unbounded_channel();
        let writer = tokio::spawn(self.writer.serve(to_write, poisoned));
        let mut next = 0;
        while let Some(job) = jobs.recv().await {
            match job {
                // the writer is there for as long as its sender is
                Job::Write { writes: all, reply } => drop(writes.send((all, reply))),
                job => {
                    next = (next + 1) % self.readers.len().max(1);
                    if let Some(reader) = self.readers.get(next) {
                        tokio::spawn(Arc::clone(reader).answer(job));
                    }
                }
            }
        }
        drop(writes);
        let _ = writer.await;
    }
}

/// One process at a time: the lock goes with the session that holds it.
async fn take_lock(client: &Client, place: &str) -> Result<(), StoreError> {
    let failed = || backend::<Error>("take its lock");
    let lock =
        "SELECT pg_try_advisory_lock(hashtext('coalition_store'), hashtext(current_schema()))";
    let deadline = tokio::time::Instant::now() + RELEASE_PATIENCE;
    loop {
        let row = client.query_one(lock, &[]).await.map_err(failed())?;
        if row.try_get(0).map_err(failed())? {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            return Err(StoreError::InUse { place: place.to_owned() });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn connect(opening: &Opening) -> Result<Client, StoreError> {
    let failed = || backend::<Error>("reach its server");
    let connecting = async {
        match &opening.tls {
            None => {
                let (client, connection) = opening.config.connect(NoTls).await.map_err(failed())?;
                // ends with the client; an error shows in what is asked of the client
                tokio::spawn(connection);
                Ok(client)
            }
            Some(tls) => {
                let (client, connection) =
                    opening.config.connect(tls::Rustls::new(tls)).await.map_err(failed())?;
                tokio::spawn(connection);
                Ok(client)
            }
        }
    };
    match tokio::time::timeout(CONNECT_TIME_MAX, connecting).await {
        Ok(connected) => connected,
        Err(elapsed) => Err(backend("reach its server")(elapsed)),
    }
}

struct Reader {
    client: Client,
    get: Statement,
    scan: Statement,
    scan_before: Statement,
}

impl Reader {
    async fn of(client: Client) -> Result<Self, Error> {
        let get = client.prepare(GET).await?;
        let scan = client.prepare(SCAN).await?;
        let scan_before = client.prepare(SCAN_BEFORE).await?;
        Ok(Self { client, get, scan, scan_before })
    }

    async fn answer(self: Arc<Self>, job: Job) {
        // whoever asked may be gone
        match job {
            Job::Get { keyspace, keys, reply } => {
                let _ = reply.send(self.get(keyspace, &keys).await.map_err(backend("read")));
            }
            Job::Scan { keyspace, from, before, limit, reply } => {
                let pairs = self.scan(keyspace, &from, before.as_deref(), limit).await;
                let _ = reply.send(pairs.map_err(backend("read")));
            }
            Job::Keyspaces { reply } => {
                let _ = reply.send(self.keyspaces().await.map_err(backend("read")));
            }
            Job::Write { .. } => {}
        }
    }

    async fn get(
        &self,
        keyspace: Keyspace,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let rows = self.client.query(&self.get, &[&keyspace, &keys]).await?;
        placed(keys.len(), &rows)
    }

    async fn scan(
        &self,
        keyspace: Keyspace,
        from: &[u8],
        before: Option<&[u8]>,
        limit: i64,
    ) -> Result<Vec<Pair>, Error> {
        let rows = match before {
            None => self.client.query(&self.scan, &[&keyspace, &from, &limit]).await?,
            Some(before) => {
                self.client.query(&self.scan_before, &[&keyspace, &from, &limit, &before]).await?
            }
        };
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    async fn keyspaces(&self) -> Result<Vec<String>, Error> {
        let rows = self.client.query(KEYSPACES, &[]).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }
}

/// Values at their places (from 1) among those asked for.
fn placed(wanted: usize, rows: &[tokio_postgres::Row]) -> Result<Vec<Option<Vec<u8>>>, Error> {
    let mut values = vec![None; wanted];
    for row in rows {
        let place: i64 = row.try_get(0)?;
        if let Some(value) = usize::try_from(place - 1).ok().and_then(|place| values.get_mut(place))
        {
            *value = Some(row.try_get(1)?);
        }
    }
    Ok(values)
}

type Waiting = (Vec<Write>, Reply<()>);
/// What a commit sets; none deletes.
type Changes = BTreeMap<(Keyspace, Vec<u8>), Option<Vec<u8>>>;

struct Writer {
    client: Client,
    held: Statement,
    put: Statement,
    delete: Statement,
}

impl Writer {
    async fn of(client: Client) -> Result<Self, Error> {
        let held = client.prepare(HELD).await?;
        let put = client.prepare(PUT).await?;
        let delete = client.prepare(DELETE).await?;
        Ok(Self { client, held, put, delete })
    }

    async fn serve(mut self, mut jobs: UnboundedReceiver<Waiting>, poisoned: Arc<AtomicBool>) {
        let mut waiting = Vec::new();
        while jobs.recv_many(&mut waiting, TOGETHER_MAX).await > 0 {
            while !waiting.is_empty() {
                let rest = waiting.split_off(fitting(&waiting));
                let together = std::mem::replace(&mut waiting, rest);
                if poisoned.load(Ordering::Acquire) {
                    for (_, reply) in together {
                        let _ = reply.send(Err(StoreError::Poisoned { earlier: None }));
                    }
                } else {
                    self.commit(together, &poisoned).await;
                }
            }
        }
    }

    async fn commit(&mut self, together: Vec<Waiting>, poisoned: &AtomicBool) {
        let outcome = self.try_commit(&together).await;
        if outcome.is_err() {
            // what happened is unknown, and so is whether the lock is still held
            poisoned.store(true, Ordering::Release);
        }
        let outcome = outcome.map_err(|error| backend("write")(error));
        for (place, (_, reply)) in together.into_iter().enumerate() {
            let _ = reply.send(match &outcome {
                Ok(refused) => match refused.get(&place) {
                    Some(keyspace) => Err(StoreError::Conflict { keyspace }),
                    None => Ok(()),
                },
                Err(error) => Err(error.clone()),
            });
        }
    }

    /// Commits what holds; gives the places of what does not, with the keyspace to blame.
    async fn try_commit(
        &mut self,
        together: &[Waiting],
    ) -> Result<BTreeMap<usize, Keyspace>, Error> {
        let held = self.required(together).await?;
        let mut changes = Changes::new();
        let mut refused = BTreeMap::new();
        for (place, (writes, _)) in together.iter().enumerate() {
            let fails = writes.iter().find_map(|write| match write {
                Write::Require { keyspace, key, value } => {
                    let at = (*keyspace, key.clone());
                    let now = changes.get(&at).or_else(|| held.get(&at));
                    (now.and_then(Option::as_ref) != value.as_ref()).then_some(*keyspace)
                }
                _ => None,
            });
            if let Some(keyspace) = fails {
                refused.insert(place, keyspace);
                continue;
            }
            for write in writes {
                match write {
                    Write::Put { keyspace, key, value } => {
                        changes.insert((keyspace, key.clone()), Some(value.clone()));
                    }
                    Write::Delete { keyspace, key } => {
                        changes.insert((keyspace, key.clone()), None);
                    }
                    Write::Require { .. } => {}
                }
            }
        }
        self.apply(changes).await?;
        Ok(refused)
    }

    async fn required(&self, together: &[Waiting]) -> Result<Changes, Error> {
        let mut at: Vec<(Keyspace, Vec<u8>)> = Vec::new();
        for write in together.iter().flat_map(|(writes, _)| writes) {
            if let Write::Require { keyspace, key, .. } = write {
                at.push((keyspace, key.clone()));
            }
        }
        if at.is_empty() {
            return Ok(Changes::new());
        }
        let (spaces, keys): (Vec<Keyspace>, Vec<&[u8]>) =
            at.iter().map(|(keyspace, key)| (*keyspace, key.as_slice())).unzip();
        let rows = self.client.query(&self.held, &[&spaces, &keys]).await?;
        let values = placed(at.len(), &rows)?;
        Ok(at.into_iter().zip(values).collect())
    }

    async fn apply(&mut self, changes: Changes) -> Result<(), Error> {
        let mut put = (Vec::new(), Vec::new(), Vec::new());
        let mut gone = (Vec::new(), Vec::new());
        for ((keyspace, key), value) in changes {
            match value {
                Some(value) => {
                    put.0.push(keyspace);
                    put.1.push(key);
                    put.2.push(value);
                }
                None => {
                    gone.0.push(keyspace);
                    gone.1.push(key);
                }
            }
        }
        if put.0.is_empty() && gone.0.is_empty() {
            return Ok(());
        }
        let transaction = self.client.transaction().await?;
        if !put.0.is_empty() {
            transaction.execute(&self.put, &[&put.0, &put.1, &put.2]).await?;
        }
        if !gone.0.is_empty() {
            transaction.execute(&self.delete, &[&gone.0, &gone.1]).await?;
        }
        transaction.commit().await
    }
}

/// How many of the first are committed together: at least one, and no more than fits.
fn fitting(waiting: &[Waiting]) -> usize {
    let mut bytes = 0;
    let fits = waiting.iter().take_while(|(writes, _)| {
        bytes += writes.iter().map(Write::bytes).sum::<usize>();
        bytes <= TRANSACTION_MAX
    });
    fits.count().max(1)
}

/// TLS by the same library and settings as everywhere else.
mod tls {
    use std::future::Future;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use rustls::pki_types::{InvalidDnsNameError, ServerName};
    use tokio::io::ReadBuf;
    use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client;

    use super::{Arc, AsyncRead, AsyncWrite, ClientConfig};

    pub(super) struct Rustls(Arc<ClientConfig>);

    impl Rustls {
        pub(super) fn new(config: &Arc<ClientConfig>) -> Self {
            let mut config = ClientConfig::clone(config);
            config.alpn_protocols = vec![b"postgresql".to_vec()];
            Self(Arc::new(config))
        }
    }

    pub(super) struct Connecting {
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    }

    /// A stream as the client library wants it.
    pub(super) struct Stream<S>(client::TlsStream<S>);

    impl<S> MakeTlsConnect<S> for Rustls
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        type Stream = Stream<S>;
        type TlsConnect = Connecting;
        type Error = InvalidDnsNameError;

        fn make_tls_connect(&mut self, host: &str) -> Result<Connecting, InvalidDnsNameError> {
            let name = ServerName::try_from(host.to_owned())?;
            Ok(Connecting { config: Arc::clone(&self.0), name })
        }
    }

    impl<S> TlsConnect<S> for Connecting
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        type Stream = Stream<S>;
        type Error = io::Error;
        type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

        fn connect(self, stream: S) -> Self::Future {
            Box::pin(async move {
                TlsConnector::from(self.config).connect(self.name, stream).await.map(Stream)
            })
        }
    }

    impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
        fn channel_binding(&self) -> ChannelBinding {
            // the server's certificate is checked: nobody stands in between
            ChannelBinding::none()
        }
    }

    impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(context, buffer)
        }
    }

    impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(context, bytes)
        }
        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(context)
        }
        fn poll_shutdown(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(context)
        }
    }
}
