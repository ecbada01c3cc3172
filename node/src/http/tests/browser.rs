//! Pages as a browser asks for them: signing in, refusals, statements, and a member's own.

use super::*;

/// From the list on the partner's page to a statement of the calendar and its three files; the form takes the same
/// cut-off as browsers write it, and as people do.
#[tokio::test]
async fn the_partners_page_opens_a_calendars_statement_and_its_downloads() {
    let fixture = Fixture::start();
    let client = fixture.client();
    let cookie = format!("__Host-session-grocer={}", fixture.auth.token_for(&[Role::Partner]));
    let get = async |path: &str| {
        let headers = [("cookie", cookie.as_str())];
        client.send(Method::GET, path, &headers, None).await.unwrap()
    };
    let text = |answer: &Answer| String::from_utf8(answer.body.to_vec()).unwrap();
    let page = text(&get("/partner?lang=en").await);
    let link = "/partner?lang=en&amp;cut_off=1793462399999#statement";
    assert!(page.contains(link) && page.contains("2026-10-31T15:59:59.999Z"), "{page}");
    assert!(page.contains("step=\"0.001\"") && !page.contains("/partner/clearings/"));
    // twelve a page, the next begins behind them
    let last = 1_793_462_399_999_u64 - 11 * 86_400_000;
    assert!(page.contains(&format!("/partner?lang=en&amp;before={last}#clearing-title")));
    let older = text(&get(&format!("/partner?lang=en&before={last}")).await);
    assert!(!older.contains(link) && older.contains(&format!("cut_off={}", last - 86_400_000)));

    for cut_off in
        ["1793462399999", "2026-10-31T15%3A59%3A59.999", "2026-10-31T23%3A59%3A59.999%2B08%3A00"]
    {
        let page = text(&get(&format!("/partner?lang=en&cut_off={cut_off}")).await);
        assert!(page.contains("value=\"2026-10-31T15:59:59.999\""), "{cut_off}: {page}");
        assert!(page.contains("agreed by all"), "{cut_off}: {page}");
        for format in ["csv", "pacs.029", "camt.053"] {
            let path = format!("/partner/clearings/1793462399999/{format}");
            assert!(page.contains(&path), "{path}");
            let file = get(&path).await;
            assert_eq!((file.status, file.body.is_empty()), (StatusCode::OK, false), "{path}");
        }
    }
    let wrong = text(&get("/partner?lang=en&cut_off=noon").await);
    assert!(wrong.contains("a time is written 2026-10-31T15:59:59.999"), "{wrong}");
}

/// What a form gets wrong is told in the language of the page.
#[tokio::test]
async fn a_refusal_on_a_page_is_in_the_language_of_the_page() {
    let fixture = Fixture::start();
    let client = fixture.client();
    let origin = format!("https://{}", client.address());
    let session = format!("__Host-session-grocer={}", fixture.auth.token_for(&Role::ALL));
    let campaign =
        "action=make&name=a&zh=a&en=a&segment=s&from=2026-12-01&to=2026-12-02&count_days=x";
    let segment = "action=count&name=a&zh=a&en=a&tier=&quiet_days=&spent=x&category=&channel=&hours=&lifecycle=";
    let number = ["不是整数：只写数字", "this is no whole number: write digits only"];
    for (path, body, told) in [
        ("/programme/campaigns", campaign, number),
        (
            "/programme/segments",
            segment,
            ["金额格式不正确：例如 128.50", "this is no amount in yuan: write it as in 128.50"],
        ),
        ("/programme/reviews", "action=agree&adjustment=x", number),
        (
            "/staff",
            "action=look&kind=nothing&value=1",
            ["没有这种标识：从列表中选择", "there is no such kind of identifier: one of"],
        ),
    ] {
        for (language, told) in ["zh", "en"].into_iter().zip(told) {
            let mut headers = form(&origin).to_vec();
            headers.push(("cookie", session.as_str()));
            let path = format!("{path}?lang={language}");
            let answer = client.send(Method::POST, &path, &headers, Some(body.into()));
            let answer = answer.await.unwrap();
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            let page = String::from_utf8(answer.body.to_vec()).unwrap();
            assert!(page.contains(told), "{path}: {told}");
        }
    }
}

