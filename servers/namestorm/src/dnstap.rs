//! dnstap: questions and answers as they were on the wire, for programs that collect them.
//!
//! ```text
//! file     ├ START: content type ┼ frame ┼ frame … ┼ STOP ┤
//! socket   we: READY ─▶   ◀─ they: ACCEPT   START, frame, frame … STOP ─▶   ◀─ FINISH
//! frame    ├ length (4) ┼ protobuf Dnstap { Message { type, addresses, times, query, response } } ┤
//! ```
//!
//! A thread of its own writes, and may block: whoever has a frame for it leaves it in a queue, or counts it as lost. The one
//! crate that speaks dnstap starts threads and event loops of its own, which a confined server cannot have; so the message is
//! declared here for `prost`, and Frame Streams, which is a length before each frame and a handshake, is written out.

use crate::query_log::Record;
use crate::respond::Transport;
use confine::{Files, Kind};
use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use host::Policy;
use prost::Message as _;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";
/// Frames that wait for a slow disk or collector.
const WAITING_MAX: usize = 4_096;
/// From one attempt to connect to the next.
const PAUSE: Duration = Duration::from_secs(1);
/// What a collector may take to answer a handshake, or to take what was written.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is written is complete in the file after so long.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// Control frames of Frame Streams.
mod control_frame {
    pub(super) const ACCEPT: u32 = 1;
    pub(super) const START: u32 = 2;
    pub(super) const STOP: u32 = 3;
    pub(super) const READY: u32 = 4;
    pub(super) const FINISH: u32 = 5;
    /// The only field: which content.
    pub(super) const CONTENT_TYPE: u32 = 1;
    /// No control frame is longer.
    pub(super) const BYTES_MAX: u32 = 512;
}

/// dnstap.proto, as far as an authoritative server has something to say.
#[derive(Clone, PartialEq, prost::Message)]
struct Dnstap {
    #[prost(bytes = "vec", optional, tag = "1")]
    identity: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    version: Option<Vec<u8>>,
    #[prost(message, optional, tag = "14")]
    message: Option<Message>,
    /// MESSAGE = 1.
    #[prost(int32, required, tag = "15")]
    kind: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    /// AUTH_QUERY = 1, AUTH_RESPONSE = 2.
    #[prost(int32, required, tag = "1")]
    kind: i32,
    /// INET = 1, INET6 = 2.
    #[prost(int32, optional, tag = "2")]
    socket_family: Option<i32>,
    /// UDP = 1, TCP = 2.
    #[prost(int32, optional, tag = "3")]
    socket_protocol: Option<i32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    query_address: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "8")]
    query_time_sec: Option<u64>,
    #[prost(fixed32, optional, tag = "9")]
    query_time_nsec: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "10")]
    query_message: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "12")]
    response_time_sec: Option<u64>,
    #[prost(fixed32, optional, tag = "13")]
    response_time_nsec: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "14")]
    response_message: Option<Vec<u8>>,
}

/// A record as a frame's content. `identity` is who we say we are.
#[must_use]
pub fn encode(record: &Record, identity: Option<&str>) -> Vec<u8> {
    let Record { time, source, transport, question, answer, .. } = record;
    let (family, address) = match source {
        IpAddr::V4(v4) => (1, v4.octets().to_vec()),
        IpAddr::V6(v6) => (2, v6.octets().to_vec()),
    };
    let answered = !answer.is_empty();
    let (seconds, nanoseconds) = (time.as_secs(), time.subsec_nanos());
    let message = Message {
        kind: if answered { 2 } else { 1 },
        socket_family: Some(family),
        socket_protocol: Some(if *transport == Transport::Udp { 1 } else { 2 }),
        query_address: Some(address),
        query_time_sec: Some(seconds),
        query_time_nsec: Some(nanoseconds),
        query_message: Some(question.to_vec()),
        response_time_sec: answered.then_some(seconds),
        response_time_nsec: answered.then_some(nanoseconds),
        response_message: answered.then(|| answer.to_vec()),
    };
    Dnstap {
        identity: identity.map(|identity| identity.as_bytes().to_vec()),
        version: Some(concat!("namestorm ", env!("CARGO_PKG_VERSION")).into()),
        message: Some(message),
        kind: 1,
    }
    .encode_to_vec()
}

