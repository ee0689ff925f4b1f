//! tradefold takes the duplicates out of event data before it reaches a warehouse, and accounts for every row.
//!
//! Data moves one way: files are landed as typed rows, one row of each key is kept, winners are cut into batches of
//! days, staged as Parquet, compared with the target and merged into it. Each room takes a plain value and hands on a
//! plain value; a room may use only rooms above it in this list, and only `run` knows them all.

pub mod error;
pub mod threads;
pub mod progress;
pub mod window;
pub mod spans;
pub mod footer;
pub mod retry;
pub mod google;
pub mod storage;
pub mod dataset;
pub mod sql;
pub mod source;
pub mod fetch;
pub mod landing;
pub mod kernel;
pub mod engine;
pub mod dedup;
pub mod balance;
pub mod diff;
pub mod plan;
pub mod stage;
pub mod warehouse;
pub mod ledger;
pub mod writer;
pub mod gc;
pub mod report;
pub mod analysis;
pub mod run;
pub mod follow;
pub mod migrate;
pub mod generate;
pub mod cli;
