//! The same questions to NSD, to Knot and to us, on the same zones: every difference is none, or listed in
//! [`differences`] with the sentence that allows it, and in `docs/design/namestorm.md`.
//!
//! ```text
//! seed ─▶ zones ─▶ signed, or not ─┬─▶ peer, on the loopback address of this test's own network namespace
//!   └──▶ questions                 └─▶ the responder, in this process
//! ```
//!
//! Random zones and questions follow a seed: `FIELD_SEED=17 FIELD_COUNT=1` plays one again, `FIELD_COUNT=100` plays many.

#![cfg(test)]

mod dice;
mod differences;
mod knotd;
mod nsd;
mod peers;
mod questions;
mod zones;

use core::fmt::Write as _;
use dice::Dice;
use differences::{Pair, Verdict};
use dns::{Flags, Rtype};
use namestorm::respond::Transport;
use namestorm::show::{self, Shown};
use peers::{Directory, Ours, Peer, Who};
use questions::Question;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use zones::{Signed, Zone};

/// What came of asking both the same.
#[derive(Default)]
struct Tally {
    asked: usize,
    allowed: BTreeMap<&'static str, usize>,
    differing: Vec<String>,
}

/// A peer and ourselves, from the same zones.
struct Both {
    peer: Peer,
    ours: Ours,
    zones: Vec<String>,
    tally: Tally,
}

impl Both {
    fn start(who: Who, zones: &[Zone]) -> Self {
        Self {
            peer: Peer::start(who, zones),
            ours: Ours::start(zones),
            zones: zones.iter().map(|zone| zone.name.to_ascii_lowercase()).collect(),
            tally: Tally::default(),
        }
    }

    fn ask(&mut self, question: &Question) {
        self.tally.asked += 1;
        let Some((what, told)) = self.compare(question, question.tcp) else { return };
        // Over TCP nothing is cut short: there they have to agree.
        if what == differences::TRUNCATED && show::show(&question.bytes).is_ok() {
            match self.compare(question, true) {
                None => {
                    *self.tally.allowed.entry(differences::MAY_BE_LARGER).or_default() += 1;
                }
                Some((_, told)) => self.tally.differing.push(format!("over TCP, {told}")),
            }
            return;
        }
        self.tally.differing.push(told);
    }

    /// What differs and may not, in a word and in full.
    fn compare(&mut self, question: &Question, tcp: bool) -> Option<(&'static str, String)> {
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let ours = self.ours.answer(&question.bytes, transport);
        let theirs = match transport {
            Transport::Tcp => self.peer.over_tcp(&question.bytes),
            Transport::Udp => self.peer.over_udp(&question.bytes),
        };
        let ours = ours.map(|bytes| show::show(&bytes).expect("we write messages"));
        let Ok(theirs) = theirs.map(|bytes| show::show(&bytes)).transpose() else {
            *self.tally.allowed.entry(differences::UNREADABLE).or_default() += 1;
            return None;
        };
        let zones: Vec<&str> = self.zones.iter().map(String::as_str).collect();
        let (ours, theirs) = (ours.as_ref(), theirs.as_ref());
        let pair = Pair { who: self.peer.who, question, ours, theirs, zones: &zones };
        match differences::compare(&pair) {
            Verdict::Same => None,
            Verdict::Allowed(why) => {
                *self.tally.allowed.entry(why).or_default() += 1;
                None
            }
            Verdict::Differs(what) => Some((
                what,
                format!(
                    "{what}: {}\n{}ours\n{}theirs\n{}",
                    question.text,
                    if question.whole { String::new() } else { format!("{:02x?}\n", question.bytes) },
                    text_of(ours),
                    text_of(theirs)
                ),
            )),
        }
    }

    /// What differed and may; or what differs and may not.
    fn judge(self, context: &str) -> Result<BTreeMap<&'static str, usize>, String> {
        let Tally { asked, allowed, differing } = self.tally;
        if differing.is_empty() {
            return Ok(allowed);
        }
        let some = differing.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
        Err(format!("{context}: {} of {asked} differ\n{some}", differing.len()))
    }
}

