//! What a superframe costs from our flush to the kernel's IP layer, by size and by how it is submitted; and
//! what a small packet from the kernel costs us, by how many are read at once.
//!
//! Run it as root in a network namespace of its own: `unshare -n cargo run --release -p link-tap --example
//! superframes`. The packets are addressed to nobody, so that the kernel copies them and drops them before
//! its TCP.

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use core::net::Ipv4Addr;
use core::time::Duration;
use std::net::UdpSocket;

use dma::{Pool, PoolLayout, SharedFrame};
use link_tap::{TapDevice, TapSetup};
use platform::{ChecksumOffload, Headers, Link, Offload, Packet, Part, Parts, Segmentation};
use vnet::{ReceiveBuffers, Submission, VnetConfig};

const RECORD_BYTES: u32 = 16_384;
/// Rounds, of which the quickest counts, because the others were disturbed.
const ROUNDS: u32 = 8;
const PACKETS: u32 = 8_000;

fn main() -> Result<(), Box<dyn core::error::Error>> {
    println!("{:>10} {:>8} {:>6} {:>10} {:>8}", "bytes", "through", "batch", "ns/packet", "Gb/s");
    for (records, last_bytes) in
        [(0, 1_448), (0, RECORD_BYTES), (2, RECORD_BYTES), (3, 12_288), (7, RECORD_BYTES)]
    {
        for (submission, batch) in [
            (Submission::Syscalls, 32),
            (Submission::Uring, 1),
            (Submission::Uring, 8),
            (Submission::Uring, 32),
        ] {
            let bytes = records * RECORD_BYTES + last_bytes;
            let nanos = measure(submission, batch, records, last_bytes)?;
            let rate = f64::from(bytes) * 8.0 / nanos;
            println!("{bytes:>10} {:>8} {batch:>6} {nanos:>10.0} {rate:>8.1}", format!("{submission:?}"));
        }
    }
    println!("{:>10} {:>8} {:>6} {:>10}", "received", "through", "batch", "ns/packet");
    for (submission, batch) in
        [(Submission::Syscalls, 1), (Submission::Uring, 1), (Submission::Uring, 16), (Submission::Uring, 64)]
    {
        let nanos = measure_receive(submission, batch)?;
        println!("{:>10} {:>8} {batch:>6} {nanos:>10.0}", 62, format!("{submission:?}"));
    }
    Ok(())
}

/// Nanoseconds per small packet that the kernel has for us.
fn measure_receive(submission: Submission, batch: u8) -> Result<f64, Box<dyn core::error::Error>> {
    const WAITING: u32 = 5_000;
    let (mut device, mut queues) = TapDevice::create(None, 1)?;
    device.bring_up(TapSetup::default())?;
    device.add_address(Ipv4Addr::new(198, 18, 77, 1).into(), 24)?;
    let receive = ReceiveBuffers { count: batch, bytes: 65_600 };
    let config = VnetConfig { submission, receive, ..Default::default() };
    let mut link = queues.pop().expect("one queue").open(config)?;
    // Broadcasts need no neighbour.
    let socket = UdpSocket::bind("198.18.77.1:0")?;
    socket.set_broadcast(true)?;
    let mut quickest = Duration::MAX;
    for _ in 0..ROUNDS {
        for _ in 0..WAITING {
            socket.send_to(&[0; 20], "198.18.77.255:9")?;
        }
        let (mut received, started) = (0, cpu_time());
        while received < WAITING {
            while link.receive().is_some() {
                received += 1;
            }
        }
        quickest = quickest.min(cpu_time() - started);
    }
    Ok(quickest.as_secs_f64() * 1e9 / f64::from(WAITING))
}

/// Nanoseconds per packet.
fn measure(
    submission: Submission,
    batch: u32,
    records: u32,
    last_bytes: u32,
) -> Result<f64, Box<dyn core::error::Error>> {
    let (mut device, mut queues) = TapDevice::create(None, 1)?;
    device.bring_up(TapSetup::default())?;
    let config = VnetConfig { submission, superframe_bytes_max: 131_072, ..Default::default() };
    let mut link = queues.pop().expect("one queue").open(config)?;

    let pool = Pool::new(PoolLayout { large_count: records + 1, small_count: 0 })?;
    let frames: Vec<SharedFrame> =
        core::iter::from_fn(|| pool.acquire_large()).map(dma::Frame::share).collect();
    let headers = headers(records * RECORD_BYTES + last_bytes);
    let mut quickest = Duration::MAX;
    for _ in 0..ROUNDS {
        let started = cpu_time();
        for _ in 0..PACKETS / batch {
            for _ in 0..batch {
                let mut packet =
                    Packet { headers, parts: parts(&frames, records, last_bytes), offload: OFFLOAD };
                link.stage(&mut packet).map_err(|_| "the link is full")?;
            }
            link.flush();
            link.reclaim();
        }
        quickest = quickest.min(cpu_time() - started);
    }
    let counters = link.counters();
    let sent = PACKETS / batch * batch;
    assert_eq!((counters.sent, counters.send_errors), (u64::from(ROUNDS * sent), 0), "{counters:?}");
    Ok(quickest.as_secs_f64() * 1e9 / f64::from(sent))
}

const OFFLOAD: Offload = Offload {
    checksum: Some(ChecksumOffload { start: 34, field: 16 }),
    segmentation: Some(Segmentation { mss: 1_448, ipv6: false }),
};

fn parts(frames: &[SharedFrame], records: u32, last_bytes: u32) -> Parts {
    let whole = frames.iter().take(records as usize).map(|frame| (frame, RECORD_BYTES));
    let last = frames.iter().skip(records as usize).map(|frame| (frame, last_bytes));
    whole.chain(last).map(|(frame, len)| Part { frame: frame.clone(), start: 512, len }).collect()
}

/// What this thread has used of its core, the kernel's work on its behalf included.
fn cpu_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(spent).expect("time does not go backwards")
}

/// Ethernet to nobody, IPv4 and TCP with timestamps; a total length of zero when it does not fit (BIG TCP).
fn headers(payload: u32) -> Headers {
    let total = u16::try_from(payload + 52).unwrap_or(0).to_be_bytes();
    let mut headers = Headers::new();
    let room = headers.room_mut();
    room[..14].copy_from_slice(&[2, 9, 9, 9, 9, 9, 2, 8, 8, 8, 8, 8, 0x08, 0x00]);
    room[14..34].copy_from_slice(&[
        0x45, 0, total[0], total[1], 0, 1, 0x40, 0, 64, 6, 0, 0, 198, 18, 99, 1, 198, 18, 99, 2,
    ]);
    room[34..54].copy_from_slice(&[
        1,
        187,
        192,
        0,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        1,
        8 << 4,
        0x10,
        255,
        255,
        0,
        0,
        0,
        0,
    ]);
    room[54..66].copy_from_slice(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1]);
    headers.set_len(66);
    headers
}
