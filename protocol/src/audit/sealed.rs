//! Sealed entries, for whoever holds a key that opens block secrets: an auditor's, or a recovery key.
//!
//! From the block secret everything else in the block follows and is made again: the keys of the
//! columns, which leaf is whose, what each counterparty was given, the padding, the exact totals. What
//! a counterparty checks before it votes is then checked by the same function.
//!
//! Does not do yet: deleted payloads.

use std::collections::BTreeMap;

use super::across::Collected;
use super::blocks::Block;
use super::disclosed::Disclosed;
use super::report::{Place, Reason, Recorder, Rule, count};
use super::{KeyHolder, OpeningKey};
use crate::amount::Value;
use crate::constitution::Constitution;
use crate::crypto::sealed::{
    BlockSecret, EntryKey, KeyRing, SealError, SealedEntry, SealingContext, Wrapped,
};
use crate::disclosure::DisclosedBlock;
use crate::epochs::Constitutions;
use crate::exchange::Payload;
use crate::ids::{BrandId, Height, LeafIndex};
use crate::log::block::{Column, ColumnContent, ColumnOpening, Entry, Header, hash_of_leaves};
use crate::witness::readers::{RECOVERY, secret_readers};
use crate::witness::rules::{Violation, check_column_totals};

/// The keys that open one log's blocks, and the exact totals so far.
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
    keys: KeyRing,
    disclosed: Option<&'a Disclosed>,
}

impl<'a> Reader<'a> {
    /// The first of the keys that opens this log.
    pub(super) fn of(
        constitutions: &Constitutions,
        log: BrandId,
        keys: &'a [OpeningKey],
        disclosed: Option<&'a Disclosed>,
    ) -> Option<Self> {
        keys.iter().find_map(|key| {
            let name = match &key.holder {
                KeyHolder::Recovery(brand) if *brand == log => RECOVERY,
                KeyHolder::Recovery(_) => return None,
                KeyHolder::Auditor(name) => {
                    let mut auditors = constitutions.iter().flat_map(Constitution::auditors);
                    auditors.find(|auditor| auditor.name == *name).map(|_| name.as_str())?
                }
            };
            Some(Reader { name, keys: ring_of(&key.holder, keys)?, disclosed })
        })
    }

    /// Its place among the wrapped secrets of a header under this constitution; none when it is an
    /// auditor of another epoch.
    fn position(&self, constitution: &Constitution, header: &Header) -> Option<usize> {
        let readers = secret_readers(constitution, &header.log, header.sealing.key, header.time)?;
        readers.iter().position(|(name, _)| *name == self.name)
    }

    /// The secret of a block under this constitution.
    pub(super) fn secret(
        &self,
        constitution: &Constitution,
        header: &Header,
    ) -> Option<BlockSecret> {
        let Some(position) = self.position(constitution, header) else {
            return self.disclosed(header.height).map(|given| given.secret.clone());
        };
        let wrapped = header.secrets.get(position)?;
        let bytes = header.context().unwrap(self.name, &self.keys, wrapped).ok()?;
        Some(BlockSecret::from_bytes(bytes.try_into().ok()?))
            .filter(|secret| header.is_sealed_with(secret))
    }

    /// What was disclosed of a block.
    fn disclosed(&self, height: Height) -> Option<&'a DisclosedBlock> {
        self.disclosed.and_then(|disclosed| disclosed.at(height))
    }
}

impl<'a> Opener<'a> {
    pub(super) fn new(
        constitutions: &Constitutions,
        log: BrandId,
        keys: &'a [OpeningKey],
        disclosed: Option<&'a Disclosed>,
    ) -> Self {
        let reader = Reader::of(constitutions, log, keys, disclosed);
        let others = constitutions.brands().into_iter().filter(|brand| *brand != log);
        let contents = others.map(|brand| (brand, Some(ColumnContent::nothing()))).collect();
        Self { reader, contents }
    }

    /// A block could not be read: the totals that continue from it are not known.
    pub(super) fn lose_totals(&mut self) {
        self.contents.values_mut().for_each(|content| *content = None);
    }

