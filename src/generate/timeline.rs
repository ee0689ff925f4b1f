//! Every row of a recipe, each known from its key's number and its run alone.

use super::Recipe;
use super::chance::{Draws, Kind, mix};
use super::market::{Market, Outcome};
use super::shape::{Fill, OPEN_MARKETS, Shape, WALLETS};
use crate::error::{Error, Result};

/// How many runs caught the fills.
pub(super) const RUNS: u8 = 3;

/// How many rows a run writes down in a second.
const ROWS_A_SECOND: u64 = 2_000;

/// The two exchange contracts, the makers' counterpart in the fill of a taker's order.
const EXCHANGES: [&str; 2] =
    ["0x4bfb41d5b3570defd03c39a9a4d8de6bd8b8982e", "0xc5d563a36ae78145c45a50134d48a1215220f80a"];

/// One row, as an ingester wrote it.
#[derive(Debug, Default)]
pub(super) struct Row<'a> {
    pub(super) wallet_address: String,
    pub(super) tx_hash: String,
    pub(super) order_hash: Option<String>,
    /// Seconds since 1970-01-01 UTC, as all times here.
    pub(super) timestamp: i64,
    pub(super) log_index: Option<i64>,
    pub(super) block_number: i64,
    pub(super) id: String,
    pub(super) condition_id: Option<&'a str>,
    pub(super) token_id: &'a str,
    pub(super) token_label: &'a str,
    pub(super) market_slug: &'a str,
    pub(super) title: &'a str,
    pub(super) side: &'static str,
    pub(super) shares: i64,
    pub(super) price: f64,
    pub(super) taker: String,
    pub(super) run: u8,
    pub(super) fetched_at: i64,
}

/// All rows of a recipe: keys in the order of time, each with one to three copies.
#[derive(Debug)]
pub(super) struct Timeline {
    pub(super) seed: u64,
    pub(super) shape: Shape,
    markets: Vec<Market>,
    pub(super) rows: u64,
    pub(super) keys: u64,
    txs: u64,
    start: i64,
    seconds: u64,
    pub(super) odd_share: f64,
    pub(super) stretch: u64,
    pub(super) suspects: u64,
    pub(super) can_be_suspect: u64,
}

impl Timeline {
    pub(super) fn new(recipe: &Recipe) -> Result<Timeline> {
        let refused = |why: &str| Err(Error::usage("generate trades").because(why));
        if recipe.rows == 0 || recipe.days == 0 || recipe.files == 0 || recipe.row_group_rows == 0 {
            return refused("rows, days, files and rows of a row group must be at least 1");
        }
        if !(0.0..=1.0).contains(&recipe.odd_share) {
            return refused("the share of odd row groups must be from 0 to 1");
        }
        let shape = Shape::draw(recipe.seed, recipe.rows);
        let markets = (OPEN_MARKETS + recipe.rows / 4_000).min(20_000);
        let mut timeline = Timeline {
            seed: recipe.seed,
            markets: (0..markets).map(|number| Market::draw(recipe.seed, number)).collect(),
            rows: recipe.rows,
            keys: 0,
            txs: 0,
            start: recipe.first_day.start_us() / 1_000_000,
            seconds: u64::from(recipe.days) * 86_400,
            odd_share: recipe.odd_share,
            stretch: recipe.row_group_rows as u64,
            suspects: recipe.suspects,
            can_be_suspect: 0,
            shape,
        };
        let last = timeline.at_row(recipe.rows - 1).0;
        timeline.keys = last + 1;
        timeline.txs = timeline.tx_of(last) + 1;
        // The last key may be cut short, so it is left alone.
        timeline.can_be_suspect = timeline.rank(last);
        if recipe.suspects > timeline.can_be_suspect {
            return refused("there are not enough takers with copies to make so many keys suspect");
        }
        Ok(timeline)
    }

    /// How many fills there are.
    pub(super) fn keys(&self) -> u64 {
        self.keys
    }

    /// The key and the run of a row, counted key by key.
    pub(super) fn at_row(&self, row: u64) -> (u64, u8) {
        let rows = self.shape.rows.len() as u64;
        let (fill, run) = self.shape.rows[(row % rows) as usize];
        (row / rows * self.shape.fills.len() as u64 + u64::from(fill), run)
    }

    /// The runs that caught a key, one bit for each.
    pub(super) fn runs_of(&self, key: u64) -> u8 {
        let fill = self.fill(key);
        if key + 1 < self.keys {
            return fill.runs;
        }
        // The number of rows may end within the last key: its latest runs are left out.
        let rows = self.rows - (self.block(key) * self.shape.rows.len() as u64 + u64::from(fill.first_row));
        (0..RUNS).map(|run| fill.runs & (1 << run)).filter(|bit| *bit != 0).take(rows as usize).sum()
    }

