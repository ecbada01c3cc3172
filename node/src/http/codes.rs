//! Every code of a refusal: with which status it comes, at which routes, what it means and what to do next.
//!
//! One list, in `codes.json`. The document names the codes of each answer out of it, and docs/api.md has it as a
//! table. Tests hold it against the sources: a code that is made somewhere and is not listed fails, and so does one
//! that nothing makes.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{Content, RefOr};

use super::limits::UNCOUNTED;
use super::{Access, Route};
use crate::console::Listed;

/// The key under which the document has codes: of an operation by status, of the whole by code.
pub(super) const EXTENSION: &str = "x-error-codes";

/// One code.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    code: String,
    /// The statuses it comes with.
    status: Vec<u16>,
    /// The routes it comes from: see [`is_at`].
    at: Vec<String>,
    /// What it means.
    en: String,
    zh: String,
    /// What to do.
    next: String,
    next_zh: String,
}

static CODES: LazyLock<Vec<Code>> =
    LazyLock::new(|| serde_json::from_str(include_str!("codes.json")).unwrap_or_default());

/// The codes with which an operation can refuse, by status.
pub(super) fn of(route: &Route, operation: &Operation) -> BTreeMap<u16, Vec<&'static str>> {
    let mut of: BTreeMap<u16, Vec<&'static str>> = BTreeMap::new();
    for code in CODES.iter().filter(|code| code.at.iter().any(|at| is_at(at, route, operation))) {
        for status in &code.status {
            of.entry(*status).or_default().push(&code.code);
        }
    }
    of
}

/// What a code means and what to do, in Chinese.
pub(super) fn in_chinese(code: &str) -> Option<Listed> {
    let code = CODES.iter().find(|listed| listed.code == code)?;
    Some((code.zh.as_str(), code.next_zh.as_str()))
}

/// All of them with what they mean, for the document.
pub(super) fn all() -> Value {
    let about = |code: &Code| {
        let Code { status, en, zh, next, next_zh, .. } = code;
        json!({ "status": status, "en": en, "zh": zh, "next": next, "next_zh": next_zh })
    };
    CODES.iter().map(|code| (code.code.clone(), about(code))).collect()
}

