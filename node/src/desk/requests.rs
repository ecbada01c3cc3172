//! What members ask under the law: access, correction, erasure; entered with two clocks, answered once,
//! kept after the member is gone.
//!
//! A request is found by its id, and by its member as long as there is one. Words of the member are
//! dropped when the member is erased.

use minicbor::{Decode, Encode};
use protocol::time::Timestamp;

use super::records::check_text;
use super::{Desk, DeskError};
use crate::store::{Keyspace, Write};
use crate::vault::{KeyError, MemberId};

const REQUESTS: Keyspace = "desk_request";
/// Ids of open requests by the time at which they are due.
const OPEN: Keyspace = "desk_request_open";
/// Ids of requests by member.
const OF_MEMBER: Keyspace = "desk_request_of_member";
/// Most requests of one member that are open at a time.
const OPEN_OF_MEMBER_MAX: usize = 32;

/// What a member asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum RequestKind {
    /// To see and get all that is held (PIPL art. 45).
    #[n(0)]
    Access,
    /// To have it put right (art. 46).
    #[n(1)]
    Correction,
    /// To have it erased (art. 47).
    #[n(2)]
    Erasure,
    /// To have a rule or decision explained (art. 48).
    #[n(3)]
    Explanation,
}

impl RequestKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Access, Self::Correction, Self::Erasure, Self::Explanation];

    /// Its name in requests and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Correction => "correction",
            Self::Erasure => "erasure",
            Self::Explanation => "explanation",
        }
    }

    /// The kind of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Where a request stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum RequestState {
    /// Not answered.
    #[n(0)]
    Open,
    /// Done.
    #[n(1)]
    Done {
        /// When.
        #[n(0)]
        at: Timestamp,
        /// By whom.
        #[n(1)]
        by: String,
        /// The certificate that the member may keep, as text.
        #[n(2)]
        certificate: Option<String>,
    },
    /// Refused, with the reason the law gives.
    #[n(2)]
    Refused {
        /// When.
        #[n(0)]
        at: Timestamp,
        /// By whom.
        #[n(1)]
        by: String,
        /// Why.
        #[n(2)]
        why: String,
    },
}

/// A member's request.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Request {
    /// Its id.
    #[n(0)]
    pub id: RequestNumber,
    /// What for.
    #[n(1)]
    pub kind: RequestKind,
    /// Whose.
    #[n(2)]
    pub member: MemberId,
    /// Who entered it: a user, or `member`.
    #[n(3)]
    pub by: String,
    /// When.
    #[n(4)]
    pub opened: Timestamp,
    /// By when the member must have an answer.
    #[n(5)]
    pub answer_by: Timestamp,
    /// By when it must be done.
    #[n(6)]
    pub done_by: Timestamp,
    /// The member's own words; gone when the member is.
    #[n(7)]
    pub words: Option<String>,
    /// When the member was answered first, as that it takes longer.
    #[n(8)]
    pub answered: Option<Timestamp>,
    /// Where it stands.
    #[n(9)]
    pub state: RequestState,
}

/// The id of a request: 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct RequestNumber(#[cbor(with = "minicbor::bytes")] [u8; 16]);

impl RequestNumber {
    /// Reads 32 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let good = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        good.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(|it| Self(it.to_be_bytes()))
    }
}

impl std::fmt::Display for RequestNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl std::fmt::Debug for RequestNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// A request's place among others: a moment of it, and its id.
pub type RequestKey = (Timestamp, RequestNumber);

impl Request {
    /// Its place among those that are open: when its first clock ends.
    #[must_use]
    pub fn key(&self) -> RequestKey {
        (self.answer_by.min(self.done_by), self.id)
    }

    /// Whether it waits.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, RequestState::Open)
    }

    /// Whether one of its clocks has run out at a moment.
    #[must_use]
    pub fn is_overdue(&self, at: Timestamp) -> bool {
        let unanswered = self.answered.is_none() && at > self.answer_by;
        self.is_open() && (unanswered || at > self.done_by)
    }
}

impl Desk {
    /// Enters a request of a member.
    ///
    /// # Errors
    /// When there is no such member, the words are too long, too many of the member's are open, or the
    /// store fails.
    pub fn open_request(
        &self,
        by: &str,
        member: MemberId,
        kind: RequestKind,
        words: Option<String>,
        at: Timestamp,
    ) -> Result<Request, DeskError> {
        if let Some(words) = &words {
            check_text(words)?;
        }
        // unknown and erased members ask for nothing
        self.vault().consents(member)?;
        let open = self.requests_of(member)?.iter().filter(|request| request.is_open()).count();
        if open >= OPEN_OF_MEMBER_MAX {
            return Err(DeskError::TooManyRequests);
        }
        let mut id = [0; 16];
        self.sealed.random.fill(&mut id).map_err(|_| KeyError::Random)?;
        let request = Request {
            id: RequestNumber(id),
            kind,
            member,
            by: by.to_owned(),
            opened: at,
            answer_by: super::deadline::days_after(at, self.rules.answer_days),
            done_by: self.rules.calendar.working_days_after(at, self.rules.done_working_days),
            words,
            answered: None,
            state: RequestState::Open,
        };
        let writes = [
            self.sealed.write(REQUESTS, &id, &request)?,
            Write::put(OPEN, open_key(&request), Vec::new()),
            Write::put(OF_MEMBER, [member.as_bytes().as_slice(), &id].concat(), Vec::new()),
        ];
        self.sealed.store.transaction(&writes)?;
        Ok(request)
    }

