use std::path::Path;

use protocol::time::Milliseconds;
use ring::rand::SystemRandom;

use super::*;
use crate::store::{MemoryStore, SledStore};

mod key_service;
mod merges;

fn brand(id: &str) -> BrandId {
    BrandId::new(id).unwrap()
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(ms)
}

fn vault_in(store: Arc<dyn Store>) -> Vault {
    let key = HeldBrandKey::from_bytes(&mut [7; KEY_BYTES]);
    Vault::new(brand("fuel_stop"), store, Arc::new(key), Arc::new(SystemRandom::new()))
}

fn vault() -> Vault {
    vault_in(Arc::new(MemoryStore::new()))
}

fn person(number: u32) -> NewMember {
    NewMember {
        card: CardNumber::new(&format!("CARD-{number:07}")).unwrap(),
        match_key: Some(MatchKey::new(&format!("matchkey{number:012}")).unwrap()),
        attributes: [
            (Attribute::AgeBand, format!("aged {number} to 99")),
            (Attribute::IncomeBand, "between 50 and 74 thousand".to_owned()),
        ]
        .into(),
    }
}

fn identifiers(list: &[(IdentifierKind, &str)]) -> Vec<Identifier> {
    list.iter().map(|(kind, text)| Identifier::parse(*kind, text).unwrap()).collect()
}

/// A purchase or visit with these identifiers: whose it was.
fn sight(vault: &Vault, list: &[(IdentifierKind, &str)], ms: u64) -> Sighting {
    vault.sight(&identifiers(list), &sample_rule(at(1)), false, at(ms)).unwrap()
}

