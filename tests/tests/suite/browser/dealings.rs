//! Two brands' pages for one member: a code at one counter, linked and exchanged on the member's own page at the other
//! brand, the receipt verified by whoever has it, and points that go back.

use node::auth::Role;
use node::service::ExchangeFilter;

use super::webdriver::{Browser, ENTER};
use super::{PASSWORD, answers, browser, eventually, looks_right, says};
use crate::alliance::{Alliance, first_of};

/// Signs in at a counter and looks the member up.
async fn look_up(browser: &Browser, origin: &str, card: &str) {
    browser.go(&format!("{origin}/sign-in?lang=en")).await;
    browser.type_into("#user", "li").await;
    browser.type_into("#password", PASSWORD).await;
    browser.press(ENTER).await;
    says(browser, "Signed in as li").await;
    browser.go(&format!("{origin}/staff?lang=en")).await;
    browser.type_into("#value", card).await;
    browser.press(ENTER).await;
    says(browser, "Points to spend").await;
}

/// What the page shows as a code.
async fn code(browser: &Browser) -> String {
    let code = browser.run("return document.querySelector('strong.code').innerText").await;
    code.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_links_two_brands_exchanges_and_verifies_the_receipt_by_pages_alone() {
    let Some(browser) = browser().await else { return };
    let alliance = Alliance::of_the_sample().await;
    alliance.import("grocer_one").await;
    alliance.import("fuel_stop").await;
    let here = alliance.node("grocer_one").cards(100, None, 1).await.unwrap().remove(0);
    let there = alliance.node("fuel_stop").cards(0, None, 1).await.unwrap().remove(0);
    let (auth, _, served) = alliance.serve("grocer_one");
    let (other_auth, _, other_served) = alliance.serve("fuel_stop");
    auth.add_user("li", &[Role::Store], PASSWORD).unwrap();
    other_auth.add_user("li", &[Role::Store], PASSWORD).unwrap();
    let origin = format!("https://{}", served.address);
    let other_origin = format!("https://{}", other_served.address);

    // at the filling station's counter: a code to be entered at the grocer's
    browser.show_as(1280, 900, "light").await;
    look_up(&browser, &other_origin, &there).await;
    browser.click("#code-brand option[value=grocer_one]").await;
    browser.click("form:has(#code-brand) button").await;
    says(&browser, "A link code, for the member").await;
    looks_right(&browser, "link code").await;
    browser.picture("staff-link-code").await;
    let link_code = code(&browser).await;

    // at the grocer's counter: the member's own page
    look_up(&browser, &origin, &here).await;
    looks_right(&browser, "counter").await;
    browser.picture("staff-forms").await;
    browser.click("form:has([value=hand_out]) button").await;
    says(&browser, "Give it to nobody but the member.").await;
    let own = browser.run("return document.querySelector('a[href^=\"/my/sign-in\"]').href").await;
    browser.show_as(375, 720, "light").await;
    browser.go(own.as_str().unwrap()).await;
    browser.click("main form button").await;
    says(&browser, "No account at another brand is linked").await;

    // what is no code is told, and the right one links
    let my = format!("{origin}/my?lang=en");
    browser.click("#link-brand option[value=fuel_stop]").await;
    browser.type_into("#link-code", "hello").await;
    browser.click("form:has(#link-code) button").await;
    says(&browser, "This is no link code").await;
    browser.click("#link-brand option[value=fuel_stop]").await;
    browser.type_into("#link-code", &link_code).await;
    browser.click("form:has(#link-code) button").await;
    says(&browser, "The other brand is asked").await;
    eventually("the accounts are linked", async || {
        browser.go(&my).await;
        browser.run("return document.getElementById('exchange-to') !== null").await == true
    })
    .await;
    looks_right(&browser, "linked").await;
    browser.picture("my-linked").await;

    // more than there is moves nothing
    browser.type_into("#exchange-points", "999999999").await;
    browser.click("form:has(#exchange-to) button").await;
    says(&browser, "You have fewer points than that.").await;
    browser.type_into("#exchange-points", "40").await;
    browser.click("form:has(#exchange-to) button").await;
    says(&browser, "Your points are on their way").await;
    eventually("the exchange has a receipt", async || {
        browser.go(&my).await;
        let link = "return document.querySelector('a[href$=\"/receipt\"]') !== null";
        browser.run(link).await == true
    })
    .await;
    looks_right(&browser, "exchanged").await;
    browser.picture("my-exchanged").await;

    // by whoever has the receipt, without signing in anywhere
    let receipt = "const link = document.querySelector('a[href$=\"/receipt\"]').href; \
        return await (await fetch(link)).text()";
    let quorum = alliance.node("grocer_one").status().committee.quorum;
    let mut shown = String::new();
    eventually("a quorum has signed for it", async || {
        shown = browser.run(receipt).await.as_str().unwrap().to_owned();
        // its writer has signed, too
        let witnesses = shown.lines().filter(|line| line.contains("/witness ")).count();
        u32::try_from(witnesses).unwrap() + 1 >= quorum
    })
    .await;
    browser.click("form[action^='/my/sign-out'] button").await;
    answers(&browser, "return location.pathname", "/my/sign-in").await;
    browser.go(&format!("{other_origin}/verify?lang=en")).await;
    browser.type_into("#text", &shown).await;
    browser.click("#receipt button").await;
    let outcome =
        "return document.querySelector('[data-outcome]:not([hidden])')?.dataset.outcome ?? ''";
    answers(&browser, outcome, "sound").await;
    assert_eq!(
        browser.run("return document.querySelector('[data-shown=sent]').innerText").await,
        "40"
    );

    // and some go back, from the counter where they came in
    browser.show_as(1280, 900, "light").await;
    let sends_back = "return document.querySelector('[value=send_back]') !== null";
    eventually("the points have come in", async || {
        browser.go(&format!("{other_origin}/staff?lang=en")).await;
        browser.type_into("#value", &there).await;
        browser.press(ENTER).await;
        says(&browser, "Points to spend").await;
        browser.run(sends_back).await == true
    })
    .await;
    browser.click("details:has([value=send_back]) summary").await;
    browser.click("form:has([value=send_back]) button").await;
    says(&browser, "The points are on their way back.").await;
    looks_right(&browser, "sent back").await;
    let node = alliance.node("grocer_one");
    eventually("they are back", async || {
        let page = node.exchanges_page(first_of(1), ExchangeFilter::default()).await.unwrap();
        page.items[0].points_back > 0
    })
    .await;
    served.shutdown.begin();
    other_served.shutdown.begin();
}
