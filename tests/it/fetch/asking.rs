//! How endpoints are asked, what answers say of themselves, and the room that talks HTTP.

use super::api::Api;
use super::faults::{Fault, Faults};
use super::following::{FIRST_S, Keeper, QUICK};
use super::known::Known;
use super::syncing::{DAYS, END_S, assert_well, known};
use super::world::Settings;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tradefold::fetch::{Ask, At, Next, Piece, Refusal, Source, SourceKind};
use tradefold::retry::Waits;
use tradefold::window::Window;

const SECOND_US: i64 = 1_000_000;

fn span(from_s: i64, to_s: i64) -> Piece {
    Piece::Span(Window { from_us: from_s * SECOND_US, to_us: to_s * SECOND_US })
}

fn query(kind: SourceKind, dataset: &str, piece: Piece, at: At) -> String {
    let endpoint = Source::usual(kind).endpoint(dataset).unwrap();
    let filter = [("user".to_string(), "0xa".to_string())];
    let query = endpoint.query(&filter, &Ask { piece, at }, 50);
    let pairs: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{}?{}", endpoint.path, pairs.join("&"))
}

#[test]
fn a_half_open_window_is_asked_for_by_its_first_and_last_second() {
    let cursor = || At::Cursor("c".into());
    let keys = || Piece::Keys(vec!["0x1".into(), "0x2".into()]);
    for (asked, expected) in [
        (
            query(SourceKind::Dome, "trades", span(100, 160), At::Start),
            "polymarket/orders?user=0xa&start_time=100&end_time=159&limit=50",
        ),
        (
            query(SourceKind::Dome, "trades", span(100, 160), At::Offset(50)),
            "polymarket/orders?user=0xa&start_time=100&end_time=159&offset=50&limit=50",
        ),
        (
            query(SourceKind::Polymarket, "polymarket_trades", span(100, 101), cursor()),
            "v2/trades?user=0xa&taker_only=false&start=100&end=100&cursor=c&limit=50",
        ),
        (
            query(SourceKind::PolymarketV1, "polymarket_trades", span(100, 160), At::Offset(50)),
            "trades?user=0xa&takerOnly=false&offset=50&limit=50",
        ),
        (
            query(SourceKind::Polymarket, "markets", keys(), cursor()),
            "markets/keyset?user=0xa&condition_ids=0x1&condition_ids=0x2&after_cursor=c&limit=50",
        ),
        (
            query(SourceKind::Dome, "markets", keys(), At::Start),
            "polymarket/markets?user=0xa&condition_id=0x1&condition_id=0x2&limit=50",
        ),
    ] {
        assert_eq!(asked, expected);
    }
}

