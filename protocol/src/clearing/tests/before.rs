//! What was closed out before somebody joined, said again: `e` leaves, `f` joins with the same constitution.

use std::collections::BTreeMap;

use super::counted::{STAYING, block, chain, closing};
use super::{cut_off, header};
use crate::amount::Value;
use crate::clearing::{Absent, CheckedClosing, ClearingError, ClosingError, Statement};
use crate::codec;
use crate::epochs::Constitutions;
use crate::ids::{BrandId, Epoch, HeaderHash, Height};
use crate::log::block::{Closing, Header};
use crate::log::closed_out::ClosedOutBefore;
use crate::world::id;

/// In which block each of those who stay closes `e` out.
const CLOSED_OUT: u64 = 4;
/// The first block of each log that `f` is shown.
const BEGAN: u64 = 5;
/// The block that each of them closes.
const CLOSED: u64 = 6;

fn value(micro_fen: u64) -> Value {
    Value::new(micro_fen).unwrap()
}

/// What those know who were there when these logs were closed out, as it is read back from a disk.
fn member_of(logs: &[&str]) -> Absent {
    let confirmed: BTreeMap<BrandId, Value> = STAYING.map(|by| (id(by), value(2))).into();
    let pair = (Height::new(CLOSED_OUT), value(70_000_000), value(50_000_000));
    let pairs: BTreeMap<BrandId, (Height, Value, Value)> = STAYING.map(|by| (id(by), pair)).into();
    let one = |log: &&str| (id(log), (block(id(log), 9), confirmed.clone(), pairs.clone()));
    let gone: BTreeMap<_, _> = logs.iter().map(one).collect();
    let of_all: BTreeMap<(BrandId, BrandId), Value> =
        [((id("a"), id("e")), value(3_000_000))].into();
    let stored = codec::encode(&(gone, of_all));
    let mut absent: Absent = codec::decode("what is closed out", &stored, 65_536).unwrap();
    absent.read(&chain());
    absent
}

fn member() -> Absent {
    member_of(&["e"])
}

/// The block that a brand closes: under the second constitution, so without a column for `e`.
fn closed(by: &str) -> Header {
    let place = STAYING.iter().position(|other| *other == by).unwrap();
    let mut header = header(place, CLOSED, 100, HeaderHash::GENESIS, &[0; 4]);
    header.epoch = Epoch::new(2);
    header.columns.last_mut().unwrap().counterparty = id("f");
    header
}

/// What `f` knows before anybody closes anything.
fn joiner() -> Absent {
    let mut absent = Absent::under(&chain());
    for by in STAYING {
        let head = Header { height: Height::new(BEGAN - 1), ..closed(by) };
        absent.begins(&head);
    }
    absent
}

/// What a brand enters, and as it is checked.
fn entered(by: &str, known: &Absent) -> (Closing, CheckedClosing) {
    let checked = closing(id(by), CLOSED, 2);
    let (height, block) = (Height::new(CLOSED), checked.block().block);
    let closed_out = known.say_again(id(by), Some(&closed(by)), &chain());
    let columns = Vec::new();
    (Closing { cut_off: cut_off(), height, block, columns, closed_out }, checked)
}

/// What `me` makes of it.
fn take(
    absent: &mut Absent,
    me: &str,
    (closing, checked): &(Closing, CheckedClosing),
) -> Result<(), ClosingError> {
    let from = absent.follows(id(me), checked.debtor(), &chain());
    absent.said_again((closing, checked), from, &chain())
}

fn derive(absent: &Absent) -> Result<Statement, ClearingError> {
    let mut closings = STAYING.map(|by| closing(id(by), CLOSED, 2)).to_vec();
    closings.push(closing(id("f"), 2, 2));
    Statement::derive(&chain(), cut_off(), &closings, absent)
}

/// What `a` says of `e`, changed.
fn changed(change: impl FnOnce(&mut ClosedOutBefore)) -> (Closing, CheckedClosing) {
    let mut it = entered("a", &member());
    change(&mut it.0.closed_out.as_mut().unwrap()[0]);
    it
}

#[test]
fn a_brand_that_joins_derives_the_statement_of_those_who_were_there() {
    let of_members = derive(&member()).unwrap();
    assert_eq!(of_members.positions.len(), 6);
    assert!(of_members.payments.iter().any(|it| (it.payer, it.payee) == (id("e"), id("a"))));
    let mut joiner = joiner();
    for by in STAYING {
        // until the last of them has said it again
        assert_eq!(derive(&joiner), Err(ClearingError::Missing(id("e"))));
        let it = entered(by, &member());
        take(&mut joiner, "f", &it).unwrap();
        // and those who were there find it true
        take(&mut member(), "b", &it).unwrap();
    }
    assert_eq!(derive(&joiner).unwrap().hash(), of_members.hash());
    assert!(joiner.brands().contains(&id("e")));
    // from a snapshot too
    let stored = codec::encode(&joiner);
    let mut again: Absent = codec::decode("it", &stored, stored.len()).unwrap();
    again.read(&chain());
    assert_eq!(again, joiner);
}

