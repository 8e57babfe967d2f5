//! A running server, live in a terminal: what every `top` does alike.
//!
//! ```text
//!   thread "look": admin port ── /stats … ──▶ Sample ─┐
//!                                                     ├─▶ Screen ─▶ terminal
//!   this thread:   keys ──────────────────────────────┘
//! ```
//!
//! The server may be slow, or gone: keys are answered all the same, and what was seen last stays on the screen below a
//! line that says so. It is asked again until it is back.

pub mod parts;
mod stats;

use core::fmt;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Instant;

use crate::look::LookError;
pub use stats::{Stats, of};

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

/// Which server is watched, and how.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The server's name.
    pub program: &'static str,
    /// Its admin port.
    pub address: SocketAddr,
    /// From one look to the next.
    pub interval: Duration,
    /// What is shown stays.
    pub paused: bool,
    /// Why the server was not seen, and since when.
    pub problem: Option<(String, Instant)>,
}

impl Watched {
    /// Nothing seen yet.
    #[must_use]
    pub const fn new(program: &'static str, address: SocketAddr, interval: Duration) -> Self {
        Self { program, address, interval, paused: false, problem: None }
    }

    /// The server was not seen.
    pub fn on_problem(&mut self, line: String, now: Instant) {
        let since = self.problem.take().map_or(now, |(_, since)| since);
        self.problem = Some((line, since));
    }

    /// Lets what is shown stay, or go on.
    pub const fn pause(&mut self) {
        self.paused = !self.paused;
    }
}

/// What is shown of a server.
pub trait Screen {
    /// Everything seen at one moment.
    type Sample: Send + 'static;

    /// Which server it is.
    fn watched(&mut self) -> &mut Watched;
    /// The server was seen. While paused, what is shown stays as it is.
    fn on_sample(&mut self, sample: Self::Sample);
    /// A key that means something to this screen only.
    fn on_key(&mut self, key: char);
    /// Draws what was seen last.
    fn draw(&self, frame: &mut ratatui::Frame<'_>, now: Instant);
}

/// Looks again and again, and shows what is seen, until `q` is pressed.
///
/// # Errors
/// There is no terminal, or it fails.
pub fn watch<S: Screen>(
    screen: &mut S,
    sample: impl FnMut() -> Result<S::Sample, LookError> + Send + 'static,
) -> Result<(), TopError> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    let interval = screen.watched().interval;
    let interval_ms = Arc::new(AtomicU64::new(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)));
    let (tell, looks) = channel();
    let (wake, woken) = channel();
    let its_interval = Arc::clone(&interval_ms);
    thread::Builder::new()
        .name("look".to_owned())
        .spawn(move || look(sample, &its_interval, &tell, &woken))
        .map_err(TopError::Terminal)?;
    let mut terminal = ratatui::try_init().map_err(TopError::Terminal)?;
    let ended = run(&mut terminal, screen, &looks, &interval_ms, &wake);
    ratatui::restore();
    ended.map_err(TopError::Terminal)
}

fn run<S: Screen>(
    terminal: &mut ratatui::DefaultTerminal,
    screen: &mut S,
    looks: &Receiver<Result<S::Sample, LookError>>,
    interval_ms: &AtomicU64,
    wake: &Sender<()>,
) -> io::Result<()> {
    loop {
        for look in looks.try_iter() {
            match look {
                Ok(sample) => {
                    screen.watched().problem = None;
                    screen.on_sample(sample);
                }
                Err(error) => screen.watched().on_problem(error.to_string(), Instant::now()),
            }
        }
        terminal.draw(|frame| screen.draw(frame, Instant::now()))?;
        if !event::poll(KEY_PATIENCE)? {
            continue;
        }
        if let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
        {
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                KeyCode::Char('p' | ' ') => screen.watched().pause(),
                KeyCode::Char(sign @ ('+' | '-')) => {
                    let next = next_interval(screen.watched().interval, sign == '+');
                    screen.watched().interval = next;
                    interval_ms.store(u64::try_from(next.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
                    // Whoever wants it faster does not wait for the old interval to end.
                    let _ = wake.send(());
                }
                KeyCode::Char(key) => screen.on_key(key),
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
fn look<T>(
    mut sample: impl FnMut() -> Result<T, LookError>,
    interval_ms: &AtomicU64,
    tell: &Sender<Result<T, LookError>>,
    woken: &Receiver<()>,
) {
    loop {
        let begun = Instant::now();
        if tell.send(sample()).is_err() {
            return;
        }
        let interval = Duration::from_millis(interval_ms.load(Ordering::Relaxed));
        match woken.recv_timeout(interval.saturating_sub(begun.elapsed())) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
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

    #[test]
    fn a_problem_lasts_from_its_first_look_to_the_next_sample() {
        let now = Instant::now();
        let mut watched = Watched::new("atlas", ([127, 0, 0, 1], 9_464).into(), Duration::from_secs(1));
        watched.on_problem("gone".to_owned(), now);
        watched.on_problem("still gone".to_owned(), now + Duration::from_secs(9));
        assert_eq!(watched.problem, Some(("still gone".to_owned(), now)));
    }
}
