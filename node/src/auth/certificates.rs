//! Programs that come with a client certificate: which user a certificate is.
//!
//! Knows names of certificates, as authorities wrote them; whether one still vouches is [`crate::tls`]'s to say. A
//! certificate is a user's from the moment it is put on record to the moment it is taken off: there is no session that
//! could outlive it. It shows that a program has a key and shows no second factor, so roles that need one stay closed.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use super::users::{Users, UsersError};
use super::{Auth, AuthError, Role, Session};

impl Auth {
    /// Puts a client certificate's name on record as a user's, and writes the file.
    ///
    /// # Errors
    /// See [`UsersError`]; nothing has then changed.
    pub fn add_certificate(&self, name: &str, certificate: &str) -> Result<(), UsersError> {
        self.change(|users| users.set_certificate(name, certificate, true))
    }

    /// Takes a client certificate's name off a user, and writes the file.
    ///
    /// # Errors
    /// See [`UsersError`]; nothing has then changed.
    pub fn remove_certificate(&self, name: &str, certificate: &str) -> Result<(), UsersError> {
        self.change(|users| users.set_certificate(name, certificate, false))
    }

    /// Everybody's certificates on record, by name of the user.
    #[must_use]
    pub fn certificates(&self) -> Vec<(String, BTreeSet<String>)> {
        self.refresh();
        let users = self.0.users.read().unwrap_or_else(PoisonError::into_inner);
        let users = users.1.iter().flat_map(Users::all);
        users.map(|(name, user)| (name.to_owned(), user.certificates.clone())).collect()
    }

    /// What a request is that has a certificate with these names and no token.
    ///
    /// # Errors
    /// [`AuthError::CertificateUnknown`], also when the names are of several users.
    pub fn session_by_certificate(&self, names: &[String]) -> Result<Session, AuthError> {
        self.refresh();
        let users = self.0.users.read().unwrap_or_else(PoisonError::into_inner);
        let found = users.1.as_ref().and_then(|users| users.of_certificate(names));
        let (name, user) = found.ok_or(AuthError::CertificateUnknown)?;
        Ok(Session {
            user: name.to_owned(),
            roles: user.roles.clone(),
            // the certificate was shown in its place
            has_one_use_password: false,
            lacks_second_factor: self.requires_second_factor(&user.roles),
        })
    }

    /// Whether a user is a program that has to come with a certificate where programs have to.
    #[must_use]
    pub fn is_program(&self, session: &Session) -> bool {
        let users = self.0.users.read().unwrap_or_else(PoisonError::into_inner);
        let user = users.1.as_ref().and_then(|users| users.user(session.user()));
        session.roles().contains(&Role::App)
            || user.is_some_and(|user| !user.certificates.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::perm;

    const PASSWORD: &str = "correct horse battery";

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_certificate_is_one_users_as_long_as_it_is_on_record() {
        let directory = tempfile::tempdir().unwrap();
        let auth = Auth::open(&directory.path().join("users.json")).unwrap();
        auth.add_user("till", &[Role::Store, Role::App], PASSWORD).unwrap();
        auth.add_user("erp", &[Role::Partner], PASSWORD).unwrap();
        let (till, dns) = ("CN=till-7,O=Alpha", "dns:till-7.alpha.example");
        auth.add_certificate("till", till).unwrap();
        auth.add_certificate("till", dns).unwrap();
        let of = |wanted: &[&str]| auth.session_by_certificate(&names(wanted));
        assert_eq!(of(&["CN=other", dns]).unwrap().user(), "till");
        assert!(of(&[till]).unwrap().authorize::<perm::ReadMembers>().is_ok());
        // an exact name, not a part of one
        assert_eq!(of(&["CN=till-7"]), Err(AuthError::CertificateUnknown));
        assert_eq!(of(&[]), Err(AuthError::CertificateUnknown));

        // one user's, and names of two users are nobody's
        assert!(matches!(auth.add_certificate("erp", till), Err(UsersError::CertificateTaken)));
        assert!(matches!(auth.add_certificate("erp", "erp"), Err(UsersError::CertificateName)));
        assert!(matches!(auth.add_certificate("bob", "CN=x"), Err(UsersError::Unknown)));
        auth.add_certificate("erp", "CN=erp").unwrap();
        assert_eq!(of(&["CN=erp", till]), Err(AuthError::CertificateUnknown));
        assert!(auth.is_program(&of(&["CN=erp"]).unwrap()));

        // another process reads the same
        let other = Auth::open(&directory.path().join("users.json")).unwrap();
        other.remove_certificate("till", till).unwrap();
        assert_eq!(of(&[till]), Err(AuthError::CertificateUnknown));
        let gone = other.remove_certificate("till", till);
        assert!(matches!(gone, Err(UsersError::NoCertificate)));
    }

    #[test]
    fn a_certificate_is_no_second_factor() {
        let directory = tempfile::tempdir().unwrap();
        let auth = Auth::open(&directory.path().join("users.json")).unwrap();
        auth.add_user("erp", &[Role::Partner], PASSWORD).unwrap();
        auth.add_certificate("erp", "CN=erp").unwrap();
        auth.require_second_factor(&[Role::Partner]);
        let session = auth.session_by_certificate(&names(&["CN=erp"])).unwrap();
        let refused = session.authorize::<perm::CloseCycle>().err();
        assert_eq!(refused, Some(AuthError::SecondFactorMissing));
    }
}
