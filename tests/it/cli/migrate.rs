//! `tradefold migrate`, and `audit --against`.

use super::{Desk, number};
use crate::googlesql::python;
use crate::report::browser;
use crate::rows::write;
use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use serde_json::Value;
use std::sync::Arc;

/// A lake with one run of the demo, and a staging table with the other two, in which 605 keys are new and 25 rows
/// higher.
pub(super) fn desk() -> Desk {
    let desk = Desk::new();
    desk.report(0, "backfill fixtures/demo/run-1-000.parquet --warehouse lake");
    desk.report(0, "backfill fixtures/demo/run-2-000.parquet fixtures/demo/run-3-000.parquet --warehouse staging");
    desk
}

const MIGRATE: &str = "migrate --from staging --to lake";

#[test]
fn a_staging_table_is_planned_migrated_proven_and_taken_back() {
    let desk = desk();
    let before = desk.files("lake");
    let against = desk.report(65, "audit --warehouse lake --against staging");
    assert_eq!((number(&against, "/against/missing_keys"), number(&against, "/against/higher_rows")), (605, 25));
    assert_eq!(against["findings"].to_string(), r#"["missing_rows"]"#);
    let plan = desk.report(0, &format!("{MIGRATE} --plan"));
    assert_eq!(desk.files("lake"), before, "a plan writes nothing");
    assert_eq!((number(&plan, "/sources/staging"), plan["proof"].is_null()), (9_508, true));
    let staged = number(&plan, "/run/batches/0/staged_bytes");
    assert!(staged > 100_000, "{staged} bytes of some thousand rows");
    let text = desk.run(&format!("{MIGRATE} --plan --quiet")).out;
    for line in [
        "  batch                        winners         new       newer     present",
        "  total                          9,508         605          25       8,878",
        "  columns of staging, 20 files looked at",
        "  as in the contract",
        "nothing was written to the target: this is a plan",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}\n{text}");
    }
    let done = desk.report(0, MIGRATE);
    assert_eq!(plan["run"]["balance"], done["run"]["balance"]);
    let proof = &done["proof"];
    assert_eq!((number(proof, "/inserted"), proof["findings"].to_string()), (605, "[]".into()));
    assert_eq!((number(proof, "/before/rows"), number(proof, "/after/rows")), (8_993, 9_598));
    let page = done["proof_page"].as_str().unwrap().trim_start_matches("file:///").to_string();
    let page = desk.path(&page);
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(page.with_extension("json")).unwrap()).unwrap();
    browser::check(&page, &kept);
    let audit = desk.report(0, "audit --warehouse lake --against staging --against fixtures/demo/run-1-000.parquet");
    assert_eq!((number(&audit, "/against/missing_keys"), number(&audit, "/against/higher_rows")), (0, 0));
    assert_eq!(number(&audit, "/against/sources/staging"), 9_508);
    // Files that two places name are those of the first.
    let twice = desk.report(0, "audit --warehouse lake --against staging --against staging/trades");
    assert_eq!(twice["against"]["sources"], serde_json::json!({ "staging": 9_508 }));
    // What was kept of it is nobody's leftover.
    desk.report(0, "gc --warehouse lake --remove");
    let name = proof["migration"].as_str().unwrap();
    let back = format!("migrate --to lake --roll-back {name}");
    let said = desk.report(0, &back);
    assert_eq!((said["is_plan"].as_bool(), number(&said, "/undone/removed")), (Some(true), 605));
    assert_eq!(number(&desk.report(0, "audit --warehouse lake"), "/audit/rows"), 9_598);
    let undone = desk.report(0, &format!("{back} --yes"));
    assert_eq!((number(&undone, "/undone/removed"), number(&undone, "/undone/restored")), (605, 25));
    let audit = desk.report(0, "audit --warehouse lake");
    assert_eq!((number(&audit, "/audit/rows"), number(&audit, "/lost_rows")), (8_993, 0));
    let differs = desk.report(0, "diff lake fixtures/demo/run-1-000.parquet --dataset trades");
    assert_eq!(differs["keys"]["only_a"].to_string() + &differs["keys"]["only_b"].to_string(), "00", "{differs:#}");
    let ran = desk.run(&format!("{back} --yes"));
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains(&format!("migration `{name}`")), "{}", ran.err);
    assert!(ran.err.contains("nothing was brought in by migrate, or all of it was taken back"), "{}", ran.err);
}

#[test]
fn a_migration_reads_like_a_balance() {
    let desk = desk();
    let ran = desk.run(&format!("{MIGRATE} --quiet"));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for line in [
        "staging (9,508 rows)",
        "  total                          9,508         605          25       8,878",
        "  missing_winners                holds   the key of every winner is in the target",
        "  nothing is missing, lower, blank or double",
    ] {
        assert!(ran.out.lines().any(|own| own == line), "{line}\n{}", ran.out);
    }
}

