//! How sensitive every field of every answer is, by whom it may be read, and what routes leave out for some of those
//! who may ask them.
//!
//! The fields are the document's, the routes and who asks them the table's. `classes.txt` has a class for each field: one
//! without a class fails, and so does one that a route has for somebody whom its class is not for, unless what is really
//! answered leaves it out for them and has it for others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::*;

/// Who reads an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reader {
    /// Whoever has not signed in.
    Nobody,
    /// A member, in the member's own session.
    Member,
    /// A user of the node in one role.
    User(Role),
}

pub(super) const NOBODY: Reader = Reader::Nobody;
pub(super) const MEMBER: Reader = Reader::Member;
pub(super) const ADMINISTRATOR: Reader = Reader::User(Role::Administrator);
pub(super) const PARTNER: Reader = Reader::User(Role::Partner);
pub(super) const ANALYST: Reader = Reader::User(Role::Analyst);
pub(super) const OFFICER: Reader = Reader::User(Role::Officer);
pub(super) const STORE: Reader = Reader::User(Role::Store);
pub(super) const APP: Reader = Reader::User(Role::App);

impl Reader {
    /// Those whom a route answers.
    pub(super) fn of(route: &Route) -> Vec<Self> {
        match route.access {
            Access::Public => vec![NOBODY],
            Access::Member | Access::MemberPage => vec![MEMBER],
            Access::Needs { roles, .. } | Access::Page { roles, .. } => {
                roles.iter().copied().map(Self::User).collect()
            }
        }
    }
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.pad("nobody"),
            Self::Member => f.pad("member"),
            Self::User(role) => fmt::Display::fmt(role, f),
        }
    }
}

macro_rules! classes {
    ($($(#[$doc:meta])* $class:ident $name:literal: $($reader:ident)|+;)*) => {
        /// What kind of thing a field says.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        enum Class {$($(#[$doc])* $class,)*}

        impl Class {
            const ALL: &[Self] = &[$(Self::$class),*];

            fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$class),)*
                    _ => None,
                }
            }

            /// Whether it may be read by somebody at all.
            fn is_for(self, reader: Reader) -> bool {
                match self {$(Self::$class => [$($reader),+].contains(&reader),)*}
            }
        }
    };
}

