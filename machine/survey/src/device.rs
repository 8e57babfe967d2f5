//! A network interface, from its driver to its queues; and who translates its addresses.

use core::net::IpAddr;
use netlink::{Channels, Generic, Netlink, NetlinkError, Offloads, Queues, Rings, Rss, XdpAttached, XdpMode};
use rustix::io::Errno;
use serde::{Serialize, Serializer};

use crate::tree::Tree;

/// Translation of the addresses that devices use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Iommu {
    /// There is a unit that does it.
    pub present: bool,
    /// What new devices get: `identity` (none), `DMA` (strict), `DMA-FQ` (lazy). The most common of their groups.
    pub mode: Option<String>,
    /// Groups of devices.
    pub groups: u32,
}

impl Iommu {
    pub(crate) fn look(tree: &Tree) -> Self {
        const GROUPS: &str = "/sys/kernel/iommu_groups";
        let groups = tree.list(GROUPS);
        let mut kinds: Vec<String> =
            groups.iter().filter_map(|group| tree.read(&format!("{GROUPS}/{group}/type"))).collect();
        kinds.sort();
        let mode = kinds
            .chunk_by(|a, b| a == b)
            .max_by_key(|alike| alike.len())
            .and_then(|alike| alike.first().cloned());
        Self {
            present: !tree.list("/sys/class/iommu").is_empty(),
            mode,
            groups: u32::try_from(groups.len()).unwrap_or(u32::MAX),
        }
    }
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its number in this namespace.
    pub index: u32,
    /// Its driver, or its kind when no hardware is behind it: `ice`, `veth`.
    pub driver: Option<String>,
    /// Its place on the bus.
    pub bus: Option<String>,
    /// The memory that it is close to.
    pub numa_node: Option<u32>,
    /// What translates its addresses: `identity`, `DMA`, `DMA-FQ`.
    pub iommu: Option<String>,
    /// It has hardware addresses as Ethernet has.
    pub ethernet: bool,
    /// An operator wants it up.
    pub up: bool,
    /// It is up and has a carrier.
    pub running: bool,
    /// Largest IP packet, in bytes.
    pub mtu: u32,
    /// Megabits a second; absent when it does not say.
    pub speed_mbps: Option<u64>,
    /// Its addresses, with the length of their networks' prefixes; link-local ones left out.
    pub addresses: Vec<String>,
    /// The interface that it is a part of.
    pub master: Option<String>,
    /// XDP.
    pub xdp: Xdp,
    /// Queues that it was made with, to receive and to send.
    #[serde(serialize_with = "queues")]
    pub queues: Queues,
    /// Queues in use; absent when the driver does not say.
    #[serde(serialize_with = "channels")]
    pub channels: Option<Channels>,
    /// Descriptors of its rings.
    #[serde(serialize_with = "rings")]
    pub rings: Option<Rings>,
    /// How it spreads flows.
    #[serde(serialize_with = "rss")]
    pub rss: Option<Rss>,
    /// What it does for the kernel's packets.
    #[serde(serialize_with = "offloads")]
    pub offloads: Option<Offloads>,
}

/// What XDP there is on an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Xdp {
    /// A program that is attached already.
    #[serde(serialize_with = "attached")]
    pub attached: Option<XdpAttached>,
    /// What the driver says; absent when the kernel cannot be asked (before 6.3).
    pub features: Option<DeviceFeatures>,
}

/// What a driver says it can do with XDP and AF_XDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceFeatures {
    /// Runs programs itself.
    pub native: bool,
    /// Programs may redirect, to AF_XDP sockets among others.
    pub redirect: bool,
    /// AF_XDP without a copy.
    pub zero_copy: bool,
    /// Receives packets of several pieces: the MTU may be larger than a page.
    pub pieces: bool,
    /// Most pieces of one packet without a copy.
    pub zero_copy_segments_max: u32,
    /// Computes checksums of what AF_XDP sockets send.
    pub tx_checksum: bool,
}

impl From<netlink::DeviceFeatures> for DeviceFeatures {
    fn from(told: netlink::DeviceFeatures) -> Self {
        let netlink::DeviceFeatures { xdp, xsk, zero_copy_segments_max } = told;
        Self {
            native: xdp.basic(),
            redirect: xdp.redirect(),
            zero_copy: xdp.zero_copy(),
            pieces: xdp.receives_pieces(),
            zero_copy_segments_max,
            tx_checksum: xsk.checksum(),
        }
    }
}