fn text_of(shown: Option<&Shown>) -> String {
    shown.map_or_else(|| "nothing\n".to_owned(), ToString::to_string)
}

/// Zones and questions of many seeds.
fn random(who: Who) {
    let number = |name: &str, default| {
        std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number in the environment"))
    };
    let (first, count) = (number("FIELD_SEED", 1), number("FIELD_COUNT", 8));
    let mut allowed: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut failures = Vec::new();
    for seed in first..first + count {
        let mut dice = Dice(seed);
        let zones = zones_of(&mut dice, seed);
        let mut both = Both::start(who, &zones);
        for _ in 0..1_500 {
            both.ask(&questions::ordinary(&mut dice, &zones));
        }
        for _ in 0..300 {
            both.ask(&questions::odd(&mut dice, &zones));
            both.ask(&questions::broken(&mut dice, &zones));
        }
        let texts: String = if std::env::var_os("FIELD_ZONES").is_some() {
            zones.iter().map(|zone| format!("; {}\n{}", zone.name, zone.text)).collect()
        } else {
            String::new()
        };
        let context = format!("{texts}FIELD_SEED={seed} FIELD_COUNT=1 plays it again");
        match both.judge(&context) {
            Ok(seen) => seen.into_iter().for_each(|(why, times)| *allowed.entry(why).or_default() += times),
            Err(told) => failures.push(told),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let mut told = String::new();
    for (why, times) in allowed {
        let _ = writeln!(told, "{times:6} × {why}");
    }
    let told = format!("allowed differences from {who:?}, seeds {first} to {}:\n{told}", first + count - 1);
    let _ = std::io::stderr().write_all(told.as_bytes());
}

/// A zone, a child of it that it delegates or not, a child of what it delegates; and the root, sometimes.
fn zones_of(dice: &mut Dice, seed: u64) -> Vec<Zone> {
    let children = [("kid.t.", dice.percent(70)), ("deep.kid.t.", dice.percent(70))];
    let mut zones = vec![zones::random(dice, "t.", &children[..1])];
    zones.push(zones::random(dice, "kid.t.", &children[1..]));
    if dice.percent(50) {
        zones.push(zones::random(dice, "deep.kid.t.", &[]));
    }
    if dice.percent(25) {
        let delegated = dice.percent(50);
        zones.push(zones::random(dice, ".", &[("t.", delegated)]));
    }
    let how = match seed % 4 {
        0 => Signed::Not,
        1 => Signed::Nsec,
        2 => Signed::Nsec3,
        _ => Signed::OptOut,
    };
    if how != Signed::Not {
        let directory = Directory::new();
        for zone in &mut zones {
            *zone = zones::sign(zone, how, &directory.0, dice);
        }
    }
    zones
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

/// Asks everything of these names.
fn compare(who: Who, zones: &[(&str, String)], names: &[String]) {
    let zones: Vec<Zone> = zones
        .iter()
        .map(|(name, text)| Zone { name: (*name).to_owned(), text: text.clone(), names: Vec::new() })
        .collect();
    let types = [1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 43, 46, 47, 48, 50, 51, 64, 65, 99, 255, 1_000];
    let mut both = Both::start(who, &zones);
    for name in names {
        for qtype in types {
            for edns in [None, Some((512, false)), Some((1_232, true))] {
                let flags = if qtype % 2 == 0 { Flags::RD } else { 0 };
                both.ask(&questions::plain(name, Rtype(qtype), flags, edns));
            }
        }
    }
    assert!(both.tally.asked > 500, "these are too few");
    if let Err(told) = both.judge("zones that were written") {
        panic!("{told}");
    }
}

/// A zone with one of everything.
fn unsigned(who: Who) {
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
    compare(who, &zones, &names);
}

/// The zones of RFC 4035 and RFC 5155.
fn signed(who: Who) {
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
        compare(who, &[("example.", zone)], &names);
    }
}
