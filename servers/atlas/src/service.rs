//! Atlas as a desk of the session machine: a request becomes a file of the disk, a page, or an error.
//!
//! ```text
//!   request ─▶ route ── a file ─▶ opened by the engine ─▶ head, range of the file
//!                └── a page, an error, 204 ─────────────▶ head, bytes
//! ```
//!
//! How connections live is [`web::session`]'s.

use std::sync::Arc;

use platform::{FileMeta, OpenError};
use turn::{Actions, FileHandle, Now};
use web::session::{Asked, Desk, Refused, Step, Terms};

use crate::site::{Site, Snapshot};

mod respond;
mod route;
mod tally;

pub use tally::Tally;

use respond::{Answer, Responder};
use route::Route;

/// One worker's HTTP server.
pub type AtlasService = web::HttpService<Files>;

/// What is remembered of a connection.
pub type Session = web::Session<Rest>;

/// What a worker counts about HTTP.
pub type Counters = web::Counters<Tally>;

/// An answer.
type Answered = web::session::Answered<Rest>;

/// What answers from the disk.
#[derive(Debug)]
pub struct Files {
    site: Snapshot,
    responder: Responder,
    tally: Tally,
}

/// Content in memory, from an offset on: what of a large page could not be handed over yet.
#[derive(Debug)]
pub struct Rest {
    content: Arc<[u8]>,
    from: usize,
}

impl Files {
    /// What is in force.
    #[must_use]
    pub const fn site(&self) -> &Snapshot {
        &self.site
    }
}

impl Desk for Files {
    type First = Snapshot;
    type Snapshot = Snapshot;
    type Rest = Rest;
    type Tally = Tally;

    fn new(site: Snapshot, unix_seconds: u64) -> Self {
        Self { site, responder: Responder::new(unix_seconds), tally: Tally::default() }
    }

    fn terms(&self) -> &Terms {
        &self.site.terms
    }

    fn tally(&self) -> Tally {
        self.tally
    }

    fn on_request(&mut self, asked: &Asked<'_>, answered: &mut Answered, actions: &mut Actions) -> Step {
        let Asked { now, request, draining, arrived: _ } = *asked;
        let route = Route::of(&self.site, request, now.unix.as_secs(), draining);
        if let Route::File(path) = route {
            actions.open(self.site.root, &path);
            return Step::Waits;
        }
        if let Route::Denied(_) = route {
            self.tally.denied += 1;
        }
        self.responder.answer(&self.site, now, request, answered, Answer::Route(&route), actions);
        Step::Answered
    }

    fn on_file(
        &mut self,
        asked: &Asked<'_>,
        result: Result<(FileHandle, FileMeta), OpenError>,
        answered: &mut Answered,
        actions: &mut Actions,
    ) -> Step {
        let answer = match &result {
            Ok((handle, meta)) => Answer::File(*handle, meta),
            Err(error) => Answer::OpenError(*error),
        };
        self.responder.answer(&self.site, asked.now, asked.request, answered, answer, actions);
        if let Err(error) = result {
            self.tally.on_open_error(error, answered.status);
        }
        Step::Answered
    }

    fn on_roused(&mut self, asked: &Asked<'_>, answered: &mut Answered, actions: &mut Actions) -> Step {
        debug_assert!(false, "no ticket was drawn");
        self.on_request(asked, answered, actions)
    }

    fn on_rest(&mut self, rest: Rest, actions: &mut Actions) -> Option<Rest> {
        respond::send_piece(rest, actions)
    }

    fn refuse(&mut self, refused: &Refused<'_>, answered: &mut Answered, actions: &mut Actions) {
        self.responder.refuse(&self.site, refused, answered, actions);
    }

    fn plain_to_tls(&mut self, now: Now) -> Vec<u8> {
        self.responder.plain_to_tls(&self.site, now)
    }

    fn on_snapshot(&mut self, _now: Now, snapshot: Snapshot) {
        self.site = snapshot;
    }
}

#[cfg(test)]
mod tests;
