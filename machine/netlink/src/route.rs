//! Interfaces, addresses and routes: rtnetlink(7).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use crate::NetlinkError;
use crate::conversation::{ACK, Conversation, DUMP, REQUEST};
use crate::message::{Message, attributes, string, u32_at};

// Message types and flags (linux/rtnetlink.h, linux/netlink.h).
pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const EXCL: u16 = 0x200;
const CREATE: u16 = 0x400;

// Attributes (linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h, linux/veth.h).
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_GSO_MAX_SIZE: u16 = 41;
const IFLA_GRO_MAX_SIZE: u16 = 58;
const IFLA_GSO_IPV4_MAX_SIZE: u16 = 63;
const IFLA_GRO_IPV4_MAX_SIZE: u16 = 64;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 0x02;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const IFF_UP: u32 = 0x1;
const IFF_LOWER_UP: u32 = 0x1_0000;

const IFINFO_BYTES: usize = 16;
const IFADDR_BYTES: usize = 8;
const RTMSG_BYTES: usize = 12;
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;

/// The longest name of an interface, without its NUL (`IFNAMSIZ` − 1).
const NAME_BYTES_MAX: usize = 15;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Its number in this namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address; zeroes when it has none of six bytes.
    pub mac: [u8; 6],
    /// Largest packet.
    pub mtu: u32,
    /// An operator wants it up.
    pub up: bool,
    /// It can carry packets now: up, and with a carrier.
    pub running: bool,
    /// What it is when no hardware is behind it: `veth`, `tun`, `bridge`; empty for a device.
    pub kind: String,
    /// Queues that it could receive and send with.
    pub queues: Queues,
    /// The interface that it is a part of: a bridge's port, a bond's slave.
    pub master: Option<u32>,
    /// The XDP program that is attached.
    pub xdp: Option<XdpAttached>,
}

/// How many queues a device was made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// To receive.
    pub rx: u32,
    /// To send.
    pub tx: u32,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpAttached {
    /// Where it runs.
    pub mode: XdpMode,
    /// Its number; 0 when the kernel does not say, as with several.
    pub program: u32,
}

/// Where an XDP program runs (linux/if_link.h: `XDP_ATTACHED_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the kernel, after a packet buffer was made.
    Generic,
    /// In the device.
    Offloaded,
    /// In several places.
    Several,
}

/// An address of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressInfo {
    /// On which interface.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// How many leading bits name its network.
    pub prefix: u8,
}

/// A route of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteInfo {
    /// The network; all zeroes with prefix 0 is the default route.
    pub network: IpAddr,
    /// How many leading bits of it count.
    pub prefix: u8,
    /// Through which interface, if one.
    pub index: Option<u32>,
    /// Through which neighbour, if one.
    pub gateway: Option<IpAddr>,
}

/// What to change about an interface; `None` leaves a thing as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkChange {
    /// Bring it up or down.
    pub up: Option<bool>,
    /// Largest packet.
    pub mtu: Option<u32>,
    /// Packets that wait for it at most.
    pub txqueuelen: Option<u32>,
    /// Hardware address.
    pub mac: Option<[u8; 6]>,
    /// Largest superframe that it is given and that it merges, IPv4 and IPv6: above 65,536 this is BIG TCP,
    /// which not every driver takes.
    pub superframe_bytes_max: Option<u32>,
}

/// A conversation with the kernel of this network namespace.
#[derive(Debug)]
pub struct Netlink(Conversation);

impl Netlink {
    /// Opens the conversation. The namespace is the calling thread's, and stays it.
    ///
    /// # Errors
    /// The machine has no socket for us.
    pub fn open() -> Result<Self, NetlinkError> {
        Conversation::open(None).map(Self)
    }

    /// The interface called `name`, if there is one.
    ///
    /// # Errors
    /// The kernel refused the question.
    pub fn link(&mut self, name: &str) -> Result<Option<LinkInfo>, NetlinkError> {
        Ok(self.links()?.into_iter().find(|link| link.name == name))
    }

    /// All interfaces.
    ///
    /// # Errors
    /// The kernel refused the question.
    pub fn links(&mut self) -> Result<Vec<LinkInfo>, NetlinkError> {
        let question = Message::new(RTM_GETLINK, REQUEST | DUMP, &[0; IFINFO_BYTES]);
        self.0.dump("list the interfaces", question, RTM_NEWLINK, link_info)
    }

