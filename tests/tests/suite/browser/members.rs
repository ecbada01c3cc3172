//! The programme manager makes a segment and a campaign, a counter hands out a code, and a member looks at the
//! own account with a telephone: by what the pages say, in a real browser.

use node::auth::Role;

use super::webdriver::{Browser, ENTER};
use super::{PASSWORD, browser, eventually, furnish, looks_right, wrong};
use crate::alliance::Alliance;

/// Puts a value where typing would depend on the browser's country.
async fn fill(browser: &Browser, selector: &str, value: &str) {
    let (selector, value) = (serde_json::json!(selector), serde_json::json!(value));
    browser.run(&format!("document.querySelector({selector}).value = {value}")).await;
}

async fn says(browser: &Browser, words: &str) {
    eventually(words, async || browser.text().await.contains(words)).await;
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
    let today = browser.run("return document.getElementById('from').value").await;
    fill(browser, "#to", today.as_str().unwrap()).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_makes_a_campaign_and_a_member_looks_at_the_own_account() {
    let Some(browser) = browser().await else { return };
    let alliance = Alliance::of_the_sample().await;
    alliance.import("grocer_one").await;
    alliance.import("fuel_stop").await;
    let (card, exchange) = furnish(&alliance).await;
    let (auth, _, served) = alliance.serve("grocer_one");
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
    let consent = "form:has([name=purpose][value=marketing]) button";
    browser.click(consent).await;
    says(&browser, "You have agreed.").await;
    browser.click(consent).await;
    says(&browser, "You have taken your agreement back.").await;
    browser.type_into("#text", "为什么积分没有到账？").await;
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
            for scheme in ["light", "dark"] {
                let what = format!("my-{language}-{screen}-{scheme}");
                browser.show_as(width, height, scheme).await;
                browser.go(&format!("{origin}/my?lang={language}")).await;
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
    browser.back().await;
    assert!(!browser.text().await.contains("Points to spend"));
    served.shutdown.begin();
}
