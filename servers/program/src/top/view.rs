//! The screen, from 80 by 24 up.
//!
//! ```text
//!  atlas at 127.0.0.1:9464  running …                                     every 1 s
//! ┌ out 15.00 Gb/s, most 15.00 ─────────┐┌ now ─────────────────────────────────────┐
//! │ ▁▂▄▆█ …                             ││ connections, requests, disk, frames, link │
//! └─────────────────────────────────────┘└───────────────────────────────────────────┘
//! ┌ workers ────────────────────────────────────────────────────────────────────────┐
//! ┌ connections ────────────────────────────────────────────────────────────────────┐
//!  q quit  p pause …
//! ```
//!
//! Colours are two of the terminal's own, red and green, that are read on dark and on light; the rest is bold, faint and
//! reversed.

use host::screen::parts::{
    BAD, BOLD, FAINT, GOOD, bar, count, draw_keys as keys_line, draw_title, figure, micros, quantity,
};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row as Line2, Sparkline, Table, Wrap};
use std::time::Instant;

use super::model::{Model, Row, Sort};

const WIDTH_MIN: u16 = 80;
const HEIGHT_MIN: u16 = 24;
/// Lines of figures, and the frame around them.
const FIGURES: u16 = 8 + 2;
/// The least that the list of connections has: frame, heading, four of them.
const LIST_MIN: u16 = 2 + 1 + 4;

pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, now: Instant) {
    let area = frame.area();
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        let line = format!(
            "top needs a terminal of {WIDTH_MIN}x{HEIGHT_MIN}; this one is {}x{}",
            area.width, area.height
        );
        frame.render_widget(Paragraph::new(line).wrap(Wrap { trim: true }), area);
        return;
    }
    let workers = model.now.as_ref().map_or(1, |sample| sample.stats.workers.len());
    let room = area.height - 1 - FIGURES - LIST_MIN - 1 - 2;
    let shown = u16::try_from(workers).unwrap_or(u16::MAX).clamp(1, room);
    let [title, upper, middle, list, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(FIGURES),
        Constraint::Length(shown + 2),
        Constraint::Min(LIST_MIN),
        Constraint::Length(1),
    ])
    .areas(area);
    let [left, right] = Layout::horizontal([Constraint::Min(36), Constraint::Length(44)]).areas(upper);
    draw_title(frame, title, &model.watched, model.now.as_ref().map(|sample| &sample.stats), now);
    draw_throughput(frame, left, model);
    draw_figures(frame, right, model);
    draw_workers(frame, middle, model, workers, usize::from(shown));
    draw_connections(frame, list, model);
    draw_keys(frame, keys, model);
}

fn draw_throughput(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let width = usize::from(area.width.saturating_sub(2));
    let newest = model.history.len().saturating_sub(width);
    let data: Vec<u64> = model.history.iter().skip(newest).copied().collect();
    let most = data.iter().max().copied().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let title = format!(
        " out {}/s, most {} ",
        quantity(model.rate("sent_bytes") * 8.0, "b"),
        quantity(most as f64, "b")
    );
    // The newest is at the right edge from the beginning.
    let empty = vec![0; width.saturating_sub(data.len())];
    let sparkline = Sparkline::default()
        .block(Block::bordered().title(Span::styled(title, BOLD)))
        .data(empty.into_iter().chain(data))
        .max(most.max(1))
        .style(GOOD);
    frame.render_widget(sparkline, area);
}

