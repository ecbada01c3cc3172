//! `coalition check`: what can be seen of a data directory without running its node.
//!
//! Reads the settings, keys, certificate, users and constitutions that a start would read, changes
//! nothing, asks nobody. It may run beside the node. Does not look into the journal, the store or the
//! log: the start and the offline audit do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::queries::checked_policy;
use super::{CliError, Io, operator_path};
use crate::auth::{Auth, Role};
use crate::cleanroom::{templates, views};
use crate::config::{DataDirectory, Settings};
use crate::constitutions::Known;
use crate::keys::{OwnKeys, recovery_key_path, vault_key_path};
use crate::outside::OutsideClient;
use crate::runtime::check_membership;
use crate::tls::{self, CertificateRequired, OutgoingTls};
use protocol::ids::BrandId;

/// A certificate that ends within this time is a warning.
const CERTIFICATE_NOTICE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Less free space than this is a warning: a day's volume should fit.
const FREE_BYTES: u64 = 2 << 30;
/// Less than this is an error: the journal needs room for its next appends.
const FREE_BYTES_LEAST: u64 = 128 << 20;

/// What to check.
#[derive(Debug, clap::Args)]
pub struct CheckArguments {
    /// Data directory.
    #[arg(long)]
    pub data: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// The node starts; somebody should see to it.
    Warning,
    /// The node does not start, or must not run so.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// How it is.
    pub level: Level,
    /// What was looked at.
    pub what: &'static str,
    /// What was found, and what would be right.
    pub words: String,
}

/// Everything that was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Checks {
    /// In the order in which a start reads it.
    pub checks: Vec<Checked>,
    /// How many errors.
    pub errors: usize,
    /// How many warnings.
    pub warnings: usize,
}

impl Checks {
    fn enter(&mut self, level: Level, what: &'static str, words: impl Into<String>) {
        match level {
            Level::Ok => {}
            Level::Warning => self.warnings += 1,
            Level::Error => self.errors += 1,
        }
        self.checks.push(Checked { level, what, words: words.into() });
    }

    /// Enters the result of something that a start does; gives what it gave.
    fn tried<T, E: std::fmt::Display>(
        &mut self,
        what: &'static str,
        result: Result<T, E>,
        words: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        match result {
            Ok(found) => {
                self.enter(Level::Ok, what, words(&found));
                Some(found)
            }
            Err(error) => {
                self.enter(Level::Error, what, error.to_string());
                None
            }
        }
    }
}

/// Looks, and prints what it found; gives whether the node could start.
///
/// # Errors
/// When stdout is closed.
pub fn run(arguments: &CheckArguments) -> Result<bool, CliError> {
    let checks = check(&DataDirectory::new(&arguments.data));
    let mut io = Io::new(arguments.json);
    if arguments.json {
        io.json(&checks)?;
    } else {
        for one in &checks.checks {
            let level = match one.level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Error => "error",
            };
            io.line(&format!("{level:<8} {:<14} {}", one.what, one.words))?;
        }
    }
    io.say(&format!("{} errors, {} warnings", checks.errors, checks.warnings));
    Ok(checks.errors == 0)
}

/// Looks at a data directory.
#[must_use]
pub fn check(data: &DataDirectory) -> Checks {
    let mut checks = Checks::default();
    let read = checks.tried("node.toml", data.settings(), |(_, brand)| format!("brand {brand}"));
    directory(data, &mut checks);
    let own = checks.tried("keys", OwnKeys::read(&data.keys()), |own| {
        format!("complete, {} sets of signing keys", own.signing.iter().count())
    });
    let file = vault_key_path(&data.keys());
    let settings = read.as_ref().map(|(settings, _)| settings.vault.clone());
    let version = settings
        .unwrap_or_default()
        .brand_key(&file)
        .and_then(|key| key.version().map_err(|error| error.to_string()));
    checks.tried("vault key", version, |version| format!("readable, version {version}"));
    if let Some((settings, _)) = &read {
        checks.tried("desk", settings.desk.rules(), |_| "its settings are read".into());
    }
    private_files(data, read.as_ref().map(|(settings, _)| settings), &mut checks);
    certificate(data, &mut checks);
    users(data, &mut checks);
    if let Some((settings, brand)) = &read {
        store(data, settings, &mut checks);
        constitutions(data, *brand, own.as_ref(), &mut checks);
        clean_room(data, &mut checks);
        contract(data, *brand, &mut checks);
        addresses(data, settings, &mut checks);
        client_certificates(data, settings, &mut checks);
    }
    room(data.path(), &mut checks);
    checks
}

fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|found| found.permissions().mode() & 0o777)
}

fn directory(data: &DataDirectory, checks: &mut Checks) {
    let what = "directory";
    match mode(data.path()) {
        None => checks.enter(
            Level::Error,
            what,
            format!(
                "{} is not there; make a node with `coalition init`, or give the right --data",
                data.path().display()
            ),
        ),
        Some(mode) if mode & 0o077 != 0 => checks.enter(
            Level::Warning,
            what,
            format!("others on this machine may enter it (mode {mode:o}): chmod 700"),
        ),
        Some(_) => checks.enter(Level::Ok, what, "its owner's alone"),
    }
}

/// Where the password of the store's database is.
fn store(data: &DataDirectory, settings: &Settings, checks: &mut Checks) {
    if settings.store.as_ref().is_some_and(|store| store.address().has_password()) {
        let path = data.store_password();
        let words = format!(
            "the address of the store has a password, which is in each backup with node.toml: write it into {} (chmod 600), and leave it out of the address",
            path.display()
        );
        checks.enter(Level::Warning, "store", words);
    }
}

/// The private keys of the certificates that are shown to others' servers.
fn outgoing_keys(data: &DataDirectory, settings: &Settings) -> Vec<PathBuf> {
    let of_witnesses =
        settings.witnessing.ask.iter().filter_map(|it| it.client_certificate.as_ref());
    let all = of_witnesses.chain(&settings.webhooks.client_certificate);
    all.map(|own| own.under(data.path()).key).collect()
}

/// Every file that holds a secret, by the rights on it.
fn private_files(data: &DataDirectory, settings: Option<&Settings>, checks: &mut Checks) {
    let mut open = Vec::new();
    let mut folders = vec![data.keys()];
    let of_tls = [tls::KEY_FILE, tls::CLIENT_KEY_FILE].map(|file| data.tls().join(file));
    let mut files = vec![data.users(), operator_path(data)];
    files.extend(of_tls);
    files.extend(settings.into_iter().flat_map(|settings| outgoing_keys(data, settings)));
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    for path in files {
        if mode(&path).is_some_and(|mode| mode & 0o077 != 0) {
            open.push(path.display().to_string());
        }
    }
    if open.is_empty() {
        checks.enter(Level::Ok, "secret files", "their owner's alone");
    } else {
        let words =
            format!("others may read {}: chmod 600, and rotate what they hold", open.join(", "));
        checks.enter(Level::Error, "secret files", words);
    }
    if recovery_key_path(&data.keys()).exists() {
        checks.enter(
            Level::Warning,
            "recovery key",
            format!(
                "{} is still on this machine: it opens this brand's log when all else is lost; move it to where the machine's loss cannot reach it",
                recovery_key_path(&data.keys()).display()
            ),
        );
    }
    if operator_path(data).exists() {
        checks.enter(
            Level::Warning,
            "password file",
            format!(
                "{} lets every program of this user act as `{}`: remove it where people sign in by themselves",
                operator_path(data).display(),
                super::OPERATOR
            ),
        );
    }
}

fn certificate(data: &DataDirectory, checks: &mut Checks) {
    let what = "certificate";
    let ends = match tls::load(&data.tls()) {
        Ok(server) => date(server.current().ends),
        Err(error) => return checks.enter(Level::Error, what, error.to_string()),
    };
    let days = CERTIFICATE_NOTICE.as_secs() / 86_400;
    match (
        tls::holds_in(&data.tls(), Duration::ZERO),
        tls::holds_in(&data.tls(), CERTIFICATE_NOTICE),
    ) {
        (Ok(()), Ok(())) => checks.enter(Level::Ok, what, format!("holds until {ends}")),
        (Ok(()), Err(_)) => checks.enter(
            Level::Warning,
            what,
            format!("ends within {days} days, on {ends}: {}", tls::RENEWAL),
        ),
        (Err(error), _) => checks.enter(Level::Error, what, format!("{error}: {}", tls::RENEWAL)),
    }
}

