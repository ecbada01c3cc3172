//! Partners that were closed out: the log has ended where it is said to, what is opened is what the blocks
//! commit to, and nothing that was recognised is void.
//!
//! That the log has ended, and what the public totals may fall to, is judged with the block.

use std::collections::BTreeMap;

use super::across::Across;
use super::blocks::{Lookup, look_up};
use super::folder::LogFolder;
use super::originals::Originals;
use super::report::{Place, Reason, Recorder, Rule, count};
use crate::amount::Value;
use crate::ids::{BrandId, Height};
use crate::log::closed_out::{ClosedOut, OpenedColumn};

pub(super) fn judge<F: LogFolder>(
    across: &mut Across,
    originals: &Originals<'_, F>,
    recorder: &mut Recorder,
) {
    across.absent.read(originals.constitutions());
    let mut ended: BTreeMap<BrandId, Height> = BTreeMap::new();
    for (place, it) in std::mem::take(&mut across.partners) {
        // a log that is not shown to have ended has its finding with the block
        let Ok(end) = it.end.verify(originals.constitutions()) else { continue };
        if across.absent.has_closed_out(place.log, it.log) {
            let message = format_args!("{} was closed out before", it.log);
            recorder.find(place, Rule::PartnerTotals, message);
            continue;
        }
        ended.insert(it.log, end.height());
        judge_one(across, originals, (place, &it), recorder);
        let height = place.height.unwrap_or_default();
        across.absent.closed_out((place.log, height), &it, &end);
    }
    for (log, height) in ended {
        let of = originals.logs().get(&log);
        if of.is_some_and(|of| of.facts.last_height() > height) {
            let message = format_args!("it has blocks after block {height}, with which it ended");
            recorder.goes_on(Place::log(log), message);
        }
    }
}

fn judge_one<F: LogFolder>(
    across: &Across,
    originals: &Originals<'_, F>,
    (place, it): (Place, &ClosedOut),
    recorder: &mut Recorder,
) {
    let by = place.log;
    for (log, to, opened) in [(by, it.log, &it.sent), (it.log, by, &it.received)] {
        match is_committed(originals, (log, to), opened) {
            Some(true) => {}
            Some(false) => {
                let message = format_args!(
                    "what it opens of block {} of {log} is not what that block commits to",
                    opened.height
                );
                return recorder.find(place, Rule::PartnerTotals, message);
            }
            None => recorder.not_checked(by, Reason::JudgedByMissing, 1),
        }
    }
    if !across.opened.contains(&by) {
        recorder.not_checked(by, Reason::SealedWithoutKey, 1);
        return;
    }
    // what came back after the last block that was recognised lowers what the other owes: it counts
    let mut after = across.returns.iter().filter(|returned| {
        returned.place.log == by
            && returned.to == it.log
            && returned.place.height > Some(it.sent.height)
            && returned.place.height < place.height
    });
    let total = after.try_fold(it.sent.content.sent, |sum: Value, it| sum.plus(it.back.value));
    // and so does what it gave back by a resolution
    let mut given = across.resolutions.iter().filter(|(resolved, terms)| {
        resolved.log == by
            && terms.sides() == (it.log, by)
            && resolved.height > Some(it.sent.height)
            && resolved.height < place.height
    });
    let total =
        total.and_then(|total| given.try_fold(total, |sum, (_, terms)| sum.plus(terms.void)));
    if total == Ok(it.total) {
        count(&mut recorder.counts.closed_out, 1);
    } else {
        let message = format_args!(
            "of what it sent {}, exactly what was recognised there and what went back since stands",
            it.log
        );
        recorder.find(place, Rule::PartnerTotals, message);
    }
}

/// Whether a column's opened content is what its block commits to; none when the block is not at hand.
fn is_committed<F: LogFolder>(
    originals: &Originals<'_, F>,
    (log, to): (BrandId, BrandId),
    opened: &OpenedColumn,
) -> Option<bool> {
    if opened.height == Height::new(0) {
        return Some(*opened == OpenedColumn::nothing());
    }
    match look_up(originals.logs(), log, opened.height) {
        Lookup::Found(_, header) => Some(
            header
                .column(to)
                .is_some_and(|column| opened.content.commitment(&opened.salt) == column.content),
        ),
        Lookup::Beyond | Lookup::Unreadable => None,
    }
}
