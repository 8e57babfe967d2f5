//! The options of a TCP header that anybody still sends: MSS (RFC 9293 §3.7.1), window scale and timestamps (RFC 7323),
//! selective acknowledgment (RFC 2018).

use super::SeqNum;
use core::fmt;
use core::ops::Deref;

/// What the data offset leaves for options, in bytes.
pub const OPTIONS_BYTES_MAX: usize = 40;

/// As many SACK blocks as fit into [`OPTIONS_BYTES_MAX`]; beside timestamps one fewer (RFC 2018 §3).
pub const SACK_BLOCKS_MAX: usize = 4;

/// Kinds of options, as IANA numbers them.
mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NOP: u8 = 1;
    pub(super) const MSS: u8 = 2;
    pub(super) const WINDOW_SCALE: u8 = 3;
    pub(super) const SACK_PERMITTED: u8 = 4;
    pub(super) const SACK: u8 = 5;
    pub(super) const TIMESTAMPS: u8 = 8;
}

/// Timestamps behind two NOPs: 12 bytes, and the payload stays aligned (RFC 7323 appendix A).
const TIMESTAMPS_BYTES: usize = 12;

/// The timestamps option (RFC 7323 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timestamps {
    /// TSval: the sender's timestamp clock.
    pub value: u32,
    /// TSecr: the receiver's timestamp that is echoed; means something only with ACK.
    pub echo: u32,
}

/// The blocks of a SACK option: each the left edge and the right edge (the number just after) of bytes that arrived.
///
/// A slice with a fixed room; most recent block first (RFC 2018 §4), a DSACK before all others (RFC 2883 §4).
#[derive(Clone, Copy)]
pub struct SackBlocks {
    blocks: [(SeqNum, SeqNum); SACK_BLOCKS_MAX],
    count: u8,
}

impl SackBlocks {
    /// No block.
    pub const EMPTY: Self = Self { blocks: [(SeqNum(0), SeqNum(0)); SACK_BLOCKS_MAX], count: 0 };

    /// Adds a block behind the others; `false` (and nothing changed) when all four places are taken.
    #[must_use = "a full option takes no more blocks"]
    pub fn push(&mut self, left: SeqNum, right: SeqNum) -> bool {
        let Some(block) = self.blocks.get_mut(usize::from(self.count)) else { return false };
        *block = (left, right);
        self.count += 1;
        true
    }

    /// Keeps the first `count` blocks.
    pub fn truncate(&mut self, count: usize) {
        if let Ok(count) = u8::try_from(count) {
            self.count = self.count.min(count);
        }
    }

    /// Forgets all blocks.
    pub fn clear(&mut self) {
        self.count = 0;
    }
}

impl Deref for SackBlocks {
    type Target = [(SeqNum, SeqNum)];
    fn deref(&self) -> &Self::Target {
        &self.blocks[..usize::from(self.count)]
    }
}

impl Default for SackBlocks {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl PartialEq for SackBlocks {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SackBlocks {}

impl core::hash::Hash for SackBlocks {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for SackBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl FromIterator<(SeqNum, SeqNum)> for SackBlocks {
    /// Takes the first four blocks and leaves the rest.
    fn from_iter<I: IntoIterator<Item = (SeqNum, SeqNum)>>(blocks: I) -> Self {
        let mut taken = Self::EMPTY;
        for (left, right) in blocks {
            if !taken.push(left, right) {
                break;
            }
        }
        taken
    }
}

impl<'a> IntoIterator for &'a SackBlocks {
    type Item = &'a (SeqNum, SeqNum);
    type IntoIter = core::slice::Iter<'a, (SeqNum, SeqNum)>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The options of one segment. Which of them mean anything in which segment is the TCB's business, not the wire's.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// Maximum segment size, in bytes; a SYN's.
    pub mss: Option<u16>,
    /// Window scale: the shift count as it stands on the wire, even above the 14 of RFC 7323 §2.3; a SYN's.
    pub window_scale: Option<u8>,
    /// SACK-permitted; a SYN's.
    pub sack_permitted: bool,
    /// The blocks of a SACK option; empty when there is none.
    pub sack: SackBlocks,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
}

impl Options {
    /// No option.
    pub const NONE: Self = Self {
        mss: None,
        window_scale: None,
        sack_permitted: false,
        sack: SackBlocks::EMPTY,
        timestamps: None,
    };

