//! What brands owe each other at a cut-off, netted: every node arrives at the same statement.
//!
//! Each brand opens, in a closing entry of its own log, the exact totals of its last block with a time
//! not after the cut-off. [`check_closing`] accepts it against the certified headers on both sides of
//! the cut-off, [`Statement::derive`] nets the closings of all brands. What a brand owes another is
//! what it ever sent to it; what came back was sent the other way.
//!
//! Knows totals, and nothing of the exchanges behind them. Moves no money, and a statement discharges
//! nothing. With the ledger issue come: payments and the payees' confirmations that alone lower a
//! debt, pacs.029 and camt.053, statements across epochs.

use std::collections::BTreeMap;
use std::fmt;

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::amount::Value;
use crate::codec;
use crate::constitution::Constitution;
use crate::crypto::sealed::{BlockSecret, SealError, SealingSecret};
use crate::crypto::sha256;
use crate::ids::{BrandId, ConstitutionHash, Epoch, HeaderHash, Height, StatementHash};
use crate::log::block::{Closing, ColumnContent, ColumnDisclosure, Header};
use crate::time::Timestamp;

const STATEMENT_DOMAIN: &[u8] = b"coalition/0/clearing-statement\0";

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
}

/// A closing that its log bears out; made by [`check_closing`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedClosing {
    debtor: BrandId,
    cut_off: Timestamp,
    block: ClosedBlock,
    sent: BTreeMap<BrandId, Value>,
}

impl CheckedClosing {
    /// Whose totals.
    #[must_use]
    pub const fn debtor(&self) -> BrandId {
        self.debtor
    }
    /// At which cut-off.
    #[must_use]
    pub const fn cut_off(&self) -> Timestamp {
        self.cut_off
    }
}

/// Makes the closing entry for a cut-off from the own log's last certified block not after it (none
/// when there is none): its header, the own sealing key, and the exact contents of its columns in
/// their order. The entry goes into a later block with a time after the cut-off.
///
/// # Errors
/// When the header is not one whose secret this key opens, or commits to other contents.
pub fn close(
    cut_off: Timestamp,
    last: Option<(&Header, HeaderHash)>,
    secret: &SealingSecret,
    contents: &[ColumnContent],
) -> Result<Closing, SealError> {
    let Some((header, block)) = last else {
        let height = Height::new(0);
        return Ok(Closing { cut_off, height, block: HeaderHash::GENESIS, columns: Vec::new() });
    };
    let context = header.context();
    // the second secret is the writer's own, after the one for its recovery key
    let wrapped = header.secrets.get(1).ok_or(SealError::NotOpened)?;
    let bytes = context.unwrap(header.log.as_str(), secret, wrapped)?;
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
    Ok(Closing { cut_off, height: header.height, block, columns })
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
    for (column, opened) in columns.iter().zip(&closing.columns) {
        if column.counterparty != opened.counterparty {
            return Err(ClosingError::Columns);
        }
        if opened.content.commitment(&opened.salt) != column.content {
            return Err(ClosingError::Totals(column.counterparty));
        }
        sent.insert(column.counterparty, opened.content.sent);
    }
    let block = ClosedBlock { debtor: next.log, height, block: closing.block };
    Ok(CheckedClosing { debtor: next.log, cut_off: closing.cut_off, block, sent })
}

/// What a brand is to receive (positive) or to pay (negative) when all debts are netted, in micro-fen;
/// its magnitude is at most [`Value::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct NetPosition(#[n(0)] i64);

impl NetPosition {
    fn new(micro_fen: i128) -> Option<Self> {
        let magnitude = u64::try_from(micro_fen.unsigned_abs()).ok()?;
        Value::new(magnitude).ok()?;
        i64::try_from(micro_fen).ok().map(Self)
    }
    /// Micro-fen, negative when it is to pay.
    #[must_use]
    pub const fn micro_fen(self) -> i64 {
        self.0
    }
    /// What it is to receive; nothing when it is to pay.
    #[must_use]
    pub fn receives(self) -> Value {
        u64::try_from(self.0).ok().and_then(|value| Value::new(value).ok()).unwrap_or_default()
    }
    /// What it is to pay; nothing when it is to receive.
    #[must_use]
    pub fn pays(self) -> Value {
        Self(self.0.saturating_neg()).receives()
    }
}