/// Where frames go.
#[derive(Debug)]
pub enum Sink {
    /// To a file that is open, and empty.
    File(File),
    /// To whoever listens at this path, again and again.
    Socket(PathBuf),
}

#[derive(Debug)]
enum Order {
    Frame(Vec<u8>),
    /// Go on in this file.
    File(File),
}

/// The writing thread. It ends, after what waits, when this is dropped.
#[derive(Debug)]
pub struct Tap {
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
    lost: Arc<AtomicU64>,
    /// What found the queue full.
    refused: u64,
}

impl Tap {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(sink: Sink, policy: Policy) -> io::Result<Self> {
        let (orders, its_orders) = sync_channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let its_lost = Arc::clone(&lost);
        let thread = thread::Builder::new().name("dnstap".to_owned()).spawn(move || {
            let kind = if matches!(sink, Sink::File(_)) { Kind::Writer } else { Kind::Caller };
            if let Err(error) = policy.apply(kind, Files::default()) {
                tracing::error!("dnstap: nothing is written: {error}");
                return;
            }
            match sink {
                Sink::File(file) => to_file(file, &its_orders, &its_lost),
                Sink::Socket(path) => to_socket(&path, &its_orders, &its_lost),
            }
        })?;
        Ok(Self { orders: Some(orders), thread: Some(thread), lost, refused: 0 })
    }

    /// Leaves a frame. Never waits.
    pub fn frame(&mut self, content: Vec<u8>) {
        if self.orders.as_ref().is_none_or(|orders| orders.try_send(Order::Frame(content)).is_err()) {
            self.refused += 1;
        }
    }

    /// From now on into this file. Whether that was possible.
    #[must_use]
    pub fn reopen(&self, file: File) -> bool {
        self.orders.as_ref().is_some_and(|orders| orders.try_send(Order::File(file)).is_ok())
    }

    /// Frames that were lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.refused + self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic handler.
            let _ = thread.join();
        }
    }
}

/// Whether a file can begin a stream: what is in it already would be in front of the first frame.
///
/// # Errors
/// It has bytes, or cannot be looked at.
pub fn check_empty(file: &File) -> io::Result<()> {
    match file.metadata() {
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "it is not empty, and a dnstap stream begins at the beginning of its file; move it away",
        )),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

