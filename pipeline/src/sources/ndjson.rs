//! Rows of newline-delimited JSON.

use std::borrow::Cow;
use std::fmt;

use contactflow_schemas::columns::{Column, ColumnKind, RawValue, Row};
use contactflow_schemas::reject::RAW_BYTES_MAX;
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
    value::{MapAccessDeserializer, SeqAccessDeserializer},
};

use super::canonical::{Node, from_json_text};

const COLUMNS: usize = Column::ALL.len();

/// The columns of one line, borrowed from it.
pub(super) struct JsonRow<'a> {
    line: &'a str,
    values: [RawValue<'a>; COLUMNS],
    present: [Column; COLUMNS],
    filled: usize,
}

impl<'a> JsonRow<'a> {
    /// Parses a line. Keys that are no columns are skipped; of equal keys the last counts.
    ///
    /// # Errors
    /// What is wrong, without quoting the line, which may hold what must be masked.
    pub(super) fn parse(line: &'a str) -> Result<Self, String> {
        let mut row = JsonRow {
            line,
            values: [const { RawValue::Null }; COLUMNS],
            present: [Column::TenantId; COLUMNS],
            filled: 0,
        };
        let mut deserializer = serde_json::Deserializer::from_str(line);
        let parsed = RowSeed(&mut row).deserialize(&mut deserializer);
        match parsed.and_then(|()| deserializer.end()) {
            Ok(()) => Ok(row),
            Err(error) if error.is_data() => Err("the line is JSON, but no object".to_owned()),
            Err(error) => {
                let message = error.to_string().replace(" at line 1 column ", " at byte ");
                Err(format!("the line is no JSON object: {message}"))
            }
        }
    }

    fn set(&mut self, column: Column, value: RawValue<'a>) {
        let slot = &mut self.values[column as usize];
        if *slot == RawValue::Null && !self.present[..self.filled].contains(&column) {
            self.present[self.filled] = column;
            self.filled += 1;
        }
        *slot = value;
    }
}

impl Row for JsonRow<'_> {
    fn get(&self, column: Column) -> RawValue<'_> {
        match &self.values[column as usize] {
            RawValue::Null => RawValue::Null,
            RawValue::Text(text) => RawValue::Text(Cow::Borrowed(text)),
            RawValue::Nested(text) => RawValue::Nested(Cow::Borrowed(text)),
            RawValue::Int(number) => RawValue::Int(*number),
            RawValue::Float(number) => RawValue::Float(*number),
            RawValue::Bool(value) => RawValue::Bool(*value),
            RawValue::Time(time_ms) => RawValue::Time(*time_ms),
        }
    }

    fn present(&self) -> &[Column] {
        &self.present[..self.filled]
    }

    fn raw(&self) -> String {
        let mut end = self.line.len().min(RAW_BYTES_MAX);
        while !self.line.is_char_boundary(end) {
            end -= 1;
        }
        self.line[..end].to_owned()
    }
}

/// Fills a row from a JSON object.
struct RowSeed<'r, 'a>(&'r mut JsonRow<'a>);

impl<'de> DeserializeSeed<'de> for RowSeed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(key) = members.next_key_seed(KeySeed)? {
            match key {
                Some(column) => {
                    let value = members.next_value_seed(ValueSeed)?;
                    let value = match value {
                        RawValue::Text(text) if column.kind() == ColumnKind::Nested => from_json_text(text),
                        other => other,
                    };
                    self.0.set(column, value);
                }
                None => _ = members.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

/// The column a key names, if any.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Option<Column>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Option<Column>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Column::parse(key))
    }
}

/// A value of a column.
struct ValueSeed;

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = RawValue<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed {
    type Value = RawValue<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(RawValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(RawValue::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(RawValue::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).map_or(RawValue::Float(number as f64), RawValue::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(RawValue::Float(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(RawValue::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(RawValue::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        let node = Node::deserialize(SeqAccessDeserializer::new(items))?;
        Ok(RawValue::Nested(Cow::Owned(node.to_text())))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        let node = Node::deserialize(MapAccessDeserializer::new(members))?;
        Ok(RawValue::Nested(Cow::Owned(node.to_text())))
    }
}
