//! What every server's program does alike when it starts: the admin port, the monitor's command line, the lines of the
//! report.

use confine::Confinement;
use control::{Admin, AdminError};
use core::net::{Ipv4Addr, SocketAddr};
use dma::Pages;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use tracing_subscriber::filter::LevelFilter;

use crate::choice::Choice;
use crate::machine::Machine;
use crate::monitor::Monitor;
use crate::values::{AdminChoice, Cidr, LogLevel};
use crate::worker::Facts;

/// The admin port: where it was asked for, or at `default` on the loopback interface, or at any port of it.
///
/// # Errors
/// What was asked for is taken.
pub fn open_admin(choice: Option<AdminChoice>, default: u16) -> Result<Option<Admin>, AdminError> {
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match choice {
        Some(AdminChoice::Off) => Ok(None),
        Some(AdminChoice::At(address)) => Ok(Some(Admin::bind(address)?)),
        None => match Admin::bind(local(default)) {
            Err(error) if error.source.kind() == io::ErrorKind::AddrInUse => Ok(Some(Admin::bind(local(0))?)),
            result => Ok(Some(result?)),
        },
    }
}

/// This process's own command line, for the monitor instead of the server.
#[must_use]
pub fn monitor_arguments() -> Vec<OsString> {
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    // Nothing can stand before the command that would look like it.
    if let Some(command) = arguments.iter_mut().find(|argument| *argument == "serve") {
        *command = "monitor".into();
    }
    arguments
}

/// The event log: lines on standard error, coloured where somebody looks. To be called once.
pub fn log_to_stderr(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_max_level(level)
        .init();
}

/// What is wrong with a command line, as one line, from what clap says in several: the cause, then its tips.
#[must_use]
pub fn one_line(told: &str) -> String {
    let said = told.lines().map(str::trim);
    let cause = said.clone().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let cause = cause.strip_prefix("error: ").unwrap_or(&cause).to_owned();
    let tips = said.filter_map(|line| line.strip_prefix("tip: "));
    tips.fold(cause, |line, tip| line + "; " + tip) + "; `--help` is the manual"
}

/// How many workers, and why.
#[must_use]
pub fn describe_workers(choice: &Choice, machine: &Machine) -> String {
    let plural = if machine.cores == 1 { "" } else { "s" };
    format!("{} on {} core{plural} ({})", choice.workers, machine.cores, choice.workers_why)
}

/// Addresses with their networks.
#[must_use]
pub fn list(addresses: &[Cidr]) -> String {
    addresses.iter().map(Cidr::to_string).collect::<Vec<_>>().join(", ")
}

/// The kernel that runs.
#[must_use]
pub fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// What the machine gave the workers: a heading and a line for each. They are all alike, so one speaks for all.
#[must_use]
pub fn describe_facts(facts: &[Facts]) -> Vec<(&'static str, String)> {
    let Some(Facts { pages, ring, packets, memory: _, confinement: _ }) = facts.first() else {
        return Vec::new();
    };
    let pages = match pages {
        Pages::Huge => "reserved huge pages",
        Pages::TransparentHuge => "transparent huge pages (none are reserved: sysctl vm.nr_hugepages)",
    };
    let disk = ring.map(|ring| {
        let mut disk = "io_uring".to_owned();
        for (present, with, without) in [
            (ring.registered_buffers, ", frames registered", ", frames not registered (ulimit -l)"),
            (ring.vectored_fixed, ", one read for several frames", ""),
            (ring.defer_taskrun, "", ", completions by interrupt (before Linux 6.1)"),
        ] {
            disk.push_str(if present { with } else { without });
        }
        ("disk", disk)
    });
    let mut lines = vec![("pages", pages.to_owned())];
    lines.extend(disk);
    lines.push(("packets", packets.clone()));
    lines
}

/// What holds of the confinement, for people.
#[must_use]
pub fn describe_privileges(
    control: Option<Confinement>,
    monitor: Option<&Monitor>,
    facts: &[Facts],
) -> (&'static str, String) {
    let (Some(control), Some(monitor)) = (control, monitor) else {
        return ("privileges", "kept: --confine is off".to_owned());
    };
    let workers = facts.first().and_then(|facts| facts.confinement);
    let mut line = format!("workers and control {control}");
    if let Some(workers) = workers.filter(|workers| *workers != control) {
        line = format!("control {control}; workers {workers}");
    }
    line.push_str(&format!("; monitor {} opens links and named files", monitor.id()));
    ("privileges", line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_port_that_is_taken_is_replaced_and_a_chosen_one_is_not() {
        let first = open_admin(Some(AdminChoice::At(([127, 0, 0, 1], 0).into())), 0).unwrap().unwrap();
        let second = open_admin(None, first.address().port()).unwrap().unwrap();
        assert_ne!(first.address(), second.address());
        let line = open_admin(Some(AdminChoice::At(first.address())), 0).unwrap_err().to_string();
        assert!(line.contains(&first.address().to_string()), "{line}");
    }
}
