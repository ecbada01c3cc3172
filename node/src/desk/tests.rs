use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use ring::rand::SystemRandom;

use super::*;
use crate::auth::Role;
use crate::store::MemoryStore;
use crate::store::watched::{Watch, Watched};
use crate::vault::{
    ConsentSource, Enrolment, HeldBrandKey, IdentifierKind, NewMember, Purpose, sample_rule,
};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
/// Ten in the morning in China, on a Friday.
const START: u64 = 1_780_020_000_000;

struct World {
    _folder: tempfile::TempDir,
    key_file: PathBuf,
    store: Arc<MemoryStore>,
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(START + ms)
}

fn brand(id: &str) -> BrandId {
    BrandId::new(id).unwrap()
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("brand.key");
        HeldBrandKey::create(&key_file, &SystemRandom::new()).unwrap();
        Self { _folder: folder, key_file, store: Arc::new(MemoryStore::new()) }
    }

    /// The desk, as after a start.
    fn desk(&self) -> Desk {
        self.desk_in(self.store.clone())
    }

    /// The same over another store.
    fn desk_in(&self, store: Arc<dyn Store>) -> Desk {
        let random: Random = Arc::new(SystemRandom::new());
        let key = Arc::new(HeldBrandKey::read(&self.key_file).unwrap());
        let vault =
            Arc::new(Vault::new(brand("grocer"), Arc::clone(&store), key, Arc::clone(&random)));
        let text = "open_hours = \"08:00-22:00\"\nmembers_an_hour = 3";
        let rules = toml::from_str::<DeskSettings>(text).unwrap().rules().unwrap();
        Desk::open(vault, store, random, rules, Metrics::default()).unwrap()
    }
}

fn enrol(desk: &Desk, card: &str) -> MemberId {
    let attributes = [(Attribute::Name, "Han Meimei".to_owned())].into();
    let card = CardNumber::new(card).unwrap();
    let person = NewMember { card, match_key: None, attributes };
    let enrolled = desk.vault().enrol(&[person], &sample_rule(at(0))).unwrap();
    let [Enrolment::Created(id)] = enrolled[..] else { panic!("{enrolled:?}") };
    id
}

fn phone(text: &str) -> Identifier {
    Identifier::parse(IdentifierKind::Phone, text).unwrap()
}

#[test]
fn whatever_is_done_is_in_the_operation_log_with_before_and_after_masked() {
    let world = World::new();
    let desk = world.desk();
    let member = enrol(&desk, "CARD-1234567");
    desk.add_identifier("ann", member, &phone("13812345678"), at(1)).unwrap();
    let values = [(Attribute::Name, Some("Li Lei the Second".to_owned()))].into();
    desk.correct("ann", member, &values, at(2)).unwrap();
    desk.decide("ann", member, Consent::new(Purpose::Marketing, true, 3, at(3))).unwrap();
    desk.record("ann", &[Role::Store], member, at(4)).unwrap();
    desk.set_hold("olga", member, Some("court order 7".to_owned()), at(5)).unwrap();
    let log = desk.log().read(0, 100).unwrap();
    let said = log.iter().map(|it| {
        let (before, after) = (it.before.as_deref(), it.after.as_deref());
        (it.by.as_str(), it.deed.name(), it.what.as_str(), before, after)
    });
    assert_eq!(
        said.collect::<Vec<_>>(),
        [
            ("ann", "correct", "phone", None, Some("138****5678")),
            ("ann", "correct", "name", Some("Han****imei"), Some("Li ****cond")),
            ("ann", "consent", "marketing", None, Some("granted")),
            ("ann", "read", "the member's record", None, None),
            ("olga", "hold", "put on", None, Some("court order 7")),
        ]
    );
    assert!(log.iter().all(|it| it.member == Some(member) && it.members == 1));
}

