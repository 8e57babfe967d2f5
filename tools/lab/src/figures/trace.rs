//! Figure 3.2: what becomes of one request, packet by packet, while a server is busy and not saturated.
//!
//! ```text
//!   198.18.1.1   clients in a closed loop with pauses ─┐
//!   198.18.1.9   one request after the other ──────────┴─ near ═ veth ═ far ── the server, on its core
//!                └─ captured at near: the connection of median length is drawn
//! ```
//!
//! Time runs from the client's SYN. Bytes of the response are drawn where they pass the client's device, as bars from the
//! first to the last of a packet, and the client's acknowledgements as steps.

use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use handshake::{ClientOptions, ClientSettings, Trust};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use testbed::Namespace;
use testbed::cpu::{Busy, pin};
use wire::tcp::Flags;

use super::capture::{Capture, Segment};
use super::contestant::{CLIENT_CORE, SERVER_CORE};
use crate::load::catalogue::{Catalogue, Part};
use crate::load::choice::{Chooser, Mix};
use crate::load::plan::{Demand, Plan};
use crate::load::run::{Effort, Via, run};

/// Where single requests come from.
pub(super) const PROBE: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 9);
/// Before the first one: the load is then what it will be.
const SETTLE: Duration = Duration::from_millis(500);
const BETWEEN: Duration = Duration::from_millis(10);

/// How a server is looked at.
#[derive(Clone, Debug)]
pub(super) struct Look<'a> {
    /// The namespace of the clients, whose device is `near`.
    pub(super) client: &'a Namespace,
    /// Where it listens.
    pub(super) server: SocketAddrV4,
    /// What is asked for.
    pub(super) path: &'a str,
    /// Clients that keep it busy.
    pub(super) clients: usize,
    /// Each pauses so long between two requests.
    pub(super) think: Duration,
    /// Single requests, the median of which is drawn.
    pub(super) probes: usize,
    /// Where the capture goes.
    pub(super) file: &'a Path,
}

/// A connection as it passed the client's device, and how busy the server was then.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trace {
    /// Packets of the server's with bytes of the response: when in microseconds, from which byte, to which.
    pub(super) data: Vec<(f64, f64, f64)>,
    /// What the client acknowledged, and when.
    pub(super) acknowledged: Vec<(f64, f64)>,
    /// SYN, SYN-ACK, request and the server's FIN.
    pub(super) marks: Vec<(f64, f64)>,
    /// Share of the server's core.
    pub(super) busy: f64,
    /// Of the load.
    pub(super) requests_per_s: f64,
}

/// Puts the load on the server, asks for one thing after the other, and takes the connection of median length.
///
/// # Errors
/// One line: the load failed, nothing came, or nothing could be captured.
pub(super) fn look(look: &Look<'_>) -> Result<Trace, String> {
    let stop = AtomicBool::new(false);
    let plan = Arc::new(plan(look)?);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            let effort = Effort {
                warm_up: Duration::ZERO,
                duration: Duration::from_secs(60),
                requests: None,
                verify: 0.0,
            };
            let enter = || look.client.enter().map_err(|error| error.to_string());
            run(&plan, Via::Kernel, &[CLIENT_CORE], &effort, &stop, &enter, &mut |_, _| {})
        });
        let probes = scope.spawn(|| probe(look));
        let probed = probes.join().unwrap_or_else(|_| Err("a client died".to_owned()));
        stop.store(true, Ordering::Relaxed);
        let outcome = load.join().unwrap_or_else(|_| Err("the load died".to_owned()))?;
        if let Some((kind, _, failures)) = outcome.failures().into_iter().next() {
            return Err(format!("the load: {kind}: {}", failures.first.unwrap_or_default()));
        }
        let (segments, busy) = probed?;
        let mut trace = median(&segments, look.server).ok_or("no connection was captured whole")?;
        (trace.busy, trace.requests_per_s) = (busy, outcome.requests_per_s());
        Ok(trace)
    })
}

fn plan(look: &Look<'_>) -> Result<Plan, String> {
    let mut catalogue = Catalogue::default();
    catalogue
        .add(&format!("http://{}{}", look.server, look.path), None)
        .map_err(|error| error.to_string())?;
    Ok(Plan {
        chooser: Chooser::new(Mix::Sequential, &[0])?,
        catalogue,
        part: Part::Whole,
        demand: Demand { requests_per_connection: Some(1), think: look.think, habit: None },
        connections: look.clients,
        // So that not all of them pause at the same time.
        ramp: look.think,
        timeout: Duration::from_secs(10),
        sources: vec![Ipv4Addr::new(198, 18, 1, 1).into()],
        truth: None,
        tls: ClientSettings::new(Trust::Anyone, ClientOptions::default())
            .map_err(|error| error.to_string())?,
        seed: 1,
    })
}

/// What was captured of the single requests, and how busy the server's core was meanwhile.
fn probe(look: &Look<'_>) -> Result<(Vec<Segment>, f64), String> {
    look.client.enter().map_err(|error| error.to_string())?;
    pin(CLIENT_CORE);
    thread::sleep(SETTLE);
    let filter = format!("tcp and host {PROBE} and host {}", look.server.ip());
    let capture =
        Capture::begin(look.client, "near", &filter, look.file).map_err(|error| error.to_string())?;
    let busy = Busy::read();
    for _ in 0..look.probes {
        ask(look).map_err(|error| format!("a request: {error}"))?;
        thread::sleep(BETWEEN);
    }
    let spent = busy.spent(SERVER_CORE);
    // What others do there at low priority is not the server's.
    let busy = spent.core_fraction - spent.core_niced_fraction;
    // What passed last has to reach the file.
    thread::sleep(Duration::from_millis(100));
    Ok((capture.end().map_err(|error| error.to_string())?, busy))
}

