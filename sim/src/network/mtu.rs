//! A line with a smaller MTU, behind a router that says so.

use clock::Instant;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Carried, Device, End, Faults, Frame};
use crate::packet::{ETHERNET_BYTES, address_sum, emit_network_layer, finish, sum};

/// The router's own addresses: nobody's else.
const ROUTER_V4: Ipv4Addr = Ipv4Addr::new(10, 254, 254, 254);
const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0xFD00, 0, 0, 0xFE, 0, 0, 0, 0xFE);

const ICMPV4: u8 = 1;
const ICMPV6: u8 = 58;

/// From `from` on, refuses packets above `mtu` and tells their sender (RFC 1191 §4, RFC 4443 §3.2).
#[derive(Debug)]
pub struct Mtu {
    /// What is behind.
    pub inner: Box<dyn Device>,
    /// The largest IP packet that passes, in bytes.
    pub mtu: u16,
    /// Since when.
    pub from: Instant,
    /// A black hole: says nothing.
    pub silent: bool,
    /// How many so far.
    pub refused: u64,
}

impl Device for Mtu {
    fn carry(&mut self, now: Instant, frame: Frame, out: &mut Vec<Carried>) {
        if now < self.from || frame.len() <= ETHERNET_BYTES + usize::from(self.mtu) {
            return self.inner.carry(now, frame, out);
        }
        self.refused += 1;
        if !self.silent
            && let Some(message) = too_big(&frame, self.mtu)
        {
            out.push(Carried { at: now, to: End::Sender, frame: message });
        }
    }

    fn heal(&mut self) {
        // A black hole cannot be found out by a sender that only listens to ICMP; a healthy path has none.
        self.silent = false;
        self.inner.heal();
    }

    fn report(&self, faults: &mut Faults) {
        faults.refused += self.refused;
        self.inner.report(faults);
    }
}

/// The message about `frame`, to its sender; `None` when it is not IP.
fn too_big(frame: &[u8], mtu: u16) -> Option<Frame> {
    let destination_mac = frame.get(6..12)?;
    let source_mac = frame.get(..6)?;
    let ip = frame.get(ETHERNET_BYTES..)?;
    let mut message = Vec::with_capacity(128);
    message.extend_from_slice(destination_mac);
    message.extend_from_slice(source_mac);
    match ip.first()? >> 4 {
        4 => {
            let sender = Ipv4Addr::from(*ip.get(12..16)?.first_chunk::<4>()?);
            // The IP header and eight bytes more: ports and sequence number.
            let quote = ip.get(..28)?;
            emit_network_layer(
                &mut message,
                IpAddr::V4(ROUTER_V4),
                IpAddr::V4(sender),
                ICMPV4,
                8 + quote.len(),
            );
            let start = message.len();
            let [high, low] = mtu.to_be_bytes();
            message.extend_from_slice(&[3, 4, 0, 0, 0, 0, high, low]);
            message.extend_from_slice(quote);
            let checksum = finish(sum(&message[start..]));
            message[start + 2..start + 4].copy_from_slice(&checksum.to_be_bytes());
        }
        6 => {
            let sender = Ipv6Addr::from(*ip.get(8..24)?.first_chunk::<16>()?);
            // As much as fits the minimum MTU.
            let quote = &ip[..ip.len().min(1_280 - 40 - 8)];
            let bytes = 8 + quote.len();
            emit_network_layer(&mut message, IpAddr::V6(ROUTER_V6), IpAddr::V6(sender), ICMPV6, bytes);
            let start = message.len();
            let [high, low] = mtu.to_be_bytes();
            message.extend_from_slice(&[2, 0, 0, 0, 0, 0, high, low]);
            message.extend_from_slice(quote);
            let pseudo = address_sum(IpAddr::V6(ROUTER_V6))
                + address_sum(IpAddr::V6(sender))
                + u64::from(ICMPV6)
                + bytes as u64;
            let checksum = finish(pseudo + sum(&message[start..]));
            message[start + 2..start + 4].copy_from_slice(&checksum.to_be_bytes());
        }
        _ => return None,
    }
    Some(message)
}
