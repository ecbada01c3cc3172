//! Sessions of members: the brand's own app or mini-program knows who its member is, and asks the node
//! for a token that opens that member's data and nothing else, for a quarter of an hour.
//!
//! A token stands for a card number; whoever holds it is the member. Only its hash is kept, in memory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::{Auth, AuthError, Authorized, TokenHash, perm, token_hash};

/// How long a member's session lasts, used or not.
pub const MEMBER_SESSION_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Most sessions of members at a time; beyond, the oldest end.
const SESSIONS_MAX: usize = 100_000;

/// A member who is signed in through the brand's app.
#[derive(Clone, PartialEq, Eq)]
pub struct MemberSession {
    card: Zeroizing<String>,
}

impl std::fmt::Debug for MemberSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemberSession(..)")
    }
}

impl MemberSession {
    /// The member's card number.
    #[must_use]
    pub fn card(&self) -> &str {
        &self.card
    }
}

/// A token for one member, given once.
pub struct MemberToken {
    /// The bearer token, 43 characters.
    pub token: Zeroizing<String>,
    /// When it ends, Unix milliseconds.
    pub expires_ms: u64,
}

#[derive(Default)]
pub(super) struct MemberSessions {
    by_token: BTreeMap<TokenHash, (MemberSession, Instant)>,
}

impl Auth {
    /// Begins a session for the member with a card, whom the caller's app has recognised.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] when the system gives no random numbers.
    pub fn begin_member_session(
        &self,
        _by: &Authorized<perm::BeginMemberSessions>,
        card: &str,
    ) -> Result<MemberToken, AuthError> {
        let mut random = Zeroizing::new([0_u8; 32]);
        SystemRandom::new().fill(random.as_mut_slice()).map_err(|_| AuthError::Unavailable)?;
        let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice()));
        let now = Instant::now();
        let session = MemberSession { card: Zeroizing::new(card.to_owned()) };
        let mut sessions = self.sessions();
        let kept = &mut sessions.members.by_token;
        if kept.len() >= SESSIONS_MAX {
            kept.retain(|_, (_, expires)| now < *expires);
        }
        if kept.len() >= SESSIONS_MAX {
            let oldest = kept.iter().min_by_key(|(_, (_, expires))| *expires);
            if let Some(oldest) = oldest.map(|(token, _)| *token) {
                kept.remove(&oldest);
            }
        }
        kept.insert(token_hash(&token), (session, now + MEMBER_SESSION_LIFETIME));
        let expires = SystemTime::now() + MEMBER_SESSION_LIFETIME;
        let expires = expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Ok(MemberToken { token, expires_ms: u64::try_from(expires).unwrap_or(u64::MAX) })
    }

    /// The member's session a token belongs to.
    ///
    /// # Errors
    /// [`AuthError::TokenUnknown`], [`AuthError::TokenExpired`].
    pub fn member_session(&self, token: &str) -> Result<MemberSession, AuthError> {
        self.member_session_at(token, Instant::now())
    }

    fn member_session_at(&self, token: &str, now: Instant) -> Result<MemberSession, AuthError> {
        let sessions = self.sessions();
        let kept = sessions.members.by_token.get(&token_hash(token));
        let (session, expires) = kept.ok_or(AuthError::TokenUnknown)?;
        if now >= *expires {
            return Err(AuthError::TokenExpired);
        }
        Ok(session.clone())
    }

    /// Ends every session of a member, as when the member was erased.
    pub fn end_member_sessions(&self, card: &str) {
        self.sessions().members.by_token.retain(|_, (session, _)| session.card() != card);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::*;

    #[test]
    fn a_members_token_opens_nothing_else_and_ends() {
        let directory = tempfile::tempdir().unwrap();
        let auth = Auth::open(&directory.path().join("users.json")).unwrap();
        let app = Authorized::check("mini-program", &[Role::App]).unwrap();
        let token = auth.begin_member_session(&app, "CARD-1").unwrap().token;
        let session = auth.member_session(&token).unwrap();
        assert_eq!(session.card(), "CARD-1");
        assert!(!format!("{session:?}").contains("CARD"));
        // it is no user's
        assert_eq!(auth.session(&token), Err(AuthError::TokenUnknown));
        let later = Instant::now() + MEMBER_SESSION_LIFETIME;
        assert_eq!(auth.member_session_at(&token, later), Err(AuthError::TokenExpired));
        auth.end_member_sessions("CARD-1");
        assert_eq!(auth.member_session(&token), Err(AuthError::TokenUnknown));
        // nor is a user's token a member's
        let user = auth.token_for(&Role::ALL);
        assert_eq!(auth.member_session(&user), Err(AuthError::TokenUnknown));
    }
}
