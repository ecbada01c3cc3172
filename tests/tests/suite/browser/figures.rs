//! How heavy and how fast the pages are, with the sample's members: as JSON, one line for each page.
//!
//! ```sh
//! cargo test --release -p tests --test suite browser::figures -- --nocapture
//! ```
//!
//! Server times are those of requests over one TLS connection that stays open, one after the other: from asking to the whole
//! page. Weight is what a browser without a cache takes for the page: it, the style sheet, scripts and icon, as they come
//! over the line. What is painted is timed by Chromium itself, from the navigation on (Paint Timing and Largest Contentful Paint of
//! the W3C): first anything, and what is largest, which is what one came for.

use std::time::Instant;

use hyper::Method;
use node::client::Client;
use serde_json::{Value, json};

use super::super::alliance::{Alliance, eventually};
use super::{PASSWORD, QUESTION, ROLES, browser, furnish, says};

/// Requests of each page for its server time: few where the node is not optimised, whose times tell nothing.
const REQUESTS: usize = if cfg!(debug_assertions) { 20 } else { 200 };
/// Loads of each page in the browser.
const LOADS: usize = if cfg!(debug_assertions) { 3 } else { 5 };
/// No page takes more over the line, with all that comes with it.
const WEIGHT_MAX: u64 = 256 * 1024;

/// Before a page's own: keeps what is painted largest.
const WATCH: &str = "window.largest = 0; new PerformanceObserver(list => {
    for (const entry of list.getEntries()) { window.largest = entry.startTime; }
}).observe({ type: 'largest-contentful-paint', buffered: true });";

const PAINTED: &str = "
    const page = performance.getEntriesByType('navigation')[0];
    const parts = performance.getEntriesByType('resource');
    const first = performance.getEntriesByName('first-contentful-paint')[0];
    return {
        complete: page.loadEventEnd > 0 && first !== undefined && window.largest > 0,
        weight: parts.reduce((sum, part) => sum + part.transferSize, page.transferSize),
        parts: parts.length + 1,
        first: first ? first.startTime : 0,
        largest: window.largest,
    };";

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_light_and_their_times_are_told() {
    let Some(browser) = browser().await else { return };
    let alliance = Alliance::of_the_sample().await;
    alliance.import("grocer_one").await;
    alliance.import("fuel_stop").await;
    furnish(&alliance).await;
    let (auth, certificate, served) = alliance.serve("grocer_one");
    auth.add_user("ann", &ROLES, PASSWORD).unwrap();
    let origin = format!("https://{}", served.address);
    let client = Client::connect(served.address, &certificate).unwrap();

    browser.go(&format!("{origin}/sign-in?lang=en")).await;
    browser.type_into("#user", "ann").await;
    browser.type_into("#password", PASSWORD).await;
    browser.press(super::ENTER).await;
    eventually("she is signed in", async || browser.text().await.contains("ann")).await;
    // an answered question has a page of its own
    browser.go(&format!("{origin}/questions?lang=en")).await;
    browser.type_into("#sql", QUESTION).await;
    browser.click("#scope option[value=local]").await;
    browser.click("form:has(#sql) button").await;
    says(&browser, "Cost and expected error").await;
    browser.click("#plan-title ~ form button").await;
    eventually("the answer is there", async || browser.text().await.contains("Privacy statement"))
        .await;
    let answer = browser.url().await;
    let answer = answer.strip_prefix(&origin).unwrap().split('?').next().unwrap().to_owned();
    let links =
        "return [...document.querySelectorAll('nav a[href]')].map(it => new URL(it.href).pathname)";
    let mut pages: Vec<String> = serde_json::from_value(browser.run(links).await).unwrap();
    pages.extend([answer, "/verify".to_owned()]);
    assert!(pages.len() >= 11, "{pages:?}");

    // the session as the browser has it: no script of a page can read it
    let cookie = browser.cookie().await;
    let headers = [("cookie", cookie.as_str())];
    browser.without_cache().await;
    browser.before_each_page(WATCH).await;
    let mut figures = Vec::new();
    for page in &pages {
        let path = format!("{page}?lang=zh&refresh=off");
        let (mut milliseconds, mut bytes) = (Vec::new(), 0);
        for _ in 0..REQUESTS {
            let began = Instant::now();
            let answer = client.send(Method::GET, &path, &headers, None).await.unwrap();
            milliseconds.push(began.elapsed().as_secs_f64() * 1e3);
            assert!(answer.status.is_success(), "{page}: {}", answer.status);
            bytes = answer.body.len();
        }
        milliseconds.sort_by(f64::total_cmp);
        let mut loads = Vec::new();
        for _ in 0..LOADS {
            browser.go(&format!("{origin}{path}")).await;
            let mut painted = Value::Null;
            eventually("the page is painted", async || {
                painted = browser.run(PAINTED).await;
                painted["complete"] == true
            })
            .await;
            loads.push(painted);
        }
        let median = |name: &str| {
            let mut all: Vec<f64> = loads.iter().map(|it| it[name].as_f64().unwrap()).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let weight = median("weight") as u64;
        assert!(weight >= bytes as u64 && weight < WEIGHT_MAX, "{page}: {weight} bytes");
        let first = median("first");
        assert!(first > 0.0 && first <= median("largest"), "{page}: {loads:?}");
        // of an answer the address is made anew in each run
        let name = if page.starts_with("/questions/") { "/questions/{id}" } else { page };
        figures.push(json!({
            "page": name,
            "page_bytes": bytes,
            "weight_bytes": weight,
            "parts": loads[0]["parts"],
            "server_p50_ms": rounded(milliseconds[REQUESTS / 2]),
            "server_p99_ms": rounded(milliseconds[REQUESTS * 99 / 100]),
            "first_paint_ms": rounded(first),
            "largest_paint_ms": rounded(median("largest")),
        }));
    }
    for figure in figures {
        println!("{figure}");
    }
    served.shutdown.begin();
}

fn rounded(milliseconds: f64) -> f64 {
    (milliseconds * 100.0).round() / 100.0
}
