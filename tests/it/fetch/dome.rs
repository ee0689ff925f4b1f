//! The three endpoints of Dome.

use super::faults::Fault;
use super::forms::{dome_event, dome_market, dome_order};
use super::known::Trade;
use super::page::{Page, Query, Reply, cut, decode};
use super::world::{Asked, Start, World};
use serde_json::{Value, json};

fn error(error: &str, message: &str) -> Reply {
    Reply::refused(400, json!({ "error": error, "message": message }))
}

/// Whoever comes without the key.
/// It repeats what it was sent, as some do: whoever tells the answer must not tell the key.
pub fn unauthorized(authorization: &str) -> Reply {
    let message = format!("Missing or invalid API key: {authorization}");
    Reply::refused(401, json!({ "error": "Unauthorized", "message": message }))
}

fn limit(query: &Query, usual: usize, most: usize) -> Result<usize, Reply> {
    let limit = query.number("limit", usual).filter(|limit| (1..=most).contains(limit));
    limit.ok_or_else(|| error("Invalid limit parameter", &format!("limit must be a number between 1 and {most}")))
}

fn key(query: &Query) -> Result<Option<(&str, Value)>, Reply> {
    let Some(text) = query.one("pagination_key") else { return Ok(None) };
    let key = decode(text).filter(Value::is_object);
    key.map(|key| Some((text, key)))
        .ok_or_else(|| error("Invalid pagination key", "pagination_key is invalid or corrupted"))
}

/// `GET /v1/polymarket/orders`
pub fn orders(world: &mut World, query: &Query, fault: Option<Fault>) -> Result<Reply, Reply> {
    let limit = limit(query, 100, 1_000)?;
    let time = |name: &str, usual: i64| {
        let message = format!("{name} must be a valid Unix timestamp");
        query.number(name, usual).ok_or_else(|| error(&format!("Invalid {name} parameter"), &message))
    };
    let (from_s, to_s) = (time("start_time", 0)?, time("end_time", i64::MAX)?);
    if from_s > to_s {
        return Err(error("Invalid time range", "start_time must not be after end_time"));
    }
    let filters = ["market_slug", "condition_id", "token_id"];
    if filters.iter().filter(|name| query.one(name).is_some()).count() > 1 {
        let message = "Only one of market_slug, condition_id and token_id can be given";
        return Err(error("Invalid filter combination", message));
    }
    let offset = query.number("offset", 0);
    let offset = offset.ok_or_else(|| error("Invalid offset parameter", "offset must be a number"))?;
    if offset > world.settings.offset_cap {
        return Err(Reply::refused(
            401,
            json!({ "error": "Offset deprecated", "message": format!("Offsets greater than {} are no longer \
                supported. Please use pagination_key instead", world.settings.offset_cap),
                "docs": "https://docs.domeapi.io/pagination" }),
        ));
    }
    let is_old = world.settings.is_offset_only;
    let start = match key(query)? {
        Some((text, key)) if !is_old => Start::After(text, key),
        _ => Start::Offset(offset),
    };
    let fits = |trade: &Trade| {
        query.fits("user", &trade.wallet)
            && query.fits("market_slug", &trade.slug)
            && query.fits("condition_id", &trade.condition_id)
            && query.fits("token_id", &trade.token_id)
    };
    let is_by_offset = matches!(start, Start::Offset(_));
    let asked = Asked { fits: &fits, from_s, to_s, start, limit, is_bare: false };
    let (page, total) = world.trades(&asked, fault, dome_order);
    let (wrong, has_failed) = if fault == Some(Fault::TotalWrong) { (7, true) } else { (0, page.has_failed) };
    let mut pagination = json!({ "limit": limit });
    if is_by_offset {
        pagination["offset"] = json!(offset);
    }
    pagination["total"] = json!(total + wrong);
    let body = enveloped("orders", pagination, Page { next: page.next.filter(|_| !is_old), ..page });
    Ok(Reply { status: 200, body, has_failed })
}

