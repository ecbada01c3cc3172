//! How many requests one caller may make: a bucket for each user, each member and each network address.
//!
//! Who shows the token of a session is counted as that user or member; everyone else, whoever signs in
//! included, as the network address the request came from. A bucket holds as many requests as the policy
//! says and fills up evenly within its time (the generic cell rate algorithm, ITU-T I.371: one point of
//! time a bucket). Nothing of a caller is kept but 16 bytes of a hash; tables are bounded, and newcomers
//! to a table that is full share one bucket, so that a flood of addresses costs no memory and keeps out
//! nobody who was there before.
//!
//! Addresses are those the node sees: behind a proxy everybody has the proxy's. `X-Forwarded-For` is not
//! read, for whoever sends a request can write it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use ring::digest;
use serde::{Deserialize, Serialize};

use super::Problem;
use crate::auth::Caller;

/// Callers of one kind that are remembered at once.
const CALLERS_MAX: usize = 65_536;
/// How often a full table is searched at most for callers that may be forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Most requests of a policy.
const REQUESTS_MAX: u32 = 1_000_000;
/// Longest time of a policy.
const SECONDS_MAX: u32 = 3600;

/// How many requests one caller may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests at once, and within the time: 1 to 1,000,000.
    pub requests: u32,
    /// Seconds in which a bucket that is empty fills up again: 1 to 3600.
    pub seconds: u32,
}

impl RateLimit {
    const fn new(requests: u32, seconds: u32) -> Self {
        Self { requests, seconds }
    }

    fn check(&self, name: &str) -> Result<(), String> {
        if !(1..=REQUESTS_MAX).contains(&self.requests) {
            let requests = self.requests;
            return Err(format!(
                "rate_limits.{name}.requests: {requests} is not 1 to {REQUESTS_MAX}"
            ));
        }
        if !(1..=SECONDS_MAX).contains(&self.seconds) {
            let seconds = self.seconds;
            return Err(format!("rate_limits.{name}.seconds: {seconds} is not 1 to {SECONDS_MAX}"));
        }
        Ok(())
    }

    /// Nanoseconds that one request stands for, rounded up: never more requests than the policy says.
    fn interval(&self) -> u64 {
        (u64::from(self.seconds) * NANOSECONDS).div_ceil(u64::from(self.requests.max(1)))
    }

    /// Nanoseconds in which an empty bucket fills up: the policy's seconds, but for the rounding.
    fn window(&self) -> u64 {
        self.interval().saturating_mul(u64::from(self.requests))
    }
}

const NANOSECONDS: u64 = 1_000_000_000;

/// Limits of requests by caller, as `node.toml` has them under `[rate_limits]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    /// For one network address (of IPv6: one /64) without a session. Signing in counts here.
    pub address: RateLimit,
    /// For one network address that reads the published log, whoever signed in from it: files that anyone may
    /// have, of which an auditor reads a few for every 256 entries.
    pub log: RateLimit,
    /// For one member.
    pub members: RateLimit,
    /// For one user who is a person.
    pub staff: RateLimit,
    /// For one user with the role `app`: a program that asks for many members.
    pub machines: RateLimit,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            address: RateLimit::new(3_000, 60),
            log: RateLimit::new(60_000, 60),
            members: RateLimit::new(120, 60),
            staff: RateLimit::new(3_000, 60),
            machines: RateLimit::new(60_000, 60),
        }
    }
}

impl RateLimits {
    /// As many as can be said: for measuring, and for a demonstration that signs in as a person.
    #[must_use]
    pub const fn widest() -> Self {
        let widest = RateLimit::new(REQUESTS_MAX, 1);
        Self { address: widest, log: widest, members: widest, staff: widest, machines: widest }
    }

    /// Whether nothing was set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the figures can be used.
    ///
    /// # Errors
    /// A sentence that says which setting is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        let Self { address, log, members, staff, machines } = self;
        let all = [
            (address, Kind::Address),
            (log, Kind::Log),
            (members, Kind::Member),
            (staff, Kind::Staff),
            (machines, Kind::Machine),
        ];
        all.into_iter().try_for_each(|(limit, kind)| limit.check(kind.name()))
    }

    const fn of(&self, kind: Kind) -> RateLimit {
        match kind {
            Kind::Address => self.address,
            Kind::Log => self.log,
            Kind::Member => self.members,
            Kind::Staff => self.staff,
            Kind::Machine => self.machines,
        }
    }
}

/// Kinds of caller, each with its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Address,
    Log,
    Member,
    Staff,
    Machine,
}

impl Kind {
    /// The policy's name, in headers, settings and figures.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Log => "log",
            Self::Member => "members",
            Self::Staff => "staff",
            Self::Machine => "machines",
        }
    }
}

/// 16 bytes of the SHA-256 of who calls.
type Key = [u8; 16];

fn key(who: &[u8]) -> Key {
    let mut key = Key::default();
    for (to, from) in key.iter_mut().zip(digest::digest(&digest::SHA256, who).as_ref()) {
        *to = *from;
    }
    key
}

