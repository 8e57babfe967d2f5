//! The rules of the house that a compiler does not know.
//!
//! ```text
//! graph      who may use whom, and no I/O in proto and engine      house.rs
//! licences   of everything we link                                 licences.rs
//! manifests  description, shared lints, module doc                 tidy/manifests.rs
//! sources    length, unsafe, ignored tests, forbidden words        tidy/sources.rs
//! documents  links that lead somewhere, rooms and libraries named  tidy/documents.rs
//! ```

mod documents;
mod manifests;
mod sources;

use crate::steps::{Outcome, Report};
use crate::workspace::Workspace;
use crate::{house, licences};

/// Runs every rule as a step.
pub(crate) fn run(workspace: &Workspace, report: &mut Report) {
    rule(report, "tidy graph", house::violations(&workspace.root, &workspace.members));
    rule(report, "tidy licences", licences::violations(&workspace.externals));
    rule(report, "tidy manifests", manifests::violations(workspace));
    rule(report, "tidy sources", sources::violations(&workspace.root));
    rule(report, "tidy documents", documents::violations(workspace));
}

fn rule(report: &mut Report, name: &str, violations: Vec<String>) {
    report.step(name, |step| {
        for violation in &violations {
            step.note(violation);
        }
        if violations.is_empty() {
            Outcome::passed(1)
        } else {
            Outcome::failed(1, format!("{} broken: {}", plural(violations.len()), violations[0]))
        }
    });
}

fn plural(count: usize) -> String {
    if count == 1 { "one rule".to_owned() } else { format!("{count} rules") }
}
