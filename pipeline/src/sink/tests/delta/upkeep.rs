//! Checkpoints, clean-up, compaction, evolution of schemas.

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::*;

/// So many commits, each of which replaces a file; they are a minute apart.
fn commits(committer: &mut Committer, numbers: std::ops::Range<i64>) {
    for number in numbers {
        let text = format!("text {number}");
        write(committer, DAYS, &[(0, &text), (1, "constant")]);
        commit_at(committer, number * 60_000).unwrap();
    }
}

fn log_objects(memory: &Memory, table: Table, ending: &str) -> Vec<String> {
    let listed = memory.list(&format!("{}/_delta_log", table.name())).unwrap();
    listed.into_iter().map(|object| object.name).filter(|name| name.ends_with(ending)).collect()
}

#[test]
fn a_log_can_be_read_from_its_checkpoint_alone() {
    let memory = Arc::new(Memory::default());
    let mut committer = open(&memory, "a");
    commits(&mut committer, 0..25);
    let checkpoints = log_objects(&memory, DAYS, ".checkpoint.parquet");
    assert_eq!(checkpoints.len(), 2, "{checkpoints:?}");
    let last: Value = {
        let name = format!("{}/_delta_log/_last_checkpoint", DAYS.name());
        serde_json::from_slice(&memory.get(&name).unwrap().unwrap().body).unwrap()
    };
    assert!(checkpoints[1].contains(&format!("{:020}", last["version"].as_u64().unwrap())));
    assert_eq!(last["size"], 2 + 1 + 2, "protocol, metaData, transaction, two files");
    let schema = versions(&memory, DAYS)[&0][3]["metaData"]["schemaString"].clone();

    // Without what the checkpoint covers the next run still knows the table: nothing is written anew.
    for table in Table::all() {
        let covered = log_objects(&memory, table, ".checkpoint.parquet").pop();
        for name in log_objects(&memory, table, ".json") {
            if covered.as_ref().is_some_and(|covered| name < *covered) {
                memory.delete(&name).unwrap();
            }
        }
    }
    let mut next = open(&memory, "b");
    memory.take_changes();
    write(&next, DAYS, &[(0, "text 24"), (1, "constant")]);
    let summary = commit_at(&mut next, 26 * 60_000).unwrap();
    assert_eq!((summary.files_written, summary.files_removed), (0, 0));
    let newest = versions(&memory, DAYS).into_iter().next_back().unwrap();
    assert_eq!(newest.0, 25);
    let kinds: Vec<&String> = newest.1.iter().flat_map(|line| line.as_object().unwrap().keys()).collect();
    assert_eq!(kinds, ["commitInfo", "txn"], "it says only who writes now");
    assert!(schema.as_str().unwrap().contains("window_start"));
}

#[test]
fn a_listing_that_is_out_of_date_hides_no_version() {
    let memory = Arc::new(Memory::default());
    let mut committer = open(&memory, "a");
    commits(&mut committer, 0..15);
    // As if nothing of the log was listed: it is found by its names.
    let hidden = memory.names().into_iter().filter(|name| name.contains("kpi_channel_day/_delta_log")).count();
    assert!(hidden > 15);
    let log = crate::sink::layout::read_log(&*memory, DAYS).unwrap();
    assert_eq!(log.next_version(), 15);
    assert_eq!(log.files.len(), 2);
}

