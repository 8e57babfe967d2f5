//! Where packets may be captured to, and which: the options that begin with `--pcap`.

use control::{CAPTURE_BYTES_MIN, CAPTURE_SNAP_MAX, CAPTURE_SNAP_MIN, CaptureFilter};
use core::fmt;
use std::path::PathBuf;

use super::{Bytes, Common, ConfigError, PacketFilter};

/// Unless chosen otherwise: room for some minutes of headers at a gigabit a second.
const BYTES: Bytes = Bytes(256 << 20);
/// Headers with all their options, and hardly a byte of anybody's content.
const SNAP: u32 = 128;

/// What `--pcap` and its like amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureChoice {
    /// The first of the two files.
    pub file: PathBuf,
    /// Which packets.
    pub filter: CaptureFilter,
    /// The size of both files.
    pub bytes_max: u64,
    /// What is kept of a packet.
    pub snap: u32,
    /// From the first packet on.
    pub at_start: bool,
}

impl fmt::Display for CaptureChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, filter, bytes_max, snap, at_start } = self;
        let file = file.display();
        let all = *filter == CaptureFilter::default();
        let what = if all { "all packets".to_owned() } else { filter.to_string() };
        let since = if *at_start { "" } else { " when it is asked for" };
        write!(f, "{what} to {file} and {file}.1{since}, {snap} bytes of each, at most {}", Bytes(*bytes_max))
    }
}

pub(super) fn resolve(options: &Common) -> Result<Option<CaptureChoice>, ConfigError> {
    let wrong = |line: String| Err(ConfigError::Contradiction(line));
    let Common { pcap, pcap_filter, pcap_size, pcap_snap, pcap_start, .. } = options;
    let Some(file) = pcap else {
        let given = [
            (pcap_filter.is_some(), "--pcap-filter"),
            (pcap_size.is_some(), "--pcap-size"),
            (pcap_snap.is_some(), "--pcap-snap"),
            (pcap_start.is_some(), "--pcap-start"),
        ];
        return match given.iter().find(|(is_given, _)| *is_given) {
            Some((_, option)) => wrong(format!("{option} without --pcap: name the file to capture to")),
            None => Ok(None),
        };
    };
    let bytes_max = pcap_size.unwrap_or(BYTES);
    if bytes_max.0 < CAPTURE_BYTES_MIN {
        return wrong(format!("--pcap-size {bytes_max} is less than {}", Bytes(CAPTURE_BYTES_MIN)));
    }
    let snap = pcap_snap.unwrap_or(SNAP);
    if !(CAPTURE_SNAP_MIN..=CAPTURE_SNAP_MAX).contains(&snap) {
        return wrong(format!("--pcap-snap {snap} is not from {CAPTURE_SNAP_MIN} to {CAPTURE_SNAP_MAX}"));
    }
    Ok(Some(CaptureChoice {
        file: file.clone(),
        filter: pcap_filter.map_or_else(CaptureFilter::default, |PacketFilter(filter)| filter),
        bytes_max: bytes_max.0,
        snap,
        at_start: pcap_start.unwrap_or(true),
    }))
}
