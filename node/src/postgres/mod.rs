//! The clean room over the PostgreSQL protocol: what psql, drivers and BI tools speak.
//!
//! A client lists the contract's tables in a catalogue, sees with EXPLAIN what a question costs, confirms by
//! the setting `coalition.budget` what may be spent, and gets noised answers. The operations are the ones
//! that HTTP has ([`crate::service`]): one policy, one account, one log. Who signs in has a password for this
//! door alone ([`crate::auth`]), by SCRAM-SHA-256 bound to the node's certificate, over TLS and nothing
//! else.
//!
//! Knows the protocol, settings, the catalogue. Holds no fact and no account. Everything that comes from
//! outside has a limit: connections, messages before and after sign-in, time, statements, portals, rows.
//!
//! Not here: cursors, COPY, prepared statements in SQL (PREPARE), TLS without its request (`sslnegotiation`).

mod answer;
pub mod bounded;
mod catalogue;
mod connection;
mod errors;
mod parameters;
mod question;
mod settings;
mod sign_in;
mod statement;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt as _;
use pgwire::api::cancel::{CancelHandler as _, DefaultCancelHandler};
use pgwire::api::{
    ClientInfo as _, ConnectionManager, DefaultClient, NoopHandler, PgWireConnectionState,
    RandomPidSecretKeyGenerator,
};
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::{DecodeContext, Message as _, PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::server::{PgWireMessageServerCodec, process_error, process_message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::codec::Framed;

use self::bounded::Bounded;
use self::connection::Connection;
use self::errors::{NOT_LET_IN, PROTOCOL, Refused, SHUTDOWN, TOO_MANY};
use self::sign_in::Places;
use self::statement::Parsed;
use crate::auth::Auth;
use crate::metrics::Metrics;
use crate::service::Node;
use crate::tls::ServerTls;

/// Connections at once.
const CONNECTIONS_MAX: usize = 256;
/// Connections at once from one address.
const OF_ONE_ADDRESS_MAX: usize = 64;
/// Longest time until somebody has signed in, the handshake included.
const SIGN_IN_TIME: Duration = Duration::from_secs(20);
/// Longest time without a message.
const IDLE_TIME: Duration = Duration::from_secs(3600);
/// Longest time that a client may take to read what it asked for.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// Codes of the messages that come before everything else.
const TLS_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// What connections share.
struct Door {
    node: Node,
    auth: Auth,
    metrics: Metrics,
    tls: ServerTls,
    places: Places,
    pids: RandomPidSecretKeyGenerator,
    cancelling: Arc<ConnectionManager>,
    open: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A listener that runs.
pub struct Served {
    /// Where it listens: with a port asked for as 0, the one the system gave.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Served {
    /// Takes no more connections; those that are open end with their tasks.
    pub fn stop(&self) {
        self.task.abort();
    }
}

/// Serves the clean room at an address, under the certificate that HTTPS is served with.
///
/// # Errors
/// When the address cannot be listened at.
pub async fn serve(
    node: Node,
    auth: Auth,
    metrics: Metrics,
    address: SocketAddr,
    tls: &ServerTls,
) -> io::Result<Served> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let door = Arc::new(Door {
        node,
        auth,
        metrics,
        tls: tls.clone(),
        places: Places::default(),
        pids: RandomPidSecretKeyGenerator::default(),
        cancelling: Arc::new(ConnectionManager::new()),
        open: Mutex::default(),
    });
    let task = tokio::spawn(accept(listener, door));
    Ok(Served { address, task })
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                // of this connection, or of the process's files: both pass
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(place) = door.enter(from.ip()) else {
            door.metrics.count("postgres_connections", "outcome", "too_many");
            tokio::spawn(too_many(stream));
            continue;
        };
        tokio::spawn(async move {
            let _ended = served(stream, from, Arc::clone(&place.door)).await;
            drop(place);
        });
    }
}

/// A connection's place, given back when it ends.
struct OpenPlace {
    door: Arc<Door>,
    address: IpAddr,
}

impl Door {
    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<OpenPlace> {
        let mut counts = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_all: usize = counts.values().sum();
        let of_one = counts.get(&address).copied().unwrap_or_default();
        if of_all >= CONNECTIONS_MAX || of_one >= OF_ONE_ADDRESS_MAX {
            return None;
        }
        counts.insert(address, of_one + 1);
        self.metrics.set("postgres_open_connections", "", "", of_all as u64 + 1);
        Some(OpenPlace { door: Arc::clone(self), address })
    }
}

impl Drop for OpenPlace {
    fn drop(&mut self) {
        let mut counts = self.door.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
        let of_all: usize = counts.values().sum();
        self.door.metrics.set("postgres_open_connections", "", "", of_all as u64);
    }
}

async fn too_many(mut stream: TcpStream) {
    let refused = Refused::new(
        TOO_MANY,
        "there are too many connections",
        "close some, or try again in a moment",
    );
    let _ = timeout(Duration::from_secs(5), say(&mut stream, refused.fatal())).await;
}

/// Says why a connection ends, before there is a protocol.
async fn say(stream: &mut TcpStream, refused: Refused) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    PgWireBackendMessage::ErrorResponse(refused.info().into()).encode(&mut bytes)?;
    stream.write_all(&bytes).await?;
    stream.shutdown().await
}

