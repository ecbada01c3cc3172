//! `coalition programme opening-balances`: members' balances of a programme of before, from a file into a running node.
//!
//! The file is read here and sent in requests of some members each, so that a command that was interrupted goes on
//! when it is given again: whatever was entered or given before stays as it is.

use std::path::PathBuf;

use serde::Serialize;

use super::operations::{NodeArguments, client};
use super::{CliError, Io};
use crate::client::Client;
use crate::purchases::{Encoding, OpeningRows, OpeningsFile, Source, read_openings};
use crate::service::{
    Bilingual, OPENINGS_MAX, OpeningLotRequest, OpeningRequest, OpeningsRequest, OpeningsView,
};

/// Most bytes of the members of one request, which may have 64 KiB.
const REQUEST_BYTES: usize = 60 * 1024;
/// Problems that are told one by one on stderr; stdout has more.
const TOLD: usize = 20;

/// What members bring.
#[derive(Debug, clap::Args)]
pub struct OpeningsArguments {
    #[command(flatten)]
    /// Which node.
    pub node: NodeArguments,
    /// CSV with a row of names first, JSON lines or Parquet, by the end of its name: card, points, expires_on (their last
    /// day; empty as the rules have it), tier_points (what counts towards a tier so far; may be empty). Several rows of a
    /// card are several lots.
    pub file: PathBuf,
    /// Only say what would be done, and keep nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Put what the file says in the place of what was entered before and still waits for a second person.
    #[arg(long)]
    pub replace: bool,
    /// How text is encoded: utf-8, or gb18030 (GBK).
    #[arg(long, default_value = "utf-8")]
    pub encoding: String,
}

/// What became of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OpeningsReport {
    /// Its name.
    pub file: String,
    /// Whether it only says what would be done.
    pub dry_run: bool,
    /// Rows read.
    pub rows_read: u64,
    /// Rows that were left out before anything was sent.
    pub rows_left_out: u64,
    /// The first of them: line, field, what is wrong and what would be right.
    pub left_out: Vec<String>,
    /// Members who were sent.
    pub members: u64,
    /// Of them, those who have their balance now.
    pub given: u64,
    /// Of them, those whose balance waits for a second person.
    pub waiting: u64,
    /// Of them, those who had the same before.
    pub already_there: u64,
    /// Points of those who have their balance now.
    pub points_given: u64,
    /// Points of those that wait.
    pub points_waiting: u64,
    /// Those who bring nothing.
    pub refused: Vec<RefusedRows>,
}

/// Rows of a card that the node refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RefusedRows {
    /// Where they are in the file.
    pub places: Vec<u64>,
    /// Which field is to blame, if one is.
    pub field: Option<String>,
    /// Why, a stable code.
    pub code: String,
    /// Why, in words.
    pub reason: Bilingual,
    /// What would be right.
    pub remedy: String,
}

/// A member with the places of the rows.
struct Member {
    places: Vec<u64>,
    request: OpeningRequest,
}

impl Member {
    fn new((card, rows): (String, OpeningRows)) -> Self {
        let OpeningRows { places, lots, tier_points } = rows;
        let lots = lots.into_iter();
        let lots = lots.map(|(points, expires_on)| OpeningLotRequest { points, expires_on });
        let (lots, tier_points) = (lots.collect(), tier_points.unwrap_or_default());
        Self { places, request: OpeningRequest { card, lots, tier_points } }
    }

    /// How long it is in a request.
    fn bytes(&self) -> usize {
        // what cannot be written has a request of its own, and is told there
        serde_json::to_vec(&self.request).map_or(REQUEST_BYTES, |bytes| bytes.len() + 1)
    }
}

impl OpeningsReport {
    fn of(found: &OpeningsFile, dry_run: bool) -> Self {
        Self {
            file: found.file.clone(),
            dry_run,
            rows_read: found.rows_read,
            rows_left_out: found.rows_left_out,
            left_out: found.left_out.iter().map(ToString::to_string).collect(),
            ..Self::default()
        }
    }

