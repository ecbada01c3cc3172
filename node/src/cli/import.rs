//! `coalition import`: a brand's files into its running node, or what they would become.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use super::operations::{NodeArguments, POLL, client};
use super::{CliError, Io};
use crate::client::Client;
use crate::purchases::{MAPPING_MAX, Mapping};
use crate::service::{ImportSource, ImportView};

/// Rejected rows that are told one by one on stderr; stdout has more.
const REJECTED_TOLD: usize = 20;

/// What to import.
#[derive(Debug, clap::Args)]
pub struct ImportArguments {
    #[command(flatten)]
    /// Which node.
    node: NodeArguments,
    /// Folder on the node's machine with the files that the mapping names (Parquet, CSV, JSON lines).
    #[arg(required_unless_present = "sample", requires = "mapping")]
    folder: Option<PathBuf>,
    /// What the files mean: a mapping file, or the name of a shipped one (complete-journey,
    /// online-retail) or of one in the node's folder `mappings`. docs/import.md describes it.
    #[arg(long)]
    mapping: Option<String>,
    /// The shipped sample's part of this brand instead.
    #[arg(long, conflicts_with_all = ["folder", "mapping"])]
    sample: bool,
    /// Only say what would be done: read, clean and count everything, and keep nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Imports, with progress and a report in words on stderr and the report as JSON on stdout.
///
/// # Errors
/// When the node refuses or the import stops.
pub async fn import(arguments: &ImportArguments) -> Result<(), CliError> {
    let source = match (&arguments.folder, &arguments.mapping) {
        (Some(folder), Some(mapping)) => {
            let path = fs::canonicalize(folder)
                .map_err(|source| CliError::File { path: folder.clone(), source })?;
            ImportSource::Folder {
                path: path.to_string_lossy().into_owned(),
                mapping: mapping_text(mapping)?,
            }
        }
        _ => ImportSource::Sample,
    };
    let client = client(&arguments.node).await?;
    let view = follow_import(&client, &source, arguments.dry_run, &ProgressBar::new(1000)).await?;
    let mut io = Io::new(true);
    tell(&view, &io);
    io.json(&view)
}

/// A mapping file's text, checked; what is no file is a name that the node knows.
fn mapping_text(mapping: &str) -> Result<String, CliError> {
    let path = PathBuf::from(mapping);
    if !path.is_file() {
        return Ok(mapping.to_owned());
    }
    let wrong = |source| CliError::File { path: path.clone(), source };
    let size = fs::metadata(&path).map_err(wrong)?.len();
    if size > MAPPING_MAX as u64 {
        return Err(CliError::Input(format!(
            "{mapping}: a mapping has at most {MAPPING_MAX} bytes"
        )));
    }
    let text = fs::read_to_string(&path).map_err(wrong)?;
    match Mapping::from_toml(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(CliError::Input(format!("{mapping}: {error}"))),
    }
}

/// What became of members who were known, and of whoever came without a card; where there is any of it.
fn tell_members(view: &ImportView, io: &Io) {
    let listed = |by: &BTreeMap<String, u64>| {
        let each: Vec<String> =
            by.iter().map(|(purpose, members)| format!("{purpose} {members}")).collect();
        if each.is_empty() { "none".to_owned() } else { each.join(", ") }
    };
    let (given, withdrawn) = (&view.consents_given, &view.consents_withdrawn);
    let changed = view.members_updated + view.members_new_cards;
    if changed > 0 || !given.is_empty() || !withdrawn.is_empty() {
        io.say(&format!(
            "of known members: {} changed, {} new cards; consents given: {}; refused or withdrawn: {}",
            view.members_updated,
            view.members_new_cards,
            listed(given),
            listed(withdrawn)
        ));
    }
    let ImportView { members_sighted, members_merged, pairs_to_review, .. } = view;
    let refused = view.identifiers_refused;
    if members_sighted + members_merged + pairs_to_review + refused > 0 {
        io.say(&format!(
            "by phone numbers and accounts: {members_sighted} new members without a card, {members_merged} merged, \
             {pairs_to_review} pairs to review, {refused} identifiers not entered"
        ));
    }
}

/// The report in words.
fn tell(view: &ImportView, io: &Io) {
    if view.dry_run {
        io.say("dry run: nothing of this was kept / 试运行：未保存任何内容");
    }
    for rule in &view.stated_rules {
        if rule.en == rule.zh {
            io.say(&rule.en);
        } else {
            io.say(&format!("{} / {}", rule.en, rule.zh));
        }
    }
    if let Some(file) = &view.gave_up {
        io.say(&format!("the half-done import of {file} was given up: import that file again"));
    }
    if view.resumed_after > 0 {
        io.say(&format!("an interrupted import went on after place {}", view.resumed_after));
    }
    if view.already_imported {
        io.say("these purchases were imported before: nothing was done");
    }
    let consenting: Vec<String> =
        view.consenting.iter().map(|(purpose, members)| format!("{purpose} {members}")).collect();
    io.say(&format!(
        "{} members, {} of them new; new ones who consent: {}",
        view.members,
        view.members_enrolled,
        if consenting.is_empty() { "none".to_owned() } else { consenting.join(", ") }
    ));
    io.say(&format!(
        "{} of {} purchase lines kept ({} of guests, {} refunds), {} baskets, {} points earned",
        view.rows_kept,
        view.rows_read,
        view.guest_rows,
        view.refund_rows,
        view.baskets,
        view.points_earned
    ));
    if view.baskets_without_consent > 0 {
        io.say(&format!(
            "{} baskets kept, earned nothing: their members have not agreed to take part in the programme / \
             {} 笔已保存、未计积分：会员未同意参加积分计划",
            view.baskets_without_consent, view.baskets_without_consent
        ));
    }
    tell_members(view, io);
    for adjusted in &view.adjusted {
        io.say(&format!("{}: {} rows: {}", adjusted.file, adjusted.rows, adjusted.what));
    }
    for dropped in &view.dropped {
        io.say(&format!(
            "{}: {} rows not kept: {}; {}",
            dropped.file, dropped.rows, dropped.reason, dropped.remedy
        ));
    }
    for rejected in view.rejected.iter().take(REJECTED_TOLD) {
        io.say(&format!("  {rejected}"));
    }
    if view.rejected.len() > REJECTED_TOLD {
        io.say(&format!("  and {} more in the JSON", view.rejected.len() - REJECTED_TOLD));
    }
}

/// Starts an import and waits for its end.
///
/// # Errors
/// When the node refuses or the import stops.
pub async fn follow_import(
    client: &Client,
    source: &ImportSource,
    dry_run: bool,
    bar: &ProgressBar,
) -> Result<ImportView, CliError> {
    let path = if dry_run { "/api/v1/imports?dry_run=true" } else { "/api/v1/imports" };
    client.post::<_, ()>(path, &[], source).await?;
    if let Ok(style) = ProgressStyle::with_template("{msg:>16} {bar:40} {percent}%") {
        bar.set_style(style);
    }
    bar.set_length(1000);
    loop {
        let view: ImportView = client.get("/api/v1/imports/latest").await?;
        bar.set_position(u64::from(view.permille));
        if let Some(problem) = view.failed {
            return Err(CliError::Input(format!("the import stopped: {problem}")));
        }
        if view.done {
            bar.finish_and_clear();
            return Ok(view);
        }
        tokio::time::sleep(POLL).await;
    }
}
