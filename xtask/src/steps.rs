//! Steps, their logs, and the closing summary that leaves nothing unsaid.

use core::fmt::Write as _;
use core::time::Duration;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Instant;

use crate::workspace::Workspace;

/// Lines of a failed step's log that are shown.
const LOG_LINES_SHOWN: usize = 80;

/// How a step ended. Counts are of tests, seeds or benches; a step without such counts as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) not_run: u64,
    /// Why something failed or was not run; else what there is to say.
    pub(crate) remark: String,
}

impl Outcome {
    /// It did what it should.
    pub(crate) fn passed(count: u64) -> Self {
        Self { passed: count, failed: 0, not_run: 0, remark: String::new() }
    }

    /// It did not.
    pub(crate) fn failed(count: u64, why: impl Into<String>) -> Self {
        Self { passed: 0, failed: count, not_run: 0, remark: why.into() }
    }

    /// It could not be tried.
    pub(crate) fn not_run(count: u64, why: impl Into<String>) -> Self {
        Self { passed: 0, failed: 0, not_run: count, remark: why.into() }
    }

    fn word(&self) -> &'static str {
        match self {
            Self { failed: 1.., .. } => "failed",
            Self { passed: 0, not_run: 1.., .. } => "not run",
            _ => "passed",
        }
    }
}

/// What was done so far.
#[derive(Debug)]
pub(crate) struct Report {
    logs: PathBuf,
    lines: Vec<(String, Duration, Outcome)>,
    started: Instant,
    /// The summary ends with `N passed, N failed` alone on a line.
    two_counts: bool,
}

impl Report {
    /// Nothing done yet.
    pub(crate) fn new(workspace: &Workspace) -> Self {
        Self {
            logs: workspace.target.join("xtask"),
            lines: Vec::new(),
            started: Instant::now(),
            two_counts: false,
        }
    }

    /// Ends the summary with `N passed, N failed` alone on a line, for readers who know only two counts.
    pub(crate) fn end_with_two_counts(&mut self) {
        self.two_counts = true;
    }

    /// A heading between groups of steps.
    pub(crate) fn section(&self, name: &str) {
        println!("\n== {name} ==");
    }

    /// Does something and notes how it ended.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce(&mut Step) -> Outcome) -> &Outcome {
        print!("{name} … ");
        // A terminal may be absent; that is no reason to stop.
        let _ = io::stdout().flush();
        let started = Instant::now();
        let mut step = Step::logging_to(self.log_of(name));
        // The last run's log; it need not be there.
        let _ = std::fs::remove_file(&step.log);
        let mut outcome = work(&mut step);
        if let Some(error) = step.broken {
            outcome = Outcome::failed(1, error);
        }
        let took = started.elapsed();
        println!("{}{} ({:.1} s)", outcome.word(), counts(&outcome), took.as_secs_f64());
        if outcome.failed > 0 {
            println!("  {}", outcome.remark);
            show_end_of(&step.log);
        } else if !outcome.remark.is_empty() {
            println!("  {}", outcome.remark);
        }
        self.lines.push((name.to_owned(), took, outcome));
        &self.lines.last().expect("just pushed").2
    }

    /// Runs one command as a step.
    pub(crate) fn command(&mut self, name: &str, command: Command) -> bool {
        self.step(name, |step| step.run(command)).failed == 0
    }

    /// The summary. The last line stands alone, for machines.
    pub(crate) fn close(self) -> ExitCode {
        let (summary, success) = self.summary();
        print!("{summary}");
        if success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn summary(&self) -> (String, bool) {
        let total = |count: fn(&Outcome) -> u64| self.lines.iter().map(|(_, _, o)| count(o)).sum::<u64>();
        let (passed, failed, not_run) = (total(|o| o.passed), total(|o| o.failed), total(|o| o.not_run));
        let mut text = format!("\n== summary, {:.0} s ==\n", self.started.elapsed().as_secs_f64());
        for (name, took, outcome) in &self.lines {
            let _ =
                write!(text, "{:8} {name}{} ({:.1} s)", outcome.word(), counts(outcome), took.as_secs_f64());
            if !outcome.remark.is_empty() {
                let _ = write!(text, ": {}", outcome.remark.lines().next().unwrap_or_default());
            }
            text.push('\n');
        }
        let _ = writeln!(text, "logs: {}", self.logs.display());
        let _ = writeln!(text, "{passed} passed, {failed} failed, {not_run} not run");
        if self.two_counts {
            let _ = writeln!(text, "{passed} passed, {failed} failed");
        }
        (text, failed == 0)
    }

    fn log_of(&self, name: &str) -> PathBuf {
        let file: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .collect();
        self.logs.join(format!("{file}.log"))
    }
}

