//! The served directory: opened once, scanned again when it changes.

use atlas::{Catalogue, ScanLimits, Settings, SettingsError, Site};
use control::Opener;
use core::fmt;
use core::time::Duration;
use http::signature::{Key, KeyError};
use platform::RootId;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Directories whose change is noticed without being asked.
const WATCHED_MAX: usize = 1_000;
/// A file of more than this is no key.
const KEY_BYTES_MAX: u64 = 64 << 10;
/// Scanning may take one part in so many of control's time.
const SCAN_SHARE: u32 = 50;

/// Why the directory cannot be served. The operator's.
#[derive(Debug)]
pub(crate) enum ContentError {
    /// It is not there, or not for us.
    Unreadable {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is something else.
    NotADirectory {
        /// What it is not.
        dir: PathBuf,
    },
    /// A key for signed URLs cannot be read.
    Key {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key for signed URLs is not one.
    BadKey {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The settings for responses cannot be meant.
    Settings(SettingsError),
}

impl fmt::Display for ContentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { dir, source } => {
                write!(f, "cannot read the directory {}: {source}", dir.display())?;
                if source.kind() == io::ErrorKind::PermissionDenied {
                    f.write_str(
                        "; it is served without root's right to read what belongs to others: let this user read it, or \
                         keep that right with --confine=off",
                    )?;
                }
                Ok(())
            }
            Self::NotADirectory { dir } => {
                write!(f, "{} is not a directory; give the one that holds it", dir.display())
            }
            Self::Key { path, source } => {
                write!(f, "cannot read the signing key {}: {source}", path.display())
            }
            Self::BadKey { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Settings(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ContentError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } | Self::Key { source, .. } => Some(source),
            Self::BadKey { source, .. } => Some(source),
            Self::Settings(error) => Some(error),
            Self::NotADirectory { .. } => None,
        }
    }
}

/// The directory and what was found in it last.
#[derive(Debug)]
pub(crate) struct Content {
    dir: PathBuf,
    root: OwnedFd,
    catalogue: Catalogue,
    watched: Vec<(PathBuf, Option<SystemTime>)>,
    /// Not to be looked at again before.
    not_before: Instant,
}

impl Content {
    /// Opens the directory and looks through it.
    pub(crate) fn open(dir: &Path) -> Result<Self, ContentError> {
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::NotADirectory => ContentError::NotADirectory { dir: dir.into() },
            _ => ContentError::Unreadable { dir: dir.into(), source },
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, dir, flags, Mode::empty()).map_err(|errno| refused(errno.into()))?;
        // The path may become unreachable in a namespace or by a change of directory; this one does not.
        let dir = std::fs::canonicalize(dir).map_err(refused)?;
        let begun = Instant::now();
        let catalogue = Catalogue::scan(&dir, &ScanLimits::default()).map_err(refused)?;
        let mut content = Self { watched: Vec::new(), dir, root, catalogue, not_before: begun };
        content.watch(begun);
        Ok(content)
    }

    /// Looks through the directory again.
    pub(crate) fn scan(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        self.catalogue = Catalogue::scan(&self.dir, &ScanLimits::default())?;
        self.watch(begun);
        Ok(())
    }

    /// Whether a directory that something to play was found in has changed since the last scan. Says no while the last
    /// scan, if it was long, is not long ago.
    pub(crate) fn has_changed(&self) -> bool {
        Instant::now() >= self.not_before
            && self.watched.iter().any(|(path, modified)| mtime(path) != *modified)
    }

    /// Another name for the directory, for a worker.
    pub(crate) fn root(&self) -> io::Result<OwnedFd> {
        self.root.try_clone()
    }

    /// What was found.
    pub(crate) const fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// What the workers serve by.
    pub(crate) fn site(&self, settings: Settings) -> Result<atlas::Snapshot, ContentError> {
        Site::new(settings, RootId(0), &self.catalogue).map(Arc::new).map_err(ContentError::Settings)
    }

    /// For people: where, how much, and how it is read.
    pub(crate) fn description(&self) -> String {
        let count = self.catalogue.entries.len();
        let plural = if count == 1 { "thing" } else { "things" };
        let reads = match self.reads_directly() {
            Some(true) => ", read past the page cache (O_DIRECT)",
            Some(false) => ", read through the page cache (the filesystem refuses O_DIRECT)",
            None => "",
        };
        let more = if self.catalogue.truncated { " or more" } else { "" };
        format!("{}, {count}{more} {plural} to play{reads}", self.dir.display())
    }

