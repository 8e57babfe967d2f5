//! Small files of `/proc` and `/sys`, below a root that a test may choose.

use std::fs;
use std::path::{Path, PathBuf};

/// Where `/proc` and `/sys` begin.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// This machine's.
    #[must_use]
    pub fn host() -> Self {
        Self::below("/")
    }

    /// Those below `root`.
    #[must_use]
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A file's text without its last newline. `None` when it is not there, or not for us.
    #[must_use]
    pub fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.at(path)).ok().map(|text| text.trim_end().to_owned())
    }

    /// A file that holds one number.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<u64> {
        self.read(path)?.trim().parse().ok()
    }

    /// The word between brackets in a file such as `always [madvise] never`.
    #[must_use]
    pub fn chosen(&self, path: &str) -> Option<String> {
        let text = self.read(path)?;
        let (_, after) = text.split_once('[')?;
        after.split_once(']').map(|(word, _)| word.to_owned())
    }

    /// The last component of where a symbolic link leads.
    #[must_use]
    pub fn leads_to(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.at(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// The names in a directory, in order; none when there is no such directory.
    #[must_use]
    pub fn list(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.at(path)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Whether there is such a file, of whatever kind.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.at(path).symlink_metadata().is_ok()
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.join(Path::new(path.trim_start_matches('/')))
    }
}
