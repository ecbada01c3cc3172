//! Signs of fraud: what stops at once, what is reviewed by a person, what asks for a second step.
//!
//! Devices and addresses come as keyed hashes; what they are is not known here.

use std::collections::VecDeque;

use minicbor::{Decode, Encode};
use protocol::shared_map::SharedMap;
use protocol::time::{Milliseconds, Timestamp};

use crate::ids::Account;

/// Keyed hash of a device or of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Trace(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

impl Trace {
    /// From a hash.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// Accounts remembered of one device or address.
const ACCOUNTS_MAX: usize = 1_000;

/// What looked wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Sign {
    /// Many accounts on one device: they are stopped.
    #[n(0)]
    Device,
    /// Many accounts from one address in a short time.
    #[n(1)]
    Address,
    /// Many virtual rewards in a short time.
    #[n(2)]
    VirtualRewards,
    /// Many points on one day.
    #[n(3)]
    Growth,
}

impl Sign {
    /// Its name in reports and requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Address => "address",
            Self::VirtualRewards => "virtual_rewards",
            Self::Growth => "growth",
        }
    }
}

/// What a person found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Verdict {
    /// Nothing wrong: the accounts go on.
    #[n(0)]
    Cleared,
    /// Fraud: the accounts are stopped.
    #[n(1)]
    Stopped,
}

impl Verdict {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cleared => "cleared",
            Self::Stopped => "stopped",
        }
    }
}

/// Something for a person to look at.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Case {
    /// What looked wrong.
    #[n(0)]
    pub sign: Sign,
    /// Whose accounts.
    #[n(1)]
    pub accounts: Vec<Account>,
    /// Since when.
    #[n(2)]
    pub opened: Timestamp,
    /// By when it is to be looked at.
    #[n(3)]
    pub due: Timestamp,
    /// What was found, and when.
    #[n(4)]
    pub closed: Option<(Timestamp, Verdict)>,
    /// Who found it.
    #[cbor(n(5), default)]
    pub reviewer: Option<String>,
    /// Why: always there where accounts were stopped.
    #[cbor(n(6), default)]
    pub reason: Option<String>,
}

/// What has been seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Watch {
    #[n(0)]
    devices: SharedMap<Trace, Vec<Account>>,
    #[n(1)]
    addresses: SharedMap<Trace, VecDeque<(Timestamp, Account)>>,
    #[n(2)]
    virtual_rewards: SharedMap<Account, VecDeque<Timestamp>>,
    #[n(3)]
    cases: SharedMap<u64, Case>,
}

fn forget_before<T>(
    seen: &mut VecDeque<T>,
    at: impl Fn(&T) -> Timestamp,
    now: Timestamp,
    window: Milliseconds,
) {
    while seen.front().is_some_and(|it| now.since(at(it)) > window) {
        seen.pop_front();
    }
    while seen.len() > ACCOUNTS_MAX {
        seen.pop_front();
    }
}

/// So many minutes.
#[must_use]
pub const fn minutes(minutes: u32) -> Milliseconds {
    Milliseconds::from_seconds((minutes as u64).saturating_mul(60))
}

impl Watch {
    /// Notes on which device an account was opened.
    pub(crate) fn note_device(&mut self, device: Trace, account: Account) {
        let accounts = self.devices.get_or_default(device);
        if !accounts.contains(&account) && accounts.len() < ACCOUNTS_MAX {
            accounts.push(account);
        }
    }

    /// The accounts that were opened on a device.
    #[must_use]
    pub fn on_device(&self, device: Trace) -> &[Account] {
        self.devices.get(&device).map(Vec::as_slice).unwrap_or_default()
    }

    /// Notes from which address an account was opened.
    pub(crate) fn note_address(
        &mut self,
        address: Trace,
        account: Account,
        now: Timestamp,
        window: Milliseconds,
    ) {
        let seen = self.addresses.get_or_default(address);
        seen.push_back((now, account));
        forget_before(seen, |(at, _)| *at, now, window);
    }

