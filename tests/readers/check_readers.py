"""Opens every table below a folder with DuckDB, Polars and pandas, as anybody would who has only the files.

They must agree on the rows of each table and on the sum and the number of values of each numeric column, and the
files must say what their columns mean. Prints one JSON object: table -> rows. Usage: check_readers.py FOLDER
"""

import json
import math
import sys
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow.parquet
import pyarrow.types


def numeric_columns(schema):
    numeric = (pyarrow.types.is_integer, pyarrow.types.is_floating)
    return [field.name for field in schema if any(is_kind(field.type) for is_kind in numeric)]


def by_duckdb(glob, columns):
    parts = ["count(*)"] + [f'coalesce(sum("{name}"), 0), count("{name}")' for name in columns]
    row = duckdb.sql(f"SELECT {', '.join(parts)} FROM read_parquet('{glob}', hive_partitioning = true)").fetchone()
    return row[0], {name: (row[1 + 2 * i], row[2 + 2 * i]) for i, name in enumerate(columns)}


def by_polars(glob, columns):
    frame = polars.scan_parquet(glob, hive_partitioning=True).collect()
    return frame.height, {name: (frame[name].sum(), frame[name].count()) for name in columns}


def by_pandas(folder, columns):
    frame = pandas.read_parquet(folder, partitioning="hive", dtype_backend="pyarrow")
    return len(frame), {name: (frame[name].sum(), frame[name].count()) for name in columns}


def same(one, other):
    (rows, columns), (other_rows, other_columns) = one, other
    return rows == other_rows and all(
        count == other_columns[name][1] and math.isclose(total, other_columns[name][0], rel_tol=1e-9, abs_tol=1e-9)
        for name, (total, count) in columns.items()
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


def main(root):
    found, wrong = {}, []
    tables = sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith(("_", ".")))
    for folder in tables:
        files = sorted(folder.rglob("*.parquet"))
        if not files:
            continue
        schema = pyarrow.parquet.read_schema(files[0])
        wrong += [f"{folder.name}: {problem}" for problem in undescribed(schema)]
        wrong += [f"{file} has another schema" for file in files if pyarrow.parquet.read_schema(file) != schema]
        columns, glob = numeric_columns(schema), f"{folder}/**/*.parquet"
        duck, pola, panda = by_duckdb(glob, columns), by_polars(glob, columns), by_pandas(folder, columns)
        for name, reading in (("Polars", pola), ("pandas", panda)):
            if not same(duck, reading):
                wrong.append(f"{folder.name}: DuckDB reads {duck}, {name} {reading}")
        found[folder.name] = duck[0]
    if wrong:
        sys.exit("\n".join(wrong))
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