    /// All addresses of the host.
    ///
    /// # Errors
    /// The kernel refused the question.
    pub fn addresses(&mut self) -> Result<Vec<AddressInfo>, NetlinkError> {
        let question = Message::new(RTM_GETADDR, REQUEST | DUMP, &[0; IFADDR_BYTES]);
        self.0.dump("list the addresses", question, RTM_NEWADDR, address_info)
    }

    /// All routes of the host, of every table.
    ///
    /// # Errors
    /// The kernel refused the question.
    pub fn routes(&mut self) -> Result<Vec<RouteInfo>, NetlinkError> {
        let question = Message::new(RTM_GETROUTE, REQUEST | DUMP, &[0; RTMSG_BYTES]);
        self.0.dump("list the routes", question, RTM_NEWROUTE, route_info)
    }

    /// Changes an interface.
    ///
    /// # Errors
    /// There is no such interface, the value is out of its range, or we may not.
    pub fn change_link(&mut self, name: &str, change: LinkChange) -> Result<(), NetlinkError> {
        let attempt = format!("configure {name}");
        let index = self.index(name, &attempt)?;
        let LinkChange { up, mtu, txqueuelen, mac, superframe_bytes_max } = change;
        let (flags, mask) = up.map_or((0, 0), |up| (if up { IFF_UP } else { 0 }, IFF_UP));
        let mut order = Message::new(RTM_NEWLINK, REQUEST | ACK, &ifinfo(index, flags, mask));
        if let Some(mac) = mac {
            order = order.attribute(IFLA_ADDRESS, &mac);
        }
        if let Some(mtu) = mtu {
            order = order.attribute_u32(IFLA_MTU, mtu);
        }
        if let Some(txqueuelen) = txqueuelen {
            order = order.attribute_u32(IFLA_TXQLEN, txqueuelen);
        }
        if let Some(bytes) = superframe_bytes_max {
            for kind in [IFLA_GSO_MAX_SIZE, IFLA_GRO_MAX_SIZE, IFLA_GSO_IPV4_MAX_SIZE, IFLA_GRO_IPV4_MAX_SIZE]
            {
                order = order.attribute_u32(kind, bytes);
            }
        }
        self.0.order(&attempt, order)
    }

    /// Gives an interface an address, usable at once: IPv6 duplicate detection is left out, because both ends
    /// of such a link are ours.
    ///
    /// # Errors
    /// There is no such interface, it has that address, or we may not.
    pub fn add_address(&mut self, name: &str, address: IpAddr, prefix: u8) -> Result<(), NetlinkError> {
        let attempt = format!("give {name} the address {address}/{prefix}");
        let index = self.index(name, &attempt)?;
        let (family, octets) = match address {
            IpAddr::V4(v4) => (FAMILY_V4, v4.octets().to_vec()),
            IpAddr::V6(v6) => (FAMILY_V6, v6.octets().to_vec()),
        };
        let mut fixed = [0; IFADDR_BYTES];
        fixed[0] = family;
        fixed[1] = prefix;
        fixed[4..].copy_from_slice(&index.to_le_bytes());
        let mut order = Message::new(RTM_NEWADDR, REQUEST | ACK | CREATE | EXCL, &fixed)
            .attribute(IFA_LOCAL, &octets)
            .attribute(IFA_ADDRESS, &octets);
        if address.is_ipv6() {
            order = order.attribute_u32(IFA_FLAGS, IFA_F_NODAD);
        }
        self.0.order(&attempt, order)
    }

    /// Creates two interfaces that are each other's wire.
    ///
    /// # Errors
    /// A name is taken or too long, the kernel has no veth, or we may not.
    pub fn create_veth(&mut self, name: &str, peer: &str) -> Result<(), NetlinkError> {
        let attempt = format!("create the veth pair {name} and {peer}");
        for name in [name, peer] {
            check_name(name, &attempt)?;
        }
        let order = Message::new(RTM_NEWLINK, REQUEST | ACK | CREATE | EXCL, &ifinfo(0, 0, 0))
            .attribute_str(IFLA_IFNAME, name)
            .nested(IFLA_LINKINFO, &[], |info| {
                info.attribute(IFLA_INFO_KIND, b"veth").nested(IFLA_INFO_DATA, &[], |data| {
                    data.nested(VETH_INFO_PEER, &ifinfo(0, 0, 0), |end| end.attribute_str(IFLA_IFNAME, peer))
                })
            });
        self.0.order(&attempt, order)
    }

    /// Deletes an interface, and the other end of a veth pair with it.
    ///
    /// # Errors
    /// There is no such interface, it cannot be deleted, or we may not.
    pub fn delete_link(&mut self, name: &str) -> Result<(), NetlinkError> {
        let attempt = format!("delete {name}");
        let index = self.index(name, &attempt)?;
        self.0.order(&attempt, Message::new(RTM_DELLINK, REQUEST | ACK, &ifinfo(index, 0, 0)))
    }

