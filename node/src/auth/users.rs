//! The users' file: names, roles and password hashes, in JSON, readable by its owner alone.
//!
//! Written whole beside the old one, synced, then renamed over it: a crash leaves one or the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

use super::database::{DATABASE_PASSWORD_DAYS_MAX, DatabasePassword};
use super::second_factor::SecondFactor;
use super::{Role, password};
use crate::tls::{CERTIFICATE_NAME_MAX, is_certificate_name};

/// Most bytes of the file.
const FILE_MAX: u64 = 1 << 20;
/// Certificates of one user.
const CERTIFICATES_MAX: usize = 32;
/// Longest user name, in bytes.
pub const NAME_MAX: usize = 64;

/// Why users cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The operating system refused.
    #[error("{} cannot be {action}: check the disk and the rights on its directory", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Read or written.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The file is not one of ours.
    #[error("{} is not a users' file: {reason}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The name cannot be one.
    #[error("a user name has 1 to {NAME_MAX} of a-z, 0-9, '.', '_' and '-'")]
    Name,
    /// A user without a role could do nothing.
    #[error(
        "a user has at least one role of: administrator, partner, analyst, officer, store, app"
    )]
    NoRole,
    /// There is one of that name.
    #[error("there is a user of that name already")]
    Exists,
    /// There is nobody of that name.
    #[error("there is no user of that name")]
    Unknown,
    /// Somebody must be able to run the node.
    #[error("it is the last administrator: make another one first")]
    LastAdministrator,
    /// A second factor must be taken away before another is set up.
    #[error("the user has a second factor; an administrator of the machine can take it away first")]
    SecondFactorInUse,
    /// There is none, or the code is not of it.
    #[error("the user has no second factor with such a code")]
    NoSecondFactor,
    /// A database password holds for some days.
    #[error("a database password holds for 1 to {DATABASE_PASSWORD_DAYS_MAX} days")]
    Days,
    /// The text is no name of a certificate.
    #[error(
        "a certificate's name is its subject, as CN=till-7,O=Alpha, or dns: or uri: with a name of it, at most \
         {CERTIFICATE_NAME_MAX} bytes"
    )]
    CertificateName,
    /// A certificate is one user's.
    #[error("that certificate is another user's: take it off there first")]
    CertificateTaken,
    /// So many are enough.
    #[error("a user has at most {CERTIFICATES_MAX} certificates: take one off first")]
    CertificatesMax,
    /// It is not on record.
    #[error("the user has no certificate of that name")]
    NoCertificate,
    /// The system gives no random numbers.
    #[error("the system's random generator failed")]
    Random,
    /// The password will not do.
    #[error(transparent)]
    Password(#[from] password::PasswordError),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    pub(super) roles: Vec<Role>,
    /// Whether somebody else has set the password; a file of before this was kept says it of nobody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    one_use: bool,
    pub(super) password: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) second_factor: Option<SecondFactor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) database: Option<DatabasePassword>,
    /// Names of client certificates that are the user's.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) certificates: BTreeSet<String>,
}

impl User {
    /// Whether a second factor is asked for.
    pub(super) fn asks_second_factor(&self) -> bool {
        self.second_factor.as_ref().is_some_and(SecondFactor::is_asked)
    }

    /// Whether the password opens nothing but the setting of an own one. A program's is nobody's to choose: that of an
    /// app, or of a till, which is at the counter as well. With a role that only people have, `app` exempts nobody.
    pub(super) fn has_one_use_password(&self) -> bool {
        let of_programs = |role: &Role| matches!(role, Role::App | Role::Store);
        let is_program = self.roles.contains(&Role::App) && self.roles.iter().all(of_programs);
        self.one_use && !is_program
    }

    /// Gives the user a password that it has chosen, by its hash.
    pub(super) fn take_own_password(&mut self, hash: String) {
        self.password = hash;
        self.one_use = false;
    }
}

