//! The files of a directory that clients may ask for.
//!
//! Names that begin with a dot are nobody's but the operator's. Links are followed to files inside the root and never
//! out of it; linked directories are not, lest the walk go round in circles. What cannot be read is reported, not
//! fatal. Everything is bounded: a walk through millions of files ends early and says so. Names are bytes: what is no
//! UTF-8 is found like everything else.

use core::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Where a walk stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files and directories looked at.
    pub files_max: usize,
    /// Directories below directories.
    pub depth_max: usize,
    /// Problems told.
    pub problems_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files_max: 1_000_000, depth_max: 16, problems_max: 100 }
    }
}

/// Something that could not be read.
#[derive(Debug)]
pub struct Problem {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub error: io::Error,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The path below the root.
    pub path: Vec<u8>,
    /// How long it was.
    pub bytes: u64,
}

/// What a walk found.
#[derive(Debug)]
pub struct Walk {
    /// Where it began, without links in it.
    pub root: PathBuf,
    /// Files, by path.
    pub found: Vec<Found>,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// Whether a limit ended it early.
    pub truncated: bool,
}

impl Walk {
    /// Looks through the directory `root`. To be called on a thread that may block.
    ///
    /// # Errors
    /// `root` itself cannot be read; what is below it and cannot is a [`Problem`].
    pub fn through(root: &Path, limits: &Limits) -> io::Result<Self> {
        let root = fs::canonicalize(root)?;
        // Said here, since everything below is only a problem.
        fs::read_dir(&root)?;
        let mut walk = Self { root, found: Vec::new(), problems: Vec::new(), truncated: false };
        walk.go(limits);
        walk.found.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(walk)
    }

    fn problem(&mut self, path: &Path, error: io::Error, limits: &Limits) {
        if self.problems.len() < limits.problems_max {
            self.problems.push(Problem { path: path.to_owned(), error });
        } else {
            self.truncated = true;
        }
    }

    /// Collects every file that a client could ask for.
    fn go(&mut self, limits: &Limits) {
        let mut looked_at = 0;
        let mut directories = vec![(self.root.clone(), 0)];
        while let Some((directory, depth)) = directories.pop() {
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) => {
                    self.problem(&directory, error, limits);
                    continue;
                }
            };
            for entry in entries {
                if looked_at >= limits.files_max {
                    self.truncated = true;
                    return;
                }
                looked_at += 1;
                let path = match &entry {
                    Ok(entry) => entry.path(),
                    Err(_) => directory.clone(),
                };
                match entry.and_then(|entry| self.look(&entry)) {
                    Ok(Look::Directory) if depth >= limits.depth_max => self.truncated = true,
                    Ok(Look::Directory) => directories.push((path, depth + 1)),
                    Ok(Look::File { bytes }) => {
                        if let Ok(relative) = path.strip_prefix(&self.root) {
                            let path = relative.as_os_str().as_bytes().to_vec();
                            self.found.push(Found { path, bytes });
                        }
                    }
                    Ok(Look::Nothing) => {}
                    Err(error) => self.problem(&path, error, limits),
                }
            }
        }
    }

    /// What a name in a directory stands for.
    fn look(&self, entry: &fs::DirEntry) -> io::Result<Look> {
        if entry.file_name().as_bytes().starts_with(b".") {
            return Ok(Look::Nothing);
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            return Ok(Look::Directory);
        }
        if kind.is_symlink() {
            let Ok(target) = fs::canonicalize(entry.path()) else { return Ok(Look::Nothing) };
            if !target.starts_with(&self.root) {
                return Ok(Look::Nothing);
            }
        } else if !kind.is_file() {
            return Ok(Look::Nothing);
        }
        let metadata = fs::metadata(entry.path())?;
        Ok(if metadata.is_file() { Look::File { bytes: metadata.len() } } else { Look::Nothing })
    }
}

enum Look {
    Directory,
    File { bytes: u64 },
    Nothing,
}
