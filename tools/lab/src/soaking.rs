//! `lab soak`.

use core::time::Duration;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs;
use std::io::{self, Write as _};
use std::process::ExitCode;

use lab::error::ProgramError;
use lab::ground;
use lab::soak::{Fault, Order, Over, Progress, Report, Who, run};

use crate::cli::Soak;
use crate::{FAILED, stops};

/// Soaks, inside.
pub(crate) fn soak(arguments: &Soak) -> Result<ExitCode, ProgramError> {
    let order = order(arguments)?;
    if !ground::is_inside() {
        return ground::enter();
    }
    let stop = stops()?;
    ground::heed_outside(&stop);
    let bar = ProgressBar::new(order.duration.as_secs());
    bar.set_style(
        ProgressStyle::with_template("{wide_bar} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let line = format!(
        "{} for {} s: rounds of about {} s, {} faults in turns, seed {}",
        order.who.name(),
        order.duration.as_secs(),
        order.round().as_secs(),
        order.faults.len(),
        order.seed,
    );
    // Somebody may have closed it: the report goes elsewhere.
    let _ = writeln!(io::stderr(), "{line}");
    // A bar is silent where there is no terminal.
    let say = |line: &str| {
        if bar.is_hidden() { writeln!(io::stderr(), "{line}").unwrap_or(()) } else { bar.println(line) }
    };
    let (mut round, mut wrong) = (usize::MAX, 0);
    let outcome = run(&order, &stop, &mut |progress| {
        show(&bar, progress);
        if progress.complaints != wrong {
            wrong = progress.complaints;
            say(&format!("WRONG: {}", progress.last));
        }
        if bar.is_hidden() && round != progress.round {
            round = progress.round;
            say(&message(progress));
        }
    });
    bar.finish_and_clear();
    let report = outcome?;
    if let Some(path) = &arguments.out {
        fs::write(path, format!("{}\n", report.json()))
            .map_err(|source| ProgramError::File { path: path.clone(), source })?;
    }
    io::stdout().write_all(report.table().as_bytes()).map_err(ProgramError::Output)?;
    Ok(status(&report))
}

fn status(report: &Report) -> ExitCode {
    if report.passed() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

fn show(bar: &ProgressBar, progress: &Progress) {
    bar.set_position(progress.elapsed.as_secs());
    bar.set_message(message(progress));
}

fn message(progress: &Progress) -> String {
    let fault = progress.fault.map_or("", Fault::name);
    let wrong = match progress.complaints {
        0 => String::new(),
        count => format!(", {count} WRONG"),
    };
    let seconds = progress.elapsed.as_secs();
    format!("{seconds} s, round {}: {fault}, {} requests{wrong}", progress.round, progress.requests)
}

fn order(arguments: &Soak) -> Result<Order, ProgramError> {
    let possible = Fault::of(arguments.server);
    let faults = if arguments.faults.is_empty() { possible.clone() } else { arguments.faults.clone() };
    if let Some(fault) = faults.iter().find(|fault| !possible.contains(fault)) {
        return Err(ProgramError::Arguments(format!(
            "{fault} is nothing that can happen to {}",
            arguments.server.name()
        )));
    }
    if arguments.duration < Duration::from_secs(1) {
        return Err(ProgramError::Arguments("a soak takes at least a second (--for)".to_owned()));
    }
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.to_owned()));
    Ok(Order {
        who: arguments.server,
        over: arguments.link.unwrap_or(match arguments.server {
            Who::Atlas => Over::Packet,
            Who::Sandstorm | Who::Namestorm => Over::Afxdp,
        }),
        duration: arguments.duration,
        seed: arguments.seed,
        faults,
        connections: arguments.connections.into(),
        think: arguments.think,
        programs: arguments.programs.clone().or(beside).unwrap_or_default(),
        arguments: arguments.arguments.clone(),
    })
}
