//! Database passwords: how a program signs in over the PostgreSQL protocol for a user.
//!
//! A password of its own, made here and shown once, beside the user's own: what a BI tool keeps in its
//! settings must not open the console. Salted keys are kept, with a day on which they end. A second factor
//! is not asked for: a program has none; whoever may make such a password is at the node's machine.

use std::fmt;
use std::time::Instant;

use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::scram::{Exchange, SALT_BYTES, SCRAM, SCRAM_PLUS, ScramError, ScramKeys};
use super::second_factor::{SecondFactor, unix_seconds};
use super::users::User;
use super::{Auth, AuthError, NAME_MAX, Session, UsersError, password};

/// Longest life of a database password, in days.
pub const DATABASE_PASSWORD_DAYS_MAX: u16 = 366;
/// Bytes of the server's part of a nonce.
const NONCE_BYTES: usize = 18;

/// What is kept of a database password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DatabasePassword {
    keys: ScramKeys,
    /// Unix seconds from which it opens nothing.
    expires: u64,
}

impl DatabasePassword {
    pub(super) fn is_one(&self) -> bool {
        self.keys.are_keys()
    }

    fn holds(&self) -> bool {
        unix_seconds() < self.expires
    }

    /// Until when it opens something, Unix seconds; none once it is over.
    pub(super) fn opens_until(&self) -> Option<u64> {
        self.holds().then_some(self.expires)
    }
}

/// A database password as it is made, shown once.
pub struct MadeDatabasePassword {
    /// The password.
    pub password: Zeroizing<String>,
    /// When it ends, Unix seconds.
    pub expires: u64,
}

/// Without the password: who has it signs in.
impl fmt::Debug for MadeDatabasePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MadeDatabasePassword")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// A sign-in by a database password that is under way.
#[derive(Debug)]
pub struct DatabaseSignIn {
    name: String,
    exchange: Exchange,
    // none: nobody has this name, or no password that holds
    found: Option<DatabasePassword>,
}

/// Who signed in by a database password, and by which.
#[derive(Clone, Debug)]
pub struct DatabaseUser {
    name: String,
    by: DatabasePassword,
}

impl DatabaseUser {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Auth {
    /// Makes a user's database password, in place of one that is there, and writes the file.
    ///
    /// # Errors
    /// When there is no such user, the days are none or too many, or the file cannot be written.
    pub fn make_database_password(
        &self,
        name: &str,
        days: u16,
    ) -> Result<MadeDatabasePassword, UsersError> {
        if !(1..=DATABASE_PASSWORD_DAYS_MAX).contains(&days) {
            return Err(UsersError::Days);
        }
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).map_err(|_| UsersError::Random)?;
        let password = password::generate()?;
        let keys = ScramKeys::of(&password, &salt);
        let expires = unix_seconds().saturating_add(u64::from(days) * 86_400);
        let made = DatabasePassword { keys, expires };
        self.change(|users| users.set_database_password(name, Some(made)))?;
        Ok(MadeDatabasePassword { password, expires })
    }

    /// Takes a user's database password away; what is signed in by it ends with its next statement.
    ///
    /// # Errors
    /// When there is no such user, or the file cannot be written.
    pub fn remove_database_password(&self, name: &str) -> Result<(), UsersError> {
        self.change(|users| users.set_database_password(name, None))
    }

    /// Begins a sign-in by a database password: takes the client's first message of SCRAM, gives the
    /// server's. A name that nobody has gets one too, always the same for it, which no proof fits.
    ///
    /// # Errors
    /// [`ScramError`]; the generator's failure is [`ScramError::Malformed`].
    pub fn begin_database_sign_in(
        &self,
        name: &str,
        mechanism: &str,
        client_first: &[u8],
        certificate: &[u8],
    ) -> Result<(DatabaseSignIn, String), ScramError> {
        let found = if name.len() > NAME_MAX { None } else { self.database_password(name) };
        let keys = match &found {
            Some(password) => password.keys.clone(),
            None => ScramKeys::of_nobody(&self.salt_of_nobody(name)),
        };
        let mut random = [0; NONCE_BYTES];
        SystemRandom::new().fill(&mut random).map_err(|_| ScramError::Malformed)?;
        let (exchange, first) =
            Exchange::begin(keys, mechanism, client_first, certificate, &random)?;
        Ok((DatabaseSignIn { name: name.to_owned(), exchange, found }, first))
    }