    fn index(&mut self, name: &str, attempt: &str) -> Result<u32, NetlinkError> {
        check_name(name, attempt)?;
        match self.link(name)? {
            Some(link) => Ok(link.index),
            None => Err(NetlinkError { attempt: attempt.to_owned(), errno: Errno::NODEV }),
        }
    }
}

fn check_name(name: &str, attempt: &str) -> Result<(), NetlinkError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(['/', '\0', ' ']) {
        return Err(NetlinkError { attempt: attempt.to_owned(), errno: Errno::INVAL });
    }
    Ok(())
}

/// struct ifinfomsg: family, padding, device type, index, flags, and which flags to change.
fn ifinfo(index: u32, flags: u32, mask: u32) -> [u8; IFINFO_BYTES] {
    let mut fixed = [0; IFINFO_BYTES];
    fixed[4..8].copy_from_slice(&index.to_le_bytes());
    fixed[8..12].copy_from_slice(&flags.to_le_bytes());
    fixed[12..].copy_from_slice(&mask.to_le_bytes());
    fixed
}

pub(crate) fn link_info(body: &[u8]) -> Option<LinkInfo> {
    let (index, flags) = (u32_at(body, 4)?, u32_at(body, 8)?);
    let mut link = LinkInfo {
        index,
        name: String::new(),
        mac: [0; 6],
        mtu: 0,
        up: flags & IFF_UP != 0,
        running: flags & (IFF_UP | IFF_LOWER_UP) == IFF_UP | IFF_LOWER_UP,
        kind: String::new(),
        queues: Queues::default(),
        master: None,
        xdp: None,
    };
    for (kind, value) in attributes(body, IFINFO_BYTES) {
        match kind {
            IFLA_IFNAME => link.name = string(value),
            IFLA_ADDRESS => link.mac = value.try_into().unwrap_or_default(),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_NUM_RX_QUEUES => link.queues.rx = u32_at(value, 0)?,
            IFLA_NUM_TX_QUEUES => link.queues.tx = u32_at(value, 0)?,
            IFLA_MASTER => link.master = u32_at(value, 0),
            IFLA_LINKINFO => {
                let kind = attributes(value, 0).find(|(kind, _)| *kind == IFLA_INFO_KIND);
                link.kind = kind.map(|(_, name)| string(name)).unwrap_or_default();
            }
            IFLA_XDP => link.xdp = xdp_attached(value),
            _ => {}
        }
    }
    Some(link)
}

fn xdp_attached(value: &[u8]) -> Option<XdpAttached> {
    let attribute = |wanted| attributes(value, 0).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let mode = match attribute(IFLA_XDP_ATTACHED)?.first()? {
        1 => XdpMode::Native,
        2 => XdpMode::Generic,
        3 => XdpMode::Offloaded,
        4 => XdpMode::Several,
        _ => return None,
    };
    let program = attribute(IFLA_XDP_PROG_ID).and_then(|id| u32_at(id, 0)).unwrap_or(0);
    Some(XdpAttached { mode, program })
}

fn address_info(body: &[u8]) -> Option<AddressInfo> {
    let prefix = *body.get(1)?;
    let index = u32_at(body, 4)?;
    // On a point-to-point link IFA_ADDRESS is the other end's; IFA_LOCAL, where there is one, is always ours.
    let attribute = |wanted| attributes(body, IFADDR_BYTES).find(|(kind, _)| *kind == wanted);
    let (_, value) = attribute(IFA_LOCAL).or_else(|| attribute(IFA_ADDRESS))?;
    Some(AddressInfo { index, address: ip(value)?, prefix })
}

fn route_info(body: &[u8]) -> Option<RouteInfo> {
    let unspecified = match *body.first()? {
        FAMILY_V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        FAMILY_V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut route = RouteInfo { network: unspecified, prefix: *body.get(1)?, index: None, gateway: None };
    for (kind, value) in attributes(body, RTMSG_BYTES) {
        match kind {
            RTA_DST => route.network = ip(value)?,
            RTA_OIF => route.index = u32_at(value, 0),
            RTA_GATEWAY => route.gateway = ip(value),
            _ => {}
        }
    }
    Some(route)
}

fn ip(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(IpAddr::V4(v4.into()));
    }
    <[u8; 16]>::try_from(octets).ok().map(|v6| IpAddr::V6(v6.into()))
}
