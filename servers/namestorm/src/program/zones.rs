//! Zones, keys and other servers, as the operator writes them down.
//!
//! ```text
//! zone = ["example=zones/example.zone"]          or          [[zone]]
//!                                                            name = "example"
//! transfer = ["192.0.2.0/24"]                                file = "zones/example.zone"
//! notify = ["192.0.2.7 key:xfr"]                             transfer = ["key:xfr"]
//!                                                            notify = []
//! [[key]]
//! name = "xfr"                                               [[zone]]
//! secret = "bm90IGEgc2VjcmV0IGF0IGFsbCwgaXMgaXQ/"            name = "test"
//!                                                            file = "fetched/test.zone"
//!                                                            primaries = ["198.51.100.1 key:xfr"]
//! ```
//!
//! What a zone says of itself counts instead of what is said for all of them.

use base64ct::{Base64, Encoding as _};
use core::fmt;
use core::str::FromStr;
use dns::tsig::{self, Algorithm};
use host::values::{BadValue, bad};
use namestorm::keeper::Source;
use namestorm::transfer::policy::{Policy, Remote, Rule, Rules};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A secret of less could be guessed; one of more is hashed to less.
const SECRET_BYTES: core::ops::RangeInclusive<usize> = 16..=256;

/// A zone and its file: `example=example.zone`; in the configuration file, with what others may do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZoneChoice {
    source: Source,
    primaries: Vec<Remote>,
    transfer: Option<Vec<Rule>>,
    notify: Option<Vec<Remote>>,
}

impl ZoneChoice {
    fn new(name: &str, file: PathBuf) -> Result<Self, BadValue> {
        match wire(name) {
            Ok(apex) => {
                let source = Source { apex, path: file };
                Ok(Self { source, primaries: Vec::new(), transfer: None, notify: None })
            }
            Err(error) => bad(format!("'{name}' is no name of a zone: {error}")),
        }
    }

    /// Its file is relative to this directory.
    pub(crate) fn lies_in(&mut self, directory: &Path) {
        self.source.path = directory.join(&self.source.path);
    }
}

fn wire(name: &str) -> Result<Vec<u8>, dns::name::TextError> {
    let mut wire = dns::name::from_text(name.as_bytes())?;
    wire.make_ascii_lowercase();
    Ok(wire)
}

impl FromStr for ZoneChoice {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let Some((name, file)) = text.split_once('=').filter(|(_, file)| !file.is_empty()) else {
            return bad(format!("'{text}' is not a zone and its file, such as example=example.zone"));
        };
        Self::new(name, file.into())
    }
}

/// A `[[zone]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ZoneTable {
    name: String,
    file: PathBuf,
    #[serde(default)]
    primaries: Vec<Written<Remote>>,
    transfer: Option<Vec<Written<Rule>>>,
    notify: Option<Vec<Written<Remote>>>,
}

impl<'de> Deserialize<'de> for ZoneChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = ZoneChoice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a zone and its file, such as \"example=example.zone\", or a table with name and file",
                )
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ZoneChoice, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ZoneChoice, A::Error> {
                let ZoneTable { name, file, primaries, transfer, notify } =
                    ZoneTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ZoneChoice {
                    primaries: plain(primaries),
                    transfer: transfer.map(plain),
                    notify: notify.map(plain),
                    ..ZoneChoice::new(&name, file).map_err(A::Error::custom)?
                })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// Something that is written as text.
