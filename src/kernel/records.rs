//! One small record for each row, in partitions by fingerprint; those that do not fit into memory wait on disk.

use super::spill::{Spill, Spilled};
use super::{Budget, Resources};
use crate::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Records of a partition that are grouped at once: they and their table fit into the caches of a core.
pub(super) const PARTITION_ROWS: u64 = 1 << 16;
const PARTITIONS_MAX: u64 = 4_096;
/// By how much a reservation of memory grows at a time.
const RESERVE_BYTES: usize = 4 << 20;
/// Bytes of a record, in memory and on disk.
pub(super) const RECORD_BYTES: usize = size_of::<Record>();

/// What is remembered of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Record {
    /// The fingerprint of its key, high half first.
    print: [u64; 2],
    /// Its rank in the first order column: the greater, the better.
    pub(super) rank: u64,
    /// The digest of its content.
    pub(super) digest: u64,
    /// Its place among all rows in the upper 36 bits, its day in the lower 28.
    place_and_day: u64,
}

const DAY_BITS: u32 = 28;
const DAY_MASK: u64 = (1 << DAY_BITS) - 1;
/// Day 0 is stored as this, so that earlier days have room and 0 says that there is none.
const DAY_BIAS: i64 = 1 << (DAY_BITS - 1);
/// Rows that can be told apart.
pub(super) const ROWS_MAX: u64 = 1 << (64 - DAY_BITS);

impl Record {
    pub(super) fn new(print: u128, rank: u64, digest: u64, place: u64, day: Option<i32>) -> Record {
        // Microseconds of 64 bits reach 107 million days, which fit. Dates that reach further share the last day.
        let day = day.map_or(0, |day| (i64::from(day) + DAY_BIAS).clamp(1, DAY_MASK as i64) as u64);
        let print = [(print >> 64) as u64, print as u64];
        Record { print, rank, digest, place_and_day: place << DAY_BITS | day }
    }

    pub(super) fn print(&self) -> u128 {
        u128::from(self.print[0]) << 64 | u128::from(self.print[1])
    }

    pub(super) fn place(&self) -> u64 {
        self.place_and_day >> DAY_BITS
    }

    pub(super) fn day(&self) -> Option<i32> {
        match self.place_and_day & DAY_MASK {
            0 => None,
            day => Some((day as i64 - DAY_BIAS) as i32),
        }
    }

    pub(super) fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let words = [self.print[0], self.print[1], self.rank, self.digest, self.place_and_day];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Record {
        let word = |place| word(bytes, place);
        Record { print: [word(0), word(1)], rank: word(2), digest: word(3), place_and_day: word(4) }
    }
}

/// One of the numbers of which something is made on disk.
pub(super) fn word(bytes: &[u8], place: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[8 * place..8 * place + 8]);
    u64::from_le_bytes(word)
}

/// All records, in partitions by the first bits of the fingerprint.
#[derive(Debug)]
pub(super) struct Partitions {
    parts: Vec<Mutex<Part>>,
    shift: u32,
    memory: Mutex<Memory>,
    /// What records may take in memory, whatever the pool would grant.
    records_bytes: usize,
    chunk_rows: usize,
    /// How many partitions, the first ones, are in memory: what others get goes to disk.
    in_memory: AtomicUsize,
    /// Held by the thread that sends partitions to disk.
    spilling: Mutex<()>,
    spill: Spill,
}

#[derive(Debug)]
struct Memory {
    reservation: MemoryReservation,
    used_bytes: usize,
}

#[derive(Debug, Default)]
struct Part {
    chunks: Vec<Vec<Record>>,
    spilled: Spilled,
}

