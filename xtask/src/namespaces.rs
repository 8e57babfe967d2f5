//! Tests that need root, in network, mount and process namespaces that end with them.
//!
//! ```text
//! names in the sources ─▶ paths that the test programs list ─▶ runs of a few tests ─┬─▶ namespaces ─┐
//!                  a name without a path, a path without a name: failed             └─▶ namespaces ─┴─▶ counted
//! ```
//!
//! Tests of real clients wait more than they compute, and two runs of them go on at once, each in namespaces of its own.

use crate::ignored::{self, Ignored, Reason};
use crate::lanes;
use crate::packages;
use crate::steps::{Outcome, Report, Step};
use crate::test::{by_package, tests};
use crate::workspace::Workspace;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use testbed::Privilege;

/// Runs of real clients' tests that go on at once.
const LANES: usize = 2;
/// A run is no longer than this, so that the last one does not keep everybody waiting.
const RUN_TESTS_MAX: usize = 5;

/// Tests that need root, each package in namespaces of its own.
///
/// With `everything` the tests of the whole workspace have been built already, as it asks for them: what is asked for package
/// by package would be built once more, with other features of what they have in common.
pub(crate) fn run(
    workspace: &Workspace,
    ignored: &[Ignored],
    only: Option<&str>,
    everything: bool,
    report: &mut Report,
) {
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
    let mut steps = Vec::new();
    for (package, tests_of) in packages {
        let mut chosen = Chosen { only: only.map(str::to_owned), ..Chosen::default() };
        let mut spared = BTreeMap::<String, u64>::new();
        for test in tests_of.iter().filter(|test| only.is_none_or(|part| is_meant(test, part))) {
            match obstacle(test, &privilege, &missing) {
                Some(why) => *spared.entry(why).or_default() += 1,
                None => {
                    let again = with_sandstorm(&package, test).map(|name| ("sandstorm", name));
                    for (server, name) in again.into_iter().chain([("atlas", test.name.clone())]) {
                        chosen.by_server.entry(server).or_default().push(name);
                    }
                }
            }
        }
        for (why, count) in spared {
            report.step(&format!("namespaces {package}, {count} tests"), |_| Outcome::not_run(count, why));
        }
        if !chosen.by_server.is_empty() {
            steps.push((package, chosen));
        }
    }
    if steps.is_empty() {
        return;
    }
    let packages: Vec<&str> =
        if everything { Vec::new() } else { steps.iter().map(|(package, _)| package.as_str()).collect() };
    let mut executables = Vec::new();
    report.step("build the tests", |step| match build(workspace, step, &packages) {
        Ok(built) => {
            executables = built;
            Outcome::passed(1)
        }
        Err(why) => Outcome::failed(1, why),
    });
    for (package, chosen) in steps.iter().filter(|_| !executables.is_empty()) {
        let known = ignored_in(workspace, ignored, package);
        let home = workspace.members.get(package).and_then(|package| package.manifest_path.parent());
        let of_package: Vec<_> =
            executables.iter().filter(|(_, directory)| Some(directory.as_path()) == home).cloned().collect();
        report.step(&format!("namespaces {package}"), |step| {
            inside(workspace, step, &privilege, package, of_package, chosen, &known)
        });
    }
}

/// Whether `part` of a path may be meant for this test: of a macro's only the module is known.
fn is_meant(test: &Ignored, part: &str) -> bool {
    let last = part.rsplit("::").find(|word| !word.is_empty()).unwrap_or(part);
    test.name.contains(last)
        || module_of(&test.file).contains(last)
        || (test.name.ends_with("::") && part.contains("::"))
}

fn module_of(file: &Path) -> &str {
    file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
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
    let text = std::fs::read_to_string(&test.file).unwrap_or_default();
    let lacking: Vec<&str> = missing.iter().copied().filter(|tool| starts(&test.file, &text, tool)).collect();
    (!lacking.is_empty())
        .then(|| format!("{} is not installed: cargo xtask install, as root", lacking.join(", ")))
}

/// Whether the tests of a file start a program: it is named after the file, or in it as a word of its own.
fn starts(file: &Path, text: &str, tool: &str) -> bool {
    module_of(file) == tool || text.contains(&format!("\"{tool}\""))
}