    fn add(&mut self, sent: &[Member], view: OpeningsView) {
        self.members += view.members;
        self.given += view.given;
        self.waiting += view.waiting;
        self.already_there += view.already_there;
        self.points_given += view.points_given;
        self.points_waiting += view.points_waiting;
        for refused in view.refused {
            let place = usize::try_from(refused.place).unwrap_or_default();
            let member = place.checked_sub(1).and_then(|place| sent.get(place));
            self.refused.push(RefusedRows {
                places: member.map(|member| member.places.clone()).unwrap_or_default(),
                field: refused.field,
                code: refused.code,
                reason: refused.reason,
                remedy: refused.remedy,
            });
        }
    }
}

/// The members of requests, each as long as one may be.
fn requests(members: impl IntoIterator<Item = Member>) -> Vec<Vec<Member>> {
    let (mut requests, mut next, mut bytes) = (Vec::new(), Vec::new(), 0);
    for member in members {
        let more = member.bytes();
        if !next.is_empty() && (next.len() >= OPENINGS_MAX || bytes + more > REQUEST_BYTES) {
            requests.push(std::mem::take(&mut next));
            bytes = 0;
        }
        bytes += more;
        next.push(member);
    }
    if !next.is_empty() {
        requests.push(next);
    }
    requests
}

/// Brings what a file says to a node.
///
/// # Errors
/// When the file as a whole is not what it should be, or the node refuses.
pub async fn bring(
    client: &Client,
    arguments: &OpeningsArguments,
    io: &Io,
) -> Result<OpeningsReport, CliError> {
    let OpeningsArguments { file, dry_run, replace, encoding, .. } = arguments;
    let (dry_run, replace) = (*dry_run, *replace);
    let encoding = Encoding::from_name(encoding)
        .ok_or_else(|| CliError::Input("an encoding is utf-8 or gb18030".to_owned()))?;
    let mut found = read_openings(&Source::File(file.clone()), encoding)
        .map_err(|error| CliError::Input(error.to_string()))?;
    let mut report = OpeningsReport::of(&found, dry_run);
    let cards = std::mem::take(&mut found.cards);
    let all = cards.len();
    for some in requests(cards.into_iter().map(Member::new)) {
        let members = some.iter().map(|member| member.request.clone()).collect();
        let request = OpeningsRequest { members, dry_run, replace };
        let path = "/api/v1/programme/opening-balances";
        match client.post::<_, OpeningsView>(path, &[], &request).await {
            Ok(view) => report.add(&some, view),
            Err(error) => {
                let done = report.members;
                io.say(&format!("{done} of {all} members were sent; the same command goes on"));
                return Err(error.into());
            }
        }
    }
    Ok(report)
}

/// The report in words.
fn tell(report: &OpeningsReport, io: &Io) {
    if report.dry_run {
        io.say("dry run: nothing of this was kept / 试运行：未保存任何内容");
    }
    let OpeningsReport { rows_read, members, given, points_given, waiting, points_waiting, .. } =
        report;
    io.say(&format!("{rows_read} rows, {members} members / {rows_read} 行，{members} 名会员"));
    io.say(&format!(
        "{given} given, {points_given} points; {waiting} wait for a second person, {points_waiting} points; {} had \
         theirs before / 已给 {given} 名共 {points_given} 积分；待另一人确认 {waiting} 名共 {points_waiting} 积分；此前已有 {} 名",
        report.already_there, report.already_there
    ));
    let left_out = report.rows_left_out;
    if left_out > 0 {
        io.say(&format!("{left_out} rows left out / {left_out} 行未采用"));
    }
    for problem in report.left_out.iter().take(TOLD) {
        io.say(&format!("  {problem}"));
    }
    let refused = report.refused.len();
    if refused > 0 {
        io.say(&format!("{refused} members bring nothing / {refused} 名会员未带入"));
    }
    for rows in report.refused.iter().take(TOLD) {
        let places: Vec<String> = rows.places.iter().map(u64::to_string).collect();
        let field = rows.field.as_ref().map(|field| format!(", {field}")).unwrap_or_default();
        let Bilingual { zh, en } = &rows.reason;
        io.say(&format!("  {}{field}: {en} / {zh}; {}", places.join(" "), rows.remedy));
    }
    if report.left_out.len() > TOLD || refused > TOLD {
        io.say("  and more in the JSON");
    }
}

