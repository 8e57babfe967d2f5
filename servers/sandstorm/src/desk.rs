//! Sandstorm as a desk of the session machine: a request becomes a head and parts of an object that lies in memory.
//!
//! ```text
//!   request ─▶ responder ── on the shelf, or no object at all ─────────────────────▶ head, parts of the object
//!                  │ not there                                        ▲
//!                  ▼                                                  │ whole: ticket called, asked again
//!               want ──▶ seat ──▶ loader ──▶ pieces ──▶ filling ──────┘
//!                                    └─▶ changed: waits for the next site  └─▶ unreadable, no room, too late: 503
//! ```
//!
//! However many ask for an object that is being read, it is read once. Each waits [`PATIENCE`] at most; what comes slowly
//! goes on coming for whoever asks next. What nobody waits for any more is not read.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use clock::Instant;
use control::{Figure, Figures};
use http::{Method, Status};
use platform::{FileMeta, OpenError};
use turn::{Actions, FileHandle, Now, Ticket};
use web::session::{Asked, Desk, Refused, Step, Terms};

use crate::load::{Key, Resource, Site, Variant};
use crate::respond::{Answer, Body, Reply, Responder};
use crate::seat::{Piece, Seat, WANTS_MAX, Want};
use crate::shelf::{Filling, Object, PutError, Shelf};

/// How long a request waits for bytes that are being read.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A form that could not be read is not tried again sooner.
const RETRY: Duration = Duration::from_secs(1);

/// Pieces taken in a turn: a quarter of a megabyte is copied in far less time than a packet of it takes to leave.
const PIECES_MAX: usize = 4;

/// Objects that are being read ahead of any request.
const PRELOADS: usize = 4;

/// Files looked at in a turn for what could be read ahead, and objects for what no site has any more.
const LOOKS: usize = 64;

/// One worker's HTTP server.
pub type SandstormService = web::HttpService<Objects>;

/// What is remembered of a connection.
pub type Session = web::Session<Rest>;

type Answered = web::session::Answered<Rest>;

/// What control hands to the workers.
#[derive(Debug)]
pub struct Given {
    /// What is served.
    pub site: Arc<Site>,
    /// What holds for connections.
    pub terms: Terms,
    /// Its files by number: those that have come since another site have the higher ones.
    files: Box<[(Key, Arc<Resource>)]>,
}

impl Given {
    /// Puts the two together.
    #[must_use]
    pub fn new(site: Arc<Site>, terms: Terms) -> Self {
        let mut files: Vec<_> =
            site.resources().map(|resource| (resource.variants[0].key, Arc::clone(resource))).collect();
        files.sort_unstable_by_key(|(key, _)| *key);
        Self { site, terms, files: files.into() }
    }

    fn has(&self, key: Key) -> bool {
        self.files.binary_search_by_key(&key, |(key, _)| *key).is_ok()
    }

    /// The files behind this one.
    fn after(&self, key: Key) -> &[(Key, Arc<Resource>)] {
        &self.files[self.files.partition_point(|(file, _)| *file <= key)..]
    }
}

/// What a worker begins with.
#[derive(Debug)]
pub struct First {
    /// What is served.
    pub given: Arc<Given>,
    /// An empty shelf.
    pub shelf: Shelf,
    /// Where bytes come from.
    pub seat: Seat,
    /// Objects are read before they are asked for, as long as there is room.
    pub preload: bool,
}

/// What of an answer could not be handed over at once: there is nothing of the kind, since what lies in memory is handed
/// over whole.
#[derive(Debug)]
pub enum Rest {}

/// What answers from memory.
#[derive(Debug)]
pub struct Objects {
    given: Arc<Given>,
    responder: Responder,
    shelf: Shelf,
    seat: Seat,
    loads: BTreeMap<u64, Load>,
    /// By what is being read: its number.
    numbers: BTreeMap<Key, u64>,
    /// When each load is looked at: whether it is given up, and who has waited long enough.
    deadlines: BTreeSet<(Instant, u64)>,
    next: u64,
    /// How many sites there were.
    looks: u64,
    /// What could not be read, and until when that is remembered.
    failed: BTreeMap<Key, Instant>,
    /// Tickets to be called.
    over: VecDeque<u64>,
    /// The last file that was looked at for reading ahead; `None` when none is to be.
    ahead: Option<Key>,
    loaded: u64,
    unloaded: u64,
    refused: u64,
}

/// A form on its way to the shelf.
#[derive(Debug)]
struct Load {
    key: Key,
    /// From its first piece on.
    filling: Option<Filling>,
    len: u64,
    /// How many looks through the directory were told before it was asked for.
    looks: u64,
    /// Its file is another: it waits for the look that knows.
    changed: bool,
    /// It is given up then, unless more of it comes.
    until: Instant,
    /// When it is looked at next.
    deadline: Instant,
    /// What those who ask for it now wait for.
    ticket: u64,
    /// How many do.
    waiters: u32,
    /// It is read ahead of them.
    is_ahead: bool,
    /// Tells the loader that it is over.
    is_over: Arc<AtomicBool>,
}

