//! Exactly what CI runs.

use crate::steps::Report;
use crate::workspace::Workspace;
use crate::{bench, check, test};

/// Check, then test, then every bench once, quickly.
///
/// Fuzzing proper needs a build of its own, which would double the time this takes; what is fuzzed is still tested here,
/// by replaying every corpus and near misses of it (`tests/corpus`).
pub(crate) fn run(workspace: &Workspace, report: &mut Report) {
    report.end_with_two_counts();
    check::run(workspace, report);
    test::run(workspace, &test::Options::everything(), report);
    report.section("bench, briefly");
    bench::smoke(workspace, report);
}
