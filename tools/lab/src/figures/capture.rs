//! Packets as they pass a device, with the time that the kernel gives them: tcpdump writes, we read.
//!
//! ```text
//!   tcpdump -i DEVICE -w FILE ──▶ records: seconds, nanoseconds, length, first bytes ──▶ Segment
//! ```
//!
//! A superframe is one packet here: the device would cut it later, or its sender's kernel never will.

use core::fmt;
use core::net::SocketAddrV4;
use core::time::Duration;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use testbed::Namespace;
use wire::tcp::{Flags, Header};

/// Headers with every option.
const SNAP_BYTES: &str = "128";
/// The format's own: nanoseconds, in the byte order of who wrote it.
const MAGIC: u32 = 0xa1b2_3c4d;
const FILE_HEADER_BYTES: usize = 24;
const RECORD_HEADER_BYTES: usize = 16;
const ETHERNET_BYTES: usize = 14;

/// A TCP segment that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Since the beginning of time, as the kernel counts it.
    pub(super) at: Duration,
    /// Who sent it.
    pub(super) from: SocketAddrV4,
    /// To whom.
    pub(super) to: SocketAddrV4,
    /// Its header.
    pub(super) header: Header,
    /// How much it carries.
    pub(super) payload_bytes: u32,
}

/// Why there is no capture.
#[derive(Debug)]
pub(super) enum CaptureError {
    /// tcpdump cannot be started.
    NotStarted(std::io::Error),
    /// It ended, and said this.
    Ended(String),
    /// The file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// The file is none that it writes.
    NoCapture,
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(error) => {
                write!(f, "tcpdump cannot be started ({error}): install the Debian package tcpdump")
            }
            Self::Ended(said) => write!(f, "tcpdump ended: {said}"),
            Self::Unreadable(path, error) => write!(f, "{}: {error}", path.display()),
            Self::NoCapture => f.write_str("tcpdump wrote something else than packets"),
        }
    }
}

impl core::error::Error for CaptureError {}

/// A capture under way.
#[derive(Debug)]
pub(super) struct Capture {
    tcpdump: Child,
    file: PathBuf,
}

impl Capture {
    /// Begins: packets of `device` that `filter` lets through, from now on.
    ///
    /// # Errors
    /// tcpdump is not there, or does not like what it is told.
    pub(super) fn begin(
        namespace: &Namespace,
        device: &str,
        filter: &str,
        file: &Path,
    ) -> Result<Self, CaptureError> {
        let mut command = namespace.command("tcpdump");
        command.args(["-i", device, "-n", "--immediate-mode", "--time-stamp-precision=nano", "-Z", "root"]);
        command.args(["-s", SNAP_BYTES, "-w"]).arg(file).arg(filter);
        let mut tcpdump = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(CaptureError::NotStarted)?;
        // It says so when it listens, and says why when it does not.
        let mut said = String::new();
        let errors = tcpdump.stderr.take();
        for line in errors.into_iter().flat_map(|errors| BufReader::new(errors).lines().map_while(Result::ok))
        {
            if line.contains("listening on") {
                return Ok(Self { tcpdump, file: file.to_owned() });
            }
            said = line;
        }
        let _ = tcpdump.wait();
        Err(CaptureError::Ended(said))
    }

    /// Ends, and says what passed.
    ///
    /// # Errors
    /// What was written cannot be read.
    pub(super) fn end(mut self) -> Result<Vec<Segment>, CaptureError> {
        self.stop();
        let bytes =
            std::fs::read(&self.file).map_err(|error| CaptureError::Unreadable(self.file.clone(), error))?;
        parse(&bytes).ok_or(CaptureError::NoCapture)
    }

    /// It writes what it has when it is asked to leave.
    fn stop(&mut self) {
        if let Some(process) = i32::try_from(self.tcpdump.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(process, Signal::INT);
        }
        let _ = self.tcpdump.wait();
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if matches!(self.tcpdump.try_wait(), Ok(None)) {
            self.stop();
        }
    }
}

