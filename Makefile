# make demo         build, take the duplicates out of fixtures/demo into ./demo-lake, then show a stop
# make test         every check: format, lints, docs, tests (with their Python judges in .venv)
# make bench        time dedup and analyze beside peers on 16.56 million generated trades, a backfill of 1.66 million; check
#                   the answers. Needs 10 GB of disk, 16 GB of memory and an hour; writes benches/RESULTS.md
# make bench-full   the same on 165.6 million trades, beside the best form of the fastest peer. Needs 60 GB of disk
# make scale        a backfill of 1.66 million generated trades into an emulator of BigQuery, twice, and an audit; a
#                   migration of as many within it, both ways, and back; and 400 days from an API of the tests, with one
#                   window in flight and with eight, with faults
# make live         the same against a project of your own: WAREHOUSE=bigquery://project.dataset STAGE=gs://bucket/prefix.
#                   Says what it will touch and what that costs; does it with YES=1
# make clean        remove what the others made

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:
.PHONY: demo test chromium bench bench-full scale live clean

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
test: .venv/complete chromium
	echo "== Format"
	cargo fmt --check
	echo "== Lints"
	cargo clippy --all-targets -- -D warnings
	echo "== Docs"
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --lib
	echo "== Tests"
	TRADEFOLD_PYTHON="$(CURDIR)/.venv/bin/python" cargo test

# A browser is no package of Python, so it is the system's. The names are those that tests/oracle/browser.py looks for.
chromium:
	for name in chromium chromium-browser google-chrome google-chrome-stable; do
	  if command -v "$$name" > /dev/null; then exit 0; fi
	done
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
	  echo "the tests open pages in Chromium and there is none: install it, on Debian with apt-get install chromium" >&2
	  exit 1
	fi
	echo "== Chromium for the tests; only where there is none"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium > /dev/null

.venv/complete: tests/requirements.txt
	echo "== Python packages for the tests, and half a minute to compile GoogleSQL; only when requirements.txt changes"
	rm -rf .venv
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	.venv/bin/python tests/oracle/googlesql.py --compile
	.venv/bin/python -c 'from duckdb_extensions import import_extension as i; [i(e) for e in ("spatial", "icu", "avro")]'
	touch $@

release := $${CARGO_TARGET_DIR:-target}/release/tradefold
timed := .venv-bench/bin/python benches/dedup.py --date "$$(date -u +%F)" --out benches/RESULTS.md

# Cargo names a benchmark's program for a digest, and says so only in JSON.
bench: .venv-bench/complete
	cargo build --release
	find='import json, sys; print(*filter(None, (json.loads(line).get("executable") for line in sys.stdin)), sep="\n")'
	floor=$$(cargo build --release --bench floor --message-format json | python3 -c "$$find" | grep /floor-)
	$(timed) --rows 16560000 "$(release)" "$$floor"
	.venv-bench/bin/python benches/analyze.py --date "$$(date -u +%F)" --out benches/RESULTS.md "$(release)"
	python3 benches/backfill.py "$(release)"

# At this size DuckDB's fastest form alone stands for the peers; `make bench` says which one that is.
bench-full: .venv-bench/complete
	cargo build --release
	$(timed) --rows 165600000 --cases rerun:0.1,spread:0.1 --runs 1 --timeout 3600 --memory 14GB --drop --curves \
	  --only tradefold:8GB,tradefold:2GB,duckdb-plain-ts "$(release)"

scale: .venv/complete
	cargo build --release
	export TRADEFOLD_PYTHON="$(CURDIR)/.venv/bin/python" TRADEFOLD_BINARY="$$(realpath "$(release)")"
	cargo test -- --ignored --nocapture --test-threads 1 into_the_emulator four_hundred_days

live:
	if [ -z "$(WAREHOUSE)" ] || [ -z "$(STAGE)" ]; then
	  echo "make live WAREHOUSE=bigquery://project.dataset STAGE=gs://bucket/prefix [YES=1]" >&2
	  exit 2
	fi
	cargo build
	python3 tests/live.py "$${CARGO_TARGET_DIR:-target}/debug/tradefold" "$(WAREHOUSE)" "$(STAGE)" $(if $(YES),--yes)

.venv-bench/complete: benches/requirements.txt
	echo "== Python packages of the peers; only when requirements.txt changes"
	rm -rf .venv-bench
	python3 -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r benches/requirements.txt
	touch $@

clean:
	rm -rf demo-lake .venv .venv-bench
	cargo clean
