//! Every reader at every route, and every field: what somebody may not see comes out nowhere. Readers are the roles, a
//! member in the own session, and whoever has not signed in.
//!
//! Routes and their readers are the table's, fields of a member the kinds and attributes that there are: a new one of
//! either is asked about, and a kind without a mark here does not compile. Of all other fields the classes are in
//! `classes.rs`; marks stand for them on pages and in files, which have no schema.

use std::collections::{BTreeMap, BTreeSet};

use protocol::time::Timestamp;

use super::classes::{ADMINISTRATOR, ANALYST, MEMBER, OFFICER, PARTNER, Reader, STORE, Shown};
use super::*;
use crate::auth::{MemberField, Sight};
use crate::desk::{RequestKind, member_name};
use crate::http::testing::{BUDGET_ACCOUNT, LIABILITY_POINTS};
use crate::vault::{
    Attribute, CardNumber, Enrolment, Identifier, IdentifierKind, MemberId, NewMember, sample_rule,
};

/// All that is held, which the officer hands to the member who asked for it (PIPL art. 45).
const EXPORT: &str = "/api/v1/members/{card}/export";
const PHONE: &str = "13798765432";
const CARD: &str = "CARDMARK7712";
const WORDS: &str = "words of mark 7740";
const REASON: &str = "reason of mark 7741";
/// Who put the member on hold: the operation log has it, and nothing else.
const CLERK: &str = "clerk.mark.7750";
/// The number of the other member of the fixture.
const OTHER_PHONE: &str = "13812345678";

/// A value that stands nowhere else, with the fields of the table by which somebody may see it whole.
struct Mark {
    what: &'static str,
    text: &'static str,
    fields: &'static [MemberField],
    // whether it is kept at all, and not its hash alone
    kept: bool,
}

impl Mark {
    fn may_be_whole_for(&self, reader: Reader) -> bool {
        match reader {
            Reader::Nobody => false,
            // it is the member's own
            Reader::Member => true,
            Reader::User(role) => {
                self.fields.iter().any(|field| field.seen_by(role) == Sight::Whole)
            }
        }
    }
}

/// What is no member's: how it is written, as programs and as people read it, and for whom it is.
struct Other {
    what: &'static str,
    texts: Vec<String>,
    readers: &'static [Reader],
}

fn others() -> Vec<Other> {
    let of = |what: &'static str, texts: &[&str], readers: &'static [Reader]| {
        let texts = texts.iter().map(ToString::to_string).collect();
        Other { what, texts, readers }
    };
    let purchases = crate::console::samples::status().purchases.unwrap();
    let liability = LIABILITY_POINTS;
    assert_eq!((purchases, liability), (1_469_307, 77_455_501));
    vec![
        // the fixture's questions but for one are his
        of("what somebody else asked", &["SELECT 2", "zhao"], &[OFFICER]),
        of("an entry of the operation log", &[CLERK], &[OFFICER]),
        of("an account of the budget", &[BUDGET_ACCOUNT], &[ADMINISTRATOR, ANALYST, OFFICER]),
        of(
            "the programme's books",
            &["77455501", "77,455,501"],
            &[ADMINISTRATOR, PARTNER, OFFICER],
        ),
        of("an exact size", &["1469307", "1,469,307"], &[ADMINISTRATOR, PARTNER, OFFICER, STORE]),
    ]
}

const fn of_kind(kind: IdentifierKind) -> (&'static str, &'static [MemberField]) {
    use MemberField::{AddressedCard, Card, Identifiers, Phone, Tokens};
    match kind {
        IdentifierKind::Phone => (PHONE, &[Phone]),
        IdentifierKind::Card => (CARD, &[Card, AddressedCard]),
        IdentifierKind::MatchKey => ("matchkeymark7713", &[Tokens]),
        IdentifierKind::WechatOpenId => ("openidmark7714openidmark", &[Identifiers]),
        IdentifierKind::WechatUnionId => ("unionidmark7715unionidmark", &[Identifiers]),
        IdentifierKind::AlipayUserId => ("2088770077160001", &[Identifiers]),
        IdentifierKind::AppUserId => ("appuser.mark7717", &[Identifiers]),
        IdentifierKind::Email => ("mark7718.person@fields.example", &[Identifiers]),
        IdentifierKind::Device => ("devicemark7719", &[Tokens]),
        IdentifierKind::FaceToken => ("facetokenmark7720", &[Tokens]),
        IdentifierKind::EcommerceAccount => ("tmall:shopmark7721", &[Identifiers]),
        IdentifierKind::LicencePlate => ("粤B77122", &[Identifiers]),
        IdentifierKind::PaymentToken => ("paytokenmark7723", &[Tokens]),
    }
}

