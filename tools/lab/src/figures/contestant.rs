//! Who is measured: our programs and their peers, each as it serves best, with the configuration that is printed.

use core::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use core::sync::atomic::AtomicBool;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::{Problem, Run};
use crate::ground::{Ground, Middlebox, Order, Served};

/// The core of the server, and of everything else.
pub(super) const SERVER_CORE: usize = 0;
/// Everything else.
pub(super) const CLIENT_CORE: usize = 1;
/// Below `/run`, which is ours alone inside.
const PLACE: &str = "/run/lab-figures";
/// The kernel's end of the server's side, and an address of ours beside it.
const KERNEL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 1, 2), 80);
/// Who answers questions does so on the kernel's.
const NAMES: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 1, 2), 53);
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

/// Who is here; of somebody who is not the record says why, and how to get them.
///
/// # Errors
/// What else is wrong.
pub(super) fn perhaps(
    run: &mut Run<'_>,
    made: Result<Contestant, Problem>,
) -> Result<Option<Contestant>, Problem> {
    match made {
        Ok(contestant) => Ok(Some(contestant)),
        Err(Problem::Missing(why)) => {
            let line = format!("Not run: {why}.");
            if !run.record.remarks.contains(&line) {
                run.record.remarks.push(line);
            }
            Ok(None)
        }
        Err(problem) => Err(problem),
    }
}

