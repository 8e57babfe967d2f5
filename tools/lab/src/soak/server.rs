//! The server that soaks: started, killed, asked how much of the machine it holds, and listened to.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use testbed::Namespace;

use super::figures::Figures;
use super::place::own_group;
use crate::error::ProgramError;

/// Where its admin port is, within its own network.
pub(super) const ADMIN: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9_464);
/// It has so long to tell its first numbers, and to leave.
const START: Duration = Duration::from_secs(20);
/// Lines kept for whoever wants to know what it said last.
const LAST_WORDS: usize = 3;

/// What it holds of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Resident memory of the server and of the processes it started.
    pub(super) bytes: u64,
    /// Descriptors of the server itself.
    pub(super) descriptors: u64,
    /// Its threads.
    pub(super) threads: u64,
}

/// A server's process, killed when dropped.
#[derive(Debug)]
pub(super) struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// How it is to be started.
    pub(super) fn new(program: PathBuf, arguments: Vec<String>) -> Self {
        Self { program, arguments, child: None, said: Arc::default() }
    }

    /// The command line.
    pub(super) fn command(&self) -> String {
        format!("{} {}", self.program.display(), self.arguments.join(" "))
    }

    /// Starts it in `namespace`, in which this thread is, and waits for its first numbers.
    ///
    /// # Errors
    /// It ends, or tells none.
    pub(super) fn start(&mut self, namespace: &Namespace) -> Result<(), ProgramError> {
        let mut command = namespace.command(&self.program.to_string_lossy());
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = own_group(&mut command).spawn().map_err(ProgramError::Restart)?;
        listen(child.stdout.take(), None);
        listen(child.stderr.take(), Some(Arc::clone(&self.said)));
        self.child = Some(child);
        let begun = Instant::now();
        while !Figures::ask(ADMIN).is_ok_and(|figures| figures.is_whole()) {
            let ended = self.has_ended();
            if ended.is_some() || begun.elapsed() > START {
                let status =
                    ended.map_or_else(|| "does not tell its numbers".to_owned(), |status| status.to_string());
                let said =
                    self.said.lock().map(|lines| lines[lines.len().saturating_sub(LAST_WORDS)..].join("; "));
                return Err(ProgramError::Server { status, said: said.unwrap_or_default() });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// How it ended, if it did.
    pub(super) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it by a signal; what it started has to go with it.
    ///
    /// # Errors
    /// It does not, or something stays.
    pub(super) fn end(&mut self, signal: Signal) -> Result<ExitStatus, String> {
        let family = self.family();
        self.signal(signal);
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.has_ended() {
                break status;
            }
            if begun.elapsed() > START {
                self.signal(Signal::KILL);
                return Err(format!("it did not leave within {} s of {signal:?}", START.as_secs()));
            }
            thread::sleep(Duration::from_millis(5));
        };
        self.child = None;
        while family.iter().any(|pid| is_alive(*pid)) {
            if begun.elapsed() > START {
                return Err("a process that it started stayed".to_owned());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(status)
    }

    /// Lines it said since the last time.
    pub(super) fn take_lines(&self) -> Vec<String> {
        self.said.lock().map(|mut lines| core::mem::take(&mut *lines)).unwrap_or_default()
    }

    /// What it holds now; nothing if it is not there.
    pub(super) fn held(&self) -> Option<Held> {
        let pid = self.pid()?.as_raw_nonzero().get();
        let family = self.family();
        let bytes = family.iter().chain([&pid]).filter_map(|pid| field(*pid, "VmRSS:")).sum::<u64>() << 10;
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
        Some(Held { bytes, descriptors, threads: field(pid, "Threads:")? })
    }

    fn pid(&self) -> Option<Pid> {
        self.child.as_ref().and_then(|child| Pid::from_raw(i32::try_from(child.id()).ok()?))
    }

    /// Processes that it started.
    fn family(&self) -> Vec<i32> {
        let Some(pid) = self.pid().map(|pid| pid.as_raw_nonzero().get()) else { return Vec::new() };
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        children
            .flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// There, and no zombie.
fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim_start().starts_with('Z'))
}

fn field(pid: i32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// Keeps, or at least takes, what comes out of it.
fn listen<R: Read + Send + 'static>(stream: Option<R>, keep: Option<Arc<Mutex<Vec<String>>>>) {
    thread::spawn(move || {
        for line in stream.into_iter().flat_map(|stream| BufReader::new(stream).lines()).map_while(Result::ok)
        {
            if let Some(Ok(mut lines)) = keep.as_ref().map(|keep| keep.lock()) {
                lines.push(line);
            }
        }
    });
}

/// A line that an operator has to read: a warning, an error, an end. The report at the start is none.
pub(super) fn is_alarming(line: &str) -> bool {
    let words = || line.split_whitespace().take(3);
    words().any(|word| word == "WARN" || word == "ERROR")
        || line.contains("panicked at")
        || ["atlas: ", "sandstorm: ", "namestorm: "].iter().any(|program| line.starts_with(program))
}

/// The program of this name, if it is there.
///
/// # Errors
/// It is not.
pub(super) fn program(directory: &Path, name: &str) -> Result<PathBuf, ProgramError> {
    let path = directory.join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(ProgramError::Arguments(format!(
        "{} is not there: build it (cargo build --release), or say where it is with --programs DIR",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_errors_and_ends_alarm_and_nothing_else_does() {
        for line in [
            "2026-11-20T20:00:00.000001Z  WARN link: far is down",
            "2026-11-20T20:00:00.000001Z ERROR worker 0: a defect",
            "thread 'worker-0' panicked at engine/turn/src/turn.rs:1:1:",
            "atlas: cannot open the admin port",
        ] {
            assert!(is_alarming(line), "{line}");
        }
        for line in
            ["2026-11-20T20:00:00.000001Z  INFO reloaded: WARN and ERROR are words", "  network  far", ""]
        {
            assert!(!is_alarming(line), "{line}");
        }
    }
}
