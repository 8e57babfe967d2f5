//! Plays a script against one connection.

use crate::script::{Line, Segment, Step};
use clock::Instant;
use core::fmt;
use core::ops::Range;
use core::time::Duration;
use std::collections::VecDeque;
use tcp::{Algorithm, Config, Connection, Events, Flags, Header, Options, Outgoing, SeqNum, Timestamps};

/// How far from its time a segment may leave.
pub const TOLERANCE: Duration = Duration::from_millis(5);

/// Both sides' first numbers: near the end, so that every script passes it.
const OURS: SeqNum = SeqNum(0xffff_fc00);
const THEIRS: SeqNum = SeqNum(0xffff_ff00);
/// The largest superframe that is asked for.
const SUPERFRAME_BYTES: u32 = 65_495;
static PAYLOAD: [u8; 65_536] = [0x61; 65_536];

/// What went otherwise than the script says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otherwise {
    /// The script's line.
    pub line: usize,
    /// What happened instead.
    pub what: String,
}

impl fmt::Display for Otherwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl core::error::Error for Otherwise {}

/// Plays a script to its end.
///
/// # Errors
/// The first thing that went otherwise.
pub fn play(lines: &[Line]) -> Result<(), Otherwise> {
    let mut stage = Stage::new();
    let mut last = 0;
    for line in lines {
        last = line.number;
        stage.wait(line.after);
        stage.step(&line.step).map_err(|what| Otherwise { line: line.number, what })?;
    }
    stage.nothing_left().map_err(|what| Otherwise { line: last, what: format!("after the end: {what}") })
}

/// A segment that left.
#[derive(Clone, Debug)]
struct Sent {
    at: Instant,
    header: Header,
    range: Range<u64>,
}

struct Stage {
    now: Instant,
    config: Config,
    connection: Option<Connection>,
    /// What the owner still has to send.
    unread: u64,
    wants_finish: bool,
    reads: bool,
    delivered: u64,
    /// A range that may not leave yet.
    held: Vec<Range<u64>>,
    sent: VecDeque<Sent>,
}

impl Stage {
    fn new() -> Self {
        let config = Config { pacing: false, ..Config::default() };
        Self {
            now: Instant::EPOCH + Duration::from_secs(10),
            config,
            connection: None,
            unread: 0,
            wants_finish: false,
            reads: true,
            delivered: 0,
            held: Vec::new(),
            sent: VecDeque::new(),
        }
    }

