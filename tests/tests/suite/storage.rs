//! Data in and out of a running node: batches with a mapping, dry runs, backups made while it serves, and
//! the store moved to PostgreSQL and back.

use node::cli::Io;
use node::cli::store::{StoreCommand, run as store_command};
use node::config::DataDirectory;
use node::postgres_cluster::PostgresCluster;
use node::service::{
    BackupRequest, BatchFormat, BatchKind, ErrorKind, ImportBatch, ImportSource, ImportView, Node,
};
use node::{backup, runtime};
use serde_json::Value;

use super::alliance::{Alliance, eventually};

const BRAND: &str = "fuel_stop";
const CARD: &str = "FS0SE5S4Z7EN";

const TILL: &str = "format = \"coalition import 1\"\nname = \"till\"\n\
    [members]\nfiles = [\"m.csv\"]\n[members.columns]\ncard = \"card\"\n\
    [purchases]\nfiles = [\"p.csv\"]\ntime_zone = \"Asia/Shanghai\"\nchannel = \"mini_program\"\n\
    basket = \"order\"\nline = \"no\"\nmember = \"card\"\npurchased_at = \"at\"\ndepartment = \"dept\"\n\
    quantity = \"pieces\"\namount = \"fen\"\ncurrency = \"CNY\"\nfen_per_unit = 1\n[purchases.guests]\n";

fn rows(kind: BatchKind, format: BatchFormat, dry_run: bool, text: &str) -> ImportBatch {
    let bytes = text.as_bytes().to_vec().into();
    ImportBatch { kind, format, mapping: "till".to_owned(), dry_run, bytes }
}

