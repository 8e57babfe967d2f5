//! What a server says of itself, and the laws that its numbers obey.
//!
//! ```text
//!   always    no counter goes back · frames out ≤ frames there are · reads out = reads handed over − reads that came back
//!             accepted − ended ≤ connections · queries ≥ answers + drops
//!   at rest   nobody is connected: accepted = ended · reads out = 0 · frames out as at the first rest
//!             queries = answers + drops
//!   and       bytes sent ≥ bytes that clients received · answers ≥ those that clients counted
//! ```

use core::net::SocketAddr;
use core::time::Duration;
use serde_json::Value;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

/// Connections that a worker remembers before they are complete: its backlog by default, and as many that begin anew what is
/// in TIME-WAIT.
const HALF_OPEN_MAX: u64 = 8_192;
/// The admin port answers within this time.
const PATIENCE: Duration = Duration::from_secs(5);

/// One look at a server's numbers.
#[derive(Clone, Debug)]
pub(super) struct Figures(Value);

impl Figures {
    /// Asks the admin port, from a thread that can reach it.
    ///
    /// # Errors
    /// Nobody answers, or not with numbers.
    pub(super) fn ask(admin: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /stats HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n")?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        let at = text.windows(4).position(|end| end == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let value = serde_json::from_slice(&text[at + 4..]).map_err(io::Error::other)?;
        Ok(Self(value))
    }

    /// A counter, of all workers together.
    pub(super) fn total(&self, name: &str) -> u64 {
        self.0["total"][name].as_u64().unwrap_or(0)
    }

    /// Counters of all labels of this name, together.
    fn sum(&self, name: &str) -> u64 {
        let labelled = |key: &str| key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        let all = self.0["total"].as_object().into_iter().flatten();
        all.filter(|(key, _)| labelled(key)).filter_map(|(_, value)| value.as_u64()).sum()
    }

    /// A gauge, of all workers together.
    pub(super) fn gauge(&self, name: &str) -> u64 {
        let workers = self.0["workers"].as_array().into_iter().flatten();
        workers.filter_map(|worker| worker[name].as_u64()).sum()
    }

    /// Every worker has told its numbers.
    pub(super) fn is_whole(&self) -> bool {
        self.0["workers"].as_array().is_some_and(|workers| {
            !workers.is_empty()
                && workers.iter().all(|worker| worker.as_object().is_some_and(|all| !all.is_empty()))
        })
    }

    /// Answers over HTTP.
    pub(super) fn answers(&self) -> u64 {
        self.sum("http_answers")
    }

    /// Answers to questions.
    pub(super) fn responses(&self) -> u64 {
        self.sum("responses")
    }

    /// Questions that came.
    pub(super) fn queries(&self) -> u64 {
        self.sum("queries")
    }

    /// Questions that were not answered.
    fn drops(&self) -> u64 {
        ["no_query", "rate"]
            .iter()
            .map(|reason| self.total(&format!("queries_dropped.{reason}")))
            .sum::<u64>()
            - self.total("responses_slipped").min(self.total("queries_dropped.rate"))
    }

    fn ended(&self) -> u64 {
        self.total("connections_finished") + self.total("connections_failed")
    }

    fn reads_out(&self) -> i128 {
        i128::from(self.total("disk_reads")) - i128::from(self.total("disk_reads_done"))
    }

    /// Nobody is connected, and nothing is on its way. After a flood, connections that nobody completed stay for a while.
    pub(super) fn is_at_rest(&self, flooded: bool) -> bool {
        let left = if flooded { HALF_OPEN_MAX } else { 0 };
        self.gauge("connections") <= left
            && self.ended() == self.total("connections_accepted")
            && self.gauge("disk_reads_in_flight") == 0
    }

