//! Every page in a real browser, at a running node with the sample's members: what it shows and refuses, in both
//! languages, on a wide screen and on a phone, bright and dark, with the keyboard alone; that it asks nobody else for anything.

mod dealings;
mod figures;
mod members;
mod officer;
mod questions;
mod webdriver;

use node::auth::Role;
use node::service::{DraftRequest, ExchangeRequest, RequestRequest};

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

/// The page of a draft of the next constitution, with something of most kinds that it changes.
async fn draft(alliance: &Alliance) -> String {
    let first = std::fs::read_to_string(alliance.folder.path().join("c.toml")).unwrap();
    let mut constitution = alliance_config::draft_next(first.as_bytes(), &[], &[]).unwrap();
    for (from, to) in [
        ("epoch = 2", "epoch = 2\nnotice_days = 45"),
        ("pair_limit_fen = 5000000", "pair_limit_fen = 4000000"),
        ("profile = \"trial\"", "profile = \"standard\""),
        ("retention_years = 20", "retention_years = 3"),
    ] {
        assert!(constitution.contains(from), "{from}");
        constitution = constitution.replacen(from, to, 1);
    }
    let request = DraftRequest { constitution, signatures: None };
    let kept = alliance.node("grocer_one").keep_draft(request).await.unwrap();
    format!("/administration/drafts/{}", kept.hash)
}

/// What is wrong with the page that is shown, in all that a program can see.
async fn wrong(browser: &Browser, what: &str) -> Vec<String> {
    // one that loads itself anew may be on its way
    eventually("the page is there", async || {
        browser.run("return document.readyState").await == "complete"
    })
    .await;
    let wrong: Vec<String> = serde_json::from_value(browser.run(LOOKS).await).unwrap();
    let complaints = browser.complaints().await;
    wrong.into_iter().chain(complaints).map(|it| format!("{what}: {it}")).collect()
}

/// Waits until the page is shown and what was asked for is so: clicks and keys are on their way for a moment.
async fn says(browser: &Browser, words: &str) {
    eventually(words, async || browser.text().await.contains(words)).await;
}

/// Waits until a script's answer is this.
async fn answers(browser: &Browser, script: &str, answer: &str) {
    eventually(&format!("{script}: {answer}"), async || browser.run(script).await == answer).await;
}

