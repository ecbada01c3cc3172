use std::path::Path;

use protocol::time::Milliseconds;
use ring::rand::SystemRandom;

use super::*;
use crate::store::{MemoryStore, SledStore};

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
fn encrypted_at_rest() {
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
