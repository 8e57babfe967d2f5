//! Tests that need root, in network, mount and process namespaces that end with them.

use crate::ignored::{self, Ignored, Reason};
use crate::packages;
use crate::steps::{Outcome, Report, Step};
use crate::test::{by_package, tests};
use crate::workspace::Workspace;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use testbed::Privilege;

/// Tests that need root, each package in namespaces of its own.
pub(crate) fn run(workspace: &Workspace, ignored: &[Ignored], only: Option<&str>, report: &mut Report) {
    let privilege = Privilege::detect();
    let packages = by_package(workspace, ignored, &[Reason::Root, Reason::RealRoot]);
    if let Privilege::None(why) = &privilege {
        let count = packages.values().map(Vec::len).sum::<usize>() as u64;
        report.step("namespaces", |_| Outcome::not_run(count, why));
        return;
    }
    let programs = [
        "build",
        "--release",
        "--locked",
        "-p",
        "atlas",
        "-p",
        "sandstorm",
        "-p",
        "namestorm",
        "-p",
        "middlebox",
        "--bins",
    ];
    if !report.command("build the programs", workspace.cargo(&programs)) {
        return;
    }
    let missing = packages::missing();
    for (package, tests_of) in packages {
        let (mut chosen, mut spared) = (Vec::new(), BTreeMap::<String, u64>::new());
        let mut again = Vec::new();
        for test in tests_of.iter().filter(|test| only.is_none_or(|part| test.name.contains(part))) {
            match obstacle(test, &privilege, &missing) {
                Some(why) => *spared.entry(why).or_default() += 1,
                None => {
                    again.extend(with_sandstorm(&package, test));
                    chosen.push(test.name.clone());
                }
            }
        }
        for (why, count) in spared {
            report.step(&format!("namespaces {package}, {count} tests"), |_| Outcome::not_run(count, why));
        }
        if !chosen.is_empty() {
            let known = ignored_in(workspace, ignored, &package);
            report.step(&format!("namespaces {package}"), |step| {
                inside(workspace, step, &privilege, &package, (&chosen, &again), &known)
            });
        }
    }
}

/// Parts of the paths of all ignored tests of a package, for whatever reason.
fn ignored_in<'a>(workspace: &Workspace, ignored: &'a [Ignored], package: &str) -> Vec<&'a str> {
    let all = Reason::ALL.map(|(_, reason)| reason);
    let mut packages = by_package(workspace, ignored, &all);
    packages.remove(package).unwrap_or_default().into_iter().map(|test| test.name.as_str()).collect()
}

/// Why a test cannot run here, if it cannot.
fn obstacle(test: &Ignored, privilege: &Privilege, missing: &[&str]) -> Option<String> {
    if test.reason == Some(Reason::RealRoot) && *privilege != Privilege::Root {
        return Some("becomes other users, which only the machine's root may".to_owned());
    }
    // A file of tests is named after the client it starts.
    let client = test.file.file_stem()?.to_str()?;
    missing.contains(&client).then(|| format!("{client} is not installed: cargo xtask install, as root"))
}

/// How a test of real clients is named among all of the package's, if it is about what every server of the web promises:
/// then it is run with Sandstorm too. It is so by its file, but for what is about Atlas's page, its disk, or its name.
fn with_sandstorm(package: &str, test: &Ignored) -> Option<String> {
    const FILES: [&str; 8] =
        ["curl", "openssl", "wrk", "links", "sockets", "lifecycle", "privileges", "visible"];
    const ATLAS_ONLY: [&str; 4] = [
        "the_page_at_the_root_needs_nobody_else",
        "a_file_that_shrinks_ends_its_own_connection_and_no_other",
        "top_shows_a_server_on_a_terminal_and_leaves_when_it_is_told",
        "whoever_asks_where_nobody_is_is_told_in_one_line",
    ];
    let file = test.file.file_stem()?.to_str()?;
    if package != "interop" || !FILES.contains(&file) || ATLAS_ONLY.contains(&test.name.as_str()) {
        return None;
    }
    // A macro's tests are named by their module already.
    Some(if test.name.ends_with("::") { test.name.clone() } else { format!("{file}::{}", test.name) })
}