/// Does it.
///
/// # Errors
/// When the file is wrong or the node refuses.
pub async fn run(arguments: &OpeningsArguments) -> Result<(), CliError> {
    let mut io = Io::new(true);
    let client = client(&arguments.node).await?;
    let report = bring(&client, arguments, &io).await?;
    tell(&report, &io);
    io.json(&report)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;
    use crate::purchases::OPENING_LOTS_MAX;
    use crate::service::RefusedOpening;

    fn member(number: u64, lots: usize) -> Member {
        let lots = vec![(5, Some("2027-03-31".to_owned())); lots];
        let rows = OpeningRows { places: vec![number], lots, tier_points: None };
        Member::new((format!("CARD-{number:059}"), rows))
    }

    #[test]
    fn requests_are_of_whole_members_and_fit() {
        assert_eq!(OPENING_LOTS_MAX, ::programme::openings::LOTS_MAX);
        let lots = |number: u64| if number.is_multiple_of(3) { OPENING_LOTS_MAX } else { 1 };
        let all: Vec<Member> = (0..2_000).map(|number| member(number, lots(number))).collect();
        let requests = requests(all);
        let mut next = 0;
        for some in &requests {
            assert!((1..=OPENINGS_MAX).contains(&some.len()));
            let members = some.iter().map(|member| member.request.clone()).collect();
            let request = OpeningsRequest { members, dry_run: true, replace: true };
            assert!(serde_json::to_vec(&request).unwrap().len() < 64 * 1024);
            for member in some {
                assert_eq!(member.places, [next]);
                next += 1;
            }
        }
        assert_eq!(next, 2_000);
        assert!(super::requests(Vec::new()).is_empty());
        let small: Vec<Member> = (0..501).map(|number| member(number, 0)).collect();
        let sizes: Vec<usize> = super::requests(small).iter().map(Vec::len).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 501);
        assert!(sizes.len() >= 2, "{sizes:?}");
    }

    #[test]
    fn what_a_node_refuses_is_told_by_its_rows() {
        let sent = [member(7, 1), member(9, 1)];
        let refused = RefusedOpening {
            place: 2,
            code: "member_unknown".to_owned(),
            ..RefusedOpening::default()
        };
        let view = OpeningsView {
            members: 2,
            given: 1,
            points_given: 5,
            refused: vec![refused],
            ..OpeningsView::default()
        };
        let mut report = OpeningsReport::default();
        report.add(&sent, view.clone());
        report.add(&sent[1..], OpeningsView { refused: Vec::new(), ..view });
        assert_eq!((report.members, report.given, report.points_given), (4, 2, 10));
        assert_eq!(report.refused.len(), 1);
        assert_eq!(report.refused[0].places, [9]);
        assert_eq!(report.refused[0].code, "member_unknown");
    }

    #[test]
    fn the_command_takes_a_file() {
        let parses = |arguments: &str| {
            let all = format!("coalition programme opening-balances {arguments} --data d");
            Cli::try_parse_from(all.split(' ')).is_ok()
        };
        for right in
            ["before.csv", "before.csv --dry-run", "before.csv --replace --encoding gb18030"]
        {
            assert!(parses(right), "{right}");
        }
        assert!(!parses("--dry-run"));
    }
}
