//! Neighbour discovery (RFC 4861 §4): who has an IPv6 address, and who routes.
//!
//! ```text
//! neighbor solicitation   ├ 135, 0 ┼ checksum ┼ reserved      ┼ target (16) ┼ [source link-layer address]
//! neighbor advertisement  ├ 136, 0 ┼ checksum ┼ R S O         ┼ target (16) ┼ [target link-layer address]
//! router solicitation     ├ 133, 0 ┼ checksum ┼ reserved      ┼ [source link-layer address]
//! router advertisement    ├ 134, 0 ┼ checksum ┼ hop limit, MO, lifetime ┼ reachable ┼ retransmit ┼ [options]
//! ```

use crate::{MacAddr, Malformed};
use core::fmt;
use core::net::Ipv6Addr;

#[cfg(test)]
mod tests;

/// The hop limit of every NDP packet: proof that no router has forwarded it (RFC 4861 §7.1).
pub const HOP_LIMIT: u8 = 255;

/// A prefix information option, in bytes.
pub const PREFIX_OPTION_BYTES: usize = 32;

mod kind {
    pub(super) const ROUTER_SOLICITATION: u8 = 133;
    pub(super) const ROUTER_ADVERTISEMENT: u8 = 134;
    pub(super) const NEIGHBOR_SOLICITATION: u8 = 135;
    pub(super) const NEIGHBOR_ADVERTISEMENT: u8 = 136;
}

mod option {
    pub(super) const SOURCE_LINK_LAYER: u8 = 1;
    pub(super) const TARGET_LINK_LAYER: u8 = 2;
    pub(super) const PREFIX_INFORMATION: u8 = 3;
    pub(super) const MTU: u8 = 5;
}

/// A link-layer address option for Ethernet, and the MTU option, in bytes.
const SHORT_OPTION_BYTES: usize = 8;

/// Flags of a neighbor advertisement, in its fifth byte.
mod advertisement {
    pub(super) const ROUTER: u8 = 0x80;
    pub(super) const SOLICITED: u8 = 0x40;
    pub(super) const OVERRIDE: u8 = 0x20;
}

/// Flags of a router advertisement, in its sixth byte.
mod router {
    pub(super) const MANAGED: u8 = 0x80;
    pub(super) const OTHER: u8 = 0x40;
}

/// Flags of a prefix.
mod prefix {
    pub(super) const ON_LINK: u8 = 0x80;
    pub(super) const AUTONOMOUS: u8 = 0x40;
}

/// The group in which every owner of `address` listens for solicitations: ff02::1:ff00:0/104 and its last 24 bits (RFC 4291 §2.7.1).
#[must_use]
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let octets = address.octets();
    Ipv6Addr::from_octets([
        0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0xff, octets[13], octets[14], octets[15],
    ])
}

/// Every node on the link: ff02::1.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Every router on the link: ff02::2.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Whether an ICMPv6 type is one of these messages.
pub(crate) const fn is_ndp(kind: u8) -> bool {
    matches!(kind, kind::ROUTER_SOLICITATION..=kind::NEIGHBOR_ADVERTISEMENT)
}

/// A prefix that a router announces (RFC 4861 §4.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrefixInformation {
    /// The prefix; bits behind its length mean nothing.
    pub prefix: Ipv6Addr,
    /// How many leading bits, 0 to 128.
    pub prefix_len: u8,
    /// Its addresses are neighbours.
    pub on_link: bool,
    /// Hosts may make their own addresses in it (RFC 4862).
    pub autonomous: bool,
    /// How long it is on link, in seconds; all ones is for ever.
    pub valid_lifetime_s: u32,
    /// How long addresses in it are preferred, in seconds; all ones is for ever.
    pub preferred_lifetime_s: u32,
}

/// The prefixes of a router advertisement, where they stand on the wire.
///
/// Borrowed, so that a message that hosts seldom look into does not make every packet larger.
#[derive(Clone, Copy)]
pub struct Prefixes<'a> {
    /// Options whose lengths were checked, others among them.
    options: &'a [u8],
}

