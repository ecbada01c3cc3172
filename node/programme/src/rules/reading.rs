//! Reading of the rules' file: every mistake is told with its line, its field and what would be right.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use protocol::amount::{Points, Rate};
use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::Words;
use super::problem::{Found, Problem, Right};
use crate::ids::{Fen, Name};

/// Longest file, in bytes.
pub const FILE_MAX: usize = 256 * 1024;
/// Longest text of a field, in characters.
pub const TEXT_MAX: usize = 200;
/// How an error names the file as a whole.
const WHOLE: &str = "the file";

/// What is wrong in a file of rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {field}: {problem}")]
pub struct Wrong {
    /// The line, from 1.
    pub line: usize,
    /// The field with its sections, such as `earning.sign_in.points`.
    pub field: String,
    /// What was found and what would be right.
    pub problem: Problem,
}

impl Wrong {
    /// The same in both languages.
    #[must_use]
    pub fn words(&self) -> Words {
        let Self { line, field, problem } = self;
        let (field, problem) = (field.as_str(), problem.words().zh);
        let field = if field == WHOLE { "文件" } else { field };
        Words { zh: format!("第 {line} 行，{field}：{problem}"), en: self.to_string() }
    }
}

type Read<T> = Result<T, Wrong>;

fn line_at(text: &str, place: usize) -> usize {
    let before = text.bytes().take(place).filter(|byte| *byte == b'\n').count();
    before.saturating_add(1)
}

/// The parts of a file.
pub struct Document<'t> {
    text: &'t str,
    root: Spanned<DeTable<'t>>,
}

impl<'t> Document<'t> {
    /// # Errors
    /// When it is too long or no TOML.
    pub fn parse(text: &'t str) -> Read<Self> {
        let wrong = |line, problem| Wrong { line, field: WHOLE.to_owned(), problem };
        if text.len() > FILE_MAX {
            let found = Found::Number(text.len().to_string());
            return Err(wrong(1, Right::FileSize.found(found)));
        }
        let root = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_at(text, span.start));
            wrong(line, Problem::NotToml(error.message().to_owned()))
        })?;
        Ok(Self { text, root })
    }

    pub fn root(&self) -> Section<'_> {
        Section::new(self.text, String::new(), self.root.get_ref(), 1)
    }
}

