//! What an operator can set about HTTP: the `[service]` part of the configuration.
//!
//! Every key has a default that is right for a directory of films; an unknown key is an error, and so is a value that
//! cannot be meant.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use http::request::Limits;
use http::response::{is_field_name, is_field_value};
use http::signature::{Key, KeyError, Keys};
use serde::Deserialize;
use web::session::Terms;

/// The most bytes of a request that wait at a connection; heads cannot be longer.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The `[service]` part of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether `/` is the page that lists the catalogue and plays it. By default yes, unless URLs have to be signed,
    /// since the list would name what nobody without a signature should know of.
    pub page: Option<bool>,
    /// The page's title.
    pub title: String,
    /// The value of the Server field; empty leaves it out.
    pub server: String,
    /// Whether names that begin with a dot are served. `.well-known` always is.
    pub hidden_files: bool,
    /// How long a request head may take from its first byte, in milliseconds.
    pub header_timeout_ms: u64,
    /// How long a connection may be idle before its first request and between two, in milliseconds.
    pub idle_timeout_ms: u64,
    /// Requests on one connection, after which it is closed.
    pub requests_per_connection_max: u32,
    /// Connections of one worker; those beyond are told to come back later.
    pub connections_max: u32,
    /// When they should come back, in seconds.
    pub retry_after_s: u32,
    /// A request head, in bytes.
    pub head_bytes_max: usize,
    /// A request target, in bytes.
    pub target_bytes_max: usize,
    /// Origins whose scripts may read responses: `["*"]` for all, `[]` for none but our own.
    pub cors_origins: Vec<String>,
    /// How long a browser may remember that, in seconds.
    pub cors_max_age_s: u32,
    /// Cache-Control by suffix; the first rule that fits counts.
    pub cache: Vec<CacheRule>,
    /// Cache-Control where no rule fits.
    pub cache_default: String,
    /// Fields to add to every response.
    pub fields: BTreeMap<String, String>,
    /// Keys that sign URLs, the newest first; with one of them, every URL has to be signed.
    pub signing_keys: Vec<Secret>,
    /// Whether requests are recorded for the access log.
    pub access_log: bool,
}

/// A Cache-Control for files with certain suffixes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheRule {
    /// Suffixes without their dot, in lower case.
    pub suffixes: Vec<String>,
    /// The field's value.
    pub value: String,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Default for Settings {
    fn default() -> Self {
        let rule = |suffixes: &[&str], value: &str| CacheRule {
            suffixes: suffixes.iter().map(|&suffix| suffix.to_owned()).collect(),
            value: value.to_owned(),
        };
        Self {
            page: None,
            title: "Atlas".to_owned(),
            server: "atlas".to_owned(),
            hidden_files: false,
            header_timeout_ms: 10_000,
            idle_timeout_ms: 60_000,
            requests_per_connection_max: 10_000,
            connections_max: 60_000,
            retry_after_s: 5,
            head_bytes_max: HEAD_BYTES_MAX,
            target_bytes_max: 8 * 1024,
            cors_origins: vec!["*".to_owned()],
            cors_max_age_s: 86_400,
            cache: vec![
                // A live playlist changes with every segment; a film's costs one question a few times a minute.
                rule(&["m3u8", "mpd"], "public, max-age=2"),
                // Segments are numbered and never change.
                rule(
                    &["m4s", "ts", "cmfv", "cmfa", "cmft", "aac", "ac3", "ec3", "vtt"],
                    "public, max-age=31536000, immutable",
                ),
                rule(&["mp4", "m4v", "m4a", "webm", "mkv", "mov", "mp3"], "public, max-age=3600"),
            ],
            cache_default: "public, max-age=60".to_owned(),
            fields: BTreeMap::new(),
            signing_keys: Vec::new(),
            access_log: true,
        }
    }
}

impl Settings {
    /// What holds for connections.
    pub(crate) const fn terms(&self) -> Terms {
        Terms {
            limits: Limits { head_bytes_max: self.head_bytes_max, target_bytes_max: self.target_bytes_max },
            header_timeout: Duration::from_millis(self.header_timeout_ms),
            idle_timeout: Duration::from_millis(self.idle_timeout_ms),
            requests_per_connection_max: self.requests_per_connection_max,
            connections_max: self.connections_max,
            access_log: self.access_log,
        }
    }

    /// Whether `/` is our page.
    #[must_use]
    pub fn has_page(&self) -> bool {
        self.page.unwrap_or(self.signing_keys.is_empty())
    }

    /// The keys that sign and open URLs.
    ///
    /// # Errors
    /// A key is short, or there are many.
    pub fn keys(&self) -> Result<Keys, SettingsError> {
        let keys = self.signing_keys.iter().map(|secret| Key::new(secret.0.as_bytes()));
        keys.collect::<Result<Vec<_>, _>>().and_then(Keys::new).map_err(SettingsError::Key)
    }

