//! Random zones: everything that RFC 1034 §4.3.2 tells apart, close together, so that random names meet it.

use crate::dice::Dice;
use core::fmt::Write as _;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// How a zone denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signed {
    /// It does not.
    Not,
    Nsec,
    Nsec3,
    /// NSEC3 that leaves out delegations without DS.
    OptOut,
}

/// A zone's name and text.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    pub(crate) name: String,
    pub(crate) text: String,
    /// Owners, absolute, and what lies near them.
    pub(crate) names: Vec<String>,
}

/// Few labels, so that random names meet each other; one that is as long as labels are.
const LABELS: [&str; 13] = [
    "a",
    "b",
    "c",
    "d",
    "w",
    "x",
    "*",
    "*",
    "_t",
    "9",
    "A-b",
    "a\\.b",
    "lllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll",
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Cname,
    Cut,
    Dname,
}

/// A random name below `origin`, or `origin` itself.
pub(crate) fn below(dice: &mut Dice, origin: &str, depth: usize) -> String {
    let mut name = String::new();
    for _ in 0..dice.below(depth + 1) {
        name.push_str(dice.of(&LABELS));
        name.push('.');
    }
    if origin == "." && !name.is_empty() { name } else { name + origin }
}

/// A zone of random names. What is at and below `children` is theirs, apart from their delegations.
pub(crate) fn random(dice: &mut Dice, apex: &str, children: &[(&str, bool)]) -> Zone {
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    for _ in 0..20 + dice.below(40) {
        let name = below(dice, apex, 4).to_ascii_lowercase();
        let is_child = |child: &str| name == child || name.ends_with(&format!(".{child}"));
        if name == apex || children.iter().any(|(child, _)| is_child(child)) {
            continue;
        }
        let kind = match dice.below(100) {
            0..60 => Kind::Data,
            60..78 => Kind::Cname,
            // RFC 4592 §4.2 and §4.4: what NS and DNAME at a wildcard mean is not said.
            78..92 if !name.starts_with("*.") => Kind::Cut,
            92.. if !name.starts_with("*.") => Kind::Dname,
            _ => Kind::Data,
        };
        kinds.entry(name).or_insert(kind);
    }
    // RFC 6672 §2.4: nothing lies below a DNAME; Knot refuses such a zone.
    let dnames: Vec<String> =
        kinds.iter().filter(|(_, kind)| **kind == Kind::Dname).map(|(name, _)| format!(".{name}")).collect();
    kinds.retain(|name, _| !dnames.iter().any(|dname| name.ends_with(dname)));
    let cuts: Vec<String> =
        kinds.iter().filter(|(_, kind)| **kind == Kind::Cut).map(|(name, _)| name.clone()).collect();
    // A CNAME at a wildcard's encloser is fine, data below a cut is occluded: both stay.
    let mut names: Vec<String> = kinds.keys().cloned().collect();
    names.push(apex.to_owned());

    let mut text = String::from("$TTL 300\n");
    let dot = if apex == "." { "" } else { apex };
    let _ = writeln!(text, "{apex} SOA ns1.{dot} host.{dot} 7 3600 900 604800 {}", dice.of(&[0, 60, 900]));
    let _ = writeln!(text, "{apex} NS ns1.{dot}\n{apex} NS ns.other.test.\nns1.{dot} A 192.0.2.1");
    if dice.percent(50) {
        let _ = writeln!(text, "ns1.{dot} AAAA 2001:db8::1\n{apex} MX 5 ns1.{dot}");
    }
    let mut writer = Writer { dice, apex, names: &names, text: &mut text };
    for (name, kind) in &kinds {
        match kind {
            Kind::Data => writer.data(name),
            Kind::Cname => {
                let target = writer.target();
                writer.line(name, &format!("CNAME {target}"));
            }
            Kind::Dname => {
                let target = writer.target();
                writer.line(name, &format!("DNAME {target}"));
                if writer.dice.percent(30) {
                    writer.line(name, "TXT \"beside a DNAME\"");
                }
            }
            Kind::Cut => writer.cut(name, &cuts),
        }
    }
    for (child, delegated) in children.iter().filter(|(child, _)| child.ends_with(dot)) {
        if *delegated {
            writer.line(child, &format!("NS ns1.{child}"));
            writer.line(&format!("ns1.{child}"), "A 192.0.2.61");
            if writer.dice.percent(50) {
                writer.line(child, &format!("DS 1 13 2 {}", "ab".repeat(32)));
            }
        }
    }
    names.extend(children.iter().map(|(child, _)| (*child).to_owned()));
    names.push(format!("ns1.{dot}"));
    Zone { name: apex.to_owned(), text, names }
}

struct Writer<'a> {
    dice: &'a mut Dice,
    apex: &'a str,
    names: &'a [String],
    text: &'a mut String,
}