    fn block(&self, key: u64) -> u64 {
        key / self.shape.fills.len() as u64
    }

    pub(super) fn fill(&self, key: u64) -> &Fill {
        &self.shape.fills[(key % self.shape.fills.len() as u64) as usize]
    }

    fn tx_of(&self, key: u64) -> u64 {
        self.block(key) * self.shape.txs + u64::from(self.fill(key).tx)
    }

    /// How many keys before this one can be made suspect.
    pub(super) fn rank(&self, key: u64) -> u64 {
        let within = key % self.shape.fills.len() as u64;
        let before = self.shape.can_be_suspect.partition_point(|fill| u64::from(*fill) < within);
        self.block(key) * self.shape.can_be_suspect.len() as u64 + before as u64
    }

    /// Millionths of a share: what the makers give, and the sum of it for the taker.
    pub(super) fn shares(&self, key: u64) -> i64 {
        let fill = self.fill(key);
        if fill.is_taker {
            return (key - u64::from(fill.place)..key).map(|maker| self.shares(maker)).sum();
        }
        let mut draws = Draws::of(self.seed, Kind::Shares, key);
        let most = 10u64.pow(1 + draws.below(4) as u32);
        let (unit, units) = match draws.below(20) {
            0..12 => (1_000_000, most),
            12..15 => (10_000, most * 100),
            _ => (1, most * 1_000_000),
        };
        (1_000_000 + draws.below(units) * unit) as i64
    }

    /// Whole millionths of a dollar, divided by shares: a decimal price often gets a tail from it.
    pub(super) fn price(&self, key: u64, shares: i64) -> f64 {
        let dollars = (i64::from(self.fill(key).order.mills) * shares + 500) / 1_000;
        dollars as f64 / shares as f64
    }

    /// Writes the row of a key that a run caught over `row`.
    pub(super) fn fill_row<'a>(&'a self, key: u64, run: u8, row: &mut Row<'a>) {
        let (fill, block, tx) = (self.fill(key), self.block(key), self.tx_of(key));
        let market = mix(self.seed ^ (block * OPEN_MARKETS + u64::from(fill.market))) % self.markets.len() as u64;
        let market = &self.markets[market as usize];
        let Outcome { token_id, label } = &market.outcomes[usize::from(fill.order.outcome)];
        let seconds = (u128::from(tx) * u128::from(self.seconds) / u128::from(self.txs)) as i64;
        let mut tx_draws = Draws::of(self.seed, Kind::Tx, tx);
        tx_draws.hex::<32>(&mut row.tx_hash);
        let order = block * self.shape.orders + u64::from(fill.order.number);
        let order_hash = row.order_hash.get_or_insert_default();
        let draws = Draws::of(self.seed, Kind::Order, order);
        draws.clone().hex::<32>(order_hash);
        // Ingesters invent ids: this one takes the first 16 digits of the order hash.
        draws.clone().hex::<8>(&mut row.id);
        self.wallet(fill.order.wallet, &mut row.wallet_address);
        match fill.is_taker {
            true => {
                row.taker.clear();
                row.taker.push_str(EXCHANGES[usize::from(market.negative_risk)]);
            }
            false => self.wallet(fill.taker_wallet, &mut row.taker),
        }
        row.timestamp = self.start + seconds;
        row.block_number = (row.timestamp - 1_600_000_000).max(0) / 2;
        // Each fill leaves a few logs of tokens that move as well.
        row.log_index = Some(tx_draws.below(1_500) as i64 + 5 * i64::from(fill.place));
        (row.condition_id, row.token_id, row.token_label) = (Some(market.condition_id.as_str()), token_id, label);
        (row.market_slug, row.title) = (&market.slug, &market.title);
        row.side = if fill.order.sells { "SELL" } else { "BUY" };
        row.shares = self.shares(key);
        row.price = self.price(key, row.shares);
        row.run = run;
        row.fetched_at = self.start + (self.seconds + u64::from(run) * 86_400 + key / ROWS_A_SECOND) as i64;
        if let Some(odd) = self.odd(key) {
            self.make_odd(odd, key, row);
        }
    }

    fn wallet(&self, number: u32, text: &mut String) {
        Draws::of(self.seed, Kind::Wallet, u64::from(number) % WALLETS).hex::<20>(text);
    }
}
