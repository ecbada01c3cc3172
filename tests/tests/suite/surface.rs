//! The HTTP API from outside: the Python client of its document against real nodes, and schemathesis, which
//! reads the same document and sends what it allows and what it does not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use node::auth::Role;
use node::client::Client;
use node::http::{MemberSessionRequest, MemberSessionView};
use node::service::{EventView, ReceivedView};
use node::webhooks::{DeliveryView, WebhookRequest, WebhookView};
use protocol::ledger::log_verifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::alliance::{Alliance, eventually};

const PASSWORD: &str = "correct horse battery staple";
const SENDER: &str = "fresh_counter";
const RECEIVER: &str = "fuel_stop";

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("node/clients")
}

/// Whether Python can import a module; says so aloud if not, which may not be where everything has to run.
fn python_has(module: &str) -> bool {
    let import = Command::new("python3").args(["-c", &format!("import {module}")]).output();
    let has = import.is_ok_and(|output| output.status.success());
    if !has {
        let words = format!("python3 cannot import {module} (`pip install {module}`)");
        assert!(std::env::var_os("COALITION_SHARED").is_none(), "{words}");
        eprintln!("skipped: {words}");
    }
    has
}

fn python(directory: &Path, arguments: &[&str]) -> Output {
    let output = Command::new("python3").args(arguments).current_dir(directory).output().unwrap();
    if !output.status.success() {
        let (out, err) = (&output.stdout, &output.stderr);
        let last = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            text.chars().skip(text.chars().count().saturating_sub(12_000)).collect::<String>()
        };
        panic!("python3 {}:\n{}\n{}", arguments[0], last(out), last(err));
    }
    output
}

/// Two linked members: the sender's card.
async fn linked(alliance: &Alliance) -> String {
    alliance.import(SENDER).await;
    alliance.import(RECEIVER).await;
    let (sender, receiver) = (alliance.node(SENDER), alliance.node(RECEIVER));
    let card = sender.cards(200, None, 1).await.unwrap().remove(0);
    let there = receiver.cards(0, None, 1).await.unwrap().remove(0);
    let code = receiver.link_code(there, SENDER.into()).await.unwrap().code;
    sender.link(card.clone(), RECEIVER.into(), code).await.unwrap();
    eventually("the link is answered", async || {
        sender.member(card.clone()).await.unwrap().links[0].state == "linked"
    })
    .await;
    card
}

/// The bodies of what is posted to an address on this machine.
async fn webhook_receiver() -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (got, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            // head and body come together or one after the other
            while !bytes.ends_with(b"}") {
                let mut part = [0; 4096];
                match stream.read(&mut part).await {
                    Ok(read) if read > 0 => bytes.extend_from_slice(&part[..read]),
                    _ => break,
                }
            }
            let answer = b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n";
            let _ = stream.write_all(answer).await;
            let text = String::from_utf8(bytes).unwrap();
            let _ = got.send(text.split_once("\r\n\r\n").unwrap().1.to_owned());
        }
    });
    (url, received)
}

