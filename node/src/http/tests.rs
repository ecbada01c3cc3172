//! The surface over real sockets and TLS: who gets where, what bad requests hear, what is public.

mod audits;
mod browser;
mod certificates;
mod classes;
mod conditional;
mod dealings;
mod drafts;
mod events;
mod fields;
mod figures;
mod passwords;
mod people;
mod questions;
mod rates;
mod users;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};

use super::testing::{Fixture, PASSWORD};
use super::*;
use crate::auth::SESSION_LIFETIME;
use crate::client::{Answer, Client, ClientError};
use crate::service::*;

/// A path and a body with which a route's checks of form are passed.
fn example(route: &Route) -> (String, Option<&'static str>) {
    let path = route.path.replace("{*path}", "0/000").replace("{format}", "csv");
    let path = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
    let of_route = || examples::form(route.path).or_else(|| examples::body(route.path));
    let body = (route.method == "post").then(|| of_route().unwrap_or("{}"));
    let path = path.collect::<Vec<_>>().join("/");
    let query = match path.as_str() {
        path if path.ends_with("/export") => "?format=camt.053",
        "/api/v1/imports/batches" => "?kind=purchases&mapping=till",
        "/api/v1/events" | "/partner/events" => "?follow=false",
        _ => "",
    };
    (path + query, body)
}

async fn call(client: &Client, route: &Route, token: Option<&str>) -> Answer {
    let (path, body) = example(route);
    send(client, route, token, path, body.map(str::to_owned)).await
}

/// Asks a route as whoever has the token would, with a path and a body.
async fn send(
    client: &Client,
    route: &Route,
    token: Option<&str>,
    path: String,
    body: Option<String>,
) -> Answer {
    let method = Method::from_bytes(route.method.to_uppercase().as_bytes()).unwrap();
    let (name, before) = match route.access {
        Access::Page { .. } => ("cookie", "__Host-session-grocer="),
        Access::MemberPage => ("cookie", "__Host-member-grocer="),
        _ => ("authorization", "Bearer "),
    };
    let secret = token.map(|token| format!("{before}{token}"));
    let mut headers = vec![("idempotency-key", "k1")];
    if path.starts_with("/api/v1/imports/batches") {
        headers.push(("content-type", "application/x-ndjson"));
    }
    let origin = format!("https://{}", client.address());
    let is_page = matches!(route.access, Access::Page { .. } | Access::MemberPage);
    if (route.method, is_page) == ("post", true) {
        headers.extend(form(&origin));
    }
    headers.extend(secret.as_deref().map(|secret| (name, secret)));
    let answer = client.send(method, &path, &headers, body.map(Into::into)).await.unwrap();
    assert_documented(route, &answer);
    answer
}

/// A refusal has a code that the document names for the route and its status.
fn assert_documented(route: &Route, answer: &Answer) {
    static DOCUMENT: LazyLock<serde_json::Value> =
        LazyLock::new(|| serde_json::from_str(openapi::json()).unwrap());
    if answer.headers.get("content-type").is_none_or(|media| media != PROBLEM_JSON) {
        return;
    }
    let (code, status) = (code(answer), answer.status.as_u16());
    let path = route.path.replace("{*", "{").replace('/', "~1");
    let place = format!("/paths/{path}/{}/{}/{status}", route.method, codes::EXTENSION);
    let named = DOCUMENT.pointer(&place).and_then(serde_json::Value::as_array);
    let is_named = named.is_some_and(|named| named.iter().any(|it| *it == code));
    let Route { method, path, .. } = route;
    assert!(is_named, "{method} {path}: {status} {code} is not in codes.json, not there");
}

fn code(answer: &Answer) -> String {
    assert_eq!(answer.headers["content-type"], PROBLEM_JSON);
    let problem: Problem = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem.status, answer.status.as_u16());
    assert!(!problem.detail.is_empty() && !problem.remedy.is_empty());
    problem.code.into_owned()
}

