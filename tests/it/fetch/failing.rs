//! The server goes wrong where it was told to, in the same way each time, and counts it.

use super::api::Api;
use super::faults::{Fault, Faults, RowFault};
use super::forms::{data_trade, data_trade_v2, dome_order};
use super::known::Known;
use super::serving::{FIRST_S, ask, assert_same, dome, read, start};
use super::world::Settings;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const ORDERS: &str = "/v1/polymarket/orders?limit=10";

/// An answer, or why there is none. Nobody follows a redirect, and nobody waits for long.
async fn raw(api: &Api, line: &str) -> reqwest::Result<Response> {
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_millis(800));
    client.build()?.get(format!("{}{line}", api.url())).bearer_auth(api.key()).send().await
}

/// The same line before and while a fault happens to it.
async fn twice(api: &Api, line: &str, fault: Fault) -> (Value, Value) {
    api.set_faults(Faults::default());
    let calm = ask(api, line).await.1;
    api.set_faults(Faults::new(1, 1).with(fault, 1.0));
    let wrong = ask(api, line).await.1;
    assert_eq!(api.counts().get(&fault), Some(&1), "{fault:?}");
    (calm, wrong)
}

/// The line of the second page of a hundred orders.
async fn second(api: &Api) -> (Value, String, String) {
    let first = ask(api, ORDERS).await.1;
    let key = first["pagination"]["pagination_key"].as_str().unwrap().to_string();
    (first, format!("{ORDERS}&pagination_key={}", key.replace('+', "%2B").replace('=', "%3D")), key)
}

#[tokio::test]
async fn faults_that_take_the_place_of_an_answer() {
    let api = start(100).await;
    for fault in Fault::ALL.into_iter().filter(|fault| !fault.is_of_page()) {
        api.set_faults(Faults::new(1, 1).with(fault, 1.0));
        let answer = raw(&api, ORDERS).await;
        assert_eq!(api.counts().into_iter().collect::<Vec<_>>(), [(fault, 1)]);
        let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        let header = |name: &str| answer.as_ref().ok()?.headers().get(name)?.to_str().ok();
        let wanted = match fault {
            Fault::RateLimitHeader => (429, header("retry-after") == Some("1")),
            Fault::RateLimitBody => (429, header("retry-after").is_none()),
            Fault::ServerError => (500, true),
            Fault::Unavailable => (503, header("content-type").unwrap().starts_with("text/html")),
            Fault::Html => (200, header("content-type").unwrap().starts_with("text/html")),
            Fault::HangUp => (0, !answer.as_ref().unwrap_err().is_timeout()),
            Fault::Silence => (0, answer.as_ref().unwrap_err().is_timeout()),
            Fault::CutShort => (200, header("content-length").is_some()),
            Fault::NotGzip => (200, header("content-encoding") == Some("gzip")),
            Fault::Redirect => (302, header("location").unwrap().starts_with("http://localhost:")),
            of_page => panic!("{of_page:?} is of a page"),
        };
        assert_eq!((status, true), wanted, "{fault:?}");
        if let Ok(answer) = answer {
            let body = answer.bytes().await;
            assert_eq!(body.is_err(), fault == Fault::CutShort, "{fault:?}");
            let body: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
            assert_eq!(body["retry_after"] == json!(1), fault == Fault::RateLimitBody, "{fault:?}");
        }
        // Once was all.
        assert_eq!(ask(&api, ORDERS).await.0, 200, "{fault:?}");
    }
}

#[tokio::test]
async fn who_follows_a_redirect_is_seen_elsewhere() {
    let api = start(10).await;
    api.set_faults(Faults::new(1, 1).with(Fault::Redirect, 1.0));
    let (status, body) = ask(&api, ORDERS).await;
    assert_eq!((status, body), (200, json!([])), "what looks like the end of all pages");
    assert_eq!(api.strays(), [("/elsewhere".to_string(), false)], "this client keeps the key to itself");
    assert_eq!(api.requests(), [(ORDERS.to_string(), 302)]);
}

