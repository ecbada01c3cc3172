//! Consent: to what, to which notice, when, and where it came from.
//!
//! Knows: purposes, that the last word on a purpose counts, that giving data to another brand needs a
//! consent that names the brand (PIPL art. 23), that a guardian decides for a child under 14 (art. 31).
//! Does not know how consent is asked for, nor what the day is: the time is in the decision.

use std::collections::BTreeMap;

use jiff::civil::Date;
use minicbor::{Decode, Encode};
use protocol::ids::BrandId;
use protocol::time::Timestamp;

/// What personal data may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Purpose {
    /// Earning and spending points at the brand.
    #[n(0)]
    Programme,
    /// Exchanging points with other brands of the alliance.
    #[n(1)]
    Exchange,
    /// Entering noised sums that several brands release together.
    #[n(2)]
    JointAnalytics,
    /// Offers made to the member.
    #[n(3)]
    Marketing,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 4] =
        [Self::Programme, Self::Exchange, Self::JointAnalytics, Self::Marketing];

    /// The name it has in constitutions, requests and notices.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Programme => "programme",
            Self::Exchange => "exchange",
            Self::JointAnalytics => "joint_analytics",
            Self::Marketing => "marketing",
        }
    }

    /// The purpose of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }
}

/// Where a decision came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ConsentSource {
    /// The member, in person.
    #[n(0)]
    Member,
    /// Staff of the brand, on the member's word.
    #[n(1)]
    Staff,
    /// The stated rule of the sample: its real people were asked for other purposes by others, so
    /// the demonstration writes down that it assumes consent.
    #[n(2)]
    SampleRule,
}

/// Who decides for a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Guardian {
    /// A parent.
    #[n(0)]
    Parent,
    /// Another guardian in the sense of the law.
    #[n(1)]
    Other,
}

impl Guardian {
    /// Every kind of guardian.
    pub const ALL: [Self; 2] = [Self::Parent, Self::Other];

    /// Its name in requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parent => "parent",
            Self::Other => "other",
        }
    }
}

/// The age from which a person decides alone, in years (PIPL art. 31).
pub const DECIDES_FROM: i16 = 14;

/// Whether a person born on a date has not reached [`DECIDES_FROM`] on a day.
#[must_use]
pub fn is_child(born: Date, on: Date) -> bool {
    // who is born on 29 February is fourteen on 1 March: never a day too early
    let years = on.year() - born.year();
    let had_birthday = (on.month(), on.day()) >= (born.month(), born.day());
    years - i16::from(!had_birthday) < DECIDES_FROM
}

/// The day of a moment in China (UTC+8, without summer time), where the law counts it.
#[must_use]
pub fn day_in_china(at: Timestamp) -> Date {
    let ms = i64::try_from(at.unix_ms()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms)
        .map(|at| jiff::tz::offset(8).to_datetime(at).date())
        .unwrap_or(Date::MAX)
}

/// One decision of one member on one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Consent {
    /// To what.
    #[n(0)]
    pub purpose: Purpose,
    /// Given, or withdrawn.
    #[n(1)]
    pub granted: bool,
    /// Version of the notice the member was shown.
    #[n(2)]
    pub notice_version: u32,
    /// When.
    #[n(3)]
    pub at: Timestamp,
    /// From where.
    #[n(4)]
    pub source: ConsentSource,
    /// To which brand's receiving the data this is a consent: separate from the purpose as such, since
    /// that brand decides for itself what it does with it (PIPL art. 23).
    #[n(5)]
    pub receiver: Option<BrandId>,
    /// Who decided for a child.
    #[n(6)]
    pub guardian: Option<Guardian>,
}

impl Consent {
    /// A decision on a purpose, by the member.
    #[must_use]
    pub const fn new(purpose: Purpose, granted: bool, notice_version: u32, at: Timestamp) -> Self {
        let source = ConsentSource::Member;
        Self { purpose, granted, notice_version, at, source, receiver: None, guardian: None }
    }
}

/// Most decisions kept of one member; a further one is refused.
pub const DECISIONS_MAX: usize = 1_000;

/// Every decision of a member, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct ConsentHistory(#[n(0)] Vec<Consent>);

impl ConsentHistory {
    /// The history that begins with these decisions.
    #[must_use]
    pub fn beginning_with(decisions: &[Consent]) -> Self {
        Self(decisions.iter().take(DECISIONS_MAX).copied().collect())
    }

