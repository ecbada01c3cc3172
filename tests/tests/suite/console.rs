//! Pages as a browser uses them, over HTTPS, at running nodes: what their forms do.

use node::auth::Role;
use node::client::{Answer, Client, Method, StatusCode};

use super::alliance::{Alliance, eventually};

const PASSWORD: &str = "correct horse battery staple";
const QUESTION: &str = "SELECT count(distinct member) AS members FROM purchases";

/// A browser that is signed in.
struct Browser {
    client: Client,
    origin: String,
    cookie: String,
}

impl Browser {
    async fn sign_in(client: Client, user: &str) -> Self {
        let origin = format!("https://{}", client.address());
        let mut browser = Self { client, origin, cookie: "none=1".to_owned() };
        let answer = browser.post("/sign-in", &[("user", user), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        let cookie = answer.headers["set-cookie"].to_str().unwrap();
        browser.cookie = cookie.split(';').next().unwrap().to_owned();
        browser
    }

    async fn get(&self, path: &str) -> Answer {
        self.client.send(Method::GET, path, &[("cookie", &self.cookie)], None).await.unwrap()
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let headers = [
            ("cookie", self.cookie.as_str()),
            ("origin", &self.origin),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let encoded =
            |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02x}")).collect() };
        let fields = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        let body = fields.collect::<Vec<_>>().join("&");
        self.client.send(Method::POST, path, &headers, Some(body.into())).await.unwrap()
    }
}

fn page(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).unwrap()
}

/// What stands in a hidden field.
fn hidden<'p>(page: &'p str, name: &str) -> &'p str {
    let (_, after) = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
    after.split('"').next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyst_an_officer_and_an_administrator_do_their_work_on_pages() {
    let alliance = Alliance::of_the_sample().await;
    alliance.import("grocer_one").await;
    let (auth, certificate, served) = alliance.serve("grocer_one");
    auth.add_user("lin", &[Role::Analyst], PASSWORD).unwrap();
    auth.add_user("ops", &[Role::Administrator], PASSWORD).unwrap();
    auth.add_user("wu", &[Role::Officer], PASSWORD).unwrap();
    let client = || Client::connect(served.address, &certificate).unwrap();
    let analyst = Browser::sign_in(client(), "lin").await;
    let node = alliance.node("grocer_one");
    let spent = || node.status().budget.unwrap().spent_pico_rho;
    let before = spent();

    // a wrong question is told what would be right; nothing is asked by seeing what one costs
    let fields = [("sql", "SELECT brnd FROM purchases"), ("scope", "local"), ("rho", "")];
    let wrong =
        page(&analyst.post("/questions", &[&[("action", "plan")], &fields[..]].concat()).await);
    assert!(wrong.contains("role=\"alert\"") && wrong.contains("department"), "{wrong}");
    let fields = [("sql", QUESTION), ("scope", "local"), ("rho", "0.001"), ("action", "plan")];
    let planned = page(&analyst.post("/questions?lang=en", &fields).await);
    assert!(planned.contains("Cost and expected error") && planned.contains("0.001"));
    let plan = hidden(&planned, "plan").to_owned();
    // asked with a plan that was not shown, nothing happens
    let ask = |plan: &str| -> Vec<(&'static str, String)> {
        let fields = [("sql", QUESTION), ("scope", "local"), ("rho", "0.001"), ("action", "ask")];
        let fields = fields.map(|(name, value)| (name, value.to_owned()));
        [fields.to_vec(), vec![("plan", plan.to_owned())]].concat()
    };
    let send = async |fields: &[(&'static str, String)]| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        analyst.post("/questions?lang=en", &fields).await
    };
    let unseen = send(&ask(&"0".repeat(64))).await;
    assert_eq!(unseen.status, StatusCode::OK);
    assert!(page(&unseen).contains("role=\"alert\""));
    assert!(node.queries(10).await.unwrap().is_empty());

    // asked twice it is one question, charged once
    let asked = send(&ask(&plan)).await;
    assert_eq!(asked.status, StatusCode::SEE_OTHER);
    let path = asked.headers["location"].to_str().unwrap().to_owned();
    let again = send(&ask(&plan)).await;
    assert_eq!(again.headers["location"].to_str().unwrap(), path);
    eventually("the page has the answer", async || {
        page(&analyst.get(&path).await).contains("Privacy statement")
    })
    .await;
    let file = path.split('?').next().unwrap().to_owned() + "/csv";
    let csv = analyst.get(&file).await;
    assert!(csv.headers["content-type"].to_str().unwrap().starts_with("text/csv"));
    assert!(page(&csv).starts_with('#') && page(&csv).contains("members,members_low"));
    assert_eq!(node.queries(10).await.unwrap().len(), 1);
    assert_eq!(spent(), before, "the brand's local account paid, not the joint one");
    assert!(page(&analyst.get("/questions?lang=en").await).contains(&path));
    // and her page is not the officer's
    assert_eq!(analyst.get("/records").await.status, StatusCode::FORBIDDEN);

    // a member's request is answered on the officer's page, and who did it is on record there
    let card = node.cards(0, None, 1).await.unwrap().remove(0);
    let request = node::service::RequestRequest { kind: "access".into(), words: None };
    let request = node.open_request("ann", card.clone(), request).await.unwrap();
    let officer = Browser::sign_in(client(), "wu").await;
    let shown = page(&officer.get("/records?lang=en").await);
    assert_eq!(hidden(&shown, "request"), request.id);
    assert!(!shown.contains(&card), "cards are not shown whole");
    let answer = |outcome: &'static str, why: &'static str| {
        let id = request.id.clone();
        let officer = &officer;
        async move {
            let fields =
                [("action", "answer"), ("request", &id), ("outcome", outcome), ("why", why)];
            page(&officer.post("/records?lang=en", &fields).await)
        }
    };
    assert!(answer("refused", "").await.contains("role=\"alert\""), "a refusal needs a reason");
    let done = answer("done", "").await;
    assert!(done.contains("The request is answered.") && done.contains("No request is open."));
    assert!(done.contains("request for access: done") && done.contains("<td>wu</td>"));
    // that members need not be told of a breach needs a reason as well
    let fields =
        [("action", "breach"), ("what", "a phone"), ("measures", "wiped"), ("members", "3")];
    let entered = page(&officer.post("/records?lang=en", &fields).await);
    let number = hidden(&entered, "number").to_owned();
    let fields = [("action", "told"), ("number", &number), ("who", "need_not"), ("why", " ")];
    let refused = page(&officer.post("/records?lang=en", &fields).await);
    assert!(refused.contains("role=\"alert\"") && refused.contains("write why"), "{refused}");

    // and an administrator backs it all up, once
    let administrator = Browser::sign_in(client(), "ops").await;
    let shown = page(&administrator.get("/administration?lang=en").await);
    assert!(
        shown.contains("none since the node was started") && shown.contains("<td>officer</td>")
    );
    let folder = alliance.folder.path().join("backup");
    let fields = [("action", "back_up"), ("folder", folder.to_str().unwrap())];
    let begun = page(&administrator.post("/administration?lang=en", &fields).await);
    assert!(begun.contains("The backup has begun."), "{begun}");
    eventually("the backup is complete", async || {
        let shown = page(&administrator.get("/administration?lang=en").await);
        shown.contains("the latest is complete")
    })
    .await;
    let again = page(&administrator.post("/administration?lang=en", &fields).await);
    assert!(again.contains("role=\"alert\""), "a folder that is there is not written over");
    assert_eq!(analyst.get("/administration").await.status, StatusCode::FORBIDDEN);
    served.shutdown.begin();
}
