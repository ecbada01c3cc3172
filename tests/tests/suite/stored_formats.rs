//! Data directories written by earlier versions keep opening: `tests/fixtures/`.
//!
//! A fixture is a node's whole data directory as a version left it, and what that version said of it.
//! `tests/fixtures/README.md` says how one is made; nobody edits one afterwards.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use node::cleanroom::QueryTimes;
use node::cli::Io;
use node::cli::store::{StoreCommand, run as store_command};
use node::config::DataDirectory;
use node::exchange::cold::ColdError;
use node::postgres_cluster::PostgresCluster;
use node::runtime::{self, StartError};
use node::service::{ExchangeRequest, Node};
use node::store::{SledStore, Store as _, Write};
use protocol::ids::BrandId;
use protocol::ledger::log_verifier;
use protocol::log::checkpoint::SignedCheckpoint;
use serde_json::{Value, json};

use super::alliance::{Alliance, eventually, started};
use super::storage::postgres;

const PAGE: usize = 4096;
/// Files of at least so many bytes are kept without their empty pages.
const PAGED_FROM: usize = 16 * PAGE;
/// Whose directory it is, and with whom it exchanges.
const BRAND: &str = "fuel_stop";
const OTHER: &str = "fresh_counter";

fn fixture(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(version)
}

/// What a node says of itself that must be the same after any upgrade.
async fn said(node: &Node, card: &str, exchange: &str) -> Value {
    let status = node.status();
    let heads: Vec<Value> = status
        .heads
        .iter()
        .map(|head| {
            json!({
                "brand": head.brand, "height": head.height, "size": head.size, "root": head.root,
                "header": head.header, "disputed": head.disputed,
            })
        })
        .collect();
    json!({
        "card": card,
        "exchange_id": exchange,
        "member": node.member(card.to_owned()).await.unwrap(),
        "exchange": node.exchange_by_id(exchange.to_owned()).await.unwrap(),
        "counts": status.exchanges,
        "heads": heads,
        "members": status.members,
        "purchases": status.purchases,
    })
}

/// Copies a directory; `pack` leaves empty pages of large files out, else they are put back.
fn copy(from: &Path, to: &Path, pack: bool) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let from = entry.unwrap().path();
        let name = from.file_name().unwrap().to_str().unwrap().to_owned();
        if from.is_dir() {
            copy(&from, &to.join(name), pack);
            continue;
        }
        let bytes = fs::read(&from).unwrap();
        let (name, bytes) = match name.strip_suffix(".pages") {
            Some(name) => (name.to_owned(), unpacked(&bytes)),
            None if pack && bytes.len() >= PAGED_FROM => (format!("{name}.pages"), packed(&bytes)),
            None => (name, bytes),
        };
        let file = to.join(name);
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

// length in 8 bytes, then each page that is not empty after its number in 4, little-endian
fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packed = (bytes.len() as u64).to_le_bytes().to_vec();
    for (number, page) in (0_u32..).zip(bytes.chunks(PAGE)) {
        if page.iter().any(|byte| *byte != 0) {
            packed.extend_from_slice(&number.to_le_bytes());
            packed.extend_from_slice(page);
        }
    }
    packed
}

fn unpacked(mut packed: &[u8]) -> Vec<u8> {
    let mut length = [0; 8];
    packed.read_exact(&mut length).unwrap();
    let mut bytes = vec![0; usize::try_from(u64::from_le_bytes(length)).unwrap()];
    let mut number = [0; 4];
    while packed.read_exact(&mut number).is_ok() {
        let start = usize::try_from(u32::from_le_bytes(number)).unwrap() * PAGE;
        let page = PAGE.min(bytes.len() - start);
        packed.read_exact(&mut bytes[start..start + page]).unwrap();
    }
    bytes
}

