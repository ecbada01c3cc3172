//! The surface over real sockets and TLS: who gets where, what bad requests hear, what is public.

mod audits;
mod certificates;
mod conditional;
mod dealings;
mod drafts;
mod events;
mod fields;
mod figures;
mod passwords;
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

/// From the list on the partner's page to a statement of the calendar and its three files; the form takes the same
/// cut-off as browsers write it, and as people do.
#[tokio::test]
async fn the_partners_page_opens_a_calendars_statement_and_its_downloads() {
    let fixture = Fixture::start();
    let client = fixture.client();
    let cookie = format!("__Host-session-grocer={}", fixture.auth.token_for(&[Role::Partner]));
    let get = async |path: &str| {
        let headers = [("cookie", cookie.as_str())];
        client.send(Method::GET, path, &headers, None).await.unwrap()
    };
    let text = |answer: &Answer| String::from_utf8(answer.body.to_vec()).unwrap();
    let page = text(&get("/partner?lang=en").await);
    let link = "/partner?lang=en&amp;cut_off=1793462399999#statement";
    assert!(page.contains(link) && page.contains("2026-10-31T15:59:59.999Z"), "{page}");
    assert!(page.contains("step=\"0.001\"") && !page.contains("/partner/clearings/"));
    // twelve a page, the next begins behind them
    let last = 1_793_462_399_999_u64 - 11 * 86_400_000;
    assert!(page.contains(&format!("/partner?lang=en&amp;before={last}#clearing-title")));
    let older = text(&get(&format!("/partner?lang=en&before={last}")).await);
    assert!(!older.contains(link) && older.contains(&format!("cut_off={}", last - 86_400_000)));

    for cut_off in
        ["1793462399999", "2026-10-31T15%3A59%3A59.999", "2026-10-31T23%3A59%3A59.999%2B08%3A00"]
    {
        let page = text(&get(&format!("/partner?lang=en&cut_off={cut_off}")).await);
        assert!(page.contains("value=\"2026-10-31T15:59:59.999\""), "{cut_off}: {page}");
        assert!(page.contains("agreed by all"), "{cut_off}: {page}");
        for format in ["csv", "pacs.029", "camt.053"] {
            let path = format!("/partner/clearings/1793462399999/{format}");
            assert!(page.contains(&path), "{path}");
            let file = get(&path).await;
            assert_eq!((file.status, file.body.is_empty()), (StatusCode::OK, false), "{path}");
        }
    }
    let wrong = text(&get("/partner?lang=en&cut_off=noon").await);
    assert!(wrong.contains("a time is written 2026-10-31T15:59:59.999"), "{wrong}");
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

/// What a form gets wrong is told in the language of the page.
#[tokio::test]
async fn a_refusal_on_a_page_is_in_the_language_of_the_page() {
    let fixture = Fixture::start();
    let client = fixture.client();
    let origin = format!("https://{}", client.address());
    let session = format!("__Host-session-grocer={}", fixture.auth.token_for(&Role::ALL));
    let campaign =
        "action=make&name=a&zh=a&en=a&segment=s&from=2026-12-01&to=2026-12-02&count_days=x";
    let segment = "action=count&name=a&zh=a&en=a&tier=&quiet_days=&spent=x&category=&channel=&hours=&lifecycle=";
    let number = ["不是整数：只写数字", "this is no whole number: write digits only"];
    for (path, body, told) in [
        ("/programme/campaigns", campaign, number),
        (
            "/programme/segments",
            segment,
            ["金额格式不正确：例如 128.50", "this is no amount in yuan: write it as in 128.50"],
        ),
        ("/programme/reviews", "action=agree&adjustment=x", number),
        (
            "/staff",
            "action=look&kind=nothing&value=1",
            ["没有这种标识：从列表中选择", "there is no such kind of identifier: one of"],
        ),
    ] {
        for (language, told) in ["zh", "en"].into_iter().zip(told) {
            let mut headers = form(&origin).to_vec();
            headers.push(("cookie", session.as_str()));
            let path = format!("{path}?lang={language}");
            let answer = client.send(Method::POST, &path, &headers, Some(body.into()));
            let answer = answer.await.unwrap();
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            let page = String::from_utf8(answer.body.to_vec()).unwrap();
            assert!(page.contains(told), "{path}: {told}");
        }
    }
}

#[tokio::test]
async fn a_browser_signs_in_looks_and_signs_out() {
    let fixture = Fixture::start();
    let client = fixture.client();
    let origin = format!("https://{}", client.address());
    let get = async |path: &str, cookie: &str| {
        client.send(Method::GET, path, &[("cookie", cookie)], None).await.unwrap()
    };
    let post = async |path: &str, headers: &[(&str, &str)], body: &'static str| {
        client.send(Method::POST, path, headers, Some(body.into())).await.unwrap()
    };
    let page = |answer: &Answer| String::from_utf8(answer.body.to_vec()).unwrap();

    let stranger = get("/?lang=en", "").await;
    assert!(page(&stranger).contains("52,736") && !page(&stranger).contains("1,469,307"));
    let policy = stranger.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'"));

    let wrong = post("/sign-in?lang=en", &form(&origin), "user=ann&password=wrong").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(page(&wrong).contains("is wrong"));
    let right = "user=ann&password=correct+horse%20battery";
    for foreign in ["https://elsewhere.example", "null", "http://127.0.0.1"] {
        let answer = post("/sign-in", &form(foreign), right).await;
        assert_eq!(code(&answer), "origin_foreign");
    }
    let signed_in = post("/sign-in?lang=en", &form(&origin), right).await;
    assert_eq!(signed_in.status, StatusCode::SEE_OTHER);
    let set = signed_in.headers["set-cookie"].to_str().unwrap();
    for attribute in ["__Host-session-grocer=", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(set.contains(attribute), "{set}");
    }
    let cookie = format!("other=1; {}", set.split(';').next().unwrap());
    assert!(page(&get("/?lang=en", &cookie).await).contains("1,469,307"));
    assert!(page(&get("/?lang=zh", &cookie).await).contains("消费明细"));

    // a cookie opens no API route, so no other site can use one
    assert_eq!(code(&get("/api/v1/status", &cookie).await), "token_missing");
    let forged = [form("https://elsewhere.example"), [("cookie", &cookie), ("x", "y")]].concat();
    assert_eq!(code(&post("/sign-out", &forged, "").await), "origin_foreign");

    let own = [form(&origin), [("cookie", &cookie), ("x", "y")]].concat();
    let signed_out = post("/sign-out", &own, "").await;
    assert!(signed_out.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert!(!page(&get("/?lang=en", &cookie).await).contains("1,469,307"));
    assert!(page(&get("/sign-in?lang=en", &cookie).await).contains("session is over"));
}

/// Whoever must have a second factor is led to set one up, with a browser alone, and is then asked for it.
#[tokio::test]
async fn a_second_factor_is_set_up_and_asked_for_on_pages() {
    let fixture = Fixture::start();
    fixture.auth.add_user("olga", &[Role::Officer], PASSWORD).unwrap();
    fixture.auth.require_second_factor(&[Role::Officer]);
    let client = fixture.client();
    let origin = format!("https://{}", client.address());
    let page = |answer: &Answer| String::from_utf8(answer.body.to_vec()).unwrap();
    let post = async |path: &str, cookie: &str, body: String| {
        let headers = [form(&origin), [("cookie", cookie), ("x", "y")]].concat();
        client.send(Method::POST, path, &headers, Some(body.into())).await.unwrap()
    };
    let sign_in = async |code: &str| {
        let body = format!("user=olga&password=correct+horse%20battery&code={code}");
        post("/sign-in?lang=en", "", body).await
    };
    let cookie_of = |answer: &Answer| {
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        let set = answer.headers["set-cookie"].to_str().unwrap();
        set.split(';').next().unwrap().to_owned()
    };

    let cookie = cookie_of(&sign_in("").await);
    let led = client.send(Method::GET, "/officer", &[("cookie", &cookie)], None).await.unwrap();
    assert_eq!(led.status, StatusCode::SEE_OTHER);
    assert!(led.headers["location"].to_str().unwrap().starts_with("/second-factor"));
    let path = "/second-factor?lang=en";
    let begun = post(path, &cookie, "action=begin".into()).await;
    let text = page(&begun);
    let (_, rest) = text.split_once("secret=").unwrap();
    let secret: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    let wrong = post(path, &cookie, "action=confirm&code=000000".into()).await;
    assert!(page(&wrong).contains("wrong or too old") && page(&wrong).contains("id=\"code\""));
    let code = crate::auth::tests_code(&secret, -1);
    let confirmed = post(path, &cookie, format!("action=confirm&code={code}")).await;
    assert!(confirmed.headers["location"].to_str().unwrap().starts_with("/sign-in"));

    // from now on it is asked for, and then everything is open
    let asked = sign_in("").await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    assert!(page(&asked).contains("has a second factor"));
    assert!(page(&sign_in("123456").await).contains("wait for the next one"));
    let cookie = cookie_of(&sign_in(&crate::auth::tests_code(&secret, 0)).await);
    let seen = client.send(Method::GET, "/officer", &[("cookie", &cookie)], None).await.unwrap();
    assert_eq!(seen.status, StatusCode::OK);
    let own = client.send(Method::GET, path, &[("cookie", &cookie)], None).await.unwrap();
    assert!(page(&own).contains("In use"));
    // and an administrator ends the session
    let cookie_of_ann =
        format!("__Host-session-grocer={}", fixture.auth.token_for(&[Role::Administrator]));
    let body = "action=end_sessions&user=olga".to_owned();
    let ended = post("/administration?lang=en", &cookie_of_ann, body).await;
    assert!(page(&ended).contains("Sessions that were ended: 1"), "{}", page(&ended));
    let over = client.send(Method::GET, "/officer", &[("cookie", &cookie)], None).await.unwrap();
    assert!(over.headers["location"].to_str().unwrap().starts_with("/sign-in"));
}

#[tokio::test]
async fn a_member_opens_the_own_pages_by_a_code_that_is_good_once() {
    let fixture = Fixture::start();
    let client = fixture.client();
    let origin = format!("https://{}", client.address());
    let get = async |path: &str, cookie: &str| {
        client.send(Method::GET, path, &[("cookie", cookie)], None).await.unwrap()
    };
    let post = async |path: &str, cookie: &str, body: String| {
        let mut headers = form(&origin).to_vec();
        headers.push(("cookie", cookie));
        client.send(Method::POST, path, &headers, Some(body.into())).await.unwrap()
    };
    let page = |answer: &Answer| String::from_utf8(answer.body.to_vec()).unwrap();

    // handed out at the counter, on record
    let staff = fixture.auth.token_for(&[Role::Store]);
    let staff = format!("__Host-session-grocer={staff}");
    let looked = post("/staff?lang=en", &staff, "action=look&kind=phone&value=13812345678".into());
    let looked = page(&looked.await);
    assert!(looked.contains("138****5678") && !looked.contains("13812345678"), "{looked}");
    let member = looked.split("name=\"member\" value=\"").nth(1).unwrap();
    let member = member.split('"').next().unwrap();
    let body = format!("action=hand_out&member={}", member.replace('~', "%7E"));
    let handed = page(&post("/staff?lang=en", &staff, body).await);
    let once = handed.split("<strong class=\"code\">").nth(1).unwrap().split('<').next().unwrap();
    let officer = fixture.client_as(&[Role::Officer]);
    let log: Vec<OperationView> = officer.get("/api/v1/operations").await.unwrap();
    let said: Vec<&str> = log.iter().map(|it| it.what.as_str()).collect();
    assert!(said.contains(&"a code for the member's own pages"), "{said:?}");
    assert!(log.iter().all(|it| !format!("{it:?}").contains("13812345678")), "{log:?}");
    // a number that nobody has is a trace, too, without the number
    let nobody = post("/staff?lang=en", &staff, "action=look&kind=phone&value=13900000000".into());
    assert!(page(&nobody.await).contains("no member has"));
    let log: Vec<OperationView> = officer.get("/api/v1/operations").await.unwrap();
    assert_eq!(log.last().unwrap().what, "a look-up that found nobody");

    // looking at the link uses nothing up; a form of elsewhere opens nothing
    let shown = get(&format!("/my/sign-in?lang=en&code={once}"), "").await;
    assert!(page(&shown).contains(once));
    let foreign = [("origin", "https://elsewhere.example"), form(&origin)[1]];
    let body = format!("code={once}");
    let answer = client.send(Method::POST, "/my/sign-in", &foreign, Some(body.clone().into()));
    assert_eq!(code(&answer.await.unwrap()), "origin_foreign");
    let begun = post("/my/sign-in?lang=en", "", body.clone()).await;
    assert_eq!(
        (begun.status, &begun.headers["location"]),
        (StatusCode::SEE_OTHER, &"/my?lang=en".parse().unwrap())
    );
    let cookie = begun.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.ends_with("Path=/; Secure; HttpOnly; SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let again = post("/my/sign-in?lang=en", "", body).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    assert!(page(&again).contains("was used already"));

    // the own account and nothing of the console's
    let own = page(&get("/my?lang=en", &cookie).await);
    assert!(own.contains("My account") && own.contains("Take back"), "{own}");
    assert_eq!(get("/staff", &cookie).await.status, StatusCode::SEE_OTHER);
    let token = cookie.split_once('=').unwrap().1;
    assert_eq!(get("/staff", &format!("__Host-session-grocer={token}")).await.status, 303);
    let told = "action=consent&purpose=exchange&receiver=&granted=no&notice=1".to_owned();
    assert!(page(&post("/my?lang=en", &cookie, told).await).contains("taken your agreement back"));
    let stale = "action=consent&purpose=exchange&receiver=&granted=yes&notice=9".to_owned();
    assert!(
        page(&post("/my?lang=en", &cookie, stale).await)
            .contains("notice on the use of data was changed")
    );
    let asked = "action=request&kind=correction&words=my+name".to_owned();
    let asked = page(&post("/my?lang=en", &cookie, asked).await);
    assert!(asked.contains("Your request is entered") && asked.contains("to be done by"));
    let export = get("/my/export", &cookie).await;
    assert!(export.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
    let export: serde_json::Value = serde_json::from_slice(&export.body).unwrap();
    assert_eq!(export["attributes"]["name"], "Li Lei");
    let foreign = get("/my/exchanges/7/receipt", &cookie).await;
    assert_eq!((foreign.status.as_u16(), code(&foreign).as_str()), (404, "exchange_unknown"));

    // not confirmed, nothing is erased; confirmed, the session is over
    let kept = page(&post("/my?lang=en", &cookie, "action=erase".into()).await);
    assert!(kept.contains("nothing was erased"));
    let erased = post("/my?lang=en", &cookie, "action=erase&confirm=erase".into()).await;
    assert!(erased.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert!(page(&erased).contains("/api/v1/certificates/"), "{}", page(&erased));
    assert_eq!(get("/my", &cookie).await.status, StatusCode::SEE_OTHER);
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

#[tokio::test]
async fn a_person_is_enrolled_on_the_counters_page() {
    let fixture = Fixture::start();
    let client = fixture.client();
    let origin = format!("https://{}", client.address());
    let staff = format!("__Host-session-grocer={}", fixture.auth.token_for(&[Role::Store]));
    let post = async |body: &str| {
        let mut headers = form(&origin).to_vec();
        headers.push(("cookie", staff.as_str()));
        let body = Some(body.to_owned().into());
        let answer = client.send(Method::POST, "/staff?lang=en", &headers, body).await.unwrap();
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    let filled = "action=enrol&card=PAGE-CARD-1&phone=13900002222&born=&notice=3&guardian=";
    let page = post(filled).await;
    assert!(page.contains("Enrolled.") && page.contains("139****2222"), "{page}");
    assert!(!page.contains("13900002222") && !page.contains("PAGE-CARD-1"), "{page}");
    assert!(post(filled).await.contains("was a member before"));
    let other = filled.replace("PAGE-CARD-1", "PAGE-CARD-2");
    assert!(post(&other).await.contains("another member&#39;s and was not entered"));
    let child = "action=enrol&card=PAGE-CARD-3&phone=&born=2024-02-29&notice=3&guardian=";
    let refused = post(child).await;
    assert!(refused.contains("PIPL art. 31") && !refused.contains("Enrolled."), "{refused}");
    let nobody = "action=enrol&card=&phone=&born=&notice=&guardian=";
    assert!(post(nobody).await.contains("nothing says who the member is"));
}

#[tokio::test]
async fn staff_enrols_a_person_once_and_a_child_by_a_guardian() {
    use crate::desk::MemberRecordView;
    let fixture = Fixture::start();
    let staff = fixture.client_as(&[Role::Store]);
    let of = |kind: &str, value: &str| IdentifierRequest {
        kind: kind.to_owned(),
        value: value.to_owned(),
    };
    let phone = of("phone", "139 0000 1111");
    let consent = ConsentRequest {
        purpose: "programme".to_owned(),
        granted: true,
        notice_version: 2,
        ..ConsentRequest::default()
    };
    let mut request = EnrolmentRequest {
        card: Some("NEW-CARD-1".to_owned()),
        identifiers: vec![phone.clone()],
        consents: vec![consent],
        ..EnrolmentRequest::default()
    };
    let path = "/api/v1/members";
    let first: EnrolmentView = staff.post(path, &[], &request).await.unwrap();
    assert!(first.new && first.refused.is_empty());
    let again: EnrolmentView = staff.post(path, &[], &request).await.unwrap();
    assert_eq!((again.new, &again.member), (false, &first.member));
    let record: MemberRecordView =
        staff.post("/api/v1/members/look-up", &[], &phone).await.unwrap();
    assert_eq!((record.member, record.consents.unwrap().len()), (first.member, 1));

    // whose phone number it is, is not for whoever comes with another card
    request.card = Some("NEW-CARD-2".to_owned());
    let other: EnrolmentView = staff.post(path, &[], &request).await.unwrap();
    assert_eq!((other.new, other.absorbed, other.to_review), (true, 0, 1));
    assert_eq!(other.refused, ["phone"]);
    let refused = async |request: &EnrolmentRequest| {
        staff.post::<_, EnrolmentView>(path, &[], request).await.unwrap_err().to_string()
    };
    request.card = Some("NEW-CARD-3".to_owned());
    request.attributes = [("birth_date".to_owned(), "2024-02-29".to_owned())].into();
    let guardian = refused(&request).await;
    assert!(guardian.contains("guardian"), "{guardian}");
    request.attributes = [("birth_date".to_owned(), "29.2.2024".to_owned())].into();
    assert!(refused(&request).await.contains("YYYY-MM-DD"));
    request.attributes = [("birth_date".to_owned(), "2024-02-29".to_owned())].into();
    request.consents[0].guardian = Some("parent".to_owned());
    let child: EnrolmentView = staff.post(path, &[], &request).await.unwrap();
    assert!(child.new);
    let nobody = refused(&EnrolmentRequest::default()).await;
    assert!(nobody.contains("enrolment_nobodys"), "{nobody}");

    // by an account alone, too; and the app hears by which number a till names whom it recognised
    let account = of("wechat_open_id", "oABCDEFGHIJKLMNOPQRST");
    let request =
        EnrolmentRequest { identifiers: vec![account.clone()], ..EnrolmentRequest::default() };
    let named: EnrolmentView = staff.post(path, &[], &request).await.unwrap();
    let app = fixture.client_as(&[Role::App]);
    let seen = SightingRequest { identifiers: vec![account] };
    let view: SightingView = app.post("/api/v1/sightings", &[], &seen).await.unwrap();
    assert_eq!((view.new, &view.member), (false, &named.member));
    assert!(view.card.unwrap().starts_with("M-"));

    let officer = fixture.client_as(&[Role::Officer]);
    let log: Vec<OperationView> = officer.get("/api/v1/operations").await.unwrap();
    let enrolled = |it: &&OperationView| it.deed == "enrol" && it.what == "enrolled";
    assert_eq!(log.iter().filter(enrolled).count(), 4);
    let text = serde_json::to_string(&log).unwrap();
    assert!(!text.contains("NEW-CARD-1") && !text.contains("13900001111"), "{text}");
}

/// From the app that recognised a member to the certificate the member keeps.
#[tokio::test]
async fn a_member_sees_corrects_and_erases_what_is_held() {
    use crate::desk::{MemberExport, MemberRecordView, RequestView};
    let fixture = Fixture::start();
    let app = fixture.client_as(&[Role::App]);
    let card = MemberSessionRequest { card: "1".to_owned() };
    let begun: MemberSessionView = app.post("/api/v1/member-sessions", &[], &card).await.unwrap();
    let unknown = MemberSessionRequest { card: "nobody".to_owned() };
    let refused = app.post::<_, MemberSessionView>("/api/v1/member-sessions", &[], &unknown).await;
    assert!(refused.is_err());
    let member = fixture.client();
    member.use_token(&begun.token);
    let own: MemberExport = member.get("/api/v1/me").await.unwrap();
    assert_eq!(own.attributes["name"], "Li Lei");
    assert_eq!((own.identifiers.len(), own.points_available), (2, 7));
    let phone = own.identifiers.iter().find(|it| it.kind == "phone").unwrap();
    assert_eq!(phone.value.as_deref(), Some("+8613812345678"), "the member's own is whole");
    let correction = CorrectionRequest {
        attributes: [("name".to_owned(), Some("Li Lei Lei".to_owned()))].into(),
        ..CorrectionRequest::default()
    };
    let () = member.post("/api/v1/me/corrections", &[], &correction).await.unwrap();
    let consent = ConsentRequest {
        purpose: "marketing".to_owned(),
        granted: true,
        notice_version: 4,
        ..ConsentRequest::default()
    };
    let () = member.post("/api/v1/me/consents", &[], &consent).await.unwrap();
    let asked = RequestRequest { kind: "explanation".to_owned(), words: None };
    let _: RequestView = member.post("/api/v1/me/requests", &[], &asked).await.unwrap();

    // staff see of it what staff see
    let staff = fixture.client_as(&[Role::Store]);
    let by = IdentifierRequest { kind: "phone".to_owned(), value: "138 1234 5678".to_owned() };
    let record: MemberRecordView = staff.post("/api/v1/members/look-up", &[], &by).await.unwrap();
    assert!(record.identifiers.iter().any(|it| it.shown == "138****5678"));
    assert_eq!(record.attributes["name"], "L**");
    assert!(record.requests.is_none() && record.consents.is_some());
    let path = format!("/api/v1/members/{}/record", record.member);
    let officer = fixture.client_as(&[Role::Officer]);
    let record: MemberRecordView = officer.get(&path).await.unwrap();
    assert_eq!(record.requests.unwrap().len(), 1);

    // what is not confirmed is not done
    let no = OwnErasureRequest { confirm: "yes".to_owned() };
    assert!(member.post::<_, RequestView>("/api/v1/me/erasure", &[], &no).await.is_err());
    let yes = OwnErasureRequest { confirm: "erase".to_owned() };
    let done: RequestView = member.post("/api/v1/me/erasure", &[], &yes).await.unwrap();
    assert_eq!(done.state, "done");
    let over = member.get::<MemberExport>("/api/v1/me").await.unwrap_err().to_string();
    assert!(over.contains("token_unknown"), "{over}");
    let path = format!("/api/v1/certificates/{}", done.certificate.unwrap());
    let kept: CertificateView = fixture.client().get(&path).await.unwrap();
    let certificate: crate::desk::Certificate = serde_json::from_str(&kept.certificate).unwrap();
    assert!(certificate.is_about("1") && kept.receipt.is_some());

    // and all of it is in the operation log, with nothing in clear
    let log: Vec<OperationView> = officer.get("/api/v1/operations").await.unwrap();
    let deeds: Vec<(&str, &str)> =
        log.iter().map(|it| (it.by.as_str(), it.deed.as_str())).collect();
    assert_eq!(
        deeds,
        [
            ("test", "session"),
            ("member", "export"),
            ("member", "correct"),
            ("member", "consent"),
            ("member", "request"),
            ("test", "read"),
            ("test", "read"),
            ("member", "request"),
            ("member", "request"),
            ("member", "erase"),
        ]
    );
    let text = serde_json::to_string(&log).unwrap();
    assert!(!text.contains("13812345678") && !text.contains("Li Lei"), "{text}");
    let head = log
        .iter()
        .fold(crate::desk::Head::default(), |head, view| head.after(&view.to_operation().unwrap()));
    assert_eq!(head.entries, log.len() as u64);
}
