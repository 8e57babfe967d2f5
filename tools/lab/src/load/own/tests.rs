use super::*;
use handshake::{ClientOptions, ClientSettings, Trust};
use link_memory::{MemoryLink, MemoryLinkConfig, pair};
use platform::Link as _;
use wire::tcp::{Flags, Header, Options};

use crate::load::catalogue::{Catalogue, Part};
use crate::load::choice::{Chooser, Mix};
use crate::load::plan::Demand;

const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 100);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const ISS: SeqNum = SeqNum(9_000);
/// Ethernet and IPv4 without options.
const TCP_AT: usize = 34;
const SEGMENT: usize = 1_000;
const SEGMENTS: usize = 10;

/// A server's end of a link, which says what it is told to.
struct Server {
    link: MemoryLink,
    /// What the client said last.
    last: Option<(Header, usize)>,
}

impl Server {
    /// The TCP segments that came: headers, and how much payload each had.
    fn hears(&mut self) -> Vec<(Header, usize)> {
        let mut heard = Vec::new();
        while let Some(received) = self.link.receive() {
            if received.bytes[12..14] != [8, 0] {
                continue;
            }
            let total = usize::from(u16::from_be_bytes([received.bytes[16], received.bytes[17]]));
            let (header, data_at) = Header::parse(&received.bytes[TCP_AT..14 + total]).unwrap();
            heard.push((header, total - 20 - data_at));
            self.last = heard.last().copied();
        }
        heard
    }

    fn says(&mut self, seq: SeqNum, flags: Flags, options: Options, payload: &[u8]) {
        let (last, bytes) = self.last.unwrap();
        let ack = last.seq + u32::from(last.flags.contains(Flags::SYN)) + u32::try_from(bytes).unwrap();
        let header = Header {
            source_port: 80,
            destination_port: last.source_port,
            seq,
            ack,
            flags,
            window: 0x4000,
            urgent: 0,
            options,
        };
        let macs = [SERVER_MAC, [2, 0, 0, 0, 0, 1]].map(MacAddr);
        let path = Path::new(macs[0], macs[1], IpAddr::V4(SERVER), IpAddr::V4(CLIENT));
        let headers = path.len_before_tcp() + header.len();
        let mut packet = vec![0; headers + payload.len()];
        emit_tcp(&mut packet, &path, &header, payload.len(), Checksum::Software(Sum::of(payload)));
        packet[headers..].copy_from_slice(payload);
        self.link.inject(&packet, false).unwrap();
        self.link.flush();
    }

    /// Segment `number` of a response in ten, the last of which ends the connection.
    fn responds(&mut self, number: usize) {
        let mut response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 9_900).into_bytes();
        response.resize(SEGMENTS * SEGMENT - (100 - response.len()), b'x');
        let end = ((number + 1) * SEGMENT).min(response.len());
        let flags = if number + 1 == SEGMENTS { Flags::ACK | Flags::FIN } else { Flags::ACK };
        let seq = ISS + 1 + u32::try_from(number * SEGMENT).unwrap();
        self.says(seq, flags, Options::NONE, &response[number * SEGMENT..end]);
    }
}

/// One client that has just asked for 9,900 bytes.
fn asked() -> (OwnWorker, Server) {
    let config = MemoryLinkConfig { checksum: false, ..MemoryLinkConfig::default() };
    let (ours, theirs) = pair(64, config);
    let mut server = Server { link: theirs, last: None };
    // RFC 826: an answer to the question that the client is about to ask.
    let mut arp = vec![2, 0, 0, 0, 0, 1];
    arp.extend(SERVER_MAC);
    arp.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    arp.extend(SERVER_MAC);
    arp.extend(SERVER.octets());
    arp.extend([2, 0, 0, 0, 0, 1]);
    arp.extend(CLIENT.octets());
    server.link.inject(&arp, false).unwrap();
    server.link.flush();
    let mut catalogue = Catalogue::default();
    catalogue.add(&format!("http://{SERVER}/object"), Some(9_900)).unwrap();
    let plan = Arc::new(Plan {
        chooser: Chooser::new(Mix::Sequential, &[9_900]).unwrap(),
        catalogue,
        part: Part::Whole,
        demand: Demand { requests_per_connection: Some(1), ..Demand::CLOSED_LOOP },
        connections: 1,
        ramp: Duration::ZERO,
        timeout: Duration::from_secs(5),
        sources: vec![IpAddr::V4(CLIENT)],
        truth: None,
        tls: ClientSettings::new(Trust::Anyone, ClientOptions::default()).unwrap(),
        seed: 1,
    });
    let mut worker = OwnWorker::new(&plan, Port::over(ours), 24, None).unwrap();
    turn(&mut worker);
    assert_eq!(server.hears().len(), 1, "a SYN");
    let options = Options { mss: Some(1_460), sack_permitted: true, ..Options::NONE };
    server.says(ISS, Flags::SYN | Flags::ACK, options, &[]);
    turn(&mut worker);
    let request = server.hears();
    assert!(matches!(request[..], [(_, 1..)]), "the request, and no ACK beside it: {request:?}");
    (worker, server)
}

fn turn(worker: &mut OwnWorker) {
    let at = now();
    worker.receive(at);
    worker.engine.expire(at);
    worker.send();
}

#[test]
fn a_response_that_came_in_one_batch_is_answered_by_one_packet() {
    let (mut worker, mut server) = asked();
    (0..SEGMENTS).for_each(|number| server.responds(number));
    turn(&mut worker);
    let heard = server.hears();
    let (answer, next) = (heard[0].0, heard[1].0);
    assert_eq!(heard.len(), 2, "one answer, and the SYN of the next connection: {heard:?}");
    let (answer, next) = if answer.flags.contains(Flags::SYN) { (next, answer) } else { (answer, next) };
    assert!(answer.flags.contains(Flags::FIN | Flags::ACK) && next.flags.contains(Flags::SYN));
    assert_eq!(worker.engine.desk.take_tally().requests, 1);
}

//= RFC 5681 §4.2
#[test]
fn every_segment_behind_a_gap_is_answered_at_once() {
    let (mut worker, mut server) = asked();
    (0..SEGMENTS - 1).filter(|number| *number != 3).for_each(|number| server.responds(number));
    turn(&mut worker);
    let heard = server.hears();
    let ours = ISS + 1 + u32::try_from(3 * SEGMENT).unwrap();
    assert_eq!(heard.iter().filter(|(header, _)| header.ack == ours).count(), 5, "{heard:?}");
    assert!(heard.iter().all(|(header, _)| !header.options.sack.is_empty()));
    server.responds(3);
    server.responds(9);
    turn(&mut worker);
    assert_eq!(worker.engine.desk.take_tally().requests, 1);
}
