//! The commands that need no network, as an operator runs them before a server is told anything.

#![forbid(unsafe_code)]
#![cfg(test)]

use std::path::PathBuf;
use std::process::{Command, Output};

/// The zone and the tables that the documentation begins with.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/zones");

fn namestorm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_namestorm")).args(arguments).output().expect("the program runs")
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// A directory that goes when the test does.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("namestorm-command-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory of ours");
        Self(directory)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file of ours");
        path.to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_zone_of_the_examples_is_whole_and_answers() {
    let file = format!("{EXAMPLES}/example.zone");
    let checked = namestorm(&["check", &file]);
    assert!(checked.status.success(), "{checked:?}");
    assert!(words(&checked.stdout).contains("example: serial 2026112001, 27 names"), "{checked:?}");
    let zone = format!("example={file}");
    let answered = namestorm(&["query", "--zone", &zone, "foo.cdn.example", "AAAA"]);
    assert!(words(&answered.stdout).contains("video.example. 3600 IN AAAA 2001:db8:1::10"), "{answered:?}");
}

#[test]
fn the_configuration_of_the_examples_is_whole() {
    let checked = namestorm(&["check", "--config", &format!("{EXAMPLES}/namestorm.toml")]);
    assert!(checked.status.success(), "{checked:?}");
    let told = words(&checked.stdout);
    assert!(told.contains("example.: 27 names") && told.contains("steering.toml"), "{told}");
}

#[test]
fn a_configuration_is_checked_to_its_end_and_all_that_is_wrong_is_said() {
    let directory = Directory::new("wrong");
    directory.write("good.zone", "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n");
    directory.write("bad.zone", "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2\n");
    let config = directory.write(
        "namestorm.toml",
        "zone = [\"good=good.zone\", \"bad=bad.zone\", \"none=none.zone\"]\nsteering = \"none.toml\"\n",
    );
    let checked = namestorm(&["check", "--config", &config]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    let (told, last) = (words(&checked.stdout), words(&checked.stderr));
    assert!(told.contains("good.: 2 names"), "{told}");
    assert!(told.contains("bad.zone:4:"), "{told}");
    assert!(told.contains("none.zone") && told.contains("none.toml"), "{told}");
    assert_eq!(last, "namestorm: 3 of these cannot be served\n");
}

#[test]
fn a_zone_of_other_servers_that_is_not_here_yet_is_no_mistake() {
    let directory = Directory::new("absent");
    let config = directory.write(
        "namestorm.toml",
        "[[zone]]\nname = \"test\"\nfile = \"test.zone\"\nprimaries = [\"192.0.2.1\"]\n",
    );
    let checked = namestorm(&["check", "--config", &config]);
    assert!(checked.status.success(), "{checked:?}");
    assert!(words(&checked.stdout).contains("test.: not fetched yet"), "{checked:?}");
}

#[test]
fn doctor_says_what_the_machine_has_also_as_a_document() {
    let told = namestorm(&["doctor"]);
    assert!(words(&told.stdout).contains("TAP"), "{told:?}");
    let document = words(&namestorm(&["doctor", "--json"]).stdout);
    let document: serde_json::Value = serde_json::from_str(&document).expect("JSON");
    assert!(document["survey"].is_object() && document["choice"].is_object(), "{document}");
}

#[test]
fn a_mistake_on_the_command_line_is_one_line_and_status_2() {
    for arguments in [
        &["check"][..],
        &["check", "zone", "--config", "file"],
        &["doctor", "--link", "string"],
        &["serve"],
        &["query", "name"],
    ] {
        let refused = namestorm(arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {refused:?}");
        assert_eq!(words(&refused.stderr).lines().count(), 1, "{arguments:?}: {refused:?}");
    }
}