/// What is counted about objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Looks at the shelf that found the object.
    pub hits: u64,
    /// Looks that did not.
    pub misses: u64,
    /// Objects taken off to make room.
    pub evicted: u64,
    /// Objects that are there.
    pub objects: u64,
    /// Bytes of frames that they hold, and those that left and are still being sent.
    pub bytes: u64,
    /// Objects read.
    pub loaded: u64,
    /// Objects that could not be read, or found no room.
    pub unloaded: u64,
    /// Requests that were told to come back, because what they want cannot be had now.
    pub refused: u64,
}

impl Figures for Tally {
    fn visit(&self, visit: &mut dyn FnMut(Figure)) {
        // In full, so that nothing is counted and not shown.
        let Self { hits, misses, evicted, objects, bytes, loaded, unloaded, refused } = *self;
        visit(Figure::gauge("shelf_objects", "Objects in memory", objects));
        visit(Figure::gauge("shelf_bytes", "Bytes of frames that objects hold", bytes));
        for (name, help, value) in [
            ("shelf_hits", "Objects asked for that were in memory", hits),
            ("shelf_misses", "Objects asked for that were not", misses),
            ("shelf_evicted", "Objects that made room for others", evicted),
            ("shelf_loaded", "Objects read into memory", loaded),
            ("shelf_load_failed", "Objects that could not be read or found no room", unloaded),
            ("shelf_refused", "Requests told to come back for want of an object", refused),
        ] {
            visit(Figure::counter(name, help, value));
        }
    }
}

const TOO_LARGE: &str = "This is larger than the memory that this server has for it.";
const LATER: &str = "The file cannot be had now; the next moment may do.";

impl Objects {
    /// Answers from the shelf, or has it filled first.
    fn ask(&mut self, asked: &Asked<'_>, answered: &mut Answered, actions: &mut Actions) -> Step {
        let Asked { now, arrived, request, draining } = *asked;
        let unix = now.unix.as_secs();
        let given = Arc::clone(&self.given);
        if is_health(request) && given.site.find(b"healthz").is_none() {
            let reply = self.responder.health(&given.site, request, unix, draining, answered.close);
            hand_over(reply, answered, actions);
            return Step::Answered;
        }
        let (status, why) =
            match self.responder.answer(&given.site, &mut self.shelf, request, unix, answered.close) {
                Answer::Reply(reply) => {
                    hand_over(reply, answered, actions);
                    return Step::Answered;
                }
                Answer::Load(variant) if !self.shelf.could_hold(variant.len()) => {
                    (Status::InternalServerError, TOO_LARGE)
                }
                Answer::Load(variant) => {
                    let left = PATIENCE.saturating_sub(now.instant.since(arrived.instant));
                    let number = if left.is_zero() { None } else { self.want(variant, now.instant, false) };
                    if let Some(load) = number.and_then(|number| self.loads.get_mut(&number)) {
                        load.waiters += 1;
                        // Whoever waits for this session's sake: the worker may sleep until then.
                        actions.deadline(arrived.instant + PATIENCE);
                        return Step::WaitsFor(Ticket(load.ticket));
                    }
                    (Status::ServiceUnavailable, LATER)
                }
            };
        self.refused += 1;
        answered.close = true;
        let has_content = request.method != Method::Head;
        let reply = self.responder.refuse(&given.site, (status, why), has_content, unix);
        hand_over(reply, answered, actions);
        Step::Answered
    }

    /// The number of the load that brings this form, begun if it was not; `None` when it cannot be had now.
    fn want(&mut self, variant: &Variant, now: Instant, is_ahead: bool) -> Option<u64> {
        let key = variant.key;
        if let Some(number) = self.numbers.get(&key) {
            return Some(*number);
        }
        if self.failed.get(&key).is_some_and(|until| now < *until) || self.loads.len() >= WANTS_MAX {
            return None;
        }
        self.failed.remove(&key);
        let number = self.next;
        let site = Arc::clone(&self.given.site);
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        if !self.seat.want(Want { number, site, variant: variant.clone(), over }) {
            return None;
        }
        self.next += 1;
        let deadline = now + PATIENCE;
        self.numbers.insert(key, number);
        self.loads.insert(
            number,
            Load {
                key,
                filling: None,
                len: variant.len(),
                looks: self.looks,
                changed: false,
                until: deadline,
                deadline,
                ticket: number,
                waiters: 0,
                is_ahead,
                is_over,
            },
        );
        self.deadlines.insert((deadline, number));
        Some(number)
    }

