"""Counts with DuckDB what `tradefold analyze` counts: the same figures by another engine, each by a query of its own.

make:   analysis.py --make FOLDER --seed N     writes odd tables: NULLs, empty texts, two cases, times hours apart
count:  analysis.py FILE... --key 'a, ts, COALESCE(b, "")' --columns a,ts,b --volatile seen
"""

import argparse
import json

import duckdb

PARTS = argparse.ArgumentParser()
PARTS.add_argument("files", nargs="*")
PARTS.add_argument("--make")
PARTS.add_argument("--seed", type=int, default=1)
PARTS.add_argument("--rows", type=int, default=3000)
# A part of the key: its column, and the text that stands in for its NULL, if any.
PARTS.add_argument("--part", action="append", default=[], nargs="+")
PARTS.add_argument("--volatile", default="")
PARTS.add_argument("--day")
PARTS.add_argument("--order", default="")


def make(folder, seed, rows):
    """Two files of one table; few values, so that keys and rows repeat."""
    db = duckdb.connect()

    def pick(salt, values):
        listed = ", ".join("NULL" if value is None else f"'{value}'" for value in values)
        return f"list_extract([{listed}], 1 + (hash(i, {seed}, {salt}) % {len(values)})::INT)"

    cell = {
        "a": pick(1, ["ab", "AB", "aB", "cd", "", None, "e f", "E F", "long " * 20]),
        "b": pick(2, ["x", "y", "", None, "z"]),
        "ts": f"TIMESTAMP '2025-10-01' + INTERVAL 1 HOUR * (hash(i, {seed}, 3) % 60)::INT"
        f" + INTERVAL 1 SECOND * (hash(i, {seed}, 4) % 3)::INT",
        "number": f"(hash(i, {seed}, 5) % 3)::BIGINT",
        "price": f"CASE WHEN hash(i, {seed}, 6) % 4 > 0 THEN 0.25 * (hash(i, {seed}, 7) % 3) END::DOUBLE",
        "nothing": "NULL::VARCHAR",
        "seen": f"(hash(i, {seed}, 8) % 1000)::BIGINT",
    }
    columns = ", ".join(f"{value} AS {name}" for name, value in cell.items())
    for number in (1, 2):
        # Every row twice in three, far apart and near.
        source = f"SELECT ((j * 7) % {max(rows // 3, 1)}) + {number - 1} * {rows // 9} AS i FROM range({rows}) t(j)"
        db.execute(
            f"COPY (SELECT {columns} FROM ({source})) TO '{folder}/part-{number}.parquet' (ROW_GROUP_SIZE 2048)"
        )


