//! The server serves what it knows, all of it and nothing else, in the forms of the APIs, and refuses as they do.

use super::api::Api;
use super::forms::{data_trade, data_trade_v2, dome_event, dome_market, dome_order, gamma_event, gamma_market};
use super::known::{Known, Trade, WALLETS};
use super::world::Settings;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// 2026-01-26
pub const FIRST_S: i64 = 1_769_385_600;

pub async fn start(trades: usize) -> Api {
    Api::start(Known::generate(7, trades, 3, FIRST_S), Settings::default()).await
}

/// The status and the body of an answer, asked for with the key.
pub async fn ask(api: &Api, line: &str) -> (u16, Value) {
    let request = api.client.get(format!("{}{line}", api.url())).bearer_auth(api.key());
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

/// All pages of a list: the cursor's parameter, and where an answer has rows and cursor.
async fn by_cursor(api: &Api, line: &str, parameter: &str, rows: &str, cursor: &str) -> Vec<Value> {
    let (mut all, mut next) = (Vec::new(), line.to_string());
    loop {
        let (status, body) = ask(api, &next).await;
        assert_eq!(status, 200, "{next}: {body}");
        all.extend(body[rows].as_array().unwrap().iter().cloned());
        let has_more = body["pagination"]["has_more"].as_bool();
        let Some(cursor) = body.pointer(cursor).and_then(Value::as_str) else {
            assert_ne!(has_more, Some(true), "{next}");
            return all;
        };
        assert_ne!(has_more, Some(false), "{next}");
        let cursor: String = url::form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
        next = format!("{line}&{parameter}={cursor}");
    }
}

pub async fn dome(api: &Api, line: &str) -> Vec<Value> {
    let rows = line.split('?').next().unwrap().rsplit('/').next().unwrap();
    by_cursor(api, line, "pagination_key", rows, "/pagination/pagination_key").await
}

async fn v2(api: &Api, line: &str) -> Vec<Value> {
    by_cursor(api, line, "cursor", "data", "/pagination/next_cursor").await
}

/// All pages of what is paged by offset, until one is not full. Rows lie at the top or in a field.
async fn by_offset(api: &Api, line: &str, limit: usize, rows: &str) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let (status, body) = ask(api, &format!("{line}&limit={limit}&offset={}", all.len())).await;
        assert_eq!(status, 200, "{body}");
        let page = body.pointer(rows).unwrap().as_array().unwrap();
        all.extend(page.iter().cloned());
        if page.len() < limit {
            return all;
        }
    }
}

/// A row as it is read: numbers lose their last digit on the way through JSON.
pub fn read(row: &Value) -> Value {
    serde_json::from_str(&row.to_string()).unwrap()
}

/// Whether these are the same rows, each as often.
pub fn assert_same(found: &[Value], known: impl Iterator<Item = Value>) {
    let sorted = |rows: Vec<String>| {
        let mut rows = rows;
        rows.sort();
        rows
    };
    let found = sorted(found.iter().map(Value::to_string).collect());
    let known = sorted(known.map(|row| read(&row).to_string()).collect());
    assert_eq!(found.len(), known.len());
    assert_eq!(found.iter().zip(&known).find(|(found, known)| found != known), None);
}

