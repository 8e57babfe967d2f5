//! `atlas top`: a running server, live in a terminal.
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

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Instant;

use crate::cli::TopArgs;
use crate::look::{AdminPort, LookError};
use model::{Model, Sample, Sort, Stats};

/// A key is answered within this.
const KEY_PATIENCE: Duration = Duration::from_millis(50);
/// How often a server may be looked at.
const INTERVALS_MS: [u64; 8] = [200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000];

/// Why there is nothing to see. One line.
#[derive(Debug)]
pub(crate) enum TopError {
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
                 and `atlas ss --json`",
            ),
            Self::Terminal(error) => write!(f, "the terminal fails: {error}"),
        }
    }
}

impl core::error::Error for TopError {}

/// Watches until `q` is pressed.
pub(crate) fn top(arguments: TopArgs) -> Result<(), TopError> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    let TopArgs { admin, interval } = arguments;
    let port = admin.port();
    let interval_ms = Arc::new(AtomicU64::new(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)));
    let (tell, looks) = channel();
    let (wake, woken) = channel();
    let its_interval = Arc::clone(&interval_ms);
    thread::Builder::new()
        .name("look".to_owned())
        .spawn(move || look(port, &its_interval, &tell, &woken))
        .map_err(TopError::Terminal)?;
    let mut terminal = ratatui::try_init().map_err(TopError::Terminal)?;
    let mut model = Model::new(port.0, interval);
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
