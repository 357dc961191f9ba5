//! Typed access to one Arrow column, resolved once per batch.

use std::borrow::Cow;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int64Array, LargeStringArray, StringArray,
    StringViewArray, UInt64Array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, UInt64Type};
use arrow::error::ArrowError;
use contactflow_schemas::clock::DAY_MS;
use contactflow_schemas::columns::{ColumnKind, RawValue};

use super::canonical::Node;

/// The cells of a column, or of the items, keys, values or fields inside one.
pub(super) struct Cells {
    nulls: Option<NullBuffer>,
    values: Values,
}

enum Values {
    Text(StringArray),
    LargeText(LargeStringArray),
    TextView(StringViewArray),
    /// Texts that may not be UTF-8: files written without the annotation of strings.
    Bytes(BinaryArray),
    /// Position of each cell among a few distinct ones.
    Dictionary(Int64Array, Box<Cells>),
    Int(Int64Array),
    Unsigned(UInt64Array),
    Float(Float64Array),
    Bool(BooleanArray),
    /// Integers that become ms since the Unix epoch.
    Time(Int64Array, Scale),
    List(Spans, Box<Cells>),
    Map(Spans, Box<Cells>, Box<Cells>),
    Struct(Vec<(String, Cells)>),
    /// A type that fits no column.
    Foreign,
}

/// Where the items of each row begin; one more entry than rows.
struct Spans(Vec<usize>);

impl Spans {
    fn of(&self, row: usize) -> std::ops::Range<usize> {
        self.0[row]..self.0[row + 1]
    }
}

/// How a stored time becomes ms.
#[derive(Clone, Copy)]
enum Scale {
    Times(i64),
    Through(i64),
}

impl Scale {
    fn of(unit: TimeUnit) -> Self {
        match unit {
            TimeUnit::Second => Self::Times(1000),
            TimeUnit::Millisecond => Self::Times(1),
            TimeUnit::Microsecond => Self::Through(1000),
            TimeUnit::Nanosecond => Self::Through(1_000_000),
        }
    }

    /// Cuts fractions of a millisecond; times beyond the range stay out of range.
    fn to_ms(self, stored: i64) -> i64 {
        match self {
            Self::Times(factor) => stored.saturating_mul(factor),
            Self::Through(divisor) => stored.div_euclid(divisor),
        }
    }
}

impl Cells {
    /// Resolves the type of `array`.
    ///
    /// # Errors
    /// Those of Arrow's casts; none for a type that is not known, whose cells fit nothing.
    pub(super) fn new(array: &ArrayRef) -> Result<Self, ArrowError> {
        Ok(Self { nulls: array.logical_nulls(), values: Values::new(array)? })
    }

    /// Calls `visit` with every one of the `rows` rows whose cell is not null.
    pub(super) fn for_each_filled(&self, rows: usize, visit: impl FnMut(usize)) {
        match &self.nulls {
            Some(nulls) => nulls.valid_indices().for_each(visit),
            None => (0..rows).for_each(visit),
        }
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// The cell of `row` in a column of `kind`.
    #[inline]
    pub(super) fn get(&self, row: usize, kind: ColumnKind) -> RawValue<'_> {
        if self.is_null(row) {
            return RawValue::Null;
        }
        match &self.values {
            Values::Text(texts) => RawValue::Text(Cow::Borrowed(texts.value(row))),
            Values::LargeText(texts) => RawValue::Text(Cow::Borrowed(texts.value(row))),
            Values::TextView(texts) => RawValue::Text(Cow::Borrowed(texts.value(row))),
            Values::Bytes(bytes) => match std::str::from_utf8(bytes.value(row)) {
                Ok(text) => RawValue::Text(Cow::Borrowed(text)),
                Err(_) => misfit(kind),
            },
            Values::Dictionary(keys, distinct) => distinct.get(keys.value(row) as usize, kind),
            Values::Int(numbers) => RawValue::Int(numbers.value(row)),
            Values::Unsigned(numbers) => {
                let number = numbers.value(row);
                i64::try_from(number).map_or(RawValue::Float(number as f64), RawValue::Int)
            }
            Values::Float(numbers) => RawValue::Float(numbers.value(row)),
            Values::Bool(values) => RawValue::Bool(values.value(row)),
            Values::Time(times, scale) => RawValue::Time(scale.to_ms(times.value(row))),
            Values::List(..) | Values::Map(..) | Values::Struct(_) => {
                RawValue::Nested(Cow::Owned(self.node(row).to_text()))
            }
            Values::Foreign => misfit(kind),
        }
    }

    /// Bytes of the cell of `row`, where it is a text.
    pub(super) fn text_bytes(&self, row: usize) -> usize {
        match self.get(row, ColumnKind::Text) {
            RawValue::Text(text) | RawValue::Nested(text) => text.len(),
            _ => 0,
        }
    }

