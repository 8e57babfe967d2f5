//! The real program, started as an operator would.

use super::content::target;
use super::eventually;
use super::process::{Output, Process, Running};
use core::time::Duration;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Our own addresses in every test's namespace.
pub(crate) const IPV4: &str = "10.77.0.2";
pub(crate) const IPV6: &str = "fd77::2";

/// The server of the web that is under test, without arguments yet: Atlas, unless [`is_sandstorm`].
pub(crate) fn atlas() -> Process {
    Process::new(binary())
}

/// `sandstorm`, without arguments yet, whatever is under test.
pub(crate) fn sandstorm() -> Process {
    Process::new(program("SANDSTORM_BIN", "sandstorm"))
}

/// What both servers of the web promise is asked of Sandstorm too, in a second run with `INTEROP_SERVER=sandstorm`.
pub(crate) fn is_sandstorm() -> bool {
    std::env::var_os("INTEROP_SERVER").is_some_and(|server| server == "sandstorm")
}

/// Sandstorm's memory in a test: all of it is pinned at start.
const MEMORY: &str = "384M";

/// `namestorm`, without arguments yet.
pub(crate) fn namestorm() -> Process {
    Process::new(program("NAMESTORM_BIN", "namestorm"))
}

/// The server of the web under test: `ATLAS_BIN` or `SANDSTORM_BIN`, else the release build beside our own.
pub(crate) fn binary() -> PathBuf {
    if is_sandstorm() { program("SANDSTORM_BIN", "sandstorm") } else { program("ATLAS_BIN", "atlas") }
}

pub(crate) fn program(variable: &str, name: &str) -> PathBuf {
    let beside = || target().join("release").join(name);
    let path = std::env::var_os(variable).map_or_else(beside, PathBuf::from);
    assert!(path.exists(), "{} is not built: cargo build --release --bin {name}", path.display());
    path
}

/// A server that is ready.
#[derive(Debug)]
pub(crate) struct Server {
    process: Option<Running>,
    /// From its `listening` lines, without the slash at the end.
    pub(crate) urls: Vec<String>,
}

impl Server {
    /// `atlas serve DIRECTORY` on [`IPV4`] and [`IPV6`], with further arguments.
    pub(crate) fn start(directory: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let addresses = [format!("{IPV4}/24"), format!("{IPV6}/64")];
        let process = atlas()
            .arg("serve")
            .arg(directory.as_ref())
            .args(["--addr", &addresses[0], "--addr", &addresses[1], "--admin", "127.0.0.1:9464"])
            .args(arguments);
        Self::ready(process)
    }

    /// Starts a command line and waits for what it listens on.
    pub(crate) fn ready(process: Process) -> Self {
        let memory: &[&str] = if is_sandstorm() { &["--memory", MEMORY] } else { &[] };
        Self::ready_for(process.args(memory), &["http://", "https://"])
    }

    /// The same, until it listens for each of these schemes.
    pub(crate) fn ready_for(process: Process, schemes: &[&str]) -> Self {
        let mut running = process.start();
        let started = Instant::now();
        let mut urls;
        // Lines come one after the other: all are there when none has come for a while.
        let mut last = (0, Instant::now());
        loop {
            urls = listening(&String::from_utf8_lossy(&running.stdout()));
            if urls.len() != last.0 {
                last = (urls.len(), Instant::now());
            }
            let all = schemes.iter().all(|scheme| urls.iter().any(|url| url.starts_with(scheme)));
            if all && last.1.elapsed() > Duration::from_millis(100) {
                break;
            }
            if running.has_ended() {
                panic!("the server ended at start: {:?}", running.wait());
            }
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "the server is not ready: {}",
                running.stderr()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { process: Some(running), urls }
    }

    /// The first address of `scheme` that is (or is not) IPv6, without the slash at the end.
    fn url(&self, scheme: &str, ipv6: bool) -> &str {
        self.urls
            .iter()
            .find(|url| url.split("://").next() == Some(scheme) && url.contains('[') == ipv6)
            .unwrap_or_else(|| panic!("no {scheme} address (IPv6: {ipv6}) in {:?}", self.urls))
    }

    pub(crate) fn http(&self) -> &str {
        self.url("http", false)
    }

    pub(crate) fn https(&self) -> &str {
        self.url("https", false)
    }

    pub(crate) fn http6(&self) -> &str {
        self.url("http", true)
    }

    pub(crate) fn https6(&self) -> &str {
        self.url("https", true)
    }

    /// `address:port` of the plain listener, for sockets.
    pub(crate) fn plain(&self) -> String {
        authority(self.http(), 80)
    }

    /// `address:port` of the TLS listener.
    pub(crate) fn secure(&self) -> String {
        authority(self.https(), 443)
    }

    /// The running process.
    pub(crate) fn process(&mut self) -> &mut Running {
        self.process.as_mut().expect("not stopped yet")
    }

    /// What it said on standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.process.as_ref().map(Running::stderr).unwrap_or_default()
    }

    /// Waits until it says something on standard error.
    pub(crate) fn says(&self, words: &str) {
        eventually(&format!("the server says {words:?}"), || self.stderr().contains(words));
    }

    /// Processor time it has used so far, all threads together.
    pub(crate) fn cpu(&mut self) -> Duration {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.process().pid())).expect("it is running");
        // The name may hold anything, parentheses included; fields are counted from behind it.
        let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().map(|index| fields[*index].parse::<u64>().expect("ticks")).sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    /// Memory of its that is in use now.
    pub(crate) fn resident_bytes(&mut self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process().pid())).expect("it is running");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
    }

    /// Ctrl-C, and what came of it.
    pub(crate) fn interrupt(mut self) -> Output {
        let process = self.process.take().expect("not stopped yet");
        process.signal(Signal::INT);
        process.wait()
    }

    /// Waits for an end that was already asked for.
    pub(crate) fn wait(mut self) -> Output {
        self.process.take().expect("not stopped yet").wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "what the server said belongs to the failure")]
            {
                eprintln!("---- what the server said\n{}", self.stderr());
            }
        }
    }
}

fn listening(stdout: &str) -> Vec<String> {
    // The last line may not be complete yet.
    let complete = stdout.rfind('\n').map_or("", |end| &stdout[..end]);
    complete
        .lines()
        .filter_map(|line| line.trim().strip_prefix("listening "))
        .map(|url| url.split_whitespace().next().unwrap_or_default().trim_end_matches('/').to_owned())
        .collect()
}

fn authority(url: &str, port: u16) -> String {
    let authority = url.split("://").nth(1).expect("a scheme");
    let host_end = authority.rfind(']').unwrap_or(0);
    if authority[host_end..].contains(':') { authority.to_owned() } else { format!("{authority}:{port}") }
}
