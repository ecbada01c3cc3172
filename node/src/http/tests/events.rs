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
        assert!(begun.elapsed() < Duration::from_secs(10), "nobody reads");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let at = Timestamp::from_unix_ms(1_764_406_800_000);
    fixture.events.0.tell(vec![exchange(1, "held")], at);
    fixture.events.0.tell(vec![query("q", "reserving"), exchange(1, "final")], at);
    drop(fixture.events);
    let answer = tokio::time::timeout(Duration::from_secs(10), stream).await.unwrap().unwrap();
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
        assert!(begun.elapsed() < Duration::from_secs(10), "not all read");
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
