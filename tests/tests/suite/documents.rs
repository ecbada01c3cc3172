//! The documents against the tree: what they point to is there.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use node::cli::Cli;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![workspace()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(path);
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// `[text](target)` of a document, those that lead into the tree.
fn links(text: &str) -> Vec<(&str, &str)> {
    let mut links = Vec::new();
    for (end, _) in text.match_indices("](") {
        let Some(start) = text[..end].rfind('[') else { continue };
        let rest = &text[end + 2..];
        let Some(stop) = rest.find(')') else { continue };
        let target = rest[..stop].split('#').next().unwrap_or_default();
        if !target.is_empty() && !target.contains("://") && !target.contains(' ') {
            links.push((&text[start + 1..end], target));
        }
    }
    links
}

fn broken(document: &Path, text: &str) -> Vec<String> {
    let folder = document.parent().unwrap();
    let mut wrong = Vec::new();
    for (words, target) in links(text) {
        let path = folder.join(target);
        if !path.exists() {
            wrong.push(format!("{}: {target} is not there", document.display()));
        } else if target.ends_with(".rs") && words.contains('_') {
            // a link whose words are a name leads to the test of that name
            let source = fs::read_to_string(&path).unwrap();
            if !["(", "<"].iter().any(|next| source.contains(&format!("fn {words}{next}"))) {
                wrong.push(format!("{}: no test {words} in {target}", document.display()));
            }
        }
    }
    wrong
}

#[test]
fn every_link_leads_to_a_file_and_every_named_test_is_there() {
    let documents = documents();
    assert!(documents.iter().any(|path| path.ends_with("SECURITY.md")));
    let wrong: Vec<String> = documents
        .iter()
        .flat_map(|document| broken(document, &fs::read_to_string(document).unwrap()))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_wrong_link_is_noticed() {
    let document = workspace().join("SECURITY.md");
    let text = "[a](nowhere.md) [no_such_test](tests/tests/suite/documents.rs) \
                [a_wrong_link_is_noticed](tests/tests/suite/documents.rs) [b](https://c2sp.org)";
    let wrong = broken(&document, text);
    assert_eq!(wrong.len(), 2, "{wrong:?}");
}

/// The figures that docs/observing.md explains are those that the node has.
#[test]
fn every_figure_is_explained_and_every_explained_figure_is_there() {
    let document = fs::read_to_string(workspace().join("docs/observing.md")).unwrap();
    let explained: Vec<&str> = document
        .split('`')
        .filter_map(|name| name.strip_prefix("coalition_"))
        .map(|name| name.split('{').next().unwrap_or_default().trim_end_matches("_total"))
        .collect();
    let mut source = String::new();
    let mut folders = vec![workspace().join("node/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                // but for its tests
                false => {
                    let text = fs::read_to_string(path).unwrap();
                    source += text.split("#[cfg(test)]").next().unwrap_or_default();
                }
            }
        }
    }
    let named = |call: &str| {
        let after = source.split(call).skip(1).filter_map(|rest| rest.strip_prefix('"'));
        after.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect::<Vec<_>>()
    };
    let calls = ["metrics.set(", "metrics.count(", "metrics.observe(", "counters.counter("];
    let named: Vec<String> = calls.into_iter().flat_map(named).collect();
    assert!(named.len() > 10, "{named:?}");
    for name in &named {
        assert!(explained.contains(&name.as_str()), "{name} is not in docs/observing.md");
    }
    for name in explained {
        assert!(source.contains(&format!("\"{name}\"")), "{name} is not in the node");
    }
}

/// The words of a shell's line, up to where its output goes or a comment begins.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    for letter in line.chars() {
        match quote {
            Some(begun) if begun == letter => quote = None,
            Some(_) => word.get_or_insert_with(String::new).push(letter),
            None => match letter {
                '"' | '\'' => {
                    quote = Some(letter);
                    word = Some(word.unwrap_or_default());
                }
                '>' | '&' => break,
                '#' if word.is_none() => break,
                _ if letter.is_whitespace() => words.extend(word.take()),
                _ => word.get_or_insert_with(String::new).push(letter),
            },
        }
    }
    words.extend(word);
    words
}

