//! dig: transfers as an operator looks at them, and what SIGHUP takes over.

use super::{Files, OTHER_SECRET, SECRET, THERE, ours, records, signed, zone};
use crate::harness::server::IPV4;
use crate::harness::{Namespace, Process, eventually};
use rustix::process::Signal;

const ZONE: &str = "[[zone]]\nname = \"example\"\nfile = \"zones/example.zone\"\n";

#[test]
#[ignore = "needs root"]
fn a_zone_goes_to_whoever_may_have_it_and_to_nobody_else() {
    let _namespace = Namespace::enter();
    let files = Files::new();
    // Some twenty messages, and one set that fills several of them.
    let filler: String = (0..5_000).map(|index| format!("n{index} TXT \"{index:0>40}\"\n")).collect();
    let large: String = (0..500).map(|index| format!("large TXT \"{index:0>100}\"\n")).collect();
    files.write("zones/example.zone", &zone(1, &format!("{filler}{large}")));
    files.write("zones/locked.zone", &zone(1, ""));
    files.write("zones/hidden.zone", &zone(1, ""));
    files.configure(&format!(
        "transfer = [\"10.77.0.0/24\"]\n{ZONE}\
         [[zone]]\nname = \"locked\"\nfile = \"zones/locked.zone\"\ntransfer = [\"key:xfr\"]\n\
         [[zone]]\nname = \"hidden\"\nfile = \"zones/hidden.zone\"\ntransfer = []\n"
    ));
    let mut server = files.serve();
    let all = records(&ours(&["example", "AXFR"]));
    assert_eq!(all.len(), 7 + 5_000 + 500, "every record, and the SOA at both ends");
    assert!(all.contains(&"ns.sub.example. 300 in a 192.0.2.200".to_owned()), "glue, too");
    let whole = ours(&["-y", &signed(SECRET), "locked", "AXFR"]);
    assert!(
        whole.contains("ns.sub.locked.") && whole.contains("TSIG") && !whole.contains("failed"),
        "{whole}"
    );
    for (arguments, why) in [
        (&["locked", "AXFR"][..], "without a key"),
        (&["-y", &signed(OTHER_SECRET), "locked", "AXFR"], "with another secret"),
        (&["hidden", "AXFR"], "nobody may"),
        (&["-y", &signed(SECRET), "hidden", "AXFR"], "nobody may, with a key either"),
        (&["elsewhere", "AXFR"], "not ours"),
    ] {
        let text = ours(arguments);
        assert!(text.contains("Transfer failed") && !text.contains("ns.sub."), "{why}: {text}");
    }
    let told = ours(&["-y", &signed(OTHER_SECRET), "locked", "AXFR"]);
    assert!(told.contains("BADSIG"), "{told}");
    let answer = ours(&["-y", &signed(SECRET), "www.locked", "A"]);
    assert!(answer.contains("192.0.2.1") && !answer.contains("Couldn't verify"), "{answer}");

    let mut changed = format!("{filler}{large}");
    changed.push_str("added A 192.0.2.77\n");
    files.write("zones/example.zone", &zone(2, &changed));
    server.process().signal(Signal::HUP);
    eventually("it is in force", || ours(&["+short", "added.example", "A"]).contains("192.0.2.77"));
    let difference = ours(&["example", "IXFR=1"]);
    assert!(difference.contains("XFR size: 7 records"), "{difference}");
    assert!(ours(&["example", "IXFR=2"]).contains("XFR size: 1 records"));
    let old = ours(&["example", "IXFR=0"]);
    assert_eq!(records(&old).len(), 7 + 5_000 + 500 + 1, "what is not known any more is all of it");
    server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn sighup_takes_over_zones_keys_and_rules_loses_no_question_and_takes_nothing_broken() {
    let _namespace = Namespace::enter();
    let files = Files::new();
    files.write("zones/example.zone", &zone(1, ""));
    files.write("zones/second.zone", &zone(1, ""));
    files.configure(ZONE);
    let mut server = files.serve();
    let batch = files.write("batch", &"www.example A\n".repeat(10_000));
    let mut asking = Process::new("dig")
        .args(["+tries=1", "+time=5", "+short", &format!("@{IPV4}"), "-f"])
        .arg(&batch)
        .start();
    let second = format!(
        "{ZONE}[[zone]]\nname = \"second\"\nfile = \"zones/second.zone\"\ntransfer = [\"{THERE}\"]\n"
    );
    let mut round = 0;
    while !asking.has_ended() {
        round += 1;
        files.configure(if round % 2 == 1 { &second } else { ZONE });
        server.process().signal(Signal::HUP);
        std::thread::sleep(core::time::Duration::from_millis(20));
    }
    let text = asking.wait().success().stdout_text();
    assert_eq!(text.lines().filter(|line| *line == "192.0.2.1").count(), 10_000);
    assert!(round > 10, "{round} reloads");

    files.configure(&second);
    server.process().signal(Signal::HUP);
    eventually("a zone came", || ours(&["+short", "www.second", "A"]).contains("192.0.2.1"));
    assert!(ours(&["second", "AXFR"]).contains("ns.sub.second."));
    files.configure(&second.replace(&format!("\"{THERE}\""), "\"key:xfr\""));
    server.process().signal(Signal::HUP);
    eventually("a rule changed", || ours(&["second", "AXFR"]).contains("Transfer failed"));
    assert!(ours(&["-y", &signed(SECRET), "second", "AXFR"]).contains("ns.sub.second."));

    files.write("namestorm.toml", "addr = [\"10.77.0.2/24\"]\n\n[[zone]]\nname = 7\n");
    server.process().signal(Signal::HUP);
    server.says("namestorm.toml:4: ");
    assert!(ours(&["+short", "www.second", "A"]).contains("192.0.2.1"), "what was in force stays");
    files.configure(ZONE);
    server.process().signal(Signal::HUP);
    eventually("a zone went", || ours(&["www.second", "A"]).contains("REFUSED"));
    files.configure(&format!("port = 54\n{ZONE}"));
    server.process().signal(Signal::HUP);
    server.says("port: changed, and in force after a restart");
    server.interrupt().success();
}
