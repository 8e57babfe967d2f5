//! Memory traffic by the memory controllers' own counters, where the machine shows them.
//!
//! ```text
//!   /sys/bus/event_source/devices/uncore_imc_0/type           which device, for perf_event_open(2)
//!                                             /cpumask        a core of each socket, on which it is opened
//!                                             /format/umask   where a field lies: config:8-15
//!                                             /events/cas_count_read         event=0x04,umask=0x03
//!                                             /events/cas_count_read.scale   6.103515625e-5 (and .unit MiB): 64 bytes
//! ```
//!
//! Intel's servers count CAS commands by channel (`uncore_imc_*`), its desktops lines (`uncore_imc`, `data_reads`) or free-running
//! ones (`uncore_imc_free_running_*`, `data_read`); AMD counts CAS commands from Zen 4 and Linux 6.9 on (`amd_umc_*`), without
//! naming events. Virtual machines show none of them: there the model of `tools/traffic` speaks, and the report says so.

mod sys;

use core::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sys::Counter;

/// Where the kernel shows its devices that count.
const DEVICES: &str = "/sys/bus/event_source/devices";
/// What a command of a memory controller moves: a line of the cache.
const LINE_BYTES: f64 = 64.0;
/// Names of the events, read and write, by whoever calls them so.
const EVENTS: [[&str; 2]; 3] =
    [["cas_count_read", "cas_count_write"], ["data_reads", "data_writes"], ["data_read", "data_write"]];
/// Of AMD's controllers, which show no events: CAS commands, those that read and those that write.
const UMC_EVENTS: [&str; 2] = ["event=0x0a,rdwrmask=0x1", "event=0x0a,rdwrmask=0x2"];

/// Why nothing is counted.
#[derive(Debug)]
pub enum Lack {
    /// No controller shows itself.
    None,
    /// One does, and what it shows cannot be read.
    Strange(PathBuf, String),
    /// The kernel refuses.
    Refused(String, io::Error),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str(
                "no memory controller shows its counters (uncore_imc, amd_umc): a virtual machine has none, and a kernel \
                 needs intel_uncore or amd_uncore; the model of memory traffic speaks instead",
            ),
            Self::Strange(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Refused(name, error) => write!(
                f,
                "{name} may not be counted ({error}): be root, or sysctl kernel.perf_event_paranoid=-1 (CAP_PERFMON)"
            ),
        }
    }
}

impl core::error::Error for Lack {}

/// One event of one controller.
#[derive(Clone, Debug, PartialEq)]
struct Event {
    config: u64,
    /// Bytes of a count.
    bytes: f64,
}

/// One memory controller, or a channel of one.
#[derive(Clone, Debug, PartialEq)]
struct Controller {
    name: String,
    kind: u32,
    /// Where it is to be opened.
    cpus: Vec<u32>,
    /// Reads, and writes.
    events: [Event; 2],
}

/// Bytes between memory and the rest of the machine, since the counters were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Read from memory.
    pub read: f64,
    /// Written to it.
    pub written: f64,
}

impl Traffic {
    /// What passed since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self { read: self.read - earlier.read, written: self.written - earlier.written }
    }

    /// Of each of so many: seconds, bytes sent.
    #[must_use]
    pub fn per(self, count: f64) -> Self {
        Self { read: self.read / count, written: self.written / count }
    }
}

/// All memory controllers of this machine, counting.
#[derive(Debug)]
pub struct Memory {
    /// Each with the bytes of a count, and whether it counts writes.
    counters: Vec<(Counter, f64, bool)>,
    names: Vec<String>,
}

impl Memory {
    /// Begins to count.
    ///
    /// # Errors
    /// [`Lack`]
    pub fn open() -> Result<Self, Lack> {
        Self::open_below(Path::new(DEVICES))
    }

    fn open_below(devices: &Path) -> Result<Self, Lack> {
        let controllers = controllers(devices)?;
        let mut counters = Vec::new();
        for Controller { name, kind, cpus, events } in &controllers {
            for cpu in cpus {
                for (Event { config, bytes }, writes) in events.iter().zip([false, true]) {
                    let counter = Counter::open(*kind, *config, *cpu)
                        .map_err(|errno| Lack::Refused(name.clone(), errno.into()))?;
                    counters.push((counter, *bytes, writes));
                }
            }
        }
        let names = controllers.into_iter().map(|controller| controller.name).collect();
        Ok(Self { counters, names })
    }

    /// The controllers' names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What passed so far.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn read(&self) -> io::Result<Traffic> {
        let mut traffic = Traffic::default();
        for (counter, bytes, writes) in &self.counters {
            #[expect(clippy::cast_precision_loss, reason = "below 2^53 for years")]
            let passed = counter.read()? as f64 * bytes;
            *(if *writes { &mut traffic.written } else { &mut traffic.read }) += passed;
        }
        Ok(traffic)
    }
}

