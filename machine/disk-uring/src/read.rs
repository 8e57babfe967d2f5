//! A read, until it is complete.

use platform::{DiskError, FileId};
use rustix::io::Errno;

use crate::error::read_error;

/// How often the kernel may ask to be asked again before its answer is final.
const RETRIES_MAX: u8 = 16;

/// What a read needs to know of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadFile {
    pub(crate) len: u64,
    pub(crate) align: u32,
    pub(crate) direct: bool,
}

/// A read on its way.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) token: u64,
    pub(crate) file: FileId,
    pub(crate) offset: u64,
    /// How many bytes the targets take.
    pub(crate) asked: u32,
    /// How many of them are there.
    pub(crate) filled: u32,
    retries: u8,
}

/// What to do after an operation of the read has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask for what is not filled yet.
    Rest,
    /// It is complete, or failed.
    Done(Result<u32, DiskError>),
}

impl Reading {
    pub(crate) fn new(token: u64, file: FileId, offset: u64, asked: u32) -> Self {
        Self { token, file, offset, asked, filled: 0, retries: 0 }
    }

    /// The kernel filled `result` bytes more, or said why not.
    pub(crate) fn on_result(&mut self, result: i32, file: ReadFile) -> Next {
        let Ok(bytes) = u32::try_from(result) else {
            let errno = Errno::from_raw_os_error(result.saturating_neg());
            if matches!(errno, Errno::INTR | Errno::AGAIN) && self.retries < RETRIES_MAX {
                self.retries += 1;
                return Next::Rest;
            }
            return Next::Done(Err(read_error(errno)));
        };
        self.filled = self.filled.saturating_add(bytes).min(self.asked);
        let end = self.offset.saturating_add(self.filled.into());
        // A direct read ends within a block only at the end of the file, and could not go on from there.
        let ended_within_a_block = file.direct && !self.filled.is_multiple_of(file.align);
        if bytes == 0 || self.filled == self.asked || end >= file.len || ended_within_a_block {
            Next::Done(Ok(self.filled))
        } else {
            Next::Rest
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: ReadFile = ReadFile { len: 10_000, align: 512, direct: true };

    fn reading(offset: u64) -> Reading {
        Reading::new(1, FileId(0), offset, 4_096)
    }

    #[test]
    fn a_full_read_is_done() {
        assert_eq!(reading(0).on_result(4_096, FILE), Next::Done(Ok(4_096)));
    }

    #[test]
    fn a_read_that_stops_before_the_end_of_the_file_goes_on() {
        let mut reading = reading(0);
        assert_eq!(reading.on_result(512, FILE), Next::Rest);
        assert_eq!(reading.filled, 512);
        assert_eq!(reading.on_result(3_584, FILE), Next::Done(Ok(4_096)));
    }

    #[test]
    fn a_read_that_reaches_the_end_of_the_file_is_done_without_asking_again() {
        assert_eq!(reading(8_192).on_result(1_808, FILE), Next::Done(Ok(1_808)));
    }

    #[test]
    fn a_file_that_shrank_ends_where_the_kernel_says() {
        let mut within_a_block = reading(0);
        assert_eq!(within_a_block.on_result(700, FILE), Next::Done(Ok(700)));
        let mut between_blocks = reading(0);
        assert_eq!(between_blocks.on_result(1_024, FILE), Next::Rest);
        assert_eq!(between_blocks.on_result(0, FILE), Next::Done(Ok(1_024)));
    }

    #[test]
    fn a_buffered_read_goes_on_from_anywhere() {
        let file = ReadFile { direct: false, ..FILE };
        assert_eq!(reading(0).on_result(700, file), Next::Rest);
    }

    #[test]
    fn an_interrupted_read_is_made_again_but_not_for_ever() {
        let mut reading = reading(0);
        for _ in 0..RETRIES_MAX {
            assert_eq!(reading.on_result(-libc::EINTR, FILE), Next::Rest);
        }
        assert_eq!(reading.on_result(-libc::EINTR, FILE), Next::Done(Err(DiskError::Io(libc::EINTR))));
    }

    #[test]
    fn a_failed_read_says_whose_fault_it_is() {
        assert_eq!(reading(0).on_result(-libc::EIO, FILE), Next::Done(Err(DiskError::Io(libc::EIO))));
        assert_eq!(reading(0).on_result(-libc::ENXIO, FILE), Next::Done(Err(DiskError::Gone)));
    }
}