impl PartialEq for User {
    /// Whether a session of the one may go on as one of the other: a second factor counts once it is in
    /// use, and which recovery codes are left does not. The database password is another door, and a
    /// certificate is looked up with every request.
    fn eq(&self, other: &Self) -> bool {
        let of = |user: &Self| {
            let ways = (user.asks_second_factor(), user.one_use);
            (user.roles.clone(), user.password.clone(), ways)
        };
        of(self) == of(other)
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Users {
    version: u32,
    #[serde(default)]
    users: BTreeMap<String, User>,
    /// Of which salts are made for names that nobody has; drawn with the first database password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nobody: Option<String>,
}

impl Users {
    /// Reads a file; one that is not there has no users.
    pub(super) fn read(path: &Path) -> Result<Self, UsersError> {
        let malformed = |reason: String| UsersError::Malformed { path: path.to_owned(), reason };
        let failed = |source| UsersError::File { path: path.to_owned(), action: "read", source };
        let file = match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            file => file.map_err(failed)?,
        };
        let mut text = String::new();
        file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > FILE_MAX {
            return Err(malformed(format!("it has more than {FILE_MAX} bytes")));
        }
        // the parser's own message may quote what it found
        let read: Self = serde_json::from_str(&text).map_err(|error| {
            malformed(format!("line {} is not what a users' file has there", error.line()))
        })?;
        if read.version != 0 {
            return Err(malformed(format!("version {}, this node reads 0", read.version)));
        }
        for (name, user) in &read.users {
            let database = user.database.as_ref().is_none_or(DatabasePassword::is_one);
            let hash = password::is_hash(&user.password);
            let certificates = user.certificates.iter().all(|name| is_certificate_name(name));
            if !is_name(name) || user.roles.is_empty() || !hash || !database || !certificates {
                return Err(malformed(
                    "a user's name, roles or hash is not one: restore the file, or remove it \
                     and add the users again"
                        .to_owned(),
                ));
            }
        }
        Ok(read)
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), UsersError> {
        let failed = |source| UsersError::File { path: path.to_owned(), action: "written", source };
        let text =
            serde_json::to_string_pretty(self).map_err(|error| failed(io::Error::other(error)))?;
        let fresh = path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)
            .map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&fresh, path).map_err(failed)?;
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        fs::File::open(directory.unwrap_or(Path::new(".")))
            .and_then(|directory| directory.sync_all())
            .map_err(failed)
    }

    pub(super) fn add(
        &mut self,
        name: &str,
        roles: &[Role],
        password: &str,
    ) -> Result<(), UsersError> {
        if !is_name(name) {
            return Err(UsersError::Name);
        }
        if self.users.contains_key(name) {
            return Err(UsersError::Exists);
        }
        let roles = sorted(roles)?;
        let password = password::hash(password)?;
        let user = User {
            roles,
            password,
            one_use: false,
            second_factor: None,
            database: None,
            certificates: BTreeSet::new(),
        };
        self.users.insert(name.to_owned(), user);
        Ok(())
    }

    /// Takes a user out.
    pub(super) fn remove(&mut self, name: &str) -> Result<(), UsersError> {
        self.users.remove(name).ok_or(UsersError::Unknown)?;
        self.administered()
    }

    /// Gives a user other roles.
    pub(super) fn set_roles(&mut self, name: &str, roles: &[Role]) -> Result<(), UsersError> {
        let user = self.users.get_mut(name).ok_or(UsersError::Unknown)?;
        user.roles = sorted(roles)?;
        self.administered()
    }

    /// Gives a user another password.
    pub(super) fn set_password(&mut self, name: &str, password: &str) -> Result<(), UsersError> {
        let user = self.users.get_mut(name).ok_or(UsersError::Unknown)?;
        user.take_own_password(password::hash(password)?);
        Ok(())
    }

    /// Says of a user's password that somebody else has set it.
    pub(super) fn set_by_another(&mut self, name: &str) -> Result<(), UsersError> {
        self.users.get_mut(name).ok_or(UsersError::Unknown)?.one_use = true;
        Ok(())
    }

    /// Gives a user a database password; none takes it away.
    pub(super) fn set_database_password(
        &mut self,
        name: &str,
        database: Option<DatabasePassword>,
    ) -> Result<(), UsersError> {
        let user = self.users.get_mut(name).ok_or(UsersError::Unknown)?;
        if database.is_some() && self.nobody.is_none() {
            let mut secret = [0; 32];
            SystemRandom::new().fill(&mut secret).map_err(|_| UsersError::Random)?;
            self.nobody = Some(URL_SAFE_NO_PAD.encode(secret));
        }
        user.database = database;
        Ok(())
    }

    /// Puts a client certificate's name on record as a user's, or takes it off.
    pub(super) fn set_certificate(
        &mut self,
        name: &str,
        certificate: &str,
        on_record: bool,
    ) -> Result<(), UsersError> {
        if !is_certificate_name(certificate) {
            return Err(UsersError::CertificateName);
        }
        let of_another = |(other, user): (&String, &User)| {
            other != name && user.certificates.contains(certificate)
        };
        if on_record && self.users.iter().any(of_another) {
            return Err(UsersError::CertificateTaken);
        }
        let user = self.users.get_mut(name).ok_or(UsersError::Unknown)?;
        if !on_record {
            let was = user.certificates.remove(certificate);
            return if was { Ok(()) } else { Err(UsersError::NoCertificate) };
        }
        if user.certificates.len() >= CERTIFICATES_MAX {
            return Err(UsersError::CertificatesMax);
        }
        user.certificates.insert(certificate.to_owned());
        Ok(())
    }

    /// Whose certificate it is that has these names: nobody's when they are several users'.
    pub(super) fn of_certificate(&self, names: &[String]) -> Option<(&str, &User)> {
        let has = |user: &User| names.iter().any(|name| user.certificates.contains(name));
        let mut found = self.users.iter().filter(|(_, user)| has(user));
        let one = found.next()?;
        found.next().is_none().then_some((one.0.as_str(), one.1))
    }

    /// Of which salts are made for names that nobody has.
    pub(super) fn secret_of_nobody(&self) -> &[u8] {
        self.nobody.as_deref().unwrap_or_default().as_bytes()
    }

    fn administered(&self) -> Result<(), UsersError> {
        let mut users = self.users.values();
        if users.any(|user| user.roles.contains(&Role::Administrator)) {
            return Ok(());
        }
        Err(UsersError::LastAdministrator)
    }

    /// Everybody, by name.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &User)> {
        self.users.iter().map(|(name, user)| (name.as_str(), user))
    }

    /// Everybody's name and roles.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[Role])> {
        self.users.iter().map(|(name, user)| (name.as_str(), user.roles.as_slice()))
    }

    pub(super) fn user_mut(&mut self, name: &str) -> Option<&mut User> {
        self.users.get_mut(name)
    }

    pub(super) fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }
}

