//! How a packet is cut into descriptors.
//!
//! A descriptor names at most a chunk. Where the NIC reads the arena, one page's address says nothing of the next one's
//! (an IOMMU maps each by itself), so no descriptor crosses a page there.

use dma::CHUNK_BYTES;

const PAGE_BYTES: u64 = 4_096;

/// What descriptors may be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The most bytes of one.
    pub(crate) bytes_max: u64,
    /// None crosses a page.
    pub(crate) within_pages: bool,
    /// The most of one packet; 1 when a packet must lie in one piece.
    pub(crate) count_max: usize,
}

impl Limits {
    pub(crate) fn new(zero_copy: bool, metadata_bytes: usize, count_max: usize) -> Self {
        Self { bytes_max: (CHUNK_BYTES - metadata_bytes) as u64, within_pages: zero_copy, count_max }
    }

    /// Address and length of each descriptor for `bytes` from `address` on.
    pub(crate) fn cut(self, mut address: u64, mut bytes: u64) -> impl Iterator<Item = (u64, u64)> {
        core::iter::from_fn(move || {
            let within = if self.within_pages { PAGE_BYTES - address % PAGE_BYTES } else { u64::MAX };
            let len = bytes.min(self.bytes_max).min(within);
            let piece = (len > 0).then_some((address, len));
            address += len;
            bytes -= len;
            piece
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_payload_within_a_page_is_one_descriptor() {
        let limits = Limits::new(true, 0, 4);
        assert_eq!(limits.cut(4_096 + 100, 1_448).collect::<Vec<_>>(), [(4_196, 1_448)]);
    }

    #[test]
    fn a_payload_across_two_pages_is_two_where_the_nic_reads_it_and_one_where_the_kernel_copies() {
        let pieces = |zero_copy| Limits::new(zero_copy, 0, 4).cut(8_000, 1_448).collect::<Vec<_>>();
        assert_eq!(pieces(true), [(8_000, 192), (8_192, 1_256)]);
        assert_eq!(pieces(false), [(8_000, 1_448)]);
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_payload_in_order_and_within_their_limits(
            address in 0_u64..1 << 40,
            bytes in 0_u64..70_000,
            zero_copy: bool,
            metadata in 0_usize..256,
        ) {
            let limits = Limits::new(zero_copy, metadata, 1);
            let mut next = address;
            for (at, len) in limits.cut(address, bytes) {
                prop_assert_eq!(at, next);
                prop_assert!(len > 0 && len + metadata as u64 <= CHUNK_BYTES as u64);
                prop_assert!(!zero_copy || at % PAGE_BYTES + len <= PAGE_BYTES);
                next = at + len;
            }
            prop_assert_eq!(next, address + bytes);
        }
    }
}
