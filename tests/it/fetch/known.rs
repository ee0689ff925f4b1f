//! What the server has: trades, markets and events that look like real ones, the same for the same seed.

use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// How many wallets trade.
pub const WALLETS: usize = 30;
/// How many markets have trades and are known to nobody.
const ORPHANS: usize = 3;
/// The contract that stands for the other side of a taker's row.
const EXCHANGE: &str = "0x4bfb41d5b3570defd03c39a9a4d8de6bd8b8982e";

/// One fill of one order, whichever API tells of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trade {
    pub timestamp_s: i64,
    pub block_number: i64,
    pub tx_hash: String,
    pub log_index: u32,
    pub order_hash: String,
    /// Whose order was filled.
    pub wallet: String,
    /// The other side.
    pub taker: String,
    /// Whether the order was the one that took. No API says so, and one leaves out the others unless it is asked.
    pub is_taker: bool,
    pub condition_id: String,
    pub token_id: String,
    pub label: String,
    pub outcome_index: usize,
    pub slug: String,
    pub event_slug: String,
    pub title: String,
    pub side: &'static str,
    /// Millionths of a share.
    pub shares: i64,
    pub price: f64,
}

/// A question with two answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Market {
    pub id: usize,
    pub condition_id: String,
    pub slug: String,
    pub title: String,
    pub event_slug: String,
    pub token_ids: [String; 2],
    pub labels: [&'static str; 2],
    pub volume: i64,
    pub start_s: i64,
    pub end_s: i64,
    /// Which answer was right, once it is closed.
    pub winner: Option<usize>,
}

/// What several markets ask about.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: usize,
    pub slug: String,
    pub title: String,
    pub volume: i64,
    pub start_s: i64,
    pub end_s: i64,
    pub is_closed: bool,
}

/// Everything that a server has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    pub trades: Vec<Trade>,
    pub markets: Vec<Market>,
    pub events: Vec<Event>,
    /// The wallets of the trades. The first one has most rows of the crowded second.
    pub wallets: Vec<String>,
}

/// An order that rests and is filled in several transactions.
#[derive(Clone)]
struct Order {
    market: usize,
    wallet: usize,
    hash: String,
    is_buy: bool,
    outcome: usize,
}

struct Maker {
    rng: Rng,
    first_s: i64,
    markets: Vec<Market>,
    wallets: Vec<String>,
    orders: Vec<Order>,
    trades: Vec<Trade>,
    transactions: usize,
    /// The last log of each second.
    logs: BTreeMap<i64, u32>,
}

impl Known {
    /// So many trades on so many days from the midnight `first_day_s` on, in the order of time, with all that makes
    /// trades hard to page: bursts of one second, one second with a third of all rows or 1,320, rows on full hours,
    /// orders that fill in several transactions, several orders of a wallet in one, equal fills, markets that nobody
    /// knows, and one trade without a market.
    pub fn generate(seed: u64, trades: usize, days: u32, first_day_s: i64) -> Known {
        let mut rng = Rng::with_seed(seed);
        let wallets = (0..WALLETS).map(|_| format!("0x{:032x}{:08x}", rng.u128(..), rng.u32(..))).collect();
        let span_s = i64::from(days) * 86_400;
        let markets = markets(&mut rng, (trades / 60).clamp(8, 300), first_day_s, span_s);
        let (orders, logs) = (Vec::new(), BTreeMap::new());
        let mut maker =
            Maker { rng, first_s: first_day_s, markets, wallets, orders, trades: Vec::new(), transactions: 0, logs };
        let crowd = 1_320.min(trades / 3);
        let mut is_crowd_over = false;
        while maker.trades.len() < trades {
            let done = maker.trades.len();
            let mut at_s = first_day_s + span_s * done as i64 / trades as i64;
            if maker.rng.u8(..10) == 0 {
                at_s -= at_s.rem_euclid(3_600);
            }
            if !is_crowd_over && done >= trades / 2 {
                is_crowd_over = true;
                while maker.trades.len() < done + crowd {
                    maker.transact(at_s, 5, Some(0));
                }
                continue;
            }
            let many = if maker.rng.u8(..12) == 0 { maker.rng.usize(2..=3) } else { 1 };
            for _ in 0..many {
                let legs = [1, 1, 1, 1, 1, 1, 2, 2][maker.rng.usize(..8)];
                let legs = if maker.rng.u8(..60) == 0 { maker.rng.usize(4..=8) } else { legs };
                maker.transact(at_s, legs, None);
            }
        }
        maker.trades.truncate(trades);
        if let Some(trade) = maker.trades.get_mut(trades / 4) {
            trade.condition_id.clear();
        }
        maker.markets.truncate(maker.markets.len() - ORPHANS);
        let events = events(&maker.markets);
        Known { trades: maker.trades, markets: maker.markets, events, wallets: maker.wallets }
    }
}

