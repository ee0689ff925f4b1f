//! Footers of Parquet files on the local disk: read in one place, and what they tell beyond what their library answers.

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::{Encoding, PageType, Type};
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats, ParquetMetaData, RowGroupMetaData};
use parquet::schema::types::ColumnPath;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;

/// Chunks of fewer values do not tell how often they repeat in larger ones.
const DICTIONARY_VALUES_MIN: u64 = 8_192;

/// Reads a file's footer, with all that it says of the encodings of pages, and makes sure that it can be true: readers
/// would go wrong over one that is not.
///
/// # Errors
/// Why it can't be read or believed, in words that follow the file's name.
pub fn read(file: &File) -> Result<ArrowReaderMetadata, Box<dyn std::error::Error + Send + Sync>> {
    if file.metadata()?.len() == 0 {
        return Err("it is empty: no Parquet file has 0 bytes, even one without rows".into());
    }
    let options = ArrowReaderOptions::new().with_encoding_stats_as_mask(false);
    let footer = ArrowReaderMetadata::load(file, options)?;
    match impossible(footer.metadata(), file.metadata()?.len()) {
        Some(why) => Err(format!("its footer can't be true: {why}").into()),
        None => Ok(footer),
    }
}

/// How a column is best written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dictionary {
    /// Without a dictionary: nearly every value is another one, or who wrote the input did without.
    None,
    /// With one of the usual size, past which it goes on without: so the input was written as well.
    Usual,
    /// With one that may be large: it was worth it, and the values may be more where more rows come together.
    Large,
}

/// How the columns of row groups, as the format stores them, are best written again, by what their dictionaries were
/// good for. A column that is not there was in no row group large enough to tell.
pub fn dictionaries<'g>(groups: impl Iterator<Item = &'g RowGroupMetaData>) -> HashMap<ColumnPath, Dictionary> {
    // By what the chunks would take without one, so that the larger part of them decides.
    let mut sizes: HashMap<ColumnPath, [u64; 3]> = HashMap::new();
    for chunk in groups.flat_map(RowGroupMetaData::columns) {
        let values = unsigned(chunk.num_values());
        let plain_bytes = match (chunk.column_type(), chunk.unencoded_byte_array_data_bytes()) {
            (Type::INT32 | Type::FLOAT, _) => values.saturating_mul(4),
            (Type::INT64 | Type::DOUBLE, _) => values.saturating_mul(8),
            // Each value is preceded by its length.
            (Type::BYTE_ARRAY, Some(bytes)) => unsigned(bytes).saturating_add(values.saturating_mul(4)),
            _ => continue,
        };
        if values < DICTIONARY_VALUES_MIN {
            continue;
        }
        let best = if chunk.dictionary_page_offset().is_none() {
            Dictionary::None
        } else if !is_dictionary_only(chunk) {
            Dictionary::Usual
        } else if unsigned(chunk.uncompressed_size()) > plain_bytes / 4 * 3 {
            Dictionary::None
        } else {
            Dictionary::Large
        };
        let own = &mut sizes.entry(chunk.column_path().clone()).or_default()[best as usize];
        *own = own.saturating_add(plain_bytes);
    }
    let most = |sizes: [u64; 3]| match sizes {
        [none, usual, large] if none > usual.saturating_add(large) => Dictionary::None,
        [_, usual, large] if large > usual => Dictionary::Large,
        _ => Dictionary::Usual,
    };
    sizes.into_iter().map(|(column, sizes)| (column, most(sizes))).collect()
}

/// Whether a chunk has a dictionary in which all of its values are.
pub fn is_dictionary_only(chunk: &ColumnChunkMetaData) -> bool {
    let is_index = |encoding| matches!(encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
    let is_data = |page: &&PageEncodingStats| page.page_type != PageType::DICTIONARY_PAGE;
    let all_there = match (chunk.page_encoding_stats(), chunk.page_encoding_stats_mask()) {
        // An empty list says nothing of pages that there may be.
        (Some(pages), _) => {
            pages.iter().any(|page| is_data(&page)) && pages.iter().filter(is_data).all(|page| is_index(page.encoding))
        }
        (None, Some(mask)) => mask.is_only(Encoding::RLE_DICTIONARY) || mask.is_only(Encoding::PLAIN_DICTIONARY),
        (None, None) => false,
    };
    chunk.dictionary_page_offset().is_some() && all_there
}

/// What the values of some columns take in a row group. Texts count in full where the footer knows their length, and as
/// they are encoded where it does not.
pub fn values_bytes(group: &RowGroupMetaData, columns: &BTreeSet<String>) -> u64 {
    // Columns that are nested are stored in several chunks.
    let is_one =
        |chunk: &&ColumnChunkMetaData| chunk.column_path().parts().first().is_some_and(|name| columns.contains(name));
    let size =
        |chunk: &ColumnChunkMetaData| chunk.unencoded_byte_array_data_bytes().unwrap_or(chunk.uncompressed_size());
    group.columns().iter().filter(is_one).map(|chunk| unsigned(size(chunk))).fold(0, u64::saturating_add)
}

/// What a footer says that can't be, if it does.
pub fn impossible(metadata: &ParquetMetaData, size_bytes: u64) -> Option<String> {
    let inside = |chunk: &ColumnChunkMetaData| {
        let begin = u64::try_from(chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset())).ok()?;
        begin.checked_add(u64::try_from(chunk.compressed_size()).ok()?).filter(|end| *end <= size_bytes)
    };
    metadata.row_groups().iter().enumerate().find_map(|(number, group)| {
        if group.num_rows() < 0 {
            return Some(format!("row group {number} has {} rows", group.num_rows()));
        }
        let outside = group.columns().iter().find(|chunk| inside(chunk).is_none())?;
        Some(format!("column {} of row group {number} lies outside of the file", outside.column_path().string()))
    })
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