    /// Whether the filesystem lets reads bypass the page cache, as far as a file to try it on was found.
    fn reads_directly(&self) -> Option<bool> {
        let path = &self.catalogue.entries.first()?.path;
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        openat(&self.root, path, flags, Mode::empty()).ok()?;
        Some(openat(&self.root, path, flags | OFlags::DIRECT, Mode::empty()).is_ok())
    }

    fn watch(&mut self, begun: Instant) {
        let took = begun.elapsed();
        self.not_before = Instant::now() + took.min(Duration::from_secs(60)) * SCAN_SHARE;
        let mut directories = BTreeSet::from([self.dir.clone()]);
        'all: for entry in &self.catalogue.entries {
            let path = self.dir.join(Path::new(std::ffi::OsStr::from_bytes(&entry.path)));
            for directory in path.ancestors().skip(1).take_while(|path| *path != self.dir) {
                if directories.len() >= WATCHED_MAX {
                    break 'all;
                }
                directories.insert(directory.to_owned());
            }
        }
        self.watched = directories
            .into_iter()
            .map(|path| {
                let modified = mtime(&path);
                (path, modified)
            })
            .collect();
    }
}

/// The directory itself.
impl AsFd for Content {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

fn mtime(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// The settings with the keys of these files before their own, and with access records only where somebody reads them.
pub(crate) fn settings(
    base: &Settings,
    key_files: &[PathBuf],
    access_log: bool,
    opener: &dyn Opener,
) -> Result<Settings, ContentError> {
    let mut settings = base.clone();
    for (index, path) in key_files.iter().enumerate() {
        let text = opener
            .read(path, KEY_BYTES_MAX)
            .and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other))
            .map_err(|source| ContentError::Key { path: path.clone(), source })?;
        let key = text.trim();
        Key::new(key.as_bytes()).map_err(|source| ContentError::BadKey { path: path.clone(), source })?;
        settings.signing_keys.insert(index, atlas::settings::Secret::new(key.to_owned()));
    }
    settings.access_log &= access_log;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("atlas-content-{}-{name}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_new_film_in_a_known_directory_is_noticed() {
        let dir = Dir::new("notice");
        fs::create_dir_all(dir.0.join("films/a")).unwrap();
        fs::write(dir.0.join("films/a/one.mp4"), "film").unwrap();
        let mut content = Content::open(&dir.0).unwrap();
        content.not_before = Instant::now();
        assert_eq!(content.catalogue().entries.len(), 1);
        assert!(!content.has_changed());
        // Directories tell time in ticks of the kernel's coarse clock.
        std::thread::sleep(Duration::from_millis(20));
        fs::write(dir.0.join("films/two.mp4"), "film").unwrap();
        assert!(content.has_changed());
        content.scan().unwrap();
        content.not_before = Instant::now();
        assert_eq!(content.catalogue().entries.len(), 2);
        assert!(!content.has_changed());
    }

    #[test]
    fn what_is_no_directory_is_named() {
        let dir = Dir::new("file");
        let file = dir.0.join("film.mp4");
        fs::write(&file, "film").unwrap();
        let line = Content::open(&file).unwrap_err().to_string();
        assert!(line.contains("film.mp4 is not a directory"), "{line}");
        let line = Content::open(&dir.0.join("nowhere")).unwrap_err().to_string();
        assert!(line.contains("nowhere"), "{line}");
    }

    #[test]
    fn keys_of_files_come_before_those_of_the_settings() {
        let dir = Dir::new("keys");
        let path = dir.0.join("key");
        fs::write(&path, "  a key of some length  \n").unwrap();
        let old = atlas::settings::Secret::new("the older key of all".to_owned());
        let base = Settings { signing_keys: vec![old.clone()], ..Settings::default() };
        let settings = settings(&base, &[path], true, &control::Directly).unwrap();
        let new = atlas::settings::Secret::new("a key of some length".to_owned());
        assert_eq!(settings.signing_keys, [new, old]);
        fs::write(dir.0.join("short"), "short\n").unwrap();
        let line =
            super::settings(&base, &[dir.0.join("short")], true, &control::Directly).unwrap_err().to_string();
        assert!(line.contains("short: a signing key has 5 bytes; it needs 16"), "{line}");
        let line =
            super::settings(&base, &[dir.0.join("none")], true, &control::Directly).unwrap_err().to_string();
        assert!(line.contains("none"), "{line}");
    }
}
