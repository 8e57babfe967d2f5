//! One client: connects, asks, watches, leaves, comes back. Sans-IO: whoever moves its bytes tells it what happened, and
//! asks it what to do ([`Client::poll`]).
//!
//! ```text
//!   Asleep ─▶ Opening ─▶ Shaking ─▶ Waiting ⇄ Thinking
//!     ▲                                │
//!     └────────── Leaving ◀────────────┘  the last response of a connection: the server closes first, so that no
//!                                         TIME_WAIT is left at this end
//! ```

use clock::Instant;
use core::fmt::Write as _;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use std::sync::Arc;

use super::catalogue::Range;
use super::fault::Fault;
use super::framing::Head;
use super::plan::Plan;
use super::session::{Cryptography, Event, Heed, Session, Want};
use super::tally::Tally;
use super::truth::Comparison;
use super::viewer::Viewer;

/// After a failure nobody comes back at once: a server that refuses is not to be hammered.
const PENALTY: Duration = Duration::from_millis(100);
/// The server has so long to close a connection that it was asked to close.
const LEAVE: Duration = Duration::from_secs(1);

/// What a worker's clients share.
#[derive(Debug)]
pub struct Desk {
    plan: Arc<Plan>,
    cx: Cryptography,
    ledger: Ledger,
}

/// The part of the desk that responses are entered in.
#[derive(Debug)]
struct Ledger {
    plan: Arc<Plan>,
    random: SmallRng,
    tally: Tally,
    /// Share of responses that are compared.
    verify: f64,
    /// Requests that may still be made, by all workers together.
    budget: Option<Arc<AtomicU64>>,
    request: String,
}

impl Desk {
    /// For so many clients of this plan; `number` tells workers apart.
    #[must_use]
    pub fn new(plan: Arc<Plan>, clients: usize, number: u64, budget: Option<Arc<AtomicU64>>) -> Self {
        let random = SmallRng::seed_from_u64(plan.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (tally, request) = (Tally::new(), String::new());
        let ledger = Ledger { plan: Arc::clone(&plan), random, tally, verify: 0.0, budget, request };
        Self { plan, cx: Cryptography::new(clients), ledger }
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// From now on this share of responses is compared with the truth.
    pub fn set_verify(&mut self, share: f64) {
        self.ledger.verify = if self.plan.truth.is_some() { share } else { 0.0 };
    }

    /// What was counted so far.
    pub fn tally(&mut self) -> &mut Tally {
        &mut self.ledger.tally
    }

    /// Takes what was counted, and begins anew.
    pub fn take_tally(&mut self) -> Tally {
        core::mem::replace(&mut self.ledger.tally, Tally::new())
    }
}

/// What a client wants of whoever moves its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing before [`Client::wakes_at`]; its output is to be sent.
    Rest,
    /// A connection to the server of this index; then [`Client::on_opening`].
    Open {
        /// In the catalogue.
        server: usize,
    },
    /// Its connection is over: FIN.
    Close,
    /// Its connection is of no use: RST will do.
    Abort,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    session: Option<Session>,
    visit: Visit,
}

#[derive(Debug)]
struct Visit {
    stage: Stage,
    /// When the stage began.
    since: Instant,
    /// Requests made so far, and where in the list this client began.
    turn: usize,
    /// Requests that this connection may still make.
    left: u32,
    /// Object and range that come next.
    next: Next,
    order: Option<Order>,
    viewer: Option<Viewer>,
    /// The server closes after this response.
    closes: bool,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Asleep {
        until: Instant,
    },
    Opening,
    Shaking,
    Waiting,
    Thinking {
        until: Instant,
    },
    Leaving {
        until: Instant,
    },
    /// There is nothing more to ask for.
    Retired,
}

#[derive(Clone, Copy, Debug)]
struct Next {
    object: usize,
    /// How far a sequence of ranges has come.
    progress: u64,
}

/// A request that is out.
#[derive(Debug)]
struct Order {
    object: usize,
    range: Option<Range>,
    comparison: Option<Comparison>,
    body_bytes: u64,
    /// It went wrong, but the connection may be kept.
    fault: Option<Fault>,
}

impl Client {
    /// A client that first connects at `begins`.
    #[must_use]
    pub fn new(desk: &mut Desk, number: usize, begins: Instant) -> Self {
        let turn = number.wrapping_mul(7);
        let object = desk.plan.chooser.next(turn, &mut desk.ledger.random);
        Self {
            session: None,
            visit: Visit {
                stage: Stage::Asleep { until: begins },
                since: begins,
                turn,
                left: 0,
                next: Next { object, progress: 0 },
                order: None,
                viewer: None,
                closes: false,
                fault: None,
            },
        }
    }

