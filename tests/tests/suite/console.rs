//! Pages as a browser uses them, over HTTPS, at running nodes: what their forms do.

use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use node::auth::Role;
use node::client::{Answer, Client, Method, StatusCode};
use node::service::{AddedUpView, PeriodRequest};
use privacy::accounting::Evidence;

use super::alliance::{Alliance, eventually, first_of};

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

impl Browser {
    /// Sends a file with a form.
    async fn upload(&self, path: &str, name: &str, file: &str) -> Answer {
        let headers = [
            ("cookie", self.cookie.as_str()),
            ("origin", &self.origin),
            ("content-type", "multipart/form-data; boundary=bound"),
        ];
        let body = format!(
            "--bound\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a\"\r\n\r\n{file}\r\n--bound--\r\n"
        );
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
    assert!(node.queries_page(first_of(10)).await.unwrap().items.is_empty());

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
    assert_eq!(node.queries_page(first_of(10)).await.unwrap().items.len(), 1);
    assert_eq!(spent(), before, "the brand's local account paid, not the joint one");
    let history = page(&analyst.get("/questions?lang=en").await);
    assert!(history.contains(&path) && history.contains("again="), "{history}");
    assert!(page(&analyst.get(&path).await).contains("What was asked"));
    // another analyst has the answer, and is not shown what was asked
    auth.add_user("zhao", &[Role::Analyst], PASSWORD).unwrap();
    let other = Browser::sign_in(client(), "zhao").await;
    let history = page(&other.get("/questions?lang=en").await);
    assert!(history.contains(&path) && !history.contains("again="), "{history}");
    assert!(!page(&other.get(&path).await).contains("What was asked"));
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
    assert!(!entered.contains("✕ overdue"), "{entered}");
    // the clock runs from when it was found, which was the day before yesterday
    let found = [&fields[..], &[("hours", "48")][..]].concat();
    let late = page(&officer.post("/records?lang=en", &found).await);
    assert!(late.contains("✕ overdue"), "{late}");
    let number = hidden(&entered, "number").to_owned();
    let fields = [("action", "told"), ("number", &number), ("who", "need_not"), ("why", " ")];
    let refused = page(&officer.post("/records?lang=en", &fields).await);
    assert!(refused.contains("role=\"alert\"") && refused.contains("write why"), "{refused}");

    // and an administrator backs it all up, once
    let administrator = Browser::sign_in(client(), "ops").await;
    let shown = page(&administrator.get("/administration?lang=en").await);
    assert!(shown.contains("none was made here yet") && shown.contains("<td>officer</td>"));
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

/// Exact figures on pages: for a brand's staff, adding up part by part, and never for analysts.
#[tokio::test(flavor = "multi_thread")]
async fn staff_sees_the_figures_of_a_period_and_its_file() {
    let alliance = Alliance::of_the_sample().await;
    alliance.import("grocer_one").await;
    let (auth, certificate, served) = alliance.serve("grocer_one");
    let users = [("shop", Role::Store), ("cy", Role::Partner), ("lin", Role::Analyst)];
    for (user, role) in users {
        auth.add_user(user, &[role], PASSWORD).unwrap();
    }
    let client = || Client::connect(served.address, &certificate).unwrap();

    // what the saved dashboards say of the same purchases
    let node = alliance.node("grocer_one");
    let request = PeriodRequest::parse("2017-01-01", "2018-12-31", "month").unwrap();
    let figures = node.period_figures(request).await.unwrap();
    let exact = async |template: &str| {
        let rows = node.figures(template.to_owned(), Vec::new()).await.unwrap().rows;
        let number = |text: &String| text.parse::<u64>().unwrap();
        rows.iter().map(|row| row.iter().map(number).collect()).collect::<Vec<Vec<u64>>>()
    };
    let sales: u64 = exact("sales").await.iter().map(|row| row[1]).sum();
    assert!(sales > 0 && figures.total.sales_fen == sales);
    let members = exact("members").await[0][0];
    let total = &figures.total;
    assert!((total.members, total.new_members) == (members, Some(members)));
    assert_eq!(figures.steps.len(), 24, "months without a purchase too");
    for row in exact("active-members").await.iter().filter(|row| row[0] > 1) {
        let name = format!("2017-{:02}", row[0]);
        let step = figures.steps.iter().find(|step| step.name == name).unwrap();
        assert!(step.members == row[1], "{name}");
    }
    for part in [&figures.steps, &figures.stores, &figures.channels, &figures.departments] {
        let sum: u64 = part.iter().map(|row| row.sales_fen).sum();
        assert!(sum == sales && !part.is_empty());
    }

    // the page and its file; who may not see the programme has no part of it there
    let shop = Browser::sign_in(client(), "shop").await;
    let shown = page(&shop.get("/figures?lang=en").await);
    assert!(shown.contains("Members who bought") && shown.matches("<svg").count() >= 4, "{shown}");
    assert!(!shown.contains("points-title") && shown.contains("/figures/dashboards/sales?lang=en"));
    let clerk = Browser::sign_in(client(), "cy").await;
    assert!(page(&clerk.get("/figures?lang=zh&by=day").await).contains("points-title"));
    let file = shop.get("/figures/csv?from=2017-01-01&to=2018-12-31&by=month").await;
    assert!(file.headers["content-type"].to_str().unwrap().starts_with("text/csv"));
    assert_eq!(file.headers["cache-control"], "no-store");
    let file = page(&file);
    assert!(file.starts_with("# ") && file.contains(&format!("\r\ntotal,,{sales},")));
    assert_eq!(file.matches("\r\nmonth,").count(), 24);
    // over HTTP the same figures, the same file, for the same roles
    let period = "from=2017-01-01&to=2018-12-31&by=month";
    let of = async |user: &str| {
        let client = client();
        client.login(user, PASSWORD).await.unwrap();
        client
    };
    let (staff, partner) = (of("shop").await, of("cy").await);
    let path = format!("/api/v1/figures?{period}");
    let told: serde_json::Value = staff.get(&path).await.unwrap();
    let with_programme: serde_json::Value = partner.get(&path).await.unwrap();
    assert_eq!(told["period"], serde_json::to_value(&figures).unwrap());
    assert_eq!(told["period"], with_programme["period"]);
    for part in ["report", "campaigns"] {
        assert!(told.get(part).is_none() && with_programme[part].is_object(), "{part}");
    }
    let csv = staff.get_bytes(&format!("/api/v1/figures/csv?{period}")).await.unwrap();
    assert_eq!(csv, file.as_bytes());
    let analyst = of("lin").await.get_bytes(&path).await;
    assert!(analyst.unwrap_err().to_string().contains("role_missing"));
    // what is wrong is told beside the form
    for wrong in ["from=2017-02-30", "from=2017-03-01&to=2017-02-01", "by=decade"] {
        let answer = shop.get(&format!("/figures?lang=en&{wrong}")).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(page(&answer).contains("role=\"alert\""), "{wrong}");
        let file = shop.get(&format!("/figures/csv?{wrong}")).await;
        assert_eq!(file.status, StatusCode::BAD_REQUEST, "{wrong}");
    }

    // each saved dashboard has a page and a file
    let shown = page(&shop.get("/figures/dashboards/sales?lang=en").await);
    assert!(shown.contains("<svg") && shown.contains(">sales_fen</th>"), "{shown}");
    let retention = "/figures/dashboards/retention";
    let early = page(&shop.get(&format!("{retention}?parameter.split=2017-03-01")).await);
    assert!(early.contains("value=\"2017-03-01\"") && early.contains(">retention</th>"));
    let hostile = shop.get(&format!("{retention}?parameter.split=2017-07-01%27+OR+1%3D1")).await;
    assert!(page(&hostile).contains("role=\"alert\""));
    let file = page(&shop.get(&format!("{retention}/csv?parameter.split=2017-03-01")).await);
    assert!(file.contains("\r\nretention\r\n"), "{file}");
    let unknown = page(&shop.get("/figures/dashboards/nothing").await);
    assert!(unknown.contains("role=\"alert\""));

    let analyst = Browser::sign_in(client(), "lin").await;
    for path in
        ["/figures", "/figures/csv", "/figures/dashboards/sales", "/figures/dashboards/sales/csv"]
    {
        assert_eq!(analyst.get(path).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    served.shutdown.begin();
}

/// The output of a real audit beside what a real node has seen certified, and how its witnesses do.
#[tokio::test(flavor = "multi_thread")]
async fn an_officer_brings_an_audit_and_sees_which_log_is_another() {
    let alliance = Alliance::of_the_sample().await;
    let (auth, certificate, served) = alliance.serve("grocer_one");
    auth.add_user("wu", &[Role::Officer], PASSWORD).unwrap();
    let client = Client::connect(served.address, &certificate).unwrap();
    let officer = Browser::sign_in(client, "wu").await;
    let node = alliance.node("grocer_one");
    let cut_off = node.status().now_ms - 1;
    node.close(cut_off).await.unwrap();
    let head = |of: &str| node.status().heads.into_iter().find(|head| head.brand == of).unwrap();
    eventually("the closing is certified, and a witness's vote was heard", async || {
        let voted = node.status().heads.into_iter().filter_map(|head| head.witness);
        head("grocer_one").size > 0 && voted.into_iter().any(|it| it.vote_milliseconds.is_some())
    })
    .await;
    assert!(head("grocer_one").witness.is_none(), "nobody witnesses the own log");
    assert!(head("fuel_stop").witness.is_some());
    let seen = page(&officer.get("/officer?lang=en").await);
    assert!(seen.contains("How the witnesses do") && seen.contains(" ms"), "{seen}");

    let mut report = serde_json::Value::Null;
    eventually("the block is published", async || {
        // while nodes write, a file may go before it is read, and one log be read later than another that it names
        let Ok(audited) = alliance.audit(Vec::new()) else { return false };
        if !audited.is_clean() {
            return false;
        }
        report = serde_json::to_value(audited).unwrap();
        report["heads"].as_array().unwrap().iter().any(|head| head["log"] == "grocer_one")
    })
    .await;
    let path = "/officer/audit?lang=en";
    let same = page(&officer.upload(path, "report", &report.to_string()).await);
    assert!(same.contains("the block that this node has seen certified"), "{same}");
    assert!(!same.contains("are two logs") && !same.contains("role=\"alert\""), "{same}");
    let heads = report["heads"].as_array_mut().unwrap();
    let own = heads.iter_mut().find(|head| head["log"] == "grocer_one").unwrap();
    own["header"] = "00".repeat(32).into();
    let other = page(&officer.upload(path, "report", &report.to_string()).await);
    assert!(other.contains("are two logs"), "{other}");
    served.shutdown.begin();
}

/// The node's own audit, of logs that go on meanwhile: nothing is found in sound ones, and what was altered is.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_node_audits_all_logs_and_finds_what_is_wrong_and_no_more() {
    let mut alliance = Alliance::of_the_sample().await;
    let others = alliance.serve_to_auditor("grocer_one").await;
    let (auth, certificate, served) = alliance.serve("grocer_one");
    auth.add_user("wu", &[Role::Officer], PASSWORD).unwrap();
    let client = Client::connect(served.address, &certificate).unwrap();
    let officer = Browser::sign_in(client, "wu").await;
    let seen = page(&officer.get("/officer?lang=en").await);
    assert!(seen.contains("There is no result yet."), "{seen}");

    // every log goes on: each closing is a block that the others recognise
    let nodes: Vec<_> = alliance.brands.iter().map(|brand| alliance.node(brand.as_str())).collect();
    let writing = tokio::spawn(async move {
        for before in 1.. {
            for node in &nodes {
                let _ = node.close(node.status().now_ms - before).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let node = alliance.node("grocer_one");
    eventually("every log has blocks", async || {
        node.status().heads.iter().all(|head| head.height > 8)
    })
    .await;
    // a joint answer, of which this node keeps all openings
    let sql = "SELECT count(distinct member) AS members FROM purchases";
    let plan = node.plan(sql.into()).await.unwrap();
    let asked = node.query(sql.into(), plan.plan).await.unwrap();
    eventually("the question is answered", async || {
        node.query_by_id(asked.id.clone()).await.unwrap().release.is_some()
    })
    .await;
    eventually("that is in the published logs", async || {
        let report = alliance.audit(Vec::new()).ok().and_then(|report| report.budget);
        report.is_some_and(|budget| (budget.answers, budget.added_up) == (1, 1))
    })
    .await;
    let data = alliance.data("grocer_one".parse().unwrap());
    let kept = || std::fs::read_dir(data.openings()).into_iter().flatten().flatten();
    eventually("its openings are kept", async || {
        kept().any(|it| it.path().extension().is_some_and(|extension| extension == "opening"))
    })
    .await;
    // on a busy machine a log can be published too late for one; then another is asked for
    let audit = async || {
        for _ in 0..5 {
            let begun = page(&officer.post("/officer/own-audit?lang=en", &[]).await);
            eventually("the audit ends", async || !node.audits().view().running).await;
            if node.audits().view().failed.is_none() {
                assert!(!begun.contains("role=\"alert\""), "{begun}");
                break;
            }
        }
    };
    for round in 0..3 {
        audit().await;
        let view = node.audits().view();
        assert_eq!(view.failed, None);
        let report = node.audits().report().unwrap();
        assert_eq!(view.findings, 0, "round {round}: {report}");
        assert!(view.made_ms.is_some() && view.entries > 0 && view.entries == view.entries_all);
        let added_up = AddedUpView { answers: 1, added_up: 1, unreadable: 0 };
        assert_eq!(view.openings, added_up, "round {round}: {report}");
    }
    let sound = page(&officer.get("/officer?lang=en").await);
    assert!(sound.contains("✓ 0") && sound.contains("the block that this node has seen certified"));
    assert!(!sound.contains("not in the report"), "all logs were audited");
    assert!(
        sound.contains("Joint answers added up again from openings") && sound.contains("1 / 1")
    );

    // a file that does not read is told of and keeps nobody from the rest; an opening that is another than was
    // certified is found
    let opening = kept().next().unwrap().path();
    let honest = std::fs::read(&opening).unwrap();
    let damaged = opening.with_file_name("9999999999999-damaged.opening");
    std::fs::write(&damaged, b"no openings").unwrap();
    let mut altered = Evidence::from_bytes(&honest).unwrap();
    altered.openings[0].1.vector[0] ^= 1;
    for (bytes, findings) in [(&honest, 0), (&altered.to_bytes(), 2)] {
        std::fs::write(&opening, bytes).unwrap();
        audit().await;
        let view = node.audits().view();
        assert_eq!((view.failed.as_ref(), view.openings.unreadable), (None, 1));
        // of the opening, and of the sum at each participant's log
        assert!(view.findings >= findings && (findings > 0 || view.findings == 0), "{view:?}");
    }
    std::fs::write(&opening, honest).unwrap();
    std::fs::remove_file(&damaged).unwrap();

    // a hash in the first certificate of another brand's log is another one
    let altered = alliance.data("fuel_stop".parse().unwrap()).log().join("certificates");
    let size = || std::fs::metadata(&altered).unwrap().len();
    eventually("there are many certificates", async || size() > 16 * 1024).await;
    writing.abort();
    let file = std::fs::File::options().read(true).write(true).open(&altered).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 60).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 60).unwrap();
    audit().await;
    let view = node.audits().view();
    assert!(view.failed.is_none() && view.findings > 0, "{view:?}");
    for (language, said) in [("zh", "本节点的审计"), ("en", "own audit")] {
        let found = page(&officer.get(&format!("/officer?lang={language}")).await);
        assert!(found.contains(said) && found.contains("<code>certificate/"), "{found}");
    }

    // a node that cannot be reached leaves what was found, and says who it is
    for other in others {
        other.shutdown.begin();
        let _ = other.task.await;
    }
    let findings = view.findings;
    // something that the copies do not have
    for brand in ["grocer_one", "fuel_stop", "fresh_counter"] {
        let other = alliance.node(brand);
        let _ = other.close(other.status().now_ms - 1).await;
    }
    let heads = node.status().heads;
    eventually("the other logs have gone on", async || {
        node.status()
            .heads
            .iter()
            .zip(&heads)
            .all(|(now, then)| now.size > then.size || now.brand != "fuel_stop")
    })
    .await;
    officer.post("/officer/own-audit?lang=en", &[]).await;
    eventually("the audit ends", async || !node.audits().view().running).await;
    let view = node.audits().view();
    assert!(view.failed.as_deref().is_some_and(|it| it.starts_with("log ")), "{view:?}");
    assert_eq!(view.findings, findings, "what was found stands");
    served.shutdown.begin();
}
