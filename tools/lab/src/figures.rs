//! The dissertation's figures, measured again: ours beside the peers, as far as the machine goes.
//!
//! ```text
//!   lab fig 2.5 ──▶ Figure::run ──▶ Record ──▶ DIR/2.5.json, DIR/2.5a.svg
//!                                                  └────────▶ lab report DIR ──▶ DIR/report.html
//! ```
//!
//! A figure is a function that measures and says what it measured with. What a machine cannot do is a remark in the
//! record, at its place, with what was run instead.

use core::sync::atomic::{AtomicBool, Ordering};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

pub mod machine;
pub mod plot;
pub mod record;
pub mod report;
pub use scratch::{NAME as SCRATCH, name as scratch_name};

mod capture;
mod cipher;
mod contestant;
mod disk;
mod load;
mod loss;
mod memory;
mod meter;
mod names;
mod packets;
mod scratch;
mod trace;
mod traces;
mod video;
mod web;

use record::{Panel, Record};

/// A figure of the dissertation.
#[derive(Debug)]
pub struct Figure {
    /// Its number.
    pub id: &'static str,
    /// What is shown.
    pub title: &'static str,
    /// The section that tells of it.
    pub section: &'static str,
    /// What was found, in a sentence.
    pub found: &'static str,
    /// How long it takes, in seconds: quick, and whole.
    pub seconds: (u32, u32),
    /// What it stands on.
    pub ground: Ground,
    /// Measures.
    run: fn(&mut Run<'_>) -> Result<(), Problem>,
}

/// What a figure stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// This process.
    Nothing,
    /// Network namespaces, and servers in them.
    Namespaces,
}

/// Every figure there is, in the dissertation's order.
pub const FIGURES: &[Figure] = &[
    memory::BUFFERS,
    memory::QUEUES,
    cipher::BULK,
    memory::SEALED,
    web::SHORT_FLOWS,
    video::HIT_RATIO,
    traces::TRACES,
    web::SIZES,
    web::CDN,
    web::VARIANTS,
    web::OLD_HARDWARE,
    names::ZONES,
    names::BATCHES,
    packets::REPLICAS_AND_COPIES,
    video::STOCK_PLAIN,
    video::STOCK_SEALED,
    memory::CONVENTIONAL,
    disk::WINDOW,
    disk::SIZES,
    disk::LATENCY,
    video::PLAIN,
    memory::STACKS,
    video::SEALED,
    loss::LOSS,
];

/// Why a figure cannot be made.
#[derive(Debug)]
pub enum Problem {
    /// Ctrl-C.
    Stopped,
    /// There is no such figure.
    Unknown(String),
    /// A file of the record.
    File(PathBuf, io::Error),
    /// A record that is none.
    Record(PathBuf, serde_json::Error),
    /// There is nothing to report.
    NoRecords(PathBuf),
    /// A program of others that is not here: which, and how to get it.
    Missing(String),
    /// What the experiment needs and did not get.
    Experiment(String),
    /// A picture.
    Plot(plot::PlotError),
}

impl core::fmt::Display for Problem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped: the figures that were finished are kept"),
            Self::Unknown(id) => write!(f, "there is no figure {id}: `lab fig list` names them all"),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Record(path, error) => {
                write!(f, "{} is no figure's record ({error}): make it again with `lab fig`", path.display())
            }
            Self::NoRecords(path) => {
                write!(f, "{} holds no figure: make some with `lab fig N --out {0}`", path.display())
            }
            Self::Missing(why) => write!(f, "not run: {why}"),
            Self::Experiment(why) => f.write_str(why),
            Self::Plot(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Problem {}

/// A figure being made.
#[expect(missing_debug_implementations, reason = "it reports to a closure")]
pub struct Run<'a> {
    record: Record,
    quick: bool,
    programs: Option<&'a Path>,
    out: &'a Path,
    stop: &'a Arc<AtomicBool>,
    progress: &'a mut dyn FnMut(&str),
}

impl Run<'_> {
    /// The next thing that is measured; an error when somebody wants us to stop.
    fn step(&mut self, what: &str) -> Result<(), Problem> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Problem::Stopped);
        }
        (self.progress)(what);
        Ok(())
    }

    /// `quick`, or else `whole`.
    fn either<T>(&self, quick: T, whole: T) -> T {
        if self.quick { quick } else { whole }
    }

    fn panel(&mut self, panel: Panel) {
        self.record.panels.push(panel);
    }

    fn remark(&mut self, remark: &str) {
        self.record.remarks.push(remark.to_owned());
    }
}

/// How figures are made.
#[derive(Clone, Copy, Debug)]
pub struct Making<'a> {
    /// Fewer points, shorter times.
    pub quick: bool,
    /// Where our programs are, if not beside this one.
    pub programs: Option<&'a Path>,
    /// Where records go.
    pub out: &'a Path,
    /// The command line, for the record.
    pub command: &'a str,
}

impl Figure {
    /// The figure of that number.
    ///
    /// # Errors
    /// There is none.
    pub fn of(id: &str) -> Result<&'static Self, Problem> {
        FIGURES.iter().find(|figure| figure.id == id).ok_or_else(|| Problem::Unknown(id.to_owned()))
    }

    /// Makes it, and leaves its record and its pictures behind. Nothing is left of one that was not finished.
    ///
    /// # Errors
    /// What is missing, or [`Problem::Stopped`].
    pub fn make(
        &self,
        making: &Making<'_>,
        stop: &Arc<AtomicBool>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(), Problem> {
        let begun = Instant::now();
        let record = Record {
            figure: self.id.to_owned(),
            title: self.title.to_owned(),
            section: self.section.to_owned(),
            found: self.found.to_owned(),
            taken_at: httpdate::fmt_http_date(SystemTime::now()),
            quick: making.quick,
            machine: machine::describe(),
            commands: vec![making.command.to_owned()],
            ..Record::default()
        };
        let Making { quick, programs, out, command: _ } = *making;
        let mut run = Run { record, quick, programs, out, stop, progress };
        let made = (self.run)(&mut run);
        // What was cut short is neither a result nor a failure of the server's.
        if stop.load(Ordering::Relaxed) {
            return Err(Problem::Stopped);
        }
        let mut record = run.record;
        match made {
            // The report says so at its place.
            Err(Problem::Missing(why)) => record.remarks.push(format!("Not run: {why}.")),
            made => made?,
        }
        record.took_s = begun.elapsed().as_secs_f64();
        keep(&record, making.out)
    }
}