#[test]
fn it_is_said_where_somebody_needs_it_and_changes_no_other_closing() {
    let (mut it, _) = entered("a", &member());
    assert_eq!(it.closed_out.as_ref().map(Vec::len), Some(1));
    // closed out after the block that is closed
    let early = Header { height: Height::new(CLOSED_OUT - 1), ..closed("a") };
    assert_eq!(member().say_again(id("a"), Some(&early), &chain()), None);
    assert_eq!(member().say_again(id("a"), None, &chain()), None);
    // no constitution has ended it, nor has anybody joined
    let first_alone = Constitutions::from(chain().first().clone());
    assert_eq!(member().say_again(id("a"), Some(&closed("a")), &first_alone), None);
    let read: Closing = codec::decode("a closing", &codec::encode(&it), 65_536).unwrap();
    assert_eq!(read, it);
    // without it the bytes are those of before there was such a field
    it.closed_out = None;
    let before = codec::encode(&(it.cut_off, it.height, it.block, it.columns.clone()));
    assert_eq!(codec::encode(&it), before);
}

#[test]
fn who_was_there_finds_every_lie() {
    let lies: [fn(&mut ClosedOutBefore); 10] = [
        |it| it.received = value(70_000_001),
        |it| it.total = value(49_999_999),
        |it| it.height = Height::new(CLOSED_OUT - 1),
        |it| it.last = Height::new(8),
        |it| it.block = HeaderHash::GENESIS,
        |it| it.confirmed[1].value = value(1),
        |it| it.confirmed.truncate(3),
        |it| it.paid = Some(value(2_999_999)),
        |it| it.paid = None,
        // of a brand that nobody has closed out
        |it| it.log = id("d"),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let it = changed(lie);
        let about = it.0.closed_out.as_ref().unwrap()[0].log;
        let mut member = member();
        let before = member.clone();
        let found = take(&mut member, "b", &it);
        assert_eq!(found, Err(ClosingError::ClosedOut(about)), "{number}");
        assert_eq!(member, before, "{number}");
    }
    // what follows is no list at all
    let forms: [fn(&mut Vec<ClosedOutBefore>); 4] = [
        Vec::clear,
        |all| all.push(all[0].clone()),
        |all| all[0].height = Height::new(CLOSED + 1),
        |all| all[0].confirmed.reverse(),
    ];
    for (number, form) in forms.into_iter().enumerate() {
        let mut it = entered("a", &member());
        form(it.0.closed_out.as_mut().unwrap());
        assert_eq!(take(&mut member(), "b", &it), Err(ClosingError::ClosedOutForm), "{number}");
    }
    // one of two is left out
    let two = member_of(&["e", "g"]);
    let mut it = entered("a", &two);
    it.0.closed_out.as_mut().unwrap().remove(0);
    assert_eq!(take(&mut two.clone(), "b", &it), Err(ClosingError::LeftOut(id("e"))));
}

#[test]
fn who_joined_is_lied_to_until_the_next_closing_and_never_told_that_one_is_gone_who_is_not() {
    let right = derive(&member()).unwrap().hash();
    let mut joiner = joiner();
    let rest = STAYING.into_iter().filter(|by| *by != "a");
    rest.for_each(|by| take(&mut joiner, "f", &entered(by, &member())).unwrap());
    // of its own pair it says what it likes, and stands alone with it
    take(&mut joiner, "f", &changed(|it| it.received = value(1))).unwrap();
    assert_ne!(derive(&joiner).unwrap().hash(), right);
    // two tell of different ends
    take(&mut joiner, "f", &changed(|it| it.last = Height::new(8))).unwrap();
    assert_eq!(derive(&joiner), Err(ClearingError::Missing(id("e"))));
    // a brand that is written is not gone, whoever says so
    let gone = changed(|it| {
        it.log = id("d");
        it.confirmed.clear();
        it.paid = None;
    });
    take(&mut joiner, "f", &gone).unwrap();
    assert!(!joiner.brands().contains(&id("d")));
    assert_eq!(derive(&joiner), Err(ClearingError::Missing(id("e"))));
    // what it was shown itself it knows
    let shown = changed(|it| it.height = Height::new(BEGAN));
    assert_eq!(take(&mut joiner, "f", &shown), Err(ClosingError::ClosedOut(id("e"))));
    take(&mut joiner, "f", &entered("a", &member())).unwrap();
    assert_eq!(derive(&joiner).unwrap().hash(), right);
}
