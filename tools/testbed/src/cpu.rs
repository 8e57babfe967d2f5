//! Who was busy, and for how long.

use std::fs;
use std::time::Instant;

/// Clock ticks of `/proc/stat` per second (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// What one core has done so far, softirq included, and the whole machine.
///
/// Busy is what is not idle: the kernel measures how long a core sleeps, and only guesses, at each tick, what it does
/// otherwise. Work that comes and goes between two ticks would be missed.
#[derive(Clone, Debug)]
pub struct Busy {
    at: Instant,
    stat: String,
}

/// What passed between two readings.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// How long that was, in seconds.
    pub seconds: f64,
    /// Share of the time that the core was busy, 0 to 1.
    pub core_fraction: f64,
    /// Of it, what went to processes that were made nicer: somebody else's work, when nothing measured was.
    pub core_niced_fraction: f64,
    /// CPU seconds of all cores.
    pub machine_seconds: f64,
    /// Of them, those of processes that were made nicer.
    pub machine_niced_seconds: f64,
}

impl Busy {
    /// Now.
    #[must_use]
    pub fn read() -> Self {
        Self { at: Instant::now(), stat: fs::read_to_string("/proc/stat").unwrap_or_default() }
    }

    /// Since then, by `core` and by all.
    #[must_use]
    pub fn spent(&self, core: usize) -> Spent {
        self.until(&Self::read(), core)
    }

    /// From here to a later reading, by `core` and by all.
    #[must_use]
    pub fn until(&self, later: &Self, core: usize) -> Spent {
        between(&self.stat, &later.stat, later.at.duration_since(self.at).as_secs_f64(), core)
    }
}

fn between(before: &str, after: &str, wall: f64, core: usize) -> Spent {
    let passed = |name: &str, ticks: fn(&[f64]) -> f64| {
        let [before, after] = [before, after].map(|stat| ticks(&fields(stat, name)));
        (after - before) / TICKS_PER_SECOND
    };
    let cores = after.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    let core = format!("cpu{core}");
    #[expect(clippy::cast_precision_loss, reason = "a count of cores")]
    let all = wall * cores as f64;
    Spent {
        seconds: wall,
        core_fraction: 1.0 - passed(&core, away) / wall,
        core_niced_fraction: passed(&core, niced) / wall,
        machine_seconds: all - passed("cpu", away),
        machine_niced_seconds: passed("cpu", niced),
    }
}

/// Ticks of a core, or of all (`cpu`), by what they went to: user, nice, system, idle, iowait, irq, softirq, steal, …
fn fields(stat: &str, name: &str) -> Vec<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or_default();
    line.split_whitespace().filter_map(|field| field.parse().ok()).collect()
}

/// idle, iowait and steal.
fn away(fields: &[f64]) -> f64 {
    [3, 4, 7].into_iter().filter_map(|index| fields.get(index)).sum()
}

/// Of processes that were made nicer, in user mode; the kernel's on their behalf cannot be told apart.
fn niced(fields: &[f64]) -> f64 {
    fields.get(1).copied().unwrap_or(0.0)
}

/// Keeps this thread on one core.
pub fn pin(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    // A machine with fewer cores measures the same, only worse.
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

/// Lets it run anywhere again.
pub fn unpin() {
    let cores = fs::read_to_string("/proc/stat").unwrap_or_default();
    let mut set = rustix::thread::CpuSet::new();
    for number in cores.lines().filter_map(|line| line.strip_prefix("cpu")?.split(' ').next()?.parse().ok()) {
        set.set(number);
    }
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_what_is_neither_idle_nor_waiting_nor_stolen() {
        let before =
            "cpu  10 0 0 100 0 0 0 0 0 0\ncpu0 5 0 0 50 0 0 0 0 0 0\ncpu1 5 0 0 50 0 0 0 0 0 0\nintr 1\n";
        let after =
            "cpu  11 40 0 250 10 0 0 20 0 0\ncpu0 6 40 0 90 10 0 0 10 0 0\ncpu1 5 0 0 160 0 0 0 10 0 0\n";
        let Spent { seconds, core_fraction, core_niced_fraction, machine_seconds, machine_niced_seconds } =
            between(before, after, 1.2, 0);
        let is = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        is(seconds, 1.2);
        is(core_fraction, 0.5);
        is(core_niced_fraction, 0.4 / 1.2);
        is(machine_seconds, 0.6);
        is(machine_niced_seconds, 0.4);
    }
}
