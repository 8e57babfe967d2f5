//! The Internet checksum (RFC 1071): sums, the pseudo headers they begin with, and their update in place (RFC 1624).
//!
//! A one's complement sum of 16-bit words does not care in which byte order it is taken, only that the result is swapped at
//! the end (RFC 1071 §2(B)), nor in which order, nor in how many parts, except that a part that begins at an odd byte
//! has its two lanes exchanged (§2(A)). So a [`Sum`] runs over little-endian words, keeps carries in the upper bits
//! of 64, remembers its parity, and is folded once.
//!
//! ```text
//! frame parts:  ├── 5 bytes ──┼──── 16,384 bytes ────┼─ 17 ─┤
//! Sum:          even          odd: lanes exchanged   odd     → fold → !
//! ```

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::Protocol;

#[cfg(test)]
mod tests;

/// A one's complement sum on its way: exact over any number of parts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// Little-endian words; what they carry out of 64 bits is added again at once.
    words: u64,
    /// Whether an odd number of bytes went in.
    odd: bool,
}

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self { words: 0, odd: false };

    /// The sum of one slice.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::ZERO.then(bytes)
    }

    /// The sum of slices that stand one behind the other on the wire.
    #[must_use]
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        parts.into_iter().fold(Self::ZERO, Self::then)
    }

    /// A sum that was folded once, and whether its bytes were an odd number: summed ahead of time, used many times.
    #[must_use]
    pub const fn of_folded(folded: u16, odd: bool) -> Self {
        Self { words: folded.swap_bytes() as u64, odd }
    }

    /// The pseudo header of IPv4 (RFC 9293 §3.1): addresses, protocol, length of the transport header and its payload.
    ///
    /// `transport_bytes` may exceed 65,535, as it does for a superframe whose segments do not.
    #[must_use]
    pub fn pseudo_v4(
        source: Ipv4Addr,
        destination: Ipv4Addr,
        protocol: Protocol,
        transport_bytes: u32,
    ) -> Self {
        let source = u64::from(u32::from_le_bytes(source.octets()));
        let destination = u64::from(u32::from_le_bytes(destination.octets()));
        Self::ZERO.plus(source + destination + Self::tail_of_pseudo_header(protocol, transport_bytes))
    }

    /// The pseudo header of IPv6 (RFC 8200 §8.1): addresses, length of the upper-layer packet, its protocol.
    #[must_use]
    pub fn pseudo_v6(
        source: Ipv6Addr,
        destination: Ipv6Addr,
        protocol: Protocol,
        transport_bytes: u32,
    ) -> Self {
        let addresses = carrying_add(words_short(&source.octets()), words_short(&destination.octets()));
        Self::ZERO.plus(addresses).plus(Self::tail_of_pseudo_header(protocol, transport_bytes))
    }

    /// Length and protocol: the same sum in both families, since the IPv6 form only adds zeros.
    fn tail_of_pseudo_header(protocol: Protocol, transport_bytes: u32) -> u64 {
        u64::from(transport_bytes.swap_bytes()) + u64::from(u16::from(protocol.0).swap_bytes())
    }

    /// The sum with `bytes` standing behind what was summed so far.
    #[must_use]
    #[inline]
    pub fn then(self, bytes: &[u8]) -> Self {
        self.combine(Self { words: words(bytes), odd: bytes.len() % 2 == 1 })
    }

    /// The sum with the bytes of `behind` standing behind what was summed so far.
    #[must_use]
    #[inline]
    pub fn combine(self, behind: Self) -> Self {
        // Multiplying by 2⁸ exchanges the lanes, and 2¹⁶ is 1 in this arithmetic.
        let words = if self.odd { u64::from(fold(behind.words)) << 8 } else { behind.words };
        Self { odd: self.odd != behind.odd, ..self.plus(words) }
    }

    /// The sum after one 16-bit word under it changed from `old` to `new`; the word stands at an odd byte, or at an even
    /// one, of what was summed (RFC 1624 §3).
    #[must_use]
    pub const fn replace(self, old: u16, new: u16, at_odd_byte: bool) -> Self {
        let change = fold(!old.swap_bytes() as u64 + new.swap_bytes() as u64);
        let change = if at_odd_byte { change.swap_bytes() } else { change };
        self.plus(change as u64)
    }

    #[inline]
    const fn plus(self, words: u64) -> Self {
        Self { words: carrying_add(self.words, words), odd: self.odd }
    }

    /// The words of an even number of bytes, as [`little_endian`] has them.
    #[inline]
    pub(crate) const fn words(self) -> u64 {
        self.words
    }

    /// The sum folded to 16 bits and *not* complemented, as a number to be written in big-endian order.
    ///
    /// This is what CHECKSUM_PARTIAL and virtio-net's `VIRTIO_NET_HDR_F_NEEDS_CSUM` want in the checksum field, over
    /// the pseudo header alone.
    #[must_use]
    pub fn fold(self) -> u16 {
        fold(self.words).swap_bytes()
    }

    /// The checksum: the complement of [`Sum::fold`].
    #[must_use]
    pub fn finish(self) -> u16 {
        !self.fold()
    }

    /// Whether bytes that contain their own checksum are intact.
    #[must_use]
    pub fn is_intact(self) -> bool {
        self.fold() == 0xffff
    }
}

