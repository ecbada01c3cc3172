//! Sealed entries, for whoever holds a key that opens block secrets: an auditor's, or a recovery key.
//!
//! From the block secret everything else in the block follows and is made again: the keys of the
//! columns, which leaf is whose, what each counterparty was given, the padding, the exact totals. What
//! a counterparty checks before it votes is then checked by the same function.
//!
//! Keys are destroyed after the retention: what is older and does not open is not checkable.

use std::collections::BTreeMap;

use super::across::Collected;
use super::blocks::Block;
use super::content::place;
use super::disclosed::Disclosed;
use super::report::{Place, Reason, Recorder, Rule, count};
use super::{KeyHolder, OpeningKey};
use crate::amount::Value;
use crate::constitution::Constitution;
use crate::crypto::sealed::{BlockSecret, ColumnKey, KeyRing, SealError, SealedRef, Wrapped};
use crate::disclosure::DisclosedBlock;
use crate::epochs::Constitutions;
use crate::exchange::{Payload, Return};
use crate::ids::{BrandId, Height, LeafIndex};
use crate::log::block::{
    Column, ColumnContent, ColumnOpening, Header, PublicEntry, hash_of_leaves,
};
use crate::time::Timestamp;
use crate::witness::allowed::Adjusted;
use crate::witness::readers::{RECOVERY, secret_readers};
use crate::witness::rules::{Violation, check_column_totals};

