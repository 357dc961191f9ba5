//! The schema of a table in the words of Delta Lake.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, Fields};
use contactflow_schemas::tables::Table;
use serde_json::{Value, json};

use crate::sink::encode::EncodeError;

/// The partition column of dated tables.
pub(super) const DATE: &str = "date";

/// Partition columns of a table.
pub(super) fn partition_columns(table: Table) -> Vec<String> {
    if table.is_dated() { vec![DATE.to_owned()] } else { Vec::new() }
}

/// The schema of a table as JSON, the partition column last.
///
/// Every column is nullable here, whatever it is in the files: a column that is added later is missing in files from
/// before, where readers put null.
///
/// # Errors
/// [`EncodeError::Schema`] for a column of a type that has no name in Delta Lake.
pub(super) fn schema_string(table: Table) -> Result<String, EncodeError> {
    let schema = table.schema();
    let mut fields = struct_fields(schema.fields()).map_err(|column| EncodeError::Schema { table, column })?;
    if table.is_dated() {
        let comment = "Day of the row; the folder of its file";
        fields.push(json!({ "name": DATE, "type": "date", "nullable": true, "metadata": { "comment": comment } }));
    }
    Ok(json!({ "type": "struct", "fields": fields }).to_string())
}

/// The fields; the name of one that has no type in Delta Lake.
fn struct_fields(fields: &Fields) -> Result<Vec<Value>, String> {
    fields.iter().map(|field| struct_field(field)).collect()
}

fn struct_field(field: &Field) -> Result<Value, String> {
    // `comment` is what readers of Delta Lake show. In order, since schemas are compared as text.
    let named = field.metadata().iter().map(|(key, value)| (if key == "description" { "comment" } else { key }, value));
    let metadata: BTreeMap<&str, &String> = named.collect();
    let data_type = data_type(field.data_type()).map_err(|()| field.name().clone())?;
    Ok(json!({ "name": field.name(), "type": data_type, "nullable": true, "metadata": metadata }))
}

fn data_type(data_type: &DataType) -> Result<Value, ()> {
    Ok(match data_type {
        DataType::Utf8 => json!("string"),
        DataType::Int64 => json!("long"),
        DataType::Int32 => json!("integer"),
        DataType::Float64 => json!("double"),
        DataType::Boolean => json!("boolean"),
        DataType::Timestamp(_, Some(zone)) if &**zone == "UTC" => json!("timestamp"),
        DataType::List(element) => json!({
            "type": "array",
            "elementType": self::data_type(element.data_type())?,
            "containsNull": true,
        }),
        DataType::Struct(fields) => json!({ "type": "struct", "fields": struct_fields(fields).map_err(drop)? }),
        _ => return Err(()),
    })
}
