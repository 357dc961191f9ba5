"""Reads one table with a Delta log again and again with one of the outside readers, as a dashboard would, until standard
input is closed.

The first line it prints is `{"ready": true}`. Then there is one for each read: `{"version": …, "rows": …, "digest": …}`
(version: null where the reader does not tell), or `{"error": …}`. The digest is the SHA-256 of the sorted rows, each a JSON
list of the given columns, times in milliseconds.
Usage: watch_table.py FOLDER deltalake|duckdb|polars|pyarrow PAUSE_SECONDS COLUMNS_AS_JSON
"""

import hashlib
import json
import os
import sys
import threading
import time

os.environ["POLARS_MAX_THREADS"] = "1"

import deltalake
import pyarrow
import pyarrow.parquet
import pyarrow.types

FOLDER, READER, PAUSE_SECONDS, COLUMNS = sys.argv[1], sys.argv[2], float(sys.argv[3]), json.loads(sys.argv[4])


def by_deltalake():
    def read():
        table = deltalake.DeltaTable(FOLDER)
        return table.version(), table.to_pyarrow_table(columns=COLUMNS)

    return read


def by_duckdb():
    import duckdb
    from duckdb_extensions import import_extension

    import_extension("delta")
    connection = duckdb.connect(config={"threads": 1})
    connection.sql("SET TimeZone = 'UTC'")
    connection.load_extension("delta")
    columns = ", ".join(f'"{name}"' for name in COLUMNS)
    query = f"SELECT {columns} FROM delta_scan('{FOLDER}')"
    return lambda: (None, connection.sql(query).to_arrow_table())


def by_polars():
    import polars

    return lambda: (None, polars.scan_delta(FOLDER).select(COLUMNS).collect().to_arrow())


def by_pyarrow():
    def read():
        table = deltalake.DeltaTable(FOLDER)
        files = [pyarrow.parquet.read_table(name, columns=COLUMNS, partitioning=None) for name in table.file_uris()]
        empty = pyarrow.table({name: [] for name in COLUMNS})
        return table.version(), pyarrow.concat_tables(files) if files else empty

    return read


def values(column):
    if pyarrow.types.is_timestamp(column.type):
        column = column.cast(pyarrow.timestamp("ms", tz="UTC")).cast(pyarrow.int64())
    return column.to_pylist()


def digest(table):
    rows = zip(*(values(table[name]) for name in COLUMNS))
    lines = sorted(json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode() for row in rows)
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def tell(**line):
    print(json.dumps(line), flush=True)


def main():
    read = {"deltalake": by_deltalake, "duckdb": by_duckdb, "polars": by_polars, "pyarrow": by_pyarrow}[READER]()
    ends = threading.Event()

    def wait_for_the_end():
        sys.stdin.read()
        ends.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    tell(ready=True)
    while not ends.is_set():
        try:
            version, table = read()
            tell(version=version, rows=table.num_rows, digest=digest(table))
        except Exception as error:
            tell(error=f"{type(error).__name__}: {error}")
        time.sleep(PAUSE_SECONDS)


main()
