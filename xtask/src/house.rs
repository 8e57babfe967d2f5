//! The house: which room may use which, checked against what cargo sees.
//!
//! ```text
//! proto      what the bytes mean          no I/O, no clock, no randomness
//! machine    what the machine offers      unsafe has its rooms here
//! engine     how it turns                 no backend is named
//! control    the other thread             kernel sockets, logs, certificates
//! host       what a server needs of Linux links, addresses, memory, the worker's loop
//! servers    what it serves               no backend is named
//! tools, sim, bench, tests                use what they exercise
//! ```
//!
//! A room uses only the rooms named in its line of [`ROOMS`]; its tests may use a few more. Adding an edge means
//! editing this table in the same commit, where a reviewer sees it.

use crate::workspace::Package;
use std::collections::BTreeMap;
use std::path::Path;

/// One package and what it may depend on within the house.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// The package's name.
    pub(crate) name: &'static str,
    /// Where it lies.
    pub(crate) directory: &'static str,
    /// Rooms its code may use.
    pub(crate) uses: &'static [&'static str],
    /// Rooms its tests may use besides.
    pub(crate) tests_use: &'static [&'static str],
    /// May contain `unsafe`, and where.
    pub(crate) unsafety: Unsafety,
}

/// Where a room keeps its `unsafe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsafety {
    /// Nowhere: the crate root says `forbid(unsafe_code)`.
    Forbidden,
    /// Only in files or directories of these names.
    Files(&'static [&'static str]),
    /// Only in files or directories of these names below `tests`, for allocators that count; the crate itself forbids it.
    Tests(&'static [&'static str]),
    /// Anywhere: the room exists to hold it.
    Room,
}

const fn room(
    name: &'static str,
    directory: &'static str,
    uses: &'static [&'static str],
    tests_use: &'static [&'static str],
    unsafety: Unsafety,
) -> Room {
    Room { name, directory, uses, tests_use, unsafety }
}

const PURE: &[&str] = &["clock", "wire", "tcp", "tls", "http"];
const SYS: Unsafety = Unsafety::Files(&["sys.rs", "sys"]);
const NONE: Unsafety = Unsafety::Forbidden;

/// Everything an engine in memory is made of, for those who turn one.
const ENGINE_IN_MEMORY: &[&str] = &[
    "clock",
    "wire",
    "tcp",
    "tls",
    "http",
    "aead",
    "dma",
    "platform",
    "link-memory",
    "disk-memory",
    "stack",
    "handshake",
    "turn",
    "atlas",
    "sandstorm",
    "sim",
];

/// The same, and what a machine offers, for those who measure it.
const ENGINE_ON_A_MACHINE: &[&str] = &[
    "clock",
    "wire",
    "tcp",
    "tls",
    "http",
    "aead",
    "dma",
    "platform",
    "netlink",
    "vnet",
    "link-memory",
    "link-tap",
    "link-packet",
    "xdp",
    "link-afxdp",
    "disk-memory",
    "disk-uring",
    "stack",
    "handshake",
    "turn",
    "control",
    "atlas",
    "sandstorm",
    "sim",
    "middlebox",
    "testbed",
    "lab",
    "dns",
    "datagram",
    "namestorm",
];

