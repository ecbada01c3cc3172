//! An officer's first day by pages alone: an own password in place of the administrator's, the node's own audit,
//! asked for and read in both languages at a node whose alliance goes on, and the records that the law asks for.

use std::time::Duration;

use node::auth::Role;
use node::service::RequestRequest;

use super::webdriver::{Browser, ENTER, TAB};
use super::{PASSWORD, answers, browser, eventually, in_focus, looks_right, says};
use crate::alliance::Alliance;

/// What the officer chooses.
const OWN: &str = "an officer's own words";

async fn sign_in(browser: &Browser, origin: &str, password: &str) {
    browser.go(&format!("{origin}/sign-in?lang=en")).await;
    in_focus(browser, "user").await;
    browser.press(&format!("wu{TAB}{password}{ENTER}")).await;
}

/// Is led to the page of the own password from wherever there is, and sets one.
async fn set_own_password(browser: &Browser, origin: &str) {
    sign_in(browser, origin, PASSWORD).await;
    let at = "return location.pathname";
    answers(browser, at, "/password").await;
    for (language, said) in [("zh", "现有口令由他人设置"), ("en", "is for one use")] {
        browser.go(&format!("{origin}/officer?lang={language}")).await;
        answers(browser, at, "/password").await;
        says(browser, said).await;
        looks_right(browser, "own password").await;
        browser.picture("own-password").await;
    }
    browser.type_into("#password", PASSWORD).await;
    browser.type_into("#new-password", OWN).await;
    browser.type_into("#again", OWN).await;
    browser.press(ENTER).await;
    answers(browser, at, "/sign-in").await;
    sign_in(browser, origin, OWN).await;
    says(browser, "Signed in as wu").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_officer_sets_an_own_password_and_reads_the_nodes_own_audit_in_both_languages() {
    let Some(browser) = browser().await else { return };
    let mut alliance = Alliance::of_the_sample().await;
    let others = alliance.serve_to_auditor("grocer_one").await;
    let (auth, _, served) = alliance.serve("grocer_one");
    auth.add_user_for_one_use("wu", &[Role::Officer], PASSWORD).unwrap();
    let origin = format!("https://{}", served.address);
    browser.show_as(1280, 900, "light").await;
    set_own_password(&browser, &origin).await;

    // every log has something to be audited
    let nodes: Vec<_> = alliance.brands.iter().map(|brand| alliance.node(brand.as_str())).collect();
    eventually("every log has blocks", async || {
        for node in &nodes {
            let _ = node.close(node.status().now_ms - 1).await;
        }
        nodes.iter().all(|node| node.status().heads.iter().all(|head| head.height > 1))
    })
    .await;
    let audits = alliance.node("grocer_one").audits().clone();
    for (language, last, nothing, other) in [
        ("en", "The last result is of", "No findings.", "最近一次结果"),
        ("zh", "最近一次结果", "没有发现", "The last result is of"),
    ] {
        // the one of the day may be under way
        eventually("no audit is under way", async || !audits.view().running).await;
        // on a busy machine a log can be published too late for one; then another is asked for
        for _ in 0..5 {
            let before = audits.view().made_ms;
            browser.go(&format!("{origin}/officer?lang={language}")).await;
            browser.click("form[action^='/officer/own-audit'] button").await;
            // an earlier failure is there until the node has begun
            tokio::time::sleep(Duration::from_secs(1)).await;
            eventually("the audit has ended", async || {
                let view = audits.view();
                !view.running && (view.failed.is_some() || view.made_ms != before)
            })
            .await;
            if audits.view().failed.is_none() {
                break;
            }
        }
        let view = audits.view();
        assert!(view.failed.is_none() && view.entries > 0, "{view:?}");
        assert_eq!(view.findings, 0, "{:?}", audits.report());

        browser.go(&format!("{origin}/officer?lang={language}")).await;
        says(&browser, last).await;
        says(&browser, "✓ 0").await;
        // what it says of each log is folded up
        browser.click("summary#audit-title").await;
        says(&browser, nothing).await;
        let logs = "return String(document.querySelectorAll(\
            'details:has(#audit-title)[open] table')[0].tBodies[0].rows.length)";
        answers(&browser, logs, &alliance.brands.len().to_string()).await;
        assert!(!browser.text().await.contains(other), "it is in one language");
        looks_right(&browser, "own audit with a result").await;
        browser.picture("own-audit-result").await;
    }
    served.shutdown.begin();
    for other in others {
        other.shutdown.begin();
    }
}

/// What a member asked is answered, a breach and an assessment are entered, and what was done stands in the operation log.
#[tokio::test(flavor = "multi_thread")]
async fn an_officer_answers_a_request_and_keeps_the_records_by_the_forms_of_the_page() {
    let Some(browser) = browser().await else { return };
    let alliance = Alliance::of_the_sample().await;
    alliance.import("grocer_one").await;
    let node = alliance.node("grocer_one");
    let card = node.cards(100, None, 1).await.unwrap().remove(0);
    let asked = "what do you know of me?";
    let request = RequestRequest { kind: "access".into(), words: Some(asked.into()) };
    node.open_request("ann", card.clone(), request).await.unwrap();
    let (auth, _, served) = alliance.serve("grocer_one");
    auth.add_user("wu", &[Role::Officer], PASSWORD).unwrap();
    let origin = format!("https://{}", served.address);
    browser.show_as(1280, 900, "light").await;
    sign_in(&browser, &origin, PASSWORD).await;
    says(&browser, "Signed in as wu").await;

    browser.go(&format!("{origin}/records?lang=en")).await;
    says(&browser, asked).await;
    let source = browser.run("return document.documentElement.outerHTML").await;
    assert!(!source.as_str().unwrap().contains(&card), "a card is not shown whole");
    // a refusal without the reason of the law is none
    browser.click("form:has([value=answer]) option[value=refused]").await;
    browser.click("form:has([value=answer]) button").await;
    answers(&browser, "return String(document.querySelector('[role=alert]') !== null)", "true")
        .await;
    browser.click("form:has([value=answer]) option[value=done]").await;
    browser.click("form:has([value=answer]) button").await;
    says(&browser, "The request is answered.").await;
    says(&browser, "No request is open.").await;
    looks_right(&browser, "answered").await;

    let unfold = |form: &str| {
        format!("document.querySelector('details:has([value={form}])').open = true; return ''")
    };
    // found the day before yesterday: its clock has run out
    browser.run(&unfold("breach")).await;
    browser.type_into("#what", "a lost telephone").await;
    browser.type_into("#measures", "wiped from afar").await;
    browser.type_into("#members", "3").await;
    browser.type_into("#hours", "48").await;
    browser.click("form:has([value=breach]) button").await;
    says(&browser, "The breach is entered.").await;
    says(&browser, "✕ overdue").await;
    browser.picture("records-overdue").await;
    browser.click("form:has([value=told]) option[value=authority]").await;
    browser.click("form:has([value=told]) button").await;
    says(&browser, "Who was told is entered.").await;
    browser.click("form:has([value=told]) option[value=members]").await;
    browser.click("form:has([value=told]) button").await;
    // nobody has to be told any more
    let forms = "return String(document.querySelectorAll('form:has([value=told])').length)";
    answers(&browser, forms, "0").await;

    browser.run(&unfold("assess")).await;
    browser.click("#occasion option[value=provided]").await;
    browser.type_into("#purpose", "points across brands").await;
    browser.type_into("#risks", "a brand learns of a purchase").await;
    browser.type_into("#protects", "a number for each pair of brands").await;
    browser.click("form:has([value=assess]) button").await;
    says(&browser, "The assessment is entered.").await;
    // who did it, in the operation log
    let by = "return String([...document.querySelectorAll('td')].filter(it => it.innerText === 'wu').length >= 4)";
    answers(&browser, by, "true").await;
    looks_right(&browser, "records").await;
    browser.picture("records").await;
    served.shutdown.begin();
}
