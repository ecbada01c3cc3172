//! How many connections there may be: in all, and from one address, so that whoever opens them and
//! says nothing keeps only himself out. A connection too many is closed before its handshake. And whose
//! certificate came with a connection, which its requests are told.

use std::collections::BTreeMap;
use std::future::{Future, Ready, ready};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use axum_server::tls_rustls::RustlsAcceptor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tower_layer::Layer as _;

use crate::tls::{ClientCertificate, ServerTls};

/// Connections at once.
const CONNECTIONS_MAX: usize = 1024;
/// Connections at once from one address.
const OF_ONE_ADDRESS_MAX: usize = 256;

type Counts = Arc<Mutex<BTreeMap<IpAddr, usize>>>;

/// Lets connections in, up to the limits.
#[derive(Clone, Debug, Default)]
pub(super) struct Limited(Counts);

impl Limited {
    fn enter(&self, address: IpAddr) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_all: usize = counts.values().sum();
        let of_one = counts.get(&address).copied().unwrap_or_default();
        if of_all >= CONNECTIONS_MAX || of_one >= OF_ONE_ADDRESS_MAX {
            return None;
        }
        counts.insert(address, of_one + 1);
        Some(Place { counts: Arc::clone(&self.0), address })
    }
}

/// A connection's place, given back when it ends.
struct Place {
    counts: Counts,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

impl<S> Accept<TcpStream, S> for Limited {
    type Stream = Held;
    type Service = S;
    type Future = Ready<io::Result<(Held, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        // an answer in two pieces: the second must not wait for the first's acknowledgement
        let from = stream.set_nodelay(true).and_then(|()| stream.peer_addr());
        ready(from.and_then(|from| match self.enter(from.ip()) {
            Some(place) => Ok((Held { stream, _place: place }, service)),
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        }))
    }
}

/// Who is at the other end of a request's connection, if a certificate says so.
#[derive(Clone, Debug)]
pub(super) struct Peer(pub(super) Option<Arc<ClientCertificate>>);

/// Lets connections in and tells their requests with which certificate.
#[derive(Clone, Debug)]
pub(super) struct WithCertificate {
    tls: RustlsAcceptor<Limited>,
    server: ServerTls,
}

impl WithCertificate {
    pub(super) const fn new(tls: RustlsAcceptor<Limited>, server: ServerTls) -> Self {
        Self { tls, server }
    }
}

type Accepted<S> = io::Result<(TlsStream<Held>, AddExtension<S, Peer>)>;

impl<S: Send + 'static> Accept<TcpStream, S> for WithCertificate {
    type Stream = TlsStream<Held>;
    type Service = AddExtension<S, Peer>;
    type Future = Pin<Box<dyn Future<Output = Accepted<S>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let (shaking, server) = (self.tls.accept(stream, service), self.server.clone());
        Box::pin(async move {
            let (stream, service) = shaking.await?;
            let peer = Peer(server.client(stream.get_ref().1.peer_certificates()));
            Ok((stream, Extension(peer).layer(service)))
        })
    }
}

/// A connection that has a place.
pub(super) struct Held {
    stream: TcpStream,
    _place: Place,
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_connection() {
        let limited = Limited::default();
        let address = |last| IpAddr::from([10, 0, 0, last]);
        let enter = |last| std::iter::from_fn(|| limited.enter(address(last))).collect::<Vec<_>>();
        let first = enter(1);
        assert_eq!(first.len(), OF_ONE_ADDRESS_MAX);
        let others: Vec<_> = (2..=9).map(enter).collect();
        let all = first.len() + others.iter().map(Vec::len).sum::<usize>();
        assert_eq!(all, CONNECTIONS_MAX);
        drop(first);
        assert_eq!(enter(9).len(), OF_ONE_ADDRESS_MAX);
        drop(others);
        assert!(limited.0.lock().unwrap().is_empty(), "nothing is remembered of who has left");
    }
}
