//! Parameters of a statement as literals of its parsed form.

use std::ops::ControlFlow;

use jiff::civil::Date;
use pgwire::api::Type;
use sqlparser::ast::{
    BinaryOperator, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query,
    TypedString, Value, ValueWithSpan, VisitMut as _, VisitorMut, visit_expressions,
    visit_expressions_mut,
};
use sqlparser::tokenizer::Span;

use super::errors::{INVALID_VALUE, Refused, TOO_COMPLEX, UNSUPPORTED};

/// Most parameters of a statement.
pub const PARAMETERS_MAX: usize = 128;

/// How many parameters a query has: the greatest `$n`.
///
/// # Errors
/// When one is named otherwise than `$1` to the limit.
pub fn count(query: &Query) -> Result<usize, Refused> {
    let mut most = 0;
    let outcome = visit_expressions(query, |expr| {
        if let Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) = expr {
            match place(name) {
                Some(place) => most = most.max(place),
                None => return ControlFlow::Break(name.clone()),
            }
        }
        ControlFlow::Continue(())
    });
    match outcome {
        ControlFlow::Continue(()) => Ok(most),
        ControlFlow::Break(name) => Err(Refused::new(
            TOO_COMPLEX,
            format!("{:?} is no parameter", name.chars().take(20).collect::<String>()),
            format!("parameters are $1 to ${PARAMETERS_MAX}"),
        )),
    }
}

fn place(name: &str) -> Option<usize> {
    let place = name.strip_prefix('$')?.parse().ok()?;
    (1..=PARAMETERS_MAX).contains(&place).then_some(place)
}

/// Puts literals in the place of parameters.
pub fn fill(query: &mut Query, values: &[Value]) {
    let _ = visit_expressions_mut(query, |expr| {
        if let Expr::Value(value) = expr
            && let Value::Placeholder(name) = &value.value
            && let Some(given) = place(name).and_then(|place| values.get(place - 1))
        {
            value.value = given.clone();
        }
        ControlFlow::<()>::Continue(())
    });
}

/// A literal with a cast around it, as clients write parameters, as the literal that a question takes.
pub fn settle(expr: &mut Expr) {
    let Expr::Cast { expr: inner, data_type, .. } = expr else { return };
    let Expr::Value(value) = inner.as_ref() else { return };
    let settled = match (&value.value, data_type) {
        (
            Value::SingleQuotedString(_),
            DataType::Text
            | DataType::Varchar(_)
            | DataType::CharacterVarying(_)
            | DataType::Char(_)
            | DataType::Character(_)
            | DataType::String(_),
        ) => value.value.clone(),
        (
            Value::Number(..),
            DataType::Int(_)
            | DataType::Integer(_)
            | DataType::BigInt(_)
            | DataType::SmallInt(_)
            | DataType::Int2(_)
            | DataType::Int4(_)
            | DataType::Int8(_),
        ) => value.value.clone(),
        (
            Value::SingleQuotedString(digits),
            DataType::BigInt(_) | DataType::Integer(_) | DataType::Int(_),
        ) if digits.parse::<i64>().is_ok() => Value::Number(digits.clone(), false),
        (Value::SingleQuotedString(_), DataType::Date) => {
            *expr = date(value.value.clone());
            return;
        }
        _ => return,
    };
    *expr = Expr::Value(ValueWithSpan { value: settled, span: Span::empty() });
}

fn date(text: Value) -> Expr {
    Expr::TypedString(TypedString {
        data_type: DataType::Date,
        value: ValueWithSpan { value: text, span: Span::empty() },
        uses_odbc_syntax: false,
    })
}

/// Writes days as tools do, `TO_DATE('2017-12-31', 'YYYY-MM-DD')`, as the literals that a question takes; says
/// whether there were any. What is before such a day is written as what ends with the day before: a tool's year
/// ends before the first day of the next, which the column may not have.
pub fn plain_days(query: &mut Query) -> bool {
    struct Days(bool);
    impl VisitorMut for Days {
        type Break = ();
        // the comparison before what is compared
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            self.0 |= plain_day(expr);
            ControlFlow::Continue(())
        }
    }
    let mut days = Days(false);
    let _ = query.visit(&mut days);
    days.0
}