    /// Finds what cannot be meant.
    ///
    /// # Errors
    /// The first such value.
    pub fn check(&self) -> Result<(), SettingsError> {
        let within = |key: &'static str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(SettingsError::Range { key, value, least, most })
            }
        };
        let day_ms = 86_400_000;
        within("header_timeout_ms", self.header_timeout_ms, 100, day_ms)?;
        within("idle_timeout_ms", self.idle_timeout_ms, 100, day_ms)?;
        within("requests_per_connection_max", self.requests_per_connection_max.into(), 1, u32::MAX.into())?;
        within("connections_max", self.connections_max.into(), 1, u32::MAX.into())?;
        within("head_bytes_max", self.head_bytes_max as u64, 512, HEAD_BYTES_MAX as u64)?;
        within("target_bytes_max", self.target_bytes_max as u64, 64, self.head_bytes_max as u64)?;

        let value_is_good = |key: &'static str, text: &str| {
            // Long values would not leave room for the rest of a response head.
            if is_field_value(text) && text.len() <= 256 {
                Ok(())
            } else {
                Err(SettingsError::Value { key, text: text.to_owned() })
            }
        };
        value_is_good("server", &self.server)?;
        value_is_good("cache_default", &self.cache_default)?;
        for rule in &self.cache {
            value_is_good("cache.value", &rule.value)?;
            for suffix in &rule.suffixes {
                let good = !suffix.is_empty()
                    && !suffix.bytes().any(|byte| b"./".contains(&byte) || byte.is_ascii_uppercase());
                if !good {
                    return Err(SettingsError::Value { key: "cache.suffixes", text: suffix.clone() });
                }
            }
        }
        for origin in &self.cors_origins {
            value_is_good("cors_origins", origin)?;
            // An origin is scheme, host and port; a path or a slash at its end never matches (RFC 6454 §6.2).
            let is_origin = origin == "*"
                || origin == "null"
                || origin.split_once("://").is_some_and(|(scheme, host)| {
                    !scheme.is_empty() && !host.is_empty() && !host.contains(['/', ' ', ','])
                });
            if !is_origin {
                return Err(SettingsError::Value { key: "cors_origins", text: origin.clone() });
            }
        }
        let mut fields_bytes = 0;
        for (name, value) in &self.fields {
            value_is_good("fields", value)?;
            fields_bytes += name.len() + value.len() + 4;
            if !is_field_name(name) || is_ours(name) {
                return Err(SettingsError::Value { key: "fields", text: name.clone() });
            }
        }
        within("fields (their bytes together)", fields_bytes as u64, 0, 512)?;
        self.keys().map(|_| ())
    }
}

/// Fields that mean something to the message itself; an operator's would contradict ours.
fn is_ours(name: &str) -> bool {
    [
        "accept-ranges",
        "allow",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "date",
        "etag",
        "keep-alive",
        "last-modified",
        "location",
        "server",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
    .iter()
    .any(|ours| name.eq_ignore_ascii_case(ours))
}

/// What the operator set that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsError {
    /// A number out of its range.
    Range {
        /// The key below `[service]`.
        key: &'static str,
        /// The number.
        value: u64,
        /// The least that is taken.
        least: u64,
        /// The most that is taken.
        most: u64,
    },
    /// A text that cannot be sent, or never fits.
    Value {
        /// The key below `[service]`.
        key: &'static str,
        /// The text.
        text: String,
    },
    /// The signing keys.
    Key(KeyError),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range { key, value, least, most } => {
                write!(f, "service.{key} is {value}; it has to be from {least} to {most}")
            }
            Self::Value { key, text } => write!(f, "service.{key} cannot be {text:?}"),
            Self::Key(error) => write!(f, "service.signing_keys: {error}"),
        }
    }
}

impl core::error::Error for SettingsError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Settings {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_defaults_are_good_and_an_empty_file_means_them() {
        assert_eq!(Settings::default().check(), Ok(()));
        assert_eq!(read(""), Settings::default());
    }

    #[test]
    fn a_key_nobody_knows_is_an_error() {
        let error = toml::from_str::<Settings>("idle_timeout = 3").unwrap_err();
        assert!(error.to_string().contains("unknown field `idle_timeout`"), "{error}");
    }

    #[test]
    fn a_file_says_everything_by_its_name() {
        let settings = read(
            r#"
            cors_origins = ["https://player.example"]
            cache_default = "no-cache"
            signing_keys = ["0123456789abcdef"]
            cache = [{ suffixes = ["mp4"], value = "no-store" }]
            fields = { X-Served-By = "a" }
            "#,
        );
        assert_eq!(settings.check(), Ok(()));
        assert!(!settings.has_page(), "a list of what has to be signed is not for everybody");
        assert!(!format!("{settings:?}").contains("0123"), "keys are not shown");
    }

    #[test]
    fn what_cannot_be_meant_names_its_key() {
        for (text, key) in [
            ("header_timeout_ms = 0", "service.header_timeout_ms is 0"),
            ("head_bytes_max = 100000", "service.head_bytes_max"),
            ("server = \"a\\r\\nb\"", "service.server"),
            ("cache_default = \"\\u0000\"", "service.cache_default"),
            ("cache = [{ suffixes = [\".mp4\"], value = \"x\" }]", "service.cache.suffixes"),
            ("cors_origins = [\"https://a/\"]", "service.cors_origins"),
            ("cors_origins = [\"example.org\"]", "service.cors_origins"),
            ("fields = { Content-Length = \"3\" }", "service.fields"),
            ("fields = { \"a b\" = \"3\" }", "service.fields"),
            ("signing_keys = [\"short\"]", "service.signing_keys: a signing key has 5 bytes"),
        ] {
            let error = read(text).check().unwrap_err().to_string();
            assert!(error.starts_with(key), "{text}: {error}");
        }
    }
}