#[derive(Clone, Debug)]
pub(crate) struct Written<T>(pub(crate) T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

fn plain<T>(list: Vec<Written<T>>) -> Vec<T> {
    list.into_iter().map(|Written(value)| value).collect()
}

/// A `[[key]]`.
#[derive(Clone, Debug)]
pub(crate) struct KeyChoice(tsig::Key);

impl<'de> Deserialize<'de> for KeyChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct KeyTable {
            name: String,
            algorithm: Option<String>,
            secret: String,
        }
        let KeyTable { name, algorithm, secret } = KeyTable::deserialize(deserializer)?;
        let wrong = |what: &str| Err(D::Error::custom(format!("key '{name}': {what}")));
        let Some(algorithm) =
            algorithm.map_or_else(|| Some(Algorithm::default()), |text| Algorithm::from_text(&text))
        else {
            return wrong("the algorithm is none of hmac-sha256, -sha512, -sha384, -sha224 and -sha1");
        };
        let Some(wire) = wire(&name).ok().filter(|wire| wire.len() > 1) else {
            return wrong("this is no name of a key");
        };
        match Base64::decode_vec(secret.trim()) {
            Ok(secret) if SECRET_BYTES.contains(&secret.len()) => {
                Ok(Self(tsig::Key { name: wire, algorithm, secret }))
            }
            Ok(_) => wrong("a secret has 16 to 256 bytes; `tsig-keygen` makes one"),
            Err(_) => wrong("its secret is not base64; `tsig-keygen` makes one"),
        }
    }
}

/// What is said for all zones, in the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct ForAll {
    pub(crate) keys: Vec<KeyChoice>,
    pub(crate) transfer: Vec<Written<Rule>>,
    pub(crate) notify: Vec<Written<Remote>>,
}

/// A zone that comes from other servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Secondary {
    pub(crate) source: Source,
    pub(crate) primaries: Vec<Remote>,
}

/// Zones by where they come from, and what others may do with them.
#[derive(Clone, Debug)]
pub(crate) struct Zones {
    /// From files of the operator's.
    pub(crate) files: Vec<Source>,
    /// From other servers.
    pub(crate) secondaries: Vec<Secondary>,
    /// Who is told that a zone has changed, by the zone's apex.
    pub(crate) notify: BTreeMap<Box<[u8]>, Vec<Remote>>,
    /// Who may have it, and the keys.
    pub(crate) policy: Arc<Policy>,
}

impl Zones {
    /// What the operator's choices amount to; or what is wrong with them.
    pub(crate) fn resolve(choices: Vec<ZoneChoice>, all: ForAll) -> Result<Self, String> {
        if choices.is_empty() {
            return Err(
                "no zone to serve: give one, as in `namestorm serve --zone example=example.zone`".to_owned()
            );
        }
        let mut keys: Vec<tsig::Key> = Vec::new();
        for KeyChoice(key) in all.keys {
            if keys.iter().any(|other| other.name == key.name) {
                return Err(format!("the key {} is given twice", show(&key.name)));
            }
            keys.push(key);
        }
        let mut zones = Self {
            files: Vec::new(),
            secondaries: Vec::new(),
            notify: BTreeMap::new(),
            policy: Arc::default(),
        };
        let (for_all_transfer, for_all_notify) = (plain(all.transfer), plain(all.notify));
        let mut rules = BTreeMap::new();
        for ZoneChoice { source, primaries, transfer, notify } in choices {
            let apex: Box<[u8]> = source.apex.clone().into();
            let transfer = transfer.unwrap_or_else(|| for_all_transfer.clone());
            let notify = notify.unwrap_or_else(|| for_all_notify.clone());
            let remotes = primaries.iter().chain(&notify).filter_map(|remote| remote.key.as_deref());
            for name in remotes.chain(transfer.iter().filter_map(|rule| rule.key.as_deref())) {
                if !keys.iter().any(|key| key.name == name) {
                    let (zone, name) = (show(&apex), show(name));
                    return Err(format!("zone {zone}: there is no key {name}: add a [[key]] of that name"));
                }
            }
            if !notify.is_empty() {
                zones.notify.insert(apex.clone(), notify);
            }
            let of_zone = Rules { transfer, primaries: primaries.clone() };
            if rules.insert(apex, of_zone).is_some() {
                return Err("a zone is given twice: each has one file".to_owned());
            }
            if primaries.is_empty() {
                zones.files.push(source);
            } else {
                zones.secondaries.push(Secondary { source, primaries });
            }
        }
        zones.policy = Arc::new(Policy::new(keys, rules));
        Ok(zones)
    }

    /// The ports that primaries listen at; that of DNS is always among them.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let primaries = self.secondaries.iter().flat_map(|zone| &zone.primaries);
        let mut ports: Vec<u16> = primaries.map(|remote| remote.address.port()).chain([53]).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// The file of every zone.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        let fetched = self.secondaries.iter().map(|zone| &zone.source);
        self.files.iter().chain(fetched).map(|source| source.path.as_path())
    }
}

