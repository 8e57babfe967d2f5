//! What there is to compare with: a loop that reads a frame here and writes it there, and nothing else.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_send_buffer_size_force;
use rustix::time::{ClockId, clock_gettime};
use std::os::fd::OwnedFd;

/// Forwards between two interfaces of the calling thread's namespace, with the sockets and the sleep of the program.
/// Returns the processor time it took, and how many frames it forwarded.
pub(crate) fn forward(stop: &AtomicBool) -> (Duration, u64) {
    let [client, server] = ["m0", "m1"].map(|name| {
        let mut queues = link_packet::sockets(name, 1).expect("the cable's end");
        let fd = OwnedFd::from(queues.pop().expect("one"));
        set_socket_send_buffer_size_force(&fd, 16 << 20).expect("needs root");
        fd
    });
    let mut frames = 0;
    let mut frame = vec![0; middlebox::FRAME_BYTES_MAX];
    while !stop.load(Ordering::Relaxed) {
        let mut busy = false;
        for (from, to) in [(&client, &server), (&server, &client)] {
            for _ in 0..16 {
                let Ok(len) = rustix::io::read(from, &mut frame) else { break };
                busy = true;
                frames += 1;
                while rustix::io::write(to, &frame[..len]) == Err(Errno::AGAIN) {
                    wait(&[to], PollFlags::OUT);
                }
            }
        }
        if !busy {
            wait(&[&client, &server], PollFlags::IN);
        }
    }
    let used = clock_gettime(ClockId::ThreadCPUTime);
    (Duration::try_from(used).expect("after the beginning of the thread"), frames)
}

fn wait(sockets: &[&OwnedFd], flags: PollFlags) {
    let mut sockets: Vec<_> = sockets.iter().map(|fd| PollFd::new(*fd, flags)).collect();
    let most = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    poll(&mut sockets, Some(&most)).expect("two sockets");
}