#[tokio::test]
async fn a_browser_signs_in_looks_and_signs_out() {
    let fixture = Fixture::start();
    let client = fixture.client();
    let origin = format!("https://{}", client.address());
    let get = async |path: &str, cookie: &str| {
        client.send(Method::GET, path, &[("cookie", cookie)], None).await.unwrap()
    };
    let post = async |path: &str, headers: &[(&str, &str)], body: &'static str| {
        client.send(Method::POST, path, headers, Some(body.into())).await.unwrap()
    };
    let page = |answer: &Answer| String::from_utf8(answer.body.to_vec()).unwrap();

    let stranger = get("/?lang=en", "").await;
    assert!(page(&stranger).contains("52,736") && !page(&stranger).contains("1,469,307"));
    let policy = stranger.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'"));

    let wrong = post("/sign-in?lang=en", &form(&origin), "user=ann&password=wrong").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(page(&wrong).contains("is wrong"));
    let right = "user=ann&password=correct+horse%20battery";
    for foreign in ["https://elsewhere.example", "null", "http://127.0.0.1"] {
        let answer = post("/sign-in", &form(foreign), right).await;
        assert_eq!(code(&answer), "origin_foreign");
    }
    let signed_in = post("/sign-in?lang=en", &form(&origin), right).await;
    assert_eq!(signed_in.status, StatusCode::SEE_OTHER);
    let set = signed_in.headers["set-cookie"].to_str().unwrap();
    for attribute in ["__Host-session-grocer=", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(set.contains(attribute), "{set}");
    }
    let cookie = format!("other=1; {}", set.split(';').next().unwrap());
    assert!(page(&get("/?lang=en", &cookie).await).contains("1,469,307"));
    assert!(page(&get("/?lang=zh", &cookie).await).contains("消费明细"));

    // a cookie opens no API route, so no other site can use one
    assert_eq!(code(&get("/api/v1/status", &cookie).await), "token_missing");
    let forged = [form("https://elsewhere.example"), [("cookie", &cookie), ("x", "y")]].concat();
    assert_eq!(code(&post("/sign-out", &forged, "").await), "origin_foreign");

    let own = [form(&origin), [("cookie", &cookie), ("x", "y")]].concat();
    let signed_out = post("/sign-out", &own, "").await;
    assert!(signed_out.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert!(!page(&get("/?lang=en", &cookie).await).contains("1,469,307"));
    assert!(page(&get("/sign-in?lang=en", &cookie).await).contains("session is over"));
}

/// Whoever must have a second factor is led to set one up, with a browser alone, and is then asked for it.
#[tokio::test]
async fn a_second_factor_is_set_up_and_asked_for_on_pages() {
    let fixture = Fixture::start();
    fixture.auth.add_user("olga", &[Role::Officer], PASSWORD).unwrap();
    fixture.auth.require_second_factor(&[Role::Officer]);
    let client = fixture.client();
    let origin = format!("https://{}", client.address());
    let page = |answer: &Answer| String::from_utf8(answer.body.to_vec()).unwrap();
    let post = async |path: &str, cookie: &str, body: String| {
        let headers = [form(&origin), [("cookie", cookie), ("x", "y")]].concat();
        client.send(Method::POST, path, &headers, Some(body.into())).await.unwrap()
    };
    let sign_in = async |code: &str| {
        let body = format!("user=olga&password=correct+horse%20battery&code={code}");
        post("/sign-in?lang=en", "", body).await
    };
    let cookie_of = |answer: &Answer| {
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        let set = answer.headers["set-cookie"].to_str().unwrap();
        set.split(';').next().unwrap().to_owned()
    };

    let cookie = cookie_of(&sign_in("").await);
    let led = client.send(Method::GET, "/officer", &[("cookie", &cookie)], None).await.unwrap();
    assert_eq!(led.status, StatusCode::SEE_OTHER);
    assert!(led.headers["location"].to_str().unwrap().starts_with("/second-factor"));
    let path = "/second-factor?lang=en";
    let begun = post(path, &cookie, "action=begin".into()).await;
    let text = page(&begun);
    let (_, rest) = text.split_once("secret=").unwrap();
    let secret: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    let wrong = post(path, &cookie, "action=confirm&code=000000".into()).await;
    assert!(page(&wrong).contains("wrong or too old") && page(&wrong).contains("id=\"code\""));
    let code = crate::auth::tests_code(&secret, -1);
    let confirmed = post(path, &cookie, format!("action=confirm&code={code}")).await;
    assert!(confirmed.headers["location"].to_str().unwrap().starts_with("/sign-in"));

    // from now on it is asked for, and then everything is open
    let asked = sign_in("").await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    assert!(page(&asked).contains("has a second factor"));
    assert!(page(&sign_in("123456").await).contains("wait for the next one"));
    let cookie = cookie_of(&sign_in(&crate::auth::tests_code(&secret, 0)).await);
    let seen = client.send(Method::GET, "/officer", &[("cookie", &cookie)], None).await.unwrap();
    assert_eq!(seen.status, StatusCode::OK);
    let own = client.send(Method::GET, path, &[("cookie", &cookie)], None).await.unwrap();
    assert!(page(&own).contains("In use"));
    // and an administrator ends the session
    let cookie_of_ann =
        format!("__Host-session-grocer={}", fixture.auth.token_for(&[Role::Administrator]));
    let body = "action=end_sessions&user=olga".to_owned();
    let ended = post("/administration?lang=en", &cookie_of_ann, body).await;
    assert!(page(&ended).contains("Sessions that were ended: 1"), "{}", page(&ended));
    let over = client.send(Method::GET, "/officer", &[("cookie", &cookie)], None).await.unwrap();
    assert!(over.headers["location"].to_str().unwrap().starts_with("/sign-in"));
}