classes! {
    /// What anyone may know: that the node is well, the programme's rules, why something was refused.
    Open "open": NOBODY | MEMBER | ADMINISTRATOR | PARTNER | ANALYST | OFFICER | STORE | APP;
    /// What opens the session of who asks, shown this once.
    SignIn "sign_in": NOBODY | ADMINISTRATOR | PARTNER | ANALYST | OFFICER | STORE | APP;
    /// How the node, its logs and its exchanges are, without sizes and persons.
    State "state": ADMINISTRATOR | PARTNER | ANALYST | OFFICER | STORE | APP;
    /// An answer that is noised and released.
    Released "released": ADMINISTRATOR | PARTNER | ANALYST | OFFICER | STORE | APP;
    /// That something has happened, and how far it is.
    Event "event": PARTNER | ANALYST | OFFICER | STORE | APP;
    /// How many there are exactly: one more or less is somebody.
    Size "size": ADMINISTRATOR | PARTNER | OFFICER | STORE;
    /// What may be asked.
    Offer "offer": ADMINISTRATOR | PARTNER | ANALYST | OFFICER | STORE;
    /// What was spent of the privacy budget, by account, and the brand's policy of it.
    Budget "budget": ADMINISTRATOR | ANALYST | OFFICER;
    /// How far a question is, and what it came to.
    Question "question": ANALYST | OFFICER;
    /// What was asked, when and by whom: an analyst reads it of the own questions, as the marks in `fields.rs` hold.
    Asked "asked": ANALYST | OFFICER;
    /// What a question would cost.
    Plan "plan": ANALYST;
    /// Exact figures of the brand's own members.
    Figure "figure": PARTNER | STORE;
    /// The programme's books, coupons, segments and campaigns.
    Books "books": ADMINISTRATOR | PARTNER | OFFICER;
    /// Rules that are being written.
    Rules "rules": PARTNER;
    /// What brands have agreed on, and how they stand with each other.
    Alliance "alliance": ADMINISTRATOR | PARTNER | OFFICER;
    /// Who is to pay whom.
    Clearing "clearing": PARTNER | OFFICER;
    /// What waits for a second person.
    SecondPerson "second_person": PARTNER | OFFICER;
    /// A balance that staff corrected.
    Correction "correction": PARTNER | OFFICER | STORE;
    /// One exchange, without its member.
    Exchange "exchange": MEMBER | PARTNER | OFFICER | STORE;
    /// What a member asked the service.
    Service "service": MEMBER | PARTNER | OFFICER | STORE;
    /// What became of what was asked for.
    Outcome "outcome": MEMBER | PARTNER | OFFICER | STORE | APP;
    /// What one member has and was promised.
    Person "person": MEMBER | OFFICER | STORE;
    /// All that is held of one member, whole.
    Held "held": MEMBER | OFFICER;
    /// What only the member's own page has.
    Own "own": MEMBER;
    /// Who a member is, as the table of members' fields masks it.
    Record "record": OFFICER | STORE;
    /// A member's legal affairs.
    Case "case": OFFICER;
    /// What the counter works with.
    Counter "counter": STORE;
    /// Whom the brand's app has before it.
    Recognised "recognised": APP;
    /// What is to be told to members.
    Notice "notice": STORE | APP;
    /// What opens a member's session or link, handed to the member.
    MemberKey "member_key": STORE | APP;
    /// A member's session in the brand's app.
    AppKey "app_key": APP;
    /// Who did what with members' data.
    Operation "operation": OFFICER;
    /// What the officer keeps and finds.
    Oversight "oversight": OFFICER;
    /// Which sealing keys there are.
    Sealing "sealing": ADMINISTRATOR | OFFICER;
    /// What became of rows that were sent.
    Rows "rows": ADMINISTRATOR | APP;
    /// Users, backups, receivers of events.
    Administration "administration": ADMINISTRATOR;
    /// A password or secret for somebody else, shown this once.
    MadeKey "made_key": ADMINISTRATOR;
}

/// What routes have and leave out, and for whom. All else that they have is for everyone who may ask them.
const WITHHELD: [&str; 12] = [
    "get /api/v1/figures: StaffFiguresView.campaigns for store",
    "get /api/v1/figures: StaffFiguresView.report for store",
    "get /api/v1/members/{card}/record: MemberRecordView.legal_hold for store",
    "get /api/v1/members/{card}/record: MemberRecordView.merges for store",
    "get /api/v1/members/{card}/record: MemberRecordView.requests for store",
    "get /api/v1/status: Status.members for analyst",
    "get /api/v1/status: Status.members for app",
    "get /api/v1/status: Status.purchases for analyst",
    "get /api/v1/status: Status.purchases for app",
    "post /api/v1/members/look-up: MemberRecordView.legal_hold for store",
    "post /api/v1/members/look-up: MemberRecordView.merges for store",
    "post /api/v1/members/look-up: MemberRecordView.requests for store",
];

/// Routes that answer with JSON of a form of its own: the document, the report of an audit.
const OF_ANOTHER_FORM: [&str; 2] = ["/api/v1/openapi.json", "/api/v1/audits/latest/report"];

/// A schema and the name of one of its fields.
type Field = (&'static str, &'static str);

/// A schema and its name; none has the empty one.
type Named = (&'static str, &'static Value);

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(openapi::json()).unwrap());

/// The class of each field, as it is declared.
static DECLARED: LazyLock<BTreeMap<Field, Class>> = LazyLock::new(|| {
    let mut declared = BTreeMap::new();
    let lines = include_str!("classes.txt").lines();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (of, fields) = line.split_once(": ").unwrap();
        let (schema, name) = of.split_once(' ').unwrap();
        let class = Class::named(name).unwrap_or_else(|| panic!("there is no class {name}"));
        for field in fields.split(' ') {
            let before = declared.insert((schema, field), class);
            assert_eq!(before, None, "{schema}.{field} has two classes");
        }
    }
    declared
});