    /// The cell of `row` as part of a nested value.
    fn node(&self, row: usize) -> Node<'_> {
        if self.is_null(row) {
            return Node::Null;
        }
        match &self.values {
            Values::List(spans, items) => Node::List(spans.of(row).map(|item| items.node(item)).collect()),
            Values::Map(spans, keys, values) => {
                let members = spans.of(row);
                Node::Map(members.map(|item| (keys.key(item), values.node(item))).collect())
            }
            Values::Struct(fields) => {
                let members = fields.iter();
                Node::Map(members.map(|(name, cells)| (Cow::Borrowed(name.as_str()), cells.node(row))).collect())
            }
            Values::Dictionary(keys, distinct) => distinct.node(keys.value(row) as usize),
            _ => match self.get(row, ColumnKind::Text) {
                RawValue::Text(text) | RawValue::Nested(text) => Node::Text(text),
                RawValue::Int(number) | RawValue::Time(number) => Node::Int(number),
                RawValue::Float(number) => Node::Float(number),
                RawValue::Bool(value) => Node::Bool(value),
                RawValue::Null => Node::Null,
            },
        }
    }

    /// The cell of `row` as the key of a map; keys that are no texts become their canonical form.
    fn key(&self, row: usize) -> Cow<'_, str> {
        match self.node(row) {
            Node::Text(text) => text,
            other => Cow::Owned(other.to_text()),
        }
    }
}

/// A value that does not fit `kind`, for cells that have no value of their own: they are rejected as a wrong type.
fn misfit(kind: ColumnKind) -> RawValue<'static> {
    match kind {
        ColumnKind::Nested => RawValue::Bool(false),
        _ => RawValue::Nested(Cow::Borrowed("")),
    }
}

impl Values {
    fn new(array: &ArrayRef) -> Result<Self, ArrowError> {
        Ok(match array.data_type() {
            DataType::Utf8 => Self::Text(array.as_string::<i32>().clone()),
            DataType::LargeUtf8 => Self::LargeText(array.as_string::<i64>().clone()),
            DataType::Utf8View => Self::TextView(array.as_string_view().clone()),
            DataType::Binary => Self::Bytes(array.as_binary::<i32>().clone()),
            DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Bytes(cast(array, &DataType::Binary)?.as_binary::<i32>().clone())
            }
            DataType::Dictionary(..) => {
                let dictionary = array.as_any_dictionary();
                let keys = integers(&cast(dictionary.keys(), &DataType::Int64)?);
                Self::Dictionary(keys, Box::new(Cells::new(dictionary.values())?))
            }
            DataType::UInt64 => Self::Unsigned(array.as_primitive::<UInt64Type>().clone()),
            data_type if data_type.is_integer() => Self::Int(integers(&cast(array, &DataType::Int64)?)),
            data_type if data_type.is_floating() || is_decimal(data_type) => {
                let numbers = cast(array, &DataType::Float64)?;
                Self::Float(numbers.as_primitive::<Float64Type>().clone())
            }
            DataType::Boolean => Self::Bool(array.as_boolean().clone()),
            DataType::Timestamp(unit, _) => {
                // The zone is only for display: what is stored is UTC, or taken as UTC where no zone is given.
                Self::Time(integers(&cast(array, &DataType::Int64)?), Scale::of(*unit))
            }
            DataType::Date32 => {
                let days = cast(&cast(array, &DataType::Int32)?, &DataType::Int64)?;
                Self::Time(integers(&days), Scale::Times(DAY_MS))
            }
            DataType::Date64 => Self::Time(integers(&cast(array, &DataType::Int64)?), Scale::Times(1)),
            _ => Self::nested(array)?,
        })
    }

    fn nested(array: &ArrayRef) -> Result<Self, ArrowError> {
        Ok(match array.data_type() {
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Self::List(spans(list.value_offsets()), Box::new(Cells::new(list.values())?))
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                Self::List(spans(list.value_offsets()), Box::new(Cells::new(list.values())?))
            }
            DataType::FixedSizeList(_, length) => {
                let length = usize::try_from(*length).unwrap_or(0);
                let starts = (0..=array.len()).map(|row| row * length).collect();
                let items = array.as_fixed_size_list().values();
                Self::List(Spans(starts), Box::new(Cells::new(items)?))
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let keys = Box::new(Cells::new(map.keys())?);
                Self::Map(spans(map.value_offsets()), keys, Box::new(Cells::new(map.values())?))
            }
            DataType::Struct(_) => {
                let fields = array.as_struct();
                let names = fields.column_names().into_iter().map(str::to_owned);
                let cells = fields.columns().iter().map(Cells::new);
                let fields = names.zip(cells).map(|(name, cells)| Ok((name, cells?)));
                Self::Struct(fields.collect::<Result<_, ArrowError>>()?)
            }
            _ => Self::Foreign,
        })
    }
}

fn is_decimal(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..)
    )
}

fn integers(array: &ArrayRef) -> Int64Array {
    array.as_primitive::<Int64Type>().clone()
}

/// Arrow's offsets are never negative.
fn spans<O: TryInto<usize> + Copy>(offsets: &[O]) -> Spans {
    Spans(offsets.iter().map(|offset| (*offset).try_into().unwrap_or(0)).collect())
}