/// How a test of real clients is named among all of the package's, if it is about what every server of the web promises:
/// then it is run with Sandstorm too. It is so by its file, but for what is about Atlas's page, its disk, or its name.
fn with_sandstorm(package: &str, test: &Ignored) -> Option<String> {
    const FILES: [&str; 12] = [
        "beside",
        "curl",
        "lifecycle",
        "links",
        "loss",
        "openssl",
        "privileges",
        "sockets",
        "storms",
        "together",
        "visible",
        "wrk",
    ];
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

/// Runs those tests of a package that are chosen.
fn inside(
    workspace: &Workspace,
    step: &mut Step,
    privilege: &Privilege,
    package: &str,
    executables: Vec<(PathBuf, PathBuf)>,
    chosen: &Chosen,
    known: &[&str],
) -> Outcome {
    let mut programs = Vec::new();
    for (executable, directory) in executables {
        let mut list = Command::new(&executable);
        list.args(["--list", "--ignored", "--format", "terse"]).current_dir(&directory);
        let Some((_, listed)) = step.answer(list) else {
            return Outcome::failed(1, format!("{} does not start", executable.display()));
        };
        let paths =
            listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect();
        programs.push(Program { executable, directory, paths });
    }
    let (runs, mut total) = plan(&programs, chosen, known);
    // What the tests of other packages say of time is said of a machine that does nothing else.
    let lanes = if package == "interop" { LANES.min(cores()) } else { 1 };
    let outcomes = lanes::run(step, lanes, runs, |step, run| {
        let mut command = privilege.inside(&run.program.executable);
        command
            .args(["--ignored", "--exact", "--test-threads=1"])
            .args(&run.paths)
            .current_dir(&run.program.directory)
            .env("INTEROP_SERVER", run.server)
            .env("ATLAS_BIN", workspace.target.join("release/atlas"))
            .env("SANDSTORM_BIN", workspace.target.join("release/sandstorm"))
            .env("NAMESTORM_BIN", workspace.target.join("release/namestorm"))
            .env("ATLAS_ARTEFACTS", workspace.target.join("artefacts"))
            .env("ATLAS_VIDEO", workspace.root.join("examples/video"));
        let outcome = tests(step, command);
        judge(run, outcome)
    });
    for outcome in outcomes {
        total.passed += outcome.passed;
        total.failed += outcome.failed;
        if outcome.failed > 0 {
            total.remark = outcome.remark;
        }
    }
    total
}

/// A test program, and the paths of its ignored tests.
#[derive(Debug)]
struct Program {
    executable: PathBuf,
    directory: PathBuf,
    paths: Vec<String>,
}

/// What is to be run: names of tests, with each server that they are run with.
#[derive(Debug, Default)]
struct Chosen {
    by_server: BTreeMap<&'static str, Vec<String>>,
    /// Of these only tests whose path contains this.
    only: Option<String>,
}

/// Tests of one program that run one after the other, in namespaces of their own.
#[derive(Debug)]
struct Run<'a> {
    program: &'a Program,
    server: &'static str,
    paths: Vec<&'a str>,
}

/// Who runs what; failed are the tests that nobody would run, and the names that name no test.
fn plan<'a>(programs: &'a [Program], chosen: &Chosen, known: &[&str]) -> (Vec<Run<'a>>, Outcome) {
    let mut outcome = Outcome::passed(0);
    let mut fail = |why: String| {
        outcome.failed += 1;
        outcome.remark = why;
    };
    let orphans = programs.iter().flat_map(|program| ignored::orphans(&program.paths, known));
    orphans.for_each(|path| fail(format!("ignored, and run by nobody: {path}")));
    let mut runs = Vec::new();
    for (server, names) in &chosen.by_server {
        for name in names {
            if !programs.iter().flat_map(|program| &program.paths).any(|path| ignored::is_named(path, name)) {
                fail(format!("chosen, and in no test program: {name}"));
            }
        }
        for program in programs {
            let is_chosen = |path: &&str| {
                names.iter().any(|name| ignored::is_named(path, name))
                    && chosen.only.as_ref().is_none_or(|part| path.contains(part.as_str()))
            };
            let paths: Vec<&str> = program.paths.iter().map(String::as_str).filter(is_chosen).collect();
            for of_module in paths.chunk_by(|one, other| module(one) == module(other)) {
                let run = |paths: &[&'a str]| Run { program, server, paths: paths.to_vec() };
                runs.extend(of_module.chunks(RUN_TESTS_MAX).map(run));
            }
        }
    }
    (runs, outcome)
}

/// The module that a test is in.
fn module(path: &str) -> &str {
    path.rsplit_once("::").map_or("", |(module, _)| module)
}

/// What became of a run. Every test of it was asked for by its whole path: one that did not run failed, whatever the program
/// says of itself.
fn judge(run: &Run<'_>, outcome: Outcome) -> Outcome {
    let (asked, ran) = (run.paths.len() as u64, outcome.passed + outcome.failed);
    let silent = asked.saturating_sub(ran);
    let remark = match (silent, outcome.failed) {
        (0, 0) => outcome.remark,
        (0, _) => format!("with {}: {}", run.server, outcome.remark),
        _ => format!(
            "with {}: {silent} of {} did not run: {}",
            run.server,
            run.paths.join(", "),
            outcome.remark
        ),
    };
    Outcome { failed: outcome.failed + silent, remark, ..outcome }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, core::num::NonZero::get)
}

