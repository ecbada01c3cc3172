//! Sign-in: the first message, SCRAM, what a client wants set, and a place under the user's name.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::{Sink, SinkExt as _};
use pgwire::api::auth::{
    ServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use pgwire::api::{
    ClientInfo, ConnectionGuard, ConnectionHandle, METADATA_DATABASE, METADATA_USER,
    PgWireConnectionState, PidSecretKeyGenerator as _,
};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::startup::{Authentication, PasswordMessageFamily, Startup};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::bounded::AFTER_SIGN_IN;
use super::connection::Connection;
use super::errors::{NO_DATABASE, NOT_LET_IN, PROTOCOL, Refused, TOO_MANY, UNSUPPORTED};
use super::settings::Settings;
use super::statement::DATABASE;
use crate::auth::{Auth, AuthError, DatabaseSignIn, DatabaseUser, perm};

/// Most connections of one user.
const OF_ONE_USER_MAX: usize = 32;
/// Most settings that a client may send with its first message.
const STARTUP_SETTINGS_MAX: usize = 32;

/// How far a sign-in is.
#[derive(Debug, Default)]
pub enum Stage {
    /// The first message is awaited.
    #[default]
    Begun,
    /// The client's first message of SCRAM is awaited.
    Named(String),
    /// Its proof is awaited.
    Challenged(Box<DatabaseSignIn>),
    /// Over, either way.
    Over,
}

/// How many connections each user has.
#[derive(Debug, Clone, Default)]
pub struct Places(Arc<Mutex<BTreeMap<String, usize>>>);

/// A connection's place, given back when it ends.
#[derive(Debug)]
pub struct Place {
    of: Places,
    user: String,
}

impl Places {
    fn enter(&self, user: &str) -> Result<Place, Refused> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(user.to_owned()).or_default();
        if *count >= OF_ONE_USER_MAX {
            return Err(Refused::new(
                TOO_MANY,
                format!("this user has {OF_ONE_USER_MAX} connections already"),
                "close some, or let the client's pool be smaller",
            ));
        }
        *count += 1;
        Ok(Place { of: self.clone(), user: user.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.user);
            }
        }
    }
}

/// What is told to a client that has signed in.
struct Parameters(Settings);

impl ServerParameterProvider for Parameters {
    fn server_parameters<C: ClientInfo>(&self, client: &C) -> Option<HashMap<String, String>> {
        let named = [
            ("server_version", "server_version"),
            ("server_encoding", "server_encoding"),
            ("client_encoding", "client_encoding"),
            ("application_name", "application_name"),
            ("DateStyle", "datestyle"),
            ("IntervalStyle", "intervalstyle"),
            ("TimeZone", "timezone"),
            ("integer_datetimes", "integer_datetimes"),
            ("standard_conforming_strings", "standard_conforming_strings"),
            ("is_superuser", "is_superuser"),
            ("default_transaction_read_only", "default_transaction_read_only"),
        ];
        let told = named
            .into_iter()
            .filter_map(|(told, name)| Some((told.to_owned(), self.0.show(name)?)));
        let user = client.metadata().get(METADATA_USER).cloned().unwrap_or_default();
        Some(told.chain([("session_authorization".to_owned(), user)]).collect())
    }
}

fn unexpected() -> PgWireError {
    let hint =
        "sign in with SCRAM-SHA-256, as libpq since version 10 and every current driver does";
    Refused::new(PROTOCOL, "this message is not expected during sign-in", hint).fatal().into()
}

/// Mechanism and first message of SCRAM. Read here: the library takes the lengths for true.
fn initial(body: &[u8]) -> Option<(&str, &[u8])> {
    let end = body.iter().position(|byte| *byte == 0)?;
    let mechanism = std::str::from_utf8(body.get(..end)?).ok()?;
    let (length, first) = body.get(end + 1..)?.split_first_chunk::<4>()?;
    (usize::try_from(u32::from_be_bytes(*length)).ok()? == first.len())
        .then_some((mechanism, first))
}

