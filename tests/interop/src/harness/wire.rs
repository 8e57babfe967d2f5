//! Two hosts and the wire between them: a server and its kernel on one end, clients on the other.
//!
//! ```text
//! ┌─ the test's namespace ────┐        ┌─ the server's ─────────────────────────────┐
//! │ clients ─▶ kernel ─▶ client0 ══════ server0 ─┬─▶ kernel: .2, with services of its own
//! └───────────────────────────┘  veth  │         └─▶ atlas: .3, or its ports of .2   │
//!                                      └────────────────────────────────────────────┘
//! ```

use super::namespace::Namespace;
use super::process::{Process, output};
use super::server::{Server, binary};
use core::sync::atomic::{AtomicU32, Ordering};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

/// The kernel's addresses at the server's end.
pub(crate) const KERNEL_V4: &str = "10.44.0.2";
pub(crate) const KERNEL_V6: &str = "fd44::2";
/// Addresses that are ours alone.
const OWN: [&str; 4] = ["--addr", "10.44.0.3/24", "--addr", "fd44::3/64"];

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The wire, and the namespace at its far end.
#[derive(Debug)]
pub(crate) struct Wire {
    server: String,
    queues: u32,
    _client: Namespace,
}

impl Wire {
    /// Both ends up, with `queues` queues each.
    pub(crate) fn new(queues: u32) -> Self {
        let client = Namespace::enter();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let server = format!("atlas-far-{}-{number}", std::process::id());
        ip(&format!("netns add {server}"));
        let wire = Self { server, queues, _client: client };
        wire.ip_there("link set lo up");
        wire.plug();
        wire.address_there();
        wire
    }

    /// Makes the wire: both ends up, the kernel at the server's without an address. The server's end has a new hardware
    /// address each time.
    pub(crate) fn plug(&self) {
        let queues = format!("numrxqueues {0} numtxqueues {0}", self.queues);
        let (near, far) = ("address 02:00:00:00:44:01", &self.server);
        ip(&format!("link add client0 {near} {queues} type veth peer name server0 netns {far} {queues}"));
        for (address, family) in [("10.44.0.1/24", ""), ("fd44::1/64", " nodad")] {
            ip(&format!("address add {address} dev client0{family}"));
        }
        ip("link set client0 up");
        self.ip_there("link set server0 up");
        // A checksum that is left to a device that is none is never written: a wire would not carry such packets.
        output(Process::new("ethtool").args(["-K", "client0", "tx", "off"]));
    }

    /// Gives the kernel at the server's end its addresses.
    pub(crate) fn address_there(&self) {
        for (address, family) in [(KERNEL_V4, "/24"), (KERNEL_V6, "/64 nodad")] {
            self.ip_there(&format!("address add {address}{family} dev server0"));
        }
    }

    /// Takes the wire away, with both its ends.
    pub(crate) fn unplug(&self) {
        ip("link delete client0");
    }

    /// A program at the far end.
    pub(crate) fn there(&self, program: impl AsRef<Path>) -> Process {
        Process::new("ip").args(["netns", "exec", &self.server]).arg(program.as_ref())
    }

    /// `ip` at the far end.
    pub(crate) fn ip_there(&self, arguments: &str) -> String {
        output(self.there("ip").args(arguments.split(' '))).stdout_text()
    }

    /// `atlas serve` at the far end.
    pub(crate) fn serve(&self, directory: impl AsRef<Path>, arguments: &[&str]) -> Server {
        Server::ready(self.there(binary()).arg("serve").arg(directory.as_ref()).args(arguments))
    }

    /// The same on one of the links that there are.
    pub(crate) fn serve_on(&self, link: Link, directory: impl AsRef<Path>) -> Server {
        self.serve(directory, &link.arguments())
    }

    /// What `start` begins has its sockets at the far end, wherever it goes on.
    pub(crate) fn begin_there<T: Send>(&self, start: impl FnOnce() -> T + Send) -> T {
        let there = File::open(format!("/run/netns/{}", self.server)).expect("the far namespace");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("needs root");
                start()
            });
            thread.join().expect("it begins")
        })
    }

    /// A counter of the far kernel's TCP, as `/proc/net/snmp` names it.
    pub(crate) fn tcp_counter(&self, name: &str) -> u64 {
        let text = output(self.there("cat").args(["/proc/net/snmp"])).stdout_text();
        let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
        let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
        let at = names.split(' ').position(|known| known == name).expect("a counter");
        values.split(' ').nth(at).and_then(|value| value.parse().ok()).expect("a number")
    }

    /// Whether a program stands before the far kernel's stack.
    pub(crate) fn has_program(&self) -> bool {
        self.ip_there("link show dev server0").contains("prog/xdp")
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Whatever fails here, the namespaces around the test program end with it.
        let _ = Command::new("ip").args(["netns", "delete", &self.server]).status();
    }
}

/// A link of the server's, and whose the addresses on it are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    PacketOwn,
    PacketShared,
    AfxdpOwn,
    AfxdpShared,
}

impl Link {
    /// As `serve` takes it.
    pub(crate) fn arguments(self) -> Vec<&'static str> {
        let (link, own) = match self {
            Self::PacketOwn => ("packet:server0", true),
            Self::PacketShared => ("packet:server0", false),
            Self::AfxdpOwn => ("afxdp:server0", true),
            Self::AfxdpShared => ("afxdp:server0", false),
        };
        let mut arguments = vec!["--link", link, "--admin", "127.0.0.1:9464"];
        if own {
            arguments.extend(OWN);
        } else {
            arguments.extend(["--address-mode", "shared"]);
        }
        arguments
    }
}

fn ip(arguments: &str) {
    output(Process::new("ip").args(arguments.split(' ')));
}
