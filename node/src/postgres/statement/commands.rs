//! Statements by their first words: settings, transactions, EXPLAIN, and what is not done here.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use super::super::errors::{NO_SETTING, Refused, SYNTAX, UNSUPPORTED};
use super::{Explain, Parsed, asked, from_token};

pub(super) fn syntax(why: &str) -> Refused {
    Refused::new(SYNTAX, format!("this is not SQL: {why}"), "check the text at the place named")
}

pub(super) fn not_here(what: &str) -> Refused {
    Refused::new(
        UNSUPPORTED,
        format!("{what} is not done here"),
        "this database takes SELECT (a question), EXPLAIN SELECT (its cost), SET, SHOW, RESET and the \
         statements of a transaction",
    )
}

/// One statement, by its first word.
pub(super) fn statement(words: &[Token], text: &str) -> Result<Parsed, Refused> {
    let upper = |place: usize| match words.get(place) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
        _ => String::new(),
    };
    let first = upper(0);
    Ok(match first.as_str() {
        "SET" => return set(words),
        "SHOW" => match (upper(1).as_str(), words.len()) {
            ("ALL", 2) => Parsed::Show(None),
            ("TIME", 3) => Parsed::Show(Some("timezone".to_owned())),
            ("TRANSACTION", 4) => Parsed::Show(Some("transaction_isolation".to_owned())),
            ("SESSION", 3) => Parsed::Show(Some("session_authorization".to_owned())),
            _ => Parsed::Show(Some(setting_name(words.get(1..).unwrap_or_default())?)),
        },
        "RESET" => match (upper(1).as_str(), words.len()) {
            ("ALL", 2) => Parsed::Reset(None),
            _ => Parsed::Reset(Some(setting_name(words.get(1..).unwrap_or_default())?)),
        },
        "BEGIN" | "START" => Parsed::Begin,
        "COMMIT" | "END" => match upper(1).as_str() {
            "PREPARED" => return Err(not_here("COMMIT PREPARED")),
            _ => Parsed::End("COMMIT"),
        },
        "ROLLBACK" if upper(1) == "TO" || upper(2) == "TO" => Parsed::Savepoint("ROLLBACK"),
        "ROLLBACK" | "ABORT" => Parsed::End("ROLLBACK"),
        "SAVEPOINT" => Parsed::Savepoint("SAVEPOINT"),
        "RELEASE" => Parsed::Savepoint("RELEASE"),
        "DISCARD" if upper(1) == "ALL" => Parsed::Discard("DISCARD ALL"),
        "DISCARD" => Parsed::Nothing("DISCARD"),
        "DEALLOCATE" => {
            let place = if upper(1) == "PREPARE" { 2 } else { 1 };
            match words.get(place) {
                Some(Token::Word(word)) if upper(place) != "ALL" => {
                    Parsed::Deallocate(Some(word.value.clone()))
                }
                _ => Parsed::Deallocate(None),
            }
        }
        "UNLISTEN" => Parsed::Nothing("UNLISTEN"),
        "CLOSE" if upper(1) == "ALL" => Parsed::Nothing("CLOSE CURSOR ALL"),
        "DECLARE" | "FETCH" | "MOVE" | "CLOSE" => {
            return Err(Refused::new(
                UNSUPPORTED,
                "there are no cursors here",
                "an answer is small: ask without a cursor (in psycopg without a name, in psql with \
                 FETCH_COUNT unset)",
            ));
        }
        "EXPLAIN" => return explain(words, text),
        "SELECT" | "WITH" | "VALUES" | "TABLE" => Parsed::Ask(Box::new(asked(text, None)?)),
        "" if words.first() == Some(&Token::LParen) => Parsed::Ask(Box::new(asked(text, None)?)),
        "" => return Err(syntax("a statement begins with a word")),
        other => return Err(not_here(&other.chars().take(63).collect::<String>())),
    })
}

