//! A directory as a site: which names there are, in which forms; and the bytes of one form, when they are wanted.
//!
//! ```text
//!   app.js        ─┐
//!   app.js.br      ├─▶ resource "app.js": bare, br, zstd       app.js.br is older than app.js: stale, told, left out
//!   app.js.zst    ─┘
//! ```
//!
//! Looking through the directory reads no file. A form is recognised by inode, length and time of change, and whoever
//! reads it later compares: bytes of another file, or of one being written, are never served under the old name's tag.
//! Control makes sites; workers share them, read only.

use core::fmt;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::coding::Coding;
use http::etag::ETag;
use http::mime;
use rustix::fs::{Mode, OFlags};
use web::walk::{Limits, Walk};

use crate::rules::{Redirects, RuleError, Ruled, Settings};

/// The number of a file: while it stays what it is, the same from site to site. A coded sibling has one, whether it stands
/// for the bare name or for its own: its bytes are the same, only the heads differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub(crate) u64);

impl Key {
    /// Before every file's.
    pub(crate) const NONE: Self = Self(0);

    /// A number of the caller's own, for a shelf that no site fills.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// By what a file is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    mtime_ns: i128,
    /// Whoever sets the other time back cannot set this one.
    ctime_ns: i128,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            mtime_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
            ctime_ns: i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec()),
        }
    }
}

/// Files, by path below the root: what each is known by, and its number.
type Files = BTreeMap<Vec<u8>, (Stamp, Key)>;

/// Opens a file, and nothing else: a pipe that took its name would be waited for, and with it everything behind it.
fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// One form of a resource: the bare file, or a coded sibling.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Its number.
    pub key: Key,
    /// What it is coded in, as a form of this resource.
    pub coding: Option<Coding>,
    /// Its file, below the root.
    pub path: Vec<u8>,
    /// Its tag.
    pub etag: ETag,
    /// When it changed last, in seconds since the Unix epoch.
    pub last_modified: u64,
    stamp: Stamp,
}

impl Variant {
    fn new(path: Vec<u8>, (stamp, key): (Stamp, Key), coding: Option<Coding>) -> Self {
        let nanos = |time_ns| u64::try_from(time_ns).unwrap_or(0);
        // Of what nobody can set back: bytes written under an old date are other bytes.
        let etag = ETag::of_file(stamp.len, nanos(stamp.ctime_ns), stamp.inode);
        Self { key, coding, path, etag, last_modified: nanos(stamp.mtime_ns) / 1_000_000_000, stamp }
    }

    /// How many bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.stamp.len
    }

    fn changed(&self) -> LoadError {
        LoadError::Changed { path: self.path.clone() }
    }

    fn unreadable(&self, source: io::Error) -> LoadError {
        LoadError::Io { path: self.path.clone(), source }
    }
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its media type.
    pub content_type: &'static str,
    /// What caches may do with it.
    pub cache_control: String,
    /// More fields of its responses.
    pub fields: Vec<(String, String)>,
    /// Its forms, the bare one first.
    pub variants: Vec<Variant>,
}

/// Something about a directory that its operator should know; each is one line.
#[derive(Debug)]
pub enum Problem {
    /// A file or directory could not be read and is not served.
    Unreadable(web::walk::Problem),
    /// A coded sibling is older than the file and is not served in its place.
    Stale {
        /// The sibling, below the root.
        path: Vec<u8>,
    },
    /// A limit ended the look through the directory early.
    Truncated,
    /// The rules have more fields for a file than a response has room for.
    Crowded {
        /// The first such file, below the root.
        path: Vec<u8>,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(problem) => write!(f, "not served: {problem}"),
            Self::Stale { path } => write!(
                f,
                "not served in place of the bare file, which is newer: {}; compress it again",
                path.escape_ascii()
            ),
            Self::Truncated => {
                f.write_str("not all served: the directory is larger or deeper than is looked through")
            }
            Self::Crowded { path } => write!(
                f,
                "not all fields of rules are sent with {} and maybe others: together they are more than {} bytes",
                path.escape_ascii(),
                crate::rules::FIELDS_BYTES_MAX
            ),
        }
    }
}

/// Why there is no site. The operator's.
#[derive(Debug)]
pub enum SiteError {
    /// The directory cannot be read.
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A setting cannot be meant.
    Rule(RuleError),
}

impl fmt::Display for SiteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path, source } => {
                write!(f, "cannot read the directory {}: {source}", path.display())
            }
            Self::Rule(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SiteError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Directory { source, .. } => Some(source),
            Self::Rule(error) => Some(error),
        }
    }
}