#[test]
fn people_see_of_a_member_what_the_table_of_fields_says() {
    use crate::auth::{MemberField, Sight};
    let world = World::new();
    let desk = world.desk();
    let member = enrol(&desk, "CARD-1234567");
    let texts = [
        (IdentifierKind::Phone, "13812345678"),
        (IdentifierKind::Email, "han.meimei@example.com"),
        (IdentifierKind::Device, "device-of-hers"),
    ];
    for (kind, text) in texts {
        let identifier = Identifier::parse(kind, text).unwrap();
        desk.add_identifier("ann", member, &identifier, at(1)).unwrap();
    }
    let all = Attribute::ALL.into_iter().map(|attribute| {
        let date = matches!(attribute, Attribute::BirthDate | Attribute::FirstPurchase);
        let value = if date { "1990-05-06" } else { "something long to mask" };
        (attribute, Some(value.to_owned()))
    });
    desk.correct("ann", member, &all.collect(), at(2)).unwrap();
    desk.set_hold("olga", member, Some("court order 7".to_owned()), at(3)).unwrap();
    let kinds = [
        (MemberField::Phone, "phone", "13812345678"),
        (MemberField::Card, "card", "CARD-1234567"),
        (MemberField::Identifiers, "email", "han.meimei@example.com"),
        (MemberField::Tokens, "device", "device-of-hers"),
    ];
    let attributes = [
        (MemberField::Name, "name", "something long to mask"),
        (MemberField::Address, "address", "something long to mask"),
        (MemberField::BirthDate, "birth_date", "1990-05-06"),
        (MemberField::Profile, "age_band", "something long to mask"),
    ];
    // every role alone, and every pair of them
    let alone = Role::ALL.into_iter().map(|role| vec![role]);
    let pairs = Role::ALL.into_iter().flat_map(|a| Role::ALL.map(|b| vec![a, b]));
    for roles in alone.chain(pairs) {
        let record = desk.record("someone", &roles, member, at(4)).unwrap();
        let text = serde_json::to_string(&record).unwrap();
        for (field, kind, whole) in kinds {
            let shown = record.identifiers.iter().find(|it| it.kind == kind);
            let sight = field.seen_by_any(&roles);
            assert_eq!(shown.is_some(), sight > Sight::Nothing, "{roles:?} {kind}");
            assert!(!text.contains(whole), "{roles:?} {kind}");
        }
        for (field, name, whole) in attributes {
            let shown = record.attributes.get(name);
            match field.seen_by_any(&roles) {
                Sight::Nothing => assert_eq!(shown, None, "{roles:?} {name}"),
                Sight::Masked => assert!(shown.is_some_and(|it| it != whole), "{roles:?} {name}"),
                Sight::Whole => assert_eq!(shown.map(String::as_str), Some(whole)),
            }
        }
        let whole = |field: MemberField| field.seen_by_any(&roles) == Sight::Whole;
        assert_eq!(record.consents.is_some(), whole(MemberField::Consents), "{roles:?}");
        assert_eq!(record.requests.is_some(), whole(MemberField::Requests), "{roles:?}");
        assert_eq!(record.merges.is_some(), whole(MemberField::Merges), "{roles:?}");
        assert_eq!(record.legal_hold.is_some(), whole(MemberField::Hold), "{roles:?}");
    }
}

#[test]
fn an_export_has_all_that_the_vault_and_the_desk_hold() {
    let world = World::new();
    let desk = world.desk();
    let member = enrol(&desk, "CARD-1234567");
    let other = enrol(&desk, "CARD-7654321");
    desk.add_identifier("ann", member, &phone("13812345678"), at(1)).unwrap();
    let decision = Consent {
        source: ConsentSource::Staff,
        receiver: Some(brand("kids")),
        ..Consent::new(Purpose::Exchange, true, 3, at(3))
    };
    desk.decide("ann", member, decision).unwrap();
    desk.merge("ann", (member, other), at(4)).unwrap();
    let words = Some("all of it, please".to_owned());
    desk.open_request(MEMBER, member, RequestKind::Access, words, at(5)).unwrap();
    desk.set_hold("olga", member, Some("court order 7".to_owned()), at(6)).unwrap();
    let export = desk.export(MEMBER, member, at(7)).unwrap();
    let mut values: Vec<&str> =
        export.identifiers.iter().filter_map(|it| it.value.as_deref()).collect();
    values.sort_unstable();
    assert_eq!(values, ["+8613812345678", "CARD-1234567", "CARD-7654321"]);
    assert_eq!(export.attributes["name"], "Han Meimei");
    assert_eq!(export.consents.len(), 4);
    assert_eq!(export.consents[3].receiver.as_deref(), Some("kids"));
    assert_eq!(export.requests[0].words.as_deref(), Some("all of it, please"));
    assert_eq!(export.merges[0].absorbed, member_name(other));
    assert_eq!(export.legal_hold.as_deref(), Some("court order 7"));
    let json = serde_json::to_string(&export).unwrap();
    assert_eq!(serde_json::from_str::<MemberExport>(&json).unwrap(), export);
    // every field of a stored member has its place in the export: a new one must get one
    let places = ["identifiers", "attributes", "consents", "merges", "legal_hold"];
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(places.iter().all(|place| value.get(place).is_some()));
}

