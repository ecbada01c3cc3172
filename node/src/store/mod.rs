//! A small transactional key-value store: what can be looked up, changed and rebuilt.
//!
//! Knows: keyspaces, keys in byte order, transactions that are atomic over keyspaces and on the disk
//! when they return. Does not know what a value means, and holds no promise made to another brand:
//! those are in the [`journal`](crate::journal) and in the brand's own log.
//!
//! Every call blocks (tens of microseconds for a read, a disk's sync for a transaction): async code
//! calls it from `spawn_blocking` or a thread of its own.
//!
//! Guarantees, which the conformance suite in this folder checks for each backend
//! - A transaction's writes are visible together or not at all, also after a crash.
//! - When it returns, it is on the disk. A read may see another's transaction a moment earlier;
//!   whoever tells the outside of what was read calls [`Store::flush`] first. (A later transaction is
//!   never on the disk without the earlier ones.)
//! - [`Write::Require`] makes a transaction conditional: checked against the state before it, under
//!   the same lock.
//!
//! Not here: snapshots of several reads, secondary indices, values over 64 KiB.

pub mod copy;
mod memory;
mod overlay;
mod postgres_store;
mod recording;
mod sled_store;

use std::error::Error;
use std::ops::Bound;
use std::sync::Arc;

pub use memory::MemoryStore;
pub use overlay::Overlay;
pub use postgres_store::{InvalidAddress, PostgresAddress, PostgresStore};
pub use recording::{Recorded, RecordingStore};
pub use sled_store::SledStore;

/// A named part of the store, with keys of its own: 1 to 64 bytes, named in the source.
pub type Keyspace = &'static str;
/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Most bytes of a keyspace's name.
pub const KEYSPACE_MAX: usize = 64;
/// Most bytes of a key.
pub const KEY_MAX: usize = 1024;
/// Most bytes of a value.
pub const VALUE_MAX: usize = 64 * 1024;
/// Most bytes of all keys and values of one transaction.
pub const TRANSACTION_MAX: usize = 32 * 1024 * 1024;

/// One part of a transaction. Of several writes to one key the last holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a value.
    Put {
        /// Where.
        keyspace: Keyspace,
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
    /// Removes a key, if it is there.
    Delete {
        /// Where.
        keyspace: Keyspace,
        /// The key.
        key: Vec<u8>,
    },
    /// Nothing of the transaction happens unless the key has this value (none: is absent).
    Require {
        /// Where.
        keyspace: Keyspace,
        /// The key.
        key: Vec<u8>,
        /// What it must hold.
        value: Option<Vec<u8>>,
    },
}

impl Write {
    /// Sets a value.
    pub fn put(keyspace: Keyspace, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self::Put { keyspace, key: key.into(), value: value.into() }
    }
    /// Removes a key, if it is there.
    pub fn delete(keyspace: Keyspace, key: impl Into<Vec<u8>>) -> Self {
        Self::Delete { keyspace, key: key.into() }
    }
    /// Requires that a key is absent.
    pub fn require_absent(keyspace: Keyspace, key: impl Into<Vec<u8>>) -> Self {
        Self::Require { keyspace, key: key.into(), value: None }
    }
    /// Requires that a key has this value.
    pub fn require(keyspace: Keyspace, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self::Require { keyspace, key: key.into(), value: Some(value.into()) }
    }

    /// Bytes of its key and value.
    fn bytes(&self) -> usize {
        let (_, key, value) = self.parts();
        key.len() + value.len()
    }

    fn parts(&self) -> (Keyspace, &[u8], &[u8]) {
        match self {
            Self::Put { keyspace, key, value } => (keyspace, key, value),
            Self::Delete { keyspace, key } => (keyspace, key, &[]),
            Self::Require { keyspace, key, value } => {
                (keyspace, key, value.as_deref().unwrap_or_default())
            }
        }
    }
}

impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // keys and values may concern a member
        let what = match self {
            Self::Put { .. } => "Put",
            Self::Delete { .. } => "Delete",
            Self::Require { .. } => "Require",
        };
        let (keyspace, key, value) = self.parts();
        write!(f, "{what} {{ {keyspace}, {} and {} bytes }}", key.len(), value.len())
    }
}