/// Writes `tests/fixtures/store-v0` anew: an alliance of the sample in which members of two brands
/// link and exchange both ways.
async fn write(folder: &Path) {
    let mut alliance = Alliance::of_the_sample().await;
    alliance.import(BRAND).await;
    alliance.import(OTHER).await;
    let (here, there) = (alliance.node(BRAND), alliance.node(OTHER));
    let card = here.cards(50, None, 1).await.unwrap().remove(0);
    let card_there = there.cards(50, None, 1).await.unwrap().remove(0);
    for (at, own, to, of, name) in
        [(&here, &card, &there, &card_there, OTHER), (&there, &card_there, &here, &card, BRAND)]
    {
        let code = to.link_code(of.clone(), at.brand().to_string()).await.unwrap().code;
        at.link(own.clone(), name.to_owned(), code).await.unwrap();
        eventually("the link is answered", async || {
            let links = at.member(own.clone()).await.unwrap().links;
            links.iter().any(|link| link.brand == name && link.state == "linked")
        })
        .await;
    }
    let exchange = |card: &String, to: &str, points| ExchangeRequest {
        card: card.clone(),
        to: to.to_owned(),
        points,
    };
    let sent = here.exchange("fixture".into(), exchange(&card, OTHER, 20)).await.unwrap();
    let back = there.exchange("fixture".into(), exchange(&card_there, BRAND, 20)).await.unwrap();
    eventually("both exchanges are acknowledged", async || {
        here.exchange_by_id(sent.id.clone()).await.unwrap().state == "acknowledged"
            && there.exchange_by_id(back.id.clone()).await.unwrap().state == "acknowledged"
    })
    .await;
    // what is still under way settles before the directory is closed
    let mut before = Value::Null;
    eventually("nothing changes any more", async || {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = said(&here, &card, &sent.id).await;
        std::mem::replace(&mut before, now.clone()) == now
    })
    .await;
    let place = alliance.brands.iter().position(|brand| brand.as_str() == BRAND).unwrap();
    let running = alliance.nodes[place].take().unwrap();
    running.node.stop().await.unwrap();
    drop(running.network);
    running.runtime.await.unwrap().unwrap();
    drop((here, there, running.node));
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    let data = alliance.data(alliance.brands[place]);
    copy(data.path(), &folder.join("data"), true);
    let text = serde_json::to_string_pretty(&before).unwrap();
    fs::write(folder.join("expected.json"), text + "\n").unwrap();
}

/// A copy of a fixture's data directory, with the ports of this machine and other settings if need be.
fn copied(folder: &Path, change: impl FnOnce(&mut toml::Table)) -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("data");
    copy(&folder.join("data"), &path, false);
    // the ports are those of the machine it was written on
    let settings = fs::read_to_string(path.join("node.toml")).unwrap();
    let mut settings: toml::Table = settings.parse().unwrap();
    for address in ["listen", "https"] {
        settings.insert(address.into(), "127.0.0.1:0".into());
    }
    change(&mut settings);
    fs::write(path.join("node.toml"), settings.to_string()).unwrap();
    (temporary, path)
}

