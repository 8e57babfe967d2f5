//! A network namespace for one test.

use super::process::{Process, output};
use core::sync::atomic::{AtomicU32, Ordering};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The calling thread, and the processes and threads it starts, live in a network namespace of their own until this is
/// dropped.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    home: File,
}

impl Namespace {
    /// Makes one, with loopback up, and moves in.
    pub(crate) fn enter() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("atlas-{}-{number}", std::process::id());
        let home = File::open("/proc/thread-self/ns/net").expect("our own namespace");
        run(&["netns", "add", &name]);
        let namespace = Self { name, home };
        let there = File::open(format!("/run/netns/{}", namespace.name)).expect("the new namespace");
        move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::Network)).expect("needs root");
        run(&["link", "set", "lo", "up"]);
        namespace
    }

    /// Devices, addresses, routes and neighbours, one per line: what a server may not change for good.
    pub(crate) fn inventory(&self) -> Vec<String> {
        let mut lines: Vec<String> = [
            &["-brief", "link"][..],
            &["-brief", "address"],
            &["-4", "route", "show", "table", "all"],
            &["-6", "route", "show", "table", "all"],
            &["neighbour"],
            &["rule"],
        ]
        .iter()
        .flat_map(|arguments| {
            let text = run(arguments);
            text.lines().map(|line| format!("{}: {}", arguments.join(" "), line.trim())).collect::<Vec<_>>()
        })
        .collect();
        lines.sort();
        lines
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Whatever fails here, the namespaces around the test program end with it.
        let _ = move_into_link_name_space(self.home.as_fd(), Some(LinkNameSpaceType::Network));
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

fn run(arguments: &[&str]) -> String {
    output(Process::new("ip").args(arguments)).stdout_text()
}
