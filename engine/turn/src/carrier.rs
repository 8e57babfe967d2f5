//! A link that carries nothing for a while, comes back, or changes its MTU.
//!
//! ```text
//!               carrier lost, device gone
//!   Carrying ──────────────────────────────▶ Silent      connections stay, nothing is staged, timers go on
//!      ▲                                       │         a retransmission that is due is read and waits
//!      └── carrier back, another device ───────┘         addresses are announced, everybody says what waits
//! ```
//!
//! While it is silent TCP's clocks run as if packets were lost: a timeout makes the window one segment, and after
//! [`user_timeout`](tcp::Config::user_timeout) without an acknowledgment a connection ends. When the link comes back
//! nobody waits for a timer that was backed off: what is due leaves in the next turn, a shut window is asked about (who
//! opened it meanwhile said so to nobody), and the timers begin anew, for the other end may need a moment longer than ours.

use clock::Instant;
use core::net::IpAddr;
use core::time::Duration;
use platform::{Link, LinkCapabilities};
use stack::{FlowId, Resolved};

use crate::service::Service;
use crate::transmit::Egress;
use crate::worker::Core;

/// Whether packets can leave and arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carrier {
    /// As always.
    #[default]
    Up,
    /// The device is down, its cable is out, or it is gone.
    Down,
}

/// How long answers of neighbours are waited for after the link came back: three questions, a second apart, and a while.
const ASKING: Duration = Duration::from_secs(5);
/// What options TCP may take of a segment: with them the payload is less than the MSS (RFC 6691).
const TIMESTAMPS_BYTES: u16 = 12;
/// No link makes segments smaller than every host must take (RFC 9293 §3.7.1).
const MSS_LEAST: u16 = 536;

impl<A: tls::Aead, S: Service> Core<A, S> {
    /// The link carries nothing from now on, or carries again.
    pub(crate) fn set_carrier(&mut self, carrier: Carrier) {
        if carrier == self.carrier {
            return;
        }
        self.carrier = carrier;
        match carrier {
            Carrier::Down => self.counters.link_losses += 1,
            Carrier::Up => self.on_link_back(),
        }
    }

    /// Our neighbours may be others, and have forgotten us. A peer could not acknowledge anything meanwhile, which is not
    /// held against it.
    fn on_link_back(&mut self) {
        let now = self.now.instant;
        self.interface.announce(now);
        self.interface.forget_neighbours();
        self.neighbours_until = now + ASKING;
        for id in self.flows.ids() {
            if let Some(flow) = self.flows.get_mut(id) {
                if let Some(outbound) = &mut flow.outbound {
                    outbound.progress_at = now;
                }
                // A peer that only listens would never tell us its new hardware address.
                self.interface.resolve(now, flow.path.destination, &mut self.replies);
                flow.tcp.on_link_back(now);
            }
            self.make_runnable(id);
            self.touch(id);
        }
    }

    /// Neighbours that were asked for have answered: connections whose packets go to one go to its address of now.
    pub(crate) fn find_neighbours(&mut self) {
        if self.now.instant >= self.neighbours_until {
            return;
        }
        while let Some(Resolved { next_hop, mac }) = self.interface.poll_resolved() {
            let Some(mac) = mac else { continue };
            for id in self.flows.ids() {
                if let Some(flow) = self.flows.get_mut(id)
                    && flow.path.peer_mac != mac
                    && self.interface.next_hop(flow.path.destination) == Some(next_hop)
                {
                    flow.path.peer_mac = mac;
                    flow.tcp.on_path_changed(self.now.instant);
                    self.make_runnable(id);
                    self.touch(id);
                }
            }
        }
    }

    /// What would leave does not, and what follows from it not leaving happens as always.
    pub(crate) fn keep_silent<L: Link>(&mut self, link: &mut L) -> bool {
        self.link_full = false;
        while self.replies.front().is_some() {
            self.replies.pop();
            self.counters.link_loss_drops += 1;
        }
        let mut busy = false;
        for _ in 0..self.touched.len() {
            let Some(id) = self.touched.pop_front() else { break };
            busy = true;
            if let Some(flow) = self.flows.get_mut(id) {
                flow.marks.remove(crate::flow::Marks::TOUCHED);
            }
            self.settle(id);
        }
        link.flush();
        busy | (link.reclaim() > 0)
    }

    /// The link's device is another one, perhaps with another hardware address.
    pub(crate) fn on_link_replaced(&mut self, link: &LinkCapabilities) {
        let mac = wire::MacAddr(link.mac);
        if mac != self.interface.mac() {
            self.interface.set_mac(mac);
            for id in self.flows.ids() {
                if let Some(flow) = self.flows.get_mut(id) {
                    flow.path.local_mac = mac;
                }
            }
        }
        let before = core::mem::replace(&mut self.egress, Egress::new(link, self.config.memory));
        if before != self.egress {
            // What the old one refused, or had no room for, was made for it. TCP counts it as sent, and will ask for it
            // again.
            let rest = self.train.take().map_or(0, |(_, train)| train.segments_left());
            self.counters.link_loss_drops += u64::from(core::mem::take(&mut self.refused)) + u64::from(rest);
            self.packet.parts.clear();
        }
    }

    /// The link takes packets of `mtu` bytes from now on. New connections announce what fits, and running ones cut their
    /// segments anew. A path that is known to take less keeps taking less (RFC 1191 §6.3).
    pub(crate) fn set_mtu(&mut self, mtu: u16) {
        let before = self.interface.mtu();
        self.interface.set_mtu(mtu);
        let mtu = self.interface.mtu();
        if mtu == before {
            return;
        }
        self.counters.mtu_changes += 1;
        let configured = self.config.tcp.mss_max;
        let mss = |mtu: u16, headers: u16| configured.min(mtu.saturating_sub(headers)).max(MSS_LEAST);
        let (old_v4, old_v6) = (self.tcp_v4.mss_max, self.tcp_v6.mss_max);
        self.tcp_v4.mss_max = mss(mtu, 40);
        self.tcp_v6.mss_max = mss(mtu, 60);
        for id in self.flows.ids() {
            let is_v4 = self.flows.get(id).is_some_and(|flow| matches!(flow.path.source, IpAddr::V4(_)));
            let (old, new) =
                if is_v4 { (old_v4, self.tcp_v4.mss_max) } else { (old_v6, self.tcp_v6.mss_max) };
            self.resize(id, old, new);
        }
    }

    /// A connection's segments, from `old` to `new` bytes with options. One that was smaller than the old link's for a
    /// reason of its own (its peer's wish, its path's MTU) only ever shrinks.
    fn resize(&mut self, id: FlowId, old: u16, new: u16) {
        let now: Instant = self.now.instant;
        let Some(flow) = self.flows.get_mut(id) else { return };
        let is = flow.tcp.mss();
        let filled_the_link = is == old || is + TIMESTAMPS_BYTES == old;
        if new < is + TIMESTAMPS_BYTES || (new > old && filled_the_link) {
            flow.tcp.on_mss(now, new);
            self.make_runnable(id);
            self.touch(id);
        }
    }
}