/// Whether an operation is among those that a list of codes says it this way of: a group (`@json`: those that take JSON),
/// or a path with those below it, behind a method where it is of that alone. `$` at its end leaves out what is below,
/// `*` at its beginning stands for whatever comes before.
fn is_at(at: &str, route: &Route, operation: &Operation) -> bool {
    if let Some(group) = at.strip_prefix('@') {
        return is_in(group, route, operation);
    }
    let path = match at.split_once(' ') {
        Some((method, _)) if method != route.method => return false,
        Some((_, path)) => path,
        None => at,
    };
    if let Some(end) = path.strip_prefix('*') {
        return route.path.ends_with(end);
    }
    match path.strip_suffix('$') {
        Some(path) => route.path == path,
        None => route
            .path
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

fn is_in(group: &str, route: &Route, operation: &Operation) -> bool {
    let parameters = || {
        operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
            RefOr::T(parameter) => Some(parameter),
            RefOr::Ref(_) => None,
        })
    };
    let body = match &operation.request_body {
        Some(RefOr::T(body)) => Some(&body.content),
        _ => None,
    };
    let takes = |media: &str| {
        body.is_some_and(|body: &BTreeMap<String, RefOr<Content>>| body.contains_key(media))
    };
    match group {
        "counted" => !UNCOUNTED.contains(&route.path),
        "session" => matches!(route.access, Access::Needs { .. }),
        "page" => matches!(route.access, Access::Page { .. }),
        "member" => matches!(route.access, Access::Member),
        "json" => takes("application/json"),
        "form" => takes("application/x-www-form-urlencoded"),
        "files" => takes("multipart/form-data"),
        "body" => body.is_some(),
        "path" => route.path.contains('{'),
        "query" => parameters().any(|it| matches!(it.parameter_in, ParameterIn::Query)),
        "key" => parameters().any(|it| it.name == "Idempotency-Key"),
        // `none`: of what is no route
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;
    use std::path::Path;

    use axum::http::StatusCode;

    use super::super::{Problem, ROUTES, openapi};
    use super::*;
    use crate::console::Language;
    use crate::service::Bilingual;

    /// Where what makes codes is: for the programme and questions their own crates.
    const SOURCES: [&str; 7] = [
        "src/http",
        "src/service",
        "src/runtime",
        "src/cleanroom",
        "src/auth",
        "programme/src/state",
        "../privacy/src/sql",
    ];
    /// What stands beside a status and is no code: the states of health.
    const NO_CODES: [&str; 2] = ["ok", "stopping"];
    const BEGIN: &str = "<!-- codes: written by a test -->\n";
    const END: &str = "<!-- codes end -->\n";

    /// The sources without their tests, one after the other.
    fn sources() -> String {
        let mut text = String::new();
        let mut folders: Vec<_> =
            SOURCES.map(|it| Path::new(env!("CARGO_MANIFEST_DIR")).join(it)).into();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if path.is_dir() && name != "tests" {
                    folders.push(path);
                } else if name.ends_with(".rs") && name != "tests.rs" && name != "testing.rs" {
                    let whole = std::fs::read_to_string(&path).unwrap();
                    text += whole.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                }
            }
        }
        text
    }

    fn is_code(text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    }

    /// The literals that come next after a mark and what `between` passes over.
    fn literals<'s>(
        source: &'s str,
        mark: &'s str,
        between: impl Fn(&'s str) -> Option<&'s str> + 's,
    ) -> impl Iterator<Item = &'s str> {
        source.split(mark).skip(1).filter_map(move |rest| {
            let literal = between(rest)?.trim_start().strip_prefix('"')?;
            literal.split('"').next().filter(|text| is_code(text))
        })
    }

    #[test]
    fn every_code_that_is_made_is_listed_and_every_listed_one_is_made() {
        let source = sources();
        let listed: BTreeSet<&str> = CODES.iter().map(|code| code.code.as_str()).collect();
        assert_eq!(listed.len(), CODES.len(), "a code is listed twice");
        // `ErrorKind::Refused, "code"` and `StatusCode::CONFLICT, "code"`
        let behind_kind = |rest: &'static str| {
            let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')?;
            rest[end..].strip_prefix(',')
        };
        let source: &'static str = source.leak();
        let kinds = ["ErrorKind::", "StatusCode::"];
        let stated = kinds.into_iter().flat_map(|mark| literals(source, mark, behind_kind));
        // what a module's own functions are given
        let calls = [" invalid(", "(invalid(", " refused(", "(refused(", "(refuse("];
        let given = calls.into_iter().flat_map(|mark| literals(source, mark, Some));
        let made: BTreeSet<&str> = stated.chain(given).collect();
        assert!(made.len() > 100, "{made:?}");
        for code in made.iter().filter(|code| !NO_CODES.contains(code)) {
            assert!(listed.contains(code), "{code} is not in codes.json");
        }
        for code in listed {
            assert!(source.contains(&format!("\"{code}\"")), "nothing refuses with {code}");
        }
    }

    #[test]
    fn every_code_says_what_it_means_and_what_to_do_in_both_languages() {
        for Code { code, status, at, en, zh, next, next_zh } in CODES.iter() {
            assert!(is_code(code) && !status.is_empty() && !at.is_empty(), "{code}");
            assert!(status.iter().all(|status| (400..600).contains(status)), "{code}");
            assert!(en.is_ascii() && next.is_ascii() && !en.is_empty() && !next.is_empty());
            assert!(!zh.is_ascii() && !next_zh.is_ascii(), "{code}: {zh} / {next_zh}");
            assert!([en, zh, next, next_zh].into_iter().all(|it| !it.contains('|')), "{code}");
        }
    }

    /// Whatever refuses is read on a page in the page's language, also where it was made in English alone.
    #[test]
    fn a_refusal_with_any_code_is_in_chinese_on_a_chinese_page_and_in_english_on_an_english_one() {
        let is_chinese = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
        for Code { code, .. } in CODES.iter() {
            let status = StatusCode::BAD_REQUEST;
            let problem = Problem::new(status, code, "this is <wrong>", "do <that>");
            assert_eq!(problem.words(Language::English), "this is <wrong>: do <that>", "{code}");
            let chinese = problem.words(Language::Chinese);
            let (what, next) = chinese.split_once('：').unwrap_or_else(|| panic!("{code}"));
            assert!(what.contains(is_chinese) && next.contains(is_chinese), "{code}: {chinese}");
            assert!(!chinese.contains("do <that>"), "{code}: {chinese}");
            let bare = chinese.replacen("（this is <wrong>）", "", 1);
            assert!(!bare.contains("this is <wrong>"), "{code}: {chinese}");
            let Bilingual { zh, en } = problem.member_words();
            assert!(zh.contains(is_chinese) && !en.contains(is_chinese), "{code}: {zh} / {en}");
        }
    }

    #[test]
    fn every_refusal_of_the_document_names_its_codes() {
        let document: Value = serde_json::from_str(openapi::json()).unwrap();
        let mut named = BTreeSet::new();
        for route in ROUTES {
            let path = route.path.replace("{*", "{").replace('/', "~1");
            let operation = document.pointer(&format!("/paths/{path}/{}", route.method)).unwrap();
            let what = format!("{} {}", route.method, route.path);
            if UNCOUNTED.contains(&route.path) {
                continue;
            }
            let codes = operation[EXTENSION].as_object().unwrap_or_else(|| panic!("{what}"));
            for code in codes.values().filter_map(Value::as_array).flatten() {
                named.insert(code.as_str().unwrap());
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                let is_problem = response.get("$ref").is_some()
                    || response["content"].get("application/problem+json").is_some();
                if !is_problem || status == "default" {
                    continue;
                }
                let of_status = codes.get(status).and_then(Value::as_array);
                let of_status = of_status.unwrap_or_else(|| panic!("{what}: no code of {status}"));
                let words = response["description"].as_str().unwrap_or_default();
                for code in of_status {
                    let code = code.as_str().unwrap();
                    assert!(words.contains(&format!("`{code}`")), "{what}: {words} without {code}");
                }
            }
        }
        // what no operation refuses with is of requests that are to none
        for code in CODES.iter().filter(|code| !named.contains(code.code.as_str())) {
            assert_eq!(code.at, ["@none"], "{} is of no route", code.code);
        }
        let about = document[EXTENSION].as_object().unwrap();
        assert!(named.iter().all(|code| about.contains_key(*code)));
    }

    #[test]
    fn routes_are_named_by_group_path_and_end() {
        let route = |method, path| Route { method, path, access: Access::Public };
        let none = Operation::new();
        let is = |at: &str, method, path| is_at(at, &route(method, path), &none);
        assert!(is("/api/v1/me", "get", "/api/v1/me/account"));
        assert!(is("/api/v1/me", "get", "/api/v1/me"));
        assert!(!is("/api/v1/me", "get", "/api/v1/members"), "a path ends at a slash");
        assert!(is("post /api/v1/queries", "post", "/api/v1/queries/plan"));
        assert!(!is("post /api/v1/queries", "get", "/api/v1/queries"));
        assert!(!is("post /api/v1/queries$", "post", "/api/v1/queries/plan"));
        assert!(is("post */consents", "post", "/api/v1/me/consents"));
        assert!(is("@path", "get", "/tile/{*path}") && !is("@path", "get", "/checkpoint"));
        assert!(is("@counted", "get", "/checkpoint") && !is("@counted", "get", "/healthz"));
        assert!(!is("@none", "get", "/checkpoint"));
    }

    fn table() -> String {
        let mut codes: Vec<&Code> = CODES.iter().collect();
        codes.sort_by(|one, other| one.code.cmp(&other.code));
        let mut text = String::from(
            "\n| code 错误代码 | status | meaning 含义 | next step 下一步 |\n|---|---|---|---|\n",
        );
        for Code { code, status, en, zh, next, next_zh, .. } in codes {
            let status: Vec<String> = status.iter().map(u16::to_string).collect();
            let status = status.join(", ");
            let _ = writeln!(text, "| `{code}` | {status} | {en}<br>{zh} | {next}<br>{next_zh} |");
        }
        text + "\n"
    }

    #[test]
    fn the_table_of_the_documents_is_the_one_of_the_list() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api.md");
        let whole = std::fs::read_to_string(path).unwrap();
        let (before, rest) = whole.split_once(BEGIN).unwrap();
        let (written, after) = rest.split_once(END).unwrap();
        let now = table();
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(path, format!("{before}{BEGIN}{now}{END}{after}")).unwrap();
            return;
        }
        assert!(
            written == now,
            "docs/api.md differs from codes.json; write it anew with \
             `UPDATE_SNAPSHOTS=1 cargo test -p node --lib http::codes`"
        );
    }
}
