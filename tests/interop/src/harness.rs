//! What the tests stand on. A test begins with [`World::new`], or with its parts.

pub(crate) mod content;
pub(crate) mod http;
pub(crate) mod namespace;
pub(crate) mod process;
pub(crate) mod server;
pub(crate) mod wire;

pub(crate) use content::{Library, assert_same, fresh_directory};
pub(crate) use namespace::Namespace;
pub(crate) use process::Process;
pub(crate) use server::{Server, atlas, namestorm, sandstorm};

use core::time::Duration;
use std::time::Instant;

/// Longer than anything here takes on a slow machine; what takes longer hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A namespace, files with known bytes, and a server that serves them. Dropped in the order of the fields: the server
/// goes first.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) files: Library,
    pub(crate) namespace: Namespace,
}

impl World {
    /// A server with default settings on addresses of both families.
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// The same with further arguments.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        let namespace = Namespace::enter();
        let files = Library::new();
        let server = Server::start(files.root(), arguments);
        Self { server, files, namespace }
    }

    /// Waits until the server knows a name that came while it ran: Atlas at once, Sandstorm with its next look.
    pub(crate) fn learns(&self, name: &str) {
        let head = http::request("HEAD", &format!("/{name}"), &[]);
        eventually(&format!("{name} is served"), || {
            let mut connection = http::Connection::open(&self.server.plain());
            connection.write(head.as_bytes()).expect("the server reads");
            connection.response(true).is_ok_and(|response| response.status == 200)
        });
    }
}

/// Waits until `holds`, and fails naming `what` if it never does.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
