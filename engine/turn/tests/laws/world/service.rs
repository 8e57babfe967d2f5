//! A server of lines: each asks for one thing.
//!
//! ```text
//! get NAME FROM TO       these bytes of a file
//! framed NAME FROM TO    the same between "<<" and ">>"
//! twice NAME FROM TO     the same two times over
//! final NAME FROM TO     these bytes, and then the end
//! page NAME FROM TO      "<<", these bytes of a file, and then the end
//! lend NAME FROM TO      these bytes of memory
//! headed NAME FROM TO    "<<", these bytes of memory, and then the end
//! between NAME FROM TO   these bytes of memory, the same of the file "film", and those of memory once more
//! say COUNT              so many bytes of the server's own
//! wait TICKET            what that ticket brings, once it is called: its number
//! bye                    the end, in order
//! abort                  the end, at once
//! ```

use alloc::rc::Rc;
use clock::Instant;
use core::ops::Range;
use core::time::Duration;
use platform::{FileMeta, OpenError, RootId};
use std::collections::BTreeMap;
use turn::{Actions, End, FileHandle, Lent, Memory, Now, Peer, Service, Ticket, Transfer};

use crate::world::lent::Lendable;

/// How long half a line may stay half.
const PATIENCE: Duration = Duration::from_secs(5);
/// What somebody hears who speaks plainly to the TLS port.
pub(crate) const PLAIN_TO_TLS: &[u8] = b"this port speaks TLS\n";
pub(crate) const ROOT: RootId = RootId(0);

/// What happened to the service, in order.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// This line was taken.
    Asked(String),
    /// The connection from this port is over.
    Closed(u16, End, Transfer),
}

#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) notes: Vec<Note>,
    pub(crate) lendables: BTreeMap<String, Rc<Lendable>>,
    pub(crate) offered: u64,
    /// Tickets to be called in the next turn.
    pub(crate) called: Vec<Ticket>,
}

#[derive(Debug)]
pub(crate) struct Session {
    port: u16,
    asked: Option<(Kind, Range<u64>)>,
    busy: bool,
    draining: bool,
    /// The file that is being sent.
    object: Option<String>,
    waits_for: Option<Ticket>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Get,
    Framed,
    Twice,
    Final,
    Page,
    /// Between memory and memory.
    Between(Lent),
}

/// What `say` says.
pub(crate) fn speech(count: usize) -> Vec<u8> {
    (0..count).map(|index| u8::try_from(index * 7 % 251).expect("below 251")).collect()
}

impl Lines {
    /// How the connection from this port ended.
    pub(crate) fn end_of(&self, port: u16) -> Option<End> {
        self.notes.iter().rev().find_map(|note| match note {
            Note::Closed(closed, end, _) if *closed == port => Some(*end),
            _ => None,
        })
    }

    /// What the connection from this port amounted to.
    pub(crate) fn transfer_of(&self, port: u16) -> Option<Transfer> {
        self.notes.iter().rev().find_map(|note| match note {
            Note::Closed(closed, _, transfer) if *closed == port => Some(*transfer),
            _ => None,
        })
    }

    /// The lines in the order in which they were taken.
    pub(crate) fn asked(&self) -> Vec<&str> {
        let mut lines = Vec::new();
        for note in &self.notes {
            if let Note::Asked(line) = note {
                lines.push(line.as_str());
            }
        }
        lines
    }

    fn on_line(&self, session: &mut Session, line: &str, actions: &mut Actions) {
        let mut words = line.split(' ');
        let word = words.next().unwrap_or_default();
        if ["lend", "headed", "between"].contains(&word) {
            let name = words.next().expect("a name");
            let mut number = || words.next().and_then(|word| word.parse().ok()).expect("an offset");
            return self.lend(session, word, name, number()..number(), actions);
        }
        let kind = match word {
            "get" => Kind::Get,
            "framed" => Kind::Framed,
            "twice" => Kind::Twice,
            "final" => Kind::Final,
            "page" => Kind::Page,
            "say" => {
                let count = words.next().and_then(|word| word.parse().ok()).expect("a count");
                actions.send(speech(count));
                session.busy = count > 0;
                return;
            }
            "wait" => {
                let ticket = words.next().and_then(|word| word.parse().ok()).map(Ticket).expect("a number");
                actions.wait(ticket);
                session.waits_for = Some(ticket);
                session.busy = true;
                return;
            }
            "bye" => return actions.finish(),
            "abort" => return actions.abort(),
            other => panic!("no such command: {other}"),
        };
        let name = words.next().expect("a name");
        let mut number = || words.next().and_then(|word| word.parse().ok()).expect("an offset");
        session.object = Some(name.to_owned());
        session.asked = Some((kind, number()..number()));
        session.busy = true;
        actions.open(ROOT, name.as_bytes());
    }
}

