//! What happened, in numbers.

use core::ops::AddAssign;

/// What one direction counted. Superframes count once where they pass whole, and as their segments where they were cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStatistics {
    /// Frames that arrived, as the device merged them.
    pub received: u64,
    /// Their bytes, from the Ethernet header on.
    pub received_bytes: u64,
    /// Frames that were cut.
    pub cut: u64,
    /// Packets whose fate was drawn: segments of those that were cut, and all others.
    pub packets: u64,
    /// Packets that left.
    pub forwarded: u64,
    /// Their bytes.
    pub forwarded_bytes: u64,
    /// Lost one by one.
    pub lost: u64,
    /// Lost in bursts.
    pub lost_in_burst: u64,
    /// Dropped by the policer.
    pub policed: u64,
    /// Dropped because the bottleneck's queue was full.
    pub queue_full: u64,
    /// Sent twice.
    pub duplicated: u64,
    /// Held back so that others overtake them.
    pub reordered: u64,
    /// Dropped because the memory for packets was used up: not a fault of the path but of its size.
    pub overflowed: u64,
    /// Superframes that could not be cut as their header said, and were dropped.
    pub malformed: u64,
}

impl AddAssign for LaneStatistics {
    fn add_assign(&mut self, other: Self) {
        let Self {
            received,
            received_bytes,
            cut,
            packets,
            forwarded,
            forwarded_bytes,
            lost,
            lost_in_burst,
            policed,
            queue_full,
            duplicated,
            reordered,
            overflowed,
            malformed,
        } = other;
        self.received += received;
        self.received_bytes += received_bytes;
        self.cut += cut;
        self.packets += packets;
        self.forwarded += forwarded;
        self.forwarded_bytes += forwarded_bytes;
        self.lost += lost;
        self.lost_in_burst += lost_in_burst;
        self.policed += policed;
        self.queue_full += queue_full;
        self.duplicated += duplicated;
        self.reordered += reordered;
        self.overflowed += overflowed;
        self.malformed += malformed;
    }
}

/// What a middlebox counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// From client to server.
    pub to_server: LaneStatistics,
    /// From server to client.
    pub to_client: LaneStatistics,
    /// Packets held now.
    pub held: u64,
    /// Memory in use for packets, and at most so far, in bytes.
    pub memory_bytes: u64,
    /// The most memory that was in use.
    pub memory_bytes_max: u64,
}

impl AddAssign for Statistics {
    /// The most of several is at most the sum: they need not have peaked together.
    fn add_assign(&mut self, other: Self) {
        let Self { to_server, to_client, held, memory_bytes, memory_bytes_max } = other;
        self.to_server += to_server;
        self.to_client += to_client;
        self.held += held;
        self.memory_bytes += memory_bytes;
        self.memory_bytes_max += memory_bytes_max;
    }
}
