//! Network namespaces of one's own, gone when their owner is.

use std::fs::File;
use std::process::Command;

use crate::TestbedError;

/// A named network namespace, deleted when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one with loopback up. The name holds our process id, so that two runs do not meet.
    ///
    /// # Errors
    /// Mostly for want of root.
    pub fn new(role: &str) -> Result<Self, TestbedError> {
        let name = format!("testbed-{}-{role}", std::process::id());
        run("ip", &["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, for `ip netns`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `ip -n NAME …`
    ///
    /// # Errors
    /// What `ip` says.
    pub fn ip(&self, arguments: &[&str]) -> Result<(), TestbedError> {
        let mut all = vec!["-n", &self.name];
        all.extend_from_slice(arguments);
        run("ip", &all)
    }

    /// Writes to a file of /proc or /sys as seen inside.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn write(&self, path: &str, value: &str) -> Result<(), TestbedError> {
        run("ip", &["netns", "exec", &self.name, "sh", "-c", &format!("echo {value} > {path}")])
    }

    /// A command that runs inside; arguments may be added to it.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Moves this thread inside.
    ///
    /// # Errors
    /// Mostly for want of root.
    pub fn enter(&self) -> Result<(), TestbedError> {
        let refused = |source| TestbedError::Enter { name: self.name.clone(), source };
        let file = File::open(format!("/run/netns/{}", self.name)).map_err(refused)?;
        let kind = rustix::thread::LinkNameSpaceType::Network;
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(kind))
            .map_err(|errno| refused(errno.into()))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run("ip", &["netns", "del", &self.name]);
    }
}

/// Runs a command to its end; what it says is in the error.
///
/// # Errors
/// It cannot be started, or fails.
pub fn run(program: &str, arguments: &[&str]) -> Result<(), TestbedError> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|source| TestbedError::NotStarted { program: program.to_owned(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().lines().collect::<Vec<_>>().join("; ");
    Err(TestbedError::Refused { command: format!("{program} {}", arguments.join(" ")), said })
}