#[tokio::test]
async fn a_member_opens_the_own_pages_by_a_code_that_is_good_once() {
    let fixture = Fixture::start();
    let client = fixture.client();
    let origin = format!("https://{}", client.address());
    let get = async |path: &str, cookie: &str| {
        client.send(Method::GET, path, &[("cookie", cookie)], None).await.unwrap()
    };
    let post = async |path: &str, cookie: &str, body: String| {
        let mut headers = form(&origin).to_vec();
        headers.push(("cookie", cookie));
        client.send(Method::POST, path, &headers, Some(body.into())).await.unwrap()
    };
    let page = |answer: &Answer| String::from_utf8(answer.body.to_vec()).unwrap();

    // handed out at the counter, on record
    let staff = fixture.auth.token_for(&[Role::Store]);
    let staff = format!("__Host-session-grocer={staff}");
    let looked = post("/staff?lang=en", &staff, "action=look&kind=phone&value=13812345678".into());
    let looked = page(&looked.await);
    assert!(looked.contains("138****5678") && !looked.contains("13812345678"), "{looked}");
    let member = looked.split("name=\"member\" value=\"").nth(1).unwrap();
    let member = member.split('"').next().unwrap();
    let body = format!("action=hand_out&member={}", member.replace('~', "%7E"));
    let handed = page(&post("/staff?lang=en", &staff, body).await);
    let once = handed.split("<strong class=\"code\">").nth(1).unwrap().split('<').next().unwrap();
    let officer = fixture.client_as(&[Role::Officer]);
    let log: Vec<OperationView> = officer.get("/api/v1/operations").await.unwrap();
    let said: Vec<&str> = log.iter().map(|it| it.what.as_str()).collect();
    assert!(said.contains(&"a code for the member's own pages"), "{said:?}");
    assert!(log.iter().all(|it| !format!("{it:?}").contains("13812345678")), "{log:?}");
    // a number that nobody has is a trace, too, without the number
    let nobody = post("/staff?lang=en", &staff, "action=look&kind=phone&value=13900000000".into());
    assert!(page(&nobody.await).contains("no member has"));
    let log: Vec<OperationView> = officer.get("/api/v1/operations").await.unwrap();
    assert_eq!(log.last().unwrap().what, "a look-up that found nobody");

    // looking at the link uses nothing up; a form of elsewhere opens nothing
    let shown = get(&format!("/my/sign-in?lang=en&code={once}"), "").await;
    assert!(page(&shown).contains(once));
    let foreign = [("origin", "https://elsewhere.example"), form(&origin)[1]];
    let body = format!("code={once}");
    let answer = client.send(Method::POST, "/my/sign-in", &foreign, Some(body.clone().into()));
    assert_eq!(code(&answer.await.unwrap()), "origin_foreign");
    let begun = post("/my/sign-in?lang=en", "", body.clone()).await;
    assert_eq!(
        (begun.status, &begun.headers["location"]),
        (StatusCode::SEE_OTHER, &"/my?lang=en".parse().unwrap())
    );
    let cookie = begun.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.ends_with("Path=/; Secure; HttpOnly; SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let again = post("/my/sign-in?lang=en", "", body).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    assert!(page(&again).contains("was used already"));

    // the own account and nothing of the console's
    let own = page(&get("/my?lang=en", &cookie).await);
    assert!(own.contains("My account") && own.contains("Take back"), "{own}");
    assert_eq!(get("/staff", &cookie).await.status, StatusCode::SEE_OTHER);
    let token = cookie.split_once('=').unwrap().1;
    assert_eq!(get("/staff", &format!("__Host-session-grocer={token}")).await.status, 303);
    let told = "action=consent&purpose=exchange&receiver=&granted=no&notice=1".to_owned();
    assert!(page(&post("/my?lang=en", &cookie, told).await).contains("taken your agreement back"));
    let stale = "action=consent&purpose=exchange&receiver=&granted=yes&notice=9".to_owned();
    assert!(
        page(&post("/my?lang=en", &cookie, stale).await)
            .contains("notice on the use of data was changed")
    );
    let asked = "action=request&kind=correction&words=my+name".to_owned();
    let asked = page(&post("/my?lang=en", &cookie, asked).await);
    assert!(asked.contains("Your request is entered") && asked.contains("to be done by"));
    let export = get("/my/export", &cookie).await;
    assert!(export.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
    let export: serde_json::Value = serde_json::from_slice(&export.body).unwrap();
    assert_eq!(export["attributes"]["name"], "Li Lei");
    let foreign = get("/my/exchanges/7/receipt", &cookie).await;
    assert_eq!((foreign.status.as_u16(), code(&foreign).as_str()), (404, "exchange_unknown"));

    // not confirmed, nothing is erased; confirmed, the session is over
    let kept = page(&post("/my?lang=en", &cookie, "action=erase".into()).await);
    assert!(kept.contains("nothing was erased"));
    let erased = post("/my?lang=en", &cookie, "action=erase&confirm=erase".into()).await;
    assert!(erased.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert!(page(&erased).contains("/api/v1/certificates/"), "{}", page(&erased));
    assert_eq!(get("/my", &cookie).await.status, StatusCode::SEE_OTHER);
}
