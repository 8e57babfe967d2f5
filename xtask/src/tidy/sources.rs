//! What a source file may not contain.

use crate::house::{self, Room, Unsafety};
use crate::{ignored, source};
use std::path::Path;

/// Longer files rot into monoliths; split them by concern.
const LINES_MAX: usize = 800;

/// Code that is not finished.
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!"];

/// Names of backends, which a server's library may not know: only its program chooses.
const BACKENDS: &[&str] = &["link_tap", "link_packet", "disk_uring", "netlink"];

/// What the files do that they may not, one sentence each.
pub(crate) fn violations(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in source::files(root, &["rs"]) {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        match std::fs::read_to_string(&file) {
            Ok(text) => found.extend(of_file(&name, &text)),
            Err(error) => found.push(format!("{name}: cannot be read: {error}")),
        }
    }
    found
}

fn of_file(name: &str, text: &str) -> Vec<String> {
    let code = source::code_only(text);
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        found.push(format!("{name}: {lines} lines; split it before {LINES_MAX}"));
    }
    for word in UNFINISHED {
        if let Some(line) = source::line_with_word(&code, word) {
            found.push(format!("{name}:{line}: {word} is not finished work"));
        }
    }
    if let Some(line) = source::line_with_word(&code, "unsafe")
        && !may_be_unsafe(name)
    {
        found.push(format!("{name}:{line}: unsafe outside the rooms of xtask/src/house.rs"));
    }
    for path in machine_paths() {
        if let Some(line) = text.lines().position(|line| line.contains(&path)) {
            found.push(format!("{name}:{}: {path} is a path of one machine", line + 1));
        }
    }
    for test in ignored::in_source(Path::new(name), text).iter().filter(|test| test.reason.is_none()) {
        let reasons: Vec<&str> = ignored::Reason::ALL.iter().map(|(reason, _)| *reason).collect();
        found.push(format!(
            "{name}:{}: {} is ignored without a reason that `cargo xtask test` knows ({})",
            test.line,
            test.name,
            reasons.join(", ")
        ));
    }
    if is_server_library(name) {
        for backend in BACKENDS {
            if let Some(line) = source::line_with_word(&code, backend) {
                found.push(format!("{name}:{line}: names {backend}; only a program names a backend"));
            }
        }
    }
    found
}

/// Paths that exist on a developer's machine only. Put together here so that this file does not contain them.
fn machine_paths() -> [String; 3] {
    ["home", "work", "root"].map(|directory| format!("/{directory}/"))
}

fn may_be_unsafe(name: &str) -> bool {
    // The fuzz targets' entry points come from a macro of libfuzzer and have no unsafe of their own.
    let Some(room) = room_of_file(name) else { return false };
    match room.unsafety {
        Unsafety::Forbidden => false,
        Unsafety::Room => true,
        Unsafety::Files(files) => name.split('/').any(|part| files.contains(&part)),
        Unsafety::Tests(files) => {
            name.contains("/tests/") && name.split('/').any(|part| files.contains(&part))
        }
    }
}

fn room_of_file(name: &str) -> Option<&'static Room> {
    house::ROOMS
        .iter()
        .find(|room| name.strip_prefix(room.directory).is_some_and(|rest| rest.starts_with('/')))
}

/// The library half of a server: its service and its pages.
fn is_server_library(name: &str) -> bool {
    name.starts_with("servers/")
        && (name.ends_with("/src/lib.rs") || name.contains("/src/service/") || name.contains("/src/page/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_work_is_left_in_peace() {
        let text = "//! Says `todo!` and unsafe in a comment only.\nfn f() -> &'static str { \"dbg!\" }\n";
        assert_eq!(of_file("proto/tcp/src/lib.rs", text), Vec::<String>::new());
    }

    #[test]
    fn a_file_of_801_lines_is_too_long() {
        assert_eq!(of_file("proto/tcp/src/a.rs", &"\n".repeat(LINES_MAX)), Vec::<String>::new());
        assert_eq!(of_file("proto/tcp/src/a.rs", &"\n".repeat(LINES_MAX + 1)).len(), 1);
    }

    #[test]
    fn unfinished_work_is_named_with_its_line() {
        let found = of_file("proto/tcp/src/a.rs", "fn f() {\n    todo!()\n}\n");
        assert_eq!(found, ["proto/tcp/src/a.rs:2: todo! is not finished work"]);
    }

    #[test]
    fn unsafe_has_an_address() {
        let text = "fn f() { unsafe { g() } }\n";
        assert_eq!(of_file("machine/dma/src/pool.rs", text), Vec::<String>::new());
        assert_eq!(of_file("machine/vnet/src/sys.rs", text), Vec::<String>::new());
        assert_eq!(of_file("machine/vnet/src/queue.rs", text).len(), 1);
        assert_eq!(of_file("engine/turn/src/lib.rs", text).len(), 1);
        assert_eq!(of_file("sim/tests/idle/heap.rs", text), Vec::<String>::new());
        assert_eq!(of_file("sim/src/heap.rs", text).len(), 1);
        assert_eq!(of_file("machine/dma-extra/src/lib.rs", text).len(), 1);
    }

    #[test]
    fn a_path_of_one_machine_is_refused_even_in_a_comment() {
        let [home, ..] = machine_paths();
        assert_eq!(of_file("sim/src/lib.rs", &format!("// see {home}me/notes\n")).len(), 1);
    }

    #[test]
    fn a_server_library_may_not_name_a_backend_but_its_program_may() {
        let text = "use link_tap::TapLink;\n";
        assert_eq!(of_file("servers/atlas/src/service/mod.rs", text).len(), 1);
        assert_eq!(of_file("servers/atlas/src/main.rs", text), Vec::<String>::new());
    }

    #[test]
    fn an_ignored_test_without_a_known_reason_is_refused() {
        assert_eq!(of_file("sim/src/a.rs", "#[ignore]\nfn slow() {}\n").len(), 1);
        assert_eq!(
            of_file("sim/src/a.rs", "#[ignore = \"needs root\"]\nfn slow() {}\n"),
            Vec::<String>::new()
        );
    }
}