    /// Its connection, if there is one, has been established.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.session.is_some() && self.visit.stage != Stage::Opening
    }

    /// It will never ask again.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.visit.stage == Stage::Retired
    }

    /// It awaits nothing more of its connection for now.
    #[must_use]
    pub fn has_turned(&self) -> bool {
        self.visit.fault.is_some() || !matches!(self.visit.stage, Stage::Shaking | Stage::Waiting)
    }

    /// When to poll it if nothing happens before.
    #[must_use]
    pub fn wakes_at(&self, plan: &Plan) -> Instant {
        match self.visit.stage {
            Stage::Asleep { until } | Stage::Thinking { until } | Stage::Leaving { until } => until,
            Stage::Opening | Stage::Shaking | Stage::Waiting => self.visit.since + plan.timeout,
            Stage::Retired => Instant::NEVER,
        }
    }

    /// What to bring next.
    #[must_use]
    pub fn want(&self) -> Want {
        self.session.as_ref().map_or(Want::Bytes(1), Session::want)
    }

    /// What is to be sent.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        match &self.session {
            Some(session) if self.visit.stage != Stage::Opening => session.output(),
            _ => &[],
        }
    }

    /// So much of the output has been sent.
    pub fn on_sent(&mut self, bytes: usize) {
        if let Some(session) = &mut self.session {
            session.on_sent(bytes);
        }
    }

    /// The connection is being opened.
    pub fn on_opening(&mut self, now: Instant, desk: &mut Desk) {
        let server = &desk.plan.catalogue.servers[self.server(desk)];
        let session =
            if server.secure { Session::secure(&desk.plan.tls, &server.name) } else { Ok(Session::plain()) };
        match session {
            Ok(session) => {
                self.session = Some(session);
                self.visit.enter(Stage::Opening, now);
                self.visit.left = desk.plan.demand.requests_per_connection.unwrap_or(u32::MAX);
                self.visit.closes = false;
            }
            Err(fault) => self.visit.fault = Some(fault),
        }
    }

    /// TCP is established.
    pub fn on_connected(&mut self, now: Instant, desk: &mut Desk) {
        let tally = &mut desk.ledger.tally;
        tally.connect.record(now.since(self.visit.since));
        if self.session.as_ref().is_some_and(Session::is_ready) {
            tally.connections += 1;
            self.visit.enter(Stage::Thinking { until: now }, now);
        } else {
            self.visit.enter(Stage::Shaking, now);
        }
    }

    /// Bytes came.
    pub fn on_bytes(&mut self, now: Instant, desk: &mut Desk, bytes: &[u8]) {
        desk.ledger.tally.wire_bytes += bytes.len() as u64;
        let Some(session) = &mut self.session else { return };
        let (visit, ledger) = (&mut self.visit, &mut desk.ledger);
        let heard = session.on_bytes(&mut desk.cx, bytes, &mut |event| visit.on_event(now, ledger, event));
        if let Err(fault) = heard {
            visit.fault.get_or_insert(fault);
        }
    }

    /// Bytes came and were discarded, unseen.
    pub fn on_discarded(&mut self, now: Instant, desk: &mut Desk, bytes: u64) {
        desk.ledger.tally.wire_bytes += bytes;
        let Some(session) = &mut self.session else { return };
        let (visit, ledger) = (&mut self.visit, &mut desk.ledger);
        session.on_discarded(bytes, &mut |event| visit.on_event(now, ledger, event));
    }

    /// The peer sent FIN.
    pub fn on_end(&mut self, now: Instant, desk: &mut Desk) {
        let Some(session) = &mut self.session else { return };
        let (visit, ledger) = (&mut self.visit, &mut desk.ledger);
        if let Err(fault) = session.on_end(&mut |event| visit.on_event(now, ledger, event)) {
            visit.fault.get_or_insert(fault);
        }
        if !matches!(visit.stage, Stage::Asleep { .. } | Stage::Retired) {
            visit.enter(Stage::Leaving { until: now }, now);
        }
    }

    /// The connection broke, or did not come about.
    pub fn on_broken(&mut self, fault: Fault) {
        self.visit.fault.get_or_insert(fault);
    }

    /// What is to be done now. To be called after everything else, until it says [`Action::Rest`].
    pub fn poll(&mut self, now: Instant, desk: &mut Desk) -> Action {
        if let Some(fault) = self.visit.fault.take() {
            desk.ledger.tally.fail(&fault);
            self.leave(now, now + PENALTY, desk);
            return Action::Abort;
        }
        match self.visit.stage {
            Stage::Asleep { until } if until <= now => {
                if desk.ledger.is_exhausted() {
                    self.visit.enter(Stage::Retired, now);
                    return Action::Rest;
                }
                Action::Open { server: self.server(desk) }
            }
            Stage::Thinking { until } if until <= now => self.ask(now, desk),
            Stage::Leaving { until } if until <= now => {
                self.leave(now, now, desk);
                Action::Close
            }
            Stage::Opening | Stage::Shaking | Stage::Waiting
                if self.visit.since + desk.plan.timeout <= now =>
            {
                let during = match self.visit.stage {
                    Stage::Opening => "the connection",
                    Stage::Shaking => "the handshake",
                    _ => "the response",
                };
                self.visit.fault = Some(Fault::Timeout { during, after: desk.plan.timeout });
                self.poll(now, desk)
            }
            _ => Action::Rest,
        }
    }

    /// From now on only what happens from now on counts.
    pub fn forget(&mut self, now: Instant) {
        if let Some(viewer) = &mut self.visit.viewer {
            viewer.forget(now);
        }
    }

    /// What its viewer lived through, into the tally.
    pub fn report(&mut self, now: Instant, tally: &mut Tally) {
        if let Some(viewer) = &mut self.visit.viewer {
            tally.audience.add(viewer.experience(now));
        }
    }

    fn server(&self, desk: &Desk) -> usize {
        desk.plan.catalogue.objects[self.visit.next.object].server
    }

    /// The connection is done with.
    fn leave(&mut self, now: Instant, until: Instant, desk: &mut Desk) {
        self.visit.enter(Stage::Asleep { until }, now);
        self.visit.order = None;
        self.visit.left = 0;
        if let Some(session) = self.session.take() {
            session.forget(&mut desk.cx);
        }
    }

    fn ask(&mut self, now: Instant, desk: &mut Desk) -> Action {
        let visit = &mut self.visit;
        let Some(session) = &mut self.session else { return Action::Rest };
        if !desk.ledger.claim() {
            self.leave(now, now, desk);
            self.visit.enter(Stage::Retired, now);
            return Action::Close;
        }
        visit.left -= 1;
        visit.turn += 1;
        if visit.viewer.is_none() {
            visit.viewer = desk.plan.demand.habit.map(|habit| Viewer::new(habit, now));
        }
        match desk.ledger.order(visit.next, visit.left == 0) {
            Ok(order) => {
                let heed = if order.comparison.is_some() { Heed::See } else { Heed::Count };
                visit.order = Some(order);
                visit.enter(Stage::Waiting, now);
                match session.ask(&mut desk.cx, desk.ledger.request.as_bytes(), heed) {
                    Ok(()) => Action::Rest,
                    Err(fault) => {
                        visit.fault = Some(fault);
                        self.poll(now, desk)
                    }
                }
            }
            Err(fault) => {
                visit.fault = Some(fault);
                self.poll(now, desk)
            }
        }
    }
}

