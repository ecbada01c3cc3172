//! A backup on a thread of its own: the node goes on meanwhile. What is known of the last one outlives the node, so
//! that one that is too old is told of.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::ids::BrandId;
use protocol::time::{Milliseconds, Timestamp};

use super::now;
use crate::backup::{self, BackupError};
use crate::config::DataDirectory;
use crate::metrics::Metrics;
use crate::service::{BackupRequest, BackupView, ErrorKind, ServiceError, WholeBackupView};
use crate::store::RecordingStore;

/// Seconds of a day.
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// What the directory says of the last backup; nothing when it says nothing that can be read.
pub fn kept(data: &DataDirectory) -> BackupView {
    let path = data.last_backup();
    let Ok(bytes) = std::fs::read(&path) else { return BackupView::default() };
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        tracing::warn!(error = %error, "what is known of the last backup cannot be read");
        BackupView::default()
    })
}

/// That the last whole backup is too old; nothing where nobody asks, or where none was ever made through this node.
pub fn alert(view: &BackupView, days: u32, at: Timestamp) -> Option<String> {
    let whole = view.whole.as_ref().filter(|_| days > 0)?;
    let age = at.since(Timestamp::from_unix_ms(whole.made_ms));
    let most = Milliseconds::from_seconds(DAY_SECONDS.saturating_mul(days.into()));
    let age_days = age.get() / Milliseconds::from_seconds(DAY_SECONDS).get();
    (age > most).then(|| {
        format!(
            "the last whole backup is {age_days} days old: make one / 最近一次完整备份已有 {age_days} 天：请备份"
        )
    })
}

/// Sets the figures of backups: when the last whole one was made, where there was one, and whether it is too old.
pub fn measure(view: &BackupView, days: u32, at: Timestamp, metrics: &Metrics) {
    if let Some(whole) = &view.whole {
        metrics.set("backup_made_timestamp_seconds", "", "", whole.made_ms / 1_000);
    }
    let is_overdue = alert(view, days, at).is_some();
    metrics.set("backup_overdue", "", "", u64::from(is_overdue));
}

/// A backup that nothing stands against.
pub struct Job {
    data: DataDirectory,
    brand: BrandId,
    store: Arc<RecordingStore>,
    folder: PathBuf,
    view: Arc<Mutex<BackupView>>,
}

/// Prepares a backup, unless one is being made; from now on it is.
pub fn prepare(
    data: DataDirectory,
    brand: BrandId,
    store: Arc<RecordingStore>,
    request: BackupRequest,
    view: Arc<Mutex<BackupView>>,
) -> Result<Job, ServiceError> {
    let folder = Path::new(&request.folder).to_owned();
    if !folder.is_absolute() || folder.exists() {
        return Err(ServiceError::new(
            ErrorKind::Invalid,
            "backup_folder",
            "the folder is there already, or its path does not begin at the root",
            "give the whole path of a folder that is not there yet, on the node's machine",
        ));
    }
    {
        let mut view = view.lock().unwrap_or_else(PoisonError::into_inner);
        if view.running {
            return Err(ServiceError::new(
                ErrorKind::Conflict,
                "backup_running",
                "a backup is being made",
                "wait for it to end, then start the next",
            ));
        }
        let whole = view.whole.take();
        let folder = request.folder;
        *view = BackupView { running: true, folder, whole, ..BackupView::default() };
    }
    Ok(Job { data, brand, store, folder, view })
}

impl Job {
    /// Makes it, on a thread of its own.
    pub fn start(self) {
        let Self { data, brand, store, folder, view } = self;
        tokio::task::spawn_blocking(move || {
            let made = backup::create(&data, brand, &store, &folder, now().unix_ms());
            // what nobody has read back is no backup yet
            let made = made.and_then(|_| backup::verify(&folder));
            // nobody else changes it while one is being made
            let mut ended = view.lock().unwrap_or_else(PoisonError::into_inner).clone();
            ended.running = false;
            match made {
                Ok(manifest) => {
                    ended.done = true;
                    ended.pairs = manifest.pairs;
                    ended.store_digest = manifest.store_digest;
                    ended.files = u64::try_from(manifest.files.len()).unwrap_or(u64::MAX);
                    ended.bytes = manifest.files.iter().map(|file| file.bytes).sum();
                    ended.made_ms = Some(manifest.made_ms);
                    let folder = ended.folder.clone();
                    ended.whole = Some(WholeBackupView { folder, made_ms: manifest.made_ms });
                    keep(&data, &ended);
                }
                Err(error) => {
                    tracing::error!(error = %error, "a backup was not completed");
                    ended.failed = Some(told(&error));
                }
            }
            *view.lock().unwrap_or_else(PoisonError::into_inner) = ended;
        });
    }
}

