//! What a confined thread can still do, and what becomes of it when it tries more.
//!
//! A thread that has been confined stays so, and one that breaks the rules takes its process with it: every test here runs
//! its body in a process of its own, which is this program again with one test chosen.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is all tests")]

use confine::{Confinement, Files, Holds, Kind, Network, Plan, SyscallMode, confine};
use rustix::thread::CapabilitySet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

const CHILD: &str = "CONFINE_TEST_CHILD";
const SIGSYS: i32 = 31;

/// Runs `body` in a process of its own and says how that ended.
fn alone(test: &str, body: impl FnOnce()) -> Option<ExitStatus> {
    if std::env::var_os(CHILD).is_some() {
        body();
        return None;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    Some(child.output().unwrap().status)
}

fn must_succeed(test: &str, body: impl FnOnce()) {
    if let Some(status) = alone(test, body) {
        assert!(status.success(), "{status}");
    }
}

fn must_be_killed(test: &str, body: impl FnOnce()) {
    if let Some(status) = alone(test, body) {
        assert_eq!(status.signal(), Some(SIGSYS), "{status}");
    }
}

fn as_a(kind: Kind) -> Confinement {
    with(kind, SyscallMode::Enforce, Files::default())
}

fn with(kind: Kind, syscalls: SyscallMode, files: Files<'_>) -> Confinement {
    let plan = Plan { kind, syscalls, files: Some(files), keep: CapabilitySet::empty() };
    confine(&plan).unwrap()
}

/// A line of this thread's status, read before it loses the right to.
fn status(text: &str, key: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_once(':').unwrap().1.trim().to_owned()
}

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("confine-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_confined_thread_has_no_capability_and_gets_none_back() {
    must_succeed("a_confined_thread_has_no_capability_and_gets_none_back", || {
        let proc = File::open("/proc").unwrap();
        let files = Files { read: vec![proc.as_fd()], ..Files::default() };
        let held = with(Kind::Control, SyscallMode::Enforce, files);
        assert_eq!((held.privileges, held.capabilities), (Holds::Held, Holds::Held));
        let text = fs::read_to_string("/proc/thread-self/status").unwrap();
        for key in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status(&text, key), "0000000000000000", "{key}");
        }
        assert_eq!(status(&text, "NoNewPrivs"), "1");
        assert_eq!(status(&text, "Seccomp:"), "2");
    });
}

#[test]
fn only_named_directories_can_be_read_and_nothing_written() {
    must_succeed("only_named_directories_can_be_read_and_nothing_written", || {
        let (inside, outside) = (Dir::new("inside"), Dir::new("outside"));
        fs::write(inside.0.join("film"), "film").unwrap();
        fs::write(outside.0.join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(outside.0.join("secret"), inside.0.join("way-out")).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let dir = File::open(&inside.0).unwrap();
                let files = Files { read: vec![dir.as_fd()], ..Files::default() };
                if with(Kind::Control, SyscallMode::Enforce, files).files != Holds::Held {
                    // This kernel's Landlock is not whole: there is nothing to see.
                    return;
                }
                assert_eq!(fs::read_to_string(inside.0.join("film")).unwrap(), "film");
                assert_eq!(fs::read_dir(&inside.0).unwrap().count(), 2);
                for path in [outside.0.join("secret"), inside.0.join("way-out"), "/etc/passwd".into()] {
                    let refused = fs::read_to_string(&path).unwrap_err().kind();
                    assert_eq!(refused, ErrorKind::PermissionDenied, "{}", path.display());
                }
                for path in [inside.0.join("film"), inside.0.join("new"), outside.0.join("new")] {
                    let refused = fs::write(&path, "graffiti").unwrap_err().kind();
                    assert_eq!(refused, ErrorKind::PermissionDenied, "{}", path.display());
                }
            });
        });
        assert_eq!(fs::read_to_string(inside.0.join("film")).unwrap(), "film");
    });
}

#[test]
fn a_directory_for_logs_takes_new_files_and_shows_none() {
    must_succeed("a_directory_for_logs_takes_new_files_and_shows_none", || {
        let logs = Dir::new("logs");
        fs::write(logs.0.join("old"), "old").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let dir = File::open(&logs.0).unwrap();
                let files = Files { write: vec![dir.as_fd()], ..Files::default() };
                if with(Kind::Control, SyscallMode::Enforce, files).files != Holds::Held {
                    return;
                }
                fs::write(logs.0.join("new"), "new").unwrap();
                let refused = fs::read_to_string(logs.0.join("old")).unwrap_err().kind();
                assert_eq!(refused, ErrorKind::PermissionDenied);
            });
        });
        assert_eq!(fs::read_to_string(logs.0.join("new")).unwrap(), "new");
    });
}

