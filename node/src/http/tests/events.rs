//! The stream of events over real sockets: who sees what, going on behind the last one read, the end.

use protocol::time::Timestamp;

use super::*;

fn exchange(number: u8, state: &'static str) -> Happened {
    let to = protocol::ids::BrandId::new("kids").unwrap();
    Happened::Exchange { id: protocol::ids::RequestId::from_bytes([number; 16]), to, state }
}

fn query(id: &str, step: &str) -> Happened {
    Happened::Query { id: id.to_owned(), scope: "joint".to_owned(), step: step.to_owned() }
}

/// The fields of each event of a stream: id, kind, data.
fn read(body: &[u8]) -> Vec<(String, String, EventView)> {
    let text = std::str::from_utf8(body).unwrap();
    let field = |block: &str, name: &str| {
        let found = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.map(str::to_owned)
    };
    let blocks = text.split("\n\n").filter(|block| block.contains("data: "));
    blocks
        .map(|block| {
            let view: EventView = serde_json::from_str(&field(block, "data").unwrap()).unwrap();
            assert_eq!(field(block, "event").as_ref(), Some(&view.kind));
            (field(block, "id").unwrap(), view.kind.clone(), view)
        })
        .collect()
}

fn states(body: &[u8]) -> Vec<String> {
    read(body).into_iter().map(|(_, _, view)| view.data.state).collect()
}

#[tokio::test]
async fn a_reader_sees_its_own_kinds_and_goes_on_behind_the_last_it_read() {
    let fixture = Fixture::start();
    let at = Timestamp::from_unix_ms(1_764_406_800_999);
    let officer = fixture.client_as(&[Role::Officer]);
    let get = async |client: &Client, last: &str| {
        let headers = [("last-event-id", last)];
        let path = "/api/v1/events?follow=false";
        client.send(Method::GET, path, &headers, None).await.unwrap()
    };
    let start = fixture.events.0.since(None, 0).place.to_string();
    fixture.events.0.tell(vec![exchange(1, "held"), query("q", "reserving")], at);
    fixture.events.0.tell(vec![exchange(1, "final")], at);

    let all = get(&officer, &start).await;
    assert_eq!(all.headers["content-type"], "text/event-stream");
    assert_eq!(all.headers["cache-control"], "no-store");
    assert!(all.body.starts_with(b": events\nretry: 2000\n\n"), "{:?}", all.body);
    let seen = read(&all.body);
    assert_eq!(states(&all.body), ["held", "reserving", "final"]);
    let data = &seen[0].2.data;
    assert_eq!((data.id.as_str(), data.to.as_deref()), (&*"01".repeat(16), Some("kids")));
    assert_eq!(seen[0].2.timestamp, "2025-11-29T09:00:00Z");
    // behind the first, as a browser asks when it comes back
    assert_eq!(states(&get(&officer, &seen[0].0).await.body), ["reserving", "final"]);
    assert!(states(&get(&officer, &seen[2].0).await.body).is_empty());
    // without a place the stream begins now
    assert!(states(&get(&officer, "").await.body).is_empty());

    let analyst = fixture.client_as(&[Role::Analyst]);
    assert_eq!(states(&get(&analyst, &start).await.body), ["reserving"]);
    let clerk = fixture.client_as(&[Role::Partner]);
    assert_eq!(states(&get(&clerk, &start).await.body), ["held", "final"]);

    // of another life, or nonsense: told so, then what there is
    for other in ["2-1", "nonsense"] {
        let answer = get(&officer, other).await;
        let kinds: Vec<String> = read(&answer.body).into_iter().map(|event| event.1).collect();
        assert_eq!(kinds[0], "stream.reset", "{other}");
        assert_eq!(kinds.len(), 4);
    }
    let long = "1".repeat(65);
    assert_eq!(code(&get(&officer, &long).await), "last_event_id_invalid");
}

/// Whoever may read statements hears of them and of their payments, by the cut-off.
#[tokio::test]
async fn a_statement_that_is_agreed_and_a_payment_are_told_to_whom_clearings_are_open() {
    let fixture = Fixture::start();
    let brand = |id: &str| protocol::ids::BrandId::new(id).unwrap();
    let cut_off = Timestamp::from_unix_ms(1_793_462_399_999);
    let start = fixture.events.0.since(None, 0).place.to_string();
    let (payer, payee) = (brand("kids"), brand("grocer"));
    let payment = |state| Happened::Payment { cut_off, payer, payee, state };
    let statement = |state| Happened::Statement { cut_off, state };
    fixture.events.0.tell(vec![statement("agreed"), payment("settled")], cut_off);
    fixture.events.0.tell(vec![payment("confirmed"), statement("discharged")], cut_off);
    for (role, hears) in
        [(Role::Partner, true), (Role::Officer, true), (Role::Analyst, false), (Role::Store, false)]
    {
        let client = fixture.client_as(&[role]);
        let headers = [("last-event-id", start.as_str())];
        let path = "/api/v1/events?follow=false";
        let answer = client.send(Method::GET, path, &headers, None).await.unwrap();
        if !hears {
            assert!(read(&answer.body).is_empty(), "{role}");
            continue;
        }
        assert_eq!(states(&answer.body), ["agreed", "settled", "confirmed", "discharged"]);
        let seen: Vec<_> =
            read(&answer.body).into_iter().map(|(_, kind, view)| (kind, view.data)).collect();
        let parties = |data: &EventData| (data.payer.clone(), data.payee.clone());
        assert!(seen.iter().all(|(_, data)| data.id == "1793462399999"));
        assert_eq!((seen[0].0.as_str(), parties(&seen[0].1)), (STATEMENT_STATE, (None, None)));
        let told = (Some("kids".to_owned()), Some("grocer".to_owned()));
        assert_eq!((seen[2].0.as_str(), parties(&seen[2].1)), (PAYMENT_STATE, told));
    }
}

