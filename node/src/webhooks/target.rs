//! Where a webhook goes: what its URL may be, and which addresses of its host may be connected to.
//!
//! Whoever may register a webhook must not thereby reach what only this machine or its network reaches: the
//! host is looked up anew for each delivery, addresses that are not public are left out, and the
//! connection is made to one of those that are left, so that a name which changes meanwhile gains nothing.
//! No redirect is followed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hyper::Uri;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::WebhookSettings;
use crate::outside::{HttpAnswer, OutsideError, Request, request};
use crate::tls::{OutgoingTls, TlsError};

/// Longest URL.
const URL_MAX: usize = 1024;
/// Most addresses of a host that are tried.
const ADDRESSES_MAX: usize = 4;

/// Why a URL is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not a URL that can be.
    #[error("the URL is not https://HOST[:PORT][/PATH][?QUERY] of at most {URL_MAX} characters")]
    Malformed,
    /// In the clear.
    #[error(
        "the URL begins with http://: deliveries go over TLS (but to this machine itself, with webhooks.allow_private)"
    )]
    Clear,
    /// Not public.
    #[error(
        "the URL names an address of a private network; webhooks.allow_private in node.toml lets those be"
    )]
    Private,
}

/// Why a delivery failed, as the log of deliveries has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SendError {
    #[error("host_unknown")]
    HostUnknown,
    #[error("address_private")]
    Private,
    #[error("unreachable")]
    Unreachable,
    #[error("certificate_refused")]
    Tls,
    #[error("timed_out")]
    Timeout,
    #[error("url_malformed")]
    Url,
}

/// A URL that has been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    host: String,
    port: u16,
    path: String,
    is_tls: bool,
}

impl Target {
    pub(super) fn parse(url: &str, allow_private: bool) -> Result<Self, TargetError> {
        if url.len() > URL_MAX || url.contains(['#', '@']) {
            return Err(TargetError::Malformed);
        }
        let uri: Uri = url.parse().map_err(|_| TargetError::Malformed)?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(TargetError::Malformed),
        };
        let host = uri.host().ok_or(TargetError::Malformed)?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        if host.is_empty() || port == 0 {
            return Err(TargetError::Malformed);
        }
        let address: Option<IpAddr> = host.parse().ok();
        let loopback = host == "localhost" || address.is_some_and(|it| it.is_loopback());
        let to_itself = loopback && allow_private;
        if !(is_tls || to_itself) {
            return Err(TargetError::Clear);
        }
        let private = loopback || address.is_some_and(|address| !is_public(address));
        if private && !allow_private {
            return Err(TargetError::Private);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self { host, port, path: path.to_owned(), is_tls })
    }

    /// The addresses that may be connected to.
    async fn addresses(&self, allow_private: bool) -> Result<Vec<SocketAddr>, SendError> {
        let found = lookup_host((self.host.as_str(), self.port)).await;
        let found: Vec<SocketAddr> = found.map_err(|_| SendError::HostUnknown)?.collect();
        let allowed = |address: &SocketAddr| {
            // in the clear to this machine alone, whatever its name says today
            (allow_private || is_public(address.ip()))
                && (self.is_tls || address.ip().is_loopback())
        };
        let some: Vec<SocketAddr> =
            found.iter().copied().filter(allowed).take(ADDRESSES_MAX).collect();
        match (some.is_empty(), found.is_empty()) {
            (true, true) => Err(SendError::HostUnknown),
            (true, false) => Err(SendError::Private),
            (false, _) => Ok(some),
        }
    }

    /// Sends one request; an answer of whatever status is one.
    pub(super) async fn send(
        &self,
        way: &Way,
        headers: Vec<(&'static str, String)>,
        body: String,
    ) -> Result<HttpAnswer, SendError> {
        let addresses = self.addresses(way.allow_private).await?;
        let mut connected = None;
        for address in addresses {
            if let Ok(stream) = TcpStream::connect(address).await {
                connected = Some(stream);
                break;
            }
        }
        let tcp = connected.ok_or(SendError::Unreachable)?;
        let (host, port, path) = (self.host.as_str(), self.port, self.path.as_str());
        let asked = Request { host, port, path, headers, body };
        let answered = match self.is_tls {
            false => request(tcp, asked).await,
            true => {
                let name = ServerName::try_from(self.host.clone()).map_err(|_| SendError::Url)?;
                let connector = TlsConnector::from(way.tls.config());
                let stream = connector.connect(name, tcp).await.map_err(|_| SendError::Tls)?;
                request(stream, asked).await
            }
        };
        answered.map_err(|error| match error {
            OutsideError::Url => SendError::Url,
            OutsideError::Timeout => SendError::Timeout,
            // what a receiver says at length is not read
            _ => SendError::Unreachable,
        })
    }
}

