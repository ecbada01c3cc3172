//! Who may sign in, changed over the real surface: what is asked once more, what stays on record, who cannot go.

use super::*;

const FORM: &str = "application/x-www-form-urlencoded";

/// What is on record of users: by whom, what, and as what before and after.
async fn deeds(fixture: &Fixture) -> Vec<(String, String, Option<String>, Option<String>)> {
    let officer = fixture.client_as(&[Role::Officer]);
    let log: Vec<OperationView> = officer.get("/api/v1/operations").await.unwrap();
    let of_users = log.into_iter().filter(|it| it.deed == "user");
    of_users.map(|it| (it.by, it.what, it.before, it.after)).collect()
}

fn roles_of(fixture: &Fixture, user: &str) -> Option<Vec<Role>> {
    fixture.auth.users().into_iter().find(|(name, _)| name == user).map(|(_, roles)| roles)
}

fn shown_password(page: &str) -> Option<&str> {
    page.split_once("<strong class=\"code\">")?.1.split('<').next()
}

#[tokio::test]
async fn an_administrator_adds_changes_and_removes_users_after_the_password_was_given_once_more() {
    let fixture = Fixture::start();
    fixture.auth.add_user("ops", &[Role::Administrator], PASSWORD).unwrap();
    let token = fixture.auth.sign_in("ops", PASSWORD).await.unwrap().token;
    let client = fixture.client();
    let own = format!("https://{}", client.address());
    let cookie = format!("__Host-session-grocer={}", token.as_str());
    let send = async |path: &str, origin: &str, body: &str| {
        let headers = [("cookie", cookie.as_str()), ("origin", origin), ("content-type", FORM)];
        client.send(Method::POST, path, &headers, Some(body.to_owned().into())).await.unwrap()
    };
    let text = |answer: &Answer| String::from_utf8(answer.body.to_vec()).unwrap();
    let act = async |path: &str, body: &str| text(&send(path, &own, body).await);
    let get = async |path: &str| {
        let headers = [("cookie", cookie.as_str())];
        text(&client.send(Method::GET, path, &headers, None).await.unwrap())
    };

    // a session alone adds nobody, nor does a form of elsewhere
    let add = "/administration/users?lang=en";
    let refused = act(add, "user=chen&store=on&password=wrong+horse+battery").await;
    assert!(
        refused.contains("role=\"alert\"") && refused.contains("nothing was done"),
        "{refused}"
    );
    let right = "user=chen&store=on&password=correct+horse+battery&code=";
    let foreign = send(add, "https://elsewhere.example", right).await;
    assert_eq!(code(&foreign), "origin_foreign");
    assert_eq!((roles_of(&fixture, "chen"), deeds(&fixture).await), (None, Vec::new()));

    let added = act(add, right).await;
    let password = shown_password(&added).unwrap().to_owned();
    assert!(added.contains("The user was added."), "{added}");
    assert_eq!(roles_of(&fixture, "chen"), Some(vec![Role::Store]));
    let page = "/administration/users/chen?lang=en";
    assert_eq!(shown_password(&get(page).await), None, "it is shown once");
    let theirs = fixture.auth.sign_in("chen", &password).await.unwrap().token;

    let confirmed = |action: &str| format!("action={action}&password=correct+horse+battery");
    let changed = act(page, &(confirmed("roles") + "&officer=on&partner=on")).await;
    assert!(changed.contains("has to sign in again"), "{changed}");
    assert_eq!(roles_of(&fixture, "chen"), Some(vec![Role::Partner, Role::Officer]));
    assert!(fixture.auth.session(&theirs).is_err(), "what the session may do has changed");
    let none = act(page, &confirmed("roles")).await;
    assert!(none.contains("role=\"alert\"") && none.contains("at least one role"), "{none}");

    fixture.auth.sign_in("chen", &password).await.unwrap();
    let ended = act(page, "action=end_sessions").await;
    assert!(ended.contains("Sessions that were ended: 1"), "{ended}");
    let replaced = act(page, &confirmed("password")).await;
    let other = shown_password(&replaced).unwrap().to_owned();
    assert!(fixture.auth.sign_in("chen", &password).await.is_err());
    fixture.auth.sign_in("chen", &other).await.unwrap();
    let setup = fixture.auth.set_up_second_factor("chen").unwrap();
    let first = crate::auth::tests_code(&setup.secret, -1);
    fixture.auth.confirm_second_factor("chen", &first).unwrap();
    assert!(get(page).await.contains("value=\"second_factor\""));
    assert!(act(page, &confirmed("second_factor")).await.contains("by the password alone"));
    fixture.auth.sign_in("chen", &other).await.unwrap();

    assert!(act(page, &confirmed("remove")).await.contains("The user was removed."));
    assert!(fixture.auth.sign_in("chen", &other).await.is_err());
    let chinese = get("/administration/users/chen?lang=zh").await;
    assert!(
        chinese.contains("没有这个用户。") && !chinese.contains("value=\"remove\""),
        "{chinese}"
    );

    // somebody must be able to run the node
    let gone = act("/administration/users/ann?lang=en", &confirmed("remove")).await;
    assert!(gone.contains("The user was removed."), "{gone}");
    for action in ["remove", "roles"] {
        let body = confirmed(action) + "&store=on";
        let last = act("/administration/users/ops?lang=zh", &body).await;
        assert!(last.contains("这是最后一位管理员"), "{last}");
    }
    assert_eq!(roles_of(&fixture, "ops"), Some(vec![Role::Administrator]));

    let log = deeds(&fixture).await;
    assert!(log.iter().all(|(by, ..)| by == "ops"));
    let what: Vec<&str> = log.iter().map(|(_, what, ..)| what.as_str()).collect();
    let refusal =
        |done: &str| format!("user ops: {done}: refused (last_administrator), nothing was done");
    assert_eq!(
        what,
        [
            "user chen: added",
            "user chen: other roles",
            "user chen: sessions ended",
            "user chen: another password",
            "user chen: second factor taken away",
            "user chen: removed",
            "user ann: removed",
            "user ops: removed",
            &refusal("removed"),
            "user ops: other roles",
            &refusal("other roles"),
        ]
    );
    let (before, after) = (log[1].2.as_deref(), log[1].3.as_deref());
    assert_eq!((before, after), (Some("store"), Some("partner, officer")));
    let all = format!("{log:?}");
    assert!(!all.contains(&password) && !all.contains(&other));
}

