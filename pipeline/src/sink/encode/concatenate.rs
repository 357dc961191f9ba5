//! Files of one table made into one.

use bytes::Bytes;
use contactflow_schemas::tables::Table;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::EncodeError;
use super::footer::declare_type_defined_orders;
use super::writer::properties;

/// The rows of Parquet files of this program in one file, in the order of the files, and how many they are. None where a
/// file has another schema than the table has today, or there are no rows.
///
/// # Errors
/// Only those of the Parquet library.
pub(in crate::sink) fn concatenate(table: Table, bodies: Vec<Bytes>) -> Result<Option<(u64, Bytes)>, EncodeError> {
    let schema = table.schema();
    let (mut writer, mut rows) = (None::<ArrowWriter<Vec<u8>>>, 0);
    for body in bodies {
        let reader = ParquetRecordBatchReaderBuilder::try_new(body)?;
        if reader.schema().fields() != schema.fields() {
            return Ok(None);
        }
        for batch in reader.build()? {
            let batch = batch?.with_schema(schema.clone())?;
            rows += batch.num_rows() as u64;
            let writer = match &mut writer {
                Some(writer) => writer,
                None => {
                    let properties = properties(&batch)?;
                    writer.insert(ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))?)
                }
            };
            writer.write(&batch)?;
        }
    }
    let Some(writer) = writer else { return Ok(None) };
    let mut file = writer.into_inner()?;
    declare_type_defined_orders(&mut file, schema.fields().len())?;
    Ok(Some((rows, file.into())))
}
