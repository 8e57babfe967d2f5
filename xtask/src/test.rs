//! Everything that can be proved here.
//!
//! ```text
//! units       cargo test --workspace: no root, no device, no network; replays the fuzz corpora
//! release     the same engine with the optimiser on, and tests that take long
//! seeds       the simulator: 200 seeds, some of them twice
//! namespaces  devices and real clients, in namespaces that end with the tests
//! guest       drivers that this machine has not, in a virtual machine
//! ```

use crate::ignored::{self, Ignored, Reason};
use crate::steps::{Outcome, Report, Step};
use crate::workspace::Workspace;
use crate::{guest, namespaces, packages, sim};
use clap::{Args, ValueEnum};
use std::collections::BTreeMap;
use std::process::Command;

/// What to test.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Only these groups; all of them when none is given.
    #[arg(value_enum)]
    groups: Vec<Group>,
    /// In namespaces, only tests whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

impl Options {
    /// All groups.
    pub(crate) fn everything() -> Self {
        Self { groups: Vec::new(), only: None }
    }

    fn wants(&self, group: Group) -> bool {
        self.groups.is_empty() || self.groups.contains(&group)
    }
}

/// A part of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    /// `cargo test` on the whole workspace.
    Units,
    /// Tests that need the optimiser.
    Release,
    /// The simulator.
    Seeds,
    /// Devices and real clients.
    Namespaces,
    /// Drivers that this machine has not, in a virtual machine.
    Guest,
}

/// Runs what was asked for.
pub(crate) fn run(workspace: &Workspace, options: &Options, report: &mut Report) {
    let ignored = ignored::below(&workspace.root);
    report.section("test");
    if options.wants(Group::Units) {
        report.step("units", |step| {
            tests(step, workspace.cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]))
        });
    }
    if options.wants(Group::Release) {
        long(workspace, &ignored, report);
    }
    if options.wants(Group::Seeds) {
        sim::steps(workspace, report);
    }
    if options.wants(Group::Namespaces) {
        packages::run(report);
        namespaces::run(workspace, &ignored, options.only.as_deref(), options.groups.is_empty(), report);
    }
    if options.wants(Group::Guest) {
        guest::zero_copy(workspace, report);
    }
    if options.groups.is_empty() {
        measurements(workspace, &ignored, report);
    }
}

/// Tests that take long, in release.
fn long(workspace: &Workspace, ignored: &[Ignored], report: &mut Report) {
    for (package, tests_of) in by_package(workspace, ignored, &[Reason::Slow]) {
        report.step(&format!("release {package}"), |step| {
            let mut command =
                workspace.cargo(&["test", "--release", "--locked", "-p", &package, "--", "--ignored"]);
            command.args(tests_of.iter().map(|test| &test.name));
            tests(step, command)
        });
    }
}

/// Says which tests are measurements, which nobody's summary should count.
fn measurements(workspace: &Workspace, ignored: &[Ignored], report: &mut Report) {
    for (package, tests_of) in by_package(workspace, ignored, &[Reason::Measures]) {
        let count = tests_of.len() as u64;
        let names: Vec<&str> = tests_of.iter().map(|test| test.name.as_str()).collect();
        let why = format!("prints a measurement, to be run by hand: {}", names.join(", "));
        report.step(&format!("measurements {package}"), |_| Outcome::not_run(count, why));
    }
}

/// The chosen ignored tests, by the package they are in.
pub(crate) fn by_package<'a>(
    workspace: &Workspace,
    ignored: &'a [Ignored],
    reasons: &[Reason],
) -> BTreeMap<String, Vec<&'a Ignored>> {
    let mut packages = BTreeMap::<String, Vec<&Ignored>>::new();
    for test in ignored.iter().filter(|test| test.reason.is_some_and(|reason| reasons.contains(&reason))) {
        let home = workspace.members.values().find(|package| {
            package.manifest_path.parent().is_some_and(|directory| test.file.starts_with(directory))
        });
        if let Some(home) = home {
            packages.entry(home.name.clone()).or_default().push(test);
        }
    }
    packages
}

/// Runs test programs, and counts what they report.
pub(crate) fn tests(step: &mut Step, command: Command) -> Outcome {
    let Some((status, text)) = step.output(command) else {
        return Outcome::failed(1, "could not be started");
    };
    let (passed, failed) = libtest_counts(&text);
    if status.success() {
        return Outcome::passed(passed);
    }
    let names: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED")).collect();
    let why = if names.is_empty() { format!("{status}, before any test failed") } else { names.join(", ") };
    Outcome { passed, ..Outcome::failed(failed.max(1), why) }
}

/// Passed and failed, summed over every `test result:` line.
fn libtest_counts(text: &str) -> (u64, u64) {
    let (mut passed, mut failed) = (0, 0);
    for line in text.lines().filter(|line| line.starts_with("test result:")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let count = pair[0].parse::<u64>().unwrap_or(0);
            match pair[1] {
                "passed;" => passed += count,
                "failed;" => failed += count,
                _ => {}
            }
        }
    }
    (passed, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_summed_over_programs() {
        let text = "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured\n\
                    noise 5 passed; in a line of its own\n\
                    test result: FAILED. 2 passed; 1 failed; 0 ignored\n";
        assert_eq!(libtest_counts(text), (14, 1));
    }
}
