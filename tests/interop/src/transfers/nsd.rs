//! NSD, of Debian: as a secondary of ours, and as a primary.

use super::{Files, Other, PORT, SECRET, THERE, fetched_by_us, fetched_from_us};
use crate::harness::Process;
use crate::harness::process::Running;
use crate::harness::server::IPV4;

enum Nsd {
    Secondary,
    Primary,
}

impl Other for Nsd {
    fn start(&self, files: &Files) -> Running {
        let at = files.path("theirs");
        let of_zone = match self {
            Self::Secondary => format!(
                " request-xfr: {IPV4} xfr\n allow-notify: {THERE} xfr\n zonefile: \"{at}/fetched.zone\"\n"
            ),
            Self::Primary => {
                format!(" zonefile: \"{at}/example.zone\"\n provide-xfr: {THERE} xfr\n notify: {IPV4} xfr\n")
            }
        };
        let config = files.write(
            "theirs/nsd.conf",
            &format!(
                "server:\n server-count: 1\n ip-address: {THERE}@{PORT}\n username: \"\"\n chroot: \"\"\n \
                 zonesdir: \"{at}\"\n database: \"\"\n pidfile: \"{at}/pid\"\n xfrdfile: \"{at}/xfrd\"\n \
                 zonelistfile: \"{at}/list\"\n xfrdir: \"{at}\"\n rrl-ratelimit: 0\n xfrd-reload-timeout: 0\n\
                 remote-control:\n control-enable: no\n\
                 key:\n name: xfr\n algorithm: hmac-sha256\n secret: \"{SECRET}\"\n\
                 zone:\n name: example\n{of_zone}"
            ),
        );
        Process::new("nsd").args(["-d", "-c"]).arg(config).start()
    }
}

#[test]
#[ignore = "needs root"]
fn nsd_fetches_our_zone_and_its_changes() {
    fetched_from_us(&Nsd::Secondary, true);
}

#[test]
#[ignore = "needs root"]
fn we_fetch_a_zone_of_nsds_follow_it_and_let_it_expire() {
    fetched_by_us(&Nsd::Primary);
}
