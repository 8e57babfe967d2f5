//! Links that lose their carrier, vanish, come back, and change their MTU, under downloads that must not notice.

use crate::harness::process::{Running, output};
use crate::harness::wire::{Link, Wire};
use crate::harness::{Library, Namespace, Process, Server, assert_same, atlas, eventually};
use crate::lifecycle::admin;
use core::time::Duration;
use std::thread::sleep;

/// At [`PACE`] longer than any test here takes, so that a download is under way whatever the machine does besides.
const SIZE: usize = 64 << 20;
/// Bytes a millisecond that a client reads until the outage is over.
const PACE: usize = 2_000;
/// What a client's kernel may keep for it: least, first and most.
const RECEIVE_BUFFER: &str = "4096 131072 262144";
/// Bytes that tell that a download goes on: more than was on its way to the client before, its buffers included.
const GOING_ON: usize = 600_000;
/// Long enough for TCP's timer to have been backed off more than once.
const OUTAGE: Duration = Duration::from_secs(3);
/// The kernel's end of the veth pair, and ours.
const OUTSIDE: &str = "outside";
const INSIDE: &str = "inside";

fn ip(arguments: &str) {
    output(Process::new("ip").args(arguments.split(' ')));
}

/// A server with two downloads on their way, one in the clear and one under TLS. Dropped in the order of the fields.
struct Scene {
    downloads: Vec<Running>,
    server: Server,
    /// What the link's device is called.
    device: String,
    expected: Vec<u8>,
    files: Library,
    ground: Ground,
}

/// Where all of it is.
#[derive(Debug)]
enum Ground {
    /// The clients' kernel and the server in one namespace.
    One(Namespace),
    /// In two, so that the server may share its kernel's addresses.
    Two(Wire),
}

impl Scene {
    /// On a TAP device.
    fn on_tap() -> Self {
        let namespace = Namespace::enter();
        let files = library();
        let server = Server::start(files.root(), &["--link", "tap:lossy"]);
        Self::begin(Ground::One(namespace), files, server, "lossy")
    }

    /// On one end of a veth pair, through a packet socket's rings.
    fn on_veth() -> Self {
        Self::on_veth_by("packet")
    }

    /// On one end of a veth pair, past its kernel's stack.
    fn on_afxdp() -> Self {
        Self::on_veth_by("afxdp")
    }

    fn on_veth_by(link: &str) -> Self {
        let namespace = Namespace::enter();
        let files = library();
        plug();
        let server = Server::ready(atlas().arg("serve").arg(files.root()).args([
            "--addr",
            "10.44.0.2/24",
            "--link",
            &format!("{link}:{INSIDE}"),
            "--admin",
            "127.0.0.1:9464",
        ]));
        Self::begin(Ground::One(namespace), files, server, INSIDE)
    }

    /// On addresses that the kernel has too.
    fn on_shared(link: Link) -> Self {
        let wire = Wire::new(1);
        let files = library();
        let server = wire.serve_on(link, files.root());
        Self::begin(Ground::Two(wire), files, server, "server0")
    }

    fn wire(&self) -> &Wire {
        match &self.ground {
            Ground::Two(wire) => wire,
            Ground::One(namespace) => panic!("{namespace:?} is all there is"),
        }
    }

    fn begin(ground: Ground, files: Library, server: Server, device: &str) -> Self {
        let expected = files.read("large.bin");
        std::fs::write("/proc/sys/net/ipv4/tcp_rmem", RECEIVE_BUFFER).expect("needs root");
        let downloads: Vec<_> = [server.http(), server.https()]
            .map(|base| {
                Process::new("curl")
                    .args(["--disable", "--silent", "--show-error", "--insecure", "--fail"])
                    .arg(format!("{base}/large.bin"))
                    .paced(PACE)
                    .start()
            })
            .into();
        let scene = Self { downloads, server, device: device.to_owned(), expected, files, ground };
        scene.goes_on();
        scene
    }

    /// Bytes come, at every client.
    fn goes_on(&self) {
        let lengths = || self.downloads.iter().map(|download| download.stdout_len()).collect::<Vec<_>>();
        let before = lengths();
        assert!(
            before.iter().all(|length| length + GOING_ON < SIZE),
            "ended before the outage did: {before:?}"
        );
        eventually(&format!("every download goes on after {before:?} bytes"), || {
            lengths().iter().zip(&before).all(|(now, before)| *now > before + GOING_ON)
        });
    }

