//! A zone file as chunks of whole entries, each of which can be parsed on its own.
//!
//! ```text
//!   $ORIGIN example.      ─▶ state                     ┌ Chunk ────────────────────────┐
//!   $TTL 3600             ─▶ state                     │ origin, $TTL, owner before it │
//!   www  A 192.0.2.1      ┐                            │ text …                        │
//!        AAAA 2001:db8::1 │ entries ─────────────────▶ └───────────────────────────────┘
//!   mail A ( 192.0.2.2 )  ┘
//!   $INCLUDE more.zone    ─▶ a file on top of this one, then on
//! ```
//!
//! Memory is bounded by a chunk and the longest entry, whatever the file's length.

use super::generate::{self, Generate};
use super::stamp::Stamp;
use super::units;
use super::{Reason, ZoneError};
use dns::name;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A chunk ends at the first entry behind this many bytes.
const CHUNK_BYTES: usize = 512 << 10;
/// No entry is longer: 64 KiB of data, escaped, take a quarter of this.
const ENTRY_BYTES_MAX: usize = 4 << 20;
const INCLUDE_DEPTH_MAX: usize = 16;
/// Files that one zone may include, so that files that include each other many times come to an end.
pub(super) const INCLUDES_MAX: u32 = 10_000;

/// Whole entries, and what was said before them that they depend on.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The file that they stand in.
    pub file: Arc<Path>,
    /// The line that the text begins with, counted from 1.
    pub line: u64,
    /// All of the text was made from that line (`$GENERATE`).
    pub generated: bool,
    /// The origin, on the wire.
    pub origin: Arc<[u8]>,
    /// What `$TTL` said last.
    pub ttl: Option<u32>,
    /// The owner of the entry before, on the wire.
    pub owner: Option<Vec<u8>>,
    /// The entries.
    pub text: Vec<u8>,
}

impl Chunk {
    /// A part of it: `text`, which begins at `line` behind an entry of that owner.
    pub(super) fn part(&self, line: u64, owner: Option<Vec<u8>>, text: &[u8]) -> Self {
        let Self { file, line: _, generated, origin, ttl, owner: _, text: _ } = self;
        Self {
            file: Arc::clone(file),
            line,
            generated: *generated,
            origin: Arc::clone(origin),
            ttl: *ttl,
            owner,
            text: text.to_vec(),
        }
    }
}

/// A file that is being cut.
struct Open {
    file: Arc<Path>,
    stamp: Option<Stamp>,
    input: Box<dyn Read>,
    ended: bool,
    buffer: Vec<u8>,
    at: usize,
    line: u64,
    origin: Arc<[u8]>,
    owner: Option<Vec<u8>>,
    generate: Option<Generate>,
}

/// Cuts a file, and those that it includes, into chunks.
pub struct Chunks {
    /// The file that includes the others is at the bottom.
    open: Vec<Open>,
    ttl: Option<u32>,
    bytes_read: u64,
    /// Every file that was opened, as it was then.
    files: Vec<(PathBuf, Option<Stamp>)>,
    includes: u32,
    generated_lines: u64,
    generated_bytes: u64,
}

impl core::fmt::Debug for Chunks {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Chunks").field("bytes_read", &self.bytes_read).finish_non_exhaustive()
    }
}

