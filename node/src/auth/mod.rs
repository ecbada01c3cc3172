//! Who asks, and what they may do: users, passwords, sessions, and [`Authorized`] tokens that only a
//! check can mint.
//!
//! Knows names, roles and hashes (in a file of the node's), sessions (in memory: a restart ends them
//! all). Of a session's token only the SHA-256 is kept; looking that up does not help to guess a
//! token by its timing, since 32 random bytes stand behind it. Does not route and does not know HTTP.
//!
//! The file is looked at with every request: what `coalition user` changes holds at once, and ends the
//! sessions of whom it changes. A file that cannot be read lets nobody in.
//!
//! Not here: sessions that outlive a restart, limits by caller and network address (`http::rates`).

mod certificates;
mod database;
mod error;
mod fields;
mod members;
mod own_password;
mod password;
mod role;
mod scram;
mod second_factor;
mod standing;
mod throttle;
mod totp;
mod users;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use database::DatabasePassword;
pub use database::{
    DATABASE_PASSWORD_DAYS_MAX, DatabaseSignIn, DatabaseUser, MadeDatabasePassword,
};
pub use error::AuthError;
pub use fields::{MemberField, Sight};
pub use members::{
    MEMBER_CODE_LIFETIME, MEMBER_SESSION_LIFETIME, MemberCode, MemberSession, MemberToken,
};
pub use own_password::{OwnPassword, OwnPasswordError};
pub use password::{PASSWORD_MAX, PASSWORD_MIN, PasswordError, generate as generate_password};
pub use role::{Authorized, InvalidRole, Permission, Role, perm};
pub use scram::ScramError;
pub use second_factor::SecondFactorSetup;
use second_factor::Shown;
pub use standing::UserStanding;
use throttle::Throttle;
#[cfg(test)]
pub(crate) use totp::tests_code;
pub use users::{NAME_MAX, UsersError, is_name as is_user_name};
use users::{User, Users};

/// How long a session lasts, used or not.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// How long an ended session is remembered, so that its owner is told that it expired.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// Most sessions of one user; a further one ends the oldest.
const SESSIONS_OF_USER_MAX: usize = 32;
/// Sign-ins being checked at once, each with 19 MiB for Argon2.
const CHECKS_AT_ONCE: usize = 2;

/// Somebody signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    user: String,
    roles: Vec<Role>,
    // somebody else has set the password that it began with
    has_one_use_password: bool,
    // has a role that needs a second factor, and none
    lacks_second_factor: bool,
}

impl Session {
    /// Whose session.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The user's roles.
    #[must_use]
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// The proof that this user may do `P`.
    ///
    /// # Errors
    /// [`AuthError::RoleMissing`], [`AuthError::PasswordOneUse`], [`AuthError::SecondFactorMissing`].
    pub fn authorize<P: Permission>(&self) -> Result<Authorized<P>, AuthError> {
        let authorized = Authorized::check(&self.user, &self.roles)
            .ok_or(AuthError::RoleMissing { needed: P::ROLES })?;
        if self.has_one_use_password && !P::BEFORE_OWN_PASSWORD {
            return Err(AuthError::PasswordOneUse);
        }
        if self.lacks_second_factor && !P::BEFORE_SECOND_FACTOR {
            return Err(AuthError::SecondFactorMissing);
        }
        Ok(authorized)
    }
}

/// Who a request is counted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A user.
    User {
        /// The name.
        name: String,
        /// Whether it is a program: a user with the role `app`.
        machine: bool,
    },
    /// A member.
    Member {
        /// The session: its `Debug` does not show the card.
        session: MemberSession,
    },
}

/// What a sign-in gives: the token, once.
pub struct SignedIn {
    /// The bearer token, 43 characters.
    pub token: Zeroizing<String>,
    /// When the session ends, Unix milliseconds.
    pub expires_ms: u64,
    /// The user's roles.
    pub roles: Vec<Role>,
}

/// Somebody who may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The roles.
    pub roles: Vec<Role>,
    /// Whether a second factor is asked for.
    pub second_factor: bool,
    /// Whether one of the roles may do nothing without one.
    pub must_have_one: bool,
    /// Whether the password was set by somebody else, and only lets an own one be set.
    pub one_use_password: bool,
    /// How many sessions are open.
    pub sessions: usize,
    /// How many client certificates are on record.
    pub certificates: usize,
    /// Until when a database password opens the clean room to SQL clients, Unix seconds.
    pub database_until: Option<u64>,
}