fn enrol(vault: &Vault, number: u32) -> MemberId {
    match vault.enrol(&[person(number)], &sample_rule(at(1))).unwrap().as_slice() {
        [Enrolment::Created(id)] => *id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_member_is_found_by_what_was_given_and_shown_masked() {
    let vault = vault();
    let id = enrol(&vault, 1);
    let person = person(1);
    assert_eq!(vault.by_card(&person.card).unwrap(), Some(id));
    assert_eq!(vault.by_match_key(&person.match_key.unwrap()).unwrap(), Some(id));
    // a card is not a match key, though they share a keyspace
    assert_eq!(vault.by_match_key(&MatchKey::new("CARD-0000001").unwrap()).unwrap(), None);
    let profile = vault.profile(id).unwrap();
    assert_eq!(profile.card, person.card);
    assert_eq!(*profile.attributes[&Attribute::AgeBand], "aged 1 to 99");
    assert_eq!(vault.masked_card(id).unwrap(), "CAR****0001");
}

#[test]
fn enrolling_again_changes_nothing_and_a_conflict_is_told() {
    let vault = vault();
    let id = enrol(&vault, 1);
    let mut other_card = person(1);
    other_card.card = CardNumber::new("OTHER").unwrap();
    let mut long = person(2);
    long.attributes.insert(Attribute::AgeBand, "x".repeat(ATTRIBUTE_MAX + 1));
    let people = [person(1), other_card, long, person(3), person(3)];
    let outcomes = vault.enrol(&people, &[]).unwrap();
    let Enrolment::Created(third) = outcomes[3] else { panic!("{outcomes:?}") };
    assert_eq!(outcomes[0], Enrolment::Known(id));
    assert_eq!(outcomes[1], Enrolment::Conflict);
    assert_eq!(outcomes[2], Enrolment::TooLong(Attribute::AgeBand));
    // twice in one batch is once
    assert_eq!(outcomes[4], Enrolment::Known(third));
    assert_eq!(vault.count().unwrap(), 2);
    assert!(vault.consents(id).unwrap().allows(Purpose::Programme));
    assert!(!vault.consents(third).unwrap().allows(Purpose::Programme));
}

#[test]
fn each_brand_gets_a_handle_of_its_own() {
    let vault = vault();
    let (one, two) = (enrol(&vault, 1), enrol(&vault, 2));
    let handle = vault.handle(one, brand("grocer_one")).unwrap();
    assert_eq!(handle, vault.handle(one, brand("grocer_one")).unwrap());
    assert_ne!(handle, vault.handle(one, brand("grocer_two")).unwrap());
    assert_ne!(handle, vault.handle(two, brand("grocer_one")).unwrap());
    assert_ne!(vault.subject(one).unwrap(), vault.subject(two).unwrap());
}

#[test]
fn only_those_who_allow_a_purpose_are_counted_for_it() {
    let vault = vault();
    let ids: Vec<MemberId> = (0..20).map(|number| enrol(&vault, number)).collect();
    let no = Consent { granted: false, ..sample_rule(at(2))[2] };
    assert_eq!(no.purpose, Purpose::JointAnalytics);
    for id in &ids[..7] {
        vault.decide(*id, no).unwrap();
    }
    let consenting = vault.consenting(Purpose::JointAnalytics).unwrap();
    let mut expected: Vec<FactsSubject> =
        ids[7..].iter().map(|id| vault.subject(*id).unwrap()).collect();
    expected.sort();
    assert_eq!(consenting.subjects(), expected);
    assert_eq!(vault.consenting(Purpose::Exchange).unwrap().subjects().len(), 20);
    assert!(vault.consenting(Purpose::Marketing).unwrap().subjects().is_empty());
    // counted, everybody is in one column of each use
    let counts = vault.consent_counts(&[brand("other")]).unwrap();
    assert_eq!(counts.len(), Purpose::ALL.len() + 1);
    for count in &counts {
        assert_eq!(count.given + count.withdrawn + count.never, 20, "{count:?}");
    }
    let exchange = counts.iter().find(|it| it.purpose == Purpose::Exchange).unwrap();
    assert_eq!((exchange.receiver, exchange.given), (None, 20));
    let marketing = counts.iter().find(|it| it.purpose == Purpose::Marketing).unwrap();
    assert_eq!(marketing.given, 0);
    assert_eq!(counts.last().unwrap().never, 20, "nobody was asked about that brand");
    // and who agrees is counted under the version of the notice, with when that was said
    let renewed = Consent::new(Purpose::Exchange, true, 2, at(9));
    ids[..3].iter().for_each(|id| vault.decide(*id, renewed).unwrap());
    vault.decide(ids[3], Consent::new(Purpose::Exchange, true, 2, at(7))).unwrap();
    let counts = vault.consent_counts(&[]).unwrap();
    let exchange = counts.iter().find(|it| it.purpose == Purpose::Exchange).unwrap();
    let agreed = |members, first, last| Agreed { members, first: at(first), last: at(last) };
    assert_eq!(exchange.versions, [(1, agreed(16, 1, 1)), (2, agreed(4, 7, 9))].into());
}

#[test]
fn a_page_continues_where_the_last_one_ended() {
    let vault = vault();
    let people: Vec<NewMember> = (0..1_300).map(person).collect();
    vault.enrol(&people, &[]).unwrap();
    assert_eq!(vault.count().unwrap(), 1_300);
    let first = vault.members(None, 1_000).unwrap();
    let rest = vault.members(first.last().copied(), 1_000).unwrap();
    assert_eq!((first.len(), rest.len()), (1_000, 300));
    assert!(first.iter().chain(&rest).is_sorted());
}

#[test]
fn a_code_links_once_for_the_brand_it_was_made_for_until_it_expires() {
    let (here, there) = (vault(), brand("grocer_one"));
    let (one, two) = (enrol(&here, 1), enrol(&here, 2));
    let handle = MemberHandle::from_bytes([9; 16]);
    let minute = Milliseconds::from_seconds(60);
    let first = here.issue_link_code(one, there, at(0), minute).unwrap();
    let code = here.issue_link_code(one, there, at(0), minute).unwrap();
    let unknown = |result| assert!(matches!(result, Err(LinkError::UnknownCode)), "{result:?}");
    // a newer code replaces the older; another brand cannot use it
    unknown(here.accept_link(&first, there, handle, at(1)));
    unknown(here.accept_link(&code, brand("grocer_two"), handle, at(1)));
    let late = here.accept_link(&code, there, handle, at(60_001));
    assert!(matches!(late, Err(LinkError::Expired)), "{late:?}");

    // as people write it
    let typed: LinkCode = code.to_string().to_lowercase().parse().unwrap();
    assert_eq!(here.accept_link(&typed, there, handle, at(60_000)).unwrap(), one);
    assert_eq!(here.incoming(there, handle).unwrap(), Some(one));
    assert_eq!(here.incoming(brand("grocer_two"), handle).unwrap(), None);
    // replayed after a crash: the same answer; with another handle: used up
    assert_eq!(here.accept_link(&code, there, handle, at(99_000)).unwrap(), one);
    unknown(here.accept_link(&code, there, MemberHandle::from_bytes([8; 16]), at(2)));
    // a handle stands for one member
    let others = here.issue_link_code(two, there, at(0), minute).unwrap();
    let taken = here.accept_link(&others, there, handle, at(1));
    assert!(matches!(taken, Err(LinkError::HandleTaken)), "{taken:?}");

    assert!(here.drop_incoming(there, handle).unwrap());
    assert!(!here.drop_incoming(there, handle).unwrap());
    assert_eq!(here.incoming(there, handle).unwrap(), None);
    assert!(
        "7K2PQ-M9XA".parse::<LinkCode>().is_err() && "7K2PQM9XABC".parse::<LinkCode>().is_err()
    );
}

#[test]
fn an_outgoing_link_is_confirmed_and_found_for_returns() {
    let (vault, there) = (vault(), brand("grocer_one"));
    let id = enrol(&vault, 1);
    assert_eq!(vault.outgoing(id, there).unwrap(), None);
    let handle = vault.request_link(id, there, at(1)).unwrap();
    assert_eq!(handle, vault.handle(id, there).unwrap());
    assert_eq!(vault.outgoing(id, there).unwrap(), Some(LinkState::Requested));
    vault.return_link(id, there, at(2)).unwrap();
    assert_eq!(vault.outgoing(id, there).unwrap(), Some(LinkState::Returned));
    vault.request_link(id, there, at(2)).unwrap();
    assert_eq!(vault.outgoing(id, there).unwrap(), Some(LinkState::Requested));
    vault.confirm_link(id, there, at(2)).unwrap();
    vault.return_link(id, there, at(2)).unwrap();
    vault.request_link(id, there, at(3)).unwrap();
    assert_eq!(vault.outgoing(id, there).unwrap(), Some(LinkState::Accepted));
    assert_eq!(vault.outgoing_member(there, handle).unwrap(), Some(id));
    let links = Links { outgoing: vec![(there, LinkState::Accepted)], incoming: vec![] };
    assert_eq!(vault.links(id).unwrap(), links);
    // an outgoing handle is not an incoming one
    assert_eq!(vault.incoming(there, handle).unwrap(), None);
}

#[test]
fn an_erased_member_is_gone_with_look_ups_links_and_codes() {
    let (vault, there) = (vault(), brand("grocer_one"));
    let (id, other) = (enrol(&vault, 1), enrol(&vault, 2));
    let minute = Milliseconds::from_seconds(60);
    let theirs = MemberHandle::from_bytes([9; 16]);
    let code = vault.issue_link_code(id, there, at(0), minute).unwrap();
    vault.accept_link(&code, there, theirs, at(1)).unwrap();
    let open = vault.issue_link_code(id, there, at(0), minute).unwrap();
    let ours = vault.request_link(id, there, at(1)).unwrap();

    let erasure = vault.erase(id, at(5)).unwrap();
    assert_eq!((erasure.outgoing, erasure.incoming), (vec![(there, ours)], vec![there]));
    assert!(matches!(vault.profile(id), Err(VaultError::UnknownMember)));
    assert!(matches!(vault.erase(id, at(6)), Err(VaultError::UnknownMember)));
    assert_eq!(vault.erased_at(id).unwrap(), Some(at(5)));
    assert_eq!(vault.by_card(&person(1).card).unwrap(), None);
    assert_eq!(vault.incoming(there, theirs).unwrap(), None);
    assert_eq!(vault.outgoing_member(there, ours).unwrap(), None);
    assert!(matches!(vault.accept_link(&open, there, theirs, at(2)), Err(LinkError::UnknownCode)));
    assert_eq!(vault.consenting(Purpose::Programme).unwrap().subjects().len(), 1);
    assert_eq!(vault.erased_at(other).unwrap(), None);
    // the same person may come back, as somebody new
    assert_ne!(enrol(&vault, 1), id);
}

#[test]
fn a_ciphertext_moved_to_another_member_does_not_open() {
    let store = Arc::new(MemoryStore::new());
    let vault = vault_in(store.clone());
    let (one, two) = (enrol(&vault, 1), enrol(&vault, 2));
    let stolen = store.get(MEMBERS, one.as_bytes()).unwrap().unwrap();
    store.transaction(&[Write::put(MEMBERS, *two.as_bytes(), stolen)]).unwrap();
    assert!(matches!(vault.profile(two), Err(VaultError::Key(KeyError::Unopened))));
    // and it fails closed: nobody is taken to consent
    assert!(vault.consenting(Purpose::Programme).is_err());
}

#[test]
fn a_file_key_is_made_once() {
    let vault = vault();
    let key = *vault.file_key("facts").unwrap().expose();
    assert_eq!(key, *vault.file_key("facts").unwrap().expose());
    assert_ne!(key, *vault.file_key("other").unwrap().expose());
}

#[test]
fn nothing_personal_in_debug_or_errors() {
    let vault = vault();
    let id = enrol(&vault, 1);
    let code = vault
        .issue_link_code(id, brand("grocer_one"), at(0), Milliseconds::from_seconds(9))
        .unwrap();
    let traces = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {code:?} {}",
        person(1),
        vault.profile(id).unwrap(),
        vault.subject(id).unwrap(),
        vault.consenting(Purpose::Programme).unwrap(),
        id,
        vault,
        CardNumber::new("has a space").unwrap_err(),
    );
    let subject = vault.subject(id).unwrap().get().to_string();
    for secret in ["CARD-", "matchkey", "aged", "has a space", code.as_str(), &subject] {
        assert!(!traces.contains(secret), "{secret} in {traces}");
    }
}

/// Whether any file under `folder` contains `needle`.
fn found_in_files(folder: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return found_in_files(&path, needle);
        }
        std::fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle)
    })
}

