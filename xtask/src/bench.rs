//! Benches: what it costs. Never a test with a time limit.

use crate::sim::foreground;
use crate::steps::{Outcome, Report};
use crate::workspace::Workspace;
use clap::Args;
use std::process::{Command, ExitCode};

/// Which benches, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Their names; all of them when none is given.
    names: Vec<String>,
    /// Short runs, to see that they work.
    #[arg(long)]
    quick: bool,
    /// One JSON object per line: bench, value, unit, detail.
    #[arg(long)]
    json: bool,
}

/// Runs benches in the foreground.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> ExitCode {
    let mut command = benches(workspace);
    command.args(&options.names);
    command.args(options.quick.then_some("--quick")).args(options.json.then_some("--json"));
    foreground(command)
}

/// Every bench once, quickly, as a step.
pub(crate) fn smoke(workspace: &Workspace, report: &mut Report) {
    if !workspace.has_program("bench", "bench") {
        report.step("benches", |_| Outcome::not_run(1, "the workspace has no benches"));
        return;
    }
    if !report
        .command("build the benches", workspace.cargo(&["build", "--release", "-p", "bench", "--locked"]))
    {
        return;
    }
    report.step("benches", |step| {
        let mut command = benches(workspace);
        command.args(["--quick", "--json"]);
        match step.output(command) {
            Some((status, text)) => {
                let results = text.lines().filter(|line| is_result(line)).count() as u64;
                match (status.success(), results) {
                    (true, 0) => Outcome::failed(1, "no bench printed a result"),
                    (true, results) => Outcome::passed(results),
                    (false, results) => Outcome {
                        passed: results,
                        ..Outcome::failed(1, format!("the benches ended with {status}"))
                    },
                }
            }
            None => Outcome::failed(1, "the benches could not be started"),
        }
    });
}

/// One line of `--json`: an object with the four members that every bench of this project has.
fn is_result(line: &str) -> bool {
    let Ok(serde_json::Value::Object(object)) = serde_json::from_str(line) else { return false };
    object.get("bench").is_some_and(serde_json::Value::is_string)
        && object.get("value").is_some_and(serde_json::Value::is_number)
        && object.get("unit").is_some_and(serde_json::Value::is_string)
        && object.contains_key("detail")
}

fn benches(workspace: &Workspace) -> Command {
    workspace.cargo(&["run", "--quiet", "--release", "--locked", "-p", "bench", "--bin", "bench", "--"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_has_four_members() {
        assert!(is_result(r#"{"bench":"seal-ratio","value":0.7,"unit":"ratio","detail":{}}"#));
        assert!(!is_result(r#"{"bench":"seal-ratio","value":"fast","unit":"ratio","detail":{}}"#));
        assert!(!is_result(r#"{"bench":"seal-ratio","value":0.7,"unit":"ratio"}"#));
        assert!(!is_result("warming up"));
    }
}