#[test]
fn requests_have_two_clocks_and_are_answered_once() {
    let world = World::new();
    let desk = world.desk();
    let member = enrol(&desk, "CARD-1");
    let asked = |kind, ms| desk.open_request("ann", member, kind, None, at(ms)).unwrap();
    let first = asked(RequestKind::Explanation, 0);
    // Friday the 29th of May 2026: seven days on, and fifteen working days on
    let day = |at| crate::vault::day_in_china(at).to_string();
    assert_eq!(day(first.answer_by), "2026-06-05");
    assert_eq!(day(first.done_by), "2026-06-19");
    let second = asked(RequestKind::Correction, 2 * DAY);
    let due: Vec<_> = desk.open_requests(10).unwrap().iter().map(|it| it.id).collect();
    assert_eq!(due, [first.id, second.id]);
    let behind = desk.open_requests_after(Some(&first.key()), 10).unwrap();
    assert_eq!(behind, std::slice::from_ref(&second));
    assert_eq!(desk.open_requests_after(Some(&second.key()), 10).unwrap(), []);
    assert!(desk.standing(at(5 * DAY)).unwrap().is_empty());
    assert_eq!(desk.standing(at(8 * DAY)).unwrap().len(), 1);
    // whoever collects figures is told, without anybody's looking
    for (days, overdue) in [(8, 1), (5, 0)] {
        desk.measure(at(days * DAY)).unwrap();
        let text = desk.metrics.render();
        let told = format!("coalition_clocks_overdue{{of=\"request\"}} {overdue}\n");
        assert!(text.contains(&told), "{text}");
    }
    // an answer stops the first clock and not the second
    desk.answer_request(first.id, at(6 * DAY)).unwrap();
    assert!(!desk.request(first.id).unwrap().is_overdue(at(8 * DAY)));
    assert!(desk.request(first.id).unwrap().is_overdue(at(22 * DAY)));
    let done = RequestState::Done { at: at(7 * DAY), by: "olga".into(), certificate: None };
    desk.close_request(first.id, done.clone(), at(7 * DAY)).unwrap();
    assert!(matches!(desk.close_request(first.id, done, at(8 * DAY)), Err(DeskError::Closed)));
    assert_eq!(desk.open_requests(10).unwrap().len(), 1);
    assert_eq!(desk.requests_of(member).unwrap().len(), 2);
    assert!(matches!(
        desk.request(RequestNumber::parse(&"0".repeat(32)).unwrap()),
        Err(DeskError::UnknownRequest)
    ));
    for _ in 0..31 {
        asked(RequestKind::Explanation, 0);
    }
    let many = desk.open_request("ann", member, RequestKind::Access, None, at(0));
    assert!(matches!(many, Err(DeskError::TooManyRequests)), "{many:?}");
}