    /// A load is over, and those who wait for it are called.
    fn end(&mut self, number: u64, failed_until: Option<Instant>) {
        let Some(load) = self.loads.remove(&number) else { return };
        self.numbers.remove(&load.key);
        self.deadlines.remove(&(load.deadline, number));
        load.is_over.store(true, Ordering::Relaxed);
        if let Some(until) = failed_until {
            self.unloaded += 1;
            self.failed.insert(load.key, until);
        }
        self.over.push_back(load.ticket);
    }

    /// Gives up loads of which nothing comes, and lets those go who waited long enough for one of which something does.
    fn expire(&mut self, now: Instant) {
        while let Some((at, number)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, number));
            let Some(load) = self.loads.get_mut(&number) else { continue };
            if load.until <= now {
                self.end(number, Some(now + RETRY));
                continue;
            }
            // They ask again: who came later waits on, under another ticket.
            self.over.push_back(load.ticket);
            (load.ticket, load.waiters) = (self.next, 0);
            self.next += 1;
            load.deadline = load.until.min(now + RETRY);
            self.deadlines.insert((load.deadline, number));
        }
    }

    fn on_bytes(&mut self, number: u64, bytes: &[u8], now: Instant) {
        // One that was given up is over, and the rest of it comes to nobody.
        let Some(load) = self.loads.get_mut(&number) else { return };
        load.until = now + PATIENCE;
        let filled = match &mut load.filling {
            Some(filling) => filling.push(self.shelf.pool(), bytes),
            None => self.shelf.begin(load.len).and_then(|mut filling| {
                filling.push(self.shelf.pool(), bytes)?;
                load.filling = Some(filling);
                Ok(())
            }),
        };
        if let Err(PutError::Busy | PutError::TooLarge { .. }) = filled {
            self.end(number, Some(now + RETRY));
        }
    }

    fn on_whole(&mut self, number: u64, now: Instant) {
        let Some(load) = self.loads.get_mut(&number) else { return };
        let key = load.key;
        let filling = match load.filling.take() {
            Some(filling) => Ok(filling),
            // A file without bytes has no pieces.
            None => self.shelf.begin(0),
        };
        let Ok(filling) = filling else { return self.end(number, Some(now + RETRY)) };
        self.loaded += 1;
        // A form that the site no longer has is of use to nobody.
        if self.given.has(key) {
            let _: std::rc::Rc<Object> = self.shelf.finish(key, filling);
        }
        self.end(number, None);
    }

    /// The file is another. A look that came since the load began may know it already: it may have passed this word.
    fn on_changed(&mut self, number: u64) {
        let Some(load) = self.loads.get_mut(&number) else { return };
        load.filling = None;
        load.changed = true;
        if load.looks != self.looks {
            self.end(number, None);
        }
    }

    /// Reads ahead while there is room and little to do. Files that have come or changed since are behind the others, so that
    /// a new site is no reason to begin again. Returns whether there is more to look at.
    fn read_ahead(&mut self, now: Instant) -> bool {
        let given = Arc::clone(&self.given);
        let Some(mut last) = self.ahead else { return false };
        let files = given.after(last);
        for (key, resource) in files.iter().take(LOOKS) {
            if self.loads.len() >= PRELOADS {
                // One of them ends, and we are here again.
                break;
            }
            let variant = &resource.variants[0];
            // With what is on its way and has no frames yet.
            let coming = self.loads.values().filter(|load| load.filling.is_none()).map(|load| load.len);
            // What comes behind one too large may be smaller; nothing is to make room for what nobody has asked for.
            let is_left = self.shelf.has(*key)
                || self.failed.contains_key(key)
                || !self.shelf.has_room(coming.chain([variant.len()]));
            if !is_left && self.want(variant, now, true).is_none() {
                break;
            }
            last = *key;
        }
        self.ahead = Some(last);
        files.len() > LOOKS && self.loads.len() < PRELOADS
    }
}

impl Desk for Objects {
    type First = First;
    type Snapshot = Arc<Given>;
    type Rest = Rest;
    type Tally = Tally;

    fn new(first: First, unix_seconds: u64) -> Self {
        let First { given, shelf, seat, preload } = first;
        let ahead = preload.then_some(Key::NONE);
        Self {
            given,
            responder: Responder::new(unix_seconds),
            shelf,
            seat,
            loads: BTreeMap::new(),
            numbers: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            next: 0,
            looks: 0,
            failed: BTreeMap::new(),
            over: VecDeque::new(),
            ahead,
            loaded: 0,
            unloaded: 0,
            refused: 0,
        }
    }

    fn terms(&self) -> &Terms {
        &self.given.terms
    }

