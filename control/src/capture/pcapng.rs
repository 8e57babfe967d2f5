//! The file format: blocks of draft-ietf-opsawg-pcapng, as few kinds as a capture needs.
//!
//! ```text
//!   section header, interface …, enhanced packet …, interface statistics …
//!
//!   block:   type (4)  length (4)  body, padded to 4  options  length again (4)      all little-endian
//!   option:  code (2)  length (2)  value, padded to 4                                the last one is code 0
//! ```

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1A2B_3C4D;
/// A section whose length is not told: it ends with the file.
const LENGTH_UNKNOWN: u64 = u64::MAX;
const LINKTYPE_ETHERNET: u16 = 1;
/// 10⁻⁹ seconds.
const NANOSECONDS: u8 = 9;
const DIRECTION_IN: u32 = 1;
const DIRECTION_OUT: u32 = 2;

/// Writes blocks one behind the other.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    bytes: Vec<u8>,
}

/// A packet, but for its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct PacketHead {
    pub(super) interface: u32,
    /// Since 1970.
    pub(super) unix_nanos: u64,
    pub(super) is_outgoing: bool,
    /// How long it was.
    pub(super) original_bytes: u32,
    /// Packets of this interface that were lost since the one before.
    pub(super) dropped: u32,
}

/// What an interface counted since the capture began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Statistics {
    pub(super) began_unix_nanos: u64,
    pub(super) now_unix_nanos: u64,
    /// Packets that passed.
    pub(super) seen: u64,
    /// Of those, packets that the filter let through.
    pub(super) fitting: u64,
    /// Of those, packets that found no room.
    pub(super) dropped: u64,
}

impl Blocks {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(super) fn section_header(&mut self, program: &str, system: &str) {
        self.block(SECTION_HEADER, |block| {
            block.u32(BYTE_ORDER);
            block.u16(1);
            block.u16(0);
            block.u64(LENGTH_UNKNOWN);
            block.option(3, system.as_bytes());
            block.option(4, program.as_bytes());
            block.end_of_options();
        });
    }

    /// `filter` is left out when everything is captured.
    pub(super) fn interface(&mut self, name: &str, description: &str, filter: &str, snap: u32) {
        self.block(INTERFACE_DESCRIPTION, |block| {
            block.u16(LINKTYPE_ETHERNET);
            block.u16(0);
            block.u32(snap);
            block.option(2, name.as_bytes());
            block.option(3, description.as_bytes());
            block.option(9, &[NANOSECONDS]);
            if !filter.is_empty() {
                // The first byte says that what follows is a filter in libpcap's words, which ours are too.
                block.option(11, &[&[0], filter.as_bytes()].concat());
            }
            block.end_of_options();
        });
    }

    pub(super) fn packet(&mut self, head: &PacketHead, pieces: [&[u8]; 2]) {
        let PacketHead { interface, unix_nanos, is_outgoing, original_bytes, dropped } = *head;
        self.block(ENHANCED_PACKET, |block| {
            block.u32(interface);
            block.time(unix_nanos);
            let captured = pieces.iter().map(|piece| piece.len()).sum::<usize>();
            block.u32(u32::try_from(captured).unwrap_or(u32::MAX));
            block.u32(original_bytes);
            pieces.iter().for_each(|piece| block.bytes.extend_from_slice(piece));
            block.pad();
            let direction = if is_outgoing { DIRECTION_OUT } else { DIRECTION_IN };
            block.option(2, &direction.to_le_bytes());
            if dropped > 0 {
                block.option(4, &u64::from(dropped).to_le_bytes());
            }
            block.end_of_options();
        });
    }

    pub(super) fn statistics(&mut self, interface: u32, statistics: &Statistics) {
        let Statistics { began_unix_nanos, now_unix_nanos, seen, fitting, dropped } = *statistics;
        self.block(INTERFACE_STATISTICS, |block| {
            block.u32(interface);
            block.time(now_unix_nanos);
            for (code, nanos) in [(2, began_unix_nanos), (3, now_unix_nanos)] {
                block.option(code, &halves(nanos));
            }
            for (code, count) in [(4, seen), (6, fitting), (7, dropped), (8, fitting.saturating_sub(dropped))]
            {
                block.option(code, &count.to_le_bytes());
            }
            block.end_of_options();
        });
    }

    fn block(&mut self, kind: u32, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.u32(kind);
        self.u32(0);
        body(self);
        let length = u32::try_from(self.bytes.len() - start + 4).unwrap_or(u32::MAX);
        self.u32(length);
        self.bytes[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        let value = &value[..value.len().min(usize::from(u16::MAX))];
        self.u16(code);
        self.u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    fn end_of_options(&mut self) {
        self.u32(0);
    }

    /// Every block begins at a multiple of 4, so that counting from the buffer's beginning is right.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn time(&mut self, nanos: u64) {
        self.bytes.extend_from_slice(&halves(nanos));
    }

    fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }
}

