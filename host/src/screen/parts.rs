//! Parts of a screen: a title, a line of figures, a bar, the keys; and numbers as people read them.

use ratatui::Frame;
use ratatui::layout::{Alignment, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use std::time::Instant;

use super::{Stats, Watched};

/// What matters.
pub const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
/// What names it.
pub const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
/// As it should be.
pub const GOOD: Style = Style::new().fg(Color::Green);
/// As it should not be.
pub const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);

/// Which server, how it is, since when; or why it is not seen.
pub fn draw_title(frame: &mut Frame<'_>, area: Rect, watched: &Watched, stats: Option<&Stats>, now: Instant) {
    let address = watched.address;
    if let Some((problem, since)) = &watched.problem {
        let seconds = now.saturating_duration_since(*since).as_secs();
        let line = format!(" {seconds} s, trying again: {problem}");
        let style = BAD.add_modifier(Modifier::REVERSED);
        frame.render_widget(Paragraph::new(line).style(style), area);
        return;
    }
    let mut spans =
        vec![Span::styled(format!(" {}", watched.program), BOLD), Span::raw(format!(" at {address}"))];
    match stats {
        Some(stats) => {
            let style = if stats.status == "running" { GOOD } else { BAD };
            spans.push(Span::styled(format!("  {}", stats.status), style));
            spans.push(Span::raw(format!("  up {}", duration(stats.uptime))));
        }
        None => spans.push(Span::raw("  …")),
    }
    if watched.paused {
        spans.push(Span::styled("  paused", BOLD.add_modifier(Modifier::REVERSED)));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
    let every = format!("every {} s ", watched.interval.as_secs_f64());
    frame.render_widget(Paragraph::new(every).alignment(Alignment::Right).style(FAINT), area);
}

/// A line of figures: a name, what matters most, and the rest.
#[derive(Clone, Debug)]
pub struct Figure(
    /// Its pieces.
    pub Vec<Span<'static>>,
);

/// A line of this name and value.
#[must_use]
pub fn figure(name: &str, value: String) -> Figure {
    Figure(vec![Span::styled(format!(" {name:<12}"), FAINT), Span::styled(value, BOLD)])
}

impl Figure {
    /// And this.
    #[must_use]
    pub fn and(mut self, value: String) -> Self {
        self.0.push(Span::raw(format!("  {value}")));
        self
    }

    /// And this rate, which is only there when it is not zero.
    #[must_use]
    pub fn warn(mut self, rate: f64, what: &str) -> Self {
        if rate > 0.0 {
            self.0.push(Span::styled(format!("  {}/s {what}", count(rate)), BAD));
        }
        self
    }
}

/// A share, from 0 to 1, in so many cells.
#[must_use]
pub fn bar(share: f64, width: usize) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "0 to a few"
    )]
    let full = ((share * width as f64).round() as usize).min(width);
    "█".repeat(full) + &"░".repeat(width - full)
}

/// What can be pressed: these, and what every screen has.
pub fn draw_keys(frame: &mut Frame<'_>, area: Rect, watched: &Watched, others: &[(&str, &str)]) {
    let pause = if watched.paused { "go on" } else { "pause" };
    let mut spans = Vec::new();
    let first = [("q", "quit"), ("p", pause)];
    for (key, what) in first.iter().chain(others).chain(&[("+-", "interval")]) {
        spans.push(Span::styled(format!(" {key}"), BOLD));
        spans.push(Span::styled(format!(" {what} "), FAINT));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

/// Three digits that count, and a prefix: `15.0 Gb`.
#[must_use]
pub fn quantity(value: f64, unit: &str) -> String {
    let mut value = value;
    let mut prefix = "";
    for next in ["k", "M", "G", "T", "P"] {
        if value < 999.5 {
            break;
        }
        value /= 1_000.0;
        prefix = next;
    }
    let digits = match value {
        _ if prefix.is_empty() => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {prefix}{unit}").trim_end().to_owned()
}

/// Events a second.
#[must_use]
pub fn count(rate: f64) -> String {
    if rate > 0.0 && rate < 9.95 { format!("{rate:.1}") } else { quantity(rate, "").replace(' ', "") }
}

/// A time that is given in microseconds.
#[must_use]
pub fn micros(micros: f64) -> String {
    match micros {
        micros if micros < 999.5 => format!("{micros:.0} µs"),
        micros if micros < 99_950.0 => format!("{:.1} ms", micros / 1e3),
        micros if micros < 999_500.0 => format!("{:.0} ms", micros / 1e3),
        micros => format!("{:.1} s", micros / 1e6),
    }
}

/// A time that is given in seconds.
#[must_use]
pub fn duration(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an uptime")]
    let seconds = seconds as u64;
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes:02}"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_three_digits_that_count() {
        for (value, text) in [
            (0.0, "0 b"),
            (999.0, "999 b"),
            (999.7, "1.00 kb"),
            (12_345.0, "12.3 kb"),
            (999_600.0, "1.00 Mb"),
            (15e9, "15.0 Gb"),
        ] {
            assert_eq!(quantity(value, "b"), text);
        }
        assert_eq!(
            (micros(240.0), micros(1_234.0), micros(2.5e6)),
            ("240 µs".into(), "1.2 ms".into(), "2.5 s".into())
        );
        assert_eq!(
            (duration(59.0), duration(11_520.0), duration(90_000.0)),
            ("59 s".into(), "3 h 12".into(), "1 d 1 h".into())
        );
    }
}
