//! One column of a block, as its counterparty or an auditor may check it: the only part of the rules that
//! takes a key.

use super::Violation;
use crate::amount::Value;
use crate::codec;
use crate::constitution::Constitution;
use crate::crypto::sealed::{SEALED_OVERHEAD, SealedLeaf};
use crate::exchange::Payload;
use crate::ids::{BrandId, LeafIndex};
use crate::log::block::{Column, ColumnContent, ColumnOpening, Header, hash_of_leaves};
use crate::witness::guards::Guards;
use crate::witness::message::LeafRun;

/// One column, as its counterparty or an auditor may check it: the opening is the committed one,
/// the leaves are the committed ones and in the tree, every payload has the constitution's price,
/// and all adds up from `before`, with what the block's entries change of it, if that is known. Gives the
/// payloads.
///
/// # Errors
/// The first rule that is broken.
pub fn check_column<'b, G: Guards>(
    constitution: &Constitution,
    header: &Header,
    counterparty: BrandId,
    opening: &ColumnOpening,
    before: impl Into<Option<&'b ColumnContent>>,
    run: Option<&LeafRun>,
) -> Result<Vec<(LeafIndex, Payload)>, Violation> {
    let wrong_leaves = Violation::ColumnLeaves { counterparty };
    let column = header.column(counterparty).ok_or(Violation::Columns)?;
    let context = header.context();
    opening.check(&context, column).map_err(|error| Violation::Opening { counterparty, error })?;
    let content = &opening.content;
    let end = content.first.checked_add(content.count);
    let inside = end.is_some_and(|end| end <= header.body_leaves);
    if content.count > 0 && (content.first < header.public_leaves || !inside) {
        return Err(wrong_leaves);
    }
    // first that these are the tree's leaves at the column's place: if not, it is who brought them
    let hashes = run.map_or_else(Vec::new, |run| run.entries.hashes());
    if u32::try_from(hashes.len()) != Ok(content.count)
        || !are_in_place(header, content, run, &hashes)
    {
        return Err(Violation::Delivered { counterparty });
    }
    // then that they are what the writer committed to
    if hash_of_leaves(&hashes) != content.leaves {
        return Err(wrong_leaves);
    }
    let mut payloads = Vec::with_capacity(hashes.len());
    if let Some(run) = run {
        let size = constitution.payload_size().saturating_add(SEALED_OVERHEAD);
        let mut cipher = context.column(&opening.key);
        let pair = (header.log, counterparty);
        for (index, entry) in indexed(run) {
            let Ok(SealedLeaf::Sealed(sealed)) =
                codec::decode("a sealed entry", entry, codec::ENTRY_MAX)
            else {
                return Err(wrong_leaves);
            };
            if sealed.ciphertext.len() != size {
                return Err(wrong_leaves);
            }
            let bytes = cipher
                .open(index, sealed)
                .map_err(|error| Violation::Opening { counterparty, error })?;
            let payload = Payload::read(bytes, constitution, pair)
                .map_err(|error| Violation::Payload { counterparty, index, error })?;
            payloads.push((index, payload));
        }
    }
    let values = payloads.iter().map(|(_, payload)| payload.value());
    // what the totals continue is not known to who has lost the key to the block before
    if let Some(before) = before.into()
        && let Err(violation) = check_column_totals(constitution, column, content, before, values)
    {
        G::found(violation)?;
    }
    Ok(payloads)
}

/// What of a column in dispute could stand by itself: leaves at the column's place that open to an entry
/// of the constitution's price. Nothing of a column that is not what was committed to.
#[must_use]
pub fn salvage(
    constitution: &Constitution,
    header: &Header,
    counterparty: BrandId,
    opening: &ColumnOpening,
    run: Option<&LeafRun>,
) -> Vec<(LeafIndex, Payload)> {
    let context = header.context();
    let committed = header.column(counterparty).map(|column| opening.check(&context, column));
    let (Some(run), Some(Ok(()))) = (run, committed) else { return Vec::new() };
    if !are_in_place(header, &opening.content, Some(run), &run.entries.hashes()) {
        return Vec::new();
    }
    let mut cipher = context.column(&opening.key);
    let mut stands = Vec::new();
    for (index, entry) in indexed(run) {
        let sealed = codec::decode("a sealed entry", entry, codec::ENTRY_MAX);
        if let Ok(SealedLeaf::Sealed(sealed)) = sealed
            && let Ok(bytes) = cipher.open(index, sealed)
            && let Ok(payload) = Payload::read(bytes, constitution, (header.log, counterparty))
        {
            stands.push((index, payload));
        }
    }
    stands
}

fn are_in_place(
    header: &Header,
    content: &ColumnContent,
    run: Option<&LeafRun>,
    hashes: &[crate::ids::LeafHash],
) -> bool {
    let Some(run) = run else { return true };
    let offset = run.first.get().checked_sub(header.first.get());
    let proof = run.proof.verify(run.first, hashes, header.body_size(), &header.body_root);
    offset == Some(u64::from(content.first)) && proof.is_ok()
}

/// That a column's exact totals are those before and what its payloads are worth, and the public total
/// their ceiling.
///
/// # Errors
/// [`Violation::ExactTotals`], or [`Violation::Amount`] when they leave their range.
pub fn check_column_totals(
    constitution: &Constitution,
    column: &Column,
    content: &ColumnContent,
    before: &ColumnContent,
    mut values: impl Iterator<Item = Value>,
) -> Result<(), Violation> {
    let sent = values.try_fold(before.sent, Value::plus)?;
    let count = before.entries.checked_add(u64::from(content.count));
    let right = content.sent == sent
        && Some(content.entries) == count
        && sent.ceiling_to(constitution.total_step())? == column.sent;
    let counterparty = column.counterparty;
    if right { Ok(()) } else { Err(Violation::ExactTotals { counterparty }) }
}

pub(super) fn indexed(run: &LeafRun) -> impl Iterator<Item = (LeafIndex, &[u8])> {
    (run.first.get()..).map(LeafIndex::new).zip(&run.entries)
}
