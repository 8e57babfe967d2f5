//! `lab fig` and `lab report`.

use core::time::Duration;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs;
use std::io::{self, Write as _};
use std::process::ExitCode;

use lab::error::ProgramError;
use lab::figures::{FIGURES, Figure, Ground, Making, Problem, records, report as page, scratch_name};
use lab::ground;

use crate::cli::{Fig, Report};
use crate::{FAILED, stops};

/// Makes figures, or names them.
pub(crate) fn make(arguments: &Fig) -> Result<ExitCode, ProgramError> {
    if arguments.which.iter().any(|which| which == "list") {
        return list().map(|()| ExitCode::SUCCESS).map_err(ProgramError::Output);
    }
    let figures: Vec<&Figure> = if arguments.which.iter().any(|which| which == "all") {
        FIGURES.iter().collect()
    } else {
        let named = arguments.which.iter().map(|id| Figure::of(id));
        named.collect::<Result<_, _>>().map_err(ProgramError::Figure)?
    };
    let stop = stops()?;
    if figures.iter().any(|figure| figure.ground == Ground::Namespaces) {
        if !ground::is_inside() {
            return ground::enter_with(Some(&scratch_name(&arguments.out)));
        }
        ground::heed_outside(&stop);
    }
    let seconds: u32 = figures.iter().map(|figure| takes(figure, arguments.quick)).sum();
    let bar = ProgressBar::new_spinner();
    bar.set_style(
        ProgressStyle::with_template("{spinner} {elapsed} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    bar.enable_steady_tick(Duration::from_millis(200));
    let say = |line: String| {
        // A bar is silent where there is no terminal.
        if bar.is_hidden() { writeln!(io::stderr(), "{line}").unwrap_or(()) } else { bar.println(line) }
    };
    say(format!("{} of {} figures: about {}", figures.len(), FIGURES.len(), time(seconds)));
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let making = Making {
        quick: arguments.quick,
        programs: arguments.programs.as_deref(),
        out: &arguments.out,
        command: &command,
    };
    let (mut left, mut failed) = (seconds, 0);
    for (number, figure) in figures.iter().enumerate() {
        if bar.is_hidden() {
            let seconds = takes(figure, arguments.quick);
            say(format!("figure {}: {}; about {}", figure.id, figure.title, time(seconds)));
        }
        let made = figure.make(&making, &stop, &mut |what| {
            bar.set_message(format!(
                "figure {} ({} of {}, about {} left): {what}",
                figure.id,
                number + 1,
                figures.len(),
                time(left)
            ));
        });
        left -= takes(figure, arguments.quick);
        match made {
            Ok(()) => say(format!(
                "figure {}: {}",
                figure.id,
                arguments.out.join(format!("{}.json", figure.id)).display()
            )),
            // One that cannot be made does not keep the others from being made.
            Err(problem) if figures.len() > 1 && !matches!(problem, Problem::Stopped) => {
                failed += 1;
                say(format!("figure {}: {problem}", figure.id));
            }
            Err(problem) => return Err(ProgramError::Figure(problem)),
        }
    }
    bar.finish_and_clear();
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Makes the page.
pub(crate) fn report(arguments: &Report) -> Result<ExitCode, ProgramError> {
    let records = records(&arguments.directory).map_err(ProgramError::Figure)?;
    let text = page::html(&records).map_err(|error| ProgramError::Figure(Problem::Plot(error)))?;
    let path = arguments.directory.join("report.html");
    fs::write(&path, text).map_err(|source| ProgramError::File { path: path.clone(), source })?;
    writeln!(io::stdout(), "{}", path.display()).map_err(ProgramError::Output)?;
    Ok(ExitCode::SUCCESS)
}

fn list() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{:<7} {:>7} {:>7}  shows", "figure", "quick", "whole")?;
    for figure in FIGURES {
        let (quick, whole) = (takes(figure, true), takes(figure, false));
        writeln!(out, "{:<7} {:>7} {:>7}  {}", figure.id, time(quick), time(whole), figure.title)?;
    }
    Ok(())
}

fn takes(figure: &Figure, quick: bool) -> u32 {
    if quick { figure.seconds.0 } else { figure.seconds.1 }
}

/// A duration for people.
fn time(seconds: u32) -> String {
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds.div_ceil(60)) }
}