/// The commands of a document's shell blocks that are `coalition`'s, or cargo running it.
fn commands(text: &str) -> Vec<Vec<String>> {
    let blocks = text.split("```sh").skip(1).filter_map(|rest| rest.split("```").next());
    let mut commands = Vec::new();
    for block in blocks {
        // a line that goes on in the next
        for line in block.replace("\\\n", " ").lines() {
            let line = match line.strip_prefix("cargo run -- ") {
                Some(rest) => format!("coalition {rest}"),
                None => line.to_owned(),
            };
            if line.starts_with("coalition ") {
                commands.push(words(&line));
            }
        }
    }
    commands
}

#[test]
fn a_shells_line_is_read_as_a_shell_reads_it() {
    assert_eq!(words("a --b 'c d' \"e\"f '' # g"), ["a", "--b", "c d", "ef", ""]);
    assert_eq!(words("a 'b > c' > d"), ["a", "b > c"]);
    assert_eq!(commands("```sh\ncoalition a \\\n  --b\n```"), [["coalition", "a", "--b"]]);
}

#[test]
fn the_documents_commands_are_ones_the_command_line_takes() {
    for (document, at_least) in [
        ("README.md", 10),
        ("docs/operate/README.md", 8),
        ("docs/operate/runbooks.md", 2),
        ("docs/operate/clearing.md", 16),
        ("docs/guides/officer.md", 2),
        ("docs/guides/analyst.md", 6),
        ("docs/guides/members.md", 5),
        ("docs/programme.md", 12),
        ("docs/import.md", 2),
        ("docs/backup.md", 7),
        ("docs/pilot.md", 40),
    ] {
        let text = fs::read_to_string(workspace().join(document)).unwrap();
        let commands = commands(&text);
        assert!(commands.len() >= at_least, "{document}: {commands:?}");
        for command in commands {
            if let Err(error) = Cli::try_parse_from(&command) {
                panic!("{document}: {}: {error}", command.join(" "));
            }
        }
    }
    assert!(Cli::try_parse_from(["coalition", "constitution", "sing"]).is_err());
}

/// The unit and the container start what the command line takes; the container is built with the Rust that is needed.
#[test]
fn the_unit_and_the_container_start_what_there_is() {
    let read = |file: &str| fs::read_to_string(workspace().join(file)).unwrap();
    let unit = read("docs/operate/coalition.service");
    let mut started: Vec<Vec<String>> = ["ExecStartPre=", "ExecStart="]
        .into_iter()
        .flat_map(|key| names(&unit, key))
        .map(words)
        .collect();
    assert_eq!(started.len(), 2, "{started:?}");
    let container = read("docs/operate/Containerfile");
    let list = |key: &str| -> Vec<String> {
        serde_json::from_str(names(&container, key).first().unwrap()).unwrap()
    };
    started.push([list("ENTRYPOINT "), list("CMD ")].concat());
    for command in &started {
        assert_eq!(command[0], "/usr/local/bin/coalition");
        if let Err(error) = Cli::try_parse_from(command) {
            panic!("{command:?}: {error}");
        }
    }
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let rust = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    let base = format!("docker.io/library/rust:{rust}-slim AS build");
    assert_eq!(names(&container, "FROM ").first(), Some(&base.as_str()));
}

/// Names after a word that stands at the beginning of a line.
fn names<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix(word));
    lines.map(str::trim).collect()
}

#[test]
fn every_alert_has_its_runbook_and_reads_figures_that_are_there() {
    let read = |file: &str| fs::read_to_string(workspace().join(file)).unwrap();
    let (alerts, runbooks) = (read("docs/operate/alerts.yml"), read("docs/operate/runbooks.md"));
    let named = names(&alerts, "- alert:");
    assert!(named.len() >= 10);
    assert_eq!(named, names(&runbooks, "## "), "alerts and runbooks, in the same order");
    let dashboard = read("docs/operate/dashboard.json");
    let panels: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(panels["panels"].as_array().is_some_and(|panels| panels.len() >= 8));
    let explained = read("docs/observing.md");
    let is_part = |c: char| c == '_' || c.is_ascii_alphanumeric();
    for text in [&alerts, &dashboard] {
        let figures = text.split("coalition_").skip(1);
        let figures: Vec<&str> =
            figures.map(|rest| rest.split(|c| !is_part(c)).next().unwrap()).collect();
        assert!(figures.len() >= 10);
        for figure in figures {
            let name = format!("coalition_{}", figure.trim_end_matches("_bucket"));
            assert!(explained.contains(&name), "{name} is not in docs/observing.md");
        }
    }
}
