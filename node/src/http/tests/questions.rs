//! What was asked: whom the API and the pages show it to.

use super::*;

async fn page(fixture: &Fixture, path: &str) -> String {
    let cookie = format!("__Host-session-grocer={}", fixture.auth.token_for(&[Role::Analyst]));
    let client = fixture.client();
    let answer =
        client.send(Method::GET, path, &[("cookie", cookie.as_str())], None).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{path}");
    String::from_utf8(answer.body.to_vec()).unwrap()
}

/// The fixture has a question `mine`, of the user who asks here, and others of somebody else.
#[tokio::test]
async fn an_analyst_is_shown_the_own_texts_and_an_officer_all() {
    let fixture = Fixture::start();
    for (role, sees_all) in [(Role::Analyst, false), (Role::Officer, true)] {
        let client = fixture.client_as(&[role]);
        let listed: Vec<QueryView> = client.get("/api/v1/queries?limit=3").await.unwrap();
        let mut views = listed;
        for id in ["mine", "1", "2"] {
            views.push(client.get(&format!("/api/v1/queries/{id}")).await.unwrap());
        }
        assert_eq!(views.len(), 6);
        for view in views {
            let shown = sees_all || view.id == "mine";
            let sql = shown.then(|| format!("SELECT {}", view.id));
            assert_eq!((view.sql, view.asked_ms.is_some()), (sql, shown), "{} as {role}", view.id);
            assert_eq!(view.asked_by.is_some(), shown, "{} as {role}", view.id);
            // the answer is for both, as it was
            assert!(view.release.is_some());
        }
    }
}

/// The history goes on behind its newest questions, and back to them.
#[tokio::test]
async fn the_history_of_questions_goes_on_to_its_end() {
    let fixture = Fixture::start();
    let newest = page(&fixture, "/questions?lang=en").await;
    let begins = "href=\"/questions?lang=en&amp;before=";
    let (_, rest) = newest.split_once(begins).unwrap();
    let (cursor, _) = rest.split_once("#answers-title\"").unwrap();
    assert!(newest.contains("/questions/24?lang=en") && !newest.contains("/questions/25?lang=en"));
    assert!(!newest.contains("The newest questions"), "{newest}");
    let older = page(&fixture, &format!("/questions?lang=en&before={cursor}")).await;
    assert!(!older.contains("/questions/24?lang=en"), "{older}");
    for id in 25..30 {
        assert!(older.contains(&format!("/questions/{id}?lang=en")), "{id}: {older}");
    }
    assert!(older.contains("The newest questions") && !older.contains(begins), "{older}");
    let cookie = format!("__Host-session-grocer={}", fixture.auth.token_for(&[Role::Analyst]));
    let headers = [("cookie", cookie.as_str())];
    let path = format!("/questions?before={cursor}A");
    let refused = fixture.client().send(Method::GET, &path, &headers, None).await.unwrap();
    assert_eq!(code(&refused), "cursor_unknown");
}

/// On her page an analyst finds what she asked, and goes on from it; of others' questions she sees the answers.
#[tokio::test]
async fn a_question_of_before_is_filled_in_by_who_asked_it() {
    let fixture = Fixture::start();
    let listed = page(&fixture, "/questions?lang=en").await;
    assert!(
        listed.contains("SELECT mine") && listed.contains("2026-09-21 14:13:20 UTC"),
        "{listed}"
    );
    assert!(
        listed.contains("again=mine&amp;") && listed.matches("again=").count() == 1,
        "{listed}"
    );
    assert!(!listed.contains("SELECT 1") && !listed.contains("zhao"), "{listed}");

    let again = page(&fixture, "/questions?lang=en&again=mine").await;
    assert!(again.contains(">SELECT mine</textarea>"), "{again}");
    let others = page(&fixture, "/questions?lang=en&again=1").await;
    assert!(
        others.contains("role=\"alert\"") && !others.contains("SELECT 1</textarea>"),
        "{others}"
    );
    let gone = page(&fixture, "/questions?lang=zh&again=gone").await;
    assert!(gone.contains("role=\"alert\""), "{gone}");

    let one = page(&fixture, "/questions/mine?lang=en").await;
    assert!(one.contains("SELECT mine") && one.contains("again=mine"), "{one}");
    let one = page(&fixture, "/questions/1?lang=en").await;
    assert!(!one.contains("SELECT 1") && !one.contains("zhao") && !one.contains("again="), "{one}");
}

/// Of one member more or less nobody is to hear without noise who asks questions that are noised: exact sizes are for
/// the brand's own staff, over the API and on the first page.
#[tokio::test]
async fn who_asks_with_noise_is_not_shown_exact_sizes() {
    let fixture = Fixture::start();
    for (role, sees) in [
        (Role::Analyst, false),
        (Role::App, false),
        (Role::Administrator, true),
        (Role::Officer, true),
        (Role::Partner, true),
        (Role::Store, true),
    ] {
        let client = fixture.client_as(&[role]);
        let status: Status = client.get("/api/v1/status").await.unwrap();
        let whole = crate::console::samples::status();
        let sizes = (whole.members.filter(|_| sees), whole.purchases.filter(|_| sees));
        assert_eq!((status.members, status.purchases), sizes, "{role}");
        assert_eq!(status.without_sizes(), whole.without_sizes(), "{role}");
    }
    let shown = page(&fixture, "/?lang=en").await;
    assert!(shown.contains("1,204") && !shown.contains("2,469") && !shown.contains("1,469,307"));
}
