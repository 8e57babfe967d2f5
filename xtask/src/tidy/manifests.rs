//! Every package says what it is, and takes the lints of the workspace.

use crate::house::{self, Unsafety};
use crate::source;
use crate::workspace::{Package, Workspace};
use std::path::Path;

/// Packages of `proto` that must build without `std`, so that "no I/O" is a fact and not a promise.
const WITHOUT_STD: &[&str] = &["clock", "wire", "tcp", "tls"];

/// What the packages do not say, one sentence each.
pub(crate) fn violations(workspace: &Workspace) -> Vec<String> {
    workspace.members.values().flat_map(|package| of_package(&workspace.root, package)).collect()
}

fn of_package(root: &Path, package: &Package) -> Vec<String> {
    let name = &package.name;
    let mut found = Vec::new();
    if package.description.as_deref().unwrap_or_default().is_empty() {
        found.push(format!("{name}: has no description"));
    }
    let manifest = std::fs::read_to_string(&package.manifest_path).unwrap_or_default();
    if !manifest.contains("[lints]\nworkspace = true") {
        found.push(format!("{name}: does not take the workspace's lints"));
    }
    for target in package.targets.iter().filter(|target| target.is_crate_root()) {
        let text = std::fs::read_to_string(&target.src_path).unwrap_or_default();
        let file = target.src_path.strip_prefix(root).unwrap_or(&target.src_path).display().to_string();
        found.extend(of_crate_root(name, &file, &text));
    }
    found
}

fn of_crate_root(package: &str, file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push(format!("{file}: does not begin by saying what it is for"));
    }
    let code = source::code_only(text);
    let unsafety = house::room_of(package).map_or(Unsafety::Forbidden, |room| room.unsafety);
    let forbids = matches!(unsafety, Unsafety::Forbidden | Unsafety::Tests(_));
    if forbids && !code.contains("#![forbid(unsafe_code)]") {
        found.push(format!("{file}: does not forbid unsafe code, and {package} is no unsafe room"));
    }
    let without_std = code.contains("#![no_std]") || code.contains("#![cfg_attr(not(test), no_std)]");
    if WITHOUT_STD.contains(&package) && !without_std {
        found.push(format!("{file}: is not no_std"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_root_in_order_is_left_in_peace() {
        let root = "//! Frames.\n#![no_std]\n#![forbid(unsafe_code)]\n";
        assert_eq!(of_crate_root("wire", "proto/wire/src/lib.rs", root), Vec::<String>::new());
    }

    #[test]
    fn a_crate_root_that_says_nothing_breaks_three_rules() {
        assert_eq!(of_crate_root("wire", "proto/wire/src/lib.rs", "pub fn f() {}").len(), 3);
    }

    #[test]
    fn forbidding_in_a_comment_is_not_forbidding() {
        let root = "//! #![forbid(unsafe_code)]\n";
        assert_eq!(of_crate_root("http", "proto/http/src/lib.rs", root).len(), 1);
    }

    #[test]
    fn an_unsafe_room_need_not_forbid() {
        assert_eq!(of_crate_root("dma", "machine/dma/src/lib.rs", "//! Frames.\n"), Vec::<String>::new());
    }
}
