//! Reading a log, and witnessing, without this project: stock tools on files and over HTTPS, foreign
//! logs and foreign witnesses over HTTP.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use node::client::{Answer, Client};
use node::http;
use node::service::ExchangeRequest;
use node::tls;
use protocol::crypto::SigningKey;
use protocol::ids::{BrandId, TreeSize};
use protocol::ledger::{log_verifier, witness_verifier};
use protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use protocol::log::merkle::Leaf;
use protocol::log::note::{KeyName, NoteSignature, SignatureType, VerifierKey};
use protocol::log::proof::ConsistencyProof;
use protocol::log::tiles::{TileKind, TilePath, TileReader, TileSource, TileWriter};
use protocol::log::tlog_witness::{AddCheckpoint, Cosigned, ForeignLogs, Refusal};
use protocol::time::Timestamp;

use super::alliance::{Alliance, eventually};
use super::stock::{self, Files, check_log, check_receipt, entries};

/// Where blocks end must not show, and full tiles, partial ones, and three levels must be right.
#[test]
fn a_log_of_any_size_is_read_by_stock_tools() {
    let (key, verifier) = foreign_log(1);
    let mut writer = TileWriter::empty();
    let mut files = Files::new();
    for (size, step) in [(1, 1), (255, 100), (256, 1), (257, 1), (700, 64), (65_800, 16_384)] {
        while writer.size().get() < size {
            let from = writer.size().get();
            let leaves = (from..size.min(from + step)).map(|at| {
                Leaf::new(format!("entry {at}").repeat(1 + at as usize % 3).into_bytes()).unwrap()
            });
            let update = writer.append(&leaves.collect::<Vec<_>>()).unwrap();
            files.extend(update.files.into_iter().map(|it| (it.path.to_string(), it.bytes)));
            for full in update.superseded {
                files.retain(|name, _| !name.starts_with(&full.partials_directory()));
            }
        }
        let root = writer.frontier().root();
        let checkpoint = Checkpoint::new(verifier.name(), TreeSize::new(size), root);
        let signed = SignedCheckpoint::sign(checkpoint, &key).unwrap();
        files.insert("checkpoint".to_owned(), signed.to_string().into_bytes());
        if size < 1000 {
            assert_eq!(check_log(&files, &verifier.to_string()), size);
        } else {
            let checkpoint = stock::check_note(&files["checkpoint"], &verifier.to_string());
            assert_eq!(checkpoint.size(), size);
            stock::check_tiles(&files, &checkpoint);
        }
    }
    let (name, _) = files.iter().find(|(name, _)| name.starts_with("tile/0/")).unwrap();
    let name = name.clone();
    files.get_mut(&name).unwrap()[40] ^= 1;
    let checkpoint = stock::check_note(&files["checkpoint"], &verifier.to_string());
    let spoilt = std::panic::catch_unwind(|| stock::check_tiles(&files, &checkpoint));
    assert!(spoilt.is_err(), "the stock tools would not notice");
}

fn foreign_log(seed: u8) -> (SigningKey, VerifierKey) {
    let key = SigningKey::from_seed(&[seed; 32]).unwrap();
    let name = KeyName::new(&format!("foreign.example/log{seed}")).unwrap();
    let verifier = VerifierKey::new(name, SignatureType::Ed25519, key.public());
    (key, verifier)
}

fn regulator() -> (SigningKey, VerifierKey) {
    let key = SigningKey::from_seed(&[99; 32]).unwrap();
    let name = KeyName::new("regulator.example/witness").unwrap();
    let verifier = VerifierKey::new(name, SignatureType::CosignatureV1, key.public());
    (key, verifier)
}

fn serve(alliance: &Alliance, brand: &str) -> (Client, http::Shutdown) {
    let (_, certificate, served) = alliance.serve(brand);
    (Client::connect(served.address, &certificate).unwrap(), served.shutdown)
}

async fn add_checkpoint(client: &Client, request: &AddCheckpoint) -> Answer {
    let headers = [("content-type", "text/plain")];
    let body = request.to_string().into_bytes().into();
    let post = "POST".parse().unwrap();
    client.send(post, "/add-checkpoint", &headers, Some(body)).await.unwrap()
}

