//! tshark and capinfos: what Wireshark makes of the packets that the server captures.

use crate::harness::process::Output;
use crate::harness::{Library, Namespace, Process, Server, World, assert_same};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const ADMIN: &str = "http://127.0.0.1:9464";
/// All of every packet.
const WHOLE: [&str; 2] = ["--pcap-snap", "262144"];

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

/// What curl got, with these arguments before the URL.
fn download(arguments: &[&str], url: &str) -> Vec<u8> {
    Process::new("curl")
        .args([
            "--disable",
            "--noproxy",
            "*",
            "--silent",
            "--show-error",
            "--insecure",
            "--fail",
            "--max-time",
            "50",
        ])
        .args(arguments)
        .arg(url)
        .run()
        .success()
        .stdout
}

/// These fields of the packets that the filter shows, one line each.
fn fields(capture: &Path, arguments: &[&str], filter: &str, fields: &[&str]) -> Vec<String> {
    let fields = fields.iter().flat_map(|field| ["-e", *field]);
    let output = Process::new("tshark")
        .args(["-r", text(capture), "-n", "-Y", filter, "-T", "fields", "-E", "separator=|"])
        .args(arguments)
        .args(fields)
        .run()
        .success();
    output.stdout_text().lines().map(str::to_owned).collect()
}

fn capinfos(capture: &Path) -> String {
    let output: Output = Process::new("capinfos").arg(capture).run().success();
    output.stdout_text()
}

/// A world whose server is started with these arguments too, and where its packets and secrets go: beside what is
/// served.
fn world(arguments: &[&str]) -> (World, PathBuf, PathBuf) {
    let namespace = Namespace::enter();
    let files = Library::new();
    let (packets, secrets) = (files.beside("packets.pcapng"), files.beside("secrets.txt"));
    let own = ["--workers", "1", "--pcap", text(&packets), "--key-log", text(&secrets)];
    let server = Server::start(files.root(), &[&own[..], arguments].concat());
    (World { server, files, namespace }, packets, secrets)
}

#[test]
#[ignore = "needs root"]
fn with_the_key_log_a_capture_shows_the_requests_and_every_byte_of_the_answers() {
    let (world, packets, secrets) = world(&WHOLE);
    let base = world.server.https().to_owned();
    for (version, name) in [("--tlsv1.3", "300000.bin"), ("--tls-max", "1048583.bin")] {
        let arguments: &[&str] = if version == "--tls-max" { &["--tls-max", "1.2"] } else { &[version] };
        assert_same(name, &download(arguments, &format!("{base}/{name}")), &world.files.read(name));
    }
    assert!(world.server.stderr().contains("secrets are written to"), "{}", world.server.stderr());
    let mode = |path: &Path| std::fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!((mode(&packets), mode(&secrets)), (0o600, 0o600));
    let World { server, files, namespace: _namespace } = world;
    server.interrupt();

    let keys = format!("tls.keylog_file:{}", text(&secrets));
    let requests = fields(&packets, &["-o", &keys], "http.request", &["tcp.dstport", "http.request.uri"]);
    assert_eq!(requests, ["443|/300000.bin", "443|/1048583.bin"]);
    // Without the secrets nothing of it is seen.
    assert_eq!(fields(&packets, &[], "http.request", &["http.request.uri"]), [""; 0]);

    // Superframes and all: Wireshark puts together and decrypts what the client got.
    let objects = files.beside("objects");
    let export = format!("http,{}", text(&objects));
    Process::new("tshark")
        .args(["-r", text(&packets), "-n", "-q", "-o", &keys, "--export-objects", &export])
        .run()
        .success();
    for name in ["300000.bin", "1048583.bin"] {
        let exported = std::fs::read(objects.join(name)).expect("an object that tshark found");
        assert_same(name, &exported, &files.read(name));
    }
}

