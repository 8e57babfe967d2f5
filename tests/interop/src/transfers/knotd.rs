//! Knot, of Debian: as a secondary of ours, and as a primary with a journal.

use super::{Files, Other, PORT, SECRET, THERE, fetched_by_us, fetched_from_us};
use crate::harness::Process;
use crate::harness::process::Running;
use crate::harness::server::IPV4;

enum Knot {
    Secondary,
    Primary,
}

impl Other for Knot {
    fn start(&self, files: &Files) -> Running {
        let at = files.path("theirs");
        let (file, of_zone) = match self {
            Self::Secondary => ("fetched.zone", "    master: us\n    acl: notify\n"),
            // What differs from the file that was there before goes into its journal, and from there to us.
            Self::Primary => (
                "example.zone",
                "    notify: us\n    acl: transfer\n    zonefile-load: difference\n    journal-content: all\n",
            ),
        };
        let config = files.write(
            "theirs/knot.conf",
            &format!(
                "server:\n  listen: {THERE}@{PORT}\n  rundir: {at}\n  udp-workers: 1\n  tcp-workers: 1\n  \
                 background-workers: 1\n\
                 log:\n  - target: stderr\n    any: info\n\
                 database:\n  storage: {at}\n\
                 key:\n  - id: xfr\n    algorithm: hmac-sha256\n    secret: {SECRET}\n\
                 remote:\n  - id: us\n    address: {IPV4}@53\n    key: xfr\n\
                 acl:\n  - id: transfer\n    address: {THERE}\n    key: xfr\n    action: transfer\n  \
                 - id: notify\n    address: {THERE}\n    key: xfr\n    action: notify\n\
                 zone:\n  - domain: example\n    storage: {at}\n    file: {file}\n    zonefile-sync: -1\n{of_zone}"
            ),
        );
        Process::new("knotd").arg("-c").arg(config).start()
    }
}

#[test]
#[ignore = "needs root"]
fn knot_fetches_our_zone_and_its_changes() {
    fetched_from_us(&Knot::Secondary, true);
}

#[test]
#[ignore = "needs root"]
fn we_fetch_a_zone_of_knots_follow_it_and_let_it_expire() {
    fetched_by_us(&Knot::Primary);
}
