//! What columns can make of the answers of an API: numbers as text, values inside of nested JSON, and the contracts
//! that ship, with answers made up and, where they are there, real ones.

use super::pages::{FILLS, Pages, column, fill};
use super::*;
use serde_json::json;
use std::path::PathBuf;

const SIDES: &str = r#"
name = "sides"
key = ["k"]
order = ["ts DESC NULLS LAST"]
column = [
  { name = "k", type = "string" },
  { name = "ts", type = "timestamp", unit = "s" },
  { name = "a", type = "string", from = ["side.id", "side_b.id"] },
  { name = "event", type = "string", from = ["events[0].slug"] },
  { name = "deep", type = "json", from = ["list[1][0].x.y"] },
]
"#;

#[tokio::test]
async fn a_decimal_number_is_written_in_one_way() -> Result {
    let huge = format!("1{}", "0".repeat(99));
    let tiny = format!("0.{}1", "0".repeat(98));
    for (given, expected) in [
        ("0.90", Some("0.9")),
        ("1e-3", Some("0.001")),
        ("-0", Some("0")),
        ("-0.0e7", Some("0")),
        ("0e99999999999999999999", Some("0")),
        ("\"+1.50\"", Some("1.5")),
        ("\"007\"", Some("7")),
        ("\".5\"", Some("0.5")),
        ("\"5.\"", Some("5")),
        ("-12.340E+1", Some("-123.4")),
        ("1.25e2", Some("125")),
        ("1.25e4", Some("12500")),
        ("0.5699998232997013", Some("0.5699998232997013")),
        (
            "115792089237316195423570985008687907853269984665640564039457584007913129639935.10",
            Some("115792089237316195423570985008687907853269984665640564039457584007913129639935.1"),
        ),
        ("1e99", Some(&huge)),
        ("1e100", None),
        ("1e-99", Some(&tiny)),
        ("1e-100", None),
        ("1e999999999999999999999", None),
        ("\"\"", None),
        ("\".\"", None),
        ("\"-\"", None),
        ("\"1e\"", None),
        ("\"e1\"", None),
        ("\"1e1.5\"", None),
        ("\"--1\"", None),
        ("\" 1\"", None),
        ("\"1,5\"", None),
        ("\"0x1\"", None),
        ("\"NaN\"", None),
        ("\"\u{661}\"", None),
        ("true", None),
        ("[1]", None),
    ] {
        let mut pages = Pages::of(FILLS)?;
        let landed = pages.add(1, format!("[{},{}]", fill(""), fill(&format!(",\"size\":{given}"))))?.land().await?;
        let sizes = column(&landed, "size")?;
        assert_eq!(sizes[0], "2.5");
        assert_eq!(sizes.get(1).and_then(Value::as_str), expected, "{given}");
        if expected.is_none() {
            assert_eq!(landed.rejects_by_reason.get("size: not a decimal number"), Some(&1), "{given}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn parquet_lands_by_reference_only_with_decimal_numbers_as_they_would_be_written() -> Result {
    let mut pages = Pages::of(FILLS)?;
    let file = pages.dir.path().join("a.parquet");
    for (sizes, by_reference, landed) in [
        ([Some("0.9"), Some("-12")], true, 2),
        ([Some("0.9"), Some("0.90")], false, 2),
        ([Some("0.9"), Some("-0")], false, 2),
        ([Some("0.9"), Some("1e3")], false, 2),
        ([Some("0.9"), Some("many")], false, 1),
    ] {
        let bytes = parquet(vec![
            ("k", text(&[Some("a"), Some("b")])),
            ("o", text(&[None, None])),
            ("size", text(&sizes)),
            ("nth", Arc::new(Int64Array::from(vec![1, 1]))),
            ("ts", Arc::new(times(2).with_timezone("UTC"))),
        ])?;
        std::fs::write(&file, bytes)?;
        pages.inputs = discover(&[file.display().to_string()], &[]).await?;
        let found = pages.land().await?;
        assert_eq!((found.files[0].by_reference, found.counts.landed), (by_reference, landed), "{sizes:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_column_may_be_inside_of_nested_json() -> Result {
    let mut pages = Pages::of(SIDES)?;
    let row = |extra: &str| format!("{{\"k\":\"a\",\"ts\":{TS},{extra}}}");
    for (extra, expected, left_out) in [
        (r#""side":{"id":7,"label":"x"},"side_b":{"id":"9"}"#, json!({"a": "7"}), ""),
        (r#""side":{"id":null},"side_b":{"id":"9"}"#, json!({"a": "9"}), ""),
        (r#""side":{"id":"7"},"side.id":"8""#, json!({"a": "8"}), "side"),
        (r#""side":{"id":"7"},"a":"1""#, json!({"a": "1"}), ""),
        (r#""side":{"id":"1","id":"2"}"#, json!({"a": "2"}), ""),
        (r#""side":{"label":"x"}"#, json!({}), "side"),
        (r#""side":"id""#, json!({}), "side"),
        (r#""side":null"#, json!({}), ""),
        (r#""events":[{"slug":"\u0041"},{"slug":"b"}]"#, json!({"event": "A"}), ""),
        (r#""events":[]"#, json!({}), "events"),
        (r#""events":{"slug":"a"}"#, json!({}), "events"),
        (r#""list":[0,[{"x":{"y":[ 1 ]}}]]"#, json!({"deep": "[1]"}), ""),
    ] {
        pages.inputs.clear();
        let landed = pages.add(1, row(extra))?.land().await?;
        let mut found = rows(&landed)?.pop().ok_or(extra)?;
        let found = found.as_object_mut().ok_or(extra)?;
        found.retain(|name, _| ["a", "event", "deep"].contains(&name.as_str()));
        assert_eq!(Value::from(found.clone()), expected, "{extra}");
        let names: Vec<_> = landed.inputs[0].left_out.keys().map(String::as_str).collect();
        assert_eq!(names.join(","), left_out, "{extra}");
    }
    // A type that does not fit is a reason to reject, like that of a plain field.
    pages.inputs.clear();
    let landed = pages.add(1, row(r#""side":{"id":[1]}"#))?.land().await?;
    assert_eq!(landed.rejects_by_reason.get("a: not text"), Some(&1));
    Ok(())
}

/// What lands of one answer under a contract that ships: the rows, without what says where they came from.
async fn answer(dataset: &str, body: &Value) -> Result<Vec<Value>> {
    let mut pages = Pages::new(Dataset::built_in(dataset)?)?;
    let landed = pages.add(1, body.to_string())?.land().await?;
    assert_eq!(landed.rejects_by_reason.len(), 0, "{:?}", landed.rejects_by_reason);
    let mut all = rows(&landed)?;
    for row in &mut all {
        row.as_object_mut().ok_or("no row")?.retain(|name, _| !name.starts_with("_source"));
    }
    Ok(all)
}

#[tokio::test]
async fn both_versions_of_the_data_api_give_the_same_trade() -> Result {
    let first = json!([{
        "proxyWallet": "0xAB", "side": "BUY", "asset": "123", "conditionId": "0xC", "size": 3.50, "price": 0.9,
        "timestamp": TS, "title": "Rain?", "slug": "rain", "icon": "x", "eventSlug": "weather", "outcome": "Yes",
        "outcomeIndex": 0, "name": "n", "bio": "", "transactionHash": "0xD",
    }]);
    let second = json!({"data": [{
        "proxy_wallet": "0xab", "side": "BUY", "token_id": "123", "condition_id": "0xc", "size": "3.5", "price": "0.90",
        "timestamp": TS, "title": "Rain?", "market_slug": "rain", "event_slug": "weather", "outcome": "Yes",
        "outcome_index": 0, "transaction_hash": "0xd",
    }], "pagination": {"has_more": false, "next_cursor": null}});
    let expected = json!([{
        "wallet_address": "0xab", "tx_hash": "0xd", "token_id": "123", "side": "BUY", "size": "3.5", "price": "0.9",
        "timestamp": "2025-10-09T08:53:20Z", "occurrence": 1, "condition_id": "0xc", "title": "Rain?",
        "market_slug": "rain", "event_slug": "weather", "outcome": "Yes", "outcome_index": 0,
        "fetched_at": "2026-03-31T23:33:20Z",
    }]);
    assert_eq!(Value::from(answer("polymarket_trades", &first).await?), expected);
    assert_eq!(Value::from(answer("polymarket_trades", &second).await?), expected);
    Ok(())
}

#[tokio::test]
async fn markets_and_events_of_both_apis_land() -> Result {
    let dome = json!({"markets": [{
        "market_slug": "rain", "event_slug": null, "condition_id": "0xC", "title": "Rain?", "start_time": TS,
        "end_time": TS + 60, "completed_time": null, "close_time": null, "game_start_time": "2025-08-16 20:00:00.000",
        "tags": ["weather"], "volume_total": 1.5, "side_a": {"id": "1", "label": "Yes"},
        "side_b": {"id": "2", "label": "No"}, "winning_side": {"id": "2", "label": "No"}, "status": "closed",
        "extra_fields": {},
    }], "pagination": {"has_more": false}});
    let expected = json!([{
        "condition_id": "0xc", "market_slug": "rain", "title": "Rain?", "status": "closed",
        "start_time": "2025-10-09T08:53:20Z", "end_time": "2025-10-09T08:54:20Z",
        "game_start_time": "2025-08-16T20:00:00Z", "tags": "[\"weather\"]", "volume_total": 1.5, "side_a_id": "1",
        "side_a_label": "Yes", "side_b_id": "2", "side_b_label": "No", "winning_side_id": "2",
        "winning_side_label": "No", "fetched_at": "2026-03-31T23:33:20Z",
    }]);
    assert_eq!(Value::from(answer("markets", &dome).await?), expected);
    let gamma = json!([{
        "id": "7", "conditionId": "0xC", "slug": "rain", "question": "Rain?", "startDate": "2025-03-01T00:00:00.5Z",
        "endDate": "2025-03-05T00:00:00Z", "closedTime": "2025-03-04 12:00:00+00",
        "gameStartTime": "2025-03-04 10:00:00+00", "outcomes": "[\"Yes\", \"No\"]", "clobTokenIds": "[\"1\", \"2\"]",
        "volume": "1.5", "active": true, "closed": true, "archived": false, "events": [{"id": "9", "slug": "weather"}],
    }]);
    let expected = json!([{
        "condition_id": "0xc", "market_id": "7", "market_slug": "rain", "event_slug": "weather", "title": "Rain?",
        "active": true, "closed": true, "archived": false, "start_time": "2025-03-01T00:00:00.500Z",
        "end_time": "2025-03-05T00:00:00Z", "close_time": "2025-03-04T12:00:00Z",
        "game_start_time": "2025-03-04T10:00:00Z", "volume_total": 1.5, "outcomes": "[\"Yes\",\"No\"]",
        "clob_token_ids": "[\"1\",\"2\"]", "fetched_at": "2026-03-31T23:33:20Z",
    }]);
    assert_eq!(Value::from(answer("markets", &gamma).await?), expected);
    let dome = json!({"events": [{
        "event_slug": "weather", "title": "Rain", "status": "open", "start_time": TS, "end_time": TS,
        "volume_fiat_amount": 2, "tags": [], "market_count": 1, "markets": [{"market_slug": "rain"}],
    }]});
    let gamma = json!([{
        "id": "9", "slug": "weather", "title": "Rain", "startDate": "2025-10-09T08:53:20Z",
        "endDate": "2025-10-09T08:53:20Z", "volume": 2, "closed": false, "markets": [],
    }]);
    for (body, own) in [
        (dome, json!({"status": "open", "tags": "[]", "market_count": 1})),
        (gamma, json!({"event_id": "9", "closed": false})),
    ] {
        let mut expected = json!({
            "event_slug": "weather", "title": "Rain", "start_time": "2025-10-09T08:53:20Z",
            "end_time": "2025-10-09T08:53:20Z", "volume_fiat_amount": 2.0, "fetched_at": "2026-03-31T23:33:20Z",
        });
        let all = expected.as_object_mut().ok_or("no row")?;
        all.extend(own.as_object().ok_or("no row")?.clone());
        assert_eq!(answer("events", &body).await?, [expected]);
    }
    Ok(())
}

#[tokio::test]
async fn real_answers_land_without_a_reject() -> Result {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/realdata");
    let folder = std::env::var_os("TRADEFOLD_REALDATA").map_or_else(beside, PathBuf::from);
    if !folder.is_dir() {
        eprintln!("skipped: there are no real answers; TRADEFOLD_REALDATA names their folder");
        return Ok(());
    }
    for (dataset, file, expected) in [
        ("trades", "dome_orders_page.json", 100),
        ("polymarket_trades", "data_api_trades.json", 3),
        ("markets", "gamma_market_search.json", 1),
        ("markets", "gamma_market_detail.json", 1),
    ] {
        let mut pages = Pages::new(Dataset::built_in(dataset)?)?;
        let landed = pages.add(1, std::fs::read(folder.join(file))?)?.land().await?;
        assert_eq!(landed.rejects_by_reason.len(), 0, "{file}: {:?}", landed.rejects_by_reason);
        assert_eq!(landed.counts.landed, expected, "{file}");
        assert!(column(&landed, "fetched_at")?.iter().all(|time| *time == "2026-03-31T23:33:20Z"), "{file}");
    }
    Ok(())
}
