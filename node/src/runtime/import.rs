//! An import on a thread of its own: the node goes on meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ::programme::Rules;
use ::programme::calendar::Zone;
use ::programme::plain::statements;
use protocol::ids::BrandId;
use ring::digest::{SHA256, digest};
use tokio::sync::{mpsc, oneshot};

use super::{Internal, now};
use crate::config::DataDirectory;
use crate::intake::{BrandFiles, BrandImport, IntakeRules, Stage, import_brand};
use crate::programme::{purchase, would_earn};
use crate::purchases::{
    Adjustment, BasketChange, DropReason, Facts, Format, ImportError, Issue, Mapping, SinkError,
    Source,
};
use crate::service::{
    AdjustedRows, BatchFormat, BatchKind, Bilingual, DroppedRows, ErrorKind, ImportBatch,
    ImportSource, ImportView, Reply, ServiceError,
};
use crate::vault::Vault;

/// Mapping of the shipped sample.
const SAMPLE: &str = "complete-journey";

/// Purchases handed to the programme at a time: a turn waits for no more.
const PURCHASES: usize = 2048;

/// The rules that say what purchases earn.
const EARNING: [&str; 6] = [
    "earning/channel/",
    "earning/category/",
    "earning/birthday",
    "earning/minimum",
    "earning/most",
    "earning/refund",
];

/// Hands purchases to the programme: returns what they earned when that is in the journal.
fn buy(
    commands: &mpsc::Sender<Internal>,
    zone: Zone,
    changes: &[BasketChange],
) -> Result<(u64, u64), SinkError> {
    let (mut movements, mut points) = (0_u64, 0_u64);
    for some in changes.chunks(PURCHASES) {
        let purchases = some.iter().filter_map(|change| purchase(zone, change)).collect();
        let (reply, answer) = oneshot::channel();
        commands.blocking_send(Internal::Purchases { purchases, reply })?;
        let (more, earned) = answer.blocking_recv()??;
        movements = movements.saturating_add(more);
        points = points.saturating_add(earned);
    }
    Ok((movements, points))
}

/// What imports work on.
pub struct Imports {
    pub data: DataDirectory,
    pub brands: Vec<BrandId>,
    pub vault: Arc<Vault>,
    pub facts: Arc<Facts>,
    pub commands: mpsc::Sender<Internal>,
    pub view: Arc<Mutex<ImportView>>,
    /// The rules of the programme, which is told of purchases.
    pub programme: Rules,
}

impl Imports {
    /// Starts an import, unless one is under way.
    pub fn begin(self, source: ImportSource, dry_run: bool) -> Result<(), ServiceError> {
        let (files, mapping) = match source {
            ImportSource::Sample => {
                let brand = self.vault.brand();
                let sample = alliance_config::sample::brand(brand.as_str()).ok_or_else(|| {
                    ServiceError::new(
                        ErrorKind::NotFound,
                        "no_sample",
                        format!("the sample has no part for brand {brand}"),
                        "import a folder of your own, with a mapping",
                    )
                })?;
                (BrandFiles::of_sample(sample), self.mapping(SAMPLE)?)
            }
            ImportSource::Folder { path, mapping } => {
                let mapping = self.mapping(&mapping)?;
                let files = BrandFiles::of_folder(Path::new(&path), &mapping).map_err(|error| {
                    invalid(
                        "import_file_missing",
                        error,
                        "give a folder on the node's machine that has one of them",
                    )
                })?;
                (files, mapping)
            }
        };
        let rules = IntakeRules::new(mapping, self.brands.clone(), now());
        self.take_turn(&rules, dry_run)?;
        tokio::task::spawn_blocking(move || self.run(&files, &rules, dry_run));
        Ok(())
    }

