//! The family `ethtool` (linux/ethtool_netlink.h): queues, rings, offloads, and how flows are spread.

use super::{Generic, find};
use crate::NetlinkError;
use crate::message::{Message, attributes, string, u32_at};

const FAMILY: &str = "ethtool";
const FEATURES_GET: u8 = 11;
const RINGS_GET: u8 = 15;
const CHANNELS_GET: u8 = 17;
const RSS_GET: u8 = 38;

/// Attributes that hold others say so; this family insists.
const NESTED: u16 = 0x8000;
/// Every question begins with it.
const A_HEADER: u16 = 1;
const A_HEADER_DEV_INDEX: u16 = 1;

const A_CHANNELS_RX_MAX: u16 = 2;
const A_CHANNELS_COMBINED_MAX: u16 = 5;
const A_CHANNELS_RX_COUNT: u16 = 6;
const A_CHANNELS_TX_COUNT: u16 = 7;
const A_CHANNELS_COMBINED_COUNT: u16 = 9;

const A_RINGS_RX_MAX: u16 = 2;
const A_RINGS_TX_MAX: u16 = 5;
const A_RINGS_RX: u16 = 6;
const A_RINGS_TX: u16 = 9;

const A_FEATURES_ACTIVE: u16 = 4;
const A_BITSET_BITS: u16 = 3;
const A_BITSET_BITS_BIT: u16 = 1;
const A_BITSET_BIT_NAME: u16 = 2;

const A_RSS_HFUNC: u16 = 3;
const A_RSS_INDIR: u16 = 4;
const A_RSS_HKEY: u16 = 5;

/// Queues of a device, as they are now and as many as there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// Queues that receive.
    pub rx: u32,
    /// Queues that send.
    pub tx: u32,
    /// Most queues that could receive.
    pub rx_max: u32,
    /// Queues are made in pairs: `ethtool -L DEV combined N`.
    pub combined: bool,
}

/// Descriptors of each queue, now and at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rings {
    /// To receive.
    pub rx: u32,
    /// To send.
    pub tx: u32,
    /// To receive, at most.
    pub rx_max: u32,
    /// To send, at most.
    pub tx_max: u32,
}

/// How a device spreads flows over its queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rss {
    /// The queues that flows are spread over.
    pub queues: u32,
    /// Entries of the indirection table.
    pub table: u32,
    /// Bytes of the hash's key.
    pub key_bytes: u32,
    /// A hash function is in use.
    pub hashes: bool,
}

/// What a device does for the kernel's packets, as far as it matters to us. Off is also what it cannot do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Cuts TCP superframes of IPv4.
    pub tso: bool,
    /// And of IPv6.
    pub tso6: bool,
    /// Computes checksums of what is sent.
    pub tx_checksum: bool,
    /// Checks those of what is received.
    pub rx_checksum: bool,
    /// Sends a packet from several places in memory.
    pub scatter_gather: bool,
    /// Merges received segments in hardware.
    pub lro: bool,
    /// Merged by the kernel.
    pub gro: bool,
    /// Takes VLAN tags off before XDP sees them.
    pub rx_vlan: bool,
    /// Steers flows by rules.
    pub ntuple: bool,
}

impl Generic {
    /// The device's queues. `None` when its driver does not tell.
    ///
    /// # Errors
    /// There is no such interface, or the kernel refused the question.
    pub fn channels(&mut self, index: u32) -> Result<Option<Channels>, NetlinkError> {
        self.of_device(CHANNELS_GET, "ask for a device's queues", index, channels)
    }

    /// The device's rings. `None` when its driver does not tell.
    ///
    /// # Errors
    /// There is no such interface, or the kernel refused the question.
    pub fn rings(&mut self, index: u32) -> Result<Option<Rings>, NetlinkError> {
        self.of_device(RINGS_GET, "ask for a device's rings", index, rings)
    }