impl fmt::Display for NetPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+} micro-fen", self.0)
    }
}

/// The block at which a debtor's totals were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct ClosedBlock {
    /// Whose log.
    #[n(0)]
    pub debtor: BrandId,
    /// Height, 0 when there was none before the cut-off.
    #[n(1)]
    pub height: Height,
    /// Its id.
    #[n(2)]
    pub block: HeaderHash,
}

/// What one brand owes another before netting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct Debt {
    /// Who owes.
    #[n(0)]
    pub debtor: BrandId,
    /// To whom.
    #[n(1)]
    pub creditor: BrandId,
    /// How much.
    #[n(2)]
    pub value: Value,
}

/// One brand's net position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct Position {
    /// Whose.
    #[n(0)]
    pub brand: BrandId,
    /// Against all others together.
    #[n(1)]
    pub net: NetPosition,
}

/// One payment that would help discharge the net positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct Instruction {
    /// Who is to pay.
    #[n(0)]
    pub payer: BrandId,
    /// To whom.
    #[n(1)]
    pub payee: BrandId,
    /// How much.
    #[n(2)]
    pub value: Value,
}

/// What all brands owe each other at a cut-off; its bytes are the same wherever it is derived.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct Statement {
    /// Which alliance.
    #[n(0)]
    pub alliance: BrandId,
    /// Under which constitution.
    #[n(1)]
    pub epoch: Epoch,
    /// Hash of that constitution.
    #[n(2)]
    pub constitution: ConstitutionHash,
    /// The cut-off.
    #[n(3)]
    pub cut_off: Timestamp,
    /// Every log's last block before it, in the order of brands.
    #[n(4)]
    pub blocks: Vec<ClosedBlock>,
    /// Every debt that is not zero, in the order of debtors and creditors.
    #[n(5)]
    pub debts: Vec<Debt>,
    /// Every brand's net position, in the order of brands; they sum to zero.
    #[n(6)]
    pub positions: Vec<Position>,
    /// Payments that discharge the positions, fewer than there are brands.
    #[n(7)]
    pub instructions: Vec<Instruction>,
}

/// Why there is no statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClearingError {
    /// A brand's closing for this cut-off is not there.
    #[error("no closing of {0} for this cut-off")]
    Missing(BrandId),
    /// One brand closed twice.
    #[error("two closings of {0} for this cut-off")]
    Twice(BrandId),
    /// A closing by, or a debt to, someone who is no member.
    #[error("{0} is no brand of the alliance")]
    Stranger(BrandId),
    /// A closing for another cut-off.
    #[error("the closing of {0} is for another cut-off")]
    CutOff(BrandId),
    /// More than an amount can be.
    #[error("the net position of {0} is outside the range of an amount")]
    Range(BrandId),
}