impl Device {
    pub(crate) fn look(tree: &Tree, name: &str) -> Result<Option<Self>, NetlinkError> {
        let mut netlink = Netlink::open()?;
        let links = netlink.links()?;
        let Some(link) = links.iter().find(|link| link.name == name) else { return Ok(None) };
        let addresses = netlink.addresses()?;
        let addresses = addresses.iter().filter(|of| of.index == link.index && !is_link_local(of.address));
        let mut generic = Generic::open()?;
        let features = generic.device_features(link.index).or_else(gone)?.map(Into::into);
        let of = |file: &str| format!("/sys/class/net/{name}/{file}");
        let kind = Some(link.kind.clone()).filter(|kind| !kind.is_empty());
        Ok(Some(Self {
            name: link.name.clone(),
            index: link.index,
            driver: tree.leads_to(&of("device/driver")).or(kind),
            bus: tree.leads_to(&of("device")),
            numa_node: tree.number(&of("device/numa_node")).and_then(|node| u32::try_from(node).ok()),
            iommu: tree
                .leads_to(&of("device/iommu_group"))
                .and_then(|group| tree.read(&format!("/sys/kernel/iommu_groups/{group}/type"))),
            ethernet: link.mac != [0; 6],
            up: link.up,
            running: link.running,
            mtu: link.mtu,
            speed_mbps: tree.number(&of("speed")).filter(|speed| *speed < 1 << 31),
            addresses: addresses.map(|of| format!("{}/{}", of.address, of.prefix)).collect(),
            master: link
                .master
                .and_then(|index| links.iter().find(|other| other.index == index))
                .map(|master| master.name.clone()),
            xdp: Xdp { attached: link.xdp, features },
            queues: link.queues,
            channels: generic.channels(link.index).or_else(gone)?,
            rings: generic.rings(link.index).or_else(gone)?,
            rss: generic.rss(link.index).or_else(gone)?,
            offloads: generic.offloads(link.index).or_else(gone)?,
        }))
    }

    /// Queues that packets arrive on.
    #[must_use]
    pub fn rx_queues(&self) -> u32 {
        self.channels.map_or(self.queues.rx, |channels| channels.rx).max(1)
    }

    /// Queues that flows are spread over: fewer than there are when a rule keeps some aside.
    #[must_use]
    pub fn rss_queues(&self) -> u32 {
        self.rss.map_or_else(|| self.rx_queues(), |rss| rss.queues)
    }
}

/// An interface that vanishes while it is looked at tells nothing more.
fn gone<T>(error: NetlinkError) -> Result<Option<T>, NetlinkError> {
    if error.errno == Errno::NODEV { Ok(None) } else { Err(error) }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

// The types of `netlink`, as they are written: that room knows nothing of documents.

fn queues<S: Serializer>(queues: &Queues, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Written {
        rx: u32,
        tx: u32,
    }
    let Queues { rx, tx } = *queues;
    Written { rx, tx }.serialize(serializer)
}

fn channels<S: Serializer>(channels: &Option<Channels>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Written {
        rx: u32,
        tx: u32,
        rx_max: u32,
        combined: bool,
    }
    channels
        .map(|Channels { rx, tx, rx_max, combined }| Written { rx, tx, rx_max, combined })
        .serialize(serializer)
}

fn rings<S: Serializer>(rings: &Option<Rings>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Written {
        rx: u32,
        tx: u32,
        rx_max: u32,
        tx_max: u32,
    }
    rings.map(|Rings { rx, tx, rx_max, tx_max }| Written { rx, tx, rx_max, tx_max }).serialize(serializer)
}

fn rss<S: Serializer>(rss: &Option<Rss>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Written {
        queues: u32,
        table: u32,
        key_bytes: u32,
        hashes: bool,
    }
    rss.map(|Rss { queues, table, key_bytes, hashes }| Written { queues, table, key_bytes, hashes })
        .serialize(serializer)
}

fn offloads<S: Serializer>(offloads: &Option<Offloads>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Written {
        tso: bool,
        tso6: bool,
        tx_checksum: bool,
        rx_checksum: bool,
        scatter_gather: bool,
        lro: bool,
        gro: bool,
        rx_vlan: bool,
        ntuple: bool,
    }
    offloads
        .map(|told| {
            let Offloads { tso, tso6, tx_checksum, rx_checksum, scatter_gather, lro, gro, rx_vlan, ntuple } =
                told;
            Written { tso, tso6, tx_checksum, rx_checksum, scatter_gather, lro, gro, rx_vlan, ntuple }
        })
        .serialize(serializer)
}

fn attached<S: Serializer>(attached: &Option<XdpAttached>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Written {
        mode: &'static str,
        program: u32,
    }
    attached
        .map(|XdpAttached { mode, program }| Written {
            mode: match mode {
                XdpMode::Native => "native",
                XdpMode::Generic => "generic",
                XdpMode::Offloaded => "offloaded",
                XdpMode::Several => "several",
            },
            program,
        })
        .serialize(serializer)
}