/// Why the store did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process has the store open.
    #[error("{place} is in use: stop the other node, or give this one a store of its own")]
    InUse {
        /// The store's directory or database.
        place: String,
    },
    /// The backend or the operating system refused.
    #[error(
        "the store cannot {action}: check the disk, its free space and the rights on its directory, \
         or the database's server"
    )]
    Backend {
        /// What was tried.
        action: &'static str,
        /// The reason it gave.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// Its files are there and the backend does not read them.
    #[error(
        "the store in {place} does not open ({reason}): check the disk and the rights on the directory; if both are in \
         order the store is damaged, and a backup has to be restored"
    )]
    NotOpened {
        /// Its directory.
        place: String,
        /// What the backend says: of its files, not of what is in them.
        reason: String,
    },
    /// Written in another format version.
    #[error(
        "the store in {place} has a format this node does not read: use the version that wrote it"
    )]
    OtherVersion {
        /// The store's directory or database.
        place: String,
    },
    /// A requirement of the transaction does not hold; nothing was written.
    #[error(
        "a value of {keyspace} is not what the transaction requires: read it again and decide anew"
    )]
    Conflict {
        /// Where.
        keyspace: Keyspace,
    },
    /// More bytes than one such thing may have; nothing was written.
    #[error("{found} bytes in one {what}, 1 to {most} are possible")]
    WrongLength {
        /// Keyspace, key, value or transaction.
        what: &'static str,
        /// How many there were.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// An earlier write could not be brought to the disk.
    #[error("the store was closed by an earlier write error{}: restart the node once that is mended", .earlier.as_deref().map(|error| format!(" ({error})")).unwrap_or_default())]
    Poisoned {
        /// Why that one could not, where it is known.
        earlier: Option<Box<StoreError>>,
    },
}

/// A transactional key-value store.
pub trait Store: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// When the backend fails.
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The values of many keys, in their order.
    ///
    /// # Errors
    /// When the backend fails.
    fn get_many(
        &self,
        keyspace: Keyspace,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        keys.iter().map(|key| self.get(keyspace, key)).collect()
    }

    /// The keyspaces that have a key, in no order that counts.
    ///
    /// # Errors
    /// When the backend fails.
    fn keyspaces(&self) -> Result<Vec<String>, StoreError>;

    /// The first `limit` pairs of a range, in byte order of the keys. An inverted range is empty.
    ///
    /// # Errors
    /// When the backend fails.
    fn scan(
        &self,
        keyspace: Keyspace,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError>;

    /// Does all of it or nothing; it is on the disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] and [`StoreError::WrongLength`] leave the store as it was; any other
    /// leaves it unknown whether the writes will be there after a restart, and nothing is written
    /// any more.
    fn transaction(&self, writes: &[Write]) -> Result<(), StoreError>;

    /// Brings all that a read has shown to the disk.
    ///
    /// # Errors
    /// When the backend fails.
    fn flush(&self) -> Result<(), StoreError>;

    /// The first `limit` pairs whose keys begin with `prefix` and come after `after`, if given:
    /// the last key of one page is the `after` of the next.
    ///
    /// # Errors
    /// When the backend fails.
    fn scan_prefix(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let end = after_prefix(prefix);
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.scan(keyspace, from, to, limit)
    }
}

/// The least key greater than every key with that prefix, if there is one.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// The least key greater than this one.
fn next_key(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

fn check_lengths(writes: &[Write]) -> Result<(), StoreError> {
    let check = |what, found, least, most| {
        let fits = (least..=most).contains(&found);
        if fits { Ok(()) } else { Err(StoreError::WrongLength { what, found, most }) }
    };
    let mut total = 0;
    for write in writes {
        let (keyspace, key, value) = write.parts();
        check("keyspace", keyspace.len(), 1, KEYSPACE_MAX)?;
        check("key", key.len(), 1, KEY_MAX)?;
        check("value", value.len(), 0, VALUE_MAX)?;
        total += key.len() + value.len();
    }
    check("transaction", total, 0, TRANSACTION_MAX)
}

#[cfg(test)]
mod conformance;
#[cfg(test)]
pub(crate) mod watched;