    /// The totals that were disclosed with a block, where they are not known from the blocks before.
    fn take_totals(&mut self, header: &Header, disclosed: Option<&DisclosedBlock>) {
        let before = disclosed.and_then(|given| given.before.as_ref()).into_iter().flatten();
        for (column, content) in header.columns.iter().zip(before) {
            self.contents.entry(column.counterparty).or_default().get_or_insert(*content);
        }
    }

    /// Whether what was wrapped to an auditor is the secret of the block, and follows from it; none when
    /// that cannot be told with the keys at hand.
    pub(super) fn is_disclosure_sound(
        &self,
        constitution: &Constitution,
        header: &Header,
        auditor: &str,
        wrapped: &Wrapped,
    ) -> Option<bool> {
        let reader = self.reader.as_ref()?;
        let secret = if reader.name == auditor {
            match DisclosedBlock::open(header, auditor, &reader.keys, wrapped) {
                Err(SealError::KeyNotHeld) => return None,
                Err(_) => return Some(false),
                Ok(given) => given.secret,
            }
        } else {
            reader.secret(constitution, header)?
        };
        Some(DisclosedBlock::is_of(header, &secret, auditor, wrapped))
    }

    pub(super) fn open(
        &mut self,
        of: &OpenedBlock<'_>,
        collected: &mut Collected,
        recorder: &mut Recorder,
    ) {
        let OpenedBlock { constitution, block, header, .. } = of;
        let place = block.place();
        let public = usize::try_from(header.public_leaves).unwrap_or(usize::MAX);
        let sealed = of.entries.len().saturating_sub(public);
        let Some(reader) = &self.reader else {
            let sealed = u64::try_from(sealed).unwrap_or(u64::MAX);
            return recorder.not_checked(block.log, Reason::SealedWithoutKey, sealed);
        };
        let disclosed = reader.disclosed(header.height);
        if reader.position(constitution, header).is_none() && disclosed.is_none() {
            let sealed = u64::try_from(sealed).unwrap_or(u64::MAX);
            recorder.not_checked(block.log, Reason::SealedWithoutKey, sealed);
            return self.lose_totals();
        }
        let Some(secret) = reader.secret(constitution, header) else {
            let message =
                format_args!("the block secret does not open with the key of {}", reader.name);
            recorder.find(place, Rule::SealedSecret, message);
            return self.lose_totals();
        };
        self.take_totals(header, disclosed);
        check_readers(of.constitution, header, &secret, place, recorder);
        let opened = Opened { of, context: header.context(), secret };
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
                collected.payload(place.at(index), header.time, column.counterparty, payload);
            }
        }
        if layout.is_whole {
            collected.opened();
        }
    }
}

/// All keys of one holder: an auditor has one a month.
pub(super) fn ring_of(holder: &KeyHolder, keys: &[OpeningKey]) -> Option<KeyRing> {
    let mut own = keys.iter().filter(|key| key.holder == *holder).map(|key| key.secret.clone());
    let mut ring = KeyRing::new(own.next()?).ok()?;
    own.try_for_each(|secret| ring.hold(secret).map(drop)).ok()?;
    Some(ring)
}

/// Every reader must have been given this same secret.
fn check_readers(
    constitution: &Constitution,
    header: &Header,
    secret: &BlockSecret,
    place: Place,
    recorder: &mut Recorder,
) {
    // that these are their keys is a rule of every block
    let readers = secret_readers(constitution, &header.log, header.sealing.key, header.time);
    for ((name, _), wrapped) in readers.into_iter().flatten().zip(&header.secrets) {
        let key = wrapped.key();
        let again = header.context().wrap(name, &key, secret.expose(), secret.expose());
        if again.as_ref() != Ok(wrapped) {
            let message = format_args!("what was wrapped to {name} is not the block's secret");
            recorder.find(place, Rule::SealedSecret, message);
        }
    }
}

/// One column's leaves, from the first, counted from the block's first leaf, each with its key.
struct Leaves {
    first: usize,
    keys: Vec<EntryKey>,
}

impl Leaves {
    const fn end(&self) -> usize {
        self.first.saturating_add(self.keys.len())
    }
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

/// A block whose body has been read.
pub(super) struct OpenedBlock<'a> {
    pub(super) constitution: &'a Constitution,
    pub(super) block: &'a Block,
    pub(super) header: &'a Header,
    /// One a leaf of the body; none where it could not be read.
    pub(super) entries: &'a [Option<Entry>],
}

