//! The JSON of each API, as its answers have it.

use super::known::{Event, Known, Market, Trade};
use chrono::DateTime;
use serde_json::{Value, json};

/// A fill as Dome tells it.
pub fn dome_order(trade: &Trade) -> Value {
    json!({
        "token_id": trade.token_id,
        "token_label": trade.label,
        "side": trade.side,
        "market_slug": trade.slug,
        "condition_id": trade.condition_id,
        "shares": trade.shares,
        "shares_normalized": shares(trade),
        "price": trade.price,
        "block_number": trade.block_number,
        "log_index": trade.log_index,
        "tx_hash": trade.tx_hash,
        "title": trade.title,
        "timestamp": trade.timestamp_s,
        "order_hash": trade.order_hash,
        "user": trade.wallet,
        "taker": trade.taker,
    })
}

/// A fill as the first Data API tells it: without its order and its log.
pub fn data_trade(trade: &Trade) -> Value {
    json!({
        "proxyWallet": trade.wallet,
        "side": trade.side,
        "asset": trade.token_id,
        "conditionId": trade.condition_id,
        "size": shares(trade),
        "price": trade.price,
        "timestamp": trade.timestamp_s,
        "title": trade.title,
        "slug": trade.slug,
        "icon": "",
        "eventSlug": trade.event_slug,
        "outcome": trade.label,
        "outcomeIndex": trade.outcome_index,
        "name": "",
        "pseudonym": "",
        "bio": "",
        "profileImage": "",
        "profileImageOptimized": "",
        "transactionHash": trade.tx_hash,
    })
}

/// A fill as the second Data API tells it.
pub fn data_trade_v2(trade: &Trade) -> Value {
    json!({
        "proxy_wallet": trade.wallet,
        "side": trade.side,
        "token_id": trade.token_id,
        "condition_id": trade.condition_id,
        "size": shares(trade),
        "price": trade.price,
        "timestamp": trade.timestamp_s,
        "title": trade.title,
        "slug": trade.slug,
        "event_slug": trade.event_slug,
        "outcome": trade.label,
        "outcome_index": trade.outcome_index,
        "transaction_hash": trade.tx_hash,
    })
}

/// Whole numbers have no point in these APIs.
fn shares(trade: &Trade) -> Value {
    match trade.shares % 1_000_000 {
        0 => json!(trade.shares / 1_000_000),
        _ => json!(trade.shares as f64 / 1e6),
    }
}

pub fn dome_market(market: &Market) -> Value {
    let side = |at: usize| json!({ "id": market.token_ids[at], "label": market.labels[at] });
    let closed_s = market.winner.map(|_| market.end_s);
    json!({
        "market_slug": market.slug,
        "event_slug": market.event_slug,
        "condition_id": market.condition_id,
        "title": market.title,
        "start_time": market.start_s,
        "end_time": market.end_s,
        "completed_time": closed_s,
        "close_time": closed_s,
        "game_start_time": null,
        "tags": ["sports", "games"],
        "volume_1_week": market.volume / 8,
        "volume_1_month": market.volume / 2,
        "volume_1_year": market.volume,
        "volume_total": market.volume,
        "resolution_source": "",
        "image": "https://images.invalid/market.png",
        "description": null,
        "negative_risk_id": null,
        "side_a": side(0),
        "side_b": side(1),
        "winning_side": market.winner.map(side),
        "status": if market.winner.is_some() { "closed" } else { "open" },
        "extra_fields": {},
    })
}

pub fn dome_event(known: &Known, event: &Event, has_markets: bool) -> Value {
    let markets: Vec<_> = known.markets.iter().filter(|market| market.event_slug == event.slug).collect();
    let mut value = json!({
        "event_slug": event.slug,
        "title": event.title,
        "subtitle": "",
        "status": if event.is_closed { "closed" } else { "open" },
        "start_time": event.start_s,
        "end_time": event.end_s,
        "volume_fiat_amount": event.volume,
        "settlement_sources": null,
        "rules_url": null,
        "image": "https://images.invalid/event.png",
        "tags": ["sports"],
        "market_count": markets.len(),
    });
    if has_markets {
        value["markets"] = markets.into_iter().map(dome_market).collect();
    }
    value
}

/// A market as Gamma tells it: lists are texts of JSON, and a closed market stays active.
pub fn gamma_market(known: &Known, market: &Market) -> Value {
    let mut value = gamma_market_alone(market);
    let event = known.events.iter().find(|event| event.slug == market.event_slug);
    value["events"] = event.into_iter().map(gamma_event_alone).collect();
    value
}

pub fn gamma_event(known: &Known, event: &Event) -> Value {
    let mut value = gamma_event_alone(event);
    let markets = known.markets.iter().filter(|market| market.event_slug == event.slug);
    value["markets"] = markets.map(gamma_market_alone).collect();
    value
}

fn gamma_market_alone(market: &Market) -> Value {
    let price = |at: usize| market.winner.map_or("0.5", |winner| if winner == at { "1" } else { "0" });
    json!({
        "id": market.id.to_string(),
        "question": market.title,
        "conditionId": market.condition_id,
        "questionID": market.condition_id,
        "slug": market.slug,
        "startDate": iso(market.start_s),
        "endDate": iso(market.end_s),
        "closedTime": market.winner.map(|_| iso(market.end_s)),
        "outcomes": json!(market.labels).to_string(),
        "outcomePrices": json!([price(0), price(1)]).to_string(),
        "clobTokenIds": json!(market.token_ids).to_string(),
        "volume": format!("{}.5", market.volume),
        "volumeNum": market.volume as f64 + 0.5,
        "active": true,
        "closed": market.winner.is_some(),
        "archived": false,
        "negRisk": false,
        "umaResolutionStatus": market.winner.map(|_| "resolved"),
    })
}

fn gamma_event_alone(event: &Event) -> Value {
    json!({
        "id": event.id.to_string(),
        "ticker": event.slug,
        "slug": event.slug,
        "title": event.title,
        "startDate": iso(event.start_s),
        "endDate": iso(event.end_s),
        "active": true,
        "closed": event.is_closed,
        "archived": false,
        "volume": event.volume,
        "negRisk": false,
    })
}

fn iso(at_s: i64) -> String {
    DateTime::from_timestamp(at_s, 0).unwrap().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
