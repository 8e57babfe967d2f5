//! `top`: a running server, live in a terminal.
//!
//! ```text
//!   thread "look": admin port ── /stats, /connections ──▶ Sample ─┐
//!                                                                 ├─▶ Model ─▶ view ─▶ terminal
//!   this thread:   keys ──────────────────────────────────────────┘
//! ```
//!
//! The server may be slow, or gone: keys are answered all the same, and what was seen last stays on the screen below a
//! line that says so. It is asked again until it is back.

mod model;
mod view;

use clap::Args;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Instant;

use crate::look::{AdminArgs, AdminPort, LookError};
use model::{Model, Sample, Sort, Stats};

/// A key is answered within this.
const KEY_PATIENCE: Duration = Duration::from_millis(50);
/// How often a server may be looked at.
const INTERVALS_MS: [u64; 8] = [200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000];

/// Why there is nothing to see. One line.
#[derive(Debug)]
pub enum TopError {
    /// Standard output is a file or a pipe.
    NoTerminal,
    /// The terminal does not do what it is told.
    Terminal(io::Error),
}

impl fmt::Display for TopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTerminal => f.write_str(
                "top draws on a terminal, and standard output is none; for programs there are /stats on the admin port \
                 and `ss --json`",
            ),
            Self::Terminal(error) => write!(f, "the terminal fails: {error}"),
        }
    }
}

impl core::error::Error for TopError {}

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
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    let TopArgs { admin, interval } = arguments;
    let port = admin.port(default_port);
    let interval_ms = Arc::new(AtomicU64::new(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)));
    let (tell, looks) = channel();
    let (wake, woken) = channel();
    let its_interval = Arc::clone(&interval_ms);
    thread::Builder::new()
        .name("look".to_owned())
        .spawn(move || look(port, &its_interval, &tell, &woken))
        .map_err(TopError::Terminal)?;
    let mut terminal = ratatui::try_init().map_err(TopError::Terminal)?;
    let mut model = Model::new(program, port.0, interval);
    let ended = run(&mut terminal, &mut model, &looks, &interval_ms, &wake);
    ratatui::restore();
    ended.map_err(TopError::Terminal)
}

/// What came of looking.
type Look = Result<Box<Sample>, LookError>;

fn run(
    terminal: &mut ratatui::DefaultTerminal,
    model: &mut Model,
    looks: &Receiver<Look>,
    interval_ms: &AtomicU64,
    wake: &Sender<()>,
) -> io::Result<()> {
    loop {
        for look in looks.try_iter() {
            match look {
                Ok(sample) => model.on_sample(*sample),
                Err(error) => model.on_problem(error.to_string(), Instant::now()),
            }
        }
        terminal.draw(|frame| view::draw(frame, model, Instant::now()))?;
        if !event::poll(KEY_PATIENCE)? {
            continue;
        }
        if let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
        {
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                KeyCode::Char('p' | ' ') => model.pause(),
                KeyCode::Char('b') => model.sort_by(Sort::Rate),
                KeyCode::Char('r') => model.sort_by(Sort::Resent),
                KeyCode::Char('t') => model.sort_by(Sort::RoundTrip),
                KeyCode::Char('c') => model.sort_by(Sort::Window),
                KeyCode::Char(sign @ ('+' | '-')) => {
                    let next = next_interval(model.interval, sign == '+');
                    model.interval = next;
                    interval_ms.store(u64::try_from(next.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
                    // Whoever wants it faster does not wait for the old interval to end.
                    let _ = wake.send(());
                }
                _ => {}
            }
        }
    }
}

/// `+` looks more often, `-` less often.
fn next_interval(now: Duration, more_often: bool) -> Duration {
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let next = if more_often {
        INTERVALS_MS.iter().rev().find(|ms| **ms < now).unwrap_or(&INTERVALS_MS[0])
    } else {
        INTERVALS_MS.iter().find(|ms| **ms > now).unwrap_or(&INTERVALS_MS[INTERVALS_MS.len() - 1])
    };
    Duration::from_millis(*next)
}

/// Looks at the server until nobody wants to know any more.
fn look(port: AdminPort, interval_ms: &AtomicU64, tell: &Sender<Look>, woken: &Receiver<()>) {
    loop {
        let begun = Instant::now();
        if tell.send(sample(port)).is_err() {
            return;
        }
        let interval = Duration::from_millis(interval_ms.load(Ordering::Relaxed));
        match woken.recv_timeout(interval.saturating_sub(begun.elapsed())) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn sample(port: AdminPort) -> Look {
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

    #[test]
    fn intervals_go_up_and_down_and_stop_at_their_ends() {
        let ms = |interval: Duration| interval.as_millis();
        let mut interval = Duration::from_millis(700);
        assert_eq!(ms(next_interval(interval, true)), 500);
        assert_eq!(ms(next_interval(interval, false)), 1_000);
        for _ in 0..20 {
            interval = next_interval(interval, false);
        }
        assert_eq!(ms(interval), 60_000);
        for _ in 0..20 {
            interval = next_interval(interval, true);
        }
        assert_eq!(ms(interval), 200);
    }
}
