//! Data in and out of a running node: batches with a mapping, dry runs, backups made while it serves, and
//! the store moved to PostgreSQL and back.

use node::cli::store::{StoreCommand, run as store_command};
use node::cli::{Io, operation_log};
use node::config::DataDirectory;
use node::postgres_cluster::PostgresCluster;
use node::service::{
    BackupRequest, BatchFormat, BatchKind, ConsentRequest, CorrectionRequest, ErrorKind,
    ExchangeRequest, ImportBatch, ImportSource, ImportView, Node,
};
use node::{backup, runtime};
use serde_json::Value;

use super::alliance::{Alliance, eventually};
use super::members::{found_in, live, needles};

const BRAND: &str = "fuel_stop";
const OTHER: &str = "fresh_counter";
const CARD: &str = "FS0SE5S4Z7EN";

pub(super) const TILL: &str = "format = \"coalition import 1\"\nname = \"till\"\n\
    [members]\nfiles = [\"m.csv\"]\n[members.columns]\ncard = \"card\"\n\
    [members.consent]\nsource = \"member\"\nnotice_version = 1\n\
    programme = { column = \"agreed\", granted = [\"yes\"], refused = [\"no\"] }\n\
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
    assert!(refused.message.starts_with("line 22, purchases.currency"), "{}", refused.message);
    std::fs::write(data.mappings().join("till.toml"), TILL).unwrap();

    let people = rows(
        BatchKind::Members,
        BatchFormat::Csv,
        false,
        "card,agreed\nW1,yes\nW2,yes\nW3,no\nW4,\n",
    );
    let view = node.import_batch("m1".into(), people).await.unwrap();
    assert_eq!((view.members_enrolled, view.consenting.get("programme")), (4, Some(&2)));

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
    assert_eq!(node.status().purchases, Some(0));

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
    eventually("the status counts them", async || node.status().purchases == Some(3)).await;

    // who refused to take part, and who said nothing: kept, earned nothing, and said so, in a dry run too
    let text = format!("{}{}{}", order(5, "W3", 900), order(6, "W4", 800), order(7, "W2", 700));
    for dry_run in [true, false] {
        let sales = rows(BatchKind::Purchases, json, dry_run, &text);
        let view = node.import_batch(format!("c{dry_run}"), sales).await.unwrap();
        let counts = (view.rows_kept, view.points_earned, view.baskets_without_consent);
        assert_eq!(counts, (3, 7, 2), "{dry_run}");
    }
    assert_eq!(node.member("W3".into()).await.unwrap().available, 0);
    // a consent that comes later counts from then on; one that is withdrawn ends it, and points stay
    let decide = async |granted: bool| {
        let request = ConsentRequest {
            purpose: "programme".to_owned(),
            granted,
            notice_version: 1,
            ..ConsentRequest::default()
        };
        node.decide("li", "W3".into(), request).await.unwrap();
    };
    // each of another price: the same order twice within a minute counts once
    let buy = async |number: u32| {
        let sale = rows(BatchKind::Purchases, json, false, &order(number, "W3", 600 + number));
        let view = node.import_batch(format!("w{number}"), sale).await.unwrap();
        (view.points_earned, view.baskets_without_consent)
    };
    decide(true).await;
    assert_eq!(buy(8).await, (6, 0));
    decide(false).await;
    assert_eq!(buy(9).await, (0, 1));
    assert_eq!(node.member("W3".into()).await.unwrap().available, 6);
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
        let purchases = node.status().purchases.unwrap();
        assert!(purchases == 0 || purchases == 2_094, "{purchases}");
        node.import(ImportSource::Sample).await.unwrap();
        ended(&node).await;
        eventually("it has what it had", async || said(&node).await == whole).await;
        alliance.stop(BRAND).await;
    }
}

