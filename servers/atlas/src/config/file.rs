//! The configuration file: TOML in, [`Options`] or one line out.

use clap::Args;
use control::Opener;
use core::fmt;
use serde::de::{self, Deserializer, Visitor};
use std::path::{Path, PathBuf};

use super::{BadValue, ConfigError, Options};

/// A file of more than this is not a configuration.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads the file. Relative paths in it are relative to its directory.
pub(super) fn read(path: &Path, opener: &dyn Opener) -> Result<Options, ConfigError> {
    let syntax = |why: &str| ConfigError::Syntax { path: path.into(), line: 1, why: why.to_owned() };
    let bytes = opener.read(path, FILE_BYTES_MAX).map_err(|source| match source.kind() {
        std::io::ErrorKind::FileTooLarge => syntax("longer than any configuration"),
        _ => ConfigError::Unreadable { path: path.into(), source },
    })?;
    let text = String::from_utf8(bytes).map_err(|_| syntax("not UTF-8"))?;
    let mut options = parse(&text).map_err(|error| error.in_file(path))?;
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    let Options { dir, cert, key, key_log, pcap, signing_key, access_log, .. } = &mut options;
    let files = [dir, cert, key, key_log, pcap].into_iter().flatten();
    let log = access_log.iter_mut().filter_map(|log| match log {
        super::LogChoice::File(file) => Some(file),
        super::LogChoice::Off | super::LogChoice::Stdout => None,
    });
    for file in files.chain(signing_key).chain(log) {
        *file = directory.join(&*file);
    }
    Ok(options)
}

/// What is wrong with a text, and in which line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileError {
    UnknownKey { line: usize, key: String, nearest: Option<String> },
    Syntax { line: usize, why: String },
}

impl FileError {
    fn in_file(self, path: &Path) -> ConfigError {
        let path = PathBuf::from(path);
        match self {
            Self::UnknownKey { line, key, nearest } => ConfigError::UnknownKey { path, line, key, nearest },
            Self::Syntax { line, why } => ConfigError::Syntax { path, line, why },
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Options, FileError> {
    let syntax = |error: &toml::de::Error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        let why = error.message().lines().collect::<Vec<_>>().join(" ");
        let key = text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
        let why = key.map_or_else(|| why.clone(), |key| format!("{key}: {why}"));
        match unknown_field(error.message()) {
            Some((key, nearest)) => FileError::UnknownKey { line, key, nearest },
            None => FileError::Syntax { line, why },
        }
    };
    let document: toml::Table = text.parse().map_err(|error| syntax(&error))?;
    let known = keys();
    if let Some(key) = document.keys().find(|key| !known.contains(key)) {
        let line = text.lines().position(|line| line.trim_start().starts_with(key.as_str()));
        return Err(FileError::UnknownKey {
            line: line.map_or(1, |index| index + 1),
            key: key.clone(),
            nearest: nearest(key, &known),
        });
    }
    toml::from_str(text).map_err(|error| syntax(&error))
}

/// Every key of the file: the long flags, the directory, and the tables that are no flags.
fn keys() -> Vec<String> {
    let command = Options::augment_args(clap::Command::new("keys"));
    let flags = command.get_arguments().map(|argument| argument.get_id().as_str().replace('_', "-"));
    flags.chain(TABLES.iter().map(|table| (*table).to_owned())).collect()
}

/// Keys that only the file has.
const TABLES: &[&str] = &["service"];

/// The key and the one that was meant, when this is how serde says that a table has a key too many: the key and all
/// those that could be there, each between backticks.
fn unknown_field(message: &str) -> Option<(String, Option<String>)> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2).map(str::to_owned);
    let key = quoted.next()?;
    let known: Vec<_> = quoted.collect();
    let nearest = nearest(&key, &known);
    Some((key, nearest))
}