#[test]
fn member_fields_encrypted_at_rest() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = Arc::new(SledStore::open(folder.path()).unwrap());
        let vault = vault_in(store.clone());
        let id = enrol(&vault, 1);
        let there = brand("grocer_one");
        let code = vault.issue_link_code(id, there, at(0), Milliseconds::from_seconds(9)).unwrap();
        let handle = vault.request_link(id, there, at(1)).unwrap();
        // a marker shows that the search finds what is there in clear
        store.transaction(&[Write::put(MEMBERS, *b"m", *b"marker in clear")]).unwrap();
        assert!(found_in_files(folder.path(), b"marker in clear"));
        let secrets: [&[u8]; 6] = [
            // parts of them, since a backend may cut keys into prefix and rest
            b"CARD-",
            b"matchkey",
            b"aged 1",
            b"74 thousand",
            code.as_str().as_bytes(),
            handle.as_bytes(),
        ];
        for (number, secret) in secrets.iter().enumerate() {
            assert!(!found_in_files(folder.path(), secret), "secret {number} in clear");
        }
        assert!(!found_in_files(folder.path(), vault.file_key("facts").unwrap().expose()));
    }
}

#[test]
fn one_member_is_found_by_many_identifiers() {
    use IdentifierKind::*;
    let vault = vault();
    let all = [
        (Phone, "138 1234 5678"),
        (Card, "CARD-1"),
        (MatchKey, "matchkey-1"),
        (WechatOpenId, "oABCDEFGHIJKLMNOPQRST"),
        (WechatUnionId, "uABCDEFGHIJKLMNOPQRST"),
        (AlipayUserId, "2088123456789012"),
        (AppUserId, "app.user-1"),
        (Email, "Li.Lei@Example.com"),
        (Device, "8C:1A:2B:3C:4D:5E"),
        (FaceToken, "face-token-of-the-camera"),
        (EcommerceAccount, "tmall:li.lei"),
        (LicencePlate, "粤B·12345"),
        (PaymentToken, "token-of-the-bank"),
    ];
    let first = sight(&vault, &all, 10);
    assert!(first.is_new && first.to_review.is_empty());
    for (kind, text) in all {
        let [identifier] = identifiers(&[(kind, text)]).try_into().unwrap();
        assert_eq!(vault.by_identifier(&identifier).unwrap(), Some(first.member), "{kind}");
    }
    assert_eq!(vault.by_card(&CardNumber::new("CARD-1").unwrap()).unwrap(), Some(first.member));
    let held = vault.identifiers(first.member).unwrap();
    assert_eq!(held.len(), all.len());
    for it in &held {
        assert_eq!(it.value.is_some(), it.kind.keeps_value(), "{}", it.kind);
        assert_eq!((it.first_seen, it.last_seen), (Some(at(10)), Some(at(10))));
    }
    let again = sight(&vault, &[(Phone, "+8613812345678"), (Device, "another-device")], 20);
    assert_eq!((again.member, again.is_new), (first.member, false));
    let held = vault.identifiers(first.member).unwrap();
    assert_eq!(held.len(), all.len() + 1);
    assert_eq!(held[0].last_seen, Some(at(20)));
    // an enrolled member's card and match key are identifiers like any other
    let enrolled = enrol(&vault, 5);
    let other = sight(&vault, &[(Card, "CARD-0000005"), (Phone, "13900000000")], 30);
    assert_eq!(other.member, enrolled);
    assert_eq!(vault.identifiers(enrolled).unwrap().len(), 3);
}

