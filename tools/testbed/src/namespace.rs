//! Network namespaces of one's own, gone when their owner is.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use crate::TestbedError;

/// A named network namespace, deleted when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one with loopback up. The name holds our process id, so that two runs do not meet; what a run left behind
    /// that was killed is deleted first.
    ///
    /// # Errors
    /// Mostly for want of root.
    pub fn new(role: &str) -> Result<Self, TestbedError> {
        let prefix = prefix();
        for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_left_behind(&name, &prefix, |id| Path::new("/proc").join(id).exists()) {
                let _ = run("ip", &["netns", "del", &name]);
            }
        }
        let name = format!("{prefix}{}-{role}", std::process::id());
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

/// What our names begin with: whose process ids the numbers behind it are.
fn prefix() -> String {
    let space = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let digits: String = space.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    format!("testbed-{digits}-")
}

/// The name is one of ours, and the process that made it is gone. Of other process namespaces nobody here can tell.
fn is_left_behind(name: &str, prefix: &str, is_alive: impl Fn(&str) -> bool) -> bool {
    let owner = name.strip_prefix(prefix).and_then(|rest| rest.split_once('-')).map(|(id, _)| id);
    owner.is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) && !is_alive(id))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_process_of_ours_made_is_left_behind() {
        let is_left = |name: &str| is_left_behind(name, "testbed-4026531836-", |id| id == "17");
        assert!(is_left("testbed-4026531836-18-client"));
        for other in [
            "testbed-4026531836-17-client",
            "testbed-4026531999-18-client",
            "testbed-4026531836--client",
            "testbed-4026531836-x-client",
            "somebody-elses",
        ] {
            assert!(!is_left(other), "{other}");
        }
    }

    #[test]
    fn names_tell_whose_process_ids_they_hold() {
        let prefix = prefix();
        assert!(prefix.starts_with("testbed-") && prefix.ends_with('-') && prefix.len() > 10, "{prefix}");
    }
}
