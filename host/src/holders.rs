//! Ports of a shared address, held: a kernel socket for each, which hears nothing and answers nothing.
//!
//! ```text
//!   packet for our port ──▶ XDP program ──▶ us
//!                               │ what it passes: fragments, IP options, a queue without a socket of ours
//!                               ▼
//!                            kernel ──▶ the socket that holds the port ──▶ filter: drop
//! ```
//!
//! Without it the kernel would answer such packets with a reset or an ICMP message, and end connections that are ours.
//! Nobody else can take the port meanwhile; and when we die, however, so do the sockets, and the port is free.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::OwnedFd;

use crate::sys;
use survey::Tree;

/// What a port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Transport {
    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// The sockets. The ports are free when this is dropped.
#[derive(Debug)]
pub struct Holders {
    _sockets: Vec<OwnedFd>,
}

/// A port of a shared address cannot be held: the operator's, in one line.
#[derive(Debug)]
pub enum HolderError {
    /// Somebody else has it.
    Taken {
        /// The port.
        port: SocketAddr,
        /// Of which kind.
        transport: Transport,
        /// Who, as far as can be seen.
        owner: Option<Owner>,
    },
    /// The kernel refused something else.
    Refused {
        /// The port.
        port: SocketAddr,
        /// What it said.
        source: io::Error,
    },
}

impl fmt::Display for HolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { port, transport, owner } => {
                write!(f, "{} port {port} is in use", transport.name())?;
                match owner {
                    Some(Owner { program, process }) => {
                        write!(f, " by {program} (process {process}): stop it, or choose another port")
                    }
                    None => write!(
                        f,
                        " by somebody (`ss -ln{} 'sport = :{}'` shows whom): stop it, or choose another port",
                        if *transport == Transport::Tcp { 't' } else { 'u' },
                        port.port()
                    ),
                }
            }
            Self::Refused { port, source } if is_permission(source) => write!(
                f,
                "port {port} may not be opened ({source}): run as root, or give the program CAP_NET_BIND_SERVICE"
            ),
            Self::Refused { port, source } => write!(f, "cannot hold port {port}: {source}"),
        }
    }
}

impl core::error::Error for HolderError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Taken { .. } => None,
            Self::Refused { source, .. } => Some(source),
        }
    }
}