impl Ledger {
    fn is_exhausted(&self) -> bool {
        self.budget.as_ref().is_some_and(|budget| budget.load(Ordering::Relaxed) == 0)
    }

    /// One more request, if one may be made.
    fn claim(&self) -> bool {
        self.budget.as_ref().is_none_or(|budget| {
            budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        })
    }

    /// Makes the request's text.
    fn order(&mut self, next: Next, is_last: bool) -> Result<Order, Fault> {
        let plan = &*self.plan;
        let object = &plan.catalogue.objects[next.object];
        let range = plan.part.range(object.bytes(), next.progress, &mut self.random);
        let text = &mut self.request;
        text.clear();
        let authority = &plan.catalogue.servers[object.server].authority;
        for piece in ["GET ", &object.target, " HTTP/1.1\r\nHost: ", authority, "\r\n"] {
            text.push_str(piece);
        }
        if let Some(Range { first, last }) = range {
            let _ = write!(text, "Range: bytes={first}-{last}\r\n");
        }
        text.push_str(if is_last { "Connection: close\r\n\r\n" } else { "\r\n" });
        let comparison = match &plan.truth {
            Some(truth) if self.verify > 0.0 && self.random.random::<f64>() < self.verify => {
                let original = truth.open(object.path())?;
                let range = range.map(|range| (range.first, range.last));
                Some(Comparison::new(original, object.target.clone(), range))
            }
            _ => None,
        };
        Ok(Order { object: next.object, range, comparison, body_bytes: 0, fault: None })
    }
}

