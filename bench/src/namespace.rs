//! Network namespaces of a bench's own, gone when it ends.

use std::fs::File;
use std::process::Command;

use crate::drain::Complaint;

/// A named network namespace, deleted when dropped.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one with loopback up.
    pub(crate) fn new(role: &str) -> Result<Self, Complaint> {
        let name = format!("bench-{}-{role}", std::process::id());
        run("ip", &["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// `ip -n NAME …`
    pub(crate) fn ip(&self, arguments: &[&str]) -> Result<(), Complaint> {
        let mut all = vec!["-n", &self.name];
        all.extend_from_slice(arguments);
        run("ip", &all)
    }

    /// Writes to a file of /proc or /sys as seen inside.
    pub(crate) fn write(&self, path: &str, value: &str) -> Result<(), Complaint> {
        run("ip", &["netns", "exec", &self.name, "sh", "-c", &format!("echo {value} > {path}")])
    }

    /// Moves this thread inside.
    pub(crate) fn enter(&self) -> Result<(), Complaint> {
        let file = File::open(format!("/run/netns/{}", self.name))?;
        let kind = rustix::thread::LinkNameSpaceType::Network;
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(kind))?;
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run("ip", &["netns", "del", &self.name]);
    }
}

/// Runs a command to its end; what it says is in the complaint.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<(), Complaint> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|why| format!("{program}: {why}: install the Debian package that has it"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), said.trim()).into())
}