/// The example of the Python client does an exchange, verifies its receipt and asks a question; events and
/// deliveries tell the same story, with nobody in it.
#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_exchanges_verifies_and_asks_and_events_tell_of_it() {
    if !python_has("ssl") {
        return;
    }
    let alliance = Alliance::of_the_sample().await;
    let card = linked(&alliance).await;
    let (auth, certificate, served) = alliance.serve(SENDER);
    for (user, role) in [
        ("sam", Role::Store),
        ("ann", Role::Analyst),
        ("olga", Role::Officer),
        ("root", Role::Administrator),
    ] {
        auth.add_user(user, &[role], PASSWORD).unwrap();
    }
    let administrator = Client::connect(served.address, &certificate).unwrap();
    administrator.login("root", PASSWORD).await.unwrap();
    let (url, mut received) = webhook_receiver().await;
    let events = vec!["exchange.state".to_owned(), "query.step".to_owned()];
    let hook: WebhookView =
        administrator.post("/api/v1/webhooks", &[], &WebhookRequest { url, events }).await.unwrap();

    let folder = alliance.folder.path().join("python");
    std::fs::create_dir(&folder).unwrap();
    for file in ["example.py", "receipt.py"] {
        std::fs::copy(clients().join("python").join(file), folder.join(file)).unwrap();
    }
    let generator = clients().join("python/generate.py");
    let made = python(&folder, &[generator.to_str().unwrap()]);
    std::fs::write(folder.join("coalition_client.py"), &made.stdout).unwrap();
    let brand = alliance.brands.iter().copied().find(|brand| brand.as_str() == SENDER).unwrap();
    let toml = std::fs::read(alliance.folder.path().join("c.toml")).unwrap();
    let constitution = alliance_config::Constitution::parse(&toml).unwrap();
    let log_key = log_verifier(constitution.ledger(), brand).unwrap().to_string();
    let trusted = alliance.data(brand).tls().join(node::tls::CERTIFICATE_FILE);
    let base = format!("https://{}", served.address);
    // nothing secret stands on a command line
    let passwords = alliance.folder.path().join("passwords");
    std::fs::write(&passwords, format!("{PASSWORD}\n{PASSWORD}\n")).unwrap();
    let run = |points: &str, log_key: &str| {
        let arguments = [
            "example.py",
            "--node",
            &base,
            "--trusted",
            trusted.to_str().unwrap(),
            "--log-key",
            log_key,
            "--store",
            "sam",
            "--analyst",
            "ann",
            "--card",
            &card,
            "--to",
            RECEIVER,
            "--points",
            points,
        ];
        let stdin = std::fs::File::open(&passwords).unwrap();
        let mut command = Command::new("python3");
        command.args(arguments).current_dir(&folder).stdin(stdin).output().unwrap()
    };
    let output = tokio::task::block_in_place(|| run("40", &log_key));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["exchange"]["state"], "acknowledged");
    assert_eq!(told["exchange"]["points_sent"], 40);
    assert_eq!(told["question"]["step"], "released", "{told}");
    assert!(told["question"]["rows"][0]["values"][0].is_number(), "{told}");
    assert!(told["receipt"]["entry_bytes"].as_u64() > Some(100));
    // it really went there
    let came: Vec<ReceivedView> = alliance.node(RECEIVER).received(None, 10).await.unwrap();
    assert_eq!(came.len(), 1);

    // a receipt under another log's key is no receipt
    let other = alliance.brands.iter().copied().find(|brand| brand.as_str() == RECEIVER).unwrap();
    let foreign = log_verifier(constitution.ledger(), other).unwrap().to_string();
    let refused = tokio::task::block_in_place(|| run("1", &foreign));
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("NotVerified"), "{words}");

    // who follows the node has seen all of it, in order
    let officer = Client::connect(served.address, &certificate).unwrap();
    officer.login("olga", PASSWORD).await.unwrap();
    let id = told["exchange"]["id"].as_str().unwrap();
    let mut views: Vec<EventView> = Vec::new();
    eventually("the question's end is told", async || {
        let path = "/api/v1/events?follow=false";
        let headers = [("last-event-id", "0-0")];
        let answer = officer.send("GET".parse().unwrap(), path, &headers, None).await.unwrap();
        assert_eq!(answer.status, 200);
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        views = data.map(|data| serde_json::from_str(data).unwrap()).collect();
        views.iter().any(|view| view.kind == "query.step" && view.data.state == "released")
    })
    .await;
    assert_eq!(views[0].kind, "stream.reset");
    let states: Vec<&str> = views
        .iter()
        .filter(|view| view.data.id == id)
        .map(|view| view.data.state.as_str())
        .collect();
    assert_eq!(states, ["held", "final", "acknowledged"]);

    // and so has the webhook's receiver: deliveries go out side by side, each at least once
    let mut delivered = BTreeSet::new();
    while delivered.len() < 3 {
        let wait = Duration::from_secs(180);
        let body = tokio::time::timeout(wait, received.recv()).await.unwrap().unwrap();
        assert!(!body.contains(&card), "{body}");
        let view: EventView = serde_json::from_str(&body).unwrap();
        if view.data.id == id {
            delivered.insert(view.data.state);
        }
    }
    let states = ["acknowledged", "final", "held"].map(str::to_owned);
    assert_eq!(delivered, BTreeSet::from(states));
    let path = format!("/api/v1/webhooks/{}/deliveries", hook.id);
    let log: Vec<DeliveryView> = administrator.get(&path).await.unwrap();
    assert!(log.iter().all(|it| it.status == Some(204)), "{log:?}");
    served.shutdown.begin();
}

