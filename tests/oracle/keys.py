"""Counts with DuckDB what keys would do that `tradefold analyze --suggest-key` tells, and rows by the values of a column.

keys:   keys.py FILE... --keys '[["a", "COALESCE(b, '''')"]]' --without seen,row_no
runs:   keys.py FILE... --run batch --key id --order 'number DESC' --without seen [--by-day]
"""

import argparse
import json

import duckdb

PARTS = argparse.ArgumentParser()
PARTS.add_argument("files", nargs="+")
PARTS.add_argument("--keys")
PARTS.add_argument("--without", default="")
PARTS.add_argument("--run")
PARTS.add_argument("--key")
PARTS.add_argument("--order")
PARTS.add_argument("--by-day", action="store_true")


def table(files):
    db = duckdb.connect()
    listed = ", ".join(f"'{name}'" for name in files)
    db.execute(
        f"CREATE TABLE input AS SELECT * EXCLUDE (filename, file_row_number), filename AS _file,"
        f" file_row_number AS _row FROM read_parquet([{listed}], filename = true, file_row_number = true)"
    )
    return db


def content(db, without):
    names = [name for name, *_ in db.execute("DESCRIBE input").fetchall()]
    return [f'"{name}"' for name in names if name not in ("_file", "_row", *without)]


def keys(db, columns, tried):
    """Of each key how many there are, and of how many the rows differ."""

    def one(key):
        groups = f"SELECT COUNT(*) AS n FROM (SELECT DISTINCT {', '.join([*columns, *key])} FROM input)"
        groups += f" GROUP BY {', '.join(key)}"
        return list(db.execute(f"SELECT COUNT(*), COUNT(*) FILTER (WHERE n > 1) FROM ({groups})").fetchone())

    different = db.execute(f"SELECT COUNT(*) FROM (SELECT DISTINCT {', '.join(columns)} FROM input)").fetchone()[0]
    return {"different_rows": different, "keys": [one(key) for key in tried]}


def runs(db, columns, run, key, order, by_day):
    """Rows, and losers by class, of each value of a column. Of equal rows the first in the input wins."""
    value = f'CAST("{run}" AS DATE)' if by_day else f'"{run}"'
    rest = ", ".join(f"{column} DESC NULLS LAST" for column in columns)
    declared = [item.split()[0] for item in order.split(",")] if order else []
    first = f"(PARTITION BY {key} ORDER BY {order + ', ' if order else ''}{rest}, _file, _row)"
    firsts = ", ".join(f"FIRST_VALUE({column}) OVER w AS first_{at}" for at, column in enumerate(columns))
    equal = " AND ".join(f"{column} IS NOT DISTINCT FROM first_{at}" for at, column in enumerate(columns))
    names = {column.strip('"'): at for at, column in enumerate(columns)}
    ties = " AND ".join(f'"{name}" IS NOT DISTINCT FROM first_{names[name]}' for name in declared) or "TRUE"
    sql = f"""
        WITH ranked AS (SELECT *, {value} AS _value, ROW_NUMBER() OVER w AS n, {firsts} FROM input WINDOW w AS {first})
        SELECT CAST(_value AS VARCHAR), COUNT(*), COUNT(*) FILTER (WHERE n > 1 AND {equal}),
            COUNT(*) FILTER (WHERE n > 1 AND NOT ({equal}) AND NOT ({ties})),
            COUNT(*) FILTER (WHERE n > 1 AND NOT ({equal}) AND {ties})
        FROM ranked GROUP BY _value
    """
    return [list(row) for row in db.execute(sql).fetchall()]


def main():
    args = PARTS.parse_args()
    db = table(args.files)
    columns = content(db, args.without.split(","))
    if args.run:
        print(json.dumps(runs(db, columns, args.run, args.key, args.order, args.by_day)))
    else:
        print(json.dumps(keys(db, columns, json.loads(args.keys))))


if __name__ == "__main__":
    main()
