//! The closings of all brands, netted into one statement.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use minicbor::{Decode, Encode};
use serde::Serialize;

use super::absent::Absent;
use super::closing::CheckedClosing;
use super::counted::Counted;
use crate::amount::Value;
use crate::codec;
use crate::crypto::sha256;
use crate::epochs::Constitutions;
use crate::ids::{BrandId, ConstitutionHash, Epoch, HeaderHash, Height, StatementHash};
use crate::time::Timestamp;

const STATEMENT_DOMAIN: &[u8] = b"coalition/0/clearing-statement\0";

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
    /// What every brand ever sent every other, where that is not zero, in the order of debtors and
    /// creditors.
    #[n(5)]
    pub debts: Vec<Debt>,
    /// Every brand's net position, in the order of brands: what was ever sent to it and what it ever
    /// paid, less what it ever sent and was paid. They sum to zero.
    #[n(6)]
    pub positions: Vec<Position>,
    /// Payments that settle the positions to less than a fen each, in whole fen; fewer than there are
    /// brands.
    #[n(7)]
    pub instructions: Vec<Instruction>,
    /// What every payee had ever confirmed of every payer, where that is not zero, in the order of
    /// payees and payers.
    #[n(8)]
    pub payments: Vec<Instruction>,
}

/// Why there is no statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClearingError {
    /// A brand's closing for this cut-off is not there; or it has left or ended, and not everyone had
    /// closed it out by then.
    #[error("no closing of {0} for this cut-off, and not everyone had closed it out by then")]
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
    /// A closed block is under a constitution that is not known here.
    #[error("the block that {0} has closed is under a constitution that is not known here")]
    Constitution(BrandId),
    /// More than an amount can be.
    #[error("the net position of {0} is outside the range of an amount")]
    Range(BrandId),
}

impl Statement {
    /// Nets the closings of all brands for one cut-off; their order does not matter, nor does what has
    /// come beside what they close: `protocol/spec/clearing.md` says who is counted. A brand that
    /// is `absent` needs none.
    ///
    /// # Errors
    /// When somebody who is to be counted is not there yet, somebody closed twice or another cut-off, or a
    /// position is out of range.
    pub fn derive<'a>(
        constitutions: &Constitutions,
        cut_off: Timestamp,
        closings: impl IntoIterator<Item = &'a CheckedClosing>,
        absent: &Absent,
    ) -> Result<Self, ClearingError> {
        let mut by_debtor: BTreeMap<BrandId, &CheckedClosing> = BTreeMap::new();
        for closing in closings {
            let debtor = closing.debtor();
            if closing.cut_off() != cut_off {
                return Err(ClearingError::CutOff(debtor));
            }
            if by_debtor.insert(debtor, closing).is_some() {
                return Err(ClearingError::Twice(debtor));
            }
        }
        let whole = absent.with_said_again();
        let absent: &Absent = &whole;
        let counted = Counted::of(constitutions, &by_debtor, absent)?;
        let Counted { constitution, closings: by_debtor, taken } = counted;
        let brands = by_debtor.keys().chain(&taken).copied();
        let mut net: BTreeMap<BrandId, i128> = brands.map(|brand| (brand, 0)).collect();
        let totals = Totals::of(&by_debtor, &taken, absent);
        let mut paid = totals.paid;
        for one in absent.written_off(constitution.epoch()) {
            let sum = paid.entry((one.creditor, one.debtor)).or_default();
            *sum = sum.plus(one.value).map_err(|_| ClearingError::Range(one.debtor))?;
        }
        // what is owed lowers the debtor's position, what was paid the payee's
        let owed = totals.sent.iter().map(|((debtor, creditor), value)| (debtor, creditor, value));
        let paid_off = paid.iter().map(|((payee, payer), value)| (payee, payer, value));
        for (less, more, value) in owed.chain(paid_off) {
            let micro_fen = i128::from(value.get());
            // at most 42 x 41 amounts of 10^18
            for (brand, change) in [(less, micro_fen.saturating_neg()), (more, micro_fen)] {
                let position = net.get_mut(brand).ok_or(ClearingError::Stranger(*brand))?;
                *position = position.saturating_add(change);
            }
        }
        let sent = totals.sent.iter().filter(|(_, value)| !value.is_zero());
        let debts = sent
            .map(|((debtor, creditor), value)| Debt {
                debtor: *debtor,
                creditor: *creditor,
                value: *value,
            })
            .collect();
        let paid = paid.iter().filter(|(_, value)| !value.is_zero());
        let payments = paid
            .map(|((payee, payer), value)| Instruction {
                payer: *payer,
                payee: *payee,
                value: *value,
            })
            .collect();
        let closed = by_debtor.values().map(|closing| closing.block());
        let mut blocks: Vec<ClosedBlock> =
            closed.chain(taken.iter().filter_map(|log| absent.block(*log))).collect();
        blocks.sort_unstable_by_key(|block| block.debtor);
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
            blocks,
            debts,
            payments,
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

    /// What is left of every position when all instructions are paid: parts of a fen that no payment
    /// can carry. Nothing is lost: positions are cumulative, so that it is in the next statement.
    #[must_use]
    pub fn carried(&self) -> Vec<Position> {
        let left = |position: &Position| {
            let paid = self.instructions.iter().fold(0_i64, |sum, it| {
                // at most 20 instructions of 10^18
                let value = i64::try_from(it.value.get()).unwrap_or(i64::MAX);
                if it.payer == position.brand {
                    sum.saturating_add(value)
                } else if it.payee == position.brand {
                    sum.saturating_sub(value)
                } else {
                    sum
                }
            });
            let net = NetPosition(position.net.0.saturating_add(paid));
            Position { brand: position.brand, net }
        };
        self.positions.iter().map(left).collect()
    }

    /// What one brand had ever sent another by the cut-off.
    #[must_use]
    pub fn sent(&self, debtor: BrandId, creditor: BrandId) -> Value {
        let found = self.debts.iter().find(|it| (it.debtor, it.creditor) == (debtor, creditor));
        found.map_or(Value::ZERO, |debt| debt.value)
    }

    /// One brand's net position.
    #[must_use]
    pub fn position(&self, brand: BrandId) -> Option<NetPosition> {
        self.positions.iter().find(|position| position.brand == brand).map(|found| found.net)
    }
}

