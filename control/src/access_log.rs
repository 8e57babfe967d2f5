//! The access log: lines to a file or to standard output, without ever blocking control.
//!
//! Lines gather in a buffer of at most 4 MiB, which is emptied a few times a second. A pipe whose reader has stopped
//! or a disk that is full costs the lines that no longer fit, and those are counted. A file is opened for appending,
//! so it may be moved away and [reopened](AccessLog::reopen), as log rotation does.

use core::fmt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::{Directly, Opener, Purpose};

/// Lines that wait for a slow destination.
const BUFFER_BYTES_MAX: usize = 4 << 20;
/// A pipe that polls writable takes this much without blocking (`PIPE_BUF`).
const PIPE_BYTES: usize = 4_096;

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output, as containers want it.
    Stdout,
    /// Appended to this file.
    File(PathBuf),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// An open log.
#[derive(Debug)]
pub struct AccessLog {
    destination: Destination,
    file: File,
    /// A write can block, so it is done in pieces that do not.
    pipe: bool,
    waiting: Vec<u8>,
    dropped: u64,
    failing: bool,
}

impl AccessLog {
    /// Opens the log, creating the file where there is none.
    ///
    /// # Errors
    /// The file cannot be opened for appending.
    pub fn open(destination: Destination) -> io::Result<Self> {
        let (file, pipe) = open(&destination, &Directly)?;
        Ok(Self { destination, file, pipe, waiting: Vec::new(), dropped: 0, failing: false })
    }

    /// Adds a line, which `write` writes without the line feed. Dropped and counted when too much waits.
    pub fn line(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.waiting.len() >= BUFFER_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        write(&mut self.waiting);
        self.waiting.push(b'\n');
    }

    /// Hands over what waits, as far as that is possible without blocking.
    pub fn flush(&mut self) {
        let mut written = 0;
        let error = loop {
            let rest = &self.waiting[written..];
            if rest.is_empty() || (self.pipe && !is_writable(&self.file)) {
                break None;
            }
            let piece = if self.pipe { &rest[..rest.len().min(PIPE_BYTES)] } else { rest };
            match self.file.write(piece) {
                Ok(0) => break Some(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break None,
                Err(error) => break Some(error),
            }
        };
        self.waiting.drain(..written);
        if self.waiting.is_empty() && self.waiting.capacity() > BUFFER_BYTES_MAX / 4 {
            self.waiting = Vec::new();
        }
        match (error, self.failing) {
            (Some(error), false) => {
                tracing::error!("access log: cannot write to {}: {error}", self.destination);
                self.failing = true;
            }
            (None, true) if written > 0 => {
                tracing::info!("access log: writing to {} again", self.destination);
                self.failing = false;
            }
            _ => {}
        }
    }

    /// Flushes, then has the file opened again by its name. The old file stays in use when that fails.
    ///
    /// # Errors
    /// The file cannot be opened for appending.
    pub fn reopen(&mut self, opener: &dyn Opener) -> io::Result<()> {
        self.flush();
        (self.file, self.pipe) = open(&self.destination, opener)?;
        Ok(())
    }

    /// Lines that were dropped.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Where the lines go.
    #[must_use]
    pub const fn destination(&self) -> &Destination {
        &self.destination
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

fn open(destination: &Destination, opener: &dyn Opener) -> io::Result<(File, bool)> {
    let file = match destination {
        Destination::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        Destination::File(path) => opener.open(path, Purpose::Append)?,
    };
    let pipe = !file.metadata()?.is_file();
    Ok((file, pipe))
}

fn is_writable(file: &File) -> bool {
    let mut fds = [PollFd::new(file, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // An error or a reader that is gone counts as writable: the write will say what is wrong.
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;

    fn temp(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("atlas-access-log-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn say(log: &mut AccessLog, line: &str) {
        log.line(|out| out.extend_from_slice(line.as_bytes()));
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_again_by_its_name() {
        let dir = temp("rotate");
        let path = dir.join("access.log");
        let mut log = AccessLog::open(Destination::File(path.clone())).unwrap();
        say(&mut log, "one");
        fs::rename(&path, dir.join("access.log.1")).unwrap();
        log.reopen(&Directly).unwrap();
        say(&mut log, "two");
        log.flush();
        assert_eq!(fs::read_to_string(dir.join("access.log.1")).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_reopened_stays_in_use() {
        let dir = temp("stay");
        let path = dir.join("access.log");
        let mut log = AccessLog::open(Destination::File(path.clone())).unwrap();
        fs::rename(&path, dir.join("moved")).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(log.reopen(&Directly).is_err());
        say(&mut log, "still here");
        log.flush();
        assert_eq!(fs::read_to_string(dir.join("moved")).unwrap(), "still here\n");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_pipe_whose_reader_sleeps_costs_lines_and_no_time() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut log = AccessLog {
            destination: Destination::Stdout,
            file: File::from(std::os::fd::OwnedFd::from(writer)),
            pipe: true,
            waiting: Vec::new(),
            dropped: 0,
            failing: false,
        };
        let line = "x".repeat(1_000);
        for _ in 0..5_000 {
            say(&mut log, &line);
            log.flush();
        }
        assert!(log.dropped() > 0 && log.waiting.len() <= BUFFER_BYTES_MAX + 1_001);

        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        let expected = (5_000 - usize::try_from(log.dropped()).unwrap()) * 1_001;
        while !log.waiting.is_empty() {
            log.flush();
            std::thread::yield_now();
        }
        drop(log);
        assert_eq!(reader.join().unwrap().len(), expected);
    }
}