#[test]
fn the_known_set_is_hard_to_page() {
    let known = Known::generate(7, 4_500, 3, FIRST_S);
    assert_eq!(known, Known::generate(7, 4_500, 3, FIRST_S));
    assert_ne!(known, Known::generate(8, 4_500, 3, FIRST_S));
    let trades = &known.trades;
    assert_eq!((trades.len(), known.wallets.len()), (4_500, WALLETS));
    let days = FIRST_S..FIRST_S + 3 * 86_400;
    assert!(trades.iter().all(|trade| days.contains(&trade.timestamp_s)));
    assert!(trades.iter().any(|trade| trade.timestamp_s == FIRST_S));
    let logs: BTreeSet<_> = trades.iter().map(|trade| (&trade.tx_hash, trade.log_index)).collect();
    let keys: BTreeSet<_> = trades.iter().map(|trade| (&trade.wallet, &trade.tx_hash, &trade.order_hash)).collect();
    assert_eq!((logs.len(), keys.len()), (4_500, 4_500));

    fn most<K: Ord>(keys: impl Iterator<Item = K>) -> usize {
        let mut counts = BTreeMap::<K, usize>::new();
        keys.for_each(|key| *counts.entry(key).or_default() += 1);
        counts.into_values().max().unwrap()
    }
    assert!(most(trades.iter().map(|trade| (&trade.wallet, trade.timestamp_s))) > 1_000, "more than a page at once");
    assert!(most(trades.iter().map(|trade| (&trade.wallet, &trade.tx_hash))) > 1, "orders of a wallet in one tx");
    assert!(most(trades.iter().map(|trade| &trade.order_hash)) > 2, "txs of an order");
    assert!(
        most(trades.iter().map(|trade| data_trade(trade).to_string())) > 1,
        "fills that only their logs tell apart"
    );
    let markets: BTreeSet<_> = known.markets.iter().map(|market| &market.condition_id).collect();
    let orphans: BTreeSet<_> =
        trades.iter().map(|trade| &trade.condition_id).filter(|id| !markets.contains(id)).collect();
    assert!(orphans.len() > 2 && orphans.contains(&String::new()), "{orphans:?}");
    let events: BTreeSet<_> = known.events.iter().map(|event| &event.slug).collect();
    assert!(known.markets.iter().all(|market| events.contains(&market.event_slug)) && events.len() < markets.len());
}

#[tokio::test]
async fn dome_serves_all_orders_newest_first() {
    let api = start(4_500).await;
    let (known, all) = (api.known(), dome(&api, "/v1/polymarket/orders?limit=1000").await);
    assert_same(&all, known.trades.iter().map(dome_order));
    assert!(all.is_sorted_by_key(|row| -row["timestamp"].as_i64().unwrap()));
    assert_eq!(api.requests().len(), 5);
    assert!(api.requests()[4].0.starts_with("/v1/polymarket/orders?limit=1000&pagination_key=eyJ"));

    let (_, first) = ask(&api, "/v1/polymarket/orders").await;
    let pagination = &first["pagination"];
    assert_eq!(first["orders"].as_array().unwrap().len(), 100);
    assert_eq!(pagination["offset"], json!(0));
    assert_eq!((&pagination["total"], &pagination["has_more"]), (&json!(4_500), &json!(true)));
}

#[tokio::test]
async fn dome_filters_by_wallet_market_and_inclusive_seconds() {
    let api = start(1_200).await;
    let known = api.known();
    let (from_s, to_s) = (known.trades[200].timestamp_s, known.trades[800].timestamp_s);
    let is_in = |trade: &&Trade| (from_s..=to_s).contains(&trade.timestamp_s);
    let line = format!("/v1/polymarket/orders?start_time={from_s}&end_time={to_s}&limit=59");
    assert_same(&dome(&api, &line).await, known.trades.iter().filter(is_in).map(dome_order));
    let wallet = &known.wallets[0];
    let of_wallet = known.trades.iter().filter(|trade| trade.wallet == *wallet);
    assert_same(&dome(&api, &format!("/v1/polymarket/orders?user={wallet}&limit=59")).await, of_wallet.map(dome_order));
    let market = &known.trades[5];
    for (name, value) in [("condition_id", &market.condition_id), ("market_slug", &market.slug)] {
        let of_market = known.trades.iter().filter(|trade| trade.slug == market.slug);
        let of_market = of_market.filter(|trade| name == "market_slug" || !trade.condition_id.is_empty());
        assert_same(&dome(&api, &format!("/v1/polymarket/orders?{name}={value}")).await, of_market.map(dome_order));
    }
}

