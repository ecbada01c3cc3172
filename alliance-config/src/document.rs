//! Reading one TOML file: its size cap, and where in it something is wrong.
//!
//! Knows TOML and positions in it. Does not know what the keys mean, nor where the file is kept: it
//! gets bytes, and whoever read them from a path says so in front of the error.

use std::fmt;
use std::io::{self, Read as _};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use crate::problem::{FORMAT, Problem};
use crate::text::hides;

/// Most characters of a file's own text in an error.
const MESSAGE_MAX_CHARACTERS: usize = 400;

/// The files this crate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// `constitution.toml`.
    Constitution,
    /// `constitution.signatures`, or one brand's part of it.
    Signatures,
    /// A brand's introduction.
    Introduction,
    /// The settings a constitution is drafted from.
    Settings,
}

impl Document {
    /// The most bytes such a file may have.
    #[must_use]
    pub const fn most_bytes(self) -> usize {
        match self {
            Self::Constitution | Self::Settings => 1024 * 1024,
            Self::Signatures | Self::Introduction => 64 * 1024,
        }
    }

    /// Reads such a file to its end, or one byte over its cap, which parsing then refuses: a file of
    /// any size costs no more than that.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn read_from(self, reader: impl io::Read) -> io::Result<Vec<u8>> {
        let most = u64::try_from(self.most_bytes()).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        reader.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Constitution => "constitution",
            Self::Signatures => "signatures",
            Self::Introduction => "introduction",
            Self::Settings => "settings",
        })
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key, dotted; an element of an array goes by its `name` or `brand`, or else its number
    /// from 0. Empty at the top.
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)?;
        if self.key.is_empty() { Ok(()) } else { write!(f, ", at {}", self.key) }
    }
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{document}, {place}: {problem}")]
pub struct FileError {
    /// Which file.
    pub document: Document,
    /// Where in it.
    pub place: Place,
    /// What is wrong, and what would be right.
    pub problem: Problem,
}

#[derive(Deserialize)]
struct Header {
    format: u64,
}

/// The text of a file within its size cap.
pub(crate) struct Source<'a> {
    document: Document,
    text: &'a str,
    /// Lines of the file before this text.
    lines_before: usize,
}

impl<'a> Source<'a> {
    pub(crate) fn new(document: Document, bytes: &'a [u8]) -> Result<Self, FileError> {
        let at = |line, problem| FileError {
            document,
            place: Place { line, column: 1, key: String::new() },
            problem,
        };
        if bytes.len() > document.most_bytes() {
            let problem = Problem::TooLarge { most: document.most_bytes() };
            return Err(at(1, problem));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            at(1 + before.iter().filter(|byte| **byte == b'\n').count(), Problem::NotUtf8)
        })?;
        Ok(Self { document, text, lines_before: 0 })
    }

    pub(crate) const fn text(&self) -> &'a str {
        self.text
    }

    /// The text before the last line that is `line`, and what follows it.
    pub(crate) fn split_at_last_line(&self, line: &str) -> Option<(Self, Self)> {
        let at = self.text.rmatch_indices(line).map(|(at, _)| at).find(|at| {
            self.text.get(..*at).is_some_and(|before| before.is_empty() || before.ends_with('\n'))
        })?;
        let (before, after) = (self.text.get(..at)?, self.text.get(at + line.len()..)?);
        let part = |text, lines| Self { document: self.document, text, lines_before: lines };
        let lines = before.matches('\n').count() + line.matches('\n').count();
        Some((part(before, self.lines_before), part(after, self.lines_before + lines)))
    }

    /// Reads the file, its format first: what a later format adds is not "unknown" but newer.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, FileError> {
        let Header { format } = toml::from_str(self.text).map_err(|error| self.form(&error))?;
        if format != FORMAT {
            return Err(self.error_at(&["format"], Problem::Format { found: format }));
        }
        self.read_part()
    }

    /// Reads a part of a file that does not say its format again.
    pub(crate) fn read_part<T: DeserializeOwned>(&self) -> Result<T, FileError> {
        toml::from_str(self.text).map_err(|error| self.form(&error))
    }

    fn form(&self, error: &toml::de::Error) -> FileError {
        let offset = error.span().map_or(0, |span| span.start);
        let key = self.tree().map(|tree| key_at(&tree, offset)).unwrap_or_default();
        let message = one_line(error.message());
        self.error(offset, key, Problem::Form(message))
    }

    /// The error of something that can be read but not accepted.
    pub(crate) fn error_at(&self, path: &[&str], problem: Problem) -> FileError {
        let offset = self.tree().map_or(0, |tree| offset_of(&tree, path));
        self.error(offset, path.join("."), problem)
    }

    /// The tree with positions; parsed anew, because it is only wanted when something is wrong.
    fn tree(&self) -> Option<DeTable<'a>> {
        DeTable::parse(self.text).ok().map(toml::Spanned::into_inner)
    }

    fn error(&self, offset: usize, key: String, problem: Problem) -> FileError {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let place = Place {
            line: 1 + self.lines_before + before.matches('\n').count(),
            column: 1 + before.get(line_start..).unwrap_or_default().chars().count(),
            key: one_line(&key),
        };
        FileError { document: self.document, place, problem }
    }
}

