//! Disputes and silence: accusations that hold, that do not, and brands that do not answer.

use super::fixture::{Alliance, Content, brand};
use super::places;
use crate::audit::Reason;
use crate::crypto::sealed::KeyRing;
use crate::exchange::Payload;
use crate::ids::{HeaderHash, Height, LeafIndex};
use crate::log::block::{ColumnContent, Header, PublicEntry};
use crate::log::dispute::{DisputeEvidence, DisputeOpened};

/// Two blocks of `a`; in the second an exchange to `b`, at a wrong price if `wrong`. Then what `b` opens.
fn accused(wrong: bool) -> (Alliance, DisputeOpened) {
    let mut it = Alliance::new(4);
    let sealed = vec![it.exchange("a", "b", 3)];
    let first = it.block("a", Content { sealed, ..Content::default() });
    let (to, mut payload) = it.exchange("a", "b", 5);
    if let Payload::Exchange(exchange) = &mut payload
        && wrong
    {
        exchange.received = crate::amount::Points::new(6).unwrap();
    }
    let sealed = vec![(to, payload)];
    let second = it.block("a", Content { sealed, ..Content::default() });
    let open = |header: &Header| {
        let keys = KeyRing::new(Alliance::sealing_key("b")).unwrap();
        header.open_column(brand("b"), &keys).unwrap()
    };
    let (before, opening) = (open(&first), open(&second));
    let dispute = DisputeOpened {
        log: brand("a"),
        height: Height::new(2),
        block: second.to_leaf().1,
        first: LeafIndex::new(second.first.get() + u64::from(opening.content.first)),
        count: opening.content.count,
        rule: 20,
        evidence: Some(DisputeEvidence {
            opening: opening.to_bytes(),
            before: before.content,
            salt: first.context().totals_salt(&before.key),
        }),
    };
    (it, dispute)
}

/// What a reader without any key finds when `b` enters it.
fn judged(wrong: bool, change: impl FnOnce(&mut DisputeOpened)) -> Vec<String> {
    let (mut it, mut dispute) = accused(wrong);
    change(&mut dispute);
    let public = vec![PublicEntry::DisputeOpened(Box::new(dispute))];
    it.block("b", Content { public, ..Content::default() });
    places(&it.audit(&[]))
}

#[test]
fn evidence_shows_everyone_what_only_the_counterparty_could_see() {
    assert_eq!(judged(true, |_| {}), ["a 2 8 block/20"]);
    // with the key that opens everything it is found once
    let (mut it, dispute) = accused(true);
    let public = vec![PublicEntry::DisputeOpened(Box::new(dispute))];
    it.block("b", Content { public, ..Content::default() });
    let report = it.audit(&[Alliance::auditor_key()]);
    assert_eq!(places(&report).len(), 1, "{:?}", report.findings);
    assert_eq!(report.counts.disputes, 1);
}

#[test]
fn an_accusation_that_its_evidence_does_not_bear_out_falls_on_the_accuser() {
    let unfounded = ["b 1 0 dispute/unfounded"];
    assert_eq!(judged(false, |_| {}), unfounded);
    assert_eq!(judged(true, |it| it.rule = 21), unfounded);
    assert_eq!(judged(true, |it| it.block = HeaderHash::GENESIS), unfounded);
    assert_eq!(judged(true, |it| it.log = brand("b")), unfounded[..0]);
    let evidence =
        |change: fn(&mut DisputeEvidence)| judged(true, |it| change(it.evidence.as_mut().unwrap()));
    assert_eq!(evidence(|it| it.opening[0] ^= 1), unfounded);
    assert_eq!(evidence(|it| it.before = ColumnContent::nothing()), unfounded);
    assert_eq!(evidence(|it| it.salt = [0; 32]), unfounded);

    let (mut it, mut dispute) = accused(true);
    dispute.evidence = None;
    let public = vec![PublicEntry::DisputeOpened(Box::new(dispute))];
    it.block("b", Content { public, ..Content::default() });
    let report = it.audit(&[]);
    assert!(report.is_clean());
    let known = |reason| report.not_checked.iter().any(|it| it.reason == reason);
    assert!(known(Reason::DisputeWithoutEvidence));
}

#[test]
fn a_brand_that_does_not_answer_for_a_day_is_named() {
    let silent = |answers: bool, wait: u64| {
        let mut it = Alliance::new(4);
        let sealed = vec![it.exchange("a", "b", 3)];
        it.block("a", Content { sealed, ..Content::default() });
        if answers {
            it.block("b", Content { recognised: vec![brand("a")], ..Content::default() });
        }
        it.wait(wait);
        it.block("c", Content::default());
        places(&it.audit(&[Alliance::auditor_key()]))
    };
    let day = 86_400_000 - 10;
    assert!(silent(false, day).is_empty());
    assert_eq!(silent(false, day + 1), ["b - - exchange/unanswered"]);
    assert!(silent(true, day + 1).is_empty());
}
