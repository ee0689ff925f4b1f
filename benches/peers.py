"""One peer at a time, in a process of its own, so that its memory and CPU are told apart. dedup.py calls it.

usage: peers.py dedup NAME DATA OUT TEMP THREADS MEMORY_BYTES LEVEL
       peers.py facts DATA | answer OUT | folded OUT
       peers.py counts DATA THREADS MEMORY_BYTES plain|folded | versions

Every peer keeps the first row of each key of trades in the declared order, all columns, and writes Parquet. Those
named -ts order by the timestamp alone, which is less work; datafusion-total runs tradefold's own query, in which no two
different rows tie. When its packages are loaded a peer says so: what comes before is not its work.
"""

import importlib.metadata
import json
import os
import resource
import sys
import tempfile
import time

KEY = ["wallet_address", "tx_hash", "order_hash"]
DECLARED = ["timestamp", "log_index", "id"]
# All other columns that count as content, in the order of the contract.
CONTENT = ["block_number", "condition_id", "token_id", "token_label", "market_slug", "title", "side", "shares"]
CONTENT += ["shares_normalized", "price", "taker"]

# Which rows of a key an engine may keep: those with the greatest timestamp, those that are first in the declared order,
# or the one that is first in the total order.
ORDERS = {
    "duckdb-literal": "declared",
    "duckdb-subquery": "declared",
    "duckdb-plain": "declared",
    "duckdb-literal-ts": "timestamp",
    "duckdb-subquery-ts": "timestamp",
    "duckdb-plain-ts": "timestamp",
    "clickhouse": "declared",
    "polars": "declared",
    "datafusion": "declared",
    "datafusion-total": "total",
}
# What each needs to be installed.
PACKAGES = {"duckdb": "duckdb", "clickhouse": "chdb", "polars": "polars", "datafusion": "datafusion"}


def columns(order):
    return {"timestamp": DECLARED[:1], "declared": DECLARED, "total": DECLARED + KEY + CONTENT}[order]


def first_of_each_key(rows, order, last="COALESCE(order_hash, '')", keep="*"):
    order_by = ", ".join(f'"{name}" DESC NULLS LAST' for name in columns(order))
    window = f"PARTITION BY wallet_address, tx_hash, {last} ORDER BY {order_by}"
    if order == "total":
        # As tradefold renders it; to ROW_NUMBER the frame means nothing.
        window += " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
    return f"SELECT {keep} FROM {rows} QUALIFY ROW_NUMBER() OVER ({window}) = 1"


