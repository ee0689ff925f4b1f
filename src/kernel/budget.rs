//! How the memory that is given is divided among what has to be held at the same time.

use super::records::{PARTITION_ROWS, RECORD_BYTES, partitions_for};

/// What a process takes beside the memory that it is given: itself, its runtime, pages that are decoded and encoded,
/// and what allocators keep back.
const BESIDE_BYTES: usize = 500_000_000;
/// What a thread takes, about: pages and dictionaries of all columns, and the table of a partition.
const THREAD_BYTES: usize = 48_000_000;
/// What a row of an odd key takes while it is looked at, about, and what each column of the order adds: more where its
/// values are long.
const ODD_BYTES: usize = 128;
const ODD_COLUMN_BYTES: usize = 48;
/// Rows of odd keys are looked at by so much at least: each look reads again what has any.
const LOOK_BYTES_MIN: usize = 64_000_000;
/// What a row takes while the keys of its partition are decided: its record, its key, its place in the table, and its
/// record again if its key is odd.
const SETTLED_BYTES: usize = 208;
/// How many records a thread gathers for a partition before it hands them over: the least and the most.
const CHUNK_ROWS: (usize, usize) = (16, 256);
/// What an encoder takes at least: a row group that is open, and its pages.
const ENCODER_BYTES_MIN: usize = 64_000_000;
const ENCODERS_MAX: usize = 4;
/// What the open row groups of an encoder hold at least and at most: more is of no use.
const OPEN_BYTES: (usize, usize) = (24 << 20, 512 << 20);

/// What there is to deduplicate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// All rows.
    pub rows: u64,
    /// All records that are made of them.
    pub records: u64,
    /// What the footers of their files take.
    pub footers_bytes: usize,
    /// How many parts the order has.
    pub order_columns: usize,
    /// What the columns of the order take for a row, about.
    pub order_bytes: usize,
}

/// The shares of the memory of a deduplication, in bytes or in what is bounded by them.
///
/// | share | holds | while |
/// | --- | --- | --- |
/// | `fixed_bytes` | five bits of every row, the footers | always |
/// | `chunk_rows` | records that threads have not handed over yet | rows are read |
/// | `records_bytes` | records that were handed over | rows are read, keys are decided |
/// | `odd_rows` | rows of odd keys, in what records leave | keys are decided |
/// | `encoders`, `open_bytes` | row groups that are open | winners are written: no record is left |
///
/// Together they stay below the memory that is given and half a gigabyte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// All that is given.
    pub memory_bytes: usize,
    /// What is held from the beginning to the end.
    pub fixed_bytes: usize,
    /// How many threads read rows.
    pub threads: usize,
    /// How many partitions the records lie in.
    pub(super) partitions: usize,
    /// The rows of a partition, where keys are many.
    partition_rows: usize,
    /// What a row of an odd key takes while it is looked at.
    odd_bytes: usize,
}

impl Budget {
    /// Divides this much for so many threads.
    pub fn new(memory_bytes: usize, threads: usize, size: Size) -> Budget {
        let marks_bytes = usize::try_from(size.rows / 8 * 5).unwrap_or(usize::MAX);
        let records = usize::try_from(size.records).unwrap_or(usize::MAX);
        let partitions = partitions_for(size.records);
        let fixed_bytes = marks_bytes.saturating_add(size.footers_bytes);
        let able = memory_bytes.saturating_add(BESIDE_BYTES / 2).saturating_sub(fixed_bytes) / THREAD_BYTES;
        Budget {
            memory_bytes,
            fixed_bytes,
            threads: threads.clamp(1, able.max(1)),
            partitions,
            partition_rows: (records / partitions).max(PARTITION_ROWS as usize),
            odd_bytes: ODD_BYTES + (ODD_COLUMN_BYTES * size.order_columns).max(size.order_bytes.saturating_mul(2)),
        }
    }

    /// Whether what is always held fits at all.
    pub fn is_enough(&self) -> bool {
        self.fixed_bytes <= self.memory_bytes.saturating_add(BESIDE_BYTES / 4)
    }

    /// What is left of the memory beside what is always held.
    pub fn free_bytes(&self) -> usize {
        self.memory_bytes.saturating_sub(self.fixed_bytes)
    }

    /// How many records a thread gathers for a partition before it hands them over.
    pub fn chunk_rows(&self) -> usize {
        let share = self.free_bytes() / 16;
        (share / (self.threads * self.partitions * RECORD_BYTES)).clamp(CHUNK_ROWS.0, CHUNK_ROWS.1)
    }

    /// What records may take in memory; what is beyond waits on disk.
    pub fn records_bytes(&self) -> usize {
        self.free_bytes().saturating_sub(self.threads * self.partitions * self.chunk_rows() * RECORD_BYTES)
    }

    /// How many threads decide keys, while records take this much. Each holds a partition, and the records of its odd
    /// rows.
    pub fn settling_threads(&self, records_bytes: usize) -> usize {
        let each = self.partition_rows.saturating_mul(SETTLED_BYTES);
        self.threads.min((self.room_bytes(records_bytes) / each).max(1))
    }

    /// How many records of odd keys are gathered before their rows are looked at, while other records take this much.
    pub fn odd_records(&self, records_bytes: usize) -> usize {
        // A list that grows is twice as large for a moment, and those of all threads become one.
        self.look_bytes(records_bytes) / (3 * RECORD_BYTES)
    }

    /// How many rows of odd keys are looked at together, while records take this much.
    pub fn odd_rows(&self, records_bytes: usize) -> usize {
        (self.look_bytes(records_bytes) / self.odd_bytes).max(1)
    }

    fn look_bytes(&self, records_bytes: usize) -> usize {
        self.free_bytes().saturating_sub(records_bytes).min(self.free_bytes() / 4).max(LOOK_BYTES_MIN)
    }

    /// How many records of odd keys can be gathered at the very most, by all threads together.
    pub fn odd_records_max(&self, records_bytes: usize) -> usize {
        // A list that grows is twice as large for a moment.
        self.room_bytes(records_bytes) / (2 * RECORD_BYTES)
    }

    /// How many rows of one odd key can be looked at, at the very most.
    pub fn odd_rows_max(&self, records_bytes: usize) -> usize {
        self.room_bytes(records_bytes) / self.odd_bytes
    }

    /// All that is left beside records, before work is refused.
    fn room_bytes(&self, records_bytes: usize) -> usize {
        self.free_bytes().saturating_sub(records_bytes).saturating_add(BESIDE_BYTES / 2)
    }

    /// What keys may take that are compared byte by byte.
    pub fn keys_bytes(&self) -> usize {
        self.free_bytes().max(LOOK_BYTES_MIN)
    }

    /// From how many rows on a partition is not held at once: some of its keys have very many.
    pub fn partition_rows_max(&self) -> usize {
        2 * self.partition_rows
    }

    /// How many encoders write winners. Each has files and row groups of its own for every batch.
    pub fn encoders(&self) -> usize {
        self.threads.min(ENCODERS_MAX).min((self.free_bytes() / ENCODER_BYTES_MIN).max(1))
    }

    /// What the open row groups of one encoder may hold. Half of its share: what it holds it estimates.
    pub fn open_bytes(&self) -> usize {
        (self.free_bytes() / 2 / self.encoders()).clamp(OPEN_BYTES.0, OPEN_BYTES.1)
    }
}
