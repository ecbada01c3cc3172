//! The way to a witness outside the alliance: one HTTP request, plain or over TLS, its answer within a
//! time and a size.
//!
//! Knows addresses and certificates. Does not know what is asked, when, or what an answer means
//! (`protocol::log::tlog_witness`). A connection a request, no redirects, no cookies.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Uri;
use hyper::client::conn::http1::handshake;
use hyper::header::{HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls::{OutgoingCertificate, OutgoingTls, TlsError};

/// Longest wait for an answer, from the first packet to the last.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of an answer: a few signature lines.
const ANSWER_MAX: usize = 64 * 1024;

/// Why there is no answer, or no way to one.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// The address cannot be used.
    #[error("the URL of a witness is http:// or https://, a host, and a path without a query")]
    Url,
    /// The certificate it is to be known by, or that is shown to it.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A certificate is to be shown where there is no TLS.
    #[error("a client_certificate is shown over https:// alone, and this URL begins with http://")]
    Clear,
    /// Not reached, or hung up.
    #[error("it cannot be reached, or hangs up")]
    Unreachable,
    /// No answer in time.
    #[error("it did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// More than an answer has.
    #[error("its answer is longer than {ANSWER_MAX} bytes")]
    TooLong,
}

/// A witness's answer.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Bytes,
}

/// Where a witness takes submissions.
pub struct OutsideClient {
    host: String,
    port: u16,
    path: String,
    tls: Option<OutgoingTls>,
}

impl OutsideClient {
    /// The witness whose submission prefix is `url`. Over TLS it is known by a certificate of the
    /// authorities in the file `trusted`, or of those the system trusts, and shown the certificate `own` if it asks.
    ///
    /// # Errors
    /// When the URL is none, there are no certificates to trust, or the own one cannot be used.
    pub fn new(
        url: &str,
        trusted: Option<&Path>,
        own: Option<&OutgoingCertificate>,
    ) -> Result<Self, OutsideError> {
        let url: Uri = url.parse().map_err(|_| OutsideError::Url)?;
        let is_tls = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(OutsideError::Url),
        };
        let host = url.host().ok_or(OutsideError::Url)?.trim_matches(['[', ']']).to_owned();
        if url.query().is_some() {
            return Err(OutsideError::Url);
        }
        let tls = match (is_tls, own) {
            (true, _) => Some(OutgoingTls::open(trusted, own)?),
            (false, Some(_)) => return Err(OutsideError::Clear),
            (false, None) => None,
        };
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let path = format!("{}/add-checkpoint", url.path().trim_end_matches('/'));
        Ok(Self { host, port, path, tls })
    }

    /// Sends a request for a cosignature.
    ///
    /// # Errors
    /// When there is no answer, whatever it says.
    pub async fn add_checkpoint(&self, body: String) -> Result<HttpAnswer, OutsideError> {
        let answer = tokio::time::timeout(TIMEOUT, self.exchange(body));
        answer.await.map_err(|_| OutsideError::Timeout)?
    }

    async fn exchange(&self, body: String) -> Result<HttpAnswer, OutsideError> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|_| OutsideError::Unreachable)?;
        match &self.tls {
            None => self.send(tcp, body).await,
            Some(tls) => {
                let name =
                    ServerName::try_from(self.host.clone()).map_err(|_| OutsideError::Url)?;
                let connector = TlsConnector::from(tls.config());
                let stream = connector.connect(name, tcp).await;
                let stream = stream.map_err(|_| OutsideError::Unreachable)?;
                self.send(stream, body).await
            }
        }
    }

    async fn send<S>(&self, stream: S, body: String) -> Result<HttpAnswer, OutsideError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (host, port, path) = (self.host.as_str(), self.port, self.path.as_str());
        let headers = vec![("content-type", "text/plain; charset=utf-8".to_owned())];
        request(stream, Request { host, port, path, headers, body }).await
    }
}

/// What is sent on a connection.
pub(crate) struct Request<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) path: &'a str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

