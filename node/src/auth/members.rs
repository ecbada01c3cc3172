//! Sessions of members: the brand's own app or mini-program knows who its member is, and asks the node
//! for a token that opens that member's data and nothing else, for a quarter of an hour. Or staff who has the
//! member before them hands out a code, which begins such a session once, within ten minutes.
//!
//! A token or a code stands for a card number; whoever holds it is the member. Only its hash is kept, in
//! memory.
//!
//! A second step is a code of its own: the brand's app sends it to the member by a way that is the member's, such as a
//! message to the telephone, and the member tells it at the counter or types it on the own page. Staff makes none.

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

/// How long a code that was handed out can be used.
pub const MEMBER_CODE_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// Most codes that can be used at a time; beyond, the oldest end.
const CODES_MAX: usize = 100_000;
/// Crockford's base 32: no I, L, O, U.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Digits of a code: 60 bits.
const CODE_DIGITS: usize = 12;

/// A member who is signed in through the brand's app or by a code.
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

/// A code for one member, given once.
pub struct MemberCode {
    /// The code, as in `7QZ4-M3KD-0X9V`.
    pub code: Zeroizing<String>,
    /// Until when it can be used, Unix milliseconds.
    pub expires_ms: u64,
}

#[derive(Default)]
pub(super) struct MemberSessions {
    by_token: BTreeMap<TokenHash, (MemberSession, Instant)>,
    by_code: BTreeMap<TokenHash, (MemberSession, Instant)>,
    second_steps: BTreeMap<TokenHash, (MemberSession, Instant)>,
}

/// Makes room for one more: what is over leaves, else the oldest.
fn make_room(kept: &mut BTreeMap<TokenHash, (MemberSession, Instant)>, most: usize, now: Instant) {
    if kept.len() >= most {
        kept.retain(|_, (_, expires)| now < *expires);
    }
    if kept.len() >= most {
        let oldest = kept.iter().min_by_key(|(_, (_, expires))| *expires);
        if let Some(oldest) = oldest.map(|(token, _)| *token) {
            kept.remove(&oldest);
        }
    }
}

fn unix_ms(after: Duration) -> u64 {
    let at = (SystemTime::now() + after).duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

/// A code as people type one, without what does not matter.
fn plain_code(text: &str) -> Zeroizing<String> {
    let digits = text.chars().filter(|digit| !digit.is_whitespace() && *digit != '-');
    let digits = digits.map(|digit| match digit.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    });
    Zeroizing::new(digits.take(CODE_DIGITS + 1).collect())
}

/// The digits of a new code.
fn fresh_digits() -> Result<Zeroizing<String>, AuthError> {
    let mut random = Zeroizing::new([0_u8; CODE_DIGITS]);
    SystemRandom::new().fill(random.as_mut_slice()).map_err(|_| AuthError::Unavailable)?;
    // 32 digits divide 256: each is as likely as another
    let digits = random.iter().filter_map(|byte| DIGITS.get(usize::from(byte % 32)));
    Ok(Zeroizing::new(digits.map(|it| char::from(*it)).collect()))
}

/// Keeps a code of a member's, in place of an earlier one.
fn keep(kept: &mut BTreeMap<TokenHash, (MemberSession, Instant)>, digits: &str, card: &str) {
    let now = Instant::now();
    let session = MemberSession { card: Zeroizing::new(card.to_owned()) };
    kept.retain(|_, (other, _)| *other != session);
    make_room(kept, CODES_MAX, now);
    kept.insert(token_hash(digits), (session, now + MEMBER_CODE_LIFETIME));
}

