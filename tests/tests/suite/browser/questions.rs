//! A question to all brands by pages alone, on a phone and in Chinese: what it costs, its steps as they are done, its
//! answer with chart, intervals and statement, and what is left of the year.

use node::auth::Role;

use super::webdriver::{ENTER, TAB};
use super::{PASSWORD, answers, browser, eventually, in_focus, looks_right, says};
use crate::alliance::Alliance;

const ACTIVE_BY_HALF: &str = "SELECT half_year(purchased_on) AS half, \
    count(distinct member) AS active FROM purchases GROUP BY half_year(purchased_on)";

#[tokio::test(flavor = "multi_thread")]
async fn an_analyst_asks_all_brands_and_follows_the_steps_to_the_answer() {
    let Some(browser) = browser().await else { return };
    let alliance = Alliance::of_the_sample().await;
    for brand in &alliance.brands {
        alliance.import(brand.as_str()).await;
    }
    let (auth, _, served) = alliance.serve("grocer_one");
    auth.add_user("ann", &[Role::Analyst], PASSWORD).unwrap();
    let origin = format!("https://{}", served.address);
    browser.show_as(375, 720, "light").await;
    browser.go(&format!("{origin}/sign-in?lang=zh")).await;
    in_focus(&browser, "user").await;
    browser.press(&format!("ann{TAB}{PASSWORD}{ENTER}")).await;
    says(&browser, "ann").await;

    browser.go(&format!("{origin}/questions?lang=zh")).await;
    browser.type_into("#sql", ACTIVE_BY_HALF).await;
    browser.click("#scope option[value=joint]").await;
    browser.click("form:has(#sql) button").await;
    says(&browser, "花费与预期误差").await;
    looks_right(&browser, "a joint question planned").await;
    browser.picture("joint-planned").await;
    browser.click("#plan-title ~ form button").await;

    // the page follows by itself: each step, then the answer
    says(&browser, "各方公开份额，噪声已加").await;
    says(&browser, "已发布").await;
    let done = "return String(document.querySelectorAll('#steps-title ~ ol .good').length)";
    answers(&browser, done, "3").await;
    says(&browser, "隐私声明").await;
    let chart = "return String(document.querySelector('figure svg[role=img]') !== null)";
    answers(&browser, chart, "true").await;
    let halves = "return String(document.querySelectorAll('figure ~ details tbody tr').length)";
    answers(&browser, halves, "2").await;
    looks_right(&browser, "a joint question answered").await;
    browser.picture("joint-answered").await;

    // what it cost is off what is left, as the accounts have it
    let node = alliance.node("grocer_one");
    eventually("the status shows the charge", async || {
        node.status().budget.is_some_and(|it| it.spent_pico_rho > 0 && it.reserved_pico_rho == 0)
    })
    .await;
    let budget = node.status().budget.unwrap();
    let left = budget.quota_pico_rho - budget.spent_pico_rho - budget.reserved_pico_rho;
    let left = node::console::rho(left);
    browser.go(&format!("{origin}/questions?lang=en")).await;
    says(&browser, &format!("Left {left}")).await;
    looks_right(&browser, "what is left").await;
    served.shutdown.begin();
}
