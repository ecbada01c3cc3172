//! Drafts of the next constitution over the real surface: who may, what is asked once more, what stays on record.

use super::*;

const HASH: &str = "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2";

/// A browser of somebody with one role.
struct Browser {
    client: Client,
    cookie: String,
    origin: String,
}

impl Browser {
    fn of(fixture: &Fixture, role: Role) -> Self {
        Self::with(fixture, &fixture.auth.token_for(&[role]))
    }

    fn with(fixture: &Fixture, token: &str) -> Self {
        let client = fixture.client();
        let origin = format!("https://{}", client.address());
        Self { client, cookie: format!("__Host-session-grocer={token}"), origin }
    }

    async fn get(&self, path: &str) -> Answer {
        self.client.send(Method::GET, path, &[("cookie", &self.cookie)], None).await.unwrap()
    }

    async fn post(&self, path: &str, media: &str, body: Vec<u8>) -> Answer {
        let headers = [
            ("cookie", self.cookie.as_str()),
            ("origin", self.origin.as_str()),
            ("content-type", media),
        ];
        self.client.send(Method::POST, path, &headers, Some(body.into())).await.unwrap()
    }

    async fn act(&self, body: &str) -> String {
        let path = format!("/administration/drafts/{HASH}?lang=en");
        let media = "application/x-www-form-urlencoded";
        page(&self.post(&path, media, body.as_bytes().to_vec()).await)
    }

    /// Sends these parts as a form with files.
    async fn upload(&self, path: &str, files: &[(&str, &str)]) -> Answer {
        let mut body = String::new();
        for (name, text) in files {
            body += &format!(
                "--bound\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n{text}\r\n"
            );
        }
        body += "--bound--\r\n";
        self.post(path, "multipart/form-data; boundary=bound", body.into_bytes()).await
    }
}

fn page(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).unwrap()
}

async fn deeds(fixture: &Fixture) -> Vec<(String, String)> {
    let officer = fixture.client_as(&[Role::Officer]);
    let log: Vec<OperationView> = officer.get("/api/v1/operations").await.unwrap();
    let drafts = log.into_iter().filter(|it| it.deed == "constitution");
    drafts.map(|it| (it.by, it.what)).collect()
}

