//! One brand's programme at work.
//!
//! An event is checked whole, then its changes are entered one by one; each is given out to be made
//! durable. Entering a change is the same now and when it is replayed ([`Programme::replay`]), so
//! that what is durable and what is in memory cannot differ.

mod adjust;
mod apply;
mod campaigns;
mod change;
mod event;
mod held;
mod marketing;
mod members;
mod merge;
mod offers;
mod openings;
mod staff;
#[cfg(test)]
mod tests;
mod time;
mod words;

use std::collections::{BTreeMap, VecDeque};

use minicbor::{Decode, Encode};
use protocol::amount::Points;
use protocol::shared_map::{SharedMap, SharedSet};
use protocol::time::{Milliseconds, Timestamp};

pub use campaigns::{CampaignMembers, InCampaign};
pub use change::{Change, Movement, Notice, Way};
pub use event::{Answer, Event, Purchase, Refusal};
pub use held::{Held, Payment};
pub use openings::OpeningStep;

use crate::accounts::Accounts;
use crate::adjustments::Adjustments;
use crate::baskets::Baskets;
use crate::campaigns::Campaign;
use crate::coupons::{Code, Coupons};
use crate::experiments::{AssignmentKey, GroupResult};
use crate::fraud::Watch;
use crate::ids::{Account, BasketPart, Fen, Name};
use crate::marketing::{Consents, Offering};
use crate::openings::Opening;
use crate::profile::{Names, Profile};
use crate::requests::{Key, Requests};
use crate::rewards::Rewards;
use crate::rules::{RuleChange, Rules, Words};
use crate::segments::SegmentTerms;

/// Most notices that are kept; who pushes messages must read in time.
const NOTICES_MAX: usize = 10_000;

/// A generator, passed in: coupon codes are drawn from it.
pub type Random<'a> = &'a mut dyn FnMut(&mut [u8]);