#[test]
fn an_identifier_is_entered_and_removed_on_the_members_word() {
    use IdentifierKind::*;
    let vault = vault();
    let (one, other) = (enrol(&vault, 1), enrol(&vault, 2));
    let [phone] = identifiers(&[(Phone, "13812345678")]).try_into().unwrap();
    vault.add_identifier(one, &phone, at(5)).unwrap();
    let taken = vault.add_identifier(other, &phone, at(6));
    assert!(matches!(taken, Err(IdentifierError::Taken(Phone))), "{taken:?}");
    vault.remove_identifier(one, &phone).unwrap();
    assert!(matches!(vault.remove_identifier(one, &phone), Err(IdentifierError::Absent(Phone))));
    vault.add_identifier(other, &phone, at(7)).unwrap();
    assert_eq!(vault.by_identifier(&phone).unwrap(), Some(other));
    // a card stays until there is another
    let [card, fresh] = identifiers(&[(Card, "CARD-0000001"), (Card, "NEW-1")]).try_into().unwrap();
    assert!(matches!(vault.remove_identifier(one, &card), Err(IdentifierError::Last)));
    vault.add_identifier(one, &fresh, at(8)).unwrap();
    vault.remove_identifier(one, &card).unwrap();
    assert_eq!(vault.profile(one).unwrap().card.expose(), "NEW-1");
    assert_eq!(vault.by_identifier(&card).unwrap(), None);
}

