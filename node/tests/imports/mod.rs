//! An import whose node is killed with SIGKILL on the way, as a process of the real binary.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use node::cli::bench::{Alliance, Plan};
use node::cli::process::{NodeProcess, Program};
use node::client::Client;
use node::service::{ImportSource, ImportView, MemberView, ProgrammeReportView, Status};

/// More than twice what one transaction of an import takes (65,536): a run that goes on has one behind it. And more
/// for a machine that is through with that before it is told to stop.
const ROWS: [u32; 2] = [140_000, 840_000];
const LINES_OF_BASKET: u32 = 4;
const MEMBERS: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(300);

const MAPPING: &str = r#"
format = "coalition import 1"
name = "till"
[members]
files = ["m.csv"]
[members.columns]
card = "card"
[members.consent]
source = "member"
notice_version = 1
programme = { column = "agreed", granted = ["是"], refused = ["否"] }
[purchases]
files = ["p.csv.gz"]
encoding = "gbk"
time_zone = "Asia/Shanghai"
channel = "store"
basket = "小票"
line = "行"
member = "卡号"
purchased_at = "时间"
department = "品类"
quantity = "件"
amount = "金额"
currency = "CNY"
fen_per_unit = 1
[purchases.cleaning]
same_order_within_seconds = 0
"#;

fn write_files(folder: &Path, rows: u32) {
    let cards = (0..MEMBERS).map(|number| format!("W{number},是\n"));
    std::fs::write(folder.join("m.csv"), format!("card,agreed\n{}", cards.collect::<String>()))
        .unwrap();
    let mut text = "小票,行,卡号,时间,品类,件,金额\n".to_owned();
    for row in 0..rows {
        let (basket, line) = (row / LINES_OF_BASKET, row % LINES_OF_BASKET + 1);
        let (card, day) = (basket % MEMBERS, basket % 28 + 1);
        text += &format!("{basket},{line},W{card},2025-03-{day:02} 10:00:00,蔬菜,1,100\n");
    }
    let (bytes, _, wrong) = encoding_rs::GBK.encode(&text);
    assert!(!wrong);
    let file = std::fs::File::create(folder.join("p.csv.gz")).unwrap();
    // packed, though not smaller, which would take time
    let mut packed = GzEncoder::new(file, Compression::none());
    packed.write_all(&bytes).unwrap();
    packed.finish().unwrap();
}

/// How far the import is, once `far` says that it is far enough.
async fn progress(client: &Client, far: impl Fn(&ImportView) -> bool) -> ImportView {
    let began = Instant::now();
    loop {
        let view: ImportView = client.get("/api/v1/imports/latest").await.unwrap();
        assert_eq!(view.failed, None);
        if far(&view) {
            return view;
        }
        assert!(began.elapsed() < PATIENCE, "{view:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What is to be seen: purchases, and the points of all members.
async fn seen(client: &Client) -> (u64, Vec<u64>) {
    let status: Status = client.get("/api/v1/status").await.unwrap();
    let mut points = Vec::new();
    for number in 0..MEMBERS {
        let path = format!("/api/v1/members/W{number}");
        // nobody is there before the list of members is read
        let member: Option<MemberView> = client.get(&path).await.ok();
        points.push(member.map_or(0, |member| member.available));
    }
    let report: ProgrammeReportView = client.get("/api/v1/programme/report").await.unwrap();
    assert_eq!((report.trial_balance, report.differences), (0, 0));
    (status.purchases.unwrap(), points)
}

/// Waits until this is to be seen: the node counts a moment after an import has ended.
async fn shows(client: &Client, expected: &(u64, Vec<u64>)) {
    let began = Instant::now();
    loop {
        let found = seen(client).await;
        if found == *expected {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{found:?} in place of {expected:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn start(node: &mut NodeProcess) -> Client {
    node.start().unwrap();
    node.answers().await.unwrap();
    node.client().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_killed_shows_nothing_half_done_and_goes_on() {
    for rows in ROWS {
        if is_killed_and_goes_on(rows).await {
            return;
        }
    }
    panic!("{} rows are imported before the node is killed", ROWS[1]);
}

/// Whether the import could be killed on its way each time.
async fn is_killed_and_goes_on(rows: u32) -> bool {
    let files = tempfile::tempdir().unwrap();
    write_files(files.path(), rows);
    let plan = Plan { brands: 4, members: 1, snapshot_mib: 64, served: true };
    let alliance = Alliance::make(plan).unwrap();
    let mut node = alliance.processes(&Program::at(super::BINARY.into())).remove(0);
    let source = ImportSource::Folder {
        path: files.path().to_str().unwrap().to_owned(),
        mapping: MAPPING.to_owned(),
    };
    // a basket comes to four yuan: four points by the shipped rules
    let each = u64::from(rows / LINES_OF_BASKET / MEMBERS * 4);
    let nothing = (0, vec![0; MEMBERS as usize]);
    let everything = (u64::from(rows), vec![each; MEMBERS as usize]);

    let mut client = start(&mut node).await;
    // while it begins, on its way, and with a transaction behind it
    for read in [0, 20_000, 100_000] {
        let () = client.post("/api/v1/imports", &[], &source).await.unwrap();
        progress(&client, |it| it.done || (it.rows_read >= read && it.running)).await;
        node.kill().await.unwrap();
        client = start(&mut node).await;
        let found = seen(&client).await;
        if found.0 == everything.0 {
            return false;
        }
        assert_eq!(found, nothing, "killed after {read} rows");
    }
    let () = client.post("/api/v1/imports", &[], &source).await.unwrap();
    let done = progress(&client, |it| it.done).await;
    assert!(done.resumed_after >= 60_000, "{done:?}");
    assert_eq!(
        (done.rows_read, done.rows_kept, done.dropped.len()),
        (u64::from(rows), u64::from(rows), 0)
    );
    shows(&client, &everything).await;
    // it counts once, whatever comes after it
    node.kill().await.unwrap();
    client = start(&mut node).await;
    assert_eq!(seen(&client).await, everything);
    let () = client.post("/api/v1/imports", &[], &source).await.unwrap();
    assert!(progress(&client, |it| it.done).await.already_imported);
    shows(&client, &everything).await;
    node.kill().await.unwrap();
    true
}
