//! Disputes that were resolved: both logs say the same, the dispute is one, the totals before it are those
//! that the accused's log commits to, and what counts is worth what is said.
//!
//! What each block with a resolution must be by itself is judged with the block. When all of it stands,
//! what was wrong with the column until then is no finding any more.

use super::across::Across;
use super::blocks::{Lookup, look_up};
use super::folder::LogFolder;
use super::originals::Originals;
use super::report::{Place, Reason, Recorder, Rule, count};
use crate::amount::Value;
use crate::ids::{Height, LeafIndex};
use crate::log::block::ColumnContent;
use crate::log::resolution::DisputeResolved;

pub(super) fn judge<F: LogFolder>(
    across: &Across,
    originals: &mut Originals<'_, F>,
    recorder: &mut Recorder,
) {
    for (place, it) in &across.resolutions {
        // judged where the accuser agrees; an offer alone changes nothing
        if place.log == it.accuser {
            judge_one(across, originals, (*place, it), recorder);
        }
    }
}

fn judge_one<F: LogFolder>(
    across: &Across,
    originals: &mut Originals<'_, F>,
    (place, it): (Place, &DisputeResolved),
    recorder: &mut Recorder,
) {
    let offered = across.resolutions.iter().any(|(offered, same)| {
        offered.log == it.accused && offered.height == it.last.next() && same == it
    });
    if !offered {
        if across.damaged.contains(&it.accused) {
            return recorder.not_checked(place.log, Reason::JudgedByMissing, 1);
        }
        let message = format_args!("{} has entered no such resolution in its log", it.accused);
        return recorder.find(place, Rule::DisputeUnagreed, message);
    }
    let disputed = across.disputes.iter().any(|(opened, dispute)| {
        opened.log == it.accuser && (dispute.log, dispute.height) == (it.accused, it.began)
    });
    if !disputed {
        let message = format_args!("it never disputed block {} of {}", it.began, it.accused);
        return recorder.find(place, Rule::DisputeResolution, message);
    }
    match continues(originals, it) {
        Some(true) => {}
        Some(false) => {
            let message = "the totals before the dispute are not those that the log commits to";
            return recorder.find(place, Rule::DisputeResolution, message);
        }
        None => return recorder.not_checked(place.log, Reason::JudgedByMissing, 1),
    }
    match worth(originals, it) {
        Some(worth) if worth != it.counted => {
            let message = format_args!("the leaves that count are worth {worth}");
            return recorder.find(place, Rule::DisputeResolution, message);
        }
        // sealed to the auditor: what both sides say of them stands
        None => {
            recorder.not_checked(place.log, Reason::OtherLegUnopened, it.stands.len().max(1) as u64)
        }
        Some(_) => {}
    }
    count(&mut recorder.counts.resolutions, 1);
    recorder.resolve(it.sides(), it.began..=it.last);
}

/// Whether the totals before the dispute are what the accused's log commits to.
fn continues<F: LogFolder>(originals: &Originals<'_, F>, it: &DisputeResolved) -> Option<bool> {
    let previous = Height::new(it.began.get().saturating_sub(1));
    if previous == Height::new(0) {
        return Some(it.before == ColumnContent::nothing());
    }
    let Lookup::Found(_, header) = look_up(originals.logs(), it.accused, previous) else {
        return None;
    };
    // a brand that had no column before was sent nothing
    Some(header.column(it.accuser).map_or(it.before == ColumnContent::nothing(), |column| {
        it.before.commitment(&it.salt) == column.content
    }))
}

/// What the leaves that count are worth; none when one of them does not open.
fn worth<F: LogFolder>(originals: &mut Originals<'_, F>, it: &DisputeResolved) -> Option<Value> {
    let mut worth = Value::ZERO;
    for run in &it.stands {
        let places = (run.first.get()..).take(usize::try_from(run.count).ok()?);
        for index in places.map(LeafIndex::new) {
            let original = originals.open(it.accused, index)?;
            let in_dispute = (it.began..=it.last).contains(&original.height);
            if original.to != it.accuser || !in_dispute {
                // nothing that is said of it can be right
                return Some(Value::MAX);
            }
            worth = worth.plus(original.payload.value()).ok()?;
        }
    }
    Some(worth)
}