/// Why a backup was not completed, in both languages.
fn told(error: &BackupError) -> String {
    let chinese = match error {
        BackupError::File { path, source, .. } => {
            format!("无法读写 {}（{source}）", path.display())
        }
        BackupError::Taken { path } => format!("{} 已存在：请另选新目录", path.display()),
        BackupError::UnderWay => "正在备份：请等其结束".to_owned(),
        BackupError::Damaged { path } => format!("写成的 {path} 已损坏或缺失：请重新备份"),
        other => format!("未能完成（{other}）"),
    };
    format!("{error} / {chinese}")
}

/// Lets the directory say it. The backup is there all the same when that fails.
fn keep(data: &DataDirectory, view: &BackupView) {
    let kept = serde_json::to_vec_pretty(view).map_err(|error| error.to_string());
    let kept = kept.and_then(|bytes| {
        data.write(&data.last_backup(), &bytes).map_err(|error| error.to_string())
    });
    if let Err(error) = kept {
        tracing::error!(error = %error, "what is known of the last backup could not be kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    async fn made(data: &DataDirectory, folder: &Path, view: &Arc<Mutex<BackupView>>) {
        let store = Arc::new(RecordingStore::new(Arc::new(MemoryStore::new())));
        let brand = BrandId::new("a").unwrap();
        let request = BackupRequest { folder: folder.display().to_string() };
        prepare(data.clone(), brand, store, request, Arc::clone(view)).unwrap().start();
        while view.lock().unwrap().running {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn the_last_whole_backup_outlives_the_node_and_those_that_failed() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDirectory::new(folder.path().join("data"));
        std::fs::create_dir(data.path()).unwrap();
        assert_eq!(kept(&data), BackupView::default());
        let view = Arc::new(Mutex::new(kept(&data)));
        let one = folder.path().join("one");
        made(&data, &one, &view).await;
        let now = view.lock().unwrap().clone();
        assert!(now.done && now.made_ms.is_some(), "{:?}", now.failed);
        assert_eq!(now.whole.as_ref().unwrap().folder, one.display().to_string());
        assert_eq!(kept(&data), now, "after a restart it is known");
        // a folder that cannot be made: the one before is known still
        let view = Arc::new(Mutex::new(kept(&data)));
        std::fs::write(folder.path().join("file"), b"").unwrap();
        made(&data, &folder.path().join("file/two"), &view).await;
        let failed = view.lock().unwrap().clone();
        let why = failed.failed.unwrap();
        assert!(
            !failed.done && why.starts_with("cannot create ") && why.contains(" / 无法读写 "),
            "{why}"
        );
        assert_eq!(failed.whole, now.whole);
        assert_eq!(kept(&data).whole, now.whole);
        // what cannot be read is as if it were not there
        std::fs::write(data.last_backup(), b"{").unwrap();
        assert_eq!(kept(&data), BackupView::default());
    }

    #[test]
    fn a_backup_that_is_too_old_is_told_of() {
        let whole = WholeBackupView { folder: "/b".to_owned(), made_ms: 1_000 };
        let view = BackupView { whole: Some(whole), ..BackupView::default() };
        let at = |days: u64| Timestamp::from_unix_ms(1_000 + days * DAY_SECONDS * 1_000);
        assert_eq!(alert(&view, 7, at(7)), None);
        let told = alert(&view, 7, Timestamp::from_unix_ms(at(8).unix_ms() - 1)).unwrap();
        assert!(told.contains("7 days old") && told.contains("已有 7 天"), "{told}");
        assert_eq!(alert(&view, 0, at(100)), None, "nobody asks");
        assert_eq!(alert(&BackupView::default(), 7, at(100)), None, "none was made here");
        // and a clock that was put back tells nothing
        assert_eq!(alert(&view, 7, Timestamp::default()), None);

        // the collector is told the same, and when it was made only where one was
        let metrics = Metrics::default();
        measure(&BackupView::default(), 7, at(100), &metrics);
        assert!(metrics.render().contains("coalition_backup_overdue 0\n"));
        assert!(!metrics.render().contains("backup_made"));
        measure(&view, 7, at(8), &metrics);
        let told = metrics.render();
        assert!(told.contains("coalition_backup_overdue 1\n"), "{told}");
        assert!(told.contains("coalition_backup_made_timestamp_seconds 1\n"), "{told}");
    }
}
