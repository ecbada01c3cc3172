//! Refusals as PostgreSQL's clients know them: a SQLSTATE, a message, a hint.
//!
//! Standard states where one fits; the class PB is this node's, for what privacy refuses. None depends on
//! data.

use pgwire::error::{ErrorInfo, PgWireError};

use crate::auth::AuthError;
use crate::service::ServiceError;

/// A question that spends needs a budget that covers it.
pub const UNCONFIRMED: &str = "PB001";
/// The brand's or the analyst's account of the year does not cover it.
pub const EXHAUSTED: &str = "PB002";
/// Privacy, the contract or the brand's policy does not allow it.
pub const REFUSED: &str = "PB003";
/// Brands that were needed took no part, or not in time.
pub const MISSING: &str = "PB004";

/// Standard states that are used.
pub const SYNTAX: &str = "42601";
pub const NO_TABLE: &str = "42P01";
pub const NO_COLUMN: &str = "42703";
pub const NO_FUNCTION: &str = "42883";
pub const UNSUPPORTED: &str = "0A000";
pub const INVALID_VALUE: &str = "22023";
pub const TOO_COMPLEX: &str = "54000";
pub const LIMIT: &str = "53400";
pub const PROTOCOL: &str = "08P01";
pub const NOT_LET_IN: &str = "28000";
pub const WRONG_PASSWORD: &str = "28P01";
pub const TOO_MANY: &str = "53300";
pub const CANCELLED: &str = "57014";
pub const SHUTDOWN: &str = "57P01";
pub const NO_DATABASE: &str = "3D000";
pub const NO_PRIVILEGE: &str = "42501";
pub const ABORTED: &str = "25P02";
pub const NO_SETTING: &str = "42704";
pub const AGAIN: &str = "40001";
pub const NOT_READY: &str = "55000";
pub const INTERNAL: &str = "XX000";

/// Why a statement or a connection is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// SQLSTATE.
    pub state: &'static str,
    /// What was wrong.
    pub message: String,
    /// What would be right.
    pub hint: String,
    /// Whether the connection ends.
    pub fatal: bool,
}

impl Refused {
    /// Of one statement.
    pub fn new(state: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { state, message: message.into(), hint: hint.into(), fatal: false }
    }

    /// The same, and the connection ends.
    #[must_use]
    pub fn fatal(self) -> Self {
        Self { fatal: true, ..self }
    }

    /// As it is sent.
    #[must_use]
    pub fn info(self) -> ErrorInfo {
        let severity = if self.fatal { "FATAL" } else { "ERROR" };
        let mut info = ErrorInfo::new(severity.to_owned(), self.state.to_owned(), self.message);
        info.severity_nonlocalized = Some(severity.to_owned());
        info.hint = Some(self.hint).filter(|hint| !hint.is_empty());
        info
    }
}

impl From<Refused> for PgWireError {
    fn from(refused: Refused) -> Self {
        Self::UserError(Box::new(refused.info()))
    }
}

impl From<ServiceError> for Refused {
    fn from(error: ServiceError) -> Self {
        let ServiceError { code, message, remedy, .. } = error;
        let state = match code {
            "syntax" => SYNTAX,
            "unknown" if message.starts_with("there is no table") => NO_TABLE,
            "unknown" if message.starts_with("the function") => NO_FUNCTION,
            "unknown" => NO_COLUMN,
            "unsupported" | "cannot_stand" => UNSUPPORTED,
            "outside_domain" => INVALID_VALUE,
            "too_complex" => TOO_COMPLEX,
            "over_budget" => EXHAUSTED,
            "too_many_open" => LIMIT,
            "cost_unconfirmed" => UNCONFIRMED,
            "participants" | "suspended" => MISSING,
            "unbounded" | "too_few_carriers" | "too_many_cells" | "purpose" | "cost"
            | "overflow" | "against_policy" | "no_account" | "no_pack" | "not_kept_here"
            | "set_tells_apart" => REFUSED,
            "no_clean_room" | "own_log_unknown" => NOT_READY,
            "plan_changed" => AGAIN,
            "node_stopped" => SHUTDOWN,
            _ => INTERNAL,
        };
        Self::new(state, message, remedy)
    }
}

impl From<AuthError> for Refused {
    fn from(error: AuthError) -> Self {
        let message = error.to_string();
        match error {
            AuthError::LoginRefused => Self::new(
                WRONG_PASSWORD,
                "the user name or the database password is wrong, or the password has ended",
                "this door has a password of its own: `coalition user database-password`",
            ),
            AuthError::LoginThrottled { .. } => Self::new(NOT_LET_IN, message, error.remedy()),
            AuthError::RoleMissing { .. } => Self::new(NO_PRIVILEGE, message, error.remedy()),
            AuthError::SecondFactorMissing => Self::new(NOT_LET_IN, message, error.remedy()),
            _ => Self::new(
                NOT_LET_IN,
                "the database password has ended, was changed or taken away",
                "make another one with `coalition user database-password`, and connect again",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::ErrorKind;

    #[test]
    fn every_refusal_has_its_state_and_a_hint() {
        for (code, message, state) in [
            ("syntax", "this is not SQL", "42601"),
            ("unknown", "there is no table \"x\"", "42P01"),
            ("unknown", "there is no column \"x\" here", "42703"),
            ("over_budget", "", "PB002"),
            ("against_policy", "", "PB003"),
            ("suspended", "", "PB004"),
            ("cost_unconfirmed", "", "PB001"),
            ("internal", "", "XX000"),
        ] {
            let error = ServiceError::new(ErrorKind::Refused, code, message, "do this");
            let info = Refused::from(error).info();
            assert_eq!((info.code.as_str(), info.hint.as_deref()), (state, Some("do this")));
            assert_eq!(info.severity, "ERROR");
        }
        let info = Refused::from(AuthError::LoginRefused).fatal().info();
        assert_eq!((info.code.as_str(), info.severity.as_str()), ("28P01", "FATAL"));
    }
}
