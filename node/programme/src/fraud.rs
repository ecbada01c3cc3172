//! Signs of fraud: what stops at once, what is reviewed by a person, what asks for a second step.
//!
//! Devices and addresses come as keyed hashes; what they are is not known here.

use std::collections::{BTreeSet, VecDeque};

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
/// Accounts at which a case takes in no more: who comes later opens another.
const CASE_MAX: usize = 10_000;

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

    /// What is done about it where the rules do not say; and what was done before they could.
    #[must_use]
    pub const fn usual(self) -> Action {
        match self {
            Self::Device => Action::Stop,
            Self::VirtualRewards => Action::SecondStep,
            Self::Address | Self::Growth => Action::Watch,
        }
    }
}

/// What is done about what looked wrong, while its case is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Action {
    /// The accounts are stopped: nothing is earned by signing in or activities either.
    #[n(0)]
    Stop,
    /// Nothing leaves the accounts: what they have and what they earn waits until the case is closed.
    #[n(1)]
    Hold,
    /// A reward takes a second step that only the member can take.
    #[n(2)]
    SecondStep,
    /// The accounts go on.
    #[n(3)]
    Watch,
}

impl Action {
    /// Every one of them.
    pub const ALL: [Self; 4] = [Self::Stop, Self::Hold, Self::SecondStep, Self::Watch];

    /// Its name in rules and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Hold => "hold",
            Self::SecondStep => "second_step",
            Self::Watch => "watch",
        }
    }

    /// Its name for people, Chinese and English.
    #[must_use]
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Stop => ("立即停用", "stopped at once"),
            Self::Hold => ("暂缓支出，待复核", "held for review"),
            Self::SecondStep => ("兑换礼品须二次验证", "asked for a second step with rewards"),
            Self::Watch => ("只作复核", "only reviewed"),
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
    /// What is done while it is open; the usual if it is not said.
    #[cbor(n(7), default)]
    pub action: Option<Action>,
}

impl Case {
    /// What is done about it while it is open.
    #[must_use]
    pub const fn action(&self) -> Action {
        match self.action {
            Some(action) => action,
            None => self.sign.usual(),
        }
    }

    /// Whether its accounts are stopped by it: while it is open, if that is what is done about it; and ever after when
    /// that was the verdict.
    #[must_use]
    pub const fn stops(&self) -> bool {
        match self.closed {
            None => matches!(self.action(), Action::Stop),
            Some((_, verdict)) => matches!(verdict, Verdict::Stopped),
        }
    }

    /// Whether nothing leaves its accounts until it is closed.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.closed.is_none() && matches!(self.action(), Action::Hold)
    }

    /// Whether a reward takes a second step until it is closed. Many virtual rewards take it one by one, as long as they
    /// are many.
    #[must_use]
    pub const fn asks_second_step(&self) -> bool {
        self.closed.is_none()
            && matches!(self.action(), Action::SecondStep)
            && !matches!(self.sign, Sign::VirtualRewards)
    }

    /// Whether nothing wrong was found.
    #[must_use]
    pub const fn is_cleared(&self) -> bool {
        matches!(self.closed, Some((_, Verdict::Cleared)))
    }
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

    /// An open case of a kind that one of some accounts is in, and that has room for the others.
    #[must_use]
    pub fn open_case(&self, sign: Sign, accounts: &[Account]) -> Option<u64> {
        let asked: BTreeSet<Account> = accounts.iter().copied().collect();
        let mut open =
            self.cases.iter().filter(|(_, case)| case.closed.is_none() && case.sign == sign);
        let found = open.find(|(_, case)| {
            let room = case.accounts.len().saturating_add(asked.len()) <= CASE_MAX;
            room && case.accounts.iter().any(|it| asked.contains(it))
        });
        found.map(|(number, _)| *number)
    }

    /// Those of some accounts that a case stops, open or closed: a stop belongs to a case, and ends with it.
    #[must_use]
    pub fn stopped_among(&self, accounts: &[Account]) -> BTreeSet<Account> {
        self.among(accounts, Case::stops)
    }

    /// Those of some accounts that an open case holds.
    #[must_use]
    pub fn held_among(&self, accounts: &[Account]) -> BTreeSet<Account> {
        self.among(accounts, Case::holds)
    }

    fn among(&self, accounts: &[Account], which: fn(&Case) -> bool) -> BTreeSet<Account> {
        let asked: BTreeSet<Account> = accounts.iter().copied().collect();
        let chosen = self.cases.values().filter(|case| which(case));
        let theirs = chosen.flat_map(|case| case.accounts.iter().copied());
        theirs.filter(|account| asked.contains(account)).collect()
    }

    /// The first case that holds an account.
    #[must_use]
    pub fn held_by(&self, account: Account) -> Option<u64> {
        let mut holding = self.cases.iter().filter(|(_, case)| case.holds());
        holding.find(|(_, case)| case.accounts.contains(&account)).map(|(number, _)| *number)
    }

    /// The first case for which an account's rewards take a second step.
    #[must_use]
    pub fn second_step_for(&self, account: Account) -> Option<u64> {
        let mut asking = self.cases.iter().filter(|(_, case)| case.asks_second_step());
        asking.find(|(_, case)| case.accounts.contains(&account)).map(|(number, _)| *number)
    }

    /// Accounts on the devices of some others, and not among them.
    pub(crate) fn beside(&self, accounts: &[Account]) -> Vec<Account> {
        let known: BTreeSet<Account> = accounts.iter().copied().collect();
        let shared =
            self.devices.values().filter(|device| device.iter().any(|it| known.contains(it)));
        let all: BTreeSet<Account> = shared.flatten().copied().collect();
        all.difference(&known).copied().collect()
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

    /// Takes accounts into an open case; false when there is none.
    pub(crate) fn join(&mut self, number: u64, accounts: &[Account]) -> bool {
        let open = self.cases.get_mut(&number).filter(|case| case.closed.is_none());
        let Some(case) = open else { return false };
        for account in accounts {
            if !case.accounts.contains(account) {
                case.accounts.push(*account);
            }
        }
        true
    }

    /// Takes an account into every case of another's that did not clear it: they were one until now.
    pub(crate) fn share(&mut self, of: Account, with: Account) {
        self.cases.change_where(
            |_, case| {
                let accounts = &case.accounts;
                !case.is_cleared() && accounts.contains(&of) && !accounts.contains(&with)
            },
            |_, case| case.accounts.push(with),
        );
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

    /// What has been seen of an account: on how many devices, at how many addresses, virtual rewards, and its cases
    /// without the others' accounts.
    pub(crate) fn held(&self, account: Account) -> (u64, u64, Vec<Timestamp>, Vec<(u64, Case)>) {
        let Self { devices, addresses, virtual_rewards, cases } = self;
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let on = devices.values().filter(|accounts| accounts.contains(&account)).count();
        let at = addresses.values().filter(|seen| seen.iter().any(|(_, it)| *it == account));
        let rewards = virtual_rewards.get(&account).into_iter().flatten().copied().collect();
        let own = cases.iter().filter(|(_, case)| case.accounts.contains(&account));
        let alone = |case: &Case| Case { accounts: vec![account], ..case.clone() };
        let own = own.map(|(number, case)| (*number, alone(case))).collect();
        (count(on), count(at.count()), rewards, own)
    }

    pub(crate) fn forget(&mut self, account: Account) {
        // clearing what is open gives nobody back what was erased
        self.cases.change_where(
            |_, case| case.closed.is_none() && case.accounts.contains(&account),
            |_, case| case.accounts.retain(|it| *it != account),
        );
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