impl Lines {
    fn lend(&self, session: &mut Session, word: &str, name: &str, range: Range<u64>, actions: &mut Actions) {
        let lendable = Rc::clone(&self.lendables[name]);
        session.busy = true;
        if word == "headed" {
            actions.send(b"<<".to_vec());
        }
        actions.send_memory(Rc::clone(&lendable) as Rc<dyn Memory>, range.clone());
        match word {
            "headed" => actions.finish(),
            "between" => {
                session.asked = Some((Kind::Between(Lent(lendable)), range));
                actions.open(ROOT, b"film");
            }
            _ => {}
        }
    }
}

impl Service for Lines {
    type Session = Session;
    type Snapshot = ();

    fn on_connect(&mut self, _: Now, peer: &Peer, _: &mut Actions) -> Session {
        Session {
            port: peer.remote.port(),
            asked: None,
            busy: false,
            draining: false,
            object: None,
            waits_for: None,
        }
    }

    fn on_bytes(&mut self, now: Now, session: &mut Session, bytes: &[u8], actions: &mut Actions) -> usize {
        assert!(!session.busy, "offered while something is being sent");
        self.offered += 1;
        let Some(at) = bytes.iter().position(|&byte| byte == b'\n') else {
            // Told again whenever it is asked, as a service may.
            actions.deadline(now.instant + PATIENCE);
            return 0;
        };
        actions.deadline(Instant::NEVER);
        let line = core::str::from_utf8(&bytes[..at]).expect("a line of text");
        self.notes.push(Note::Asked(line.to_owned()));
        self.on_line(session, line, actions);
        at + 1
    }

    fn on_file(
        &mut self,
        _: Now,
        session: &mut Session,
        result: Result<(FileHandle, FileMeta), OpenError>,
        actions: &mut Actions,
    ) {
        let (kind, range) = session.asked.take().expect("a file that was asked for");
        let Ok((file, meta)) = result else { return actions.send(b"no such file".to_vec()) };
        let range = range.start.min(meta.len)..range.end.min(meta.len);
        match kind {
            Kind::Get => {
                if range.is_empty() {
                    session.busy = false;
                }
                actions.send_file(file, range);
            }
            Kind::Framed => {
                actions.send(b"<<".to_vec());
                actions.send_file(file, range);
                actions.send(b">>".to_vec());
            }
            Kind::Twice => {
                actions.send_file(file, range.clone());
                actions.send_file(file, range);
            }
            Kind::Between(Lent(lendable)) => {
                actions.send_file(file, range.clone());
                actions.send_memory(lendable, range);
            }
            Kind::Page => {
                actions.send(b"<<".to_vec());
                actions.send_file(file, range);
                actions.finish();
            }
            Kind::Final => {
                actions.send_file(file, range);
                actions.finish();
            }
        }
    }

    fn poll_ticket(&mut self) -> Option<Ticket> {
        self.called.pop()
    }

    fn on_roused(&mut self, _: Now, session: &mut Session, actions: &mut Actions) {
        let Ticket(number) = session.waits_for.take().expect("a ticket that was waited for");
        actions.send(number.to_string().into_bytes());
    }

    fn on_sent(&mut self, _: Now, session: &mut Session, actions: &mut Actions) {
        session.busy = false;
        session.object = None;
        if session.draining {
            actions.finish();
        }
    }

    fn on_deadline(&mut self, _: Now, _: &mut Session, actions: &mut Actions) {
        actions.abort();
    }

    fn plain_to_tls(&mut self, _: Now) -> Vec<u8> {
        PLAIN_TO_TLS.to_vec()
    }

    fn object<'a>(&self, session: &'a Session) -> Option<&'a [u8]> {
        session.object.as_deref().map(str::as_bytes)
    }

    fn on_close(&mut self, _: Now, session: Session, end: End, transfer: &Transfer) {
        self.notes.push(Note::Closed(session.port, end, *transfer));
    }

    fn on_snapshot(&mut self, _: Now, (): ()) {}

    fn on_drain(&mut self, _: Now, session: &mut Session, actions: &mut Actions) {
        session.draining = true;
        if !session.busy {
            actions.finish();
        }
    }
}
