//! A brand that does not answer: what a log said to it is not acknowledged for a day.
//!
//! Which blocks say something to whom is sealed, so that only logs that could be opened are judged; by
//! when there was an answer is public. "Now" is the newest block of any log: an audit has no clock.

use std::collections::BTreeMap;

use super::report::{Place, Recorder, Rule};
use crate::ids::{BrandId, Height};
use crate::log::block::Header;
use crate::time::{Milliseconds, Timestamp};

/// After how long silence is a finding.
const ANSWER_WITHIN: Milliseconds = Milliseconds::from_seconds(24 * 60 * 60);

/// What one log says to others, and how far it answers them.
#[derive(Debug, Default)]
pub(super) struct Answers {
    // blocks that say something to a brand, in order; 16 bytes each
    said: BTreeMap<BrandId, Vec<(Height, Timestamp)>>,
    // up to which block it has recognised each log, and had before its last block
    recognised: BTreeMap<BrandId, (Height, Height)>,
    newest: Timestamp,
}

impl Answers {
    pub(super) fn said(&mut self, to: BrandId, height: Height, at: Timestamp) {
        let blocks = self.said.entry(to).or_default();
        if blocks.last().is_none_or(|(last, _)| *last < height) {
            blocks.push((height, at));
        }
    }

    pub(super) fn header(&mut self, header: &Header) {
        self.newest = self.newest.max(header.time);
        for column in &header.columns {
            let known = self.recognised.entry(column.counterparty).or_default();
            *known = (column.recognised.height, known.0);
        }
    }

    /// Up to which block it had recognised a log before its last block.
    pub(super) fn recognised_before(&self, log: BrandId) -> Height {
        self.recognised.get(&log).map(|(_, before)| *before).unwrap_or_default()
    }
}

/// Finds the first unanswered block of each log to each brand. Blocks after the one that was `copied`
/// may be answered beyond the copy.
pub(super) fn judge(
    logs: &BTreeMap<BrandId, Answers>,
    closed_out: impl Fn(BrandId, BrandId) -> bool,
    copied: impl Fn(BrandId) -> Option<Height>,
    recorder: &mut Recorder,
) {
    let now = logs.values().map(|log| log.newest).max().unwrap_or_default();
    for (log, of) in logs {
        for (to, blocks) in &of.said {
            let answers = logs.get(to).and_then(|other| other.recognised.get(log));
            let answers = answers.map(|(now, _)| *now);
            let first = blocks.iter().find(|(height, _)| Some(*height) > answers);
            let Some((height, at)) = first else { continue };
            // it will never answer, and what was said to it is void
            if closed_out(*log, *to) {
                continue;
            }
            if now.since(*at) > ANSWER_WITHIN && Some(*height) <= copied(*log) {
                let message = format_args!(
                    "block {height} of {log} said something to it a day before the newest block, and is not acknowledged"
                );
                recorder.find(Place::log(*to), Rule::ExchangeUnanswered, message);
            }
        }
    }
}
