//! The shape of trading: which transactions fill which orders of which wallets, and which runs caught each fill.
//!
//! It is drawn once for a block of fills and repeated along the time line with other hashes, wallets aside, so that
//! the fill at any place is known without the fills before it.

use super::chance::{Draws, Kind};

/// How many fills a block has, roughly: it ends with the transaction that reaches this number.
const BLOCK_FILLS: u64 = 65_536;

/// How many wallets trade. A few of them do most of it.
pub(super) const WALLETS: u64 = 2_000;

/// How many markets trade at a time.
pub(super) const OPEN_MARKETS: u64 = 48;

/// The most maker orders that one taker order sweeps.
const MAX_MAKERS: u64 = 98;

/// How often resting orders fill before they are gone.
const FILLS_OF_ORDERS: [u32; 20] = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 4, 4, 13, 13, 28, 35];

/// An order. Its number counts within the block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) number: u32,
    pub(super) wallet: u32,
    pub(super) outcome: u8,
    pub(super) sells: bool,
    /// Its price in thousandths of a dollar.
    pub(super) mills: u16,
}

/// One fill of one order, by a transaction that counts within the block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill {
    pub(super) tx: u32,
    /// Its place among the transaction's logs; the taker's fill is the last.
    pub(super) place: u16,
    pub(super) is_taker: bool,
    pub(super) market: u16,
    pub(super) order: Order,
    /// How often the order was filled before.
    pub(super) filled_before: u32,
    pub(super) taker_wallet: u32,
    /// One bit for each run that caught it.
    pub(super) runs: u8,
    /// The rows of the block before its first.
    pub(super) first_row: u32,
}

/// A block of fills.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) fills: Vec<Fill>,
    pub(super) txs: u64,
    pub(super) orders: u64,
    /// For each row of the block its fill and the run that wrote it.
    pub(super) rows: Vec<(u32, u8)>,
    /// Fills that can be made suspect: takers' (no other fill of the transaction is of the same wallet) with copies.
    pub(super) can_be_suspect: Vec<u32>,
}

/// An order that waits in the book.
struct Resting {
    order: Order,
    filled: u32,
    fills: u32,
    last_tx: u32,
}

impl Shape {
    /// The block of a seed, cut short where fewer fills are needed.
    pub(super) fn draw(seed: u64, fills: u64) -> Shape {
        let mut draws = Draws::of(seed, Kind::Shape, 0);
        let mut shape = Shape { fills: Vec::new(), txs: 0, orders: 0, rows: Vec::new(), can_be_suspect: Vec::new() };
        let levels: Vec<u16> = (0..OPEN_MARKETS).map(|_| draw_price(&mut draws)).collect();
        let mut book: Vec<Vec<Resting>> = (0..OPEN_MARKETS * 4).map(|_| Vec::new()).collect();
        while (shape.fills.len() as u64) < fills.min(BLOCK_FILLS) {
            shape.add_tx(&mut draws, &levels, &mut book);
        }
        for number in 0..shape.fills.len() {
            let (fill, row) = (&mut shape.fills[number], shape.rows.len() as u32);
            (fill.runs, fill.first_row) = (draw_runs(&mut draws), row);
            shape.rows.extend((0..3).filter(|run| fill.runs & (1 << run) != 0).map(|run| (number as u32, run)));
            if fill.is_taker && fill.runs.count_ones() > 1 {
                shape.can_be_suspect.push(number as u32);
            }
        }
        shape
    }

    /// One taker's order and the makers' orders that it meets, whose fills are logged first.
    fn add_tx(&mut self, draws: &mut Draws, levels: &[u16], book: &mut [Vec<Resting>]) {
        let tx = self.txs as u32;
        self.txs += 1;
        // Products of uniform draws favour the low numbers.
        let market = (draws.share() * draws.share() * OPEN_MARKETS as f64) as u16;
        let level = levels[usize::from(market)];
        let (outcome, sells, taker_wallet) = (draws.below(2) as u8, draws.happens(0.17), draw_wallet(draws));
        let mills = price_near(draws, level, outcome);
        let order = Order { number: self.orders as u32, wallet: taker_wallet, outcome, sells, mills };
        self.orders += 1;
        let makers = draw_makers(draws) as u16;
        let (place, is_taker, filled_before) = (makers, true, 0);
        let taker = Fill { tx, place, is_taker, market, order, filled_before, taker_wallet, runs: 0, first_row: 0 };
        for place in 0..makers {
            // Two buyers of opposite outcomes mint a pair, two sellers merge one; else shares change hands.
            let pairs = draws.happens(if sells { 0.2 } else { 0.75 });
            let (outcome, sells) = if pairs { (1 - outcome, sells) } else { (outcome, !sells) };
            let side = &mut book[usize::from(market) * 4 + usize::from(outcome) * 2 + usize::from(sells)];
            let waiting = side.iter().position(|r| r.last_tx != tx && r.order.wallet != taker_wallet);
            let at = waiting.filter(|_| draws.happens(0.75)).unwrap_or_else(|| {
                let neighbour = self.fills.last().filter(|fill| fill.tx == tx && draws.happens(0.03));
                let wallet = neighbour.map(|fill| fill.order.wallet);
                let wallet = wallet.unwrap_or_else(|| draw_other_wallet(draws, taker_wallet));
                let mills = price_near(draws, level, outcome);
                let fills = FILLS_OF_ORDERS[draws.below(FILLS_OF_ORDERS.len() as u64) as usize];
                let order = Order { number: self.orders as u32, wallet, outcome, sells, mills };
                self.orders += 1;
                side.push(Resting { order, filled: 0, fills, last_tx: tx });
                side.len() - 1
            });
            let resting = &mut side[at];
            let (order, filled_before) = (resting.order, resting.filled);
            (resting.filled, resting.last_tx) = (filled_before + 1, tx);
            if resting.filled == resting.fills {
                side.remove(at);
            }
            self.fills.push(Fill { place, is_taker: false, order, filled_before, ..taker });
        }
        self.fills.push(taker);
    }
}

/// Mostly one, 1.60 on average, rarely a sweep of up to a hundred.
fn draw_makers(draws: &mut Draws) -> u64 {
    match draws.below(100) {
        0..74 => 1,
        74..90 => 2,
        90..96 => 3,
        96..98 => 4,
        _ => ((4.0 / draws.share()) as u64).min(MAX_MAKERS),
    }
}

/// All three runs caught most fills: 2.81 copies on average.
fn draw_runs(draws: &mut Draws) -> u8 {
    match draws.below(1000) {
        0..832 => 0b111,
        832..978 => [0b011, 0b101, 0b110][draws.below(3) as usize],
        _ => 1 << draws.below(3),
    }
}

fn draw_wallet(draws: &mut Draws) -> u32 {
    (draws.share() * draws.share() * draws.share() * WALLETS as f64) as u32
}

fn draw_other_wallet(draws: &mut Draws, other: u32) -> u32 {
    let wallet = draw_wallet(draws);
    if wallet == other { (wallet + 1) % WALLETS as u32 } else { wallet }
}

/// Whole cents mostly, tenths of a cent sometimes.
fn draw_price(draws: &mut Draws) -> u16 {
    if draws.happens(0.85) { 30 + 10 * draws.below(95) as u16 } else { 30 + draws.below(940) as u16 }
}

/// A price within two cents of the market's level for the outcome.
fn price_near(draws: &mut Draws, level: u16, outcome: u8) -> u16 {
    let level = if outcome == 0 { level } else { 1000 - level };
    level + 10 * draws.below(5) as u16 - 20
}
