//! The second factor of a user: enrolled by the user, confirmed by a first code, asked for at every
//! sign-in from then on.
//!
//! The secret lies in the users' file, which only the node's own user may read, in clear: the node must
//! compute with it. Recovery codes count once each and are kept as hashes. Which step's code was used
//! last is in memory: after a restart a code may be used again within its minute and a half.

use std::sync::PoisonError;
use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};

use super::totp::{self, Secret};
use super::{Auth, AuthError, Role, UsersError};

/// What is kept of a user's second factor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecondFactor {
    secret: Secret,
    /// Whether the user has shown a code of it; until then it is not asked for.
    confirmed: bool,
    /// Hashes of the recovery codes that are left.
    recovery: Vec<String>,
}

/// What a user needs to set up a program, shown once.
#[derive(Debug)]
pub struct SecondFactorSetup {
    /// The secret, as it is typed.
    pub secret: String,
    /// The same for a picture or a link.
    pub uri: String,
    /// Codes for whoever loses the program, each good for one sign-in.
    pub recovery_codes: Vec<String>,
}

/// What a given code did.
pub(super) enum Shown {
    /// No code is asked for.
    NotAsked,
    /// A code of this step.
    Code(u64),
    /// A recovery code, by its hash.
    Recovery(String),
}

impl SecondFactor {
    pub(super) const fn is_asked(&self) -> bool {
        self.confirmed
    }

    /// The secret's bytes, for a mark of it; which recovery codes are left is no other factor.
    pub(super) fn secret_bytes(&self) -> &[u8] {
        self.secret.bytes()
    }

    /// Whether a code opens, at a time and after the step that was used last.
    pub(super) fn check(&self, code: &str, now: u64, used: Option<u64>) -> Option<Shown> {
        if let Some(step) = self.secret.accept(code, now, used) {
            return Some(Shown::Code(step));
        }
        let hash = totp::recovery_hash(code);
        self.recovery.contains(&hash).then_some(Shown::Recovery(hash))
    }
}

pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Auth {
    /// Users with one of these roles may do nothing but set up a second factor until they have one.
    pub fn require_second_factor(&self, roles: &[Role]) {
        let mut required = self.0.required.write().unwrap_or_else(PoisonError::into_inner);
        *required = roles.to_vec();
    }

    pub(super) fn requires_second_factor(&self, roles: &[Role]) -> bool {
        let required = self.0.required.read().unwrap_or_else(PoisonError::into_inner);
        roles.iter().any(|role| required.contains(role))
    }

    /// Begins to set up a user's second factor, in place of one that was never confirmed.
    ///
    /// # Errors
    /// When there is no such user, one is in use already, or the file cannot be written.
    pub fn set_up_second_factor(&self, name: &str) -> Result<SecondFactorSetup, UsersError> {
        let random = SystemRandom::new();
        let made = Secret::generate(&random).zip(totp::recovery_codes(&random));
        let (secret, recovery_codes) = made.ok_or(UsersError::Random)?;
        let uri = secret.uri("Coalition", name);
        let setup = SecondFactorSetup { secret: secret.to_base32(), uri, recovery_codes };
        let recovery = setup.recovery_codes.iter().map(|code| totp::recovery_hash(code)).collect();
        self.change_user(name, |user| {
            if user.second_factor.as_ref().is_some_and(SecondFactor::is_asked) {
                return Err(UsersError::SecondFactorInUse);
            }
            user.second_factor = Some(SecondFactor { secret, confirmed: false, recovery });
            Ok(())
        })?;
        Ok(setup)
    }

    /// Takes a second factor into use, by a first code of it. The user's open sessions end.
    ///
    /// # Errors
    /// [`AuthError::CodeWrong`]; [`AuthError::Unavailable`] when the file cannot be written.
    pub fn confirm_second_factor(&self, name: &str, code: &str) -> Result<(), AuthError> {
        let mut step = None;
        let confirmed = self.change_user(name, |user| {
            let factor = user.second_factor.as_mut().ok_or(UsersError::NoSecondFactor)?;
            match factor.check(code, (self.0.unix_seconds)(), None) {
                Some(Shown::Code(used)) => step = Some(used),
                _ => return Err(UsersError::NoSecondFactor),
            }
            factor.confirmed = true;
            Ok(())
        });
        match confirmed {
            Ok(()) => {
                let mut sessions = self.sessions();
                if let Some(step) = step {
                    sessions.used_steps.insert(name.to_owned(), step);
                }
                sessions.by_token.retain(|_, kept| kept.session.user != name);
                Ok(())
            }
            Err(UsersError::NoSecondFactor | UsersError::Unknown) => Err(AuthError::CodeWrong),
            Err(_) => Err(AuthError::Unavailable),
        }
    }

    /// Takes a user's second factor away, for whoever has lost program and recovery codes.
    ///
    /// # Errors
    /// When there is no such user, or the file cannot be written.
    pub fn remove_second_factor(&self, name: &str) -> Result<(), UsersError> {
        self.change_user(name, |user| {
            user.second_factor = None;
            Ok(())
        })
    }

    /// Uses up what was shown, and says whether that was still possible.
    pub(super) fn use_up(&self, name: &str, shown: Shown) -> Result<(), AuthError> {
        match shown {
            Shown::NotAsked => Ok(()),
            Shown::Code(step) => {
                let mut sessions = self.sessions();
                let used = sessions.used_steps.entry(name.to_owned()).or_default();
                // two sign-ins with one code at once: the first has it
                if *used >= step {
                    return Err(AuthError::CodeWrong);
                }
                *used = step;
                Ok(())
            }
            Shown::Recovery(hash) => {
                let spent = self.change_user(name, |user| {
                    let factor = user.second_factor.as_mut().ok_or(UsersError::NoSecondFactor)?;
                    let before = factor.recovery.len();
                    factor.recovery.retain(|kept| *kept != hash);
                    let left = factor.recovery.len();
                    if left == before { Err(UsersError::NoSecondFactor) } else { Ok(()) }
                });
                match spent {
                    Ok(()) => Ok(()),
                    Err(UsersError::NoSecondFactor) => Err(AuthError::CodeWrong),
                    Err(_) => Err(AuthError::Unavailable),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;

    const PASSWORD: &str = "correct horse battery";

    fn code_of(setup: &SecondFactorSetup, step: i64) -> String {
        totp::tests_code(&setup.secret, step)
    }

    #[tokio::test]
    async fn a_second_factor_is_asked_for_once_it_was_confirmed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.json");
        let auth = Auth::open_stopped(&path).unwrap();
        auth.add_user("olga", &[Role::Officer], PASSWORD).unwrap();
        let setup = auth.set_up_second_factor("olga").unwrap();
        // not asked for before a first code was right
        let before = auth.sign_in("olga", PASSWORD).await.unwrap();
        assert_eq!(auth.confirm_second_factor("olga", "000000"), Err(AuthError::CodeWrong));
        auth.confirm_second_factor("olga", &code_of(&setup, -1)).unwrap();
        assert_eq!(auth.session(&before.token), Err(AuthError::TokenUnknown), "sessions end");
        assert!(matches!(auth.set_up_second_factor("olga"), Err(UsersError::SecondFactorInUse)));

        let sign_in = async |code: Option<&str>| {
            auth.sign_in_with("olga", PASSWORD, code).await.map(|_| ()).err()
        };
        assert_eq!(sign_in(None).await, Some(AuthError::CodeNeeded));
        assert_eq!(sign_in(Some("123")).await, Some(AuthError::CodeWrong));
        // the code that confirmed does not count again
        assert_eq!(sign_in(Some(&code_of(&setup, -1))).await, Some(AuthError::CodeWrong));
        let code = code_of(&setup, 0);
        assert_eq!(sign_in(Some(&code)).await, None);
        assert_eq!(sign_in(Some(&code)).await, Some(AuthError::CodeWrong));
        // a wrong password says nothing of codes
        let wrong = auth.sign_in_with("olga", "wrong horse battery", None).await.err();
        assert_eq!(wrong, Some(AuthError::LoginRefused));
    }

    #[tokio::test]
    async fn a_recovery_code_counts_once_also_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.json");
        let auth = Auth::open_stopped(&path).unwrap();
        auth.add_user("olga", &[Role::Officer], PASSWORD).unwrap();
        let setup = auth.set_up_second_factor("olga").unwrap();
        auth.confirm_second_factor("olga", &code_of(&setup, 0)).unwrap();
        let spare = setup.recovery_codes[3].clone();
        assert!(auth.sign_in_with("olga", PASSWORD, Some(&spare)).await.is_ok());
        let auth = Auth::open_stopped(&path).unwrap();
        let again = auth.sign_in_with("olga", PASSWORD, Some(&spare)).await.err();
        assert_eq!(again, Some(AuthError::CodeWrong));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(setup.recovery_codes.iter().all(|code| !text.contains(code)));
        auth.remove_second_factor("olga").unwrap();
        assert!(auth.sign_in("olga", PASSWORD).await.is_ok());
    }

    #[tokio::test]
    async fn the_mark_is_of_the_secret_and_not_of_what_is_left_of_its_recovery_codes() {
        let directory = tempfile::tempdir().unwrap();
        let auth = Auth::open_stopped(&directory.path().join("users.json")).unwrap();
        auth.add_user("olga", &[Role::Officer], PASSWORD).unwrap();
        let mark = || auth.standing().unwrap().remove(0).second_factor;
        let setup = auth.set_up_second_factor("olga").unwrap();
        assert_eq!(mark(), None, "it is not in use before its first code");
        auth.confirm_second_factor("olga", &code_of(&setup, 0)).unwrap();
        let first = mark().unwrap();
        assert!(!setup.secret.contains(&first) && first.len() < setup.secret.len());
        auth.sign_in_with("olga", PASSWORD, Some(&setup.recovery_codes[0])).await.unwrap();
        assert_eq!(mark().as_ref(), Some(&first));

        // taken away and set up anew between two looks
        auth.remove_second_factor("olga").unwrap();
        let other = auth.set_up_second_factor("olga").unwrap();
        auth.confirm_second_factor("olga", &code_of(&other, 0)).unwrap();
        assert!(mark().is_some_and(|mark| mark != first));
    }

    #[tokio::test]
    async fn whoever_must_have_one_may_only_set_it_up() {
        let directory = tempfile::tempdir().unwrap();
        let auth = Auth::open_stopped(&directory.path().join("users.json")).unwrap();
        auth.add_user("olga", &[Role::Officer], PASSWORD).unwrap();
        auth.add_user("ann", &[Role::Store], PASSWORD).unwrap();
        auth.require_second_factor(&[Role::Officer]);
        let token = auth.sign_in("olga", PASSWORD).await.unwrap().token;
        let session = auth.session(&token).unwrap();
        let refused = session.authorize::<perm::ReadClearings>().unwrap_err();
        assert_eq!(refused, AuthError::SecondFactorMissing);
        assert!(session.authorize::<perm::SetUpSecondFactor>().is_ok());
        assert!(session.authorize::<perm::EndSession>().is_ok());
        let ann = auth.sign_in("ann", PASSWORD).await.unwrap().token;
        assert!(auth.session(&ann).unwrap().authorize::<perm::ReadMembers>().is_ok());

        let setup = auth.set_up_second_factor("olga").unwrap();
        auth.confirm_second_factor("olga", &code_of(&setup, -1)).unwrap();
        let signed_in = auth.sign_in_with("olga", PASSWORD, Some(&code_of(&setup, 0))).await;
        let session = auth.session(&signed_in.unwrap().token).unwrap();
        assert!(session.authorize::<perm::ReadClearings>().is_ok());
    }
}
