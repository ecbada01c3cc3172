//! Sealed entries, for whoever holds a key that opens block secrets: an auditor's, or a recovery key.
//!
//! From the block secret everything else in the block follows and is made again: the keys of the
//! columns, which leaf is whose, what each counterparty was given, the padding, the exact totals. What
//! a counterparty checks before it votes is then checked by the same function.
//!
//! Does not do yet: disclosure of single blocks to an auditor, deleted payloads.

use std::collections::BTreeMap;

use super::across::Collected;
use super::blocks::Block;
use super::report::{Place, Reason, Recorder, Rule, count};
use super::{KeyHolder, OpeningKey};
use crate::amount::Value;
use crate::constitution::Constitution;
use crate::crypto::sealed::{
    BlockSecret, ColumnKey, SealError, SealedEntry, SealingContext, SealingKey, SealingSecret,
};
use crate::exchange::Payload;
use crate::ids::{BrandId, LeafHash, LeafIndex, TreeSize};
use crate::log::block::{
    BlockTree, Column, ColumnContent, ColumnOpening, Entry, Header, hash_of_leaves,
};
use crate::log::range::RangeProof;
use crate::witness::build::RECOVERY;
use crate::witness::guards::Upheld;
use crate::witness::message::{EntryBytes, LeafRun};
use crate::witness::rules::{Violation, check_column};

/// The key that opens one log's blocks, and the exact totals so far.
#[derive(Debug)]
pub(super) struct Opener<'a> {
    reader: Option<Reader<'a>>,
    /// None for a counterparty whose totals are no longer known.
    contents: BTreeMap<BrandId, Option<ColumnContent>>,
}

/// Who opens a log's block secrets.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    name: &'a str,
    /// Its place among the header's wrapped secrets.
    position: usize,
    secret: &'a SealingSecret,
}

impl<'a> Reader<'a> {
    /// The first of the keys that opens this log.
    pub(super) fn of(
        constitution: &Constitution,
        log: BrandId,
        keys: &'a [OpeningKey],
    ) -> Option<Self> {
        keys.iter().find_map(|key| {
            let (name, position) = match &key.holder {
                KeyHolder::Recovery(brand) if *brand == log => (RECOVERY, 0),
                KeyHolder::Recovery(_) => return None,
                KeyHolder::Auditor(name) => {
                    let auditors = constitution.auditors();
                    let place = auditors.iter().position(|auditor| auditor.name == *name)?;
                    (name.as_str(), place.saturating_add(2))
                }
            };
            Some(Reader { name, position, secret: &key.secret })
        })
    }

    /// The secret of a block.
    pub(super) fn secret(&self, header: &Header) -> Option<BlockSecret> {
        let wrapped = header.secrets.get(self.position)?;
        let bytes = header.context().unwrap(self.name, self.secret, wrapped).ok()?;
        Some(BlockSecret::from_bytes(bytes.try_into().ok()?))
    }
}

impl<'a> Opener<'a> {
    pub(super) fn new(constitution: &Constitution, log: BrandId, keys: &'a [OpeningKey]) -> Self {
        let reader = Reader::of(constitution, log, keys);
        let witnesses = constitution.committee().witnesses(log);
        let contents = witnesses.map(|brand| (brand, Some(ColumnContent::nothing()))).collect();
        Self { reader, contents }
    }

    /// A block could not be read: the totals that continue from it are not known.
    pub(super) fn lose_totals(&mut self) {
        self.contents.values_mut().for_each(|content| *content = None);
    }

    pub(super) fn open(
        &mut self,
        constitution: &Constitution,
        block: &Block,
        header: &Header,
        collected: &mut Collected,
        recorder: &mut Recorder,
    ) {
        let place = block.place();
        let public = usize::try_from(header.public_leaves).unwrap_or(usize::MAX);
        let sealed = block.body().len().saturating_sub(public);
        let Some(reader) = &self.reader else {
            let sealed = u64::try_from(sealed).unwrap_or(u64::MAX);
            return recorder.not_checked(block.log, Reason::SealedWithoutKey, sealed);
        };
        let Some(secret) = reader.secret(header) else {
            let message =
                format_args!("the block secret does not open with the key of {}", reader.name);
            recorder.find(place, Rule::SealedSecret, message);
            return self.lose_totals();
        };
        check_readers(constitution, header, &secret, place, recorder);
        let opened = Opened { constitution, block, header, context: header.context(), secret };
        let layout = opened.layout(public, recorder);
        if !layout.is_whole {
            self.lose_totals();
        }
        for (column, leaves) in header.columns.iter().zip(&layout.columns) {
            let payloads = opened.payloads(column, leaves, recorder);
            let before = self.contents.get(&column.counterparty).copied().flatten();
            let after = opened.check(column, leaves, &payloads, before, recorder);
            self.contents.insert(column.counterparty, after);
            count(&mut recorder.counts.payloads, payloads.read.len());
            for (index, payload) in payloads.read {
                collected.payload(place.at(index), column.counterparty, payload);
            }
        }
        if layout.is_whole {
            collected.opened();
        }
    }
}