impl Statement {
    /// Nets the closings of all brands for one cut-off; their order does not matter.
    ///
    /// # Errors
    /// When there is not exactly one closing a brand for this cut-off, or a position is out of range.
    pub fn derive<'a>(
        constitution: &Constitution,
        cut_off: Timestamp,
        closings: impl IntoIterator<Item = &'a CheckedClosing>,
    ) -> Result<Self, ClearingError> {
        let mut by_debtor: BTreeMap<BrandId, &CheckedClosing> = BTreeMap::new();
        for closing in closings {
            let debtor = closing.debtor;
            if closing.cut_off != cut_off {
                return Err(ClearingError::CutOff(debtor));
            }
            if by_debtor.insert(debtor, closing).is_some() {
                return Err(ClearingError::Twice(debtor));
            }
        }
        let mut net: BTreeMap<BrandId, i128> =
            constitution.brands().map(|(brand, _)| (brand, 0)).collect();
        if let Some(missing) = net.keys().find(|brand| !by_debtor.contains_key(brand)) {
            return Err(ClearingError::Missing(*missing));
        }
        let mut debts = Vec::new();
        for (debtor, closing) in &by_debtor {
            for (creditor, value) in &closing.sent {
                let micro_fen = i128::from(value.get());
                // at most 21 x 20 debts of 10^18
                for (brand, change) in [(debtor, micro_fen.saturating_neg()), (creditor, micro_fen)]
                {
                    let position = net.get_mut(brand).ok_or(ClearingError::Stranger(*brand))?;
                    *position = position.saturating_add(change);
                }
                if !value.is_zero() {
                    debts.push(Debt { debtor: *debtor, creditor: *creditor, value: *value });
                }
            }
            if !net.contains_key(debtor) {
                return Err(ClearingError::Stranger(*debtor));
            }
        }
        let positions = net
            .into_iter()
            .map(|(brand, net)| {
                let net = NetPosition::new(net).ok_or(ClearingError::Range(brand))?;
                Ok(Position { brand, net })
            })
            .collect::<Result<Vec<_>, ClearingError>>()?;
        Ok(Self {
            alliance: constitution.alliance(),
            epoch: constitution.epoch(),
            constitution: constitution.hash(),
            cut_off,
            blocks: by_debtor.values().map(|closing| closing.block).collect(),
            debts,
            instructions: instructions(&positions),
            positions,
        })
    }

    /// The bytes that are hashed: deterministic CBOR.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// What every node enters in its log.
    #[must_use]
    pub fn hash(&self) -> StatementHash {
        StatementHash::from_bytes(sha256(&[STATEMENT_DOMAIN, &self.to_bytes()]))
    }

    /// One brand's net position.
    #[must_use]
    pub fn position(&self, brand: BrandId) -> Option<NetPosition> {
        self.positions.iter().find(|position| position.brand == brand).map(|found| found.net)
    }
}

/// Payments that discharge the positions. Greedy: first whoever can be settled with one payment on
/// both sides, else the largest payer pays the largest payee; of equals the first by id. Every payment
/// settles at least one brand and the last one two, so that there are fewer payments than brands.
fn instructions(positions: &[Position]) -> Vec<Instruction> {
    let open = |side: fn(NetPosition) -> Value| -> BTreeMap<BrandId, Value> {
        let amounts = positions.iter().map(|position| (position.brand, side(position.net)));
        amounts.filter(|(_, value)| !value.is_zero()).collect()
    };
    let (mut payers, mut payees) = (open(NetPosition::pays), open(NetPosition::receives));
    let mut instructions = Vec::new();
    while let Some((payer, payee)) =
        exact_pair(&payers, &payees).or_else(|| largest(&payers).zip(largest(&payees)))
    {
        let value = payer.1.min(payee.1);
        settle(&mut payers, payer, value);
        settle(&mut payees, payee, value);
        instructions.push(Instruction { payer: payer.0, payee: payee.0, value });
    }
    instructions
}

type Amount = (BrandId, Value);

fn exact_pair(
    payers: &BTreeMap<BrandId, Value>,
    payees: &BTreeMap<BrandId, Value>,
) -> Option<(Amount, Amount)> {
    payers.iter().find_map(|(payer, value)| {
        let (payee, _) = payees.iter().find(|(_, wanted)| *wanted == value)?;
        Some(((*payer, *value), (*payee, *value)))
    })
}

fn largest(amounts: &BTreeMap<BrandId, Value>) -> Option<Amount> {
    // `max_by_key` gives the last of equals, hence from the end
    amounts.iter().rev().max_by_key(|(_, value)| **value).map(|(brand, value)| (*brand, *value))
}

