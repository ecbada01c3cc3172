//! Limits by caller over real sockets: who is counted as whom, what is said, what is never refused.

use super::*;

const fn limit(requests: u32) -> RateLimit {
    RateLimit { requests, seconds: 3600 }
}

async fn get(client: &Client, path: &str, headers: &[(&str, &str)]) -> Answer {
    client.send(Method::GET, path, headers, None).await.unwrap()
}

#[tokio::test]
async fn each_caller_has_a_bucket_and_a_refusal_says_when_and_why() {
    let rate_limits = RateLimits {
        address: limit(6),
        log: limit(5),
        members: limit(2),
        staff: limit(3),
        machines: limit(4),
    };
    let metrics = crate::metrics::Metrics::default();
    let fixture = Fixture::start_with(rate_limits, metrics.clone());

    // the user's own requests are not the address's
    let user = fixture.client_as(&Role::ALL[..5]);
    for left in [2, 1, 0] {
        let answer = get(&user, "/api/v1/status", &[]).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.headers["ratelimit-policy"], "\"staff\";q=3;w=3600");
        let said = answer.headers["ratelimit"].to_str().unwrap();
        assert!(said.starts_with(&format!("\"staff\";r={left};t=")), "{said}");
    }
    let refused = get(&user, "/api/v1/status", &[]).await;
    assert_eq!((refused.status.as_u16(), code(&refused).as_str()), (429, "rate_limited"));
    let retry: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=1200).contains(&retry), "{retry}");
    assert!(refused.headers.contains_key("x-request-id"));
    // another session of the same user is the same caller, and so is the browser's
    let again = fixture.client_as(&[Role::Officer]);
    assert_eq!(get(&again, "/api/v1/status", &[]).await.status, StatusCode::TOO_MANY_REQUESTS);
    let cookie = format!("__Host-session-grocer={}", fixture.auth.token_for(&[Role::Store]));
    let page = get(&fixture.client(), "/staff", &[("cookie", &cookie)]).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);

    // a member has the member's own, an app the app's
    let app = fixture.client_as(&[Role::App]);
    let card = MemberSessionRequest { card: "1".to_owned() };
    let begun: MemberSessionView = app.post("/api/v1/member-sessions", &[], &card).await.unwrap();
    let member = fixture.client();
    member.use_token(&begun.token);
    for status in [200, 200, 429] {
        assert_eq!(get(&member, "/api/v1/me", &[]).await.status.as_u16(), status);
    }
    let answer = get(&app, "/api/v1/status", &[]).await;
    let said = answer.headers["ratelimit"].to_str().unwrap().to_owned();
    assert!(said.starts_with("\"machines\";r=2;"), "{said}");

    // a token that is none is counted for the address, so guessing tokens is bounded too
    let stranger = fixture.client();
    for number in 0..3 {
        let token = format!("Bearer guess-{number}");
        let answer = get(&stranger, "/api/v1/status", &[("authorization", &token)]).await;
        assert_eq!(code(&answer), "token_unknown");
    }
    for _ in 0..3 {
        assert_eq!(get(&stranger, "/api/v1/openapi.json", &[]).await.status, StatusCode::OK);
    }
    let refused = stranger.login("ann", PASSWORD).await.err().unwrap().to_string();
    assert!(refused.contains("rate_limited (429)") && refused.contains("address"), "{refused}");
    let unknown = get(&stranger, "/nowhere", &[]).await;
    assert_eq!(unknown.status, StatusCode::TOO_MANY_REQUESTS, "what is not there is counted too");

    // what is published has a bucket of its own, whoever asks for it
    for (client, path) in [
        (&stranger, "/checkpoint"),
        (&stranger, "/certificates"),
        (&stranger, "/tile/0/000.p/1"),
        (&user, "/checkpoint"),
        (&stranger, "/checkpoint.witnessed"),
    ] {
        let answer = get(client, path, &[]).await;
        assert_eq!(answer.headers["ratelimit-policy"], "\"log\";q=5;w=3600", "{path}");
        assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
    }
    for (client, refused) in [(&user, "/tile/0/000.p/1"), (&stranger, "/checkpoint")] {
        assert_eq!(get(client, refused, &[]).await.status, StatusCode::TOO_MANY_REQUESTS);
    }

    // supervisors and balancers are answered whatever comes from their address
    for path in ["/healthz", "/readyz"] {
        let answer = get(&stranger, path, &[]).await;
        assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert!(!answer.headers.contains_key("ratelimit"), "{path}");
    }
    let figures = metrics.render();
    for (policy, count) in [("staff", 3), ("members", 1), ("address", 2), ("log", 2)] {
        let line = format!("coalition_http_rate_limited_total{{policy=\"{policy}\"}} {count}");
        assert!(figures.contains(&line), "{line}: {figures}");
    }
    assert!(!figures.contains("http_rate_limited_total{policy=\"machines\"}"));
}