/// What brands ever sent and paid each other, of which every position is made.
struct Totals {
    // by debtor and creditor
    sent: BTreeMap<(BrandId, BrandId), Value>,
    // by payee and payer
    paid: BTreeMap<(BrandId, BrandId), Value>,
}

impl Totals {
    fn of(
        closings: &BTreeMap<BrandId, &CheckedClosing>,
        taken: &BTreeSet<BrandId>,
        absent: &Absent,
    ) -> Self {
        let mut totals = Self { sent: BTreeMap::new(), paid: BTreeMap::new() };
        for (brand, closing) in closings {
            for log in taken {
                let (sent, received) = absent.pair(*brand, *log).unwrap_or_default();
                totals.sent.insert((*brand, *log), sent);
                totals.sent.insert((*log, *brand), received);
                totals.paid.insert((*log, *brand), absent.paid(*brand, *log));
                // what it confirmed after the cut-off is in the next statement
                let confirmed = match closing.block().height.get() {
                    0 => Value::ZERO,
                    _ => absent.paid(*log, *brand),
                };
                totals.paid.insert((*brand, *log), confirmed);
            }
            // what a brand's own closing says goes before what was last known
            for (creditor, value) in closing.sent() {
                totals.sent.insert((*brand, *creditor), *value);
            }
            for (payer, value) in closing.confirmed() {
                totals.paid.insert((*brand, *payer), *value);
            }
        }
        totals
    }
}

/// Payments that settle the positions. Greedy: first whoever can be settled with one payment on
/// both sides, else the largest payer pays the largest payee; of equals the first by id. Every payment
/// settles at least one brand and the last one two, so that there are fewer payments than brands. Of each
/// the whole fen are to be paid ([`Value::payable`]); one of less than a fen is left out.
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
        let (payer, payee, value) = (payer.0, payee.0, value.payable());
        instructions.push(Instruction { payer, payee, value });
    }
    instructions.retain(|it| it.value.is_payable());
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

    #[test]
    fn one_payment_settles_two_where_it_can() {
        let position = |brand: &str, net| Position {
            brand: BrandId::new(brand).unwrap(),
            net: NetPosition(i64::from(net) * 1_000_000),
        };
        let positions = [
            position("a", -6),
            position("b", 4),
            position("c", 5),
            position("d", -4),
            position("e", 1),
        ];
        let pairs: Vec<_> = instructions(&positions)
            .iter()
            .map(|it| (it.payer.to_string() + it.payee.as_str(), it.value.get() / 1_000_000))
            .collect();
        let expected = [("db", 4), ("ac", 5), ("ae", 1)];
        assert_eq!(pairs, expected.map(|(pair, value)| (pair.to_owned(), value)));
    }
}