/// Waits until the keyboard writes into a field.
async fn in_focus(browser: &Browser, id: &str) {
    answers(browser, "return document.activeElement?.id ?? ''", id).await;
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
    in_focus(&browser, "user").await;
    browser.press(&format!("ann{TAB}wrong{ENTER}")).await;
    eventually("the refusal is announced", async || {
        browser.run("return document.querySelector('[role=alert]') !== null").await == true
    })
    .await;
    let said = browser.complaints().await;
    assert!(said.len() == 1 && said[0].contains("401"), "{said:?}");
    in_focus(&browser, "user").await;
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
    let named = "return [...document.querySelectorAll('[role=alert]')].some(it => it.innerText.includes('basket'))";
    eventually("the word that is wrong is named", async || browser.run(named).await == true).await;
    // words of the data set fit what is begun, and are taken with the keyboard
    browser.type_into("#sql", "SELECT sum(amount_").await;
    answers(&browser, "return document.getElementById('sql-words').innerText", "amount_fen").await;
    looks_right(&browser, "words that fit").await;
    browser.picture("words").await;
    browser.press(&format!("{DOWN}{ENTER}")).await;
    browser.press(") AS spending FROM purchases").await;
    let written = "SELECT sum(amount_fen) AS spending FROM purchases";
    answers(&browser, "return document.getElementById('sql').value", written).await;
    // what it would cost is there without asking for it
    eventually("the cost is shown", async || {
        browser.run("return document.getElementById('plan-title') !== null").await == true
    })
    .await;
    eventually("and told", async || {
        let told = browser.run("return document.getElementById('preview-status').innerText").await;
        told.as_str().is_some_and(|told| told.contains("Cost"))
    })
    .await;
    // a value of the column that was named, with its quotes
    let begun = "SELECT count(*) AS n FROM purchases WHERE department = ";
    browser.type_into("#sql", &format!("{begun}'DEL")).await;
    answers(&browser, "return document.getElementById('sql-words').innerText", "'DELI'").await;
    looks_right(&browser, "values that fit").await;
    browser.press(DOWN).await;
    let option = "return document.getElementById(document.activeElement.getAttribute('aria-activedescendant') ?? '')";
    answers(&browser, &format!("{option}?.getAttribute('aria-selected') ?? ''"), "true").await;
    browser.press(ENTER).await;
    answers(&browser, "return document.getElementById('sql').value", &format!("{begun}'DELI'"))
        .await;
    answers(&browser, "return String(document.getElementById('sql-words').hidden)", "true").await;
    browser.type_into("#sql", QUESTION).await;
    browser.click("#scope option[value=local]").await;
    browser.click("form:has(#sql) button").await;
    says(&browser, "Cost and expected error").await;
    looks_right(&browser, "planned").await;
    browser.picture("planned").await;
    browser.click("#plan-title ~ form button").await;
    eventually("the answer is there", async || browser.text().await.contains("Privacy statement"))
        .await;
    let answer = browser.url().await;
    says(&browser, "What was asked").await;
    // it is in the history, and from there back in the editor, to be asked again or altered
    browser.go(&format!("{origin}/questions?lang=en")).await;
    let asked = "return document.querySelector('#history tbody td code').innerText";
    answers(&browser, asked, QUESTION).await;
    looks_right(&browser, "history").await;
    browser.picture("history").await;
    browser.click("#history a[href*='again=']").await;
    answers(&browser, "return document.getElementById('sql').value", QUESTION).await;
    answers(&browser, "return document.getElementById('scope').value", "local").await;
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
    let drafted = draft(&alliance).await;
    pages.push(drafted.clone());
    // one over time, one by a parameter that is typed
    pages.extend(["sales", "retention"].map(|name| format!("/figures/dashboards/{name}")));
    pages.push("/administration/users/ann".to_owned());
    // those that no list of pages leads to
    pages.extend(["/second-factor", "/password", "/verify", "/my/sign-in"].map(str::to_owned));
    let mut found = Vec::new();
    for page in &pages {
        for language in ["zh", "en"] {
            for (screen, width, height) in [("wide", 1280, 900), ("phone", 375, 720)] {
                browser.show_as(width, height, "light").await;
                browser.go(&format!("{origin}{page}?lang={language}&refresh=off")).await;
                // the same page, as a style sheet sees it, is the other way round at once
                for scheme in ["light", "dark"] {
                    let what = format!("{}-{language}-{screen}-{scheme}", page.replace('/', "_"));
                    browser.show_as(width, height, scheme).await;
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

    // a period is chosen with the form, and its charts are in the scheme's colours
    browser.show_as(1280, 900, "dark").await;
    browser.go(&format!("{origin}/figures?lang=en&from=2017-01-01&to=2017-12-31")).await;
    browser.click("#by option[value=month]").await;
    browser.click("form:has(#by) button").await;
    eventually("the form is sent", async || browser.url().await.contains("by=month")).await;
    says(&browser, "2017-01-01 – 2017-12-31, month").await;
    let months =
        "return String(document.querySelectorAll('#steps-title ~ details tbody tr').length)";
    answers(&browser, months, "12").await;
    let inks = "return getComputedStyle(document.querySelector('.drawn circle')).fill";
    answers(&browser, inks, "rgb(125, 184, 240)").await;
    looks_right(&browser, "figures").await;
    browser.picture("figures").await;
    // a user is added by the form, and the password is shown once
    browser.show_as(1280, 900, "light").await;
    browser.go(&format!("{origin}/administration?lang=en")).await;
    let closed = "document.querySelector('details:has(#new-user)').open = true; return ''";
    browser.run(closed).await;
    browser.type_into("#new-user", "chen").await;
    browser.click("#role-store").await;
    browser.type_into("#own-password", PASSWORD).await;
    browser.press(ENTER).await;
    says(&browser, "The user was added.").await;
    looks_right(&browser, "user added").await;
    browser.picture("user-added").await;
    let made = "return document.querySelector('strong.code').innerText";
    let made = browser.run(made).await.as_str().unwrap().to_owned();
    assert!(auth.sign_in("chen", &made).await.is_ok());
    browser.type_into("#own-password", PASSWORD).await;
    browser.click("button[value=remove]").await;
    says(&browser, "The user was removed.").await;
    assert!(auth.sign_in("chen", &made).await.is_err());

    // a second factor is begun on a phone: its key and the recovery codes are there to be kept
    browser.show_as(375, 720, "light").await;
    for (language, said) in
        [("zh", "把恢复码保存在别处"), ("en", "Keep the recovery codes elsewhere")]
    {
        browser.go(&format!("{origin}/second-factor?lang={language}")).await;
        browser.click("form:has([value=begin]) button").await;
        says(&browser, said).await;
        looks_right(&browser, "second factor").await;
        browser.picture("second-factor-begun").await;
    }
    browser.show_as(1280, 900, "light").await;

    // a draft is signed by the form
    browser.go(&format!("{origin}{drafted}?lang=en")).await;
    browser.type_into("#sign-password", PASSWORD).await;
    browser.press(ENTER).await;
    says(&browser, "This brand has signed.").await;
    looks_right(&browser, "draft signed").await;
    browser.picture("draft-signed").await;
    // nobody serves the other brands' logs here: the page says that there was no audit, and why in both languages
    browser.go(&format!("{origin}/officer?lang=en")).await;
    browser.click("form[action^='/officer/own-audit'] button").await;
    let audits = alliance.node("grocer_one").audits().clone();
    eventually("the audit ends", async || {
        let view = audits.view();
        !view.running && view.failed.is_some_and(|why| why.contains(" / "))
    })
    .await;
    for (language, said) in [("en", "The last one was not made:"), ("zh", "最近一次未能进行：")]
    {
        browser.go(&format!("{origin}/officer?lang={language}")).await;
        says(&browser, said).await;
        looks_right(&browser, "own audit").await;
        browser.picture("own-audit").await;
    }

    // a statement is opened from the list, whatever millisecond its cut-off is, and once more by the field
    browser.show_as(1280, 900, "light").await;
    browser.go(&format!("{origin}/partner?lang=en")).await;
    // the list of exchanges follows what happens, without the page being loaded again
    let live = "return document.getElementById('live').textContent";
    answers(&browser, live, "The list updates by itself.").await;
    browser.run("document.title = 'as it was loaded'; return true").await;
    let request = ExchangeRequest { card: card.clone(), to: "fuel_stop".into(), points: 41 };
    alliance.node("grocer_one").exchange("live".into(), request).await.unwrap();
    let shown = "return String([...document.querySelectorAll('#exchanges tbody tr')].some(row => \
                 row.innerText.includes('41') && row.innerText.includes('acknowledged')))";
    answers(&browser, shown, "true").await;
    answers(&browser, "return document.title", "as it was loaded").await;
    let files =
        "return String(document.querySelectorAll('a[href^=\"/partner/clearings/\"]').length)";
    answers(&browser, files, "0").await;
    browser.click("a[href*='cut_off=']").await;
    answers(&browser, files, "3").await;
    looks_right(&browser, "statement").await;
    browser.picture("statement").await;
    let takes = "return String(document.getElementById('cut_off').checkValidity())";
    answers(&browser, takes, "true").await;
    browser.click("#statement button").await;
    eventually("the field is sent", async || browser.url().await.contains("cut_off=20")).await;
    answers(&browser, files, "3").await;

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
    answers(&browser, "return location.pathname", "/").await;
    browser.back().await;
    assert!(!browser.text().await.contains("ann"));
    // who has not the role is told which it would be
    auth.add_user("lin", &[Role::Store], PASSWORD).unwrap();
    browser.complaints().await;
    browser.go(&format!("{origin}/sign-in?lang=en")).await;
    in_focus(&browser, "user").await;
    browser.press(&format!("lin{TAB}{PASSWORD}{ENTER}")).await;
    says(&browser, "lin").await;
    browser.go(&format!("{origin}/officer?lang=en")).await;
    says(&browser, "Your account has none of the roles that see this page: officer").await;
    let said = browser.complaints().await;
    assert!(said.len() == 1 && said[0].contains("403"), "{said:?}");
    looks_right(&browser, "refused").await;
    browser.picture("refused").await;
    served.shutdown.begin();
}