const fn of_attribute(attribute: Attribute) -> (&'static str, &'static [MemberField]) {
    use MemberField::{Address, BirthDate, Name, Profile};
    match attribute {
        Attribute::FirstPurchase => ("2003-04-05", &[Profile]),
        Attribute::BirthDate => ("1931-02-17", &[BirthDate]),
        Attribute::Name => ("Ouyang Markwell", &[Name]),
        Attribute::Address => ("77 Marker Lane, Test Town", &[Address]),
        Attribute::AgeBand => ("mark-age-7731", &[Profile]),
        Attribute::IncomeBand => ("mark-income-7732", &[Profile]),
        Attribute::HomeOwnership => ("mark-home-7733", &[Profile]),
        Attribute::MaritalStatus => ("mark-marital-7734", &[Profile]),
        Attribute::HouseholdSize => ("mark-size-7735", &[Profile]),
        Attribute::HouseholdComposition => ("mark-composition-7736", &[Profile]),
        Attribute::KidsCount => ("mark-kids-7737", &[Profile]),
    }
}

fn marks() -> Vec<Mark> {
    let kinds = IdentifierKind::ALL.map(|kind| {
        let (text, fields) = of_kind(kind);
        Mark { what: kind.name(), text, fields, kept: kind.keeps_value() }
    });
    let attributes = Attribute::ALL.map(|attribute| {
        let (text, fields) = of_attribute(attribute);
        Mark { what: attribute.column(), text, fields, kept: true }
    });
    let words = [
        Mark {
            what: "a request's words",
            text: WORDS,
            fields: &[MemberField::Requests],
            kept: true,
        },
        Mark { what: "a hold's reason", text: REASON, fields: &[MemberField::Hold], kept: true },
    ];
    kinds.into_iter().chain(attributes).chain(words).collect()
}

const fn at(ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(1_780_000_000_000 + ms)
}

fn attributes() -> BTreeMap<Attribute, Option<String>> {
    let value = |attribute| (attribute, Some(of_attribute(attribute).0.to_owned()));
    Attribute::ALL.into_iter().map(value).collect()
}

/// A member whose every field is marked, by a number of this node.
fn marked_member(fixture: &Fixture) -> MemberId {
    let desk = &fixture.desk.0;
    let card = CardNumber::new(CARD).unwrap();
    let person = NewMember { card, match_key: None, attributes: BTreeMap::new() };
    let enrolled = desk.vault().enrol(&[person], &sample_rule(at(0))).unwrap();
    let [Enrolment::Created(member)] = enrolled[..] else { panic!("{enrolled:?}") };
    for kind in IdentifierKind::ALL.into_iter().filter(|kind| *kind != IdentifierKind::Card) {
        let identifier = Identifier::parse(kind, of_kind(kind).0).unwrap();
        desk.add_identifier("ann", member, &identifier, at(1)).unwrap();
    }
    desk.correct("ann", member, &attributes(), at(2)).unwrap();
    let words = Some(WORDS.to_owned());
    desk.open_request("ann", member, RequestKind::Access, words, at(3)).unwrap();
    desk.set_hold(CLERK, member, Some(REASON.to_owned()), at(4)).unwrap();
    member
}

/// What the reader comes with: of the member, a session that the brand's app has begun.
async fn token_of(fixture: &Fixture, reader: Reader) -> Option<String> {
    match reader {
        Reader::Nobody => None,
        Reader::User(role) => Some(fixture.auth.token_for(&[role])),
        Reader::Member => {
            let app = fixture.client_as(&[Role::App]);
            let card = MemberSessionRequest { card: CARD.to_owned() };
            let begun = app.post("/api/v1/member-sessions", &[], &card).await;
            let MemberSessionView { token, .. } = begun.unwrap();
            Some(token)
        }
    }
}

/// What routes have changed of the member is as it was.
fn mark_again(fixture: &Fixture, member: MemberId) {
    let desk = &fixture.desk.0;
    desk.vault().correct(member, &attributes(), at(5)).unwrap();
    if desk.vault().hold(member).unwrap().is_none() {
        desk.set_hold("ann", member, Some(REASON.to_owned()), at(5)).unwrap();
    }
}

/// A path and a body as of [`example`], about a member.
fn about(route: &Route, name: &str) -> (String, Option<String>) {
    let (path, body) = example(route);
    let parts = route.path.split('/').zip(path.split('/'));
    let named = parts.map(|(part, filled)| if part == "{card}" { name } else { filled });
    let path = match route.path.contains("{card}") {
        true => named.collect::<Vec<_>>().join("/"),
        false => path.clone(),
    };
    let body = match (route.method, route.path) {
        ("post", "/staff") => Some(format!("action=look&kind=phone&value={PHONE}")),
        _ => body.map(|body| {
            body.replace("\"card\":\"1\"", &format!("\"card\":\"{name}\""))
                .replace("\"one\":\"1\"", &format!("\"one\":\"{name}\""))
                .replace("13812345678", PHONE)
        }),
    };
    (path, body)
}

