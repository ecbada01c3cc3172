//! Who may sign in, changed over the real surface: what is asked once more, what stays on record, who cannot go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::store::watched::{Watch, Watched};
use crate::store::{StoreError, Write};

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

/// A store that takes no entry of the operation log, or takes them again.
struct Wordless(AtomicBool);

impl Watch for Wordless {
    fn writes(&self, writes: &[Write]) -> Result<(), StoreError> {
        let is_entry = |write: &Write| matches!(write, Write::Put { keyspace: "operation", .. });
        match self.0.load(Ordering::Relaxed) && writes.iter().any(is_entry) {
            true => Err(StoreError::Poisoned { earlier: None }),
            false => Ok(()),
        }
    }
}

/// Fails when the users' file is written first, or whether or not the operation log has the change.
#[tokio::test]
async fn a_change_of_a_user_that_cannot_be_entered_in_the_operation_log_does_not_happen() {
    let store = Arc::new(Watched::by(Wordless(AtomicBool::new(false))));
    let fixture = Fixture::start_in(store.clone());
    fixture.auth.add_user("ops", &[Role::Administrator], PASSWORD).unwrap();
    fixture.auth.add_user("chen", &[Role::Store], PASSWORD).unwrap();
    let theirs = fixture.auth.sign_in("chen", PASSWORD).await.unwrap().token;
    let client = fixture.client();
    client.login("ops", PASSWORD).await.unwrap();
    let send = async |method: Method, path: &str, mut body: serde_json::Value| {
        body["password"] = PASSWORD.into();
        let body = Some(body.to_string().into());
        client.send(method, &format!("/api/v1/users{path}"), &[], body).await.unwrap()
    };
    let file = fixture.directory.path().join("users.json");
    let before = std::fs::read(&file).unwrap();
    store.watch.0.store(true, Ordering::Relaxed);
    let roles = || serde_json::json!({ "roles": ["analyst"] });
    let nothing = || serde_json::json!({});
    for (method, path, body) in [
        (Method::POST, "", serde_json::json!({ "user": "li", "roles": ["store"] })),
        (Method::POST, "/chen/roles", roles()),
        (Method::POST, "/chen/password", nothing()),
        (Method::POST, "/chen/second-factor-removal", nothing()),
        (Method::POST, "/chen/removal", nothing()),
        (Method::DELETE, "/chen/sessions", nothing()),
    ] {
        let answer = send(method, path, body).await;
        assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (500, "internal"), "{path}");
        assert_eq!(std::fs::read(&file).unwrap(), before, "{path}");
        assert!(fixture.auth.session(&theirs).is_ok(), "{path}");
    }
    store.watch.0.store(false, Ordering::Relaxed);
    assert_eq!(deeds(&fixture).await, Vec::new());

    let changed = send(Method::POST, "/chen/roles", roles()).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT);
    assert_eq!(roles_of(&fixture, "chen"), Some(vec![Role::Analyst]));
    let said = deeds(&fixture).await.into_iter().map(|(_, what, ..)| what);
    assert_eq!(said.collect::<Vec<_>>(), ["user chen: other roles"]);
}

/// Fails when the operation log has a change alone that the disk did not take.
#[tokio::test]
async fn a_change_of_a_user_that_fails_after_it_was_entered_is_entered_as_failed() {
    let fixture = Fixture::start();
    fixture.auth.add_user("ops", &[Role::Administrator], PASSWORD).unwrap();
    let client = fixture.client();
    client.login("ops", PASSWORD).await.unwrap();
    let add = async || {
        let body = serde_json::json!({ "user": "li", "roles": ["store"], "password": PASSWORD });
        let body = Some(body.to_string().into());
        client.send(Method::POST, "/api/v1/users", &[], body).await.unwrap()
    };
    // where the file is written before it takes the old one's place
    let fresh = fixture.directory.path().join("users.new");
    std::fs::create_dir(&fresh).unwrap();
    let answer = add().await;
    assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (500, "internal"));
    let told = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(!told.contains("users.new"), "of this node's disk nothing is told: {told}");
    assert_eq!(roles_of(&fixture, "li"), None);
    std::fs::remove_dir(&fresh).unwrap();
    assert_eq!(add().await.status, StatusCode::CREATED);
    let said = deeds(&fixture).await.into_iter().map(|(by, what, ..)| (by, what));
    let failed = "user li: added: failed (internal), see in the list of users what is so";
    let expected = ["user li: added", failed, "user li: added"];
    assert_eq!(said.collect::<Vec<_>>(), expected.map(|it| ("ops".to_owned(), it.to_owned())));
}