/// Those that vouch for clients, and whether who has to come with a certificate can.
fn client_certificates(data: &DataDirectory, settings: &Settings, checks: &mut Checks) {
    let what = "client certs";
    let clients = &settings.client_certificates;
    if clients.is_default() {
        return;
    }
    let opened = settings.open_tls(data);
    if opened.is_err() && tls::load(&data.tls()).is_err() {
        return; // the node's own, which is told of elsewhere
    }
    let Some(server) = checks.tried(what, opened, |server| {
        let (count, first_end) = server.current().client_authorities().unwrap_or_default();
        let required = match clients.required {
            CertificateRequired::Never => "nobody has to come with one",
            CertificateRequired::Programs => "programs have to come with one",
            CertificateRequired::Everyone => "every connection has to come with one",
        };
        format!("{count} authorities, the first ends on {}; {required}", date(first_end))
    }) else {
        return;
    };
    let (_, first_end) = server.current().client_authorities().unwrap_or_default();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if first_end < (now + CERTIFICATE_NOTICE).as_secs() {
        let words = format!(
            "an authority of clients ends on {}: put the one that follows beside it in the same file now",
            date(first_end)
        );
        checks.enter(Level::Warning, what, words);
    }
    let has_own = data.tls().join(tls::CLIENT_CERTIFICATE_FILE).exists();
    if clients.required == CertificateRequired::Everyone && !has_own {
        checks.enter(
            Level::Warning,
            what,
            format!(
                "commands on this machine do not reach the node: put a certificate for them at {} and its key at {}",
                data.tls().join(tls::CLIENT_CERTIFICATE_FILE).display(),
                data.tls().join(tls::CLIENT_KEY_FILE).display()
            ),
        );
    }
    let Ok(auth) = Auth::open(&data.users()) else { return };
    let without: Vec<String> = auth
        .certificates()
        .into_iter()
        .zip(auth.users())
        .filter(|((_, on_record), (_, roles))| on_record.is_empty() && roles.contains(&Role::App))
        .map(|((name, _), _)| name)
        .collect();
    if clients.required == CertificateRequired::Programs && !without.is_empty() {
        let words = format!(
            "no certificate is on record for {}: they are not let in; `coalition user certificate` enters one",
            without.join(", ")
        );
        checks.enter(Level::Warning, what, words);
    }
}

/// The day of a time in Unix seconds, UTC.
fn date(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y-%m-%d").to_string()
}

fn users(data: &DataDirectory, checks: &mut Checks) {
    let Some(auth) = checks
        .tried("users", Auth::open(&data.users()), |auth| format!("{} users", auth.users().len()))
    else {
        return;
    };
    for role in [Role::Administrator, Role::Officer] {
        if !auth.users().iter().any(|(_, roles)| roles.contains(&role)) {
            let words = format!("nobody has the role {role}: add one with `coalition user add`");
            checks.enter(Level::Warning, "users", words);
        }
    }
}

fn constitutions(data: &DataDirectory, brand: BrandId, own: Option<&OwnKeys>, checks: &mut Checks) {
    let what = "constitution";
    if !data.constitution().exists() {
        checks.enter(
            Level::Error,
            what,
            "none yet: collect the brands' signatures, then `coalition constitution adopt`",
        );
        return;
    }
    let known = checks.tried(what, Known::read(data), |known| {
        format!("signed by all, {} later ones or drafts", known.later().count())
    });
    let Some(known) = known else { return };
    let chain = checks.tried(what, known.chain(brand), |_| format!("names {brand}"));
    let (Some(chain), Some(own)) = (chain, own) else { return };
    if let Some(newest) = known.of_chain(&chain).next() {
        let member = check_membership(newest, brand, own);
        checks.tried(what, member, |()| "has this node's keys".into());
    }
    let stances = known.stances(data);
    checks.tried("drafts", stances, |stances| format!("{} spoken to", stances.len()));
}

/// What this brand agrees to, and its saved questions.
fn clean_room(data: &DataDirectory, checks: &mut Checks) {
    if data.constitution().exists() {
        checks.tried("policy", checked_policy(data, &data.policy()), String::clone);
    }
    checks.tried("templates", templates::all(&data.templates()), |all| {
        format!("{} of this brand's own", all.iter().filter(|(_, own)| *own).count())
    });
}

/// What the dataset contract names and this version does not serve. What cannot be read is told of elsewhere.
fn contract(data: &DataDirectory, brand: BrandId, checks: &mut Checks) {
    let Ok(known) = Known::read(data) else { return };
    let Ok(chain) = known.chain(brand) else { return };
    let newest = known.of_chain(&chain).next();
    let Some(room) = newest.and_then(|constitution| constitution.clean_room()) else { return };
    let warnings = views::contract_warnings(room.contract());
    if warnings.is_empty() {
        checks.enter(Level::Ok, "contract", "all that it names is kept here");
    }
    for words in warnings {
        checks.enter(Level::Warning, "contract", format!("{} / {}", words.en, words.zh));
    }
}

