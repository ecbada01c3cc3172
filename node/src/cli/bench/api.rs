//! `coalition bench api`: requests a second and their times over HTTPS, beside a server that only says hello.
//!
//! A node of a running alliance and the other server are each a process of their own, asked one after the other by
//! the same clients over TLS connections that stay open. The other server is axum's "Hello, world!" behind the same TLS
//! library, HTTP/1.1 like the node: what the frame costs, with nothing in it. Clients and servers share this machine, so
//! that both figures are lower than on machines of their own; what counts is their ratio.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use axum_server::tls_rustls::RustlsConfig;
use serde::Serialize;
use tokio::task::JoinSet;

use super::super::operations::sign_in;
use super::super::process::{NodeProcess, Program};
use super::super::{CliError, Io};
use super::alliance::{Alliance, Plan, SETTINGS, card};
use super::input;
use crate::client::{Client, ClientError, Method};
use crate::config::SNAPSHOT_MIB;
use crate::tls;

/// Members of each brand.
const MEMBERS: u32 = 200;
/// Requests that each client makes at least, and that count.
const LEAST: usize = 2;
/// Requests before those that count: connections open and caches fill.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long the first block may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// How it is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct ApiArguments {
    /// Connections at once, each with one request under way.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub connections: u32,
    /// Seconds for each kind of request.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Only say hello, under certificate and key of this folder, until standard input ends.
    #[arg(long, hide = true)]
    pub hello: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// One kind of request.
#[derive(Debug, Clone, Serialize)]
pub struct RequestFigures {
    /// What was asked for.
    pub request: &'static str,
    /// Requests that were answered.
    pub requests: u64,
    /// A second.
    pub requests_per_second: f64,
    /// Milliseconds from asking to the whole answer, half of them in less.
    pub p50_ms: f64,
    /// The same, 99 of 100.
    pub p99_ms: f64,
    /// Bytes of an answer's body.
    pub answer_bytes: usize,
    /// `requests_per_second` over that of the server that says hello.
    pub of_hello: f64,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct ApiFigures {
    /// Connections at once.
    pub connections: u32,
    /// The server that only says hello.
    pub hello: RequestFigures,
    /// The node, by kind of request.
    pub requests: Vec<RequestFigures>,
}

impl ApiFigures {
    /// Says it to a person.
    pub fn tell(&self, io: &Io) {
        io.say(&format!(
            "  {:<44} {:>10} {:>9} {:>9} {:>8}",
            "request", "a second", "p50, ms", "p99, ms", "of hello"
        ));
        for of in std::iter::once(&self.hello).chain(&self.requests) {
            io.say(&format!(
                "  {:<44} {:>10.0} {:>9.2} {:>9.2} {:>8.2}",
                of.request, of.requests_per_second, of.p50_ms, of.p99_ms, of.of_hello
            ));
        }
    }
}

/// One kind of request, by its number.
#[derive(Clone, Copy)]
enum Asked {
    Hello,
    Health,
    OpenApi,
    Checkpoint,
    Status,
    Member,
    Exchange,
}

impl Asked {
    const OF_THE_NODE: [Self; 6] =
        [Self::Health, Self::Checkpoint, Self::OpenApi, Self::Status, Self::Member, Self::Exchange];

    const fn name(self) -> &'static str {
        match self {
            Self::Hello => "axum: Hello, world!",
            Self::Health => "GET /healthz",
            Self::OpenApi => "GET /api/v1/openapi.json",
            Self::Checkpoint => "GET /checkpoint",
            Self::Status => "GET /api/v1/status",
            Self::Member => "GET /api/v1/members/{card}",
            Self::Exchange => "POST /api/v1/exchanges, durable",
        }
    }

    async fn ask(self, client: &Client, key: &str, number: u64) -> Result<usize, ClientError> {
        let member = card((number % u64::from(MEMBERS)) as u32);
        let (method, path, body) = match self {
            Self::Hello => (Method::GET, "/".to_owned(), None),
            Self::Health => (Method::GET, "/healthz".to_owned(), None),
            Self::OpenApi => (Method::GET, "/api/v1/openapi.json".to_owned(), None),
            Self::Checkpoint => (Method::GET, "/checkpoint".to_owned(), None),
            Self::Status => (Method::GET, "/api/v1/status".to_owned(), None),
            Self::Member => (Method::GET, format!("/api/v1/members/{member}"), None),
            Self::Exchange => {
                let body = format!("{{\"card\":\"{member}\",\"to\":\"brand-02\",\"points\":1}}");
                (Method::POST, "/api/v1/exchanges".to_owned(), Some(body.into()))
            }
        };
        let key = format!("{key}-{number}");
        let headers = [("idempotency-key", key.as_str())];
        let answer = client.send(method, &path, &headers, body).await?;
        if answer.status.is_success() {
            return Ok(answer.body.len());
        }
        Err(ClientError::Answer { status: answer.status.as_u16() })
    }
}

