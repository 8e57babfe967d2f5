//! The path between a load and a server, and what a comparison on one machine needs of it.
//!
//! The kernel works for both ends in the context of whoever sends. What a server costs can be told apart from what its
//! load costs only when each device's receive processing is kept on one core ([`steer`]); windows of many clients that
//! add up to more than a backlog lose packets that no network would ([`limit_receive_buffers`]); and a host's default
//! congestion control may halve a peer's throughput on a path without delay ([`congestion_control`]).

use crate::{Namespace, TestbedError, run};

/// Packets that a device's queue holds; with the default of 1,000 ACKs are dropped.
const QUEUE_PACKETS: &str = "20000";

/// A veth pair, `near` in one namespace and `far` in the other, up, each with an address (`198.18.1.1/24`).
///
/// # Errors
/// What `ip` says.
pub fn veth(
    (near, near_address): (&Namespace, &str),
    (far, far_address): (&Namespace, &str),
) -> Result<(), TestbedError> {
    // One queue each way: an AF_XDP socket takes one, and more would only be idle.
    let queues = ["numtxqueues", "1", "numrxqueues", "1"];
    let near_end = [&["link", "add", "near"][..], &queues, &["type", "veth", "peer", "name", "far"]].concat();
    near.ip(&[&near_end, &queues[..], &["netns", far.name()]].concat())?;
    for (namespace, device, address) in [(near, "near", near_address), (far, "far", far_address)] {
        namespace.ip(&["addr", "add", address, "dev", device])?;
        namespace.ip(&["link", "set", device, "txqueuelen", QUEUE_PACKETS, "up"])?;
    }
    Ok(())
}

/// What `near` and `long` are called on the wire.
const NEAR_MAC: &str = "02:00:00:00:01:01";

/// `near` and `far` as [`veth`] makes them, and beside them a long way from the client to the server, through two devices of
/// `middle`, `in` and `out`, between which a middlebox is to forward. What `far` sends comes straight, as in the dissertation's
/// test bed (figure 4.11): whoever delays acknowledgements need not carry the load. The client sends straight too, until it is
/// told to [`go_long`].
///
/// ```text
///   client  near ◀────────────── bridge ◀──────────── far  server
///           long ──▶ in ┄ middlebox ┄ out ──▶ bridge ──▶
/// ```
///
/// # Errors
/// What `ip` says.
pub fn long_way(
    (client, near_address): (&Namespace, &str),
    (server, far_address): (&Namespace, &str),
    middle: &Namespace,
) -> Result<(), TestbedError> {
    let queues = ["numtxqueues", "1", "numrxqueues", "1"];
    let pair = |namespace: &Namespace, name: &str, mac: &[&str], peer: &str| {
        let end = [&["link", "add", name][..], mac, &queues, &["type", "veth"]].concat();
        let peer = [&["peer", "name", peer][..], &queues, &["netns", middle.name()]].concat();
        namespace.ip(&[end, peer].concat())
    };
    middle.ip(&["link", "add", "straight", "type", "bridge"])?;
    pair(client, "near", &["address", NEAR_MAC], "to-near")?;
    pair(server, "far", &[], "to-far")?;
    pair(client, "long", &["address", NEAR_MAC], "in")?;
    middle.ip(&["link", "add", "out", "type", "veth", "peer", "name", "join"])?;
    for port in ["to-near", "to-far", "join"] {
        middle.ip(&["link", "set", port, "master", "straight"])?;
    }
    // One way only: nothing goes out there, and the client is never looked for there.
    let one_way = ["learning", "off", "flood", "off", "mcast_flood", "off", "bcast_flood", "off"];
    middle.ip(&[&["link", "set", "join", "type", "bridge_slave"][..], &one_way].concat())?;
    for device in ["straight", "to-near", "to-far", "in", "out", "join"] {
        middle.ip(&["link", "set", device, "txqueuelen", QUEUE_PACKETS, "up"])?;
    }
    for (namespace, device, address) in [(client, "near", near_address), (server, "far", far_address)] {
        namespace.ip(&["addr", "add", address, "dev", device])?;
        namespace.ip(&["link", "set", device, "txqueuelen", QUEUE_PACKETS, "up"])?;
    }
    // Packets come where none are sent.
    for device in ["all", "near"] {
        client.write(&format!("/proc/sys/net/ipv4/conf/{device}/rp_filter"), "0")?;
    }
    client.ip(&["link", "set", "long", "txqueuelen", QUEUE_PACKETS, "up"])
}

/// From now on what the client sends to `server` goes the [`long_way`]. The client must have spoken with it a moment ago: an
/// Ethernet address cannot be asked for where no answer comes back.
///
/// # Errors
/// What `ip` says, or the client does not know the server.
pub fn go_long(client: &Namespace, server: &str) -> Result<(), TestbedError> {
    let refused = |said: String| TestbedError::Refused { command: format!("ip neigh show {server}"), said };
    let output = client.command("ip").args(["neigh", "show", server, "dev", "near"]).output();
    let output = output.map_err(|source| TestbedError::NotStarted { program: "ip".to_owned(), source })?;
    let said = String::from_utf8_lossy(&output.stdout);
    let mac = lladdr(&said).ok_or_else(|| refused(format!("nobody of that address: {}", said.trim())))?;
    client.ip(&["neigh", "add", server, "lladdr", mac, "dev", "long", "nud", "permanent"])?;
    client.ip(&["route", "add", &format!("{server}/32"), "dev", "long"])
}

