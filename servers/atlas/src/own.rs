//! The options that only Atlas has.

use atlas::Settings;
use clap::Args;
use host::values::Bytes;
use host::{FRAMES_MIN, PoolChoice};
use program::ConfigError;
use serde::Deserialize;
use std::path::PathBuf;

const FRAMES_MAX: u32 = 4 << 20;

/// Those options, as far as they were given.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct Own {
    /// Frames of 16 KiB for each worker: what may be on its way from disk to wire [default: 4096]
    #[arg(long, value_name = "N", conflicts_with = "memory", help_heading = "Cores and memory")]
    pub(crate) frames: Option<u32>,
    /// Memory for the frames of all workers, instead of --frames: 512M, 2G
    #[arg(long, value_name = "SIZE", help_heading = "Cores and memory")]
    pub(crate) memory: Option<Bytes>,
    /// A file that holds a key for signed URLs; may be given four times, the newest first [default: none is needed]
    #[arg(long, value_name = "FILE", help_heading = "Operation")]
    pub(crate) signing_key: Vec<PathBuf>,

    /// What concerns responses; only in the file.
    #[arg(skip)]
    pub(crate) service: Option<Settings>,
}

/// What they amount to.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    /// How large the pools are.
    pub(crate) pool: PoolChoice,
    /// Keys for signed URLs.
    pub(crate) signing_keys: Vec<PathBuf>,
    /// What concerns responses.
    pub(crate) service: Settings,
}

impl Own {
    /// These, and those of `below` where these say nothing.
    pub(crate) fn over(self, below: Self) -> Self {
        // In full: a new option must not be forgotten here.
        let Self { frames, memory, signing_key, service } = self;
        // One of these two given here means that neither of them is taken from below.
        let sized = frames.is_some() || memory.is_some();
        Self {
            frames: if sized { frames } else { below.frames },
            memory: if sized { memory } else { below.memory },
            signing_key: if signing_key.is_empty() { below.signing_key } else { signing_key },
            service: service.or(below.service),
        }
    }

    pub(crate) fn resolve(self) -> Result<Choices, ConfigError> {
        let wrong = |line: String| Err(ConfigError::Contradiction(line));
        let pool = match (self.frames, self.memory) {
            (Some(_), Some(_)) => {
                return wrong("frames and memory say the same thing: give one of them".to_owned());
            }
            (Some(frames), None) if !(FRAMES_MIN..=FRAMES_MAX).contains(&frames) => {
                return wrong(format!("--frames {frames} is not from {FRAMES_MIN} to {FRAMES_MAX}"));
            }
            (Some(frames), None) => PoolChoice::Frames(frames),
            (None, Some(memory)) => PoolChoice::Memory(memory),
            (None, None) => PoolChoice::Default,
        };
        if self.signing_key.len() > http::signature::KEY_COUNT_MAX {
            return wrong(
                "--signing-key may be given four times: the newest first, the oldest can go".to_owned(),
            );
        }
        Ok(Choices { pool, signing_keys: self.signing_key, service: self.service.unwrap_or_default() })
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
        let own = CommandLine::try_parse_from(format!("atlas {line}").split_whitespace()).unwrap().own;
        own.over(toml::from_str(text).unwrap()).resolve()
    }

    #[test]
    fn the_size_of_the_pools_comes_from_one_place() {
        assert_eq!(over("--frames 100", "memory = \"1G\"").unwrap().pool, PoolChoice::Frames(100));
        assert_eq!(over("", "memory = \"1G\"").unwrap().pool, PoolChoice::Memory(Bytes(1 << 30)));
        let line = over("", "memory = \"1G\"\nframes = 100").unwrap_err().to_string();
        assert!(line.contains("give one of them"), "{line}");
    }

    #[test]
    fn what_cannot_be_meant_is_told_in_one_line() {
        let line = over("--frames 1", "").unwrap_err().to_string();
        assert!(line.contains("--frames 1 is not from"), "{line}");
        let keys = "--signing-key a --signing-key b --signing-key c --signing-key d --signing-key e";
        let line = over(keys, "").unwrap_err().to_string();
        assert!(line.contains("four times"), "{line}");
    }
}
