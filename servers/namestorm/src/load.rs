//! Zone files into records.
//!
//! ```text
//! file ── chunks ──▶ Chunk { text, origin, $TTL, owner so far } ── parse (the `domain` crate) ──▶ Records
//!           │ $INCLUDE: another file           several at once, when the file is large
//!           │ $GENERATE: text, before the parser
//! ```
//!
//! What breaks a line is cut by us, so that a chunk begins where an entry does; what a line says is the parser's. A
//! record keeps its owner once for all that follow under the same name.

mod chunks;
mod error;
mod forms;
mod generate;
mod parse;
mod plain;
mod records;
mod stamp;
mod units;

pub use chunks::{Chunk, Chunks};
pub use error::{Place, Reason, ZoneError};
pub use records::{Record, RecordRef, Records};
pub use stamp::Stamp;

use std::path::{Path, PathBuf};

/// How many threads may parse one zone.
#[derive(Clone, Copy, Debug)]
pub struct Threads(pub usize);

/// The records of a zone, and how many bytes of text they were.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Every record, in the order of the files.
    pub records: Records,
    /// Bytes of zone text, included files among them.
    pub text_bytes: u64,
}

/// Reads a zone from its file.
///
/// # Errors
/// The first thing that is wrong with it: an unreadable file, or a line that says nothing.
pub fn read_file(path: &Path, origin: &[u8], threads: Threads) -> Result<Loaded, ZoneError> {
    read_file_noting(path, origin, threads, &mut Files::default())
}

/// The same, and notes in `files` what was read, whether or not anything came of it: when one of them changes, it is time
/// to read again.
///
/// # Errors
/// As [`read_file`].
pub fn read_file_noting(
    path: &Path,
    origin: &[u8],
    threads: Threads,
    files: &mut Files,
) -> Result<Loaded, ZoneError> {
    let mut chunks = Chunks::new();
    let loaded = chunks.begin(path, origin).and_then(|()| read(&mut chunks, threads));
    files.of = chunks.take_files();
    // A file may be included more than once.
    files.of.sort_by(|(a, _), (b, _)| a.cmp(b));
    files.of.dedup();
    loaded
}

/// The files of a zone, as they were when they were read.
#[derive(Clone, Debug, Default)]
pub struct Files {
    of: Vec<(PathBuf, Option<Stamp>)>,
}

impl Files {
    /// Whether each is still what it was.
    #[must_use]
    pub fn are_as_they_were(&self) -> bool {
        self.of.iter().all(|(path, stamp)| Stamp::now(path) == *stamp)
    }
}

/// Reads a zone from text that came from elsewhere, as if it were the file of that name.
///
/// # Errors
/// As [`read_file`].
pub fn read_text(name: &Path, text: &[u8], origin: &[u8]) -> Result<Loaded, ZoneError> {
    read(&mut Chunks::of_text(name, text.to_vec(), origin), Threads(1))
}

fn read(chunks: &mut Chunks, threads: Threads) -> Result<Loaded, ZoneError> {
    let mut loaded = Loaded::default();
    // Without $TTL, a record's time to live is that of the record before it (RFC 1035 §5.1), wherever that stood.
    let mut ttl_before = None;
    loop {
        let mut batch: Vec<Chunk> = Vec::new();
        while batch.len() < threads.0.max(1) {
            let Some(chunk) = chunks.next_chunk()? else { break };
            let stands_alone = chunk.ttl.is_some();
            batch.push(chunk);
            if !stands_alone {
                break;
            }
        }
        match &mut batch[..] {
            [] => break,
            [chunk] => ttl_before = parse::parse(chunk, ttl_before, &mut loaded.records)?.or(ttl_before),
            several => {
                for part in in_parallel(several, ttl_before) {
                    let (records, ttl) = part?;
                    loaded.records.append(&records)?;
                    ttl_before = ttl.or(ttl_before);
                }
            }
        }
    }
    loaded.text_bytes = chunks.bytes_read();
    Ok(loaded)
}

type Part = Result<(Records, Option<u32>), ZoneError>;

/// One thread a chunk; the results in the order of the chunks.
fn in_parallel(chunks: &[Chunk], ttl_before: Option<u32>) -> Vec<Part> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = chunks
            .iter()
            .map(|chunk| {
                scope.spawn(move || {
                    let mut records = Records::default();
                    parse::parse(chunk, ttl_before, &mut records).map(|ttl| (records, ttl))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a parser that does not panic")).collect()
    })
}

/// Where the zone says something about this owner and type: the work of loading again, for an error's sake.
#[must_use]
pub fn locate(path: &Path, origin: &[u8], owner: &[u8], rtype: dns::Rtype) -> Option<Place> {
    let mut chunks = Chunks::open(path, origin).ok()?;
    let mut ttl = None;
    while let Ok(Some(chunk)) = chunks.next_chunk() {
        let mut found = None;
        ttl = parse::visit(&chunk, ttl, |line, record_owner, of_type| {
            if found.is_none() && of_type == rtype && record_owner.eq_ignore_ascii_case(owner) {
                found = Some(line());
            }
        })
        .ok()?
        .or(ttl);
        if let Some(line) = found {
            return Some(Place { file: chunk.file.to_path_buf(), line });
        }
    }
    None
}

#[cfg(test)]
mod tests;
