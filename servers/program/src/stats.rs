//! `--stats`: what happened within the last second, in one line.
//!
//! ```text
//!    out Mb/s disk Mb/s seal Mb/s resent  conns  req/s waits/s frames/most  turn p50/p99/max
//!       18421.3   18402.7   18411.0  0.02%    100   7676       0    312/498   w0 14/112/448 µs
//! ```

use control::Latency;
use core::fmt::Write as _;
use core::time::Duration;
use std::time::Instant;

type Counters<T> = host::Counters<web::Counters<T>>;

/// The heading is repeated after so many lines, about a screen.
const LINES_PER_HEADING: u32 = 20;

/// Remembers the last second.
#[derive(Debug)]
pub(crate) struct Stats<T> {
    at: Instant,
    before: Vec<Option<Box<Counters<T>>>>,
    lines: u32,
}

impl<T: Copy + Default> Stats<T> {
    /// Begins now.
    pub(crate) fn new(now: Instant) -> Self {
        Self { at: now, before: Vec::new(), lines: 0 }
    }

    /// What to print of what the workers have counted by now.
    pub(crate) fn line(&mut self, now: Instant, workers: &[Option<&Counters<T>>]) -> String {
        let mut text = String::new();
        if self.lines.is_multiple_of(LINES_PER_HEADING) {
            let _ = writeln!(
                text,
                "{:>9} {:>9} {:>9} {:>7} {:>7} {:>8} {:>8} {:>12}  turn p50/p99/max, busy",
                "out Mb/s", "disk Mb/s", "seal Mb/s", "resent", "conns", "req/s", "waits/s", "frames/most"
            );
        }
        self.lines = self.lines.wrapping_add(1);
        let elapsed = now.saturating_duration_since(self.at);
        let mut all = Second::default();
        let mut turns = String::new();
        for (index, worker) in workers.iter().enumerate() {
            let Some(after) = worker else { continue };
            let nothing = Counters::default();
            let before = self.before.get(index).and_then(Option::as_deref).unwrap_or(&nothing);
            let second = Second::between(before, after);
            let _ = write!(turns, "  w{index} {}", second.turns(elapsed));
            all.add(&second);
        }
        let _ = write!(
            text,
            "{:>9} {:>9} {:>9} {:>6}% {:>7} {:>8} {:>8} {:>12}{turns}",
            megabits(all.sent, elapsed),
            megabits(all.read, elapsed),
            megabits(all.sealed, elapsed),
            percent(all.resent, all.sent + all.resent),
            all.connections,
            per_second(all.answers, elapsed),
            per_second(all.waits, elapsed),
            format!("{}/{}", all.frames, all.frames_max),
        );
        self.at = now;
        self.before = workers.iter().map(|worker| worker.copied().map(Box::new)).collect();
        text
    }
}

/// What one or all workers did between two moments, and have now.
#[derive(Default)]
struct Second {
    sent: u64,
    resent: u64,
    read: u64,
    sealed: u64,
    answers: u64,
    waits: u64,
    connections: u64,
    frames: u64,
    frames_max: u64,
    awake: Duration,
    latency: Latency,
}

impl Second {
    fn between<T>(before: &Counters<T>, after: &Counters<T>) -> Self {
        let grown = |of: fn(&Counters<T>) -> u64| of(after).saturating_sub(of(before));
        Self {
            sent: grown(|counters| counters.engine.sent_bytes),
            resent: grown(|counters| counters.engine.resent_bytes),
            read: grown(|counters| counters.engine.read_bytes),
            sealed: grown(|counters| counters.engine.sealed_bytes),
            answers: grown(|counters| counters.service.answers_total()),
            waits: grown(|counters| counters.engine.credit_waits()),
            connections: after.engine.connections.into(),
            frames: after.frames.large.into(),
            frames_max: after.frames.large_max.into(),
            awake: after.awake.saturating_sub(before.awake),
            latency: after.latency.since(&before.latency),
        }
    }

    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.resent += other.resent;
        self.read += other.read;
        self.sealed += other.sealed;
        self.answers += other.answers;
        self.waits += other.waits;
        self.connections += other.connections;
        self.frames += other.frames;
        self.frames_max += other.frames_max;
    }

    fn turns(&self, elapsed: Duration) -> String {
        let Some(((p50, p99), max)) =
            self.latency.quantile(0.5).zip(self.latency.quantile(0.99)).zip(self.latency.max())
        else {
            return "idle".to_owned();
        };
        let awake = self.awake.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
        format!("{}/{}/{} µs {:.0}%", p50.as_micros(), p99.as_micros(), max.as_micros(), awake * 100.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn megabits(bytes: u64, elapsed: Duration) -> String {
    format!("{:.1}", bytes as f64 * 8.0 / 1e6 / elapsed.as_secs_f64().max(1e-9))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn per_second(count: u64, elapsed: Duration) -> String {
    format!("{:.0}", count as f64 / elapsed.as_secs_f64().max(1e-9))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}", part as f64 * 100.0 / whole.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(sent: u64) -> Counters<()> {
        let mut counters = Counters::default();
        counters.engine.sent_bytes = sent;
        counters.engine.resent_bytes = sent / 100;
        counters.engine.connections = 7;
        counters.frames.large = 3;
        counters.frames.large_max = 9;
        counters
    }

    #[test]
    fn a_line_tells_the_last_second_and_not_the_total() {
        let begun = Instant::now();
        let mut stats = Stats::new(begun);
        let first = counters(125_000_000);
        let text = stats.line(begun + Duration::from_secs(1), &[Some(&first)]);
        assert!(text.starts_with(" out Mb/s"), "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with("   1000.0"), "{text}");
        let mut second = counters(375_000_000);
        second.latency.record(Duration::from_micros(100));
        second.awake = Duration::from_millis(250);
        let text = stats.line(begun + Duration::from_secs(2), &[Some(&second)]);
        let words: Vec<_> = text.split_whitespace().collect();
        assert_eq!(words[..8], ["2000.0", "0.0", "0.0", "0.99%", "7", "0", "0", "3/9"], "{text}");
        assert!(text.ends_with("w0 114/114/114 µs 25%"), "{text}");
    }

    #[test]
    fn columns_stay_below_their_headings() {
        let begun = Instant::now();
        let mut stats = Stats::new(begun);
        let text = stats.line(begun + Duration::from_secs(1), &[Some(&counters(0)), None]);
        let (heading, line) = text.split_once('\n').unwrap();
        let end = heading.find("  turn").unwrap();
        assert_eq!(&line[end..end + 4], "  w0", "{text}");
        assert!(line.ends_with("w0 idle"), "{text}");
    }
}