impl Maker {
    /// One order takes, and so many legs give, all of one wallet if that is said.
    fn transact(&mut self, at_s: i64, legs: usize, giver: Option<usize>) {
        self.transactions += 1;
        let (tx_hash, known) = (hash(&mut self.rng), self.markets.len() - ORPHANS);
        let is_orphan = self.transactions % 40 == 3;
        let market = if is_orphan { known + self.rng.usize(..ORPHANS) } else { self.rng.usize(..known) };
        let taker = self.rng.usize(1..WALLETS);
        let taking = self.order(market, taker);
        let cents = self.rng.i64(2..=98);
        let giver = giver.or_else(|| (self.rng.u8(..5) == 0).then(|| (taker + 1) % WALLETS));
        let (mut used, mut fills) = (BTreeSet::new(), Vec::new());
        for _ in 0..legs {
            let order = self.resting(&taking, giver, &used);
            used.insert(order.hash.clone());
            let shares =
                if self.rng.bool() { self.rng.i64(1..5_000) * 100_000 } else { self.rng.i64(100_000..1 << 34) };
            fills.push((order, shares));
        }
        // Two orders of a wallet that give the same are told apart by nothing but order and log.
        if legs > 1 && self.rng.bool() {
            let twin = fills[0].clone();
            fills[1] = (Order { hash: hash(&mut self.rng), ..twin.0 }, twin.1);
        }
        let taken = fills.iter().map(|(_, shares)| shares).sum();
        for (order, shares) in fills {
            let cents = if order.outcome == taking.outcome { cents } else { 100 - cents };
            self.fill(at_s, &tx_hash, &order, self.wallets[taker].clone(), shares, cents);
        }
        self.fill(at_s, &tx_hash, &taking, EXCHANGE.into(), taken, cents);
    }

    fn order(&mut self, market: usize, wallet: usize) -> Order {
        let (is_buy, outcome) = (self.rng.u8(..100) < 83, self.rng.usize(..2));
        Order { market, wallet, hash: hash(&mut self.rng), is_buy, outcome }
    }

    /// An order that fits the taking one: it sells the same outcome, or buys the other one. Often one that rests.
    fn resting(&mut self, taking: &Order, giver: Option<usize>, used: &BTreeSet<String>) -> Order {
        let fits = |order: &&Order| {
            order.market == taking.market
                && order.wallet != taking.wallet
                && giver.is_none_or(|giver| order.wallet == giver)
                && (order.outcome == taking.outcome) != (order.is_buy == taking.is_buy)
                && !used.contains(&order.hash)
        };
        if self.rng.bool()
            && let Some(order) = self.orders.iter().rev().take(200).find(fits)
        {
            return order.clone();
        }
        let wallet = giver.unwrap_or_else(|| (taking.wallet + self.rng.usize(1..WALLETS)) % WALLETS);
        let mut order = self.order(taking.market, wallet);
        if (order.outcome == taking.outcome) == (order.is_buy == taking.is_buy) {
            order.outcome = 1 - order.outcome;
        }
        self.orders.push(order.clone());
        order
    }

    fn fill(&mut self, at_s: i64, tx_hash: &str, order: &Order, taker: String, shares: i64, cents: i64) {
        let log = self.logs.entry(at_s).or_default();
        *log += self.rng.u32(1..6);
        let market = &self.markets[order.market];
        let usdc = (shares * cents / 100).max(1);
        self.trades.push(Trade {
            timestamp_s: at_s,
            block_number: 60_000_000 + (at_s - self.first_s),
            tx_hash: tx_hash.into(),
            log_index: *log,
            order_hash: order.hash.clone(),
            wallet: self.wallets[order.wallet].clone(),
            is_taker: taker == EXCHANGE,
            taker,
            condition_id: market.condition_id.clone(),
            token_id: market.token_ids[order.outcome].clone(),
            label: market.labels[order.outcome].into(),
            outcome_index: order.outcome,
            slug: market.slug.clone(),
            event_slug: market.event_slug.clone(),
            title: market.title.clone(),
            side: if order.is_buy { "BUY" } else { "SELL" },
            shares,
            // As the APIs make it of whole millionths: that is where the long tails come from.
            price: usdc as f64 / shares as f64,
        });
    }
}

fn hash(rng: &mut Rng) -> String {
    format!("0x{:032x}{:032x}", rng.u128(..), rng.u128(..))
}

/// So many markets, one to four of them for each event, and behind them those that nobody will know.
fn markets(rng: &mut Rng, count: usize, first_s: i64, span_s: i64) -> Vec<Market> {
    let mut event = 0;
    let limit = 10_u128.pow(38);
    let mut all = Vec::new();
    for at in 0..count + ORPHANS {
        if rng.u8(..5) < 2 || at == 0 {
            event += 1;
        }
        let mut token = || format!("{}{:038}", rng.u128(limit / 10..limit), rng.u128(..limit));
        let token_ids = [token(), token()];
        all.push(Market {
            id: 500_000 + at,
            condition_id: hash(rng),
            slug: format!("will-team-{at}-win"),
            title: format!("Will team {at} win \u{2014} “game {event}”?"),
            event_slug: format!("game-{event}"),
            token_ids,
            labels: if rng.bool() { ["Yes", "No"] } else { ["Over", "Under"] },
            volume: rng.i64(1_000..5_000_000),
            start_s: first_s - rng.i64(0..20) * 3_600,
            end_s: first_s + span_s + rng.i64(0..40) * 3_600,
            winner: (rng.u8(..3) > 0).then(|| rng.usize(..2)),
        });
    }
    all
}

fn events(markets: &[Market]) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    for market in markets {
        match all.last_mut().filter(|event| event.slug == market.event_slug) {
            Some(event) => {
                event.volume += market.volume;
                event.start_s = event.start_s.min(market.start_s);
                event.end_s = event.end_s.max(market.end_s);
                event.is_closed &= market.winner.is_some();
            }
            None => all.push(Event {
                id: 9_000 + all.len(),
                slug: market.event_slug.clone(),
                title: format!("Event {}", market.event_slug),
                volume: market.volume,
                start_s: market.start_s,
                end_s: market.end_s,
                is_closed: market.winner.is_some(),
            }),
        }
    }
    all
}
