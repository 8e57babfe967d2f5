//! Where packets come from: the device, its addresses and ours.
//!
//! ```text
//!   tap        kernel 10.77.0.1/24 ── atlas0 ══ one queue per worker ══ 10.77.0.2 the engine
//!   veth       kernel 10.77.0.1/24 ── atlas0 ── atlas1 ══ packet sockets ══ 10.77.0.2       in a namespace without TAP
//!   packet     the network ── eth1 ══ packet sockets ══ our address; the kernel keeps its own
//!   afxdp      the network ── eth1 ── program ══ AF_XDP sockets ══ our address, or our ports of the kernel's
//! ```

mod addresses;
mod device;
mod steered;

use core::fmt;
use core::net::IpAddr;
use dma::{Pool, RegionError};
use link_afxdp::{AfxdpConfig, AfxdpError, AfxdpQueue};
use link_packet::{PacketConfig, PacketError, PacketQueue, PacketSocket};
use link_tap::{TapDevice, TapError, TapQueue, TapSetup};
use netlink::{LinkChange, Netlink, NetlinkError};
use platform::Link as _;
use std::sync::Arc;
use survey::Survey;
use vnet::VnetConfig;
use xdp::{Attachment, CopyMode, Steering, XdpError};

use crate::choice::{self, Asked, Candidate, Choice};
use crate::holders::{HolderError, Holders, Transport};
use crate::link::HostLink;
use crate::values::{AddressMode, Cidr, LinkChoice};
use addresses::{Host, Turnstile};
pub use device::Device;
pub(crate) use device::{Facts, Reopened};
pub(crate) use steered::Program;
pub use steered::Steer;
use steered::Steered;

/// The two ends of the veth pair in a namespace where nobody else has names.
const VETH_KERNEL: &str = "atlas0";
const VETH_OURS: &str = "atlas1";

/// Why there is no network. The operator's or the machine's; one line each.
#[derive(Debug)]
pub enum NetworkError {
    /// The TAP device.
    Tap(TapError),
    /// The packet socket.
    Packet(PacketError),
    /// AF_XDP: the interface.
    Afxdp(AfxdpError),
    /// AF_XDP: the program or a socket.
    Xdp(XdpError),
    /// AF_XDP: memory to try it with.
    Memory(RegionError),
    /// A port of a shared address.
    Port(HolderError),
    /// What was asked for cannot be had here: the reasons, each with its remedy.
    Choice(String),
    /// The interface has no address that others could reach.
    NothingToShare {
        /// The interface.
        interface: String,
    },
    /// An address that was to be shared is not the interface's.
    NotShared {
        /// That was asked for.
        address: IpAddr,
        /// That does not have it.
        interface: String,
        /// That it has.
        theirs: String,
    },
    /// Something else about interfaces and addresses.
    Netlink(NetlinkError),
    /// The kernel itself has this address.
    Taken {
        /// That was asked for.
        address: IpAddr,
        /// That has it.
        interface: String,
    },
    /// The kernel would send packets for this network elsewhere.
    Routed {
        /// That was asked for.
        network: Cidr,
        /// That leads there.
        interface: String,
    },
    /// Every network that we try has a route.
    NoNetwork,
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tap(error) => error.fmt(f),
            Self::Packet(error) => error.fmt(f),
            Self::Afxdp(error) => error.fmt(f),
            Self::Xdp(error) => error.fmt(f),
            Self::Memory(error) => error.fmt(f),
            Self::Port(error) => error.fmt(f),
            Self::Choice(reasons) => f.write_str(reasons),
            Self::NothingToShare { interface } => write!(
                f,
                "{interface} has no address that could be shared: give it one (`ip address add IP/PREFIX dev \
                 {interface}`), or give --addr one of our own"
            ),
            Self::NotShared { address, interface, theirs } => write!(
                f,
                "{address} is no address of {interface}, which has {theirs}: choose one of those, or use \
                 --address-mode own"
            ),
            Self::Netlink(error) => error.fmt(f),
            Self::Taken { address, interface } => write!(
                f,
                "{address} is an address of this machine already (on {interface}); give another with --addr"
            ),
            Self::Routed { network, interface } => write!(
                f,
                "the network of {network} is reached through {interface}; give --addr one that is free, or use \
                 --link packet:{interface}"
            ),
            Self::NoNetwork => {
                f.write_str("every network that could be used has a route; choose one with --addr IP/PREFIX")
            }
        }
    }
}

