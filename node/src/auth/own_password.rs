//! Passwords that somebody else has set are for one use: with one, a person sets an own one and does nothing else.
//!
//! What the node made for a new user, or in place of a password, has gone through other hands. It is marked in the
//! users' file until its user has set another. Programs (role `app`, client certificates, database passwords) are not
//! asked: nobody is there to choose.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Auth, AuthError, Role, UsersError, password};

/// Why the own password was not set.
#[derive(Debug, thiserror::Error)]
pub enum OwnPasswordError {
    /// The present password is not the user's, or cannot be checked now.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// It would be what it is.
    #[error("the new password is the present one")]
    Same,
    /// It has too few or too many bytes, or cannot be hashed.
    #[error(transparent)]
    Users(#[from] UsersError),
}

/// A password that may become a user's own, checked and hashed.
pub struct OwnPassword {
    name: String,
    /// The hash that it is to take the place of.
    present: String,
    hash: String,
}

impl std::fmt::Debug for OwnPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // hashes are nobody's to read
        f.debug_struct("OwnPassword").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Auth {
    /// Adds a user with a password for one use and writes the file. Blocks for the hash and the disk.
    ///
    /// # Errors
    /// See [`UsersError`]; nothing has then changed.
    pub fn add_user_for_one_use(
        &self,
        name: &str,
        roles: &[Role],
        password: &str,
    ) -> Result<(), UsersError> {
        self.change(|users| {
            users.add(name, roles, password)?;
            users.set_by_another(name)
        })
    }

    /// Gives a user another password, for one use, and writes the file. Blocks for the hash and the disk.
    ///
    /// # Errors
    /// See [`UsersError`]; nothing has then changed.
    pub fn set_password_for_one_use(&self, name: &str, password: &str) -> Result<(), UsersError> {
        self.change(|users| {
            users.set_password(name, password)?;
            users.set_by_another(name)
        })
    }

    /// Checks the present password, and one that the user wants in its place. A wrong present one counts as a failed
    /// sign-in; a code is not asked for, since the session in which it is done has shown one.
    ///
    /// # Errors
    /// See [`OwnPasswordError`].
    pub async fn check_own_password(
        &self,
        name: &str,
        present: &str,
        own: &str,
    ) -> Result<OwnPassword, OwnPasswordError> {
        // of somebody who is not there nothing can be guessed
        if self.users().iter().all(|(user, _)| user != name) {
            return Err(AuthError::LoginRefused.into());
        }
        let known = self.known(name, present).await?;
        // where codes are asked for too, the right password alone forgives nothing: who has it could guess them
        // without a wait
        if !known.asks_second_factor() {
            self.sessions().throttle.succeeded(name);
        }
        if present == own {
            return Err(OwnPasswordError::Same);
        }
        let own = Zeroizing::new(own.to_owned());
        // as much memory as a check, and as few at once
        let place = Arc::clone(&self.0.checks).acquire_owned().await;
        let place = place.map_err(|_| AuthError::Unavailable)?;
        let hash = move || {
            let _until_done = place;
            password::hash(&own)
        };
        let hash = tokio::task::spawn_blocking(hash).await;
        let hash = hash.map_err(|_| AuthError::Unavailable)?.map_err(UsersError::from)?;
        Ok(OwnPassword { name: name.to_owned(), present: known.password, hash })
    }

    /// Sets a password that was checked, and writes the file. The user's sessions end. Blocks for the disk.
    ///
    /// # Errors
    /// [`UsersError::Unknown`] when the user is not there any more or somebody else has set another password meanwhile;
    /// [`UsersError::File`] when the file cannot be written. Nothing has then changed.
    pub fn take_own_password(&self, own: OwnPassword) -> Result<(), UsersError> {
        let OwnPassword { name, present, hash } = own;
        self.change_user(&name, |user| {
            if user.password != present {
                return Err(UsersError::Unknown);
            }
            user.take_own_password(hash);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;

    const GIVEN: &str = "correct horse battery";
    const OWN: &str = "staple of my own choice";

    #[tokio::test]
    async fn a_password_of_somebody_else_lets_an_own_one_be_set_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.json");
        let auth = Auth::open_stopped(&path).unwrap();
        auth.add_user_for_one_use("ann", &[Role::Store], GIVEN).unwrap();
        // kept over a restart
        drop(auth);
        let auth = Auth::open_stopped(&path).unwrap();
        assert!(auth.people()[0].one_use_password);
        let token = auth.sign_in("ann", GIVEN).await.unwrap().token;
        let session = auth.session(&token).unwrap();
        let refused = session.authorize::<perm::ReadMembers>().unwrap_err();
        assert_eq!(refused, AuthError::PasswordOneUse);
        // a second factor would be whoever's the password went through
        let refused = session.authorize::<perm::SetUpSecondFactor>().unwrap_err();
        assert_eq!(refused, AuthError::PasswordOneUse);
        assert!(session.authorize::<perm::EndSession>().is_ok());
        assert!(session.authorize::<perm::SetOwnPassword>().is_ok());

        let same = auth.check_own_password("ann", GIVEN, GIVEN).await;
        assert!(matches!(same, Err(OwnPasswordError::Same)), "{same:?}");
        let short = auth.check_own_password("ann", GIVEN, "short").await;
        assert!(matches!(short, Err(OwnPasswordError::Users(UsersError::Password(_)))));
        let wrong = auth.check_own_password("ann", OWN, GIVEN).await;
        assert!(matches!(wrong, Err(OwnPasswordError::Auth(AuthError::LoginRefused))));
        assert!(auth.session(&token).is_ok() && auth.people()[0].one_use_password);

        let (once, twice) = (
            auth.check_own_password("ann", GIVEN, OWN).await.unwrap(),
            auth.check_own_password("ann", GIVEN, OWN).await.unwrap(),
        );
        auth.take_own_password(once).unwrap();
        // what was checked against a password that is no more sets nothing
        assert!(matches!(auth.take_own_password(twice), Err(UsersError::Unknown)));
        assert_eq!(auth.session(&token), Err(AuthError::TokenUnknown), "sessions end");
        assert!(!auth.people()[0].one_use_password);
        assert_eq!(auth.sign_in("ann", GIVEN).await.err(), Some(AuthError::LoginRefused));
        let token = auth.sign_in("ann", OWN).await.unwrap().token;
        assert!(auth.session(&token).unwrap().authorize::<perm::ReadMembers>().is_ok());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("one_use") && !text.contains(OWN), "{text}");

        auth.set_password_for_one_use("ann", GIVEN).unwrap();
        let token = auth.sign_in("ann", GIVEN).await.unwrap().token;
        let refused = auth.session(&token).unwrap().authorize::<perm::ReadMembers>();
        assert_eq!(refused.unwrap_err(), AuthError::PasswordOneUse);
    }

    #[tokio::test]
    async fn the_right_password_alone_lets_nobody_guess_codes_without_a_wait() {
        let directory = tempfile::tempdir().unwrap();
        let auth = Auth::open_stopped(&directory.path().join("users.json")).unwrap();
        auth.add_user("olga", &[Role::Officer], GIVEN).unwrap();
        let setup = auth.set_up_second_factor("olga").unwrap();
        auth.confirm_second_factor("olga", &totp::tests_code(&setup.secret, 0)).unwrap();
        for _ in 0..6 {
            let _ = auth.check_own_password("olga", GIVEN, GIVEN).await;
        }
        auth.sessions().throttle.put_off("olga", Duration::from_secs(600));
        let slowed = auth.confirm("olga", GIVEN, Some("000000")).await;
        assert!(matches!(slowed, Err(AuthError::LoginThrottled { .. })), "{slowed:?}");
    }

    #[tokio::test]
    async fn programs_and_files_of_before_are_not_asked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.json");
        let auth = Auth::open_stopped(&path).unwrap();
        auth.add_user_for_one_use("till", &[Role::Store, Role::App], GIVEN).unwrap();
        let token = auth.sign_in("till", GIVEN).await.unwrap().token;
        assert!(auth.session(&token).unwrap().authorize::<perm::ReadMembers>().is_ok());
        assert!(!auth.people()[0].one_use_password);
        // nor is a certificate a password
        auth.add_user_for_one_use("ann", &[Role::Store], GIVEN).unwrap();
        auth.add_certificate("ann", "CN=ann").unwrap();
        let session = auth.session_by_certificate(&["CN=ann".to_owned()]).unwrap();
        assert!(session.authorize::<perm::ReadMembers>().is_ok());

        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("\"one_use\": true,").count(), 2, "{text}");
        std::fs::write(&path, text.replace("\"one_use\": true,", "")).unwrap();
        let token = auth.sign_in("ann", GIVEN).await.unwrap().token;
        assert!(auth.session(&token).unwrap().authorize::<perm::ReadMembers>().is_ok());
        // a role beside it that only people have makes it somebody's
        auth.add_user_for_one_use("olga", &[Role::Officer, Role::App], GIVEN).unwrap();
        let token = auth.sign_in("olga", GIVEN).await.unwrap().token;
        let refused = auth.session(&token).unwrap().authorize::<perm::SendBatches>().err();
        assert_eq!(refused, Some(AuthError::PasswordOneUse));
    }
}
