//! What happens at a node, as it happens: states of exchanges and steps of questions, statements and payments of
//! clearings, notices of the points programme, each told when it is durable.
//!
//! No event is about a person: an exchange is its number, a brand and a state, a question its number and the
//! step of the protocol it is at, a clearing its cut-off, brands and a state, notices to members the number of the first
//! and their kind: to whom and what, only the notices' own route says. Steps are looked at once a whole
//! second, so that an event tells nothing of how long a reading took beyond that; when one is over depends on
//! time buckets, not on data (`cleanroom::read`).
//!
//! The newest are kept in memory, and numbered, so that a reader who was away goes on where it was. After a
//! restart, or too long, there is no going on: then a reader is told so, and looks at the states themselves.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::ids::{BrandId, RequestId};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use utoipa::ToSchema;

/// Events that are kept.
pub const EVENTS_KEPT: usize = 4096;

/// The kind of events about exchanges.
pub const EXCHANGE_STATE: &str = "exchange.state";
/// The kind of events about questions.
pub const QUERY_STEP: &str = "query.step";
/// The kind of events about clearing statements.
pub const STATEMENT_STATE: &str = "clearing.statement";
/// The kind of events about their payments.
pub const PAYMENT_STATE: &str = "clearing.payment";
/// The kind of events about notices of the points programme.
pub const PROGRAMME_NOTICE: &str = "programme.notice";
/// The kinds that something happens in.
pub const EVENT_KINDS: [&str; 5] =
    [EXCHANGE_STATE, QUERY_STEP, STATEMENT_STATE, PAYMENT_STATE, PROGRAMME_NOTICE];
/// The kind of event that says that others may have been missed.
pub const RESET: &str = "stream.reset";

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// What kind: `exchange.state`, `query.step`, `clearing.statement`, `clearing.payment`, `programme.notice`, or
    /// `stream.reset` when events may have been missed.
    #[serde(rename = "type")]
    #[schema(example = "exchange.state")]
    pub kind: String,
    /// When, to the second, RFC 3339.
    #[schema(example = "2026-11-29T09:00:00Z")]
    pub timestamp: String,
    /// To what.
    pub data: EventData,
}

/// What an event is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventData {
    /// The number of the exchange or question, of a clearing its cut-off in Unix milliseconds, of notices that of the
    /// first; empty in `stream.reset`.
    #[schema(example = "0123456789abcdef0123456789abcdef")]
    pub id: String,
    /// Its state or step, as its own route names it; of notices what kind they are; in `stream.reset` why.
    #[schema(example = "final")]
    pub state: String,
    /// Of an exchange: the other brand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "kids")]
    pub to: Option<String>,
    /// Of a question: who answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Of a payment: who pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
    /// Of a payment: who is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payee: Option<String>,
    /// Of notices: how many of the kind there are from the first on, told together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happened {
    /// An exchange of this brand's members has come so far.
    Exchange {
        /// Which.
        id: RequestId,
        /// To whom.
        to: BrandId,
        /// How far.
        state: &'static str,
    },
    /// A question that was asked here has come so far.
    Query {
        /// Which.
        id: String,
        /// Who answers.
        scope: String,
        /// How far.
        step: String,
    },
    /// The statement of a cut-off has come so far.
    Statement {
        /// Which.
        cut_off: Timestamp,
        /// How far.
        state: &'static str,
    },
    /// A payment of a statement has come so far.
    Payment {
        /// Of which cut-off.
        cut_off: Timestamp,
        /// Who pays.
        payer: BrandId,
        /// Who is paid.
        payee: BrandId,
        /// How far.
        state: &'static str,
    },
    /// There are notices of the points programme: those of one kind that one turn has made, however many they are, so
    /// that points of thousands who are told in one night push nothing else out of the stream.
    Notices {
        /// The number of the first.
        first: u64,
        /// How many.
        count: u64,
        /// What kind.
        kind: &'static str,
    },
}

/// A place in the stream of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    // of the node's life: events of another are gone
    life: u64,
    number: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{:x}", self.life, self.number)
    }
}

