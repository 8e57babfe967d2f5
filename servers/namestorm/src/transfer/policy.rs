//! Who may have which zone, who may say that it changed, and the keys that they share with us.
//!
//! A rule names a network, a key, or both; whoever fits one of a zone's rules may. No rule means nobody.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;
use dns::tsig;
use std::collections::BTreeMap;

/// A network by its address and the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

impl Prefix {
    /// Whether `address` lies in it.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let behind = 32 - u32::from(self.bits);
                (u64::from(network.to_bits()) ^ u64::from(address.to_bits())) >> behind == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                self.bits == 0 || differing >> (128 - u32::from(self.bits)) == 0
            }
            _ => false,
        }
    }
}

/// Text that says no rule: the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRule(String);

impl fmt::Display for BadRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for BadRule {}

impl FromStr for Prefix {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        let wrong = || BadRule(format!("'{text}' is no address and no network such as 192.0.2.0/24"));
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(whole);
        if bits > whole { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

/// Somebody who may: from that network, with that key, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where from; anywhere without it.
    pub network: Option<Prefix>,
    /// The name of the key, folded, on the wire; none is needed without it.
    pub key: Option<Box<[u8]>>,
}

impl Rule {
    /// Whether whoever comes from there, and has signed with that key, may.
    #[must_use]
    pub fn admits(&self, source: IpAddr, key: Option<&[u8]>) -> bool {
        self.network.is_none_or(|network| network.holds(source))
            && self.key.as_deref().is_none_or(|wanted| key == Some(wanted))
    }
}

/// The name after `key:`, on the wire.
fn key_name(text: &str) -> Option<Result<Box<[u8]>, BadRule>> {
    let name = text.strip_prefix("key:")?;
    Some(match dns::name::from_text(name.as_bytes()) {
        Ok(mut wire) if wire.len() > 1 => {
            wire.make_ascii_lowercase();
            Ok(wire.into())
        }
        _ => Err(BadRule(format!("'{text}' names no key"))),
    })
}

impl FromStr for Rule {
    type Err = BadRule;

    /// `192.0.2.0/24`, `key:NAME`, or both with a blank between.
    fn from_str(text: &str) -> Result<Self, BadRule> {
        let mut rule = Self { network: None, key: None };
        for word in text.split_whitespace() {
            match key_name(word) {
                Some(name) if rule.key.is_none() => rule.key = Some(name?),
                None if rule.network.is_none() => rule.network = Some(word.parse()?),
                _ => {
                    return Err(BadRule(format!(
                        "'{text}' is not one network and one key: NETWORK key:NAME"
                    )));
                }
            }
        }
        if rule.network.is_none() && rule.key.is_none() {
            return Err(BadRule("a rule that names neither a network nor a key".to_owned()));
        }
        Ok(rule)
    }
}

/// Another server of a zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remote {
    /// Where it listens.
    pub address: SocketAddr,
    /// The name of the key that it and we share, folded, on the wire.
    pub key: Option<Box<[u8]>>,
}

impl FromStr for Remote {
    type Err = BadRule;

    /// `192.0.2.1`, `192.0.2.1:5353`, `[2001:db8::1]:5353`, and ` key:NAME` behind it.
    fn from_str(text: &str) -> Result<Self, BadRule> {
        let wrong = || {
            BadRule(format!(
                "'{text}' is no server: ADDRESS or ADDRESS:PORT, and key:NAME behind it if it has one"
            ))
        };
        let mut words = text.split_whitespace();
        let place = words.next().ok_or_else(wrong)?;
        let address = match place.parse::<IpAddr>() {
            Ok(address) => SocketAddr::new(address, 53),
            Err(_) => place.parse().map_err(|_| wrong())?,
        };
        let key = words.next().map(|word| key_name(word).ok_or_else(wrong)?).transpose()?;
        if words.next().is_some() || address.port() == 0 { Err(wrong()) } else { Ok(Self { address, key }) }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// What others may do with a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Who may have all of it.
    pub transfer: Vec<Rule>,
    /// Where it comes from; nothing when it comes from a file of the operator's.
    pub primaries: Vec<Remote>,
}

/// The rules of all zones, and the keys. Immutable, as the zones are.
#[derive(Debug, Default)]
pub struct Policy {
    keys: Vec<tsig::Key>,
    zones: BTreeMap<Box<[u8]>, Rules>,
}

impl Policy {
    /// Keys, and the rules of zones by their apex, folded.
    #[must_use]
    pub const fn new(keys: Vec<tsig::Key>, zones: BTreeMap<Box<[u8]>, Rules>) -> Self {
        Self { keys, zones }
    }