#[test]
fn an_erasure_gives_a_certificate_and_leaves_nothing_of_the_member() {
    let world = World::new();
    let desk = world.desk();
    let member = enrol(&desk, "CARD-1234567");
    let kids = brand("kids");
    let handle = desk.vault().request_link(member, kids, at(1)).unwrap();
    let words = Some("forget me, Han Meimei".to_owned());
    let other =
        desk.open_request(MEMBER, member, RequestKind::Access, words.clone(), at(2)).unwrap();
    let request = desk.open_request(MEMBER, member, RequestKind::Erasure, words, at(3)).unwrap();
    assert!(matches!(desk.erase("olga", other.id, at(4)), Err(DeskError::OtherKind)));
    desk.set_hold("olga", member, Some("court order 7".to_owned()), at(4)).unwrap();
    let held = desk.erase("olga", request.id, at(5));
    assert!(matches!(held, Err(DeskError::Vault(VaultError::OnHold))), "{held:?}");
    desk.set_hold("olga", member, None, at(6)).unwrap();

    let erased = desk.erase("olga", request.id, at(7)).unwrap();
    assert!(matches!(desk.member("CARD-1234567"), Err(DeskError::UnknownMember)));
    assert!(matches!(desk.member(&member_name(member)), Err(DeskError::Vault(_))));
    let certificate: Certificate = serde_json::from_str(&erased.certificate).unwrap();
    assert!(certificate.is_about("CARD-1234567"));
    assert_eq!(certificate.told, ["kids"]);
    assert_eq!(certificate_hash(&erased.certificate), erased.hash);
    assert_eq!(desk.certificate(&erased.hash).unwrap(), Some(erased.certificate.clone()));
    // on its way to the log and to the other brand, until both are said to be done
    assert_eq!(desk.certificates_to_enter(10).unwrap(), [erased.hash]);
    assert_eq!(desk.brands_to_tell(10).unwrap(), [(kids, handle)]);
    desk.certificate_entered(&erased.hash).unwrap();
    desk.brand_told(kids, handle).unwrap();
    assert!(desk.certificates_to_enter(10).unwrap().is_empty());
    assert!(desk.brands_to_tell(10).unwrap().is_empty());
    // what was asked is closed and has no words any more
    for id in [request.id, other.id] {
        let request = desk.request(id).unwrap();
        assert!(!request.is_open() && request.words.is_none());
    }
    assert!(matches!(desk.erase("olga", request.id, at(8)), Err(DeskError::Closed)));
}

#[test]
fn an_erasure_that_a_crash_cut_short_is_finished_or_never_was() {
    use crate::desk::erasure::UnderWay;
    let world = World::new();
    let desk = world.desk();
    let [gone, stays] = ["CARD-1", "CARD-2"].map(|card| enrol(&desk, card));
    let requests = [gone, stays]
        .map(|it| desk.open_request(MEMBER, it, RequestKind::Erasure, None, at(1)).unwrap().id);
    for (member, request) in [gone, stays].into_iter().zip(requests) {
        let under_way =
            UnderWay { member, request, by: "olga".into(), at: at(2), certificate: "{}".into() };
        desk.sealed.put(erasure::UNDER_WAY, member.as_bytes(), &under_way).unwrap();
    }
    // of one the vault had erased when the power went
    desk.vault().erase(gone, at(2)).unwrap();
    drop(desk);
    let desk = world.desk();
    assert!(!desk.request(requests[0]).unwrap().is_open());
    assert_eq!(desk.certificates_to_enter(10).unwrap(), [certificate_hash("{}")]);
    assert!(desk.request(requests[1]).unwrap().is_open());
    assert!(desk.member("CARD-2").is_ok());
    drop(desk);
    assert_eq!(world.desk().certificates_to_enter(10).unwrap().len(), 1, "once");
}

