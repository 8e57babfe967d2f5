//! Where a run takes place when the lab starts the server itself: namespaces that end with it.
//!
//! ```text
//!   lab ── unshare ──▶ lab again, first process of namespaces of its own (network, mounts, processes)
//!    └── a pipe ─────▶ │   ├─ client: near 198.18.1.1 ─ veth ─ server: far 198.18.1.2
//!                      │   └─ the server's command, in the latter
//!                      │   └─ between them, perhaps, a middlebox that the load's packets go through
//!                      └─ when the pipe ends, however the first lab ended, it stops; when it ends, the kernel takes
//!                         processes, devices and names with it
//! ```

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use rustix::process::{Pid, Signal, kill_process_group};
use std::env;
use std::fs::File;
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use testbed::{Namespace, Privilege, path};

use crate::error::ProgramError;
use crate::figures::SCRATCH;

/// Set for the lab inside.
const INSIDE: &str = "LAB_INSIDE";
/// A server must answer within this time.
const START: Duration = Duration::from_secs(20);
/// It has so long to leave when it is asked to.
const LEAVE: Duration = Duration::from_secs(5);
const SERVER_LOG: &str = "/run/lab-server.log";
const MIDDLEBOX_LOG: &str = "/run/lab-middlebox.log";

/// Which networks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Ground {
    /// Load and server apart: 198.18.1.1 and 198.18.1.2 at the ends of a veth pair
    Veth,
    /// Load and server in one namespace: for servers that make a TAP device, or on 127.0.0.1
    One,
}

/// The server and what it stands on.
#[derive(Debug)]
pub struct Served {
    server: Process,
    _middlebox: Option<Process>,
    client: Option<Namespace>,
    _others: Vec<Namespace>,
}

/// A shell command in a process group of its own, and all that it starts: ended when dropped.
#[derive(Debug)]
struct Process(Child);

/// What is to be started where.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// A shell command.
    pub command: &'a str,
    /// Which networks.
    pub ground: Ground,
    /// Congestion control of both ends.
    pub congestion_control: &'a str,
    /// Addresses of the load beside its own.
    pub sources: &'a [IpAddr],
    /// The load's end is an AF_XDP socket.
    pub afxdp: bool,
    /// The server's end is one.
    pub afxdp_server: bool,
    /// Receive processing of the load's end, and of the server's.
    pub steer: Option<(usize, usize)>,
    /// What forwards between the two ends of a veth pair.
    pub middlebox: Option<Middlebox<'a>>,
}

/// A shell command that forwards between devices `in`, towards the load, and `out`.
#[derive(Clone, Copy, Debug)]
pub struct Middlebox<'a> {
    /// The command.
    pub command: &'a str,
    /// What the server sends goes through it as well; otherwise only what the load sends does.
    pub both_ways: bool,
}

/// Whether this process is the one inside.
#[must_use]
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs this program again, inside; its end is ours.
///
/// # Errors
/// Namespaces are refused.
pub fn enter() -> Result<ExitCode, ProgramError> {
    enter_with(None)
}

/// The same with a directory that the one inside may make, under this name: it is gone afterwards, however that one ended.
///
/// # Errors
/// Namespaces are refused.
pub fn enter_with(scratch: Option<&Path>) -> Result<ExitCode, ProgramError> {
    let privilege = Privilege::detect();
    if let Privilege::None(why) = &privilege {
        return Err(ProgramError::NoNamespaces(why.clone()));
    }
    let program = env::current_exe().map_err(ProgramError::Restart)?;
    // Ctrl-C reaches the one inside as well, and that one decides. The pipe tells it when we are gone.
    let ignored = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&ignored))
        .map_err(ProgramError::Signals)?;
    let asked = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&asked))
        .map_err(ProgramError::Signals)?;
    let mut command = privilege.inside(&program);
    if let Some(path) = scratch {
        command.env(SCRATCH, path);
    }
    let mut child = command
        .args(env::args_os().skip(1))
        .env(INSIDE, "1")
        .stdin(Stdio::piped())
        .spawn()
        .map_err(ProgramError::Restart)?;
    let mut pipe = child.stdin.take();
    loop {
        if asked.load(Ordering::Relaxed) {
            drop(pipe.take());
        }
        if let Some(status) = child.try_wait().map_err(ProgramError::Restart)? {
            if let Some(path) = scratch {
                let _ = std::fs::remove_dir_all(path);
            }
            let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
            return Ok(ExitCode::from(code));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Inside: stops when the lab outside is gone or wants it.
pub fn heed_outside(stop: &Arc<AtomicBool>) {
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
        stop.store(true, Ordering::Relaxed);
    });
}

