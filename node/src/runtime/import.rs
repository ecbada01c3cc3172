//! An import on a thread of its own: the node goes on meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::ids::BrandId;
use tokio::sync::{mpsc, oneshot};

use super::{Internal, now};
use crate::exchange::record::EarnedPoints;
use crate::intake::{BrandFiles, BrandImport, IntakeRules, Stage, import_brand};
use crate::programme::Earned;
use crate::purchases::{DropReason, Facts, Issue, SinkError, Source};
use crate::service::{Bilingual, DroppedRows, ErrorKind, ImportSource, ImportView, ServiceError};
use crate::vault::Vault;

/// Starts an import, unless one is under way.
pub fn begin(
    (brand, receivers): (BrandId, &[BrandId]),
    source: ImportSource,
    vault: Arc<Vault>,
    facts: Arc<Facts>,
    commands: mpsc::Sender<Internal>,
    view: Arc<Mutex<ImportView>>,
) -> Result<(), ServiceError> {
    let files = files(brand, source)?;
    let rules = IntakeRules::of_sample(now(), receivers).map_err(|error| {
        ServiceError::new(
            ErrorKind::Invalid,
            "earning_rule",
            error.to_string(),
            "correct the earning rule and import again",
        )
    })?;
    {
        let mut view = view.lock().unwrap_or_else(PoisonError::into_inner);
        if view.running {
            return Err(ServiceError::new(
                ErrorKind::Conflict,
                "import_running",
                "an import is under way",
                "wait for it to end, then start the next",
            ));
        }
        *view = ImportView { running: true, stated_rules: stated_rules(), ..ImportView::default() };
    }
    tokio::task::spawn_blocking(move || {
        let mut enter = |earned: &[Earned]| enter(&commands, earned);
        let mut progress = |stage, progress: crate::purchases::Progress| {
            let mut view = view.lock().unwrap_or_else(PoisonError::into_inner);
            if stage == Stage::Purchases {
                view.rows_read = progress.rows_done;
                view.rows_total = progress.rows;
            }
        };
        let done = import_brand(&vault, &facts, &files, &rules, &mut enter, &mut progress);
        let (members, purchases) = (vault.count().unwrap_or(0), facts.rows().unwrap_or(0));
        // the node may be stopping; then nobody looks at the figures
        let _ = commands.blocking_send(Internal::Counted { members, purchases });
        let mut view = view.lock().unwrap_or_else(PoisonError::into_inner);
        view.running = false;
        match done {
            Ok(done) => finish(&mut view, &done),
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                view.failed = Some(match source {
                    Some(source) => format!("{error}: {source}"),
                    None => error.to_string(),
                });
            }
        }
    });
    Ok(())
}

fn files(brand: BrandId, source: ImportSource) -> Result<BrandFiles, ServiceError> {
    match source {
        ImportSource::Sample => alliance_config::sample::brand(brand.as_str())
            .map(BrandFiles::of_sample)
            .ok_or_else(|| {
                ServiceError::new(
                    ErrorKind::NotFound,
                    "no_sample",
                    format!("the sample has no part for brand {brand}"),
                    "import a folder with members.parquet and purchases.parquet",
                )
            }),
        ImportSource::Folder { path } => {
            let folder = std::path::Path::new(&path);
            let file = |name| {
                let path = folder.join(name);
                if path.is_file() {
                    return Ok(Source::File(path));
                }
                Err(ServiceError::new(
                    ErrorKind::Invalid,
                    "import_file_missing",
                    format!("there is no {name} in the folder"),
                    "give the path, on the node's machine, of a folder with members.parquet and purchases.parquet",
                ))
            };
            Ok(BrandFiles {
                members: file("members.parquet")?,
                purchases: file("purchases.parquet")?,
            })
        }
    }
}

/// Enters earned points durably: returns when the runtime has them in the journal.
fn enter(commands: &mpsc::Sender<Internal>, earned: &[Earned]) -> Result<(), SinkError> {
    let earned = earned
        .iter()
        .map(|earned| EarnedPoints {
            key: earned.key(),
            member: earned.member,
            points: earned.points,
        })
        .collect();
    let (reply, answer) = oneshot::channel();
    commands.blocking_send(Internal::Earn { earned, reply })?;
    answer.blocking_recv()?.map_err(Into::into)
}

fn finish(view: &mut ImportView, done: &BrandImport) {
    view.done = true;
    view.members = done.members.enrolled + done.members.known;
    view.rows_read = done.purchases.rows_read;
    view.rows_kept = done.purchases.rows_kept;
    view.already_imported = done.purchases.already_imported;
    view.points_earned = done.points;
    let (members, purchases) = (&done.members, &done.purchases);
    view.dropped = dropped("members: ", &members.dropped, &members.issues)
        .chain(dropped("", &purchases.dropped, &purchases.issues))
        .collect();
}

fn dropped(
    file: &'static str,
    rows: &BTreeMap<DropReason, u64>,
    issues: &[Issue],
) -> impl Iterator<Item = DroppedRows> {
    rows.iter().map(move |(reason, rows)| {
        let first = issues.iter().find(|issue| issue.reason == *reason);
        DroppedRows {
            reason: format!("{file}{reason}"),
            rows: *rows,
            first: first.map(ToString::to_string).unwrap_or_default(),
        }
    })
}

fn stated_rules() -> Vec<Bilingual> {
    [
        (
            "文件中的会员一律视为已同意积分计划、积分兑换和联合统计（为样本设定的说明性规则，并非真实授权）。",
            "All members of the file are taken to consent to the programme, to exchange and to joint statistics (a rule stated for the sample, not a real consent).",
        ),
        ("金额按人民币元读取，逐分保存。", "Amounts are read as yuan and kept to the fen."),
        (
            "每笔购物按消费满 1 元得 1 积分，整单向下取整，每单最高 10000 分。",
            "Each basket earns one point a yuan, rounded down once for the whole basket, 10,000 at most.",
        ),
    ]
    .into_iter()
    .map(|(zh, en)| Bilingual { zh: zh.to_owned(), en: en.to_owned() })
    .collect()
}