fn address_key(address: IpAddr) -> Key {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        // who has one address of a /64 has all of them
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).octets(),
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    kind: Kind,
    limit: RateLimit,
    /// Requests that are left at once.
    left: u32,
    /// Seconds until the bucket is full again, rounded up.
    full_in: u64,
    /// If it was refused: seconds until one would be let through, rounded up.
    retry_in: Option<u64>,
}

impl Counted {
    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) const fn is_refused(&self) -> bool {
        self.retry_in.is_some()
    }

    pub(super) fn refusal(&self) -> Option<Problem> {
        let seconds = self.retry_in?;
        let RateLimit { requests, seconds: within } = self.limit;
        let whose = match self.kind {
            Kind::Address => "requests without a session from one network address",
            Kind::Log => "requests for the published log from one network address",
            Kind::Member => "requests of one member",
            Kind::Staff => "requests of one user",
            Kind::Machine => "requests of one app",
        };
        let problem = Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            format!("more than {requests} {whose} within {within} s"),
            format!("wait {seconds} s; the header RateLimit of every answer says what is left"),
        );
        Some(problem.header(header::RETRY_AFTER, seconds))
    }

    /// The fields of draft-ietf-httpapi-ratelimit-headers-10.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let Self { limit, left, full_in, .. } = self;
        let name = self.kind.name();
        let policy = format!("\"{name}\";q={};w={}", limit.requests, limit.seconds);
        let state = format!("\"{name}\";r={left};t={full_in}");
        for (header, value) in [(POLICY, policy), (STATE, state)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(header, value);
            }
        }
    }
}

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Buckets of one kind of caller.
#[derive(Debug, Default)]
struct Table {
    // when each bucket is full again, nanoseconds since the start; one that is full is not needed
    full_at: BTreeMap<Key, u64>,
    // of those for whom there was no room
    others_full_at: u64,
    swept_at: Option<u64>,
}

impl Table {
    fn bucket(&mut self, key: Key, now: u64, most: usize) -> &mut u64 {
        let known = self.full_at.contains_key(&key);
        if !known && self.full_at.len() >= most {
            let every = u64::try_from(SWEEP_EVERY.as_nanos()).unwrap_or(u64::MAX);
            if self.swept_at.is_none_or(|at| now.saturating_sub(at) >= every) {
                self.swept_at = Some(now);
                self.full_at.retain(|_, full_at| *full_at > now);
            }
            if self.full_at.len() >= most {
                return &mut self.others_full_at;
            }
        }
        self.full_at.entry(key).or_default()
    }
}

/// Takes a request out of a bucket, if one is left.
fn take(full_at: &mut u64, limit: RateLimit, now: u64) -> (u32, u64, Option<u64>) {
    let (window, interval) = (limit.window(), limit.interval());
    let after = now.max(*full_at).saturating_add(interval);
    let room_at = after.saturating_sub(window);
    let refused = (room_at > now).then(|| (room_at - now).div_ceil(NANOSECONDS));
    if refused.is_none() {
        *full_at = after;
    }
    let lacking = full_at.saturating_sub(now);
    let left = window.saturating_sub(lacking) / interval.max(1);
    let left = u32::try_from(left).unwrap_or(u32::MAX).min(limit.requests);
    (left, lacking.div_ceil(NANOSECONDS), refused)
}

/// Counts requests.
#[derive(Debug)]
pub(super) struct Rates {
    limits: RateLimits,
    start: Instant,
    tables: Mutex<BTreeMap<Kind, Table>>,
    callers_max: usize,
}

impl Rates {
    pub(super) fn new(limits: RateLimits) -> Self {
        let tables = Mutex::default();
        Self { limits, start: Instant::now(), tables, callers_max: CALLERS_MAX }
    }

    /// Counts a request of a caller, or else of an address.
    pub(super) fn count(&self, caller: Option<Caller>, address: IpAddr) -> Counted {
        let (kind, key) = match caller {
            Some(Caller::Member { session }) => (Kind::Member, key(session.card().as_bytes())),
            Some(Caller::User { name, machine: false }) => (Kind::Staff, key(name.as_bytes())),
            Some(Caller::User { name, machine: true }) => (Kind::Machine, key(name.as_bytes())),
            None => (Kind::Address, address_key(address)),
        };
        self.count_at(kind, key, self.now())
    }

