//! Keys with an oddity: where they stand, what it does to their rows, and what a dedup must find there.

use super::Planted;
use super::chance::{Draws, Kind};
use super::timeline::{RUNS, Row, Timeline};

/// In odd stretches one fill of this many is odd.
const ODD_EVERY: u64 = 8;

/// What is odd about a key. Where nothing else is said, one of its copies is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Odd {
    /// It has another id.
    NewId,
    /// Its time is off by whole hours.
    Redated,
    /// Its price has eight decimals.
    PricePrecision,
    /// Its wallet is in upper case.
    WalletCase,
    /// It lost its order hash.
    NoOrderHash,
    /// It has another log index, which makes the key suspect.
    OtherLogIndex,
    /// No copy knows its market.
    Orphan,
    /// The rows are separate fills whose order hashes nobody wrote down, which makes the key suspect.
    SeparateFills,
}

impl Timeline {
    /// What is odd about a key: suspects evenly over the time line, the rest in odd stretches only.
    pub(super) fn odd(&self, key: u64) -> Option<Odd> {
        let (fill, copies) = (self.fill(key), self.runs_of(key).count_ones());
        if self.suspects > 0 && fill.is_taker && copies > 1 && key + 1 < self.keys {
            // The n-th suspect stands at floor(n * can_be_suspect / suspects).
            let rank = self.rank(key);
            let number = (rank * self.suspects).div_ceil(self.can_be_suspect);
            if number < self.suspects && number * self.can_be_suspect / self.suspects == rank {
                return Some(if number.is_multiple_of(2) { Odd::SeparateFills } else { Odd::OtherLogIndex });
            }
        }
        let odd_before = |stretches: u64| (stretches as f64 * self.odd_share).ceil() as u64;
        let stretch = key / self.stretch;
        if odd_before(stretch) == odd_before(stretch + 1) {
            return None;
        }
        let mut draws = Draws::of(self.seed, Kind::IsOdd, key);
        if draws.below(ODD_EVERY) != 0 {
            return None;
        }
        match draws.below(if fill.is_taker { 6 } else { 5 }) {
            0 => Some(Odd::Orphan),
            _ if copies == 1 => None,
            1 => Some(Odd::Redated),
            2 => Some(Odd::WalletCase),
            3 | 4 if self.has_price_tail(key) => Some(Odd::PricePrecision),
            3 | 4 => Some(Odd::NewId),
            _ => Some(Odd::NoOrderHash),
        }
    }

    /// Which copy of an odd key is the odd one.
    fn odd_run(&self, key: u64) -> u8 {
        let runs = self.runs_of(key);
        let nth = Draws::of(self.seed, Kind::OddCopy, key).below(u64::from(runs.count_ones().max(1)));
        (0..RUNS).filter(|run| runs & (1 << run) != 0).nth(nth as usize).unwrap_or(0)
    }

    fn has_price_tail(&self, key: u64) -> bool {
        let price = self.price(key, self.shares(key));
        rounded(price) != price
    }

    /// Changes a row as its key's oddity demands.
    pub(super) fn make_odd(&self, odd: Odd, key: u64, row: &mut Row<'_>) {
        let mut draws = Draws::of(self.seed, Kind::Oddity, key);
        match odd {
            Odd::Orphan => row.condition_id = draws.happens(0.5).then_some(""),
            Odd::SeparateFills => {
                let mut draws = Draws::of(self.seed, Kind::SeparateFill, key * u64::from(RUNS) + u64::from(row.run));
                (row.order_hash, row.log_index) = (None, None);
                draws.hex::<8>(&mut row.id);
                row.shares += 1_000_000 * draws.below(50) as i64;
                row.price = self.price(key, row.shares);
            }
            _ if row.run != self.odd_run(key) => {}
            Odd::NewId => draws.hex::<8>(&mut row.id),
            Odd::Redated => {
                let hours = 1 + draws.below(8) as i64;
                row.timestamp += 3_600 * if draws.happens(0.5) { hours } else { -hours };
            }
            Odd::PricePrecision => row.price = rounded(row.price),
            Odd::WalletCase => row.wallet_address = format!("0x{}", row.wallet_address[2..].to_uppercase()),
            Odd::NoOrderHash => row.order_hash = None,
            Odd::OtherLogIndex => row.log_index = row.log_index.map(|index| index + 1),
        }
    }

    /// Counts what a dedup must find, under the contract of trades: `timestamp`, `log_index`, `id`, each descending.
    pub(super) fn planted(&self) -> Planted {
        let mut planted = Planted { rows: self.rows, keys: self.keys, ..Planted::default() };
        let (mut odd_row, mut other_row) = (Row::default(), Row::default());
        for key in 0..self.keys {
            let runs = self.runs_of(key);
            let copies = u64::from(runs.count_ones());
            planted.classes.e_order_in_other_tx += u64::from(self.fill(key).filled_before > 0);
            let Some(odd) = self.odd(key) else {
                planted.exact += copies - 1;
                planted.classes.a_exact_copy += copies - 1;
                continue;
            };
            let odd_run = self.odd_run(key);
            let other_run = (0..RUNS).find(|run| runs & (1 << run) != 0 && *run != odd_run).unwrap_or(odd_run);
            self.fill_row(key, odd_run, &mut odd_row);
            self.fill_row(key, other_run, &mut other_row);
            planted.add_odd(odd, copies, &odd_row, &other_row);
        }
        planted
    }
}

impl Planted {
    /// Counts an odd key: its odd row and one of its others, which are all alike.
    fn add_odd(&mut self, odd: Odd, copies: u64, row: &Row<'_>, other: &Row<'_>) {
        let classes = &mut self.classes;
        classes.a_exact_copy += match odd {
            Odd::Orphan => copies - 1,
            Odd::SeparateFills => 0,
            _ => copies - 2,
        };
        // Against a winner that is odd all others lose by the oddity; else only the odd row does.
        let (by_oddity, is_winner) = match odd {
            Odd::Orphan => {
                classes.k_orphan += 1;
                self.exact += copies - 1;
                return;
            }
            Odd::WalletCase => {
                classes.h_wallet_case += 1;
                self.exact += copies - 1;
                return;
            }
            Odd::NoOrderHash => {
                // A key of its own, so nothing loses to it and it loses to nothing.
                classes.c_no_order_hash += 1;
                self.keys += 1;
                self.exact += copies - 2;
                return;
            }
            Odd::NewId => {
                classes.b_new_id += 1;
                (&mut self.superseded, row.id > other.id)
            }
            Odd::Redated => {
                classes.f_redated += 1;
                self.redated_keys += 1;
                (&mut self.superseded, row.timestamp > other.timestamp)
            }
            Odd::PricePrecision => {
                classes.g_price_precision += 1;
                (&mut self.conflict, row.price > other.price)
            }
            Odd::OtherLogIndex => {
                classes.i_other_log_index += 1;
                self.suspect_keys += 1;
                self.suspect_rows += copies;
                (&mut self.superseded, row.log_index > other.log_index)
            }
            Odd::SeparateFills => {
                // No two are alike, so whichever wins, all others lose to it.
                classes.d_separate_fills += copies;
                self.suspect_keys += 1;
                self.suspect_rows += copies;
                (&mut self.superseded, true)
            }
        };
        *by_oddity += if is_winner { copies - 1 } else { 1 };
        self.exact += if is_winner { 0 } else { copies - 2 };
    }
}

/// A price with eight decimals, as some databases keep it.
fn rounded(price: f64) -> f64 {
    (price * 1e8).round() / 1e8
}
