//! Peers as no server wishes for: who go away, who never come, who take their time; and one who looks at a file that changes.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use rand::rngs::SmallRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rustix::net::sockopt::set_socket_linger;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use wire::checksum::Sum;
use wire::tcp::{Flags, Header, Options, SeqNum};
use wire::{Checksum, MacAddr, Path, emit_tcp};

use super::place::{PREFIX_LEN, SERVER};
use crate::device::{Device, DeviceName};

/// Nobody waits longer for anything here.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where half-open connections pretend to come from: one address out of so many.
const PRETENDERS: u32 = 60_000;

/// Connects, asks, perhaps reads a little, and resets; until `stop`. Returns how often.
pub(super) fn reset(server: SocketAddr, request: &[u8], stop: &AtomicBool, seed: u64) -> u64 {
    let mut dice = SmallRng::seed_from_u64(seed);
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect_timeout(&server, PATIENCE) else { continue };
        let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
        let (length, reads) = (dice.random_range(0..=request.len()), dice.random_range(0..4));
        let _ = stream.write_all(&request[..length]);
        let mut room = [0; 16 << 10];
        for _ in 0..reads {
            if !matches!(stream.read(&mut room), Ok(1..)) {
                break;
            }
        }
        let _ = set_socket_linger(&stream, Some(Duration::ZERO));
        count += 1;
    }
    count
}

/// Asks for an object over and over and takes it a few bytes at a time; every byte has to be right.
pub(super) fn read_slowly(
    server: SocketAddr,
    (target, expected): (&str, &[u8]),
    stop: &AtomicBool,
    complain: &mut dyn FnMut(String),
) -> u64 {
    let mut bytes = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect_timeout(&server, PATIENCE) else { continue };
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: soak\r\n\r\n").as_bytes());
        let (mut head, mut at, mut room) = (Vec::new(), None, [0; 2_048]);
        while !stop.load(Ordering::Relaxed) && at.is_none_or(|at| at < expected.len()) {
            let Ok(count @ 1..) = stream.read(&mut room) else {
                complain(format!("{target}: a slow reader was left after {at:?} bytes"));
                break;
            };
            let mut now = &room[..count];
            if at.is_none() {
                head.extend_from_slice(now);
                let Some(end) = head.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
                let begun = head.len() - count;
                now = &room[(end + 4).saturating_sub(begun)..count];
            }
            let from = at.unwrap_or(0);
            if expected.get(from..from + now.len()) != Some(now) {
                complain(format!(
                    "{target}: a slow reader got other bytes at {from} to {}",
                    from + now.len()
                ));
                break;
            }
            at = Some(from + now.len());
            bytes += now.len() as u64;
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    bytes
}

/// SYNs from addresses where nobody is, about `rate` a second, until `stop`; from a thread in the client's network. Returns
/// how many left.
///
/// # Errors
/// No socket, or the server's hardware address is not known here.
pub(super) fn flood(server: SocketAddr, rate: u32, stop: &AtomicBool, seed: u64) -> Result<u64, String> {
    let hop = neighbour(server.ip()).ok_or_else(|| format!("nobody here knows where {} is", server.ip()))?;
    let device = Device::open(&DeviceName::Packet("near".to_owned()), (SERVER.into(), PREFIX_LEN), &[]);
    let mut port = device.and_then(Device::into_port).map_err(|error| error.to_string())?;
    let mut dice = SmallRng::seed_from_u64(seed);
    let (mut count, pace) = (0, Duration::from_millis(10));
    while !stop.load(Ordering::Relaxed) {
        let link = port.link_mut();
        while link.receive().is_some() {}
        link.reclaim();
        for _ in 0..rate / 100 {
            let source =
                Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 8, 1)) + dice.random_range(0..PRETENDERS));
            let header = Header {
                source_port: dice.random_range(1_024..=u16::MAX),
                destination_port: server.port(),
                seq: SeqNum(dice.next_u32()),
                ack: SeqNum(0),
                flags: Flags::SYN,
                window: u16::MAX,
                urgent: 0,
                options: Options::NONE,
            };
            let path = Path::new(MacAddr([2, 0, 0, 0, 7, 7]), hop, IpAddr::V4(source), server.ip());
            let mut packet = [0; 128];
            let layout = emit_tcp(&mut packet, &path, &header, 0, Checksum::Software(Sum::ZERO));
            count += u64::from(link.stage_bytes(&packet[..layout.len]).is_ok());
        }
        link.flush();
        std::thread::sleep(pace);
    }
    Ok(count)
}

/// The hardware address of a neighbour of this thread's network, as the kernel knows it.
fn neighbour(ip: IpAddr) -> Option<MacAddr> {
    let table = std::fs::read_to_string("/proc/thread-self/net/arp").ok()?;
    hardware_address(&table, &ip.to_string())
}

