//! Who is one person and who is not: merges and their undoing, near numbers, pairs that people review.

use super::*;

/// All that a vault says of a member.
fn said(vault: &Vault, id: MemberId) -> String {
    let profile = vault.profile(id).unwrap();
    let held: Vec<String> = vault
        .identifiers(id)
        .unwrap()
        .iter()
        .map(|it| format!("{} {:?} {:?}", it.kind, it.value, it.first_seen))
        .collect();
    format!(
        "{} {:?} {:?} {:?} {:?} {held:?}",
        profile.card.expose(),
        profile.attributes,
        vault.consents(id).unwrap(),
        vault.subjects(id).unwrap().iter().map(|it| it.get()).collect::<Vec<_>>(),
        vault.links(id).unwrap(),
    )
}

#[test]
fn anonymous_history_joins_its_person_and_a_merge_is_undone_exactly() {
    use IdentifierKind::*;
    let (vault, there) = (vault(), brand("grocer_one"));
    let named = enrol(&vault, 1);
    let visit = [(Device, "device-of-the-phone"), (WechatOpenId, "oABCDEFGHIJKLMNOPQRST")];
    let nameless = sight(&vault, &visit, 5);
    assert!(nameless.is_new);
    assert!(vault.profile(nameless.member).unwrap().card.expose().starts_with("M-"));
    let link = vault.request_link(nameless.member, there, at(6)).unwrap();
    vault.confirm_link(nameless.member, there, at(6)).unwrap();
    let before = [said(&vault, named), said(&vault, nameless.member)];

    let bought = sight(&vault, &[(Card, "CARD-0000001"), visit[1]], 9);
    assert_eq!((bought.member, bought.absorbed), (named, vec![nameless.member]));
    assert_eq!(vault.count().unwrap(), 1);
    let [device] = identifiers(&visit[..1]).try_into().unwrap();
    assert_eq!(vault.by_identifier(&device).unwrap(), Some(named));
    assert_eq!(vault.outgoing_member(there, link).unwrap(), Some(named));
    // one person in every answer, with both histories
    let consenting = vault.consenting(Purpose::JointAnalytics).unwrap();
    let [own, alias] = vault.subjects(named).unwrap().try_into().unwrap();
    assert_eq!(consenting.subjects(), [own]);
    assert_eq!(consenting.aliases(), [(alias, own)]);
    let merges = vault.merges(named).unwrap();
    assert_eq!((merges[0].why, merges[0].by.as_str()), (Why::NoName, ""));

    vault.part(named, nameless.member, "ann", at(12)).unwrap();
    assert_eq!([said(&vault, named), said(&vault, nameless.member)], before);
    assert_eq!(vault.by_identifier(&device).unwrap(), Some(nameless.member));
    assert_eq!(vault.outgoing_member(there, link).unwrap(), Some(nameless.member));
    assert!(vault.consenting(Purpose::JointAnalytics).unwrap().aliases().is_empty());
    let parted = vault.merges(named).unwrap()[0].parted.clone().unwrap();
    assert_eq!((parted.at, parted.by.as_str()), (at(12), "ann"));
    let again = vault.part(named, nameless.member, "ann", at(13));
    assert!(matches!(again, Err(MergeError::UnknownMerge)), "{again:?}");
}

#[test]
fn merges_are_undone_in_the_order_they_stand_on_each_other() {
    let vault = vault();
    let [a, b, c] = [1, 2, 3].map(|number| enrol(&vault, number));
    let before = [a, b, c].map(|id| said(&vault, id));
    vault.merge(a, b, "ann", at(5)).unwrap();
    vault.merge(a, c, "ann", at(6)).unwrap();
    assert!(matches!(vault.merge(a, a, "ann", at(6)), Err(MergeError::Same)));
    assert!(matches!(vault.part(a, b, "ann", at(7)), Err(MergeError::NotLast)));
    vault.part(a, c, "ann", at(8)).unwrap();
    vault.part(a, b, "ann", at(9)).unwrap();
    assert_eq!([a, b, c].map(|id| said(&vault, id)), before);
}

