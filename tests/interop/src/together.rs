//! What happens at the same moment: servers that start together, fingers that are impatient.

use crate::harness::http::Connection;
use crate::harness::server::is_sandstorm;
use crate::harness::{Library, Namespace, Server, World, assert_same, atlas};
use core::time::Duration;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::thread;

#[test]
#[ignore = "needs root"]
fn servers_that_start_together_take_different_addresses() {
    const COUNT: usize = 4;
    let namespace = Namespace::enter();
    let before = namespace.inventory();
    let files = Library::new();
    // Threads are where their parent is: in the namespace.
    let memory = if is_sandstorm() { "64M" } else { "16M" };
    let servers: Vec<Server> = thread::scope(|scope| {
        let start = || {
            let process = atlas().arg("serve").arg(files.root()).args(["--memory", memory]);
            Server::ready_for(process, &["http://", "https://"])
        };
        let starting: Vec<_> = (0..COUNT).map(|_| scope.spawn(start)).collect();
        starting.into_iter().map(|server| server.join().expect("each of them starts")).collect()
    });
    for url in [Server::http, Server::http6, Server::https, Server::https6] {
        let distinct: BTreeSet<&str> = servers.iter().map(url).collect();
        assert_eq!(distinct.len(), COUNT, "{distinct:?}");
    }
    for server in &servers {
        let response = Connection::open(&server.plain()).get("/16385.bin", &[]);
        assert_same("one of them", &response.body, &files.read("16385.bin"));
    }
    for server in servers {
        server.interrupt().success();
    }
    assert_eq!(namespace.inventory(), before, "something was left behind");
}

#[test]
#[ignore = "needs root"]
fn an_impatient_finger_is_no_fault_of_the_server() {
    let World { mut server, files: _files, namespace: _namespace } = World::new();
    for _ in 0..3 {
        // It may have left already.
        if !server.process().has_ended() {
            server.process().signal(Signal::INT);
        }
        thread::sleep(Duration::from_millis(2));
    }
    let output = server.wait().success();
    assert!(!output.stderr.contains("a bug of ours"), "{output:?}");
}