impl core::error::Error for NetworkError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Tap(error) => Some(error),
            Self::Packet(error) => Some(error),
            Self::Afxdp(error) => Some(error),
            Self::Xdp(error) => Some(error),
            Self::Memory(error) => Some(error),
            Self::Port(error) => Some(error),
            Self::Netlink(error) => Some(error),
            Self::Choice(_)
            | Self::NothingToShare { .. }
            | Self::NotShared { .. }
            | Self::Taken { .. }
            | Self::Routed { .. }
            | Self::NoNetwork => None,
        }
    }
}

macro_rules! from_error {
    ($($variant:ident($error:ty)),+ $(,)?) => {$(
        impl From<$error> for NetworkError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        }
    )+};
}

from_error!(
    Tap(TapError),
    Packet(PacketError),
    Afxdp(AfxdpError),
    Xdp(XdpError),
    Port(HolderError),
    Netlink(NetlinkError),
);

/// A queue on its way to its worker.
#[derive(Debug)]
pub enum Queue {
    /// Of a TAP device.
    Tap(TapQueue),
    /// Of a network interface, without rings.
    Socket(PacketSocket),
    /// Of a network interface.
    Packet(PacketQueue),
    /// Of a network interface, received past its kernel's stack.
    Steered {
        /// The sockets.
        queue: PacketQueue,
        /// The number of the device's queue.
        number: u32,
        /// What brings packets to it.
        steering: Arc<Steering>,
    },
    /// Of a network interface, past its kernel's stack.
    Afxdp {
        /// The socket.
        queue: AfxdpQueue,
        /// Its number.
        number: u32,
        /// Who copies.
        config: AfxdpConfig,
        /// What brings packets to it.
        steering: Arc<Steering>,
    },
}

impl Queue {
    /// Chunks that the worker's pool needs besides its frames.
    #[must_use]
    pub fn chunk_count(&self) -> u32 {
        match self {
            Self::Steered { .. } => PacketConfig::default().receive_chunks,
            Self::Afxdp { config, .. } => config.chunk_count(),
            Self::Tap(_) | Self::Socket(_) | Self::Packet(_) => 0,
        }
    }

    /// Its memory is pinned, and pinned anew when the device comes back.
    pub(crate) const fn is_pinned_again(&self) -> bool {
        matches!(self, Self::Steered { .. } | Self::Afxdp { .. })
    }

    /// Opens the queue in the calling thread, which keeps it. What went wrong is one line.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn open(self, pool: &Pool) -> Result<HostLink, NetworkError> {
        Ok(match self {
            Self::Tap(queue) => {
                let config = VnetConfig { mtu: TapSetup::default().mtu, ..VnetConfig::default() };
                HostLink::Vnet(queue.open(config)?)
            }
            Self::Socket(queue) => HostLink::Vnet(queue.open(VnetConfig::default())?),
            Self::Packet(queue) => HostLink::Packet(queue.open(pool, PacketConfig::default())?),
            Self::Steered { queue, number, steering } => {
                let link = queue.open(pool, PacketConfig::default())?;
                let socket = link.descriptor().expect("an AF_XDP socket has a descriptor");
                steering.insert(number, socket)?;
                HostLink::Packet(link)
            }
            Self::Afxdp { queue, number, config, steering } => {
                let link = queue.open(pool, config)?;
                let socket = link.descriptor().expect("an AF_XDP socket has a descriptor");
                steering.insert(number, socket)?;
                HostLink::Afxdp(link)
            }
        })
    }
}

/// What a network is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The link, whose the addresses are, how many workers.
    pub asked: Asked<'a>,
    /// Our addresses; none for those that are free, or for all that are to be shared.
    pub addresses: &'a [Cidr],
    /// Our ports.
    pub ports: &'a [u16],
    /// Of which kind.
    pub transports: &'a [Transport],
}

/// A network that is ready.
#[derive(Debug)]
pub struct Network {
    /// One for each worker.
    pub queues: Vec<Queue>,
    /// Our addresses.
    pub addresses: Vec<Cidr>,
    /// What was set up, for people.
    pub description: String,
    /// The interface that packets pass.
    pub interface: String,
    /// What it is made of, to be made again.
    pub device: Device,
    /// How it was chosen.
    pub choice: Choice,
    /// What must live as long as the network is to.
    pub keep: Keep,
}

