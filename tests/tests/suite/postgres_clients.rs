//! The clean room as a database, to the real psql, psycopg, SQLAlchemy and pandas, over real nodes: who is let
//! in, what is listed, what spends and what does not, and what hostile bytes get.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use node::auth::{Auth, Role};
use node::metrics::Metrics;
use node::service::*;
use node::{postgres, tls};
use protocol::ids::BrandId;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::alliance::{Alliance, eventually, first_of};

const MEMBERS: &str = "SELECT count(distinct member) AS members FROM purchases";
const BY_HALF: &str = "SELECT count(distinct member) AS active, half_year(purchased_on) AS half FROM purchases \
                       GROUP BY half_year(purchased_on)";
const PYTHON: &str = include_str!("postgres_clients.py");
/// What Apache Superset sent when it was tried, and who sends it again.
const SUPERSET: (&str, &str) = (include_str!("superset.py"), include_str!("superset.sql"));

/// Whether a program is there; where everything has to be tried, it must be.
fn is_there(program: &str, arguments: &[&str]) -> bool {
    let found =
        Command::new(program).args(arguments).output().is_ok_and(|out| out.status.success());
    if !found {
        assert!(
            std::env::var_os("COALITION_SHARED").is_none(),
            "{program} {arguments:?} is not there, and nothing may be skipped here"
        );
        eprintln!("skipped: {program} {arguments:?} is not there");
    }
    found
}

/// A node's door for SQL clients.
struct Door {
    served: postgres::Served,
    auth: Auth,
    metrics: Metrics,
    certificate: PathBuf,
}

impl Door {
    async fn of(alliance: &Alliance, brand: &str) -> Self {
        let data = alliance.data(BrandId::new(brand).unwrap());
        if !data.tls().exists() {
            tls::create(&data.tls(), None).unwrap();
        }
        let auth = Auth::open(&data.users()).unwrap();
        let config = tls::load(&data.tls()).unwrap();
        let metrics = Metrics::default();
        let address = ([127, 0, 0, 1], 0).into();
        let node = alliance.node(brand);
        let served = postgres::serve(node, auth.clone(), metrics.clone(), address, &config).await;
        let certificate = data.tls().join(tls::CERTIFICATE_FILE);
        Self { served: served.unwrap(), auth, metrics, certificate }
    }

    /// A user with a role and a database password.
    fn user(&self, name: &str, role: Role) -> String {
        self.auth.add_user(name, &[role], "correct horse battery staple").unwrap();
        self.auth.make_database_password(name, 30).unwrap().password.to_string()
    }

    fn connection(&self, user: &str) -> String {
        format!(
            "host=localhost hostaddr=127.0.0.1 port={} dbname=coalition user={user} sslmode=verify-full \
             sslrootcert={} connect_timeout=30",
            self.served.address.port(),
            self.certificate.display()
        )
    }

    fn psql(&self, user: &str, password: &str) -> Psql {
        Psql { connection: self.connection(user), password: password.to_owned() }
    }
}

/// How psql is run.
struct Psql {
    connection: String,
    password: String,
}

impl Psql {
    /// Runs some statements and commands on one connection; gives what it said.
    async fn run(&self, script: &str) -> Said {
        let mut command = Command::new("psql");
        command
            .args(["-X", "-q", "-A", "-t", "-v", "VERBOSITY=verbose", "-f", "-", &self.connection])
            .env("PGPASSWORD", &self.password)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let script = script.to_owned();
        let output = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            // one that is not let in may have ended before it has read anything
            let _ = child.stdin.take().unwrap().write_all(script.as_bytes());
            child.wait_with_output().unwrap()
        });
        Said::of(output.await.unwrap())
    }

    /// What is refused, with its state.
    async fn refused(&self, script: &str, state: &str) -> String {
        let said = self.run(script).await;
        assert!(said.error.contains(state), "{script}: no {state} in {}", said.error);
        said.error
    }

    async fn rows(&self, script: &str) -> Vec<Vec<String>> {
        let said = self.run(script).await;
        assert!(!said.error.contains("ERROR"), "{script}: {}", said.error);
        let rows = said.output.lines().map(|line| line.split('|').map(str::to_owned).collect());
        rows.collect()
    }
}