/// Writes `tests/fixtures/snapshot-v0` anew: `store-v0` after two snapshots, so that nothing of its
/// journal's beginning is left.
async fn write_snapshots(from: &Path, folder: &Path) {
    let often = |settings: &mut toml::Table| {
        settings.insert("snapshot_mib".into(), 0.into());
    };
    let (_temporary, path) = copied(from, often);
    let data = DataDirectory::new(&path);
    let snapshots = || {
        let files = fs::read_dir(data.journal()).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|found| found == "snapshot")).count()
    };
    for expected in [1, 2] {
        let running = started(&data, QueryTimes::default()).await;
        eventually("a snapshot is written", async || snapshots() == expected).await;
        running.node.stop().await.unwrap();
        drop(running.network);
        running.runtime.await.unwrap().unwrap();
    }
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    copy(&path, &folder.join("data"), true);
    fs::copy(from.join("expected.json"), folder.join("expected.json")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_of_version_0_opens_and_says_the_same() {
    let folder = fixture("store-v0");
    if std::env::var_os("COALITION_WRITE_FIXTURES").is_some() {
        write(&folder).await;
    }
    opens(&folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_version_0_opens_and_says_the_same() {
    let folder = fixture("snapshot-v0");
    if std::env::var_os("COALITION_WRITE_SNAPSHOTS").is_some() {
        write_snapshots(&fixture("store-v0"), &folder).await;
    }
    let first = folder.join("data/journal/00000000000000000001.journal");
    assert!(!first.exists() && !first.with_extension("journal.pages").exists());
    opens(&folder).await;
}

/// A store with exchanges as builds before 29 November 2026 kept them. A node that started on it would not find them,
/// and would take their idempotency keys a second time. Fails when `runtime::start` does not look
/// (`Cold::check_form`): the node starts then.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_does_not_start_on_exchanges_of_a_former_form() {
    let folder = fixture("store-v0");
    for keyspace in ["exchanges-by-number", "received-by-number"] {
        let (_temporary, path) = copied(&folder, |_| {});
        let data = DataDirectory::new(&path);
        let number = [0_u8; 8];
        let store = SledStore::open(data.store()).unwrap();
        store.transaction(&[Write::put(keyspace, number, [1_u8; 16])]).unwrap();
        drop(store);
        let refused = runtime::start(&data).await.err().unwrap();
        assert!(matches!(refused, StartError::Cold(ColdError::Former)), "{refused}");
        // it says what to do
        assert!(refused.to_string().contains("coalition rebuild"), "{refused}");

        // it was this that kept the node from starting, and nothing else was done to the directory
        let mut store = None;
        eventually("the store is let go of", async || {
            store = SledStore::open(data.store()).ok();
            store.is_some()
        })
        .await;
        store.unwrap().transaction(&[Write::delete(keyspace, number)]).unwrap();
        opens_at(&folder, &data).await;
    }
}

/// An upgrade and both ways back, as the operator's guide has them, from what a former version left: the check, the
/// start, a backup while it serves; the same directory again; the backup in the place of a lost directory; the copy
/// that was put aside before. Each says what the former version said.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_a_backup_a_restore_and_a_way_back_are_rehearsed_on_a_former_directory() {
    for version in ["store-v0", "snapshot-v0"] {
        rehearse(version, None).await;
    }
}

/// The same with members in PostgreSQL: the former directories are moved there before.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_a_backup_a_restore_and_a_way_back_are_rehearsed_in_postgres() {
    let Some(cluster) = postgres() else { return };
    for version in ["store-v0", "snapshot-v0"] {
        rehearse(version, Some(&cluster)).await;
    }
}

