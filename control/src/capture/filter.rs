//! Which packets are captured: those of an address, of a port, or of both.
//!
//! A look at the few fields that matter, of packets that may be anything. What has no such field does not fit: a later
//! fragment has no port, and neither has ARP, which has addresses.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// Written `host ADDRESS`, `port NUMBER`, or both with `and` between them. Without either, everything fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureFilter {
    /// From or to this address; in ARP, about it.
    pub host: Option<IpAddr>,
    /// From or to this port of TCP or UDP.
    pub port: Option<u16>,
}

/// Not a filter: the operator's, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFilter(String);

impl fmt::Display for BadFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; write it as 'host 192.0.2.7', 'port 443' or 'host 2001:db8::7 and port 443'", self.0)
    }
}

impl core::error::Error for BadFilter {}

impl FromStr for CaptureFilter {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let bad = |why: String| Err(BadFilter(why));
        let mut filter = Self::default();
        let mut words = text.split_whitespace();
        let mut is_first = true;
        while let Some(word) = words.next() {
            let word = match (is_first, word) {
                (false, "and") => words.next().unwrap_or_default(),
                (_, word) => word,
            };
            is_first = false;
            let value = words.next();
            let Some(value) = value else { return bad(format!("'{text}' ends after '{word}'")) };
            let twice = match word {
                "host" => {
                    let Ok(host) = value.parse::<IpAddr>() else {
                        return bad(format!("'{value}' is not an IP address"));
                    };
                    filter.host.replace(host).is_some()
                }
                "port" => match value.parse::<u16>() {
                    Ok(port) if port > 0 => filter.port.replace(port).is_some(),
                    _ => return bad(format!("'{value}' is not a port")),
                },
                other => return bad(format!("'{other}' is neither 'host' nor 'port'")),
            };
            if twice {
                return bad(format!("'{word}' is there twice"));
            }
        }
        if filter == Self::default() {
            return bad("the filter is empty".to_owned());
        }
        Ok(filter)
    }
}

impl fmt::Display for CaptureFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host, self.port) {
            (Some(host), Some(port)) => write!(f, "host {host} and port {port}"),
            (Some(host), None) => write!(f, "host {host}"),
            (None, Some(port)) => write!(f, "port {port}"),
            (None, None) => Ok(()),
        }
    }
}

const ETHERTYPE: usize = 12;
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const VLAN: u16 = 0x8100;
const IPV6: u16 = 0x86DD;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// More extension headers than these are nobody's that we talk to.
const EXTENSIONS_MAX: usize = 8;

impl CaptureFilter {
    /// Whether a packet fits, from its Ethernet header on. `headers` need not hold more than its headers.
    #[must_use]
    pub fn fits(&self, headers: &[u8]) -> bool {
        if *self == Self::default() {
            return true;
        }
        let Some(seen) = glance(headers) else { return false };
        self.host.is_none_or(|host| seen.hosts.contains(&host))
            && self.port.is_none_or(|port| seen.ports.is_some_and(|ports| ports.contains(&port)))
    }
}

struct Glance {
    hosts: [IpAddr; 2],
    ports: Option<[u16; 2]>,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn v4_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?).into())
}

fn v6_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?).into())
}

fn glance(frame: &[u8]) -> Option<Glance> {
    let mut at = ETHERTYPE;
    let mut ethertype = u16_at(frame, at)?;
    if ethertype == VLAN {
        at += 4;
        ethertype = u16_at(frame, at)?;
    }
    let packet = frame.get(at + 2..)?;
    match ethertype {
        ARP => Some(Glance { hosts: [v4_at(packet, 14)?, v4_at(packet, 24)?], ports: None }),
        IPV4 => {
            let header_bytes = usize::from(packet.first()? & 0x0F) * 4;
            let is_first = u16_at(packet, 6)? & 0x1FFF == 0;
            let ports = if is_first { ports(*packet.get(9)?, packet.get(header_bytes..)) } else { None };
            Some(Glance { hosts: [v4_at(packet, 12)?, v4_at(packet, 16)?], ports })
        }
        IPV6 => {
            let hosts = [v6_at(packet, 8)?, v6_at(packet, 24)?];
            Some(Glance { hosts, ports: ports_behind_extensions(packet) })
        }
        _ => None,
    }
}

