mod before;
mod counted;

use std::collections::BTreeMap;

use super::*;
use crate::amount::Value;
use crate::codec;
use crate::constitution::Constitution;
use crate::constitution::tests::draft;
use crate::crypto::sealed::{
    BlockSecret, Cipher, KeyRing, SealError, Sealing, SealingContext, SealingSecret,
};
use crate::ids::{
    BlockNonce, BrandId, Commitment, Epoch, FragmentsRoot, HeaderHash, Height, LeafIndex, RootHash,
};
use crate::log::block::{Closing, Column, ColumnContent, Header, Recognised};
use crate::log::settlement::Discharge;
use crate::time::Timestamp;
use proptest::prelude::*;

const BRANDS: u8 = 5;

pub(super) fn constitution() -> Constitution {
    Constitution::new(draft(BRANDS)).unwrap()
}

pub(super) fn brand(number: usize) -> BrandId {
    let letter = char::from(b'a' + u8::try_from(number).unwrap());
    BrandId::new(&letter.to_string()).unwrap()
}

fn ring() -> KeyRing {
    KeyRing::new(SealingSecret::derive(&[9; 32]).0).unwrap()
}

/// A header at a height and time with these totals, in the order of the other brands.
fn header(log: usize, height: u64, time: u64, previous: HeaderHash, sent: &[u64]) -> Header {
    let (nonce, cipher) = (BlockNonce::from_bytes([height as u8; 16]), Cipher::default());
    let context = SealingContext { log: brand(log), nonce, cipher };
    let others = (0..usize::from(BRANDS)).filter(|other| *other != log);
    let sealing = ring().current();
    let wrap = |to: &str| context.wrap(to, &sealing, &[1; 32], &[1; 32]).unwrap();
    let column = |other, sent| {
        let key = context.column_key(&BlockSecret::from_bytes([1; 32]), brand(other));
        Column {
            counterparty: brand(other),
            opening: wrap(brand(other).as_str()),
            key: Commitment::from_bytes([0; 32]),
            content: content(sent).commitment(&context.totals_salt(&key)),
            sent: Value::ZERO,
            recognised: Recognised::NOTHING,
            confirmed: Value::ZERO,
            discharged: Discharge::NOTHING,
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
        secrets: vec![wrap("recovery"), wrap(brand(log).as_str())],
        columns: others.zip(sent).map(|(other, sent)| column(other, *sent)).collect(),
        sealing: Sealing { cipher, key: sealing, since: Timestamp::from_unix_ms(time) },
    }
}

fn content(sent: u64) -> ColumnContent {
    ColumnContent { sent: Value::new(sent).unwrap(), ..ColumnContent::nothing() }
}

pub(super) fn cut_off() -> Timestamp {
    Timestamp::from_unix_ms(100)
}

/// As the writer makes it.
fn closing(header: &Header, sent: &[u64]) -> Closing {
    let contents: Vec<ColumnContent> = sent.iter().map(|sent| content(*sent)).collect();
    let last = Some((header, header.to_leaf().1));
    close(cut_off(), last, &ring(), &contents).unwrap()
}

pub(super) fn checked(log: usize, sent: &[u64]) -> CheckedClosing {
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
    let mut lower = good.clone();
    lower.columns[2].content = content(2);
    assert_eq!(check(&lower, &next(101, id)), Err(ClosingError::Totals(brand(3))));
    let contents = [1, 2, 2, 4].map(content);
    let own = ring();
    assert_eq!(close(cut_off(), Some((&last, id)), &own, &contents), Err(SealError::WrongKey));
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
    assert_eq!(check_closing(&none, None, &early), Err(ClosingError::NotTheLast(Height::new(1))));
}

#[test]
fn all_brands_close_once_for_the_same_cut_off() {
    let constitutions = constitution().into();
    let mut closings: Vec<_> = (0..5).map(|log| checked(log, &[1, 1, 1, 1])).collect();
    let derive = |closings: &[CheckedClosing]| {
        Statement::derive(&constitutions, cut_off(), closings, &Absent::default())
            .map(|statement| statement.hash())
    };
    let good = derive(&closings).unwrap();
    assert_eq!(derive(&closings[1..]), Err(ClearingError::Missing(brand(0))));
    closings.push(closings[2].clone());
    assert_eq!(derive(&closings), Err(ClearingError::Twice(brand(2))));
    closings.pop();
    closings[4] = checked(4, &[1, 1, 1, 2]);
    assert_ne!(derive(&closings), Ok(good));
    let seven = Timestamp::from_unix_ms(7);
    let other = Statement::derive(&constitutions, seven, &closings, &Absent::default());
    assert_eq!(other.unwrap_err(), ClearingError::CutOff(brand(0)));
    // four brands owe one the most there is: more than an amount
    let most = Value::MAX.get();
    let closings: Vec<_> = (0..5).map(|log| checked(log, &[most, 0, 0, 0])).collect();
    assert_eq!(derive(&closings), Err(ClearingError::Range(brand(0))));
}

fn totals() -> impl Strategy<Value = Vec<Vec<u64>>> {
    let small_or_large = prop_oneof![0..4_u64, 0..9_000_000_u64, 0..200_000_000_000_000_000_u64];
    prop::collection::vec(prop::collection::vec(small_or_large, 4), 5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn nets_are_the_bilateral_sums_and_instructions_settle_them_to_the_fen(
        totals in totals(), rotation in 0..5_usize,
    ) {
        let constitutions = constitution().into();
        let mut closings: Vec<_> =
            totals.iter().enumerate().map(|(log, sent)| checked(log, sent)).collect();
        let statement = Statement::derive(&constitutions, cut_off(), &closings, &Absent::default()).unwrap();
        closings.rotate_left(rotation);
        let again = Statement::derive(&constitutions, cut_off(), &closings, &Absent::default()).unwrap();
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
        // less than a fen for each payment is left, and it is what is carried
        let carried: BTreeMap<BrandId, i128> =
            statement.carried().iter().map(|it| (it.brand, i128::from(it.net.micro_fen()))).collect();
        prop_assert_eq!(&left, &carried);
        prop_assert!(left.values().all(|rest| rest.abs() < 4 * 1_000_000));
        prop_assert_eq!(left.values().sum::<i128>(), 0);
        prop_assert!(statement.instructions.len() < 5);
    }
}