    /// A figure of the admin port's, of all workers together.
    fn figure(&self, name: &str) -> u64 {
        let (status, stats) = admin("/stats");
        assert_eq!(status, 200);
        let stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
        stats["total"][name].as_u64().unwrap_or_else(|| panic!("{name} is not in {stats}"))
    }

    /// Every byte arrives, and the server is well.
    fn finish(self) -> String {
        let Self { downloads, server, expected, files, .. } = self;
        for download in downloads {
            download.hurry();
            assert_same("across the outage", &download.wait().success().stdout, &expected);
        }
        let fresh = Process::new("curl")
            .args(["--disable", "--silent", "--insecure", "--fail", "--max-time", "20"])
            .arg(format!("{}/16385.bin", server.https()))
            .run();
        assert_same("a new connection", &fresh.success().stdout, &files.read("16385.bin"));
        server.interrupt().success().stderr
    }
}

/// The file that is under way, there before the server looks.
fn library() -> Library {
    let files = Library::new();
    files.add("large.bin", SIZE);
    files
}

/// Makes the veth pair, whose ends have new hardware addresses each time.
fn plug() {
    ip(&format!("link add {OUTSIDE} type veth peer name {INSIDE}"));
    ip(&format!("address add 10.44.0.1/24 dev {OUTSIDE}"));
    ip(&format!("link set {OUTSIDE} up"));
    ip(&format!("link set {INSIDE} up"));
    // What comes past a kernel's stack has no checksum unless its sender's kernel writes it.
    output(Process::new("ethtool").args(["-K", OUTSIDE, "tx", "off"]));
}

fn lines_with(text: &str, words: &str) -> usize {
    text.lines().filter(|line| line.contains(words)).count()
}

#[test]
#[ignore = "needs root"]
fn downloads_survive_a_tap_device_that_is_down_for_a_while() {
    let scene = Scene::on_tap();
    ip(&format!("link set {} down", scene.device));
    scene.server.says("is down");
    sleep(OUTAGE);
    ip(&format!("link set {} up", scene.device));
    // The kernel forgets its IPv6 addresses when a device goes down; those of IPv4 stay.
    scene.goes_on();
    assert_eq!(scene.figure("link_losses"), 1);
    let told = scene.finish();
    assert_eq!((lines_with(&told, "is down"), lines_with(&told, "carries again")), (1, 1), "{told}");
}

#[test]
#[ignore = "needs root"]
fn downloads_survive_a_tap_device_that_is_deleted() {
    let scene = Scene::on_tap();
    for _ in 0..2 {
        ip(&format!("link delete {}", scene.device));
        scene.goes_on();
    }
    let told = scene.finish();
    assert_eq!((lines_with(&told, "is gone"), lines_with(&told, "is back")), (2, 2), "{told}");
}

#[test]
#[ignore = "needs root"]
fn downloads_survive_a_cable_that_is_out_for_a_while() {
    for scene in [Scene::on_veth, Scene::on_afxdp] {
        let scene = scene();
        ip(&format!("link set {OUTSIDE} down"));
        scene.server.says("has no carrier");
        sleep(OUTAGE);
        ip(&format!("link set {OUTSIDE} up"));
        scene.goes_on();
        assert_eq!(scene.figure("link_losses"), 1);
        let told = scene.finish();
        assert_eq!(
            (lines_with(&told, "has no carrier"), lines_with(&told, "carries again")),
            (1, 1),
            "{told}"
        );
    }
}

#[test]
#[ignore = "needs root"]
fn downloads_survive_an_interface_that_is_down_for_a_while() {
    for scene in [Scene::on_veth, Scene::on_afxdp] {
        let scene = scene();
        ip(&format!("link set {INSIDE} down"));
        scene.server.says("is down");
        sleep(OUTAGE);
        ip(&format!("link set {INSIDE} up"));
        scene.goes_on();
        assert_eq!(scene.figure("link_losses"), 1);
        let told = scene.finish();
        assert_eq!((lines_with(&told, "is down"), lines_with(&told, "carries again")), (1, 1), "{told}");
    }
}

#[test]
#[ignore = "needs root"]
fn downloads_survive_an_interface_that_is_deleted_and_made_again() {
    for scene in [Scene::on_veth, Scene::on_afxdp] {
        let scene = scene();
        for _ in 0..2 {
            ip(&format!("link delete {INSIDE}"));
            scene.server.says("is gone");
            sleep(OUTAGE / 2);
            plug();
            scene.goes_on();
        }
        let told = scene.finish();
        assert_eq!((lines_with(&told, "is gone"), lines_with(&told, "is back")), (2, 2), "{told}");
    }
}

