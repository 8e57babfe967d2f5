//! A private corner of the machine for what needs devices, routes and root.
//!
//! ```text
//! unshare --net --mount --pid [--user]  ─▶  lo up, own /run  ─▶  the test
//! ```
//!
//! Network, mounts and processes live and die with the first process inside: whatever is left behind, even by
//! something that is killed, is gone when it ends.

use std::path::Path;
use std::process::{Command, Stdio};

/// What this machine lets us do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// We are the machine's root.
    Root,
    /// We may be the root of a user namespace.
    UserNamespace,
    /// Neither; why.
    None(String),
}

impl Privilege {
    /// Finds out by trying.
    #[must_use]
    pub fn detect() -> Self {
        if is_root() {
            return match tries(&Self::Root) {
                Ok(()) => Self::Root,
                Err(why) => Self::None(format!("root, but namespaces are refused: {why}")),
            };
        }
        match tries(&Self::UserNamespace) {
            // Root of a user namespace may make devices, but may not open what this user may not.
            Ok(()) => match std::fs::File::options().read(true).write(true).open("/dev/net/tun") {
                Ok(_) => Self::UserNamespace,
                Err(error) => Self::None(format!("not root, and /dev/net/tun may not be opened ({error})")),
            },
            Err(why) => Self::None(format!(
                "not root, and user namespaces are refused ({why}): run it with sudo, or allow them \
                 (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)"
            )),
        }
    }

    /// A command that runs `program` inside; arguments may be added to it.
    #[must_use]
    pub fn inside(&self, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        if *self == Self::UserNamespace {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"]);
        command.args(["sh", "-c", INSIDE, "inside"]).arg(program).env("RUST_BACKTRACE", "0");
        command
    }
}

/// First things inside: nothing of ours may reach the machine's own `/run`, where `ip netns` keeps its names.
const INSIDE: &str = "mount -t tmpfs tmpfs /run && ip link set lo up && exec \"$@\"";

/// The effective user is 0.
#[must_use]
pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("Uid:")).and_then(|ids| ids.split_whitespace().nth(1))
        == Some("0")
}

fn tries(privilege: &Privilege) -> Result<(), String> {
    let output = privilege
        .inside(Path::new("true"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start unshare: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(text.lines().next().unwrap_or("unshare failed without a word").to_owned())
}
