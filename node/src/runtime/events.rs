//! What happens, for whoever follows it: collected with the turn, told when that is durable.

use std::collections::BTreeMap;

use protocol::time::Timestamp;

use super::clearing::Change;
use super::{Runtime, now};
use crate::cleanroom::Gated;
use crate::cleanroom::views::Rows;
use crate::service::{EventSource, Events, Happened, QueryView};

/// Questions whose steps are looked at; of more the first ones in the order of their numbers.
const QUERIES_MAX: usize = 1024;

/// Tells events, and knows what was told of questions.
pub(super) struct EventCare {
    source: EventSource,
    // questions under way, with the step that was told
    queries: BTreeMap<String, String>,
    // when they were last looked at, Unix seconds
    looked: u64,
    // the newest notice of the programme that was told of
    notice: u64,
}

impl EventCare {
    /// Of a node that starts now, whose programme has made notices up to this one.
    pub(super) fn new(started: Timestamp, notice: u64) -> Self {
        let source = EventSource(Events::new(started));
        Self { source, queries: BTreeMap::new(), looked: 0, notice }
    }

    pub(super) const fn events(&self) -> &Events {
        &self.source.0
    }

    pub(super) fn tell(&self, happened: Vec<Happened>) {
        self.source.0.tell(happened, now());
    }

    /// A question that somebody asked, or asks about, is looked at until it is over.
    pub(super) fn follow(&mut self, view: &QueryView) {
        let room = self.queries.len() < QUERIES_MAX;
        if room && !is_over(&view.step) {
            self.queries.entry(view.id.clone()).or_default();
        }
    }
}

fn is_over(step: &str) -> bool {
    ["released", "void"].contains(&step)
}

impl Runtime {
    /// What the turn has changed that is told of.
    pub(super) fn take_happened(&mut self) -> Vec<Happened> {
        // of more than are kept too: a reader must know that it missed some
        let changed = self.core.book.take_changed();
        let changed = changed.into_iter().map(|booked| Happened::Exchange {
            id: booked.requested.id,
            to: booked.requested.to,
            state: booked.state.name(),
        });
        let mut happened: Vec<Happened> = changed.collect();
        let changed = self.core.clearing.take_changed().into_iter();
        happened.extend(changed.map(|change| match change {
            Change::Statement { cut_off, state } => Happened::Statement { cut_off, state },
            Change::Payment { cut_off, payer, payee, state } => {
                Happened::Payment { cut_off, payer, payee, state }
            }
        }));
        happened.extend(self.core.notices_after(self.events.notice));
        self.events.notice = self.core.last_notice();
        self.look_at_queries(&mut happened);
        happened
    }

    /// Once a whole second: which step each question that is followed has come to.
    fn look_at_queries(&mut self, happened: &mut Vec<Happened>) {
        let at = now();
        let second = at.unix_ms() / 1000;
        if self.events.queries.is_empty() || self.events.looked == second {
            return;
        }
        self.events.looked = second;
        let Some(room) = self.room.as_ref().map(Gated::shown) else { return };
        self.events.queries.retain(|id, told| {
            // one that is not known any more is over
            let Ok(view) = room.query_rows(id, Rows::NONE, at) else { return false };
            let QueryView { step, scope, .. } = view;
            let goes_on = !is_over(&step);
            if step != *told {
                told.clone_from(&step);
                happened.push(Happened::Query { id: id.clone(), scope, step });
            }
            goes_on
        });
    }
}
