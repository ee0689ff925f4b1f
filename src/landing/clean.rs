//! Whether all rows of a Parquet file could land as they are. What the footer answers is not read; the rest is read
//! column by column, by several threads.

use super::landed::LeftOut;
use super::parquet::ParquetInput;
use super::rules::Rules;
use crate::dataset::is_text;
use crate::error::{Error, Result};
use crate::footer::is_dictionary_only;
use crate::source::damaged;
use crate::threads;
use arrow::array::{Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::column::page::{Page, PageReader};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::file::statistics::Statistics;
use std::fs::File;
use std::sync::Arc;

/// A question about one row group that its footer does not answer. Columns are places in the file's schema.
enum Question {
    /// Whether all known values of a column are as they must be.
    Values(usize),
    /// Whether each row knows one of these columns.
    Known(Vec<usize>),
    /// How often a left-out column is known.
    Count(usize),
}

/// Why a check ended before its end.
enum End {
    /// A row could not land as it is.
    Unclean,
    /// The file can't be read.
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Failed(error)
    }
}

/// A file whose columns have the contract's types, under its own names.
struct Check<'a> {
    file: &'a ParquetInput<'a>,
    rules: &'a Rules,
    /// How the file is read: with texts as views, which are cheaper.
    metadata: ArrowReaderMetadata,
    /// For each column of the file the place of its values in a row group, where it is not nested.
    leaves: Vec<Option<usize>>,
}

/// Whether all rows could land as they are. What comes back are the left-out columns with their known values; nothing
/// where the file is not clean.
pub(super) fn clean(file: &ParquetInput<'_>, rules: &Rules, threads: usize) -> Result<Option<LeftOut>> {
    let check = Check::new(file, rules)?;
    let mut left_out = LeftOut::new();
    let mut questions = Vec::new();
    let (mut first, mut is_clean) = (0, true);
    for (group, footer) in file.metadata.metadata().row_groups().iter().enumerate() {
        let mut asked = Vec::new();
        is_clean &= check.ask(footer, &mut asked, &mut left_out);
        questions.extend(asked.into_iter().map(|question| (group, first, question)));
        first += rows_of(footer);
    }
    file.require_all(first)?;
    if !is_clean {
        return Ok(None);
    }
    let answers = threads::each(questions.len(), threads, &|at| {
        let (group, first, question) = &questions[at];
        check.answer(*group, *first, question)
    });
    match answers {
        Ok(counts) => {
            for ((_, _, question), known) in questions.iter().zip(counts) {
                if let Question::Count(root) = question {
                    check.count(*root, known, &mut left_out);
                }
            }
            Ok(Some(left_out))
        }
        Err(End::Unclean) => Ok(None),
        Err(End::Failed(error)) => Err(error),
    }
}