#[tokio::test]
async fn an_old_dome_is_paged_by_offset_only() {
    let settings = Settings { is_offset_only: true, offset_cap: 700, ..Settings::default() };
    let api = Api::start(Known::generate(7, 600, 3, FIRST_S), settings).await;
    let all = by_offset(&api, "/v1/polymarket/orders?user=", 70, "/orders").await;
    assert!(all.is_empty(), "an empty user is nobody");
    let all = by_offset(&api, "/v1/polymarket/orders?", 70, "/orders").await;
    assert_same(&all, api.known().trades.iter().map(dome_order));
    let (_, page) = ask(&api, "/v1/polymarket/orders?limit=5").await;
    assert_eq!(page["pagination"], json!({ "limit": 5, "offset": 0, "total": 600, "has_more": true }));
    let (status, body) = ask(&api, "/v1/polymarket/orders?offset=701").await;
    assert_eq!((status, &body["error"]), (401, &json!("Offset deprecated")));
}

#[tokio::test]
async fn rows_are_served_as_often_as_is_set() {
    let settings = Settings { copies: 2.8, is_offset_only: true, ..Settings::default() };
    let api = Api::start(Known::generate(7, 900, 3, FIRST_S), settings).await;
    let all = by_offset(&api, "/v1/polymarket/orders?", 100, "/orders").await;
    assert!((2_300..2_750).contains(&all.len()), "{}", all.len());
    let different: BTreeSet<_> = all.iter().map(Value::to_string).collect();
    assert_eq!(different, api.known().trades.iter().map(|trade| read(&dome_order(trade)).to_string()).collect());
}

#[tokio::test]
async fn the_data_apis_serve_all_trades_or_those_of_takers() {
    let api = start(1_200).await;
    let known = api.known();
    let takers = || known.trades.iter().filter(|trade| trade.is_taker);
    assert!((300..600).contains(&takers().count()));
    let all = by_offset(&api, "/trades?takerOnly=false", 97, "").await;
    assert_same(&all, known.trades.iter().map(data_trade));
    assert!(all.is_sorted_by_key(|row| -row["timestamp"].as_i64().unwrap()));
    assert_same(&by_offset(&api, "/trades?", 97, "").await, takers().map(data_trade));
    let market = &known.trades[5].condition_id;
    let wallet = &known.trades[5].wallet;
    let both = known.trades.iter().filter(|trade| trade.condition_id == *market && trade.wallet == *wallet);
    let line = format!("/trades?takerOnly=false&market={market}&user={wallet}");
    assert_same(&by_offset(&api, &line, 97, "").await, both.map(data_trade));

    assert_same(&v2(&api, "/v2/trades?limit=97").await, takers().map(data_trade_v2));
    let (from_s, to_s) = (known.trades[200].timestamp_s, known.trades[800].timestamp_s);
    let is_in = |trade: &&Trade| (from_s..=to_s).contains(&trade.timestamp_s);
    let line = format!("/v2/trades?taker_only=false&limit=97&start={from_s}&end={to_s}");
    assert_same(&v2(&api, &line).await, known.trades.iter().filter(is_in).map(data_trade_v2));
    let (_, last) = ask(&api, "/v2/trades?limit=1000").await;
    assert_eq!(last["pagination"]["next_cursor"], Value::Null, "null is there");
}

#[tokio::test]
async fn markets_and_events_are_served_by_dome_and_gamma() {
    let api = start(1_500).await;
    let known = api.known();
    let markets = || known.markets.iter();
    let events = || known.events.iter();
    assert_same(&dome(&api, "/v1/polymarket/markets?limit=7").await, markets().map(dome_market));
    let line = "/v1/polymarket/events?limit=3&include_markets=true";
    assert_same(&dome(&api, line).await, events().map(|event| dome_event(&known, event, true)));
    let two = markets().take(2).map(|market| format!("&condition_id={}", market.condition_id)).collect::<String>();
    let found = dome(&api, &format!("/v1/polymarket/markets?limit=1{two}")).await;
    assert_same(&found, markets().take(2).map(dome_market));
    let closed = markets().filter(|market| market.winner.is_some());
    assert_same(&dome(&api, "/v1/polymarket/markets?status=closed").await, closed.clone().map(dome_market));

    let gamma = |market| gamma_market(&known, market);
    assert_same(&by_offset(&api, "/markets?", 7, "").await, markets().map(gamma));
    let found = by_cursor(&api, "/markets/keyset?limit=7", "after_cursor", "markets", "/next_cursor").await;
    assert_same(&found, markets().map(gamma));
    assert_same(&by_offset(&api, "/markets?closed=true", 7, "").await, closed.map(gamma));
    let two = markets().take(2).map(|market| format!("&condition_ids={}", market.condition_id)).collect::<String>();
    assert_same(&by_offset(&api, &format!("/markets?{two}"), 7, "").await, markets().take(2).map(gamma));
    assert_same(&by_offset(&api, "/events?", 3, "").await, events().map(|event| gamma_event(&known, event)));
    let found = by_cursor(&api, "/events/keyset?limit=3", "after_cursor", "events", "/next_cursor").await;
    assert_same(&found, events().map(|event| gamma_event(&known, event)));
    let (_, first) = ask(&api, "/markets/keyset?limit=7").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let (_, again) = ask(&api, &format!("/markets/keyset?limit=7&cursor={cursor}")).await;
    assert_eq!(first, again, "what is no parameter is ignored");
}

