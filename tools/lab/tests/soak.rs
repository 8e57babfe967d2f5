//! `lab soak`, for less than a minute: each server, one whose bytes are wrong, and one that is interrupted.

#![cfg(test)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says why by panicking")]

use core::time::Duration;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

/// Where the servers are: beside the one that is under test, or beside us.
fn programs() -> PathBuf {
    let named = std::env::var_os("ATLAS_BIN").map(PathBuf::from);
    named.unwrap_or_else(|| env!("CARGO_BIN_EXE_lab").into()).parent().unwrap().to_owned()
}

/// A directory for a soak's files, which has to be empty afterwards.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lab-test-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn soak(&self, programs: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
        command.arg("soak").args(arguments).arg("--programs").arg(programs).env("TMPDIR", &self.0);
        command
    }

    fn assert_empty(&self) {
        let left: Vec<_> = fs::read_dir(&self.0).unwrap().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Each of these faults once, and nothing that they do not explain.
fn survives(server: &str, faults: &str) {
    let place = Place::new(server);
    let report = std::env::temp_dir().join(format!("lab-test-{}-{server}.json", std::process::id()));
    let out = report.display().to_string();
    let arguments = [server, "--for", "24s", "--faults", faults, "-c", "16", "--out", &out];
    let output = place.soak(&programs(), &arguments).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let result: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    fs::remove_file(report).unwrap();
    let number = |path: &str| result.pointer(path).and_then(serde_json::Value::as_u64).unwrap_or(0);
    assert!(number("/requests") > 100 && number("/looks") > 20, "{result}");
    let rounds = result["rounds"].as_array().unwrap();
    assert!(rounds.len() > 3 && rounds.iter().all(|round| round["requests"].as_u64() > Some(0)), "{result}");
    place.assert_empty();
}

#[test]
#[ignore = "needs root"]
fn atlas_survives_half_a_minute_of_misfortunes() {
    survives("atlas", "kill,loss,deleted,truncated,resets");
}

#[test]
#[ignore = "needs root"]
fn sandstorm_survives_half_a_minute_of_misfortunes() {
    survives("sandstorm", "restart,burst,down,replaced,certificate");
}

#[test]
#[ignore = "needs root"]
fn namestorm_survives_half_a_minute_of_misfortunes() {
    survives("namestorm", "kill,loss,zone,broken-zone,half-open");
}

#[test]
#[ignore = "needs root"]
fn a_server_that_sends_a_wrong_byte_fails_with_the_line_that_does_it_again() {
    let place = Place::new("wrong");
    let liar = Place::new("liar");
    let real = programs();
    fs::copy(real.join("middlebox"), liar.0.join("middlebox")).unwrap();
    let script = format!(
        "#!/bin/sh\nset -e\nwhere={}/www; cp -r \"$2\" $where; shift 2\n\
         printf X | dd of=$where/s/9.bin bs=1 seek=200000 conv=notrunc status=none\n\
         exec {}/atlas serve $where \"$@\"\n",
        liar.0.display(),
        real.display()
    );
    fs::write(liar.0.join("atlas"), script).unwrap();
    fs::set_permissions(liar.0.join("atlas"), fs::Permissions::from_mode(0o755)).unwrap();
    let output = place.soak(&liar.0, &["atlas", "--for", "1s", "--faults", "calm", "--seed", "5"]).output();
    let output = output.unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/s/9.bin: byte 200000 is not the file's"), "{said}");
    assert!(said.contains("again: lab soak atlas --for 1s --seed 5"), "{said}");
    place.assert_empty();
}

#[test]
#[ignore = "needs root"]
fn an_interrupt_ends_with_the_report_so_far_and_leaves_nothing_behind() {
    let place = Place::new("interrupt");
    let mut command = place.soak(&programs(), &["sandstorm", "--for", "1h", "--faults", "calm"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_secs(5));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = said(&output);
    assert!(said.contains("as far as it came before it was stopped"), "{said}");
    assert!(said.contains("looks at its numbers") && output.status.code().is_some(), "{said}");
    place.assert_empty();
}

#[test]
fn what_cannot_be_soaked_is_said_in_one_line() {
    for (arguments, hint) in [
        (&["soak", "atlas", "--faults", "zone"][..], "nothing that can happen to atlas"),
        (&["soak", "atlas", "--for", "0s"], "at least a second"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_lab")).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.contains(hint), "{said}");
    }
}
