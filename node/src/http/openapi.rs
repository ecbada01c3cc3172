//! The OpenAPI document: generated from the route table and the handlers' types.
//!
//! What the table knows is added here rather than by hand at each handler: who may call a route, that
//! every refusal is a problem, the limit of requests, which answers have an ETag.

use std::sync::LazyLock;

use axum::http::StatusCode;
use serde_json::json;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ContentBuilder, Object, OpenApi, Ref, RefOr, Response, ResponseBuilder, Type,
};
use utoipa::{Modify, OpenApi as _};

use super::conditional::REVALIDATED;
use super::listed::LISTED;
use super::problem::PROBLEM_JSON;
use super::{Access, Problem, ROUTES, Route, codes, examples};
use crate::auth::Role;

static JSON: LazyLock<String> =
    LazyLock::new(|| super::Document::openapi().to_pretty_json().unwrap_or_default() + "\n");

/// The document.
pub(super) fn json() -> &'static str {
    &JSON
}

/// Adds what the route table knows.
pub(super) struct FromTable;

impl Modify for FromTable {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(
            "session",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        );
        let name = ApiKeyValue::with_description(
            "__Host-session-BRAND",
            "what signing in on the page sets in the browser",
        );
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(name)));
        components
            .add_security_scheme("member", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        components.responses.extend(shared().map(|(name, response)| (name, response.into())));
        // what catches the rest of a path has another form here
        let paths = std::mem::take(&mut document.paths.paths).into_iter();
        document.paths.paths = paths.map(|(path, it)| (path.replace("{*", "{"), it)).collect();
        super::schemas::complete(document);
        super::answers::complete(document);
        document.webhooks = Some(super::deliveries::deliveries());
        for route in ROUTES {
            if let Some(operation) = operation(document, route) {
                complete(operation, route);
            }
        }
        let about = ExtensionsBuilder::new().add(codes::EXTENSION, codes::all()).build();
        document.extensions.get_or_insert_default().merge(about);
    }
}

fn operation<'d>(document: &'d mut OpenApi, route: &Route) -> Option<&'d mut Operation> {
    let item = document.paths.paths.get_mut(&route.path.replace("{*", "{"))?;
    match route.method {
        "get" => item.get.as_mut(),
        "post" => item.post.as_mut(),
        "delete" => item.delete.as_mut(),
        _ => None,
    }
}

/// A refusal as a problem.
fn problem(words: &str, example: Option<serde_json::Value>) -> ResponseBuilder {
    let schema = Some(Ref::from_schema_name("Problem"));
    let content = ContentBuilder::new().schema(schema).example(example).build();
    ResponseBuilder::new().description(words).content(PROBLEM_JSON, content)
}

fn header(kind: Type, words: &str, example: serde_json::Value) -> Header {
    let builder = HeaderBuilder::new().schema(Some(Object::with_type(kind)));
    builder.description(Some(words)).example(Some(example)).build()
}

/// What a route has whose answers have tags.
fn revalidated(operation: &mut Operation) {
    let tag = || header(Type::String, "Changes with the answer", "\"q1w2e3\"".into());
    let asked = ParameterBuilder::new()
        .name("If-None-Match")
        .parameter_in(ParameterIn::Header)
        .description(Some("The ETag of an answer that the caller has"))
        .schema(Some(Object::with_type(Type::String)));
    operation.parameters.get_or_insert_default().push(asked.build().into());
    let responses = &mut operation.responses.responses;
    if let Some(RefOr::T(answer)) = responses.get_mut("200") {
        answer.headers.insert("ETag".to_owned(), tag().into());
    }
    let known = ResponseBuilder::new().description("The caller has it as it is");
    responses.insert("304".to_owned(), known.header("ETag", tag()).build().into());
}

/// The refusals that routes share: name, status, code of the example, when.
const SHARED: [(&str, &str, u16, &str, &str); 10] = [
    (
        "BadRequest",
        "400",
        400,
        "json_unexpected",
        "The request cannot be read, or asks for what cannot be",
    ),
    ("Unauthorized", "401", 401, "token_missing", "No session of this kind, or one that is over"),
    (
        "Forbidden",
        "403",
        403,
        "role_missing",
        "The user has none of the roles, no second factor, or a password for one use",
    ),
    ("NotFound", "404", 404, "unknown", "There is no such thing"),
    ("Conflict", "409", 409, "idempotency_key_reused", "It clashes with what is there"),
    ("TooLarge", "413", 413, "body_too_large", "The body is too large"),
    ("UnsupportedMediaType", "415", 415, "json_expected", "The body is of another media type"),
    (
        "Refused",
        "422",
        422,
        "balance_too_low",
        "Understood, and refused by a rule: balance, limit, budget",
    ),
    (
        "TooManyRequests",
        "429",
        429,
        "rate_limited",
        "The caller's requests of this time are used up, or sign-ins under this name",
    ),
    (
        "Unavailable",
        "503",
        503,
        "too_busy",
        "Not now: the node is busy or stopping. Repeating it is safe",
    ),
];

