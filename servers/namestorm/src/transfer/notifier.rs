//! The word that a zone has changed, to whoever wants to hear it (RFC 1996).
//!
//! ```text
//! change ──▶ NOTIFY ──▶ 3 s ──▶ NOTIFY ──▶ 6 s … 48 s ──▶ given up: whoever did not hear asks when its timer says so
//!               └──▶ an answer, whatever it says: heard
//! ```
//!
//! A pure value: `poll` says what to send, `on_answer` hears, and time is what the caller says it is. A zone that changes
//! again before its word was heard is told of anew.

use super::policy::{Policy, Remote};
use crate::zone::Soa;
use core::net::SocketAddr;
use core::time::Duration;
use dns::header::HEADER_BYTES;
use dns::record::Record;
use dns::tsig::Transaction;
use dns::{Class, Flags, Header, Opcode, Rcode, Rtype, name};
use std::collections::BTreeMap;

/// After the first, it is said so often again.
const RETRIES: u32 = 5;
/// The first pause; each is twice as long as the one before (RFC 1996 §3.6 leaves that to us).
const PAUSE: Duration = Duration::from_secs(3);

/// What is to be done.
#[derive(Debug)]
pub enum Step {
    /// Send this datagram.
    Say {
        /// To whom.
        to: SocketAddr,
        /// The datagram.
        message: Vec<u8>,
    },
    /// Nothing: somebody never answered the word about this zone.
    GaveUp(Box<[u8]>, Remote),
}

/// What came of a word, to be told the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It was heard.
    Taken,
    /// Somebody does not want to hear it.
    Refused(Rcode),
}

#[derive(Debug)]
struct Pending {
    soa: Soa,
    tries: u32,
    due: Duration,
    /// What was sent last, and how it was signed.
    id: u16,
    transaction: Option<Transaction>,
}

/// Words that were not heard yet.
#[derive(Debug, Default)]
pub struct Notifier {
    pending: BTreeMap<(Box<[u8]>, Remote), Pending>,
}

impl Notifier {
    /// The zone has this SOA now.
    pub fn on_change(&mut self, apex: &[u8], soa: &Soa, to: &[Remote], now: Duration) {
        for remote in to {
            let pending = Pending { soa: soa.clone(), tries: 0, due: now, id: 0, transaction: None };
            self.pending.insert((apex.into(), remote.clone()), pending);
        }
    }

    /// Nobody is told of this zone but these.
    pub fn retain(&mut self, mut wanted: impl FnMut(&[u8], &Remote) -> bool) {
        self.pending.retain(|(apex, remote), _| wanted(apex, remote));
    }

    /// What is due. `draw` draws an id.
    pub fn poll(
        &mut self,
        policy: &Policy,
        now: Duration,
        unix: u64,
        mut draw: impl FnMut() -> u16,
    ) -> Option<Step> {
        let due = self.pending.iter().find(|(_, pending)| pending.due <= now);
        let place = due.map(|(place, _)| place.clone())?;
        let pending = self.pending.get_mut(&place).expect("found");
        if pending.tries > RETRIES {
            self.pending.remove(&place);
            return Some(Step::GaveUp(place.0, place.1));
        }
        let (apex, remote) = &place;
        pending.due = now + PAUSE * 2_u32.pow(pending.tries);
        pending.tries += 1;
        pending.id = draw();
        let mut message = notify(apex, &pending.soa, pending.id);
        let key = remote.key.as_ref().and_then(|name| policy.key(name));
        pending.transaction = key.map(|key| Transaction::request(key.clone(), &mut message, unix));
        Some(Step::Say { to: remote.address, message })
    }