/// A host and its port as a request names them.
pub(crate) fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// Posts on a connection, and ends it.
///
/// # Errors
/// When there is no answer within the limits, but for that of time, which is the caller's.
pub(crate) async fn request<S>(stream: S, asked: Request<'_>) -> Result<HttpAnswer, OutsideError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let lost = |_| OutsideError::Unreachable;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(lost)?;
    // ends when the request has been answered, and with the time-out at the latest
    let connection = tokio::spawn(connection);
    let _ends = AbortOnDrop(connection);
    let Request { host, port, path, headers, body } = asked;
    let mut request = hyper::Request::post(path)
        .header(HOST, authority(host, port))
        .header(USER_AGENT, concat!("coalition/", env!("CARGO_PKG_VERSION")));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|_| OutsideError::Url)?;
    let (head, body) = sender.send_request(request).await.map_err(lost)?.into_parts();
    let body = Limited::new(body, ANSWER_MAX).collect().await;
    let body = body.map_err(|_| OutsideError::TooLong)?.to_bytes();
    Ok(HttpAnswer { status: head.status.as_u16(), body })
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Shared with the tasks that ask.
pub type SharedClient = Arc<OutsideClient>;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::tls::testing::Demanding;

    #[test]
    fn urls_that_lead_nowhere_are_refused() {
        for url in ["", "witness.example", "ftp://a/b", "http://", "http://a/b?c=d", "https:///a"] {
            assert!(matches!(OutsideClient::new(url, None, None), Err(OutsideError::Url)), "{url}");
        }
        let client = OutsideClient::new("http://witness.example:81/prefix/", None, None).unwrap();
        assert_eq!((client.port, client.path.as_str()), (81, "/prefix/add-checkpoint"));
        let client = OutsideClient::new("http://[::1]", None, None).unwrap();
        assert_eq!((client.host.as_str(), client.port), ("::1", 80));
    }

    /// Answers one connection with these bytes.
    async fn answering(answer: Vec<u8>) -> (OutsideClient, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/w", listener.local_addr().unwrap());
        let heard = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = vec![0; 4096];
            let read = stream.read(&mut heard).await.unwrap();
            let _ = stream.write_all(&answer).await;
            String::from_utf8(heard[..read].to_vec()).unwrap()
        });
        (OutsideClient::new(&url, None, None).unwrap(), heard)
    }

    #[tokio::test]
    async fn a_witness_that_wants_a_certificate_is_shown_the_one_of_the_settings() {
        let server = Demanding::start().await;
        let url = format!("https://localhost:{}/w", server.port);
        let (trusted, own) = (server.trusted(), server.own());
        let without = OutsideClient::new(&url, Some(&trusted), None).unwrap();
        let refused = without.add_checkpoint(String::new()).await;
        assert!(matches!(refused, Err(OutsideError::Unreachable)), "{refused:?}");
        let with = OutsideClient::new(&url, Some(&trusted), Some(&own)).unwrap();
        assert_eq!(with.add_checkpoint(String::new()).await.unwrap().status, 200);
        // one that was renewed is shown from then on
        server.certify_again();
        assert_eq!(with.add_checkpoint(String::new()).await.unwrap().status, 200);
        let clear = OutsideClient::new("http://localhost/w", None, Some(&own));
        assert!(matches!(clear, Err(OutsideError::Clear)));
    }

    #[tokio::test]
    async fn a_request_is_answered_once_and_within_limits() {
        let ok = b"HTTP/1.1 409 Conflict\r\ncontent-length: 2\r\n\r\n7\n".to_vec();
        let (client, heard) = answering(ok).await;
        let answer = client.add_checkpoint("old 0\n\nnote".to_owned()).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (409, &b"7\n"[..]));
        let heard = heard.await.unwrap();
        assert!(heard.starts_with("POST /w/add-checkpoint HTTP/1.1\r\n"), "{heard}");
        assert!(heard.ends_with("\r\n\r\nold 0\n\nnote"), "{heard}");

        let mut long = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
        long.extend(vec![b'x'; 2 * ANSWER_MAX]);
        let (client, _heard) = answering(long).await;
        let refused = client.add_checkpoint(String::new()).await;
        assert!(matches!(refused, Err(OutsideError::TooLong)));
        let (client, _heard) = answering(b"nonsense\r\n\r\n".to_vec()).await;
        assert!(matches!(
            client.add_checkpoint(String::new()).await,
            Err(OutsideError::Unreachable)
        ));
    }
}
