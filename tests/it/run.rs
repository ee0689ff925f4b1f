//! Runs: what their names depend on.

use crate::rows::{engine, trades};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tradefold::dataset::{Dataset, parse_key};
use tradefold::progress::Silent;
use tradefold::run::{Choice, Run, RunOptions, Work};
use tradefold::source::{Input, discover};
use tradefold::storage::Folder;
use tradefold::warehouse::local::DeltaWarehouse;
use tradefold::window::Window;

async fn inputs(folder: &Path) -> Vec<Input> {
    discover(&[folder.to_string_lossy().into_owned()], &[]).await.unwrap()
}

fn run_id(dataset: &Dataset, inputs: &[Input], options: RunOptions) -> String {
    let (engine, home) = (engine(1), Folder::open("nowhere", &[]).unwrap());
    let warehouse = DeltaWarehouse::new(engine.clone(), Arc::new(dataset.clone()), home.clone());
    let (progress, now_us) = (&Silent, &|| 0);
    let (work, warehouse) = (home.clone(), &warehouse);
    Run { dataset, engine: &engine, warehouse, home, work, options, page: None, turns: None, progress, now_us }
        .run_id(Work::Files(inputs))
}

#[tokio::test]
async fn a_run_is_named_for_its_inputs_and_for_every_decision_that_changes_its_outcome() {
    let (dataset, folder) = (trades(), tempfile::tempdir().unwrap());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.ndjson", "{}\n");
    write("b.ndjson", "{}\n");
    let found = inputs(folder.path()).await;
    let usual = RunOptions::default;
    let name = |options: RunOptions| run_id(&dataset, &found, options);
    let own = name(usual());
    assert_eq!(own, name(usual()));
    assert_eq!(own, run_id(&dataset, &found.iter().rev().cloned().collect::<Vec<_>>(), usual()));
    // How many rejects are let through and what is written beside the table change no row of it.
    assert_eq!(own, name(RunOptions { max_rejects: Some(3), keep_losers: true, keep_parts: true, ..usual() }));
    let others = [
        RunOptions { window: Window::new(0, 1), ..usual() },
        RunOptions { on_suspect: Choice::Keep, ..usual() },
        RunOptions { on_suspect: Choice::Quarantine, ..usual() },
        RunOptions { on_conflict: Choice::Stop, ..usual() },
        RunOptions { on_conflict: Choice::Quarantine, ..usual() },
        RunOptions { on_redated: Choice::Stop, ..usual() },
        RunOptions { days_per_batch: 1, ..usual() },
        RunOptions { key_chosen: true, ..usual() },
    ];
    let mut names: BTreeSet<String> = others.into_iter().map(name).collect();
    names.insert(run_id(&trades().with_key(parse_key("tx_hash").unwrap()).unwrap(), &found, usual()));
    names.insert(run_id(&dataset, &found[..1], usual()));
    write("b.ndjson", "{} \n");
    names.insert(run_id(&dataset, &inputs(folder.path()).await, usual()));
    names.insert(own);
    assert_eq!(names.len(), 12, "{names:?}");
}
