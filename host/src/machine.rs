//! What the machine has, and what of it we take.

use core::fmt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use crate::values::Bytes;
use dma::PoolLayout;

/// Small frames for each large one: response heads and handshake flights of connections that wait for their peer.
const SMALL_FOR_EACH_LARGE: u32 = 2;
/// A mapping is as large as whole huge pages.
const HUGE_PAGE_BYTES: u64 = 2 << 20;

/// Large frames of a worker's pool unless chosen otherwise: 80 MiB.
pub const FRAMES: u32 = 4_096;
/// Fewer could not serve one connection with a wide window.
pub const FRAMES_MIN: u32 = 64;

/// How large the pools are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolChoice {
    /// What suits the machine.
    Default,
    /// Large frames of each worker.
    Frames(u32),
    /// Memory of all workers together.
    Memory(Bytes),
}

/// What was found, before anything was changed.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Cores that we may run on.
    pub cores: u16,
    /// Memory that is free or can be freed.
    pub memory: u64,
    /// Memory that we may lock, which includes what a ring registers; `None` for any amount.
    pub memlock: Option<u64>,
    /// We may make network devices.
    pub net_admin: bool,
}

impl Machine {
    /// Looks around.
    pub fn look() -> Self {
        let cores =
            std::thread::available_parallelism().map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(256));
        let effective =
            capabilities(None).map_or_else(|_| CapabilitySet::empty(), |capabilities| capabilities.effective);
        let memlock = if effective.contains(CapabilitySet::IPC_LOCK) {
            None
        } else {
            getrlimit(Resource::Memlock).current
        };
        Self {
            cores,
            memory: memory_available(),
            memlock,
            net_admin: effective.contains(CapabilitySet::NET_ADMIN),
        }
    }

    /// How many workers to run when the operator does not say: one core is left for the kernel's side and control.
    pub fn workers(&self) -> u16 {
        self.cores.saturating_sub(1).max(1)
    }

    /// How large each worker's pool is to be, and why if not as chosen.
    pub fn pool(&self, choice: PoolChoice, workers: u16) -> Result<(PoolLayout, Option<String>), TooLittle> {
        let workers = u64::from(workers);
        let most = |bytes: u64| {
            // Whole huge pages, and within them as many frames as fit.
            let bytes = bytes / workers / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
            let mut large =
                u32::try_from(bytes / LAYOUT_BYTES_OF_ONE).unwrap_or(u32::MAX / 4).min(FRAMES_MOST);
            while large > 0 && layout(large).bytes() as u64 > bytes {
                large -= 1;
            }
            large
        };
        let asked = match choice {
            PoolChoice::Frames(frames) => frames,
            PoolChoice::Memory(Bytes(bytes)) => match most(bytes) {
                frames if frames < FRAMES_MIN => {
                    return Err(TooLittle { given: Bytes(bytes), needed: self.least(workers) });
                }
                frames => frames,
            },
            // A quarter of what is free, if that is less.
            PoolChoice::Default => FRAMES.min(most(self.memory / 4)).max(FRAMES_MIN),
        };
        let Some(memlock) = self.memlock else { return Ok((layout(asked), None)) };
        // A quarter is left for whatever else this user has registered.
        let lockable = most(memlock / 4 * 3);
        if lockable >= asked {
            Ok((layout(asked), None))
        } else if lockable >= FRAMES_MIN {
            let why = format!(
                "{lockable} frames instead of {asked}: the limit of locked memory is {} (raise it with `ulimit -l`)",
                Bytes(memlock)
            );
            Ok((layout(lockable), Some(why)))
        } else {
            let why = format!(
                "frames cannot be registered with the disk: the limit of locked memory is {} (raise it with \
                 `ulimit -l`)",
                Bytes(memlock)
            );
            Ok((layout(asked.min(FRAMES / 4)), Some(why)))
        }
    }

    fn least(&self, workers: u64) -> Bytes {
        Bytes((layout(FRAMES_MIN).bytes() as u64).next_multiple_of(HUGE_PAGE_BYTES) * workers)
    }
}

/// The operator gave less memory than anything can be done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLittle {
    given: Bytes,
    needed: Bytes,
}

