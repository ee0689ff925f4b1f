"""Times a backfill of generated trades and checks its answer: rows per second, peak memory, the balance.

usage: backfill.py TRADEFOLD [--rows N] [--runs N]

It prints what it measured as a Markdown table. The generator says how many keys and losers of each class it planted; a
run that finds anything else fails. Nothing here compares with other tools.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


def run(command):
    """Runs a command; gives its stdout, wall seconds, CPU seconds and peak resident bytes."""
    begun = time.monotonic()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - begun
        out.seek(0)
        text = out.read()
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return text, wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


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
    size_bytes = sum(os.path.getsize(os.path.join(data, name)) for name in os.listdir(data))
    measured = []
    for number in range(arguments.runs):
        lake = os.path.join(folder, f"lake-{number}")
        command = [arguments.tradefold, "backfill", data, "--warehouse", lake, "--json", "--quiet"]
        text, *figures = run(command)
        report = json.loads(text)
        losers = report["balance"]["losers"]
        found = {"rows": report["balance"]["landing"]["landed"], "keys": report["balance"]["winners"], **losers}
        expected = {name: planted[name] for name in found}
        inserted = sum(batch["merged"]["inserted"] for batch in report["batches"])
        if found != expected or inserted != planted["keys"]:
            sys.exit(f"found {found} and inserted {inserted}, planted {expected}")
        measured.append(figures)
        shutil.rmtree(lake)
    wall_s, cpu_s, peak_bytes = (statistics.median(column) for column in zip(*measured))
    spread = f"{min(m[0] for m in measured):.1f} to {max(m[0] for m in measured):.1f}"
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| rows | input MB | keys | wall s (median) | spread | CPU s | rows/s | peak MB |")
    print("| --: | --: | --: | --: | --: | --: | --: | --: |")
    print(
        f"| {planted['rows']:,} | {size_bytes / 1e6:.0f} | {planted['keys']:,} | {wall_s:.1f} | {spread} | {cpu_s:.1f} "
        f"| {planted['rows'] / wall_s:,.0f} | {peak_bytes / 1e6:.0f} |"
    )


if __name__ == "__main__":
    main()