#[test]
#[ignore = "needs root"]
fn a_capture_has_both_directions_in_nanoseconds_on_an_interface_with_the_links_name() {
    let (world, packets, _) = world(&[]);
    let url = format!("{}/300000.bin", world.server.http());
    download(&[], &url);
    let World { server, files: _files, namespace: _namespace } = world;
    server.interrupt();
    let infos = capinfos(&packets);
    for part in [
        "nanoseconds",
        "Encapsulation = Ethernet",
        "Name = atlas",
        "Capture length = 128",
        "stat entries = 1",
    ] {
        assert!(infos.contains(part), "{part}: {infos}");
    }
    let count = |filter: &str| fields(&packets, &[], filter, &["frame.number"]).len();
    // 1 is to us, 2 is from us.
    for (port, right, wrong) in [("tcp.dstport == 80", 1, 2), ("tcp.srcport == 80", 2, 1)] {
        assert!(count(&format!("{port} && frame.packet_flags_direction == {right}")) > 3, "{port}");
        assert_eq!(count(&format!("{port} && frame.packet_flags_direction == {wrong}")), 0, "{port}");
    }
    // Packets are as long as they were, and only their beginnings are there.
    assert!(count("frame.len > 20000") > 0, "superframes, before they are cut");
    assert_eq!(count("frame.cap_len > 128"), 0);
    let handshake = fields(&packets, &[], "tcp.flags.syn == 1", &["tcp.flags.ack", "tcp.options.mss_val"]);
    assert_eq!(handshake.len(), 2, "{handshake:?}");
}

#[test]
#[ignore = "needs root"]
fn a_filter_and_a_bound_are_kept() {
    let (world, packets, _) =
        world(&[&WHOLE[..], &["--pcap-filter", "port 80", "--pcap-size", "2M"]].concat());
    let other = PathBuf::from(format!("{}.1", text(&packets)));
    let url = |base: &str| format!("{base}/1048583.bin");
    for _ in 0..4 {
        download(&[], &url(world.server.http()));
        download(&[], &url(world.server.https()));
    }
    let World { server, files: _files, namespace: _namespace } = world;
    server.interrupt();
    let bytes = [&packets, &other].map(|file| std::fs::metadata(file).expect("a file").len());
    // One is full, to what is gathered for one write; how far the other has come depends on where packets ended.
    assert!(bytes.iter().all(|bytes| *bytes <= 1 << 20), "{bytes:?}");
    assert!(bytes.iter().any(|bytes| *bytes >= (1 << 20) - (3 << 17)), "{bytes:?}");
    let mut last = 0.0_f64;
    for file in [&packets, &other] {
        assert!(capinfos(file).contains("port 80"), "the filter is told");
        assert_eq!(fields(file, &[], "not tcp.port == 80", &["frame.number"]), [""; 0]);
        let times = fields(file, &[], "tcp", &["frame.time_relative"]);
        last = times.iter().filter_map(|time| time.parse::<f64>().ok()).fold(last, f64::max);
    }
    assert!(last > 0.0);
}

#[test]
#[ignore = "needs root"]
fn a_capture_is_switched_at_the_admin_port() {
    let (world, packets, _) = world(&[&WHOLE[..], &["--pcap-start=off"]].concat());
    let url = format!("{}/300000.bin", world.server.http());
    let secure = format!("{}/300000.bin", world.server.https());
    let post = |what: &str| download(&["--request", "POST"], &format!("{ADMIN}/capture/{what}"));
    download(&[], &url);
    let status = String::from_utf8(post("start?port=443")).expect("JSON");
    assert!(status.contains(r#""active": true"#) && status.contains(r#""filter": "port 443""#), "{status}");
    download(&[], &url);
    download(&[], &secure);
    post("stop");
    download(&[], &secure);
    let metrics = String::from_utf8(download(&[], &format!("{ADMIN}/metrics"))).expect("text");
    assert!(metrics.contains("atlas_capture_active 0.0"), "{metrics}");
    let World { server, files: _files, namespace: _namespace } = world;
    server.interrupt();
    let opened = fields(&packets, &[], "tcp.flags.syn == 1 && tcp.flags.ack == 0", &["tcp.dstport"]);
    assert_eq!(opened, ["443"], "one connection, between start and stop");
}
