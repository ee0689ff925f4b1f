//! Row groups all of whose rows win are copied as they are, and nothing but them.

use crate::rows::{compared, cut, damage, engine, of_days, runtime, trades, values};
use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use tempfile::TempDir;
use tradefold::dataset::Dataset;
use tradefold::dedup::Dedup;
use tradefold::engine::DataFile;
use tradefold::error::Kind;
use tradefold::generate::{Profile, Recipe, generate};
use tradefold::plan::Cuts;
use tradefold::progress::Silent;
use tradefold::stage::{WriteOptions, Written, write_winners};
use tradefold::window::Day;

/// 20,000 rows, some 7,100 keys, in row groups of 2,048 keys: four of each run.
fn generated(profile: Profile, odd_share: f64, days: u32) -> TempDir {
    generated_in_groups(2_048, profile, odd_share, days)
}

fn generated_in_groups(row_group_rows: usize, profile: Profile, odd_share: f64, days: u32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe { odd_share, days, row_group_rows, ..Recipe::new(profile, 20_000, 5) };
    generate(&recipe, folder.path()).unwrap();
    folder
}

fn files(folder: &Path) -> Vec<DataFile> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let file = |path: &std::path::PathBuf| DataFile {
        url: url::Url::from_file_path(path).unwrap().to_string(),
        label: path.display().to_string(),
        size_bytes: std::fs::metadata(path).unwrap().len(),
    };
    paths.iter().map(file).collect()
}

fn read(path: &Path) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

/// Batches of 16 days.
fn cuts(winners: &BTreeMap<Option<Day>, u64>) -> Cuts {
    cut(winners, of_days(16))
}

/// As [`write_from`], where any row group is large enough.
fn write(dataset: &Dataset, input: &Path, threads: usize) -> (Written, BTreeMap<usize, Vec<String>>) {
    write_from(dataset, input, threads, 0)
}

/// What was written, and what counts of its rows, by batch.
fn write_from(
    dataset: &Dataset,
    input: &Path,
    threads: usize,
    copy_bytes_min: u64,
) -> (Written, BTreeMap<usize, Vec<String>>) {
    let folder = tempfile::tempdir().unwrap();
    let written = runtime().block_on(async {
        let engine = engine(threads);
        let dedup = Dedup::new(&engine, dataset, &files(input)).await.unwrap();
        let decision = dedup.decide(&Silent).await.unwrap();
        let options = WriteOptions { copy_bytes_min, ..WriteOptions::new(cuts(&decision.winners_by_day())) };
        let written = write_winners(&decision, dataset, options, folder.path(), &Silent).await.unwrap();
        assert_eq!(written.rows(), decision.winners_count());
        assert_eq!(written.days.iter().collect::<Vec<_>>(), decision.winners_by_day().iter().collect::<Vec<_>>());
        // The winners as they are read, without any copying.
        let decided = decision.decided();
        let mut expected = Vec::new();
        for unit in decided.kernel.input().units() {
            let chosen = decided.verdict.winners.of(unit.places());
            for batch in decided.kernel.input().read(unit, dataset.schema(), Some(chosen)).unwrap() {
                expected.extend(values(dataset, &batch.unwrap()));
            }
        }
        for file in &written.files {
            let options = ArrowReaderOptions::new().with_encoding_stats_as_mask(false);
            let footer = ArrowReaderMetadata::load(&File::open(&file.path).unwrap(), options).unwrap();
            let mut chunks = footer.metadata().row_groups().iter().flat_map(|group| group.columns());
            assert!(chunks.all(|chunk| chunk.page_encoding_stats().is_some()), "a copy says what the original said");
        }
        let batches = written.files.iter().flat_map(|file| read(&file.path)).collect::<Vec<_>>();
        assert!(batches.iter().all(|batch| batch.schema() == *dataset.schema()), "the types are the contract's");
        let found: Vec<_> = batches.iter().flat_map(|batch| values(dataset, batch)).collect();
        assert_eq!(compared(dataset, &found), compared(dataset, &expected));
        written
    });
    let mut rows: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for file in &written.files {
        let found: Vec<_> = read(&file.path).iter().flat_map(|batch| values(dataset, batch)).collect();
        rows.entry(file.number).or_default().extend(compared(dataset, &found));
    }
    rows.values_mut().for_each(|rows| rows.sort_unstable());
    (written, rows)
}

#[test]
fn row_groups_of_an_earlier_run_are_copied_and_those_of_a_later_one_skipped() {
    let mut dataset = trades();
    dataset.partition = None;
    let input = generated(Profile::Rerun, 0.0, 90);
    let (written, one) = write(&dataset, input.path(), 1);
    let share = written.copied_rows as f64 / written.rows() as f64;
    assert!(share > 0.85 && share < 1.0, "{share}");
    let (larger, _) = write_from(&dataset, input.path(), 1, 16 << 20);
    assert_eq!(larger.copied_rows, 0, "row groups that are too small are encoded together");
    let (again, five) = write(&dataset, input.path(), 5);
    assert_eq!(written.copied_rows, again.copied_rows);
    assert_eq!(one, five);
}

