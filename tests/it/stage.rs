//! Staging: the files of many batches, written at once by few encoders of bounded memory.

use crate::rows::{LATE_US, batch, compared, cut, engine, of_days, row, text, trades, values, write};
use crate::warehouse::fuel::{Death, Fuel, FuelStore};
use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use tradefold::dataset::Dataset;
use tradefold::dedup::Dedup;
use tradefold::dedup::rule::Value;
use tradefold::error::Kind;
use tradefold::footer::{self, Dictionary};
use tradefold::plan::Batch;
use tradefold::progress::Silent;
use tradefold::stage::{Router, StagedFile, WriteOptions, Written, upload, write_winners};
use tradefold::storage::Folder;
use tradefold::window::{DAY_US, Day};

const DAYS: i64 = 40;

/// A batch for each day.
fn options() -> WriteOptions {
    let first = LATE_US.div_euclid(DAY_US) as i32;
    let winners = (0..DAYS as i32).map(|day| (Some(Day(first + day)), 1)).collect();
    WriteOptions::new(cut(&winners, of_days(1)))
}

/// One trade on each of the days, each with a text that packs badly. `number` tells their keys apart.
fn trades_of_all_days(dataset: &Dataset, number: i64) -> RecordBatch {
    let trade = |day: i64| {
        let noise = blake3::hash(&[number.to_le_bytes(), day.to_le_bytes()].concat()).to_hex().repeat(20);
        let known = [
            ("wallet_address", text("0xa")),
            ("tx_hash", text(&format!("0x{number:x}{day:04x}"))),
            ("timestamp", Value::Int(LATE_US + day * DAY_US)),
            ("title", text(&noise)),
        ];
        row(dataset, &known)
    };
    batch(dataset, &(0..DAYS).map(trade).collect::<Vec<_>>())
}

/// The rows of a staged file, and how many row groups hold them.
fn read(file: &StagedFile) -> (Vec<RecordBatch>, usize) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file.path).unwrap()).unwrap();
    let groups = reader.metadata().num_row_groups();
    (reader.build().unwrap().map(Result::unwrap).collect(), groups)
}

/// Every batch of the grid has its rows, whichever files they are in.
fn check(written: &Written, dataset: &Dataset, inputs: &[RecordBatch]) {
    let place = dataset.schema().index_of("timestamp").unwrap();
    let mut found = Vec::new();
    for file in &written.files {
        let rows: Vec<_> = read(file).0.iter().flat_map(|batch| values(dataset, batch)).collect();
        assert_eq!(rows.len() as u64, file.rows);
        assert_eq!(std::fs::metadata(&file.path).unwrap().len(), file.size_bytes);
        for row in &rows {
            let Value::Int(us) = row[place] else { panic!("{row:?}") };
            assert_eq!((us - LATE_US).div_euclid(DAY_US), file.number as i64, "a row in the file of another batch");
        }
        found.extend(rows);
    }
    let days = &written.days;
    assert!(days.values().all(|rows| *rows == inputs.len() as u64) && days.len() == DAYS as usize, "{days:?}");
    let expected: Vec<_> = inputs.iter().flat_map(|batch| values(dataset, batch)).collect();
    assert_eq!(compared(dataset, &found), compared(dataset, &expected));
}

#[tokio::test]
async fn many_row_groups_of_many_batches_are_written_by_few_encoders() {
    let (dataset, folder, input) = (trades(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let inputs: Vec<RecordBatch> = (0..32).map(|number| trades_of_all_days(&dataset, number)).collect();
    let file = write(&input.path().join("in.parquet"), &inputs, DAYS as usize);
    let engine = engine(8);
    let decision = Dedup::new(&engine, &dataset, &[file]).await.unwrap().decide(&Silent).await.unwrap();
    let written = write_winners(&decision, &dataset, options(), folder.path(), &Silent).await.unwrap();
    check(&written, &dataset, &inputs);
    // A file for each batch and encoder: were there one for each row group or core, memory would run out.
    let encoder =
        |file: &StagedFile| file.path.file_stem().unwrap().to_str().unwrap().rsplit('-').next().unwrap().to_string();
    let encoders: BTreeSet<String> = written.files.iter().map(encoder).collect();
    assert_eq!(encoders.len(), 4, "{encoders:?}");
    assert_eq!(written.files.len(), 4 * DAYS as usize);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), written.files.len());
}

fn route(dataset: &Dataset, folder: &Path, inputs: &[RecordBatch], most: usize) -> (Written, usize) {
    let mut router = Router::new(dataset, options(), folder, 0).with_held_bytes(most);
    let mut peak = 0;
    for batch in inputs {
        router.push(batch).unwrap();
        peak = peak.max(router.held_bytes());
    }
    (router.finish().unwrap(), peak)
}