impl fmt::Display for TooLittle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--memory {} is too little for these workers: {} is the least", self.given, self.needed)
    }
}

impl core::error::Error for TooLittle {}

const fn layout(large_count: u32) -> PoolLayout {
    PoolLayout { large_count, small_count: large_count * SMALL_FOR_EACH_LARGE }
}

/// The memory of a worker's pool, unless chosen otherwise.
pub(crate) const fn default_pool_bytes() -> u64 {
    (layout(FRAMES).bytes() as u64).next_multiple_of(HUGE_PAGE_BYTES)
}

/// What one more large frame costs, small ones included.
const LAYOUT_BYTES_OF_ONE: u64 = (layout(2).bytes() - layout(1).bytes()) as u64;
/// Frames are numbered in 32 bits.
const FRAMES_MOST: u32 = u32::MAX / 4;

fn memory_available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or(1 << 30, |kib| kib << 10)
}

/// The cores that we may run on, the first one last: interrupts like it.
#[must_use]
pub fn cores() -> Vec<usize> {
    let Ok(allowed) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    let mut cores: Vec<usize> =
        (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    if !cores.is_empty() {
        cores.rotate_left(1);
    }
    cores
}

/// Allows as many open files as the hard limit does.
pub fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // A refusal leaves what was there, and whoever needs more says so.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// Lets memory be pinned without limit: an AF_XDP link that comes back pins its frames anew, in a worker that has given its
/// capabilities up. Where that is refused see [`pinning`].
pub(crate) fn lift_memlock() {
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}

/// What a worker has to keep of its capabilities so that it can pin memory again: nothing, where the limit could be lifted.
pub(crate) fn pinning() -> CapabilitySet {
    if getrlimit(Resource::Memlock).current.is_none() {
        return CapabilitySet::empty();
    }
    capabilities(None).map_or_else(|_| CapabilitySet::empty(), |has| has.effective & CapabilitySet::IPC_LOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(memory: u64, memlock: Option<u64>) -> Machine {
        Machine { cores: 4, memory, memlock, net_admin: false }
    }

    #[test]
    fn a_large_machine_gets_the_default() {
        let (layout, why) = machine(64 << 30, None).pool(PoolChoice::Default, 3).unwrap();
        assert_eq!((layout.large_count, why), (FRAMES, None));
    }

    #[test]
    fn a_small_machine_gets_a_quarter_of_its_memory() {
        let (layout, _) = machine(256 << 20, None).pool(PoolChoice::Default, 1).unwrap();
        assert!(layout.bytes() <= 64 << 20 && layout.bytes() > 60 << 20, "{layout:?}");
    }

    #[test]
    fn memory_is_divided_among_the_workers() {
        let (layout, _) = machine(64 << 30, None).pool(PoolChoice::Memory(Bytes(1 << 30)), 4).unwrap();
        assert!(layout.bytes() <= 256 << 20 && layout.bytes() > 255 << 20, "{layout:?}");
        let line =
            machine(64 << 30, None).pool(PoolChoice::Memory(Bytes(1 << 20)), 4).unwrap_err().to_string();
        assert!(line.contains("--memory 1024 KiB") && line.contains("8192 KiB"), "{line}");
    }

    #[test]
    fn a_pool_keeps_to_the_limit_of_locked_memory_and_says_so() {
        let (layout, why) = machine(64 << 30, Some(8 << 20)).pool(PoolChoice::Default, 1).unwrap();
        assert!(layout.bytes() <= 6 << 20 && layout.large_count >= 200, "{layout:?}");
        assert!(why.unwrap().contains("8192 KiB"));
        let (layout, why) = machine(64 << 30, Some(64 << 10)).pool(PoolChoice::Default, 1).unwrap();
        assert_eq!(layout.large_count, FRAMES / 4);
        assert!(why.unwrap().contains("cannot be registered"));
    }

    #[test]
    fn a_machine_of_one_core_has_a_worker() {
        assert_eq!(Machine { cores: 1, ..machine(1 << 30, None) }.workers(), 1);
        assert_eq!(machine(1 << 30, None).workers(), 3);
    }
}