/// The program of `docs/verify`, from files and over HTTPS from a node that lets it ask little at a time;
/// where Go or its packages are not installed this says so.
async fn go_reads(alliance: &Alliance, brand: &str, keys: &[String; 2]) {
    const PACKAGES: &str = "/usr/share/gocode";
    let work = alliance.folder.path().join("go");
    std::fs::create_dir_all(&work).unwrap();
    let program = work.join("verify");
    let has_packages = Path::new(PACKAGES).join("src/golang.org/x/mod/sumdb/tlog").is_dir();
    let built = std::process::Command::new("go")
        .args(["build", "-o"])
        .args([program.as_path(), Path::new("../docs/verify/verify.go")])
        .envs([("GO111MODULE", "off"), ("GOPATH", PACKAGES), ("GOFLAGS", "")])
        .env("GOCACHE", work.join("cache"))
        .output();
    let Some(built) = built.ok().filter(|_| has_packages) else {
        assert!(std::env::var_os("COALITION_SHARED").is_none(), "nothing may be skipped here");
        eprintln!("skipped: apt-get install golang-go golang-golang-x-mod-dev");
        return;
    };
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let data = alliance.data(BrandId::new(brand).unwrap());
    let certificate = data.tls().join(tls::CERTIFICATE_FILE);
    let run = async |from: String| {
        let mut run = std::process::Command::new(&program);
        run.args([&keys[0], &from, &keys[1]]).env("VERIFY_CA", &certificate);
        let run = tokio::task::spawn_blocking(move || run.output().unwrap()).await.unwrap();
        (
            run.status.success(),
            String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned(),
        )
    };
    let folder = data.log().display().to_string();
    let (verified, said) = run(folder.clone()).await;
    assert!(verified && said.contains("signed by"), "{said}");
    // every third file has to be waited for
    let log = http::RateLimit { requests: 2, seconds: 2 };
    let limits = http::RateLimits { log, ..http::RateLimits::widest() };
    let (_, _, served) = alliance.serve_with(brand, limits);
    let (verified, said) = run(format!("https://{}", served.address)).await;
    assert!(verified, "{said}");
    served.shutdown.begin();
    // and a log with a byte changed is none
    let copy = work.join("log");
    copy_all(Path::new(&folder), &copy);
    spoil_all(&copy.join("tile/entries"));
    let (verified, said) = run(copy.display().to_string()).await;
    assert!(!verified && said.contains("NOT VERIFIED"), "{said}");
}

fn spoil_all(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            spoil_all(&path);
        } else {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[40] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap().path();
        let to = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy_all(&entry, &to);
        } else {
            // a node that runs takes away what it has written anew
            if let Err(error) = std::fs::copy(&entry, &to) {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
            }
        }
    }
}

/// Fetches what a stock client would: the checkpoint, then the tiles its size has.
async fn fetch(client: &Client, verifier_key: &str) -> Files {
    let mut files = Files::new();
    let get = async |path: &str| {
        let answer = client.send("GET".parse().unwrap(), path, &[], None).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        answer
    };
    let checkpoint = get("/checkpoint").await;
    assert_eq!(checkpoint.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(checkpoint.headers["cache-control"], "no-cache");
    let size = stock::check_note(&checkpoint.body, verifier_key).size();
    files.insert("checkpoint".to_owned(), checkpoint.body.to_vec());
    for path in tiles_of(size) {
        let answer = get(&format!("/{path}")).await;
        assert_eq!(answer.headers["content-type"], "application/octet-stream");
        let caching = answer.headers["cache-control"].to_str().unwrap();
        assert_eq!(caching.contains("immutable"), path.is_full(), "{path}: {caching}");
        assert!(!answer.headers.contains_key("content-encoding"));
        files.insert(path.to_string(), answer.body.to_vec());
    }
    files
}

/// Every tile of a tree, bundles too.
fn tiles_of(size: u64) -> Vec<TilePath> {
    let kinds = (0..4).map(|level| TileKind::Hashes { level }).chain([TileKind::Entries]);
    let all = kinds.flat_map(|kind| {
        (0..).map_while(move |index| TilePath::in_tree(kind, index, TreeSize::new(size)))
    });
    all.collect()
}

struct InMemory<'a>(&'a Files);