/// All who are here.
///
/// # Errors
/// What else is wrong with one.
pub(super) fn present<const N: usize>(
    run: &mut Run<'_>,
    made: [Result<Contestant, Problem>; N],
) -> Result<Vec<Contestant>, Problem> {
    let mut here = Vec::new();
    for contestant in made {
        here.extend(perhaps(run, contestant)?);
    }
    Ok(here)
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

    /// Namestorm over AF_XDP, on the kernel's address.
    ///
    /// # Errors
    /// The program is not there.
    pub(super) fn namestorm(run: &mut Run<'_>, zone: &Path) -> Result<Self, Problem> {
        let program = ours(run, "namestorm")?;
        let command = format!(
            "taskset -c {SERVER_CORE} {} serve --link afxdp:far --rate 0 --workers 1 --admin off --zone example={}",
            program.display(),
            zone.display(),
        );
        Ok(Self { name: "Namestorm", command, address: NAMES, afxdp: true })
    }

    /// Knot DNS on the kernel's sockets, or with XDP sockets for datagrams.
    ///
    /// # Errors
    /// It is not installed.
    pub(super) fn knot(run: &mut Run<'_>, zone: &Path, afxdp: bool) -> Result<Self, Problem> {
        let (directory, file) = split(zone);
        let state = place("knot")?;
        let (ip, port, state) = (NAMES.ip(), NAMES.port(), state.display());
        let (name, xdp) = if afxdp {
            ("Knot (XDP)", format!("xdp:\n  listen: far@{port}\n"))
        } else {
            ("Knot", String::new())
        };
        let configuration = format!(
            "server:\n  rundir: {state}\n  listen: {ip}@{port}\n  background-workers: 1\n  udp-workers: 1\n  tcp-workers: 1\n\
             {xdp}database:\n  storage: {state}\nzone:\n  - domain: example\n    storage: {directory}\n    \
             file: {file}\n    journal-content: none\n    zonefile-sync: -1\n"
        );
        Self::peer(run, (name, "knotd", "knot"), &configuration, "knotd -c").map(|peer| {
            // It is ended by its process group, and then thinks that it still runs.
            let command = format!("rm -f {state}/knot.pid; exec {}", peer.command);
            Self { afxdp, command, ..peer }
        })
    }

    /// NSD, on the kernel's sockets.
    ///
    /// # Errors
    /// It is not installed.
    pub(super) fn nsd(run: &mut Run<'_>, zone: &Path) -> Result<Self, Problem> {
        let (directory, name) = split(zone);
        let state = place("nsd")?;
        let (ip, state) = (NAMES.ip(), state.display());
        let configuration = format!(
            "server:\n server-count: 1\n ip-address: {ip}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{directory}\"\n \
             database: \"\"\n pidfile: \"{state}/pid\"\n xfrdfile: \"{state}/xfrd\"\n zonelistfile: \"{state}/list\"\n \
             xfrdir: \"{state}\"\n minimal-responses: yes\n rrl-ratelimit: 0\nremote-control:\n control-enable: no\n\
             zone:\n name: example\n zonefile: {name}\n"
        );
        Self::peer(run, ("NSD", "nsd", "nsd"), &configuration, "nsd -d -c")
    }

    /// A peer that answers questions, by its name, its program and its package.
    fn peer(
        run: &mut Run<'_>,
        (name, program, package): (&'static str, &str, &str),
        configuration: &str,
        started: &str,
    ) -> Result<Self, Problem> {
        let option = if program == "nsd" { "-v" } else { "--version" };
        let version = version(program, option).ok_or_else(|| {
            Problem::Missing(format!(
                "{name}, for {program} cannot be started: install the Debian package {package}"
            ))
        })?;
        note(&mut run.record.versions, program, version);
        let path =
            file(&format!("{program}-{}.conf", run.record.configurations.len()), configuration.as_bytes())?;
        note(&mut run.record.configurations, &path.to_string_lossy(), configuration.to_owned());
        let command = format!("taskset -c {SERVER_CORE} {started} {}", path.display());
        Ok(Self { name, command, address: NAMES, afxdp: false })
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
    pub(super) fn start(&self, run: &mut Run<'_>, sources: &[IpAddr]) -> Result<Served, Problem> {
        self.start_with(run, sources, false, None)
    }

    /// The same for clients that take frames from the device themselves.
    ///
    /// # Errors
    /// It does not start, or does not answer.
    pub(super) fn start_for_frames(&self, run: &mut Run<'_>) -> Result<Served, Problem> {
        self.start_with(run, &[], true, None)
    }

    /// The same behind a middlebox.
    ///
    /// # Errors
    /// It does not start, or does not answer.
    pub(super) fn start_behind(
        &self,
        run: &mut Run<'_>,
        middlebox: Middlebox<'_>,
    ) -> Result<Served, Problem> {
        self.start_with(run, &[], false, Some(middlebox))
    }

    fn start_with(
        &self,
        run: &mut Run<'_>,
        sources: &[IpAddr],
        frames: bool,
        middlebox: Option<Middlebox<'_>>,
    ) -> Result<Served, Problem> {
        let order = Order {
            command: &self.command,
            ground: Ground::Veth,
            congestion_control: "reno",
            sources,
            afxdp: frames,
            afxdp_server: self.afxdp,
            steer: Some((CLIENT_CORE, SERVER_CORE)),
            middlebox,
        };
        for command in
            [Some(&*self.command), middlebox.map(|middlebox| middlebox.command)].into_iter().flatten()
        {
            if run.record.commands.iter().all(|known| known != command) {
                run.record.commands.push(command.to_owned());
            }
        }
        let stop: &Arc<AtomicBool> = run.stop;
        Served::start(&order, self.address.into(), stop)
            .map_err(|error| Problem::Experiment(format!("{}: {error}", self.name)))
    }
}

/// The middlebox of ours with these options, on the clients' core.
///
/// # Errors
/// The program is not there.
pub(super) fn middlebox(run: &mut Run<'_>, options: &str) -> Result<String, Problem> {
    let program = ours(run, "middlebox")?;
    Ok(format!("exec taskset -c {CLIENT_CORE} {} --client in --server out {options}", program.display()))
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
        Problem::Missing("nginx, for it cannot be started: install the Debian package nginx-light".to_owned())
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

/// For figures with a server that takes packets from a veth device itself.
pub(super) const WHO_RECEIVES: &str = "A veth device with an XDP program is polled on the core that sends to it, which is the \
    clients'; what the kernel's stack receives is worked off on the server's. So the server's core alone flatters AF_XDP: \
    the CPU of the whole machine is what to compare. (cargo xtask bench keeps both on the server's core.)";

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
    note(&mut run.record.versions, name, version);
    Ok(program)
}

/// Said once.
fn note(lines: &mut Vec<(String, String)>, what: &str, how: String) {
    if lines.iter().all(|(known, _)| known != what) {
        lines.push((what.to_owned(), how));
    }
}

/// A file's directory and its name.
fn split(path: &Path) -> (String, String) {
    let directory = path.parent().unwrap_or(path);
    (directory.display().to_string(), path.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

/// The first line of what a program says it is.
pub(super) fn version(program: &str, option: &str) -> Option<String> {
    let output = Command::new(program).arg(option).output().ok()?;
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&said).lines().next().map(|line| line.trim().to_owned())
}
