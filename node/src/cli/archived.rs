//! A published log in a directory, with the archive of what is published no more.

use std::path::PathBuf;

use protocol::audit::{ARCHIVED_FILE, LogFolder, parse_archived};
use protocol::log::tiles::{TilePath, TileSource};

use super::audit::Directory;

/// A log's folder; what is not there is read from the archive, if one is given.
#[derive(Debug, Clone)]
pub struct ArchivedLog {
    log: Directory,
    archive: Option<Directory>,
}

impl ArchivedLog {
    /// The folder of a log, and where its archive is.
    #[must_use]
    pub fn new(log: PathBuf, archive: Option<PathBuf>) -> Self {
        Self { log: Directory(log), archive: archive.map(Directory) }
    }
}

impl TileSource for ArchivedLog {
    fn read(&self, path: &TilePath) -> Option<Vec<u8>> {
        self.log.read(path).or_else(|| self.archive.as_ref()?.read(path))
    }
}

impl LogFolder for ArchivedLog {
    fn checkpoint(&self) -> Option<Vec<u8>> {
        self.log.checkpoint()
    }
    fn certificates(&self, offset: u64, most: usize) -> Option<Vec<u8>> {
        self.log.certificates(offset, most)
    }
    fn files(&self) -> Vec<String> {
        self.log.files()
    }
    fn archived(&self) -> u64 {
        let marker = std::fs::read(self.log.0.join(ARCHIVED_FILE)).ok();
        marker.and_then(|marker| parse_archived(&marker)).unwrap_or(0)
    }
}