impl Visit {
    fn enter(&mut self, stage: Stage, now: Instant) {
        self.stage = stage;
        self.since = now;
    }

    fn on_event(&mut self, now: Instant, ledger: &mut Ledger, event: Event<'_>) {
        match event {
            Event::Established { resumed } => {
                ledger.tally.handshake.record(now.since(self.since));
                ledger.tally.connections += 1;
                ledger.tally.resumed += u64::from(resumed);
                self.enter(Stage::Thinking { until: now }, now);
            }
            Event::FirstByte => ledger.tally.first_byte.record(now.since(self.since)),
            Event::Head(head) => self.on_head(ledger, head),
            Event::Body(bytes) => {
                if let Some(order) = &mut self.order
                    && let Some(comparison) = &mut order.comparison
                    && order.fault.is_none()
                {
                    ledger.tally.verified_bytes += bytes.len() as u64;
                    order.fault = comparison.on_bytes(bytes).err();
                }
                self.on_body(now, ledger, bytes.len() as u64);
            }
            Event::Skipped(bytes) => self.on_body(now, ledger, bytes),
            Event::Done => self.on_done(now, ledger),
        }
    }

    fn on_head(&mut self, ledger: &Ledger, head: Head) {
        let Some(order) = &mut self.order else { return };
        self.closes = head.closes;
        let object = &ledger.plan.catalogue.objects[order.object];
        let expected = if order.range.is_some() { 206 } else { 200 };
        if head.status != expected {
            order.fault = Some(Fault::Status { status: head.status, target: object.target.clone() });
            return;
        }
        let whole = match head.range {
            Some((_, whole)) => whole,
            None => head.body_bytes,
        };
        let known = object.bytes();
        if let Some(whole) = whole.filter(|whole| known != Some(*whole)) {
            object.learn(whole);
        }
        // A server may send less of a range than was asked for only where the object ends.
        if let (Some(range), Some(found)) = (order.range, head.body_bytes) {
            let last = whole.map_or(range.last, |whole| range.last.min(whole.saturating_sub(1)));
            let expected = (last + 1).saturating_sub(range.first);
            if found != expected || head.range.is_some_and(|(first, _)| first != range.first) {
                order.fault = Some(Fault::Length { target: object.target.clone(), expected, found });
            }
        }
    }

    fn on_body(&mut self, now: Instant, ledger: &mut Ledger, bytes: u64) {
        ledger.tally.body_bytes += bytes;
        if let Some(order) = &mut self.order {
            order.body_bytes += bytes;
        }
        if let Some(viewer) = &mut self.viewer {
            viewer.on_bytes(now, bytes);
        }
    }

    fn on_done(&mut self, now: Instant, ledger: &mut Ledger) {
        let Some(order) = self.order.take() else { return };
        let compared = order.comparison.as_ref().map(Comparison::finish);
        let fault = order.fault.or_else(|| compared.as_ref().and_then(|end| end.clone().err()));
        match &fault {
            Some(fault) => ledger.tally.fail(fault),
            None => {
                ledger.tally.requests += 1;
                ledger.tally.verified += u64::from(compared.is_some());
                ledger.tally.total.record(now.since(self.since));
            }
        }
        if let Some(viewer) = &mut self.viewer {
            viewer.on_segment(order.body_bytes);
        }
        self.choose_next(ledger, order.object, order.range);
        if self.closes || self.left == 0 {
            self.enter(Stage::Leaving { until: now + LEAVE }, now);
            return;
        }
        let plan = &*ledger.plan;
        if plan.catalogue.objects[self.next.object].server != plan.catalogue.objects[order.object].server {
            // The next object is elsewhere: we close, and nobody waits for it.
            self.enter(Stage::Leaving { until: now }, now);
            return;
        }
        let mut until = match &mut self.viewer {
            Some(viewer) => viewer.asks_at(now),
            None => now + plan.demand.think,
        };
        if fault.is_some() {
            until = until.max(now + PENALTY);
        }
        self.enter(Stage::Thinking { until }, now);
    }

    fn choose_next(&mut self, ledger: &mut Ledger, object: usize, range: Option<Range>) {
        let plan = &*ledger.plan;
        if let super::catalogue::Part::Sequential { .. } = plan.part
            && let (Some(range), Some(size)) = (range, plan.catalogue.objects[object].bytes())
            && range.last + 1 < size
        {
            self.next = Next { object, progress: range.last + 1 };
            return;
        }
        self.next = Next { object: plan.chooser.next(self.turn, &mut ledger.random), progress: 0 };
    }
}

#[cfg(test)]
mod tests;