/// What was created and vanishes when this and the queues are dropped: the program first, then the ports.
#[derive(Debug, Default)]
pub struct Keep {
    _attachment: Option<Attachment>,
    _holders: Option<Holders>,
    _device: Option<TapDevice>,
}

impl Network {
    /// Chooses a link and sets everything up.
    ///
    /// # Errors
    /// What was asked for cannot be had. The operator's or the machine's.
    pub fn open(survey: &Survey, wanted: &Wanted<'_>) -> Result<Self, NetworkError> {
        let asked = &wanted.asked;
        let _turnstile = Turnstile::enter();
        let host = Host::look(&mut Netlink::open()?)?;
        let mut choice = Choice::of(survey, asked);
        loop {
            let Some(candidate) = choice.taken() else {
                return Err(NetworkError::Choice(choice.refusal().unwrap_or_default()));
            };
            let error = match Self::open_one(&host, survey, wanted, candidate, &choice) {
                Ok(network) => return Ok(network),
                Err(error) => error,
            };
            // Only what the machine refused is a reason to try another link; a mistake stays one.
            let machines = matches!(
                error,
                NetworkError::Tap(_)
                    | NetworkError::Packet(_)
                    | NetworkError::Afxdp(_)
                    | NetworkError::Xdp(_)
            );
            if !(machines && choice.fall_back(error.to_string(), survey, asked)) {
                return Err(error);
            }
        }
    }

    fn open_one(
        host: &Host,
        survey: &Survey,
        wanted: &Wanted<'_>,
        candidate: Candidate,
        choice: &Choice,
    ) -> Result<Self, NetworkError> {
        let Wanted { asked, addresses, .. } = wanted;
        match candidate {
            Candidate::Tap => {
                let name = match asked.link {
                    LinkChoice::Tap(name) => name.as_deref(),
                    _ => None,
                };
                let addresses = host.addresses(addresses)?;
                match Self::tap(name, &addresses, choice) {
                    Err(NetworkError::Tap(
                        error @ (TapError::NoDriver { .. } | TapError::MayNotOpen { .. }),
                    )) if asked.inside && name.is_none() => Self::veth(&addresses, choice, &error),
                    result => result,
                }
            }
            Candidate::Packet if choice::is_steered(survey, asked) => {
                match Self::steered_packet(host, wanted, choice) {
                    // An own address does without: the kernel copies what arrives.
                    Err(NetworkError::Xdp(_) | NetworkError::Packet(_)) if asked.mode == AddressMode::Own => {
                        Self::packet(host, wanted, choice)
                    }
                    result => result,
                }
            }
            Candidate::Packet => Self::packet(host, wanted, choice),
            Candidate::AfXdpZeroCopy => Self::afxdp(host, wanted, choice, CopyMode::ZeroCopy),
            Candidate::AfXdpCopy => Self::afxdp(host, wanted, choice, CopyMode::Copy),
        }
    }

    fn packet(host: &Host, wanted: &Wanted<'_>, choice: &Choice) -> Result<Self, NetworkError> {
        let interface = wanted.asked.link.interface().unwrap_or_default();
        // The interface first: without it an address means nothing.
        let queues = link_packet::open(interface, choice.workers)?;
        let addresses = own(host, wanted.addresses)?;
        let mac = queues.first().map_or([0; 6], PacketQueue::mac);
        Ok(Self {
            device: Device::Packet { interface: interface.to_owned(), mac },
            queues: queues.into_iter().map(Queue::Packet).collect(),
            description: format!(
                "packet socket on {interface}, {} beside the kernel's own addresses",
                list(&addresses)
            ),
            addresses,
            interface: interface.to_owned(),
            choice: choice.clone(),
            keep: Keep::default(),
        })
    }

