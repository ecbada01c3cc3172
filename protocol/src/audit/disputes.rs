//! Disputes: the counterparty's checks, run again with what the accuser has opened.

use super::blocks::Logs;
use super::folder::{LogFolder, read_header_leaf, read_leaf};
use super::report::{Place, Reason, Recorder, Rule, count};
use crate::epochs::Constitutions;
use crate::ids::{HeaderHash, Height, LeafIndex};
use crate::log::block::{ColumnContent, ColumnOpening, Entry, Header, PublicEntry};
use crate::log::dispute::{DisputeEvidence, DisputeOpened};
use crate::log::entries::Entries;
use crate::log::range::RangeProof;
use crate::log::tiles::TileReader;
use crate::witness::allowed::Adjusted;
use crate::witness::guards::Upheld;
use crate::witness::message::LeafRun;
use crate::witness::rules::{Violation, check_column};

/// What a dispute comes to.
enum Verdict {
    /// The block breaks the rule.
    Founded(Box<Violation>),
    Unfounded(&'static str),
    NotChecked(Reason),
}

/// Judges one dispute, entered at `place`.
pub(super) fn judge<F: LogFolder>(
    constitutions: &Constitutions,
    logs: &Logs<'_, F>,
    (place, dispute): (Place, &DisputeOpened),
    recorder: &mut Recorder,
) {
    match verdict(constitutions, logs, place, dispute) {
        Verdict::Founded(violation) => {
            count(&mut recorder.counts.disputes, 1);
            recorder.violation_once(Place::block(dispute.log, dispute.height), &violation);
        }
        Verdict::Unfounded(why) => {
            let message = format_args!("block {} of {}: {why}", dispute.height, dispute.log);
            recorder.find(place, Rule::DisputeUnfounded, message);
        }
        Verdict::NotChecked(reason) => recorder.not_checked(place.log, reason, 1),
    }
}

fn verdict<F: LogFolder>(
    constitutions: &Constitutions,
    logs: &Logs<'_, F>,
    place: Place,
    dispute: &DisputeOpened,
) -> Verdict {
    let Some((id, header)) = header_at(logs, dispute, dispute.height) else {
        return Verdict::NotChecked(Reason::JudgedByMissing);
    };
    let accuser = place.log;
    let (Some(column), Some(constitution)) =
        (header.column(accuser), constitutions.of(header.epoch))
    else {
        return Verdict::Unfounded("it has no column for the accuser");
    };
    if id != dispute.block {
        return Verdict::Unfounded("it is another block");
    }
    let Some(DisputeEvidence { opening, before, salt }) = &dispute.evidence else {
        return Verdict::NotChecked(Reason::DisputeWithoutEvidence);
    };
    let opening = ColumnOpening::from_bytes(opening);
    let Some(opening) = opening.filter(|it| it.check(&header.context(), column).is_ok()) else {
        return Verdict::Unfounded("what the accuser opened is not what it commits to");
    };
    let previous = Height::new(dispute.height.get().saturating_sub(1));
    let continues = if previous == Height::new(0) {
        *before == ColumnContent::nothing()
    } else {
        match header_at(logs, dispute, previous) {
            None => return Verdict::NotChecked(Reason::JudgedByMissing),
            Some((_, header)) => {
                header.column(accuser).is_some_and(|it| before.commitment(salt) == it.content)
            }
        }
    };
    if !continues {
        return Verdict::Unfounded("the totals before it are not those that its log commits to");
    }
    let run = run(logs, dispute, &header, &opening.content);
    let entries = public_entries(logs, dispute, &header);
    let Some(entries) = entries else { return Verdict::NotChecked(Reason::JudgedByMissing) };
    // what one side restates alone changes nothing for the other
    let mut adjusted = Adjusted::by(dispute.log, accuser, &entries);
    adjusted.restated = None;
    let Ok(before) = &adjusted.base(before) else {
        return Verdict::Unfounded("its totals leave their range");
    };
    match check_column::<Upheld>(constitution, &header, accuser, &opening, before, run.as_ref()) {
        Err(violation) if violation.number() == dispute.rule => {
            Verdict::Founded(Box::new(violation))
        }
        Err(_) => Verdict::Unfounded("it breaks another rule than the one named"),
        Ok(_) => Verdict::Unfounded("it breaks no rule"),
    }
}

fn header_at<F: LogFolder>(
    logs: &Logs<'_, F>,
    dispute: &DisputeOpened,
    height: Height,
) -> Option<(HeaderHash, Header)> {
    let log = logs.get(&dispute.log)?;
    let fact = log.facts.at(height)?;
    let leaf = read_header_leaf(log.folder, log.size, &fact)?;
    Some((fact.header, Header::from_bytes(&leaf).ok()?))
}

/// The public entries of the block.
fn public_entries<F: LogFolder>(
    logs: &Logs<'_, F>,
    dispute: &DisputeOpened,
    header: &Header,
) -> Option<Vec<PublicEntry>> {
    let log = logs.get(&dispute.log)?;
    let places = (header.first.get()..).take(usize::try_from(header.public_leaves).ok()?);
    let read = places.map(|index| {
        let leaf = read_leaf(log.folder, log.size, LeafIndex::new(index))?;
        match Entry::from_bytes(&leaf).ok()? {
            Entry::Public(entry) => Some(entry),
            Entry::Header(_) | Entry::Sealed(_) => None,
        }
    });
    read.collect()
}

/// The column's leaves as the log has them; none when there are none, or not where the content says.
fn run<F: LogFolder>(
    logs: &Logs<'_, F>,
    dispute: &DisputeOpened,
    header: &Header,
    content: &ColumnContent,
) -> Option<LeafRun> {
    let log = logs.get(&dispute.log)?;
    let first = header.first.get().checked_add(u64::from(content.first))?;
    let end = first.checked_add(u64::from(content.count))?;
    if content.count == 0 || end > header.body_size().get() {
        return None;
    }
    let mut entries = Entries::new();
    for index in first..end {
        entries.push(&read_leaf(log.folder, log.size, LeafIndex::new(index))?).ok()?;
    }
    let reader = TileReader::new(log.folder, log.size);
    let first = LeafIndex::new(first);
    let proof =
        RangeProof::prove(&reader, first, u64::from(content.count), header.body_size()).ok()?;
    Some(LeafRun { first, entries, proof })
}
