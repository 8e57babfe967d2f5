//! What a virtio-net header asks to be cut (virtio 1.3 §5.1.6).

use platform::{ChecksumOffload, Offload, Segmentation};
use vnet::{HEADER_BYTES, VnetHeader};

const NEEDS_CSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
/// A bit beside the type: the superframe's first segment carries CWR.
const GSO_ECN: u8 = 0x80;

/// How to cut the TCP superframe behind this header; `None` when it is none. UDP superframes pass whole.
pub(crate) fn cut(header: &[u8; HEADER_BYTES]) -> Option<Offload> {
    let ipv6 = match header[1] & !GSO_ECN {
        GSO_TCPV4 => false,
        GSO_TCPV6 => true,
        _ => return None,
    };
    let mss = VnetHeader::parse(header).merged()?;
    let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let checksum =
        (header[0] & NEEDS_CSUM != 0).then(|| ChecksumOffload { start: u16_at(6), field: u16_at(8) });
    Some(Offload { checksum, segmentation: Some(Segmentation { mss, ipv6 }) })
}
