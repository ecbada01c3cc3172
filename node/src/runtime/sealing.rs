//! The brand's sealing keys at work: a new one every month, old ones destroyed when their time is over;
//! what a brand discloses to an auditor; receipts that open their entry.
//!
//! A key is on disk before the ledger states it. Whether an old one may go is the ledger's to say:
//! while a log has not recognised a later key, something may still come sealed to it.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use protocol::crypto::sealed::{BlockSecret, SealingKey};
use protocol::disclosure::{DISCLOSED_BLOCKS_MAX, disclose};
use protocol::ids::Height;
use protocol::log::block::{Header, PublicEntry};
use protocol::receipt;
use protocol::time::{Milliseconds, Timestamp};

use super::core::{Core, Turn, internal, submit_error};
use super::{Runtime, now};
use crate::exchange::record::Submission;
use crate::keys::KeysError;
use crate::sealing_keys::SealingKeys;
use crate::service::*;

/// How often it is looked whether a month or a key's time is over.
const LOOK_EVERY: Milliseconds = Milliseconds::from_seconds(60);
/// Snapshots after which no file of the journal is of before the first of them.
const SNAPSHOTS_TO_FORGET: u32 = 2;
/// Most blocks disclosed at once.
const DISCLOSED_MAX: u64 = 10_000;

/// The keys, and what the alliance agreed on for them.
pub(super) struct SealingCare {
    pub(super) keys: SealingKeys,
    /// The zone whose months count.
    pub(super) zone: TimeZone,
    /// Whole months that a replaced key is kept.
    pub(super) months: u16,
    pub(super) looked: Timestamp,
}

impl Runtime {
    /// Turns the key when its month is over, destroys what has expired; looks every minute.
    pub(super) fn care_for_sealing_keys(&mut self) {
        let now = now();
        if now.distance(self.sealing.looked) < LOOK_EVERY {
            return;
        }
        self.sealing.looked = now;
        let cared = tokio::task::block_in_place(|| {
            if self.sealing.keys.is_due(now, &self.sealing.zone) {
                self.turn_sealing_key()?;
            }
            self.destroy_expired_sealing_keys()
        });
        if let Err(error) = cared {
            self.core.alert(format!(
                "the sealing keys cannot be turned or destroyed when they are due: {error} / \
                 封装密钥到期未能轮换或销毁：{error}"
            ));
        }
    }

    /// Makes a new key, which the next own block states.
    pub(super) fn turn_sealing_key(&mut self) -> Result<SealingKeyView, KeysError> {
        let secret = self.sealing.keys.turn(now())?;
        let key = self.core.ledger.turn_sealing_key(secret)?;
        tracing::info!("a new sealing key is stated from the next block on");
        Ok(self
            .sealing_key_views()
            .into_iter()
            .find(|view| view.key == key.to_string())
            .unwrap_or_default())
    }

    /// Destroys the keys whose time is over and that nothing can come sealed to any more; gives them.
    pub(super) fn destroy_expired_sealing_keys(&mut self) -> Result<Vec<String>, KeysError> {
        let care = &self.sealing;
        let expired = care.keys.expired(now(), &care.zone, care.months);
        let mut destroyed = Vec::new();
        for key in expired {
            if self.core.ledger.forget_sealing_key(&key) && self.sealing.keys.destroy(&key)? {
                tracing::info!("an expired sealing key is destroyed");
                // what it had opened, and what the own log sealed in its time, is to leave the disk
                self.snapshots.wanted = self.snapshots.wanted.max(SNAPSHOTS_TO_FORGET);
                destroyed.push(key.to_string());
            }
        }
        Ok(destroyed)
    }

    /// All keys, oldest first.
    pub(super) fn sealing_key_views(&self) -> Vec<SealingKeyView> {
        let current = self.sealing.keys.current();
        let view = |key: SealingKey, made: Timestamp, replaced: Option<Timestamp>| SealingKeyView {
            key: key.to_string(),
            made_ms: made.unix_ms(),
            replaced_ms: replaced.map(Timestamp::unix_ms),
            current: key == current,
            in_use: self.core.ledger.is_sealing_key_in_use(&key),
        };
        self.sealing.keys.states().map(|key| view(key.public, key.made, key.replaced)).collect()
    }
}

