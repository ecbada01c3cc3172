//! An import on a thread of its own: the node goes on meanwhile, and so do tills. An import of files gives turns to the
//! batches that wait for one, between its chunks.

mod turns;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ::programme::Rules;
use ::programme::plain::statements;
use protocol::ids::BrandId;
use ring::digest::{Digest, SHA256, digest};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use self::turns::Giving;
pub use self::turns::Turns;
use super::{Internal, now};
use crate::config::DataDirectory;
use crate::desk::{Deed, Desk, NODE, Note};
use crate::intake::{BrandFiles, BrandImport, IntakeRules, Stage, import_brand};
use crate::programme::{Earned, purchase, would_earn};
use crate::purchases::{
    Adjustment, BasketChange, DropReason, Facts, Format, ImportError, Issue, Mapping, Sightings,
    SinkError, Source, Turn,
};
use crate::service::{
    AdjustedRows, BatchFormat, BatchKind, Bilingual, DroppedRows, ErrorKind, ImportBatch,
    ImportSource, ImportView, Reply, ServiceError,
};
use crate::vault::{MemberId, Purpose, Vault, VaultError};

/// Mapping of the shipped sample.
const SAMPLE: &str = "complete-journey";

/// Purchases handed to the programme at a time: a turn waits for no more.
const PURCHASES: usize = 2048;

/// The rules that say what purchases earn.
const EARNING: [&str; 7] = [
    "earning/channel/",
    "earning/category/",
    "earning/department/",
    "earning/birthday",
    "earning/minimum",
    "earning/most",
    "earning/refund",
];

/// Hands purchases to the programme: returns what they earned when that is in the journal.
fn buy(
    commands: &mpsc::Sender<Internal>,
    rules: &Rules,
    changes: &[BasketChange],
) -> Result<Earned, SinkError> {
    let mut sum = Earned::default();
    for some in changes.chunks(PURCHASES) {
        let purchases = some.iter().filter_map(|change| purchase(rules, change)).collect();
        let (reply, answer) = oneshot::channel();
        commands.blocking_send(Internal::Purchases { purchases, reply })?;
        sum = sum.and(answer.blocking_recv()??);
    }
    Ok(sum)
}

/// Rows that were sent, and what is needed to import them.
struct Sent {
    imports: Imports,
    key: Digest,
    batch: ImportBatch,
    files: BrandFiles,
    rules: IntakeRules,
}