/// `: 3 passed, 1 not run` where there is more than one thing to count.
fn counts(outcome: &Outcome) -> String {
    let Outcome { passed, failed, not_run, remark: _ } = outcome;
    if passed + failed + not_run <= 1 {
        return String::new();
    }
    let parts: Vec<String> = [(passed, "passed"), (failed, "failed"), (not_run, "not run")]
        .iter()
        .filter(|(count, _)| **count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    format!(": {}", parts.join(", "))
}

fn show_end_of(log: &Path) {
    let Ok(bytes) = std::fs::read(log) else { return };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    if lines.is_empty() {
        return;
    }
    println!("  ---- from {}", log.display());
    for line in telling(&lines) {
        println!("  | {line}");
    }
}

/// The lines of a failed step's log that tell why: what failed tests said, else errors of the compiler, else the end.
fn telling<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let mut told = Vec::new();
    let mut rest = lines;
    // Each test program has its own list; the names come again after what the tests said.
    while let Some(begin) = rest.iter().position(|line| *line == "failures:") {
        let end = rest[begin + 1..]
            .iter()
            .position(|line| *line == "failures:" || line.starts_with("test result:"));
        let end = end.map_or(rest.len(), |end| begin + 1 + end);
        told.extend(rest[begin + 1..end].iter().filter(|line| !line.trim().is_empty()));
        rest = &rest[end.min(rest.len())..];
        if rest.first() == Some(&"failures:") {
            let names = rest.iter().position(|line| line.starts_with("test result:")).unwrap_or(rest.len());
            rest = &rest[names..];
        }
    }
    if told.is_empty() {
        let error = lines.iter().position(|line| line.starts_with("error") || line.contains("): error"));
        let begin = error.unwrap_or_else(|| lines.len().saturating_sub(LOG_LINES_SHOWN));
        told.extend_from_slice(&lines[begin..]);
    }
    told.truncate(LOG_LINES_SHOWN);
    told
}

/// A step while it runs.
#[derive(Debug)]
pub(crate) struct Step {
    log: PathBuf,
    /// The log could not be written, or a program not started.
    broken: Option<String>,
}

impl Step {
    /// With a log that need not be there yet.
    pub(crate) fn logging_to(log: PathBuf) -> Self {
        Self { log, broken: None }
    }

    /// One with a log of its own, for what goes on beside others; `number` tells them apart.
    pub(crate) fn aside(&self, number: usize) -> Self {
        Self::logging_to(self.log.with_extension(format!("{number}.log")))
    }

    /// Takes over all that `aside` has said.
    pub(crate) fn take_over(&mut self, aside: &mut Self) {
        // It may have said nothing.
        if let Ok(text) = std::fs::read_to_string(&aside.log) {
            self.note(text.trim_end());
        }
        let _ = std::fs::remove_file(&aside.log);
        if let Some(why) = aside.broken.take() {
            self.broken.get_or_insert(why);
        }
    }

    /// Adds a line to the log.
    pub(crate) fn note(&mut self, text: &str) {
        let result = self.open_log().and_then(|mut file| writeln!(file, "{text}"));
        if let Err(error) = result {
            self.broken.get_or_insert_with(|| format!("cannot write {}: {error}", self.log.display()));
        }
    }

    /// Runs a command with its output in the log; passes when it succeeds.
    pub(crate) fn run(&mut self, command: Command) -> Outcome {
        let shown = shown(&command);
        match self.status(command) {
            Some(status) if status.success() => Outcome::passed(1),
            Some(status) => Outcome::failed(1, format!("`{shown}`: {status}")),
            None => Outcome::failed(1, format!("`{shown}` could not be started")),
        }
    }

    /// Runs a command with its output in the log.
    pub(crate) fn status(&mut self, command: Command) -> Option<ExitStatus> {
        self.output(command).map(|(status, _)| status)
    }