#[test]
fn unusual_reading_is_told_and_kept() {
    let world = World::new();
    let desk = world.desk();
    let member = enrol(&desk, "CARD-1");
    for minute in 0..4 {
        desk.record("ann", &[Role::Store], member, at(minute * 60_000)).unwrap();
    }
    desk.note(Note::new("bob", Deed::Read, "a list").about_many(500), at(HOUR)).unwrap();
    // eleven in the evening
    desk.record("eve", &[Role::Store], member, at(13 * HOUR)).unwrap();
    desk.gained(member, 60_000, at(13 * HOUR)).unwrap();
    let said = |desk: &Desk| {
        let alerts = desk.alerts(0, 10).unwrap();
        let said = alerts.iter().map(|it| format!("{} {:?} {}", it.kind, it.user, it.count));
        said.collect::<Vec<_>>()
    };
    let expected = [
        "mass_reading Some(\"ann\") 4",
        "mass_reading Some(\"bob\") 500",
        "off_hours Some(\"eve\") 1",
        "points_growth None 60000",
    ];
    assert_eq!(said(&desk), expected);
    let text = desk.metrics.render();
    assert!(text.contains("coalition_alerts_total{kind=\"mass_reading\"} 2"), "{text}");
    drop(desk);
    let desk = world.desk();
    assert_eq!(said(&desk), expected);
    let logged = desk.log().read(0, 100).unwrap();
    assert_eq!(logged.iter().filter(|it| it.deed == Deed::Alert && it.by == NODE).count(), 4);
}

#[test]
fn assessments_and_breaches_are_on_record_with_their_clocks() {
    let world = World::new();
    let desk = world.desk();
    let texts = || ["exchange".to_owned(), "brands learn of it".to_owned(), "handles".to_owned()];
    let first = desk.assess("olga", Occasion::Provided, texts(), at(0)).unwrap();
    let second = desk.assess("olga", Occasion::Sensitive, texts(), at(1)).unwrap();
    assert_eq!((first.number, second.number), (1, 2));
    assert!(second.keep_until.since(at(1)) >= Milliseconds::from_seconds(3 * 365 * 24 * 3600));
    assert_eq!(desk.assessments().unwrap(), [first.clone(), second.clone()]);
    assert_eq!(desk.assessments_after(None, 1).unwrap(), [first]);
    assert_eq!(desk.assessments_after(Some(1), 9).unwrap(), [second]);
    assert_eq!(desk.assessments_after(Some(2), 9).unwrap(), []);
    let empty = [" ".to_owned(), String::new(), String::new()];
    assert!(matches!(desk.assess("olga", Occasion::Other, empty, at(2)), Err(DeskError::Text)));

    let words = ["a stolen laptop".to_owned(), "keys rotated".to_owned()];
    let breach = desk.breach("olga", at(0), words, 120, at(HOUR)).unwrap();
    assert_eq!(breach.tell_by, at(DAY), "the clock runs from when it was found");
    assert!(desk.standing(at(DAY)).unwrap().is_empty());
    assert_eq!(desk.standing(at(DAY + 1)).unwrap().len(), 1);
    desk.measure(at(DAY + 1)).unwrap();
    let text = desk.metrics.render();
    assert!(text.contains("coalition_clocks_overdue{of=\"breach\"} 1\n"), "{text}");
    let told = desk.told("olga", 1, (true, false), None, at(2 * HOUR)).unwrap();
    assert!(told.is_open());
    let why = Some("the disk was encrypted".to_owned());
    let told = desk.told("olga", 1, (true, false), why, at(3 * HOUR)).unwrap();
    assert_eq!((told.is_open(), told.authority_told), (false, Some(at(2 * HOUR))));
    assert!(desk.standing(at(2 * DAY)).unwrap().is_empty());
    assert!(matches!(
        desk.told("olga", 9, (true, true), None, at(0)),
        Err(DeskError::UnknownRecord)
    ));
}

#[test]
fn the_vaults_key_is_rotated_from_the_desk() {
    let world = World::new();
    let desk = world.desk();
    let member = enrol(&desk, "CARD-1");
    desk.begin_rotation("root", at(0)).unwrap();
    assert!(desk.is_rotating().unwrap());
    drop(desk);
    // a restart in the middle
    let desk = world.desk();
    assert!(desk.is_rotating().unwrap());
    desk.rewrap(at(1)).unwrap();
    assert!(!desk.is_rotating().unwrap());
    drop(desk);
    let desk = world.desk();
    assert_eq!(desk.member("CARD-1").unwrap(), member);
    assert_eq!(desk.log().read(0, 10).unwrap().len(), 2);
}