/// Why the bytes of a form cannot be had.
#[derive(Debug)]
pub enum LoadError {
    /// The file is not the one that was seen, or changed while it was read: look through the directory again.
    Changed {
        /// Which, below the root.
        path: Vec<u8>,
    },
    /// It cannot be read.
    Io {
        /// Which, below the root.
        path: Vec<u8>,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { path } => {
                write!(f, "not served until it rests: {} changed while it was read", path.escape_ascii())
            }
            Self::Io { path, source } => write!(f, "not served: {}: {source}", path.escape_ascii()),
        }
    }
}

impl core::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Changed { .. } => None,
        }
    }
}

/// A form that is being read, a piece at a time: no more memory than a piece, however long it is.
#[derive(Debug)]
pub struct Reading<'a> {
    file: File,
    variant: &'a Variant,
    left: u64,
}

/// A piece of a file that is being read.
pub const PIECE_BYTES: usize = 64 << 10;

impl Reading<'_> {
    /// The next bytes; `None` after the last, which have then been found to be all of the file as it was seen.
    ///
    /// # Errors
    /// The file was changed meanwhile, or cannot be read: what came so far is worth nothing.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, LoadError> {
        if self.left == 0 {
            // A file that has grown is noticed by its length.
            self.compare()?;
            return Ok(None);
        }
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let mut piece = vec![0; len];
        match self.file.read_exact(&mut piece) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(self.variant.changed()),
            Err(error) => return Err(self.variant.unreadable(error)),
        }
        self.left -= len as u64;
        Ok(Some(piece))
    }

    fn compare(&self) -> Result<(), LoadError> {
        let metadata = self.file.metadata().map_err(|error| self.variant.unreadable(error))?;
        if Stamp::of(&metadata) == self.variant.stamp { Ok(()) } else { Err(self.variant.changed()) }
    }
}

/// What is served, and how.
#[derive(Debug)]
pub struct Site {
    root: PathBuf,
    settings: Settings,
    redirects: Redirects,
    resources: BTreeMap<Vec<u8>, Arc<Resource>>,
    /// The number that no form has had yet.
    next: u64,
    problems: Vec<Problem>,
}

impl Site {
    /// Looks through the directory `root`. Files that are as they were in the site `before` keep their numbers, and so
    /// their place in memory. To be called on a thread that may block.
    ///
    /// # Errors
    /// `root` itself cannot be read, or a setting cannot be meant; what is below `root` and cannot is a [`Problem`].
    pub fn load(
        root: &Path,
        settings: Settings,
        redirects: Redirects,
        before: Option<&Self>,
    ) -> Result<Self, SiteError> {
        settings.check().map_err(SiteError::Rule)?;
        let refused = |source| SiteError::Directory { path: root.to_owned(), source };
        let Walk { root, found, problems, truncated } =
            Walk::through(root, &Limits::default()).map_err(refused)?;
        let known = before.map(Self::known).unwrap_or_default();
        let mut site = Self {
            root,
            settings,
            redirects,
            resources: BTreeMap::new(),
            next: before.map_or(0, |site| site.next),
            problems: problems.into_iter().map(Problem::Unreadable).collect(),
        };
        if truncated {
            site.problems.push(Problem::Truncated);
        }
        let mut files = Files::new();
        for file in found {
            match site.look(&file.path, &known) {
                Ok(known) => drop(files.insert(file.path, known)),
                Err(error) => {
                    let path = site.full(&file.path);
                    site.problem(Problem::Unreadable(web::walk::Problem { path, error }));
                }
            }
        }
        let mut crowded = None;
        for (path, bare) in &files {
            let mut variants = vec![Variant::new(path.clone(), *bare, None)];
            for coding in Coding::ALL {
                let sibling = [path, coding.suffix().as_bytes()].concat();
                let Some(coded) = files.get(&sibling) else { continue };
                if coded.0.mtime_ns < bare.0.mtime_ns {
                    site.problem(Problem::Stale { path: sibling });
                } else {
                    variants.push(Variant::new(sibling, *coded, Some(coding)));
                }
            }
            let Ruled { cache_control, fields, crowded: is_crowded } = site.settings.of(path);
            if is_crowded {
                crowded.get_or_insert_with(|| path.clone());
            }
            let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            let resource = Resource {
                content_type: mime::of(path),
                cache_control: cache_control.to_owned(),
                fields: fields.into_iter().map(owned).collect(),
                variants,
            };
            site.resources.insert(path.clone(), Arc::new(resource));
        }
        if let Some(path) = crowded {
            site.problem(Problem::Crowded { path });
        }
        Ok(site)
    }

