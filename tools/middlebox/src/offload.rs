//! What a virtio-net header asks to be cut (virtio 1.3 §5.1.6).

use link_memory::{SegmentError, Segments, segment, segment_datagrams, split};
use platform::{ChecksumOffload, Offload, Segmentation};
use vnet::{HEADER_BYTES, VnetHeader};

const NEEDS_CSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// A bit beside the type: the superframe's first segment carries CWR.
const GSO_ECN: u8 = 0x80;

/// The longest frame that every device takes, without its tags: 64 KiB of IP behind an Ethernet header.
pub(crate) const ETHERNET_BYTES_MAX: usize = 14 + 65_535;

/// A superframe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Superframe {
    kind: Kind,
    checksum: Option<ChecksumOffload>,
    mss: u16,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    TcpV4,
    TcpV6,
    Udp,
}

impl Superframe {
    /// What is behind this header; `None` when it is no superframe of TCP or of datagrams alike.
    pub(crate) fn behind(header: &[u8; HEADER_BYTES]) -> Option<Self> {
        let kind = match header[1] & !GSO_ECN {
            GSO_TCPV4 => Kind::TcpV4,
            GSO_TCPV6 => Kind::TcpV6,
            GSO_UDP_L4 => Kind::Udp,
            _ => return None,
        };
        let mss = VnetHeader::parse(header).merged()?;
        Some(Self { kind, checksum: checksum_of(header), mss })
    }

    /// Its packets.
    ///
    /// # Errors
    /// The header does not fit the frame.
    pub(crate) fn cut(self, ethernet: &[u8]) -> Result<Segments<'_>, SegmentError> {
        let Self { kind, checksum, mss } = self;
        let tcp =
            |ipv6| segment(ethernet, Offload { checksum, segmentation: Some(Segmentation { mss, ipv6 }) });
        match kind {
            Kind::TcpV4 => tcp(false),
            Kind::TcpV6 => tcp(true),
            Kind::Udp => {
                let checksum = checksum.ok_or(SegmentError::NoChecksum)?;
                segment_datagrams(ethernet, checksum, Segmentation { mss, ipv6: false })
                    .or_else(|_| segment_datagrams(ethernet, checksum, Segmentation { mss, ipv6: true }))
            }
        }
    }

    /// Shorter superframes with the same packets: no device must take one of more than 64 KiB, and and Linux 6.18
    /// damages those of IPv6 that a packet socket sends (it removes their jumbo header and sets no length).
    ///
    /// # Errors
    /// The header does not fit the frame.
    pub(crate) fn split(self, ethernet: &[u8]) -> Result<Segments<'_>, SegmentError> {
        let Self { kind, checksum, mss } = self;
        let checksum = checksum.ok_or(SegmentError::NoChecksum)?;
        let segmentation = Segmentation { mss, ipv6: matches!(kind, Kind::TcpV6) };
        split(ethernet, checksum, segmentation, ETHERNET_BYTES_MAX)
    }

    /// The header for one of them.
    pub(crate) fn header(
        self,
        header: &[u8; HEADER_BYTES],
        transport: usize,
        ethernet: &[u8],
    ) -> [u8; HEADER_BYTES] {
        let mut header = *header;
        let payload = transport + usize::from(ethernet.get(transport + 12).map_or(0, |byte| byte >> 4)) * 4;
        let [transport, headers] =
            [transport, payload].map(|bytes| u16::try_from(bytes).unwrap_or(u16::MAX).to_le_bytes());
        header[2..4].copy_from_slice(&headers);
        header[6..8].copy_from_slice(&transport);
        if ethernet.len() <= payload + usize::from(self.mss) {
            // One packet is no superframe.
            (header[1], header[2], header[3], header[4], header[5]) = (0, 0, 0, 0, 0);
        }
        header
    }
}

/// The packets of a frame behind its virtio-net header, each complete: for a device that neither cuts nor sums.
///
/// # Errors
/// The header does not fit the frame.
pub fn finish(frame: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), SegmentError> {
    let (header, ethernet) = frame.split_first_chunk::<HEADER_BYTES>().ok_or(SegmentError::Truncated)?;
    let mut segments = match Superframe::behind(header) {
        Some(superframe) => superframe.cut(ethernet)?,
        None => segment(ethernet, Offload { checksum: checksum_of(header), segmentation: None })?,
    };
    let mut packet = Vec::new();
    while segments.next_into(&mut packet) {
        each(&packet);
    }
    Ok(())
}

/// The checksum that is left to the device.
fn checksum_of(header: &[u8; HEADER_BYTES]) -> Option<ChecksumOffload> {
    let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    (header[0] & NEEDS_CSUM != 0).then(|| ChecksumOffload { start: u16_at(6), field: u16_at(8) })
}