/// One table of the file.
pub struct Section<'a> {
    text: &'a str,
    path: String,
    table: &'a DeTable<'a>,
    line: usize,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    fn new(text: &'a str, path: String, table: &'a DeTable<'a>, line: usize) -> Self {
        Self { text, path, table, line, known: RefCell::default() }
    }

    fn path_of(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    fn find(&self, field: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.borrow_mut().push(field);
        self.table.iter().find(|(key, _)| key.get_ref().as_ref() == field).map(|(_, value)| value)
    }

    /// A mistake in a field, or of the section when the field is not there.
    pub fn wrong(&self, field: &str, problem: impl Into<Problem>) -> Wrong {
        let found = self.table.iter().find(|(key, _)| key.get_ref().as_ref() == field);
        let line = found.map_or(self.line, |(_, value)| line_at(self.text, value.span().start));
        Wrong { line, field: self.path_of(field), problem: problem.into() }
    }

    pub fn missing(&self, field: &str, right: Right) -> Wrong {
        self.wrong(field, Problem::Missing(right))
    }

    /// A value of another kind.
    fn other_kind(&self, field: &str, right: Right, value: &DeValue<'_>) -> Wrong {
        self.wrong(field, right.found(Found::Kind(value.type_str())))
    }

    /// A number out of range.
    fn out_of_range(&self, field: &str, (least, most): (u64, u64), found: impl ToString) -> Wrong {
        let right = Right::WholeNumber { least, most };
        self.wrong(field, right.found(Found::Number(found.to_string())))
    }

    pub fn has(&self, field: &'static str) -> bool {
        self.find(field).is_some()
    }

    /// A whole number in a range, if the field is there.
    pub fn maybe_integer(
        &self,
        field: &'static str,
        range: RangeInclusive<u64>,
    ) -> Read<Option<u64>> {
        let Some(value) = self.find(field) else { return Ok(None) };
        self.integer_of(field, value.get_ref(), &range).map(Some)
    }

    fn integer_of(
        &self,
        field: &str,
        value: &DeValue<'_>,
        range: &RangeInclusive<u64>,
    ) -> Read<u64> {
        let (least, most) = (*range.start(), *range.end());
        let Some(number) = value.as_integer() else {
            return Err(self.other_kind(field, Right::WholeNumber { least, most }, value));
        };
        let read = u64::from_str_radix(number.as_str(), number.radix()).ok();
        read.filter(|number| range.contains(number))
            .ok_or_else(|| self.out_of_range(field, (least, most), number))
    }

    pub fn integer(&self, field: &'static str, range: RangeInclusive<u64>) -> Read<u64> {
        let right = Right::WholeNumber { least: *range.start(), most: *range.end() };
        self.maybe_integer(field, range)?.ok_or_else(|| self.missing(field, right))
    }

    pub fn integer_or(
        &self,
        field: &'static str,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> Read<u64> {
        Ok(self.maybe_integer(field, range)?.unwrap_or(default))
    }

    /// A number that fits 32 bits, as `range` says it does.
    pub fn small_or(
        &self,
        field: &'static str,
        range: RangeInclusive<u32>,
        default: u32,
    ) -> Read<u32> {
        let range = u64::from(*range.start())..=u64::from(*range.end());
        let number = self.integer_or(field, range, u64::from(default))?;
        Ok(u32::try_from(number).unwrap_or(u32::MAX))
    }

    pub fn small(&self, field: &'static str, range: RangeInclusive<u32>) -> Read<u32> {
        let range = u64::from(*range.start())..=u64::from(*range.end());
        Ok(u32::try_from(self.integer(field, range)?).unwrap_or(u32::MAX))
    }

    pub fn points(&self, field: &'static str, least: u64, most: u64) -> Read<Points> {
        let number = self.integer(field, least..=most)?;
        Points::new(number).map_err(|_| self.out_of_range(field, (least, most), number))
    }

    pub fn points_or(
        &self,
        field: &'static str,
        least: u64,
        most: u64,
        default: u64,
    ) -> Read<Points> {
        let number = self.integer_or(field, least..=most, default)?;
        Points::new(number).map_err(|_| self.out_of_range(field, (least, most), number))
    }

    pub fn fen_or(&self, field: &'static str, default: u64) -> Read<Fen> {
        let number = self.integer_or(field, 0..=Fen::MAX, default)?;
        Fen::new(number).map_err(|_| self.out_of_range(field, (0, Fen::MAX), number))
    }

    /// A list of numbers, none when it is missing.
    pub fn numbers(
        &self,
        field: &'static str,
        range: RangeInclusive<u64>,
        most: usize,
    ) -> Read<Vec<u64>> {
        let Some(value) = self.find(field) else { return Ok(Vec::new()) };
        let items = self.array(field, value.get_ref(), most)?;
        items.iter().map(|item| self.integer_of(field, item.get_ref(), &range)).collect()
    }

    fn array<'v>(&self, field: &str, value: &'v DeValue<'v>, most: usize) -> Read<&'v DeArray<'v>> {
        let list = value.as_array().filter(|list| list.len() <= most);
        list.ok_or_else(|| self.other_kind(field, Right::List { most }, value))
    }

    /// A ratio of two numbers: `[3, 2]`.
    pub fn rate_or(&self, field: &'static str, default: Rate) -> Read<Rate> {
        let Some(value) = self.find(field) else { return Ok(default) };
        self.rate_of(field, value.get_ref())
    }

    fn rate_of(&self, field: &str, value: &DeValue<'_>) -> Read<Rate> {
        let wrong = || self.wrong(field, Right::Ratio);
        let list = value.as_array().filter(|list| list.len() == 2).ok_or_else(wrong)?;
        let mut parts = list.iter().map(|part| {
            let number = self.integer_of(field, part.get_ref(), &(1..=100_000))?;
            u32::try_from(number).map_err(|_| wrong())
        });
        let (Some(above), Some(below)) = (parts.next(), parts.next()) else { return Err(wrong()) };
        Rate::new(above?, below?).map_err(|_| wrong())
    }

    /// A table of names and ratios.
    pub fn rates(&self, field: &'static str, most: usize) -> Read<Vec<(Name, Rate)>> {
        let Some(section) = self.section(field)? else { return Ok(Vec::new()) };
        if section.table.len() > most {
            return Err(self.wrong(field, Right::Names { most }));
        }
        let mut rates = Vec::new();
        for (key, value) in section.table {
            let key = key.get_ref().as_ref();
            let name = Name::new(key).map_err(|_| section.wrong(key, Right::Name))?;
            rates.push((name, section.rate_of(key, value.get_ref())?));
        }
        Ok(rates)
    }

    /// A table of texts of any letters, each with a name: `"蔬菜" = "fresh"`.
    pub fn named_texts(&self, field: &'static str, most: usize) -> Read<Vec<(String, Name)>> {
        let Some(section) = self.section(field)? else { return Ok(Vec::new()) };
        if section.table.len() > most {
            return Err(self.wrong(field, Right::Entries { most }));
        }
        let mut all = Vec::new();
        for (key, value) in section.table {
            let (key, found): (&str, _) = (key.get_ref().as_ref(), value.get_ref());
            let text = key.trim();
            if text.is_empty() || text.chars().count() > TEXT_MAX {
                return Err(section.wrong(key, Right::TextBefore));
            }
            let name = found
                .as_str()
                .ok_or_else(|| section.other_kind(key, Right::NameInQuotes, found))?;
            let wrong = |_| section.wrong(key, Right::Name.found_text(name));
            all.push((text.to_owned(), Name::new(name).map_err(wrong)?));
        }
        Ok(all)
    }

    pub fn maybe_text(&self, field: &'static str) -> Read<Option<&'a str>> {
        let Some(value) = self.find(field) else { return Ok(None) };
        let text = value.get_ref().as_str().filter(|text| {
            (1..=TEXT_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control)
        });
        text.map(Some).ok_or_else(|| self.wrong(field, Right::Text))
    }

    pub fn maybe_name(&self, field: &'static str) -> Read<Option<Name>> {
        let Some(text) = self.maybe_text(field)? else { return Ok(None) };
        let found = |_| self.wrong(field, Right::Name.found_text(text));
        Name::new(text).map(Some).map_err(found)
    }

    pub fn name(&self, field: &'static str) -> Read<Name> {
        self.maybe_name(field)?.ok_or_else(|| self.missing(field, Right::SomeName))
    }

    /// One of a few words.
    pub fn one_of<T: Copy>(&self, field: &'static str, choices: &[(&str, T)]) -> Read<Option<T>> {
        let Some(text) = self.maybe_text(field)? else { return Ok(None) };
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        let words = || choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        found.map(Some).ok_or_else(|| self.wrong(field, Right::OneOf(words()).found_text(text)))
    }

    pub fn flag_or(&self, field: &'static str, default: bool) -> Read<bool> {
        let Some(value) = self.find(field) else { return Ok(default) };
        value.get_ref().as_bool().ok_or_else(|| self.wrong(field, Right::Flag))
    }

    /// What members read: `zh = "..."` and `en = "..."`.
    pub fn words(&self) -> Read<Words> {
        let text = |field| {
            let text = self.maybe_text(field)?.map(str::to_owned);
            text.ok_or_else(|| self.missing(field, Right::ForMembers))
        };
        Ok(Words { zh: text("zh")?, en: text("en")? })
    }

    pub fn section(&self, field: &'static str) -> Read<Option<Self>> {
        let Some(value) = self.find(field) else { return Ok(None) };
        let table = value.get_ref().as_table();
        let table = table.ok_or_else(|| self.wrong(field, Right::Section(self.path_of(field))))?;
        Ok(Some(self.inner(field, table, value)))
    }

    fn inner(&self, field: &str, table: &'a DeTable<'a>, value: &Spanned<DeValue<'a>>) -> Self {
        let line = line_at(self.text, value.span().start);
        Self::new(self.text, self.path_of(field), table, line)
    }

    /// The sections of a list: `[[coupon]]`.
    pub fn list(&self, field: &'static str, most: usize) -> Read<Vec<Self>> {
        let Some(value) = self.find(field) else { return Ok(Vec::new()) };
        let items = self.array(field, value.get_ref(), most)?;
        let section = |item: &'a Spanned<DeValue<'a>>| {
            let table = item.get_ref().as_table();
            let table =
                table.ok_or_else(|| self.wrong(field, Right::Sections(self.path_of(field))))?;
            Ok(self.inner(field, table, item))
        };
        items.iter().map(section).collect()
    }

    /// After all fields were read: there is no other.
    pub fn finish(&self) -> Read<()> {
        let known = self.known.borrow();
        let unknown = |key: &&Spanned<DeString<'a>>| !known.contains(&key.get_ref().as_ref());
        let Some(key) = self.table.keys().find(unknown) else { return Ok(()) };
        let mut fields = known.clone();
        fields.sort_unstable();
        fields.dedup();
        let problem = Problem::NoSuchField(fields.join(", "));
        let line = line_at(self.text, key.span().start);
        Err(Wrong { line, field: self.path_of(key.get_ref()), problem })
    }
}
