"""Runs tradefold against a real project of Google Cloud and checks what no emulator can show.

usage: live.py BINARY bigquery://PROJECT.DATASET gs://BUCKET/PREFIX [--yes] [-- more flags of tradefold]

It says first what it will touch and what that costs, and does nothing without --yes. Python 3.11, no packages.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMO = str(ROOT / "fixtures/demo")
DEMO_KEYS = 9_685
SUSPECTS = str(ROOT / "fixtures/demo-suspects")

PLAN = """This will touch, and nothing else:
  tables      {names}
              in {warehouse}, made anew; and temporary tables beside them (tradefold_tmp_…)
  objects     below {stage}/_tradefold/
It takes about 5 minutes, 20 load jobs, 2 exports and 100 queries of 20 MiB each: 2 GiB billed, about 0.01 at 6.25 a TiB.
The tables stay; the last lines say how to drop them.
"""


class Live:
    def __init__(self, binary, warehouse, stage, more):
        self.binary, self.warehouse, self.stage, self.more = binary, warehouse, stage, more
        self.folder = Path(tempfile.mkdtemp(prefix="tradefold-live-"))
        self.stamp = time.strftime("tradefold_live_%Y%m%d%H%M%S", time.gmtime())
        self.names = {kind: f"{self.stamp}_{kind}" for kind in ("plain", "filtered", "flat", "killed")}
        contract = (ROOT / "src/dataset/trades.toml").read_text()
        assert 'name = "trades"\n' in contract
        for kind, name in self.names.items():
            (self.folder / f"{kind}.toml").write_text(contract.replace('name = "trades"\n', f'name = "{name}"\n', 1))
        self.begun = time.monotonic()
        self.failed = 0
        self.billed = 0

    def command(self, kind, *arguments, work="work"):
        target = ["--dataset", str(self.folder / f"{kind}.toml"), "--warehouse", self.warehouse, "--stage", self.stage]
        return [self.binary, *arguments, *target, "--work", str(self.folder / work), "--json", *self.more]

    def run(self, kind, *arguments, work="work"):
        """The exit code, the report, and what was said beside it."""
        done = subprocess.run(self.command(kind, *arguments, work=work), capture_output=True, text=True)
        report = json.loads(done.stdout) if done.stdout.strip() else {}
        self.billed += sum(step["bytes_billed"] for step in ((report.get("usage") or {}).get("steps") or {}).values())
        return done.returncode, report, done.stderr

    def check(self, what, holds, said=""):
        print(f"{'ok    ' if holds else 'FAILED'} {time.monotonic() - self.begun:6.0f} s  {what}", flush=True)
        if not holds:
            self.failed += 1
            print("        " + str(said).strip()[-2000:].replace("\n", "\n        "))

    def merged(self, report):
        batches = report.get("batches", [])
        return tuple(sum((b.get("merged") or {}).get(n, 0) for b in batches) for n in ("inserted", "updated"))

    def fill(self, kind, *flags):
        code, report, said = self.run(kind, "backfill", DEMO, *flags)
        done = (code, self.merged(report))
        self.check(f"{kind}: a backfill inserts every key, by one load job and one MERGE a batch",
                   done == (0, (DEMO_KEYS, 0)) and report["usage"]["steps"]["merge"]["jobs"] == len(report["batches"]),
                   said or done)
        return report

    def audit(self, kind, rows=None):
        code, report, said = self.run(kind, "audit")
        audit = report.get("audit", {})
        found = (code, audit.get("rows"), audit.get("keys"))
        self.check(f"{kind}: an audit finds {rows} rows, each key once", found == (0, rows, rows), said or report)

    def diff(self, kind):
        sides = [DEMO, f"{self.warehouse}.{self.names[kind]}", "--dataset", str(self.folder / f"{kind}.toml")]
        command = [self.binary, "diff", *sides, "--stage", self.stage, "--json", *self.more]
        done = subprocess.run(command, capture_output=True, text=True)
        report = json.loads(done.stdout) if done.stdout.strip() else {}
        found = (done.returncode, (report.get("keys") or {}).get("same"), (report.get("b") or {}).get("read"))
        self.check(f"{kind}: exported as it is now, it has what the files have, in every column",
                   found == (0, DEMO_KEYS, DEMO_KEYS), done.stderr or found)

    def walk(self):
        code, report, said = self.run("plain", "plan", DEMO)
        self.check("plain: a plan of a table that is not there", code == 0 and report["target_rows"] == 0, said)
        report = self.fill("plain")
        told = [((b["merged"] or {}).get("job") or {}).get("bytes_billed", 0) for b in report.get("batches", [])]
        self.check("plain: the MERGEs say what they cost (totalBytesBilled)", told and all(told), told)
        code, report, said = self.run("plain", "backfill", DEMO)
        self.check("plain: once more, and nothing changes; no MERGE runs",
                   (code, self.merged(report)) == (0, (0, 0)) and "merge" not in report["usage"]["steps"], said)
        self.audit("plain", DEMO_KEYS)
        self.diff("plain")
        quarantine = ("backfill", SUSPECTS, "--on-suspect", "quarantine")
        code, _, said = self.run("plain", *quarantine, "--max-bytes-billed", "1")
        self.check("plain: a query over the budget is refused before anything is written (77)", code == 77, said)
        self.audit("plain", DEMO_KEYS)
        code, report, said = self.run("plain", "gc")
        found = {leftover["what"] for leftover in report.get("kept", [])}
        self.check("plain: what it had staged is listed, and kept for the same command", "staged objects" in found, report)
        code, report, said = self.run("plain", *quarantine)
        self.check("plain: the same command with a larger budget goes through", code == 0, said)
        self.audit("plain", DEMO_KEYS + self.merged(report)[0])
        self.fill("filtered", "--require-partition-filter")
        self.audit("filtered", DEMO_KEYS)
        self.diff("filtered")
        self.fill("flat", "--unpartitioned")
        self.audit("flat", DEMO_KEYS)
        self.kill()
        for kind in self.names:
            code, report, said = self.run(kind, "gc", "--remove", "--unfinished")
            code, report, said = self.run(kind, "gc")
            self.check(f"{kind}: gc leaves nothing", code == 0 and report.get("kept") == [], said or report)

    def kill(self):
        """Kills runs at three of their steps, has another machine ask meanwhile, and demands what a calm run gives."""
        inserted = 0
        # A step is said when it has ended.
        for seed, after in enumerate(("find duplicates", "stage batches", "compare batches with the target")):
            raw = str(self.folder / f"raw{seed}")
            generate = [self.binary, "generate", "--rows", "20000", "--seed", str(seed), "--out", raw]
            subprocess.run(generate, check=True, capture_output=True)
            process = subprocess.Popen(self.command("killed", "backfill", raw, "--batch-days", "32"), text=True,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            said = []
            for line in process.stderr:
                said.append(line)
                if line.startswith(after):
                    break
            beside, _, other = self.run("killed", "gc", "--remove", "--wait", "0", work="another")
            running = process.poll() is None
            process.kill()
            process.wait()
            self.check(f"killed: another machine is refused while a run works (73); it is killed after `{after}`",
                       (beside, running) == (73, True) and "has held it since" in other, (beside, running, other, said))
            code, report, said = self.run("killed", "backfill", raw, "--batch-days", "32")
            winners = report.get("balance", {}).get("winners")
            self.check("killed: the same command ends what was begun", code == 0 and winners, said)
            inserted += winners or 0
        code, report, said = self.run("killed", "backfill", raw, "--batch-days", "32")
        self.check("killed: once more, and nothing changes", (code, self.merged(report)) == (0, (0, 0)), said or report)
        self.audit("killed", inserted)


def main():
    arguments, more = sys.argv[1:], []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, more = arguments[:at], arguments[at + 1 :]
    yes = "--yes" in arguments
    arguments = [argument for argument in arguments if argument != "--yes"]
    if len(arguments) != 3:
        sys.exit(__doc__)
    live = Live(*arguments, more)
    names = ("\n" + " " * 14).join(live.names.values())
    print(PLAN.format(names=names, warehouse=live.warehouse, stage=live.stage.rstrip("/")))
    if not yes:
        sys.exit("nothing was done; --yes does it")
    try:
        live.walk()
    finally:
        project, _, dataset = live.warehouse.removeprefix("bigquery://").rpartition(".")
        print(f"\n{live.billed:,} bytes billed by backfills that ended. To drop the tables and what is kept beside them:")
        for name in live.names.values():
            print(f"  bq rm -f -t {project}:{dataset}.{name}")
        print(f"  gcloud storage rm -r '{live.stage.rstrip('/')}/_tradefold/{project}.{dataset}.{live.stamp}_*'")
    sys.exit(f"{live.failed} checks failed" if live.failed else 0)


main()
