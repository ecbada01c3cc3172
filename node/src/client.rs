//! A small HTTPS client for the node's own surface, used by the command line and the demonstration.
//!
//! Knows one address and one certificate: the node's own `cert.pem` is all it trusts. Keeps a few
//! connections open. Repeats a request only when it certainly was not sent. Does not follow
//! redirects, keep cookies or read compressed bodies.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, LINK};
use hyper::{HeaderMap, Request};
pub use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::http::{Problem, SessionRequest, SessionView};
use crate::tls::{self, ClientIdentity, TlsError};

/// Connections open at once; further requests wait.
const CONNECTIONS_MAX: usize = 8;
/// A connection idle for longer is not used again: the node closes it after 20 s, and a request
/// sent at that moment would be lost.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Longest wait for an answer, its body included.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Most bytes of an answer.
const ANSWER_MAX: usize = 64 * 1024 * 1024;

/// Why there is no answer, or a refusal.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The node refused, and says why and what to do.
    #[error(
        "{} ({}): {}; remedy: {}{}", .problem.code, .problem.status, .problem.detail,
        .problem.remedy, Reference(.request)
    )]
    Refused {
        /// What the node said.
        problem: Box<Problem>,
        /// The id under which the node's log has the request.
        request: Option<String>,
    },
    /// The node was not reached, or hung up.
    #[error("the node at {address} cannot be reached ({source}): check that it runs, and where")]
    Unreachable {
        /// Where it should be.
        address: SocketAddr,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time. The request may have been carried out.
    #[error(
        "the node at {address} did not answer within {} s; the request may have been carried out: \
         repeat it with the same idempotency key", TIMEOUT.as_secs()
    )]
    Timeout {
        /// Where it should be.
        address: SocketAddr,
    },
    /// The answer is not what was asked for.
    #[error("the node's answer (status {status}) is not understood: is it of this version?")]
    Answer {
        /// Its status.
        status: u16,
    },
    /// The request cannot be put into HTTP.
    #[error(
        "the path or a header cannot be sent: it has characters that HTTP does not allow there"
    )]
    Request,
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

struct Reference<'a>(&'a Option<String>);

impl std::fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_ref().map_or(Ok(()), |id| write!(f, " (request {id})"))
    }
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// A client of one node. Cheap to clone; clones share connections and the session.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    connector: TlsConnector,
    token: RwLock<Option<Zeroizing<String>>>,
    idle: Mutex<Vec<(Connection, Instant)>>,
    places: Semaphore,
}

type Connection = SendRequest<Full<Bytes>>;

impl Client {
    /// A client of the node at `base` whose certificate is `certificate_pem`. Connects when asked
    /// for something.
    ///
    /// # Errors
    /// When the certificate is not one.
    pub fn connect(base: SocketAddr, certificate_pem: &[u8]) -> Result<Self, ClientError> {
        Self::connect_as(base, certificate_pem, None)
    }

    /// The same for a client that shows a certificate of its own.
    ///
    /// # Errors
    /// When a certificate is not one, or the key is not its key.
    pub fn connect_as(
        base: SocketAddr,
        certificate_pem: &[u8],
        own: Option<&ClientIdentity>,
    ) -> Result<Self, ClientError> {
        let connector = TlsConnector::from(tls::pinned_with(certificate_pem, own)?);
        Ok(Self(Arc::new(Inner {
            address: base,
            connector,
            token: RwLock::default(),
            idle: Mutex::default(),
            places: Semaphore::new(CONNECTIONS_MAX),
        })))
    }

