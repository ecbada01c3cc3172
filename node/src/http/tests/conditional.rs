//! Conditional requests over real sockets.

use super::*;

#[tokio::test]
async fn who_has_it_is_told_so_and_nothing_of_a_member_has_a_tag() {
    let fixture = Fixture::start();
    let client = fixture.client_as(&Role::ALL);
    let get = async |path: &str, tag: &str| {
        let known = [("if-none-match", tag)];
        let headers = if tag.is_empty() { &[][..] } else { &known[..] };
        client.send(Method::GET, path, headers, None).await.unwrap()
    };
    for route in ROUTES.iter().filter(|route| route.method == "get") {
        let listed =
            super::super::conditional::REVALIDATED.iter().find(|(path, _)| *path == route.path);
        let (path, _) = example(route);
        let answer = get(&path, "").await;
        let Some((_, public)) = listed else {
            let log = matches!(route.path, "/checkpoint" | "/certificates" | "/tile/{*path}");
            assert!(log || !answer.headers.contains_key("etag"), "{path}");
            if !matches!(route.access, Access::Public) {
                assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
            }
            continue;
        };
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let tag = answer.headers["etag"].to_str().unwrap().to_owned();
        assert!(tag.starts_with('"') && tag.len() == 24, "{tag}");
        let caching = if *public { "no-cache" } else { "private, no-cache" };
        assert_eq!(answer.headers["cache-control"], caching, "{path}");
        let listed = format!("\"other\", W/{tag}");
        for known in [tag.as_str(), "*", &listed] {
            let again = get(&path, known).await;
            assert_eq!((again.status.as_u16(), again.body.len()), (304, 0), "{path} {known}");
            assert_eq!(again.headers["etag"], tag.as_str());
            assert_eq!(again.headers["cache-control"], caching);
            assert!(again.headers.contains_key("ratelimit"));
        }
        let other = get(&path, "\"other\"").await;
        assert_eq!((other.status, &other.body), (StatusCode::OK, &answer.body), "{path}");
        let head = client.send(Method::HEAD, &path, &[("if-none-match", &tag)], None).await;
        assert!(!head.unwrap().headers.contains_key("etag"), "a tag of nothing");
    }
    // what differs has another tag, and a refusal has none
    let of = async |path: &str| get(path, "").await.headers.get("etag").cloned();
    assert_ne!(of("/api/v1/clearings/1").await, of("/api/v1/clearings/2").await);
    assert_eq!(of("/api/v1/clearings/1").await, of("/api/v1/clearings/1").await);
    assert_eq!(of("/api/v1/queries/gone").await, None);
    // a tag that somebody else was given opens nothing
    let tag = of("/api/v1/policy").await.unwrap();
    let known = [("if-none-match", tag.to_str().unwrap())];
    let stranger = fixture.client();
    let answer = stranger.send(Method::GET, "/api/v1/policy", &known, None).await.unwrap();
    assert_eq!(code(&answer), "token_missing");
}

#[tokio::test]
async fn a_file_of_the_log_is_sent_again_only_when_it_changed() {
    let fixture = Fixture::start();
    let client = fixture.client();
    let path = fixture.directory.path().join("checkpoint");
    std::fs::write(&path, "grocer\n1\n").unwrap();
    let get = async |tag: &str| {
        client.send(Method::GET, "/checkpoint", &[("if-none-match", tag)], None).await.unwrap()
    };
    let first = get("\"none\"").await;
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!((first.status.as_u16(), tag.starts_with("W/\"")), (200, true), "{tag}");
    let again = get(&tag).await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    assert_eq!(again.headers["cache-control"], "no-cache");
    std::fs::write(&path, "grocer\n23\n").unwrap();
    let changed = get(&tag).await;
    assert_eq!(changed.body, "grocer\n23\n");
    assert_ne!(changed.headers["etag"], tag.as_str());
}

#[tokio::test]
async fn rules_that_somebody_else_changed_are_not_replaced() {
    let fixture = Fixture::start();
    let client = fixture.client_as(&[Role::Partner]);
    let path = "/api/v1/programme/rules";
    let post = async |tags: &[(&str, &str)]| {
        let body = r#"{"rules":"version = 1"}"#;
        client.send(Method::POST, path, tags, Some(body.into())).await.unwrap()
    };
    let seen = client.send(Method::GET, path, &[], None).await.unwrap();
    let tag = seen.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(post(&[]).await.status, StatusCode::OK, "without it, as before");
    assert_eq!(post(&[("if-match", &tag)]).await.status, StatusCode::OK);
    assert_eq!(post(&[("if-match", "*")]).await.status, StatusCode::OK);
    let weak = format!("W/{tag}");
    for other in ["\"other\"", &weak, "nonsense"] {
        let refused = post(&[("if-match", other)]).await;
        let found = (refused.status.as_u16(), code(&refused));
        assert_eq!(found, (412, "changed_meanwhile".to_owned()), "{other}");
        assert_eq!(refused.headers["etag"], tag.as_str(), "what it is now");
    }
}
