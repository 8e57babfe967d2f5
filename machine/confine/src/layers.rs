//! What became of each layer.

use core::fmt;

/// Whether a layer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// All of it.
    Held,
    /// What this kernel knows of it, which is not all.
    InPart {
        /// What is missing, and since when Linux has it.
        missing: &'static str,
    },
    /// Not at all: this kernel does not have it.
    KernelLacks {
        /// What would bring it.
        remedy: &'static str,
    },
    /// It is told and not enforced.
    OnlyLogged,
    /// The operator wants none.
    SwitchedOff,
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("held"),
            Self::InPart { missing } => write!(f, "held in part ({missing})"),
            Self::KernelLacks { remedy } => write!(f, "not held: {remedy}"),
            Self::OnlyLogged => f.write_str("only logged"),
            Self::SwitchedOff => f.write_str("switched off"),
        }
    }
}

/// What holds for a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// No program that the thread executes has more rights than it.
    pub privileges: Holds,
    /// No capabilities, but for those to be kept.
    pub capabilities: Holds,
    /// No files but those named.
    pub files: Holds,
    /// No system calls but those of its kind.
    pub syscalls: Holds,
}

impl Confinement {
    /// The layers with their names, strongest statement last, for people and for reports.
    #[must_use]
    pub fn layers(&self) -> [(&'static str, Holds); 4] {
        let Self { privileges, capabilities, files, syscalls } = *self;
        [
            ("no_new_privs", privileges),
            ("capabilities", capabilities),
            ("landlock", files),
            ("seccomp", syscalls),
        ]
    }

    /// Every layer holds in full.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.layers().iter().all(|(_, holds)| *holds == Holds::Held)
    }
}

impl fmt::Display for Confinement {
    /// As few words as tell the truth: the layers that hold, then each that does not with what is the matter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers = self.layers();
        let held: Vec<_> =
            layers.iter().filter(|(_, holds)| *holds == Holds::Held).map(|(name, _)| *name).collect();
        f.write_str(if held.is_empty() { "nothing held" } else { "held: " })?;
        f.write_str(&held.join(", "))?;
        for (name, holds) in layers.iter().filter(|(_, holds)| *holds != Holds::Held) {
            write!(f, "; {name} {holds}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_is_said_with_its_remedy() {
        let whole = Confinement {
            privileges: Holds::Held,
            capabilities: Holds::Held,
            files: Holds::Held,
            syscalls: Holds::Held,
        };
        assert!(whole.is_whole());
        assert_eq!(whole.to_string(), "held: no_new_privs, capabilities, landlock, seccomp");
        let lacking = Confinement {
            files: Holds::KernelLacks { remedy: "add landlock to lsm=" },
            syscalls: Holds::OnlyLogged,
            ..whole
        };
        assert!(!lacking.is_whole());
        assert_eq!(
            lacking.to_string(),
            "held: no_new_privs, capabilities; landlock not held: add landlock to lsm=; seccomp only logged"
        );
    }
}