fn plain_day(expr: &mut Expr) -> bool {
    let literal = |day: Date| date(Value::SingleQuotedString(day.to_string()));
    if let Expr::BinaryOp { op, right, .. } = expr
        && *op == BinaryOperator::Lt
        && let Some(before) = to_date(right).and_then(|day| day.yesterday().ok())
    {
        *op = BinaryOperator::LtEq;
        **right = literal(before);
        return true;
    }
    let Some(day) = to_date(expr) else { return false };
    *expr = literal(day);
    true
}

/// The day that `TO_DATE(text, 'YYYY-MM-DD')` is.
fn to_date(expr: &Expr) -> Option<Date> {
    fn text(argument: &FunctionArg) -> Option<&str> {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(ValueWithSpan {
                value: Value::SingleQuotedString(text),
                ..
            }))) => Some(text),
            _ => None,
        }
    }
    let Expr::Function(function) = expr else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    let [day, form] = list.args.as_slice() else { return None };
    let named = function.name.to_string().eq_ignore_ascii_case("to_date");
    let known = named && text(form)?.eq_ignore_ascii_case("YYYY-MM-DD");
    text(day)?.parse::<Date>().ok().filter(|_| known)
}

/// A parameter's bytes as a literal.
///
/// # Errors
/// When they are not of their type, or of a type that is not taken.
pub fn literal(bytes: Option<&[u8]>, of: &Type, binary: bool) -> Result<Value, Refused> {
    let Some(bytes) = bytes else { return Ok(Value::Null) };
    if binary { from_binary(bytes, of) } else { from_text(bytes, of) }
}

fn wrong(of: &Type) -> Refused {
    Refused::new(
        INVALID_VALUE,
        format!("a parameter is not of its type {}", of.name()),
        "send it as the client's library writes that type",
    )
}

fn not_taken(of: &Type) -> Refused {
    Refused::new(
        UNSUPPORTED,
        format!("parameters of type {} are not taken", of.name()),
        "use text, whole numbers, decimals, boolean or date",
    )
}

fn text(bytes: &[u8], of: &Type) -> Result<String, Refused> {
    let text = std::str::from_utf8(bytes).map_err(|_| wrong(of))?;
    if text.contains('\0') {
        return Err(wrong(of));
    }
    Ok(text.to_owned())
}

fn from_text(bytes: &[u8], of: &Type) -> Result<Value, Refused> {
    let text = text(bytes, of)?;
    match *of {
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => number(&text, of),
        Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC => decimal(&text, of),
        Type::BOOL => match text.as_str() {
            "t" | "true" | "TRUE" | "on" | "1" => Ok(Value::Boolean(true)),
            "f" | "false" | "FALSE" | "off" | "0" => Ok(Value::Boolean(false)),
            _ => Err(wrong(of)),
        },
        Type::DATE => {
            text.parse::<Date>().map_err(|_| wrong(of))?;
            Ok(Value::SingleQuotedString(text))
        }
        Type::TEXT
        | Type::VARCHAR
        | Type::BPCHAR
        | Type::NAME
        | Type::UNKNOWN
        | Type::CHAR
        | Type::REGCLASS => Ok(Value::SingleQuotedString(text)),
        _ => Err(not_taken(of)),
    }
}

fn number(text: &str, of: &Type) -> Result<Value, Refused> {
    let number: i64 = text.trim().parse().map_err(|_| wrong(of))?;
    Ok(Value::Number(number.to_string(), false))
}

fn decimal(text: &str, of: &Type) -> Result<Value, Refused> {
    let digits = text.trim().strip_prefix('-').unwrap_or(text.trim());
    let plain = !digits.is_empty()
        && digits.len() <= 64
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().filter(|byte| *byte == b'.').count() <= 1
        && digits != ".";
    if plain { Ok(Value::Number(text.trim().to_owned(), false)) } else { Err(wrong(of)) }
}