    fn afxdp(
        host: &Host,
        wanted: &Wanted<'_>,
        choice: &Choice,
        copy_mode: CopyMode,
    ) -> Result<Self, NetworkError> {
        crate::machine::lift_memlock();
        let steered = Steered::new(host, wanted, copy_mode == CopyMode::ZeroCopy, false)?;
        steered.try_queue(copy_mode)?;
        let config = AfxdpConfig { copy_mode, ..AfxdpConfig::default() };
        let queues = (0..u32::from(choice.workers))
            .map(|number| {
                let steering = steered.steering();
                Ok(Queue::Afxdp { queue: steered.queue(number)?, number, config, steering })
            })
            .collect::<Result<_, XdpError>>()?;
        let copies = match copy_mode {
            CopyMode::ZeroCopy => "zero-copy",
            CopyMode::Copy | CopyMode::Best => "copied by the kernel",
        };
        Ok(steered.network(wanted, choice, queues, &format!("AF_XDP on {{}}, {copies}")))
    }

    fn steered_packet(host: &Host, wanted: &Wanted<'_>, choice: &Choice) -> Result<Self, NetworkError> {
        let name = wanted.asked.link.interface().unwrap_or_default();
        let queues = link_packet::open_through_xdp(name, choice.workers, link_packet::Rings::default())?;
        crate::machine::lift_memlock();
        let steered = Steered::new(host, wanted, false, true)?;
        let queues = (0_u32..).zip(queues).map(|(number, queue)| {
            let steering = steered.steering();
            Queue::Steered { queue, number, steering }
        });
        let queues = queues.collect();
        Ok(steered.network(wanted, choice, queues, "packet socket on {}, received by AF_XDP"))
    }

    fn tap(name: Option<&str>, addresses: &[Cidr], choice: &Choice) -> Result<Self, NetworkError> {
        let workers = choice.workers;
        let (mut device, queues) = TapDevice::create(name, workers)?;
        device.bring_up(TapSetup::default())?;
        let mut kernel = Vec::new();
        for ours in addresses {
            let theirs = ours.neighbour();
            device.add_address(theirs.address, theirs.prefix)?;
            kernel.push(theirs);
        }
        let plural = if workers == 1 { "" } else { "s" };
        let description = format!(
            "TAP device {} with {workers} queue{plural}, the kernel's side {}, TSO and checksums left to it",
            device.name(),
            list(&kernel)
        );
        Ok(Self {
            queues: queues.into_iter().map(Queue::Tap).collect(),
            addresses: addresses.to_vec(),
            description,
            interface: device.name().to_owned(),
            device: Device::Tap {
                name: device.name().to_owned(),
                kernel_mac: device.kernel_mac(),
                kernel: kernel.iter().map(|cidr| (cidr.address, cidr.prefix)).collect(),
            },
            choice: choice.clone(),
            keep: Keep { _device: Some(device), ..Keep::default() },
        })
    }

    /// Only inside a namespace of ours: the pair vanishes with it.
    fn veth(addresses: &[Cidr], choice: &Choice, why: &TapError) -> Result<Self, NetworkError> {
        let mut netlink = Netlink::open()?;
        netlink.create_veth(VETH_KERNEL, VETH_OURS)?;
        let up = LinkChange { up: Some(true), ..LinkChange::default() };
        netlink.change_link(VETH_KERNEL, up)?;
        netlink.change_link(VETH_OURS, up)?;
        let mut kernel = Vec::new();
        for ours in addresses {
            let theirs = ours.neighbour();
            netlink.add_address(VETH_KERNEL, theirs.address, theirs.prefix)?;
            kernel.push(theirs);
        }
        let queues = link_packet::sockets(VETH_OURS, choice.workers)?;
        let why = why.to_string();
        let why = why.split(':').next().unwrap_or_default();
        Ok(Self {
            queues: queues.into_iter().map(Queue::Socket).collect(),
            addresses: addresses.to_vec(),
            description: format!(
                "veth pair with a packet socket, the kernel's side {} (no TAP device: {why})",
                list(&kernel)
            ),
            interface: VETH_OURS.to_owned(),
            device: Device::Socket { interface: VETH_OURS.to_owned() },
            choice: choice.clone(),
            keep: Keep::default(),
        })
    }
}

/// The addresses that are to be ours alone on somebody's interface.
fn own(host: &Host, wanted: &[Cidr]) -> Result<Vec<Cidr>, NetworkError> {
    for cidr in wanted {
        host.must_not_have(cidr.address)?;
    }
    Ok(wanted.to_vec())
}

fn list(addresses: &[Cidr]) -> String {
    addresses.iter().map(Cidr::to_string).collect::<Vec<_>>().join(" and ")
}