fn draw_figures(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let sum = |name: &str| model.now.as_ref().map_or(0.0, |sample| sample.stats.sum(name));
    let rate = |name: &str| model.rate(name);
    let sent = rate("sent_bytes") + rate("resent_bytes");
    let resent = if sent > 0.0 { rate("resent_bytes") / sent * 100.0 } else { 0.0 };
    let done = rate("disk_reads_done");
    let latency = if done > 0.0 { rate("disk_reads_microseconds") / done } else { 0.0 };
    let good: f64 = ["200", "204", "206", "301", "302", "304", "308"]
        .iter()
        .map(|status| rate(&format!("http_answers.{status}")))
        .sum();
    let failed = (rate("http_answers.") - good).max(0.0);
    let errors = rate("link_send_errors") + rate("link_receive_errors") + rate("link_loss_drops");
    let ended = rate("connections_finished") + rate("connections_failed");
    let waits = ["frame", "disk"].map(|lack| rate(&format!("credit_waits.{lack}")));
    let lines = [
        figure("connections", format!("{:.0}", sum("connections"))).and(format!(
            "+{}/s -{}/s",
            count(rate("connections_accepted")),
            count(ended)
        )),
        figure("handshakes", format!("{}/s", count(rate("handshakes"))))
            .and(format!("{}/s resumed", count(rate("resumptions"))))
            .warn(rate("tls_failures"), "failed"),
        figure("requests", format!("{}/s", count(rate("http_answers.")))).warn(failed, "refused"),
        figure("sent again", format!("{resent:.2} %"))
            .and(format!("{}/s", quantity(rate("resent_bytes") * 8.0, "b"))),
        figure("disk", format!("{}/s", quantity(rate("disk_read_bytes") * 8.0, "b")))
            .and(format!("{} reads/s", count(rate("disk_reads")))),
        figure("disk queue", format!("{:.0}", sum("disk_reads_in_flight")))
            .and(micros(latency))
            .warn(waits[1], "waits"),
        figure("frames", format!("{:.0}/{:.0}", sum("frames_in_use.large"), sum("frames")))
            .and(format!("most {:.0}", sum("frames_in_use_max.large")))
            .warn(waits[0], "waits"),
        figure("link", format!("in {}/s", count(rate("link_received_packets"))))
            .and(format!("out {}/s", count(rate("link_sent_packets"))))
            .warn(errors, "drops"),
    ];
    let text: Vec<Line<'_>> = lines.into_iter().map(|figure| Line::from(figure.0)).collect();
    frame.render_widget(Paragraph::new(text).block(Block::bordered().title(" now ")), area);
}

fn draw_workers(frame: &mut Frame<'_>, area: Rect, model: &Model, workers: usize, shown: usize) {
    let mut lines = Vec::new();
    let listed = if workers > shown { shown - 1 } else { workers };
    for index in 0..listed {
        let Some(worker) = model.now.as_ref().and_then(|sample| sample.stats.workers.get(index)) else {
            break;
        };
        let value = |name: &str| worker.get(name).copied().unwrap_or(0.0);
        let busy = model.rate_of(index, "awake_seconds").min(1.0);
        lines.push(Line::from(vec![
            Span::styled(format!(" w{index:<3}"), BOLD),
            Span::styled(bar(busy, 16), GOOD),
            Span::styled(format!(" {:>3.0} % busy", busy * 100.0), BOLD),
            Span::raw(format!("  {:>6.0} conns", value("connections"))),
            Span::raw(format!("  {:>9}/s", quantity(model.rate_of(index, "sent_bytes") * 8.0, "b"))),
            Span::raw(format!("  turn p99 {}", micros(value("turn_seconds.0.99") * 1e6))),
        ]));
    }
    if workers > listed {
        lines.push(Line::styled(format!(" and {} more", workers - listed), FAINT));
    }
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" workers ")), area);
}

fn draw_connections(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let heading = |text: &'static str, sort: Option<Sort>| {
        let style = if sort == Some(model.sort) { BOLD.add_modifier(Modifier::REVERSED) } else { BOLD };
        Cell::from(text).style(style)
    };
    let header = Line2::new([
        heading("peer", None),
        heading("state", None),
        heading("    b/s", Some(Sort::Rate)),
        heading("    rtt", Some(Sort::RoundTrip)),
        heading("   cwnd", Some(Sort::Window)),
        heading("again %", Some(Sort::Resent)),
        heading("object", None),
    ]);
    let room = usize::from(area.height.saturating_sub(3));
    let rows = model.rows.iter().take(room).map(row);
    // The address gets what is left of a narrow terminal, and both get more of a wide one.
    let widths = [
        Constraint::Length(22 + (area.width - WIDTH_MIN).min(24)),
        Constraint::Length(10),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Min(10),
    ];
    let title = format!(" connections: {} ", model.rows.len());
    let table = Table::new(rows, widths).header(header).block(Block::bordered().title(title));
    frame.render_widget(table, area);
}

fn row(row: &Row) -> Line2<'static> {
    let Row { connection, rate, resent } = row;
    let right = |text: String| Cell::from(format!("{text:>7}"));
    let object = connection.object.clone().unwrap_or_default();
    let resent = format!("{:.2}", resent * 100.0);
    let resent = if connection.resent_bytes > 0 { right(resent).style(BAD) } else { right(resent) };
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    Line2::new([
        Cell::from(connection.peer.to_string()),
        Cell::from(connection.state.to_string()),
        right(rate.map_or_else(|| "new".to_owned(), |rate| quantity(rate * 8.0, ""))),
        right(connection.srtt_us.map_or_else(String::new, |srtt| micros(srtt as f64))),
        right(quantity(connection.cwnd.into(), "")),
        resent,
        Cell::from(object),
    ])
}

