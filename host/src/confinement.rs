//! What the threads of a server give up once everything is open, and what a link needs to be opened again afterwards.

use confine::{ConfineError, Confinement, Files, Holds, Kind, SyscallMode};
use core::fmt;
use core::str::FromStr;
use rustix::thread::CapabilitySet;
use serde::Serialize;
use std::thread::JoinHandle;

use crate::values::{BadValue, bad};

/// What the operator wants of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Threads give up privileges at all.
    pub confine: bool,
    /// What becomes of a system call that a thread has no use for.
    pub seccomp: Seccomp,
}

/// `--seccomp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// It ends the process.
    #[default]
    Enforce,
    /// It is done, and logged by the kernel.
    Log,
    /// Nobody looks.
    Off,
}

impl FromStr for Seccomp {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text {
            "enforce" => Ok(Self::Enforce),
            "log" => Ok(Self::Log),
            "off" => Ok(Self::Off),
            _ => bad(format!("'{text}' is none of enforce, log and off")),
        }
    }
}

impl fmt::Display for Seccomp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enforce => "enforce",
            Self::Log => "log",
            Self::Off => "off",
        })
    }
}

/// What became of one layer in a [`trial`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// Its name.
    pub name: &'static str,
    /// All of it held.
    pub held: bool,
    /// For people.
    pub detail: String,
}

/// Confines a thread that does nothing else, and says what held: what this kernel does, not what it lists.
#[must_use]
pub fn trial() -> Vec<Layer> {
    let policy = Policy { confine: true, seccomp: Seccomp::Enforce };
    let tried = std::thread::Builder::new()
        .name("trial".to_owned())
        .spawn(move || policy.apply(Kind::Worker, Files::default()).map_err(|error| error.to_string()))
        .map(JoinHandle::join);
    match tried {
        Ok(Ok(Ok(Some(confinement)))) => confinement
            .layers()
            .into_iter()
            .map(|(name, holds)| Layer { name, held: holds == Holds::Held, detail: holds.to_string() })
            .collect(),
        Ok(Ok(Err(detail))) => vec![Layer { name: "confinement", held: false, detail }],
        _ => vec![Layer { name: "confinement", held: false, detail: "it could not be tried".to_owned() }],
    }
}

impl Policy {
    /// Nothing is given up: for tests, and for an operator who knows why.
    pub const NOTHING: Self = Self { confine: false, seccomp: Seccomp::Off };

    /// Does something with the rights that will be left, where some will be given up: what cannot be read then is found out
    /// now.
    ///
    /// # Errors
    /// The kernel does not let go of capabilities, or does not give them back.
    pub fn with_what_is_left<T>(self, act: impl FnOnce() -> T) -> Result<T, ConfineError> {
        if self.confine { confine::suspend(act) } else { Ok(act()) }
    }

    /// Confines the calling thread, which keeps these paths and no capability. `None` when the operator wants none of it.
    ///
    /// # Errors
    /// The kernel has a layer and refuses it.
    pub fn apply(self, kind: Kind, files: Files<'_>) -> Result<Option<Confinement>, ConfineError> {
        self.apply_keeping(kind, Some(files), CapabilitySet::empty())
    }

    pub(crate) fn apply_keeping(
        self,
        kind: Kind,
        files: Option<Files<'_>>,
        keep: CapabilitySet,
    ) -> Result<Option<Confinement>, ConfineError> {
        if !self.confine {
            return Ok(None);
        }
        let syscalls = match self.seccomp {
            Seccomp::Enforce => SyscallMode::Enforce,
            Seccomp::Log => SyscallMode::Log,
            Seccomp::Off => SyscallMode::Off,
        };
        confine::confine(&confine::Plan { kind, syscalls, files, keep }).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_costs_the_caller_nothing() {
        let layers = trial();
        assert!(!layers.is_empty());
        assert!(std::fs::read_to_string("/proc/self/status").is_ok());
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(status.lines().any(|line| line == "NoNewPrivs:\t0"), "{status}");
    }

    #[test]
    fn a_mode_is_spelled_as_it_is_read() {
        for mode in [Seccomp::Enforce, Seccomp::Log, Seccomp::Off] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        let line = "on".parse::<Seccomp>().unwrap_err().to_string();
        assert!(line.contains("enforce"), "{line}");
    }
}
