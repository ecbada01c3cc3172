//! Why a request is not let through, with what to do.

use super::{Role, SESSION_LIFETIME};

/// Why a request is not let through. Says nothing of which names exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No token came with the request.
    #[error("the request carries no session token")]
    TokenMissing,
    /// Not a token of this node's.
    #[error("the session token is not one of this node's, or was ended")]
    TokenUnknown,
    /// The session is over.
    #[error("the session has expired")]
    TokenExpired,
    /// Signed in, and not entitled.
    #[error("this needs the role {}", Names(.needed))]
    RoleMissing {
        /// Roles of which one is needed.
        needed: &'static [Role],
    },
    /// Wrong name or password.
    #[error("the name or the password is wrong")]
    LoginRefused,
    /// Too many failures under this name.
    #[error("too many failed sign-ins under this name")]
    LoginThrottled {
        /// When to try again.
        retry_seconds: u64,
    },
    /// Name and password are right, and the second factor is not there.
    #[error("this user signs in with a code of the second factor as well")]
    CodeNeeded,
    /// The code is wrong, too old or used.
    #[error("the code of the second factor is wrong, too old, or was used already")]
    CodeWrong,
    /// No code that was handed out to a member, or one that was used or is over.
    #[error("the code is wrong, was used already, or is over")]
    MemberCode,
    /// The connection's certificate is nobody's.
    #[error("no user of this node has the connection's client certificate on record")]
    CertificateUnknown,
    /// No authority vouches for the connection's certificate any more.
    #[error(
        "the connection's client certificate has ended, was revoked, or its authority is trusted no more"
    )]
    CertificateEnded,
    /// The user is a program, and the certificate is missing or another's.
    #[error(
        "this user is let in only over a connection with a client certificate that is on record for it"
    )]
    CertificateNeeded,
    /// The role needs a second factor that the user does not have yet.
    #[error("users with this role need a second factor")]
    SecondFactorMissing,
    /// Somebody else has set the password, and the user no own one yet.
    #[error(
        "this password was set by somebody else and is for one use: it only lets an own one be set"
    )]
    PasswordOneUse,
    /// The system gives no random numbers, or a thread was lost.
    #[error("this node cannot check a sign-in now")]
    Unavailable,
}

struct Names<'a>(&'a [Role]);

impl std::fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, role) in self.0.iter().enumerate() {
            let before = if position == 0 { "" } else { " or " };
            write!(f, "{before}{role}")?;
        }
        Ok(())
    }
}

impl AuthError {
    /// Stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TokenMissing => "token_missing",
            Self::TokenUnknown => "token_unknown",
            Self::TokenExpired => "token_expired",
            Self::RoleMissing { .. } => "role_missing",
            Self::LoginRefused => "login_refused",
            Self::LoginThrottled { .. } => "login_throttled",
            Self::CodeNeeded => "code_needed",
            Self::CodeWrong => "code_wrong",
            Self::MemberCode => "member_code_wrong",
            Self::CertificateUnknown => "client_certificate_unknown",
            Self::CertificateEnded => "client_certificate_ended",
            Self::CertificateNeeded => "client_certificate_needed",
            Self::SecondFactorMissing => "second_factor_missing",
            Self::PasswordOneUse => "password_one_use",
            Self::Unavailable => "login_unavailable",
        }
    }

    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::TokenMissing => {
                "sign in by POST /api/v1/sessions and send the token in the header \
                                   Authorization: Bearer TOKEN"
                    .to_owned()
            }
            Self::TokenUnknown => "sign in again by POST /api/v1/sessions; a restart of the node \
                                   ends all sessions"
                .to_owned(),
            Self::TokenExpired => format!(
                "sign in again by POST /api/v1/sessions; a session lasts {} minutes",
                SESSION_LIFETIME.as_secs() / 60
            ),
            Self::RoleMissing { needed } => {
                format!("sign in as a user with the role {}", Names(needed))
            }
            Self::LoginRefused => {
                "check both; an administrator of this node can add a user".to_owned()
            }
            Self::LoginThrottled { retry_seconds } => format!("wait {retry_seconds} s"),
            Self::CodeNeeded => {
                "send the six digits that the authenticator shows, or a recovery code, as code"
                    .to_owned()
            }
            Self::CodeWrong => {
                "wait for the next code; look whether the clocks of telephone and node agree"
                    .to_owned()
            }
            Self::MemberCode => {
                "ask for a new one, at the counter or in the brand's app".to_owned()
            }
            Self::CertificateUnknown => {
                "an administrator of the node's machine can put its name on record with \
                `coalition user certificate`; or sign in by POST /api/v1/sessions"
                    .to_owned()
            }
            Self::CertificateEnded => {
                "connect again with a certificate that an authority of this node vouches for"
                    .to_owned()
            }
            Self::CertificateNeeded => {
                "connect with that certificate; an administrator of the node's machine can \
                put one on record with `coalition user certificate`"
                    .to_owned()
            }
            Self::SecondFactorMissing => {
                "set one up by POST /api/v1/second-factor and confirm it, then sign in again"
                    .to_owned()
            }
            Self::PasswordOneUse => {
                "set an own one by POST /api/v1/password or on the page /password, then sign in again".to_owned()
            }
            Self::Unavailable => "try again in a moment".to_owned(),
        }
    }
}