fn addresses(data: &DataDirectory, settings: &Settings, checks: &mut Checks) {
    if settings.listen == settings.https {
        let words =
            format!("listen and https are both {}: give them different ports", settings.https);
        checks.enter(Level::Error, "addresses", words);
    }
    if let Some(address) = settings.postgres {
        let taken = [Some(settings.listen), Some(settings.https), settings.metrics];
        if taken.contains(&Some(address)) {
            let words =
                format!("postgres = {address} is taken by another of this node's listeners");
            checks.enter(Level::Error, "postgres", words);
        } else {
            checks.enter(Level::Ok, "postgres", format!("SQL clients at {address}, over TLS"));
        }
    }
    match settings.metrics {
        Some(address) if !address.ip().is_loopback() => checks.enter(
            Level::Warning,
            "metrics",
            format!("{address} is served in the clear: only the collector should reach it"),
        ),
        Some(address) => checks.enter(Level::Ok, "metrics", format!("at {address}")),
        None => checks.enter(
            Level::Warning,
            "metrics",
            "not served: no alert can fire; set metrics = \"127.0.0.1:9464\" in node.toml",
        ),
    }
    for asked in &settings.witnessing.ask {
        let own = asked.own_under(data.path());
        let client = OutsideClient::new(&asked.url, asked.trusted.as_deref(), own.as_ref());
        checks.tried("witness", client, |_| asked.url.clone());
    }
    let webhooks = settings.webhooks.under(data.path());
    if let Some(own) = &webhooks.client_certificate {
        let opened = OutgoingTls::open(webhooks.trusted.as_deref(), Some(own));
        checks.tried("webhooks", opened, |_| "show a certificate to receivers that ask".into());
    }
    if let Some(trusted) = &settings.audit.trusted {
        let opened = OutgoingTls::open(Some(&data.path().join(trusted)), None);
        checks.tried("audit", opened, |_| {
            format!("other brands' nodes are known by {}", trusted.display())
        });
    }
}

