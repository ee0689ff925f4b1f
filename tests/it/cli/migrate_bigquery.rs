//! `tradefold migrate` from tables of BigQuery and into them.

use super::bigquery::Cloud;
use super::number;
use crate::warehouse::bigquery::front::Front;
use crate::warehouse::bigquery::servers::servers;
use crate::warehouse::bigquery::stand::Witness;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A target with one run of the demo, a staging table with the other two and copies of some rows, and a server before
/// the emulator that has extract jobs.
async fn clouds() -> (Cloud, Cloud, Front, Witness) {
    let (mut target, staging) = (Cloud::new().await, Cloud::new().await);
    target.report(0, "backfill fixtures/demo/run-1-000.parquet");
    staging.report(0, "backfill fixtures/demo/run-2-000.parquet fixtures/demo/run-3-000.parquet");
    let witness = Witness::new(servers()).await;
    let table = format!("`{}`.`{}`.`trades`", staging.place.project, staging.place.dataset);
    witness.run(&format!("INSERT INTO {table} SELECT * FROM {table} WHERE `side` = 'BUY'")).await;
    let front = Front::start(&servers().bigquery).await;
    target.endpoint.clone_from(&front.url);
    (target, staging, front, witness)
}

fn ask(cloud: &Cloud, code: i32, arguments: &str) -> Value {
    let ran = cloud.ask("stage", &format!("{arguments} --json"));
    assert_eq!(ran.code, code, "{arguments}: {}{}", ran.out, ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

/// What is in the bucket and only of use while something runs.
fn passing(cloud: &Cloud) -> Vec<String> {
    let is_passing = |path: &String| ["/exports/", "/plans/"].iter().any(|folder| path.contains(folder));
    cloud.objects().into_iter().filter(is_passing).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staging_table_of_bigquery_is_migrated_into_another() {
    let (cloud, staging, front, witness) = clouds().await;
    let (from, to) = (format!("{}.trades", staging.place), cloud.place.to_string());
    let migrate = format!("migrate --from {from} --to {to}");
    let rows = format!("SELECT COUNT(*) AS n FROM `{}`.`{}`.`trades`", staging.place.project, staging.place.dataset);
    let staged = witness.run(&rows).await[0]["n"].as_u64().unwrap();
    assert!(staged > 9_508, "{staged}");
    let objects = cloud.objects();
    let plan = ask(&cloud, 0, &format!("{migrate} --plan"));
    assert_eq!((number(&plan, &format!("/sources/{}", from.replace('/', "~1"))), front.ran("merge")), (staged, 0));
    assert_eq!(number(&plan, "/run/estimate/usage/steps/reduce/jobs"), 1, "{plan:#}");
    assert_eq!(cloud.objects(), objects, "a plan leaves nothing");
    let routes = &plan["routes"];
    assert_eq!((&routes["is_in_place"], &routes["obstacles"]), (&json!(true), &Value::Null), "{routes}");
    assert_eq!((front.ran("reduce"), front.ran("export")), (1, 0));
    let tables = format!(
        "SELECT table_name AS t FROM `{}`.`{}`.INFORMATION_SCHEMA.TABLES",
        cloud.place.project, cloud.place.dataset
    );
    let tables = async || witness.run(&tables).await.iter().map(|row| row["t"].to_string()).collect::<Vec<_>>();
    assert_eq!(tables().await, ["\"trades\""]);
    let done = ask(&cloud, 0, &migrate);
    assert_eq!(plan["run"]["balance"], done["run"]["balance"]);
    assert_eq!((front.ran("reduce"), front.ran("export"), cloud.objects().len() > objects.len()), (2, 0, true));
    let is_staged = |path: &String| path.ends_with(".parquet") && !objects.contains(path);
    assert_eq!(cloud.objects().iter().filter(|path| is_staged(path)).count(), 0, "no row leaves BigQuery");
    let proof = &done["proof"];
    assert_eq!((number(proof, "/inserted"), &proof["findings"]), (605, &json!([])));
    assert_eq!((number(proof, "/before/rows"), number(proof, "/after/rows")), (8_993, 9_598));
    assert_eq!(number(&done, "/run/balance/losers/exact"), staged - 9_508);
    assert_eq!(passing(&cloud), Vec::<String>::new());
    let rows = format!("SELECT * FROM `{}`.`{}`.`trades`", cloud.place.project, cloud.place.dataset);
    let all = |rows: Vec<Value>| rows.iter().map(Value::to_string).collect::<BTreeSet<_>>();
    let in_place = all(witness.run(&rows).await);
    let audit = ask(&cloud, 0, &format!("audit --warehouse {to} --against {from}"));
    assert_eq!((number(&audit, "/against/missing_keys"), number(&audit, "/against/keys")), (0, 9_508));
    let name = proof["migration"].as_str().unwrap();
    let back = format!("migrate --to {to} --roll-back {name}");
    assert_eq!(number(&ask(&cloud, 0, &back), "/undone/removed"), 605);
    let undone = ask(&cloud, 0, &format!("{back} --yes"));
    assert_eq!((number(&undone, "/undone/removed"), number(&undone, "/undone/restored")), (605, 25));
    let audit = ask(&cloud, 65, &format!("audit --warehouse {to} --against {from}"));
    assert_eq!((number(&audit, "/audit/rows"), number(&audit, "/lost_rows")), (8_993, 0));
    assert_eq!((number(&audit, "/against/missing_keys"), number(&audit, "/against/higher_rows")), (605, 25));
    let exported = ask(&cloud, 0, &format!("{migrate} --route export"));
    assert_eq!((&exported["routes"]["is_in_place"], &exported["proof"]["findings"]), (&json!(false), &json!([])));
    assert_eq!(exported["run"]["balance"], done["run"]["balance"]);
    assert_eq!((all(witness.run(&rows).await), front.ran("reduce")), (in_place, 2));
    assert_eq!(passing(&cloud), Vec::<String>::new());
}

/// What the choice of the way depends on.
#[tokio::test(flavor = "multi_thread")]
async fn the_cheaper_way_that_can_be_taken_is_taken() {
    let (cloud, staging, front, _) = clouds().await;
    front.set_dry_bytes(1 << 40);
    let plan = format!("migrate --from {}.trades --to {} --plan", staging.place, cloud.place);
    let routes = |report: &Value| {
        let routes = &report["routes"];
        let price = |way: &str| routes[way]["price_cents"].as_u64();
        (routes["is_in_place"].as_bool().unwrap(), price("in_place"), price("export"))
    };
    assert_eq!(routes(&ask(&cloud, 0, &format!("{plan} --price-per-tib 0"))), (true, Some(0), Some(0)));
    let limited = ask(&cloud, 0, &format!("{plan} --price-per-tib 0 --max-bytes-billed 1000"));
    assert_eq!(routes(&limited), (false, Some(0), Some(0)));
    let why = limited["routes"]["obstacles"][0].as_str().unwrap();
    assert!(why.contains("--max-bytes-billed allows 1000"), "{why}");
    let other = "wallet_address, tx_hash, order_hash, id";
    let mut keyed = cloud.asking("stage", &format!("{plan} --route in-place"));
    let ran = cloud.desk.read(keyed.args(["--source-key", other]).output().unwrap());
    assert!(ran.code == 2 && ran.err.contains("two keys are compared by rows that have landed here"), "{}", ran.err);
    let ran = cloud.ask("stage", &format!("migrate --from fixtures/demo --to {} --route in-place", cloud.place));
    assert!(ran.code == 2 && ran.err.contains("one table of BigQuery can"), "{}", ran.err);
    // Statements of a TiB each, and a table of which the emulator says no size.
    let shown = cloud.ask("stage", &plan).out;
    let lines: Vec<&str> =
        shown.lines().filter(|line| line.contains("in place") || line.contains("by export")).collect();
    assert!(lines[0].contains("3,298,534,883,328   bytes billed at most, 18.75"), "{shown}");
    assert!(lines[1].contains("bytes at most that leave BigQuery, 0.00   taken"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_bigquery_comes_to_a_lake_and_files_go_to_bigquery() {
    let (cloud, mut staging, front, witness) = clouds().await;
    staging.endpoint.clone_from(&front.url);
    let done = ask(&cloud, 0, &format!("migrate --from {} --to lake", staging.place));
    assert_eq!((number(&done, "/proof/inserted"), &done["proof"]["findings"]), (9_508, &json!([])));
    // Whoever comes again finds an unchanged table exported anew, and nothing to do.
    let again = ask(&cloud, 0, &format!("migrate --from {} --to lake", staging.place));
    assert_eq!((number(&again, "/proof/inserted"), front.ran("export")), (0, 2));
    // Of a table without rows nothing is exported, and nothing is proven of none.
    let dataset = format!("`{}`.`{}`", staging.place.project, staging.place.dataset);
    witness.run(&format!("CREATE TABLE {dataset}.`none` AS SELECT * FROM {dataset}.`trades` WHERE FALSE")).await;
    let none = ask(&cloud, 0, &format!("migrate --from {}.none --to empty", staging.place));
    assert_eq!((number(&none, "/run/balance/landing/read"), &none["proof"]), (0, &Value::Null));
    assert!(!cloud.desk.path("empty/trades").exists());
    let differs = ask(&cloud, 0, &format!("diff lake {} --dataset trades", staging.place));
    assert_eq!(number(&differs, "/keys/same"), 9_508);
    let lake = cloud.desk.path("lake");
    let drop = format!("migrate --from {} --to {} --drop-source --yes", staging.place, lake.display());
    // Its own runs may have left something, and here nobody knows.
    let elsewhere = cloud.ask("stage", &drop);
    assert!(elsewhere.code == 2 && elsewhere.err.contains("their ledger in another stage"), "{}", elsewhere.err);
    let dropped = ask(&staging, 0, &drop)["dropped"].clone();
    let (table, kept) = (format!("{}.trades", staging.place), dropped[0]["kept"].as_str().unwrap().to_string());
    assert_eq!((dropped.as_array().unwrap().len(), &dropped[0]["source"]), (1, &json!(table)));
    let again = staging.ask("stage", &drop);
    assert_eq!(again.code, 2, "{}", again.out);
    let (own, snapshot) = (&staging.place.dataset, kept.rsplit('.').next().unwrap());
    let whole = format!("{}.{own}", staging.place.project);
    let back = format!("to have it back: CREATE TABLE `{whole}.trades` CLONE `{whole}.{snapshot}`");
    for part in ["it was dropped at", &kept, &back] {
        assert!(again.err.contains(part), "{part}\n{}", again.err);
    }
    // The emulator's clones have no past, which an export reads.
    witness.run(&format!("CREATE TABLE `{own}.trades` AS SELECT * FROM `{own}.{snapshot}`")).await;
    let again = ask(&cloud, 0, &format!("migrate --from {table} --to lake"));
    assert_eq!((number(&again, "/proof/inserted"), again["dropped"].is_null()), (0, true));
    assert!(cloud.desk.run("gc --warehouse lake").out.contains("staged objects"));
    let files = "migrate --from fixtures/demo/run-2-000.parquet --from fixtures/demo/run-3-000.parquet";
    let done = ask(&cloud, 0, &format!("{files} --to {}.trades", cloud.place));
    assert_eq!((number(&done, "/proof/inserted"), &done["proof"]["findings"]), (605, &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_production_of_bigquery_that_holds_duplicates_is_mended() {
    let mut cloud = Cloud::new().await;
    cloud.report(0, "backfill fixtures/five_days_apart_1.ndjson fixtures/midnight.ndjson");
    let witness = Witness::new(servers()).await;
    let table = format!("`{}`.`{}`.`trades`", cloud.place.project, cloud.place.dataset);
    let rows = format!("SELECT COUNT(*) AS n, COUNT(DISTINCT `tx_hash`) AS keys FROM {table}");
    let before = witness.run(&rows).await[0].clone();
    witness.run(&format!("INSERT INTO {table} SELECT * FROM {table}")).await;
    let front = Front::start(&servers().bigquery).await;
    cloud.endpoint.clone_from(&front.url);
    let done = ask(&cloud, 0, &format!("migrate --to {} --mend", cloud.place));
    let replaced = &done["mended"]["replaced"];
    assert_eq!((number(replaced, "/rows_before"), &done["proof"]["findings"]), (2 * number(&before, "/n"), &json!([])));
    assert_eq!(witness.run(&rows).await[0], before);
    assert_eq!(passing(&cloud), Vec::<String>::new());
    assert!(!cloud.desk.files(".tradefold").iter().any(|path| path.contains("/exports/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_migrated_in_bigquery_is_refused() {
    let mut cloud = Cloud::new().await;
    let front = Front::start(&servers().bigquery).await;
    cloud.endpoint.clone_from(&front.url);
    let (to, witness) = (cloud.place.to_string(), Witness::new(servers()).await);
    let narrow = format!("`{}`.`{}`.`narrow`", cloud.place.project, cloud.place.dataset);
    witness.run(&format!("CREATE TABLE {narrow} AS SELECT '0xa' AS `wallet_address`, '0x1' AS `tx_hash`")).await;
    let (without, nowhere) = (format!("{to}.narrow"), format!("bigquery://{}.nowhere.trades", cloud.place.project));
    for (arguments, reason) in [
        (format!("migrate --from {without} --to lake"), &*format!("source `{without}`")),
        (format!("migrate --from {nowhere} --to {to}"), "correct the name of the table"),
        (format!("migrate --from {nowhere} --to lake"), "correct the name of the table"),
        (
            format!("migrate --from fixtures/demo --to {to}.others"),
            "the table is named for the dataset, which is `trades`",
        ),
        (format!("migrate --from {to}.trades --to {to}"), "it is the target"),
        (format!("migrate --from {to}.nothing --to {to}"), "there is none of this name"),
    ] {
        let ran = cloud.ask("stage", &arguments);
        assert_eq!(ran.code, 2, "{arguments}\n{}", ran.err);
        assert!(ran.err.contains(reason), "{arguments}\n{}", ran.err);
    }
}

/// A file does not say whether its times are local, so this is asked of the table.
#[tokio::test(flavor = "multi_thread")]
async fn times_of_another_zone_are_refused_before_anything_is_exported() {
    let cloud = Cloud::new().await;
    let witness = Witness::new(servers()).await;
    for (table, kind, zone, reason) in [
        ("civil", "DATETIME", "", "its type is DATETIME: its times have no zone"),
        (
            "utc",
            "TIMESTAMP",
            ", zone = \"+02:00\"",
            "its type is TIMESTAMP, which is UTC, and the contract gives times",
        ),
    ] {
        let name = format!("`{}`.`{}`.`{table}`", cloud.place.project, cloud.place.dataset);
        witness.run(&format!("CREATE TABLE {name} (`k` STRING, `at` {kind})")).await;
        let contract = format!(
            "name = \"t\"\nkey = [\"k\"]\norder = [\"ts\"]\ncolumn = [{{ name = \"k\", type = \"string\" }}, \
             {{ name = \"ts\", type = \"timestamp\", from = [\"at\"]{zone} }}]"
        );
        cloud.desk.write("t.toml", &contract);
        let place = cloud.place.to_string();
        let ran = cloud.ask("stage", &format!("migrate --from {place}.{table} --to lake --dataset t.toml"));
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(reason) && ran.err.contains("column `at`"), "{}", ran.err);
    }
    assert_eq!(cloud.objects(), Vec::<String>::new());
}
