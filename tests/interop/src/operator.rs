//! The operator's side: one line for every mistake, and life without root.

use crate::harness::http::Connection;
use crate::harness::process::Output;
use crate::harness::server::binary;
use crate::harness::{Library, Namespace, Process, Server, assert_same, atlas, fresh_directory};
use crate::lifecycle::make_certificate;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Exit status 2 and one line on standard error that holds every one of `words`.
#[track_caller]
fn assert_one_line(what: &str, output: &Output, words: &[&str]) {
    assert_eq!(output.status.code(), Some(2), "{what}: {output:?}");
    assert!(output.stdout.is_empty(), "{what}: {output:?}");
    let lines: Vec<&str> = output.stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(lines.len(), 1, "{what}: one line, not {lines:#?}");
    let line = lines[0].to_lowercase();
    for word in words {
        assert!(line.contains(&word.to_lowercase()), "{what}: {word:?} is missing in: {line}");
    }
}

fn serve(directory: impl AsRef<Path>, arguments: &[&str]) -> Output {
    atlas().arg("serve").arg(directory.as_ref()).args(arguments).run()
}

#[test]
#[ignore = "needs root"]
fn a_directory_that_is_none_is_named() {
    let _namespace = Namespace::enter();
    let files = Library::new();
    assert_one_line("missing", &serve(files.beside("nowhere"), &[]), &["nowhere"]);
    assert_one_line("a file", &serve(files.root().join("1.bin"), &[]), &["1.bin", "director"]);
}

#[test]
#[ignore = "needs root"]
fn a_certificate_that_cannot_be_used_is_named() {
    let _namespace = Namespace::enter();
    let files = Library::new();
    let place = |name: &str| files.beside(name);
    make_certificate("one.example", &place("one.pem"), &place("one.key"));
    make_certificate("two.example", &place("two.pem"), &place("two.key"));
    std::fs::write(place("garbage.pem"), "garbage").expect("a file of ours");
    let with = |certificate: &str, key: &str| {
        serve(files.root(), &["--cert", text(&place(certificate)), "--key", text(&place(key))])
    };
    assert_one_line("missing", &with("none.pem", "one.key"), &["none.pem"]);
    assert_one_line("garbage", &with("garbage.pem", "one.key"), &["garbage.pem"]);
    assert_one_line("another's key", &with("one.pem", "two.key"), &["key", "match"]);
    assert_one_line("without a key", &serve(files.root(), &["--cert", text(&place("one.pem"))]), &["key"]);
}

#[test]
#[ignore = "needs root"]
fn a_configuration_with_a_mistake_is_named() {
    let _namespace = Namespace::enter();
    let files = Library::new();
    let config = files.beside("atlas.toml");
    let with = |text_of: &str| {
        std::fs::write(&config, text_of).expect("a file of ours");
        serve(files.root(), &["--config", text(&config)])
    };
    assert_one_line("a misspelt key", &with("wokers = 2\n"), &["wokers", "workers"]);
    assert_one_line("a wrong type", &with("workers = \"two\"\n"), &["workers"]);
    assert_one_line("not TOML", &with("workers 2\n"), &["atlas.toml"]);
    assert_one_line("no such file", &serve(files.root(), &["--config", "nowhere.toml"]), &["nowhere.toml"]);
}

#[test]
#[ignore = "needs root"]
fn a_busy_admin_port_is_named() {
    let _namespace = Namespace::enter();
    let files = Library::new();
    let busy = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = busy.local_addr().expect("bound").to_string();
    assert_one_line("busy", &serve(files.root(), &["--admin", &address]), &[&address]);
}

#[test]
#[ignore = "needs root"]
fn a_busy_device_name_and_a_taken_address_are_named() {
    let _namespace = Namespace::enter();
    let files = Library::new();
    let first = Server::start(files.root(), &["--link", "tap:mine"]);
    let second =
        serve(files.root(), &["--link", "tap:mine", "--addr", "10.88.0.2/24", "--admin", "127.0.0.1:0"]);
    assert_one_line("busy", &second, &["mine"]);
    drop(first);
    // An address that the kernel itself holds cannot be ours.
    let status = Process::new("ip").args(["address", "add", "10.66.0.2/24", "dev", "lo"]).run();
    status.success();
    assert_one_line("taken", &serve(files.root(), &["--addr", "10.66.0.2/24"]), &["10.66.0.2"]);
}

