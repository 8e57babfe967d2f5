//! The screen, on a terminal of any size: what does not fit is left out, what matters least first.
//!
//! ```text
//!  namestorm at 127.0.0.1:9466  running …                                 every 1 s
//! ┌ 60.0k queries/s ────────────────────┐┌ now ─────────────────────────────────────┐
//! │ ▁▂▄▆█ …                             ││ answers, errors, limits, streams, link    │
//! └─────────────────────────────────────┘└───────────────────────────────────────────┘
//! ┌ questions ──────────────────────────┐┌ answers ──────────────────────────────────┐
//! │ A      30.0k/s █████                ││ NOERROR  59.9k/s ██████████               │
//! ┌ workers ────────────────────────────┐┌ targets ──────────────────────────────────┐
//!  q quit  p pause …
//! ```

use host::screen::parts::{BAD, BOLD, FAINT, GOOD, bar, count, draw_keys, draw_title, figure, quantity};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Sparkline};
use std::time::Instant;

use super::{Model, Target};

/// Panels stand beside each other from this width on.
const WIDTH_OF_TWO: u16 = 76;
/// What the longest line of figures takes, with its frame.
const FIGURES_WIDTH: u16 = 48;
/// Lines of figures.
const FIGURES: u16 = 8;
/// A panel of fewer lines than a frame and two more says nothing.
const PANEL_MIN: u16 = 4;

pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, now: Instant) {
    let area = frame.area();
    let [title, rest, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(if area.height > 8 { 1 } else { 0 }),
    ])
    .areas(area);
    draw_title(frame, title, &model.watched, model.now.as_ref().map(|sample| &sample.stats), now);
    draw_keys(frame, keys, &model.watched, &[]);
    let figures = figures(model);
    if rest.height < FIGURES + 2 || rest.width < 30 {
        // No room for frames.
        frame.render_widget(Paragraph::new(figures), rest);
        return;
    }
    let two = rest.width >= WIDTH_OF_TWO;
    let lists: Vec<Panel> = [by_type(model), by_rcode(model), workers(model), targets(model)]
        .into_iter()
        .filter(|panel| !panel.lines.is_empty())
        .collect();
    let heights = heights(rest.height - FIGURES - 2, &lists, two);
    let mut constraints = vec![Constraint::Length(FIGURES + 2)];
    constraints.extend(heights.iter().map(|height| Constraint::Length(*height)));
    let mut rows = Layout::vertical(constraints).split(rest).to_vec().into_iter();
    let Some(first) = rows.next() else { return };
    if two {
        // Figures need so much and no more.
        let [left, right] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(FIGURES_WIDTH)]).areas(first);
        draw_history(frame, left, model);
        frame.render_widget(Paragraph::new(figures).block(Block::bordered().title(" now ")), right);
    } else {
        frame.render_widget(Paragraph::new(figures).block(Block::bordered().title(" now ")), first);
    }
    let mut lists = lists.into_iter();
    for row in rows {
        let areas = if two { halves(row).to_vec() } else { vec![row] };
        let count = areas.len();
        let mut panels: Vec<Panel> = lists.by_ref().take(count).collect();
        if panels.len() == 1 {
            // Nobody beside it.
            panels.remove(0).draw(frame, row);
            continue;
        }
        panels.into_iter().zip(areas).for_each(|(panel, area)| panel.draw(frame, area));
    }
}

fn halves(area: Rect) -> [Rect; 2] {
    Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(area)
}

/// The heights of rows of lists, those that fit: each as high as it needs if there is room, and else an equal share.
fn heights(room: u16, lists: &[Panel], two: bool) -> Vec<u16> {
    let mut wanted: Vec<u16> = lists
        .chunks(if two { 2 } else { 1 })
        .map(|panels| {
            let lines = panels.iter().map(|panel| panel.lines.len()).max().unwrap_or(0);
            u16::try_from(lines).unwrap_or(u16::MAX).saturating_add(2)
        })
        .collect();
    while !wanted.is_empty() {
        let rows = u16::try_from(wanted.len()).unwrap_or(u16::MAX);
        let all: u32 = wanted.iter().map(|height| u32::from(*height)).sum();
        if all <= room.into() {
            return wanted;
        }
        let share = room / rows;
        if share >= PANEL_MIN {
            // What a short one does not need, the longest gets.
            let mut heights: Vec<u16> = wanted.iter().map(|height| (*height).min(share)).collect();
            let mut left = room - heights.iter().sum::<u16>();
            for (height, wanted) in heights.iter_mut().zip(&wanted) {
                let more = (wanted - *height).min(left);
                *height += more;
                left -= more;
            }
            return heights;
        }
        wanted.pop();
    }
    Vec::new()
}