#[test]
fn a_child_needs_a_guardian_and_a_corrected_birth_date_withdraws() {
    let vault = vault();
    let id = enrol(&vault, 1);
    // 2026-06-01 00:00 in China
    let now = at(1_780_243_200_000);
    let born = |text: &str| [(Attribute::BirthDate, Some(text.to_owned()))].into();
    let wrong = vault.correct(id, &born("1.6.2012"), now);
    assert!(matches!(wrong, Err(CorrectionError::NotADate(Attribute::BirthDate))), "{wrong:?}");
    assert!(vault.consents(id).unwrap().allows(Purpose::Programme));
    let before = vault.correct(id, &born("2012-06-02"), now).unwrap();
    assert_eq!(before[&Attribute::BirthDate], None);
    let history = vault.consents(id).unwrap();
    assert!(Purpose::ALL.iter().all(|purpose| !history.allows(*purpose)));

    let yes = Consent::new(Purpose::Programme, true, 2, now);
    let refused = vault.decide(id, yes);
    assert!(matches!(refused, Err(VaultError::GuardianNeeded)), "{refused:?}");
    vault.decide(id, Consent { guardian: Some(Guardian::Parent), ..yes }).unwrap();
    assert!(vault.consents(id).unwrap().allows(Purpose::Programme));
    // the day after, the member decides alone
    let tomorrow = now.plus(Milliseconds::from_seconds(24 * 3600));
    vault.decide(id, Consent { at: tomorrow, ..yes }).unwrap();
    // withdrawing never needs anyone
    let mut child = person(2);
    child.attributes.insert(Attribute::BirthDate, "2020-01-01".into());
    let enrolled = vault.enrol(&[child], &sample_rule(now)).unwrap();
    let [Enrolment::WithoutGuardian(child)] = enrolled[..] else { panic!("{enrolled:?}") };
    assert!(!vault.consents(child).unwrap().allows(Purpose::Programme));
    vault.decide(child, Consent::new(Purpose::Marketing, false, 2, now)).unwrap();
    // with a guardian's word, nothing is left out; and a date that cannot be read may be a child's
    let mut guarded = person(3);
    guarded.attributes.insert(Attribute::BirthDate, "2020-01-01".into());
    let consents = sample_rule(now).map(|it| Consent { guardian: Some(Guardian::Other), ..it });
    let enrolled = vault.enrol(&[guarded], &consents).unwrap();
    let [Enrolment::Created(guarded)] = enrolled[..] else { panic!("{enrolled:?}") };
    assert!(vault.consents(guarded).unwrap().allows(Purpose::Programme));
    let mut unreadable = person(4);
    unreadable.attributes.insert(Attribute::BirthDate, "1990/3/1".into());
    let enrolled = vault.enrol(&[unreadable], &sample_rule(now)).unwrap();
    let [Enrolment::WithoutGuardian(unreadable)] = enrolled[..] else { panic!("{enrolled:?}") };
    assert!(matches!(vault.decide(unreadable, yes), Err(VaultError::GuardianNeeded)));
    let born = [(Attribute::BirthDate, Some("1990-03-01".to_owned()))].into();
    vault.correct(unreadable, &born, now).unwrap();
    vault.decide(unreadable, yes).unwrap();
    for (text, is_one) in
        [("2015-03-01", true), ("2015/3/1", false), ("", false), ("9999-01-01", false)]
    {
        assert_eq!(is_birth_date(text, now), is_one, "{text}");
    }
}

