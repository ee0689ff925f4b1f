"""Counts rows and different keys of CSV or NDJSON files with DuckDB, for tests only.

  text_rows.py --key id,n a.csv b.csv

prints {"rows":…,"keys":…}. Nothing is guessed: fields of CSV are texts and values of NDJSON stay JSON, so each key is
what its characters are. NULL counts as one value.
"""

import argparse
import json

import duckdb


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--key", required=True, help="columns, separated by commas")
    args = parser.parse_args()
    columns = args.key.split(",")
    if args.files[0].endswith(".csv"):
        source = "read_csv($files, all_varchar = true, header = true, union_by_name = true, nullstr = '')"
    else:
        types = ", ".join(f"'{column}': 'JSON'" for column in columns)
        source = f"read_json($files, format = 'newline_delimited', columns = {{{types}}})"
    # The length keeps apart what runs together, and a NULL from a text.
    parts = [f"COALESCE(LENGTH({c}::VARCHAR) || ':' || {c}::VARCHAR, 'null')" for c in columns]
    query = f"SELECT COUNT(*), COUNT(DISTINCT {' || '.join(parts)}) FROM {source}"
    rows, keys = duckdb.execute(query, {"files": args.files}).fetchone()
    print(json.dumps({"rows": rows, "keys": keys}))


main()
