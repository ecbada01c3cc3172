//! Fragments of others' blocks that this node holds as a witness, carried over from segments of the journal
//! that a snapshot has made superfluous.
//!
//! One file a segment, `fragments/<segment>.cbor`: a CBOR sequence of `[block, header leaf, fragment]`. What is in
//! them is sealed by the blocks' writers and public to every witness. Nothing reads them yet but who
//! rebuilds a lost log; blocks that were voted for and never became final are among them.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use minicbor::{Decode, Encode};
use protocol::codec;
use protocol::log::block::BlockReference;
use protocol::log::fragments::Fragment;
use protocol::witness::message::Delivery;
use protocol::witness::record::Record as LedgerRecord;

use super::sealed_journal::{RecordCipher, Recorded, SealedRecordError};
use crate::journal::{JournalError, Records};

/// One fragment with what it is of.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct CarriedFragment {
    /// The block.
    #[n(0)]
    pub block: BlockReference,
    /// Its header leaf, which commits to the fragment.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub header: Vec<u8>,
    /// The fragment.
    #[n(2)]
    pub fragment: Fragment,
}

/// Why fragments could not be carried over: nothing is deleted then.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// The segment.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A record of it.
    #[error(transparent)]
    Record(#[from] SealedRecordError),
    /// The file.
    #[error("cannot write {}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The folder.
#[derive(Clone, Debug)]
pub struct Carried(PathBuf);

impl Carried {
    /// In this folder, which need not exist.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Writes the fragments of a segment; they are on the disk when this returns.
    ///
    /// # Errors
    /// See [`CarryError`].
    pub fn keep(
        &self,
        cipher: &RecordCipher,
        segment: u64,
        records: &mut Records<'_>,
    ) -> Result<(), CarryError> {
        let path = self.0.join(format!("{segment:020}.cbor"));
        let unfinished = path.with_extension("unfinished");
        let wrong = |source| CarryError::Io { path: path.clone(), source };
        fs::create_dir_all(&self.0).map_err(wrong)?;
        let mut file = File::create(&unfinished).map_err(wrong)?;
        for record in records {
            if let Some(carried) = fragment(cipher.open(record?)?) {
                file.write_all(&codec::encode(&carried)).map_err(wrong)?;
            }
        }
        file.sync_all().map_err(wrong)?;
        fs::rename(&unfinished, &path).map_err(wrong)?;
        File::open(&self.0).and_then(|folder| folder.sync_all()).map_err(wrong)
    }
}

fn fragment(record: Recorded) -> Option<CarriedFragment> {
    let Recorded::Ledger(record) = record else { return None };
    let of = |block, delivery: &Delivery| CarriedFragment {
        block,
        header: delivery.header.clone(),
        fragment: delivery.fragment.clone(),
    };
    match &*record {
        LedgerRecord::Voted(voted) => {
            voted.delivery.as_deref().map(|delivery| of(voted.pledge.block, delivery))
        }
        LedgerRecord::CaughtUp(block) => Some(of(block.certificate.pledge.block, &block.delivery)),
        _ => None,
    }
}
