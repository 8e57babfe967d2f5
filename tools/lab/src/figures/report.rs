//! One page of all records: self-contained, readable without a network and on paper.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::plot::{self, PlotError};
use super::record::{Origin, Panel, Point, Record, Scale};

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.8rem}h2{margin-top:3rem;border-top:1px solid #ccc;padding-top:1rem}
figure{margin:1rem 0}figure svg{width:100%;height:auto}
table{border-collapse:collapse;font-size:.9rem;margin:.5rem 0}
td,th{border-bottom:1px solid #ddd;padding:.2rem .7rem;text-align:right}
td:first-child,th:first-child{text-align:left}
pre{background:#f4f4f4;padding:.7rem;overflow-x:auto;font-size:.85rem}
.found{color:#444}.remark{border-left:4px solid #d55e00;padding-left:.8rem}.small{font-size:.85rem;color:#555}
nav ol{columns:2 18rem;list-style:none;padding:0}details{margin:.5rem 0;overflow-x:auto}
@media (max-width:40rem){figure{overflow-x:auto}figure svg{min-width:30rem}}
@media (prefers-color-scheme:dark){body{color:#ddd;background:#161616}a{color:#8ab4f8}pre{background:#242424}
figure svg{filter:invert(.9) hue-rotate(180deg)}h2{border-color:#444}td,th{border-color:#333}.found,.small{color:#aaa}}";

/// The page.
///
/// # Errors
/// A picture cannot be drawn.
pub fn html(records: &[Record]) -> Result<String, PlotError> {
    let mut figures = Vec::with_capacity(records.len());
    for record in records {
        figures.push(figure(record)?);
    }
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Figures, measured again" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "The dissertation’s figures, measured again" }
                p {
                    "Ilias Marinos, " em { "Network and storage stack specialisation for performance" }
                    ": each figure as this machine allows, ours beside the peers. Lines are medians with the least and the \
                     most of the repetitions; what is dashed was not measured here."
                }
                nav { ol { @for record in records {
                    li { a href={ "#" (record.figure) } { (record.figure) " " (record.title) } }
                } } }
                @for figure in &figures { (figure) }
            }
        }
    };
    Ok(page.into_string())
}

fn figure(record: &Record) -> Result<Markup, PlotError> {
    let mut panels = Vec::with_capacity(record.panels.len());
    for panel in &record.panels {
        panels.push((plot::svg(panel, "")?, table(panel)));
    }
    Ok(html! {
        h2 id=(record.figure) { "Figure " (record.figure) ": " (record.title) }
        p.found { b { "The dissertation (" (record.section) "): " } (record.found) }
        @for remark in &record.remarks { p.remark { (remark) } }
        @for (picture, table) in &panels {
            figure { (PreEscaped(picture)) }
            details { summary { "The numbers" } (table) }
        }
        details {
            summary { "How it was measured" }
            p.small {
                (record.taken_at) ", " (format!("{:.0} s", record.took_s))
                @if record.quick { ", quick: fewer points and shorter times" }
            }
            pre { @for command in &record.commands { (command) "\n" } }
            table { tbody {
                @for (what, how) in record.machine.iter().chain(&record.versions) {
                    tr { td { (what) } td { (how) } }
                }
            } }
            @for (whose, text) in &record.configurations {
                p.small { (whose) }
                pre { (text) }
            }
        }
    })
}

/// All points: a row for each place, a column for each curve.
fn table(panel: &Panel) -> Markup {
    let mut places: Vec<f64> =
        panel.curves.iter().flat_map(|curve| &curve.points).map(|point| point.x).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    html! {
        table {
            thead { tr {
                th { (panel.x.label) }
                @for curve in &panel.curves { th {
                    (curve.name)
                    @match curve.origin {
                        Origin::Measured => {}
                        Origin::Model => " (model)",
                        Origin::Dissertation => " (dissertation)",
                    }
                } }
            } }
            tbody { @for x in places { tr {
                td { (place(&panel.x.scale, x)) }
                @for curve in &panel.curves {
                    td { @if let Some(point) = curve.points.iter().find(|point| point.x == x) { (value(point)) } }
                }
            } } }
        }
        p.small { (panel.y.label) "; median, and from the least to the most" }
    }
}

fn place(scale: &Scale, x: f64) -> String {
    match scale {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the list")]
        Scale::Names(names) => names.get(x as usize).cloned().unwrap_or_default(),
        Scale::Linear | Scale::Log2 | Scale::Log10 => plot::number(x),
    }
}

fn value(point: &Point) -> String {
    let Point { y, least, most, x: _ } = *point;
    let (middle, least, most) = (plot::number(y), plot::number(least), plot::number(most));
    if least == most { middle } else { format!("{middle} ({least}–{most})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::record::{Axis, Curve, Drawn};

    #[test]
    fn a_page_has_pictures_numbers_commands_and_remarks_and_needs_nothing_else() {
        let curve = Curve {
            name: "Atlas".into(),
            origin: Origin::Measured,
            drawn: Drawn::Line,
            colour: None,
            points: vec![Point { x: 2_000.0, y: 21.5, least: 20.0, most: 23.0 }],
        };
        let record = Record {
            figure: "4.12".into(),
            title: "Throughput".into(),
            commands: vec!["lab fig 4.12 <x>".into()],
            remarks: vec!["no 40 GbE".into()],
            machine: vec![("kernel".into(), "6.18".into())],
            configurations: vec![("nginx".into(), "worker_processes 1;".into())],
            panels: vec![Panel {
                x: Axis::log2("connections"),
                y: Axis::linear("Gb/s"),
                curves: vec![curve],
                ..Panel::default()
            }],
            ..Record::default()
        };
        let page = html(&[record]).unwrap();
        for part in [
            "<svg",
            "21.5 (20–23)",
            "lab fig 4.12 &lt;x&gt;",
            "no 40 GbE",
            "6.18",
            "worker_processes 1;",
            "#4.12",
        ] {
            assert!(page.contains(part), "{part} is missing");
        }
        assert!(!page.contains("src=") && !page.contains("@import") && !page.contains("<script"));
    }
}