/// A failure with a key's file.
pub(super) fn keys_error(error: &KeysError) -> ServiceError {
    tracing::error!(error = %error, "the sealing keys cannot be changed");
    internal()
}

impl Core {
    /// Lets an auditor open own blocks, by entries of the own log.
    ///
    /// # Errors
    /// When there is no such auditor or there are no such blocks, or one cannot be opened any more.
    pub fn disclose(
        &mut self,
        request: &DisclosureRequest,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<DisclosureView, ServiceError> {
        let DisclosureRequest { auditor, from, to } = request;
        let known = self.ledger.constitution().auditor(auditor).cloned().ok_or_else(|| {
            ServiceError::new(
                ErrorKind::Invalid,
                "auditor_unknown",
                "this is no auditor of the constitution",
                "give the name of one that the constitution has",
            )
        })?;
        let last = self.ledger.witness(self.me()).map_or(0, |own| own.tip().height.get());
        if *from == 0 || to < from || *to > last || to - from >= DISCLOSED_MAX {
            return Err(ServiceError::new(
                ErrorKind::Invalid,
                "blocks_out_of_range",
                format!("blocks {from} to {to} are not 1 to {DISCLOSED_MAX} blocks of this log"),
                format!("the log has the blocks 1 to {last}"),
            ));
        }
        let mut entries = Vec::new();
        let mut first = *from;
        while first <= *to {
            let end = (*to).min(first + DISCLOSED_BLOCKS_MAX as u64 - 1);
            let headers = (first..=end).map(|height| self.published.header(Height::new(height)));
            let headers: Vec<Header> = headers.collect::<Option<_>>().ok_or_else(internal)?;
            let before = Height::new(first - 1);
            let contents = self.published.contents(before).unwrap_or_default().into_iter();
            let columns = self.published.header(before).map(|header| header.columns);
            let columns = columns.unwrap_or_default().into_iter();
            let before: BTreeMap<_, _> =
                columns.map(|column| column.counterparty).zip(contents).collect();
            let made = disclose(&known, now, self.ledger.sealing_keys(), &before, &headers);
            let entry = made.map_err(|error| {
                ServiceError::new(
                    ErrorKind::Refused,
                    "not_disclosed",
                    error.to_string(),
                    "nothing was disclosed; choose later blocks",
                )
            })?;
            entries.push(PublicEntry::Disclosure(entry));
            first = end + 1;
        }
        let count = entries.len() as u64;
        for entry in entries {
            self.submit(Submission::Public(entry), turn).map_err(submit_error)?;
        }
        Ok(DisclosureView { auditor: auditor.clone(), from: *from, to: *to, entries: count })
    }

    /// The receipt of a final exchange with what opens its entry, and no other.
    ///
    /// # Errors
    /// When the exchange is not final, or its block cannot be opened any more.
    pub fn opened_receipt(&self, id: &str) -> Result<String, ServiceError> {
        let plain = self.tlog_proof(id)?;
        let booked = self.exchange_by_id(id)?;
        let (index, to) = (plain.index(), booked.requested.to);
        let header = booked.height().and_then(|height| self.published.header(height));
        let header = header.ok_or_else(internal)?;
        let context = header.context();
        let own = header.secrets.get(1).ok_or_else(internal)?;
        let secret = context.unwrap(self.me().as_str(), self.ledger.sealing_keys(), own);
        let secret = secret.map_err(|error| {
            ServiceError::new(
                ErrorKind::Refused,
                "not_opened",
                format!("the entry cannot be opened any more: {error}"),
                "the plain receipt still proves that the entry is in the log",
            )
        })?;
        let secret = BlockSecret::from_bytes(secret.try_into().map_err(|_| internal())?);
        let leaf = self.published.reader(header.size()).leaf(index).map_err(|_| internal())?;
        let opened = receipt::open(plain, &header, &context.column_key(&secret, to), leaf.entry());
        opened.map(|receipt| receipt.to_string()).map_err(|_| internal())
    }
}