/// What there is to count with, in a line.
#[must_use]
pub fn describe() -> String {
    match controllers(Path::new(DEVICES)) {
        Ok(all) => all.into_iter().map(|controller| controller.name).collect::<Vec<_>>().join(", "),
        Err(Lack::None) => "none".to_owned(),
        Err(lack) => lack.to_string(),
    }
}

/// The controllers below a directory such as [`DEVICES`], in the order of their names.
fn controllers(devices: &Path) -> Result<Vec<Controller>, Lack> {
    let mut names: Vec<String> = fs::read_dir(devices)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("uncore_imc") || name.starts_with("amd_umc"))
        .collect();
    names.sort();
    let all = names.iter().map(|name| controller(&devices.join(name), name));
    let all: Vec<Controller> = all.filter_map(Result::transpose).collect::<Result<_, _>>()?;
    // Free-running counters stand beside others, and count the same.
    let others = |controller: &Controller| !controller.name.contains("free_running");
    let all = if all.iter().any(others) { all.into_iter().filter(others).collect() } else { all };
    if all.is_empty() { Err(Lack::None) } else { Ok(all) }
}

/// One controller; nothing if it counts something else.
fn controller(path: &Path, name: &str) -> Result<Option<Controller>, Lack> {
    let strange = |file: &str, why: String| Lack::Strange(path.join(file), why);
    let text = |file: &str| {
        let text = fs::read_to_string(path.join(file)).map_err(|error| strange(file, error.to_string()));
        text.map(|text| text.trim().to_owned())
    };
    let mut events = Vec::new();
    if name.starts_with("amd_umc") {
        for event in UMC_EVENTS {
            events.push(Event { config: config(path, event)?, bytes: LINE_BYTES });
        }
    } else {
        let known = EVENTS.iter().find(|[read, _]| path.join("events").join(read).exists());
        let Some(known) = known else { return Ok(None) };
        for event in known {
            let file = format!("events/{event}");
            let bytes = match (text(&format!("{file}.scale")), text(&format!("{file}.unit"))) {
                (Ok(scale), Ok(unit)) => {
                    let scale: f64 =
                        scale.parse().map_err(|_| strange(&file, format!("{scale} is no scale")))?;
                    let unit = match unit.as_str() {
                        "MiB" => 1_048_576.0,
                        "Bytes" => 1.0,
                        other => return Err(strange(&file, format!("{other} is no unit that is known"))),
                    };
                    scale * unit
                }
                _ => LINE_BYTES,
            };
            events.push(Event { config: config(path, &text(&file)?)?, bytes });
        }
    }
    let kind = text("type")?;
    let kind = kind.parse().map_err(|_| strange("type", format!("{kind} is no number")))?;
    let cpus = text("cpumask")?;
    let cpus = list(&cpus).ok_or_else(|| strange("cpumask", format!("{cpus} is no list of processors")))?;
    let events = events.try_into().map_err(|_| strange("events", "not two events".to_owned()))?;
    Ok(Some(Controller { name: name.to_owned(), kind, cpus, events }))
}

/// `event=0x04,umask=0x03`, with each field where the controller has it.
fn config(path: &Path, event: &str) -> Result<u64, Lack> {
    let mut config = 0;
    for field in event.split(',').filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once('=').unwrap_or((field, "1"));
        let digits = value.trim_start_matches("0x");
        let radix = if digits.len() < value.len() { 16 } else { 10 };
        let file = path.join("format").join(name);
        let strange = |why: String| Lack::Strange(file.clone(), why);
        let value =
            u64::from_str_radix(digits, radix).map_err(|_| strange(format!("{field} is no field")))?;
        let format = fs::read_to_string(&file).map_err(|error| strange(error.to_string()))?;
        config |= place(format.trim(), value)
            .ok_or_else(|| strange(format!("{value:#x} has no place in {}", format.trim())))?;
    }
    Ok(config)
}

/// A value within the bits of `config` that a format names, the lowest first: `config:0-7`, or `config:0-7,32-35`.
fn place(format: &str, mut value: u64) -> Option<u64> {
    let mut placed = 0;
    for range in format.strip_prefix("config:")?.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        let width = last.checked_sub(first)? + 1;
        if last > 63 {
            return None;
        }
        let mask = u64::MAX >> (64 - width);
        placed |= (value & mask) << first;
        value = value.checked_shr(width).unwrap_or(0);
    }
    (value == 0).then_some(placed)
}

/// `0,18-19`.
fn list(text: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last < first || last - first > 65_536 {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

#[cfg(test)]
mod tests;