/// Lines in a frame.
struct Panel {
    title: String,
    lines: Vec<Line<'static>>,
}

impl Panel {
    /// As many lines as fit; the last of them says how many did not.
    fn draw(self, frame: &mut Frame<'_>, area: Rect) {
        let Self { title, mut lines } = self;
        let room = usize::from(area.height.saturating_sub(2));
        if lines.len() > room {
            let left_out = lines.len() - room.saturating_sub(1);
            lines.truncate(room.saturating_sub(1));
            lines.push(Line::styled(format!(" and {left_out} more"), FAINT));
        }
        frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
    }
}

fn draw_history(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let width = usize::from(area.width.saturating_sub(2));
    let newest = model.history.len().saturating_sub(width);
    let data: Vec<u64> = model.history.iter().skip(newest).copied().collect();
    let most = data.iter().max().copied().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let title = format!(" {} queries/s, most {} ", count(model.rate("queries.")), count(most as f64));
    // The newest is at the right edge from the beginning.
    let empty = vec![0; width.saturating_sub(data.len())];
    let sparkline = Sparkline::default()
        .block(Block::bordered().title(Span::styled(title, BOLD)))
        .data(empty.into_iter().chain(data))
        .max(most.max(1))
        .style(GOOD);
    frame.render_widget(sparkline, area);
}

fn figures(model: &Model) -> Vec<Line<'static>> {
    let rate = |name: &str| model.rate(name);
    let per_second = |name: &str| format!("{}/s", count(rate(name)));
    let dropped = rate("queries_dropped.") - rate("queries_dropped.rate");
    let log = rate("query_log_dropped");
    let errors = rate("link_send_errors") + rate("link_receive_errors") + rate("link_loss_drops");
    let lines = [
        figure("queries", per_second("queries."))
            .and(format!("udp {}", count(rate("queries.udp"))))
            .and(format!("tcp {}", count(rate("queries.tcp")))),
        figure("ready", per_second("answers.prebuilt"))
            .and(format!("composed {}", count(rate("answers.composed"))))
            .and(format!("steered {}", count(rate("answers.steered")))),
        figure("zones", quantity(model.process("zones"), "")),
        figure("truncated", per_second("responses_truncated")).warn(dropped.max(0.0), "dropped"),
        figure("limited", per_second("queries_dropped.rate"))
            .and(format!("slipped {}", count(rate("responses_slipped")))),
        figure("cookies", per_second("cookies_accepted")),
        figure("streams", format!("{:.0}", model.sum("connections")))
            .and(format!("+{}/s", count(rate("connections_accepted"))))
            .warn(rate("streams_refused"), "refused")
            .warn(log, "not logged"),
        figure("link", format!("in {}", per_second("link_received_packets")))
            .and(format!("out {}", per_second("link_sent_packets")))
            .warn(errors, "drops"),
    ];
    lines.into_iter().map(|figure| Line::from(figure.0)).collect()
}

fn by_type(model: &Model) -> Panel {
    Panel { title: " questions ".to_owned(), lines: shares(model.rates_by_label("questions"), |_| false) }
}

fn by_rcode(model: &Model) -> Panel {
    let is_bad = |rcode: &str| !matches!(rcode, "NOERROR" | "NXDOMAIN");
    Panel { title: " answers ".to_owned(), lines: shares(model.rates_by_label("responses"), is_bad) }
}

/// A line for each, with its share of all.
fn shares(rates: Vec<(String, f64)>, is_bad: impl Fn(&str) -> bool) -> Vec<Line<'static>> {
    let all: f64 = rates.iter().map(|(_, rate)| rate).sum();
    let line = |(name, rate): (String, f64)| {
        let share = if all > 0.0 { rate / all } else { 0.0 };
        let style = if is_bad(&name) && rate > 0.0 { BAD } else { BOLD };
        Line::from(vec![
            Span::styled(format!(" {name:<9}"), style),
            Span::raw(format!("{:>7}/s ", count(rate))),
            Span::styled(bar(share, 12), GOOD),
            Span::styled(format!(" {:>3.0} %", share * 100.0), FAINT),
        ])
    };
    rates.into_iter().map(line).collect()
}

