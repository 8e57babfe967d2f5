//! wrk: a thousand connections at once, none of which may see an error.

use crate::harness::{Process, World};

/// Ten seconds with a thousand connections. Returns how many requests were answered.
fn load(url: &str) -> u64 {
    // A thousand sockets and wrk's own descriptors do not fit the usual 1,024.
    let output = Process::new("sh")
        .args([
            "-c",
            "ulimit -n 4096 && exec wrk --threads 2 --connections 1000 --duration 10s --timeout 20s \"$1\"",
            "sh",
            url,
        ])
        .run()
        .success();
    let text = output.stdout_text();
    assert!(!text.contains("Socket errors"), "{url}: {text}");
    assert!(!text.contains("Non-2xx"), "{url}: {text}");
    let count = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ").map(|(count, _)| count.to_owned()));
    count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{url}: {text}"))
}

#[test]
#[ignore = "needs root"]
fn a_thousand_plain_connections_see_no_error() {
    let world = World::new();
    let answered = load(&format!("{}/300000.bin", world.server.http()));
    assert!(answered >= 1000, "every connection was served: {answered}");
}

#[test]
#[ignore = "needs root"]
fn a_thousand_sealed_connections_see_no_error() {
    let world = World::new();
    let answered = load(&format!("{}/300000.bin", world.server.https()));
    assert!(answered >= 1000, "every connection was served: {answered}");
}