    /// Time passes; timers fire when they are due.
    fn wait(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            let due = self.connection.as_ref().and_then(Connection::deadline).filter(|due| *due <= until);
            let (Some(due), Some(connection)) = (due, self.connection.as_mut()) else { break };
            self.now = self.now.max(due);
            let _ = connection.on_deadline(&self.config, self.now);
            self.serve();
        }
        self.now = until;
        self.serve();
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Config(pairs) => pairs.iter().try_for_each(|(key, value)| self.set(key, value))?,
            Step::Connect => {
                self.connection = Some(Connection::connect(&self.config, self.now, 80, 50_000, OURS));
            }
            Step::Receive(segment) => self.receive(segment),
            Step::Expect(segment) => return self.expect(segment),
            Step::ExpectNothing => return self.nothing_left(),
            Step::Write(bytes) => self.unread += bytes,
            Step::Finish => self.wants_finish = true,
            Step::Abort => self.connection()?.abort(),
            Step::Read(reads) => {
                self.reads = *reads;
                let bytes = if *reads { self.config.receive_window } else { 0 };
                self.connection()?.set_receive_window(bytes);
            }
            Step::State(name) => {
                let state = format!("{:?}", self.connection()?.state()).to_ascii_lowercase();
                let name = name.replace('-', "");
                return if state == name { Ok(()) } else { Err(format!("the state is {state}")) };
            }
            Step::Delivered(bytes) => {
                let delivered = self.delivered;
                return if delivered == *bytes {
                    Ok(())
                } else {
                    Err(format!("{delivered} bytes were delivered"))
                };
            }
        }
        self.serve();
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let switch = || match value {
            "on" => Ok(true),
            "off" => Ok(false),
            other => Err(format!("{key} is on or off, not {other}")),
        };
        match key {
            "sack" => self.config.sack = switch()?,
            "timestamps" => self.config.timestamps = switch()?,
            "pacing" => self.config.pacing = switch()?,
            "mss" => self.config.mss_max = value.parse().map_err(|_| "mss is a number".to_owned())?,
            "congestion" => {
                self.config.congestion = match value {
                    "cubic" => Algorithm::Cubic,
                    "newreno" => Algorithm::NewReno,
                    other => return Err(format!("no law of congestion is called {other}")),
                }
            }
            other => return Err(format!("no setting is called {other}")),
        }
        Ok(())
    }

    fn connection(&mut self) -> Result<&mut Connection, String> {
        self.connection.as_mut().ok_or_else(|| "there is no connection yet".to_owned())
    }

    fn receive(&mut self, segment: &Segment) {
        let mut header = Header {
            source_port: 50_000,
            destination_port: 80,
            seq: THEIRS + segment.range.start,
            ack: segment.ack.map_or(SeqNum(0), |ack| OURS + ack),
            flags: segment.flags,
            window: segment.window.unwrap_or(u16::MAX),
            urgent: 0,
            options: Options::NONE,
        };
        header.options.mss = segment.options.mss;
        header.options.window_scale = segment.options.window_scale;
        header.options.sack_permitted = segment.options.sack_permitted;
        header.options.sack = segment.options.sack_blocks(OURS);
        header.options.timestamps =
            segment.options.timestamps.map(|(value, echo)| Timestamps { value, echo });
        let payload = &PAYLOAD[..(segment.range.end - segment.range.start) as usize];
        let Some(connection) = self.connection.as_mut() else {
            self.connection = Some(Connection::accept(&self.config, self.now, &header, OURS));
            return;
        };
        let mut delivered = 0;
        let events = connection.on_segment(&self.config, self.now, &header, payload, &mut |bytes| {
            delivered += bytes.len() as u64
        });
        self.delivered += delivered;
        if events.contains(Events::UNEXPECTED)
            && let Some(header) = tcp::reset_for(&header, segment.range.end - segment.range.start)
        {
            self.sent.push_back(Sent { at: self.now, header, range: 0..0 });
        }
    }

    /// The owner does what it does after every event, at once: its disk takes no time.
    fn serve(&mut self) {
        let Some(connection) = self.connection.as_mut() else { return };
        loop {
            while let Some(range) = connection.wanted(self.now, SUPERFRAME_BYTES) {
                self.held.push(range);
            }
            let credit = connection.credit(self.now);
            if self.unread > 0 && credit >= connection.read_threshold(self.unread) {
                let bytes = u64::from(credit).min(self.unread);
                self.unread -= bytes;
                self.held.push(connection.reserve(u32::try_from(bytes).expect("at most the credit")));
            }
            if self.wants_finish && self.unread == 0 {
                self.wants_finish = false;
                connection.finish();
            }
            let mut has_left = false;
            for range in &mut self.held {
                while let Some(outgoing) = connection.transmit(self.now, range, SUPERFRAME_BYTES) {
                    has_left = true;
                    push(&mut self.sent, self.now, &outgoing);
                    if range.is_empty() {
                        break;
                    }
                }
            }
            self.held.retain(|range| !range.is_empty());
            if !has_left {
                break;
            }
        }
        while let Some(outgoing) = connection.poll_control(&self.config, self.now) {
            push(&mut self.sent, self.now, &outgoing);
        }
    }

    fn expect(&mut self, wanted: &Segment) -> Result<(), String> {
        let now = self.now;
        let Some(sent) = self.sent.pop_front() else {
            return Err("nothing leaves".to_owned());
        };
        let shown = show(&sent);
        let off = now.since(sent.at).max(sent.at.since(now));
        if off > TOLERANCE {
            return Err(format!("{shown} left {off:?} from its time"));
        }
        let differs = |what: &str| Err(format!("{what}: {shown}"));
        if sent.header.flags - Flags::PSH != wanted.flags {
            return differs("other flags");
        }
        let start = u32::try_from(sent.header.seq - OURS).unwrap_or(u32::MAX);
        let bytes = u32::try_from(sent.range.end - sent.range.start).expect("a segment's payload");
        if (start..start.wrapping_add(bytes)) != wanted.range {
            return differs("other numbers");
        }
        if wanted.ack.is_some_and(|ack| THEIRS + ack != sent.header.ack) {
            return differs("another acknowledgement");
        }
        if wanted.window.is_some_and(|window| window != sent.header.window) {
            return differs("another window");
        }
        let options = &sent.header.options;
        let same = wanted.options.mss.is_none_or(|mss| options.mss == Some(mss))
            && wanted.options.window_scale.is_none_or(|scale| options.window_scale == Some(scale))
            && (!wanted.options.sack_permitted || options.sack_permitted)
            && (wanted.options.sack.is_empty() || wanted.options.sack_blocks(THEIRS) == options.sack)
            && wanted
                .options
                .timestamps
                .is_none_or(|(_, echo)| options.timestamps.is_some_and(|t| t.echo == echo));
        if same { Ok(()) } else { differs("other options") }
    }

    fn nothing_left(&self) -> Result<(), String> {
        self.sent.front().map_or(Ok(()), |sent| Err(format!("{} leaves", show(sent))))
    }
}

/// Notes what leaves, cut as a link would.
fn push(sent: &mut VecDeque<Sent>, at: Instant, outgoing: &Outgoing) {
    let Outgoing { header, range, mss, .. } = outgoing;
    let step = u64::from(*mss).max(1);
    let mut start = range.start;
    loop {
        let end = range.end.min(start + step);
        let mut header = *header;
        let offset = u32::try_from(start - range.start).expect("within a superframe");
        header.seq += offset;
        // FIN and PSH ride on the last one.
        if end < range.end {
            header.flags.remove(Flags::FIN | Flags::PSH);
        }
        sent.push_back(Sent { at, header, range: start..end });
        start = end;
        if start >= range.end {
            break;
        }
    }
}

/// A segment as a script would write it.
fn show(sent: &Sent) -> String {
    let Header { seq, ack, flags, window, options, .. } = &sent.header;
    let letters: String = [(Flags::SYN, 'S'), (Flags::FIN, 'F'), (Flags::RST, 'R'), (Flags::ACK, '.')]
        .iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .map(|(_, letter)| *letter)
        .collect();
    let start = i64::from(*seq - OURS);
    let bytes = i64::try_from(sent.range.end - sent.range.start).unwrap_or(i64::MAX);
    let acked = i64::from(*ack - THEIRS);
    format!("> {letters} {start}:{} ack {acked} win {window} {options:?}", start + bytes)
}