    /// The accounts that were opened from an address in the window.
    #[must_use]
    pub fn at_address(&self, address: Trace, now: Timestamp, window: Milliseconds) -> Vec<Account> {
        let seen = self.addresses.get(&address).into_iter().flatten();
        seen.filter(|(at, _)| now.since(*at) <= window).map(|(_, account)| *account).collect()
    }

    /// Notes that a virtual reward was asked for.
    pub(crate) fn virtual_reward(
        &mut self,
        account: Account,
        now: Timestamp,
        window: Milliseconds,
    ) {
        let seen = self.virtual_rewards.get_or_default(account);
        seen.push_back(now);
        forget_before(seen, |at| *at, now, window);
    }

    /// How many virtual rewards were asked for in the window.
    #[must_use]
    pub fn virtual_rewards(&self, account: Account, now: Timestamp, window: Milliseconds) -> u32 {
        let seen = self.virtual_rewards.get(&account).into_iter().flatten();
        let recent = seen.filter(|at| now.since(**at) <= window).count();
        u32::try_from(recent).unwrap_or(u32::MAX)
    }

    /// The number of the next case.
    #[must_use]
    pub fn next_case(&self) -> u64 {
        self.cases.last_key_value().map_or(1, |(number, _)| number.saturating_add(1))
    }

    /// An open case of a kind that an account is in.
    #[must_use]
    pub fn open_case(&self, sign: Sign, account: Account) -> Option<u64> {
        let mut open =
            self.cases.iter().filter(|(_, case)| case.closed.is_none() && case.sign == sign);
        open.find(|(_, case)| case.accounts.contains(&account)).map(|(number, _)| *number)
    }

    /// Cases, oldest first.
    pub fn cases(&self) -> impl Iterator<Item = (u64, &Case)> {
        self.cases.iter().map(|(number, case)| (*number, case))
    }

    /// A case.
    #[must_use]
    pub fn case(&self, number: u64) -> Option<&Case> {
        self.cases.get(&number)
    }

    pub(crate) fn enter(&mut self, number: u64, case: &Case) {
        self.cases.insert(number, case.clone());
    }

    pub(crate) fn close(
        &mut self,
        number: u64,
        (at, verdict): (Timestamp, Verdict),
        (reviewer, reason): (Option<String>, Option<String>),
    ) -> Option<Vec<Account>> {
        let case = self.cases.get_mut(&number).filter(|case| case.closed.is_none())?;
        case.closed = Some((at, verdict));
        (case.reviewer, case.reason) = (reviewer, reason);
        Some(case.accounts.clone())
    }

    pub(crate) fn move_to(&mut self, from: Account, into: Account) {
        let become_one = |accounts: &mut Vec<Account>| {
            if let Some(place) = accounts.iter().position(|it| *it == from) {
                // one person with one account, where both were
                if accounts.contains(&into) {
                    accounts.remove(place);
                } else if let Some(account) = accounts.get_mut(place) {
                    *account = into;
                }
            }
        };
        self.cases.change_where(
            |_, case| case.accounts.contains(&from),
            |_, case| become_one(&mut case.accounts),
        );
        self.devices.change_where(
            |_, accounts| accounts.contains(&from),
            |_, accounts| become_one(accounts),
        );
        self.addresses.change_where(
            |_, seen| seen.iter().any(|(_, it)| *it == from),
            |_, seen| {
                for (_, account) in seen.iter_mut().filter(|(_, it)| *it == from) {
                    *account = into;
                }
            },
        );
        if let Some(seen) = self.virtual_rewards.remove(&from) {
            let all = self.virtual_rewards.get_or_default(into);
            all.extend(seen);
            all.make_contiguous().sort_unstable();
        }
    }

    pub(crate) fn forget(&mut self, account: Account) {
        self.devices.change_where(
            |_, accounts| accounts.contains(&account),
            |_, accounts| accounts.retain(|it| *it != account),
        );
        self.addresses.change_where(
            |_, seen| seen.iter().any(|(_, it)| *it == account),
            |_, seen| seen.retain(|(_, it)| *it != account),
        );
        self.devices.retain(|_, accounts| !accounts.is_empty());
        self.addresses.retain(|_, seen| !seen.is_empty());
        self.virtual_rewards.remove(&account);
    }
}