/// The known key that was most probably meant.
fn nearest(key: &str, known: &[String]) -> Option<String> {
    known
        .iter()
        .map(|known| (strsim::jaro_winkler(&key.replace('_', "-"), &known.replace('_', "-")), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known.clone())
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

pub(super) fn on_or_off(text: &str) -> Result<bool, BadValue> {
    match text {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => host::values::bad(format!("'{text}' is neither on nor off")),
    }
}

/// A switch in the file: `true`, or `"on"` as on the command line.
pub(super) fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    struct Switch;
    impl Visitor<'_> for Switch {
        type Value = bool;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true or false")
        }
        fn visit_bool<E: de::Error>(self, switch: bool) -> Result<bool, E> {
            Ok(switch)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<bool, E> {
            on_or_off(text).map_err(E::custom)
        }
    }
    deserializer.deserialize_any(Switch).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Congestion, LogChoice, PortChoice};

    #[test]
    fn every_flag_is_a_key() {
        let text = r#"
            dir = "/srv/video"
            addr = ["192.0.2.10/24", "2001:db8::10/64"]
            link = "packet:eth1"
            dev = "eth1"
            address-mode = "own"
            http = 80
            https = "off"
            congestion = "newreno"
            connections = 1000
            connections-per-client = 8
            cert = "chain.pem"
            key = "key.pem"
            key-log = "secrets.log"
            workers = 2
            pin = true
            confine = "off"
            seccomp = "log"
            frames = 1024
            memory = "1G"
            admin = 9000
            access-log = "-"
            log-format = "json"
            log-level = "warn"
            stats = "on"
            pcap = "packets.pcapng"
            pcap-filter = "host 192.0.2.7 and port 443"
            pcap-size = "10M"
            pcap-snap = 200
            pcap-start = false
            drain-seconds = 5
            rescan-seconds = 0
            signing-key = ["a.key"]
            namespace = "never"
            forward-http = 8081
            forward-https = "off"
        "#;
        let options = parse(text).unwrap();
        assert_eq!(options.addr.len(), 2);
        assert_eq!(options.https, Some(PortChoice(None)));
        assert_eq!(options.congestion, Some(Congestion::NewReno));
        assert_eq!(options.access_log, Some(LogChoice::Stdout));
        assert_eq!((options.pin, options.stats), (Some(true), Some(true)));
        for key in keys().iter().filter(|key| !TABLES.contains(&key.as_str())) {
            assert!(
                text.lines().any(|line| line.trim_start().starts_with(&format!("{key} = "))),
                "{key} is a flag that this test does not set"
            );
        }
    }

    #[test]
    fn an_unknown_key_is_answered_with_its_nearest() {
        let unknown = |text: &str| match parse(text).unwrap_err() {
            FileError::UnknownKey { line, nearest, .. } => (line, nearest),
            other => panic!("{other:?}"),
        };
        assert_eq!(unknown("http = 80\ndrain_second = 3\n"), (2, Some("drain-seconds".to_owned())));
        assert_eq!(unknown("wrokers = 3"), (1, Some("workers".to_owned())));
        assert_eq!(unknown("zzz = 3"), (1, None));
        let nested = unknown("[service]\ntitle = \"x\"\nidle_timeout_sm = 3");
        assert_eq!(nested, (3, Some("idle_timeout_ms".to_owned())));
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        let syntax = |text: &str| match parse(text).unwrap_err() {
            FileError::Syntax { line, why } => {
                assert!(!why.contains('\n'), "{why}");
                (line, why)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(syntax("http = 80\nhttps = \"many\"\n").0, 2);
        assert!(syntax("http = 80\nhttps = \"many\"\n").1.starts_with("https: 'many' is not a port"));
        assert!(syntax("workers = \"two\"").1.starts_with("workers: "));
        assert_eq!(syntax("http = 80\nhttp = 81\n").0, 2);
        assert_eq!(syntax("\n\nhttp = = 81\n").0, 3);
        assert_eq!(syntax("frames = -1").0, 1);
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let dir = std::env::temp_dir().join(format!("atlas-config-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("atlas.toml");
        std::fs::write(&path, "dir = \"video\"\ncert = \"/etc/chain.pem\"\naccess-log = \"log\"\n").unwrap();
        let options = read(&path, &control::Directly).unwrap();
        assert_eq!(options.dir, Some(dir.join("video")));
        assert_eq!(options.cert, Some("/etc/chain.pem".into()));
        assert_eq!(options.access_log, Some(LogChoice::File(dir.join("log"))));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