    /// A datagram came from there. Says what it answers, if it does.
    pub fn on_answer(
        &mut self,
        from: SocketAddr,
        message: &[u8],
        unix: u64,
    ) -> Option<(Box<[u8]>, Remote, Heard)> {
        let header = Header::parse(message)?;
        if !header.flags.has(Flags::QR) || header.flags.opcode() != Opcode::NOTIFY {
            return None;
        }
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let found = self.pending.iter_mut().find(|((_, remote), pending)| {
            remote.address == from && pending.tries > 0 && pending.id == header.id
        });
        let (place, pending) = found?;
        // Somebody who could forge it could as well have dropped the word; but it costs nothing to look.
        if let Some(transaction) = &mut pending.transaction {
            let tsig = tsig_of(message, &header)?;
            if transaction.verify(message, Some(tsig), unix).is_err()
                && header.flags.rcode() == Rcode::NOERROR
            {
                return None;
            }
        }
        let place = place.clone();
        self.pending.remove(&place);
        let heard = match header.flags.rcode() {
            Rcode::NOERROR => Heard::Taken,
            rcode => Heard::Refused(rcode),
        };
        Some((place.0, place.1, heard))
    }

    /// When there is something to be sent.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        self.pending.values().map(|pending| pending.due).min()
    }

    /// How many words were not heard yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }
}

/// RFC 1996 §3.7: the zone's name as a question, and its new SOA as a hint.
fn notify(apex: &[u8], soa: &Soa, id: u16) -> Vec<u8> {
    let flags = Flags(u16::from(Opcode::NOTIFY.0) << 11 | Flags::AA);
    let mut message = Header { id, flags, qdcount: 1, ancount: 1, ..Header::default() }.emit().to_vec();
    message.extend_from_slice(apex);
    message.extend_from_slice(&Rtype::SOA.0.to_be_bytes());
    message.extend_from_slice(&Class::IN.0.to_be_bytes());
    message.extend_from_slice(&[0xc0, 12]);
    message.extend_from_slice(&Rtype::SOA.0.to_be_bytes());
    message.extend_from_slice(&Class::IN.0.to_be_bytes());
    message.extend_from_slice(&soa.ttl.to_be_bytes());
    let bytes = u16::try_from(soa.rdata.len()).expect("two names and five numbers");
    message.extend_from_slice(&bytes.to_be_bytes());
    message.extend_from_slice(&soa.rdata);
    message
}

