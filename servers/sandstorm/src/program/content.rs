//! The served directory as control sees it: looked through once, and again when it may have changed.

use control::Opener;
use core::fmt;
use core::time::Duration;
use rustix::fs::{CWD, Mode, OFlags, openat};
use sandstorm::load::SiteError;
use sandstorm::rules::RuleError;
use sandstorm::{Redirects, Settings, Site};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// A file of more than this holds no redirects: they are kept in memory.
const REDIRECTS_BYTES_MAX: u64 = 16 << 20;
/// Looking through the directory may take one part in so many of control's time.
const SCAN_SHARE: u32 = 20;

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
    /// It cannot be a site.
    Site(SiteError),
    /// The redirects cannot be read.
    Redirects {
        /// Their file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The redirects cannot be meant.
    BadRedirects {
        /// Their file.
        path: PathBuf,
        /// What is wrong with them.
        source: RuleError,
    },
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
            Self::Site(error) => error.fmt(f),
            Self::Redirects { path, source } => {
                write!(f, "cannot read the redirects {}: {source}", path.display())
            }
            Self::BadRedirects { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl core::error::Error for ContentError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } | Self::Redirects { source, .. } => Some(source),
            Self::NotADirectory { .. } => None,
            Self::Site(error) => Some(error),
            Self::BadRedirects { source, .. } => Some(source),
        }
    }
}

/// The directory and what was found in it last.
#[derive(Debug)]
pub(crate) struct Content {
    dir: PathBuf,
    handle: OwnedFd,
    site: Arc<Site>,
    /// Not to be looked through again before.
    not_before: Instant,
}

impl Content {
    /// Opens the directory and looks through it.
    pub(crate) fn open(dir: &Path, settings: Settings, redirects: Redirects) -> Result<Self, ContentError> {
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::NotADirectory => ContentError::NotADirectory { dir: dir.into() },
            _ => ContentError::Unreadable { dir: dir.into(), source },
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = openat(CWD, dir, flags, Mode::empty()).map_err(|errno| refused(errno.into()))?;
        // The path may become unreachable in a namespace or by a change of directory; this one does not.
        let dir = std::fs::canonicalize(dir).map_err(refused)?;
        let begun = Instant::now();
        let site = Site::load(&dir, settings, redirects, None).map_err(ContentError::Site)?;
        Ok(Self { dir, handle, site: Arc::new(site), not_before: later(begun) })
    }

    /// Looks through the directory again. Returns whether anything is another than before.
    pub(crate) fn scan(&mut self, settings: Settings, redirects: Redirects) -> Result<bool, ContentError> {
        let begun = Instant::now();
        let site =
            Site::load(&self.dir, settings, redirects, Some(&self.site)).map_err(ContentError::Site)?;
        self.not_before = later(begun);
        if site.is_like(&self.site) {
            return Ok(false);
        }
        self.site = Arc::new(site);
        Ok(true)
    }

    /// Whether looking through it has been paused for long enough.
    pub(crate) fn is_due(&self) -> bool {
        Instant::now() >= self.not_before
    }

    /// What is served.
    pub(crate) const fn site(&self) -> &Arc<Site> {
        &self.site
    }

    /// For people: where, and how much.
    pub(crate) fn description(&self) -> String {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let names = self.site.names();
        let bytes: u64 = self.site.files().map(sandstorm::Variant::len).sum();
        let bytes = host::values::Bytes(bytes);
        format!("{}, {names} name{}, {bytes} in all forms", self.dir.display(), plural(names))
    }
}

/// However quick a look is: a file that never rests must not keep all of us looking.
const SCAN_PAUSE: Duration = Duration::from_millis(250);

/// After a look that began then: not again before it has been paused for many times as long.
fn later(begun: Instant) -> Instant {
    Instant::now() + (begun.elapsed().min(Duration::from_secs(60)) * SCAN_SHARE).max(SCAN_PAUSE)
}

/// The directory itself.
impl AsFd for Content {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// What has moved, if anything.
pub(crate) fn redirects(path: Option<&Path>, opener: &dyn Opener) -> Result<Redirects, ContentError> {
    let Some(path) = path else { return Ok(Redirects::default()) };
    let text = opener
        .read(path, REDIRECTS_BYTES_MAX)
        .and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other))
        .map_err(|source| ContentError::Redirects { path: path.into(), source })?;
    Redirects::parse(&text).map_err(|source| ContentError::BadRedirects { path: path.into(), source })
}
