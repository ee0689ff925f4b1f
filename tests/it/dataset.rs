//! Contracts: what is refused, with its line and reason, and what a contract of one's own can do.

use crate::cli::{Desk, number, project};
use tradefold::dataset::Dataset;
use tradefold::error::Kind;

#[test]
fn a_wrong_contract_is_refused_with_its_line_and_the_reason() {
    let mut messages = String::new();
    let mut names: Vec<_> = std::fs::read_dir(project("fixtures/datasets/wrong"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 29);
    for name in names {
        let text = std::fs::read_to_string(project("fixtures/datasets/wrong").join(&name)).unwrap();
        let error = Dataset::from_toml(&text, &name).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{name}");
        let line: usize = error.to_string().split("line `").nth(1).unwrap().trim_end_matches('`').parse().unwrap();
        let meant = text.lines().next().unwrap().trim_start_matches("# ");
        let at = text.lines().nth(line - 1).unwrap();
        messages.push_str(&format!("{meant}\n  {line}: {at}\n{}\n", error.render()));
    }
    insta::assert_snapshot!(messages);
}

#[test]
fn a_table_without_a_partition_column() {
    let desk = Desk::new();
    let run = "backfill fixtures/markets_own.ndjson --dataset fixtures/datasets/markets_own.toml";
    let report = desk.report(0, run);
    let balance = ["/landing/read", "/landing/landed", "/winners", "/losers/superseded", "/losers/conflict"];
    assert_eq!(balance.map(|name| number(&report["balance"], name)), [6, 6, 3, 2, 1]);
    assert_eq!(report["batches"].as_array().unwrap().len(), 1);
    assert_eq!(number(&report, "/batches/0/merged/rows_after"), 3);
    // `[]` wins over `["weather"]`.
    let lost = desk.rows(&report["files"]["conflicts"]);
    assert_eq!((lost.len(), lost[0]["tags"].as_str()), (1, Some("[\"weather\"]")));
    let table = desk.files("lake/markets_own");
    assert!(table.iter().all(|file| !file.contains("_day=")), "{table:?}");
    let again = desk.report(0, run);
    assert_eq!(number(&again, "/batches/0/comparison/same"), 3);
    assert_eq!(desk.files("lake/markets_own"), table);
}

#[test]
fn another_key_takes_the_place_of_the_contracts() {
    let desk = Desk::new();
    for (key, keys) in
        [("", 6), ("tx_hash", 3), ("wallet_address", 5), ("\"tx_hash, COALESCE(order_hash, id, '')\"", 6)]
    {
        let flag = if key.is_empty() { String::new() } else { format!("--dataset trades --key {key}") };
        let report = desk.report(0, &format!("analyze fixtures/dome_page.json {flag}"));
        assert_eq!(number(&report, "/keys"), keys, "{key}");
    }
    // A chosen key may do without a column that the contract's key needs.
    let run = "backfill fixtures/no_order_hash_column.csv";
    assert_eq!(desk.run(run).code, 2);
    let report = desk.report(0, &format!("{run} --key wallet_address,tx_hash --on-suspect keep"));
    assert_eq!([number(&report, "/balance/landing/landed"), number(&report, "/balance/winners")], [3, 2]);
}

#[test]
fn the_contract_that_ships() {
    let trades = Dataset::built_in("trades").unwrap();
    let key: Vec<String> = trades.key.iter().map(ToString::to_string).collect();
    assert_eq!(key, ["wallet_address", "tx_hash", "COALESCE(order_hash, '')"]);
    let order: Vec<String> = trades.order.iter().map(ToString::to_string).collect();
    assert_eq!(order, ["timestamp DESC NULLS LAST", "log_index DESC NULLS LAST", "id DESC NULLS LAST"]);
    assert_eq!((trades.partition.as_deref(), trades.fixed.len()), (Some("timestamp"), 1));
    assert_eq!(trades.total_order().len(), trades.compared().count());
    let unknown = Dataset::built_in("fills").unwrap_err().render();
    assert!(unknown.contains("the ones that ship are trades, polymarket_trades, markets, events"), "{unknown}");
    let other = trades.clone().with_key(tradefold::dataset::parse_key("tx_hash").unwrap()).unwrap();
    assert_ne!(other.digest(), trades.digest());
}

#[test]
fn the_contracts_for_other_answers() {
    let by_name = ["trades", "polymarket_trades", "markets", "events"].map(|name| Dataset::built_in(name).unwrap());
    for dataset in &by_name {
        assert_eq!(dataset.fetched.as_deref(), Some("fetched_at"), "{}", dataset.name);
        assert_eq!(dataset.occurrence.is_some(), dataset.name == "polymarket_trades", "{}", dataset.name);
        assert!(!dataset.immutable && dataset.cluster.len() <= 4, "{}", dataset.name);
    }
    let [_, fills, markets, events] = &by_name;
    // What counts is the key and what can't change: a trade that is fetched again is not in conflict with itself.
    let key = fills.key.iter().map(|part| part.column.as_str());
    assert_eq!(fills.compared().collect::<Vec<_>>(), key.chain(["condition_id"]).collect::<Vec<_>>());
    for dataset in [markets, events] {
        assert_eq!((dataset.order[0].column.as_str(), dataset.partition.as_deref()), ("fetched_at", None));
    }
}

#[test]
fn another_key_may_do_without_occurrences() {
    let with_key = |text: &str| {
        let key = tradefold::dataset::parse_key(text).unwrap();
        Dataset::built_in("polymarket_trades").unwrap().with_key(key)
    };
    assert_eq!(with_key("tx_hash, occurrence").unwrap().occurrence.as_deref(), Some("occurrence"));
    assert_eq!(with_key("tx_hash").unwrap().occurrence, None);
    for wrong in ["tx_hash, COALESCE(occurrence, occurrence)", "occurrence, occurrence"] {
        let error = with_key(wrong).unwrap_err();
        assert!(error.kind() == Kind::Usage && error.render().contains("`occurrence`"), "{}", error.render());
    }
}