#[test]
fn a_chain_of_merges_is_undone_from_its_end_and_everything_leads_where_it_led() {
    let (vault, there) = (vault(), brand("grocer_one"));
    let [a, b, c] = [1, 2, 3].map(|number| enrol(&vault, number));
    let handles = [a, b, c].map(|id| {
        let handle = vault.request_link(id, there, at(4)).unwrap();
        vault.confirm_link(id, there, at(4)).unwrap();
        handle
    });
    let leads = || handles.map(|handle| vault.outgoing_member(there, handle).unwrap().unwrap());
    let told = || {
        let mut told = vault.merges_to_tell(10).unwrap();
        told.iter().for_each(|it| vault.merge_told(*it).unwrap());
        told.sort();
        told
    };
    let sorted = |mut expected: Vec<(MemberId, Option<MemberId>)>| {
        expected.sort();
        expected
    };
    let alone = [a, b, c].map(|id| said(&vault, id));
    vault.merge(b, a, "ann", at(5)).unwrap();
    assert_eq!((told(), leads()), (vec![(a, Some(b))], [b, b, c]));
    let two = [b, c].map(|id| said(&vault, id));
    vault.merge(c, b, "ann", at(6)).unwrap();
    assert_eq!((told(), leads()), (vec![(b, Some(c))], [c, c, c]));
    assert_eq!(vault.merged_into(a).unwrap().unwrap().0, c);
    assert_eq!(vault.subjects(c).unwrap().len(), 3);
    for number in [1, 2, 3] {
        assert_eq!(vault.by_card(&person(number).card).unwrap(), Some(c));
    }

    // the first merge has another on it; nobody was merged into the last directly but the second
    assert!(matches!(vault.part(b, a, "ann", at(7)), Err(MergeError::NotLast)));
    assert!(matches!(vault.part(c, a, "ann", at(7)), Err(MergeError::UnknownMerge)));
    assert_eq!(leads(), [c, c, c]);
    vault.part(c, b, "ann", at(8)).unwrap();
    assert_eq!([b, c].map(|id| said(&vault, id)), two);
    assert_eq!(leads(), [b, b, c]);
    // the first is the second's again, and the programme hears of both
    assert_eq!(told(), sorted(vec![(a, Some(b)), (b, None)]));
    assert_eq!(vault.merged_into(a).unwrap().unwrap().0, b);
    vault.part(b, a, "ann", at(9)).unwrap();
    assert_eq!([a, b, c].map(|id| said(&vault, id)), alone);
    assert_eq!((told(), leads()), (vec![(a, None)], [a, b, c]));
    assert!(told().is_empty());
}

#[test]
fn a_mistyped_number_finds_its_holder_and_a_relatives_does_not() {
    use IdentifierKind::*;
    let vault = vault();
    let all = [
        (Card, "FS002WFNZ0DA"),
        (Phone, "13812345678"),
        (PaymentToken, "token-of-the-bank"),
        (Device, "device-of-the-phone"),
    ];
    let one = sight(&vault, &all, 5).member;
    for came in [
        &[(Phone, "13812395678"), (PaymentToken, "token-of-the-bank")][..],
        &[(Phone, "13821345678"), (Device, "device-of-the-phone")],
        &[(Card, "FS0O2WFNZ0DA"), (PaymentToken, "token-of-the-bank")],
        &[(Card, "FS002WNFZ0DA")],
    ] {
        let sighting = sight(&vault, came, 6);
        assert_eq!((sighting.member, sighting.is_new), (one, false), "{came:?}");
    }
    // what was mistyped is not kept: it may be somebody's
    assert_eq!(vault.identifiers(one).unwrap().len(), all.len());
    // one family, one bank account, cards and numbers that were given out one after another
    let came = [(Phone, "13812345679"), all[2], (Card, "FS002WFNZ0DB")];
    let relative = sight(&vault, &came, 7);
    assert!(relative.is_new, "{relative:?}");
    // a number that is only near, or near and with another's union id
    assert!(sight(&vault, &[(Phone, "13712345678")], 8).is_new);
    let account = sight(&vault, &[(WechatUnionId, "uABCDEFGHIJKLMNOPQRST"), all[1]], 9);
    assert_eq!(account.member, one);
    let came = [(Phone, "13812345978"), all[3], (WechatUnionId, "uABCDEFGHIJKLMNOPQRSX")];
    assert!(sight(&vault, &came, 10).is_new);
}

