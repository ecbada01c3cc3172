//! Which tier a member has, and how far the next is.

use protocol::amount::Rate;
use protocol::time::Timestamp;

use crate::ids::Fen;
use crate::profile::Profile;
use crate::rules::{Rules, Tier, TierBasis};

/// What is missing to the next tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// So many points.
    Points(u64),
    /// Purchases and money in the months that count; and whether a purchase today is needed for the
    /// latest to be recent enough.
    Rfm {
        /// Purchases missing.
        purchases: u32,
        /// Fen missing.
        fen: u64,
        /// The latest purchase is too long ago.
        recent: bool,
    },
}

/// A member's tier and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing<'r> {
    /// The tier; none at the beginning.
    pub tier: Option<&'r Tier>,
    /// The next, and what is missing to it; none at the top.
    pub next: Option<(&'r Tier, Distance)>,
}

/// The rank of the tier that a member fulfils now: 1 is the lowest, 0 none.
#[must_use]
pub fn rank(rules: &Rules, profile: &Profile, now: Timestamp) -> u8 {
    let fulfilled =
        rules.tiers.list.iter().rposition(|tier| missing(rules, tier, profile, now).is_none());
    fulfilled.map_or(0, |place| u8::try_from(place.saturating_add(1)).unwrap_or(u8::MAX))
}

/// A member's tier as it was last found, and the distance to the next.
#[must_use]
pub fn standing<'r>(rules: &'r Rules, profile: &Profile, now: Timestamp) -> Standing<'r> {
    let tier = rules.tiers.of_rank(profile.rank);
    let next = rules.tiers.of_rank(profile.rank.saturating_add(1)).filter(|_| !profile.outside);
    let next = next.map(|tier| {
        let nothing = Distance::Points(0);
        (tier, missing(rules, tier, profile, now).unwrap_or(nothing))
    });
    Standing { tier, next }
}

/// What the member's tier multiplies points by.
#[must_use]
pub fn factor(rules: &Rules, profile: &Profile) -> Rate {
    rules.tiers.of_rank(profile.rank).map_or(Rate::ONE, |tier| tier.factor)
}

fn missing(rules: &Rules, tier: &Tier, profile: &Profile, now: Timestamp) -> Option<Distance> {
    match rules.tiers.basis {
        TierBasis::Points => {
            let points = tier.from_points.get().saturating_sub(profile.accumulated);
            (points > 0).then_some(Distance::Points(points))
        }
        TierBasis::Rfm { months } => {
            let (purchases, fen) = profile.recent(rules.zone.day(now), months);
            let purchases = tier.purchases.saturating_sub(purchases);
            let fen = Fen::get(tier.spent).saturating_sub(fen);
            let quiet = profile.quiet_days(now, rules.zone);
            let recent = quiet.is_none_or(|days| days > tier.within_days);
            let fulfilled = purchases == 0 && fen == 0 && !recent;
            (!fulfilled).then_some(Distance::Rfm { purchases, fen, recent })
        }
    }
}