/// The keys that open one log's blocks, and the exact totals so far.
#[derive(Debug)]
pub(super) struct Opener<'a> {
    reader: Option<Reader<'a>>,
    /// Keys that opened what is older may be gone.
    deleted_before: Timestamp,
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

    /// Whether the key that the secret of a block is wrapped to is at hand.
    fn holds_key(&self, constitution: &Constitution, header: &Header) -> bool {
        let wrapped = self.position(constitution, header).and_then(|at| header.secrets.get(at));
        wrapped.is_none_or(|wrapped| self.keys.holds(&wrapped.key()))
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
        Self { reader, contents, deleted_before: Timestamp::from_unix_ms(0) }
    }

    /// The same, where keys that opened what is older than this may be gone.
    pub(super) fn deleted_before(self, time: Timestamp) -> Self {
        Self { deleted_before: time, ..self }
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

    /// Who opens this log, if anybody does.
    pub(super) const fn reader(&self) -> Option<&Reader<'a>> {
        self.reader.as_ref()
    }

    /// Judges what a block's columns say, which go on from the blocks before.
    pub(super) fn judge(
        &mut self,
        of: (&Block, &Header, &Constitution),
        (sealed, public): (Sealed, &[(LeafIndex, PublicEntry)]),
        collected: &mut Collected,
        recorder: &mut Recorder,
    ) {
        let (block, header, _) = of;
        let place = block.place();
        let columns = match sealed {
            Sealed::NoKey { leaves } => {
                return recorder.not_checked(block.log, Reason::SealedWithoutKey, leaves);
            }
            Sealed::NotGiven { leaves } => {
                recorder.not_checked(block.log, Reason::SealedWithoutKey, leaves);
                return self.lose_totals();
            }
            Sealed::KeyNotHeld { leaves, .. } if header.time < self.deleted_before => {
                recorder.not_checked(block.log, Reason::Deleted, leaves);
                return self.lose_totals();
            }
            Sealed::NotOpened { reader } | Sealed::KeyNotHeld { reader, .. } => {
                let message =
                    format_args!("the block secret does not open with the key of {reader}");
                recorder.find(place, Rule::SealedSecret, message);
                return self.lose_totals();
            }
            Sealed::Columns(columns) => *columns,
        };
        let disclosed = self.reader.as_ref().and_then(|reader| reader.disclosed(header.height));
        self.take_totals(header, disclosed);
        recorder.append(columns.recorder);
        if !columns.is_whole {
            self.lose_totals();
        }
        for (column, mut read) in header.columns.iter().zip(columns.of) {
            let counterparty = column.counterparty;
            recorder.append(std::mem::take(&mut read.recorder));
            let entries = public.iter().map(|(_, entry)| entry);
            let adjusted = Adjusted::by(block.log, counterparty, entries);
            let before = self.contents.get(&counterparty).copied().flatten();
            // from what was agreed the totals are known again
            let before = before.or(adjusted.restated);
            let before = before.and_then(|before| adjusted.base(&before).ok());
            let after = read.check(of, (column, &columns.secret), before, recorder);
            self.contents.insert(counterparty, after);
            count(&mut recorder.counts.payloads, read.payloads);
            if read.payloads > 0 {
                collected.said(block.height, header.time, counterparty);
            }
            for (index, back) in read.returns {
                collected.returned(place.at(index), header.time, counterparty, back);
            }
        }
        if columns.is_whole {
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

/// What a block's sealed entries say, as far as one can tell without the blocks before.
#[derive(Debug)]
pub(super) enum Sealed {
    /// Nobody opens this log.
    NoKey {
        leaves: u64,
    },
    /// The block is not among those that its reader was given.
    NotGiven {
        leaves: u64,
    },
    /// The secret is not what the reader's key opens.
    NotOpened {
        reader: String,
    },
    /// It is wrapped to a key of the reader's that is not at hand.
    KeyNotHeld {
        reader: String,
        leaves: u64,
    },
    Columns(Box<Columns>),
}

/// All columns of a block.
#[derive(Debug)]
pub(super) struct Columns {
    secret: BlockSecret,
    /// Found with what readers were given, and with padding.
    recorder: Recorder,
    /// Whether every leaf is there.
    is_whole: bool,
    of: Vec<ColumnRead>,
}

/// One column, opened.
#[derive(Debug)]
struct ColumnRead {
    key: ColumnKey,
    /// Found in its leaves.
    recorder: Recorder,
    /// Its first leaf, counted from the block's first.
    first: usize,
    /// How many it has.
    count: usize,
    /// How many of them say something valid.
    payloads: usize,
    /// The sum of their values; none when it is no amount.
    sent: Option<Value>,
    returns: Vec<(LeafIndex, Return)>,
}

impl Sealed {
    /// Opens a block's columns. `sealed` has one a leaf of the body, where that is a sealed entry.
    pub(super) fn read(
        block: &Block,
        header: &Header,
        sealed: &[Option<SealedRef<'_>>],
        constitution: &Constitution,
        reader: Option<&Reader<'_>>,
    ) -> Self {
        let public = place(header.public_leaves);
        let leaves = u64::try_from(sealed.len().saturating_sub(public)).unwrap_or(u64::MAX);
        let Some(reader) = reader else { return Self::NoKey { leaves } };
        let is_given = reader.position(constitution, header).is_some()
            || reader.disclosed(header.height).is_some();
        if !is_given {
            return Self::NotGiven { leaves };
        }
        let Some(secret) = reader.secret(constitution, header) else {
            let reader_name = reader.name.to_owned();
            return if reader.holds_key(constitution, header) {
                Self::NotOpened { reader: reader_name }
            } else {
                Self::KeyNotHeld { reader: reader_name, leaves }
            };
        };
        let mut recorder = Recorder::default();
        check_readers(constitution, header, &secret, block.place(), &mut recorder);
        let opened = Opened { constitution, block, header, sealed, secret: &secret };
        let mut next = public.min(sealed.len());
        let mut of = Vec::with_capacity(header.columns.len());
        for column in &header.columns {
            let read = opened.column(column.counterparty, next);
            next = next.saturating_add(read.count);
            of.push(read);
        }
        let is_whole = block.settled.body().all(|entry| entry.is_some());
        if is_whole {
            opened.check_padding(next, &mut recorder);
        }
        Self::Columns(Box::new(Columns { secret, recorder, is_whole, of }))
    }
}

/// A block with its secret.
struct Opened<'a> {
    constitution: &'a Constitution,
    block: &'a Block,
    header: &'a Header,
    sealed: &'a [Option<SealedRef<'a>>],
    secret: &'a BlockSecret,
}

impl Opened<'_> {
    /// The column of a counterparty: columns lie side by side in the order of the header, then comes
    /// padding. A leaf is a column's when it commits to the key that the column gives for its place;
    /// one that says nothing valid is a finding.
    fn column(&self, counterparty: BrandId, first: usize) -> ColumnRead {
        let context = self.header.context();
        let key = context.column_key(self.secret, counterparty);
        let mut cipher = context.column(&key);
        let mut read = ColumnRead {
            key,
            recorder: Recorder::default(),
            first,
            count: 0,
            payloads: 0,
            sent: Some(Value::ZERO),
            returns: Vec::new(),
        };
        let pair = (self.header.log, counterparty);
        let leaves = self.sealed.get(first..).unwrap_or_default();
        for (position, sealed) in (first..).zip(leaves.iter().map_while(|sealed| *sealed)) {
            let index = self.block.index_of(position);
            let payload = match cipher.open(index, sealed) {
                Err(SealError::WrongKey) => break,
                Err(error) => Err(Violation::Opening { counterparty, error }),
                Ok(bytes) => Payload::read(bytes, self.constitution, pair)
                    .map_err(|error| Violation::Payload { counterparty, index, error }),
            };
            read.count = read.count.saturating_add(1);
            match payload {
                Ok(payload) => {
                    read.payloads = read.payloads.saturating_add(1);
                    read.sent = read.sent.and_then(|sum| sum.plus(payload.value()).ok());
                    if let Payload::Return(back) = payload {
                        read.returns.push((index, back));
                    }
                }
                Err(violation) => read.recorder.violation(self.block.place().at(index), &violation),
            }
        }
        read
    }

    /// What is in no column, from a leaf on, is padding.
    fn check_padding(&self, first: usize, recorder: &mut Recorder) {
        let size = self.constitution.payload_size();
        let context = self.header.context();
        for (position, sealed) in self.sealed.iter().enumerate().skip(first) {
            let index = self.block.index_of(position);
            let padding = context.padding(self.secret, index, size);
            let is_padding = sealed.is_some_and(|sealed| {
                sealed.commitment == padding.commitment && sealed.ciphertext == padding.ciphertext
            });
            if !is_padding {
                let message = "a leaf that is in no column is not the block's padding";
                recorder.find(self.block.place().at(index), Rule::SealedPadding, message);
            }
        }
    }
}

