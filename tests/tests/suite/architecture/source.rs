//! Just enough of Rust's lexical grammar to say which paths a file names.
//!
//! Knows comments, strings, `use` trees, `crate`/`super`/`self`, and leaves out what is under
//! `#[cfg(test)]`. Does not know macros' expansions or glob imports' contents: a rule that matters
//! names the path itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A path that a source names, `crate` and `super` resolved, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub path: Vec<String>,
    pub line: usize,
}

/// One source file of a crate, without its tests.
pub struct Source {
    pub file: PathBuf,
    /// `["vault", "links"]` for `src/vault/links.rs`; empty for the root.
    pub module: Vec<String>,
    pub names: Vec<Named>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    PathSeparator,
    Mark(char),
}

/// All sources of a crate's `src`, but those that only tests compile.
pub fn sources_of(crate_root: &Path) -> Vec<Source> {
    let root = crate_root.join("src");
    let mut found = Vec::new();
    let mut only_tests = BTreeSet::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = module_of(path.strip_prefix(&root).unwrap());
                let text = fs::read_to_string(&path).unwrap();
                let (names, tests) = read(&text, &module);
                for test in tests {
                    only_tests.insert([module.clone(), vec![test]].concat());
                }
                found.push(Source { file: path, module, names });
            }
        }
    }
    found.retain(|source| !only_tests.iter().any(|test| source.module.starts_with(test)));
    found.sort_by(|a, b| a.file.cmp(&b.file));
    found
}

/// The module a file is, from its path under `src`.
pub fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

/// The paths that a text names, and the modules it declares for tests only.
pub fn read(text: &str, module: &[String]) -> (Vec<Named>, Vec<String>) {
    let (tokens, test_modules) = without_tests(&tokens_of(text));
    (names_in(&tokens, module), test_modules)
}