fn shared() -> impl Iterator<Item = (String, Response)> {
    SHARED.into_iter().map(|(name, _, status, code, words)| {
        let status = StatusCode::from_u16(status).unwrap_or_default();
        let example =
            Problem::new(status, code, "what was wrong, and where", "what would be right");
        let mut response = problem(words, serde_json::to_value(example).ok());
        if name == "TooManyRequests" {
            response = limited(response);
        }
        if ["TooManyRequests", "Unavailable"].contains(&name) {
            let words = "Seconds until it is worth trying again";
            response = response.header("Retry-After", header(Type::Integer, words, 3.into()));
        }
        if name == "Unauthorized" {
            let words = "`Bearer`, with `error=\"invalid_token\"` for a token that is none";
            response =
                response.header("WWW-Authenticate", header(Type::String, words, "Bearer".into()));
        }
        (name.to_owned(), response.build())
    })
}

/// With the headers that say what is left.
fn limited(response: ResponseBuilder) -> ResponseBuilder {
    let state = "The policy that counted the request, requests left (`r`), seconds until all are there again (`t`)";
    let policy = "`address`, `members`, `staff` or `machines`: requests (`q`) within seconds (`w`)";
    response
        .header("RateLimit", header(Type::String, state, "\"staff\";r=0;t=60".into()))
        .header("RateLimit-Policy", header(Type::String, policy, "\"staff\";q=3000;w=60".into()))
}

/// The name of an operation, which is a handler's, with what tells it from others of that name.
fn name(operation: &mut Operation) {
    let is = |tag: &str| operation.tags.iter().flatten().any(|of| of == tag);
    let before = match (is("console"), is("programme")) {
        (true, _) => "page_",
        (_, true) => "programme_",
        (false, false) => return,
    };
    if let Some(id) = operation.operation_id.as_mut().filter(|id| !id.starts_with(before)) {
        id.insert_str(0, before);
    }
}

fn complete(operation: &mut Operation, route: &Route) {
    name(operation);
    let none: [String; 0] = [];
    let names = |roles: &[Role]| {
        let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
        names.join(", ")
    };
    let mut who = None;
    match route.access {
        Access::Public | Access::MemberPage => operation.security = Some(vec![]),
        Access::Page { roles, .. } => {
            operation.security = Some(vec![SecurityRequirement::new("cookie", none)]);
            who = Some(format!("For people with one of the roles: {}.", names(roles)));
        }
        Access::Member => {
            operation.security = Some(vec![SecurityRequirement::new("member", none)]);
            who = Some("For the member, with the token of a member's session.".to_owned());
        }
        Access::Needs { roles, .. } => {
            operation.security = Some(vec![SecurityRequirement::new("session", none)]);
            who = Some(format!("Needs one of the roles: {}.", names(roles)));
        }
    }
    if let Some(who) = who {
        let more = operation.description.take().filter(|more| !more.is_empty());
        operation.description = Some(more.map_or(who.clone(), |more| format!("{more}\n\n{who}")));
    }
    if let Some(RefOr::T(body)) = operation.request_body.as_mut() {
        for (media, content) in &mut body.content {
            if let RefOr::T(content) = content {
                content.example = examples::of(route.path, media);
            }
        }
    }
    refusals(operation, route);
    if route.method == "get" && REVALIDATED.iter().any(|(path, _)| *path == route.path) {
        revalidated(operation);
    }
    if route.method == "get" && LISTED.contains(&route.path) {
        let words = "Where the next page is, relative to this route; without it this is the last one (RFC 8288)";
        let link = "<?before=q1w2e3&limit=100>; rel=\"next\"".into();
        if let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") {
            let link = header(Type::String, words, link);
            answer.headers.insert("Link".to_owned(), link.into());
        }
    }
}