/// `SET [SESSION | LOCAL] name { = | TO } value`.
fn set(words: &[Token]) -> Result<Parsed, Refused> {
    let mut rest = words.get(1..).unwrap_or_default();
    let word = |token: Option<&Token>, keyword: Keyword| matches!(token, Some(Token::Word(word)) if word.keyword == keyword);
    let local = word(rest.first(), Keyword::LOCAL);
    if local || word(rest.first(), Keyword::SESSION) {
        // SET SESSION AUTHORIZATION, SET SESSION CHARACTERISTICS
        if word(rest.get(1), Keyword::AUTHORIZATION) {
            return Err(not_here("SET SESSION AUTHORIZATION"));
        }
        if word(rest.get(1), Keyword::CHARACTERISTICS) {
            return Ok(Parsed::Nothing("SET"));
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    if word(rest.first(), Keyword::TRANSACTION) {
        return Ok(Parsed::Nothing("SET"));
    }
    if word(rest.first(), Keyword::ROLE) {
        return Err(not_here("SET ROLE"));
    }
    let named = |name: &str, value: &[Token]| -> Result<Parsed, Refused> {
        Ok(Parsed::Set { name: name.to_owned(), value: setting_value(value)?, local })
    };
    if word(rest.first(), Keyword::TIME) && word(rest.get(1), Keyword::ZONE) {
        return named("timezone", rest.get(2..).unwrap_or_default());
    }
    if word(rest.first(), Keyword::NAMES) {
        return named("client_encoding", rest.get(1..).unwrap_or_default());
    }
    let end = rest.iter().position(|token| *token == Token::Eq || word(Some(token), Keyword::TO));
    let end = end.ok_or_else(|| syntax("SET needs = or TO"))?;
    let name = setting_name(rest.get(..end).unwrap_or_default())?;
    let value = rest.get(end + 1..).unwrap_or_default();
    if value.is_empty() {
        return Err(syntax("SET needs a value"));
    }
    named(&name, value)
}

fn setting_name(words: &[Token]) -> Result<String, Refused> {
    let mut name = String::new();
    for token in words {
        match token {
            Token::Word(word) => name.push_str(&word.value),
            Token::Period => name.push('.'),
            _ => return Err(syntax("this is no name of a setting")),
        }
    }
    if name.is_empty() {
        return Err(Refused::new(NO_SETTING, "a setting's name is missing", "SHOW ALL lists them"));
    }
    Ok(name)
}

/// None for DEFAULT.
fn setting_value(words: &[Token]) -> Result<Option<String>, Refused> {
    let mut value = String::new();
    for token in words {
        match token {
            Token::Word(word) if word.keyword == Keyword::DEFAULT && words.len() == 1 => {
                return Ok(None);
            }
            Token::Word(word) => value.push_str(&word.value),
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => {
                value.push_str(text);
            }
            Token::Number(number, _) => value.push_str(number),
            Token::Comma => value.push_str(", "),
            Token::Minus => value.push('-'),
            Token::Plus => {}
            Token::Period => value.push('.'),
            _ => return Err(syntax("this is no value of a setting: write it in quotes")),
        }
    }
    Ok(Some(value))
}

/// `EXPLAIN [( options )] SELECT ..`.
fn explain(words: &[Token], text: &str) -> Result<Parsed, Refused> {
    let mut form = Explain::Text;
    let named = |token: &Token, name: &str| matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case(name));
    let closing = words.iter().position(|token| *token == Token::RParen);
    let options = match (words.get(1), closing) {
        // EXPLAIN (SELECT ..) is a question in brackets
        (Some(Token::LParen), Some(closing))
            if !words
                .get(2)
                .is_some_and(|token| named(token, "SELECT") || named(token, "WITH")) =>
        {
            words.get(2..closing).unwrap_or_default()
        }
        (Some(token), _) if named(token, "ANALYZE") || named(token, "VERBOSE") => {
            words.get(1..2).unwrap_or_default()
        }
        _ => &[],
    };
    if options.iter().any(|token| named(token, "ANALYZE")) {
        return Err(Refused::new(
            UNSUPPORTED,
            "EXPLAIN ANALYZE would ask the question, which spends",
            "EXPLAIN SELECT .. shows what it costs and how exact it will be, and spends nothing",
        ));
    }
    if options.iter().any(|token| named(token, "JSON")) {
        form = Explain::Json;
    } else if options.iter().any(|token| named(token, "XML") || named(token, "YAML")) {
        return Err(Refused::new(UNSUPPORTED, "there is no such format", "FORMAT TEXT or JSON"));
    }
    let bracketed = words.get(1) == Some(&Token::LParen);
    let skipped = match (options.is_empty(), bracketed, closing) {
        (true, ..) => 1,
        (false, true, Some(closing)) => closing + 1,
        (false, ..) => 2,
    };
    let inner = from_token(text, skipped);
    Ok(Parsed::Ask(Box::new(asked(inner, Some(form))?)))
}