#[test]
fn where_card_numbers_are_dense_a_card_that_is_near_is_a_new_one() {
    use IdentifierKind::*;
    let vault = vault();
    // the first of a series, so that nothing tells yet that it is one: the last character differs
    let first = sight(&vault, &[(Card, "770000001000"), (Phone, "13812345678")], 5);
    assert!(sight(&vault, &[(Card, "770000001001")], 6).is_new);
    for number in 2..40 {
        let card = format!("7700000010{number:02}");
        let phone = format!("139{number:02}{number:02}7777");
        let came = [(Card, card.as_str()), (Phone, phone.as_str())];
        assert!(sight(&vault, &came, 7).is_new);
    }
    for card in ["770000001050", "770000001100", "770000011000", "770000001005"] {
        let sighting = sight(&vault, &[(Card, card)], 8);
        let known = card == "770000001005";
        assert_eq!(sighting.is_new, !known, "{card}");
        assert_ne!(sighting.member, first.member);
    }
}

#[test]
fn a_first_card_and_what_came_without_one_are_one_persons() {
    use IdentifierKind::*;
    let vault = vault();
    // a number is given to whoever has no card; the first real card is no other person's
    let came = [(Phone, "13812345678"), (Email, "li.lei@example.com")];
    let one = sight(&vault, &came, 5).member;
    assert!(vault.profile(one).unwrap().card.expose().starts_with("M-"));
    let came = [(Card, "FS002WFNZ0DA"), came[0], (Email, "family@example.com")];
    let bought = sight(&vault, &came, 6);
    assert_eq!((bought.member, bought.is_new), (one, false));
    assert!(bought.to_review.is_empty());
}

#[test]
fn whom_a_person_has_parted_the_rules_leave_apart() {
    use IdentifierKind::*;
    let vault = vault();
    let named = enrol(&vault, 1);
    let account = [(WechatOpenId, "oABCDEFGHIJKLMNOPQRST"), (Device, "device-of-the-phone")];
    let nameless = sight(&vault, &account, 5).member;
    let bought = sight(&vault, &[(Card, "CARD-0000001"), account[0]], 6);
    assert_eq!((bought.member, bought.absorbed), (named, vec![nameless]));
    vault.part(named, nameless, "ann", at(7)).unwrap();
    let again = sight(&vault, &[(Card, "CARD-0000001"), account[0]], 8);
    assert_eq!((again.member, again.absorbed), (named, vec![]));
    assert_eq!(again.to_review, [(nameless, Reason::Proofs)]);
    assert_eq!(sight(&vault, &account, 9).member, nameless);
    // a person may think better of it
    vault.judge((named, nameless), true, "ann", at(10)).unwrap();
    assert_eq!(vault.count().unwrap(), 1);
}

#[test]
fn a_pair_is_reviewed_once() {
    use IdentifierKind::*;
    let vault = vault();
    let one = sight(&vault, &[(Card, "C1"), (Email, "family@example.com")], 5);
    let other = sight(&vault, &[(Card, "C2"), (Email, "family@example.com")], 6);
    assert_eq!(other.to_review, [(one.member, Reason::Shared)]);
    let third = sight(&vault, &[(Card, "C3"), (Email, "family@example.com")], 7);
    let pairs = vault.pairs_to_review(None, 10).unwrap();
    assert_eq!(pairs.len(), 3);
    vault.judge((one.member, other.member), true, "ann", at(8)).unwrap();
    vault.judge((one.member, third.member), false, "ann", at(9)).unwrap();
    assert_eq!(vault.by_card(&CardNumber::new("C2").unwrap()).unwrap(), Some(one.member));
    let again = vault.judge((one.member, third.member), true, "ann", at(9));
    assert!(matches!(again, Err(MergeError::UnknownPair)), "{again:?}");
    // nobody asks again
    sight(&vault, &[(Card, "C3"), (Email, "family@example.com")], 10);
    let open = vault.pairs_to_review(None, 10).unwrap();
    assert!(open.iter().all(|pair| pair.other != one.member && pair.one != one.member));
    // page by page there are the same, whatever was reviewed between them
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = vault.pairs_page(after, 1).unwrap();
        assert!(page.len() <= 1);
        paged.extend(page);
        let Some(next) = next else { break };
        after = Some(next);
    }
    assert_eq!(paged, open);
}

