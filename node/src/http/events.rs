//! `GET /api/v1/events`, and `/partner/events` for that page: what happens at the node as server-sent events (the HTML
//! standard, section 9.2).
//!
//! A reader sees the kinds of events whose states its roles may read. Sixteen streams a user at most, 256 in
//! all; a stream ends with its session, and with the node. A reader that is too slow is no burden: nothing
//! waits for it, and it is told what it missed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event as Sse, Sse as Answer};
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, stream};
use serde::Deserialize;
use tokio::sync::watch;
use utoipa::IntoParams;
use zeroize::Zeroizing;

use super::api::Result;
use super::extract::{Credentials, Query};
use super::pages::cookie;
use super::visitor::Visitor;
use super::{App, Problem};
use crate::auth::{Authorized, Permission, Role, perm};
use crate::service::{Event, EventView, Events, Happened, Place};

/// How often a stream without events says that it lives, and looks whether its session does.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Streams of one user at once.
const OF_ONE_USER_MAX: usize = 16;
/// Streams at once.
const STREAMS_MAX: usize = 256;
/// Events that are taken at once.
const PAGE: usize = 256;

/// Whether to stay.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// Whether the stream goes on with what happens from now on; if not, it ends with what there is.
    #[serde(default = "stays")]
    #[param(default = true)]
    follow: bool,
}

const fn stays() -> bool {
    true
}

/// What happens, as it happens: states of exchanges, steps of questions, statements and payments of clearings, notices of
/// the points programme.
///
/// Each event has an `id`; sent back in `Last-Event-ID`, as browsers and clients of such streams do by
/// themselves, the stream goes on behind it. When it cannot (the node was started again, or too much has
/// happened), the first event is `stream.reset`: look at the states themselves.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(EventsQuery, ("Last-Event-ID" = Option<String>, Header,
        description = "The id of the last event that was read; without it the stream begins now")),
    responses((status = 200, description = "Server-sent events; `data` of each is an EventView",
        body = EventView, content_type = "text/event-stream")))]
pub(super) async fn events(
    by: Authorized<perm::ReadEvents>,
    State(app): State<App>,
    Query(query): Query<EventsQuery>,
    credentials: Credentials,
    headers: HeaderMap,
) -> Result<Response> {
    stream_for(&app, (by.user(), by.roles()), &query, Bearer::Program(credentials), &headers)
}

/// What happens, for the partner's page in a browser: what its user may see of it. It ends with the browser's session.
#[utoipa::path(get, path = "/partner/events", tag = "console",
    params(EventsQuery, ("Last-Event-ID" = Option<String>, Header,
        description = "The id of the last event that was read; without it the stream begins now")),
    responses((status = 200, description = "Server-sent events; `data` of each is an EventView",
        body = EventView, content_type = "text/event-stream"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn partner_events(
    State(app): State<App>,
    visitor: Visitor<perm::SeePartnerPage>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    let token = cookie(&app, &headers).unwrap_or_default();
    let bearer = Bearer::Page(Zeroizing::new(token.to_owned()));
    let who = (visitor.proof.user(), visitor.session.roles());
    stream_for(&app, who, &query, bearer, &headers)
}

fn stream_for(
    app: &App,
    (user, roles): (&str, &[Role]),
    query: &EventsQuery,
    bearer: Bearer,
    headers: &HeaderMap,
) -> Result<Response> {
    let place = last_read(headers)?;
    let seat = app.streams.enter(user).ok_or_else(|| {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_streams",
            format!("{OF_ONE_USER_MAX} streams of this user are open, or {STREAMS_MAX} in all"),
            "close one; one stream has every kind of event",
        )
        .header(header::RETRY_AFTER, 1)
    })?;
    let events = app.node.events().clone();
    let reader = Reader {
        newest: events.watch(),
        place: place.unwrap_or_else(|| Ok(events.since(None, 0).place)),
        sees: Sees::of(roles),
        bearer,
        follow: query.follow,
        waiting: Vec::new(),
        begun: false,
        events,
        app: app.clone(),
        _seat: seat,
    };
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((headers, Answer::new(stream_of(reader))).into_response())
}

/// Where a reader was: none, a place, or what is no place any more.
type LastRead = Option<std::result::Result<Place, ()>>;

fn last_read(headers: &HeaderMap) -> Result<LastRead> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| text.len() <= 64).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "last_event_id_invalid",
            "the header Last-Event-ID is not the id of an event",
            "send the id of the last event that was read, or leave the header out",
        )
    })?;
    // an empty one is what a client sends that has read none
    Ok((!text.is_empty()).then(|| text.parse()))
}

/// Which kinds of events somebody sees: those whose states the roles may read.
#[derive(Debug, Clone, Copy)]
struct Sees {
    exchanges: bool,
    queries: bool,
    clearings: bool,
    notices: bool,
}

impl Sees {
    fn of(roles: &[Role]) -> Self {
        let any = |needed: &[Role]| needed.iter().any(|role| roles.contains(role));
        Self {
            exchanges: any(perm::ReadExchanges::ROLES),
            queries: any(perm::ReadQueries::ROLES),
            clearings: any(perm::ReadClearings::ROLES),
            notices: any(perm::PushNotices::ROLES),
        }
    }