/// Cut-offs come in pages, newest first, and each is opened by its name: a calendar's ends in .999.
#[tokio::test]
async fn cut_offs_are_listed_in_pages_and_each_opens_its_statement() {
    let fixture = Fixture::start();
    let client = fixture.client_as(&[Role::Officer]);
    let page: ClearingPage = client.get("/api/v1/clearings?limit=2").await.unwrap();
    let cut_offs = |page: &ClearingPage| {
        page.clearings.iter().map(|it| it.cut_off.clone()).collect::<Vec<_>>()
    };
    assert_eq!(cut_offs(&page), ["2026-10-31T15:59:59.999Z", "2026-10-30T15:59:59.999Z"]);
    let next = page.next.unwrap();
    assert_eq!(Some(next), page.clearings.last().map(|it| it.cut_off_ms));
    let path = format!("/api/v1/clearings?limit=1&before={next}");
    let older: ClearingPage = client.get(&path).await.unwrap();
    assert_eq!(cut_offs(&older), ["2026-10-29T15:59:59.999Z"]);
    let all: ClearingPage = client.get("/api/v1/clearings").await.unwrap();
    assert_eq!(all.clearings.len(), 100);
    let before_all: ClearingPage = client.get("/api/v1/clearings?before=1").await.unwrap();
    assert_eq!(before_all, ClearingPage::default());
    let statement: StatementView =
        client.get(&format!("/api/v1/clearings/{}", page.clearings[0].cut_off_ms)).await.unwrap();
    assert_eq!(statement.cut_off_ms, 1_793_462_399_999);
    for wrong in ["limit=0", "limit=1001", "before=noon", "after=1"] {
        let path = format!("/api/v1/clearings?{wrong}");
        let answer = client.send(Method::GET, &path, &[], None).await.unwrap();
        assert_eq!(answer.status, 400, "{wrong}");
    }
}

/// Every route of the table as nobody and as each role: the table tells the truth.
#[tokio::test]
async fn every_route_is_for_whom_the_table_says() {
    let fixture = Fixture::start();
    let client = fixture.client();
    for route in ROUTES {
        let stranger = call(&client, route, None).await;
        if let Access::Page { permission, roles } = route.access {
            assert_eq!(stranger.status, StatusCode::SEE_OTHER, "{permission} leads to signing in");
            for role in Role::ALL {
                let token = fixture.auth.token_for(&[role]);
                let status = call(&client, route, Some(&token)).await.status;
                let seen =
                    if roles.contains(&role) { StatusCode::OK } else { StatusCode::FORBIDDEN };
                assert_eq!(status, seen, "{} as {role}", route.path);
            }
            continue;
        }
        if matches!(route.access, Access::MemberPage) {
            // nobody and no user of the node, whatever the roles
            let user = fixture.auth.token_for(&Role::ALL);
            for answer in [stranger, call(&client, route, Some(&user)).await] {
                assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", route.path);
                let to = answer.headers["location"].to_str().unwrap();
                assert!(to.starts_with("/my/sign-in?"), "{} leads to {to}", route.path);
            }
            continue;
        }
        if matches!(route.access, Access::Member) {
            // nobody and no user of the node, whatever the roles
            assert_eq!(code(&stranger), "token_missing", "{} {}", route.method, route.path);
            let user = fixture.auth.token_for(&Role::ALL);
            let answer = call(&client, route, Some(&user)).await;
            assert_eq!(code(&answer), "token_unknown", "{} {}", route.method, route.path);
            continue;
        }
        let Access::Needs { permission, roles } = route.access else {
            // of the public ones only the sign-ins may ask who is there, and forms for their origin
            let asks = stranger.status == 400 || stranger.status == 403;
            // the fixture's state is a sample of long ago
            let stale = route.path == "/readyz" && stranger.status == 503;
            let unknown = ["not_published", "certificate_unknown"];
            let missing = stranger.status == 404 && unknown.contains(&code(&stranger).as_str());
            assert!(stranger.status.is_success() || asks || missing || stale, "{}", route.path);
            continue;
        };
        assert_eq!(code(&stranger), "token_missing", "{} {}", route.method, route.path);
        for role in Role::ALL {
            let token = fixture.auth.token_for(&[role]);
            let answer = call(&client, route, Some(&token)).await;
            if roles.contains(&role) {
                let (method, path) = (route.method, route.path);
                // the desk of the fixture is a real one, and has rules of its own
                let ruled = matches!(answer.status.as_u16(), 404 | 409 | 422)
                    || answer.status == 401 && code(&answer) == "code_wrong";
                let done = answer.status.is_success() || ruled && path.starts_with("/api/v1/");
                assert!(done, "{method} {path} as {role}: {answer:?}");
            } else {
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{permission} as {role}");
                assert_eq!(code(&answer), "role_missing");
            }
        }
    }
}

