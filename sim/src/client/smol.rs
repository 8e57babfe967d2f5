//! smoltcp as a client: a TCP, an IP, an ARP and an NDP that other people wrote.

use alloc::collections::VecDeque;
use clock::Instant;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use super::{Ended, Phase, Transport};
use crate::network::Frame;
use crate::packet::{ETHERNET_BYTES, Mac};
use crate::random::Dice;

/// What smoltcp may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmolConfig {
    /// Bytes that may wait unread; decides the window scale.
    pub receive_buffer: usize,
    /// The largest IP packet.
    pub mtu: u16,
    /// The subnet is this many bits long.
    pub prefix_len: u8,
}

/// smoltcp with one socket.
pub struct SmolTcp {
    device: Queues,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    local: IpAddr,
    server: IpAddr,
    next_port: u16,
    ours: Ours,
    config: SmolConfig,
    /// When smoltcp wants to be polled. A frame or a call makes it now.
    wakes: Instant,
}

/// What we did to the socket, which it does not remember.
#[derive(Clone, Copy, Debug, Default)]
struct Ours {
    opened: bool,
    established: bool,
    peer_finished: bool,
    aborted: bool,
    finished: bool,
    silent: bool,
}

impl SmolTcp {
    /// A host at `local`, whose port is the first to be used, on one subnet with `server`, which it has to resolve.
    ///
    /// # Panics
    /// Never: the interface has room for its address.
    #[must_use]
    pub fn new(mac: Mac, local: SocketAddr, server: IpAddr, config: SmolConfig, mut dice: Dice) -> Self {
        let mut device = Queues { mtu: config.mtu, received: VecDeque::new(), sent: Vec::new() };
        let mut interface_config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac)));
        interface_config.random_seed = dice.number();
        let mut interface = Interface::new(interface_config, &mut device, smoltcp::time::Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(local.ip().into(), config.prefix_len)).expect("room for one");
        });
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket(config));
        Self {
            device,
            interface,
            sockets,
            handle,
            local: local.ip(),
            server,
            next_port: local.port(),
            ours: Ours::default(),
            config,
            wakes: Instant::EPOCH,
        }
    }

    /// Waits for a connection instead of opening one: the other end of a test.
    #[cfg(test)]
    pub(crate) fn listen(&mut self, port: u16) {
        self.ours = Ours { opened: true, ..Ours::default() };
        self.socket().listen(port).expect("a port");
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.wakes = Instant::EPOCH;
        self.sockets.get_mut(self.handle)
    }
}

fn socket(config: SmolConfig) -> Socket<'static> {
    let mut socket =
        Socket::new(SocketBuffer::new(vec![0; config.receive_buffer]), SocketBuffer::new(vec![0; 16_384]));
    socket.set_nagle_enabled(false);
    // A reset may get lost; who only waits would wait for ever.
    socket.set_keep_alive(Some(smoltcp::time::Duration::from_secs(8)));
    socket
}

fn to_smol(at: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(at.as_micros()).unwrap_or(i64::MAX))
}

impl Transport for SmolTcp {
    fn open(&mut self, _: Instant, port: u16) {
        // A new socket: the old one may still be in TIME-WAIT.
        self.sockets.remove(self.handle);
        self.handle = self.sockets.add(socket(self.config));
        let local = (self.local, self.next_port);
        self.next_port = self.next_port.checked_add(1).unwrap_or(1_024);
        let server = self.server;
        let context = self.interface.context();
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        let opened = socket.connect(context, (server, port), local).is_ok();
        self.ours = Ours { opened, ..Ours::default() };
        self.wakes = Instant::EPOCH;
    }

    fn phase(&self) -> Phase {
        let socket: &Socket<'_> = self.sockets.get(self.handle);
        let Ours { opened, established, peer_finished, aborted, finished, silent: _ } = self.ours;
        if aborted || !opened {
            return Phase::Ended(Ended::Aborted);
        }
        match socket.state() {
            State::SynSent | State::SynReceived | State::Listen => Phase::Opening,
            State::Established | State::FinWait1 | State::FinWait2 => Phase::Open,
            State::CloseWait | State::Closing | State::LastAck => Phase::PeerFinished,
            State::TimeWait => Phase::Ended(Ended::Finished),
            State::Closed if finished && peer_finished && established => Phase::Ended(Ended::Finished),
            State::Closed => Phase::Ended(Ended::Reset),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        self.socket().send_slice(bytes).unwrap_or(0)
    }

    fn receive(&mut self, _: Instant, bytes_max: usize, out: &mut Vec<u8>) -> usize {
        let socket = self.socket();
        let mut received = 0;
        // What is ready may lie in two pieces of the ring.
        while received < bytes_max && socket.can_recv() {
            let taken = socket.recv(|bytes| {
                let count = bytes.len().min(bytes_max - received);
                out.extend_from_slice(&bytes[..count]);
                (count, count)
            });
            match taken {
                Ok(1..) => received += taken.unwrap_or(0),
                _ => break,
            }
        }
        received
    }

    fn finish(&mut self) {
        self.ours.finished = true;
        self.socket().close();
    }

    fn abort(&mut self, _: Instant) {
        self.ours.aborted = true;
        self.socket().abort();
    }

    fn vanish(&mut self) {
        self.ours.silent = true;
    }

    fn forget(&mut self) {
        self.sockets.remove(self.handle);
        self.handle = self.sockets.add(socket(self.config));
        self.ours = Ours::default();
        self.wakes = Instant::EPOCH;
    }

    fn on_frame(&mut self, _: Instant, frame: &[u8]) {
        if self.ours.silent {
            return;
        }
        self.device.received.push_back(frame.to_vec());
        self.wakes = Instant::EPOCH;
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<Frame>) {
        if self.wakes > now {
            return;
        }
        self.interface.poll(to_smol(now), &mut self.device, &mut self.sockets);
        if self.ours.silent {
            self.device.sent.clear();
        }
        out.append(&mut self.device.sent);
        let socket: &Socket<'_> = self.sockets.get(self.handle);
        self.ours.established |=
            !matches!(socket.state(), State::Closed | State::Listen | State::SynSent | State::SynReceived);
        self.ours.peer_finished |=
            matches!(socket.state(), State::CloseWait | State::Closing | State::LastAck | State::TimeWait);
        // What it wants to do at once it has just had the chance to do; it sometimes insists.
        self.wakes = self.interface.poll_at(to_smol(now), &self.sockets).map_or(Instant::NEVER, |at| {
            let micros = u64::try_from(at.total_micros()).unwrap_or(0);
            let at = Instant::from_nanos(micros.saturating_mul(1_000));
            if at > now { at } else { now + Duration::from_millis(1) }
        });
    }

    fn deadline(&self) -> Instant {
        self.wakes
    }
}

impl fmt::Debug for SmolTcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket: &Socket<'_> = self.sockets.get(self.handle);
        f.debug_struct("SmolTcp")
            .field("local", &self.local)
            .field("state", &socket.state())
            .field("ours", &self.ours)
            .finish_non_exhaustive()
    }
}

/// smoltcp's device: two queues of frames.
#[derive(Debug)]
struct Queues {
    mtu: u16,
    received: VecDeque<Frame>,
    sent: Vec<Frame>,
}

impl Device for Queues {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Received, Sending<'_>)> {
        Some((Received(self.received.pop_front()?), Sending(&mut self.sent)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = usize::from(self.mtu) + ETHERNET_BYTES;
        capabilities.checksum = ChecksumCapabilities::default();
        capabilities
    }
}

struct Received(Frame);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Sending<'a>(&'a mut Vec<Frame>);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}