def count(files, parts, volatile, day, order):
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    listed = ", ".join(f"'{name}'" for name in files)
    db.execute(
        "CREATE TABLE input AS SELECT * EXCLUDE (filename, file_row_number), filename AS _file,"
        f" file_row_number AS _row FROM read_parquet([{listed}], filename = true, file_row_number = true)"
    )
    types = {name: kind for name, kind, *_ in db.execute("DESCRIBE input").fetchall()}
    columns = [name for name in types if name not in ("_file", "_row", *volatile)]
    quoted = [f'"{name}"' for name in columns]
    key = [f"COALESCE(\"{part[0]}\", '{part[1]}')" if len(part) > 1 else f'"{part[0]}"' for part in parts]

    def one(sql):
        return db.execute(sql).fetchone()

    def different(exprs):
        return one(f"SELECT COUNT(*) FROM (SELECT DISTINCT {', '.join(exprs)} FROM input)")[0]

    def merging(coarse):
        """Keys that are one by other expressions of the same parts."""
        named = ", ".join(f"{expr} AS k{at}" for at, expr in enumerate(key))
        groups, keys = one(
            f"SELECT COUNT(*), COALESCE(SUM(n), 0) FROM (SELECT COUNT(*) AS n FROM (SELECT DISTINCT {named} FROM input)"
            f" GROUP BY {', '.join(coarse)}) WHERE n > 1"
        )
        return {"groups": groups, "keys": int(keys)}

    def is_text(part):
        return types[part[0]] == "VARCHAR"

    def is_missing(part):
        empty = f" OR \"{part[0]}\" = ''" if is_text(part) else ""
        return f'(("{part[0]}" IS NULL{empty}) IS TRUE)'

    folded = [f"lower(k{at})" if is_text(part) else f"k{at}" for at, part in enumerate(parts)]

    def is_time(name):
        return types[name].startswith("TIMESTAMP")

    def by_hours():
        """Keys whose winners are the same in all columns, but for times that are whole hours apart."""
        cut = [f"epoch_us({quote}) % 3600000000" if is_time(name) else quote for name, quote in zip(columns, quoted)]
        first = ", ".join([*([order] if order else []), *(f"{quote} DESC NULLS LAST" for quote in quoted)])
        rows = f"ROW_NUMBER() OVER (PARTITION BY {', '.join(key)} ORDER BY {first}) AS _n"
        groups, keys = one(
            f"SELECT COUNT(*), COALESCE(SUM(n), 0) FROM (SELECT COUNT(*) AS n FROM (SELECT *, {rows} FROM input)"
            f" WHERE _n = 1 GROUP BY {', '.join(cut)}) WHERE n > 1"
        )
        return {"groups": groups, "keys": int(keys)}

    added = {column: different([*key, quote]) for column, quote in zip(columns, quoted)}
    dropped, missing = {}, {}
    for at, part in enumerate(parts):
        if len(parts) == 1:
            break
        rest = [expr for place, expr in enumerate(key) if place != at]
        kept = different(rest)
        without = [quote for column, quote in zip(columns, quoted) if column != part[0]]
        dropped[part[0]] = [kept, different([*rest, *without]) - kept]
        groups = one(
            f"SELECT COUNT(*) FROM (SELECT 1 FROM input GROUP BY {', '.join(rest)}"
            f" HAVING BOOL_OR({is_missing(part)}) AND BOOL_OR(NOT {is_missing(part)}))"
        )[0]
        if groups:
            missing[part[0]] = groups
    # Rows in the order of the input: files as they are given, then rows.
    places = " ".join(f"WHEN '{name}' THEN {place}" for place, name in enumerate(files))
    window = f"(PARTITION BY {', '.join(key)} ORDER BY CASE _file {places} END, _row)"
    moment = f'CAST("{day}" AS DATE)' if day else "NULL"
    distances = one(
        f"""
        WITH placed AS (
            SELECT _file, _row, {moment} AS _day, ROW_NUMBER() OVER {window} AS n,
                FIRST_VALUE(_file) OVER {window} AS first_file, FIRST_VALUE(_row) OVER {window} AS first_row,
                FIRST_VALUE({moment}) OVER {window} AS first_day
            FROM input
        )
        SELECT COUNT(*) FILTER (WHERE _file = first_file AND _row - first_row < 1000),
            COUNT(*) FILTER (WHERE _file = first_file AND _row - first_row >= 1000),
            COUNT(*) FILTER (WHERE _file <> first_file AND _day IS NOT DISTINCT FROM first_day),
            COUNT(*) FILTER (WHERE _file <> first_file AND _day IS DISTINCT FROM first_day)
        FROM placed WHERE n > 1
        """
    )
    sizes = db.execute(
        f"SELECT n, COUNT(*) FROM (SELECT COUNT(*) AS n FROM input GROUP BY {', '.join(key)}) GROUP BY n ORDER BY n"
    ).fetchall()
    nulls = [
        one(
            f'SELECT COUNT(*) FILTER (WHERE "{part[0]}" IS NULL),'
            + (f" COUNT(*) FILTER (WHERE \"{part[0]}\" = '')" if is_text(part) else " 0")
            + " FROM input"
        )
        for part in parts
    ]
    return {
        "rows": one("SELECT COUNT(*) FROM input")[0],
        "keys": different(key),
        "different_rows": different([*key, *quoted]),
        "sizes": {str(rows): keys for rows, keys in sizes},
        "distances": list(distances),
        "key_parts": [list(pair) for pair in nulls],
        "by_case": merging(folded),
        "by_hours": by_hours() if any(is_time(part[0]) for part in parts) else {"groups": 0, "keys": 0},
        "by_missing": missing,
        "added": added,
        "dropped": dropped,
    }


def main():
    args = PARTS.parse_args()
    if args.make:
        make(args.make, args.seed, args.rows)
    else:
        volatile = [name for name in args.volatile.split(",") if name]
        print(json.dumps(count(args.files, args.part, volatile, args.day, args.order)))


if __name__ == "__main__":
    main()