#[tokio::test]
async fn an_administrator_reads_signs_and_decides_after_the_password_was_given_once_more() {
    let fixture = Fixture::start();
    fixture.auth.add_user("ops", &[Role::Administrator], PASSWORD).unwrap();
    let token = fixture.auth.sign_in("ops", PASSWORD).await.unwrap().token;
    let browser = Browser::with(&fixture, &token);
    // in both languages, from the list to the draft
    for (language, title, rate) in [
        ("zh", "待签章程草案", "兑换比率由 1/2 改为 2/5"),
        ("en", "Constitution drafts to sign", "rate 1/2 becomes 2/5"),
    ] {
        let list = page(&browser.get(&format!("/administration?lang={language}")).await);
        let link = format!("/administration/drafts/{HASH}?lang={language}");
        assert!(list.contains(title) && list.contains(&link), "{list}");
        let draft = page(&browser.get(&link).await);
        assert!(draft.contains(rate) && draft.contains("value=\"sign\""), "{draft}");
    }

    // a session alone signs nothing, and a form of elsewhere less
    let kept_out = browser.act("action=sign&password=wrong+horse+battery").await;
    assert!(kept_out.contains("role=\"alert\"") && kept_out.contains("nothing was done"));
    let headers = [
        ("cookie", browser.cookie.as_str()),
        ("origin", "https://elsewhere.example"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let body = "action=sign&password=correct+horse+battery";
    let path = format!("/administration/drafts/{HASH}");
    let foreign = browser.client.send(Method::POST, &path, &headers, Some(body.into())).await;
    assert_eq!(code(&foreign.unwrap()), "origin_foreign");
    assert!(deeds(&fixture).await.is_empty());

    let signed = browser.act(body).await;
    assert!(signed.contains("Signed with this brand&#39;s governance key"), "{signed}");
    let adopted = browser.act("action=adopt&password=correct+horse+battery&code=").await;
    assert!(adopted.contains("This brand adopts the draft"), "{adopted}");
    let noted = |done: &str| ("ops".to_owned(), format!("draft {HASH} of constitution 3 {done}"));
    assert_eq!(deeds(&fixture).await, [noted("signed"), noted("adopted")]);

    // to be handed on
    let file = browser.get(&format!("{path}/signatures")).await;
    assert_eq!(file.headers["content-type"], "application/toml");
    let name = "attachment; filename=\"constitution.signatures\"";
    assert_eq!(file.headers["content-disposition"], name);
    assert_eq!(file.body, "format = 0\n");
    assert_eq!(browser.get(&format!("{path}/constitution")).await.body, format!("# {HASH}\n"));
    assert!(browser.act("action=remove").await.contains("The draft was removed."));
}

#[tokio::test]
async fn who_has_a_second_factor_gives_a_code_that_was_not_used() {
    let fixture = Fixture::start();
    fixture.auth.add_user("ops", &[Role::Administrator], PASSWORD).unwrap();
    let setup = fixture.auth.set_up_second_factor("ops").unwrap();
    let code = |step| crate::auth::tests_code(&setup.secret, step);
    fixture.auth.confirm_second_factor("ops", &code(-1)).unwrap();
    let spare = setup.recovery_codes[0].as_str();
    let token = fixture.auth.sign_in_with("ops", PASSWORD, Some(spare)).await.unwrap().token;
    let browser = Browser::with(&fixture, &token);
    let draft = page(&browser.get(&format!("/administration/drafts/{HASH}?lang=en")).await);
    assert!(draft.contains("one-time-code"), "{draft}");
    let form = |code: &str| format!("action=sign&password=correct+horse+battery&code={code}");
    assert!(browser.act(&form("")).await.contains("has a second factor"));
    let good = code(0);
    assert!(browser.act(&form(&good)).await.contains("Signed with this brand"));
    assert!(browser.act(&form(&good)).await.contains("was used already"));
    assert_eq!(deeds(&fixture).await.len(), 1);
}

#[tokio::test]
async fn files_are_uploaded_within_their_size_and_wrong_signatures_are_refused() {
    let fixture = Fixture::start();
    let browser = Browser::of(&fixture, Role::Administrator);
    let upload = "/administration/drafts?lang=en";
    // the fixture tells how much has come of either
    let kept = browser.upload(upload, &[("constitution", "a = 1\r\n"), ("signatures", "")]).await;
    assert_eq!(kept.status, StatusCode::OK);
    let kept = page(&kept);
    assert!(kept.contains("The draft is kept.") && kept.contains("drafts/7-0/"), "{kept}");
    let none = page(&browser.upload(upload, &[("constitution", "")]).await);
    assert!(none.contains("role=\"alert\"") && none.contains("no file was chosen"), "{none}");
    let large = "x".repeat(multipart::FILES_BYTES_MAX);
    let large = page(&browser.upload(upload, &[("constitution", &large)]).await);
    assert!(large.contains("role=\"alert\"") && large.contains("at most 1 MiB"), "{large}");
    let form = browser.post(upload, "application/x-www-form-urlencoded", b"a=1".to_vec()).await;
    assert!(page(&form).contains("use the form of the page"));

    let path = format!("/administration/drafts/{HASH}/signatures?lang=en");
    let wrong = page(&browser.upload(&path, &[("signatures", "wrong")]).await);
    assert!(wrong.contains("the signature of brand drug does not match"), "{wrong}");
    let right = page(&browser.upload(&path, &[("signatures", "right")]).await);
    assert!(right.contains("The signatures were verified"), "{right}");
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Administrator) {
        let other = Browser::of(&fixture, role);
        let refused = other.upload(upload, &[("constitution", "a")]).await.status;
        assert_eq!(refused, StatusCode::FORBIDDEN, "{role}");
        let refused = other.get(&format!("/administration/drafts/{HASH}")).await.status;
        assert_eq!(refused, StatusCode::FORBIDDEN, "{role}");
    }
}

#[tokio::test]
async fn programs_send_the_same_and_hear_what_was_wrong() {
    let fixture = Fixture::start();
    fixture.auth.add_user("ops", &[Role::Administrator], PASSWORD).unwrap();
    let client = fixture.client();
    client.login("ops", PASSWORD).await.unwrap();
    let path = "/api/v1/constitutions/drafts";
    let constitution = "# ".to_owned() + &"x".repeat(1024 * 1024 - 2);
    let request = DraftRequest { constitution, signatures: None };
    let kept: DraftView = client.post(path, &[], &request).await.unwrap();
    assert_eq!(kept.hash, "1048576-0", "a whole MiB comes through");
    let over = DraftRequest { constitution: "x".repeat(2 * 1024 * 1024), signatures: None };
    let refused = client.post::<_, DraftView>(path, &[], &over).await.unwrap_err().to_string();
    assert!(refused.contains("body_too_large (413)"), "{refused}");

    let of = |rest: &str| format!("{path}/{HASH}{rest}");
    let send = async |path: &str, body: &str| {
        let body = Some(body.to_owned().into());
        client.send(Method::POST, path, &[], body).await.unwrap()
    };
    let wrong = send(&of("/signature"), r#"{"password":"wrong horse battery"}"#).await;
    assert_eq!((wrong.status.as_u16(), code(&wrong).as_str()), (422, "confirmation_refused"));
    let wrong = send(&of("/decision"), r#"{"adopts":true}"#).await;
    assert_eq!((wrong.status.as_u16(), code(&wrong).as_str()), (400, "json_unexpected"));
    let wrong = send(&of("/signatures"), r#"{"signatures":"wrong"}"#).await;
    assert_eq!((wrong.status.as_u16(), code(&wrong).as_str()), (422, "draft_signatures"));
    assert!(deeds(&fixture).await.is_empty());

    let right = r#"{"password":"correct horse battery"}"#;
    let signed = send(&of("/signature"), right).await;
    let signed: DraftView = serde_json::from_slice(&signed.body).unwrap();
    assert_eq!(signed.state, "signed");
    let declines = r#"{"adopts":false,"password":"correct horse battery"}"#;
    let decided = send(&of("/decision"), declines).await;
    assert_eq!(decided.status, StatusCode::ACCEPTED);
    let decided: DraftView = serde_json::from_slice(&decided.body).unwrap();
    assert_eq!(decided.state, "declined");
    let done: Vec<String> = deeds(&fixture).await.into_iter().map(|(_, what)| what).collect();
    assert!(done[0].ends_with(" signed") && done[1].ends_with(" declined"), "{done:?}");
    assert_eq!(client.get_bytes(&of("/signatures")).await.unwrap(), "format = 0\n");
    client.delete(&of("")).await.unwrap();
    let gone = client.get::<DraftView>(&format!("{path}/gone")).await.unwrap_err().to_string();
    assert!(gone.contains("(404)"), "{gone}");

    // who may read them does not sign
    let partner = fixture.client_as(&[Role::Partner]);
    let read: Vec<DraftView> = partner.get(path).await.unwrap();
    assert_eq!(read[0].hash, HASH);
    let refused = partner.send(Method::POST, &of("/signature"), &[], Some(right.into())).await;
    assert_eq!(code(&refused.unwrap()), "role_missing");
}
