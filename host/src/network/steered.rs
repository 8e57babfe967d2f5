//! An interface with a program of ours before its kernel's stack, and that program put there again when the interface comes
//! back.

use core::net::IpAddr;
use dma::{Pool, PoolLayout};
use link_afxdp::{AfxdpConfig, AfxdpQueue, Interface};
use netlink::Netlink;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use xdp::{AttachMode, Attachment, CopyMode, Scope, Socket, Steering, XdpError};

use super::addresses::Host;
use super::device::{Facts, Reopened};
use super::{Keep, Network, NetworkError, Queue, Wanted, own};
use crate::choice::Choice;
use crate::holders::{Holders, Transport};
use crate::values::{AddressMode, Cidr};

/// What is to come to us of what arrives on an interface, and how. Decided at start: nobody has to say anything about it
/// again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steer {
    interface: String,
    /// The kernel has the addresses too.
    shared: bool,
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
    transports: Vec<Transport>,
    /// Only in the driver will do.
    native: bool,
    /// Packets leave through a packet socket's rings, and only arrive past the kernel's stack.
    rings: bool,
}

/// The program, before the stack of an interface for as long as this lives.
#[derive(Debug)]
pub(crate) struct Program {
    interface: Interface,
    steering: Arc<Steering>,
    attachment: Attachment,
    mode: AttachMode,
}

impl Steer {
    /// What the kernel calls the interface.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Loads the program and puts it before the stack of the interface, which must be up.
    fn put(&self) -> Result<Program, NetworkError> {
        let Self { interface, shared, addresses, ports, transports, native, rings: _ } = self;
        let interface = Interface::named(interface)?;
        let scope = if *shared { Scope::SharedAddress } else { Scope::OwnAddress };
        let steering = Steering::load(scope, interface.queues)?;
        for ip in addresses {
            steering.add_address(*ip)?;
        }
        for port in ports {
            for transport in transports {
                let transport = match transport {
                    Transport::Tcp => xdp::Transport::Tcp,
                    Transport::Udp => xdp::Transport::Udp,
                };
                steering.add_port(transport, *port)?;
            }
        }
        let modes: &[AttachMode] =
            if *native { &[AttachMode::Native] } else { &[AttachMode::Native, AttachMode::Generic] };
        let (attachment, mode) = attach(&steering, interface.index, modes)?;
        Ok(Program { interface, steering: Arc::new(steering), attachment, mode })
    }

    /// Does so for an interface that came back, with new sockets for `queues` workers, which are in the program's map before
    /// they are bound: what arrives until then is dropped, and not refused by the kernel.
    pub(super) fn reopen(&self, queues: u16) -> Result<(Reopened, Program), NetworkError> {
        if self.shared {
            // Before the kernel has them too, nobody finds us there.
            let wanted: Vec<_> = self.addresses.iter().map(|ip| Cidr { address: *ip, prefix: 0 }).collect();
            Host::look(&mut Netlink::open()?)?.shared(&self.interface, &wanted)?;
        }
        let program = self.put()?;
        let insert = |number: u32, socket: &OwnedFd| program.steering.insert(number, socket.as_fd());
        let mut descriptors = Vec::new();
        let facts = if self.rings {
            let rings = link_packet::Rings::default();
            for (number, queue) in (0..).zip(link_packet::open_through_xdp(&self.interface, queues, rings)?) {
                let [sender, receiver] = queue.into_descriptors();
                insert(number, &receiver)?;
                descriptors.extend([sender, receiver]);
            }
            Facts::Packet { mac: program.interface.mac, mtu: program.interface.mtu }
        } else {
            for number in 0..u32::from(queues) {
                let socket = Socket::create()?;
                insert(number, &socket)?;
                descriptors.push(socket);
            }
            Facts::Afxdp(program.interface)
        };
        Ok((Reopened { descriptors, facts }, program))
    }
}

/// What stands before the stack, and the ports that are held.
pub(super) struct Steered {
    steer: Steer,
    program: Program,
    addresses: Vec<Cidr>,
    holders: Option<Holders>,
}

impl Steered {
    pub(super) fn new(
        host: &Host,
        wanted: &Wanted<'_>,
        native: bool,
        rings: bool,
    ) -> Result<Self, NetworkError> {
        let Wanted { asked, addresses, ports, transports } = wanted;
        let name = asked.link.interface().unwrap_or_default();
        // The interface first: without it an address means nothing.
        Interface::named(name)?;
        let shared = asked.mode == AddressMode::Shared;
        let addresses = if shared { host.shared(name, addresses)? } else { own(host, addresses)? };
        let ips: Vec<IpAddr> = addresses.iter().map(|cidr| cidr.address).collect();
        // The ports before the program: between the two, packets for them are dropped, and nobody is told that they
        // are closed.
        let holders = shared.then(|| Holders::hold(&ips, ports, transports)).transpose()?;
        let steer = Steer {
            interface: name.to_owned(),
            shared,
            addresses: ips,
            ports: ports.to_vec(),
            transports: transports.to_vec(),
            native,
            rings,
        };
        let program = steer.put()?;
        Ok(Self { steer, program, addresses, holders })
    }

    /// Opens the first queue and closes it again: what the driver or the limits refuse is found out while another link can
    /// still be taken, and not in a worker.
    pub(super) fn try_queue(&self, copy_mode: CopyMode) -> Result<(), NetworkError> {
        let config = AfxdpConfig { copy_mode, slots: 64, receive_chunks: 64, ..AfxdpConfig::default() };
        let layout = PoolLayout { large_count: 1, small_count: 1 };
        let pool = Pool::with_chunks(layout, config.chunk_count()).map_err(NetworkError::Memory)?;
        self.queue(0)?.open(&pool, config).map(drop)?;
        Ok(())
    }

    pub(super) fn queue(&self, number: u32) -> Result<AfxdpQueue, XdpError> {
        Ok(AfxdpQueue::new(Socket::create()?, self.program.interface, number))
    }

    /// What brings packets to the queues.
    pub(super) fn steering(&self) -> Arc<Steering> {
        Arc::clone(&self.program.steering)
    }

    /// `what` is the link, with the interface's name to be put between its braces.
    pub(super) fn network(
        self,
        wanted: &Wanted<'_>,
        choice: &Choice,
        queues: Vec<Queue>,
        what: &str,
    ) -> Network {
        let Self { steer, program, addresses, holders } = self;
        let name = wanted.asked.link.interface().unwrap_or_default();
        let place = match program.mode {
            AttachMode::Native => "in the driver",
            AttachMode::Generic => "after the kernel's receive path",
        };
        let whose = if steer.shared { "our ports of the kernel's addresses" } else { "addresses of our own" };
        let what = what.replace("{}", name);
        Network {
            queues,
            addresses,
            device: super::Device::Afxdp(steer),
            interface: name.to_owned(),
            description: format!("{what}, the program {place}; {whose}"),
            choice: choice.clone(),
            keep: Keep { _attachment: Some(program.attachment), _holders: holders, _device: None },
        }
    }
}

/// In the driver if it can, else in the kernel, as far as that is allowed.
fn attach(
    steering: &Steering,
    interface: u32,
    modes: &[AttachMode],
) -> Result<(Attachment, AttachMode), XdpError> {
    let (last, before) = modes.split_last().expect("there is a mode");
    for mode in before {
        if let Ok(attachment) = steering.attach(interface, *mode) {
            return Ok((attachment, *mode));
        }
    }
    steering.attach(interface, *last).map(|attachment| (attachment, *last))
}
