//! The endpoints of Polymarket's own APIs: both Data APIs and Gamma.

use super::faults::Fault;
use super::forms::{data_trade, data_trade_v2, gamma_event, gamma_market};
use super::known::Trade;
use super::page::{Page, Query, Reply, cut, decode};
use super::world::{Asked, Start, World};
use serde_json::{Value, json};

fn error(status: u16, error: &str) -> Reply {
    Reply::refused(status, json!({ "error": error }))
}

/// `GET /trades` of the first Data API
pub fn trades(world: &mut World, query: &Query, fault: Option<Fault>) -> Result<Reply, Reply> {
    let limit = query.number("limit", 100).filter(|limit| (0..=10_000).contains(limit));
    let limit = limit.ok_or_else(|| error(400, "invalid limit"))?;
    let offset: usize = query.number("offset", 0).ok_or_else(|| error(400, "invalid offset"))?;
    let cap = world.settings.data_offset_cap;
    if offset > cap {
        return Err(error(400, &format!("max historical activity offset of {cap} exceeded")));
    }
    let takers_only = query.one("takerOnly") != Some("false");
    let markets: Vec<&str> = query.all("market").into_iter().flat_map(|ids| ids.split(',')).collect();
    let fits = |trade: &Trade| {
        query.fits("user", &trade.wallet)
            && (markets.is_empty() || markets.contains(&trade.condition_id.as_str()))
            && (trade.is_taker || !takers_only)
    };
    let start = Start::Offset(offset);
    let asked = Asked { fits: &fits, from_s: 0, to_s: i64::MAX, start, limit, is_bare: true };
    let (page, _) = world.trades(&asked, fault, data_trade);
    Ok(Reply { status: 200, body: Value::Array(page.rows), has_failed: page.has_failed })
}

/// `GET /v2/trades`
pub fn trades_v2(world: &mut World, query: &Query, fault: Option<Fault>) -> Result<Reply, Reply> {
    let limit = query.number("limit", 100).filter(|limit| (1..=1_000).contains(limit));
    let limit = limit.ok_or_else(|| error(400, "limit must be between 1 and 1000"))?;
    let time = |name: &str, usual: i64| query.number(name, usual).ok_or_else(|| error(400, &format!("invalid {name}")));
    let (from_s, to_s) = (time("start", 0)?, time("end", i64::MAX)?);
    if query.all("condition_id").len() > 20 {
        return Err(error(400, "at most 20 condition_id"));
    }
    let takers_only = query.one("taker_only") != Some("false");
    let fits = |trade: &Trade| {
        query.fits("user", &trade.wallet)
            && query.fits("condition_id", &trade.condition_id)
            && (trade.is_taker || !takers_only)
    };
    let start = match query.one("cursor") {
        None => Start::Offset(0),
        Some(text) => {
            let key = decode(text).filter(Value::is_object).ok_or_else(|| error(400, "invalid cursor"))?;
            Start::After(text, key)
        }
    };
    let asked = Asked { fits: &fits, from_s, to_s, start, limit, is_bare: false };
    let (page, _) = world.trades(&asked, fault, data_trade_v2);
    let pagination = json!({ "limit": limit, "has_more": page.has_more, "next_cursor": page.next });
    Ok(Reply { status: 200, body: json!({ "data": page.rows, "pagination": pagination }), has_failed: page.has_failed })
}

/// `GET /markets` and `GET /markets/keyset` of Gamma
pub fn markets(world: &World, query: &Query, is_keyset: bool, fault: Option<Fault>) -> Result<Reply, Reply> {
    let known = &world.known;
    let fits = known.markets.iter().filter(|market| {
        query.fits("condition_ids", &market.condition_id)
            && query.fits("slug", &market.slug)
            && query.fits("closed", if market.winner.is_some() { "true" } else { "false" })
    });
    let list: Vec<(usize, Value)> = fits.map(|market| (market.id, gamma_market(known, market))).collect();
    gamma("markets", &list, query, is_keyset, 100, fault)
}

/// `GET /events` and `GET /events/keyset` of Gamma
pub fn events(world: &World, query: &Query, is_keyset: bool, fault: Option<Fault>) -> Result<Reply, Reply> {
    let known = &world.known;
    let fits = known.events.iter().filter(|event| {
        query.fits("slug", &event.slug) && query.fits("closed", if event.is_closed { "true" } else { "false" })
    });
    let list: Vec<(usize, Value)> = fits.map(|event| (event.id, gamma_event(known, event))).collect();
    gamma("events", &list, query, is_keyset, if is_keyset { 500 } else { 100 }, fault)
}

/// A page of what has numbers. Who asks for more than `most` gets no more; an unknown parameter, `cursor`, is ignored.
fn gamma(
    name: &str,
    list: &[(usize, Value)],
    query: &Query,
    is_keyset: bool,
    most: usize,
    fault: Option<Fault>,
) -> Result<Reply, Reply> {
    let invalid = |message: &str| Reply::refused(422, json!({ "type": "validation error", "error": message }));
    let limit: usize = query.number("limit", 20).ok_or_else(|| invalid("limit is invalid"))?;
    let limit = limit.min(most);
    if is_keyset && query.one("offset").is_some() {
        return Err(invalid("offset is not supported, use after_cursor"));
    }
    let offset = query.number("offset", 0).ok_or_else(|| invalid("offset is invalid"))?;
    let asked = query.one("after_cursor").filter(|_| is_keyset);
    let start = match asked {
        None => offset,
        Some(text) => {
            let key = decode(text).filter(Value::is_object).ok_or_else(|| invalid("after_cursor is invalid"))?;
            // A cursor without a number stands before the first one.
            let last = key["id"].as_u64().unwrap_or_default();
            list.partition_point(|(id, _)| *id as u64 <= last)
        }
    };
    let page = cut(list, start, limit, asked, !is_keyset, fault, |(id, _)| json!({ "id": id }));
    let Page { rows, next, has_failed, .. } = page;
    let rows: Value = rows.into_iter().map(|(_, row)| row).collect();
    let mut body = if is_keyset { json!({ name: rows }) } else { rows };
    if let (true, Some(next)) = (is_keyset, next) {
        body["next_cursor"] = json!(next);
    }
    Ok(Reply { status: 200, body, has_failed })
}