/// Where the record of the signature begins.
fn tsig_of(message: &[u8], header: &Header) -> Option<usize> {
    let mut at = HEADER_BYTES;
    for _ in 0..header.qdcount {
        at = name::skip(message, at).ok()? + 4;
    }
    let mut last = None;
    for _ in 0..u32::from(header.ancount) + u32::from(header.nscount) + u32::from(header.arcount) {
        let record = Record::parse(message, at).ok()?;
        last = (record.rtype == Rtype::TSIG).then_some(at);
        at = record.end;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use dns::tsig;

    const APEX: &[u8] = b"\x07example\0";
    const SECOND: Duration = Duration::from_secs(1);

    fn soa(serial: u8) -> Soa {
        let mut rdata = vec![0; 22];
        rdata[5] = serial;
        Soa { ttl: 60, rdata: rdata.into() }
    }

    fn remote(text: &str) -> Remote {
        text.parse().unwrap()
    }

    /// Everything that is sent within so many seconds: when, whether it is a word, and the datagram.
    fn sent(notifier: &mut Notifier, policy: &Policy, seconds: u32) -> Vec<(u32, Option<Vec<u8>>)> {
        let mut all = Vec::new();
        let mut id = 0;
        for second in 0..seconds {
            let mut draw = || {
                id += 1;
                id
            };
            while let Some(step) = notifier.poll(policy, SECOND * second, 0, &mut draw) {
                all.push(match step {
                    Step::Say { message, .. } => (second, Some(message)),
                    Step::GaveUp(..) => (second, None),
                });
            }
        }
        all
    }

    #[test]
    fn a_word_that_is_not_heard_is_said_six_times_and_given_up() {
        let mut notifier = Notifier::default();
        notifier.on_change(APEX, &soa(7), &[remote("192.0.2.1")], Duration::ZERO);
        let all = sent(&mut notifier, &Policy::default(), 500);
        let times: Vec<_> = all.iter().map(|(second, message)| (*second, message.is_some())).collect();
        assert_eq!(
            times,
            [(0, true), (3, true), (9, true), (21, true), (45, true), (93, true), (189, false)]
        );
        assert_eq!((notifier.len(), notifier.next()), (0, None));
    }

    #[test]
    fn an_answer_from_where_it_went_with_its_id_is_heard_and_no_other() {
        let mut notifier = Notifier::default();
        notifier.on_change(APEX, &soa(7), &[remote("192.0.2.1"), remote("192.0.2.2")], Duration::ZERO);
        let all = sent(&mut notifier, &Policy::default(), 1);
        assert_eq!(all.len(), 2);
        let mut answer = all[0].1.clone().unwrap();
        answer[2] |= 0x80;
        let here = "192.0.2.1:53".parse().unwrap();
        assert!(notifier.on_answer("192.0.2.9:53".parse().unwrap(), &answer, 0).is_none());
        assert!(notifier.on_answer("192.0.2.1:54".parse().unwrap(), &answer, 0).is_none());
        let mut other = answer.clone();
        other[1] ^= 0x55;
        assert!(notifier.on_answer(here, &other, 0).is_none());
        assert!(notifier.on_answer(here, &all[0].1.clone().unwrap(), 0).is_none(), "a question");
        let (apex, to, heard) = notifier.on_answer(here, &answer, 0).unwrap();
        assert_eq!((&*apex, to, heard), (APEX, remote("192.0.2.1"), Heard::Taken));
        assert_eq!(notifier.len(), 1, "the other one did not answer");
    }

    #[test]
    fn a_refusal_is_an_answer() {
        let mut notifier = Notifier::default();
        notifier.on_change(APEX, &soa(7), &[remote("192.0.2.1")], Duration::ZERO);
        let mut answer = sent(&mut notifier, &Policy::default(), 1)[0].1.clone().unwrap();
        answer[2] |= 0x80;
        answer[3] |= 5;
        let heard = notifier.on_answer("192.0.2.1:53".parse().unwrap(), &answer, 0).unwrap().2;
        assert_eq!(heard, Heard::Refused(Rcode::REFUSED));
    }

    #[test]
    fn a_zone_that_changes_again_is_told_of_anew() {
        let mut notifier = Notifier::default();
        let to = [remote("192.0.2.1")];
        notifier.on_change(APEX, &soa(7), &to, Duration::ZERO);
        sent(&mut notifier, &Policy::default(), 40);
        notifier.on_change(APEX, &soa(8), &to, SECOND * 40);
        let all = sent(&mut notifier, &Policy::default(), 41);
        assert_eq!((all.len(), all[0].0), (1, 40));
        let message = all[0].1.clone().unwrap();
        assert_eq!(message[message.len() - 17], 8, "the new serial");
    }

    #[test]
    fn a_word_is_signed_with_the_key_that_is_shared_and_so_is_its_answer() {
        let key = tsig::Key {
            name: b"\x03xfr\0".to_vec(),
            algorithm: tsig::Algorithm::Sha256,
            secret: vec![7; 32],
        };
        let policy = Policy::new(vec![key.clone()], BTreeMap::new());
        let mut notifier = Notifier::default();
        notifier.on_change(APEX, &soa(7), &[remote("192.0.2.1 key:xfr")], Duration::ZERO);
        let message = sent(&mut notifier, &policy, 1)[0].1.clone().unwrap();
        let header = Header::parse(&message).unwrap();
        let at = tsig_of(&message, &header).unwrap();
        let mut server = Transaction::accept(&[key], &message, at, 0).unwrap();
        let flags = Flags(header.flags.0 | Flags::QR);
        let bare = Header { id: header.id, flags, ..Header::default() }.emit().to_vec();
        let here = "192.0.2.1:53".parse().unwrap();
        assert!(notifier.on_answer(here, &bare, 0).is_none(), "it is not signed");
        let mut answer = bare;
        server.sign(&mut answer, 0);
        assert_eq!(notifier.on_answer(here, &answer, 0).unwrap().2, Heard::Taken);
    }
}
