//! Who is counted across a change of constitution: `e` leaves with the second one, `f` joins with it, and
//! the closings and what is closed out come in any order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::cut_off;
use crate::amount::Value;
use crate::clearing::{Absent, CheckedClosing, ClearingError, ClosedBlock, Statement};
use crate::codec;
use crate::constitution::tests::draft;
use crate::epochs::Constitutions;
use crate::ids::{BrandId, Epoch, HeaderHash, Height};
use crate::world::{constitution, following, id};

pub(super) const STAYING: [&str; 4] = ["a", "b", "c", "d"];
/// In which block of its log `e` ended.
const END: u64 = 9;

/// Brands `a` to `e`; then `e` leaves and `f` joins.
pub(super) fn chain() -> Constitutions {
    let (first, six) = (draft(5), draft(6));
    let second = following(&first, |it| {
        (it.brands, it.rates) = (six.brands, six.rates);
        it.brands.remove(&id("e"));
        it.rates.retain(|(from, to), _| *from != id("e") && *to != id("e"));
    });
    let mut chain = Constitutions::from(constitution(&first));
    chain.follow(constitution(&second)).unwrap();
    chain
}

/// The columns of a block under one of the two.
fn columns(log: BrandId, epoch: u32) -> impl Iterator<Item = BrandId> {
    let last = if epoch == 1 { "e" } else { "f" };
    STAYING.into_iter().chain([last]).map(id).filter(move |other| *other != log)
}

/// What a brand has ever sent another by a block.
fn amount(from: BrandId, to: BrandId, height: u64) -> Value {
    let letter = |brand: BrandId| u64::from(brand.as_str().as_bytes()[0]);
    Value::new(1_000_000 * height * (3 * letter(from) + letter(to))).unwrap()
}

pub(super) fn block(debtor: BrandId, height: u64) -> ClosedBlock {
    let block = HeaderHash::from_bytes([u8::try_from(height).unwrap(); 32]);
    ClosedBlock { debtor, height: Height::new(height), block }
}

/// Something that a log says of the cut-off or of `e`.
#[derive(Clone, Copy, Debug)]
enum Said {
    /// The block that it closes, 0 for none, and under which constitution that is.
    Closing(u64, u32),
    /// It closes `e` out in this block.
    ClosedOut(u64),
}

/// A closing that was checked, as it is read back from a disk.
pub(super) fn closing(log: BrandId, height: u64, epoch: u32) -> CheckedClosing {
    let columns = columns(log, epoch).filter(|_| height > 0);
    let sent: BTreeMap<BrandId, Value> =
        columns.map(|other| (other, amount(log, other, height))).collect();
    let confirmed: BTreeMap<BrandId, Value> = sent.keys().map(|it| (*it, Value::ZERO)).collect();
    let stored =
        codec::encode(&(cut_off(), block(log, height), Epoch::new(epoch), sent, confirmed));
    codec::decode("a closing", &stored, 65_536).unwrap()
}

/// What is known of `e` when these have closed it out, as it is read back from a disk.
fn absent(closed_out: &BTreeMap<BrandId, u64>) -> Absent {
    if closed_out.is_empty() {
        return Absent::default();
    }
    let e = id("e");
    let confirmed: BTreeMap<BrandId, Value> =
        columns(e, 1).map(|other| (other, Value::ZERO)).collect();
    let pair = |(by, height): (&BrandId, &u64)| {
        (*by, (Height::new(*height), amount(e, *by, END), amount(*by, e, *height)))
    };
    let pairs: BTreeMap<BrandId, (Height, Value, Value)> = closed_out.iter().map(pair).collect();
    let gone = BTreeMap::from([(e, (block(e, END), confirmed, pairs))]);
    let of_all: BTreeMap<(BrandId, BrandId), Value> = BTreeMap::new();
    codec::decode("what is closed out", &codec::encode(&(gone, of_all)), 65_536).unwrap()
}

/// What follows from what has come.
fn derive(said: &[(BrandId, Said)]) -> Result<Statement, ClearingError> {
    let mut closings = Vec::new();
    let mut closed_out = BTreeMap::new();
    for (log, said) in said {
        match *said {
            Said::Closing(height, epoch) => closings.push(closing(*log, height, epoch)),
            Said::ClosedOut(height) => drop(closed_out.insert(*log, height)),
        }
    }
    Statement::derive(&chain(), cut_off(), &closings, &absent(&closed_out))
}

