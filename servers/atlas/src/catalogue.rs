//! What there is to watch: the playable things in a directory, for the page to list.
//!
//! ```text
//!   films/a/master.m3u8 ─┬─ names ─▶ 720p/index.m3u8 ─ names ─▶ init.mp4, seg-1.m4s …   one entry: the master
//!   films/b.mp4 ─────────┘                                                              one entry: the file
//! ```
//!
//! Control scans now and then, beside the workers; they get the result as part of a snapshot. A playlist that another
//! one names, and a file that a playlist names, is no entry of its own. What cannot be read is reported, not fatal.
//! Everything is bounded: a scan of a directory of a million files ends early and says so.

use core::fmt::Write as _;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use http::log::quote_json;
use http::target;
use web::walk::{Found, Limits, Problem, Walk};

mod playlist;

/// Where a scan stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanLimits {
    /// How far the directory is walked through.
    pub walk: Limits,
    /// Entries listed.
    pub entries_max: usize,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self { walk: Limits::default(), entries_max: 5_000 }
    }
}

/// A playlist larger than this is not read, so that a scan stays short.
const PLAYLIST_BYTES_MAX: u64 = 1 << 20;

/// How an entry is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An HLS playlist (RFC 8216).
    Hls,
    /// A DASH manifest (ISO/IEC 23009-1).
    Dash,
    /// One file that a browser plays by itself.
    File,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Hls => "hls",
            Self::Dash => "dash",
            Self::File => "file",
        }
    }
}

/// Something to watch.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The path below the root.
    pub path: Vec<u8>,
    /// A name for people, made from the path.
    pub title: String,
    /// How it is played.
    pub kind: Kind,
    /// The file's size; for a playlist or manifest, of everything in its directory and below.
    pub bytes: u64,
    /// How long it lasts, in seconds, if the playlist says so.
    pub duration_s: Option<f64>,
    /// A picture, as a path below the root.
    pub poster: Option<Vec<u8>>,
}

/// What a scan found.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// What there is to watch, by title.
    pub entries: Vec<Entry>,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// Whether a limit ended the scan early.
    pub truncated: bool,
}

/// A playlist that was read.
struct Playlist {
    path: Vec<u8>,
    content: playlist::Content,
}

impl Catalogue {
    /// Looks through the directory `root`. To be called on a thread that may block.
    ///
    /// # Errors
    /// `root` itself cannot be read; what is below it and cannot is a [`Problem`].
    pub fn scan(root: &Path, limits: &ScanLimits) -> io::Result<Self> {
        let Walk { root, found, problems, truncated } = Walk::through(root, &limits.walk)?;
        let catalogue = Self { entries: Vec::new(), problems, truncated };
        let mut scan = Scan { root, limits: *limits, found, catalogue };
        let playlists = scan.read_playlists();
        scan.list(&playlists);
        Ok(scan.catalogue)
    }

    /// The catalogue as the page reads it.
    #[must_use]
    pub fn to_json(&self, title: &str) -> String {
        let mut json = String::from("{\"title\":\"");
        // Writing to a string cannot fail.
        let _ = quote_json(title.as_bytes(), &mut json);
        let _ = write!(
            json,
            "\",\"truncated\":{},\"problems\":{},\"entries\":[",
            self.truncated,
            self.problems.len()
        );
        for (index, entry) in self.entries.iter().enumerate() {
            let Entry { path, title, kind, bytes, duration_s, poster } = entry;
            json.push_str(if index == 0 { "\n{\"title\":\"" } else { ",\n{\"title\":\"" });
            let _ = quote_json(title.as_bytes(), &mut json);
            let _ = write!(json, "\",\"kind\":\"{}\",\"href\":\"/", kind.name());
            json.extend(target::encode(path).map(char::from));
            let _ = write!(json, "\",\"bytes\":{bytes}");
            if let Some(seconds) = duration_s {
                let _ = write!(json, ",\"duration_s\":{seconds:.3}");
            }
            if let Some(poster) = poster {
                json.push_str(",\"poster\":\"/");
                json.extend(target::encode(poster).map(char::from));
                json.push('"');
            }
            json.push('}');
        }
        json.push_str("]}\n");
        json
    }
}

struct Scan {
    root: PathBuf,
    limits: ScanLimits,
    found: Vec<Found>,
    catalogue: Catalogue,
}

impl Scan {
    fn problem(&mut self, path: &Path, error: io::Error) {
        if self.catalogue.problems.len() < self.limits.walk.problems_max {
            self.catalogue.problems.push(Problem { path: path.to_owned(), error });
        } else {
            self.catalogue.truncated = true;
        }
    }

    fn read_playlists(&mut self) -> Vec<Playlist> {
        let mut playlists = Vec::new();
        for index in 0..self.found.len() {
            let Found { path, bytes } = &self.found[index];
            if suffix_of(path) != "m3u8" || *bytes > PLAYLIST_BYTES_MAX {
                continue;
            }
            let (path, full) = (path.clone(), self.full(path));
            let mut text = Vec::new();
            // It may have grown since: read no more than promised.
            match fs::File::open(&full).and_then(|file| file.take(PLAYLIST_BYTES_MAX).read_to_end(&mut text))
            {
                Ok(_) => {
                    let content = playlist::Content::parse(&String::from_utf8_lossy(&text));
                    playlists.push(Playlist { path, content });
                }
                Err(error) => self.problem(&full, error),
            }
        }
        playlists
    }

