//! The list of connections: asked for a page at a time, made a little in each turn of a worker.
//!
//! ```text
//!   GET /connections?worker=0&from=0 ─▶ Command::List ─▶ worker: a few places each turn ─▶ Report::Listed ─▶ JSON
//!                                                                                                │
//!        {"worker": 0, "workers": 2, "next": 4711, "connections": [ … ]}  ◀──────────────────────┘
//! ```
//!
//! `next` is where the worker's next page begins, or `null` behind its last one. The other side reads pages with the
//! same types: [`Page`] and [`Connection`].

use core::net::SocketAddr;
use core::time::Duration;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::borrow::Cow;
use std::time::Instant;

use crate::admin::Response;

/// Connections on one page.
pub const PAGE_CONNECTIONS: u32 = 1_000;
/// How long a worker may take for a page before whoever asked is told that it does not answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A connection as people look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's.
    pub peer: SocketAddr,
    /// Where in RFC 9293's diagram it stands, in `ss`'s words: `ESTAB`.
    pub state: Cow<'static, str>,
    /// The protocol and cipher that seal it: `TLS1.3 AES-128-GCM`; `handshake` until that is agreed on.
    pub tls: Option<Cow<'static, str>>,
    /// The congestion window, in bytes.
    pub cwnd: u32,
    /// Above this cwnd grows slowly, in bytes; none before the first loss.
    pub ssthresh: Option<u32>,
    /// The peer's window, in bytes.
    pub snd_wnd: u32,
    /// Payload per segment, in bytes.
    pub mss: u16,
    /// The smoothed round trip, in microseconds; none before it was measured.
    pub srtt_us: Option<u64>,
    /// Its variation.
    pub rttvar_us: u64,
    /// The least round trip of the last seconds.
    pub rtt_min_us: Option<u64>,
    /// The retransmission timeout.
    pub rto_us: u64,
    /// In bytes a second; 0 when nothing is paced.
    pub pacing_rate: u64,
    /// Bytes thought to be in the network.
    pub in_flight: u32,
    /// Bytes thought lost and not yet sent again.
    pub lost: u32,
    /// Bytes reserved and never sent.
    pub unsent: u64,
    /// Stream bytes sent for the first time.
    pub sent_bytes: u64,
    /// Stream bytes sent again.
    pub resent_bytes: u64,
    /// Segments sent again.
    pub retransmitted_segments: u32,
    /// Retransmission timeouts.
    pub timeouts: u16,
    /// Stream bytes received in order.
    pub received_bytes: u64,
    /// Disk reads on their way.
    pub reads: u32,
    /// What is being sent: the path of a URL.
    pub object: Option<String>,
    /// Why it is ending, when it is.
    pub ending: Option<String>,
}

/// One page of a worker's connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Whose.
    pub worker: u32,
    /// How many workers there are.
    pub workers: u32,
    /// Where the next page begins; none behind the last one.
    pub next: Option<u32>,
    /// In no order that means something.
    pub connections: Vec<Connection>,
}

/// What a worker is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListOrder {
    /// Comes back with the answer.
    pub id: u64,
    /// The first place to look at.
    pub from: u32,
    /// The most connections to tell of.
    pub count_max: u32,
}

/// What it answers.
#[derive(Debug)]
pub struct Listed {
    /// Of the order.
    pub id: u64,
    /// Where to go on; none when nothing comes behind.
    pub next: Option<u32>,
    /// As many as were asked for, or all there are.
    pub connections: Vec<Connection>,
}

/// A page that somebody waits for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) id: u64,
    pub(crate) worker: u32,
    deadline: Instant,
    listed: Option<Box<Listed>>,
}

/// Pages that are wanted, at most as many as there are clients of the admin port.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    wanted: Vec<Wanted>,
    last_id: u64,
}

impl Wishes {
    /// A new wish; what to tell the worker.
    pub(crate) fn add(&mut self, worker: u32, from: u32, now: Instant) -> ListOrder {
        // Who asked may have gone away without taking the answer.
        self.wanted.retain(|wanted| now < wanted.deadline + PATIENCE);
        self.last_id += 1;
        let id = self.last_id;
        self.wanted.push(Wanted { id, worker, deadline: now + PATIENCE, listed: None });
        ListOrder { id, from, count_max: PAGE_CONNECTIONS }
    }

    /// A worker has answered.
    pub(crate) fn on_listed(&mut self, listed: Box<Listed>) {
        if let Some(wanted) = self.wanted.iter_mut().find(|wanted| wanted.id == listed.id) {
            wanted.listed = Some(listed);
        }
    }

    /// The answer to a wish, once there is one.
    pub(crate) fn poll(&mut self, id: u64, workers: u32, now: Instant) -> Option<Response> {
        let index = self.wanted.iter().position(|wanted| wanted.id == id);
        let Some(index) = index else { return Some(Response::text(503, "nobody knows of this request")) };
        let wanted = &mut self.wanted[index];
        let worker = wanted.worker;
        let response = match wanted.listed.take() {
            Some(listed) => {
                let Listed { id: _, next, connections } = *listed;
                let page = Page { worker, workers, next, connections };
                let body = serde_json::to_string(&page).unwrap_or_else(|_| json!({}).to_string());
                Response { status: 200, content_type: "application/json", body: body + "\n" }
            }
            None if now < wanted.deadline => return None,
            None => Response::text(503, format_args!("worker {worker} does not answer")),
        };
        self.wanted.swap_remove(index);
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_given_to_whoever_asked_for_it_and_once() {
        let now = Instant::now();
        let mut wishes = Wishes::default();
        let [first, second] = [wishes.add(0, 0, now), wishes.add(1, 500, now)];
        assert_eq!((second.from, second.count_max), (500, PAGE_CONNECTIONS));
        assert_eq!(wishes.poll(first.id, 2, now), None);
        wishes.on_listed(Box::new(Listed { id: second.id, next: Some(9), connections: Vec::new() }));
        assert_eq!(wishes.poll(first.id, 2, now), None);
        let response = wishes.poll(second.id, 2, now).unwrap();
        let page: Page = serde_json::from_str(&response.body).unwrap();
        assert_eq!(page, Page { worker: 1, workers: 2, next: Some(9), connections: Vec::new() });
        assert_eq!(wishes.poll(second.id, 2, now).unwrap().status, 503);
    }

    #[test]
    fn a_worker_that_does_not_answer_is_not_waited_for_for_ever() {
        let now = Instant::now();
        let mut wishes = Wishes::default();
        let order = wishes.add(0, 0, now);
        let response = wishes.poll(order.id, 1, now + PATIENCE).unwrap();
        assert_eq!(response.status, 503);
        assert!(response.body.contains("worker 0"));
        // An answer that comes too late is thrown away, and a wish that nobody asks after too.
        wishes.on_listed(Box::new(Listed { id: order.id, next: None, connections: Vec::new() }));
        wishes.add(0, 0, now);
        wishes.add(0, 0, now + 10 * PATIENCE);
        assert_eq!(wishes.wanted.len(), 1);
    }
}