    /// What contradicts itself, at any moment.
    pub(super) fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut law = |holds: bool, says: String| {
            if !holds {
                found.push(says);
            }
        };
        let (large, frames) = (self.gauge("frames_in_use.large"), self.gauge("frames"));
        law(large <= frames, format!("{large} of {frames} large frames are out"));
        for kind in ["large", "small"] {
            let (now, most) = (
                self.gauge(&format!("frames_in_use.{kind}")),
                self.gauge(&format!("frames_in_use_max.{kind}")),
            );
            law(now <= most, format!("{now} {kind} frames are out, and there were never more than {most}"));
        }
        let (out, in_flight) = (self.reads_out(), self.gauge("disk_reads_in_flight"));
        law(
            out == i128::from(in_flight),
            format!("{out} reads were handed over and did not come back, and {in_flight} are on their way"),
        );
        let (accepted, ended, open) =
            (self.total("connections_accepted"), self.ended(), self.gauge("connections"));
        law(ended <= accepted, format!("{ended} connections ended, and {accepted} were accepted"));
        law(
            accepted.saturating_sub(ended) <= open,
            format!("{accepted} connections were accepted, {ended} ended, and only {open} are there"),
        );
        let (queries, known) = (self.queries(), self.responses() + self.drops());
        law(known <= queries, format!("{queries} queries came, and {known} were answered or dropped"));
        found
    }

    /// What contradicts itself when nobody is connected.
    pub(super) fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        let (accepted, ended) = (self.total("connections_accepted"), self.ended());
        if accepted != ended {
            found
                .push(format!("nobody is connected; {accepted} connections were accepted and {ended} ended"));
        }
        let (queries, known) = (self.queries(), self.responses() + self.drops());
        if queries != known {
            found.push(format!("{queries} queries came, and {known} were answered or dropped"));
        }
        let (link, stream) =
            (self.total("link_sent_bytes"), self.total("sent_bytes") + self.total("resent_bytes"));
        if link < stream {
            found.push(format!("the link sent {link} bytes, and {stream} of streams were among them"));
        }
        found
    }

    /// What went back since an earlier look at the same process.
    pub(super) fn went_back(&self, earlier: &Self) -> Vec<String> {
        let all = earlier.0["total"].as_object().into_iter().flatten();
        all.filter_map(|(name, before)| Some((name, before.as_u64()?, self.0["total"][name].as_u64()?)))
            .filter(|(_, before, now)| now < before)
            .map(|(name, before, now)| format!("{name} went back from {before} to {now}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A server that has served, and rests.
    fn resting() -> Value {
        json!({
            "workers": [{
                "connections": 0, "disk_reads_in_flight": 0, "frames": 64, "frames_in_use.large": 3,
                "frames_in_use_max.large": 40, "frames_in_use.small": 0, "frames_in_use_max.small": 9,
            }],
            "total": {
                "connections_accepted": 10, "connections_finished": 7, "connections_failed": 3, "disk_reads": 99,
                "disk_reads_done": 99, "sent_bytes": 1_000, "resent_bytes": 10, "link_sent_bytes": 1_200,
                "queries.udp": 20, "queries.tcp": 4, "responses.NOERROR": 20, "responses.NXDOMAIN": 1,
                "queries_dropped.no_query": 2, "queries_dropped.rate": 3, "responses_slipped": 2,
            },
        })
    }

    fn with(path: &str, value: u64) -> Figures {
        let mut all = resting();
        *all.pointer_mut(path).unwrap() = value.into();
        Figures(all)
    }

    #[test]
    fn a_server_that_rests_contradicts_itself_nowhere() {
        let figures = Figures(resting());
        assert!(figures.is_whole() && figures.is_at_rest(false));
        assert_eq!(figures.contradictions(), Vec::<String>::new());
        assert_eq!(figures.leftovers(), Vec::<String>::new());
    }

    #[test]
    fn each_law_is_missed_when_it_is_broken() {
        for (path, value) in [
            ("/workers/0/frames", 2),
            ("/workers/0/frames_in_use.large", 41),
            ("/workers/0/frames_in_use.small", 10),
            ("/total/disk_reads_done", 98),
            ("/total/disk_reads_done", 100),
            ("/total/connections_finished", 8),
            ("/total/connections_accepted", 11),
            ("/total/queries.udp", 19),
        ] {
            assert_eq!(with(path, value).contradictions().len(), 1, "{path} {value}");
        }
        for (path, value) in [
            ("/total/connections_accepted", 11),
            ("/total/queries.tcp", 5),
            ("/total/link_sent_bytes", 1_009),
        ] {
            assert_eq!(with(path, value).leftovers().len(), 1, "{path} {value}");
        }
    }

    #[test]
    fn a_counter_that_goes_back_is_named() {
        let (before, after) = (with("/total/sent_bytes", 1_001), Figures(resting()));
        assert_eq!(after.went_back(&before), ["sent_bytes went back from 1001 to 1000"]);
        assert_eq!(before.went_back(&after), Vec::<String>::new());
    }
}