/// The TCP segments of a file; other packets are passed over, and a record that was cut short ends it.
fn parse(file: &[u8]) -> Option<Vec<Segment>> {
    let four = |at: usize| <[u8; 4]>::try_from(file.get(at..at + 4)?).ok();
    let number = match (u32::from_le_bytes(four(0)?), u32::from_be_bytes(four(0)?)) {
        (MAGIC, _) => u32::from_le_bytes,
        (_, MAGIC) => u32::from_be_bytes,
        _ => return None,
    };
    let mut segments = Vec::new();
    let mut at = FILE_HEADER_BYTES;
    while let (Some(seconds), Some(nanos), Some(bytes)) = (four(at), four(at + 4), four(at + 8)) {
        let start = at + RECORD_HEADER_BYTES;
        let end = start + usize::try_from(number(bytes)).ok()?;
        let Some(packet) = file.get(start..end) else { break };
        let time = Duration::new(number(seconds).into(), number(nanos));
        segments.extend(segment(time, packet));
        at = end;
    }
    Some(segments)
}

/// Of IPv4 without options; the packet may have been cut behind its headers.
fn segment(at: Duration, packet: &[u8]) -> Option<Segment> {
    if packet.get(12..14)? != [0x08, 0x00] || packet.get(14)? != &0x45 || packet.get(23)? != &6 {
        return None;
    }
    let ip = packet.get(ETHERNET_BYTES..ETHERNET_BYTES + 20)?;
    let address = |from: usize| <[u8; 4]>::try_from(&ip[from..from + 4]).ok();
    let (header, data_at) = Header::parse(packet.get(ETHERNET_BYTES + 20..)?).ok()?;
    let total = u32::from(u16::from_be_bytes([ip[2], ip[3]]));
    Some(Segment {
        at,
        from: SocketAddrV4::new(address(12)?.into(), header.source_port),
        to: SocketAddrV4::new(address(16)?.into(), header.destination_port),
        header,
        payload_bytes: total.checked_sub(20 + u32::try_from(data_at).ok()?)?,
    })
}

impl Segment {
    /// It begins a connection.
    #[must_use]
    pub(super) fn opens(&self) -> bool {
        self.header.flags.contains(Flags::SYN) && !self.header.flags.contains(Flags::ACK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::tcp::{Options, SeqNum};
    use wire::{Checksum, MacAddr, checksum::Sum};

    const SERVER: SocketAddrV4 = SocketAddrV4::new(core::net::Ipv4Addr::new(198, 18, 1, 2), 80);
    const CLIENT: SocketAddrV4 = SocketAddrV4::new(core::net::Ipv4Addr::new(198, 18, 1, 9), 40_000);

    fn packet(payload_bytes: usize) -> (Header, Vec<u8>) {
        let header = Header {
            source_port: SERVER.port(),
            destination_port: CLIENT.port(),
            seq: SeqNum(7),
            ack: SeqNum(9),
            flags: Flags::ACK | Flags::PSH,
            window: 100,
            urgent: 0,
            options: Options::NONE,
        };
        let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
        let path = wire::Path::new(mac(1), mac(2), (*SERVER.ip()).into(), (*CLIENT.ip()).into());
        let mut bytes = vec![0; 128];
        let sum = Checksum::Software(Sum::of(&[]));
        let layout = wire::emit_tcp(&mut bytes, &path, &header, payload_bytes, sum);
        bytes.truncate(layout.len);
        (header, bytes)
    }

    fn file(number: fn(u32) -> [u8; 4], packets: &[Vec<u8>]) -> Vec<u8> {
        let mut file = [&number(MAGIC)[..], &[0; FILE_HEADER_BYTES - 4]].concat();
        for packet in packets {
            let bytes = u32::try_from(packet.len()).unwrap();
            for field in [5, 42, bytes, 60_000] {
                file.extend(number(field));
            }
            file.extend(packet);
        }
        file
    }

    #[test]
    fn a_superframe_cut_behind_its_headers_keeps_its_length() {
        let (header, packet) = packet(28_960);
        for number in [u32::to_le_bytes, u32::to_be_bytes] {
            let expected =
                Segment { at: Duration::new(5, 42), from: SERVER, to: CLIENT, header, payload_bytes: 28_960 };
            assert_eq!(parse(&file(number, core::slice::from_ref(&packet))), Some(vec![expected]));
        }
    }

    #[test]
    fn what_is_no_tcp_is_passed_over_and_what_was_cut_short_ends_it() {
        let (_, packet) = packet(1);
        let mut arp = packet.clone();
        arp[13] = 0x06;
        let whole = file(u32::to_le_bytes, &[arp, packet.clone(), packet]);
        assert_eq!(parse(&whole).unwrap().len(), 2);
        assert_eq!(parse(&whole[..whole.len() - 1]).unwrap().len(), 1);
        assert_eq!(parse(b"something else than a capture"), None);
    }
}
