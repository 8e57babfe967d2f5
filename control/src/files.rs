//! The files that an operator names: configuration, certificates, keys, logs.
//!
//! They are opened through an [`Opener`], because a server that has given up its privileges can no longer do it itself:
//! then somebody else opens them and hands the descriptors over.

use core::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be read.
    Read,
    /// To be written at its end; created when it is not there.
    Append,
}

/// Who opens files.
pub trait Opener: fmt::Debug {
    /// Opens a file that the operator has named.
    ///
    /// # Errors
    /// It cannot be opened; the error says why.
    fn open(&self, path: &Path, purpose: Purpose) -> io::Result<File>;

    /// All of a file of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// It cannot be read, or is longer.
    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path, Purpose::Read)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {bytes_max} bytes")));
        }
        Ok(bytes)
    }
}

/// The process itself, with the rights that it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directly;

impl Opener for Directly {
    fn open(&self, path: &Path, purpose: Purpose) -> io::Result<File> {
        match purpose {
            Purpose::Read => File::open(path),
            Purpose::Append => OpenOptions::new().append(true).create(true).open(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let path = std::env::temp_dir().join(format!("control-files-{}", std::process::id()));
        std::fs::write(&path, [7; 100]).unwrap();
        assert_eq!(Directly.read(&path, 100).unwrap(), [7; 100]);
        assert_eq!(Directly.read(&path, 99).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        std::fs::remove_file(path).unwrap();
    }
}