impl ColumnRead {
    /// Makes the column's opening again, checks it as the counterparty does, and that the counterparty
    /// was given just this. Gives the exact totals from here on, if they are known.
    fn check(
        &self,
        (block, header, constitution): (&Block, &Header, &Constitution),
        (column, secret): (&Column, &BlockSecret),
        before: Option<ColumnContent>,
        recorder: &mut Recorder,
    ) -> Option<ColumnContent> {
        let counterparty = column.counterparty;
        let place = block.place();
        let Some(before) = before.filter(|_| self.payloads == self.count) else {
            recorder.not_checked(block.log, Reason::TotalsUnknown, 1);
            return None;
        };
        let Some((sum, content)) = self.content(block, before) else {
            recorder.violation(place, &Violation::ExactTotals { counterparty });
            return None;
        };
        let context = header.context();
        let opening = ColumnOpening { key: self.key.clone(), content };
        // the key follows from the secret and the totals from the leaves: when the opening is not the
        // committed one, it is told apart here which of the two the writer committed to wrongly
        let committed = context.column_commitment(&opening.key, counterparty) == column.key;
        let sums = std::iter::once(sum);
        let checked = match opening.check(&context, column) {
            Err(SealError::WrongKey) if committed => Err(Violation::ExactTotals { counterparty }),
            Err(error) => Err(Violation::Opening { counterparty, error }),
            Ok(()) => check_column_totals(constitution, column, &content, &before, sums),
        };
        if let Err(violation) = checked {
            recorder.violation(place, &violation);
            return None;
        }
        let (name, key) = (counterparty.as_str(), column.opening.key());
        let given = context.wrap(name, &key, secret.expose(), &opening.to_bytes());
        if given.as_ref() != Ok(&column.opening) {
            let message =
                format_args!("what was wrapped to {counterparty} is not the opening of its column");
            recorder.find(place, Rule::SealedOpening, message);
        }
        Some(content)
    }

    /// The sum of its leaves' values, and its exact content.
    fn content(&self, block: &Block, before: ColumnContent) -> Option<(Value, ColumnContent)> {
        let end = self.first.checked_add(self.count)?;
        let hashes = block.settled.hashes.get(self.first..end)?;
        let sum = self.sent?;
        let count = u32::try_from(hashes.len()).ok()?;
        let content = ColumnContent {
            entries: before.entries.checked_add(u64::from(count))?,
            sent: before.sent.plus(sum).ok()?,
            first: u32::try_from(self.first).ok()?,
            count,
            leaves: hash_of_leaves(hashes),
        };
        Some((sum, content))
    }
}
