"""Reads versions of one table with a Delta log with deltalake, Polars and DuckDB, which must agree.

Prints a JSON list with one object a version: `{"version": …, "rows": …, "sum": …}`, where sum is that of a column, null where
the version has no such column.
Usage: check_versions.py FOLDER COLUMN [VERSION…]      (all versions without any)
"""

import json
import sys

import deltalake
import duckdb
import polars
import pyarrow.compute
from duckdb_extensions import import_extension

FOLDER, COLUMN = sys.argv[1:3]


def of_arrow(table):
    if COLUMN not in table.column_names:
        return table.num_rows, None
    return table.num_rows, pyarrow.compute.sum(table[COLUMN]).as_py() or 0


def by_duckdb(connection, version):
    scan = f"delta_scan('{FOLDER}', version = {version})"
    names = [row[0] for row in connection.sql(f"DESCRIBE SELECT * FROM {scan}").fetchall()]
    total = f'CAST(coalesce(sum("{COLUMN}"), 0) AS BIGINT)' if COLUMN in names else "NULL"
    return connection.sql(f"SELECT count(*), {total} FROM {scan}").fetchone()


def main():
    import_extension("delta")
    connection = duckdb.connect()
    connection.load_extension("delta")
    last = deltalake.DeltaTable(FOLDER).version()
    found = []
    for version in map(int, sys.argv[3:]) if sys.argv[3:] else range(last + 1):
        readings = {
            "deltalake": of_arrow(deltalake.DeltaTable(FOLDER, version=version).to_pyarrow_table()),
            "Polars": of_arrow(polars.scan_delta(FOLDER, version=version).collect().to_arrow()),
            "DuckDB": by_duckdb(connection, version),
        }
        rows, total = readings["deltalake"]
        if any(reading != (rows, total) for reading in readings.values()):
            sys.exit(f"version {version}: {readings}")
        found.append({"version": version, "rows": rows, "sum": total})
    print(json.dumps(found))


main()
