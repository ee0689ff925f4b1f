//! The file in which records wait that do not fit into memory.

use super::records::{RECORD_BYTES, Record, lock, word};
use crate::error::{Doing, Error, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Records that are written or read at a time.
const AT_ONCE_ROWS: usize = 1 << 14;
/// Bytes of a [`Piece`] on disk.
const PIECE_BYTES: usize = 16;

/// A file without a name: the operating system frees it with the process, however that ends. It is made when the first
/// record has to go there.
#[derive(Debug)]
pub(super) struct Spill {
    folder: PathBuf,
    file: Mutex<Option<Arc<File>>>,
    /// Where the next piece goes.
    end: AtomicU64,
}

/// The records of a partition that are in the file.
#[derive(Debug, Default)]
pub(super) struct Spilled {
    rows: usize,
    last: Piece,
}

/// Records that follow each other in the file. Each piece begins with where the one before it of the same partition is,
/// so that memory holds one for each partition, however many there are.
#[derive(Clone, Copy, Debug, Default)]
struct Piece {
    offset: u64,
    /// How many records it has; 0: there is no such piece.
    rows: u64,
}

impl Spilled {
    pub(super) fn rows(&self) -> usize {
        self.rows
    }
}

impl Spill {
    pub(super) fn new(folder: &Path) -> Spill {
        Spill { folder: folder.to_path_buf(), file: Mutex::new(None), end: AtomicU64::new(0) }
    }

    /// What was written.
    pub(super) fn size_bytes(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    /// Writes chunks of a partition one after another, as a piece of it.
    pub(super) fn append(&self, to: &mut Spilled, chunks: &[Vec<Record>]) -> Result<()> {
        let doing = "write what does not fit into memory to the temporary folder";
        let rows: usize = chunks.iter().map(Vec::len).sum();
        if rows == 0 {
            return Ok(());
        }
        let file = self.file(true).doing(doing).map_err(|error| self.advise(error))?;
        let size_bytes = PIECE_BYTES + rows * RECORD_BYTES;
        let begin = self.end.fetch_add(size_bytes as u64, Ordering::Relaxed);
        // Not all at once: there is no memory left for a second copy of what has to go.
        let mut bytes = Vec::with_capacity(PIECE_BYTES + rows.min(AT_ONCE_ROWS) * RECORD_BYTES);
        bytes.extend_from_slice(&to.last.offset.to_le_bytes());
        bytes.extend_from_slice(&to.last.rows.to_le_bytes());
        let (mut offset, mut records) = (begin, chunks.iter().flatten().peekable());
        while records.peek().is_some() {
            records.by_ref().take(AT_ONCE_ROWS).for_each(|record| bytes.extend_from_slice(&record.to_bytes()));
            file.write_all_at(&bytes, offset).doing(doing).map_err(|error| self.advise(error))?;
            offset += bytes.len() as u64;
            bytes.clear();
        }
        to.last = Piece { offset: begin, rows: rows as u64 };
        to.rows += rows;
        Ok(())
    }

    /// All records of a partition, a few at a time.
    pub(super) fn pieces(&self, of: &Spilled, each: &mut dyn FnMut(&[Record]) -> Result<()>) -> Result<()> {
        let (mut bytes, mut records) = (Vec::new(), Vec::new());
        let mut piece = of.last;
        while piece.rows > 0 {
            let (mut offset, mut left, mut before) = (piece.offset, piece.rows as usize, None);
            while left > 0 {
                let rows = left.min(AT_ONCE_ROWS);
                let head_bytes = if before.is_none() { PIECE_BYTES } else { 0 };
                bytes.resize(head_bytes + rows * RECORD_BYTES, 0);
                let read = self.file(false).and_then(|file| file.read_exact_at(&mut bytes, offset));
                read.doing("read back what did not fit into memory")?;
                let (head, body) = bytes.split_at(head_bytes);
                before = before.or_else(|| Some(Piece { offset: word(head, 0), rows: word(head, 1) }));
                records.clear();
                records.extend(body.chunks_exact(RECORD_BYTES).map(Record::from_bytes));
                each(&records)?;
                offset += bytes.len() as u64;
                left -= rows;
            }
            piece = before.unwrap_or_default();
        }
        Ok(())
    }

    fn file(&self, make: bool) -> std::io::Result<Arc<File>> {
        let mut open = lock(&self.file);
        match open.as_ref() {
            Some(file) => Ok(Arc::clone(file)),
            None if make => Ok(Arc::clone(open.insert(Arc::new(tempfile::tempfile_in(&self.folder)?)))),
            None => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    fn advise(&self, error: Error) -> Error {
        error
            .with("folder", self.folder.display())
            .hint("make room there, name another folder in TMPDIR, or allow more with --memory")
    }
}
