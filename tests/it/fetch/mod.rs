//! Fetching trades: a server of the tests that answers as the APIs do, knows what it has, and goes wrong where a test
//! wants it.

mod api;
mod dome;
mod failing;
mod faults;
mod following;
mod forms;
mod known;
mod page;
mod polymarket;
mod serving;
mod syncing;
mod troubles;
mod walks;
mod world;