/// The rooms, top to bottom. A package that is not here does not belong to the house.
pub(crate) const ROOMS: &[Room] = &[
    room("clock", "proto/clock", &[], &[], NONE),
    room("wire", "proto/wire", &[], &[], NONE),
    room("tcp", "proto/tcp", &["clock", "wire"], &[], NONE),
    room("tls", "proto/tls", &[], &["aead"], NONE),
    room("http", "proto/http", &[], &[], NONE),
    room("dns", "proto/dns", &[], &[], NONE),
    room("dma", "machine/dma", &[], &[], Unsafety::Room),
    room("rings", "machine/rings", &[], &[], Unsafety::Room),
    room("netlink", "machine/netlink", &[], &[], SYS),
    room("confine", "machine/confine", &[], &[], NONE),
    room("survey", "machine/survey", &["netlink"], &[], SYS),
    room("platform", "machine/platform", &["clock", "dma"], &[], NONE),
    room("vnet", "machine/vnet", &["clock", "dma", "platform", "rings"], &["netlink"], SYS),
    room(
        "link-tap",
        "machine/link-tap",
        &["clock", "dma", "platform", "rings", "vnet", "netlink"],
        &["conformance"],
        SYS,
    ),
    room("xdp", "machine/xdp", &["dma", "rings"], &["netlink"], SYS),
    room(
        "link-packet",
        "machine/link-packet",
        &["clock", "dma", "platform", "rings", "vnet", "netlink", "xdp"],
        &["conformance"],
        SYS,
    ),
    room(
        "link-afxdp",
        "machine/link-afxdp",
        &["dma", "platform", "netlink", "xdp"],
        &["conformance", "link-packet", "vnet"],
        NONE,
    ),
    room(
        "link-memory",
        "machine/link-memory",
        &["clock", "dma", "platform", "rings"],
        &["conformance", "wire"],
        NONE,
    ),
    room("disk-uring", "machine/disk-uring", &["clock", "dma", "platform", "rings"], &["conformance"], SYS),
    room("disk-memory", "machine/disk-memory", &["clock", "dma", "platform"], &["conformance"], NONE),
    room("aead", "machine/aead", &["tls"], &[], NONE),
    room("stack", "engine/stack", &["clock", "wire", "tcp"], &[], NONE),
    room("handshake", "engine/handshake", &["tls"], &["aead"], NONE),
    room("datagram", "engine/datagram", &["wire"], &[], NONE),
    room(
        "turn",
        "engine/turn",
        &["clock", "wire", "tcp", "tls", "stack", "handshake", "platform", "dma"],
        &["aead", "link-memory", "disk-memory", "http"],
        Unsafety::Tests(&["allocation"]),
    ),
    room("control", "control", &[], &[], NONE),
    room(
        "host",
        "host",
        &[
            "clock",
            "wire",
            "tcp",
            "tls",
            "aead",
            "dma",
            "platform",
            "netlink",
            "vnet",
            "link-tap",
            "link-packet",
            "link-afxdp",
            "xdp",
            "survey",
            "xdp",
            "link-afxdp",
            "disk-uring",
            "stack",
            "handshake",
            "turn",
            "control",
            "confine",
        ],
        &[],
        // Entering a namespace cannot be expressed safely: other threads would see it happen.
        SYS,
    ),
    room("web", "servers/web", &["http", "clock", "platform", "turn", "control"], &[], NONE),
    room(
        "program",
        "servers/program",
        &["web", "dma", "tcp", "survey", "stack", "handshake", "turn", "control", "confine", "host"],
        &[],
        NONE,
    ),
    room(
        "atlas",
        "servers/atlas",
        &["web", "clock", "http", "dma", "platform", "turn", "control", "host", "program"],
        &["link-memory"],
        NONE,
    ),
    room(
        "sandstorm",
        "servers/sandstorm",
        &["web", "clock", "http", "wire", "dma", "platform", "turn", "control", "confine", "host", "program"],
        &["tcp", "stack", "aead", "link-memory", "disk-memory"],
        NONE,
    ),
    room(
        "namestorm",
        "servers/namestorm",
        &[
            "wire", "tcp", "dns", "dma", "platform", "datagram", "stack", "turn", "survey", "control",
            "confine", "host",
        ],
        &["clock", "link-memory"],
        NONE,
    ),
    room(
        "middlebox",
        "tools/middlebox",
        &[
            "clock",
            "dma",
            "platform",
            "rings",
            "netlink",
            "vnet",
            "link-tap",
            "link-packet",
            "link-memory",
            "xdp",
            "link-afxdp",
        ],
        &["wire"],
        NONE,
    ),
    room("testbed", "tools/testbed", &[], &[], NONE),
    room("traffic", "tools/traffic", &[], ENGINE_IN_MEMORY, NONE),
    // A worker's own table of descriptors cannot be expressed safely.
    room(
        "lab",
        "tools/lab",
        &[
            "clock",
            "wire",
            "tcp",
            "tls",
            "aead",
            "dma",
            "platform",
            "vnet",
            "link-tap",
            "link-packet",
            "xdp",
            "link-afxdp",
            "disk-uring",
            "stack",
            "handshake",
            "testbed",
            "traffic",
        ],
        &["link-memory"],
        SYS,
    ),
    room("sim", "sim", ENGINE_IN_MEMORY, &[], Unsafety::Tests(&["heap.rs"])),
    room("bench", "bench", ENGINE_ON_A_MACHINE, &[], NONE),
    room(
        "conformance",
        "tests/conformance",
        &["clock", "platform", "dma"],
        &[
            "link-memory",
            "disk-memory",
            "disk-uring",
            "link-tap",
            "link-packet",
            "link-afxdp",
            "netlink",
            "vnet",
            "xdp",
        ],
        NONE,
    ),
    room(
        "corpus",
        "tests/corpus",
        &[
            "clock",
            "wire",
            "tcp",
            "tls",
            "http",
            "dns",
            "namestorm",
            "aead",
            "handshake",
            "stack",
            "disk-memory",
            "sim",
        ],
        PURE,
        NONE,
    ),
    room("interop", "tests/interop", &[], &[], NONE),
    room("scripts", "tests/scripts", &["clock", "tcp", "wire", "dns", "namestorm"], &[], NONE),
    room("xtask", "xtask", &["testbed"], &[], NONE),
];

