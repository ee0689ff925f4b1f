"""The file of results: a section for each number of rows and level, each as its last run wrote it."""

import textwrap

PREFACE = """# Results

`make bench` and `make bench-full` write this file; benches/dedup.py is what they run, and benches/analyze.py for
sections that begin with analyze, which say what they measure. Each section is one run. For dedup:

- All keep the first row of each key of generated trades (the `trades` contract: key, order) and write Parquet with
  zstd at the level of the section, all columns. tradefold copies row groups all of whose rows win as they are, which
  is level 1. It also says of every loser whether it is an exact copy, superseded or a conflict, which no peer does;
  `tradefold-unclassed` does not compare other columns than those of key and order.
- Each is a process of its own on the same cores, one after the other, in turns. The input is read before each run, so
  it comes from memory where it fits.
- Peers are told how much memory they may take; tradefold takes its default, half of what the machine has, unless a
  size stands behind its name.
- The input is what `tradefold generate` writes: texts that repeat lie in dictionaries, also where a row group has tens
  of thousands of them, and hashes lie there as they are.
- Who needs more than twice as long as the best DuckDB form runs once, and with one share of odd copies of a layout.
- Wall and CPU run from the moment that Python has loaded a peer's packages to the end of the process; for tradefold,
  of the whole process. Peak is the resident memory of the process. Temp is the largest size of its temporary files,
  looked at every 0.1 s.
- `duckdb-literal` has COALESCE in PARTITION BY, `duckdb-subquery` in a column of a subquery, `duckdb-plain` leaves it
  out, which gives the same rows as long as no order hash is `''` where another is NULL: checked before each run.
  `-ts` orders by the timestamp alone, without log_index and id: less work, and DuckDB plans no window then. The best
  form is the one with the shortest median.
- `datafusion` is stock DataFusion with the same query, `datafusion-total` with the query that tradefold renders.
- `floor` decodes every row once and encodes the winners, with parquet-rs as it comes, nothing else: which rows win is
  decided before its clock starts. tradefold leaves dictionaries out where the input's footers say that they save
  nothing; the floor does not.
"""


def wrapped(line):
    indent = "  " if line.startswith("- ") else ""
    return textwrap.fill(line, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def put_section(path, heading, text):
    """Puts a section in the place of the one of this heading, or at the end."""
    sections = {}
    if path.exists():
        for part in path.read_text().split("\n## ")[1:]:
            title, _, body = part.partition("\n")
            sections[title] = body.strip()
    sections[heading] = "\n".join(line if line.startswith("|") else wrapped(line) for line in text.strip().split("\n"))
    parts = [PREFACE.strip(), *(f"## {title}\n\n{body}" for title, body in sections.items())]
    path.write_text("\n\n".join(parts) + "\n")
