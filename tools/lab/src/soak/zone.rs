//! A zone whose every answer tells which version it is of, and somebody who asks for it all the time.
//!
//! The version is the serial number, and in the first two bytes of each address. An answer whose records are of two versions,
//! or of one that was replaced, is a mixture: no server may give one.

use core::fmt::Write as _;
use core::net::{Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;

use crate::dns::message::{Manner, QUERY_BYTES_MAX, Question, id_of};

/// Its name.
pub(super) const APEX: &str = "soak.example";
/// Names in it: n0, n1, and so on.
pub(super) const NAMES: u32 = 2_000;
/// Addresses of the name `m`.
const MANY: u8 = 6;
/// An answer takes no longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The file of a version.
pub(super) fn file(version: u16) -> String {
    let [first, second] = marks(version);
    let mut text = format!(
        "$TTL 60\n@ SOA ns host {version} 3600 900 604800 300\n@ NS ns\nns A {first}.{second}.255.1\n"
    );
    for number in 0..MANY {
        let _ = writeln!(text, "m A {first}.{second}.254.{number}");
    }
    for number in 0..NAMES {
        let [_, _, high, low] = number.to_be_bytes();
        let _ = writeln!(text, "n{number} A {first}.{second}.{high}.{low}");
    }
    text
}

/// The first two bytes of a version's addresses, which begin at 10.0: there are more of them than a soak makes.
fn marks(version: u16) -> [u8; 2] {
    version.wrapping_add(10 << 8).to_be_bytes()
}

fn version_of(marks: [u8; 2]) -> u16 {
    u16::from_be_bytes(marks).wrapping_sub(10 << 8)
}

/// What answers may say now.
#[derive(Debug)]
pub(super) struct Versions {
    /// The oldest and the newest that may be seen, as one number: `oldest << 16 | newest`.
    allowed: AtomicU64,
    /// The last one that was seen.
    seen: AtomicU64,
    /// Answers that were looked at.
    pub(super) asked: AtomicU64,
    /// Questions that nobody answered.
    pub(super) silent: AtomicU64,
}

impl Versions {
    pub(super) fn new(version: u16) -> Self {
        Self {
            allowed: AtomicU64::new(u64::from(version) << 16 | u64::from(version)),
            seen: AtomicU64::new(u64::from(version)),
            asked: AtomicU64::new(0),
            silent: AtomicU64::new(0),
        }
    }

    pub(super) fn allow(&self, oldest: u16, newest: u16) {
        self.allowed.store(u64::from(oldest) << 16 | u64::from(newest), Ordering::SeqCst);
    }

    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    fn judge(&self, before: u64, found: u64) -> Result<(), String> {
        let after = self.allowed.load(Ordering::SeqCst);
        // What was allowed when it was asked, or came to be allowed until now.
        if (before >> 16..=after & 0xffff).contains(&found) {
            self.seen.store(found, Ordering::SeqCst);
            return Ok(());
        }
        Err(format!("version {found} is answered, and {} to {} may be", before >> 16, after & 0xffff))
    }
}

/// One question after the other until `stop`, over UDP and now and then over TCP; complaints go to `complain`. Silence is
/// counted and none of its business.
pub(super) fn ask(
    server: SocketAddr,
    versions: &Arc<Versions>,
    stop: &AtomicBool,
    seed: u64,
    complain: &mut dyn FnMut(String),
) -> io::Result<()> {
    let mut dice = SmallRng::seed_from_u64(seed);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    while !stop.load(Ordering::Relaxed) {
        let number = dice.random_range(0..NAMES);
        let name = match dice.random_range(0..8) {
            0 => format!("m.{APEX}"),
            1 => format!("nobody{number}.{APEX}"),
            _ => format!("n{number}.{APEX}"),
        };
        let Ok(question) = Question::parse(&name, "A") else { continue };
        let before = versions.allowed.load(Ordering::SeqCst);
        let mut query = [0; QUERY_BYTES_MAX];
        let manner = Manner { edns: Some(1_232), dnssec: false, recursion: false };
        let len = question.emit(dice.random(), manner, &mut query);
        let answer = if dice.random_ratio(1, 16) {
            over_tcp(server, &query[..len])
        } else {
            over_udp(&socket, &question, &query[..len])
        };
        let Ok(answer) = answer else {
            versions.silent.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        versions.asked.fetch_add(1, Ordering::Relaxed);
        let judged = read(&name, number, &answer).and_then(|version| versions.judge(before, version.into()));
        if let Err(why) = judged {
            complain(format!("{name}: {why}"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn over_udp(socket: &UdpSocket, question: &Question, query: &[u8]) -> io::Result<Vec<u8>> {
    socket.send(query)?;
    let mut room = [0; 2_048];
    loop {
        let count = socket.recv(&mut room)?;
        // Otherwise a late one, or one that came twice: to another question, even where the id happens to be the same.
        if id_of(&room[..count]) == id_of(query) && question.judge(&room[..count]).is_ok() {
            return Ok(room[..count].to_vec());
        }
    }
}

fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = u16::try_from(query.len()).unwrap_or(0).to_be_bytes();
    stream.write_all(&[&length[..], query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// Looks at every record of an answer: all of them are of one version, which is returned, and there are as many as there
/// are to be, each with its address.
fn read(name: &str, number: u32, answer: &[u8]) -> Result<u16, String> {
    let counts = |at: usize| answer.get(at..at + 2).map_or(0, |two| u16::from_be_bytes([two[0], two[1]]));
    let (rcode, answers, authorities) =
        (answer.get(3).map_or(0xff, |flags| flags & 0xf), counts(6), counts(8));
    let expected = match name.as_bytes().first() {
        Some(b'm') => (0, u16::from(MANY)),
        _ if name.starts_with("nobody") => (3, 0),
        _ => (0, 1),
    };
    if (rcode, answers) != expected {
        return Err(format!("RCODE {rcode} with {answers} records, and not {expected:?}"));
    }
    let mut at = skip_name(answer, 12).map(|at| at + 4).ok_or("no question")?;
    let mut version = None;
    let mut last = [0_u8; 256];
    for _ in 0..answers + authorities {
        let head = skip_name(answer, at).ok_or("a record without a name")?;
        let fields = answer.get(head..head + 10).ok_or("a record that ends early")?;
        let (kind, length) = (fields[1], usize::from(u16::from_be_bytes([fields[8], fields[9]])));
        let data = answer.get(head + 10..head + 10 + length).ok_or("data that ends early")?;
        at = head + 10 + length;
        let found = match (kind, data) {
            (1, [first, second, high, low]) => {
                let right = match expected.1 {
                    1 => [*high, *low] == number.to_be_bytes()[2..],
                    _ => {
                        *high == 254
                            && *low < MANY
                            && core::mem::replace(&mut last[usize::from(*low)], 1) == 0
                    }
                };
                if !right {
                    return Err(format!("the address {first}.{second}.{high}.{low} is another name's"));
                }
                version_of([*first, *second])
            }
            // SOA: the serial number is the first of five numbers at the end.
            (6, data) if length > 20 => u16::from_be_bytes([data[length - 18], data[length - 17]]),
            _ => continue,
        };
        if *version.get_or_insert(found) != found {
            return Err(format!("records of versions {} and {found}: a mixture", version.unwrap_or(0)));
        }
    }
    version.ok_or_else(|| "no record tells its version".to_owned())
}

/// The end of a name that may point elsewhere.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += usize::from(length) + 1,
            192.. => return Some(at + 2),
            64..=191 => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(rcode: u8, records: &[(u8, &[u8])], authorities: u8) -> Vec<u8> {
        let answers = u8::try_from(records.len()).unwrap() - authorities;
        let mut message = vec![0, 1, 0x84, rcode, 0, 1, 0, answers, 0, authorities, 0, 0];
        message.extend_from_slice(b"\x01x\x00\x00\x01\x00\x01");
        for (kind, data) in records {
            let length = u8::try_from(data.len()).unwrap();
            message.extend_from_slice(&[192, 12, 0, *kind, 0, 1, 0, 0, 0, 60, 0, length]);
            message.extend_from_slice(data);
        }
        message
    }

    #[test]
    fn an_answer_of_one_version_tells_it() {
        assert_eq!(read("n258.soak.example", 258, &answer(0, &[(1, &[10, 7, 1, 2])], 0)), Ok(7));
        let many: Vec<[u8; 4]> = (0..MANY).map(|number| [10, 9, 254, number]).collect();
        let many: Vec<(u8, &[u8])> = many.iter().map(|data| (1, &data[..])).collect();
        assert_eq!(read("m.soak.example", 0, &answer(0, &many, 0)), Ok(9));
        let soa = [&[0, 0][..], &[0, 0, 0, 5], &[0; 16]].concat();
        assert_eq!(read("nobody1.soak.example", 1, &answer(3, &[(6, &soa)], 1)), Ok(5));
    }

    #[test]
    fn mixtures_and_others_addresses_are_found() {
        let mut many: Vec<[u8; 4]> = (0..MANY).map(|number| [10, 9, 254, number]).collect();
        many[3][1] = 8;
        let records: Vec<(u8, &[u8])> = many.iter().map(|data| (1, &data[..])).collect();
        assert!(read("m.soak.example", 0, &answer(0, &records, 0)).unwrap_err().contains("mixture"));
        let twice: Vec<(u8, &[u8])> = (0..MANY).map(|_| (1, &[10, 9, 254, 0][..])).collect();
        assert!(read("m.soak.example", 0, &answer(0, &twice, 0)).unwrap_err().contains("another name's"));
        let other = answer(0, &[(1, &[10, 7, 1, 3])], 0);
        assert!(read("n258.soak.example", 258, &other).unwrap_err().contains("another name's"));
        assert!(read("n1.soak.example", 1, &answer(2, &[], 0)).unwrap_err().contains("RCODE 2"));
        assert!(read("n1.soak.example", 1, &[0; 5]).is_err());
    }

    #[test]
    fn a_version_that_was_replaced_is_not_allowed() {
        let versions = Versions::new(3);
        let asked = versions.allowed.load(Ordering::SeqCst);
        assert!(versions.judge(asked, 4).is_err());
        versions.allow(3, 4);
        // Asked before, answered after it came.
        assert!(versions.judge(asked, 4).is_ok() && versions.judge(asked, 3).is_ok());
        versions.allow(4, 4);
        let asked = versions.allowed.load(Ordering::SeqCst);
        assert!(versions.judge(asked, 3).is_err() && versions.judge(asked, 4).is_ok());
        assert_eq!(versions.seen(), 4);
    }
}
