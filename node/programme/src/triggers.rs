//! Which triggers give a member something, now that something has happened.

use protocol::time::Timestamp;

use crate::ids::Name;
use crate::profile::{Names, Profile};
use crate::rules::{Rules, Trigger, When};
use crate::segments;

/// The triggers that wait for this and have not given the member something lately. Who waits for a
/// segment is looked at after every event.
#[must_use]
pub fn due<'r>(
    rules: &'r Rules,
    whens: &[When],
    profile: &Profile,
    names: &Names,
    now: Timestamp,
) -> Vec<(&'r Name, &'r Trigger)> {
    let fires = |name: &Name, trigger: &Trigger| {
        let inside = trigger.segment.as_ref().is_none_or(|segment| {
            let segment = rules.segments.get(segment);
            segment.is_some_and(|it| segments::contains(it, rules, profile, names, now))
        });
        inside && !profile.fired_within(name, now, trigger.again_after_days)
    };
    let waiting = rules.triggers.iter().filter(|(_, trigger)| whens.contains(&trigger.when));
    waiting.filter(|(name, trigger)| fires(name, trigger)).collect()
}
