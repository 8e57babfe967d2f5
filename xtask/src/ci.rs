//! Exactly what CI runs.

use crate::steps::Report;
use crate::workspace::Workspace;
use crate::{bench, check, fuzz, test};

/// Check, then test, then a few seconds of each fuzz target and each bench.
pub(crate) fn run(workspace: &Workspace, report: &mut Report) {
    report.end_with_two_counts();
    check::run(workspace, report);
    test::run(workspace, &test::Options::everything(), report);
    report.section("fuzz, briefly");
    fuzz::smoke(workspace, report);
    report.section("bench, briefly");
    bench::smoke(workspace, report);
}
