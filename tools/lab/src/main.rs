//! The `lab` program.

#![forbid(unsafe_code)]

mod cli;
mod console;
mod fig;
mod files;
mod peers;
mod prepare;
mod soaking;

use clap::Parser as _;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use lab::device::{Device, DeviceName, Port};
use lab::error::ProgramError;
use lab::ground::{self, Served};
use lab::load::plan::Demand;
use lab::load::run::{Via, run};
use lab::load::viewer::Habit;

use cli::{Cli, Command, Common, Dns, Load, Serve, Web};
use console::Console;

/// Something failed or did not match.
const FAILED: u8 = 1;
/// Nothing was measured.
const NOT_STARTED: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse_from(arguments());
    let ended = match &cli.command {
        Command::Load(load) => measure(&load.common, demand(load)),
        Command::Web(Web { common }) => {
            measure(common, Demand { requests_per_connection: Some(1), ..Demand::CLOSED_LOOP })
        }
        Command::Dns(dns) => ask(dns),
        Command::Fig(fig) => fig::make(fig),
        Command::Report(report) => fig::report(report),
        Command::Files(files) => files::make(files).map(|()| ExitCode::SUCCESS),
        Command::Peers(peers) => peers::list(peers),
        Command::Soak(soak) => soaking::soak(soak),
    };
    ended.unwrap_or_else(|error| {
        let line = error.to_string().lines().collect::<Vec<_>>().join(" ");
        // With standard error gone, the status says it.
        let _ = writeln!(std::io::stderr(), "lab: {line}");
        ExitCode::from(NOT_STARTED)
    })
}

/// The command line, in which `load --dns` is another word for `dns`.
fn arguments() -> Vec<OsString> {
    let mut all: Vec<OsString> = std::env::args_os().collect();
    if all.get(1).is_some_and(|word| word == "load")
        && let Some(at) = all.iter().position(|word| word == "--dns")
    {
        all.remove(at);
        all[1] = "dns".into();
    }
    all
}

fn demand(load: &Load) -> Demand {
    let habit = load.viewers.map(|bits_per_s| Habit { bits_per_s, buffer: load.buffer, start: load.start });
    Demand { requests_per_connection: load.requests_per_connection, think: load.think, habit }
}

/// Ctrl-C and SIGTERM: the first one asks, the second one insists.
fn stops() -> Result<Arc<AtomicBool>, ProgramError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the second one finds the flag set.
        signal_hook::flag::register_conditional_shutdown(signal, FAILED.into(), Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(ProgramError::Signals)?;
    }
    Ok(stop)
}

/// Starts the server, if there is to be one.
fn serve(
    serve: &Serve,
    (sources, device): (&[IpAddr], Option<&DeviceName>),
    server: SocketAddr,
    stop: &Arc<AtomicBool>,
) -> Result<Option<Served>, ProgramError> {
    let Some(command) = &serve.command else { return Ok(None) };
    ground::heed_outside(stop);
    Served::start(&prepare::order(serve, command, sources, device)?, server, stop).map(Some)
}

/// The kernel's end of a TAP device of ours.
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));

/// A TAP device: a server may want to listen on its far side, so it comes before the server. Others come after the
/// interface they need.
fn early(
    device: Option<&DeviceName>,
    prefix_len: u8,
    ours: &[IpAddr],
) -> Result<Mutex<Option<Device>>, ProgramError> {
    let opened = match device {
        Some(name @ DeviceName::Tap) => Some(Device::open(name, (HOST, prefix_len), ours)),
        Some(DeviceName::Packet(_) | DeviceName::Afxdp(_)) | None => None,
    };
    opened.transpose().map(Mutex::new).map_err(|error| ProgramError::Run(error.to_string()))
}

/// The port, in the thread that turns it.
fn port(
    early: &Mutex<Option<Device>>,
    device: Option<&DeviceName>,
    prefix_len: u8,
    ours: &[IpAddr],
) -> Result<Port, String> {
    let ready = early.lock().ok().and_then(|mut early| early.take());
    let opened = match (ready, device) {
        (Some(opened), _) => Ok(opened),
        (None, Some(name)) => Device::open(name, (HOST, prefix_len), ours),
        (None, None) => return Err("there is no device".to_owned()),
    };
    opened.and_then(Device::into_port).map_err(|error| error.to_string())
}

fn ask(arguments: &Dns) -> Result<ExitCode, ProgramError> {
    let plan = Arc::new(prepare::dns(arguments)?);
    let cores = prepare::cores(arguments.cores.as_ref())?;
    if arguments.serve.command.is_some() && !ground::is_inside() {
        return ground::enter();
    }
    let stop = stops()?;
    let device = arguments.dev.as_ref();
    let early = early(device, arguments.prefix_len, &plan.sources)?;
    let sources = if device.is_some() { &[] } else { &plan.sources[..] };
    let served = serve(&arguments.serve, (sources, device), plan.server, &stop)?;
    let mut console = Console::of_dns(arguments, &plan, &cores);
    let enter = || served.as_ref().map_or(Ok(()), Served::enter_client);
    let times = (arguments.warm_up, arguments.duration);
    let port = || port(&early, device, arguments.prefix_len, &plan.sources);
    let link = device.is_some().then_some(&port as &(dyn Fn() -> Result<Port, String> + Sync));
    let outcome = lab::dns::run::run(&plan, &cores, times, &stop, &enter, link, &mut |answered, failed| {
        console.show_dns(answered, failed);
    });
    console.finish();
    drop(served);
    let outcome = outcome.map_err(ProgramError::Run)?;
    let text = if arguments.json { format!("{}\n", outcome.json()) } else { outcome.table() };
    std::io::stdout().write_all(text.as_bytes()).map_err(ProgramError::Output)?;
    let came = outcome.tally.answered.iter().any(|count| *count > 0);
    Ok(if came && outcome.tally.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn measure(common: &Common, demand: Demand) -> Result<ExitCode, ProgramError> {
    if common.serve.command.is_some() && !ground::is_inside() {
        // What can be said without namespaces is said without them.
        prepare::plan(common, demand)?;
        return ground::enter();
    }
    let stop = stops()?;
    let plan = Arc::new(prepare::plan(common, demand)?);
    let cores = prepare::cores(common.cores.as_ref())?;
    let effort = prepare::effort(common);
    let device = prepare::device(common);
    let early = early(device.as_ref(), common.prefix_len, &plan.sources)?;
    // Our own stack's addresses are not the kernel's.
    let sources = if device.is_some() { &[] } else { &plan.sources[..] };
    let served = serve(&common.serve, (sources, device.as_ref()), plan.catalogue.servers[0].address, &stop)?;
    let mut console = Console::new(&plan, &effort, &cores);
    let enter = || served.as_ref().map_or(Ok(()), Served::enter_client);
    let port = || Ok((port(&early, device.as_ref(), common.prefix_len, &plan.sources)?, common.prefix_len));
    let via = if device.is_some() { Via::Own(&port) } else { Via::Kernel };
    let outcome = run(&plan, via, &cores, &effort, &stop, &enter, &mut |gauges, measuring| {
        console.show(gauges, measuring);
    });
    console.finish();
    // The server is stopped before anything is said: nobody waits for a result and then for the rest.
    drop(served);
    let outcome = outcome.map_err(ProgramError::Run)?;
    console::report(&outcome, common.json).map_err(ProgramError::Output)?;
    let came = outcome.tally.requests > 0;
    if !came && outcome.failed() == 0 && !stop.load(Ordering::Relaxed) {
        let _ = writeln!(std::io::stderr(), "lab: not one response came within the time measured");
    }
    Ok(if came && outcome.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
