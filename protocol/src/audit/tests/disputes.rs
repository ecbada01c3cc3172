//! Disputes and silence: accusations that hold, that do not, and brands that do not answer.

use super::fixture::{Alliance, Content, brand};
use super::places;
use crate::amount::Value;
use crate::audit::Reason;
use crate::crypto::sealed::KeyRing;
use crate::exchange::Payload;
use crate::ids::{HeaderHash, Height, LeafIndex};
use crate::log::block::{ColumnContent, Header, PublicEntry};
use crate::log::dispute::{DisputeEvidence, DisputeOpened};
use crate::log::resolution::{DisputeResolved, runs};

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
pub(super) fn evidence_shows_everyone_what_only_the_counterparty_could_see() {
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
pub(super) fn an_accusation_that_its_evidence_does_not_bear_out_falls_on_the_accuser() {
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

/// Both sides enter what the dispute comes to, nothing of it standing, each changed; what the regulator
/// finds. None: that side enters nothing.
fn resolved(
    accused_says: Option<fn(&mut DisputeResolved)>,
    accuser_says: fn(&mut DisputeResolved),
    recognises: bool,
) -> (Vec<String>, u64) {
    let (mut it, dispute) = accused(true);
    let DisputeEvidence { before, salt, .. } = dispute.evidence.clone().unwrap();
    let (began, block) = (dispute.height, dispute.block);
    let public = vec![PublicEntry::DisputeOpened(Box::new(dispute))];
    it.block("b", Content { public, ..Content::default() });
    let total = it.contents("a").into_iter().find(|(to, _)| *to == brand("b")).unwrap().1;
    let sound = DisputeResolved {
        accused: brand("a"),
        accuser: brand("b"),
        began,
        last: began,
        block,
        before,
        salt,
        stands: Vec::new(),
        counted: Value::ZERO,
        void: total.sent.minus(before.sent).unwrap(),
        entries: total.entries,
    };
    let enter = |change: fn(&mut DisputeResolved)| {
        let mut entry = sound.clone();
        change(&mut entry);
        vec![PublicEntry::DisputeResolved(Box::new(entry))]
    };
    let offer = accused_says.map_or_else(Vec::new, enter);
    it.block("a", Content { public: offer, ..Content::default() });
    let recognised = if recognises { vec![brand("a")] } else { Vec::new() };
    it.block("b", Content { public: enter(accuser_says), recognised, ..Content::default() });
    let report = it.audit(&[Alliance::auditor_key()]);
    (places(&report), report.counts.resolutions)
}

#[test]
pub(super) fn a_resolution_that_cannot_stand_is_found() {
    let same = |change: fn(&mut DisputeResolved)| resolved(Some(change), change, true);
    assert_eq!(same(|_| {}), (Vec::new(), 1));
    let found = |(places, resolutions): (Vec<String>, u64), expected: &str| {
        assert!(places.iter().any(|place| place == expected), "{expected}: {places:?}");
        // and then what was wrong before stays a finding
        assert!(places.iter().any(|place| place == "a 2 8 block/20"), "{places:?}");
        assert_eq!(resolutions, 0);
    };
    found(resolved(None, |_| {}, true), "b 2 8 dispute/unagreed");
    let less =
        |it: &mut DisputeResolved| it.void = it.void.saturating_minus(Value::new(1).unwrap());
    found(resolved(Some(|_| {}), less, true), "b 2 8 dispute/unagreed");
    found(same(|it| it.salt = [1; 32]), "b 2 8 dispute/resolution");
    found(same(|it| it.began = Height::new(1)), "b 2 8 dispute/resolution");
    // a leaf of before the dispute, and nothing that it would be worth
    let old = |it: &mut DisputeResolved| {
        it.stands = runs([LeafIndex::new(0)]);
        it.counted = Value::new(3_000_000).unwrap();
        it.void = it.void.minus(it.counted).unwrap();
    };
    found(same(old), "b 2 8 dispute/resolution");
    // what every witness sees
    let (places, _) = same(|it| it.last = Height::new(3));
    assert!(places.iter().any(|place| place == "a 3 - block/65"), "{places:?}");
    let (places, _) = resolved(Some(|_| {}), |_| {}, false);
    assert!(places.iter().any(|place| place == "b 2 - block/65"), "{places:?}");
}

#[test]
pub(super) fn a_brand_that_does_not_answer_for_a_day_is_named() {
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
