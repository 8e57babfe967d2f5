//! Frames, and the TCP header alone.

use wire::tcp::{HEADER_BYTES_MAX, Header};
use wire::{Packet, parse_frame};

/// Any frame.
///
/// # Panics
/// A law is broken: verifying only ever refuses more, and a payload lies within its frame.
pub fn wire_frame(bytes: &[u8]) {
    let trusted = parse_frame(bytes, false);
    if let Ok(verified) = parse_frame(bytes, true) {
        assert_eq!(trusted, Ok(verified), "verifying must not change what is read");
    }
    let Ok(parsed) = trusted else { return };
    let payload = match parsed.packet {
        Packet::Tcp(segment) => {
            assert_reads_back(&segment.header);
            segment.payload
        }
        Packet::Udp(datagram) => datagram.payload,
        _ => return,
    };
    let frame = bytes.as_ptr_range();
    let within = payload.as_ptr_range();
    assert!(frame.start <= within.start && within.end <= frame.end, "a payload outside its frame");
}

/// Any TCP header.
///
/// # Panics
/// A law is broken: what was read is written so that it is read again.
pub fn tcp_header(bytes: &[u8]) {
    let Ok((header, payload)) = Header::parse(bytes) else { return };
    assert!(payload <= bytes.len(), "a payload behind the end of its segment");
    assert_reads_back(&header);
}

/// Options that stood close together on the wire may not all fit once they are aligned: then SACK blocks are left out,
/// so the law holds from the first writing on.
fn assert_reads_back(header: &Header) {
    let mut buffer = [0xa5; HEADER_BYTES_MAX];
    let len = header.emit(&mut buffer);
    assert_eq!(len, header.len());
    let (once, offset) = Header::parse(&buffer[..len]).expect("what we write can be read");
    assert_eq!(offset, len);
    let mut again = [0x5a; HEADER_BYTES_MAX];
    let len_again = once.emit(&mut again);
    assert_eq!(buffer[..len], again[..len_again], "written twice, read differently");
    assert_eq!(
        (once.seq, once.ack, once.flags, once.window),
        (header.seq, header.ack, header.flags, header.window)
    );
    assert_eq!(once.options.timestamps, header.options.timestamps);
    assert_eq!(once.options.mss, header.options.mss);
}