struct Said {
    output: String,
    error: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { output: text(output.stdout), error: text(output.stderr) }
    }
}

async fn local_charged(node: &Node) -> u64 {
    let brand = node.brand().to_string();
    let budgets = node.budgets(None, None).await.unwrap();
    budgets.brands.into_iter().find(|of| of.brand == brand).unwrap().local.charged_pico_rho
}

async fn exact_members(node: &Node) -> f64 {
    node.figures("members".into(), Vec::new()).await.unwrap().rows[0][0].parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_lists_explains_confirms_and_gets_noised_answers() {
    if !is_there("psql", &["--version"]) {
        return;
    }
    let alliance = Alliance::of_the_sample().await;
    for brand in alliance.brands.clone() {
        alliance.import(brand.as_str()).await;
    }
    let node = alliance.node("grocer_one");
    let door = Door::of(&alliance, "grocer_one").await;
    let password = door.user("lin", Role::Analyst);
    let psql = door.psql("lin", &password);

    // --- what there is
    let listed = psql.rows("\\d").await;
    assert!(listed.iter().any(|row| row[..3] == ["public", "purchases", "view"]), "{listed:?}");
    let columns = psql.run("\\d purchases").await;
    assert!(columns.output.contains("purchased_on|date|"), "{} {}", columns.output, columns.error);
    assert_eq!(columns.error, "");
    let described = psql.run("\\d+ purchases").await;
    assert!(described.output.contains("one of "), "{} {}", described.output, described.error);
    for (command, expected) in [
        ("\\dt", ""),
        ("\\dv", "public|purchases|view|coalition"),
        ("\\l", "coalition|coalition|UTF8"),
        ("\\dn", "public|coalition"),
        ("\\du", "lin|"),
        ("\\di", ""),
        ("\\df", ""),
        ("\\dx", ""),
        ("\\dT", ""),
        ("\\dp", "public|purchases|view"),
        ("\\d nothing_of_the_kind", ""),
        ("SELECT current_user, current_database()", "lin|coalition"),
        ("SHOW coalition.scope", ""),
        ("SELECT count(*) FROM information_schema.tables WHERE table_name = 'purchases'", "1"),
    ] {
        let said = psql.run(command).await;
        assert!(said.output.contains(expected), "{command}: {} {}", said.output, said.error);
        let quiet = !said.error.contains("ERROR") && !said.error.contains("FATAL");
        assert!(quiet, "{command}: {}", said.error);
    }

    // --- what spends nothing
    let cost = 1_000_000_000;
    let question = Question { scope: Some(Scope::Local), pico_rho: Some(cost), ..MEMBERS.into() };
    let plan = node.plan(question).await.unwrap();
    assert_eq!(plan.cost_pico_rho, cost);
    let local = "SET coalition.scope = local; SET coalition.rho = '0.001';";
    let explained = psql.run(&format!("{local} EXPLAIN {MEMBERS}")).await.output;
    for expected in ["members: expected error", "grocer_one", &plan.plan, "SET coalition.budget"] {
        assert!(explained.contains(expected), "{expected} is not in {explained}");
    }
    let json = psql.run(&format!("EXPLAIN (FORMAT JSON) {MEMBERS}")).await.output;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["scope"], "joint");
    let refused = psql.refused(&format!("{local} {MEMBERS};"), "PB001").await;
    assert!(refused.contains("HINT:") && refused.contains("coalition.budget"), "{refused}");
    let less = format!("{local} SET coalition.budget = '0.000999999999'; {MEMBERS};");
    psql.refused(&less, "PB001").await;
    for (sql, state) in [
        ("SELECT count(*) FROM nothing_of_the_kind", "42P01"),
        ("SELECT sum(nothing_of_the_kind) FROM purchases", "42703"),
        ("SELECT count(* FROM purchases", "42601"),
        ("SELECT * FROM purchases LIMIT 10", "0A000"),
        ("SELECT member FROM purchases", "0A000"),
        ("SELECT sum(quantity) FROM purchases", "PB003"),
        ("SELECT count(*) FROM purchases WHERE department = 'NONE OF THEM'", "22023"),
        ("DELETE FROM purchases", "0A000"),
        ("COPY purchases TO STDOUT", "0A000"),
        ("DECLARE c CURSOR FOR SELECT count(*) FROM purchases", "0A000"),
    ] {
        let said = psql.refused(&format!("SET coalition.budget = '1'; {sql};"), state).await;
        assert!(said.contains("HINT:"), "{sql}: {said}");
    }
    // and with a budget: what cannot be made of an answer is found before there is one to pay for
    let by_department = "SELECT department, count(*) AS n FROM purchases GROUP BY department";
    for (outer, state) in [
        ("SELECT sum(nothing_of_the_kind) FROM", "42703"),
        ("SELECT repeat(department, 1000000) AS d FROM", "42883"),
    ] {
        let confirmed = format!("{local} SET coalition.budget = '0.001';");
        psql.refused(&format!("{confirmed} {outer} ({by_department}) AS t;"), state).await;
    }
    let listed = node.queries_page(first_of(10)).await.unwrap().items;
    assert_eq!((local_charged(&node).await, listed.len()), (0, 0));

    // --- what is confirmed is answered with noise, and charged
    let confirmed = format!("{local} SET coalition.budget = '0.001';");
    let shown =
        format!("{confirmed} SET coalition.intervals = on; {MEMBERS}; SHOW coalition.budget;");
    let rows = psql.rows(&shown).await;
    let value: f64 = rows[0][0].parse().unwrap();
    let (low, high): (f64, f64) = (rows[0][1].parse().unwrap(), rows[0][2].parse().unwrap());
    let truth = exact_members(&node).await;
    assert!(
        (value - truth).abs() < 7.0 * plan.sigma[0].sigma && low < value && value < high,
        "{rows:?}"
    );
    assert_eq!(rows[1], ["0"], "what was spent is off the budget");
    assert_eq!(local_charged(&node).await, cost);
    // the same question is the same answer, for nothing and without a budget; as a tool wraps it, too
    let again = format!("{local} SELECT * FROM ({MEMBERS}) AS \"t\" LIMIT 100;");
    assert_eq!(psql.rows(&again).await, [[rows[0][0].as_str()]]);
    // another one is more than what is left of the budget
    let other = "SELECT count(*) AS n FROM purchases";
    let twice = format!("{confirmed} {MEMBERS}; {other}; {other};");
    let said = psql.run(&twice).await;
    assert!(!said.error.contains("PB001"), "the budget covers one: {}", said.error);
    let third = "SELECT count(*) AS n, count(distinct member) AS m FROM purchases";
    let runs_down = format!("{confirmed} {third}; {other} WHERE quantity > 1;");
    let said = psql.run(&runs_down).await;
    assert!(said.error.contains("PB001") && said.error.contains("has 0 left"), "{}", said.error);
    assert_eq!(local_charged(&node).await, 3 * cost);
    // nor does a budget go beyond the brand's account of the year
    let all = format!(
        "SET coalition.scope = local; SET coalition.budget = '1'; SET coalition.rho = '0.012'; {MEMBERS};"
    );
    psql.refused(&all, "PB002").await;
    assert_eq!(local_charged(&node).await, 3 * cost);

    // --- all brands together
    let joint = node.plan(BY_HALF.into()).await.unwrap();
    let script = format!("SET coalition.budget = '0.{:012}'; {BY_HALF};", joint.cost_pico_rho);
    let said = psql.run(&script).await;
    let rows: Vec<Vec<&str>> = said.output.lines().map(|line| line.split('|').collect()).collect();
    assert_eq!(rows.len(), joint.cells as usize, "{} {}", said.output, said.error);
    assert!(said.error.contains("NOTICE"), "no progress was told: {}", said.error);
    let exact = node::cli::demo::exact::active_memberships_by_half().await.unwrap();
    for (row, (half, exact)) in rows.iter().zip(exact) {
        let value: f64 = row[0].parse().unwrap();
        assert!((value - exact as f64).abs() <= 7.0 * joint.sigma[0].sigma, "{row:?}, {exact}");
        assert_eq!(row[1], half, "columns stand as they were selected");
    }
    assert_eq!(node.status().budget.unwrap().spent_pico_rho, joint.cost_pico_rho);
    assert_eq!(psql.run(&format!("{BY_HALF};")).await.output, said.output, "for nothing");
    // a pack whose answers are there takes nothing off the budget, though nobody knows before it is asked
    let pack = "SELECT brand, count(*) AS n FROM purchases GROUP BY brand";
    let script = format!(
        "SET coalition.rho = '0.001'; SET coalition.budget = '0.002'; {pack}; SHOW coalition.budget; {pack}; SHOW coalition.budget;"
    );
    let rows = psql.rows(&script).await;
    assert_eq!((&rows[0], &rows[1]), (&rows[2], &rows[3]), "{rows:?}");
    assert_eq!((rows[0][0].as_str(), &rows[1][..]), ("grocer_one", &["0.001".to_owned()][..]));
    let figures = door.metrics.render();
    assert!(
        figures.contains("coalition_postgres_statements_total{kind=\"question\"}"),
        "{figures}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_analysts_with_a_database_password_are_let_in_over_tls_and_as_long_as_they_are() {
    if !is_there("psql", &["--version"]) {
        return;
    }
    let alliance = Alliance::of_the_sample().await;
    let door = Door::of(&alliance, "grocer_one").await;
    let password = door.user("lin", Role::Analyst);
    let psql = door.psql("lin", &password);
    assert_eq!(psql.rows("SELECT 1;").await, [["1"]]);

    // without TLS, under another certificate, without or with a wrong password, for another database
    let port = door.served.address.port();
    let plain = format!("host=127.0.0.1 port={port} dbname=coalition user=lin sslmode=disable");
    let refused = Psql { connection: plain, password: password.clone() }.run("SELECT 1;").await;
    assert!(refused.error.contains("over TLS alone"), "{}", refused.error);
    let other = alliance.folder.path().join("other");
    tls::create(&other, None).unwrap();
    let connection = door.connection("lin").replace(
        &door.certificate.display().to_string(),
        &other.join(tls::CERTIFICATE_FILE).display().to_string(),
    );
    let refused = Psql { connection, password: password.clone() }.run("SELECT 1;").await;
    assert!(refused.error.contains("certificate verify failed"), "{}", refused.error);
    let connection = door.connection("lin").replace("dbname=coalition", "dbname=postgres");
    let refused = Psql { connection, password: password.clone() }.run("SELECT 1;").await;
    assert!(refused.error.contains("no such database"), "{}", refused.error);
    // the password of the console is another one, and names cannot be told from nobody's
    let mut said = Vec::new();
    for user in ["lin", "nobody"] {
        let refused = door.psql(user, "correct horse battery staple").run("SELECT 1;").await;
        let words = refused.error.split("FATAL:").nth(1).unwrap_or_default().to_owned();
        assert!(words.contains("password is wrong"), "{}", refused.error);
        said.push(words);
    }
    assert_eq!(said[0], said[1]);
    // channel binding is what keeps others from standing between
    let connection = format!("{} channel_binding=require", door.connection("lin"));
    assert_eq!(Psql { connection, password: password.clone() }.rows("SELECT 1;").await, [["1"]]);

    // guessing is slowed down; the console's sign-in is not. After five guesses the wait is a second, in which a slow
    // machine does not start psql again: after eight it is as many seconds
    let (mut guesses, mut slowed) = (0, 0);
    while guesses < 8 {
        let refused = door.psql("lin", "wrong").run("SELECT 1;").await;
        if refused.error.contains("too many failed sign-ins") {
            slowed += 1;
            assert!(guesses >= 5, "slowed down after {guesses}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        } else {
            assert!(refused.error.contains("password is wrong"), "{}", refused.error);
            guesses += 1;
        }
    }
    println!("slowed down {slowed} times");
    let refused = door.psql("lin", &password).run("SELECT 1;").await;
    assert!(refused.error.contains("too many failed sign-ins"), "{}", refused.error);
    assert!(door.auth.sign_in("lin", "correct horse battery staple").await.is_ok());

    // who may not ask is not let in
    let store = door.user("sam", Role::Store);
    let refused = door.psql("sam", &store).run("SELECT 1;").await;
    assert!(refused.error.contains("this needs the role analyst"), "{}", refused.error);

    // and who is not any more what he was is out with the next statement
    door.user("ops", Role::Administrator);
    let password = door.user("wu", Role::Analyst);
    let held = door.psql("wu", &password);
    let folder = alliance.folder.path().to_owned();
    let script = format!(
        "SELECT 'first';\n\\! touch {0}/asked; for i in $(seq 600); do [ -e {0}/changed ] || sleep 0.1; done\nSELECT 'second';\n",
        folder.display()
    );
    let running = tokio::spawn(async move { held.run(&script).await });
    eventually("the first statement is answered", async || folder.join("asked").exists()).await;
    door.auth.set_roles("wu", &[Role::Store]).unwrap();
    std::fs::write(folder.join("changed"), "").unwrap();
    let said = running.await.unwrap();
    assert!(said.output.contains("first") && !said.output.contains("second"), "{}", said.output);
    assert!(said.error.contains("42501"), "{}", said.error);
}

/// What no client sends ends its own connection and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_end_their_connection_and_nobody_elses() {
    let alliance = Alliance::of_the_sample().await;
    let door = Door::of(&alliance, "grocer_one").await;
    let password = door.user("lin", Role::Analyst);
    let address = door.served.address;
    let certificate = std::fs::read(&door.certificate).unwrap();
    let request = [0, 0, 0, 8, 4, 210, 22, 47];

    // before TLS
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 64],
        &[0; 64],
        &[0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5],
        // a start without TLS, a cancelling of nobody
        &[0, 0, 0, 9, 0, 3, 0, 0, 0],
        &[0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 1],
        // TLS is asked for, and then not spoken: nor does what came in clear count
        &[&request[..], b"\0\0\0\x10\0\x03\0\0user\0lin\0\0"].concat(),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut said = Vec::new();
        let ended =
            tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "the node holds on to {bytes:?}");
    }

    // behind it
    let mut config = Arc::unwrap_or_clone(tls::pinned(&certificate).unwrap());
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let start = |parameters: &[u8]| {
        let length = u32::try_from(parameters.len() + 9).unwrap().to_be_bytes();
        [&length[..], &[0, 3, 0, 0], parameters, &[0]].concat()
    };
    let lin = start(b"user\0lin\0");
    let message = |kind: u8, body: &[u8]| {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind][..], &length, body].concat()
    };
    for bytes in [
        vec![0xff; 32],
        vec![0; 32],
        vec![0, 0, 0, 3, 0, 3, 0, 0],
        // as long as nobody may be before sign-in
        [&[0, 0x10, 0, 0, 0, 3, 0, 0][..], &[b'x'; 64]].concat(),
        start(b"user\0"),
        start(b"replication\0true\0user\0lin\0"),
        [&lin[..], &message(b'Q', b"SELECT 1\0")].concat(),
        [&lin[..], &message(b'p', b"SCRAM-SHA-256\0")].concat(),
        [&lin[..], &message(b'p', b"PLAIN\0\0\0\0\x05a\0b\0c")].concat(),
        [
            &lin[..],
            &message(b'p', b"SCRAM-SHA-256\0\0\0\0\x0bn,,n=,r=abc"),
            &message(b'p', b"c=biws,r=abc,p=AAAA"),
        ]
        .concat(),
        [&lin[..], &message(b'p', b"SCRAM-SHA-256\0\x7f\xff\xff\xff")].concat(),
        [&lin[..], &message(b'p', b"")].concat(),
        [&lin[..], &[b'Q', 0x7f, 0xff, 0xff, 0xff]].concat(),
        [&lin[..], &[b'Q', 0, 0, 0, 0]].concat(),
        [&lin[..], &message(0, &[1, 2, 3])].concat(),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&request).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'S');
        let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        // the node may end before all is sent
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut said = Vec::new();
        let ended =
            tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "the node holds on to {bytes:?}");
        let let_in = b"R\0\0\0\x08\0\0\0\0";
        assert!(!said.windows(let_in.len()).any(|part| part == let_in), "{bytes:?}");
    }
    eventually("every place is given back", async || {
        door.metrics.render().lines().any(|line| line == "coalition_postgres_open_connections 0")
    })
    .await;
    if is_there("psql", &["--version"]) {
        assert_eq!(door.psql("lin", &password).rows("SELECT 1;").await, [["1"]]);
        // one that is signed in, and says too much
        let long = format!("SELECT '{}';", "x".repeat(100_000));
        let said = door.psql("lin", &password).run(&long).await;
        assert!(said.error.contains("08P01") || said.error.contains("FATAL"), "{}", said.error);
        assert_eq!(door.psql("lin", &password).rows("SELECT 1;").await, [["1"]]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn psycopg_sqlalchemy_and_pandas_work_as_with_any_database() {
    if !is_there("python3", &["-c", "import psycopg, sqlalchemy, pandas"]) {
        return;
    }
    let alliance = Alliance::of_the_sample().await;
    alliance.import("grocer_one").await;
    let node = alliance.node("grocer_one");
    let door = Door::of(&alliance, "grocer_one").await;
    let password = door.user("lin", Role::Analyst);
    let (script, out) =
        (alliance.folder.path().join("clients.py"), alliance.folder.path().join("out"));
    std::fs::write(&script, PYTHON).unwrap();
    let said = python(&script, &door.connection("lin"), &password, &out).await;
    let told = std::fs::read_to_string(&out).unwrap_or_default();
    assert!(!told.is_empty(), "{} {}", said.output, said.error);
    let told: Value = serde_json::from_str(&told).unwrap();

    assert_eq!(told["views"], serde_json::json!(["purchases"]), "{told}");
    let columns: Vec<&str> =
        told["columns"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(
        columns.contains(&"purchased_on: DATE") && columns.contains(&"member: TEXT"),
        "{columns:?}"
    );
    assert_eq!(told["unconfirmed"], "PB001");
    assert_eq!(told["aborted"], "25P02");
    assert!(told["hint"].as_str().unwrap().contains("coalition.budget"));
    let truth = exact_members(&node).await;
    let members = told["members"].as_f64().unwrap();
    assert!((members - truth).abs() < truth / 2.0, "{members}, {truth}");
    for same in ["binary", "again", "prepared", "pandas", "sqlalchemy"] {
        assert_eq!(told[same], told["members"], "{same}");
    }
    assert_eq!(told["injected"], "22023");
    assert_eq!(told["departments"], told["departments_by_parameter"]);
    assert_eq!(told["frame"], serde_json::json!(["department", "members"]));
}

/// What a BI tool puts around a question, its looks into the catalogue, its lists for filters: every statement as
/// Apache Superset 6.1.0 sent it.
#[tokio::test(flavor = "multi_thread")]
async fn what_superset_sends_is_answered_once_or_refused_in_words() {
    if !is_there("python3", &["-c", "import psycopg"]) {
        return;
    }
    let alliance = Alliance::of_the_sample().await;
    alliance.import("grocer_one").await;
    let node = alliance.node("grocer_one");
    let door = Door::of(&alliance, "grocer_one").await;
    let password = door.user("lin", Role::Analyst);
    let folder = alliance.folder.path();
    let (script, out) = (folder.join("superset.py"), folder.join("told"));
    std::fs::write(&script, SUPERSET.0).unwrap();
    std::fs::write(folder.join("superset.sql"), SUPERSET.1).unwrap();
    let said = python(&script, &door.connection("lin"), &password, &out).await;
    let told = std::fs::read_to_string(&out).unwrap_or_default();
    assert!(!told.is_empty(), "{} {}", said.output, said.error);
    let told: Vec<Value> = serde_json::from_str(&told).unwrap();
    assert_eq!(told.len(), 46);

    let mut asked = 0;
    for one in &told {
        let (state, left) = match one["expected"].as_str().unwrap() {
            "answered" | "again" => ("00000", "0.0001"),
            "asked" => ("00000", "0"),
            state => (state, "0.0001"),
        };
        assert_eq!(
            (one["state"].as_str(), one["left"].as_str()),
            (Some(state), Some(left)),
            "{one}"
        );
        assert_eq!(one["hint"].is_null(), state == "00000", "{one}");
        asked += u64::from(left == "0");
    }
    assert_eq!(local_charged(&node).await, asked * 100_000_000, "{asked} were asked");
    let rows = |words: &str| -> Vec<Vec<String>> {
        let found = told.iter().find(|one| one["sql"].as_str().unwrap().contains(words));
        serde_json::from_value(found.unwrap()["rows"].clone()).unwrap()
    };
    // a chart with another row limit shows the same values, the greatest first
    let bars = rows("ORDER BY\n  count DESC\nLIMIT 1000");
    assert_eq!(bars, rows("ORDER BY\n  count DESC\nLIMIT 100\n"));
    let value = |row: &Vec<String>| -> f64 { row[1].parse().unwrap() };
    assert!(bars.is_sorted_by(|one, two| value(one) >= value(two)), "{bars:?}");
    // a year as the tool's own filter of time writes it
    let months = rows("TO_DATE(");
    assert_eq!((months.len(), months[0][0].as_str()), (12, "2017-01"));
    // a line by day has every day that the contract has, in the order of the calendar
    let days = rows("DATE_TRUNC('DAY', purchased_on) AS");
    assert_eq!((days.len(), days[0][0].as_str()), (365, "2017-01-01"));
    assert!(days.is_sorted_by(|one, two| one[0] < two[0]));
    // lists of values are what the contract declares, of this brand's
    let listed = rows("SELECT DISTINCT department AS column_values\nFROM public");
    assert!(listed.contains(&vec!["GROCERY".to_owned()]), "{listed:?}");
    assert!(!listed.contains(&vec!["AUTOMOTIVE".to_owned()]), "no row of this brand's has it");
    assert_eq!(listed.len(), bars.len());
    // charts of a dataset that is a question are made of one answer to it
    let mut charted = rows("SUM(members)\" DESC");
    let mut listed = rows("ORDER BY\n  members DESC");
    assert!(listed.is_sorted_by(|one, two| value(one) >= value(two)), "{listed:?}");
    assert_eq!(rows("MAX(members)")[0][0], listed[0][1]);
    listed.sort();
    charted.sort();
    assert_eq!(charted, listed, "each group's sum is the one value of it");
    assert_eq!(rows("WHERE\n  department IN ('GROCERY')\n").len(), 1);
    assert!(rows("EXPLAIN")[0][0].contains("(cost=0..0.0001 rows=10 width=0)"));
}

async fn python(script: &Path, connection: &str, password: &str, out: &Path) -> Said {
    let mut command = Command::new("python3");
    command.arg(script).arg(connection).arg(out).env("PGPASSWORD", password);
    Said::of(tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap())
}
