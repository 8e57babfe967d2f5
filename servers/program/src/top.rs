//! `top`: a running server, live in a terminal. [`host::screen`] looks and draws; what is shown of the web's servers is here.

mod model;
mod view;

use clap::Args;
use core::time::Duration;
use host::screen::{Screen, Stats, Watched, watch};
use std::time::Instant;

pub use host::screen::TopError;

use crate::look::{AdminArgs, AdminPort, LookError};
use model::{Model, Sample, Sort};

/// What `top` takes.
#[derive(Args, Clone, Copy, Debug)]
pub struct TopArgs {
    /// The server
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Look so often [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s", hide_default_value = true)]
    pub interval: Duration,
}

/// `90`, `90s`, `15m`, `6h`, `7d`.
///
/// # Errors
/// It is no time, or none at all.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        Some((at, 'd')) => (&text[..at], 86_400),
        _ => (text, 1),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
        .ok_or_else(|| format!("'{text}' is not a time such as 90s, 15m, 6h or 7d"))
}

/// Watches the server of this name until `q` is pressed.
///
/// # Errors
/// There is no terminal, or it fails.
pub fn top(arguments: TopArgs, program: &'static str, default_port: u16) -> Result<(), TopError> {
    let TopArgs { admin, interval } = arguments;
    let port = admin.port(default_port);
    watch(&mut Model::new(program, port.0, interval), move || sample(port))
}

impl Screen for Model {
    type Sample = Box<Sample>;

    fn watched(&mut self) -> &mut Watched {
        &mut self.watched
    }

    fn on_sample(&mut self, sample: Box<Sample>) {
        Self::on_sample(self, *sample);
    }

    fn on_key(&mut self, key: char) {
        match key {
            'b' => self.sort_by(Sort::Rate),
            'r' => self.sort_by(Sort::Resent),
            't' => self.sort_by(Sort::RoundTrip),
            'c' => self.sort_by(Sort::Window),
            _ => {}
        }
    }

    fn draw(&self, frame: &mut ratatui::Frame<'_>, now: Instant) {
        view::draw(frame, self, now);
    }
}

fn sample(port: AdminPort) -> Result<Box<Sample>, LookError> {
    let stats = Stats::of(&port.stats()?);
    let at = Instant::now();
    let mut connections = Vec::new();
    port.connections(&mut |page| connections.extend(page))?;
    Ok(Box::new(Sample { at, stats, connections }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_or_is_in_seconds() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for text in ["", "h", "-1", "1w", "0", "99999999999999999d", "1é"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
