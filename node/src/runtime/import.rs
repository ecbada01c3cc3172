//! An import on a thread of its own: the node goes on meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use ::programme::Rules;
use ::programme::plain::statements;
use protocol::ids::BrandId;
use ring::digest::{SHA256, digest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{Internal, now};
use crate::config::DataDirectory;
use crate::desk::{Deed, Desk, NODE, Note};
use crate::intake::{BrandFiles, BrandImport, IntakeRules, Stage, import_brand};
use crate::programme::{Earned, purchase, would_earn};
use crate::purchases::{
    Adjustment, BasketChange, DropReason, Facts, Format, ImportError, Issue, Mapping, Sightings,
    SinkError, Source,
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

/// How long a batch waits for those before it: a till asks again then, under the same key.
const WAIT: Duration = Duration::from_secs(20);
/// KiB of rows that wait and are worked on together, at most: beyond that a batch is refused at once.
const WAITING_KIB: usize = 64 * 1024;
/// What the smallest of them counts, in KiB: so many wait at most.
const LEAST_KIB: u32 = 256;
/// Dry runs of batches at a time: each has a folder of its own.
const ASIDE: usize = 2;

/// Whose turn it is: one import at a time, in the order in which they came. Dry runs are aside, and take no turn.
pub struct Turns {
    one: Arc<Semaphore>,
    aside: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        let of = |permits| Arc::new(Semaphore::new(permits));
        Self { one: of(1), aside: of(ASIDE), waiting: of(WAITING_KIB) }
    }
}

impl Turns {
    /// The turn of a batch of so many bytes, given back when it is dropped; none when it does not come in time, or too
    /// many wait.
    async fn of_batch(
        &self,
        bytes: usize,
        dry_run: bool,
        most: Duration,
    ) -> Option<[OwnedSemaphorePermit; 2]> {
        let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).max(LEAST_KIB);
        let waiting = Arc::clone(&self.waiting).try_acquire_many_owned(kib).ok()?;
        let turns = Arc::clone(if dry_run { &self.aside } else { &self.one });
        let turn = tokio::time::timeout(most, turns.acquire_owned()).await.ok()?.ok()?;
        Some([waiting, turn])
    }

    /// The turn of an import of files, which waits for the batches that came before it.
    async fn of_files(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.one).acquire_owned().await.ok()
    }
}

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
        self.show(&rules, dry_run)?;
        tokio::spawn(async move {
            // nobody waits for a dry run
            let turn = if dry_run { None } else { self.unless_ended(self.turns.of_files()).await };
            if dry_run || turn.is_some() {
                tokio::task::spawn_blocking(move || {
                    self.run(&self.view, &files, &rules, dry_run);
                    drop(turn);
                });
            }
        });
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
        tokio::spawn(async move {
            let turn = self.turns.of_batch(batch.bytes.len(), batch.dry_run, WAIT);
            let turn = self.unless_ended(async { Some(turn.await) }).await;
            // of a node that ends nobody hears
            let Some(turn) = turn else { return };
            let Some(turn) = turn else { return drop(reply.send(Err(running()))) };
            tokio::task::spawn_blocking(move || {
                let _ = reply.send(self.take(key.as_ref(), &batch, &files, &rules));
                drop(turn);
            });
        });
    }

    /// What becomes of rows whose turn it is.
    fn take(
        &self,
        key: &[u8],
        batch: &ImportBatch,
        files: &BrandFiles,
        rules: &IntakeRules,
    ) -> Result<ImportView, ServiceError> {
        if !batch.dry_run {
            let request = request_digest(batch, &rules.mapping.name);
            if !self.facts.claim(key, &request).map_err(|error| failed(&error))? {
                return Err(ServiceError::new(
                    ErrorKind::Conflict,
                    "idempotency_key_reused",
                    "other rows were sent under this Idempotency-Key before",
                    "send new rows under a new key",
                ));
            }
        }
        let view = Mutex::new(self.fresh(rules, batch.dry_run));
        let view = self.run(&view, files, rules, batch.dry_run);
        let remedy = "mend that, and send the rows again under the same key";
        match view.failed {
            Some(problem) => Err(invalid("import_failed", problem, remedy)),
            None => Ok(view),
        }
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
        // an import of files takes long, and gives up what another leaves half done: nothing comes between its chunks
        if !batch.dry_run && is_at_work(&self.lock()) {
            return Err(running());
        }
        Ok((files, IntakeRules::new(mapping, self.brands.clone(), now())))
    }

    /// Brings to its end what an earlier run of the node left half told.
    pub fn finish(self) {
        tokio::task::spawn_blocking(move || {
            let Self { commands, programme, .. } = &self;
            let mut sink = |changes: &[BasketChange]| buy(commands, programme, changes).map(drop);
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

    /// Imports, and leaves what it did in the view.
    fn run(
        &self,
        view: &Mutex<ImportView>,
        files: &BrandFiles,
        rules: &IntakeRules,
        dry_run: bool,
    ) -> ImportView {
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
            self.aside(files, rules, &mut progress)
        } else {
            let mut sink = |changes: &[BasketChange]| buy(&self.commands, &self.programme, changes);
            import_brand(&self.vault, &self.facts, files, rules, &mut sink, &mut progress)
        };
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
                Err(error) => view.failed = Some(told(&error)),
            }
            view.clone()
        };
        if !dry_run {
            self.note(&view);
        }
        view
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
        import_brand(&vault, &facts, files, rules, &mut sink, progress)
    }
}

