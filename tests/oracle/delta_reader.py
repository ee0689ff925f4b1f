"""Reads a Delta table the way somebody else would, for tests only.

  delta_reader.py TABLE_DIR --key "wallet_address, tx_hash, COALESCE(order_hash, '')" --volatile fetched_at,source_file

prints {"rows":…,"keys":…,"days":{"2025-10-01":…},"version":…,"checksum":"…"}. DuckDB counts the files that the
`deltalake` package finds in the log, Polars opens the table by itself; where they differ both answers go to stderr
and the exit code is 1.

`keys` is null without --key. `days` counts by the --day column (default `_day`) and is empty where there is none.
`checksum` does not depend on the order of the rows, on the files or on the order of the columns; equal tables have
equal checksums over all columns but the --volatile ones.
"""

import argparse
import json
import sys

import duckdb
import polars
from deltalake import DeltaTable


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--key", default="", help="SQL expressions that name one row, separated by commas")
    parser.add_argument("--volatile", default="", help="columns that do not count as content, separated by commas")
    parser.add_argument("--day", default="_day", help="the partition column")
    args = parser.parse_args()
    key = [f"{expression} AS k{n}" for n, expression in enumerate(split(args.key))]

    table = DeltaTable(args.table)
    ours = in_duckdb(args.table, table, key, args.day)
    theirs = in_polars(args.table, key, args.day)
    if ours[0] != theirs:
        print(json.dumps({"duckdb": ours[0], "polars": theirs}, indent=1), file=sys.stderr)
        sys.exit(1)
    checksum = fingerprint(table, ours[1], set(split(args.volatile)))
    print(json.dumps(ours[0] | {"version": table.version(), "checksum": checksum}))


def split(expressions):
    """Cuts at the commas that stand outside of brackets."""
    parts, depth = [""], 0
    for character in expressions:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def columns(table):
    return [field.name for field in table.schema().fields]


def in_duckdb(root, table, key, day):
    if "deletionVectors" in (table.protocol().reader_features or []):
        sys.exit("the table has deletion vectors, which this reader does not apply")
    connection = duckdb.connect()
    # One row per file of the newest version; partition values live in the log, not in the Parquet files.
    connection.register("files", table.get_add_actions(flatten=True))
    paths = [f"{root}/{path}" for (path,) in connection.execute("SELECT path FROM files").fetchall()]
    if paths:
        read = f"read_parquet({paths!r}, filename = 'path_', union_by_name = true, hive_partitioning = false)"
        connection.execute(f"CREATE VIEW parquet AS SELECT * FROM {read}")
    else:
        connection.execute("CREATE VIEW parquet AS SELECT NULL::VARCHAR AS path_ LIMIT 0")
    present = {row[0] for row in connection.execute("DESCRIBE parquet").fetchall()}
    partitions = table.metadata().partition_columns

    def source(name):
        if name in partitions:
            return f'files."partition.{name}" AS "{name}"'
        return f'parquet."{name}"' if name in present else f'NULL AS "{name}"'

    selected = ", ".join(map(source, columns(table)))
    joined = f"parquet JOIN files ON parquet.path_ = '{root}/' || files.path"
    connection.execute(f"CREATE VIEW t AS SELECT {selected} FROM {joined}")

    def count(sql):
        return connection.execute(sql).fetchall()

    return counted(table, key, day, count), connection


def in_polars(path, key, day):
    context = polars.SQLContext(t=polars.scan_delta(path), eager=True)
    return counted(DeltaTable(path), key, day, lambda sql: context.execute(sql).rows())


def counted(table, key, day, count):
    days = count(f'SELECT "{day}", COUNT(*) AS n FROM t GROUP BY "{day}"') if day in columns(table) else []
    keys = f"SELECT COUNT(*) FROM (SELECT DISTINCT {', '.join(key)} FROM t) AS distinct_keys"
    return {
        "rows": count("SELECT COUNT(*) FROM t")[0][0],
        "keys": count(keys)[0][0] if key else None,
        "days": {str(name): n for name, n in sorted(days, key=lambda row: str(row[0]))},
    }


def fingerprint(table, connection, volatile):
    """The sum of the rows' MD5s, each over JSON, which tells NULL from '' and writes floats so that they read back."""
    types = {row[0]: row[1] for row in connection.execute("DESCRIBE t").fetchall()}

    def canonical(name):
        # Instants as microseconds: their text would depend on the session's time zone.
        return f'epoch_us("{name}")' if types[name].startswith("TIMESTAMP") else f'"{name}"'

    fields = ", ".join(f'"{name}" := {canonical(name)}' for name in sorted(columns(table)) if name not in volatile)
    (total,) = connection.execute(
        f"SELECT COALESCE(SUM(md5_number_lower(CAST(to_json(struct_pack({fields})) AS VARCHAR))), 0) FROM t"
    ).fetchone()
    return f"{int(total):x}"


if __name__ == "__main__":
    main()