/// Whoever pushes messages hears that there are notices, of which kind and from which number on, and nothing of whom.
#[tokio::test]
async fn that_there_are_notices_is_told_to_whoever_pushes_them_without_anyone_in_it() {
    let fixture = Fixture::start();
    let at = Timestamp::from_unix_ms(1_764_406_800_000);
    let start = fixture.events.0.since(None, 0).place.to_string();
    let notices = |first, count, kind| Happened::Notices { first, count, kind };
    let told = vec![notices(7, 2_000, "points_expire"), notices(9, 1, "tier_reached")];
    fixture.events.0.tell(told, at);
    for (role, hears) in Role::ALL.map(|role| (role, [Role::Store, Role::App].contains(&role))) {
        let client = fixture.client_as(&[role]);
        let headers = [("last-event-id", start.as_str())];
        let path = "/api/v1/events?follow=false";
        let answer = client.send(Method::GET, path, &headers, None).await.unwrap();
        if !hears {
            assert!(answer.status != StatusCode::OK || read(&answer.body).is_empty(), "{role}");
            continue;
        }
        let seen = read(&answer.body);
        assert!(seen.iter().all(|(_, kind, _)| kind == "programme.notice"), "{role}");
        let data = |place: usize| serde_json::to_value(&seen[place].2.data).unwrap();
        let first = serde_json::json!({"id": "7", "state": "points_expire", "count": 2000});
        let second = serde_json::json!({"id": "9", "state": "tier_reached", "count": 1});
        // whole: a number, a kind, how many, and no field more
        assert_eq!((data(0), data(1)), (first, second), "{role}");
    }
}

#[tokio::test]
async fn a_stream_that_follows_hears_at_once_and_ends_with_the_node() {
    let fixture = Fixture::start();
    let store = fixture.client_as(&[Role::Store]);
    let stream =
        tokio::spawn(
            async move { store.send(Method::GET, "/api/v1/events", &[], None).await.unwrap() },
        );
    // until it is there
    let watched = fixture.events.0.clone();
    let begun = Instant::now();
    while watched.readers() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(180), "nobody reads");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let at = Timestamp::from_unix_ms(1_764_406_800_000);
    fixture.events.0.tell(vec![exchange(1, "held")], at);
    fixture.events.0.tell(vec![query("q", "reserving"), exchange(1, "final")], at);
    drop(fixture.events);
    let answer = tokio::time::timeout(Duration::from_secs(180), stream).await.unwrap().unwrap();
    assert_eq!(states(&answer.body), ["held", "final"]);
}

#[tokio::test]
async fn one_user_cannot_take_every_stream() {
    let fixture = Fixture::start();
    // the client has few connections
    let clients: Vec<Client> = (0..3).map(|_| fixture.client_as(&[Role::Store])).collect();
    let mut streams = Vec::new();
    for number in 0..16 {
        let client = clients[number % 3].clone();
        streams.push(tokio::spawn(async move {
            client.send(Method::GET, "/api/v1/events", &[], None).await.unwrap()
        }));
    }
    let begun = Instant::now();
    while fixture.events.0.readers() < 16 {
        assert!(begun.elapsed() < Duration::from_secs(180), "not all read");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let one_more = clients[0].send(Method::GET, "/api/v1/events", &[], None).await.unwrap();
    assert_eq!(one_more.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(code(&one_more), "too_many_streams");
    drop(fixture.events);
    for stream in streams {
        assert_eq!(stream.await.unwrap().status, StatusCode::OK);
    }
}

/// A browser's cookie opens the page's own stream and no other; a program's token not the page's.
#[tokio::test]
async fn the_partners_page_has_a_stream_of_its_own() {
    let fixture = Fixture::start();
    let client = fixture.client();
    let start = fixture.events.0.since(None, 0).place.to_string();
    let at = Timestamp::from_unix_ms(1_764_406_800_999);
    fixture.events.0.tell(vec![exchange(1, "held"), query("q", "reserving")], at);
    let cookie = format!("__Host-session-grocer={}", fixture.auth.token_for(&[Role::Partner]));
    let headers = [("cookie", cookie.as_str()), ("last-event-id", start.as_str())];
    let page = "/partner/events?follow=false";
    let answer = client.send(Method::GET, page, &headers, None).await.unwrap();
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    assert_eq!(states(&answer.body), ["held"]);
    let answer = client.send(Method::GET, "/api/v1/events?follow=false", &headers, None).await;
    assert_eq!(answer.unwrap().status, 401);
    let program = fixture.client_as(&[Role::Partner]);
    let answer = program.send(Method::GET, page, &[], None).await.unwrap();
    assert_eq!(answer.status, 303, "on to the page where people sign in");
}