/// Measures. Node and hello run as this program says.
///
/// # Errors
/// When a server does not start, or refuses a request.
pub async fn measure(
    arguments: &ApiArguments,
    program: &Program,
    io: &Io,
) -> Result<ApiFigures, CliError> {
    if !(0.1..=3600.0).contains(&arguments.seconds) {
        return Err(input("--seconds is 0.1 to 3600"));
    }
    let plan = Plan { brands: 4, members: MEMBERS, snapshot_mib: SNAPSHOT_MIB, served: true };
    let alliance = Alliance::make_with(plan, SETTINGS)?;
    let mut nodes = alliance.processes(program);
    for node in &mut nodes {
        node.start()?;
    }
    for node in &mut nodes {
        node.answers().await?;
    }
    let first = nodes.first().ok_or_else(|| input("there is no node"))?;
    let hello = HelloProcess::start(program, &first.data().tls())?;
    let certificate =
        std::fs::read(first.data().tls().join(tls::CERTIFICATE_FILE)).map_err(input)?;
    let clients = |address: SocketAddr| {
        let one = |_| Client::connect(address, &certificate);
        (0..arguments.connections).map(one).collect::<Result<Vec<_>, _>>()
    };
    io.say(&format!("{} connections, {} s each", arguments.connections, arguments.seconds));
    let said = clients(hello.address)?;
    let hello = run(arguments, Asked::Hello, &said, 1.0).await?;
    drop(said);
    let of_node = clients(first.client()?.address())?;
    for client in &of_node {
        sign_in(client, first.data(), None).await?;
    }
    // a log that has a block, so that there is a checkpoint
    let asks = of_node.first().ok_or_else(|| input("there is no client"))?;
    Asked::Exchange.ask(asks, "first", 0).await?;
    let began = Instant::now();
    while Asked::Checkpoint.ask(asks, "first", 0).await.is_err() {
        if began.elapsed() > PATIENCE {
            return Err(input("no block is certified in time"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut requests = Vec::new();
    for asked in Asked::OF_THE_NODE {
        requests.push(run(arguments, asked, &of_node, hello.requests_per_second).await?);
    }
    for node in &mut nodes {
        NodeProcess::tell_to_stop(node);
    }
    for node in &mut nodes {
        node.stopped().await;
    }
    Ok(ApiFigures { connections: arguments.connections, hello, requests })
}

/// Asks by all clients at once for the time.
async fn run(
    arguments: &ApiArguments,
    asked: Asked,
    clients: &[Client],
    of_hello: f64,
) -> Result<RequestFigures, CliError> {
    let begins = Instant::now() + WARM_UP;
    let ends = begins + Duration::from_secs_f64(arguments.seconds);
    let mut tasks = JoinSet::new();
    for (place, client) in (0_u64..).zip(clients.iter().cloned()) {
        tasks.spawn(async move {
            let (mut micros, mut bytes, mut number) = (Vec::new(), 0, place * 7);
            let key = format!("{}-{place}", asked.name().replace(' ', "-"));
            loop {
                let began = Instant::now();
                // on a slow machine one request may take all the time: two are measured all the same
                if began >= ends && micros.len() >= LEAST {
                    return Ok::<_, ClientError>((micros, bytes));
                }
                bytes = asked.ask(&client, &key, number).await?;
                number += 1;
                if began >= begins {
                    micros.push(began.elapsed().as_micros() as u64);
                }
            }
        });
    }
    let (mut micros, mut answer_bytes) = (Vec::new(), 0);
    while let Some(ended) = tasks.join_next().await {
        let failed = |error| CliError::Input(format!("{}: {error}", asked.name()));
        let (of_one, bytes) = ended.map_err(input)?.map_err(failed)?;
        micros.extend(of_one);
        answer_bytes = answer_bytes.max(bytes);
    }
    // until the last answer: what was under way in the end counts with its time
    let seconds = begins.elapsed().as_secs_f64();
    micros.sort_unstable();
    let percentile = |percent: usize| {
        let place = (micros.len() * percent / 100).min(micros.len().saturating_sub(1));
        micros.get(place).map_or(f64::NAN, |it| *it as f64 / 1e3)
    };
    let rate = micros.len() as f64 / seconds;
    let is_hello = matches!(asked, Asked::Hello);
    Ok(RequestFigures {
        request: asked.name(),
        requests: micros.len() as u64,
        requests_per_second: rate,
        p50_ms: percentile(50),
        p99_ms: percentile(99),
        answer_bytes,
        of_hello: if is_hello { 1.0 } else { rate / of_hello },
    })
}

/// The server that says hello, as a process.
struct HelloProcess {
    child: Child,
    address: SocketAddr,
}

impl HelloProcess {
    fn start(program: &Program, tls: &Path) -> Result<Self, CliError> {
        let mut child = Command::new(program.path())
            .args(["bench", "api", "--hello"])
            .arg(tls)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(input)?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(input)?;
        }
        match line.trim().parse() {
            Ok(address) => Ok(Self { child, address }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(input("the server that says hello does not start"))
            }
        }
    }
}

impl Drop for HelloProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says hello to everybody until standard input ends; prints where.
pub async fn say_hello(folder: &Path, io: &mut Io) -> Result<(), CliError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(input)?;
    listener.set_nonblocking(true).map_err(input)?;
    io.line(&listener.local_addr().map_err(input)?.to_string())?;
    let current = tls::load(folder).map_err(input)?.current();
    let config = RustlsConfig::from_config(Arc::clone(&current.https));
    let router = Router::new().route("/", get(|| async { "Hello, world!" }));
    let server = axum_server::from_tcp_rustls(listener, config).map_err(input)?.http1_only();
    let stdin_ends = tokio::task::spawn_blocking(|| {
        let mut buffer = [0; 64];
        while matches!(std::io::stdin().read(&mut buffer), Ok(1..)) {}
    });
    tokio::select! {
        ended = server.serve(router.into_make_service()) => ended.map_err(input),
        _ = stdin_ends => Ok(()),
    }
}
