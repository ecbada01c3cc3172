//! One brand's totals at a cut-off: opened by the brand, checked by everyone.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::statement::ClosedBlock;
use crate::amount::Value;
use crate::crypto::sealed::{BlockSecret, KeyRing, SealError};
use crate::ids::{BrandId, Epoch, HeaderHash, Height};
use crate::log::block::{Closing, ColumnContent, ColumnDisclosure, Header};
use crate::time::Timestamp;

/// What is wrong with a closing entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClosingError {
    /// Not the block it names, or the blocks that were looked up are not neighbours of one log.
    #[error("block {0} is not the one that the closing names")]
    Block(Height),
    /// The block it names is after the cut-off.
    #[error("block {0} is after the cut-off")]
    AfterCutOff(Height),
    /// The block that follows is not after the cut-off, so that the named one is not the last.
    #[error("block {0} is not after the cut-off: an earlier block is closed than the last one")]
    NotTheLast(Height),
    /// Other counterparties than the block's columns have, or in another order.
    #[error("the closing opens other columns than its block has")]
    Columns,
    /// The opened totals are not those that the header commits to.
    #[error("the totals opened for {0} are not those the block commits to")]
    Totals(BrandId),
    /// What it says again of ended logs has none, too many, or not in order, or is about the future.
    #[error(
        "what it says again of ended logs must be a list of others in their order, each closed out in the closed block or before"
    )]
    ClosedOutForm,
    /// What it says again of an ended log is not what the log entered.
    #[error("what it says again of {0} is not what this log entered when it closed that out")]
    ClosedOut(BrandId),
    /// An ended log that it has closed out is not among those that it says again.
    #[error("it says again what it has closed out, and leaves {0} out")]
    LeftOut(BrandId),
}

/// A closing that its log bears out; made by [`check_closing`], or read back from the node's own disk.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct CheckedClosing {
    #[n(0)]
    cut_off: Timestamp,
    #[n(1)]
    block: ClosedBlock,
    #[n(2)]
    epoch: Epoch,
    #[n(3)]
    sent: BTreeMap<BrandId, Value>,
    #[n(4)]
    confirmed: BTreeMap<BrandId, Value>,
}

impl CheckedClosing {
    /// Whose totals.
    #[must_use]
    pub const fn debtor(&self) -> BrandId {
        self.block.debtor
    }
    /// At which cut-off.
    #[must_use]
    pub const fn cut_off(&self) -> Timestamp {
        self.cut_off
    }
    /// The block whose totals they are.
    #[must_use]
    pub const fn block(&self) -> ClosedBlock {
        self.block
    }
    /// The constitution that the block is under; of an empty log, that its first block is under.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }
    /// What the debtor ever sent, by counterparty.
    #[must_use]
    pub const fn sent(&self) -> &BTreeMap<BrandId, Value> {
        &self.sent
    }
    /// What it ever confirmed as payee, by payer: public in the block's header.
    #[must_use]
    pub const fn confirmed(&self) -> &BTreeMap<BrandId, Value> {
        &self.confirmed
    }
}

/// Makes the closing entry for a cut-off, but for what has been closed out ([`super::Absent::say_again`]), from the own log's last certified block not after it (none
/// when there is none): its header, the own sealing keys, and the exact contents of its columns in
/// their order. The entry goes into a later block with a time after the cut-off.
///
/// # Errors
/// When the header is not one whose secret these keys open, or commits to other contents.
pub fn close(
    cut_off: Timestamp,
    last: Option<(&Header, HeaderHash)>,
    keys: &KeyRing,
    contents: &[ColumnContent],
) -> Result<Closing, SealError> {
    let Some((header, block)) = last else {
        let height = Height::new(0);
        let (block, columns, closed_out) = (HeaderHash::GENESIS, Vec::new(), None);
        return Ok(Closing { cut_off, height, block, columns, closed_out });
    };
    let context = header.context();
    // the second secret is the writer's own, after the one for its recovery key
    let wrapped = header.secrets.get(1).ok_or(SealError::NotOpened)?;
    let bytes = context.unwrap(header.log.as_str(), keys, wrapped)?;
    let secret = BlockSecret::from_bytes(bytes.try_into().map_err(|_| SealError::NotOpened)?);
    if contents.len() != header.columns.len() {
        return Err(SealError::WrongKey);
    }
    let columns = header
        .columns
        .iter()
        .zip(contents)
        .map(|(column, content)| {
            let counterparty = column.counterparty;
            let salt = context.totals_salt(&context.column_key(&secret, counterparty));
            if content.commitment(&salt) != column.content {
                return Err(SealError::WrongKey);
            }
            Ok(ColumnDisclosure { counterparty, content: *content, salt })
        })
        .collect::<Result<_, _>>()?;
    Ok(Closing { cut_off, height: header.height, block, columns, closed_out: None })
}

/// Checks a closing entry. `closed` is the certified header at the height it names, with its id (none
/// for height 0); `next` is the certified header that follows: with it the writer has moved past the
/// cut-off and can add nothing before. It is the block that carries the closing or an earlier one.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_closing(
    closing: &Closing,
    closed: Option<(&Header, HeaderHash)>,
    next: &Header,
) -> Result<CheckedClosing, ClosingError> {
    let height = closing.height;
    let wrong_block = ClosingError::Block(height);
    if height.next() != Some(next.height) {
        return Err(wrong_block);
    }
    let columns = match closed {
        None if height.get() == 0 && closing.block == HeaderHash::GENESIS => &[][..],
        Some((header, id))
            if header.height == height && id == closing.block && next.previous == id =>
        {
            if header.time > closing.cut_off {
                return Err(ClosingError::AfterCutOff(height));
            }
            &header.columns
        }
        None | Some(_) => return Err(wrong_block),
    };
    if next.time <= closing.cut_off {
        return Err(ClosingError::NotTheLast(next.height));
    }
    if columns.len() != closing.columns.len() {
        return Err(ClosingError::Columns);
    }
    let mut sent = BTreeMap::new();
    let mut confirmed = BTreeMap::new();
    for (column, opened) in columns.iter().zip(&closing.columns) {
        if column.counterparty != opened.counterparty {
            return Err(ClosingError::Columns);
        }
        if opened.content.commitment(&opened.salt) != column.content {
            return Err(ClosingError::Totals(column.counterparty));
        }
        sent.insert(column.counterparty, opened.content.sent);
        confirmed.insert(column.counterparty, column.confirmed);
    }
    let block = ClosedBlock { debtor: next.log, height, block: closing.block };
    let epoch = closed.map_or(next.epoch, |(header, _)| header.epoch);
    Ok(CheckedClosing { cut_off: closing.cut_off, block, epoch, sent, confirmed })
}