impl<'a> Check<'a> {
    fn new(file: &'a ParquetInput<'a>, rules: &'a Rules) -> Result<Check<'a>> {
        let as_view = |field: &Arc<Field>| match field.data_type() {
            data_type if is_text(data_type) => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
            _ => Arc::clone(field),
        };
        let fields: Vec<_> = file.schema.fields().iter().map(as_view).collect();
        let schema = Arc::new(Schema::new_with_metadata(fields, file.schema.metadata().clone()));
        let footer = file.metadata.metadata();
        let options = ArrowReaderOptions::new().with_schema(schema);
        let metadata =
            ArrowReaderMetadata::try_new(Arc::clone(footer), options).map_err(|error| damaged(file.url, error))?;
        let mut leaves = vec![None; file.schema.fields().len()];
        let columns = footer.file_metadata().schema_descr();
        for leaf in 0..columns.num_columns() {
            let root = columns.get_column_root_idx(leaf);
            let is_flat = columns.column(leaf).path().parts().len() == 1 && columns.column(leaf).max_rep_level() == 0;
            if is_flat && file.schema.fields().get(root).is_some_and(|field| *field.data_type() != DataType::Null) {
                leaves[root] = Some(leaf);
            }
        }
        Ok(Check { file, rules, metadata, leaves })
    }

    /// Collects what is to be asked of a row group's columns. `false`: the footer already says that a row can't land.
    fn ask(&self, footer: &RowGroupMetaData, questions: &mut Vec<Question>, left_out: &mut LeftOut) -> bool {
        let rows = rows_of(footer);
        if rows == 0 {
            return true;
        }
        // For each column of the contract where it is, and how many of its values are NULL as far as the footer says.
        let mut places = vec![None; self.rules.columns.len()];
        for (root, slot) in self.file.slots.iter().enumerate() {
            let chunk = self.leaves[root].map(|leaf| footer.column(leaf));
            let nulls = chunk.and_then(|chunk| null_count(chunk, rows));
            match (slot, nulls) {
                (Some((column, _)), _) => {
                    places[*column] = Some((root, nulls));
                    if nulls != Some(rows) && !self.is_answered(*column, chunk) {
                        questions.push(Question::Values(root));
                    }
                }
                (None, Some(nulls)) => self.count(root, rows - nulls, left_out),
                (None, None) => questions.push(Question::Count(root)),
            }
        }
        let required = self.rules.required.iter().map(|(column, _)| std::slice::from_ref(column));
        let key = self.rules.key.iter().filter(|part| !part.is_never_null).map(|part| part.columns.as_slice());
        for columns in required.chain(key) {
            // A column that the file lacks is NULL throughout.
            let found = columns.iter().filter_map(|column| places[*column]);
            let roots: Vec<_> = found.clone().filter(|(_, nulls)| *nulls != Some(rows)).map(|(root, _)| root).collect();
            if roots.is_empty() {
                return false;
            }
            if found.clone().all(|(_, nulls)| nulls != Some(0)) {
                questions.push(Question::Known(roots));
            }
        }
        true
    }

    /// Whether the footer says that all values of a chunk are as they must be.
    fn is_answered(&self, column: usize, chunk: Option<&ColumnChunkMetaData>) -> bool {
        let between = match chunk.and_then(ColumnChunkMetaData::statistics) {
            Some(Statistics::Int64(values)) => values.min_opt().copied().zip(values.max_opt().copied()),
            Some(Statistics::Int32(values)) => {
                values.min_opt().copied().map(i64::from).zip(values.max_opt().copied().map(i64::from))
            }
            // Statistics of floats are silent about NaN, those of texts say nothing about what is between.
            _ => None,
        };
        let demand = self.rules.demand(column);
        demand.is_free() || between.is_some_and(|(min, max)| demand.is_met_between(min, max))
    }

    /// Answers a question about a row group whose first row is this one of the file's.
    fn answer(&self, group: usize, first: u64, question: &Question) -> Result<u64, End> {
        let mut known = 0;
        match question {
            Question::Values(root) => {
                let demand = self.file.slots[*root].map(|(column, _)| self.rules.demand(column));
                let demand = demand.ok_or_else(|| Error::bug("check a column"))?;
                let dictionary = if demand.is_asked_of_pages() { self.dictionary(group, *root) } else { None };
                if dictionary.is_some_and(|(page, values)| demand.is_met_by_page(&page, values)) {
                    return Ok(0);
                }
                self.read(group, first, &[*root], |batch| demand.is_met(batch.column(0)))?;
            }
            Question::Known(roots) => self.read(group, first, roots, |batch| Ok(knows_one(batch)))?,
            Question::Count(root) => self.read(group, first, &[*root], |batch| {
                known += (batch.num_rows() - batch.column(0).logical_null_count()) as u64;
                Ok(true)
            })?,
        }
        Ok(known)
    }

    /// The dictionary of a chunk that has no values but those in it, with their number. What can't be read gives
    /// nothing: it will be read in full, which says what is wrong.
    fn dictionary(&self, group: usize, root: usize) -> Option<(bytes::Bytes, usize)> {
        let footer = self.metadata.metadata().row_group(group);
        let chunk = footer.column(self.leaves[root]?);
        if !is_dictionary_only(chunk) {
            return None;
        }
        let file = Arc::new(File::open(self.file.copy).ok()?);
        let mut reader = SerializedPageReader::new(file, chunk, rows_of(footer) as usize, None).ok()?;
        match reader.get_next_page().ok()?? {
            Page::DictionaryPage { buf, num_values, .. } => Some((buf, num_values as usize)),
            _ => None,
        }
    }

    /// Reads columns of a row group until a batch of them is not as it must be.
    fn read(
        &self,
        group: usize,
        first: u64,
        roots: &[usize],
        mut is_met: impl FnMut(&RecordBatch) -> Result<bool>,
    ) -> Result<(), End> {
        let url = self.file.url;
        let builder = self.file.builder(&self.metadata)?.with_row_groups(vec![group]);
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots.iter().copied());
        let reader = builder.with_projection(mask).build().map_err(|error| damaged(url, error))?;
        let mut rows = 0;
        for batch in reader {
            let batch = batch.map_err(|error| self.file.cut(first + rows, error))?;
            rows += batch.num_rows() as u64;
            if !is_met(&batch)? {
                return Err(End::Unclean);
            }
        }
        let expected = rows_of(self.metadata.metadata().row_group(group));
        if rows != expected {
            let why = format!("its footer tells of {expected} rows in row group {group}, but it has {rows}");
            return Err(damaged(url, why).into());
        }
        Ok(())
    }

    fn count(&self, root: usize, known: u64, left_out: &mut LeftOut) {
        if known > 0 {
            *left_out.entry(self.file.schema.field(root).name().clone()).or_default() += known;
        }
    }
}

fn rows_of(footer: &RowGroupMetaData) -> u64 {
    footer.num_rows().max(0) as u64
}

/// How many values of a chunk are NULL, as far as its footer says.
fn null_count(chunk: &ColumnChunkMetaData, rows: u64) -> Option<u64> {
    if chunk.column_descr().max_def_level() == 0 {
        return Some(0);
    }
    chunk.statistics()?.null_count_opt().filter(|nulls| *nulls <= rows)
}

/// Whether each row of a batch knows one of its columns.
fn knows_one(batch: &RecordBatch) -> bool {
    // A column without NULLs has no list of them, and settles it.
    let nulls: Option<Vec<_>> = batch.columns().iter().map(|array| array.logical_nulls()).collect();
    let known = nulls.map(|nulls| nulls.into_iter().map(|nulls| nulls.into_inner()).reduce(|a, b| &a | &b));
    known.is_none_or(|known| known.as_ref().map_or(0, BooleanBuffer::count_set_bits) == batch.num_rows())
}