/// The checksum of one slice.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::of(bytes).finish()
}

/// Whether a slice that contains its own checksum is intact: an IPv4 header, an ICMPv4 message.
#[must_use]
#[inline]
pub fn verify(bytes: &[u8]) -> bool {
    Sum::of(bytes).is_intact()
}

/// Whether a transport segment over IPv4, checksum included, is intact.
#[must_use]
#[inline]
pub fn verify_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: Protocol, segment: &[u8]) -> bool {
    u32::try_from(segment.len())
        .is_ok_and(|bytes| Sum::pseudo_v4(source, destination, protocol, bytes).then(segment).is_intact())
}

/// Whether a transport segment over IPv6, checksum included, is intact.
#[must_use]
pub fn verify_v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: Protocol, segment: &[u8]) -> bool {
    u32::try_from(segment.len())
        .is_ok_and(|bytes| Sum::pseudo_v6(source, destination, protocol, bytes).then(segment).is_intact())
}

/// The checksum after one 16-bit word under it changed from `old` to `new`: HC' = ~(~HC + ~m + m') (RFC 1624 §3).
#[must_use]
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    !fold(u64::from(sum))
}

/// The checksum after 32 bits under it, at an even place, changed from `old` to `new` (RFC 1624 §3, twice).
#[must_use]
pub fn update_u32(checksum: u16, old: u32, new: u32) -> u16 {
    let sum = u64::from(!checksum) + u64::from(!old) + u64::from(new);
    !fold(sum)
}

/// 2⁶⁴ is 1 in this arithmetic too; after an overflow the sum is below the brim.
#[inline]
pub(crate) const fn carrying_add(sum: u64, words: u64) -> u64 {
    let (sum, carry) = sum.overflowing_add(words);
    sum + carry as u64
}

/// The words of eight bytes.
#[inline]
pub(crate) const fn little_endian(bytes: [u8; 8]) -> u64 {
    u64::from_le_bytes(bytes)
}

/// Sixteen bits that are congruent to `sum` modulo 2¹⁶ − 1; zero only for zero. Halves are added, and what they carry is
/// added again, which carries nothing: after an overflow the sum is below the brim.
#[expect(clippy::cast_possible_truncation, reason = "the halves of a number")]
#[inline]
pub(crate) const fn fold(sum: u64) -> u16 {
    let (half, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    let sum = half + carry as u32;
    let (half, carry) = (sum as u16).overflowing_add((sum >> 16) as u16);
    half + carry as u16
}

/// The sum of little-endian words, an odd last byte padded with zero.
///
/// Sixteen accumulators of 64 bits take 32-bit words: no carry before 2³² rounds, which is a slice of 256 GiB, and a loop
/// that the compiler turns into vector additions.
#[inline]
fn words(bytes: &[u8]) -> u64 {
    // Headers, TCP's or HTTP's: sixteen accumulators would cost more than they sum.
    if bytes.len() < LANES * 16 { words_short(bytes) } else { words_long(bytes) }
}

/// Words summed side by side.
const LANES: usize = 16;

fn words_long(bytes: &[u8]) -> u64 {
    let (blocks, tail) = bytes.as_chunks::<{ LANES * 4 }>();
    let mut lanes = [0_u64; LANES];
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
            *lane += u64::from(u32::from_le_bytes(*word));
        }
    }
    // Lanes are folded before they meet.
    let sum: u64 = lanes.iter().map(|lane| (lane >> 32) + (lane & 0xffff_ffff)).sum();
    carrying_add(sum, words_short(tail))
}

/// The sum of a short slice: a loop over eight bytes, and no call for the few behind them.
#[inline]
fn words_short(bytes: &[u8]) -> u64 {
    let (blocks, mut tail) = bytes.as_chunks::<8>();
    let mut sum = 0;
    for block in blocks {
        sum = carrying_add(sum, little_endian(*block));
    }
    if let Some((word, rest)) = tail.split_first_chunk::<4>() {
        sum = carrying_add(sum, u64::from(u32::from_le_bytes(*word)));
        tail = rest;
    }
    if let Some((word, rest)) = tail.split_first_chunk::<2>() {
        sum = carrying_add(sum, u64::from(u16::from_le_bytes(*word)));
        tail = rest;
    }
    tail.first().map_or(sum, |last| carrying_add(sum, u64::from(*last)))
}
