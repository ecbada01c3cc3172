//! Programs that come with a client certificate, over real TLS: who is let in, who is not, and what a change of the
//! files does to a server that goes on.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber,
};

use super::*;
use crate::auth::perm;
use crate::tls::{self, CertificateRequired, ClientCertificateSettings, ClientIdentity, ServerTls};

/// An authority for clients.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for a program; `serial` tells its certificates apart.
    fn certify(&self, name: &str, serial: u64, days: i64) -> ClientIdentity {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Alpha");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from(serial));
        let day = std::time::Duration::from_secs(86_400);
        let now = std::time::SystemTime::now();
        params.not_before = (now - 3 * day).into();
        let ends = if days < 0 { now - day } else { now + day };
        params.not_after = ends.into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        ClientIdentity {
            certificate: certificate.pem().into_bytes(),
            key: key.serialize_pem().into_bytes().into(),
        }
    }

    fn revoke(&self, serial: u64) -> String {
        let now = std::time::SystemTime::now();
        let day = std::time::Duration::from_secs(86_400);
        let params = CertificateRevocationListParams {
            this_update: (now - day).into(),
            next_update: (now + day).into(),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: (now - day).into(),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// A fixture whose server asks for certificates of `authority`.
fn start(required: CertificateRequired, authority: &Authority) -> (Fixture, ServerTls) {
    let settings = ClientCertificateSettings {
        authorities: Some("clients.pem".into()),
        revoked: None,
        required,
    };
    start_with(&settings, authority)
}

fn start_with(settings: &ClientCertificateSettings, authority: &Authority) -> (Fixture, ServerTls) {
    let mut tls = None;
    let fixture = Fixture::start_tls(RateLimits::widest(), Metrics::default(), |directory| {
        write(directory, "clients.pem", &authority.pem);
        if settings.revoked.is_some() {
            write(directory, "revoked.pem", &Authority::new("somebody else").revoke(1));
        }
        let opened = ServerTls::open(directory, &settings.under(directory)).unwrap();
        tls = Some(opened.clone());
        opened
    });
    fixture.auth.add_user("till", &[Role::Store, Role::App], PASSWORD).unwrap();
    fixture.auth.add_certificate("till", "CN=till-7,O=Alpha").unwrap();
    (fixture, tls.unwrap())
}

fn write(directory: &Path, name: &str, text: &str) {
    // renamed into place: another file each time, whatever the clock's grain
    let part = directory.join("part");
    std::fs::write(&part, text).unwrap();
    std::fs::rename(part, directory.join(name)).unwrap();
}

fn client(fixture: &Fixture, own: Option<&ClientIdentity>) -> Client {
    let certificate = std::fs::read(fixture.directory.path().join(tls::CERTIFICATE_FILE)).unwrap();
    Client::connect_as(fixture.served.address, &certificate, own).unwrap()
}

async fn cards(client: &Client, headers: &[(&str, &str)]) -> Result<Answer, ClientError> {
    client.send(Method::GET, "/api/v1/members", headers, None).await
}

async fn refused(client: &Client, headers: &[(&str, &str)]) -> String {
    let answer = cards(client, headers).await.unwrap();
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    code(&answer)
}

#[tokio::test]
async fn a_certificate_on_record_is_its_user_without_a_password() {
    let authority = Authority::new("Alpha clients");
    let (fixture, _) = start(CertificateRequired::Never, &authority);
    let till = client(&fixture, Some(&authority.certify("till-7", 1, 1)));
    assert_eq!(cards(&till, &[]).await.unwrap().status, StatusCode::OK);
    // with the roles of its user and no other
    let answer = till.send(Method::GET, "/api/v1/queries", &[], None).await.unwrap();
    assert_eq!((answer.status, code(&answer)), (StatusCode::FORBIDDEN, "role_missing".into()));
    // streams of events are let in the same way
    let events = "/api/v1/events?follow=false";
    assert_eq!(till.send(Method::GET, events, &[], None).await.unwrap().status, StatusCode::OK);
    // there is no session to end
    let ended = till.send(Method::DELETE, "/api/v1/sessions", &[], None).await.unwrap();
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    assert_eq!(cards(&till, &[]).await.unwrap().status, StatusCode::OK);

    // a token counts before the certificate, and a wrong one is not saved by it
    let ann = fixture.auth.token_for(&[Role::Analyst]);
    let bearer = format!("Bearer {ann}");
    let headers = [("authorization", bearer.as_str())];
    let queries = till.send(Method::GET, "/api/v1/queries", &headers, None);
    assert_eq!(queries.await.unwrap().status, StatusCode::OK);
    assert_eq!(refused(&till, &[("authorization", "Bearer wrong")]).await, "token_unknown");
    assert_eq!(refused(&till, &[("authorization", "Basic dGlsbA==")]).await, "token_missing");

    // a browser shows a certificate unasked: it opens neither the API nor a page
    for header in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        assert_eq!(refused(&till, &[header]).await, "token_missing");
    }
    let page = till.send(Method::GET, "/staff", &[], None).await.unwrap();
    assert_eq!(page.status, StatusCode::SEE_OTHER);

    // nobody's certificate, and none
    let other = client(&fixture, Some(&authority.certify("till-8", 2, 1)));
    assert_eq!(refused(&other, &[]).await, "client_certificate_unknown");
    assert_eq!(refused(&client(&fixture, None), &[]).await, "token_missing");
    // what nobody vouches for, or what has ended, makes no connection
    let forged = Authority::new("Alpha clients").certify("till-7", 1, 1);
    assert!(cards(&client(&fixture, Some(&forged)), &[]).await.is_err());
    let ended = authority.certify("till-7", 3, -1);
    assert!(cards(&client(&fixture, Some(&ended)), &[]).await.is_err());

    // taken off, it opens nothing more on the connection that is open
    fixture.auth.remove_certificate("till", "CN=till-7,O=Alpha").unwrap();
    assert_eq!(refused(&till, &[]).await, "client_certificate_unknown");
}

#[tokio::test]
async fn a_stolen_token_of_a_program_opens_nothing_without_its_certificate() {
    let authority = Authority::new("Alpha clients");
    let (fixture, _) = start(CertificateRequired::Programs, &authority);
    let identity = authority.certify("till-7", 1, 1);
    let till = client(&fixture, Some(&identity));
    let session = till.login("till", PASSWORD).await.unwrap();
    let bearer = format!("Bearer {}", &*session.token);
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(cards(&till, &headers).await.unwrap().status, StatusCode::OK);

    let thief = client(&fixture, None);
    assert_eq!(refused(&thief, &headers).await, "client_certificate_needed");
    fixture.auth.add_user("other", &[Role::App], PASSWORD).unwrap();
    fixture.auth.add_certificate("other", "CN=other,O=Alpha").unwrap();
    let another = client(&fixture, Some(&authority.certify("other", 2, 1)));
    assert_eq!(refused(&another, &headers).await, "client_certificate_needed");
    // nor as a cookie
    let cookie = format!("__Host-session-grocer={}", &*session.token);
    let page = thief.send(Method::GET, "/staff", &[("cookie", &cookie)], None).await.unwrap();
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    // people sign in as ever
    fixture.auth.add_user("clerk", &[Role::Store], PASSWORD).unwrap();
    let clerk = client(&fixture, None);
    let bearer = format!("Bearer {}", &*clerk.login("clerk", PASSWORD).await.unwrap().token);
    let headers = [("authorization", bearer.as_str())];
    assert_ne!(cards(&clerk, &headers).await.unwrap().status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn where_everyone_needs_a_certificate_nobody_gets_a_word_without() {
    let authority = Authority::new("Alpha clients");
    let (fixture, _) = start(CertificateRequired::Everyone, &authority);
    let stranger = client(&fixture, None);
    let refused = stranger.send(Method::GET, "/healthz", &[], None).await;
    assert!(matches!(refused, Err(ClientError::Unreachable { .. })), "{refused:?}");
    let identity = authority.certify("health", 9, 1);
    let known = client(&fixture, Some(&identity));
    let answer = known.send(Method::GET, "/healthz", &[], None).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    known.login("ann", PASSWORD).await.unwrap();
    assert_eq!(cards(&known, &[]).await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn certificate_and_authorities_are_changed_while_the_node_goes_on() {
    let first = Authority::new("Alpha clients 2026");
    let (fixture, tls) = start(CertificateRequired::Never, &first);
    let directory = fixture.directory.path().to_owned();
    let old = first.certify("till-7", 1, 1);
    let held = client(&fixture, Some(&old));
    assert_eq!(cards(&held, &[]).await.unwrap().status, StatusCode::OK);
    assert!(!tls.refresh().unwrap());

    // the server's: whoever pins the new one gets in, whoever pins the old one does not
    let pinned = std::fs::read(directory.join(tls::CERTIFICATE_FILE)).unwrap();
    let before = tls.current();
    tls::renew(&directory, None).unwrap();
    assert!(tls.refresh().unwrap());
    assert_ne!(before.certificate_hash, tls.current().certificate_hash);
    let fresh = client(&fixture, Some(&old));
    eventually_ok(&fresh).await;
    let late = Client::connect_as(fixture.served.address, &pinned, Some(&old)).unwrap();
    assert!(cards(&late, &[]).await.is_err());
    // a connection that was open goes on
    assert_eq!(cards(&held, &[]).await.unwrap().status, StatusCode::OK);

    // the authority's: both for a while, then the second alone
    let second = Authority::new("Alpha clients 2027");
    let new = second.certify("till-7", 1, 1);
    assert!(cards(&client(&fixture, Some(&new)), &[]).await.is_err());
    write(&directory, "clients.pem", &format!("{}{}", first.pem, second.pem));
    assert!(tls.refresh().unwrap());
    assert_eq!(tls.current().client_authorities().unwrap().0, 2);
    let newer = client(&fixture, Some(&new));
    eventually_ok(&newer).await;
    assert_eq!(cards(&held, &[]).await.unwrap().status, StatusCode::OK);
    write(&directory, "clients.pem", &second.pem);
    assert!(tls.refresh().unwrap());
    assert_eq!(refused(&held, &[]).await, "client_certificate_ended", "on an open connection too");
    assert_eq!(cards(&newer, &[]).await.unwrap().status, StatusCode::OK);

    // what cannot be used changes nothing, and is tried again
    write(&directory, "clients.pem", "nonsense");
    let error = tls.refresh().unwrap_err().to_string();
    assert!(error.contains("clients.pem") && error.contains("PEM"), "{error}");
    assert_eq!(cards(&newer, &[]).await.unwrap().status, StatusCode::OK);
    assert!(tls.refresh().is_err());
    write(&directory, "clients.pem", &second.pem);
    assert!(tls.refresh().unwrap());
}

#[tokio::test]
async fn a_revoked_certificate_opens_nothing_and_the_next_of_that_name_does() {
    let authority = Authority::new("Alpha clients");
    let settings = ClientCertificateSettings {
        authorities: Some("clients.pem".into()),
        revoked: Some("revoked.pem".into()),
        required: CertificateRequired::Never,
    };
    let (fixture, tls) = start_with(&settings, &authority);
    let (lost, next) = (authority.certify("till-7", 1, 1), authority.certify("till-7", 2, 1));
    let held = client(&fixture, Some(&lost));
    assert_eq!(cards(&held, &[]).await.unwrap().status, StatusCode::OK);
    write(fixture.directory.path(), "revoked.pem", &authority.revoke(1));
    assert!(tls.refresh().unwrap());
    assert_eq!(refused(&held, &[]).await, "client_certificate_ended");
    eventually_ok(&client(&fixture, Some(&next))).await;
    assert!(cards(&client(&fixture, Some(&lost)), &[]).await.is_err());
}

#[tokio::test]
async fn a_program_is_counted_as_itself() {
    let authority = Authority::new("Alpha clients");
    let (fixture, _) = start(CertificateRequired::Never, &authority);
    let till = client(&fixture, Some(&authority.certify("till-7", 1, 1)));
    let answer = cards(&till, &[]).await.unwrap();
    let policy = answer.headers["ratelimit-policy"].to_str().unwrap();
    assert!(policy.contains("machines"), "{policy}");
    let names = vec!["CN=till-7,O=Alpha".to_owned()];
    let session = fixture.auth.session_by_certificate(&names).unwrap();
    assert!(session.authorize::<perm::ReadMembers>().is_ok());
}

/// The server takes a change up for the connections that come after it, a moment later.
async fn eventually_ok(client: &Client) {
    for _ in 0..6_000 {
        if cards(client, &[]).await.is_ok_and(|answer| answer.status == StatusCode::OK) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not let in within a minute");
}
