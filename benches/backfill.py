"""Times a backfill of generated trades and checks its answer: rows per second, peak memory, the balance.

usage: backfill.py TRADEFOLD [--rows N] [--runs N]

It prints what it measured as a Markdown table. The generator says how many keys and losers of each class it planted; a
run that finds anything else fails. dedup.py compares with other tools.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile

from measure import folder_bytes, machine, run


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("tradefold")
    arguments.add_argument("--rows", type=int, default=1_660_000)
    arguments.add_argument("--runs", type=int, default=3)
    arguments = arguments.parse_args()
    folder = tempfile.mkdtemp()
    try:
        measure(arguments, folder)
    finally:
        shutil.rmtree(folder)


def measure(arguments, folder):
    data = os.path.join(folder, "data")
    command = [arguments.tradefold, "generate", "--rows", str(arguments.rows), "--out", data, "--json"]
    planted = json.loads(run(command)[0])
    size_bytes = folder_bytes(data)
    measured = []
    for number in range(arguments.runs):
        lake = os.path.join(folder, f"lake-{number}")
        command = [arguments.tradefold, "backfill", data, "--warehouse", lake, "--json", "--quiet"]
        text, figures = run(command)
        report = json.loads(text)
        losers = report["balance"]["losers"]
        found = {"rows": report["balance"]["landing"]["landed"], "keys": report["balance"]["winners"], **losers}
        expected = {name: planted[name] for name in found}
        inserted = sum(batch["merged"]["inserted"] for batch in report["batches"])
        if found != expected or inserted != planted["keys"]:
            sys.exit(f"found {found} and inserted {inserted}, planted {expected}")
        measured.append(figures)
        shutil.rmtree(lake)
    walls_s = [figures.wall_s for figures in measured]
    wall_s, spread = statistics.median(walls_s), f"{min(walls_s):.1f} to {max(walls_s):.1f}"
    cpu_s = statistics.median(figures.cpu_s for figures in measured)
    peak_bytes = statistics.median(figures.peak_bytes for figures in measured)
    print(f"{machine()}\n")
    print("| rows | input MB | keys | wall s (median) | spread | CPU s | rows/s | peak MB |")
    print("| --: | --: | --: | --: | --: | --: | --: | --: |")
    print(
        f"| {planted['rows']:,} | {size_bytes / 1e6:.0f} | {planted['keys']:,} | {wall_s:.1f} | {spread} | {cpu_s:.1f} "
        f"| {planted['rows'] / wall_s:,.0f} | {peak_bytes / 1e6:.0f} |"
    )


if __name__ == "__main__":
    main()