impl std::str::FromStr for Place {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (life, number) = text.split_once('-').ok_or(())?;
        let read = |text| u64::from_str_radix(text, 16).map_err(drop);
        Ok(Self { life: read(life)?, number: read(number)? })
    }
}

/// An event with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) place: Place,
    pub(crate) at: Timestamp,
    pub(crate) happened: Happened,
}

impl Event {
    /// As it is told.
    pub(crate) fn view(&self) -> EventView {
        let (kind, data) = match &self.happened {
            Happened::Exchange { id, to, state } => (
                EXCHANGE_STATE,
                EventData {
                    id: id.to_string(),
                    state: (*state).to_owned(),
                    to: Some(to.to_string()),
                    ..EventData::default()
                },
            ),
            Happened::Query { id, scope, step } => (
                QUERY_STEP,
                EventData {
                    id: id.clone(),
                    state: step.clone(),
                    scope: Some(scope.clone()),
                    ..EventData::default()
                },
            ),
            Happened::Statement { cut_off, state } => (
                STATEMENT_STATE,
                EventData {
                    id: cut_off.unix_ms().to_string(),
                    state: (*state).to_owned(),
                    ..EventData::default()
                },
            ),
            Happened::Payment { cut_off, payer, payee, state } => (
                PAYMENT_STATE,
                EventData {
                    id: cut_off.unix_ms().to_string(),
                    state: (*state).to_owned(),
                    payer: Some(payer.to_string()),
                    payee: Some(payee.to_string()),
                    ..EventData::default()
                },
            ),
            Happened::Notices { first, count, kind } => (
                PROGRAMME_NOTICE,
                EventData {
                    id: first.to_string(),
                    state: (*kind).to_owned(),
                    count: Some(*count),
                    ..EventData::default()
                },
            ),
        };
        EventView { kind: kind.to_owned(), timestamp: second(self.at), data }
    }
}

impl EventView {
    /// That events may have been missed before now.
    pub(crate) fn reset(why: &str) -> Self {
        let data = EventData { state: why.to_owned(), ..EventData::default() };
        let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
        let timestamp = second(Timestamp::from_unix_ms(now));
        Self { kind: RESET.to_owned(), timestamp, data }
    }
}