/// Whatever staff does in the programme, and with files and purchases, is in the operation log, by whom of those who may it is
/// done; so is reading members' points and notices. A new route that leaves no entry fails here.
#[tokio::test]
async fn what_staff_does_leaves_an_entry() {
    // they take nothing up and show nobody
    const LOOKS: [&str; 3] = [
        "/api/v1/programme/rules/check",
        "/api/v1/programme/rules/simulation",
        "/api/v1/programme/segments/count",
    ];
    const READS: [&str; 3] =
        ["/api/v1/members", "/api/v1/programme/members/{card}", "/api/v1/programme/notices"];
    let fixture = Fixture::start();
    let client = fixture.client();
    let mut asked = 0;
    for route in ROUTES {
        let of_staff =
            ["/api/v1/programme/", "/api/v1/purchases", "/api/v1/imports", "/programme/", "/staff"];
        let does = route.method == "post"
            && of_staff.iter().any(|start| route.path.starts_with(start))
            && !LOOKS.contains(&route.path);
        let reads = route.method == "get" && READS.contains(&route.path);
        let (Access::Needs { roles, .. } | Access::Page { roles, .. }) = route.access else {
            continue;
        };
        if !does && !reads {
            continue;
        }
        for role in roles {
            let before = fixture.entries();
            let token = fixture.auth.token_for(&[*role]);
            let answer = call(&client, route, Some(&token)).await;
            assert!(answer.status.is_success(), "{} {}: {answer:?}", route.method, route.path);
            assert!(fixture.entries() > before, "{} {} as {role}", route.method, route.path);
            asked += 1;
        }
    }
    assert!(asked >= 18, "{asked}");
}

/// Whatever people ask, in whatever role: the member's telephone number is whole in no answer. Twice over, so that what the
/// first round has entered (requests, operations, corrections) is asked for in the second. A new route that shows one fails.
#[tokio::test]
async fn no_route_shows_people_a_whole_number() {
    // all that is held, which the officer hands to the member who asked for it (PIPL art. 45)
    const WHOLE: &str = "/api/v1/members/{card}/export";
    // after these there is nobody to show
    const ENDS: [&str; 2] = ["/erasure", "/answer"];
    let number = "13812345678";
    let fixture = Fixture::start();
    let client = fixture.client();
    let mut asked = std::collections::BTreeSet::new();
    for _ in 0..2 {
        for route in ROUTES {
            let (Access::Needs { roles, .. } | Access::Page { roles, .. }) = route.access else {
                continue;
            };
            let ends = ENDS.iter().any(|end| route.path.ends_with(end));
            if route.path == WHOLE || ends {
                continue;
            }
            for role in roles.iter().filter(|role| **role != Role::App) {
                let token = fixture.auth.token_for(&[*role]);
                let answer = call(&client, route, Some(&token)).await;
                let body = String::from_utf8_lossy(&answer.body);
                assert!(!body.contains(number), "{} {} as {role}", route.method, route.path);
                asked.insert(route.path);
            }
        }
    }
    for path in [
        "/api/v1/members",
        "/api/v1/members/{card}/record",
        "/api/v1/programme/members/{card}",
        "/api/v1/programme/notices",
        "/api/v1/requests",
        "/api/v1/operations",
        "/staff",
    ] {
        assert!(asked.contains(path), "{path} was not asked");
    }
    // it is there to be shown: the officer's export has it
    let whole = ROUTES.iter().find(|route| route.path == WHOLE).unwrap();
    let token = fixture.auth.token_for(&[Role::Officer]);
    let answer = call(&client, whole, Some(&token)).await;
    assert!(String::from_utf8_lossy(&answer.body).contains(number), "{answer:?}");
}

