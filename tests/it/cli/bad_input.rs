//! Wrong calls and broken files: a text that helps, an exit code, and nothing left behind.

use super::Desk;
use crate::rows::{HOUR_US, LATE_US, batch, damage, row, text, trades, write};
use std::fmt::Write;
use tradefold::dedup::rule::Value;

/// Arguments after `backfill`, and the exit code.
const BAD: [(&str, i32); 24] = [
    ("", 2),
    ("--frm 2025-10-01 fixtures/dome_page.json", 2),
    ("--max-rejects -1 fixtures/dome_page.json", 2),
    ("--memory 1KB fixtures/dome_page.json", 2),
    ("--from 2026-01-02 --to 2026-01-01 fixtures/dome_page.json", 2),
    ("--from yesterday fixtures/dome_page.json", 2),
    ("none.ndjson", 2),
    ("empty", 2),
    ("texts", 2),
    ("texts/notes.txt", 2),
    ("fixtures/*.nothing", 2),
    ("ftp://host/file.csv", 2),
    ("http://host/file.csv", 2),
    ("fixtures/dome_page.json --warehouse gs://bucket/lake", 2),
    ("fixtures/dome_page.json --warehouse la[ke", 2),
    ("fixtures/truncated.parquet", 65),
    ("fixtures/page_cut_in_the_middle.json", 65),
    ("fixtures/dome_page.json fixtures/page_cut_in_the_middle.json", 65),
    ("fixtures/no_order_hash_column.csv", 2),
    ("fixtures/dome_page.json --key price", 2),
    ("fixtures/dome_page.json --key LOWER(tx_hash)", 2),
    ("fixtures/dome_page.json --dataset fills", 2),
    ("fixtures/dome_page.json --dataset fills.toml", 2),
    ("fixtures/dome_page.json --dataset fixtures/datasets/wrong/float_in_key.toml", 2),
];

#[test]
fn bad_input_is_refused_with_a_text_that_helps_and_nothing_is_written() {
    let mut messages = String::new();
    for (arguments, code) in BAD {
        let desk = Desk::new();
        std::fs::create_dir(desk.path("empty")).unwrap();
        desk.write("texts/notes.txt", "hello");
        let ran = desk.run(&format!("backfill {arguments} --quiet"));
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{arguments}: {}", ran.err);
        // Before a file is opened the writer's lock is taken, and it stays.
        assert!(desk.files("lake").iter().all(|file| file == "_tradefold/trades/lock"), "{arguments}");
        writeln!(messages, "$ tradefold backfill {arguments}\n{}[{code}]\n", ran.err).unwrap();
    }
    insta::assert_snapshot!(messages);
}

#[test]
fn a_wrong_call_of_another_command_is_refused_too() {
    for (arguments, says) in [
        ("analyze", "<FILES>..."),
        ("analyze fixtures/dome_page.json --order id", "--key <COLUMNS>"),
        ("analyze fixtures/dome_page.json --key id --order id --quiet", "column `id`"),
        ("analyze fixtures/demo-suspects --key nothing", "column `nothing`"),
        ("dedup fixtures/demo-suspects", "--output <FOLDER>"),
        ("dedup fixtures/dome_page.json -o out --quiet", "column `wallet_address`"),
        ("dedup fixtures/demo-suspects -o fixtures", "there is something in it"),
        ("dedup fixtures/demo-suspects -o out --dataset fixtures/datasets/wrong/json_in_key.toml", "line `3`"),
        ("plan fixtures/none.csv", "no such file"),
        ("status --warehouse s3://bucket/lake", "on the local disk"),
        ("completions tcsh", "possible values: bash"),
        ("migrate", "--from <PLACE>"),
        ("merge", "unrecognized subcommand 'merge'"),
    ] {
        let desk = Desk::new();
        let ran = desk.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments}: {}", ran.err);
        assert!(ran.err.starts_with("error: ") && ran.err.contains(says), "{arguments}: {}", ran.err);
        assert!(desk.files("lake").is_empty() && desk.files("out").is_empty(), "{arguments}");
    }
}

/// Landing does not read every column of a file that lands as it is: damage in the others is found before a merge.
#[test]
fn damage_in_a_column_that_landing_does_not_read_is_found_before_anything_is_written() {
    let dataset = trades();
    let known = |number: i64| {
        row(
            &dataset,
            &[
                ("wallet_address", text("0xa")),
                ("tx_hash", text(&format!("0x{number}"))),
                ("timestamp", Value::Int(LATE_US + number * HOUR_US)),
                ("log_index", Value::Int(number)),
                ("side", text("BUY")),
                ("source_run", text("run-1")),
                ("fetched_at", Value::Int(LATE_US + 90 * HOUR_US)),
            ],
        )
    };
    let rows = batch(&dataset, &(0..90).map(known).collect::<Vec<_>>());
    for column in ["timestamp", "log_index", "side", "source_run", "fetched_at", ""] {
        let desk = Desk::new();
        let path = desk.path("trades.parquet");
        write(&path, std::slice::from_ref(&rows), 40);
        if !column.is_empty() {
            damage(&path, 1, column);
        }
        let ran = desk.run("backfill trades.parquet --quiet");
        assert_eq!(ran.code, if column.is_empty() { 0 } else { 65 }, "{column}: {}", ran.err);
        if !column.is_empty() {
            assert!(ran.err.contains("trades.parquet") && ran.err.contains("fetch"), "{column}: {}", ran.err);
            let is_table = |file: &String| file.starts_with("trades/");
            assert!(!desk.files("lake").iter().any(is_table), "{column}: {:?}", desk.files("lake"));
        }
    }
}
