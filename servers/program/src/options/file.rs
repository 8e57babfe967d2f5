//! The configuration file: TOML in, [`Options`] or one line out.

use clap::Args;
use control::Opener;
use core::fmt;
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use std::path::{Path, PathBuf};

use super::{BadValue, Common, ConfigError, Options};

/// A file of more than this is not a configuration.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads the file. Relative paths in it are relative to its directory.
pub(super) fn read<T: Args + DeserializeOwned>(
    path: &Path,
    opener: &dyn Opener,
    tables: &[&str],
    paths: impl FnOnce(&mut T) -> Vec<&mut PathBuf>,
) -> Result<Options<T>, ConfigError> {
    let syntax = |why: &str| ConfigError::Syntax { path: path.into(), line: 1, why: why.to_owned() };
    let bytes = opener.read(path, FILE_BYTES_MAX).map_err(|source| match source.kind() {
        std::io::ErrorKind::FileTooLarge => syntax("longer than any configuration"),
        _ => ConfigError::Unreadable { path: path.into(), source },
    })?;
    let text = String::from_utf8(bytes).map_err(|_| syntax("not UTF-8"))?;
    let mut options = parse(&text, tables).map_err(|error| error.in_file(path))?;
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    let Common { dir, cert, key, key_log, pcap, access_log, .. } = &mut options.common;
    let files = [dir, cert, key, key_log, pcap].into_iter().flatten();
    let log = access_log.iter_mut().filter_map(|log| match log {
        super::LogChoice::File(file) => Some(file),
        super::LogChoice::Off | super::LogChoice::Stdout => None,
    });
    for file in files.chain(log).chain(paths(&mut options.own)) {
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

/// Both halves of the options; the program's own may have `tables` besides.
pub(super) fn parse<T: Args + DeserializeOwned>(
    text: &str,
    tables: &[&str],
) -> Result<Options<T>, FileError> {
    let syntax = |error: toml::de::Error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        let why = error.message().lines().collect::<Vec<_>>().join(" ");
        let key = text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
        let why = key.map_or_else(|| why.clone(), |key| format!("{key}: {why}"));
        match unknown_field(error.message()) {
            Some((key, nearest)) => FileError::UnknownKey { line, key, nearest },
            None => FileError::Syntax { line, why },
        }
    };
    let document: toml::Table = text.parse().map_err(syntax)?;
    let known = keys::<T>(tables);
    if let Some(key) = document.keys().find(|key| !known.contains(key)) {
        let line = text.lines().position(|line| line.trim_start().starts_with(key.as_str()));
        return Err(FileError::UnknownKey {
            line: line.map_or(1, |index| index + 1),
            key: key.clone(),
            nearest: nearest(key, &known),
        });
    }
    // Each half takes its keys and leaves the other's: that there is none that nobody takes was seen above.
    Ok(Options { common: toml::from_str(text).map_err(syntax)?, own: toml::from_str(text).map_err(syntax)? })
}

/// Every key of the file: the long flags, the directory, and the tables that are no flags.
pub(super) fn keys<T: Args>(tables: &[&str]) -> Vec<String> {
    let command = Options::<T>::augment_args(clap::Command::new("keys"));
    let flags = command.get_arguments().map(|argument| argument.get_id().as_str().replace('_', "-"));
    flags.chain(tables.iter().map(|table| (*table).to_owned())).collect()
}

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
///
/// # Errors
/// It is neither.
pub fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
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
mod tests;