    /// The first problems are told; of a directory full of them the rest would say nothing new.
    fn problem(&mut self, problem: Problem) {
        if self.problems.len() < Limits::default().problems_max {
            self.problems.push(problem);
        }
    }

    fn full(&self, path: &[u8]) -> PathBuf {
        self.root.join(OsString::from_vec(path.to_vec()))
    }

    /// What a file is known by, if it may be read at all; one that is known already could be.
    fn look(&mut self, path: &[u8], known: &Files) -> io::Result<(Stamp, Key)> {
        let full = self.full(path);
        let mut stamp = Stamp::of(&fs::metadata(&full)?);
        if let Some(known) = known.get(path).filter(|(before, _)| *before == stamp) {
            return Ok(*known);
        }
        stamp = Stamp::of(&open_file(&full)?.metadata()?);
        self.next += 1;
        Ok((stamp, Key(self.next)))
    }

    fn known(&self) -> Files {
        self.files().map(|file| (file.path.clone(), (file.stamp, file.key))).collect()
    }

    /// Whether everything here is as in `other`: the same files in the same forms, and the same to be told of them.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let same = |(one, two): (&Variant, &Variant)| {
            (one.key, one.coding, &one.path) == (two.key, two.coding, &two.path)
        };
        self.settings == other.settings
            && self.redirects == other.redirects
            && self.problems.len() == other.problems.len()
            && self.variants().count() == other.variants().count()
            && self.variants().zip(other.variants()).all(same)
    }

    /// How many names there are.
    #[must_use]
    pub fn names(&self) -> usize {
        self.resources.len()
    }

    /// Every form of every resource. A coded sibling is a form of the bare name, and the bare form of its own.
    pub fn variants(&self) -> impl Iterator<Item = &Variant> {
        self.resources.values().flat_map(|resource| &resource.variants)
    }

    /// What each file stands for by its own name: every file once, as the first of the resource's forms.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// Every file, once.
    pub fn files(&self) -> impl Iterator<Item = &Variant> {
        self.resources.values().map(|resource| &resource.variants[0])
    }

    /// What the operator should know.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What was set.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Names that have gone elsewhere.
    #[must_use]
    pub const fn redirects(&self) -> &Redirects {
        &self.redirects
    }

    /// What a decoded path below the root stands for: of a directory, with its slash, the index in it.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<&Resource> {
        if path.is_empty() || path.ends_with(b"/") {
            let index = |name: &String| self.resources.get(&[path, name.as_bytes()].concat());
            return self.settings.index.iter().find_map(index).map(|resource| &**resource);
        }
        self.resources.get(path).map(|resource| &**resource)
    }

    /// Whether a path is a directory with an index, asked for without its slash.
    #[must_use]
    pub fn lacks_slash(&self, path: &[u8]) -> bool {
        !path.ends_with(b"/") && self.find(&[path, b"/"].concat()).is_some()
    }

    /// What goes with 404.
    #[must_use]
    pub fn not_found(&self) -> Option<&Resource> {
        self.find(self.settings.not_found.as_ref()?.as_bytes())
    }

    /// The bytes of a form, all of them as they were when it was seen. To be called on a thread that may block.
    ///
    /// # Errors
    /// The file is another by now, changes meanwhile, or cannot be read.
    pub fn read(&self, variant: &Variant) -> Result<Vec<u8>, LoadError> {
        let mut bytes = Vec::new();
        let mut reading = self.open(variant)?;
        while let Some(piece) = reading.next_piece()? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Begins to read a form. To be called on a thread that may block.
    ///
    /// # Errors
    /// The file is another by now, or cannot be read.
    pub fn open<'a>(&self, variant: &'a Variant) -> Result<Reading<'a>, LoadError> {
        let file = match open_file(&self.full(&variant.path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(variant.changed()),
            Err(error) => return Err(variant.unreadable(error)),
        };
        let reading = Reading { file, variant, left: variant.len() };
        reading.compare()?;
        Ok(reading)
    }

    /// Whether the directory's names still stand for the same files: a name that was replaced is another file.
    #[must_use]
    pub fn is_fresh(&self, variant: &Variant) -> bool {
        fs::metadata(self.full(&variant.path)).is_ok_and(|metadata| Stamp::of(&metadata) == variant.stamp)
    }
}

#[cfg(test)]
pub(crate) mod tests;