    /// A request by its id.
    ///
    /// # Errors
    /// [`DeskError::UnknownRequest`]; when the store or the key fails.
    pub fn request(&self, id: RequestNumber) -> Result<Request, DeskError> {
        self.sealed.get(REQUESTS, &id.0)?.ok_or(DeskError::UnknownRequest)
    }

    /// Open requests, those that are due first.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn open_requests(&self, most: usize) -> Result<Vec<Request>, DeskError> {
        self.open_requests_after(None, most)
    }

    /// The same behind one: when that was due, and its id.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn open_requests_after(
        &self,
        after: Option<&RequestKey>,
        most: usize,
    ) -> Result<Vec<Request>, DeskError> {
        let after = after.map(|(due, id)| due_key(*due, *id));
        let keys = self.sealed.store.scan_prefix(OPEN, &[], after.as_deref(), most)?;
        let read = |(key, _): &(Vec<u8>, Vec<u8>)| {
            let id = key.get(8..).and_then(|id| <[u8; 16]>::try_from(id).ok());
            self.request(RequestNumber(id.ok_or(DeskError::Damaged("list of requests"))?))
        };
        keys.iter().map(read).collect()
    }

    /// Every request of a member.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn requests_of(&self, member: MemberId) -> Result<Vec<Request>, DeskError> {
        let keys = self.sealed.store.scan_prefix(OF_MEMBER, member.as_bytes(), None, 1_000)?;
        let read = |(key, _): &(Vec<u8>, Vec<u8>)| {
            let id = key.get(16..).and_then(|id| <[u8; 16]>::try_from(id).ok());
            self.request(RequestNumber(id.ok_or(DeskError::Damaged("list of requests"))?))
        };
        let mut requests = keys.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        requests.sort_by_key(|request| (request.opened, request.id));
        Ok(requests)
    }

    /// Enters that the member was answered first, which stops the first clock.
    ///
    /// # Errors
    /// When it is not open, or the store fails.
    pub fn answer_request(&self, id: RequestNumber, at: Timestamp) -> Result<Request, DeskError> {
        let request = self.still_open(id)?;
        let answered = Request { answered: request.answered.or(Some(at)), ..request };
        self.sealed.put(REQUESTS, &id.0, &answered)?;
        Ok(answered)
    }

    /// Closes a request. A request of a member who is gone keeps no words.
    ///
    /// # Errors
    /// When it is not open, or the store fails.
    pub(crate) fn close_request(
        &self,
        id: RequestNumber,
        state: RequestState,
        at: Timestamp,
    ) -> Result<Request, DeskError> {
        let request = self.still_open(id)?;
        let key = open_key(&request);
        let words = request.words.clone().filter(|_| request.kind != RequestKind::Erasure);
        let answered = request.answered.or(Some(at));
        let closed = Request { state, words, answered, ..request };
        let writes = [self.sealed.write(REQUESTS, &id.0, &closed)?, Write::delete(OPEN, key)];
        self.sealed.store.transaction(&writes)?;
        Ok(closed)
    }

    pub(super) fn still_open(&self, id: RequestNumber) -> Result<Request, DeskError> {
        let request = self.request(id)?;
        if request.is_open() { Ok(request) } else { Err(DeskError::Closed) }
    }

    /// Drops the words of every request of a member who is erased, and closes those that are open.
    pub(super) fn close_requests_of(
        &self,
        member: MemberId,
        by: &str,
        at: Timestamp,
    ) -> Result<(), DeskError> {
        for request in self.requests_of(member)? {
            let key = open_key(&request);
            let state = match &request.state {
                RequestState::Open => RequestState::Refused {
                    at,
                    by: by.to_owned(),
                    why: "the member was erased".to_owned(),
                },
                state => state.clone(),
            };
            let id = request.id;
            let closed = Request { state, words: None, ..request };
            let writes = [self.sealed.write(REQUESTS, &id.0, &closed)?, Write::delete(OPEN, key)];
            self.sealed.store.transaction(&writes)?;
        }
        Ok(())
    }
}

fn open_key(request: &Request) -> Vec<u8> {
    let (due, id) = request.key();
    due_key(due, id)
}

fn due_key(due: Timestamp, id: RequestNumber) -> Vec<u8> {
    [due.unix_ms().to_be_bytes().as_slice(), &id.0].concat()
}
