//! What may differ, each with the sentence that allows it; and what differs otherwise.

use crate::peers::Who;
use crate::questions::Question;
use dns::{Flags, Rcode, Rtype};
use namestorm::show::Shown;

/// One of two answers did not fit.
pub(crate) const TRUNCATED: &str = "truncated on one side";

/// Why that may be, if both say the same where everything fits.
pub(crate) const MAY_BE_LARGER: &str =
    "RFC 1035 §4.1.4: names need not be compressed, at the price of truncation; over TCP they agree";

/// Why an answer of theirs may not be compared.
pub(crate) const UNREADABLE: &str = "RFC 1035 §4.1.4: pointers may lead to pointers, and in a loop of DNAMEs to more of them than the parser that compares follows";

/// Two answers, or their absence, and what was asked.
pub(crate) struct Pair<'a> {
    pub(crate) who: Who,
    pub(crate) question: &'a Question,
    pub(crate) ours: Option<&'a Shown>,
    pub(crate) theirs: Option<&'a Shown>,
    /// The names of the zones, in lower case.
    pub(crate) zones: &'a [&'a str],
}

/// How two answers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Same,
    /// They differ as this sentence allows.
    Allowed(&'static str),
    /// They differ.
    Differs(&'static str),
}

fn sorted(lines: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = lines.iter().map(|line| line.to_ascii_lowercase()).collect();
    lines.sort();
    lines.dedup();
    lines
}

/// How they compare.
pub(crate) fn compare(pair: &Pair<'_>) -> Verdict {
    match plain_difference(pair) {
        None => Verdict::Same,
        Some(what) => RULES
            .iter()
            .find(|rule| rule.who.is_none_or(|who| who == pair.who) && (rule.applies)(pair, what))
            .map_or(Verdict::Differs(what), |rule| Verdict::Allowed(rule.why)),
    }
}

/// The first thing that differs at all.
fn plain_difference(pair: &Pair<'_>) -> Option<&'static str> {
    let (ours, theirs) = match (pair.ours, pair.theirs) {
        (Some(ours), Some(theirs)) => (ours, theirs),
        (None, None) => return None,
        (Some(_), None) => return Some("only we answer"),
        (None, Some(_)) => return Some("only they answer"),
    };
    if ours.header.flags.has(Flags::TC) != theirs.header.flags.has(Flags::TC) {
        return Some(TRUNCATED);
    }
    if ours.rcode != theirs.rcode {
        return Some("another code");
    }
    let flags = Flags::AA | Flags::TC | Flags::RD | Flags::RA | Flags::AD | Flags::CD;
    let differing = (ours.header.flags.0 ^ theirs.header.flags.0) & flags;
    if differing != 0 {
        return Some("other flags");
    }
    if ours.options.is_some() != theirs.options.is_some() {
        return Some("EDNS on one side");
    }
    if ours.question != theirs.question {
        return Some("another question");
    }
    if sorted(&ours.sections[0]) != sorted(&theirs.sections[0]) {
        return Some("another answer");
    }
    if sorted(&ours.sections[1]) != sorted(&theirs.sections[1]) {
        return Some("another authority section");
    }
    if sorted(&ours.sections[2]) != sorted(&theirs.sections[2]) {
        return Some("other additional records");
    }
    None
}

/// A difference that is allowed.
struct Rule {
    /// By whom; by both when nobody is named.
    who: Option<Who>,
    why: &'static str,
    applies: fn(&Pair<'_>, &str) -> bool,
}

const RULES: &[Rule] = &[
    Rule {
        who: None,
        why: "RFC 8482 §4.1 and §7: of ANY and of RRSIG a server may choose a set, and the smallest type is ours",
        applies: |pair, what| {
            matches!(pair.question.qtype, Rtype::ANY | Rtype::RRSIG)
                && matches!(what, "another answer" | TRUNCATED | "another authority section")
                && pair.both(|ours, theirs| {
                    ours.sections[0].is_empty() == theirs.sections[0].is_empty()
                        || ours.header.flags.has(Flags::TC)
                        || theirs.header.flags.has(Flags::TC)
                })
        },
    },
    Rule {
        who: None,
        why: "RFC 8906 §3.1.2 and RFC 6895 §3.1: types that are no data may be answered with NOTIMP, or FORMERR where they are a transport's",
        applies: |pair, what| {
            matches!(what, "another code" | TRUNCATED)
                && matches!(
                    pair.question.qtype,
                    Rtype::MAILA | Rtype::MAILB | Rtype::TKEY | Rtype::TSIG | Rtype::OPT
                )
        },
    },
    Rule {
        who: None,
        why: "RFC 5936 §2.2 and RFC 1995 §4: transfers have tests of their own",
        applies: |pair, _| matches!(pair.question.qtype, Rtype::AXFR | Rtype::IXFR),
    },
    Rule {
        who: None,
        why: "RFC 6891 §6.1.3: a version above ours is BADVERS, whatever its options are",
        applies: |pair, _| pair.ours_is(Rcode::BADVERS),
    },
    Rule {
        who: None,
        why: "RFC 8906 §3.1.4 and §8.1.4: an opcode that is not implemented is NOTIMP, and what follows it is not looked at",
        applies: |pair, _| {
            pair.opcode() != 0
                && pair.opcode() != 4
                && pair.ours.is_some_and(|ours| ours.rcode == Rcode::NOTIMP && ours.question.is_none())
        },
    },
    Rule {
        who: None,
        why: "RFC 9619 §4: a query with any number of questions but one is FORMERR",
        applies: |pair, _| pair.count(4) != 1 && pair.ours_is(Rcode::FORMERR),
    },
    Rule {
        who: None,
        why: "RFC 1035 §4.1.1: a message that is not what its counts say, or whose names cannot be read, is FORMERR",
        applies: |pair, _| pair.ours_is(Rcode::FORMERR) && !pair.is_readable(),
    },
    Rule {
        who: None,
        why: "RFC 1995 §3 and RFC 1996 §3.7: only these have something to say in the answer and authority sections of a query",
        applies: |pair, _| pair.ours_is(Rcode::FORMERR) && (pair.count(6) > 0 || pair.count(8) > 0),
    },
    Rule {
        who: None,
        why: "RFC 1035 §4.1.4: a name may end in a pointer that leads backwards, even where no name can be",
        applies: |pair, what| {
            matches!(what, "another code" | "only we answer" | TRUNCATED)
                && pair.question.text.contains("a name that ends in [c0, 04]")
        },
    },
    Rule {
        who: Some(Who::Nsd),
        why: "RFC 1035 §4.1.1: RCODE is set in responses, and in a query says nothing",
        applies: |pair, _| {
            pair.question.bytes.get(3).is_some_and(|byte| byte & 15 != 0)
                && pair.theirs.is_none_or(|theirs| theirs.rcode == Rcode::FORMERR)
        },
    },
    Rule {
        who: None,
        why: "RFC 1035 §6.2: an answer to class ANY is never authoritative",
        applies: |pair, what| {
            matches!(what, "other flags" | "another authority section" | TRUNCATED)
                && pair.ours.is_some_and(|ours| {
                    ours.question.as_ref().is_some_and(|question| question.contains(" ANY "))
                        && !ours.header.flags.has(Flags::AA)
                })
        },
    },
    Rule {
        who: Some(Who::Nsd),
        why: "RFC 6895 §2: of the flags of a query only RD, AD and CD are copied; what CD means is a resolver's to say",
        applies: |pair, what| {
            matches!(what, "other flags" | TRUNCATED)
                && pair.both(|ours, theirs| {
                    ours.rcode == theirs.rcode
                        && matches!(ours.rcode, Rcode::BADVERS | Rcode::NOTIMP | Rcode::FORMERR)
                })
        },
    },
    Rule {
        who: Some(Who::Nsd),
        why: "RFC 8906 §3.1: what can be read of a question is repeated, whatever the code",
        applies: |pair, what| {
            what == "another question" && (pair.ours_is(Rcode::REFUSED) || pair.ours_is(Rcode::FORMERR))
        },
    },
    Rule {
        who: None,
        why: "RFC 1034 §3.6.2: a CNAME is followed for every type but its own, and those that may lie beside it (RFC 4034 §3, §4)",
        applies: |pair, what| {
            matches!(what, "another answer" | "another code" | TRUNCATED)
                && matches!(pair.question.qtype, Rtype::NSEC3 | Rtype::NSEC | Rtype::RRSIG)
                && pair.ours.is_some_and(|ours| ours.sections[0].iter().any(|line| line.contains(" CNAME ")))
        },
    },
    Rule {
        who: None,
        why: "RFC 1034 §3.6.2: chains are followed, and loops are the zone's error: how far is each server's choice",
        applies: |pair, what| {
            what == "another answer"
                && pair.both(|ours, theirs| {
                    let (ours, theirs) = (sorted(&ours.sections[0]), sorted(&theirs.sections[0]));
                    let is_part = within(&ours, &theirs) || within(&theirs, &ours);
                    is_part && (loops(&ours) || loops(&theirs))
                })
        },
    },
    Rule {
        who: None,
        why: "RFC 4035 §3.1.4.1: of a DS the parent speaks at a cut; one that knows of none would deny the child (RFC 8020)",
        applies: |pair, what| {
            pair.question.qtype == Rtype::DS
                && matches!(what, "another answer" | "another authority section" | "another code")
                && pair.ours.is_some_and(|ours| {
                    let asked = ours.question.as_ref().and_then(|text| text.split(' ').next());
                    let soa = ours.sections[1].iter().find(|line| line.contains(" SOA "));
                    let owner = soa.and_then(|line| line.split(' ').next());
                    asked.zip(owner).is_some_and(|(asked, owner)| asked.eq_ignore_ascii_case(owner))
                })
        },
    },
    Rule {
        who: None,
        why: "RFC 5155 §7.2.1: where opt-out left an encloser without a hash, one above it is what can be proven",
        applies: |pair, what| {
            what == "another authority section"
                && pair.both(|ours, theirs| {
                    let opt_out = ours.sections[1].iter().any(|line| line.contains(" NSEC3 1 1 "));
                    let denied = ours.rcode == Rcode::NXDOMAIN || ours.rcode == Rcode::NOERROR;
                    // What is said besides proofs is the same.
                    let besides = |shown: &Shown| {
                        let mut lines = sorted(&shown.sections[1]);
                        lines.retain(|line| !line.contains(" nsec3 "));
                        lines
                    };
                    denied && opt_out && ours.header.flags.has(Flags::AA) && besides(ours) == besides(theirs)
                })
        },
    },
    Rule {
        who: Some(Who::Knot),
        why: "RFC 5155 §7.2.1: where opt-out left an encloser without a hash, one above it is proven; Knot proves nothing",
        applies: |pair, what| {
            matches!(what, "other flags" | TRUNCATED)
                && pair.both(|ours, theirs| {
                    ours.rcode == theirs.rcode
                        && !theirs.header.flags.has(Flags::AA)
                        && theirs.sections.iter().all(Vec::is_empty)
                        && ours.rcode == Rcode::NXDOMAIN
                })
        },
    },
    Rule {
        who: Some(Who::Nsd),
        why: "RFC 4035 §3.1.3.1, RFC 5155 §7.2.3 and §7.2.5: NODATA is proven by one record, of a wildcard by three; NSD has more, or fewer",
        applies: |pair, what| {
            what == "another authority section"
                && pair.both(|ours, theirs| {
                    let (ours, theirs) = (sorted(&ours.sections[1]), sorted(&theirs.sections[1]));
                    !ours.is_empty() && (within(&ours, &theirs) || within(&theirs, &ours))
                })
                && pair
                    .ours
                    .is_some_and(|ours| ours.rcode == Rcode::NOERROR && ours.header.flags.has(Flags::AA))
        },
    },
    Rule {
        who: Some(Who::Nsd),
        why: "RFC 6672 §3.4.1 and RFC 2181 §5.4.1: a resolver asks the servers of the zone that a chain leads into; ours ends there",
        applies: |pair, what| {
            (what.starts_with("another ") || what == "other additional records" || what == TRUNCATED)
                && pair.leaves_the_zone()
        },
    },
    Rule {
        who: Some(Who::Nsd),
        why: "RFC 4035 §3.1.3: behind a DNAME the last name is denied as one that was asked for; NSD denies less, or names above",
        applies: |pair, what| {
            what == "another authority section"
                && pair.both(|ours, theirs| {
                    let redirected = ours.sections[0].iter().any(|line| line.contains(" DNAME "));
                    redirected && !theirs.sections[1].is_empty() && !ours.sections[1].is_empty()
                })
        },
    },
    Rule {
        who: None,
        why: "RFC 8945 §5.1 and RFC 2931 §3: records may follow a question; those that mean nothing to us are passed over",
        applies: |pair, what| {
            matches!(what, "another code" | "only we answer" | "EDNS on one side" | TRUNCATED)
                && pair.theirs.is_none_or(|theirs| theirs.rcode == Rcode::FORMERR)
                && pair.count(10) > 0
                && pair.ours.is_some_and(|ours| ours.options.is_none())
        },
    },
    Rule {
        who: Some(Who::Knot),
        why: "RFC 2308 §2: the SOA comes with what can be kept, NXDOMAIN and NODATA; a DNAME that is too long is neither",
        applies: |pair, what| what == "another authority section" && pair.ours_is(Rcode::YXDOMAIN),
    },
    Rule {
        who: Some(Who::Knot),
        why: "RFC 4035 §3.1.3.3: what a wildcard answered is proven in the authority section, also when NSEC was asked for",
        applies: |pair, what| {
            what == "another authority section"
                && pair.question.qtype == Rtype::NSEC
                && pair.both(|ours, theirs| within(&sorted(&theirs.sections[1]), &sorted(&ours.sections[1])))
        },
    },
    Rule {
        who: None,
        why: "RFC 1996 §3.11: notifications have tests of their own",
        applies: |pair, _| pair.opcode() == 4,
    },
    Rule {
        who: None,
        why: "RFC 4035 §3.1.3.4 and RFC 5155 §7.2.5: what a name that begins with * needs is proven as of any other name",
        applies: |pair, what| {
            what == "another authority section"
                && pair.both(|ours, theirs| {
                    let links = ours.sections[0].iter();
                    let is_wildcard = links
                        .filter_map(|line| Some(line.split_once(" CNAME ")?.1))
                        .chain(ours.question.as_deref())
                        .any(|name| name.starts_with("*."));
                    let (ours, theirs) = (sorted(&ours.sections[1]), sorted(&theirs.sections[1]));
                    is_wildcard && !ours.is_empty() && (within(&ours, &theirs) || within(&theirs, &ours))
                })
        },
    },
    Rule {
        who: None,
        why: "RFC 2181 §9: what a truncated answer holds is of no use: ours holds nothing",
        applies: |pair, what| {
            what.starts_with("another ")
                && pair.both(|ours, theirs| {
                    let tc = Flags::TC;
                    ours.header.flags.has(tc) && theirs.header.flags.has(tc) && ours.sections[0].is_empty()
                })
        },
    },
    Rule {
        who: None,
        why: "RFC 1034 §4.3.2 step 6: additional records are those that help; glue below a cut has to be there (RFC 9471)",
        applies: |pair, what| what == "other additional records" && pair.both(additional_is_enough),
    },
];

impl Pair<'_> {
    fn opcode(&self) -> u8 {
        self.question.bytes.get(2).map_or(0, |byte| byte >> 3 & 15)
    }

    /// One of the header's counts.
    fn count(&self, at: usize) -> u16 {
        self.question.bytes.get(at..at + 2).map_or(0, |count| u16::from_be_bytes([count[0], count[1]]))
    }

    fn ours_is(&self, rcode: Rcode) -> bool {
        self.ours.is_some_and(|ours| ours.rcode == rcode)
    }

    /// The name of the deepest zone that has this name.
    fn zone_of(&self, name: &str) -> Option<&str> {
        let name = format!(".{}", name.to_ascii_lowercase());
        let holds = |zone: &&&str| **zone == "." || name.ends_with(&format!(".{zone}"));
        self.zones.iter().filter(holds).max_by_key(|zone| zone.len()).copied()
    }

    /// Whether a chain in either answer leads from one zone that is here into another, or asks a parent of it.
    fn leaves_the_zone(&self) -> bool {
        let asked = self.ours.and_then(|ours| ours.question.as_deref()?.split(' ').next());
        let home = asked.and_then(|asked| self.zone_of(asked));
        let lines = self.ours.iter().chain(&self.theirs).flat_map(|shown| &shown.sections[0]);
        let mut targets = lines.filter_map(|line| line.split_once(" CNAME ").map(|(_, target)| target));
        targets.any(|target| {
            let at_apex = self.zones.iter().any(|zone| zone.eq_ignore_ascii_case(target));
            self.zone_of(target) != home || self.question.qtype == Rtype::DS && at_apex
        })
    }

    /// Whether the parser of another house reads all of the query, and finds nothing behind it.
    pub(crate) fn is_readable(&self) -> bool {
        namestorm::show::show(&self.question.bytes).is_ok()
    }

    fn both(&self, holds: impl Fn(&Shown, &Shown) -> bool) -> bool {
        self.ours.zip(self.theirs).is_some_and(|(ours, theirs)| holds(ours, theirs))
    }
}

/// One side has all that the other has; and of a referral we have the addresses that it cannot do without.
fn additional_is_enough(ours: &Shown, theirs: &Shown) -> bool {
    let (few, many) = (sorted(&ours.sections[2]), sorted(&theirs.sections[2]));
    if within(&many, &few) {
        return true;
    }
    let cut = sorted(&ours.sections[1]).iter().find_map(|line| {
        let (owner, rest) = line.split_once(' ')?;
        rest.contains(" in ns ").then(|| format!(".{owner}"))
    });
    let needed = |line: &String| {
        let owner = line.split(' ').next().unwrap_or_default();
        cut.as_ref().is_some_and(|cut| owner.ends_with(cut.as_str()) || *owner == cut[1..])
    };
    many.iter().filter(|line| needed(line)).all(|line| few.contains(line))
}

/// Whether a chain comes back to one of its names, or grows through a DNAME.
fn loops(lines: &[String]) -> bool {
    let links =
        || lines.iter().filter_map(|line| Some((line.split(' ').next()?, line.split_once(" cname ")?.1)));
    // A chain that ends has one target that owns no link.
    let returns = links().count() > 0 && links().all(|(_, target)| links().any(|(owner, _)| owner == target));
    returns || lines.iter().any(|line| line.contains(" dname "))
}

/// Whether each line of one is in the other.
fn within(few: &[String], many: &[String]) -> bool {
    few.iter().all(|line| many.contains(line))
}