/// One request on a connection of its own, from the address that is captured.
fn ask(look: &Look<'_>) -> std::io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddr::from((PROBE, 0)))?;
    connect(&socket, &SocketAddr::V4(look.server))?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", look.path, look.server);
    stream.write_all(request.as_bytes())?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    if response.starts_with(b"HTTP/1.1 200 ") {
        return Ok(());
    }
    let head = response.get(..response.len().min(40)).unwrap_or_default();
    Err(std::io::Error::other(format!("answered {:?}", String::from_utf8_lossy(head))))
}

/// The connection of median length, of those that were captured from their SYN to the server's FIN.
fn median(segments: &[Segment], server: SocketAddrV4) -> Option<Trace> {
    let mut connections: BTreeMap<u16, Vec<&Segment>> = BTreeMap::new();
    for segment in segments {
        let port = if segment.from == server { segment.to.port() } else { segment.from.port() };
        connections.entry(port).or_default().push(segment);
    }
    let mut traces: Vec<(f64, Trace)> =
        connections.values().filter_map(|segments| trace(segments, server)).collect();
    traces.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let middle = traces.len() / 2;
    traces.into_iter().nth(middle).map(|(_, trace)| trace)
}

/// A connection and how long it took, if all of it is there.
fn trace(segments: &[&Segment], server: SocketAddrV4) -> Option<(f64, Trace)> {
    let opening = segments.iter().find(|segment| segment.opens())?;
    let answer = segments
        .iter()
        .find(|segment| segment.from == server && segment.header.flags.contains(Flags::SYN))?;
    let (begin, first) = (opening.at, answer.header.seq + 1);
    let micros = |segment: &Segment| segment.at.saturating_sub(begin).as_secs_f64() * 1e6;
    let mut trace = Trace {
        data: Vec::new(),
        acknowledged: Vec::new(),
        marks: vec![(0.0, 0.0), (micros(answer), 0.0)],
        busy: 0.0,
        requests_per_s: 0.0,
    };
    let mut end = None;
    for segment in segments {
        let at = micros(segment);
        if segment.from == server {
            let from = f64::from(segment.header.seq - first);
            let to = from + f64::from(segment.payload_bytes);
            if segment.payload_bytes > 0 {
                trace.data.push((at, from, to));
            }
            if segment.header.flags.contains(Flags::FIN) {
                trace.marks.push((at, to));
                end = end.or(Some(at));
            }
        } else if segment.payload_bytes > 0 {
            trace.marks.push((at, 0.0));
        } else if segment.header.flags.contains(Flags::ACK) {
            trace.acknowledged.push((at, f64::from(segment.header.ack - first).max(0.0)));
        }
    }
    (!trace.data.is_empty()).then_some((end?, trace))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::tcp::{Header, Options, SeqNum};

    const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 1, 2), 80);

    /// A connection whose server answers with two packets; `micros` from the request to each.
    fn connection(port: u16, micros: u64, whole: bool) -> Vec<Segment> {
        let client = SocketAddrV4::new(PROBE, port);
        let segment = |at, from_server, seq, ack, flags, payload_bytes| {
            let (from, to) = if from_server { (SERVER, client) } else { (client, SERVER) };
            let header = Header {
                source_port: from.port(),
                destination_port: to.port(),
                seq: SeqNum(seq),
                ack: SeqNum(ack),
                flags,
                window: 1,
                urgent: 0,
                options: Options::NONE,
            };
            Segment {
                at: Duration::from_secs(9) + Duration::from_micros(at),
                from,
                to,
                header,
                payload_bytes,
            }
        };
        // Sequence numbers wrap within the response.
        let first = u32::MAX - 1_000;
        let mut all = vec![
            segment(0, false, 50, 0, Flags::SYN, 0),
            segment(10, true, first.wrapping_sub(1), 51, Flags::SYN | Flags::ACK, 0),
            segment(20, false, 51, first, Flags::ACK | Flags::PSH, 80),
            segment(20 + micros, true, first, 131, Flags::ACK, 1_448),
            segment(25 + micros, false, 131, first.wrapping_add(1_448), Flags::ACK, 0),
        ];
        if whole {
            let flags = Flags::ACK | Flags::FIN;
            all.push(segment(30 + 2 * micros, true, first.wrapping_add(1_448), 131, flags, 552));
        }
        all
    }

    #[test]
    fn bytes_are_counted_from_the_first_of_the_response_across_the_wrap() {
        let segments = connection(1, 100, true);
        let trace = median(&segments, SERVER).unwrap();
        assert_eq!(trace.data, [(120.0, 0.0, 1_448.0), (230.0, 1_448.0, 2_000.0)]);
        assert_eq!(trace.acknowledged, [(125.0, 1_448.0)]);
        assert_eq!(trace.marks, [(0.0, 0.0), (10.0, 0.0), (20.0, 0.0), (230.0, 2_000.0)]);
    }

    #[test]
    fn the_connection_of_median_length_is_taken_and_one_without_an_end_is_none() {
        let all: Vec<Segment> = [(1, 900, true), (2, 50, true), (3, 300, true), (4, 1, false)]
            .into_iter()
            .flat_map(|(port, micros, whole)| connection(port, micros, whole))
            .collect();
        let trace = median(&all, SERVER).unwrap();
        assert_eq!(trace.data[0].0, 320.0);
        assert_eq!(median(&connection(4, 1, false), SERVER), None);
    }
}