/// Whoever changed the users' file, also while no node ran: each change once, and nothing of a way in itself.
#[test]
fn what_becomes_of_who_may_sign_in_is_entered_once() {
    use crate::auth::UserStanding;
    let world = World::new();
    let user = |name: &str, password: &str| UserStanding {
        name: name.to_owned(),
        roles: vec![Role::Administrator],
        password: password.to_owned(),
        one_use_password: false,
        second_factor: None,
        database_password: None,
        certificates: Vec::new(),
    };
    let told = |desk: &Desk| {
        let log = desk.log().read(0, 100).unwrap();
        assert!(log.iter().all(|it| it.deed == Deed::User && it.by == NODE && it.members == 0));
        log.into_iter().map(|it| (it.what, it.before, it.after)).collect::<Vec<_>>()
    };
    let text = |text: &str| Some(text.to_owned());

    let desk = world.desk();
    let mut users = vec![user("ann", "mark-1"), user("bob", "mark-2")];
    assert_eq!(desk.users_are(&users, at(0)).unwrap(), 2);
    assert_eq!(desk.users_are(&users, at(1)).unwrap(), 0);
    assert_eq!(told(&desk)[0], ("user ann may sign in".to_owned(), None, text("administrator")));

    // while no node runs
    drop(desk);
    let desk = world.desk();
    users[0].password = "mark-3".to_owned();
    users[0].second_factor = text("mark-8");
    users[0].roles = vec![Role::Store, Role::Officer];
    users[0].database_password = text("mark-4");
    users[0].certificates = vec!["CN=till-7".to_owned()];
    let bob = users.pop().unwrap();
    assert_eq!(desk.users_are(&users, at(2)).unwrap(), 6);
    assert_eq!(desk.users_are(&users, at(3)).unwrap(), 0);
    let log = told(&desk);
    let roles = Role::Store.to_string() + ", " + &Role::Officer.to_string();
    assert_eq!(
        log[2..],
        [
            ("roles of user ann".to_owned(), text("administrator"), Some(roles)),
            ("another password of user ann".to_owned(), None, None),
            ("second factor of user ann".to_owned(), text("none"), text("set up")),
            ("database password of user ann".to_owned(), text("none"), text("there")),
            ("client certificates of user ann".to_owned(), text("0"), text("1")),
            ("user bob was taken out".to_owned(), text("administrator"), None),
        ]
    );
    assert!(!format!("{log:?}").contains("mark-"));
    // who comes back under the same name is told of again
    users.push(bob);
    assert_eq!(desk.users_are(&users, at(4)).unwrap(), 1);
    // of a password that somebody else has set it is said that it is for one use, of the own one after it nothing
    users[0].password = "mark-5".to_owned();
    users[0].one_use_password = true;
    users.push(UserStanding { one_use_password: true, ..user("cid", "mark-6") });
    assert_eq!(desk.users_are(&users, at(5)).unwrap(), 3);
    users[0].password = "mark-7".to_owned();
    users[0].one_use_password = false;
    assert_eq!(desk.users_are(&users, at(6)).unwrap(), 1);
    assert_eq!(
        told(&desk)[9..],
        [
            ("another password of user ann".to_owned(), None, text("for one use")),
            ("user cid may sign in".to_owned(), None, text("administrator")),
            ("password of user cid".to_owned(), None, text("for one use")),
            ("another password of user ann".to_owned(), None, None),
        ]
    );
    // the mark is taken off in the file, and the password that went through other hands stays
    let cid = users.iter().position(|it| it.name == "cid").unwrap();
    users[cid].one_use_password = false;
    assert_eq!(desk.users_are(&users, at(7)).unwrap(), 1);
    let taken_off = ("password of user cid".to_owned(), text("for one use"), None);
    assert_eq!(told(&desk).last(), Some(&taken_off));
    // one secret in place of another, with no time between without one
    users[0].second_factor = text("mark-9");
    assert_eq!(desk.users_are(&users, at(7)).unwrap(), 1);
    assert_eq!(desk.users_are(&users, at(8)).unwrap(), 0);
    let log = told(&desk);
    let other = ("another second factor of user ann".to_owned(), None, None);
    assert_eq!(log.last(), Some(&other));
    assert!(!format!("{log:?}").contains("mark-"));
}

