//! The programme manager makes a segment and a campaign, a counter hands out a code, and a member looks at the
//! own account with a telephone; the coupon is redeemed, a purchase entered, a case decided, a question answered: by what the
//! pages say, in a real browser.

use node::auth::Role;
use node::service::{ConsentRequest, Node};

use super::webdriver::{Browser, ENTER};
use super::{PASSWORD, answers, browser, eventually, furnish, looks_right, says, wrong};
use crate::alliance::Alliance;

/// Puts a value where typing would depend on the browser's country.
async fn fill(browser: &Browser, selector: &str, value: &str) {
    let (selector, value) = (serde_json::json!(selector), serde_json::json!(value));
    browser.run(&format!("document.querySelector({selector}).value = {value}")).await;
}

async fn manage(browser: &Browser, origin: &str) {
    // a coupon that members may claim holds at once: it takes nothing from anybody
    browser.go(&format!("{origin}/programme/rules?lang=en")).await;
    let raised = "const it = document.getElementById('rules'); \
        it.value = it.value.replace(/^version *= *[0-9]+/m, 'version = 7') + \
        '\\n[[coupon]]\\nname = \"ten\"\\nzh = \"十元券\"\\nen = \"Ten yuan off\"\\nworth_fen = 1000\\n' + \
        'valid_days = 30\\nclaimable = true\\n';";
    browser.run(raised).await;
    browser.click("button[value=check]").await;
    says(browser, "It can be proposed, and holds at once.").await;
    looks_right(browser, "rules that were checked").await;
    browser.picture("rules-checked").await;
    browser.click("button[value=propose]").await;
    says(browser, "in force: version 7").await;
    // what is wrong is told with its line and field
    browser.run("document.getElementById('rules').value = 'format = \"coalition programme 1\"\\nversion = -1'").await;
    browser.click("button[value=check]").await;
    says(browser, "line 2: version: ").await;
    looks_right(browser, "rules that are wrong").await;
    browser.picture("rules-wrong").await;

    browser.go(&format!("{origin}/programme/segments?lang=en")).await;
    browser.type_into("#name", "away").await;
    browser.type_into("#zh", "沉睡会员").await;
    browser.type_into("#en", "Who has been away").await;
    browser.type_into("#quiet", "1").await;
    browser.click("button[value=count]").await;
    says(browser, " members.").await;
    assert_eq!(browser.run("return document.getElementById('quiet').value").await, "1");
    browser.click("button[value=keep]").await;
    says(browser, "It is kept.").await;
    looks_right(browser, "segments").await;
    browser.picture("segments-kept").await;

    browser.go(&format!("{origin}/programme/campaigns?lang=en")).await;
    browser.type_into("#name", "spring").await;
    browser.type_into("#zh", "春季回馈").await;
    browser.type_into("#en", "Spring thanks").await;
    browser.click("#segment option[value=away]").await;
    // to the day after the first: the brand's midnight may be on the way
    let tomorrow = "const day = new Date(document.getElementById('from').value + 'T00:00:00Z'); \
        return new Date(day.getTime() + 86400000).toISOString().slice(0, 10)";
    let tomorrow = browser.run(tomorrow).await;
    fill(browser, "#to", tomorrow.as_str().unwrap()).await;
    browser.click("#offer-1 option[value=points]").await;
    browser.type_into("#points-1", "5").await;
    browser.type_into("#share-1", "1").await;
    browser.type_into("#share-2", "1").await;
    browser.click("form:has(#segment) > button").await;
    says(browser, "The campaign is made.").await;
    // its first day is today: who is in the segment comes in, by chance into one group or the other
    eventually("members come into the campaign", async || {
        browser.go(&format!("{origin}/programme/campaigns?lang=en")).await;
        let rows = "return [...document.querySelectorAll('tbody tr')].map(it => Number(it.cells[3].innerText))";
        let rows: Vec<u64> = serde_json::from_value(browser.run(rows).await).unwrap();
        assert_eq!(rows.len(), 2);
        rows.iter().all(|members| *members > 0)
    })
    .await;
    looks_right(browser, "campaigns").await;
    browser.picture("campaigns").await;
}