#[test]
fn answers_say_what_follows_them_each_in_its_own_form() {
    let dome = Source::usual(SourceKind::Dome).endpoint("trades").unwrap();
    let read = |text: &str| dome.read(text, &span(100, 200)).unwrap();
    let rows = r#"[{"timestamp":150},{"timestamp":"120"},{"timestamp":{"a":1}},{},{"timestamp":99}]"#;
    let facts =
        read(&format!(r#"{{"orders":{rows},"pagination":{{"has_more":true,"pagination_key":"k","total":7}}}}"#));
    assert_eq!((facts.rows, facts.digests.len(), facts.total), (5, 4, Some(7)));
    assert_eq!(facts.next, Next::Cursor("k".into()));
    assert!(facts.is_newest_first && facts.is_past_piece, "99 is before the window, and nothing was out of order");
    for (pagination, rows, next) in [
        (r#"{"has_more":false}"#, "[{}]", Next::End),
        (r#"{"has_more":true}"#, "[{}]", Next::More),
        (r#"{"has_more":false,"pagination_key":"k"}"#, "[{}]", Next::Cursor("k".into())),
        (r#"{"has_more":false,"pagination_key":"k"}"#, "[]", Next::End),
        (r#"{"has_more":true,"pagination_key":null}"#, "[]", Next::More),
        (r#"{"has_more":true,"next_cursor":""}"#, "[{}]", Next::More),
        ("{}", "[{}]", Next::Unknown),
    ] {
        let facts = read(&format!(r#"{{"orders":{rows},"pagination":{pagination}}}"#));
        assert_eq!(facts.next, next, "{pagination} {rows}");
    }
    let gamma = Source::usual(SourceKind::Polymarket).endpoint("markets").unwrap();
    let keys = Piece::Keys(vec!["0x1".into()]);
    let next = |text: &str| gamma.read(text, &keys).unwrap().next;
    assert_eq!(next(r#"{"markets":[{}],"next_cursor":"n"}"#), Next::Cursor("n".into()));
    assert_eq!(next(r#"{"markets":[{}]}"#), Next::End);
    let bare = Source::usual(SourceKind::PolymarketV1).endpoint("polymarket_trades").unwrap();
    assert_eq!(bare.read("[{}]", &span(0, 1)).unwrap().next, Next::Unknown);
    for wrong in ["", "<html>", "[]", r#"{"orders":{}}"#, r#"{"error":"x"}"#, r#"{"orders":[{}"#] {
        assert!(dome.read(wrong, &span(0, 1)).is_err(), "{wrong}");
    }
    let order = |text: &str| bare.read(text, &span(0, 300)).unwrap().is_newest_first;
    assert!(order(r#"[{"timestamp":9},{"timestamp":9},{"timestamp":8}]"#));
    assert!(!order(r#"[{"timestamp":8},{"timestamp":9}]"#));
}

#[test]
fn a_refusal_means_what_the_documentation_says() {
    use Refusal::*;
    for (status, body, meaning) in [
        (401, r#"{"error":"Offset deprecated"}"#, OutOfReach),
        (400, r#"{"error":"max historical activity offset of 3000 exceeded"}"#, OutOfReach),
        (400, r#"{"error":"Invalid pagination key"}"#, LostPlace),
        (400, r#"{"error":"Invalid limit parameter"}"#, FewerRows),
        (413, "", FewerRows),
        (401, r#"{"error":"unauthorized"}"#, Credentials),
        (403, "", Credentials),
        (400, r#"{"error":"Invalid filter combination"}"#, Wrong),
        (404, "", Wrong),
        (429, "", Later),
        (503, "<html>", Later),
        (302, "", Later),
    ] {
        assert_eq!(Refusal::of(status, body), meaning, "{status} {body}");
    }
}

/// Which page sizes were asked for, in their order.
fn sizes(api: &Api) -> Vec<String> {
    let lines = api.requests().into_iter().filter(|(line, _)| line.contains("orders"));
    lines.filter_map(|(line, _)| line.split("limit=").nth(1).map(str::to_string)).collect()
}

#[tokio::test]
async fn pages_get_smaller_where_large_ones_do_not_come_and_larger_again() {
    let api = Api::start(known(2_000), Settings::default()).await;
    api.set_faults(Faults::new(1, 0).for_ever("limit=1000", Fault::CutShort).for_ever("limit=500", Fault::CutShort));
    let mut keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    keeper.follow.in_flight = 1;
    assert_well(&keeper.round().await.unwrap());
    keeper.assert_holds(&api.known(), END_S).await;
    let sizes = sizes(&api);
    // Once may be chance.
    assert_eq!(sizes[..5], ["1000", "1000", "500", "250", "500"], "{sizes:?}");
    assert!(sizes.iter().filter(|size| *size == "250").count() > 3, "{sizes:?}");
    assert_eq!(sizes.iter().collect::<BTreeSet<_>>().len(), 3, "{sizes:?}");
}

#[tokio::test]
async fn who_is_told_to_wait_waits_and_so_do_the_others() {
    for fault in [Fault::RateLimitHeader, Fault::RateLimitBody] {
        let api = Api::start(known(200), Settings::default()).await;
        api.set_faults(Faults::new(1, 1).on(&format!("start_time={FIRST_S}"), fault, 1.0));
        let mut keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
        keeper.waits = Waits { most: Duration::from_secs(2), ..QUICK };
        // The first window is told, and the second would follow at once.
        (keeper.follow.in_flight, keeper.requests_per_second) = (2, 20.0);
        let begun = Instant::now();
        assert_well(&keeper.round().await.unwrap());
        assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
        let asked: Vec<_> = api.requests().into_iter().filter(|(line, _)| line.contains("orders")).collect();
        assert_eq!(asked[0].1, 429);
        keeper.assert_holds(&api.known(), END_S).await;
    }
}

#[tokio::test]
async fn no_more_requests_are_sent_in_a_second_than_allowed() {
    let api = Api::start(Known::generate(2, 60, DAYS as u32, FIRST_S), Settings::default()).await;
    let mut keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    (keeper.follow.piece_us, keeper.requests_per_second) = (6 * 3_600 * SECOND_US, 40.0);
    let begun = Instant::now();
    assert_well(&keeper.round().await.unwrap());
    let requests = api.requests().len();
    assert!(requests >= 16, "{requests}");
    let least = Duration::from_secs_f64((requests - 1) as f64 / 40.0);
    assert!(begun.elapsed() >= least, "{requests} in {:?}", begun.elapsed());
}