/// A throw-away server; says so when there is none to be had.
pub fn postgres() -> Option<PostgresCluster> {
    let cluster = PostgresCluster::start().unwrap();
    if cluster.is_none() {
        assert!(std::env::var_os("COALITION_SHARED").is_none(), "nothing may be skipped here");
        eprintln!("skipped: no PostgreSQL is installed");
    }
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_moves_to_postgres_and_back_and_says_the_same() {
    let Some(cluster) = postgres() else { return };
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
    let people = rows(BatchKind::Members, BatchFormat::Csv, false, "card,agreed\nW1,yes\n");
    node.import_batch("m".into(), people).await.unwrap();
    let sale = rows(BatchKind::Purchases, BatchFormat::JsonLines, false, &order(1, "W1", 700));
    assert_eq!(node.import_batch("p".into(), sale).await.unwrap().points_earned, 7);
    assert_eq!(node.member(CARD.into()).await.unwrap().card, "FS0****Z7EN");
    let folder = alliance.folder.path().join("backup");
    node.back_up(back_up(&folder)).await.unwrap();
    eventually("the backup is complete", async || node.backup_progress().await.unwrap().done).await;
    let manifest = backup::verify(&folder).unwrap();
    eventually("the status counts it", async || node.status().members == Some(161)).await;
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

/// A server's files, those that it writes ahead of them too, and a backup hold nothing of members in clear: no name, no
/// card, no telephone number, nothing that anybody typed.
#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_and_a_backup_hold_is_encrypted_at_rest() {
    let Some(cluster) = postgres() else { return };
    let mut alliance = Alliance::of_the_sample().await;
    let data = alliance.data(alliance.brands[1]);
    alliance.stop(BRAND).await;
    let to = cluster.address("fuel_stop");
    let command = StoreCommand::Migrate { data: data.path().to_owned(), to };
    store_command(&command, &mut Io::new(true)).unwrap();
    alliance.start(BRAND).await;
    // from the first member on, all of it goes there
    let lived = live(&alliance).await;
    let needles = needles(&alliance, &lived).await;
    let folder = alliance.folder.path().join("backup");
    let node = alliance.node(BRAND);
    node.back_up(back_up(&folder)).await.unwrap();
    eventually("the backup is complete", async || {
        let view = node.backup_progress().await.unwrap();
        assert_eq!(view.failed, None);
        view.done
    })
    .await;
    drop(node);
    alliance.stop(BRAND).await;
    assert!(backup::verify(&folder).unwrap().pairs > 160);

    // what the server still has in memory goes into its files too
    let ask = |sql: &str| cluster.client("psql", &["-q", "-d", "postgres", "-c", sql]).unwrap();
    ask("CHECKPOINT");
    let mut found = Vec::new();
    // a segment of the log that is written ahead has 16 MiB
    assert!(found_in(cluster.folder(), &needles, &mut found) > 16 << 20);
    assert!(found_in(&folder, &needles, &mut found) > 10_000);
    assert!(found.is_empty(), "{found:?}");

    // a marker shows that the search finds what is there in clear: in a table, and written ahead
    ask("CREATE TABLE marker AS SELECT 'token-of-the-bank-00042'::text AS words");
    ask("CHECKPOINT");
    found_in(cluster.folder(), &needles, &mut found);
    for place in ["/base/", "/pg_wal/"] {
        assert!(found.iter().any(|it| it.contains(place)), "{place}: {found:?}");
    }
    std::fs::write(folder.join("marker"), "token-of-the-bank-00042").unwrap();
    found.clear();
    found_in(&folder, &needles, &mut found);
    assert!(!found.is_empty());
}

/// What a node and another brand say of the one's own log: how high it is certified, and its root.
fn certified(node: &Node) -> (u64, u64, String) {
    let heads = node.status().heads;
    let own = heads.into_iter().find(|head| head.brand == BRAND).unwrap();
    (own.height, own.size, own.root)
}

/// Members of both brands linked, and an exchange between them that is acknowledged; its id.
async fn exchanged(alliance: &Alliance) -> String {
    let (here, there) = (alliance.node(BRAND), alliance.node(OTHER));
    let of_other = there.cards(0, None, 1).await.unwrap().remove(0);
    let code = there.link_code(of_other, BRAND.to_owned()).await.unwrap().code;
    let card = here.cards(100, None, 1).await.unwrap().remove(0);
    here.link(card.clone(), OTHER.to_owned(), code).await.unwrap();
    eventually("the link is answered", async || {
        let links = here.member(card.clone()).await.unwrap().links;
        links.iter().any(|link| link.state == "linked")
    })
    .await;
    let request = ExchangeRequest { card, to: OTHER.to_owned(), points: 20 };
    let sent = here.exchange("one".to_owned(), request).await.unwrap();
    eventually("the exchange is acknowledged", async || {
        here.exchange_by_id(sent.id.clone()).await.unwrap().state == "acknowledged"
    })
    .await;
    sent.id
}

/// A purchase of the member who came last, of another price than any before.
async fn buys(node: &Node, number: u32) {
    let sale = order(number, "W1", 600 + number);
    let sale = rows(BatchKind::Purchases, BatchFormat::JsonLines, false, &sale);
    node.staff("till").import_batch(format!("p{number}"), sale).await.unwrap();
}

/// The database is lost with the machine: what was backed up while purchases came in goes into an empty one. What was
/// acknowledged before the backup is there, what came later is sent again and counts once; the books balance, the log is
/// certified as far as it was, and vouches for the operation log.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_in_postgres_during_imports_is_restored_into_an_empty_database() {
    let Some(cluster) = postgres() else { return };
    let mut alliance = Alliance::of_the_sample().await;
    alliance.import(BRAND).await;
    alliance.import(OTHER).await;
    let data = alliance.data(alliance.brands[1]);
    alliance.stop(BRAND).await;
    let to = cluster.address("fuel_stop");
    let command = StoreCommand::Migrate { data: data.path().to_owned(), to };
    store_command(&command, &mut Io::new(true)).unwrap();
    alliance.start(BRAND).await;
    let node = alliance.node(BRAND);
    let exchange = exchanged(&alliance).await;
    let receipt = node.receipt(exchange.clone()).await.unwrap();

    std::fs::create_dir(data.mappings()).unwrap();
    std::fs::write(data.mappings().join("till.toml"), TILL).unwrap();
    let people = rows(BatchKind::Members, BatchFormat::Csv, false, "card,agreed\nW1,yes\n");
    node.import_batch("m".into(), people).await.unwrap();
    let name = [("name".to_owned(), Some("Li Lei".to_owned()))].into();
    let correction = CorrectionRequest { attributes: name, ..CorrectionRequest::default() };
    node.correct_member("ann", "W1".to_owned(), correction).await.unwrap();
    let imported = node.status().purchases.unwrap();
    let before = 20;
    for number in 0..before {
        buys(&node, number).await;
    }
    let brand = alliance.brands[1];
    eventually("the brand's log says how far the operation log is", async || {
        let report = alliance.audit(Vec::new());
        report.is_ok_and(|report| report.operations.get(&brand).is_some_and(|it| !it.is_empty()))
    })
    .await;
    let known = node.operation_count().await.unwrap();
    let earned = node.member("W1".into()).await.unwrap().available;
    assert!(earned >= 6 * u64::from(before), "{earned}");

    let folder = alliance.folder.path().join("backup");
    node.back_up(back_up(&folder)).await.unwrap();
    let mut bought = before;
    loop {
        buys(&node, bought).await;
        bought += 1;
        let view = node.backup_progress().await.unwrap();
        assert_eq!(view.failed, None);
        if view.done {
            break;
        }
    }
    for _ in 0..3 {
        buys(&node, bought).await;
        bought += 1;
    }
    eventually("the status counts them", async || {
        node.status().purchases == Some(imported + u64::from(bought))
    })
    .await;
    let whole = said(&node).await;
    let accounts = node.programme_report().await.unwrap().accounts;
    let log = node.operations(0, 1_000).await.unwrap();
    let head = certified(&node);
    drop(node);
    alliance.stop(BRAND).await;

    // into a database that holds something nothing is restored
    let old = alliance.folder.path().join("old");
    std::fs::rename(data.path(), &old).unwrap();
    let refused = backup::restore(&folder, &data, &old).unwrap_err().to_string();
    assert!(refused.contains("is not empty"), "{refused}");
    std::fs::remove_dir_all(data.path()).unwrap();
    let lost = ["-q", "-d", "postgres", "-c", "DROP SCHEMA fuel_stop CASCADE"];
    cluster.client("psql", &lost).unwrap();
    backup::restore(&folder, &data, &old).unwrap();
    assert!(data.settings().unwrap().0.store.is_some());
    alliance.start_restored(BRAND).await;
    let node = alliance.node(BRAND);

    // what was acknowledged before the backup, and of the rest each purchase whole or not at all
    let report = node.programme_report().await.unwrap();
    assert_eq!((report.trial_balance, report.differences), (0, 0));
    let there = node.member("W1".into()).await.unwrap().available;
    assert!(there >= earned, "{there} of {earned}");
    assert_eq!(node.exchange_by_id(exchange.clone()).await.unwrap().state, "acknowledged");
    for number in 0..bought {
        buys(&node, number).await;
    }
    eventually("it has what it had", async || said(&node).await == whole).await;
    let report = node.programme_report().await.unwrap();
    assert_eq!((report.trial_balance, report.differences), (0, 0));
    assert_eq!(report.accounts, accounts);

    // the log is certified as far as it was, here and at the other brand, and goes on
    let other = alliance.node(OTHER);
    eventually("both have one head, no lower than before", async || {
        let here = certified(&node);
        here.0 >= head.0 && here == certified(&other)
    })
    .await;
    let leaf = |receipt: &str| receipt.lines().nth(1).map(str::to_owned);
    let again = node.receipt(exchange).await.unwrap();
    assert_eq!(leaf(&receipt), leaf(&again));

    // the operation log has what it had before the backup, and the brand's log vouches for it
    let restored = node.operations(0, 1_000).await.unwrap();
    let known = usize::try_from(known).unwrap();
    assert_eq!(restored[..known], log[..known]);
    assert!(log[..known].iter().any(|it| it.by == "ann" && it.deed == "correct"));
    let operations: Vec<_> =
        restored[..known].iter().map(|it| it.to_operation().unwrap()).collect();
    let mut heads = Vec::new();
    eventually("the published logs are read whole", async || {
        let Ok(report) = alliance.audit(Vec::new()) else { return false };
        heads.clone_from(&report.operations[&brand]);
        true
    })
    .await;
    // what was entered later went with the machine
    heads.retain(|head| head.entries <= operations.len() as u64);
    let verified = operation_log::verify(&operations, &heads);
    assert!(verified.findings.is_empty() && verified.vouched_for > 0, "{verified:?}");
}
