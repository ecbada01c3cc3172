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

/// More than one transaction of an import takes (65,536), so that a run that goes on has something behind it.
const ROWS: u32 = 80_000;
const LINES_OF_BASKET: u32 = 4;
const MEMBERS: u32 = 20;
/// A basket comes to four yuan: four points by the shipped rules.
const POINTS_EACH: u64 = (ROWS / LINES_OF_BASKET / MEMBERS * 4) as u64;
const PATIENCE: Duration = Duration::from_secs(120);

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

fn write_files(folder: &Path) {
    let cards = (0..MEMBERS).map(|number| format!("W{number},是\n"));
    std::fs::write(folder.join("m.csv"), format!("card,agreed\n{}", cards.collect::<String>()))
        .unwrap();
    let mut text = "小票,行,卡号,时间,品类,件,金额\n".to_owned();
    for row in 0..ROWS {
        let (basket, line) = (row / LINES_OF_BASKET, row % LINES_OF_BASKET + 1);
        let (card, day) = (basket % MEMBERS, basket % 28 + 1);
        text += &format!("{basket},{line},W{card},2025-03-{day:02} 10:00:00,蔬菜,1,100\n");
    }
    let (bytes, _, wrong) = encoding_rs::GBK.encode(&text);
    assert!(!wrong);
    let file = std::fs::File::create(folder.join("p.csv.gz")).unwrap();
    // packed, and not smaller: how much of it is read is then how many rows are, about
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
    (status.purchases, points)
}

async fn start(node: &mut NodeProcess) -> Client {
    node.start().unwrap();
    node.answers().await.unwrap();
    node.client().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_killed_shows_nothing_half_done_and_goes_on() {
    let files = tempfile::tempdir().unwrap();
    write_files(files.path());
    let plan = Plan { brands: 4, members: 1, snapshot_mib: 64, served: true };
    let alliance = Alliance::make(plan).unwrap();
    let mut node = alliance.processes(&Program::at(super::BINARY.into())).remove(0);
    let source = ImportSource::Folder {
        path: files.path().to_str().unwrap().to_owned(),
        mapping: MAPPING.to_owned(),
    };
    let nothing = (0, vec![0; MEMBERS as usize]);
    let everything = (u64::from(ROWS), vec![POINTS_EACH; MEMBERS as usize]);

    let mut client = start(&mut node).await;
    // while it begins, on its way, and with a transaction behind it
    for permille in [0, 400, 970] {
        let () = client.post("/api/v1/imports", &[], &source).await.unwrap();
        let killed = progress(&client, |it| it.permille >= permille && it.running).await;
        assert!(!killed.done, "the import was faster than the test");
        node.kill().await.unwrap();
        client = start(&mut node).await;
        assert_eq!(seen(&client).await, nothing, "killed at {permille} of a thousand");
    }
    let () = client.post("/api/v1/imports", &[], &source).await.unwrap();
    let done = progress(&client, |it| it.done).await;
    assert!(done.resumed_after >= 60_000, "{done:?}");
    assert_eq!((done.rows_read, done.rows_kept, done.dropped.len()), (80_000, 80_000, 0));
    assert_eq!(seen(&client).await, everything);
    // it counts once, whatever comes after it
    node.kill().await.unwrap();
    client = start(&mut node).await;
    assert_eq!(seen(&client).await, everything);
    let () = client.post("/api/v1/imports", &[], &source).await.unwrap();
    assert!(progress(&client, |it| it.done).await.already_imported);
    assert_eq!(seen(&client).await, everything);
    node.kill().await.unwrap();
}