#[test]
fn an_encoder_writes_out_its_largest_row_group_before_all_together_hold_too_much() {
    let dataset = trades();
    let inputs: Vec<RecordBatch> = (0..30).map(|number| trades_of_all_days(&dataset, number)).collect();
    let (free, tight) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (written, peak) = route(&dataset, free.path(), &inputs, usize::MAX);
    check(&written, &dataset, &inputs);
    assert!(written.files.iter().all(|file| read(file).1 == 1));
    let most = peak / 4;
    let (written, held) = route(&dataset, tight.path(), &inputs, most);
    check(&written, &dataset, &inputs);
    assert!(held <= most, "{held} bytes were held where {most} are allowed, and {peak} without a limit");
    assert!(written.files.iter().any(|file| read(file).1 > 1), "some row groups were closed early");
}

#[test]
fn a_dictionary_may_be_as_large_as_it_is_chosen() {
    let mut dataset = trades();
    dataset.partition = None;
    // 15,000 texts of 100 characters, twice each: more than the usual dictionary holds.
    let trade = |number: i64| {
        let title = text(&format!("{:0100}", number % 15_000));
        row(&dataset, &[("wallet_address", text("0xa")), ("tx_hash", text("0xb")), ("title", title)])
    };
    let rows = batch(&dataset, &(0..30_000).map(trade).collect::<Vec<_>>());
    let written_with = |dictionary: Dictionary| {
        let folder = tempfile::tempdir().unwrap();
        let dictionaries = [("title".into(), dictionary)].into();
        let mut router = Router::new(&dataset, options(), folder.path(), 0).with_dictionaries(dictionaries);
        router.push(&rows).unwrap();
        let written = router.finish().unwrap();
        let file = footer::read(&File::open(&written.files[0].path).unwrap()).unwrap();
        let group = file.metadata().row_group(0);
        let title = group.columns().iter().find(|chunk| chunk.column_path().string() == "title").unwrap();
        (title.dictionary_page_offset().is_some(), footer::is_dictionary_only(title))
    };
    assert_eq!(written_with(Dictionary::None), (false, false));
    assert_eq!(written_with(Dictionary::Usual), (true, false));
    assert_eq!(written_with(Dictionary::Large), (true, true));
}

#[tokio::test]
async fn objects_are_named_for_their_bytes_and_not_written_twice() {
    let (dataset, folder, stage) = (trades(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (written, _) = route(&dataset, folder.path(), &[trades_of_all_days(&dataset, 0)], usize::MAX);
    let stage = Folder::open(stage.path().to_str().unwrap(), &[]).unwrap();
    let batch = Batch { number: 0, rows: written.rows(), days: BTreeMap::new(), touched: BTreeSet::new() };
    let manifest = upload(&stage, "a", &batch, &written.files, None).await.unwrap();
    let mut digests = Vec::new();
    for file in &written.files {
        digests.push(blake3::hash(&std::fs::read(&file.path).unwrap()).to_hex().to_string());
    }
    digests.sort_unstable();
    assert_eq!(manifest.objects.iter().map(|object| object.digest.clone()).collect::<Vec<_>>(), digests);
    assert!(manifest.objects.iter().all(|object| object.name == format!("{}.parquet", object.digest)));
    assert!(manifest.is_staged(&stage).await.unwrap());
    manifest.check_footers(&stage).await.unwrap();
    let first = stage.join("a").head(&manifest.objects[0].name).await.unwrap().unwrap();
    assert_eq!(upload(&stage, "a", &batch, &written.files, None).await.unwrap(), manifest);
    assert_eq!(stage.join("a").head(&manifest.objects[0].name).await.unwrap().unwrap(), first);
}

/// An object store says "there is one" of its own first try as well, so that is looked at and not believed.
#[tokio::test]
async fn an_object_that_somebody_else_put_there_meanwhile_is_not_believed() {
    let (dataset, folder, stage) = (trades(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (written, _) = route(&dataset, folder.path(), &[trades_of_all_days(&dataset, 0)], usize::MAX);
    let real = Folder::open(stage.path().to_str().unwrap(), &[]).unwrap();
    let batch = Batch { number: 0, rows: written.rows(), days: BTreeMap::new(), touched: BTreeSet::new() };
    let bytes = std::fs::read(&written.files[0].path).unwrap();
    let name = format!("{}.parquet", blake3::hash(&bytes).to_hex());
    for (there, is_fine) in [(bytes, true), (b"something else".to_vec(), false)] {
        real.clear().await.unwrap();
        let fuel = Fuel::new(1_000, Death::BeforeTheEffect);
        fuel.intrude(real.join("a").path(&name), there.into());
        let store = Arc::new(FuelStore { inner: Arc::clone(real.store()), fuel });
        let stage = Folder::of_store(store, real.url().clone(), real.path(""));
        let uploaded = upload(&stage, "a", &batch, &written.files[..1], None).await;
        assert_eq!(uploaded.is_ok(), is_fine);
        let said = uploaded.err().map(|error| (error.kind(), error.render()));
        assert!(said.is_none_or(|(kind, text)| kind == Kind::Transient && text.contains("and 14 bytes are there")));
    }
}
