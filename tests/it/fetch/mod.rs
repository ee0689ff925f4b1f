//! Fetching trades: a server of the tests that answers as the APIs do, knows what it has, and goes wrong where a test
//! wants it.

mod api;
mod asking;
mod dome;
mod failing;
mod faults;
mod following;
mod forms;
mod kept_pages;
mod known;
mod page;
mod polymarket;
mod serving;
mod syncing;
mod troubles;
mod walks;
mod world;

pub use api::{Api, KEY};
pub use faults::{Fault, Faults, RowFault};
pub use following::FIRST_S;
pub use known::Known;
pub use world::Settings;
