//! Purchases while everybody wants something else: from a till and from a shop on the web, and back out of the facts.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use super::super::super::CliError;
use super::super::alliance::card;
use super::super::input;
use super::{POLL, get};
use crate::client::{Client, ClientError, Method};
use crate::config::DataDirectory;
use crate::desk::{ExportedLine, MemberExport};
use crate::service::{PurchaseLine, PurchaseRequest, PurchaseView};

/// What the lines of the shop on the web mean.
const MAPPING: &str = "\
format = \"coalition import 1\"
name = \"web\"

[purchases]
files = [\"purchases.jsonl\"]
time_zone = \"Asia/Shanghai\"
channel = \"ecommerce\"
basket = \"order\"
line = \"no\"
member = \"card\"
purchased_at = \"at\"
department = \"dept\"
quantity = \"pieces\"
amount = \"fen\"
currency = \"CNY\"
fen_per_unit = 1

[purchases.cleaning]
same_order_within_seconds = 0
";
/// Lines of one batch, each another member's.
const BATCH: u32 = 5;
const DAY: &str = "2025-06-01";
/// How long a purchase may take to be there: what is asked for.
const PATIENCE: Duration = Duration::from_secs(900);

/// Puts the mapping where the node looks for it.
pub(super) fn write_mapping(data: &DataDirectory) -> Result<(), CliError> {
    let mappings = data.mappings();
    fs::create_dir_all(&mappings).map_err(input)?;
    fs::write(mappings.join("web.toml"), MAPPING).map_err(input)
}

/// One line as it was sent.
#[derive(Clone, Debug)]
struct Line {
    member: u32,
    department: String,
    pieces: i64,
    amount_fen: i64,
    channel: &'static str,
}

impl Line {
    /// Whether it came out as it went in.
    fn is(&self, found: &ExportedLine) -> bool {
        found.day == DAY
            && found.department == self.department
            && found.quantity == self.pieces
            && found.amount_fen == self.amount_fen
            && found.channel.as_deref() == Some(self.channel)
    }
}

/// What was sold, and how long it took to be in the facts.
pub(super) struct Sales {
    lines: Vec<Line>,
    // ascending
    visible: Vec<Duration>,
}

impl Sales {
    /// One purchase of each member, of more than a thousand yuan: what the points for the reward come from.
    pub(super) async fn first(client: &Client, members: u32) -> Result<Self, CliError> {
        let of = |member: u32| Line {
            member,
            department: "D00".to_owned(),
            pieces: 1,
            amount_fen: 100_000 + i64::from(member),
            channel: "ecommerce",
        };
        let lines: Vec<Line> = (0..members).map(of).collect();
        for (batch, lines) in lines.chunks(500).enumerate() {
            send(client, &format!("first-{batch}"), lines).await?;
        }
        Ok(Self { lines, visible: Vec::new() })
    }

    /// The same with what was sold before.
    pub(super) fn after(mut self, before: Self) -> Self {
        self.lines.extend(before.lines);
        self
    }

    /// Enters so many purchases at a till and as many batches of the shop on the web, both at once, and looks for each.
    pub(super) async fn enter(client: Client, members: u32, count: u32) -> Result<Self, CliError> {
        let (till, web) = tokio::join!(till(&client, members, count), web(&client, members, count));
        let (mut all, web) = (till?, web?);
        all.lines.extend(web.lines);
        all.visible.extend(web.visible);
        all.visible.sort_unstable();
        Ok(all)
    }

    /// How many lines.
    pub(super) fn lines(&self) -> u64 {
        self.lines.len() as u64
    }

    /// Seconds after which so many of a hundred were there.
    pub(super) fn visible(&self, percent: usize) -> f64 {
        let place = (self.visible.len() * percent / 100).min(self.visible.len().saturating_sub(1));
        self.visible.get(place).map_or(f64::NAN, Duration::as_secs_f64)
    }

    /// Lines that are missing, other than sent, or sent by nobody.
    pub(super) async fn wrong(&self, client: &Client) -> Result<u64, CliError> {
        let mut by_member: BTreeMap<u32, Vec<&Line>> = BTreeMap::new();
        for line in &self.lines {
            by_member.entry(line.member).or_default().push(line);
        }
        let mut wrong = 0_u64;
        for (member, sent) in by_member {
            let mut found = facts_of(client, member).await?;
            for line in sent {
                match found.iter().position(|it| line.is(it)) {
                    Some(place) => drop(found.swap_remove(place)),
                    None => wrong += 1,
                }
            }
            wrong += found.len() as u64;
        }
        Ok(wrong)
    }
}

async fn facts_of(client: &Client, member: u32) -> Result<Vec<ExportedLine>, CliError> {
    let path = format!("/api/v1/members/{}/export", card(member));
    Ok(get::<MemberExport>(client, &path).await?.purchases)
}

/// Waits until a line that was sent at a moment is in the facts.
async fn seen(client: &Client, line: &Line, sent: Instant) -> Result<Duration, CliError> {
    while !facts_of(client, line.member).await?.iter().any(|it| line.is(it)) {
        if sent.elapsed() > PATIENCE {
            return Err(input("a purchase is not in the facts within 15 minutes"));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(sent.elapsed())
}

async fn till(client: &Client, members: u32, count: u32) -> Result<Sales, CliError> {
    let mut sales = Sales { lines: Vec::new(), visible: Vec::new() };
    for number in 0..count {
        // an amount of its own tells each line from all others
        let line = Line {
            member: number % members,
            department: format!("D{:02}", number % 12),
            pieces: i64::from(number % 3) + 1,
            amount_fen: 1_000 + i64::from(number),
            channel: "store",
        };
        let receipt = format!("T-{number}");
        let request = PurchaseRequest {
            card: card(line.member),
            receipt: receipt.clone(),
            purchased_at: format!("{DAY}T12:00:00+08:00"),
            channel: "store".to_owned(),
            lines: vec![PurchaseLine {
                department: line.department.clone(),
                pieces: line.pieces,
                amount_fen: line.amount_fen,
            }],
            ..PurchaseRequest::default()
        };
        let sent = Instant::now();
        loop {
            let asked: Result<PurchaseView, ClientError> =
                client.post("/api/v1/purchases", &[("idempotency-key", &receipt)], &request).await;
            match asked {
                // the batch's turn is not over
                Err(ClientError::Refused { problem, .. }) if problem.code == "import_running" => {}
                asked => {
                    if super::patient(asked)?.is_some() {
                        break;
                    }
                }
            }
            wait(sent).await?;
        }
        sales.visible.push(seen(client, &line, sent).await?);
        sales.lines.push(line);
    }
    Ok(sales)
}

async fn web(client: &Client, members: u32, count: u32) -> Result<Sales, CliError> {
    let mut sales = Sales { lines: Vec::new(), visible: Vec::new() };
    for batch in 0..count {
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        let lines: Vec<Line> = numbers
            .map(|number| Line {
                member: number.wrapping_mul(7) % members,
                department: format!("D{:02}", number % 12),
                pieces: 1,
                amount_fen: 1_000_000 + i64::from(number),
                channel: "ecommerce",
            })
            .collect();
        let sent = Instant::now();
        send(client, &format!("web-{batch}"), &lines).await?;
        for line in &lines {
            sales.visible.push(seen(client, line, sent).await?);
        }
        sales.lines.extend(lines);
    }
    Ok(sales)
}

/// Sends a batch of the shop on the web until it is taken.
async fn send(client: &Client, key: &str, lines: &[Line]) -> Result<(), CliError> {
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        text.push_str(&format!(
            "{{\"order\":\"{key}-{number}\",\"no\":1,\"card\":\"{}\",\"at\":\"{DAY}T13:00:00+08:00\",\
             \"dept\":\"{}\",\"pieces\":{},\"fen\":{}}}\n",
            card(line.member),
            line.department,
            line.pieces,
            line.amount_fen
        ));
    }
    let headers = [("idempotency-key", key), ("content-type", "application/x-ndjson")];
    let path = "/api/v1/imports/batches?kind=purchases&mapping=web";
    let body = bytes::Bytes::from(text);
    let sent = Instant::now();
    loop {
        match client.send(Method::POST, path, &headers, Some(body.clone())).await {
            Ok(answer) if answer.status.is_success() => return Ok(()),
            // busy, or the till's turn is not over
            Ok(answer) if matches!(answer.status.as_u16(), 409 | 429 | 503) => {}
            Ok(answer) => return Err(input(String::from_utf8_lossy(&answer.body))),
            Err(ClientError::Unreachable { .. } | ClientError::Timeout { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        wait(sent).await?;
    }
}

async fn wait(since: Instant) -> Result<(), CliError> {
    if since.elapsed() > PATIENCE {
        return Err(input("the node does not take a purchase"));
    }
    tokio::time::sleep(POLL).await;
    Ok(())
}