    fn full(&self, path: &[u8]) -> PathBuf {
        self.root.join(std::ffi::OsString::from_vec(path.to_vec()))
    }

    /// Makes entries of the files that no playlist names.
    fn list(&mut self, playlists: &[Playlist]) {
        let named: BTreeSet<Vec<u8>> = playlists
            .iter()
            .flat_map(|list| list.content.uris.iter().filter_map(|uri| playlist::resolve(&list.path, uri)))
            .collect();
        let mut entries = Vec::new();
        for Found { path, bytes } in &self.found {
            let Some(kind) = kind_of(path) else { continue };
            if named.contains(path) {
                continue;
            }
            let entry = match kind {
                Kind::File => Entry {
                    path: path.clone(),
                    title: title_of_file(path),
                    kind,
                    bytes: *bytes,
                    duration_s: None,
                    poster: self.poster_of_file(path),
                },
                Kind::Hls | Kind::Dash => Entry {
                    path: path.clone(),
                    title: self.title_of_stream(path),
                    kind,
                    bytes: self.bytes_below(directory_of(path)),
                    duration_s: duration_of(path, playlists),
                    poster: self.poster_of_stream(path),
                },
            };
            // A manifest beside a playlist in one directory tells of the same segments twice; both are entries.
            if entries.len() >= self.limits.entries_max {
                self.catalogue.truncated = true;
                break;
            }
            entries.push(entry);
        }
        entries.sort_by(|one, other| (&one.title, &one.path).cmp(&(&other.title, &other.path)));
        self.catalogue.entries = entries;
    }

    fn has(&self, path: &[u8]) -> bool {
        self.found.binary_search_by(|found| found.path.as_slice().cmp(path)).is_ok()
    }

    /// The sizes of all files whose path begins with `directory`, which is empty or ends in a slash.
    fn bytes_below(&self, directory: &[u8]) -> u64 {
        let from = self.found.partition_point(|found| found.path.as_slice() < directory);
        let below = self.found[from..].iter().take_while(|found| found.path.starts_with(directory));
        below.fold(0, |bytes, found| bytes.saturating_add(found.bytes))
    }

    /// `a/b/master.m3u8` is called b, `a/talk.m3u8` talk, and what lies in the root is called as the root is.
    fn title_of_stream(&self, path: &[u8]) -> String {
        let stem = title_of_file(path);
        if !["master", "main", "index", "manifest", "playlist", "stream"]
            .contains(&stem.to_lowercase().as_str())
        {
            return stem;
        }
        match directory_of(path).strip_suffix(b"/") {
            Some(directory) => readable(directory.rsplit(|&byte| byte == b'/').next().unwrap_or(directory)),
            None => self.root.file_name().map_or(stem, |name| readable(name.as_bytes())),
        }
    }

    fn poster_of_file(&self, path: &[u8]) -> Option<Vec<u8>> {
        let stem = &path[..path.iter().rposition(|&byte| byte == b'.')?];
        ["jpg", "jpeg", "png", "webp"]
            .into_iter()
            .map(|suffix| [stem, b".", suffix.as_bytes()].concat())
            .find(|path| self.has(path))
    }

    fn poster_of_stream(&self, path: &[u8]) -> Option<Vec<u8>> {
        let beside = |name: &str| [directory_of(path), name.as_bytes()].concat();
        ["poster.jpg", "poster.jpeg", "poster.png", "poster.webp"]
            .into_iter()
            .map(beside)
            .find(|path| self.has(path))
            .or_else(|| self.poster_of_file(path))
    }
}

/// The directory a path lies in, with its slash; empty for the root.
fn directory_of(path: &[u8]) -> &[u8] {
    &path[..path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1)]
}

fn suffix_of(path: &[u8]) -> String {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    let suffix = name.iter().rposition(|&byte| byte == b'.').map_or(&b""[..], |dot| &name[dot + 1..]);
    String::from_utf8_lossy(suffix).to_ascii_lowercase()
}

fn kind_of(path: &[u8]) -> Option<Kind> {
    match suffix_of(path).as_str() {
        "m3u8" => Some(Kind::Hls),
        "mpd" => Some(Kind::Dash),
        "mp4" | "m4v" | "webm" | "mov" | "ogv" | "mkv" | "mp3" | "m4a" | "ogg" | "opus" | "flac" | "wav" => {
            Some(Kind::File)
        }
        _ => None,
    }
}

fn title_of_file(path: &[u8]) -> String {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    readable(name.iter().rposition(|&byte| byte == b'.').map_or(name, |dot| &name[..dot]))
}

/// A file name as words.
fn readable(name: &[u8]) -> String {
    let words = String::from_utf8_lossy(name).replace(['_', '-', '.'], " ");
    let title = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if title.is_empty() { String::from_utf8_lossy(name).into_owned() } else { title }
}

/// A playlist's length, or that of the first one it names. The playlists are in the order of their paths.
fn duration_of(path: &[u8], playlists: &[Playlist]) -> Option<f64> {
    let find = |path: &[u8]| {
        playlists.binary_search_by(|list| list.path.as_slice().cmp(path)).map(|at| &playlists[at]).ok()
    };
    let list = find(path)?;
    if list.content.duration_s.is_some() {
        return list.content.duration_s;
    }
    let named = list.content.uris.iter().filter_map(|uri| playlist::resolve(&list.path, uri));
    named.filter_map(|path| find(&path)).find_map(|list| list.content.duration_s)
}

#[cfg(test)]
mod tests;