fn from_binary(bytes: &[u8], of: &Type) -> Result<Value, Refused> {
    fn array<const N: usize>(bytes: &[u8], of: &Type) -> Result<[u8; N], Refused> {
        bytes.try_into().map_err(|_| wrong(of))
    }
    let whole = |number: i64| Ok(Value::Number(number.to_string(), false));
    let finite = |number: f64| match number.is_finite() {
        true => decimal(&format!("{number}"), of),
        false => Err(wrong(of)),
    };
    match *of {
        Type::INT2 => whole(i16::from_be_bytes(array(bytes, of)?).into()),
        Type::INT4 => whole(i32::from_be_bytes(array(bytes, of)?).into()),
        Type::OID => whole(u32::from_be_bytes(array(bytes, of)?).into()),
        Type::INT8 => whole(i64::from_be_bytes(array(bytes, of)?)),
        Type::FLOAT4 => finite(f32::from_be_bytes(array(bytes, of)?).into()),
        Type::FLOAT8 => finite(f64::from_be_bytes(array(bytes, of)?)),
        Type::BOOL => Ok(Value::Boolean(array::<1>(bytes, of)? != [0])),
        Type::DATE => {
            let days = i32::from_be_bytes(array(bytes, of)?);
            let day = jiff::Span::new().try_days(days).ok();
            let day = day.and_then(|span| Date::constant(2000, 1, 1).checked_add(span).ok());
            day.map(|day| Value::SingleQuotedString(day.to_string())).ok_or_else(|| wrong(of))
        }
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::CHAR => {
            Ok(Value::SingleQuotedString(text(bytes, of)?))
        }
        _ => Err(not_taken(of)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], of: &Type, binary: bool) -> Result<String, &'static str> {
        literal(Some(bytes), of, binary).map(|value| value.to_string()).map_err(|error| error.state)
    }

    #[test]
    fn parameters_are_literals_that_say_no_more_than_their_value() {
        for (bytes, of, binary, expected) in [
            (b"GROCERY".as_slice(), Type::TEXT, false, "'GROCERY'"),
            (b"x' OR '1'='1", Type::TEXT, false, "'x'' OR ''1''=''1'"),
            (b"12", Type::INT4, false, "12"),
            (b"-1.50", Type::NUMERIC, false, "-1.50"),
            (&[0, 0, 0, 12], Type::INT4, true, "12"),
            (&[0xff; 8], Type::INT8, true, "-1"),
            (&1.5_f64.to_be_bytes(), Type::FLOAT8, true, "1.5"),
            (&[1], Type::BOOL, true, "true"),
            (&366_i32.to_be_bytes(), Type::DATE, true, "'2001-01-01'"),
            (b"2001-02-28", Type::DATE, false, "'2001-02-28'"),
        ] {
            assert_eq!(read(bytes, &of, binary).as_deref(), Ok(expected));
        }
        assert_eq!(literal(None, &Type::INT4, false), Ok(Value::Null));
        for (bytes, of, binary) in [
            (b"1 OR 1".as_slice(), Type::INT4, false),
            (b"1;", Type::NUMERIC, false),
            (b"1e9", Type::NUMERIC, false),
            (b"NaN", Type::FLOAT8, false),
            (&f64::NAN.to_be_bytes(), Type::FLOAT8, true),
            (&[0, 12], Type::INT4, true),
            (b"\xff", Type::TEXT, false),
            (b"a\0b", Type::TEXT, false),
            (b"2001-02-30", Type::DATE, false),
            (&i32::MAX.to_be_bytes(), Type::DATE, true),
            (b"perhaps", Type::BOOL, false),
        ] {
            assert_eq!(read(bytes, &of, binary), Err(INVALID_VALUE), "{of} {bytes:?}");
        }
        assert_eq!(read(b"{1}", &Type::INT4_ARRAY, false), Err(UNSUPPORTED));
    }
}