    /// Every key.
    #[must_use]
    pub fn keys(&self) -> &[tsig::Key] {
        &self.keys
    }

    /// The key of that name.
    #[must_use]
    pub fn key(&self, name: &[u8]) -> Option<&tsig::Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Whether anybody may have the zone.
    #[must_use]
    pub fn is_sent(&self, apex: &[u8]) -> bool {
        self.zones.get(apex).is_some_and(|rules| !rules.transfer.is_empty())
    }

    /// Whether whoever comes from there, and has signed with that key, may have the zone.
    #[must_use]
    pub fn may_transfer(&self, apex: &[u8], source: IpAddr, key: Option<&[u8]>) -> bool {
        let rules = self.zones.get(apex).map_or(&[][..], |rules| &rules.transfer);
        rules.iter().any(|rule| rule.admits(source, key))
    }

    /// Whether whoever comes from there, and has signed with that key, may say that the zone has changed: one of its
    /// primaries (RFC 1996 §3.11).
    #[must_use]
    pub fn may_notify(&self, apex: &[u8], source: IpAddr, key: Option<&[u8]>) -> bool {
        let primaries = self.zones.get(apex).map_or(&[][..], |rules| &rules.primaries);
        primaries.iter().any(|primary| {
            primary.address.ip() == source.to_canonical()
                && primary.key.as_deref().is_none_or(|wanted| key == Some(wanted))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_holds_what_its_prefix_says() {
        for (network, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "203.0.113.1", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("192.0.2.0/24", "::ffff:192.0.2.9", "::1"),
        ] {
            let rule = rule(network);
            assert!(rule.admits(inside.parse().unwrap(), None), "{network} {inside}");
            assert!(!rule.admits(outside.parse().unwrap(), None), "{network} {outside}");
        }
    }

    #[test]
    fn a_rule_with_a_key_and_a_network_wants_both() {
        let rule = rule("192.0.2.0/24 key:Xfr.Example");
        let (inside, outside) = ("192.0.2.1".parse().unwrap(), "192.0.3.1".parse().unwrap());
        let key: &[u8] = b"\x03xfr\x07example\0";
        assert!(rule.admits(inside, Some(key)));
        assert!(!rule.admits(inside, None) && !rule.admits(inside, Some(b"\x05other\0")));
        assert!(!rule.admits(outside, Some(key)));
    }

    #[test]
    fn nobody_may_without_a_rule() {
        let policy = Policy::default();
        assert!(!policy.may_transfer(b"\x07example\0", "127.0.0.1".parse().unwrap(), None));
        assert!(!policy.may_notify(b"\x07example\0", "127.0.0.1".parse().unwrap(), None));
    }

    #[test]
    fn a_server_is_an_address_a_port_and_a_key() {
        let remote = |text: &str| text.parse::<Remote>();
        assert_eq!(remote("192.0.2.1").unwrap().address, "192.0.2.1:53".parse().unwrap());
        assert_eq!(remote("[2001:db8::1]:54").unwrap().address, "[2001:db8::1]:54".parse().unwrap());
        assert_eq!(remote("2001:db8::1 key:k").unwrap().key.as_deref(), Some(&b"\x01k\0"[..]));
        for wrong in [
            "",
            "example",
            "192.0.2.1 k",
            "192.0.2.1 key:k more",
            "192.0.2.1:0",
            "192.0.2.0/24",
            "192.0.2.1 key:",
        ] {
            assert!(remote(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "192.0.2.0/33", "key:", "key:a key:b", "192.0.2.1 192.0.2.2", "example"] {
            assert!(wrong.parse::<Rule>().is_err(), "{wrong}");
        }
    }
}
