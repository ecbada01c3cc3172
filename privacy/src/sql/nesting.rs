//! How deep function calls nest in a text, before it is parsed.
//!
//! The parser reads the argument of a call a second time at every level where the first reading as a named argument
//! fails: its time doubles with each. Counting brackets in the tokens takes one pass.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, Tokenizer};

/// Most function calls inside one another.
pub const CALLS_MAX: usize = 8;

/// The most function calls of a text that lie inside one another. A text that cannot be taken apart has none: it is
/// refused where it is parsed.
pub fn calls_nested(sql: &str) -> usize {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().unwrap_or_default();
    let (mut open, mut calls, mut deepest) = (Vec::new(), 0usize, 0usize);
    let mut after_name = false;
    for token in tokens {
        match token {
            Token::Whitespace(_) => continue,
            Token::LParen => {
                open.push(after_name);
                calls = calls.saturating_add(usize::from(after_name));
                deepest = deepest.max(calls);
            }
            Token::RParen => {
                let was_call = open.pop() == Some(true);
                calls = calls.saturating_sub(usize::from(was_call));
            }
            _ => {}
        }
        after_name = matches!(&token, Token::Word(word) if !opens_no_call(word.keyword));
    }
    deepest
}

/// Words before a bracket that is no call's.
const fn opens_no_call(word: Keyword) -> bool {
    matches!(
        word,
        Keyword::ALL
            | Keyword::AND
            | Keyword::AS
            | Keyword::BETWEEN
            | Keyword::BY
            | Keyword::DISTINCT
            | Keyword::ELSE
            | Keyword::EXCEPT
            | Keyword::FROM
            | Keyword::HAVING
            | Keyword::IN
            | Keyword::INTERSECT
            | Keyword::JOIN
            | Keyword::NOT
            | Keyword::ON
            | Keyword::OR
            | Keyword::SELECT
            | Keyword::THEN
            | Keyword::UNION
            | Keyword::WHEN
            | Keyword::WHERE
    )
}
