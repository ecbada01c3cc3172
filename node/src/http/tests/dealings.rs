//! The forms of the counter's page and of a member's own page for what reaches other brands, and for what staff
//! does to a member's account.

use super::*;

/// Somebody with a browser, signed in.
struct Browser {
    client: Client,
    origin: String,
    cookie: String,
}

impl Browser {
    fn of(fixture: &Fixture, cookie: String) -> Self {
        let client = fixture.client();
        let origin = format!("https://{}", client.address());
        Self { client, origin, cookie }
    }
    fn staff(fixture: &Fixture, roles: &[Role]) -> Self {
        let token = fixture.auth.token_for(roles);
        Self::of(fixture, format!("__Host-session-grocer={token}"))
    }
    async fn post(&self, path: &str, origin: &str, body: &str) -> Answer {
        let mut headers = form(origin).to_vec();
        headers.push(("cookie", self.cookie.as_str()));
        let sent = self.client.send(Method::POST, path, &headers, Some(body.to_owned().into()));
        sent.await.unwrap()
    }
    async fn page(&self, path: &str, body: &str) -> String {
        let answer = self.post(path, &self.origin, body).await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{body}: {text}");
        text
    }
}

/// The member as the counter's page names one, whoever looked.
async fn found(staff: &Browser) -> (String, String) {
    let looked = staff.page("/staff?lang=en", "action=look&kind=phone&value=13812345678").await;
    let member = looked.split("name=\"member\" value=\"").nth(1).unwrap();
    let member = member.split('"').next().unwrap().replace('~', "%7E");
    (member, looked)
}

