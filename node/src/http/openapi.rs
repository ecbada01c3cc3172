//! The OpenAPI document: generated from the route table and the handlers' types.
//!
//! What the table knows is added here rather than by hand at each handler: who may call a route, and
//! that every refusal is a problem.

use std::sync::LazyLock;

use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi as _};

use super::problem::PROBLEM_JSON;
use super::{Access, ROUTES, Route};

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
        for route in ROUTES {
            if let Some(operation) = operation(document, route) {
                complete(operation, route);
            }
        }
    }
}

fn operation<'d>(document: &'d mut OpenApi, route: &Route) -> Option<&'d mut Operation> {
    let item = document.paths.paths.get_mut(route.path)?;
    match route.method {
        "get" => item.get.as_mut(),
        "post" => item.post.as_mut(),
        "delete" => item.delete.as_mut(),
        _ => None,
    }
}

fn complete(operation: &mut Operation, route: &Route) {
    let mut refusals = vec![("default", "Any other refusal")];
    match route.access {
        Access::Public => operation.security = Some(vec![]),
        Access::Page { .. } => {}
        Access::Member => {
            let none: [String; 0] = [];
            operation.security = Some(vec![SecurityRequirement::new("member", none)]);
            refusals.push(("401", "No member's session, or one that is over"));
            operation.description =
                Some("For the member, with the token of a member's session.".to_owned());
        }
        Access::Needs { roles, .. } => {
            let none: [String; 0] = [];
            operation.security = Some(vec![SecurityRequirement::new("session", none)]);
            refusals.push(("401", "No session, or one that is over"));
            refusals.push(("403", "The user has none of the roles"));
            let roles: Vec<&str> = roles.iter().map(|role| role.name()).collect();
            operation.description = Some(format!("Needs one of the roles: {}.", roles.join(", ")));
        }
    }
    if let Access::Page { roles, .. } = route.access {
        let none: [String; 0] = [];
        operation.security = Some(vec![SecurityRequirement::new("cookie", none)]);
        refusals.push(("403", "The user has none of the roles"));
        let roles: Vec<&str> = roles.iter().map(|role| role.name()).collect();
        operation.description =
            Some(format!("For people with one of the roles: {}.", roles.join(", ")));
    }
    if operation.request_body.is_some() {
        refusals.push(("400", "The body cannot be read, or asks for what cannot be"));
        refusals.push(("413", "The body is too large"));
    }
    for (status, words) in refusals {
        let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response =
            ResponseBuilder::new().description(words).content(PROBLEM_JSON, problem).build();
        operation.responses.responses.entry(status.to_owned()).or_insert(response.into());
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