/// Finds the member at the counter, redeems the coupon by its code, and enters purchases that are out of the ordinary.
async fn serve_at_the_counter(browser: &Browser, origin: &str, card: &str, code: &str) {
    browser.go(&format!("{origin}/staff?lang=en")).await;
    browser.type_into("#value", card).await;
    browser.press(ENTER).await;
    says(browser, "Points to spend").await;
    browser.type_into("#code", code).await;
    browser.type_into("#basket", "50.00").await;
    browser.type_into("#place", "shop_1").await;
    browser.click("form:has([value=redeem]) button").await;
    says(browser, "The coupon is redeemed: 10.00 yuan off this basket.").await;
    looks_right(browser, "redeemed").await;
    browser.picture("staff-redeemed").await;
    // once, at any till
    browser.type_into("#code", code).await;
    browser.type_into("#basket", "50.00").await;
    browser.type_into("#place", "shop_2").await;
    browser.click("form:has([value=redeem]) button").await;
    let told = "return String(document.querySelector('[role=alert]') !== null)";
    answers(browser, told, "true").await;
    assert!(!browser.text().await.contains("yuan off this basket"));

    // one basket earns 10,000 points at most, and more than 20,000 on a day are for review
    for receipt in ["B-1", "B-2", "B-3"] {
        browser.type_into("#receipt", receipt).await;
        browser.type_into("#department", "FRESH").await;
        browser.type_into("#yuan", "30000").await;
        browser.click("form:has([value=purchase]) button").await;
        // the next page's is empty
        answers(browser, "return document.getElementById('receipt')?.value ?? 'none'", "").await;
        says(browser, "points earned.").await;
    }
    looks_right(browser, "purchase").await;
    browser.picture("staff-purchase").await;
}

/// Stops the account of whom so many points came to, with a reason, and answers what the member asked.
async fn review(browser: &Browser, origin: &str, asked: &str) {
    browser.go(&format!("{origin}/programme/reviews?lang=en")).await;
    says(browser, "abnormal growth of points").await;
    says(browser, asked).await;
    looks_right(browser, "reviews").await;
    browser.type_into("input[name=reason]", "a till was tampered with").await;
    browser.click("button[value=refuse]").await;
    says(browser, "The case is closed.").await;
    says(browser, "There is nothing to review.").await;
    // with who decided and why, for the next who looks
    says(browser, "a till was tampered with").await;
    browser.type_into("textarea[name=text]", "They came on Monday.").await;
    browser.click("form:has([value=answer]) button").await;
    says(browser, "The request is answered.").await;
    says(browser, "No request is open.").await;
    looks_right(browser, "reviewed").await;
    browser.picture("reviews").await;
}

