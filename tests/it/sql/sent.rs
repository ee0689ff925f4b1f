//! The statements that deduplication and the embedded warehouse send to DataFusion, as they are sent.

use crate::rows::{LATE_US, batch, engine, odd, row, text, trades, write};
use crate::warehouse::Unwritten;
use insta::assert_snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tradefold::dataset::Dataset;
use tradefold::dedup::Dedup;
use tradefold::dedup::rule::{Row, Value};
use tradefold::engine::{DataFile, Engine};
use tradefold::plan::Batch;
use tradefold::stage::{Manifest, StagedObject};
use tradefold::storage::Folder;
use tradefold::warehouse::local::DeltaWarehouse;
use tradefold::warehouse::{Comparison, Finding, Warehouse};
use tradefold::window::Day;

/// Keeps the field `sql` of every event.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Sent {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        event.record(&mut self.clone());
    }
}

impl Visit for Sent {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "sql" {
            self.0.lock().unwrap().push(value.to_string());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

/// What was sent while each thing was done, in order.
#[derive(Default)]
struct Script {
    sent: Sent,
    text: String,
}

impl Script {
    fn done(&mut self, what: &str) {
        self.text.push_str(&format!("== {what}\n"));
        for sql in self.sent.0.lock().unwrap().drain(..) {
            self.text.push_str(&format!("{sql};\n\n"));
        }
    }
}

fn script(play: impl AsyncFnOnce(&mut Script)) -> String {
    let mut script = Script::default();
    let listener = tracing_subscriber::registry().with(script.sent.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(listener, || runtime.block_on(play(&mut script)));
    script.text
}

#[test]
fn deduplication() {
    let dataset = trades();
    let dir = tempfile::tempdir().unwrap();
    let file = write(&dir.path().join("a.parquet"), &[batch(&dataset, &[row(&dataset, &[])])], 10);
    let text = script(async |script| {
        let engine = engine(1);
        let dedup = Dedup::new(&engine, &dataset, &[file]).await.unwrap();
        script.done("winners");
        dedup.rows_without_key().await.unwrap();
        script.done("rows without a key");
    });
    assert_snapshot!("sent_by_dedup", text);
}

/// Two trades of one key that number different fills, and a third that ties with the first and differs.
fn rows(dataset: &Dataset) -> Vec<Row> {
    let trade = |log_index: i64, title: &str| {
        let known = [
            ("wallet_address", text("0xa")),
            ("tx_hash", text("0x1")),
            ("timestamp", Value::Int(LATE_US)),
            ("log_index", Value::Int(log_index)),
            ("title", text(title)),
        ];
        row(dataset, &known)
    };
    vec![trade(2, "a"), trade(1, "a"), trade(2, "b")]
}

/// A batch that brings in some rows of 2025-10-06.
fn staged(dataset: &Dataset, dir: &Path, name: &str, rows: &[Row]) -> Manifest {
    let DataFile { url, label, size_bytes } = write(&dir.join(name), &[batch(dataset, rows)], 10);
    let (number, rows) = (1_272, rows.len() as u64);
    let days: BTreeMap<Day, u64> = dataset.partition.iter().map(|_| (Day(20_367), rows)).collect();
    let touched = days.keys().copied().collect();
    let object = StagedObject { url, name: label, size_bytes, digest: name.into(), rows };
    Manifest {
        batch_id: name.into(),
        batch: Batch { number, rows, days, touched },
        objects: vec![object],
        witnesses: None,
        part: None,
    }
}

fn merge_script(dataset: &Dataset, first: Row, second: Row) -> String {
    let dir = tempfile::tempdir().unwrap();
    let batches = [first, second].map(|row| [row]);
    let first = staged(dataset, dir.path(), "a.parquet", &batches[0]);
    let second = staged(dataset, dir.path(), "b.parquet", &batches[1]);
    let days: BTreeSet<Day> = first.batch.touched.clone();
    script(async |script| {
        let engine: Engine = engine(1);
        let folder = Folder::open(dir.path().join("table").to_str().unwrap(), &[]).unwrap();
        let warehouse = DeltaWarehouse::new(engine, Arc::new(dataset.clone()), folder);
        warehouse.merge(&first, &days, &Comparison::default(), &mut Unwritten).await.unwrap();
        script.done("merge into a new table");
        warehouse.check_target().await.unwrap();
        script.done("check the target");
        warehouse.load(&second).await.unwrap();
        script.done("load");
        warehouse.compare(&second, &days).await.unwrap();
        script.done("compare");
        warehouse.key_search(&second, &days).await.unwrap();
        script.done("key search");
        for finding in [Finding::Conflict, Finding::Suspect, Finding::Redated, Finding::Repeated, Finding::Unfolded] {
            warehouse.rows_of(&second, &days, finding).await.unwrap();
            script.done(&format!("rows behind {finding:?}"));
        }
        let merged = warehouse.merge(&second, &days, &Comparison::default(), &mut Unwritten).await.unwrap();
        assert_eq!((merged.updated, merged.version), (1, Some(1)));
        script.done("merge");
        warehouse.verify(&second, &days, &merged).await.unwrap().check("b").unwrap();
        script.done("verify");
        let first = dataset.column_names().next().unwrap();
        warehouse.values(first, Some((first, "0xa"))).await.unwrap();
        script.done("values");
        warehouse.rows_by_day(Day(20_367)).await.unwrap();
        script.done("rows by day");
    })
}

#[test]
fn the_embedded_warehouse() {
    let (trades, odd) = (trades(), odd());
    let rows = rows(&trades);
    assert_snapshot!("sent_by_local", merge_script(&trades, rows[1].clone(), rows[0].clone()));
    let odd_row = |rank| row(&odd, &[("number", Value::Int(1)), ("first", text("a")), ("rank", Value::Int(rank))]);
    assert_snapshot!("sent_by_local_without_partition", merge_script(&odd, odd_row(1), odd_row(2)));
}