/// All who stay close the block of this height under this constitution; `e` and `f` say nothing.
fn all_at(height: u64, epoch: u32) -> Vec<(BrandId, Said)> {
    STAYING.map(|log| (id(log), Said::Closing(height, epoch))).to_vec()
}

fn close_out(said: &mut Vec<(BrandId, Said)>, logs: &[&str], height: u64) {
    said.extend(logs.iter().map(|log| (id(log), Said::ClosedOut(height))));
}

/// Whom a statement counts, and under which constitution; or who is missing.
fn counted(said: &[(BrandId, Said)]) -> Result<(String, u32), BrandId> {
    match derive(said) {
        Ok(statement) => {
            let sum: i64 = statement.positions.iter().map(|it| it.net.micro_fen()).sum();
            assert_eq!(sum, 0);
            let brands = statement.positions.iter().map(|it| it.brand.to_string()).collect();
            Ok((brands, statement.epoch.get()))
        }
        Err(ClearingError::Missing(brand)) => Err(brand),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_brand_that_left_is_counted_when_all_had_closed_it_out_and_never_left_out() {
    let with_f = |mut said: Vec<(BrandId, Said)>| {
        said.push((id("f"), Said::Closing(2, 2)));
        said
    };
    // nobody has: what its payments have gone round through would be asked for again
    let mut said = with_f(all_at(5, 2));
    assert_eq!(counted(&said), Err(id("e")));
    // some have
    close_out(&mut said, &["a", "b"], 5);
    assert_eq!(counted(&said), Err(id("e")));
    // all have, one of them after the block that it closes: of that cut-off there is no statement
    close_out(&mut said, &["c"], 4);
    let mut late = said.clone();
    close_out(&mut late, &["d"], 6);
    assert_eq!(counted(&late), Err(id("e")));
    close_out(&mut said, &["d"], 5);
    assert_eq!(counted(&said), Ok(("abcdef".to_owned(), 2)));
    // whether it had closed the cut-off itself makes no difference then
    let without = derive(&said).unwrap();
    said.push((id("e"), Said::Closing(4, 1)));
    assert_eq!(derive(&said).unwrap(), without);
    // and by its own closing alone it is counted as long as everyone's block has a column for it
    let mut own = all_at(5, 1);
    own.push((id("e"), Said::Closing(4, 1)));
    assert_eq!(counted(&own), Ok(("abcde".to_owned(), 1)));
    let mut one_is_past = with_f(own);
    one_is_past[0].1 = Said::Closing(6, 2);
    assert_eq!(counted(&one_is_past), Err(id("e")));
}

#[test]
fn a_brand_that_joins_is_counted_from_the_first_block_under_its_constitution_on() {
    let mut said = all_at(5, 1);
    said.push((id("e"), Said::Closing(5, 1)));
    let without = derive(&said).unwrap();
    // it had a block by then, and nobody else had taken up its constitution
    said.push((id("f"), Said::Closing(2, 2)));
    assert_eq!(derive(&said).unwrap(), without);
    said.rotate_right(1);
    assert_eq!(derive(&said).unwrap(), without);
    assert_eq!(counted(&said[1..]), Ok(("abcde".to_owned(), 1)));
    // somebody else had
    let mut said = all_at(5, 1);
    close_out(&mut said, &STAYING, 5);
    assert_eq!(counted(&said), Ok(("abcde".to_owned(), 1)));
    said[2].1 = Said::Closing(6, 2);
    assert_eq!(counted(&said), Err(id("f")));
    said.push((id("f"), Said::Closing(0, 2)));
    assert_eq!(counted(&said), Ok(("abcdef".to_owned(), 2)));
}

#[test]
fn an_empty_log_that_ended_is_nobodys_to_wait_for() {
    let e = id("e");
    let nothing: BTreeMap<BrandId, Value> = BTreeMap::new();
    let by_a = |height| {
        let pair = (Height::new(height), Value::ZERO, Value::ZERO);
        let pairs = BTreeMap::from([(id("a"), pair)]);
        let gone = BTreeMap::from([(e, (block(e, 0), nothing.clone(), pairs))]);
        let of_all: BTreeMap<(BrandId, BrandId), Value> = BTreeMap::new();
        let stored = codec::encode(&(gone, of_all));
        codec::decode::<Absent>("what is closed out", &stored, 65_536).unwrap()
    };
    let logs = [("a", 5), ("b", 5), ("c", 5), ("d", 5), ("f", 0)];
    let closings = logs.map(|(log, height)| closing(id(log), height, 2));
    let derive = |absent: &Absent| Statement::derive(&chain(), cut_off(), &closings, absent);
    assert_eq!(derive(&by_a(5)).unwrap().position(e).unwrap().micro_fen(), 0);
    // its end is shown by no block that is closed
    assert_eq!(derive(&by_a(6)), Err(ClearingError::Missing(e)));
}

#[test]
fn a_block_under_a_constitution_that_is_not_known_is_waited_for() {
    let mut said = all_at(5, 1);
    said.push((id("e"), Said::Closing(5, 1)));
    said[0].1 = Said::Closing(6, 3);
    assert_eq!(derive(&said), Err(ClearingError::Constitution(id("a"))));
}

/// What one of those who stay says, in the order of its log.
fn log() -> impl Strategy<Value = Vec<Said>> {
    (0..5_u64, 0..5_u64, prop::option::of(1..6_u64)).prop_map(|(closed, last_of_first, gone)| {
        let mut said = vec![Said::Closing(closed, if closed > last_of_first { 2 } else { 1 })];
        if let Some(height) = gone {
            said.insert(usize::from(height > closed), Said::ClosedOut(height));
        }
        said
    })
}

fn logs() -> impl Strategy<Value = Vec<(BrandId, Vec<Said>)>> {
    let staying = prop::collection::vec(log(), STAYING.len());
    let leaver = prop::option::of(0..5_u64);
    let joiner = prop::option::of(0..5_u64);
    (staying, leaver, joiner).prop_map(|(staying, leaver, joiner)| {
        let mut logs: Vec<_> = STAYING.into_iter().map(id).zip(staying).collect();
        logs.extend(leaver.map(|height| (id("e"), vec![Said::Closing(height, 1)])));
        logs.extend(joiner.map(|height| (id("f"), vec![Said::Closing(height, 2)])));
        logs
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// Each log comes in its own order, all of them in any; after everything that comes, whoever asks then
    /// has what the audit has at the end, or nothing yet.
    #[test]
    fn whatever_has_come_first_the_statement_is_the_same(
        logs in logs(), picks in prop::collection::vec(any::<prop::sample::Index>(), 10),
    ) {
        let whole: Vec<(BrandId, Said)> = logs
            .iter()
            .flat_map(|(log, said)| said.iter().map(move |it| (*log, *it)))
            .collect();
        let at_the_end = derive(&whole);
        let mut rest = logs;
        let mut come = Vec::new();
        for pick in picks {
            rest.retain(|(_, said)| !said.is_empty());
            if rest.is_empty() {
                break;
            }
            let place = pick.index(rest.len());
            let (log, said) = &mut rest[place];
            come.push((*log, said.remove(0)));
            if let Ok(statement) = derive(&come) {
                prop_assert_eq!(at_the_end.as_ref().map(Statement::hash), Ok(statement.hash()));
            }
        }
        prop_assert_eq!(come.len(), whole.len());
        prop_assert_eq!(derive(&come), at_the_end);
    }

    /// Many statements there are, of either constitution: the property above is not about nothing.
    #[test]
    fn who_is_counted_has_closed_or_was_closed_out_by_all(logs in logs()) {
        let whole: Vec<(BrandId, Said)> = logs
            .iter()
            .flat_map(|(log, said)| said.iter().map(move |it| (*log, *it)))
            .collect();
        let Ok(statement) = derive(&whole) else { return Ok(()) };
        for position in &statement.positions {
            let closed = |(log, said): &(BrandId, Said)| {
                *log == position.brand && matches!(said, Said::Closing(..))
            };
            let all_closed_it_out = position.brand == id("e")
                && STAYING.into_iter().map(id).all(|by| {
                    let of = whole.iter().filter(|(log, _)| *log == by).map(|(_, said)| *said);
                    let of: Vec<Said> = of.collect();
                    matches!(of[..], [Said::ClosedOut(_), Said::Closing(..)])
                });
            prop_assert!(whole.iter().any(closed) || all_closed_it_out);
        }
        let newest = whole.iter().filter_map(|(log, said)| match said {
            Said::Closing(_, epoch) if *log != id("f") => Some(*epoch),
            _ => None,
        });
        // of those who stay; `e` has no block under the second
        prop_assert_eq!(Some(statement.epoch.get()), newest.max());
    }
}
