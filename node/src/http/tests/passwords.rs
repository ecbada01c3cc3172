//! Passwords that an administrator has set: what they open, over HTTP and on the pages, and how an own one is set.

use super::*;

const OWN: &str = "staple of my own choice";

async fn set(client: &Client, present: &str, own: &str) -> Answer {
    let body = serde_json::json!({ "password": present, "new_password": own }).to_string();
    client.send(Method::POST, "/api/v1/password", &[], Some(body.into())).await.unwrap()
}

#[tokio::test]
async fn programs_hear_that_a_password_is_for_one_use_and_set_an_own_one() {
    let fixture = Fixture::start();
    fixture.auth.add_user("ops", &[Role::Administrator], PASSWORD).unwrap();
    let administrator = fixture.client();
    administrator.login("ops", PASSWORD).await.unwrap();
    let body = serde_json::json!({ "user": "chen", "roles": ["store"], "password": PASSWORD });
    let made: serde_json::Value = administrator.post("/api/v1/users", &[], &body).await.unwrap();
    let made = made["password"].as_str().unwrap();
    let is_one_use = async || {
        let users: serde_json::Value = administrator.get("/api/v1/users").await.unwrap();
        let chen = users.as_array().unwrap().iter().find(|it| it["user"] == "chen").unwrap();
        chen["one_use_password"] == true
    };
    assert!(is_one_use().await);

    let chen = fixture.client();
    chen.login("chen", made).await.unwrap();
    let read = async || chen.send(Method::GET, "/api/v1/members", &[], None).await.unwrap();
    let refused = read().await;
    assert_eq!((refused.status.as_u16(), code(&refused).as_str()), (403, "password_one_use"));
    let problem: Problem = serde_json::from_slice(&refused.body).unwrap();
    assert!(problem.remedy.contains("POST /api/v1/password"), "{problem:?}");
    for (present, own, refused) in [
        (made, made, "password_same"),
        (made, "short", "password_length"),
        (PASSWORD, OWN, "confirmation_refused"),
    ] {
        let answer = set(&chen, present, own).await;
        assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (422, refused));
    }
    assert!(is_one_use().await);
    assert_eq!(set(&chen, made, OWN).await.status, StatusCode::NO_CONTENT);
    assert_eq!(code(&read().await), "token_unknown", "the sessions end");
    assert!(!is_one_use().await);
    assert!(fixture.auth.sign_in("chen", made).await.is_err());
    chen.login("chen", OWN).await.unwrap();
    assert_eq!(read().await.status, StatusCode::OK);
    // what an administrator sets later is for one use again
    let body = serde_json::json!({ "password": PASSWORD });
    let again: serde_json::Value =
        administrator.post("/api/v1/users/chen/password", &[], &body).await.unwrap();
    chen.login("chen", again["password"].as_str().unwrap()).await.unwrap();
    assert_eq!(code(&read().await), "password_one_use");

    let officer = fixture.client_as(&[Role::Officer]);
    let log: Vec<OperationView> = officer.get("/api/v1/operations").await.unwrap();
    let set: Vec<_> = log.iter().filter(|it| it.what == "user chen: own password set").collect();
    assert!(set.len() == 1 && set[0].by == "chen" && set[0].deed == "user", "{log:?}");
    assert!(!format!("{log:?}").contains(OWN));
}

#[tokio::test]
async fn people_are_led_to_set_an_own_password_in_both_languages() {
    let fixture = Fixture::start();
    fixture.auth.add_user_for_one_use("olga", &[Role::Officer], PASSWORD).unwrap();
    // the password comes first: a second factor is nothing for whoever else knows it
    fixture.auth.require_second_factor(&[Role::Officer]);
    let client = fixture.client();
    let origin = format!("https://{}", client.address());
    let token = fixture.auth.sign_in("olga", PASSWORD).await.unwrap().token;
    let cookie = format!("__Host-session-grocer={}", token.as_str());
    let get = async |path: &str| {
        client.send(Method::GET, path, &[("cookie", &cookie)], None).await.unwrap()
    };
    let post = async |path: &str, body: &str| {
        let headers = [form(&origin), [("cookie", cookie.as_str()), ("x", "y")]].concat();
        client.send(Method::POST, path, &headers, Some(body.to_owned().into())).await.unwrap()
    };
    let text = |answer: &Answer| String::from_utf8(answer.body.to_vec()).unwrap();
    let to = |answer: &Answer| {
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        answer.headers["location"].to_str().unwrap().to_owned()
    };

    for path in ["/?lang=en", "/officer?lang=en", "/second-factor?lang=en"] {
        assert_eq!(to(&get(path).await), "/password?lang=en", "{path}");
    }
    let (english, chinese) = ("/password?lang=en", "/password?lang=zh");
    let page = text(&get(english).await);
    assert!(page.contains("is for one use") && !page.contains("href=\"/officer"), "{page}");
    assert!(text(&get(chinese).await).contains("现有口令由他人设置"));

    let fields = |present: &str, own: &str, again: &str| {
        format!("password={present}&new_password={own}&again={again}").replace(' ', "+")
    };
    let differs = text(&post(english, &fields(PASSWORD, OWN, PASSWORD)).await);
    assert!(differs.contains("not entered the same twice"), "{differs}");
    let same = text(&post(chinese, &fields(PASSWORD, PASSWORD, PASSWORD)).await);
    assert!(same.contains("新口令与现有口令相同"), "{same}");
    let wrong = text(&post(english, &fields(OWN, PASSWORD, PASSWORD)).await);
    assert!(wrong.contains("nothing was done"), "{wrong}");
    let done = post(english, &fields(PASSWORD, OWN, OWN)).await;
    assert_eq!(to(&done), "/sign-in?lang=en");
    assert_eq!(to(&get("/officer?lang=en").await), "/sign-in?lang=en", "the sessions end");

    // and with the own one the second factor is next
    let token = fixture.auth.sign_in("olga", OWN).await.unwrap().token;
    let cookie = format!("__Host-session-grocer={}", token.as_str());
    let next = client.send(Method::GET, "/officer?lang=en", &[("cookie", &cookie)], None).await;
    assert_eq!(to(&next.unwrap()), "/second-factor?lang=en");
    let own = client.send(Method::GET, english, &[("cookie", &cookie)], None).await.unwrap();
    assert!(!text(&own).contains("is for one use"), "{}", text(&own));
}
