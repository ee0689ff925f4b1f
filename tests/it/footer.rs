//! What footers tell: which dictionaries were worth it, and what can't be true.

use crate::cli::{Desk, project};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::{Compression, PageType};
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats, ParquetMetaData};
use parquet::file::metadata::{ParquetMetaDataWriter, RowGroupMetaData};
use parquet::file::properties::WriterProperties;
use std::collections::BTreeMap;
use std::sync::Arc;
use tradefold::footer::{Dictionary, dictionaries, impossible, is_dictionary_only, values_bytes};

const ROWS: i64 = 40_000;

/// One row group of columns that are worth a dictionary in different ways.
fn written() -> Vec<u8> {
    let number: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS));
    let side: ArrayRef = Arc::new(Int64Array::from_iter_values((0..ROWS).map(|row| row % 2)));
    // 20,000 texts of 80 characters, each twice: too many for a dictionary of 1 MiB.
    let note: ArrayRef =
        Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| format!("{:080}", row % (ROWS / 2)))));
    let columns = [("number", number), ("side", Arc::clone(&side)), ("off", side)];
    let columns = columns.into_iter().chain([("note", Arc::clone(&note)), ("large", note)]);
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled("off".into(), false)
        .set_column_dictionary_page_size_limit("large".into(), 8 << 20)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.flush().unwrap();
    writer.write(&batch.slice(0, 100)).unwrap();
    writer.into_inner().unwrap()
}

fn read(file: &[u8], as_mask: bool) -> Arc<ParquetMetaData> {
    let options = ArrowReaderOptions::new().with_encoding_stats_as_mask(as_mask);
    let file = bytes::Bytes::copy_from_slice(file);
    Arc::clone(ArrowReaderMetadata::load(&file, options).unwrap().metadata())
}

#[test]
fn a_dictionary_is_as_large_as_it_was_worth() {
    let file = written();
    for as_mask in [false, true] {
        let metadata = read(&file, as_mask);
        let found: BTreeMap<_, _> =
            dictionaries(metadata.row_groups().iter()).into_iter().map(|(path, best)| (path.string(), best)).collect();
        let expected = [
            ("large", Dictionary::Large),
            ("note", Dictionary::Usual),
            ("number", Dictionary::None),
            ("off", Dictionary::None),
            ("side", Dictionary::Large),
        ];
        assert_eq!(found, expected.map(|(name, best)| (name.to_string(), best)).into());
        assert!(dictionaries(metadata.row_groups()[1..].iter()).is_empty(), "100 values tell nothing");
        let only = metadata.row_group(0).columns().iter().map(is_dictionary_only).collect::<Vec<_>>();
        assert_eq!(only, [true, true, false, false, true]);
    }
}

#[test]
fn a_footer_that_says_nothing_of_its_pages_is_not_believed() {
    let metadata = read(&written(), false);
    let side = metadata.row_group(0).column(1);
    let with = |pages: Vec<PageEncodingStats>| {
        is_dictionary_only(&side.clone().into_builder().set_page_encoding_stats(pages).build().unwrap())
    };
    let pages = side.page_encoding_stats().unwrap().clone();
    assert!(with(pages.clone()));
    assert!(!with(Vec::new()), "there may be pages of any encoding");
    let dictionary = pages.iter().filter(|page| page.page_type == PageType::DICTIONARY_PAGE).cloned().collect();
    assert!(!with(dictionary), "and here as well");
}

#[test]
fn a_file_whose_footer_can_not_be_true_is_refused_by_name() {
    let desk = Desk::new();
    let whole = std::fs::read(project("fixtures/demo/run-1-000.parquet")).unwrap();
    let metadata = read(&whole, false);
    let groups =
        metadata.row_groups().iter().map(|group| group.clone().into_builder().set_num_rows(-1).build().unwrap());
    let lying = metadata.as_ref().clone().into_builder().set_row_groups(groups.collect()).build();
    let mut file = whole.clone();
    ParquetMetaDataWriter::new(&mut file, &lying).finish().unwrap();
    std::fs::write(desk.path("lying.parquet"), file).unwrap();
    for command in ["dedup lying.parquet -o out --key tx_hash", "backfill lying.parquet", "analyze lying.parquet"] {
        let ran = desk.run(command);
        assert_eq!(ran.code, 65, "{command}: {}", ran.err);
        assert!(ran.err.contains("lying.parquet") && ran.err.contains("row group 0 has -1 rows"), "{}", ran.err);
    }
}

#[test]
fn the_larger_part_of_the_row_groups_decides() {
    let metadata = read(&written(), false);
    let group = metadata.row_group(0);
    // The same columns under each other's names.
    let renamed = |from: &str, to: &str| -> RowGroupMetaData {
        let place = |name: &str| group.columns().iter().position(|chunk| chunk.column_path().string() == name).unwrap();
        let (source, target) = (group.column(place(from)), group.column(place(to)));
        let chunk = ColumnChunkMetaData::builder(target.column_descr_ptr())
            .set_num_values(source.num_values())
            .set_dictionary_page_offset(source.dictionary_page_offset())
            .set_total_uncompressed_size(source.uncompressed_size())
            .set_page_encoding_stats(source.page_encoding_stats().unwrap().clone())
            .build()
            .unwrap();
        let mut columns = group.columns().to_vec();
        columns[place(to)] = chunk;
        group.clone().into_builder().set_column_metadata(columns).build().unwrap()
    };
    let (unique, few) = (renamed("number", "side"), renamed("side", "number"));
    let of = |groups: &[&RowGroupMetaData], name: &str| {
        let found = dictionaries(groups.iter().copied());
        found.into_iter().find(|(path, _)| path.string() == name).unwrap().1
    };
    assert_eq!(of(&[group, group, &unique], "side"), Dictionary::Large);
    assert_eq!(of(&[group, &unique, &unique], "side"), Dictionary::None);
    assert_eq!(of(&[group, &few, &few], "number"), Dictionary::Large);
}

#[test]
fn texts_count_as_long_as_they_are() {
    let metadata = read(&written(), false);
    let bytes =
        |names: &[&str]| values_bytes(metadata.row_group(0), &names.iter().map(|name| (*name).to_string()).collect());
    assert_eq!(bytes(&["note"]), 80 * ROWS as u64);
    assert_eq!(bytes(&["note", "large", "nosuch"]), 160 * ROWS as u64);
    assert_eq!(bytes(&[]), 0);
}

#[test]
fn a_footer_that_can_not_be_true_is_told() {
    let file = written();
    let metadata = read(&file, false);
    let size = file.len() as u64;
    assert_eq!(impossible(&metadata, size), None);
    let group = metadata.row_group(0);
    let wrong = |group: RowGroupMetaData| {
        let metadata = metadata.as_ref().clone().into_builder().set_row_groups(vec![group]).build();
        impossible(&metadata, size).unwrap()
    };
    assert_eq!(wrong(group.clone().into_builder().set_num_rows(-1).build().unwrap()), "row group 0 has -1 rows");
    for (offset, length) in [(-1, 10), (4, -1), (4, i64::MAX), (size as i64, 1)] {
        let chunk = group.column(1).clone().into_builder();
        let chunk = chunk.set_dictionary_page_offset(None).set_data_page_offset(offset);
        let mut columns = group.columns().to_vec();
        columns[1] = chunk.set_total_compressed_size(length).build().unwrap();
        let found = wrong(group.clone().into_builder().set_column_metadata(columns).build().unwrap());
        assert_eq!(found, "column side of row group 0 lies outside of the file", "{offset} {length}");
    }
}
