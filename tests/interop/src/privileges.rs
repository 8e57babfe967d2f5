//! What a running server holds, seen from outside; and that it can still do what an operator asks of it.

use crate::harness::http::Connection;
use crate::harness::process::{Output, output};
use crate::harness::server::is_sandstorm;
use crate::harness::{Library, Namespace, Process, Server, World, assert_same, atlas, eventually};
use crate::lifecycle::{admin, make_certificate, subject};
use rustix::process::Signal;
use std::fs;
use std::path::Path;

const NONE: &str = "0000000000000000";
/// CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_NET_RAW.
const OF_A_MONITOR: u64 = 1 << 1 | 1 << 2 | 1 << 12 | 1 << 13;
const SIGSYS: i32 = 31;

/// Makes a thread of another process call the kernel, as somebody would who has taken it over.
const INJECT: &str = include_str!("privileges/inject.py");

/// One line of each thread's status file.
fn of_threads(pid: u32, key: &str) -> Vec<(String, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    tasks
        .map(|task| {
            let task = task.expect("a thread").path();
            let status = fs::read_to_string(task.join("status")).expect("its status");
            let name = fs::read_to_string(task.join("comm")).expect("its name").trim().to_owned();
            let line = status.lines().find(|line| line.starts_with(key)).expect("a line of its status");
            (name, line.split_once(':').expect("a value").1.trim().to_owned())
        })
        .collect()
}

/// The monitor that this server started.
fn monitor_of(pid: u32) -> u32 {
    let children = output(Process::new("pgrep").args(["-P", &pid.to_string()])).stdout_text();
    let children: Vec<u32> = children.lines().map(|line| line.parse().expect("a number")).collect();
    assert_eq!(children.len(), 1, "{children:?}");
    children[0]
}

fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// What a system call of that thread's would return; the thread goes on afterwards as if nothing had happened.
fn inject(thread: u32, call: &[&str]) -> Output {
    Process::new("python3").args(["-c", INJECT, &thread.to_string()]).args(call).run()
}

fn thread_called(pid: u32, name: &str) -> u32 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    tasks
        .map(|task| task.expect("a thread").path())
        .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))
        .and_then(|task| task.file_name()?.to_str()?.parse().ok())
        .unwrap_or_else(|| panic!("there is no thread {name}"))
}

#[test]
#[ignore = "needs root"]
fn no_thread_has_kept_anything() {
    let files = Library::new();
    let namespace = Namespace::enter();
    let (log, keys, capture) = (files.beside("log"), files.beside("keys"), files.beside("capture"));
    let options = ["--access-log", text(&log), "--key-log", text(&keys), "--pcap", text(&capture)];
    let mut server = Server::start(files.root(), &[&options[..], &["--workers", "2"]].concat());
    server.says("held: no_new_privs, capabilities, landlock, seccomp");
    // With reads behind them: the kernel's own threads of a ring are threads of the process.
    let response = Connection::open(&server.plain()).get("/1048583.bin", &[]);
    assert_same("confined", &response.body, &files.read("1048583.bin"));
    let pid = server.process().pid();
    let names: Vec<String> = of_threads(pid, "Pid").into_iter().map(|(name, _)| name).collect();
    let own: &[&str] = if is_sandstorm() { &["sandstorm", "loader-0", "loader-1"] } else { &["atlas"] };
    for name in ["worker-0", "worker-1", "key-log", "capture"].iter().chain(own) {
        assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
    }
    for (key, wanted) in [
        ("CapEff", NONE),
        ("CapPrm", NONE),
        ("CapInh", NONE),
        ("CapAmb", NONE),
        ("CapBnd", NONE),
        ("NoNewPrivs", "1"),
        ("Seccomp:", "2"),
    ] {
        for (name, is) in of_threads(pid, key) {
            assert_eq!(is, wanted, "{key} of {name}");
        }
    }
    let monitor = monitor_of(pid);
    assert_eq!(of_threads(monitor, "NoNewPrivs").len(), 1, "the monitor has more than one thread");
    for (key, wanted) in [("NoNewPrivs", "1"), ("Seccomp:", "2")] {
        assert_eq!(of_threads(monitor, key)[0].1, wanted, "{key} of the monitor");
    }
    let kept = u64::from_str_radix(&of_threads(monitor, "CapPrm")[0].1, 16).expect("a set");
    assert_eq!(kept & !OF_A_MONITOR, 0, "the monitor has kept {kept:x}");
    server.interrupt().success();
    drop(namespace);
}

#[test]
#[ignore = "needs root"]
fn without_a_namespace_of_its_own_user_nobody_gains_anything_inside_one() {
    let files = Library::new();
    let namespace = Namespace::enter();
    let mut server = Server::ready(atlas().arg("serve").arg(files.root()).args([
        "--namespace",
        "always",
        "--admin",
        "off",
    ]));
    let response = Connection::open(&server.plain()).get("/16385.bin", &[]);
    assert_same("inside", &response.body, &files.read("16385.bin"));
    let pid = server.process().pid();
    for (key, wanted) in [("CapEff", NONE), ("CapPrm", NONE), ("NoNewPrivs", "1"), ("Seccomp:", "2")] {
        for (name, is) in of_threads(pid, key) {
            assert_eq!(is, wanted, "{key} of {name}");
        }
    }
    server.interrupt().success();
    drop(namespace);
}