fn bytes_of(chunks: &[Vec<Record>]) -> usize {
    chunks.iter().map(|chunk| chunk.capacity() * RECORD_BYTES).sum()
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked ends the whole run; what it held is not looked at again.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many partitions so many rows lie in.
pub(super) fn partitions_for(rows: u64) -> usize {
    (rows / PARTITION_ROWS).clamp(1, PARTITIONS_MAX).next_power_of_two() as usize
}

impl Partitions {
    /// As many as the budget counts on. What it or the pool do not grant goes to a file in the folder of the resources.
    pub(super) fn new(budget: &Budget, resources: &Resources) -> Partitions {
        let count = budget.partitions;
        let reservation = MemoryConsumer::new("records of keys").with_can_spill(true).register(&resources.pool);
        Partitions {
            parts: (0..count).map(|_| Mutex::default()).collect(),
            shift: 64 - count.trailing_zeros(),
            memory: Mutex::new(Memory { reservation, used_bytes: 0 }),
            records_bytes: budget.records_bytes(),
            chunk_rows: budget.chunk_rows(),
            in_memory: AtomicUsize::new(count),
            spilling: Mutex::default(),
            spill: Spill::new(&resources.folder),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.parts.len()
    }

    /// What records take in memory.
    pub(super) fn used_bytes(&self) -> usize {
        lock(&self.memory).used_bytes
    }

    /// Bytes that went to disk.
    pub(super) fn spilled_bytes(&self) -> u64 {
        self.spill.size_bytes()
    }

    /// Where a thread puts its records.
    pub(super) fn sink(&self) -> Sink<'_> {
        Sink { partitions: self, open: self.parts.iter().map(|_| Vec::new()).collect() }
    }

    fn part_of(&self, record: &Record) -> usize {
        // Of one partition all bits are shifted out, which a plain shift can't do.
        record.print[0].checked_shr(self.shift).unwrap_or(0) as usize
    }

    fn hand_over(&self, part: usize, chunk: Vec<Record>) -> Result<()> {
        let chunks = [chunk];
        loop {
            let in_memory = self.in_memory.load(Ordering::Acquire);
            if part >= in_memory {
                break;
            }
            if !self.grant(&chunks) {
                self.spill_some(in_memory)?;
                continue;
            }
            let mut own = lock(&self.parts[part]);
            // Another thread may have sent the partition to disk meanwhile.
            if part < self.in_memory.load(Ordering::Acquire) {
                own.chunks.extend(chunks);
                return Ok(());
            }
            drop(own);
            self.give_back(&chunks);
        }
        self.spill.append(&mut lock(&self.parts[part]).spilled, &chunks)
    }

    fn grant(&self, chunks: &[Vec<Record>]) -> bool {
        let bytes = bytes_of(chunks);
        let mut memory = lock(&self.memory);
        memory.used_bytes += bytes;
        let reserved = memory.reservation.size();
        let fits = memory.used_bytes <= self.records_bytes;
        if fits && (memory.used_bytes <= reserved || memory.reservation.try_grow(bytes.max(RESERVE_BYTES)).is_ok()) {
            return true;
        }
        memory.used_bytes -= bytes;
        false
    }

    /// Sends the last partitions that are still in memory to disk: one in eight of them all. `end` is how many were
    /// there when memory was refused.
    fn spill_some(&self, end: usize) -> Result<()> {
        let _alone = lock(&self.spilling);
        if self.in_memory.load(Ordering::Acquire) != end {
            // Another thread has made room while this one waited.
            return Ok(());
        }
        let begin = end.saturating_sub(self.parts.len().div_ceil(8));
        self.in_memory.store(begin, Ordering::Release);
        for part in &self.parts[begin..end] {
            let mut own = lock(part);
            let chunks = std::mem::take(&mut own.chunks);
            self.spill.append(&mut own.spilled, &chunks)?;
            drop(own);
            self.give_back(&chunks);
        }
        Ok(())
    }

    fn give_back(&self, chunks: &[Vec<Record>]) {
        let mut memory = lock(&self.memory);
        memory.used_bytes -= bytes_of(chunks);
        // Some is kept for what comes next: the pool is shared, and asking it takes a lock.
        let keep = (memory.used_bytes + RESERVE_BYTES).min(memory.reservation.size());
        let surplus = memory.reservation.size() - keep;
        memory.reservation.shrink(surplus);
    }

    /// All records of a partition, which is empty afterwards. They are in no order.
    pub(super) fn take(&self, part: usize) -> Taken<'_> {
        Taken { partitions: self, part: std::mem::take(&mut *lock(&self.parts[part])) }
    }
}

/// The records of a partition. Their memory is given back with this.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    partitions: &'a Partitions,
    part: Part,
}

impl Taken<'_> {
    /// How many they are.
    pub(super) fn rows(&self) -> usize {
        self.part.chunks.iter().map(Vec::len).sum::<usize>() + self.part.spilled.rows()
    }

    /// All of them at once.
    pub(super) fn read_into(&self, records: &mut Vec<Record>) -> Result<()> {
        records.clear();
        records.reserve(self.rows());
        self.pieces(|piece| {
            records.extend_from_slice(piece);
            Ok(())
        })
    }

    /// A few at a time.
    pub(super) fn pieces(&self, mut each: impl FnMut(&[Record]) -> Result<()>) -> Result<()> {
        self.part.chunks.iter().try_for_each(|chunk| each(chunk))?;
        self.partitions.spill.pieces(&self.part.spilled, &mut each)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.partitions.give_back(&self.part.chunks);
    }
}

/// One thread's way into the partitions.
#[derive(Debug)]
pub(super) struct Sink<'a> {
    partitions: &'a Partitions,
    open: Vec<Vec<Record>>,
}

impl Sink<'_> {
    pub(super) fn push(&mut self, record: Record) -> Result<()> {
        let part = self.partitions.part_of(&record);
        let open = &mut self.open[part];
        if open.capacity() == 0 {
            open.reserve_exact(self.partitions.chunk_rows);
        }
        open.push(record);
        if open.len() < self.partitions.chunk_rows {
            return Ok(());
        }
        self.partitions.hand_over(part, std::mem::take(open))
    }

    /// Hands over what is left.
    pub(super) fn finish(mut self) -> Result<()> {
        for (part, mut chunk) in std::mem::take(&mut self.open).into_iter().enumerate() {
            chunk.shrink_to_fit();
            if !chunk.is_empty() {
                self.partitions.hand_over(part, chunk)?;
            }
        }
        Ok(())
    }
}