    /// Imports rows that were sent; the answer says what became of them.
    pub fn batch(self, key: &str, batch: ImportBatch, reply: Reply<ImportView>) {
        // whoever asked may be gone
        let (files, rules) = match self.batch_files(&batch) {
            Ok(prepared) => prepared,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let key = digest(&SHA256, key.as_bytes());
        tokio::task::spawn_blocking(move || {
            let claimed = batch.dry_run || {
                let request = request_digest(&batch, &rules.mapping.name);
                match self.facts.claim(key.as_ref(), &request) {
                    Ok(claimed) => claimed,
                    Err(error) => {
                        self.end_turn();
                        return drop(reply.send(Err(failed(&error))));
                    }
                }
            };
            if !claimed {
                self.end_turn();
                return drop(reply.send(Err(ServiceError::new(
                    ErrorKind::Conflict,
                    "idempotency_key_reused",
                    "other rows were sent under this Idempotency-Key before",
                    "send new rows under a new key",
                ))));
            }
            let view = self.run(&files, &rules, batch.dry_run);
            let remedy = "mend that, and send the rows again under the same key";
            let _ = reply.send(match view.failed {
                Some(problem) => Err(invalid("import_failed", problem, remedy)),
                None => Ok(view),
            });
        });
    }

    fn batch_files(&self, batch: &ImportBatch) -> Result<(BrandFiles, IntakeRules), ServiceError> {
        let mapping = self.mapping(&batch.mapping)?;
        let (format, name) = match batch.format {
            BatchFormat::JsonLines => (Format::JsonLines, "batch.jsonl"),
            BatchFormat::Csv => (Format::Csv, "batch.csv"),
        };
        let source = Source::Sent { name: name.to_owned(), format, bytes: batch.bytes.clone() };
        let files = match batch.kind {
            BatchKind::Members => BrandFiles { members: Some(source), purchases: None },
            BatchKind::Purchases => BrandFiles { members: None, purchases: Some(source) },
        };
        let rules = IntakeRules::new(mapping, self.brands.clone(), now());
        self.take_turn(&rules, batch.dry_run)?;
        Ok((files, rules))
    }

    /// Brings to its end what an earlier run of the node left half told.
    pub fn finish(self) {
        tokio::task::spawn_blocking(move || {
            let zone = self.programme.zone;
            let mut sink = |changes: &[BasketChange]| buy(&self.commands, zone, changes).map(drop);
            if let Err(error) = self.facts.finish(&self.vault, &mut sink) {
                tracing::error!(error = %error, "an import that was interrupted could not be finished");
                let mut view = self.lock();
                view.failed = Some(told(&error));
            }
        });
    }

    fn mapping(&self, named: &str) -> Result<Mapping, ServiceError> {
        let wrong = |error: crate::purchases::MappingError| {
            invalid(
                "mapping_invalid",
                error,
                "correct the mapping; docs/import.md describes the format",
            )
        };
        if named.contains('=') {
            return Mapping::from_toml(named).map_err(wrong);
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if named.is_empty() || named.len() > 64 || !named.bytes().all(is_name) {
            return Err(invalid(
                "mapping_name",
                "a mapping's name has 1 to 64 letters, digits, - and _",
                "give the name of a shipped mapping, or of one in the node's folder mappings",
            ));
        }
        let path = self.data.mappings().join(format!("{named}.toml"));
        if let Ok(text) = std::fs::read_to_string(&path) {
            return Mapping::from_toml(&text).map_err(wrong);
        }
        Mapping::shipped(named).ok_or_else(|| {
            ServiceError::new(
                ErrorKind::NotFound,
                "mapping_unknown",
                format!("there is no mapping {named}"),
                format!(
                    "put it into the node's folder mappings as {named}.toml, or name a shipped one: {}",
                    alliance_config::sample::MAPPINGS.join(", ")
                ),
            )
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ImportView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_turn(&self, rules: &IntakeRules, dry_run: bool) -> Result<(), ServiceError> {
        let mut view = self.lock();
        if view.running {
            return Err(ServiceError::new(
                ErrorKind::Conflict,
                "import_running",
                "an import is under way",
                "wait for it to end, then start the next",
            ));
        }
        *view = ImportView {
            running: true,
            dry_run,
            mapping: rules.mapping.name.clone(),
            stated_rules: stated_rules(&rules.mapping, &self.programme),
            ..ImportView::default()
        };
        Ok(())
    }

    fn end_turn(&self) {
        self.lock().running = false;
    }

    /// Imports, and leaves what it did in the view.
    fn run(&self, files: &BrandFiles, rules: &IntakeRules, dry_run: bool) -> ImportView {
        let mut progress = |stage, progress: crate::purchases::Progress| {
            let mut view = self.lock();
            view.permille = progress.permille;
            if stage == Stage::Purchases {
                view.rows_read = progress.rows_done;
                view.rows_total = progress.rows.unwrap_or(0);
            }
        };
        let done = if dry_run {
            self.aside(files, rules, &mut progress)
        } else {
            let zone = self.programme.zone;
            let mut sink = |changes: &[BasketChange]| buy(&self.commands, zone, changes);
            import_brand(&self.vault, &self.facts, files, rules, &mut sink, &mut progress)
        };
        if !dry_run {
            let (members, purchases) =
                (self.vault.count().unwrap_or(0), self.facts.rows().unwrap_or(0));
            // the node may be stopping; then nobody looks at the figures
            let _ = self.commands.blocking_send(Internal::Counted { members, purchases });
        }
        let mut view = self.lock();
        view.running = false;
        match done {
            Ok(done) => finish(&mut view, &done),
            Err(error) => view.failed = Some(told(&error)),
        }
        view.clone()
    }

    /// The same in a store and a folder of its own, which go when it is done.
    fn aside(
        &self,
        files: &BrandFiles,
        rules: &IntakeRules,
        progress: &mut dyn FnMut(Stage, crate::purchases::Progress),
    ) -> Result<BrandImport, ImportError> {
        let folder = tempfile::Builder::new()
            .prefix("dry-run-")
            .tempdir_in(self.data.path())
            .map_err(crate::purchases::FactsError::from)?;
        let (vault, facts) = self.facts.aside(&self.vault, folder.path())?;
        let mut sink = |changes: &[BasketChange]| Ok(would_earn(&self.programme, changes));
        import_brand(&vault, &facts, files, rules, &mut sink, progress)
    }
}

/// What makes two requests under one idempotency key the same.
fn request_digest(batch: &ImportBatch, mapping: &str) -> Vec<u8> {
    let mut context = ring::digest::Context::new(&SHA256);
    context.update(format!("{:?} {:?} {mapping} ", batch.kind, batch.format).as_bytes());
    context.update(&batch.bytes);
    context.finish().as_ref().to_vec()
}

fn invalid(
    code: &'static str,
    problem: impl std::fmt::Display,
    remedy: &'static str,
) -> ServiceError {
    ServiceError::new(ErrorKind::Invalid, code, problem.to_string(), remedy)
}

fn failed(error: &ImportError) -> ServiceError {
    ServiceError::new(
        ErrorKind::Internal,
        "import_failed",
        told(error),
        "look at the node's log and mend that, then repeat the request",
    )
}

fn told(error: &ImportError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn finish(view: &mut ImportView, done: &BrandImport) {
    view.done = true;
    view.permille = 1000;
    view.points_earned = done.points;
    if let Some(members) = &done.members {
        view.members = members.enrolled + members.known;
        view.members_enrolled = members.enrolled;
        view.consenting = members
            .consenting
            .iter()
            .map(|(purpose, members)| (purpose.name().to_owned(), *members))
            .collect();
        rows(view, &members.file, &members.dropped, &members.adjusted, &members.issues);
    }
    if let Some(purchases) = &done.purchases {
        view.rows_read = purchases.rows_read;
        view.rows_kept = purchases.rows_kept;
        view.guest_rows = purchases.guest_rows;
        view.refund_rows = purchases.refund_rows;
        view.amount_fen = purchases.amount_fen;
        view.baskets = purchases.baskets;
        view.already_imported = purchases.already_imported;
        view.resumed_after = purchases.resumed_after;
        view.gave_up.clone_from(&purchases.gave_up);
        rows(view, &purchases.file, &purchases.dropped, &purchases.adjusted, &purchases.issues);
    }
}

fn rows(
    view: &mut ImportView,
    file: &str,
    dropped: &BTreeMap<DropReason, u64>,
    adjusted: &BTreeMap<Adjustment, u64>,
    issues: &[Issue],
) {
    view.dropped.extend(dropped.iter().map(|(reason, rows)| DroppedRows {
        file: file.to_owned(),
        code: reason.code().to_owned(),
        reason: reason.to_string(),
        rows: *rows,
        remedy: reason.remedy().to_owned(),
    }));
    view.adjusted.extend(adjusted.iter().map(|(what, rows)| AdjustedRows {
        file: file.to_owned(),
        code: what.code().to_owned(),
        what: what.to_string(),
        rows: *rows,
    }));
    view.rejected.extend(issues.iter().map(|issue| format!("{file}, {issue}")));
}

/// What a mapping assumes and what baskets earn, in plain words.
fn stated_rules(mapping: &Mapping, programme: &Rules) -> Vec<Bilingual> {
    let bilingual = |zh: &str, en: &str| Bilingual { zh: zh.to_owned(), en: en.to_owned() };
    let assumed = mapping.rules.iter().map(|(zh, en)| bilingual(zh, en));
    let is_earning =
        |key: &str| key == "earning" || EARNING.iter().any(|about| key.starts_with(about));
    let earning = statements(programme).into_iter().filter(|it| is_earning(&it.key));
    assumed.chain(earning.map(|it| bilingual(&it.words.zh, &it.words.en))).collect()
}
