//! What a worker counts about HTTP.

use control::{Figure, Figures};
use http::Status;

/// What a worker has counted so far, `T` being what its desk counts besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters<T> {
    /// Connections that came.
    pub connections_accepted: u64,
    /// Connections that are there.
    pub connections: u64,
    /// Answers by status, in the order of [`Status::ALL`].
    pub answers: [u64; Status::ALL.len()],
    /// Bytes of content in answers that are over.
    pub content_bytes: u64,
    /// Answers that were cut short.
    pub aborted: u64,
    /// Heads that took too long.
    pub header_timeouts: u64,
    /// Connections closed because nothing came.
    pub idle_timeouts: u64,
    /// Requests on connections beyond the limit.
    pub surplus: u64,
    /// Records that were dropped because nobody took them.
    pub records_dropped: u64,
    /// What the desk counts.
    pub tally: T,
}

impl<T> Counters<T> {
    pub(crate) fn on_answer(&mut self, status: Status) {
        self.answers[status.index()] += 1;
    }

    /// How many answers there were in all.
    #[must_use]
    pub fn answers_total(&self) -> u64 {
        self.answers.iter().sum()
    }
}

impl<T: Figures> Figures for Counters<T> {
    fn visit(&self, visit: &mut dyn FnMut(Figure)) {
        // In full, so that nothing is counted and not shown.
        let Self {
            connections_accepted,
            connections,
            ref answers,
            content_bytes,
            aborted,
            header_timeouts,
            idle_timeouts,
            surplus,
            records_dropped,
            ref tally,
        } = *self;
        let answer = "Answers by status";
        for (status, count) in Status::ALL.into_iter().zip(*answers) {
            visit(Figure::counter("http_answers", answer, count).labelled("status", status.digits()));
        }
        visit(Figure::gauge("http_connections", "Connections that are there", connections));
        for (name, help, value) in [
            ("http_connections_accepted", "Connections that came", connections_accepted),
            ("http_content_bytes", "Bytes of content in answers that are over", content_bytes),
            ("http_aborted", "Answers that were cut short", aborted),
            ("http_header_timeouts", "Request heads that took too long", header_timeouts),
            ("http_idle_timeouts", "Connections closed because nothing came", idle_timeouts),
            ("http_surplus", "Requests on connections beyond the limit", surplus),
            ("http_records_dropped", "Access-log records dropped in the worker", records_dropped),
        ] {
            visit(Figure::counter(name, help, value));
        }
        tally.visit(visit);
    }
}
