//! Logs that go on after their end, partners closed out with other totals than the logs have, evidence in
//! logs, entries that are in no block.

use super::fixture::{Alliance, Content, NOTICE, application_leaf, brand, sign};
use super::places;
use crate::amount::Value;
use crate::crypto::Signed;
use crate::ids::{HeaderHash, Height, Round};
use crate::log::block::{Column, Entry, PublicEntry};
use crate::log::closed_out::{ClosedOut, ClosedOutBefore, ConfirmedOf, OpenedColumn};
use crate::log::settlement::{Payment, PaymentReference};
use crate::time::Timestamp;
use crate::witness::ending::LogEnd;
use crate::witness::evidence::Evidence;
use crate::witness::said::Said;
use crate::witness::statement::{Pledge, Proposal};

const A_POINT: u64 = 1_000_000;

fn value(points: u64) -> Value {
    Value::new(points * A_POINT).unwrap()
}

/// `a` and `d` have exchanged; of what `a` sent, 25 points were never recognised. Then `d` ends, and `a`
/// closes it out, in a way that is changed.
fn closed_out(
    close: impl FnOnce(&mut Alliance) -> LogEnd,
    change: impl FnOnce(&mut ClosedOut),
) -> (Alliance, PublicEntry) {
    closed_out_of(25, close, change)
}

/// The same with another number of points that were never recognised: with 5, no public total falls by them.
fn closed_out_of(
    void: u64,
    close: impl FnOnce(&mut Alliance) -> LogEnd,
    change: impl FnOnce(&mut ClosedOut),
) -> (Alliance, PublicEntry) {
    let mut it = Alliance::new(4);
    let sealed = vec![it.exchange("a", "d", 31)];
    let sent = it.block("a", Content { sealed, ..Content::default() });
    let sealed = vec![it.exchange("d", "a", 40)];
    let recognised = vec![brand("a")];
    let received = it.block("d", Content { sealed, recognised, ..Content::default() });
    let sealed = vec![it.exchange("a", "d", void)];
    let recognised = vec![brand("d")];
    it.block("a", Content { sealed, recognised, ..Content::default() });
    let mut closed = ClosedOut {
        log: brand("d"),
        end: Box::new(close(&mut it)),
        received: it.opened(&received, "a"),
        sent: it.opened(&sent, "d"),
        void: value(void),
        total: value(31),
    };
    change(&mut closed);
    let entry = PublicEntry::ClosedOut(Box::new(closed));
    it.block("a", Content { public: vec![entry.clone()], ..Content::default() });
    (it, entry)
}

fn found(it: &Alliance) -> Vec<String> {
    places(&it.audit(&[Alliance::auditor_key()]))
}

#[test]
pub(super) fn a_partner_is_closed_out_with_the_totals_that_the_logs_have() {
    let judged = |change: fn(&mut ClosedOut)| {
        let (it, _) = closed_out(|it| it.close_with_last("d"), change);
        let report = it.audit(&[Alliance::auditor_key()]);
        (places(&report), report.counts.closed_out)
    };
    assert_eq!(judged(|_| {}), (Vec::new(), 1));
    // within a step of the right total: no rule of a block, one for who knows the exact totals
    assert_eq!(judged(|it| it.total = value(32)), (vec!["a 3 16 partner/totals".to_owned()], 0));
    let (places, _) = judged(|it| it.received.content.entries += 1);
    assert!(places.contains(&"a 3 - block/66".to_owned()), "{places:?}");
    let (places, _) = judged(|it| it.sent.salt = [1; 32]);
    assert_eq!(places, ["a 3 16 partner/totals"]);
    // more is void than the public total falls by
    let (places, _) = judged(|it| it.void = value(45));
    assert!(places.contains(&"a 3 - block/66".to_owned()), "{places:?}");
    // it opens nothing of what its writer has recognised, and all that it opens is right
    let opens_less = |it: &mut ClosedOut| it.received = OpenedColumn::nothing();
    let (it, _) = closed_out_of(5, |it| it.close_with_last("d"), |_| {});
    assert!(found(&it).is_empty());
    let (it, _) = closed_out_of(5, |it| it.close_with_last("d"), opens_less);
    assert_eq!(found(&it), ["a 3 - block/66"]);
    // once is enough
    let (mut it, entry) = closed_out(|it| it.close_with_last("d"), |_| {});
    it.block("a", Content { public: vec![entry], ..Content::default() });
    assert!(found(&it).contains(&"a 4 24 partner/totals".to_owned()), "{:?}", found(&it));
}

#[test]
pub(super) fn a_closing_says_again_of_ended_logs_what_its_own_log_entered() {
    let says = |change: fn(&mut ClosedOutBefore)| {
        let (mut it, entry) = closed_out(|it| it.close_with_last("d"), |_| {});
        let PublicEntry::ClosedOut(closed) = &entry else { panic!("not closed out") };
        let end = closed.end.verify(&it.constitutions).unwrap();
        let of =
            |column: &Column| ConfirmedOf { payer: column.counterparty, value: column.confirmed };
        let mut said = ClosedOutBefore {
            log: brand("d"),
            height: Height::new(3),
            last: end.height(),
            block: end.block(),
            confirmed: end.columns().iter().map(of).collect(),
            received: closed.received.content.sent,
            total: closed.total,
            paid: None,
        };
        change(&mut said);
        let mut closing = it.closing(brand("a"));
        closing.closed_out = Some(vec![said]);
        it.pass_cut_off();
        let public = vec![PublicEntry::Closing(closing)];
        it.block("a", Content { public, ..Content::default() });
        found(&it)
    };
    assert_eq!(says(|_| {}), Vec::<String>::new());
    let lies: [fn(&mut ClosedOutBefore); 5] = [
        |it| it.total = value(32),
        |it| it.received = value(39),
        |it| it.height = Height::new(2),
        |it| it.paid = Some(Value::ZERO),
        |it| it.log = brand("c"),
    ];
    for lie in lies {
        assert_eq!(says(lie), ["a 4 24 clearing/closed-out"]);
    }
}