/// A second step is the member's: with a code that the brand's app has sent, once; nobody claims it.
#[tokio::test]
async fn a_second_step_is_taken_with_a_code_of_the_apps_and_claimed_by_nobody() {
    let fixture = Fixture::start();
    let (app, store) = (fixture.client_as(&[Role::App]), fixture.client_as(&[Role::Store]));
    // the fixture's programme answers with the key
    let key = [("Idempotency-Key", "second_step_needed")];
    let (at_counter, by_app) =
        ("/api/v1/programme/members/1/actions", "/api/v1/programme/members/1/app-actions");
    let ask = |code: Option<&str>| serde_json::json!({ "action": "hold_reward", "reward": "cup", "code": code });
    let claimed =
        serde_json::json!({ "action": "hold_reward", "reward": "cup", "second_step": true });
    assert!(store.post::<_, DoneView>(at_counter, &key, &claimed).await.is_err());
    let done: DoneView = store.post(at_counter, &key, &ask(None)).await.unwrap();
    assert_eq!(done.state, "second_step_needed");
    let card = MemberSessionRequest { card: "1".to_owned() };
    let steps = "/api/v1/member-second-steps";
    assert!(store.post::<_, SecondStepView>(steps, &[], &card).await.is_err(), "staff makes none");
    let sent: SecondStepView = app.post(steps, &[], &card).await.unwrap();
    let wrong = store.post::<_, DoneView>(at_counter, &key, &ask(Some("7QZ4-M3KD-0X9V"))).await;
    assert!(wrong.unwrap_err().to_string().contains("member_code_wrong"));
    let _: DoneView = store.post(at_counter, &key, &ask(Some(&sent.code))).await.unwrap();
    // it is used up, wherever it is tried
    for (client, path) in [(&store, at_counter), (&app, by_app)] {
        let again = client.post::<_, DoneView>(path, &key, &ask(Some(&sent.code))).await;
        assert!(again.unwrap_err().to_string().contains("member_code_wrong"), "{path}");
    }
    // on the member's own routes as well
    let begun: MemberSessionView = app.post("/api/v1/member-sessions", &[], &card).await.unwrap();
    let member = fixture.client();
    member.use_token(&begun.token);
    let again =
        member.post::<_, DoneView>("/api/v1/me/actions", &key, &ask(Some(&sent.code))).await;
    assert!(again.unwrap_err().to_string().contains("member_code_wrong"));
    let sent: SecondStepView = app.post(steps, &[], &card).await.unwrap();
    let _: DoneView =
        member.post("/api/v1/me/actions", &key, &ask(Some(&sent.code))).await.unwrap();
}

#[tokio::test]
async fn public_routes_are_these_and_no_others() {
    let public = ROUTES.iter().filter(|route| matches!(route.access, Access::Public));
    let public: Vec<String> =
        public.map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(
        public,
        [
            "get /healthz",
            "get /readyz",
            "get /api/v1/openapi.json",
            "post /api/v1/sessions",
            "get /api/v1/certificates/{hash}",
            "get /api/v1/programme/rules",
            "get /checkpoint",
            "get /checkpoint.witnessed",
            "get /certificates",
            "get /tile/{*path}",
            "post /add-checkpoint",
            "get /{origin_hash}/checkpoint",
            "get /",
            "get /sign-in",
            "post /sign-in",
            "post /sign-out",
            "get /my/sign-in",
            "post /my/sign-in",
            "post /my/sign-out",
            "get /console.css",
            "get /verify",
            "get /receipt.js",
            "get /console.js",
            "get /partner.js",
            "get /icon.svg",
        ]
    );
}

