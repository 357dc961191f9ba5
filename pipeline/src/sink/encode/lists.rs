//! Columns of lists of structs.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;
use contactflow_schemas::clock::TimeMs;

use super::writer::Column;

/// A value of a field of an element.
pub(super) enum Value<'a> {
    Text(&'a str),
    Int(i64),
    Float(f64),
    Time(TimeMs),
}

/// A column under construction whose values are lists of structs.
pub(super) struct ListColumn {
    element: FieldRef,
    fields: Vec<Column>,
    /// Elements of each row.
    lengths: Vec<usize>,
    /// Elements of the current row.
    length: usize,
}

impl ListColumn {
    /// For so many rows of elements of this type; none if they are no structs.
    pub(super) fn new(element: &FieldRef, rows: usize) -> Option<Self> {
        let DataType::Struct(fields) = element.data_type() else { return None };
        let fields = fields.iter().map(|field| Column::new(field, rows)).collect::<Option<_>>()?;
        Some(Self { element: Arc::clone(element), fields, lengths: Vec::with_capacity(rows), length: 0 })
    }

    /// Adds an element to the current row; false if its values do not fit its fields.
    pub(super) fn push(&mut self, element: &[Value]) -> bool {
        self.length += 1;
        let fits = |(field, value): (&mut Column, &Value)| match (field, value) {
            (Column::Text(builder), Value::Text(text)) => {
                builder.append_value(text);
                true
            }
            (Column::Int(builder, _), Value::Int(number)) => {
                builder.append_value(*number);
                true
            }
            (Column::Float(builder), Value::Float(number)) => {
                builder.append_value(*number);
                true
            }
            (Column::Time(builder), Value::Time(time_ms)) => {
                builder.append_value(*time_ms);
                true
            }
            _ => false,
        };
        self.fields.len() == element.len()
            && self.fields.iter_mut().zip(element).map(fits).filter(|fits| !fits).count() == 0
    }

    /// Ends the current row.
    pub(super) fn end(&mut self) {
        self.lengths.push(std::mem::take(&mut self.length));
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let DataType::Struct(fields) = self.element.data_type() else {
            return Err(ArrowError::SchemaError("the elements of a list are structs".to_owned()));
        };
        let columns = self.fields.iter_mut().map(|field| field.finish(0)).collect::<Result<Vec<_>, _>>()?;
        let elements = StructArray::try_new(fields.clone(), columns, None)?;
        let offsets = OffsetBuffer::from_lengths(self.lengths.drain(..));
        Ok(Arc::new(ListArray::try_new(Arc::clone(&self.element), offsets, Arc::new(elements), None)?))
    }
}
