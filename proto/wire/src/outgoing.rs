//! The headers of a TCP segment or superframe that leaves: Ethernet, IP and TCP in one go.
//!
//! ```text
//! 0          l3       l4                   len
//! ├ Ethernet ┼── IP ──┼─ TCP, options ─────┤ payload, elsewhere
//!                          ↑ l4 + checksum_field
//! ```

use crate::checksum::{self, Sum};
use crate::tcp::{self, CHECKSUM_OFFSET, SeqNum};
use crate::{EtherType, MacAddr, Protocol, ethernet, ipv4, ipv6};
use core::net::{IpAddr, Ipv4Addr};

#[cfg(test)]
mod tests;

/// The longest headers that [`emit_tcp`] writes, in bytes: a VLAN tag, IPv6 with a jumbo payload option, all TCP options.
pub const HEADERS_BYTES_MAX: usize = ethernet::HEADER_BYTES
    + ethernet::VLAN_TAG_BYTES
    + ipv6::HEADER_BYTES
    + ipv6::JUMBO_BYTES
    + tcp::HEADER_BYTES_MAX;

const _: () = assert!(HEADERS_BYTES_MAX <= 128, "links reserve 128 bytes for headers");

/// All that the headers of a connection's packets have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// Our MAC address.
    pub local_mac: MacAddr,
    /// The next hop's: for a server, whoever the peer's packets came from.
    pub peer_mac: MacAddr,
    /// The VLAN identifier, when frames carry a tag.
    pub vlan: Option<u16>,
    /// Our IP address.
    pub source: IpAddr,
    /// The peer's; of the same family.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// IPv6's flow label, 20 bits; constant for a connection (RFC 6437 §3).
    pub flow_label: u32,
    /// IPv4's identification; any number will do, since don't-fragment is set (RFC 6864 §4.1).
    pub identification: u16,
}

impl Path {
    /// The usual hop limit (RFC 1700's successor registry at IANA).
    pub const HOP_LIMIT: u8 = 64;

    /// A path with a hop limit of 64 and zeros in every field that may be zero.
    #[must_use]
    pub const fn new(local_mac: MacAddr, peer_mac: MacAddr, source: IpAddr, destination: IpAddr) -> Self {
        Self {
            local_mac,
            peer_mac,
            vlan: None,
            source,
            destination,
            hop_limit: Self::HOP_LIMIT,
            traffic_class: 0,
            flow_label: 0,
            identification: 0,
        }
    }

    /// Ethernet and IP headers before the TCP header, in bytes, for packets that are not superframes.
    #[must_use]
    pub const fn len_before_tcp(&self) -> usize {
        let ethernet =
            ethernet::HEADER_BYTES + if self.vlan.is_some() { ethernet::VLAN_TAG_BYTES } else { 0 };
        ethernet + if self.source.is_ipv4() { ipv4::HEADER_BYTES_MIN } else { ipv6::HEADER_BYTES }
    }
}

/// Who computes the TCP checksum.
#[derive(Clone, Copy, Debug)]
pub enum Checksum {
    /// The link: the field gets the pseudo header's sum, not complemented, as CHECKSUM_PARTIAL and virtio-net want it.
    Offload,
    /// We do: here is the sum of the payload ([`Sum::of_parts`]).
    Software(Sum),
}

/// Where things stand in the headers that were written, in bytes from the frame's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeaderLayout {
    /// How long the headers are: where the payload begins.
    pub len: usize,
    /// The IP header.
    pub l3: u16,
    /// The TCP header: where the checksum's cover begins.
    pub l4: u16,
    /// The checksum field, counted from `l4`.
    pub checksum_field: u16,
}

