//! Ways to read blocks at random places of a file: our disk's, and the conventional ones.
//!
//! ```text
//!   ours    stage ─ flush ─▶ io_uring, registered file and buffers ─▶ complete      window reads on their way
//!   aio     iocb ─ io_submit ─▶ io_getevents                                        the same
//!   pread   one after the other
//! ```

use core::time::Duration;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Instant;

use disk_uring::{DiskUring, UringConfig};
use dma::{PAYLOAD_BYTES, Pool, PoolLayout};
use platform::{Completion, Disk as _, Open, Opened, Read, RootId, Target, Targets};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::sys::{Aio, short};
use crate::load::tally::Latency;

/// Whose reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Our disk.
    Ours,
    /// Linux's `io_submit`.
    Aio,
    /// `pread`, one read at a time.
    Pread,
}

/// What is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reads<'a> {
    /// The file's directory.
    pub(super) directory: &'a Path,
    /// Its name.
    pub(super) name: &'a str,
    /// Its length.
    pub(super) file_bytes: u64,
    /// Of one read; at most 128 KiB.
    pub(super) bytes: u32,
    /// On their way at once.
    pub(super) window: u32,
    /// Past the page cache.
    pub(super) direct: bool,
    /// How long.
    pub(super) time: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Result {
    pub(super) reads_per_s: f64,
    /// CPU of this process and of the kernel's threads on its behalf, for each read.
    pub(super) cpu_us: f64,
    /// From the read's submission to its completion.
    pub(super) latency: Latency,
}

impl Reads<'_> {
    /// Reads, `time` long.
    ///
    /// # Errors
    /// The kernel refuses the file, the way or a read.
    pub(super) fn measure(&self, way: Way) -> io::Result<Result> {
        match way {
            Way::Ours => self.ours(),
            Way::Aio => self.aio(),
            Way::Pread => self.pread(),
        }
    }

    /// Places a prime number of reads apart: no two near each other, and each as often as any.
    fn place(&self, number: u64) -> u64 {
        number.wrapping_mul(7_919) % (self.file_bytes / u64::from(self.bytes)) * u64::from(self.bytes)
    }

    fn file(&self) -> io::Result<File> {
        let flags = if self.direct { libc::O_DIRECT } else { 0 };
        File::options().read(true).custom_flags(flags).open(self.directory.join(self.name))
    }

    fn ours(&self) -> io::Result<Result> {
        let other = |what: &str| io::Error::other(what.to_owned());
        let frames = self.bytes.div_ceil(RECORD_BYTES);
        let layout = PoolLayout { large_count: frames * self.window, small_count: 0 };
        let pool = Pool::new(layout).map_err(io::Error::other)?;
        let config =
            UringConfig { reads_in_flight_max: self.window, direct: self.direct, ..UringConfig::default() };
        let root = File::open(self.directory)?;
        let mut disk = DiskUring::open(config, vec![root.into()], pool.region()).map_err(io::Error::other)?;
        let open = Open { token: 0, root: RootId(0), path: self.name.as_bytes().into() };
        disk.stage_open(open).map_err(|_| other("no room to open a file"))?;
        let Opened { file, meta } = loop {
            disk.flush();
            match disk.complete() {
                Some(Completion::Opened { result, .. }) => break result.map_err(io::Error::other)?,
                Some(Completion::Read(_)) => return Err(other("a read that nobody asked for")),
                None => sleep(&disk)?,
            }
        };
        if self.direct && !(meta.direct && self.bytes.is_multiple_of(meta.align)) {
            return Err(other("the file system does not read past its cache in blocks of this size"));
        }
        let mut clock = Clock::new(self.window);
        let mut free: Vec<u64> = (0..u64::from(self.window)).collect();
        while clock.begun.elapsed() < self.time {
            let now = Instant::now();
            while let Some(slot) = free.pop() {
                let mut left = self.bytes;
                let targets: Targets = core::iter::from_fn(|| {
                    let bytes = left.min(RECORD_BYTES);
                    left -= bytes;
                    (bytes > 0).then(|| pool.acquire_large()).flatten().map(|frame| Target { frame, bytes })
                })
                .collect();
                let read = Read { token: slot, file, offset: self.place(clock.next()), targets };
                disk.stage_read(read).map_err(|_| other("no room to read"))?;
                clock.staged(slot, now);
            }
            disk.flush();
            let mut came = false;
            while let Some(completion) = disk.complete() {
                let Completion::Read(done) = completion else { return Err(other("a file nobody asked for")) };
                if done.result.map_err(io::Error::other)? != self.bytes {
                    return Err(short());
                }
                clock.ended(done.token);
                free.push(done.token);
                came = true;
            }
            if !came {
                sleep(&disk)?;
            }
        }
        let result = clock.result();
        // The pool may go only when nothing is written to it any more.
        while disk.in_flight() > 0 {
            if disk.complete().is_none() {
                sleep(&disk)?;
            }
        }
        Ok(result)
    }

    fn aio(&self) -> io::Result<Result> {
        let file = self.file()?;
        let mut aio = Aio::new(as_size(self.window), as_size(self.bytes))?;
        let mut clock = Clock::new(self.window);
        let mut free: Vec<usize> = (0..as_size(self.window)).collect();
        while clock.begun.elapsed() < self.time {
            let now = Instant::now();
            for slot in free.drain(..) {
                aio.stage(&file, slot, self.place(clock.next()));
                clock.staged(slot as u64, now);
            }
            aio.flush()?;
            aio.wait(|slot| {
                clock.ended(slot as u64);
                free.push(slot);
            })?;
        }
        Ok(clock.result())
    }

    fn pread(&self) -> io::Result<Result> {
        let file = self.file()?;
        let bytes = as_size(self.bytes);
        let mut memory = vec![0; bytes + 4_096];
        let first = memory.as_ptr().align_offset(4_096);
        let buffer = &mut memory[first..first + bytes];
        let mut clock = Clock::new(1);
        while clock.begun.elapsed() < self.time {
            clock.staged(0, Instant::now());
            if rustix::io::pread(&file, &mut *buffer, self.place(clock.next()))? != bytes {
                return Err(short());
            }
            clock.ended(0);
        }
        Ok(clock.result())
    }
}

