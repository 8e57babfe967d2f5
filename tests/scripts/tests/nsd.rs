//! The same questions to NSD and to us, on the same zones: every difference is none, or named here with the sentence
//! that allows it.
//!
//! NSD listens on the loopback address of this test's own network namespace.

#![cfg(test)]

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use dns::{Flags, Header, Rtype};
use namestorm::catalogue::Catalogue;
use namestorm::hash::{Form, Key};
use namestorm::respond::{Request, Responder, Settings, Transport};
use namestorm::show::{self, Shown};
use namestorm::{load, zone};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const PORT: u16 = 5_300;

/// NSD, stopped when the test ends.
struct Nsd {
    child: Child,
    directory: PathBuf,
}

impl Nsd {
    fn start(zones: &[(&str, String)]) -> Self {
        let directory = std::env::temp_dir().join(format!("namestorm-nsd-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let at = directory.display();
        let mut config = format!(
            "server:\n server-count: 1\n ip-address: 127.0.0.1@{PORT}\n username: \"\"\n chroot: \"\"\n \
             zonesdir: \"{at}\"\n database: \"\"\n pidfile: \"{at}/pid\"\n xfrdfile: \"{at}/xfrd\"\n \
             zonelistfile: \"{at}/list\"\n xfrdir: \"{at}\"\n minimal-responses: yes\n rrl-ratelimit: 0\n\
             remote-control:\n control-enable: no\n"
        );
        for (name, text) in zones {
            let file = if *name == "." { "root".to_owned() } else { (*name).to_owned() };
            std::fs::write(directory.join(&file), text).expect("a file");
            config.push_str(&format!("zone:\n name: \"{name}\"\n zonefile: \"{file}\"\n"));
        }
        std::fs::write(directory.join("conf"), config).expect("a file");
        let program =
            ["/usr/sbin/nsd", "/usr/local/sbin/nsd"].into_iter().find(|path| Path::new(path).exists());
        let program = std::env::var("NSD")
            .ok()
            .or_else(|| program.map(str::to_owned))
            .unwrap_or_else(|| "nsd".to_owned());
        let child = Command::new(program)
            .args(["-d", "-c"])
            .arg(directory.join("conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // What it thinks of our zones belongs to a failure.
            .stderr(Stdio::inherit())
            .spawn()
            .expect("NSD can be started: it is in Debian's package nsd");
        Self { child, directory }
    }
}

impl Drop for Nsd {
    fn drop(&mut self) {
        // SIGTERM, so that its own children end too.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

struct Both {
    _nsd: Nsd,
    socket: UdpSocket,
    id: u16,
    catalogue: Catalogue,
    responder: Responder,
}

impl Both {
    fn start(zones: &[(&str, String)]) -> Self {
        let key = Key::new(*b"a differing test");
        let ours = zones.iter().map(|(name, text)| {
            let apex = dns::name::from_text(name.as_bytes()).expect("a name");
            let loaded = load::read_text(Path::new(name), text.as_bytes(), &apex).expect("a zone");
            Arc::new(zone::build(&apex, loaded, key, Form::Wire).expect("a zone").zone)
        });
        let catalogue = Catalogue::new(key, Form::Wire, ours.collect());
        let responder = Responder::new(Settings::default(), &catalogue);
        let nsd = Nsd::start(zones);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.connect((Ipv4Addr::LOCALHOST, PORT)).expect("a socket");
        let mut both = Self { _nsd: nsd, socket, id: 0, catalogue, responder };
        both.wait();
        both
    }

    fn wait(&mut self) {
        let probe = message(".", 1, 0, None);
        self.socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
        for _ in 0..100 {
            if self.theirs(&probe).is_some() {
                self.socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a socket");
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("NSD does not answer");
    }

    fn theirs(&mut self, message: &[u8]) -> Option<Shown> {
        self.id = self.id.wrapping_add(1);
        let id = self.id.to_be_bytes();
        self.socket.send(&[&id, &message[2..]].concat()).ok()?;
        let mut room = [0; 65_535];
        let bytes = loop {
            // An answer to a question before this one may be late.
            let bytes = self.socket.recv(&mut room).ok()?;
            if room[..2] == id {
                break bytes;
            }
        };
        Some(show::show(&room[..bytes]).expect("NSD writes messages"))
    }

    fn ours(&mut self, message: &[u8]) -> Option<Shown> {
        let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let request = Request { source, transport: Transport::Udp, now_ms: 0, unix: 0 };
        let mut room = [0; 65_535];
        let response = self.responder.respond(&self.catalogue, &request, message, &mut room)?;
        Some(show::show(&room[..response.bytes]).expect("we write messages"))
    }
}

/// A query; `edns`: size, and whether DNSSEC is wanted.
fn message(name: &str, qtype: u16, flags: u16, edns: Option<(u16, bool)>) -> Vec<u8> {
    let arcount = u16::from(edns.is_some());
    let header = Header { id: 77, flags: Flags(flags), qdcount: 1, arcount, ..Header::default() };
    let mut message = header.emit().to_vec();
    message.extend(dns::name::from_text(name.as_bytes()).expect("a name"));
    message.extend(qtype.to_be_bytes());
    message.extend([0, 1]);
    if let Some((size, dnssec)) = edns {
        message.extend(dns::edns::emit_opt(size, 0, dnssec, 0));
    }
    message
}

fn sorted(lines: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = lines.iter().map(|line| line.to_ascii_lowercase()).collect();
    lines.sort();
    lines.dedup();
    lines
}

/// What differs and may not.
fn difference(qtype: Rtype, ours: &Shown, theirs: &Shown) -> Option<&'static str> {
    // RFC 8482 §4.1 and §7: of ANY, and of RRSIG, a server may choose a set; we choose the lowest type, NSD another.
    if matches!(qtype, Rtype::ANY | Rtype::RRSIG) {
        let both = ours.sections[0].is_empty() == theirs.sections[0].is_empty() && ours.rcode == theirs.rcode;
        let cut = theirs.header.flags.has(Flags::TC);
        return if both || cut { None } else { Some("something and nothing") };
    }
    // RFC 1034 §3.6.2: a CNAME is followed for every type but its own; NSD makes an exception of NSEC3.
    if qtype == Rtype::NSEC3 && ours.sections[0].iter().any(|line| line.contains(" CNAME ")) {
        return None;
    }
    if ours.rcode != theirs.rcode {
        // RFC 5936 §4.2 leaves AXFR over UDP undefined; NSD says REFUSED or NOTIMP.
        return if qtype == Rtype::AXFR { None } else { Some("another code") };
    }
    let flags = Flags::AA | Flags::TC | Flags::RD | Flags::AD | Flags::CD;
    if ours.header.flags.0 & flags != theirs.header.flags.0 & flags {
        return Some("other flags");
    }
    if ours.options.is_some() != theirs.options.is_some() {
        return Some("EDNS");
    }
    if ours.header.flags.has(Flags::TC) {
        // RFC 2181 §9: what a truncated answer holds is of no use; we send nothing, NSD what fits.
        return None;
    }
    if sorted(&ours.sections[0]) != sorted(&theirs.sections[0]) {
        return Some("another answer");
    }
    let (own, other) = (sorted(&ours.sections[1]), sorted(&theirs.sections[1]));
    // RFC 5155 §7.2.3: what matches QNAME proves that it lacks the type; to a wildcard's own name, NSD adds its encloser's.
    let wildcard_itself = ours.question.as_ref().is_some_and(|question| question.starts_with("*."));
    let proven = wildcard_itself && !own.is_empty() && own.iter().all(|line| other.contains(line));
    if own != other && !proven {
        return Some("another authority section");
    }
    // RFC 1034 §4.3.2 step 6: what is useful. Neither side invents addresses: all of one are the other's.
    let (ours, theirs) = (sorted(&ours.sections[2]), sorted(&theirs.sections[2]));
    let within = |few: &[String], many: &[String]| few.iter().all(|line| many.contains(line));
    if within(&ours, &theirs) || within(&theirs, &ours) { None } else { Some("other addresses") }
}

/// Asks both everything of `names`, and returns what differed.
fn ask_everything(both: &mut Both, names: &[String]) -> (usize, Vec<String>) {
    let types = [1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 43, 46, 47, 48, 50, 51, 64, 65, 99, 255, 1_000];
    let (mut asked, mut differing) = (0, Vec::new());
    for name in names {
        for qtype in types {
            for edns in [None, Some((512, false)), Some((1_232, true))] {
                let message = message(name, qtype, if qtype % 2 == 0 { Flags::RD } else { 0 }, edns);
                asked += 1;
                let (ours, theirs) = (both.ours(&message), both.theirs(&message));
                let what = match (&ours, &theirs) {
                    (Some(ours), Some(theirs)) => difference(Rtype(qtype), ours, theirs),
                    (None, None) => None,
                    _ => Some("only one answers"),
                };
                if let Some(what) = what {
                    let show =
                        |shown: &Option<Shown>| shown.as_ref().map_or_else(String::new, ToString::to_string);
                    differing.push(format!(
                        "{what}: {name} {} {edns:?}\nours\n{}theirs\n{}",
                        Rtype(qtype),
                        show(&ours),
                        show(&theirs)
                    ));
                }
            }
        }
    }
    (asked, differing)
}

const BASE: &str = "$TTL 300\n@ SOA ns1 host 1 3600 900 604800 60\n@ NS ns1\n@ NS ns.other.test.\nns1 A 192.0.2.1\nns1 AAAA 2001:db8::1\n";

/// Names that lead everywhere in a zone, and next to everything in it.
fn around(names: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    for name in names {
        all.extend([
            (*name).to_owned(),
            format!("a.{name}"),
            format!("x.y.{name}"),
            format!("*.{name}"),
            format!("zz{name}"),
        ]);
    }
    all
}

fn compare(zones: &[(&str, String)], names: &[String]) {
    let mut both = Both::start(zones);
    let (asked, differing) = ask_everything(&mut both, names);
    assert!(asked > 500, "{asked} questions are too few");
    assert!(
        differing.is_empty(),
        "{} of {asked} differ\n{}",
        differing.len(),
        differing.iter().take(40).map(String::as_str).collect::<Vec<_>>().join("\n")
    );
}

#[test]
#[ignore = "needs root"]
fn nsd_and_we_say_the_same_of_an_unsigned_zone() {
    let text = format!(
        "{BASE}\
         www A 192.0.2.10\nWWW AAAA 2001:db8::10\nalias CNAME www\nchain CNAME alias\nout CNAME www.other.test.\n\
         one CNAME two\ntwo CNAME one\nself CNAME self\nnowhere CNAME missing\n\
         *.wild A 192.0.2.20\n*.wild MX 5 www\nreal.wild TXT \"real\"\n*.wc CNAME www\nsub.*.wild TXT \"odd\"\n\
         a.b.c.deep A 192.0.2.30\ncut NS ns.cut\ncut NS ns1\nns.cut A 192.0.2.40\nlow.cut TXT \"occluded\"\n\
         ds NS ns.other.test.\nds DS 1 8 2 {}\nintocut CNAME www.cut\n\
         dn DNAME target\nhost.target A 192.0.2.50\ndout DNAME other.test.\n\
         mx MX 10 www\nmx MX 20 mail.other.test.\nsrv SRV 1 2 80 www\nmany TXT \"{}\"\nmany TXT \"{}\"\nmany TXT \"{}\"\n\
         unknown TYPE1000 \\# 3 010203\nsvc HTTPS 1 . alpn=h2\nkid NS ns1.kid\nns1.kid A 192.0.2.61\n\
         {}",
        "ab".repeat(32),
        "x".repeat(200),
        "y".repeat(200),
        "z".repeat(200),
        (1..=60).map(|host| format!("big A 10.0.0.{host}\n")).collect::<String>(),
    );
    let child = format!("{BASE}host A 192.0.2.60\n");
    let zones = [("t.", text), ("kid.t.", child)];
    let mut names = around(&[
        "t.",
        "www.t.",
        "wild.t.",
        "real.wild.t.",
        "wc.t.",
        "deep.t.",
        "b.c.deep.t.",
        "cut.t.",
        "dn.t.",
        "dout.t.",
        "ds.t.",
        "kid.t.",
        "many.t.",
        "big.t.",
    ]);
    for name in [
        "alias", "chain", "out", "one", "self", "nowhere", "intocut", "mx", "srv", "unknown", "svc",
        "low.cut", "host.dn",
    ] {
        names.push(format!("{name}.t."));
    }
    names.extend(["other.test.".to_owned(), ".".to_owned(), "WwW.T.".to_owned(), "host.kid.t.".to_owned()]);
    compare(&zones, &names);
}

#[test]
#[ignore = "needs root"]
fn nsd_and_we_say_the_same_of_signed_zones() {
    for script in ["rfc4035-B-nsec.rpl", "rfc5155-B-nsec3.rpl"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
        let text = std::fs::read_to_string(path).expect("a script");
        let zone: String = text.lines().filter_map(|line| line.strip_prefix("  ")).take_while(|_| true).fold(
            String::new(),
            |mut zone, line| {
                zone.push_str(line);
                zone.push('\n');
                zone
            },
        );
        // Expected answers are indented as well: the zone ends where the first query begins.
        let end = text
            .lines()
            .take_while(|line| !line.starts_with("query"))
            .filter(|line| line.starts_with("  "))
            .count();
        let zone: String = zone.lines().take(end).map(|line| format!("{line}\n")).collect();
        // NSD takes a zone to be signed when it has a signed key.
        let zone = format!(
            "{zone}example. 3600 IN DNSKEY 256 3 5 AQPh\nexample. 3600 IN RRSIG DNSKEY 5 1 3600 20040509183619 \
             20040409183619 38519 example. AQPh\n"
        );
        let names = around(&[
            "example.",
            "a.example.",
            "b.example.",
            "c.example.",
            "d.example.",
            "ai.example.",
            "ns1.example.",
            "w.example.",
            "x.w.example.",
            "y.w.example.",
            "x.y.w.example.",
            "xx.example.",
        ]);
        compare(&[("example.", zone)], &names);
    }
}
