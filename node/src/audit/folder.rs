//! A published log in a directory, with the archive of what is published no more.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use protocol::audit::{
    ARCHIVED_FILE, CERTIFICATES_FILE, CHECKPOINT_FILE, LogFolder, parse_archived,
};
use protocol::log::tiles::{TilePath, TileSource};

/// A published log in a directory.
#[derive(Debug, Clone)]
pub struct Directory(pub PathBuf);

impl TileSource for Directory {
    fn read(&self, path: &TilePath) -> Option<Vec<u8>> {
        fs::read(self.0.join(path.to_string())).ok()
    }
}

impl LogFolder for Directory {
    fn checkpoint(&self) -> Option<Vec<u8>> {
        fs::read(self.0.join(CHECKPOINT_FILE)).ok()
    }
    fn certificates(&self, offset: u64, most: usize) -> Option<Vec<u8>> {
        let mut file = fs::File::open(self.0.join(CERTIFICATES_FILE)).ok()?;
        file.seek(SeekFrom::Start(offset)).ok()?;
        let mut bytes = Vec::new();
        file.take(most as u64).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
    fn files(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let kind = entry.file_type();
                if kind.is_ok_and(|it| it.is_dir() || it.is_symlink() && path.is_dir()) {
                    folders.push(path);
                } else if let Some(name) = path.strip_prefix(&self.0).ok().and_then(Path::to_str) {
                    names.push(name.to_owned());
                }
            }
        }
        names.sort();
        names
    }
}

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
        let marker = fs::read(self.log.0.join(ARCHIVED_FILE)).ok();
        marker.and_then(|marker| parse_archived(&marker)).unwrap_or(0)
    }
}
