//! Programs that ours are measured beside: which there are, of which version, and a newer Debian to have them from.
//!
//! ```text
//!   here      on the path, as the machine's own distribution has it
//!   chroot    a Debian 13 in a directory, made by debootstrap from the mirror that the operator has configured: its nginx has
//!             OpenSSL 3.5, its Knot and NSD are newer
//! ```

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{TestbedError, run};

/// The release that the chroot is of.
const RELEASE: &str = "trixie";
/// Where programs lie that a user's path may lack.
const DIRECTORIES: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];
/// In the chroot: no server is started because it was installed.
const POLICY: &str = "usr/sbin/policy-rc.d";

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What people call it.
    pub name: &'static str,
    /// What it is started as.
    pub program: &'static str,
    /// The option with which it says what it is.
    pub version_option: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    /// What it is measured for.
    pub of: &'static str,
}

/// All of them.
pub const PEERS: [Peer; 4] = [
    Peer {
        name: "nginx",
        program: "nginx",
        version_option: "-v",
        package: "nginx-light",
        of: "the web, video",
    },
    Peer { name: "Knot DNS", program: "knotd", version_option: "--version", package: "knot", of: "names" },
    Peer { name: "NSD", program: "nsd", version_option: "-v", package: "nsd", of: "names" },
    Peer { name: "fio", program: "fio", version_option: "--version", package: "fio", of: "disks" },
];

/// One that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it lies.
    pub path: PathBuf,
    /// The first line of what it says it is.
    pub version: String,
}

impl Peer {
    /// As this machine has it.
    #[must_use]
    pub fn here(&self) -> Option<Found> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let system = DIRECTORIES.iter().map(|directory| Path::new("/").join(directory));
        let mut places =
            std::env::split_paths(&path).chain(system).map(|directory| directory.join(self.program));
        let path = places.find(|place| place.is_file())?;
        let version = said(Command::new(&path).arg(self.version_option))?;
        Some(Found { path, version })
    }

    /// As the chroot in a directory has it.
    #[must_use]
    pub fn in_chroot(&self, root: &Path) -> Option<Found> {
        let mut places = DIRECTORIES.iter().map(|directory| root.join(directory).join(self.program));
        let path = places.find(|place| place.is_file())?;
        let version = said(Command::new("chroot").arg(root).args([self.program, self.version_option]))?;
        Some(Found { path, version })
    }
}

/// The first line that a program says.
fn said(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// Makes the chroot, if it is not there yet.
///
/// # Errors
/// debootstrap is not there, or says why not; mostly for want of root.
pub fn make_chroot(root: &Path) -> Result<(), TestbedError> {
    if root.join("usr/bin/apt-get").exists() {
        return Ok(());
    }
    let failed = |source| TestbedError::NotStarted { program: root.display().to_string(), source };
    fs::create_dir_all(root).map_err(failed)?;
    let target = root.display().to_string();
    let mirror = configured_mirror();
    let arguments = ["--variant=minbase", RELEASE, &target];
    // Without one of the operator's, debootstrap has its own.
    run("debootstrap", &arguments.into_iter().chain(mirror.as_deref()).collect::<Vec<_>>())?;
    let policy = root.join(POLICY);
    fs::write(&policy, "#!/bin/sh\nexit 101\n").map_err(failed)?;
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    run("chroot", &[&target, "apt-get", "update"])
}

/// Installs a peer's package in the chroot, if it is not there yet.
///
/// # Errors
/// The release has no such package, or apt says why not.
pub fn install(root: &Path, peer: &Peer) -> Result<(), TestbedError> {
    if peer.in_chroot(root).is_some() {
        return Ok(());
    }
    let target = root.display().to_string();
    let options = ["--yes", "--no-install-recommends", "--quiet=2"];
    let start = [&target, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install"];
    run("chroot", &[&start[..], &options, &[peer.package]].concat())
}

/// The mirror that this machine's own packages come from, if it is a Debian.
fn configured_mirror() -> Option<String> {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = parts.map(|entry| entry.path()).collect();
    files.retain(|path| {
        path.extension().is_some_and(|kind| [OsStr::new("list"), OsStr::new("sources")].contains(&kind))
    });
    files.push("/etc/apt/sources.list".into());
    files.iter().filter_map(|path| fs::read_to_string(path).ok()).find_map(|text| mirror_of(&text))
}

/// The first mirror of Debian itself that a list of sources names: `deb [options] URL suite main`, or `URIs: URL`, with the
/// component `main`.
fn mirror_of(text: &str) -> Option<String> {
    let is_debian = |url: &str| url.trim_end_matches('/').ends_with("/debian");
    let one_line = text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?;
        let rest = rest
            .trim_start()
            .strip_prefix('[')
            .map_or(rest, |rest| rest.split_once(']').map_or("", |(_, rest)| rest));
        rest.split_whitespace().next().filter(|url| is_debian(url))
    });
    let stanza = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("URIs:")?.split_whitespace().find(|url| is_debian(url)));
    one_line.or(stanza).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_found_in_either_form_of_the_list_and_nobody_elses() {
        let mirror = "http://mirror.example/debian";
        for list in [
            "# a remark\ndeb http://mirror.example/debian trixie main\n",
            "deb [signed-by=/usr/share/keyrings/x.gpg arch=amd64] http://mirror.example/debian trixie main",
            "Types: deb\n# URIs: http://other.example/debian\nURIs: http://mirror.example/debian\nSuites: trixie\n",
        ] {
            assert_eq!(mirror_of(list).as_deref(), Some(mirror), "{list}");
        }
        for list in [
            "deb https://vendor.example/apt stable main",
            "#deb http://mirror.example/debian trixie main",
            "Types: deb\nURIs: http://mirror.example/debian-security\n",
            "",
        ] {
            assert_eq!(mirror_of(list), None, "{list}");
        }
    }

    #[test]
    fn what_a_program_says_on_either_stream_is_its_version() {
        for script in ["echo 'a 1.2'; echo more", "echo >&2; echo 'a 1.2' >&2"] {
            assert_eq!(said(Command::new("sh").args(["-c", script])).as_deref(), Some("a 1.2"), "{script}");
        }
        assert_eq!(said(&mut Command::new("/nowhere/at/all")), None);
    }

    #[test]
    fn an_empty_directory_has_no_peers() {
        assert!(PEERS.iter().all(|peer| peer.in_chroot(Path::new("/nowhere/at/all")).is_none()));
    }
}
