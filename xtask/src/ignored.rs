//! Tests that `cargo test` does not run by itself, and who runs them instead.
//!
//! An ignored test nobody runs is a lie. Each `#[ignore = "reason"]` gives one of the reasons of [`Reason`], and
//! `cargo xtask test` runs the tests of each reason where they can run, or says why it could not.

use crate::source;
use std::path::{Path, PathBuf};

/// Why a test cannot run everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Needs a network namespace of its own; the root of a user namespace will do.
    Root,
    /// Needs the machine's root, because it becomes other users.
    RealRoot,
    /// Takes long; run in release.
    Slow,
    /// Prints a measurement, and is no test: run by hand, never counted.
    Measures,
}

impl Reason {
    /// Every reason, as written in the attribute.
    pub(crate) const ALL: [(&'static str, Self); 4] = [
        ("needs root", Self::Root),
        ("needs the machine's root", Self::RealRoot),
        ("takes long", Self::Slow),
        ("measures", Self::Measures),
    ];

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, reason)| *reason)
    }
}

/// An ignored test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ignored {
    /// The file it is in.
    pub(crate) file: PathBuf,
    /// Line of the attribute.
    pub(crate) line: usize,
    /// The function's name; of functions that a macro names, the module they are in (`links::`). Either is a part of the
    /// test's path, and chooses it.
    pub(crate) name: String,
    /// Why, if the reason is one we know.
    pub(crate) reason: Option<Reason>,
}

/// The ignored tests below `root`.
pub(crate) fn below(root: &Path) -> Vec<Ignored> {
    source::files(root, &["rs"])
        .into_iter()
        .flat_map(|file| {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            in_source(&file, &text)
        })
        .collect()
}

/// The ignored tests in one file.
pub(crate) fn in_source(file: &Path, text: &str) -> Vec<Ignored> {
    let code = source::code_only(text);
    let code_lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (index, (line, code)) in text.lines().zip(&code_lines).enumerate() {
        let Some(attribute) = code.find("#[ignore") else { continue };
        let reason = line[attribute..].split('"').nth(1).and_then(Reason::parse);
        let name = code_lines[index..]
            .iter()
            .find_map(|line| line.split_once("fn ").map(|(_, rest)| rest))
            .and_then(|rest| rest.split(['(', '<', ' ']).next())
            .unwrap_or("?");
        let name = if name.starts_with('$') { module(file) } else { name.to_owned() };
        found.push(Ignored { file: file.to_path_buf(), line: index + 1, name, reason });
    }
    found
}

/// The module that a file is, as it stands in the paths of its tests.
fn module(file: &Path) -> String {
    format!("{}::", file.file_stem().unwrap_or_default().to_string_lossy())
}

/// Whether the test at `path` is meant by `name`: a function's, a module's (`links::`), or the end of a path.
pub(crate) fn is_named(path: &str, name: &str) -> bool {
    let (path, name) = (format!("::{path}"), format!("::{name}"));
    if name.ends_with("::") { path.contains(&name) } else { path.ends_with(&name) }
}

/// Those of a test program's ignored tests that nobody knows of: `paths` are all, and `known` names those that are run, or
/// said not to be.
pub(crate) fn orphans<'a>(paths: &'a [String], known: &[&str]) -> Vec<&'a str> {
    let is_orphan = |path: &&str| !known.iter().any(|name| is_named(path, name));
    paths.iter().map(String::as_str).filter(is_orphan).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_a_macro_names_are_known_by_their_module() {
        let text = "#[test]\n#[ignore = \"needs root\"]\nfn $name() {}\n";
        assert_eq!(in_source(Path::new("src/links.rs"), text)[0].name, "links::");
    }

    #[test]
    fn an_ignored_test_that_nobody_runs_is_an_orphan() {
        let paths = ["links::own::a", "wide::b", "wide::ab"].map(str::to_owned);
        assert_eq!(orphans(&paths, &["links::", "b"]), ["wide::ab"]);
        assert_eq!(orphans(&paths, &["links::", "b", "wide::ab"]), [""; 0]);
    }

    #[test]
    fn an_ignored_test_is_found_with_its_reason_and_name() {
        let text = "#[test]\n#[ignore = \"needs root\"]\nfn a_frame_crosses() {}\n";
        let found = in_source(Path::new("x.rs"), text);
        assert_eq!(
            found,
            [Ignored {
                file: "x.rs".into(),
                line: 2,
                name: "a_frame_crosses".into(),
                reason: Some(Reason::Root)
            }]
        );
    }

    #[test]
    fn a_missing_or_unknown_reason_is_none() {
        let text = "#[ignore]\nfn a() {}\n#[ignore = \"flaky\"]\nfn b() {}\n";
        assert!(in_source(Path::new("x.rs"), text).iter().all(|ignored| ignored.reason.is_none()));
    }

    #[test]
    fn a_mention_in_a_comment_or_a_string_is_not_a_test() {
        let text = "// #[ignore = \"needs root\"]\nlet x = \"#[ignore]\";\n";
        assert_eq!(in_source(Path::new("x.rs"), text), []);
    }
}
