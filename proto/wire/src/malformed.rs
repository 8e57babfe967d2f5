//! Why a packet was refused.

use core::fmt;

/// What is wrong with a packet: always the fault of whoever sent it, or of the wire between.
///
/// Carries no data, so that a counter per variant ([`Malformed::index`]) tells the whole story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// The packet ends before its headers do, or before the length that its headers promise.
    Truncated,
    /// A length field contradicts its own header: a TCP data offset below five words, an IPv4 header longer than its packet.
    Length,
    /// A checksum that was to be verified does not match.
    Checksum,
    /// A version, hardware or protocol number that is not the one its envelope announced.
    Version,
    /// An address that no packet may carry in this place: a multicast source, an NDP target that is multicast.
    Address,
    /// IPv6 extension headers that are out of order, or too many.
    HeaderChain,
    /// NDP that a router has forwarded, although only a neighbour may say it (hop limit not 255, RFC 4861 §6.1, §7.1).
    HopLimit,
}

impl Malformed {
    /// Every variant, in the order of [`Malformed::index`].
    pub const ALL: [Self; 7] = [
        Self::Truncated,
        Self::Length,
        Self::Checksum,
        Self::Version,
        Self::Address,
        Self::HeaderChain,
        Self::HopLimit,
    ];

    /// The place of this variant in [`Malformed::ALL`]: for arrays of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Truncated => 0,
            Self::Length => 1,
            Self::Checksum => 2,
            Self::Version => 3,
            Self::Address => 4,
            Self::HeaderChain => 5,
            Self::HopLimit => 6,
        }
    }

    /// A short lower-case name: the label of a metric.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Length => "length",
            Self::Checksum => "checksum",
            Self::Version => "version",
            Self::Address => "address",
            Self::HeaderChain => "header_chain",
            Self::HopLimit => "hop_limit",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the peer's packet ends before its headers do",
            Self::Length => "the peer's packet carries a length that contradicts itself",
            Self::Checksum => "the packet's checksum does not match its bytes",
            Self::Version => "the peer's packet announces a version or type that it does not have",
            Self::Address => "the peer's packet carries an address that is not allowed there",
            Self::HeaderChain => "the peer's IPv6 extension headers are out of order or too many",
            Self::HopLimit => "the neighbour message came through a router",
        })
    }
}

impl core::error::Error for Malformed {}