fn tokens_of(text: &str) -> Vec<(Token, usize)> {
    let characters: Vec<char> = text.chars().collect();
    let at = |i: usize| characters.get(i).copied().unwrap_or('\0');
    let (mut tokens, mut i, mut line) = (Vec::new(), 0, 1);
    while i < characters.len() {
        let start = i;
        match at(i) {
            '/' if at(i + 1) == '/' => {
                while i < characters.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= characters.len() {
                        break;
                    }
                }
            }
            'r' | 'b' if raw_hashes(&characters, i).is_some() => {
                let (opening, hashes) = raw_hashes(&characters, i).unwrap();
                i = opening + 1;
                let closes = |i: usize| at(i) == '"' && (1..=hashes).all(|k| at(i + k) == '#');
                while i < characters.len() && !closes(i) {
                    i += 1;
                }
                i += 1 + hashes;
            }
            '"' => {
                i += 1;
                while i < characters.len() && at(i) != '"' {
                    i += if at(i) == '\\' { 2 } else { 1 };
                }
                i += 1;
            }
            // a character, or else a lifetime
            '\'' if at(i + 1) == '\\' => {
                i += 3;
                while i < characters.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            '\'' if at(i + 2) == '\'' => i += 3,
            c if c.is_alphabetic() || c == '_' => {
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                tokens.push((Token::Word(characters[start..i].iter().collect()), line));
            }
            c if c.is_ascii_digit() => {
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                // the unit of a number is a name too: 1f64
                for float in ["f32", "f64"] {
                    if characters[start..i].iter().collect::<String>().ends_with(float) {
                        tokens.push((Token::Word(float.into()), line));
                    }
                }
            }
            ':' if at(i + 1) == ':' => {
                tokens.push((Token::PathSeparator, line));
                i += 2;
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push((Token::Mark(c), line));
                }
                i += 1;
            }
        }
        line += characters[start..i.min(characters.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

// where the quotation mark of a raw string is, and its number of hashes
fn raw_hashes(characters: &[char], start: usize) -> Option<(usize, usize)> {
    let at = |i: usize| characters.get(i).copied().unwrap_or('\0');
    let mut i = start;
    if at(i) == 'b' {
        i += 1;
    }
    if at(i) != 'r' {
        return None;
    }
    i += 1;
    let hashes = (i..).take_while(|k| at(*k) == '#').count();
    (at(i + hashes) == '"').then_some((i + hashes, hashes))
}

fn without_tests(tokens: &[(Token, usize)]) -> (Vec<(Token, usize)>, Vec<String>) {
    let word = |text: &str| Token::Word(text.into());
    let attribute = [
        Token::Mark('#'),
        Token::Mark('['),
        word("cfg"),
        Token::Mark('('),
        word("test"),
        Token::Mark(')'),
        Token::Mark(']'),
    ];
    let (mut kept, mut modules, mut i) = (Vec::new(), Vec::new(), 0);
    while i < tokens.len() {
        let here = tokens[i..].iter().map(|(token, _)| token);
        if !here.take(attribute.len()).eq(attribute.iter()) {
            kept.push(tokens[i].clone());
            i += 1;
            continue;
        }
        i += attribute.len();
        let item = i;
        let mut depth = 0_usize;
        while i < tokens.len() {
            i += 1;
            match &tokens[i - 1].0 {
                Token::Mark('{' | '(' | '[') => depth += 1,
                Token::Mark(close @ ('}' | ')' | ']')) => {
                    depth -= 1;
                    if depth == 0 && *close == '}' {
                        break;
                    }
                }
                Token::Mark(';') if depth == 0 => {
                    let declaration = &tokens[item..i];
                    let place = declaration.iter().position(|(token, _)| *token == word("mod"));
                    if let Some((Token::Word(name), _)) =
                        place.and_then(|place| declaration.get(place + 1))
                    {
                        modules.push(name.clone());
                    }
                    break;
                }
                _ => {}
            }
        }
    }
    (kept, modules)
}

fn names_in(tokens: &[(Token, usize)], module: &[String]) -> Vec<Named> {
    let mut names = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let continues = i > 0 && matches!(tokens[i - 1].0, Token::PathSeparator | Token::Mark('.'));
        if matches!(tokens[i].0, Token::Word(_)) && !continues {
            i = path_at(tokens, i, &[], module, &mut names);
        } else {
            i += 1;
        }
    }
    names
}

// reads one path or one use tree; gives the place behind it
fn path_at(
    tokens: &[(Token, usize)],
    mut i: usize,
    before: &[String],
    module: &[String],
    names: &mut Vec<Named>,
) -> usize {
    let line = tokens[i].1;
    let mut path = before.to_vec();
    while let Some((Token::Word(word), _)) = tokens.get(i) {
        path.push(word.clone());
        i += 1;
        if tokens.get(i).is_none_or(|(token, _)| *token != Token::PathSeparator) {
            break;
        }
        i += 1;
        if tokens.get(i).is_some_and(|(token, _)| *token == Token::Mark('{')) {
            i += 1;
            while let Some((token, _)) = tokens.get(i) {
                match token {
                    Token::Word(_) => i = path_at(tokens, i, &path, module, names),
                    Token::Mark('}') => return i + 1,
                    _ => i += 1,
                }
            }
            return i;
        }
    }
    names.push(Named { path: resolved(&path, module), line });
    // `as name` gives no new path
    if matches!(tokens.get(i), Some((Token::Word(word), _)) if word == "as") {
        i += 2;
    }
    i
}

fn resolved(path: &[String], module: &[String]) -> Vec<String> {
    let supers = path.iter().take_while(|word| *word == "super").count();
    if supers > 0 && supers <= module.len() {
        let start = ["crate".to_owned()].into_iter();
        return start
            .chain(module[..module.len() - supers].iter().cloned())
            .chain(path[supers..].iter().cloned())
            .collect();
    }
    path.to_vec()
}
