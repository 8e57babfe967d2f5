//! What reading a file costs, by the size of a read: `cargo run --release -p disk-uring --example reads -- FILE`.
//!
//! Reads go to places spread over the file, many at once, past the page cache where the filesystem can.

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use core::time::Duration;
use std::fs::File;
use std::path::PathBuf;

use disk_uring::{DiskUring, UringConfig};
use dma::{Pool, PoolLayout};
use platform::{Completion, Disk, FileMeta, Open, Opened, Read, RootId, Target, Targets};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{ClockId, clock_gettime};

const AT_ONCE: u64 = 32;
const READ_BYTES: u64 = 512 << 20;
const RECORD_BYTES: u32 = 16_384;

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let path = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: reads FILE")?).canonicalize()?;
    let directory = File::open(path.parent().ok_or("a file in a directory")?)?;
    let name = path.file_name().ok_or("a file")?.as_encoded_bytes();

    let pool = Pool::new(PoolLayout { large_count: 8 * 32, small_count: 0 })?;
    let mut disk = DiskUring::open(UringConfig::default(), vec![directory.into()], pool.region())?;
    println!("{:?}, pages {:?}", disk.features(), pool.pages());
    disk.stage_open(Open { token: 0, root: RootId(0), path: name.into() }).map_err(|_| "no room to open")?;
    let Completion::Opened { result, .. } = wait(&mut disk)? else { return Err("a read nobody made".into()) };
    let opened = result?;
    let FileMeta { len, direct, align, .. } = opened.meta;
    println!("{len} bytes, direct {direct}, align {align}");

    println!("{:>10} {:>10} {:>12} {:>10}", "bytes", "MB/s", "us CPU/read", "MB/CPU s");
    for frames in [1, 2, 4, 8] {
        let (elapsed, spent, reads) = measure(&mut disk, &pool, opened, frames)?;
        let bytes = f64::from(frames * RECORD_BYTES);
        let total = bytes * f64::from(reads) / 1e6;
        let (rate, per_core) = (total / elapsed.as_secs_f64(), total / spent.as_secs_f64());
        let per_read = spent.as_secs_f64() * 1e6 / f64::from(reads);
        println!("{bytes:>10} {rate:>10.0} {per_read:>12.1} {per_core:>10.0}");
    }
    Ok(())
}

/// Time passed, time spent, and how many reads were made of `frames` records each.
fn measure(
    disk: &mut DiskUring,
    pool: &Pool,
    Opened { file, meta }: Opened,
    frames: u32,
) -> Result<(Duration, Duration, u32), Box<dyn core::error::Error>> {
    let bytes = u64::from(frames * RECORD_BYTES);
    let places = meta.len / bytes;
    if places == 0 {
        return Err("the file is too short".into());
    }
    let count = u32::try_from(READ_BYTES / bytes)?;
    let (started, spent) = (clock_gettime(ClockId::Monotonic), clock_gettime(ClockId::ThreadCPUTime));
    let (mut staged, mut done) = (0_u32, 0);
    while done < count {
        while staged < count && u64::from(staged - done) < AT_ONCE {
            // Steps of a number without a common factor with most others: no two near each other.
            let offset = u64::from(staged).wrapping_mul(7_919) % places * bytes;
            let targets: Targets = core::iter::from_fn(|| pool.acquire_large())
                .take(frames as usize)
                .map(|frame| Target { frame, bytes: RECORD_BYTES })
                .collect();
            let read = Read { token: offset, file, offset, targets };
            disk.stage_read(read).map_err(|_| "no room to read")?;
            staged += 1;
        }
        if let Completion::Read(read) = wait(disk)? {
            read.result?;
            done += 1;
        }
    }
    let elapsed = Duration::try_from(clock_gettime(ClockId::Monotonic) - started)?;
    Ok((elapsed, Duration::try_from(clock_gettime(ClockId::ThreadCPUTime) - spent)?, count))
}

fn wait(disk: &mut DiskUring) -> Result<Completion, Box<dyn core::error::Error>> {
    disk.flush();
    loop {
        if let Some(completion) = disk.complete() {
            return Ok(completion);
        }
        let descriptor = disk.descriptor().ok_or("a disk that nobody can sleep on")?;
        poll(&mut [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)], None)?;
    }
}
