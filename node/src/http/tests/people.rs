//! People: enrolled at the counter and by programs, and what they see, correct and have erased.

use super::*;

#[tokio::test]
async fn a_person_is_enrolled_on_the_counters_page() {
    let fixture = Fixture::start();
    let client = fixture.client();
    let origin = format!("https://{}", client.address());
    let staff = format!("__Host-session-grocer={}", fixture.auth.token_for(&[Role::Store]));
    let post = async |body: &str| {
        let mut headers = form(&origin).to_vec();
        headers.push(("cookie", staff.as_str()));
        let body = Some(body.to_owned().into());
        let answer = client.send(Method::POST, "/staff?lang=en", &headers, body).await.unwrap();
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    let filled = "action=enrol&card=PAGE-CARD-1&phone=13900002222&born=&notice=3&guardian=";
    let page = post(filled).await;
    assert!(page.contains("Enrolled.") && page.contains("139****2222"), "{page}");
    assert!(!page.contains("13900002222") && !page.contains("PAGE-CARD-1"), "{page}");
    assert!(post(filled).await.contains("was a member before"));
    let other = filled.replace("PAGE-CARD-1", "PAGE-CARD-2");
    assert!(post(&other).await.contains("another member&#39;s and was not entered"));
    let child = "action=enrol&card=PAGE-CARD-3&phone=&born=2024-02-29&notice=3&guardian=";
    let refused = post(child).await;
    assert!(refused.contains("PIPL art. 31") && !refused.contains("Enrolled."), "{refused}");
    let nobody = "action=enrol&card=&phone=&born=&notice=&guardian=";
    assert!(post(nobody).await.contains("nothing says who the member is"));
}

#[tokio::test]
async fn staff_enrols_a_person_once_and_a_child_by_a_guardian() {
    use crate::desk::MemberRecordView;
    let fixture = Fixture::start();
    let staff = fixture.client_as(&[Role::Store]);
    let of = |kind: &str, value: &str| IdentifierRequest {
        kind: kind.to_owned(),
        value: value.to_owned(),
    };
    let phone = of("phone", "139 0000 1111");
    let consent = ConsentRequest {
        purpose: "programme".to_owned(),
        granted: true,
        notice_version: 2,
        ..ConsentRequest::default()
    };
    let mut request = EnrolmentRequest {
        card: Some("NEW-CARD-1".to_owned()),
        identifiers: vec![phone.clone()],
        consents: vec![consent],
        ..EnrolmentRequest::default()
    };
    let path = "/api/v1/members";
    let first: EnrolmentView = staff.post(path, &[], &request).await.unwrap();
    assert!(first.new && first.refused.is_empty());
    let again: EnrolmentView = staff.post(path, &[], &request).await.unwrap();
    assert_eq!((again.new, &again.member), (false, &first.member));
    let record: MemberRecordView =
        staff.post("/api/v1/members/look-up", &[], &phone).await.unwrap();
    assert_eq!((record.member, record.consents.unwrap().len()), (first.member, 1));

    // whose phone number it is, is not for whoever comes with another card
    request.card = Some("NEW-CARD-2".to_owned());
    let other: EnrolmentView = staff.post(path, &[], &request).await.unwrap();
    assert_eq!((other.new, other.absorbed, other.to_review), (true, 0, 1));
    assert_eq!(other.refused, ["phone"]);
    let refused = async |request: &EnrolmentRequest| {
        staff.post::<_, EnrolmentView>(path, &[], request).await.unwrap_err().to_string()
    };
    request.card = Some("NEW-CARD-3".to_owned());
    request.attributes = [("birth_date".to_owned(), "2024-02-29".to_owned())].into();
    let guardian = refused(&request).await;
    assert!(guardian.contains("guardian"), "{guardian}");
    request.attributes = [("birth_date".to_owned(), "29.2.2024".to_owned())].into();
    assert!(refused(&request).await.contains("YYYY-MM-DD"));
    request.attributes = [("birth_date".to_owned(), "2024-02-29".to_owned())].into();
    request.consents[0].guardian = Some("parent".to_owned());
    let child: EnrolmentView = staff.post(path, &[], &request).await.unwrap();
    assert!(child.new);
    let nobody = refused(&EnrolmentRequest::default()).await;
    assert!(nobody.contains("enrolment_nobodys"), "{nobody}");

    // by an account alone, too; and the app hears by which number a till names whom it recognised
    let account = of("wechat_open_id", "oABCDEFGHIJKLMNOPQRST");
    let request =
        EnrolmentRequest { identifiers: vec![account.clone()], ..EnrolmentRequest::default() };
    let named: EnrolmentView = staff.post(path, &[], &request).await.unwrap();
    let app = fixture.client_as(&[Role::App]);
    let seen = SightingRequest { identifiers: vec![account] };
    let view: SightingView = app.post("/api/v1/sightings", &[], &seen).await.unwrap();
    assert_eq!((view.new, &view.member), (false, &named.member));
    assert!(view.card.unwrap().starts_with("M-"));

    let officer = fixture.client_as(&[Role::Officer]);
    let log: Vec<OperationView> = officer.get("/api/v1/operations").await.unwrap();
    let enrolled = |it: &&OperationView| it.deed == "enrol" && it.what == "enrolled";
    assert_eq!(log.iter().filter(enrolled).count(), 4);
    let text = serde_json::to_string(&log).unwrap();
    assert!(!text.contains("NEW-CARD-1") && !text.contains("13900001111"), "{text}");
}

/// From the app that recognised a member to the certificate the member keeps.
#[tokio::test]
async fn a_member_sees_corrects_and_erases_what_is_held() {
    use crate::desk::{MemberExport, MemberRecordView, RequestView};
    let fixture = Fixture::start();
    let app = fixture.client_as(&[Role::App]);
    let card = MemberSessionRequest { card: "1".to_owned() };
    let begun: MemberSessionView = app.post("/api/v1/member-sessions", &[], &card).await.unwrap();
    let unknown = MemberSessionRequest { card: "nobody".to_owned() };
    let refused = app.post::<_, MemberSessionView>("/api/v1/member-sessions", &[], &unknown).await;
    assert!(refused.is_err());
    let member = fixture.client();
    member.use_token(&begun.token);
    let own: MemberExport = member.get("/api/v1/me").await.unwrap();
    assert_eq!(own.attributes["name"], "Li Lei");
    assert_eq!((own.identifiers.len(), own.points_available), (2, 7));
    let phone = own.identifiers.iter().find(|it| it.kind == "phone").unwrap();
    assert_eq!(phone.value.as_deref(), Some("+8613812345678"), "the member's own is whole");
    let correction = CorrectionRequest {
        attributes: [("name".to_owned(), Some("Li Lei Lei".to_owned()))].into(),
        ..CorrectionRequest::default()
    };
    let () = member.post("/api/v1/me/corrections", &[], &correction).await.unwrap();
    let consent = ConsentRequest {
        purpose: "marketing".to_owned(),
        granted: true,
        notice_version: 4,
        ..ConsentRequest::default()
    };
    let () = member.post("/api/v1/me/consents", &[], &consent).await.unwrap();
    let asked = RequestRequest { kind: "explanation".to_owned(), words: None };
    let _: RequestView = member.post("/api/v1/me/requests", &[], &asked).await.unwrap();

    // staff see of it what staff see
    let staff = fixture.client_as(&[Role::Store]);
    let by = IdentifierRequest { kind: "phone".to_owned(), value: "138 1234 5678".to_owned() };
    let record: MemberRecordView = staff.post("/api/v1/members/look-up", &[], &by).await.unwrap();
    assert!(record.identifiers.iter().any(|it| it.shown == "138****5678"));
    assert_eq!(record.attributes["name"], "L**");
    assert!(record.requests.is_none() && record.consents.is_some());
    let path = format!("/api/v1/members/{}/record", record.member);
    let officer = fixture.client_as(&[Role::Officer]);
    let record: MemberRecordView = officer.get(&path).await.unwrap();
    assert_eq!(record.requests.unwrap().len(), 1);

    // what is not confirmed is not done
    let no = OwnErasureRequest { confirm: "yes".to_owned() };
    assert!(member.post::<_, RequestView>("/api/v1/me/erasure", &[], &no).await.is_err());
    let yes = OwnErasureRequest { confirm: "erase".to_owned() };
    let done: RequestView = member.post("/api/v1/me/erasure", &[], &yes).await.unwrap();
    assert_eq!(done.state, "done");
    let over = member.get::<MemberExport>("/api/v1/me").await.unwrap_err().to_string();
    assert!(over.contains("token_unknown"), "{over}");
    let path = format!("/api/v1/certificates/{}", done.certificate.unwrap());
    let kept: CertificateView = fixture.client().get(&path).await.unwrap();
    let certificate: crate::desk::Certificate = serde_json::from_str(&kept.certificate).unwrap();
    assert!(certificate.is_about("1") && kept.receipt.is_some());

    // and all of it is in the operation log, with nothing in clear
    let log: Vec<OperationView> = officer.get("/api/v1/operations").await.unwrap();
    let deeds: Vec<(&str, &str)> =
        log.iter().map(|it| (it.by.as_str(), it.deed.as_str())).collect();
    assert_eq!(
        deeds,
        [
            ("test", "session"),
            ("member", "export"),
            ("member", "correct"),
            ("member", "consent"),
            ("member", "request"),
            ("test", "read"),
            ("test", "read"),
            ("member", "request"),
            ("member", "request"),
            ("member", "erase"),
        ]
    );
    let text = serde_json::to_string(&log).unwrap();
    assert!(!text.contains("13812345678") && !text.contains("Li Lei"), "{text}");
    let head = log
        .iter()
        .fold(crate::desk::Head::default(), |head, view| head.after(&view.to_operation().unwrap()));
    assert_eq!(head.entries, log.len() as u64);
}