fn is_permission(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

impl Holders {
    /// Holds these ports of each of these addresses, which the kernel must have.
    ///
    /// # Errors
    /// Somebody has one of them, or we may not.
    pub fn hold(addresses: &[IpAddr], ports: &[u16], transports: &[Transport]) -> Result<Self, HolderError> {
        let ports = addresses.iter().flat_map(|ip| ports.iter().map(|port| SocketAddr::new(*ip, *port)));
        let sockets = ports
            .flat_map(|port| transports.iter().map(move |transport| (port, *transport)))
            .map(|(port, transport)| {
                hold(port, transport).map_err(|errno| match errno {
                    Errno::ADDRINUSE => {
                        HolderError::Taken { port, transport, owner: owner(&Tree::host(), port, transport) }
                    }
                    errno => HolderError::Refused { port, source: errno.into() },
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { _sockets: sockets })
    }
}

fn hold(port: SocketAddr, transport: Transport) -> Result<OwnedFd, Errno> {
    let family = if port.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match transport {
        Transport::Tcp => SocketType::STREAM,
        Transport::Udp => SocketType::DGRAM,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    // Deaf before it has an address: nothing is ever answered.
    sys::drop_everything(&socket)?;
    if port.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if transport == Transport::Tcp {
        // What a server before us left in TIME-WAIT is no obstacle; one that still listens is.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &port)?;
    if transport == Transport::Tcp {
        listen(&socket, 0)?;
    }
    Ok(socket)
}

/// A process that has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub program: String,
    /// Its number.
    pub process: u32,
}

/// Who has a port, as `ss -p` finds out: the socket's inode from one file, whoever holds it from all the others.
fn owner(tree: &Tree, port: SocketAddr, transport: Transport) -> Option<Owner> {
    let files: &[&str] = match transport {
        Transport::Tcp => &["tcp", "tcp6"],
        Transport::Udp => &["udp", "udp6"],
    };
    let inode = files.iter().find_map(|file| {
        let table = tree.read(&format!("/proc/net/{file}"))?;
        table.lines().skip(1).find_map(|line| inode_of(line, port, transport))
    })?;
    let socket = format!("socket:[{inode}]");
    let processes = tree.list("/proc").into_iter().filter_map(|name| name.parse::<u32>().ok());
    processes
        .filter(|process| {
            let descriptors = tree.list(&format!("/proc/{process}/fd"));
            let leads = |fd: &String| tree.leads_to(&format!("/proc/{process}/fd/{fd}"));
            descriptors.iter().any(|fd| leads(fd).as_deref() == Some(&socket))
        })
        .map(|process| Owner {
            program: tree.read(&format!("/proc/{process}/comm")).unwrap_or_else(|| "a program".to_owned()),
            process,
        })
        .next()
}

/// The inode of a line of `/proc/net/tcp` and its like, when it has this port: `0: 0100007F:1F90 00000000:0000 0A …`.
fn inode_of(line: &str, port: SocketAddr, transport: Transport) -> Option<u64> {
    const LISTENING: &str = "0A";
    let mut fields = line.split_whitespace();
    let (address, number) = fields.nth(1)?.split_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    let listens = transport == Transport::Udp || state == LISTENING;
    let anywhere = address.bytes().all(|digit| digit == b'0');
    let same = u16::from_str_radix(number, 16) == Ok(port.port())
        && (anywhere || address.eq_ignore_ascii_case(&words(port.ip())));
    (listens && same).then_some(inode)
}

/// An address as those files write it: words of 32 bits, each in the machine's order.
fn words(address: IpAddr) -> String {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let word = |word: &[u8]| word.iter().rev().map(|octet| format!("{octet:02X}")).collect::<String>();
    octets.chunks(4).map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use core::time::Duration;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    /// Any port of the loopback interface that is free now.
    fn free() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn a_held_port_hears_nothing_and_answers_nothing() {
        let port = free();
        let _held = Holders::hold(&[Ipv4Addr::LOCALHOST.into()], &[port], &[Transport::Tcp]).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let error = TcpStream::connect_timeout(&address, Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "neither accepted nor reset");
    }

    #[test]
    fn a_port_is_free_again_when_it_is_let_go() {
        let port = free();
        drop(Holders::hold(&[Ipv4Addr::LOCALHOST.into()], &[port], &[Transport::Tcp]).unwrap());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let error = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_refused_with_his_name() {
        for everywhere in ["127.0.0.1:0", "0.0.0.0:0"] {
            let theirs = TcpListener::bind(everywhere).unwrap();
            let port = theirs.local_addr().unwrap().port();
            let line = Holders::hold(&[Ipv4Addr::LOCALHOST.into()], &[port], &[Transport::Tcp])
                .unwrap_err()
                .to_string();
            let us = std::process::id().to_string();
            assert!(line.contains(&format!("127.0.0.1:{port} is in use by")) && line.contains(&us), "{line}");
            assert!(!line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn a_port_for_datagrams_is_another_one() {
        let port = free();
        let address = [Ipv4Addr::LOCALHOST.into()];
        let _tcp = Holders::hold(&address, &[port], &[Transport::Tcp]).unwrap();
        let held = Holders::hold(&address, &[port], &[Transport::Udp]).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        client.send(b"anybody?").unwrap();
        // Neither an answer nor ICMP's "port unreachable", which would be ECONNREFUSED.
        assert_eq!(client.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let line = Holders::hold(&address, &[port], &[Transport::Udp]).unwrap_err().to_string();
        assert!(line.contains("UDP port"), "{line}");
        drop(held);
    }

    #[test]
    fn a_port_of_two_families_is_held_in_both() {
        let port = free();
        let both = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        match Holders::hold(&both, &[port], &[Transport::Tcp]) {
            Ok(held) => assert_eq!(held._sockets.len(), 2),
            // A machine without IPv6.
            Err(HolderError::Refused { port, .. }) => assert!(port.is_ipv6()),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn the_kernels_tables_are_read_as_it_writes_them() {
        let line = "   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 40113 1";
        let port = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(inode_of(line, port("127.0.0.1:8080"), Transport::Tcp), Some(40_113));
        assert_eq!(inode_of(line, port("127.0.0.1:8081"), Transport::Tcp), None);
        assert_eq!(inode_of(line, port("127.0.0.2:8080"), Transport::Tcp), None);
        let connected = line.replace(" 0A ", " 01 ");
        assert_eq!(inode_of(&connected, port("127.0.0.1:8080"), Transport::Tcp), None);
        assert_eq!(words("fd00::2".parse().unwrap()), "000000FD000000000000000002000000");
    }
}