    /// Checks the client's proof; gives who it is and the server's last message. Wrong proofs are counted
    /// as failed sign-ins are, in a count of their own: a program with an old password must not keep its
    /// user out of the console.
    ///
    /// # Errors
    /// [`AuthError::LoginRefused`], [`AuthError::LoginThrottled`].
    pub fn finish_database_sign_in(
        &self,
        sign_in: DatabaseSignIn,
        client_final: &[u8],
    ) -> Result<(DatabaseUser, String), AuthError> {
        let DatabaseSignIn { name, exchange, found } = sign_in;
        // a name is cut, so that what is remembered of it is bounded
        let counted: String = name.chars().take(NAME_MAX).collect();
        let begun = self.sessions().database_throttle.begin(&counted, Instant::now());
        begun.map_err(super::throttled)?;
        let last = exchange.finish(client_final).map_err(|_| AuthError::LoginRefused)?;
        let by = found.ok_or(AuthError::LoginRefused)?;
        self.sessions().database_throttle.succeeded(&counted);
        Ok((DatabaseUser { name, by }, last))
    }

    /// What a user who signed in by a database password may do now: asked for with every statement.
    ///
    /// # Errors
    /// [`AuthError::TokenExpired`] when the password has ended, was replaced or taken away, or the user is
    /// gone.
    pub fn database_session(&self, user: &DatabaseUser) -> Result<Session, AuthError> {
        let present = self.user(&user.name).ok_or(AuthError::TokenExpired)?;
        let holds = present.database.as_ref() == Some(&user.by) && user.by.holds();
        if !holds {
            return Err(AuthError::TokenExpired);
        }
        let asked = present.second_factor.as_ref().is_some_and(SecondFactor::is_asked);
        let lacks_second_factor = !asked && self.requires_second_factor(&present.roles);
        Ok(Session {
            user: user.name.clone(),
            roles: present.roles,
            // it has a password of its own
            has_one_use_password: false,
            lacks_second_factor,
        })
    }

    /// The mechanisms a client may choose from, the better one first.
    #[must_use]
    pub fn database_mechanisms() -> [&'static str; 2] {
        [SCRAM_PLUS, SCRAM]
    }

    fn user(&self, name: &str) -> Option<User> {
        self.refresh();
        let users = self.0.users.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        users.1.as_ref().and_then(|users| users.user(name).cloned())
    }

    fn database_password(&self, name: &str) -> Option<DatabasePassword> {
        self.user(name)?.database.filter(DatabasePassword::holds)
    }

    /// The salt under which nobody of this name has a password: always the same, and of a secret, so that
    /// it looks like one that was drawn.
    fn salt_of_nobody(&self, name: &str) -> [u8; SALT_BYTES] {
        let users = self.0.users.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let secret = users.1.as_ref().map_or(&[][..], |users| users.secret_of_nobody());
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let tag = hmac::sign(&key, name.as_bytes());
        let mut salt = [0; SALT_BYTES];
        salt.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        salt
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Role, perm};
    use super::*;

    fn auth() -> (tempfile::TempDir, Auth) {
        let directory = tempfile::tempdir().unwrap();
        let auth = Auth::open(&directory.path().join("users.json")).unwrap();
        auth.add_user("lin", &[Role::Analyst], "correct horse battery").unwrap();
        auth.add_user("ops", &[Role::Administrator], "correct horse battery").unwrap();
        (directory, auth)
    }