/// What is not looked at; `schemathesis.toml` says why.
const LEFT_OUT: [(&str, &str); 7] = [
    ("post", "/api/v1/password"),
    ("post", "/api/v1/users"),
    ("delete", "/api/v1/users/{user}/sessions"),
    ("post", "/api/v1/stop"),
    ("delete", "/api/v1/sessions"),
    ("get", "/api/v1/events"),
    ("post", "/api/v1/backups"),
];

/// How many operations of the document are looked at: all but these and the pages for people.
fn operations(document: &[u8]) -> usize {
    let document: serde_json::Value = serde_json::from_slice(document).unwrap();
    let mut count = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            // beside methods there are parameters and words
            let Some(tags) = operation["tags"].as_array() else { continue };
            let is_page = tags.iter().any(|tag| tag == "console");
            count += usize::from(!is_page && !LEFT_OUT.contains(&(method.as_str(), path.as_str())));
        }
    }
    count
}

/// What schemathesis makes of the document: no fault of the node, no answer that the document does not have,
/// nothing taken that the document forbids, no authentication passed over.
#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing() {
    if !python_has("schemathesis") {
        return;
    }
    let alliance = Alliance::of_the_sample().await;
    let card = linked(&alliance).await;
    let (auth, certificate, served) = alliance.serve(SENDER);
    auth.add_user("all", &Role::ALL, PASSWORD).unwrap();
    let client = Client::connect(served.address, &certificate).unwrap();
    let token = client.login("all", PASSWORD).await.unwrap().token;
    let base = format!("https://{}", served.address);
    let brand = alliance.brands.iter().copied().find(|brand| brand.as_str() == SENDER).unwrap();
    let trusted = alliance.data(brand).tls().join(node::tls::CERTIFICATE_FILE);
    let document = alliance.folder.path().join("openapi.json");
    let text = client.get_bytes("/api/v1/openapi.json").await.unwrap();
    std::fs::write(&document, &text).unwrap();
    let configuration = clients().join("schemathesis.toml");
    let look = |token: &str, which: &[&str]| {
        let authorization = format!("Authorization: Bearer {token}");
        let mut arguments = vec!["-m", "schemathesis.cli"];
        arguments.extend(["--config-file", configuration.to_str().unwrap()]);
        arguments.extend(["run", document.to_str().unwrap(), "--url", &base]);
        arguments.extend(["--tls-verify", trusted.to_str().unwrap()]);
        arguments.extend(["--header", &authorization]);
        arguments.extend(which);
        let folder = alliance.folder.path();
        let output = tokio::task::block_in_place(|| python(folder, &arguments));
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        // what it has looked at, and with how many requests
        let summary = words.find("API Operations:").map_or("", |at| &words[at..]);
        println!("{}: {summary}", which.join(" "));
        assert!(summary.contains("generated") && summary.contains("passed"), "{words}");
        let tested = summary.lines().find_map(|line| line.trim().strip_prefix("Tested: "));
        tested.and_then(|number| number.parse::<usize>().ok()).expect("how many were tested")
    };
    // members' routes take a member's token, and an erasure ends it
    const OWN: &str = "^/api/v1/me(/|$)";
    const ERASURE: &str = "^/api/v1/me/erasure$";
    let request = MemberSessionRequest { card };
    let mut member: MemberSessionView =
        client.post("/api/v1/member-sessions", &[], &request).await.unwrap();
    let began = Instant::now();
    let mut tested = look(&token, &["--exclude-path-regex", OWN]);
    // where that takes long, neither session may be there any more
    if began.elapsed() > Duration::from_secs(600) {
        client.login("all", PASSWORD).await.unwrap();
        member = client.post("/api/v1/member-sessions", &[], &request).await.unwrap();
    }
    let own = ["--include-path-regex", OWN, "--exclude-path-regex", ERASURE];
    tested += look(&member.token, &own);
    tested += look(&member.token, &["--include-path-regex", ERASURE]);
    assert_eq!(tested, operations(&text), "operations of the document that were looked at");
    let log = alliance.node(SENDER).status();
    assert!(log.heads.iter().all(|head| !head.frozen && !head.closed), "{:?}", log.alerts);
    served.shutdown.begin();
}