/// What a file may put on a terminal: one line of bounded length, nothing that steers or hides. The
/// parser's messages repeat keys and values as they are written.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = |c: char| if hides(c) { char::REPLACEMENT_CHARACTER } else { c };
    line.chars().take(MESSAGE_MAX_CHARACTERS).map(shown).collect()
}

/// The dotted key of the innermost value around an offset.
fn key_at(table: &DeTable<'_>, offset: usize) -> String {
    let mut path = Vec::new();
    descend_to(&DeValue::Table(table.clone()), offset, &mut path);
    path.join(".")
}

/// Goes down to the offset, pushing keys; `false` and nothing pushed when it is not below.
fn descend_to(value: &DeValue<'_>, offset: usize, path: &mut Vec<String>) -> bool {
    let mut step = |name: String, here: bool, child: &DeValue<'_>| {
        path.push(name);
        let found = descend_to(child, offset, path) || here;
        if !found {
            path.pop();
        }
        found
    };
    match value {
        DeValue::Table(table) => table.iter().any(|(key, child)| {
            let here = key.span().contains(&offset) || child.span().contains(&offset);
            step(key.get_ref().to_string(), here, child.get_ref())
        }),
        DeValue::Array(array) => array.iter().enumerate().any(|(number, child)| {
            let name = element_name(child.get_ref()).map_or(number.to_string(), str::to_owned);
            step(name, child.span().contains(&offset), child.get_ref())
        }),
        _ => false,
    }
}

/// What people call an element of an array of tables.
fn element_name<'t>(element: &'t DeValue<'_>) -> Option<&'t str> {
    let DeValue::Table(table) = element else { return None };
    ["name", "brand", "value"].into_iter().find_map(|key| table.get(key)?.get_ref().as_str())
}

/// Offset of the key at the end of the path, or of the last one on it that exists. Elements of
/// arrays are found by their name, also when the path leaves out the array's own key.
fn offset_of(table: &DeTable<'_>, path: &[&str]) -> usize {
    let mut offset = 0;
    let mut here = &DeValue::Table(table.clone());
    for step in path {
        let found = match here {
            DeValue::Table(table) => table
                .get_key_value(*step)
                .map(|(key, child)| (key.span().start, child.get_ref()))
                .or_else(|| table.values().find_map(|child| element(child.get_ref(), step))),
            other => element(other, step),
        };
        let Some((start, child)) = found else { break };
        (offset, here) = (start, child);
    }
    offset
}

fn element<'t, 'i>(array: &'t DeValue<'i>, step: &str) -> Option<(usize, &'t DeValue<'i>)> {
    let DeValue::Array(array) = array else { return None };
    array
        .iter()
        .find(|child| element_name(child.get_ref()) == Some(step))
        .map(|child| (child.span().start, child.get_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_end_is_read_to_its_cap() {
        let bytes = Document::Signatures.read_from(io::repeat(b'#')).unwrap();
        assert_eq!(bytes.len(), Document::Signatures.most_bytes() + 1);
        let error = Source::new(Document::Signatures, &bytes).err().unwrap();
        assert_eq!(error.problem, Problem::TooLarge { most: 65_536 });
    }

    #[test]
    fn columns_count_characters_and_a_path_ends_at_what_is_there() {
        let source =
            Source::new(Document::Settings, "名 = 1\n\"名\" = { x = 2, y = 3 }\n".as_bytes());
        // the first line is no TOML key, so nothing has a place
        assert_eq!(source.unwrap().error_at(&["名"], Problem::NotUtf8).place.line, 1);
        let text = "\"名\" = { x = 2, y = 3 }\n[[list]]\nname = \"b\"\n";
        let source = Source::new(Document::Settings, text.as_bytes()).unwrap();
        let place = |path: &[&str]| {
            let place = source.error_at(path, Problem::NotUtf8).place;
            (place.line, place.column)
        };
        assert_eq!(place(&["名", "y"]), (1, 16));
        assert_eq!(place(&["名", "z"]), (1, 1));
        assert_eq!(place(&["list", "b", "z"]), (2, 1));
    }

    #[test]
    fn a_file_cannot_steer_the_terminal_of_who_reads_its_error() {
        let text = format!("format = 0\n\"\\u001b[2J\\u202e{}\" = 1\n", "x".repeat(5_000));
        let source = Source::new(Document::Signatures, text.as_bytes()).unwrap();
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code)] // only refused
        struct Nothing {
            format: u64,
        }
        let error = source.read::<Nothing>().unwrap_err();
        let said = error.to_string();
        assert!(said.contains("unknown field") && !said.chars().any(hides), "{said}");
        assert!(said.len() < 2_000);
    }
}
