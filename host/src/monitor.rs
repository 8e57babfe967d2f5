//! The monitor: a small process that keeps what the server gives up, and opens three kinds of things with it.
//!
//! ```text
//!   server: no capabilities, no files ──── Link ─────────────▶ monitor: the same program again, one thread
//!                                     ──── File, to read ────▶   reads the configuration itself, and opens nothing
//!                                     ──── File, to append ──▶   that is not named there
//!                                     ◀─── descriptors ──────
//! ```
//!
//! It is started when everything is open, before the first thread gives anything up, and learns once which link there is.
//! From then on a server that was taken over can make it open again what the operator has named, and nothing else: no
//! request carries a device, an address, a flag or a mode.
//!
//! Each leaves when the other does: the monitor by end of file and by the parent's death signal, the server by end of file.

use confine::{Access, Asked, Channel, ChannelError, ConfineError, Kind, Passed, Request};
use control::{Opener, Purpose, Signals};
use core::fmt;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::confinement::Policy;
use crate::network::{Device, Program, Reopened};

/// What a monitor may need: to make devices and sockets, to read what the operator names whoever owns it, and to write it.
const DEVICES: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_RAW);
/// And to put a program before an interface's stack.
const PROGRAMS: CapabilitySet = CapabilitySet::BPF;
const READING: CapabilitySet = CapabilitySet::DAC_READ_SEARCH;
const WRITING: CapabilitySet = CapabilitySet::DAC_OVERRIDE;

/// What it takes to open this one again.
fn devices(device: &Device) -> CapabilitySet {
    if device.is_by_queue() { DEVICES | PROGRAMS } else { DEVICES }
}

/// Why there is no monitor. The machine's.
#[derive(Debug)]
pub enum MonitorError {
    /// It cannot be started.
    Start(io::Error),
    /// It cannot be spoken to.
    Channel(ChannelError),
    /// It cannot be given what it needs.
    Confine(ConfineError),
}

impl fmt::Display for MonitorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => {
                write!(f, "cannot start the monitor: {error}; --confine off goes without")
            }
            Self::Channel(error) => write!(f, "{error}; --confine off goes without"),
            Self::Confine(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for MonitorError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Start(error) => Some(error),
            Self::Channel(error) => Some(error),
            Self::Confine(error) => Some(error),
        }
    }
}

/// What the monitor has to know.
#[derive(Debug, Serialize, Deserialize)]
struct Briefing {
    device: Device,
    queues: u16,
}

/// The server's end: control's, and nobody else's.
#[derive(Debug)]
pub struct Monitor {
    channel: Channel,
    child: Child,
}

impl Monitor {
    /// Starts this program again, to be listed as `name`, with `arguments` that make it call [`attend`]. To be called by the thread that lives
    /// as long as the server does: the kernel ends the monitor with it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        name: &str,
        arguments: &[OsString],
        device: &Device,
        queues: u16,
    ) -> Result<Self, MonitorError> {
        let (channel, theirs) = Channel::pair().map_err(MonitorError::Channel)?;
        // Whoever is not root loses all of them to the new program, but for those that are handed on.
        confine::inherit(devices(device) | READING | WRITING).map_err(MonitorError::Confine)?;
        let started = Command::new("/proc/self/exe")
            .arg0(name)
            .args(arguments)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            // The terminal's Ctrl-C is for the server.
            .process_group(0)
            .spawn()
            .map_err(MonitorError::Start);
        confine::inherit(CapabilitySet::empty()).map_err(MonitorError::Confine)?;
        let child = started?;
        let briefing = serde_json::to_vec(&Briefing { device: device.clone(), queues })
            .expect("names and numbers can be written down");
        channel.brief(&briefing).map_err(MonitorError::Channel)?;
        Ok(Self { channel, child })
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is still there.
    #[must_use]
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The link again: descriptors for each worker, and what its device is like.
    ///
    /// # Errors
    /// The device is not there (yet), or the monitor is not.
    pub(crate) fn reopen_link(&self) -> Result<Reopened, ChannelError> {
        let Passed { descriptors, note } = self.ask(&Request::Link)?;
        let facts = serde_json::from_slice(&note).map_err(|_| ChannelError::Malformed)?;
        Ok(Reopened { descriptors, facts })
    }

    fn ask(&self, request: &Request) -> Result<Passed, ChannelError> {
        self.channel.ask(request)
    }
}

/// Readable when the monitor is gone: it never speaks unasked.
impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Opener for Monitor {
    fn open(&self, path: &Path, purpose: Purpose) -> io::Result<File> {
        let access = match purpose {
            Purpose::Read => Access::Read,
            Purpose::Append => Access::Append,
        };
        let path = std::path::absolute(path)?;
        let mut passed =
            self.ask(&Request::File { path, access }).map_err(|error| io::Error::other(error.to_string()))?;
        passed.descriptors.pop().map(File::from).ok_or_else(|| io::Error::other("no descriptor came"))
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // It leaves when its channel ends; the channel ends here, before the wait.
        self.channel.shutdown();
        let _ = self.child.wait();
    }
}

/// The files that the operator has named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// To be read.
    pub read: Vec<PathBuf>,
    /// To be appended to.
    pub append: Vec<PathBuf>,
}