impl Chunks {
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path, origin: &[u8]) -> Result<Self, ZoneError> {
        let mut chunks = Self::new();
        chunks.begin(path, origin)?;
        Ok(chunks)
    }

    /// Nothing to read yet.
    pub(super) const fn new() -> Self {
        Self {
            open: Vec::new(),
            ttl: None,
            bytes_read: 0,
            files: Vec::new(),
            includes: 0,
            generated_lines: 0,
            generated_bytes: 0,
        }
    }

    /// Begins with this file.
    pub(super) fn begin(&mut self, path: &Path, origin: &[u8]) -> Result<(), ZoneError> {
        self.push(path, origin.into(), None)
    }

    /// Every file that was asked for so far, and what it was when it was opened; nothing if it could not be.
    pub(super) fn take_files(&mut self) -> Vec<(PathBuf, Option<Stamp>)> {
        core::mem::take(&mut self.files)
    }

    /// Text that is in memory already.
    #[must_use]
    pub fn of_text(name: &Path, text: Vec<u8>, origin: &[u8]) -> Self {
        let input = Box::new(std::io::Cursor::new(text));
        Self { open: vec![Open::new(name, None, input, origin.into(), None)], ..Self::new() }
    }

    fn push(&mut self, path: &Path, origin: Arc<[u8]>, owner: Option<Vec<u8>>) -> Result<(), ZoneError> {
        let unreadable =
            |error: std::io::Error| ZoneError::new(Reason::Unreadable(path.to_path_buf(), error.to_string()));
        self.files.push((path.to_path_buf(), None));
        // An operator may pipe a zone in; what a zone names is not to block us for ever.
        let is_included = !self.open.is_empty();
        if is_included && !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(ZoneError::new(Reason::Unreadable(
                path.to_path_buf(),
                "not a regular file".to_owned(),
            )));
        }
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(ZoneError::new(Reason::Unreadable(path.to_path_buf(), "a directory".to_owned())));
        }
        let stamp = Stamp::of(&metadata);
        if self.open.iter().any(|open| open.stamp.is_some_and(|other| other.is_same_file(stamp))) {
            return Err(ZoneError::new(Reason::IncludeLoop(path.to_path_buf())));
        }
        if let Some((_, noted)) = self.files.last_mut() {
            *noted = Some(stamp);
        }
        self.open.push(Open::new(path, Some(stamp), Box::new(file), origin, owner));
        Ok(())
    }

    /// How much text was read so far.
    #[must_use]
    pub const fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The next chunk; nothing at the end of the last file.
    ///
    /// # Errors
    /// A directive that cannot be followed, or a file that cannot be read.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, ZoneError> {
        while let Some(open) = self.open.last_mut() {
            if let Some(generate) = &mut open.generate {
                if let Some(text) = generate.next_text() {
                    self.generated_bytes += text.len() as u64;
                    if self.generated_bytes > generate::BYTES_MAX {
                        return Err(ZoneError::at(&open.file, open.line, Reason::GenerateBytes));
                    }
                    return Ok(Some(Chunk { generated: true, text, ..open.chunk(self.ttl) }));
                }
                open.line += 1;
                open.generate = None;
            }
            self.bytes_read += open.fill()?;
            match open.take_entries(self.ttl)? {
                Taken::Entries(chunk) => return Ok(Some(chunk)),
                Taken::Directive(line) => self.follow(&line)?,
                Taken::End => {
                    self.open.pop();
                }
            }
        }
        Ok(None)
    }

    fn follow(&mut self, line: &[u8]) -> Result<(), ZoneError> {
        let depth = self.open.len();
        let open = self.open.last_mut().expect("the file that the directive stands in");
        let (file, number) = (Arc::clone(&open.file), open.line);
        let wrong = |reason| ZoneError::at(&file, number, reason);
        let words: Vec<&[u8]> = words(line);
        let directive = words[0].to_ascii_uppercase();
        open.line += 1;
        match &directive[..] {
            b"$ORIGIN" => {
                let [_, origin] = words[..] else {
                    return Err(wrong(Reason::Directive("$ORIGIN", "wants one name")));
                };
                open.origin = absolute(origin, &open.origin).map_err(wrong)?.into();
            }
            b"$TTL" => {
                let [_, ttl] = words[..] else {
                    return Err(wrong(Reason::Directive("$TTL", "wants one number of seconds")));
                };
                let ttl = units::seconds(ttl).ok_or_else(|| {
                    wrong(Reason::Directive("$TTL", "wants a number of seconds, such as 3600 or 1h"))
                })?;
                self.ttl = Some(ttl);
            }
            b"$INCLUDE" => {
                let (path, origin) = match words[..] {
                    [_, path] => (path, Arc::clone(&open.origin)),
                    [_, path, origin] => (path, absolute(origin, &open.origin).map_err(wrong)?.into()),
                    _ => {
                        return Err(wrong(Reason::Directive(
                            "$INCLUDE",
                            "wants a file, and perhaps an origin",
                        )));
                    }
                };
                if depth >= INCLUDE_DEPTH_MAX {
                    return Err(wrong(Reason::IncludeDepth));
                }
                self.includes += 1;
                if self.includes >= INCLUDES_MAX {
                    return Err(wrong(Reason::Includes));
                }
                let owner = open.owner.clone();
                let path = relative_to(&file, path);
                self.push(&path, origin, owner).map_err(|error| wrong(error.reason))?;
            }
            b"$GENERATE" => {
                open.line -= 1;
                let generate = Generate::parse(&words[1..])
                    .map_err(|what| wrong(Reason::Directive("$GENERATE", what)))?;
                self.generated_lines += generate.lines();
                if self.generated_lines > generate::LINES_MAX {
                    return Err(wrong(Reason::GenerateLines(generate.lines())));
                }
                open.generate = Some(generate);
            }
            _ => {
                let what = "is not known; there are $ORIGIN, $TTL, $INCLUDE and $GENERATE";
                return Err(wrong(Reason::Syntax(format!("{} {what}", String::from_utf8_lossy(words[0])))));
            }
        }
        Ok(())
    }
}