/// A store that cannot keep what of users was told, or can again.
struct Forgetful(AtomicBool);

impl Watch for Forgetful {
    fn writes(&self, writes: &[Write]) -> Result<(), StoreError> {
        let is_users = |write: &Write| matches!(write, Write::Put { keyspace: "desk_user", .. });
        match self.0.load(Ordering::Relaxed) && writes.iter().any(is_users) {
            true => Err(StoreError::Poisoned { earlier: None }),
            false => Ok(()),
        }
    }
}

#[test]
fn what_becomes_of_users_is_told_once_however_often_it_could_not_be_kept() {
    use crate::auth::UserStanding;
    let kept = Arc::new(Watched::by(Forgetful(AtomicBool::new(true))));
    let desk = World::new().desk_in(kept.clone());
    let user = |name: &str| UserStanding {
        name: name.to_owned(),
        roles: vec![Role::Administrator],
        password: "mark".to_owned(),
        one_use_password: false,
        second_factor: None,
        database_password: None,
        certificates: Vec::new(),
    };
    let users = [user("ann"), user("bob")];
    for _ in 0..3 {
        assert!(desk.users_are(&users, at(0)).is_err());
    }
    kept.watch.0.store(false, Ordering::Relaxed);
    assert_eq!(desk.users_are(&users, at(1)).unwrap(), 2);
    assert_eq!(desk.log().read(0, 100).unwrap().len(), 2);
}

#[test]
fn who_walks_a_list_goes_on_after_a_restart_and_at_no_other_node() {
    let (world, other) = (World::new(), World::new());
    let key = |world: &World| *world.desk().cursor_key().expose();
    assert_eq!(key(&world), key(&world));
    assert_ne!(key(&world), key(&other));
    assert_ne!(key(&world), *world.desk().sealed.key.expose());
}

/// What becomes of a keyspace in a member's export.
enum Held {
    /// What is in it of the member is in these parts of the export.
    In(&'static [&'static str]),
    /// Nothing of it is, because.
    Not(&'static str),
}