/// Payload of a frame.
#[expect(clippy::cast_possible_truncation, reason = "16 KiB")]
const RECORD_BYTES: u32 = PAYLOAD_BYTES as u32;

fn as_size(value: u32) -> usize {
    usize::try_from(value).expect("32 bits fit")
}

fn sleep(disk: &DiskUring) -> io::Result<()> {
    let descriptor = disk.descriptor().ok_or_else(|| io::Error::other("a disk that nobody can sleep on"))?;
    match poll(&mut [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Who was staged when, and what it cost.
struct Clock {
    begun: Instant,
    cpu: Duration,
    staged: Vec<Instant>,
    number: u64,
    latency: Latency,
}

impl Clock {
    fn new(window: u32) -> Self {
        let begun = Instant::now();
        Self { begun, cpu: cpu(), staged: vec![begun; as_size(window)], number: 0, latency: Latency::new() }
    }

    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn staged(&mut self, slot: u64, at: Instant) {
        self.staged[usize::try_from(slot).unwrap_or(0)] = at;
    }

    fn ended(&mut self, slot: u64) {
        self.latency.record(self.staged[usize::try_from(slot).unwrap_or(0)].elapsed());
    }

    fn result(self) -> Result {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let reads = self.latency.count() as f64;
        let spent = cpu().saturating_sub(self.cpu);
        Result {
            reads_per_s: reads / self.begun.elapsed().as_secs_f64(),
            cpu_us: spent.as_secs_f64() * 1e6 / reads.max(1.0),
            latency: self.latency,
        }
    }
}

/// Of the process, with the threads that the kernel adds to it.
fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_reads_the_whole_file_at_whole_blocks() {
        let reads = Reads {
            directory: Path::new("."),
            name: "x",
            file_bytes: 1 << 20,
            bytes: 4_096,
            window: 4,
            direct: false,
            time: Duration::ZERO,
        };
        let mut places: Vec<u64> = (0..256).map(|number| reads.place(number)).collect();
        places.sort_unstable();
        assert_eq!(places, (0..256).map(|block| block * 4_096).collect::<Vec<_>>());
    }

    #[test]
    fn each_way_measures_reads_of_a_file() {
        let directory = std::env::temp_dir().join(format!("lab-ways-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("data"), vec![7; 1 << 20]).unwrap();
        let reads = Reads {
            directory: &directory,
            name: "data",
            file_bytes: 1 << 20,
            bytes: 65_536,
            window: 4,
            direct: false,
            time: Duration::from_millis(20),
        };
        for way in [Way::Ours, Way::Aio, Way::Pread] {
            match reads.measure(way) {
                Ok(result) => assert!(result.reads_per_s > 0.0 && result.latency.count() > 0, "{way:?}"),
                // A container may refuse either of the first two.
                Err(error) if way != Way::Pread && error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => panic!("{way:?}: {error}"),
            }
        }
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