    fn first(auth: &Auth, name: &str) -> String {
        let begun = auth.begin_database_sign_in(name, SCRAM, b"n,,n=,r=abc", b"");
        let first = begun.unwrap().1;
        // the salt and what follows it
        first.split_once(",s=").unwrap().1.to_owned()
    }

    #[test]
    fn the_password_is_shown_once_and_is_in_no_file() {
        let (directory, auth) = auth();
        let made = auth.make_database_password("lin", 30).unwrap();
        let kept = std::fs::read_to_string(directory.path().join("users.json")).unwrap();
        assert_eq!(made.password.len(), 24);
        assert!(!kept.contains(made.password.as_str()) && kept.contains("stored_key"));
        assert!(!format!("{made:?}").contains(made.password.as_str()));
        assert!(made.expires > unix_seconds() + 29 * 86_400);
        for days in [0, DATABASE_PASSWORD_DAYS_MAX + 1] {
            assert!(matches!(auth.make_database_password("lin", days), Err(UsersError::Days)));
        }
        assert!(matches!(auth.make_database_password("nobody", 1), Err(UsersError::Unknown)));
    }

    #[test]
    fn names_cannot_be_probed_by_their_salts() {
        let (directory, auth) = auth();
        auth.make_database_password("lin", 30).unwrap();
        let (lin, nobody, ops) = (first(&auth, "lin"), first(&auth, "nobody"), first(&auth, "ops"));
        assert!(lin != nobody && nobody != ops && lin.len() == nobody.len());
        // always the same, after a restart too, as a salt that was drawn is
        let auth = Auth::open(&directory.path().join("users.json")).unwrap();
        assert_eq!(
            [first(&auth, "lin"), first(&auth, "nobody"), first(&auth, "ops")],
            [lin, nobody, ops]
        );
    }

    #[test]
    fn wrong_proofs_lock_the_name_out_and_not_its_user() {
        let (_directory, auth) = auth();
        for name in ["lin", "nobody"] {
            for attempt in 0..6 {
                let begun = auth.begin_database_sign_in(name, SCRAM, b"n,,n=,r=abc", b"").unwrap();
                let refused = auth.finish_database_sign_in(begun.0, b"c=biws,r=abc,p=AAAA");
                match attempt {
                    5 => assert!(matches!(refused, Err(AuthError::LoginThrottled { .. }))),
                    _ => assert_eq!(refused.err(), Some(AuthError::LoginRefused)),
                }
            }
        }
        assert_eq!(auth.throttled("lin", Instant::now()), Ok(()));
    }

    #[test]
    fn what_is_changed_ends_what_is_signed_in() {
        let (_directory, auth) = auth();
        auth.make_database_password("lin", 30).unwrap();
        let user = |auth: &Auth| DatabaseUser {
            name: "lin".to_owned(),
            by: auth.database_password("lin").unwrap(),
        };
        let lin = user(&auth);
        let may = |lin: &DatabaseUser| auth.database_session(lin)?.authorize::<perm::RunQueries>();
        assert!(may(&lin).is_ok());
        auth.set_roles("lin", &[Role::Store]).unwrap();
        assert!(matches!(may(&lin), Err(AuthError::RoleMissing { .. })));
        auth.set_roles("lin", &[Role::Analyst]).unwrap();
        assert!(may(&lin).is_ok());
        auth.require_second_factor(&[Role::Analyst]);
        assert_eq!(may(&lin).err(), Some(AuthError::SecondFactorMissing));
        auth.require_second_factor(&[]);
        auth.make_database_password("lin", 30).unwrap();
        assert_eq!(may(&lin).err(), Some(AuthError::TokenExpired), "another password");
        let lin = user(&auth);
        auth.remove_database_password("lin").unwrap();
        assert_eq!(may(&lin).err(), Some(AuthError::TokenExpired));
        let ended = DatabasePassword { expires: unix_seconds(), ..lin.by.clone() };
        assert!(!ended.holds());
        auth.remove_user("lin").unwrap();
        assert_eq!(may(&lin).err(), Some(AuthError::TokenExpired));
    }
}