/// One connection from its first byte to its last.
async fn served(stream: TcpStream, from: SocketAddr, door: Arc<Door>) -> io::Result<()> {
    let until = Instant::now() + SIGN_IN_TIME;
    stream.set_nodelay(true)?;
    // the certificate of this connection, whatever follows it: the sign-in is bound to it
    let tls = door.tls.current();
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.postgres));
    let secured = timeout_at(until, secured(stream, &acceptor, &door)).await??;
    let Some(stream) = secured else { return Ok(()) };
    let (stream, limit) = Bounded::new(stream);
    let client: DefaultClient<Arc<Parsed>> = DefaultClient::new(from, true);
    let mut socket = Framed::new(stream, PgWireMessageServerCodec::new(client));
    socket.set_state(PgWireConnectionState::AwaitingStartup);
    let connection =
        Arc::new(Connection::new(Arc::clone(&door), limit, Arc::clone(&tls.certificate_hash)));
    messages(&mut socket, &connection, &door, until).await
}

/// The TLS stream that a client asked for; none when it asked for something else, and got it.
async fn secured(
    mut stream: TcpStream,
    acceptor: &TlsAcceptor,
    door: &Door,
) -> io::Result<Option<TlsStream<TcpStream>>> {
    // GSS may be asked for before TLS, once
    for _ in 0..2 {
        let (length, code) = (stream.read_u32().await?, stream.read_u32().await?);
        match (length, code) {
            (8, GSS_REQUEST) => stream.write_all(b"N").await?,
            (8, TLS_REQUEST) => {
                stream.write_all(b"S").await?;
                // nothing was read beyond the request: what came with it is the handshake's or nobody's
                return match acceptor.accept(stream).await {
                    Ok(stream) => Ok(Some(stream)),
                    Err(error) => {
                        door.metrics.count("postgres_connections", "outcome", "handshake_failed");
                        Err(error)
                    }
                };
            }
            (16..=268, CANCEL_REQUEST) => {
                let rest = usize::try_from(length).unwrap_or_default().saturating_sub(8);
                let mut body = vec![0; rest];
                stream.read_exact(&mut body).await?;
                let mut message = BytesMut::new();
                message.extend_from_slice(&length.to_be_bytes());
                message.extend_from_slice(&code.to_be_bytes());
                message.extend_from_slice(&body);
                if let Ok(Some(request)) =
                    CancelRequest::decode(&mut message, &DecodeContext::default())
                {
                    canceller(door).on_cancel_request(request).await;
                }
                return Ok(None);
            }
            _ => {
                door.metrics.count("postgres_connections", "outcome", "plain");
                let refused = Refused::new(
                    NOT_LET_IN,
                    "connections are taken over TLS alone",
                    "connect with sslmode=require, or verify-full with sslrootcert=tls/cert.pem of the node",
                );
                say(&mut stream, refused.fatal()).await?;
                return Ok(None);
            }
        }
    }
    Ok(None)
}

fn canceller(door: &Door) -> Arc<DefaultCancelHandler> {
    Arc::new(DefaultCancelHandler::new(Arc::clone(&door.cancelling)))
}

type Socket = Framed<Bounded<TlsStream<TcpStream>>, PgWireMessageServerCodec<Arc<Parsed>>>;

async fn messages(
    socket: &mut Socket,
    connection: &Arc<Connection>,
    door: &Door,
    until: Instant,
) -> io::Result<()> {
    loop {
        let signing_in = matches!(
            socket.state(),
            PgWireConnectionState::AwaitingStartup
                | PgWireConnectionState::AuthenticationInProgress
        );
        let deadline = if signing_in { until } else { Instant::now() + IDLE_TIME };
        let message = match timeout_at(deadline, socket.next()).await {
            Err(_) if signing_in => return Ok(()),
            Err(_) => {
                let refused =
                    Refused::new(SHUTDOWN, "the connection was idle too long", "connect again");
                return end(socket, refused).await;
            }
            Ok(None) => return Ok(()),
            Ok(Some(Err(_))) => {
                door.metrics.count("postgres_connections", "outcome", "malformed");
                let refused = Refused::new(
                    PROTOCOL,
                    "a message was malformed or too long",
                    "send shorter statements and parameters",
                );
                return end(socket, refused).await;
            }
            Ok(Some(Ok(message))) => message,
        };
        if matches!(message, PgWireFrontendMessage::Terminate(_)) {
            return Ok(());
        }
        let is_cancel = matches!(message, PgWireFrontendMessage::CancelRequest(_));
        let extended = message.is_extended_query();
        let handled = process_message(
            message,
            socket,
            Arc::clone(connection),
            Arc::clone(connection),
            Arc::clone(connection),
            Arc::new(NoopHandler),
            canceller(door),
        )
        .await;
        if let Err(error) = handled {
            let error = connection::with_hint(error);
            let fatal = error.is_fatal();
            door.metrics.count("postgres_statements", "kind", "refused");
            timeout(WRITE_TIME, process_error(socket, error, extended)).await??;
            if fatal {
                return Ok(());
            }
        }
        if is_cancel {
            return Ok(());
        }
    }
}

async fn end(socket: &mut Socket, refused: Refused) -> io::Result<()> {
    let error = refused.fatal().into();
    timeout(WRITE_TIME, process_error(socket, error, false)).await?
}