def ready():
    """Says when the work itself begins."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"begun_s": time.monotonic(), "cpu_s": used.ru_utime + used.ru_stime}))


def duckdb(name, data, out, temp, threads, memory_bytes, level):
    import duckdb

    config = {"threads": threads, "memory_limit": f"{memory_bytes}B", "temp_directory": temp}
    connection = duckdb.connect(config=config | {"preserve_insertion_order": False})
    ready()
    rows, order = f"read_parquet('{data}/*.parquet')", ORDERS[name]
    match name.removesuffix("-ts"):
        case "duckdb-literal":
            query = first_of_each_key(rows, order)
        case "duckdb-subquery":
            rows = f"(SELECT *, COALESCE(order_hash, '') AS _last FROM {rows})"
            query = first_of_each_key(rows, order, "_last", "* EXCLUDE (_last)")
        case _:
            query = first_of_each_key(rows, order, "order_hash")
    target = f"'{out}/part.parquet' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {level})"
    connection.execute(f"COPY ({query}) TO {target}")


def clickhouse(name, data, out, temp, threads, memory_bytes, level):
    from chdb import session

    engine = session.Session(temp)
    ready()
    order_by = ", ".join(f'"{column}" DESC NULLS LAST' for column in columns(ORDERS[name]))
    # No bloom filters for every column: no other writes so many.
    engine.query(
        f"""INSERT INTO FUNCTION file('{out}/part.parquet', Parquet)
        SELECT * FROM file('{data}/*.parquet', Parquet)
        ORDER BY {order_by} LIMIT 1 BY wallet_address, tx_hash, ifNull(order_hash, '')
        SETTINGS max_threads = {threads}, max_memory_usage = {memory_bytes},
            output_format_parquet_compression_method = 'zstd', output_format_compression_level = {level},
            output_format_parquet_write_bloom_filter = 0"""
    )


def polars(name, data, out, temp, threads, memory_bytes, level):
    os.environ |= {"POLARS_MAX_THREADS": str(threads), "POLARS_TEMP_DIR": temp}
    import polars

    ready()
    # max_by would lose rows of keys whose timestamps are all NULL. Polars takes no limit of memory.
    rows = polars.scan_parquet(f"{data}/*.parquet").with_columns(_last=polars.col("order_hash").fill_null(""))
    rows = rows.sort(columns(ORDERS[name]), descending=True, nulls_last=True)
    rows = rows.unique(["wallet_address", "tx_hash", "_last"], keep="first").drop("_last")
    rows.sink_parquet(f"{out}/part.parquet", compression="zstd", compression_level=level, maintain_order=False)


def datafusion(name, data, out, temp, threads, memory_bytes, level):
    from datafusion import RuntimeEnvBuilder, SessionConfig, SessionContext

    runtime = RuntimeEnvBuilder().with_fair_spill_pool(memory_bytes).with_disk_manager_specified(temp)
    context = SessionContext(SessionConfig().with_target_partitions(threads), runtime)
    ready()
    context.register_parquet("landed", data)
    query = first_of_each_key("landed", ORDERS[name])
    options = f"OPTIONS ('format.compression' 'zstd({level})')"
    context.sql(f"COPY ({query}) TO '{out}/' STORED AS PARQUET {options}").collect()


def dedup(name, data, out, temp, threads, memory_bytes, level):
    os.makedirs(out)
    engine = globals()[name.split("-")[0]]
    engine(name, data, out, temp, int(threads), int(memory_bytes), int(level))


def ask(query):
    import duckdb

    config = {"preserve_insertion_order": False, "temp_directory": tempfile.gettempdir()}
    answer = duckdb.connect(config=config).execute(query)
    names = [column[0] for column in answer.description]
    print(json.dumps(dict(zip(names, answer.fetchone()))))


def facts(data):
    """Rows, columns, and in how many places an order hash is '' where it is NULL as well, so that COALESCE matters."""
    rows = f"read_parquet('{data}/*.parquet')"
    beside = "empty.wallet_address = r.wallet_address AND empty.tx_hash = r.tx_hash AND empty.order_hash = ''"
    ask(f"""SELECT COUNT(*) AS rows,
            (SELECT COUNT(*) FROM (DESCRIBE SELECT * FROM {rows})) AS columns,
            (SELECT COUNT(*) FROM {rows} r SEMI JOIN {rows} empty ON {beside} WHERE r.order_hash IS NULL) AS ambiguous
            FROM {rows}""")


def answer(out):
    """What an output holds: its rows, and checksums over key and timestamp, the declared order, all content."""
    key = "wallet_address, tx_hash, COALESCE(order_hash, ''), epoch_us(timestamp)"
    sums = {"key_time": key, "declared": f"{key}, log_index, id", "content": f"{key}, order_hash, log_index, id"}
    sums["content"] += f", {', '.join(CONTENT)}"
    sums = [f"SUM(hash({names})::HUGEINT)::VARCHAR AS {name}" for name, names in sums.items()]
    ask(f"SELECT COUNT(*) AS rows, {', '.join(sums)} FROM read_parquet('{out}/*.parquet')")


def folded(out):
    """How many keys an output has once wallets are in lower case, which is what the generator counts."""
    key = "hash(lower(wallet_address), tx_hash, COALESCE(order_hash, ''))"
    ask(f"SELECT COUNT(DISTINCT {key}) AS keys FROM read_parquet('{out}/*.parquet')")


def counts(data, threads, memory_bytes, form):
    """Only the counts that an analysis begins with: rows, keys, different rows, keys by their number of rows, losers."""
    import duckdb

    config = {"threads": int(threads), "memory_limit": f"{memory_bytes}B", "temp_directory": tempfile.gettempdir()}
    connection = duckdb.connect(config=config | {"preserve_insertion_order": False})
    key = ["wallet_address", "tx_hash", "COALESCE(order_hash, '')"]
    # As landing has them: an analysis by the contract counts those keys.
    key = ", ".join(f"lower({part})" if form == "folded" else part for part in key)
    content = ", ".join([*DECLARED, "order_hash", *CONTENT])
    groups = f"""SELECT COUNT(*) AS n, COUNT(DISTINCT hash({content})) AS different
                 FROM read_parquet('{data}/*.parquet') GROUP BY {key}"""
    sizes = connection.execute(f"SELECT n, COUNT(*), SUM(different) FROM ({groups}) GROUP BY n ORDER BY n").fetchall()
    rows, keys = sum(n * times for n, times, _ in sizes), sum(times for _, times, _ in sizes)
    different = int(sum(total for *_, total in sizes))
    figures = {"rows": rows, "keys": keys, "different": different, "losers": rows - keys}
    print(json.dumps(figures | {"sizes": {str(n): times for n, times, _ in sizes}}))


def versions():
    """What is installed, by the names of the peers."""
    found = {}
    for peer, package in PACKAGES.items():
        try:
            found[peer] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "clickhouse" in found:
        from chdb import query

        found["clickhouse"] = f"{str(query('SELECT version()')).strip().strip(chr(34))} (chdb {found['clickhouse']})"
    print(json.dumps(found))


if __name__ == "__main__":
    requests = {"dedup": dedup, "facts": facts, "answer": answer, "folded": folded, "counts": counts}
    requests["versions"] = versions
    try:
        requests[sys.argv[1]](*sys.argv[2:])
    except Exception as error:
        # The first line says what is wrong, the last one is advice.
        sys.exit(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