/// How deliveries leave.
pub(super) struct Way {
    pub(super) allow_private: bool,
    tls: OutgoingTls,
}

impl Way {
    pub(super) fn new(settings: &WebhookSettings) -> Result<Self, TlsError> {
        let (trusted, own) = (settings.trusted.as_deref(), settings.client_certificate.as_ref());
        Ok(Self { allow_private: settings.allow_private, tls: OutgoingTls::open(trusted, own)? })
    }
}

/// Whether an address is one of the public internet: of the special-purpose registries of IANA (RFC 6890)
/// none, of IPv6 only what is allocated (2000::/3).
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match a {
        0 | 10 | 127 => true,
        100 => (64..128).contains(&b),
        169 => b == 254,
        172 => (16..32).contains(&b),
        192 => (b, c) == (0, 0) || (b, c) == (0, 2) || (b, c) == (88, 99) || b == 168,
        198 => b == 18 || b == 19 || (b, c) == (51, 100),
        203 => (b, c) == (0, 113),
        224.. => true,
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // 2001::/23 (Teredo and other protocols), documentation, 6to4: they lead elsewhere or nowhere
    let special =
        a == 0x2001 && (b < 0x200 || b == 0xdb8) || a == 0x2002 || a == 0x3fff && b < 0x1000;
    a & 0xe000 == 0x2000 && !special
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::Demanding;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for public in
            ["8.8.8.8", "1.1.1.1", "172.32.0.1", "192.0.3.1", "2606:4700::1111", "::ffff:8.8.8.8"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for not in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::",
            "3fff::1",
            "100::1",
        ] {
            assert!(!is_public(not.parse().unwrap()), "{not}");
        }
    }

    #[test]
    fn urls_that_lead_inside_or_in_the_clear_are_refused() {
        for (url, error) in [
            ("", TargetError::Malformed),
            ("hooks.example", TargetError::Malformed),
            ("ftp://hooks.example/", TargetError::Malformed),
            ("https:///path", TargetError::Malformed),
            ("https://user:pass@hooks.example/", TargetError::Malformed),
            ("https://hooks.example:0/", TargetError::Malformed),
            ("http://hooks.example/", TargetError::Clear),
            ("http://127.0.0.1/", TargetError::Clear),
            ("https://127.0.0.1/", TargetError::Private),
            ("https://localhost/", TargetError::Private),
            ("https://10.0.0.8:8443/x", TargetError::Private),
            ("https://169.254.169.254/latest/meta-data", TargetError::Private),
            ("https://[::1]/", TargetError::Private),
            ("https://[::ffff:192.168.0.1]/", TargetError::Private),
        ] {
            assert_eq!(Target::parse(url, false), Err(error), "{url}");
        }
        assert_eq!(
            Target::parse(&format!("https://a/{}", "x".repeat(1020)), false).err(),
            Some(TargetError::Malformed)
        );
        let target = Target::parse("https://hooks.example/a/b?c=d", false).unwrap();
        assert_eq!(
            (target.host.as_str(), target.port, target.path.as_str()),
            ("hooks.example", 443, "/a/b?c=d")
        );
        // in development
        assert!(Target::parse("http://127.0.0.1:8080/", true).is_ok());
        assert!(Target::parse("https://10.0.0.8/", true).is_ok());
        assert_eq!(Target::parse("http://10.0.0.8/", true), Err(TargetError::Clear));
    }

    #[tokio::test]
    async fn a_receiver_that_wants_a_certificate_is_shown_the_one_of_the_settings() {
        let server = Demanding::start().await;
        let url = format!("https://localhost:{}/hook", server.port);
        let target = Target::parse(&url, true).unwrap();
        let without = WebhookSettings {
            allow_private: true,
            trusted: Some(server.trusted()),
            ..WebhookSettings::default()
        };
        let way = Way::new(&without).unwrap();
        let refused = target.send(&way, Vec::new(), "{}".to_owned()).await.err();
        assert_eq!(refused, Some(SendError::Unreachable));
        let with = WebhookSettings { client_certificate: Some(server.own()), ..without };
        let way = Way::new(&with).unwrap();
        let answer = target.send(&way, Vec::new(), "{}".to_owned()).await.unwrap();
        assert_eq!(answer.status, 200);
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_followed() {
        // as a name that was public when it was registered, and is another now
        let inside = Target { host: "localhost".into(), port: 9, path: "/".into(), is_tls: true };
        assert_eq!(inside.addresses(false).await, Err(SendError::Private));
        assert!(inside.addresses(true).await.unwrap().iter().all(|it| it.ip().is_loopback()));
        let numeric = Target { host: "127.1".into(), ..inside.clone() };
        assert!(numeric.addresses(false).await.is_err());
        let clear = Target { host: "8.8.8.8".into(), is_tls: false, ..inside };
        assert_eq!(clear.addresses(true).await, Err(SendError::Private));
    }
}