#[tokio::test]
async fn what_the_apis_refuse_is_refused() {
    let api = start(100).await;
    for (line, status, error) in [
        ("/v1/polymarket/orders?limit=0", 400, "Invalid limit parameter"),
        ("/v1/polymarket/orders?limit=1001", 400, "Invalid limit parameter"),
        ("/v1/polymarket/orders?start_time=2026", 200, ""),
        ("/v1/polymarket/orders?start_time=2026-01-01", 400, "Invalid start_time parameter"),
        ("/v1/polymarket/orders?end_time=now", 400, "Invalid end_time parameter"),
        ("/v1/polymarket/orders?start_time=2&end_time=1", 400, "Invalid time range"),
        ("/v1/polymarket/orders?market_slug=a&token_id=1", 400, "Invalid filter combination"),
        ("/v1/polymarket/orders?pagination_key=x", 400, "Invalid pagination key"),
        ("/v1/polymarket/orders?offset=10000", 200, ""),
        ("/v1/polymarket/orders?offset=10001", 401, "Offset deprecated"),
        ("/v1/polymarket/markets?limit=101", 400, "Invalid limit parameter"),
        ("/v1/polymarket/events?pagination_key=!", 400, "Invalid pagination key"),
        ("/v1/polymarket/nothing", 404, "not found"),
        ("/trades?offset=3000", 200, ""),
        ("/trades?offset=3001", 400, "max historical activity offset of 3000 exceeded"),
        ("/trades?limit=10001", 400, "invalid limit"),
        ("/v2/trades?limit=1001", 400, "limit must be between 1 and 1000"),
        ("/v2/trades?cursor=x", 400, "invalid cursor"),
        ("/markets/keyset?offset=1", 422, "offset is not supported, use after_cursor"),
    ] {
        let (found, body) = ask(&api, line).await;
        assert_eq!((found, body["error"].as_str().unwrap_or_default()), (status, error), "{line}");
        let is_explained = body["message"].is_string();
        assert_eq!(is_explained, line.starts_with("/v1") && (400..=401).contains(&status), "{line}: {body}");
    }
    for key in ["", "Bearer ", "Bearer other", api.key()] {
        let request = api.client.get(format!("{}/v1/polymarket/orders", api.url())).header("authorization", key);
        assert_eq!(request.send().await.unwrap().status(), 401, "{key}");
    }
    assert_eq!(api.requests().last().unwrap(), &("/v1/polymarket/orders".to_string(), 401));
}

#[tokio::test]
async fn late_trades_are_served_and_answers_packed() {
    let settings = Settings { is_gzip: true, ..Settings::default() };
    let api = Api::start(Known::generate(7, 80, 3, FIRST_S), settings).await;
    let late: Vec<_> = Known::generate(8, 5, 1, FIRST_S).trades;
    api.add(late.clone());
    let request = api.client.get(format!("{}/trades?takerOnly=false", api.url())).header("accept-encoding", "gzip");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let mut text = String::new();
    GzDecoder::new(&*answer.bytes().await.unwrap()).read_to_string(&mut text).unwrap();
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_same(&rows, api.known().trades.iter().map(data_trade));
    assert_eq!(rows.len(), 85);
    assert!(late.iter().all(|trade| rows.contains(&read(&data_trade(trade)))));
}
