//! An interface under any traffic.

use crate::decision;
use clock::Instant;
use core::net::IpAddr;
use core::time::Duration;
use stack::{Address, HashKey, Input, Interface, InterfaceConfig, Replies};
use wire::MacAddr;

/// Frames one after the other, each with two bytes of length before it; the first byte of a frame also says how much
/// time passes.
///
/// # Panics
/// A law is broken: replies are bounded and are frames themselves, and TCP is handed on only when it is for us.
pub fn stack_frame(bytes: &[u8]) {
    let mut interface = interface();
    let mut replies = Replies::new();
    let mut now = Instant::EPOCH + Duration::from_secs(1);
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        let (frame, behind) = behind.split_at(length.min(behind.len()));
        rest = behind;
        let (pause, _) = decision(frame);
        now += Duration::from_micros(u64::from(pause) * 37);
        for verified in [false, true] {
            if let Input::Tcp(input) = interface.on_frame(now, frame, verified, &mut replies) {
                assert!(interface.is_ours(input.local()), "a segment for somebody else");
            }
        }
        interface.poll(now, &mut replies);
        while let Some(reply) = replies.front() {
            // Nothing we say ourselves may be malformed.
            wire::parse_frame(reply, true).expect("a reply of ours");
            replies.pop();
        }
    }
}

fn interface() -> Interface {
    let mut config = InterfaceConfig::new(MacAddr([2, 0, 0, 0, 0, 2]));
    for (ip, prefix_len) in [("10.0.0.2", 24), ("fd00::2", 64)] {
        let ip: IpAddr = ip.parse().expect("an address");
        config.addresses.push(Address { ip, prefix_len });
    }
    Interface::new(&config, HashKey::new([7; 16])).expect("a configuration of ours")
}
