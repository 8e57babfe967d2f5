//! The `middlebox` program: a path between two devices, one thread per core.
//!
//! ```text
//!   cli ─▶ devices ─▶ worker 0 … N   a queue of each device and a `Middlebox` each; they share nothing
//!                     this thread    waits for Ctrl-C, prints numbers
//! ```

#![forbid(unsafe_code)]

mod afxdp;
mod cli;
mod device;
mod error;
mod report;
mod values;
mod worker;

use clap::Parser;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use cli::Cli;
use device::Device;
use error::ProgramError;
use report::{Board, Report};
use serde_json::json;
use worker::Worker;

/// It failed while it ran.
const FAILED: u8 = 1;
/// It could not start.
const NOT_STARTED: u8 = 2;

/// How often we look whether we are to end.
const GLANCE: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = error.to_string().lines().collect::<Vec<_>>().join(" ");
            // With standard error gone, the status says it.
            let _ = writeln!(io::stderr(), "middlebox: {line}");
            ExitCode::from(if error.is_at_start() { NOT_STARTED } else { FAILED })
        }
    }
}

fn run(cli: &Cli) -> Result<(), ProgramError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the first one asks, the second one insists.
        signal_hook::flag::register_conditional_shutdown(signal, FAILED.into(), Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(ProgramError::Signals)?;
    }
    let configs = cli.configs()?;
    configs.iter().try_for_each(|config| config.check().map(drop))?;
    let client = Device::open(&cli.client, cli.workers)?;
    let server = Device::open(&cli.server, cli.workers)?;
    let board = Board::new(cli.workers);
    let started = Instant::now();
    let workers = configs.iter().zip(client.queues.into_iter().zip(server.queues));
    thread::scope(|scope| {
        let (ready, are_ready) = mpsc::channel();
        let threads: Vec<_> = workers
            .enumerate()
            .map(|(number, (config, (client, server)))| {
                let (stop, board, ready) = (&*stop, &board, ready.clone());
                thread::Builder::new()
                    .name(format!("worker-{number}"))
                    .spawn_scoped(scope, move || {
                        let ended = Worker::new(config, client, server, started).and_then(|worker| {
                            // Whoever waits for it has ended only when we are to end too.
                            let _ = ready.send(());
                            worker.run(stop, |report| board.put(number, report))
                        });
                        // One that fails takes the others with it: half a path is none.
                        stop.store(true, Ordering::Relaxed);
                        ended
                    })
                    .map_err(ProgramError::Thread)
            })
            .collect();
        drop(ready);
        // Fewer when one could not start.
        let watched = if are_ready.iter().take(cli.workers.into()).count() == usize::from(cli.workers) {
            say_ready(cli).and_then(|()| watch(cli, &stop, &board, started))
        } else {
            Ok(())
        };
        stop.store(true, Ordering::Relaxed);
        let mut failed = watched.err();
        for thread in threads {
            let ended = thread.and_then(|thread| thread.join().map_err(|_| ProgramError::Panicked)?);
            failed = failed.or_else(|| ended.err());
        }
        match failed {
            Some(error) if error.is_at_start() => return Err(error),
            _ => (),
        }
        let (total, elapsed) = (board.total(), started.elapsed());
        let said = if cli.json {
            writeln!(io::stdout(), "{}", total.json("totals", elapsed))
        } else {
            write!(io::stdout(), "{}", total.table(elapsed))
        };
        failed.map_or_else(|| said.map_err(ProgramError::Output), Err)
    })
}

fn say_ready(cli: &Cli) -> Result<(), ProgramError> {
    let (client, server, path) = (cli.client.to_string(), cli.server.to_string(), cli.path());
    let line = if cli.json {
        json!({"event": "forwarding", "client": client, "server": server, "path": path}).to_string()
    } else {
        format!("forwarding {client} <-> {server}, {path}")
    };
    writeln!(io::stdout(), "{line}").and_then(|()| io::stdout().flush()).map_err(ProgramError::Output)
}

/// Waits for the end; with `--stats`, prints a line a second meanwhile.
fn watch(cli: &Cli, stop: &AtomicBool, board: &Board, started: Instant) -> Result<(), ProgramError> {
    const SECOND: Duration = Duration::from_secs(1);
    let (mut printed, mut before) = (Instant::now(), Report::default());
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(GLANCE);
        let elapsed = printed.elapsed();
        if cli.stats && elapsed >= SECOND {
            let total = board.total();
            let line =
                if cli.json { total.json("second", started.elapsed()) } else { total.line(&before, elapsed) };
            writeln!(io::stdout(), "{line}").map_err(ProgramError::Output)?;
            (printed, before) = (Instant::now(), total);
        }
    }
    Ok(())
}
