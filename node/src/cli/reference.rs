//! The reference of all commands, in Markdown, as their own help has it.
//!
//! `docs/cli.md` is what this gives; a test holds it against the commands.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};

use super::Cli;

/// The whole reference.
#[must_use]
pub fn reference() -> String {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut text = String::from(
        "# Commands\n\nWhat `coalition help COMMAND` prints, of every command. Data goes to stdout, words to \
         stderr; with `--json`, which all take, data are JSON. Exit status: 0; 2 when it failed; 1 when `audit` or \
         `check` found something.\n",
    );
    section(&mut command, &mut text);
    text
}

fn section(command: &mut Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(text, "\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
    for inner in command.get_subcommands_mut() {
        if !inner.is_hide_set() && inner.get_name() != "help" {
            section(inner, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_in_the_documents_is_the_one_of_these_commands() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");
        let now = reference();
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(path, &now).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == now,
            "docs/cli.md differs from the commands; write it anew with \
             `UPDATE_SNAPSHOTS=1 cargo test -p node --lib cli::reference`"
        );
        for command in ["## coalition demo", "## coalition user add", "## coalition bench exchange"]
        {
            assert!(now.contains(command), "{command}");
        }
        assert!(!now.contains("until-stdin-ends"), "hidden arguments stay hidden");
    }
}
