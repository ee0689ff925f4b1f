"""Times `tradefold analyze` beside DuckDB doing only the counts, on the same generated trades; checks the answers.

usage: analyze.py TRADEFOLD [--rows N] [--cases rerun:0.1,spread:0.1] [--runs N] [--threads N] [--memory SIZE]
       [--own SIZES] [--data FOLDER] [--date TEXT] [--out FILE]

DuckDB counts rows, keys, different rows, losers, and keys by their number of rows, in one statement. tradefold makes the whole report: classes, days, files, distances, sizes, nearly equal
keys, keys side by side, and what other keys would do. Figures that differ fail the script.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import dedup
from dedup import HOME, listed, size
from measure import Failed, machine, memory_bytes, watch
from results import put_section


def parse():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("tradefold")
    arguments.add_argument("--rows", type=int, default=16_560_000)
    arguments.add_argument("--cases", type=listed, default=["rerun:0.1", "spread:0.1"])
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--memory", type=size, default=memory_bytes() * 2 // 3)
    # How much memory tradefold is told to take, one line of the table for each; nothing: its default.
    arguments.add_argument("--own", type=listed, default=["", "2GB"])
    arguments.add_argument("--data", type=Path, default=HOME.parent / "target" / "bench")
    arguments.add_argument("--timeout", type=int, default=1_800)
    arguments.add_argument("--date")
    arguments.add_argument("--out", type=Path)
    return arguments.parse_args()


def main():
    arguments = parse()
    arguments.data = arguments.data.resolve()
    about, before = dedup.versions(arguments, ["duckdb-literal"]), machine()
    tables, problems = [], []
    for case in arguments.cases:
        table, found = measure(arguments, *case.split(":"))
        print(f"{table}\n", flush=True)
        tables.append(table)
        problems += found
    if arguments.out:
        date = f"{arguments.date}, " if arguments.date else ""
        intro = f"{date}{before} before the first run. {about}. Threads: {arguments.threads}, runs: {arguments.runs}. "
        intro += f"DuckDB is told to stay below {arguments.memory / 1e9:.1f} GB and does only the counts; tradefold makes the report."
        put_section(arguments.out, f"analyze, {arguments.rows:,} rows", "\n\n".join([intro, *tables]))
    if problems:
        sys.exit("\n".join(problems))


def measure(arguments, profile, odd):
    """Measures both on one kind of data. Gives a table, and what is wrong."""
    data, planted = dedup.trades(arguments, profile, odd)
    # Without a contract values are taken as they are; by it hashes are folded to lower case, on either side.
    names = [f"tradefold {own}".strip() for own in arguments.own]
    names += ["duckdb counts", "tradefold by contract", "duckdb counts folded"]
    runs, answers, work = {name: [] for name in names}, {}, Path(tempfile.mkdtemp(dir=arguments.data))
    try:
        for _ in range(arguments.runs):
            for name in names:
                dedup.warm(data)
                temp = work / "temp"
                temp.mkdir()
                text, figures = watch(command(arguments, name, data), str(temp), timeout_s=arguments.timeout)
                shutil.rmtree(temp)
                runs[name].append(figures)
                answers.setdefault(name, counted(name, json.loads(text)))
    finally:
        shutil.rmtree(work)
    problems = []
    for is_by_contract in (False, True):
        own = {name: answer for name, answer in answers.items() if by_contract(name) == is_by_contract}
        if len({json.dumps(answer, sort_keys=True) for answer in own.values()}) > 1:
            problems.append(f"{profile} {odd}: the counts differ: {own}")
    # The generator counts keys as landing folds them.
    found = {name: answers["tradefold by contract"][name] for name in ("rows", "keys")}
    if any(planted[name] != number for name, number in found.items()):
        problems.append(f"{profile} {odd}: found {found}, planted {planted}")
    lines = [f"### {profile}, odd copies in {dedup.share(odd)}", ""]
    lines += ["| | wall s (median) | spread | CPU s | peak MB | temp MB | CPU : duckdb |"]
    lines += ["| :-- | --: | --: | --: | --: | --: | --: |"]
    for name, own in runs.items():
        other = "duckdb counts folded" if by_contract(name) else "duckdb counts"
        base = statistics.median(run.cpu_s for run in runs[other])
        walls = [run.wall_s for run in own]
        median = lambda figure: statistics.median(getattr(run, figure) for run in own)
        peak, temp = median("peak_bytes") / 1e6, median("temp_bytes") / 1e6
        lines.append(
            f"| {name} | {median('wall_s'):.2f} | {min(walls):.2f} to {max(walls):.2f} | {median('cpu_s'):.2f} "
            f"| {peak:,.0f} | {temp:,.0f} | {median('cpu_s') / base:.2f} |"
        )
    figures = answers["duckdb counts"]
    lines += ["", f"Both count {figures['keys']:,} keys and {figures['different']:,} different rows as they stand."]
    return "\n".join(lines), problems


def command(arguments, name, data):
    limits = [str(arguments.threads), str(arguments.memory)]
    if name.startswith("duckdb"):
        form = "folded" if by_contract(name) else "plain"
        return [sys.executable, str(HOME / "peers.py"), "counts", str(data), *limits, form]
    own = name.split(" ")[1:]
    options = ["--threads", limits[0], "--json", "--quiet"]
    if not by_contract(name):
        options += ["--key", "wallet_address, tx_hash, COALESCE(order_hash, '')", "--volatile", "source_run,fetched_at"]
        options += ["--order", "timestamp DESC, log_index DESC, id DESC", *(["--memory", own[0]] if own else [])]
    return [arguments.tradefold, "analyze", str(data), *options]


def by_contract(name):
    return name.endswith(("contract", "folded"))


def counted(name, said):
    """The figures that both have."""
    if name.startswith("duckdb"):
        return said
    return {
        "rows": said["rows"],
        "keys": said["keys"],
        "different": said["advice"]["different_rows"],
        "sizes": said["sizes"],
        "losers": sum(said["balance"]["losers"].values()),
    }


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(str(failed))
