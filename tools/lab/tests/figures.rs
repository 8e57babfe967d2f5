//! Figures as an operator makes them: quick ones become a page with numbers, and a stop leaves nothing behind.

#![cfg(test)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says why by panicking")]

use core::time::Duration;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use lab::figures::record::Record;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

const LAB: &str = env!("CARGO_BIN_EXE_lab");

/// A directory for figures that is not there yet, and gone afterwards.
struct Out(PathBuf);

impl Out {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("lab-figures-{}-{name}", std::process::id())))
    }

    fn fig(&self, figures: &[&str]) -> Command {
        let mut command = Command::new(LAB);
        command.arg("fig").args(figures).arg("--quick").arg("--out").arg(&self.0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        command
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
#[ignore = "needs root"]
fn quick_figures_become_a_page_with_numbers() {
    let out = Out::new("page");
    let output = out.fig(&["2.6", "2.7", "4.9"]).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("3 of "), "{said}");
    for (id, curves) in [("2.6", 2), ("2.7", 1), ("4.9", 2)] {
        let text = fs::read_to_string(out.0.join(format!("{id}.json"))).unwrap();
        let record: Record = serde_json::from_str(&text).unwrap();
        assert!(!record.panels.is_empty() && !record.machine.is_empty(), "{id}");
        for panel in &record.panels {
            assert_eq!(panel.curves.len(), curves, "{id}{}: {:?}", panel.letter, record.remarks);
            for point in panel.curves.iter().flat_map(|curve| &curve.points) {
                let ordered = 0.0 <= point.least && point.least <= point.y && point.y <= point.most;
                assert!(ordered && point.most.is_finite(), "{id}{}: {point:?}", panel.letter);
            }
            assert!(panel.curves.iter().all(|curve| curve.points.len() > 1), "{id}{}", panel.letter);
            assert!(out.0.join(format!("{id}{}.svg", panel.letter)).exists());
        }
    }
    let report = Command::new(LAB).arg("report").arg(&out.0).output().unwrap();
    assert!(report.status.success());
    let page = fs::read_to_string(out.0.join("report.html")).unwrap();
    assert!(page.matches("<svg").count() >= 6, "a picture for each panel");
    for part in ["Figure 2.7", "nginx/", "worker_processes 1", "io_submit", "logical processors"] {
        assert!(page.contains(part), "{part} is missing");
    }
    assert_eq!(scratches(&out.0), 0);
}

#[test]
#[ignore = "needs root"]
fn a_stop_leaves_no_namespace_process_device_or_file() {
    let (names, devices) = (entries("/run/netns"), entries("/sys/class/net"));
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let what = format!("{signal:?}");
        let out = Out::new(&what);
        let mut lab = out.fig(&["2.8"]).stderr(Stdio::null()).spawn().unwrap();
        let inside = running(&lab);
        assert_eq!(scratches(&out.0), 1, "chunks lie on the disk meanwhile");
        let process = Pid::from_child(&lab);
        // A terminal's Ctrl-C reaches all of a group; the others are for the lab alone.
        let sent = if signal == Signal::INT {
            kill_process_group(process, signal)
        } else {
            kill_process(process, signal)
        };
        sent.unwrap();
        let status = lab.wait().unwrap();
        assert!(!status.success(), "{what}");
        // Who was killed has told nobody to wait.
        eventually(&what, || {
            let left = networks(all_processes());
            !out.0.exists() && inside.iter().all(|network| !left.contains(network))
        });
        assert_eq!((entries("/run/netns"), entries("/sys/class/net")), (names.clone(), devices.clone()));
    }
}

/// Waits until a server is running and being asked, and says in which networks the lab's processes are, but for ours.
fn running(lab: &Child) -> BTreeSet<PathBuf> {
    let ours = fs::read_link("/proc/self/ns/net").unwrap();
    let mut inside = BTreeSet::new();
    eventually("a server is running", || {
        inside = networks(descendants(lab.id()));
        inside.remove(&ours);
        // The lab's own inside, and the server's.
        inside.len() >= 2
    });
    thread::sleep(Duration::from_millis(300));
    inside
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn all_processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn parent(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn descendants(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let all: Vec<(u32, u32)> =
        all_processes().into_iter().filter_map(|process| Some((process, parent(process)?))).collect();
    let mut at = 0;
    while at < found.len() {
        let root = found[at];
        found.extend(all.iter().filter(|(_, parent)| *parent == root).map(|(process, _)| *process));
        at += 1;
    }
    found
}

fn networks(processes: Vec<u32>) -> BTreeSet<PathBuf> {
    processes
        .into_iter()
        .filter_map(|process| fs::read_link(format!("/proc/{process}/ns/net")).ok())
        .collect()
}

fn entries(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Directories with content for servers.
fn scratches(out: &Path) -> usize {
    let entries = fs::read_dir(out).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".lab-")).count()
}
