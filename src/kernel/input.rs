//! The Parquet files that a kernel reads, more than once: their row groups, and batches of some columns of some rows.

use crate::error::{Doing, Error, Result};
use crate::footer::{self, Dictionary, dictionaries, is_dictionary_only, values_bytes};
use arrow::array::{ArrayRef, BooleanBufferBuilder, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelectionPolicy,
};
use parquet::basic::ConvertedType;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnPath;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Rows that are decoded at a time, at most.
const BATCH_ROWS: usize = 16_384;
/// What the rows that are decoded at a time may take with all that lies between them: as they are encoded, or by so
/// much for each value where that is more, since small numbers take next to nothing in a file.
const BATCH_BYTES: usize = 16 << 20;
const VALUE_BYTES: usize = 8;
const STRICT: CastOptions<'static> =
    CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

/// A row group: what one thread takes at a time.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Which file, by its place in the list.
    pub file: usize,
    /// Which row group of the file.
    pub group: usize,
    /// The place of its first row among all rows of all files.
    pub first: u64,
    /// The place of its first row in its file.
    pub first_in_file: u64,
    /// Its rows.
    pub rows: usize,
}

impl Unit {
    /// The places of its rows among all rows.
    pub fn places(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.rows as u64
    }

    /// A bit for each of its rows, set for those at these places.
    pub(super) fn bits_of(&self, places: &[u64]) -> BooleanBuffer {
        let mut bits = BooleanBufferBuilder::new(self.rows);
        bits.append_n(self.rows, false);
        places.iter().for_each(|place| bits.set_bit((place - self.first) as usize, true));
        bits.finish()
    }
}

/// Local Parquet files whose footers were read. Whoever reads them again is told when one has changed since.
#[derive(Debug)]
pub struct Input {
    files: Vec<InputFile>,
    units: Vec<Unit>,
    rows: u64,
}

#[derive(Debug)]
struct InputFile {
    path: PathBuf,
    size_bytes: u64,
    modified: Option<SystemTime>,
    metadata: Arc<ParquetMetaData>,
    schema: SchemaRef,
}

impl Input {
    /// Reads the footers.
    ///
    /// # Errors
    /// When a file can't be opened, or is no Parquet.
    pub fn open(paths: &[PathBuf]) -> Result<Input> {
        let mut input = Input { files: Vec::new(), units: Vec::new(), rows: 0 };
        for path in paths {
            let named = |error: Error| error.with("file", path.display());
            let file = File::open(path).doing("open a Parquet file").map_err(named)?;
            let stat = file.metadata().doing("open a Parquet file").map_err(named)?;
            let read = footer::read(&file).map_err(|error| unreadable(path, error))?;
            let mut names = HashSet::new();
            if let Some(twice) = read.schema().fields().iter().find(|field| !names.insert(field.name())) {
                return Err(named(Error::usage("read a Parquet file"))
                    .with("column", twice.name())
                    .because("the file has two columns of this name, and one of them would be lost")
                    .hint("write the file again with another name for one of them"));
            }
            let mut first_in_file = 0;
            for (group, row_group) in read.metadata().row_groups().iter().enumerate() {
                let rows = row_group.num_rows().max(0) as usize;
                let unit = Unit { file: input.files.len(), group, first: input.rows, first_in_file, rows };
                input.units.push(unit);
                input.rows = input.rows.saturating_add(rows as u64);
                first_in_file += rows as u64;
            }
            input.files.push(InputFile {
                path: path.clone(),
                size_bytes: stat.len(),
                modified: stat.modified().ok(),
                metadata: Arc::clone(read.metadata()),
                schema: Arc::clone(read.schema()),
            });
        }
        Ok(input)
    }

    /// All row groups, in the order of the files.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The unit that holds the row of this place.
    pub fn unit_of(&self, place: u64) -> usize {
        // Empty row groups share their first place with the next one: the last that begins there has the row.
        self.units.partition_point(|unit| unit.first <= place).saturating_sub(1)
    }