#[test]
fn replaced_files_stay_for_the_retention_and_logs_for_an_hour() {
    let memory = Arc::new(Memory::default());
    let mut committer = open_with(&memory, "a", 10 * 60_000).unwrap();
    commits(&mut committer, 0..30);
    let of_day = || memory.data().into_keys().filter(|name| name.contains("kpi_channel_day/date=1970-01-01")).count();
    // Replaced at minutes 20 to 29, and the one of now.
    assert_eq!(of_day(), 11, "those replaced in the last ten minutes and the live one");
    assert_eq!(versions(&memory, DAYS).len(), 30, "an hour of versions is kept");
    commits(&mut committer, 30..100);
    assert_eq!(of_day(), 11);
    let kept = versions(&memory, DAYS);
    let first = *kept.keys().next().unwrap();
    assert!((20..=40).contains(&first), "{first}");
    let checkpoint = format!("kpi_channel_day/_delta_log/{first:020}.checkpoint.parquet");
    assert!(memory.get(&checkpoint).unwrap().is_some(), "the first version that is left has a checkpoint");
    let since_ms = 99 * 60_000 - HOUR_MS;
    assert!(kept[&first][0]["commitInfo"]["timestamp"].as_i64().unwrap() <= since_ms, "an hour can be read back");
    // Restarting forgets nothing of what is to be deleted.
    let mut next = open_with(&memory, "b", 10 * 60_000).unwrap();
    write(&next, DAYS, &[(0, "text 99"), (1, "constant")]);
    commit_at(&mut next, 200 * 60_000).unwrap();
    assert_eq!(of_day(), 1);
}

#[test]
fn the_rows_of_many_commits_end_up_in_few_files() {
    let memory = Arc::new(Memory::default());
    let mut committer = open(&memory, "a");
    commits(&mut committer, 0..150);
    let folder = memory.list("commits").unwrap();
    let stored: Vec<_> = folder.iter().filter(|object| !object.name.contains("_delta_log")).collect();
    assert!(stored.len() <= 64, "{} files", stored.len());
    let log = crate::sink::layout::read_log(&*memory, Table::Commits).unwrap();
    assert_eq!(log.files.len(), stored.len());
    let rows = |object: &crate::sink::Listed| {
        let reader = SerializedFileReader::new(memory.get(&object.name).unwrap().unwrap().body).unwrap();
        reader.metadata().file_metadata().num_rows()
    };
    assert_eq!(stored.into_iter().map(rows).sum::<i64>(), 150);
    // The next run sees that the last row is there.
    let mut next = open(&memory, "b");
    commits(&mut next, 150..151);
    let log = crate::sink::layout::read_log(&*memory, Table::Commits).unwrap();
    let rows: i64 = log
        .files
        .values()
        .map(|add| {
            let stats: Value = serde_json::from_str(add.stats.as_ref().unwrap()).unwrap();
            stats["numRecords"].as_i64().unwrap()
        })
        .sum();
    assert_eq!(rows, 151);
}

#[test]
fn a_column_that_is_added_is_a_change_of_the_schema() {
    let memory = Arc::new(Memory::default());
    let mut committer = open(&memory, "a");
    write(&committer, DAYS, &[(0, "one")]);
    commit(&mut committer).unwrap();
    // As an older program would have written it: without the last KPI.
    let name = format!("{}/_delta_log/00000000000000000000.json", DAYS.name());
    let mut lines = versions(&memory, DAYS)[&0].clone();
    let metadata = lines.iter_mut().find(|line| line.get("metaData").is_some()).unwrap();
    let mut schema: Value = serde_json::from_str(metadata["metaData"]["schemaString"].as_str().unwrap()).unwrap();
    let columns = schema["fields"].as_array().unwrap().len();
    let removed = schema["fields"].as_array_mut().unwrap().remove(columns - 2);
    metadata["metaData"]["schemaString"] = schema.to_string().into();
    let id = metadata["metaData"]["id"].clone();
    memory.put(&name, lines.iter().map(|line| format!("{line}\n")).collect::<String>().into()).unwrap();

    let mut next = open(&memory, "b");
    write(&next, DAYS, &[(0, "one, with another column")]);
    commit(&mut next).unwrap();
    let lines = &versions(&memory, DAYS)[&1];
    let metadata = lines.iter().find_map(|line| line.get("metaData")).unwrap();
    assert!(metadata["schemaString"].as_str().unwrap().contains(&removed["name"].to_string()));
    assert_eq!((&metadata["id"], &metadata["createdTime"]), (&id, &Value::from(1_000)));
    // Only where it changed.
    assert!(versions(&memory, HOURS)[&1].iter().all(|line| line.get("metaData").is_none()));
    commit(&mut next).unwrap();
    assert_eq!(versions(&memory, DAYS).len(), 2);
}