impl<'a> Prefixes<'a> {
    /// No prefix.
    pub const NONE: Self = Self { options: &[] };

    /// Writes `prefixes` as options to the start of `buffer` and refers to them there.
    ///
    /// # Panics
    /// When `buffer` has less than [`PREFIX_OPTION_BYTES`] for each.
    pub fn emit(prefixes: &[PrefixInformation], buffer: &'a mut [u8]) -> Self {
        let mut writer = Writer { buffer, len: 0 };
        for prefix in prefixes {
            writer.put_prefix(prefix);
        }
        let Writer { buffer, len } = writer;
        Self { options: &buffer[..len] }
    }

    /// The prefixes in the router's order; one longer than 128 bits is skipped.
    pub fn iter(&self) -> impl Iterator<Item = PrefixInformation> + use<'a> {
        let mut rest = self.options;
        core::iter::from_fn(move || {
            loop {
                let (kind, option, behind) = split_option(rest).ok()?;
                rest = behind;
                if let Some(prefix) = PrefixInformation::parse(kind, option) {
                    return Some(prefix);
                }
            }
        })
    }
}

impl fmt::Debug for Prefixes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Prefixes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Prefixes<'_> {}

/// A router's advertisement (RFC 4861 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterAdvertisement<'a> {
    /// The hop limit to send with; zero when the router does not say.
    pub hop_limit: u8,
    /// Addresses come from DHCPv6.
    pub managed: bool,
    /// Other configuration comes from DHCPv6.
    pub other: bool,
    /// How long this is a default router, in seconds; zero: it is none.
    pub router_lifetime_s: u16,
    /// How long a neighbour counts as reachable, in milliseconds; zero when the router does not say.
    pub reachable_ms: u32,
    /// Between solicitations, in milliseconds; zero when the router does not say.
    pub retransmit_ms: u32,
    /// The router's MAC address.
    pub source_mac: Option<MacAddr>,
    /// The link's MTU, in bytes.
    pub mtu: Option<u32>,
    /// The prefixes of the link.
    pub prefixes: Prefixes<'a>,
}

/// A neighbour discovery message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Who routes?
    RouterSolicitation {
        /// Who asks.
        source_mac: Option<MacAddr>,
    },
    /// I do.
    RouterAdvertisement(RouterAdvertisement<'a>),
    /// Who has this address?
    NeighborSolicitation {
        /// The address.
        target: Ipv6Addr,
        /// Who asks; absent when it is somebody who wants the address for himself (RFC 4862 §5.4.2).
        source_mac: Option<MacAddr>,
    },
    /// I have this address.
    NeighborAdvertisement {
        /// The address.
        target: Ipv6Addr,
        /// The sender routes.
        router: bool,
        /// It is an answer.
        solicited: bool,
        /// It shall replace what was known.
        overrides: bool,
        /// The sender's MAC address.
        target_mac: Option<MacAddr>,
    },
}

/// The options of any message.
#[derive(Default)]
struct Options {
    source_mac: Option<MacAddr>,
    target_mac: Option<MacAddr>,
    mtu: Option<u32>,
}