/// Writes a record and its pictures.
fn keep(record: &Record, out: &Path) -> Result<(), Problem> {
    let write = |name: String, text: &str| {
        let path = out.join(name);
        fs::write(&path, text).map_err(|error| Problem::File(path, error))
    };
    fs::create_dir_all(out).map_err(|error| Problem::File(out.to_owned(), error))?;
    for panel in &record.panels {
        write(
            format!("{}{}.svg", record.figure, panel.letter),
            &plot::svg(panel, &foot(record)).map_err(Problem::Plot)?,
        )?;
    }
    // Last: where there is a record, there is all of it.
    let text = serde_json::to_string_pretty(record).expect("a record is plain data");
    write(format!("{}.json", record.figure), &text)
}

/// What stands below a picture that leaves the report: which it is, when and on what it was made.
fn foot(record: &Record) -> String {
    let machine =
        |what: &str| record.machine.iter().find(|(name, _)| name == what).map(|(_, how)| how.as_str());
    let day = record.taken_at.split(' ').skip(1).take(3).collect::<Vec<_>>().join(" ");
    let quick = if record.quick { " --quick" } else { "" };
    format!(
        "lab fig {}{quick} · {day} · {}, {} cores · Linux {} · median, least to most",
        record.figure,
        machine("processor").unwrap_or("unknown processor"),
        machine("logical processors").unwrap_or("?"),
        machine("kernel").unwrap_or("?"),
    )
}

/// The records below a directory, in the dissertation's order.
///
/// # Errors
/// A file that cannot be read or is none of ours, or no file at all.
pub fn records(directory: &Path) -> Result<Vec<Record>, Problem> {
    let unreadable = |error| Problem::File(directory.to_owned(), error);
    let mut records = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| Problem::File(path.clone(), error))?;
        records.push(serde_json::from_str(&text).map_err(|error| Problem::Record(path, error))?);
    }
    if records.is_empty() {
        return Err(Problem::NoRecords(directory.to_owned()));
    }
    records.sort_by_key(|record: &Record| place(&record.figure));
    Ok(records)
}

/// Chapter and number, for an order in which 4.12 comes after 4.9.
fn place(id: &str) -> (u32, u32, String) {
    let (chapter, rest) = id.split_once('.').unwrap_or(("99", id));
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    (chapter.parse().unwrap_or(99), rest[..digits].parse().unwrap_or(99), rest[digits..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_named_once_and_in_order() {
        let places: Vec<_> = FIGURES.iter().map(|figure| place(figure.id)).collect();
        assert!(places.is_sorted() && places.windows(2).all(|pair| pair[0] != pair[1]), "{places:?}");
        assert!(
            place("4.9") < place("4.12") && place("2.8") < place("2.8b") && place("4.14") < place("loss")
        );
    }

    #[test]
    fn what_was_kept_is_found_again_and_what_is_no_record_is_named() {
        let directory = std::env::temp_dir().join(format!("lab-figures-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let kept = |figure: &str| Record {
            figure: figure.into(),
            panels: vec![Panel { letter: "a".into(), ..Panel::default() }],
            ..Record::default()
        };
        keep(&kept("4.12"), &directory).unwrap();
        keep(&kept("4.9"), &directory).unwrap();
        assert!(directory.join("4.12a.svg").exists());
        assert_eq!(records(&directory).unwrap(), [kept("4.9"), kept("4.12")]);
        fs::write(directory.join("x.json"), "{}").unwrap();
        let problem = records(&directory).unwrap_err().to_string();
        assert!(problem.contains("x.json is no figure's record"), "{problem}");
        fs::remove_dir_all(&directory).unwrap();
        assert!(matches!(records(&directory), Err(Problem::File(..))));
    }

    #[test]
    fn nothing_is_left_of_a_figure_that_was_stopped() {
        let directory = std::env::temp_dir().join(format!("lab-stopped-{}", std::process::id()));
        let making = Making { quick: true, programs: None, out: &directory, command: "lab fig 2.3" };
        let made = Figure::of("2.3").unwrap().make(&making, &Arc::new(AtomicBool::new(true)), &mut |_| {});
        assert!(matches!(made, Err(Problem::Stopped)) && !directory.exists());
    }

    #[test]
    fn a_figure_that_was_stopped_at_its_end_is_no_result() {
        let directory = std::env::temp_dir().join(format!("lab-stopped-late-{}", std::process::id()));
        let making = Making { quick: true, programs: None, out: &directory, command: "lab fig 2.6" };
        let (stop, mut steps) = (Arc::new(AtomicBool::new(false)), 0);
        let last = Arc::clone(&stop);
        let made = Figure::of("2.6").unwrap().make(&making, &stop, &mut |_| {
            steps += 1;
            // Three sizes in a quick run: nobody asks again after the third.
            last.store(steps == 3, Ordering::Relaxed);
        });
        assert!(matches!(made, Err(Problem::Stopped)) && steps == 3 && !directory.exists());
    }
}
