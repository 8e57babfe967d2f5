//! Where a soak takes place: three networks in a row, and the path in the middle one.
//!
//! ```text
//!   client: near 198.18.1.1 ══ m0 :middle: m1 ══ far :server, at 198.18.1.3 of its own
//!                               └─ middlebox ─┘
//! ```

use core::net::Ipv4Addr;
use core::time::Duration;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::SystemTime;

use testbed::{Namespace, TestbedError, path};

use super::Over;
use crate::error::ProgramError;

/// Where the server answers.
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 3);
/// Of all addresses here.
pub(super) const PREFIX_LEN: u8 = 16;
/// The path forwards within this time.
const START: Duration = Duration::from_secs(10);

/// The three networks.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) client: Arc<Namespace>,
    middle: Namespace,
    pub(super) server: Namespace,
    middlebox: Option<Child>,
    program: PathBuf,
    over: Over,
    seed: u64,
    options: Vec<String>,
}

impl Place {
    /// Makes it, with a path that does nothing.
    ///
    /// # Errors
    /// Mostly for want of root, or of a program.
    pub(super) fn new(programs: &Path, over: Over, seed: u64) -> Result<Self, ProgramError> {
        let (client, middle, server) =
            (Namespace::new("client")?, Namespace::new("middle")?, Namespace::new("server")?);
        let program = programs.join("middlebox");
        let client = Arc::new(client);
        let mut place =
            Self { client, middle, server, middlebox: None, program, over, seed, options: Vec::new() };
        place.client.ip(&[
            "link",
            "add",
            "near",
            "type",
            "veth",
            "peer",
            "name",
            "m0",
            "netns",
            place.middle.name(),
        ])?;
        place.client.ip(&["addr", "add", "198.18.1.1/16", "dev", "near"])?;
        place.client.ip(&["link", "set", "near", "txqueuelen", "20000", "up"])?;
        place.middle.ip(&["link", "set", "m0", "up"])?;
        path::congestion_control(&place.client, "reno")?;
        path::limit_receive_buffers(&place.client)?;
        place.plug()?;
        place.lead(&[])?;
        Ok(place)
    }

    /// Puts the server's cable in.
    ///
    /// # Errors
    /// What `ip` says.
    pub(super) fn plug(&self) -> Result<(), TestbedError> {
        // One queue each way: an AF_XDP socket takes one.
        let queues = ["numtxqueues", "1", "numrxqueues", "1"];
        let far = [&["link", "add", "far"][..], &queues, &["type", "veth", "peer", "name", "m1"]].concat();
        self.server.ip(&[&far[..], &queues, &["netns", self.middle.name()]].concat())?;
        if self.over == Over::Afxdp {
            path::complete_packets(&self.middle, "m1")?;
        }
        self.middle.ip(&["link", "set", "m1", "txqueuelen", "20000", "up"])?;
        self.server.ip(&["link", "set", "far", "txqueuelen", "20000", "up"])
    }

    /// Pulls it out: the server's device is gone.
    ///
    /// # Errors
    /// What `ip` says.
    pub(super) fn unplug(&self) -> Result<(), TestbedError> {
        self.server.ip(&["link", "del", "far"])
    }

    /// Sets the other end of the server's cable up or down: the server's has a carrier, or none.
    ///
    /// # Errors
    /// What `ip` says.
    pub(super) fn carry(&self, up: bool) -> Result<(), TestbedError> {
        self.middle.ip(&["link", "set", "m1", if up { "up" } else { "down" }])
    }

    /// The path does from now on what these options of `middlebox` say.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn lead(&mut self, options: &[String]) -> Result<(), ProgramError> {
        self.options = options.to_vec();
        self.lead_again()
    }

    /// The same path, on devices that are others now.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn lead_again(&mut self) -> Result<(), ProgramError> {
        self.end_path();
        let mut command = self.middle.command(&self.program.to_string_lossy());
        command.args(["--client", "m0", "--server", "m1", "--json", "--seed", &self.seed.to_string()]);
        if !self.options.iter().any(|option| option == "--delay") {
            command.args(["--delay", "0ms"]);
        }
        command.args(&self.options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = own_group(&mut command).spawn().map_err(ProgramError::Restart)?;
        let (tell, told) = mpsc::channel();
        let stdout = child.stdout.take();
        thread::spawn(move || {
            for line in stdout.into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let forwards = told.recv_timeout(START);
        self.middlebox = Some(child);
        if forwards.is_ok_and(|line| line.contains("forwarding")) {
            return Ok(());
        }
        let said = self.end_path();
        Err(ProgramError::Arguments(format!("{} does not forward: {said}", self.program.display())))
    }

    /// The path is as long as it ever was.
    pub(super) fn is_led(&mut self) -> bool {
        self.middlebox.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Ends the path; returns the last line it said.
    fn end_path(&mut self) -> String {
        let Some(mut child) = self.middlebox.take() else { return String::new() };
        let _ = child.kill();
        let said = child.wait_with_output().map(|output| output.stderr).unwrap_or_default();
        String::from_utf8_lossy(&said).lines().last().unwrap_or_default().to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.end_path();
    }
}

/// A process that Ctrl-C on the terminal does not reach: it is for the lab.
pub(super) fn own_group(command: &mut Command) -> &mut Command {
    std::os::unix::process::CommandExt::process_group(command, 0)
}

/// A directory of this run's, removed with everything in it.
#[derive(Debug)]
pub(super) struct Desk(PathBuf);

impl Desk {
    /// A new one, readable to whoever a server becomes.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn new() -> Result<Self, ProgramError> {
        // Process ids are alike in every namespace of its own; the time is not, and nothing that is there is taken.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name = format!("lab-soak-{:x}", since.as_nanos());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).map_err(|source| ProgramError::File { path: path.clone(), source })?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file beside and moves it into place, as every tool does that renews something.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let beside = path.with_extension("new");
        std::fs::write(&beside, bytes)?;
        std::fs::rename(&beside, &path)?;
        Ok(path)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
