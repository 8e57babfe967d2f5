//! Who is measured: our programs and their peers, each as it serves best, with the configuration that is printed.

use core::net::{Ipv4Addr, SocketAddrV4};
use core::sync::atomic::AtomicBool;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::{Problem, Run};
use crate::ground::{Ground, Order, Served};

/// The core of the server, and of everything else.
pub(super) const SERVER_CORE: usize = 0;
/// Everything else.
pub(super) const CLIENT_CORE: usize = 1;
/// Below `/run`, which is ours alone inside.
const PLACE: &str = "/run/lab-figures";
/// The kernel's end of the server's side, and an address of ours beside it.
const KERNEL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 1, 2), 80);
const OURS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 1, 3), 80);

/// A server.
#[derive(Clone, Debug)]
pub(super) struct Contestant {
    /// Its name in the picture.
    pub(super) name: &'static str,
    /// A shell command.
    pub(super) command: String,
    /// Where it answers.
    pub(super) address: SocketAddrV4,
    /// It takes packets from the device itself.
    pub(super) afxdp: bool,
}

impl Contestant {
    /// Sandstorm over AF_XDP, serving `directory`.
    ///
    /// # Errors
    /// The program is not there.
    pub(super) fn sandstorm(run: &mut Run<'_>, directory: &Path, copying: Copying) -> Result<Self, Problem> {
        let program = ours(run, "sandstorm")?;
        let (name, copy) = match copying {
            Copying::Default => ("Sandstorm", ""),
            Copying::Gather => ("gather", " --copy gather"),
            Copying::Mem => ("mem", " --copy mem"),
            Copying::Pre => ("pre", " --copy pre"),
        };
        let command = format!(
            "taskset -c {SERVER_CORE} {} serve {} --link afxdp:far --addr {}/16 --https off --workers 1 --memory 256MiB \
             --admin off{copy}",
            program.display(),
            directory.display(),
            OURS.ip(),
        );
        Ok(Self { name, command, address: OURS, afxdp: true })
    }

    /// nginx as it serves small files best: open, in the page cache, head and content together.
    ///
    /// # Errors
    /// It is not installed.
    pub(super) fn nginx(run: &mut Run<'_>, directory: &Path) -> Result<Self, Problem> {
        let version = version("nginx", "-v").ok_or_else(|| {
            Problem::Experiment("nginx cannot be started: install the Debian package nginx-light".to_owned())
        })?;
        let configuration = format!(
            "worker_processes 1; worker_cpu_affinity 1; pid {PLACE}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; use epoll; multi_accept on; }}
http {{
  access_log off; server_tokens off; etag on; default_type application/octet-stream;
  open_file_cache max=10000 inactive=3600s; open_file_cache_valid 3600s;
  sendfile on; sendfile_max_chunk 512k; tcp_nopush on;
  server {{ listen 80 reuseport deferred; root {}; }}
}}
",
            directory.display()
        );
        let path = file("nginx.conf", configuration.as_bytes())?;
        run.record.versions.push(("nginx".to_owned(), version));
        run.record.configurations.push(("nginx".to_owned(), configuration));
        let command = format!("taskset -c {SERVER_CORE} nginx -c {} -g 'daemon off;'", path.display());
        Ok(Self { name: "nginx", command, address: KERNEL, afxdp: false })
    }

    /// Where it answers over TLS.
    pub(super) fn secure(&self) -> SocketAddrV4 {
        SocketAddrV4::new(*self.address.ip(), 443)
    }

    /// Starts it at the far end of a veth pair, with `sources` as further addresses of the clients.
    ///
    /// # Errors
    /// It does not start, or does not answer.
    pub(super) fn start(&self, run: &mut Run<'_>, sources: &[core::net::IpAddr]) -> Result<Served, Problem> {
        let order = Order {
            command: &self.command,
            ground: Ground::Veth,
            congestion_control: "reno",
            sources,
            afxdp: false,
            afxdp_server: self.afxdp,
            steer: Some((CLIENT_CORE, SERVER_CORE)),
        };
        if !run.record.commands.contains(&self.command) {
            run.record.commands.push(self.command.clone());
        }
        let stop: &Arc<AtomicBool> = run.stop;
        Served::start(&order, self.address.into(), stop)
            .map_err(|error| Problem::Experiment(format!("{}: {error}", self.name)))
    }
}

/// How memory gets into packets (`sandstorm serve --copy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copying {
    /// As it does by itself.
    Default,
    /// Parts of it are the packet's.
    Gather,
    /// It is copied into the packet.
    Mem,
    /// A replica is the packet.
    Pre,
}

/// A directory of ours inside.
///
/// # Errors
/// It cannot be made.
pub(super) fn place(name: &str) -> Result<PathBuf, Problem> {
    let path = Path::new(PLACE).join(name);
    fs::create_dir_all(&path).map_err(|error| Problem::File(path.clone(), error))?;
    Ok(path)
}

/// A file of ours inside; the path is told.
///
/// # Errors
/// It cannot be written.
pub(super) fn file(name: &str, content: &[u8]) -> Result<PathBuf, Problem> {
    let path = Path::new(PLACE).join(name);
    let directory = path.parent().unwrap_or_else(|| Path::new(PLACE));
    let written = fs::create_dir_all(directory).and_then(|()| fs::write(&path, content));
    written.map_err(|error| Problem::File(path.clone(), error))?;
    Ok(path)
}

/// A program of ours, and its version in the record.
fn ours(run: &mut Run<'_>, name: &str) -> Result<PathBuf, Problem> {
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.to_owned()));
    let directory = run.programs.map(Path::to_owned).or(beside).unwrap_or_default();
    let program = directory.join(name);
    let version = version(&program.to_string_lossy(), "--version").ok_or_else(|| {
        Problem::Experiment(format!(
            "{} cannot be started: build it (cargo build --release), or say where it is with --programs DIR",
            program.display()
        ))
    })?;
    let line = (name.to_owned(), version);
    if !run.record.versions.contains(&line) {
        run.record.versions.push(line);
    }
    Ok(program)
}

/// The first line of what a program says it is.
fn version(program: &str, option: &str) -> Option<String> {
    let output = Command::new(program).arg(option).output().ok()?;
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&said).lines().next().map(|line| line.trim().to_owned())
}