    /// The length on the wire with padding, in bytes: a multiple of four, at most 40.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        let len = self.len_before_sack();
        if self.sack.count == 0 {
            return len;
        }
        let blocks = self.sack_blocks_emitted(len);
        if blocks == 0 { len } else { len + 4 + 8 * blocks }
    }

    /// How many of [`Options::sack`]'s blocks fit on the wire beside the other options: at most four, three beside timestamps.
    #[must_use]
    pub fn sack_blocks_fitting(&self) -> usize {
        (OPTIONS_BYTES_MAX - self.len_before_sack()).saturating_sub(4) / 8
    }

    fn sack_blocks_emitted(&self, len_before: usize) -> usize {
        self.sack.len().min((OPTIONS_BYTES_MAX - len_before).saturating_sub(4) / 8)
    }

    /// All options but SACK, each padded to four bytes: at most 4 + 12 + 4 + 4 = 24.
    #[inline]
    fn len_before_sack(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        // SACK-permitted takes the place of the two NOPs before timestamps.
        let timestamps = match (self.sack_permitted, self.timestamps.is_some()) {
            (_, true) => TIMESTAMPS_BYTES,
            (true, false) => 4,
            (false, false) => 0,
        };
        let window_scale = if self.window_scale.is_some() { 4 } else { 0 };
        mss + timestamps + window_scale
    }

    /// Reads the options between the fixed header and the payload. Never fails: see [`super::Header::parse`].
    #[must_use]
    #[inline(always)]
    pub fn parse(bytes: &[u8]) -> Self {
        // The segments that everybody sends once connected: with nothing, or with two NOPs and timestamps.
        if bytes.is_empty() { Self::NONE } else { Self::parse_some(bytes) }
    }

    fn parse_some(bytes: &[u8]) -> Self {
        if let [kind::NOP, kind::NOP, kind::TIMESTAMPS, 10, v0, v1, v2, v3, e0, e1, e2, e3] = *bytes {
            let timestamps = Timestamps {
                value: u32::from_be_bytes([v0, v1, v2, v3]),
                echo: u32::from_be_bytes([e0, e1, e2, e3]),
            };
            return Self { timestamps: Some(timestamps), ..Self::NONE };
        }
        Self::parse_list(bytes)
    }

    fn parse_list(bytes: &[u8]) -> Self {
        let mut options = Self::NONE;
        let mut rest = bytes;
        loop {
            rest = match rest {
                [] | [kind::END, ..] => return options,
                [kind::NOP, rest @ ..] => rest,
                [kind, len, ..] => {
                    // An option shorter than its own head, or longer than the list: nothing behind it can be trusted.
                    let Some((option, rest)) = rest.split_at_checked(usize::from(*len)) else {
                        return options;
                    };
                    let Some(value) = option.get(2..) else { return options };
                    options.read(*kind, value);
                    rest
                }
                [_] => return options,
            };
        }
    }