fn sorted(roles: &[Role]) -> Result<Vec<Role>, UsersError> {
    let mut roles = roles.to_vec();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { Err(UsersError::NoRole) } else { Ok(roles) }
}

/// Whether a text can be a user's name.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn users_are_read_back_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.json");
        let mut users = Users::read(&path).unwrap();
        users.add("ann", &[Role::Store, Role::Store], "twelve bytes or more").unwrap();
        users.write(&path).unwrap();

        let read = Users::read(&path).unwrap();
        assert_eq!(read.user("ann").unwrap().roles, [Role::Store]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!fs::read_to_string(&path).unwrap().contains("twelve"));
    }

    #[test]
    fn what_is_not_a_user_is_refused() {
        let mut users = Users::default();
        assert!(matches!(
            users.add("Ann", &[Role::Store], "long enough now"),
            Err(UsersError::Name)
        ));
        assert!(matches!(users.add("ann", &[], "long enough now"), Err(UsersError::NoRole)));
        assert!(matches!(users.add("ann", &[Role::Store], "x"), Err(UsersError::Password(_))));
        users.add("ann", &[Role::Store], "long enough now").unwrap();
        let again = users.add("ann", &[Role::Administrator], "another password");
        assert!(matches!(again, Err(UsersError::Exists)));
        assert_eq!(users.user("ann").unwrap().roles, [Role::Store]);
    }

    #[test]
    fn a_damaged_file_is_said_without_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.json");
        for damaged in [
            r#"{"version":1,"users":{}}"#,
            r#"{"version":0,"users":{"ann":{"roles":["root"],"password":"$argon2id$secret"}}}"#,
            r#"{"version":0,"users":{"ann":{"roles":["store"],"password":"secret"}}}"#,
            r#"{"version":0,"users":{"ann":{"roles":[],"password":"secret"}}}"#,
            "\0",
        ] {
            fs::write(&path, damaged).unwrap();
            let Err(error @ UsersError::Malformed { .. }) = Users::read(&path) else {
                panic!("{damaged:?} was read")
            };
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