#[test]
fn erasing_a_member_erases_those_who_were_merged_into_it() {
    let vault = vault();
    let [a, b, c] = [1, 2, 3].map(|number| enrol(&vault, number));
    vault.merge(b, c, "ann", at(5)).unwrap();
    vault.merge(a, b, "ann", at(6)).unwrap();
    let subjects = vault.subjects(a).unwrap();
    assert_eq!(subjects.len(), 3);
    let hold = LegalHold { reason: "court order 1".into(), by: "olga".into(), at: at(6) };
    vault.set_hold(a, Some(&hold)).unwrap();
    assert!(matches!(vault.erase(a, at(7)), Err(VaultError::OnHold)));
    assert_eq!(vault.hold(a).unwrap(), Some(hold));
    vault.set_hold(a, None).unwrap();

    let erasure = vault.erase(a, at(7)).unwrap();
    let sorted = |mut list: Vec<FactsSubject>| {
        list.sort();
        list
    };
    assert_eq!(sorted(erasure.subjects), sorted(subjects.clone()));
    for (number, id) in [(1, a), (2, b), (3, c)] {
        assert_eq!(vault.by_card(&person(number).card).unwrap(), None);
        assert_eq!(vault.erased_at(id).unwrap(), Some(at(7)));
        assert!(vault.store.get(merge::ABSORBED, id.as_bytes()).unwrap().is_none());
    }
    assert!(matches!(vault.part(a, b, "ann", at(8)), Err(MergeError::UnknownMerge)));
    assert_eq!(vault.erased_subjects(None, 10).unwrap().len(), 3);
    vault.forget_erased(&subjects).unwrap();
    assert!(vault.erased_subjects(None, 10).unwrap().is_empty());
}

#[test]
fn whoever_was_never_enrolled_is_the_holder_of_the_card_that_comes_with_the_phone_number() {
    use IdentifierKind::*;
    let vault = vault();
    let came = [(Card, "CARD-0000001"), (Phone, "13812345678")];
    let sold = vault.sight(&identifiers(&came[1..]), &[], false, at(5)).unwrap();
    let one = enrol(&vault, 1);
    let seen = identifiers(&came);
    assert_eq!(vault.holder_of_all(&seen).unwrap(), None);
    let done = vault.sight_card(&seen, at(6)).unwrap();
    assert_eq!((done.member, done.is_new, done.absorbed), (one, false, vec![sold.member]));
    assert!(done.to_review.is_empty() && done.refused.is_empty());
    assert_eq!(vault.holder_of_all(&seen).unwrap(), Some(one));
    assert_eq!(vault.merges(one).unwrap()[0].why, Why::Halves);

    // who has decided something, or has a card, becomes another's by a person's word alone
    let came = [(Card, "CARD-0000002"), (Phone, "13912345678")];
    let asked = sight(&vault, &came[1..], 7).member;
    let two = enrol(&vault, 2);
    let done = vault.sight_card(&identifiers(&came), at(8)).unwrap();
    assert_eq!((done.member, done.absorbed.len()), (two, 0));
    assert_eq!((done.to_review, done.refused), (vec![(asked, Reason::Phone)], vec![Phone]));
    let three = enrol(&vault, 3);
    let came = [(Card, "CARD-0000003"), (Phone, "13812345678")];
    let done = vault.sight_card(&identifiers(&came), at(9)).unwrap();
    assert_eq!((done.member, done.absorbed.len()), (three, 0));
    assert_eq!(done.to_review, [(one, Reason::Phone)]);

    // to ask whose something is enters nothing
    let strange = identifiers(&[(Phone, "13700000000")]);
    assert_eq!(vault.whose(&identifiers(&came[1..])).unwrap(), Some(one));
    assert_eq!(vault.whose(&strange).unwrap(), None);
    assert_eq!(vault.by_identifier(&strange[0]).unwrap(), None);
    assert!(matches!(vault.whose(&[]), Err(VaultError::NoIdentifier)));
}
