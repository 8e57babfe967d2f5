//! Who was busy, and for how long.

use std::fs;
use std::time::Instant;

/// Clock ticks of `/proc/stat` per second (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Busy time of one core, softirq included, and of the whole machine.
#[derive(Clone, Copy, Debug)]
pub struct Busy {
    at: Instant,
    core: f64,
    machine: f64,
}

/// What passed between two readings.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// Share of the time that the core was busy, 0 to 1.
    pub core_fraction: f64,
    /// CPU seconds of all cores.
    pub machine_seconds: f64,
}

impl Busy {
    /// Now.
    pub fn read(core: usize) -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let busy = |name: &str| {
            stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map_or(0.0, busy_ticks)
                / TICKS_PER_SECOND
        };
        Self { at: Instant::now(), core: busy(&format!("cpu{core}")), machine: busy("cpu") }
    }

    /// Since then.
    pub fn spent(&self, core: usize) -> Spent {
        let now = Self::read(core);
        Spent {
            core_fraction: (now.core - self.core) / now.at.duration_since(self.at).as_secs_f64(),
            machine_seconds: now.machine - self.machine,
        }
    }
}

/// user, nice, system, irq, softirq; not idle, iowait, steal and guest.
fn busy_ticks(fields: &str) -> f64 {
    let fields: Vec<f64> = fields.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    [0, 1, 2, 5, 6].into_iter().filter_map(|index| fields.get(index)).sum()
}

/// Keeps this thread on one core.
pub fn pin(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    // A machine with fewer cores measures the same, only worse.
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_are_not_busy() {
        assert!((busy_ticks("  1 2 3 1000 2000 4 5 6 7 8") - 15.0).abs() < f64::EPSILON);
    }
}
