//! A directory for content that has to lie on a disk, where the figures go: gone with whoever made it.
//!
//! ```text
//!   lab ── a name that nobody can guess ──▶ lab inside: makes it, fills it, removes it
//!    └── when that one is gone, however it ended: removes what it left
//! ```
//!
//! Inside process namespaces a process id names nobody, so the name is drawn.

use core::hash::{BuildHasher as _, Hasher as _};
use std::ffi::OsStr;
use std::fs;
use std::hash::RandomState;
use std::io;
use std::path::{Path, PathBuf};

use super::Problem;

/// Tells the lab inside which name was drawn.
pub const NAME: &str = "LAB_SCRATCH";

/// A name below `out`, for the lab inside.
#[must_use]
pub fn name(out: &Path) -> PathBuf {
    // Keys of a hasher are drawn from the kernel.
    out.join(format!(".lab-{:016x}", RandomState::new().build_hasher().finish()))
}

/// The directory; what lies in it goes with it.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    /// `out` was not there before.
    out: Option<PathBuf>,
}

impl Scratch {
    /// Makes one below `out`, under the name that was drawn outside, or under one of its own.
    ///
    /// # Errors
    /// It cannot be made, or something of that name is there: it is not ours then.
    pub(super) fn new(out: &Path) -> Result<Self, Problem> {
        Self::named(out, std::env::var_os(NAME).as_deref())
    }

    fn named(out: &Path, drawn: Option<&OsStr>) -> Result<Self, Problem> {
        let path = drawn.map_or_else(|| name(out), PathBuf::from);
        let failed = |error: io::Error| Problem::File(path.clone(), error);
        let made_out = !out.exists();
        fs::create_dir_all(out).map_err(failed)?;
        fs::create_dir(&path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        Ok(Self { path, out: made_out.then(|| out.to_owned()) })
    }

    /// Where it is, from the root.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        if let Some(out) = &self.out {
            // Figures that were finished meanwhile keep it.
            let _ = fs::remove_dir(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_ours_is_gone_with_us_and_somebody_elses_is_refused() {
        let out = name(&std::env::temp_dir());
        let drawn = out.join("drawn");
        let scratch = Scratch::named(&out, Some(drawn.as_os_str())).unwrap();
        fs::write(scratch.path().join("file"), "content").unwrap();
        assert!(drawn.join("file").exists());
        assert!(matches!(Scratch::named(&out, Some(drawn.as_os_str())), Err(Problem::File(..))));
        drop(scratch);
        assert!(!out.exists());
    }

    #[test]
    fn a_directory_with_figures_in_it_stays() {
        let out = name(&std::env::temp_dir());
        let scratch = Scratch::named(&out, None).unwrap();
        fs::write(out.join("2.5.json"), "{}").unwrap();
        drop(scratch);
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
        fs::remove_dir_all(&out).unwrap();
    }
}