#[tokio::test]
async fn faults_of_a_page() {
    let api = start(100).await;
    let (first, line, key) = second(&api).await;
    let third = twice(&api, &line, Fault::TotalWrong).await.0["pagination"]["pagination_key"].clone();

    let (calm, wrong) = twice(&api, &line, Fault::PageRepeated).await;
    assert_eq!((&wrong["orders"], &wrong["pagination"]), (&first["orders"], &calm["pagination"]));
    let (calm, wrong) = twice(&api, &line, Fault::CursorRepeated).await;
    assert_eq!((&wrong["orders"], &wrong["pagination"]["pagination_key"]), (&calm["orders"], &json!(key)));
    assert_ne!(json!(key), third);
    let (calm, wrong) = twice(&api, &line, Fault::EmptyPage).await;
    assert_eq!((&wrong["orders"], &wrong["pagination"]["has_more"]), (&json!([]), &json!(true)));
    let again = wrong["pagination"]["pagination_key"].as_str().unwrap();
    assert_ne!(again, key);
    api.set_faults(Faults::default());
    let again = ask(&api, &format!("{ORDERS}&pagination_key={}", again.replace('+', "%2B"))).await.1;
    assert_eq!(again, calm, "the cursor of an empty page leads to the same rows");
    let (calm, wrong) = twice(&api, &line, Fault::TotalWrong).await;
    assert_eq!((&wrong["orders"], &wrong["pagination"]["total"]), (&calm["orders"], &json!(107)));
    let (calm, wrong) = twice(&api, &line, Fault::Disordered).await;
    let (calm, wrong) = (calm["orders"].as_array().unwrap(), wrong["orders"].as_array().unwrap());
    assert_ne!(calm, wrong);
    assert_same(wrong, calm.iter().cloned());

    for (fault, rows) in [(Fault::TooMany, 15), (Fault::TooFew, 5)] {
        let wrong = twice(&api, &line, fault).await.1;
        assert_eq!(wrong["orders"].as_array().unwrap().len(), rows);
        assert_eq!(wrong["pagination"]["has_more"], json!(true));
        // Whoever takes the rows and goes on misses nothing, and gets nothing twice.
        api.set_faults(Faults::new(1, 1).with(fault, 1.0));
        let all = dome(&api, ORDERS).await;
        assert!(api.counts()[&fault] > 3);
        assert_same(&all, api.known().trades.iter().map(dome_order));
    }
}

#[tokio::test]
async fn a_page_with_rows_from_outside_of_the_window() {
    let api = start(100).await;
    let trades = api.known().trades;
    let (from_s, to_s) = (trades[20].timestamp_s, trades[40].timestamp_s);
    let line = format!("/v1/polymarket/orders?start_time={from_s}&end_time={to_s}");
    let (calm, wrong) = twice(&api, &line, Fault::OutsideRows).await;
    let (calm, wrong) = (calm["orders"].as_array().unwrap(), wrong["orders"].as_array().unwrap());
    let (inside, outside) = wrong.split_at(calm.len());
    assert_eq!((inside, outside.len()), (&calm[..], 2));
    assert!(outside.iter().all(|row| !(from_s..=to_s).contains(&row["timestamp"].as_i64().unwrap())));
    api.set_faults(Faults::new(1, 1).with(Fault::OutsideRows, 1.0));
    ask(&api, ORDERS).await;
    assert!(api.counts().is_empty(), "nothing is outside of all time, so nothing happened");
}

#[tokio::test]
async fn new_arrivals_shift_what_is_paged_by_offset() {
    let api = start(100).await;
    let (first, second) =
        (ask(&api, "/trades?limit=10&takerOnly=false").await.1, "/trades?limit=10&takerOnly=false&offset=10");
    let (_, wrong) = twice(&api, second, Fault::Shifted).await;
    assert_eq!(wrong.as_array().unwrap()[..3], first.as_array().unwrap()[7..], "the end of the first page again");
    let known = api.known().trades;
    assert_eq!(known.len(), 103);
    let top = ask(&api, "/trades?limit=3&takerOnly=false").await.1;
    assert_same(top.as_array().unwrap(), known[100..].iter().map(data_trade));
    // Not by cursor.
    api.set_faults(Faults::new(1, 1).with(Fault::Shifted, 1.0));
    dome(&api, ORDERS).await;
    assert!(api.counts().is_empty());
}

#[tokio::test]
async fn a_bare_array_is_never_empty_before_its_end() {
    let api = start(30).await;
    api.set_faults(Faults::new(1, 9).with(Fault::EmptyPage, 1.0));
    for line in ["/trades", "/markets", "/events"] {
        assert!(!ask(&api, line).await.1.as_array().unwrap().is_empty());
    }
    assert!(api.counts().is_empty());
    assert_eq!(ask(&api, "/markets/keyset").await.1["markets"], json!([]));
    assert_eq!(api.counts()[&Fault::EmptyPage], 1);
}

#[tokio::test]
async fn the_same_seed_fails_the_same_requests() {
    let lines: Vec<_> = (0..60).map(|offset| format!("{ORDERS}&offset={}", offset % 20)).collect();
    let mut seen = Vec::new();
    for seed in [3, 3, 4] {
        let api = start(50).await;
        api.set_faults(Faults::new(seed, 2).with(Fault::ServerError, 0.3).on("offset=1", Fault::RateLimitBody, 0.3));
        for line in &lines {
            api.client.get(format!("{}{line}", api.url())).bearer_auth(api.key()).send().await.unwrap();
        }
        let statuses: Vec<_> = api.requests().into_iter().map(|(_, status)| status).collect();
        let limited = statuses.iter().zip(&lines).filter(|(status, _)| **status == 429);
        assert!(limited.clone().all(|(_, line)| line.contains("offset=1")));
        assert_eq!(limited.count() as u32, api.counts()[&Fault::RateLimitBody]);
        assert!((8..30).contains(&api.counts()[&Fault::ServerError]), "{:?}", api.counts());
        seen.push(statuses);
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], seen[2]);
}