impl<'a> Message<'a> {
    /// Reads a message from its ICMPv6 header on. Unknown options are skipped.
    ///
    /// # Errors
    /// [`Malformed::Truncated`]; [`Malformed::Length`] for an option of length zero (RFC 4861 §6.1, §7.1);
    /// [`Malformed::Address`] for a multicast target; [`Malformed::Version`] when the type is not NDP's.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let Some((&[kind, _, _, _, r0, r1, r2, r3], body)) = message.split_first_chunk::<8>() else {
            return Err(Malformed::Truncated);
        };
        match kind {
            kind::ROUTER_SOLICITATION => {
                let Options { source_mac, .. } = Options::parse(body)?;
                Ok(Self::RouterSolicitation { source_mac })
            }
            kind::ROUTER_ADVERTISEMENT => {
                let Some((&[a0, a1, a2, a3, t0, t1, t2, t3], options)) = body.split_first_chunk::<8>() else {
                    return Err(Malformed::Truncated);
                };
                let Options { source_mac, target_mac: _, mtu } = Options::parse(options)?;
                Ok(Self::RouterAdvertisement(RouterAdvertisement {
                    hop_limit: r0,
                    managed: r1 & router::MANAGED != 0,
                    other: r1 & router::OTHER != 0,
                    router_lifetime_s: u16::from_be_bytes([r2, r3]),
                    reachable_ms: u32::from_be_bytes([a0, a1, a2, a3]),
                    retransmit_ms: u32::from_be_bytes([t0, t1, t2, t3]),
                    source_mac,
                    mtu,
                    prefixes: Prefixes { options },
                }))
            }
            kind::NEIGHBOR_SOLICITATION => {
                let (target, options) = target(body)?;
                Ok(Self::NeighborSolicitation { target, source_mac: options.source_mac })
            }
            kind::NEIGHBOR_ADVERTISEMENT => {
                let (target, options) = target(body)?;
                Ok(Self::NeighborAdvertisement {
                    target,
                    router: r0 & advertisement::ROUTER != 0,
                    solicited: r0 & advertisement::SOLICITED != 0,
                    overrides: r0 & advertisement::OVERRIDE != 0,
                    target_mac: options.target_mac,
                })
            }
            _ => Err(Malformed::Version),
        }
    }

    /// Writes the message to the start of `buffer` with a zero checksum; returns [`Message::len`].
    ///
    /// # Panics
    /// When `buffer` is shorter than [`Message::len`]; 32 bytes suffice for all but a router's advertisement.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let mut writer = Writer { buffer, len: 0 };
        match self {
            Self::RouterSolicitation { source_mac } => {
                writer.put(&[kind::ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
                writer.put_mac(option::SOURCE_LINK_LAYER, *source_mac);
            }
            Self::RouterAdvertisement(advertisement) => emit_router_advertisement(advertisement, &mut writer),
            Self::NeighborSolicitation { target, source_mac } => {
                writer.put(&[kind::NEIGHBOR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
                writer.put(&target.octets());
                writer.put_mac(option::SOURCE_LINK_LAYER, *source_mac);
            }
            Self::NeighborAdvertisement { target, router, solicited, overrides, target_mac } => {
                let flags = flag(*router, advertisement::ROUTER)
                    | flag(*solicited, advertisement::SOLICITED)
                    | flag(*overrides, advertisement::OVERRIDE);
                writer.put(&[kind::NEIGHBOR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0]);
                writer.put(&target.octets());
                writer.put_mac(option::TARGET_LINK_LAYER, *target_mac);
            }
        }
        writer.len
    }

    /// The message's length, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        let short = |is_there: bool| if is_there { SHORT_OPTION_BYTES } else { 0 };
        match self {
            Self::RouterSolicitation { source_mac } => 8 + short(source_mac.is_some()),
            Self::RouterAdvertisement(RouterAdvertisement { source_mac, mtu, prefixes, .. }) => {
                16 + short(source_mac.is_some())
                    + short(mtu.is_some())
                    + prefixes.iter().count() * PREFIX_OPTION_BYTES
            }
            Self::NeighborSolicitation { source_mac: mac, .. }
            | Self::NeighborAdvertisement { target_mac: mac, .. } => 24 + short(mac.is_some()),
        }
    }
}

fn emit_router_advertisement(advertisement: &RouterAdvertisement<'_>, writer: &mut Writer<'_>) {
    let RouterAdvertisement {
        hop_limit,
        managed,
        other,
        router_lifetime_s,
        reachable_ms,
        retransmit_ms,
        source_mac,
        mtu,
        prefixes,
    } = advertisement;
    let flags = flag(*managed, router::MANAGED) | flag(*other, router::OTHER);
    writer.put(&[kind::ROUTER_ADVERTISEMENT, 0, 0, 0, *hop_limit, flags]);
    writer.put(&router_lifetime_s.to_be_bytes());
    writer.put(&reachable_ms.to_be_bytes());
    writer.put(&retransmit_ms.to_be_bytes());
    writer.put_mac(option::SOURCE_LINK_LAYER, *source_mac);
    if let Some(mtu) = mtu {
        writer.put(&[option::MTU, 1, 0, 0]);
        writer.put(&mtu.to_be_bytes());
    }
    for prefix in prefixes.iter() {
        writer.put_prefix(&prefix);
    }
}

/// The target of a neighbor message, and its options.
fn target(body: &[u8]) -> Result<(Ipv6Addr, Options), Malformed> {
    let Some((octets, options)) = body.split_first_chunk::<16>() else {
        return Err(Malformed::Truncated);
    };
    let target = Ipv6Addr::from_octets(*octets);
    if target.is_multicast() {
        return Err(Malformed::Address);
    }
    Ok((target, Options::parse(options)?))
}

const fn flag(is_set: bool, bit: u8) -> u8 {
    if is_set { bit } else { 0 }
}

impl Options {
    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut options = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (kind, option, behind) = split_option(rest)?;
            options.read(kind, option);
            rest = behind;
        }
        Ok(options)
    }

    fn read(&mut self, kind: u8, option: &[u8]) {
        match (kind, option) {
            (option::SOURCE_LINK_LAYER, &[_, _, a, b, c, d, e, f]) => {
                self.source_mac = Some(MacAddr([a, b, c, d, e, f]));
            }
            (option::TARGET_LINK_LAYER, &[_, _, a, b, c, d, e, f]) => {
                self.target_mac = Some(MacAddr([a, b, c, d, e, f]));
            }
            (option::MTU, &[_, _, _, _, a, b, c, d]) => self.mtu = Some(u32::from_be_bytes([a, b, c, d])),
            _ => {}
        }
    }
}