#[tokio::test]
async fn a_session_begins_expires_and_ends() {
    let fixture = Fixture::start();
    let client = fixture.client();
    let refused = client.login("ann", "wrong horse battery").await.err().unwrap();
    assert!(refused.to_string().contains("login_refused (401)"), "{refused}");

    let begun = Instant::now();
    let session = client.login("ann", PASSWORD).await.unwrap();
    println!("login took {} ms", begun.elapsed().as_millis());
    assert_eq!(session.roles.len(), Role::ALL.len());
    let status: Status = client.get("/api/v1/status").await.unwrap();
    assert_eq!(status, crate::console::samples::status());

    fixture.auth.age_sessions(SESSION_LIFETIME);
    let answer = client.send(Method::GET, "/api/v1/status", &[], None).await.unwrap();
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.headers["www-authenticate"].to_str().unwrap().contains("invalid_token"));
    let expired = client.get::<Status>("/api/v1/status").await.unwrap_err().to_string();
    assert!(expired.contains("token_expired") && expired.contains("sign in again"), "{expired}");

    client.login("ann", PASSWORD).await.unwrap();
    client.delete("/api/v1/sessions").await.unwrap();
    let ended = client.get::<Status>("/api/v1/status").await.unwrap_err();
    assert!(ended.to_string().contains("token_unknown"));
}

#[tokio::test]
async fn operations_get_what_was_sent() {
    let fixture = Fixture::start();
    let client = fixture.client_as(&Role::ALL);
    let body = ExchangeRequest { card: "c1".into(), to: "kids".into(), points: 10 };
    let key = [("Idempotency-Key", "0001")];
    let view: ExchangeView = client.post("/api/v1/exchanges", &key, &body).await.unwrap();
    assert_eq!((view.id.as_str(), view.to.as_str(), view.points_sent), ("0001", "kids", 10));

    let page: CardPage =
        client.get("/api/v1/members?least_points=5&after=x&limit=2").await.unwrap();
    assert_eq!(page.members[0].card, "5****", "masked for people, whatever the roles");
    let page: CardPage = client.get("/api/v1/members?limit=1").await.unwrap();
    assert!(page.members[0].member.starts_with('~'), "{page:?}");
    assert_eq!(page.next.as_ref(), Some(&page.members[0].member), "a full page may have a next");
    let () = client.post("/api/v1/imports", &[], &ImportSource::Sample).await.unwrap();
    let card: MemberView = client.get("/api/v1/members/a%2Fb").await.unwrap();
    assert_eq!(card.card, "a/b");
    assert_eq!(client.get_bytes("/api/v1/exchanges/7/receipt").await.unwrap(), "7");
    let exchanges: Vec<ExchangeView> = client.get("/api/v1/exchanges?limit=3").await.unwrap();
    assert_eq!(exchanges.len(), 3);
    let asked: Vec<ExchangeView> =
        client.get_list("/api/v1/exchanges?to=kids&limit=7", usize::MAX).await.unwrap();
    let expected: Vec<u64> = (1..1_000).rev().filter(|number| number % 2 == 1).collect();
    assert_eq!(asked.iter().map(|it| it.requested_ms).collect::<Vec<_>>(), expected);
    let some: Vec<ExchangeView> = client.get_list("/api/v1/exchanges?limit=7", 9).await.unwrap();
    assert_eq!(some.len(), 9);

    let too_much = ExchangeRequest { points: 1001, ..body };
    let refused = client.post::<_, ExchangeView>("/api/v1/exchanges", &key, &too_much).await;
    let Err(ClientError::Refused { problem, request: Some(_) }) = refused else {
        panic!("not refused")
    };
    assert_eq!((problem.status, problem.code.as_ref()), (422, "balance_too_low"));
}

