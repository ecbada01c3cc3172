//! The architecture of `docs/architecture.md`, held: which crate may use which, what the two
//! protocol crates may not touch, which module of the node may know which other, one feature set.
//!
//! Each rule is a row of a table in `rules` with its reason. Each checker is also given a wrong
//! source here, so that it is known to be able to fail.

mod rules;
mod source;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use rules::{Alone, CRATES, Crate, FORBIDDEN, Forbidden, OWNED};
use source::{Named, Source};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn wrong_crates(metadata: &Value, table: &[Crate]) -> Vec<String> {
    let packages: Vec<&Value> = metadata["packages"].as_array().unwrap().iter().collect();
    let name = |package: &Value| package["name"].as_str().unwrap().to_owned();
    let members: Vec<String> = packages.iter().map(|package| name(package)).collect();
    let mut wrong = Vec::new();
    for package in packages {
        let name = name(package);
        let Some(rule) = table.iter().find(|rule| rule.name == name) else {
            wrong.push(format!(
                "crate {name} has no row in the table of crates: say what it may use"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            if members.iter().any(|member| member == used) && !rule.may_use.contains(&used) {
                wrong.push(format!("{name} -> {used} runs the wrong way: {}", rule.because));
            }
            if rule.without.contains(&used) {
                wrong.push(format!("{name} depends on {used}: {}", rule.because));
            }
        }
    }
    wrong
}

fn says(named: &Named, what: &str) -> bool {
    if let Some(name) = what.strip_prefix("::") {
        return named.path.iter().any(|part| part == name);
    }
    let parts: Vec<&str> = what.split("::").collect();
    // a crate's name alone may as well be a field's
    named.path.len() >= parts.len().max(2) && parts.iter().zip(&named.path).all(|(a, b)| a == b)
}

fn within(source: &Source, place: &str) -> bool {
    place.is_empty() || {
        let parts: Vec<&str> = place.split("::").collect();
        source.module.len() >= parts.len() && parts.iter().zip(&source.module).all(|(a, b)| a == b)
    }
}

fn wrong_names(crate_name: &str, sources: &[Source], table: &[Forbidden]) -> Vec<String> {
    let mut wrong = Vec::new();
    for rule in table.iter().filter(|rule| rule.in_crate == crate_name) {
        for source in sources.iter().filter(|source| within(source, rule.module)) {
            if rule.except.iter().any(|place| within(source, place)) {
                continue;
            }
            for named in &source.names {
                if let Some(what) = rule.names.iter().find(|what| says(named, what)) {
                    wrong.push(told(crate_name, source, named, what, rule.because));
                }
            }
        }
    }
    wrong
}

fn wrong_owners(crate_name: &str, sources: &[Source], table: &[Alone]) -> Vec<String> {
    let mut wrong = Vec::new();
    for rule in table.iter().filter(|rule| rule.in_crate == crate_name) {
        for source in sources {
            if rule.owners.iter().any(|owner| within(source, owner)) {
                continue;
            }
            for named in source.names.iter().filter(|named| says(named, rule.name)) {
                wrong.push(told(crate_name, source, named, rule.name, rule.because));
            }
        }
    }
    wrong
}

fn told(crate_name: &str, source: &Source, named: &Named, what: &str, because: &str) -> String {
    let module = source.module.join("::");
    let file = source.file.strip_prefix(workspace()).unwrap_or(&source.file).display().to_string();
    let path = named.path.join("::");
    format!(
        "{file}:{}: {crate_name}::{module} -> {path} ({}): {because}",
        named.line,
        what.trim_start_matches("::"),
    )
}

fn wrong_features(crate_name: &str, manifest: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().unwrap();
    let mut wrong = Vec::new();
    for kind in ["dependencies", "dev-dependencies", "build-dependencies", "target", "features"] {
        let Some(table) = manifest.get(kind).and_then(toml::Value::as_table) else { continue };
        if kind == "target" || kind == "features" {
            wrong.push(format!(
                "{crate_name} has [{kind}]: one feature set for all, in the workspace's manifest"
            ));
            continue;
        }
        for (name, value) in table {
            let inherited = value.as_table().is_some_and(|table| {
                table.len() == 1
                    && table.get("workspace").and_then(toml::Value::as_bool) == Some(true)
            });
            if !inherited {
                wrong.push(format!(
                    "{crate_name} [{kind}] {name}: write `{name}.workspace = true`; a feature added \
                     here builds the dependency twice for `cargo run` and `cargo test`"
                ));
            }
        }
    }
    wrong
}

/// What an example in documentation may be written in.
const NOT_RUST: [&str; 2] = ["sh", "text"];

/// Examples in documentation that would be tests: what stands in a fence or far to the right, in Rust.
fn wrong_examples(file: &str, text: &str) -> Vec<String> {
    let (mut wrong, mut fenced) = (Vec::new(), false);
    for (place, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let Some(words) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            fenced = false;
            continue;
        };
        let runs = match words.trim().strip_prefix("```") {
            Some(language) => {
                fenced = !fenced;
                fenced && !NOT_RUST.contains(&language)
            }
            None => !fenced && words.starts_with("     ") && !words.trim().is_empty(),
        };
        if runs {
            wrong.push(format!(
                "{file}:{}: an example that never runs, as the manifest has `doctest = false`: \
                 write a test",
                place + 1
            ));
        }
    }
    wrong
}

fn all_hold(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{} arrows run the wrong way:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn crates_use_only_what_is_to_their_left() {
    all_hold(wrong_crates(&metadata(), CRATES));
}

#[test]
fn modules_name_only_what_they_may_know() {
    let root = workspace();
    let wrong = CRATES.iter().flat_map(|rule| {
        let sources = source::sources_of(&root.join(rule.folder));
        assert!(!sources.is_empty(), "{} has no sources", rule.name);
        let mut wrong = wrong_names(rule.name, &sources, FORBIDDEN);
        wrong.extend(wrong_owners(rule.name, &sources, OWNED));
        wrong
    });
    all_hold(wrong.collect());
}

/// A row about a module that was renamed would hold for ever.
#[test]
fn every_row_is_about_a_module_that_exists() {
    let root = workspace();
    for rule in CRATES {
        let sources = source::sources_of(&root.join(rule.folder));
        let exists = |place: &str| sources.iter().any(|source| within(source, place));
        let forbidden = FORBIDDEN.iter().filter(|row| row.in_crate == rule.name);
        let places =
            forbidden.flat_map(|row| [row.module].into_iter().chain(row.except.iter().copied()));
        let owned = OWNED.iter().filter(|row| row.in_crate == rule.name);
        for place in places.chain(owned.flat_map(|row| row.owners.iter().copied())) {
            assert!(exists(place), "a rule names {}::{place}, which is not there", rule.name);
        }
    }
}

#[test]
fn every_crate_takes_the_workspaces_feature_set() {
    let root = workspace();
    all_hold(
        CRATES
            .iter()
            .flat_map(|rule| {
                let manifest = root.join(rule.folder).join("Cargo.toml");
                wrong_features(rule.name, &std::fs::read_to_string(manifest).unwrap())
            })
            .collect(),
    );
}

/// The manifests leave out tests in documentation and in the node's `main.rs`, where there are none: each of them would
/// be a build of its own. One that is written there is told, for nothing would run it.
#[test]
fn no_test_is_where_none_is_looked_for() {
    let root = workspace();
    let mut wrong = Vec::new();
    for rule in CRATES {
        for source in source::sources_of(&root.join(rule.folder)) {
            let text = std::fs::read_to_string(&source.file).unwrap();
            wrong.extend(wrong_examples(&source.file.display().to_string(), &text));
        }
    }
    all_hold(wrong);
    let main = std::fs::read_to_string(root.join("node/src/main.rs")).unwrap();
    assert!(main.contains("fn main()") && !main.contains("test"), "a test in main.rs never runs");
}

/// Packages with their features, as they are built for some of the workspace.
fn built_for(scope: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--prefix", "none", "--format", "{p} {f}"])
        .args(scope)
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

/// A library of the node's that had other features among all of the workspace's would be built twice,
/// and the node with it.
#[test]
fn cargo_run_and_the_tests_share_their_builds() {
    let node = built_for(&["--package", "node", "--edges", "normal,build"]);
    let all = built_for(&["--workspace", "--edges", "normal,build,dev"]);
    assert!(node.len() > 100 && all.len() > node.len());
    let twice: Vec<&String> = node.difference(&all).collect();
    assert!(twice.is_empty(), "in `cargo run` alone: {twice:?}; name them in the workspace's list");
}

mod checkers_can_fail {
    use super::*;
    use serde_json::json;

    fn source(file: &str, text: &str) -> Source {
        let module = source::module_of(Path::new(file));
        let (names, _) = source::read(text, &module);
        Source { file: file.into(), module, names }
    }

    fn forbidden(crate_name: &str, file: &str, text: &str) -> Vec<String> {
        let sources = [source(file, text)];
        let mut wrong = wrong_names(crate_name, &sources, FORBIDDEN);
        wrong.extend(wrong_owners(crate_name, &sources, OWNED));
        wrong
    }

    #[test]
    fn on_a_crate_that_uses_one_to_its_right() {
        let package = |name: &str, used: &[&str]| {
            let used: Vec<_> = used.iter().map(|used| json!({ "name": used })).collect();
            json!({ "name": name, "dependencies": used })
        };
        let of = |packages: Vec<Value>| wrong_crates(&json!({ "packages": packages }), CRATES);
        assert!(of(vec![package("protocol", &["ring"]), package("privacy", &[])]).is_empty());
        let wrong = of(vec![package("protocol", &["privacy"]), package("privacy", &["tokio"])]);
        assert!(wrong[0].starts_with("protocol -> privacy runs the wrong way"), "{wrong:?}");
        assert!(wrong[1].starts_with("privacy depends on tokio"), "{wrong:?}");
        assert!(of(vec![package("newcomer", &[])])[0].contains("has no row"));
    }

    #[test]
    fn on_a_clock_a_file_a_float_or_a_random_order_in_the_protocol() {
        for text in [
            "use std::time::Instant;",
            "use std::{fmt, collections::{BTreeMap, HashMap}};",
            "fn f() { std::fs::read(\"a\").ok(); }",
            "fn f() -> f64 { 0.5 }",
            "const ONE: u8 = 1f32 as u8;",
            "use tokio::sync::mpsc;",
        ] {
            let wrong = forbidden("protocol", "log/block.rs", text);
            assert_eq!(wrong.len(), 1, "{text}: {wrong:?}");
            assert!(wrong[0].contains("log/block.rs:1: protocol::log::block -> "), "{wrong:?}");
        }
        for text in [
            "// a HashMap would not do\n/* nor /* std::fs */ */ fn f() -> &'static str { \"f64\" }",
            "fn f(c: char) -> bool { c == '\"' } /* \" */ fn g() { r#\"tokio::spawn \"\"#; }",
            "#[cfg(test)]\nmod tests { use std::fs; fn f() -> f64 { 0.1 } }\nfn g() {}",
        ] {
            assert_eq!(forbidden("protocol", "log/block.rs", text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn on_a_vault_that_reaches_the_network_by_any_road() {
        for text in [
            "use crate::net::Peer;",
            "use crate::{store::Store, net};",
            "fn f() { super::super::net::send() }",
        ] {
            assert_eq!(forbidden("node", "vault/links.rs", text).len(), 1, "{text}");
        }
        assert!(forbidden("node", "vault/links.rs", "use crate::store::Store;").is_empty());
    }

    #[test]
    fn on_a_reading_that_tells_of_its_rows() {
        for text in [
            "fn f() { tracing::debug!(rows = 7, \"read\"); }",
            "use crate::metrics::Metrics;",
            "use datafusion::physical_plan::metrics::MetricsSet;",
            "fn f() { std::println!(\"7\") }",
        ] {
            assert_eq!(forbidden("node", "cleanroom/read.rs", text).len(), 1, "{text}");
        }
        let room = "fn f() { tracing::warn!(\"a question could not be read\"); }";
        assert!(forbidden("node", "cleanroom/room/local.rs", room).is_empty());
    }

    #[test]
    fn on_a_network_that_decides_what_is_valid() {
        assert_eq!(
            forbidden("node", "net/driver.rs", "use protocol::witness::state::Witness;").len(),
            1
        );
        assert_eq!(forbidden("node", "net/driver.rs", "use sled::Db;").len(), 1);
    }

    #[test]
    fn on_a_node_that_upholds_other_guards() {
        for text in [
            "use protocol::witness::guards::Guards;",
            "fn f() { protocol::ledger::Ledger::with_guards() }",
        ] {
            assert_eq!(forbidden("node", "runtime/start.rs", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn on_an_example_that_would_be_a_test() {
        let text = "//! ```text\n//!       a | b\n//! ```\n\n/// ```sh\n/// ls\n/// ```\nfn f() {}\n//     a\n";
        assert!(wrong_examples("a.rs", text).is_empty());
        for text in
            ["/// ```\n/// f();\n/// ```", "    //! ```should_panic\n", "///\n///     f();\n"]
        {
            let wrong = wrong_examples("a.rs", text);
            assert_eq!(wrong.len(), 1, "{text}: {wrong:?}");
        }
    }

    #[test]
    fn on_a_dependency_with_features_of_its_own() {
        let fine = "[dependencies]\nring.workspace = true\ntokio = { workspace = true }";
        assert!(wrong_features("node", fine).is_empty());
        for wrong in [
            "[dependencies]\ntokio = { workspace = true, features = [\"full\"] }",
            "[dev-dependencies]\nrand = \"0.9\"",
            "[features]\nunsafe-test-hooks = []",
        ] {
            assert_eq!(wrong_features("node", wrong).len(), 1, "{wrong}");
        }
    }
}