#[async_trait]
impl StartupHandler for Connection {
    async fn on_startup<C>(
        &self,
        client: &mut C,
        message: PgWireFrontendMessage,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let stage = {
            let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *stage, Stage::Over)
        };
        let next = match (stage, message) {
            (Stage::Begun, PgWireFrontendMessage::Startup(startup)) => {
                let name = self.named(client, &startup).await?;
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                let mechanisms = Auth::database_mechanisms().map(str::to_owned).to_vec();
                let asked = Authentication::SASL(mechanisms);
                client.send(PgWireBackendMessage::Authentication(asked)).await?;
                Stage::Named(name)
            }
            (Stage::Named(name), PgWireFrontendMessage::PasswordMessageFamily(message)) => {
                let (begun, first) = self.challenged(&name, message)?;
                let first = Authentication::SASLContinue(first.into());
                client.send(PgWireBackendMessage::Authentication(first)).await?;
                Stage::Challenged(Box::new(begun))
            }
            (Stage::Challenged(begun), PgWireFrontendMessage::PasswordMessageFamily(message)) => {
                let PasswordMessageFamily::Raw(proof) = message else { return Err(unexpected()) };
                let signed_in = self.door.auth.finish_database_sign_in(*begun, &proof);
                let (user, last) = signed_in.map_err(|error| self.refused(error))?;
                self.entered(client, user, last).await?;
                Stage::Over
            }
            _ => return Err(unexpected()),
        };
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

impl Connection {
    fn refused(&self, error: AuthError) -> PgWireError {
        self.door.metrics.count("postgres_connections", "outcome", "sign_in_refused");
        tracing::info!(code = error.code(), "a database sign-in was refused");
        Refused::from(error).fatal().into()
    }

    /// The name in the first message.
    async fn named<C>(&self, client: &mut C, startup: &Startup) -> PgWireResult<String>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        protocol_negotiation(client, startup).await?;
        let off = |value: &String| ["false", "off", "no", "0"].contains(&value.as_str());
        if startup.parameters.get("replication").is_some_and(|value| !off(value)) {
            let hint = "connect without replication";
            return Err(Refused::new(UNSUPPORTED, "nothing is replicated from here", hint)
                .fatal()
                .into());
        }
        save_startup_parameters_to_metadata(client, startup);
        let name = startup.parameters.get(METADATA_USER).cloned().unwrap_or_default();
        if name.is_empty() {
            let hint = "give the user's name, as user=NAME";
            return Err(Refused::new(NOT_LET_IN, "no user was named", hint).fatal().into());
        }
        Ok(name)
    }

    fn challenged(
        &self,
        name: &str,
        message: PasswordMessageFamily,
    ) -> PgWireResult<(DatabaseSignIn, String)> {
        let PasswordMessageFamily::Raw(body) = message else { return Err(unexpected()) };
        let (mechanism, first) = initial(&body).ok_or_else(unexpected)?;
        let certificate = &self.certificate_hash;
        let begun = self.door.auth.begin_database_sign_in(name, mechanism, first, certificate);
        begun.map_err(|error| {
            let hint = "let nothing stand between client and node that ends TLS; SCRAM-SHA-256 alone is spoken";
            Refused::new(NOT_LET_IN, error.to_string(), hint).fatal().into()
        })
    }

    /// Somebody has shown the right password.
    async fn entered<C>(&self, client: &mut C, user: DatabaseUser, last: String) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let session = self.door.auth.database_session(&user);
        let allowed = session.and_then(|session| session.authorize::<perm::RunQueries>());
        allowed.map_err(|error| self.refused(error))?;
        let metadata = client.metadata();
        let database = metadata.get(METADATA_DATABASE).or_else(|| metadata.get(METADATA_USER));
        if database.is_none_or(|database| database != DATABASE) {
            let hint = format!("there is one database: connect with dbname={DATABASE}");
            return Err(Refused::new(NO_DATABASE, "there is no such database", hint)
                .fatal()
                .into());
        }
        let settings = startup_settings(metadata).map_err(Refused::fatal)?;
        let place = self.door.places.enter(user.name()).map_err(Refused::fatal)?;
        client.session_extensions().insert(place);
        *self.settings() = settings.clone();

