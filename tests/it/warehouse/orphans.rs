//! Trades of markets that are missing, between two tables of one lake.

use super::local::LocalStand;
use super::{DAY_S, EDGE_S, Stand, fill};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tradefold::dataset::Dataset;
use tradefold::warehouse::local::DeltaWarehouse;
use tradefold::warehouse::{Orphans, Warehouse, orphans};

const MARKETS: &str = r#"
name = "markets"
key = ["condition"]
order = ["volume DESC NULLS LAST"]
column = [
  { name = "condition", type = "string" },
  { name = "closed", type = "bool" },
  { name = "volume", type = "int64" },
]
"#;

fn counts(rows: &[(&str, u64)]) -> BTreeMap<String, u64> {
    rows.iter().map(|(value, rows)| (value.to_string(), *rows)).collect()
}

#[tokio::test]
async fn values_that_the_other_table_does_not_have_are_counted_by_rows() {
    let trades = LocalStand::new();
    let markets = LocalStand::of(Arc::new(Dataset::from_toml(MARKETS, "markets.toml").unwrap()));
    // Both by one engine, as a command has it.
    let table = |stand: &LocalStand| {
        let folder = stand.lake.join(&stand.dataset().name);
        DeltaWarehouse::new(trades.engine().clone(), Arc::new(stand.dataset().clone()), folder)
    };
    let (of_trades, of_markets) = (table(&trades), table(&markets));
    let look = async || orphans(&of_trades, "order_hash", &of_markets, "condition").await.unwrap();
    assert_eq!(look().await, Orphans::default(), "neither is there");

    let named = ["open", "shut", "gone", "gone", "lost", "open", ""].map(Value::from);
    let rows = named.into_iter().chain([Value::Null]).enumerate();
    let rows: Vec<Value> =
        rows.map(|(n, name)| fill(&format!("0x{n:x}"), name, EDGE_S + n as i64 * DAY_S, 1, 0.1)).collect();
    trades.plant(&rows).await;
    let all = Orphans { by_value: counts(&[("gone", 2), ("lost", 1), ("open", 2), ("shut", 1)]), empty_rows: 1 };
    assert_eq!(look().await, all, "a table that is not there has no keys");

    let market = |name: &str, closed: Value| json!({ "condition": name, "closed": closed, "volume": 1 });
    let rows = [
        market("open", json!(false)),
        market("shut", json!(true)),
        market("quiet", json!(false)),
        market("unclear", Value::Null),
        market("", json!(true)),
    ];
    markets.plant(&rows).await;
    let found = look().await;
    assert_eq!(found, Orphans { by_value: counts(&[("gone", 2), ("lost", 1)]), empty_rows: 1 });
    assert_eq!(serde_json::to_value(&found).unwrap(), json!({ "by_value": { "gone": 2, "lost": 1 }, "empty_rows": 1 }));
    let open = of_markets.values("condition", Some(("closed", "false"))).await.unwrap();
    assert_eq!(open, counts(&[("open", 1), ("quiet", 1)]));
    assert_eq!(of_markets.values("closed", None).await.unwrap(), counts(&[("false", 2), ("true", 2)]));
}
