//! What a server serves of the known set, in which order, and how often.

use super::faults::{Fault, RowFault};
use super::known::{Known, Trade};
use super::page::{Page, cut};
use fastrand::Rng;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often each trade is served, on average. It is whole rows that repeat, one right after the other.
    pub copies: f64,
    /// Dome knows no pagination keys yet.
    pub is_offset_only: bool,
    /// The highest offset at Dome.
    pub offset_cap: usize,
    /// The highest offset at the first Data API.
    pub data_offset_cap: usize,
    /// How long each answer takes.
    pub latency: Duration,
    /// Whether answers are packed for whoever takes gzip.
    pub is_gzip: bool,
    /// Taken in turn by every so manieth row of the known set, by its place there.
    pub row_faults: Vec<RowFault>,
    pub row_fault_every: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            copies: 1.0,
            is_offset_only: false,
            offset_cap: 10_000,
            data_offset_cap: 3_000,
            latency: Duration::ZERO,
            is_gzip: false,
            row_faults: Vec::new(),
            row_fault_every: 50,
        }
    }
}

/// The known set as it is served.
pub struct World {
    pub known: Known,
    pub settings: Settings,
    /// Places in the known set, newest first, repeated as they are served.
    order: Vec<usize>,
    arrived: u128,
}

/// From where on a page is asked for.
pub enum Start<'a> {
    Offset(usize),
    /// The cursor and what it says.
    After(&'a str, Value),
}

/// Which trades are asked for.
pub struct Asked<'a> {
    pub fits: &'a dyn Fn(&Trade) -> bool,
    /// Both inclusive, as the APIs have it.
    pub from_s: i64,
    pub to_s: i64,
    pub start: Start<'a>,
    pub limit: usize,
    pub is_bare: bool,
}

impl World {
    pub fn new(known: Known, settings: Settings) -> World {
        let mut world = World { known, settings, order: Vec::new(), arrived: 0 };
        world.sort();
        world
    }

    pub fn add(&mut self, trades: Vec<Trade>) {
        self.known.trades.extend(trades);
        self.sort();
    }

    fn sort(&mut self) {
        let spread = (self.settings.copies - 1.0) * 2.0;
        let trades = &self.known.trades;
        let copies = |at: usize| {
            let share = Rng::with_seed(xxh3_64(trades[at].tx_hash.as_bytes()) + at as u64).f64();
            std::iter::repeat_n(at, 1 + (share * spread + 0.5) as usize)
        };
        self.order = (0..trades.len()).flat_map(copies).collect();
        self.order.sort_by(|a, b| place(&trades[*a]).cmp(&place(&trades[*b])));
    }

    /// What is odd about a row of the known set.
    pub fn row_fault(&self, at: usize) -> Option<RowFault> {
        let (every, faults) = (self.settings.row_fault_every, &self.settings.row_faults);
        let turn = at / every;
        let fault = *faults.get(turn % faults.len().max(1)).filter(|_| at.is_multiple_of(every))?;
        (fault != RowFault::NotUtf8 || turn < faults.len()).then_some(fault)
    }

    /// A page of trades, newest first, how many there are in all, and whether the fault happened.
    pub fn trades(&mut self, asked: &Asked, fault: Option<Fault>, form: fn(&Trade) -> Value) -> (Page<Value>, usize) {
        let is_in = |trade: &Trade| (asked.from_s..=asked.to_s).contains(&trade.timestamp_s);
        let list = |world: &World| -> Vec<usize> {
            let trades = &world.known.trades;
            world.order.iter().copied().filter(|at| is_in(&trades[*at]) && (asked.fits)(&trades[*at])).collect()
        };
        let mut found = list(self);
        let mut has_failed = false;
        if let (Some(Fault::Shifted), Start::Offset(1..), Some(top)) = (fault, &asked.start, found.first()) {
            let top = self.known.trades[*top].clone();
            let arrivals = (0..3).map(|_| self.arrival(&top)).collect();
            self.add(arrivals);
            found = list(self);
            has_failed = true;
        }
        let trades = &self.known.trades;
        let (start, cursor) = match &asked.start {
            Start::Offset(offset) => (*offset, None),
            Start::After(cursor, key) => {
                let copies = key["copies"].as_u64().unwrap_or(0) as usize;
                let key = key_place(key);
                (found.partition_point(|at| place(&trades[*at]) < key) + copies, Some(*cursor))
            }
        };
        let total = found.len();
        let key = |at: &usize| {
            let trade = &trades[*at];
            json!({ "block_timestamp": trade.timestamp_s, "tx_hash": trade.tx_hash, "log_index": trade.log_index,
                "total": total })
        };
        let mut page = cut(&found, start, asked.limit, cursor, asked.is_bare, fault, key);
        if fault == Some(Fault::OutsideRows) {
            let outside = |at: &&usize| !is_in(&trades[**at]) && (asked.fits)(&trades[**at]);
            let outside: Vec<usize> = self.order.iter().filter(outside).take(2).copied().collect();
            has_failed = !outside.is_empty();
            page.rows.extend(outside);
        }
        let row = |at: &usize| {
            let mut row = form(&trades[*at]);
            if let Some(fault) = self.row_fault(*at) {
                fault.spoil(&mut row);
            }
            row
        };
        let rows = page.rows.iter().map(row).collect();
        let has_failed = page.has_failed || has_failed;
        (Page { rows, has_more: page.has_more, next: page.next, has_failed }, total)
    }

    /// A trade that comes before the one that is on top.
    fn arrival(&mut self, top: &Trade) -> Trade {
        self.arrived += 1;
        let (tx_hash, order_hash) = (self.arrived, self.arrived + (1 << 64));
        // Each comes before those that arrived earlier.
        let tx_hash = format!("0x{:064x}", u128::from(u64::MAX) - tx_hash);
        Trade { tx_hash, order_hash: format!("0x{order_hash:064x}"), ..top.clone() }
    }
}

/// What trades are sorted by: newest first, and nothing is left to chance.
fn place(trade: &Trade) -> (Reverse<i64>, &str, i64) {
    (Reverse(trade.timestamp_s), &trade.tx_hash, i64::from(trade.log_index))
}

/// The place that a cursor names; one that names none stands before the first row.
fn key_place(key: &Value) -> (Reverse<i64>, &str, i64) {
    let at_s = key["block_timestamp"].as_i64().unwrap_or(i64::MAX);
    (Reverse(at_s), key["tx_hash"].as_str().unwrap_or_default(), key["log_index"].as_i64().unwrap_or_default())
}