async fn rehearse(version: &str, cluster: Option<&PostgresCluster>) {
    let folder = fixture(version);
    let expected: Value =
        serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let (temporary, path) = copied(&folder, |_| {});
    let data = DataDirectory::new(&path);
    // neither is in a fixture, as neither is in a backup
    node::tls::create(&data.tls(), None).unwrap();
    let auth = node::auth::Auth::open(&data.users()).unwrap();
    auth.add_user("ops", &node::auth::Role::ALL, "correct horse battery staple").unwrap();

    let policy = format!("format = 0\n[packs]\nfrom = [\"{OTHER}\"]\npercent = 50\n");
    fs::write(data.policy(), &policy).unwrap();

    // before: a copy is put aside, and the check finds nothing that would keep it from starting
    let aside = DataDirectory::new(temporary.path().join("aside"));
    copy(data.path(), aside.path(), false);
    let schema = |of: &str| format!("{}_{of}", version.replace('-', "_"));
    if let Some(cluster) = cluster {
        // the copy has its members in a database of its own
        for (directory, of) in [(&data, "running"), (&aside, "aside")] {
            let (data, to) = (directory.path().to_owned(), cluster.address(&schema(of)));
            store_command(&StoreCommand::Migrate { data, to }, &mut Io::new(true)).unwrap();
        }
    }
    let checks = node::cli::check::check(&data);
    // both ports are chosen by the system here, which is told
    let errors: Vec<_> = checks
        .checks
        .iter()
        .filter(|it| it.level == node::cli::check::Level::Error && it.what != "addresses")
        .collect();
    assert!(errors.is_empty(), "{errors:?}");

    // the upgrade, and a backup of the node as it serves
    let running = started(&data, QueryTimes::default()).await;
    says(&running.node, &expected).await;
    let backup = temporary.path().join("backup");
    let request = node::service::BackupRequest { folder: backup.display().to_string() };
    running.node.back_up(request).await.unwrap();
    eventually("the backup is complete", async || {
        let view = running.node.backup_progress().await.unwrap();
        assert_eq!(view.failed, None);
        view.done
    })
    .await;
    stop(running).await;
    // again, as the new version left it
    let running = started(&data, QueryTimes::default()).await;
    says(&running.node, &expected).await;
    stop(running).await;

    // the directory is lost: the backup with the keys that were kept apart
    assert_eq!(node::backup::verify(&backup).unwrap().brand, BRAND);
    let restored = DataDirectory::new(temporary.path().join("restored"));
    if let Some(cluster) = cluster {
        let lost = format!("DROP SCHEMA {} CASCADE", schema("running"));
        cluster.client("psql", &["-q", "-d", "postgres", "-c", &lost]).unwrap();
    }
    node::backup::restore(&backup, &restored, data.path()).unwrap();
    // without it, what the operator agreed to would be forgotten
    assert_eq!(fs::read_to_string(restored.policy()).unwrap(), policy);
    let running = runtime::start_restored(&restored).await.unwrap();
    says(&running.node, &expected).await;
    // the other brands are not there to say how far its log went
    eventually("it says that it signs nothing yet", async || {
        let alerts = running.node.status().alerts;
        alerts.iter().any(|alert| alert.contains("nothing is signed until then"))
    })
    .await;
    stop(running).await;

    // back: the copy, which has not run since
    let running = started(&aside, QueryTimes::default()).await;
    says(&running.node, &expected).await;
    stop(running).await;
}

/// Holds what a node says against what a former version said.
async fn says(node: &Node, expected: &Value) {
    eventually("the node has replayed", async || !node.status().heads.is_empty()).await;
    let text = |name: &str| expected[name].as_str().unwrap().to_owned();
    assert_eq!(said(node, &text("card"), &text("exchange_id")).await, *expected);
}

async fn stop(running: runtime::Running) {
    running.node.stop().await.unwrap();
    drop(running.network);
    running.runtime.await.unwrap().unwrap();
}

async fn opens(folder: &Path) {
    let (_temporary, path) = copied(folder, |_| {});
    opens_at(folder, &DataDirectory::new(&path)).await;
}

/// A node starts on a copy of a fixture's directory, and says what is expected of the fixture.
async fn opens_at(folder: &Path, data: &DataDirectory) {
    let expected: Value =
        serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let running = started(data, QueryTimes::default()).await;
    says(&running.node, &expected).await;

    // and its published log is vouched for up to the head it tells
    let read = |path: PathBuf| fs::read(path).unwrap();
    let constitution =
        alliance_config::load(&read(data.constitution()), &read(data.signatures())).unwrap();
    let constitution = constitution.into_constitution();
    let brand = BrandId::new(BRAND).unwrap();
    let note = SignedCheckpoint::parse(&fs::read(data.log().join("checkpoint")).unwrap()).unwrap();
    let log = log_verifier(constitution.ledger(), brand).unwrap();
    let head = expected["heads"].as_array().unwrap().iter().find(|head| head["brand"] == BRAND);
    assert_eq!(note.verify(&log).unwrap().size().get(), head.unwrap()["size"]);

    stop(running).await;
}
