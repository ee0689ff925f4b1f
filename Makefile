# make demo    build, take the duplicates out of fixtures/demo into ./demo-lake, then show a stop
# make test    every check: format, lints, docs, tests (with their Python judges in .venv)
# make bench   time a backfill of 1.66 million generated trades with a release build, and check its answer
# make clean   remove what the others made

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:
.PHONY: demo test bench clean

demo:
	started=$$SECONDS
	echo "== Building tradefold; the first time this takes some minutes"
	cargo build
	built=$$SECONDS
	rm -rf demo-lake
	echo
	echo "== Raw trades with their duplicates, from fixtures/demo into a fresh table in ./demo-lake"
	echo "\$$ tradefold backfill fixtures/demo --warehouse demo-lake"
	cargo run -q -- backfill fixtures/demo --warehouse demo-lake
	echo
	echo "== A second file, in which rows of one key look like different trades: nothing may be written"
	echo "\$$ tradefold backfill fixtures/demo-suspects --warehouse demo-lake"
	code=0
	cargo run -q -- backfill fixtures/demo-suspects --warehouse demo-lake || code=$$?
	echo "exit code $$code"
	if [ $$code != 65 ]; then echo "expected 65, the stop for data that need a decision" >&2; exit 1; fi
	table=$$(dirname "$$(find demo-lake -type d -name _delta_log | sort | head -n 1)")
	echo
	echo "== Done in $$((SECONDS - built)) s, after $$((built - started)) s of building. Look into the table:"
	echo "duckdb:  INSTALL delta; LOAD delta; SELECT * FROM delta_scan('$$table') LIMIT 10;"
	echo "polars:  pl.scan_delta('$$table').head(10).collect()"

# Lints and docs share one pass over the dependencies, the tests need another. The tests come last so that their
# summary closes the output.
test: .venv/complete
	echo "== Format"
	cargo fmt --check
	echo "== Lints"
	cargo clippy --all-targets -- -D warnings
	echo "== Docs"
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --lib
	echo "== Tests"
	TRADEFOLD_PYTHON="$(CURDIR)/.venv/bin/python" cargo test

.venv/complete: tests/requirements.txt
	echo "== Python packages for the tests, and half a minute to compile GoogleSQL; only when requirements.txt changes"
	rm -rf .venv
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	.venv/bin/python tests/oracle/googlesql.py --compile
	touch $@

bench:
	cargo build --release
	python3 benches/backfill.py "$${CARGO_TARGET_DIR:-target}/release/tradefold"

clean:
	rm -rf demo-lake .venv
	cargo clean