/// Members of whom a campaign has some for each of its groups: but for the first, who decides on the own page.
async fn agree_to_offers(node: &Node) {
    for card in node.cards(100, None, 40).await.unwrap().into_iter().skip(1) {
        let request = ConsentRequest {
            purpose: "marketing".to_owned(),
            granted: true,
            notice_version: 1,
            ..ConsentRequest::default()
        };
        node.decide("li", card, request).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_makes_a_campaign_and_a_member_looks_at_the_own_account() {
    let Some(browser) = browser().await else { return };
    let alliance = Alliance::of_the_sample().await;
    alliance.import("grocer_one").await;
    alliance.import("fuel_stop").await;
    let (card, exchange) = furnish(&alliance).await;
    let (auth, _, served) = alliance.serve("grocer_one");
    agree_to_offers(&alliance.node("grocer_one")).await;
    auth.add_user("mia", &[Role::Partner], PASSWORD).unwrap();
    auth.add_user("li", &[Role::Store], PASSWORD).unwrap();
    let origin = format!("https://{}", served.address);
    let sign_in = async |user: &str| {
        browser.go(&format!("{origin}/sign-in?lang=en")).await;
        browser.type_into("#user", user).await;
        browser.type_into("#password", PASSWORD).await;
        browser.press(ENTER).await;
        says(&browser, &format!("Signed in as {user}")).await;
    };
    browser.show_as(1280, 900, "light").await;
    sign_in("mia").await;
    manage(&browser, &origin).await;
    browser.click("form[action^='/sign-out'] button").await;
    answers(&browser, "return location.pathname", "/").await;

    // the counter finds the member by card, and hands out a code; the card is not in the page
    sign_in("li").await;
    browser.go(&format!("{origin}/staff?lang=en")).await;
    browser.type_into("#value", &card).await;
    browser.press(ENTER).await;
    says(&browser, "Points to spend").await;
    let source = browser.run("return document.documentElement.outerHTML").await;
    assert!(!source.as_str().unwrap().contains(&card));
    browser.click("form:has([value=hand_out]) button").await;
    says(&browser, "Give it to nobody but the member.").await;
    looks_right(&browser, "code").await;
    browser.picture("staff-code").await;
    let link = browser.run("return document.querySelector('a[href^=\"/my/sign-in\"]').href").await;
    browser.click("form[action^='/sign-out'] button").await;
    answers(&browser, "return location.pathname", "/").await;

    // on a telephone: by the link, with a press of the button
    browser.show_as(375, 720, "light").await;
    browser.go(link.as_str().unwrap()).await;
    looks_right(&browser, "own sign-in").await;
    browser.picture("my-sign-in").await;
    browser.click("main form button").await;
    says(&browser, "My account").await;
    assert_eq!(browser.run("return document.cookie").await, "");
    browser.click("form:has([value=claim]) button").await;
    says(&browser, "The coupon is yours.").await;
    looks_right(&browser, "claimed").await;
    let coupon = "return document.querySelector('article.coupon code').innerText";
    let coupon = browser.run(coupon).await;
    let consent = "form:has([name=purpose][value=marketing]) button";
    browser.click(consent).await;
    says(&browser, "You have agreed.").await;
    browser.click(consent).await;
    says(&browser, "You have taken your agreement back.").await;
    let asked = "为什么积分没有到账？";
    browser.type_into("#text", asked).await;
    browser.click("form:has(#about) button").await;
    says(&browser, "answered within seven days").await;
    // the receipt of the own exchange, which anyone can verify
    let receipt = format!("/my/exchanges/{exchange}/receipt");
    let fetched =
        format!("const it = await fetch('{receipt}'); return (await it.text()).split('\\n')[0]");
    assert_eq!(browser.run(&fetched).await, "c2sp.org/tlog-proof@v1");
    let mut found = Vec::new();
    for language in ["zh", "en"] {
        for (screen, width, height) in [("wide", 1280, 900), ("phone", 375, 720)] {
            browser.show_as(width, height, "light").await;
            browser.go(&format!("{origin}/my?lang={language}")).await;
            for scheme in ["light", "dark"] {
                let what = format!("my-{language}-{screen}-{scheme}");
                browser.show_as(width, height, scheme).await;
                found.extend(wrong(&browser, &what).await);
                browser.picture(&what).await;
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    for asked in browser.requests().await {
        let own = [origin.as_str(), "data:", "chrome:", "chrome-untrusted:", "blob:chrome"];
        assert!(own.iter().any(|own| asked.starts_with(own)), "{asked}");
    }
    // signed out, the button that goes back shows nothing of what was there
    browser.go(&format!("{origin}/my?lang=en")).await;
    browser.click("form[action^='/my/sign-out'] button").await;
    answers(&browser, "return location.pathname", "/my/sign-in").await;
    browser.back().await;
    assert!(!browser.text().await.contains("Points to spend"));

    // back at the counter with the coupon's code; then who reviews
    browser.show_as(1280, 900, "light").await;
    sign_in("li").await;
    serve_at_the_counter(&browser, &origin, &card, coupon.as_str().unwrap()).await;
    browser.click("form[action^='/sign-out'] button").await;
    answers(&browser, "return location.pathname", "/").await;
    sign_in("mia").await;
    review(&browser, &origin, asked).await;
    served.shutdown.begin();
}
