//! A root as an older program leaves it, whose catalogue lacked a KPI.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::delta_log::DeltaLog;

/// Takes a column out of a table of layout `delta`: out of its files, the schema in its log, and the newest manifest. The
/// files before stay for readers of earlier versions.
///
/// # Errors
/// A root that is not what it should be.
pub fn without_column(root: &Path, table: &str, column: &str) -> Result<()> {
    let folder = root.join(table);
    let log = DeltaLog::read(&folder)?.context("the table has a log")?;
    let manifests = root.join("_contactflow/manifests");
    let newest = fs::read_dir(&manifests)?.filter_map(|entry| Some(entry.ok()?.path())).max().context("a manifest")?;
    let mut manifest: Value = serde_json::from_slice(&fs::read(&newest)?)?;
    let mut actions = Vec::new();
    actions.push(json!({ "metaData": metadata_without(&folder, column)? }));
    for path in log.live_files()? {
        let body = file_without(&path, column)?;
        let sha256: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
        let name = path.strip_prefix(&folder)?.display().to_string();
        let (date, _) = name.split_once('/').context("the table has days")?;
        let renamed = format!("{date}/part-0-{}.parquet", &sha256[..16]);
        fs::write(folder.join(&renamed), &body)?;
        let values = json!({ "date": date.trim_start_matches("date=") });
        actions.push(json!({ "remove": { "path": name, "deletionTimestamp": now_ms(), "dataChange": true,
            "extendedFileMetadata": true, "partitionValues": values, "size": fs::metadata(&path)?.len() } }));
        actions.push(json!({ "add": { "path": renamed, "partitionValues": values, "size": body.len(),
            "modificationTime": now_ms(), "dataChange": true } }));
        let entries = manifest["files"].as_array_mut().context("a manifest lists its files")?;
        let entry = entries.iter_mut().find(|file| file["path"] == format!("{table}/{name}")).context("the file")?;
        entry["path"] = format!("{table}/{renamed}").into();
        entry["sha256"] = sha256.into();
        entry["bytes"] = body.len().into();
        entry["tag"] = Value::Null;
    }
    let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
    fs::write(folder.join(format!("_delta_log/{:020}.json", log.next_version())), lines.join("\n"))?;
    Ok(fs::write(newest, manifest.to_string())?)
}

fn now_ms() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64)
}

/// The schema of a log's first version without a column.
fn metadata_without(folder: &Path, column: &str) -> Result<Value> {
    let first = fs::read_to_string(folder.join("_delta_log/00000000000000000000.json"))?;
    let actions = first.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let mut metadata = actions.into_iter().find_map(|action| action.get("metaData").cloned()).context("metaData")?;
    let mut schema: Value = serde_json::from_str(metadata["schemaString"].as_str().context("a schema")?)?;
    schema["fields"].as_array_mut().context("fields")?.retain(|field| field["name"] != column);
    metadata["schemaString"] = schema.to_string().into();
    Ok(metadata)
}

fn file_without(path: &Path, column: &str) -> Result<Vec<u8>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()?;
    let batches = reader.collect::<Result<Vec<RecordBatch>, _>>()?;
    let schema = batches.first().context("a file has rows")?.schema();
    let kept: Vec<usize> =
        (0..schema.fields().len()).filter(|&position| schema.field(position).name() != column).collect();
    let mut body = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut body, schema.project(&kept)?.into(), None)?;
    for batch in batches {
        writer.write(&batch.project(&kept)?)?;
    }
    writer.close()?;
    Ok(body)
}
