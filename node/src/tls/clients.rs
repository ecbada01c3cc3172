//! Certificates of clients: which authorities vouch for them, what names they have, and whether a connection's still
//! holds.
//!
//! A name is one that an authority has put into a certificate: its subject as RFC 4514 writes it
//! (`CN=till-7,O=Alpha`), or an alternative name (`dns:till-7.alpha.example`, `uri:spiffe://alpha/till-7`). Knows
//! nothing of users: [`crate::auth`] says whose name it is.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use serde::{Deserialize, Serialize};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::AttributeTypeAndValue;

use super::{TlsError, provider, read};

/// Most bytes of a name.
pub const CERTIFICATE_NAME_MAX: usize = 512;

/// Who has to come with a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateRequired {
    /// Nobody: one is as good as a password.
    #[default]
    Never,
    /// Programs: users with the role `app`, and users for whom a certificate is on record. A stolen token or
    /// password of theirs opens nothing.
    Programs,
    /// Every connection to the HTTPS address, browsers and readers of the published log included.
    Everyone,
}

/// Which certificates of clients are taken, as `node.toml` has it under `[client_certificates]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientCertificateSettings {
    /// PEM file of the authorities that vouch for clients; beside one another while one follows the other. From the
    /// data directory, unless absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorities: Option<PathBuf>,
    /// PEM file of the authorities' lists of revoked certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<PathBuf>,
    /// Who has to come with one.
    pub required: CertificateRequired,
}

impl ClientCertificateSettings {
    /// Whether nothing was set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the settings say what can be done.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn check(&self) -> Result<(), String> {
        if self.authorities.is_none() && !self.is_default() {
            return Err("client_certificates: without authorities nobody's certificate can be \
                        checked; set authorities to the PEM file of those that vouch for clients"
                .to_owned());
        }
        Ok(())
    }

    /// The same with paths from a directory.
    #[must_use]
    pub fn under(&self, directory: &Path) -> Self {
        let under = |path: &Option<PathBuf>| path.as_ref().map(|path| directory.join(path));
        Self {
            authorities: under(&self.authorities),
            revoked: under(&self.revoked),
            required: self.required,
        }
    }
}

/// Those that vouch for clients.
#[derive(Clone)]
pub(super) struct Authorities {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// How many there are.
    pub(super) count: usize,
    /// When the first of them ends, Unix seconds.
    pub(super) first_end: u64,
}

impl Authorities {
    /// Reads them.
    pub(super) fn read(
        file: &Path,
        revoked: Option<&Path>,
        required: CertificateRequired,
    ) -> Result<Self, TlsError> {
        let unusable = |reason: String| TlsError::Authorities { path: file.to_owned(), reason };
        let pem = read(file.to_owned())?;
        let mut roots = RootCertStore::empty();
        let mut first_end = u64::MAX;
        for (place, found) in (1..).zip(CertificateDer::pem_slice_iter(&pem)) {
            let wrong = || unusable(format!("certificate {place} in it is not one"));
            let found = found.map_err(|_| wrong())?;
            first_end = first_end.min(ends(&found).ok_or_else(wrong)?);
            roots.add(found).map_err(|_| wrong())?;
        }
        if roots.is_empty() {
            return Err(unusable("it has no certificate in PEM".to_owned()));
        }
        let count = roots.len();
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        if let Some(path) = revoked {
            let pem = read(path.to_owned())?;
            let lists: Result<Vec<_>, _> =
                CertificateRevocationListDer::pem_slice_iter(&pem).collect();
            let lists = lists.ok().filter(|lists| !lists.is_empty()).ok_or_else(|| {
                let reason = "it has no list of revoked certificates in PEM".to_owned();
                TlsError::Authorities { path: path.to_owned(), reason }
            })?;
            // an authority without a list has revoked nothing; one whose list is old still counts
            builder = builder.with_crls(lists).allow_unknown_revocation_status();
        }
        if required != CertificateRequired::Everyone {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build().map_err(|error| unusable(error.to_string()))?;
        Ok(Self { verifier, count, first_end })
    }

    /// Whether they vouch for a chain now.
    pub(super) fn vouch_for(&self, chain: &[CertificateDer<'_>]) -> bool {
        let Some((first, rest)) = chain.split_first() else { return false };
        self.verifier.verify_client_cert(first, rest, UnixTime::now()).is_ok()
    }
}

/// When a certificate ends, Unix seconds.
pub(super) fn ends(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    u64::try_from(parsed.validity().not_after.timestamp()).ok()
}

/// The names of the first certificate in a PEM file: the subject first.
///
/// # Errors
/// When there is none, or it names nobody.
pub fn names_in(file: &Path) -> Result<Vec<String>, TlsError> {
    let certificate = super::parse_certificate(&read(file.to_owned())?)?;
    names(&certificate).ok_or(TlsError::Malformed { what: "the certificate" })
}

/// The names of a certificate; none when it cannot be read or has no name.
pub(super) fn names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    // RFC 4514, section 2.1: from the last to the first
    let mut parts = Vec::new();
    for relative in parsed.subject().iter_rdn() {
        let of_one: Option<Vec<String>> = relative.iter().map(attribute).collect();
        parts.push(of_one?.join("+"));
    }
    parts.reverse();
    let subject = parts.join(",");
    let mut names: Vec<String> =
        Some(subject).filter(|name| !name.is_empty()).into_iter().collect();
    if let Ok(Some(alternative)) = parsed.subject_alternative_name() {
        names.extend(alternative.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(format!("dns:{}", name.to_ascii_lowercase())),
            GeneralName::URI(uri) => Some(format!("uri:{uri}")),
            _ => None,
        }));
    }
    names.retain(|name| is_name(name));
    (!names.is_empty()).then_some(names)
}