/// Every keyspace of the node's store, and what of it a member is shown. The programme's state is not in the store but in
/// the journal: `programme::state::Held` takes it apart so that a new part does not compile without its place.
const KEYSPACES: [(&str, Held); 61] = {
    use Held::{In, Not};
    const INDEX: Held = Not("an index of what is exported");
    const WORK: Held = Not("what is still to be told or entered; it goes when that is done");
    const GONE: Held = Not("about who is gone, without a name");
    const HASH: Held = Not("keyed hashes that lead to the member; their kinds are in identifiers");
    const OURS: Held = Not("the brand's own, of no member");
    [
        (
            "vault_member",
            In(&["identifiers", "attributes", "consents", "linked_from", "legal_hold"]),
        ),
        ("vault_identifier", HASH),
        ("vault_shared_identifier", HASH),
        ("vault_subject", Not("the number that stands for the member in files of purchases")),
        ("vault_erased", GONE),
        ("vault_erased_subject", GONE),
        ("vault_tombstone", GONE),
        ("vault_brand_key", OURS),
        ("vault_revision", OURS),
        ("vault_absorbed", In(&["merges"])),
        ("vault_merge", In(&["merges"])),
        (
            "vault_pair",
            Not(
                "a guess about two people, which would name the other; a person's finding is a merge",
            ),
        ),
        ("vault_merge_to_tell", WORK),
        ("vault_link_code", Not("hashes of codes that are good for a quarter of an hour")),
        ("vault_link_code_of_member", Not("which of these is the member's latest")),
        ("vault_link_handle", INDEX),
        ("vault_link", In(&["links"])),
        ("vault_unlink", WORK),
        ("facts_chunk", In(&["purchases"])),
        ("facts_source", In(&["purchases"])),
        ("facts_removed", GONE),
        ("facts_retired", WORK),
        ("purchases_basket_sealed", In(&["purchases"])),
        ("purchases_basket", In(&["purchases"])),
        ("purchases_import", OURS),
        ("purchases_import_pointer", OURS),
        ("purchases_change", WORK),
        ("purchases_batch_key", Not("hashes of the keys of requests")),
        ("ended_questions", OURS),
        (
            "standing_spent",
            Not(
                "how far a period's lines have used up the bounds of joint questions: counted from purchases",
            ),
        ),
        ("earned", INDEX),
        ("earned-latest", INDEX),
        ("clean-room-entries", OURS),
        ("exchange-pages", In(&["exchanges"])),
        ("exchange-numbers", INDEX),
        ("exchange-numbers-ended", INDEX),
        ("exchange-numbers-of", INDEX),
        ("exchange-leaves", INDEX),
        ("exchange-times", INDEX),
        ("exchange-times-to", INDEX),
        ("received-pages", In(&["received"])),
        ("received-leaves", INDEX),
        ("received-leaves-ended", INDEX),
        ("received-numbers-of", INDEX),
        ("received-times", INDEX),
        ("sent-back", In(&["received"])),
        ("operation", Not("what the brand's staff did: the compliance officer answers for it")),
        ("desk_request", In(&["requests"])),
        ("desk_request_open", INDEX),
        ("desk_request_of_member", INDEX),
        ("desk_assessment", OURS),
        ("desk_breach", OURS),
        (
            "desk_alert",
            Not(
                "what was unusual in the operation log; of a member's points it is a review, in programme",
            ),
        ),
        ("desk_erasure", WORK),
        ("desk_certificate", In(&["requests"])),
        ("desk_certificate_to_enter", WORK),
        ("desk_member_to_forget", WORK),
        ("desk_user", OURS),
        // balances and the programme are in the journal
        ("(journal) balances", In(&["points_available", "points_held"])),
        ("(journal) programme", In(&["programme"])),
        ("(journal) exchanges under way", In(&["exchanges", "received"])),
    ]
};

fn keyspaces_in(folder: &std::path::Path, found: &mut std::collections::BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            keyspaces_in(&path, found);
            continue;
        }
        let is_source = path.extension().is_some_and(|it| it == "rs");
        if !is_source || path.file_name().is_some_and(|it| it == "tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| line.contains("const ")) {
            let typed = line.split_once(": Keyspace = \"").map(|(_, rest)| (true, rest));
            let plain = || line.split_once(": &str = \"").map(|(_, rest)| (false, rest));
            let Some((is_typed, rest)) = typed.or_else(plain) else { continue };
            let Some((name, _)) = rest.split_once('"') else { continue };
            let stored = ["vault_", "purchases_", "facts_", "desk_"];
            if is_typed || stored.iter().any(|start| name.starts_with(start)) {
                found.insert(name.to_owned());
            }
        }
    }
}

/// A new keyspace fails here until it is said what of it a member is shown.
#[test]
fn every_place_where_something_is_stored_is_exported_or_says_why_not() {
    let mut found = std::collections::BTreeSet::new();
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    keyspaces_in(&sources, &mut found);
    assert!(found.len() > 40, "{found:?}");
    let known = |name: &String| KEYSPACES.iter().any(|(known, _)| known == name);
    let unknown: Vec<&String> = found.iter().filter(|name| !known(name)).collect();
    assert!(unknown.is_empty(), "say of these what a member's export has of them: {unknown:?}");
    let export = serde_json::to_value(MemberExport::default()).unwrap();
    for (name, held) in &KEYSPACES {
        let is_there = found.contains(*name) || name.starts_with("(journal)");
        assert!(is_there, "{name} is no keyspace any more");
        match held {
            Held::In(parts) => {
                let missing: Vec<_> =
                    parts.iter().filter(|it| export.get(**it).is_none()).collect();
                assert!(missing.is_empty(), "{name}: no {missing:?} in an export");
            }
            Held::Not(why) => assert!(why.len() > 10, "{name}"),
        }
    }
}
