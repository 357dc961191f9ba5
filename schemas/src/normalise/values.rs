//! Values of a row's columns, or what is wrong with them.

use std::borrow::Cow;

use super::Problem;
use crate::columns::{Column, RawValue, Row};
use crate::reject::Reason;
use crate::symbol::Symbol;

pub(super) fn text<R: Row>(row: &R, column: Column) -> Result<Option<Cow<'_, str>>, Problem> {
    match row.get(column) {
        RawValue::Null => Ok(None),
        RawValue::Text(text) => Ok(Some(text)),
        other => Err(Problem::new(Reason::BadType, column, format!("expected a text, found {}", other.describe()))),
    }
}

pub(super) fn required<R: Row>(row: &R, column: Column) -> Result<Cow<'_, str>, Problem> {
    match text(row, column)? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(Problem::new(Reason::MissingField, column, "this column is required and is missing or empty")),
    }
}

pub(super) fn symbol<R: Row>(row: &R, column: Column) -> Result<Option<Symbol>, Problem> {
    Ok(text(row, column)?.filter(|text| !text.is_empty()).map(|text| Symbol::new(&text)))
}

pub(super) fn integer(row: &impl Row, column: Column) -> Result<Option<i64>, Problem> {
    match row.get(column) {
        RawValue::Null => Ok(None),
        RawValue::Int(number) => Ok(Some(number)),
        value @ RawValue::Float(number) if value.fits(column.kind()) => Ok(Some(number as i64)),
        other => Err(Problem::new(Reason::BadType, column, format!("expected an integer, found {}", other.describe()))),
    }
}

pub(super) fn required_symbol(row: &impl Row, column: Column) -> Result<Symbol, Problem> {
    required(row, column).map(|text| Symbol::new(&text))
}

pub(super) fn parse_enum<T>(
    row: &impl Row,
    column: Column,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    match text(row, column)? {
        None => Ok(None),
        Some(name) if name.is_empty() => Ok(None),
        Some(name) => parse(&name).map(Some).ok_or_else(|| {
            let message = format!("the event model has no {} {}", column.name(), quoted(&name));
            Problem::new(Reason::UnknownEnum, column, message)
        }),
    }
}

/// A whole number of milliseconds, 0 or more.
pub(super) fn not_negative(row: &impl Row, column: Column) -> Result<Option<i64>, Problem> {
    // Beyond a century nothing is meant, and sums stay far from overflowing.
    const LONGEST_MS: i64 = 100 * 366 * 86_400_000;
    match integer(row, column)? {
        Some(value) if !(0..=LONGEST_MS).contains(&value) => {
            Err(Problem::new(Reason::OutOfRange, column, "expected milliseconds from 0 up to a century"))
        }
        value => Ok(value),
    }
}

/// A name for a message: quoted where it looks like one, for it may be a text in the wrong column.
pub(super) fn quoted(name: &str) -> String {
    const NAME_BYTES_MAX: usize = 60;
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if is_name && name.len() <= NAME_BYTES_MAX {
        format!("{name:?}")
    } else {
        format!("that is written with these {} characters", name.chars().count())
    }
}