fn show(name: &[u8]) -> dns::name::Presentation<'_> {
    dns::name::Presentation(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        zone: Vec<ZoneChoice>,
        #[serde(default)]
        key: Vec<KeyChoice>,
        #[serde(default)]
        transfer: Vec<Written<Rule>>,
        #[serde(default)]
        notify: Vec<Written<Remote>>,
    }

    fn zones(text: &str) -> Result<Zones, String> {
        let File { zone, key, transfer, notify } =
            toml::from_str(text).map_err(|error| error.message().to_owned())?;
        Zones::resolve(zone, ForAll { keys: key, transfer, notify })
    }

    const KEY: &str = "[[key]]\nname = \"Xfr\"\nsecret = \"AAECAwQFBgcICQoLDA0ODw==\"\n";

    #[test]
    fn what_a_zone_says_counts_instead_of_what_is_said_for_all() {
        let text = format!(
            "transfer = [\"192.0.2.0/24\"]\nnotify = [\"192.0.2.7\"]\n{KEY}\
             [[zone]]\nname = \"a\"\nfile = \"a.zone\"\n\
             [[zone]]\nname = \"b\"\nfile = \"b.zone\"\ntransfer = [\"key:xfr\"]\nnotify = []\n\
             [[zone]]\nname = \"c\"\nfile = \"c.zone\"\nprimaries = [\"198.51.100.1 key:xfr\"]\n"
        );
        let zones = zones(&text).unwrap();
        let here = "192.0.2.9".parse().unwrap();
        let may = |apex: &[u8], key| zones.policy.may_transfer(apex, here, key);
        assert!(may(b"\x01a\0", None) && !may(b"\x01b\0", None) && may(b"\x01b\0", Some(b"\x03xfr\0")));
        assert_eq!(zones.notify.keys().map(|apex| apex[1]).collect::<Vec<_>>(), b"ac");
        assert_eq!((zones.files.len(), zones.secondaries.len()), (2, 1));
        assert!(zones.policy.may_notify(b"\x01c\0", "198.51.100.1".parse().unwrap(), Some(b"\x03xfr\0")));
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        for (text, words) in [
            ("zone = [\"a=1\", \"A=2\"]\n".to_owned(), "twice"),
            ("zone = [\"a=1\"]\ntransfer = [\"key:x\"]\n".to_owned(), "no key x."),
            (format!("{KEY}{KEY}[[zone]]\nname = \"a\"\nfile = \"1\"\n"), "twice"),
            ("[[zone]]\nname = \"a\"\n".to_owned(), "file"),
            ("[[zone]]\nname = \"a\"\nfile = \"1\"\nprimary = []\n".to_owned(), "primary"),
            ("zone = [\"a=1\"]\n[[key]]\nname = \"k\"\nsecret = \"AAEC\"\n".to_owned(), "16 to 256"),
            ("zone = [\"a=1\"]\n[[key]]\nname = \"k\"\nsecret = \"*\"\n".to_owned(), "base64"),
            ("zone = [\"a=1\"]\nnotify = [\"192.0.2.0/24\"]\n".to_owned(), "no server"),
        ] {
            let line = zones(&text).unwrap_err();
            assert!(line.contains(words), "{text}: {line}");
        }
    }

    #[test]
    fn a_key_has_the_algorithm_that_it_names_or_sha256() {
        let algorithm = |line: &str| {
            let text = format!("zone = [\"a=1\"]\n{KEY}{line}");
            zones(&text).map(|zones| zones.policy.key(b"\x03xfr\0").unwrap().algorithm)
        };
        assert_eq!(algorithm(""), Ok(Algorithm::Sha256));
        assert_eq!(algorithm("algorithm = \"HMAC-SHA512\"\n"), Ok(Algorithm::Sha512));
        assert!(algorithm("algorithm = \"hmac-md5\"\n").unwrap_err().contains("none of hmac-sha256"));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let File { key, .. } = toml::from_str(&format!("zone = []\n{KEY}")).unwrap();
        assert!(!format!("{key:?}").contains("15"), "{key:?}");
    }
}
