//! A refusal: why a question is not answered, in two languages, with a way out.
//!
//! A refusal is decided from the question and public facts alone, so showing it costs nothing and
//! tells nothing about data.

use core::fmt;

use serde::Serialize;

/// Stable code of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The text is no SQL, or more than one statement.
    Syntax,
    /// Too long, too deep or too many parts.
    TooComplex,
    /// SQL that has no bounded meaning here, or not yet.
    Unsupported,
    /// No such table, column or function in the contract.
    Unknown,
    /// A literal of the wrong type or outside the declared domain.
    OutsideDomain,
    /// A sum without a declared bound.
    Unbounded,
    /// A cell that fewer than three brands could carry, or a number that fewer than three tell.
    TooFewCarriers,
    /// Too many cells.
    TooManyCells,
    /// Participants that are unknown, repeated or too few.
    Participants,
    /// A purpose the members were not asked for.
    Purpose,
    /// A privacy cost that is zero or above the quota.
    Cost,
    /// Public caps do not rule out an overflow.
    Overflow,
}

impl RefusalCode {
    /// The code as it is written in machine-readable answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::TooComplex => "too_complex",
            Self::Unsupported => "unsupported",
            Self::Unknown => "unknown",
            Self::OutsideDomain => "outside_domain",
            Self::Unbounded => "unbounded",
            Self::TooFewCarriers => "too_few_carriers",
            Self::TooManyCells => "too_many_cells",
            Self::Participants => "participants",
            Self::Purpose => "purpose",
            Self::Cost => "cost",
            Self::Overflow => "overflow",
        }
    }
}

/// Place in the SQL text, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

/// A text in English and Chinese.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bilingual {
    /// English.
    pub en: String,
    /// Chinese.
    pub zh: String,
}

/// Why a question is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Refusal(Box<Parts>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Parts {
    code: RefusalCode,
    message: Bilingual,
    hint: Bilingual,
    position: Option<Position>,
}

impl Refusal {
    pub(crate) fn new(
        code: RefusalCode,
        message: [impl Into<String>; 2],
        hint: [impl Into<String>; 2],
    ) -> Self {
        let [en, zh] = message.map(Into::into);
        let message = Bilingual { en, zh };
        let [en, zh] = hint.map(Into::into);
        Self(Box::new(Parts { code, message, hint: Bilingual { en, zh }, position: None }))
    }

    /// Keeps the first, innermost position.
    pub(crate) fn at(mut self, span: sqlparser::tokenizer::Span) -> Self {
        if self.0.position.is_none() && span.start.line > 0 {
            self.0.position = Some(Position { line: span.start.line, column: span.start.column });
        }
        self
    }

    /// Stable code.
    pub fn code(&self) -> RefusalCode {
        self.0.code
    }

    /// What was wrong.
    pub fn message(&self) -> &Bilingual {
        &self.0.message
    }

    /// What would be right.
    pub fn hint(&self) -> &Bilingual {
        &self.0.hint
    }

    /// Where in the SQL text, when it is one place.
    pub fn position(&self) -> Option<Position> {
        self.0.position
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.message.en)?;
        if let Some(Position { line, column }) = self.0.position {
            write!(f, " (line {line}, column {column})")?;
        }
        write!(f, "; {}", self.0.hint.en)
    }
}

impl core::error::Error for Refusal {}

/// Something SQL has and a joint question has not.
pub(crate) fn unsupported(what_en: &str, what_zh: &str, hint: [&str; 2]) -> Refusal {
    let message = [format!("{what_en} is not supported"), format!("不支持{what_zh}")];
    Refusal::new(RefusalCode::Unsupported, message, hint.map(str::to_owned))
}

pub(crate) fn too_complex(what_en: &str, what_zh: &str, most: usize) -> Refusal {
    Refusal::new(
        RefusalCode::TooComplex,
        [format!("too many {what_en}"), format!("{what_zh}过多")],
        [format!("use at most {most}"), format!("最多 {most} 个")],
    )
}