/// Whether a text can be a certificate's name.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_alternative = ["dns:", "uri:"].iter().any(|kind| {
        text.strip_prefix(kind).is_some_and(|rest| !rest.is_empty() && rest.is_ascii())
    });
    let is_subject = text.split_once('=').is_some_and(|(kind, rest)| {
        !rest.is_empty()
            && !kind.is_empty()
            && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
    });
    text.len() <= CERTIFICATE_NAME_MAX
        && !text.chars().any(char::is_control)
        && (is_alternative || is_subject)
}

/// Short names of RFC 4514, section 3, and those that authorities of services use beside them.
const SHORT: [(&str, &str); 12] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// One attribute of a subject, its value escaped: what is in a value cannot look like another attribute.
fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let oid = attribute.attr_type().to_id_string();
    let short = SHORT.iter().find(|(known, _)| *known == oid).map(|(_, short)| *short);
    let mut text = format!("{}=", short.unwrap_or(&oid));
    let value = attribute.as_str().ok()?;
    let last = value.chars().count().saturating_sub(1);
    for (place, letter) in value.chars().enumerate() {
        let special = matches!(letter, '"' | '+' | ',' | ';' | '<' | '>' | '\\')
            || letter == '#' && place == 0
            || letter == ' ' && (place == 0 || place == last);
        if letter == '\0' {
            text.push_str("\\00");
        } else if special {
            let _ = write!(text, "\\{letter}");
        } else {
            text.push(letter);
        }
    }
    Some(text)
}

/// The certificate of a client's connection, for which an authority vouched when the connection was made.
pub struct ClientCertificate {
    pub(super) chain: Vec<CertificateDer<'static>>,
    names: Vec<String>,
    pub(super) ends: u64,
    /// Under which authorities, and at which Unix second, it was looked at last.
    pub(super) checked: std::sync::Mutex<(u64, u64)>,
}

impl ClientCertificate {
    /// What is said of a chain that a handshake has let through.
    pub(super) fn new(chain: &[CertificateDer<'_>], generation: u64, now: u64) -> Option<Self> {
        let first = chain.first()?;
        Some(Self {
            names: names(first)?,
            ends: ends(first)?,
            chain: chain.iter().map(|one| one.clone().into_owned()).collect(),
            checked: std::sync::Mutex::new((generation, now)),
        })
    }

    /// Its names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // its names may be a person's
        f.write_str("ClientCertificate(..)")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, DistinguishedName, DnType, KeyPair, SanType, string::Ia5String,
    };

    use super::*;

    fn certificate(name: DistinguishedName, alternatives: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        params.subject_alt_names = alternatives;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn names_are_written_as_rfc_4514_says_and_cannot_be_made_to_look_like_others() {
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, "Alpha, Ltd");
        name.push(DnType::CommonName, "till-7");
        let uri = Ia5String::try_from("spiffe://alpha/till-7").unwrap();
        let dns = Ia5String::try_from("Till-7.alpha.example").unwrap();
        let found =
            names(&certificate(name, vec![SanType::DnsName(dns), SanType::URI(uri)])).unwrap();
        let expected =
            ["CN=till-7,O=Alpha\\, Ltd", "dns:till-7.alpha.example", "uri:spiffe://alpha/till-7"];
        assert_eq!(found, expected);

        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "till-7,O=Alpha ");
        let found = names(&certificate(name, Vec::new())).unwrap();
        assert_eq!(found, ["CN=till-7\\,O=Alpha\\ "]);
        assert_eq!(names(&certificate(DistinguishedName::new(), Vec::new())), None);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for good in ["CN=till-7", "2.5.4.3=x", "dns:a", "uri:spiffe://a/b", "CN=收银台,O=甲"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "till-7", "=x", "CN=", "dns:", "uri:\n", "C N=x", "CN=a\u{7}"] {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert!(!is_name(&format!("CN={}", "x".repeat(CERTIFICATE_NAME_MAX))));
    }

    #[test]
    fn settings_that_could_check_nobody_are_refused() {
        let settings = |text: &str| toml::from_str::<ClientCertificateSettings>(text).unwrap();
        assert_eq!(settings("").check(), Ok(()));
        assert!(settings("required = \"programs\"").check().unwrap_err().contains("authorities"));
        assert!(settings("revoked = \"crl.pem\"").check().is_err());
        let full = settings("authorities = \"ca.pem\"\nrequired = \"everyone\"");
        assert_eq!(full.check(), Ok(()));
        let under = full.under(Path::new("/data"));
        assert_eq!(under.authorities.as_deref(), Some(Path::new("/data/ca.pem")));
    }
}