#[test]
#[ignore = "needs root"]
fn downloads_from_a_shared_address_survive_its_interface_and_wait_for_the_address() {
    for link in [Link::AfxdpShared, Link::PacketShared] {
        let scene = Scene::on_shared(link);
        let wire = scene.wire();
        let resets = wire.tcp_counter("OutRsts");
        wire.unplug();
        scene.server.says("is gone");
        sleep(OUTAGE / 2);
        wire.plug();
        // The interface is there, and nobody who has our address.
        scene.server.says("cannot be opened again yet: server0 has no address");
        assert!(!wire.has_program());
        wire.address_there();
        scene.goes_on();
        assert!(wire.has_program(), "{link:?}");
        // The ports were held all the time: the kernel answered nothing for us.
        assert_eq!(wire.tcp_counter("OutRsts"), resets, "{link:?}");
        let told = scene.finish();
        assert_eq!((lines_with(&told, "is gone"), lines_with(&told, "is back")), (1, 1), "{told}");
    }
}

#[test]
#[ignore = "needs root"]
fn what_stands_before_an_interface_that_came_back_ends_with_the_server() {
    let scene = Scene::on_shared(Link::AfxdpShared);
    scene.wire().unplug();
    scene.server.says("is gone");
    scene.wire().plug();
    scene.wire().address_there();
    scene.server.says("is back");
    scene.goes_on();
    let Scene { downloads, server, ground: Ground::Two(wire), .. } = scene else { panic!("one namespace") };
    drop(downloads);
    // As by SIGKILL.
    drop(server);
    eventually("the program is gone", || !wire.has_program());
}

#[test]
#[ignore = "needs root"]
fn queues_that_are_changed_under_the_server_are_told_with_the_remedy() {
    for link in [Link::PacketOwn, Link::PacketShared, Link::AfxdpOwn, Link::AfxdpShared] {
        let wire = Wire::new(2);
        let channels = |count: u32| {
            let count = count.to_string();
            wire.there("ethtool").args(["-L", "server0", "rx", &count, "tx", &count]).run()
        };
        channels(1).success();
        let files = Library::new();
        let server = wire.serve_on(link, files.root());
        let by_queue = link != Link::PacketOwn;
        channels(2).success();
        if by_queue {
            server.says("server0 has 2 queues and 1 workers: ");
        }
        // The server is well, and whoever arrives on its queue is served.
        channels(1).success();
        if by_queue {
            server.says("server0 has 1 queues again");
        }
        for _ in 0..4 {
            let fresh = Process::new("curl")
                .args(["--disable", "--silent", "--insecure", "--fail", "--max-time", "20"])
                .arg(format!("{}/16385.bin", server.https()))
                .run();
            assert_same(&format!("{link:?}"), &fresh.success().stdout, &files.read("16385.bin"));
        }
        let told = server.interrupt().success().stderr;
        assert_eq!(
            lines_with(&told, "ethtool -L server0 rx 1 tx 1"),
            usize::from(by_queue),
            "{link:?}: {told}"
        );
    }
}

#[test]
#[ignore = "needs root"]
fn downloads_survive_a_smaller_mtu_and_a_larger_one_again() {
    for scene in [Scene::on_tap, Scene::on_veth, Scene::on_afxdp] {
        let scene = scene();
        // Both ends of a veth pair have to agree; the kernel's side of a TAP device is the device.
        let devices =
            if scene.device == INSIDE { vec![INSIDE, OUTSIDE] } else { vec![scene.device.as_str()] };
        for (mtu, changes) in [(1_400, 1), (1_500, 2)] {
            for device in &devices {
                ip(&format!("link set {device} mtu {mtu}"));
            }
            scene.server.says(&format!("is {mtu}"));
            eventually("the change was counted", || scene.figure("link_mtu_changes") == changes);
            scene.goes_on();
        }
        assert_eq!(scene.figure("link_losses"), 0);
        scene.finish();
    }
}

#[test]
#[ignore = "needs root"]
fn while_there_is_no_link_the_server_sleeps() {
    let mut scene = Scene::on_veth();
    ip(&format!("link delete {INSIDE}"));
    scene.server.says("is gone");
    sleep(Duration::from_millis(500));
    let before = scene.server.cpu();
    sleep(OUTAGE);
    let share = (scene.server.cpu() - before).as_secs_f64() / OUTAGE.as_secs_f64();
    assert!(share < 0.05, "without a link it uses {:.1} % of a core", share * 100.0);
    plug();
    scene.goes_on();
    scene.finish();
}