        let (pid, key) = self.door.pids.generate(client);
        client.set_pid_and_secret_key(pid, key.clone());
        let (handle, guard) = self.door.cancelling.register(pid, key);
        client.session_extensions().insert::<Arc<ConnectionHandle>>(handle);
        client.session_extensions().insert::<ConnectionGuard>(guard);

        self.let_in(user, AFTER_SIGN_IN);
        let last = Authentication::SASLFinal(last.into());
        client.feed(PgWireBackendMessage::Authentication(last)).await?;
        finish_authentication(client, &Parameters(settings)).await?;
        self.door.metrics.count("postgres_connections", "outcome", "signed_in");
        Ok(())
    }
}

/// What a client sets with its first message: parameters by name, and `-c name=value` in `options`.
fn startup_settings(metadata: &HashMap<String, String>) -> Result<Settings, Refused> {
    let mut settings = Settings::default();
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in metadata {
        let own = [METADATA_USER, METADATA_DATABASE, "options", "replication"];
        // _pq_.: what a client could do of later protocols
        if !own.contains(&name.as_str()) && !name.starts_with("_pq_.") {
            wanted.insert(name.clone(), value.clone());
        }
    }
    let options = metadata.get("options").map(String::as_str).unwrap_or_default();
    let mut words = options.split_whitespace();
    while let Some(word) = words.next() {
        let option = match word.strip_prefix("-c") {
            Some("") => words.next().unwrap_or_default(),
            Some(rest) => rest,
            None => word.strip_prefix("--").unwrap_or_default(),
        };
        let (name, value) = option.split_once('=').ok_or_else(|| {
            Refused::new(PROTOCOL, "options are not understood", "write them as -c name=value")
        })?;
        wanted.insert(name.replace('-', "_"), value.to_owned());
    }
    if wanted.len() > STARTUP_SETTINGS_MAX {
        let hint = format!("send at most {STARTUP_SETTINGS_MAX}, and SET the others");
        return Err(Refused::new(PROTOCOL, "too many settings in the first message", hint));
    }
    for (name, value) in wanted {
        settings.set(&name, Some(&value))?;
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Scope;

    fn settings(of: &[(&str, &str)]) -> Result<Settings, Refused> {
        startup_settings(&of.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
    }

    #[test]
    fn settings_come_with_the_first_message() {
        let options = "-c coalition.scope=local -ccoalition.budget=0.01 --coalition.intervals=on";
        let found =
            settings(&[("user", "lin"), ("database", "coalition"), ("options", options)]).unwrap();
        assert_eq!((found.scope, found.budget()), (Some(Scope::Local), Some(10_000_000_000)));
        assert!(found.intervals);
        let usual =
            [("client_encoding", "UTF8"), ("application_name", "psql"), ("DateStyle", "ISO")];
        assert!(settings(&usual).is_ok());
        for wrong in
            [("nonsense", "1"), ("options", "-c"), ("options", "x"), ("client_encoding", "GBK")]
        {
            assert!(settings(&[wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_first_message_is_as_long_as_it_says() {
        assert_eq!(initial(b"SCRAM\0\0\0\0\x03abc"), Some(("SCRAM", &b"abc"[..])));
        for wrong in [
            &b""[..],
            b"SCRAM",
            b"SCRAM\0",
            b"SCRAM\0\0\0\0",
            b"SCRAM\0\0\0\0\x04abc",
            b"SCRAM\0\0\0\0\x02abc",
            b"SCRAM\0\xff\xff\xff\xff",
            b"\xff\0\0\0\0\0",
        ] {
            assert_eq!(initial(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_user_has_so_many_connections_and_they_come_back() {
        let places = Places::default();
        let held: Vec<Place> = (0..OF_ONE_USER_MAX).map(|_| places.enter("lin").unwrap()).collect();
        assert_eq!(places.enter("lin").unwrap_err().state, TOO_MANY);
        assert!(places.enter("wu").is_ok());
        drop(held);
        assert!(places.0.lock().unwrap().is_empty());
    }
}