#[test]
#[ignore = "needs root"]
fn whoever_takes_control_over_can_open_the_content_and_nothing_else() {
    let mut world = World::new();
    let pid = world.server.process().pid();
    let inside = world.files.root().join("1.bin");
    let secret = world.files.beside("secret");
    fs::write(&secret, "secret").expect("a file of ours");
    let opens = |path: &Path| inject(pid, &["open", text(path)]).success().stdout_text();
    assert!(opens(&inside).trim().parse::<i32>().is_ok_and(|fd| fd > 2), "{}", opens(&inside));
    for path in
        [secret.as_path(), Path::new("/etc/passwd"), Path::new("/proc/self/mem"), Path::new("/dev/net/tun")]
    {
        assert_eq!(opens(path).trim(), "-13", "{}", path.display());
    }
    // It is none the worse for it.
    assert_eq!(admin("/healthz").0, 200);
    let response = Connection::open(&world.server.plain()).get("/16385.bin", &[]);
    assert_same("afterwards", &response.body, &world.files.read("16385.bin"));
}

#[test]
#[ignore = "needs root"]
fn whoever_takes_a_worker_over_opens_nothing_and_dies_of_a_socket() {
    let mut world = World::new();
    let pid = world.server.process().pid();
    let worker = thread_called(pid, "worker-0");
    let inside = world.files.root().join("1.bin");
    assert_eq!(inject(worker, &["open", text(&inside)]).success().stdout_text().trim(), "-1");
    let response = Connection::open(&world.server.plain()).get("/16385.bin", &[]);
    assert_same("afterwards", &response.body, &world.files.read("16385.bin"));

    let monitor = monitor_of(pid);
    inject(worker, &["socket"]);
    let World { server, files: _files, namespace: _namespace } = world;
    let status = server.wait().status;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(SIGSYS), "{status}");
    eventually("the monitor has left too", || !is_alive(monitor));
}

#[test]
#[ignore = "needs root"]
fn a_certificate_at_a_new_place_is_found_by_a_reload() {
    let namespace = Namespace::enter();
    let files = Library::new();
    let config = files.beside("atlas.toml");
    let place = |name: &str| {
        let directory = files.beside(name);
        fs::create_dir_all(&directory).expect("a directory");
        let (certificate, key) = (directory.join("chain.pem"), directory.join("key.pem"));
        make_certificate(&format!("{name}.example"), &certificate, &key);
        fs::write(&config, format!("cert = \"{name}/chain.pem\"\nkey = \"{name}/key.pem\"\n"))
            .expect("a file");
    };
    place("first");
    let mut server = Server::start(files.root(), &["--config", text(&config)]);
    assert!(subject(&server.secure()).contains("first.example"));
    place("second");
    server.process().signal(Signal::HUP);
    eventually("the new certificate is shown", || subject(&server.secure()).contains("second.example"));
    // What is wrong with a file is still said.
    fs::write(&config, "certificate = 1\n").expect("a file");
    server.process().signal(Signal::HUP);
    server.says("there is no option 'certificate'");
    assert!(subject(&server.secure()).contains("second.example"));
    server.interrupt().success();
    drop(namespace);
}

#[test]
#[ignore = "needs root"]
fn a_log_that_was_moved_away_is_opened_again() {
    let namespace = Namespace::enter();
    let files = Library::new();
    let (log, old) = (files.beside("access.log"), files.beside("access.log.1"));
    let mut server = Server::start(files.root(), &["--access-log", text(&log)]);
    let lines = |path: &Path| fs::read_to_string(path).map_or(0, |text| text.lines().count());
    assert_eq!(Connection::open(&server.plain()).get("/1.bin", &[]).status, 200);
    eventually("the first line is written", || lines(&log) == 1);
    fs::rename(&log, &old).expect("a file of ours");
    server.process().signal(Signal::USR1);
    eventually("there is a new file", || log.exists());
    assert_eq!(Connection::open(&server.plain()).get("/1.bin", &[]).status, 200);
    eventually("the second line is in it", || lines(&log) == 1);
    assert_eq!(lines(&old), 1);
    server.interrupt().success();
    drop(namespace);
}

#[test]
#[ignore = "needs root"]
fn neither_outlives_the_other() {
    let namespace = Namespace::enter();
    let before = namespace.inventory();
    let files = Library::new();
    let mut server = Server::start(files.root(), &[]);
    let monitor = monitor_of(server.process().pid());
    server.process().signal(Signal::KILL);
    server.wait();
    eventually("the monitor has left", || !is_alive(monitor));
    eventually("nothing is left behind", || namespace.inventory() == before);

    let mut server = Server::start(files.root(), &[]);
    let monitor = monitor_of(server.process().pid());
    output(Process::new("kill").args(["-KILL", &monitor.to_string()]));
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("the monitor is gone"), "{ended:?}");
    assert_eq!(namespace.inventory(), before);
}

#[test]
#[ignore = "needs root"]
fn what_is_switched_off_is_said() {
    let mut world = World::with(&["--confine=off"]);
    world.server.says("kept: --confine is off");
    let pid = world.server.process().pid();
    assert!(of_threads(pid, "CapEff").iter().all(|(_, is)| is != NONE));
    assert!(of_threads(pid, "Seccomp:").iter().all(|(_, is)| is == "0"));
    drop(world);
    let mut world = World::with(&["--seccomp", "log"]);
    world.server.says("seccomp only logged");
    assert!(of_threads(world.server.process().pid(), "CapEff").iter().all(|(_, is)| is == NONE));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("our paths are text")
}