/// The Ethernet address of a line of `ip neigh show`.
fn lladdr(line: &str) -> Option<&str> {
    line.split_whitespace().skip_while(|word| *word != "lladdr").nth(1)
}

/// `near` and `far` as [`veth`] makes them, but that everything between them goes through `in` and `out` in `middle`, between
/// which a middlebox is to forward.
///
/// # Errors
/// What `ip` says.
pub fn through(
    client: (&Namespace, &str),
    server: (&Namespace, &str),
    middle: &Namespace,
) -> Result<(), TestbedError> {
    let queues = ["numtxqueues", "1", "numrxqueues", "1"];
    for ((namespace, address), device, peer) in [(client, "near", "in"), (server, "far", "out")] {
        let end = [&["link", "add", device][..], &queues, &["type", "veth", "peer", "name", peer]].concat();
        namespace.ip(&[&end, &queues[..], &["netns", middle.name()]].concat())?;
        namespace.ip(&["addr", "add", address, "dev", device])?;
        namespace.ip(&["link", "set", device, "txqueuelen", QUEUE_PACKETS, "up"])?;
        middle.ip(&["link", "set", peer, "txqueuelen", QUEUE_PACKETS, "up"])?;
    }
    Ok(())
}

/// The kernel computes checksums before a packet leaves this device, and cuts superframes: what comes out of the other
/// end of a veth pair is then as on a wire, which an AF_XDP socket there needs.
///
/// # Errors
/// What `ethtool` says.
pub fn complete_packets(namespace: &Namespace, device: &str) -> Result<(), TestbedError> {
    run("ip", &["netns", "exec", namespace.name(), "ethtool", "-K", device, "tx", "off"])
}

/// The namespace's congestion control, for connections made from now on.
///
/// # Errors
/// The kernel does not know it.
pub fn congestion_control(namespace: &Namespace, algorithm: &str) -> Result<(), TestbedError> {
    namespace.write("/proc/sys/net/ipv4/tcp_congestion_control", algorithm)
}

/// A client whose windows add up to more than the kernel's backlog of packets would lose some: no server is to be
/// measured by that.
///
/// # Errors
/// What the kernel says.
pub fn limit_receive_buffers(namespace: &Namespace) -> Result<(), TestbedError> {
    namespace.write("/proc/sys/net/ipv4/tcp_rmem", "'4096 131072 1048576'")
}

/// Receive processing of a device's first queue goes to one core, whoever sends.
///
/// # Errors
/// What the kernel says.
pub fn steer(namespace: &Namespace, device: &str, core: usize) -> Result<(), TestbedError> {
    namespace.write(&format!("/sys/class/net/{device}/queues/rx-0/rps_cpus"), &core_mask(core))
}

/// A device that has queues of its own to poll (a veth with an XDP program does) polls them in threads of the kernel's on one
/// core, whoever sends: what [`steer`] does for one that has none. To be called once the program is there.
///
/// # Errors
/// What the kernel says, or no thread appears.
pub fn poll_on(namespace: &Namespace, device: &str, core: usize) -> Result<(), TestbedError> {
    let before = polling_threads(device);
    namespace.write(&format!("/sys/class/net/{device}/threaded"), "1")?;
    let mut pinned = 0;
    for thread in polling_threads(device).iter().filter(|thread| !before.contains(thread)) {
        run("taskset", &["-pc", &core.to_string(), thread])?;
        pinned += 1;
    }
    if pinned == 0 {
        return Err(TestbedError::Refused {
            command: format!("threaded polling of {device}"),
            said: "the kernel started no thread: it takes Linux 5.12 and a device that polls".to_owned(),
        });
    }
    Ok(())
}

/// Process ids of the kernel's threads that poll a device of this name, in whatever namespace.
fn polling_threads(device: &str) -> Vec<String> {
    let name = format!("napi/{device}-");
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            std::fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.starts_with(&name))
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// A core as the kernel writes masks: groups of 32 bits.
fn core_mask(core: usize) -> String {
    let mut mask = format!("{:x}", 1_u32 << (core % 32));
    for _ in 0..core / 32 {
        mask.push_str(",00000000");
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_who_did_not_answer_has_no_address() {
        assert_eq!(lladdr("198.18.1.3 lladdr 02:aa:00:00:00:01 REACHABLE \n"), Some("02:aa:00:00:00:01"));
        assert_eq!(lladdr("198.18.1.3 FAILED \n"), None);
    }

    #[test]
    fn a_core_beyond_the_32nd_has_a_mask_of_groups() {
        assert_eq!(core_mask(0), "1");
        assert_eq!(core_mask(5), "20");
        assert_eq!(core_mask(33), "2,00000000");
    }
}
