//! What holds of every command: `--json` is taken, stdout is for data, shells complete it.

use std::collections::BTreeSet;
use std::process::Command as Process;

use clap::ArgAction;
use clap::error::ErrorKind;
use clap_complete::Shell;

use super::*;

/// The words of every command that does something, hidden ones too.
fn all_commands() -> Vec<Vec<String>> {
    fn walk(command: &clap::Command, before: &[String], found: &mut Vec<Vec<String>>) {
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            let words = [before, &[inner.get_name().to_owned()]].concat();
            walk(inner, &words, found);
            if !inner.is_subcommand_required_set() {
                found.push(words);
            }
        }
    }
    let mut command = Cli::command();
    command.build();
    let mut found = Vec::new();
    walk(&command, &[], &mut found);
    assert!(found.len() > 100, "{}", found.len());
    found
}

/// What stands on a command line is seen by everybody on the machine: a secret is made, asked for, piped in or in a file.
#[test]
fn no_argument_is_a_secret() {
    const SECRETS: [&str; 4] = ["password", "passphrase", "secret", "token"];
    let mut commands = vec![Cli::command()];
    let mut looked_at = 0;
    while let Some(command) = commands.pop() {
        for argument in command.get_arguments().filter(|it| it.get_action().takes_values()) {
            let name = argument.get_id().as_str();
            let is_secret = SECRETS.iter().any(|secret| name.ends_with(secret));
            assert!(!is_secret, "{}: {name}", command.get_name());
            looked_at += 1;
        }
        commands.extend(command.get_subcommands().cloned());
    }
    assert!(looked_at > 200, "{looked_at}");
}

#[test]
fn every_command_takes_json_before_and_behind_its_words() {
    for words in all_commands() {
        let mut root = Cli::command();
        root.build();
        let command = words.iter().fold(&root, |of, word| of.find_subcommand(word).unwrap());
        let flag = command.get_arguments().find(|it| it.get_long() == Some("json"));
        let flag = flag.unwrap_or_else(|| panic!("{words:?} does not take --json"));
        assert_eq!(flag.get_id(), "json", "{words:?}: the flag of all commands is another");
        assert!(matches!(flag.get_action(), ArgAction::SetTrue), "{words:?}");
        let words = words.iter().map(String::as_str);
        let before: Vec<&str> = ["coalition", "--json"].into_iter().chain(words.clone()).collect();
        let behind: Vec<&str> = ["coalition"].into_iter().chain(words).chain(["--json"]).collect();
        for line in [before, behind] {
            // most want more than that
            if let Err(error) = Cli::command().try_get_matches_from(&line) {
                assert_ne!(error.kind(), ErrorKind::UnknownArgument, "{line:?}: {error}");
            }
        }
    }
}

#[test]
fn json_is_one_flag_wherever_it_stands() {
    let is_asked = |line: &str| Cli::try_parse_from(line.split(' ')).unwrap().json;
    assert!(is_asked("coalition --json completions bash"));
    assert!(is_asked("coalition completions bash --json"));
    assert!(!is_asked("coalition completions bash"));
    // a command that has more to say of it has it as its own
    for line in ["coalition --json check --data d", "coalition check --data d --json"] {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Command::Check(check) = cli.command else { panic!("{line}") };
        assert!(cli.json && check.json, "{line}");
    }
    // the form of an answer and the short name of one
    let both = Cli::try_parse_from("coalition query --data d --format csv --json Q".split(' '));
    assert_eq!(both.unwrap_err().kind(), ErrorKind::ArgumentConflict);
}

/// All data goes through [`Io`], which has the words on stderr.
#[test]
fn nothing_but_io_writes_to_stdout() {
    // an answer may be bytes, and is asked whether it is a terminal that gets them
    const BESIDE: [&str; 2] = ["mod.rs", "queries.rs"];
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli")];
    let mut looked_at = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            looked_at += 1;
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            for line in code.lines().filter(|_| name != "tests.rs") {
                let line = line.trim_start();
                let prints = line.starts_with("println!") || line.starts_with("print!");
                assert!(!prints, "{}: {line}", path.display());
                let writes = line.contains("io::stdout()") && !line.starts_with("//");
                assert!(!writes || BESIDE.contains(&name.as_str()), "{}: {line}", path.display());
            }
        }
    }
    assert!(looked_at > 30, "{looked_at}");
}

fn script(shell: Shell) -> String {
    String::from_utf8(completions(shell)).unwrap()
}

#[test]
fn every_command_is_in_the_completions_of_every_shell() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let script = script(shell);
        let words = script.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
        let words: BTreeSet<&str> = words.collect();
        for name in all_commands().iter().flatten() {
            assert!(words.contains(name.as_str()), "{shell}: {name}");
        }
    }
}

/// What bash offers for a line that has been typed so far.
fn offered(script: &Path, line: &[&str]) -> Vec<String> {
    let last = line.len() - 1;
    let (typed, before) = (line[last], line[last - 1]);
    let asked = format!(
        "source '{}'; COMP_WORDS=({}); COMP_CWORD={last}; _coalition coalition '{typed}' '{before}'; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        line.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
    );
    let output = Process::new("bash").args(["--norc", "-c", &asked]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let words = String::from_utf8(output.stdout).unwrap();
    words.lines().filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_takes_the_script_and_completes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("coalition.bash");
    fs::write(&path, script(Shell::Bash)).unwrap();
    let read = Process::new("bash").arg("-n").arg(&path).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    assert_eq!(offered(&path, &["coalition", "que"]), ["query"]);
    assert_eq!(offered(&path, &["coalition", "clearing", "li"]), ["list"]);
    assert!(offered(&path, &["coalition", "status", "--js"]).contains(&"--json".to_owned()));
    assert!(offered(&path, &["coalition", "no-such-thing", "x"]).is_empty());
}
