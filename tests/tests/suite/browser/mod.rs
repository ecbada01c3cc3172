//! Every page in a real browser, at a running node with the sample's members: what it shows and refuses, in both
//! languages, on a wide screen and on a phone, bright and dark, with the keyboard alone; that it asks nobody else for anything.

mod figures;
mod members;
mod webdriver;

use node::auth::Role;
use node::service::{ExchangeRequest, RequestRequest};

use self::webdriver::{Browser, DOWN, ENTER, TAB};
use super::alliance::{Alliance, eventually};

const PASSWORD: &str = "correct horse battery staple";
const QUESTION: &str = "SELECT extract(month FROM purchased_on) AS month, \
    count(distinct member) AS active FROM purchases GROUP BY 1";
const LOOKS: &str = include_str!("looks.js");
const ROLES: [Role; 5] =
    [Role::Administrator, Role::Partner, Role::Analyst, Role::Officer, Role::Store];

/// A browser, or none where there is none; where everything has to be there, that is a failure.
async fn browser() -> Option<Browser> {
    let browser = Browser::start().await;
    if browser.is_none() {
        eprintln!("skipped: no chromedriver is installed");
        assert!(std::env::var_os("COALITION_SHARED").is_none(), "nothing may be skipped here");
    }
    browser
}

/// Something to see on every page: an exchange of a linked member, a statement, a member's request. Gives the card and the exchange.
async fn furnish(alliance: &Alliance) -> (String, String) {
    let (node, other) = (alliance.node("grocer_one"), alliance.node("fuel_stop"));
    let card = node.cards(100, None, 1).await.unwrap().remove(0);
    let request = RequestRequest { kind: "access".into(), words: None };
    node.open_request("ann", card.clone(), request).await.unwrap();
    let there = other.cards(0, None, 1).await.unwrap().remove(0);
    let code = other.link_code(there, "grocer_one".into()).await.unwrap().code;
    node.link(card.clone(), "fuel_stop".into(), code).await.unwrap();
    eventually("the member is linked", async || {
        node.member(card.clone()).await.unwrap().links[0].state == "linked"
    })
    .await;
    let request = ExchangeRequest { card: card.clone(), to: "fuel_stop".into(), points: 40 };
    let exchange = node.exchange("k1".into(), request).await.unwrap();
    eventually("the exchange is acknowledged", async || {
        node.exchange_by_id(exchange.id.clone()).await.unwrap().state == "acknowledged"
    })
    .await;
    let cut_off = node.status().now_ms - 1;
    node.close(cut_off).await.unwrap();
    eventually("the statement is agreed", async || {
        node.statement(cut_off).await.is_ok_and(|view| view.state == "agreed")
    })
    .await;
    (card, exchange.id)
}

/// What is wrong with the page that is shown, in all that a program can see.
async fn wrong(browser: &Browser, what: &str) -> Vec<String> {
    let wrong: Vec<String> = serde_json::from_value(browser.run(LOOKS).await).unwrap();
    let complaints = browser.complaints().await;
    wrong.into_iter().chain(complaints).map(|it| format!("{what}: {it}")).collect()
}