/// The first option: its kind, all of its bytes, and what follows it.
fn split_option(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), Malformed> {
    let &[kind, len, ..] = bytes else { return Err(Malformed::Truncated) };
    if len == 0 {
        return Err(Malformed::Length);
    }
    let (option, behind) = bytes.split_at_checked(usize::from(len) * 8).ok_or(Malformed::Truncated)?;
    Ok((kind, option, behind))
}

impl PrefixInformation {
    /// Reads an option, if it is one of these.
    fn parse(kind: u8, option: &[u8]) -> Option<Self> {
        let &[_, _, prefix_len, flags, v0, v1, v2, v3, p0, p1, p2, p3, _, _, _, _, ref octets @ ..] = option
        else {
            return None;
        };
        let octets = <[u8; 16]>::try_from(octets).ok()?;
        (kind == option::PREFIX_INFORMATION && prefix_len <= 128).then(|| Self {
            prefix: Ipv6Addr::from_octets(octets),
            prefix_len,
            on_link: flags & prefix::ON_LINK != 0,
            autonomous: flags & prefix::AUTONOMOUS != 0,
            valid_lifetime_s: u32::from_be_bytes([v0, v1, v2, v3]),
            preferred_lifetime_s: u32::from_be_bytes([p0, p1, p2, p3]),
        })
    }
}

/// Bytes one behind the other.
struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.buffer[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn put_mac(&mut self, kind: u8, mac: Option<MacAddr>) {
        if let Some(MacAddr(mac)) = mac {
            self.put(&[kind, 1]);
            self.put(&mac);
        }
    }
    fn put_prefix(&mut self, information: &PrefixInformation) {
        let PrefixInformation {
            prefix,
            prefix_len,
            on_link,
            autonomous,
            valid_lifetime_s,
            preferred_lifetime_s,
        } = information;
        let flags = flag(*on_link, prefix::ON_LINK) | flag(*autonomous, prefix::AUTONOMOUS);
        self.put(&[option::PREFIX_INFORMATION, 4, *prefix_len, flags]);
        self.put(&valid_lifetime_s.to_be_bytes());
        self.put(&preferred_lifetime_s.to_be_bytes());
        self.put(&[0; 4]);
        self.put(&prefix.octets());
    }
}