#[test]
fn a_forwarder_reaches_its_target_and_no_other_port() {
    must_succeed("a_forwarder_reaches_its_target_and_no_other_port", || {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = target.local_addr().unwrap().port();
        let files = Files { network: Network::Connect(vec![port]), ..Files::default() };
        if with(Kind::Forwarder, SyscallMode::Enforce, files).files != Holds::Held {
            return;
        }
        TcpStream::connect(target.local_addr().unwrap()).unwrap();
        let refused = TcpStream::connect(other.local_addr().unwrap()).unwrap_err().kind();
        assert_eq!(refused, ErrorKind::PermissionDenied);
    });
}

#[test]
fn a_worker_that_opens_a_socket_dies_of_it() {
    must_be_killed("a_worker_that_opens_a_socket_dies_of_it", || {
        as_a(Kind::Worker);
        let _ = TcpStream::connect("127.0.0.1:1");
    });
}

#[test]
fn a_worker_that_starts_a_thread_dies_of_it() {
    must_be_killed("a_worker_that_starts_a_thread_dies_of_it", || {
        as_a(Kind::Worker);
        std::thread::scope(|scope| {
            scope.spawn(|| ());
        });
    });
}

#[test]
fn control_that_runs_a_program_dies_of_it() {
    must_be_killed("control_that_runs_a_program_dies_of_it", || {
        let root = File::open("/").unwrap();
        let files = Files { read: vec![root.as_fd()], ..Files::default() };
        with(Kind::Control, SyscallMode::Enforce, files);
        let _ = Command::new("/bin/true").status();
    });
}

#[test]
fn a_worker_that_looks_for_a_file_is_told_no_and_lives() {
    must_succeed("a_worker_that_looks_for_a_file_is_told_no_and_lives", || {
        as_a(Kind::Worker);
        assert_eq!(File::open("/etc/passwd").unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(fs::metadata("/etc/passwd").unwrap_err().kind(), ErrorKind::PermissionDenied);
    });
}

#[test]
fn every_kind_allocates_panics_and_ends_as_before() {
    must_succeed("every_kind_allocates_panics_and_ends_as_before", || {
        for kind in Kind::ALL {
            let worker = std::thread::Builder::new().spawn(move || {
                as_a(kind);
                let mut sum = 0_usize;
                for bytes in [16, 4 << 10, 256 << 10, 8 << 20, 64 << 20] {
                    let mut memory = vec![1_u8; bytes];
                    memory.resize(bytes * 2, 2);
                    memory.shrink_to(bytes);
                    sum += memory.len();
                }
                assert!(sum > 0);
                // With a backtrace, as an operator may have asked for one.
                let told = std::backtrace::Backtrace::force_capture().to_string();
                std::panic::catch_unwind(|| panic!("{} bytes of a backtrace", told.len())).unwrap_err();
            });
            worker.unwrap().join().unwrap();
        }
    });
}

#[test]
fn what_is_only_logged_is_done() {
    must_succeed("what_is_only_logged_is_done", || {
        let held =
            with(Kind::Worker, SyscallMode::Log, Files { network: Network::Everything, ..Files::default() });
        assert_eq!(held.syscalls, Holds::OnlyLogged);
        TcpListener::bind("127.0.0.1:0").unwrap();
    });
}

#[test]
fn what_is_switched_off_is_said_to_be() {
    must_succeed("what_is_switched_off_is_said_to_be", || {
        let plan = Plan {
            kind: Kind::Worker,
            syscalls: SyscallMode::Off,
            files: None,
            keep: CapabilitySet::empty(),
        };
        let held = confine(&plan).unwrap();
        assert_eq!((held.files, held.syscalls), (Holds::SwitchedOff, Holds::SwitchedOff));
        assert!(File::open("/proc/self/status").is_ok());
        assert!(!held.is_whole());
    });
}

#[test]
fn without_capabilities_for_a_while_the_owner_alone_reads() {
    must_succeed("without_capabilities_for_a_while_the_owner_alone_reads", || {
        let before = rustix::thread::capabilities(None).unwrap();
        let during = confine::suspend(|| rustix::thread::capabilities(None).unwrap()).unwrap();
        assert!(during.effective.is_empty());
        assert_eq!(rustix::thread::capabilities(None).unwrap(), before);
    });
}