struct Kept {
    session: Session,
    expires: Instant,
}

type TokenHash = [u8; 32];

#[derive(Default)]
struct Sessions {
    by_token: BTreeMap<TokenHash, Kept>,
    throttle: Throttle,
    database_throttle: Throttle,
    // the last step of each user whose code was used
    used_steps: BTreeMap<String, u64>,
    members: members::MemberSessions,
}

/// The users of a node and their sessions. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

/// What tells that a file is another than the one that was read.
type Version = Option<(SystemTime, u64, u64)>;

/// The users as they are while this is held.
type HeldUsers<'a> = RwLockReadGuard<'a, (Version, Option<Users>)>;

struct Inner {
    path: PathBuf,
    // None: it could not be read
    users: RwLock<(Version, Option<Users>)>,
    sessions: Mutex<Sessions>,
    // roles that need a second factor
    required: RwLock<Vec<Role>>,
    checks: Arc<tokio::sync::Semaphore>,
    // the clock of one-time codes; tests stop it
    unix_seconds: fn() -> u64,
}

impl Auth {
    /// Opens the users' file; one that is not there has no users.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(path: &Path) -> Result<Self, UsersError> {
        Self::open_with_clock(path, second_factor::unix_seconds)
    }

    /// Opens it with a clock that stands still, for which [`tests_code`] makes codes: between two steps
    /// of the true one, what is a code at one line of a test is none at the next.
    #[cfg(test)]
    pub(crate) fn open_stopped(path: &Path) -> Result<Self, UsersError> {
        Self::open_with_clock(path, || totp::TESTS_NOW)
    }

    fn open_with_clock(path: &Path, unix_seconds: fn() -> u64) -> Result<Self, UsersError> {
        let version = version(path);
        let users = Users::read(path)?;
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            users: RwLock::new((version, Some(users))),
            sessions: Mutex::default(),
            required: RwLock::default(),
            checks: Arc::new(tokio::sync::Semaphore::new(CHECKS_AT_ONCE)),
            unix_seconds,
        })))
    }

    /// Adds a user with a password of its own choice and writes the file. Blocks for the hash and the disk.
    ///
    /// # Errors
    /// See [`UsersError`]; nothing has then changed.
    pub fn add_user(&self, name: &str, roles: &[Role], password: &str) -> Result<(), UsersError> {
        self.change(|users| users.add(name, roles, password))
    }

    /// Takes a user out and writes the file.
    ///
    /// # Errors
    /// See [`UsersError`]; nothing has then changed.
    pub fn remove_user(&self, name: &str) -> Result<(), UsersError> {
        self.change(|users| users.remove(name))
    }

    /// Gives a user other roles and writes the file.
    ///
    /// # Errors
    /// See [`UsersError`]; nothing has then changed.
    pub fn set_roles(&self, name: &str, roles: &[Role]) -> Result<(), UsersError> {
        self.change(|users| users.set_roles(name, roles))
    }

    /// Gives a user another password of its own choice and writes the file. Blocks for the hash and the disk.
    ///
    /// # Errors
    /// See [`UsersError`]; nothing has then changed.
    pub fn set_password(&self, name: &str, password: &str) -> Result<(), UsersError> {
        self.change(|users| users.set_password(name, password))
    }

    /// Everybody's name and roles, by name.
    #[must_use]
    pub fn users(&self) -> Vec<(String, Vec<Role>)> {
        self.refresh();
        let users = self.0.users.read().unwrap_or_else(PoisonError::into_inner);
        let users = users.1.iter().flat_map(Users::iter);
        users.map(|(name, roles)| (name.to_owned(), roles.to_vec())).collect()
    }

    /// Everybody who may sign in, by name, with how.
    #[must_use]
    pub fn people(&self) -> Vec<Person> {
        self.refresh();
        let users = self.0.users.read().unwrap_or_else(PoisonError::into_inner);
        let sessions = self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let open = |name: &str| {
            let now = Instant::now();
            let theirs = sessions.by_token.values();
            theirs.filter(|kept| kept.session.user == name && kept.expires > now).count()
        };
        let users = users.1.iter().flat_map(Users::all);
        users
            .map(|(name, user)| Person {
                name: name.to_owned(),
                roles: user.roles.clone(),
                second_factor: user.asks_second_factor(),
                must_have_one: self.requires_second_factor(&user.roles),
                one_use_password: user.has_one_use_password(),
                sessions: open(name),
                certificates: user.certificates.len(),
                database_until: user.database.as_ref().and_then(DatabasePassword::opens_until),
            })
            .collect()
    }

    /// Ends a user's sessions, and says how many there were. What the user may do does not change: with the password
    /// another one begins.
    pub fn end_sessions_of(&self, name: &str) -> usize {
        let mut sessions = self.sessions();
        let before = sessions.by_token.len();
        sessions.by_token.retain(|_, kept| kept.session.user != name);
        before - sessions.by_token.len()
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Users) -> Result<(), UsersError>,
    ) -> Result<(), UsersError> {
        let mut held = self.0.users.write().unwrap_or_else(PoisonError::into_inner);
        // from the file: another process may have changed it
        let mut changed = Users::read(&self.0.path)?;
        change(&mut changed)?;
        changed.write(&self.0.path)?;
        // against what sessions began under: what another process has changed is in the file alone
        self.end_sessions(held.1.as_ref(), Some(&changed));
        *held = (version(&self.0.path), Some(changed));
        Ok(())
    }

    /// Reads the file again when it is another than the one that was read.
    fn refresh(&self) {
        let now = version(&self.0.path);
        if self.0.users.read().unwrap_or_else(PoisonError::into_inner).0 == now {
            return;
        }
        let mut held = self.0.users.write().unwrap_or_else(PoisonError::into_inner);
        let users = Users::read(&self.0.path)
            .inspect_err(|_| tracing::error!("the users' file cannot be read: nobody is let in"))
            .ok();
        self.end_sessions(held.1.as_ref(), users.as_ref());
        *held = (now, users);
    }

    /// Ends the sessions of those who are gone or not what they were.
    fn end_sessions(&self, before: Option<&Users>, after: Option<&Users>) {
        self.sessions().by_token.retain(|_, kept| {
            let of =
                |users: Option<&Users>| users.and_then(|it| it.user(&kept.session.user).cloned());
            let was = of(before);
            was.is_some() && was == of(after)
        });
    }

    fn change_user(
        &self,
        name: &str,
        change: impl FnOnce(&mut User) -> Result<(), UsersError>,
    ) -> Result<(), UsersError> {
        self.change(|users| change(users.user_mut(name).ok_or(UsersError::Unknown)?))
    }

    /// Checks a password of a user without a second factor and begins a session.
    ///
    /// # Errors
    /// As [`Self::sign_in_with`].
    pub async fn sign_in(&self, name: &str, password: &str) -> Result<SignedIn, AuthError> {
        self.sign_in_with(name, password, None).await
    }

    /// Checks a password, and the code of the second factor where there is one, and begins a session.
    ///
    /// # Errors
    /// [`AuthError::LoginRefused`], [`AuthError::LoginThrottled`], [`AuthError::CodeNeeded`],
    /// [`AuthError::CodeWrong`], [`AuthError::Unavailable`].
    pub async fn sign_in_with(
        &self,
        name: &str,
        password: &str,
        code: Option<&str>,
    ) -> Result<SignedIn, AuthError> {
        let (session, user) = self.checked(name, password, code).await?;
        self.begin_unchanged(session, &user)
    }

    /// Begins a session of somebody who is still what was checked: whose password was taken away while it was checked
    /// would come in by the old one, after all other sessions have ended.
    fn begin_unchanged(&self, session: Session, checked: &User) -> Result<SignedIn, AuthError> {
        // held until the session is there, so that the next change ends it
        let _users = self.unchanged(&session.user, checked)?;
        self.begin(session, Instant::now())
    }

    /// The users, if this one is among them still what was checked; whoever holds them keeps them so.
    fn unchanged(&self, name: &str, checked: &User) -> Result<HeldUsers<'_>, AuthError> {
        let users = self.0.users.read().unwrap_or_else(PoisonError::into_inner);
        let present = users.1.as_ref().and_then(|users| users.user(name));
        if present == Some(checked) { Ok(users) } else { Err(AuthError::LoginRefused) }
    }

    /// Checks once more, before a weighty act, that it is the user who asks: the password, and a code of the second
    /// factor where there is one. Counts as a sign-in for whoever guesses; begins no session. Refused too when the
    /// password or the second factor was taken away while it was checked.
    ///
    /// # Errors
    /// As [`Self::sign_in_with`].
    pub async fn confirm(
        &self,
        name: &str,
        password: &str,
        code: Option<&str>,
    ) -> Result<(), AuthError> {
        let (session, user) = self.checked(name, password, code).await?;
        // no session is there that the next look at the file would end: what another process has taken away meanwhile
        // is seen now or never
        self.refresh();
        let _users = self.unchanged(&session.user, &user)?;
        self.sessions().throttle.succeeded(&session.user);
        Ok(())
    }

    /// Checks a password alone; who guesses is slowed down.
    async fn known(&self, name: &str, password: &str) -> Result<User, AuthError> {
        if name.len() > NAME_MAX {
            return Err(AuthError::LoginRefused);
        }
        self.refresh();
        // in this order, so that a flood under one name does not take the places of others
        self.throttled(name, Instant::now())?;
        let place = Arc::clone(&self.0.checks).acquire_owned().await;
        let place = place.map_err(|_| AuthError::Unavailable)?;

        let (inner, name) = (Arc::clone(&self.0), name.to_owned());
        let password = Zeroizing::new(password.to_owned());
        let check = move || {
            let _until_done = place; // also when nobody waits for the answer any more
            let users = inner.users.read().unwrap_or_else(PoisonError::into_inner);
            let user = users.1.as_ref().and_then(|users| users.user(&name).cloned());
            drop(users);
            let hash = user.as_ref().map(|user| user.password.as_str());
            let right = password::verify(&password, hash);
            user.filter(|_| right)
        };
        let user = tokio::task::spawn_blocking(check).await;
        user.map_err(|_| AuthError::Unavailable)?.ok_or(AuthError::LoginRefused)
    }

    /// Checks a password, and the code where there is a second factor, which is then used up.
    async fn checked(
        &self,
        name: &str,
        password: &str,
        code: Option<&str>,
    ) -> Result<(Session, User), AuthError> {
        let user = self.known(name, password).await?;
        let asked = user.second_factor.as_ref().filter(|factor| factor.is_asked());
        let shown = match (asked, code) {
            (None, _) => Shown::NotAsked,
            (Some(_), None) => return Err(AuthError::CodeNeeded),
            (Some(factor), Some(code)) => {
                let used = self.sessions().used_steps.get(name).copied();
                let shown = factor.check(code, (self.0.unix_seconds)(), used);
                shown.ok_or(AuthError::CodeWrong)?
            }
        };
        let lacks_second_factor = asked.is_none() && self.requires_second_factor(&user.roles);
        self.use_up(name, shown)?;
        let has_one_use_password = user.has_one_use_password();
        let (name, roles) = (name.to_owned(), user.roles.clone());
        let session = Session { user: name, roles, has_one_use_password, lacks_second_factor };
        Ok((session, user))
    }

    fn throttled(&self, name: &str, now: Instant) -> Result<(), AuthError> {
        self.sessions().throttle.begin(name, now).map_err(throttled)
    }

    fn begin(&self, session: Session, now: Instant) -> Result<SignedIn, AuthError> {
        let mut random = Zeroizing::new([0_u8; 32]);
        SystemRandom::new().fill(random.as_mut_slice()).map_err(|_| AuthError::Unavailable)?;
        let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice()));
        let roles = session.roles.clone();

        let mut sessions = self.sessions();
        sessions.throttle.succeeded(&session.user);
        sessions.by_token.retain(|_, kept| now < kept.expires + REMEMBERED);
        let mut own: Vec<(Instant, TokenHash)> = sessions
            .by_token
            .iter()
            .filter(|(_, kept)| kept.session.user == session.user)
            .map(|(token, kept)| (kept.expires, *token))
            .collect();
        own.sort_unstable();
        let surplus = (own.len() + 1).saturating_sub(SESSIONS_OF_USER_MAX);
        for (_, oldest) in own.iter().take(surplus) {
            sessions.by_token.remove(oldest);
        }
        let kept = Kept { session, expires: now + SESSION_LIFETIME };
        sessions.by_token.insert(token_hash(&token), kept);

        let expires = SystemTime::now() + SESSION_LIFETIME;
        let expires = expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let expires_ms = u64::try_from(expires).unwrap_or(u64::MAX);
        Ok(SignedIn { token, expires_ms, roles })
    }

    /// The session a token belongs to.
    ///
    /// # Errors
    /// [`AuthError::TokenUnknown`], [`AuthError::TokenExpired`].
    pub fn session(&self, token: &str) -> Result<Session, AuthError> {
        self.refresh();
        self.session_at(token, Instant::now())
    }

    fn session_at(&self, token: &str, now: Instant) -> Result<Session, AuthError> {
        let sessions = self.sessions();
        let kept = sessions.by_token.get(&token_hash(token)).ok_or(AuthError::TokenUnknown)?;
        if now >= kept.expires {
            return Err(AuthError::TokenExpired);
        }
        Ok(kept.session.clone())
    }

    /// Whose token it is, if a session of it goes on: for counting, not for letting in. The users' file is not
    /// looked at.
    #[must_use]
    pub fn caller(&self, token: &str) -> Option<Caller> {
        let now = Instant::now();
        if let Ok(Session { user, roles, .. }) = self.session_at(token, now) {
            return Some(Caller::User { name: user, machine: roles.contains(&Role::App) });
        }
        self.member_session(token).ok().map(|session| Caller::Member { session })
    }

    /// Ends a session; one that is not there is ended already.
    pub fn sign_out(&self, token: &str) {
        self.sessions().by_token.remove(&token_hash(token));
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // every change of it is whole before the lock is let go
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As if all sessions had begun so much earlier.
    #[cfg(test)]
    pub(crate) fn age_sessions(&self, by: Duration) {
        for kept in self.sessions().by_token.values_mut() {
            kept.expires -= by;
        }
    }

    /// A session without a password check, for tests of what comes after it.
    #[cfg(test)]
    pub(crate) fn token_for(&self, roles: &[Role]) -> String {
        let roles = roles.to_vec();
        let session = Session {
            user: "test".to_owned(),
            roles,
            has_one_use_password: false,
            lacks_second_factor: false,
        };
        self.begin(session, Instant::now()).unwrap().token.to_string()
    }
}

