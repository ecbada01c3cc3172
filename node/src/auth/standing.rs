//! What the operation log tells of who may sign in: roles, and that a way in is another than before, never which.

use std::sync::PoisonError;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use super::users::User;
use super::{Auth, Role};

/// Bytes of a mark: enough to tell one way in from another, and too few to stand for it.
const MARK_BYTES: usize = 8;

/// A user as the operation log knows one. Of a way in there is a mark, which is another for another way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserStanding {
    /// The name.
    pub name: String,
    /// What the user may do.
    pub roles: Vec<Role>,
    /// Mark of the password; each time that one is set it is another, as its salt is.
    pub password: String,
    /// Whether somebody else has set that password, and it is for one use.
    pub one_use_password: bool,
    /// Mark of the second factor's secret, where a code of it is asked for.
    pub second_factor: Option<String>,
    /// Mark of the database password, where there is one.
    pub database_password: Option<String>,
    /// Names of client certificates on record, in their order.
    pub certificates: Vec<String>,
}

impl UserStanding {
    fn of(name: &str, user: &User) -> Self {
        // what cannot be encoded would be no database password at all; it was read from such a text
        let database = user.database.as_ref().and_then(|it| serde_json::to_vec(it).ok());
        let factor = user.second_factor.as_ref().filter(|factor| factor.is_asked());
        Self {
            name: name.to_owned(),
            roles: user.roles.clone(),
            password: mark(user.password.as_bytes()),
            one_use_password: user.has_one_use_password(),
            second_factor: factor.map(|factor| mark(factor.secret_bytes())),
            database_password: database.map(|bytes| mark(&bytes)),
            certificates: user.certificates.iter().cloned().collect(),
        }
    }
}

fn mark(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    URL_SAFE_NO_PAD.encode(hash.as_ref().get(..MARK_BYTES).unwrap_or_default())
}

impl Auth {
    /// Everybody who may sign in, by name; none while the users' file cannot be read.
    #[must_use]
    pub fn standing(&self) -> Option<Vec<UserStanding>> {
        self.refresh();
        let held = self.0.users.read().unwrap_or_else(PoisonError::into_inner);
        let users = held.1.as_ref()?;
        Some(users.all().map(|(name, user)| UserStanding::of(name, user)).collect())
    }
}