/// Month and day of a birth date as it is now, without its year; none where there is no date.
#[test]
fn a_birthday_is_month_and_day_of_the_birth_date_as_it_is_corrected() {
    let vault = vault();
    let now = at(1_780_243_200_000);
    let mut born = person(1);
    born.attributes.insert(Attribute::BirthDate, "1992-02-29".into());
    let mut wrong = person(2);
    wrong.attributes.insert(Attribute::BirthDate, "29.2.1992".into());
    let enrolled = vault.enrol(&[born, wrong, person(3)], &sample_rule(now)).unwrap();
    // what cannot be read is taken for a child's
    let [Enrolment::Created(one), Enrolment::WithoutGuardian(two), Enrolment::Created(three)] =
        enrolled[..]
    else {
        panic!("{enrolled:?}")
    };
    let birthdays = || [one, two, three].map(|id| vault.birthday(id).unwrap());
    assert_eq!(birthdays(), [Some((2, 29)), None, None]);
    let corrected = |date: Option<&str>| {
        let date = date.map(str::to_owned);
        vault.correct(one, &[(Attribute::BirthDate, date)].into(), now).unwrap();
    };
    corrected(Some("1992-03-01"));
    assert_eq!(birthdays()[0], Some((3, 1)));
    corrected(None);
    assert_eq!(birthdays(), [None; 3]);
    let nobody = MemberId::from_bytes([9; 16]);
    assert!(matches!(vault.birthday(nobody), Err(VaultError::UnknownMember)));
}

