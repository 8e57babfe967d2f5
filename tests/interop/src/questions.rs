//! Namestorm on every link there is: asked by three clients, and by datagrams that no client sends.

use crate::clients::dig::Zones;
use crate::harness::process::output;
use crate::harness::server::{IPV4, IPV6};
use crate::harness::wire::{KERNEL_V4, KERNEL_V6, Link, Wire};
use crate::harness::{Namespace, Process, Server, eventually};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use rustix::net::{
    AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with,
};
use std::net::UdpSocket;

/// The addresses that are a server's own on a wire.
const OWN_V4: &str = "10.44.0.3";
const OWN_V6: &str = "fd44::3";

/// Asks one question with each client, over both transports; each must have the answer.
fn every_client_has_the_answer(at: &str) {
    for tcp in [false, true] {
        let with = if tcp { "+tcp" } else { "+notcp" };
        let at = format!("@{at}");
        let question = ["www.example", "AAAA"];
        let dig = Process::new("dig").args(["+tries=3", "+time=3", "+short", with, &at]).args(question);
        let kdig = Process::new("kdig").args(["+retry=3", "+time=3", "+short", with, &at]).args(question);
        let drill = Process::new("drill").args([if tcp { "-t" } else { "-u" }, &at]).args(question);
        for (client, process) in [("dig", dig), ("kdig", kdig), ("drill", drill)] {
            let text = output(process).stdout_text();
            let records: Vec<&str> =
                text.lines().filter(|line| !line.starts_with(';') && !line.is_empty()).collect();
            assert!(
                records.len() == 1 && records[0].ends_with("2001:db8::7"),
                "{client} {with} {at}: {text}"
            );
        }
    }
}

#[test]
#[ignore = "needs root"]
fn dig_kdig_and_drill_have_their_answers_through_a_tap_device() {
    let _namespace = Namespace::enter();
    let zones = Zones::new();
    let server = zones.serve(&[]);
    [IPV4, IPV6].into_iter().for_each(every_client_has_the_answer);
    server.interrupt().success();
}

/// A server at the far end of a wire, and its addresses. Dropped in the order of the fields.
struct Far {
    server: Server,
    addresses: [IpAddr; 2],
    _zones: Zones,
    wire: Wire,
}

impl Far {
    fn on(link: Link) -> Self {
        let wire = Wire::new(1);
        let zones = Zones::new();
        let zone = format!("example={}", zones.file("example").display());
        let program = crate::harness::server::program("NAMESTORM_BIN", "namestorm");
        let process = wire.there(program).args(["serve", "--zone", &zone]).args(link.arguments());
        let server = Server::ready_for(process, &["dns://"]);
        let shared = matches!(link, Link::PacketShared | Link::AfxdpShared);
        let (v4, v6) = if shared { (KERNEL_V4, KERNEL_V6) } else { (OWN_V4, OWN_V6) };
        let addresses = [v4, v6].map(|text| text.parse().expect("an address"));
        Self { server, addresses, _zones: zones, wire }
    }

    /// A counter of messages that were not answered.
    fn dropped(&self, reason: &str) -> u64 {
        let text =
            output(self.wire.there("curl").args(["-s", "http://127.0.0.1:9464/metrics"])).stdout_text();
        let label = format!("reason=\"{reason}\"}}");
        let line = text.lines().find(|line| line.contains("queries_dropped_total") && line.contains(&label));
        let value = line.and_then(|line| line.rsplit(' ').next()).expect("a counter");
        value.split('.').next().and_then(|whole| whole.parse().ok()).expect("a number")
    }
}

fn clients_have_their_answers(link: Link) {
    let far = Far::on(link);
    far.addresses.iter().for_each(|address| every_client_has_the_answer(&address.to_string()));
    far.server.interrupt().success();
}

/// A question for `www.example AAAA`.
const QUESTION: &[u8] = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x03www\x07example\0\0\x1c\0\x01";

/// What is done to a datagram before it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oddity {
    None,
    /// Its checksum is of another one.
    BadChecksum,
    /// IPv4: four bytes of options; IPv6: a header of options for the destination. All of them padding.
    Options,
    /// It comes in two pieces.
    Fragments,
}

/// A socket for answers, and one for packets with headers of our making.
struct Odd {
    answers: UdpSocket,
    raw: std::os::fd::OwnedFd,
    from: SocketAddr,
    to: SocketAddr,
}

