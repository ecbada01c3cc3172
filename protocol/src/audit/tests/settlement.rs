//! Payments and discharges: a whole settlement, and logs that break one rule of it.

use std::collections::BTreeMap;

use super::fixture::{Alliance, CUT_OFF, Content, brand};
use super::places;
use crate::amount::Value;
use crate::clearing::{Absent, Settlement, Statement};
use crate::ids::{BrandId, StatementHash};
use crate::log::block::{PublicEntry, StatementEntry};
use crate::log::settlement::{Discharge, Payment, PaymentReference};
use crate::time::Timestamp;

const BRANDS: [&str; 4] = ["a", "b", "c", "d"];

/// Every brand has closed and entered the statement: a is to pay b 3 points' worth, c to pay d 5.
struct Agreed {
    it: Alliance,
    statement: Statement,
}

fn agreed(agreeing: &[&str]) -> Agreed {
    let mut it = Alliance::new(4);
    let sealed = vec![it.exchange("a", "b", 3)];
    it.block("a", Content { sealed, ..Content::default() });
    let sealed = vec![it.exchange("c", "d", 5)];
    it.block("c", Content { sealed, ..Content::default() });
    for (log, other) in [("b", "a"), ("d", "c")] {
        it.block(log, Content { recognised: vec![brand(other)], ..Content::default() });
    }
    let statement = it.close_all();
    let cut_off = Timestamp::from_unix_ms(CUT_OFF);
    for log in agreeing {
        let entry = StatementEntry { cut_off, statement: statement.hash() };
        enter(&mut it, log, PublicEntry::Statement(entry));
    }
    Agreed { it, statement }
}

fn enter(it: &mut Alliance, log: &str, entry: PublicEntry) {
    it.block(log, Content { public: vec![entry], ..Content::default() });
}

impl Agreed {
    fn payment(&self, payer: &str, payee: &str, points: u64) -> Payment {
        Payment {
            cut_off: self.statement.cut_off,
            statement: self.statement.hash(),
            payer: brand(payer),
            payee: brand(payee),
            value: Value::new(points * 1_000_000).unwrap(),
            reference: PaymentReference::new("HVPS-1").unwrap(),
        }
    }

    fn confirm(&mut self, payer: &str, payee: &str, points: u64) {
        let payment = self.payment(payer, payee, points);
        enter(&mut self.it, payee, PublicEntry::SettlementConfirmed(payment));
    }

    fn discharges(&self, log: &str) -> BTreeMap<BrandId, Discharge> {
        Settlement::new(self.statement.clone(), &Absent::default()).discharges(brand(log))
    }

    fn grant(&mut self, log: &str) {
        let discharged = self.discharges(log);
        self.it.block(log, Content { discharged, ..Content::default() });
    }

    fn places(&self) -> Vec<String> {
        places(&self.it.audit(&[]))
    }
}

#[test]
fn a_settlement_is_sound_from_the_payment_to_the_last_grant() {
    let mut on = agreed(&BRANDS);
    let payment = on.payment("a", "b", 3);
    enter(&mut on.it, "a", PublicEntry::Settled(payment));
    on.confirm("a", "b", 3);
    on.confirm("c", "d", 5);
    BRANDS.iter().for_each(|log| on.grant(log));
    // the debtor recognises the payee's grant, and owes nothing any more
    let recognised = vec![brand("b")];
    let header = on.it.block("a", Content { recognised, ..Content::default() });
    let column = header.column(brand("b")).unwrap();
    assert_eq!(column.recognised.discharged.received, Value::new(3_000_000).unwrap());
    let report = on.it.audit(&[]);
    assert_eq!(places(&report), Vec::<String>::new(), "{:?}", report.findings);
    assert_eq!(report.counts.payments, 3);
}

#[test]
pub(super) fn payments_that_no_statement_asks_for() {
    let one = |make: &dyn Fn(&Agreed) -> PublicEntry, log| {
        let mut on = agreed(&BRANDS);
        let entry = make(&on);
        enter(&mut on.it, log, entry);
        on.places()
    };
    let confirmed = |payer, payee, points| {
        move |on: &Agreed| PublicEntry::SettlementConfirmed(on.payment(payer, payee, points))
    };
    assert!(one(&confirmed("a", "b", 3), "b").is_empty());
    assert_eq!(one(&confirmed("a", "b", 4), "b"), ["b 4 24 clearing/payment"]);
    assert_eq!(one(&confirmed("c", "b", 3), "b"), ["b 4 24 clearing/payment"]);
    let settled = |on: &Agreed| PublicEntry::Settled(on.payment("a", "d", 3));
    assert_eq!(one(&settled, "a"), ["a 4 24 clearing/payment"]);
    let other = |on: &Agreed| {
        let statement = StatementHash::from_bytes([9; 32]);
        PublicEntry::SettlementConfirmed(Payment { statement, ..on.payment("a", "b", 3) })
    };
    assert_eq!(one(&other, "b"), ["b 4 24 clearing/payment"]);
    let elsewhere = |on: &Agreed| {
        let cut_off = Timestamp::from_unix_ms(1);
        PublicEntry::SettlementConfirmed(Payment { cut_off, ..on.payment("a", "b", 3) })
    };
    assert_eq!(one(&elsewhere, "b"), ["b 4 24 clearing/payment"]);
    let mut twice = agreed(&BRANDS);
    twice.confirm("a", "b", 3);
    twice.confirm("a", "b", 3);
    assert_eq!(twice.places(), ["b 5 32 clearing/payment"]);
}