    fn tally(&self) -> Tally {
        let counters = self.shelf.counters();
        Tally {
            hits: counters.hits,
            misses: counters.misses,
            evicted: counters.evicted,
            objects: self.shelf.count() as u64,
            bytes: self.shelf.bytes(),
            loaded: self.loaded,
            unloaded: self.unloaded,
            refused: self.refused,
        }
    }

    fn on_request(&mut self, asked: &Asked<'_>, answered: &mut Answered, actions: &mut Actions) -> Step {
        self.ask(asked, answered, actions)
    }

    fn on_file(
        &mut self,
        asked: &Asked<'_>,
        _: Result<(FileHandle, FileMeta), OpenError>,
        answered: &mut Answered,
        actions: &mut Actions,
    ) -> Step {
        debug_assert!(false, "no file was asked for");
        self.ask(asked, answered, actions)
    }

    fn on_roused(&mut self, asked: &Asked<'_>, answered: &mut Answered, actions: &mut Actions) -> Step {
        self.ask(asked, answered, actions)
    }

    fn on_rest(&mut self, rest: Rest, _: &mut Actions) -> Option<Rest> {
        match rest {}
    }

    fn refuse(&mut self, refused: &Refused<'_>, answered: &mut Answered, actions: &mut Actions) {
        let Refused { now, status, sentence, request: _, has_content } = *refused;
        let given = Arc::clone(&self.given);
        let why = (status, sentence);
        hand_over(
            self.responder.refuse(&given.site, why, has_content, now.unix.as_secs()),
            answered,
            actions,
        );
    }

    fn plain_to_tls(&mut self, now: Now) -> Vec<u8> {
        let given = Arc::clone(&self.given);
        self.responder.plain_to_tls(&given.site, now.unix.as_secs())
    }

    fn on_snapshot(&mut self, _: Now, given: Arc<Given>) {
        self.shelf.begin_sweep();
        self.given = given;
        self.responder.on_site();
        self.failed.clear();
        self.looks += 1;
        // Those who wait for a file that is another now ask again, and get the other.
        let changed: Vec<u64> =
            self.loads.iter().filter(|(_, load)| load.changed).map(|(number, _)| *number).collect();
        for number in changed {
            self.end(number, None);
        }
    }

    fn on_left(&mut self, Ticket(ticket): Ticket) {
        let load = self.loads.iter_mut().find(|(_, load)| load.ticket == ticket);
        let Some((number, load)) = load else { return };
        load.waiters -= 1;
        if load.waiters == 0 && !load.is_ahead {
            let number = *number;
            self.end(number, None);
        }
    }

    fn on_turn(&mut self, now: Now) -> bool {
        let now = now.instant;
        self.expire(now);
        let looks_on = self.read_ahead(now);
        let Self { shelf, given, .. } = self;
        let looks_on = shelf.sweep(LOOKS, |key| given.has(key)) || looks_on;
        if self.loads.is_empty() {
            // What is left in the ring is of loads that were given up: it goes with the next one's.
            return looks_on;
        }
        for _ in 0..PIECES_MAX {
            match self.seat.piece() {
                None => return looks_on,
                Some(Piece::Bytes(number, bytes)) => self.on_bytes(number, &bytes, now),
                Some(Piece::Whole(number)) => {
                    self.on_whole(number, now);
                    // Its requests are answered before another object may push it off again.
                    return true;
                }
                Some(Piece::Changed(number)) => self.on_changed(number),
                Some(Piece::Unreadable(number)) => self.end(number, Some(now + RETRY)),
            }
        }
        true
    }

    fn poll_ticket(&mut self) -> Option<Ticket> {
        self.over.pop_front().map(Ticket)
    }
}

fn is_health(request: &http::Request<'_>) -> bool {
    request.method != Method::Options
        && request.target.split(|&byte| byte == b'?').next() == Some(b"/healthz")
}

/// Hands a reply to the engine.
fn hand_over(reply: Reply, answered: &mut Answered, actions: &mut Actions) {
    let Reply { status, head, head_sum: _, body, close } = reply;
    answered.status = status;
    answered.close |= close;
    answered.head_bytes = head.len() as u64;
    answered.content_bytes = body.bytes();
    if head.is_empty() {
        actions.abort();
        return;
    }
    let range = |range: core::ops::Range<usize>| range.start as u64..range.end as u64;
    match body {
        Body::Nothing => actions.send(head),
        Body::Bytes(bytes) => {
            let mut message = head;
            message.extend_from_slice(&bytes);
            actions.send(message);
        }
        Body::Object(object, part) => {
            actions.send(head);
            actions.send_memory(object, range(part));
        }
        Body::Parts(object, parts, end) => {
            actions.send(head);
            for (head, part) in parts {
                actions.send(head);
                actions
                    .send_memory(std::rc::Rc::clone(&object) as std::rc::Rc<dyn turn::Memory>, range(part));
            }
            actions.send(end);
        }
    }
}

#[cfg(test)]
mod tests;