/// What an operation refuses with: an answer for each status, which names the codes that it can have.
fn refusals(operation: &mut Operation, route: &Route) {
    let codes = codes::of(route, operation);
    let responses = &mut operation.responses.responses;
    let other = problem("Any other refusal", None).build();
    responses.entry("default".to_owned()).or_insert(other.into());
    for (status, of_status) in &codes {
        let named: Vec<String> = of_status.iter().map(|code| format!("`{code}`")).collect();
        let named = named.join(", ");
        let status = status.to_string();
        match responses.get_mut(&status) {
            // the handler says itself when
            Some(RefOr::T(own)) => own.description = format!("{}: {named}", own.description),
            Some(RefOr::Ref(_)) => {}
            None => {
                let shared = SHARED.iter().find(|(_, of, ..)| *of == status);
                // of what is rare the answer `default` tells
                let Some((name, .., words)) = shared else { continue };
                let mut answer = Ref::from_response_name(*name);
                answer.description = format!("{words}: {named}");
                responses.insert(status, RefOr::Ref(answer));
            }
        }
    }
    if !codes.is_empty() {
        let by_status: serde_json::Value =
            codes.iter().map(|(status, all)| (status.to_string(), json!(all))).collect();
        let more = ExtensionsBuilder::new().add(codes::EXTENSION, by_status).build();
        operation.extensions.get_or_insert_default().merge(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the published document is kept.
    const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/openapi.json");

    #[test]
    fn the_document_is_the_published_one() {
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(SNAPSHOT, json()).unwrap();
        }
        let published = std::fs::read_to_string(SNAPSHOT).unwrap_or_default();
        assert!(
            json() == published,
            "the API has changed: look at the difference after \
             `UPDATE_SNAPSHOTS=1 cargo test -p node --lib http::openapi`, and commit it if it is meant"
        );
    }

    #[test]
    fn routes_and_document_are_one_thing() {
        let mut document = super::super::Document::openapi();
        for route in ROUTES {
            let operation = operation(&mut document, route).unwrap_or_else(|| {
                panic!("{} {} is not in the document", route.method, route.path)
            });
            assert!(operation.summary.is_some(), "{} has no summary", route.path);
            assert!(operation.responses.responses.contains_key("default"));
            let counted = operation.responses.responses.contains_key("429");
            assert_eq!(counted, !["/healthz", "/readyz"].contains(&route.path), "{}", route.path);
        }
        let operations = document
            .paths
            .paths
            .values()
            .flat_map(|item| [&item.get, &item.post, &item.delete].into_iter().flatten());
        let mut names: Vec<_> = operations.map(|it| it.operation_id.clone().unwrap()).collect();
        names.sort_unstable();
        for pair in names.windows(2) {
            assert_ne!(pair[0], pair[1], "two operations of one name");
        }
        let documented = document.paths.paths.values().map(|item| {
            [&item.get, &item.post, &item.delete, &item.put, &item.patch]
                .into_iter()
                .flatten()
                .count()
        });
        assert_eq!(documented.sum::<usize>(), ROUTES.len(), "the document has more than the table");
    }

    #[test]
    fn every_body_has_an_example_and_one_in_json_the_fields_that_its_schema_names() {
        let document: serde_json::Value = serde_json::from_str(json()).unwrap();
        let mut bodies = 0;
        for route in ROUTES {
            let pointer = |rest: &str| {
                let path = route.path.replace('~', "~0").replace('/', "~1");
                document.pointer(&format!("/paths/{path}/{}/{rest}", route.method))
            };
            let all = pointer("requestBody/content").and_then(serde_json::Value::as_object);
            for (media, content) in all.into_iter().flatten() {
                let has_example = content.get("example").is_some_and(|it| !it.is_null());
                assert!(has_example, "{} has no example in {media}", route.path);
            }
            let Some(body) = pointer("requestBody/content/application~1json") else { continue };
            bodies += 1;
            let example = body["example"].as_object();
            let example = example.unwrap_or_else(|| panic!("{} has no example", route.path));
            let reference = body["schema"]["$ref"].as_str().unwrap().trim_start_matches('#');
            let schema = document.pointer(reference).unwrap();
            // of what is one of several only the tests that send it know
            if let Some(fields) = schema.get("properties").and_then(|fields| fields.as_object()) {
                for name in example.keys() {
                    assert!(fields.contains_key(name), "{}: {name}", route.path);
                }
                for name in schema["required"].as_array().into_iter().flatten() {
                    assert!(example.contains_key(name.as_str().unwrap()), "{}: {name}", route.path);
                }
            }
        }
        assert!(bodies > 30, "{bodies}");
    }

    #[test]
    fn every_reference_in_the_document_is_there() {
        let document: serde_json::Value = serde_json::from_str(json()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 40);
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }

    fn collect(value: &serde_json::Value, references: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(map) => {
                references.extend(map.get("$ref").and_then(|r| r.as_str()).map(str::to_owned));
                map.values().for_each(|value| collect(value, references));
            }
            serde_json::Value::Array(list) => list.iter().for_each(|v| collect(v, references)),
            _ => {}
        }
    }
}