    /// Adds a decision; says whether there was room.
    #[must_use]
    pub(super) fn push(&mut self, decision: Consent) -> bool {
        let room = self.0.len() < DECISIONS_MAX;
        if room {
            self.0.push(decision);
        }
        room
    }

    /// The decision in force on a purpose: the last one entered.
    #[must_use]
    pub fn in_force(&self, purpose: Purpose) -> Option<&Consent> {
        self.0.iter().rev().find(|it| it.purpose == purpose && it.receiver.is_none())
    }

    /// The decision in force on giving data to a brand for a purpose.
    #[must_use]
    pub fn in_force_to(&self, purpose: Purpose, receiver: BrandId) -> Option<&Consent> {
        self.0.iter().rev().find(|it| it.purpose == purpose && it.receiver == Some(receiver))
    }

    /// Whether data may be given to a brand for a purpose: both the purpose and the brand must have
    /// been agreed to.
    #[must_use]
    pub fn allows_to(&self, purpose: Purpose, receiver: BrandId) -> bool {
        self.allows(purpose) && self.in_force_to(purpose, receiver).is_some_and(|it| it.granted)
    }

    /// Brands to which data may be given for a purpose, in order.
    #[must_use]
    pub fn receivers(&self, purpose: Purpose) -> Vec<BrandId> {
        let mut named: Vec<BrandId> = self.0.iter().filter_map(|it| it.receiver).collect();
        named.sort_unstable();
        named.dedup();
        named.retain(|receiver| self.allows_to(purpose, *receiver));
        named
    }

    /// What is in force that nobody but a guardian may have said, of a child's: purposes and receivers.
    pub(super) fn without_guardian(&self) -> Vec<Consent> {
        let mut seen: Vec<(Purpose, Option<BrandId>)> = Vec::new();
        let mut found = Vec::new();
        for decision in self.0.iter().rev() {
            let of = (decision.purpose, decision.receiver);
            if seen.contains(&of) {
                continue;
            }
            seen.push(of);
            if decision.granted && decision.guardian.is_none() {
                found.push(*decision);
            }
        }
        found
    }

    /// Whether data may be used for a purpose: silence is no.
    #[must_use]
    pub fn allows(&self, purpose: Purpose) -> bool {
        self.in_force(purpose).is_some_and(|decision| decision.granted)
    }

    /// All decisions, oldest first.
    #[must_use]
    pub fn decisions(&self) -> &[Consent] {
        &self.0
    }
}

/// Who agreed to one version of the notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// How many members agree now.
    pub members: u64,
    /// When the first of them said so.
    pub first: Timestamp,
    /// When the last did.
    pub last: Timestamp,
}

/// How many members have decided what on one use of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentCount {
    /// What for.
    pub purpose: Purpose,
    /// Who receives data, where it is the separate consent to that.
    pub receiver: Option<BrandId>,
    /// Members who agree.
    pub given: u64,
    /// Members who have taken it back, or said no.
    pub withdrawn: u64,
    /// Members who never said anything.
    pub never: u64,
    /// Those who agree, by the version of the notice that they were shown.
    pub versions: BTreeMap<u32, Agreed>,
}

impl ConsentCount {
    pub(super) const fn of(purpose: Purpose, receiver: Option<BrandId>) -> Self {
        let versions = BTreeMap::new();
        Self { purpose, receiver, given: 0, withdrawn: 0, never: 0, versions }
    }

    /// Counts one member.
    pub(super) fn add(&mut self, history: &ConsentHistory) {
        let decision = match self.receiver {
            None => history.in_force(self.purpose),
            Some(brand) => history.in_force_to(self.purpose, brand),
        };
        match decision {
            Some(decision) if decision.granted => {
                self.given += 1;
                let at = decision.at;
                let none = Agreed { members: 0, first: at, last: at };
                let agreed = self.versions.entry(decision.notice_version).or_insert(none);
                agreed.members += 1;
                (agreed.first, agreed.last) = (agreed.first.min(at), agreed.last.max(at));
            }
            Some(_) => self.withdrawn += 1,
            None => self.never += 1,
        }
    }
}

/// The sample's rule: these purposes are taken as consented to, and every record says so.
#[must_use]
pub fn sample_rule(at: Timestamp) -> [Consent; 3] {
    [Purpose::Programme, Purpose::Exchange, Purpose::JointAnalytics].map(|purpose| Consent {
        purpose,
        granted: true,
        notice_version: 1,
        at,
        source: ConsentSource::SampleRule,
        receiver: None,
        guardian: None,
    })
}