#[test]
fn the_brand_key_is_rotated_while_the_vault_is_used_and_after_an_interruption() {
    use protocol::crypto::sealed::Cipher;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("brand.key");
    let random = Arc::new(SystemRandom::new());
    let store = Arc::new(MemoryStore::new());
    HeldBrandKey::create(&path, &*random).unwrap();
    let old_file = std::fs::read(&path).unwrap();
    let open = |cipher| {
        let key = Arc::new(HeldBrandKey::read(&path).unwrap().sealing_with(cipher));
        let vault = Vault::new(brand("fuel_stop"), store.clone(), key.clone(), random.clone());
        (key, vault)
    };
    let (key, vault) = open(Cipher::Aes256Gcm);
    let ids: Vec<MemberId> = (0..300).map(|number| enrol(&vault, number)).collect();
    vault.merge(ids[0], ids[1], "ann", at(2)).unwrap();
    let file_key = *vault.file_key("facts").unwrap().expose();
    let nothing = vault.rewrap(&mut |_| {}).unwrap();
    assert_eq!((nothing.looked_at, nothing.rewrapped), (299, 0));

    key.begin_rotation(&*random).unwrap();
    // both keys open; what is written now is under the new one
    enrol(&vault, 1_000);
    vault.decide(ids[2], Consent::new(Purpose::Marketing, true, 1, at(3))).unwrap();
    // interrupted: another process goes on, and with another cipher
    drop((key, vault));
    let (key, vault) = open(Cipher::Sm4Gcm);
    assert!(key.is_rotating().unwrap());
    let mut pages = 0;
    let done = vault.rewrap(&mut |_| pages += 1).unwrap();
    // every record, the merged one and the brand's own key
    assert_eq!((done.looked_at, done.rewrapped), (300, 302));
    assert!(pages > 2);
    assert_eq!(vault.rewrap(&mut |_| {}).unwrap().rewrapped, 0);
    key.end_rotation().unwrap();

    let (_, vault) = open(Cipher::Sm4Gcm);
    for (number, id) in (0..).zip(&ids).filter(|(number, _)| *number != 1) {
        assert_eq!(vault.profile(*id).unwrap().card, person(number).card);
        assert_eq!(vault.by_card(&person(number).card).unwrap(), Some(*id));
    }
    vault.part(ids[0], ids[1], "ann", at(4)).unwrap();
    assert_eq!(vault.profile(ids[1]).unwrap().card, person(1).card);
    assert_eq!(*vault.file_key("facts").unwrap().expose(), file_key);
    // the key of before opens nothing: whatever the disk still has of an erased member is closed
    std::fs::write(&path, old_file).unwrap();
    let (_, vault) = open(Cipher::Aes256Gcm);
    assert!(matches!(vault.profile(ids[5]), Err(VaultError::Key(KeyError::Unopened))));
}