    /// Counts a request for the published log.
    pub(super) fn count_log(&self, address: IpAddr) -> Counted {
        self.count_at(Kind::Log, address_key(address), self.now())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn count_at(&self, kind: Kind, key: Key, now: u64) -> Counted {
        let limit = self.limits.of(kind);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = tables.entry(kind).or_default().bucket(key, now, self.callers_max);
        let (left, full_in, retry_in) = take(bucket, limit, now);
        Counted { kind, limit, left, full_in, retry_in }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rates(requests: u32, seconds: u32, callers_max: usize) -> Rates {
        let limit = RateLimit { requests, seconds };
        let limits = RateLimits {
            address: limit,
            log: limit,
            members: limit,
            staff: limit,
            machines: limit,
        };
        Rates { callers_max, ..Rates::new(limits) }
    }

    proptest! {
        /// Against the definition: within any time no more pass than a full bucket and what flowed into it,
        /// a refusal's Retry-After is enough, and what the header says is left passes at once.
        #[test]
        fn no_more_pass_than_the_policy_says(
            requests in 1_u32..200,
            seconds in 1_u32..90,
            gaps in prop::collection::vec(0_u64..2_000_000_000, 1..300),
        ) {
            let rates = rates(requests, seconds, 8);
            let limit = rates.limits.staff;
            let (mut now, mut passed) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                let counted = rates.count_at(Kind::Staff, key(b"ann"), now);
                prop_assert!(counted.left <= requests);
                match counted.retry_in {
                    None => passed.push(now),
                    Some(seconds) => {
                        prop_assert!(seconds >= 1);
                        let later = now + seconds * NANOSECONDS;
                        let mut copy = rates.tables.lock().unwrap()[&Kind::Staff].full_at[&key(b"ann")];
                        prop_assert_eq!(take(&mut copy, limit, later).2, None);
                    }
                }
                let mut copy = rates.tables.lock().unwrap()[&Kind::Staff].full_at[&key(b"ann")];
                for _ in 0..counted.left {
                    prop_assert_eq!(take(&mut copy, limit, now).2, None);
                }
                prop_assert!(take(&mut copy, limit, now).2.is_some());
            }
            for (position, from) in passed.iter().enumerate() {
                for (count, to) in (1_u64..).zip(&passed[position..]) {
                    let flowed = (to - from) / limit.interval();
                    prop_assert!(count <= u64::from(requests) + flowed + 1);
                }
            }
        }
    }

    #[test]
    fn a_bucket_empties_refuses_and_fills_up_again() {
        let rates = rates(3, 60, 8);
        let at = |seconds: u64| rates.count_at(Kind::Staff, key(b"ann"), seconds * NANOSECONDS);
        assert_eq!([at(0).left, at(0).left, at(0).left], [2, 1, 0]);
        let refused = at(0);
        assert_eq!((refused.left, refused.full_in, refused.retry_in), (0, 60, Some(20)));
        assert_eq!(at(19).retry_in, Some(1));
        assert_eq!((at(20).retry_in, at(20).retry_in), (None, Some(20)));
        assert_eq!(at(1000).left, 2, "no more than a full bucket");
        let other = rates.count_at(Kind::Staff, key(b"bo"), 0);
        assert_eq!((other.retry_in, other.left), (None, 2), "each has a bucket of their own");
        let problem = refused.refusal().unwrap();
        assert_eq!((problem.status, problem.code.as_ref()), (429, "rate_limited"));
        let mut headers = HeaderMap::new();
        refused.write(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"staff\";q=3;w=60");
        assert_eq!(headers["ratelimit"], "\"staff\";r=0;t=60");
    }

    #[test]
    fn a_flood_of_addresses_takes_no_memory_and_keeps_out_nobody_who_was_there() {
        let rates = rates(10, 10, 100);
        let from = |number: u32, now| {
            let address = address_key(IpAddr::from(number.to_be_bytes()));
            rates.count_at(Kind::Address, address, now)
        };
        assert_eq!(from(1, 0).retry_in, None);
        let refused = (1000..50_000).filter(|number| from(*number, 1).retry_in.is_some()).count();
        assert!(refused > 48_000, "those without a bucket of their own share one: {refused}");
        assert_eq!(rates.tables.lock().unwrap()[&Kind::Address].full_at.len(), 100);
        assert_eq!(from(1, 2).retry_in, None, "who was there has the bucket still");
        assert!(from(60_000, 2).retry_in.is_some());
        // when those who were there are gone, there is room again
        let later = 60 * NANOSECONDS;
        assert_eq!(from(60_000, later).left, 9);
        assert_eq!(rates.tables.lock().unwrap()[&Kind::Address].full_at.len(), 1);
        // members, users and addresses do not take each other's room
        assert_eq!(rates.count_at(Kind::Staff, key(b"ann"), later).left, 9);
    }

    #[test]
    fn one_network_of_ipv6_is_one_caller_and_ipv4_is_itself() {
        let key = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.7"), key("192.0.2.7"));
        assert_ne!(key("192.0.2.7"), key("192.0.2.8"));
    }

    #[test]
    fn wrong_settings_are_named() {
        let read = |text: &str| toml::from_str::<RateLimits>(text).map(|limits| limits.check());
        assert_eq!(read("").unwrap(), Ok(()));
        assert_eq!(read("staff = { requests = 10, seconds = 1 }").unwrap(), Ok(()));
        for (text, named) in [
            ("staff = { requests = 0, seconds = 1 }", "rate_limits.staff.requests: 0"),
            ("machines = { requests = 1, seconds = 0 }", "rate_limits.machines.seconds: 0"),
            ("address = { requests = 2000000, seconds = 1 }", "rate_limits.address.requests"),
        ] {
            let problem = read(text).unwrap().unwrap_err();
            assert!(problem.starts_with(named), "{problem}");
        }
        assert!(read("staff = { request = 1, seconds = 1 }").is_err());
        assert_eq!(RateLimits::widest().check(), Ok(()));
    }
}