const fn throttled(wait: Duration) -> AuthError {
    AuthError::LoginThrottled { retry_seconds: wait.as_secs() + (wait.subsec_nanos() > 0) as u64 }
}

fn version(path: &Path) -> Version {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len(), found.ino()))
}

fn token_hash(token: &str) -> TokenHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth() -> (tempfile::TempDir, Auth) {
        let directory = tempfile::tempdir().unwrap();
        let auth = Auth::open_stopped(&directory.path().join("users.json")).unwrap();
        auth.add_user("ann", &[Role::Store], "correct horse battery").unwrap();
        (directory, auth)
    }

    #[tokio::test]
    async fn a_password_gives_a_session_that_ends() {
        let (_directory, auth) = auth();
        let signed_in = auth.sign_in("ann", "correct horse battery").await.unwrap();
        assert_eq!(signed_in.token.len(), 43);
        let session = auth.session(&signed_in.token).unwrap();
        assert_eq!((session.user(), session.roles()), ("ann", [Role::Store].as_slice()));
        assert!(session.authorize::<perm::ExchangePoints>().is_ok());
        let needed = perm::RunQueries::ROLES;
        let refused = session.authorize::<perm::RunQueries>().unwrap_err();
        assert_eq!(refused, AuthError::RoleMissing { needed });

        let end = Instant::now() + SESSION_LIFETIME;
        assert_eq!(auth.session_at(&signed_in.token, end), Err(AuthError::TokenExpired));
        auth.sign_out(&signed_in.token);
        assert_eq!(auth.session(&signed_in.token), Err(AuthError::TokenUnknown));
    }

    #[tokio::test]
    async fn wrong_passwords_and_names_look_alike_and_are_slowed_down() {
        let (_directory, auth) = auth();
        for name in ["ann", "nobody"] {
            for _ in 0..5 {
                let refused = auth.sign_in(name, "wrong horse battery").await.err();
                assert_eq!(refused, Some(AuthError::LoginRefused));
            }
            auth.sessions().throttle.put_off(name, Duration::from_secs(600));
            let refused = auth.sign_in(name, "correct horse battery").await.err();
            assert!(matches!(refused, Some(AuthError::LoginThrottled { retry_seconds: 1.. })));
        }
    }

    #[tokio::test]
    async fn a_confirmation_takes_password_and_code_and_begins_no_session() {
        let (_directory, auth) = auth();
        auth.confirm("ann", "correct horse battery", None).await.unwrap();
        let wrong = auth.confirm("ann", "wrong horse battery", None).await;
        assert_eq!(wrong, Err(AuthError::LoginRefused));
        assert_eq!(auth.people()[0].sessions, 0);
        let setup = auth.set_up_second_factor("ann").unwrap();
        let code = |step| totp::tests_code(&setup.secret, step);
        auth.confirm_second_factor("ann", &code(-1)).unwrap();
        let without = auth.confirm("ann", "correct horse battery", None).await;
        assert_eq!(without, Err(AuthError::CodeNeeded));
        let once = code(0);
        auth.confirm("ann", "correct horse battery", Some(&once)).await.unwrap();
        let again = auth.confirm("ann", "correct horse battery", Some(&once)).await;
        assert_eq!(again, Err(AuthError::CodeWrong), "a code counts once, whatever for");
        // who guesses is slowed down as at the sign-in
        for _ in 0..6 {
            let _ = auth.confirm("ann", "wrong horse battery", None).await;
        }
        auth.sessions().throttle.put_off("ann", Duration::from_secs(600));
        let slowed = auth.sign_in("ann", "correct horse battery").await.err();
        assert!(matches!(slowed, Some(AuthError::LoginThrottled { .. })));
    }

    #[tokio::test]
    async fn users_stay_when_the_node_restarts_and_sessions_do_not() {
        let (directory, auth) = auth();
        let token = auth.sign_in("ann", "correct horse battery").await.unwrap().token;
        drop(auth);
        let auth = Auth::open(&directory.path().join("users.json")).unwrap();
        assert_eq!(auth.session(&token), Err(AuthError::TokenUnknown));
        assert!(auth.sign_in("ann", "correct horse battery").await.is_ok());
    }

    #[tokio::test]
    async fn a_change_of_the_file_holds_at_once_and_ends_sessions() {
        let (directory, auth) = auth();
        let path = directory.path().join("users.json");
        let password = "correct horse battery";
        auth.add_user("root", &[Role::Administrator], password).unwrap();
        let mut tokens = Vec::new();
        for name in ["ann", "root"] {
            tokens.push(auth.sign_in(name, password).await.unwrap().token);
        }
        // as another process does it
        let other = Auth::open(&path).unwrap();
        other.set_roles("ann", &[Role::Officer]).unwrap();
        assert_eq!(auth.session(&tokens[0]), Err(AuthError::TokenUnknown));
        assert!(auth.session(&tokens[1]).is_ok(), "the other user's goes on");
        assert_eq!(auth.sign_in("ann", password).await.unwrap().roles, [Role::Officer]);

        let last = other.remove_user("root");
        assert!(matches!(last, Err(UsersError::LastAdministrator)));
        assert!(matches!(
            other.set_roles("root", &[Role::Store]),
            Err(UsersError::LastAdministrator)
        ));
        assert!(matches!(other.remove_user("bob"), Err(UsersError::Unknown)));
        other.set_password("root", "another horse battery").unwrap();
        assert_eq!(auth.session(&tokens[1]), Err(AuthError::TokenUnknown));
        assert_eq!(auth.sign_in("root", password).await.err(), Some(AuthError::LoginRefused));
        other.remove_user("ann").unwrap();
        assert_eq!(auth.users(), [("root".to_owned(), vec![Role::Administrator])]);

        std::fs::write(&path, "damaged").unwrap();
        let refused = auth.sign_in("root", "another horse battery").await.err();
        assert_eq!(refused, Some(AuthError::LoginRefused), "fails closed");
    }

    #[tokio::test]
    async fn no_session_is_left_of_a_password_that_was_taken_away_meanwhile() {
        let (directory, auth) = auth();
        let password = "correct horse battery";
        auth.add_user("bob", &[Role::Store], password).unwrap();
        // while it is checked
        let (session, user) = auth.checked("ann", password, None).await.unwrap();
        auth.set_password_for_one_use("ann", "another horse battery").unwrap();
        let refused = auth.begin_unchanged(session, &user).err();
        assert_eq!(refused, Some(AuthError::LoginRefused));
        // by another process, and the next that this one does is a change of somebody else
        let token = auth.sign_in("ann", "another horse battery").await.unwrap().token;
        let other = Auth::open(&directory.path().join("users.json")).unwrap();
        other.set_password("ann", password).unwrap();
        auth.set_password("bob", "another horse battery").unwrap();
        assert_eq!(auth.session(&token), Err(AuthError::TokenUnknown));
        assert!(auth.sign_in("ann", password).await.is_ok());
    }

    type Deed = Box<dyn FnOnce() + Send>;

    /// What happens at the next look at the clock: behind the password's check, and before it is said what came of it.
    static MEANWHILE: Mutex<Option<Deed>> = Mutex::new(None);

    fn clock_with_deeds() -> u64 {
        let deed = MEANWHILE.lock().unwrap().take();
        if let Some(deed) = deed {
            deed();
        }
        totp::TESTS_NOW
    }

    /// Fails when a confirmation goes by what the user was when the check of the password began.
    #[tokio::test]
    async fn nobody_is_confirmed_by_what_was_taken_away_while_it_was_checked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.json");
        let auth = Auth::open_with_clock(&path, clock_with_deeds).unwrap();
        let (password, given) = ("correct horse battery", "another horse battery");
        auth.add_user("ann", &[Role::Officer], password).unwrap();
        let setup = auth.set_up_second_factor("ann").unwrap();
        let code = |step| totp::tests_code(&setup.secret, step);
        auth.confirm_second_factor("ann", &code(-1)).unwrap();
        let confirm = async |deed: Deed, step| {
            *MEANWHILE.lock().unwrap() = Some(deed);
            let confirmed = auth.confirm("ann", password, Some(&code(step))).await;
            assert!(MEANWHILE.lock().unwrap().is_none());
            confirmed
        };
        let by = auth.clone();
        let reset = move || by.set_password_for_one_use("ann", given).unwrap();
        assert_eq!(confirm(Box::new(reset), 0).await, Err(AuthError::LoginRefused));
        auth.set_password("ann", password).unwrap();
        // that a recovery code is used up is no change
        auth.confirm("ann", password, Some(&setup.recovery_codes[0])).await.unwrap();
        // by another process
        let by = Auth::open_stopped(&path).unwrap();
        let taken_away = move || by.remove_second_factor("ann").unwrap();
        assert_eq!(confirm(Box::new(taken_away), 1).await, Err(AuthError::LoginRefused));
        auth.confirm("ann", password, None).await.unwrap();
    }

    #[tokio::test]
    async fn an_administrator_ends_one_users_sessions_and_no_others() {
        let (_directory, auth) = auth();
        let password = "correct horse battery";
        auth.add_user("bob", &[Role::Store], password).unwrap();
        let mut tokens = Vec::new();
        for name in ["ann", "ann", "bob"] {
            tokens.push(auth.sign_in(name, password).await.unwrap().token);
        }
        auth.make_database_password("ann", 30).unwrap();
        auth.add_certificate("bob", "CN=bob").unwrap();
        let people = auth.people();
        let seen = |it: &Person| (it.sessions, it.certificates, it.database_until.is_some());
        assert_eq!(people.iter().map(seen).collect::<Vec<_>>(), [(2, 0, true), (1, 1, false)]);
        assert_eq!(auth.end_sessions_of("ann"), 2);
        assert_eq!(auth.session(&tokens[0]), Err(AuthError::TokenUnknown));
        assert!(auth.session(&tokens[2]).is_ok());
        assert_eq!(auth.end_sessions_of("nobody"), 0);
    }

    #[test]
    fn sessions_of_one_user_are_bounded_and_others_stay() {
        let (_directory, auth) = auth();
        let start = Instant::now();
        let session = |user: &str| Session {
            user: user.to_owned(),
            roles: vec![Role::Store],
            has_one_use_password: false,
            lacks_second_factor: false,
        };
        let other = auth.begin(session("bob"), start).unwrap().token;
        let tokens: Vec<_> = (0..=SESSIONS_OF_USER_MAX as u64)
            .map(|s| auth.begin(session("ann"), start + Duration::from_secs(s)).unwrap().token)
            .collect();
        assert_eq!(auth.session(&tokens[0]), Err(AuthError::TokenUnknown), "the oldest ended");
        assert!(auth.session(&tokens[1]).is_ok());
        assert!(auth.session(&other).is_ok());
    }
}
