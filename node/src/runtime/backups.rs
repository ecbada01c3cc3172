//! A backup on a thread of its own: the node goes on meanwhile.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::ids::BrandId;

use super::now;
use crate::backup;
use crate::config::DataDirectory;
use crate::service::{BackupRequest, BackupView, ErrorKind, ServiceError};
use crate::store::RecordingStore;

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
        *view = BackupView { running: true, folder: request.folder, ..BackupView::default() };
    }
    Ok(Job { data, brand, store, folder, view })
}

impl Job {
    /// Makes it, on a thread of its own.
    pub fn start(self) {
        let Self { data, brand, store, folder, view } = self;
        tokio::task::spawn_blocking(move || {
            let made = backup::create(&data, brand, &store, &folder, now().unix_ms());
            let mut view = view.lock().unwrap_or_else(PoisonError::into_inner);
            view.running = false;
            match made {
                Ok(manifest) => {
                    view.done = true;
                    view.pairs = manifest.pairs;
                    view.store_digest = manifest.store_digest;
                    view.files = u64::try_from(manifest.files.len()).unwrap_or(u64::MAX);
                    view.bytes = manifest.files.iter().map(|file| file.bytes).sum();
                }
                Err(error) => {
                    tracing::error!(error = %error, "a backup was not completed");
                    view.failed = Some(error.to_string());
                }
            }
        });
    }
}
