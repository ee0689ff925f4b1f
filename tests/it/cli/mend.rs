//! `tradefold migrate --mend`

use super::migrate::desk;
use super::number;
use tradefold::ledger::{Entry, Ledger};
use tradefold::storage::Folder;

/// Writes all rows of the lake's table into it once more, past all checks.
async fn doubled(path: &std::path::Path) {
    let table = deltalake::open_table(url::Url::from_directory_path(path).unwrap()).await.unwrap();
    let context = datafusion::prelude::SessionContext::new();
    table.update_datafusion_session(&context.state()).unwrap();
    context.register_table("t", table.table_provider().await.unwrap()).unwrap();
    let rows = context.sql("SELECT * FROM t").await.unwrap().collect().await.unwrap();
    table.write(rows).with_partition_columns(["_day"]).await.unwrap();
}

#[tokio::test]
async fn a_lake_that_holds_duplicates_is_mended_and_had_back() {
    let desk = desk();
    doubled(&desk.path("lake/trades")).await;
    let stopped = desk.report(65, "migrate --from staging --to lake");
    assert_eq!(stopped["run"]["stops"][0]["reason"], "target_repeats");
    assert!(stopped["run"]["stops"][0]["hint"].as_str().unwrap().contains("migrate --mend"));
    let ran = desk.run("migrate --from staging --to lake --mend --quiet");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    for line in [
        "the table's own rows, into a new one",
        "  lost_keys                      holds   every key that the target had is in it",
        "a table of 17,986 rows was replaced by one of 9,598; it is kept until",
    ] {
        assert!(ran.out.lines().any(|own| own.starts_with(line)), "{line}\n{}", ran.out);
    }
    let audit = desk.report(0, "audit --warehouse lake --against staging");
    assert_eq!((number(&audit, "/audit/rows"), number(&audit, "/rows_after_last_merge")), (9_598, 9_598));
    assert_eq!((number(&audit, "/lost_rows"), number(&audit, "/removed_between_merges")), (0, 0));
    let status = desk.report(0, "status --warehouse lake");
    assert_eq!((number(&status, "/rows"), status["unfinished"].to_string()), (9_598, "[]".into()));
    // Given once more it is a migration that has nothing to do.
    let again = desk.report(0, "migrate --from staging --to lake --mend");
    assert_eq!((number(&again, "/proof/inserted"), again["mended"].is_null()), (0, true));
    // One that died before it could tell what it has done tells it then, and leaves nothing.
    let making = desk.path("lake/_tradefold/trades/mending/ledger");
    let open = async |path: &std::path::Path| {
        Ledger::open(Folder::open(&path.to_string_lossy(), &[]).unwrap(), "dead".into()).await.unwrap()
    };
    let own = open(&desk.path("lake/_tradefold/trades/ledger")).await;
    let name = own.migrations().into_iter().find(|name| own.mended(name).is_some()).unwrap();
    let begun = Entry::Migrating { run_id: name.into(), before: None, contract: String::new() };
    open(&making).await.append(begun, 0).await.unwrap();
    let again = desk.run("migrate --from staging --to lake --mend --quiet");
    assert!(again.out.contains("a table of 17,986 rows was replaced by one of 9,598; it is kept"), "{}", again.out);
    assert!(!making.parent().unwrap().exists() && !again.out.contains("the table's own rows"), "{}", again.out);
    let kept = desk.report(0, "gc --warehouse lake --remove --unfinished");
    let kept = kept["kept"].as_array().unwrap().iter().find(|left| left["what"] == "dropped table").unwrap();
    let name = kept["place"].as_str().unwrap().rsplit('-').nth(1).unwrap();
    let said = desk.run(&format!("migrate --to lake --roll-back {name}"));
    assert!(said.out.contains("a table of 9,598 rows would be replaced by one of 17,986"), "{} {}", said.out, said.err);
    assert_eq!(number(&desk.report(0, "status --warehouse lake"), "/rows"), 9_598);
    desk.report(0, &format!("migrate --to lake --roll-back {name} --yes"));
    let audit = desk.report(65, "audit --warehouse lake");
    assert_eq!((number(&audit, "/audit/rows"), number(&audit, "/lost_rows")), (17_986, 0));
}

#[test]
fn a_table_that_is_about_to_be_replaced_is_no_empty_one() {
    let desk = desk();
    std::fs::create_dir(desk.path("lake/_tradefold/trades/mending")).unwrap();
    std::fs::rename(desk.path("lake/trades"), desk.path("lake/_tradefold/trades/mending/table")).unwrap();
    for arguments in [
        "status --warehouse lake",
        "audit --warehouse lake",
        "gc --warehouse lake",
        "backfill fixtures/demo/run-2-000.parquet --warehouse lake",
        "plan fixtures/demo/run-2-000.parquet --warehouse lake",
        "migrate --from staging --to lake",
    ] {
        let ran = desk.run(arguments);
        assert_eq!(ran.code, 73, "{arguments}\n{}{}", ran.out, ran.err);
        assert!(ran.err.contains("it is about to be replaced by"), "{arguments}\n{}", ran.err);
    }
    assert!(!desk.path("lake/trades").exists());
    let ran = desk.run("migrate --to lake --mend --plan");
    assert_eq!(ran.code, 2, "{}", ran.err);
}