impl Writer<'_> {
    /// In any case, as RFC 4343 allows.
    fn line(&mut self, owner: &str, rest: &str) {
        let owner = if self.dice.percent(20) { owner.to_ascii_uppercase() } else { owner.to_owned() };
        let _ = writeln!(self.text, "{owner} {rest}");
    }

    fn target(&mut self) -> String {
        match self.dice.below(10) {
            0..6 => self.dice.of(self.names),
            6..8 => below(self.dice, self.apex, 3),
            8 => "www.other.test.".to_owned(),
            _ => below(self.dice, "t.", 3),
        }
    }

    fn data(&mut self, owner: &str) {
        for _ in 0..1 + self.dice.below(3) {
            let target = self.target();
            let (any, few) = (self.dice.below(250), 1 + self.dice.below(4));
            match self.dice.below(36) {
                0..5 => (0..few).for_each(|host| self.line(owner, &format!("A 192.0.2.{}", any + host))),
                5..7 => (0..few).for_each(|host| self.line(owner, &format!("AAAA 2001:db8::{any:x}:{host}"))),
                7 => self.line(owner, &format!("MX {any} {target}")),
                8 => self.line(owner, &format!("TXT \"{any}\" \"{}\"", "x".repeat(any))),
                9 => self.line(owner, &format!("SRV 1 2 {any} {target}")),
                10 => self.line(owner, &format!("PTR {target}")),
                11 => self.line(owner, &format!("HTTPS 1 {target} alpn=h2,h3 port={any}")),
                12 => self.line(owner, &format!("HTTPS 0 {target}")),
                13 => self.line(owner, "SVCB 1 . port=53"),
                14 => self.line(owner, "CAA 0 issue \"ca.test\""),
                15 => self.line(owner, &format!("TLSA 3 1 1 {}", "0f".repeat(32))),
                16 => self.line(owner, &format!("SSHFP 4 2 {}", "f0".repeat(32))),
                17 => self.line(owner, &format!("NAPTR 1 2 \"s\" \"SIP+D2U\" \"\" {target}")),
                18 => self.line(owner, &format!("TYPE1000 \\# 3 0102{any:02x}")),
                19 => self.line(owner, "TYPE65400 \\# 0"),
                20 => self.line(owner, "HINFO \"a machine\" \"a system\""),
                21 => self.line(owner, &format!("RP {target} {target}")),
                22 => self.line(owner, "LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m"),
                23 => self.line(owner, &format!("KX {any} {target}")),
                24 => self.line(owner, &format!("AFSDB 1 {target}")),
                25 => self.line(owner, &format!("RT {any} {target}")),
                26 => self.line(owner, &format!("URI 10 {any} \"https://www.other.test/{any}\"")),
                27 => self.line(owner, "OPENPGPKEY mQENBFVHm5s="),
                28 => self.line(owner, &format!("CERT 1 {any} 8 MxFcby9k")),
                29 => self.line(owner, "DHCID AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA="),
                30 => self.line(owner, &format!("EUI48 00-00-5e-00-53-{any:02x}")),
                31 => self.line(owner, &format!("SMIMEA 3 1 1 {}", "0f".repeat(32))),
                32 => self.line(owner, "APL 1:192.0.2.0/24 !2:2001:db8::/32"),
                _ => (0..60).for_each(|host| self.line(owner, &format!("A 10.0.{any}.{host}"))),
            }
        }
    }

    fn cut(&mut self, owner: &str, cuts: &[String]) {
        for server in 0..1 + self.dice.below(3) {
            let name = match self.dice.below(5) {
                0..2 => {
                    let name = format!("ns{server}.{owner}");
                    // Now and then an address is forgotten.
                    if self.dice.percent(90) {
                        self.line(&name, &format!("A 192.0.2.{}", 100 + server));
                    }
                    if self.dice.percent(30) {
                        (0..30).for_each(|host| self.line(&name, &format!("AAAA 2001:db8:1::{host}")));
                    }
                    name
                }
                2 => {
                    // Below another cut.
                    let cut = self.dice.of(cuts);
                    let name = format!("ns.{cut}");
                    self.line(&name, "A 192.0.2.111");
                    name
                }
                3 => "ns.other.test.".to_owned(),
                _ => self.target(),
            };
            self.line(owner, &format!("NS {name}"));
        }
        if self.dice.percent(40) {
            let tag = self.dice.below(65_536);
            self.line(owner, &format!("DS {tag} 13 2 {}", "cd".repeat(32)));
        }
        if self.dice.percent(40) {
            self.line(&format!("low.{owner}"), "TXT \"occluded\"");
        }
    }
}

/// The same zone with signatures and proofs, as BIND's signer makes them.
pub(crate) fn sign(zone: &Zone, how: Signed, directory: &Path, dice: &mut Dice) -> Zone {
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{program}, of Debian's package bind9-utils: {error}"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program} {arguments:?}: {said}\n{}", zone.text);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let mut text = zone.text.clone();
    for flags in [&["-f", "KSK"][..], &[]] {
        let arguments = [&["-q", "-a", "ECDSAP256SHA256"][..], flags, &[zone.name.as_str()]].concat();
        let key = run("dnssec-keygen", &arguments);
        text.push_str(&std::fs::read_to_string(directory.join(format!("{key}.key"))).expect("a key"));
    }
    let (plain, signed) = (directory.join("plain"), directory.join("signed"));
    std::fs::write(&plain, text).expect("a file");
    let salt = dice.of(&["-", "aabbccdd"]);
    let iterations = dice.of(&["0", "0", "5"]);
    let mut arguments = vec!["-P", "-x", "-q", "-O", "full", "-o", &zone.name, "-f", "signed"];
    if matches!(how, Signed::Nsec3 | Signed::OptOut) {
        arguments.extend(["-3", salt, "-H", iterations]);
    }
    if how == Signed::OptOut {
        arguments.push("-A");
    }
    arguments.push("plain");
    run("dnssec-signzone", &arguments);
    let text = std::fs::read_to_string(&signed).expect("a signed zone");
    Zone { text, ..zone.clone() }
}
