//! An input's bytes: hashed as they are stored, unpacked as they are read.

use super::{Compression, Input};
use crate::error::{Doing, Error, Result};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// Hashes and counts what passes.
struct Metered {
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Read for Metered {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.hasher.update(&into[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

enum Decoder {
    Plain(BufReader<Metered>),
    Gzip(Box<MultiGzDecoder<BufReader<Metered>>>),
    Zstd(zstd::Decoder<'static, BufReader<Metered>>),
}

/// A file that is unpacked while it is read.
pub(crate) struct Unpacked {
    decoder: Decoder,
    url: String,
}

/// What was stored, once a file has been read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// BLAKE3 of the bytes as they are stored, in hexadecimal.
    pub(crate) digest: String,
    /// How many they are.
    pub(crate) bytes: u64,
}

impl Unpacked {
    /// Opens the local copy of an input.
    pub(crate) fn open(input: &Input, copy: &Path) -> Result<Unpacked> {
        let file = File::open(copy).doing("open an input").map_err(|error| error.with("file", &input.url))?;
        let metered = BufReader::with_capacity(1 << 17, Metered { file, hasher: blake3::Hasher::new(), bytes: 0 });
        let decoder = match input.compression {
            Compression::None => Decoder::Plain(metered),
            Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(metered))),
            Compression::Zstd => Decoder::Zstd(zstd::Decoder::with_buffer(metered).doing("open an input")?),
        };
        Ok(Unpacked { decoder, url: input.url.clone() })
    }

    /// How many stored bytes were read so far.
    pub(crate) fn position(&self) -> u64 {
        match &self.decoder {
            Decoder::Plain(reader) => reader.get_ref().bytes,
            Decoder::Gzip(reader) => reader.get_ref().get_ref().bytes,
            Decoder::Zstd(reader) => reader.get_ref().get_ref().bytes,
        }
    }

    /// Reads what is left of the stored bytes and hands out their digest.
    pub(crate) fn finish(self) -> Result<Stored> {
        let mut metered = match self.decoder {
            Decoder::Plain(reader) => reader,
            Decoder::Gzip(reader) => reader.into_inner(),
            Decoder::Zstd(reader) => reader.finish(),
        }
        .into_inner();
        io::copy(&mut metered, &mut io::sink())
            .doing("read an input to its end")
            .map_err(|error| error.with("file", &self.url))?;
        Ok(Stored { digest: metered.hasher.finalize().to_hex().to_string(), bytes: metered.bytes })
    }

    /// The error for bytes that can't be unpacked, or can't be read at all, at `row`.
    pub(crate) fn failed(&self, row: u64, error: io::Error) -> Error {
        // An error of the operating system has its number, one of a decoder has none.
        if error.raw_os_error().is_some() {
            let failed = Err::<(), _>(error).doing("read an input").err();
            return failed.unwrap_or_else(|| Error::bug("read an input")).with("file", &self.url);
        }
        damaged(&self.url, error).with("row", row).with("stored byte", self.position())
    }
}

impl Read for Unpacked {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.decoder {
            Decoder::Plain(reader) => reader.read(into),
            Decoder::Gzip(reader) => reader.read(into),
            Decoder::Zstd(reader) => reader.read(into),
        }
    }
}

/// Whether there is nothing in an input, or nothing but blanks.
pub(crate) fn is_blank(input: &Input, copy: &Path) -> Result<bool> {
    let mut bytes = Unpacked::open(input, copy)?;
    let mut some = [0; 256];
    loop {
        match bytes.read(&mut some) {
            Ok(0) => return Ok(true),
            Ok(read) if some[..read].iter().all(u8::is_ascii_whitespace) => {}
            Ok(_) => return Ok(false),
            Err(error) => return Err(bytes.failed(1, error)),
        }
    }
}

/// The digest and size of a local file.
pub(crate) fn digest(url: &str, copy: &Path) -> Result<Stored> {
    let named = |error: Error| error.with("file", url);
    let input = File::open(copy).doing("open an input").map_err(named)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(input).doing("read an input to its end").map_err(named)?;
    Ok(Stored { digest: hasher.finalize().to_hex().to_string(), bytes: hasher.count() })
}

/// The error for a file that is cut short or damaged.
pub(crate) fn damaged(url: &str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::data("read an input that is cut short or damaged")
        .with("file", url)
        .because(cause)
        .hint("fetch the file again, or leave it out; nothing was landed")
}