    /// Where the node is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Signs in; later requests are made in that session.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn login(&self, user: &str, password: &str) -> Result<SessionView, ClientError> {
        self.login_with(user, password, None).await
    }

    /// Signs in with a code of the second factor; later requests are made in that session.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn login_with(
        &self,
        user: &str,
        password: &str,
        code: Option<String>,
    ) -> Result<SessionView, ClientError> {
        let (user, password) = (user.to_owned(), password.to_owned());
        let request = SessionRequest { user, password, code };
        let session: SessionView = self.post("/api/v1/sessions", &[], &request).await?;
        self.use_token(&session.token);
        Ok(session)
    }

    /// Makes later requests in the session of this token.
    pub fn use_token(&self, token: &str) {
        let mut kept = self.0.token.write().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(Zeroizing::new(token.to_owned()));
    }

    /// Gets and decodes JSON.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        decode(&self.success(Method::GET, path, &[], None).await?)
    }

    /// Gets one page of a list, and the path of the next one, if there is one.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get_page<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<(Vec<T>, Option<String>), ClientError> {
        let answer = self.success(Method::GET, path, &[], None).await?;
        let link = answer.headers.get(LINK).and_then(|link| link.to_str().ok());
        let route = path.split('?').next().unwrap_or(path);
        let next = link.and_then(next_page).map(|query| format!("{route}{query}"));
        Ok((decode(&answer)?, next))
    }

    /// Gets a list page by page, so many of its items at most.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get_list<T: DeserializeOwned>(
        &self,
        path: &str,
        most: usize,
    ) -> Result<Vec<T>, ClientError> {
        let mut all = Vec::new();
        let mut path = Some(path.to_owned());
        while let Some(page) = path.filter(|_| all.len() < most) {
            let (items, next) = self.get_page(&page).await?;
            all.extend(items);
            path = next;
        }
        all.truncate(most);
        Ok(all)
    }

    /// Gets bytes.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get_bytes(&self, path: &str) -> Result<Bytes, ClientError> {
        Ok(self.success(Method::GET, path, &[], None).await?.body)
    }

    /// Posts JSON and decodes JSON; an answer without a body decodes as `()`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn post<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &B,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|_| ClientError::Request)?;
        decode(&self.success(Method::POST, path, headers, Some(body.into())).await?)
    }

    /// Deletes.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.success(Method::DELETE, path, &[], None).await.map(drop)
    }

    async fn success(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Answer, ClientError> {
        let answer = self.send(method, path, headers, body).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let status = answer.status.as_u16();
        let problem = serde_json::from_slice(&answer.body);
        let problem = problem.map_err(|_| ClientError::Answer { status })?;
        let request = answer.headers.get("x-request-id").and_then(|id| id.to_str().ok());
        Err(ClientError::Refused { problem, request: request.map(str::to_owned) })
    }

    /// Sends a request and gives the answer, refusals too. A body is sent as JSON unless a header
    /// says otherwise.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Answer, ClientError> {
        let request = self.request(method, path, headers, body)?;
        let exchange = async {
            let _place = self.0.places.acquire().await.map_err(|e| self.unreachable(e))?;
            self.exchange(request).await
        };
        let timeout = ClientError::Timeout { address: self.0.address };
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or(Err(timeout))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request =
            Request::builder().method(method).uri(path).header(HOST, self.0.address.to_string());
        let token = self.0.token.read().unwrap_or_else(PoisonError::into_inner);
        let own = |name: &str| headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name));
        if let Some(token) = token.as_ref().filter(|_| !own(AUTHORIZATION.as_str())) {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.as_str()));
        }
        if let Some(body) = &body {
            request = request.header(CONTENT_LENGTH, body.len());
            if !own(CONTENT_TYPE.as_str()) {
                request = request.header(CONTENT_TYPE, "application/json");
            }
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(body.unwrap_or_default())).map_err(|_| ClientError::Request)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        // an idle connection may have been closed by the node: what was not sent on it goes on a
        // fresh one
        let mut request = request;
        while let Some(mut connection) = self.idle() {
            if connection.ready().await.is_err() {
                continue;
            }
            match connection.try_send_request(request).await {
                Ok(response) => return self.receive(connection, response).await,
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(self.unreachable(failed.into_error())),
                },
            }
        }
        let mut connection = self.open().await?;
        let response =
            connection.send_request(request).await.map_err(|error| self.unreachable(error))?;
        self.receive(connection, response).await
    }

    async fn receive(
        &self,
        connection: Connection,
        response: hyper::Response<hyper::body::Incoming>,
    ) -> Result<Answer, ClientError> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await;
        let body = body.map_err(|error| self.unreachable(error))?.to_bytes();
        if !connection.is_closed() {
            self.0
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((connection, Instant::now()));
        }
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// The connection used last, if it is fresh; the others are older then.
    fn idle(&self) -> Option<Connection> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        match idle.pop() {
            Some((connection, since)) if since.elapsed() <= IDLE_MAX => Some(connection),
            _ => {
                idle.clear();
                None
            }
        }
    }

    async fn open(&self) -> Result<Connection, ClientError> {
        let tcp = TcpStream::connect(self.0.address).await.map_err(|e| self.unreachable(e))?;
        tcp.set_nodelay(true).map_err(|e| self.unreachable(e))?;
        let name = ServerName::try_from(tls::PINNED_NAME).map_err(|e| self.unreachable(e))?;
        let tls = self.0.connector.connect(name, tcp).await.map_err(|e| self.unreachable(e))?;
        let (sender, connection) =
            handshake(TokioIo::new(tls)).await.map_err(|e| self.unreachable(e))?;
        // ends when the node hangs up or the sender is dropped; its error comes back to the sender
        tokio::spawn(async move { connection.await.ok() });
        Ok(sender)
    }

    fn unreachable(
        &self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> ClientError {
        ClientError::Unreachable { address: self.0.address, source: source.into() }
    }
}

/// The next page of a list, relative to its route, as the node's `Link` has it.
fn next_page(link: &str) -> Option<&str> {
    let (query, _) = link.strip_prefix('<')?.split_once(">; rel=\"next\"")?;
    Some(query).filter(|query| query.starts_with('?'))
}

fn decode<T: DeserializeOwned>(answer: &Answer) -> Result<T, ClientError> {
    let body: &[u8] = if answer.body.is_empty() { b"null" } else { &answer.body };
    serde_json::from_slice(body).map_err(|_| ClientError::Answer { status: answer.status.as_u16() })
}