fn class_of(field: Field) -> Class {
    let (schema, name) = field;
    let class = DECLARED.get(&field).copied();
    class.unwrap_or_else(|| panic!("{schema}.{name} has no class in classes.txt"))
}

/// The schemas of which a value may be, each by its name, or by the name of what it is one of.
fn choices(schema: &'static Value) -> Vec<Named> {
    choices_of("", schema)
}

fn choices_of(name: &'static str, schema: &'static Value) -> Vec<Named> {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        return choices_of(name, &DOCUMENT["components"]["schemas"][name]);
    }
    let keys = ["oneOf", "anyOf", "allOf"];
    let several: Vec<&'static Value> =
        keys.into_iter().filter_map(|key| schema[key].as_array()).flatten().collect();
    if several.is_empty() {
        return vec![(name, schema)];
    }
    several.into_iter().flat_map(|one| choices_of(name, one)).collect()
}

/// What a route answers with when it does what it was asked: media type and schema.
fn answers(route: &Route) -> Vec<Named> {
    // the file of what the other one answers with
    let path = if route.path == "/my/export" { "/api/v1/me" } else { route.path };
    let path = path.replace("{*", "{").replace('/', "~1");
    let place = format!("/paths/{path}/{}/responses", route.method);
    let responses = DOCUMENT.pointer(&place).and_then(Value::as_object).unwrap();
    let done = responses.iter().filter(|(status, _)| status.starts_with('2'));
    let contents = done.filter_map(|(_, response)| response["content"].as_object()).flatten();
    contents.map(|(media, content)| (media.as_str(), &content["schema"])).collect()
}

/// Asks of every field of a schema once, and goes on to what is in it where the answer is yes.
fn visit(
    schema: &'static Value,
    seen: &mut BTreeSet<*const Value>,
    ask: &mut dyn FnMut(Field) -> bool,
) {
    for (name, schema) in choices(schema) {
        if let Some(fields) = schema["properties"].as_object() {
            if !seen.insert(std::ptr::from_ref(schema)) {
                continue;
            }
            for (field, inner) in fields {
                if ask((name, field.as_str())) {
                    visit(inner, seen, ask);
                }
            }
        }
        for inner in ["items", "additionalProperties"] {
            if schema[inner].is_object() {
                visit(&schema[inner], seen, ask);
            }
        }
    }
}

/// The fields that a route has and its reader may not read. What is in one of them is left out with it.
fn withheld(route: &Route, reader: Reader) -> BTreeSet<Field> {
    let mut withheld = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (_, schema) in answers(route) {
        visit(schema, &mut seen, &mut |field: Field| {
            let may = class_of(field).is_for(reader);
            if !may {
                withheld.insert(field);
            }
            may
        });
    }
    withheld
}

/// What answers have really had, field by field.
#[derive(Default)]
pub(super) struct Shown(BTreeMap<(&'static str, &'static str, Field), BTreeSet<Reader>>);

impl Shown {
    /// Takes an answer apart: each field that it has is one of its schema, and of a class that is for its reader.
    pub(super) fn take(&mut self, route: &'static Route, reader: Reader, answer: &Answer) {
        let media = answer.headers.get("content-type").map(|media| media.to_str().unwrap());
        if !answer.status.is_success() || media != Some("application/json") {
            return;
        }
        let value: Value = serde_json::from_slice(&answer.body).unwrap();
        let json = answers(route).into_iter().find(|(media, _)| *media == "application/json");
        let Some((_, schema)) = json else {
            panic!("{} {} answers with JSON and does not say so", route.method, route.path)
        };
        if !OF_ANOTHER_FORM.contains(&route.path) {
            self.walk((route, reader), schema, &value);
        }
    }