#[test]
fn a_row_group_with_a_loser_is_encoded() {
    let mut dataset = trades();
    dataset.partition = None;
    let (none, _) = write(&dataset, generated(Profile::Rerun, 0.0, 90).path(), 2);
    let (some, _) = write(&dataset, generated(Profile::Rerun, 0.3, 90).path(), 2);
    let (all, _) = write(&dataset, generated(Profile::Rerun, 1.0, 90).path(), 2);
    assert!(none.copied_rows > some.copied_rows && some.copied_rows > 0);
    assert_eq!(all.copied_rows, 0);
    assert_eq!(write(&dataset, generated(Profile::Spread, 0.0, 90).path(), 2).0.copied_rows, 0);
}

#[test]
fn a_column_whose_values_hardly_repeat_is_written_without_a_dictionary() {
    let mut dataset = trades();
    dataset.partition = None;
    let plain = |row_group_rows: usize| {
        let input = generated_in_groups(row_group_rows, Profile::Spread, 0.0, 90);
        let folder = tempfile::tempdir().unwrap();
        let written = runtime().block_on(async {
            let engine = engine(1);
            let dedup = Dedup::new(&engine, &dataset, &files(input.path())).await.unwrap();
            let decision = dedup.decide(&Silent).await.unwrap();
            let options = WriteOptions::new(Cuts::default());
            write_winners(&decision, &dataset, options, folder.path(), &Silent).await.unwrap()
        });
        let footer = ParquetRecordBatchReaderBuilder::try_new(File::open(&written.files[0].path).unwrap()).unwrap();
        let columns = footer.metadata().row_group(0).columns().iter();
        let plain = columns.filter(|column| column.dictionary_page_offset().is_none());
        plain.map(|column| column.column_path().string()).collect::<Vec<_>>()
    };
    let known = plain(10_000);
    for column in ["tx_hash", "order_hash", "id"] {
        assert!(known.iter().any(|name| name == column), "{known:?}");
    }
    for column in ["wallet_address", "condition_id", "side", "price", "log_index", "source_run"] {
        assert!(known.iter().all(|name| name != column), "{known:?}");
    }
    assert_eq!(plain(2_000), [""; 0], "row groups that are too small say nothing");
}

#[test]
fn a_row_group_of_several_batches_is_encoded_and_split() {
    let dataset = trades();
    // Each row group spans some 25 days, and a batch has 16.
    let (written, rows) = write(&dataset, generated(Profile::Rerun, 0.0, 90).path(), 2);
    let cuts = cuts(&written.days);
    let mut by_batch: BTreeMap<usize, u64> = BTreeMap::new();
    for (day, rows) in &written.days {
        *by_batch.entry(cuts.batch_of(*day)).or_default() += rows;
    }
    assert!(by_batch.len() > 4, "{by_batch:?}");
    let found: BTreeMap<usize, u64> = rows.iter().map(|(number, rows)| (*number, rows.len() as u64)).collect();
    assert_eq!(found, by_batch);
    assert_eq!(written.copied_rows, 0, "none of them lies within one batch");
    let (narrow, _) = write(&dataset, generated(Profile::Rerun, 0.0, 5).path(), 2);
    assert!(narrow.copied_rows > 0, "days of one batch");
}

#[test]
fn a_column_too_many_is_left_out_of_a_copy_and_one_that_lacks_prevents_it() {
    let input = generated(Profile::Rerun, 0.0, 90);
    let columns = |keep: &dyn Fn(&str) -> bool| {
        let mut dataset = trades();
        dataset.partition = None;
        let fields = dataset.schema().fields().iter().filter(|field| keep(field.name())).cloned().collect::<Vec<_>>();
        let (key, order) = (dataset.key.clone(), dataset.order.clone());
        let mut schema: Vec<_> = fields;
        if keep("extra") {
            schema.push(std::sync::Arc::new(arrow::datatypes::Field::new(
                "extra",
                arrow::datatypes::DataType::Int64,
                true,
            )));
        }
        let schema = std::sync::Arc::new(arrow::datatypes::Schema::new(schema));
        let mut ad_hoc = Dataset::ad_hoc(schema, key, order, Vec::new()).unwrap();
        ad_hoc.partition = None;
        ad_hoc
    };
    let fewer = columns(&|name| !["title", "taker", "extra", "source_run", "fetched_at"].contains(&name));
    assert!(write(&fewer, input.path(), 2).0.copied_rows > 0);
    let more = columns(&|name| !["source_run", "fetched_at"].contains(&name));
    assert_eq!(write(&more, input.path(), 2).0.copied_rows, 0);
}

#[test]
fn a_damaged_row_group_is_not_copied() {
    let input = generated(Profile::Rerun, 0.0, 5);
    let dataset = trades();
    assert!(write(&dataset, input.path(), 2).0.copied_rows > 0);
    // The volatile columns are those that nobody else has read so far.
    damage(Path::new(files(input.path())[0].label.as_str()), 0, "fetched_at");
    let folder = tempfile::tempdir().unwrap();
    let options = WriteOptions { copy_bytes_min: 0, ..WriteOptions::new(Cuts::default()) };
    let error = runtime().block_on(async {
        let engine = engine(2);
        let dedup = Dedup::new(&engine, &dataset, &files(input.path())).await.unwrap();
        let decision = dedup.decide(&Silent).await.unwrap();
        write_winners(&decision, &dataset, options, folder.path(), &Silent).await.unwrap_err()
    });
    let text = error.render();
    assert!(error.kind() == Kind::Data && text.contains("run-1-000.parquet") && text.contains("damaged"), "{text}");
}