/// A code as people read it.
fn shown(digits: &str) -> MemberCode {
    let mut code = Zeroizing::new(String::with_capacity(CODE_DIGITS + 2));
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && place % 4 == 0 {
            code.push('-');
        }
        code.push(digit);
    }
    MemberCode { code, expires_ms: unix_ms(MEMBER_CODE_LIFETIME) }
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
        self.begin_for(MemberSession { card: Zeroizing::new(card.to_owned()) })
    }

    fn begin_for(&self, session: MemberSession) -> Result<MemberToken, AuthError> {
        let mut random = Zeroizing::new([0_u8; 32]);
        SystemRandom::new().fill(random.as_mut_slice()).map_err(|_| AuthError::Unavailable)?;
        let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice()));
        let now = Instant::now();
        let mut sessions = self.sessions();
        let kept = &mut sessions.members.by_token;
        make_room(kept, SESSIONS_MAX, now);
        kept.insert(token_hash(&token), (session, now + MEMBER_SESSION_LIFETIME));
        Ok(MemberToken { token, expires_ms: unix_ms(MEMBER_SESSION_LIFETIME) })
    }

    /// Makes a code with which the member with a card begins a session, once; an earlier one of the same
    /// member can be used no more.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] when the system gives no random numbers.
    pub fn hand_out_member_code(
        &self,
        _by: &Authorized<perm::HandOutMemberCodes>,
        card: &str,
    ) -> Result<MemberCode, AuthError> {
        let digits = fresh_digits()?;
        keep(&mut self.sessions().members.by_code, &digits, card);
        Ok(shown(&digits))
    }

    /// Makes a code with which the member with a card takes a second step, once: for the brand's app alone, which sends it
    /// to the member. An earlier one of the same member can be used no more.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] when the system gives no random numbers.
    pub fn hand_out_second_step(
        &self,
        _by: &Authorized<perm::BeginMemberSessions>,
        card: &str,
    ) -> Result<MemberCode, AuthError> {
        let digits = fresh_digits()?;
        keep(&mut self.sessions().members.second_steps, &digits, card);
        Ok(shown(&digits))
    }

    /// Takes a member's second step: the code is used up.
    ///
    /// # Errors
    /// [`AuthError::MemberCode`] when it is none of this member's, or no longer.
    pub fn take_second_step(&self, card: &str, code: &str) -> Result<(), AuthError> {
        self.take_second_step_at(card, code, Instant::now())
    }

    fn take_second_step_at(&self, card: &str, code: &str, now: Instant) -> Result<(), AuthError> {
        let hash = token_hash(&plain_code(code));
        let mut sessions = self.sessions();
        let kept = &mut sessions.members.second_steps;
        // another member's is left to that one
        if kept.get(&hash).is_none_or(|(session, _)| session.card() != card) {
            return Err(AuthError::MemberCode);
        }
        let expires = kept.remove(&hash).map(|(_, expires)| expires);
        if expires.is_some_and(|expires| now < expires) {
            Ok(())
        } else {
            Err(AuthError::MemberCode)
        }
    }

    /// Begins the session that a code stands for; the code is used up.
    ///
    /// # Errors
    /// [`AuthError::MemberCode`] when there is none, or no longer.
    pub fn redeem_member_code(&self, code: &str) -> Result<MemberToken, AuthError> {
        self.redeem_member_code_at(code, Instant::now())
    }

    fn redeem_member_code_at(&self, code: &str, now: Instant) -> Result<MemberToken, AuthError> {
        let hash = token_hash(&plain_code(code));
        let kept = self.sessions().members.by_code.remove(&hash);
        let (session, expires) = kept.ok_or(AuthError::MemberCode)?;
        if now >= expires {
            return Err(AuthError::MemberCode);
        }
        self.begin_for(session)
    }

    /// Ends one session of a member's; one that is not there is ended already.
    pub fn end_member_session(&self, token: &str) {
        self.sessions().members.by_token.remove(&token_hash(token));
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

    /// Ends every session and code of a member, as when the member was erased.
    pub fn end_member_sessions(&self, card: &str) {
        let mut sessions = self.sessions();
        sessions.members.by_token.retain(|_, (session, _)| session.card() != card);
        sessions.members.by_code.retain(|_, (session, _)| session.card() != card);
        sessions.members.second_steps.retain(|_, (session, _)| session.card() != card);
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
        // a code opens a session once, however it is typed, and not after its time
        let store = Authorized::check("li", &[Role::Store]).unwrap();
        let code = auth.hand_out_member_code(&store, "CARD-1").unwrap().code;
        assert_eq!(code.len(), CODE_DIGITS + 2);
        assert_eq!(auth.member_session(&code), Err(AuthError::TokenUnknown), "it is no token");
        let typed = code.to_lowercase().replace('-', " ");
        let token = auth.redeem_member_code(&typed).unwrap().token;
        assert_eq!(auth.member_session(&token).unwrap().card(), "CARD-1");
        assert_eq!(auth.redeem_member_code(&code).err(), Some(AuthError::MemberCode));
        let code = auth.hand_out_member_code(&store, "CARD-1").unwrap().code;
        let late = auth.redeem_member_code_at(&code, Instant::now() + MEMBER_CODE_LIFETIME);
        assert_eq!(late.err(), Some(AuthError::MemberCode));
        // a new one takes the place of the old one; an erasure ends both kinds
        let old = auth.hand_out_member_code(&store, "CARD-1").unwrap().code;
        let new = auth.hand_out_member_code(&store, "CARD-1").unwrap().code;
        assert_eq!(auth.redeem_member_code(&old).err(), Some(AuthError::MemberCode));
        auth.end_member_sessions("CARD-1");
        assert_eq!(auth.redeem_member_code(&new).err(), Some(AuthError::MemberCode));
        assert_eq!(auth.member_session(&token), Err(AuthError::TokenUnknown));
        // a second step is of one member, once, for its time; and it opens no session
        let step = |card: &str| auth.hand_out_second_step(&app, card).unwrap().code;
        let (first, other) = (step("CARD-1"), step("CARD-2"));
        assert_eq!(auth.redeem_member_code(&first).err(), Some(AuthError::MemberCode));
        assert_eq!(auth.take_second_step("CARD-1", &other), Err(AuthError::MemberCode));
        assert_eq!(auth.take_second_step("CARD-1", &first.to_lowercase()), Ok(()));
        assert_eq!(auth.take_second_step("CARD-1", &first), Err(AuthError::MemberCode));
        assert_eq!(auth.take_second_step("CARD-2", &other), Ok(()), "it was left to its member");
        let code = auth.hand_out_member_code(&store, "CARD-1").unwrap().code;
        let own = auth.take_second_step("CARD-1", &code);
        assert_eq!(own, Err(AuthError::MemberCode), "what staff hands out is no second step");
        let code = step("CARD-1");
        let late = Instant::now() + MEMBER_CODE_LIFETIME;
        assert_eq!(auth.take_second_step_at("CARD-1", &code, late), Err(AuthError::MemberCode));
        let code = step("CARD-1");
        auth.end_member_sessions("CARD-1");
        assert_eq!(auth.take_second_step("CARD-1", &code), Err(AuthError::MemberCode));
        // nor is a user's token a member's
        let user = auth.token_for(&Role::ALL);
        assert_eq!(auth.member_session(&user), Err(AuthError::TokenUnknown));
    }
}