/// Libraries that read a clock, open a descriptor or start a thread: never in `proto`, never in `engine`.
const IO_LIBRARIES: &[&str] = &[
    "libc",
    "rustix",
    "nix",
    "io-uring",
    "tokio",
    "async-std",
    "smol",
    "mio",
    "polling",
    "socket2",
    "getrandom",
    "rand",
    "signal-hook",
    "crossbeam-channel",
    "rtrb",
    "tracing",
    "clap",
    "prometheus-client",
    "aws-lc-rs",
    "chrono",
    "time",
];

/// The room of that name.
pub(crate) fn room_of(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

/// What the packages do that the house does not allow, one sentence each.
pub(crate) fn violations(root: &Path, members: &BTreeMap<String, Package>) -> Vec<String> {
    let mut found = Vec::new();
    for package in members.values() {
        let Some(room) = room_of(&package.name) else {
            found.push(format!("{}: a package without a room in xtask/src/house.rs", package.name));
            continue;
        };
        let directory = package.directory(root);
        if directory != room.directory {
            found.push(format!("{}: lies in {directory}, but its room is {}", room.name, room.directory));
        }
        for dependency in &package.dependencies {
            let of_tests = dependency.kind.as_deref() == Some("dev");
            if dependency.path.is_some() || members.contains_key(&dependency.name) {
                let allowed = room.uses.contains(&dependency.name.as_str())
                    || of_tests && room.tests_use.contains(&dependency.name.as_str());
                if !allowed {
                    found.push(format!(
                        "{}: may not {}use {}; it uses {}",
                        room.name,
                        if of_tests { "in its tests " } else { "" },
                        dependency.name,
                        if room.uses.is_empty() { "no room".to_owned() } else { room.uses.join(", ") },
                    ));
                }
            } else if !of_tests && is_pure(room) && IO_LIBRARIES.contains(&dependency.name.as_str()) {
                found.push(format!(
                    "{}: {} does I/O, tells the time or draws at random; {} does none of these",
                    room.name,
                    dependency.name,
                    room.directory.split('/').next().unwrap_or(room.directory),
                ));
            }
        }
        for feature in package.features.keys() {
            let harmless =
                feature == "testing" || feature == "default" && package.features[feature].is_empty();
            if !harmless {
                found.push(format!(
                    "{}: feature `{feature}`: the only feature is `testing`, which adds fakes and changes nothing",
                    room.name
                ));
            }
        }
    }
    found
}

fn is_pure(room: &Room) -> bool {
    room.directory.starts_with("proto/") || room.directory.starts_with("engine/")
}

#[cfg(test)]
mod tests;
