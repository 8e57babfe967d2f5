//! The header before each packet (virtio 1.3 §5.1.6, without the field for merged buffers).
//!
//! ```text
//!   0       1          2         4          6            8
//!   | flags | gso_type | hdr_len | gso_size | csum_start | csum_offset |      little-endian
//! ```

use platform::{ChecksumOffload, Offload, Segmentation};

/// How long the header is: what the kernel expects of a TAP device and of a packet socket unless told
/// otherwise.
pub const HEADER_BYTES: usize = 10;

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_ECN: u8 = 0x80;

/// What a packet's sender leaves to the device, or what the device says of a packet it delivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    flags: u8,
    gso_type: u8,
    hdr_len: u16,
    gso_size: u16,
    csum_start: u16,
    csum_offset: u16,
}

impl VnetHeader {
    /// The header for a packet to be sent with `headers_bytes` of headers.
    #[must_use]
    pub fn of(offload: Offload, headers_bytes: usize) -> Self {
        let mut header = Self::default();
        if let Some(ChecksumOffload { start, field }) = offload.checksum {
            header.flags = NEEDS_CSUM;
            header.csum_start = start;
            header.csum_offset = field;
        }
        if let Some(Segmentation { mss, ipv6 }) = offload.segmentation {
            header.gso_type = if ipv6 { GSO_TCPV6 } else { GSO_TCPV4 };
            header.gso_size = mss;
            header.hdr_len = u16::try_from(headers_bytes).unwrap_or(u16::MAX);
        }
        header
    }

    /// The same, for a kernel that copies the first `bytes` of the packet and leaves the others where they are.
    #[must_use]
    pub fn copying(self, bytes: usize) -> Self {
        Self { hdr_len: u16::try_from(bytes).unwrap_or(u16::MAX), ..self }
    }

    /// The header as the device reads it.
    #[must_use]
    pub fn emit(self) -> [u8; HEADER_BYTES] {
        let Self { flags, gso_type, hdr_len, gso_size, csum_start, csum_offset } = self;
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = flags;
        bytes[1] = gso_type;
        bytes[2..4].copy_from_slice(&hdr_len.to_le_bytes());
        bytes[4..6].copy_from_slice(&gso_size.to_le_bytes());
        bytes[6..8].copy_from_slice(&csum_start.to_le_bytes());
        bytes[8..].copy_from_slice(&csum_offset.to_le_bytes());
        bytes
    }

    /// The header before a packet that arrived. Every ten bytes are one.
    #[must_use]
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Self {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Self {
            flags: bytes[0],
            gso_type: bytes[1],
            hdr_len: u16_at(2),
            gso_size: u16_at(4),
            csum_start: u16_at(6),
            csum_offset: u16_at(8),
        }
    }

    /// The device vouches for the transport checksum: it checked it, or the packet never was on a wire and
    /// its checksum was never finished.
    #[must_use]
    pub fn verified(self) -> bool {
        self.flags & (NEEDS_CSUM | DATA_VALID) != 0
    }

    /// The payload of each segment, when the packet is several that were merged.
    #[must_use]
    pub fn merged(self) -> Option<u16> {
        (self.gso_type & !GSO_ECN != GSO_NONE).then_some(self.gso_size)
    }
}
