//! Who is in a segment: decided from a member's profile, when it changes or when time passes.

use protocol::time::Timestamp;

use crate::ids::Name;
use crate::profile::{Names, Profile};
use crate::rules::{Rules, Segment};

/// Months whose spending a segment looks at.
const MONTHS: u32 = 12;

/// Whether a member fulfils all that a segment states.
#[must_use]
pub fn contains(
    segment: &Segment,
    rules: &Rules,
    profile: &Profile,
    names: &Names,
    now: Timestamp,
) -> bool {
    let zone = rules.zone;
    segment.tier_at_least.is_none_or(|rank| profile.rank >= rank)
        && segment
            .quiet_days
            .is_none_or(|least| profile.quiet_days(now, zone).is_some_and(|days| days >= least))
        && segment
            .spent_at_least
            .is_none_or(|least| profile.recent(zone.day(now), MONTHS).1 >= least.get())
        && segment.category.as_ref().is_none_or(|it| profile.category(names) == Some(it))
        && segment.channel.as_ref().is_none_or(|it| profile.channel(names) == Some(it))
        && segment.hours.is_none_or(|it| profile.hours() == Some(it))
        && segment.lifecycle.is_none_or(|it| profile.lifecycle(now, zone) == it)
}

/// The segments a member is in.
#[must_use]
pub fn of<'r>(rules: &'r Rules, profile: &Profile, names: &Names, now: Timestamp) -> Vec<&'r Name> {
    let inside = rules.segments.iter().filter(|(_, it)| contains(it, rules, profile, names, now));
    inside.map(|(name, _)| name).collect()
}

/// Days without a purchase after which some segment may be entered: when to look again.
#[must_use]
pub fn looks_after(rules: &Rules) -> Vec<u32> {
    let mut days: Vec<u32> = rules.segments.values().filter_map(|it| it.quiet_days).collect();
    // lifecycle's own borders
    if rules.segments.values().any(|segment| segment.lifecycle.is_some()) {
        days.extend([91, 181]);
    }
    days.sort_unstable();
    days.dedup();
    days
}