fn draw_keys(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    keys_line(
        frame,
        area,
        &model.watched,
        &[("b", "throughput"), ("t", "round trip"), ("c", "cwnd"), ("r", "sent again")],
    );
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::model;
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
    fn shows(screen: &[String], line: usize, parts: &[&str]) {
        for part in parts {
            assert!(screen[line].contains(part), "line {line} has no '{part}':\n{}", screen.join("\n"));
        }
    }

    #[test]
    fn everything_that_matters_is_on_a_terminal_of_80_by_24() {
        let (model, now) = model();
        let screen = screen(&model, now, 80, 24);
        shows(&screen, 0, &["atlas at 127.0.0.1:9464", "running", "up 3 h 12", "every 1 s"]);
        shows(&screen, 1, &["out 15.0 Gb/s, most 15.0 Gb"]);
        shows(&screen, 2, &["connections 1200", "+1.88k/s"]);
        shows(&screen, 4, &["requests", "2.0/s refused"]);
        shows(&screen, 5, &["sent again", "0.10 %", "15.0 Mb/s"]);
        shows(&screen, 6, &["disk", "15.0 Gb/s", "28.6k reads/s"]);
        shows(&screen, 7, &["disk queue", "6", "240 µs", "14/s waits"]);
        shows(&screen, 8, &["frames", "624/8192", "most 996"]);
        shows(&screen, 9, &["link", "in 93.8k/s", "out 31.2k/s"]);
        shows(&screen, 12, &["w0", "45 % busy", "600 conns", "10.0 Gb/s", "turn p99 112 µs"]);
        shows(&screen, 13, &["w1", "45 % busy", "5.00 Gb/s"]);
        shows(&screen, 15, &["connections: 40"]);
        shows(&screen, 16, &["peer", "rtt", "cwnd", "object"]);
        shows(&screen, 17, &["198.51.100.40:52039", "ESTAB", "3.90 G", "1.0 ms", "86.9 k", "/films/a.mp4"]);
        shows(&screen, 23, &["q quit", "p pause", "+- interval"]);
    }

    #[test]
    fn a_larger_terminal_shows_more_connections_and_a_smaller_one_says_so() {
        let (model, now) = model();
        let peers = |screen: &[String]| screen.iter().filter(|line| line.contains("ESTAB")).count();
        let small = peers(&screen(&model, now, 80, 24));
        let large = peers(&screen(&model, now, 160, 50));
        assert!(small >= 4 && large == small + 26, "{small} {large}");
        let tiny = screen(&model, now, 60, 20).join(" ");
        assert!(tiny.contains("80x24") && tiny.contains("60x20"), "{tiny}");
        // Nothing panics on the way there.
        for (width, height) in [(1, 1), (80, 1), (1, 24), (79, 24), (80, 25), (400, 100)] {
            screen(&model, now, width, height);
        }
    }

    #[test]
    fn a_server_that_is_gone_is_told_and_what_was_seen_last_stays() {
        let (mut model, now) = model();
        model.watched.on_problem("no server has its admin port at 127.0.0.1:9464".to_owned(), now);
        let screen = screen(&model, now + Duration::from_secs(12), 80, 24);
        shows(&screen, 0, &["12 s, trying again: no server has its admin port"]);
        shows(&screen, 17, &["198.51.100.40:52039"]);
    }

    #[test]
    fn a_server_that_was_never_seen_is_an_empty_screen_with_the_reason() {
        let now = Instant::now();
        let mut model = Model::new("atlas", "127.0.0.1:9464".parse().unwrap(), Duration::from_secs(1));
        shows(&screen(&model, now, 80, 24), 0, &["atlas at 127.0.0.1:9464  …"]);
        model.watched.on_problem("no server".to_owned(), now);
        shows(&screen(&model, now, 80, 24), 0, &["0 s, trying again: no server"]);
    }

    #[test]
    fn a_pause_and_the_order_are_told() {
        let (mut model, now) = model();
        model.watched.pause();
        model.sort_by(Sort::RoundTrip);
        let screen = screen(&model, now, 80, 24);
        shows(&screen, 0, &["paused"]);
        shows(&screen, 17, &["198.51.100.1:52000", "40.0 ms"]);
        shows(&screen, 23, &["p go on"]);
    }

    #[test]
    fn more_workers_than_lines_are_counted() {
        let (mut model, now) = model();
        let sample = model.now.as_mut().unwrap();
        let worker = sample.stats.workers[0].clone();
        sample.stats.workers.resize(64, worker);
        let screen = screen(&model, now, 80, 24);
        assert!(screen.iter().any(|line| line.contains("more")), "{}", screen.join("\n"));
        shows(&screen, 23, &["q quit"]);
    }
}