impl TileSource for InMemory<'_> {
    fn read(&self, path: &TilePath) -> Option<Vec<u8>> {
        self.0.get(&path.to_string()).cloned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_verified_cosigned_and_proved_without_this_project() {
    let mut alliance = Alliance::of_the_sample().await;
    let toml = std::fs::read(alliance.folder.path().join("c.toml")).unwrap();
    let constitution = alliance_config::Constitution::parse(&toml).unwrap();
    let constitution = constitution.ledger();
    alliance.import("fresh_counter").await;
    alliance.import("fuel_stop").await;
    let (sender, receiver) = (alliance.node("fresh_counter"), alliance.node("fuel_stop"));
    let card = sender.cards(100, None, 1).await.unwrap().remove(0);
    let there = receiver.cards(0, None, 1).await.unwrap().remove(0);
    let code = receiver.link_code(there, "fresh_counter".into()).await.unwrap().code;
    sender.link(card.clone(), "fuel_stop".into(), code).await.unwrap();
    let request = ExchangeRequest { card, to: "fuel_stop".into(), points: 40 };
    let mut id = String::new();
    eventually("the link is there and the exchange taken", async || {
        let taken = sender.exchange("k".into(), request.clone()).await;
        taken.map(|view| id = view.id).is_ok()
    })
    .await;
    eventually("the exchange is acknowledged", async || {
        sender.exchange_by_id(id.clone()).await.unwrap().state == "acknowledged"
    })
    .await;
    let cut_off = sender.status().now_ms - 1;
    sender.close(cut_off).await.unwrap();
    eventually("the statement is agreed", async || {
        sender.statement(cut_off).await.is_ok_and(|view| view.state == "agreed")
    })
    .await;
    eventually("every log is published as far as it is certified", async || {
        sender.status().heads.iter().all(|head| {
            let brand = BrandId::new(&head.brand).unwrap();
            let note = std::fs::read(alliance.data(brand).log().join("checkpoint"));
            let shown = note.ok().and_then(|note| SignedCheckpoint::parse(&note).ok());
            shown.is_some_and(|shown| shown.unverified().size().get() >= head.size)
        })
    })
    .await;

    // every log, as files on disk; and one over HTTPS
    for brand in alliance.brands.clone() {
        let key = log_verifier(constitution, brand).unwrap().to_string();
        let size = check_log(&stock::read_folder(&alliance.data(brand).log()).await, &key);
        assert!(size >= 8, "{brand}: {size}");
    }
    let writer = BrandId::new("fresh_counter").unwrap();
    let key = log_verifier(constitution, writer).unwrap();
    let (client, shutdown) = serve(&alliance, "fresh_counter");
    let files = fetch(&client, &key.to_string()).await;
    let size = check_log(&files, &key.to_string());
    let receipt = sender.receipt(id.clone()).await.unwrap();
    check_receipt(&receipt, &key.to_string(), &entries(&files, size));
    let witness = witness_verifier(constitution, BrandId::new("fuel_stop").unwrap()).unwrap();
    go_reads(&alliance, "fresh_counter", &[key.to_string(), witness.to_string()]).await;

    // what is not there is not published, unless it was archived: then it is said to be gone
    let marker = alliance.data(writer).log().join("archived");
    for (says, status) in [(None, 404), (Some("256\n"), 404), (Some("512\n"), 410)] {
        if let Some(says) = says {
            std::fs::write(&marker, says).unwrap();
        }
        let path = "/tile/entries/001";
        let answer = client.send("GET".parse().unwrap(), path, &[], None).await.unwrap();
        assert_eq!(answer.status, status);
        assert_eq!(answer.body.windows(8).any(|it| it == b"archived"), status == 410);
    }
    std::fs::remove_file(&marker).unwrap();

    // another brand cosigns that log on request, at the size of which it holds the certificate; the log may have
    // grown since it was fetched, and grow before the next request: then it is fetched again
    let (witness, witness_shutdown) = serve(&alliance, "fuel_stop");
    let mut cosigned = None;
    eventually("the log is cosigned as it is", async || {
        let files = fetch(&client, &key.to_string()).await;
        let signed = SignedCheckpoint::parse(&files["checkpoint"]).unwrap();
        let from_none = AddCheckpoint::new(TreeSize::new(0), ConsistencyProof::none(), &signed);
        let conflict = add_checkpoint(&witness, &from_none).await;
        // the newest certificate may not have come there yet
        if conflict.status == 503 {
            return false;
        }
        assert_eq!(conflict.status, 409);
        assert_eq!(conflict.headers["content-type"], "text/x.tlog.size");
        let told: u64 = std::str::from_utf8(&conflict.body).unwrap().trim_end().parse().unwrap();
        let (told, at) = (TreeSize::new(told), signed.unverified().size());
        if told > at {
            return false;
        }
        let proof = ConsistencyProof::prove(&TileReader::new(InMemory(&files), at), told, at);
        let request = AddCheckpoint::new(told, proof.unwrap(), &signed);
        let answer = add_checkpoint(&witness, &request).await;
        let granted = answer.status == 200;
        let later = [409, 503].contains(&answer.status.as_u16());
        assert!(granted || later, "{:?}", answer.body);
        cosigned = granted.then_some((signed, answer));
        granted
    })
    .await;
    let (signed, answer) = cosigned.unwrap();
    let line: NoteSignature =
        std::str::from_utf8(&answer.body).unwrap().trim_end().parse().unwrap();
    let by = witness_verifier(constitution, BrandId::new("fuel_stop").unwrap()).unwrap();
    assert!(signed.check_cosignature(&by, &line).is_ok());
    shutdown.begin();
    witness_shutdown.begin();

    foreign_logs_and_witnesses(&mut alliance).await;
}

/// Restarts nodes with settings that name a foreign log and foreign witnesses, one of them dead.
async fn foreign_logs_and_witnesses(alliance: &mut Alliance) {
    let ours = |brand: &str| BrandId::new(brand).unwrap();
    let (log_key, log) = foreign_log(7);
    let path = alliance.data(ours("fuel_stop")).settings_path();
    let mut text = std::fs::read_to_string(&path).unwrap();
    write!(text, "\n[witnessing]\nforeign_logs = [\"{log}\"]\n").unwrap();
    std::fs::write(&path, text).unwrap();
    alliance.restart("fuel_stop").await;
    let tree = |size: u64| {
        let mut writer = TileWriter::empty();
        let leaves: Vec<Leaf> = (0..size).map(|at| Leaf::new(vec![at as u8]).unwrap()).collect();
        let files = writer.append(&leaves).unwrap().files;
        let files: Files = files.into_iter().map(|it| (it.path.to_string(), it.bytes)).collect();
        let checkpoint = Checkpoint::new(log.name(), TreeSize::new(size), writer.frontier().root());
        (files, SignedCheckpoint::sign(checkpoint, &log_key).unwrap())
    };
    let request = |old: u64, size: u64| {
        let (files, signed) = tree(size);
        let (old, size) = (TreeSize::new(old), TreeSize::new(size));
        let proof = ConsistencyProof::prove(&TileReader::new(InMemory(&files), size), old, size);
        AddCheckpoint::new(old, proof.unwrap_or_else(|_| ConsistencyProof::none()), &signed)
    };
    let (client, shutdown) = serve(alliance, "fuel_stop");
    assert_eq!(once_started(&client, &request(0, 3)).await.status, 200);
    assert_eq!(once_started(&client, &request(3, 9)).await.status, 200);
    shutdown.begin();
    // what it has cosigned it still knows after a restart
    alliance.restart("fuel_stop").await;
    let (client, shutdown) = serve(alliance, "fuel_stop");
    let conflict = once_started(&client, &request(3, 5)).await;
    assert_eq!((conflict.status.as_u16(), &conflict.body[..]), (409, &b"9\n"[..]));
    shutdown.begin();

    // a node asks two witnesses: one is dead, which holds up nothing
    let (regulator_key, regulator) = regulator();
    let verifier = {
        let toml = std::fs::read(alliance.folder.path().join("c.toml")).unwrap();
        let constitution = alliance_config::Constitution::parse(&toml).unwrap();
        log_verifier(constitution.ledger(), ours("fresh_counter")).unwrap()
    };
    let url = serve_witness(regulator_key, regulator.clone(), verifier.clone());
    let dead = node::setup::free_loopback_address().unwrap();
    let path = alliance.data(ours("fresh_counter")).settings_path();
    let mut text = std::fs::read_to_string(&path).unwrap();
    for url in [format!("http://{dead}"), url] {
        write!(text, "\n[[witnessing.ask]]\nurl = \"{url}\"\nkey = \"{regulator}\"\n").unwrap();
    }
    std::fs::write(&path, text).unwrap();
    alliance.restart("fresh_counter").await;
    let folder = alliance.data(ours("fresh_counter")).log();
    let signed_at = || {
        let note = std::fs::read(folder.join("checkpoint.witnessed")).ok()?;
        let signed = SignedCheckpoint::parse(&note).unwrap();
        signed.verify(&verifier).unwrap();
        signed.verify_cosignature(&regulator).unwrap();
        Some(signed.unverified().size())
    };
    eventually("the regulator has signed", async || signed_at().is_some()).await;
    let first = signed_at().unwrap();
    let node = alliance.node("fresh_counter");
    eventually("the node shows its state", async || node.status().now_ms > 0).await;
    node.close(node.status().now_ms - 1).await.unwrap();
    eventually("the regulator has signed a larger tree", async || {
        signed_at().is_some_and(|size| size > first)
    })
    .await;
    let place = alliance.brands.iter().position(|brand| brand.as_str() == "fresh_counter");
    figures(alliance.nodes[place.unwrap()].as_ref().unwrap().metrics.clone()).await;
    let published = std::fs::read(folder.join("checkpoint")).unwrap();
    let signers = SignedCheckpoint::parse(&published).unwrap().signatures().len();
    assert!((1..=16).contains(&signers));
}

/// As [`add_checkpoint`], of a node that may still be starting: until its start is acknowledged it cosigns nothing.
async fn once_started(client: &Client, request: &AddCheckpoint) -> Answer {
    let mut answer = add_checkpoint(client, request).await;
    eventually("the node has started", async || {
        if answer.status == 503 {
            answer = add_checkpoint(client, request).await;
        }
        answer.status != 503
    })
    .await;
    answer
}

/// What a collector reads: a block has become final, so there is something of everything.
async fn figures(metrics: node::metrics::Metrics) {
    let (address, task) = http::serve_metrics(metrics, ([127, 0, 0, 1], 0).into()).await.unwrap();
    let text = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    let text = text.await.unwrap();
    task.abort();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    for begins in [
        "coalition_proposals_sent_total ",
        "coalition_votes_received_total ",
        "coalition_log_height{log=\"fuel_stop\"} ",
        "coalition_log_age_milliseconds{log=\"fresh_counter\"} ",
        "coalition_finality_seconds_count ",
        "coalition_journal_append_seconds_count ",
        "coalition_inbox_messages ",
    ] {
        let line = text.lines().find(|line| line.starts_with(begins));
        let line = line.unwrap_or_else(|| panic!("{begins} is not in\n{text}"));
        // nothing waits, and a log is of this moment
        let may_be_zero = begins.contains("inbox") || begins.contains("age");
        assert!(may_be_zero || !line.ends_with(" 0"), "{line}");
    }
}

/// A foreign witness of one log, on plain HTTP: a request a connection.
fn serve_witness(key: SigningKey, own: VerifierKey, log: VerifierKey) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/prefix", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut logs = ForeignLogs::new([log]);
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let body = read_request(&mut stream);
            let now = Timestamp::from_unix_ms(1_700_000_000_000);
            let granted = AddCheckpoint::parse(body.as_bytes())
                .and_then(|request| logs.consider(&request, now).map(|_| request));
            let (status, body) = match granted {
                Ok(request) => {
                    let note = request.to_string();
                    let (_, note) = note.split_once("\n\n").unwrap();
                    let mut signed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
                    let line = signed.cosign(own.name().clone(), &key, now);
                    signed.add_cosignature(&own, line.clone()).unwrap();
                    logs.enter(&Cosigned::new(&signed)).unwrap();
                    (200, format!("{line}\n"))
                }
                Err(Refusal::Conflict { latest }) => (409, format!("{}\n", latest.get())),
                Err(refusal) => (refusal.status(), refusal.to_string()),
            };
            let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    url
}

fn read_request(stream: &mut std::net::TcpStream) -> String {
    let mut heard = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&heard).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            assert!(head.starts_with("POST /prefix/add-checkpoint "), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if heard.len() >= head.len() + 4 + length.unwrap().parse::<usize>().unwrap() {
                return body.to_owned();
            }
        }
        match stream.read(&mut chunk) {
            Ok(read) if read > 0 => heard.extend(&chunk[..read]),
            _ => return String::new(),
        }
    }
}