    fn walk(&mut self, at: (&'static Route, Reader), schema: &'static Value, value: &Value) {
        let choices = choices(schema);
        match value {
            Value::Array(items) => {
                for (_, schema) in choices.iter().filter(|(_, it)| it["items"].is_object()) {
                    items.iter().for_each(|item| self.walk(at, &schema["items"], item));
                }
            }
            Value::Object(fields) => {
                for (field, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                    self.field(at, &choices, (field.as_str(), value));
                }
            }
            _ => {}
        }
    }

    fn field(
        &mut self,
        (route, reader): (&'static Route, Reader),
        choices: &[Named],
        (field, value): (&str, &Value),
    ) {
        let Route { method, path, .. } = *route;
        for (name, schema) in choices {
            let known = schema["properties"].as_object().and_then(|it| it.get_key_value(field));
            if let Some((field, inner)) = known {
                let field = (*name, field.as_str());
                let class = class_of(field);
                assert!(class.is_for(reader), "{method} {path} for {reader}: {field:?}, {class:?}");
                self.0.entry((method, path, field)).or_default().insert(reader);
                return self.walk((route, reader), inner, value);
            }
        }
        // keyed by what they are of, as attributes are
        let keyed = choices.iter().find(|(_, it)| it["additionalProperties"].is_object());
        let Some((_, schema)) = keyed else {
            panic!("{method} {path} for {reader}: {field} is in no schema, so that it has no class")
        };
        self.walk((route, reader), &schema["additionalProperties"], value);
    }

    /// What was left out for some was there for others: it could have been where it must not be.
    pub(super) fn judge(&self) {
        for route in ROUTES {
            for reader in Reader::of(route) {
                for field in withheld(route, reader) {
                    let readers = self.0.get(&(route.method, route.path, field));
                    assert!(readers.is_some(), "{}: {field:?} was there for nobody", route.path);
                }
            }
        }
    }
}

#[test]
fn every_field_of_every_answer_has_a_class() {
    let mut fields = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let deliveries = DOCUMENT["webhooks"].as_object().unwrap().values();
    let sent = deliveries.filter_map(|it| it["post"]["requestBody"]["content"].as_object());
    let sent = sent.flatten().map(|(_, content)| &content["schema"]);
    // refusals have one form, whatever the route
    let refusals = &DOCUMENT["components"]["responses"]["NotFound"]["content"][PROBLEM_JSON];
    let answers = ROUTES.iter().flat_map(answers).map(|(_, schema)| schema);
    for schema in answers.chain(sent).chain([&refusals["schema"]]) {
        visit(schema, &mut seen, &mut |field: Field| {
            fields.insert(field);
            true
        });
    }
    let without: Vec<&Field> =
        fields.iter().filter(|field| !DECLARED.contains_key(*field)).collect();
    assert!(without.is_empty(), "give each a class in classes.txt: {without:?}");
    let gone: Vec<&Field> = DECLARED.keys().filter(|field| !fields.contains(*field)).collect();
    assert!(gone.is_empty(), "the document has them no more: {gone:?}");
    let used: BTreeSet<Class> = DECLARED.values().copied().collect();
    let unused: Vec<&Class> = Class::ALL.iter().filter(|class| !used.contains(*class)).collect();
    assert!(unused.is_empty(), "no field is of these: {unused:?}");
}

/// Every reader at every route, field by field: what a class keeps from somebody is left out by these routes alone, and
/// whether they do so is asked in `fields.rs`. A route that is opened to another role fails here.
#[test]
fn no_route_has_a_field_for_whom_its_class_is_not_but_these() {
    let mut found = BTreeSet::new();
    for route in ROUTES {
        for reader in Reader::of(route) {
            for (schema, field) in withheld(route, reader) {
                let Route { method, path, .. } = route;
                found.insert(format!("{method} {path}: {schema}.{field} for {reader}"));
            }
        }
    }
    let expected: BTreeSet<String> = WITHHELD.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}