#[test]
pub(super) fn payments_that_a_witness_refuses() {
    let one = |log, make: &dyn Fn(&Agreed) -> PublicEntry| {
        let mut on = agreed(&BRANDS);
        let entry = make(&on);
        enter(&mut on.it, log, entry);
        on.places()
    };
    // the payee's to confirm, the payer's to state; parts of a fen cannot be paid
    let confirmed = |on: &Agreed| PublicEntry::SettlementConfirmed(on.payment("a", "b", 3));
    assert_eq!(one("c", &confirmed), ["c 4 24 block/47"]);
    let settled = |on: &Agreed| PublicEntry::Settled(on.payment("a", "b", 3));
    assert_eq!(one("b", &settled), ["b 4 24 block/47"]);
    let parts = |on: &Agreed| {
        let value = Value::new(3_000_001).unwrap();
        PublicEntry::SettlementConfirmed(Payment { value, ..on.payment("a", "b", 3) })
    };
    // nor does any statement ask for them
    assert_eq!(one("b", &parts), ["b 4 24 block/47", "b 4 24 clearing/payment"]);

    // the header adds up what is confirmed, no more and no less
    for confirms in [true, false] {
        let mut on = agreed(&BRANDS);
        let entry = PublicEntry::SettlementConfirmed(on.payment("a", "b", 3));
        let public = if confirms { vec![entry] } else { Vec::new() };
        on.it.spoilt_block("b", Content { public, ..Content::default() }, |it, _, _| {
            let column = &mut it.header.columns[0].confirmed;
            *column = if confirms { Value::ZERO } else { Value::new(1_000_000).unwrap() };
        });
        assert_eq!(on.places(), ["b 4 - block/45"], "{confirms}");
    }
}

#[test]
fn nothing_is_discharged_before_everyone_has_agreed_and_every_payee_has_confirmed() {
    let granted = |agreeing: &[&str], confirmed: &[(&str, &str, u64)]| {
        let mut on = agreed(agreeing);
        for (payer, payee, points) in confirmed {
            on.confirm(payer, payee, *points);
        }
        on.grant("b");
        on.places()
    };
    let (first, second) = (("a", "b", 3), ("c", "d", 5));
    assert!(granted(&BRANDS, &[first, second]).is_empty());
    let three = ["b 5 - clearing/discharge"; 3];
    assert_eq!(granted(&BRANDS, &[first]), three);
    assert_eq!(granted(&["a", "b", "c"], &[first, second]), three);
    assert_eq!(granted(&BRANDS, &[second]), ["b 4 - clearing/discharge"; 3]);
}

#[test]
pub(super) fn what_is_granted_is_what_was_sent_by_the_cut_off_and_never_goes_back() {
    let granted = |change: &dyn Fn(&mut Discharge)| {
        let mut on = agreed(&BRANDS);
        on.confirm("a", "b", 3);
        on.confirm("c", "d", 5);
        let mut discharged = on.discharges("b");
        change(discharged.get_mut(&brand("a")).unwrap());
        on.it.block("b", Content { discharged, ..Content::default() });
        on
    };
    assert!(granted(&|_| {}).places().is_empty());
    let less = granted(&|it| it.received = Value::new(2_000_000).unwrap());
    assert_eq!(less.places(), ["b 5 - clearing/discharge"]);
    // more than was ever sent, as far as everyone can see
    let more = granted(&|it| it.received = Value::new(11_000_000).unwrap());
    assert_eq!(more.places(), ["b 5 - block/46", "b 5 - clearing/discharge"]);
    let mut back = granted(&|_| {});
    back.it.spoilt_block("b", Content::default(), |it, _, _| {
        it.header.columns[0].discharged = Discharge::NOTHING;
    });
    assert_eq!(back.places(), ["b 6 - block/46", "b 6 - clearing/discharge"]);
}