fn hardware_address(table: &str, ip: &str) -> Option<MacAddr> {
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(ip))?;
    let mut mac = [0; 6];
    let mut octets = line.split_whitespace().nth(3)?.split(':');
    for octet in &mut mac {
        *octet = u8::from_str_radix(octets.next()?, 16).ok()?;
    }
    (mac != [0; 6]).then_some(MacAddr(mac))
}

/// What a file that changes may be now.
#[derive(Debug, Default)]
pub(super) struct Changing {
    /// Whole contents, and whether a beginning of one is as good.
    may_be: Mutex<(Vec<Arc<Vec<u8>>>, bool)>,
    /// 403, 404, 500 and 503 are answers, too.
    pub(super) may_be_refused: AtomicBool,
    /// Times that it came whole, and bytes that were right.
    pub(super) came: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Times that it was refused.
    pub(super) refused: AtomicU64,
}

impl Changing {
    /// From now on it is one of these; or, when it is being cut, a beginning of one.
    pub(super) fn set(&self, contents: Vec<Arc<Vec<u8>>>, cut: bool) {
        if let Ok(mut may_be) = self.may_be.lock() {
            *may_be = (contents, cut);
        }
    }

    fn get(&self) -> (Vec<Arc<Vec<u8>>>, bool) {
        self.may_be.lock().map(|may_be| may_be.clone()).unwrap_or_default()
    }
}

/// What came of one request for it.
enum Came {
    Whole(Vec<u8>),
    /// The connection ended early, or broke.
    Part(Vec<u8>),
    Refused(u16),
}

/// Asks for a file that changes until `stop`, on a connection for each request, and complains of whatever it never was.
pub(super) fn watch(
    server: SocketAddr,
    target: &str,
    changing: &Changing,
    stop: &AtomicBool,
    complain: &mut dyn FnMut(String),
) {
    while !stop.load(Ordering::Relaxed) {
        let before = changing.get();
        let refusable = changing.may_be_refused.load(Ordering::SeqCst);
        let came = get(server, target);
        let after = changing.get();
        let refusable = refusable || changing.may_be_refused.load(Ordering::SeqCst);
        let cut = before.1 || after.1;
        let is = |body: &[u8], whole: bool| {
            let mut contents = before.0.iter().chain(&after.0);
            contents.any(|content| if whole { content.as_slice() == body } else { content.starts_with(body) })
        };
        match came {
            Ok(Came::Whole(body)) if is(&body, !cut) => {
                changing.came.fetch_add(1, Ordering::Relaxed);
                changing.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
            }
            Ok(Came::Whole(body)) => complain(format!("{target}: {} bytes that it never was", body.len())),
            Ok(Came::Part(body)) if is(&body, false) && cut => {
                changing.refused.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Came::Part(body)) => complain(format!("{target}: it ended after {} bytes", body.len())),
            Ok(Came::Refused(403 | 404 | 500 | 503)) if refusable => {
                changing.refused.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Came::Refused(status)) => complain(format!("{target}: status {status}")),
            Err(error) => complain(format!("{target}: {error}")),
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

fn get(server: SocketAddr, target: &str) -> io::Result<Came> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream
        .write_all(format!("GET {target} HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n").as_bytes())?;
    let (mut text, begun) = (Vec::new(), Instant::now());
    // A reset ends a response as much as a close does.
    let ended = stream.read_to_end(&mut text);
    if begun.elapsed() > PATIENCE * 2 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let Some(end) = text.windows(4).position(|end| end == b"\r\n\r\n") else {
        return match ended {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
            _ => Ok(Came::Part(Vec::new())),
        };
    };
    let head = String::from_utf8_lossy(&text[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    if status != 200 {
        return Ok(Came::Refused(status));
    }
    let length = head.lines().filter_map(|line| line.split_once(':'));
    let length = length
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .find_map(|(_, value)| value.trim().parse::<usize>().ok());
    let body = text.split_off(end + 4);
    Ok(if length == Some(body.len()) { Came::Whole(body) } else { Came::Part(body) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_is_found_in_the_kernels_table() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     198.18.1.3       0x1         0x2         02:00:5e:10:00:0f     *        near\n\
                     198.18.1.4       0x1         0x0         00:00:00:00:00:00     *        near\n";
        assert_eq!(hardware_address(table, "198.18.1.3"), Some(MacAddr([2, 0, 0x5e, 0x10, 0, 15])));
        assert_eq!(hardware_address(table, "198.18.1.4"), None);
        assert_eq!(hardware_address(table, "198.18.1.5"), None);
    }
}
