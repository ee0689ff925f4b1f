//! All tests, in one binary. Each module is named for the room that it tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub
)]

mod analysis;
mod bench;
mod cli;
mod copy;
mod dataset;
mod dedup;
mod delta_reader;
mod diff;
mod error;
mod fetch;
mod footer;
mod gc;
mod generate;
mod googlesql;
mod kernel;
mod landing;
mod ledger;
mod migrate;
mod plan;
mod progress;
mod report;
mod retry;
mod rows;
mod run;
mod spans;
mod sql;
mod stage;
mod storage;
mod tidy;
mod warehouse;
mod writer;
