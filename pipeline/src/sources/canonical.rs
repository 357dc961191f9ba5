//! One text form for lists and maps, whatever format they come from, so that equal content has an equal hash.
//!
//! It is JSON without white space, keys sorted, whole numbers without a fraction; members of a map that are null are
//! left out, as a missing column is null.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use contactflow_schemas::columns::RawValue;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A value of any depth.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Map(BTreeMap<Cow<'a, str>, Node<'a>>),
}

impl Node<'_> {
    /// The canonical form.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::Null => text.push_str("null"),
            Self::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Self::Int(number) => text.push_str(&number.to_string()),
            Self::Float(number) => write_float(text, *number),
            Self::Text(value) => write_json_text(text, value),
            Self::List(items) => {
                text.push('[');
                for (position, item) in items.iter().enumerate() {
                    if position > 0 {
                        text.push(',');
                    }
                    item.write(text);
                }
                text.push(']');
            }
            Self::Map(members) => {
                text.push('{');
                let filled = members.iter().filter(|(_, value)| **value != Self::Null);
                for (position, (key, value)) in filled.enumerate() {
                    if position > 0 {
                        text.push(',');
                    }
                    write_json_text(text, key);
                    text.push(':');
                    value.write(text);
                }
                text.push('}');
            }
        }
    }
}

/// Appends `value` as a JSON string.
pub(super) fn write_json_text(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control if control < ' ' => text.push_str(&format!("\\u{:04x}", control as u32)),
            other => text.push(other),
        }
    }
    text.push('"');
}

/// Appends a number; JSON has no NaN and no infinity, which become null.
pub(super) fn write_float(text: &mut String, number: f64) {
    if !number.is_finite() {
        text.push_str("null");
    } else if number.fract() == 0.0 && number.abs() < 9e15 {
        text.push_str(&(number as i64).to_string());
    } else {
        // `{:?}` is the shortest form that reads back as the same number.
        text.push_str(&format!("{number:?}"));
    }
}

/// A list or map that comes as JSON text, for formats without nested types; any other text stays as it is.
pub(super) fn from_json_text(text: Cow<'_, str>) -> RawValue<'_> {
    if !text.trim_start().starts_with(['{', '[']) {
        return RawValue::Text(text);
    }
    let canonical = serde_json::from_str::<Node<'_>>(&text).map(|node| node.to_text());
    match canonical {
        Ok(canonical) => RawValue::Nested(Cow::Owned(canonical)),
        Err(_) => RawValue::Text(text),
    }
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Node::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).map_or(Node::Float(number as f64), Node::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Node::Float(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        // The key is read as a node to borrow it where it has no escapes; JSON keys are always texts.
        while let Some((key, value)) = members.next_entry::<Node<'de>, Node<'de>>()? {
            if let Node::Text(key) = key {
                map.insert(key, value);
            }
        }
        Ok(Node::Map(map))
    }
}