/// Builds the tests of one package outside, and runs those chosen inside.
fn inside(
    workspace: &Workspace,
    step: &mut Step,
    privilege: &Privilege,
    package: &str,
    (chosen, again): (&[String], &[String]),
    known: &[&str],
) -> Outcome {
    let mut total = Outcome::passed(0);
    let executables = match executables(workspace, step, package) {
        Ok(executables) => executables,
        Err(why) => return Outcome::failed(1, why),
    };
    for (executable, directory) in executables {
        let mut list = Command::new(&executable);
        list.args(["--list", "--ignored", "--format", "terse"]).current_dir(&directory);
        let Some((_, listed)) = step.answer(list) else {
            return Outcome::failed(1, format!("{} does not start", executable.display()));
        };
        let orphans = ignored::orphans(&listed, known);
        if !orphans.is_empty() {
            total.failed += orphans.len() as u64;
            total.remark = format!("ignored, and run by nobody: {}", orphans.join(", "));
        }
        for (chosen, server) in [(chosen, "atlas"), (again, "sandstorm")] {
            if chosen.is_empty() {
                continue;
            }
            let mut command = privilege.inside(&executable);
            command
                .args(["--ignored", "--test-threads=1"])
                .args(chosen)
                .current_dir(&directory)
                .env("INTEROP_SERVER", server)
                .env("ATLAS_BIN", workspace.target.join("release/atlas"))
                .env("SANDSTORM_BIN", workspace.target.join("release/sandstorm"))
                .env("NAMESTORM_BIN", workspace.target.join("release/namestorm"))
                .env("ATLAS_ARTEFACTS", workspace.target.join("artefacts"))
                .env("ATLAS_VIDEO", workspace.root.join("examples/video"));
            let outcome = tests(step, command);
            total.passed += outcome.passed;
            total.failed += outcome.failed;
            if outcome.failed > 0 {
                total.remark = format!("with {server}: {}", outcome.remark);
            }
        }
    }
    let ran = total.passed + total.failed;
    if ran < chosen.len() as u64 {
        // Each was chosen because it is there; one that did not run must not go unnoticed.
        total.failed += 1;
        total.remark = format!("{} tests were chosen, {ran} ran", chosen.len());
    }
    total
}

/// The test programs of a package, with the directory they are run in.
fn executables(
    workspace: &Workspace,
    step: &mut Step,
    package: &str,
) -> Result<Vec<(PathBuf, PathBuf)>, String> {
    let build = ["test", "--locked", "-p", package, "--no-run", "--message-format=json-render-diagnostics"];
    let (status, text) = step.answer(workspace.cargo(&build)).ok_or("cargo could not be started")?;
    if !status.success() {
        return Err(format!("the tests of {package} do not build"));
    }
    Ok(text.lines().filter_map(test_program).collect())
}

/// What cargo says of a thing it built, if that is a test program. An integration test also has the package's programs
/// built, which are none.
fn test_program(line: &str) -> Option<(PathBuf, PathBuf)> {
    #[derive(Deserialize)]
    struct Message {
        reason: String,
        executable: Option<PathBuf>,
        manifest_path: Option<PathBuf>,
        profile: Option<Profile>,
    }
    #[derive(Deserialize)]
    struct Profile {
        test: bool,
    }
    let message: Message = serde_json::from_str(line).ok()?;
    let is_test =
        message.reason == "compiler-artifact" && message.profile.is_some_and(|profile| profile.test);
    let directory = message.manifest_path?.parent().map(Path::to_path_buf)?;
    is_test.then_some((message.executable?, directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_no_test_program() {
        let said = |test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/a/Cargo.toml","profile":{{"test":{test}}},"executable":"/t/a"}}"#
            )
        };
        assert_eq!(test_program(&said(true)), Some(("/t/a".into(), "/a".into())));
        assert_eq!(test_program(&said(false)), None);
        assert_eq!(test_program("Compiling a"), None);
    }

    fn ignored(file: &str, reason: Reason) -> Ignored {
        Ignored { file: file.into(), line: 1, name: "a_test".to_owned(), reason: Some(reason) }
    }

    #[test]
    fn what_every_server_of_the_web_promises_is_asked_of_sandstorm_too() {
        let with = |file: &str, name: &str| {
            let test = Ignored { name: name.to_owned(), ..ignored(file, Reason::Root) };
            with_sandstorm("interop", &test)
        };
        assert_eq!(with("src/clients/curl.rs", "a_test"), Some("curl::a_test".to_owned()));
        assert_eq!(with("src/links.rs", "links::"), Some("links::".to_owned()));
        assert_eq!(with("src/clients/dig.rs", "a_test"), None);
        assert_eq!(with("src/lifecycle.rs", "the_page_at_the_root_needs_nobody_else"), None);
    }

    #[test]
    fn a_test_whose_client_is_missing_says_so() {
        let test = ignored("tests/interop/src/clients/chromium.rs", Reason::Root);
        assert_eq!(obstacle(&test, &Privilege::Root, &["wrk"]), None);
        assert!(
            obstacle(&test, &Privilege::Root, &["chromium"]).is_some_and(|why| why.contains("not installed"))
        );
    }

    #[test]
    fn a_test_that_becomes_other_users_needs_the_real_root() {
        let test = ignored("tests/interop/src/operator.rs", Reason::RealRoot);
        assert_eq!(obstacle(&test, &Privilege::Root, &[]), None);
        assert!(obstacle(&test, &Privilege::UserNamespace, &[]).is_some());
    }
}