/// Every reader must have been given this same secret.
fn check_readers(
    constitution: &Constitution,
    header: &Header,
    secret: &BlockSecret,
    place: Place,
    recorder: &mut Recorder,
) {
    let Some(brand) = constitution.brand(header.log) else { return };
    let own: [(&str, &SealingKey); 2] =
        [(RECOVERY, &brand.keys.recovery), (header.log.as_str(), &brand.keys.sealing)];
    let auditors = constitution.auditors().iter();
    let auditors = auditors.map(|auditor| (auditor.name.as_str(), &auditor.sealing));
    for ((name, key), wrapped) in own.into_iter().chain(auditors).zip(&header.secrets) {
        let again = header.context().wrap(name, key, secret.expose(), secret.expose());
        if again.as_ref() != Ok(wrapped) {
            let message = format_args!("what was wrapped to {name} is not the block's secret");
            recorder.find(place, Rule::SealedSecret, message);
        }
    }
}

/// One column's leaves, from the first, counted from the block's first leaf.
struct Leaves {
    first: usize,
    end: usize,
}

struct Layout {
    columns: Vec<Leaves>,
    /// Whether every leaf could be read.
    is_whole: bool,
}

struct Payloads {
    read: Vec<(LeafIndex, Payload)>,
    /// Whether all of them could be read.
    all: bool,
}

/// A block with its secret.
struct Opened<'a> {
    constitution: &'a Constitution,
    block: &'a Block,
    header: &'a Header,
    context: SealingContext,
    secret: BlockSecret,
}