#[tokio::test]
async fn programs_manage_users_too_and_hear_what_was_wrong() {
    let fixture = Fixture::start();
    fixture.auth.add_user("ops", &[Role::Administrator], PASSWORD).unwrap();
    let client = fixture.client();
    client.login("ops", PASSWORD).await.unwrap();
    let send = async |path: &str, body: serde_json::Value| {
        let body = Some(body.to_string().into());
        client.send(Method::POST, path, &[], body).await.unwrap()
    };
    let user = |name: &str, roles: &[&str], password: &str| serde_json::json!({ "user": name, "roles": roles, "password": password });
    let made = send("/api/v1/users", user("chen", &["store"], PASSWORD)).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let made: serde_json::Value = serde_json::from_slice(&made.body).unwrap();
    let password = made["password"].as_str().unwrap();
    fixture.auth.sign_in("chen", password).await.unwrap();
    for (name, roles, word, status, refused) in [
        ("chen", vec!["store"], PASSWORD, 409, "user_exists"),
        ("Chen", vec!["store"], PASSWORD, 422, "user_name_invalid"),
        ("li", vec![], PASSWORD, 422, "user_without_role"),
        ("li", vec!["root"], PASSWORD, 400, "json_unexpected"),
        ("li", vec!["store"], "wrong horse battery", 422, "confirmation_refused"),
    ] {
        let answer = send("/api/v1/users", user(name, &roles, word)).await;
        assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (status, refused));
    }
    let confirmation = || serde_json::json!({ "password": PASSWORD });
    for of in ["password", "second-factor-removal", "removal"] {
        let unknown = send(&format!("/api/v1/users/nobody/{of}"), confirmation()).await;
        assert_eq!((unknown.status.as_u16(), code(&unknown).as_str()), (404, "user_unknown"));
    }

    let listed: serde_json::Value = client.get("/api/v1/users").await.unwrap();
    let chen = listed.as_array().unwrap().iter().find(|it| it["user"] == "chen").unwrap();
    assert_eq!(chen["roles"][0], "store");
    assert_eq!(chen["sessions"], 1);
    assert!(!listed.to_string().contains("argon2"), "no hash leaves the node");
    client.delete("/api/v1/users/chen/sessions").await.unwrap();
    let roles = serde_json::json!({ "roles": ["analyst"], "password": PASSWORD });
    let answer = send("/api/v1/users/chen/roles", roles).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(roles_of(&fixture, "chen"), Some(vec![Role::Analyst]));
    let removed = send("/api/v1/users/chen/removal", confirmation()).await;
    assert_eq!((removed.status, roles_of(&fixture, "chen")), (StatusCode::NO_CONTENT, None));
    // a refusal before the deed leaves no entry, and what was done one each
    let done: Vec<String> = deeds(&fixture).await.into_iter().map(|(_, what, ..)| what).collect();
    assert_eq!(
        done,
        [
            "user chen: added",
            "user chen: sessions ended",
            "user chen: other roles",
            "user chen: removed"
        ]
    );
}