impl HeaderLayout {
    /// Makes the headers of a segment with `payload_bytes` of payload those of the segment behind it, of the same length:
    /// its sequence number is higher by as much, and IPv4's identification by one. The TCP checksum, if it is left to
    /// the link, holds for both.
    ///
    /// # Panics
    /// When `headers` are not those that [`emit_tcp`] described so.
    pub fn advance(&self, headers: &mut [u8], payload_bytes: u32) {
        let (ip, tcp) = headers[usize::from(self.l3)..].split_at_mut(usize::from(self.l4 - self.l3));
        if ip[0] >> 4 == 4 {
            let ip = ip.first_chunk_mut::<{ ipv4::HEADER_BYTES_MIN }>().expect("an IPv4 header");
            let identification = u16::from_be_bytes([ip[4], ip[5]]);
            let next = identification.wrapping_add(1);
            let checksum = checksum::update(u16::from_be_bytes([ip[10], ip[11]]), identification, next);
            ip[4..6].copy_from_slice(&next.to_be_bytes());
            ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        let tcp = tcp.first_chunk_mut::<{ tcp::HEADER_BYTES_MIN }>().expect("a TCP header");
        let seq = SeqNum(u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]])) + payload_bytes;
        tcp[4..8].copy_from_slice(&seq.0.to_be_bytes());
    }

    /// Finishes a checksum that was left to the link, as the link would: `payload` is the sum of what stands behind
    /// `headers`.
    ///
    /// # Panics
    /// When `headers` are not those that [`emit_tcp`] described so.
    pub fn finish_checksum(&self, headers: &mut [u8], payload: Sum) {
        let tcp = &mut headers[usize::from(self.l4)..self.len];
        // The pseudo header's sum stands in the field, and is summed with the rest.
        let checksum = Sum::of(tcp).combine(payload).finish();
        tcp[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Writes the headers of a segment with `payload_bytes` of payload to the start of `buffer`.
///
/// Packets never fragment: IPv4's don't-fragment is set. A superframe longer than IP's length field can tell (BIG TCP)
/// gets an IPv4 total length of zero, or IPv6's jumbo payload option; ask for one only where the link takes it.
///
/// # Panics
/// When `buffer` is shorter than the headers ([`HEADERS_BYTES_MAX`] bytes always suffice), when the addresses are of two
/// families, when such a superframe is not to be checksummed by the link, or when `payload_bytes` exceeds 2³¹.
#[inline]
pub fn emit_tcp(
    buffer: &mut [u8],
    path: &Path,
    header: &tcp::Header,
    payload_bytes: usize,
    checksum: Checksum,
) -> HeaderLayout {
    if let (IpAddr::V4(source), IpAddr::V4(destination), None) = (path.source, path.destination, path.vlan)
        && let Ok(payload_bytes) = u16::try_from(payload_bytes)
        && payload_bytes <= USUAL_PAYLOAD_BYTES_MAX
        && let Some((fixed, rest)) = buffer.split_first_chunk_mut::<USUAL_BYTES>()
    {
        return emit_usual(fixed, rest, path, [source, destination], header, payload_bytes, checksum);
    }
    emit_any(buffer, path, header, payload_bytes, checksum)
}

/// Ethernet without a tag, IPv4 and TCP: where nearly all headers end, and the others' options begin.
const USUAL_BYTES: usize = ethernet::HEADER_BYTES + ipv4::HEADER_BYTES_MIN + tcp::HEADER_BYTES_MIN;

/// What IPv4 can tell, whatever options there are.
#[expect(clippy::cast_possible_truncation, reason = "sixteen bits, less a little")]
const USUAL_PAYLOAD_BYTES_MAX: u16 =
    (ipv4::PACKET_BYTES_MAX - ipv4::HEADER_BYTES_MIN - tcp::HEADER_BYTES_MAX) as u16;

/// [`emit_any`] where everything has its place before anything is known of the segment: each word is written once, and
/// summed on its way.
#[inline]
fn emit_usual(
    fixed: &mut [u8; USUAL_BYTES],
    rest: &mut [u8],
    path: &Path,
    addresses: [Ipv4Addr; 2],
    header: &tcp::Header,
    payload_bytes: u16,
    checksum: Checksum,
) -> HeaderLayout {
    const L3: usize = ethernet::HEADER_BYTES;
    const L4: usize = L3 + ipv4::HEADER_BYTES_MIN;
    let tcp::Header { source_port, destination_port, seq, ack, flags, window, urgent, options } = header;
    fixed[..6].copy_from_slice(&path.peer_mac.0);
    fixed[6..12].copy_from_slice(&path.local_mac.0);
    fixed[12..L3].copy_from_slice(&EtherType::IPV4.0.to_be_bytes());
    let mut put = |at: usize, word: u32| fixed[at..at + 4].copy_from_slice(&word.to_be_bytes());

    let options_bytes = options.emit(rest);
    let header_bytes = place(tcp::HEADER_BYTES_MIN + options_bytes);
    let segment_bytes = header_bytes + payload_bytes;
    let total = segment_bytes + place(ipv4::HEADER_BYTES_MIN);
    let [source, destination] = addresses.map(Ipv4Addr::to_bits);
    let addresses = u64::from(source) + u64::from(destination);
    let version = word(u16::from_be_bytes([0x45, path.traffic_class]), total);
    let fragments = word(path.identification, ipv4::DONT_FRAGMENT);
    let hops = u16::from_be_bytes([path.hop_limit, Protocol::TCP.0]);
    let ip = addresses + u64::from(version) + u64::from(fragments) + u64::from(hops);
    put(L3, version);
    put(L3 + 4, fragments);
    put(L3 + 8, word(hops, !checksum::fold(ip)));
    put(L3 + 12, source);
    put(L3 + 16, destination);

    // The length in words stands in the upper nibble: it is a multiple of four, at most 60.
    let ports = word(*source_port, *destination_port);
    let control = word(header_bytes << 10 | u16::from(flags.bits()), *window);
    put(L4, ports);
    put(L4 + 4, seq.0);
    put(L4 + 8, ack.0);
    put(L4 + 12, control);
    let pseudo = addresses + u64::from(Protocol::TCP.0) + u64::from(segment_bytes);
    let field = match checksum {
        Checksum::Offload => checksum::fold(pseudo),
        Checksum::Software(payload) => {
            let words = u64::from(ports) + u64::from(seq.0) + u64::from(ack.0) + u64::from(control);
            let behind =
                if options_bytes == 0 { payload } else { Sum::of(&rest[..options_bytes]).combine(payload) };
            !checksum::fold(pseudo + words + u64::from(*urgent) + u64::from(behind.fold()))
        }
    };
    put(L4 + 16, word(field, *urgent));
    HeaderLayout {
        len: USUAL_BYTES + options_bytes,
        l3: place(L3),
        l4: place(L4),
        checksum_field: place(CHECKSUM_OFFSET),
    }
}

/// Headers have at most 128 bytes.
#[expect(clippy::cast_possible_truncation, reason = "at most 128")]
const fn place(offset: usize) -> u16 {
    offset as u16
}

/// Two fields of 16 bits side by side.
const fn word(first: u16, second: u16) -> u32 {
    (first as u32) << 16 | second as u32
}

/// [`emit_tcp`], whatever the addresses, the tag and the length.
fn emit_any(
    buffer: &mut [u8],
    path: &Path,
    header: &tcp::Header,
    payload_bytes: usize,
    checksum: Checksum,
) -> HeaderLayout {
    let Path {
        local_mac,
        peer_mac,
        vlan,
        source,
        destination,
        hop_limit,
        traffic_class,
        flow_label,
        identification,
    } = *path;
    let ether_type = if source.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
    let l3 = ethernet::Header { destination: peer_mac, source: local_mac, vlan, ether_type }.emit(buffer);

    let header_bytes = header.len();
    assert!(payload_bytes <= 1 << 31, "a superframe of {payload_bytes} bytes");
    let segment_bytes = header_bytes + payload_bytes;
    let segment_bytes_u32 = u32::try_from(segment_bytes).expect("at most 2³¹ and 60");
    let (ip_bytes, pseudo) = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let ip = ipv4::Header {
                source,
                destination,
                protocol: Protocol::TCP,
                ttl: hop_limit,
                traffic_class,
                identification,
                dont_fragment: true,
            };
            let pseudo = Sum::pseudo_v4(source, destination, Protocol::TCP, segment_bytes_u32);
            (ip.emit(&mut buffer[l3..], segment_bytes), pseudo)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let ip = ipv6::Header {
                source,
                destination,
                protocol: Protocol::TCP,
                hop_limit,
                traffic_class,
                flow_label,
            };
            let pseudo = Sum::pseudo_v6(source, destination, Protocol::TCP, segment_bytes_u32);
            (ip.emit(&mut buffer[l3..], segment_bytes), pseudo)
        }
        _ => panic!("a path from {source} to {destination}"),
    };

    let l4 = l3 + ip_bytes;
    let tcp_header = &mut buffer[l4..l4 + header_bytes];
    header.emit(tcp_header);
    let checksum = match checksum {
        Checksum::Offload => pseudo.fold(),
        Checksum::Software(payload) => {
            assert!(
                ip_bytes + segment_bytes <= ipv4::PACKET_BYTES_MAX,
                "only a link that cuts superframes takes this one"
            );
            pseudo.then(tcp_header).combine(payload).finish()
        }
    };
    tcp_header[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&checksum.to_be_bytes());

    HeaderLayout {
        len: l4 + header_bytes,
        l3: place(l3),
        l4: place(l4),
        checksum_field: place(CHECKSUM_OFFSET),
    }
}