    /// Runs a command with its output in the log, and returns it too: standard output and error, as they came.
    pub(crate) fn output(&mut self, mut command: Command) -> Option<(ExitStatus, String)> {
        self.note(&format!("$ {}", shown(&command)));
        let before = std::fs::metadata(&self.log).map_or(0, |meta| meta.len());
        let files = self.open_log().and_then(|file| Ok((file.try_clone()?, file)));
        let (out, err) = match files {
            Ok(files) => files,
            Err(error) => {
                self.broken = Some(format!("cannot write {}: {error}", self.log.display()));
                return None;
            }
        };
        match command.stdin(Stdio::null()).stdout(out).stderr(err).status() {
            Ok(status) => {
                let bytes = std::fs::read(&self.log).unwrap_or_default();
                let from = usize::try_from(before).unwrap_or(usize::MAX).min(bytes.len());
                Some((status, String::from_utf8_lossy(&bytes[from..]).into_owned()))
            }
            Err(error) => {
                self.note(&format!("could not be started: {error}"));
                None
            }
        }
    }

    /// Runs a command that answers on standard output; what it says on standard error goes to the log.
    pub(crate) fn answer(&mut self, mut command: Command) -> Option<(ExitStatus, String)> {
        self.note(&format!("$ {}", shown(&command)));
        let output = self.open_log().and_then(|log| command.stdin(Stdio::null()).stderr(log).output());
        match output {
            Ok(output) => Some((output.status, String::from_utf8_lossy(&output.stdout).into_owned())),
            Err(error) => {
                self.note(&format!("could not be started: {error}"));
                None
            }
        }
    }

    fn open_log(&self) -> io::Result<File> {
        if let Some(directory) = self.log.parent() {
            std::fs::create_dir_all(directory)?;
        }
        File::options().create(true).append(true).open(&self.log)
    }
}

/// A command as one would type it.
fn shown(command: &Command) -> String {
    // Which cargo it is, the toolchain file says.
    let program = Path::new(command.get_program());
    let program = if program.ends_with("cargo") { "cargo".as_ref() } else { program.as_os_str() };
    let words = core::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: Vec<Outcome>) -> Report {
        let lines =
            outcomes.into_iter().map(|outcome| ("a step".to_owned(), Duration::ZERO, outcome)).collect();
        Report { logs: "target/xtask".into(), lines, started: Instant::now(), two_counts: false }
    }

    #[test]
    fn the_summary_ends_with_the_counts_alone_on_a_line() {
        let (text, success) = report(vec![Outcome::passed(40), Outcome::not_run(2, "no chromium")]).summary();
        assert_eq!(text.lines().last(), Some("40 passed, 0 failed, 2 not run"));
        assert!(success);
    }

    #[test]
    fn for_ci_the_last_line_has_two_counts() {
        let mut report = report(vec![Outcome::passed(40), Outcome::not_run(2, "no chromium")]);
        report.end_with_two_counts();
        assert_eq!(report.summary().0.lines().last(), Some("40 passed, 0 failed"));
    }

    #[test]
    fn what_was_not_run_is_named_with_its_reason() {
        let (text, _) = report(vec![Outcome::not_run(1, "no chromium")]).summary();
        assert!(text.contains("not run  a step (0.0 s): no chromium"), "{text}");
    }

    #[test]
    fn what_failed_tests_said_is_shown_and_nothing_else() {
        let log = "test a ... ok\n\nfailures:\n\n---- b stdout ----\nit broke\n\nfailures:\n    b\n\ntest result: FAILED.\n\
                   running 0 tests\nfailures:\n---- c stdout ----\nso did c\nfailures:\n    c\ntest result: FAILED.\nerror: x\n";
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(telling(&lines), ["---- b stdout ----", "it broke", "---- c stdout ----", "so did c"]);
    }

    #[test]
    fn without_failed_tests_the_first_error_is_shown_else_the_end() {
        assert_eq!(telling(&["Checking a", "error: no", "help: yes"]), ["error: no", "help: yes"]);
        let lines = vec!["a line"; LOG_LINES_SHOWN + 5];
        assert_eq!(telling(&lines).len(), LOG_LINES_SHOWN);
    }

    #[test]
    fn one_failure_fails_the_whole() {
        let mixed = Outcome { passed: 9, failed: 1, not_run: 0, remark: "x".to_owned() };
        let (text, success) = report(vec![Outcome::passed(1), mixed]).summary();
        assert!(!success);
        assert!(text.contains("failed   a step: 9 passed, 1 failed"), "{text}");
    }

    #[test]
    fn every_step_has_a_log_of_its_own() {
        let report = report(Vec::new());
        assert_ne!(report.log_of("clippy"), report.log_of("doc"));
    }
}
