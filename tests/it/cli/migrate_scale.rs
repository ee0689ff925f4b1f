//! A migration of a size that takes minutes: `make scale`, with a binary that was built for speed.

use super::bigquery::Cloud;
use super::number;
use crate::googlesql::python;
use crate::warehouse::bigquery::front::Front;
use crate::warehouse::bigquery::servers::servers;
use crate::warehouse::bigquery::stand::Witness;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Instant;

const STAGED: u64 = 1_660_000;
const KNOWN: u64 = 500_000;

/// Half a million of the winners, some of them as they were before somebody gave them an id.
const PRODUCTION: &str = "import duckdb, sys
duckdb.sql(f\"\"\"COPY (
  SELECT * EXCLUDE (n) REPLACE (CASE WHEN n % 320 = 0 AND order_hash IS NOT NULL THEN NULL ELSE id END AS id)
  FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY hash(tx_hash), tx_hash, wallet_address, order_hash) AS n
        FROM (SELECT DISTINCT ON (lower(wallet_address), lower(tx_hash), lower(COALESCE(order_hash, ''))) *
              FROM '{sys.argv[1]}/*.parquet')) WHERE n <= {sys.argv[3]}
) TO '{sys.argv[2]}' (FORMAT PARQUET)\"\"\")";

/// The columns of generated files, as a staging table has them: not all of the contract's.
const RAW: &str = "wallet_address STRING, tx_hash STRING, order_hash STRING, `timestamp` TIMESTAMP, log_index INT64,
  block_number INT64, id STRING, condition_id STRING, token_id STRING, token_label STRING, market_slug STRING,
  title STRING, side STRING, shares INT64, shares_normalized FLOAT64, price FLOAT64, taker STRING, source_run STRING,
  fetched_at TIMESTAMP";

/// Says how long a command took, and gives its report.
fn timed(cloud: &Cloud, what: &str, arguments: &str) -> Value {
    let begun = Instant::now();
    let ran = cloud.ask("stage", &format!("{arguments} --json"));
    println!("{what}: {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(ran.code, 0, "{arguments}: {}{}", ran.out, ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make scale"]
async fn a_migration_of_1_66_million_rows_into_the_emulator() {
    let mut cloud = Cloud::new().await;
    let front = Front::start(&servers().bigquery).await;
    cloud.endpoint.clone_from(&front.url);
    cloud.desk.binary = std::env::var_os("TRADEFOLD_BINARY").expect("`make scale` names one");
    cloud.desk.report(0, &format!("generate --rows {STAGED} --seed 3 --out raw"));
    cloud.desk.report(0, "dedup raw --output winners");
    let (winners, known) = (cloud.desk.path("winners"), cloud.desk.path("known.parquet"));
    let ran = Command::new(python()).args(["-c", PRODUCTION]).args([winners, known]).arg(KNOWN.to_string()).output();
    let ran = ran.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let witness = Witness::new(servers()).await;
    let to = cloud.place.to_string();
    timed(&cloud, "production", &format!("backfill known.parquet --warehouse {to}"));
    let bucket = servers().buckets.join(&cloud.place.dataset).join("raw");
    std::fs::create_dir(&bucket).unwrap();
    for file in std::fs::read_dir(cloud.desk.path("raw")).unwrap().map(|file| file.unwrap().path()) {
        std::fs::copy(&file, bucket.join(file.file_name().unwrap())).unwrap();
    }
    let named = |table: &str| format!("`{}`.`{}`.`{table}`", cloud.place.project, cloud.place.dataset);
    witness.run(&format!("CREATE TABLE {} ({RAW})", named("staging"))).await;
    witness.load(&cloud.place, "staging", &format!("gs://{}/raw/*.parquet", cloud.place.dataset)).await;
    let from = format!("{to}.staging");
    let migrate = format!("migrate --from {from} --to {to}");
    let (target, copy) = (named("trades"), |route: &str| named(&format!("by_{}", route.replace('-', "_"))));
    for route in ["in-place", "export"] {
        println!("\n{route}");
        let migrate = format!("{migrate} --route {route}");
        let plan = timed(&cloud, "plan", &format!("{migrate} --plan"));
        let done = timed(&cloud, "migrate", &migrate);
        assert_eq!(plan["run"]["balance"], done["run"]["balance"]);
        let (balance, proof) = (&done["run"]["balance"], &done["proof"]);
        println!("balance {balance:#}\nroutes {:#}", plan["routes"]);
        for check in proof["checks"].as_array().unwrap() {
            println!("{} {}: {}", check["found"], check["name"], check["promise"]);
        }
        let (before, inserted, after) =
            (number(proof, "/before/rows"), number(proof, "/inserted"), number(proof, "/after/rows"));
        let winners = number(balance, "/winners");
        println!("{before} + {inserted} = {after} rows; {winners} winners, {} merges", front.ran("merge"));
        assert_eq!((before, before + inserted, after, &proof["findings"]), (KNOWN, after, winners, &json!([])));
        assert_eq!(number(balance, "/landing/read"), STAGED);
        let again = timed(&cloud, "second run", &migrate);
        assert_eq!((number(&again, "/proof/inserted"), &again["proof"]["findings"]), (0, &json!([])));
        witness.run(&format!("CREATE TABLE {} AS SELECT * FROM {target}", copy(route))).await;
        let back = format!("migrate --to {to} --roll-back {}", proof["migration"].as_str().unwrap());
        let told = timed(&cloud, "roll back, said", &back);
        let undone = timed(&cloud, "roll back, done", &format!("{back} --yes"));
        println!("{} taken out, {} put back", undone["undone"]["removed"], undone["undone"]["restored"]);
        assert_eq!((number(&undone, "/undone/removed"), number(&undone, "/undone/rows_after")), (inserted, KNOWN));
        assert_eq!(told["undone"]["removed"], undone["undone"]["removed"]);
    }
    let [here, there] = ["export", "in-place"].map(copy);
    for [one, other] in [[&here, &there], [&there, &here]] {
        // Of copies that differ in nothing that counts any may win.
        let rows = |table: &str| format!("SELECT * EXCEPT (source_run, fetched_at) FROM {table}");
        let only = format!("SELECT COUNT(*) AS n FROM ({} EXCEPT DISTINCT {}) AS o", rows(one), rows(other));
        assert_eq!(witness.run(&only).await[0]["n"], json!(0), "both ways give the same table");
    }
}
