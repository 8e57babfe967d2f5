//! ping: an address without a kernel behind it still answers.

use crate::harness::server::{IPV4, IPV6};
use crate::harness::{Process, World};

#[test]
#[ignore = "needs root"]
fn both_addresses_answer_with_what_they_were_sent() {
    let _world = World::new();
    for address in [IPV4, IPV6] {
        for size in ["0", "56", "1400"] {
            let output = Process::new("ping")
                .args(["-c", "3", "-i", "0.1", "-W", "2", "-s", size, address])
                .run()
                .success();
            let text = output.stdout_text();
            assert!(text.contains(" 0% packet loss"), "{address}, {size} bytes: {text}");
            assert!(!text.contains("wrong data byte"), "{address}, {size} bytes: {text}");
        }
    }
}