fn settle(amounts: &mut BTreeMap<BrandId, Value>, (brand, before): Amount, by: Value) {
    let rest = before.saturating_minus(by);
    if rest.is_zero() {
        amounts.remove(&brand);
    } else {
        amounts.insert(brand, rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constitution::tests::draft;
    use crate::crypto::sealed::SealingContext;
    use crate::ids::{BlockNonce, Commitment, FragmentsRoot, LeafIndex, RootHash};
    use crate::log::block::{Column, Recognised};
    use proptest::prelude::*;

    const BRANDS: u8 = 5;

    fn constitution() -> Constitution {
        Constitution::new(draft(BRANDS)).unwrap()
    }

    fn brand(number: usize) -> BrandId {
        let letter = char::from(b'a' + u8::try_from(number).unwrap());
        BrandId::new(&letter.to_string()).unwrap()
    }

    /// A header at a height and time with these totals, in the order of the other brands.
    fn header(log: usize, height: u64, time: u64, previous: HeaderHash, sent: &[u64]) -> Header {
        let context =
            SealingContext { log: brand(log), nonce: BlockNonce::from_bytes([height as u8; 16]) };
        let others = (0..usize::from(BRANDS)).filter(|other| *other != log);
        let column = |other, sent| {
            let key = context.column_key(&BlockSecret::from_bytes([1; 32]), brand(other));
            let (_, sealing) = SealingSecret::derive(&[9; 32]);
            Column {
                counterparty: brand(other),
                opening: context.wrap("x", &sealing, &[1; 32], b"x").unwrap(),
                key: Commitment::from_bytes([0; 32]),
                content: content(sent).commitment(&context.totals_salt(&key)),
                sent: Value::ZERO,
                recognised: Recognised::NOTHING,
            }
        };
        Header {
            version: 0,
            log: brand(log),
            height: Height::new(height),
            epoch: Epoch::new(1),
            time: Timestamp::from_unix_ms(time),
            first: LeafIndex::new(0),
            body_leaves: 7,
            public_leaves: 0,
            body_bytes: 0,
            previous,
            previous_root: RootHash::from_bytes([0; 32]),
            body_root: RootHash::from_bytes([0; 32]),
            nonce: context.nonce,
            fragments: FragmentsRoot::from_bytes([0; 32]),
            secrets: Vec::new(),
            columns: others.zip(sent).map(|(other, sent)| column(other, *sent)).collect(),
        }
    }

    fn content(sent: u64) -> ColumnContent {
        ColumnContent { sent: Value::new(sent).unwrap(), ..ColumnContent::nothing() }
    }

    fn cut_off() -> Timestamp {
        Timestamp::from_unix_ms(100)
    }

    fn closing(header: &Header, sent: &[u64]) -> Closing {
        let context = header.context();
        let open = |column: &Column, sent: &u64| {
            let key = context.column_key(&BlockSecret::from_bytes([1; 32]), column.counterparty);
            ColumnDisclosure {
                counterparty: column.counterparty,
                content: content(*sent),
                salt: context.totals_salt(&key),
            }
        };
        Closing {
            cut_off: cut_off(),
            height: header.height,
            block: header.to_leaf().1,
            columns: header.columns.iter().zip(sent).map(|(c, sent)| open(c, sent)).collect(),
        }
    }

    fn checked(log: usize, sent: &[u64]) -> CheckedClosing {
        let last = header(log, 3, 100, HeaderHash::GENESIS, sent);
        let id = last.to_leaf().1;
        let next = header(log, 4, 101, id, sent);
        check_closing(&closing(&last, sent), Some((&last, id)), &next).unwrap()
    }

    #[test]
    fn a_closing_is_of_the_last_block_and_its_own_totals() {
        let sent = [1, 2, 3, 4];
        let last = header(0, 3, 100, HeaderHash::GENESIS, &sent);
        let id = last.to_leaf().1;
        let next = |time, previous| header(0, 4, time, previous, &sent);
        let check = |closing: &Closing, next: &Header| {
            check_closing(closing, Some((&last, id)), next).map(|_| ())
        };
        let good = closing(&last, &sent);
        assert_eq!(check(&good, &next(101, id)), Ok(()));

        let too_early = check(&good, &next(100, id));
        assert_eq!(too_early, Err(ClosingError::NotTheLast(Height::new(4))));
        let elsewhere = check(&good, &next(101, HeaderHash::GENESIS));
        assert_eq!(elsewhere, Err(ClosingError::Block(Height::new(3))));
        let mut late = good.clone();
        late.cut_off = Timestamp::from_unix_ms(99);
        assert_eq!(check(&late, &next(101, id)), Err(ClosingError::AfterCutOff(Height::new(3))));
        let lower = closing(&last, &[1, 2, 2, 4]);
        assert_eq!(check(&lower, &next(101, id)), Err(ClosingError::Totals(brand(3))));
        let mut fewer = good.clone();
        fewer.columns.pop();
        assert_eq!(check(&fewer, &next(101, id)), Err(ClosingError::Columns));
        // "no block before the cut-off" is no way out of a block that is there
        let mut none = good;
        (none.height, none.block, none.columns) = (Height::new(0), HeaderHash::GENESIS, Vec::new());
        assert_eq!(check(&none, &next(101, id)), Err(ClosingError::Block(Height::new(0))));
        let first = header(0, 1, 101, HeaderHash::GENESIS, &sent);
        assert!(check_closing(&none, None, &first).is_ok());
        let early = header(0, 1, 100, HeaderHash::GENESIS, &sent);
        assert_eq!(
            check_closing(&none, None, &early),
            Err(ClosingError::NotTheLast(Height::new(1)))
        );
    }

    #[test]
    fn all_brands_close_once_for_the_same_cut_off() {
        let constitution = constitution();
        let mut closings: Vec<_> = (0..5).map(|log| checked(log, &[1, 1, 1, 1])).collect();
        let derive = |closings: &[CheckedClosing]| {
            Statement::derive(&constitution, cut_off(), closings).map(|statement| statement.hash())
        };
        let good = derive(&closings).unwrap();
        assert_eq!(derive(&closings[1..]), Err(ClearingError::Missing(brand(0))));
        closings.push(closings[2].clone());
        assert_eq!(derive(&closings), Err(ClearingError::Twice(brand(2))));
        closings.pop();
        closings[4] = checked(4, &[1, 1, 1, 2]);
        assert_ne!(derive(&closings), Ok(good));
        closings[4].cut_off = Timestamp::from_unix_ms(7);
        assert_eq!(derive(&closings), Err(ClearingError::CutOff(brand(4))));
        // four brands owe one the most there is: more than an amount
        let most = Value::MAX.get();
        let closings: Vec<_> = (0..5).map(|log| checked(log, &[most, 0, 0, 0])).collect();
        assert_eq!(derive(&closings), Err(ClearingError::Range(brand(0))));
    }

    fn totals() -> impl Strategy<Value = Vec<Vec<u64>>> {
        let small_or_large = prop_oneof![0..4_u64, 0..200_000_000_000_000_000_u64];
        prop::collection::vec(prop::collection::vec(small_or_large, 4), 5)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn nets_are_the_bilateral_sums_and_instructions_discharge_them(
            totals in totals(), rotation in 0..5_usize,
        ) {
            let constitution = constitution();
            let mut closings: Vec<_> =
                totals.iter().enumerate().map(|(log, sent)| checked(log, sent)).collect();
            let statement = Statement::derive(&constitution, cut_off(), &closings).unwrap();
            closings.rotate_left(rotation);
            let again = Statement::derive(&constitution, cut_off(), &closings).unwrap();
            prop_assert_eq!(statement.hash(), again.hash());
            let read: Statement = codec::decode("it", &statement.to_bytes(), 65_536).unwrap();
            prop_assert_eq!(&read, &statement);

            // brand by brand, from the matrix as it was put in
            let owes = |from: usize, to: usize| -> i128 {
                if from == to { return 0 }
                i128::from(totals[from][if to < from { to } else { to - 1 }])
            };
            let mut left: BTreeMap<BrandId, i128> = BTreeMap::new();
            for x in 0..5 {
                let net: i128 = (0..5).map(|y| owes(y, x) - owes(x, y)).sum();
                let position = statement.position(brand(x)).unwrap();
                prop_assert_eq!(i128::from(position.micro_fen()), net);
                left.insert(brand(x), net);
            }
            prop_assert_eq!(left.values().sum::<i128>(), 0);
            for Instruction { payer, payee, value } in &statement.instructions {
                *left.get_mut(payer).unwrap() += i128::from(value.get());
                *left.get_mut(payee).unwrap() -= i128::from(value.get());
            }
            prop_assert!(left.values().all(|rest| *rest == 0));
            prop_assert!(statement.instructions.len() < 5);
        }
    }

    #[test]
    fn one_payment_settles_two_where_it_can() {
        let position = |number, net| Position { brand: brand(number), net: NetPosition(net) };
        let positions =
            [position(0, -6), position(1, 4), position(2, 5), position(3, -4), position(4, 1)];
        let pairs: Vec<_> = instructions(&positions)
            .iter()
            .map(|it| (it.payer.to_string() + it.payee.as_str(), it.value.get()))
            .collect();
        let expected = [("db", 4), ("ac", 5), ("ae", 1)];
        assert_eq!(pairs, expected.map(|(pair, value)| (pair.to_owned(), value)));
    }
}
