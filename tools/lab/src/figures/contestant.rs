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
        let version = nginx_version()?;
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
        Self::nginx_of(run, (version, configuration))
    }

    /// nginx as it serves video best: `sendfile` of what is cached, threads that read past the cache of what is not.
    ///
    /// # Errors
    /// It is not installed.
    pub(super) fn video_nginx(
        run: &mut Run<'_>,
        directory: &Path,
        reading: Reading,
    ) -> Result<Self, Problem> {
        let version = nginx_version()?;
        let cached = "sendfile on; sendfile_max_chunk 512k; tcp_nopush on;";
        let direct =
            "sendfile off; aio threads=disk; directio 4k; directio_alignment 4k; output_buffers 2 256k;";
        let (files, hot) = match reading {
            Reading::Cached => (cached, String::new()),
            Reading::Direct => (direct, String::new()),
            Reading::Both => {
                (direct, "location /hot/ { sendfile on; aio off; directio off; tcp_nopush on; }".to_owned())
            }
        };
        let (chain, key) = certificate()?;
        let configuration = format!(
            "worker_processes 1; worker_cpu_affinity 1; worker_rlimit_nofile 65536; pid {PLACE}/nginx.pid;
error_log stderr crit;
thread_pool disk threads=16;
events {{ worker_connections 20000; use epoll; multi_accept on; }}
http {{
  access_log off; server_tokens off; etag on; keepalive_requests 1000000000; keepalive_timeout 3600;
  {files}
  ssl_certificate {}; ssl_certificate_key {};
  ssl_protocols TLSv1.3 TLSv1.2; ssl_buffer_size 16k; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
  server {{ listen 80 reuseport backlog=4096; listen 443 ssl reuseport backlog=4096; root {}; {hot} }}
}}
",
            chain.display(),
            key.display(),
            directory.display()
        );
        Self::nginx_of(run, (version, configuration))
    }

    fn nginx_of(run: &mut Run<'_>, (version, configuration): (String, String)) -> Result<Self, Problem> {
        let number = run.record.configurations.len();
        let path = file(&format!("nginx-{number}.conf"), configuration.as_bytes())?;
        if number == 0 {
            run.record.versions.push(("nginx".to_owned(), version));
        }
        run.record.configurations.push((format!("nginx-{number}.conf"), configuration));
        let command = format!("taskset -c {SERVER_CORE} nginx -c {} -g 'daemon off;'", path.display());
        Ok(Self { name: "nginx", command, address: KERNEL, afxdp: false })
    }

    /// Atlas over a packet socket, which leaves segmentation to the device, serving `directory`.
    ///
    /// # Errors
    /// The program is not there.
    pub(super) fn atlas(run: &mut Run<'_>, directory: &Path) -> Result<Self, Problem> {
        let program = ours(run, "atlas")?;
        let (chain, key) = certificate()?;
        let command = format!(
            "taskset -c {SERVER_CORE} {} serve {} --link packet:far --addr {}/16 --cert {} --key {} --workers 1 --admin off",
            program.display(),
            directory.display(),
            OURS.ip(),
            chain.display(),
            key.display(),
        );
        Ok(Self { name: "Atlas", command, address: OURS, afxdp: false })
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

/// How nginx reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Through the page cache.
    Cached,
    /// Past it.
    Direct,
    /// What lies below `hot` through the page cache, the rest past it.
    Both,
}

fn nginx_version() -> Result<String, Problem> {
    version("nginx", "-v").ok_or_else(|| {
        Problem::Experiment("nginx cannot be started: install the Debian package nginx-light".to_owned())
    })
}

/// A certificate for both.
fn certificate() -> Result<(PathBuf, PathBuf), Problem> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
        .map_err(|error| Problem::Experiment(format!("no certificate can be made: {error}")))?;
    let chain = file("chain.pem", made.cert.pem().as_bytes())?;
    let key = file("key.pem", made.signing_key.serialize_pem().as_bytes())?;
    Ok((chain, key))
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