#[test]
pub(super) fn a_log_that_goes_on_after_its_end_is_found_by_whatever_shows_the_end() {
    // by its own certificates alone
    let mut it = Alliance::new(4);
    it.block("d", Content::default());
    it.close_with_last("d");
    assert!(found(&it).is_empty());
    it.block("d", Content::default());
    it.block("d", Content::default());
    assert_eq!(found(&it), ["d 2 - log/ended"]);

    // by what somebody closed out: the last round appended nothing
    let (mut it, _) = closed_out(|it| it.close_after_last("d"), |_| {});
    assert!(found(&it).is_empty());
    it.block("d", Content::default());
    assert_eq!(found(&it), ["d - - log/ended"]);

    // by the constitution that it took up, whether or not anybody has closed it out
    let mut it = Alliance::new(4);
    let draft = it.follow(|next| {
        next.succession.frozen.insert(brand("d"));
    });
    let adopted = PublicEntry::Adopted(draft);
    let ballots = ["a", "b", "c"].map(|log| {
        let public = vec![adopted.clone()];
        it.block(log, Content { public, ..Content::default() });
        PublicEntry::Ballot(Box::new(it.shown(log, 0, &adopted)))
    });
    it.wait(NOTICE.get());
    let public = ballots.into_iter().chain([PublicEntry::Switch(draft)]).collect();
    it.block("d", Content { public, ..Content::default() });
    assert!(found(&it).is_empty());
    it.block("d", Content::default());
    it.block("d", Content::default());
    assert_eq!(found(&it), ["d 2 - log/ended"]);
}

#[test]
pub(super) fn evidence_is_checked_again_by_whoever_audits() {
    let judged = |spoil: fn(&mut Signed<Proposal>)| {
        let mut it = Alliance::new(4);
        it.block("d", Content::default());
        let block = it.certified("d").certificate.pledge.block;
        let proposal = |header| {
            let block = crate::log::block::BlockReference { header, ..block };
            let pledge = Pledge { block, round: Round::new(3) };
            Signed::sign(brand("d"), Proposal(pledge), &sign(brand("d"), 0))
        };
        let mut other = proposal(HeaderHash::from_bytes([7; 32]));
        spoil(&mut other);
        let (one, other) = (Said::Proposal(proposal(block.header)), Said::Proposal(other));
        let public = vec![PublicEntry::Evidence(Box::new(Evidence::statements(one, other)))];
        it.block("a", Content { public, ..Content::default() });
        places(&it.audit(&[]))
    };
    assert_eq!(judged(|_| {}), ["a 1 0 evidence/proven"]);
    let void = judged(|it| it.body.0.round = Round::new(4));
    assert_eq!(void, ["a 1 0 evidence/void"]);
    let forged = judged(|it| it.signer = brand("c"));
    assert_eq!(forged, ["a 1 0 evidence/void"]);
}

#[test]
pub(super) fn entries_that_end_in_no_header_are_in_no_block() {
    let ends_with = |last: Vec<u8>| {
        let mut it = Alliance::new(4);
        it.block("a", Content::default());
        let mut leaves = vec![application_leaf(); 7];
        leaves.push(last);
        it.leaves("a", leaves);
        places(&it.audit(&[]))
    };
    assert_eq!(ends_with(application_leaf()), ["a 2 15 entry/unaccounted"]);
    // begins as a header does and is none
    assert_eq!(ends_with(vec![0x82, 0x00, 0x81, 0x80]), ["a 2 15 block/1"]);
}

#[test]
pub(super) fn payments_that_leave_the_range_of_amounts() {
    let mut it = Alliance::new(4);
    let most = Value::new(Value::MAX.get() / 100_000_000 * 100_000_000).unwrap();
    let confirmed = |statement| {
        PublicEntry::SettlementConfirmed(Payment {
            cut_off: Timestamp::from_unix_ms(1),
            statement: crate::ids::StatementHash::from_bytes([statement; 32]),
            payer: brand("b"),
            payee: brand("a"),
            value: most,
            reference: PaymentReference::new("E2E").unwrap(),
        })
    };
    let one = Entry::Public(confirmed(1)).to_bytes();
    let other = Entry::Public(confirmed(2)).to_bytes();
    it.spoilt_block("a", Content::default(), |draft, constitution, tip| {
        draft.body[0] = one;
        draft.body[1] = other;
        draft.header.public_leaves = 2;
        draft.refit(constitution, &tip.frontier);
    });
    let found = places(&it.audit(&[]));
    assert!(found.contains(&"a 1 - block/22".to_owned()), "{found:?}");
}