impl Served {
    /// Makes the ground and starts the server. Returns when something answers at `address`.
    ///
    /// # Errors
    /// The ground cannot be made, or the server ends or does not answer; what it said is in the error.
    pub fn start(order: &Order<'_>, address: SocketAddr, stop: &AtomicBool) -> Result<Self, ProgramError> {
        let (client, far, middle) = match order.ground {
            Ground::One => (None, None, None),
            Ground::Veth => {
                let (client, server) = (Namespace::new("client")?, Namespace::new("server")?);
                let ends = ((&client, "198.18.1.1/16"), (&server, "198.18.1.2/16"));
                let middle = order.middlebox.map(|_| Namespace::new("middle")).transpose()?;
                match &middle {
                    Some(middle) if order.middlebox.is_some_and(|middlebox| middlebox.both_ways) => {
                        path::through(ends.0, ends.1, middle)?;
                    }
                    Some(middle) => path::long_way(ends.0, ends.1, middle)?,
                    None => path::veth(ends.0, ends.1)?,
                }
                for namespace in [&client, &server] {
                    path::congestion_control(namespace, order.congestion_control)?;
                }
                path::limit_receive_buffers(&client)?;
                if order.afxdp {
                    path::complete_packets(&server, "far")?;
                }
                if order.afxdp_server {
                    path::complete_packets(&client, "near")?;
                }
                if let Some((near, far)) = order.steer {
                    path::steer(&client, "near", near)?;
                    path::steer(&server, "far", far)?;
                }
                (Some(client), Some(server), middle)
            }
        };
        for source in
            order.sources.iter().filter(|source| **source != SocketAddr::from(([198, 18, 1, 1], 0)).ip())
        {
            match &client {
                Some(client) => client.ip(&["addr", "add", &format!("{source}/16"), "dev", "near"])?,
                None => testbed::run("ip", &["addr", "add", &format!("{source}/16"), "dev", "lo"])?,
            }
        }
        let middlebox = match (&middle, order.middlebox) {
            (Some(middle), Some(Middlebox { command, .. })) => {
                Some(Process::start(middle.command("sh"), command, MIDDLEBOX_LOG)?)
            }
            _ => None,
        };
        let shell = far.as_ref().map_or_else(|| Command::new("sh"), |far| far.command("sh"));
        let server = Process::start(shell, order.command, SERVER_LOG)?;
        let others = far.into_iter().chain(middle).collect();
        let mut served = Self { server, _middlebox: middlebox, client, _others: others };
        served.wait_for(address, stop)?;
        if let (Some(client), Some(Middlebox { both_ways: false, .. })) = (&served.client, order.middlebox) {
            path::go_long(client, &address.ip().to_string())?;
        }
        Ok(served)
    }

    /// Moves this thread to where the load is to run.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn enter_client(&self) -> Result<(), String> {
        self.client.as_ref().map_or(Ok(()), |client| client.enter().map_err(|error| error.to_string()))
    }

    /// The namespace of the load, where it is another than the server's.
    #[must_use]
    pub fn client(&self) -> Option<&Namespace> {
        self.client.as_ref()
    }

    fn wait_for(&mut self, address: SocketAddr, stop: &AtomicBool) -> Result<(), ProgramError> {
        let begun = Instant::now();
        loop {
            let answers = thread::scope(|scope| {
                let try_once = || {
                    self.enter_client()?;
                    TcpStream::connect_timeout(&address, Duration::from_millis(500))
                        .map_err(|error| error.to_string())
                };
                scope.spawn(try_once).join().unwrap_or_else(|_| Err("a thread died".to_owned()))
            });
            let Err(why) = answers else { return Ok(()) };
            let ended = self.server.0.try_wait().map_err(ProgramError::Restart)?;
            if ended.is_some_and(|status| !status.success())
                || begun.elapsed() > START
                || stop.load(Ordering::Relaxed)
            {
                let status = ended.map_or_else(
                    || format!("does not answer at {address}: {why}"),
                    |status| status.to_string(),
                );
                return Err(ProgramError::Server { status, said: last_words() });
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Process {
    fn start(mut shell: Command, command: &str, log: &str) -> Result<Self, ProgramError> {
        let log = File::create(log).map_err(ProgramError::Restart)?;
        let again = log.try_clone().map_err(ProgramError::Restart)?;
        shell.args(["-c", command]).env_remove(INSIDE).stdin(Stdio::null());
        // A group of its own: Ctrl-C is for the lab, and the lab's end is for all of it.
        shell.stdout(log).stderr(again).process_group(0).spawn().map(Self).map_err(ProgramError::Restart)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) else { return };
        let _ = kill_process_group(group, Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < LEAVE && matches!(self.0.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.0.wait();
    }
}

/// The end of what the server said.
fn last_words() -> String {
    let said = std::fs::read_to_string(SERVER_LOG).unwrap_or_default();
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}
