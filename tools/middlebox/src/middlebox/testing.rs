//! Frames for tests, and a middlebox that keeps a diary.

use super::*;
use crate::config::Profile;

/// Who talks to whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    source: (u8, u16),
    destination: (u8, u16),
}

impl Ends {
    /// From a client's port to the server.
    pub(crate) fn client(port: u16) -> Self {
        Self { source: (1, port), destination: (2, 443) }
    }

    pub(crate) fn reversed(self) -> Self {
        Self { source: self.destination, destination: self.source }
    }

    fn tcp(self, payload: usize) -> Vec<u8> {
        let mut segment = vec![0; 20 + payload];
        segment[..2].copy_from_slice(&self.source.1.to_be_bytes());
        segment[2..4].copy_from_slice(&self.destination.1.to_be_bytes());
        segment[12] = 5 << 4;
        segment
    }
}

/// An Ethernet frame with a TCP segment.
pub(crate) fn ipv4(ends: Ends, payload: usize) -> Vec<u8> {
    let mut frame = vec![0; 14 + 20];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    let length = u16::try_from(40 + payload).unwrap();
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&length.to_be_bytes());
    frame[14 + 6] = 0x40;
    frame[14 + 9] = 6;
    frame[14 + 12..14 + 16].copy_from_slice(&[10, 0, 0, ends.source.0]);
    frame[14 + 16..14 + 20].copy_from_slice(&[10, 0, 0, ends.destination.0]);
    frame.extend(ends.tcp(payload));
    frame
}

/// The same over IPv6.
pub(crate) fn ipv6(ends: Ends, payload: usize) -> Vec<u8> {
    let mut frame = vec![0; 14 + 40];
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    let length = u16::try_from(20 + payload).unwrap();
    frame[14] = 0x60;
    frame[18..20].copy_from_slice(&length.to_be_bytes());
    frame[14 + 6] = 6;
    frame[14 + 8] = 0xfd;
    frame[14 + 23] = ends.source.0;
    frame[14 + 24] = 0xfd;
    frame[14 + 39] = ends.destination.0;
    frame.extend(ends.tcp(payload));
    frame
}

/// A room with a frame in it, as a device that knows no more than a first room's length fills it.
pub(crate) fn room(header: [u8; HEADER_BYTES], ethernet: &[u8]) -> Room {
    let (mut room, bytes) = (Room::new(), [&header[..], ethernet].concat());
    let (here, spill) = bytes.split_at(bytes.len().min(room.space().len()));
    room.space()[..here.len()].copy_from_slice(here);
    room.fill(bytes.len(), spill, None);
    room
}

/// A middlebox, and what left it: when, where to, and the Ethernet frame.
#[derive(Debug)]
pub(crate) struct Diary {
    pub(crate) middlebox: Middlebox,
    pub(crate) left: Vec<(Instant, Direction, Vec<u8>)>,
}

impl Diary {
    pub(crate) fn new(config: &Config) -> Self {
        Self { middlebox: Middlebox::new(config, Instant::EPOCH).unwrap(), left: Vec::new() }
    }

    /// A middlebox that does this both ways.
    pub(crate) fn of(profile: &Profile) -> Self {
        Self::new(&Config { to_server: profile.clone(), to_client: profile.clone(), ..Config::default() })
    }

    pub(crate) fn send(&mut self, now: Instant, direction: Direction, ethernet: &[u8]) {
        self.send_with(now, direction, COMPLETE, ethernet);
    }

    pub(crate) fn send_with(
        &mut self,
        now: Instant,
        direction: Direction,
        header: [u8; HEADER_BYTES],
        ethernet: &[u8],
    ) {
        self.run(now);
        let mut room = room(header, ethernet);
        if self.middlebox.received(now, direction, &mut room) == Verdict::Pass {
            assert_eq!(room.bytes()[..HEADER_BYTES], header);
            self.left.push((now, direction, room.bytes()[HEADER_BYTES..].to_vec()));
        }
        self.take(now);
    }

    /// Lets time pass, from deadline to deadline.
    pub(crate) fn run(&mut self, until: Instant) {
        while let Some(deadline) = self.middlebox.next_deadline().filter(|deadline| *deadline <= until) {
            self.take(deadline);
        }
    }

    pub(crate) fn finish(&mut self) {
        self.run(Instant::NEVER);
        let statistics = self.middlebox.statistics();
        assert_eq!((statistics.held, statistics.memory_bytes), (0, 0), "everything came back");
    }

    fn take(&mut self, now: Instant) {
        for direction in Direction::BOTH {
            while let Some(frame) = self.middlebox.take(now, direction) {
                self.left.push((now, direction, frame.ethernet().to_vec()));
                self.middlebox.release(frame);
            }
        }
    }
}