    /// Places that rise, by the unit that has them.
    pub(super) fn by_unit<'p>(&self, places: &'p [u64]) -> Vec<(&Unit, &'p [u64])> {
        let mut parts = Vec::new();
        let mut rest = places;
        while let Some(first) = rest.first() {
            let unit = &self.units[self.unit_of(*first)];
            let (own, after) = rest.split_at(rest.partition_point(|place| *place < unit.places().end));
            parts.push((unit, own));
            rest = after;
        }
        parts
    }

    /// All rows, as the footers say.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What the footers take in memory.
    pub fn footers_bytes(&self) -> usize {
        self.files.iter().map(|file| file.metadata.memory_size()).sum()
    }

    /// The columns of a file.
    pub fn schema(&self, file: usize) -> SchemaRef {
        Arc::clone(&self.files[file].schema)
    }

    /// Where a file lies.
    pub fn path(&self, file: usize) -> &Path {
        &self.files[file].path
    }

    /// What the footer of a file says.
    pub fn footer(&self, file: usize) -> &Arc<ParquetMetaData> {
        &self.files[file].metadata
    }

    /// What the values of these columns take for a row, on average.
    pub fn width_bytes(&self, columns: &BTreeSet<String>) -> usize {
        let size_bytes = self.groups().map(|group| values_bytes(group, columns)).fold(0, u64::saturating_add);
        usize::try_from(size_bytes / self.rows.max(1)).unwrap_or(usize::MAX)
    }

    /// The same, of the row group in which it is the most.
    pub(super) fn widest_bytes(&self, columns: &BTreeSet<String>) -> usize {
        let rows = |group: &RowGroupMetaData| u64::try_from(group.num_rows()).unwrap_or(0).max(1);
        let width = |group: &RowGroupMetaData| values_bytes(group, columns) / rows(group);
        self.groups().map(width).max().map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    fn groups(&self) -> impl Iterator<Item = &RowGroupMetaData> {
        self.files.iter().flat_map(|file| file.metadata.row_groups())
    }

    /// How the columns, as the format stores them, are best written again. A column that is not there was in no row
    /// group large enough to tell.
    pub fn dictionaries(&self) -> HashMap<ColumnPath, Dictionary> {
        dictionaries(self.groups())
    }

    /// How often a column is NULL, where the footers say so of every row group.
    pub fn null_count(&self, column: &str) -> Option<u64> {
        let group_nulls = |group: &RowGroupMetaData| {
            let chunk = group.columns().iter().find(|chunk| chunk.column_path().parts() == [column]);
            match chunk {
                Some(chunk) => chunk.statistics().and_then(Statistics::null_count_opt),
                // A column that is not there is NULL throughout.
                None => Some(group.num_rows().max(0) as u64),
            }
        };
        self.groups().map(group_nulls).sum()
    }

    /// Whether a file has a column.
    pub fn has(&self, file: usize, column: &str) -> bool {
        self.files[file].schema.column_with_name(column).is_some()
    }

    /// A column as the dictionary that a unit's file has for it, where every value of the unit is in that: who hashes
    /// or compares values then does so once for each that is different. `None`: it has to be read as it is.
    pub(super) fn as_dictionary(&self, unit: &Unit, field: &Field) -> Option<Field> {
        let file = &self.files[unit.file];
        let plain = unpacked(file.schema.field_with_name(field.name()).ok()?.data_type());
        if !is_view_of(field.data_type(), plain) {
            return None;
        }
        let chunks = file.metadata.row_group(unit.group).columns();
        let chunk = chunks.iter().find(|chunk| chunk.column_path().parts() == [field.name().as_str()])?;
        let is_text = chunk.column_descr().converted_type() == ConvertedType::UTF8;
        // A file may say that a text is but bytes: the reader gives no dictionary of a type that the file does not
        // have.
        if !is_dictionary_only(chunk) || is_text != matches!(plain, DataType::Utf8 | DataType::LargeUtf8) {
            return None;
        }
        let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(plain.clone()));
        Some(field.clone().with_data_type(kind))
    }

    /// Opens a file again.
    ///
    /// # Errors
    /// Data, when it is not the one that was opened first.
    pub fn reopen(&self, file: usize) -> Result<File> {
        let known = &self.files[file];
        let named = |error: Error| error.with("file", known.path.display());
        let open = File::open(&known.path).doing("open a Parquet file again").map_err(named)?;
        let stat = open.metadata().doing("open a Parquet file again").map_err(named)?;
        if stat.len() == known.size_bytes && stat.modified().ok() == known.modified {
            return Ok(open);
        }
        Err(named(Error::data("read a Parquet file twice"))
            .because("its size or time is not what it was a moment ago: something writes to it")
            .hint("run the command again when nothing changes the input any more"))
    }

    /// The rows of a unit, those that `selection` chooses or all, as batches with these columns: in their types and
    /// order; NULL where the file lacks one. Where none is chosen, nothing is read.
    ///
    /// # Errors
    /// When the file has changed or can't be opened.
    pub fn read(&self, unit: &Unit, wanted: &SchemaRef, selection: Option<BooleanBuffer>) -> Result<Batches> {
        let file = &self.files[unit.file];
        let chosen = selection.as_ref().map_or(unit.rows, BooleanBuffer::count_set_bits);
        let selection = selection.filter(|_| chosen < unit.rows);
        let batches = |reader| Batches {
            reader,
            wanted: Arc::clone(wanted),
            path: file.path.clone(),
            group: unit.group,
            left: chosen,
        };
        if chosen == 0 {
            return Ok(batches(None));
        }
        let mut fields = Vec::with_capacity(file.schema.fields().len());
        let mut roots = Vec::new();
        for (root, field) in file.schema.fields().iter().enumerate() {
            let mut field = Arc::clone(field);
            if let Ok(wanted) = wanted.field_with_name(field.name()) {
                roots.push(root);
                if is_form_of(wanted.data_type(), field.data_type()) {
                    field = Arc::new(field.as_ref().clone().with_data_type(wanted.data_type().clone()));
                }
            }
            fields.push(field);
        }
        let schema = Arc::new(Schema::new_with_metadata(fields, file.schema.metadata().clone()));
        let options = ArrowReaderOptions::new().with_schema(schema);
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(&file.metadata), options)
            .map_err(|error| unreadable(&file.path, error))?;
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.reopen(unit.file)?, metadata)
            .with_row_groups(vec![unit.group])
            .with_batch_size(batch_rows(file.metadata.row_group(unit.group), &roots, chosen));
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        if let Some(selection) = selection {
            builder = builder
                .with_row_selection(RowSelection::from_boolean_buffer(selection))
                .with_row_selection_policy(RowSelectionPolicy::default());
        }
        let reader = builder.with_projection(mask).build().map_err(|error| unreadable(&file.path, error))?;
        Ok(batches(Some(reader)))
    }
}