#[test]
#[ignore = "needs root"]
fn an_interface_that_is_not_there_is_named() {
    let _namespace = Namespace::enter();
    let files = Library::new();
    let output = serve(files.root(), &["--link", "packet:nowhere0", "--addr", "10.66.0.2/24"]);
    assert_one_line("missing", &output, &["nowhere0"]);
}

#[test]
#[ignore = "needs root"]
fn nonsense_on_the_command_line_is_refused_with_status_2() {
    for arguments in
        [&["serve"][..], &["frobnicate"], &["serve", ".", "--workers", "0"], &["serve", ".", "--addr", "x"]]
    {
        let output = atlas().args(arguments).run();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(!output.stderr.contains("panicked"), "{arguments:?}: {output:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn the_manual_names_every_option() {
    for arguments in [&["--help"][..], &["serve", "--help"]] {
        assert!(!atlas().args(arguments).run().success().stdout.is_empty(), "{arguments:?}");
    }
    let manual = atlas().args(["serve", "--help"]).run().success().stdout_text();
    for option in [
        "--addr",
        "--link",
        "--http",
        "--https",
        "--cert",
        "--key",
        "--workers",
        "--config",
        "--stats",
        "--admin",
        "--access-log",
        "--drain-seconds",
    ] {
        assert!(manual.contains(option), "{option} is missing in:\n{manual}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_kernel_without_io_uring_is_named() {
    let _namespace = Namespace::enter();
    let files = Library::new();
    let arguments = ["serve", text(&files.root())].map(str::to_owned);
    let output = without_io_uring().arg(binary()).args(arguments).run();
    assert_one_line("refused by seccomp", &output, &["io_uring"]);
}

#[test]
#[ignore = "needs root"]
fn without_any_privilege_the_remedy_is_named() {
    let _namespace = Namespace::enter();
    let files = Library::new();
    // Root in name only: no capability, and no user namespace to gain one.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && \
                  exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs \"$@\"";
    let output = Process::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", script, "sh"])
        .arg(binary())
        .arg("serve")
        .arg(files.root())
        .run();
    assert_one_line("no privilege", &output, &["root"]);
}

#[test]
#[ignore = "needs the machine's root"]
fn a_directory_that_may_not_be_read_is_named() {
    let _namespace = Namespace::enter();
    let place = Public::new();
    std::fs::set_permissions(place.files(), std::fs::Permissions::from_mode(0o700))
        .expect("our own directory");
    let output = nobody().arg(place.binary()).arg("serve").arg(place.files()).run();
    assert_one_line("unreadable", &output, &["permission"]);
}

#[test]
#[ignore = "needs the machine's root"]
fn a_user_without_root_serves_on_loopback() {
    let namespace = Namespace::enter();
    let place = Public::new();
    let before = namespace.inventory();
    let server = nobody_in(with_tun("666")).arg(place.binary()).arg("serve").arg(place.files());
    assert_serves_on_loopback(&place, server, "TAP device atlas");
    assert_eq!(namespace.inventory(), before, "something was left behind");
}

#[test]
#[ignore = "needs the machine's root"]
fn a_user_without_a_tun_device_serves_through_a_veth_pair() {
    let _namespace = Namespace::enter();
    let place = Public::new();
    let server = nobody_in(with_tun("600")).arg(place.binary()).arg("serve").arg(place.files());
    assert_serves_on_loopback(&place, server, "veth pair");
}

#[test]
#[ignore = "needs the machine's root"]
fn a_service_user_with_two_capabilities_needs_no_namespace() {
    let namespace = Namespace::enter();
    let place = Public::new();
    let before = namespace.inventory();
    // As the systemd unit of docs/operating.md starts it.
    let capabilities = "+net_admin,+net_raw";
    let server = with_tun("666")
        .args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"])
        .args([format!("--inh-caps={capabilities}"), format!("--ambient-caps={capabilities}")])
        .arg(format!("--bounding-set=-all,{capabilities}"))
        .arg("--")
        .arg(place.binary())
        .arg("serve")
        .arg(place.files());
    let server = Server::ready(server);
    assert!(!server.http().contains("127.0.0.1"), "{:?}", server.urls);
    let response = Connection::open(&server.plain()).get("/1048583.bin", &[]);
    let expected = std::fs::read(place.files().join("1048583.bin")).expect("a file of ours");
    assert_same("as a service", &response.body, &expected);
    server.interrupt().success();
    assert_eq!(namespace.inventory(), before, "something was left behind");
}

/// Every byte through the forwarder, plain and sealed, alone and in a crowd.
fn assert_serves_on_loopback(place: &Public, server: Process, link: &str) {
    let server = Server::ready(server);
    assert!(server.stderr().contains(link), "not through {link}: {}", server.stderr());
    assert!(server.http().starts_with("http://127.0.0.1:"), "{:?}", server.urls);
    let expected = std::fs::read(place.files().join("1048583.bin")).expect("a file of ours");
    let mut connection = Connection::open(&server.plain());
    for round in 0..3 {
        let response = connection.get("/1048583.bin", &[]);
        assert_same(&format!("round {round}"), &response.body, &expected);
    }
    let output = Process::new("curl")
        .args(["--disable", "--silent", "--insecure", "--fail", "--max-time", "30"])
        .arg(format!("{}/1048583.bin", server.https()))
        .run()
        .success();
    assert_same("sealed", &output.stdout, &expected);
    let place = Library::empty();
    let many = format!("{}/1048583.bin?copy=[1-40]", server.https());
    Process::new("curl")
        .args(["--disable", "--silent", "--insecure", "--fail", "--max-time", "50", "--parallel"])
        .args(["--parallel-immediate", "--parallel-max", "40", "--output"])
        .arg(place.root().join("#1"))
        .arg(many)
        .run()
        .success();
    for number in 1..=40 {
        assert_same(&format!("copy {number}"), &place.read(&number.to_string()), &expected);
    }
    drop(connection);
    server.interrupt().success();
}

/// A program that runs as nobody, who owns nothing and may do nothing.
fn nobody() -> Process {
    nobody_in(Process::new("env"))
}

/// A program that sees a `/dev/net/tun` of this mode, whatever the machine's own is.
fn with_tun(mode: &str) -> Process {
    let script =
        format!("mount -t tmpfs tmpfs /dev/net && mknod -m {mode} /dev/net/tun c 10 200 && exec \"$@\"");
    Process::new("unshare").args(["--mount", "sh", "-c", &script, "sh"])
}

/// The same behind another program that ends by becoming what it is given.
fn nobody_in(process: Process) -> Process {
    process
        .args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"])
        .args(["--bounding-set=-all", "--"])
        .env("HOME", "/nonexistent")
}

/// A program for which `io_uring_setup` does not exist. Perl is on every Debian machine, and can make two system
/// calls; a seccomp filter needs no more: load the call's number, answer ENOSYS to that one, allow the rest.
fn without_io_uring() -> Process {
    const PRCTL: u32 = if cfg!(target_arch = "aarch64") { 167 } else { 157 };
    let script = format!(
        "my $f = pack('SCCL', 0x20, 0, 0, 0) . pack('SCCL', 0x15, 0, 1, 425) \
         . pack('SCCL', 0x06, 0, 0, 0x00050000 | 38) . pack('SCCL', 0x06, 0, 0, 0x7fff0000); \
         my $p = pack('S x6 P', 4, $f); \
         syscall({PRCTL}, 38, 1, 0, 0, 0) == 0 or die 'no_new_privs'; \
         syscall({PRCTL}, 22, 2, $p, 0, 0) == 0 or die \"seccomp: $!\"; \
         exec @ARGV or die $!;"
    );
    Process::new("perl").args(["-e", &script, "--"])
}

/// A place that every user may read, which the build directory need not be.
#[derive(Debug)]
struct Public {
    directory: PathBuf,
    _files: Library,
}

impl Public {
    fn new() -> Self {
        let files = Library::new();
        let directory = fresh_directory(&std::env::temp_dir(), "atlas-public");
        let public = Self { directory, _files: files };
        std::fs::create_dir_all(public.files()).expect("a directory of ours");
        std::fs::copy(binary(), public.binary()).expect("the program");
        for entry in std::fs::read_dir(public._files.root()).expect("our files").flatten() {
            if entry.path().is_file() {
                std::fs::copy(entry.path(), public.files().join(entry.file_name())).expect("a file of ours");
            }
        }
        for path in [&public.directory, &public.files(), &public.binary()] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("our own");
        }
        public
    }

    fn binary(&self) -> PathBuf {
        self.directory.join("atlas")
    }

    fn files(&self) -> PathBuf {
        self.directory.join("served")
    }
}

impl Drop for Public {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("our own paths are text")
}
