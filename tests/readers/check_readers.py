"""Opens every table below a folder with DuckDB, Polars, pandas and, where there are Delta logs, deltalake, as anybody would
who has only the files.

They must agree on the rows of each table, on the sum and the number of values of each numeric column and on the first
and last value of each time, and the files must say what their columns mean. Tables with a Delta log are read by it, and
must be what a plain listing gives (so retention has to be 0). Prints one JSON object: table -> rows.
Usage: check_readers.py FOLDER
"""

import json
import math
import sys
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow.compute
import pyarrow.parquet
import pyarrow.types


def columns_of(schema):
    numeric = (pyarrow.types.is_integer, pyarrow.types.is_floating)
    numbers = [field.name for field in schema if any(is_kind(field.type) for is_kind in numeric)]
    return numbers, [field.name for field in schema if pyarrow.types.is_timestamp(field.type)]


def milliseconds(time):
    if time is None or time is pandas.NaT or isinstance(time, int):
        return time if isinstance(time, int) else None
    return round(time.timestamp() * 1000)


def reading(rows, numbers, times):
    """What a reader found: rows, (sum, values) by numeric column, (first, last) in milliseconds by time column."""
    return rows, numbers, {name: tuple(map(milliseconds, ends)) for name, ends in times.items()}


def by_duckdb(scan, numbers, times):
    parts = ["count(*)"] + [f'coalesce(sum("{name}"), 0), count("{name}")' for name in numbers]
    parts += [f'epoch_ms(min("{name}")), epoch_ms(max("{name}"))' for name in times]
    row = list(CONNECTION.sql(f"SELECT {', '.join(parts)} FROM {scan}").fetchone())
    count, pairs = row[0], list(zip(row[1::2], row[2::2]))
    return reading(count, dict(zip(numbers, pairs)), dict(zip(times, pairs[len(numbers) :])))


def by_polars(frame, numbers, times):
    frame = frame.collect()
    return reading(
        frame.height,
        {name: (frame[name].sum(), frame[name].count()) for name in numbers},
        {name: (frame[name].min(), frame[name].max()) for name in times},
    )


def by_pandas(folder, numbers, times):
    frame = pandas.read_parquet(folder, partitioning="hive", dtype_backend="pyarrow")
    return reading(
        len(frame),
        {name: (frame[name].sum(), frame[name].count()) for name in numbers},
        {name: (frame[name].min(), frame[name].max()) if frame[name].count() else (None, None) for name in times},
    )


def by_pyarrow(table, numbers, times):
    def number(column):
        return pyarrow.compute.sum(column).as_py() or 0, len(column) - column.null_count

    def ends(column):
        found = pyarrow.compute.min_max(column).as_py()
        return found["min"], found["max"]

    return reading(
        table.num_rows,
        {name: number(table[name]) for name in numbers},
        {name: ends(table[name]) for name in times},
    )


def same(one, other):
    (rows, columns, times), (other_rows, other_columns, other_times) = one, other
    return (
        rows == other_rows
        and times == other_times
        and all(
            count == other_columns[name][1] and math.isclose(total, other_columns[name][0], rel_tol=1e-9, abs_tol=1e-9)
            for name, (total, count) in columns.items()
        )
    )


def undescribed(schema):
    for field in schema:
        metadata = field.metadata or {}
        if not metadata.get(b"description"):
            yield f"{field.name} has no description"
        unit = metadata.get(b"unit", b"").decode()
        wanted = "ms" if field.name.endswith("_ms") else "1" if field.name.endswith("_count") else None
        if wanted is not None and unit != wanted:
            yield f"{field.name} has the unit {unit!r}, not {wanted!r}"


def read_by_log(folder):
    """Readings of a table with a Delta log, by reader; the schema is that of the log."""
    import deltalake

    table = deltalake.DeltaTable(str(folder))
    arrow = table.to_pyarrow_table()
    columns = columns_of(arrow.schema)
    undescribed_fields = [
        field.name for field in table.schema().fields if not field.metadata.get("comment")
    ]
    yield "descriptions", undescribed_fields
    yield "deltalake", by_pyarrow(arrow, *columns)
    yield "DuckDB delta_scan", by_duckdb(f"delta_scan('{folder}')", *columns)
    yield "Polars scan_delta", by_polars(polars.scan_delta(str(folder)), *columns)
    dataset = table.to_pyarrow_dataset()
    yield "pyarrow dataset", by_pyarrow(dataset.to_table(), *columns)


def connect(with_delta):
    connection = duckdb.connect()
    connection.sql("SET TimeZone = 'UTC'")
    if with_delta:
        from duckdb_extensions import import_extension

        import_extension("delta")
        connection.load_extension("delta")
    return connection


def check(folder, wrong):
    """Rows of the table, or None where there is none."""
    files = [file for file in sorted(folder.rglob("*.parquet")) if "_delta_log" not in file.parts]
    readings = dict(read_by_log(folder)) if (folder / "_delta_log").is_dir() else {}
    wrong += [f"{folder.name}: {field} has no comment in the log" for field in readings.pop("descriptions", [])]
    if files:
        schema = pyarrow.parquet.read_schema(files[0])
        wrong += [f"{folder.name}: {problem}" for problem in undescribed(schema)]
        wrong += [f"{file} has another schema" for file in files if pyarrow.parquet.read_schema(file) != schema]
        columns, names = columns_of(schema), [str(file) for file in files]
        readings["DuckDB"] = by_duckdb(f"read_parquet({names}, hive_partitioning = true)", *columns)
        readings["Polars"] = by_polars(polars.scan_parquet(names, hive_partitioning=True), *columns)
        readings["pandas"] = by_pandas(folder, *columns)
    if not readings:
        return None
    (first, expected), *others = readings.items()
    for name, found in others:
        if not same(expected, found):
            wrong.append(f"{folder.name}: {first} reads {expected}, {name} {found}")
    return expected[0]


def main(root):
    global CONNECTION
    found, wrong = {}, []
    tables = sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith(("_", ".")))
    CONNECTION = connect(any((folder / "_delta_log").is_dir() for folder in tables))
    for folder in tables:
        rows = check(folder, wrong)
        if rows is not None:
            found[folder.name] = rows
    if wrong:
        sys.exit("\n".join(wrong))
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