async fn looks_right(browser: &Browser, what: &str) {
    assert_eq!(wrong(browser, what).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_right_in_a_browser_on_every_screen_in_both_languages() {
    let Some(browser) = browser().await else { return };
    let alliance = Alliance::of_the_sample().await;
    alliance.import("grocer_one").await;
    alliance.import("fuel_stop").await;
    let (card, exchange) = furnish(&alliance).await;
    let (auth, _, served) = alliance.serve("grocer_one");
    auth.add_user("ann", &ROLES, PASSWORD).unwrap();
    let origin = format!("https://{}", served.address);

    // with the keyboard alone: the first stop skips to the content, the form is in the focus
    browser.go(&format!("{origin}/sign-in?lang=zh")).await;
    looks_right(&browser, "sign-in").await;
    browser.press(&format!("ann{TAB}wrong{ENTER}")).await;
    eventually("the refusal is announced", async || {
        browser.run("return document.querySelector('[role=alert]') !== null").await == true
    })
    .await;
    let said = browser.complaints().await;
    assert!(said.len() == 1 && said[0].contains("401"), "{said:?}");
    browser.press(&format!("ann{TAB}{PASSWORD}{ENTER}")).await;
    eventually("she is signed in", async || browser.text().await.contains("ann")).await;
    browser.go(&format!("{origin}/?lang=zh")).await;
    browser.press(TAB).await;
    assert_eq!(browser.run("return document.activeElement.className").await, "skip");
    // no script, if there were one, could read the session
    assert_eq!(browser.run("return document.cookie").await, "");

    // a question, from its text to its answer, by what the page says
    browser.show_as(1280, 900, "light").await;
    browser.go(&format!("{origin}/questions?lang=en")).await;
    browser.type_into("#sql", "SELECT sum(basket) FROM purchases").await;
    browser.click("form:has(#sql) button").await;
    assert!(browser.text().await.contains("basket"), "the word that is wrong is named");
    // words of the data set fit what is begun, and are taken with the keyboard
    browser.type_into("#sql", "SELECT sum(amount_").await;
    let offered = browser.run("return document.getElementById('sql-words').innerText").await;
    assert_eq!(offered, "amount_fen");
    looks_right(&browser, "words that fit").await;
    browser.picture("words").await;
    browser.press(&format!("{DOWN}{ENTER}")).await;
    browser.press(") AS spending FROM purchases").await;
    let written = browser.run("return document.getElementById('sql').value").await;
    assert_eq!(written, "SELECT sum(amount_fen) AS spending FROM purchases");
    // what it would cost is there without asking for it
    eventually("the cost is shown", async || {
        browser.run("return document.getElementById('plan-title') !== null").await == true
    })
    .await;
    assert!(
        browser
            .run("return document.getElementById('preview-status').innerText")
            .await
            .as_str()
            .unwrap()
            .contains("Cost")
    );
    browser.type_into("#sql", QUESTION).await;
    browser.click("#scope option[value=local]").await;
    browser.click("form:has(#sql) button").await;
    assert!(browser.text().await.contains("Cost and expected error"));
    looks_right(&browser, "planned").await;
    browser.picture("planned").await;
    browser.click("#plan-title ~ form button").await;
    eventually("the answer is there", async || browser.text().await.contains("Privacy statement"))
        .await;
    let answer = browser.url().await;
    // and the counter finds a member by card, masked
    browser.go(&format!("{origin}/staff?lang=en")).await;
    browser.type_into("#value", &card).await;
    browser.press(ENTER).await;
    eventually("the member is shown", async || browser.text().await.contains("Points to spend"))
        .await;
    looks_right(&browser, "member").await;
    browser.picture("member").await;

    let answer = answer.strip_prefix(&origin).unwrap().split('?').next().unwrap().to_owned();
    let pages = browser.run("return [...document.querySelectorAll('nav a[href]')].map(it => new URL(it.href).pathname)").await;
    let mut pages: Vec<String> = serde_json::from_value(pages).unwrap();
    assert!(pages.len() >= 13, "{pages:?}");
    pages.push(answer);
    let mut found = Vec::new();
    for page in &pages {
        for language in ["zh", "en"] {
            for (screen, width, height) in [("wide", 1280, 900), ("phone", 375, 720)] {
                for scheme in ["light", "dark"] {
                    let what = format!("{}-{language}-{screen}-{scheme}", page.replace('/', "_"));
                    browser.show_as(width, height, scheme).await;
                    browser.go(&format!("{origin}{page}?lang={language}&refresh=off")).await;
                    found.extend(wrong(&browser, &what).await);
                    browser.picture(&what).await;
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    for asked in browser.requests().await {
        // the browser's own first window asks the browser itself
        let own = [origin.as_str(), "data:", "chrome:", "chrome-untrusted:", "blob:chrome"];
        assert!(own.iter().any(|own| asked.starts_with(own)), "{asked}");
    }

    // anyone verifies a receipt, and one that was altered is found out
    let opened = alliance.node("grocer_one").opened_receipt(exchange).await.unwrap();
    browser.show_as(1280, 900, "light").await;
    browser.go(&format!("{origin}/verify?lang=en")).await;
    let outcome = async |receipt: &str| {
        browser
            .run("document.querySelectorAll('[data-outcome]').forEach(it => { it.hidden = true; })")
            .await;
        browser.type_into("#text", receipt).await;
        browser.click("#receipt button").await;
        let shown =
            "return document.querySelector('[data-outcome]:not([hidden])')?.dataset.outcome ?? ''";
        let mut outcome = String::new();
        eventually("the receipt is judged", async || {
            outcome = browser.run(shown).await.as_str().unwrap().to_owned();
            !outcome.is_empty()
        })
        .await;
        outcome
    };
    assert_eq!(outcome(&opened).await, "sound");
    let shown = "return document.querySelector('[data-shown=sent]').innerText";
    assert_eq!(browser.run(shown).await, "40");
    looks_right(&browser, "verified").await;
    browser.picture("verified").await;
    assert_eq!(outcome("hello").await, "form");
    // each part of it: the place, a hash of the proof, the root, the log's signature, all witnesses'
    let index = opened.lines().find_map(|line| line.strip_prefix("index ")).unwrap();
    let moved = opened.replace(&format!("index {index}\n"), "index 0\n");
    assert_eq!(outcome(&moved).await, "proof");
    let altered = |begins: &str| {
        let lines = opened.lines().map(|line| match line.strip_prefix(begins) {
            // the last byte but the padding is another one
            Some(_) => {
                let (kept, last) = line.split_at(line.len() - 4);
                format!(
                    "{kept}{}",
                    if last.starts_with('A') {
                        last.replacen('A', "B", 1)
                    } else {
                        format!("A{}", &last[1..])
                    }
                )
            }
            None => line.to_owned(),
        });
        lines.map(|line| line + "\n").collect::<String>()
    };
    assert_eq!(
        outcome(&altered("\u{2014} coalition.example/sample/grocer_one ")).await,
        "signature"
    );
    let witnesses = opened.lines().filter(|line| !line.contains("/witness "));
    let unwitnessed: String = witnesses.map(|line| format!("{line}\n")).collect();
    assert_eq!(outcome(&unwitnessed).await, "few");
    let plain: String = opened
        .lines()
        .filter(|line| !line.starts_with("extra "))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(outcome(&plain).await, "closed");

    // signed out, the button that goes back shows nothing of what was there
    browser.go(&format!("{origin}/partner?lang=en")).await;
    browser.click("form[action^='/sign-out'] button").await;
    browser.back().await;
    assert!(!browser.text().await.contains("ann"));
    served.shutdown.begin();
}