/// `GET /v1/polymarket/markets`
pub fn markets(world: &World, query: &Query, fault: Option<Fault>) -> Result<Reply, Reply> {
    let (limit, known) = (limit(query, 10, 100)?, &world.known);
    let status = |is_closed: bool| query.fits("status", if is_closed { "closed" } else { "open" });
    let mut list: Vec<_> = known
        .markets
        .iter()
        .filter(|market| {
            query.fits("condition_id", &market.condition_id)
                && query.fits("market_slug", &market.slug)
                && query.fits("event_slug", &market.event_slug)
                && status(market.winner.is_some())
        })
        .collect();
    list.sort_by_key(|market| (-market.volume, &market.condition_id));
    let name = |at: usize| list[at].condition_id.as_str();
    let (start, asked) = after(query, list.len(), "condition_id", name)?;
    let page = cut(&list, start, limit, asked, false, fault, |market| {
        json!({ "volume_total": market.volume, "close_time": market.end_s,
                "condition_id": market.condition_id })
    });
    let rows = page.rows.iter().map(|market| dome_market(market)).collect();
    Ok(listed("markets", limit, list.len(), fault, Page { rows, ..empty(page) }))
}

/// `GET /v1/polymarket/events`
pub fn events(world: &World, query: &Query, fault: Option<Fault>) -> Result<Reply, Reply> {
    let (limit, known) = (limit(query, 10, 100)?, &world.known);
    let status = |is_closed: bool| query.fits("status", if is_closed { "closed" } else { "open" });
    let fits = known.events.iter().filter(|event| query.fits("event_slug", &event.slug) && status(event.is_closed));
    let mut list: Vec<_> = fits.collect();
    list.sort_by_key(|event| (-event.volume, &event.slug));
    let (start, asked) = after(query, list.len(), "lastEventSlug", |at| list[at].slug.as_str())?;
    let page = cut(
        &list,
        start,
        limit,
        asked,
        false,
        fault,
        |event| json!({ "lastVolume": event.volume, "lastEventSlug": event.slug }),
    );
    let has_markets = query.one("include_markets") == Some("true");
    let rows = page.rows.iter().map(|event| dome_event(known, event, has_markets)).collect();
    Ok(listed("events", limit, list.len(), fault, Page { rows, ..empty(page) }))
}

/// The place behind the one that the key names, and the key as it came.
fn after<'a, 'b>(
    query: &'a Query,
    len: usize,
    field: &str,
    name: impl Fn(usize) -> &'b str,
) -> Result<(usize, Option<&'a str>), Reply> {
    let Some((text, key)) = key(query)? else { return Ok((0, None)) };
    // A key without a name stands before the first one.
    let named = key[field].as_str();
    let found = named.map_or(Some(0), |named| (0..len).find(|at| name(*at) == named).map(|at| at + 1));
    let start = found.ok_or_else(|| error("Invalid pagination key", "pagination_key is invalid or corrupted"))?;
    Ok((start, Some(text)))
}

/// All of a page but its rows.
fn empty<T>(page: Page<T>) -> Page<Value> {
    Page { rows: Vec::new(), has_more: page.has_more, next: page.next, has_failed: page.has_failed }
}

fn listed(name: &str, limit: usize, total: usize, fault: Option<Fault>, page: Page<Value>) -> Reply {
    let (wrong, has_failed) = if fault == Some(Fault::TotalWrong) { (7, true) } else { (0, page.has_failed) };
    let body = enveloped(name, json!({ "limit": limit, "total": total + wrong }), page);
    Reply { status: 200, body, has_failed }
}

fn enveloped(name: &str, mut pagination: Value, page: Page<Value>) -> Value {
    pagination["has_more"] = json!(page.has_more);
    if let Some(next) = page.next {
        pagination["pagination_key"] = json!(next);
    }
    json!({ name: page.rows, "pagination": pagination })
}
