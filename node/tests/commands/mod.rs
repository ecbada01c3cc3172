//! What commands print that need no node: data on stdout, in one form for people and one for programs, words on stderr.

use std::process::{Command, Output};

use serde_json::Value;

use super::{BINARY, workspace};

fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).current_dir(workspace()).output().unwrap()
}

/// What a command prints on stdout for people and, as values of JSON, for programs.
fn both(arguments: &[&str]) -> (String, Vec<Value>) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let human = run(arguments);
    let data = text(human.stdout);
    assert!(!data.is_empty(), "{arguments:?}: {}", text(human.stderr));
    let before = run(&[&["--json"][..], arguments].concat());
    let behind = run(&[arguments, &["--json"]].concat());
    assert_eq!(before.stdout, behind.stdout, "{arguments:?}: the flag stands where it likes");
    assert_eq!(behind.status, human.status, "{arguments:?}");
    let values = serde_json::Deserializer::from_slice(&behind.stdout).into_iter();
    let values: Vec<Value> = values
        .map(|value| value.unwrap_or_else(|error| panic!("{arguments:?}: {error}")))
        .collect();
    assert!(!values.is_empty(), "{arguments:?}");
    (data, values)
}

#[test]
fn data_goes_to_stdout_in_both_forms_and_words_to_stderr() {
    let constitution = "alliance-config/formats/v0/constitution.toml";
    let rules = "alliance-config/sample/programme.toml";
    // a text with a form of its own stands in the object as it is
    for (arguments, name) in [
        (&["constitution", "template"][..], "settings"),
        (&["programme", "template"][..], "rules"),
        (&["completions", "bash"][..], "script"),
    ] {
        let (text, values) = both(arguments);
        assert_eq!(values, [serde_json::json!({ name: text })], "{arguments:?}");
    }
    let (text, values) = both(&["constitution", "check", constitution]);
    let [checked] = &values[..] else { panic!("{values:?}") };
    let hash = checked["hash"].as_str().unwrap();
    assert!(text.contains(&format!("\nhash {hash}\n")), "{text}");
    for brand in checked["brands"].as_array().unwrap() {
        assert!(text.contains(&format!("  {}: ", brand["brand"].as_str().unwrap())), "{text}");
    }
    let (text, values) = both(&["constitution", "keys", constitution]);
    assert_eq!(values, [Value::from_iter(text.lines())]);
    let (text, values) = both(&["programme", "check", rules]);
    assert!(values.len() > 5, "{values:?}");
    for value in &values {
        let [key, zh, en] = ["key", "zh", "en"].map(|name| value[name].as_str().unwrap());
        assert!([key, zh, en].iter().all(|words| text.contains(words)), "{value}");
    }
}

#[test]
fn what_a_new_node_is_told_is_data_and_what_to_do_is_words() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("a");
    let data = data.to_str().unwrap();
    let names = ["--brand", "alpha", "--name-zh", "甲", "--name-en", "Alpha"];
    let made = run(&[&["init", "--data", data][..], &names].concat());
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let told: Value = serde_json::from_slice(&made.stdout).unwrap();
    let words = String::from_utf8(made.stderr).unwrap();
    let password = told["password"].as_str().unwrap();
    assert!(words.contains("made a node for alpha") && !words.contains(password), "{words}");
    // it has no constitution yet: told in both forms, the sum of it in words
    for form in [&["check", "--data", data][..], &["check", "--data", data, "--json"][..]] {
        let checked = run(form);
        assert_eq!(checked.status.code(), Some(1), "{form:?}");
        let [data, words] =
            [checked.stdout, checked.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(words.contains(" errors, ") && !data.contains(" errors, "), "{data} {words}");
        let checks: Option<Value> = serde_json::from_str(&data).ok();
        assert_eq!(checks.is_some(), form.contains(&"--json"), "{data}");
        assert!(checks.is_none_or(|checks| checks["errors"].as_u64() > Some(0)));
    }
    let refused = run(&["--json", "constitution", "check", "no-such-file"]);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8(refused.stderr).unwrap().starts_with("error: "));
}