impl Odd {
    fn new(to: IpAddr) -> Self {
        let near: IpAddr = match to {
            IpAddr::V4(_) => Ipv4Addr::new(10, 44, 0, 1).into(),
            IpAddr::V6(_) => "fd44::1".parse::<Ipv6Addr>().expect("an address").into(),
        };
        let answers = UdpSocket::bind((near, 0)).expect("a port");
        answers.set_read_timeout(Some(Duration::from_millis(1_500))).expect("a socket of ours");
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let raw: Option<Protocol> = Some(ipproto::RAW);
        let raw = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, raw).expect("needs root");
        let from = answers.local_addr().expect("it is bound");
        Self { answers, raw, from, to: SocketAddr::new(to, 53) }
    }

    fn send(&self, packet: &[u8]) {
        // A raw socket's address has no port.
        let to = SocketAddr::new(self.to.ip(), 0);
        sendto(&self.raw, packet, SendFlags::empty(), &to).expect("the kernel sends it");
    }

    /// Sends the question once, and says whether it was answered.
    fn ask(&self, oddity: Oddity) -> bool {
        let datagram = self.datagram(oddity == Oddity::BadChecksum);
        match oddity {
            Oddity::Fragments => {
                let (first, second) = datagram.split_at(16);
                self.send(&self.packet(first, Some((0, true)), false));
                self.send(&self.packet(second, Some((16, false)), false));
            }
            _ => self.send(&self.packet(&datagram, None, oddity == Oddity::Options)),
        }
        let mut answer = [0; 512];
        match self.answers.recv_from(&mut answer) {
            Ok((bytes, from)) => {
                assert_eq!((from, &answer[..2]), (self.to, &QUESTION[..2]));
                assert!(answer[..bytes].windows(2).any(|end| end == [0, 7]), "the address ends so");
                true
            }
            Err(_) => false,
        }
    }

    fn datagram(&self, bad_checksum: bool) -> Vec<u8> {
        let length = u16::try_from(8 + QUESTION.len()).expect("a short question");
        let mut datagram = Vec::new();
        for field in [self.from.port(), self.to.port(), length, 0] {
            datagram.extend(field.to_be_bytes());
        }
        datagram.extend(QUESTION);
        let mut summed = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
            (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
            _ => unreachable!("both of one family"),
        };
        summed.extend([0, 17]);
        summed.extend(length.to_be_bytes());
        summed.extend(&datagram);
        let checksum = checksum(&summed) ^ if bad_checksum { 0x0100 } else { 0 };
        datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
        datagram
    }

    /// The packet around a piece of a datagram: where the piece begins, and whether more follow.
    fn packet(&self, piece: &[u8], fragment: Option<(u16, bool)>, options: bool) -> Vec<u8> {
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let (at, more) = fragment.unwrap_or((0, false));
                let words: u8 = if options { 6 } else { 5 };
                // Lengths and checksum are the kernel's to write.
                let mut packet = vec![0x40 | words, 0, 0, 0, 0x77, 0x01];
                packet.extend(((at / 8) | if more { 0x2000 } else { 0 }).to_be_bytes());
                packet.extend([64, 17, 0, 0]);
                packet.extend([from.octets(), to.octets()].concat());
                packet.extend(if options { &[1, 1, 1, 0][..] } else { &[] });
                packet.extend(piece);
                packet
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let mut extension = Vec::new();
                if let Some((at, more)) = fragment {
                    extension.extend([17, 0]);
                    extension.extend((at | u16::from(more)).to_be_bytes());
                    extension.extend([0, 0, 0x77, 0x01]);
                } else if options {
                    // PadN over six bytes.
                    extension.extend([17, 0, 1, 4, 0, 0, 0, 0]);
                }
                let next = match (fragment, options) {
                    (Some(_), _) => 44,
                    (None, true) => 60,
                    (None, false) => 17,
                };
                let length = u16::try_from(extension.len() + piece.len()).expect("a short piece");
                let mut packet = vec![0x60, 0, 0, 0];
                packet.extend(length.to_be_bytes());
                packet.extend([next, 64]);
                packet.extend([from.octets(), to.octets()].concat());
                packet.extend(extension);
                packet.extend(piece);
                packet
            }
            _ => unreachable!("both of one family"),
        }
    }
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).expect("folded")
}

fn odd_datagrams_are_answered_or_counted(link: Link) {
    let far = Far::on(link);
    let own = matches!(link, Link::PacketOwn | Link::AfxdpOwn);
    for address in far.addresses {
        let odd = Odd::new(address);
        // The first finds the way; and shows that what is not odd is answered.
        eventually("an ordinary question is answered", || odd.ask(Oddity::None));

        let before = far.dropped("malformed");
        assert!(!odd.ask(Oddity::BadChecksum), "{link:?} {address}");
        assert_eq!(far.dropped("malformed"), before + 1, "{link:?} {address}: a bad checksum is counted");

        // At addresses that are the kernel's too, what is out of the ordinary is the kernel's, whose port says nothing.
        assert_eq!(odd.ask(Oddity::Options), own, "{link:?} {address}: options");
        let before = far.dropped("fragment");
        assert!(!odd.ask(Oddity::Fragments), "{link:?} {address}: fragments");
        let pieces = if own { 2 } else { 0 };
        assert_eq!(far.dropped("fragment"), before + pieces, "{link:?} {address}: fragments are counted");
        assert!(odd.ask(Oddity::None), "and it goes on");
    }
    far.server.interrupt().success();
}

macro_rules! on_every_link {
    ($($promise:ident)+) => {$(
        mod $promise {
            use super::Link;

            #[test]
            #[ignore = "needs root"]
            fn on_a_packet_socket_at_an_address_of_its_own() {
                super::$promise(Link::PacketOwn);
            }

            #[test]
            #[ignore = "needs root"]
            fn on_a_packet_socket_at_the_kernels_address() {
                super::$promise(Link::PacketShared);
            }

            #[test]
            #[ignore = "needs root"]
            fn on_af_xdp_at_an_address_of_its_own() {
                super::$promise(Link::AfxdpOwn);
            }

            #[test]
            #[ignore = "needs root"]
            fn on_af_xdp_at_the_kernels_address() {
                super::$promise(Link::AfxdpShared);
            }
        }
    )+};
}

on_every_link! {
    clients_have_their_answers
    odd_datagrams_are_answered_or_counted
}
