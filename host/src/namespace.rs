//! A user and network namespace of our own: what root would do, done by anybody.
//!
//! ```text
//!   outside                       │ inside: we are root over this network
//!   127.0.0.1:8080 ── listener ───┼── forwarder ── kernel 10.77.0.1 ── TAP or veth ── 10.77.0.2 the engine
//! ```
//!
//! Listeners opened outside stay outside, whoever holds them; everything opened afterwards is inside.

use core::fmt;
use netlink::{LinkChange, Netlink};
use rustix::io::Errno;
use std::{fs, io};

use crate::sys;

/// The kernel would not let us have a namespace. One line with what to do.
#[derive(Debug)]
pub enum NamespaceError {
    /// Not for users on this machine.
    Forbidden {
        /// The setting that forbids it, with the value that would allow it, as far as we can see.
        setting: Option<&'static str>,
    },
    /// There are too many already.
    TooMany,
    /// The kernel knows no such thing.
    Unsupported,
    /// Something else.
    Refused {
        /// What we tried.
        attempt: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl fmt::Display for NamespaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { setting: Some(setting) } => write!(
                f,
                "this needs root, or a user namespace, which this machine forbids: run it with sudo, or allow them \
                 with `sudo sysctl -w {setting}`"
            ),
            Self::Forbidden { setting: None } => f.write_str(
                "this needs root, or a user namespace, which this machine (a container?) forbids: run it as root \
                 with CAP_NET_ADMIN, and in a container with --cap-add=NET_ADMIN --device=/dev/net/tun",
            ),
            Self::TooMany => f.write_str(
                "this needs root, or a user namespace, of which there may be no more: run it with sudo, or allow \
                 more with `sudo sysctl -w user.max_user_namespaces=10000 user.max_net_namespaces=10000`",
            ),
            Self::Unsupported => {
                f.write_str("this needs root: the kernel has no user namespaces; run it with sudo")
            }
            Self::Refused { attempt, source } => {
                write!(f, "cannot {attempt} ({source}); run it as root, which needs no user namespace")
            }
        }
    }
}

impl core::error::Error for NamespaceError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Refused { source, .. } => Some(source),
            Self::Forbidden { .. } | Self::TooMany | Self::Unsupported => None,
        }
    }
}

/// Enters a user and network namespace of our own, as the same user, and brings its loopback interface up. To be called
/// before any thread is started.
pub fn enter() -> Result<(), NamespaceError> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    sys::unshare_user_and_network().map_err(refusal)?;
    // Ubuntu lets everybody enter a user namespace, but gives no capability in it; then these writes fail.
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => NamespaceError::Forbidden { setting: forbidding() },
            _ => NamespaceError::Refused { attempt: "be myself in a user namespace", source },
        })
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{0} {0} 1", uid.as_raw()))?;
    write("gid_map", format!("{0} {0} 1", gid.as_raw()))?;
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    Netlink::open().and_then(|mut netlink| netlink.change_link("lo", up)).map_err(|error| {
        match (error.is_permission(), forbidding()) {
            (true, setting) => NamespaceError::Forbidden { setting },
            (false, _) => NamespaceError::Refused {
                attempt: "bring up the loopback interface of a namespace",
                source: error.errno.into(),
            },
        }
    })
}

fn refusal(errno: Errno) -> NamespaceError {
    match errno {
        Errno::PERM | Errno::ACCESS => NamespaceError::Forbidden { setting: forbidding() },
        // ENOSPC and EUSERS: user_namespaces(7). A limit of nothing is a prohibition.
        Errno::NOSPC | Errno::USERS => match forbidding() {
            Some(setting) => NamespaceError::Forbidden { setting: Some(setting) },
            None => NamespaceError::TooMany,
        },
        Errno::INVAL | Errno::NOSYS => NamespaceError::Unsupported,
        errno => {
            NamespaceError::Refused { attempt: "enter a user and network namespace", source: errno.into() }
        }
    }
}

/// The setting that forbids user namespaces here, if one of those known does.
fn forbidding() -> Option<&'static str> {
    // Where, the value that forbids, and the remedy. Debian's own; Ubuntu's own; the kernel's.
    const SETTINGS: [(&str, &str, &str); 4] = [
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
        ("user/max_net_namespaces", "0", "user.max_net_namespaces=10000"),
    ];
    SETTINGS.into_iter().find_map(|(path, forbids, remedy)| {
        let value = fs::read_to_string(format!("/proc/sys/{path}")).ok()?;
        (value.trim() == forbids).then_some(remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_root_as_a_way_out_in_one_line() {
        for errno in [Errno::PERM, Errno::NOSPC, Errno::USERS, Errno::INVAL, Errno::NOMEM] {
            let line = refusal(errno).to_string();
            assert!(line.contains("root") && !line.contains('\n'), "{line}");
        }
    }
}