impl Opened<'_> {
    /// Which leaf is whose: columns lie side by side in the order of the header, then comes padding.
    /// A leaf is a column's when it commits to the key that the column gives for its place.
    fn layout(&self, public: usize, recorder: &mut Recorder) -> Layout {
        let body = self.block.body();
        let mut next = public.min(body.len());
        let mut columns = Vec::with_capacity(self.header.columns.len());
        for column in &self.header.columns {
            let key = self.context.column_key(&self.secret, column.counterparty);
            let first = next;
            while self.sealed(next).is_some_and(|entry| self.is_of(&key, next, &entry)) {
                next = next.saturating_add(1);
            }
            columns.push(Leaves { first, end: next });
        }
        let is_whole = body.iter().all(Option::is_some);
        let size = self.constitution.payload_size();
        for position in next..body.len() {
            let index = self.block.index_of(position);
            let entry = body.get(position).and_then(Option::as_deref);
            let padding = Entry::Sealed(self.context.padding(&self.secret, index, size));
            if is_whole && entry != Some(&padding.to_bytes()) {
                let message = "a leaf that is in no column is not the block's padding";
                recorder.find(self.block.place().at(index), Rule::SealedPadding, message);
            }
        }
        Layout { columns, is_whole }
    }

    fn is_of(&self, key: &ColumnKey, position: usize, entry: &SealedEntry) -> bool {
        let key = self.context.entry_key(key, self.block.index_of(position));
        self.context.commits_to(&key, entry)
    }

    fn sealed(&self, position: usize) -> Option<SealedEntry> {
        let bytes = self.block.body().get(position)?.as_deref()?;
        match Entry::from_bytes(bytes) {
            Ok(Entry::Sealed(entry)) => Some(entry),
            _ => None,
        }
    }

    /// What a column's leaves say; one that says nothing valid is a finding.
    fn payloads(&self, column: &Column, leaves: &Leaves, recorder: &mut Recorder) -> Payloads {
        let counterparty = column.counterparty;
        let key = self.context.column_key(&self.secret, counterparty);
        let pair = (self.header.log, counterparty);
        let mut payloads = Payloads { read: Vec::new(), all: true };
        for position in leaves.first..leaves.end {
            let index = self.block.index_of(position);
            let place = self.block.place().at(index);
            let entry_key = self.context.entry_key(&key, index);
            let Some(sealed) = self.sealed(position) else { continue };
            let read = self
                .context
                .open(&entry_key, index, &sealed)
                .map_err(|error| Violation::Opening { counterparty, error })
                .and_then(|bytes| {
                    Payload::read(&bytes, self.constitution, pair)
                        .map_err(|error| Violation::Payload { counterparty, index, error })
                });
            match read {
                Ok(payload) => payloads.read.push((index, payload)),
                Err(violation) => {
                    payloads.all = false;
                    recorder.violation(place, &violation);
                }
            }
        }
        payloads
    }

    /// Makes the column's opening again, checks it as the counterparty does, and that the counterparty
    /// was given just this. Gives the exact totals from here on, if they are known.
    fn check(
        &self,
        column: &Column,
        leaves: &Leaves,
        payloads: &Payloads,
        before: Option<ColumnContent>,
        recorder: &mut Recorder,
    ) -> Option<ColumnContent> {
        let counterparty = column.counterparty;
        let place = self.block.place();
        let Some(before) = before.filter(|_| payloads.all) else {
            recorder.not_checked(self.block.log, Reason::TotalsUnknown, 1);
            return None;
        };
        let key = self.context.column_key(&self.secret, counterparty);
        let Some(content) = self.content(leaves, payloads, before) else {
            recorder.violation(place, &Violation::ExactTotals { counterparty });
            return None;
        };
        let opening = ColumnOpening { key, content };
        let run = self.run(leaves);
        // the key follows from the secret and the totals from the leaves: when the opening is not the
        // committed one, it is told apart here which of the two the writer committed to wrongly
        let committed = self.context.column_commitment(&opening.key, counterparty) == column.key;
        let checked = check_column::<Upheld>(
            self.constitution,
            self.header,
            counterparty,
            &opening,
            &before,
            run.as_ref(),
        );
        match checked {
            Ok(_) => {}
            Err(Violation::Opening { error: SealError::WrongKey, .. }) if committed => {
                recorder.violation(place, &Violation::ExactTotals { counterparty });
                return None;
            }
            Err(violation) => {
                recorder.violation(place, &violation);
                return None;
            }
        }
        let sealing = self.constitution.brand(counterparty).map(|brand| brand.keys.sealing)?;
        let given = self.context.wrap(
            counterparty.as_str(),
            &sealing,
            self.secret.expose(),
            &opening.to_bytes(),
        );
        if given.as_ref() != Ok(&column.opening) {
            let message =
                format_args!("what was wrapped to {counterparty} is not the opening of its column");
            recorder.find(place, Rule::SealedOpening, message);
        }
        Some(content)
    }

    fn content(
        &self,
        leaves: &Leaves,
        payloads: &Payloads,
        before: ColumnContent,
    ) -> Option<ColumnContent> {
        let hashes: &[LeafHash] = self.block.settled.hashes.get(leaves.first..leaves.end)?;
        let mut values = payloads.read.iter().map(|(_, payload)| payload.value());
        let sent = values.try_fold(before.sent, Value::plus).ok()?;
        let count = u32::try_from(hashes.len()).ok()?;
        Some(ColumnContent {
            entries: before.entries.checked_add(u64::from(count))?,
            sent,
            first: u32::try_from(leaves.first).ok()?,
            count,
            leaves: hash_of_leaves(hashes),
        })
    }

    fn run(&self, leaves: &Leaves) -> Option<LeafRun> {
        let count = u64::try_from(leaves.end.checked_sub(leaves.first)?).ok()?;
        let entries = self.block.body().get(leaves.first..leaves.end)?;
        let entries = entries.iter().flatten().cloned().map(EntryBytes).collect();
        let (_, body) = self.block.settled.hashes.split_last()?;
        let tree = BlockTree::new(&self.block.before, body);
        let first = self.block.index_of(leaves.first);
        let size = TreeSize::new(self.block.index_of(body.len()).get());
        let proof = RangeProof::prove(&tree, first, count, size).ok()?;
        Some(LeafRun { first, entries, proof })
    }
}