/// A block with its secret.
struct Opened<'a> {
    of: &'a OpenedBlock<'a>,
    context: SealingContext,
    secret: BlockSecret,
}

impl Opened<'_> {
    /// Which leaf is whose: columns lie side by side in the order of the header, then comes padding.
    /// A leaf is a column's when it commits to the key that the column gives for its place.
    fn layout(&self, public: usize, recorder: &mut Recorder) -> Layout {
        let OpenedBlock { constitution, block, header, entries } = self.of;
        let mut next = public.min(entries.len());
        let mut columns = Vec::with_capacity(header.columns.len());
        for column in &header.columns {
            let key = self.context.column_key(&self.secret, column.counterparty);
            let mut leaves = Leaves { first: next, keys: Vec::new() };
            while let Some(entry) = self.sealed(next) {
                let key = self.context.entry_key(&key, block.index_of(next));
                if !self.context.commits_to(&key, entry) {
                    break;
                }
                leaves.keys.push(key);
                next = next.saturating_add(1);
            }
            columns.push(leaves);
        }
        let is_whole = block.body().iter().all(Option::is_some);
        let size = constitution.payload_size();
        for (position, entry) in entries.iter().enumerate().skip(next) {
            let index = block.index_of(position);
            let padding = self.context.padding(&self.secret, index, size);
            let is_padding = matches!(entry, Some(Entry::Sealed(entry)) if *entry == padding);
            if is_whole && !is_padding {
                let message = "a leaf that is in no column is not the block's padding";
                recorder.find(block.place().at(index), Rule::SealedPadding, message);
            }
        }
        Layout { columns, is_whole }
    }

    fn sealed(&self, position: usize) -> Option<&SealedEntry> {
        match self.of.entries.get(position) {
            Some(Some(Entry::Sealed(entry))) => Some(entry),
            _ => None,
        }
    }

    /// What a column's leaves say; one that says nothing valid is a finding.
    fn payloads(&self, column: &Column, leaves: &Leaves, recorder: &mut Recorder) -> Payloads {
        let counterparty = column.counterparty;
        let pair = (self.of.header.log, counterparty);
        let mut payloads = Payloads { read: Vec::new(), all: true };
        for (position, entry_key) in (leaves.first..).zip(&leaves.keys) {
            let index = self.of.block.index_of(position);
            let place = self.of.block.place().at(index);
            let Some(sealed) = self.sealed(position) else { continue };
            let read = self
                .context
                .open(entry_key, index, sealed)
                .map_err(|error| Violation::Opening { counterparty, error })
                .and_then(|bytes| {
                    Payload::read(&bytes, self.of.constitution, pair)
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
        let OpenedBlock { constitution, block, .. } = self.of;
        let place = block.place();
        let Some(before) = before.filter(|_| payloads.all) else {
            recorder.not_checked(block.log, Reason::TotalsUnknown, 1);
            return None;
        };
        let key = self.context.column_key(&self.secret, counterparty);
        let Some(content) = self.content(leaves, payloads, before) else {
            recorder.violation(place, &Violation::ExactTotals { counterparty });
            return None;
        };
        let opening = ColumnOpening { key, content };
        // the key follows from the secret and the totals from the leaves: when the opening is not the
        // committed one, it is told apart here which of the two the writer committed to wrongly
        let committed = self.context.column_commitment(&opening.key, counterparty) == column.key;
        let values = payloads.read.iter().map(|(_, payload)| payload.value());
        let checked = match opening.check(&self.context, column) {
            Err(SealError::WrongKey) if committed => Err(Violation::ExactTotals { counterparty }),
            Err(error) => Err(Violation::Opening { counterparty, error }),
            Ok(()) => check_column_totals(constitution, column, &content, &before, values),
        };
        if let Err(violation) = checked {
            recorder.violation(place, &violation);
            return None;
        }
        let given = self.context.wrap(
            counterparty.as_str(),
            &column.opening.key(),
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
        let hashes = self.of.block.settled.hashes.get(leaves.first..leaves.end())?;
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
}
