"""Times `tradefold dedup` beside its peers on the same generated trades, and checks that all of them answer the same.

usage: dedup.py TRADEFOLD [FLOOR] [--rows N] [--cases rerun:0.1,rerun:0,rerun:1,spread:0.1] [--runs N]
       [--threads N] [--level N] [--only NAMES] [--memory SIZE] [--timeout SECONDS] [--data FOLDER]
       [--drop] [--curves] [--date TEXT] [--out FILE]

Prints what it measured as Markdown and puts it into FILE, in place of what is there for as many rows and this level.
A peer that fails is a row that says why; answers that differ, and a tradefold that fails, fail the script.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import peers
from measure import Failed, folder_bytes, machine, memory_bytes, watch
from results import put_section

HOME = Path(__file__).resolve().parent
# Which rows of a key each may keep, from the loosest order to the strictest; tradefold also as `tradefold:8GB`.
ORDERS = {"tradefold": "total", "tradefold-unclassed": "declared", **peers.ORDERS, "floor": "total"}
# How tradefold leaves all columns but those of key and order out of account, as its peers do.
UNCLASSED = ["--key", "wallet_address, tx_hash, COALESCE(order_hash, '')", "--volatile", "*"]
UNCLASSED += ["--order", ", ".join(f"{name} DESC NULLS LAST" for name in peers.DECLARED)]
# What answers must agree in, and for which orders.
FIGURES = {
    "rows": ("timestamp", "declared", "total"),
    "key_time": ("timestamp", "declared", "total"),
    "declared": ("declared", "total"),
    "content": ("total",),
}


class Run(NamedTuple):
    wall_s: float
    cpu_s: float | None
    peak_bytes: int | None
    temp_bytes: int | None
    output_bytes: int
    curve: list


def parse():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("tradefold")
    arguments.add_argument("floor", nargs="?")
    arguments.add_argument("--rows", type=int, default=16_560_000)
    # A profile, and the share of row groups in which keys are odd.
    arguments.add_argument("--cases", type=listed, default=["rerun:0.1", "rerun:0", "rerun:1", "spread:0.1"])
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--level", type=int, default=1)
    arguments.add_argument("--only", type=listed)
    # What the peers are told to stay below, and what all are ended at.
    arguments.add_argument("--memory", type=size, default=memory_bytes() * 2 // 3)
    arguments.add_argument("--timeout", type=int, default=1_800)
    target = os.environ.get("CARGO_TARGET_DIR") or HOME.parent / "target"
    arguments.add_argument("--data", type=Path, default=Path(target) / "bench")
    arguments.add_argument("--drop", action="store_true", help="remove data as soon as they are measured")
    arguments.add_argument("--curves", action="store_true", help="show memory in the course of each one's last run")
    arguments.add_argument("--date")
    arguments.add_argument("--out", type=Path)
    return arguments.parse_args()


def listed(text):
    return text.split(",")


def size(text):
    return int(float(text.removesuffix("GB")) * 1e9)


def main():
    arguments = parse()
    arguments.data = arguments.data.resolve()
    names = chosen(arguments)
    if hasattr(os, "sched_setaffinity"):
        # Some peers have threads beside those that they are told to have: none gets more cores than another.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    about, before = versions(arguments, names), machine()
    parts, problems = [], []
    slow = {}
    for case in arguments.cases:
        profile, odd = case.split(":")
        # Who was slow on a layout is not asked again with another share of odd copies.
        known = slow.setdefault(profile, [])
        table, found = measure(arguments, [name for name in names if name not in known], profile, odd, known)
        parts.append(table)
        problems += found
        print(f"{table}\n", flush=True)
    date = f"{arguments.date}, " if arguments.date else ""
    heading = f"{arguments.rows:,} rows, zstd level {arguments.level}"
    told_gb, cap_gb = arguments.memory / 1e9, cap(arguments) / 1e9
    limits = f"Peers are told to stay below {told_gb:.1f} GB; all are ended at {cap_gb:.1f} GB."
    intro = f"{date}{before} before the first run. {about}. "
    intro += f"Threads: {arguments.threads}, runs: {arguments.runs}. {limits}"
    section = "\n\n".join([intro, *parts])
    if arguments.out:
        put_section(arguments.out, heading, section)
    if problems:
        sys.exit("\n".join(problems))


def chosen(arguments):
    """The names of those that take part."""
    if not arguments.only:
        return [name for name in ORDERS if name != "floor" or arguments.floor]
    names = []
    for wanted in arguments.only:
        known = [name for name in ORDERS if name == wanted or name.startswith(f"{wanted}-")]
        if wanted.startswith("tradefold:"):
            known = [wanted]
        if not known or ("floor" in known and not arguments.floor):
            sys.exit(f"{wanted} can't take part: known are {', '.join(ORDERS)}; floor wants its program named")
        names += known
    return list(dict.fromkeys(names))


def order_of(name):
    return ORDERS[name.split(":")[0]]


def cap(arguments):
    """No process may get more memory than this: the machine needs the rest."""
    return max(memory_bytes() * 85 // 100, arguments.memory)


def ask(*request, temp=None):
    """Asks peers.py something that is not timed."""
    return json.loads(watch([sys.executable, str(HOME / "peers.py"), *map(str, request)], temp)[0])


def versions(arguments, names):
    installed = ask("versions")
    wanted = list(dict.fromkeys(name.split("-")[0] for name in names if name in peers.ORDERS))
    missing = set(wanted) - set(installed)
    if missing:
        sys.exit(f"{', '.join(sorted(missing))} not installed: see benches/requirements.txt, or choose with --only")
    git = ["git", "-C", str(HOME), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()
    own = watch([arguments.tradefold, "--version"])[0].decode().strip() + (f" ({commit})" if commit else "")
    return ", ".join([own, *(f"{name} {installed[name]}" for name in wanted)])


def measure(arguments, names, profile, odd, slow):
    """Measures all on one kind of data. Gives the text about it, and what is wrong.

    Who needs more than twice as long as the best DuckDB form runs once, and is added to `slow`.
    """
    data, planted = trades(arguments, profile, odd)
    work = Path(tempfile.mkdtemp(dir=arguments.data))
    try:
        facts = ask("facts", data, temp=str(work))
        runs, failures, answers = {name: [] for name in names}, {}, []
        problems = [] if facts["rows"] == planted["rows"] else [f"{facts['rows']} rows, planted {planted['rows']}"]
        if facts["ambiguous"]:
            # Without COALESCE these forms answer another question.
            plain = [name for name in names if name.startswith("duckdb-plain")]
            failures |= {name: "not the same question: order_hash is '' beside NULL" for name in plain}
        for number in range(arguments.runs):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                if name in failures or (number > 0 and name in slow):
                    continue
                warm(data)
                try:
                    run, answer = once(arguments, name, data, work, planted)
                    runs[name].append(run)
                    answers.append((name, order_of(name), answer))
                except Failed as reason:
                    failures[name] = re.sub(r"(/[\w.@-]+){2,}/?", "PATH", str(reason))[:300]
                    if name.startswith(("tradefold", "floor")):
                        problems.append(f"{name} on {profile} {odd}: {reason}")
            if number == 0:
                slow += slower(runs)
        differences = disagreements(answers)
        problems += [f"{profile}, odd {odd}: {text}" for text in differences]
    finally:
        shutil.rmtree(work)
        if arguments.drop:
            shutil.rmtree(data)
    lines = [f"### {profile}, odd copies in {share(odd)}", "", *table(facts["rows"], runs, failures)]
    lines += ["", told(runs, answers, differences, facts, planted)]
    if arguments.curves:
        lines += ["", *curves(runs)]
    return "\n".join(lines), problems


def share(odd):
    return {"0": "no row group", "1": "all row groups"}.get(odd, f"{float(odd):.0%} of the row groups")


def trades(arguments, profile, odd):
    """The folder of the generated trades, and what was planted in them. They are made if they are not there."""
    root = HOME.parent / "src"
    sources = sorted([*root.glob("generate/*.rs"), root / "dataset" / "trades.toml"])
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:8]
    data = arguments.data / f"{profile}-{arguments.rows}-odd-{odd}-{digest}"
    planted = arguments.data / f"{data.name}.json"
    if not data.is_dir():
        print(f"generating {data.name}", file=sys.stderr, flush=True)
        arguments.data.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=arguments.data))
        command = [arguments.tradefold, "generate", "--rows", str(arguments.rows), "--profile", profile]
        # Large data have files of a usual size, which are also made side by side.
        command += ["--files", str(max(1, round(arguments.rows / 16_560_000)))]
        planted.write_bytes(watch([*command, "--odd-share", odd, "--out", str(draft), "--json"])[0])
        draft.rename(data)
    return data, json.loads(planted.read_text())


def warm(data):
    """Reads the files, so that they come from memory for all if they fit, and lets the disk come to rest."""
    os.sync()
    for path in data.iterdir():
        with open(path, "rb") as file:
            while file.read(1 << 24):
                pass


def once(arguments, name, data, work, planted):
    """One run: its figures and its answer."""
    out, temp = work / "out", work / "temp"
    temp.mkdir()
    try:
        limits = {"cap_bytes": cap(arguments), "timeout_s": arguments.timeout}
        text, figures = watch(command(arguments, name, data, out, temp), str(temp), **limits)
        said = json.loads(text)
        answer = ask("answer", out, temp=str(temp))
        cpu_s, wall_s, peak_bytes, temp_bytes = figures.cpu_s, figures.wall_s, figures.peak_bytes, figures.temp_bytes
        if name == "floor":
            # What it decides beforehand is in none of its figures.
            wall_s, cpu_s, peak_bytes, temp_bytes = said["wall_s"], said["cpu_s"], None, None
        elif name in peers.ORDERS:
            wall_s, cpu_s = figures.ended_s - said["begun_s"], cpu_s - said["cpu_s"]
        else:
            check(said["balance"], answer, planted, ask("folded", out, temp=str(temp)))
        print(f"{data.name} {name}: {wall_s:.2f} s wall", file=sys.stderr, flush=True)
        return Run(wall_s, cpu_s, peak_bytes, temp_bytes, folder_bytes(out), figures.curve), answer
    finally:
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(temp)


def command(arguments, name, data, out, temp):
    if name == "floor":
        return [arguments.floor, str(data), str(out), str(arguments.threads), str(arguments.level)]
    if name in peers.ORDERS:
        limits = [str(number) for number in (arguments.threads, arguments.memory, arguments.level)]
        return [sys.executable, str(HOME / "peers.py"), "dedup", name, str(data), str(out), str(temp), *limits]
    options = ["--threads", str(arguments.threads), "--level", str(arguments.level), "--json", "--quiet"]
    options += ["--memory", name.split(":")[1]] if ":" in name else []
    options += UNCLASSED if name.startswith("tradefold-unclassed") else []
    return [arguments.tradefold, "dedup", str(data), "-o", str(out), *options]


def check(balance, answer, planted, folded):
    """What tradefold says of itself against its output and against what was planted."""
    found = [balance["landing"]["read"], balance["winners"], balance["winners"] + sum(balance["losers"].values())]
    # The generator counts keys as landing folds them. Dedup without a contract takes values as they are.
    if found != [planted["rows"], answer["rows"], planted["rows"]] or folded["keys"] != planted["keys"]:
        raise Failed(f"the balance {found} or {folded} does not fit {answer['rows']} rows of output and {planted}")


def disagreements(answers):
    """Where answers differ. Each is a name, the order that binds it, and its figures."""
    found = []
    for figure, orders in FIGURES.items():
        said = {}
        for name, order, answer in answers:
            if order in orders:
                said.setdefault(answer[figure], {})[name] = True
        if len(said) > 1:
            sides = "; ".join(f"{value} say {', '.join(names)}" for value, names in said.items())
            found.append(f"the answers differ in {figure}: {sides}")
    return found


def best_duckdb(runs):
    """The DuckDB form with the shortest median."""
    walls_s = {name: median(own, "wall_s") for name, own in runs.items() if name.startswith("duckdb") and own}
    return min(walls_s, key=walls_s.get, default=None)


def slower(runs):
    """The peers that need more than twice as long as the best DuckDB form."""
    best = best_duckdb(runs)
    twice_s = 2 * median(runs[best], "wall_s") if best else float("inf")
    return [name for name, own in runs.items() if name in peers.ORDERS and own and median(own, "wall_s") > twice_s]


def median(runs, figure):
    return statistics.median(getattr(run, figure) for run in runs)


def table(rows, runs, failures):
    best = best_duckdb(runs)
    yield "| | wall s (median) | spread | CPU s | peak MB | temp MB | output MB | rows/s | wall : best DuckDB |"
    yield "| :-- | --: | --: | --: | --: | --: | --: | --: | --: |"
    for name, own in runs.items():
        if name in failures:
            yield f"| {name} | {failures[name].replace('|', ' ')} | | | | | | | |"
            continue
        walls_s = [run.wall_s for run in own]
        megabytes = []
        for figure in ("peak_bytes", "temp_bytes", "output_bytes"):
            known = getattr(own[0], figure) is not None
            megabytes.append(f"{median(own, figure) / 1e6:,.0f}" if known else "–")
        wall_s = median(own, "wall_s")
        ratio = f"{wall_s / median(runs[best], 'wall_s'):.2f}" if best else "–"
        spread = f"{min(walls_s):.2f} to {max(walls_s):.2f}" if len(own) > 1 else "one run"
        cpu_s = "–" if own[0].cpu_s is None else f"{median(own, 'cpu_s'):.2f}"
        times = [f"{wall_s:.2f}", spread, cpu_s]
        yield f"| {' | '.join([name, *times, *megabytes, f'{rows / wall_s:,.0f}', ratio])} |"


def curves(runs):
    """Resident memory in the course of each one's last run."""
    shown = {name: own[-1].curve for name, own in runs.items() if own and own[-1].curve}
    yield "Resident memory in MB at 5 %, 10 % … of each one's time:"
    yield ""
    for name, curve in shown.items():
        at = [curve[len(curve) * percent // 100] for percent in range(5, 100, 5)]
        yield f"- {name}: {', '.join(f'{resident_bytes / 1e6:,.0f}' for resident_bytes in at)}"


def told(runs, answers, differences, facts, planted):
    """What there is to say below a table."""
    best = best_duckdb(runs)
    words = [f"{facts['columns']} columns, {planted['keys']:,} keys planted."]
    if best:
        words.append(f"Best DuckDB form: {best}.")
    if not differences and answers:
        words.append(f"All {len(answers)} answers agree: {answers[0][2]['rows']:,} rows, and a checksum over key and")
        words.append("timestamp.")
        for figure, columns in ("declared", "log_index and id"), ("content", "all compared columns"):
            bound = list(dict.fromkeys(name for name, order, _ in answers if order in FIGURES[figure]))
            # What tradefold alone says, or the floor after it, is no agreement.
            if any(name in peers.ORDERS for name in bound):
                words.append(f"In {columns} as well: {', '.join(bound)}.")
            else:
                words.append(f"No peer was asked for an order that binds {columns}.")
    return " ".join([*words, *differences]) + (" Nothing answered." if not answers else "")


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(str(failed))