/// How many of the rows that are chosen of a row group are decoded at a time, in these columns. Views keep the pages
/// that they refer to, so it counts how far apart the rows are, and not how many.
fn batch_rows(group: &RowGroupMetaData, roots: &[usize], chosen: usize) -> usize {
    let root = |column| group.schema_descr().get_column_root_idx(column);
    let chunks = group.columns().iter().enumerate().filter(|(column, _)| roots.contains(&root(*column)));
    let size_bytes = chunks.map(|(_, chunk)| chunk.uncompressed_size()).fold(0, i64::saturating_add);
    let decoded_bytes = usize::try_from(group.num_rows()).unwrap_or(0).saturating_mul(VALUE_BYTES * roots.len());
    let batches = usize::try_from(size_bytes).unwrap_or(0).max(decoded_bytes).div_ceil(BATCH_BYTES);
    (chosen / batches.max(1)).clamp(1, BATCH_ROWS)
}

/// The type of the values of a dictionary; any other type as it is.
fn unpacked(kind: &DataType) -> &DataType {
    match kind {
        DataType::Dictionary(_, values) => values,
        other => other,
    }
}

/// Whether one type is the other's form with views, which costs less to decode.
fn is_view_of(view: &DataType, plain: &DataType) -> bool {
    matches!(
        (view, plain),
        (DataType::Utf8View, DataType::Utf8 | DataType::LargeUtf8)
            | (DataType::BinaryView, DataType::Binary | DataType::LargeBinary)
    )
}

/// Whether one type is another form of the same values, which the reader can give.
fn is_form_of(wanted: &DataType, plain: &DataType) -> bool {
    is_view_of(wanted, unpacked(plain)) || matches!(wanted, DataType::Dictionary(_, values) if values.as_ref() == plain)
}

/// The same column, read as views where it can be: they refer to what was decoded instead of copying it.
pub(super) fn as_views(field: &Field) -> Field {
    let kind = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        other => other.clone(),
    };
    field.clone().with_data_type(kind)
}

/// Batches of a unit, all with one schema.
pub struct Batches {
    reader: Option<ParquetRecordBatchReader>,
    wanted: SchemaRef,
    path: PathBuf,
    group: usize,
    /// Rows that are still to come.
    left: usize,
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches").field("path", &self.path).field("group", &self.group).finish_non_exhaustive()
    }
}

impl Batches {
    fn adapt(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let column = |field: &Arc<Field>| -> Result<ArrayRef> {
            match batch.column_by_name(field.name()) {
                None => Ok(new_null_array(field.data_type(), batch.num_rows())),
                Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
                // What does not fit must not become NULL.
                Some(column) => cast_with_options(column, field.data_type(), &STRICT)
                    .doing("read a column in the type of the table")
                    .map_err(|error| error.with("file", self.path.display()).with("column", field.name())),
            }
        };
        let columns = self.wanted.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.wanted), columns, &options).doing("read a batch")
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        let batch = match self.reader.as_mut()?.next() {
            Some(Ok(batch)) => batch,
            Some(Err(error)) => return Some(Err(unreadable(&self.path, error))),
            None if self.left == 0 => return None,
            None => {
                let missing = std::mem::take(&mut self.left);
                let why = format!("{missing} rows of row group {} are missing", self.group);
                return Some(Err(unreadable(&self.path, why)));
            }
        };
        self.left = self.left.saturating_sub(batch.num_rows());
        Some(self.adapt(&batch))
    }
}

fn unreadable(path: &Path, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::data("read a Parquet file")
        .with("file", path.display())
        .because(cause)
        .hint("the file is cut short or damaged: fetch it again")
}
