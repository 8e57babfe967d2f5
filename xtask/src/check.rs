//! Formatting, lints, tidy and documentation, with warnings denied.

use crate::steps::Report;
use crate::tidy;
use crate::workspace::Workspace;

/// Runs them all; one failing does not spare the others.
pub(crate) fn run(workspace: &Workspace, report: &mut Report) {
    report.section("check");
    report.command("fmt", workspace.cargo(&["fmt", "--all", "--check", "--", "--color=never"]));
    report.command(
        "clippy",
        workspace.cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
    );
    tidy::run(workspace, report);
    let mut doc = workspace.cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    report.command("doc", doc);
}