enum Taken {
    Entries(Chunk),
    Directive(Vec<u8>),
    End,
}

impl Open {
    fn new(
        path: &Path,
        stamp: Option<Stamp>,
        input: Box<dyn Read>,
        origin: Arc<[u8]>,
        owner: Option<Vec<u8>>,
    ) -> Self {
        Self {
            file: path.into(),
            stamp,
            input,
            ended: false,
            buffer: Vec::new(),
            at: 0,
            line: 1,
            origin,
            owner,
            generate: None,
        }
    }

    fn chunk(&self, ttl: Option<u32>) -> Chunk {
        Chunk {
            file: Arc::clone(&self.file),
            line: self.line,
            generated: false,
            origin: Arc::clone(&self.origin),
            ttl,
            owner: self.owner.clone(),
            text: Vec::new(),
        }
    }

    /// Reads until a chunk's worth is there, or the end. Returns how much was read.
    fn fill(&mut self) -> Result<u64, ZoneError> {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.read_up_to(CHUNK_BYTES + (CHUNK_BYTES >> 2))
    }

    fn read_up_to(&mut self, bytes: usize) -> Result<u64, ZoneError> {
        let before = self.buffer.len();
        if self.ended || before >= bytes {
            return Ok(0);
        }
        let wanted = (bytes - before) as u64;
        let read = self.input.by_ref().take(wanted).read_to_end(&mut self.buffer).map_err(|error| {
            ZoneError::new(Reason::Unreadable(PathBuf::from(&*self.file), error.to_string()))
        })?;
        self.ended = (read as u64) < wanted;
        Ok(read as u64)
    }

    /// Entries up to a chunk's length, or one directive, or the end.
    fn take_entries(&mut self, ttl: Option<u32>) -> Result<Taken, ZoneError> {
        let mut at = 0;
        let mut lines = 0;
        let mut owner: Option<(usize, usize)> = None;
        loop {
            let rest = &self.buffer[at..];
            let may_cut = at > 0 && !rest.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
            let is_directive = rest.first() == Some(&b'$');
            if rest.is_empty() && self.ended || at >= CHUNK_BYTES && may_cut || is_directive && at > 0 {
                break;
            }
            let Some(entry) = measure(rest, self.ended) else {
                if self.ended {
                    // What is left over is for the parser to complain about.
                    at = self.buffer.len();
                    break;
                }
                if at > 0 && may_cut {
                    break;
                }
                if rest.len() > ENTRY_BYTES_MAX {
                    return Err(ZoneError::at(&self.file, self.line + lines, Reason::EntryTooLong));
                }
                self.read_up_to(self.buffer.len() + CHUNK_BYTES)?;
                continue;
            };
            if is_directive {
                let line = self.buffer[..entry.bytes].to_vec();
                self.at = entry.bytes;
                return Ok(Taken::Directive(line));
            }
            if let Some(bytes) = entry.owner_bytes {
                owner = Some((at, at + bytes));
            }
            at += entry.bytes;
            lines += entry.lines;
        }
        if at == 0 {
            return Ok(Taken::End);
        }
        let chunk = Chunk { text: self.buffer[..at].to_vec(), ..self.chunk(ttl) };
        if let Some((from, to)) = owner {
            // A name that cannot be read stops the parser before anyone asks for it.
            self.owner = absolute(&self.buffer[from..to], &self.origin).ok();
        }
        self.at = at;
        self.line += lines;
        Ok(Taken::Entries(chunk))
    }
}