/// The sample's rule for receiving brands: exchange with each of them is taken as consented to, and
/// every record says so.
#[must_use]
pub fn sample_rule_to(receiver: BrandId, at: Timestamp) -> Consent {
    Consent {
        receiver: Some(receiver),
        source: ConsentSource::SampleRule,
        ..Consent::new(Purpose::Exchange, true, 1, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_is_found_by_its_name() {
        assert!(Purpose::ALL.iter().all(|of| Purpose::from_name(of.name()) == Some(*of)));
        assert_eq!(Purpose::from_name("joint_analytics"), Some(Purpose::JointAnalytics));
        assert_eq!(Purpose::from_name("Joint_Analytics"), None);
    }

    #[test]
    fn the_last_decision_counts_and_silence_is_no() {
        let mut history = ConsentHistory::beginning_with(&sample_rule(Timestamp::from_unix_ms(5)));
        assert!(history.allows(Purpose::JointAnalytics) && !history.allows(Purpose::Marketing));
        let withdrawn = Consent {
            purpose: Purpose::JointAnalytics,
            granted: false,
            notice_version: 1,
            at: Timestamp::from_unix_ms(9),
            source: ConsentSource::Member,
            receiver: None,
            guardian: None,
        };
        assert!(history.push(withdrawn));
        assert!(!history.allows(Purpose::JointAnalytics) && history.allows(Purpose::Exchange));
        assert_eq!(history.in_force(Purpose::JointAnalytics), Some(&withdrawn));
        let bytes = protocol::codec::encode(&history);
        assert_eq!(protocol::codec::decode("consents", &bytes, 1 << 16), Ok(history));
    }

    #[test]
    fn giving_data_to_a_brand_needs_both_the_purpose_and_the_brand() {
        let at = Timestamp::from_unix_ms(5);
        let [one, other] = ["grocer_one", "grocer_two"].map(|id| BrandId::new(id).unwrap());
        let mut history = ConsentHistory::beginning_with(&sample_rule(at));
        assert!(history.allows(Purpose::Exchange) && !history.allows_to(Purpose::Exchange, one));
        assert!(history.push(sample_rule_to(one, at)));
        assert!(history.allows_to(Purpose::Exchange, one));
        assert!(!history.allows_to(Purpose::Exchange, other), "each brand by itself");
        assert_eq!(history.receivers(Purpose::Exchange), [one]);
        // a word on one brand is none on the purpose
        assert!(history.push(Consent { granted: false, ..sample_rule_to(one, at) }));
        assert!(
            history.allows(Purpose::Exchange) && history.receivers(Purpose::Exchange).is_empty()
        );
        assert!(history.push(sample_rule_to(one, at)));
        assert!(history.push(Consent::new(Purpose::Exchange, false, 1, at)));
        assert!(!history.allows_to(Purpose::Exchange, one), "nor the other way round");
    }

    #[test]
    fn a_decision_of_before_receivers_and_guardians_is_read() {
        // [purpose, granted, notice version, at, source] as version 0 of the vault wrote it
        let bytes = [0x81, 0x85, 0x01, 0xf5, 0x01, 0x05, 0x00];
        let history: ConsentHistory = protocol::codec::decode("consents", &bytes, 64).unwrap();
        assert!(history.allows(Purpose::Exchange));
        assert_eq!(protocol::codec::encode(&history), bytes);
    }

    #[test]
    fn a_child_is_one_until_the_fourteenth_birthday() {
        let day = |text: &str| text.parse::<Date>().unwrap();
        for (born, on, child) in [
            ("2012-06-01", "2026-05-31", true),
            ("2012-06-01", "2026-06-01", false),
            ("2012-02-29", "2026-02-28", true),
            ("2012-02-29", "2026-03-01", false),
            ("2030-01-01", "2026-01-01", true),
        ] {
            assert_eq!(is_child(day(born), day(on)), child, "{born} on {on}");
        }
        // 16:00 UTC is midnight in China
        let at = |ms| Timestamp::from_unix_ms(ms);
        assert_eq!(day_in_china(at(57_599_999)), day("1970-01-01"));
        assert_eq!(day_in_china(at(57_600_000)), day("1970-01-02"));
    }
}