    /// How the device spreads flows. `None` when its driver does not tell, or it does not.
    ///
    /// # Errors
    /// There is no such interface, or the kernel refused the question.
    pub fn rss(&mut self, index: u32) -> Result<Option<Rss>, NetlinkError> {
        self.of_device(RSS_GET, "ask how a device spreads flows", index, rss)
    }

    /// What the device does for the kernel's packets.
    ///
    /// # Errors
    /// There is no such interface, or the kernel refused the question.
    pub fn offloads(&mut self, index: u32) -> Result<Option<Offloads>, NetlinkError> {
        self.of_device(FEATURES_GET, "ask for a device's offloads", index, offloads)
    }

    fn of_device<T>(
        &mut self,
        command: u8,
        attempt: &str,
        index: u32,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, NetlinkError> {
        let header = |question: Message| {
            question.nested(NESTED | A_HEADER, &[], |header| header.attribute_u32(A_HEADER_DEV_INDEX, index))
        };
        self.ask(FAMILY, command, attempt, header, parse)
    }
}

fn number(body: &[u8], kind: u16) -> u32 {
    find(body, kind).and_then(|value| u32_at(value, 0)).unwrap_or(0)
}

pub(super) fn channels(body: &[u8]) -> Option<Channels> {
    let combined = number(body, A_CHANNELS_COMBINED_COUNT);
    let combined_max = number(body, A_CHANNELS_COMBINED_MAX);
    let found = Channels {
        rx: combined + number(body, A_CHANNELS_RX_COUNT),
        tx: combined + number(body, A_CHANNELS_TX_COUNT),
        rx_max: combined_max.max(number(body, A_CHANNELS_RX_MAX)),
        combined: combined_max > 0,
    };
    (found.rx > 0).then_some(found)
}

pub(super) fn rings(body: &[u8]) -> Option<Rings> {
    let found = Rings {
        rx: number(body, A_RINGS_RX),
        tx: number(body, A_RINGS_TX),
        rx_max: number(body, A_RINGS_RX_MAX),
        tx_max: number(body, A_RINGS_TX_MAX),
    };
    (found.rx > 0).then_some(found)
}

pub(super) fn rss(body: &[u8]) -> Option<Rss> {
    let table = find(body, A_RSS_INDIR)?;
    let mut queues: Vec<u32> = table.chunks_exact(4).filter_map(|entry| u32_at(entry, 0)).collect();
    let entries = u32::try_from(queues.len()).ok()?;
    queues.sort_unstable();
    queues.dedup();
    Some(Rss {
        queues: u32::try_from(queues.len()).ok()?,
        table: entries,
        key_bytes: find(body, A_RSS_HKEY).map_or(0, |key| u32::try_from(key.len()).unwrap_or(0)),
        hashes: number(body, A_RSS_HFUNC) != 0,
    })
}

/// A set without a mask, written out: what is listed is on.
pub(super) fn offloads(body: &[u8]) -> Option<Offloads> {
    let bits = attributes(find(body, A_FEATURES_ACTIVE)?, 0).find(|(kind, _)| *kind == A_BITSET_BITS)?.1;
    let mut found = Offloads::default();
    for (_, bit) in attributes(bits, 0).filter(|(kind, _)| *kind == A_BITSET_BITS_BIT) {
        let Some((_, name)) = attributes(bit, 0).find(|(kind, _)| *kind == A_BITSET_BIT_NAME) else {
            continue;
        };
        match string(name).as_str() {
            "tx-tcp-segmentation" => found.tso = true,
            "tx-tcp6-segmentation" => found.tso6 = true,
            "tx-checksum-ip-generic" | "tx-checksum-ipv4" => found.tx_checksum = true,
            "rx-checksum" => found.rx_checksum = true,
            "tx-scatter-gather" => found.scatter_gather = true,
            "rx-lro" => found.lro = true,
            "rx-gro" => found.gro = true,
            "rx-vlan-hw-parse" => found.rx_vlan = true,
            "rx-ntuple-filter" => found.ntuple = true,
            _ => {}
        }
    }
    Some(found)
}