/// A page names the next one; what it names is good for that list alone, and as it was given.
#[tokio::test]
async fn pages_follow_each_other_and_a_foreign_cursor_is_refused() {
    let fixture = Fixture::start();
    let client = fixture.client_as(&Role::ALL);
    let get = async |path: &str| client.send(Method::GET, path, &[], None).await.unwrap();
    let first = get("/api/v1/exchanges?to=kids&limit=2&state=final").await;
    let link = first.headers["link"].to_str().unwrap().to_owned();
    let cursor = link.strip_prefix("<?before=").unwrap().split('&').next().unwrap().to_owned();
    assert_eq!(link, format!("<?before={cursor}&to=kids&limit=2&state=final>; rel=\"next\""));
    let second = get(&format!("/api/v1/exchanges?before={cursor}&limit=2")).await;
    let views: Vec<ExchangeView> = serde_json::from_slice(&second.body).unwrap();
    assert_eq!(views.iter().map(|it| it.requested_ms).collect::<Vec<_>>(), [996, 995]);
    let last = get("/api/v1/exchanges?limit=1000").await;
    assert!(!last.headers.contains_key("link"), "there is no page behind the last");
    for path in [
        format!("/api/v1/exchanges/received?before={cursor}"),
        format!("/api/v1/queries?before={cursor}"),
        format!("/api/v1/pairs?after={cursor}"),
        format!("/api/v1/requests?after={cursor}"),
        format!("/api/v1/breaches?after={cursor}"),
        format!("/api/v1/assessments?after={cursor}"),
        format!("/api/v1/programme/adjustments?before={cursor}"),
        format!("/api/v1/programme/coupons?before={cursor}"),
        format!("/api/v1/programme/cases?after={cursor}"),
        format!("/api/v1/programme/requests?after={cursor}"),
        format!("/api/v1/exchanges?before={cursor}A"),
        "/api/v1/exchanges?before=0123456789abcdef".to_owned(),
        "/api/v1/exchanges?before=".to_owned(),
    ] {
        let answer = get(&path).await;
        let refused = (answer.status.as_u16(), code(&answer));
        assert_eq!(refused, (400, "cursor_unknown".to_owned()), "{path}");
    }
    // the page's links: on, back, and with what was chosen
    let cookie = format!("__Host-session-grocer={}", fixture.auth.token_for(&[Role::Partner]));
    let page = async |path: &str| {
        let headers = [("cookie", cookie.as_str())];
        let answer = client.send(Method::GET, path, &headers, None).await.unwrap();
        String::from_utf8(answer.body.to_vec()).unwrap().replace("&#38;", "&")
    };
    let link = |text: &str, rel: &str| {
        let rest = text.split(&format!("rel=\"{rel}\" href=\"")).nth(1)?;
        rest.split('#').next().map(str::to_owned)
    };
    let receipts = |text: &str| {
        let ids = text.split("/opened-receipt\"").filter_map(|it| it.rsplit('/').next());
        ids.filter_map(|id| u64::from_str_radix(id, 16).ok()).collect::<Vec<_>>()
    };
    let newest = page("/partner?lang=en&to=kids&state=final").await;
    assert!(newest.contains("<option value=\"final\" selected>") && newest.contains("/partner.js"));
    assert_eq!(receipts(&newest).len(), 25);
    assert_eq!(link(&newest, "prev"), None);
    let older = page(&link(&newest, "next").unwrap()).await;
    let oldest = page(&link(&older, "next").unwrap()).await;
    assert_ne!(receipts(&newest), receipts(&older));
    let back = link(&oldest, "prev").unwrap();
    assert_eq!(receipts(&page(&back).await), receipts(&older));
    let back = link(&page(&back).await, "prev").unwrap();
    assert!(back.contains("to=kids") && back.contains("state=final"), "{back}");
    assert_eq!(receipts(&page(&back).await), receipts(&newest));
    let headers = [("cookie", cookie.as_str())];
    for wrong in ["state=x", "to=A", "exchanges=x"] {
        let path = format!("/partner?{wrong}");
        let answer = client.send(Method::GET, &path, &headers, None).await.unwrap();
        assert_eq!(answer.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn bad_requests_hear_what_was_wrong() {
    let fixture = Fixture::start();
    let client = fixture.client_as(&Role::ALL);
    let large = "x".repeat(BODY_MAX + 1);
    let body = r#"{"card":"c","to":"kids","points":1}"#;
    let text = [("content-type", "text/plain"), ("idempotency-key", "k")];
    let key = [("idempotency-key", "k")];
    let blank = [("idempotency-key", "a b")];
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    for (method, path, headers, body, status, expected) in [
        (&get, "/api/v1/nothing", &[][..], "", 404, "route_unknown"),
        (&get, "/nothing", &[], "", 404, "route_unknown"),
        (&put, "/api/v1/exchanges", &[], "", 405, "method_not_allowed"),
        (&post, "/api/v1/exchanges", &key, "{", 400, "json_malformed"),
        (&post, "/api/v1/exchanges", &key, "{\"card\":1}", 400, "json_unexpected"),
        (&post, "/api/v1/exchanges", &text, body, 415, "json_expected"),
        (&post, "/api/v1/exchanges", &key, &large, 413, "body_too_large"),
        (&post, "/api/v1/exchanges", &[], body, 400, "idempotency_key_missing"),
        (&post, "/api/v1/exchanges", &blank, body, 400, "idempotency_key_invalid"),
        (&get, "/api/v1/exchanges?limit=0", &[], "", 400, "parameter_invalid"),
        (&get, "/api/v1/exchanges?limit=-1", &[], "", 400, "parameter_invalid"),
        (&get, "/api/v1/exchanges?limti=1", &[], "", 400, "parameter_invalid"),
        (&get, "/api/v1/queries/1?rows=0", &[], "", 400, "parameter_invalid"),
        (&get, "/api/v1/queries/1?from=9&rows=10001", &[], "", 400, "parameter_invalid"),
        (&get, "/api/v1/clearings/noon", &[], "", 400, "path_invalid"),
        (&get, "/api/v1/members/gone", &[], "", 404, "unknown"),
        (&get, "/tile/0/0", &[], "", 400, "tile_path_invalid"),
        (&post, "/sign-in", &[], "", 403, "origin_foreign"),
    ] {
        let answer = client.send(method.clone(), path, headers, Some(body.to_owned().into()));
        let answer = answer.await.unwrap();
        assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (status, expected), "{path}");
        assert!(answer.headers.contains_key("x-request-id"));
    }
    let answer = client.send(put, "/api/v1/exchanges", &[], None).await.unwrap();
    assert_eq!(answer.headers["allow"], "POST,GET,HEAD");
}

#[tokio::test]
async fn a_dead_runtime_is_said_and_the_server_stays() {
    let fixture = Fixture::start();
    let client = fixture.client_as(&Role::ALL);
    let health: Health = client.get("/healthz").await.unwrap();
    assert_eq!((health.status.as_str(), health.brand.as_str()), ("ok", "grocer"));

    let answer = client.send(Method::GET, "/api/v1/members/fatal", &[], None).await.unwrap();
    assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (503, "node_stopped"));
    assert_eq!(answer.headers["retry-after"], "1");
    let health = client.send(Method::GET, "/healthz", &[], None).await.unwrap();
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_published_log_is_served_as_tlog_tiles_says() {
    let fixture = Fixture::start();
    let client = fixture.client();
    let root = fixture.directory.path();
    std::fs::create_dir_all(root.join("tile/0/000.p")).unwrap();
    std::fs::create_dir_all(root.join("tile/entries")).unwrap();
    std::fs::write(root.join("checkpoint"), "grocer\n1\n").unwrap();
    std::fs::write(root.join("tile/0/000.p/2"), [7; 64]).unwrap();
    let bundle = vec![9; 200_000];
    std::fs::write(root.join("tile/entries/000"), &bundle).unwrap();

    let get = async |path: &str| client.send(Method::GET, path, &[], None).await.unwrap();
    let checkpoint = get("/checkpoint").await;
    assert_eq!(checkpoint.body, "grocer\n1\n");
    assert_eq!(checkpoint.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(checkpoint.headers["cache-control"], "no-cache");
    let partial = get("/tile/0/000.p/2").await;
    assert_eq!(partial.body, vec![7; 64]);
    assert_eq!(partial.headers["content-type"], "application/octet-stream");
    assert!(!partial.headers["cache-control"].to_str().unwrap().contains("immutable"));
    let full = get("/tile/entries/000").await;
    assert_eq!(full.body, bundle);
    assert_eq!(full.headers["content-length"], "200000");
    assert!(full.headers["cache-control"].to_str().unwrap().contains("immutable"));

    // users.json and key.pem lie in the same directory here
    for path in [
        "/tile/../users.json",
        "/tile/%2e%2e/users.json",
        "/tile/0/%2e%2e/%2e%2e/key.pem",
        "/tile//etc/passwd",
        "/tile/0/000.p/../../../key.pem",
        "/tile/0/00%30",
        "//tile/0/000",
        "/users.json",
        "/key.pem",
        "/tile/0/000.p/2/",
        "/tile/8/000",
    ] {
        let answer = get(path).await;
        assert!(answer.status.is_client_error(), "{path}: {}", answer.status);
        code(&answer);
    }
}

fn form(origin: &str) -> [(&str, &str); 2] {
    [("origin", origin), ("content-type", "application/x-www-form-urlencoded")]
}

#[tokio::test]
async fn another_node_is_not_trusted() {
    let (one, other) = (Fixture::start(), Fixture::start());
    let certificate = std::fs::read(other.directory.path().join("cert.pem")).unwrap();
    let client = Client::connect(one.served.address, &certificate).unwrap();
    let refused = client.get::<Health>("/healthz").await;
    assert!(matches!(refused, Err(ClientError::Unreachable { .. })));
}

#[tokio::test]
async fn a_server_that_stops_lets_go() {
    let fixture = Fixture::start();
    let client = fixture.client();
    client.get::<Health>("/healthz").await.unwrap();
    fixture.served.shutdown.begin();
    // before the grace is over that connections in use would have
    let stopped = tokio::time::timeout(Duration::from_secs(9), fixture.served.task).await;
    stopped.unwrap().unwrap().unwrap();
    assert!(matches!(client.get::<Health>("/healthz").await, Err(ClientError::Unreachable { .. })));
}

/// Where log lines go in a test.
#[derive(Clone, Default)]
struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_has_routes_and_codes_and_no_one_in_it() {
    let (lines, fixture) = (Lines::default(), Fixture::start());
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _in_this_thread = tracing::subscriber::set_default(subscriber);

    let client = fixture.client_as(&Role::ALL);
    let too_much = ExchangeRequest { card: "13812345678".into(), to: "kids".into(), points: 1001 };
    let key = [("idempotency-key", "key-of-ann")];
    for _ in 0..2 {
        // a place that first speaks in the thread of another test, without a subscriber, is taken
        // to have no listeners: the first round makes them known, the second one is heard
        tracing::callsite::rebuild_interest_cache();
        client.get::<MemberView>("/api/v1/members/13812345678").await.unwrap();
        client.post::<_, ExchangeView>("/api/v1/exchanges", &key, &too_much).await.unwrap_err();
        client.login("ann", "a wrong password").await.err().unwrap();
    }

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    for said in ["/api/v1/members/{card}", "balance_too_low", "login_refused", "request="] {
        assert!(text.contains(said), "{said}: {text}");
    }
    for kept_back in ["13812345678", "key-of-ann", "a wrong password", "ann\"", "Bearer"] {
        assert!(!text.contains(kept_back), "{kept_back}: {text}");
    }
}

/// 32 tasks over the client's few connections: all are answered, each with its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_few_connections() {
    let fixture = Fixture::start();
    let client = fixture.client_as(&Role::ALL);
    let begun = Instant::now();
    let tasks = (0..32_u32).map(|task| {
        let client = client.clone();
        tokio::spawn(async move {
            for request in 0..20 {
                let id = format!("{task}-{request}");
                let body = ExchangeRequest { card: "c".into(), to: "kids".into(), points: 1 };
                let key = [("idempotency-key", id.as_str())];
                let view: ExchangeView =
                    client.post("/api/v1/exchanges", &key, &body).await.unwrap();
                assert_eq!(view.id, id);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let per_second = 640_f64 / begun.elapsed().as_secs_f64();
    println!("{per_second:.0} requests/s");
}