/// Whether an import of files writes what it reads.
const fn is_at_work(view: &ImportView) -> bool {
    view.running && !view.dry_run
}

fn running() -> ServiceError {
    ServiceError::new(
        ErrorKind::Conflict,
        "import_running",
        "an import is under way",
        "wait for it to end, then start the next",
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Two tills at once: the second waits, and only so long; what is tried out waits for neither.
    #[tokio::test]
    async fn batches_take_turns_and_dry_runs_take_none() {
        let turns = Turns::default();
        let (soon, patient) = (Duration::ZERO, Duration::from_secs(60));
        let first = turns.of_batch(10, false, soon).await.unwrap();
        assert!(turns.of_batch(10, false, soon).await.is_none());
        let aside = turns.of_batch(10, true, soon).await.unwrap();
        let (second, ()) = tokio::join!(turns.of_batch(10, false, patient), async {
            tokio::task::yield_now().await;
            drop(first);
        });
        assert!(turns.of_batch(10, false, soon).await.is_none());
        drop(second.unwrap());
        // files wait for what came before them, and batches that come then for the files
        let files = turns.of_files().await.unwrap();
        assert!(turns.of_batch(10, false, soon).await.is_none());
        drop((files, aside));
        assert!(turns.of_batch(10, false, soon).await.is_some());
    }

    #[tokio::test]
    async fn what_waits_has_its_bounds() {
        let turns = Turns::default();
        let mut taken = Vec::new();
        while let Ok(waits) = Arc::clone(&turns.waiting).try_acquire_many_owned(LEAST_KIB) {
            taken.push(waits);
        }
        assert_eq!(taken.len(), 256);
        assert!(turns.of_batch(10, false, Duration::from_secs(60)).await.is_none());
        taken.pop();
        assert!(turns.of_batch(10, false, Duration::from_secs(60)).await.is_some());
        // a batch of the largest size counts as what it is
        let large = turns.of_batch(8 << 20, true, Duration::from_secs(60)).await;
        assert!(large.is_none());
        taken.clear();
        let large = turns.of_batch(8 << 20, true, Duration::from_secs(60)).await.unwrap();
        assert_eq!(large[0].num_permits(), 8 << 10);
    }

    #[test]
    fn a_dry_run_of_files_keeps_no_till_waiting() {
        let view = ImportView { running: true, ..ImportView::default() };
        assert!(is_at_work(&view));
        assert!(!is_at_work(&ImportView { dry_run: true, ..view }));
        assert!(!is_at_work(&ImportView::default()));
    }
}