    const fn sees(self, event: &Event) -> bool {
        match event.happened {
            Happened::Exchange { .. } => self.exchanges,
            Happened::Query { .. } => self.queries,
            Happened::Statement { .. } | Happened::Payment { .. } => self.clearings,
            Happened::Notices { .. } => self.notices,
        }
    }
}

/// By what a reader's session is looked for again.
enum Bearer {
    Program(Credentials),
    /// A browser's, by its cookie.
    Page(Zeroizing<String>),
}

struct Reader {
    events: Events,
    newest: watch::Receiver<Option<u64>>,
    place: std::result::Result<Place, ()>,
    sees: Sees,
    bearer: Bearer,
    follow: bool,
    // what was read and not said, newest first
    waiting: Vec<Sse>,
    begun: bool,
    app: App,
    _seat: Seat,
}

impl Reader {
    /// Takes what has come; whether there was any.
    fn take(&mut self) -> bool {
        let (since, missed) = match self.place {
            Ok(place) => (self.events.since(Some(place), PAGE), false),
            // of no life of this node: from the oldest that is kept
            Err(()) => (self.events.oldest(PAGE), true),
        };
        let moved = self.place != Ok(since.place);
        self.place = Ok(since.place);
        let sees = self.sees;
        let seen = since.events.iter().rev().filter(|event| sees.sees(event));
        self.waiting = seen.map(|event| sse(&event.view(), event.place)).collect();
        if since.missed || missed {
            self.waiting.push(sse(&EventView::reset("events_missed"), since.place));
        }
        moved || !self.waiting.is_empty()
    }

    fn session_goes_on(&self) -> bool {
        match &self.bearer {
            Bearer::Program(credentials) => credentials.session(&self.app).is_ok(),
            Bearer::Page(token) => self.app.auth.session(token).is_ok(),
        }
    }
}

fn sse(view: &EventView, place: Place) -> Sse {
    let data = serde_json::to_string(view).unwrap_or_default();
    Sse::default().id(place.to_string()).event(&view.kind).data(data)
}

fn stream_of(reader: Reader) -> impl Stream<Item = std::result::Result<Sse, Infallible>> {
    stream::unfold(reader, async |mut reader| {
        loop {
            if let Some(event) = reader.waiting.pop() {
                return Some((Ok(event), reader));
            }
            if !reader.begun {
                // at once, so that a client knows that it is connected, and how soon to come back
                reader.begun = true;
                let hello = Sse::default().comment("events").retry(Duration::from_secs(2));
                return Some((Ok(hello), reader));
            }
            reader.newest.borrow_and_update();
            if reader.take() {
                if !reader.session_goes_on() {
                    return None;
                }
                continue;
            }
            if !reader.follow || reader.newest.borrow().is_none() {
                return None;
            }
            match tokio::time::timeout(HEARTBEAT, reader.newest.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_ended)) => return None,
                Err(_elapsed) if reader.session_goes_on() => {
                    return Some((Ok(Sse::default().comment("")), reader));
                }
                Err(_elapsed) => return None,
            }
        }
    })
}

/// Counts the streams that are open.
#[derive(Debug, Clone, Default)]
pub(super) struct Streams(Arc<Mutex<BTreeMap<String, usize>>>);

impl Streams {
    fn enter(&self, user: &str) -> Option<Seat> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = open.get(user).copied().unwrap_or_default();
        if of_one >= OF_ONE_USER_MAX || open.values().sum::<usize>() >= STREAMS_MAX {
            return None;
        }
        open.insert(user.to_owned(), of_one + 1);
        Some(Seat { streams: self.clone(), user: user.to_owned() })
    }
}

/// A stream's seat, given back when it ends.
#[derive(Debug)]
struct Seat {
    streams: Streams,
    user: String,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_bounded_and_their_seats_come_back() {
        let streams = Streams::default();
        let enter = |user: &str| std::iter::from_fn(|| streams.enter(user)).collect::<Vec<_>>();
        let ann = enter("ann");
        assert_eq!(ann.len(), OF_ONE_USER_MAX);
        let others: Vec<_> = (0..20).map(|number| enter(&format!("user {number}"))).collect();
        let all = ann.len() + others.iter().map(Vec::len).sum::<usize>();
        assert_eq!(all, STREAMS_MAX);
        drop(ann);
        assert_eq!(enter("ann").len(), OF_ONE_USER_MAX);
        drop(others);
        assert!(streams.0.lock().unwrap().is_empty());
    }

    #[test]
    fn each_role_sees_what_it_may_read() {
        let sees = |role| Sees::of(&[role]);
        for role in [Role::Partner, Role::Store] {
            assert!(sees(role).exchanges && !sees(role).queries, "{role}");
        }
        assert!(!sees(Role::Analyst).exchanges && sees(Role::Analyst).queries);
        assert!(sees(Role::Officer).exchanges && sees(Role::Officer).queries);
        assert!(sees(Role::App).notices && !sees(Role::App).exchanges);
        assert!(sees(Role::Store).notices && !sees(Role::Officer).notices);
        for role in Role::ALL {
            let some = sees(role).exchanges || sees(role).queries || sees(role).notices;
            assert_eq!(some, perm::ReadEvents::ROLES.contains(&role), "{role}");
        }
    }
}