#[test]
fn a_source_without_a_part_of_the_key_stops_until_somebody_chooses() {
    let desk = desk();
    // The first of its rows as CSV without an order hash, by which the table tells fills apart.
    let header = "user,tx_hash,timestamp,log_index,id,side,price\n";
    let row = |hash: &str, id: &str, price: &str| format!("0xa,{hash},2025-10-02T10:00:00Z,1,{id},BUY,{price}\n");
    desk.write(
        "narrow.csv",
        &(header.to_string() + &row("0x1", "a", "0.5") + &row("0x1", "b", "0.6") + &row("0x2", "c", "0.7")),
    );
    let ran = desk.run("migrate --from narrow.csv --to lake");
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("order_hash"), "{}", ran.err);
    let keyed = "migrate --from narrow.csv --to lake --source-key \"wallet_address, tx_hash, id\"";
    let stopped = desk.report(65, &format!("{keyed} --on-suspect keep"));
    assert_eq!(stopped["run"]["stops"][0]["reason"], "key_differences");
    assert_eq!((number(&stopped, "/run/other_key/keys"), number(&stopped, "/run/other_key/told_apart")), (3, 1));
    assert_eq!(desk.rows(&stopped["run"]["stops"][0]["file"]).len(), 2);
    let kept = desk.report(0, &format!("{keyed} --on-suspect keep --on-key-difference keep"));
    assert_eq!(number(&kept, "/proof/inserted"), 2);
}

#[test]
fn what_can_not_be_migrated_is_refused_with_what_to_do() {
    let desk = desk();
    for (arguments, reason) in [
        ("migrate --to lake", "--from"),
        ("migrate --from nowhere --to lake", "nowhere"),
        ("migrate --from staging --to bigquery://p.d", "no --stage there is given"),
        ("migrate --from bigquery://p.d.t --to lake", "no --stage there is given"),
        ("migrate --from staging --to lake --dataset markets", "it has no table `markets`"),
        ("migrate --to lake --roll-back deadbeef", "the target has none of this name"),
        ("migrate --from staging --to lake --yes", "--yes"),
    ] {
        let ran = desk.run(arguments);
        assert_eq!(ran.code, 2, "{arguments}\n{}", ran.err);
        assert!(ran.err.contains(reason), "{arguments}\n{}", ran.err);
    }
}

#[test]
fn a_plan_tells_which_columns_are_others_than_the_contracts() {
    let desk = desk();
    let script = "import duckdb; duckdb.sql(\"COPY (SELECT * EXCLUDE (title) REPLACE (price::DECIMAL(9, 4) AS \
                  price), 7 AS batch, NULL::INT AS empty FROM 'fixtures/demo/run-2-000.parquet') TO 'odd.parquet'\")";
    let ran = std::process::Command::new(python()).args(["-c", script]).current_dir(desk.path("")).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    desk.write("odd.csv", "user,tx_hash,order_hash,timestamp,id,mine\n0xa,0x1,0x2,2025-10-02T10:00:00Z,a,1\n");
    let plan = desk.report(0, "migrate --from odd.parquet --from odd.csv --from staging --to lake --plan");
    let odd = &plan["columns"]["odd.parquet"];
    let rows = number(&plan, "/sources/odd.parquet");
    assert_eq!(odd["left_out"], serde_json::json!({ "batch": rows, "empty": 0 }));
    assert_eq!(odd["lacks"], serde_json::json!({ "title": 1 }));
    assert_eq!(odd["casts"], serde_json::json!({ "price": "Decimal128(9, 4) becomes float64" }));
    let texts = &plan["columns"]["odd.csv"];
    assert_eq!((texts["left_out"].to_string(), texts["casts"].to_string()), (r#"{"mine":1}"#.into(), "{}".into()));
    assert_eq!((texts["lacks"]["price"].as_u64(), texts["lacks"]["order_hash"].is_null()), (Some(1), true));
    let text = desk.run("migrate --from odd.parquet --to lake --plan --quiet").out;
    for line in [
        "  lacks                 title: 1 file without",
        "  not brought in        empty: 0 rows with a value",
        "  of another type       price: Decimal128(9, 4) becomes float64",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}\n{text}");
    }
}

#[test]
fn times_without_a_zone_are_utc_where_somebody_says_so() {
    let desk = Desk::new();
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_760_000_000_000_000, 1_760_086_400_000_000]));
    let batch = RecordBatch::try_from_iter([("k", keys), ("ts", times)]).unwrap();
    write(&desk.path("rows.parquet"), &[batch], 100);
    let contract = "name = \"t\"\nkey = [\"k\"]\norder = [\"ts DESC NULLS LAST\"]\npartition = \"ts\"\n\
        column = [{ name = \"k\", type = \"string\" }, { name = \"ts\", type = \"timestamp\"ZONE }]";
    let local = contract.replace("ZONE", ", zone = \"+02:00\"");
    desk.write("t.toml", &contract.replace("ZONE", ""));
    let ran = desk.run("migrate --from rows.parquet --to lake --dataset t.toml");
    assert!(ran.code == 2 && ran.err.contains("column `ts`") && ran.err.contains("--times-are-utc"), "{}", ran.err);
    assert!(!desk.path("lake/t").exists());
    let days = |lake: &str| -> Vec<String> {
        let files = desk.files(&format!("{lake}/t")).into_iter();
        files
            .filter_map(|file| file.split_once('/').map(|(day, _)| day.to_string()))
            .filter(|day| day != "_delta_log")
            .collect()
    };
    let done = desk.report(0, "migrate --from rows.parquet --to lake --dataset t.toml --times-are-utc");
    assert_eq!(
        (number(&done, "/proof/inserted"), days("lake")),
        (2, vec!["_day=2025-10-09".into(), "_day=2025-10-10".into()])
    );
    // 08:53:20 in the contract's zone is 06:53:20 UTC: what the contract says stands.
    desk.write("t.toml", &local);
    desk.report(0, "migrate --from rows.parquet --to local --dataset t.toml --times-are-utc");
    let audit = desk.report(65, "audit --warehouse local --dataset t.toml --against lake/t");
    assert_eq!((number(&audit, "/against/missing_keys"), number(&audit, "/against/higher_rows")), (0, 2));
}