/// A time to the second.
fn second(at: Timestamp) -> String {
    let seconds = i64::try_from(at.unix_ms() / 1000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

/// What has come after a place.
#[derive(Debug)]
pub(crate) struct Since {
    /// The events, oldest first.
    pub(crate) events: Vec<Event>,
    /// Whether there were others before them that are gone.
    pub(crate) missed: bool,
    /// Where the stream is now.
    pub(crate) place: Place,
}

#[derive(Debug, Default)]
struct Ring {
    // the number of the newest
    newest: u64,
    kept: VecDeque<Event>,
}

/// The events of a running node. Clones share them.
#[derive(Debug, Clone)]
pub struct Events(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    // Unix milliseconds of its start
    life: u64,
    ring: Mutex<Ring>,
    // none when the node has ended
    newest: watch::Sender<Option<u64>>,
}

impl Events {
    /// Of a node that starts now.
    #[must_use]
    pub fn new(started: Timestamp) -> Self {
        let newest = watch::Sender::new(Some(0));
        Self(Arc::new(Inner { life: started.unix_ms(), ring: Mutex::default(), newest }))
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of what happened; of more than are kept, of the last.
    pub(crate) fn tell(&self, happened: Vec<Happened>, at: Timestamp) {
        if happened.is_empty() {
            return;
        }
        let mut ring = self.ring();
        for happened in happened {
            ring.newest += 1;
            if ring.kept.len() >= EVENTS_KEPT {
                ring.kept.pop_front();
            }
            let place = Place { life: self.0.life, number: ring.newest };
            ring.kept.push_back(Event { place, at, happened });
        }
        self.0.newest.send_replace(Some(ring.newest));
    }

    /// What has come after a place, at most so many; without a place nothing, and where the stream is.
    pub(crate) fn since(&self, place: Option<Place>, limit: usize) -> Since {
        let ring = self.ring();
        let now = Place { life: self.0.life, number: ring.newest };
        let Some(place) = place else {
            return Since { events: Vec::new(), missed: false, place: now };
        };
        let oldest = ring.kept.front().map_or(ring.newest + 1, |event| event.place.number);
        let known = place.life == self.0.life && place.number <= ring.newest;
        let after = if known { place.number } else { 0 };
        let missed = !known || after + 1 < oldest;
        let fresh = ring.kept.iter().filter(|event| event.place.number > after);
        let events: Vec<Event> = fresh.take(limit).cloned().collect();
        let reached = events.last().map_or(now, |event| event.place);
        Since { events, missed, place: reached }
    }

    /// The oldest that are kept, at most so many.
    pub(crate) fn oldest(&self, limit: usize) -> Since {
        self.since(Some(Place { life: 0, number: 0 }), limit)
    }

    /// How many follow it.
    #[cfg(test)]
    pub(crate) fn readers(&self) -> usize {
        self.0.newest.receiver_count()
    }

    /// Changes whenever there is something new; none when the node has ended.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<u64>> {
        self.0.newest.subscribe()
    }
}

/// The end of the events that the node holds: when it is dropped, readers are let go.
#[derive(Debug)]
pub(crate) struct EventSource(pub(crate) Events);

impl Drop for EventSource {
    fn drop(&mut self) {
        self.0.0.newest.send_replace(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happened(number: u64) -> Happened {
        let (id, scope, step) = (number.to_string(), "joint".to_owned(), "opening".to_owned());
        Happened::Query { id, scope, step }
    }

    fn ids(since: &Since) -> Vec<u64> {
        since.events.iter().map(|event| event.view().data.id.parse().unwrap()).collect()
    }

    #[test]
    fn a_reader_goes_on_where_it_was_or_is_told_that_it_cannot() {
        let at = Timestamp::from_unix_ms(1_764_406_800_999);
        let events = Events::new(at);
        let start = events.since(None, 10).place;
        events.tell((1..=5).map(happened).collect(), at);
        let first = events.since(Some(start), 3);
        assert_eq!((ids(&first), first.missed), (vec![1, 2, 3], false));
        let rest = events.since(Some(first.place), 10);
        assert_eq!((ids(&rest), rest.missed), (vec![4, 5], false));
        let none = events.since(Some(rest.place), 10);
        assert_eq!((none.events.len(), none.missed, none.place), (0, false, rest.place));
        // what was written comes back as it was
        assert_eq!(rest.place.to_string().parse(), Ok(rest.place));
        for wrong in ["", "1", "x-1", "1-x", "-", "1-1-1"] {
            assert_eq!(wrong.parse::<Place>(), Err(()), "{wrong}");
        }

        // memory is bounded, and who was away too long is told
        events.tell((6..6 + EVENTS_KEPT as u64).map(happened).collect(), at);
        let late = events.since(Some(first.place), usize::MAX);
        assert_eq!((late.missed, late.events.len()), (true, EVENTS_KEPT));
        assert_eq!(events.ring().kept.len(), EVENTS_KEPT);
        // as is who knows another life of the node, or a place that is still to come
        let other = Place { life: 1, number: 4 };
        assert!(events.since(Some(other), 1).missed);
        let ahead = Place { number: 1 << 40, ..rest.place };
        assert!(events.since(Some(ahead), 1).missed);
        assert_eq!(late.events[0].view().timestamp, "2025-11-29T09:00:00Z");
    }

    #[tokio::test]
    async fn readers_are_woken_and_let_go() {
        let events = Events::new(Timestamp::from_unix_ms(1));
        let source = EventSource(events.clone());
        let mut reader = events.watch();
        events.tell(vec![happened(1)], Timestamp::from_unix_ms(2));
        reader.changed().await.unwrap();
        assert_eq!(*reader.borrow_and_update(), Some(1));
        drop(source);
        reader.changed().await.unwrap();
        assert_eq!(*reader.borrow(), None);
    }
}
