//! The options that only Sandstorm has.

use clap::Args;
use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use host::values::{BadValue, Bytes, bad};
use program::ConfigError;
use sandstorm::{Rule, Settings};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::PathBuf;
use web::session::Terms;

/// How a packet comes to its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copy {
    /// Replicas of each packet, made on demand.
    Pre,
    /// One copy of the object, and a copy of a segment for each packet.
    Mem,
    /// A header for each packet, and parts of the object as they lie.
    Gather,
}

impl FromStr for Copy {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text {
            "pre" => Ok(Self::Pre),
            "mem" => Ok(Self::Mem),
            "gather" => Ok(Self::Gather),
            _ => bad(format!("'{text}' is none of pre, mem and gather")),
        }
    }
}

impl fmt::Display for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pre => "pre",
            Self::Mem => "mem",
            Self::Gather => "gather",
        })
    }
}

impl<'de> Deserialize<'de> for Copy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Those options, as far as they were given.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct Own {
    /// How a packet comes to its payload: pre, mem or gather [default: gather]
    ///
    /// `gather` sends parts of the object as they lie, behind a header of each packet's own. `mem` copies a segment for
    /// each packet. `pre` keeps replicas of packets that are sent again and again.
    #[arg(long, value_name = "HOW", help_heading = "Cores and memory")]
    pub(crate) copy: Option<Copy>,
    /// Memory for objects and packets of all workers: 512M, 8G [default: 2G, or a quarter of what is free if that is less]
    #[arg(long, value_name = "SIZE", help_heading = "Cores and memory")]
    pub(crate) memory: Option<Bytes>,
    /// Read files before they are asked for, as far as there is room: on or off [default: off]
    #[arg(long, value_name = "SWITCH", num_args = 0..=1, require_equals = true, default_missing_value = "on",
          value_parser = program::switch, help_heading = "Cores and memory")]
    #[serde(deserialize_with = "program::deserialize_switch")]
    pub(crate) preload: Option<bool>,
    /// A file of names that have moved: FROM TO [301|302] on each line
    #[arg(long, value_name = "FILE", help_heading = "Operation")]
    pub(crate) redirects: Option<PathBuf>,

    /// What concerns responses; only in the file.
    #[arg(skip)]
    pub(crate) service: Option<Service>,
}

/// The `[service]` part of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Service {
    /// The value of the Server field; empty leaves it out.
    server: String,
    /// What is served for a directory: the first of these names that is there.
    index: Vec<String>,
    /// The file that goes with 404; empty for a page of our own.
    not_found: String,
    /// Origins whose scripts may read responses: `["*"]` for all, `[]` for none but our own.
    cors_origins: Vec<String>,
    /// Cache-Control where no rule says it.
    cache_default: String,
    /// How long a request head may take from its first byte, in milliseconds.
    header_timeout_ms: u64,
    /// How long a connection may be idle before its first request and between two, in milliseconds.
    idle_timeout_ms: u64,
    /// Requests on one connection, after which it is closed.
    requests_per_connection_max: u32,
    /// Connections of one worker; those beyond are told to come back later.
    connections_max: u32,
    /// A request head, in bytes.
    head_bytes_max: usize,
    /// A request target, in bytes.
    target_bytes_max: usize,
    /// What holds for names that fit a pattern.
    rule: Vec<RuleText>,
}

/// A rule, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleText {
    pattern: String,
    cache_control: Option<String>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
}

/// Bytes of a request that may wait at a connection; heads cannot be longer.
const HEAD_BYTES_MAX: usize = 16 << 10;

impl Default for Service {
    fn default() -> Self {
        let Settings { server, index, not_found, any_origin: _, cache_default, rules: _ } =
            Settings::default();
        Self {
            server,
            index,
            not_found: not_found.unwrap_or_default(),
            cors_origins: vec!["*".to_owned()],
            cache_default,
            header_timeout_ms: 10_000,
            idle_timeout_ms: 60_000,
            requests_per_connection_max: 10_000,
            connections_max: 60_000,
            head_bytes_max: HEAD_BYTES_MAX,
            target_bytes_max: 8 << 10,
            rule: Vec::new(),
        }
    }
}

impl Service {
    /// What responses are like.
    pub(crate) fn settings(&self) -> Settings {
        let rule = |rule: &RuleText| Rule {
            pattern: rule.pattern.clone(),
            cache_control: rule.cache_control.clone(),
            fields: rule.fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        };
        Settings {
            server: self.server.clone(),
            index: self.index.clone(),
            not_found: Some(self.not_found.clone()).filter(|name| !name.is_empty()),
            any_origin: !self.cors_origins.is_empty(),
            cache_default: self.cache_default.clone(),
            rules: self.rule.iter().map(rule).collect(),
        }
    }

