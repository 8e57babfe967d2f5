//! The Debian packages that the tests' real clients come in.

use crate::steps::{Outcome, Report, Step};
use std::path::PathBuf;
use std::process::Command;
use testbed::is_root;

/// A program the tests start, and the Debian package it is in.
const TOOLS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("ffmpeg", "ffmpeg"),
    ("ffprobe", "ffmpeg"),
    ("chromium", "chromium"),
    ("dig", "bind9-dnsutils"),
    ("wrk", "wrk"),
    ("nginx", "nginx-light"),
    ("tshark", "tshark"),
    ("capinfos", "wireshark-common"),
    ("tcpdump", "tcpdump"),
    ("gzip", "gzip"),
    ("python3", "python3"),
    ("perl", "perl"),
    ("pgrep", "procps"),
    ("kill", "procps"),
    ("script", "bsdutils"),
    ("ping", "iputils-ping"),
    ("debootstrap", "debootstrap"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("modprobe", "kmod"),
    ("depmod", "kmod"),
    ("xz", "xz-utils"),
    ("nsd", "nsd"),
    ("knotd", "knot"),
    ("kdig", "knot-dnsutils"),
    ("drill", "ldnsutils"),
    ("dnssec-signzone", "bind9-utils"),
    ("fstrm_capture", "fstrm-bin"),
    ("fstrm_dump", "fstrm-bin"),
    ("dnstap-ldns", "dnstap-ldns"),
];

/// Installs what is missing, as a step.
pub(crate) fn run(report: &mut Report) {
    report.step("packages", |step| {
        let missing = missing();
        if missing.is_empty() {
            return Outcome::passed(1);
        }
        let packages = packages_of(&missing);
        if !is_root() {
            let why = format!("{} missing; install as root: cargo xtask install", missing.join(", "));
            return Outcome::not_run(1, why);
        }
        install(step, &packages);
        match self::missing() {
            still if still.is_empty() => Outcome::passed(1),
            still => {
                Outcome::not_run(1, format!("apt-get could not install {}", packages_of(&still).join(", ")))
            }
        }
    });
}

/// Programs that are not on this machine's `PATH`.
pub(crate) fn missing() -> Vec<&'static str> {
    TOOLS.iter().map(|(tool, _)| *tool).filter(|tool| !is_on_path(tool)).collect()
}

fn packages_of(tools: &[&str]) -> Vec<&'static str> {
    let mut packages: Vec<_> =
        TOOLS.iter().filter(|(tool, _)| tools.contains(tool)).map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

/// Tries with the package lists the machine has, then with fresh ones.
fn install(step: &mut Step, packages: &[&str]) {
    if !apt(step, "install", packages) && apt(step, "update", &[]) {
        apt(step, "install", packages);
    }
}

fn apt(step: &mut Step, verb: &str, packages: &[&str]) -> bool {
    let mut command = Command::new("apt-get");
    // RUNLEVEL: a server that is installed to be compared with is not to be started now.
    command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").arg(verb);
    if !packages.is_empty() {
        command.args(["--yes", "--no-install-recommends"]).args(packages);
    }
    step.status(command).is_some_and(|status| status.success())
}

/// Whether a program of that name can be started.
pub(crate) fn is_on_path(tool: &str) -> bool {
    place_of(tool).is_some()
}

/// Where a program lies.
pub(crate) fn place_of(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A user's PATH often lacks the system programs that are nevertheless there.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(tool))
        .find(|place| place.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_named_once_for_all_its_tools() {
        assert_eq!(packages_of(&["ffmpeg", "ffprobe"]), ["ffmpeg"]);
    }

    #[test]
    fn every_program_that_the_tests_of_real_clients_start_is_listed() {
        // What no Debian lacks, and what is not one program.
        const THERE: [&str; 3] = ["sh", "cat", "env"];
        let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/interop/src");
        let files = crate::source::files(std::path::Path::new(sources), &["rs"]);
        assert!(files.len() > 20, "{files:?}");
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a source");
            for begin in ["Process::new(\"", "Command::new(\"", ".there(\""] {
                for program in text.split(begin).skip(1).filter_map(|rest| rest.split('"').next()) {
                    let known = THERE.contains(&program) || TOOLS.iter().any(|(tool, _)| *tool == program);
                    assert!(known, "{program}, which {} starts, is in no package", file.display());
                }
            }
        }
    }

    #[test]
    fn a_program_that_cannot_exist_is_missing() {
        assert!(!is_on_path("no-such-program-is-on-any-path"));
        assert!(is_on_path("sh"));
    }
}
