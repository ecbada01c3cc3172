//! What is asked of a backup, and how far it is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a backup goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    /// A folder on the node's machine that is not there yet.
    pub folder: String,
}

/// How far the last backup has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupView {
    /// Whether one is being made.
    pub running: bool,
    /// Whether the last one is complete, and was read back.
    pub done: bool,
    /// Why the last one was not completed, if so.
    pub failed: Option<String>,
    /// The folder.
    pub folder: String,
    /// Pairs of the store in it.
    pub pairs: u64,
    /// Digest of the store's contents, hex.
    pub store_digest: String,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the last one was made, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_ms: Option<u64>,
    /// The last one that was complete, whatever became of those after it and since when the node runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<WholeBackupView>,
}

/// A backup that is complete and was read back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WholeBackupView {
    /// The folder it was made in.
    pub folder: String,
    /// When, Unix milliseconds.
    pub made_ms: u64,
}
