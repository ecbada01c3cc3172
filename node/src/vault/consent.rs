//! Consent: to what, to which notice, when, and where it came from.
//!
//! Knows: purposes, and that the last word on a purpose counts. Does not know how consent is asked
//! for, nor consent to a named receiving brand (PIPL art. 23) or by a guardian (art. 31).

use minicbor::{Decode, Encode};
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
        self.0.iter().rev().find(|decision| decision.purpose == purpose)
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

/// The sample's rule: these purposes are taken as consented to, and every record says so.
#[must_use]
pub fn sample_rule(at: Timestamp) -> [Consent; 3] {
    [Purpose::Programme, Purpose::Exchange, Purpose::JointAnalytics].map(|purpose| Consent {
        purpose,
        granted: true,
        notice_version: 1,
        at,
        source: ConsentSource::SampleRule,
    })
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
        };
        assert!(history.push(withdrawn));
        assert!(!history.allows(Purpose::JointAnalytics) && history.allows(Purpose::Exchange));
        assert_eq!(history.in_force(Purpose::JointAnalytics), Some(&withdrawn));
        let bytes = protocol::codec::encode(&history);
        assert_eq!(protocol::codec::decode("consents", &bytes, 1 << 16), Ok(history));
    }
}
