"""Compares two sets of Parquet files with DuckDB, independently of tradefold; for tests only.

  diff.py change A_GLOB OUT            writes the rows of A to OUT, some without, some changed, some with new keys
  diff.py count A_GLOB B_GLOB          prints {"only_a":…,"only_b":…,"same":…,"different":…,"columns":{…},"days":{…}}

Rows are trades: their key, order and volatile columns are written here once more. Of a key with several rows the first
in the declared order is compared, then in all other columns, the greatest first. Days are those of A's row, or of B's
where A has none.
"""

import json
import sys

import duckdb

KEY = ["wallet_address", "tx_hash", "COALESCE(order_hash, '')"]
ORDER = ["timestamp", "log_index", "id"]
VOLATILE = ["source_run", "fetched_at"]


def main():
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    if sys.argv[1] == "change":
        return change(connection, *sys.argv[2:])
    print(json.dumps(count(connection, *sys.argv[2:])))


def change(connection, rows, out):
    # By what names a trade, so that all rows of a key share its fate.
    connection.execute(f"CREATE TABLE t AS SELECT *, hash({', '.join(KEY)}) % 100 AS h FROM '{rows}'")
    kept = """SELECT * EXCLUDE (h) REPLACE (
        CASE WHEN h BETWEEN 10 AND 19 THEN price / 2 ELSE price END AS price,
        CASE WHEN h BETWEEN 15 AND 24 THEN NULL ELSE title END AS title,
        CASE WHEN h = 30 THEN timestamp + INTERVAL 1 DAY ELSE timestamp END AS timestamp,
        CASE WHEN h BETWEEN 40 AND 45 THEN tx_hash || 'ff' ELSE tx_hash END AS tx_hash,
        'another run' AS source_run
    ) FROM t WHERE h >= 5 ORDER BY hash(tx_hash, id)"""
    connection.execute(f"COPY ({kept}) TO '{out}' (FORMAT parquet, ROW_GROUP_SIZE 3000)")


def count(connection, a, b):
    names = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM '{a}'").fetchall()]
    compared = [name for name in names if name not in VOLATILE]
    order = ", ".join(f"{name} DESC NULLS LAST" for name in ORDER + [n for n in compared if n not in ORDER])
    for name, files in [("a", a), ("b", b)]:
        key = ", ".join(f"{part} AS k{n}" for n, part in enumerate(KEY))
        window = f"ROW_NUMBER() OVER (PARTITION BY {', '.join(KEY)} ORDER BY {order}) = 1"
        connection.execute(f"CREATE TABLE {name} AS SELECT *, {key} FROM '{files}' QUALIFY {window}")
    keys = " AND ".join(f"a.k{n} = b.k{n}" for n in range(len(KEY)))
    differs = {name: f"(a.{name} IS DISTINCT FROM b.{name})" for name in compared}
    counts = {
        "only_a": "b.k0 IS NULL",
        "only_b": "a.k0 IS NULL",
        "same": f"a.k0 IS NOT NULL AND b.k0 IS NOT NULL AND NOT ({' OR '.join(differs.values())})",
        "different": f"a.k0 IS NOT NULL AND b.k0 IS NOT NULL AND ({' OR '.join(differs.values())})",
    }
    both = {name: f"a.k0 IS NOT NULL AND b.k0 IS NOT NULL AND {case}" for name, case in differs.items()}
    sums = ", ".join(f"COUNT(*) FILTER ({case})" for case in [*counts.values(), *both.values()])
    join = f"FROM a FULL JOIN b ON {keys}"
    day = "CAST(CAST(COALESCE(a.timestamp, b.timestamp) AS DATE) AS VARCHAR)"

    def told(row):
        found = dict(zip(counts, row))
        columns = {name: keys for name, keys in zip(both, row[len(counts) :]) if keys}
        return found | {"columns": dict(sorted(columns.items()))}

    days = connection.execute(f"SELECT {day}, {sums} {join} GROUP BY 1 ORDER BY 1").fetchall()
    total = told(connection.execute(f"SELECT {sums} {join}").fetchone())
    return total | {"days": {row[0]: told(row[1:]) for row in days}}


if __name__ == "__main__":
    main()
