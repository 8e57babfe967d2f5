//! `lab fig`: a figure of the dissertation again, ours beside a peer, on this machine.

use core::net::{Ipv4Addr, SocketAddrV4};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use lab::error::ProgramError;
use lab::fig::plot::{self, Frame};
use lab::fig::{FIGURES, machine, trace};
use lab::ground::{self, Ground, Order, Served};

use crate::cli::Fig;
use crate::stops;

/// Below `/run`, which is ours alone inside.
const PLACE: &str = "/run/lab-fig";
const OBJECT: &str = "/object.bin";
const CLIENTS: usize = 40;
const THINK: Duration = Duration::from_millis(4);
const OURS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 1, 3), 80);
const PEER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 1, 2), 80);
const BLUE: (u8, u8, u8) = (0x1f, 0x5f, 0xa8);
const ORANGE: (u8, u8, u8) = (0xd9, 0x6c, 0x0b);

/// Makes one, or names those there are.
pub(crate) fn make(arguments: &Fig) -> Result<ExitCode, ProgramError> {
    let mut out = std::io::stdout().lock();
    if arguments.number == "list" {
        for figure in FIGURES {
            writeln!(out, "{:5} {}", figure.number, figure.about).map_err(ProgramError::Output)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !FIGURES.iter().any(|figure| figure.number == arguments.number) {
        return Err(ProgramError::Arguments(format!(
            "there is no figure {} here: lab fig list names those there are",
            arguments.number
        )));
    }
    if !ground::is_inside() {
        return ground::enter();
    }
    let stop = stops()?;
    ground::heed_outside(&stop);
    let drawn = traces(arguments, &stop)?;
    let path = arguments.out.join(format!("{}.svg", arguments.number));
    let failed = |source| ProgramError::File { path: path.clone(), source };
    fs::create_dir_all(&arguments.out).and_then(|()| fs::write(&path, drawn)).map_err(failed)?;
    writeln!(out, "{}", path.display()).map_err(ProgramError::Output)?;
    Ok(ExitCode::SUCCESS)
}

/// A server of the figure.
struct Contestant {
    name: String,
    color: (u8, u8, u8),
    command: String,
    address: SocketAddrV4,
    afxdp: bool,
}

/// Figure 3.2.
fn traces(arguments: &Fig, stop: &Arc<AtomicBool>) -> Result<String, ProgramError> {
    let directory = Path::new(PLACE).join("web");
    let configuration = Path::new(PLACE).join("nginx.conf");
    let made = fs::create_dir_all(&directory)
        .and_then(|()| fs::write(directory.join(&OBJECT[1..]), vec![b'x'; bytes(arguments.object)]))
        .and_then(|()| fs::write(&configuration, nginx(&directory)));
    made.map_err(|source| ProgramError::File { path: PLACE.into(), source })?;
    let filled = |command: &str| {
        command
            .replace("{dir}", &directory.to_string_lossy())
            .replace("{conf}", &configuration.to_string_lossy())
            .replace("{address}", &OURS.ip().to_string())
    };
    let contestants = [
        Contestant {
            name: program(&arguments.ours),
            color: BLUE,
            command: filled(&arguments.ours),
            address: OURS,
            afxdp: true,
        },
        Contestant {
            name: "nginx".to_owned(),
            color: ORANGE,
            command: filled(&arguments.peer),
            address: PEER,
            afxdp: false,
        },
    ];
    let (mut series, mut notes) = (Vec::new(), Vec::new());
    for contestant in contestants {
        if stop.load(Ordering::Relaxed) {
            return Err(ProgramError::Run("interrupted".to_owned()));
        }
        let order = Order {
            command: &contestant.command,
            ground: Ground::Veth,
            congestion_control: "reno",
            sources: &[trace::PROBE.into()],
            afxdp: false,
            afxdp_server: contestant.afxdp,
            steer: Some((trace::CLIENT_CORE, trace::SERVER_CORE)),
        };
        let served = Served::start(&order, contestant.address.into(), stop)?;
        let client = served.client().ok_or_else(|| ProgramError::Run("no client's end".to_owned()))?;
        let traced = trace::look(&trace::Look {
            client,
            server: contestant.address,
            path: OBJECT,
            clients: CLIENTS,
            think: THINK,
            probes: if arguments.quick { 5 } else { 101 },
            file: &Path::new(PLACE).join("capture.pcap"),
        })
        .map_err(|why| ProgramError::Run(format!("{}: {why}", contestant.name)))?;
        notes.push(format!(
            "{}: `{}`, {:.0} requests/s from {CLIENTS} other clients, its core {:.0} % busy",
            contestant.name,
            shown(&contestant.command),
            traced.requests_per_s,
            traced.busy * 100.0
        ));
        series.extend(traced.series(&contestant.name, contestant.color));
    }
    notes.push(format!("{}, {}", machine::description(), machine::today()));
    let frame = Frame {
        title: format!(
            "One connection of median length, {} KB, as it passes the client's end of a veth pair",
            arguments.object / 1_000
        ),
        notes,
        x: "time since the client's SYN (µs)".to_owned(),
        y: "bytes of the response".to_owned(),
    };
    plot::svg(&frame, &series).map_err(|error| ProgramError::Run(error.to_string()))
}

fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// What stands before `serve`.
fn program(command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "serve").and_then(|at| at.checked_sub(1));
    let path = Path::new(at.map_or("ours", |at| words[at]));
    path.file_name().map_or_else(|| "ours".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// A command without directories, which say nothing to whoever looks at the picture.
fn shown(command: &str) -> String {
    let words = command.split(' ').map(|word| match word.strip_prefix('/') {
        Some(rest) => rest.rsplit('/').next().unwrap_or(rest),
        None => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Short connections as nginx serves them best: files open and in the page cache, head and content together.
fn nginx(directory: &Path) -> String {
    format!(
        "worker_processes 1; worker_cpu_affinity 1; pid /run/lab-fig/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; use epoll; multi_accept on; }}
http {{
  access_log off; server_tokens off; etag on; default_type application/octet-stream;
  open_file_cache max=16 inactive=3600s; open_file_cache_valid 3600s;
  sendfile on; sendfile_max_chunk 512k; tcp_nopush on;
  server {{ listen 80 reuseport deferred; root {}; }}
}}
",
        directory.display()
    )
}

/// Our own program beside this one, if it lies there, else wherever the shell finds it.
pub(crate) fn ours() -> String {
    let beside = |name| std::env::current_exe().ok().map(|path| path.with_file_name(name));
    let program =
        beside("sandstorm").filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("sandstorm"));
    format!(
        "taskset -c {} {} serve {{dir}} --link afxdp:far --addr {{address}}/16 --https off --workers 1 --admin off",
        trace::SERVER_CORE,
        program.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_names_programs_and_not_where_they_lie() {
        assert_eq!(
            shown("taskset -c 0 /opt/bin/sandstorm serve /srv/web"),
            "taskset -c 0 sandstorm serve web"
        );
    }
}
