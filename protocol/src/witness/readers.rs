//! Who a block is sealed to, and under which of their keys.
//!
//! Everyone can say it, from the block, the certificates it carries and the epoch: a brand's sealing
//! key is stated in its own headers, and counts for a writer from the block in which that writer
//! recognises such a header. The constitution's key is only a brand's first. An auditor's keys are all
//! in the constitution, each from its day on. A witness refuses, and the audit finds, a block that is
//! sealed to another key; whoever holds the block secret checks besides that the right thing was
//! wrapped.

use super::guards::Guards;
use super::rules::{Tip, Violation};
use crate::constitution::{Access, Constitution};
use crate::crypto::sealed::{Sealing, SealingKey};
use crate::ids::BrandId;
use crate::log::block::Header;
use crate::time::{Milliseconds, Timestamp};

/// Recipient name of the recovery key.
pub const RECOVERY: &str = "recovery";
/// How long a log may name one sealing key: the longest month, and a few days for a node that was away
/// when it ended.
pub const SEALING_KEY_AGE_MAX: Milliseconds = Milliseconds::from_seconds(35 * 24 * 3_600);

/// Who the block secret is wrapped to, in the order of the header: the writer's recovery key, its
/// sealing key, the standing auditors. None when the log is no brand's.
#[must_use]
pub fn secret_readers<'a>(
    constitution: &'a Constitution,
    log: &'a BrandId,
    sealing: SealingKey,
    time: Timestamp,
) -> Option<Vec<(&'a str, SealingKey)>> {
    let brand = constitution.brand(*log)?;
    let mut readers = vec![(RECOVERY, brand.keys.recovery), (log.as_str(), sealing)];
    let standing = constitution.auditors().iter();
    let standing = standing.filter(|auditor| auditor.access == Access::Standing);
    readers.extend(standing.map(|auditor| (auditor.name.as_str(), auditor.key_at(time))));
    Some(readers)
}

/// The key of a counterparty for the block after `tip`. `recognised` is the key stated by the header
/// that this block recognises anew, if it does.
#[must_use]
pub fn column_key(
    constitution: &Constitution,
    tip: &Tip,
    counterparty: BrandId,
    recognised: Option<SealingKey>,
) -> Option<SealingKey> {
    let used = tip.columns.iter().find(|column| column.counterparty == counterparty);
    let first = constitution.brand(counterparty).map(|brand| brand.keys.sealing);
    recognised.or_else(|| used.map(|column| column.opening.key())).or(first)
}

/// How the block after `tip` says it is sealed, when its writer has this key now.
#[must_use]
pub fn sealing_after(
    constitution: &Constitution,
    tip: &Tip,
    key: SealingKey,
    time: Timestamp,
) -> Sealing {
    let kept = tip.sealing.filter(|before| before.key == key);
    Sealing { cipher: constitution.cipher(), key, since: kept.map_or(time, |kept| kept.since) }
}

/// What is known of the key that a block of another log states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stated {
    /// The key.
    Key(SealingKey),
    /// That block was not brought: which key it is cannot be said.
    NotBrought,
}

/// Cipher, own key and every reader's key. `recognised` gives the key stated by the block of another
/// log that is recognised anew.
pub(super) fn check_sealing<G: Guards>(
    constitution: &Constitution,
    tip: &Tip,
    header: &Header,
    recognised: impl Fn(BrandId) -> Option<Stated>,
) -> Result<(), Violation> {
    let sealing = header.sealing;
    if sealing.cipher != constitution.cipher() {
        G::found(Violation::Cipher { found: sealing.cipher.name() })?;
    }
    // the cipher has its own rule
    if sealing.since != sealing_after(constitution, tip, sealing.key, header.time).since
        || header.time.distance(sealing.since) > SEALING_KEY_AGE_MAX
    {
        G::found(Violation::SealingKey)?;
    }
    let readers = secret_readers(constitution, &header.log, sealing.key, header.time)
        .ok_or(Violation::Columns)?;
    for ((name, key), wrapped) in readers.iter().zip(&header.secrets) {
        if wrapped.key() != *key {
            G::found(Violation::ReaderKey { reader: (*name).to_owned() })?;
        }
    }
    for column in &header.columns {
        let counterparty = column.counterparty;
        let stated = match recognised(counterparty) {
            Some(Stated::NotBrought) => continue,
            Some(Stated::Key(key)) => Some(key),
            None => None,
        };
        let key = column_key(constitution, tip, counterparty, stated);
        if key != Some(column.opening.key()) {
            G::found(Violation::ReaderKey { reader: counterparty.to_string() })?;
        }
    }
    Ok(())
}