fn ports_behind_extensions(packet: &[u8]) -> Option<[u16; 2]> {
    let (mut next, mut at) = (*packet.get(6)?, 40);
    for _ in 0..EXTENSIONS_MAX {
        let header = packet.get(at..)?;
        match next {
            // Hop-by-hop options, routing, destination options (RFC 8200 §4).
            0 | 43 | 60 => at += 8 + usize::from(*header.get(1)?) * 8,
            44 if u16_at(header, 2)? & 0xFFF8 == 0 => at += 8,
            _ => return ports(next, Some(header)),
        }
        next = *header.first()?;
    }
    None
}

fn ports(protocol: u8, header: Option<&[u8]>) -> Option<[u16; 2]> {
    let header = header.filter(|_| matches!(protocol, TCP | UDP))?;
    Some([u16_at(header, 0)?, u16_at(header, 2)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_filter_is_read_as_it_is_written() {
        for text in ["host 192.0.2.7", "port 443", "host 2001:db8::7 and port 80"] {
            assert_eq!(text.parse::<CaptureFilter>().unwrap().to_string(), text);
        }
        let loose = "port 80 host 2001:db8::7".parse::<CaptureFilter>().unwrap();
        assert_eq!(loose.to_string(), "host 2001:db8::7 and port 80");
    }

    #[test]
    fn what_is_not_a_filter_is_refused_with_a_remedy() {
        for (text, why) in [
            ("", "empty"),
            ("host", "ends after 'host'"),
            ("host example.net", "'example.net' is not an IP address"),
            ("port 0", "'0' is not a port"),
            ("port 65536", "'65536' is not a port"),
            ("tcp port 80", "'tcp' is neither"),
            ("and port 80", "'and' is neither"),
            ("port 80 and", "ends after"),
            ("port 80 or port 81", "'or' is neither"),
            ("port 80 and port 81", "twice"),
            ("host 192.0.2.0/24", "not an IP address"),
        ] {
            let line = text.parse::<CaptureFilter>().unwrap_err().to_string();
            assert!(line.contains(why) && line.contains("write it as"), "{text}: {line}");
        }
    }

    /// An Ethernet header, with a VLAN tag or without.
    fn ethernet(ethertype: u16, vlan: bool, packet: &[u8]) -> Vec<u8> {
        let tag: &[u8] = if vlan { &[0x81, 0, 0, 7] } else { &[] };
        [&[2; 12], tag, &ethertype.to_be_bytes(), packet].concat()
    }

    fn ipv4(protocol: u8, fragment: u16) -> Vec<u8> {
        let mut packet = vec![0x46; 24];
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet[9] = protocol;
        packet[12..20].copy_from_slice(&[192, 0, 2, 7, 198, 51, 100, 9]);
        packet.extend([0x01, 0xBB, 0x9C, 0x40, 0, 0, 0, 0]);
        packet
    }

    fn fits(text: &str, frame: &[u8]) -> bool {
        text.parse::<CaptureFilter>().unwrap().fits(frame)
    }

    #[test]
    fn either_end_of_a_segment_fits_with_options_and_a_tag() {
        for vlan in [false, true] {
            let frame = ethernet(IPV4, vlan, &ipv4(TCP, 0));
            for text in ["host 192.0.2.7", "host 198.51.100.9", "port 443", "port 40000"] {
                assert!(fits(text, &frame), "{text}");
            }
            for text in ["host 192.0.2.8", "port 80", "host 192.0.2.7 and port 80"] {
                assert!(!fits(text, &frame), "{text}");
            }
        }
    }

    #[test]
    fn what_has_no_ports_fits_no_port() {
        for packet in [ipv4(1, 0), ipv4(TCP, 185)] {
            let frame = ethernet(IPV4, false, &packet);
            assert!(fits("host 192.0.2.7", &frame) && !fits("port 443", &frame));
        }
        let mut arp = vec![0; 28];
        arp[14..18].copy_from_slice(&[192, 0, 2, 7]);
        let frame = ethernet(ARP, false, &arp);
        assert!(fits("host 192.0.2.7", &frame) && !fits("port 443", &frame));
    }

    #[test]
    fn ports_are_found_behind_ipv6_extensions() {
        let mut packet = vec![0x60; 40];
        packet[6] = 0;
        packet[8..24].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend([60, 0, 0, 0, 0, 0, 0, 0]);
        packet.extend([TCP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        packet.extend([0x01, 0xBB, 0x9C, 0x40]);
        let frame = ethernet(IPV6, false, &packet);
        assert!(fits("host 2001:db8::7 and port 443", &frame) && !fits("port 1", &frame));
    }

    proptest! {
        #[test]
        fn any_bytes_fit_or_do_not(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = fits("host 192.0.2.7 and port 443", &bytes);
            prop_assert!(CaptureFilter::default().fits(&bytes));
        }
    }
}