/// What is to be looked at when a moment has come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
enum Due {
    /// A member's lots expire.
    #[n(0)]
    Expiry(#[n(0)] Account),
    /// A member is to be told that some will.
    #[n(1)]
    Notice(#[n(0)] Account),
    /// A member may have come into a segment, or out of a tier.
    #[n(2)]
    Look(#[n(0)] Account),
    /// A member's birthday.
    #[n(3)]
    Birthday(#[n(0)] Account),
    /// What was set aside was not fetched.
    #[n(4)]
    Hold(#[n(0)] Key),
    /// A case should have been looked at.
    #[n(5)]
    Case(#[n(0)] u64),
    /// A request should have been answered.
    #[n(6)]
    Request(#[n(0)] u64),
    /// The announced rules hold.
    #[n(7)]
    Rules,
    /// A campaign begins.
    #[n(8)]
    Campaign(#[n(0)] Name),
}

/// What a request under a key came to, so that it may be repeated.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
enum Done {
    #[n(0)]
    Paid {
        #[n(0)]
        account: Account,
        #[n(1)]
        points: Points,
        #[n(2)]
        worth: Fen,
        #[n(3)]
        reversed: bool,
    },
    #[n(1)]
    Claimed {
        #[n(0)]
        account: Account,
        #[n(1)]
        code: Code,
    },
    #[n(2)]
    Adjusted {
        #[n(0)]
        number: u64,
    },
}

/// A notice with its place in the sequence of all.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Told {
    /// 1, 2, 3 and so on.
    #[n(0)]
    pub number: u64,
    /// To whom; staff if nobody.
    #[n(1)]
    pub account: Option<Account>,
    /// When.
    #[n(2)]
    pub at: Timestamp,
    /// What.
    #[n(3)]
    pub notice: Notice,
}

/// All that changes make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct State {
    #[n(0)]
    accounts: Accounts,
    #[n(1)]
    profiles: SharedMap<Account, Profile>,
    #[n(2)]
    names: Names,
    #[n(3)]
    baskets: Baskets,
    #[n(4)]
    coupons: Coupons,
    #[n(5)]
    rewards: Rewards,
    #[n(6)]
    watch: Watch,
    #[n(7)]
    requests: Requests,
    #[n(8)]
    results: BTreeMap<(Name, u8), GroupResult>,
    #[n(9)]
    done: SharedMap<Key, Done>,
    #[n(10)]
    due: SharedSet<(Timestamp, Due)>,
    #[n(11)]
    told: VecDeque<Told>,
    #[n(12)]
    told_last: u64,
    // who of a test has bought
    #[n(13)]
    bought: SharedMap<(Account, Name), Timestamp>,
    #[n(14)]
    adjustments: Adjustments,
    // who was merged into whom
    #[cbor(n(15), default)]
    merged: SharedMap<Account, Account>,
    // those that staff keeps beside the rules
    #[cbor(n(16), default)]
    segments: BTreeMap<Name, SegmentTerms>,
    #[cbor(n(17), default)]
    campaigns: BTreeMap<Name, Campaign>,
    // who of an offer's members was left out for want of a consent to marketing
    #[cbor(n(18), default)]
    left_out: SharedSet<(Offering, Account)>,
    // how many that are, and were before they were erased
    #[cbor(n(19), default)]
    left_out_counts: BTreeMap<Offering, u64>,
    // what members have brought from a programme of before, and what waits to be
    #[cbor(n(20), default)]
    openings: SharedMap<Account, Opening>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Announced {
    rules: Rules,
    change: RuleChange,
}

/// One brand's programme.
#[derive(Debug)]
pub struct Programme {
    key: AssignmentKey,
    rules: Option<Rules>,
    announced: Option<Announced>,
    state: State,
}

/// A programme's state at some moment.
#[derive(Clone, Debug)]
pub struct ProgrammeCopy {
    rules: Option<String>,
    announced: Option<(String, Timestamp, Timestamp)>,
    state: State,
}

impl ProgrammeCopy {
    /// All of it, for a snapshot of the journal.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // writing into memory does not fail
        let _ = minicbor::encode((&self.rules, &self.announced, &self.state), &mut bytes);
        bytes
    }
}

/// A snapshot that another version wrote, or that is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a snapshot of the programme cannot be read")]
pub struct InvalidSnapshot;

/// What came of it, or why not.
pub type Outcome<T = Answer> = Result<T, Refusal>;

impl Programme {
    /// A programme without rules and members. The key assigns members to groups of tests.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        let key = AssignmentKey::new(key);
        Self { key, rules: None, announced: None, state: State::default() }
    }

    /// Begins under first rules. Balances of before are then carried over by [`Self::follow`]. As long as
    /// nobody has anything under them, others may be taken in their place.
    ///
    /// # Errors
    /// When it is in use already.
    pub fn open(&mut self, rules: &Rules, now: Timestamp, out: &mut Vec<Change>) -> Outcome<()> {
        if !self.is_unused() {
            let [zh, en] =
                ["积分计划已启用：请提交变更", "the programme is open: propose a change"];
            return Err(Refusal::Rules(Words { zh: zh.to_owned(), en: en.to_owned() }));
        }
        self.enter(Change::Opened { rules: rules.text().to_owned(), at: now }, out)
    }

    /// Handles what happens. Offers that are marketing go to members who consent as of now ([`Consents`]).
    ///
    /// # Errors
    /// [`Refusal`]; then nothing has changed, but after [`Refusal::Broken`] the state is not to be
    /// used any more.
    pub fn handle(
        &mut self,
        event: Event,
        now: Timestamp,
        random: Random<'_>,
        consents: Consents<'_>,
        out: &mut Vec<Change>,
    ) -> Outcome {
        match event {
            Event::Joined { .. } => self.joined(event, now, random, consents, out),
            Event::Purchased(purchase) => self.purchased(purchase, now, random, consents, out),
            Event::PurchasedOutside(purchase) => self.passed_over(purchase, out),
            Event::Leave { account } => self.leave(account, now, out),
            Event::ComeBack { account } => self.come_back(account, now, out),
            Event::SignedIn { account } => self.signed_in(account, now, random, consents, out),
            Event::Did { account, activity } => {
                self.did(account, &activity, now, random, consents, out)
            }
            Event::Pay { key, account, points, basket } => {
                self.pay(key, account, (points, basket), now, out)
            }
            Event::ClaimCoupon { key, account, kind } => {
                self.claim(key, account, &kind, (now, random), out)
            }
            Event::RedeemCoupon { key, code, basket, place } => {
                self.redeem(key, code, (basket, place), now, out)
            }
            Event::Stock { reward, total } => self.stock(&reward, total, out),
            Event::HoldReward { key, account, reward, second_step } => {
                self.hold_reward(key, account, (&reward, second_step), now, out)
            }
            Event::HandOver { key } => self.close_hold(key, true, out),
            Event::GiveUp { key } => self.close_hold(key, false, out),
            Event::Review { case, verdict, by, reason } => {
                self.review(case, verdict, (by, reason), now, out)
            }
            Event::Ask { account, about, text } => self.ask(account, about, text, now, out),
            Event::Answer { request, text } => self.answer(request, text, now, out),
            Event::GiveCoupon { key, account, kind } => {
                self.give_coupon(key, account, &kind, (now, random), out)
            }
            Event::ReversePayment { key, account } => self.reverse_payment(key, account, now, out),
            Event::ReopenCoupon { key, code } => self.reopen_coupon(key, code, out),
            Event::Adjust { key, account, points, gives, reason, by } => {
                self.adjust(key, account, (points, gives), (reason, by), now, out)
            }
            Event::DecideAdjustment { number, agrees, by } => {
                self.decide_adjustment(number, agrees, by, now, out)
            }
            Event::BringOpening { account, balance, by, enters, replaces } => {
                self.bring_opening(account, &balance, (by, enters, replaces), now, out)
            }
            Event::ProposeRules { rules, effective, notice } => {
                self.propose(&rules, (effective, notice), now, out)
            }
            Event::WithdrawRules => self.withdraw(now, out),
            Event::KeepSegment { name, terms } => self.keep_segment(name, terms, out),
            Event::DropSegment { name } => self.drop_segment(name, out),
            Event::MakeCampaign { name, terms, by } => {
                self.make_campaign(name, terms, by, now, out)
            }
            Event::EndCampaign { name } => self.end_campaign(name, now, out),
            Event::Merge { from, into } => self.merge(from, into, now, out),
            Event::Part { account } => self.part(account, out),
            Event::Birthday { account, birthday } => self.birthday(account, birthday, now, out),
            Event::Forget { account } => {
                self.enter(Change::Forgotten { account }, out)?;
                Ok(Answer::Done)
            }
        }
    }

    /// Enters a change, now or when it is replayed; gives it out.
    fn enter(&mut self, change: Change, out: &mut Vec<Change>) -> Outcome<()> {
        self.replay(&change)?;
        out.push(change);
        Ok(())
    }

    fn told(
        &mut self,
        account: Option<Account>,
        at: Timestamp,
        notice: Notice,
        out: &mut Vec<Change>,
    ) -> Outcome<()> {
        self.enter(Change::Told { account, at, notice }, out)
    }

    fn rules_now(&self) -> Outcome<&Rules> {
        self.rules.as_ref().ok_or(Refusal::NoRules)
    }

    /// Whether no member has had anything of it yet: there is nobody who would have to be told of other
    /// rules.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.state.profiles.is_empty()
            && self.state.accounts.is_empty()
            && self.state.baskets.is_empty()
    }

    // --- what can be seen

    /// The rules in force.
    #[must_use]
    pub const fn rules(&self) -> Option<&Rules> {
        self.rules.as_ref()
    }
    /// The rules to come, and what changes.
    #[must_use]
    pub fn announced(&self) -> Option<(&Rules, &RuleChange)> {
        self.announced.as_ref().map(|it| (&it.rules, &it.change))
    }
    /// The books.
    #[must_use]
    pub const fn accounts(&self) -> &Accounts {
        &self.state.accounts
    }
    /// What is remembered of a member.
    #[must_use]
    pub fn profile(&self, account: Account) -> Profile {
        self.state.profiles.get(&account).cloned().unwrap_or_default()
    }
    /// Whether an account is stopped: nothing of it may be spent until its case is reviewed.
    #[must_use]
    pub fn is_stopped(&self, account: Account) -> bool {
        self.state.profiles.get(&account).is_some_and(|profile| profile.stopped)
    }
    /// The open case that holds an account: nothing may leave it until that is closed.
    #[must_use]
    pub fn held_for_review(&self, account: Account) -> Option<u64> {
        let held = self.state.profiles.get(&account).is_some_and(|profile| profile.held);
        if held { self.state.watch.held_by(account) } else { None }
    }
    /// Names of categories and channels.
    #[must_use]
    pub const fn names(&self) -> &Names {
        &self.state.names
    }
    /// All coupons.
    #[must_use]
    pub const fn coupons(&self) -> &Coupons {
        &self.state.coupons
    }
    /// All rewards.
    #[must_use]
    pub const fn rewards(&self) -> &Rewards {
        &self.state.rewards
    }
    /// Signs of fraud and the queue of reviews.
    #[must_use]
    pub const fn watch(&self) -> &Watch {
        &self.state.watch
    }
    /// Corrections by staff.
    #[must_use]
    pub const fn adjustments(&self) -> &Adjustments {
        &self.state.adjustments
    }
    /// Baskets that have counted.
    #[must_use]
    pub const fn baskets(&self) -> &Baskets {
        &self.state.baskets
    }
    /// What members ask.
    #[must_use]
    pub const fn requests(&self) -> &Requests {
        &self.state.requests
    }
    /// How the groups of tests do: test, place of the group, result.
    pub fn results(&self) -> impl Iterator<Item = (&Name, u8, GroupResult)> {
        self.state.results.iter().map(|((name, group), result)| (name, *group, *result))
    }
    /// Notices after a number, oldest first, as far as they are kept.
    pub fn notices(&self, after: u64) -> impl Iterator<Item = &Told> {
        let from = self.state.told.partition_point(|told| told.number <= after);
        self.state.told.range(from..)
    }
    /// The number of the newest notice there was, 0 before the first.
    #[must_use]
    pub const fn last_notice(&self) -> u64 {
        self.state.told_last
    }
    /// Whether some of the notices after a number are kept no longer: the number of the first that is.
    #[must_use]
    pub fn notices_lost_before(&self, after: u64) -> Option<u64> {
        let first = self.state.told.front()?.number;
        (after.saturating_add(1) < first).then_some(first)
    }
    /// Members that are remembered.
    #[must_use]
    pub fn members(&self) -> usize {
        self.state.profiles.len()
    }
    /// Whether anything is remembered of a member.
    #[must_use]
    pub fn knows(&self, account: Account) -> bool {
        self.state.profiles.contains_key(&account)
    }
    /// Whether whoever keeps birth dates is to say when a member's birthday is: it is not known, and was not asked.
    #[must_use]
    pub fn asks_birthday(&self, account: Account) -> bool {
        let profile = self.state.profiles.get(&account);
        self.rules.is_some()
            && profile.is_none_or(|it| it.birthday.is_none() && !it.birthday_asked && !it.outside)
    }
    /// The next members after one that are remembered, at most so many, and whether each takes part.
    #[must_use]
    pub fn members_after(&self, after: Option<Account>, most: usize) -> Vec<(Account, bool)> {
        let takes_part = |(account, profile): (&Account, &Profile)| (*account, !profile.outside);
        match after {
            None => self.state.profiles.iter().take(most).map(takes_part).collect(),
            Some(after) => {
                let others = self.state.profiles.from_key(&after);
                let others = others.filter(|(account, _)| **account > after);
                others.take(most).map(takes_part).collect()
            }
        }
    }
    /// Into whom a member was merged.
    #[must_use]
    pub fn merged_into(&self, account: Account) -> Option<Account> {
        self.state.merged.get(&account).copied()
    }
    /// Whether this part of a basket has counted.
    #[must_use]
    pub fn has_counted(&self, part: BasketPart) -> bool {
        self.state.baskets.has(part)
    }

    // --- snapshots

    /// The state as it is now, for a snapshot of the journal: what grows with members is shared with it, not
    /// copied.
    #[must_use]
    pub fn copy(&self) -> ProgrammeCopy {
        let announced = self.announced.as_ref();
        let text = |rules: &Rules| rules.text().to_owned();
        ProgrammeCopy {
            rules: self.rules.as_ref().map(text),
            announced: announced
                .map(|it| (text(&it.rules), it.change.announced, it.change.effective)),
            state: self.state.clone(),
        }
    }

    /// All of the state, for a snapshot of the journal.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        self.copy().to_bytes()
    }

    /// The state of a snapshot.
    ///
    /// # Errors
    /// [`InvalidSnapshot`].
    pub fn restore(key: &[u8; 32], bytes: &[u8]) -> Result<Self, InvalidSnapshot> {
        type Parts = (Option<String>, Option<(String, Timestamp, Timestamp)>, State);
        let (rules, announced, state): Parts =
            minicbor::decode(bytes).map_err(|_| InvalidSnapshot)?;
        let read = |text: &str| Rules::kept(text).map_err(|_| InvalidSnapshot);
        let rules = rules.as_deref().map(read).transpose()?;
        let mut programme = Self { key: AssignmentKey::new(key), rules, announced: None, state };
        if let Some((text, at, effective)) = announced {
            programme.announce(&text, at, effective).map_err(|_| InvalidSnapshot)?;
        }
        Ok(programme)
    }

    fn announce(&mut self, text: &str, at: Timestamp, effective: Timestamp) -> Outcome<()> {
        let rules = Rules::kept(text)?;
        // what a constitution asked for was looked at when it was proposed
        let none = Milliseconds::new(0);
        let change = RuleChange::between(self.rules_now()?, &rules, at, effective, none)?;
        self.announced = Some(Announced { rules, change });
        Ok(())
    }
}