/// A time as the format has it: the upper half first, each half little-endian.
fn halves(value: u64) -> [u8; 8] {
    value.rotate_left(32).to_le_bytes()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A block, taken apart by the rules and not by our writer.
    #[derive(Debug)]
    pub(crate) struct Block {
        pub(crate) kind: u32,
        pub(crate) body: Vec<u8>,
    }

    pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    pub(crate) fn blocks(mut bytes: &[u8]) -> Vec<Block> {
        let mut blocks = Vec::new();
        while !bytes.is_empty() {
            let length = u32_at(bytes, 4) as usize;
            assert!(length.is_multiple_of(4) && length >= 12, "{length}");
            assert_eq!(u32_at(bytes, length - 4) as usize, length, "the two lengths differ");
            blocks.push(Block { kind: u32_at(bytes, 0), body: bytes[8..length - 4].to_vec() });
            bytes = &bytes[length..];
        }
        blocks
    }

    /// The options from `at` on.
    pub(crate) fn options(body: &[u8], mut at: usize) -> Vec<(u16, Vec<u8>)> {
        let mut options = Vec::new();
        loop {
            let [code, length] =
                [at, at + 2].map(|at| u16::from_le_bytes(body[at..at + 2].try_into().unwrap()));
            at += 4;
            if code == 0 {
                assert_eq!((length, at), (0, body.len()));
                return options;
            }
            options.push((code, body[at..at + usize::from(length)].to_vec()));
            at += usize::from(length).next_multiple_of(4);
        }
    }

    #[test]
    fn a_packet_has_its_time_its_lengths_its_direction_and_what_was_lost_before_it() {
        let mut written = Blocks::default();
        let head = PacketHead {
            interface: 3,
            unix_nanos: 0x0123_4567_89AB_CDEF,
            is_outgoing: true,
            original_bytes: 65_000,
            dropped: 7,
        };
        written.packet(&head, [b"abc", b"de"]);
        let [block] = &blocks(written.bytes())[..] else { panic!() };
        assert_eq!(block.kind, 6);
        let words: Vec<_> = (0..5).map(|index| u32_at(&block.body, index * 4)).collect();
        assert_eq!(words, [3, 0x0123_4567, 0x89AB_CDEF, 5, 65_000]);
        assert_eq!(&block.body[20..28], b"abcde\0\0\0");
        let told = options(&block.body, 28);
        assert_eq!(told, [(2, vec![2, 0, 0, 0]), (4, vec![7, 0, 0, 0, 0, 0, 0, 0])]);
    }

    #[test]
    fn an_interface_is_ethernet_in_nanoseconds_with_name_and_filter() {
        let mut written = Blocks::default();
        written.section_header("atlas 1", "Linux");
        written.interface("atlas0", "worker 0", "port 443", 128);
        written.interface("atlas0", "worker 1", "", 128);
        let blocks = blocks(written.bytes());
        let kinds: Vec<_> = blocks.iter().map(|block| block.kind).collect();
        assert_eq!(kinds, [0x0A0D_0D0A, 1, 1]);
        assert_eq!(u32_at(&blocks[0].body, 0), 0x1A2B_3C4D);
        assert_eq!(u32_at(&blocks[1].body, 0), 1, "Ethernet, and two bytes for nobody");
        assert_eq!(u32_at(&blocks[1].body, 4), 128);
        let told = options(&blocks[1].body, 8);
        assert_eq!(told[0], (2, b"atlas0".to_vec()));
        assert_eq!(told[2], (9, vec![9]));
        assert_eq!(told[3], (11, b"\0port 443".to_vec()));
        assert_eq!(options(&blocks[2].body, 8).len(), 3);
    }

    #[test]
    fn statistics_add_up() {
        let mut written = Blocks::default();
        let statistics = Statistics { seen: 10, fitting: 6, dropped: 2, ..Statistics::default() };
        written.statistics(1, &statistics);
        let [block] = &blocks(written.bytes())[..] else { panic!() };
        assert_eq!((block.kind, u32_at(&block.body, 0)), (5, 1));
        let counts: Vec<_> = options(&block.body, 12)[2..]
            .iter()
            .map(|(code, value)| (*code, u64::from_le_bytes(value[..].try_into().unwrap())))
            .collect();
        assert_eq!(counts, [(4, 10), (6, 6), (7, 2), (8, 4)]);
    }
}