#[tokio::test]
async fn a_line_fails_so_often_or_for_ever() {
    let api = start(10).await;
    api.set_faults(Faults::new(1, 2).with(Fault::ServerError, 1.0).for_ever("/events", Fault::Unavailable));
    let mut statuses = Vec::new();
    for line in [ORDERS, "/events"] {
        for _ in 0..5 {
            statuses.push(raw(&api, line).await.unwrap().status().as_u16());
        }
    }
    assert_eq!(statuses, [500, 500, 200, 200, 200, 500, 500, 503, 503, 503]);
}

#[tokio::test]
async fn odd_rows_are_odd_in_every_form() {
    let all =
        [RowFault::WrongType, RowFault::TextNumber, RowFault::UnknownField, RowFault::MissingKey, RowFault::NotUtf8];
    let settings = Settings { row_faults: all.to_vec(), row_fault_every: 7, copies: 1.5, ..Settings::default() };
    let api = Api::start(Known::generate(7, 98, 3, FIRST_S), settings).await;
    let bad = api.bad_rows();
    assert_eq!(bad.len(), 98 / 7 - 1, "bytes that are no UTF-8 come once");
    assert_eq!(bad.iter().filter(|(_, fault)| fault.lands()).count(), 6);
    let places: BTreeSet<_> = bad.iter().map(|(at, _)| *at).collect();
    let trades = api.known().trades;
    let forms = [
        ("/v1/polymarket/orders?limit=1000", dome_order as fn(&_) -> Value),
        ("/trades?limit=1000&takerOnly=false", data_trade),
        ("/v2/trades?limit=1000&taker_only=false", data_trade_v2),
    ];
    for (line, form) in forms {
        let body = raw(&api, line).await.unwrap().bytes().await.unwrap();
        assert!(std::str::from_utf8(&body).is_err());
        let text = String::from_utf8_lossy(&body);
        let body: Value = serde_json::from_str(&text).unwrap();
        let rows = body.get("orders").or(body.get("data")).unwrap_or(&body).as_array().unwrap().clone();
        // Twins look the same in the Data APIs, so one of them may be whole.
        let known = trades.iter().enumerate().filter(|(at, _)| !places.contains(at));
        let known: BTreeSet<_> = known.map(|(_, trade)| read(&form(trade)).to_string()).collect();
        let served: BTreeSet<_> = rows.iter().map(Value::to_string).collect();
        assert!(known.is_subset(&served), "{line}");
        for at in &places {
            let whole = read(&form(&trades[*at])).to_string();
            assert!(known.contains(&whole) || !served.contains(&whole), "{line} {at}");
        }
        assert!(rows.len() > trades.len(), "copies");
        let has = |test: &dyn Fn(&Value) -> bool| rows.iter().any(test);
        assert!(has(&|row| row["timestamp"] == json!({ "a": 1 })));
        assert!(has(&|row| row["shares"].is_string() || row["size"].is_string()));
        assert!(has(&|row| row.get("fee_rate_bps").is_some()));
        let names = ["tx_hash", "transactionHash", "transaction_hash"];
        assert!(has(&|row| names.iter().all(|name| row.get(name).is_none())));
        assert!(has(&|row| row["title"].as_str().unwrap().contains('\u{fffd}')));
    }
}

#[tokio::test]
async fn requests_at_once_are_counted_and_take_their_time() {
    let settings = Settings { latency: Duration::from_millis(150), ..Settings::default() };
    let api = Api::start(Known::generate(7, 10, 3, FIRST_S), settings).await;
    // Who has stopped waiting for an answer is not in flight.
    api.set_faults(Faults::new(1, 1).with(Fault::Silence, 1.0));
    assert!(raw(&api, ORDERS).await.unwrap_err().is_timeout());
    assert_eq!((api.max_in_flight(), api.requests()), (1, vec![(ORDERS.to_string(), 0)]));
    let began = std::time::Instant::now();
    futures::future::join_all((0..3).map(|_| ask(&api, ORDERS))).await;
    assert!(began.elapsed() >= Duration::from_millis(150));
    assert_eq!(api.max_in_flight(), 3);
    ask(&api, ORDERS).await;
    assert_eq!(api.max_in_flight(), 3, "those that are over count no more");
}