/// What a question sees of the members of a revision, by their numbers.
fn of_revision(vault: &Vault, as_of: Revision) -> Vec<(FactsSubject, Option<String>)> {
    let consenting = vault.consenting(Purpose::JointAnalytics).unwrap();
    let (mut rows, mut after) = (Vec::new(), None);
    let asked = [Attribute::AgeBand];
    while let Some(page) = vault.attributes_page(&consenting, Some(as_of), &asked, after).unwrap() {
        after = Some(page.last);
        for row in page.rows {
            assert_eq!(vault.subject(row.member).unwrap(), row.subject);
            assert!(row.values.keys().all(|known| *known == Attribute::AgeBand));
            let age = row.values.get(&Attribute::AgeBand).map(|age| age.as_str().to_owned());
            rows.push((row.subject, age));
        }
    }
    rows.sort();
    rows
}

#[test]
fn members_of_a_revision_become_fewer_and_never_others() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let vault = vault_in(Arc::clone(&store));
    let revision = || Revision::of(&*store).unwrap();
    assert_eq!(revision(), Revision::default());
    let people: Vec<NewMember> = (0..1_100).map(person).collect();
    vault.enrol(&people, &sample_rule(at(1))).unwrap();
    let before = revision();
    assert_ne!(before, Revision::default());
    let mut all = of_revision(&vault, before);
    assert_eq!(all.len(), 1_100);
    // whoever is known already is not known anew
    vault.enrol(&people, &sample_rule(at(1))).unwrap();
    assert_eq!(revision(), before);
    let id = |number: u32| vault.by_card(&person(number).card).unwrap().unwrap();
    let without = |all: &mut Vec<(FactsSubject, Option<String>)>, gone: FactsSubject| {
        let many = all.len();
        all.retain(|(subject, _)| *subject != gone);
        assert_eq!(all.len() + 1, many);
    };

    // who comes later, and who is corrected, is of a later one
    let late = enrol(&vault, 5_000);
    let corrected = id(1);
    let older = BTreeMap::from([(Attribute::AgeBand, Some("aged 65 and more".to_owned()))]);
    vault.correct(corrected, &older, at(3)).unwrap();
    without(&mut all, vault.subject(corrected).unwrap());
    assert_eq!(of_revision(&vault, before), all);
    let now = of_revision(&vault, revision());
    assert!(now.contains(&(vault.subject(late).unwrap(), Some("aged 5000 to 99".to_owned()))));
    let corrected = (vault.subject(corrected).unwrap(), Some("aged 65 and more".to_owned()));
    assert!(now.contains(&corrected));

    // who withdraws or is erased is out at once, of every one
    let (withdrawn, erased) = (id(2), id(3));
    let no = Consent { granted: false, ..sample_rule(at(4))[2] };
    without(&mut all, vault.subject(withdrawn).unwrap());
    without(&mut all, vault.subject(erased).unwrap());
    let unmoved = revision();
    vault.decide(withdrawn, no).unwrap();
    vault.erase(erased, at(4)).unwrap();
    assert_eq!(revision(), unmoved);
    assert_eq!(of_revision(&vault, before), all);

    // a merged member is the other; parted again, it is of the revision of the parting
    let (into, absorbed) = (id(4), id(5));
    let number = vault.subject(absorbed).unwrap();
    vault.merge(into, absorbed, "ann", at(5)).unwrap();
    without(&mut all, number);
    assert_eq!(of_revision(&vault, before), all);
    let merged = revision();
    vault.part(into, absorbed, "ann", at(6)).unwrap();
    assert_eq!(of_revision(&vault, before), all);
    assert_ne!(revision(), merged);
    assert!(of_revision(&vault, revision()).iter().any(|(subject, _)| *subject == number));
    let consenting = vault.consenting(Purpose::JointAnalytics).unwrap();
    let first = vault.attributes_page(&consenting, None, &[], None).unwrap().unwrap();
    assert!(!first.rows.is_empty() && first.rows.iter().all(|row| row.values.is_empty()));
    assert!(!format!("{:?}", revision()).contains(char::is_numeric));
}