/// What imports work on.
pub struct Imports {
    pub data: DataDirectory,
    pub brands: Vec<BrandId>,
    pub vault: Arc<Vault>,
    /// Held by the node alone, which waits for it when it stops.
    pub desk: Weak<Desk>,
    pub facts: Arc<Facts>,
    pub commands: mpsc::Sender<Internal>,
    /// The latest import of files; batches have views of their own.
    pub view: Arc<Mutex<ImportView>>,
    pub turns: Arc<Turns>,
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
                    let zh = error.zh();
                    invalid(
                        "import_file_missing",
                        error,
                        "give a folder on the node's machine that has one of them",
                    )
                    .in_chinese(zh, "给出本节点所在机器上含有其一的目录")
                })?;
                (files, mapping)
            }
        };
        let rules = IntakeRules::new(mapping, self.brands.clone(), now());
        self.show(&rules, dry_run)?;
        tokio::spawn(async move {
            // nobody waits for a dry run
            let turn = if dry_run { None } else { self.unless_ended(self.turns.of_files()).await };
            if dry_run || turn.is_some() {
                tokio::task::spawn_blocking(move || match turn {
                    Some(turn) => {
                        let giving = Giving::new(Arc::clone(&self.turns), turn);
                        self.run(&self.view, &files, &rules, dry_run, Turn::Giving(&giving));
                    }
                    None => drop(self.run(&self.view, &files, &rules, dry_run, Turn::Long)),
                });
            }
        });
        Ok(())
    }

    /// Imports rows that were sent; the answer says what became of them. Rows from which an import of files keeps
    /// others off wait for its end, no longer than for a turn; of them not so many at a time as of all others.
    pub fn batch(self, key: &str, batch: ImportBatch, reply: Reply<ImportView>) {
        // whoever asked may be gone
        let (files, rules) = match self.batch_files(&batch) {
            Ok(prepared) => prepared,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let key = digest(&SHA256, key.as_bytes());
        let sent = Arc::new(Sent { imports: self, key, batch, files, rules });
        tokio::spawn(async move {
            let until = Instant::now() + sent.imports.turns.wait();
            // of one that was kept off: its place among those that come again
            let mut again = None;
            loop {
                let Sent { imports, batch, .. } = &*sent;
                let left = until.saturating_duration_since(Instant::now());
                let turn = imports.turns.of_batch(batch.bytes.len(), batch.dry_run, left);
                let turn = imports.unless_ended(async { Some(turn.await) }).await;
                // of a node that ends nobody hears
                let Some(turn) = turn else { return };
                let Some(turn) = turn else {
                    let refused = if again.is_some() { held_back() } else { running() };
                    return drop(reply.send(Err(refused)));
                };
                let at_work = Arc::clone(&sent);
                let tried = tokio::task::spawn_blocking(move || {
                    let Sent { imports, key, batch, files, rules } = &*at_work;
                    let answer = imports.take(key.as_ref(), batch, files, rules);
                    // files that are not at work were interrupted: they go on at nobody's turn
                    let may_come_again = imports.turns.are_files_at_work();
                    drop(turn);
                    answer.or_else(|| (!may_come_again).then(|| Err(held_back())))
                });
                let Ok(tried) = tried.await else { return };
                if let Some(answer) = tried {
                    return drop(reply.send(answer));
                }
                // again, behind the files' next chunk: while there is time, and not too many do
                again = again.or_else(|| imports.turns.of_kept_off(batch.bytes.len()));
                if again.is_none() || until <= Instant::now() {
                    return drop(reply.send(Err(held_back())));
                }
            }
        });
    }

    /// What becomes of rows whose turn it is; none where an import of files that is not done keeps others off them.
    fn take(
        &self,
        key: &[u8],
        batch: &ImportBatch,
        files: &BrandFiles,
        rules: &IntakeRules,
    ) -> Option<Result<ImportView, ServiceError>> {
        if !batch.dry_run {
            let request = request_digest(batch, &rules.mapping.name);
            match self.facts.claim(key, &request) {
                Err(error) => return Some(Err(failed(&error))),
                Ok(true) => {}
                Ok(false) => {
                    return Some(Err(ServiceError::new(
                        ErrorKind::Conflict,
                        "idempotency_key_reused",
                        "other rows were sent under this Idempotency-Key before",
                        "send new rows under a new key",
                    )));
                }
            }
        }
        let view = Mutex::new(self.fresh(rules, batch.dry_run));
        let view = self.run(&view, files, rules, batch.dry_run, Turn::Small)?;
        let remedy = "mend that, and send the rows again under the same key";
        Some(match view.failed {
            Some(problem) => Err(invalid("import_failed", problem, remedy)
                .in_chinese(view.failed_zh.unwrap_or_default(), "处理后以同一编号重新发送这些行")),
            None => Ok(view),
        })
    }

    /// What is waited for, unless the node ends before it comes.
    async fn unless_ended<T>(&self, waited: impl Future<Output = Option<T>>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.commands.closed() => None,
            found = waited => found,
        }
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
        Ok((files, IntakeRules::new(mapping, self.brands.clone(), now())))
    }

    /// Brings to its end what an earlier run of the node left half told. Its turn is the first.
    pub fn finish(self) {
        let turn = self.turns.first();
        tokio::task::spawn_blocking(move || {
            let Self { commands, programme, .. } = &self;
            let mut sink = |changes: &[BasketChange]| buy(commands, programme, changes).map(drop);
            let giving = turn.map(|turn| Giving::new(Arc::clone(&self.turns), turn));
            let turn = giving.as_ref().map_or(Turn::Long, |giving| Turn::Giving(giving));
            if let Err(error) = self.facts.finish(&self.vault, turn, &mut sink) {
                tracing::error!(error = %error, "an import that was interrupted could not be finished");
                stopped(&mut self.lock(), &error);
            }
        });
    }

    fn mapping(&self, named: &str) -> Result<Mapping, ServiceError> {
        let wrong = |error: crate::purchases::MappingError| {
            let zh = error.zh();
            invalid(
                "mapping_invalid",
                error,
                "correct the mapping; docs/import.md describes the format",
            )
            .in_chinese(zh, "更正映射；格式见 docs/import.md")
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

    /// Shows an import of files as the latest, unless another is under way.
    fn show(&self, rules: &IntakeRules, dry_run: bool) -> Result<(), ServiceError> {
        let mut view = self.lock();
        if view.running {
            return Err(running());
        }
        *view = self.fresh(rules, dry_run);
        Ok(())
    }

    /// The view of an import that begins.
    fn fresh(&self, rules: &IntakeRules, dry_run: bool) -> ImportView {
        ImportView {
            running: true,
            dry_run,
            mapping: rules.mapping.name.clone(),
            stated_rules: stated_rules(&rules.mapping, &self.programme),
            ..ImportView::default()
        }
    }

    /// Imports, and leaves what it did in the view; none where an import of files that is not done keeps others off
    /// these rows.
    fn run(
        &self,
        view: &Mutex<ImportView>,
        files: &BrandFiles,
        rules: &IntakeRules,
        dry_run: bool,
        turn: Turn<'_>,
    ) -> Option<ImportView> {
        let shown = || view.lock().unwrap_or_else(PoisonError::into_inner);
        let mut progress = |stage, progress: crate::purchases::Progress| {
            let mut view = shown();
            view.permille = progress.permille;
            if stage == Stage::Purchases {
                view.rows_read = progress.rows_done;
                view.rows_total = progress.rows.unwrap_or(0);
            }
        };
        let done = if dry_run {
            self.aside(files, rules, turn, &mut progress)
        } else {
            let mut sink = |changes: &[BasketChange]| buy(&self.commands, &self.programme, changes);
            import_brand(&self.vault, &self.facts, files, rules, turn, &mut sink, &mut progress)
        };
        if let Err(ImportError::Held { said }) = &done {
            // whom the vault has merged stays so, whether or not the rows are sent again
            if !dry_run {
                let mut told = shown().clone();
                sightings(&mut told, *said);
                self.note(&told);
            }
            return None;
        }
        if !dry_run {
            let (members, purchases) =
                (self.vault.count().unwrap_or(0), self.facts.rows().unwrap_or(0));
            // the node may be stopping; then nobody looks at the figures
            let _ = self.commands.blocking_send(Internal::Counted { members, purchases });
        }
        let view = {
            let mut view = shown();
            view.running = false;
            match done {
                Ok(done) => finish(&mut view, &done),
                Err(error) => stopped(&mut view, &error),
            }
            view.clone()
        };
        if !dry_run {
            self.note(&view);
        }
        Some(view)
    }

    /// Enters in the operation log what a file changed of members who were known: of each, the decisions stand in the
    /// own history with their source and time, and the merges on the member's record.
    fn note(&self, view: &ImportView) {
        let Some(desk) = self.desk.upgrade() else { return };
        let sum = |by: &BTreeMap<String, u64>| by.values().sum::<u64>();
        let (given, withdrawn) = (sum(&view.consents_given), sum(&view.consents_withdrawn));
        let told = [
            (Deed::Correct, "by a file: attributes", view.members_updated),
            (Deed::Correct, "by a file: new cards", view.members_new_cards),
            (Deed::Consent, "by a file: given", given),
            (Deed::Consent, "by a file: withdrawn", withdrawn),
            (Deed::Merge, "by a file: merged by the rules", view.members_merged),
        ];
        for (deed, what, members) in told.into_iter().filter(|(_, _, members)| *members > 0) {
            let members = u32::try_from(members).unwrap_or(u32::MAX);
            let what = format!("{what} ({})", view.mapping);
            let note = Note::new(NODE, deed, what).about_many(members);
            if let Err(error) = desk.note(note, now()) {
                tracing::error!(error = %error, "what a file changed of members could not be entered");
            }
        }
    }

    /// The same in a store and a folder of its own, which go when it is done.
    fn aside(
        &self,
        files: &BrandFiles,
        rules: &IntakeRules,
        turn: Turn<'_>,
        progress: &mut dyn FnMut(Stage, crate::purchases::Progress),
    ) -> Result<BrandImport, ImportError> {
        let folder = tempfile::Builder::new()
            .prefix("dry-run-")
            .tempdir_in(self.data.path())
            .map_err(crate::purchases::FactsError::from)?;
        let (vault, facts) = self.facts.aside(&self.vault, folder.path())?;
        let agreed = |member: MemberId| match vault.consents(member) {
            Ok(consents) => Ok(consents.allows(Purpose::Programme)),
            // whom this very import has merged: the one who stays has decided
            Err(VaultError::UnknownMember) => match vault.merged_into(member)? {
                Some((into, _)) => Ok(vault.consents(into)?.allows(Purpose::Programme)),
                None => Ok(false),
            },
            Err(error) => Err(error),
        };
        let mut sink = |changes: &[BasketChange]| {
            would_earn(&self.programme, changes, agreed).map_err(SinkError::from)
        };
        import_brand(&vault, &facts, files, rules, turn, &mut sink, progress)
    }
}

fn running() -> ServiceError {
    ServiceError::new(
        ErrorKind::Conflict,
        "import_running",
        "an import is under way",
        "wait for it to end, then start the next",
    )
}

fn held_back() -> ServiceError {
    ServiceError::new(
        ErrorKind::Conflict,
        "import_running",
        "an import of files that is not done has read purchases of these baskets",
        "send the same again under the same key when it is done; one that was interrupted goes on with the same \
         command, and another import of files gives it up",
    )
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
    .in_chinese(error.zh(), "查看节点日志，处理后重复此请求")
}

fn told(error: &ImportError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// An import came to an end before its own.
fn stopped(view: &mut ImportView, error: &ImportError) {
    view.failed = Some(told(error));
    view.failed_zh = Some(error.zh());
}

fn finish(view: &mut ImportView, done: &BrandImport) {
    view.done = true;
    view.permille = 1000;
    view.points_earned = done.earned.points;
    view.baskets_without_consent = done.earned.without_consent;
    if let Some(members) = &done.members {
        view.members = members.enrolled + members.known;
        view.members_enrolled = members.enrolled;
        view.consenting = by_name(&members.consenting);
        view.members_updated = members.updated;
        view.members_new_cards = members.new_cards;
        view.consents_given = by_name(&members.consents_given);
        view.consents_withdrawn = by_name(&members.consents_withdrawn);
        sightings(view, members.sightings);
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
        sightings(view, purchases.sightings.unwrap_or_default());
        rows(view, &purchases.file, &purchases.dropped, &purchases.adjusted, &purchases.issues);
    }
}

fn by_name(purposes: &BTreeMap<Purpose, u64>) -> BTreeMap<String, u64> {
    purposes.iter().map(|(purpose, members)| (purpose.name().to_owned(), *members)).collect()
}

fn sightings(view: &mut ImportView, said: Sightings) {
    view.members_sighted += said.new;
    view.members_merged += said.merged;
    view.pairs_to_review += said.to_review;
    view.identifiers_refused += said.refused;
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
        reason_zh: reason.zh().to_owned(),
        rows: *rows,
        remedy: reason.remedy().to_owned(),
        remedy_zh: reason.remedy_zh().to_owned(),
    }));
    view.adjusted.extend(adjusted.iter().map(|(what, rows)| AdjustedRows {
        file: file.to_owned(),
        code: what.code().to_owned(),
        what: what.to_string(),
        what_zh: what.zh().to_owned(),
        rows: *rows,
    }));
    view.rejected.extend(issues.iter().map(|issue| format!("{file}, {issue}")));
    view.rejected_zh.extend(issues.iter().map(|issue| format!("{file}，{}", issue.zh())));
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

#[cfg(test)]
mod tests;