/// What a session of the member's asks with.
async fn own(fixture: &Fixture) -> Browser {
    let app = fixture.client_as(&[Role::App]);
    let card = MemberSessionRequest { card: "1".to_owned() };
    let code: MemberCodeView = app.post("/api/v1/member-codes", &[], &card).await.unwrap();
    let nobody = Browser::of(fixture, String::new());
    let begun =
        nobody.post("/my/sign-in?lang=en", &nobody.origin, &format!("code={}", code.code)).await;
    let cookie = begun.headers["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    Browser::of(fixture, cookie)
}

async fn deeds(fixture: &Fixture) -> Vec<(String, String, String)> {
    let officer = fixture.client_as(&[Role::Officer]);
    let log: Vec<OperationView> = officer.get("/api/v1/operations").await.unwrap();
    assert!(log.iter().all(|it| !format!("{it:?}").contains("13812345678")), "{log:?}");
    log.into_iter().map(|it| (it.by, it.deed, it.what)).collect()
}

#[tokio::test]
async fn the_counter_links_exchanges_and_does_what_the_api_lets_its_role_do() {
    let fixture = Fixture::start();
    let staff = Browser::staff(&fixture, &[Role::Store]);
    let (member, looked) = found(&staff).await;
    // no coupon is given by whom the API does not let give one
    assert!(looked.contains("value=\"adjust\"") && !looked.contains("value=\"give\""), "{looked}");
    let refused = format!("action=give&member={member}&key=k0&kind=ten");
    let refused = staff.page("/staff?lang=en", &refused).await;
    assert!(refused.contains("this needs the role partner"), "{refused}");

    for (form, said) in [
        // the node of the test answers with the brand as the code
        (format!("action=link_code&member={member}&brand=drug"), ">drug</strong>"),
        (
            format!("action=link&member={member}&brand=drug&code=K7M2Q4XW9P"),
            "The other brand is asked",
        ),
        (
            format!("action=exchange&member={member}&key=k1&to=drug&points=40"),
            "40 points are on their way",
        ),
        (
            format!("action=exchange&member={member}&key=k2&to=drug&points=1001"),
            "the member has fewer points",
        ),
        (
            format!("action=exchange&member={member}&key=k3&to=drug&points=4.5"),
            "this is no whole number",
        ),
        (
            format!("action=send_back&member={member}&key=k4&from=drug&leaf=7&points=4"),
            "on their way back",
        ),
        (
            format!("action=pay&member={member}&key=k7&points=100&yuan=12.50"),
            "Paid with points: 0.00 yuan off",
        ),
        (
            format!("action=pay&member={member}&key=k7&points=100&yuan=lots"),
            "this is no amount in yuan",
        ),
        (
            format!(
                "action=redeem&member={member}&key=k11&code=7QZ4-M3KD-0X9V&yuan=50.00&place=shop_1"
            ),
            "The coupon is redeemed: 0.00 yuan off this basket.",
        ),
        (
            format!("action=redeem&member={member}&key=k12&code=7QZ4&yuan=lots&place=shop_1"),
            "this is no amount in yuan",
        ),
        (
            format!("action=hand_over&member={member}&key=k8&hold=a1b2"),
            "The reward is handed over.",
        ),
        // the node of the test answers with the key as the state
        (
            format!("action=hand_over&member={member}&key=repeated&hold=a1b2"),
            "This reward was handed over before: give nothing now.",
        ),
        (
            format!("action=adjust&member={member}&key=k5&points=-20&reason=returned"),
            "The correction is booked",
        ),
        (
            format!("action=adjust&member={member}&key=k6&points=some&reason=returned"),
            "this is no whole number",
        ),
        (
            format!("action=request&member={member}&kind=correction&words=the+name"),
            "The request is entered as ",
        ),
        (
            format!(
                "action=consent&member={member}&of=marketing&granted=no&notice=1&guardian=parent"
            ),
            "It is entered that the consent is taken back",
        ),
        (
            format!(
                "action=consent&member={member}&of=exchange+drug&granted=yes&notice=99&guardian="
            ),
            "the notice was changed",
        ),
    ] {
        let page = staff.page("/staff?lang=en", &form).await;
        assert!(page.contains(said), "{form}: {page}");
        assert!(page.contains("138****5678") && !page.contains("13812345678"), "{form}");
    }
    let chinese = format!("action=exchange&member={member}&key=k2&to=drug&points=1001");
    assert!(staff.page("/staff?lang=zh", &chinese).await.contains("积分不足：不超过可用积分"));

    // on record, under the name of who did it
    let log = deeds(&fixture).await;
    for (deed, what) in [
        ("link", "a code for another brand"),
        ("link", "a link to another brand"),
        ("exchange", "points to another brand"),
        ("exchange", "points back to another brand"),
        ("request", "request for correction entered"),
    ] {
        let entry = ("test".to_owned(), deed.to_owned(), what.to_owned());
        assert!(log.contains(&entry), "{deed}: {log:?}");
    }
    assert!(log.iter().any(|(by, deed, _)| (by.as_str(), deed.as_str()) == ("test", "consent")));

    // a form of elsewhere, or another role's, does nothing
    let form = format!("action=exchange&member={member}&key=k9&to=drug&points=1");
    let forged = staff.post("/staff", "https://elsewhere.example", &form).await;
    assert_eq!(code(&forged), "origin_foreign");
    let partner = Browser::staff(&fixture, &[Role::Partner]);
    let answer = partner.post("/staff?lang=en", &partner.origin, &form).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(deeds(&fixture).await.len(), log.len());
}

/// The page says what was done, in its language, and the operation log what was asked for; the reason and the answer,
/// which are free text, are not in it.
#[tokio::test]
async fn who_reviews_decides_on_the_page_and_reads_there_what_was_done() {
    let fixture = Fixture::start();
    for role in [Role::Officer, Role::Partner] {
        let reviewer = Browser::staff(&fixture, &[role]);
        for (form, zh, en) in [
            ("action=release&case=3&reason=", "已复核。", "The case is closed."),
            ("action=refuse&case=4&reason=tampered+with", "已复核。", "The case is closed."),
            ("action=decline&adjustment=5", "已决定。", "The correction is decided."),
            ("action=answer&request=6&text=on+Monday", "已答复。", "The request is answered."),
            ("action=refuse&case=x&reason=y", "不是整数：只写数字", "this is no whole number"),
        ] {
            for (language, said) in [("zh", zh), ("en", en)] {
                let path = format!("/programme/reviews?lang={language}");
                let page = reviewer.page(&path, form).await;
                assert!(page.contains(said), "{form}: {page}");
            }
        }
    }
    let log = deeds(&fixture).await;
    // nothing is open at the node of the test
    for (deed, what) in [
        ("review", "case 3 is not open: cleared asked for"),
        ("review", "case 4 is not open: stopped asked for"),
        ("request", "service request 6 is not open: an answer asked for"),
    ] {
        let entry = ("test".to_owned(), deed.to_owned(), what.to_owned());
        assert!(log.contains(&entry), "{what}: {log:?}");
    }
    let typed = |it: &(String, String, String)| {
        it.2.contains("tampered") || it.2.contains("Monday") || it.2.contains("case x")
    };
    assert!(!log.iter().any(typed), "{log:?}");

    // neither a form of elsewhere nor another role decides
    let form = "action=release&case=3&reason=";
    let reviewer = Browser::staff(&fixture, &[Role::Officer]);
    let forged = reviewer.post("/programme/reviews", "https://elsewhere.example", form).await;
    assert_eq!(code(&forged), "origin_foreign");
    let store = Browser::staff(&fixture, &[Role::Store]);
    let answer = store.post("/programme/reviews", &store.origin, form).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(deeds(&fixture).await.len(), log.len());
}

#[tokio::test]
async fn who_may_give_coupons_does_so_at_the_counter_too() {
    let fixture = Fixture::start();
    let both = Browser::staff(&fixture, &[Role::Store, Role::Partner]);
    let (member, _) = found(&both).await;
    let given = format!("action=give&member={member}&key=k1&kind=ten");
    assert!(both.page("/staff?lang=en", &given).await.contains("The member has the coupon."));
}

#[tokio::test]
async fn a_member_links_exchanges_and_sends_back_on_the_own_page() {
    let fixture = Fixture::start();
    let own = own(&fixture).await;
    for (form, said) in [
        ("action=link_code&key=k1&brand=drug", "class=\"code\">drug</strong>"),
        ("action=link&key=k2&brand=drug&code=+K7M2Q4XW9P+", "The other brand is asked"),
        ("action=exchange&key=k3&to=drug&points=40", "Your points are on their way;"),
        ("action=exchange&key=k4&to=drug&points=1001", "You have fewer points than that."),
        ("action=exchange&key=k5&to=drug&points=x", "Write how many points"),
        ("action=send_back&key=k6&from=drug&leaf=7&points=4", "on their way back"),
    ] {
        let page = own.page("/my?lang=en", form).await;
        assert!(page.contains(said), "{form}: {page}");
    }
    let chinese = "action=exchange&key=k4&to=drug&points=1001";
    assert!(own.page("/my?lang=zh", chinese).await.contains("积分不足。"));
    let log = deeds(&fixture).await;
    let by_member = |what: &str| log.iter().filter(|it| it.0 == "member" && it.2 == what).count();
    assert_eq!(by_member("a code for another brand"), 1);
    assert_eq!(by_member("a link to another brand"), 1);
    // also what was refused was asked for; what is no number was not
    assert_eq!(by_member("points to another brand"), 3);
    assert_eq!(by_member("points back to another brand"), 1);

    // a form of elsewhere does nothing, nor does a user of the node
    let form = "action=exchange&key=k9&to=drug&points=1";
    let forged = own.post("/my", "https://elsewhere.example", form).await;
    assert_eq!(code(&forged), "origin_foreign");
    let user = fixture.auth.token_for(&Role::ALL);
    let user = Browser::of(&fixture, format!("__Host-member-grocer={user}"));
    let led = user.post("/my", &user.origin, form).await;
    assert_eq!(led.status, StatusCode::SEE_OTHER);
    assert_eq!(deeds(&fixture).await.len(), log.len());
}

/// The same by the brand's app.
#[tokio::test]
async fn the_app_exchanges_for_its_member_with_the_members_session() {
    let fixture = Fixture::start();
    let app = fixture.client_as(&[Role::App]);
    let card = MemberSessionRequest { card: "1".to_owned() };
    let begun: MemberSessionView = app.post("/api/v1/member-sessions", &[], &card).await.unwrap();
    let member = fixture.client();
    member.use_token(&begun.token);
    let act = async |key: &str, action: &OwnAction| {
        let key = [("idempotency-key", key)];
        member.post::<_, DoneView>("/api/v1/me/actions", &key, action).await
    };
    let exchange = |points| OwnAction::Exchange { to: "drug".to_owned(), points };
    let done = act("k1", &exchange(40)).await.unwrap();
    assert_eq!(done.exchange.as_deref(), Some("k1"));
    let refused = act("k2", &exchange(1001)).await.unwrap_err().to_string();
    assert!(refused.contains("balance_too_low"), "{refused}");
    let code = OwnAction::LinkCode { brand: "drug".to_owned() };
    let done = act("k3", &code).await.unwrap();
    assert_eq!((done.code.as_deref(), done.until_ms), (Some("drug"), Some(1)));
}