impl Named {
    fn allows(&self, path: &Path, access: Access) -> bool {
        let named = match access {
            Access::Read => &self.read,
            Access::Append => &self.append,
        };
        named.iter().any(|named| std::path::absolute(named).is_ok_and(|named| named == path))
    }
}

/// The monitor's whole life, in a process of its own: standard input is the channel. `named` says which files the
/// operator names now; it is asked before each is opened.
///
/// # Errors
/// It was not started by a server, or could not confine itself.
pub fn attend(policy: Policy, mut named: impl FnMut() -> Named) -> Result<(), MonitorError> {
    let failed = |errno: rustix::io::Errno| MonitorError::Start(errno.into());
    // Signals to the whole service are for the server to act on; this process leaves when the server does.
    let _signals = Signals::catch().map_err(|error| MonitorError::Start(io::Error::other(error)))?;
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(MonitorError::Start)?;
    let channel = Channel::new(socket);
    let briefing = channel.briefing().map_err(MonitorError::Channel)?;
    let Briefing { device, queues } =
        serde_json::from_slice(&briefing).map_err(|error| MonitorError::Start(io::Error::other(error)))?;
    // A server that died before this is noticed by end of file. Having fewer capabilities does not reset it.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
    let writing = if named().append.is_empty() { CapabilitySet::empty() } else { WRITING };
    policy
        .apply_keeping(Kind::Monitor, None, devices(&device) | READING | writing)
        .map_err(MonitorError::Confine)?;
    // Before the stack of an interface that came back, until the next one does or this process ends.
    let mut program = None;
    loop {
        let answer = match channel.asked().map_err(MonitorError::Channel)? {
            Asked::Gone => return Ok(()),
            Asked::Nonsense => Err("this is no request".to_owned()),
            Asked::Request(Request::Link) => reopen(&device, queues, &mut program),
            Asked::Request(Request::File { path, access }) => {
                if named().allows(&path, access) {
                    open(&path, access).map(|fd| Passed { descriptors: vec![fd], note: Vec::new() })
                } else {
                    Err(format!("{} is named nowhere in the configuration", path.display()))
                }
            }
        };
        match channel.answer(answer.as_ref().map_err(String::as_str)) {
            Ok(()) => {}
            Err(ChannelError::Gone) => return Ok(()),
            Err(error) => return Err(MonitorError::Channel(error)),
        }
    }
}

/// Opens the link again. An interface has room for one program: the last one leaves first.
fn reopen(device: &Device, queues: u16, program: &mut Option<Program>) -> Result<Passed, String> {
    *program = None;
    let (Reopened { descriptors, facts }, put) = device.reopen(queues).map_err(|error| error.to_string())?;
    *program = put;
    let note = serde_json::to_vec(&facts).expect("numbers can be written down");
    Ok(Passed { descriptors, note })
}

/// Opens a file, and nothing that is something else: a device or a pipe could hold the monitor up.
fn open(path: &Path, access: Access) -> Result<OwnedFd, String> {
    let common = OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let flags = match access {
        Access::Read => common | OFlags::RDONLY,
        Access::Append => common | OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE,
    };
    let told = |errno: rustix::io::Errno| io::Error::from(errno).to_string();
    // As the server itself would have made it, under the same umask.
    let mode = Mode::from_raw_mode(0o666);
    let fd = rustix::fs::open(path, flags, mode).map_err(told)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd).map_err(told)?.st_mode);
    if kind != FileType::RegularFile {
        return Err("not a file".to_owned());
    }
    let status = rustix::fs::fcntl_getfl(&fd).map_err(told)?;
    rustix::fs::fcntl_setfl(&fd, status.difference(OFlags::NONBLOCK)).map_err(told)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_for_a_purpose_is_opened_for_it() {
        let named = Named {
            read: vec!["/etc/atlas/chain.pem".into(), "relative.pem".into()],
            append: vec!["/var/log/atlas.log".into()],
        };
        let allows = |path: &str, access| named.allows(Path::new(path), access);
        assert!(allows("/etc/atlas/chain.pem", Access::Read));
        assert!(!allows("/etc/atlas/chain.pem", Access::Append));
        assert!(allows("/var/log/atlas.log", Access::Append));
        assert!(!allows("/var/log/atlas.log", Access::Read));
        assert!(!allows("/etc/atlas/../atlas/chain.pem", Access::Read));
        assert!(!allows("/etc/shadow", Access::Read));
        let here = std::env::current_dir().unwrap().join("relative.pem");
        assert!(named.allows(&here, Access::Read));
    }

    #[test]
    fn a_device_is_no_file() {
        assert_eq!(open(Path::new("/dev/null"), Access::Read).unwrap_err(), "not a file");
        assert_eq!(open(Path::new("/"), Access::Read).unwrap_err(), "not a file");
    }

    #[test]
    fn what_is_appended_to_is_created_and_never_cut() {
        use std::io::Write as _;
        let path = std::env::temp_dir().join(format!("host-monitor-{}", std::process::id()));
        for line in ["one\n", "two\n"] {
            File::from(open(&path, Access::Append).unwrap()).write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        std::fs::remove_file(path).unwrap();
    }
}