    fn read(&mut self, kind: u8, value: &[u8]) {
        match (kind, value) {
            (kind::MSS, &[a, b]) => self.mss = Some(u16::from_be_bytes([a, b])),
            (kind::WINDOW_SCALE, &[shift]) => self.window_scale = Some(shift),
            (kind::SACK_PERMITTED, []) => self.sack_permitted = true,
            (kind::TIMESTAMPS, &[v0, v1, v2, v3, e0, e1, e2, e3]) => {
                self.timestamps = Some(Timestamps {
                    value: u32::from_be_bytes([v0, v1, v2, v3]),
                    echo: u32::from_be_bytes([e0, e1, e2, e3]),
                });
            }
            (kind::SACK, blocks) if blocks.len().is_multiple_of(8) => {
                self.sack = blocks
                    .as_chunks::<8>()
                    .0
                    .iter()
                    .map(|&[l0, l1, l2, l3, r0, r1, r2, r3]| {
                        (
                            SeqNum(u32::from_be_bytes([l0, l1, l2, l3])),
                            SeqNum(u32::from_be_bytes([r0, r1, r2, r3])),
                        )
                    })
                    .collect();
            }
            _ => {}
        }
    }

    /// Writes the options with their padding to the start of `buffer`; returns [`Options::len`].
    ///
    /// SACK comes last and gives up the blocks for which there is no room ([`Options::sack_blocks_fitting`]).
    ///
    /// # Panics
    /// When `buffer` is shorter than [`Options::len`].
    #[inline]
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let Self { mss, window_scale, sack_permitted, sack, timestamps } = self;
        if mss.is_some() || window_scale.is_some() || *sack_permitted || sack.count > 0 {
            return self.emit_list(buffer);
        }
        // The segments that everybody sends once connected.
        let Some(Timestamps { value, echo }) = timestamps else { return 0 };
        let buffer = buffer.first_chunk_mut::<TIMESTAMPS_BYTES>().expect("room for timestamps");
        buffer[..4].copy_from_slice(&[kind::NOP, kind::NOP, kind::TIMESTAMPS, 10]);
        buffer[4..8].copy_from_slice(&value.to_be_bytes());
        buffer[8..].copy_from_slice(&echo.to_be_bytes());
        TIMESTAMPS_BYTES
    }

    fn emit_list(&self, buffer: &mut [u8]) -> usize {
        let Self { mss, window_scale, sack_permitted, sack, timestamps } = self;
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            buffer[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
            at
        };
        let mut len = 0;
        if let Some(mss) = mss {
            let [a, b] = mss.to_be_bytes();
            len = put(&[kind::MSS, 4, a, b]);
        }
        if *sack_permitted {
            len = put(&[kind::SACK_PERMITTED, 2]);
        }
        if *sack_permitted != timestamps.is_some() {
            len = put(&[kind::NOP, kind::NOP]);
        }
        if let Some(Timestamps { value, echo }) = timestamps {
            let [v0, v1, v2, v3] = value.to_be_bytes();
            let [e0, e1, e2, e3] = echo.to_be_bytes();
            len = put(&[kind::TIMESTAMPS, 10, v0, v1, v2, v3, e0, e1, e2, e3]);
        }
        if let Some(shift) = window_scale {
            len = put(&[kind::NOP, kind::WINDOW_SCALE, 3, *shift]);
        }
        let count = self.sack_blocks_emitted(len);
        if let (1.., Ok(bytes)) = (count, u8::try_from(2 + 8 * count)) {
            len = put(&[kind::NOP, kind::NOP, kind::SACK, bytes]);
            for (left, right) in sack.iter().take(count) {
                put(&left.0.to_be_bytes());
                len = put(&right.0.to_be_bytes());
            }
        }
        len
    }
}

impl fmt::Debug for Options {
    /// Only the options that are there, each behind a space.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mss, window_scale, sack_permitted, sack, timestamps } = self;
        if let Some(mss) = mss {
            write!(f, " mss {mss}")?;
        }
        if let Some(shift) = window_scale {
            write!(f, " ws {shift}")?;
        }
        if *sack_permitted {
            write!(f, " sackok")?;
        }
        if let Some(Timestamps { value, echo }) = timestamps {
            write!(f, " ts {value}:{echo}")?;
        }
        if !sack.is_empty() {
            write!(f, " sack {sack:?}")?;
        }
        Ok(())
    }
}