fn workers(model: &Model) -> Panel {
    let lines = (0..model.workers()).map(|index| {
        let busy = model.rate_of(index, "awake_seconds").min(1.0);
        Line::from(vec![
            Span::styled(format!(" w{index:<3}"), BOLD),
            Span::styled(bar(busy, 10), GOOD),
            Span::styled(format!(" {:>3.0} %", busy * 100.0), BOLD),
            Span::raw(format!("  {:>6}/s", count(model.rate_of(index, "queries.")))),
        ])
    });
    Panel { title: " workers ".to_owned(), lines: lines.collect() }
}

fn targets(model: &Model) -> Panel {
    let targets = model.targets();
    let up = targets.iter().filter(|target| target.up).count();
    let line = |Target { name, up, weight, changes }: &Target| {
        Line::from(vec![
            Span::styled(if *up { " up   " } else { " DOWN " }, if *up { GOOD } else { BAD }),
            Span::styled(format!("{name:<12}"), BOLD),
            Span::raw(format!(" weight {weight:.0}")),
            Span::styled(format!("  {changes:.0} changes"), FAINT),
        ])
    };
    Panel {
        title: format!(" targets: {up} of {} up ", targets.len()),
        lines: targets.iter().map(line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::model;
    use super::*;
    use core::time::Duration;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn screen(model: &Model, now: Instant, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model, now)).unwrap();
        let buffer = terminal.backend().buffer();
        (0..height)
            .map(|y| {
                let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
                line.trim_end().to_owned()
            })
            .collect()
    }

    #[track_caller]
    fn shows(screen: &[String], parts: &[&str]) {
        let text = screen.join("\n");
        for part in parts {
            assert!(text.contains(part), "there is no '{part}':\n{text}");
        }
    }

    #[test]
    fn everything_that_matters_is_on_a_terminal_of_80_by_24() {
        let (model, now) = model(true);
        let screen = screen(&model, now, 80, 24);
        assert!(screen[0].contains("namestorm at 127.0.0.1:9466  running  up 1 min"), "{}", screen[0]);
        shows(&screen, &["60.0k queries/s", "udp 60.0k  tcp 6.0", "composed 40  steered 18", "10.0 k"]);
        shows(&screen, &["10/s  slipped 8.0", "truncated   4.0/s  2.0/s dropped", "in 60.0k/s  out 60.0k/s"]);
        shows(&screen, &["A          30.0k/s ████████", "NOERROR    60.0k/s ████████████ 100 %", "SERVFAIL"]);
        shows(&screen, &["w0  ███", "25 %   40.0k/s", "targets: 2 of 3 up", "DOWN paris-2", "weight 3"]);
        shows(&screen[23..], &["q quit"]);
    }

    #[test]
    fn without_targets_there_is_no_panel_of_them() {
        let (model, now) = model(false);
        let text = screen(&model, now, 100, 30).join("\n");
        assert!(!text.contains("targets") && text.contains("workers"), "{text}");
    }

    #[test]
    fn a_terminal_of_any_size_shows_what_fits() {
        let (model, now) = model(true);
        for width in [1, 5, 20, 29, 30, 60, 75, 76, 200, 400] {
            for height in [1, 2, 5, 9, 10, 11, 14, 20, 24, 40, 100] {
                let screen = screen(&model, now, width, height);
                if width >= 20 && height >= 2 {
                    shows(&screen[..2.min(screen.len())], &["namestorm"]);
                }
                if width >= 60 && height >= 5 {
                    shows(&screen, &["60.0k/s", "zones"]);
                }
            }
        }
        // One column: figures, then lists below each other.
        let narrow = screen(&model, now, 60, 40);
        shows(&narrow, &["now", "questions", "answers", "workers", "targets"]);
    }

    #[test]
    fn a_server_that_is_gone_is_told_and_what_was_seen_last_stays() {
        let (mut model, now) = model(true);
        model.watched.on_problem("no server has its admin port at 127.0.0.1:9466".to_owned(), now);
        let screen = screen(&model, now + Duration::from_secs(12), 80, 24);
        shows(&screen, &["12 s, trying again: no server has its admin port", "60.0k queries/s"]);
    }
}