#[tokio::test]
async fn no_role_sees_a_field_whole_at_any_route_that_the_table_of_fields_does_not_let_it_see() {
    let fixture = Fixture::start();
    let client = fixture.client();
    let member = marked_member(&fixture);
    let name = member_name(member);
    let (marks, others) = (marks(), others());
    let mut asked = BTreeSet::new();
    // what is whole somewhere, so that it could have been where it must not be
    let mut shown = BTreeSet::new();
    // and the same of every field that has a schema
    let mut fields = Shown::default();
    // twice, so that what the first round has entered is asked for in the second
    for _ in 0..2 {
        for route in ROUTES.iter().filter(|route| route.path != EXPORT) {
            // the first page is public, and shows more to who is signed in
            let is_first = route.path == "/";
            let by_cookie = Access::Page { permission: "", roles: &[] };
            let sent_as = if is_first { Route { access: by_cookie, ..*route } } else { *route };
            let signed_in = Role::ALL.into_iter().map(Reader::User).filter(|_| is_first);
            for reader in Reader::of(route).into_iter().chain(signed_in) {
                mark_again(&fixture, member);
                let token = token_of(&fixture, reader).await;
                let (path, body) = about(route, &name);
                let answer = send(&client, &sent_as, token.as_deref(), path, body).await;
                fields.take(route, reader, &answer);
                let said = String::from_utf8_lossy(&answer.body);
                let headers = format!("{:?}", answer.headers);
                let is_there = |text: &str| said.contains(text) || headers.contains(text);
                let Route { method, path, .. } = *route;
                for mark in marks.iter().filter(|mark| is_there(mark.text)) {
                    shown.insert((path, mark.what));
                    let what = mark.what;
                    assert!(mark.may_be_whole_for(reader), "{method} {path} as {reader}: {what}");
                }
                for other in others.iter().filter(|it| it.texts.iter().any(|text| is_there(text))) {
                    shown.insert((path, other.what));
                    let what = other.what;
                    assert!(other.readers.contains(&reader), "{method} {path} as {reader}: {what}");
                }
                if reader == MEMBER {
                    assert!(!is_there(OTHER_PHONE), "{method} {path}: another member's number");
                    // or nothing was asked in the member's own session
                    let is_let_in = !matches!(answer.status.as_u16(), 303 | 401 | 403);
                    assert!(is_let_in, "{method} {path}: {answer:?}");
                }
                asked.insert(path);
            }
        }
    }
    for path in [
        "/api/v1/members",
        "/api/v1/members/look-up",
        "/api/v1/members/{card}",
        "/api/v1/members/{card}/record",
        "/api/v1/programme/members/{card}",
        "/api/v1/programme/notices",
        "/api/v1/requests",
        "/api/v1/operations",
        "/api/v1/me",
        "/api/v1/me/account",
        "/staff",
        "/records",
        "/my",
        "/my/export",
    ] {
        assert!(asked.contains(path), "{path} was not asked");
    }
    // it was this member who was shown: to the officer with what the officer may see whole
    let record = "/api/v1/members/{card}/record";
    for what in ["age_band", "kids_count", "a request's words", "a hold's reason"] {
        assert!(shown.contains(&(record, what)), "{what} is not in the officer's record");
    }
    // and to the member with all that is kept
    for what in marks.iter().filter(|mark| mark.kept).map(|mark| mark.what) {
        for path in ["/api/v1/me", "/my/export"] {
            assert!(shown.contains(&(path, what)), "{what} is not at {path}");
        }
    }
    // what is no member's was where it may be, on a page where there is one
    for (path, what) in [
        ("/api/v1/queries", "what somebody else asked"),
        ("/api/v1/queries/{id}", "what somebody else asked"),
        ("/api/v1/operations", "an entry of the operation log"),
        ("/api/v1/budgets", "an account of the budget"),
        ("/budget", "an account of the budget"),
        ("/api/v1/figures", "the programme's books"),
        ("/api/v1/programme/report", "the programme's books"),
        ("/programme", "the programme's books"),
        ("/api/v1/status", "an exact size"),
        ("/", "an exact size"),
    ] {
        assert!(shown.contains(&(path, what)), "{what} is not at {path}");
    }
    // and all that is kept is there to be shown: the export has it
    let route = ROUTES.iter().find(|route| route.path == EXPORT).unwrap();
    let (path, body) = about(route, &name);
    let token = token_of(&fixture, OFFICER).await;
    let answer = send(&client, route, token.as_deref(), path, body).await;
    fields.take(route, OFFICER, &answer);
    let whole = String::from_utf8_lossy(&answer.body);
    for mark in &marks {
        assert_eq!(whole.contains(mark.text), mark.kept, "{}", mark.what);
    }
    fields.judge();
}