/// Builds the test programs of these packages, or of all of them: with the directory that each is run in.
fn build(
    workspace: &Workspace,
    step: &mut Step,
    packages: &[&str],
) -> Result<Vec<(PathBuf, PathBuf)>, String> {
    let mut command =
        workspace.cargo(&["test", "--locked", "--no-run", "--message-format=json-render-diagnostics"]);
    command.args(packages.is_empty().then_some("--workspace"));
    command.args(packages.iter().flat_map(|package| ["-p", package]));
    let (status, text) = step.answer(command).ok_or("cargo could not be started")?;
    let built: Vec<_> = text.lines().filter_map(test_program).collect();
    if status.success() && !built.is_empty() { Ok(built) } else { Err("the tests do not build".to_owned()) }
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

    fn program(paths: &[&str]) -> Program {
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        Program { executable: "/t/a".into(), directory: "/a".into(), paths }
    }

    fn chosen(names: &[(&'static str, &str)]) -> Chosen {
        let mut chosen = Chosen::default();
        for (server, name) in names {
            chosen.by_server.entry(server).or_default().push((*name).to_owned());
        }
        chosen
    }

    #[test]
    fn each_server_has_its_own_runs_of_few_tests_of_one_module() {
        let programs = [program(&["curl::a", "curl::b", "links::own::c", "links::own::d", "links::own::ab"])];
        let chosen =
            chosen(&[("atlas", "a"), ("atlas", "b"), ("atlas", "links::"), ("sandstorm", "curl::b")]);
        let (runs, outcome) = plan(&programs, &chosen, &["a", "b", "links::"]);
        assert_eq!(outcome, Outcome::passed(0));
        let runs: Vec<_> = runs.iter().map(|run| (run.server, run.paths.as_slice())).collect();
        assert_eq!(
            runs,
            [
                ("atlas", &["curl::a", "curl::b"][..]),
                ("atlas", &["links::own::c", "links::own::d", "links::own::ab"]),
                ("sandstorm", &["curl::b"]),
            ]
        );
        let many: Vec<String> = (0..RUN_TESTS_MAX + 1).map(|number| format!("m::t{number}")).collect();
        let programs = [program(&many.iter().map(String::as_str).collect::<Vec<_>>())];
        assert_eq!(plan(&programs, &self::chosen(&[("atlas", "m::")]), &["m::"]).0.len(), 2);
    }

    #[test]
    fn a_name_that_no_program_lists_and_a_test_that_nobody_names_fail() {
        let programs = [program(&["curl::a"]), program(&["b", "c"])];
        let (runs, outcome) =
            plan(&programs, &chosen(&[("atlas", "a"), ("atlas", "b"), ("atlas", "gone")]), &["a", "b"]);
        assert_eq!((runs.len(), outcome.failed), (2, 2), "{outcome:?}");
    }

    #[test]
    fn a_test_that_did_not_run_fails_though_its_program_is_content() {
        let program = program(&["curl::a", "curl::b"]);
        let run = Run { program: &program, server: "sandstorm", paths: vec!["curl::a", "curl::b"] };
        assert_eq!(judge(&run, Outcome::passed(2)).failed, 0);
        let outcome = judge(&run, Outcome::passed(1));
        assert_eq!((outcome.passed, outcome.failed), (1, 1));
        assert!(outcome.remark.contains("sandstorm") && outcome.remark.contains("curl::b"), "{outcome:?}");
        // One that crashed said nothing of the others.
        assert_eq!(judge(&run, Outcome::failed(1, "signal: 6")).failed, 2);
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