    /// What holds for connections.
    pub(crate) const fn terms(&self, access_log: bool) -> Terms {
        Terms {
            limits: http::Limits {
                head_bytes_max: self.head_bytes_max,
                target_bytes_max: self.target_bytes_max,
            },
            header_timeout: Duration::from_millis(self.header_timeout_ms),
            idle_timeout: Duration::from_millis(self.idle_timeout_ms),
            requests_per_connection_max: self.requests_per_connection_max,
            connections_max: self.connections_max,
            access_log,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |line: String| Err(ConfigError::Contradiction(line));
        if self.cors_origins.iter().any(|origin| origin != "*") {
            return wrong(
                "service.cors_origins: what is kept in memory is the same for everybody: give [\"*\"] or []"
                    .to_owned(),
            );
        }
        for (key, value, least, most) in [
            ("header_timeout_ms", self.header_timeout_ms, 1, 3_600_000),
            ("idle_timeout_ms", self.idle_timeout_ms, 1, 86_400_000),
            ("requests_per_connection_max", self.requests_per_connection_max.into(), 1, u32::MAX.into()),
            ("connections_max", self.connections_max.into(), 1, u32::MAX.into()),
            ("head_bytes_max", self.head_bytes_max as u64, 256, HEAD_BYTES_MAX as u64),
            ("target_bytes_max", self.target_bytes_max as u64, 64, HEAD_BYTES_MAX as u64),
        ] {
            if !(least..=most).contains(&value) {
                return wrong(format!("service.{key}: {value} is not from {least} to {most}"));
            }
        }
        if self.index.iter().any(|name| name.is_empty() || name.contains('/')) {
            return wrong("service.index: a name in a directory has no slash".to_owned());
        }
        self.settings().check().map_err(|error| ConfigError::Contradiction(format!("service: {error}")))
    }
}

/// What the options amount to.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    /// How packets are made; `None` for what suits the link.
    pub(crate) copy: Option<Copy>,
    /// For objects and packets of all workers.
    pub(crate) memory: Option<Bytes>,
    /// Files are read before they are asked for.
    pub(crate) preload: bool,
    /// Names that have moved.
    pub(crate) redirects: Option<PathBuf>,
    /// What concerns responses.
    pub(crate) service: Service,
}

impl Own {
    /// These, and those of `below` where these say nothing.
    pub(crate) fn over(self, below: Self) -> Self {
        // In full: a new option must not be forgotten here.
        let Self { copy, memory, preload, redirects, service } = self;
        Self {
            copy: copy.or(below.copy),
            memory: memory.or(below.memory),
            preload: preload.or(below.preload),
            redirects: redirects.or(below.redirects),
            service: service.or(below.service),
        }
    }

    pub(crate) fn resolve(self) -> Result<Choices, ConfigError> {
        let Self { copy, memory, preload, redirects, service } = self;
        let service = service.unwrap_or_default();
        service.check()?;
        Ok(Choices { copy, memory, preload: preload.unwrap_or(false), redirects, service })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        own: Own,
    }

    fn over(line: &str, text: &str) -> Result<Choices, ConfigError> {
        let own = CommandLine::try_parse_from(format!("sandstorm {line}").split_whitespace()).unwrap().own;
        own.over(toml::from_str(text).unwrap()).resolve()
    }

    #[test]
    fn the_command_line_beats_the_file_beats_the_defaults() {
        let choices = over("--copy mem --memory 2GiB", "copy = \"pre\"\npreload = \"on\"").unwrap();
        assert_eq!((choices.copy, choices.preload), (Some(Copy::Mem), true));
        assert_eq!(choices.memory, Some(Bytes(2 << 30)));
        assert!(!over("--preload=off", "preload = true").unwrap().preload);
        assert_eq!(over("", "").unwrap().service.settings(), Settings::default());
    }

    #[test]
    fn a_rule_says_what_holds_for_a_pattern() {
        let text = "[service]\nnot_found = \"\"\ncors_origins = []\n[[service.rule]]\npattern = \"*.js\"\n\
                    cache_control = \"no-store\"\nfields = { X-A = \"1\" }";
        let settings = over("", text).unwrap().service.settings();
        assert_eq!((settings.not_found.as_deref(), settings.any_origin), (None, false));
        assert_eq!(settings.of(b"x/a.js").cache_control, "no-store");
        assert!(settings.of(b"x/a.js").fields.contains(&("X-A", "1")));
    }

    #[test]
    fn what_cannot_be_meant_names_its_key() {
        for (text, told) in [
            ("[service]\nidle_timeout_ms = 0", "service.idle_timeout_ms"),
            ("[service]\ncors_origins = [\"https://a.example\"]", "service.cors_origins"),
            ("[service]\nindex = [\"a/b\"]", "service.index"),
            ("[[service.rule]]\npattern = \"\"", "empty pattern"),
            ("[[service.rule]]\npattern = \"**\"\nfields = { Date = \"never\" }", "\"Date\""),
        ] {
            let line = over("", text).unwrap_err().to_string();
            assert!(line.contains(told) && !line.contains('\n'), "{line}");
        }
        assert!("zerocopy".parse::<Copy>().unwrap_err().to_string().contains("gather"));
    }
}