/// An entry: a line, and more of them while a parenthesis or a quote is open.
struct Entry {
    bytes: usize,
    lines: u64,
    owner_bytes: Option<usize>,
}

/// How many bytes at the beginning of `text` are whole entries: `most` or a little more, all of it if one does not end.
pub(super) fn entries_bytes(text: &[u8], most: usize) -> usize {
    let mut at = 0;
    while at < most && at < text.len() {
        let Some(entry) = measure(&text[at..], true) else { return text.len() };
        at += entry.bytes;
    }
    at.min(text.len())
}

/// Where the entry at the beginning of `text` ends; nothing when it does not.
fn measure(text: &[u8], ended: bool) -> Option<Entry> {
    let owner_bytes = match text.first()? {
        b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' | b'"' => None,
        _ => Some(word_bytes(text)),
    };
    // Most entries are a line with nothing in it that could go beyond.
    if let Some(end) = text.iter().position(|byte| *byte == b'\n') {
        let goes_on = |byte: u8| matches!(byte, b'\\' | b'"' | b'(' | b')' | b';');
        if !text[..end].iter().fold(false, |any, byte| any | goes_on(*byte)) {
            return Some(Entry { bytes: end + 1, lines: 1, owner_bytes });
        }
    }
    let (mut depth, mut quoted, mut lines) = (0_u32, false, 0);
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'\n' => {
                lines += 1;
                // A quote does not go beyond its line unless a parenthesis does: then the parser says so.
                if depth == 0 {
                    return Some(Entry { bytes: at, lines, owner_bytes });
                }
            }
            b'\\' => at += 1,
            b'"' => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth = depth.saturating_sub(1),
            b';' if !quoted => {
                at = text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |line| at + line);
            }
            _ => {}
        }
    }
    (ended && depth == 0).then_some(Entry { bytes: text.len(), lines, owner_bytes })
}

fn word_bytes(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' => break,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at.min(text.len())
}

/// The words of a directive, quotes and a comment taken away.
fn words(line: &[u8]) -> Vec<&[u8]> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        match rest.first() {
            None | Some(b';') => return words,
            Some(b'"') => {
                let end = rest[1..].iter().position(|byte| *byte == b'"').unwrap_or(rest.len() - 1);
                words.push(&rest[1..=end]);
                rest = rest.get(end + 2..).unwrap_or_default();
            }
            Some(_) => {
                let (word, behind) = rest.split_at(word_bytes(rest).max(1));
                words.push(word);
                rest = behind;
            }
        }
    }
}

/// The name that `text` means below `origin`.
pub(super) fn absolute(text: &[u8], origin: &[u8]) -> Result<Vec<u8>, Reason> {
    if text == b"@" {
        return Ok(origin.to_vec());
    }
    let mut wire = name::from_text(text).map_err(Reason::Name)?;
    let escaped = text.iter().rev().skip(1).take_while(|byte| **byte == b'\\').count() % 2 == 1;
    if text.last() != Some(&b'.') || escaped {
        wire.pop();
        wire.extend_from_slice(origin);
        if wire.len() > name::NAME_BYTES_MAX {
            return Err(Reason::Name(name::TextError::TooLong));
        }
    }
    Ok(wire)
}

/// A path in a zone file is relative to that file.
fn relative_to(file: &Path, path: &[u8]) -> PathBuf {
    let path = String::from_utf8_lossy(path);
    file.parent().map_or_else(|| PathBuf::from(&*path), |directory| directory.join(&*path))
}
