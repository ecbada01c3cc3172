//! What members ask of the brand's service, tracked to an answer; and the keys of requests that may
//! be repeated.

use minicbor::{Decode, Encode};
use protocol::shared_map::SharedMap;
use protocol::time::Timestamp;

use crate::ids::{Account, Name};

/// The key under which something was asked for: repeated, it is the same and not a second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Key(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

impl Key {
    /// From bytes, such as the beginning of a hash of the caller's own key.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Within how many days a request is answered.
pub const ANSWER_DAYS: u32 = 7;
/// Longest text, in characters.
pub const TEXT_MAX: usize = 500;

/// A member's request.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Request {
    /// Whose.
    #[n(0)]
    pub account: Account,
    /// About what: `complaint`, `points`, `correction`.
    #[n(1)]
    pub about: Name,
    /// The member's words.
    #[n(2)]
    pub text: String,
    /// When.
    #[n(3)]
    pub at: Timestamp,
    /// By when it is to be answered.
    #[n(4)]
    pub due: Timestamp,
    /// When it was, and how.
    #[n(5)]
    pub answer: Option<(Timestamp, String)>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // the text is a person's
        f.debug_struct("Request")
            .field("about", &self.about)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

/// All requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Requests {
    #[n(0)]
    all: SharedMap<u64, Request>,
    #[n(1)]
    last: u64,
}

impl Requests {
    /// A request.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Request> {
        self.all.get(&number)
    }
    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Request)> {
        self.all.iter().map(|(number, request)| (*number, request))
    }
    /// The number of the next.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.last.saturating_add(1)
    }
    pub(crate) fn enter(&mut self, number: u64, request: &Request) {
        self.last = self.last.max(number);
        self.all.insert(number, request.clone());
    }
    pub(crate) fn answer(&mut self, number: u64, at: Timestamp, text: &str) -> bool {
        let Some(request) = self.all.get_mut(&number).filter(|it| it.answer.is_none()) else {
            return false;
        };
        request.answer = Some((at, text.to_owned()));
        true
    }
    pub(crate) fn move_to(&mut self, from: Account, into: Account) {
        self.all.change_where(|_, it| it.account == from, |_, it| it.account = into);
    }
    pub(crate) fn forget(&mut self, account: Account) {
        self.all.retain(|_, request| request.account != account);
    }
}
