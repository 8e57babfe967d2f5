//! What a frame turned out to be.

use crate::FourTuple;
use crate::tuple::TupleKey;
use core::fmt;
use core::net::IpAddr;
use wire::tcp::{self, SeqNum};
use wire::{MacAddr, Malformed, UsualTcp};

/// What is left to do about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Input<'a> {
    /// A TCP segment for us: the owner finds its flow.
    Tcp(TcpInput<'a>),
    /// A router says that a packet of ours was too large. Anybody may say so: the TCB compares `seq` with what is in
    /// flight before it believes it (RFC 5927 §7).
    PathMtu {
        /// The connection that the quoted packet belonged to.
        tuple: FourTuple,
        /// The quoted packet's sequence number.
        seq: SeqNum,
        /// The MTU, in bytes; at least [`pmtu::MTU_MIN_V4`](crate::pmtu::MTU_MIN_V4) or [`pmtu::MTU_MIN_V6`](crate::pmtu::MTU_MIN_V6).
        mtu: u16,
    },
    /// Somebody says that a packet of ours did not arrive. To be compared likewise, and even then only a hint (RFC 5927 §5).
    Unreachable {
        /// The connection that the quoted packet belonged to.
        tuple: FourTuple,
        /// The quoted packet's sequence number.
        seq: SeqNum,
        /// Trying again will not help: no such port or protocol (RFC 1122 §4.2.3.9).
        hard: bool,
    },
    /// Nothing: it was ours to handle and is handled, perhaps with a reply.
    Handled,
    /// Nothing: it was dropped, and counted.
    Dropped(Reason),
}

/// A TCP segment that is addressed to us and intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpInput<'a> {
    /// Both ends, as tables keep them.
    pub(crate) key: TupleKey,
    /// Whom to answer: the peer, or the router between.
    pub peer_mac: MacAddr,
    /// The VLAN identifier of the frame, if it had a tag: answers get the same.
    pub vlan: Option<u16>,
    /// DSCP and, in the lowest two bits, ECN.
    pub traffic_class: u8,
    /// The TCP header.
    pub header: tcp::Header,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> TcpInput<'a> {
    /// A segment that [`Interface::on_usual_frame`](crate::Interface::on_usual_frame) found.
    #[must_use]
    #[inline(always)]
    pub fn of_usual(segment: &UsualTcp<'a>) -> Self {
        Self {
            key: TupleKey::of_usual(segment),
            peer_mac: segment.source_mac(),
            vlan: None,
            traffic_class: segment.traffic_class(),
            header: segment.header(),
            payload: segment.payload(),
        }
    }

    /// Both ends, from our side.
    #[must_use]
    pub fn tuple(&self) -> FourTuple {
        self.key.tuple()
    }

    /// Our address.
    #[must_use]
    #[inline]
    pub fn local(&self) -> IpAddr {
        self.key.addresses().0
    }

    /// The peer's.
    #[must_use]
    #[inline]
    pub fn peer(&self) -> IpAddr {
        self.key.addresses().1
    }
}

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The sender's fault, or the wire's.
    Malformed(Malformed),
    /// Its MAC address is not ours, or no group we listen to.
    OtherMac,
    /// It belongs to another VLAN.
    OtherVlan,
    /// Its IP address is not ours.
    OtherAddress,
    /// It claims to come from us.
    Spoofed,
    /// A piece of a datagram for us; pieces are not put together.
    Fragment,
    /// Something for us that we do not speak.
    Protocol,
    /// Something for an address that we share with the kernel, which answers it.
    Kernels,
    /// An ICMP error that quotes no TCP segment of ours.
    Unquoted,
    /// A question like too many others.
    RateLimited,
    /// A reply was due, but the outbox is full.
    OutboxFull,
}

impl Reason {
    /// A short lower-case name: the label of a metric.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.label(),
            Self::OtherMac => "other_mac",
            Self::OtherVlan => "other_vlan",
            Self::OtherAddress => "other_address",
            Self::Spoofed => "spoofed",
            Self::Fragment => "fragment",
            Self::Protocol => "protocol",
            Self::Kernels => "kernels",
            Self::Unquoted => "unquoted",
            Self::RateLimited => "rate_limited",
            Self::OutboxFull => "outbox_full",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(malformed) => return malformed.fmt(f),
            Self::OtherMac => "the frame is for another station",
            Self::OtherVlan => "the frame is for another VLAN",
            Self::OtherAddress => "the packet is for another host",
            Self::Spoofed => "the packet claims to come from us",
            Self::Fragment => "the peer's packet is a fragment",
            Self::Protocol => "the peer's packet carries a protocol that we do not speak",
            Self::Kernels => "the packet is the kernel's to answer",
            Self::Unquoted => "the ICMP error quotes no segment of ours",
            Self::RateLimited => "too many such packets in this second",
            Self::OutboxFull => "we had no room for a reply",
        })
    }
}

/// What an interface counted since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames of every kind.
    pub frames: u64,
    /// TCP segments handed on, merged ones counted once.
    pub tcp: u64,
    /// ARP requests and neighbor solicitations for our addresses, answered.
    pub neighbour_answers: u64,
    /// Echo requests answered.
    pub echo_answers: u64,
    /// Somebody else uses one of our IP addresses: the operator's to mend.
    pub address_conflicts: u64,
    /// ICMP: packet too big, handed on.
    pub path_mtu: u64,
    /// ICMP: unreachable or time exceeded, handed on.
    pub unreachable: u64,
    /// Malformed frames, by [`Malformed::index`].
    pub malformed: [u64; Malformed::ALL.len()],
    /// [`Reason::OtherMac`].
    pub other_mac: u64,
    /// [`Reason::OtherVlan`].
    pub other_vlan: u64,
    /// [`Reason::OtherAddress`].
    pub other_address: u64,
    /// [`Reason::Spoofed`].
    pub spoofed: u64,
    /// [`Reason::Fragment`].
    pub fragments: u64,
    /// [`Reason::Protocol`].
    pub protocol: u64,
    /// [`Reason::Kernels`].
    pub kernels: u64,
    /// [`Reason::Unquoted`].
    pub unquoted: u64,
    /// [`Reason::RateLimited`].
    pub rate_limited: u64,
    /// [`Reason::OutboxFull`].
    pub outbox_full: u64,
}

impl Counters {
    /// Counts what became of a frame.
    pub(crate) fn count(&mut self, input: &Input<'_>) {
        self.frames += 1;
        let counter = match input {
            Input::Tcp(_) => &mut self.tcp,
            Input::PathMtu { .. } => &mut self.path_mtu,
            Input::Unreachable { .. } => &mut self.unreachable,
            Input::Handled => return,
            Input::Dropped(reason) => match reason {
                Reason::Malformed(malformed) => &mut self.malformed[malformed.index()],
                Reason::OtherMac => &mut self.other_mac,
                Reason::OtherVlan => &mut self.other_vlan,
                Reason::OtherAddress => &mut self.other_address,
                Reason::Spoofed => &mut self.spoofed,
                Reason::Fragment => &mut self.fragments,
                Reason::Protocol => &mut self.protocol,
                Reason::Kernels => &mut self.kernels,
                Reason::Unquoted => &mut self.unquoted,
                Reason::RateLimited => &mut self.rate_limited,
                Reason::OutboxFull => &mut self.outbox_full,
            },
        };
        *counter += 1;
    }
}
