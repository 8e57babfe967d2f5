//! Benches: what it costs. Never a test with a time limit.

use crate::sim::foreground;
use crate::steps::{Outcome, Report};
use crate::workspace::Workspace;
use clap::Args;
use std::process::{Command, ExitCode};
use testbed::is_root;

/// Which benches, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Their names; all of them when none is given.
    names: Vec<String>,
    /// Short runs, to see that they work.
    #[arg(long)]
    quick: bool,
    /// Of benches with several results those whose name contains this.
    #[arg(long, value_name = "PART")]
    only: Option<String>,
    /// One JSON object per line: bench, value, unit, detail.
    #[arg(long)]
    json: bool,
}

/// Benches that start programs, which must lie beside them: the bench, and the packages with the programs.
const PROGRAMS: [(&str, &[&str]); 4] = [
    ("middlebox", &["middlebox"]),
    ("web-nginx", &["sandstorm"]),
    ("loss-nginx", &["sandstorm", "middlebox"]),
    ("namestorm-veth", &["namestorm"]),
];

/// Runs benches in the foreground.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> ExitCode {
    for (bench, packages) in PROGRAMS {
        if options.names.is_empty() || options.names.iter().any(|name| name == bench) {
            let built = foreground(programs(workspace, packages));
            if built != ExitCode::SUCCESS {
                return built;
            }
        }
    }
    let mut command = benches(workspace);
    command.args(&options.names);
    command.args(options.only.iter().flat_map(|part| ["--only", part.as_str()]));
    command.args(options.quick.then_some("--quick")).args(options.json.then_some("--json"));
    foreground(command)
}

/// Every bench once, quickly, each as a step.
pub(crate) fn smoke(workspace: &Workspace, report: &mut Report) {
    if !workspace.has_program("bench", "bench") {
        report.step("benches", |_| Outcome::not_run(1, "the workspace has no benches"));
        return;
    }
    let mut packages = vec!["bench"];
    packages.extend(PROGRAMS.iter().flat_map(|(_, packages)| packages.iter().copied()));
    packages.sort_unstable();
    packages.dedup();
    if !report.command("build the benches", programs(workspace, &packages)) {
        return;
    }
    let mut list = benches(workspace);
    list.arg("--list");
    let list =
        list.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    if list.trim().is_empty() {
        report.step("benches", |_| Outcome::failed(1, "`bench --list` names none"));
    }
    for (name, about) in list.lines().filter_map(|line| line.trim().split_once(' ')) {
        report.step(&format!("bench {name}"), |step| {
            if about.contains("needs root") && !is_root() {
                return Outcome::not_run(1, "needs root");
            }
            let mut command = benches(workspace);
            command.args([name, "--quick", "--json"]);
            step.output(command).map_or_else(
                || Outcome::failed(1, "could not be started"),
                |(status, text)| judge(status.success(), &text),
            )
        });
    }
}

/// What became of one bench.
fn judge(success: bool, text: &str) -> Outcome {
    let complaint =
        text.lines().rfind(|line| !line.trim().is_empty() && !is_result(line)).unwrap_or("without a word");
    match (success, text.lines().any(is_result)) {
        (true, true) => Outcome::passed(1),
        (true, false) => Outcome::failed(1, "printed no result"),
        // The peer it compares with comes from the network, which a machine need not have.
        (false, _) if text.contains("debootstrap") => Outcome::not_run(1, complaint),
        (false, _) => Outcome::failed(1, complaint),
    }
}

/// One line of `--json`: an object with the four members that every bench of this project has.
fn is_result(line: &str) -> bool {
    let Ok(serde_json::Value::Object(object)) = serde_json::from_str(line) else { return false };
    object.get("bench").is_some_and(serde_json::Value::is_string)
        && object.get("value").is_some_and(serde_json::Value::is_number)
        && object.get("unit").is_some_and(serde_json::Value::is_string)
        && object.contains_key("detail")
}

fn programs(workspace: &Workspace, packages: &[&str]) -> Command {
    let mut build = workspace.cargo(&["build", "--quiet", "--release", "--locked", "--bins"]);
    build.args(packages.iter().flat_map(|package| ["-p", package]));
    build
}

fn benches(workspace: &Workspace) -> Command {
    workspace.cargo(&["run", "--quiet", "--release", "--locked", "-p", "bench", "--bin", "bench", "--"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bench_must_print_a_result() {
        let result = r#"{"bench":"a","value":1,"unit":"s","detail":{}}"#;
        assert_eq!(judge(true, result), Outcome::passed(1));
        assert_eq!(judge(true, "warming up").failed, 1);
        assert_eq!(judge(false, "a: it broke\n").remark, "a: it broke");
        assert_eq!(judge(false, "tap-nginx: debootstrap: no network\n").not_run, 1);
    }

    #[test]
    fn a_result_has_four_members() {
        assert!(is_result(r#"{"bench":"seal-ratio","value":0.7,"unit":"ratio","detail":{}}"#));
        assert!(!is_result(r#"{"bench":"seal-ratio","value":"fast","unit":"ratio","detail":{}}"#));
        assert!(!is_result(r#"{"bench":"seal-ratio","value":0.7,"unit":"ratio"}"#));
        assert!(!is_result("warming up"));
    }
}