fn order(number: u32, card: &str, fen: u32) -> String {
    let object = serde_json::json!({
        "order": format!("A{number}"), "no": 1, "card": card, "at": "2025-11-01T12:00:00+08:00",
        "dept": "FRESH", "pieces": 1, "fen": fen,
    });
    format!("{object}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_reach_members_points_once_and_a_bad_row_stops_no_good_one() {
    let alliance = Alliance::of_the_sample().await;
    let (node, data) = (alliance.node(BRAND), alliance.data(alliance.brands[1]));
    assert_eq!(node.brand().as_str(), BRAND);
    let json = BatchFormat::JsonLines;
    let sale = rows(BatchKind::Purchases, json, false, &order(1, "W1", 1_250));

    let refused = node.import_batch("k1".into(), sale.clone()).await.unwrap_err();
    assert_eq!((refused.kind, refused.code), (ErrorKind::NotFound, "mapping_unknown"));
    std::fs::create_dir(data.mappings()).unwrap();
    std::fs::write(data.mappings().join("till.toml"), TILL.replace("CNY", "yuan")).unwrap();
    let refused = node.import_batch("k1".into(), sale.clone()).await.unwrap_err();
    assert_eq!(refused.code, "mapping_invalid");
    assert!(refused.message.starts_with("line 18, purchases.currency"), "{}", refused.message);
    std::fs::write(data.mappings().join("till.toml"), TILL).unwrap();

    let people = rows(BatchKind::Members, BatchFormat::Csv, false, "card\nW1\nW2\n");
    let view = node.import_batch("m1".into(), people).await.unwrap();
    assert_eq!((view.members_enrolled, view.consenting.len()), (2, 0));

    let text = format!(
        "{}not json\n{}{}{}",
        order(1, "W1", 1_250),
        order(2, "W2", 99),
        order(3, "W9", 500),
        order(4, "", 700)
    );
    // what would be done, first; nothing of it is there then
    let dry = node
        .import_batch("d1".into(), rows(BatchKind::Purchases, json, true, &text))
        .await
        .unwrap();
    assert_eq!((dry.rows_read, dry.rows_kept, dry.points_earned), (5, 3, 12));
    assert_eq!(node.member("W1".into()).await.unwrap().available, 0);
    assert_eq!(node.status().purchases, 0);

    let sales = rows(BatchKind::Purchases, json, false, &text);
    let view = node.import_batch("p1".into(), sales.clone()).await.unwrap();
    assert_eq!((view.rows_kept, view.guest_rows, view.points_earned), (3, 1, 12));
    assert_eq!(
        view.rejected,
        [
            "batch.jsonl, line 2: is no JSON object; correct the row and import the corrected file",
            "batch.jsonl, line 4: no member has this card; import the member, then this file again",
        ]
    );
    assert_eq!(node.member("W1".into()).await.unwrap().available, 12);
    // the same again, under its key or another, and a row of it in other company
    let again = node.import_batch("p1".into(), sales.clone()).await.unwrap();
    assert_eq!((again.rows_kept, again.points_earned), (0, 0));
    let one = rows(BatchKind::Purchases, json, false, &order(1, "W1", 1_250));
    let view = node.import_batch("p2".into(), one.clone()).await.unwrap();
    assert_eq!((view.rows_kept, view.dropped[0].code.as_str()), (0, "duplicate"));
    assert_eq!(node.member("W1".into()).await.unwrap().available, 12);
    let refused = node.import_batch("p1".into(), one).await.unwrap_err();
    assert_eq!((refused.kind, refused.code), (ErrorKind::Conflict, "idempotency_key_reused"));
    eventually("the status counts them", async || node.status().purchases == 3).await;
}

async fn ended(node: &Node) -> ImportView {
    eventually("the import ends", async || node.import_progress().await.unwrap().done).await;
    node.import_progress().await.unwrap()
}

/// What a node says of its members and purchases: of all of them, by card, since members who are enrolled
/// again have other numbers, and nodes list them by these.
async fn said(node: &Node) -> Value {
    let mut cards = node.cards(0, None, 1_000).await.unwrap();
    cards.sort();
    let mut members = Vec::new();
    for card in cards {
        members.push(serde_json::to_value(node.member(card).await.unwrap()).unwrap());
    }
    let status = node.status();
    serde_json::json!({ "members": members, "counts": [status.members, status.purchases] })
}

fn back_up(to: &std::path::Path) -> BackupRequest {
    BackupRequest { folder: to.display().to_string() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_during_an_import_is_restored_and_the_node_starts_as_restored() {
    let mut alliance = Alliance::of_the_sample().await;
    let data = alliance.data(alliance.brands[1]);
    let folder = alliance.folder.path().join("backup");
    let node = alliance.node(BRAND);
    node.import(ImportSource::Sample).await.unwrap();
    node.back_up(back_up(&folder)).await.unwrap();
    eventually("the backup is complete", async || {
        let view = node.backup_progress().await.unwrap();
        assert_eq!(view.failed, None);
        view.done
    })
    .await;
    ended(&node).await;
    let whole = said(&node).await;
    let second = alliance.folder.path().join("second");
    node.back_up(back_up(&second)).await.unwrap();
    eventually("the second too", async || node.backup_progress().await.unwrap().done).await;
    assert!(node.back_up(back_up(&second)).await.is_err(), "the folder is there");
    alliance.stop(BRAND).await;

    // nothing secret is in it, and a byte that changed is found
    let manifest = backup::verify(&folder).unwrap();
    let secret = ["keys", "tls", "users", "password", "/lock"];
    assert!(manifest.files.iter().all(|file| secret.iter().all(|name| !file.path.contains(name))));
    let of_journal = |manifest: &backup::Manifest, ends: &str| {
        let mut paths = manifest.files.iter().map(|file| file.path.clone());
        paths.find(|path| path.starts_with("journal/") && path.ends_with(ends))
    };
    assert!(of_journal(&manifest, ".journal").is_some());
    // and a node here writes a snapshot of its journal as often as it may
    let manifest = backup::verify(&second).unwrap();
    assert!(of_journal(&manifest, ".snapshot").is_some());
    let segment = format!("files/{}", of_journal(&manifest, ".journal").unwrap());
    for name in ["store.pairs", &segment] {
        let path = second.join(name);
        let bytes = std::fs::read(&path).unwrap();
        let mut other = bytes.clone();
        *other.last_mut().unwrap() ^= 1;
        std::fs::write(&path, other).unwrap();
        let found = backup::verify(&second).unwrap_err().to_string();
        assert!(found.contains(name.trim_start_matches("files/")), "{found}");
        std::fs::write(&path, bytes).unwrap();
    }

    for (number, backup) in [&folder, &second].into_iter().enumerate() {
        let old = alliance.folder.path().join(format!("old{number}"));
        std::fs::rename(data.path(), &old).unwrap();
        let without = backup::restore(backup, &data, &old.join("log")).unwrap_err().to_string();
        assert!(without.contains("has no folder keys"), "{without}");
        backup::restore(backup, &data, &old).unwrap();
        assert!(data.restored().exists());
        assert!(backup::restore(backup, &data, &old).is_err(), "the directory is there");
        let running = runtime::start_restored(&data).await.unwrap();
        alliance.nodes[1] = Some(running);
        let node = alliance.node(BRAND);
        eventually("it says that it was restored", async || {
            node.status().alerts.iter().any(|alert| alert.contains("was restored"))
        })
        .await;
        // none of a half-done import is there, or all of a whole one; and it can be done again
        let purchases = node.status().purchases;
        assert!(purchases == 0 || purchases == 2_094, "{purchases}");
        node.import(ImportSource::Sample).await.unwrap();
        ended(&node).await;
        eventually("it has what it had", async || said(&node).await == whole).await;
        alliance.stop(BRAND).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_moves_to_postgres_and_back_and_says_the_same() {
    let Some(cluster) = PostgresCluster::start().unwrap() else {
        eprintln!("skipped: no PostgreSQL is installed");
        return;
    };
    let mut alliance = Alliance::of_the_sample().await;
    alliance.import(BRAND).await;
    let before = said(&alliance.node(BRAND)).await;
    let data: DataDirectory = alliance.data(alliance.brands[1]);
    let migrate = |to: &str| {
        let command = StoreCommand::Migrate { data: data.path().to_owned(), to: to.to_owned() };
        store_command(&command, &mut Io::new(true))
    };
    let address = cluster.address("fuel_stop");
    assert!(migrate(&address).unwrap_err().to_string().contains("is in use"));
    alliance.stop(BRAND).await;
    migrate(&address).unwrap();
    assert!(migrate(&address).is_err(), "it is there already");
    alliance.start(BRAND).await;
    let node = alliance.node(BRAND);
    assert_eq!(said(&node).await, before);
    // it works there: another member, a purchase, a backup
    std::fs::create_dir(data.mappings()).unwrap();
    std::fs::write(data.mappings().join("till.toml"), TILL).unwrap();
    let people = rows(BatchKind::Members, BatchFormat::Csv, false, "card\nW1\n");
    node.import_batch("m".into(), people).await.unwrap();
    let sale = rows(BatchKind::Purchases, BatchFormat::JsonLines, false, &order(1, "W1", 700));
    assert_eq!(node.import_batch("p".into(), sale).await.unwrap().points_earned, 7);
    assert_eq!(node.member(CARD.into()).await.unwrap().card, "FS0****Z7EN");
    let folder = alliance.folder.path().join("backup");
    node.back_up(back_up(&folder)).await.unwrap();
    eventually("the backup is complete", async || node.backup_progress().await.unwrap().done).await;
    let manifest = backup::verify(&folder).unwrap();
    eventually("the status counts it", async || node.status().members == 161).await;
    let there = said(&node).await;
    alliance.stop(BRAND).await;

    // back, over what the old store still has
    migrate("sled").unwrap();
    alliance.start(BRAND).await;
    assert_eq!(said(&alliance.node(BRAND)).await, there);
    alliance.stop(BRAND).await;
    let (settings, _) = data.settings().unwrap();
    assert!(settings.store.is_none());
    let store = settings.open_store(&data).unwrap();
    let contents = node::store::copy::contents(&*store).unwrap();
    // snapshots of the journal since then have put what had earned into it
    assert!(contents.pairs >= manifest.pairs, "{} {}", contents.pairs, manifest.pairs);
}