fn room(path: &Path, checks: &mut Checks) {
    let Ok(found) = rustix::fs::statvfs(path) else { return };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let words = format!("{} MiB free", free >> 20);
    let level = if free < FREE_BYTES_LEAST {
        Level::Error
    } else if free < FREE_BYTES {
        Level::Warning
    } else {
        Level::Ok
    };
    checks.enter(level, "disk", words);
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::constitution::{InitArguments, init};
    use super::*;

    #[derive(clap::Parser)]
    struct Init {
        #[command(flatten)]
        arguments: InitArguments,
    }

    fn node() -> (tempfile::TempDir, DataDirectory) {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("a");
        let words = ["init", "--brand", "alpha", "--name-zh", "甲", "--name-en", "Alpha"];
        let places = ["--libp2p", "127.0.0.1:7101", "--https", "127.0.0.1:7102", "--data"];
        let words = words.iter().chain(&places).map(|word| word.to_string());
        let arguments = words.chain([data.display().to_string()]);
        init(&Init::parse_from(arguments).arguments).unwrap();
        (directory, DataDirectory::new(data))
    }

    fn errors(data: &DataDirectory) -> Vec<&'static str> {
        let checks = check(data).checks;
        checks.iter().filter(|one| one.level == Level::Error).map(|one| one.what).collect()
    }

    #[test]
    fn a_new_node_lacks_its_constitution_alone() {
        let (_directory, data) = node();
        assert_eq!(errors(&data), ["constitution"]);
        let warned = check(&data);
        let warned = warned.checks.iter().filter(|one| one.level == Level::Warning);
        let warned: Vec<_> = warned.map(|one| one.what).collect();
        assert_eq!(warned, ["recovery key", "password file", "metrics"]);
    }

    #[test]
    fn each_fault_is_named() {
        let (_directory, data) = node();
        let key = data.tls().join(tls::KEY_FILE);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(errors(&data), ["secret files", "constitution"]);
        fs::remove_file(&key).unwrap();
        assert_eq!(errors(&data), ["certificate", "constitution"]);
        fs::write(data.users(), "{}").unwrap();
        assert_eq!(errors(&data), ["certificate", "users", "constitution"]);
        fs::remove_file(vault_key_path(&data.keys())).unwrap();
        let settings = fs::read_to_string(data.settings_path()).unwrap();
        fs::write(data.settings_path(), settings.replace("7101", "7102")).unwrap();
        fs::write(data.constitution(), "nonsense").unwrap();
        let expected = ["vault key", "certificate", "users", "constitution", "addresses"];
        assert_eq!(errors(&data), expected);
        fs::write(data.settings_path(), "brand = 1").unwrap();
        assert_eq!(errors(&data).first(), Some(&"node.toml"));
    }

    #[test]
    fn sql_clients_have_a_port_of_their_own() {
        let (_directory, data) = node();
        let settings = fs::read_to_string(data.settings_path()).unwrap();
        for (port, expected) in [(7102, Level::Error), (7103, Level::Ok)] {
            let with = format!("postgres = \"127.0.0.1:{port}\"\n{settings}");
            fs::write(data.settings_path(), with).unwrap();
            let checks = check(&data).checks;
            let found = checks.iter().find(|one| one.what == "postgres").unwrap();
            assert_eq!(found.level, expected, "{}", found.words);
        }
    }

    #[test]
    fn certificates_that_are_shown_to_others_are_looked_at() {
        let (_directory, data) = node();
        let settings = fs::read_to_string(data.settings_path()).unwrap();
        // the node's own serve here as another's
        let trusted = data.tls().join(tls::CERTIFICATE_FILE);
        let with = format!(
            "{settings}\n[webhooks]\ntrusted = {trusted:?}\n\
             client_certificate = {{ certificate = \"tls/cert.pem\", key = \"tls/shown.pem\" }}\n"
        );
        fs::write(data.settings_path(), with).unwrap();
        assert_eq!(errors(&data), ["constitution", "webhooks"], "the key is missing");
        let key = data.tls().join("shown.pem");
        fs::copy(data.tls().join(tls::KEY_FILE), &key).unwrap();
        assert_eq!(errors(&data), ["constitution"]);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(errors(&data), ["secret files", "constitution", "webhooks"]);
    }

    #[test]
    fn what_others_are_known_by_in_an_audit_is_looked_at() {
        let (_directory, data) = node();
        let settings = fs::read_to_string(data.settings_path()).unwrap();
        fs::write(data.path().join("nonsense.pem"), "nonsense").unwrap();
        for (file, expected) in [
            ("nowhere.pem", &["constitution", "audit"][..]),
            ("nonsense.pem", &["constitution", "audit"][..]),
            ("tls/cert.pem", &["constitution"][..]),
        ] {
            let with = format!("{settings}\n[audit]\ntrusted = \"{file}\"\n");
            fs::write(data.settings_path(), with).unwrap();
            assert_eq!(errors(&data), expected, "{file}");
        }
    }

    #[test]
    fn client_certificates_are_looked_at() {
        let (_directory, data) = node();
        let settings = fs::read_to_string(data.settings_path()).unwrap();
        let with = |text: &str| {
            fs::write(data.settings_path(), format!("{settings}\n[client_certificates]\n{text}"))
                .unwrap();
            let all = check(&data).checks;
            let found = all.into_iter().filter(|one| one.what == "client certs");
            found.map(|one| (one.level, one.words)).collect::<Vec<_>>()
        };
        assert!(with("required = \"programs\"").is_empty());
        let refused = data.settings().unwrap_err().to_string();
        assert!(refused.contains("set authorities"), "{refused}");
        let found = with("authorities = \"nowhere.pem\"");
        assert!(matches!(&found[..], [(Level::Error, words)] if words.contains("nowhere.pem")));
        // its own certificate will do as an authority here; it ends in 800 days
        let found = with("authorities = \"tls/cert.pem\"");
        assert!(matches!(&found[..], [(Level::Ok, words)] if words.starts_with("1 authorities")));
        let auth = Auth::open(&data.users()).unwrap();
        auth.add_user("till", &[Role::App], "correct horse battery").unwrap();
        let found = with("authorities = \"tls/cert.pem\"\nrequired = \"programs\"");
        let warned = found.iter().filter(|(level, _)| *level == Level::Warning);
        assert!(warned.map(|(_, words)| words).any(|words| words.contains("till")), "{found:?}");
        for user in auth.users() {
            if user.1.contains(&Role::App) {
                auth.add_certificate(&user.0, &format!("CN={}", user.0)).unwrap();
            }
        }
        let found = with("authorities = \"tls/cert.pem\"\nrequired = \"programs\"");
        assert_eq!(found.len(), 1, "{found:?}");
        let found = with("authorities = \"tls/cert.pem\"\nrequired = \"everyone\"");
        assert!(found.iter().any(|(_, words)| words.contains("client-cert.pem")), "{found:?}");
    }

    #[test]
    fn what_is_not_a_data_directory_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let checks = check(&DataDirectory::new(directory.path().join("nowhere")));
        assert!(checks.errors >= 4, "{checks:?}");
        let said = checks.checks.iter().find(|one| one.what == "directory").unwrap();
        assert!(said.words.contains("coalition init"), "{}", said.words);
    }
}