fn to_file(file: File, orders: &Receiver<Order>, lost: &AtomicU64) {
    let mut failing = false;
    let mut note = |result: io::Result<()>| match (result, failing) {
        (Err(error), false) => {
            tracing::error!("dnstap: cannot write: {error}");
            failing = true;
        }
        (Ok(()), true) => {
            tracing::info!("dnstap: writing again");
            failing = false;
        }
        (Err(_), true) | (Ok(()), false) => {}
    };
    let mut stream = BufWriter::new(file);
    note(control(&mut stream, control_frame::START));
    let mut flush_at = Instant::now() + FLUSH_EVERY;
    loop {
        match orders.recv_timeout(flush_at.saturating_duration_since(Instant::now())) {
            Ok(Order::Frame(content)) => {
                let result = data(&mut stream, &content);
                lost.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
                note(result);
            }
            Ok(Order::File(file)) => {
                note(control(&mut stream, control_frame::STOP).and_then(|()| stream.flush()));
                stream = BufWriter::new(file);
                note(control(&mut stream, control_frame::START));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if Instant::now() >= flush_at {
            note(stream.flush());
            flush_at = Instant::now() + FLUSH_EVERY;
        }
    }
    note(control(&mut stream, control_frame::STOP).and_then(|()| stream.flush()));
}

fn to_socket(path: &std::path::Path, orders: &Receiver<Order>, lost: &AtomicU64) {
    let mut stream: Option<BufWriter<UnixStream>> = None;
    let mut next_attempt = Instant::now();
    let mut told = false;
    let mut flush_at = Instant::now() + FLUSH_EVERY;
    loop {
        if stream.is_none() && Instant::now() >= next_attempt {
            match greet(path) {
                Ok(greeted) => {
                    tracing::info!("dnstap: {} takes frames", path.display());
                    told = false;
                    stream = Some(greeted);
                }
                Err(error) => {
                    if !told {
                        tracing::error!("dnstap: {}: {error}; it is tried again", path.display());
                        told = true;
                    }
                    next_attempt = Instant::now() + PAUSE;
                }
            }
        }
        let order = orders.recv_timeout(flush_at.saturating_duration_since(Instant::now()));
        let mut written = Ok(());
        match order {
            Ok(Order::Frame(content)) => {
                match &mut stream {
                    Some(stream) => written = data(stream, &content),
                    None => {
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
                lost.fetch_add(u64::from(written.is_err()), Ordering::Relaxed);
            }
            // A socket is no file.
            Ok(Order::File(_)) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if Instant::now() >= flush_at {
            written = written.and_then(|()| stream.as_mut().map_or(Ok(()), Write::flush));
            flush_at = Instant::now() + FLUSH_EVERY;
        }
        if let Err(error) = written {
            tracing::warn!("dnstap: {} is gone: {error}", path.display());
            // What is in the buffer goes with it, unwritten.
            drop(stream.take().map(BufWriter::into_parts));
            next_attempt = Instant::now() + PAUSE;
        }
    }
    if let Some(mut stream) = stream {
        let said = control(&mut stream, control_frame::STOP).and_then(|()| stream.flush());
        if said.is_ok() {
            // A collector that does not say goodbye has everything all the same.
            let _ = expect(stream.get_mut(), control_frame::FINISH);
        }
    }
}

fn greet(path: &std::path::Path) -> io::Result<BufWriter<UnixStream>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    control(&mut stream, control_frame::READY)?;
    expect(&mut stream, control_frame::ACCEPT)?;
    let mut stream = BufWriter::new(stream);
    control(&mut stream, control_frame::START)?;
    stream.flush()?;
    Ok(stream)
}

/// A frame.
fn data(stream: &mut impl Write, content: &[u8]) -> io::Result<()> {
    let length = u32::try_from(content.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(content)
}

/// A control frame: an escape, which is a length of 0, then its own length.
fn control(stream: &mut impl Write, kind: u32) -> io::Result<()> {
    let mut body = kind.to_be_bytes().to_vec();
    if kind == control_frame::READY || kind == control_frame::START {
        body.extend_from_slice(&control_frame::CONTENT_TYPE.to_be_bytes());
        body.extend_from_slice(&u32::try_from(CONTENT_TYPE.len()).unwrap_or(0).to_be_bytes());
        body.extend_from_slice(CONTENT_TYPE);
    }
    stream.write_all(&[0; 4])?;
    data(stream, &body)
}

/// Takes a control frame of this kind, for our content.
fn expect(stream: &mut UnixStream, kind: u32) -> io::Result<()> {
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "what listens there does not take dnstap");
    let mut word = [0; 4];
    let mut number = |stream: &mut UnixStream| {
        stream.read_exact(&mut word)?;
        io::Result::Ok(u32::from_be_bytes(word))
    };
    if number(stream)? != 0 {
        return Err(strange());
    }
    let bytes = number(stream)?;
    if !(4..=control_frame::BYTES_MAX).contains(&bytes) || number(stream)? != kind {
        return Err(strange());
    }
    let mut fields = vec![0; bytes as usize - 4];
    stream.read_exact(&mut fields)?;
    // Whoever lists what it takes has to list this.
    let takes = fields.is_empty() || fields.windows(CONTENT_TYPE.len()).any(|window| window == CONTENT_TYPE);
    if takes { Ok(()) } else { Err(strange()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query_log::Why;
    use std::os::unix::net::UnixListener;

    fn record(answer: &[u8]) -> Record {
        Record {
            time: Duration::new(1_800_000_000, 5),
            source: [192, 0, 2, 7].into(),
            transport: Transport::Udp,
            why: Why::Sample,
            question: b"question".as_slice().into(),
            header: None,
            answer_bytes: 0,
            answer: answer.into(),
        }
    }

    /// The bytes of a control frame with our content type.
    fn control_bytes(kind: u8) -> Vec<u8> {
        [&[0, 0, 0, 0, 0, 0, 0, 34, 0, 0, 0, kind, 0, 0, 0, 1, 0, 0, 0, 22], CONTENT_TYPE].concat()
    }

    const STOP_BYTES: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 3];

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("namestorm-dnstap-{}-{name}", std::process::id()))
    }

    #[test]
    fn a_record_is_the_message_that_dnstap_proto_describes() {
        // By hand: field number and wire type, length, content.
        let encoded = encode(&record(b"answer"), Some("ns1"));
        let begins = [&[0x0a, 3], b"ns1".as_slice(), &[0x12]].concat();
        assert!(encoded.starts_with(&begins), "{encoded:?}");
        let mut message = vec![0x08, 2, 0x10, 1, 0x18, 1, 0x22, 4, 192, 0, 2, 7];
        message.extend([0x40, 0x80, 0xa4, 0xa7, 0xda, 0x06, 0x4d, 5, 0, 0, 0, 0x52, 8]);
        message.extend(b"question");
        message.extend([0x60, 0x80, 0xa4, 0xa7, 0xda, 0x06, 0x6d, 5, 0, 0, 0, 0x72, 6]);
        message.extend(b"answer");
        message.extend([0x78, 1]);
        assert!(encoded.ends_with(&message), "{encoded:?}");
        let unanswered = Dnstap::decode(&*encode(&record(b""), None)).unwrap();
        let message = unanswered.message.unwrap();
        assert_eq!((message.kind, message.response_message), (1, None));
    }

    #[test]
    fn a_file_is_a_stream_from_start_to_stop_and_goes_on_in_another() {
        let (one, two) = (path("one"), path("two"));
        let mut tap = Tap::start(Sink::File(File::create(&one).unwrap()), Policy::NOTHING).unwrap();
        tap.frame(b"abc".to_vec());
        assert!(tap.reopen(File::create(&two).unwrap()));
        tap.frame(b"de".to_vec());
        assert_eq!(tap.lost(), 0);
        drop(tap);
        let start = control_bytes(2);
        let frame = |content: &[u8]| [&[0, 0, 0, u8::try_from(content.len()).unwrap()], content].concat();
        let expected = [&start[..], &frame(b"abc"), &STOP_BYTES].concat();
        assert_eq!(std::fs::read(&one).unwrap(), expected);
        assert_eq!(std::fs::read(&two).unwrap(), [&start[..], &frame(b"de"), &STOP_BYTES].concat());
        assert!(check_empty(&File::open(&one).unwrap()).is_err());
        for path in [one, two] {
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_collector_is_greeted_loses_nothing_that_it_took_and_may_come_back() {
        let socket = path("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut tap = Tap::start(Sink::Socket(socket.clone()), Policy::NOTHING).unwrap();
        for round in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut ready = [0; 42];
            stream.read_exact(&mut ready).unwrap();
            assert_eq!(ready.to_vec(), control_bytes(4));
            stream.write_all(&control_bytes(1)).unwrap();
            let mut start = [0; 42];
            stream.read_exact(&mut start).unwrap();
            assert_eq!(start.to_vec(), control_bytes(2));
            tap.frame(b"abc".to_vec());
            let mut frame = [0; 7];
            stream.read_exact(&mut frame).unwrap();
            assert_eq!(frame, *b"\0\0\0\x03abc");
            if round == 0 {
                drop(stream);
                // The first write to somebody who is gone may still succeed.
                for _ in 0..20 {
                    tap.frame(b"lost".to_vec());
                    thread::sleep(Duration::from_millis(30));
                }
                continue;
            }
            let ending = thread::spawn(move || drop(tap));
            let mut stop = [0; 12];
            stream.read_exact(&mut stop).unwrap();
            assert_eq!(stop, STOP_BYTES);
            stream.write_all(&[0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 5]).unwrap();
            ending.join().unwrap();
            break;
        }
        std::fs::remove_file(socket).unwrap();
    }

    #[test]
    fn frames_for_nobody_are_counted() {
        let mut tap = Tap::start(Sink::Socket(path("nobody")), Policy::NOTHING).unwrap();
        for _ in 0..10 {
            tap.frame(b"x".to_vec());
        }
        while tap.lost() < 10 {
            thread::yield_now();
        }
    }
}
