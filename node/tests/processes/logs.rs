//! What nodes say of themselves while everything is done to them: no log line and no figure has anything of what went in,
//! in no form, with every module of every crate at its most talkative.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use node::cli::bench::{Alliance, Plan, SETTINGS, card};
use node::cli::process::{NodeProcess, Program};
use node::cli::{OPERATOR, operator_path};
use node::client::{Client, Method};
use serde_json::{Value, json};

use super::{coalition, eventually, password_of};

/// With whom everything is done, and how that is known.
const CARD: &str = "WM-73110027";
const PHONE: &str = "13912340987";
const EMAIL: &str = "xiaoming.wang@mail.example";
const NAME: &str = "王晓明先生";
const ADDRESS: &str = "北京市朝阳区望京东路18号院4单元";
const BIRTH_DATE: &str = "1987-03-14";
/// Who is enrolled at the counter.
const NEW_CARD: &str = "WM-73110099";
const NEW_NAME: &str = "Han Meimei of the Fourth Ring";
const ALIAS: &str = "quetzalcoatl_lines";
const KEY: &str = "till-4-receipt-0815-4711";
const KEY_OF_EXCHANGE: &str = "till-4-receipt-0815-4712";
const LITERAL: &str = "a literal that is in no contract";

const CLEAN_ROOM: &str = "
[clean_room]
dataset = \"bench\"
purposes = [\"joint_analytics\"]
minimum_participants = 3
profile = \"trial\"
members_at_most = 1000000
retention_years = 3

[[clean_room.tables]]
name = \"purchases\"
owner = \"member\"
rows_bound = 20

[[clean_room.tables.columns]]
kind = \"date\"
name = \"purchased_on\"
first = \"2025-01-01\"
last = \"2027-12-31\"

[[clean_room.tables.columns]]
kind = \"text\"
name = \"department\"
values = [{ value = \"FRESH\" }, { value = \"SNACKS\" }]

[[clean_room.tables.columns]]
kind = \"integer\"
name = \"amount_fen\"
unit = \"fen\"
minimum = 0
maximum = 50000
bound = 200000
";

const MAPPING: &str = "
format = \"coalition import 1\"
name = \"till\"

[members]
files = [\"members.csv\"]

[members.columns]
card = \"card\"
name = \"name\"
address = \"address\"
birth_date = \"born\"

[members.identifiers]
phone = \"phone\"
email = \"mail\"

[members.consent]
source = \"sample_rule\"
notice_version = 1
receivers = [\"*\"]
because = \"There are no such people. 数据为虚构。\"
programme = { default = \"granted\" }
exchange = { default = \"granted\" }
joint_analytics = { default = \"granted\" }

[purchases]
files = [\"purchases.jsonl\"]
time_zone = \"Asia/Shanghai\"
channel = \"store\"
basket = \"order\"
line = \"no\"
member = \"card\"
purchased_at = \"at\"
department = \"dept\"
quantity = \"pieces\"
amount = \"fen\"
currency = \"CNY\"
fen_per_unit = 1
";

/// What went in, in the forms in which it could come out, with what it is.
#[derive(Default)]
struct WentIn {
    forms: Vec<(String, Vec<u8>)>,
    known: BTreeSet<String>,
}

impl WentIn {
    fn add(&mut self, what: &str, text: &str) {
        // shorter ones would be found by chance
        assert!(text.len() >= 8, "{what}: {text}");
        if !self.known.insert(text.to_owned()) {
            return;
        }
        let bytes = text.as_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        let percent: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        let debugged: String = text.chars().flat_map(char::escape_default).collect();
        let mut forms = vec![
            ("in clear", text.to_owned()),
            ("in hex", hex.to_uppercase()),
            ("in hex", hex),
            ("as a list of bytes", list),
            ("for an address", percent),
            ("for JSON", escaped),
            ("for Debug", debugged),
        ];
        // wherever in what was encoded it stood: letters that are of it alone
        for before in 0..3 {
            let padded = [&[0; 3][..before], bytes].concat();
            let letters = (8 * before).div_ceil(6)..8 * padded.len() / 6;
            for encoded in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
                forms.push(("in base64", encoded[letters.clone()].to_owned()));
            }
        }
        for (form, text) in forms {
            self.forms.push((format!("{what} {form}"), text.into_bytes()));
        }
    }

    /// What of it is in a text.
    fn found_in(&self, text: &[u8]) -> BTreeSet<&str> {
        let place = |first: u8, second: u8| usize::from(first) << 8 | usize::from(second);
        let mut by_beginning = vec![Vec::new(); 1 << 16];
        for (what, form) in &self.forms {
            by_beginning[place(form[0], form[1])].push((what, form));
        }
        let mut found = BTreeSet::new();
        for (at, pair) in text.windows(2).enumerate() {
            for (what, form) in &by_beginning[place(pair[0], pair[1])] {
                if text[at..].starts_with(form) {
                    found.insert(what.as_str());
                }
            }
        }
        found
    }
}

/// `coalition` with every module of every crate at its most talkative level.
fn talkative(folder: &Path) -> PathBuf {
    let path = folder.join("talkative");
    let levels = format!("{}=trace,node=trace", node::telemetry::LEVEL_VARIABLE);
    let text = format!("#!/bin/sh\nexec env {levels} {} \"$@\"\n", super::super::BINARY);
    // by another process: while this one had it open for writing, a child of another test could hold it open
    let write = "printf '%s' \"$1\" > \"$2\" && chmod 755 \"$2\"";
    let written = Command::new("sh").args(["-c", write, "sh", &text]).arg(&path).status().unwrap();
    assert!(written.success());
    path
}

/// Gives a node an address for its figures.
fn serve_figures(node: &NodeProcess) {
    let path = node.data().settings_path();
    let settings = std::fs::read_to_string(&path).unwrap();
    // before any table
    std::fs::write(path, format!("metrics = \"127.0.0.1:0\"\n{settings}")).unwrap();
}

fn log_of(node: &NodeProcess) -> Vec<u8> {
    std::fs::read(node.data().path().join("node.log")).unwrap()
}

fn figures_of(node: &NodeProcess) -> Vec<u8> {
    let log = String::from_utf8(log_of(node)).unwrap();
    let (_, rest) = log.split_once("figures at http://").expect("where the figures are");
    let address = rest.split('/').next().unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    text
}

/// What a request is answered, which is done or refused, as it is expected.
async fn asked(client: &Client, done: bool, method: Method, path: &str, body: Value) -> Value {
    let kind = ("content-type", "application/json");
    // keys are what a till makes of its own numbers: whoever has one may have the receipt
    let headers = [kind, ("idempotency-key", KEY)];
    let body = (!body.is_null()).then(|| body.to_string().into());
    let answer = client.send(method, path, &headers, body).await.unwrap();
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let refused = answer.status.is_client_error();
    assert!(if done { answer.status.is_success() } else { refused }, "{path}: {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

async fn batch(client: &Client, kind: &str, format: &str, key: &str, text: &str) -> Value {
    let path = format!("/api/v1/imports/batches?kind={kind}&mapping=till");
    let headers = [("content-type", format), ("idempotency-key", key)];
    let answer = client.send(Method::POST, &path, &headers, Some(text.to_owned().into())).await;
    let answer = answer.unwrap();
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(answer.status.is_success(), "{said}");
    serde_json::from_str(&said).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_went_in_is_in_log_lines_or_figures() {
    let plan = Plan { brands: 4, members: 2, snapshot_mib: 0, served: true };
    let alliance = Alliance::make_with(plan, &format!("{SETTINGS}{CLEAN_ROOM}")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = alliance.processes(&Program::at(talkative(folder.path())));
    for node in &mut nodes {
        std::fs::create_dir_all(node.data().mappings()).unwrap();
        std::fs::write(node.data().mappings().join("till.toml"), MAPPING).unwrap();
        serve_figures(node);
        node.start().unwrap();
    }
    for node in &mut nodes {
        node.answers().await.unwrap();
    }
    let mut went_in = WentIn::default();
    for (what, text) in [
        ("a card", CARD),
        ("a card", NEW_CARD),
        ("a card", card(0).as_str()),
        ("a phone number", PHONE),
        ("an email address", EMAIL),
        ("a name", NAME),
        ("a name", NEW_NAME),
        ("an address", ADDRESS),
        ("a birth date", BIRTH_DATE),
        ("the question", ALIAS),
        ("the question", LITERAL),
        ("an idempotency key", KEY),
        ("an idempotency key", KEY_OF_EXCHANGE),
    ] {
        went_in.add(what, text);
    }
    let clients: Vec<Client> = nodes.iter().map(|node| node.client().unwrap()).collect();
    let brands: Vec<String> = nodes.iter().map(|node| node.brand().to_string()).collect();
    let (first, second) = (&clients[0], &clients[1]);
    people_and_purchases(&clients, &mut went_in).await;
    users(&nodes[0], &mut went_in).await;
    look_ups_and_requests(first, &mut went_in).await;

    // a link and an exchange
    let path = format!("/api/v1/members/{CARD}/link-codes");
    let code = asked(second, true, Method::POST, &path, json!({ "brand": brands[0] })).await;
    let code = code["code"].as_str().unwrap();
    went_in.add("a link code", code);
    went_in.add("a link code", &code.replace('-', ""));
    let path = format!("/api/v1/members/{CARD}/links");
    let linking = json!({ "brand": brands[1], "code": code });
    let answer =
        first.send(Method::POST, &path, &[], Some(linking.to_string().into())).await.unwrap();
    assert!(answer.status.is_success(), "{}", String::from_utf8_lossy(&answer.body));
    let member = format!("/api/v1/members/{CARD}");
    eventually("the link is answered", async || {
        let member: Value = first.get(&member).await.unwrap();
        member["links"].as_array().unwrap().iter().any(|link| link["state"] == "linked")
    })
    .await;
    let exchange = json!({ "card": CARD, "to": brands[1], "points": 20 });
    let key = [("idempotency-key", KEY_OF_EXCHANGE)];
    let sent: Value = first.post("/api/v1/exchanges", &key, &exchange).await.unwrap();
    let exchange = format!("/api/v1/exchanges/{}", sent["id"].as_str().unwrap());
    eventually("the exchange is acknowledged", async || {
        first.get::<Value>(&exchange).await.unwrap()["state"] == "acknowledged"
    })
    .await;

    questions(first).await;
    erasure(first, &mut went_in).await;

    // as they are while the nodes run
    let figures: Vec<Vec<u8>> = nodes.iter().map(figures_of).collect();
    assert!(figures.iter().all(|text| text.windows(10).any(|part| part == b"coalition_")));
    for node in &mut nodes {
        node.tell_to_stop();
    }
    // what a node had to say is in its file when it has ended
    for node in &mut nodes {
        node.stopped().await;
    }
    let mut found = Vec::new();
    for (node, figures) in nodes.iter().zip(&figures) {
        let log = log_of(node);
        let text = String::from_utf8(log.clone()).unwrap();
        // it did speak, of what was done
        assert!(text.contains(" TRACE ") && text.contains("request answered"), "{}", node.brand());
        // every line is an event's, but for those of the start
        let is_of_start = |line: &str| {
            line.starts_with("figures at http://") || line.contains(" listens: other nodes at ")
        };
        let stray: Vec<&str> =
            text.lines().filter(|line| !line.starts_with("20") && !is_of_start(line)).collect();
        assert!(stray.is_empty(), "{stray:?}");
        found.extend(went_in.found_in(&log).into_iter().map(|what| (node.brand(), what)));
        found.extend(went_in.found_in(figures).into_iter().map(|what| (node.brand(), what)));
    }
    assert!(found.is_empty(), "{found:?}");
}

/// Lists and purchases at every brand, some rows of which are wrong.
async fn people_and_purchases(clients: &[Client], went_in: &mut WentIn) {
    let wrong_phone = "one-three-nine-and-so-on";
    let people = format!(
        "card,name,address,born,phone,mail\n{CARD},{NAME},{ADDRESS},{BIRTH_DATE},{PHONE},{EMAIL}\n\
         WM-73110028,{NAME},{ADDRESS},14.03.1987,13912340986,\n\
         WM-73110029,{NAME},{ADDRESS},{BIRTH_DATE},{wrong_phone},{EMAIL}\n"
    );
    let line = |order: &str, card: &str, fen: u32| {
        let row = json!({
            "order": order, "no": 1, "card": card, "at": "2026-11-20T12:00:00+08:00",
            "dept": "FRESH", "pieces": 1, "fen": fen,
        });
        format!("{row}\n")
    };
    let no_row = "Zhang San bought two of them";
    let purchases = [
        line("RECEIPT-5550731", CARD, 400_000),
        format!("{no_row}\n"),
        line("RECEIPT-5550732", "WM-OF-NOBODY-1", 500),
    ];
    for client in clients {
        let view = batch(client, "members", "text/csv", "list-of-members-17", &people).await;
        assert!(view["members_enrolled"].as_u64() >= Some(1), "{view}");
        let format = "application/x-ndjson";
        let view =
            batch(client, "purchases", format, "list-of-sales-17", &purchases.concat()).await;
        assert_eq!((&view["rows_kept"], &view["rows_read"]), (&json!(1), &json!(3)), "{view}");
    }
    for (what, text) in [
        ("a wrong phone number", wrong_phone),
        ("a wrong birth date", "14.03.1987"),
        ("a card", "WM-73110028"),
        ("a phone number", "13912340986"),
        ("a card", "WM-73110029"),
        ("a card", "WM-OF-NOBODY-1"),
        ("a receipt", "RECEIPT-5550731"),
        ("a receipt", "RECEIPT-5550732"),
        ("a row that is none", no_row),
        ("an idempotency key", "list-of-members-17"),
        ("an idempotency key", "list-of-sales-17"),
    ] {
        went_in.add(what, text);
    }
}

/// Passwords, tokens, second factors, right ones and wrong ones.
async fn users(node: &NodeProcess, went_in: &mut WentIn) {
    let data = node.data().path().display().to_string();
    let password = std::fs::read_to_string(operator_path(node.data())).unwrap();
    let password = password.trim();
    went_in.add("a password", password);
    let client = node.client().unwrap();
    let session = client.login(OPERATOR, password).await.unwrap();
    went_in.add("a token", &session.token);

    // one that is added over HTTPS, under a password that is made there
    let certificate = node.data().tls().join(node::tls::CERTIFICATE_FILE);
    let certificate = std::fs::read(certificate).unwrap();
    let added = json!({ "user": "lei.li", "roles": ["officer"], "password": password });
    let made = asked(&client, true, Method::POST, "/api/v1/users", added).await;
    let made = made["password"].as_str().unwrap();
    went_in.add("a password", made);
    let added = Client::connect(client.address(), &certificate).unwrap();
    went_in.add("a token", &added.login("lei.li", made).await.unwrap().token);

    let arguments = ["--data", &data, "--name", "han.meimei"];
    let added = [&["user", "add", "--role", "officer"], &arguments[..]].concat();
    let password = password_of(&coalition(&added), "password");
    went_in.add("a password", &password);
    let made = [&["user", "database-password"], &arguments[..]].concat();
    went_in.add("a password", &password_of(&coalition(&made), "database_password"));
    let officer = Client::connect(client.address(), &certificate).unwrap();
    went_in.add("a token", &officer.login("han.meimei", &password).await.unwrap().token);
    let own = "one that nobody else has set";
    let body = json!({ "password": password, "new_password": own });
    asked(&officer, true, Method::POST, "/api/v1/password", body).await;
    went_in.add("a password", own);
    went_in.add("a token", &officer.login("han.meimei", own).await.unwrap().token);
    let path = "/api/v1/second-factor";
    let setup = asked(&officer, true, Method::POST, path, json!({})).await;
    went_in.add("a second factor", setup["secret"].as_str().unwrap());
    for code in setup["recovery_codes"].as_array().unwrap() {
        went_in.add("a recovery code", code.as_str().unwrap());
    }

    let stranger = Client::connect(client.address(), &certificate).unwrap();
    for (user, password) in [
        (OPERATOR, "wrong Passw0rd of an operator"),
        ("a.password.in.the.wrong.field", "and another one beside it"),
    ] {
        let body = json!({ "user": user, "password": password });
        asked(&stranger, false, Method::POST, "/api/v1/sessions", body).await;
        went_in.add("a wrong password", password);
    }
    went_in.add("a wrong name", "a.password.in.the.wrong.field");
    stranger.use_token("made-up-token-of-somebody");
    went_in.add("a made-up token", "made-up-token-of-somebody");
    let wrong = json!({
        "user": "lei.li", "roles": ["store"], "password": "not the operator's own pass",
    });
    asked(&client, false, Method::POST, "/api/v1/users", wrong).await;
    went_in.add("a wrong password", "not the operator's own pass");
    asked(&stranger, false, Method::GET, "/api/v1/status", Value::Null).await;
}

/// Members looked up, enrolled and corrected, and requests with something wrong in them.
async fn look_ups_and_requests(client: &Client, went_in: &mut WentIn) {
    let look_up = "/api/v1/members/look-up";
    let phone = json!({ "kind": "phone", "value": PHONE });
    asked(client, true, Method::POST, look_up, phone).await;
    asked(client, false, Method::POST, look_up, json!({ "kind": "phone", "value": "13900000042" }))
        .await;
    asked(client, true, Method::GET, &format!("/api/v1/members/{CARD}"), Value::Null).await;
    asked(client, true, Method::GET, &format!("/api/v1/members/{CARD}/record"), Value::Null).await;
    asked(client, false, Method::GET, "/api/v1/members/WM-OF-NOBODY-2", Value::Null).await;
    let nowhere = format!("/api/v1/members/{PHONE}/no-such-thing?phone={PHONE}&mail={EMAIL}");
    asked(client, false, Method::GET, &nowhere, Value::Null).await;

    let identifiers = [
        ("wechat_open_id", "oABCDEFGHIJKLMNOPQRSTUVWX"),
        ("licence_plate", "粤B12345"),
        ("payment_token", "token-of-the-bank-00042"),
        ("device", "device0of0hers0and0no0others"),
    ];
    let newcomer = json!({
        "card": NEW_CARD,
        "identifiers": identifiers.map(|(kind, value)| json!({ "kind": kind, "value": value })),
        "attributes": { "name": NEW_NAME, "address": ADDRESS },
        "consents": [{ "purpose": "programme", "granted": true, "notice_version": 1 }],
    });
    asked(client, true, Method::POST, "/api/v1/members", newcomer).await;
    let corrected = json!({ "attributes": { "address": "上海市浦东新区世纪大道100号" } });
    let correcting = format!("/api/v1/members/{NEW_CARD}/corrections");
    asked(client, true, Method::POST, &correcting, corrected).await;
    let adjusting = format!("/api/v1/programme/members/{NEW_CARD}/adjustments");
    let reason = "the till of aunt Mei was broken";
    asked(client, true, Method::POST, &adjusting, json!({ "points": 5, "reason": reason })).await;

    for (path, body) in [
        ("/api/v1/exchanges", json!({ "card": CARD, "to": 17, "points": "two hundred and two" })),
        ("/api/v1/members", json!({ "card": NEW_CARD, "nick_name_of_hers": "Meimeimeimei" })),
        (
            "/api/v1/webhooks",
            json!({ "url": "https://127.0.0.1/token-in-an-address", "events": [] }),
        ),
    ] {
        asked(client, false, Method::POST, path, body).await;
    }
    for (kind, value) in identifiers {
        went_in.add(kind, value);
    }
    for (what, text) in [
        ("a phone number", "13900000042"),
        ("a card", "WM-OF-NOBODY-2"),
        ("an address", "上海市浦东新区世纪大道100号"),
        ("a reason", reason),
        ("a wrong number", "two hundred and two"),
        ("a wrong field", "nick_name_of_hers"),
        ("a wrong field", "Meimeimeimei"),
        ("a webhook's address", "token-in-an-address"),
    ] {
        went_in.add(what, text);
    }
}

/// One question that is answered, and some that are refused.
async fn questions(client: &Client) {
    let sql = format!("SELECT department, count(*) AS {ALIAS} FROM purchases GROUP BY department");
    let of_all = json!({ "sql": sql, "scope": "joint", "pico_rho": 20_000_000 });
    let plan = asked(client, true, Method::POST, "/api/v1/queries/plan", of_all.clone()).await;
    let mut question = of_all;
    question["plan"] = plan["plan"].clone();
    let view: Value = client.post("/api/v1/queries", &[], &question).await.unwrap();
    let path = format!("/api/v1/queries/{}", view["id"].as_str().unwrap());
    eventually("the question is answered", async || {
        let view: Value = client.get(&path).await.unwrap();
        assert_ne!(view["step"], "void", "{view}");
        view["step"] == "released"
    })
    .await;
    for sql in [
        format!("SELECT count(*) FROM purchases WHERE department = '{LITERAL}'"),
        format!("SELECT phone FROM purchases WHERE member = '{CARD}'"),
        format!("SELEKT '{LITERAL}' FROMM {ALIAS}"),
    ] {
        let body = json!({ "sql": sql });
        asked(client, false, Method::POST, "/api/v1/queries/plan", body).await;
    }
}

/// An export, a member's session, and an erasure.
async fn erasure(client: &Client, went_in: &mut WentIn) {
    let export = format!("/api/v1/members/{CARD}/export");
    asked(client, true, Method::GET, &export, Value::Null).await;
    let of = json!({ "card": CARD });
    let session = asked(client, true, Method::POST, "/api/v1/member-sessions", of.clone()).await;
    went_in.add("a member's token", session["token"].as_str().unwrap());
    let code = asked(client, true, Method::POST, "/api/v1/member-codes", of).await;
    went_in.add("a member's code", code["code"].as_str().unwrap());

    let words = "please forget that I ever bought anything";
    went_in.add("a member's words", words);
    let path = format!("/api/v1/members/{CARD}/requests");
    let request = json!({ "kind": "erasure", "words": words });
    let opened: Value = client.post(&path, &[], &request).await.unwrap();
    let path = format!("/api/v1/requests/{}/answer", opened["id"].as_str().unwrap());
    let done: Value = client.post(&path, &[], &json!({ "outcome": "done" })).await.unwrap();
    assert_eq!(done["state"], "done");
    asked(client, false, Method::GET, &format!("/api/v1/members/{CARD}"), Value::Null).await;
}

/// The search finds each form, wherever it stands, and nothing where there is nothing.
#[test]
fn what_is_searched_for_is_found_in_every_form() {
    let mut went_in = WentIn::default();
    went_in.add("a name", NAME);
    let noise = "2026-11-30T00:00:00Z TRACE node::http request answered status=200";
    assert!(went_in.found_in(noise.as_bytes()).is_empty());
    let bytes = NAME.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let within = |before: &str| STANDARD_NO_PAD.encode(format!("{before}{NAME}, and more"));
    for (form, text) in [
        ("a name in clear", NAME.to_owned()),
        ("a name in hex", hex.to_uppercase()),
        ("a name in hex", hex),
        ("a name as a list of bytes", format!("{bytes:?}")),
        ("a name for Debug", NAME.escape_default().to_string()),
        ("a name in base64", within("")),
        ("a name in base64", within("x")),
        ("a name in base64", within("xy")),
        ("a name in base64", within("xyz")),
    ] {
        let line = format!("{noise} {text} {noise}");
        assert!(went_in.found_in(line.as_bytes()).contains(form), "{form}: {text}");
    }
}
