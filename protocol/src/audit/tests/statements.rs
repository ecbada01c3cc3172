//! Statements across a change of constitution: what honest brands enter is no finding.

use super::fixture::{Alliance, CUT_OFF, Content, NOTICE, brand};
use super::places;
use crate::clearing::{Absent, CheckedClosing, Statement, check_closing};
use crate::constitution::tests::draft;
use crate::crypto::sealed::KeyRing;
use crate::ids::Epoch;
use crate::log::block::{Header, PublicEntry, StatementEntry};
use crate::time::Timestamp;

fn says(public: Vec<PublicEntry>) -> Content {
    Content { public, ..Content::default() }
}

/// `e` joins and has a block before the cut-off, the last blocks of all others are under the constitution
/// before: everyone enters the statement of the four, whenever `e`'s closing came.
#[test]
fn a_brand_that_joined_before_the_cut_off_changes_nothing_for_those_who_had_not_taken_it_in() {
    let mut it = Alliance::new(4);
    let sealed = vec![it.exchange("a", "b", 3)];
    it.block("a", Content { sealed, ..Content::default() });
    it.block("b", Content { recognised: vec![brand("a")], ..Content::default() });
    it.block("d", Content::default());
    let newcomer = brand("e");
    let draft = it.follow(|next| {
        let five = draft(5);
        next.brands.insert(newcomer, five.brands[&newcomer].clone());
    });
    let adopted = PublicEntry::Adopted(draft);
    let ballots = ["a", "b", "c"].map(|log| {
        it.block(log, says(vec![adopted.clone()]));
        PublicEntry::Ballot(Box::new(it.shown(log, 0, &adopted)))
    });
    it.wait(NOTICE.get());
    it.keys.insert(newcomer, KeyRing::new(Alliance::sealing_key("e")).unwrap());
    it.block("e", Content::default());
    it.pass_cut_off();
    let switch: Vec<PublicEntry> =
        ballots.into_iter().chain([PublicEntry::Switch(draft)]).collect();
    let mut closings = Vec::new();
    for log in ["a", "b", "c", "d", "e"] {
        let closing = it.closing(brand(log));
        let last = Header::from_bytes(&it.certified(log).header).unwrap();
        let id = last.to_leaf().1;
        // `e` begins under the constitution that the others take up now
        let public = if log == "e" { Vec::new() } else { switch.clone() };
        let next = it.block(log, says(public));
        closings.push(check_closing(&closing, Some((&last, id)), &next).unwrap());
        it.block(log, says(vec![PublicEntry::Closing(closing)]));
    }
    let epochs: Vec<u32> = closings.iter().map(|closing| closing.epoch().get()).collect();
    assert_eq!(epochs, [1, 1, 1, 1, 2]);
    let cut_off = Timestamp::from_unix_ms(CUT_OFF);
    let of = |closings: &[CheckedClosing]| {
        Statement::derive(&it.constitutions, cut_off, closings, &Absent::default())
    };
    let statement = of(&closings[..]).unwrap();
    assert_eq!((statement.epoch, statement.positions.len()), (Epoch::new(1), 4));
    assert_eq!(of(&closings[..4]).unwrap(), statement);
    for log in ["a", "b", "c", "d", "e"] {
        let entry = StatementEntry { cut_off, statement: statement.hash() };
        it.block(log, says(vec![PublicEntry::Statement(entry)]));
    }
    let report = it.audit(&[Alliance::auditor_key()]);
    assert_eq!(places(&report), Vec::<String>::new(), "{:?}", report.findings);
    assert_eq!(report.counts.statements, 5);
}
